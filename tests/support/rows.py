"""Rows for any table that the slices declare: enough to see what a migration does to a database that is not empty."""

import contextlib
import random
import re
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from functools import cache
from typing import Any
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    ColumnElement,
    Connection,
    Date,
    Float,
    ForeignKeyConstraint,
    FromClause,
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
from backend.db.base import CanonicalJson, Choice, Instant, SealedBytes, SealedValue
from backend.db.geo import Area, Point

ATTEMPTS_MAX = 600
MENDINGS_MAX = 24
PATIENCE = 6
FILLINGS_MAX = 16
_SENSE = {("visits", "stops"): "kind = 'visit'"}    # What a way back relies on: a pause is nobody's visit, and goes.
_NOW = datetime(2026, 11, 27, 2, 0, tzinfo=UTC)
_SQUARE = MultiPolygon((((LonLat(121.0, 31.0), LonLat(122.0, 31.0), LonLat(122.0, 32.0), LonLat(121.0, 31.0)),),))


def fill(connection: Connection, metadata: MetaData, seed: int) -> dict[str, int]:
    """Put up to two rows into each table by trying random values against its constraints; return what each then holds.

    Triggers are switched off: a row has the form of a real one, not its sense. References hold, in circles too.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(text("SET session_replication_role = replica"))
    guards = _without_triggers(connection)
    ordered = in_order(metadata)
    for number in range(FILLINGS_MAX):
        # A circle of references can be filled into a corner that no choice mends; then it is begun again from the next seed.
        filling = connection.begin_nested()
        if _filled(connection, ordered, random.Random(seed + number)):
            filling.commit()
            break
        filling.rollback()
    for statement in guards:
        connection.exec_driver_sql(statement)
    return {table.name: connection.execute(select(func.count()).select_from(table)).scalar_one() for table in metadata.tables.values()}


def in_order(metadata: MetaData) -> list[Table]:
    """Return all tables, those that refer to fewest others first; alike in every process, whatever was imported first."""
    return sorted(metadata.tables.values(), key=lambda table: (len(_ancestors(table, frozenset())), table.name))


def _filled(connection: Connection, ordered: list[Table], chance: random.Random) -> bool:
    """Fill every table and mend what is broken; False when something stays broken."""
    for number in range(MENDINGS_MAX):
        is_stuck = number % PATIENCE == 0
        if is_stuck:
            for table in ordered:
                for _ in range((1 if number else 2) - len(_rows(connection, table))):
                    _insert_one(connection, table, chance)
        broken = _broken(connection, ordered)
        if not broken:
            return True
        if number % (2 * PATIENCE) == PATIENCE:  # Where no choice of references helps, what there is to refer to is put in anew.
            for table in dict.fromkeys(key.referred_table for _, _, key in broken):
                for row in _rows(connection, table):
                    _replace(connection, table, row, chance)
        for table, row, key in broken:
            if is_stuck or any(column.primary_key for column in key.columns):
                _replace(connection, table, row, chance)
            else:
                _mend(connection, table, row, chance)
    return False


def _replace(connection: Connection, table: Table, row: Any, chance: random.Random) -> None:
    """Put another row in a row's place, if it still stands there."""
    if connection.execute(table.delete().where(*_is_row(table, row))).rowcount:
        _insert_one(connection, table, chance)


def _ancestors(table: Table, seen: frozenset[str]) -> frozenset[str]:
    """Return the names of all tables that a table refers to, directly or not."""
    parents = {key.referred_table for key in table.foreign_key_constraints if key.referred_table.name not in seen | {table.name}}
    known = seen | {table.name}
    found: frozenset[str] = frozenset(parent.name for parent in parents)
    for parent in parents:
        found |= _ancestors(parent, known | found)
    return found


def _parents(connection: Connection, table: Table) -> list[tuple[ForeignKeyConstraint, list[Any]]]:
    """Return each reference with the rows that it may point at, the widest first."""
    keys = sorted(table.foreign_key_constraints, key=_by_columns)
    found = []
    for key in keys:
        query = select(*[element.column for element in key.elements]).order_by(*key.referred_table.primary_key.columns)
        sense = _SENSE.get((table.name, key.referred_table.name))
        found.append((key, list(connection.execute(query if sense is None else query.where(text(sense))).all())))
    return found


def _choose(parents: list[tuple[ForeignKeyConstraint, list[Any]]], chance: random.Random, own: dict[str, Any] | None = None) -> dict[str, Any]:
    """Choose for each reference a row that is there, or none where none is needed; columns of several references keep the first choice."""
    chosen: dict[str, Any] = dict(own or {})
    for key, rows in parents:
        names = [column.name for column in key.columns]
        fitting = [row for row in rows if all(chosen.get(name, value) == value for name, value in zip(names, row, strict=True))]
        is_optional = all(column.nullable for column in key.columns)
        if fitting and not (is_optional and chance.random() < 0.5):
            chosen |= dict(zip(names, chance.choice(fitting), strict=True))
        elif is_optional:
            chosen |= dict.fromkeys((name for name in names if name not in chosen), None)
    return chosen


