"""Engines and sessions: every transaction says from its first statement whether it may write.

A writer on SQLite begins IMMEDIATE, so it waits for its turn instead of failing in the middle; a reader begins DEFERRED
and is refused any write. On PostgreSQL a reader's transactions are READ ONLY. FOR UPDATE means nothing on SQLite: there the
whole writing transaction is the lock.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, Engine, Index, PrimaryKeyConstraint, UniqueConstraint, create_engine, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import ORMExecuteState, Session, sessionmaker
from sqlalchemy.pool import ConnectionPoolEntry

from backend.db.base import Base
from backend.db.geo import register_sqlite_functions

LOCK_TIMEOUT_S = 4
SQLITE_BUSY_TIMEOUT_S = 15  # SQLite's waiters poll without a queue, so an unlucky one waits much longer than its share.
STATEMENT_TIMEOUT_S = 30

_READS = {"fieldvisit_reads": True}


class LazyLoadRefused(RuntimeError):
    """A relationship was about to be loaded by touching an attribute; join or select it in the query instead."""


def make_engine(
    url: str | URL, *, read_only: bool = False, pool_size: int = 8, statement_timeout_s: int = STATEMENT_TIMEOUT_S, role: str | None = None
) -> Engine:
    """Make the engine for a database file (`sqlite:///PATH`) or a server (`postgresql://…`).

    Error texts name the statement, never the values bound to it: those may be a debtor's.

    Args:
        pool_size: The most connections, at least 1; give the server as many threads as this, or fewer.
        role: On PostgreSQL, the role every connection assumes.

    Raises:
        ValueError: The URL names another engine, or a SQLite database in memory (which has no WAL and one connection).
    """
    parsed = normal_url(url)
    if parsed.get_backend_name() == "sqlite":
        engine = _make_sqlite_engine(parsed, pool_size)
    else:
        engine = _make_postgresql_engine(parsed, pool_size, statement_timeout_s, role)
    return reading(engine) if read_only else engine


def normal_url(url: str | URL) -> URL:
    """Return the URL with the driver we use, or raise `ValueError` for an engine that we do not support."""
    parsed = make_url(url)
    match parsed.get_backend_name():
        case "sqlite":
            if parsed.database in (None, "", ":memory:"):
                raise ValueError("SQLite needs a database file, got a database in memory")
            return parsed.set(drivername="sqlite+pysqlite")
        case "postgresql":
            return parsed.set(drivername="postgresql+psycopg")
        case other:
            raise ValueError(f"the database must be sqlite or postgresql, got {other}")


def reading(engine: Engine) -> Engine:
    """Return the same engine and pool with transactions that cannot write."""
    if engine.dialect.name == "sqlite":
        return engine.execution_options(**_READS)
    return engine.execution_options(postgresql_readonly=True, **_READS)


def session_factory(engine: Engine, *, read_only: bool = False) -> sessionmaker[Session]:
    """Return a factory of sessions whose rows stay readable after the commit and never load anything lazily."""
    factory = sessionmaker(bind=reading(engine) if read_only else engine, expire_on_commit=False)
    refuse_lazy_loads(factory)
    return factory


def refuse_lazy_loads(factory: sessionmaker[Session]) -> None:
    """Make the factory's sessions raise `LazyLoadRefused` when an attribute would load a relationship."""
    event.listen(factory, "do_orm_execute", _refuse_lazy_load)


@contextmanager
def unchecked_references(connection: Connection) -> Iterator[None]:
    """Switch SQLite's foreign keys off on a connection that is in no transaction, for rebuilding tables; elsewhere do nothing."""
    if connection.dialect.name != "sqlite":
        yield
        return
    # Through the driver: the pragma does nothing in the transaction that SQLAlchemy would begin first.
    driver: sqlite3.Connection = connection.connection.driver_connection  # type: ignore[assignment]
    assert not driver.in_transaction
    driver.execute("PRAGMA foreign_keys = OFF")
    try:
        yield
    finally:
        connection.rollback()
        driver.execute("PRAGMA foreign_keys = ON")


