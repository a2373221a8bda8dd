"""Pictures: opened only from an allow-list, measured, hashed, and re-encoded as stamped copies. Alone imports Pillow.

Call `examine_photo` in the sandboxed worker only; some files are built to break parsers.
"""

import io
import math
import struct
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec
import numpy as np
import pi_heif
from PIL import ExifTags, Image, ImageDraw, ImageFont, ImageOps

from evidence.errors import TooLarge, UnsupportedMediaType
from evidence.examination import Exif, Photo, Tail
from evidence.magic import HEAD_BYTES, IMAGES, sniff
from evidence.marks import read_marks
from evidence.photo_marks import STAMP as STAMP
from evidence.photo_marks import Box as Box
from evidence.photo_marks import Stamp as Stamp
from evidence.policy import ContentPolicy

FORMATS: Final = ("JPEG", "PNG", "HEIF", "WEBP")
DECODER_ERRORS: Final = (
    OSError, SyntaxError, ValueError, KeyError, TypeError, IndexError, AttributeError, EOFError, RuntimeError, AssertionError, ArithmeticError,
    MemoryError, struct.error, Warning, Image.DecompressionBombError,
)
"""What Pillow and its plug-ins were seen to raise on broken files; each means the same to us."""
_HASH_SIDE: Final = 32
_COPY_SIDE_MAX: Final = 2_400
_COARSE_SIDE: Final = 40
"""An identity card has some 60 characters across; 40 cells leave nothing of one."""
pi_heif.register_heif_opener(thumbnails=False)


def examine_photo(raw: bytes, policy: ContentPolicy) -> Photo:
    """Decode and measure a picture.

    Raises:
        UnsupportedMediaType: no container of the allow-list, or broken.
        TooLarge: more bytes or pixels than the policy admits; pixels are counted before any is decoded.
    """
    with _opened(raw, policy) as image:
        exif = _exif(image)
        upright = _decoded(image)
        frames = getattr(image, "n_frames", 1)
    tail, tail_bytes = tail_of(raw)
    mirrored = ImageOps.mirror(upright)
    if exif.thumbnail_bits is None:
        exif = msgspec.structs.replace(exif, thumbnail_bits=_thumbnail_bits(raw, upright))
    return Photo(
        width=image.width, height=image.height, frames=frames, tail=tail, tail_bytes=tail_bytes, phash=phash(upright), dhash=dhash(upright),
        mirror_phash=phash(mirrored), mirror_dhash=dhash(mirrored), exif=exif,
        marks=read_marks(_grey(upright)) if policy.marks_s_max else ())


def _grey(image: Image.Image) -> "np.ndarray[tuple[int, int], np.dtype[np.uint8]]":
    small = image.convert("L")
    small.thumbnail((_COPY_SIDE_MAX, _COPY_SIDE_MAX))
    return np.asarray(small, dtype=np.uint8)


def hamming(left: str, right: str) -> int:
    """Count differing bits of two 64-bit hashes in hex."""
    return (int(left, 16) ^ int(right, 16)).bit_count()


def phash(image: Image.Image) -> str:
    """Return the 64-bit perceptual hash: signs of the low frequencies of a 32 × 32 cosine transform against their median."""
    pixels = np.asarray(image.convert("L").resize((_HASH_SIDE, _HASH_SIDE), Image.Resampling.LANCZOS), dtype=np.float64)
    steps = np.arange(_HASH_SIDE)
    basis = np.cos(np.pi / _HASH_SIDE * (steps[None, :] + 0.5) * steps[:, None])
    low = (basis @ pixels @ basis.T)[:8, :8].flatten()
    return _bits(low > np.median(low[1:]))


def dhash(image: Image.Image) -> str:
    """Return the 64-bit difference hash: whether brightness rises from each cell of a 9 × 8 grid to the next."""
    pixels = np.asarray(image.convert("L").resize((9, 8), Image.Resampling.LANCZOS), dtype=np.int16)
    return _bits((pixels[:, 1:] > pixels[:, :-1]).flatten())


