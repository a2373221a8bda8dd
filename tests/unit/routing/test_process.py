"""The warm solver process: killed, hung, starved or orphaned, its best plan stays and the next order is taken."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from routing import Ending, Limits, SolverDied, SolverProcess, Step, check, cost, load_instance, solve, travel_matrix
from routing.model import Instance
from tests.unit.routing.support_days import HOUR, day, visit

pytestmark = pytest.mark.long

ROOT = Path(__file__).resolve().parents[3]
SHORT = Limits(search_s=60, iterations_max=2)


def wide(visits: int = 40) -> Instance:
    """Return a day with more visits than its pairs can make, so that a search has something to do until its time is over."""
    places = [{"id": f"q{number}", "kind": "visit", "lat": 31.2 + number % 7 / 100, "lon": 121.4 + number % 11 / 100} for number in range(visits)]
    made = day(*(visit(f"V{number}", f"q{number}", windows=[[9 * HOUR, 17 * HOUR]], value=1 + number % 5) for number in range(visits)))
    made["locations"] += places
    return load_instance(made)


@pytest.fixture(scope="module")
def solver() -> Iterator[SolverProcess]:
    with SolverProcess() as process:
        yield process


@contextmanager
def died(pid: int) -> Iterator[None]:
    """Wait at the end until the process is gone."""
    descriptor = os.pidfd_open(pid)
    yield
    over, _, _ = select.select([descriptor], [], [], 30)
    os.close(descriptor)
    assert over, "the process lives"


class Act:
    """Does something to the solver's process once, at the first plan that it shows."""

    def __init__(self, solver: SolverProcess, number: int) -> None:
        self.solver, self.number = solver, number
        self.steps: list[Step] = []

    def __call__(self, step: Step) -> None:
        if not self.steps:
            os.kill(self.solver.pid, self.number)
        self.steps.append(step)


def test_a_killed_process_leaves_its_best_plan_and_the_next_order_is_taken(solver: SolverProcess) -> None:
    instance, act = wide(), Act(solver, signal.SIGKILL)
    before = solver.pid
    solved = solver.solve(instance, Limits(search_s=30), on_progress=act)
    assert (solved.ending, len(act.steps)) == (Ending.DIED, 1)
    assert solved.plan.served()
    assert check(instance, solved.plan) == ()
    assert solver.pid != before
    assert solver.solve(instance, SHORT).ending is Ending.FINISHED


def test_a_process_that_hangs_is_killed_within_two_seconds_of_the_limit(solver: SolverProcess) -> None:
    instance = wide()
    solved = solver.solve(instance, Limits(search_s=1), on_progress=Act(solver, signal.SIGSTOP))
    assert solved.ending is Ending.LATE
    assert solved.elapsed_s < 1 + 2
    assert check(instance, solved.plan) == ()
    assert solved.plan.solver is not None
    assert solved.plan.solver.cost == cost(instance, solved.plan).total


@pytest.mark.slow
def test_a_process_that_hangs_in_native_code_is_killed_too(monkeypatch: pytest.MonkeyPatch) -> None:
    # A regular expression that backtracks for ever holds the interpreter's lock: no thread and no signal handler of the child runs.
    hang = "import re, routing.process_child as child\nchild.explain = lambda *_: re.match('(a+)+b', 'a' * 60)\n"
    monkeypatch.setattr("routing.process._PROGRAM", "import sys; sys.path.insert(0, sys.argv[1]); " + hang.replace("\n", "; ")
                        + "from routing.process_child import main; main(*map(int, sys.argv[2:]))")
    instance = wide(4)
    with SolverProcess() as stuck:
        plan = stuck.solve(instance, SHORT).plan
        before = stuck.pid
        with pytest.raises(SolverDied, match="no reasons within"):
            stuck.explain(instance, plan, timeout_s=0.5)
        assert stuck.pid != before


@pytest.mark.slow
def test_a_process_without_memory_dies_and_is_replaced() -> None:
    with SolverProcess(memory_bytes_max=1) as starved:
        before = starved.pid
        try:
            ending = starved.solve(wide(), Limits(search_s=2)).ending
        except SolverDied:
            ending = Ending.DIED                          # It died before it had shown any plan.
        assert ending is Ending.DIED
        assert starved.pid != before


def test_an_idle_process_that_was_killed_is_replaced_unasked(solver: SolverProcess) -> None:
    solver.solve(wide(4), SHORT)
    with died(solver.pid):
        os.kill(solver.pid, signal.SIGKILL)
    assert solver.solve(wide(4), SHORT).ending is Ending.FINISHED


def test_a_cancelled_search_returns_its_best_plan_at_once(solver: SolverProcess) -> None:
    instance, steps = wide(), list[Step]()
    solved = solver.solve(instance, Limits(search_s=120), on_progress=steps.append, cancelled=lambda: bool(steps))
    assert solved.ending is Ending.CANCELLED
    assert solved.elapsed_s < 60
    assert check(instance, solved.plan) == ()


def test_progress_only_gets_better_and_ends_no_better_than_the_plan(solver: SolverProcess) -> None:
    instance, steps = wide(), list[Step]()
    solved = solver.solve(instance, Limits(search_s=2), on_progress=steps.append)
    assert solved.ending is Ending.FINISHED
    assert steps
    assert [one.cost for one in steps] == sorted({one.cost for one in steps}, reverse=True)
    assert [one.elapsed_s for one in steps] == sorted(one.elapsed_s for one in steps)
    assert all(one.engine and one.served for one in steps)
    assert cost(instance, solved.plan).total <= steps[-1].cost


def test_the_process_gives_the_very_plan_and_reasons_of_the_library(solver: SolverProcess) -> None:
    instance = wide()
    matrix = travel_matrix(instance)
    solved, alone = solver.solve(instance, SHORT, seed=5, matrix=matrix), solve(instance, SHORT, seed=5)
    assert (solved.plan.routes, solved.plan.unserved) == (alone.routes, alone.unserved)
    assert [one.id for one in solver.explain(instance, solved.plan, matrix)] == [one.id for one in alone.unserved or ()]


def test_bad_orders_are_told_and_do_not_end_the_process(solver: SolverProcess) -> None:
    instance = wide(4)
    unknown: Any = travel_matrix(load_instance(day(visit("V0", "p0"))))
    with pytest.raises(SolverDied):
        solver.solve(instance, SHORT, matrix=unknown)
    assert solver.solve(instance, SHORT).ending is Ending.FINISHED


def test_one_order_waits_for_the_other(solver: SolverProcess) -> None:
    instance, plans = wide(4), list[Any]()
    threads = [threading.Thread(target=lambda: plans.append(solver.solve(instance, SHORT))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [one.ending for one in plans] == [Ending.FINISHED] * 3


def test_a_closed_process_takes_no_orders() -> None:
    solver = SolverProcess()
    solver.close()
    solver.close()
    with pytest.raises(ValueError, match="closed"):
        solver.solve(wide(4), SHORT)


def test_the_process_dies_with_its_parent() -> None:
    program = "import sys; from routing import SolverProcess; solver = SolverProcess(); print(solver.pid, flush=True); sys.stdin.read()"
    parent = subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    assert parent.stdout is not None
    with died(int(parent.stdout.readline())):
        parent.send_signal(signal.SIGKILL)
        parent.wait()
    for stream in (parent.stdin, parent.stdout):
        assert stream is not None
        stream.close()
