"""What a phone demands before it may delete: a receipt by a pinned key for this statement, which stands in the pinned log.

An `examined` receipt is verified alike. The phone is not told what the examination found: it gets the salted digest of the logged
report, which with the proof's type, time and index is the leaf.
"""

import re

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from evidence.canonical import JsonObject, canonicalise
from evidence.es256 import compact_verify
from evidence.keys import KeyResolver
from evidence.manifest import manifest_digest
from evidence.merkle import demand_inclusion, leaf_hash
from evidence.translog import entry_from_extra, parse_proof, verify_checkpoint, verify_proof

PinnedLog = tuple[str, bytes]
"""Origin of the log and the 32 bytes of its Ed25519 key."""


def check_receipt(payload: bytes, receipt: str, proof: str, resolve_key: KeyResolver, log: PinnedLog | None) -> None:
    """Verify offline; without a pinned log the receipt's signature alone is verified.

    Raises:
        EvidenceError: another key signed, or the proof does not lead to a checkpoint of the pinned log.
        ValueError: the receipt is for another statement or another place in the log.
    """
    told = _told(payload, receipt, resolve_key, "received")
    if log is not None:
        checkpoint = verify_proof(proof, payload, log[0], Ed25519PublicKey.from_public_bytes(log[1]))
        if (told.get("log_origin"), told.get("log_index")) != (checkpoint.origin, parse_proof(proof).index):
            raise ValueError("the receipt names another place in the log")


def check_examined(payload: bytes, receipt: str, logged: tuple[str, str], resolve_key: KeyResolver, log: PinnedLog) -> None:
    """Verify an `examined` receipt offline; `logged` is its proof and the salted digest of the report.

    Raises:
        EvidenceError: another key signed, or the leaf is not in the pinned log.
        ValueError: the receipt is for another statement, another status or another place in the log.
    """
    told, (text, salted) = _told(payload, receipt, resolve_key, "examined"), logged
    proof = parse_proof(text)
    claim = entry_from_extra(proof.extra or b"", b"")
    if claim.type != "examined" or re.fullmatch("[0-9a-f]{64}", salted) is None:
        raise ValueError("the proof is of another kind of entry")
    checkpoint = verify_checkpoint(proof.checkpoint, log[0], Ed25519PublicKey.from_public_bytes(log[1]))
    leaf = canonicalise({"type": claim.type, "sha256": salted, "time": claim.time, "index": proof.index})
    demand_inclusion(checkpoint.root, checkpoint.size, proof.index, leaf_hash(leaf), proof.path)
    if (told.get("log_origin"), told.get("log_index")) != (checkpoint.origin, proof.index):
        raise ValueError("the receipt names another place in the log")


def _told(payload: bytes, receipt: str, resolve_key: KeyResolver, status: str) -> JsonObject:
    _, told = compact_verify(receipt, resolve_key, typ="evidence-receipt+jws")
    if (told.get("manifest_sha256"), told.get("status")) != (manifest_digest(payload), status):
        raise ValueError(f"the receipt is for another statement, or says something else than {status}")
    return told
