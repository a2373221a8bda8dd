"""The embedded queue: doubled, failing, poisoned and left-over jobs."""

import threading
from collections.abc import Callable
from uuid import UUID

import pytest

from backend.jobs.queue import ATTEMPTS_MAX, Task, TaskUnknown
from backend.jobs.threads import ThreadQueue

ONE, TWO = UUID(int=1), UUID(int=2)


class Ledger:
    """What a task was asked to do."""

    def __init__(self, run: Callable[[UUID], None] = lambda _: None, left_over: tuple[UUID, ...] = ()) -> None:
        self.ran: list[UUID] = []
        self.abandoned: list[UUID] = []
        self._run = run
        self.task = Task(name="solve", run=self._note, unfinished=lambda: left_over, abandon=self.abandoned.append)

    def _note(self, subject_id: UUID) -> None:
        self.ran.append(subject_id)
        self._run(subject_id)


def refuse(_: UUID) -> None:
    raise ValueError("poison")


def test_a_task_that_nobody_registered_is_refused() -> None:
    queue = ThreadQueue([Ledger().task])
    with pytest.raises(TaskUnknown):
        queue.put("dance", ONE)
    queue.stop()


def test_a_poisoned_job_is_tried_three_times_and_abandoned() -> None:
    ledger = Ledger(refuse)
    queue = ThreadQueue([ledger.task], retry_wait_s=0.0)
    queue.put("solve", ONE)
    queue.wait_idle(10)
    queue.stop()
    assert (ledger.ran, ledger.abandoned) == ([ONE] * ATTEMPTS_MAX, [ONE])


def test_work_left_over_is_found_from_domain_state() -> None:
    ledger = Ledger(left_over=(ONE, TWO))
    queue = ThreadQueue([ledger.task], retry_wait_s=0.0)
    assert queue.start() == 2
    queue.wait_idle(10)
    queue.stop()
    assert sorted(ledger.ran) == [ONE, TWO]


def test_a_job_asked_for_while_it_runs_is_run_once_more_and_never_beside_itself() -> None:
    is_running, may_end = threading.Event(), threading.Event()
    beside = []
    lock = threading.Lock()

    def run(_: UUID) -> None:
        beside.append(not lock.acquire(blocking=False))
        is_running.set()
        may_end.wait(10)
        lock.release()

    ledger = Ledger(run)
    queue = ThreadQueue([ledger.task], threads=4)
    queue.put("solve", ONE)
    is_running.wait(10)
    for _ in range(5):
        queue.put("solve", ONE)
    may_end.set()
    queue.wait_idle(10)
    queue.stop()
    assert beside == [False, False]


def test_after_the_stop_work_waits_in_domain_state() -> None:
    ledger = Ledger()
    queue = ThreadQueue([ledger.task], retry_wait_s=0.0)
    queue.stop()
    queue.put("solve", ONE)
    queue.wait_idle(10)
    assert ledger.ran == []
