"""A store in memory: for tests and for demonstrations that keep nothing."""

import threading
from collections.abc import Iterable, Iterator

from evidence.errors import BlobExists, BlobMissing
from evidence.store import PartWriter, demand_name


class MemoryStore:
    """Keep parts and blobs in two dictionaries under one lock."""

    def __init__(self) -> None:
        self._parts: dict[str, bytearray] = {}
        self._blobs: dict[str, bytes] = {}
        self._lock = threading.Lock()

    def open_part(self, part: str, size: int) -> PartWriter:
        """See `BlobStore`."""
        with self._lock:
            held = self._parts.get(demand_name(part), bytearray())
            if len(held) < size:
                raise BlobMissing(f"the part has {len(held)} bytes, {size} are expected")
            self._parts[part] = held[:size]
        return _MemoryPart(self._parts, part, self._lock)

    def part_size(self, part: str) -> int:
        """See `BlobStore`."""
        with self._lock:
            return len(self._parts.get(demand_name(part), b""))

    def read_part(self, part: str, start: int = 0) -> Iterator[bytes]:
        """See `BlobStore`."""
        with self._lock:
            if demand_name(part) not in self._parts:
                raise BlobMissing("no such part")
            held = bytes(self._parts[part][start:])
        return iter([held])

    def delete_part(self, part: str) -> None:
        """See `BlobStore`."""
        with self._lock:
            self._parts.pop(demand_name(part), None)

    def parts(self, folder: str) -> Iterator[str]:
        """See `BlobStore`."""
        with self._lock:
            names = [name for name in self._parts if name.startswith(demand_name(folder) + "/")]
        return iter(names)

    def finalise(self, part: str, blob: str) -> None:
        """See `BlobStore`."""
        with self._lock:
            if demand_name(part) not in self._parts:
                if demand_name(blob) in self._blobs:
                    return
                raise BlobMissing("neither part nor blob")
            if demand_name(blob) in self._blobs:
                raise BlobExists("a blob is never replaced")
            self._blobs[blob] = bytes(self._parts.pop(part))

    def put(self, blob: str, sealed: Iterable[bytes]) -> None:
        """See `BlobStore`."""
        content = b"".join(sealed)
        with self._lock:
            if demand_name(blob) in self._blobs:
                raise BlobExists("a blob is never replaced")
            self._blobs[blob] = content

    def size(self, blob: str) -> int | None:
        """See `BlobStore`."""
        with self._lock:
            held = self._blobs.get(demand_name(blob))
        return None if held is None else len(held)

    def read(self, blob: str) -> Iterator[bytes]:
        """See `BlobStore`."""
        with self._lock:
            held = self._blobs.get(demand_name(blob))
        if held is None:
            raise BlobMissing("no such blob")
        return iter([held])

    def delete(self, blob: str) -> None:
        """See `BlobStore`."""
        with self._lock:
            self._blobs.pop(demand_name(blob), None)


class _MemoryPart:
    def __init__(self, parts: dict[str, bytearray], part: str, lock: threading.Lock) -> None:
        self._parts, self._part, self._lock = parts, part, lock

    def write(self, sealed: bytes | memoryview) -> None:
        with self._lock:
            self._parts[self._part] += sealed

    def sync(self) -> int:
        with self._lock:
            return len(self._parts[self._part])

    def close(self) -> None:
        """Nothing to release."""
