"""The work that planning leaves to the queue: solve an ordered plan."""

from datetime import datetime
from functools import partial
from uuid import UUID

from sqlalchemy.orm import Session, sessionmaker

from backend.core.clock import Clock
from backend.jobs.apart import WorkerFailed, WorkerKilled
from backend.jobs.queue import Task
from backend.plans import actions, queries, runs
from backend.plans.model import EndingAsked
from backend.plans.solvers import SHARED, Solvers
from backend.plans.travel import obtain_travel
from routing import InstanceError, PlanRefused, encode_plan
from routing.travel import TravelConfig

SOLVE = "plans.solve"
GREAT_CIRCLE = TravelConfig()


def tasks(sessions: sessionmaker[Session], clock: Clock, solvers: Solvers = SHARED, travel: TravelConfig = GREAT_CIRCLE) -> list[Task]:
    """Return the slice's tasks, bound to a database, a clock, the solvers of this process and a provider of travel times."""
    return [
        Task(
            name=SOLVE, run=partial(_solve, sessions, clock, solvers, travel), unfinished=partial(_unfinished, sessions),
            abandon=partial(_abandon, sessions, clock),
        )
    ]


def _solve(sessions: sessionmaker[Session], clock: Clock, solvers: Solvers, config: TravelConfig, plan_id: UUID) -> None:
    """Solve one plan. Idempotent: a plan that is not waiting is left alone, and the first answer stored is the answer.

    A solver that dies before it has any plan is tried again by the queue.
    """
    with sessions.begin() as session:
        order = actions.claim(session, plan_id)
        asked = None if order is None else runs.begin(session, plan_id, clock())
    if order is None:
        return
    failure, plan, travel = "", None, None
    if asked is not EndingAsked.CANCEL:
        try:
            travel = obtain_travel(order.instance, config)
            plan = runs.search(sessions, plan_id, order, travel.matrix, solvers).plan
        except (WorkerFailed, WorkerKilled) as error:
            failure = f"travel times failed: {error}"
        except (InstanceError, PlanRefused) as error:
            failure = f"solver failed: {type(error).__name__}: {error}"
    now: datetime = clock()
    with sessions.begin() as session:
        if failure:
            actions.fail(session, plan_id, failure, now)
        elif plan is None:
            runs.cancel(session, plan_id, now)
        else:
            actions.store(session, plan_id, encode_plan(plan), now, travel)


def _unfinished(sessions: sessionmaker[Session]) -> tuple[UUID, ...]:
    with sessions() as session:
        return queries.unfinished(session)


def _abandon(sessions: sessionmaker[Session], clock: Clock, plan_id: UUID) -> None:
    with sessions.begin() as session:
        actions.fail(session, plan_id, "abandoned after repeated failures", clock())
