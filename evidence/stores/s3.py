"""A store in an S3 bucket, through obstore: parts are staged as pieces, a blob is a create-only index that names its pieces.

Layout below the prefix: `parts/NAME` is a part's head, `pieces/GENERATION/OFFSET` its bytes, `blobs/NAME` an index. A piece is written once,
at its own offset, so a writer that lost its lock can never change what another made durable. Nothing is copied when a part comes
to rest, however long it is. Bytes are sealed before they come here; the bucket never sees a key.

Where the bucket offers object lock, give it a default retention: every write carries a checksum, as locked buckets demand, and what this
store deletes then only gets a delete marker. Extra `s3`; a bucket with conditional writes (If-None-Match) is needed.
"""

import secrets
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

import msgspec
import obstore
from obstore.exceptions import AlreadyExistsError, BaseError, NotFoundError

from evidence.errors import BlobExists, BlobMissing, StorageUnavailable
from evidence.store import PartWriter, demand_name

PIECE_BYTES_MAX: Final = 4 * 1024 * 1024
"""What a writer holds in memory before it stages a piece by itself."""
_LIST_BYTES: Final = 1_000


class _Head(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A part: where its pieces lie, and under which blob it is coming to rest."""

    generation: str
    blob: str | None = None


class _Piece(msgspec.Struct, frozen=True, array_like=True):
    """One staged object: its offset in the part and its bytes."""

    offset: int
    size: int


class _Index(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A blob."""

    generation: str
    size: int
    pieces: tuple[_Piece, ...]


class S3Store:
    """Keep parts and blobs in a bucket (any store of obstore's with conditional puts)."""

    def __init__(self, bucket: Any, piece_bytes_max: int = PIECE_BYTES_MAX) -> None:
        self._bucket, self._piece_bytes_max = bucket, piece_bytes_max

    def open_part(self, part: str, size: int) -> PartWriter:
        """See `BlobStore`."""
        with _as_unavailable():
            head = self._live_head(part)
            if head is None:
                if size:
                    raise BlobMissing(f"no such part, {size} bytes of it are expected")
                head = self._begin(part)
            pieces = self._cut(head.generation, self._pieces(head.generation), size)
            if (held := _end(pieces)) < size:
                raise BlobMissing(f"the part has {held} bytes, {size} are expected")
        return _StagedPart(self, head.generation, size)

    def part_size(self, part: str) -> int:
        """See `BlobStore`."""
        with _as_unavailable():
            head = self._live_head(part)
            return 0 if head is None else _end(self._pieces(head.generation))

    def read_part(self, part: str, start: int = 0) -> Iterator[bytes]:
        """See `BlobStore`."""
        with _as_unavailable():
            head = self._live_head(part)
            if head is None:
                raise BlobMissing("no such part")
            yield from self._read(head.generation, self._pieces(head.generation), start)

    def delete_part(self, part: str) -> None:
        """See `BlobStore`."""
        with _as_unavailable():
            head = self._live_head(part)
            if head is not None:
                self._delete_pieces(head.generation, self._listed(head.generation))
                self._delete(_part_key(part))

    def parts(self, folder: str) -> Iterator[str]:
        """See `BlobStore`."""
        begin = f"parts/{demand_name(folder)}/"
        with _as_unavailable():
            for batch in obstore.list(self._bucket, begin, chunk_size=_LIST_BYTES):
                yield from (str(one["path"]).removeprefix("parts/") for one in batch)

    def finalise(self, part: str, blob: str) -> None:
        """See `BlobStore`. The steps: 1 note the blob in the part's head, 2 put the index, create-only, 3 delete the head."""
        with _as_unavailable():
            head, index = self._head(part), self._index(blob)
            if head is None:
                if index is None:
                    raise BlobMissing("neither part nor blob")
                return
            if index is None:
                self._overwrite(_part_key(part), msgspec.json.encode(_Head(head.generation, blob)))
                pieces = self._pieces(head.generation)
                index = _Index(head.generation, _end(pieces), tuple(pieces))
                self._create(_blob_key(blob), msgspec.json.encode(index))
            if index.generation != head.generation:
                raise BlobExists("a blob is never replaced")
            self._delete(_part_key(part))

    def put(self, blob: str, sealed: Iterable[bytes]) -> None:
        """See `BlobStore`."""
        demand_name(blob)
        part = f"put-{secrets.token_hex(16)}"
        writer = self.open_part(part, 0)
        try:
            for chunk in sealed:
                writer.write(chunk)
            writer.sync()
            self.finalise(part, blob)
        except Exception:
            self.delete_part(part)
            raise

    def size(self, blob: str) -> int | None:
        """See `BlobStore`."""
        with _as_unavailable():
            index = self._index(blob)
        return None if index is None else index.size

    def read(self, blob: str) -> Iterator[bytes]:
        """See `BlobStore`."""
        with _as_unavailable():
            index = self._index(blob)
            if index is None:
                raise BlobMissing("no such blob")
            yield from self._read(index.generation, index.pieces, 0)

    def delete(self, blob: str) -> None:
        """See `BlobStore`. The index goes last, so that a crash on the way leaves it to be deleted again."""
        with _as_unavailable():
            index = self._index(blob)
            if index is not None:
                self._delete_pieces(index.generation, index.pieces)
                self._delete(_blob_key(blob))

    def stage(self, generation: str, offset: int, sealed: bytes) -> None:
        """Put one piece, create-only and durable when this returns. For this store's writers."""
        with _as_unavailable():
            self._create(_piece_key(generation, offset), sealed)

    @property
    def piece_bytes_max(self) -> int:
        """How much a writer holds back."""
        return self._piece_bytes_max

    def _begin(self, part: str) -> _Head:
        head = _Head(generation=secrets.token_hex(16))
        try:
            self._create(_part_key(part), msgspec.json.encode(head))
        except BlobExists as error:
            raise StorageUnavailable("another writer began this part") from error
        return head

    def _live_head(self, part: str) -> _Head | None:
        """Return the head of a part whose pieces are still its own; one that a crash left behind after step 2 is cleared away."""
        head = self._head(part)
        if head is None or head.blob is None:
            return head
        index = self._index(head.blob)
        if index is None or index.generation != head.generation:
            return head
        self._delete(_part_key(part))
        return None

    def _head(self, part: str) -> _Head | None:
        raw = self._get(_part_key(part))
        return None if raw is None else msgspec.json.decode(raw, type=_Head)

    def _index(self, blob: str) -> _Index | None:
        raw = self._get(_blob_key(blob))
        return None if raw is None else msgspec.json.decode(raw, type=_Index)

    def _listed(self, generation: str) -> list[_Piece]:
        found = [_Piece(int(str(one["path"]).rpartition("/")[2]), int(one["size"]))
                 for batch in obstore.list(self._bucket, f"pieces/{generation}/", chunk_size=_LIST_BYTES) for one in batch]
        return sorted(found, key=lambda one: one.offset)

    def _pieces(self, generation: str) -> list[_Piece]:
        """Return the pieces that follow each other from the start; what lies beyond a gap was never acknowledged."""
        whole: list[_Piece] = []
        for one in self._listed(generation):
            if one.offset != _end(whole):
                break
            whole.append(one)
        return whole

    def _cut(self, generation: str, pieces: Sequence[_Piece], size: int) -> list[_Piece]:
        kept = [one for one in pieces if one.offset + one.size <= size]
        across = next((one for one in pieces if one.offset < size < one.offset + one.size), None)
        # From the end, so that a crash between two deletions leaves no gap.
        beyond = [one for one in self._listed(generation) if one.offset >= size]
        self._delete_pieces(generation, beyond)
        if across is not None:
            remaining = size - across.offset
            key = _piece_key(generation, across.offset)
            self._overwrite(key, bytes(obstore.get_range(self._bucket, key, start=0, end=remaining)))
            kept.append(_Piece(across.offset, remaining))
        return kept

    def _read(self, generation: str, pieces: Iterable[_Piece], start: int) -> Iterator[bytes]:
        for one in pieces:
            if one.offset + one.size <= start:
                continue
            key, skip = _piece_key(generation, one.offset), max(0, start - one.offset)
            raw = obstore.get_range(self._bucket, key, start=skip, end=one.size) if skip else obstore.get(self._bucket, key).bytes()
            yield bytes(raw)

    def _get(self, key: str) -> bytes | None:
        try:
            return bytes(obstore.get(self._bucket, key).bytes())
        except (NotFoundError, FileNotFoundError):
            return None

    def _create(self, key: str, content: bytes) -> None:
        try:
            obstore.put(self._bucket, key, content, mode="create", use_multipart=False)
        except AlreadyExistsError as error:
            raise BlobExists("a blob or piece is never replaced") from error

    def _overwrite(self, key: str, content: bytes) -> None:
        obstore.put(self._bucket, key, content, use_multipart=False)

    def _delete_pieces(self, generation: str, pieces: Sequence[_Piece]) -> None:
        for one in sorted(pieces, key=lambda one: -one.offset):
            self._delete(_piece_key(generation, one.offset))

    def _delete(self, key: str) -> None:
        try:
            obstore.delete(self._bucket, key)
        except (NotFoundError, FileNotFoundError):
            return


class _StagedPart:
    """Collects what is written and stages it piece by piece."""

    def __init__(self, store: S3Store, generation: str, size: int) -> None:
        self._store, self._generation, self._staged = store, generation, size
        self._waiting = bytearray()

    def write(self, sealed: bytes | memoryview) -> None:
        self._waiting += sealed
        if len(self._waiting) >= self._store.piece_bytes_max:
            self._stage()

    def sync(self) -> int:
        if self._waiting:
            self._stage()
        return self._staged

    def close(self) -> None:
        self._waiting.clear()

    def _stage(self) -> None:
        try:
            self._store.stage(self._generation, self._staged, bytes(self._waiting))
        except BlobExists as error:
            raise StorageUnavailable("another writer took this part over") from error
        self._staged += len(self._waiting)
        self._waiting.clear()


def _part_key(part: str) -> str:
    return f"parts/{demand_name(part)}"


def _blob_key(blob: str) -> str:
    return f"blobs/{demand_name(blob)}"


def _piece_key(generation: str, offset: int) -> str:
    return f"pieces/{generation}/{offset:016d}"


def _end(pieces: Sequence[_Piece]) -> int:
    return pieces[-1].offset + pieces[-1].size if pieces else 0


@contextmanager
def _as_unavailable() -> Iterator[None]:
    try:
        yield
    except (BaseError, OSError, TimeoutError) as error:
        # The kind alone: texts of the store name keys and addresses.
        raise StorageUnavailable(f"the bucket answers {type(error).__name__}") from error
