"""The embedded queue: a pool of threads in the server's own process."""

import threading
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from uuid import UUID

import structlog

from backend.jobs.queue import ATTEMPTS_MAX, Task, TaskUnknown

LOGGER = structlog.get_logger("fieldvisit.jobs")
Job = tuple[str, UUID]


class ThreadQueue:
    """Runs each job at most once at a time; one handed over while it runs is run again afterwards.

    Attempts are counted per process: a restart gives a poisoned job another chance, and then abandons it again.
    """

    def __init__(self, tasks: Sequence[Task], *, threads: int = 2) -> None:
        assert threads > 0
        self._tasks = {task.name: task for task in tasks}
        assert len(self._tasks) == len(tasks), "task names are unique"
        self._pool = ThreadPoolExecutor(max_workers=threads, thread_name_prefix="job")
        self._changed = threading.Condition()
        self._running: dict[Job, bool] = {}          # Whether it was asked for again meanwhile.
        self._failures: Counter[Job] = Counter()
        self._is_open = True

    def start(self) -> int:
        """Take up all work that a former process left undone; returns how many jobs that were."""
        found = [(task.name, subject_id) for task in self._tasks.values() for subject_id in task.unfinished()]
        for name, subject_id in found:
            self.put(name, subject_id)
        return len(found)

    def put(self, task: str, subject_id: UUID) -> None:
        """Hand over one job. After `stop` it waits in domain state for the next start.

        Raises:
            TaskUnknown: no task of that name is registered.
        """
        if task not in self._tasks:
            raise TaskUnknown(task)
        job = (task, subject_id)
        with self._changed:
            if job in self._running:
                self._running[job] = True
            elif self._is_open:
                self._running[job] = False
                self._submit(job)

    def stop(self) -> None:
        """Take no more jobs and wait for the running ones."""
        with self._changed:
            self._is_open = False
        self._pool.shutdown(wait=True, cancel_futures=True)

    def wait_idle(self, timeout_s: float) -> None:
        """Wait until nothing runs or waits.

        Raises:
            TimeoutError: something still does after `timeout_s`.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: not self._running, timeout_s):
                raise TimeoutError(f"{len(self._running)} jobs are still running after {timeout_s} s")

    def _submit(self, job: Job) -> None:
        name, subject_id = job
        future = self._pool.submit(self._tasks[name].run, subject_id)
        future.add_done_callback(lambda done: self._finish(job, done))

    def _finish(self, job: Job, done: "Future[None]") -> None:
        error = None if done.cancelled() else done.exception()
        with self._changed:
            if error is None:
                self._failures.pop(job, None)
            else:
                self._failures[job] += 1
            is_poisoned = self._failures[job] >= ATTEMPTS_MAX
            is_wanted = self._running.pop(job) or (error is not None and not is_poisoned)
            if is_wanted and self._is_open and not done.cancelled():
                self._running[job] = False
                self._submit(job)
        if error is not None:
            self._report(job, error, is_poisoned=is_poisoned)
        with self._changed:
            self._changed.notify_all()

    def _report(self, job: Job, error: BaseException, *, is_poisoned: bool) -> None:
        name, subject_id = job
        LOGGER.error("job failed", task=name, subject=str(subject_id), attempt=self._failures[job], exc_info=error)
        if is_poisoned:
            self._failures.pop(job, None)
            self._tasks[name].abandon(subject_id)
