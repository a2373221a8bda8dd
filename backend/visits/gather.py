"""Gather the facts that a visit is judged by. Late facts are judged as things stood when they happened."""

from collections.abc import Iterable
from datetime import date, datetime
from uuid import UUID

import msgspec
from sqlalchemy import func, select
from sqlalchemy.orm import Session, aliased

from backend.cases.model import Stop
from backend.cases.queries import stops_of
from backend.cases.tables import CaseRow
from backend.contacts.model import Channel
from backend.contacts.queries import contact_facts, is_hour_agreed
from backend.core.ids import BankId, StaffId, VisitId
from backend.exhibits.model import RECORDING_ROLES
from backend.exhibits.queries import without_recording
from backend.exhibits.tables import ItemRow, ManifestRow
from backend.policies.model import Policy
from backend.requests.model import RequestStatus
from backend.requests.tables import VisitRequestRow
from backend.staff import queries as staff
from backend.visits.model import CheckIn, VisitStatus
from backend.visits.rules import CheckInFacts, ClosingFacts, StartFacts, VisitorFacts
from backend.visits.tables import CheckInRow, EntryRow, ExceptionRow, RightPartyRow, VisitRow

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
        is_planned_stop=visit.status is not VisitStatus.CANCELLED, planned_on=visit.on,
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


def closing_facts(session: Session, visit: VisitRow, *, signers: Iterable[StaffId], is_entered: bool, evidence: str | None) -> ClosingFacts:
    """Gather what `judge_closing` reads. `evidence` is the item that the statement names for an entry; without one, the told entry's."""
    told = session.scalars(select(EntryRow).where(EntryRow.visit_id == visit.id)).all()
    named = {one for one in (evidence, *(entry.evidence_item_id for entry in told)) if one is not None}
    declared = select(func.count()).select_from(ItemRow).join(ManifestRow, ManifestRow.id == ItemRow.manifest_id)
    of_visit = declared.where(ManifestRow.visit_id == visit.id)
    return ClosingFacts(
        pair=frozenset({StaffId(visit.collector_a), StaffId(visit.collector_b)}), signers=frozenset(signers),
        recordings=session.scalar(of_visit.where(ItemRow.role.in_(sorted(RECORDING_ROLES)))) or 0, is_entered=is_entered,
        has_entry=bool(told) or evidence is not None,
        is_entry_evidenced=bool(named) and (session.scalar(of_visit.where(ItemRow.item_id.in_(sorted(named)))) or 0) > 0,
        has_outcome=visit.outcome is not None, is_recording_shared=_is_recording_shared(session, visit),
    )


def open_exceptions(session: Session, visit: VisitRow) -> frozenset[str]:
    """Return what still stands against a closed visit: what arrived since its closing no longer does, what never arrived does (EVD-01)."""
    listed = set(session.scalars(select(ExceptionRow.code).where(ExceptionRow.visit_id == visit.id, ExceptionRow.accepted_at.is_(None))))
    taken_on = set(session.scalars(select(ExceptionRow.code).where(ExceptionRow.visit_id == visit.id, ExceptionRow.accepted_at.is_not(None))))
    if without_recording(session, [VisitId(visit.id)]):
        missing = {"no-recording", "recording-not-stored"}
        listed |= set() if missing & (listed | taken_on) else {"recording-not-stored"}
    else:
        listed -= {"no-recording"}
    if visit.outcome is not None:
        listed -= {"outcome-missing"}
    return frozenset(listed)


def _last_check_ins(session: Session, visit_id: UUID, at: datetime) -> dict[StaffId, CheckInRow]:
    rows = session.scalars(select(CheckInRow).where(CheckInRow.visit_id == visit_id, CheckInRow.at <= at).order_by(CheckInRow.at, CheckInRow.id))
    return {StaffId(row.staff_id): row for row in rows}


def _visitor(row: CheckInRow, pair: tuple[StaffId, StaffId]) -> VisitorFacts:
    return VisitorFacts(
        staff_id=StaffId(row.staff_id), is_planned=row.staff_id in pair, is_credential_worn=row.is_credential_worn,
        identity_presented=row.identity_presented,
    )


def _is_recording_shared(session: Session, visit: VisitRow) -> bool:
    own, other, other_manifest = aliased(ItemRow), aliased(ItemRow), aliased(ManifestRow)
    found = session.scalar(
        select(other.id).join(other_manifest, other_manifest.id == other.manifest_id).join(own, own.sha256 == other.sha256)
        .join(ManifestRow, ManifestRow.id == own.manifest_id)
        .where(ManifestRow.visit_id == visit.id, own.role.in_(sorted(RECORDING_ROLES)), other_manifest.bank_id != visit.bank_id).limit(1)
    )
    return found is not None
