"""Packs: statements, receipts, proofs, stamped copies and keys, of a visit, cases or a period, for a reader who trusts nobody."""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import ColumnElement, select
from sqlalchemy.orm import Session

from backend.audit import log, stamps, witnesses
from backend.audit.tables import AuditEntryRow, AuditReadRow, LogNodeRow
from backend.auth.actors import Actor
from backend.banks.tables import BankKeyRow
from backend.core.ids import BankId, CaseId, ManifestId, VisitId
from backend.core.problems import NotFound
from backend.exhibits.copies import Copy
from backend.exhibits.custody_model import ExclusionReason, ItemVerdict, Scope, ScopeKind
from backend.exhibits.custody_tables import PackRow
from backend.exhibits.item_reviews import verdicts_of
from backend.exhibits.joint import withheld_of
from backend.exhibits.model import ItemState, ReceiptKind
from backend.exhibits.queries import StoredItem, opened_row, visible_to
from backend.exhibits.receipts import receipt_of, report_of
from backend.exhibits.refusals import NotExportable, refusing
from backend.exhibits.tables import CopyRow, ExportRow, ItemRow, ManifestRow, RecordingRow, SignatureRow
from backend.keys.keyring import Keyring
from backend.keys.model import KeyPurpose
from backend.staff.queries import renewed_among
from backend.staff.tables import DeviceChangeRow, DeviceRow
from evidence.envelope import SignatureMember, assemble
from evidence.es256 import compact_peek
from evidence.facts import CashReceiptFacts, Kind
from evidence.keys import PublicKey, key_from_jwk
from evidence.manifest import decode_manifest
from evidence.pack import (
    TYP_AUTHORISATION,
    Pack,
    PackCopy,
    Packed,
    PackEntry,
    PackFollowUp,
    PackRecording,
    PackSealed,
    ServiceKeys,
    Withheld,
    lay_out,
    trust_document,
)
from evidence.statements import DeviceHistory, DeviceState, sign_devices
from evidence.times import format_utc
from evidence.translog import parse_checkpoint, parse_proof

STATEMENTS_MAX, COPIES_MAX, KNOWN_SIZES_MAX = 5_000, 2_000, 50


class Contents(msgspec.Struct, frozen=True, kw_only=True):
    """What a pack will hold: statements by id, files to be copied, files that stay, with the reason."""

    scope: Scope
    bank: BankId
    cases: tuple[CaseId, ...]
    visits: tuple[UUID, ...]
    manifest_ids: tuple[ManifestId, ...]
    items: tuple[StoredItem, ...]
    withheld: tuple[Withheld, ...]


class Handed(msgspec.Struct, frozen=True, kw_only=True):
    """What was made for this pack: stamped copies, or sealed originals, and what could not be."""

    copies: Sequence[Copy] = ()
    sealed: Sequence[PackSealed] = ()
    withheld: Sequence[Withheld] = ()
    authorisations: Sequence[str] = ()
    follow_ups: Sequence[PackFollowUp] = ()


class Cover(msgspec.Struct, frozen=True, kw_only=True):
    """What stands on the outside of a pack."""

    id: UUID
    register_number: str
    recipient: str
    origin: str
    now: datetime
    known_size: int | None = None


def contents(session: Session, actor: Actor, scope: Scope) -> Contents:
    """Return what a pack will hold.

    Raises:
        NotFound: no statement within the scope is the actor's to see.
        NotExportable: none of them has a receipt yet, they are of several banks, or there are too many for one pack.
    """
    query = select(ManifestRow).where(visible_to(actor), ManifestRow.case_id.is_not(None), *_within(scope))
    rows = session.scalars(query.order_by(ManifestRow.judged_at, ManifestRow.id).limit(STATEMENTS_MAX + 1)).all()
    if not rows:
        raise NotFound
    banks = {row.bank_id for row in rows}
    if len(banks) > 1 or None in banks:
        raise NotExportable(reason="a pack is of one bank; name it")
    receipted = {row.id: row for row in rows if receipt_of(session, row.id) is not None}
    if not receipted:
        raise NotExportable(reason="no statement within this scope is complete")
    held, withheld = _files(session, receipted)
    if len(rows) > STATEMENTS_MAX or len(held) > COPIES_MAX:
        raise NotExportable(reason=f"a pack holds at most {STATEMENTS_MAX} statements and {COPIES_MAX} files; narrow the scope")
    cases = {CaseId(row.case_id) for row in receipted.values() if row.case_id is not None}
    return Contents(
        scope=scope, bank=BankId(banks.pop() or UUID(int=0)), cases=tuple(sorted(cases)),
        visits=tuple(sorted({row.visit_id for row in receipted.values() if row.visit_id})),
        manifest_ids=tuple(ManifestId(one) for one in receipted), items=held, withheld=withheld)


