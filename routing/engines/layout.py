"""Lay a problem out for the kernels: one array a property, visits renumbered so that neighbours have near numbers, or only a part of the whole."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np

from routing.pairing import pair_weights
from routing.problem import I64, Problem
from routing.timing import offices_for

FAR = 1 << 40
NEAR = 100
BANKS_NEAR = 3
ROWS_AT_ONCE = 256
PAR = 10
"""Parameters of a search; behind them the purses of the nodes (`kernels.P_PURSES`)."""


class Heat(msgspec.Struct, frozen=True, kw_only=True):
    """How an annealing runs: temperatures from `start` to `end`, pair moves per thousand, visits removed, longest string, pair screen."""

    start: float
    end: float = 5.0
    pair_permille: int = 0
    ruin: int = 10
    string: int = 10
    screen: float = 9.0


class Arrays(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """The kernels' arguments that never change; see `kernels.py` for the layout."""

    travel: Any
    inward: Any
    node: I64
    win: I64
    way_out: I64
    way_back: I64
    rest: I64 | None
    speeds: I64 | None
    banks: I64
    crew: I64
    needs: I64
    excluded: Any
    near: I64
    rivals: I64
    weight: I64
    par: I64
    stops_max: int


def day_arrays(problem: Problem, heat: Heat) -> Arrays:
    """Lay a day out for the kernels."""
    n, banks = problem.n, problem.banks
    node = np.zeros((n + banks, 4), dtype=np.int64)
    node[:, 0] = problem.service_s
    node[:n, 1], node[:n, 3] = problem.cash_fen, problem.loss
    win = np.empty((n + banks, 2 * problem.window_lo.shape[1]), dtype=np.int64)
    win[:, 0::2], win[:, 1::2] = problem.window_lo, problem.window_hi
    crew = np.hstack([problem.shift_lo[:, None], problem.shift_hi[:, None], problem.skills]).astype(np.int64)
    par = np.array([n, problem.carry_limit_fen, FAR, problem.travel_weight, problem.imbalance_div, 6, heat.pair_permille, heat.ruin, heat.string, 0])
    if problem.is_tied:
        par = np.concatenate([par, np.column_stack([problem.purse, problem.carry_fen]).ravel()])
    longest_s = int((problem.shift_hi - problem.shift_lo).max(initial=0))
    briefest_s = max(1, int(problem.service_s[: n - len(problem.anchors)].min(initial=longest_s)))
    stops = min(n, longest_s // briefest_s + 2)
    return Arrays(
        travel=np.ascontiguousarray(problem.travel_s), inward=np.ascontiguousarray(problem.travel_s.T), node=node, win=win,
        way_out=problem.out_s.astype(np.int64),
        way_back=np.ascontiguousarray(problem.back_s.T.astype(np.int64)), rest=None if problem.is_plain else _rests(problem),
        speeds=None if problem.is_plain else problem.speeds.rows,
        banks=_nearest_offices(problem), crew=crew, needs=problem.needs,
        excluded=problem.excluded, near=nearest(problem.travel_s[:n, :n]), rivals=problem.rivals, weight=pair_weights(problem).weight,
        par=par.astype(np.int64), stops_max=2 * stops + 6,
    )


def _nearest_offices(problem: Problem) -> I64:
    """Return, per visit, the offices nearest to it; where money goes to its bank's own offices, the nearest for each bank's money."""
    n = problem.n
    purses = np.unique(problem.purse[:n][problem.cash_fen > 0]).tolist() if problem.is_tied else [0]
    columns = [offices_for(problem, purse) - n for purse in purses]
    near = [one[np.argsort(problem.travel_s[:n, n + one], axis=1, kind="stable")[:, :BANKS_NEAR]] for one in columns]
    return np.ascontiguousarray(np.hstack([np.zeros((n, 0), dtype=np.int64), *near]).astype(np.int64) + n)


def _renumbered(par: I64, names: I64) -> I64:
    """Return the parameters with the purses and limits of the nodes `names`, in that order; most days have none."""
    return np.concatenate([par[:PAR], par[PAR:].reshape(-1, 2)[names].ravel()]) if len(par) > PAR else par.copy()


def _rests(problem: Problem) -> I64:
    width = max([0, *(len(one) for one in problem.rests)])
    rows = [[*one, *[(0, -1, 0)] * (width - len(one))] for one in problem.rests]
    return np.array(rows, dtype=np.int64).reshape(len(rows), width, 3)


def nearest(travel: Any) -> I64:
    """Return, per visit, the other visits by growing distance (there and back), at most NEAR of them."""
    n = len(travel)
    width = min(NEAR, n - 1)
    if width <= 0:
        return np.zeros((n, 1), dtype=np.int64)
    near = np.empty((n, width), dtype=np.int64)
    for first in range(0, n, ROWS_AT_ONCE):
        rows = np.arange(first, min(n, first + ROWS_AT_ONCE))
        apart = travel[rows] + travel[:, rows].T
        apart[np.arange(len(rows)), rows] = -1
        near[rows] = smallest(apart, width + 1)[:, 1:]
    return near


def smallest(table: Any, count: int) -> I64:
    """Return, per row of whole numbers, the columns of the `count` smallest, the smallest first and equal ones from left to right.

    A partition alone orders equal numbers by the width of the processor's vectors, and a plan must repeat on another one.
    """
    width = table.shape[1]
    keys = table.astype(np.int64) * width + np.arange(width)
    rough = np.argpartition(keys, count - 1, axis=1)[:, :count]
    order = np.argsort(np.take_along_axis(keys, rough, axis=1), axis=1, kind="stable")
    return np.ascontiguousarray(np.take_along_axis(rough, order, axis=1)).astype(np.int64)


def neighbourly(arrays: Arrays) -> tuple[Arrays, I64]:
    """Renumber the visits so that neighbours have near numbers, and return the arrays so laid out with the old number of each new node.

    The search reads the rows of a visit at the columns of its neighbours: near numbers share cache lines, and a symmetric matrix is kept once.
    At 1,000 visits this makes some 40 % more iterations in the same time.
    """
    n = int(arrays.par[0])
    order = _nearest_chain(arrays.near, np.asarray(arrays.travel)[:n, :n])
    names = np.concatenate([order, np.arange(n, len(arrays.node), dtype=np.int64)])
    number = np.empty(n, dtype=np.int64)
    number[order] = np.arange(n)
    travel = np.ascontiguousarray(arrays.travel[np.ix_(names, names)])
    is_symmetric = bool((travel == travel.T).all())
    laid = msgspec.structs.replace(
        arrays, travel=travel, inward=travel if is_symmetric else np.ascontiguousarray(travel.T), node=np.ascontiguousarray(arrays.node[names]),
        win=np.ascontiguousarray(arrays.win[names]), way_out=np.ascontiguousarray(arrays.way_out[:, names]),
        way_back=np.ascontiguousarray(arrays.way_back[:, names]), banks=np.ascontiguousarray(arrays.banks[order]),
        needs=np.ascontiguousarray(arrays.needs[order]), excluded=np.ascontiguousarray(arrays.excluded[order]),
        near=np.ascontiguousarray(number[arrays.near[order]]), par=_renumbered(arrays.par, names),
        rivals=np.where(arrays.rivals[order] >= 0, number[arrays.rivals[order]], -1),
    )
    return laid, names


def _nearest_chain(near: I64, travel: Any) -> I64:
    """Walk from visit 0 to the nearest visit not yet passed, and on; where all neighbours are passed, to the nearest of all that are left."""
    n = len(travel)
    is_left = np.ones(n, dtype=np.bool_)
    order = np.empty(n, dtype=np.int64)
    here = 0
    for position in range(n):
        order[position] = here
        is_left[here] = False
        onward = near[here][is_left[near[here]]]
        if len(onward):
            here = int(onward[0])
        elif position + 1 < n:
            left = np.flatnonzero(is_left)
            here = int(left[travel[here, left].argmin()])
    return order


def tiny() -> Arrays:
    """Four visits (two with cash), a bank and four collectors on a line: enough to compile every kernel with the true types."""
    travel = np.array([[abs(a - b) * 60 for b in range(5)] for a in range(5)], dtype=np.int32)
    node = np.array([[600, 0, 0, 9000], [600, 50, 0, 9000], [600, 0, 0, 9000], [600, 50, 0, 9000], [300, 0, 0, 0]], dtype=np.int64)
    return Arrays(
        travel=travel, inward=travel.T.copy(), node=node, win=np.array([[0, 36000]] * 5, dtype=np.int64),
        way_out=np.full((4, 5), 300, dtype=np.int64),
        way_back=np.full((4, 5), 300, dtype=np.int64), rest=np.array([[[3600, 7200, 600]]] * 4, dtype=np.int64),
        speeds=np.array([[-10_000_000, 100, 0], [3600, 50, 1_000_360_000]], dtype=np.int64), banks=np.full((4, 1), 4, dtype=np.int64),
        crew=np.array([[0, 36000, 3]] * 4, dtype=np.int64), needs=np.zeros((4, 1), dtype=np.int64), excluded=np.zeros((4, 4), dtype=np.bool_),
        near=np.array([[b for b in range(4) if b != a] for a in range(4)], dtype=np.int64), rivals=np.array([-1, 3, -1, 1], dtype=np.int64),
        weight=np.full((4, 4), 10, dtype=np.int64),
        par=np.array([4, 80, FAR, 1, 10, 6, 500, 10, 10, 0], dtype=np.int64), stops_max=14,
    )


def restrict(arrays: Arrays, visits: I64, crew: I64) -> tuple[Arrays, I64]:
    """Return the arrays of a part of the whole, and the old number of each of its nodes.

    Visits and collectors are numbered anew in the order given; all banks stay. A ring of rivals must lie inside or outside as a whole. A part of
    some hundred visits stays in the processor's cache, which the whole of a large day does not.
    """
    n, m = int(arrays.par[0]), len(visits)
    names = np.concatenate([visits, np.arange(n, len(arrays.node), dtype=np.int64)])
    number = np.full(len(arrays.node) + 1, -1, dtype=np.int64)     # The last is what -1 points to.
    number[names] = np.arange(len(names))
    within, par = np.ix_(names, names), _renumbered(arrays.par, names)
    par[0] = m
    travel = arrays.travel[within]
    part = msgspec.structs.replace(
        arrays, travel=travel, inward=travel if arrays.inward is arrays.travel else arrays.inward[within],
        node=arrays.node[names], win=arrays.win[names], way_out=arrays.way_out[np.ix_(crew, names)], way_back=arrays.way_back[np.ix_(crew, names)],
        rest=None if arrays.rest is None else arrays.rest[crew], banks=arrays.banks[visits] - n + m, crew=arrays.crew[crew],
        needs=arrays.needs[visits], excluded=arrays.excluded[np.ix_(visits, crew)], near=_near_within(number[arrays.near[visits]], m),
        rivals=number[arrays.rivals[visits]], weight=arrays.weight[np.ix_(crew, crew)], par=par,
    )
    return part, names


def _near_within(near: I64, m: int) -> I64:
    """Close the gaps in rows of neighbours of which some are not there; short rows are filled up with the visit itself, which nobody looks at."""
    is_there = near >= 0
    place = is_there.cumsum(axis=1) - 1
    rows, columns = np.nonzero(is_there)
    closed = np.repeat(np.arange(m, dtype=np.int64)[:, None], max(1, int(is_there.sum(axis=1).max(initial=0))), axis=1)
    closed[rows, place[rows, columns]] = near[rows, columns]
    return closed
