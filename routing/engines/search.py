"""Drive the compiled search: problem to arrays, start, annealing by the clock or by iterations, tours back.

numba is optional. `is_ready` says whether the kernels can run at once; compiling them (about a minute) never happens inside a solve but in `warm`,
which the installation runs and which leaves a mark beside numba's cache.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from types import MappingProxyType, ModuleType
from typing import Any

import msgspec
import numpy as np

from routing.objective import Tour
from routing.pairing import Matching, pair_weights
from routing.problem import I64, Problem
from routing.schedule import plan_deposits, time_route
from routing.timing import make_pair

FAR = 1 << 40
NEAR = 100
BANKS_NEAR = 3
CHUNK = 500
LEVELS = 250
LOAD_S = 2.5
TEMPERATURE_END = 5.0
KERNEL_FILES = ("kernels.py", "anneal.py")


class Heat(msgspec.Struct, frozen=True, kw_only=True):
    """How an annealing runs: temperatures from `start` to `end`, pair moves per thousand, visits removed, longest string, pair screen."""

    start: float
    end: float = TEMPERATURE_END
    pair_permille: int = 0
    ruin: int = 10
    string: int = 10
    screen: float = 9.0


class Found(msgspec.Struct, frozen=True, eq=False):
    """What a search returns: routes as (a, b, nodes), their cost, and how it went."""

    routes: list[tuple[int, int, tuple[int, ...]]]
    cost: int
    iterations: int
    pairs_kept: int
    counts: tuple[int, ...]


class Pace(msgspec.Struct, frozen=True, kw_only=True):
    """When to stop: seconds of search and a predicate, or a number of iterations; `counts` replays a run level by level."""

    search_s: float
    stop: Callable[[], bool]
    iterations_max: int | None = None
    counts: tuple[int, ...] | None = None
    on_better: Callable[[Found], None] | None = None
    report_every_s: float = 1.0


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


def is_installed() -> bool:
    """Report whether the extra `fast` is there."""
    return importlib.util.find_spec("numba") is not None


def is_ready() -> bool:
    """Report whether numba is there and the kernels are compiled for this very code and version."""
    if not is_installed():
        return False
    beside, at_home = _marks()
    has_cache = any(beside.parent.glob("anneal.anneal-*.nbi"))
    marks = [beside, at_home] if has_cache else [at_home]
    return any(mark.is_file() and mark.read_text() == _fingerprint() for mark in marks)


def is_loaded() -> bool:
    """Report whether this process has the kernels in memory already; loading them takes a second or two."""
    return "routing.engines.anneal" in sys.modules


def warm() -> float:
    """Compile every kernel into numba's cache on a tiny problem, leave the mark, and return the seconds it took.

    Raises:
        ImportError: the extra `fast` (numba) is not installed.
    """
    began = time.monotonic()
    if not is_ready():
        _forget()
    load()
    for mark in _marks():
        try:
            mark.parent.mkdir(parents=True, exist_ok=True)
            mark.write_text(_fingerprint())
            break
        except OSError:
            continue
    return time.monotonic() - began


def load() -> None:
    """Bring every kernel into this process's memory by solving tiny problems; without numba's cache this compiles them.

    They exist twice: for days with breaks or hours of different speed, and without all that.
    """
    paced = _tiny()
    for arrays in (msgspec.structs.replace(paced, rest=None, speeds=None), paced):
        anneal_routes(arrays, [(0, 1)], Heat(start=10.0, pair_permille=500), Pace(search_s=60, stop=lambda: False, iterations_max=50), 0)


def _forget() -> None:
    """Drop what an earlier state of the code left in numba's cache: it compares a function's own file only, not those of the functions it calls."""
    for path in Path(__file__).parent.glob("__pycache__/*.nb[ic]"):
        with contextlib.suppress(OSError):
            path.unlink()


def _marks() -> list[Path]:
    return [Path(__file__).parent / "__pycache__" / "kernels.warm", Path.home() / ".cache" / "fieldvisit" / "kernels.warm"]


def _fingerprint() -> str:
    """Name the code, its modification time (numba's own criterion) and the compiler's version."""
    state = hashlib.sha256(version("numba").encode())
    for name in KERNEL_FILES:
        path = Path(__file__).parent / name
        state.update(path.read_bytes() + str(path.stat().st_mtime_ns).encode())
    return state.hexdigest()


def search_tours(
    problem: Problem, matching: Matching, heat: Heat, pace: Pace, seed: int, start: Sequence[Tour] = ()
) -> tuple[list[Tour], Found]:
    """Search from a matching, or from the tours of some of its pairs; return tours whose deposits are placed anew, and the record."""
    given = {tour.collectors: tour.timing.nodes for tour in start}
    found = anneal_routes(day_arrays(problem, heat), list(matching), heat, pace, seed, given)
    return tours_of(problem, found), found


def tours_of(problem: Problem, found: Found) -> list[Tour]:
    """Time the routes found, each with the better of its own deposits and those placed anew."""
    tours: list[Tour] = []
    for a, b, nodes in found.routes:
        pair = make_pair(problem, a, b)
        timings = [time_route(problem, pair, nodes), plan_deposits(problem, pair, tuple(one for one in nodes if one < problem.n))]
        possible = [timing for timing in timings if timing is not None]
        if possible:
            tours.append(Tour(pair, min(possible, key=lambda timing: (timing.travel_s, timing.return_at))))
    return tours


def day_arrays(problem: Problem, heat: Heat) -> Arrays:
    """Lay a day out for the kernels."""
    n, banks = problem.n, problem.banks
    node = np.zeros((n + banks, 4), dtype=np.int64)
    node[:, 0] = problem.service_s
    node[:n, 1], node[:n, 3] = problem.cash_fen, problem.loss
    win = np.empty((n + banks, 2 * problem.window_lo.shape[1]), dtype=np.int64)
    win[:, 0::2], win[:, 1::2] = problem.window_lo, problem.window_hi
    crew = np.hstack([problem.shift_lo[:, None], problem.shift_hi[:, None], problem.skills]).astype(np.int64)
    nearest_banks = np.argsort(problem.travel_s[:n, n:], axis=1, kind="stable")[:, :BANKS_NEAR].astype(np.int64) + n
    par = np.array([n, problem.carry_limit_fen, FAR, problem.travel_weight, problem.imbalance_div, 6, heat.pair_permille, heat.ruin, heat.string, 0])
    longest_s = int((problem.shift_hi - problem.shift_lo).max(initial=0))
    briefest_s = max(1, int(problem.service_s[: n - len(problem.anchors)].min(initial=longest_s)))
    stops = min(n, longest_s // briefest_s + 2)
    return Arrays(
        travel=np.ascontiguousarray(problem.travel_s), inward=np.ascontiguousarray(problem.travel_s.T), node=node, win=win,
        way_out=problem.out_s.astype(np.int64),
        way_back=np.ascontiguousarray(problem.back_s.T.astype(np.int64)), rest=None if problem.is_plain else _rests(problem),
        speeds=None if problem.is_plain else problem.speeds.rows,
        banks=np.ascontiguousarray(nearest_banks), crew=crew, needs=problem.needs,
        excluded=problem.excluded, near=nearest(problem.travel_s[:n, :n]), rivals=problem.rivals, weight=pair_weights(problem).weight,
        par=par.astype(np.int64), stops_max=2 * stops + 6,
    )


def _rests(problem: Problem) -> I64:
    width = max([0, *(len(one) for one in problem.rests)])
    rows = [[*one, *[(0, -1, 0)] * (width - len(one))] for one in problem.rests]
    return np.array(rows, dtype=np.int64).reshape(len(rows), width, 3)


def nearest(travel: Any) -> I64:
    """Return, per visit, the other visits by growing distance, at most NEAR of them."""
    n = len(travel)
    width = min(NEAR, n - 1)
    if width <= 0:
        return np.zeros((n, 1), dtype=np.int64)
    apart = travel + travel.T
    np.fill_diagonal(apart, -1)
    rough = np.argpartition(apart, width, axis=1)[:, : width + 1]
    order = np.argsort(np.take_along_axis(apart, rough, axis=1), axis=1, kind="stable")
    return np.ascontiguousarray(np.take_along_axis(rough, order, axis=1)[:, 1:]).astype(np.int64)


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
        near=np.ascontiguousarray(number[arrays.near[order]]),
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


def _kernels() -> ModuleType:
    from routing.engines import anneal

    return anneal


def anneal_routes(
    arrays: Arrays, matching: Sequence[tuple[int, int]], heat: Heat, pace: Pace, seed: int,
    given: Mapping[tuple[int, int], tuple[int, ...]] = MappingProxyType({}),
) -> Found:
    """Build a start on the matching (and on routes given for some pairs), anneal it down LEVELS temperatures, and return the best routes seen.

    By the clock the level follows the time that has passed, and the iterations made on each level are counted; by iterations, or by the
    counts of an earlier run, the result depends on the seed alone.
    """
    began = time.monotonic()
    code = _kernels()
    laid, names = neighbourly(arrays)
    state = _State(laid, matching, seed, names)
    state.take_up(code, matching, given)
    state.construct(code)
    counts = [0] * LEVELS
    best, report_at = FAR * FAR, began
    while not pace.stop():
        level, chunk = _next_step(pace, counts, time.monotonic() - began)
        if chunk <= 0:
            break
        state.advance(code, chunk, heat.start * (heat.end / heat.start) ** (level / LEVELS), heat.screen)
        counts[level] += chunk
        if pace.on_better is not None and state.stat[1] < best and time.monotonic() >= report_at:
            best, report_at = int(state.stat[1]), time.monotonic() + pace.report_every_s
            pace.on_better(state.found(tuple(counts)))
    return state.found(tuple(counts))


def _next_step(pace: Pace, counts: list[int], elapsed_s: float) -> tuple[int, int]:
    """Return the temperature level and the number of iterations to run next; 0 iterations end the search."""
    if pace.counts is not None:
        for level, wanted in enumerate(pace.counts):
            if counts[level] < wanted:
                return level, min(CHUNK, wanted - counts[level])
        return 0, 0
    if pace.iterations_max is None:
        level = int(LEVELS * elapsed_s / pace.search_s)
        return level, CHUNK if level < LEVELS else 0
    done = sum(counts)
    level = done * LEVELS // max(1, pace.iterations_max)
    ahead = (level + 1) * pace.iterations_max // LEVELS - done
    return level, min(CHUNK, max(1, ahead), pace.iterations_max - done)


class _State:
    """The search's changing arrays."""

    def __init__(self, arrays: Arrays, matching: Sequence[tuple[int, int]], seed: int, names: I64) -> None:
        self.arrays, self.names = arrays, names
        routes, n = len(matching), int(arrays.par[0])
        self.rt = np.zeros((routes, arrays.stops_max, 5), dtype=np.int64)
        self.rs = np.zeros((routes, 8), dtype=np.int64)
        for row, (a, b) in enumerate(matching):
            lo, hi = max(arrays.crew[a, 0], arrays.crew[b, 0]), min(arrays.crew[a, 1], arrays.crew[b, 1])
            self.rs[row] = (0, a, b, lo, hi, 0, 0, 0)
            self.rt[row, 0] = (-1, 0, hi, -1, 0)
        self.where = np.full(n, -1, dtype=np.int64)
        self.unserved = np.arange(2 * n + 2, dtype=np.int64)
        used = {one for pair in matching for one in pair}
        self.idle = np.array([one for one in range(len(arrays.crew)) if one not in used and arrays.weight[one].any()], dtype=np.int64)
        self.stat = np.zeros(8, dtype=np.int64)
        self.rng = np.array([(seed * 2654435769 + 88172645463325252) % 2**64 or 1], dtype=np.uint64)
        self.best_rt, self.best_rs = np.zeros((routes, arrays.stops_max), dtype=np.int64), self.rs.copy()

    @property
    def iterations(self) -> int:
        return int(self.stat[2])

    def static(self) -> tuple[Any, ...]:
        one = self.arrays
        return (
            one.travel, one.inward, one.node, one.win, one.way_out, one.way_back, one.rest, one.speeds, one.banks, one.crew, one.needs,
one.excluded, one.near, one.rivals,
        )

    def take_up(
        self, code: ModuleType, matching: Sequence[tuple[int, int]], given: Mapping[tuple[int, int], tuple[int, ...]]
    ) -> None:
        """Begin with routes that are known already."""
        number = np.argsort(self.names)
        for row, pair in enumerate(matching):
            nodes = given.get(pair, ())
            if nodes and len(nodes) + 2 < self.rt.shape[1]:
                self.rt[row, : len(nodes), 0], self.rs[row, 0] = number[list(nodes)], len(nodes)
        one = self.arrays
        code.load(int(one.par[0]), one.travel, one.node, one.win, one.way_out, one.way_back, one.rest, one.speeds, self.rt, self.rs, self.where,
                      one.par)

    def construct(self, code: ModuleType) -> None:
        """Insert dearest and then narrowest visits first; take stock of the cost."""
        one, n = self.arrays, int(self.arrays.par[0])
        width = np.where(one.win[:n, 1::2] >= 0, one.win[:n, 1::2] - one.win[:n, 0::2], 0).sum(axis=1)
        wanted = np.lexsort((width, -one.node[:n, 3])).astype(np.int64)
        wanted = wanted[self.where[wanted] < 0]
        left = code.construct(wanted, *self.static(), self.rt, self.rs, self.where, one.par, self.rng)
        self.unserved[:left] = wanted[:left]
        loss, way = int(one.node[wanted[:left], 3].sum()), int(self.rs[:, 5].sum())
        work = self.rs[self.rs[:, 0] > 0, 6]
        balance = int(work.max() - work.min()) // int(one.par[4]) if len(work) else 0
        cost = loss + int(one.par[3]) * way + balance
        self.stat[:] = (cost, cost, 0, left, 0, 0, loss, way)
        self.best_rt[:], self.best_rs[:] = self.rt[:, :, 0], self.rs

    def advance(self, code: ModuleType, chunk: int, temperature: float, screen: float) -> None:
        one = self.arrays
        code.anneal(
            chunk, float(temperature), float(screen), *self.static(), one.weight, self.rt, self.rs, self.best_rt, self.best_rs, self.where,
            self.unserved, self.idle, one.par, self.stat, self.rng,
        )

    def found(self, counts: tuple[int, ...]) -> Found:
        routes = [
            (int(row[1]), int(row[2]), tuple(self.names[self.best_rt[index, : int(row[0])]].tolist()))
            for index, row in enumerate(self.best_rs)
            if row[0]
        ]
        return Found(routes, int(self.stat[1]), self.iterations, int(self.stat[5]), counts)


def _tiny() -> Arrays:
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
