"""What decides a case: each step with its author, suspension, holds, and what ends collection.

`suspend`, `hold_vulnerable`, `record_complaint`, `record_death` and `step` are called by the slices above on the strength of what
happened; they ask for no permission of their own, only that the actor may see the case. The others are decisions and do.
"""

from collections.abc import Iterable, Mapping
from datetime import date, datetime
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from backend.audit.events import EventTag
from backend.audit.record import record
from backend.auth.actors import Actor
from backend.auth.authorise import authorise
from backend.auth.permissions import Permission
from backend.cases.model import (
    OPEN_STATUSES,
    SUSPENDED_STATUSES,
    TRANSITIONS,
    CaseEvent,
    CaseStatus,
    Decision,
    Release,
    Source,
    Stop,
    SuspensionReason,
    advance,
)
from backend.cases.queries import visible_to
from backend.cases.tables import CaseDecisionRow, CaseRow, RepaymentRow, VulnerabilityReleaseRow
from backend.core.fen import Fen
from backend.core.ids import CaseId, StaffId, new_id
from backend.core.problems import Conflict, Forbidden, NotFound
from backend.db.base import SealedValue
from backend.keys.keyring import Keyring
from backend.keys.sealing import sealer

_LIFTABLE = frozenset({Stop.COMPLAINT, Stop.HOLD})
_CHUNK = 500


def locked_case(session: Session, actor: Actor, case_id: UUID) -> CaseRow:
    """Return a case locked for the rest of the transaction.

    Raises:
        NotFound: there is none, or it is not the actor's to see.
    """
    query = select(CaseRow).where(CaseRow.id == case_id, visible_to(actor)).with_for_update(of=CaseRow)
    row = session.scalar(query.execution_options(populate_existing=True))
    if row is None:
        raise NotFound
    return row


def step(
    session: Session, actor: Actor, row: CaseRow, event: CaseEvent, now: datetime, *, keyring: Keyring | None = None, reason: str | None = None
) -> Decision:
    """Move a locked case by one event and write down who decided it, when and why (REQ-08).

    Raises:
        IllegalTransition: the event cannot follow the case's status.
    """
    return _move(session, actor, row, event, now, reason=_sealed_reason(session, keyring, row, reason), tag=EventTag.CASE_DECIDED)


def step_if_allowed(session: Session, actor: Actor, row: CaseRow, events: tuple[CaseEvent, ...], now: datetime) -> None:
    """Move a locked case along `events`, leaving out those that cannot follow: for facts, which never fail on a status."""
    for event in events:
        if _can_follow(row, event):
            _move(session, actor, row, event, now, reason=None, tag=EventTag.CASE_DECIDED)


def suspend(session: Session, actor: Actor, case_id: CaseId | UUID, reason: SuspensionReason, now: datetime) -> Decision | None:
    """Suspend collection at once (DECL-01). Returns None when the case is suspended already or no longer collected."""
    row = locked_case(session, actor, case_id)
    if row.suspended_at is not None or row.status not in OPEN_STATUSES:
        return None
    row.resumes_to, row.suspended_at, row.suspension_reason = row.status, now, reason
    return _move(session, actor, row, CaseEvent.SUSPEND, now, reason=None, tag=EventTag.CASE_SUSPENDED)


def investigate(session: Session, actor: Actor, case_id: CaseId | UUID, now: datetime) -> Decision | None:
    """Note that a declaration was taken and somebody investigates (DECL-03); suspends first where nothing did."""
    suspend(session, actor, case_id, SuspensionReason.DENIES_APPLICATION, now)
    row = locked_case(session, actor, case_id)
    if row.status is not CaseStatus.SUSPENDED:
        return None
    return _move(session, actor, row, CaseEvent.INVESTIGATE, now, reason=None, tag=EventTag.CASE_DECIDED)


def resume(session: Session, actor: Actor, keyring: Keyring, case_id: CaseId | UUID, reason: str, now: datetime) -> Decision:
    """Resume a suspended case by the ruling of its bank, and of nobody else (DECL-03).

    Raises:
        Forbidden: The actor is not of a bank, or may not rule.
        NotFound: The case is another bank's.
        IllegalTransition: It is not suspended.
    """
    row = _ruled(session, actor, case_id)
    sealed = _sealed_reason(session, keyring, row, reason)
    return _move(session, actor, row, CaseEvent.RESUME, now, reason=sealed, tag=EventTag.CASE_RESUMED)


