"""From the facts of a day to `fieldday/1`: who may not enter, and that what must not be planned cannot be."""

import json
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import msgspec
import pytest

from backend.cases.model import GenderRule
from backend.core.fen import Fen
from backend.core.ids import BankId, StaffId
from backend.plans.facts import CollectorFacts, DayFacts
from backend.plans.reasons import Beside, Reason, screen
from backend.plans.to_routing import to_instance
from backend.policies.model import DEFAULT_POLICY, Policy
from backend.requests.model import Withheld
from routing import Limits, instance_object, solve
from routing.check import Code, check
from routing.model import PLAN_SCHEMA, CollectorId, Instance, Plan, Route, StopType, VisitId
from routing.model import BankId as RoutingBank
from routing.model import Stop as RoutingStop
from routing.reader import load_instance
from tests.unit.plans.days import BANK_A, BANK_B, collector, day, request, withheld

SHARED_BENCH = Path(__file__).parents[4] / "shared" / "bench"


def reasons_of(facts: DayFacts) -> dict[str, Reason]:
    return {str(refused.request_id): refused.reason for refused in screen(facts, DEFAULT_POLICY)[1]}


def instance_of(facts: DayFacts, policy: Policy = DEFAULT_POLICY) -> Instance:
    entering, _ = screen(facts, policy)
    return to_instance(facts, entering, policy, "sh1 2026-11-27 v1")


def hand_made(instance: Instance, pair: tuple[CollectorFacts, CollectorFacts], *visits: str) -> Plan:
    unserved = tuple({"id": visit.id} for visit in instance.visits if visit.id not in visits)
    route = Route(
        collectors=(CollectorId(str(pair[0].id)), CollectorId(str(pair[1].id))),
        stops=tuple(RoutingStop(type=StopType.VISIT, id=VisitId(visit)) for visit in visits),
    )
    return msgspec.convert(
        {"schema": PLAN_SCHEMA, "instance": instance.name, "routes": msgspec.to_builtins((route,)), "unserved": unserved}, Plan,
    )


def codes(instance: Instance, plan: Plan) -> set[Code]:
    return {violation.code for violation in check(instance, plan)}


@pytest.mark.parametrize("reason", list(Withheld))
def test_REQ_03_DECL_01_what_may_not_be_planned_stays_outside_with_its_true_reason(reason: Withheld) -> None:
    entering, (refused,) = screen(day(ready=(request(1),), withheld=(withheld(9, reason),)), DEFAULT_POLICY)
    assert [one.request_id for one in entering] == [request(1).request_id]
    assert (refused.request_id, refused.reason) == (withheld(9, reason).request_id, reason)
    assert refused.text_zh
    assert refused.text_en
    assert "{" not in refused.text_zh + refused.text_en


@pytest.mark.parametrize("changed", [{"service_s": 14 * 3600}, {"window_from_s": 75_000, "window_to_s": 75_600}, {"effective_from_s": 75_000}])
def test_VIS_10_a_visit_that_cannot_end_in_time_is_not_planned(changed: dict[str, Any]) -> None:
    _, (refused,) = screen(day(ready=(request(1, **changed),)), DEFAULT_POLICY)
    assert refused.reason is Beside.TIME_TOO_SHORT


def test_VIS_10_only_a_window_agreed_beyond_the_hours_widens_the_day() -> None:
    late = request(1, window_from_s=75_600, window_to_s=79_200)
    instance = instance_of(day(ready=(late, request(2, window_to_s=75_600))))
    assert instance.horizon == (8 * 3600, 22 * 3600)
    starts = {visit.id: visit.windows for visit in instance.visits}
    assert starts[str(late.request_id)] == ((75_600, 79_200 - 1800),)
    assert starts[str(request(2).request_id)] == ((9 * 3600, 75_600 - 1800),)


def test_VIS_06_a_bank_for_which_only_one_collector_holds_a_credential_is_not_planned() -> None:
    only_a = frozenset({BANK_A})
    people = (collector(0), collector(1, credentials=only_a), collector(2, credentials=only_a), collector(3, is_active=False))
    facts = day(collectors=people, ready=(request(1, bank_id=BANK_B), request(2)))
    _, (refused,) = screen(facts, DEFAULT_POLICY)
    assert (refused.reason, refused.params) == (Beside.NO_CREDENTIAL, {"holders": 1, "needed": 2})
    assert "1" in refused.text_en


