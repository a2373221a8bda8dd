"""Searches watched, ended and resumed; versions compared and changed by hand; on both engines, refusals first."""

import os
import signal
import threading
from datetime import datetime, timedelta
from typing import Any

import msgspec
import pytest
from sqlalchemy import select
from sqlalchemy.exc import DatabaseError
from sqlalchemy.orm import Session, sessionmaker

from backend.audit.events import EventTag
from backend.audit.tables import AuditEntryRow
from backend.cases import actions as cases
from backend.cases.model import SuspensionReason
from backend.core.ids import PlanId
from backend.core.problems import Conflict, Forbidden, IllegalTransition, NotFound
from backend.core.rulebook import Rule, RulesBreached
from backend.plans import actions as plans
from backend.plans import queries, runs, versions
from backend.plans.edits import Edit, RemoveVisit
from backend.plans.model import Ending, EndingAsked, OrderPlan, PlanStatus
from backend.plans.solvers import Solvers
from backend.plans.tables import PlanChangeRow, PlanRow, PlanRunRow
from backend.plans.tasks import SOLVE, tasks
from backend.plans.versions import ChangePlan
from backend.visits import actions as visits
from routing import SolverDied, SolverProcess, load_record, plan_digest, replay
from tests.support.cases import approved_request
from tests.support.visits import ordered_plan, solved_plan
from tests.support.world import World, shared_keyring, world

KEYRING = shared_keyring()


@pytest.fixture
def made(session: Session, now: datetime) -> World:
    return world(session, KEYRING, now)


def edits(*told: dict[str, Any]) -> tuple[Edit, ...]:
    return tuple(msgspec.convert(list(told), list[Edit]))


@pytest.fixture
def solved(session: Session, made: World) -> PlanId:
    for serial in (1, 2, 3):
        approved_request(session, KEYRING, made, serial, lon=f"121.4{serial}")
    return solved_plan(session, made)


def stops(session: Session, made: World, plan_id: PlanId) -> list[Any]:
    return [stop.request_id for route in queries.plan(session, made.farid.actor, plan_id).routes for stop in route.stops]


def test_who_may_not_plan_ends_and_changes_nothing(session: Session, made: World, solved: PlanId) -> None:
    command = ChangePlan(plan_id=solved, edits=edits({"do": "remove", "requestId": str(stops(session, made, solved)[0])}))
    for refused, actor in ((Forbidden, made.hana.actor), (NotFound, made.yara.actor)):
        with pytest.raises(refused):
            runs.ask_ending(session, actor, solved, EndingAsked.CANCEL, made.now)
        with pytest.raises(refused):
            versions.change(session, actor, command, made.now)
        with pytest.raises(refused):
            versions.judge_change(session, actor, command)
    with pytest.raises(NotFound):
        versions.compare(session, made.yara.actor, solved, solved)
    with pytest.raises(NotFound):
        versions.replay_record(session, made.yara.actor, solved)


def test_what_is_solved_is_not_cancelled_and_what_waits_is_not_finished(session: Session, made: World, solved: PlanId) -> None:
    for asked in EndingAsked:
        with pytest.raises(IllegalTransition):
            runs.ask_ending(session, made.farid.actor, solved, asked, made.now)
    with pytest.raises(IllegalTransition):
        runs.ask_ending(session, made.farid.actor, ordered_plan(session, made).id, EndingAsked.FINISH, made.now)


def test_a_waiting_order_is_cancelled_at_once_and_twice_changes_nothing(session: Session, made: World) -> None:
    ordered = ordered_plan(session, made)
    for _ in range(2):
        assert runs.ask_ending(session, made.farid.actor, ordered.id, EndingAsked.CANCEL, made.now) is PlanStatus.CANCELLED
    assert plans.claim(session, ordered.id) is None
    assert queries.unfinished(session) == ()
    with pytest.raises(IllegalTransition):
        visits.dispatch_plan(session, made.farid.actor, ordered.id, made.now)
    told = session.scalars(select(AuditEntryRow.tag).where(AuditEntryRow.subject == f"plan:{ordered.id}")).all()
    assert told.count(EventTag.PLAN_ENDING_ASKED.value) == 1


def test_only_a_ready_version_is_discarded_and_twice_changes_nothing(session: Session, made: World, solved: PlanId) -> None:
    for refused, actor in ((Forbidden, made.hana.actor), (NotFound, made.yara.actor)):
        with pytest.raises(refused):
            runs.discard(session, actor, solved, made.now)
    with pytest.raises(IllegalTransition):
        runs.discard(session, made.farid.actor, ordered_plan(session, made).id, made.now)
    for _ in range(2):
        assert runs.discard(session, made.farid.actor, solved, made.now) is PlanStatus.CANCELLED
    with pytest.raises(IllegalTransition):
        visits.dispatch_plan(session, made.farid.actor, solved, made.now)
    told = session.scalars(select(AuditEntryRow.tag).where(AuditEntryRow.subject == f"plan:{solved}")).all()
    assert told.count(EventTag.PLAN_DISCARDED.value) == 1


