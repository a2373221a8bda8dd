"""Sealed items: AES-256-GCM in records of at most 64 KiB under one random key per item, keys wrapped by keys.

A sealed file is `FVSEAL1\\n` and records of `prefix(7) ‖ length(4) ‖ ciphertext ‖ tag(16)`. The nonce is prefix ‖ counter ‖ last-flag,
the associated data tenant ‖ item digest, so cutting, swapping, repeating and moving to another item are all refused. Each
writing session draws a new prefix: a record torn by a crash and written again never reuses a nonce. The length's top bit is the last-flag.
"""

import hashlib
import secrets
import struct
from collections.abc import Iterable, Iterator
from typing import Final

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from evidence.errors import SealBroken

CHUNK_BYTES: Final = 65_536
KEY_BYTES: Final = 32
MAGIC: Final = b"FVSEAL1\n"
_PREFIX_BYTES: Final = 7
_TAG_BYTES: Final = 16
_HEAD: Final = struct.Struct(">7sI")
_RECORD_BYTES: Final = _HEAD.size + CHUNK_BYTES + _TAG_BYTES
_LAST: Final = 1 << 31
_COUNTER_MAX: Final = 2**32 - 1


class SealContext(msgspec.Struct, frozen=True, kw_only=True):
    """What the sealed bytes belong to; authenticated with every record."""

    tenant: str
    item_sha256: str

    def associated(self) -> bytes:
        """Return the associated data, unambiguous because the digest has fixed length."""
        return self.tenant.encode() + b"\x00" + bytes.fromhex(self.item_sha256)


class SealedExtent(msgspec.Struct, frozen=True, kw_only=True):
    """How far a sealed file reaches: whole records only."""

    plain_bytes: int          # What may be acknowledged.
    sealed_bytes: int         # Cut the file here before writing on; what lies beyond is a torn record.
    records: int
    is_finished: bool


class Sealer:
    """Seal a stream in one writing session, from the start or after `extent`."""

    def __init__(self, key: bytes, context: SealContext, extent: SealedExtent | None = None) -> None:
        if extent is not None and extent.is_finished:
            raise ValueError("the sealed file is finished")
        self._cipher = AESGCM(_demand_key(key))
        self._associated = context.associated()
        self._prefix = secrets.token_bytes(_PREFIX_BYTES)
        self._records = 0 if extent is None else extent.records
        self._head = MAGIC if extent is None or extent.sealed_bytes == 0 else b""
        self._buffer = bytearray()
        self._room = bytearray()
        self._is_finished = False

    def update(self, plain: bytes) -> bytes:
        """Take plain bytes, return the sealed records that are full; the rest waits for `flush` or `finish`."""
        return bytes(self.update_in_room(plain))

    def update_in_room(self, plain: bytes) -> memoryview:
        """As `update`, in room that the next call uses again: write it before. Nothing is copied and no memory asked for anew."""
        waiting, fresh = len(self._buffer), memoryview(plain)
        count = (waiting + len(fresh)) // CHUNK_BYTES
        if count == 0:
            self._buffer += fresh
            return memoryview(b"")
        room, end = self._room_of(len(self._head) + count * _RECORD_BYTES), 0
        if waiting:
            self._buffer += fresh[:CHUNK_BYTES - waiting]
            end = self._record(room, end, self._buffer, 0)
            self._buffer, fresh = bytearray(), fresh[CHUNK_BYTES - waiting:]
        while len(fresh) >= CHUNK_BYTES:
            end = self._record(room, end, fresh[:CHUNK_BYTES], 0)
            fresh = fresh[CHUNK_BYTES:]
        self._buffer += fresh
        return room[:end]

    def flush(self) -> bytes:
        """Seal what waits as a short record, so that it can be made durable and acknowledged."""
        return self._short(0) if self._buffer else b""

    def finish(self) -> bytes:
        """Seal what waits, if only nothing, as the last record."""
        sealed = self._short(_LAST)
        self._is_finished = True
        return sealed

    def _short(self, flag: int) -> bytes:
        plain, self._buffer = self._buffer, bytearray()
        room = self._room_of(len(self._head) + _HEAD.size + len(plain) + _TAG_BYTES)
        return bytes(room[:self._record(room, 0, plain, flag)])

    def _room_of(self, size: int) -> memoryview:
        if len(self._room) < size:
            self._room = bytearray(size)
        return memoryview(self._room)

    def _record(self, room: memoryview, at: int, plain: bytearray | memoryview, flag: int) -> int:
        """Write the next record into `room` from `at` on and return where it ends."""
        if self._is_finished or self._records > _COUNTER_MAX:
            raise ValueError("nothing may follow the last record")
        nonce = _nonce(self._prefix, self._records, flag)
        start = at + len(self._head)
        room[at:start], self._head = self._head, b""
        body = start + _HEAD.size
        end = body + len(plain) + _TAG_BYTES
        self._records += 1
        _HEAD.pack_into(room, start, self._prefix, len(plain) | flag)
        written = self._cipher.encrypt_into(nonce, plain, self._associated, room[body:end])
        assert written == end - body, "a record is another size than its head says"
        return end


