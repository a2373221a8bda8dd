"""The production queue: jobs are rows beside the domain's own, and any number of worker processes take them (procrastinate).

A job is enqueued in the transaction of the act that creates it. A worker that is killed stops its heartbeat; the sweep of any other one then
hands its job on. A job waits once at most and runs once at most at a time, whatever is handed over twice.
"""

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

import msgspec
import procrastinate
import structlog
from procrastinate import exceptions
from procrastinate.job_context import JobContext
from procrastinate.jobs import Job, Status
from procrastinate.sync_psycopg_connector import SyncPsycopgConnector
from procrastinate.utils import utcnow
from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker

from backend.jobs.given_up import GivenUp
from backend.jobs.queue import ATTEMPTS_MAX, RETRY_WAIT_S, Chore, Task, TaskUnknown, wait_before
from backend.jobs.sweep import Sweeper

LOGGER = structlog.get_logger("fieldvisit.jobs")
QUEUE = "fieldvisit"
CHORES_LOCK = 0x0F1E1E
GRACE_S = 20.0
KEPT_HOURS = 24 * 7
_LIVE = text("SELECT lock FROM procrastinate_jobs WHERE status IN ('todo', 'doing') AND lock = ANY(:locks)")


class WorkerQueue:
    """The giving side, in the server's processes: it only writes rows."""

    def __init__(self, tasks: Sequence[Task], sessions: sessionmaker[Session]) -> None:
        self._names, self._sessions = {task.name for task in tasks}, sessions
        self._app = procrastinate.App(connector=SyncPsycopgConnector())      # Never opened: each job goes over a connection of ours.

    def start(self) -> int:
        """Nothing runs here; undone work is found by the workers' sweep."""
        return 0

    def stop(self) -> None:
        """Nothing runs here."""

    def put(self, task: str, subject_id: UUID) -> None:
        """Hand over one job now. Raises `TaskUnknown` for a task that nobody registered."""
        with self._sessions.begin() as session:
            self.put_within(session, task, subject_id)

    def put_within(self, session: Session, task: str, subject_id: UUID) -> None:
        """Hand over one job with the session's transaction; one that waits already is not doubled. Raises as `put` does."""
        if task not in self._names:
            raise TaskUnknown(task)
        lock = _lock(task, subject_id)
        try:
            with session.begin_nested():
                connection = session.connection().connection.driver_connection
                self._app.configure_task(task, queue=QUEUE, lock=lock, queueing_lock=lock, connection=connection).defer(subject_id=str(subject_id))
        except exceptions.AlreadyEnqueued:
            LOGGER.debug("job waits already", task=task, subject=str(subject_id))

    def under_way(self, jobs: set[tuple[str, UUID]]) -> set[tuple[str, UUID]]:
        """Return those of `jobs` that wait or run."""
        if not jobs:
            return set()
        locks = {_lock(*job): job for job in jobs}
        with self._sessions() as session:
            return {locks[lock] for lock in session.scalars(_LIVE, {"locks": sorted(locks)})}

    def put_missing(self, task: str, subject_id: UUID) -> None:
        """Hand over what the sweep found, unless it waits or runs."""
        if not self.under_way({(task, subject_id)}):
            self.put(task, subject_id)


class _Backoff(procrastinate.BaseRetryStrategy):
    """Wait twice as long before each repetition; the last failure is the last."""

    def __init__(self, first_s: float) -> None:
        self._first_s = first_s

    def get_retry_decision(self, *, exception: BaseException, job: Job) -> procrastinate.RetryDecision | None:  # noqa: ARG002 - the base's signature.
        if job.attempts + 1 >= ATTEMPTS_MAX:
            return None
        wait = timedelta(seconds=wait_before(job.attempts + 2, self._first_s))
        return procrastinate.RetryDecision(retry_at=utcnow() + wait)


class Rhythm(msgspec.Struct, frozen=True, kw_only=True):
    """How a worker works: `jobs` at a time; after `stalled_s` without a heartbeat it counts as dead and its jobs are handed on."""

    jobs: int = 1
    stalled_s: float = 30.0
    sweep_every_s: float = 15.0
    retry_wait_s: float = RETRY_WAIT_S

    def __post_init__(self) -> None:
        if not (1 <= self.jobs <= 64 and self.stalled_s > 0 and self.sweep_every_s > 0 and self.retry_wait_s >= 0):
            raise ValueError("a worker takes 1 to 64 jobs at a time, and its times are positive")


