"""`fieldday/2`: what is locked stays, what is pinned or promised holds, and the judge says so; with both engines."""

from __future__ import annotations

import json
from copy import deepcopy
from typing import Any

import jsonschema
import msgspec
import pytest
from hypothesis import HealthCheck, given, settings

from routing import Engine, InstanceError, Limits, Plan, check, cost, encode_plan, explain, load_instance, load_plan, solve
from routing.engines import search
from routing.matrix import table_matrix, travel_matrix
from routing.model import Instance
from routing.reader import encode_instance
from routing.reasons import ReasonCode
from routing.schema import SCHEMA_FILE, encode_schema, instance_schema
from tests.unit.routing.second_judge import faults
from tests.unit.routing.support_days import HOUR, day, visit
from tests.unit.routing.support_running import FEW, begun, running_days

pytestmark = pytest.mark.long

COMPILED = Limits(search_s=120, iterations_max=300, engine=Engine.SEARCH)


def _codes(instance: Instance, plan: Plan) -> list[str]:
    return [f"{one.rule} {one.code}" for one in check(instance, plan)]


def _assert_whole(instance: Instance, plan: Plan) -> None:
    assert check(instance, plan) == ()
    left = {one.id for one in plan.unserved or ()}
    assert plan.served() | left == {one.id for one in instance.visits}
    assert plan.served().isdisjoint(left)
    assert plan.solver is not None
    assert plan.solver.cost == cost(instance, plan).total
    assert [one.visit for one in explain(instance, plan) if one.code is ReasonCode.SOLVER_MISSED] == []
    for one in instance.progress:
        assert any(set(route.collectors) == set(one.collectors) and len(route.stops) >= len(one.stops) for route in plan.routes)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(running_days())
def test_a_running_day_is_planned_clean_with_ortools(made: dict[str, Any]) -> None:
    instance = load_instance(made)
    _assert_whole(instance, solve(instance, msgspec.structs.replace(FEW, engine=Engine.ORTOOLS)))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(running_days())
def test_a_running_day_is_planned_clean_with_the_compiled_search(made: dict[str, Any]) -> None:
    if not search.is_ready():
        pytest.skip("the search kernels are not compiled: run `python -m routing warm`")
    instance = load_instance(made)
    _assert_whole(instance, solve(instance, COMPILED))


def test_a_fieldday_1_day_is_a_fieldday_2_day_with_the_same_plan() -> None:
    made = day(*[visit(f"V{n}", f"p{n % 4}", cash_fen=1000 * (n % 3), value=n) for n in range(9)])
    one, two = (solve(load_instance({**made, "schema": schema}), FEW) for schema in ("fieldday/1", "fieldday/2"))
    assert one.routes == two.routes
    assert one.unserved == two.unserved


def test_in_fieldday_1_the_keys_of_fieldday_2_mean_nothing() -> None:
    made = day(visit("V0", "p0", debtor="li", pinned_start=9 * HOUR), now=12 * HOUR)
    instance = load_instance(made)
    assert (instance.now, instance.visits[0].debtor, instance.visits[0].pinned_start) == (None, None, None)


RUNNING = day(
    *[visit(f"V{n}", f"p{n % 4}", service_s=5400, cash_fen=50_000 if n == 2 else 0) for n in range(8)], schema="fieldday/2",
)


def test_locked_stops_stay_and_the_pair_goes_on_from_there() -> None:
    plan = solve(load_instance(RUNNING), FEW)
    running = load_instance(begun(RUNNING, plan, 11 * HOUR))
    again = solve(running, FEW)
    for one in running.progress:
        route = next(route for route in again.routes if set(route.collectors) == set(one.collectors))
        assert [stop.id for stop in route.stops[: len(one.stops)]] == [stop.id for stop in one.stops]
        assert route.departure == one.departure
        assert all((stop.arrival or 0) >= one.free_at for stop in route.stops[len(one.stops):])
    assert again.served() == plan.served()


def test_cash_in_hand_is_deposited_and_cash_not_taken_needs_no_deposit() -> None:
    made = deepcopy(RUNNING)
    made["visits"] = [visit("V0", "p0", cash_fen=50_000, cash_is_cap=True)]
    plan = solve(load_instance(made), FEW)
    assert [stop.type.value for stop in plan.routes[0].stops] == ["visit", "deposit"]
    running = begun(made, plan, (plan.routes[0].stops[0].start or 0) + 60)
    for taken, stops in ((50_000, ["visit", "deposit"]), (0, ["visit"])):
        running["progress"][0]["stops"][0]["cash_fen"] = taken
        again = solve(load_instance(running), FEW)
        assert [stop.type.value for stop in again.routes[0].stops] == stops


