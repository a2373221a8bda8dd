"""Reasons of `fieldday/2` days are true: every pair is tried alone, what could be added is never left out, and the change given serves the visit."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from routing import Engine, Instance, Limits, Plan, apply_changes, encode_plan, load_instance, solve
from routing.changes import Change, ChangeKind
from routing.engines import search
from routing.hand import Draft, lay_out
from routing.model import VisitId
from routing.reader import instance_object
from routing.reasons import HARD_REASONS, ReasonCode
from tests.unit.routing.second_judge import faults
from tests.unit.routing.support_days import HOUR, day, visit
from tests.unit.routing.support_running import FEW, running_days

pytestmark = pytest.mark.long

COMPILED = Limits(search_s=120, iterations_max=200, engine=Engine.SEARCH)
Stops = list[dict[str, Any]]


def _is_clean(instance: Instance, routes: list[dict[str, Any]]) -> bool:
    return not faults(instance_object(instance), {"schema": "fieldday-plan/1", "instance": instance.name, "routes": routes})


def _with_pauses(instance: Instance, stops: Stops) -> list[Stops]:
    """Return the stops as they are, and with one pause, or two in either order of place, wherever a pause may stand."""
    if not any(one.breaks for one in instance.collectors):
        return [stops]
    places = {str(one.id): str(one.location) for one in (*instance.visits, *instance.banks)}
    found = [stops]
    for at in range(len(stops)):
        if stops[at]["type"] == "pause" or stops[at].get("start") is not None:
            continue
        here = {"type": "pause", "place": places[str(stops[at].get("id") or stops[at]["bank"])]}
        options = [here, *([{"type": "pause"}] if at else [])]
        found += [[*stops[:at], one, *stops[at:]] for one in options]
        found += [[*stops[:at], here, here, *stops[at:]]]
    return found


def _can_be_alone(instance: Instance, name: str) -> bool:
    """Try every pair alone on one visit, with every bank and every place of a pause, by the second judge."""
    own: Stops = [{"type": "visit", "id": name}]
    endings: list[Stops] = [own, *([*own, {"type": "deposit", "bank": bank.id}] for bank in instance.banks)]
    kept = {frozenset(one.collectors): one for one in instance.progress}
    for a, b in combinations(instance.collectors, 2):
        if frozenset((a.id, b.id)) in kept:
            continue
        others = [_locked(one) for one in instance.progress]
        for ending in endings:
            for stops in _with_pauses(instance, ending):
                if _is_clean(instance, [*others, {"collectors": [a.id, b.id], "stops": stops}]):
                    return True
    return any(_goes_on(instance, one, endings) for one in instance.progress if one.together)


def _locked(one: Any) -> dict[str, Any]:
    stops = [{key: value for key, value in msgspec.to_builtins(stop).items() if key != "cash_fen"} for stop in one.stops]
    return {"collectors": list(one.collectors), "departure": one.departure, "stops": stops}


def _goes_on(instance: Instance, own: Any, endings: list[Stops]) -> bool:
    others = [_locked(one) for one in instance.progress if one is not own]
    banks: list[Stops] = [[], *([{"type": "deposit", "bank": bank.id}] for bank in instance.banks)]
    mine = _locked(own)
    return any(
        _is_clean(instance, [*others, {**mine, "stops": [*mine["stops"], *stops]}])
        for first in banks for ending in endings for stops in _with_pauses(instance, [*first, *ending])
    )


def _could_be_added(instance: Instance, plan: Plan, name: str) -> bool:
    """Try every place of every route that has not begun, with deposits and pauses laid out anew, by the second judge."""
    drafts = [Draft(route.collectors, tuple(stop.id for stop in route.stops if stop.id is not None)) for route in plan.routes]
    for row, draft in enumerate(drafts):
        for gap in range(len(draft.visits) + 1):
            bent = [*drafts]
            bent[row] = Draft(draft.collectors, (*draft.visits[:gap], VisitId(name), *draft.visits[gap:]))
            raw: dict[str, Any] = msgspec.json.decode(encode_plan(lay_out(instance, bent)))
            if not faults(instance_object(instance), raw):
                return True
    return False


def _assert_true(instance: Instance, plan: Plan) -> None:
    for left in plan.unserved or ():
        code = ReasonCode(left.code)
        wanted = next(one for one in instance.visits if one.id == left.id)
        assert (code is ReasonCode.NOT_APPROVED) == (not wanted.approval.is_granted)
        if code is ReasonCode.NOT_APPROVED:
            continue
        assert code is not ReasonCode.SOLVER_MISSED
        if code in HARD_REASONS and instance.pairing.max_pairs:
            assert not _can_be_alone(instance, left.id), left
        if not instance.progress:
            assert not _could_be_added(instance, plan, left.id), left


@pytest.mark.slow
@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(running_days(visits_max=6))
def test_every_reason_of_ortools_plans_is_true_by_trying(made: dict[str, Any]) -> None:
    instance = load_instance(made)
    _assert_true(instance, solve(instance, msgspec.structs.replace(FEW, engine=Engine.ORTOOLS)))


@pytest.mark.slow
@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(running_days(visits_max=6))
def test_every_reason_of_the_compiled_search_is_true_by_trying(made: dict[str, Any]) -> None:
    if not search.is_ready():
        pytest.skip("the search kernels are not compiled: run `python -m routing warm`")
    instance = load_instance(made)
    _assert_true(instance, solve(instance, COMPILED))


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(running_days(visits_max=5), st.data())
def test_the_change_given_serves_the_visit(made: dict[str, Any], data: st.DataObject) -> None:
    instance = load_instance(made)
    mandatory = {one.id for one in instance.visits if one.mandatory}
    left = [one for one in solve(instance, FEW).unserved or () if one.changes and not mandatory - {one.id}]
    if not left:
        return     # Two mandatory visits may compete; then no single change decides.
    one = data.draw(st.sampled_from(left))
    changed = apply_changes(instance, [msgspec.convert(change, Change) for change in one.changes])
    assert one.id in solve(changed, FEW).served(), one


def _rested(window: list[int], lasts: int) -> list[dict[str, Any]]:
    crew = day()["collectors"]
    return [{**one, "breaks": [{"window": window, "duration_s": lasts}]} for one in crew]


@pytest.mark.parametrize(("changes", "travel", "crew"), [
    ({"windows": [[12 * HOUR, 12 * HOUR + 900]], "service_s": 5400}, {}, _rested([12 * HOUR - 300, 13 * HOUR], 3600)),
    ({"windows": [[8 * HOUR, 8 * HOUR + 900]]}, {"speeds": [{"span": [8 * HOUR, 9 * HOUR], "percent": 10}]}, None),
])
def test_a_break_and_a_slow_hour_are_hard_reasons_with_a_change_that_serves(
    changes: dict[str, Any], travel: dict[str, Any], crew: list[dict[str, Any]] | None
) -> None:
    made = day(visit("V0", "p0", **changes), schema="fieldday/2")
    made["travel"] |= travel
    made["collectors"] = crew or made["collectors"]
    instance = load_instance(made)
    (left,) = solve(instance, FEW).unserved or ()
    assert (left.code, [one["kind"] for one in left.changes]) == ("no_time_alone", ["widen_window"])
    assert not _can_be_alone(instance, "V0")
    assert solve(apply_changes(instance, [msgspec.convert(one, Change) for one in left.changes]), FEW).served() == {"V0"}
    assert ChangeKind(left.changes[0]["kind"]) is ChangeKind.WIDEN_WINDOW
