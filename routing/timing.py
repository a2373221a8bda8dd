"""What a pair's timed route is made of, and the first moment at which a service may begin."""

from __future__ import annotations

import msgspec

from routing.problem import I32, Problem

BANKS_TRIED = 4
LABELS_MAX = 12


class Pair(msgspec.Struct, frozen=True, eq=False):
    """Two collectors (instance positions) with their joint legs and shift."""

    a: int
    b: int
    out_s: I32
    back_s: I32
    shift: tuple[int, int]


class Pause(msgspec.Struct, frozen=True):
    """A break of a pair at its stop number `at`: on arrival before service, or after it."""

    at: int
    is_after: bool
    start: int
    end: int


class Timing(msgspec.Struct, frozen=True):
    """A feasible route: nodes in order (banks included), start of service of each, departure, return, seconds of travel and of service, pauses."""

    nodes: tuple[int, ...]
    starts: tuple[int, ...]
    departure: int
    return_at: int
    travel_s: int
    service_s: int
    pauses: tuple[Pause, ...] = ()


def make_pair(problem: Problem, a: int, b: int) -> Pair:
    """Join two collectors for the day, the lower position first."""
    a, b = min(a, b), max(a, b)
    return Pair(a, b, problem.pair_out_s(a, b), problem.pair_back_s(a, b), problem.pair_shift(a, b))


def earliest_start(problem: Problem, node: int, arrival: int) -> int | None:
    """Return the first moment service may start at a node after `arrival`, or None when every window has closed."""
    for lo, hi in zip(problem.window_lo[node].tolist(), problem.window_hi[node].tolist(), strict=True):
        start = max(arrival, lo)
        if start <= hi:
            return int(start)
    return None
