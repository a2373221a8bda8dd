"""Resumable uploads: the rules of tus 1.0 (core, creation, expiration, termination, checksum with sha256), as pure judgements.

Lengths and offsets are bytes of plain content. Not offered: concatenation, deferred length, creation with upload.
"""

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Final

import msgspec

from evidence.errors import (
    ChecksumMismatch,
    ItemNotDeclared,
    OffsetMismatch,
    QuotaExceeded,
    SizeMismatch,
    TooLarge,
    UnsupportedMediaType,
    UploadGone,
    UploadMalformed,
    UploadVersionUnsupported,
)
from evidence.manifest import Item

TUS_VERSION: Final = "1.0.0"
EXTENSIONS: Final = "creation,expiration,termination,checksum"
PIECE_TYPE: Final = "application/offset+octet-stream"
METADATA_CHARS_MAX: Final = 4_096
_DECIMAL: Final = re.compile(r"0|[1-9][0-9]{0,15}", re.ASCII)
_METADATA_KEY: Final = re.compile(r"[!-+\--~]{1,100}", re.ASCII)          # Printable ASCII without space and comma.


class UploadLimits(msgspec.Struct, frozen=True, kw_only=True):
    """Bounds of one deployment."""

    image_bytes_max: int = 40_000_000
    audio_bytes_max: int = 20_000_000
    video_bytes_max: int = 500_000_000
    expiry_s: int = 30 * 86_400
    open_uploads_max: int = 400
    open_bytes_max: int = 4_000_000_000
    day_bytes_max: int = 10_000_000_000
    media_types: frozenset[str] = frozenset({
        "image/jpeg", "image/png", "image/heic", "image/heif", "image/webp",
        "audio/mp4", "audio/aac", "audio/amr", "audio/amr-wb", "audio/3gpp", "audio/ogg", "audio/opus", "audio/wav", "audio/x-wav",
        "video/mp4", "video/3gpp", "video/quicktime",
    })

    def bytes_max(self, media_type: str) -> int:
        """Return the bound for a media type."""
        family = media_type.partition("/")[0]
        return {"audio": self.audio_bytes_max, "video": self.video_bytes_max}.get(family, self.image_bytes_max)


class Creation(msgspec.Struct, frozen=True, kw_only=True):
    """A creation request, read from its headers."""

    length: int
    metadata: Mapping[str, str]


class Checksum(msgspec.Struct, frozen=True, kw_only=True):
    """The announced digest of one piece."""

    sha256: bytes


class Piece(msgspec.Struct, frozen=True, kw_only=True):
    """A PATCH request, read from its headers. `length` is None when the client streams without Content-Length."""

    offset: int
    length: int | None
    checksum: Checksum | None


