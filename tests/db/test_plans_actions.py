"""Ordering, solving and publishing a day on both engines; refusals first."""

from datetime import datetime, timedelta
from uuid import UUID

import msgspec
import pytest
from sqlalchemy import insert, select, update
from sqlalchemy.exc import DatabaseError, IntegrityError
from sqlalchemy.orm import Session, sessionmaker

from backend.audit.events import EventTag
from backend.audit.tables import AuditEntryRow
from backend.cases import actions as cases
from backend.cases.model import SuspensionReason
from backend.cases.tables import CaseAddressRow
from backend.core.fen import Fen
from backend.core.ids import BranchId, PlanId, new_id
from backend.core.problems import Forbidden, IllegalTransition, InvalidInput, NotFound
from backend.core.rulebook import Rule, RulesBreached
from backend.jobs.threads import ThreadQueue
from backend.plans import actions as plans
from backend.plans import queries, versions
from backend.plans.model import OrderPlan, PlanStatus, StopKind
from backend.plans.tables import PlanRow, RouteRow, StopRow, UnservedRow
from backend.plans.tasks import SOLVE, tasks
from backend.policies.tables import PolicyRow
from backend.requests.actions import withdraw
from backend.staff.tables import CredentialRow, EquipmentRow, PairConflictRow, QualificationRow, StaffRow, WorkdayRow
from backend.visits import actions as visits
from backend.visits.model import VisitStatus
from backend.visits.tables import VisitRow
from tests.support.cases import approved_request
from tests.support.visits import ordered_plan, planned_day, planned_visit, solved_plan
from tests.support.world import World, shared_keyring, world

KEYRING = shared_keyring()


@pytest.fixture
def made(session: Session, now: datetime) -> World:
    return world(session, KEYRING, now)


def rules(refusal: RulesBreached) -> set[Rule]:
    return {breach.rule for breach in refusal.breaches}


def test_who_may_not_plan_is_refused_and_another_branch_is_not_there(session: Session, made: World) -> None:
    command = OrderPlan(branch_id=made.sh1, on=made.today, search_s=1, seed=0)
    with pytest.raises(Forbidden):
        plans.order(session, made.hana.actor, command, made.now)
    with pytest.raises(NotFound):
        plans.order(session, made.yara.actor, command, made.now)
    with pytest.raises(NotFound):
        plans.order(session, made.farid.actor, msgspec.structs.replace(command, branch_id=BranchId(new_id())), made.now)
    with pytest.raises(InvalidInput):
        plans.order(session, made.farid.actor, msgspec.structs.replace(command, on=made.today - timedelta(days=1)), made.now)


def test_another_branchs_plan_is_not_there(session: Session, made: World) -> None:
    plan_id = solved_plan(session, made)
    for person in (made.yara, made.chen, made.lin):
        with pytest.raises((NotFound, Forbidden)):
            queries.plan(session, person.actor, plan_id)
    with pytest.raises(NotFound):
        queries.plan(session, made.yara.actor, plan_id)
    with pytest.raises(NotFound):
        visits.dispatch_plan(session, made.yara.actor, plan_id, made.now)
    with pytest.raises(Forbidden):
        visits.dispatch_plan(session, made.bilal.actor, plan_id, made.now)


def test_a_plan_is_published_once_and_only_when_it_is_ready(session: Session, made: World) -> None:
    approved_request(session, KEYRING, made)
    with pytest.raises(IllegalTransition):
        visits.dispatch_plan(session, made.farid.actor, ordered_plan(session, made).id, made.now)
    plan_id = solved_plan(session, made)
    visits.dispatch_plan(session, made.farid.actor, plan_id, made.now)
    with pytest.raises(IllegalTransition):
        visits.dispatch_plan(session, made.farid.actor, plan_id, made.now)