def _within(scope: Scope) -> list[ColumnElement[bool]]:
    """Return the conditions of a scope; one that names nothing selects nothing."""
    found: list[ColumnElement[bool]] = []
    if scope.visit_ids is not None:
        found.append(ManifestRow.visit_id.in_(sorted(scope.visit_ids)))
    if scope.case_ids is not None:
        found.append(ManifestRow.case_id.in_(sorted(scope.case_ids)))
    if scope.from_at is not None and scope.to_at is not None:
        found.extend([ManifestRow.judged_at >= scope.from_at, ManifestRow.judged_at < scope.to_at])
    assert found, "a scope names visits, cases or a period"
    if scope.bank_id is not None:
        found.append(ManifestRow.bank_id == scope.bank_id)
    return found


def _files(session: Session, rows: dict[UUID, ManifestRow]) -> tuple[tuple[StoredItem, ...], tuple[Withheld, ...]]:
    held: dict[str, StoredItem] = {}
    withheld: dict[str, Withheld] = {}
    items = session.scalars(select(ItemRow).where(ItemRow.manifest_id.in_(rows)).order_by(ItemRow.id)).all()
    verdicts = verdicts_of(session, [item.id for item in items])
    joint = withheld_of(session, [item.id for item in items])
    for item in items:
        reason = None
        if item.state is not ItemState.STORED or item.blob_key is None:
            reason = ExclusionReason.NEVER_ARRIVED
        elif item.wrapped_key is None:
            reason = ExclusionReason.DESTROYED
        elif verdicts.get(item.id) is ItemVerdict.REJECTED:
            reason = ExclusionReason.REJECTED
        elif item.id in joint:
            reason = ExclusionReason.JOINT
        if reason is None:
            held.setdefault(item.sha256, opened_row(item, rows[item.manifest_id]))
        else:
            withheld[item.sha256] = Withheld(sha256=item.sha256, reason=reason.value)
    # The same bytes under two statements: what one of them may not hand out, the other does not either.
    return tuple(one for digest, one in held.items() if digest not in withheld), tuple(withheld.values())


def _hardware(session: Session, authorisations: Sequence[str]) -> dict[str, str]:
    """Return whose hardware holds each key that signed one of the bank's words (F19)."""
    kids = sorted({compact_peek(token, TYP_AUTHORISATION)[0]["kid"] for token in authorisations})
    return {row.kid: row.hardware.value for row in session.execute(select(BankKeyRow.kid, BankKeyRow.hardware).where(BankKeyRow.kid.in_(kids)))}


def authorisations_named(session: Session, held: Contents) -> dict[CaseId, frozenset[str]]:
    """Return by case the ids of the bank's authorisations under which the pack's receipts say that money was taken."""
    query = select(ManifestRow.case_id, ManifestRow.payload).where(ManifestRow.id.in_(held.manifest_ids), ManifestRow.kind == Kind.CASH_RECEIPT)
    named: dict[CaseId, set[str]] = {}
    for case_id, payload in session.execute(query):
        facts = decode_manifest(payload).facts
        if case_id is not None and isinstance(facts, CashReceiptFacts) and facts.authorisation_jti is not None:
            named.setdefault(CaseId(case_id), set()).add(facts.authorisation_jti)
    return {case_id: frozenset(jtis) for case_id, jtis in named.items()}