def is_unique_violation(error: IntegrityError, constraint_name: str) -> bool:
    """Tell whether `error` is a breach of the named primary key, unique constraint or unique index.

    Args:
        constraint_name: The full name, such as `uq_staff_login`.

    Raises:
        LookupError: No table known to `Base.metadata` has such a constraint.
    """
    table, columns = _unique_columns(constraint_name)
    if isinstance(error.orig, sqlite3.IntegrityError):
        # SQLite names the columns, not the constraint.
        failed = ", ".join(f"{table}.{column}" for column in columns)
        return str(error.orig) in (f"UNIQUE constraint failed: {failed}", f"UNIQUE constraint failed: index '{constraint_name}'")
    return _postgresql_constraint(error, "23505") == constraint_name


def is_check_violation(error: IntegrityError, constraint_name: str) -> bool:
    """Tell whether `error` is a breach of the named CHECK, such as `ck_transfers_amount_positive`."""
    if isinstance(error.orig, sqlite3.IntegrityError):
        return str(error.orig) == f"CHECK constraint failed: {constraint_name}"
    return _postgresql_constraint(error, "23514") == constraint_name


def _postgresql_constraint(error: IntegrityError, sqlstate: str) -> str | None:
    diagnosis = getattr(error.orig, "diag", None)
    if diagnosis is None or diagnosis.sqlstate != sqlstate:
        return None
    name: str | None = diagnosis.constraint_name
    return name


def _unique_columns(constraint_name: str) -> tuple[str, tuple[str, ...]]:
    for table in Base.metadata.tables.values():
        candidates: list[PrimaryKeyConstraint | UniqueConstraint | Index] = [index for index in table.indexes if index.unique]
        candidates += [one for one in table.constraints if isinstance(one, PrimaryKeyConstraint | UniqueConstraint)]
        for candidate in candidates:
            if candidate.name == constraint_name:
                return table.name, tuple(column.name for column in candidate.columns)
    raise LookupError(f"no table has a unique constraint named {constraint_name}")


def _make_sqlite_engine(url: URL, pool_size: int) -> Engine:
    engine = create_engine(url, pool_size=pool_size, max_overflow=0, pool_timeout=SQLITE_BUSY_TIMEOUT_S, hide_parameters=True)
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _make_postgresql_engine(url: URL, pool_size: int, statement_timeout_s: int, role: str | None) -> Engine:
    settings = {
        "timezone": "UTC",
        "lock_timeout": f"{LOCK_TIMEOUT_S}s",
        "statement_timeout": f"{statement_timeout_s}s",
        "idle_in_transaction_session_timeout": f"{2 * statement_timeout_s}s",
    }
    if role is not None:
        settings["role"] = role
    options = " ".join(f"-c {name}={setting}" for name, setting in settings.items())
    return create_engine(
        url,
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=STATEMENT_TIMEOUT_S,
        pool_pre_ping=True,
        hide_parameters=True,
        connect_args={"options": options},
    )


def _prepare_sqlite(connection: sqlite3.Connection, _entry: ConnectionPoolEntry) -> None:
    connection.isolation_level = None  # The driver never begins by itself; `_begin_sqlite` does.
    register_sqlite_functions(connection)
    for pragma in (
        f"busy_timeout = {SQLITE_BUSY_TIMEOUT_S * 1000}",  # First: turning WAL on may have to wait as well.
        "journal_mode = WAL",
        "synchronous = FULL",
        "foreign_keys = ON",
        "secure_delete = ON",  # A destroyed key is overwritten where it lay, not only unlinked.
        "recursive_triggers = ON",  # Or INSERT OR REPLACE would delete rows behind the triggers that forbid it.
        "trusted_schema = OFF",
    ):
        connection.execute(f"PRAGMA {pragma}")


def _begin_sqlite(connection: Connection) -> None:
    reads = bool(connection.get_execution_options().get("fieldvisit_reads", False))
    connection.exec_driver_sql(f"PRAGMA query_only = {'ON' if reads else 'OFF'}")
    connection.exec_driver_sql("BEGIN DEFERRED" if reads else "BEGIN IMMEDIATE")


def _refuse_lazy_load(state: ORMExecuteState) -> Any:
    if state.is_relationship_load and state.lazy_loaded_from is not None:
        raise LazyLoadRefused(f"{state.lazy_loaded_from.class_.__name__}: a relationship was touched but not loaded")
