"""Reads of plans. Withdrawal is derived at every read, never stored (DECL-01)."""

from collections.abc import Collection, Sequence
from datetime import date, datetime
from uuid import UUID

import msgspec
from sqlalchemy import ColumnElement, false, or_, select, true
from sqlalchemy.orm import Session

from backend.auth.actors import Actor
from backend.auth.authorise import authorise
from backend.auth.permissions import Permission
from backend.banks.tables import BankOfficeRow
from backend.cases.tables import CaseAddressRow
from backend.core.geo import LonLat
from backend.core.ids import BranchId, CaseId, PlanId, RequestId, RouteId, StaffId, StopId, VisitId
from backend.core.problems import NotFound
from backend.plans.model import MoveView, PlanStatus, PlanSummary, PlanView, RouteView, RunView, StopKind, StopView, UnservedView
from backend.plans.tables import PlanChangeRow, PlanRow, PlanRunRow, ReplanRow, RouteRow, StopRow, UnservedRow
from backend.requests.model import RequestStatus
from backend.requests.queries import withheld_reasons
from backend.requests.tables import VisitRequestRow


def visible_to(actor: Actor) -> ColumnElement[bool]:
    """Select the plans an actor may see: those of their branches; no bank sees any, for a plan holds other banks' cases."""
    if actor.bank is not None:
        return false()
    if actor.sees_every_branch:
        return true()
    return PlanRow.branch_id.in_(sorted(actor.branches)) if actor.branches else false()


def plan(session: Session, actor: Actor, plan_id: PlanId) -> PlanView:
    """Return one plan with its routes and everything that it leaves out. Raises `NotFound` for one that is not the actor's."""
    authorise(actor, Permission.PLAN_READ)
    row = session.scalar(select(PlanRow).where(PlanRow.id == plan_id, visible_to(actor)))
    if row is None:
        raise NotFound
    unserved = session.scalars(select(UnservedRow).where(UnservedRow.plan_id == row.id).order_by(UnservedRow.request_id))
    by_hand = session.get(PlanChangeRow, row.id)
    return PlanView(
        summary=_summary(row), instance_digest=row.instance_digest, plan_digest=row.plan_digest,
        contributions=tuple(row.contributions or ()), travel=row.travel,
        routes=_routes(session, session.scalars(select(RouteRow).where(RouteRow.plan_id == row.id).order_by(RouteRow.number)).all(), row.on),
        unserved=tuple(
            UnservedView(
                request_id=RequestId(one.request_id), code=one.code, params=one.params, text_zh=one.text_zh, text_en=one.text_en,
                changes=tuple(one.changes),
            ) for one in unserved
        ),
        run=_run(session.get(PlanRunRow, row.id)), based_on=PlanId(by_hand.based_on) if by_hand else None,
        changes=tuple(by_hand.changes if by_hand else ()),
    )


def moves(session: Session, actor: Actor, plan_id: PlanId) -> tuple[MoveView, ...]:
    """Return what a re-planned version changes; empty for others and until it is solved. Raises `NotFound` for one that is not the actor's."""
    authorise(actor, Permission.PLAN_READ)
    if session.scalar(select(PlanRow.id).where(PlanRow.id == plan_id, visible_to(actor))) is None:
        raise NotFound
    row = session.get(ReplanRow, plan_id)
    return msgspec.convert((row.moves if row is not None else None) or [], tuple[MoveView, ...])


def plan_page(
    session: Session, actor: Actor, *, branch_id: BranchId | None, on: date | None, after: UUID | None, limit: int
) -> tuple[PlanSummary, ...]:
    """Return up to `limit` + 1 plans after an id, in the order in which they were ordered."""
    authorise(actor, Permission.PLAN_READ)
    query = select(PlanRow).where(visible_to(actor)).order_by(PlanRow.id).limit(limit + 1)
    if branch_id is not None:
        query = query.where(PlanRow.branch_id == branch_id)
    if on is not None:
        query = query.where(PlanRow.on == on)
    if after is not None:
        query = query.where(PlanRow.id > after)
    return tuple(_summary(row) for row in session.scalars(query))


def published_route(session: Session, staff_id: StaffId, on: date) -> tuple[PlanSummary, RouteView] | None:
    """Return the published route of one of its two collectors on a day, with withdrawals as of now; None when there is none."""
    found = session.execute(
        select(PlanRow, RouteRow).join(RouteRow, RouteRow.plan_id == PlanRow.id)
        .where(PlanRow.on == on, PlanRow.status == PlanStatus.PUBLISHED, or_(RouteRow.collector_a == staff_id, RouteRow.collector_b == staff_id))
        .order_by(PlanRow.published_at.desc()).limit(1)
    ).first()
    if found is None:
        return None
    row, route = found
    return _summary(row), _routes(session, [route], on)[0]