def assemble_pack(session: Session, keyring: Keyring, held: Contents, handed: Handed, cover: Cover) -> tuple[Packed, int]:
    """Sign the pack's index and return how its bytes will run, and under which size of the log."""
    checkpoint = log.newest_checkpoint(session)
    assert checkpoint is not None, "receipted statements are logged"
    size = parse_checkpoint(checkpoint).size
    entries = [_entry(session, one) for one in held.manifest_ids]
    pack = Pack(
        pack_id=str(cover.id), bank=str(held.bank), scope={"kind": held.scope.kind.value, **held.scope.told},
        cases=[str(one) for one in held.cases], visits=[str(one) for one in held.visits], made=format_utc(cover.now),
        register_number=cover.register_number, recipient=cover.recipient, entries=entries,
        devices=_devices(session, keyring, held.manifest_ids), checkpoint=checkpoint, keys=service_keys(session, keyring, cover.origin, held.bank),
        copies=[PackCopy(original_sha256=one.item.sha256, extension=one.extension, content=one.content, derivation=one.statement)
                for one in handed.copies],
        sealed=handed.sealed, withheld=[*held.withheld, *handed.withheld], authorisations=tuple(handed.authorisations),
        hardware=_hardware(session, handed.authorisations),
        custody=_custody(session, held),
        witnessed=witnesses.witnessed_for(session, held.bank, size),
        recordings=_recordings(session, held),
        follow_ups=handed.follow_ups,
        stamps=stamps.covering(session, (parse_proof(entry.proof).index for entry in entries), size),
        known_sizes=_known_sizes(session, held.bank, cover.known_size, size))
    kid = keyring.active(KeyPurpose.RECEIPT).kid
    with refusing():
        packed = lay_out(pack, lambda level, index: session.get_one(LogNodeRow, (level, index)).hash, _signer(keyring, kid), kid)
    return packed, size


def service_keys(session: Session, keyring: Keyring, origin: str, bank: BankId | None = None) -> ServiceKeys:
    """Return every public key that a verifier may need: ours of all times, the log's, and one bank's or all banks'."""
    banks: dict[str, list[PublicKey]] = {}
    log_key, *former = (key.public_bytes_raw() for key in keyring.log_public_keys())
    query = select(BankKeyRow).order_by(BankKeyRow.enrolled_at, BankKeyRow.kid)
    for row in session.scalars(query if bank is None else query.where(BankKeyRow.bank_id == bank)):
        banks.setdefault(str(row.bank_id), []).append(key_from_jwk(row.public_jwk))
    return ServiceKeys(
        origin=origin, log_key=log_key, former_log_keys=former, receipt=_public(keyring, KeyPurpose.RECEIPT),
        derivation=_public(keyring, KeyPurpose.DERIVATION), banks=banks, witnesses=witnesses.keys_of(session, bank))


def trust(session: Session, keyring: Keyring, origin: str, bank: BankId | None = None) -> bytes:
    """Return the trust file that a verifier is given apart from the pack."""
    return trust_document(service_keys(session, keyring, origin, bank))


def _public(keyring: Keyring, purpose: KeyPurpose) -> list[PublicKey]:
    return [key_from_jwk(one.public) for one in keyring.public_keys(purpose) if isinstance(one.public, dict)]


def _signer(keyring: Keyring, kid: str) -> Callable[[bytes], bytes]:
    return lambda message: keyring.vault.sign(kid, message)


def _known_sizes(session: Session, bank: BankId, asked: int | None, newest: int) -> tuple[int, ...]:
    """Return the log sizes that this bank has seen: those of its earlier packs, and the one it says that it knows."""
    query = select(PackRow.log_size).where(PackRow.bank_id == bank).order_by(PackRow.id.desc()).limit(KNOWN_SIZES_MAX)
    return tuple(size for size in {*session.scalars(query), asked or 0} if 0 < size < newest)


