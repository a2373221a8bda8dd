"""Stamped derivatives (ARCH-14): pictures re-encoded and written over, recordings with the stamp in their container.

Pictures are decoded in a process of its own; recordings are streamed, since only their container changes. What has no stamped
form has no copy.
"""

import struct
from collections.abc import Iterable, Iterator, Sequence

import msgspec

from backend.documents.fonts import FONT
from backend.jobs.apart import run_apart
from evidence.errors import TooLarge, UnsupportedMediaType
from evidence.photo_marks import STAMP, Stamp
from evidence.policy import DEFAULT

PICTURE_TRANSFORM, COARSE_TRANSFORM = "stamp-jpeg/2", "stamp-jpeg-coarse/1"
BOX_TRANSFORM, CHUNK_TRANSFORM = "stamp-mp4-box/1", "stamp-wav-chunk/1"
_STAMP_UUID = bytes.fromhex("5f1e1d5a0b7c4f0e9a55c0b9f1e1d5a0")
"""Names our box in an MP4; players skip boxes they do not know."""
_TIMEOUT_S = 120.0


class StampJob(msgspec.Struct, frozen=True):
    """One picture to be stamped."""

    content: bytes
    stamp: Stamp


def stamp_pictures(jobs: Sequence[StampJob]) -> list[bytes | None]:
    """Stamp pictures in another process; None for one that does not decode."""
    return msgspec.msgpack.decode(run_apart(stamp_all, msgspec.msgpack.encode(list(jobs)), timeout_s=_TIMEOUT_S), type=list[bytes | None])


def stamp_all(payload: bytes) -> bytes:
    """Stamp a list of jobs; jobs and answers are MessagePack. Called through `backend.jobs.apart.run_apart`."""
    return msgspec.msgpack.encode([_stamped(job) for job in msgspec.msgpack.decode(payload, type=list[StampJob])])


def transform_of(stamp: Stamp) -> str:
    """Return the name of what is done to a picture, as the derivation states it."""
    masked = f";masks={len(stamp.masks)}" if stamp.masks else ""
    return f"{COARSE_TRANSFORM if stamp.is_coarse else PICTURE_TRANSFORM}{masked}"


def stamped_recording(head: bytes, media_type: str, size: int, stamp: Stamp) -> tuple[str, str, "Marks"] | None:
    """Return transform, extension and marks for a recording that begins with `head` and has `size` bytes; None if it has no stamped form."""
    text = "\n".join((stamp.text, *stamp.lines)).encode()
    if head[4:8] == b"ftyp":
        extension = "mp4" if media_type.startswith("video/") else "m4a"
        return BOX_TRANSFORM, extension, Marks({}, struct.pack(">I4s", 24 + len(text), b"uuid") + _STAMP_UUID + text)
    if head[:4] == b"RIFF" and head[8:12] == b"WAVE":
        even = text + b"\x00" * (1 + (len(text) + 1) % 2)
        comment = b"INFOICMT" + struct.pack("<I", len(even)) + even
        tail = b"\x00" * (size % 2) + b"LIST" + struct.pack("<I", len(comment)) + comment
        return CHUNK_TRANSFORM, "wav", Marks({4: struct.pack("<I", size + len(tail) - 8)}, tail)
    return None


class Marks(msgspec.Struct, frozen=True):
    """What a stamped recording has that its original has not: bytes put in place of others near the start, and a tail."""

    patches: dict[int, bytes]
    tail: bytes

    def over(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        """Yield the copy of a stream whose first chunk holds everything that is patched."""
        for number, chunk in enumerate(chunks):
            patched = chunk
            for at, raw in self.patches.items() if number == 0 else ():
                patched = patched[:at] + raw + patched[at + len(raw):]
            yield patched
        yield self.tail


def _stamped(job: StampJob) -> bytes | None:
    from evidence.photo import stamped_copy  # Only here: the server's own process loads no decoder.

    try:
        return stamped_copy(job.content, job.stamp, FONT, DEFAULT)
    except (UnsupportedMediaType, TooLarge):
        return None


__all__ = ["STAMP", "Marks", "Stamp", "StampJob", "stamp_all", "stamp_pictures", "stamped_recording", "transform_of"]