class Worker:
    """The taking side: one process of any number, working until it is told to stop."""

    def __init__(
        self, sessions: sessionmaker[Session], tasks: Sequence[Task], chores: Sequence[Chore], given_up: GivenUp, rhythm: Rhythm | None = None,
    ) -> None:
        self._sessions, self._tasks, self._given_up, self._rhythm = sessions, {task.name: task for task in tasks}, given_up, rhythm or Rhythm()
        with sessions() as session:
            driver: Any = session.connection().connection.driver_connection
            connect = {**driver.info.get_parameters(), "password": driver.info.password}
        self._app = procrastinate.App(connector=procrastinate.PsycopgConnector(kwargs=connect, min_size=1, max_size=self._rhythm.jobs + 3))
        self._sweeper = Sweeper(tasks, chores, WorkerQueue(tasks, sessions), given_up)
        for task in tasks:
            self._app.task(name=task.name, queue=QUEUE, pass_context=True, retry=_Backoff(self._rhythm.retry_wait_s))(self._runner(task))

    def run(self, *, is_until_idle: bool = False) -> None:
        """Work until SIGTERM or SIGINT; a job under way has `GRACE_S` to end, then it is left to the others' sweep.

        Args:
            is_until_idle: End as soon as no job can be taken; one under way is waited for.
        """
        asyncio.run(self._serve(is_until_idle=is_until_idle))

    async def _serve(self, *, is_until_idle: bool) -> None:
        async with self._app.open_async():
            await self._sweep()
            sweeping = asyncio.create_task(self._sweep_forever())
            try:
                await self._app.run_worker_async(
                    queues=[QUEUE], concurrency=self._rhythm.jobs, wait=not is_until_idle, shutdown_graceful_timeout=GRACE_S,
                    update_heartbeat_interval=self._rhythm.stalled_s / 3, stalled_worker_timeout=self._rhythm.stalled_s,
                    fetch_job_polling_interval=min(5.0, self._rhythm.stalled_s), install_signal_handlers=not is_until_idle,
                )
            finally:
                sweeping.cancel()
                await asyncio.gather(sweeping, return_exceptions=True)

    def _runner(self, task: Task) -> Any:
        async def run(context: JobContext, subject_id: str) -> None:
            done = await asyncio.gather(asyncio.to_thread(task.run, UUID(subject_id)), return_exceptions=True)
            error = done[0]
            if error is None:
                return
            attempts = context.job.attempts + 1
            LOGGER.error("job failed", task=task.name, subject=subject_id, attempt=attempts, exc_info=error)
            if attempts >= ATTEMPTS_MAX:
                await asyncio.to_thread(self._give_up, task, UUID(subject_id), attempts, type(error).__name__)
            raise error

        return run

    def _give_up(self, task: Task, subject_id: UUID, attempts: int, failure: str) -> None:
        self._given_up.add(task.name, subject_id, attempts, failure)
        task.abandon(subject_id)

    async def _sweep_forever(self) -> None:
        while True:
            await asyncio.sleep(self._rhythm.sweep_every_s)
            await self._sweep()

    async def _sweep(self) -> None:
        for error in await asyncio.gather(self._hand_on(), asyncio.to_thread(self._find), return_exceptions=True):
            if isinstance(error, Exception):
                LOGGER.error("sweep failed", exc_info=error)

    async def _hand_on(self) -> None:
        """Hand on the jobs of workers that died; one that its worker died on for the last time is given up."""
        for job in await self._app.job_manager.get_stalled_jobs(queue=QUEUE, seconds_since_heartbeat=self._rhythm.stalled_s):
            assert job.id is not None
            task, attempts = self._tasks.get(job.task_name), job.attempts + 1
            LOGGER.error("worker died", task=job.task_name, subject=job.task_kwargs.get("subject_id"), attempt=attempts)
            try:
                if task is not None and attempts >= ATTEMPTS_MAX:
                    await asyncio.to_thread(self._give_up, task, UUID(str(job.task_kwargs["subject_id"])), attempts, "worker died")
                    await self._app.job_manager.finish_job(job, status=Status.FAILED, delete_job=False)
                else:
                    wait = timedelta(seconds=wait_before(attempts + 1, self._rhythm.retry_wait_s) if job.attempts else 0)
                    await self._app.job_manager.retry_job(job, retry_at=utcnow() + wait)
            except exceptions.ConnectorException:
                LOGGER.info("another worker's sweep was first", task=job.task_name)
        await self._app.job_manager.delete_old_jobs(nb_hours=KEPT_HOURS, include_failed=True)

    def _find(self) -> None:
        """Sweep domain state and run the chores; one worker at a time does."""
        with self._sessions.begin() as session:
            if session.execute(text("SELECT pg_try_advisory_xact_lock(:key)"), {"key": CHORES_LOCK}).scalar_one():
                self._sweeper.run_due()
                self._sweeper.find()


def _lock(task: str, subject_id: UUID) -> str:
    return f"{task}:{subject_id}"

