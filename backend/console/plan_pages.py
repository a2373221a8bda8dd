"""The pages of a branch's day: its versions, one version with its routes and what is left out, what it changes, and the steps that are open."""

from collections.abc import Callable, Mapping
from datetime import date, datetime
from typing import Annotated, Any
from uuid import UUID
from zoneinfo import ZoneInfo

import msgspec
from litestar import Request, Response, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery, URLEncodedBody
from msgspec import Meta
from sqlalchemy.orm import Session

from backend.auth.actors import Actor
from backend.auth.authorise import authorise, may
from backend.auth.permissions import Permission
from backend.banks.hours import office_names
from backend.console.pages import AGENCY_ZONE, FORM, PAGE, back, demand_own, page, shared
from backend.console.plan_board import board_of
from backend.console.plan_words import CAUSES, MOVES
from backend.console.values import day_within_reach
from backend.core.ids import PlanId, RequestId, StaffId
from backend.core.problems import Conflict
from backend.plans import desk, queries, runs, versions
from backend.plans.compare import Place, PlanComparison
from backend.plans.model import EndingAsked, PlanStatus, PlanView
from backend.staff import queries as staff
from backend.visits.actions import dispatch_plan
from backend.visits.replanning import told
from backend.web.app import Resources
from backend.web.paging import page_of, read_page
from backend.web.transaction import transaction

SEARCHED = frozenset({PlanStatus.QUEUED, PlanStatus.SOLVING})
CHANGEABLE = frozenset({PlanStatus.READY, PlanStatus.PUBLISHED})
READ_AGAIN_S = 3
Placed = tuple[Mapping[RequestId, Place], Mapping[RequestId, Place]]
NOBODY = desk.RunningDay(is_today=False, offices=(), joining=())