def open_sealed(sealed: Iterable[bytes], key: bytes, context: SealContext) -> Iterator[bytes]:
    """Yield the plain bytes of a finished sealed file, record by record; nothing unauthenticated is yielded.

    Raises:
        SealBroken: altered, cut, reordered, repeated, prolonged, unfinished, or not this key and item.
    """
    cipher, associated = AESGCM(_demand_key(key)), context.associated()
    is_finished = False
    for number, (prefix, length, body) in enumerate(_records(sealed)):
        if is_finished:
            raise SealBroken("records follow the last one")
        yield _opened(cipher, associated, (prefix, number, length & _LAST), body)
        is_finished = bool(length & _LAST)
    if not is_finished:
        raise SealBroken("the last record is missing")


def open_part(sealed: Iterable[bytes], key: bytes, context: SealContext) -> Iterator[bytes]:
    """Yield the plain bytes of the whole records of an unfinished file, to rebuild a hash after a restart.

    Raises:
        SealBroken: a whole record was altered or moved. A torn record at the end is left out.
    """
    cipher, associated = AESGCM(_demand_key(key)), context.associated()
    for number, (prefix, length, body) in enumerate(_records(sealed, is_torn_end_allowed=True)):
        yield _opened(cipher, associated, (prefix, number, length & _LAST), body)


def measure(sealed: Iterable[bytes]) -> SealedExtent:
    """Tell from record heads alone how far a sealed file reaches. Reads no key, proves nothing about content.

    Raises:
        SealBroken: not a sealed file, a record longer than 64 KiB, or records after the last one.
    """
    extent = SealedExtent(plain_bytes=0, sealed_bytes=0, records=0, is_finished=False)
    head, wanted, skip, length = bytearray(), len(MAGIC), 0, 0
    for chunk in sealed:
        rest = memoryview(chunk)
        while rest:
            if skip:
                step = min(skip, len(rest))
                skip, rest = skip - step, rest[step:]
                extent = extent if skip else _extended(extent, length)
                continue
            taken = wanted - len(head)
            head += rest[:taken]
            rest = rest[taken:]
            if len(head) == wanted:
                length, skip = _read_head(bytes(head))
                head.clear()
                wanted = _HEAD.size
    return extent


def digest_of(sealed: Iterable[bytes], key: bytes, context: SealContext) -> str:
    """Return the SHA-256 of the plain content of a finished file, from the bytes that are really stored."""
    digest = hashlib.sha256()
    for plain in open_sealed(sealed, key, context):
        digest.update(plain)
    return digest.hexdigest()


def new_key() -> bytes:
    """Return a random 256-bit key."""
    return secrets.token_bytes(KEY_BYTES)


