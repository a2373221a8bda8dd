"""The one spelling of an instant in signed documents: `YYYY-MM-DDThh:mm:ss.sssZ`."""

from datetime import UTC, datetime
from typing import Annotated, TypeAlias

import msgspec

UtcText: TypeAlias = Annotated[str, msgspec.Meta(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{3}Z$", max_length=24)]


def parse_utc(text: str) -> datetime:
    """Read an instant in its one spelling.

    Raises:
        ValueError: another spelling, or a day or hour that does not exist (second 60 included).
    """
    parsed = datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=UTC)
    if format_utc(parsed) != text:
        raise ValueError(f"not a UTC instant with milliseconds: {text!r}")
    return parsed


def format_utc(instant: datetime) -> str:
    """Write an aware instant in UTC, cut (not rounded) to milliseconds.

    Raises:
        ValueError: the instant has no time zone.
    """
    if instant.tzinfo is None:
        raise ValueError("an instant needs a time zone")
    moved = instant.astimezone(UTC)
    return f"{moved:%Y-%m-%dT%H:%M:%S}.{moved.microsecond // 1000:03d}Z" if moved.year >= 1000 else _padded(moved)


def _padded(instant: datetime) -> str:
    # strftime does not pad years below 1000 on every platform.
    return f"{instant.year:04d}-{instant:%m-%dT%H:%M:%S}.{instant.microsecond // 1000:03d}Z"
