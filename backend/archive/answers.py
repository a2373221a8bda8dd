"""Stored answers of phones' writes: kept until their case has long been over, then trimmed to id, digest, sender and time."""

from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from backend.cases.model import CaseStatus
from backend.cases.tables import CaseDecisionRow, CaseRow
from backend.submissions import inbox
from backend.submissions.tables import SubmissionRow

KEPT: Final = timedelta(days=90)
CASES_PER_RUN_MAX: Final = 200
_OVER: Final = (CaseStatus.CLOSED, CaseStatus.ARCHIVED, CaseStatus.RECALLED)
"""Nothing leads back from these. What is paid, ruled to be fraud or a dead cardholder's waits for its end."""


def due(session: Session, now: datetime, *, limit: int) -> tuple[UUID, ...]:
    """Return cases that ended, or were written to last, at least 90 days ago and still have whole answers, oldest id first."""
    ended_at = select(func.min(CaseDecisionRow.at)).where(
        CaseDecisionRow.case_id == CaseRow.id, CaseDecisionRow.to_status.in_((CaseStatus.CLOSED, CaseStatus.RECALLED))).scalar_subquery()
    of_case = select(SubmissionRow.id).where(SubmissionRow.case_id == CaseRow.id, SubmissionRow.trimmed_at.is_(None))
    recent = of_case.where(SubmissionRow.received_at > now - KEPT)
    query = select(CaseRow.id).where(CaseRow.status.in_(_OVER), ended_at <= now - KEPT, of_case.exists(), ~recent.exists())
    return tuple(session.scalars(query.order_by(CaseRow.id).limit(limit)))


def trim_due(session: Session, now: datetime) -> int:
    """Trim the answers of cases whose time is over; returns how many. A case that is not over is left alone, whatever asks."""
    return inbox.trim(session, due(session, now, limit=CASES_PER_RUN_MAX), now)
