"""An append-only transparency log: its leaves, C2SP checkpoints and `tlog-proof@v1` texts. Trees and proofs: `evidence.merkle`."""

import base64
import binascii
import hashlib
import struct
from collections.abc import Mapping
from typing import Final

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from evidence.canonical import b64u_decode, b64u_encode, canonicalise, parse_strict
from evidence.errors import LogProofInvalid, MalformedError
from evidence.merkle import HASH_BYTES, demand_inclusion, leaf_hash

SIZE_MAX: Final = 2**53 - 1
NOTE_BYTES_MAX: Final = 100_000
PROOF_HASHES_MAX: Final = 63
KEY_TYPE_ED25519: Final = 0x01
KEY_TYPE_COSIGNATURE: Final = 0x04
_PROOF_MAGIC: Final = "c2sp.org/tlog-proof@v1"
_DASH: Final = "— "


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One thing logged. The salt is kept beside the payload and dies with it, so the leaf cannot be guessed back."""

    type: str                    # `manifest`, `cosignature`, `examined`, `review`, `access`, `export`, `key_event`, …
    time: str                    # UTC text of the action.
    salt: bytes
    payload: bytes


def leaf_bytes(entry: Entry, index: int) -> bytes:
    """Return the leaf: canonical JSON of type, salted digest, time and index, never content."""
    digest = hashlib.sha256(entry.salt + entry.payload).hexdigest()
    return canonicalise({"type": entry.type, "sha256": digest, "time": entry.time, "index": index})


def entry_extra(entry: Entry) -> bytes:
    """Return the proof's `extra`: what a reader needs, besides the payload, to rebuild the leaf. Trusted only through it."""
    return canonicalise({"type": entry.type, "time": entry.time, "salt": b64u_encode(entry.salt)})


def entry_from_extra(extra: bytes, payload: bytes) -> Entry:
    """Read a proof's `extra` back into the entry it claims.

    Raises:
        LogProofInvalid: it is not type, time and salt.
    """
    try:
        members = parse_strict(extra)
        kind, time, salt = members.pop("type"), members.pop("time"), members.pop("salt")
        if members or not (isinstance(kind, str) and isinstance(time, str) and isinstance(salt, str)):
            raise LogProofInvalid("extra holds exactly type, time and salt")
        return Entry(type=kind, time=time, salt=b64u_decode(salt), payload=payload)
    except (MalformedError, KeyError):
        raise LogProofInvalid("extra holds exactly type, time and salt") from None


class Checkpoint(msgspec.Struct, frozen=True, kw_only=True):
    """A log's head: which log, how many leaves, which root."""

    origin: str
    size: int
    root: bytes

    def note(self) -> str:
        """Return the three lines that are signed."""
        return f"{self.origin}\n{self.size}\n{_b64(self.root)}\n"


class NoteSignature(msgspec.Struct, frozen=True, kw_only=True):
    """One signature line of a note: key name, 4-byte key id, signature bytes."""

    name: str
    key_id: bytes
    signature: bytes


def key_id(name: str, key: Ed25519PublicKey, key_type: int = KEY_TYPE_ED25519) -> bytes:
    """Return the four bytes that name a note key (C2SP signed-note)."""
    return hashlib.sha256(name.encode() + b"\n" + bytes([key_type]) + key.public_bytes_raw()).digest()[:4]


def sign_checkpoint(checkpoint: Checkpoint, key: Ed25519PrivateKey) -> str:
    """Return the checkpoint as a signed note; the key's name is the origin.

    Raises:
        ValueError: the origin is empty or holds spaces, control characters or `+`.
    """
    if not _is_key_name(checkpoint.origin):
        raise ValueError("an origin is a name without spaces, plus signs and control characters")
    note = checkpoint.note()
    return f"{note}\n{_signature_line(checkpoint.origin, key_id(checkpoint.origin, key.public_key()), key.sign(note.encode()))}"


def cosign_checkpoint(signed: str, name: str, key: Ed25519PrivateKey, time_s: int) -> str:
    """Return the signed note with a witness's timestamped Ed25519 cosignature added (C2SP tlog-cosignature)."""
    note, _ = split_note(signed)
    message = f"cosignature/v1\ntime {time_s}\n{note}".encode()
    identifier = key_id(name, key.public_key(), KEY_TYPE_COSIGNATURE)
    return signed + _signature_line(name, identifier, struct.pack(">Q", time_s) + key.sign(message))


def cosignature_line(name: str, key: Ed25519PublicKey, cosignature: bytes) -> str:
    """Return the note line of a witness for its cosignature: 8 bytes of time and 64 of signature."""
    return _signature_line(name, key_id(name, key, KEY_TYPE_COSIGNATURE), cosignature)


def split_note(signed: str) -> tuple[str, tuple[NoteSignature, ...]]:
    """Split a signed note into its text and signature lines.

    Raises:
        LogProofInvalid: it is not a well-formed note in its canonical spelling.
    """
    if len(signed.encode("utf-8", "surrogatepass")) > NOTE_BYTES_MAX or any(ord(c) < 0x20 and c != "\n" for c in signed):
        raise LogProofInvalid("a note is short text without control characters")
    text, separator, lines = signed.rpartition("\n\n")
    if not separator or not lines.endswith("\n") or not text:
        raise LogProofInvalid("a note ends in a blank line and signature lines")
    return text + "\n", tuple(_read_signature(line) for line in lines[:-1].split("\n"))


def parse_checkpoint(signed: str) -> Checkpoint:
    """Read a checkpoint note *without* verifying it. Extension lines are refused: nobody audits them."""
    lines = split_note(signed)[0][:-1].split("\n")
    if len(lines) != 3 or not lines[0]:
        raise LogProofInvalid("a checkpoint has exactly origin, size and root")
    return Checkpoint(origin=lines[0], size=_decimal(lines[1]), root=_unb64(lines[2], HASH_BYTES))


