"""The periodic sweep: undone work is found from domain state and handed over again, and chores run when time makes them due."""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol, TypeVar
from uuid import UUID

import structlog

from backend.jobs.given_up import GivenUp
from backend.jobs.queue import Chore, Task

LOGGER = structlog.get_logger("fieldvisit.jobs")
Answer = TypeVar("Answer")


class Hands(Protocol):
    """The engine of the queue as the sweep knows it."""

    def under_way(self, jobs: set[tuple[str, UUID]]) -> set[tuple[str, UUID]]:
        """Return those of `jobs` that wait or run."""

    def put_missing(self, task: str, subject_id: UUID) -> None:
        """Hand over a job unless it waits or runs."""


class Sweeper:
    """Sweeps when it is told to. What fails in one task or chore is logged and does not keep the others from their turn."""

    def __init__(
        self, tasks: Sequence[Task], chores: Sequence[Chore], hands: Hands, given_up: GivenUp | None, monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._tasks, self._chores, self._hands, self._given_up, self._monotonic = tuple(tasks), tuple(chores), hands, given_up, monotonic
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="sweep")
        self._due = dict.fromkeys((chore.name for chore in chores), float("-inf"))
        assert len(self._due) == len(self._chores), "chores' names are unique"

    def find(self) -> int:
        """Hand over all work that is undone, not under way and not given up; returns how many jobs that were.

        What is under way is asked before what is given up: a job joins that list first and stops being under way after, so none slips between.
        """
        found = {(task.name, subject_id): None for task in self._tasks for subject_id in self._tried(task.name, task.unfinished) or ()}
        resting = set(found) - self._hands.under_way(set(found))
        left = set() if self._given_up is None else self._given_up.among(resting)
        wanted = [job for job in found if job in resting and job not in left]
        for task, subject_id in wanted:
            self._hands.put_missing(task, subject_id)
        return len(wanted)

    def run_due(self) -> int:
        """Run the chores that are due; returns how many that were."""
        due = [chore for chore in self._chores if self._monotonic() >= self._due[chore.name]]
        for chore in due:
            self._due[chore.name] = self._monotonic() + chore.every_s
            self._tried(chore.name, chore.run)
        return len(due)

    def stop(self) -> None:
        """Wait for what is under way."""
        self._pool.shutdown(wait=True)

    def _tried(self, name: str, function: Callable[[], Answer]) -> Answer | None:
        """Return the function's answer, or None after writing to the log that it failed."""
        done = self._pool.submit(function)
        error = done.exception()
        if error is None:
            return done.result()
        LOGGER.error("sweep failed", task=name, exc_info=error)
        return None
