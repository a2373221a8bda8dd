"""The one font of every document, vendored whole with its licence beside it, and what it can show."""

import struct
from functools import cache
from pathlib import Path
from typing import Final

FOLDER: Final = Path(__file__).parent / "fonts"
FONT: Final = FOLDER / "NotoSansCJKsc-Regular.otf"
FAMILY: Final = "Noto Sans CJK SC"

_LAYOUT_ONLY = frozenset("\n\r\t")
_WIDE_MAP = (3, 10)
"""Platform and encoding of the character map that covers all of Unicode (OpenType, `cmap`, format 12)."""


def missing_characters(text: str) -> tuple[str, ...]:
    """Return the characters of `text` that the font has no glyph for, in order, each once. Typst would draw a box and say nothing."""
    known = _known()
    shown = dict.fromkeys(one for one in text if one not in _LAYOUT_ONLY)
    return tuple(one for one in shown if not any(first <= ord(one) <= last for first, last in known[ord(one) >> 8]))


class _Pages(dict[int, tuple[tuple[int, int], ...]]):
    """Ranges by the upper bits of the code point, so that a look-up reads a few of them and not thousands."""

    def __missing__(self, page: int) -> tuple[tuple[int, int], ...]:
        return ()


@cache
def _known() -> _Pages:
    content = FONT.read_bytes()
    tables = struct.unpack_from(">H", content, 4)[0]
    start = next(
        offset for tag, _, offset, _ in (struct.unpack_from(">4sIII", content, 12 + 16 * place) for place in range(tables)) if tag == b"cmap")
    maps = struct.unpack_from(">H", content, start + 2)[0]
    wide = next(
        start + offset for platform, encoding, offset in (struct.unpack_from(">HHI", content, start + 4 + 8 * place) for place in range(maps))
        if (platform, encoding) == _WIDE_MAP)
    kind, groups = struct.unpack_from(">H", content, wide)[0], struct.unpack_from(">I", content, wide + 12)[0]
    assert kind == 12, "the map over all of Unicode has format 12"
    pages: dict[int, list[tuple[int, int]]] = {}
    for place in range(groups):
        first, last, _ = struct.unpack_from(">III", content, wide + 16 + 12 * place)
        for page in range(first >> 8, (last >> 8) + 1):
            pages.setdefault(page, []).append((first, last))
    return _Pages({page: tuple(ranges) for page, ranges in pages.items()})
