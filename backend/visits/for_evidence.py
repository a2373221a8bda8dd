"""What the evidence slice, which lies below, is told of the visit that a statement names."""

from uuid import UUID

from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from backend.cases.tables import CaseAddressRow, CaseRow
from backend.core.ids import BankId, BranchId, CaseId, StaffId, VisitId
from backend.exhibits.model import VisitFacts
from backend.visits.model import VisitStatus
from backend.visits.tables import VisitRow

_OPEN = frozenset({
    VisitStatus.DISPATCHED, VisitStatus.STARTED, VisitStatus.ENTERED, VisitStatus.CONCLUDED, VisitStatus.REPORTED, VisitStatus.RETURNED,
})


RECENT_MAX = 100


def recent_visits(session: Session, staff_id: StaffId) -> tuple[VisitId, ...]:
    """Return a person's newest visits, whose recorders' files may still wait for their signature."""
    own = select(VisitRow.id).where(or_(VisitRow.collector_a == staff_id, VisitRow.collector_b == staff_id))
    return tuple(VisitId(one) for one in session.scalars(own.order_by(VisitRow.on.desc(), VisitRow.id.desc()).limit(RECENT_MAX)))


def facts_for_evidence(session: Session, visit: str | None) -> VisitFacts | None:
    """Return what is known of the visit that a statement names by text; None where there is no such visit."""
    try:
        visit_id = UUID(visit or "")
    except ValueError:
        return None
    found = session.execute(
        select(VisitRow, CaseRow, CaseAddressRow.point)
        .join(CaseRow, CaseRow.id == VisitRow.case_id).join(CaseAddressRow, CaseAddressRow.id == VisitRow.address_id)
        .where(VisitRow.id == visit_id)
    ).first()
    if found is None:
        return None
    row, case, point = found
    held = [at for at in (case.suspended_at, case.vulnerable_at, case.hold_at, case.recalled_at, case.complaint_at) if at is not None]
    return VisitFacts(
        visit_id=VisitId(row.id), version=row.version, case_id=CaseId(row.case_id), bank_id=BankId(row.bank_id), branch_id=BranchId(row.branch_id),
        pair=frozenset({StaffId(row.collector_a), StaffId(row.collector_b)}), is_open=row.status in _OPEN, held_at=min(held, default=None),
        address=point, started_at=row.started_at, ended_at=row.ended_at,
    )
