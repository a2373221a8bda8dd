"""What a pair's timed route is made of, and the first moment at which a service may begin."""

from __future__ import annotations

import msgspec
import numpy as np

from routing.problem import I32, I64, Problem

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


def carry(problem: Problem, node: int, carried_fen: int, purse: int) -> tuple[int, int] | None:
    """Return what a pair carries behind a node, and whose money it is.

    None where it must not: too much, money of two banks at once, or brought to an office that does not take it (CASH-06).
    """
    own = int(problem.purse[node])
    if node >= problem.n:
        return None if carried_fen and own not in (0, purse) else (0, 0)
    cash = int(problem.cash_fen[node])
    if not cash:
        return carried_fen, purse
    if (carried_fen and own != purse) or carried_fen + cash > problem.carry_fen[node]:
        return None
    return carried_fen + cash, own


def offices_for(problem: Problem, purse: int) -> I64:
    """Return the nodes of the offices that take this money."""
    offices = np.arange(problem.n, problem.n + problem.banks)
    if not problem.is_tied:
        return offices
    own = problem.purse[offices]
    return np.asarray(offices[(own == 0) | (own == purse)])


def earliest_start(problem: Problem, node: int, arrival: int) -> int | None:
    """Return the first moment service may start at a node after `arrival`, or None when every window has closed."""
    for lo, hi in zip(problem.window_lo[node].tolist(), problem.window_hi[node].tolist(), strict=True):
        start = max(arrival, lo)
        if start <= hi:
            return int(start)
    return None
