"""Solved plans are clean, lose nothing, repeat to the byte, and give true reasons."""

from __future__ import annotations

import sys
import time
from itertools import combinations
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings

from routing import Engine, Limits, Plan, PlanRefused, apply_changes, check, cost, encode_plan, explain, load_instance, solve
from routing.changes import Change, ChangeKind
from routing.check_rules import pair_faults, visit_faults
from routing.matrix import table_matrix, travel_matrix
from routing.model import Instance, Route, Stop, StopType, Unserved, VisitId
from routing.reasons import HARD_REASONS, ReasonCode
from tests.unit.routing.support_days import DAY, HOUR, day, days, visit

pytestmark = pytest.mark.long

FEW = Limits(search_s=120, iterations_max=3)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(days())
def test_solve_never_breaks_a_hard_rule_and_loses_no_visit(made: dict[str, Any]) -> None:
    instance = load_instance(made)
    plan = solve(instance, FEW)
    assert check(instance, plan) == ()
    assert plan.unserved is not None
    left = {one.id for one in plan.unserved}
    assert plan.served() | left == {one.id for one in instance.visits}
    assert plan.served().isdisjoint(left)
    assert plan.solver is not None
    assert plan.solver.cost == cost(instance, plan).total


def _alone_plan(instance: Instance, pair: tuple[str, ...], name: str, bank: str | None) -> Plan:
    stops = [Stop(type=StopType.VISIT, id=VisitId(name))]
    if bank is not None:
        stops.append(Stop(type=StopType.DEPOSIT, bank=bank))  # type: ignore[arg-type]
    return Plan(schema="fieldday-plan/1", instance=instance.name, routes=(Route(collectors=pair, stops=tuple(stops)),))  # type: ignore[arg-type]


def _can_be_alone(instance: Instance, name: str) -> bool:
    """Try every pair alone on one visit, with every bank, by the judge that shares no code with the solver."""
    banks: list[str | None] = [None, *(bank.id for bank in instance.banks)]
    return any(
        check(instance, _alone_plan(instance, (a.id, b.id), name, bank)) == ()
        for a, b in combinations(instance.collectors, 2) for bank in banks
    )


def _could_be_added(instance: Instance, plan: Plan, name: str) -> bool:
    """Try every gap of every route, with and without a deposit behind it."""
    bare = [tuple(msgspec.structs.replace(stop, arrival=None, start=None, end=None) for stop in route.stops) for route in plan.routes]
    visit_stop = Stop(type=StopType.VISIT, id=VisitId(name))
    extras = [(visit_stop,), *((visit_stop, Stop(type=StopType.DEPOSIT, bank=bank.id)) for bank in instance.banks)]  # type: ignore[arg-type]
    for number, stops in enumerate(bare):
        for gap in range(len(stops) + 1):
            for extra in extras:
                routes = [
                    Route(collectors=route.collectors, stops=(*stops[:gap], *extra, *stops[gap:]) if number == row else bare[row])
                    for row, route in enumerate(plan.routes)
                ]
                if check(instance, Plan(schema="fieldday-plan/1", instance=instance.name, routes=tuple(routes))) == ():
                    return True
    return False


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(days(visits_max=7))
def test_every_reason_is_true_by_trying(made: dict[str, Any]) -> None:
    instance = load_instance(made)
    plan = solve(instance, FEW)
    by_id = {one.id: one for one in instance.visits}
    for left in plan.unserved or ():
        wanted, code = by_id[left.id], ReasonCode(left.code)
        allowed = [
            (a, b) for a, b in combinations(instance.collectors, 2) if not list(pair_faults(instance, a, b)) and not list(visit_faults(wanted, a, b))
        ]
        assert (code is ReasonCode.NOT_APPROVED) == (not wanted.approval.is_granted)
        if code is ReasonCode.NOT_APPROVED:
            continue
        possible = instance.pairing.max_pairs > 0 and _can_be_alone(instance, left.id)
        assert (code not in HARD_REASONS) == possible
        if code is ReasonCode.NO_LEGAL_PAIR:
            assert not allowed
        if code in (ReasonCode.NO_TIME_ALONE, ReasonCode.CASH_NOT_DEPOSITABLE):
            assert allowed
            without_cash = apply_changes(instance, [Change(kind=ChangeKind.DROP_CASH, subject=left.id)])
            assert _can_be_alone(without_cash, left.id) == (code is ReasonCode.CASH_NOT_DEPOSITABLE)
        assert code is not ReasonCode.SOLVER_MISSED
        assert not _could_be_added(instance, plan, left.id)
        assert left.reason
        assert left.reason_zh


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(days(visits_max=6))
def test_the_change_given_serves_the_visit(made: dict[str, Any]) -> None:
    instance = load_instance(made)
    mandatory = {one.id for one in instance.visits if one.mandatory}
    for left in solve(instance, FEW).unserved or ():
        if not left.changes or mandatory - {left.id}:
            continue  # Two mandatory visits may compete; then no single change decides.
        changed = apply_changes(instance, [msgspec.convert(one, Change) for one in left.changes])
        assert left.id in solve(changed, FEW).served(), left


def test_the_same_seed_and_iterations_give_the_same_bytes() -> None:
    instance = load_instance(day(*[visit(f"V{n}", f"p{n % 4}", service_s=4000 + 100 * n, cash_fen=1000 * (n % 2)) for n in range(14)]))
    first, second = (encode_plan(solve(instance, FEW, seed=7)) for _ in range(2))
    assert first == second


