"""Documents on paper: a typst template of ours and values that are never read as markup. The same input gives the same bytes.

A template lies in `templates/`, begins with `#let values = json(bytes(sys.inputs.values))` and shows members of `values` only.
Pictures are SVG texts among the values; `qr_svg` makes one. Nothing is read from the system: one font, no packages, no clock.
"""

import io
import json
from collections.abc import Iterator, Mapping
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any, Final

import segno
import typst

from backend.documents.fonts import FOLDER, missing_characters

TEMPLATES: Final = Path(__file__).parent / "templates"


class GlyphMissing(ValueError):
    """A text of the document has a character that the font cannot show; printing it would lose a name without a word."""

    def __init__(self, characters: tuple[str, ...]) -> None:
        super().__init__("no glyph for " + ", ".join(f"U+{ord(one):04X}" for one in characters))
        self.characters = characters


class TemplateFaulty(ValueError):
    """The template does not compile, or typst has something to say about it."""


def typeset(template: str, values: Mapping[str, Any], at: datetime, *, is_picture: frozenset[str] = frozenset()) -> bytes:
    """Return the PDF of `templates/<template>` with `values` (JSON members: texts, integers, lists, objects).

    Args:
        template: File name with `.typ`.
        values: What the template shows.
        at: The date of the document, part of its bytes.
        is_picture: Names of top-level values that hold SVG and not text to be read.

    Raises:
        GlyphMissing: a character of a text is not in the font.
        TemplateFaulty: the template cannot be compiled with these values.
    """
    source = (TEMPLATES / template).read_text(encoding="utf-8")
    texts = {name: value for name, value in values.items() if name not in is_picture}
    missing = missing_characters(source + "".join(_texts(texts)))
    if missing:
        raise GlyphMissing(missing)
    try:
        document, warnings = typst.compile_with_warnings(
            source.encode(), font_paths=_fonts(), ignore_system_fonts=True, sys_inputs={"values": json.dumps(values, ensure_ascii=False)},
            timestamp=int(at.timestamp()),
        )
    except typst.TypstError as error:
        raise TemplateFaulty(f"{template}: {error}") from error
    if warnings:
        raise TemplateFaulty(f"{template}: {warnings[0]}")
    return bytes(document)


def qr_svg(text: str) -> str:
    """Return a QR code as SVG; a quarter of it may be soiled."""
    buffer = io.BytesIO()
    segno.make(text, error="q", micro=False).save(buffer, kind="svg", xmldecl=False, border=2)
    return buffer.getvalue().decode()


@cache
def _fonts() -> typst.Fonts:
    return typst.Fonts(include_system_fonts=False, include_embedded_fonts=False, font_paths=[str(FOLDER)])


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for member in value.values():
            yield from _texts(member)
    elif isinstance(value, list | tuple):
        for member in value:
            yield from _texts(member)
