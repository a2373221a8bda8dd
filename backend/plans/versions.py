"""Versions of a day: compared, and changed by hand into new ones that are judged at once."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from backend.audit.events import EventTag
from backend.audit.record import record
from backend.auth.actors import Actor
from backend.auth.authorise import authorise
from backend.auth.permissions import Permission
from backend.core.ids import PlanId, RequestId, StaffId, new_id
from backend.core.problems import Conflict, NotFound
from backend.core.rulebook import Breach, Rule, demand
from backend.db.engine import is_unique_violation
from backend.plans import draws
from backend.plans.actions import digest, store_routes
from backend.plans.compare import CostView, Place, PlanComparison, cost_view, differences, other_pauses, pairs_of, places_of
from backend.plans.edits import Edit, apply_edits, drafts_of, pinned
from backend.plans.model import PlanJudged, PlanStatus, ViolationView
from backend.plans.queries import visible_to
from backend.plans.reasons import Chosen, chosen_texts
from backend.plans.tables import PlanChangeRow, PlanRow, UnservedRow
from backend.plans.travel import matrix_of
from routing import (
    Instance,
    InstanceError,
    Plan,
    TravelMatrix,
    Unserved,
    Violation,
    check,
    cost,
    encode_plan,
    instance_object,
    lay_out,
    load_instance,
    load_plan,
    plan_digest,
    record_of,
)
from routing.hand import Draft
from routing.reasons import HARD_REASONS

RULE_OF_PLANS = Rule.REQ_04


class ChangePlan(msgspec.Struct, frozen=True, kw_only=True):
    """Changes by hand to a version, in their order."""

    plan_id: PlanId
    edits: tuple[Edit, ...]


class PlanChanged(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The new version that the changes made, and its cost."""

    id: PlanId
    version: int
    based_on: PlanId
    cost: int
    served: int


class DrawnRoute(msgspec.Struct, frozen=True, kw_only=True):
    """Who goes where in a draft: visits in order, each with its start in seconds after local midnight; None where it cannot be made in time."""

    pair: tuple[StaffId, StaffId]
    visits: tuple[tuple[RequestId, int | None], ...]


class Drawing(msgspec.Struct, frozen=True, kw_only=True):
    """A version as changes by hand would make it, beside the one it was drawn from. Routes are in the order in which edits number them."""

    judged: PlanJudged
    cost_before: CostView
    cost_after: CostView
    before: tuple[DrawnRoute, ...]
    routes: tuple[DrawnRoute, ...]
    left_out: tuple[RequestId, ...]
    collectors: tuple[StaffId, ...]


def compare(session: Session, actor: Actor, before_id: PlanId, after_id: PlanId) -> PlanComparison:
    """Compare two versions of one day.

    Raises:
        Forbidden: the actor reads no plans.
        NotFound: one of them is not a plan of the actor's branches.
        Conflict: they are of different days, or one of them has no plan.
    """
    authorise(actor, Permission.PLAN_READ)
    before, after = _visible(session, actor, before_id), _visible(session, actor, after_id)
    if (before.branch_id, before.on) != (after.branch_id, after.on):
        raise Conflict(reason="versions of different days")
    (day_before, old), (day_after, new) = _solved(before), _solved(after)
    added, dropped, moved = differences(old, new)
    pairs_before, pairs_after = pairs_of(old), pairs_of(new)
    return PlanComparison(
        before_id=before_id, before_version=before.version, after_id=after_id, after_version=after.version, added=added, dropped=dropped, moved=moved,
        unchanged_count=len(new.served()) - len(added) - len(moved), pairs_gone=tuple(sorted(pairs_before - pairs_after)),
        pairs_new=tuple(sorted(pairs_after - pairs_before)), pauses=other_pauses(old, new),
        cost_before=cost_view(cost(day_before, old, matrix_of(session, before))),
        cost_after=cost_view(cost(day_after, new, matrix_of(session, after))),
    )


def places(session: Session, actor: Actor, plan_id: PlanId) -> Mapping[RequestId, Place]:
    """Return where a version puts each visit that it serves. Raises `NotFound`, `Forbidden` and `Conflict` as `compare`."""
    authorise(actor, Permission.PLAN_READ)
    return places_of(_solved(_visible(session, actor, plan_id))[1])


def judge_change(session: Session, actor: Actor, command: ChangePlan) -> PlanJudged:
    """Say what a change by hand would bring: every violation at once, and the cost. Nothing is stored. Raises as `change`, but for its breaches."""
    authorise(actor, Permission.PLAN_MAKE)
    base = _visible(session, actor, command.plan_id)
    matrix = matrix_of(session, base)
    instance, plan = _edited(base, command.edits, matrix)
    return _judged(base, instance, plan, matrix)


