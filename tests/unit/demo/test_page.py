"""The day's page: it asks nothing of any network, speaks both languages, shows every stop and runs nobody's words."""

import base64
import hashlib
import re
from html.parser import HTMLParser

import msgspec
import pytest

from mobile_api.demo import page
from mobile_api.demo.day_map import WIDTH, draw, reason_groups
from mobile_api.demo.page import render, stage_bars, waveform, yuan
from mobile_api.demo.record import DayRecord, Route
from tests.unit.demo.days import door, said, small_day, sound, stop

HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)>\" onclick=\"alert(3)"
VOID = {"meta", "img", "br", "input", "link"}


class Outline(HTMLParser):
    """Every start tag with its attributes, and the text inside script tags."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.misnested: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.misnested.append(tag)

    def having(self, attribute: str) -> list[str]:
        """Return the values of an attribute wherever it stands."""
        return [value or "" for _, attributes in self.tags for name, value in attributes.items() if name == attribute]


def test_nothing_is_fetched_from_anywhere() -> None:
    written = render(small_day())
    outline = Outline(written)
    assert all(address.startswith("data:") for address in outline.having("src"))
    assert all(address.startswith("#") for address in outline.having("href"))
    assert not {"link", "iframe", "object", "embed", "base", "form"} & {tag for tag, _ in outline.tags}
    assert not re.search(r"@import|url\(|fetch\(|XMLHttpRequest|WebSocket|sendBeacon|https?://|//[a-z]+\.", re.sub(r"data:[^\"]+", "", written))


def test_the_policy_admits_our_style_and_script_and_nothing_else() -> None:
    written = render(small_day())
    (policy,) = (attributes["content"] or "" for _, attributes in Outline(written).tags if "http-equiv" in attributes)
    assert policy.startswith("default-src 'none'; ")
    assert "unsafe" not in policy
    for tag in ("style", "script"):
        (inside,) = re.findall(rf"<{tag}>(.*?)</{tag}>", written, re.DOTALL)
        assert f"{tag}-src 'sha256-{base64.b64encode(hashlib.sha256(inside.encode()).digest()).decode()}'" in policy
    assert not Outline(written).having("style")          # The policy would drop it.


def test_the_page_is_well_nested() -> None:
    outline = Outline(render(small_day()))
    assert (outline.misnested, outline.open) == ([], [])
    keys = outline.having("id")
    assert len(keys) == len(set(keys))
    assert {"main", "nav", "header", "footer", "h1"} <= {tag for tag, _ in outline.tags}


def test_both_languages_are_there_and_chinese_is_first() -> None:
    written = render(small_day())
    assert '<html lang="zh-Hans" data-language="zh">' in written
    for text in ("当日路线", "The day&#39;s routes", "云栖里", "Yunqi Li", "标点", "Pin it", "2026年11月27日　星期五", "Friday, 27 November 2026"):
        assert text in written or text.replace("&#39;", "'") in written, text
    chinese, english = (written.count(f'class="{name}"') for name in ("zh", "en"))
    assert chinese == english > 100


def test_every_stop_is_drawn_and_has_its_row() -> None:
    outline = Outline(render(small_day()))
    drawn = {attributes["data-stop"] for tag, attributes in outline.tags if tag == "g" and "data-stop" in attributes}
    assert drawn == {"s-1-1", "s-1-2", "s-1-3", "s-2-1"}
    assert drawn <= set(outline.having("id"))
    assert all(attributes.get("aria-label") for tag, attributes in outline.tags if "data-stop" in attributes)
    assert set(outline.having("data-route")) == {"r-1", "r-2"} == set(outline.having("data-key"))


def test_every_picture_has_words() -> None:
    outline = Outline(render(small_day()))
    assert [attributes for tag, attributes in outline.tags if tag == "img" and not attributes.get("alt")] == []
    assert [attributes for tag, attributes in outline.tags if tag == "audio" and not attributes.get("aria-label")] == []


@pytest.mark.parametrize("hostile", [HOSTILE, "<script>alert(1)</script>", "{{ 7 * 7 }}", "]]>&lt;b&gt;"])
def test_words_of_others_are_shown_and_never_run(hostile: str) -> None:
    day = small_day(
        agency=said(hostile, hostile), engine=hostile,
        routes=(Route(number=1, pair=(hostile, "陈"), colour=0, departure_at=small_day().made_at, return_at=small_day().made_at,
                      stops=(stop(1, label=said(hostile, hostile), bank=hostile, reference=hostile),), is_driven=True),),
        door=msgspec.structs.replace(door(), reference=hostile, photos=(msgspec.structs.replace(door().photos[0], caption=said(hostile, hostile)),)),
    )
    outline, plain = Outline(render(day)), Outline(render(small_day()))
    assert [tag for tag, _ in outline.tags].count("script") == 1
    assert {name for _, attributes in outline.tags for name in attributes} <= {name for _, attributes in plain.tags for name in attributes}
    assert outline.misnested == []


def test_a_recording_must_be_sound() -> None:
    wrong = msgspec.structs.replace(door(), sounds=(msgspec.structs.replace(sound(), media_type="text/html"),))
    with pytest.raises(ValueError, match="audio type"):
        render(small_day(door=wrong))


def test_the_page_stays_small_and_says_so_when_it_would_not(monkeypatch: pytest.MonkeyPatch) -> None:
    size = len(render(small_day()).encode())
    assert size < 250_000
    monkeypatch.setattr(page, "PAGE_BYTES_MAX", size - 1)
    with pytest.raises(ValueError, match=f"got {size}"):
        render(small_day())


def test_parts_that_did_not_happen_are_left_out() -> None:
    bare = render(small_day(door=None, cash=None, ledger=None, denial=None, verifier=(), refusals=(), contributions=(), unserved=(), places=()))
    keys = set(Outline(bare).having("id"))
    assert {"map", "summary"} <= keys
    assert not keys & {"door", "cash", "ledger", "denial", "verifier", "refusals", "planning", "unserved"}
    assert Outline(render(small_day(routes=(), places=(), unserved=()))).misnested == []


def test_books_that_do_not_agree_are_shown_as_such() -> None:
    written = render(small_day())
    assert [written.count(f'class="equation {tone}"') for tone in ("good", "bad")] == [1, 1]


def test_the_map_keeps_proportions_and_shows_everything() -> None:
    day = small_day()
    drawn = draw(day)
    marks = [mark.at for route in drawn.routes for mark in route.stops]
    assert all(0 <= mark.x <= WIDTH and 0 <= mark.y <= drawn.height for mark in marks)
    north, east = draw(_two_stops(lat=0.09)), draw(_two_stops(lon=0.09))
    tall, wide = (abs(one.routes[0].stops[0].at.y - one.routes[0].stops[1].at.y) / one.units_per_km for one in (north, east))
    across = abs(east.routes[0].stops[0].at.x - east.routes[0].stops[1].at.x) / east.units_per_km
    assert tall == pytest.approx(10.0, abs=0.1)                   # 0.09° of latitude are 10 km.
    assert (wide, across) == (pytest.approx(0.0, abs=0.01), pytest.approx(8.55, abs=0.1))      # Longitude counts 0.855 at 31.2° north.
    assert [mark.route.number for mark in drawn.legend] == [1, 2]
    assert drawn.routes[-1].route.is_driven


def test_numbers_for_the_eye() -> None:
    assert [yuan(amount) for amount in (0, 5, 123_456, -300_000)] == ["¥0.00", "¥0.05", "¥1,234.56", "−¥3,000.00"]
    assert [(gain, share) for _, gain, share in stage_bars(small_day().contributions)] == [(0, 100), (300, 67)]
    heights = waveform(sound(2))
    assert (min(heights[:70]), max(heights[:70]), max(heights)) == (1, 1, 100)
    assert waveform(msgspec.structs.replace(sound(), content=b"RIFF")) == ()
    assert [(code, len(visits)) for code, _, visits in reason_groups(small_day().unserved * 2)] == [("needs-pin", 2), ("paid", 2)]


def _two_stops(lon: float = 0.0, lat: float = 0.0) -> DayRecord:
    first, second = stop(1, lon=121.4, lat=31.2), stop(2, lon=121.4 + lon, lat=31.2 + lat)
    route = Route(number=1, pair=("罗", "龚"), colour=0, departure_at=first.starts_at, return_at=second.ends_at, stops=(first, second))
    return small_day(routes=(route,))
