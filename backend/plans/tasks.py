"""The work that planning leaves to the queue: solve an ordered plan."""

from datetime import datetime
from functools import partial
from uuid import UUID

import msgspec
from sqlalchemy.orm import Session, sessionmaker

from backend.core.clock import Clock
from backend.jobs.apart import WorkerFailed, WorkerKilled, run_apart
from backend.jobs.queue import Task
from backend.plans import actions, queries
from backend.plans.solving import GRACE_S, SolveOrder, solve_order

SOLVE = "plans.solve"


def tasks(sessions: sessionmaker[Session], clock: Clock) -> list[Task]:
    """Return the slice's tasks, bound to a database and a clock."""
    return [
        Task(
            name=SOLVE, run=partial(_solve, sessions, clock), unfinished=partial(_unfinished, sessions),
            abandon=partial(_abandon, sessions, clock),
        )
    ]


def _solve(sessions: sessionmaker[Session], clock: Clock, plan_id: UUID) -> None:
    """Solve one plan. Idempotent: a plan that is not waiting is left alone, and the first answer stored is the answer."""
    with sessions.begin() as session:
        order = actions.claim(session, plan_id)
    if order is None:
        return
    failure = ""
    try:
        solved = run_apart(solve_order, _encoded(order), timeout_s=order.search_s + GRACE_S)
    except WorkerKilled as error:
        solved, failure = b"", f"solver killed: {error}"
    except WorkerFailed as error:
        solved, failure = b"", f"solver failed: {error}"
    now: datetime = clock()
    with sessions.begin() as session:
        if failure:
            actions.fail(session, plan_id, failure, now)
        else:
            actions.store(session, plan_id, solved, now)


def _encoded(order: SolveOrder) -> bytes:
    return msgspec.json.encode(order)


def _unfinished(sessions: sessionmaker[Session]) -> tuple[UUID, ...]:
    with sessions() as session:
        return queries.unfinished(session)


def _abandon(sessions: sessionmaker[Session], clock: Clock, plan_id: UUID) -> None:
    with sessions.begin() as session:
        actions.fail(session, plan_id, "abandoned after repeated failures", clock())
