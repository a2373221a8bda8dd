"""Anneal on one or several strands, each a thread (the kernels hold no interpreter lock), round by round.

A small problem is annealed as a whole by each strand on its own, an island; now and then the worst goes on from where the best stands. A large one
is cut into areas of neighbouring routes, along another line each round, and every strand takes its share of them. What comes out depends on the
seed, on the number of strands and on the iterations that each got in each round, not on how many processors there are nor on who was faster.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import nullcontext
from types import MappingProxyType, ModuleType

import msgspec
import numpy as np

from routing.engines.layout import Arrays, Heat, neighbourly
from routing.engines.partners import exchange_partners
from routing.engines.state import BEST, COST, LEN, UNSERVED, Part, State
from routing.problem import I64

LEVELS = 250
ROUNDS_WHOLE, ROUNDS_AREAS = 125, 60
MEETINGS, EXCHANGES = 10, 30
SLICE_S_MAX = 0.25
ISLANDS_VISITS_MAX = 260
AREA_VISITS = 500
ROUTES_MIN = 3
STRANDS_MAX = 4
PIVOTS = 8
REPORT_SHARE = 10
FAR_AWAY = 1 << 80

Counts = tuple[tuple[int, ...], ...]


class Found(msgspec.Struct, frozen=True, eq=False):
    """What a search returns: routes as (a, b, nodes), their cost, iterations in all, and per round its level and the iterations of each area."""

    routes: list[tuple[int, int, tuple[int, ...]]]
    cost: int
    iterations: int
    counts: Counts


class Pace(msgspec.Struct, frozen=True, kw_only=True):
    """When to stop: seconds of search and a predicate, or a number of iterations; `counts` replays a run round by round."""

    search_s: float
    stop: Callable[[], bool]
    iterations_max: int | None = None
    counts: Counts | None = None
    on_better: Callable[[Found], None] | None = None
    report_every_s: float = 1.0


def strands_here() -> int:
    """Return how many strands this process has processors for."""
    return max(1, min(STRANDS_MAX, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1))


def anneal_routes(
    arrays: Arrays, matching: Sequence[tuple[int, int]], heat: Heat, pace: Pace, seed: int,
    given: Mapping[tuple[int, int], tuple[int, ...]] = MappingProxyType({}), *, strands: int = 1,
) -> Found:
    """Build a start on the matching (and on routes given for some pairs), anneal it from hot to cold, and return the best routes seen.

    By the clock the level follows the time that has passed, and the iterations made in each round are counted; by iterations, or by the
    counts of an earlier run, the result depends on the seed and the number of strands alone.
    """
    began, code = time.monotonic(), _kernels()
    whole = State.of(*neighbourly(arrays), matching, seed, given, code)
    areas = _areas_of(whole, strands)
    field = _Areas(whole, areas, seed) if areas > 1 else _Islands(whole, strands, seed)
    with ThreadPoolExecutor(strands - 1, thread_name_prefix="strand") if strands > 1 else nullcontext() as helpers:
        run = _Rounds(field, (code, heat, helpers), pace, (began + pace.search_s, strands))
        while not pace.stop() and run.next():
            pass
    return field.found(tuple(run.counts))


def _kernels() -> ModuleType:
    from routing.engines import anneal

    return anneal


def _areas_of(whole: State, strands: int) -> int:
    """Return into how many areas a round cuts the problem; 1: it stays whole."""
    if whole.n <= ISLANDS_VISITS_MAX:
        return 1
    wanted = strands * max(1, round(whole.n / (AREA_VISITS * strands)))
    return max(1, min(wanted, int((whole.rs[:, LEN] > 0).sum()) // ROUTES_MIN))


class _Rounds:
    """The course of an annealing: what is run next, by the clock, by iterations or by the counts of an earlier run."""

    def __init__(
        self, field: _Islands | _Areas, means: tuple[ModuleType, Heat, Executor | None], pace: Pace, bounds: tuple[float, int]
    ) -> None:
        self.field, self.pace = field, pace
        self.code, self.heat, self.helpers = means
        # What loading and the start took is gone from the time, but not from the heat.
        self.began, (self.over, self.strands) = time.monotonic(), bounds
        self.rounds = ROUNDS_AREAS if isinstance(field, _Areas) else ROUNDS_WHOLE
        self.counts: list[tuple[int, ...]] = []
        self.told, self.tell_at = FAR_AWAY, self.began

    def next(self) -> bool:
        """Run one round; False when the search is over."""
        planned = self._planned()
        if planned is None:
            return False
        level, shares = planned
        temperature = self.heat.start * (self.heat.end / self.heat.start) ** (level / LEVELS)
        made = self._run(temperature, shares)
        self.counts.append((level, *made))
        self.field.close_round(level, self.heat.screen * temperature if self.heat.pair_permille else None)
        self._tell()
        return True

    def _planned(self) -> tuple[int, tuple[int, ...] | None] | None:
        """Return the level of the next round and the iterations of each area, None for as many as the time allows."""
        done = len(self.counts)
        if self.pace.counts is not None:
            return (self.pace.counts[done][0], self.pace.counts[done][1:]) if done < len(self.pace.counts) else None
        if self.pace.iterations_max is not None:
            if done >= self.rounds:
                return None
            count = (done + 1) * self.pace.iterations_max // self.rounds - done * self.pace.iterations_max // self.rounds
            areas = self.field.areas
            return done * LEVELS // self.rounds, tuple(count * (one + 1) // areas - count * one // areas for one in range(areas))
        now = time.monotonic()
        return (int(LEVELS * (now - self.began) / (self.over - self.began)), None) if now < self.over else None

    def _run(self, temperature: float, shares: tuple[int, ...] | None) -> list[int]:
        areas = self.field.areas
        turns = -(-areas // self.strands)
        now = time.monotonic()
        until = min(self.over, now + min(turns * SLICE_S_MAX, (self.over - self.began) / self.rounds))
        made = [0] * areas

        def work(strand: int) -> None:
            mine = range(strand, areas, self.strands)
            for turn, area in enumerate(mine):
                if shares is not None and not shares[area]:
                    continue
                state = self.field.open_area(area)
                if state is None:
                    continue
                here = time.monotonic()
                made[area] = state.spend(
                    self.code, temperature, self.heat, None if shares is None else shares[area], here + (until - here) / (len(mine) - turn)
                )

        others = [] if self.helpers is None else [self.helpers.submit(work, strand) for strand in range(1, self.strands)]
        work(0)
        for other in others:
            other.result()
        return made

    def _tell(self) -> None:
        """Show the best so far, seldom enough that showing it takes a small share of the time."""
        now = time.monotonic()
        if self.pace.on_better is not None and self.field.cost < self.told and now >= self.tell_at:
            self.told = self.field.cost
            self.pace.on_better(self.field.found(tuple(self.counts)))
            self.tell_at = now + max(self.pace.report_every_s, REPORT_SHARE * (time.monotonic() - now))


class _Best:
    """The best routes seen by anybody."""

    def __init__(self, whole: State) -> None:
        self.whole = whole
        self.cost, self.rt, self.rs = int(whole.stat[BEST]), whole.best_rt.copy(), whole.best_rs.copy()

    def found(self, counts: Counts) -> Found:
        names = self.whole.names
        routes = [(int(row[1]), int(row[2]), tuple(names[self.rt[index, : int(row[0])]].tolist())) for index, row in enumerate(self.rs) if row[0]]
        return Found(routes, self.cost, sum(sum(one[1:]) for one in counts), counts)


class _Islands(_Best):
    """Every strand anneals the whole."""

    def __init__(self, whole: State, strands: int, seed: int) -> None:
        super().__init__(whole)
        self.areas = strands
        self.states = [whole, *(whole.copy(_chance(seed, strand)) for strand in range(1, strands))]
        self.met = 0

    def open_area(self, area: int) -> State | None:
        return self.states[area]

    def close_round(self, level: int, _loss_max: float | None) -> None:
        """Keep the best; at a meeting whoever stands worst goes on from where the best stands."""
        leader = min(self.states, key=lambda one: int(one.stat[BEST]))
        if leader.stat[BEST] < self.cost:
            self.cost, self.rt[:], self.rs[:] = int(leader.stat[BEST]), leader.best_rt, leader.best_rs
        meeting = level * MEETINGS // LEVELS
        if meeting > self.met and self.areas > 1:
            self.met = meeting
            order = sorted(self.states, key=lambda one: int(one.stat[COST]))
            order[-1].follow(order[0])


class _Areas(_Best):
    """Each round cuts the routes into areas; what the strands make of them is put together again."""

    def __init__(self, whole: State, areas: int, seed: int) -> None:
        super().__init__(whole)
        self.areas, self.rng, self.seed, self.round, self.exchanged = areas, np.random.default_rng(seed % 2**63), seed, 0, 0
        self.parts: list[Part | None] = [None] * areas
        self.cut()

    def cut(self) -> None:
        whole = self.whole
        self.round += 1
        self.row_part = _cut_routes(whole, self.areas, self.rng)
        self.loose = whole.unserved[: int(whole.stat[UNSERVED])].copy()
        self.loose_part = _nearest_areas(whole, self.loose, self.row_part, self.areas)
        self.idle_part = self.rng.permutation(len(whole.idle)) % self.areas

    def open_area(self, area: int) -> State | None:
        """Take an area out of the whole; None when it has come to have no visits."""
        rows, idle = np.flatnonzero(self.row_part == area), np.flatnonzero(self.idle_part == area)
        part = Part(self.whole, rows, self.loose[self.loose_part == area], idle, _chance(self.seed, self.round * self.areas + area))
        if not part.state.n:
            return None
        self.parts[area] = part
        return part.state

    def close_round(self, level: int, loss_max: float | None) -> None:
        """Put the areas together, and the best that each has seen, which may be of different moments; now and then partners change all over."""
        there = [part for part in self.parts if part is not None]
        rt, rs = self.whole.rt[:, :, 0].copy(), self.whole.rs.copy()
        opened = {int(one) for part in there for one in part.loose}
        loss = sum(int(self.whole.arrays.node[one, 3]) for one in self.loose.tolist() if one not in opened)
        for part in there:
            rt[part.rows], rs[part.rows], lost = part.best()
            loss += lost
        cost = loss + self.whole.cost_of(rs)
        if cost < self.cost:
            self.cost, self.rt, self.rs = cost, rt, rs
        left = [part.unserved() for part in there] + [self.loose[[one not in opened for one in self.loose.tolist()]]]
        for part in there:
            part.give_back(self.whole)
        unserved = np.concatenate(left)
        self.whole.unserved[: len(unserved)] = unserved
        self.whole.take_stock(len(unserved))
        if loss_max is not None and level * EXCHANGES // LEVELS > self.exchanged:
            self.exchanged = level * EXCHANGES // LEVELS
            self.exchange(loss_max)
        self.parts = [None] * self.areas
        self.cut()

    def exchange(self, loss_max: float) -> None:
        """Let partners change over the whole day; keep the best."""
        whole = self.whole
        if exchange_partners(whole, _kernels(), loss_max, self.rng):
            whole.take_stock(int(whole.stat[UNSERVED]))
            if whole.stat[COST] < self.cost:
                self.cost, self.rt, self.rs = int(whole.stat[COST]), whole.rt[:, :, 0].copy(), whole.rs.copy()


def _chance(seed: int, number: int) -> int:
    """Return a start of the kernels' generator for a strand or a part."""
    return int(np.random.SeedSequence([seed % 2**63, number]).generate_state(1, np.uint64)[0])


