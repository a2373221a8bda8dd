"""Re-planning: what is done stays, what happened is obeyed, and every change is told with its cause."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from routing import Limits, Plan, ReplanRefused, check, load_instance, solve
from routing.events import ClosedBank, Event, Fact, LatePair, SickCollector, UrgentVisit, WithdrawnVisit
from routing.model import Instance, Location, LocationKind, StopType
from routing.replan import Cause, MoveKind, Replanned, event_of, replan
from tests.unit.routing.support_days import HOUR, day, days, visit
from tests.unit.routing.support_running import FEW

pytestmark = pytest.mark.long

NOW = 10 * HOUR
MADE = day(*[visit(f"V{n}", f"p{n % 4}", service_s=4500, cash_fen=50_000 if n == 7 else 0, value=4 + n % 3) for n in range(10)])
MADE["collectors"] += [{**MADE["collectors"][0], "id": one} for one in ("gao", "hong")]


@pytest.fixture(scope="module")
def running() -> tuple[Instance, Plan]:
    instance = load_instance(MADE)
    return instance, solve(instance, FEW)


def _replan(running: tuple[Instance, Plan], *events: Event, now: int = NOW, facts: tuple[Fact, ...] = ()) -> Replanned:
    found = replan(*running, events, now, limits=FEW, facts=facts)
    assert check(found.instance, found.plan) == ()
    return found


def _moves(found: Replanned) -> set[tuple[MoveKind, str, Cause]]:
    return {(one.kind, one.subject, one.cause) for one in found.moves}


def _ahead(plan: Plan, now: int = NOW) -> list[tuple[Any, Any]]:
    return [(route, stop) for route in plan.routes for stop in route.stops if stop.id is not None and (stop.arrival or 0) > now + HOUR]


def test_without_an_event_pairs_and_locked_stops_stay_and_no_cause_is_invented(running: tuple[Instance, Plan]) -> None:
    found = _replan(running)
    assert {(one.cause, one.causes) for one in found.moves} <= {(Cause.MAKES_ROOM, ())}
    assert not {one.kind for one in found.moves} & {MoveKind.PAIR_FORMED, MoveKind.PAIR_PARTED, MoveKind.VISIT_DROPPED}
    for old in running[1].routes:
        new = next(route for route in found.plan.routes if route.collectors == old.collectors)
        assert [stop.id for stop in new.stops[:2]] == [stop.id for stop in old.stops[:2]]


def test_a_sick_collectors_pair_ends_and_its_visits_go_to_others(running: tuple[Instance, Plan]) -> None:
    route = next(route for route in running[1].routes if not any(stop.id == "V7" for stop in route.stops[:2]))
    sick = route.collectors[0]
    found = _replan(running, SickCollector(collector=sick))
    name = "+".join(route.collectors)
    assert (MoveKind.PAIR_PARTED, name, Cause.COLLECTOR_SICK) in _moves(found)
    assert all((stop.start or 0) <= NOW for one in found.plan.routes if sick in one.collectors for stop in one.stops)
    moved = [one for one in found.moves if one.pair_before == name and one.kind in (MoveKind.VISIT_MOVED, MoveKind.VISIT_DROPPED)]
    assert moved
    assert {one.cause for one in moved} == {Cause.COLLECTOR_SICK}
    assert all(sick in one.text() and sick in one.text_zh() for one in moved)
    assert all(one.unserved for one in moved if one.kind is MoveKind.VISIT_DROPPED)


def test_a_withdrawn_visit_is_dropped_and_one_already_made_stays(running: tuple[Instance, Plan]) -> None:
    _, stop = _ahead(running[1])[-1]
    made = next(str(stop.id) for route in running[1].routes for stop in route.stops if stop.id is not None)
    found = _replan(running, WithdrawnVisit(visit=stop.id), WithdrawnVisit(visit=made))
    assert (MoveKind.VISIT_DROPPED, stop.id, Cause.WITHDRAWN) in _moves(found)
    assert made in found.plan.served()
    assert next(one.code for one in found.plan.unserved or () if one.id == stop.id) == "not_approved"


def test_a_pair_on_its_way_to_a_withdrawn_visit_goes_on_from_there(running: tuple[Instance, Plan]) -> None:
    first = running[1].routes[0]
    now = (first.departure or 0) + 60
    found = _replan(running, WithdrawnVisit(visit=str(first.stops[0].id)), now=now)
    assert first.stops[0].id not in found.plan.served()
    assert any(set(route.collectors) == set(first.collectors) for route in found.plan.routes)


def test_an_urgent_visit_is_served_and_named(running: tuple[Instance, Plan]) -> None:
    place = Location(id="new", kind=LocationKind.VISIT, lat=31.228, lon=121.475)
    wanted = msgspec.structs.replace(running[0].visits[0], id="URGENT", location="new", mandatory=True, windows=((NOW, 13 * HOUR),))
    found = _replan(running, UrgentVisit(visit=wanted, location=place))
    assert (MoveKind.VISIT_ADDED, "URGENT", Cause.URGENT) in _moves(found)


def test_a_late_pair_goes_on_only_when_it_can(running: tuple[Instance, Plan]) -> None:
    pair = running[1].routes[0].collectors
    found = _replan(running, LatePair(collectors=(pair[0], pair[1]), free_at=14 * HOUR))
    route = next(route for route in found.plan.routes if route.collectors == pair)
    assert not [stop for stop in route.stops if NOW < (stop.start or 0) < 14 * HOUR]
    assert {one.cause for one in found.moves if "+".join(pair) in (one.pair_before, one.pair_after)} == {Cause.PAIR_LATE}


def test_a_closed_bank_takes_no_more_and_the_cash_visit_is_told_why(running: tuple[Instance, Plan]) -> None:
    before = [stop for route in running[1].routes for stop in route.stops if stop.type is StopType.DEPOSIT]
    now = 7 * HOUR + 3000
    assert before
    assert all((stop.start or 0) > now for stop in before)
    found = _replan(running, ClosedBank(bank="branch", from_s=now), now=now)
    assert not [stop for route in found.plan.routes for stop in route.stops if stop.type is StopType.DEPOSIT]
    assert (MoveKind.VISIT_DROPPED, "V7", Cause.BANK_CLOSED) in _moves(found)


def test_facts_from_the_street_replace_the_planned_times(running: tuple[Instance, Plan]) -> None:
    route = running[1].routes[0]
    first = route.stops[0]
    fact = Fact(visit=str(first.id), start=(first.start or 0) + 600, end=(first.end or 0) + 1200)
    found = _replan(running, facts=(fact,))
    new = next(one for one in found.plan.routes if one.collectors == route.collectors)
    assert (new.stops[0].start, new.stops[0].end) == (fact.start, fact.end)


def test_F12_a_pair_with_cash_in_hand_cannot_part(running: tuple[Instance, Plan]) -> None:
    route, stop = next((route, stop) for route in running[1].routes for stop in route.stops if stop.id == "V7")
    with pytest.raises(ReplanRefused, match="carries cash"):
        replan(*running, [SickCollector(collector=route.collectors[0])], (stop.start or 0) + 60, limits=FEW)


@pytest.mark.parametrize("event", [
    SickCollector(collector="nobody"), WithdrawnVisit(visit="V99"), ClosedBank(bank="none", from_s=0),  # type: ignore[arg-type]
])
def test_an_event_about_nobody_is_refused(running: tuple[Instance, Plan], event: Event) -> None:
    with pytest.raises(ReplanRefused, match="unknown id"):
        replan(*running, [event], NOW, limits=FEW)


def test_events_are_read_by_their_name() -> None:
    assert event_of({"event": "closed_bank", "bank": "branch", "from_s": 5}) == ClosedBank(bank="branch", from_s=5)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(days(), st.integers(8, 18), st.data())
def test_whatever_happens_the_rest_of_the_day_is_clean_and_what_is_done_stays(made: dict[str, Any], hour: int, data: st.DataObject) -> None:
    instance = load_instance(deepcopy(made))
    plan = solve(instance, FEW)
    wanted = st.lists(st.sampled_from(instance.visits), max_size=2, unique_by=lambda one: one.id) if instance.visits else st.just([])
    events: list[Event] = [WithdrawnVisit(visit=one.id) for one in data.draw(wanted)]
    if instance.collectors and data.draw(st.booleans()):
        events.append(SickCollector(collector=data.draw(st.sampled_from([one.id for one in instance.collectors]))))  # type: ignore[arg-type]
    if instance.banks and data.draw(st.booleans()):
        events.append(ClosedBank(bank=instance.banks[0].id, from_s=hour * HOUR))
    if plan.routes and data.draw(st.booleans()):
        a, b = plan.routes[0].collectors
        events.append(LatePair(collectors=(a, b), free_at=(hour + 2) * HOUR))
    try:
        found = replan(instance, plan, events, hour * HOUR, limits=Limits(search_s=60, iterations_max=2))
    except ReplanRefused as refused:
        if "carries cash" not in str(refused):
            raise
        return
    assert check(found.instance, found.plan) == ()
    done = {stop.id for route in plan.routes for stop in route.stops if (stop.start or 0) <= hour * HOUR and stop.id}
    assert done <= found.plan.served()
    before = plan.served()
    told = {one.subject for one in found.moves if one.kind is MoveKind.VISIT_DROPPED}
    assert told == before - found.plan.served()
    again = replan(found.instance, found.plan, [], min(hour + 1, 20) * HOUR, limits=Limits(search_s=60, iterations_max=2))
    assert check(again.instance, again.plan) == ()