def test_F12_cash_that_no_bank_takes_any_more_goes_into_the_bag_and_the_day_goes_on() -> None:
    made = {**deepcopy(RUNNING), "visits": [visit("V0", "p0", cash_fen=50_000), visit("V1", "p1")]}
    running = begun(made, solve(load_instance(made), FEW), 8 * HOUR + 1800)
    running["banks"][0]["close"] = 9 * HOUR
    instance = load_instance(running)
    plan = solve(instance, FEW)
    assert check(instance, plan) == ()
    assert running["progress"][0]["stops"][-1]["id"] == "V0"
    assert "deposit" not in [stop.type.value for route in plan.routes for stop in route.stops]


def test_a_parted_pair_keeps_its_stops_and_its_members_begin_anew() -> None:
    running = begun(RUNNING, solve(load_instance(RUNNING), FEW), 10 * HOUR)
    first = next(one for one in running["progress"] if not any(stop.get("id") == "V2" for stop in one["stops"]))
    first["together"] = False
    sick, well = first["collectors"]
    next(one for one in running["collectors"] if one["id"] == sick)["available"] = False
    instance = load_instance(running)
    plan = solve(instance, FEW)
    assert check(instance, plan) == ()
    kept = next(route for route in plan.routes if set(route.collectors) == {sick, well})
    assert len(kept.stops) == len(first["stops"])
    assert not any(sick in route.collectors for route in plan.routes if route is not kept)


def test_pins_announced_times_debtors_and_credentials_hold() -> None:
    made = day(
        visit("pin", "p0", pinned_collectors=["bilal", "fang"]), visit("time", "p1", pinned_start=10 * HOUR),
        visit("told", "p2", announced={"window": [14 * HOUR, 15 * HOUR], "price": 3000}),
        visit("li-1", "p3", debtor="li", value=2), visit("li-2", "p3", debtor="li", value=9),
        visit("bank", "p1", credential="icbc"), schema="fieldday/2",
        collectors=[{**one, "credentials": ["icbc"] if one["id"] in ("emin", "dong") else []} for one in day()["collectors"]],
    )
    instance = load_instance(made)
    plan = solve(instance, FEW)
    at = {stop.id: (set(route.collectors), stop.start) for route in plan.routes for stop in route.stops}
    assert at["pin"][0] == {"bilal", "fang"}
    assert at["bank"][0] == {"emin", "dong"}
    assert at["time"][1] == 10 * HOUR
    assert 14 * HOUR <= (at["told"][1] or 0) <= 15 * HOUR
    assert "li-2" in at
    (left,) = plan.unserved or ()
    assert (left.id, left.code, left.params) == ("li-1", "debtor_once", {"visits": ["li-2"]})


def test_an_announced_time_is_changed_only_for_its_price() -> None:
    told = {"window": [9 * HOUR, 9 * HOUR + 60], "price": 3000}
    rivals = [visit("V0", "p0", windows=[[9 * HOUR, 9 * HOUR + 60]], value=9), visit("V1", "p0", announced=told, value=4)]
    made = day(*rivals, schema="fieldday/2", pairing={**day()["pairing"], "max_pairs": 1})
    instance = load_instance(made)
    plan = solve(instance, FEW)
    assert plan.served() == {"V0", "V1"}
    assert cost(instance, plan).moved_price == 3000
    made["visits"][1]["announced"]["price"] = 4 * 3600 + 1
    dear = solve(load_instance(made), FEW)
    assert [(one.id, one.code) for one in dear.unserved or ()] == [("V1", "displaced")]


def _edited(made: dict[str, Any], plan: Plan, change: Any) -> tuple[Instance, Plan]:
    edited = deepcopy(made)
    raw = msgspec.json.decode(encode_plan(plan))
    raw.pop("solver", None)
    change(edited, raw)
    return load_instance(edited), load_plan(raw)


def _shift(route: dict[str, Any]) -> None:
    for stop in route["stops"]:
        for key in ("arrival", "start", "end"):
            stop.pop(key, None)
    route.pop("departure", None)
    route.pop("return", None)


