"""What a dispatcher decides by on a running day: whom an event touches, which visits could still join, which offices are there to close."""

from collections.abc import Iterable
from datetime import datetime
from uuid import UUID
from zoneinfo import ZoneInfo

import msgspec
from sqlalchemy import select
from sqlalchemy.orm import Session

from backend.auth.actors import Actor
from backend.auth.authorise import authorise
from backend.auth.permissions import Permission
from backend.banks.hours import OfficeOn, offices_on
from backend.core.ids import BankId, BranchId, CaseId, PlanId, RequestId, StaffId
from backend.core.problems import NotFound
from backend.plans.gather import day_facts
from backend.plans.model import OrderReplan, PlanStatus, PlanView, StopKind, StopView
from backend.plans.queries import visible_to
from backend.plans.reasons import screen
from backend.plans.tables import PlanChangeRow, PlanRow, ReplanRow
from backend.policies.queries import policy_in_force
from backend.requests.queries import PlannableRequest
from backend.requests.tables import VisitRequestRow
from routing import InstanceError, load_instance


class Touched(msgspec.Struct, frozen=True, kw_only=True):
    """A stop that an event touches: on which route (by number), and by which of the events (`withdrawn`, `sick`, `late` or `closed`)."""

    route: int
    stop: StopView
    causes: tuple[str, ...]


class RunningDay(msgspec.Struct, frozen=True, kw_only=True):
    """A published plan's day: whether it is today, the offices that its pairs may deposit at, and approved requests that could still join."""

    is_today: bool
    offices: tuple[OfficeOn, ...]
    joining: tuple[PlannableRequest, ...]


class Origin(msgspec.Struct, frozen=True, kw_only=True):
    """The version that a version goes on from, and how: by hand, or as the rest of a running day. `kept` counts visits already begun by then."""

    base_id: PlanId
    base_version: int
    is_by_hand: bool
    kept: int


def running_day(session: Session, actor: Actor, plan_id: PlanId, now: datetime) -> RunningDay:
    """Return what may be told about a plan's day. Raises `NotFound` for a plan that is not the actor's, `Forbidden` for who may not plan."""
    authorise(actor, Permission.PLAN_MAKE)
    row = _row(session, actor, plan_id)
    nothing = RunningDay(is_today=False, offices=(), joining=())
    try:
        instance = load_instance(row.instance)
    except InstanceError:      # Stored in a format of earlier; such a day can be looked at, not planned anew.
        return nothing
    is_today = now.astimezone(ZoneInfo(instance.timezone)).date() == row.on and row.status is PlanStatus.PUBLISHED
    if not is_today:
        return nothing
    known = {one.id for one in instance.banks}
    banks = {BankId(UUID(one.bank)) for one in instance.banks if one.bank is not None}
    day = {one.id for one in instance.visits}
    entering, _ = screen(day_facts(session, BranchId(row.branch_id), row.on, now), policy_in_force(session, None, now))
    return RunningDay(
        is_today=True, offices=tuple(one for one in offices_on(session, banks, row.on) if str(one.id) in known),
        joining=tuple(one for one in entering if str(one.request_id) not in day),
    )


def touched(plan: PlanView, command: OrderReplan, begun: frozenset[RequestId]) -> tuple[Touched, ...]:
    """Return the stops still ahead that what happened touches, in the order of the day. Pure."""
    found: list[Touched] = []
    closed = {one.office_id: one.from_at for one in command.closed}
    for route in plan.routes:
        pair = {route.collector_a, route.collector_b}
        free_at = next((one.free_at for one in command.late if {one.collector_a, one.collector_b} == pair), None)
        for stop in route.stops:
            if stop.request_id in begun:
                continue
            causes = (
                ("withdrawn", stop.withdrawn is not None), ("sick", stop.kind is not StopKind.PAUSE and not pair.isdisjoint(command.sick)),
                ("late", free_at is not None and stop.starts_at < free_at),
                ("closed", stop.office_id is not None and stop.office_id in closed and stop.ends_at > closed[stop.office_id]),
            )
            if any(holds for _, holds in causes):
                found.append(Touched(route=route.number, stop=stop, causes=tuple(cause for cause, holds in causes if holds)))
    return tuple(found)


def origin(session: Session, actor: Actor, plan_id: PlanId) -> Origin | None:
    """Return where a version comes from; None for a day planned as a whole. Raises `NotFound` for a plan that is not the actor's."""
    authorise(actor, Permission.PLAN_READ)
    _row(session, actor, plan_id)
    by_hand, again = session.get(PlanChangeRow, plan_id), session.get(ReplanRow, plan_id)
    base_id = by_hand.based_on if by_hand is not None else again.base_plan_id if again is not None else None
    if base_id is None:
        return None
    version = session.scalars(select(PlanRow.version).where(PlanRow.id == base_id)).one()
    return Origin(base_id=PlanId(base_id), base_version=version, is_by_hand=by_hand is not None, kept=len(again.begun) if again is not None else 0)


def latest_version(session: Session, actor: Actor, plan_id: PlanId) -> int:
    """Return the number of the newest version of a plan's day. Raises `NotFound` for a plan that is not the actor's."""
    row = _row(session, actor, plan_id)
    query = select(PlanRow.version).where(PlanRow.branch_id == row.branch_id, PlanRow.on == row.on).order_by(PlanRow.version.desc()).limit(1)
    return session.scalars(query).one()


def cases_of(session: Session, request_ids: Iterable[UUID]) -> dict[RequestId, CaseId]:
    """Return whose case each of these requests is about."""
    query = select(VisitRequestRow.id, VisitRequestRow.case_id).where(VisitRequestRow.id.in_(sorted(set(request_ids))))
    return {RequestId(row.id): CaseId(row.case_id) for row in session.execute(query)}


def collectors_of(plan: PlanView) -> tuple[StaffId, ...]:
    """Return everybody whom a plan sends out, each once."""
    return tuple(dict.fromkeys(who for route in plan.routes for who in (route.collector_a, route.collector_b)))


def _row(session: Session, actor: Actor, plan_id: PlanId) -> PlanRow:
    row = session.scalar(select(PlanRow).where(PlanRow.id == plan_id, visible_to(actor)))
    if row is None:
        raise NotFound
    return row
