"""Exact times of a route on a day with breaks or with hours of different speed: what `schedule.py` does in one pass where neither is.

A break is taken on arrival at a stop, or after a stop before driving on, or at home before leaving; it is due before any visit that ends after
its window. Beside the time, a label therefore says how many of the pair's pauses are behind it: for the same number, earlier is never worse,
since who leaves later never arrives earlier. Waiting for slower hours to pass is not considered: a pair drives on when it is ready.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
import numpy as np

from routing.pauses import Rests
from routing.problem import Problem
from routing.timing import BANKS_TRIED, LABELS_MAX, Pair, Pause, Timing, carry, earliest_start, offices_for

Span = tuple[int, int]


class _Label(msgspec.Struct, frozen=True, eq=False):
    """A partial route: free at `time` at `node`, `taken` of the pair's pauses behind it, those at this stop before and after its service."""

    time: int
    travel_s: int
    carried_fen: int
    taken: int
    node: int
    start: int
    departure: int
    parent: _Label | None
    before: tuple[Span, ...] = ()
    after: tuple[Span, ...] = ()
    purse: int = 0


def time_paced(problem: Problem, pair: Pair, nodes: tuple[int, ...]) -> Timing | None:
    """As `schedule.time_route`: the earliest times of a fixed sequence of visits and banks, pauses wherever they cost least."""
    labels: list[_Label | None] = [None]
    for index, node in enumerate(nodes):
        rests = problem.pauses_of(pair.a, pair.b)
        grown = [one for label in labels for one in _go(problem, pair, rests, label, node)]
        if index + 1 < len(nodes):
            grown += [one for label in grown for one in _rest_after(rests, label)]
        labels = list(_earliest(grown))
        if not labels:
            return None
    return _best(problem, pair, [one for one in labels if one is not None])


def deposits_paced(problem: Problem, pair: Pair, visits: tuple[int, ...]) -> Timing | None:
    """As `schedule.plan_deposits`: the visits' order is kept, deposits and pauses are added where they cost least."""
    rests, labels = problem.pauses_of(pair.a, pair.b), list[_Label | None]([None])
    for index, node in enumerate(visits):
        ahead = visits[index + 1] if index + 1 < len(visits) else None
        visited = [one for label in labels for one in _go(problem, pair, rests, label, node)]
        rested = [one for label in visited for one in _rest_after(rests, label)]
        banked = [one for label in (*visited, *rested) for one in _via_banks(problem, pair, rests, label, ahead)]
        if ahead is not None:
            banked += rested + [one for label in banked for one in _rest_after(rests, label)]
        labels = list(_undominated(visited + banked))
        if not labels:
            return None
    return _best(problem, pair, [one for one in labels if one is not None])


def _go(problem: Problem, pair: Pair, rests: Rests, label: _Label | None, node: int) -> Iterator[_Label]:
    """Drive to a node and serve it, after none, one or more of the pauses still ahead."""
    if label is None:
        leg, leaving = int(pair.out_s[node]), list(_at_home(pair.shift[0], rests))
        travel_s = carried = purse = 0
    else:
        leg, leaving = int(problem.travel_s[label.node, node]), [(label.time, label.taken)]
        travel_s, carried, purse = label.travel_s, label.carried_fen, label.purse
    held = carry(problem, node, carried, purse)
    if held is None:
        return
    carried, purse = held
    for leaves, taken in leaving:
        arrival = problem.speeds.reach(leaves, leg)
        for clock, count, spans in _resting(arrival, taken, rests):
            start = earliest_start(problem, node, clock)
            if start is None:
                break
            done = start + int(problem.service_s[node])
            if done > pair.shift[1] or (node < problem.n and count < len(rests) and done > rests[count][1]):
                continue
            departure = leaves if label is not None else problem.speeds.leave_by(spans[0][0] if spans else start, leg)
            way = problem.speeds.reach(departure, leg) - departure
            begun = departure if label is None else label.departure
            yield _Label(done, travel_s + way, carried, count, node, start, begun, label, spans, (), purse)


def _at_home(clock: int, rests: Rests) -> Iterator[tuple[int, int]]:
    """Yield when a pair can leave, and how many of its pauses are then over."""
    yield clock, 0
    for count, (lo, _, lasts) in enumerate(rests, 1):
        clock = max(clock, lo + lasts)
        yield clock, count


def _resting(clock: int, taken: int, rests: Rests) -> Iterator[tuple[int, int, tuple[Span, ...]]]:
    spans: tuple[Span, ...] = ()
    yield clock, taken, spans
    for lo, hi, lasts in rests[taken:]:
        begins = max(clock, lo)
        if begins > hi:
            return
        clock, taken, spans = begins + lasts, taken + 1, (*spans, (begins, begins + lasts))
        yield clock, taken, spans


