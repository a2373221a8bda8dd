"""The log as static tiles (C2SP tlog-tiles): 256 hashes each, by level and number; a partial tile is asked for by its width.

A tile tells how much was logged and nothing of what: leaves are salted digests, and no entry bundles are served.
"""

import re
from typing import Final

import msgspec
from sqlalchemy import select
from sqlalchemy.orm import Session

from backend.audit import log
from backend.audit.tables import LogNodeRow

WIDTH: Final = 256
_LEVELS_PER_TILE: Final = 8
_PATH: Final = re.compile(r"(0|[1-9][0-9]?)/((?:x[0-9]{3}/){0,5}[0-9]{3})(?:\.p/([1-9][0-9]{0,2}))?", re.ASCII)


class Tile(msgspec.Struct, frozen=True, kw_only=True):
    """One tile: hashes `number` × 256 … of tree level `level` × 8. `width` 256 is a full tile, which never changes."""

    level: int
    number: int
    width: int

    def path(self) -> str:
        """Return the tile's path below `tile/`."""
        digits = [f"{self.number % 1000:03d}"]
        rest = self.number // 1000
        while rest:
            digits.insert(0, f"x{rest % 1000:03d}")
            rest //= 1000
        return f"{self.level}/{'/'.join(digits)}" + ("" if self.width == WIDTH else f".p/{self.width}")


def parse_path(path: str) -> Tile | None:
    """Read a tile's path in its one spelling; None for any other."""
    found = _PATH.fullmatch(path.removeprefix("/"))
    if found is None:
        return None
    tile = Tile(level=int(found[1]), number=int(re.sub(r"[x/]", "", found[2])), width=int(found[3] or WIDTH))
    return tile if tile.level < _LEVELS_PER_TILE and tile.width <= WIDTH and tile.path() == path.removeprefix("/") else None


def read(session: Session, tile: Tile) -> bytes | None:
    """Return a tile's hashes, 32 bytes each; None while the log does not reach so far."""
    first = tile.number * WIDTH
    if first + tile.width > log.size_of(session) >> (tile.level * _LEVELS_PER_TILE):
        return None
    query = select(LogNodeRow.hash).where(
        LogNodeRow.level == tile.level * _LEVELS_PER_TILE, LogNodeRow.position >= first, LogNodeRow.position < first + tile.width)
    hashes = session.scalars(query.order_by(LogNodeRow.position)).all()
    assert len(hashes) == tile.width, "a log has every node below its size"
    return b"".join(hashes)
