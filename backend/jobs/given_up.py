"""Remember which jobs were given up, over restarts and for every process."""

from datetime import datetime
from uuid import UUID

import msgspec
from sqlalchemy import delete, select
from sqlalchemy.orm import Session, sessionmaker

from backend.core.clock import Clock
from backend.jobs.tables import GivenUpJobRow

SHOWN_MAX = 200


class GivenUpJob(msgspec.Struct, frozen=True, kw_only=True):
    """One job that is not tried any more: how often it was, the kind of its last error, and since when."""

    task: str
    subject_id: UUID
    attempts: int
    failure: str
    given_up_at: datetime


class GivenUp:
    """The list of given-up jobs of one deployment."""

    def __init__(self, sessions: sessionmaker[Session], clock: Clock) -> None:
        self._sessions, self._clock = sessions, clock

    def add(self, task: str, subject_id: UUID, attempts: int, failure: str) -> None:
        """Give up a job; one that is given up already stays as it is."""
        with self._sessions.begin() as session:
            if session.get(GivenUpJobRow, (task, subject_id)) is None:
                session.add(GivenUpJobRow(
                    task=task, subject_id=subject_id, attempts=attempts, failure=failure[:64], given_up_at=self._clock(),
                ))

    def among(self, jobs: set[tuple[str, UUID]]) -> set[tuple[str, UUID]]:
        """Return those of `jobs` that are given up."""
        if not jobs:
            return set()
        with self._sessions() as session:
            query = select(GivenUpJobRow.task, GivenUpJobRow.subject_id).where(GivenUpJobRow.subject_id.in_(sorted({one for _, one in jobs})))
            return {(row.task, row.subject_id) for row in session.execute(query)} & jobs


def given_up(session: Session) -> tuple[GivenUpJob, ...]:
    """Return the latest given-up jobs, newest first, at most `SHOWN_MAX`."""
    rows = session.scalars(select(GivenUpJobRow).order_by(GivenUpJobRow.given_up_at.desc(), GivenUpJobRow.subject_id).limit(SHOWN_MAX))
    return tuple(
        GivenUpJob(task=row.task, subject_id=row.subject_id, attempts=row.attempts, failure=row.failure, given_up_at=row.given_up_at) for row in rows
    )


def let_try_again(session: Session, task: str, subject_id: UUID) -> bool:
    """Take a job off the list, so that the next sweep finds it if its state still asks for it; False when it was not there."""
    found = session.execute(
        delete(GivenUpJobRow).where(GivenUpJobRow.task == task, GivenUpJobRow.subject_id == subject_id).returning(GivenUpJobRow.task)
    )
    return found.first() is not None
