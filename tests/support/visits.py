"""Planned visits on top of the world: solved for real within a few iterations, published by farid, to be made by bilal and dong.

`planned_day` publishes one plan for some approved requests, `planned_visit` one for a single new case; `told` sends bilal and dong
through the door as far as asked.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from backend.auth.actors import Actor
from backend.core.ids import PlanId, VisitId
from backend.keys.keyring import Keyring
from backend.plans import actions as plans
from backend.plans.model import OrderPlan, PlanOrdered, PlanPublished
from backend.visits import actions, reports
from backend.visits.model import CheckIn, FactStored, Identity, OutcomeTold, Recoverability, Report, RightPartyCheck, StartVisit
from backend.visits.tables import VisitRow
from routing import Limits, encode_plan, load_instance, solve
from tests.support.cases import Approved, approved_request
from tests.support.world import Bank, World

PROMISE = {"amount_fen": 200_000, "promised_on": "2026-12-04", "is_confirmed": True}


@dataclass(frozen=True)
class Planned:
    """A published visit of bilal and dong."""

    visit_id: VisitId
    plan_id: PlanId
    approved: Approved

    def row(self, session: Session) -> VisitRow:
        """Return the visit as it stands."""
        return session.get_one(VisitRow, self.visit_id)


def ordered_plan(session: Session, made: World, *, on: date | None = None, seed: int = 1) -> PlanOrdered:
    """Order a plan of branch sh1 as farid."""
    return plans.order(session, made.farid.actor, OrderPlan(branch_id=made.sh1, on=on or made.today, search_s=5, seed=seed), made.now)


def solved_plan(session: Session, made: World, *, on: date | None = None) -> PlanId:
    """Order a plan and solve it in this process, without searching."""
    ordered = ordered_plan(session, made, on=on)
    claimed = plans.claim(session, ordered.id)
    assert claimed is not None
    solved = solve(load_instance(claimed.instance), Limits(search_s=claimed.search_s, iterations_max=0), seed=claimed.seed)
    plans.store(session, ordered.id, encode_plan(solved), made.now)
    return ordered.id


def planned_day(session: Session, made: World, *, on: date | None = None) -> PlanPublished:
    """Plan and publish whatever branch sh1 can serve."""
    return actions.dispatch_plan(session, made.farid.actor, solved_plan(session, made, on=on), made.now)


def planned_visit(session: Session, keyring: Keyring, made: World, serial: int = 1, *, bank: Bank | None = None, **changes: Any) -> Planned:
    """Take a new case to a published visit of today."""
    approved = approved_request(session, keyring, made, serial, bank=bank, **changes)
    published = planned_day(session, made)
    (stop,) = [stop for stop in published.stops if stop.request_id == approved.request_id]
    assert {stop.collector_a, stop.collector_b} == {made.bilal.id, made.dong.id}
    return Planned(stop.visit_id, published.id, approved)


def check_in(session: Session, keyring: Keyring, actor: Actor, planned: Planned, at: datetime, **changes: Any) -> FactStored:
    """Check one person in at the door."""
    values: dict[str, Any] = {"is_credential_worn": True, "identity_presented": Identity.AGENCY, "position": planned.approved.point, "accuracy_m": 12}
    return actions.check_in(session, actor, keyring, CheckIn(visit_id=planned.visit_id, at=at, **{**values, **changes}), at)


def checked_in(session: Session, keyring: Keyring, made: World, planned: Planned) -> None:
    """Check both in."""
    for person in (made.bilal, made.dong):
        check_in(session, keyring, person.on_phone, planned, made.now)


def started(session: Session, keyring: Keyring, made: World, planned: Planned, *, is_intent: bool = True) -> FactStored:
    """Check both in and start."""
    checked_in(session, keyring, made, planned)
    return actions.start(session, made.bilal.on_phone, StartVisit(visit_id=planned.visit_id, at=made.now, is_intent=is_intent), made.now)


def right_party(
    session: Session, made: World, planned: Planned, *, attempt: int = 1, is_match: bool = True, at: datetime | None = None
) -> FactStored:
    """Compare what the person at the door said."""
    moment = at or made.now
    command = RightPartyCheck(visit_id=planned.visit_id, at=moment, attempt=attempt, is_match=is_match)
    return actions.confirm_right_party(session, made.bilal.on_phone, command, moment)


def outcome(
    session: Session, keyring: Keyring, made: World, planned: Planned, code: str, fields: dict[str, Any] | None = None, *, minutes: int = 10
) -> FactStored:
    """Tell an outcome some minutes after the world's now."""
    at = made.now + timedelta(minutes=minutes)
    command = OutcomeTold(visit_id=planned.visit_id, at=at, code=code, fields=fields or {})
    return actions.record_outcome(session, made.bilal.on_phone, keyring, command, at)


def report(session: Session, keyring: Keyring, made: World, planned: Planned, *, minutes: int = 30, **changes: Any) -> FactStored:
    """Tell the report."""
    at = made.now + timedelta(minutes=minutes)
    values: dict[str, Any] = {
        "is_entered": False, "recoverability": Recoverability.PARTLY, "reasons": "has found work", "attitude": "calm",
        "delinquency_reason": "lost the job in spring", "financial_situation": "wages from December",
    }
    return reports.report(session, made.bilal.on_phone, keyring, Report(visit_id=planned.visit_id, at=at, **{**values, **changes}), at)


def visits_of(session: Session, plan_id: PlanId, published: PlanPublished) -> Sequence[VisitRow]:
    """Return the visits that a published plan made."""
    assert published.id == plan_id
    return session.scalars(select(VisitRow).where(VisitRow.id.in_([stop.visit_id for stop in published.stops])).order_by(VisitRow.id)).all()
