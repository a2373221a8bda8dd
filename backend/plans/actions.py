"""Order, solve, store and publish a branch's day (REQ-04, REQ-09)."""

import hashlib
from collections.abc import Mapping
from datetime import date, datetime
from types import MappingProxyType
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import msgspec
import rfc8785
from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from backend.audit.events import EventTag
from backend.audit.record import record
from backend.auth.actors import Actor
from backend.auth.authorise import authorise
from backend.auth.permissions import Permission
from backend.core.ids import BranchId, PlanId, new_id
from backend.core.problems import Conflict, InvalidInput, NotFound
from backend.core.rulebook import demand
from backend.db.engine import is_unique_violation
from backend.plans import continued, draws
from backend.plans.gather import day_facts, local_day, publication_facts
from backend.plans.model import (
    OrderPlan,
    PlanEvent,
    PlanJudged,
    PlanOrdered,
    PlanPublished,
    PlanStatus,
    StopKind,
    ViolationView,
    advance,
)
from backend.plans.queries import visible_to
from backend.plans.reasons import Unplannable, screen
from backend.plans.rules import judge_publication
from backend.plans.solving import SolveOrder
from backend.plans.tables import PlanRow, RouteRow, StopRow, UnservedRow
from backend.plans.to_routing import to_instance
from backend.plans.travel import Travel, keep_matrix, latest_for, matrix_of, named
from backend.policies.model import Policy
from backend.policies.queries import policy_in_force
from backend.requests.tables import VisitRequestRow
from backend.staff import queries as staff
from routing import (
    InstanceError,
    Plan,
    StopType,
    Unserved,
    check,
    cost,
    encode_plan,
    instance_object,
    load_instance,
    load_plan,
    plan_digest,
)
from routing.travel.great_circle import GreatCircle

FAILURE_LENGTH_MAX = 200


class HandMade(msgspec.Struct, frozen=True, kw_only=True):
    """A dispatcher's own `fieldday-plan/1` for a day; employees, requests and offices by their ids."""

    branch_id: BranchId
    on: date
    plan: dict[str, Any]


def order(session: Session, actor: Actor, command: OrderPlan, now: datetime) -> PlanOrdered:
    """Order a plan: its instance is built here and now, from what is true now; hand the id to the queue after the commit.

    Raises:
        Forbidden: the actor may not plan.
        NotFound: not a branch of the actor's.
        InvalidInput: the day is over.
        Conflict: another version was ordered at the same moment.
    """
    authorise(actor, Permission.PLAN_MAKE)
    policy = policy_in_force(session, None, now)
    version, instance, unplannable = prepare(session, actor, command.branch_id, command.on, policy, now)
    plan = PlanRow(
        id=new_id(), branch_id=command.branch_id, on=command.on, version=version, status=PlanStatus.QUEUED, seed=command.seed,
        search_s=command.search_s, policy_version=policy.version, instance=instance, instance_digest=digest(instance), requested_by=actor.id,
        requested_at=now,
    )
    try:
        with session.begin_nested():
            session.add(plan)
    except IntegrityError as error:
        if is_unique_violation(error, "uq_plans_branch_id_on_version"):
            raise Conflict(reason="ordered-at-the-same-moment") from error
        raise
    session.add_all(
        UnservedRow(
            plan_id=plan.id, request_id=one.request_id, code=one.reason.value, params=dict(one.params), text_zh=one.text_zh, text_en=one.text_en,
            changes=list(one.changes),
        ) for one in unplannable
    )
    session.flush()
    commitment = draws.commit_draw(session, plan, policy)
    record(
        session, actor, EventTag.PLAN_ORDERED, f"plan:{plan.id}", now, policy_version=policy.version, branch=plan.branch_id, version=version,
        **({} if commitment is None else {"draw_commitment": commitment, "draw_pct": policy.pair_swap_pct}),
    )
    return PlanOrdered(
        id=PlanId(plan.id), version=version, status=plan.status, visit_count=len(instance["visits"]), unserved_count=len(unplannable),
    )


def prepare(
    session: Session, actor: Actor, branch_id: BranchId, on: date, policy: Policy, now: datetime
) -> tuple[int, dict[str, Any], tuple[Unplannable, ...]]:
    """Build a day's instance from what is true now; returns the next version, the instance as JSON and what cannot enter it.

    Raises:
        NotFound: not a branch of the actor's.
        InvalidInput: the day is over.
    """
    if actor.bank is not None or not (actor.sees_every_branch or branch_id in actor.branches):
        raise NotFound
    branch = staff.branch(session, branch_id)
    if on < now.astimezone(ZoneInfo(branch.timezone)).date():
        raise InvalidInput(pointer="/on", expected="today or a later day", got=on.isoformat())
    latest = session.scalar(select(func.max(PlanRow.version)).where(PlanRow.branch_id == branch_id, PlanRow.on == on))
    facts = day_facts(session, branch_id, on, now)
    entering, unplannable = screen(facts, policy)
    version = (latest or 0) + 1
    instance = to_instance(facts, entering, policy, f"{facts.branch_code} {on.isoformat()} v{version}")
    return version, instance_object(instance), unplannable


