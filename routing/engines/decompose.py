"""Improve a day part by part: OR-Tools sub-solves of a few neighbouring pairs and the visits around them, warm-started; pairs formed anew too."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

import msgspec
import numpy as np

from routing.engines.exchange import re_form, shake
from routing.engines.ortools import Effort, route_pairs
from routing.objective import Tour, is_open, total_cost, unserved_of, visits_of
from routing.pairing import pair_weights
from routing.problem import I64, Problem

PART_VISITS_MAX = 90
UNSERVED_OFFERED = 25
SUB_SOLVE_S_PER_PAIR = 0.08
SUB_SOLVE_S_PER_VISIT = 0.004
AS_IT_IS, RE_FORM, SHAKE = 0, 1, 2
LEAST_SHARE = 0.1
MEMORY = 0.9
ASKS_PER_VISIT = 1_000
GUARD_S = 600.0


class Pace(msgspec.Struct, frozen=True, kw_only=True):
    """When to stop: a predicate, and optionally a number of sub-solves, which also makes each of them repeatable; or the solutions that each
    sub-solve of an earlier run by the clock found, which repeats that run.
    """

    stop: Callable[[], bool]
    iterations_max: int | None = None
    solutions: Sequence[int] | None = None
    left_s: Callable[[], float] = lambda: GUARD_S


class Parts(msgspec.Struct, frozen=True, eq=False):
    """The improved tours, how many parts were drawn, and how many solutions each sub-solve found."""

    tours: list[Tour]
    made: int
    solutions: tuple[int, ...]


def improve_parts(problem: Problem, tours: Sequence[Tour], pace: Pace, seed: int, on_better: Callable[[list[Tour], int], None]) -> Parts:
    """Improve part by part until the end of the pace; `on_better` sees each improvement."""
    rng = random.Random(seed)
    best = list(tours)
    best_cost, made, solutions = total_cost(problem, best), 0, list[int]()
    weight, gains = pair_weights(problem).weight, [2.0, 1.0, 1.0]
    while best and not pace.stop() and (pace.iterations_max is None or made < pace.iterations_max):
        made += 1
        kind = _draw_kind(rng, gains)
        rows, chosen, visits = _part(problem, best, kind, (rng, weight), pace)
        gains[kind] *= MEMORY
        if not rows:
            continue
        routed, found = route_pairs(problem, chosen, visits, _effort(pace, len(chosen), len(visits), len(solutions)))
        solutions.append(found)
        candidate = [tour for row, tour in enumerate(best) if row not in rows] + routed
        candidate_cost = total_cost(problem, candidate)
        if candidate_cost < best_cost:
            gains[kind] += (1 - MEMORY) * (best_cost - candidate_cost)
            best, best_cost = candidate, candidate_cost
            on_better(best, made)
    return Parts(best, made, tuple(solutions))


def _draw_kind(rng: random.Random, gains: list[float]) -> int:
    """Draw how the next part begins: each way has its least share, and the rest goes by what each brought lately."""
    every = sum(gains)
    shares = [LEAST_SHARE + (1 - len(gains) * LEAST_SHARE) * (gain / every if every > 1.0 else 1 / len(gains)) for gain in gains]
    return rng.choices((AS_IT_IS, RE_FORM, SHAKE), shares)[0]


def _part(
    problem: Problem, tours: list[Tour], kind: int, drawn: tuple[random.Random, I64], pace: Pace
) -> tuple[tuple[int, ...], list[Tour], list[int]]:
    """Choose the tours to replace, those to begin with, and the visits to offer; no rows when the draw came to nothing."""
    rng, weight = drawn
    if kind == RE_FORM:
        again = re_form(
            problem, tours, weight, rng, pace.stop, lambda: _neighbours(problem, tours, rng),
            lambda gone, fresh: _offered(problem, tours, gone, rng, fresh),
        )
        return ((), [], []) if again is None else again
    rows = tuple(sorted(_neighbours(problem, tours, rng)))
    chosen = [tours[row] for row in rows]
    visits = sorted({node for tour in chosen for node in visits_of(problem, tour)} | set(_offered(problem, tours, chosen, rng, chosen)))
    if kind == SHAKE:
        chosen = shake(problem, chosen, visits, rng, pace.stop)
    return rows, chosen, visits


def _effort(pace: Pace, pairs: int, visits: int, number: int) -> Effort:
    if pace.solutions is not None:
        # Beyond the last one the run has come out otherwise already.
        return Effort(search_s=GUARD_S, solutions_max=pace.solutions[number] if number < len(pace.solutions) else 0)
    if pace.iterations_max is not None:
        return Effort(search_s=GUARD_S, asks_max=ASKS_PER_VISIT * visits)
    return Effort(search_s=max(0.02, min(SUB_SOLVE_S_PER_PAIR * pairs, SUB_SOLVE_S_PER_VISIT * visits, pace.left_s())))


def _neighbours(problem: Problem, tours: Sequence[Tour], rng: random.Random) -> list[int]:
    """Pick a tour and the one to three nearest to one of its stops, nearest first; a tour without stops counts by its pair's first leg."""
    first = rng.randrange(len(tours))
    wanted = rng.choice((2, 3, 3, 4))
    visits = visits_of(problem, tours[first]) or tuple(unserved_of(problem, tours))
    if not visits:
        return [first]
    here = rng.choice(visits)
    near = sorted((_distance_s(problem, tour, here) + rng.random(), row) for row, tour in enumerate(tours) if row != first)
    rows, count = [first], len(visits_of(problem, tours[first]))
    for _, row in near[: wanted - 1]:
        count += len(visits_of(problem, tours[row]))
        if count > PART_VISITS_MAX:
            break
        rows.append(row)
    return rows


def _distance_s(problem: Problem, tour: Tour, node: int) -> int:
    stops = list(tour.timing.nodes)
    return int(problem.travel_s[node, stops].min()) if stops else int(tour.pair.out_s[node])


def _offered(problem: Problem, tours: Sequence[Tour], chosen: Sequence[Tour], rng: random.Random, pairs: Sequence[Tour]) -> list[int]:
    """Offer the dearest unserved visits that one of the pairs to route may make, with a little chance in the order."""
    serves = np.any([problem.pair_serves(*tour.collectors) for tour in pairs], axis=0)
    others = [tour for tour in tours if not any(tour is one for one in chosen)]
    able = [node for node in unserved_of(problem, tours) if serves[node] and (problem.rivals[node] < 0 or is_open(problem, others, node))]
    able.sort(key=lambda node: -float(problem.loss[node]) * rng.uniform(0.5, 1.0))
    return able[:UNSERVED_OFFERED]
