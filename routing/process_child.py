"""The solver process: loads everything once, then takes one order after the other until its owner is gone."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import sys
import time
from multiprocessing.connection import Connection

from routing.engines import search
from routing.explain import explain
from routing.process_words import ENCODER, ORDERS, Answer, Cancel, Explained, ExplainOrder, Failed, Finished, Improved, Ready, SolveOrder
from routing.process_words import to_matrix as _matrix
from routing.solve import Progress, solve

_PR_SET_PDEATHSIG = 1
ASK_EVERY_S = 0.02
SHOW_EVERY_S = 0.2


def main(descriptor: int, parent: int, memory_bytes_max: int) -> None:
    """Serve orders from the socket `descriptor` until it closes. Dies with `parent`, whatever it is doing then."""
    die_with(parent)
    signal.signal(signal.SIGINT, signal.SIG_IGN)         # Ctrl-C is for the owner, which ends this process by closing the socket.
    connection = Connection(descriptor)
    has_kernels = search.is_ready()
    if has_kernels:
        search.load()
    if memory_bytes_max:
        # Private writable memory: what the libraries map to read costs nothing and stays outside.
        resource.setrlimit(resource.RLIMIT_DATA, (memory_bytes_max, memory_bytes_max))
    _say(connection, Ready(has_kernels))
    while True:
        try:
            order = ORDERS.decode(connection.recv_bytes())
        except EOFError:
            return
        if not isinstance(order, Cancel):                # One that came after the answer cancels nothing.
            _say(connection, _carry_out(connection, order))


def _carry_out(connection: Connection, order: SolveOrder | ExplainOrder) -> Answer:
    try:
        if isinstance(order, ExplainOrder):
            reasons = explain(order.instance, order.plan, _matrix(order.matrix))
            return Explained(tuple(reason.unserved() for reason in reasons))
        shown = _Shown(connection)
        plan = solve(
            order.instance, order.limits, seed=order.seed, matrix=_matrix(order.matrix), on_progress=shown.show, cancelled=_Cancelled(connection),
            start=order.start,
        )
        return Finished(plan)
    except Exception as error:  # Whatever it is, the owner must hear it in one line, and the process stays for the next order.
        return Failed(f"{type(error).__name__}: {error}"[:500])


class _Shown:
    """Pass on each plan that is better than every one before; within one stage not more often than five times a second."""

    def __init__(self, connection: Connection) -> None:
        self.connection, self.began = connection, time.monotonic()
        self.cost: int | None = None
        self.stage, self.at = "", 0.0

    def show(self, progress: Progress) -> None:
        is_better = self.cost is None or progress.cost < self.cost
        is_due = progress.stage != self.stage or time.monotonic() - self.at >= SHOW_EVERY_S
        if is_better and is_due:
            self.cost, self.stage, self.at = progress.cost, progress.stage, time.monotonic()
            _say(self.connection, Improved(progress.stage, self.at - self.began, progress.cost, progress.plan()))


class _Cancelled:
    """Look at the socket for a word from the owner, at most every 20 ms."""

    def __init__(self, connection: Connection) -> None:
        self.connection, self.at, self.is_cancelled = connection, 0.0, False

    def __call__(self) -> bool:
        now = time.monotonic()
        if not self.is_cancelled and now - self.at >= ASK_EVERY_S:
            self.at = now
            self.is_cancelled = self.connection.poll(0) and isinstance(ORDERS.decode(self.connection.recv_bytes()), Cancel)
        return self.is_cancelled


def _say(connection: Connection, answer: Answer) -> None:
    connection.send_bytes(ENCODER.encode(answer))


def die_with(parent: int) -> None:
    """Ask the kernel for SIGKILL when the parent dies: no parent can do that for itself after a `kill -9`."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)                                      # It died before the request took effect.
