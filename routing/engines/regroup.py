"""Form another pair where the pairs of the plan cannot make a visit: dissolve what it takes, pair up who is left, insert what was freed."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec
import numpy as np

from routing.alone import Alone, alone
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
    """Return every able pair that is not in the plan, cheapest first. Two idle people dissolve the least tour when no pair may be added."""
    used = {one: row for row, tour in enumerate(tours) for one in tour.collectors if tour.timing.nodes}
    losses = [sum(int(problem.loss[one]) for one in visits_of(problem, tour)) for tour in tours]
    rows_used = sorted(set(used.values()))
    is_full = len(rows_used) >= problem.pairs_max
    options: list[Formation] = []
    for index in np.flatnonzero(tried.with_cash).tolist():
        a, b = int(tried.a[index]), int(tried.b[index])
        rows = {used[one] for one in (a, b) if one in used}
        if len(rows) == 1 and a in used and b in used:
            continue
        if any(problem.anchor_of[tours[row].pair.a] >= 0 for row in rows):
            continue
        if not rows and is_full:
            free = [row for row in rows_used if problem.anchor_of[tours[row].pair.a] < 0]
            if not free:
                continue
            rows = {min(free, key=lambda row: losses[row])}
        saved_s = sum(tours[row].timing.travel_s for row in rows)
        price = sum(losses[row] for row in rows) + problem.travel_weight * (int(tried.travel_s[index]) - saved_s) - int(problem.loss[node])
        options.append(Formation(price, a, b, tuple(sorted(rows))))
    return sorted(options, key=lambda one: (one.price, one.a, one.b))


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
