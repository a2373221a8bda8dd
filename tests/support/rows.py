"""Rows for any table that the slices declare: enough to see what a migration does to a database that is not empty."""

import random
import re
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Connection,
    Date,
    Float,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Time,
    func,
    insert,
    select,
    text,
)
from sqlalchemy import Uuid as SqlUuid
from sqlalchemy.exc import StatementError

from backend.core.geo import LonLat, MultiPolygon
from backend.core.ids import new_id
from backend.db.base import CanonicalJson, Choice, Instant, SealedBytes, SealedValue
from backend.db.geo import Area, Point

ATTEMPTS_MAX = 600
_NOW = datetime(2026, 11, 27, 2, 0, tzinfo=UTC)
_SQUARE = MultiPolygon((((LonLat(121.0, 31.0), LonLat(122.0, 31.0), LonLat(122.0, 32.0), LonLat(121.0, 31.0)),),))


def fill(connection: Connection, metadata: MetaData, seed: int) -> dict[str, int]:
    """Put up to two rows into each table by trying random values against its constraints; return what each then holds.

    References and triggers are switched off: a row has the form of a real one, not its sense.
    """
    chance = random.Random(seed)
    if connection.dialect.name == "postgresql":
        connection.execute(text("SET session_replication_role = replica"))
    guards = _without_insert_triggers(connection)
    for table in metadata.tables.values():
        for _ in range(2):
            _insert_one(connection, table, chance)
    for statement in guards:
        connection.exec_driver_sql(statement)
    return {table.name: connection.execute(select(func.count()).select_from(table)).scalar_one() for table in metadata.tables.values()}


def _without_insert_triggers(connection: Connection) -> list[str]:
    """Drop SQLite's triggers on INSERT and return the statements that make them again."""
    if connection.dialect.name != "sqlite":
        return []
    found = connection.exec_driver_sql("SELECT name, sql FROM sqlite_master WHERE type = 'trigger' AND sql LIKE '% INSERT ON %'").fetchall()
    for name, _ in found:
        connection.exec_driver_sql(f"DROP TRIGGER {name}")
    return [statement for _, statement in found]


def _insert_one(connection: Connection, table: Table, chance: random.Random) -> None:
    known = _known_values(table)
    for _ in range(ATTEMPTS_MAX):
        row = {column.name: _value(column, known.get(column.name), chance) for column in table.columns}
        try:
            with connection.begin_nested():
                connection.execute(insert(table).values(row))
        except (StatementError, ValueError):
            continue
        return


def _known_values(table: Table) -> dict[str, list[str]]:
    texts = [str(one.sqltext) for one in table.constraints if isinstance(one, CheckConstraint)]
    matches = [match for sql in texts if (match := re.fullmatch(r"(\w+) (?:IN|=) (.*)", sql))]
    return {match[1]: re.findall(r"'((?:[^']|'')*)'", match[2]) for match in matches}


def _value(column: Column[Any], known: list[str] | None, chance: random.Random) -> Any:
    if column.nullable and chance.random() < 0.5:
        return None
    kind = column.type
    if isinstance(kind, Choice):
        choices: type[StrEnum] = kind.choices
        return chance.choice(list(choices))
    if known:
        return chance.choice(known)
    by_type: tuple[tuple[type[Any], Any], ...] = (
        (Instant, _NOW + timedelta(hours=chance.randrange(-3, 4))),
        (CanonicalJson, chance.choice([[], {}])),
        (SealedBytes, SealedValue(b"sealed")),
        (Point, LonLat(121.5, 31.2)),
        (Area, _SQUARE),
        (SqlUuid, new_id()),
        (Boolean, chance.random() < 0.5),
        (BigInteger, chance.choice([0, 1, 2, 100])),
        (Integer, chance.choice([0, 1, 2, 100])),
        (Float, chance.random()),
        (Date, _NOW.date() + timedelta(days=chance.randrange(-3, 4))),
        (Time, _NOW.time()),
        (LargeBinary, chance.randbytes(32)),
    )
    for type_, value in by_type:
        if isinstance(kind, type_):
            return value
    length: int = getattr(kind, "length", None) or 64
    return f"{chance.getrandbits(256):064x}"[: min(length, chance.choice([1, 6, 18, 64]))]
