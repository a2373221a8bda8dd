"""Moving the bytes of one upload into the sealed store: where it stands, one piece, the end.

Every step may be the last of its process. A piece is acknowledged only after its records were synced; what a crash tore is
cut off by whoever comes next. What this process remembers (extent, running digest) counts only while it alone wrote.
"""

import hashlib
import shutil
from collections import OrderedDict
from collections.abc import Iterator
from datetime import datetime
from threading import Lock
from typing import Protocol
from uuid import UUID

import msgspec

from backend.core.problems import StorageUnavailable
from backend.core.settings import Settings
from backend.exhibits.locks import FolderLocks, HeldLock, Locks
from backend.exhibits.model import UploadState
from backend.exhibits.refusals import refusing
from backend.exhibits.uploads import Transfer
from evidence.errors import BlobExists, BlobMissing, DigestMismatch
from evidence.sealing import MAGIC, SealContext, SealedExtent, Sealer, measure, open_part, open_sealed
from evidence.store import BlobStore, PartWriter
from evidence.uploads import Piece, PieceReceiver, judge_piece
from evidence.uploads import UploadState as Progress

REMEMBERED_MAX = 1_000
TAIL_BYTES = 16
RECORD_OVERHEAD_BYTES = 27
"""Prefix, length and tag of one sealed record (`evidence.sealing`)."""
EMPTY = SealedExtent(plain_bytes=0, sealed_bytes=0, records=0, is_finished=False)


class _Hash(Protocol):
    def update(self, data: bytes, /) -> None: ...
    def hexdigest(self) -> str: ...
    def copy(self) -> "_Hash": ...


class Known(msgspec.Struct, frozen=True):
    """How far the durable bytes of an upload reach, and their running digest where this process hashed all of them.

    `tail` is the end of the last record: a tag under a random prefix, so no other process can have written the same.
    """

    extent: SealedExtent
    digest: _Hash | None
    tail: bytes = b""


def demand_room(settings: Settings, length: int) -> None:
    """Refuse new bytes before the disk is full. Raises `StorageUnavailable`."""
    if settings.store_url is not None:
        length = 0                                   # The bytes go elsewhere; the database still needs its reserve here.
    usage = shutil.disk_usage(settings.data_folder)
    floor = max(settings.free_bytes_min, int(usage.total * settings.free_share_min))
    if usage.free - length < floor:
        raise StorageUnavailable(reason="the disk is nearly full", retry_after_s=600)


class Desk:
    """What one process needs to receive uploads."""

    def __init__(self, store: BlobStore, settings: Settings, locks: Locks | None = None) -> None:
        self.store, self.settings = store, settings
        # By default on the disk of the processes that share the local store.
        self.locks = locks or FolderLocks(settings.data_folder / "locks")
        self._remembered: OrderedDict[UUID, Known] = OrderedDict()
        self._guard = Lock()

    def acquire(self, upload_id: UUID) -> HeldLock:
        """Become the one writer of an upload. Raises `UploadLocked`."""
        return self.locks.acquire(upload_id)

    def demand_room(self, length: int) -> None:
        """Refuse new bytes before the disk is full: what was acknowledged must stay safe. Raises `StorageUnavailable`."""
        demand_room(self.settings, length)

    def known(self, transfer: Transfer) -> Known:
        """Return how far an upload reaches, by memory where it is still true, else by reading what is stored. Holds the lock."""
        with self._guard:
            remembered = self._remembered.get(transfer.id)
        with refusing():
            if remembered is not None and self._is_true(transfer.part, remembered):
                return remembered
            if self.store.part_size(transfer.part) == 0:
                return Known(EMPTY, hashlib.sha256())
            return Known(measure(self.store.read_part(transfer.part)), None)

    def _is_true(self, part: str, remembered: Known) -> bool:
        """Whether nobody else wrote since: the part ends where this process ended it, with the same tag."""
        size = remembered.extent.sealed_bytes
        if self.store.part_size(part) != size:
            return False
        return b"".join(self.store.read_part(part, size - len(remembered.tail))) == remembered.tail

    def remember(self, upload_id: UUID, known: Known) -> None:
        """Keep what this process has made durable."""
        with self._guard:
            self._remembered[upload_id] = known
            self._remembered.move_to_end(upload_id)
            while len(self._remembered) > REMEMBERED_MAX:
                self._remembered.popitem(last=False)

    def forget(self, upload_id: UUID) -> None:
        """Drop what was remembered."""
        with self._guard:
            self._remembered.pop(upload_id, None)

    def is_at_rest(self, transfer: Transfer) -> bool:
        """Whether the bytes already rest under their final name; a crash may have come before the row told it."""
        return self.store.size(transfer.blob) is not None

    def is_untouched(self, transfer: Transfer) -> bool:
        """Whether nothing of it rests yet; true only for as long as nobody sends."""
        return not self.is_at_rest(transfer) and self.store.part_size(transfer.part) == 0

    def progress(self, transfer: Transfer) -> Progress:
        """Return the durable offset. Holds the lock."""
        is_whole = transfer.state is UploadState.FINISHED or self.is_at_rest(transfer)
        offset = transfer.length if is_whole else self.known(transfer).extent.plain_bytes
        return Progress(length=transfer.length, offset=offset, expires_at=transfer.expires_at)