def _mend(connection: Connection, table: Table, row: Any, chance: random.Random) -> None:
    """Point the references of a circle's first tables at rows that came after them."""
    own = {column.name: row[column.name] for column in table.primary_key.columns}
    values = {name: value for name, value in _choose(_parents(connection, table), chance, own).items() if name not in own}
    wrong = {name: value for name, value in values.items() if row[name] is not None and row[name] != value}
    if wrong:
        with contextlib.suppress(StatementError), connection.begin_nested():
            connection.execute(table.update().where(*_is_row(table, row)).values(wrong))


def _broken(connection: Connection, ordered: list[Table]) -> list[tuple[Table, Any, ForeignKeyConstraint]]:
    """Return the rows with a reference that leads nowhere, each with the first such reference."""
    rows = {table: _rows(connection, table) for table in ordered}
    found = []
    for table in ordered:
        keys = sorted(table.foreign_key_constraints, key=_by_columns)
        there = [{tuple(parent[element.column.name] for element in key.elements) for parent in rows[key.referred_table]} for key in keys]
        for row in rows[table]:
            values = [tuple(row[column.name] for column in key.columns) for key in keys]
            broken = [key for key, value, known in zip(keys, values, there, strict=True) if None not in value and value not in known]
            if broken:
                found.append((table, row, broken[0]))
    return found


def _rows(connection: Connection, table: Table) -> list[Any]:
    return list(connection.execute(select(table).order_by(*table.primary_key.columns)).mappings().all())


def _is_row(table: Table, row: Any) -> list[ColumnElement[bool]]:
    return [column == row[column.name] for column in table.primary_key.columns]


def _by_columns(key: ForeignKeyConstraint) -> tuple[int, list[str]]:
    """Put the widest reference first; a table's own set of them has no order."""
    return -len(key.elements), [column.name for column in key.columns]


def _without_triggers(connection: Connection) -> list[str]:
    """Drop SQLite's triggers and return the statements that make them again."""
    if connection.dialect.name != "sqlite":
        return []
    found = connection.exec_driver_sql("SELECT name, sql FROM sqlite_master WHERE type = 'trigger' ORDER BY rowid").fetchall()
    for name, _ in found:
        connection.exec_driver_sql(f"DROP TRIGGER {name}")
    return [statement for _, statement in found]


def _insert_one(connection: Connection, table: Table, chance: random.Random) -> None:
    known, parents = _known_values(table), _parents(connection, table)
    for _ in range(ATTEMPTS_MAX):
        row = {column.name: _value(column, known.get(column.name), chance) for column in table.columns} | _choose(parents, chance)
        try:
            with connection.begin_nested():
                connection.execute(insert(table).values(row))
        except (StatementError, ValueError):
            continue
        return


@cache
def _known_values(table: Table) -> dict[str, list[str]]:
    matches = [match for sql in _checks(table) if (match := re.fullmatch(r"(\w+) (?:IN|=) (.*)", sql))]
    return {match[1]: re.findall(r"'((?:[^']|'')*)'", match[2]) for match in matches}


@cache
def _bytes_of(column: Column[Any]) -> int:
    """Return how many bytes a CHECK asks of a column, 32 where none does."""
    asked = (match for sql in _checks(column.table) if (match := re.search(rf"length\({column.name}\) = (\d+)", sql)))
    return next((int(match[1]) for match in asked), 32)


def _checks(table: FromClause) -> list[str]:
    assert isinstance(table, Table)
    return sorted(str(one.sqltext) for one in table.constraints if isinstance(one, CheckConstraint))


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
        (SqlUuid, UUID(int=chance.getrandbits(128), version=4)),
        (Boolean, chance.random() < 0.5),
        (BigInteger, chance.choice([0, 1, 1, 1, 2, 100])),  # Sums that several tables repeat must be able to agree.
        (Integer, chance.choice([0, 1, 2, 100])),
        (Float, chance.random()),
        (Date, _NOW.date() + timedelta(days=chance.randrange(-3, 4))),
        (Time, _NOW.time()),
        (LargeBinary, chance.randbytes(_bytes_of(column))),
    )
    for type_, value in by_type:
        if isinstance(kind, type_):
            return value
    length: int = getattr(kind, "length", None) or 64
    return f"{chance.getrandbits(256):064x}"[: min(length, chance.choice([1, 6, 18, 64]))]
