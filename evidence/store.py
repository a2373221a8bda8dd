"""Where sealed bytes rest: the port. Parts grow while an upload runs; blobs are written once and never over another.

A store promises: what `sync` and `finalise` returned for survives power loss; `finalise` and `put` never replace a blob;
a missing disk or a full one is `StorageUnavailable`, never a lie.
"""

import re
from collections.abc import Iterable, Iterator
from typing import Final, Protocol

from evidence.errors import BlobMissing

READ_BYTES: Final = 262_144
_NAME: Final = re.compile(r"[a-z0-9](?:[a-z0-9_-]|/(?=[a-z0-9])|\.(?=[a-z0-9])){0,199}")


class PartWriter(Protocol):
    """An open part, owned by one upload request at a time (the caller holds the upload's lock)."""

    def write(self, sealed: bytes | memoryview) -> None:
        """Append; promises nothing until `sync`. A view is done with when this returns."""

    def sync(self) -> int:
        """Make all that was written durable and return the part's size in bytes."""

    def close(self) -> None:
        """Release the part; bytes not synced may be lost."""


class BlobStore(Protocol):
    """Parts and create-only blobs, both named by the caller."""

    def open_part(self, part: str, size: int) -> PartWriter:
        """Open a part for appending after `size` bytes, cutting off what lies beyond; creates it at size 0, durable with the first `sync`.

        Raises:
            BlobMissing: the part is shorter than `size`.
        """

    def part_size(self, part: str) -> int:
        """Return the part's bytes, 0 when there is none."""

    def read_part(self, part: str, start: int = 0) -> Iterator[bytes]:
        """Yield the part's bytes from `start` on. Raises BlobMissing."""

    def delete_part(self, part: str) -> None:
        """Delete the part durably; none is fine."""

    def parts(self, folder: str) -> Iterator[str]:
        """Yield the names of all parts in a folder, in any order; one may come to rest or go meanwhile."""

    def finalise(self, part: str, blob: str) -> None:
        """Turn a part into a blob: durably, create-only. Repeating after a crash is fine.

        Raises:
            BlobExists: both the part and a blob of that name exist.
            BlobMissing: neither exists.
        """

    def put(self, blob: str, sealed: Iterable[bytes]) -> None:
        """Write a whole blob, create-only. Raises BlobExists."""

    def size(self, blob: str) -> int | None:
        """Return the blob's bytes, None when there is none."""

    def read(self, blob: str) -> Iterator[bytes]:
        """Yield the blob's bytes. Raises BlobMissing."""

    def delete(self, blob: str) -> None:
        """Destroy a blob durably; none is fine. Who may is decided elsewhere, by two people."""


def demand_name(name: str) -> str:
    """Return a part or blob name that is safe on every store: lower-case segments, no empty, hidden or parent ones.

    Raises:
        BlobMissing: the name cannot exist.
    """
    if not _NAME.fullmatch(name):
        raise BlobMissing("not a name of this store")
    return name
