"""What a witness of the log does, as the bank runs it: sign only what extends what it saw (C2SP tlog-witness, one log).

Pure: the caller keeps the state, durably, *before* it sends the line anywhere. Any other C2SP witness will do as well.
"""

import base64
import binascii
from typing import Final

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from evidence.errors import LogProofInvalid
from evidence.merkle import HASH_BYTES, demand_consistency
from evidence.translog import PROOF_HASHES_MAX, cosign_checkpoint, parse_checkpoint, verify_checkpoint

_ENROLMENT: Final = "fieldvisit-witness/1"


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """The newest head that a witness has signed; size 0 before the first."""

    size: int = 0
    root: bytes = b""


class Witness(msgspec.Struct, frozen=True, kw_only=True):
    """A witness's name and key, and the one log that it watches."""

    name: str
    key: Ed25519PrivateKey
    origin: str
    log_key: Ed25519PublicKey


def enrolment_text(*, origin: str, bank: str, staff: str, name: str) -> bytes:
    """Return what a witness's key signs to be enrolled by a person of a bank; good for that person, bank and log alone."""
    return f"{_ENROLMENT}\n{origin}\n{bank}\n{staff}\n{name}\n".encode()


def cosign(witness: Witness, seen: Seen, request: str, time_s: int) -> tuple[Seen, str]:
    """Judge an `add-checkpoint` request and return the new state with the cosigned checkpoint.

    Raises:
        LogProofInvalid: another log, a size below what was seen, another root at that size, or a proof that does not join them.
    """
    old_size, path, signed = _read(request)
    checkpoint = verify_checkpoint(signed, witness.origin, witness.log_key)
    if old_size != seen.size:
        raise LogProofInvalid(f"the proof starts at {old_size}, {seen.size} was seen")
    if checkpoint.size < seen.size:
        raise LogProofInvalid(f"the log has shrunk from {seen.size} to {checkpoint.size}")
    if seen.size:
        demand_consistency((seen.size, seen.root), (checkpoint.size, checkpoint.root), path)
    elif path:
        raise LogProofInvalid("nothing was seen, so nothing is proven")
    return Seen(size=checkpoint.size, root=checkpoint.root), cosign_checkpoint(signed, witness.name, witness.key, time_s)


def _read(request: str) -> tuple[int, tuple[bytes, ...], str]:
    head, separator, signed = request.partition("\n\n")
    first, *hashes = head.split("\n")
    digits = first.removeprefix("old ")
    if not separator or not first.startswith("old ") or not (digits.isascii() and digits.isdigit()) or str(int(digits[:17])) != digits:
        raise LogProofInvalid("a request is `old SIZE`, hashes, a blank line and a checkpoint")
    if len(hashes) > PROOF_HASHES_MAX:
        raise LogProofInvalid(f"at most {PROOF_HASHES_MAX} hashes")
    try:
        path = tuple(base64.b64decode(one, validate=True) for one in hashes)
    except binascii.Error:
        raise LogProofInvalid("not base64") from None
    if any(len(one) != HASH_BYTES for one in path):
        raise LogProofInvalid(f"a hash has {HASH_BYTES} bytes")
    parse_checkpoint(signed)
    return int(digits), path, signed
