"""Engines: writers queue, readers cannot write, lazy loads raise, breaches of constraints are told apart."""

import threading
from collections.abc import Iterator
from uuid import UUID

import pytest
from sqlalchemy import BigInteger, CheckConstraint, Column, Engine, ForeignKey, Index, MetaData, Table, UniqueConstraint, insert, select, text, update
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, relationship, selectinload, sessionmaker

from backend.core.ids import new_id
from backend.db.base import NAMING_CONVENTION, Base, Key, Uuid
from backend.db.engine import LazyLoadRefused, is_check_violation, is_unique_violation, make_engine, normal_url, session_factory
from tests.support.engines import AnyEngine

THREADS = 16
INCREMENTS = 125


class OwnBase(DeclarativeBase):
    metadata = MetaData(naming_convention=NAMING_CONVENTION)


class CounterRow(OwnBase):
    __tablename__ = "counters"

    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    total: Mapped[int] = mapped_column(BigInteger)
    marks: Mapped[list["MarkRow"]] = relationship()


class MarkRow(OwnBase):
    __tablename__ = "marks"

    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    counter_id: Mapped[UUID] = mapped_column(ForeignKey("counters.id"))


@pytest.fixture
def engine(database: AnyEngine) -> Iterator[Engine]:
    """An engine of more connections than threads, as its owner, on an empty database with the tables of this module."""
    with database.empty() as empty:
        engine = make_engine(empty.url, pool_size=THREADS + 1)
        OwnBase.metadata.create_all(engine)
        yield engine
        engine.dispose()


@pytest.fixture
def factory(engine: Engine) -> sessionmaker[Session]:
    return session_factory(engine)


@pytest.fixture
def labels(engine: Engine) -> Iterator[Table]:
    """A table known to the application's metadata for the time of one test."""
    table = Table(
        "engine_test_labels",
        Base.metadata,
        Column("id", Uuid(), primary_key=True),
        Column("name", Key(), nullable=False),
        Column("part", BigInteger, nullable=False),
        UniqueConstraint("name", "part"),
        CheckConstraint("part >= 0", name="part_not_negative"),
        Index("uq_engine_test_labels_big", "part", unique=True, sqlite_where=text("part > 5"), postgresql_where=text("part > 5")),
    )
    table.create(engine)
    yield table
    Base.metadata.remove(table)


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///:memory:", "mysql://localhost/visits", "postgres:visits"])
def test_a_url_of_another_kind_is_refused(url: str) -> None:
    with pytest.raises(Exception, match=r"SQLite needs a database file|must be sqlite or postgresql|Could not parse"):
        normal_url(url)


def test_a_reader_is_refused_any_write(engine: Engine) -> None:
    readers = session_factory(engine, read_only=True)
    with readers() as session, pytest.raises(DBAPIError, match=r"readonly database|read-only transaction"):
        session.execute(insert(CounterRow).values(id=new_id(), total=0))
    with session_factory(engine).begin() as session:  # The same pooled connection writes again afterwards.
        session.execute(insert(CounterRow).values(id=new_id(), total=0))


def test_a_lazy_load_raises_and_an_eager_one_does_not(factory: sessionmaker[Session]) -> None:
    counter_id = new_id()
    with factory.begin() as session:
        session.add(CounterRow(id=counter_id, total=0, marks=[MarkRow(id=new_id())]))
    with factory() as session:
        row = session.scalars(select(CounterRow)).one()
        with pytest.raises(LazyLoadRefused):
            _ = row.marks
    with factory() as session:
        row = session.scalars(select(CounterRow).options(selectinload(CounterRow.marks))).one()
        assert len(row.marks) == 1


def test_a_reference_to_nothing_is_refused(factory: sessionmaker[Session]) -> None:
    with factory() as session, pytest.raises(IntegrityError):
        session.execute(insert(MarkRow).values(id=new_id(), counter_id=new_id()))


def test_breaches_of_constraints_are_told_apart_by_name(engine: Engine, labels: Table) -> None:
    first = {"id": new_id(), "name": "a", "part": 9}
    clashes = {
        "pk_engine_test_labels": first | {"name": "b", "part": 2},
        "uq_engine_test_labels_name_part": first | {"id": new_id(), "part": 1},
        "uq_engine_test_labels_big": first | {"id": new_id(), "name": "c"},
    }
    with engine.begin() as connection:
        connection.execute(insert(labels), [first, {"id": new_id(), "name": "a", "part": 1}])
    for expected, row in clashes.items():
        with engine.connect() as connection, pytest.raises(IntegrityError) as caught:
            connection.execute(insert(labels), [row])
        assert [name for name in clashes if is_unique_violation(caught.value, name)] == [expected]
        assert not is_check_violation(caught.value, "ck_engine_test_labels_part_not_negative")
    with engine.connect() as connection, pytest.raises(IntegrityError) as caught:
        connection.execute(insert(labels), [first | {"part": -1}])
    assert is_check_violation(caught.value, "ck_engine_test_labels_part_not_negative")
    assert not any(is_unique_violation(caught.value, name) for name in clashes)
    with pytest.raises(LookupError):
        is_unique_violation(caught.value, "uq_engine_test_labels_misspelt")


def test_an_error_names_no_bound_value(engine: Engine) -> None:
    with engine.connect() as connection, pytest.raises(DBAPIError) as caught:
        connection.execute(text("SELECT * FROM nowhere WHERE name = :name"), {"name": "Rosalind"})
    assert "nowhere" in str(caught.value)
    assert "Rosalind" not in str(caught.value)


def test_many_threads_lose_no_increment(factory: sessionmaker[Session]) -> None:
    """Each thread reads, adds one and writes back: only a lock held from the first statement makes that safe."""
    counter_id = new_id()
    with factory.begin() as session:
        session.add(CounterRow(id=counter_id, total=0))
    failures: list[BaseException] = []

    def add_many() -> None:
        try:
            for _ in range(INCREMENTS):
                with factory.begin() as session:
                    total = session.scalars(select(CounterRow.total).where(CounterRow.id == counter_id).with_for_update()).one()
                    session.execute(update(CounterRow).where(CounterRow.id == counter_id).values(total=total + 1))
        except BaseException as failure:
            failures.append(failure)

    threads = [threading.Thread(target=add_many) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    with factory() as session:
        assert session.scalars(select(CounterRow.total)).one() == THREADS * INCREMENTS


def test_connections_are_set_up_as_the_design_says(engine: Engine) -> None:
    if engine.dialect.name == "sqlite":
        asked = ("journal_mode", "synchronous", "foreign_keys", "recursive_triggers", "busy_timeout")
        with engine.connect() as connection:
            settings = [connection.exec_driver_sql(f"PRAGMA {name}").scalar_one() for name in asked]
        assert settings == ["wal", 2, 1, 1, 15_000]
        return
    shown = ("TimeZone", "lock_timeout", "statement_timeout", "transaction_isolation")
    with engine.connect() as connection:
        settings = [connection.exec_driver_sql(f"SHOW {name}").scalar_one() for name in shown]
    assert settings == ["UTC", "4s", "30s", "read committed"]
