"""What changes while the compiled search runs: routes, who is where, who is idle, and the best routes seen; whole, or of a part of the whole."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import Any

import numpy as np

from routing.engines.layout import Arrays, Heat, restrict
from routing.problem import I64

CHUNK = 500
CHUNK_FIRST = 20
CHUNK_MAX = 5_000
GRAIN_S = 0.004
NODE, LEAVE, DUE = 0, 1, 2
LEN, A, B, LO, HI, TRAVEL, WORK = 0, 1, 2, 3, 4, 5, 6
LABELS, LABEL_WIDTH = 10, 6
COST, BEST, ITERATIONS, UNSERVED, LOSS, WAY = 0, 1, 2, 3, 6, 7


class State:
    """The search's changing arrays; their layout stands in `kernels.py`. `names` are the nodes' numbers outside."""

    def __init__(self, arrays: Arrays, names: I64, routes: int, rng: int) -> None:
        self.arrays, self.names, self.n = arrays, names, int(arrays.par[0])
        self.rt = np.zeros((routes, arrays.stops_max, 5), dtype=np.int64)
        self.rs = np.zeros((routes, 8), dtype=np.int64)
        self.where = np.full(self.n, -1, dtype=np.int64)
        self.unserved = np.arange(2 * self.n + 2, dtype=np.int64)
        self.idle = np.zeros(0, dtype=np.int64)
        self.stat = np.zeros(8, dtype=np.int64)
        self.rng = np.array([rng % 2**64 or 1], dtype=np.uint64)
        self.best_rt, self.best_rs = np.zeros((routes, arrays.stops_max), dtype=np.int64), self.rs.copy()
        self.scratch = self._scratch()

    @classmethod
    def of(
        cls, arrays: Arrays, names: I64, matching: Sequence[tuple[int, int]], seed: int, given: Mapping[tuple[int, int], tuple[int, ...]],
        code: ModuleType,
    ) -> State:
        """Build a start: pairs, the routes given for some of them, and every other visit inserted."""
        state = cls(arrays, names, len(matching), seed * 2654435769 + 88172645463325252)
        number = np.argsort(names)
        for row, (a, b) in enumerate(matching):
            lo, hi = max(arrays.crew[a, 0], arrays.crew[b, 0]), min(arrays.crew[a, 1], arrays.crew[b, 1])
            state.rs[row] = (0, a, b, lo, hi, 0, 0, 0)
            state.rt[row, 0] = (-1, 0, hi, -1, 0)
            nodes = given.get((a, b), ())
            if nodes and len(nodes) + 2 < state.rt.shape[1]:
                state.rt[row, : len(nodes), 0], state.rs[row, LEN] = number[list(nodes)], len(nodes)
        used = {one for pair in matching for one in pair}
        state.idle = np.array([one for one in range(len(arrays.crew)) if one not in used and arrays.weight[one].any()], dtype=np.int64)
        one = arrays
        code.load(state.n, one.travel, one.node, one.win, one.way_out, one.way_back, one.rest, one.speeds, state.rt, state.rs, state.where, one.par)
        state.construct(code)
        return state

    def _scratch(self) -> tuple[Any, ...]:
        """Room for one iteration, in `anneal`'s order: routes saved, labels and orders of deposits, who was left out before; then, as numbers of
        routes, those touched and two kinds of marks; as numbers of visits, those to insert, their keys and those left; at last, two answers.
        """
        routes, width = self.rt.shape[:2]
        lists = (routes, routes, routes, *[2 * self.n + 2] * 3, 4, 5)
        return (
            np.empty_like(self.rt), np.empty_like(self.rs), np.empty((width + 1, LABELS, LABEL_WIDTH), dtype=np.int64),
            np.empty(2 * width + 2, dtype=np.int64), np.zeros(self.n, dtype=np.bool_), *(np.empty(count, dtype=np.int64) for count in lists),
        )

    def static(self) -> tuple[Any, ...]:
        one = self.arrays
        return (
            one.travel, one.inward, one.node, one.win, one.way_out, one.way_back, one.rest, one.speeds, one.banks, one.crew, one.needs,
            one.excluded, one.near, one.rivals,
        )

    def construct(self, code: ModuleType) -> None:
        """Insert dearest and then narrowest visits first; take stock of the cost."""
        one, n = self.arrays, self.n
        width = np.where(one.win[:n, 1::2] >= 0, one.win[:n, 1::2] - one.win[:n, 0::2], 0).sum(axis=1)
        wanted = np.lexsort((width, -one.node[:n, 3])).astype(np.int64)
        wanted = wanted[self.where[wanted] < 0]
        left = code.construct(wanted, *self.static(), self.rt, self.rs, self.where, one.par, self.rng)
        self.unserved[:left] = wanted[:left]
        self.take_stock(left)

    def take_stock(self, left: int) -> None:
        """Work out the cost of the routes with `left` visits unserved; what stands is the best seen."""
        loss = int(self.arrays.node[self.unserved[:left], 3].sum())
        cost = loss + self.cost_of(self.rs)
        self.stat[[COST, BEST, UNSERVED, LOSS, WAY]] = cost, cost, left, loss, int(self.rs[:, TRAVEL].sum())
        self.best_rt[:], self.best_rs[:] = self.rt[:, :, 0], self.rs

    def cost_of(self, rs: I64) -> int:
        """Return weighted travel and balance of routes."""
        work = rs[rs[:, LEN] > 0, WORK]
        balance = int(work.max() - work.min()) // int(self.arrays.par[4]) if len(work) else 0
        return int(self.arrays.par[3]) * int(rs[:, TRAVEL].sum()) + balance

    def copy(self, rng: int) -> State:
        """Return the same state on arrays of its own, with other chances ahead."""
        other = State(self.arrays, self.names, len(self.rs), rng)
        other.follow(self)
        return other

    def follow(self, other: State) -> None:
        """Go on from where the other stands; the chances ahead stay one's own."""
        self.idle = other.idle.copy()
        for mine, its in zip(self._changing(), other._changing(), strict=True):
            mine[:] = its

    def _changing(self) -> tuple[I64, ...]:
        return self.rt, self.rs, self.where, self.unserved, self.stat, self.best_rt, self.best_rs

    def spend(self, code: ModuleType, temperature: float, heat: Heat, count: int | None, until: float) -> int:
        """Run so many iterations, or as many as the time allows (some at least); return how many."""
        made, chunk = 0, CHUNK_FIRST
        while made < count if count is not None else made == 0 or time.monotonic() < until:
            step, began = (chunk, time.monotonic()) if count is None else (min(CHUNK, count - made), 0.0)
            self.advance(code, step, temperature, heat.screen)
            made += step
            if count is None:
                pace = GRAIN_S / max(1e-6, time.monotonic() - began)
                chunk = max(1, min(CHUNK_MAX, int(chunk * min(4.0, pace))))
        return made

    def advance(self, code: ModuleType, chunk: int, temperature: float, screen: float) -> None:
        one = self.arrays
        code.anneal(
            chunk, float(temperature), float(screen), *self.static(), one.weight, self.rt, self.rs, self.best_rt, self.best_rs, self.where,
            self.unserved, self.idle, one.par, self.stat, self.rng, self.scratch,
        )