def ordered_for_real(sessions: sessionmaker[Session], now: datetime, search_s: int) -> tuple[World, PlanId]:
    with sessions.begin() as session:
        made = world(session, KEYRING, now)
        for serial in range(1, 9):
            approved_request(session, KEYRING, made, serial, lon=f"121.4{serial}")
        command = OrderPlan(branch_id=made.sh1, on=made.today, search_s=search_s, seed=1)
        return made, plans.order(session, made.farid.actor, command, now).id


def run(sessions: sessionmaker[Session], now: datetime, solvers: Solvers, plan_id: PlanId) -> threading.Thread:
    """Solve in a thread, as a queue does, and return when the first plan has been seen outside."""
    task = next(one for one in tasks(sessions, lambda: now, solvers) if one.name == SOLVE)
    thread = threading.Thread(target=task.run, args=(plan_id,))
    thread.start()
    while thread.is_alive():
        with sessions() as session:
            seen = session.scalar(select(PlanRunRow.cost).where(PlanRunRow.plan_id == plan_id))
        if seen is not None:
            break
        thread.join(0.1)
    return thread


@pytest.mark.slow
@pytest.mark.parametrize(("asked", "status"), [(EndingAsked.CANCEL, PlanStatus.CANCELLED), (EndingAsked.FINISH, PlanStatus.READY)])
def test_a_search_under_way_shows_its_progress_and_ends_when_it_is_asked(
    sessions: sessionmaker[Session], now: datetime, asked: EndingAsked, status: PlanStatus
) -> None:
    made, plan_id = ordered_for_real(sessions, now, 120)
    solvers = Solvers()
    thread = run(sessions, now, solvers, plan_id)
    with sessions.begin() as session:
        view = queries.plan(session, made.farid.actor, plan_id)
        assert view.run is not None
        assert (view.summary.status, view.run.claimed_by.endswith(f":{os.getpid()}")) == (PlanStatus.SOLVING, True)
        assert view.run.served
        assert view.run.engine
        assert view.run.elapsed_s is not None
        assert runs.ask_ending(session, made.farid.actor, plan_id, asked, now) is PlanStatus.SOLVING
    thread.join(60)
    solvers.close()
    assert not thread.is_alive()
    with sessions() as session:
        view = queries.plan(session, made.farid.actor, plan_id)
        assert view.run is not None
        assert (view.summary.status, view.run.ending) == (status, Ending.CANCELLED)
        assert bool(view.routes) == (status is PlanStatus.READY)


@pytest.mark.slow
def test_a_solver_that_is_killed_leaves_a_whole_plan_with_reasons(sessions: sessionmaker[Session], now: datetime) -> None:
    made, plan_id = ordered_for_real(sessions, now, 120)
    solvers = Solvers()
    with solvers.lend() as solver:
        pid = solver.pid
    thread = run(sessions, now, solvers, plan_id)
    os.kill(pid, signal.SIGKILL)
    thread.join(60)
    solvers.close()
    with sessions() as session:
        view = queries.plan(session, made.farid.actor, plan_id)
        assert view.run is not None
        assert (view.summary.status, view.run.ending) == (PlanStatus.READY, Ending.DIED)
        inside = {visit["id"] for visit in session.get_one(PlanRow, plan_id).instance["visits"]}
        planned = {str(stop.request_id) for route in view.routes for stop in route.stops if stop.request_id}
        assert planned | {str(one.request_id) for one in view.unserved} == inside


def test_a_solver_that_dies_before_any_plan_is_tried_again(sessions: sessionmaker[Session], now: datetime, monkeypatch: pytest.MonkeyPatch) -> None:
    _, plan_id = ordered_for_real(sessions, now, 1)

    def die(*_: Any, **__: Any) -> None:
        raise SolverDied("out of memory")

    monkeypatch.setattr(SolverProcess, "solve", die)
    solvers = Solvers()
    task = next(one for one in tasks(sessions, lambda: now, solvers) if one.name == SOLVE)
    with pytest.raises(SolverDied):
        task.run(plan_id)
    assert task.unfinished() == (plan_id,)
    task.abandon(plan_id)
    solvers.close()
    with sessions() as session:
        assert session.get_one(PlanRow, plan_id).status is PlanStatus.FAILED


def test_a_cancelled_search_whose_worker_died_is_not_taken_up_again(sessions: sessionmaker[Session], now: datetime) -> None:
    made, plan_id = ordered_for_real(sessions, now, 120)
    with sessions.begin() as session:
        assert plans.claim(session, plan_id) is not None
        runs.begin(session, plan_id, now)
        runs.ask_ending(session, made.farid.actor, plan_id, EndingAsked.CANCEL, now)
    next(one for one in tasks(sessions, lambda: now) if one.name == SOLVE).run(plan_id)
    with sessions() as session:
        assert session.get_one(PlanRow, plan_id).status is PlanStatus.CANCELLED


