"""Export packs: one visit's statements, receipts, proofs, stamped copies and keys, for a reader who trusts neither us nor our code."""

import io
from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import select
from sqlalchemy.orm import Session

from backend.audit import log
from backend.audit.events import EventTag
from backend.audit.record import record, record_read
from backend.audit.tables import AuditEntryRow, AuditReadRow, LogNodeRow
from backend.auth.actors import Actor
from backend.banks.tables import BankKeyRow
from backend.core.ids import CaseId, ManifestId, VisitId, new_id
from backend.core.problems import NotFound
from backend.exhibits.copies import Copy, CopyPurpose
from backend.exhibits.model import ItemState, ReceiptKind
from backend.exhibits.queries import StoredItem, visible_to
from backend.exhibits.receipts import receipt_of, report_of
from backend.exhibits.refusals import NotExportable, refusing
from backend.exhibits.tables import CopyRow, ExportRow, ItemRow, ManifestRow, SignatureRow
from backend.keys.keyring import Keyring
from backend.keys.model import KeyPurpose
from backend.staff.tables import DeviceChangeRow, DeviceRow
from evidence.canonical import canonicalise
from evidence.envelope import SignatureMember, assemble
from evidence.facts import CashReceiptFacts, Kind
from evidence.keys import PublicKey, key_from_jwk
from evidence.manifest import decode_manifest
from evidence.pack import Pack, PackCopy, PackEntry, PackSummary, ServiceKeys, Withheld, trust_document, write_pack
from evidence.statements import DeviceHistory, DeviceState, sign_devices
from evidence.times import format_utc


class Contents(msgspec.Struct, frozen=True, kw_only=True):
    """What of a visit goes into a pack: statements by id, files to be copied, files that stay, with the reason."""

    visit_id: VisitId
    case_id: CaseId
    bank: str
    manifest_ids: tuple[ManifestId, ...]
    items: tuple[StoredItem, ...]
    withheld: tuple[Withheld, ...]
    unreceipted: tuple[ManifestId, ...]


def contents(session: Session, actor: Actor, visit_id: VisitId) -> Contents:
    """Return what a visit's pack will hold.

    Raises:
        NotFound: no statement of that visit is the actor's to see.
        NotExportable: none of them has a receipt yet.
    """
    rows = session.scalars(select(ManifestRow).where(ManifestRow.visit_id == visit_id, visible_to(actor)).order_by(ManifestRow.judged_at)).all()
    if not rows or rows[0].case_id is None:
        raise NotFound
    receipted = [row for row in rows if receipt_of(session, row.id) is not None]
    if not receipted:
        raise NotExportable(reason="no statement of this visit is complete")
    by_id = {row.id: row for row in receipted}
    held: dict[str, StoredItem] = {}
    withheld: dict[str, Withheld] = {}
    for item in session.scalars(select(ItemRow).where(ItemRow.manifest_id.in_(by_id)).order_by(ItemRow.id)):
        if item.state is not ItemState.STORED or item.blob_key is None or item.wrapped_key is None:
            reason = "destroyed after its term" if item.state is ItemState.STORED else "never arrived"
            withheld[item.sha256] = Withheld(sha256=item.sha256, reason=reason)
            continue
        held.setdefault(item.sha256, StoredItem(
            id=item.id, item_id=item.item_id, manifest_id=ManifestId(item.manifest_id), visit_id=visit_id, case_id=CaseId(rows[0].case_id),
            role=item.role, media_type=item.media_type, sha256=item.sha256, blob_key=item.blob_key, wrapped_key=item.wrapped_key,
            seal_subject=item.seal_subject))
    return Contents(
        visit_id=visit_id, case_id=CaseId(rows[0].case_id), bank=str(rows[0].bank_id), manifest_ids=tuple(ManifestId(one) for one in by_id),
        items=tuple(held.values()), withheld=tuple(withheld.values()),
        unreceipted=tuple(ManifestId(row.id) for row in rows if row.id not in by_id))


def authorisations_named(session: Session, actor: Actor, visit_id: VisitId) -> frozenset[str]:
    """Return the ids of the bank's authorisations under which a visit's receipts say that money was taken."""
    query = select(ManifestRow.payload).where(ManifestRow.visit_id == visit_id, ManifestRow.kind == Kind.CASH_RECEIPT, visible_to(actor))
    facts = [decode_manifest(payload).facts for payload in session.scalars(query)]
    return frozenset(one.authorisation_jti for one in facts if isinstance(one, CashReceiptFacts) and one.authorisation_jti is not None)


