"""A running day planned anew on both engines: refusals first, then what stays, what goes, and what the phones are told."""

from dataclasses import replace
from datetime import datetime, timedelta

import msgspec
import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from backend.banks.hours import OfficeDay, set_office_days
from backend.cases import actions as cases
from backend.cases.model import SuspensionReason
from backend.core.fen import Fen
from backend.core.ids import PlanId, new_id
from backend.core.problems import Conflict, Forbidden, InvalidInput, NotFound
from backend.plans import actions as plans
from backend.plans import queries
from backend.plans.model import ClosedReport, LateReport, OrderReplan, PlanStatus
from backend.plans.tables import PlanRow
from backend.staff.tables import CredentialRow
from backend.visits import actions as visits
from backend.visits.model import VisitStatus
from backend.visits.replanning import replan_day
from backend.visits.tables import VisitRow
from routing import Limits, StopType, encode_plan, load_instance, load_plan, solve
from tests.support.cases import approved_request
from tests.support.visits import Planned, planned_day, planned_visit, solved_plan, started
from tests.support.world import World, shared_keyring, world

KEYRING = shared_keyring()


@pytest.fixture
def made(session: Session, now: datetime) -> World:
    return world(session, KEYRING, now)


def _solved(session: Session, made: World, plan_id: PlanId) -> None:
    claimed = plans.claim(session, plan_id)
    assert claimed is not None
    assert claimed.start is not None
    solved = solve(load_instance(claimed.instance), Limits(search_s=9, iterations_max=0), seed=claimed.seed, start=load_plan(claimed.start))
    plans.store(session, plan_id, encode_plan(solved), made.now)
    assert session.get_one(PlanRow, plan_id).status is PlanStatus.READY


def _replan(session: Session, made: World, planned: Planned, **events: object) -> PlanId:
    ordered = replan_day(session, made.farid.actor, OrderReplan(plan_id=planned.plan_id, **events), made.now)  # type: ignore[arg-type]
    _solved(session, made, ordered.id)
    return ordered.id


def test_who_may_not_plan_is_refused_and_another_branchs_day_is_not_there(session: Session, made: World) -> None:
    planned = planned_visit(session, KEYRING, made, 1)
    command = OrderReplan(plan_id=planned.plan_id)
    with pytest.raises(Forbidden):
        replan_day(session, made.hana.actor, command, made.now)
    with pytest.raises(NotFound):
        replan_day(session, made.yara.actor, command, made.now)
    with pytest.raises(NotFound):
        replan_day(session, made.farid.actor, OrderReplan(plan_id=PlanId(new_id())), made.now)


def test_only_the_published_plan_of_a_day_that_runs_is_replanned(session: Session, made: World) -> None:
    approved_request(session, KEYRING, made, 1)
    with pytest.raises(Conflict):
        replan_day(session, made.farid.actor, OrderReplan(plan_id=solved_plan(session, made)), made.now)
    published = planned_day(session, made)
    with pytest.raises(Conflict):
        replan_day(session, made.farid.actor, OrderReplan(plan_id=published.id), made.now + timedelta(days=1))


@pytest.mark.parametrize("key", ["sick", "urgent"])
def test_an_event_about_nobody_of_the_day_is_refused(session: Session, made: World, key: str) -> None:
    planned = planned_visit(session, KEYRING, made, 1)
    with pytest.raises((Conflict, InvalidInput)):
        replan_day(session, made.farid.actor, OrderReplan(plan_id=planned.plan_id, **{key: (new_id(),)}), made.now)  # type: ignore[arg-type]


def test_REQ_09_a_visit_that_has_begun_stays_and_the_rest_is_dispatched_anew(session: Session, made: World) -> None:
    approved_request(session, KEYRING, made, 2)
    planned = planned_visit(session, KEYRING, made, 1)
    started(session, KEYRING, made, planned)
    plan_id = _replan(session, made, planned)
    whole = load_plan(session.get_one(PlanRow, plan_id).plan or {})
    assert {str(one) for one in whole.served()} >= {str(planned.approved.request_id)}
    published = visits.dispatch_plan(session, made.farid.actor, plan_id, made.now)
    assert planned.approved.request_id not in {stop.request_id for stop in published.stops}
    assert planned.row(session).status is VisitStatus.STARTED
    alive = session.scalars(select(VisitRow).where(VisitRow.status != VisitStatus.CANCELLED)).all()
    assert len({one.request_id for one in alive}) == len(alive) == 2


def test_DECL_01_a_withdrawn_case_leaves_the_day_without_being_named(session: Session, made: World) -> None:
    approved_request(session, KEYRING, made, 2)
    planned = planned_visit(session, KEYRING, made, 1)
    cases.suspend(session, made.amina.actor, planned.approved.case.id, SuspensionReason.DENIES_SPENDING, made.now)
    plan_id = _replan(session, made, planned)
    moves = queries.moves(session, made.farid.actor, plan_id)
    dropped = [one for one in moves if one.subject == str(planned.approved.request_id)]
    assert [(one.kind, one.cause) for one in dropped] == [("visit_dropped", "withdrawn")]
    assert dropped[0].text_zh
    assert dropped[0].text_en
    with pytest.raises(NotFound):
        queries.moves(session, made.yara.actor, plan_id)
    published = visits.dispatch_plan(session, made.farid.actor, plan_id, made.now)
    assert planned.approved.request_id not in {stop.request_id for stop in published.stops}
    assert planned.row(session).status is VisitStatus.CANCELLED


