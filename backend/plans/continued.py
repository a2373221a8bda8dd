"""A version that goes on from another one: what its search begins with, which of its stops are only locked, what it changes."""

from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import select
from sqlalchemy.orm import Session

from backend.plans.model import MoveView
from backend.plans.tables import PlanRow, ReplanRow
from routing import Instance, Plan, load_plan
from routing.events import Event
from routing.replan import moves_between


def base_plan(session: Session, plan_id: UUID) -> dict[str, Any] | None:
    """Return the plan that a version's search begins with; None for a day planned as a whole."""
    return session.scalar(select(PlanRow.plan).join(ReplanRow, ReplanRow.base_plan_id == PlanRow.id).where(ReplanRow.plan_id == plan_id))


def store_moves(session: Session, plan_id: UUID, instance: Instance, plan: Plan) -> None:
    """Keep what changed against the version before; a day planned as a whole has nothing to compare with."""
    row = session.get(ReplanRow, plan_id)
    before = base_plan(session, plan_id)
    if row is None or before is None:
        return
    events = msgspec.convert(row.events, list[Event])
    row.moves = [
        msgspec.to_builtins(MoveView(
            kind=move.kind.value, subject=move.subject, cause=move.cause.value, causes=move.causes, pair_before=move.pair_before,
            pair_after=move.pair_after, start_before_s=move.start_before, start_after_s=move.start_after, unserved=move.unserved,
            text_zh=move.text_zh(), text_en=move.text(),
        )) for move in moves_between(instance, load_plan(before), plan, events)
    ]


def locked_counts(session: Session, plan_id: UUID, instance: Instance) -> dict[frozenset[str], tuple[int, frozenset[str]]]:
    """Return per pair how many stops of its route are locked, and which visits had begun: those keep the visit they are."""
    row = session.get(ReplanRow, plan_id)
    begun = frozenset(row.begun) if row is not None else frozenset[str]()
    return {frozenset(map(str, one.collectors)): (len(one.stops), begun) for one in instance.progress}
