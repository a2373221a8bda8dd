"""Plans of a branch's day: ordered, solved in the background, judged, published; a dispatcher's own plan is judged alike."""

from datetime import date, datetime
from typing import Annotated, Any
from uuid import UUID

from litestar import get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery, JSONBody
from litestar.types import ControllerRouterHandler
from msgspec import Meta

from backend.auth.actors import Actor
from backend.console.values import day_within_reach
from backend.core.ids import BranchId, PlanId
from backend.plans import actions, draws, queries, runs, versions
from backend.plans.actions import HandMade
from backend.plans.compare import PlanComparison
from backend.plans.draws import DrawView
from backend.plans.edits import EDITS_MAX, Edit
from backend.plans.model import SEARCH_S_MAX, EndingAsked, OrderPlan, PlanJudged, PlanOrdered, PlanStatus, PlanSummary, PlanView
from backend.plans.tasks import SOLVE
from backend.plans.versions import ChangePlan, PlanChanged
from backend.visits.actions import dispatch_plan
from backend.visits.replanning import change_by_hand
from backend.web.app import Resources
from backend.web.body import Body, View
from backend.web.paging import Page, page_of, read_page
from backend.web.transaction import transaction


class OrderBody(Body):
    """Which branch, which day, how many seconds to search, from which seed."""

    branch_id: UUID
    on: date
    seconds: Annotated[int, Meta(ge=1, le=SEARCH_S_MAX)] = 30
    seed: Annotated[int, Meta(ge=0, le=2**31 - 1)] = 0


class CheckBody(Body):
    """A hand-made `fieldday-plan/1`; its `instance` is filled in."""

    branch_id: UUID
    on: date
    plan: dict[str, Any]


class ChangesBody(Body):
    """Changes by hand, made in their order."""

    changes: Annotated[list[Edit], Meta(min_length=1, max_length=EDITS_MAX)]


class EndingView(View, frozen=True, kw_only=True):
    """Where a plan stands after somebody asked its search to end."""

    id: PlanId
    status: PlanStatus


class PublishedView(View, frozen=True, kw_only=True):
    """A plan just published: its visits are dispatched, the version before it is superseded."""

    id: PlanId
    version: int
    superseded_id: PlanId | None
    visit_count: int


@post("/api/v1/plans", operation_id="orderPlan", sync_to_thread=True, tags=["plans"])
def order_plan(
    data: JSONBody[OrderBody], actor: NamedDependency[Actor], resources: NamedDependency[Resources], now: NamedDependency[datetime]
) -> PlanOrdered:
    """Order a plan: 201 at once, with what cannot be planned already told; read it again until its status is `ready` (REQ-04)."""
    on = day_within_reach(data.on, now, "/on")
    command = OrderPlan(branch_id=BranchId(data.branch_id), on=on, search_s=data.seconds, seed=data.seed)
    with transaction(resources.sessions, actor, now) as session:
        ordered = actions.order(session, actor, command, now)
        if resources.queue is not None:
            resources.queue.put_within(session, SOLVE, ordered.id)
    return ordered


@get("/api/v1/plans", operation_id="listPlans", sync_to_thread=True, tags=["plans"])
def read_plans(
    actor: NamedDependency[Actor], resources: NamedDependency[Resources], limit: FromQuery[int | None] = None, cursor: FromQuery[str | None] = None,
    branch_id: FromQuery[UUID | None] = None, on: FromQuery[date | None] = None,
) -> Page[PlanSummary]:
    """List plans in the order in which they were ordered."""
    asked = read_page(limit, cursor)
    with resources.reads() as session:
        rows = queries.plan_page(
            session, actor, branch_id=BranchId(branch_id) if branch_id else None, on=on, after=asked.after_id, limit=asked.limit,
        )
    return page_of(rows, asked, lambda row: str(row.id))


@get("/api/v1/plans/{plan_id:uuid}", operation_id="readPlan", sync_to_thread=True, tags=["plans"])
def read_plan(plan_id: FromPath[UUID], actor: NamedDependency[Actor], resources: NamedDependency[Resources]) -> PlanView:
    """Return one plan: routes with withdrawals as of now, and every request left out with its true reason in both languages."""
    with resources.reads() as session:
        return queries.plan(session, actor, PlanId(plan_id))


@post("/api/v1/plans/{plan_id:uuid}/publish", operation_id="publishPlan", status_code=200, sync_to_thread=True, tags=["plans"])
def publish_plan(
    plan_id: FromPath[UUID], actor: NamedDependency[Actor], resources: NamedDependency[Resources], now: NamedDependency[datetime]
) -> PublishedView:
    """Publish a plan that is still clean; judged anew under VIS-01, VIS-04, VIS-06, VIS-10, TEAM-01, REQ-03, REQ-04 and REQ-09."""
    with transaction(resources.sessions, actor, now) as session:
        published = dispatch_plan(session, actor, PlanId(plan_id), now)
    return PublishedView(
        id=published.id, version=published.version, superseded_id=published.superseded_id, visit_count=len(published.stops),
    )


@get("/api/v1/plans/{plan_id:uuid}/draw", operation_id="readPlanDraw", sync_to_thread=True, tags=["plans"])
def read_draw(plan_id: FromPath[UUID], actor: NamedDependency[Actor], resources: NamedDependency[Resources]) -> DrawView:
    """Return the plan's draw of partners: its commitment at once, its seed and what follows from it once the plan is published (REQ-06)."""
    with resources.reads() as session:
        return draws.read_draw(session, actor, PlanId(plan_id))