def judge_hand_made(session: Session, actor: Actor, command: HandMade, now: datetime) -> PlanJudged:
    """Judge a dispatcher's own plan by the same checker as the solver's, against what is true now. Nothing is stored.

    Raises:
        Forbidden, NotFound, InvalidInput: as `order`; also for a document that is no plan at all.
    """
    authorise(actor, Permission.PLAN_MAKE)
    policy = policy_in_force(session, None, now)
    _, prepared, _ = prepare(session, actor, command.branch_id, command.on, policy, now)
    instance = load_instance(prepared)
    try:
        plan = load_plan({**command.plan, "instance": instance.name})
    except InstanceError as error:
        raise InvalidInput(pointer="/plan", expected="a fieldday-plan/1", got=str(error)[:300]) from None
    matrix, travel = latest_for(session, command.branch_id, command.on, instance)
    judged = cost(instance, plan, matrix)
    return PlanJudged(
        violations=tuple(
            ViolationView(code=one.code.value, rule=one.rule, subject=one.subject, message=one.message, route=one.route, stop=one.stop)
            for one in check(instance, plan, matrix)
        ),
        cost=judged.total, served=judged.served, mandatory_unserved=judged.mandatory_unserved, travel_s=judged.travel_s, travel=travel,
    )


def claim(session: Session, plan_id: UUID) -> SolveOrder | None:
    """Take up a waiting plan; None when it no longer waits."""
    plan = locked(session, plan_id)
    if plan.status not in (PlanStatus.QUEUED, PlanStatus.SOLVING):
        return None
    plan.status = advance(plan.status, PlanEvent.CLAIM)
    return SolveOrder(instance=plan.instance, search_s=plan.search_s, seed=plan.seed, start=continued.base_plan(session, plan.id))


def fail(session: Session, plan_id: UUID, failure: str, now: datetime) -> None:
    """Say that a waiting plan cannot be solved; one that is solved already stays so."""
    plan = locked(session, plan_id)
    if plan.status not in (PlanStatus.QUEUED, PlanStatus.SOLVING):
        return
    plan.status = advance(plan.status, PlanEvent.FAIL)
    plan.failure, plan.solved_at = failure[:FAILURE_LENGTH_MAX], now
    record(session, None, EventTag.PLAN_SOLVED, f"plan:{plan.id}", now, status=plan.status.value)


def store(session: Session, plan_id: UUID, solved: bytes, now: datetime, travel: Travel | None = None) -> None:
    """Judge a solved plan by the checker, which shares no code with the solver, and keep it; a faulted one is a failure.

    Args:
        travel: What the plan was solved with; None means great-circle travel.
    """
    row = locked(session, plan_id)
    if row.status is not PlanStatus.SOLVING:
        return
    instance, plan = load_instance(row.instance), load_plan(solved)
    travel = travel or Travel(record=GreatCircle(instance.travel).record, table=None)
    matrix = travel.matrix
    violations = check(instance, plan, matrix)
    if violations:
        fail(session, plan_id, "not clean: " + ", ".join(sorted({one.code.value for one in violations})), now)
        return
    plan, row.travel = named(plan, travel)
    plan = draws.make_draw(session, row.id, instance, plan, matrix)
    keep_matrix(session, travel, now)
    row.plan = msgspec.json.decode(encode_plan(plan))
    row.plan_digest, row.cost, row.solved_at = plan_digest(plan), cost(instance, plan, matrix).total, now
    row.contributions = [] if plan.solver is None else list(msgspec.to_builtins(plan.solver.contributions))
    row.status = advance(row.status, PlanEvent.SOLVE)
    session.flush()
    store_routes(session, row, plan, continued.locked_counts(session, row.id, instance))
    continued.store_moves(session, row.id, instance, plan)
    session.add_all(_unserved_row(row.id, one) for one in plan.unserved or ())
    session.flush()
    record(
        session, None, EventTag.PLAN_SOLVED, f"plan:{row.id}", now, status=row.status.value, cost=row.cost, routes=len(plan.routes),
        served=len(plan.served()), unserved=len(plan.unserved or ()),
    )


