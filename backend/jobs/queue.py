"""The queue port: work that outlives a request. Domain state is the truth, the queue is only delivery.

A task is an idempotent function of an id. So a lost job is found again by `unfinished`, and a doubled one changes nothing.
Hand work over after the commit that created it.
"""

from collections.abc import Callable
from typing import Protocol
from uuid import UUID

import msgspec

ATTEMPTS_MAX = 3


class Task(msgspec.Struct, frozen=True, kw_only=True):
    """One kind of work. `abandon` is told of an id that failed `ATTEMPTS_MAX` times, so that its state says so."""

    name: str
    run: Callable[[UUID], None]
    unfinished: Callable[[], tuple[UUID, ...]]
    abandon: Callable[[UUID], None]


class Queue(Protocol):
    """What a handler knows of the queue."""

    def put(self, task: str, subject_id: UUID) -> None:
        """Hand over one job. Raises `LookupError` for a task that nobody registered."""


class TaskUnknown(LookupError):
    """No task of that name is registered."""