def _rest_after(rests: Rests, label: _Label) -> Iterator[_Label]:
    for clock, taken, spans in _resting(label.time, label.taken, rests):
        if spans:
            yield msgspec.structs.replace(label, time=clock, taken=taken, after=spans)


def _via_banks(problem: Problem, pair: Pair, rests: Rests, label: _Label, ahead: int | None) -> Iterator[_Label]:
    if not label.carried_fen or not problem.banks:
        return
    banks = offices_for(problem, label.purse)
    onward = problem.travel_s[banks, ahead] if ahead is not None else pair.back_s[banks]
    detour = problem.travel_s[label.node, banks] + onward
    nearest = set(np.argsort(detour, kind="stable")[:BANKS_TRIED].tolist())
    nearest |= set(np.argsort(problem.travel_s[label.node, banks], kind="stable")[:BANKS_TRIED].tolist())
    for bank in sorted(nearest):
        yield from _go(problem, pair, rests, label, int(banks[bank]))


def _earliest(labels: list[_Label]) -> list[_Label]:
    """Keep, for each number of pauses taken, the label that is free first."""
    kept: dict[int, _Label] = {}
    for label in labels:
        known = kept.get(label.taken)
        if known is None or (label.time, label.travel_s) < (known.time, known.travel_s):
            kept[label.taken] = label
    return list(kept.values())


def _undominated(labels: list[_Label]) -> list[_Label]:
    kept: list[_Label] = []
    for label in sorted(labels, key=lambda one: (one.travel_s, one.time, one.carried_fen, -one.taken)):
        beaten = any(
            one.node == label.node and one.time <= label.time and one.carried_fen <= label.carried_fen and one.taken == label.taken for one in kept
        )
        if not beaten:
            kept.append(label)
    if len(kept) <= 3 * LABELS_MAX:
        return kept
    first = {(one.taken, one.carried_fen > 0): one for one in sorted(kept, key=lambda one: -one.time)}
    return [*kept[: 3 * LABELS_MAX], *(one for one in first.values() if one not in kept[: 3 * LABELS_MAX])]


def _best(problem: Problem, pair: Pair, labels: list[_Label]) -> Timing | None:
    """Close the routes that can be closed, cheapest first, and return the first that a released deposit would not make late (F12)."""
    closed: list[tuple[int, int, int]] = []
    for number, label in enumerate(labels):
        back = problem.speeds.reach(label.time, int(pair.back_s[label.node]))
        if not label.carried_fen and back <= pair.shift[1]:
            closed.append((label.travel_s + back - label.time, back, number))
    for travel_s, back, number in sorted(closed):
        timing = _timing(problem, labels[number], travel_s, back)
        if _release_holds(problem, timing):
            return timing
    return None


def _timing(problem: Problem, label: _Label, travel_s: int, back: int) -> Timing:
    path: list[_Label] = []
    here: _Label | None = label
    while here is not None:
        path.append(here)
        here = here.parent
    path.reverse()
    pauses = [
        Pause(at=index, is_after=is_after, start=start, end=end)
        for index, one in enumerate(path) for is_after, spans in ((False, one.before), (True, one.after)) for start, end in spans
    ]
    return Timing(
        tuple(one.node for one in path), tuple(one.start for one in path), label.departure, back, travel_s,
        sum(int(problem.service_s[one.node]) for one in path), tuple(pauses),
    )


def _release_holds(problem: Problem, timing: Timing) -> bool:
    """Where a deposit takes only what may be taken, the pair must be in time for what comes next without it (F12)."""
    if not problem.is_cap.any():
        return True
    released: tuple[int, int] | None = None
    has_cash = has_fixed = False
    left = (0, -1)
    for index, (node, start) in enumerate(zip(timing.nodes, timing.starts, strict=True)):
        own = [one for one in timing.pauses if one.at == index]
        first = min([start, *(one.start for one in own if not one.is_after)])
        if released is not None and problem.speeds.reach(released[0], int(problem.travel_s[released[1], node])) > first:
            return False
        released = None
        arrived = max([left[0], *(one.end for one in own if not one.is_after)])
        if node >= problem.n:
            stands = (arrived, node) if arrived > left[0] else left
            released, has_cash, has_fixed = stands if has_cash and not has_fixed and stands[1] >= 0 else None, False, False
        else:
            has_cash = has_cash or bool(problem.cash_fen[node])
            has_fixed = has_fixed or bool(problem.cash_fen[node] and not problem.is_cap[node])
        afters = [one.end for one in own if one.is_after]
        if afters and released is not None:
            is_there = problem.rows[node] == problem.rows[timing.nodes[index + 1]]
            released = None if is_there else (max(afters), released[1])
        left = (max([start + int(problem.service_s[node]), *afters]), node)
    return True
