"""The embedded queue: a pool of threads in the server's own process."""

import threading
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from uuid import UUID

import structlog
from sqlalchemy import event
from sqlalchemy.orm import Session

from backend.jobs.given_up import GivenUp
from backend.jobs.queue import ATTEMPTS_MAX, RETRY_WAIT_S, SWEEP_EVERY_S, Chore, Task, TaskUnknown, wait_before
from backend.jobs.sweep import Sweeper

LOGGER = structlog.get_logger("fieldvisit.jobs")
Job = tuple[str, UUID]


class ThreadQueue:
    """Runs each job at most once at a time; one handed over while it runs is run again afterwards.

    Attempts are counted per process. With a `given_up` list a poisoned job stays given up over restarts; without one, a restart gives it
    another chance.
    """

    def __init__(
        self, tasks: Sequence[Task], *, threads: int = 2, chores: Sequence[Chore] = (), given_up: GivenUp | None = None,
        retry_wait_s: float = RETRY_WAIT_S, sweep_every_s: float = SWEEP_EVERY_S,
    ) -> None:
        assert threads > 0
        self._tasks = {task.name: task for task in tasks}
        assert len(self._tasks) == len(tasks), "task names are unique"
        self._pool = ThreadPoolExecutor(max_workers=threads, thread_name_prefix="job")
        self._changed = threading.Condition()
        self._running: dict[Job, bool] = {}          # Whether it was asked for again meanwhile.
        self._failures: Counter[Job] = Counter()
        self._is_open = True
        self._given_up, self._retry_wait_s, self._sweep_every_s = given_up, retry_wait_s, sweep_every_s
        self._sweeper = Sweeper(tasks, chores, self, given_up)
        self._closing = threading.Event()
        self._sweeping = threading.Thread(target=self._sweep, name="sweep", daemon=True)

    def start(self) -> int:
        """Take up all work that a former process left undone and begin to sweep; returns how many jobs that were."""
        found = self._sweeper.find()
        self._sweeping.start()
        return found

    def put(self, task: str, subject_id: UUID) -> None:
        """Hand over one job. After `stop` it waits in domain state for the next start.

        Raises:
            TaskUnknown: no task of that name is registered.
        """
        self._demand_known(task)
        job = (task, subject_id)
        with self._changed:
            if job in self._running:
                self._running[job] = True
            elif self._is_open:
                self._running[job] = False
                self._submit(job)

    def put_within(self, session: Session, task: str, subject_id: UUID) -> None:
        """Hand over one job when the session's transaction commits.

        Raises:
            TaskUnknown: no task of that name is registered.
        """
        self._demand_known(task)
        event.listen(session, "after_commit", lambda _session: self.put(task, subject_id), once=True)

    def under_way(self, jobs: set[Job]) -> set[Job]:
        """Return those of `jobs` that wait or run."""
        with self._changed:
            return jobs & self._running.keys()

    def put_missing(self, task: str, subject_id: UUID) -> None:
        """Hand over what the sweep found, unless it waits or runs."""
        if not self.under_way({(task, subject_id)}):
            self.put(task, subject_id)

    def stop(self) -> None:
        """Take no more jobs and wait for the running ones."""
        with self._changed:
            self._is_open = False
        self._closing.set()
        if self._sweeping.is_alive():
            self._sweeping.join()
        self._sweeper.stop()
        self._pool.shutdown(wait=True, cancel_futures=True)

    def wait_idle(self, timeout_s: float) -> None:
        """Wait until nothing runs or waits.

        Raises:
            TimeoutError: something still does after `timeout_s`.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: not self._running, timeout_s):
                raise TimeoutError(f"{len(self._running)} jobs are still running after {timeout_s} s")

    def _demand_known(self, task: str) -> None:
        if task not in self._tasks:
            raise TaskUnknown(task)

    def _sweep(self) -> None:
        while not self._closing.wait(self._sweep_every_s):
            self._sweeper.run_due()
            self._sweeper.find()

    def _submit(self, job: Job) -> None:
        future = self._pool.submit(self._run, job)
        future.add_done_callback(lambda done: self._finish(job, done))

    def _run(self, job: Job) -> None:
        name, subject_id = job
        with self._changed:
            failures = self._failures[job]
        if failures and self._closing.wait(wait_before(failures + 1, self._retry_wait_s)):
            return                                   # Stopping: it waits in domain state for the next start.
        self._tasks[name].run(subject_id)

    def _finish(self, job: Job, done: "Future[None]") -> None:
        error = None if done.cancelled() else done.exception()
        with self._changed:
            if error is None:
                self._failures.pop(job, None)
            else:
                self._failures[job] += 1
            is_poisoned = self._failures[job] >= ATTEMPTS_MAX
        if error is not None:
            self._report(job, error, is_poisoned=is_poisoned)        # Before it stops being under way: the sweep must not find it again.
        with self._changed:
            is_wanted = self._running.pop(job) or (error is not None and not is_poisoned)
            if is_wanted and self._is_open and not done.cancelled():
                self._running[job] = False
                self._submit(job)
            self._changed.notify_all()

    def _report(self, job: Job, error: BaseException, *, is_poisoned: bool) -> None:
        name, subject_id = job
        attempts = self._failures[job]
        LOGGER.error("job failed", task=name, subject=str(subject_id), attempt=attempts, exc_info=error)
        if is_poisoned:
            with self._changed:
                self._failures.pop(job, None)
            if self._given_up is not None:
                self._given_up.add(name, subject_id, attempts, type(error).__name__)
            self._tasks[name].abandon(subject_id)