def _cash_of_both(**changed: Any) -> DayFacts:
    cash = Fen(100_000)
    return day(ready=(request(1, cash_expected_fen=cash), request(2, cash_expected_fen=cash, bank_id=BANK_B), request(3)), **changed)


def test_CASH_06_each_banks_cash_is_deposited_at_that_banks_own_office() -> None:
    facts = _cash_of_both()
    assert reasons_of(facts) == {}
    instance = instance_of(facts)
    assert [(bank.id, bank.bank) for bank in instance.banks] == [(one.id, str(one.bank_id)) for one in facts.offices]
    plan = solve(instance, Limits(search_s=30, iterations_max=5))
    assert not check(instance, plan)
    taken, deposited = {str(request(1).request_id): facts.offices[0].id, str(request(2).request_id): facts.offices[1].id}, dict[str, str]()
    for route in plan.routes:
        held: list[str] = []
        for stop in route.stops:
            if stop.type is StopType.DEPOSIT:
                deposited |= dict.fromkeys(held, str(stop.bank))
                held = []
            elif stop.id in taken:
                held.append(str(stop.id))
    assert deposited == taken


def test_CASH_06_an_office_of_another_bank_is_caught_in_a_hand_made_plan() -> None:
    facts = _cash_of_both()
    instance, visit = instance_of(facts), str(request(1).request_id)
    plan = hand_made(instance, (facts.collectors[0], facts.collectors[1]), visit)
    for office, wanted in ((facts.offices[0], set()), (facts.offices[1], {Code.DEPOSIT_FOREIGN})):
        stop = RoutingStop(type=StopType.DEPOSIT, bank=RoutingBank(office.id))
        route = msgspec.structs.replace(plan.routes[0], stops=(*plan.routes[0].stops, stop))
        assert codes(instance, msgspec.structs.replace(plan, routes=(route,))) == wanted


@pytest.mark.parametrize(("limits", "expected"), [
    ({}, ()), ({BANK_A: 9 * 10**8}, ()), ({BANK_A: 99_999}, ((BANK_A, 99_999),)), ({BANK_A: 0, BANK_B: 5}, ((BANK_A, 0), (BANK_B, 5))),
])
def test_CASH_08_the_smaller_of_the_agencys_and_the_banks_limit_holds(limits: dict[BankId, int], expected: tuple[tuple[BankId, int], ...]) -> None:
    instance = instance_of(_cash_of_both(carry_limits=limits))
    assert instance.cash.carry_limit_fen == DEFAULT_POLICY.carry_limit_fen
    assert tuple((one.bank, one.carry_limit_fen) for one in instance.cash.limits) == tuple((str(bank), limit) for bank, limit in expected)


def test_VIS_06_both_visitors_must_hold_the_credential_not_one_of_them() -> None:
    people = (collector(0), collector(1), collector(2, credentials=frozenset({BANK_B})), collector(3))
    facts = day(collectors=people)
    instance = instance_of(facts)
    assert Code.COLLECTOR_EXCLUDED in codes(instance, hand_made(instance, (people[0], people[2]), str(request(1).request_id)))
    assert codes(instance, hand_made(instance, (people[0], people[1]), str(request(1).request_id))) == set()


@pytest.mark.parametrize("changed", [{"is_active": False}, {"is_qualified": False}])
def test_TEAM_01_who_may_not_visit_is_unknown_to_the_instance(changed: dict[str, Any]) -> None:
    people = (collector(0), collector(1, **changed), collector(2))
    instance = instance_of(day(collectors=people))
    assert {one.id for one in instance.collectors} == {str(people[0].id), str(people[2].id)}
    assert Code.COLLECTOR_UNKNOWN in codes(instance, hand_made(instance, (people[0], people[1])))


def test_VIS_04_two_without_recorder_and_camera_between_them_are_no_pair() -> None:
    people = (collector(0, has_audio=False), collector(1, has_audio=False), collector(2, has_camera=False))
    instance = instance_of(day(collectors=people))
    assert Code.PAIR_CONFLICT in codes(instance, hand_made(instance, (people[0], people[1]), str(request(1).request_id)))
    assert codes(instance, hand_made(instance, (people[0], people[2]), str(request(1).request_id))) == set()


