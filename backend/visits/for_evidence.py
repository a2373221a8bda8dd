"""What evidence is judged against: the visit that a signed statement names, as it stands here."""

from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from backend.cases.tables import CaseAddressRow, CaseRow
from backend.core.ids import BankId, BranchId, CaseId, StaffId, VisitId
from backend.exhibits.model import VisitFacts
from backend.visits.model import VisitStatus
from backend.visits.tables import VisitRow

CLOSED = frozenset({VisitStatus.CANCELLED, VisitStatus.REVIEWED, VisitStatus.ARCHIVED})


def facts_for_evidence(session: Session, claimed_visit: str) -> VisitFacts | None:
    """Return the facts of the visit that a statement claims by its opaque id, None when there is no such visit."""
    try:
        visit_id = UUID(claimed_visit)
    except ValueError:
        return None
    found = session.execute(
        select(VisitRow, CaseRow, CaseAddressRow.point)
        .join(CaseRow, CaseRow.id == VisitRow.case_id).join(CaseAddressRow, CaseAddressRow.id == VisitRow.address_id)
        .where(VisitRow.id == visit_id)
    ).one_or_none()
    if found is None:
        return None
    visit, case, point = found
    stops = (case.suspended_at, case.vulnerable_at, case.complaint_at, case.hold_at, case.recalled_at, case.deceased_at)
    held = [at for at in stops if at is not None]
    return VisitFacts(
        visit_id=VisitId(visit.id), version=visit.version, case_id=CaseId(visit.case_id), bank_id=BankId(visit.bank_id),
        branch_id=BranchId(visit.branch_id), pair=frozenset({StaffId(visit.collector_a), StaffId(visit.collector_b)}),
        is_open=visit.status not in CLOSED, held_at=min(held, default=None), address=point, started_at=visit.started_at, ended_at=visit.ended_at,
    )
