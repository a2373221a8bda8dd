"""What is written on a copy of a picture, and what is covered on it. No image library is loaded for this."""

from typing import Annotated, Final

import msgspec
from msgspec import Meta

STAMP: Final = "再次复印无效"
_PerMille = Annotated[int, Meta(ge=0, le=1000)]


class Box(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A region a reviewer masks, in per mille of the upright picture.

    Raises:
        ValueError: it has no area.
    """

    left: _PerMille
    top: _PerMille
    right: _PerMille
    bottom: _PerMille

    def __post_init__(self) -> None:
        if self.left >= self.right or self.top >= self.bottom:
            raise ValueError("a mask lies between left and right, top and bottom")


class Stamp(msgspec.Struct, frozen=True, kw_only=True):
    """What is written on a copy: the diagonal stamp (ARCH-14) and readable lines of time, place, pair, purpose and register number.

    `purpose` is a second diagonal, on identity documents. `is_coarse` shows nothing but areas of colour: no character can be read.
    """

    lines: tuple[str, ...]
    text: str = STAMP
    purpose: str = ""
    masks: tuple[Box, ...] = ()
    is_coarse: bool = False
