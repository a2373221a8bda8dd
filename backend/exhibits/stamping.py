"""Stamped derivatives (ARCH-14): pictures re-encoded and written over, recordings with the stamp in their container.

Runs in a process of its own, since pictures are decoded. What has no stamped form has no copy.
"""

import struct

import msgspec

from backend.documents.fonts import FONT
from evidence.errors import TooLarge, UnsupportedMediaType
from evidence.photo import STAMP, Stamp, stamped_copy
from evidence.policy import DEFAULT

PICTURE_TRANSFORM, BOX_TRANSFORM, CHUNK_TRANSFORM = "stamp-jpeg/1", "stamp-mp4-box/1", "stamp-wav-chunk/1"
_STAMP_UUID = bytes.fromhex("5f1e1d5a0b7c4f0e9a55c0b9f1e1d5a0")
"""Names our box in an MP4; players skip boxes they do not know."""


class StampJob(msgspec.Struct, frozen=True):
    """One file to be stamped."""

    media_type: str
    content: bytes
    lines: tuple[str, ...]


class Stamped(msgspec.Struct, frozen=True):
    """One stamped copy; `transform` is empty where there is none."""

    transform: str
    extension: str
    content: bytes


def stamp_all(payload: bytes) -> bytes:
    """Stamp a list of jobs; jobs and answers are MessagePack. Called through `backend.jobs.apart.run_apart`."""
    return msgspec.msgpack.encode([_stamped(job) for job in msgspec.msgpack.decode(payload, type=list[StampJob])])


def _stamped(job: StampJob) -> Stamped:
    try:
        if job.media_type.startswith("image/"):
            return Stamped(PICTURE_TRANSFORM, "jpg", stamped_copy(job.content, Stamp(lines=job.lines), FONT, DEFAULT))
    except (UnsupportedMediaType, TooLarge):
        return Stamped("", "", b"")
    text = "\n".join((STAMP, *job.lines)).encode()
    if job.content[4:8] == b"ftyp":
        extension = "mp4" if job.media_type.startswith("video/") else "m4a"
        return Stamped(BOX_TRANSFORM, extension, job.content + struct.pack(">I4s", 24 + len(text), b"uuid") + _STAMP_UUID + text)
    if job.content[:4] == b"RIFF" and job.content[8:12] == b"WAVE":
        return Stamped(CHUNK_TRANSFORM, "wav", _with_chunk(job.content, text))
    return Stamped("", "", b"")


def _with_chunk(content: bytes, text: bytes) -> bytes:
    """Append a LIST/INFO comment to a WAV and mend its length."""
    even = text + b"\x00" * (1 + (len(text) + 1) % 2)
    comment = b"INFOICMT" + struct.pack("<I", len(even)) + even
    body = content + b"\x00" * (len(content) % 2) + b"LIST" + struct.pack("<I", len(comment)) + comment
    return body[:4] + struct.pack("<I", len(body) - 8) + body[8:]