def open_stops(session: Session, stop_ids: Collection[StopId | UUID], on: date) -> frozenset[StopId]:
    """Return which of these visit stops may still be made: approved, on time, and of a case that nothing stops."""
    rows = session.execute(select(StopRow.id, StopRow.request_id).where(StopRow.id.in_(sorted(stop_ids)), StopRow.request_id.is_not(None))).all()
    gone = withdrawals(session, [row.request_id for row in rows], on)
    return frozenset(StopId(row.id) for row in rows if gone.get(row.request_id) is None)


def withdrawals(session: Session, request_ids: Collection[UUID], on: date) -> dict[UUID, str | None]:
    """Return why each request's stop is withdrawn from a day, None where it stands. A visit already made is never withdrawn."""
    ids = sorted(set(request_ids))
    made = set(session.scalars(select(VisitRequestRow.id).where(VisitRequestRow.id.in_(ids), VisitRequestRow.status == RequestStatus.FULFILLED)))
    reasons = withheld_reasons(session, ids, on)
    return {one: reasons[RequestId(one)][0].value if one not in made and reasons.get(RequestId(one)) else None for one in ids}


def unfinished(session: Session) -> tuple[UUID, ...]:
    """Return the plans that wait for a worker, oldest first."""
    query = select(PlanRow.id).where(PlanRow.status.in_([PlanStatus.QUEUED, PlanStatus.SOLVING])).order_by(PlanRow.id)
    return tuple(session.scalars(query))


def _routes(session: Session, routes: Collection[RouteRow], on: date) -> tuple[RouteView, ...]:
    by_route: dict[UUID, list[StopRow]] = {route.id: [] for route in routes}
    rows = session.scalars(select(StopRow).where(StopRow.route_id.in_(list(by_route))).order_by(StopRow.route_id, StopRow.position)).all()
    for row in rows:
        by_route[row.route_id].append(row)
    gone = withdrawals(session, [row.request_id for row in rows if row.request_id is not None], on)
    pinned = session.execute(
        select(VisitRequestRow.id, CaseAddressRow.point).join(CaseAddressRow, CaseAddressRow.id == VisitRequestRow.address_id)
        .where(VisitRequestRow.id.in_(list(gone)))
    )
    doors = {row.id: row.point for row in pinned}
    offices = session.execute(
        select(BankOfficeRow.id, BankOfficeRow.location).where(BankOfficeRow.id.in_([row.bank_hours_id for row in rows if row.bank_hours_id]))
    )
    counters = {row.id: row.location for row in offices}
    places: dict[UUID, LonLat | None] = {
        row.id: doors.get(row.request_id) if row.request_id else counters.get(row.bank_hours_id) if row.bank_hours_id else None for row in rows
    }
    for stops in by_route.values():
        _place_pauses(stops, places)
    return tuple(
        RouteView(
            id=RouteId(route.id), number=route.number, collector_a=StaffId(route.collector_a), collector_b=StaffId(route.collector_b),
            departure_at=route.departure_at, return_at=route.return_at,
            stops=tuple(
                StopView(
                    id=StopId(row.id), position=row.position, kind=row.kind, visit_id=VisitId(row.visit_id) if row.visit_id else None,
                    request_id=RequestId(row.request_id) if row.request_id else None, case_id=CaseId(row.case_id) if row.case_id else None,
                    office_id=row.bank_hours_id, arrives_at=row.arrives_at, starts_at=row.starts_at, ends_at=row.ends_at,
                    place=places[row.id],
                    withdrawn=gone.get(row.request_id) if row.request_id else None,
                ) for row in by_route[route.id]
            ),
        ) for route in routes
    )


def _place_pauses(stops: Sequence[StopRow], places: dict[UUID, LonLat | None]) -> None:
    """Say where each pause of a route is taken: where the pair stands when it begins at once, else where it drives to next."""
    for number, stop in enumerate(stops):
        if stop.kind is not StopKind.PAUSE:
            continue
        before, after = stops[number - 1] if number else None, next((one for one in stops[number + 1 :] if one.kind is not StopKind.PAUSE), None)
        if before is not None and before.ends_at == stop.arrives_at:
            places[stop.id] = places[before.id]
        elif after is not None:
            places[stop.id] = places[after.id]


def _run(row: PlanRunRow | None) -> RunView | None:
    if row is None:
        return None
    return RunView(
        claimed_at=row.claimed_at, claimed_by=row.claimed_by, asked=row.asked, elapsed_s=None if row.elapsed_ms is None else row.elapsed_ms / 1000,
        cost=row.cost, served=row.served, engine=row.engine, ending=row.ending,
    )


def _summary(row: PlanRow) -> PlanSummary:
    published_at: datetime | None = row.published_at
    return PlanSummary(
        id=PlanId(row.id), branch_id=BranchId(row.branch_id), on=row.on, version=row.version, status=row.status, seed=row.seed,
        search_s=row.search_s, cost=row.cost, failure=row.failure, requested_by=StaffId(row.requested_by), requested_at=row.requested_at,
        published_by=StaffId(row.published_by) if row.published_by else None, published_at=published_at,
    )
