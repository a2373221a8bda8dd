"""Replay and remember: the same id with the same body gets the stored answer, with another body a refusal (design decision 18)."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from backend.auth.actors import Actor
from backend.core.problems import IdempotencyConflict, NotFound
from backend.db.engine import is_unique_violation
from backend.submissions.tables import SubmissionRow


class DoubledSubmission(Exception):
    """Another transaction stored the same id first: roll back and replay."""


def replay(session: Session, submission_id: UUID, kind: str, digest: str, actor: Actor) -> dict[str, Any] | None:
    """Return the stored answer of `submission_id`, None when it is new.

    Raises:
        IdempotencyConflict: the id was used for another kind or body.
        NotFound: it belongs to somebody else.
    """
    row = session.execute(select(SubmissionRow).where(SubmissionRow.id == submission_id)).scalar_one_or_none()
    if row is None:
        return None
    if row.actor_id != actor.id:
        raise NotFound
    if (row.kind, row.digest) != (kind, digest):
        raise IdempotencyConflict(id=str(submission_id), stored_kind=row.kind, got_kind=kind)
    answer: dict[str, Any] = row.answer
    return answer


def remember(session: Session, submission_id: UUID, kind: str, digest: str, actor: Actor, answer: dict[str, Any], now: datetime) -> None:
    """Store the acknowledged answer in the transaction of the act.

    Raises:
        DoubledSubmission: the same id was stored by a concurrent transaction.
    """
    session.add(SubmissionRow(id=submission_id, kind=kind, digest=digest, actor_id=actor.id, device=actor.device, answer=answer, received_at=now))
    try:
        session.flush()
    except IntegrityError as error:
        if is_unique_violation(error, "pk_submissions"):
            raise DoubledSubmission from error
        raise