MUTANTS: list[tuple[str, Any]] = [
    ("REQ-04 locked_changed", lambda d, p: p["routes"][0]["stops"][0].update(start=p["routes"][0]["stops"][0]["start"] + 1)),
    ("REQ-04 locked_changed", lambda d, p: p["routes"][0]["stops"].pop(0)),
    ("REQ-04 locked_changed", lambda d, p: p["routes"][0].update(departure=p["routes"][0]["departure"] + 1)),
    ("REQ-04 locked_changed", lambda d, p: p["routes"][0].update(collectors=["bilal", "bilal"])),
    ("REQ-04 time_wrong", lambda d, p: p["routes"][0].update({"return": p["routes"][0]["return"] + 60})),
    ("REQ-04 pin_broken", lambda d, p: d["visits"][_last(d, p)].update(pinned_collectors=[_other(p)])),
    ("REQ-04 pin_broken", lambda d, p: d["visits"][_last(d, p)].update(pinned_start=20 * HOUR)),
    ("VIS-06 credential_missing", lambda d, p: d["visits"][_last(d, p)].update(credential="icbc")),
    ("CONT-05 debtor_twice", lambda d, p: [one.update(debtor="li") for one in d["visits"]]),
    ("work with each other", lambda d, p: d["pairing"].update(fixed=[[p["routes"][1]["collectors"][0], _idle(p)]])),
    ("CASH-06 cash_kept", lambda d, p: d["progress"][0]["stops"][0].update(cash_fen=70)),
]


def _last(made: dict[str, Any], plan: dict[str, Any]) -> int:
    name = plan["routes"][0]["stops"][-1]["id"]
    return next(n for n, one in enumerate(made["visits"]) if one["id"] == name)


def _other(plan: dict[str, Any]) -> str:
    return next(one for one in ("bilal", "dong", "emin", "fang") if one not in plan["routes"][0]["collectors"])


def _idle(plan: dict[str, Any]) -> str:
    busy = {one for route in plan["routes"] for one in route["collectors"]}
    return next(one for one in ("gao", "bilal", "dong", "emin", "fang") if one not in busy)


@pytest.mark.parametrize(("expected", "change"), MUTANTS, ids=[f"{n}-{one[0].replace(' ', '-')}" for n, one in enumerate(MUTANTS)])
def test_each_rule_of_a_running_day_is_judged(expected: str, change: Any) -> None:
    made = {**deepcopy(RUNNING), "visits": [visit(f"V{n}", f"p{n % 4}", service_s=5400) for n in range(8)]}
    made["collectors"].append({**made["collectors"][0], "id": "gao"})
    begin = begun(made, solve(load_instance(made), FEW), 10 * HOUR)
    plan = solve(load_instance(begin), FEW)
    assert len(plan.routes) == 2
    assert _codes(load_instance(begin), plan) == []
    found: list[str]
    try:
        found = _codes(*_edited(begin, plan, change))
    except InstanceError as error:
        found = [str(error)]
    assert any(expected in one for one in found)


def _two_banks(**changes: Any) -> dict[str, Any]:
    """A day with a counter of each of two banks and a visit with cash of each; the nearest counter of the one is far from the other's door."""
    made = day(visit("V0", "p0", cash_fen=500, bank="icbc"), visit("V1", "p0", cash_fen=700, bank="ccb"), schema="fieldday/2", **changes)
    made["banks"] = [{**made["banks"][0], "bank": "icbc"}, {**made["banks"][0], "id": "counter", "location": "p3", "bank": "ccb"}]
    made["pairing"]["max_pairs"] = 1
    return made


@pytest.mark.parametrize("engine", [Engine.ORTOOLS, Engine.SEARCH])
def test_CASH_06_each_banks_money_goes_to_its_own_counter(engine: Engine) -> None:
    if engine is Engine.SEARCH and not search.is_ready():
        pytest.skip("the search kernels are not compiled: run `python -m routing warm`")
    instance = load_instance(_two_banks())
    plan = solve(instance, Limits(search_s=60, iterations_max=50, engine=engine))
    assert _codes(instance, plan) == []
    (route,) = plan.routes
    assert sorted((stop.id or stop.bank) for stop in route.stops) == ["V0", "V1", "branch", "counter"]
    order = [stop.id or stop.bank for stop in route.stops]
    assert order.index("branch") == order.index("V0") + 1
    assert order.index("counter") == order.index("V1") + 1


