"""Reviewing single files of a visit: what is returned opens the visit again, so that the pair completes it."""

from datetime import datetime

from sqlalchemy.orm import Session

from backend.audit.events import EventTag
from backend.audit.record import record
from backend.auth.actors import Actor
from backend.exhibits.item_reviews import Reviewed, ReviewItem, review_item
from backend.keys.keyring import Keyring
from backend.visits.actions import locked_visit
from backend.visits.model import TRANSITIONS, VisitEvent, VisitStatus, advance
from backend.visits.reports import close_kept


def review(session: Session, actor: Actor, keyring: Keyring, command: ReviewItem, now: datetime) -> tuple[Reviewed, VisitStatus | None]:
    """Store a reviewer's word on one file and return the visit's status then; None for evidence of no known visit.

    A visit that cannot be returned (begun anew, archived) keeps its status; the word stands all the same. Raises as `review_item`.
    """
    reviewed = review_item(session, actor, keyring, command, now)
    if reviewed.visit_id is None:
        return reviewed, None
    visit = locked_visit(session, actor, reviewed.visit_id)
    if actor.bank is None:
        close_kept(session, actor, visit, now)
    if reviewed.is_returned and (visit.status, VisitEvent.RETURN) in TRANSITIONS:
        visit.status = advance(visit.status, VisitEvent.RETURN)
        session.flush()
        record(session, actor, EventTag.VISIT_REVIEWED, f"visit:{visit.id}", now, item_review=reviewed.id, status=visit.status.value)
    return reviewed, visit.status
