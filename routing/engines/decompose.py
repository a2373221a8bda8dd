"""Improve a day part by part: OR-Tools sub-solves of a few neighbouring pairs and the visits around them, warm-started."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

import msgspec
import numpy as np

from routing.engines.ortools import Effort, route_pairs
from routing.objective import Tour, is_open, total_cost, unserved_of, visits_of
from routing.problem import Problem

PART_VISITS_MAX = 90
UNSERVED_OFFERED = 25
SUB_SOLVE_S_PER_PAIR = 0.08
GUARD_S = 20.0


class Pace(msgspec.Struct, frozen=True, kw_only=True):
    """When to stop: a predicate, and optionally a number of sub-solves, which also makes each of them one repeatable descent."""

    stop: Callable[[], bool]
    iterations_max: int | None = None
    left_s: Callable[[], float] = lambda: GUARD_S


def improve_parts(
    problem: Problem, tours: Sequence[Tour], pace: Pace, seed: int, on_better: Callable[[list[Tour], int], None]
) -> tuple[list[Tour], int]:
    """Return the improved tours and the number of sub-solves made; `on_better` sees each improvement."""
    rng = random.Random(seed)
    best = list(tours)
    best_cost, made = total_cost(problem, best), 0
    while best and not pace.stop() and (pace.iterations_max is None or made < pace.iterations_max):
        rows = _neighbours(problem, best, rng)
        chosen = [best[row] for row in rows]
        visits = sorted({node for tour in chosen for node in visits_of(problem, tour)} | set(_offered(problem, best, chosen, rng)))
        effort = _effort(pace, len(rows))
        routed = route_pairs(problem, chosen, visits, effort)
        made += 1
        candidate = list(best)
        for row, tour in zip(rows, routed, strict=True):
            candidate[row] = tour
        candidate_cost = total_cost(problem, candidate)
        if candidate_cost < best_cost:
            best, best_cost = candidate, candidate_cost
            on_better(best, made)
    return best, made


def _effort(pace: Pace, pairs: int) -> Effort:
    if pace.iterations_max is not None:
        return Effort(search_s=GUARD_S, is_descent=True)
    return Effort(search_s=max(0.02, min(SUB_SOLVE_S_PER_PAIR * pairs, pace.left_s())))


def _neighbours(problem: Problem, tours: Sequence[Tour], rng: random.Random) -> list[int]:
    """Pick a tour and the one to three nearest to one of its stops; a tour without stops counts by its pair's first leg."""
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
    return sorted(rows)


def _distance_s(problem: Problem, tour: Tour, node: int) -> int:
    stops = list(tour.timing.nodes)
    return int(problem.travel_s[node, stops].min()) if stops else int(tour.pair.out_s[node])


def _offered(problem: Problem, tours: Sequence[Tour], chosen: Sequence[Tour], rng: random.Random) -> list[int]:
    """Offer the dearest unserved visits that some chosen pair may make, with a little chance in the order."""
    serves = np.any([problem.pair_serves(*tour.collectors) for tour in chosen], axis=0)
    others = [tour for tour in tours if not any(tour is one for one in chosen)]
    able = [node for node in unserved_of(problem, tours) if serves[node] and (problem.rivals[node] < 0 or is_open(problem, others, node))]
    able.sort(key=lambda node: -float(problem.loss[node]) * rng.uniform(0.5, 1.0))
    return able[:UNSERVED_OFFERED]