@post("/api/v1/plans/check", operation_id="checkPlan", status_code=200, sync_to_thread=True, tags=["plans"])
def check_plan(
    data: JSONBody[CheckBody], actor: NamedDependency[Actor], resources: NamedDependency[Resources], now: NamedDependency[datetime]
) -> PlanJudged:
    """Judge a hand-made plan against what is true now; every violation at once, nothing is stored."""
    command = HandMade(branch_id=BranchId(data.branch_id), on=day_within_reach(data.on, now, "/on"), plan=data.plan)
    with transaction(resources.sessions, actor, now) as session:
        return actions.judge_hand_made(session, actor, command, now)


@post("/api/v1/plans/{plan_id:uuid}/cancel", operation_id="cancelPlan", status_code=200, sync_to_thread=True, tags=["plans"])
def cancel_plan(
    plan_id: FromPath[UUID], actor: NamedDependency[Actor], resources: NamedDependency[Resources], now: NamedDependency[datetime]
) -> EndingView:
    """Drop an order: a waiting one at once, a search under way within seconds. Repeating it changes nothing."""
    with transaction(resources.sessions, actor, now) as session:
        return EndingView(id=PlanId(plan_id), status=runs.ask_ending(session, actor, PlanId(plan_id), EndingAsked.CANCEL, now))


@post("/api/v1/plans/{plan_id:uuid}/discard", operation_id="discardPlan", status_code=200, sync_to_thread=True, tags=["plans"])
def discard_plan(
    plan_id: FromPath[UUID], actor: NamedDependency[Actor], resources: NamedDependency[Resources], now: NamedDependency[datetime]
) -> EndingView:
    """Lay a ready version aside, so that nobody publishes it any more. Repeating it changes nothing."""
    with transaction(resources.sessions, actor, now) as session:
        return EndingView(id=PlanId(plan_id), status=runs.discard(session, actor, PlanId(plan_id), now))


@post("/api/v1/plans/{plan_id:uuid}/finish", operation_id="finishPlan", status_code=200, sync_to_thread=True, tags=["plans"])
def finish_plan(
    plan_id: FromPath[UUID], actor: NamedDependency[Actor], resources: NamedDependency[Resources], now: NamedDependency[datetime]
) -> EndingView:
    """End a search early and take the best plan that it found so far; read it again until its status is `ready`."""
    with transaction(resources.sessions, actor, now) as session:
        return EndingView(id=PlanId(plan_id), status=runs.ask_ending(session, actor, PlanId(plan_id), EndingAsked.FINISH, now))


@get("/api/v1/plans/{plan_id:uuid}/comparison", operation_id="comparePlans", sync_to_thread=True, tags=["plans"])
def compare_plans(
    plan_id: FromPath[UUID], before: FromQuery[UUID], actor: NamedDependency[Actor], resources: NamedDependency[Resources]
) -> PlanComparison:
    """Say what this version changes against the version `before` of the same day: visits, pairs, and the parts of the cost."""
    with resources.reads() as session:
        return versions.compare(session, actor, PlanId(before), PlanId(plan_id))


@post("/api/v1/plans/{plan_id:uuid}/changes/check", operation_id="checkPlanChanges", status_code=200, sync_to_thread=True, tags=["plans"])
def check_changes(
    plan_id: FromPath[UUID], data: JSONBody[ChangesBody], actor: NamedDependency[Actor], resources: NamedDependency[Resources],
    now: NamedDependency[datetime],
) -> PlanJudged:
    """Judge changes by hand at once, every violation with its rule; nothing is stored."""
    command = ChangePlan(plan_id=PlanId(plan_id), edits=tuple(data.changes))
    with transaction(resources.sessions, actor, now) as session:
        return versions.judge_change(session, actor, command)


@post("/api/v1/plans/{plan_id:uuid}/changes", operation_id="changePlan", sync_to_thread=True, tags=["plans"])
def change_plan(
    plan_id: FromPath[UUID], data: JSONBody[ChangesBody], actor: NamedDependency[Actor], resources: NamedDependency[Resources],
    now: NamedDependency[datetime],
) -> PlanChanged:
    """Make a new version by hand: move, swap, remove or insert visits, change pairs. It is kept only if it breaks no rule."""
    command = ChangePlan(plan_id=PlanId(plan_id), edits=tuple(data.changes))
    with transaction(resources.sessions, actor, now) as session:
        return change_by_hand(session, actor, command, now)


@get("/api/v1/plans/{plan_id:uuid}/record", operation_id="readPlanRecord", sync_to_thread=True, tags=["plans"])
def read_record(plan_id: FromPath[UUID], actor: NamedDependency[Actor], resources: NamedDependency[Resources]) -> dict[str, Any]:
    """Return the `fieldday-record/1` from which `python -m routing replay` repeats a solved plan exactly."""
    with resources.reads() as session:
        return versions.replay_record(session, actor, PlanId(plan_id))


ROUTES: list[ControllerRouterHandler] = [
    order_plan, read_plans, check_plan, read_plan, publish_plan, cancel_plan, finish_plan, compare_plans, check_changes, change_plan, read_record,
    read_draw, discard_plan,
]
