"""The rest of a running day, planned anew after something happened, and what changed by it."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from litestar import get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody
from litestar.types import ControllerRouterHandler
from msgspec import Meta

from backend.auth.actors import Actor
from backend.core.ids import PlanId, RequestId, StaffId
from backend.plans import queries
from backend.plans.model import ClosedReport, LateReport, MoveView, OrderReplan, PlanOrdered
from backend.plans.tasks import SOLVE
from backend.visits.replanning import replan_day
from backend.web.app import Resources
from backend.web.body import Body, View
from backend.web.transaction import transaction


class LateBody(Body):
    """A pair that can go on only from a moment."""

    collector_a: UUID
    collector_b: UUID
    free_at: datetime


class ClosedBody(Body):
    """A deposit office that takes nothing more from a moment on."""

    office_id: UUID
    from_at: datetime


class ReplanBody(Body):
    """What happened on the running day; withdrawn cases need not be named."""

    sick_collector_ids: Annotated[tuple[UUID, ...], Meta(max_length=20)] = ()
    urgent_request_ids: Annotated[tuple[UUID, ...], Meta(max_length=20)] = ()
    late_pairs: Annotated[tuple[LateBody, ...], Meta(max_length=20)] = ()
    closed_offices: Annotated[tuple[ClosedBody, ...], Meta(max_length=20)] = ()


class MovesView(View, frozen=True, kw_only=True):
    """What a re-planned version changes against the version before, and why."""

    moves: tuple[MoveView, ...]


@post("/api/v1/plans/{plan_id:uuid}/replan", operation_id="replanDay", sync_to_thread=True, tags=["plans"])
def replan_running_day(
    plan_id: FromPath[UUID], data: JSONBody[ReplanBody], actor: NamedDependency[Actor], resources: NamedDependency[Resources],
    now: NamedDependency[datetime],
) -> PlanOrdered:
    """Order the rest of a running day anew, as a new version: what has begun and what was promised is kept (REQ-04, REQ-09)."""
    command = OrderReplan(
        plan_id=PlanId(plan_id), sick=tuple(StaffId(one) for one in data.sick_collector_ids),
        urgent=tuple(RequestId(one) for one in data.urgent_request_ids),
        late=tuple(
            LateReport(collector_a=StaffId(one.collector_a), collector_b=StaffId(one.collector_b), free_at=one.free_at) for one in data.late_pairs
        ),
        closed=tuple(ClosedReport(office_id=one.office_id, from_at=one.from_at) for one in data.closed_offices),
    )
    with transaction(resources.sessions, actor, now) as session:
        ordered = replan_day(session, actor, command, now)
    if resources.queue is not None:
        resources.queue.put(SOLVE, ordered.id)
    return ordered


@get("/api/v1/plans/{plan_id:uuid}/moves", operation_id="readPlanMoves", sync_to_thread=True, tags=["plans"])
def read_moves(plan_id: FromPath[UUID], actor: NamedDependency[Actor], resources: NamedDependency[Resources]) -> MovesView:
    """Return what a re-planned version changes, each change with its cause and a sentence in both languages; empty until it is solved."""
    with resources.reads() as session:
        return MovesView(moves=queries.moves(session, actor, PlanId(plan_id)))


ROUTES: list[ControllerRouterHandler] = [replan_running_day, read_moves]
