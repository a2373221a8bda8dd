"""The slice's work outside requests: drawing which reported visits are looked at."""

from functools import partial
from uuid import UUID

from backend.audit import log
from backend.jobs.means import Means
from backend.jobs.queue import Task
from backend.visits import sampling

DRAW = "visits.draw"


def tasks(means: Means) -> list[Task]:
    """Return the slice's tasks, bound to what they work with."""
    return [Task(name=DRAW, run=partial(_draw, means), unfinished=partial(_due, means), abandon=lambda _id: None)]


def _draw(means: Means, visit_id: UUID) -> None:
    now = means.clock()
    with means.sessions.begin() as session:
        sampling.draw(session, visit_id, now)
    log.sequence(means.sessions, means.keyring, means.origin, now)


def _due(means: Means) -> tuple[UUID, ...]:
    with means.sessions() as session:
        return sampling.due(session)
