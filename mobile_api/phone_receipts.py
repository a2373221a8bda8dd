"""What a phone demands before it may delete: a receipt by a pinned key for this statement, which stands in the pinned log."""

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from evidence.es256 import compact_verify
from evidence.keys import KeyResolver
from evidence.manifest import manifest_digest
from evidence.translog import parse_proof, verify_proof

PinnedLog = tuple[str, bytes]
"""Origin of the log and the 32 bytes of its Ed25519 key."""


def check_receipt(payload: bytes, receipt: str, proof: str, resolve_key: KeyResolver, log: PinnedLog | None) -> None:
    """Verify offline; without a pinned log the receipt's signature alone is verified.

    Raises:
        EvidenceError: another key signed, or the proof does not lead to a checkpoint of the pinned log.
        ValueError: the receipt is for another statement or another place in the log.
    """
    _, told = compact_verify(receipt, resolve_key, typ="evidence-receipt+jws")
    if told.get("manifest_sha256") != manifest_digest(payload):
        raise ValueError("the receipt is for another statement")
    if log is not None:
        checkpoint = verify_proof(proof, payload, log[0], Ed25519PublicKey.from_public_bytes(log[1]))
        if (told.get("log_origin"), told.get("log_index")) != (checkpoint.origin, parse_proof(proof).index):
            raise ValueError("the receipt names another place in the log")
