"""Suspected fraud: heard in a contact or shown by the handwriting, verified by a supervisor, reported to the bank in time (DECL-02)."""

from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import ColumnElement, select
from sqlalchemy.orm import Session

from backend.audit import log
from backend.audit.events import EventTag
from backend.audit.record import record
from backend.auth.actors import Actor
from backend.auth.authorise import authorise
from backend.auth.permissions import Permission
from backend.cases.queries import case_of
from backend.core.ids import BankId, CaseId, StaffId, new_id
from backend.core.problems import Forbidden, NotFound
from backend.disputes.queries import visible_to
from backend.disputes.suspicion_model import SuspicionEvent, SuspicionGround, SuspicionStatus, SuspicionView, advance
from backend.disputes.suspicion_tables import SuspicionRow
from backend.policies.queries import policy_in_force
from evidence.canonical import canonicalise

_OPEN = (SuspicionStatus.HEARD, SuspicionStatus.REPORTED)


def hear(session: Session, actor: Actor, case_id: CaseId | UUID, ground: SuspicionGround, now: datetime) -> SuspicionView:
    """Note a suspicion for a supervisor to verify; one that is open on the same ground is returned.

    Raises:
        Forbidden: the actor may not record denials and suspicions.
        NotFound: the case is not the actor's to see.
    """
    authorise(actor, Permission.DISPUTE_RECORD)
    return _view(_noted(session, actor, case_id, ground, now, declaration_id=None), now)


def decide(session: Session, actor: Actor, suspicion_id: UUID, now: datetime, *, is_verified: bool) -> SuspicionView:
    """Verify a suspicion, which reports it to the bank at once, or dismiss it.

    Raises:
        Forbidden: the actor does not investigate.
        NotFound: not the actor's.
        IllegalTransition: it is decided.
    """
    authorise(actor, Permission.DISPUTE_INVESTIGATE)
    row = _locked(session, actor, suspicion_id)
    if is_verified:
        _report(session, actor, row, now)
    else:
        row.status = advance(row.status, SuspicionEvent.DISMISS)
        row.decided_by, row.decided_at = actor.id, now
        session.flush()
    record(session, actor, EventTag.SUSPICION_DECIDED, f"case:{row.case_id}", now, suspicion=row.id, verified=is_verified)
    return _view(row, now)


def report_forgery(session: Session, actor: Actor, case_id: UUID, declaration_id: UUID, now: datetime) -> None:
    """Report to the bank what the comparison of the hands has verified: somebody else signed. Called by the slice's own actions."""
    row = _noted(session, actor, case_id, SuspicionGround.FORGERY, now, declaration_id=declaration_id)
    if row.status is SuspicionStatus.HEARD:
        _report(session, actor, row, now)
        record(session, actor, EventTag.SUSPICION_DECIDED, f"case:{row.case_id}", now, suspicion=row.id, verified=True)


def acknowledge(session: Session, actor: Actor, suspicion_id: UUID, now: datetime) -> SuspicionView:
    """Acknowledge a report as a person of the case's bank: the proof of delivery, logged. The same again changes nothing.

    Raises:
        Forbidden: not a person of a bank.
        NotFound: another bank's, or not reported to the bank.
    """
    authorise(actor, Permission.DISPUTE_RULE)
    if actor.bank is None:
        raise Forbidden(reason="only the bank acknowledges")
    row = _locked(session, actor, suspicion_id)
    if row.status is SuspicionStatus.ACKNOWLEDGED:
        return _view(row, now)
    status = advance(row.status, SuspicionEvent.ACKNOWLEDGE)
    stated = {"suspicion": str(row.id), "case": str(row.case_id), "acknowledged_by": str(actor.id), "at": log.utc_text(now)}
    entry_id = log.append(session, "suspicion-acknowledged", canonicalise(dict(stated)), now)
    row.status, row.acknowledged_by, row.acknowledged_at, row.proof_entry_id = status, actor.id, now, entry_id
    session.flush()
    record(session, actor, EventTag.SUSPICION_ACKNOWLEDGED, f"case:{row.case_id}", now, suspicion=row.id)
    return _view(row, now)