def _entry(session: Session, manifest_id: UUID) -> PackEntry:
    row = session.get_one(ManifestRow, manifest_id)
    signatures = session.scalars(select(SignatureRow).where(SignatureRow.manifest_id == manifest_id).order_by(SignatureRow.role))
    envelope = assemble(row.payload, [SignatureMember(protected=one.protected, signature=one.signature) for one in signatures])
    received, examined = receipt_of(session, manifest_id), receipt_of(session, manifest_id, ReceiptKind.EXAMINED)
    assert received is not None
    return PackEntry(
        envelope=envelope, receipt=received.jws, proof=received.proof, report=report_of(session, row) if examined is not None else None,
        report_proof=examined.proof if examined is not None else None)


def _recordings(session: Session, held: Contents) -> list[PackRecording]:
    """Return who brought in those of the pack's files that came off a recorder (F06)."""
    named = select(ItemRow.sha256).where(ItemRow.manifest_id.in_(held.manifest_ids))
    query = select(RecordingRow).where(RecordingRow.sha256.in_(named), RecordingRow.visit_id.in_(held.visits)).order_by(RecordingRow.sha256)
    found = [(row.statement, log.proof_of(session, row.log_entry_id)) for row in session.scalars(query)]
    return [PackRecording(statement=statement, proof=proof) for statement, proof in found if proof is not None]


def _devices(session: Session, keyring: Keyring, manifest_ids: Sequence[UUID]) -> str:
    kids = session.scalars(select(SignatureRow.kid).where(SignatureRow.manifest_id.in_(manifest_ids)).distinct()).all()
    histories, renewed = [], renewed_among(session, kids)
    for row in session.scalars(select(DeviceRow).where(DeviceRow.kid.in_(sorted(kids))).order_by(DeviceRow.kid)):
        states = [DeviceState(state="active", at=format_utc(row.enrolled_at))]
        for change in session.scalars(select(DeviceChangeRow).where(DeviceChangeRow.kid == row.kid).order_by(DeviceChangeRow.at, DeviceChangeRow.id)):
            since = row.compromised_since if change.to_state.value == "revoked" else None
            is_renewal = change.to_state.value == "revoked" and row.kid in renewed
            states.append(DeviceState(
                state="renewed" if is_renewal else change.to_state.value, at=format_utc(change.at),
                compromised_since=format_utc(since) if since is not None else None))
        histories.append(DeviceHistory(
            key=key_from_jwk(row.public_jwk), person=str(row.staff_id), level=row.level.value, states=tuple(states),
            last_seq=renewed[row.kid][0] if row.kid in renewed else None))
    kid = keyring.active(KeyPurpose.RECEIPT).kid
    return sign_devices(histories, _signer(keyring, kid), kid)


def _custody(session: Session, held: Contents) -> list[tuple[str, str, str, str]]:
    """Return who received, read, copied and exported what, in order of time."""
    rows: list[tuple[datetime, str, str, str]] = [
        (row.received_at, str(row.staff_id), "received", row.digest)
        for row in session.scalars(select(ManifestRow).where(ManifestRow.id.in_(held.manifest_ids)))
    ]
    reads: Any = session.execute(
        select(AuditEntryRow.at, AuditEntryRow.actor_id, AuditEntryRow.tag, AuditReadRow.subject_id)
        .join(AuditReadRow, AuditReadRow.entry_id == AuditEntryRow.id).where(AuditReadRow.subject_id.in_(held.cases)))
    rows.extend((at, str(actor_id), tag, str(case_id)) for at, actor_id, tag, case_id in reads)
    copied = select(CopyRow).join(ItemRow, ItemRow.id == CopyRow.item_key).where(ItemRow.manifest_id.in_(held.manifest_ids))
    rows.extend((row.at, str(row.copier_id), "copied", row.number) for row in session.scalars(copied))
    rows.extend((row.at, str(row.requested_by), "exported", str(row.id)) for row in session.scalars(
        select(ExportRow).where(ExportRow.visit_id.in_(held.visits))))
    return [(format_utc(at), who, action, about) for at, who, action, about in sorted(rows)]


def visit_scope(visit_id: UUID) -> Scope:
    """Return the scope of one visit."""
    return Scope(kind=ScopeKind.VISIT, told={"visit": str(visit_id)}, visit_ids=(VisitId(visit_id),))