def verify_checkpoint(signed: str, origin: str, key: Ed25519PublicKey) -> Checkpoint:
    """Verify the log's own signature on a checkpoint.

    Raises:
        LogProofInvalid: wrong origin, no line of this key, or a bad signature.
    """
    checkpoint = parse_checkpoint(signed)
    if checkpoint.origin != origin:
        raise LogProofInvalid(f"checkpoint of another log: {checkpoint.origin!r}")
    note, lines = split_note(signed)
    mine = [line for line in lines if (line.name, line.key_id) == (origin, key_id(origin, key))]
    if not mine:
        raise LogProofInvalid("no signature of the log's key")
    for line in mine:
        _demand_ed25519(key, line.signature, note.encode())
    return checkpoint


def verify_cosignatures(signed: str, witnesses: Mapping[str, Ed25519PublicKey]) -> dict[str, int]:
    """Return the witnesses whose cosignatures stand on the note, with their POSIX time in seconds.

    Raises:
        LogProofInvalid: a known witness's line does not verify.
    """
    note, lines = split_note(signed)
    seen: dict[str, int] = {}
    for line in lines:
        key = witnesses.get(line.name)
        if key is None or line.key_id != key_id(line.name, key, KEY_TYPE_COSIGNATURE):
            continue
        if len(line.signature) != 8 + 64:
            raise LogProofInvalid("a cosignature has 8 bytes of time and 64 of signature")
        time_s: int = struct.unpack(">Q", line.signature[:8])[0]
        _demand_ed25519(key, line.signature[8:], f"cosignature/v1\ntime {time_s}\n{note}".encode())
        seen[line.name] = time_s
    return seen


class LogProof(msgspec.Struct, frozen=True, kw_only=True):
    """An offline proof: index, audit path, checkpoint. `extra` is opaque and never trusted."""

    index: int
    path: tuple[bytes, ...]
    checkpoint: str
    extra: bytes | None = None


def encode_proof(proof: LogProof) -> str:
    """Write a `tlog-proof@v1` text."""
    extra = [] if proof.extra is None else [f"extra {_b64(proof.extra)}"]
    return "\n".join([_PROOF_MAGIC, *extra, f"index {proof.index}", *map(_b64, proof.path), "", proof.checkpoint])


def parse_proof(text: str) -> LogProof:
    """Read a `tlog-proof@v1` text in its canonical spelling. Verifies nothing yet.

    Raises:
        LogProofInvalid: it is not one.
    """
    head, separator, checkpoint = text.partition("\n\n")
    lines = head.split("\n")
    if not separator or lines.pop(0) != _PROOF_MAGIC:
        raise LogProofInvalid(f"a proof starts with {_PROOF_MAGIC} and holds a checkpoint after a blank line")
    extra = _unb64(lines.pop(0)[6:]) if lines and lines[0].startswith("extra ") else None
    if not lines or not lines[0].startswith("index ") or len(lines) - 1 > PROOF_HASHES_MAX:
        raise LogProofInvalid("a proof has one index line and at most 63 hashes")
    index = _decimal(lines[0][6:])
    parse_checkpoint(checkpoint)
    return LogProof(index=index, path=tuple(_unb64(line, HASH_BYTES) for line in lines[1:]), checkpoint=checkpoint, extra=extra)


def verify_proof(text: str, payload: bytes, origin: str, key: Ed25519PublicKey) -> Checkpoint:
    """Verify that the entry for a payload is in the log, and return the checkpoint that says so.

    Raises:
        LogProofInvalid: the text, its extra, the log's signature or the audit path does not hold.
    """
    proof = parse_proof(text)
    leaf = leaf_bytes(entry_from_extra(proof.extra or b"", payload), proof.index)
    checkpoint = verify_checkpoint(proof.checkpoint, origin, key)
    demand_inclusion(checkpoint.root, checkpoint.size, proof.index, leaf_hash(leaf), proof.path)
    return checkpoint


def _demand_ed25519(key: Ed25519PublicKey, signature: bytes, message: bytes) -> None:
    try:
        key.verify(signature, message)
    except InvalidSignature:
        raise LogProofInvalid("a note signature does not verify") from None


def _signature_line(name: str, identifier: bytes, signature: bytes) -> str:
    return f"{_DASH}{name} {_b64(identifier + signature)}\n"


def _read_signature(line: str) -> NoteSignature:
    name, separator, encoded = line.removeprefix(_DASH).partition(" ")
    if not line.startswith(_DASH) or not separator or not _is_key_name(name):
        raise LogProofInvalid("a signature line is an em dash, a name and base64")
    raw = _unb64(encoded)
    if len(raw) < 5:
        raise LogProofInvalid("a signature line holds a key id and a signature")
    return NoteSignature(name=name, key_id=raw[:4], signature=raw[4:])


def _is_key_name(name: str) -> bool:
    return bool(name) and "+" not in name and not any(c.isspace() or ord(c) < 0x20 for c in name)


def _decimal(text: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 16 or str(int(text)) != text or int(text) > SIZE_MAX:
        raise LogProofInvalid("a number is ASCII decimal without leading zeroes")
    return int(text)


def _b64(raw: bytes) -> str:
    return base64.b64encode(raw).decode("ascii")


def _unb64(text: str, length: int | None = None) -> bytes:
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise LogProofInvalid("not base64") from None
    if _b64(raw) != text or (length is not None and len(raw) != length):
        raise LogProofInvalid("not the canonical base64 of the right length")
    return raw
