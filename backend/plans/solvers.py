"""Warm solver processes of this process, made when they are needed and lent to one job at a time."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from routing import SolverProcess


class Solvers:
    """Lends a loaded process to each job, or a new one while all are lent. They end with this process."""

    def __init__(self, memory_bytes_max: int | None = None, strands: int = 1) -> None:
        self._memory_bytes_max, self._strands = memory_bytes_max, strands
        self._lock, self._idle = threading.Lock(), list[SolverProcess]()

    @contextmanager
    def lend(self) -> Iterator[SolverProcess]:
        """Lend one; it comes back for the next job, loaded."""
        with self._lock:
            solver = self._idle.pop() if self._idle else None
        solver = solver or SolverProcess(memory_bytes_max=self._memory_bytes_max, strands=self._strands)
        try:
            yield solver
        finally:
            with self._lock:
                self._idle.append(solver)

    def close(self) -> None:
        """End the processes that nobody uses."""
        with self._lock:
            left, self._idle = self._idle, []
        for solver in left:
            solver.close()


SHARED = Solvers()
"""For whoever names no other: tests and single commands."""