def refused_publication(session: Session, made: World) -> set[Rule]:
    plan_id = session.scalars(select(PlanRow.id)).one()
    session.flush()
    session.expire_all()
    with pytest.raises(RulesBreached) as refusal:
        visits.dispatch_plan(session, made.farid.actor, PlanId(plan_id), made.now)
    assert session.scalars(select(VisitRow)).all() == []
    return rules(refusal.value)


@pytest.fixture
def solved(session: Session, made: World) -> PlanId:
    approved_request(session, KEYRING, made)
    return solved_plan(session, made)


def test_VIS_01_a_plan_with_somebody_who_left_is_not_published(session: Session, made: World, solved: PlanId) -> None:
    session.execute(update(StaffRow).where(StaffRow.id == made.dong.id).values(is_active=False, left_on=made.today))
    assert Rule.VIS_01 in refused_publication(session, made)


def test_VIS_01_a_pair_excluded_meanwhile_is_not_published(session: Session, made: World, solved: PlanId) -> None:
    session.add(PairConflictRow(a=min(made.bilal.id, made.dong.id), b=max(made.bilal.id, made.dong.id)))
    assert refused_publication(session, made) == {Rule.VIS_01}


def test_VIS_04_EVD_04_a_plan_whose_recorder_failed_its_inspection_is_not_published(session: Session, made: World, solved: PlanId) -> None:
    session.execute(update(EquipmentRow).values(is_passed=False))
    assert refused_publication(session, made) == {Rule.EVD_04}


def test_VIS_06_a_plan_whose_credential_was_revoked_is_not_published(session: Session, made: World, solved: PlanId) -> None:
    session.execute(update(CredentialRow).where(CredentialRow.staff_id == made.dong.id).values(revoked_at=made.now))
    assert refused_publication(session, made) == {Rule.VIS_06}


def test_TEAM_01_a_plan_with_an_unqualified_member_is_not_published(session: Session, made: World, solved: PlanId) -> None:
    session.execute(update(QualificationRow).where(QualificationRow.staff_id == made.dong.id).values(valid_to_on=made.today - timedelta(days=1)))
    assert refused_publication(session, made) == {Rule.TEAM_01}


def test_REQ_09_a_plan_with_somebody_who_is_absent_is_not_published(session: Session, made: World, solved: PlanId) -> None:
    session.execute(update(WorkdayRow).where(WorkdayRow.staff_id == made.dong.id).values(is_available=False))
    assert refused_publication(session, made) == {Rule.REQ_09}


def test_REQ_03_a_plan_whose_request_was_withdrawn_is_not_published(session: Session, made: World, solved: PlanId) -> None:
    withdraw(session, made.amina.actor, session.scalars(select(StopRow.request_id).where(StopRow.request_id.is_not(None))).one(), made.now)
    assert refused_publication(session, made) == {Rule.REQ_03}


def test_VIS_10_a_plan_outside_hours_that_were_narrowed_is_not_published(session: Session, made: World, solved: PlanId) -> None:
    session.add(PolicyRow(
        id=new_id(), version="evenings", bank_id=None, valid_from=made.now, thresholds={"hours_from_s": 18 * 3600, "hours_to_s": 20 * 3600},
        made_by=made.oscar.id, made_at=made.now,
    ))
    assert refused_publication(session, made) == {Rule.VIS_10}


def test_REQ_04_a_stop_moved_behind_our_back_is_not_published(session: Session, made: World, solved: PlanId) -> None:
    plan = session.get_one(PlanRow, solved)
    moved = msgspec.json.decode(msgspec.json.encode(plan.plan))
    moved["routes"][0]["stops"][0].update(start=80_000, end=81_500)
    plan.plan = moved
    assert refused_publication(session, made) == {Rule.REQ_04}


