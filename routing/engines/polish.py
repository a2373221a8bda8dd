"""Finish a plan: add what still fits, and exchange stops for a better visit, until no visit left out could be served cheaper than it is lost."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec
import numpy as np

from routing.alone import alone, legal_pairs
from routing.engines.insertion import IMPOSSIBLE, cheapest_place, insert_visit, offers, repair
from routing.engines.regroup import regroup
from routing.objective import Tour, empty_tour, is_open, open_of, total_cost, visits_of
from routing.problem import I64, Problem
from routing.schedule import plan_deposits

ROUNDS_MAX = 50


class Swap(msgspec.Struct, frozen=True, eq=False):
    """A way to serve a visit instead of others: tour `row` without them becomes `shorter`, and the plan's cost would rise by `price`."""

    row: int
    shorter: Tour
    given_up: tuple[int, ...]
    price: int


def cheapest_swaps(problem: Problem, tours: Sequence[Tour], left: Sequence[int], is_late: Callable[[], bool]) -> dict[int, Swap]:
    """Return, per unserved visit, the cheapest way to serve it instead of one stop, or two in a row, of some tour. Balance is not counted."""
    best: dict[int, Swap] = {}
    asked = np.array(left, dtype=np.int64)
    if not len(asked):
        return best
    for width in (1, 2):
        for row, tour in enumerate(tours):
            for first in range(len(visits_of(problem, tour)) - width + 1):
                if is_late():
                    return best
                _swap_out(problem, (row, tour), (first, first + width), asked, best)
    return best


def polish(problem: Problem, tours: Sequence[Tour], is_late: Callable[[], bool]) -> list[Tour]:
    """Repair, then take every exchange and every other pairing that lowers the cost, repairing after each."""
    # A pair that stayed at home goes out only where that pays: `send_out` asks, `repair` does not.
    out = [tour for tour in tours if tour.timing.nodes]
    grown = regroup(problem, send_out(problem, repair(problem, out, is_late), is_late), is_late)
    for _ in range(ROUNDS_MAX):
        swaps = cheapest_swaps(problem, grown, open_of(problem, grown), is_late)
        gains = sorted((swap.price, node) for node, swap in swaps.items() if swap.price < 0)
        changed = next((better for _, node in gains if (better := _take(problem, grown, node, swaps[node])) is not None), None)
        if changed is None or is_late():
            return grown
        grown = regroup(problem, repair(problem, changed, is_late), is_late)
    return grown


def send_out(problem: Problem, tours: Sequence[Tour], is_late: Callable[[], bool]) -> list[Tour]:
    """Send out another pair of idle collectors for each visit that is worth its trip, while pairs are left; empty tours are dropped."""
    grown = [tour for tour in tours if tour.timing.nodes]
    for node in sorted(open_of(problem, grown), key=lambda one: (-int(problem.loss[one]), one)):
        if len(grown) >= problem.pairs_max or is_late():
            break
        if problem.rivals[node] >= 0 and not is_open(problem, grown, node):
            continue
        pair = idle_pair(problem, grown, node)
        if pair is not None:
            changed = cheapest_place(problem, [empty_tour(problem, *pair)], node)
            grown += [changed[1]] if changed is not None else []
    return repair(problem, grown, is_late)


def idle_pair(problem: Problem, tours: Sequence[Tour], node: int) -> tuple[int, int] | None:
    """Return the two idle collectors with the shortest trip for a visit, when that costs less than the visit is worth and a pair may be added."""
    idle = idle_pairs(problem, tours)
    return None if idle is None else cheapest_of(problem, idle, node)


def idle_pairs(problem: Problem, tours: Sequence[Tour]) -> tuple[I64, I64] | None:
    """Return the legal pairs of collectors who are in no tour; None when no pair may be added."""
    used = {one for tour in tours for one in tour.collectors if tour.timing.nodes}
    if len(used) // 2 >= problem.pairs_max:
        return None
    return legal_pairs(problem, np.array([one for one in range(len(problem.shift_lo)) if one not in used], dtype=np.int64))


def cheapest_of(problem: Problem, pairs: tuple[I64, I64], node: int) -> tuple[int, int] | None:
    """Return the pair with the shortest trip for a visit alone, when that costs less than the visit is worth."""
    tried = alone(problem, node, pairs)
    if not tried.with_cash.any():
        return None
    best = tried.cheapest()
    if problem.travel_weight * int(tried.travel_s[best]) >= int(problem.loss[node]):
        return None
    return int(tried.a[best]), int(tried.b[best])


def _take(problem: Problem, tours: Sequence[Tour], node: int, swap: Swap) -> list[Tour] | None:
    """Make one exchange; None when the whole plan does not get cheaper by it."""
    offer = offers(problem, swap.shorter, np.array([node], dtype=np.int64))
    changed = insert_visit(problem, swap.shorter, node, int(offer.gap[0]), int(offer.bank[0]))
    if changed is None:
        return None
    after = [changed if row == swap.row else tour for row, tour in enumerate(tours)]
    for lost in swap.given_up:
        if problem.rivals[lost] >= 0 and not is_open(problem, after, lost):
            continue
        place = cheapest_place(problem, after, lost)
        if place is not None:
            after[place[0]] = place[1]
    return after if total_cost(problem, after) < total_cost(problem, tours) else None


def _swap_out(problem: Problem, place: tuple[int, Tour], gone: tuple[int, int], asked: I64, best: dict[int, Swap]) -> None:
    row, tour = place
    order = visits_of(problem, tour)
    if any(node in problem.anchors for node in order[gone[0] : gone[1]]):
        return
    rest = plan_deposits(problem, tour.pair, order[: gone[0]] + order[gone[1] :])
    if rest is None:
        return
    shorter, given_up = Tour(tour.pair, rest), order[gone[0] : gone[1]]
    lost = sum(int(problem.loss[node]) for node in given_up)
    offer = offers(problem, shorter, asked)
    rise = lost + problem.travel_weight * (offer.extra_s + rest.travel_s - tour.timing.travel_s) - problem.loss[asked]
    for column in np.flatnonzero(offer.extra_s < IMPOSSIBLE).tolist():
        node = int(asked[column])
        if node not in best or int(rise[column]) < best[node].price:
            best[node] = Swap(row, shorter, given_up, int(rise[column]))