def _cut_routes(whole: State, areas: int, rng: np.random.Generator) -> I64:
    """Give each route an area: again and again in two along a line between two places, so that either side has its share of visits."""
    routes, width = len(whole.rs), whole.rt.shape[1]
    area_of = np.zeros(routes, dtype=np.int64)
    is_visit = (np.arange(width)[None, :] < whole.rs[:, LEN][:, None]) & (whole.rt[:, :, 0] < whole.n)
    row_at, nodes = np.nonzero(is_visit)[0], whole.rt[:, :, 0][is_visit]
    size = np.bincount(row_at, minlength=routes)
    pending = [(np.flatnonzero(size > 0), 0, areas)]
    while pending:
        rows, first, count = pending.pop()
        if count == 1 or len(rows) < count:
            area_of[rows] = first
            continue
        own = nodes[np.isin(row_at, rows)]
        here = int(own[rng.integers(len(own))])
        others = own[rng.integers(len(own), size=PIVOTS)]
        there = int(others[whole.arrays.travel[here, others].argmax()])
        apart = whole.arrays.travel[here, nodes].astype(np.float64) - whole.arrays.travel[there, nodes]
        mean = np.bincount(row_at, weights=apart, minlength=routes)[rows] / size[rows]
        rows = rows[np.argsort(mean, kind="stable")]
        half = count // 2
        at = int(np.searchsorted(np.cumsum(size[rows]), size[rows].sum() * half / count)) + 1
        at = max(half, min(len(rows) - (count - half), at))
        pending += [(rows[:at], first, half), (rows[at:], first + half, count - half)]
    empty = np.flatnonzero(size == 0)
    area_of[empty] = rng.permutation(len(empty)) % areas
    return area_of


def _nearest_areas(whole: State, loose: I64, row_part: I64, areas: int) -> I64:
    """Give each visit that nobody makes the area of its nearest neighbour that is made; a ring of rivals stays together, with the one made."""
    at = whole.where[whole.arrays.near[loose]]
    first = np.argmax(at >= 0, axis=1) if len(loose) else np.zeros(0, dtype=np.int64)
    row = at[np.arange(len(loose)), first]
    part = np.where(row >= 0, row_part[row], loose % areas)
    rivals = whole.arrays.rivals
    for index in np.flatnonzero(rivals[loose] >= 0).tolist():
        ring, after = [int(loose[index])], int(rivals[loose[index]])
        while after not in (-1, ring[0]):
            ring.append(after)
            after = int(rivals[after])
        made = [int(whole.where[one]) for one in ring if whole.where[one] >= 0]
        part[index] = row_part[made[0]] if made else min(ring) % areas
    return np.asarray(part, dtype=np.int64)
