"""Taking a signed statement in: stored, linked into its devices' chains, graded and logged in one transaction."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from backend.audit import log
from backend.audit.events import EventTag
from backend.audit.record import record
from backend.auth.actors import Actor
from backend.auth.authorise import authorise
from backend.auth.permissions import Permission
from backend.core.ids import BankId, BranchId, CaseId, ManifestId, StaffId, VisitId
from backend.core.problems import NotFound
from backend.exhibits import chains, cosignatures, fixes, items
from backend.exhibits.findings import add_findings, findings_of, restand
from backend.exhibits.model import Accepted, Intake, LinkRole, ManifestState, Statement, standing_of
from backend.exhibits.recording_model import judge_brought_in
from backend.exhibits.refusals import ManifestConflict
from backend.exhibits.rules import (
    PlaceFacts,
    is_capturer,
    judge_clock,
    judge_devices,
    judge_place,
    judge_tenant,
    judge_visit,
    key_compromised,
)
from backend.exhibits.tables import ChainLinkRow, ManifestRow, SignatureRow
from backend.keys.sealing import create_case_key
from evidence.canonical import canonicalise
from evidence.envelope import COSIGNED_KINDS, PairFacts, SignatureMember, Signer, assemble, check_shape, judge_pair
from evidence.manifest import Manifest, decode_manifest
from evidence.model import Finding
from evidence.times import parse_utc


def accept(session: Session, actor: Actor, statement: Statement, intake: Intake, now: datetime) -> Accepted:
    """Store an opened statement, or add the signature that it still lacked; an identical re-send changes nothing.

    Nothing it says is refused: what is wrong with it becomes findings and its standing (design decision 4).

    Raises:
        Forbidden: the actor may not submit evidence.
        NotFound: the actor's device neither signed it nor belongs to a visitor of that visit.
        ManifestConflict: its id already stands for other content.
    """
    authorise(actor, Permission.EVIDENCE_SUBMIT)
    manifest = statement.manifest
    is_signer = actor.device in (manifest.device, manifest.cosigner_device) or actor.id in (statement.staff_id, statement.cosigner_id)
    if not is_signer and (intake.visit is None or actor.id not in intake.visit.pair):
        raise NotFound
    row = session.scalars(select(ManifestRow).where(ManifestRow.digest == statement.digest)).one_or_none()
    is_new = row is None
    if row is None:
        if session.get(ManifestRow, UUID(manifest.manifest_id)) is not None:
            raise ManifestConflict(reason="the id stands for another payload", pointer="/manifest_id")
        row = _store(session, statement, intake, now)
    was = None if is_new else row.state
    added = _add_signatures(session, row, statement, now)
    if is_new:
        _judge_new(session, row, statement, intake, now)
    for signer in added:
        fixes.witnessed(session, row, signer, intake.policy, now)
    if added:
        _judge_signatures(session, row, statement, intake, now)
        cosignatures.settle(session, row, now)
        session.flush()
        record(session, actor, EventTag.MANIFEST_ACCEPTED, f"manifest:{row.id}", now, policy_version=intake.policy.version,
               digest=row.digest, kind=row.kind.value, state=row.state.value, standing=row.standing.value, visit=str(row.visit_id or ""))
    return accepted_of(
        session, row, is_new=is_new, is_completed_now=row.state is ManifestState.COMPLETE is not was,
        is_lapsed_now=row.state is ManifestState.LAPSED is not was)


def lapse(session: Session, manifest_id: UUID, now: datetime) -> Accepted | None:
    """End the wait for a signature whose term is over; None when the statement is not waiting, or not so long yet. Twice is fine."""
    row = session.execute(
        select(ManifestRow).where(ManifestRow.id == manifest_id).with_for_update().execution_options(populate_existing=True)).scalar_one()
    if row.state is not ManifestState.AWAITING_COSIGNATURE or row.cosign_due_at is None or row.cosign_due_at > now:
        return None
    cosignatures.end_wait(session, row, "cosignature-lapsed", f"signed before {row.cosign_due_at:%Y-%m-%dT%H:%MZ}", now)
    return _ended(session, None, row, now)


def refuse_cosignature(session: Session, actor: Actor, accepted: Accepted, now: datetime) -> Accepted | None:
    """Link a partner's refusal to the statement it refuses; returns that statement if this ended its wait, None otherwise.

    The refused statement may arrive later: it is then met by the stored refusal.
    """
    refused = cosignatures.link(session, accepted, now)
    return _ended(session, actor, refused, now) if refused is not None else None


def quarantine_since(session: Session, actor: Actor, kid: str, since: datetime, now: datetime) -> int:
    """Quarantine every statement of a lost device's chain that arrived at or after an instant; what arrived before stands. Returns how many."""
    rows = session.scalars(
        select(ManifestRow).join(ChainLinkRow, ChainLinkRow.manifest_id == ManifestRow.id)
        .where(ChainLinkRow.device == kid, ChainLinkRow.received_at >= since).order_by(ManifestRow.id)).all()
    for row in rows:
        add_findings(session, row, (key_compromised(kid, since),), now)
    if rows:
        record(session, actor, EventTag.DEVICE_QUARANTINED, f"device:{kid}", now, statements=len(rows), since=since)
    return len(rows)