def page(session: Session, actor: Actor, now: datetime, *, after: UUID | None, limit: int) -> tuple[SuspicionView, ...]:
    """Return at most `limit` suspicions of the actor's after a cursor, oldest first."""
    authorise(actor, Permission.DISPUTE_READ)
    query = select(SuspicionRow).where(_mine(actor)).order_by(SuspicionRow.id).limit(limit)
    return tuple(_view(row, now) for row in session.scalars(query if after is None else query.where(SuspicionRow.id > after)))


def _noted(
    session: Session, actor: Actor, case_id: UUID, ground: SuspicionGround, now: datetime, *, declaration_id: UUID | None,
) -> SuspicionRow:
    case = case_of(session, actor, case_id)
    row = session.scalars(
        select(SuspicionRow).where(SuspicionRow.case_id == case.id, SuspicionRow.ground == ground, SuspicionRow.status.in_(_OPEN))
        .order_by(SuspicionRow.id).limit(1).with_for_update()).first()
    if row is not None:
        return row
    row = SuspicionRow(
        id=new_id(), case_id=case.id, bank_id=case.bank_id, branch_id=case.branch_id, ground=ground, declaration_id=declaration_id,
        heard_by=actor.id, heard_at=now, status=SuspicionStatus.HEARD, decided_by=None, decided_at=None, due_at=None, log_entry_id=None,
        acknowledged_by=None, acknowledged_at=None, proof_entry_id=None,
        policy_version=policy_in_force(session, BankId(case.bank_id), now).version)
    session.add(row)
    session.flush()
    record(session, actor, EventTag.SUSPICION_HEARD, f"case:{case.id}", now, suspicion=row.id, ground=ground.value)
    return row


def _report(session: Session, actor: Actor, row: SuspicionRow, now: datetime) -> None:
    status, policy = advance(row.status, SuspicionEvent.VERIFY), policy_in_force(session, BankId(row.bank_id), now)
    stated = {"suspicion": str(row.id), "case": str(row.case_id), "ground": row.ground.value, "verified_by": str(actor.id), "at": log.utc_text(now)}
    entry_id = log.append(session, "suspicion-reported", canonicalise(dict(stated)), now)
    row.log_entry_id, row.status, row.decided_by, row.decided_at = entry_id, status, actor.id, now
    row.due_at = now + timedelta(seconds=policy.suspicion_report_s)
    session.flush()


def _locked(session: Session, actor: Actor, suspicion_id: UUID) -> SuspicionRow:
    query = select(SuspicionRow).where(SuspicionRow.id == suspicion_id, _mine(actor)).with_for_update()
    row = session.scalars(query.execution_options(populate_existing=True)).one_or_none()
    if row is None:
        raise NotFound
    return row


def _mine(actor: Actor) -> ColumnElement[bool]:
    """Return the condition for what the actor may see: a bank's people what was reported to their bank, the agency its branches'."""
    if actor.bank is not None:
        return visible_to(actor, SuspicionRow) & SuspicionRow.status.in_((SuspicionStatus.REPORTED, SuspicionStatus.ACKNOWLEDGED))
    return visible_to(actor, SuspicionRow)


def _view(row: SuspicionRow, now: datetime) -> SuspicionView:
    return SuspicionView(
        id=row.id, case_id=CaseId(row.case_id), bank_id=BankId(row.bank_id), ground=row.ground, status=row.status,
        declaration_id=row.declaration_id, heard_at=row.heard_at, decided_by=StaffId(row.decided_by) if row.decided_by else None,
        decided_at=row.decided_at, due_at=row.due_at, acknowledged_by=StaffId(row.acknowledged_by) if row.acknowledged_by else None,
        acknowledged_at=row.acknowledged_at, is_late=row.due_at is not None and (row.acknowledged_at or now) > row.due_at)
