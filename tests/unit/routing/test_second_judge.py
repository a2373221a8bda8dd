"""`routing.check` and the tests' own second judge of `fieldday/2` agree: on what the engines plan, and on every constraint broken by hand."""

from __future__ import annotations

import json
from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from routing import Engine, InstanceError, Limits, check, encode_plan, load_instance, solve
from routing.engines import search
from routing.reader import load_plan
from tests.unit.routing.second_judge import faults
from tests.unit.routing.support_days import HOUR, day, visit
from tests.unit.routing.support_running import FEW, begun, running_days

pytestmark = pytest.mark.long

Edit = Callable[[dict[str, Any], dict[str, Any]], object]
Edited = tuple[dict[str, Any], dict[str, Any]]


def _whole_day() -> dict[str, Any]:
    """A day with everything in play: credentials, two banks' cash and counters, two offices, breaks, rush hours, pins, caps, debtors."""
    made = day(
        *[visit(f"V{n}", f"p{n % 4}", service_s=2700, cash_fen=40_000 if n % 4 == 2 else 0, debtor=f"d{n}",
                bank="icbc" if n < 7 else "ccb", credential="icbc" if n % 3 else "ccb") for n in range(14)],
        schema="fieldday/2",
    )
    made["locations"].append({"id": "office2", "kind": "office", "lat": 31.215, "lon": 121.475})
    made["locations"].append({"id": "counter", "kind": "bank", "lat": 31.245, "lon": 121.46})
    made["banks"] = [{**made["banks"][0], "bank": "icbc"}, {**made["banks"][0], "id": "other", "location": "counter", "bank": "ccb"}]
    made["cash"]["limits"] = [{"bank": "ccb", "carry_limit_fen": 90_000}]
    for n, one in enumerate(made["collectors"]):
        one["credentials"] = ["icbc", "ccb"]
        one["breaks"] = [{"window": [11 * HOUR + 900 * n, 13 * HOUR], "duration_s": 1800 + 300 * n}]
        if n > 1:
            one["start"] = one["end"] = "office2"
    made["visits"][2]["cash_is_cap"] = True
    made["visits"][0]["pinned_start"] = 10 * HOUR
    made["visits"][1]["announced"] = {"window": [14 * HOUR, 15 * HOUR], "price": 900}
    made["travel"]["speeds"] = [{"span": [8 * HOUR, 9 * HOUR + 1800], "percent": 50}, {"span": [11 * HOUR, 18 * HOUR], "percent": 70}]
    return made


def _planned(now: int | None) -> Edited:
    made = _whole_day()
    plan = solve(load_instance(made), FEW)
    if now is not None:
        made = begun(made, plan, now)
        plan = solve(load_instance(made), FEW)
    raw = json.loads(encode_plan(plan))
    raw.pop("solver")
    return made, raw


def _verdicts(made: dict[str, Any], plan: dict[str, Any]) -> tuple[bool, bool]:
    """Return whether each judge finds the plan clean; a day that cannot be read is clean for nobody."""
    try:
        own = not check(load_instance(made), load_plan(plan))
    except InstanceError:
        return False, False
    return own, not faults(made, plan)


def _route(plan: dict[str, Any], kind: str) -> dict[str, Any]:
    found: dict[str, Any] = next(one for one in plan["routes"] if any(stop["type"] == kind for stop in one["stops"]))
    return found


def _stop(plan: dict[str, Any], kind: str, place: int = 0) -> dict[str, Any]:
    stops = [stop for stop in _route(plan, kind)["stops"] if stop["type"] == kind]
    found: dict[str, Any] = stops[place]
    return found


def _bare(plan: dict[str, Any]) -> None:
    """Forget all given times, so that each judge lays them out itself."""
    for route in plan["routes"]:
        for key in ("departure", "return"):
            route.pop(key, None)
        for stop in route["stops"]:
            for key in ("arrival", "start", "end"):
                stop.pop(key, None)


