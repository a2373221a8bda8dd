"""What all references share: the day with its fixed pairs, and the way from orders of visits back to a plan.

Every engine gets the same pairs (swap matching, then CP-SAT), and the deposits of whatever it returns are placed anew by the dynamic
programme where that is cheaper, as ours are: no engine loses by a choice of bank that its model did not know.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import msgspec
import numpy as np

from routing.assemble import assemble_plan
from routing.engines.pairing import match_pairs
from routing.matrix import travel_matrix
from routing.model import Instance, Plan
from routing.objective import Tour, empty_tour, total_cost
from routing.pairing import pair_weights, swap_matching
from routing.problem import Problem, build_problem
from routing.schedule import plan_deposits, time_route
from routing.timing import Pair, make_pair

PAIRING_S = 2.0
FORBIDDEN_S = 1 << 24


class Day(msgspec.Struct, frozen=True, eq=False):
    """A day with its pairs, fixed. Node numbers are the problem's: visits, then banks."""

    instance: Instance
    problem: Problem
    pairs: tuple[Pair, ...]
    serves: np.ndarray

    @property
    def bank_of(self) -> np.ndarray:
        """Return, per visit, the node of the nearest bank that still takes a deposit after the visit's first window, or -1."""
        problem, first = self.problem, self.problem.n
        if not problem.banks:
            return np.full(first, -1)
        opens = np.where(problem.window_hi >= problem.window_lo, problem.window_lo, FORBIDDEN_S).min(axis=1)[:first]
        soonest = (opens + problem.service_s[:first])[:, None] + problem.travel_s[:first, first:]
        travel = np.where(soonest <= problem.window_hi[first:].max(axis=1)[None, :], problem.travel_s[:first, first:], FORBIDDEN_S)
        return np.where(travel.min(axis=1) < FORBIDDEN_S, travel.argmin(axis=1) + first, -1)


class Routed(msgspec.Struct, frozen=True, eq=False):
    """What an engine returned: the nodes of each pair in order (banks included), and its incumbents as (seconds, cost without balance)."""

    orders: Sequence[Sequence[int]]
    curve: Sequence[tuple[float, int]] = ()
    note: str = ""


def form_day(instance: Instance, seed: int) -> Day:
    """Form the pairs and fix them."""
    problem = build_problem(instance, travel_matrix(instance))
    weights = pair_weights(problem)
    matching = match_pairs(weights, problem.pairs_max, swap_matching(weights, problem.pairs_max), search_s=PAIRING_S, seed=seed)
    serves = np.vstack([problem.pair_serves(a, b) for a, b in matching])
    return Day(instance, problem, tuple(make_pair(problem, a, b) for a, b in matching), serves)


def tours_of(day: Day, orders: Sequence[Sequence[int]]) -> tuple[list[Tour], int]:
    """Time the orders of visits; also say how many routes had no schedule and were emptied."""
    tours: list[Tour] = []
    refused = 0
    for pair, order in zip(day.pairs, orders, strict=True):
        visits = tuple(node for node in order if node < day.problem.n)
        timings = [one for one in (time_route(day.problem, pair, tuple(order)), plan_deposits(day.problem, pair, visits)) if one is not None]
        refused += not timings
        best = min(timings, key=lambda one: (one.travel_s, one.return_at), default=None)
        tours.append(empty_tour(day.problem, pair.a, pair.b) if best is None else Tour(pair, best))
    return tours, refused


def plan_of(day: Day, tours: Sequence[Tour]) -> tuple[Plan, int]:
    """Return the plan and its cost as the engines count it."""
    return assemble_plan(day.instance, day.problem, tours, None, None), total_cost(day.problem, tours)


def windows_of(problem: Problem, node: int) -> list[tuple[int, int]]:
    """Return the spans in which service may start, in order."""
    spans = zip(problem.window_lo[node].tolist(), problem.window_hi[node].tolist(), strict=True)
    return [(lo, hi) for lo, hi in spans if hi >= lo]


def servable(day: Day) -> list[int]:
    """Return the visits that some pair may make at some time."""
    able = day.serves.any(axis=0)
    return [node for node in range(day.problem.n) if able[node] and windows_of(day.problem, node)]


def never_served(day: Day) -> int:
    """Return what the visits cost that no engine is even offered: what its own objective lacks."""
    offered = set(servable(day))
    return day.problem.fixed_cost + sum(int(day.problem.loss[node]) for node in range(day.problem.n) if node not in offered)


class Clock:
    """Seconds since the engine was let loose."""

    def __init__(self) -> None:
        self.began = time.monotonic()

    def __call__(self) -> float:
        return time.monotonic() - self.began
