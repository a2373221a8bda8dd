"""The compiled search: whether its kernels are there, a day to tours.

numba is optional. `is_ready` says whether the kernels can run at once; compiling them (about a minute) never happens inside a solve but in `warm`,
which the installation runs and which leaves a mark beside numba's cache.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import sys
import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import msgspec

from routing.engines.layout import Heat, day_arrays, tiny
from routing.engines.strands import Found, Pace, anneal_routes
from routing.objective import Tour
from routing.pairing import Matching
from routing.problem import Problem
from routing.schedule import plan_deposits, time_route
from routing.timing import make_pair

LOAD_S = 2.5
KERNEL_FILES = ("kernels.py", "anneal.py")


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
    paced = tiny()
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
    problem: Problem, matching: Matching, heat: Heat, pace: Pace, seed: int, start: Sequence[Tour] = (), *, strands: int = 1,
) -> tuple[list[Tour], Found]:
    """Search from a matching, or from the tours of some of its pairs; return tours whose deposits are placed anew, and the record."""
    began, given = time.monotonic(), {tour.collectors: tour.timing.nodes for tour in start}
    arrays = day_arrays(problem, heat)
    left = msgspec.structs.replace(pace, search_s=max(0.01, pace.search_s - (time.monotonic() - began)))
    found = anneal_routes(arrays, list(matching), heat, left, seed, given, strands=strands)
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