def drawing(session: Session, actor: Actor, command: ChangePlan) -> Drawing:
    """Show what changes by hand would make of a version: judged as by `judge_change`, with its routes and both costs. Nothing is stored."""
    authorise(actor, Permission.PLAN_MAKE)
    base = _visible(session, actor, command.plan_id)
    matrix = matrix_of(session, base)
    day, before = _solved(base)
    instance, plan = _edited(base, command.edits, matrix)
    served = plan.served()
    drawn = apply_edits(drafts_of(before), frozenset(visit.id for visit in day.visits), command.edits)
    return Drawing(
        judged=_judged(base, instance, plan, matrix), cost_before=cost_view(cost(day, before, matrix)),
        cost_after=cost_view(cost(instance, plan, matrix)), before=_drawn(drafts_of(before), _starts(before)), routes=_drawn(drawn, _starts(plan)),
        left_out=tuple(RequestId(UUID(visit.id)) for visit in instance.visits if visit.id not in served),
        collectors=tuple(StaffId(UUID(one.id)) for one in instance.collectors),
    )


def _starts(plan: Plan) -> dict[str, int | None]:
    return {stop.id: stop.start for route in plan.routes for stop in route.stops if stop.id is not None}


def _drawn(drafts: tuple[Draft, ...], starts: dict[str, int | None]) -> tuple[DrawnRoute, ...]:
    return tuple(
        DrawnRoute(
            pair=(StaffId(UUID(draft.collectors[0])), StaffId(UUID(draft.collectors[1]))),
            visits=tuple((RequestId(UUID(visit)), starts.get(visit)) for visit in draft.visits),
        ) for draft in drafts
    )


def _judged(base: PlanRow, instance: Instance, plan: Plan, matrix: TravelMatrix | None) -> PlanJudged:
    judged = cost(instance, plan, matrix)
    return PlanJudged(
        violations=tuple(
            ViolationView(code=one.code.value, rule=one.rule, subject=one.subject, message=one.message, route=one.route, stop=one.stop)
            for one in check(instance, plan, matrix)
        ),
        cost=judged.total, served=judged.served, mandatory_unserved=judged.mandatory_unserved, travel_s=judged.travel_s,
        travel=base.travel or {},
    )


def change(session: Session, actor: Actor, command: ChangePlan, now: datetime) -> PlanChanged:
    """Make a new version of a plan by hand; it is stored, ready to be published, only without any violation.

    Raises:
        Forbidden: the actor may not plan.
        NotFound: not a plan of the actor's branches.
        Conflict: it has no plan to change, its day is running, or another version was made at the same moment.
        InvalidInput: a change names a route, place or visit that is not there.
        RulesBreached: every violation under its rule: VIS-01, VIS-06, VIS-10, VIS-18, REQ-03, REQ-04, REQ-06, REQ-09, TEAM-01, CASH-06, CASH-08.
    """
    authorise(actor, Permission.PLAN_MAKE)
    base = _visible(session, actor, command.plan_id)
    matrix = matrix_of(session, base)
    instance, drawn = _edited(base, command.edits, matrix)
    demand(tuple(_breach(one) for one in check(instance, drawn, matrix)))
    inside = {visit.id for visit in instance.visits}
    kept = session.scalars(select(UnservedRow).where(UnservedRow.plan_id == base.id)).all()
    reasons = {str(row.request_id): row for row in kept}
    left = [visit.id for visit in instance.visits if visit.id not in drawn.served()]
    plan = msgspec.structs.replace(drawn, unserved=tuple(_reason(one, reasons.get(one), base.version) for one in left))
    assert check(instance, plan, matrix) == ()
    row = _new_version(session, actor, base, (instance, plan, cost(instance, plan, matrix).total), now)
    session.add(PlanChangeRow(plan_id=row.id, based_on=base.id, changes=list(msgspec.to_builtins(command.edits))))
    session.add_all(_unserved(row.id, one) for one in plan.unserved or ())
    session.add_all(_copy(row.id, one) for one in kept if str(one.request_id) not in inside)
    store_routes(session, row, plan)
    session.flush()
    record(session, actor, EventTag.PLAN_CHANGED, f"plan:{row.id}", now, policy_version=row.policy_version, based_on=base.id, version=row.version,
           changes=len(command.edits), cost=row.cost)
    assert row.cost is not None
    return PlanChanged(id=PlanId(row.id), version=row.version, based_on=PlanId(base.id), cost=row.cost, served=len(plan.served()))