class OpenPiece:
    """One PATCH on its way: `take` chunks, then `close`. Owned by one request that holds the upload's lock; its calls wait for each other."""

    def __init__(self, desk: Desk, transfer: Transfer, piece: Piece, now: datetime) -> None:
        progress = desk.progress(transfer)
        with refusing():
            judge_piece(piece, progress, now)
            self._start = desk.known(transfer) if progress.offset < transfer.length else Known(EMPTY, None)
            self._receiver = PieceReceiver(piece, progress)
        self._desk, self._transfer, self._piece = desk, transfer, piece
        self._context = SealContext(tenant=desk.settings.tenant, item_sha256=transfer.sha256)
        self._digest = self._start.digest.copy() if self._start.digest is not None else None
        self._writer: PartWriter | None = None
        self._sealer = Sealer(transfer.key, self._context, self._start.extent) if progress.offset < transfer.length else None
        self._sealed_bytes, self._tail = self._start.extent.sealed_bytes, self._start.tail
        self.offset = progress.offset
        self._mutex, self._is_over = Lock(), False

    def take(self, chunk: bytes) -> None:
        """Seal and write a chunk; not durable yet, and nothing at all after the end. Raises `TooLarge` when the stream outgrows the upload."""
        with self._mutex:
            if not self._is_over:
                self._take(chunk)

    def _take(self, chunk: bytes) -> None:
        with refusing():
            self._receiver.take(chunk)
            if not chunk or self._sealer is None:
                return
            if self._writer is None:
                self._writer = self._desk.store.open_part(self._transfer.part, self._start.extent.sealed_bytes)
            self._write(self._sealer.update_in_room(chunk))
        if self._digest is not None:
            self._digest.update(chunk)

    def close(self, *, is_whole: bool) -> int:
        """Make what was taken durable and return the new offset, or cut it off again.

        A piece with a checksum counts whole and verified or not at all; one without counts as far as it came.

        Raises:
            ChecksumMismatch: the piece was damaged; it is cut off.
        """
        with self._mutex:
            self._is_over = True
            return self._close(is_whole=is_whole)

    def _close(self, *, is_whole: bool) -> int:
        if self._writer is None or self._sealer is None:
            with refusing():
                self._receiver.demand_checksum()
            return self.offset
        try:
            with refusing():
                if self._piece.checksum is not None and not is_whole:
                    self._cut()
                    return self.offset
                self._receiver.demand_checksum()
                return self._settle(self._writer, self._sealer)
        except BaseException:
            self._cut()
            raise
        finally:
            self._writer.close()

    def abandon(self) -> None:
        """Cut off what was taken: the request itself was wrong."""
        with self._mutex:
            self._is_over = True
            if self._writer is not None:
                self._cut()
                self._writer.close()

    def _settle(self, writer: PartWriter, sealing: Sealer) -> int:
        plain_bytes = self.offset + self._receiver.received
        is_finished = plain_bytes == self._transfer.length
        self._write(sealing.finish() if is_finished else sealing.flush())
        durable = writer.sync()
        assert durable == self._sealed_bytes, "the store made another number of bytes durable than were written"
        records, rest = divmod(durable - len(MAGIC) - plain_bytes, RECORD_OVERHEAD_BYTES)
        assert rest == 0, "the sealed bytes are not whole records"
        extent = SealedExtent(plain_bytes=plain_bytes, sealed_bytes=durable, records=records, is_finished=is_finished)
        assert len(self._tail) == TAIL_BYTES
        self._desk.remember(self._transfer.id, Known(extent, self._digest, self._tail))
        self.offset = plain_bytes
        return plain_bytes

    def _write(self, sealed: bytes | memoryview) -> None:
        assert self._writer is not None
        if sealed:
            self._writer.write(sealed)
            self._sealed_bytes += len(sealed)
            self._tail = bytes(sealed[-TAIL_BYTES:])

    def _cut(self) -> None:
        self._desk.forget(self._transfer.id)
        self._desk.store.open_part(self._transfer.part, self._start.extent.sealed_bytes).close()


