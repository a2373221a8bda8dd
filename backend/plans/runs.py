"""A plan's search under way: watched, told to end, and its best plan taken over."""

import os
import socket
import time
from collections.abc import Callable
from datetime import datetime
from uuid import UUID

import msgspec
from sqlalchemy import select
from sqlalchemy.orm import Session, sessionmaker

from backend.audit.events import EventTag
from backend.audit.record import record
from backend.auth.actors import Actor
from backend.auth.authorise import authorise
from backend.auth.permissions import Permission
from backend.core.ids import PlanId
from backend.core.problems import IllegalTransition, NotFound
from backend.plans.model import Ending, EndingAsked, PlanEvent, PlanStatus, advance
from backend.plans.queries import visible_to
from backend.plans.solvers import Solvers
from backend.plans.solving import SolveOrder
from backend.plans.tables import PlanRow, PlanRunRow
from routing import Ending as SolverEnding
from routing import Limits, Plan, Solved, Step, load_instance, load_plan
from routing.matrix import TravelMatrix

LOOK_EVERY_S = 0.5


def ask_ending(session: Session, actor: Actor, plan_id: PlanId, asked: EndingAsked, now: datetime) -> PlanStatus:
    """Ask a plan's search to end; returns where the plan stands now. A waiting one is cancelled at once, a running one soon. Twice changes nothing.

    Raises:
        Forbidden: the actor may not plan.
        NotFound: not a plan of the actor's branches.
        IllegalTransition: nothing is searched any more, or nothing was found yet that could be taken.
    """
    authorise(actor, Permission.PLAN_MAKE)
    query = select(PlanRow).where(PlanRow.id == plan_id, visible_to(actor)).with_for_update().execution_options(populate_existing=True)
    plan = session.scalar(query)
    if plan is None:
        raise NotFound
    if plan.status is PlanStatus.CANCELLED and asked is EndingAsked.CANCEL:
        return plan.status
    run = session.get(PlanRunRow, plan_id)
    if plan.status is PlanStatus.SOLVING and run is not None:
        run.asked = asked
    elif asked is EndingAsked.CANCEL:
        plan.status = advance(plan.status, PlanEvent.CANCEL)
    else:
        raise IllegalTransition(current=plan.status.value, event=asked.value)
    record(session, actor, EventTag.PLAN_ENDING_ASKED, f"plan:{plan_id}", now, asked=asked.value, status=plan.status.value)
    session.flush()
    return plan.status


def discard(session: Session, actor: Actor, plan_id: PlanId, now: datetime) -> PlanStatus:
    """Lay a ready version aside; it can be published no more. Twice changes nothing.

    Raises:
        Forbidden: the actor may not plan.
        NotFound: not a plan of the actor's branches.
        IllegalTransition: it is not ready: still searched, failed, or published already.
    """
    authorise(actor, Permission.PLAN_MAKE)
    query = select(PlanRow).where(PlanRow.id == plan_id, visible_to(actor)).with_for_update().execution_options(populate_existing=True)
    plan = session.scalar(query)
    if plan is None:
        raise NotFound
    if plan.status is PlanStatus.CANCELLED:
        return plan.status
    plan.status = advance(plan.status, PlanEvent.DISCARD)
    session.flush()
    record(session, actor, EventTag.PLAN_DISCARDED, f"plan:{plan_id}", now, version=plan.version)
    return plan.status


def begin(session: Session, plan_id: UUID, now: datetime) -> EndingAsked | None:
    """Note that this process solves the plan; returns what its search was asked already, by somebody who saw an earlier worker."""
    run = session.get(PlanRunRow, plan_id)
    if run is None:
        run = PlanRunRow(plan_id=plan_id, claimed_by="", claimed_at=now)
        session.add(run)
    run.claimed_by, run.claimed_at = f"{socket.gethostname()[:80]}:{os.getpid()}", now
    run.elapsed_ms = run.cost = run.served = run.engine = run.ending = None
    session.flush()
    return run.asked


def cancel(session: Session, plan_id: UUID, now: datetime) -> None:
    """Say that the search was dropped as asked."""
    plan = session.execute(select(PlanRow).where(PlanRow.id == plan_id).with_for_update().execution_options(populate_existing=True)).scalar_one()
    if plan.status is PlanStatus.SOLVING:
        plan.status = advance(plan.status, PlanEvent.CANCEL)
        record(session, None, EventTag.PLAN_SOLVED, f"plan:{plan_id}", now, status=plan.status.value)
        session.flush()


class Watched(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a search: its plan with reasons, or None because it was cancelled."""

    plan: Plan | None
    ending: Ending


def search(sessions: sessionmaker[Session], plan_id: UUID, order: SolveOrder, matrix: TravelMatrix | None, solvers: Solvers) -> Watched:
    """Solve in a warm process: progress is written about twice a second, and the wish to end is heard as often.

    A plan that was cut short gets its reasons afterwards, from a fresh process.

    Raises:
        InstanceError: the order holds no day that a solver reads.
        SolverDied: the process ended before it had any plan, or while it looked for the reasons.
        PlanRefused: the solver's plan breaks a rule.
    """
    instance = load_instance(order.instance)
    watch = _Watch(sessions, plan_id)
    with solvers.lend() as solver:
        solved = solver.solve(
            instance, Limits(search_s=order.search_s), seed=order.seed, matrix=matrix, on_progress=watch.keep, cancelled=watch.is_ended,
            start=None if order.start is None else load_plan(order.start),
        )
        plan = solved.plan
        if plan.unserved is None and watch.asked is not EndingAsked.CANCEL:
            plan = msgspec.structs.replace(plan, unserved=solver.explain(instance, plan, matrix))
    watch.close(solved)
    is_dropped = watch.asked is EndingAsked.CANCEL
    return Watched(plan=None if is_dropped else plan, ending=Ending(solved.ending.value))


class _Watch:
    """Carries progress out and wishes in, not oftener than every `LOOK_EVERY_S`."""

    def __init__(self, sessions: sessionmaker[Session], plan_id: UUID, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._sessions, self._plan_id, self._monotonic = sessions, plan_id, monotonic
        self._looked_at = monotonic()
        self._latest: Step | None = None
        self.asked: EndingAsked | None = None

    def keep(self, step: Step) -> None:
        self._latest = step

    def is_ended(self) -> bool:
        if self.asked is None and self._monotonic() - self._looked_at >= LOOK_EVERY_S:
            self._looked_at = self._monotonic()
            self._exchange(None)
        return self.asked is not None

    def close(self, solved: Solved) -> None:
        self._exchange(solved.ending)

    def _exchange(self, ending: SolverEnding | None) -> None:
        with self._sessions.begin() as session:
            run = session.get(PlanRunRow, self._plan_id, with_for_update=True)
            if run is None:
                return
            if self._latest is not None:
                step, self._latest = self._latest, None
                run.elapsed_ms, run.cost, run.served, run.engine = int(step.elapsed_s * 1000), step.cost, step.served, step.engine[:64]
            run.ending = None if ending is None else Ending(ending.value)
            self.asked = run.asked
