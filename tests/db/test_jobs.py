"""One contract for both engines of the queue: nothing is lost, nothing runs beside itself, what always fails is given up and shown."""

import threading
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import procrastinate
import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker

from backend.audit.events import EventTag
from backend.audit.record import record
from backend.audit.tables import AuditEntryRow
from backend.jobs.given_up import GivenUp, given_up, let_try_again
from backend.jobs.queue import ATTEMPTS_MAX, Chore, Queue, Task, TaskUnknown, wait_before
from backend.jobs.threads import ThreadQueue
from backend.jobs.workers import Rhythm, Worker, WorkerQueue
from tests.support.engines import AnyEngine

ONE, TWO = UUID(int=1), UUID(int=2)


class Office:
    """Work as one slice would declare it: `undone` is its domain state, `failing` what always goes wrong."""

    def __init__(self) -> None:
        self.ran: list[UUID] = []
        self.abandoned: list[UUID] = []
        self.undone: set[UUID] = set()
        self.failing: set[UUID] = set()
        self.chores_run = 0
        self.on_run: Callable[[UUID], None] = lambda _: None
        self.task = Task(name="office.work", run=self._run, unfinished=lambda: tuple(sorted(self.undone)), abandon=self.abandoned.append)
        self.chore = Chore(name="office.sweep", every_s=3600, run=self._chore)

    def _run(self, subject_id: UUID) -> None:
        self.ran.append(subject_id)
        self.on_run(subject_id)
        if subject_id in self.failing:
            raise ValueError("poison")
        self.undone.discard(subject_id)

    def _chore(self) -> None:
        self.chores_run += 1


class Engine:
    """An engine under test: something to hand jobs to, and a way to let it work until nothing is left to do."""

    def __init__(self, queue: Queue, work: Callable[[], None]) -> None:
        self.queue, self.work = queue, work


@pytest.fixture
def office() -> Office:
    return Office()


def is_waiting(sessions: sessionmaker[Session]) -> bool:
    with sessions() as session:
        return session.execute(text("SELECT count(*) FROM procrastinate_jobs WHERE status = 'todo'")).scalar_one() > 0


@pytest.fixture(params=["threads", "workers"])
def engine(request: pytest.FixtureRequest, sessions: sessionmaker[Session], database: AnyEngine, office: Office, now: datetime) -> Iterator[Engine]:
    book = GivenUp(sessions, lambda: now)
    if request.param == "threads":
        threads = ThreadQueue([office.task], chores=[office.chore], given_up=book, retry_wait_s=0.0, sweep_every_s=0.05)

        def work() -> None:
            if not threads._sweeping.is_alive():
                threads.start()
            while not office.chores_run:
                threading.Event().wait(0.01)
            threads.wait_idle(30)

        yield Engine(threads, work)
        threads.stop()
        return
    if database.kind == "sqlite":
        pytest.skip("workers need PostgreSQL")
    worker = Worker(sessions, [office.task], [office.chore], book, Rhythm(jobs=4, retry_wait_s=0.0))

    def work_until_done() -> None:
        worker.run(is_until_idle=True)
        while is_waiting(sessions):
            worker.run(is_until_idle=True)

    yield Engine(WorkerQueue([office.task], sessions), work_until_done)


def test_a_task_that_nobody_registered_is_refused(engine: Engine, sessions: sessionmaker[Session]) -> None:
    with pytest.raises(TaskUnknown):
        engine.queue.put("office.dance", ONE)
    with sessions() as session, pytest.raises(TaskUnknown):
        engine.queue.put_within(session, "office.dance", ONE)


def test_of_an_act_rolled_back_no_job_remains(engine: Engine, office: Office, sessions: sessionmaker[Session], now: datetime) -> None:
    with sessions() as session:
        record(session, None, EventTag.PLAN_SOLVED, "plan:x", now)
        engine.queue.put_within(session, "office.work", ONE)
        session.rollback()
    engine.work()
    assert office.ran == []


def test_a_job_goes_with_its_acts_commit_and_the_act_stays_whole(
    engine: Engine, office: Office, sessions: sessionmaker[Session], now: datetime
) -> None:
    with sessions.begin() as session:
        engine.queue.put_within(session, "office.work", ONE)
        engine.queue.put_within(session, "office.work", ONE)         # Twice within one act: the act is not spoilt by it.
        record(session, None, EventTag.PLAN_SOLVED, "plan:x", now)
        engine.queue.put_within(session, "office.work", TWO)
    engine.work()
    assert set(office.ran) == {ONE, TWO}
    with sessions() as session:
        assert session.query(AuditEntryRow).filter_by(subject="plan:x").count() == 1


def test_a_job_handed_over_by_itself_runs(engine: Engine, office: Office) -> None:
    engine.queue.put("office.work", ONE)
    engine.work()
    assert office.ran == [ONE]


def test_undone_work_without_a_job_is_found_by_the_sweep(engine: Engine, office: Office) -> None:
    office.undone = {ONE, TWO}
    engine.work()
    assert (set(office.ran), office.undone) == ({ONE, TWO}, set())