class UploadState(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of an upload. `offset` counts durable bytes only."""

    length: int
    offset: int
    expires_at: datetime
    is_terminated: bool = False


class Usage(msgspec.Struct, frozen=True, kw_only=True):
    """A device's unfinished uploads, and the lengths of all that it opened within the last day."""

    open_uploads: int
    open_bytes: int
    day_bytes: int = 0


def demand_version(headers: Mapping[str, str]) -> None:
    """Demand Tus-Resumable 1.0.0 (every method but OPTIONS). Raises UploadVersionUnsupported, answered with Tus-Version."""
    if _header(headers, "Tus-Resumable") != TUS_VERSION:
        raise UploadVersionUnsupported(f"Tus-Resumable {TUS_VERSION} is expected")


def read_creation(headers: Mapping[str, str]) -> Creation:
    """Read Upload-Length and Upload-Metadata.

    Raises:
        UploadMalformed: a header is missing, deferred or unreadable.
    """
    if _header(headers, "Upload-Defer-Length") is not None:
        raise UploadMalformed("a deferred length is not offered")
    if _header(headers, "Upload-Concat") is not None:
        raise UploadMalformed("concatenation is not offered")
    return Creation(length=_number(headers, "Upload-Length"), metadata=read_metadata(_header(headers, "Upload-Metadata") or ""))


def read_metadata(text: str) -> dict[str, str]:
    """Read `key base64,key base64`; a key alone has the empty value.

    Raises:
        UploadMalformed: bad key, base64 or UTF-8, a key twice, or over 4,096 characters.
    """
    if len(text) > METADATA_CHARS_MAX:
        raise UploadMalformed(f"Upload-Metadata has at most {METADATA_CHARS_MAX} characters")
    metadata: dict[str, str] = {}
    for pair in text.split(",") if text.strip() else []:
        key, _, encoded = pair.strip(" ").partition(" ")
        if not _METADATA_KEY.fullmatch(key) or key in metadata:
            raise UploadMalformed("Upload-Metadata holds an empty, odd or repeated key")
        metadata[key] = _metadata_value(encoded)
    return metadata


def read_piece(headers: Mapping[str, str]) -> Piece:
    """Read the headers of a PATCH.

    Raises:
        UnsupportedMediaType: the content type is not `application/offset+octet-stream`.
        UploadMalformed: Upload-Offset, Content-Length or Upload-Checksum is missing or unreadable.
    """
    if (_header(headers, "Content-Type") or "").partition(";")[0].strip().lower() != PIECE_TYPE:
        raise UnsupportedMediaType(f"Content-Type {PIECE_TYPE} is expected")
    length = None if _header(headers, "Content-Length") is None else _number(headers, "Content-Length")
    checksum = _header(headers, "Upload-Checksum")
    return Piece(offset=_number(headers, "Upload-Offset"), length=length, checksum=None if checksum is None else read_checksum(checksum))


def read_checksum(text: str) -> Checksum:
    """Read `sha256 <base64>`.

    Raises:
        UploadMalformed: another algorithm, or not the base64 of 32 bytes.
    """
    algorithm, _, encoded = text.strip(" ").partition(" ")
    if algorithm != "sha256":
        raise UploadMalformed("the only checksum algorithm is sha256")
    try:
        digest = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        raise UploadMalformed("the checksum is not base64") from None
    if len(digest) != 32:
        raise UploadMalformed("a sha256 checksum has 32 bytes")
    return Checksum(sha256=digest)


def judge_creation(creation: Creation, item: Item | None, limits: UploadLimits) -> None:
    """Judge a creation against the signed manifest, type and size before any byte is read.

    Raises:
        ItemNotDeclared: the manifest lists no such item.
        SizeMismatch: another length than the manifest's.
        UnsupportedMediaType, TooLarge: outside the allow-list or its bounds.
    """
    if item is None:
        raise ItemNotDeclared("the manifest does not list this item")
    if item.media_type not in limits.media_types:
        raise UnsupportedMediaType(f"{item.media_type} is not taken")
    if max(creation.length, item.size) > (bytes_max := limits.bytes_max(item.media_type)):
        raise TooLarge(f"{creation.length} bytes, {item.media_type} has at most {bytes_max}")
    if creation.length != item.size:
        raise SizeMismatch(f"Upload-Length {creation.length}, the manifest says {item.size}")


def demand_quota(usage: Usage, length: int, limits: UploadLimits) -> None:
    """Refuse one more upload of a device with too many unfinished ones, too many bytes in them, or a full day. Raises QuotaExceeded."""
    if usage.open_uploads >= limits.open_uploads_max or usage.open_bytes + length > limits.open_bytes_max:
        raise QuotaExceeded("too many unfinished uploads on this device")
    demand_day(usage, length, limits)


def demand_day(usage: Usage, length: int, limits: UploadLimits) -> None:
    """Refuse what goes beyond a device's day; it may be sent as the day moves on. Raises QuotaExceeded."""
    if usage.day_bytes + length > limits.day_bytes_max:
        raise QuotaExceeded(f"more than {limits.day_bytes_max} bytes of this device within a day")


def demand_present(state: UploadState, now: datetime) -> None:
    """Refuse a terminated or expired upload; a finished one never expires here. Raises UploadGone."""
    if state.is_terminated or (now >= state.expires_at and state.offset < state.length):
        raise UploadGone("the upload was terminated or expired")


def judge_piece(piece: Piece, state: UploadState, now: datetime) -> None:
    """Judge a PATCH before its body is read.

    Raises:
        UploadGone: terminated or expired.
        OffsetMismatch: it does not start at the durable offset.
        TooLarge: it reaches beyond the announced length.
    """
    demand_present(state, now)
    if piece.offset != state.offset:
        raise OffsetMismatch(f"Upload-Offset {piece.offset}, {state.offset} bytes are stored")
    if piece.length is not None and piece.offset + piece.length > state.length:
        raise TooLarge(f"the piece ends at {piece.offset + piece.length}, the upload has {state.length} bytes")


class PieceReceiver:
    """Count and hash a piece while it streams; bytes are durable only after `demand_checksum`."""

    def __init__(self, piece: Piece, state: UploadState) -> None:
        self._checksum = piece.checksum
        self._room = state.length - state.offset
        self._digest = None if piece.checksum is None else hashlib.sha256()      # Hashing costs; the whole item is hashed anyway.
        self.received = 0

    def take(self, chunk: bytes) -> bytes:
        """Count a chunk. Raises TooLarge when the stream outgrows the announced length."""
        self.received += len(chunk)
        if self.received > self._room:
            raise TooLarge("the stream is longer than the upload")
        if self._digest is not None:
            self._digest.update(chunk)
        return chunk

    def demand_checksum(self) -> None:
        """Demand the announced checksum; on ChecksumMismatch the caller cuts the part back to where the piece began."""
        if self._digest is not None and self._checksum is not None and not hmac.compare_digest(self._digest.digest(), self._checksum.sha256):
            raise ChecksumMismatch("the piece does not hash to its Upload-Checksum")


def option_headers(limits: UploadLimits) -> dict[str, str]:
    """Return what OPTIONS tells a client."""
    return {
        "Tus-Resumable": TUS_VERSION, "Tus-Version": TUS_VERSION, "Tus-Extension": EXTENSIONS,
        "Tus-Max-Size": str(limits.video_bytes_max), "Tus-Checksum-Algorithm": "sha256",
    }


def state_headers(state: UploadState) -> dict[str, str]:
    """Return what HEAD, POST and PATCH tell about an upload."""
    headers = {"Tus-Resumable": TUS_VERSION, "Upload-Offset": str(state.offset), "Upload-Length": str(state.length), "Cache-Control": "no-store"}
    if state.offset < state.length:
        headers["Upload-Expires"] = f"{state.expires_at.astimezone(UTC):%a, %d %b %Y %H:%M:%S} GMT"
    return headers


def expiry(created_at: datetime, limits: UploadLimits) -> datetime:
    """Return when an unfinished upload expires."""
    return created_at + timedelta(seconds=limits.expiry_s)


def _header(headers: Mapping[str, str], name: str) -> str | None:
    return headers.get(name, headers.get(name.lower()))


def _number(headers: Mapping[str, str], name: str) -> int:
    text = _header(headers, name)
    if text is None or not _DECIMAL.fullmatch(text):
        raise UploadMalformed(f"{name} must be a decimal number of at most 16 digits")
    return int(text)


def _metadata_value(encoded: str) -> str:
    try:
        value = base64.b64decode(encoded, validate=True).decode("utf-8")
    except (binascii.Error, ValueError):
        raise UploadMalformed("a metadata value is not base64 of UTF-8") from None
    if "\x00" in value:
        raise UploadMalformed("a metadata value holds U+0000")
    return value
