"""One writer per upload: threads, processes and machines, on both kinds of locks; who waits is seen, who dies holds nothing."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from backend.db.engine import make_engine
from backend.exhibits.locks import AdvisoryLocks, FolderLocks, Locks
from backend.exhibits.refusals import UploadLocked
from tests.support.engines import PostgresqlUnderTest

Maker = Callable[[float], Locks]


@pytest.fixture(params=["folder", "advisory"])
def maker(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Maker]:
    """Make the locks of one process; each call stands for another process."""
    if request.param == "folder":
        yield lambda patience_s: FolderLocks(tmp_path / "locks", patience_s)
        return
    postgresql: PostgresqlUnderTest = request.getfixturevalue("postgresql")
    made: list[tuple[AdvisoryLocks, Any]] = []

    def make(patience_s: float) -> Locks:
        engine = make_engine(postgresql.shared.url, pool_size=2)
        made.append((AdvisoryLocks(engine, patience_s), engine))
        return made[-1][0]

    yield make
    for locks, engine in made:
        locks.close()
        engine.dispose()


def test_a_second_writer_waits_in_vain_and_the_first_sees_it(maker: Maker) -> None:
    upload = uuid4()
    here, there = maker(0.0), maker(0.8)
    held = here.acquire(upload)
    assert not held.is_wanted
    with pytest.raises(UploadLocked):
        there.acquire(upload)
    assert held.is_wanted
    with pytest.raises(UploadLocked):
        here.acquire(upload)                              # Nor a second request of the same process.
    held.release()
    held.release()
    taken = here.acquire(upload)
    assert not taken.is_wanted
    taken.release(forever=True)


def test_who_waits_takes_over_when_the_writer_lets_go(maker: Maker) -> None:
    upload = uuid4()
    held = maker(0.0).acquire(upload)
    there, taken = maker(20.0), []
    waiting = threading.Thread(target=lambda: taken.append(there.acquire(upload)))
    waiting.start()
    while not held.is_wanted:
        assert waiting.is_alive()
    held.release()
    waiting.join(30)
    assert len(taken) == 1
    taken[0].release()


def test_other_uploads_are_free(maker: Maker) -> None:
    here, there = maker(0.0), maker(0.0)
    locks = [here.acquire(uuid4()) for _ in range(20)] + [there.acquire(uuid4()) for _ in range(20)]
    assert not any(lock.is_wanted for lock in locks)
    for lock in locks:
        lock.release(forever=True)


def test_of_many_threads_in_two_processes_one_writes_at_a_time(maker: Maker) -> None:
    upload, inside, seen = uuid4(), [0], []
    processes = (maker(60.0), maker(60.0))

    def write(locks: Locks) -> None:
        for _ in range(5):
            held = locks.acquire(upload)
            inside[0] += 1
            seen.append(inside[0])
            inside[0] -= 1
            held.release()

    threads = [threading.Thread(target=write, args=(processes[number % 2],)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert seen == [1] * 30


def test_a_killed_process_holds_nothing(tmp_path: Path, postgresql: PostgresqlUnderTest) -> None:
    upload = uuid4()
    url = postgresql.shared.url.render_as_string(hide_password=False)
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=_hold, args=(there, str(tmp_path), url, upload))
    process.start()
    assert here.poll(60)
    assert here.recv() == "held"
    engine = make_engine(postgresql.shared.url, pool_size=2)
    folder, advisory = FolderLocks(tmp_path, 0.0), AdvisoryLocks(engine, 0.0)
    for locks in (folder, advisory):
        with pytest.raises(UploadLocked):
            locks.acquire(upload)
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    process.join(30)
    for patient in (FolderLocks(tmp_path, 20.0), AdvisoryLocks(engine, 20.0)):
        patient.acquire(upload).release()
        if isinstance(patient, AdvisoryLocks):
            patient.close()
    advisory.close()
    engine.dispose()


def test_a_lost_connection_tells_every_holder_and_locks_work_again(postgresql: PostgresqlUnderTest) -> None:
    engine, other = make_engine(postgresql.shared.url, pool_size=2), make_engine(postgresql.shared.url, pool_size=1)
    locks, upload = AdvisoryLocks(engine, 0.0), uuid4()
    held = locks.acquire(upload)
    with other.begin() as connection:
        connection.execute(text(
            "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND pid <> pg_backend_pid() "
            "AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"))
    while not held.is_wanted:                             # Either the watcher meets the loss, or whoever asks next.
        with suppress(DBAPIError):
            locks.acquire(uuid4()).release()
    held.release()
    locks.acquire(upload).release()
    locks.close()
    for one in (engine, other):
        one.dispose()


def test_who_lost_a_lock_with_the_connection_never_lets_go_of_the_next_holders(postgresql: PostgresqlUnderTest) -> None:
    engine = make_engine(postgresql.shared.url, pool_size=2)
    locks, upload = AdvisoryLocks(engine, 0.0), uuid4()
    lost = locks.acquire(upload)
    locks.close()                                         # As when the connection breaks: everything held on it is gone.
    held = locks.acquire(upload)
    lost.release()
    with pytest.raises(UploadLocked):
        locks.acquire(upload)
    held.release()
    locks.acquire(upload).release()
    locks.close()
    engine.dispose()


def _hold(answer: Any, folder: str, url: str, upload: UUID) -> None:
    held = (FolderLocks(Path(folder)).acquire(upload), AdvisoryLocks(make_engine(url, pool_size=1)).acquire(upload))
    answer.send("held")
    signal.pause()
    assert held
