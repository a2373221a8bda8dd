"""The search in NumPy prices insertions exactly, hands on only what the schedule and the judge accept, repeats by steps, and finds better plans."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from routing import Engine, Limits, check, encode_plan, load_instance, solve
from routing.engines import recreate as module
from routing.engines.gaps import IMPOSSIBLE
from routing.engines.insertion import regret_start
from routing.engines.recreate import Course, recreate
from routing.matrix import travel_matrix
from routing.model import Instance
from routing.objective import Tour, empty_tour, total_cost, visits_of
from routing.pairing import pair_weights, swap_matching
from routing.problem import Problem, build_problem
from tests.unit.routing.support_days import HOUR, day, days, visit

pytestmark = pytest.mark.long
SLOW = [HealthCheck.too_slow]


def _never() -> bool:
    return False


def _begun(instance: Instance) -> tuple[Problem, list[Tour]]:
    problem = build_problem(instance, travel_matrix(instance))
    pairs = swap_matching(pair_weights(problem), problem.pairs_max)
    return problem, regret_start(problem, [empty_tour(problem, a, b) for a, b in pairs], _never)


def _course(steps: int) -> Course:
    return Course(stop=_never, gone=lambda: 0.0, steps_max=steps)


@settings(max_examples=60, deadline=None, suppress_health_check=SLOW)
@given(days(visits_max=7))
def test_an_offer_is_the_least_extra_travel_of_every_gap_and_bank(made: dict[str, Any]) -> None:
    problem, tours = _begun(load_instance(made))
    if not problem.n or not module.is_able(problem):
        return
    walk = module._Walk(problem, random.Random(0))
    for route in walk.read(tours):
        asked = np.array([node for node in range(problem.n) if node not in route.nodes], dtype=np.intp)
        if not len(asked):
            continue
        extra, gaps, banks = walk.offers(route, asked)
        for node, price, gap, bank in zip(asked.tolist(), extra.tolist(), gaps.tolist(), banks.tolist(), strict=True):
            tried = {}
            for at in range(len(route.nodes) + 1):
                for office in (-1, *(walk.banks[node].tolist() if problem.cash_fen[node] else [])):
                    added = (node,) if office < 0 else (node, office)
                    grown = walk.route(route.pair, route.serves, (*route.nodes[:at], *added, *route.nodes[at:])) if route.serves[node] else None
                    if grown is not None and grown.travel_s - route.travel_s <= problem.loss[node]:
                        tried[at, office] = grown.travel_s - route.travel_s
            if price < IMPOSSIBLE:
                assert tried[gap, bank] == price == min(tried.values())
            else:
                assert not tried


@settings(max_examples=40, deadline=None, suppress_health_check=SLOW)
@given(days(visits_max=8))
def test_what_it_finds_is_timed_counted_and_never_dearer_than_the_start(made: dict[str, Any]) -> None:
    problem, tours = _begun(load_instance(made))
    if not problem.n or not tours or not module.is_able(problem):
        return
    seen: list[int] = []
    found, counts = recreate(problem, tours, _course(80), 3, lambda better: seen.append(total_cost(problem, better)))
    assert sum(counts) == 80
    assert total_cost(problem, found) == min([total_cost(problem, tours), *seen])
    assert seen == sorted(seen, reverse=True)
    made_by = [node for tour in found for node in visits_of(problem, tour)]
    assert len(made_by) == len(set(made_by))
    people = [one for tour in found for one in tour.collectors]
    assert len(people) == len(set(people))
    walk = module._Walk(problem, random.Random(0))
    assert walk.cost(walk.read(found)) + problem.fixed_cost == total_cost(problem, found)


def _two_sides() -> Instance:
    """Two pairs and visits on two sides, with cash to bring in by the afternoon."""
    visits = [
        visit(f"V{n}", f"p{n % 4}", service_s=1800 + 60 * n, cash_fen=2000 * (n % 3), windows=[[(8 + n % 5) * HOUR, 17 * HOUR]]) for n in range(16)
    ]
    return load_instance(day(*visits))


def test_it_betters_a_start_that_no_pair_would_drive_and_repeats_by_steps() -> None:
    instance = _two_sides()
    problem, tours = _begun(instance)
    (first, _), (second, _) = (recreate(problem, tours, _course(300), 7, lambda _: None) for _ in range(2))
    assert [tour.timing for tour in first] == [tour.timing for tour in second]
    assert total_cost(problem, first) < total_cost(problem, tours)


def test_ortools_alone_begins_with_it_and_the_same_iterations_give_the_same_bytes() -> None:
    instance, limits = _two_sides(), Limits(search_s=120, iterations_max=4, engine=Engine.ORTOOLS)
    plan = solve(instance, limits, seed=2)
    assert check(instance, plan) == ()
    assert plan.solver is not None
    brought = {one.engine: one for one in plan.solver.contributions}
    assert brought["ruin and recreate"].iterations == 4 * 50
    assert brought["ruin and recreate"].cost_after < brought["ruin and recreate"].cost_before
    assert encode_plan(solve(instance, limits, seed=2)) == encode_plan(plan)


def test_it_stops_when_it_is_told() -> None:
    problem, tours = _begun(_two_sides())
    asked: list[int] = []

    def stop() -> bool:
        asked.append(1)
        return len(asked) > 5

    counts = recreate(problem, tours, Course(stop=stop, gone=lambda: 0.5), 0, lambda _: None)[1]
    assert (sum(counts), counts[50]) == (5, 5)


def test_it_repeats_a_course_by_the_clock_from_the_steps_of_each_hundredth() -> None:
    problem, tours = _begun(_two_sides())
    clock = iter(number / 400 for number in range(1000))
    now = [0.0]

    def gone() -> float:
        now[0] = next(clock)
        return now[0]

    by_clock, counts = recreate(problem, tours, Course(stop=lambda: now[0] >= 1.0, gone=gone), 7, lambda _: None)
    again, same = recreate(problem, tours, Course(stop=_never, gone=lambda: 0.0, counts=counts), 7, lambda _: None)
    assert same == counts
    assert counts[:3] == (4, 4, 4)
    assert [tour.timing for tour in again] == [tour.timing for tour in by_clock]
    assert total_cost(problem, by_clock) < total_cost(problem, tours)


def test_a_day_with_breaks_is_left_to_ortools() -> None:
    made = day(visit("V0", "p0"), visit("V1", "p1"), schema="fieldday/2")
    made["collectors"][0]["breaks"] = [{"window": [11 * HOUR, 14 * HOUR], "duration_s": 1800}]
    instance = load_instance(made)
    assert not module.is_able(build_problem(instance, travel_matrix(instance)))
    plan = solve(instance, Limits(search_s=60, iterations_max=2, engine=Engine.ORTOOLS))
    assert check(instance, plan) == ()
    assert plan.solver is not None
    assert "ruin and recreate" not in {one.engine for one in plan.solver.contributions}
