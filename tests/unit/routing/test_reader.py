"""Bad days are refused with one line that names the key; odd but possible days are read."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from routing import InstanceError, load_instance
from tests.unit.routing.support_days import HOUR, day, visit


def _edit(change: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
    made = day(visit("V1", "p0"), visit("V2", "p1", excluded_collectors=["dong"]))
    change(made)
    return made


BAD_DAYS: list[tuple[str, Callable[[dict[str, Any]], object]]] = [
    ("visits[0].service_s", lambda d: d["visits"][0].pop("service_s")),
    ("visits[0].id", lambda d: d["visits"][0].update(id="half \ud800")),
    ("collectors[0].certs[0]", lambda d: d["collectors"][0].update(certs=["\udfff"])),
    ("visits", lambda d: d.pop("visits")),
    ("collectors", lambda d: d.pop("collectors")),
    ("objective.travel_s", lambda d: d["objective"].pop("travel_s")),
    ("visits[1].windows", lambda d: d["visits"][1].update(windows=[[10 * HOUR, 9 * HOUR]])),
    ("visits[1].windows[0][0]", lambda d: d["visits"][1].update(windows=[[-5, 9 * HOUR]])),
    ("visits[1].windows", lambda d: d["visits"][1].update(windows=[])),
    ("visits[0].service_s", lambda d: d["visits"][0].update(service_s=-1)),
    ("visits[0].service_s", lambda d: d["visits"][0].update(service_s=float("nan"))),
    ("visits[0].service_s", lambda d: d["visits"][0].update(service_s="1800")),
    ("visits[0].cash_fen", lambda d: d["visits"][0].update(cash_fen=10**22)),
    ("visits[0].location", lambda d: d["visits"][0].update(location="nowhere")),
    ("visits[1].id", lambda d: d["visits"][1].update(id="V1")),
    ("visits[1].excluded_collectors[0]", lambda d: d["visits"][1].update(excluded_collectors=["nobody"])),
    ("visits[0].gender_rule", lambda d: d["visits"][0].update(gender_rule="none")),
    ("locations[2].lat", lambda d: d["locations"][2].update(lat=float("nan"))),
    ("locations[2].lon", lambda d: d["locations"][2].update(lon=181)),
    ("locations[1].id", lambda d: d["locations"][1].update(id="office")),
    ("collectors[0].start", lambda d: d["collectors"][0].update(start="nowhere")),
    ("collectors[1].id", lambda d: d["collectors"][1].update(id="bilal")),
    ("collectors[0].shift", lambda d: d["collectors"][0].update(shift=[18 * HOUR, 8 * HOUR])),
    ("banks[0].location", lambda d: d["banks"][0].update(location="nowhere")),
    ("banks[0].close", lambda d: d["banks"][0].update(close=8 * HOUR)),
    ("pairing.conflicts[0][1]", lambda d: d["pairing"].update(conflicts=[["bilal", "nobody"]])),
    ("pairing.history[0].pairs[0][0]", lambda d: d["pairing"].update(history=[{"days_ago": 1, "pairs": [["nobody", "dong"]]}])),
    ("pairing.max_pairs", lambda d: d["pairing"].update(max_pairs=-1)),
    ("travel.speed_kmh", lambda d: d["travel"].update(speed_kmh=0)),
    ("travel.detour_factor", lambda d: d["travel"].update(detour_factor=float("inf"))),
    ("objective.imbalance_div", lambda d: d["objective"].update(imbalance_div=0)),
    ("horizon", lambda d: d.update(horizon=[21 * HOUR, 8 * HOUR])),
    ("schema", lambda d: d.update(schema="fieldday/9")),
]


@pytest.mark.parametrize(("key", "change"), BAD_DAYS, ids=[f"{n}-{key}" for n, (key, _) in enumerate(BAD_DAYS)])
def test_a_bad_day_is_refused_by_the_name_of_its_key(key: str, change: Callable[[dict[str, Any]], object]) -> None:
    text = json.dumps(_edit(change)).encode()
    with pytest.raises(InstanceError) as refused:
        load_instance(text)
    assert str(refused.value).startswith(f"{key}: ")
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("text", [b"", b"[]", b"null", b"{", b"\xff\xfe", b"[" * 100_000, b'{"a": 1, "a": 2}', b"NaN", b'"text"'])
def test_what_is_no_day_at_all_is_refused_in_one_line(text: bytes) -> None:
    with pytest.raises(InstanceError) as refused:
        load_instance(text)
    assert str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_character_written_as_two_escapes_is_read_and_half_a_key_is_refused() -> None:
    assert load_instance(json.dumps(day(visit("V\U0001f600", "p0"))).encode()).visits[0].id == "V\U0001f600"
    with pytest.raises(InstanceError, match=r"^file: "):
        load_instance(b'{"\\ud83d": 1}')


def test_days_without_visits_or_collectors_are_read() -> None:
    assert load_instance(day()).visits == ()
    alone = day(visit("V1", "p0", excluded_collectors=["dong"]), collectors=[])
    assert load_instance(alone).collectors == ()


def test_schema_is_optional_and_unknown_keys_are_ignored() -> None:
    made = day(visit("V1", "p0"), notes="made by hand", generator={"seed": 1})
    del made["schema"]
    made["visits"][0]["comment"] = "rings twice"
    assert load_instance(made).visits[0].id == "V1"