@pytest.mark.parametrize(("stops", "expected"), [
    (["V0", "counter"], {"deposit_foreign"}), (["V0", "V1", "branch"], {"cash_mixed", "deposit_foreign"}), (["V0", "branch", "V1", "counter"], set()),
    (["V0", "V1", "branch", "counter"], {"cash_mixed", "deposit_foreign"}), (["V0", "branch", "V1", "branch"], {"deposit_foreign"}),
])
def test_CASH_06_a_deposit_at_another_banks_counter_is_caught(stops: list[str], expected: set[str]) -> None:
    plan = load_plan({"schema": "fieldday-plan/1", "instance": "day", "routes": [{"collectors": ["bilal", "dong"], "stops": [
        {"type": "visit", "id": one} if one.startswith("V") else {"type": "deposit", "bank": one} for one in stops]}]})
    assert {str(one.code) for one in check(load_instance(_two_banks()), plan)} == expected


def test_CASH_08_the_smaller_limit_of_a_bank_holds() -> None:
    made = _two_banks(cash={"carry_limit_fen": 1000, "limits": [{"bank": "ccb", "carry_limit_fen": 699}]})
    plan = solve(load_instance(made), FEW)
    assert [one.id for one in plan.unserved or ()] == ["V1"]
    assert (plan.unserved or ())[0].code == "cash_not_depositable"
    assert (plan.unserved or ())[0].params["carry_limit_fen"] == 699
    made["cash"]["limits"][0]["carry_limit_fen"] = 700
    assert solve(load_instance(made), FEW).unserved == ()


def test_CASH_06_a_visit_whose_bank_has_no_counter_left_says_so() -> None:
    made = _two_banks()
    made["banks"][1]["close"] = 9 * HOUR
    plan = solve(load_instance(made), FEW)
    assert [(one.id, one.code) for one in plan.unserved or ()] == [("V1", "cash_not_depositable")]


def test_F12_two_banks_money_already_in_one_hand_goes_into_the_sealed_bag() -> None:
    made = _two_banks()
    stops = [{"type": "visit", "id": one, "arrival": at, "start": at, "end": at + 1800} for one, at in (("V0", 9 * HOUR), ("V1", 10 * HOUR))]
    made |= {"now": 11 * HOUR, "progress": [
        {"collectors": ["bilal", "dong"], "departure": 8 * HOUR, "stops": stops, "free_at": 11 * HOUR, "place": "p0"}]}
    instance = load_instance(made)
    plan = solve(instance, FEW)
    assert _codes(instance, plan) == []
    assert [stop.type.value for stop in plan.routes[0].stops] == ["visit", "visit"]
    assert faults(made, json.loads(encode_plan(plan))) == []


@pytest.mark.parametrize(("change", "line"), [
    (lambda made: made["visits"][0].update(bank=None), "visits[0].bank: missing"),
    (lambda made: made["cash"].update(limits=[{"bank": "boc", "carry_limit_fen": 1}]), "cash.limits[0].bank: unknown id 'boc'"),
    (lambda made: made["cash"].update(limits=[{"bank": "ccb", "carry_limit_fen": 1}] * 2), "cash.limits[1].bank: the same bank twice"),
    (lambda made: made["cash"].update(limits=[{"bank": "ccb", "carry_limit_fen": -1}]), "cash.limits[0].carry_limit_fen"),
    (lambda made: made["banks"][0].update(bank=7), "banks[0].bank"),
])
def test_a_day_with_money_of_nobody_is_refused(change: Any, line: str) -> None:
    made = _two_banks()
    change(made)
    with pytest.raises(InstanceError) as refused:
        load_instance(made)
    assert line in str(refused.value).replace("$.", "")
    assert "\n" not in str(refused.value)


def test_F12_a_deposit_that_may_be_released_must_leave_the_pair_in_time() -> None:
    made = day(visit("V0", "p0", cash_fen=500, cash_is_cap=True), visit("V1", "p1"), schema="fieldday/2")
    instance = load_instance(made)
    plan = load_plan({"schema": "fieldday-plan/1", "instance": "day", "routes": [{"collectors": ["bilal", "dong"], "stops": [
        {"type": "visit", "id": "V0"}, {"type": "deposit", "bank": "branch"}, {"type": "visit", "id": "V1"}]}]})
    assert _codes(instance, plan) == []
    own = travel_matrix(instance)
    seconds = own.seconds.copy()
    row = {name: index for index, name in enumerate(own.ids)}
    seconds[row["p0"], row["p1"]] = 90 * 60
    slow = table_matrix({"ids": list(own.ids), "seconds": seconds.tolist(), "metres": own.metres.tolist()}, instance)
    assert [one.code for one in check(instance, plan, slow)] == ["release_late"]
    assert check(instance, solve(instance, FEW, matrix=slow), slow) == ()


