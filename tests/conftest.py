"""Fixtures that every test may ask for: both engines, sessions that roll back or commit, a clock and a key folder."""

import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import Connection, Engine
from sqlalchemy.orm import Session, sessionmaker

from backend.db.cluster import Cluster, PostgresMissing
from backend.db.engine import session_factory
from backend.keys.keyring import Keyring
from tests.support.engines import ENGINES, AnyEngine, Database, PostgresqlUnderTest, SqliteUnderTest, check_deferred, joined_sessions, rolled_back
from tests.support.world import shared_keyring

NOW = datetime(2026, 11, 27, 2, 0, tzinfo=UTC)  # Friday, 10:00 in Shanghai.


@pytest.fixture(scope="session")
def sqlite(tmp_path_factory: pytest.TempPathFactory) -> SqliteUnderTest:
    """SQLite, for the few tests that are about it alone."""
    return SqliteUnderTest(tmp_path_factory.mktemp("sqlite"))


@pytest.fixture(scope="session")
def postgresql() -> Iterator[PostgresqlUnderTest]:
    """PostgreSQL, for the few tests that are about it alone. A machine without it skips them; with CI=true that is a failure."""
    try:
        cluster = Cluster()
    except PostgresMissing as missing:
        if os.environ.get("CI") == "true":
            pytest.fail(f"with CI=true both engines are required: {missing}")
        pytest.skip(f"PostgreSQL: {missing}")
    yield PostgresqlUnderTest(cluster)
    cluster.stop()


@pytest.fixture(scope="session", params=ENGINES)
def database(request: pytest.FixtureRequest) -> AnyEngine:
    """Each engine in turn: the fixture behind every test of behaviour."""
    under_test: AnyEngine = request.getfixturevalue(request.param)
    return under_test


@pytest.fixture(scope="session")
def _shared_engine(database: AnyEngine) -> Iterator[Engine]:
    engine = database.shared.engine()
    yield engine
    engine.dispose()


@pytest.fixture
def connection(_shared_engine: Engine) -> Iterator[Connection]:
    """One connection as the application's role, rolled back."""
    with rolled_back(_shared_engine) as connection:
        yield connection


@pytest.fixture
def joined(connection: Connection) -> sessionmaker[Session]:
    """A factory of sessions that all live in one transaction, rolled back: for actions and endpoints that commit."""
    return joined_sessions(connection)


@pytest.fixture
def session(joined: sessionmaker[Session], connection: Connection) -> Iterator[Session]:
    """One session, rolled back after what it left to the commit has been checked."""
    with joined() as session:
        yield session
        if session.is_active:
            session.flush()
            check_deferred(connection)


@pytest.fixture
def cloned(database: AnyEngine) -> Iterator[Database]:
    """A database of the test's own, where commits are real."""
    with database.clone() as clone:
        yield clone


@pytest.fixture
def sessions(cloned: Database) -> Iterator[sessionmaker[Session]]:
    """A factory of sessions with real commits: for locks, races, deferred constraints, refusal audits and jobs."""
    engine = cloned.engine()
    yield session_factory(engine)
    engine.dispose()


@pytest.fixture
def now() -> datetime:
    """Return the instant at which every test happens: 2026-11-27, 10:00 in Shanghai."""
    return NOW


@pytest.fixture
def keyring() -> Keyring:
    """Return the deployment keys of this test run; a test that rotates or damages keys makes its own in `keys_folder`."""
    return shared_keyring()


@pytest.fixture
def keys_folder(tmp_path: Path) -> Path:
    """Return an empty folder of mode 0700 for the deployment's keys."""
    folder = tmp_path / "keys"
    folder.mkdir(mode=0o700)
    return folder


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        engine = getattr(getattr(item, "callspec", None), "params", {}).get("database")
        if engine in ENGINES:
            item.user_properties.append(("engine", engine))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print how many tests ran on each engine, and say loudly when one did not run at all."""
    counts = {engine: dict.fromkeys(("passed", "failed", "error", "skipped"), 0) for engine in ENGINES}
    for outcome in ("passed", "failed", "error", "skipped"):
        for report in terminalreporter.stats.get(outcome, []):
            engine = dict(getattr(report, "user_properties", ())).get("engine")
            if engine in counts:
                counts[engine][outcome] += 1
    for engine, by_outcome in counts.items():
        total = sum(by_outcome.values())
        if total:
            terminalreporter.write_line(f"{engine}: " + ", ".join(f"{count} {outcome}" for outcome, count in by_outcome.items() if count))
        if total and by_outcome["skipped"] == total:
            terminalreporter.write_line(f"!!! NOTHING RAN ON {engine.upper()} !!!", red=True, bold=True)
