"""`check` names every broken rule, agrees with the shared validator on every mutant, and computes the same cost."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from collections.abc import Callable
from copy import deepcopy
from types import ModuleType
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from routing import Limits, check, cost, encode_plan, load_instance, solve
from routing.reader import load_plan
from tests.unit.routing.support_days import BENCH, DAY, HOUR, bench_day, day, days, visit

pytestmark = pytest.mark.long

VISITS = (
    visit("V0", "p0"), visit("V1", "p1", cash_fen=50_000), visit("V2", "p2", required_cert="secured"),
    visit("V3", "p3", gender_rule="mixed", windows=[[13 * HOUR, 14 * HOUR]]),
)


def _route(*stops: str, pair: tuple[str, ...] = ("bilal", "dong"), **times: Any) -> dict[str, Any]:
    made = [{"type": "deposit", "bank": one} if one == "branch" else {"type": "visit", "id": one} for one in stops]
    return {"collectors": list(pair), "stops": made, **times}


def _plan(*routes: dict[str, Any], **keys: Any) -> dict[str, Any]:
    return {"schema": "fieldday-plan/1", "instance": "day", "routes": list(routes), **keys}


GOOD = _plan(_route("V0", "V1", "branch", "V2", "V3"), unserved=[])


def _codes(made: dict[str, Any], plan: dict[str, Any]) -> list[str]:
    return [f"{one.rule} {one.code}" for one in check(load_instance(made), load_plan(plan))]


def test_a_good_hand_made_plan_is_clean() -> None:
    assert _codes(day(*VISITS), GOOD) == []


def _history(*pair: str) -> dict[str, Any]:
    return {**DAY["pairing"], "history": [{"days_ago": n, "pairs": [list(pair)]} for n in (1, 2, 3)]}


BROKEN: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("VIS-01 pair_size", {}, _plan(_route("V0", pair=("bilal",)))),
    ("VIS-01 pair_size", {}, _plan(_route("V0", pair=("bilal", "dong", "emin")))),
    ("VIS-01 pair_size", {}, _plan(_route("V0", pair=("bilal", "bilal")))),
    ("VIS-01 collector_unknown", {}, _plan(_route("V0", pair=("bilal", "chen")))),
    ("VIS-01 collector_twice", {}, _plan(_route("V0"), _route("V3", pair=("bilal", "fang")))),
    ("REQ-09 collector_unavailable", {"collectors": [{**DAY["collectors"][0], "available": False}, *DAY["collectors"][1:]]}, _plan(_route("V0"))),
    ("REQ-06 pair_conflict", {"pairing": {**DAY["pairing"], "conflicts": [["dong", "bilal"]]}}, _plan(_route("V0"))),
    ("REQ-06 pair_rotation", {"pairing": _history("dong", "bilal")}, _plan(_route("V0"))),
    ("REQ-06 too_many_pairs", {"pairing": {**DAY["pairing"], "max_pairs": 1}}, _plan(_route("V0"), _route("V3", pair=("emin", "fang")))),
    ("TEAM-01 no_lead", {"collectors": [{**one, "lead": False} for one in DAY["collectors"]]}, _plan(_route("V0"))),
    ("REQ-09 shifts_apart", {"collectors": [{**DAY["collectors"][0], "shift": [18 * HOUR, 20 * HOUR]}, *DAY["collectors"][1:]]}, _plan(_route("V0"))),
    ("REQ-09 departs_early", {}, _plan(_route("V0", departure=7 * HOUR))),
    ("REQ-09 returns_late", {"collectors": [{**one, "shift": [8 * HOUR, 8 * HOUR + 1800]} for one in DAY["collectors"]]}, _plan(_route("V0"))),
    ("REQ-04 stop_unknown", {}, _plan(_route("V0", "V9"))),
    ("CONT-05 visit_twice", {}, _plan(_route("V0", "V0"))),
    ("REQ-03 not_approved", {"visits": [visit("V0", "p0", approval={"status": "pending", "effective_from": None})]}, _plan(_route("V0"))),
    ("VIS-06 collector_excluded", {"visits": [visit("V0", "p0", excluded_collectors=["dong"])]}, _plan(_route("V0"))),
    ("VIS-06 cert_missing", {}, _plan(_route("V2", pair=("emin", "fang")))),
    ("TEAM-01 language_missing", {"visits": [visit("V0", "p0", required_language="wuu")]}, _plan(_route("V0"))),
    ("VIS-18 female_missing", {"visits": [visit("V0", "p0", gender_rule="female_present")]}, _plan(_route("V0", pair=("bilal", "emin")))),
    ("VIS-18 not_mixed", {}, _plan(_route("V3", pair=("bilal", "emin")))),
    ("VIS-10 outside_hours", {"horizon": [10 * HOUR, 10 * HOUR + 60]}, _plan(_route("V0"))),
    ("REQ-04 outside_window", {"visits": [visit("V0", "p0", windows=[[7 * HOUR, 8 * HOUR]])]}, _plan(_route("V0"))),
    ("CASH-06 bank_closed", {"banks": [{**DAY["banks"][0], "close": 9 * HOUR + 60}]}, _plan(_route("V1", "branch"))),
    ("CASH-06 cash_kept", {}, _plan(_route("V1"))),
    ("CASH-08 carry_limit", {"cash": {"carry_limit_fen": 49_999}}, _plan(_route("V1", "branch"))),
    ("REQ-04 unserved_list", {}, _plan(_route("V0"), unserved=[{"id": "V0"}, {"id": "V1"}, {"id": "V2"}, {"id": "V3"}])),
    ("REQ-04 unserved_list", {}, _plan(_route("V0"), unserved=[])),
    ("REQ-04 plan_schema", {}, {**GOOD, "schema": "plan/2"}),
    ("REQ-04 plan_instance", {}, {**GOOD, "instance": "another day"}),
]


@pytest.mark.parametrize(("expected", "change", "plan"), BROKEN, ids=[f"{n}-{one[0].replace(' ', '-')}" for n, one in enumerate(BROKEN)])
def test_each_broken_rule_is_named(expected: str, change: dict[str, Any], plan: dict[str, Any]) -> None:
    assert expected in _codes({**day(*VISITS), **change}, plan)


def test_VIS_01_one_visitor_is_refused() -> None:
    assert _codes(day(*VISITS), _plan(_route("V0", pair=("bilal",)))) == ["VIS-01 pair_size"]


def test_REQ_03_service_before_the_approval_takes_effect_is_refused() -> None:
    made = day(visit("V0", "p0", approval={"status": "approved", "effective_from": 12 * HOUR}))
    early = _plan(_route("V0"))
    early["routes"][0]["stops"][0]["start"] = 11 * HOUR
    assert _codes(made, early) == ["REQ-03 before_approval"]


@pytest.mark.parametrize("key", ["arrival", "start", "end"])
def test_a_time_that_cannot_be_is_refused(key: str) -> None:
    plan = _plan(_route("V0"))
    plan["routes"][0]["stops"][0][key] = 8 * HOUR + 1
    assert _codes(day(*VISITS), plan) in (["REQ-04 time_wrong"], ["REQ-04 starts_before_arrival"])


def test_all_violations_are_given_at_once() -> None:
    plan = _plan(_route("V0", "V0", "V1", pair=("bilal", "bilal")), schema="", instance="x")
    found = _codes(day(*VISITS), plan)
    assert {one.split()[1] for one in found} >= {"plan_schema", "plan_instance", "pair_size", "visit_twice", "cash_kept"}


def _validator() -> ModuleType:
    path = BENCH / "check_plan.py"
    if not path.exists():
        pytest.skip("the shared validator is absent")
    spec = importlib.util.spec_from_file_location("shared_check_plan", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _assert_agreement(validator: ModuleType, made: dict[str, Any], plan: dict[str, Any]) -> bool:
    """Compare both judges on one plan; return whether they found it clean."""
    bad, result = validator.check(made, plan)
    instance, read = load_instance(made), load_plan(plan)
    own = check(instance, read)
    assert bool(own) == bool(bad), (own, bad)
    found = cost(instance, read)
    assert found.total == result["cost"]
    for key in ("mandatory_unserved", "lost_value", "travel_s", "imbalance_s", "served", "distance_m", "waiting_s", "deposits", "served_value_pct"):
        assert getattr(found, key) == result[key], key
    return not own


def _mutants(made: dict[str, Any], plan: dict[str, Any]) -> list[tuple[str, dict[str, Any], dict[str, Any]]]:
    """Break each constraint once in a valid plan, by editing the plan or the day."""
    out: list[tuple[str, dict[str, Any], dict[str, Any]]] = []

    def mutate(name: str, change: Callable[[dict[str, Any], dict[str, Any]], object]) -> None:
        edited_day, edited_plan = deepcopy(made), deepcopy(plan)
        change(edited_day, edited_plan)
        out.append((name, edited_day, edited_plan))

    routes = plan["routes"]
    cash_route = next(n for n, route in enumerate(routes) if any(stop["type"] == "deposit" for stop in route["stops"]))
    first = routes[0]["stops"][0]["id"]
    crew = routes[0]["collectors"]

    def of(edited: dict[str, Any], kind: str, name: str) -> dict[str, Any]:
        found: dict[str, Any] = next(one for one in edited[kind] if one["id"] == name)
        return found

    def bare(edited: dict[str, Any]) -> None:
        for route in edited["routes"]:
            for key in ("departure", "return"):
                route.pop(key, None)
            for stop in route["stops"]:
                for key in ("arrival", "start", "end"):
                    stop.pop(key, None)

    mutate("schema", lambda d, p: p.update(schema="x"))
    mutate("instance", lambda d, p: p.update(instance="x"))
    mutate("same collector", lambda d, p: p["routes"][0].update(collectors=[crew[0], crew[0]]))
    mutate("busy collector", lambda d, p: p["routes"][0].update(collectors=[crew[0], routes[1]["collectors"][0]]))
    mutate("unavailable", lambda d, p: of(d, "collectors", crew[0]).update(available=False))
    mutate("conflict", lambda d, p: d["pairing"]["conflicts"].append(list(reversed(crew))))
    mutate("lead", lambda d, p: [of(d, "collectors", one).update(lead=False) for one in crew])
    mutate("history", lambda d, p: [day_["pairs"].append(crew) for day_ in d["pairing"]["history"]])
    mutate("max pairs", lambda d, p: d["pairing"].update(max_pairs=len(routes) - 1))
    mutate("shifts", lambda d, p: of(d, "collectors", crew[0]).update(shift=[20 * HOUR, 21 * HOUR]))
    mutate("early", lambda d, p: p["routes"][0].update(departure=routes[0]["departure"] - 3 * HOUR))
    mutate("late", lambda d, p: of(d, "collectors", crew[0])["shift"].__setitem__(1, routes[0]["return"] - 1))
    mutate("return given", lambda d, p: p["routes"][0].update({"return": routes[0]["return"] + 1}))
    mutate("arrival given", lambda d, p: p["routes"][0]["stops"][0].update(arrival=1))
    mutate("end given", lambda d, p: p["routes"][0]["stops"][0].update(end=1))
    mutate("twice", lambda d, p: (bare(p), p["routes"][1]["stops"].append({"type": "visit", "id": first})))
    mutate("unknown stop", lambda d, p: p["routes"][0]["stops"][0].update(id="V?"))
    mutate("approval", lambda d, p: of(d, "visits", first).update(approval={"status": "pending", "effective_from": None}))
    mutate("released", lambda d, p: of(d, "visits", first)["approval"].update(effective_from=21 * HOUR))
    mutate("excluded", lambda d, p: of(d, "visits", first).update(excluded_collectors=[crew[1]]))
    mutate("cert", lambda d, p: of(d, "visits", first).update(required_cert="nobody has it"))
    mutate("language", lambda d, p: of(d, "visits", first).update(required_language="nobody speaks it"))
    for rule, gender in (("female_present", "M"), ("mixed", "F")):
        mutate(rule, lambda d, p, r=rule, g=gender: (  # type: ignore[misc]
            [of(d, "collectors", one).update(gender=g) for one in crew], of(d, "visits", first).update(gender_rule=r)))
    mutate("window", lambda d, p: of(d, "visits", first).update(windows=[[0, 60]]))
    mutate("horizon", lambda d, p: d.update(horizon=[8 * HOUR, 9 * HOUR]))
    mutate("carry", lambda d, p: d["cash"].update(carry_limit_fen=1))
    mutate("bank closed", lambda d, p: [one.update(close=one["open"] + 60) for one in d["banks"]])
    mutate("cash kept", lambda d, p: (
        bare(p), p["routes"][cash_route].update(stops=[stop for stop in p["routes"][cash_route]["stops"] if stop["type"] == "visit"])))
    mutate("unserved", lambda d, p: p.update(unserved=p["unserved"][1:] if p["unserved"] else [{"id": first, "reason": ""}]))
    return out


@pytest.mark.parametrize("name", ["fd50-compact", pytest.param("fd200-sprawl-cash", marks=pytest.mark.slow)])
def test_every_mutant_of_a_good_plan_is_caught_by_both_judges(name: str) -> None:
    validator, made = _validator(), bench_day(name)
    plan = json.loads(encode_plan(solve(load_instance(made), Limits(search_s=60, iterations_max=1))))
    assert _assert_agreement(validator, made, plan)
    survived = [mutant for mutant, edited_day, edited_plan in _mutants(made, plan) if _assert_agreement(validator, edited_day, edited_plan)]
    assert survived == []


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(days())
def test_both_judges_agree_on_random_days(made: dict[str, Any]) -> None:
    plan = solve(load_instance(made), Limits(search_s=60, iterations_max=1))
    assert _assert_agreement(_validator(), made, json.loads(encode_plan(plan)))


def test_the_judge_loads_no_engine() -> None:
    script = "import sys, routing; routing.check; print(sorted(m for m in sys.modules if m.startswith(('routing', 'ortools', 'numba'))))"
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    own = ["check", "check_clock", "check_rules", "check_running", "matrix", "model"]
    assert loaded.strip() == str(["routing", *(f"routing.{one}" for one in own)])
