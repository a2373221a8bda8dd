"""Column types mean the same on both engines: what goes in comes out, what must not go in is refused, order agrees."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta, timezone
from enum import StrEnum
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import BigInteger, Column, Connection, Dialect, MetaData, Table, insert, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import IntegrityError, StatementError

from backend.core.ids import new_id
from backend.db.base import NAMING_CONVENTION, CanonicalJson, Choice, Instant, Key, Money, SealedBytes, SealedValue, Uuid, enum_check
from backend.db.engine import is_check_violation, make_engine
from tests.support.engines import AnyEngine


class Mood(StrEnum):
    CALM = "calm"
    CROSS = "cross"


class Weather(StrEnum):
    CALM = "calm"
    WINDY = "windy"


SAMPLES = Table(
    "samples",
    MetaData(naming_convention=NAMING_CONVENTION),
    Column("id", Uuid(), primary_key=True),
    Column("at", Instant()),
    Column("label", Key(40)),
    Column("mood", Choice(Mood)),
    Column("body", CanonicalJson()),
    Column("secret", SealedBytes()),
    Column("amount_fen", Money),
    enum_check("mood", Mood),
)


@pytest.fixture(scope="module")
def _samples_engine(database: AnyEngine) -> Iterator[Any]:
    with database.empty() as empty:
        engine = make_engine(empty.url)
        SAMPLES.metadata.create_all(engine)
        yield engine
        engine.dispose()


@pytest.fixture
def connection(_samples_engine: Any) -> Iterator[Connection]:
    """One connection with the table of this module, rolled back."""
    with _samples_engine.connect() as connection:
        yield connection
        connection.rollback()


def stored(connection: Connection, **values: object) -> Any:
    """Insert one row and return the single value that comes back."""
    ((name, value),) = values.items()
    row_id = new_id()
    connection.execute(insert(SAMPLES).values(id=row_id, **{name: value}))
    return connection.execute(select(SAMPLES.c[name]).where(SAMPLES.c.id == row_id)).scalar_one()


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("at", datetime(2026, 11, 27, 10, 0)),  # noqa: DTZ001 - the naive time is the point.
        ("secret", "plain"),
        ("secret", b"plain"),
        ("secret", bytearray(b"plain")),
        ("body", {"weight": float("nan")}),
        ("body", {"count": 2**53}),
        ("body", {"day": date(2026, 11, 27)}),
        ("body", {1: "a key that is not text"}),
        ("mood", "sulky"),
        ("mood", Weather.WINDY),
    ],
)
def test_what_a_column_must_not_hold_is_refused(connection: Connection, column: str, value: object) -> None:
    with pytest.raises((StatementError, ValueError, TypeError)):
        stored(connection, **{column: value})


def test_the_database_itself_refuses_an_unknown_choice(connection: Connection) -> None:
    with pytest.raises(IntegrityError) as caught:
        connection.exec_driver_sql("INSERT INTO samples (id, mood) VALUES ('00000000000000000000000000000000', 'sulky')")
    assert is_check_violation(caught.value, "ck_samples_mood_known")


def test_values_come_back_as_they_went_in(connection: Connection) -> None:
    shanghai = timezone(timedelta(hours=8))
    assert stored(connection, at=datetime(2026, 11, 27, 10, 0, 0, 123_456, tzinfo=shanghai)) == datetime(2026, 11, 27, 2, 0, 0, 123_456, tzinfo=UTC)
    assert stored(connection, at=datetime(2026, 11, 27, 10, tzinfo=shanghai)).tzinfo is UTC
    assert stored(connection, at=datetime(1969, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC)).microsecond == 999_999
    assert stored(connection, mood=Mood.CROSS) is Mood.CROSS
    assert stored(connection, body={"b": [1, None, "上海"], "a": True}) == {"a": True, "b": [1, None, "上海"]}
    assert stored(connection, amount_fen=2**62) == 2**62
    secret = stored(connection, secret=SealedValue(b"\x00\xff"))
    assert secret == b"\x00\xff"
    assert isinstance(secret, SealedValue)


def test_equal_json_is_equal_text(connection: Connection) -> None:
    for body in ({"b": 1, "a": 1.0}, {"a": 1, "b": 1}):
        connection.execute(insert(SAMPLES).values(id=new_id(), body=body))
    texts = connection.exec_driver_sql("SELECT body FROM samples").scalars().all()
    assert texts == ['{"a":1,"b":1}'] * 2
    assert len(connection.execute(select(SAMPLES.c.id).where(SAMPLES.c.body == {"b": 1, "a": 1})).all()) == 2


def test_keys_sort_by_code_point_on_both_engines(connection: Connection) -> None:
    labels = ["b", "B", "a", "Z", "_", "é", "张", "上", "𠮷", "a b", "ab", "10", "9", ""]
    connection.execute(insert(SAMPLES), [{"id": new_id(), "label": label} for label in labels])
    assert connection.execute(select(SAMPLES.c.label).order_by(SAMPLES.c.label)).scalars().all() == sorted(labels)
    later = connection.execute(select(SAMPLES.c.label).where(SAMPLES.c.label > "a").order_by(SAMPLES.c.label)).scalars().all()
    assert later == [label for label in sorted(labels) if label > "a"]


def test_ids_sort_by_their_bytes_and_in_the_order_of_their_making(connection: Connection) -> None:
    ids = [new_id() for _ in range(50)] + [UUID(int=0), UUID(int=2**128 - 1), UUID(int=2**127)]
    connection.execute(insert(SAMPLES), [{"id": one} for one in reversed(ids)])
    assert connection.execute(select(SAMPLES.c.id).order_by(SAMPLES.c.id)).scalars().all() == sorted(ids, key=lambda one: one.bytes)
    assert ids[:50] == sorted(ids[:50])
    assert ids[0].version == 7


def test_instants_compare_and_sort_by_time(connection: Connection) -> None:
    moments = [datetime(2026, 11, 27, hour, tzinfo=timezone(timedelta(hours=offset))) for hour in (1, 9, 17) for offset in (-5, 0, 8)]
    connection.execute(insert(SAMPLES), [{"id": new_id(), "at": moment} for moment in moments])
    assert connection.execute(select(SAMPLES.c.at).order_by(SAMPLES.c.at)).scalars().all() == sorted(moments)
    early = connection.execute(select(SAMPLES.c.at).where(SAMPLES.c.at < moments[4])).scalars().all()
    assert sorted(early) == sorted(moment for moment in moments if moment < moments[4])


@given(st.datetimes(timezones=st.timezones()))
def test_an_instant_survives_sqlite_to_the_microsecond(moment: datetime) -> None:
    column, dialect = Instant(), sqlite.dialect()
    try:
        expected = moment.astimezone(UTC)
    except OverflowError:
        return  # Years 1 and 9999, shifted out of the calendar.
    assert column.process_result_value(column.process_bind_param(moment, dialect), dialect) == expected


def test_columns_have_the_promised_types() -> None:
    on_postgresql: Dialect = postgresql.dialect()  # type: ignore[no-untyped-call]
    names = {"at": "TIMESTAMP WITH TIME ZONE", "label": 'VARCHAR(40) COLLATE "C"', "id": "UUID", "secret": "BYTEA", "amount_fen": "BIGINT"}
    assert {name: SAMPLES.c[name].type.compile(on_postgresql) for name in names} == names
    names = {"at": "BIGINT", "label": "VARCHAR(40)", "id": "CHAR(32)", "secret": "BLOB", "amount_fen": "BIGINT"}
    assert {name: SAMPLES.c[name].type.compile(sqlite.dialect()) for name in names} == names
    assert Money is BigInteger