def rule_fraud(session: Session, actor: Actor, keyring: Keyring, case_id: CaseId | UUID, reason: str, now: datetime) -> Decision:
    """End collection by the bank's ruling that the cardholder does not owe this (DECL-05). Raises as `resume`."""
    row = _ruled(session, actor, case_id)
    return _move(session, actor, row, CaseEvent.RULE_FRAUD, now, reason=_sealed_reason(session, keyring, row, reason), tag=EventTag.CASE_DECIDED)


def hold_vulnerable(session: Session, actor: Actor, case_id: CaseId | UUID, now: datetime) -> None:
    """Take a case out of routing: somebody there is seriously ill, pregnant or in a like condition (VIS-11)."""
    row = locked_case(session, actor, case_id)
    row.vulnerable_at = row.vulnerable_at or now
    record(session, actor, EventTag.CASE_CHANGED, f"case:{row.id}", now, stop=Stop.VULNERABLE.value)


def release_vulnerable(session: Session, actor: Actor, keyring: Keyring, release: Release, now: datetime) -> UUID:
    """Let a held case be collected again, in the recorded time and manner and with the recorded precautions (VIS-11).

    Raises:
        Conflict: The case is not held for vulnerability.
    """
    authorise(actor, Permission.CASE_DECIDE)
    row = locked_case(session, actor, release.case_id)
    if row.vulnerable_at is None:
        raise Conflict(reason="not-held", stop=Stop.VULNERABLE.value)
    box = sealer(session, keyring, row.id)
    stored = VulnerabilityReleaseRow(
        id=new_id(), case_id=row.id, from_at=release.from_at, to_at=release.to_at, manner=box.seal("vulnerability_releases.manner", release.manner),
        precautions=box.seal("vulnerability_releases.precautions", release.precautions), released_by=actor.id, released_at=now,
    )
    row.vulnerable_at = None
    session.add(stored)
    session.flush()
    record(session, actor, EventTag.CASE_DECIDED, f"case:{row.id}", now, lifted=Stop.VULNERABLE.value, release=stored.id)
    return stored.id


def record_complaint(session: Session, actor: Actor, case_id: CaseId | UUID, now: datetime) -> None:
    """Pause a case because somebody complained (F15)."""
    row = locked_case(session, actor, case_id)
    row.complaint_at = row.complaint_at or now
    record(session, actor, EventTag.CASE_CHANGED, f"case:{row.id}", now, stop=Stop.COMPLAINT.value)


def hold(session: Session, actor: Actor, case_id: CaseId | UUID, now: datetime) -> None:
    """Hold a case by decision."""
    authorise(actor, Permission.CASE_DECIDE)
    row = locked_case(session, actor, case_id)
    row.hold_at = row.hold_at or now
    record(session, actor, EventTag.CASE_DECIDED, f"case:{row.id}", now, stop=Stop.HOLD.value)


def lift(session: Session, actor: Actor, case_id: CaseId | UUID, stop: Stop, now: datetime) -> None:
    """Lift a complaint's pause or a hold by decision.

    Raises:
        Conflict: The case is not stopped by it, or this stop is not lifted here.
    """
    authorise(actor, Permission.CASE_DECIDE)
    row = locked_case(session, actor, case_id)
    column = f"{stop.value}_at"
    if stop not in _LIFTABLE or getattr(row, column) is None:
        raise Conflict(reason="not-held", stop=stop.value)
    setattr(row, column, None)
    record(session, actor, EventTag.CASE_DECIDED, f"case:{row.id}", now, lifted=stop.value)


def note_claims(session: Session, case_ids: Iterable[UUID], since: Mapping[UUID, datetime]) -> None:
    """Stop these cases for a payment that was witnessed and not settled, or let them go on where none is left; their rows are locked (F10).

    Args:
        since: When the oldest open claim of a case was witnessed; a case without one is missing.
    """
    for row in session.scalars(select(CaseRow).where(CaseRow.id.in_(sorted(set(case_ids))))):
        row.payment_claimed_at = since.get(row.id)
    session.flush()


def lock_cases(session: Session, case_ids: Iterable[UUID]) -> None:
    """Lock many cases in the order of their ids, the one order in which whoever holds several takes them."""
    wanted = sorted(set(case_ids))
    for start in range(0, len(wanted), _CHUNK):
        query = select(CaseRow).where(CaseRow.id.in_(wanted[start : start + _CHUNK])).order_by(CaseRow.id)
        session.scalars(query.with_for_update(of=CaseRow).execution_options(populate_existing=True)).all()