def test_a_table_replaces_great_circle_travel_and_is_named_by_digest() -> None:
    instance = load_instance(day(visit("V0", "p0"), visit("V1", "p1")))
    own = travel_matrix(instance)
    slow = table_matrix({"ids": list(own.ids), "seconds": (own.seconds * 2).tolist(), "metres": own.metres.tolist()}, instance)
    plan = solve(instance, FEW, matrix=slow)
    assert check(instance, plan, slow) == ()
    assert check(instance, plan) != ()
    assert plan.solver is not None
    assert plan.solver.matrix_digest == slow.digest() != own.digest()


@pytest.mark.parametrize("change", [{"collectors": []}, {"collectors": DAY["collectors"][:1]}, {"pairing": {**DAY["pairing"], "max_pairs": 0}}])
def test_VIS_01_without_two_people_the_plan_is_empty_and_says_so(change: dict[str, Any]) -> None:
    plan = solve(load_instance({**day(visit("V0", "p0")), **change}), FEW)
    assert plan.routes == ()
    assert [(one.id, one.code) for one in plan.unserved or ()] == [("V0", "no_pair_today")]


def test_a_day_without_visits_gives_an_empty_plan() -> None:
    assert solve(load_instance(day()), FEW).routes == ()


@pytest.mark.parametrize(("wanted", "code", "changed"), [
    (visit("V0", "p0", approval={"status": "pending", "effective_from": None}), "not_approved", ["approve"]),
    (visit("V0", "p0", required_cert="corporate"), "no_legal_pair", ["grant_cert"]),
    (visit("V0", "p0", required_language="yue"), "no_legal_pair", ["grant_language"]),
    (visit("V0", "p0", required_cert="secured", excluded_collectors=["bilal"]), "no_legal_pair", ["grant_cert"]),
    (visit("V0", "p0", excluded_collectors=["bilal", "dong", "emin"]), "no_legal_pair", ["lift_exclusions"]),
    (visit("V0", "p0", windows=[[19 * HOUR, 20 * HOUR]]), "no_time_alone", ["widen_window"]),
    (visit("V0", "p0", windows=[[17 * HOUR, 18 * HOUR]], cash_fen=5000, service_s=900), "cash_not_depositable", ["drop_cash"]),
    (visit("V0", "p0", cash_fen=2_000_000), "cash_not_depositable", ["drop_cash"]),
])
def test_hard_reasons_name_what_is_missing(wanted: dict[str, Any], code: str, changed: list[str]) -> None:
    instance = load_instance(day(wanted))
    (left,) = solve(instance, FEW).unserved or ()
    assert (left.code, [one["kind"] for one in left.changes]) == (code, changed)
    assert solve(apply_changes(instance, [msgspec.convert(one, Change) for one in left.changes]), FEW).served() == {"V0"}


@pytest.mark.parametrize(("status", "said"), [("pending", "待审批"), ("withdrawn", "已撤回"), ("postponed", "已改期"), ("on-hold", "“on-hold”")])
def test_REQ_03_the_reason_speaks_one_language(status: str, said: str) -> None:
    (left,) = solve(load_instance(day(visit("V0", "p0", approval={"status": status, "effective_from": None}))), FEW).unserved or ()
    assert f"审批状态为{said}," in left.reason_zh
    assert f"The approval is {status}," in left.reason


def test_a_displaced_visit_names_what_stands_in_its_way_and_the_price() -> None:
    rivals = [visit(f"V{n}", "p0", windows=[[9 * HOUR, 9 * HOUR]], value=8 - n) for n in range(3)]
    (left,) = solve(load_instance(day(*rivals)), FEW).unserved or ()
    assert (left.id, left.code, left.params["visits"]) in [("V2", "displaced", ["V0"]), ("V2", "displaced", ["V1"])]
    assert left.params["price"] == 3600 * 1
    assert left.params["visits"][0] in left.reason
    assert left.params["visits"][0] in left.reason_zh


def test_a_visit_that_a_hand_made_plan_could_still_take_is_called_missed() -> None:
    instance = load_instance(day(visit("V0", "p0"), visit("V1", "p1")))
    plan = _alone_plan(instance, ("bilal", "dong"), "V0", None)
    assert [(one.visit, one.code) for one in explain(instance, plan)] == [("V1", ReasonCode.SOLVER_MISSED)]


def test_progress_shows_a_clean_incumbent_and_cancel_ends_the_search() -> None:
    instance = load_instance(day(*[visit(f"V{n}", f"p{n % 4}") for n in range(12)]))
    seen: list[Plan] = []
    began = time.monotonic()
    plan = solve(
        instance, Limits(search_s=300, engine=Engine.ORTOOLS), on_progress=lambda now: seen.append(now.plan()), cancelled=lambda: bool(seen)
    )
    assert time.monotonic() - began < 100
    assert seen
    assert all(check(instance, one) == () for one in seen)
    assert check(instance, plan) == ()


def test_a_plan_that_breaks_a_rule_is_never_returned(monkeypatch: pytest.MonkeyPatch) -> None:
    module = sys.modules["routing.solve"]
    true_publish = module._Run.publish  # type: ignore[attr-defined]

    def spoiled(run: Any) -> Plan:
        plan: Plan = true_publish(run)
        return msgspec.structs.replace(plan, unserved=(Unserved(id=VisitId("V0")),))

    monkeypatch.setattr(module._Run, "publish", spoiled)  # type: ignore[attr-defined]
    with pytest.raises(PlanRefused):
        solve(load_instance(day(visit("V0", "p0"))), FEW)
