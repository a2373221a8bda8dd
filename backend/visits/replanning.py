"""Re-plan or redraw a day from what the phones have told: visits that were begun are facts, whatever the plan said."""

from datetime import datetime
from zoneinfo import ZoneInfo

from sqlalchemy import select
from sqlalchemy.orm import Session

from backend.auth.actors import Actor
from backend.auth.authorise import authorise
from backend.auth.permissions import Permission
from backend.core.ids import PlanId
from backend.core.problems import Conflict
from backend.plans import replanning, versions
from backend.plans.model import OrderReplan, PlanOrdered
from backend.plans.queries import visible_to
from backend.plans.tables import PlanRow
from backend.plans.versions import ChangePlan, PlanChanged
from backend.visits.tables import VisitRow
from routing.events import Fact


def replan_day(session: Session, actor: Actor, command: OrderReplan, now: datetime) -> PlanOrdered:
    """Order the rest of the day anew. Raises what `plans.replanning.order_replan` raises."""
    authorise(actor, Permission.PLAN_MAKE)
    return replanning.order_replan(session, actor, command, told(session, actor, command.plan_id, now), now)


def change_by_hand(session: Session, actor: Actor, command: ChangePlan, now: datetime) -> PlanChanged:
    """Make a new version by hand, as long as nobody has begun a visit of its day. Raises what `plans.versions.change` raises."""
    authorise(actor, Permission.PLAN_MAKE)
    if told(session, actor, command.plan_id, now):
        raise Conflict(reason="day-is-running")
    return versions.change(session, actor, command, now)


def told(session: Session, actor: Actor, plan_id: PlanId, now: datetime) -> tuple[Fact, ...]:
    """Return the visits of a plan's day that have begun, in the order of their starts; none of a plan that is not the actor's."""
    begun = session.execute(
        select(VisitRow.request_id, VisitRow.timezone, VisitRow.started_at, VisitRow.ended_at)
        .join(PlanRow, (PlanRow.branch_id == VisitRow.branch_id) & (PlanRow.on == VisitRow.on))
        .where(PlanRow.id == plan_id, visible_to(actor), VisitRow.started_at.is_not(None), VisitRow.started_at <= now)
        .order_by(VisitRow.started_at)
    ).all()
    return tuple(
        Fact(visit=str(one.request_id), start=_day_s(one.started_at, one.timezone), end=_day_s(one.ended_at, one.timezone) if one.ended_at else None)
        for one in begun
    )


def _day_s(at: datetime, timezone: str) -> int:
    local = at.astimezone(ZoneInfo(timezone))
    return local.hour * 3600 + local.minute * 60 + local.second
