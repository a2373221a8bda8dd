"""Receipts: signed once, stored, and answered with the same bytes for ever. A phone deletes only against one.

`received` is made when every signature due (or the end of the wait for it) and every declared file is here, so that no receipt
ever stands for missing bytes.
"""

from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import select
from sqlalchemy.orm import Session

from backend.audit import log
from backend.audit.tables import LogEntryRow
from backend.core.ids import new_id
from backend.exhibits.findings import items_waiting
from backend.exhibits.model import ENDED, ReceiptKind
from backend.exhibits.tables import EvidenceReceiptRow, ItemRow, ManifestRow
from backend.keys.keyring import Keyring
from backend.keys.model import KeyPurpose
from evidence import translog
from evidence.canonical import b64u_encode, canonicalise, sha256_hex
from evidence.manifest import decode_manifest
from evidence.statements import TYP_RECEIPT, Logged, ReceiptStatus, receipt_payload
from evidence.times import format_utc


class Receipt(msgspec.Struct, frozen=True):
    """A receipt and the proof that what it receipts is logged."""

    jws: str
    proof: str


def receipt_of(session: Session, manifest_id: UUID, kind: ReceiptKind = ReceiptKind.RECEIVED) -> Receipt | None:
    """Return the stored receipt, None while there is none."""
    query = select(EvidenceReceiptRow).where(EvidenceReceiptRow.manifest_id == manifest_id, EvidenceReceiptRow.kind == kind)
    row = session.scalars(query).one_or_none()
    return None if row is None else Receipt(row.jws, row.proof)


def salted_digest(session: Session, manifest_id: UUID, kind: ReceiptKind) -> str | None:
    """Return the salted digest of the log entry that a receipt names, None while there is no receipt."""
    return session.scalars(
        select(LogEntryRow.salted_sha256).join(EvidenceReceiptRow, EvidenceReceiptRow.log_entry_id == LogEntryRow.id)
        .where(EvidenceReceiptRow.manifest_id == manifest_id, EvidenceReceiptRow.kind == kind)).one_or_none()


def issue(session: Session, keyring: Keyring, manifest_id: UUID, now: datetime, *, origin: str) -> Receipt | None:
    """Make the `received` receipt if it is due and not made; return the one that stands, None while something is missing."""
    row = session.execute(select(ManifestRow).where(ManifestRow.id == manifest_id).with_for_update()).scalar_one()
    stored = receipt_of(session, manifest_id)
    if stored is not None or row.state not in ENDED or items_waiting(session, manifest_id):
        return stored
    proof = logged_proof(session, row.log_entry_id)
    if proof is None:
        return None                                  # Not indexed yet: made when next asked.
    return _sign(session, keyring, (row, ReceiptKind.RECEIVED), (row.log_entry_id, proof, origin), now)


def issue_examined(session: Session, keyring: Keyring, manifest_id: UUID, now: datetime, *, origin: str) -> Receipt | None:
    """Make the `examined` receipt if every item was examined; its log entry is that of the report."""
    row = session.execute(select(ManifestRow).where(ManifestRow.id == manifest_id).with_for_update()).scalar_one()
    stored = receipt_of(session, manifest_id, ReceiptKind.EXAMINED)
    if stored is not None:
        return stored
    entry = session.scalars(select(LogEntryRow).where(
        LogEntryRow.entry_type == "examined", LogEntryRow.payload_sha256 == _report_digest(session, row))).first()
    proof = logged_proof(session, entry.id) if entry is not None else None
    if entry is None or proof is None:
        return None
    return _sign(session, keyring, (row, ReceiptKind.EXAMINED), (entry.id, proof, origin), now)


def report_of(session: Session, row: ManifestRow) -> bytes | None:
    """Return the canonical examination report of a statement, None while an item of it was not examined."""
    items = session.scalars(select(ItemRow).where(ItemRow.manifest_id == row.id).order_by(ItemRow.item_id)).all()
    if any(item.examined_at is None for item in items):
        return None
    entries: list[Any] = [{"item_id": item.item_id, "sha256": item.sha256, "report": item.examination} for item in items]
    return canonicalise({"schema": "examination/1", "manifest_sha256": row.digest, "items": entries})


def logged_proof(session: Session, entry_id: UUID) -> str | None:
    """Return a `tlog-proof@v1` whose `extra` lets a reader rebuild the leaf from the payload: type, salt, time."""
    text = log.proof_of(session, entry_id)
    if text is None:
        return None
    entry = session.get_one(LogEntryRow, entry_id)
    extra = canonicalise({"type": entry.entry_type, "salt": b64u_encode(entry.salt), "time": log.utc_text(entry.at)})
    return translog.encode_proof(msgspec.structs.replace(translog.parse_proof(text), extra=extra))


def _report_digest(session: Session, row: ManifestRow) -> str:
    report = report_of(session, row)
    return sha256_hex(report) if report is not None else ""


def _sign(
    session: Session, keyring: Keyring, about: tuple[ManifestRow, ReceiptKind], logged: tuple[UUID, str, str], now: datetime
) -> Receipt:
    row, kind = about
    entry_id, proof, origin = logged
    payload = receipt_payload(
        decode_manifest(row.payload), row.digest, status=ReceiptStatus(kind.value), received_at=format_utc(row.received_at),
        logged=Logged(origin=origin, index=translog.parse_proof(proof).index))
    jws = keyring.sign(KeyPurpose.RECEIPT, payload, TYP_RECEIPT)
    session.add(EvidenceReceiptRow(id=new_id(), manifest_id=row.id, kind=kind, jws=jws, proof=proof, log_entry_id=entry_id, created_at=now))
    session.flush()
    return Receipt(jws, proof)
