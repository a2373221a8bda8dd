"""The compiled search on several strands: one result for one seed and number of strands, and no visit made twice or lost between areas."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from routing import Engine, Limits, check, encode_plan, load_instance, plan_digest, record_of, replay, solve
from routing.engines import search, state, strands
from routing.engines.layout import NEAR, day_arrays, nearest, neighbourly, smallest
from routing.engines.state import Part, State
from routing.matrix import travel_matrix
from routing.pairing import pair_weights, swap_matching
from routing.problem import build_problem
from routing.solve import heat_for
from tests.unit.routing.support_days import days
from tests.unit.routing.test_process import wide

pytestmark = pytest.mark.long


@pytest.fixture(autouse=True)
def compiled() -> None:
    """Skip where the kernels are not compiled: tests never wait a minute for a compiler."""
    if not search.is_ready():
        pytest.skip("the search kernels are not compiled: run `python -m routing warm`")


@pytest.fixture
def cut(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cut even small days into areas."""
    monkeypatch.setattr(strands, "ISLANDS_VISITS_MAX", 0)
    monkeypatch.setattr(strands, "AREA_VISITS", 6)
    monkeypatch.setattr(strands, "ROUTES_MIN", 1)


def by_iterations(count: int, number: int) -> Limits:
    return Limits(search_s=120, iterations_max=count, engine=Engine.SEARCH, strands=number)


@pytest.mark.parametrize("is_cut", [False, True])
@pytest.mark.parametrize("number", [2, 3])
def test_the_strands_of_one_run_give_the_same_plan_whoever_is_faster(number: int, *, is_cut: bool, request: pytest.FixtureRequest) -> None:
    if is_cut:
        request.getfixturevalue("cut")
    instance = wide(60)
    first, second = (solve(instance, by_iterations(1500, number), seed=5) for _ in range(2))
    assert encode_plan(first) == encode_plan(second)
    assert check(instance, first) == ()
    assert first.solver is not None
    assert first.solver.parameters["strands"] == number
    assert sum(one.iterations for one in first.solver.contributions if one.engine == "compiled search") == 1500


@pytest.mark.parametrize("is_cut", [False, True])
def test_a_plan_by_the_clock_on_two_strands_repeats_where_there_is_one_processor(
    monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest, *, is_cut: bool
) -> None:
    if is_cut:
        request.getfixturevalue("cut")
    instance = wide(60)
    plan = solve(instance, Limits(search_s=1.0, engine=Engine.SEARCH, strands=2), seed=3)
    monkeypatch.setattr(strands, "strands_here", lambda: 1)
    assert plan_digest(replay(record_of(instance, plan))) == plan_digest(plan)


@pytest.mark.usefixtures("cut")
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
@given(days())
def test_areas_never_break_a_hard_rule(made: dict[str, Any]) -> None:
    instance = load_instance(made)
    assert check(instance, solve(instance, by_iterations(300, 2))) == ()


def test_an_area_taken_out_and_given_back_leaves_everything_as_it_was() -> None:
    problem = build_problem(wide(80), travel_matrix(wide(80)))
    matching = swap_matching(pair_weights(problem), problem.pairs_max)
    whole = State.of(*neighbourly(day_arrays(problem, heat_for(problem.n))), matching, 1, {}, strands._kernels())
    rt, rs, where, idle = (one.copy() for one in (whole.rt, whole.rs, whole.where, whole.idle))
    rows = np.arange(0, len(whole.rs), 2)
    part = Part(whole, rows, whole.unserved[:0].copy(), np.arange(len(whole.idle)), 7)
    nodes, figures, loss = part.best()
    part.give_back(whole)
    is_used = np.arange(rt.shape[1])[None, :] <= rs[:, 0][:, None]
    assert (whole.rt[is_used] == rt[is_used]).all()
    assert (whole.rs == rs).all()
    assert (whole.where == where).all()
    assert (whole.idle == idle).all()
    assert (figures == rs[rows]).all()
    assert all((nodes[index, : rs[row, 0]] == rt[row, : rs[row, 0], 0]).all() for index, row in enumerate(rows.tolist()))
    assert loss == 0


def test_the_layout_is_the_kernels_own() -> None:
    kernels = importlib.import_module("routing.engines.kernels")
    names = ("NODE", "LEAVE", "DUE", "LEN", "A", "B", "LO", "HI", "TRAVEL", "WORK", "LABELS")
    assert [getattr(state, name) for name in names] == [getattr(kernels, name) for name in names]


def test_every_visit_is_in_one_area_and_every_area_has_routes() -> None:
    problem = build_problem(wide(80), travel_matrix(wide(80)))
    matching = swap_matching(pair_weights(problem), problem.pairs_max)
    whole = State.of(*neighbourly(day_arrays(problem, heat_for(problem.n))), matching, 1, {}, strands._kernels())
    used = int((whole.rs[:, 0] > 0).sum())
    rng = np.random.default_rng(1)
    for areas in range(1, used + 1):
        area_of = strands._cut_routes(whole, areas, rng)
        assert sorted(set(area_of[whole.rs[:, 0] > 0].tolist())) == list(range(areas))


def test_the_smallest_of_a_row_come_in_order_and_equal_ones_from_left_to_right() -> None:
    table = np.random.default_rng(5).integers(-1, 4, size=(40, 300))
    for count in (1, 7, 150, 300):
        assert smallest(table, count).tolist() == [sorted(range(300), key=lambda column: (row[column], column))[:count] for row in table.tolist()]


def test_near_visits_are_the_others_by_the_way_there_and_back() -> None:
    travel = np.random.default_rng(6).integers(0, 30, size=(300, 300)).astype(np.int32)
    apart = (travel + travel.T).tolist()
    others = [sorted((one for one in range(300) if one != row), key=lambda one, row=row: (apart[row][one], one)) for row in range(300)]  # type: ignore[misc]
    assert nearest(travel).tolist() == [row[:NEAR] for row in others]
