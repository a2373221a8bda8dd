"""The cost of routes as the engines see it: the same integer that `check.cost` computes by its own way."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from routing.problem import Problem
from routing.timing import Pair, Timing, make_pair


class Tour(msgspec.Struct, frozen=True, eq=False):
    """A pair and its timed route; an empty timing means the pair stays at home."""

    pair: Pair
    timing: Timing

    @property
    def collectors(self) -> tuple[int, int]:
        return self.pair.a, self.pair.b


def visits_of(problem: Problem, tour: Tour) -> tuple[int, ...]:
    """Return the visits of a tour in order, without its deposits; the anchor of a pair at work counts as one."""
    return tuple(node for node in tour.timing.nodes if node < problem.n)


def given_up_of(problem: Problem, tour: Tour) -> tuple[int, ...]:
    """Return the visits of a tour that could be left out instead: all but the anchor."""
    return tuple(node for node in visits_of(problem, tour) if node not in problem.anchors)


def unserved_of(problem: Problem, tours: Iterable[Tour]) -> list[int]:
    """Return the visits that no tour makes, in instance order."""
    served = {node for tour in tours for node in tour.timing.nodes}
    return [node for node in range(problem.n) if node not in served]


def open_of(problem: Problem, tours: Iterable[Tour]) -> list[int]:
    """Return the unserved visits that may be added: no rival of theirs is made."""
    served = {node for tour in tours for node in tour.timing.nodes}
    return [
        node for node in range(problem.n)
        if node not in served and (problem.rivals[node] < 0 or served.isdisjoint(problem.rivals_of(node)))
    ]


def is_open(problem: Problem, tours: Iterable[Tour], node: int) -> bool:
    """Report whether neither the visit nor a rival of it is made by any tour."""
    asked = {node, *problem.rivals_of(node)}
    return all(asked.isdisjoint(tour.timing.nodes) for tour in tours)


def total_cost(problem: Problem, tours: Sequence[Tour]) -> int:
    """Return mandatory and value losses, weighted travel and the balance term."""
    used = [tour.timing for tour in tours if tour.timing.nodes]
    loss = sum(int(problem.loss[node]) for node in unserved_of(problem, tours))
    return problem.fixed_cost + loss + problem.travel_weight * sum(one.travel_s for one in used) + balance_cost(problem, used)


def balance_cost(problem: Problem, used: Sequence[Timing]) -> int:
    """Return (longest - shortest work) // imbalance_div over the pairs in use."""
    work = [one.travel_s + one.service_s for one in used]
    return (max(work) - min(work)) // problem.imbalance_div if work else 0


def empty_tour(problem: Problem, a: int, b: int) -> Tour:
    """Return the tour of a pair without stops."""
    pair = make_pair(problem, a, b)
    return Tour(pair, Timing((), (), pair.shift[0], pair.shift[0], 0, 0))