def wrap_key(wrapping_key: bytes, key: bytes, context: str) -> bytes:
    """Encrypt a key under another (item under case, case under master); `context` names what the key is for."""
    nonce = secrets.token_bytes(12)
    return nonce + AESGCM(_demand_key(wrapping_key)).encrypt(nonce, _demand_key(key), context.encode())


def unwrap_key(wrapping_key: bytes, wrapped: bytes, context: str) -> bytes:
    """Decrypt a wrapped key.

    Raises:
        SealBroken: altered, another wrapping key, or another context.
    """
    if len(wrapped) != 12 + KEY_BYTES + _TAG_BYTES:
        raise SealBroken("a wrapped key has 60 bytes")
    try:
        return AESGCM(_demand_key(wrapping_key)).decrypt(wrapped[:12], wrapped[12:], context.encode())
    except InvalidTag:
        raise SealBroken("the wrapped key does not open") from None


def rewrap_key(old: bytes, new: bytes, wrapped: bytes, context: str) -> bytes:
    """Move a wrapped key under a new wrapping key without touching the data it protects."""
    return wrap_key(new, unwrap_key(old, wrapped, context), context)


def _records(sealed: Iterable[bytes], *, is_torn_end_allowed: bool = False) -> Iterator[tuple[bytes, int, bytes]]:
    """Cut a byte stream into (prefix, length with flag, ciphertext with tag)."""
    buffer, needed, head = bytearray(), len(MAGIC), None
    has_magic = False
    for chunk in sealed:
        buffer += chunk
        while len(buffer) >= needed:
            taken = bytes(buffer[:needed])
            del buffer[:needed]
            if not has_magic:
                if taken != MAGIC:
                    raise SealBroken("not a sealed file")
                has_magic, needed = True, _HEAD.size
            elif head is None:
                head = _HEAD.unpack(taken)
                if head[1] & ~_LAST > CHUNK_BYTES:
                    raise SealBroken("a record is longer than 64 KiB")
                needed = (head[1] & ~_LAST) + _TAG_BYTES
            else:
                yield head[0], head[1], taken
                head, needed = None, _HEAD.size
    if (buffer or head is not None or not has_magic) and not is_torn_end_allowed:
        raise SealBroken("the file ends inside a record")


def _read_head(head: bytes) -> tuple[int, int]:
    """Return a record's length field and how many bytes follow; the magic has neither."""
    if len(head) == len(MAGIC):
        if head != MAGIC:
            raise SealBroken("not a sealed file")
        return 0, 0
    length: int = _HEAD.unpack(head)[1]
    if length & ~_LAST > CHUNK_BYTES:
        raise SealBroken("a record is longer than 64 KiB")
    return length, (length & ~_LAST) + _TAG_BYTES


def _extended(extent: SealedExtent, length: int) -> SealedExtent:
    """Count one whole record more."""
    if extent.is_finished:
        raise SealBroken("records follow the last one")
    plain = length & ~_LAST
    size = (extent.sealed_bytes or len(MAGIC)) + _HEAD.size + plain + _TAG_BYTES
    return SealedExtent(plain_bytes=extent.plain_bytes + plain, sealed_bytes=size, records=extent.records + 1, is_finished=bool(length & _LAST))


def _opened(cipher: AESGCM, associated: bytes, place: tuple[bytes, int, int], body: bytes) -> bytes:
    try:
        return cipher.decrypt(_nonce(*place), body, associated)
    except InvalidTag:
        raise SealBroken(f"record {place[1]} does not open") from None


def _nonce(prefix: bytes, counter: int, flag: int) -> bytes:
    return prefix + counter.to_bytes(4, "big") + (b"\x01" if flag else b"\x00")


def _demand_key(key: bytes) -> bytes:
    if len(key) != KEY_BYTES:
        raise ValueError(f"a key has {KEY_BYTES} bytes")
    return key
