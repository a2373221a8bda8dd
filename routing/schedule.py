"""Exact times of one pair's route: where to deposit, and when everything happens.

The order of visits is given. Deposits are chosen by dynamic programming over labels (time, travel, cash in hand, place).
Earliest times dominate: starting sooner never closes a later window.
"""

from __future__ import annotations

import msgspec
import numpy as np

from routing.paced import deposits_paced, time_paced
from routing.problem import Problem
from routing.timing import BANKS_TRIED, LABELS_MAX, Pair, Timing, carry, earliest_start, offices_for


class _Label(msgspec.Struct, frozen=True, eq=False):
    """A partial route. `before` is the label it grew from, `purse` whose cash it carries.

    `node` is the place it stands at (None = both members at their starts).
    """

    time: int
    travel_s: int
    carried_fen: int
    node: int | None
    before: _Label | None
    start: int = 0
    purse: int = 0


def time_route(problem: Problem, pair: Pair, nodes: tuple[int, ...]) -> Timing | None:
    """Return the earliest schedule of a fixed sequence of visits and banks, or None when it breaks a window, the shift or the cash rules.

    The departure is moved as late as the first start of service allows; nothing else changes by it. Where a deposit takes only what
    may be taken, the pair must also be in time without it (F12).
    """
    if nodes and not problem.is_plain:
        return time_paced(problem, pair, nodes)
    clock, here, carried, purse, travel_s, service_s = pair.shift[0], -1, 0, 0, 0, 0
    starts: list[int] = []
    first_leg_s, has_cash, has_fixed = 0, False, False
    released: tuple[int, int] | None = None
    for node in nodes:
        leg = int(pair.out_s[node] if here < 0 else problem.travel_s[here, node])
        first_leg_s = leg if here < 0 else first_leg_s
        start = earliest_start(problem, node, clock + leg)
        if start is None:
            return None
        held = carry(problem, node, carried, purse)
        if held is None:
            return None
        carried, purse = held
        starts.append(start)
        if node >= problem.n:
            released, has_fixed, has_cash = (clock, here) if has_cash and not has_fixed else None, False, False
        else:
            if released is not None and released[0] + int(problem.travel_s[released[1], node]) > start:
                return None
            released = None
            has_cash = has_cash or bool(problem.cash_fen[node])
            has_fixed = has_fixed or bool(problem.cash_fen[node] and not problem.is_cap[node])
        travel_s, service_s = travel_s + leg, service_s + int(problem.service_s[node])
        clock, here = start + int(problem.service_s[node]), node
    if here < 0:
        return Timing((), (), pair.shift[0], pair.shift[0], 0, 0)
    leg = int(pair.back_s[here])
    if carried or any(problem.cash_fen[node] for node in _after_last_bank(problem, nodes)) or clock + leg > pair.shift[1]:
        return None
    return Timing(nodes, tuple(starts), starts[0] - first_leg_s, clock + leg, travel_s + leg, service_s)


def plan_deposits(problem: Problem, pair: Pair, visits: tuple[int, ...]) -> Timing | None:
    """Keep the order of `visits`, add the deposits that cost least travel, and time the whole; None when no way exists.

    Ties go to the earlier return. Exact for banks among the nearest four of each stop while no more than twelve labels stay undominated.
    """
    if not any(problem.cash_fen[node] for node in visits):
        return time_route(problem, pair, visits)
    if not problem.is_plain:
        return deposits_paced(problem, pair, visits)
    labels = [_Label(pair.shift[0], 0, 0, None, None)]
    for index, node in enumerate(visits):
        ahead = visits[index + 1] if index + 1 < len(visits) else None
        visited = [grown for label in labels if (grown := _go(problem, pair, label, node)) is not None]
        labels = _undominated(visited + [grown for label in visited for grown in _via_banks(problem, pair, label, ahead)])
        if not labels:
            return None
    closed = [label for label in labels if not label.carried_fen and label.node is not None and label.time + pair.back_s[label.node] <= pair.shift[1]]
    if not closed:
        return None
    best = min(closed, key=lambda label: (label.travel_s + int(pair.back_s[label.node]), label.time + int(pair.back_s[label.node])))
    return time_route(problem, pair, _nodes_of(best))


def _after_last_bank(problem: Problem, nodes: tuple[int, ...]) -> tuple[int, ...]:
    for index in range(len(nodes) - 1, -1, -1):
        if nodes[index] >= problem.n:
            return nodes[index + 1 :]
    return nodes


def _go(problem: Problem, pair: Pair, label: _Label, node: int) -> _Label | None:
    leg = int(pair.out_s[node] if label.node is None else problem.travel_s[label.node, node])
    start = earliest_start(problem, node, label.time + leg)
    if start is None:
        return None
    done = start + int(problem.service_s[node])
    held = carry(problem, node, label.carried_fen, label.purse)
    if held is None or done > pair.shift[1]:
        return None
    return _Label(done, label.travel_s + leg, held[0], node, label, start, held[1])


def _via_banks(problem: Problem, pair: Pair, label: _Label, ahead: int | None) -> list[_Label]:
    """Grow deposits at the banks that are nearest on the way from here to the next place (or home)."""
    if not label.carried_fen or not problem.banks or label.node is None:
        return []
    banks = offices_for(problem, label.purse)
    onward = problem.travel_s[banks, ahead] if ahead is not None else pair.back_s[banks]
    detour = problem.travel_s[label.node, banks] + onward
    nearest = set(np.argsort(detour, kind="stable")[:BANKS_TRIED].tolist())
    nearest |= set(np.argsort(problem.travel_s[label.node, banks], kind="stable")[:BANKS_TRIED].tolist())
    grown = (_go(problem, pair, label, int(banks[bank])) for bank in sorted(nearest))
    return [one for one in grown if one is not None]


def _undominated(labels: list[_Label]) -> list[_Label]:
    """Keep labels that no other beats in time, travel and cash at the same place; at most LABELS_MAX, cheapest travel first."""
    kept: list[_Label] = []
    for label in sorted(labels, key=lambda one: (one.travel_s, one.time, one.carried_fen)):
        beaten = any(one.node == label.node and one.time <= label.time and one.carried_fen <= label.carried_fen for one in kept)
        if not beaten:
            kept.append(label)
    if len(kept) <= LABELS_MAX:
        return kept
    soonest = min(kept, key=lambda one: (one.carried_fen > 0, one.time))
    return [*kept[: LABELS_MAX - 1], soonest] if soonest not in kept[: LABELS_MAX - 1] else kept[:LABELS_MAX]


def _nodes_of(label: _Label) -> tuple[int, ...]:
    nodes: list[int] = []
    here: _Label | None = label
    while here is not None and here.node is not None:
        nodes.append(here.node)
        here = here.before
    return tuple(reversed(nodes))
