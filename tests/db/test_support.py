"""The ground under the other tests: the private cluster dies with its run, rolled-back tests see what a commit would."""

import os
import select
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import Connection, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session, sessionmaker

from tests.support.engines import AnyEngine, Database, PostgresqlUnderTest, joined_sessions, rolled_back

ROOT = Path(__file__).parents[2]
DEATH_TIMEOUT_S = 60

HOLD_A_CLUSTER = """
import sys
from backend.db.cluster import Cluster
cluster = Cluster()
print(cluster.server_pid, flush=True)
sys.stdin.read()
"""


@pytest.mark.usefixtures("postgresql")
def test_a_killed_run_takes_its_cluster_along() -> None:
    run = subprocess.Popen([sys.executable, "-c", HOLD_A_CLUSTER], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert run.stdout is not None
    server = os.pidfd_open(int(run.stdout.readline()))
    run.send_signal(signal.SIGKILL)
    run.communicate()
    ended, _, _ = select.select([server], [], [], DEATH_TIMEOUT_S)
    os.close(server)
    assert ended == [server]


def test_a_rolled_back_test_sees_what_is_checked_at_commit(postgresql: PostgresqlUnderTest) -> None:
    def leave_an_orphan(connection: Connection) -> None:
        connection.execute(text("CREATE TEMP TABLE notes (id integer PRIMARY KEY)"))
        connection.execute(text("CREATE TEMP TABLE replies (note_id integer REFERENCES notes DEFERRABLE INITIALLY DEFERRED)"))
        connection.execute(text("INSERT INTO replies VALUES (1)"))

    engine = postgresql.shared.engine()
    with pytest.raises(IntegrityError), rolled_back(engine) as connection:
        leave_an_orphan(connection)
    engine.dispose()


def test_sessions_of_one_connection_see_each_other_and_leave_nothing(database: AnyEngine) -> None:
    with database.empty() as empty:
        engine = empty.owner_engine()
        with engine.begin() as connection:
            connection.execute(text("CREATE TABLE notes (id integer PRIMARY KEY)"))
        with rolled_back(engine) as connection:
            joined = joined_sessions(connection)
            with joined.begin() as session:
                session.execute(text("INSERT INTO notes VALUES (1)"))
            with joined() as session:
                session.execute(text("INSERT INTO notes VALUES (2)"))
                session.rollback()
                assert session.execute(text("SELECT id FROM notes")).scalars().all() == [1]
        with engine.connect() as connection:
            assert connection.execute(text("SELECT id FROM notes")).all() == []
        engine.dispose()


def test_a_clone_is_the_tests_own(database: AnyEngine, cloned: Database, sessions: sessionmaker[Session]) -> None:
    with sessions() as session:
        revision = session.execute(text("SELECT version_num FROM alembic_version")).scalar_one()
    owner = cloned.owner_engine()
    with owner.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = 'spoilt'"))
    owner.dispose()
    with database.clone() as other:
        owner = other.owner_engine()
        with owner.connect() as connection:
            assert connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one() == revision != "spoilt"
        owner.dispose()