def publish(session: Session, actor: Actor, plan_id: PlanId, now: datetime) -> PlanPublished:
    """Publish a plan that is still clean; the version published before it is superseded. Called by visits, which dispatch its stops.

    Raises:
        Forbidden: the actor may not publish.
        NotFound: not a plan of the actor's branches.
        RulesBreached: VIS-01, VIS-04, VIS-06, TEAM-01, VIS-10, REQ-03, REQ-04 or REQ-09, all breaches at once.
        IllegalTransition: the plan is not ready.
    """
    authorise(actor, Permission.PLAN_PUBLISH)
    day = session.execute(select(PlanRow.branch_id, PlanRow.on).where(PlanRow.id == plan_id, visible_to(actor))).first()
    if day is None:
        raise NotFound
    # Every version of the day is locked, in one order: of two that are published at once, the later supersedes the earlier.
    versions = session.scalars(
        select(PlanRow).where(PlanRow.branch_id == day.branch_id, PlanRow.on == day.on).order_by(PlanRow.id).with_for_update()
        .execution_options(populate_existing=True)
    ).all()
    plan = next(one for one in versions if one.id == plan_id)
    following = advance(plan.status, PlanEvent.PUBLISH)
    policy = policy_in_force(session, None, now)
    violations = tuple(one.code.value for one in check(load_instance(plan.instance), load_plan(plan.plan or {}), matrix_of(session, plan)))
    facts, stops = publication_facts(session, plan, policy, now, violations)
    demand(judge_publication(facts, policy))
    superseded = next((one for one in versions if one.status is PlanStatus.PUBLISHED), None)
    if superseded is not None:
        superseded.status = advance(superseded.status, PlanEvent.SUPERSEDE)
        session.flush()
    plan.status, plan.published_by, plan.published_at = following, actor.id, now
    session.flush()
    seed, outcome = draws.reveal(session, plan.id, now)
    record(
        session, actor, EventTag.PLAN_PUBLISHED, f"plan:{plan.id}", now, policy_version=policy.version, version=plan.version,
        superseded=superseded.id if superseded else None, **({} if seed is None else {"draw_seed": seed, "draw_outcome": outcome}),
    )
    return PlanPublished(
        id=PlanId(plan.id), branch_id=BranchId(plan.branch_id), on=plan.on, version=plan.version,
        superseded_id=PlanId(superseded.id) if superseded else None, policy_version=policy.version, stops=stops,
    )


def locked(session: Session, plan_id: UUID) -> PlanRow:
    """Return a plan's row, locked."""
    return session.execute(
        select(PlanRow).where(PlanRow.id == plan_id).with_for_update().execution_options(populate_existing=True)
    ).scalar_one()


def store_routes(
    session: Session, row: PlanRow, plan: Plan, locked_of: Mapping[frozenset[str], tuple[int, frozenset[str]]] = MappingProxyType({}),
) -> None:
    """Write the routes and stops of a plan whose times are all known.

    Of a running day only what is still to be made: a visit that has begun stays the visit of the version that sent the pair there.
    """
    zone = str(row.instance["timezone"])
    wanted = sorted(UUID(one) for one in plan.served())
    cases = session.execute(select(VisitRequestRow.id, VisitRequestRow.case_id).where(VisitRequestRow.id.in_(wanted)))
    case_of = {one.id: one.case_id for one in cases}
    for number, route in enumerate((one for one in plan.routes if one.stops), start=1):
        count, begun = locked_of.get(frozenset(map(str, route.collectors)), (0, frozenset()))
        ahead = [
            stop for index, stop in enumerate(route.stops)
            if index >= count or (stop.type is StopType.VISIT and stop.id not in begun)
        ]
        if route.return_at is None and not ahead:
            continue    # A pair that has parted, with nothing left to make.
        assert route.departure is not None
        assert route.return_at is not None
        a, b = (UUID(one) for one in route.collectors)
        stored = RouteRow(
            id=new_id(), plan_id=row.id, number=number, collector_a=a, collector_b=b, departure_at=local_day(row.on, zone, route.departure),
            return_at=local_day(row.on, zone, route.return_at),
        )
        session.add(stored)
        session.flush()
        for position, stop in enumerate(ahead, start=1):
            assert stop.arrival is not None
            assert stop.start is not None
            assert stop.end is not None
            request_id = UUID(stop.id) if stop.type is StopType.VISIT and stop.id is not None else None
            session.add(StopRow(
                id=new_id(), route_id=stored.id, position=position, kind=StopKind(stop.type.value), visit_id=new_id() if request_id else None,
                request_id=request_id, case_id=case_of[request_id] if request_id else None, bank_hours_id=UUID(stop.bank) if stop.bank else None,
                arrives_at=local_day(row.on, zone, stop.arrival), starts_at=local_day(row.on, zone, stop.start),
                ends_at=local_day(row.on, zone, stop.end),
            ))


def _unserved_row(plan_id: UUID, one: Unserved) -> UnservedRow:
    return UnservedRow(
        plan_id=plan_id, request_id=UUID(one.id), code=one.code, params=msgspec.to_builtins(one.params), text_zh=one.reason_zh, text_en=one.reason,
        changes=list(msgspec.to_builtins(one.changes)),
    )


def digest(document: dict[str, Any]) -> str:
    """Return the SHA-256 over a document's canonical form."""
    return hashlib.sha256(rfc8785.dumps(document)).hexdigest()
