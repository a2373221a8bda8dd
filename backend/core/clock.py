"""The one place where the time of day enters the program; everything else is handed `now`."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TypeAlias

Clock: TypeAlias = Callable[[], datetime]


def system_clock() -> datetime:
    """Return the present instant, aware and in UTC."""
    return datetime.now(UTC)


def shifted_clock(path: Path) -> Clock:
    """Return the clock of a demo: the system's, moved by the whole seconds written in the file at `path` (none: 0).

    The file is read at each call, so that whoever plays the day can let its hours pass. Only a demo may run on it.
    """

    def now() -> datetime:
        try:
            offset_s = int(path.read_text(encoding="ascii"))
        except (FileNotFoundError, ValueError):
            offset_s = 0
        return system_clock() + timedelta(seconds=offset_s)

    return now