def test_an_urgent_request_joins_the_running_day(session: Session, made: World) -> None:
    planned = planned_visit(session, KEYRING, made, 1)
    urgent = approved_request(session, KEYRING, made, 2)
    plan_id = _replan(session, made, planned, urgent=(urgent.request_id,))
    (move,) = [one for one in queries.moves(session, made.farid.actor, plan_id) if one.subject == str(urgent.request_id)]
    assert (move.kind, move.cause) == ("visit_added", "urgent")
    published = visits.dispatch_plan(session, made.farid.actor, plan_id, made.now)
    assert urgent.request_id in {stop.request_id for stop in published.stops}


def test_a_sick_collector_visits_nobody_more(session: Session, made: World) -> None:
    planned = planned_visit(session, KEYRING, made, 1)
    plan_id = _replan(session, made, planned, sick=(made.bilal.id,))
    plan = load_plan(session.get_one(PlanRow, plan_id).plan or {})
    assert all(str(made.bilal.id) not in route.collectors for route in plan.routes)
    assert {one.cause for one in queries.moves(session, made.farid.actor, plan_id)} == {"collector_sick"}


def test_a_late_pair_keeps_its_visit_for_later(session: Session, made: World) -> None:
    planned = planned_visit(session, KEYRING, made, 1)
    late = LateReport(collector_a=made.bilal.id, collector_b=made.dong.id, free_at=made.now + timedelta(hours=1))
    plan_id = _replan(session, made, planned, late=(late,))
    plan = load_plan(session.get_one(PlanRow, plan_id).plan or {})
    instance = load_instance(msgspec.json.decode(msgspec.json.encode(session.get_one(PlanRow, plan_id).instance)))
    assert instance.now is not None
    assert all((stop.start or 0) >= instance.now + 3600 for route in plan.routes for stop in route.stops)


def after(planned: Planned, plan_id: PlanId) -> Planned:
    return replace(planned, plan_id=plan_id)


CASH = {"cash_expected_fen": Fen(300_000)}


def deposits(session: Session, plan_id: PlanId) -> set[str]:
    plan = load_plan(session.get_one(PlanRow, plan_id).plan or {})
    return {str(stop.bank) for route in plan.routes for stop in route.stops if stop.type is StopType.DEPOSIT}


def banks_of(session: Session, plan_id: PlanId) -> dict[str, tuple[int, int]]:
    return {one.id: (one.open, one.close) for one in load_instance(session.get_one(PlanRow, plan_id).instance).banks}


def test_CASH_06_an_urgent_visit_brings_the_offices_of_its_bank_into_a_day_without_cash(session: Session, made: World) -> None:
    planned = planned_visit(session, KEYRING, made, 1)
    assert banks_of(session, planned.plan_id) == {}
    urgent = approved_request(session, KEYRING, made, 2, request=CASH)
    plan_id = _replan(session, made, planned, urgent=(urgent.request_id,))
    (move,) = [one for one in queries.moves(session, made.farid.actor, plan_id) if one.subject == str(urgent.request_id)]
    assert (move.kind, move.unserved) == ("visit_added", "")
    assert deposits(session, plan_id) == {str(made.bank_a.office_id)}
    published = visits.dispatch_plan(session, made.farid.actor, plan_id, made.now)
    assert urgent.request_id in {stop.request_id for stop in published.stops}


def test_CASH_06_an_urgent_visit_brings_its_banks_offices_beside_another_banks(session: Session, made: World) -> None:
    for person in (made.bilal, made.dong):
        session.add(CredentialRow(
            id=new_id(), staff_id=person.id, bank_id=made.bank_b.id, number=f"B-{person.name}", valid_from_on=made.today, valid_to_on=made.today))
    planned = planned_visit(session, KEYRING, made, 1, request=CASH)
    urgent = approved_request(session, KEYRING, made, 2, bank=made.bank_b, request=CASH)
    plan_id = _replan(session, made, planned, urgent=(urgent.request_id,))
    assert deposits(session, plan_id) == {str(made.bank_a.office_id), str(made.bank_b.office_id)}
    visits.dispatch_plan(session, made.farid.actor, plan_id, made.now)


def test_CASH_06_an_office_takes_nothing_beyond_todays_calendar_nor_after_it_was_reported_closed(session: Session, made: World) -> None:
    planned = planned_visit(session, KEYRING, made, 1, request={**CASH, "window_from_s": 36_900, "window_to_s": 39_600})
    office = made.bank_a.office_id
    noon = OfficeDay(on=made.today, opens_s=9 * 3600, closes_s=12 * 3600)
    set_office_days(session, made.oscar.actor, office, [noon], made.now)
    early = _replan(session, made, planned)
    assert banks_of(session, early) == {str(office): (9 * 3600, 12 * 3600)}
    visits.dispatch_plan(session, made.farid.actor, early, made.now)
    told = ClosedReport(office_id=office, from_at=made.now + timedelta(minutes=90))
    closed = _replan(session, made, after(planned, early), closed=(told,))
    visits.dispatch_plan(session, made.farid.actor, closed, made.now)
    later = _replan(session, made, after(planned, closed))
    assert banks_of(session, later) == {str(office): (9 * 3600, 41_400)}
    shut = OfficeDay(on=made.today, opens_s=None, closes_s=None)
    set_office_days(session, made.oscar.actor, office, [shut], made.now)
    visits.dispatch_plan(session, made.farid.actor, later, made.now)
    gone = _replan(session, made, after(planned, later))
    assert banks_of(session, gone) == {str(office): (0, 0)}
    assert deposits(session, later) == {str(office)}
    assert deposits(session, gone) == set()
    assert load_plan(session.get_one(PlanRow, gone).plan or {}).served() == frozenset()