class StepForm(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """A button."""

    csrf: Annotated[str, Meta(max_length=64)] = ""


@get("/console/plans", operation_id="showPlans", **PAGE)
def show_plans(
    request: Request[Any, Any, Any], actor: NamedDependency[Actor], resources: NamedDependency[Resources], now: NamedDependency[datetime],
    on: FromQuery[date | None] = None, cursor: FromQuery[str | None] = None,
) -> Response[str]:
    """Show the versions of a day, of all branches of the actor; without `on`, of today where the first branch is."""
    authorise(actor, Permission.PLAN_READ)
    asked = read_page(None, cursor)
    with transaction(resources.sessions, actor, now) as session:
        branches = staff.branches(session, actor)
        today = now.astimezone(ZoneInfo(branches[0].timezone if branches else AGENCY_ZONE)).date()
        shown_on = day_within_reach(on or today, now, "/on")
        rows = queries.plan_page(session, actor, branch_id=None, on=shown_on, after=asked.after_id, limit=asked.limit)
        values = shared(session, request, actor, resources, now)
    found = page_of(rows, asked, lambda row: str(row.id))
    return page(
        "plans.html", request, **values, rows=found.rows, following=found.next, on=shown_on,
        branches={one.id: one for one in branches}, zone=AGENCY_ZONE,
    )


@get("/console/plans/{plan_id:uuid}", operation_id="showPlan", **PAGE)
def show_plan(
    plan_id: FromPath[UUID], request: Request[Any, Any, Any], actor: NamedDependency[Actor], resources: NamedDependency[Resources],
    now: NamedDependency[datetime],
) -> Response[str]:
    """Show one version of a day; while it is searched it says how far it is, and its browser reads it again."""
    with transaction(resources.sessions, actor, now) as session:
        plan = queries.plan(session, actor, PlanId(plan_id))
        branch = staff.branch(session, plan.summary.branch_id)
        is_maker = may(actor, Permission.PLAN_MAKE)
        day = desk.running_day(session, actor, plan.summary.id, now) if is_maker else NOBODY
        origin = desk.origin(session, actor, plan.summary.id)
        moves = queries.moves(session, actor, plan.summary.id)
        compared, placed = _beside(session, actor, plan, origin)
        begun = {RequestId(UUID(one.visit)) for one in told(session, actor, plan.summary.id, now)}
        board = board_of(session, actor, plan, *_named(compared, [one.subject for one in moves], day))
        offices = office_names(session, [stop.office_id for route in plan.routes for stop in route.stops if stop.office_id is not None])
        values = shared(session, request, actor, resources, now)
    status = plan.summary.status
    shown = page(
        "plan.html", request, **values, plan=plan, branch=branch, board=board, is_searched=status in SEARCHED, timezone=branch.timezone, day=day,
        origin=origin, compared=compared, placed_before=placed[0], placed_after=placed[1],
        moves={one.subject: one for one in moves}, kinds=MOVES, causes=CAUSES, begun=begun,
        is_changeable=is_maker and status in CHANGEABLE and not begun and (origin is None or origin.is_by_hand), clock=clock,
        offices=offices,
    )
    if status in SEARCHED:
        shown.headers["Refresh"] = str(READ_AGAIN_S)
    return shown


Step = Callable[[Session, Actor, PlanId, datetime], object]


def _button(verb: str, operation_id: str, act: Step, said: str) -> Any:
    """Make the route of a button that takes one version one step further."""

    @post(f"/console/plans/{{plan_id:uuid}}/{verb}", operation_id=operation_id, opt=FORM, description=said, **PAGE)
    def press(
        plan_id: FromPath[UUID], data: URLEncodedBody[StepForm], request: Request[Any, Any, Any], actor: NamedDependency[Actor],
        resources: NamedDependency[Resources], now: NamedDependency[datetime],
    ) -> Response[Any]:
        with transaction(resources.sessions, actor, now) as session:
            demand_own(request, resources, now, data.csrf)
            act(session, actor, PlanId(plan_id), now)
        return back(f"/console/plans/{plan_id}")

    return press


def _ending(asked: EndingAsked) -> Step:
    return lambda session, actor, plan_id, now: runs.ask_ending(session, actor, plan_id, asked, now)


ROUTES: list[Any] = [
    show_plans, show_plan,
    _button("publish", "submitPublication", dispatch_plan, "Publish a ready version; the version before it is superseded."),
    _button("discard", "submitDiscard", runs.discard, "Lay a ready version aside."),
    _button("cancel", "submitCancel", _ending(EndingAsked.CANCEL), "Drop a version that waits or is searched."),
    _button("finish", "submitFinish", _ending(EndingAsked.FINISH), "End a search early and take the best plan found so far."),
]


def clock(day_s: int | None) -> str:
    """Return a time of the day."""
    return "–" if day_s is None else f"{day_s // 3600:02d}:{day_s % 3600 // 60:02d}"


def _beside(session: Session, actor: Actor, plan: PlanView, origin: desk.Origin | None) -> tuple[PlanComparison | None, Placed]:
    """Return what a version changes against the one it goes on from, and where both put their visits; nothing where one cannot be read any more."""
    if origin is None or plan.plan_digest is None:
        return None, ({}, {})
    try:
        compared = versions.compare(session, actor, origin.base_id, plan.summary.id)
        return compared, (versions.places(session, actor, origin.base_id), versions.places(session, actor, plan.summary.id))
    except Conflict:
        return None, ({}, {})


def _named(
    compared: PlanComparison | None, subjects: list[str], day: desk.RunningDay
) -> tuple[set[RequestId], set[StaffId]]:
    """Return the visits and people whom a comparison, changes and the day itself name."""
    requests, people = {one.request_id for one in day.joining}, set[StaffId]()
    if compared is not None:
        requests |= {*compared.added, *compared.dropped, *(one.request_id for one in compared.moved)}
        pairs = [*compared.pairs_gone, *compared.pairs_new, *(place.pair for one in compared.moved for place in (one.before, one.after))]
        people |= {who for pair in pairs for who in pair}
    for subject in subjects:
        ids = [UUID(one) for one in subject.split("+")]
        people |= {StaffId(one) for one in ids} if len(ids) > 1 else set()
        requests |= {RequestId(ids[0])} if len(ids) == 1 else set()
    return requests, people
