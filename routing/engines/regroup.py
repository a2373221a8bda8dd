"""Form another pair where the pairs of the plan cannot make a visit: dissolve what it takes, pair up who is left, insert what was freed."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec
import numpy as np

from routing.alone import NEVER, Alone, alone
from routing.engines.insertion import cheapest_place, regret_start
from routing.objective import Tour, empty_tour, is_open, open_of, total_cost, visits_of
from routing.pairing import pair_weights
from routing.problem import I64, Problem

OPTIONS_TRIED = 6
WANTED_MAX = 12


class Formation(msgspec.Struct, frozen=True):
    """Form the pair (a, b) for one visit: what that costs at first sight (before anything freed is served again) and the tours it dissolves."""

    price: int
    a: int
    b: int
    rows: tuple[int, ...]


def formations(problem: Problem, tours: Sequence[Tour], node: int, tried: Alone) -> list[Formation]:
    """Return the able pairs that are not in the plan, the cheapest few. Two idle people dissolve the least tour when no pair may be added."""
    row_of = np.full(len(problem.shift_lo), -1, dtype=np.int64)
    losses, travel_s, is_fixed = (np.zeros(len(tours) + 1, dtype=np.int64) for _ in range(3))
    rows_used = [row for row, tour in enumerate(tours) if tour.timing.nodes]
    for row in rows_used:
        row_of[list(tours[row].collectors)] = row
        losses[row] = sum(int(problem.loss[one]) for one in visits_of(problem, tours[row]))
        travel_s[row], is_fixed[row] = tours[row].timing.travel_s, problem.anchor_of[tours[row].pair.a] >= 0
    able = np.flatnonzero(tried.with_cash)
    a, b = tried.a[able], tried.b[able]
    first, second = row_of[a], row_of[b]
    allowed = ((first != second) | (first < 0)) & (is_fixed[first] == 0) & (is_fixed[second] == 0)
    if len(rows_used) >= problem.pairs_max:
        free = [row for row in rows_used if not is_fixed[row]]
        is_idle = (first < 0) & (second < 0)
        first = np.where(is_idle, min(free, key=lambda row: int(losses[row])) if free else -1, first)
        allowed &= ~is_idle | bool(free)
    # Row -1 is the spare entry behind the last: a member who is in no tour gives nothing up.
    price = losses[first] + losses[second] - int(problem.loss[node])
    price += problem.travel_weight * (tried.travel_s[able] - travel_s[first] - travel_s[second])
    price[~allowed] = NEVER
    order = np.lexsort((b, a, price))[:OPTIONS_TRIED]
    return [
        Formation(int(price[one]), int(a[one]), int(b[one]), tuple(sorted({int(first[one]), int(second[one])} - {-1})))
        for one in order.tolist() if price[one] < NEVER
    ]


def regroup(problem: Problem, tours: Sequence[Tour], is_late: Callable[[], bool]) -> list[Tour]:
    """Try new pairs for the visits left out, dearest first; keep each plan that is cheaper as a whole."""
    best = [tour for tour in tours if tour.timing.nodes]
    best_cost = total_cost(problem, best)
    weight = pair_weights(problem).weight
    dearest = sorted(open_of(problem, best), key=lambda one: (-int(problem.loss[one]), one))
    for node in dearest[:WANTED_MAX]:
        if not is_open(problem, best, node):
            continue
        for option in formations(problem, best, node, alone(problem, node))[:OPTIONS_TRIED]:
            if is_late():
                return best
            changed = _form(problem, best, option, (node, weight), is_late)
            if changed is not None and total_cost(problem, changed) < best_cost:
                best, best_cost = changed, total_cost(problem, changed)
                break
    return best


def _form(
    problem: Problem, tours: Sequence[Tour], option: Formation, wanted: tuple[int, I64], is_late: Callable[[], bool]
) -> list[Tour] | None:
    node, weight = wanted
    first = cheapest_place(problem, [empty_tour(problem, option.a, option.b)], node)
    if first is None:
        return None
    kept = [tour for row, tour in enumerate(tours) if row not in option.rows]
    grown = [*kept, first[1]]
    idle = sorted(set(range(len(weight))) - {one for tour in grown for one in tour.collectors})
    while len(grown) < problem.pairs_max and len(idle) > 1:
        table = weight[np.ix_(idle, idle)]
        if table.max() <= 0:
            break
        row, column = divmod(int(table.argmax()), len(idle))
        a, b = idle[row], idle[column]
        grown.append(empty_tour(problem, a, b))
        idle = [one for one in idle if one not in (a, b)]
    return [tour for tour in regret_start(problem, grown, is_late) if tour.timing.nodes]