def _without(plan: dict[str, Any], kind: str) -> None:
    for route in plan["routes"]:
        route["stops"] = [stop for stop in route["stops"] if stop["type"] != kind]


def _late(stops: list[dict[str, Any]]) -> None:
    stops.insert(len(stops) - 2, stops.pop(next(place for place, stop in enumerate(stops) if stop["type"] == "pause")))


def _of(made: dict[str, Any], plan: dict[str, Any], place: int = -1) -> dict[str, Any]:
    name = [stop["id"] for stop in plan["routes"][0]["stops"] if stop["type"] == "visit"][place]
    found: dict[str, Any] = next(one for one in made["visits"] if one["id"] == name)
    return found


def _crew(made: dict[str, Any], plan: dict[str, Any], route: int = 0) -> list[dict[str, Any]]:
    return [one for one in made["collectors"] if one["id"] in plan["routes"][route]["collectors"]]


MUTANTS: dict[str, Edit] = {
    "a pause left out": lambda d, p: (_without(p, "pause"), _bare(p)),
    "a pause too short": lambda d, p: _stop(p, "pause").update(end=_stop(p, "pause")["end"] - 1),
    "a pause before its window": lambda d, p: [
        one.update(breaks=[{"window": [_stop(p, "pause")["start"] + 1, _stop(p, "pause")["start"] + 60], "duration_s": 60}])
        for one in d["collectors"]],
    "a pause too late": lambda d, p: (_bare(p), _late(_route(p, "pause")["stops"])),
    "a pause elsewhere": lambda d, p: _stop(p, "pause").update(place="office2"),
    "a pause with nothing after it": lambda d, p: (_bare(p), p["routes"][0]["stops"].append({"type": "pause"})),
    "a pause before the first stop, nowhere": lambda d, p: (_bare(p), p["routes"][-1]["stops"].insert(0, {"type": "pause"})),
    "a longer break": lambda d, p: [one["breaks"][0].update(duration_s=3 * HOUR) for one in d["collectors"]],
    "a break more": lambda d, p: [one["breaks"].append({"window": [14 * HOUR, 14 * HOUR + 60], "duration_s": 60}) for one in d["collectors"]],
    "slower hours": lambda d, p: d["travel"].update(speeds=[{"span": [8 * HOUR, 20 * HOUR], "percent": 30}]),
    "no slow hours": lambda d, p: d["travel"].update(speeds=[]),
    "faster hours": lambda d, p: d["travel"].update(speeds=[{"span": [8 * HOUR, 20 * HOUR], "percent": 140}]),
    "the ordinary speed": lambda d, p: d["travel"].update(speed_kmh=24.0),
    "a credential gone": lambda d, p: _crew(d, p)[1].update(credentials=["boc"]),
    "a pinned time": lambda d, p: _of(d, p).update(pinned_start=19 * HOUR),
    "a pinned person": lambda d, p: _of(d, p).update(pinned_collectors=p["routes"][1]["collectors"][:1]),
    "one debtor": lambda d, p: [one.update(debtor="d") for one in d["visits"]],
    "another office": lambda d, p: [one.update(start="p2", end="p2") for one in d["collectors"]],
    "bound to another": lambda d, p: d["pairing"].update(fixed=[[p["routes"][0]["collectors"][0], p["routes"][1]["collectors"][0]]]),
    "a conflict": lambda d, p: d["pairing"].update(conflicts=[p["routes"][1]["collectors"]]),
    "not available": lambda d, p: _crew(d, p)[0].update(available=False),
    "nobody leads": lambda d, p: [one.update(lead=False) for one in d["collectors"]],
    "rotation": lambda d, p: d["pairing"].update(
        max_consecutive_days=1, history=[{"days_ago": 1, "pairs": [p["routes"][0]["collectors"], p["routes"][1]["collectors"]]}]),
    "too many pairs": lambda d, p: d["pairing"].update(max_pairs=len(p["routes"]) - 1) if not d.get("progress") else p["routes"].append(
        {"collectors": ["bilal", "nobody"], "stops": [{"type": "visit", "id": "V0"}]}),
    "the same two twice": lambda d, p: p["routes"][1].update(collectors=p["routes"][0]["collectors"]),
    "one alone": lambda d, p: p["routes"][0].update(collectors=p["routes"][0]["collectors"][:1]),
    "a short shift": lambda d, p: [one["shift"].__setitem__(1, 14 * HOUR) for one in d["collectors"]],
    "a shift apart": lambda d, p: _crew(d, p)[0].update(shift=[18 * HOUR + 1, 20 * HOUR]),
    "leaving early": lambda d, p: p["routes"][0].update(departure=7 * HOUR),
    "a wrong return": lambda d, p: p["routes"][0].update({"return": p["routes"][0]["return"] + 1}),
    "a wrong arrival": lambda d, p: p["routes"][0]["stops"][-1].update(arrival=p["routes"][0]["stops"][-1]["arrival"] + 1),
    "a wrong end": lambda d, p: p["routes"][0]["stops"][-1].update(end=p["routes"][0]["stops"][-1]["end"] + 1),
    "a visit twice": lambda d, p: (_bare(p), p["routes"][0]["stops"].append(deepcopy(_stop(p, "visit")))),
    "an unknown stop": lambda d, p: p["routes"][0]["stops"][-1].update(id="V99", bank="nowhere"),
    "not approved": lambda d, p: _of(d, p).update(approval={"status": "pending", "effective_from": None}),
    "approved later": lambda d, p: _of(d, p)["approval"].update(effective_from=20 * HOUR),
    "excluded": lambda d, p: _of(d, p).update(excluded_collectors=p["routes"][0]["collectors"][:1]),
    "a certificate": lambda d, p: _of(d, p).update(required_cert="gold"),
    "a language": lambda d, p: _of(d, p).update(required_language="yue"),
    "women": lambda d, p: (_of(d, p).update(gender_rule="female_present"), [one.update(gender="M") for one in d["collectors"]]),
    "mixed": lambda d, p: (_of(d, p).update(gender_rule="mixed"), [one.update(gender="F") for one in d["collectors"]]),
    "a window": lambda d, p: _of(d, p).update(windows=[[0, 60]]),
    "hours": lambda d, p: d.update(horizon=[8 * HOUR, 12 * HOUR]),
    "cash kept": lambda d, p: (_without(p, "deposit"), _bare(p)),
    "carry limit": lambda d, p: d["cash"].update(carry_limit_fen=1000),
    "the banks' limits": lambda d, p: d["cash"].update(limits=[{"bank": one, "carry_limit_fen": 39_999} for one in ("icbc", "ccb")]),
    "banks closed": lambda d, p: [one.update(close=9 * HOUR + 900) for one in d["banks"]],
    "another bank's counters": lambda d, p: [one.update(bank="boc") for one in d["banks"]],
    "the counters change places": lambda d, p: [one.update(bank={"icbc": "ccb", "ccb": "icbc"}[one["bank"]]) for one in d["banks"]],
    "another bank's money": lambda d, p: [one.update(bank={"icbc": "ccb", "ccb": "icbc"}[one["bank"]]) for one in d["visits"]],
    "a deposit elsewhere": lambda d, p: (
        _bare(p), _stop(p, "deposit").update(bank={"branch": "other", "other": "branch"}[_stop(p, "deposit")["bank"]])),
    "two banks' money in one hand": lambda d, p: (_bare(p), [one.update(bank=None) for one in d["banks"]], [
        one.update(cash_fen=100, bank="icbc" if n % 2 else "ccb") for n, one in enumerate(
            next(visit for visit in d["visits"] if visit["id"] == stop["id"]) for stop in p["routes"][0]["stops"] if stop["type"] == "visit")]),
    "the list": lambda d, p: p["unserved"].append({"id": "V1"}),
    "schema": lambda d, p: p.update(schema="plan/9"),
    "another day": lambda d, p: p.update(instance="x"),
}
RUNNING_MUTANTS: dict[str, Edit] = {
    "a locked start": lambda d, p: p["routes"][0]["stops"][0].update(start=p["routes"][0]["stops"][0]["start"] + 1),
    "a locked stop gone": lambda d, p: p["routes"][0]["stops"].pop(0),
    "a locked departure": lambda d, p: p["routes"][0].update(departure=p["routes"][0]["departure"] - 1),
    "other people": lambda d, p: p["routes"][0].update(collectors=list(reversed(p["routes"][1]["collectors"]))),
    "free later": lambda d, p: [one.update(free_at=one["free_at"] + HOUR) for one in d["progress"]],
    "later now": lambda d, p: d.update(now=d["now"] + 2 * HOUR),
    "standing elsewhere": lambda d, p: [one.update(place="p3" if one["place"] != "p3" else "p2") for one in d["progress"]],
    "more cash in hand": lambda d, p: (
        [stop.update(cash_fen=500) for one in d["progress"] for stop in one["stops"] if stop["type"] == "visit"], _without(p, "deposit")),
}


