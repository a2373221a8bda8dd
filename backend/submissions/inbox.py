"""Replay and remember: the same id with the same body gets the stored answer, with another body a refusal (design decision 18)."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import func, null, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from backend.auth.actors import Actor
from backend.core.problems import IdempotencyConflict, InProgress, NotFound
from backend.db.engine import is_unique_violation
from backend.submissions.tables import SubmissionRow


class DoubledSubmission(Exception):
    """Another transaction stored the same id first: roll back and replay."""


def take_in_hand(session: Session, submission_id: UUID) -> None:
    """Hold an id until the transaction ends, so that a phone that lost patience is told to wait instead of acting and waiting for locks in vain.

    On SQLite the writing transaction is the lock: whoever comes second waits for it and finds the answer.

    Raises:
        InProgress: another transaction, of any process, acts on it.
    """
    if session.get_bind().dialect.name != "postgresql":
        return
    key = int.from_bytes(submission_id.bytes[8:], "big", signed=True)       # Of a UUID of version 7 these bits are random.
    if not session.scalar(select(func.pg_try_advisory_xact_lock(key))):
        raise InProgress(id=str(submission_id))


def replay(session: Session, submission_id: UUID, kind: str, digest: str, actor: Actor) -> dict[str, Any] | None:
    """Return the stored answer of `submission_id`, None when it is new. Of a trimmed answer only the receipt is left: when it was received.

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
    if row.trimmed_at is not None:
        return {"receivedAt": row.received_at.isoformat(), "trimmedAt": row.trimmed_at.isoformat()}
    assert row.answer is not None, "an answer is whole until it is trimmed"
    answer: dict[str, Any] = row.answer
    return answer


def remember(
    session: Session, submission_id: UUID, kind: str, digest: str, actor: Actor, answer: dict[str, Any], now: datetime, *, case_id: UUID | None,
) -> None:
    """Store the acknowledged answer in the transaction of the act, with the case that it is about.

    Raises:
        DoubledSubmission: the same id was stored by a concurrent transaction.
    """
    session.add(SubmissionRow(
        id=submission_id, kind=kind, digest=digest, actor_id=actor.id, device=actor.device, answer=answer, received_at=now, case_id=case_id,
        trimmed_at=None))
    try:
        session.flush()
    except IntegrityError as error:
        if is_unique_violation(error, "pk_submissions"):
            raise DoubledSubmission from error
        raise


def trim(session: Session, case_ids: Iterable[UUID], now: datetime) -> int:
    """Take the words of every answer about these cases, whose time is over; returns how many. The database refuses it of a case that is not over."""
    trimmed = update(SubmissionRow).where(SubmissionRow.case_id.in_(list(case_ids)), SubmissionRow.trimmed_at.is_(None))
    return len(session.scalars(trimmed.values(answer=null(), trimmed_at=now).returning(SubmissionRow.id)).all())