BAD: list[tuple[str, Any]] = [
    ("breaks", lambda d: d.update(breaks=[])),
    ("collectors[0].breaks", lambda d: d["collectors"][0].update(breaks=[{"window": [2, 9], "duration_s": 5}, {"window": [9, 12], "duration_s": 5}])),
    ("collectors[0].breaks[0].window", lambda d: d["collectors"][0].update(breaks=[{"window": [2, 1], "duration_s": 5}])),
    ("collectors[0].breaks[0].long", lambda d: d["collectors"][0].update(breaks=[{"window": [1, 2], "long": 5}])),
    ("travel.speeds", lambda d: d["travel"].update(speeds=[{"span": [1, 9], "percent": 50}, {"span": [8, 12], "percent": 50}])),
    ("travel.speeds[0].percent", lambda d: d["travel"].update(speeds=[{"span": [1, 9], "percent": 0}])),
    ("travel.speeds[0].span", lambda d: d["travel"].update(speeds=[{"span": [9, 9], "percent": 50}])),
    ("progress[0].stops[0].type", lambda d: d["progress"][0]["stops"][0].update(type="pause")),
    ("visits[0].colour", lambda d: d["visits"][0].update(colour="red")),
    ("now", lambda d: d.update(now=-1)),
    ("visits[0].announced.window", lambda d: d["visits"][0].update(announced={"window": [2, 1], "price": 0})),
    ("visits[0].pinned_collectors[0]", lambda d: d["visits"][0].update(pinned_collectors=["nobody"])),
    ("visits[0].pinned_collectors", lambda d: d["visits"][0].update(pinned_collectors=["dong", "dong"])),
    ("pairing.fixed[0]", lambda d: d["pairing"].update(fixed=[["dong", "dong"]])),
    ("pairing.fixed[0][1]", lambda d: d["pairing"].update(fixed=[["dong", "nobody"]])),
    ("progress[0].place", lambda d: d["progress"][0].update(place="nowhere")),
    ("progress[0].stops", lambda d: d["progress"][0].update(stops=[])),
    ("progress[0].stops[0].id", lambda d: d["progress"][0]["stops"][0].update(id="V99")),
    ("progress[0].stops[0].end", lambda d: d["progress"][0]["stops"][0].update(end=0)),
    ("progress[0].stops[0].arrival", lambda d: d["progress"][0].update(departure=86_000)),
    ("progress[0].free_at", lambda d: d["progress"][0].update(free_at=0)),
    ("progress[2].stops[0].id", lambda d: d["progress"].append(deepcopy(d["progress"][0]))),
    ("progress[0].together", lambda d: d["progress"][0]["stops"][0].update(cash_fen=100) or d["progress"][0].update(together=False)),
    ("progress[0].together", lambda d: d["collectors"][0].update(available=False) or d["collectors"][2].update(available=False)),
]


@pytest.mark.parametrize(("key", "change"), BAD, ids=[f"{n}-{one[0]}" for n, one in enumerate(BAD)])
def test_bad_running_days_are_refused_by_the_name_of_the_key(key: str, change: Any) -> None:
    running = begun(RUNNING, solve(load_instance(RUNNING), FEW), 9 * HOUR)
    change(running)
    with pytest.raises(InstanceError) as refused:
        load_instance(running)
    assert str(refused.value).startswith(f"{key}: ")
    assert "\n" not in str(refused.value)


def test_the_schema_file_is_the_models_and_accepts_what_the_reader_accepts() -> None:
    assert SCHEMA_FILE.read_bytes() == encode_schema()
    running = begun(RUNNING, solve(load_instance(RUNNING), FEW), 11 * HOUR)
    jsonschema.validate(running, instance_schema())
    jsonschema.validate(msgspec.json.decode(encode_instance(load_instance(running))), instance_schema())
    for key in ("breaks", "speeds"):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate({**running, key: []}, instance_schema())
    with_breaks = deepcopy(running)
    with_breaks["collectors"][0]["breaks"] = [{"window": [12 * HOUR, 13 * HOUR], "duration_s": 1800}]
    with_breaks["travel"]["speeds"] = [{"span": [8 * HOUR, 9 * HOUR], "percent": 50}]
    jsonschema.validate(with_breaks, instance_schema())
