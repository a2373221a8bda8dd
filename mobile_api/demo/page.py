"""The day as one self-contained page: no request to anywhere, opens from a file, readable on paper and on a phone."""

import array
import base64
import hashlib
import io
import sys
import wave
from collections.abc import Callable
from datetime import datetime
from functools import cache
from importlib import resources
from zoneinfo import ZoneInfo

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from mobile_api.demo.day_map import draw, reason_groups
from mobile_api.demo.record import DayRecord, Photo, Sound, StageContribution

PAGE_BYTES_MAX = 24 * 1024 * 1024
WAVE_BARS = 160
_WEEKDAYS = (
    ("星期一", "Monday"), ("星期二", "Tuesday"), ("星期三", "Wednesday"), ("星期四", "Thursday"), ("星期五", "Friday"), ("星期六", "Saturday"), ("星期日", "Sunday"),
)
_MONTHS = ("January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December")


def render(record: DayRecord) -> str:
    """Write the page.

    Raises:
        ValueError: the page would be larger than `PAGE_BYTES_MAX`; give it fewer or shorter recordings.
    """
    style, script = _asset("day.css"), _asset("day.js")
    zone = ZoneInfo(record.timezone)
    day_map = draw(record)
    page = _environment().get_template("day.html").render(
        record=record, day_map=day_map, groups=reason_groups(record.unserved), stages=stage_bars(record.contributions),
        style=Markup(style), script=Markup(script), policy=_policy(style, script), date_zh=_date_zh(record), date_en=_date_en(record),
        clock=_clock(zone, "%H:%M"), moment=_clock(zone, "%Y-%m-%d %H:%M:%S"), yuan=yuan, photo_url=photo_url, sound_url=sound_url, bars=waveform,
        driven=[mark for mark in day_map.legend if mark.route.is_driven], quiet=[mark for mark in day_map.legend if not mark.route.is_driven],
    )
    size = len(page.encode("utf-8"))
    if size > PAGE_BYTES_MAX:
        raise ValueError(f"a page of at most {PAGE_BYTES_MAX} bytes expected, got {size}")
    return page


def yuan(amount_fen: int) -> str:
    """Write fen as yuan: -123456 → `−¥1,234.56`."""
    whole, fen = divmod(abs(amount_fen), 100)
    return f"{'−' if amount_fen < 0 else ''}¥{whole:,}.{fen:02d}"


def photo_url(photo: Photo) -> str:
    """Return the photograph as a data URL."""
    return f"data:image/jpeg;base64,{base64.b64encode(photo.jpeg).decode()}"


def sound_url(sound: Sound) -> str:
    """Return the recording as a data URL.

    Raises:
        ValueError: not an audio type; anything else in a data URL could be more than sound.
    """
    kind, _, subtype = sound.media_type.partition("/")
    if kind != "audio" or not subtype.replace("-", "").replace(".", "").replace("+", "").isalnum():
        raise ValueError(f"an audio type expected, got {sound.media_type!r}")
    return f"data:{sound.media_type};base64,{base64.b64encode(sound.content).decode()}"


def waveform(sound: Sound) -> tuple[int, ...]:
    """Return the loudness of a 16-bit mono WAV as `WAVE_BARS` heights of 1 to 100; empty for any other kind of sound."""
    if sound.media_type not in ("audio/wav", "audio/x-wav"):
        return ()
    try:
        with wave.open(io.BytesIO(sound.content)) as opened:
            if (opened.getnchannels(), opened.getsampwidth()) != (1, 2):
                return ()
            samples = array.array("h", opened.readframes(opened.getnframes()))
    except (wave.Error, EOFError):
        return ()
    if sys.byteorder == "big":
        samples.byteswap()
    length = len(samples) // WAVE_BARS
    if not length:
        return ()
    # Every 16th sample is enough for the eye and keeps five minutes of sound below a second of work.
    peaks = [max(abs(one) for one in samples[bar * length:(bar + 1) * length:16]) for bar in range(WAVE_BARS)]
    loudest = max(*peaks, 1)
    return tuple(max(1, round(100 * peak / loudest)) for peak in peaks)


def stage_bars(contributions: tuple[StageContribution, ...]) -> tuple[tuple[StageContribution, int, int], ...]:
    """Return each stage with what it took off the cost (0 for the first) and the share of the highest cost that is left, 1 to 100."""
    highest = max((max(stage.cost_after, stage.cost_before or 0) for stage in contributions), default=1) or 1
    return tuple(
        (stage, max(0, (stage.cost_before if stage.cost_before is not None else stage.cost_after) - stage.cost_after),
         max(1, round(100 * stage.cost_after / highest)))
        for stage in contributions
    )


@cache
def _environment() -> Environment:
    return Environment(
        loader=PackageLoader("mobile_api.demo", "templates"), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True,
    )


@cache
def _asset(name: str) -> str:
    return resources.files("mobile_api.demo").joinpath("templates", name).read_text(encoding="utf-8")


def _policy(style: str, script: str) -> str:
    """Return a content security policy that admits exactly our style and script and data URLs: the page cannot phone home."""
    style_digest, script_digest = (base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in (style, script))
    return (
        f"default-src 'none'; style-src 'sha256-{style_digest}'; script-src 'sha256-{script_digest}'; img-src data:; media-src data:; "
        "base-uri 'none'; form-action 'none'"
    )


def _clock(zone: ZoneInfo, style: str) -> Callable[[datetime], str]:
    def write(at: datetime) -> str:
        return at.astimezone(zone).strftime(style)

    return write


def _date_zh(record: DayRecord) -> str:
    return f"{record.on.year}年{record.on.month}月{record.on.day}日　{_WEEKDAYS[record.on.weekday()][0]}"


def _date_en(record: DayRecord) -> str:
    return f"{_WEEKDAYS[record.on.weekday()][1]}, {record.on.day} {_MONTHS[record.on.month - 1]} {record.on.year}"
