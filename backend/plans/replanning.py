"""Plan the rest of a running day as a new version: what has begun is kept, what happened is obeyed, every change is told with its cause."""

from datetime import datetime
from uuid import UUID
from zoneinfo import ZoneInfo

import msgspec
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
from backend.db.engine import is_unique_violation
from backend.plans.actions import digest
from backend.plans.gather import day_facts
from backend.plans.model import OrderReplan, PlanOrdered, PlanStatus
from backend.plans.queries import visible_to, withdrawals
from backend.plans.reasons import screen
from backend.plans.running import is_tied, with_open_offices
from backend.plans.tables import PlanRow, ReplanRow
from backend.plans.to_routing import to_instance
from backend.plans.travel import matrix_of
from backend.policies.queries import policy_in_force
from routing import Instance, InstanceError, ReplanRefused, instance_object, load_instance, load_plan, travel_matrix
from routing.events import ClosedBank, Event, Fact, LatePair, SickCollector, UrgentVisit, WithdrawnVisit, running_day
from routing.model import CollectorId

SEARCH_S = 2


def order_replan(session: Session, actor: Actor, command: OrderReplan, facts: tuple[Fact, ...], now: datetime) -> PlanOrdered:
    """Order the rest of a published plan's day anew; its instance is the day as it stands now. Hand the id to the queue after the commit.

    Raises:
        Forbidden: the actor may not plan.
        NotFound: not a plan of the actor's branches.
        Conflict: the plan is not the published one, its day is not running, an event cannot be planned for, or another version was ordered
            at the same moment.
        InvalidInput: an event is about somebody or something that is not part of the day.
    """
    authorise(actor, Permission.PLAN_MAKE)
    base = session.scalar(select(PlanRow).where(PlanRow.id == command.plan_id, visible_to(actor)))
    if base is None:
        raise NotFound
    if base.status is not PlanStatus.PUBLISHED or base.plan is None:
        raise Conflict(reason="not-the-published-plan")
    zone = ZoneInfo(str(base.instance["timezone"]))
    local = now.astimezone(zone)
    if local.date() != base.on:
        raise Conflict(reason="day-not-running")
    now_s = local.hour * 3600 + local.minute * 60 + local.second
    instance, plan = load_instance(base.instance), load_plan(base.plan)
    urgent = _urgent(session, base, instance, command, now)
    instance = with_open_offices(session, base, instance, [one.visit for one in urgent], now)
    events = [*_events(session, base, instance, command, zone), *urgent]
    try:
        running = running_day(instance, plan, events, now_s, matrix=matrix_of(session, base) or travel_matrix(instance), facts=facts, is_told=True)
        latest = session.scalar(select(func.max(PlanRow.version)).where(PlanRow.branch_id == base.branch_id, PlanRow.on == base.on)) or 0
        named = msgspec.structs.replace(running, name=f"{instance.name.rsplit(' v', 1)[0]} v{latest + 1}")
        document = instance_object(load_instance(instance_object(named)))
    except ReplanRefused as error:
        raise Conflict(reason=str(error)[:200]) from None
    except InstanceError as error:
        raise InvalidInput(pointer="/", expected="events about people and places of this day", got=str(error)[:200]) from None
    row = PlanRow(
        id=new_id(), branch_id=base.branch_id, on=base.on, version=latest + 1, status=PlanStatus.QUEUED, seed=base.seed, search_s=SEARCH_S,
        policy_version=policy_in_force(session, None, now).version, instance=document, instance_digest=digest(document), requested_by=actor.id,
        requested_at=now,
    )
    try:
        with session.begin_nested():
            session.add(row)
    except IntegrityError as error:
        if is_unique_violation(error, "uq_plans_branch_id_on_version"):
            raise Conflict(reason="ordered-at-the-same-moment") from error
        raise
    session.add(ReplanRow(
        plan_id=row.id, base_plan_id=base.id, now_s=now_s, events=[msgspec.to_builtins(one) for one in events],
        begun=[one.visit for one in facts], moves=None,
    ))
    session.flush()
    record(
        session, actor, EventTag.PLAN_ORDERED, f"plan:{row.id}", now, policy_version=row.policy_version, branch=row.branch_id, version=row.version,
        base=base.id, events=len(events),
    )
    return PlanOrdered(
        id=PlanId(row.id), version=row.version, status=row.status, visit_count=len(document["visits"]), unserved_count=0,
    )


def _events(session: Session, base: PlanRow, instance: Instance, command: OrderReplan, zone: ZoneInfo) -> list[Event]:
    """Put the dispatcher's words, and the withdrawals that are known without them, into the planner's."""
    gone = withdrawals(session, [UUID(visit.id) for visit in instance.visits], base.on)
    events: list[Event] = [WithdrawnVisit(visit=str(one)) for one, reason in sorted(gone.items()) if reason is not None]
    events += [SickCollector(collector=CollectorId(str(one))) for one in command.sick]
    events += [
        LatePair(collectors=(CollectorId(str(one.collector_a)), CollectorId(str(one.collector_b))), free_at=_day_s(one.free_at, zone))
        for one in command.late
    ]
    return events + [ClosedBank(bank=str(one.office_id), from_s=_day_s(one.from_at, zone)) for one in command.closed]


def _urgent(session: Session, base: PlanRow, instance: Instance, command: OrderReplan, now: datetime) -> list[UrgentVisit]:
    """Return the visits that join the day, as they may be made today. Raises `InvalidInput` for one that may not."""
    if not command.urgent:
        return []
    facts, policy = day_facts(session, BranchId(base.branch_id), base.on, now), policy_in_force(session, None, now)
    entering, _ = screen(facts, policy)
    fresh = to_instance(facts, entering, policy, instance.name)
    known, has_banks = {one.id for one in instance.collectors}, is_tied(instance)
    found: list[UrgentVisit] = []
    for one in command.urgent:
        visit = next((visit for visit in fresh.visits if visit.id == str(one)), None)
        if visit is None:
            raise InvalidInput(pointer="/urgentRequestIds", expected="a request that may be planned today", got=str(one))
        place = next(place for place in fresh.locations if place.id == visit.location)
        visit = msgspec.structs.replace(
            visit, mandatory=True, excluded_collectors=tuple(name for name in visit.excluded_collectors if name in known),
            bank=visit.bank if has_banks else None,
        )
        found.append(UrgentVisit(visit=visit, location=None if any(place.id == other.id for other in instance.locations) else place))
    return found


def _day_s(at: datetime, zone: ZoneInfo) -> int:
    local = at.astimezone(zone)
    return local.hour * 3600 + local.minute * 60 + local.second