def recall(session: Session, actor: Actor, case_id: CaseId | UUID, now: datetime) -> Decision:
    """Give a case back to its bank (BANK-03): by the clerk from the bank's list, or by the bank itself."""
    authorise(actor, Permission.BATCH_IMPORT)
    row = locked_case(session, actor, case_id)
    row.recalled_at = row.recalled_at or now
    return _move(session, actor, row, CaseEvent.RECALL, now, reason=None, tag=EventTag.CASE_DECIDED)


def record_death(session: Session, actor: Actor, case_id: CaseId | UUID, now: datetime) -> None:
    """Stop every contact because the debtor died (CASE-05). What follows is a supervisor's decision."""
    row = locked_case(session, actor, case_id)
    if row.deceased_at is not None:
        return
    row.deceased_at = now
    if not _can_follow(row, CaseEvent.RECORD_DEATH):
        record(session, actor, EventTag.CASE_CHANGED, f"case:{row.id}", now, stop=Stop.DECEASED.value)
        return
    _move(session, actor, row, CaseEvent.RECORD_DEATH, now, reason=None, tag=EventTag.CASE_DECIDED)


def record_repayment(
    session: Session, actor: Actor, case_id: CaseId | UUID, *, reference: str, amount: Fen, paid_on: date, now: datetime
) -> bool:
    """Record money that reached the bank, once per reference; the case is paid when nothing is left.

    Returns:
        Whether the case is paid.

    Raises:
        Conflict: The reference was recorded with another amount or day.
    """
    authorise(actor, Permission.BATCH_IMPORT)
    row = locked_case(session, actor, case_id)
    earlier = session.scalar(select(RepaymentRow).where(RepaymentRow.case_id == row.id, RepaymentRow.reference == reference))
    if earlier is not None:
        if (earlier.amount_fen, earlier.paid_on) != (amount, paid_on):
            raise Conflict(reason="reference-used", stored_fen=earlier.amount_fen, got_fen=amount)
        return row.paid_at is not None
    session.add(RepaymentRow(
        id=new_id(), case_id=row.id, reference=reference, amount_fen=amount, paid_on=paid_on, source=Source.BANK_FILE, recorded_by=actor.id,
        recorded_at=now,
    ))
    session.flush()
    repaid = session.scalar(select(func.sum(RepaymentRow.amount_fen)).where(RepaymentRow.case_id == row.id)) or 0
    is_settled = int(repaid) >= row.amount_fen
    if is_settled and row.paid_at is None:
        row.paid_at = now
        if _can_follow(row, CaseEvent.PAY):
            _write_decision(session, actor, row, CaseEvent.PAY, now)
    record(session, actor, EventTag.REPAYMENT_RECORDED, f"case:{row.id}", now, amount_fen=amount, is_settled=is_settled)
    return row.paid_at is not None


def _ruled(session: Session, actor: Actor, case_id: CaseId | UUID) -> CaseRow:
    authorise(actor, Permission.DISPUTE_RULE)
    if actor.bank is None:
        raise Forbidden(permission=Permission.DISPUTE_RULE.value)
    return locked_case(session, actor, case_id)


def _can_follow(row: CaseRow, event: CaseEvent) -> bool:
    return (row.status, event) in TRANSITIONS


def _sealed_reason(session: Session, keyring: Keyring | None, row: CaseRow, reason: str | None) -> SealedValue | None:
    if keyring is None or reason is None:
        return None
    return sealer(session, keyring, row.id).seal("case_decisions.reason", reason)


def _move(
    session: Session, actor: Actor, row: CaseRow, event: CaseEvent, now: datetime, *, reason: SealedValue | None, tag: EventTag
) -> Decision:
    decision = _write_decision(session, actor, row, event, now, reason=reason)
    record(
        session, actor, tag, f"case:{row.id}", now, event=event.value, from_status=decision.from_status.value, to_status=decision.to_status.value
    )
    return decision


def _write_decision(
    session: Session, actor: Actor, row: CaseRow, event: CaseEvent, now: datetime, *, reason: SealedValue | None = None
) -> Decision:
    before = row.status
    row.status = advance(before, event, before=row.resumes_to)
    if before in SUSPENDED_STATUSES and row.status not in SUSPENDED_STATUSES:
        row.resumes_to = None
        if row.status is not CaseStatus.RULED_FRAUD:  # What the bank ruled not to be owed stays suspended for good.
            row.suspended_at = row.suspension_reason = None
    session.add(CaseDecisionRow(
        id=new_id(), case_id=row.id, at=now, by=actor.id, event=event.value, from_status=before, to_status=row.status, reason=reason
    ))
    return Decision(case_id=CaseId(row.id), event=event.value, from_status=before, to_status=row.status, at=now, by=StaffId(actor.id))