def replay_record(session: Session, actor: Actor, plan_id: PlanId) -> dict[str, Any]:
    """Return the `fieldday-record/1` that `python -m routing replay` repeats the plan from, as it was before partners were exchanged by a draw.

    Raises:
        Forbidden: the actor reads no plans.
        NotFound: not a plan of the actor's branches.
        Conflict: there is no plan, or it was made by hand.
    """
    authorise(actor, Permission.PLAN_READ)
    row = _visible(session, actor, plan_id)
    instance, plan = _solved(row)
    before = draws.solved_before(session, row.id)
    plan = plan if before is None else load_plan(before)
    if plan.solver is None:
        raise Conflict(reason="made-by-hand")
    whole: dict[str, Any] = msgspec.to_builtins(record_of(instance, plan, matrix_of(session, row)))
    return whole


def _visible(session: Session, actor: Actor, plan_id: PlanId) -> PlanRow:
    row = session.scalar(select(PlanRow).where(PlanRow.id == plan_id, visible_to(actor)))
    if row is None:
        raise NotFound
    return row


def _solved(row: PlanRow) -> tuple[Instance, Plan]:
    if row.plan is None:
        raise Conflict(reason="no-plan-yet", version=row.version)
    try:
        return load_instance(row.instance), load_plan(row.plan)
    except InstanceError:
        raise Conflict(reason="format-no-longer-read", version=row.version) from None


def _edited(row: PlanRow, edits: tuple[Edit, ...], matrix: TravelMatrix | None) -> tuple[Instance, Plan]:
    instance, plan = _solved(row)
    if instance.progress:
        raise Conflict(reason="day-is-running")      # What is done stays; such a day is re-planned, not redrawn.
    drafts = apply_edits(drafts_of(plan), frozenset(visit.id for visit in instance.visits), edits)
    instance = pinned(instance, edits)
    return instance, lay_out(instance, drafts, matrix)


def _breach(one: Violation) -> Breach:
    known = {rule.value for rule in Rule}
    rule = Rule(one.rule) if one.rule in known else RULE_OF_PLANS
    return Breach(rule, one.code.value.replace("_", "-"), expected="a plan that routing.check finds clean", got=one.message[:200])


def _new_version(session: Session, actor: Actor, base: PlanRow, made: tuple[Instance, Plan, int], now: datetime) -> PlanRow:
    instance, plan, total = made
    document = instance_object(instance)
    latest = session.scalar(select(func.max(PlanRow.version)).where(PlanRow.branch_id == base.branch_id, PlanRow.on == base.on))
    row = PlanRow(
        id=new_id(), branch_id=base.branch_id, on=base.on, version=(latest or 0) + 1, status=PlanStatus.READY, seed=base.seed,
        search_s=base.search_s, policy_version=base.policy_version, instance=document, instance_digest=digest(document),
        plan=msgspec.json.decode(encode_plan(plan)), plan_digest=plan_digest(plan), contributions=[], cost=total, travel=base.travel,
        requested_by=actor.id, requested_at=now, solved_at=now,
    )
    try:
        with session.begin_nested():
            session.add(row)
    except IntegrityError as error:
        if is_unique_violation(error, "uq_plans_branch_id_on_version"):
            raise Conflict(reason="ordered-at-the-same-moment") from error
        raise
    return row


def _reason(visit_id: str, kept: UnservedRow | None, version: int) -> Unserved:
    """Keep a reason that holds whatever is planned; of the others only this is known, that somebody drew the plan so."""
    if kept is not None and kept.code in {one.value for one in HARD_REASONS}:
        return Unserved(  # type: ignore[call-arg]
            id=visit_id, reason=kept.text_en, reason_zh=kept.text_zh, code=kept.code, params=kept.params, changes=tuple(kept.changes),  # type: ignore[arg-type]
        )
    code = Chosen.TAKEN_OUT if kept is None else Chosen.LEFT_OUT
    params = {"version": version}
    zh, en = chosen_texts(code, params)
    return Unserved(id=visit_id, reason=en, reason_zh=zh, code=code.value, params=params)  # type: ignore[arg-type]


def _unserved(plan_id: UUID, one: Unserved) -> UnservedRow:
    return UnservedRow(
        plan_id=plan_id, request_id=UUID(one.id), code=one.code, params=dict(one.params), text_zh=one.reason_zh, text_en=one.reason,
        changes=list(one.changes),
    )


def _copy(plan_id: UUID, one: UnservedRow) -> UnservedRow:
    return UnservedRow(
        plan_id=plan_id, request_id=one.request_id, code=one.code, params=one.params, text_zh=one.text_zh, text_en=one.text_en, changes=one.changes,
    )