def test_REQ_03_only_approved_requests_enter_and_the_others_get_their_reason(session: Session, made: World) -> None:
    good = approved_request(session, KEYRING, made, 1)
    suspended = approved_request(session, KEYRING, made, 2)
    cases.suspend(session, made.amina.actor, suspended.case.id, SuspensionReason.DISPUTES_AMOUNT, made.now)
    unpinned = approved_request(session, KEYRING, made, 3)
    session.execute(update(CaseAddressRow).where(CaseAddressRow.case_id == unpinned.case.id).values(point=None, datum_given=None))
    uncredentialled = approved_request(session, KEYRING, made, 4, bank=made.bank_b)
    session.expire_all()
    plan_id = solved_plan(session, made)
    view = queries.plan(session, made.farid.actor, plan_id)
    assert [stop.request_id for route in view.routes for stop in route.stops] == [good.request_id]
    assert {one.request_id: one.code for one in view.unserved} == {
        suspended.request_id: "suspended", unpinned.request_id: "needs-pin", uncredentialled.request_id: "no-credential",
    }
    assert all(one.text_zh and one.text_en for one in view.unserved)


def test_REQ_04_a_published_plan_names_pair_day_cases_and_order(session: Session, made: World) -> None:
    wanted = {approved_request(session, KEYRING, made, serial, lon=f"121.4{serial}").request_id for serial in (1, 2, 3)}
    published = planned_day(session, made)
    view = queries.plan(session, made.farid.actor, published.id)
    (route,) = view.routes
    assert {route.collector_a, route.collector_b} == {made.bilal.id, made.dong.id}
    assert [stop.position for stop in route.stops] == [1, 2, 3]
    assert {stop.request_id for stop in route.stops} == wanted
    assert all(earlier.ends_at <= later.arrives_at for earlier, later in zip(route.stops, route.stops[1:], strict=False))
    rows = session.scalars(select(VisitRow)).all()
    assert {row.request_id for row in rows} == wanted
    assert {(row.status, row.on, row.version) for row in rows} == {(VisitStatus.DISPATCHED, made.today, 1)}
    tags = set(session.scalars(select(AuditEntryRow.tag).where(AuditEntryRow.subject == f"plan:{published.id}")))
    assert tags == {tag.value for tag in (EventTag.PLAN_ORDERED, EventTag.PLAN_SOLVED, EventTag.PLAN_PUBLISHED, EventTag.VISIT_DISPATCHED)}


def test_CASH_06_expected_cash_is_followed_by_a_deposit_at_an_office_of_its_bank(session: Session, made: World) -> None:
    approved_request(session, KEYRING, made, 1, request={"cash_expected_fen": Fen(300_000)})
    view = queries.plan(session, made.farid.actor, planned_day(session, made).id)
    assert [stop.kind for stop in view.routes[0].stops] == [StopKind.VISIT, StopKind.DEPOSIT]
    assert view.routes[0].stops[1].office_id == made.bank_a.office_id


def test_CASH_08_of_a_banks_money_no_more_is_carried_than_its_own_policy_allows(session: Session, made: World) -> None:
    session.add(PolicyRow(
        id=new_id(), version="bank-a-strict", bank_id=made.bank_a.id, valid_from=made.now, thresholds={"carry_limit_fen": 299_999},
        made_by=made.oscar.id, made_at=made.now,
    ))
    approved = approved_request(session, KEYRING, made, 1, request={"cash_expected_fen": Fen(300_000)})
    view = queries.plan(session, made.farid.actor, solved_plan(session, made))
    assert [(one.request_id, one.code, one.params["carry_limit_fen"]) for one in view.unserved] == [
        (approved.request_id, "cash_not_depositable", 299_999),
    ]


