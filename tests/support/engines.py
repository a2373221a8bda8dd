"""The two engines under test, each with a template that is migrated once per run and copied for every test that commits."""

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import psycopg
from psycopg.pq import TransactionStatus
from sqlalchemy import Connection, Engine, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.orm import Session, sessionmaker

from backend.db import upgrade
from backend.db.cluster import Cluster
from backend.db.engine import make_engine, refuse_lazy_loads
from backend.db.migrations.ddl import APP_ROLE

ENGINES = ("sqlite", "postgresql")


@dataclass(frozen=True)
class Database:
    """One migrated database. Behaviour is tested as the application's role, set-up and damage are done as the owner."""

    kind: str
    url: URL

    def engine(self, *, pool_size: int = 8) -> Engine:
        """Return an engine for the application: on PostgreSQL it holds no right that production does not give."""
        return make_engine(self.url, pool_size=pool_size, role=APP_ROLE if self.kind == "postgresql" else None)

    def owner_engine(self) -> Engine:
        """Return an engine for the owner of the tables."""
        return make_engine(self.url, pool_size=2)


class SqliteUnderTest:
    """Files below one folder."""

    kind = "sqlite"

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._made = 0

    @cached_property
    def shared(self) -> Database:
        """The database of the rolled-back tests."""
        return self._copied(self._template)

    @contextmanager
    def clone(self) -> Iterator[Database]:
        """Lend a fresh copy of the migrated template."""
        database = self._copied(self._template)
        yield database
        _remove(database)

    @contextmanager
    def empty(self) -> Iterator[Database]:
        """Lend a database that no migration has touched."""
        database = self._next()
        yield database
        _remove(database)

    @cached_property
    def _template(self) -> Path:
        path = self._folder / "template.db"
        upgrade.upgrade(f"sqlite:///{path}")
        with sqlite3.connect(path) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")  # So that the file alone is the database.
        connection.close()
        return path

    def _copied(self, template: Path) -> Database:
        database = self._next()
        shutil.copyfile(template, str(database.url.database))
        return database

    def _next(self) -> Database:
        self._made += 1
        return Database(self.kind, make_url(f"sqlite:///{self._folder / f'{self._made}.db'}"))


class PostgresqlUnderTest:
    """Databases of one private cluster."""

    kind = "postgresql"

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    @cached_property
    def shared(self) -> Database:
        """The database of the rolled-back tests."""
        return Database(self.kind, self._cluster.url(self._cluster.create(template=self._template)))

    @contextmanager
    def clone(self) -> Iterator[Database]:
        """Lend a fresh copy of the migrated template."""
        with self._cluster.clone(self._template) as url:
            yield Database(self.kind, url)

    @contextmanager
    def empty(self) -> Iterator[Database]:
        """Lend a database that no migration has touched."""
        with self._cluster.clone("template0") as url:
            yield Database(self.kind, url)

    @cached_property
    def _template(self) -> str:
        name = self._cluster.create()
        upgrade.upgrade(self._cluster.url(name))
        return name


AnyEngine = SqliteUnderTest | PostgresqlUnderTest


@contextmanager
def rolled_back(engine: Engine) -> Iterator[Connection]:
    """Lend one connection whose outer transaction never commits; what is checked at commit is checked before the end."""
    with engine.connect() as connection:
        outer = connection.begin()
        if connection.dialect.name == "postgresql":  # A session-wide fixture rests between its tests.
            connection.execute(text("SET LOCAL idle_in_transaction_session_timeout = 0"))
        try:
            yield connection
            check_deferred(connection)
        finally:
            outer.rollback()


def check_deferred(connection: Connection) -> None:
    """Check now what PostgreSQL would check at the commit that a rolled-back test never reaches; SQLite waits for no commit here."""
    if connection.dialect.name != "postgresql":
        return
    driver: psycopg.Connection = connection.connection.driver_connection  # type: ignore[assignment]
    if driver.info.transaction_status is not TransactionStatus.INERROR:  # A test of a refusal may leave the transaction aborted.
        connection.execute(text("SET CONSTRAINTS ALL IMMEDIATE"))


def joined_sessions(connection: Connection) -> sessionmaker[Session]:
    """Return a factory whose sessions commit to savepoints of the connection's transaction."""
    factory = sessionmaker(bind=connection, join_transaction_mode="create_savepoint", expire_on_commit=False)
    refuse_lazy_loads(factory)
    return factory


def _remove(database: Database) -> None:
    for suffix in ("", "-wal", "-shm"):
        Path(f"{database.url.database}{suffix}").unlink(missing_ok=True)