def settle_whole(desk: Desk, transfer: Transfer) -> bool:
    """Bring a whole upload to rest under its final name; False while bytes are missing. Holds the lock, repeats safely.

    Raises:
        DigestMismatch: the bytes are not those that were signed; they are thrown away and the upload starts again.
    """
    if desk.is_at_rest(transfer):
        return True
    known = desk.known(transfer)
    if known.extent.plain_bytes < transfer.length:
        return False
    context = SealContext(tenant=desk.settings.tenant, item_sha256=transfer.sha256)
    with refusing():
        if not known.extent.is_finished:
            _finish(desk, transfer, known.extent, context)
        if _digest_of(desk, transfer, known, context) != transfer.sha256:
            desk.forget(transfer.id)
            desk.store.delete_part(transfer.part)
            raise DigestMismatch("the bytes are not those that were signed")
        try:
            desk.store.finalise(transfer.part, transfer.blob)
        except (BlobExists, BlobMissing) as error:
            raise StorageUnavailable(reason="the store contradicts itself") from error
    desk.forget(transfer.id)
    return True


def _finish(desk: Desk, transfer: Transfer, extent: SealedExtent, context: SealContext) -> None:
    writer = desk.store.open_part(transfer.part, extent.sealed_bytes)
    try:
        writer.write(Sealer(transfer.key, context, extent).finish())
        writer.sync()
    finally:
        writer.close()


def _digest_of(desk: Desk, transfer: Transfer, known: Known, context: SealContext) -> str:
    if known.digest is not None and known.digest.hexdigest() == transfer.sha256:
        return transfer.sha256
    # After a restart, or in doubt: from the bytes that are really stored.
    digest = hashlib.sha256()
    for plain in open_part(desk.store.read_part(transfer.part), transfer.key, context):
        digest.update(plain)
    return digest.hexdigest()


def item_chunks(store: BlobStore, tenant: str, blob_key: str, item: tuple[bytes, str]) -> Iterator[bytes]:
    """Yield the plain bytes of a stored item, record by record; the digest is judged after the last one.

    Raises:
        SealBroken, DigestMismatch: as `read_item`; what was yielded before may go nowhere then.
    """
    key, sha256 = item
    digest = hashlib.sha256()
    with refusing():
        for chunk in open_sealed(store.read(blob_key), key, SealContext(tenant=tenant, item_sha256=sha256)):
            digest.update(chunk)
            yield chunk
        if digest.hexdigest() != sha256:
            raise DigestMismatch("the stored bytes are not those that were signed")


def read_item(store: BlobStore, tenant: str, blob_key: str, item: tuple[bytes, str]) -> bytes:
    """Return the plain bytes of a stored item, given its key and digest; whole, since nothing unverified may be shown.

    Raises:
        SealBroken: the stored bytes were altered, or do not hash to the signed digest.
    """
    key, sha256 = item
    with refusing():
        content = b"".join(open_sealed(store.read(blob_key), key, SealContext(tenant=tenant, item_sha256=sha256)))
        if hashlib.sha256(content).hexdigest() != sha256:
            raise DigestMismatch("the stored bytes are not those that were signed")
        return content


def prove_item(store: BlobStore, tenant: str, blob_key: str, item: tuple[bytes, str]) -> None:
    """Read a stored item through to its end, a piece at a time. Raises as `read_item`."""
    for _ in item_chunks(store, tenant, blob_key, item):
        pass
