"""The queue port: work that outlives a request. Domain state is the truth, the queue is only delivery.

A task is an idempotent function of an id. So a lost job is found again by `unfinished`, and a doubled one changes nothing.
Two engines stand behind the port: threads of the server's own process (`threads.py`), and worker processes on any number of machines
(`workers.py`). Both sweep: what a killed process left undone is found and tried again, what fails `ATTEMPTS_MAX` times is given up and shown.
"""

from collections.abc import Callable
from typing import Protocol
from uuid import UUID

import msgspec
from sqlalchemy.orm import Session

ATTEMPTS_MAX = 3
RETRY_WAIT_S = 2.0
SWEEP_EVERY_S = 30.0


class Task(msgspec.Struct, frozen=True, kw_only=True):
    """One kind of work. `abandon` is told of an id that failed `ATTEMPTS_MAX` times, so that its state says so."""

    name: str
    run: Callable[[UUID], None]
    unfinished: Callable[[], tuple[UUID, ...]]
    abandon: Callable[[UUID], None]


class Chore(msgspec.Struct, frozen=True, kw_only=True):
    """Work of no one in particular that time makes due: run about every `every_s` seconds by one process at a time, twice does no harm."""

    name: str
    every_s: float
    run: Callable[[], None]


class Queue(Protocol):
    """What a handler knows of the queue."""

    def put(self, task: str, subject_id: UUID) -> None:
        """Hand over one job now, after the commit that created it. Raises `TaskUnknown` for a task that nobody registered."""

    def put_within(self, session: Session, task: str, subject_id: UUID) -> None:
        """Hand over one job with the session's transaction: when that is rolled back, there is no job. Raises as `put` does."""


class TaskUnknown(LookupError):
    """No task of that name is registered."""


def wait_before(attempt: int, first_s: float = RETRY_WAIT_S) -> float:
    """Return how many seconds to wait before attempt number `attempt` (2 is the first repetition): doubling each time."""
    assert attempt >= 2
    return float(first_s * 2 ** (attempt - 2))