def test_a_poisoned_job_is_tried_so_often_then_given_up_shown_and_left_alone(
    engine: Engine, office: Office, sessions: sessionmaker[Session], now: datetime
) -> None:
    office.failing, office.undone = {ONE}, {ONE}
    engine.work()
    assert (office.ran, office.abandoned) == ([ONE] * ATTEMPTS_MAX, [ONE])
    with sessions() as session:
        (left,) = given_up(session)
    assert (left.task, left.subject_id, left.attempts, left.failure, left.given_up_at) == ("office.work", ONE, ATTEMPTS_MAX, "ValueError", now)
    engine.work()                                                    # Its state still asks for it, and nobody listens.
    assert len(office.ran) == ATTEMPTS_MAX
    office.failing = set()
    with sessions.begin() as session:
        assert let_try_again(session, "office.work", ONE)
        assert not let_try_again(session, "office.work", TWO)
    engine.queue.put("office.work", ONE)
    engine.work()
    assert office.undone == set()


class _SlowList(GivenUp):
    """A list that is read, and answers only after the job under way has ended."""

    def __init__(self, sessions: sessionmaker[Session], now: datetime, is_read: threading.Event, is_idle: Callable[[], None]) -> None:
        super().__init__(sessions, lambda: now)
        self._is_read, self._is_idle = is_read, is_idle

    def among(self, jobs: set[tuple[str, UUID]]) -> set[tuple[str, UUID]]:
        answer = super().among(jobs)
        self._is_read.set()
        self._is_idle()
        return answer


def test_a_job_given_up_while_the_sweep_looks_is_not_handed_over_again(office: Office, sessions: sessionmaker[Session], now: datetime) -> None:
    office.failing, office.undone, is_read = {ONE}, {ONE}, threading.Event()

    def wait_for_the_list(_subject_id: UUID) -> None:
        assert is_read.wait(30)

    office.on_run = wait_for_the_list
    book = _SlowList(sessions, now, is_read, lambda: threads.wait_idle(30))
    threads = ThreadQueue([office.task], given_up=book, retry_wait_s=0.0, sweep_every_s=3600)
    threads.put("office.work", ONE)
    threads.start()                                                  # Sweeps once, while the job waits for the list to be read.
    threads.wait_idle(30)
    threads.stop()
    assert (office.ran, office.abandoned) == ([ONE] * ATTEMPTS_MAX, [ONE])


def test_a_failure_passes_when_it_was_a_passing_one(engine: Engine, office: Office) -> None:
    office.failing = {ONE}
    office.on_run = lambda _: office.failing.clear() if len(office.ran) == 2 else None
    engine.queue.put("office.work", ONE)
    engine.work()
    assert (office.ran, office.abandoned) == ([ONE, ONE], [])


def test_a_job_never_runs_beside_itself(engine: Engine, office: Office) -> None:
    beside, lock = [], threading.Lock()

    def run(subject_id: UUID) -> None:
        beside.append(not lock.acquire(blocking=False))
        if len(office.ran) == 1:
            engine.queue.put("office.work", subject_id)
        threading.Event().wait(0.2)
        lock.release()

    office.on_run = run
    engine.queue.put("office.work", ONE)
    engine.work()
    assert beside == [False, False]


def test_chores_run_when_they_are_due_and_not_more_often(engine: Engine, office: Office) -> None:
    engine.work()
    assert office.chores_run == 1


def test_the_wait_before_a_repetition_doubles() -> None:
    assert [wait_before(attempt, 2.0) for attempt in (2, 3, 4)] == [2.0, 4.0, 8.0]


def stall(session: Session, times: int = 0) -> None:
    """Let the one job be one that a worker took up and died on, after `times` former attempts."""
    session.execute(text("INSERT INTO procrastinate_workers (last_heartbeat) VALUES (now() - interval '1 hour')"))
    dead = session.execute(text("SELECT max(id) FROM procrastinate_workers")).scalar_one()
    session.execute(text("UPDATE procrastinate_jobs SET status = 'doing', worker_id = :dead, attempts = :times"), {"dead": dead, "times": times})


@pytest.fixture
def on_postgresql(database: AnyEngine) -> None:
    if database.kind == "sqlite":
        pytest.skip("workers need PostgreSQL")


@pytest.mark.usefixtures("on_postgresql")
def test_the_job_of_a_dead_worker_is_handed_on(sessions: sessionmaker[Session], office: Office, now: datetime) -> None:
    WorkerQueue([office.task], sessions).put("office.work", ONE)
    with sessions.begin() as session:
        stall(session)
    Worker(sessions, [office.task], [], GivenUp(sessions, lambda: now), Rhythm(retry_wait_s=0)).run(is_until_idle=True)
    assert office.ran == [ONE]


@pytest.mark.usefixtures("on_postgresql")
def test_a_job_that_kills_its_workers_is_given_up(sessions: sessionmaker[Session], office: Office, now: datetime) -> None:
    WorkerQueue([office.task], sessions).put("office.work", ONE)
    with sessions.begin() as session:
        stall(session, times=ATTEMPTS_MAX - 1)
    Worker(sessions, [office.task], [], GivenUp(sessions, lambda: now), Rhythm(retry_wait_s=0)).run(is_until_idle=True)
    assert (office.ran, office.abandoned) == ([], [ONE])
    with sessions() as session:
        assert [(one.attempts, one.failure) for one in given_up(session)] == [(ATTEMPTS_MAX, "worker died")]
        assert session.execute(text("SELECT status FROM procrastinate_jobs")).scalar_one() == "failed"


def test_what_the_migration_makes_is_what_the_library_wants() -> None:
    """A newer release brings its own changes: write a revision with them, then let this test name the new copy."""
    library: Any = Path(procrastinate.__file__).parent / "sql" / "schema.sql"
    kept = Path(__file__).parents[2] / "backend" / "db" / "migrations" / "procrastinate_3_10.sql"
    assert kept.read_bytes() == library.read_bytes()
