"""A warm solver process: spawned once, kept loaded, killed when it is late, replaced when it dies; the best plan so far is kept out here.

A search may hang in native code, run out of memory or crash; then the process is gone and the plan is not.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from enum import StrEnum
from multiprocessing.connection import Connection
from pathlib import Path
from types import TracebackType

import msgspec

from routing.check import check
from routing.limits import Limits
from routing.matrix import TravelMatrix
from routing.model import Instance, Plan, Unserved
from routing.process_words import ANSWERS, ENCODER, Answer, Cancel, Explained, ExplainOrder, Failed, Finished, Improved, Ready, SolveOrder, to_table

KILL_AFTER_S = 1.5
POLL_S = 0.05
START_S_MAX = 180.0
EXPLAIN_S_MAX = 60.0
_PROGRAM = "import sys; sys.path.insert(0, sys.argv[1]); from routing.process_child import main; main(*map(int, sys.argv[2:]))"

# The kernel ties a child's life to the thread that started it, so that thread must live as long as this process.
_STARTER = ThreadPoolExecutor(max_workers=1, thread_name_prefix="solver-starter")


class Ending(StrEnum):
    """How a solve ended. All but FINISHED leave the best plan so far; a LATE or DIED one without reasons for what it leaves out."""

    FINISHED = "finished"
    CANCELLED = "cancelled"
    LATE = "late"            # Killed after the limit.
    DIED = "died"            # Crashed, killed by somebody else, out of memory, or refused its own plan.


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """One improvement: seconds since the order, the cost now, visits served, and the engine that brought it. Costs only fall."""

    elapsed_s: float
    cost: int
    served: int
    engine: str


class Solved(msgspec.Struct, frozen=True, kw_only=True):
    """The plan, judged clean out here, and how it ended. `failure` says why the process died."""

    plan: Plan
    ending: Ending
    elapsed_s: float
    failure: str = ""


class SolverDied(RuntimeError):
    """The process ended before it had any plan, or could not start; it is replaced."""


class SolverProcess:
    """One warm process; one order at a time, others wait. Use it as a context or call `close`.

    Args:
        memory_bytes_max: The most private memory the process may have; None for no limit. Beyond it the search ends as DIED.
        strands: Threads of the compiled search where the limits name no number. One suits many processes side by side.
    """

    def __init__(self, *, memory_bytes_max: int | None = None, strands: int = 1) -> None:
        self._memory_bytes_max, self._strands = memory_bytes_max or 0, strands
        self._lock = threading.Lock()
        self._child: _Child | None = _Child(self._memory_bytes_max)

    @property
    def pid(self) -> int:
        """The process that would take the next order. Raises `ValueError` after `close`."""
        if self._child is None:
            raise ValueError("the solver process is closed")
        return self._child.process.pid

    def solve(
        self, instance: Instance, limits: Limits | None = None, *, seed: int = 0, matrix: TravelMatrix | None = None,
        on_progress: Callable[[Step], None] | None = None, cancelled: Callable[[], bool] | None = None,
        start: Plan | None = None,
    ) -> Solved:
        """As `routing.solve`, in the process: never later than 2 s after `limits.search_s`, whatever the search does.

        The time counts from the order to a process that is loaded; a cold one is waited for before. `on_progress` and `cancelled` are called in
        this thread, `cancelled` about twenty times a second. After a cancellation the search has 1.5 s to finish its plan.

        Raises:
            SolverDied: the process ended before it had any plan.
            PlanRefused: the plan that it left breaks a hard rule (a defect of the solver).
        """
        asked = limits or Limits()
        asked = msgspec.structs.replace(asked, strands=asked.strands or self._strands)
        with self._lock:
            child = self._loaded()
            began = time.monotonic()
            watch = _Watch(began + asked.search_s + KILL_AFTER_S, cancelled, on_progress)
            child.say(SolveOrder(instance, asked, seed, to_table(matrix), start))
            final = watch.follow(child)
            if final is None or isinstance(final, Failed):
                self._replace()
        plan = final.plan if isinstance(final, Finished) else watch.best
        failure = final.failure if isinstance(final, Failed) else ""
        if plan is None:
            raise SolverDied(failure or f"the solver process ended without a plan ({watch.ending.value})")
        self._judge(instance, plan, matrix)
        ending = watch.ending if isinstance(final, Finished) or final is None else Ending.DIED
        return Solved(plan=plan, ending=ending, elapsed_s=time.monotonic() - began, failure=failure)

    def explain(
        self, instance: Instance, plan: Plan, matrix: TravelMatrix | None = None, *, timeout_s: float = EXPLAIN_S_MAX
    ) -> tuple[Unserved, ...]:
        """As `routing.explain`, in the process: one reason for every visit that a clean plan leaves out.

        Raises:
            SolverDied: no answer within `timeout_s`, or the process ended.
        """
        with self._lock:
            child = self._loaded()
            child.say(ExplainOrder(instance, plan, to_table(matrix)))
            final = _Watch(time.monotonic() + timeout_s, None, None).follow(child)
            if not isinstance(final, Explained):
                self._replace()
        if not isinstance(final, Explained):
            raise SolverDied(final.failure if isinstance(final, Failed) else f"no reasons within {timeout_s:g} s")
        return final.unserved

    def close(self) -> None:
        """End the process; can be repeated."""
        with self._lock:
            if self._child is not None:
                self._child.kill()
                self._child = None

    def __enter__(self) -> SolverProcess:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _loaded(self) -> _Child:
        """Return the child, ready for an order; one that died while nobody looked is replaced once."""
        if self._child is None:
            raise ValueError("the solver process is closed")
        if not self._child.wait_ready():
            self._replace()
            if not self._child.wait_ready():
                raise SolverDied("the solver process does not start")
        return self._child

    def _replace(self) -> None:
        """Start the next process at once, so that it is loaded when it is needed."""
        assert self._child is not None
        self._child.kill()
        self._child = _Child(self._memory_bytes_max)

    @staticmethod
    def _judge(instance: Instance, plan: Plan, matrix: TravelMatrix | None) -> None:
        violations = check(instance, plan, matrix)
        if violations:
            from routing.solve import PlanRefused

            raise PlanRefused(violations)


class _Child:
    """A process and the socket to it."""

    def __init__(self, memory_bytes_max: int) -> None:
        here, there = socket.socketpair()
        with there:
            root = str(Path(__file__).resolve().parents[1])
            command = [sys.executable, "-c", _PROGRAM, root, str(there.fileno()), str(os.getpid()), str(memory_bytes_max)]
            self.process = _STARTER.submit(
                lambda: subprocess.Popen(command, pass_fds=[there.fileno()], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
            ).result()
        self.connection = Connection(here.detach())
        self.is_ready = False

    def say(self, order: SolveOrder | ExplainOrder | Cancel) -> None:
        with suppress(OSError):                          # It is dead; the next reading says so.
            self.connection.send_bytes(ENCODER.encode(order))

    def hear(self, wait_s: float) -> Answer | None:
        """Return the next answer, None when there is none yet. Raises `EOFError` when the process is gone."""
        try:
            return ANSWERS.decode(self.connection.recv_bytes()) if self.connection.poll(max(0.0, wait_s)) else None
        except OSError:
            raise EOFError from None

    def wait_ready(self) -> bool:
        """Wait until everything is loaded; False when the process ended instead, or is gone by now."""
        try:
            if not self.is_ready:
                self.is_ready = isinstance(self.hear(START_S_MAX), Ready)
            return self.is_ready and self.process.poll() is None
        except EOFError:
            return False

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        self.connection.close()


class _Watch:
    """What the owner keeps while an order is carried out: the best plan, the deadline, the wish to cancel."""

    def __init__(self, kill_at: float, cancelled: Callable[[], bool] | None, on_progress: Callable[[Step], None] | None) -> None:
        self.kill_at, self.cancelled, self.on_progress = kill_at, cancelled, on_progress
        self.best: Plan | None = None
        self.cost: int | None = None
        self.ending = Ending.FINISHED

    def follow(self, child: _Child) -> Finished | Explained | Failed | None:
        """Listen until the last answer; None when the time is over or the process is gone."""
        try:
            while (left_s := self.kill_at - time.monotonic()) > 0:
                answer = child.hear(min(POLL_S, left_s))
                if isinstance(answer, Improved):
                    self._keep(answer)
                elif isinstance(answer, Finished | Explained | Failed):
                    return answer
                if self.ending is Ending.FINISHED and self.cancelled is not None and self.cancelled():
                    self.ending, self.kill_at = Ending.CANCELLED, min(self.kill_at, time.monotonic() + KILL_AFTER_S)
                    child.say(Cancel())
        except EOFError:
            self.ending = Ending.DIED
            return None
        self.ending = Ending.LATE if self.ending is Ending.FINISHED else self.ending
        return None

    def _keep(self, found: Improved) -> None:
        if self.cost is not None and found.cost >= self.cost:
            return
        self.best, self.cost = found.plan, found.cost
        if self.on_progress is not None:
            self.on_progress(Step(elapsed_s=found.elapsed_s, cost=found.cost, served=len(found.plan.served()), engine=found.stage))