class Part:
    """Some routes of a state, with the visits they make, some that nobody makes, and some idle collectors: a state of its own for a while."""

    def __init__(self, whole: State, rows: I64, loose: I64, idle: I64, rng: int) -> None:
        self.rows, self.loose, self.idle_rows, self.rng = rows, loose, idle, rng
        self.state = self._taken(whole)

    def _taken(self, whole: State) -> State:
        rows = self.rows
        nodes, width = whole.rt[rows, :, 0], np.arange(whole.rt.shape[1])
        made = nodes[(width[None, :] < whole.rs[rows, LEN][:, None]) & (nodes < whole.n)]
        visits = np.sort(np.concatenate([made, self.loose]))
        self.crew = np.unique(np.concatenate([whole.rs[rows, A], whole.rs[rows, B], whole.idle[self.idle_rows]]))
        arrays, self.names = restrict(whole.arrays, visits, self.crew)
        state = State(arrays, self.names, len(rows), self.rng)
        number = np.full(len(whole.arrays.node) + 1, -1, dtype=np.int64)
        number[self.names] = np.arange(len(self.names))
        state.rt[:], state.rs[:] = whole.rt[rows], whole.rs[rows]
        state.rt[:, :, 0] = number[nodes]
        state.rs[:, A], state.rs[:, B] = np.searchsorted(self.crew, state.rs[:, A]), np.searchsorted(self.crew, state.rs[:, B])
        state.idle = np.searchsorted(self.crew, whole.idle[self.idle_rows]).astype(np.int64)
        row_of = np.full(len(whole.rs), -1, dtype=np.int64)
        row_of[rows] = np.arange(len(rows))
        at = whole.where[visits]
        state.where[:] = np.where(at >= 0, row_of[at], -1)
        state.unserved[: len(self.loose)] = number[self.loose]
        state.take_stock(len(self.loose))
        return state

    def give_back(self, whole: State) -> None:
        """Write what the part has become into the whole: all but the counts, which `take_stock` makes."""
        state, names = self.state, np.append(self.names, -1)
        whole.rt[self.rows] = state.rt
        whole.rt[self.rows, :, 0] = names[state.rt[:, :, 0]]
        whole.rs[self.rows] = self._outside(state.rs)
        whole.where[self.names[: state.n]] = np.where(state.where >= 0, self.rows[state.where], -1)
        whole.idle[self.idle_rows] = self.crew[state.idle]

    def best(self) -> tuple[I64, I64, int]:
        """Return the nodes and the figures of the best routes seen, as in the whole, and the loss of what they leave out."""
        state = self.state
        loss = int(state.stat[BEST]) - state.cost_of(state.best_rs)
        return np.append(self.names, -1)[state.best_rt], self._outside(state.best_rs), loss

    def unserved(self) -> I64:
        return self.names[self.state.unserved[: int(self.state.stat[UNSERVED])]]

    def _outside(self, rs: I64) -> I64:
        out = rs.copy()
        out[:, A], out[:, B] = self.crew[rs[:, A]], self.crew[rs[:, B]]
        return out
