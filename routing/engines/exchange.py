"""Other starts for a part of the day: some visits taken out and put back in another order, or the pairs themselves formed anew.

What OR-Tools' routing model cannot do by itself: a pair is a vehicle there and never changes, and its search leaves a start only by small steps.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from itertools import combinations

import numpy as np

from routing.engines.insertion import regret_start
from routing.objective import Tour, empty_tour, visits_of
from routing.problem import I64, Problem
from routing.schedule import plan_deposits

IDLE_OFFERED = 3
MARGIN_SHARE = 0.25
SCREEN_SHARE = 0.15
FAVOUR_S = 4_000.0

Pairs = tuple[tuple[int, int], ...]


def re_form(
    problem: Problem, tours: Sequence[Tour], weight: I64, rng: random.Random, stop: Callable[[], bool],
    near: Callable[[], Sequence[int]], offered: Callable[[Sequence[Tour], Sequence[Tour]], Sequence[int]],
) -> tuple[tuple[int, ...], list[Tour], list[int]] | None:
    """Return (rows to replace, the new tours, the visits they were offered), or None when the draw found nothing worth routing.

    At most two tours change. Pairs at work never do. A new matching that loses much weight is tried seldom; one whose quick routing is far
    dearer than what it replaces is not handed on.
    """
    rows = tuple(row for row in near() if problem.anchor_of[tours[row].pair.a] < 0 and problem.anchor_of[tours[row].pair.b] < 0)[:2]
    if not rows:
        return None
    old: Pairs = tuple(tours[row].collectors for row in rows)
    used = sum(1 for tour in tours if tour.timing.nodes)
    room = problem.pairs_max - used + sum(1 for row in rows if tours[row].timing.nodes)
    idle = idle_people(problem, {one for tour in tours for one in tour.collectors}, weight, rng)
    new = draw_pairs(old, idle, weight, room, rng)
    if new is None:
        return None
    fresh = [empty_tour(problem, a, b) for a, b in new]
    freed = [node for row in rows for node in visits_of(problem, tours[row])]
    visits = sorted({*freed, *offered([tours[row] for row in rows], fresh)})
    favour = [rng.expovariate(1 / FAVOUR_S) for _ in visits] if rng.random() < 0.5 else None
    grown = regret_start(problem, fresh, stop, visits, favour, is_thrifty=rng.random() < 0.5)
    before, after = _worth(problem, [tours[row] for row in rows], visits), _worth(problem, grown, visits)
    margin = MARGIN_SHARE * problem.travel_weight * sum(tour.timing.travel_s for tour in grown)
    return (rows, grown, visits) if after < before + margin else None


def shake(
    problem: Problem, tours: Sequence[Tour], visits: Sequence[int], rng: random.Random, stop: Callable[[], bool]
) -> list[Tour]:
    """Take a share of their visits out of the tours and insert those, and others offered, in an order that chance has a hand in."""
    share = rng.uniform(0.2, 0.9)
    kept: list[Tour] = []
    for tour in tours:
        order = tuple(node for node in visits_of(problem, tour) if node in problem.anchors or rng.random() > share)
        timing = plan_deposits(problem, tour.pair, order)
        kept.append(tour if timing is None else Tour(tour.pair, timing))
    there = {node for tour in kept for node in tour.timing.nodes}
    asked = [node for node in visits if node not in there and there.isdisjoint(problem.rivals_of(node))]
    return regret_start(problem, kept, stop, asked, [rng.expovariate(1 / FAVOUR_S) for _ in asked], is_thrifty=rng.random() < 0.5)


def draw_pairs(old: Pairs, idle: Sequence[int], weight: I64, room: int, rng: random.Random) -> Pairs | None:
    """Draw one of the other ways to pair up these people, at most `room` pairs; screened by the loss of matching weight."""
    people = [one for pair in old for one in pair] + list(idle)
    legal = [(min(a, b), max(a, b)) for a, b in combinations(people, 2) if weight[a, b] > 0]
    now = sum(int(weight[pair]) for pair in old)
    share = SCREEN_SHARE * now * rng.expovariate(1.0)
    ways: list[Pairs] = [(one,) for one in legal] if room == 1 or len(old) == 1 else []
    if room > 1:
        ways += [(one, two) for one, two in combinations(legal, 2) if set(one).isdisjoint(two)]
    others = [way for way in ways if set(way) != set(old) and sum(int(weight[pair]) for pair in way) >= now - share]
    return rng.choice(others) if others else None


def idle_people(problem: Problem, busy: set[int], weight: I64, rng: random.Random) -> list[int]:
    """Draw some of those who are in no tour and could be in one."""
    idle = [one for one in range(len(weight)) if one not in busy and weight[one].any() and problem.anchor_of[one] < 0]
    return rng.sample(idle, min(IDLE_OFFERED, len(idle))) if rng.random() < 0.5 else []


def _worth(problem: Problem, tours: Sequence[Tour], visits: Sequence[int]) -> int:
    served = {node for tour in tours for node in tour.timing.nodes}
    lost = int(np.sum(problem.loss[[node for node in visits if node not in served]]))
    return lost + problem.travel_weight * sum(tour.timing.travel_s for tour in tours)
