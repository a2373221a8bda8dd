"""Partners exchanged by a draw, on both engines: committed in the audit before the plan is known, sealed until published, provable afterwards."""

from datetime import datetime

import pytest
from sqlalchemy import select, text
from sqlalchemy.exc import DatabaseError
from sqlalchemy.orm import Session

from backend.audit.events import EventTag
from backend.audit.tables import AuditEntryRow
from backend.core.ids import PlanId, new_id
from backend.core.problems import Forbidden, NotFound
from backend.plans import draws
from backend.plans.tables import PlanDrawRow, PlanRow, RouteRow
from backend.plans.versions import replay_record
from backend.policies.tables import PolicyRow
from backend.visits import actions as visits
from routing import Limits, load_instance, load_plan, solve
from routing.swap import load_document, verify_in_full
from tests.support.cases import approved_request
from tests.support.visits import ordered_plan, solved_plan
from tests.support.world import World, shared_keyring, world
from tests.unit.routing.support_days import HOUR, day, visit

KEYRING = shared_keyring()


@pytest.fixture
def made(session: Session, now: datetime) -> World:
    made = world(session, KEYRING, now)
    for serial in (1, 2, 3):
        approved_request(session, KEYRING, made, serial)
    return made


def _policy(session: Session, made: World, pct: int) -> None:
    session.add(PolicyRow(
        id=new_id(), version=f"draws-{pct}", bank_id=None, valid_from=made.now, thresholds={"pair_swap_pct": pct}, made_by=made.oscar.id,
        made_at=made.now,
    ))
    session.flush()


def _told(session: Session, plan_id: PlanId, tag: EventTag) -> dict[str, object]:
    entry = session.scalars(select(AuditEntryRow).where(AuditEntryRow.subject == f"plan:{plan_id}", AuditEntryRow.tag == tag.value)).one()
    return dict(entry.details)


def test_who_may_not_read_plans_is_refused_and_another_branchs_draw_is_not_there(session: Session, made: World) -> None:
    plan_id = solved_plan(session, made)
    with pytest.raises(NotFound):
        draws.read_draw(session, made.yara.actor, plan_id)
    with pytest.raises((NotFound, Forbidden)):
        draws.read_draw(session, made.chen.actor, plan_id)


def test_without_a_policy_there_is_no_draw(session: Session, made: World) -> None:
    plan_id = solved_plan(session, made)
    assert draws.read_draw(session, made.farid.actor, plan_id).chance_pct == 0
    assert "draw_commitment" not in _told(session, plan_id, EventTag.PLAN_ORDERED)


def test_REQ_06_the_draw_is_committed_before_and_revealed_after_and_can_be_made_again(session: Session, made: World) -> None:
    _policy(session, made, 100)
    plan_id = solved_plan(session, made)
    sealed = draws.read_draw(session, made.farid.actor, plan_id)
    told = _told(session, plan_id, EventTag.PLAN_ORDERED)
    assert (sealed.commitment, sealed.chance_pct) == (told["draw_commitment"], told["draw_pct"])
    assert (sealed.document, sealed.base, sealed.revealed_at) == (None, None, None)
    visits.dispatch_plan(session, made.farid.actor, plan_id, made.now)
    revealed = draws.read_draw(session, made.farid.actor, plan_id)
    assert revealed.document is not None
    assert revealed.base is not None
    opened = _told(session, plan_id, EventTag.PLAN_PUBLISHED)
    assert (opened["draw_seed"], opened["draw_outcome"]) == (revealed.document["seed"], revealed.document["outcome"])
    row = session.get_one(PlanRow, plan_id)
    document, instance = load_document(revealed.document), load_instance(row.instance)
    assert verify_in_full(document, str(told["draw_commitment"]), instance, load_plan(revealed.base), load_plan(row.plan or {})) == ()
    sent = {frozenset((str(one.collector_a), str(one.collector_b))) for one in session.scalars(select(RouteRow).where(RouteRow.plan_id == plan_id))}
    assert sent == {frozenset(map(str, route.collectors)) for route in load_plan(row.plan or {}).routes}
    assert replay_record(session, made.farid.actor, plan_id)["plan_digest"] == document.base_digest


def test_REQ_06_partners_change_and_excluded_pairs_are_never_drawn(session: Session, made: World) -> None:
    _policy(session, made, 100)
    noon = [[11 * HOUR, 11 * HOUR + 1800]]
    doors = [visit(f"V{number}", f"p{number}", windows=noon if number < 2 else [[8 * HOUR, 16 * HOUR]]) for number in range(3)]
    free = load_instance(day(*doors))
    base = solve(free, Limits(iterations_max=3), seed=1)
    assert len(base.routes) == 2
    before = {frozenset(route.collectors) for route in base.routes}
    ordered = ordered_plan(session, made)
    drawn = draws.make_draw(session, ordered.id, free, base, None)
    formed = {frozenset(route.collectors) for route in drawn.routes}
    assert formed.isdisjoint(before)
    assert drawn.served() == base.served()
    barred = load_instance(day(*doors, pairing={**day()["pairing"], "conflicts": [sorted(pair) for pair in formed]}))
    again = draws.make_draw(session, ordered.id, barred, base, None)
    assert {frozenset(route.collectors) for route in again.routes}.isdisjoint(formed)
    document = load_document(session.get_one(PlanDrawRow, ordered.id).document or {})
    assert any("pair_conflict" in one.breaks for one in document.tried)


@pytest.mark.parametrize("statement", [
    "UPDATE plan_draws SET seed = commitment", "UPDATE plan_draws SET commitment = seed", "UPDATE plan_draws SET chance_pct = 1",
    "DELETE FROM plan_draws",
])
def test_a_draw_cannot_be_moved_afterwards(session: Session, made: World, statement: str) -> None:
    _policy(session, made, 100)
    solved_plan(session, made)
    with pytest.raises(DatabaseError), session.begin_nested():
        session.execute(text(statement))