@pytest.mark.parametrize("now", [None, 10 * HOUR, 12 * HOUR], ids=["before", "morning", "noon"])
def test_every_mutant_of_a_good_plan_is_caught_by_both_judges(now: int | None) -> None:
    made, plan = _planned(now)
    assert _verdicts(made, plan) == (True, True)
    assert any(stop["type"] == "pause" for route in plan["routes"] for stop in route["stops"])
    survived: list[tuple[str, tuple[bool, bool]]] = []
    for name, change in {**MUTANTS, **(RUNNING_MUTANTS if now else {})}.items():
        edited = deepcopy(made), deepcopy(plan)
        change(*edited)
        if _verdicts(*edited) != (False, False):
            survived.append((name, _verdicts(*edited)))
    assert survived == []


def _judges_agree(made: dict[str, Any], limits: Limits) -> None:
    raw = json.loads(encode_plan(solve(load_instance(made), limits)))
    assert faults(made, raw) == []


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(running_days())
def test_what_ortools_plans_is_clean_for_the_second_judge(made: dict[str, Any]) -> None:
    _judges_agree(made, Limits(search_s=120, iterations_max=3, engine=Engine.ORTOOLS))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(running_days())
def test_what_the_compiled_search_plans_is_clean_for_the_second_judge(made: dict[str, Any]) -> None:
    if not search.is_ready():
        pytest.skip("the search kernels are not compiled: run `python -m routing warm`")
    _judges_agree(made, Limits(search_s=120, iterations_max=300, engine=Engine.SEARCH))


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(running_days(visits_max=6), st.data())
def test_both_judges_agree_on_plans_bent_at_random(made: dict[str, Any], data: st.DataObject) -> None:
    plan = json.loads(encode_plan(solve(load_instance(made), FEW)))
    plan.pop("unserved")
    stops = [stop for route in plan["routes"] for stop in route["stops"]]
    for _ in range(data.draw(st.integers(1, 2))):
        if not stops:
            return
        stop = data.draw(st.sampled_from(stops))
        key = data.draw(st.sampled_from(["arrival", "start", "end", "none", "gone", "place"]))
        if key in ("arrival", "start", "end") and key in stop:
            stop[key] += data.draw(st.sampled_from([-600, -1, 1, 600]))
        elif key == "gone":
            for route in plan["routes"]:
                route["stops"] = [one for one in route["stops"] if one is not stop]
        elif key == "place" and stop["type"] == "pause":
            stop["place"] = made["locations"][0]["id"]
        else:
            for name in ("arrival", "start", "end"):
                stop.pop(name, None)
    own = not check(load_instance(made), load_plan(plan))
    assert own == (not faults(made, plan)), (check(load_instance(made), load_plan(plan)), faults(made, plan))
