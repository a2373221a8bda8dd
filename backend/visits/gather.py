"""Gather the facts that a visit is judged by. Late facts are judged as things stood when they happened."""

from datetime import date, datetime
from uuid import UUID

import msgspec
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from backend.cases.model import Stop
from backend.cases.queries import stops_of
from backend.cases.tables import CaseRow
from backend.contacts.model import Channel
from backend.contacts.queries import contact_facts, is_hour_agreed
from backend.core.ids import BankId, StaffId
from backend.policies.model import Policy
from backend.requests.model import RequestStatus
from backend.requests.tables import VisitRequestRow
from backend.staff import queries as staff
from backend.visits.model import CheckIn, VisitStatus
from backend.visits.rules import CheckInFacts, StartFacts, VisitorFacts
from backend.visits.tables import CheckInRow, EntryRow, RightPartyRow, VisitRow

_APPROVED = frozenset({RequestStatus.APPROVED, RequestStatus.FULFILLED})


def stops_as_of(case: CaseRow, at: datetime, on: date) -> frozenset[Stop]:
    """Return what stopped a case at an instant: what came later does not spoil an earlier act."""
    since = {
        Stop.SUSPENDED: case.suspended_at, Stop.DECEASED: case.deceased_at, Stop.PAID: case.paid_at, Stop.RECALLED: case.recalled_at,
        Stop.PAYMENT_CLAIMED: case.payment_claimed_at,
        Stop.VULNERABLE: case.vulnerable_at, Stop.COMPLAINT: case.complaint_at, Stop.HOLD: case.hold_at,
    }
    return frozenset(stop for stop in stops_of(case, on) if (began := since.get(stop)) is None or began <= at)


def start_facts(session: Session, visit: VisitRow, case: CaseRow, at: datetime, policy: Policy) -> StartFacts:
    """Gather what `judge_start` reads, as of `at`."""
    pair = (StaffId(visit.collector_a), StaffId(visit.collector_b))
    checked_in = _last_check_ins(session, visit.id, at)
    planned = staff.facts_as_of(session, pair, BankId(visit.bank_id), visit.on, at=at)
    contact = contact_facts(session, case, Channel.VISIT, at, policy)
    request = session.get_one(VisitRequestRow, visit.request_id)
    return StartFacts(
        pair=msgspec.structs.replace(planned, members=tuple(member for member in planned.members if member.staff_id in checked_in)),
        visitors=tuple(_visitor(row, pair) for row in checked_in.values()),
        contact=msgspec.structs.replace(contact, stops=stops_as_of(case, at, contact.local_at.date())),
        is_planned_stop=visit.status is not VisitStatus.CANCELLED, is_replaced=_is_replaced(session, visit), planned_on=visit.on,
        is_request_approved=request.status in _APPROVED and (request.effective_from is None or request.effective_from <= at),
    )


def check_in_facts(session: Session, visit: VisitRow, staff_id: StaffId, command: CheckIn, local_at: datetime) -> CheckInFacts:
    """Gather what `judge_check_in` reads about one visitor."""
    member = staff.member_facts(session, [staff_id], visit.on, at=command.at)[staff_id]
    return CheckInFacts(
        visitor=VisitorFacts(
            staff_id=staff_id, is_planned=staff_id in (visit.collector_a, visit.collector_b), is_credential_worn=command.is_credential_worn,
            identity_presented=command.identity_presented,
        ),
        credentials=member.credentials, bank_id=BankId(visit.bank_id), planned_on=visit.on, local_time=local_at.time(),
        is_hour_agreed=is_hour_agreed(session, visit.case_id, command.at),
    )


def right_party_at(session: Session, visit_id: UUID, policy: Policy) -> datetime | None:
    """Return when the right party was first confirmed within the permitted tries (F08), None when never."""
    return session.scalar(
        select(func.min(RightPartyRow.at))
        .where(RightPartyRow.visit_id == visit_id, RightPartyRow.is_match, RightPartyRow.attempt <= policy.right_party_attempts_max)
    )


def has_entry(session: Session, visit_id: UUID) -> bool:
    """Whether an entry was told for a visit."""
    return session.scalar(select(EntryRow.id).where(EntryRow.visit_id == visit_id).limit(1)) is not None


def _is_replaced(session: Session, visit: VisitRow) -> bool:
    if visit.status is not VisitStatus.CANCELLED:
        return False
    others = select(VisitRow.id).where(
        VisitRow.request_id == visit.request_id, VisitRow.id != visit.id, VisitRow.dispatched_at >= visit.dispatched_at,
        VisitRow.status != VisitStatus.CANCELLED)
    return session.scalar(others.limit(1)) is not None


def _last_check_ins(session: Session, visit_id: UUID, at: datetime) -> dict[StaffId, CheckInRow]:
    rows = session.scalars(select(CheckInRow).where(CheckInRow.visit_id == visit_id, CheckInRow.at <= at).order_by(CheckInRow.at, CheckInRow.id))
    return {StaffId(row.staff_id): row for row in rows}


def _visitor(row: CheckInRow, pair: tuple[StaffId, StaffId]) -> VisitorFacts:
    return VisitorFacts(
        staff_id=StaffId(row.staff_id), is_planned=row.staff_id in pair, is_credential_worn=row.is_credential_worn,
        identity_presented=row.identity_presented,
    )
