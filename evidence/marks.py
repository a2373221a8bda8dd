"""QR codes in pictures and films. Needs the `media` extra (zxing-cpp); without it none is found and no clock is proven.

Call it in the sandboxed worker only.
"""

from typing import Final

import numpy as np

from evidence.time_mark import MARK_CHARS_MAX

try:
    import zxingcpp
except ImportError:                                  # The extra is not installed.
    zxingcpp = None  # type: ignore[assignment]

MARKS_MAX: Final = 8
"""Per picture: a wall of codes is no clock."""


def read_marks(grey: "np.ndarray[tuple[int, int], np.dtype[np.uint8]]") -> tuple[str, ...]:
    """Return the texts of the QR codes in a grey picture, at most `MARKS_MAX`."""
    if zxingcpp is None:
        return ()
    found = zxingcpp.read_barcodes(np.ascontiguousarray(grey), formats=zxingcpp.BarcodeFormats(zxingcpp.BarcodeFormat.QRCode))
    return tuple(dict.fromkeys(one.text for one in found if one.valid and 0 < len(one.text) <= MARK_CHARS_MAX))[:MARKS_MAX]
