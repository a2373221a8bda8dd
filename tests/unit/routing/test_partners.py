"""Partners change over a whole day at once: the least sum of ways, nobody twice, no rule broken, and undone where it brings nothing."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from routing import Limits, check, instance_object, load_instance, solve
from routing.engines import partners, search, strands
from routing.engines.layout import day_arrays, neighbourly
from routing.engines.state import DUE, HI, LEN, LO, NODE, A, B, State
from routing.matrix import travel_matrix
from routing.model import Instance
from routing.pairing import pair_weights, swap_matching
from routing.problem import I64, Problem, build_problem
from routing.solve import heat_for
from tests.unit.routing.support_days import HOUR, day, days, visit

pytestmark = pytest.mark.long

CORNERS = ((31.0, 121.0), (31.0, 121.1), (31.1, 121.0), (31.1, 121.1))
NO_BOUND = 1e9


@pytest.fixture(autouse=True)
def compiled() -> None:
    """Skip where the kernels are not compiled: tests never wait a minute for a compiler."""
    if not search.is_ready():
        pytest.skip("the search kernels are not compiled: run `python -m routing warm`")


def collector(name: str, home: str, *, lead: bool) -> dict[str, Any]:
    return {
        "id": name, "gender": "F", "lead": lead, "certs": [], "languages": ["zh"], "available": True, "shift": [8 * HOUR, 20 * HOUR], "start": home,
        "end": home,
    }


def corners(partners_home: tuple[int, ...]) -> Instance:
    """Return a day of four leads, each at home in a corner with a visit, and of partners at home in the corners given."""
    homes = [{"id": f"home{number}", "kind": "home", "lat": lat, "lon": lon} for number, (lat, lon) in enumerate(CORNERS)]
    doors = [{"id": f"door{number}", "kind": "visit", "lat": lat + 0.01, "lon": lon} for number, (lat, lon) in enumerate(CORNERS)]
    people = [collector(f"lead{corner}", f"home{corner}", lead=True) for corner in range(4)]
    people += [collector(f"mate{number}", f"home{corner}", lead=False) for number, corner in enumerate(partners_home)]
    made = day(*(visit(f"V{corner}", f"door{corner}", windows=[[9 * HOUR, 20 * HOUR]], value=9) for corner in range(4)), collectors=people)
    made["locations"] += homes + doors
    made["pairing"]["max_pairs"] = 4
    return load_instance(made)


def state_of(instance: Instance, matching: list[tuple[int, int]]) -> tuple[Problem, State]:
    problem = build_problem(instance, travel_matrix(instance))
    given = {pair: (corner,) for corner, pair in enumerate(matching)}
    arrays, names = neighbourly(day_arrays(problem, heat_for(problem.n)))
    return problem, State.of(arrays, names, matching, 1, given, strands._kernels())


def exchange(whole: State, loss_max: float = NO_BOUND) -> bool:
    return partners.exchange_partners(whole, strands._kernels(), loss_max, np.random.default_rng(1))


def ways_of(problem: Problem, pairs: list[tuple[int, int]]) -> int:
    return sum(
        int(max(problem.out_s[a, node], problem.out_s[b, node]) + max(problem.back_s[node, a], problem.back_s[node, b]))
        for node, (a, b) in enumerate(pairs)
    )


def pairs_by_visit(whole: State) -> list[tuple[int, int]]:
    rows = {int(whole.names[whole.rt[row, 0, NODE]]): row for row in range(len(whole.rs)) if whole.rs[row, LEN]}
    return [(int(whole.rs[rows[node], A]), int(whole.rs[rows[node], B])) for node in sorted(rows)]


def test_a_ring_of_four_partners_each_in_the_next_ones_corner_comes_home_at_once() -> None:
    problem, whole = state_of(corners((1, 2, 3, 0)), [(0, 4), (1, 5), (2, 6), (3, 7)])
    assert exchange(whole)
    assert pairs_by_visit(whole) == [(0, 7), (1, 4), (2, 5), (3, 6)]
    assert ways_of(problem, pairs_by_visit(whole)) == int(whole.rs[:, 5].sum())


def test_somebody_idle_who_is_nearer_takes_the_place_and_who_left_is_idle() -> None:
    _, whole = state_of(corners((0, 1, 2, 0, 3)), [(0, 4), (1, 5), (2, 6), (3, 7)])
    assert whole.idle.tolist() == [8]
    assert exchange(whole)
    assert pairs_by_visit(whole) == [(0, 4), (1, 5), (2, 6), (3, 8)]
    assert whole.idle.tolist() == [7]


@pytest.mark.parametrize("homes", [(3, 2, 1, 0), (0, 0, 1, 1, 2, 3), (2, 2, 2, 2), (1, 0, 3, 3, 2)])
def test_with_leads_held_no_other_choice_of_partners_has_shorter_ways(homes: tuple[int, ...]) -> None:
    problem, whole = state_of(corners(homes), [(0, 4), (1, 5), (2, 6), (3, 7)])
    exchange(whole)
    best = min(ways_of(problem, list(zip(range(4), chosen, strict=True))) for chosen in itertools.permutations(range(4, 4 + len(homes)), 4))
    assert ways_of(problem, pairs_by_visit(whole)) == best


def test_nobody_is_let_in_whom_a_visit_excludes_or_whose_shift_is_too_short() -> None:
    free = corners((1, 0, 2, 3))
    barred = load_instance(_with(free, visits={"V1": {"excluded_collectors": ["mate0"]}}))
    short = load_instance(_with(free, collectors={"mate0": {"shift": [8 * HOUR, 9 * HOUR]}}))
    matching = [(0, 4), (1, 5), (2, 6), (3, 7)]
    assert exchange(state_of(free, matching)[1])
    assert not exchange(state_of(barred, matching)[1])
    whole = state_of(short, [(0, 5), (1, 6), (2, 7), (3, 4)])[1]
    exchange(whole)
    assert all(4 not in pair for pair in pairs_by_visit(whole))


def test_no_pair_loses_more_matching_weight_than_it_may() -> None:
    matching = [(0, 4), (1, 5), (2, 6), (3, 7)]
    _, whole = state_of(corners((1, 2, 3, 0)), matching)
    for a, b in matching:
        whole.arrays.weight[a, b] = whole.arrays.weight[b, a] = 1_000_000
    assert not exchange(whole, 0.0)
    assert exchange(whole, 1_000_000.0)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(days())
def test_an_exchange_keeps_every_visit_and_rule_and_never_costs_more(made: dict[str, Any]) -> None:
    problem = build_problem(load_instance(made), travel_matrix(load_instance(made)))
    matching = swap_matching(pair_weights(problem), problem.pairs_max)
    if not problem.n or not matching:
        return
    whole = State.of(*neighbourly(day_arrays(problem, heat_for(problem.n))), list(matching), 1, {}, strands._kernels())
    nodes, before, everybody = _visits(whole), whole.cost_of(whole.rs), _people(whole)
    is_better = exchange(whole)
    assert _visits(whole) == nodes
    assert (whole.cost_of(whole.rs) < before) == is_better
    assert _people(whole) == everybody
    one = whole.arrays
    for row in whole.rs:
        assert one.weight[row[A], row[B]] > 0
        assert (row[LO], row[HI]) == (max(one.crew[row[A], 0], one.crew[row[B], 0]), min(one.crew[row[A], 1], one.crew[row[B], 1]))
    assert (whole.rt[whole.rs[:, LEN] > 0, 0, DUE] >= 0).all()


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
@given(days())
def test_a_search_that_exchanges_every_round_breaks_no_rule(monkeypatch: pytest.MonkeyPatch, made: dict[str, Any]) -> None:
    for name, small in (("ISLANDS_VISITS_MAX", 0), ("AREA_VISITS", 3), ("ROUTES_MIN", 1), ("EXCHANGES", strands.LEVELS)):
        monkeypatch.setattr(strands, name, small)
    instance = load_instance(made)
    assert check(instance, solve(instance, Limits(search_s=120, iterations_max=300, strands=2))) == ()


def _visits(whole: State) -> list[list[int]]:
    return [[node for node in whole.rt[row, : whole.rs[row, LEN], NODE].tolist() if node < whole.n] for row in range(len(whole.rs))]


def _people(whole: State) -> list[int]:
    """Return everybody, once each, who is in a pair or may be; those who may go with nobody are left out."""
    people: I64 = np.concatenate([whole.rs[:, A], whole.rs[:, B], whole.idle])
    assert len(set(people.tolist())) == len(people)
    return sorted(one for one in people.tolist() if whole.arrays.weight[one].any())


def _with(instance: Instance, **changes: dict[str, dict[str, Any]]) -> dict[str, Any]:
    made = instance_object(instance)
    for key, by_name in changes.items():
        for one in made[key]:
            one.update(by_name.get(one["id"], {}))
    return made
