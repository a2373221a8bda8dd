"""The pages of a running day: what happened, whom it touches, and the order to plan the rest anew. They work without script."""

from collections.abc import Sequence
from datetime import date, datetime, time
from typing import Annotated, Any
from uuid import UUID
from zoneinfo import ZoneInfo

import msgspec
from litestar import Request, Response, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery, URLEncodedBody
from msgspec import Meta

from backend.auth.actors import Actor
from backend.auth.authorise import authorise
from backend.auth.permissions import Permission
from backend.console.pages import FORM, PAGE, back, demand_own, page, shared
from backend.console.plan_board import board_of
from backend.console.plan_words import TOUCHED
from backend.console.values import sound_values
from backend.core.ids import PlanId, RequestId, StaffId
from backend.core.problems import Conflict, InvalidInput
from backend.plans import desk, queries
from backend.plans.model import ClosedReport, LateReport, OrderReplan, PlanStatus, PlanView
from backend.plans.tasks import SOLVE
from backend.staff import queries as staff
from backend.visits.replanning import replan_day, told
from backend.web.app import Resources
from backend.web.transaction import transaction

EVENTS_MAX = 20
Clock = Annotated[str, Meta(max_length=5, pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]\Z|^\Z")]
Ids = Annotated[list[UUID], Meta(max_length=EVENTS_MAX)]
RouteNumber = Annotated[int, Meta(ge=0, le=1000)]


class Happened(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """What happened, as a form tells it: route 0 and an empty office stand for none, times are local to the branch."""

    sick: UUID | Ids = msgspec.field(default_factory=list)      # A form with one field of a name sends no list.
    urgent: UUID | Ids = msgspec.field(default_factory=list)
    late: RouteNumber = 0
    free_at: Clock = ""
    office: UUID | None = None
    closed_from: Clock = ""

    def to_command(self, plan: PlanView, timezone: str) -> OrderReplan:
        """Say it in the slice's words. Raises `InvalidInput` for a route that the plan has not, or a moment that is missing."""
        late: tuple[LateReport, ...] = ()
        if self.late:
            route = next((one for one in plan.routes if one.number == self.late), None)
            if route is None:
                raise InvalidInput(pointer="/late", expected=f"a route from 1 to {len(plan.routes)}", got=str(self.late))
            free_at = _moment(plan.summary.on, self.free_at, timezone, "/free_at")
            late = (LateReport(collector_a=route.collector_a, collector_b=route.collector_b, free_at=free_at),)
        closed: tuple[ClosedReport, ...] = ()
        if self.office is not None:
            closed = (ClosedReport(office_id=self.office, from_at=_moment(plan.summary.on, self.closed_from, timezone, "/closed_from")),)
        return OrderReplan(
            plan_id=plan.summary.id, sick=tuple(StaffId(one) for one in _each(self.sick)),
            urgent=tuple(RequestId(one) for one in _each(self.urgent)), late=late, closed=closed,
        )

    def fields(self) -> list[tuple[str, str]]:
        """Return what the next form carries on."""
        many = [("sick", str(one)) for one in _each(self.sick)] + [("urgent", str(one)) for one in _each(self.urgent)]
        late = [("late", str(self.late)), ("free_at", self.free_at)] if self.late else []
        return many + late + ([("office", str(self.office)), ("closed_from", self.closed_from)] if self.office is not None else [])


class ReplanForm(Happened, kw_only=True):
    """The order. `newest` is the version that was the newest when the form was made, so that it is carried out once."""

    newest: Annotated[int, Meta(ge=1, le=1_000_000)]
    csrf: Annotated[str, Meta(max_length=64)] = ""


@get("/console/plans/{plan_id:uuid}/replan", operation_id="showReplan", **PAGE)
def show_replan(
    plan_id: FromPath[UUID], request: Request[Any, Any, Any], actor: NamedDependency[Actor], resources: NamedDependency[Resources],
    now: NamedDependency[datetime], sick: FromQuery[Ids | None] = None, urgent: FromQuery[Ids | None] = None, late: FromQuery[RouteNumber] = 0,
    free_at: FromQuery[Clock] = "", office: FromQuery[str] = "", closed_from: FromQuery[Clock] = "",
) -> Response[str]:
    """Show what an event of the running day touches before anything is ordered: stops still ahead, with the pair that has them."""
    authorise(actor, Permission.PLAN_MAKE)
    happened = Happened(sick=sick or [], urgent=urgent or [], late=late, free_at=free_at, office=_office(office), closed_from=closed_from)
    with transaction(resources.sessions, actor, now) as session:
        plan = queries.plan(session, actor, PlanId(plan_id))
        branch = staff.branch(session, plan.summary.branch_id)
        command = happened.to_command(plan, branch.timezone)
        day = desk.running_day(session, actor, plan.summary.id, now)
        if not day.is_today:
            raise Conflict(reason="day-not-running" if plan.summary.status is PlanStatus.PUBLISHED else "not-the-published-plan")
        begun = frozenset(RequestId(UUID(one.visit)) for one in told(session, actor, plan.summary.id, now))
        _demand_known(day, plan, command)
        board = board_of(session, actor, plan, [one.request_id for one in day.joining])
        newest = desk.latest_version(session, actor, plan.summary.id)
        values = shared(session, request, actor, resources, now)
    return page(
        "replan.html", request, **values, plan=plan, board=board, branch=branch, timezone=branch.timezone, command=command,
        fields=happened.fields(), touched=desk.touched(plan, command, begun), words=TOUCHED, newest=newest, begun=begun,
        joining={one.request_id: one for one in day.joining}, offices={one.id: one.name for one in day.offices},
    )


@post("/console/plans/{plan_id:uuid}/replan", operation_id="submitReplan", opt=FORM, **PAGE)
def submit_replan(
    plan_id: FromPath[UUID], data: URLEncodedBody[ReplanForm], request: Request[Any, Any, Any], actor: NamedDependency[Actor],
    resources: NamedDependency[Resources], now: NamedDependency[datetime],
) -> Response[Any]:
    """Order the rest of the running day anew, as a new version (REQ-04, REQ-09)."""
    with transaction(resources.sessions, actor, now) as session:
        demand_own(request, resources, now, data.csrf)
        authorise(actor, Permission.PLAN_MAKE)
        plan = queries.plan(session, actor, PlanId(plan_id))
        command = data.to_command(plan, staff.branch(session, plan.summary.branch_id).timezone)
        if desk.latest_version(session, actor, plan.summary.id) != data.newest:
            raise Conflict(reason="another-version")
        ordered = replan_day(session, actor, command, now)
        if resources.queue is not None:
            resources.queue.put_within(session, SOLVE, ordered.id)
    return back(f"/console/plans/{ordered.id}")


ROUTES: list[Any] = [show_replan, submit_replan]


def _each(ids: UUID | Sequence[UUID]) -> tuple[UUID, ...]:
    return tuple(dict.fromkeys([ids] if isinstance(ids, UUID) else ids))


def _office(text: str) -> UUID | None:
    try:
        return UUID(text) if text else None
    except ValueError:
        raise InvalidInput(pointer="/office", expected="an office of the day", got=text[:60]) from None


def _moment(on: date, clock: str, timezone: str, pointer: str) -> datetime:
    if not clock:
        raise InvalidInput(pointer=pointer, expected="a time of the day", got="none")
    with sound_values(pointer):
        return datetime.combine(on, time.fromisoformat(clock), ZoneInfo(timezone)).astimezone(ZoneInfo("UTC"))


def _demand_known(day: desk.RunningDay, plan: PlanView, command: OrderReplan) -> None:
    """Demand that a form speaks of people, requests and offices of the day. Raises `InvalidInput`."""
    known: tuple[tuple[str, Sequence[UUID], set[UUID]], ...] = (
        ("/sick", command.sick, {*desk.collectors_of(plan)}), ("/urgent", command.urgent, {one.request_id for one in day.joining}),
        ("/office", [one.office_id for one in command.closed], {one.id for one in day.offices}),
    )
    for pointer, named, among in known:
        for one in named:
            if one not in among:
                raise InvalidInput(pointer=pointer, expected="somebody or something of the day", got=str(one))
