"""A phone deletes only what it has proven to be held: receipt, statement and log must agree, and be the pinned server's."""

import hashlib
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from evidence import merkle, translog
from evidence.errors import EvidenceError
from evidence.es256 import compact_sign
from evidence.keys import generate_key, thumbprint
from evidence.manifest import manifest_digest
from mobile_api.phone_receipts import check_examined, check_receipt

ORIGIN, PAYLOAD, SALT, TIME = "log.example", b'{"a":1}', b"s" * 16, "2026-11-27T02:00:00.000Z"
LOG, RECEIPTS = Ed25519PrivateKey.generate(), generate_key()
PINNED = (ORIGIN, LOG.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw))


def proof(payload: bytes = PAYLOAD, *, kind: str = "manifest", origin: str = ORIGIN, key: Ed25519PrivateKey = LOG, index: int = 1) -> str:
    entries = [translog.Entry(type=kind, time=TIME, salt=SALT, payload=payload) for _ in range(3)]
    leaves = [merkle.leaf_hash(translog.leaf_bytes(entry, at)) for at, entry in enumerate(entries)]
    checkpoint = translog.sign_checkpoint(translog.Checkpoint(origin=origin, size=3, root=merkle.root_of(leaves)), key)
    return translog.encode_proof(translog.LogProof(
        index=index, path=merkle.inclusion_proof(leaves, index), checkpoint=checkpoint, extra=translog.entry_extra(entries[index])))


def receipt(**changes: Any) -> str:
    told = {"manifest_sha256": manifest_digest(PAYLOAD), "status": "received", "log_origin": ORIGIN, "log_index": 1} | changes
    return compact_sign(told, RECEIPTS, typ="evidence-receipt+jws", kid=thumbprint(RECEIPTS))


def check(told: str, shown: str, payload: bytes = PAYLOAD) -> None:
    check_receipt(payload, told, shown, {thumbprint(RECEIPTS): RECEIPTS.public_key()}.get, PINNED)


@pytest.mark.parametrize(("told", "shown", "payload"), [
    (receipt(status="examined"), proof(), PAYLOAD),
    (receipt(manifest_sha256="0" * 64), proof(), PAYLOAD), (receipt(log_index=2), proof(), PAYLOAD), (receipt(log_origin="other"), proof(), PAYLOAD),
    (receipt(), proof(b"another"), PAYLOAD), (receipt(), proof(key=Ed25519PrivateKey.generate()), PAYLOAD),
    (receipt(), proof(origin="other"), PAYLOAD),
    (receipt(), proof(index=2), PAYLOAD), (receipt(), "", PAYLOAD), (receipt()[:-4] + "AAAA", proof(), PAYLOAD), (receipt(), proof(), b"another"),
])
def test_EVD_09_nothing_is_deleted_on_less(told: str, shown: str, payload: bytes) -> None:
    with pytest.raises((EvidenceError, ValueError)):
        check(told, shown, payload)


def test_EVD_09_a_receipt_that_stands_in_the_pinned_log_is_enough() -> None:
    check(receipt(), proof())


REPORT = b'{"schema":"examination/1"}'
SALTED = hashlib.sha256(SALT + REPORT).hexdigest()


def examined(told: str, shown: str, salted: str = SALTED, payload: bytes = PAYLOAD) -> None:
    check_examined(payload, told, (shown, salted), {thumbprint(RECEIPTS): RECEIPTS.public_key()}.get, PINNED)


@pytest.mark.parametrize(("told", "shown", "salted", "payload"), [
    (receipt(), proof(REPORT, kind="examined"), SALTED, PAYLOAD),                                   # Says `received`.
    (receipt(status="examined", manifest_sha256="0" * 64), proof(REPORT, kind="examined"), SALTED, PAYLOAD),
    (receipt(status="examined", log_index=2), proof(REPORT, kind="examined"), SALTED, PAYLOAD),
    (receipt(status="examined", log_origin="other"), proof(REPORT, kind="examined"), SALTED, PAYLOAD),
    (receipt(status="examined"), proof(REPORT), SALTED, PAYLOAD),                                   # Another kind of entry.
    (receipt(status="examined"), proof(b"another", kind="examined"), SALTED, PAYLOAD),
    (receipt(status="examined"), proof(REPORT, kind="examined", index=2), SALTED, PAYLOAD),
    (receipt(status="examined"), proof(REPORT, kind="examined", key=Ed25519PrivateKey.generate()), SALTED, PAYLOAD),
    (receipt(status="examined"), proof(REPORT, kind="examined"), "0" * 64, PAYLOAD),
    (receipt(status="examined"), proof(REPORT, kind="examined"), "not a digest", PAYLOAD),
    (receipt(status="examined"), "", SALTED, PAYLOAD), (receipt(status="examined"), proof(REPORT, kind="examined"), SALTED, b"another"),
])
def test_EVD_09_no_examination_is_believed_on_less(told: str, shown: str, salted: str, payload: bytes) -> None:
    with pytest.raises((EvidenceError, ValueError)):
        examined(told, shown, salted, payload)


def test_EVD_09_an_examination_that_stands_in_the_pinned_log_is_enough() -> None:
    examined(receipt(status="examined"), proof(REPORT, kind="examined"))
