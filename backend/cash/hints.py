"""Hints that a debtor transferred money to one of ours: heard in a call, a complaint or a recording, or seen in a credit nobody explains.

A hint blocks both of the pair from cash at once, before anybody knows whether it is true; agency and bank each say what they found.
"""

from datetime import datetime
from uuid import UUID

import msgspec
from sqlalchemy import ColumnElement, or_, select
from sqlalchemy.orm import Session

from backend.audit.events import EventTag
from backend.audit.record import record
from backend.auth.actors import Actor
from backend.auth.authorise import authorise
from backend.auth.permissions import Permission
from backend.cases.queries import case_of
from backend.cash.field_tables import CashHintRow
from backend.cash.hint_model import HintFinding, HintSource
from backend.cash.queries import visible_to
from backend.core.ids import BankId, CaseId, StaffId, VisitId, new_id
from backend.core.problems import Conflict, Forbidden, NotFound
from backend.visits.tables import VisitRow


class Hint(msgspec.Struct, frozen=True, kw_only=True):
    """What was heard of a case. Without a visit the last one that began is meant; `subject_id` is the contact, item or variance behind it."""

    case_id: CaseId
    source: HintSource
    visit_id: VisitId | None = None
    subject_id: UUID | None = None


class HintView(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A hint and what agency and bank found."""

    id: UUID
    case_id: CaseId
    visit_id: VisitId
    bank_id: BankId
    collector_id: StaffId
    cosigner_id: StaffId
    source: HintSource
    told_at: datetime
    agency_finding: HintFinding | None
    bank_finding: HintFinding | None


def is_open() -> ColumnElement[bool]:
    """Return the condition on `CashHintRow` that somebody has yet to look into it."""
    return or_(CashHintRow.agency_resolved_at.is_(None), CashHintRow.bank_resolved_at.is_(None))


def tell(session: Session, actor: Actor, command: Hint, now: datetime) -> UUID:
    """Note a hint: from now on the pair of that visit takes no cash. The same hint again is the same one.

    Raises:
        Forbidden: the actor neither speaks to debtors nor reviews evidence nor looks into money.
        NotFound: not a case of the actor's, or not a visit of it.
        Conflict: nobody of ours was at that door.
    """
    authorise(actor, Permission.CASH_HINT)
    case = case_of(session, actor, command.case_id)
    begun = select(VisitRow).where(VisitRow.case_id == case.id, VisitRow.started_at.is_not(None))
    if command.visit_id is not None:
        if session.scalar(select(VisitRow.id).where(VisitRow.id == command.visit_id, VisitRow.case_id == case.id)) is None:
            raise NotFound
        begun = begun.where(VisitRow.id == command.visit_id)
    visit = session.scalar(begun.order_by(VisitRow.started_at.desc(), VisitRow.id.desc()).limit(1).with_for_update())
    if visit is None:
        raise Conflict(reason="nobody of ours was at that door")
    same = select(CashHintRow.id).where(
        CashHintRow.visit_id == visit.id, CashHintRow.source == command.source, is_open(),
        CashHintRow.subject_id.is_(None) if command.subject_id is None else CashHintRow.subject_id == command.subject_id)
    known = session.scalar(same.limit(1))
    if known is not None:
        return known
    row = CashHintRow(
        id=new_id(), case_id=case.id, visit_id=visit.id, bank_id=case.bank_id, branch_id=visit.branch_id, collector_id=visit.collector_a,
        cosigner_id=visit.collector_b, source=command.source, subject_id=command.subject_id, told_by=actor.id, told_at=now,
    )
    session.add(row)
    session.flush()
    record(session, actor, EventTag.CASH_HINT_TOLD, f"case:{case.id}", now, hint=row.id, source=row.source.value, visit=row.visit_id)
    return row.id


def resolve(session: Session, actor: Actor, hint_id: UUID, finding: HintFinding, now: datetime) -> bool:
    """Say for the agency or the bank, whichever the actor speaks for, what was found; returns whether both have. A finding stands.

    Raises:
        Forbidden: may not, is one of the pair, or told of it.
        NotFound: not the actor's to see.
    """
    authorise(actor, Permission.CASH_RESOLVE)
    query = select(CashHintRow).where(CashHintRow.id == hint_id, visible_to(actor, CashHintRow.bank_id, CashHintRow.branch_id))
    row = session.scalar(query.with_for_update().execution_options(populate_existing=True))
    if row is None:
        raise NotFound
    if actor.id in (row.collector_id, row.cosigner_id, row.told_by):
        raise Forbidden(reason="somebody else looks into a hint")
    if actor.bank is not None and row.bank_resolved_at is None:
        row.bank_resolved_at, row.bank_resolved_by, row.bank_finding = now, actor.id, finding
    elif actor.bank is None and row.agency_resolved_at is None:
        row.agency_resolved_at, row.agency_resolved_by, row.agency_finding = now, actor.id, finding
    else:
        return not _is_waiting(row)                  # Said already for this side: it stands, and the audit tells of no other.
    session.flush()
    record(session, actor, EventTag.CASH_HINT_RESOLVED, f"case:{row.case_id}", now, hint=row.id, finding=finding.value)
    return not _is_waiting(row)


def _is_waiting(row: CashHintRow) -> bool:
    return row.agency_resolved_at is None or row.bank_resolved_at is None


def list_hints(session: Session, actor: Actor, *, limit: int, after: UUID | None) -> list[HintView]:
    """Return at most `limit` + 1 hints after a cursor, oldest first."""
    authorise(actor, Permission.CASH_READ)
    query = select(CashHintRow).where(visible_to(actor, CashHintRow.bank_id, CashHintRow.branch_id))
    if after is not None:
        query = query.where(CashHintRow.id > after)
    return [
        HintView(
            id=row.id, case_id=CaseId(row.case_id), visit_id=VisitId(row.visit_id), bank_id=BankId(row.bank_id),
            collector_id=StaffId(row.collector_id), cosigner_id=StaffId(row.cosigner_id), source=row.source, told_at=row.told_at,
            agency_finding=row.agency_finding, bank_finding=row.bank_finding,
        ) for row in session.scalars(query.order_by(CashHintRow.id).limit(limit + 1))
    ]
