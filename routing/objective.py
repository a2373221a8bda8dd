"""The cost of routes as the engines see it: the same integer that `check.cost` computes by its own way."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from routing.problem import Problem
from routing.schedule import Pair, Timing, make_pair


class Tour(msgspec.Struct, frozen=True, eq=False):
    """A pair and its timed route; an empty timing means the pair stays at home."""

    pair: Pair
    timing: Timing

    @property
    def collectors(self) -> tuple[int, int]:
        return self.pair.a, self.pair.b


def visits_of(problem: Problem, tour: Tour) -> tuple[int, ...]:
    """Return the visits of a tour in order, without its deposits."""
    return tuple(node for node in tour.timing.nodes if node < problem.n)


def unserved_of(problem: Problem, tours: Iterable[Tour]) -> list[int]:
    """Return the visits that no tour makes, in instance order."""
    served = {node for tour in tours for node in tour.timing.nodes}
    return [node for node in range(problem.n) if node not in served]


def total_cost(problem: Problem, tours: Sequence[Tour]) -> int:
    """Return mandatory and value losses, weighted travel and the balance term."""
    used = [tour.timing for tour in tours if tour.timing.nodes]
    loss = sum(int(problem.loss[node]) for node in unserved_of(problem, tours))
    return loss + problem.travel_weight * sum(one.travel_s for one in used) + balance_cost(problem, used)


def balance_cost(problem: Problem, used: Sequence[Timing]) -> int:
    """Return (longest - shortest work) // imbalance_div over the pairs in use."""
    work = [one.travel_s + one.service_s for one in used]
    return (max(work) - min(work)) // problem.imbalance_div if work else 0


def empty_tour(problem: Problem, a: int, b: int) -> Tour:
    """Return the tour of a pair without stops."""
    pair = make_pair(problem, a, b)
    return Tour(pair, Timing((), (), pair.shift[0], pair.shift[0], 0, 0))