def test_REQ_03_a_change_that_breaks_rules_is_refused_with_all_of_them_and_nothing_is_kept(session: Session, made: World, solved: PlanId) -> None:
    command = ChangePlan(plan_id=solved, edits=edits({"do": "pair", "route": 1, "collectorA": str(made.bilal.id), "collectorB": str(made.bilal.id)}))
    judged = versions.judge_change(session, made.farid.actor, command)
    assert {(one.code, one.rule) for one in judged.violations} == {("collector_twice", "VIS-01"), ("pair_size", "VIS-01")}
    with pytest.raises(RulesBreached) as refusal:
        versions.change(session, made.farid.actor, command, made.now)
    assert {breach.rule for breach in refusal.value.breaches} == {Rule.VIS_01}
    assert session.scalars(select(PlanRow.version)).all() == [1]


def test_REQ_04_a_change_by_hand_is_a_new_version_that_can_be_published(session: Session, made: World, solved: PlanId) -> None:
    first, second, third = stops(session, made, solved)
    withheld = approved_request(session, KEYRING, made, 7)
    cases.suspend(session, made.amina.actor, withheld.case.id, SuspensionReason.DISPUTES_AMOUNT, made.now)
    move, remove = {"do": "move", "requestId": str(third), "route": 1, "place": 1}, {"do": "remove", "requestId": str(second)}
    command = ChangePlan(plan_id=solved, edits=edits(move, remove))
    judged = versions.judge_change(session, made.farid.actor, command)
    assert (judged.violations, judged.served) == ((), 2)
    changed = versions.change(session, made.farid.actor, command, made.now)
    assert (changed.version, changed.based_on, changed.served, changed.cost) == (2, solved, 2, judged.cost)
    assert stops(session, made, changed.id) == [third, first]
    view = queries.plan(session, made.farid.actor, changed.id)
    assert [(one.request_id, one.code) for one in view.unserved] == [(second, "taken-out-by-hand")]
    assert (view.based_on, [one["do"] for one in view.changes]) == (solved, ["move", "remove"])
    assert stops(session, made, solved) == [first, second, third]
    visits.dispatch_plan(session, made.farid.actor, changed.id, made.now)
    with pytest.raises(Conflict):
        versions.replay_record(session, made.farid.actor, changed.id)
    again = versions.change(
        session, made.farid.actor, ChangePlan(plan_id=changed.id, edits=edits({"do": "insert", "requestId": str(second), "route": 1})), made.now,
    )
    assert (again.version, stops(session, made, again.id)) == (3, [third, first, second])


def test_two_versions_are_compared(session: Session, made: World, solved: PlanId) -> None:
    first, second, third = stops(session, made, solved)
    made_by_hand = edits({"do": "remove", "requestId": str(first)}, {"do": "swap", "requestId": str(second), "otherId": str(third)})
    changed = versions.change(session, made.farid.actor, ChangePlan(plan_id=solved, edits=made_by_hand), made.now)
    told = versions.compare(session, made.farid.actor, solved, changed.id)
    assert (told.before_version, told.after_version, told.added, told.dropped) == (1, 2, (), (first,))
    assert {one.request_id for one in told.moved} <= {second, third}
    assert (told.pairs_gone, told.pairs_new) == ((), ())
    assert (told.cost_before.served, told.cost_after.served, told.cost_after.total) == (3, 2, changed.cost)
    back = versions.compare(session, made.farid.actor, changed.id, solved)
    assert (back.added, back.dropped) == ((first,), ())
    other_day = solved_plan(session, made, on=made.today + timedelta(days=1))
    for wrong in (other_day, ordered_plan(session, made).id):
        with pytest.raises(Conflict):
            versions.compare(session, made.farid.actor, solved, wrong)


def test_a_stored_plan_repeats_from_its_record(session: Session, made: World, solved: PlanId) -> None:
    record = load_record(msgspec.json.encode(versions.replay_record(session, made.farid.actor, solved)))
    row = session.get_one(PlanRow, solved)
    assert (record.plan_digest, plan_digest(replay(record))) == (row.plan_digest, row.plan_digest)


def test_how_a_version_was_made_by_hand_cannot_be_changed(session: Session, made: World, solved: PlanId) -> None:
    changed = versions.change(
        session, made.farid.actor, ChangePlan(plan_id=solved, edits=(RemoveVisit(request_id=stops(session, made, solved)[0]),)), made.now,
    )
    for statement in ("UPDATE plan_changes SET changes = '[]'", "DELETE FROM plan_changes"):
        with pytest.raises(DatabaseError), session.begin_nested():
            session.connection().exec_driver_sql(statement)
    itself = PlanChangeRow(plan_id=solved, based_on=solved, changes=[])
    with pytest.raises(DatabaseError), session.begin_nested():
        session.add(itself)
    assert changed.version == 2