def _ended(session: Session, actor: Actor | None, row: ManifestRow, now: datetime) -> Accepted:
    record(session, actor, EventTag.COSIGNATURE_ENDED, f"manifest:{row.id}", now, digest=row.digest, state=row.state.value,
           standing=row.standing.value)
    return accepted_of(session, row, is_new=False, is_completed_now=False, is_lapsed_now=True)


def _store(session: Session, statement: Statement, intake: Intake, now: datetime) -> ManifestRow:
    manifest, visit, bounds = statement.manifest, intake.visit, statement.bounds
    manifest_id = UUID(manifest.manifest_id)
    if visit is None:
        create_case_key(session, intake.keyring, manifest_id, now)
    row = ManifestRow(
        id=manifest_id, digest=statement.digest, payload=statement.envelope.payload, kind=manifest.kind,
        visit_id=visit.visit_id if visit else None, case_id=visit.case_id if visit else None, bank_id=visit.bank_id if visit else None,
        branch_id=visit.branch_id if visit else None, seal_subject=visit.case_id if visit else manifest_id,
        device=manifest.device, staff_id=statement.staff_id, cosigner_device=manifest.cosigner_device, cosigner_id=statement.cosigner_id,
        seq=manifest.seq, prev=manifest.prev, captured_at=bounds.claimed_at, captured_lower_at=bounds.lower_at, captured_upper_at=bounds.upper_at,
        judged_at=bounds.judged_at, received_at=now, policy_version=intake.policy.version,
        log_entry_id=log.append(session, "manifest", statement.envelope.payload, now),
        state=ManifestState.AWAITING_COSIGNATURE, standing=standing_of(()), completed_at=None,
        cosign_due_at=now + timedelta(seconds=intake.policy.cosignature_due_s),
    )
    session.add(row)
    session.flush()
    items.declare(session, row, manifest, intake.policy, now)
    return row


def _add_signatures(session: Session, row: ManifestRow, statement: Statement, now: datetime) -> tuple[Signer, ...]:
    """Store each signature that is not here yet, and its link in its device's chain; the same key's other signature adds nothing. Returns the new."""
    held = set(session.scalars(select(SignatureRow.kid).where(SignatureRow.manifest_id == row.id)))
    added: list[Signer] = []
    for signer, member in zip(statement.signers, statement.envelope.signatures, strict=True):
        if signer.kid in held:
            continue
        role = LinkRole.CAPTURER if is_capturer(signer) else LinkRole.WITNESS
        stated = {"manifest_sha256": row.digest, "kid": signer.kid, "role": role.value, "at": signer.header.at}
        entry_id = row.log_entry_id if role is LinkRole.CAPTURER else log.append(session, "cosignature", canonicalise(dict(stated)), now)
        session.add(SignatureRow(
            manifest_id=row.id, kid=signer.kid, role=role, protected=member.protected, signature=member.signature,
            signed_at=parse_utc(signer.header.at), received_at=now, log_entry_id=entry_id))
        session.flush()
        chains.extend(session, row, signer, role, now)
        chains.judge_times(session, row, signer, role, now)
        added.append(signer)
    return tuple(added)