def build(
    session: Session, actor: Actor, keyring: Keyring, parts: tuple[Contents, Sequence[Copy], Sequence[Withheld], Sequence[str]],
    about: tuple[str, CopyPurpose, datetime],
) -> bytes:
    """Write the pack, enter it in the register of exports and log its digest, in one transaction."""
    (held, copies, withheld, authorisations), (origin, purpose, now) = parts, about
    checkpoint = log.newest_checkpoint(session)
    assert checkpoint is not None, "receipted statements are logged"
    export_id = new_id()
    pack = Pack(
        pack_id=str(export_id), bank=held.bank, case=str(held.case_id), visit=str(held.visit_id), made=format_utc(now),
        register_number=f"E-{export_id}", recipient=str(actor.id), entries=[_entry(session, one) for one in held.manifest_ids],
        devices=_devices(session, keyring, held.manifest_ids), checkpoint=checkpoint, keys=service_keys(session, keyring, origin),
        copies=[PackCopy(original_sha256=one.item.sha256, extension=one.extension, chunks=[one.content], derivation=one.statement) for one in copies],
        withheld=[*held.withheld, *withheld], authorisations=tuple(authorisations), custody=_custody(session, held))
    out = io.BytesIO()
    kid = keyring.active(KeyPurpose.RECEIPT).kid
    with refusing():
        summary: PackSummary = write_pack(
            pack, lambda level, index: session.get_one(LogNodeRow, (level, index)).hash, lambda message: keyring.vault.sign(kid, message), kid, out)
    stated = {"pack_id": str(export_id), "sha256": summary.sha256, "visit": str(held.visit_id), "recipient": str(actor.id), "purpose": purpose.value}
    entry_id = log.append(session, "export", canonicalise(dict(stated)), now)
    session.add(ExportRow(
        id=export_id, visit_id=held.visit_id, requested_by=actor.id, at=now, sha256=summary.sha256, purpose=purpose.value, log_entry_id=entry_id))
    session.flush()
    record(session, actor, EventTag.EVIDENCE_EXPORTED, f"visit:{held.visit_id}", now, export=export_id, sha256=summary.sha256, purpose=purpose.value)
    record_read(session, actor, [held.case_id], now, f"export:{purpose.value}")
    return out.getvalue()


def service_keys(session: Session, keyring: Keyring, origin: str) -> ServiceKeys:
    """Return every public key that a verifier may need: ours of all times, the banks', the log's."""
    banks: dict[str, list[PublicKey]] = {}
    log_key, *former = (key.public_bytes_raw() for key in keyring.log_public_keys())
    for row in session.scalars(select(BankKeyRow).order_by(BankKeyRow.enrolled_at, BankKeyRow.kid)):
        banks.setdefault(str(row.bank_id), []).append(key_from_jwk(row.public_jwk))
    return ServiceKeys(
        origin=origin, log_key=log_key, former_log_keys=former, receipt=_public(keyring, KeyPurpose.RECEIPT),
        derivation=_public(keyring, KeyPurpose.DERIVATION), banks=banks)


def trust(session: Session, keyring: Keyring, origin: str) -> bytes:
    """Return the trust file that a verifier is given apart from the pack."""
    return trust_document(service_keys(session, keyring, origin))


def _public(keyring: Keyring, purpose: KeyPurpose) -> list[PublicKey]:
    return [key_from_jwk(one.public) for one in keyring.public_keys(purpose) if isinstance(one.public, dict)]


def _entry(session: Session, manifest_id: UUID) -> PackEntry:
    row = session.get_one(ManifestRow, manifest_id)
    signatures = session.scalars(select(SignatureRow).where(SignatureRow.manifest_id == manifest_id).order_by(SignatureRow.role))
    envelope = assemble(row.payload, [SignatureMember(protected=one.protected, signature=one.signature) for one in signatures])
    received, examined = receipt_of(session, manifest_id), receipt_of(session, manifest_id, ReceiptKind.EXAMINED)
    assert received is not None
    return PackEntry(
        envelope=envelope, receipt=received.jws, proof=received.proof, report=report_of(session, row) if examined is not None else None,
        report_proof=examined.proof if examined is not None else None)


def _devices(session: Session, keyring: Keyring, manifest_ids: Sequence[UUID]) -> str:
    kids = session.scalars(select(SignatureRow.kid).where(SignatureRow.manifest_id.in_(manifest_ids)).distinct())
    histories = []
    for row in session.scalars(select(DeviceRow).where(DeviceRow.kid.in_(sorted(kids))).order_by(DeviceRow.kid)):
        states = [DeviceState(state="active", at=format_utc(row.enrolled_at))]
        for change in session.scalars(select(DeviceChangeRow).where(DeviceChangeRow.kid == row.kid).order_by(DeviceChangeRow.at, DeviceChangeRow.id)):
            since = row.compromised_since if change.to_state.value == "revoked" else None
            states.append(DeviceState(
                state=change.to_state.value, at=format_utc(change.at), compromised_since=format_utc(since) if since is not None else None))
        histories.append(DeviceHistory(key=key_from_jwk(row.public_jwk), person=str(row.staff_id), level=row.level.value, states=tuple(states)))
    kid = keyring.active(KeyPurpose.RECEIPT).kid
    return sign_devices(histories, lambda message: keyring.vault.sign(kid, message), kid)


def _custody(session: Session, held: Contents) -> list[tuple[str, str, str, str]]:
    """Return who received, read, copied and exported what, in order of time."""
    rows: list[tuple[datetime, str, str, str]] = [
        (row.received_at, str(row.staff_id), "received", row.digest)
        for row in session.scalars(select(ManifestRow).where(ManifestRow.id.in_(held.manifest_ids)))
    ]
    reads: Any = session.execute(
        select(AuditEntryRow.at, AuditEntryRow.actor_id, AuditEntryRow.tag)
        .join(AuditReadRow, AuditReadRow.entry_id == AuditEntryRow.id).where(AuditReadRow.subject_id == held.case_id))
    rows.extend((at, str(actor_id), tag, str(held.case_id)) for at, actor_id, tag in reads)
    copied = select(CopyRow).join(ItemRow, ItemRow.id == CopyRow.item_key).where(ItemRow.manifest_id.in_(held.manifest_ids))
    rows.extend((row.at, str(row.copier_id), "copied", row.number) for row in session.scalars(copied))
    rows.extend((row.at, str(row.requested_by), "exported", str(row.id)) for row in session.scalars(
        select(ExportRow).where(ExportRow.visit_id == held.visit_id)))
    return [(format_utc(at), who, action, about) for at, who, action, about in sorted(rows)]