def test_REQ_09_a_pairs_break_is_a_stop_of_its_route_and_of_the_comparison(session: Session, made: World) -> None:
    for serial, opens in ((1, 9), (2, 14), (3, 15)):
        approved_request(
            session, KEYRING, made, serial, lon=f"121.4{serial}", request={"window_from_s": opens * 3600, "window_to_s": opens * 3600 + 3600},
        )
    without = solved_plan(session, made)
    session.add(PolicyRow(
        id=new_id(), version="breaks", bank_id=None, valid_from=made.now,
        thresholds={"break_s": 3600, "break_from_s": 11 * 3600, "break_until_s": 12 * 3600}, made_by=made.oscar.id, made_at=made.now,
    ))
    plan_id = solved_plan(session, made)
    (route,) = queries.plan(session, made.farid.actor, plan_id).routes
    (pause,) = [stop for stop in route.stops if stop.kind is StopKind.PAUSE]
    assert (pause.ends_at - pause.starts_at).total_seconds() == 3600
    assert (pause.visit_id, pause.request_id, pause.case_id, pause.office_id, pause.withdrawn) == (None,) * 5
    assert [stop.position for stop in route.stops] == [1, 2, 3, 4]
    neighbours = [stop.place for stop in route.stops if abs(stop.position - pause.position) == 1]
    assert pause.place in neighbours
    compared = versions.compare(session, made.farid.actor, without, plan_id)
    (rests,) = compared.pauses
    assert (rests.before, len(rests.after)) == ((), 1)
    assert rests.after[0][1] - rests.after[0][0] == 3600
    visits.dispatch_plan(session, made.farid.actor, plan_id, made.now)
    found = queries.published_route(session, made.bilal.id, made.today)
    assert found is not None
    assert [stop.kind for stop in found[1].stops].count(StopKind.PAUSE) == 1


def test_a_pause_that_names_a_visit_or_an_office_cannot_be_stored(session: Session, made: World) -> None:
    planned = planned_visit(session, KEYRING, made, 1)
    stop = session.scalars(select(StopRow).where(StopRow.visit_id == planned.visit_id)).one()
    for wrong in ({"case_id": stop.case_id}, {"bank_hours_id": made.bank_a.office_id}, {"visit_id": new_id()}):
        row = {"id": new_id(), "route_id": stop.route_id, "position": 9, "arrives_at": made.now, "starts_at": made.now, "ends_at": made.now, **wrong}
        with pytest.raises(IntegrityError, match="visit_deposit_or_pause"), session.begin_nested():
            session.execute(insert(StopRow).values(kind=StopKind.PAUSE, **row))


def test_REQ_09_a_new_version_supersedes_the_old_one_and_its_visits(session: Session, made: World) -> None:
    first = planned_visit(session, KEYRING, made, 1)
    second = planned_day(session, made)
    assert session.get_one(PlanRow, first.plan_id).status is PlanStatus.SUPERSEDED
    assert first.row(session).status is VisitStatus.CANCELLED
    (stop,) = second.stops
    assert session.get_one(VisitRow, stop.visit_id).version == 2 == second.version
    assert second.superseded_id == first.plan_id


def test_DECL_01_a_suspension_pulls_the_stop_from_the_published_route_by_itself(session: Session, made: World) -> None:
    planned = planned_visit(session, KEYRING, made, 1)
    stop_id = planned.row(session).stop_id
    assert queries.open_stops(session, [stop_id], made.today) == {stop_id}
    cases.suspend(session, made.amina.actor, planned.approved.case.id, SuspensionReason.DENIES_SPENDING, made.now)
    assert queries.open_stops(session, [stop_id], made.today) == frozenset()
    found = queries.published_route(session, made.bilal.id, made.today)
    assert found is not None
    assert [stop.withdrawn for stop in found[1].stops] == ["suspended"]


def test_BANK_03_a_recall_pulls_the_stop_too(session: Session, made: World) -> None:
    planned = planned_visit(session, KEYRING, made, 1)
    cases.recall(session, made.gu.actor, planned.approved.case.id, made.now)
    assert queries.withdrawals(session, [planned.approved.request_id], made.today) == {planned.approved.request_id: "recalled"}