def _judge_new(session: Session, row: ManifestRow, statement: Statement, intake: Intake, now: datetime) -> None:
    manifest, bounds, policy = statement.manifest, statement.bounds, intake.policy
    place = PlaceFacts(
        address=intake.visit.address if intake.visit else None, positions=tuple(signer.header.pos for signer in statement.signers), bounds=bounds)
    fixes.captured(session, row, manifest.position, policy, now)
    add_findings(session, row, (
        *judge_tenant(manifest, intake.tenant), *judge_visit(manifest, bounds, intake.visit), *judge_clock(manifest, bounds, now, policy),
        *judge_place(manifest, place, policy),
        *judge_brought_in(manifest, frozenset(one.sha256 for one in manifest.items if items.recording_of(session, row.visit_id, one.sha256))),
    ), now)


def _judge_signatures(session: Session, row: ManifestRow, statement: Statement, intake: Intake, now: datetime) -> None:
    """Judge the two-person rule over all signatures held. A second one that is still due is no finding: the state says it."""
    stored = _signers(session, row)
    assigned = frozenset(str(one) for one in intake.visit.pair) if intake.visit else frozenset()
    people = {row.device: str(row.staff_id)} | ({row.cosigner_device: str(row.cosigner_id)} if row.cosigner_device else {})
    pair = PairFacts(person_by_kid=people, assigned=assigned, cosign_gap_s_max=intake.policy.cosignature_window_s)
    is_due = row.cosigner_device is not None and row.kind in COSIGNED_KINDS and len(stored) < 2
    found = [one for one in judge_pair(statement.manifest, stored, pair) if not (is_due and one.name == "cosignature-missing")]
    if intake.visit is None:
        found = [one for one in found if one.name != "signer-not-assigned"]       # `visit-unknown` says it already.
    positions = PlaceFacts(address=None, positions=tuple(signer.header.pos for signer in stored), bounds=statement.bounds)
    apart = [one for one in judge_place(statement.manifest, positions, intake.policy) if one.name in ("partners-apart", "mock-location")]
    add_findings(session, row, (*found, *apart, *judge_devices(statement.devices, statement.bounds, now)), now)
    restand(session, row)


def _signers(session: Session, row: ManifestRow) -> tuple[Signer, ...]:
    held = session.scalars(select(SignatureRow).where(SignatureRow.manifest_id == row.id).order_by(SignatureRow.role))
    raw = assemble(row.payload, [SignatureMember(protected=one.protected, signature=one.signature) for one in held])
    return tuple(Signer(header=header, payload_sha256=row.digest) for header in check_shape(raw).headers)


def accepted_of(session: Session, row: ManifestRow, *, is_new: bool, is_completed_now: bool, is_lapsed_now: bool) -> Accepted:
    """Return a statement as it now stands."""
    manifest: Manifest = decode_manifest(row.payload)
    found: Iterable[Finding] = findings_of(session, row.id)
    return Accepted(
        manifest_id=ManifestId(row.id), digest=row.digest, manifest=manifest, device=row.device, staff_id=StaffId(row.staff_id),
        cosigner_id=StaffId(row.cosigner_id) if row.cosigner_id else None, visit_id=VisitId(row.visit_id) if row.visit_id else None,
        case_id=CaseId(row.case_id) if row.case_id else None, bank_id=BankId(row.bank_id) if row.bank_id else None,
        branch_id=BranchId(row.branch_id) if row.branch_id else None, captured_at=row.judged_at, captured_lower_at=row.captured_lower_at,
        captured_upper_at=row.captured_upper_at, received_at=row.received_at, state=row.state, standing=row.standing, findings=tuple(found),
        items=items.declared(session, row.id), policy_version=row.policy_version, is_new=is_new, is_completed_now=is_completed_now,
        is_lapsed_now=is_lapsed_now,
    )