def tail_of(raw: bytes) -> tuple[Tail, int]:
    """Tell what follows the picture's own end, and how many bytes. A ZIP tail opens as a clean JPEG everywhere."""
    end = {"jpeg": _jpeg_end, "png": _png_end, "webp": _webp_end, "heif": _heif_end}[str(sniff(raw[:HEAD_BYTES]))](raw)
    tail = raw[end:]
    if not tail.strip(b"\x00"):
        return Tail.NONE, 0
    if b"PK\x05\x06" in tail[-70_000:] or tail.startswith(b"PK\x03\x04"):
        return Tail.ARCHIVE, len(tail)
    if b"ftyp" in tail[:4_096] or b"MotionPhoto_Data" in tail:
        return Tail.MOTION_VIDEO, len(tail)
    if tail.lstrip(b"\x00").startswith(b"\xff\xd8\xff"):
        return Tail.MORE_PICTURES, len(tail)
    return Tail.OTHER, len(tail)


def stamped_copy(raw: bytes, stamp: Stamp, font: Path, policy: ContentPolicy) -> bytes:
    """Return a JPEG copy without any metadata, upright, masked and stamped. Originals never leave this way (ARCH-13, ARCH-14).

    Raises:
        UnsupportedMediaType, TooLarge: as `examine_photo`.
        ValueError: the font lacks a character of the stamp.
    """
    with _opened(raw, policy) as image:
        copy = _decoded(image).convert("RGB")
    copy.thumbnail((_COPY_SIDE_MAX, _COPY_SIDE_MAX))
    if stamp.is_coarse:
        copy = _coarse(copy)
    painter = ImageDraw.Draw(copy)
    for box in stamp.masks:
        # Rounded outwards: nothing that was marked shows at an edge.
        painter.rectangle((box.left * copy.width // 1000, box.top * copy.height // 1000,
                           -(-box.right * copy.width // 1000), -(-box.bottom * copy.height // 1000)), fill="black")
    texts = [stamp.text, stamp.purpose] if stamp.purpose else [stamp.text]
    _write_diagonals(copy, texts, _font(font, max(14, min(copy.width // 16, copy.height // 6)), "".join(texts)))
    lettered = _with_lines(copy, stamp.lines, _font(font, max(12, copy.width // 60), "".join(stamp.lines)))
    out = io.BytesIO()
    lettered.save(out, "JPEG", quality=85)
    return out.getvalue()


def _coarse(copy: Image.Image) -> Image.Image:
    """Average the picture over a coarse grid; what was averaged away is in no bit of the copy."""
    cells = (_COARSE_SIDE, max(1, _COARSE_SIDE * copy.height // copy.width))
    return copy.resize(cells, Image.Resampling.BOX).resize(copy.size, Image.Resampling.NEAREST)


def _opened(raw: bytes, policy: ContentPolicy) -> Image.Image:
    """Open without decoding; bytes and pixels are bounded first."""
    if len(raw) > policy.photo_bytes_max:
        raise TooLarge(f"{len(raw)} bytes, a picture has at most {policy.photo_bytes_max}")
    if sniff(raw[:HEAD_BYTES]) not in IMAGES:
        raise UnsupportedMediaType("not a JPEG, PNG, HEIF or WebP picture")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            image: Image.Image = Image.open(io.BytesIO(raw), formats=FORMATS)
        except (Image.DecompressionBombError, Image.DecompressionBombWarning):
            raise TooLarge(f"far more than {policy.photo_pixels_max} pixels") from None
        except DECODER_ERRORS as error:
            raise UnsupportedMediaType(f"not a readable picture ({type(error).__name__})") from None
    if image.width * image.height > policy.photo_pixels_max or min(image.size) < 1:
        raise TooLarge(f"{image.width} × {image.height} pixels, at most {policy.photo_pixels_max}")
    return image


def _decoded(image: Image.Image) -> Image.Image:
    """Decode and turn upright, with every decoder's way of failing made one."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            return _upright(image)
        except DECODER_ERRORS as error:
            raise UnsupportedMediaType(f"the picture does not decode ({type(error).__name__})") from None


def _upright(image: Image.Image) -> Image.Image:
    image.load()
    turned = ImageOps.exif_transpose(image) or image
    return turned.convert("RGBA").convert("RGB") if turned.mode in ("P", "LA", "PA") else turned.convert("RGB")


def _exif(image: Image.Image) -> Exif:
    """Read EXIF inside one guard: it raised OSError and SyntaxError on published files."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            tags = image.getexif()
            taken, gps = tags.get_ifd(ExifTags.IFD.Exif), tags.get_ifd(ExifTags.IFD.GPSInfo)
            lat, lon, is_broken = _position(gps)
            return Exif(
                taken=_taken(taken.get(ExifTags.Base.DateTimeOriginal) or tags.get(ExifTags.Base.DateTime)),
                offset=_text(taken.get(ExifTags.Base.OffsetTimeOriginal), 6), lat_e7=lat, lon_e7=lon, is_position_broken=is_broken,
                model=_text(tags.get(ExifTags.Base.Model), 64), software=_text(tags.get(ExifTags.Base.Software), 64),
                orientation=orientation if isinstance(orientation := tags.get(ExifTags.Base.Orientation, 1), int) and 1 <= orientation <= 8 else 1)
        except DECODER_ERRORS:
            return Exif(is_unreadable=True)


def _taken(value: object) -> str | None:
    text = _text(value, 19)
    if text is None or len(text) != 19 or not text.replace(":", "").replace(" ", "").isdigit():
        return None
    return f"{text[:10].replace(':', '-')}T{text[11:]}"


def _text(value: object, length_max: int) -> str | None:
    if not isinstance(value, str):
        return None
    return "".join(c for c in value if c.isprintable()).strip()[:length_max] or None


def _position(gps: dict[int, object]) -> tuple[int | None, int | None, bool]:
    """Return latitude and longitude × 10⁷, and whether the camera wrote something impossible."""
    found: list[int] = []
    for value_tag, sign_tag, degrees_max in ((ExifTags.GPS.GPSLatitude, ExifTags.GPS.GPSLatitudeRef, 90),
                                             (ExifTags.GPS.GPSLongitude, ExifTags.GPS.GPSLongitudeRef, 180)):
        value = gps.get(value_tag)
        if value is None:
            return None, None, False
        if not isinstance(value, tuple) or len(value) != 3:
            return None, None, True
        degrees = sum(float(part) / 60**power for power, part in enumerate(value))
        if not math.isfinite(degrees) or not 0 <= degrees <= degrees_max:
            return None, None, True
        found.append(round(degrees * 1e7) * (-1 if gps.get(sign_tag) in ("S", "W") else 1))
    return found[0], found[1], False


def _thumbnail_bits(raw: bytes, upright: Image.Image) -> int | None:
    """Compare the JPEG thumbnail in the EXIF block with the picture; None when there is none."""
    start = raw.find(b"\xff\xd8\xff", 4, 65_536)
    end = raw.find(b"\xff\xd9", start + 4, 131_072)
    if not raw.startswith(b"\xff\xd8") or start < 0 or end < 0 or b"Exif\x00\x00" not in raw[:start]:
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            thumbnail: Image.Image = Image.open(io.BytesIO(raw[start:end + 2]), formats=("JPEG",))
            thumbnail.load()
        except DECODER_ERRORS:
            return None
    turns = (thumbnail, *(thumbnail.transpose(turn) for turn in (Image.Transpose.ROTATE_90, Image.Transpose.ROTATE_180, Image.Transpose.ROTATE_270)))
    return min(hamming(phash(turn), phash(upright)) for turn in turns)


def _bits(signs: "np.ndarray[tuple[int, ...], np.dtype[np.bool_]]") -> str:
    return f"{int(''.join('1' if sign else '0' for sign in signs), 2):016x}"


def _jpeg_end(raw: bytes) -> int:
    """Walk the segments to EOI; entropy-coded data runs to the next marker that is neither stuffing nor a restart."""
    at = 2
    while at + 4 <= len(raw) and raw[at] == 0xFF:
        marker = raw[at + 1]
        if marker == 0xFF:
            at += 1
        elif marker == 0xD9:
            return at + 2
        elif marker == 0x01 or 0xD0 <= marker <= 0xD7:
            at += 2
        else:
            at += 2 + int.from_bytes(raw[at + 2:at + 4], "big")
            if marker == 0xDA:
                at = _scan_end(raw, at)
    return at + 2 if raw[at:at + 2] == b"\xff\xd9" else len(raw)


def _scan_end(raw: bytes, at: int) -> int:
    while (at := raw.find(b"\xff", at)) >= 0 and at + 1 < len(raw):
        if raw[at + 1] != 0 and not 0xD0 <= raw[at + 1] <= 0xD7 and raw[at + 1] != 0xFF:
            return at
        at += 1 if raw[at + 1] == 0xFF else 2
    return len(raw)


def _png_end(raw: bytes) -> int:
    at = 8
    while at + 12 <= len(raw):
        kind, at = raw[at + 4:at + 8], at + 12 + int.from_bytes(raw[at:at + 4], "big")
        if kind == b"IEND":
            return min(at, len(raw))
    return len(raw)


def _webp_end(raw: bytes) -> int:
    size = int.from_bytes(raw[4:8], "little")
    return min(len(raw), 8 + size + (size & 1))


def _heif_end(raw: bytes) -> int:
    at = 0
    while at + 8 <= len(raw):
        size, kind = int.from_bytes(raw[at:at + 4], "big"), raw[at + 4:at + 8]
        if size == 1:
            size = int.from_bytes(raw[at + 8:at + 16], "big")
        if size == 0:
            return len(raw)
        if size < 8 or not kind.isalnum():
            return at
        at += size
    return min(at, len(raw))


def _font(path: Path, size: int, text: str) -> ImageFont.FreeTypeFont:
    """Load a font and refuse one that lacks a character: a missing glyph is an error, never a box."""
    font = ImageFont.truetype(str(path), size)
    hollow = bytes(font.getmask("\U0010fffe"))
    missing = {c for c in set(text) if not c.isspace() and bytes(font.getmask(c)) == hollow}
    if missing:
        raise ValueError(f"the font lacks {''.join(sorted(missing))}")
    return font


def _write_diagonals(copy: Image.Image, texts: Sequence[str], font: ImageFont.FreeTypeFont) -> None:
    """Write the texts all over the picture, in turn, so that no part of it is without; whole at least once where there is room."""
    plates = [_plate(text, font) for text in texts]
    wide, high = max(plate.width for plate in plates), max(plate.height for plate in plates)
    number = 0
    for row, y in enumerate(range(0, copy.height, max(1, high * 2 // 3))):
        for x in range(-(row % 2) * wide // 2, copy.width, max(1, wide)):
            plate = plates[number % len(plates)]
            copy.paste(plate, (x, y), plate)
            number += 1


def _plate(text: str, font: ImageFont.FreeTypeFont) -> Image.Image:
    left, top, right, bottom = font.getbbox(text)
    plate = Image.new("RGBA", (int(right - left) + 40, int(bottom - top) + 40), (0, 0, 0, 0))
    ImageDraw.Draw(plate).text((20 - left, 20 - top), text, font=font, fill=(220, 30, 30, 120), stroke_width=1, stroke_fill=(255, 255, 255, 120))
    return plate.rotate(30, expand=True, resample=Image.Resampling.BICUBIC)


def _with_lines(copy: Image.Image, lines: Sequence[str], font: ImageFont.FreeTypeFont) -> Image.Image:
    """Add a strip below the picture, so that no line hides what it shows."""
    height = int(font.size * 1.4)
    wide = max([copy.width, *(int(font.getlength(line)) + height for line in lines)])
    lettered = Image.new("RGB", (wide, copy.height + height * len(lines) + height // 2), "white")
    lettered.paste(copy, (0, 0))
    painter = ImageDraw.Draw(lettered)
    for number, line in enumerate(lines):
        painter.text((height // 2, copy.height + height // 4 + number * height), line, font=font, fill="black")
    return lettered