def test_an_unstated_gender_satisfies_no_rule_about_women() -> None:
    people = (collector(0, gender=None), collector(2), collector(1), collector(4, gender=None))
    facts = day(collectors=people, ready=(request(1, gender_rule=GenderRule.FEMALE_PRESENT), request(2, gender_rule=GenderRule.MIXED)))
    instance = instance_of(facts)
    assert Code.FEMALE_MISSING in codes(instance, hand_made(instance, (people[0], people[1]), str(request(1).request_id)))
    assert Code.COLLECTOR_EXCLUDED in codes(instance, hand_made(instance, (people[0], people[2]), str(request(2).request_id)))
    assert codes(instance, hand_made(instance, (people[1], people[2]), str(request(2).request_id))) == set()


def test_conflicts_history_and_a_persons_own_exclusion_reach_the_instance() -> None:
    people = tuple(collector(n) for n in range(4))
    ids: list[StaffId] = [one.id for one in people]
    facts = day(
        collectors=people, conflicts=frozenset({(ids[0], ids[1])}), history=dict.fromkeys(range(1, 6), ((ids[2], ids[3]),)),
        ready=(request(1, excluded_staff=frozenset({ids[0]})),),
    )
    instance = instance_of(facts)
    assert Code.PAIR_CONFLICT in codes(instance, hand_made(instance, (people[0], people[1]), str(request(1).request_id)))
    assert Code.PAIR_ROTATION in codes(instance, hand_made(instance, (people[2], people[3]), str(request(1).request_id)))
    assert Code.COLLECTOR_EXCLUDED in codes(instance, hand_made(instance, (people[0], people[2]), str(request(1).request_id)))
    assert codes(instance, hand_made(instance, (people[1], people[2]), str(request(1).request_id))) == set()


def test_the_instance_survives_its_own_format_and_the_shared_validator_agrees() -> None:
    people = tuple(collector(n) for n in range(4))
    instance = instance_of(day(collectors=people))
    stored = json.loads(msgspec.json.encode(instance))
    assert load_instance(stored) == instance
    if not SHARED_BENCH.is_dir():
        pytest.skip("the shared benchmark folder is not beside this checkout: the independent validator did not judge")
    spec = spec_from_file_location("check_plan", SHARED_BENCH / "check_plan.py")
    assert spec is not None
    assert spec.loader is not None
    validator = module_from_spec(spec)
    sys.modules["check_plan"] = validator
    spec.loader.exec_module(validator)
    plan = hand_made(instance, (people[0], people[1]), *(str(request(n).request_id) for n in (1, 2, 3)))
    violations, result = validator.check(stored, msgspec.to_builtins(plan))
    assert violations == [] == list(check(instance, plan))
    assert result["served"] == 3


def test_a_policy_gives_everybody_a_break_and_the_hours_their_speed() -> None:
    plain = instance_of(day())
    assert (plain.schema, plain.travel.speeds, plain.collectors[0].breaks) == ("fieldday/1", (), ())
    policy = msgspec.convert({"break_s": 1800, "travel_speeds": [{"from_s": 8 * 3600, "to_s": 9 * 3600, "percent": 60}]}, Policy)
    paced = load_instance(instance_object(instance_of(day(), policy)))
    assert paced.schema == "fieldday/2"
    assert [(one.window, one.duration_s) for one in paced.collectors[0].breaks] == [((11 * 3600 + 1800, 13 * 3600 + 1800), 1800)]
    assert [(one.span, one.percent) for one in paced.travel.speeds] == [((8 * 3600, 9 * 3600), 60)]
    plan = solve(paced, Limits(search_s=60, iterations_max=1))
    assert check(paced, plan) == ()


@pytest.mark.parametrize("changed", [
    {"break_from_s": 50_000, "break_until_s": 40_000}, {"travel_speeds": [{"from_s": 10, "to_s": 10, "percent": 50}]},
    {"travel_speeds": [{"from_s": 10, "to_s": 30, "percent": 50}, {"from_s": 20, "to_s": 40, "percent": 50}]},
    {"travel_speeds": [{"from_s": 10, "to_s": 30, "percent": 0}]}, {"break_s": 9000},
])
def test_a_policy_whose_breaks_or_speeds_cannot_be_is_refused(changed: dict[str, Any]) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(changed, Policy)