def test_a_faulted_solution_is_a_failure_and_never_kept(session: Session, made: World) -> None:
    approved_request(session, KEYRING, made, 1)
    ordered = ordered_plan(session, made)
    assert plans.claim(session, ordered.id) is not None
    instance = session.get_one(PlanRow, ordered.id).instance
    lonely = {"schema": "fieldday-plan/1", "instance": instance["name"], "unserved": [], "routes": [
        {"collectors": [str(made.bilal.id)], "stops": [{"type": "visit", "id": instance["visits"][0]["id"]}]},
    ]}
    plans.store(session, ordered.id, msgspec.json.encode(lonely), made.now)
    row = session.get_one(PlanRow, ordered.id)
    assert (row.status, row.plan, row.failure) == (PlanStatus.FAILED, None, "not clean: pair_size, unserved_list")


def test_a_doubled_or_late_answer_changes_nothing(session: Session, made: World) -> None:
    plan_id = solved_plan(session, made)
    before = session.get_one(PlanRow, plan_id).plan_digest
    assert plans.claim(session, plan_id) is None
    plans.store(session, plan_id, b"{}", made.now)
    plans.fail(session, plan_id, "late", made.now)
    row = session.get_one(PlanRow, plan_id)
    assert (row.status, row.plan_digest, row.failure) == (PlanStatus.READY, before, None)


@pytest.mark.parametrize("table", [RouteRow, StopRow, UnservedRow])
def test_what_was_solved_cannot_be_changed(session: Session, made: World, table: type[RouteRow | StopRow | UnservedRow]) -> None:
    approved_request(session, KEYRING, made, 1)
    approved_request(session, KEYRING, made, 2, bank=made.bank_b)
    solved_plan(session, made)
    session.flush()
    for statement in (f"UPDATE {table.__tablename__} SET {'number = 9' if table is RouteRow else 'position = 9' if table is StopRow else 'code = 9'}",
                      f"DELETE FROM {table.__tablename__}"):
        with pytest.raises(DatabaseError), session.begin_nested():
            session.connection().exec_driver_sql(statement)


def test_the_queue_solves_in_a_process_of_its_own_and_finds_what_a_crash_left(sessions: sessionmaker[Session], now: datetime) -> None:
    with sessions.begin() as session:
        made = world(session, KEYRING, now)
        approved_request(session, KEYRING, made, 1)
        ordered = plans.order(session, made.farid.actor, OrderPlan(branch_id=made.sh1, on=made.today, search_s=1, seed=3), now)
        assert plans.claim(session, ordered.id) is not None          # A worker took it up, and the machine died.
    queue = ThreadQueue(tasks(sessions, lambda: now))
    assert queue.start() == 1
    queue.put(SOLVE, ordered.id)
    queue.wait_idle(120)
    queue.stop()
    with sessions() as session:
        row = session.get_one(PlanRow, ordered.id)
        assert (row.status, row.failure) == (PlanStatus.READY, None)
        assert row.contributions
        assert queries.unfinished(session) == ()


def test_an_instance_that_no_solver_reads_is_a_failure_with_its_reason(sessions: sessionmaker[Session], now: datetime) -> None:
    with sessions.begin() as session:
        made = world(session, KEYRING, now)
        plan_id: UUID = new_id()
        session.add(PlanRow(
            id=plan_id, branch_id=made.sh1, on=made.today, version=1, status=PlanStatus.QUEUED, seed=0, search_s=1, policy_version="default-1",
            instance={"name": "broken"}, instance_digest="0" * 64, requested_by=made.farid.id, requested_at=now,
        ))
    queue = ThreadQueue(tasks(sessions, lambda: now))
    queue.start()
    queue.wait_idle(120)
    queue.stop()
    with sessions() as session:
        row = session.get_one(PlanRow, plan_id)
        assert row.status is PlanStatus.FAILED
        assert row.failure is not None
        assert "InstanceError" in row.failure
