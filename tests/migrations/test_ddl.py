"""What migrations are written with: guards that refuse on both engines, and a rebuilt table that loses nothing."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
import sqlalchemy as sa
from alembic import op
from alembic.operations import Operations
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, Engine, inspect, text
from sqlalchemy.exc import IntegrityError, ProgrammingError

from backend.db.base import Base
from backend.db.engine import is_check_violation, unchecked_references
from backend.db.migrations import ddl
from tests.support.engines import AnyEngine, Database


@contextmanager
def migration(engine: Engine) -> Iterator[Connection]:
    """Do as one migration does: the `op` of a transaction that commits, foreign keys off on SQLite."""
    with engine.connect() as connection, unchecked_references(connection):
        context = MigrationContext.configure(connection, opts={"target_metadata": Base.metadata})
        with connection.begin(), Operations.context(context):
            yield connection


@pytest.fixture
def empty(database: AnyEngine) -> Iterator[Database]:
    """A database that no migration of ours has touched."""
    with database.empty() as empty:
        yield empty


@pytest.fixture
def owner(empty: Database) -> Iterator[Engine]:
    engine = empty.owner_engine()
    with migration(engine):
        ddl.create_app_role()
        ddl.install_trigger_functions()
    yield engine
    engine.dispose()


@pytest.fixture
def notes(owner: Engine) -> Engine:
    """A table of notes with two rows and one of replies to them, everything on them that a rebuild could lose."""
    with migration(owner) as connection:
        op.create_table(
            "notes",
            sa.Column("id", sa.Integer, primary_key=True),
            sa.Column("author", ddl.key(20), nullable=False, server_default="unknown"),
            sa.Column("body", sa.Text),
            sa.Column("mood", ddl.choice(), nullable=False),
            ddl.known("mood", ["calm", "cross"]),
            sa.CheckConstraint("length(author) > 0", name="author_not_empty"),
            sa.UniqueConstraint("author", "mood"),
        )
        op.create_table("replies", sa.Column("id", sa.Integer, primary_key=True), sa.Column("note_id", sa.Integer, sa.ForeignKey("notes.id")))
        op.create_index("uq_notes_calm", "notes", ["body"], unique=True, sqlite_where=text("mood = 'calm'"), postgresql_where=text("mood = 'calm'"))
        ddl.immutable_columns("notes", ["id", "body"])
        ddl.forbid_delete("notes")
        ddl.append_only("replies")
        for table in ("notes", "replies"):
            ddl.grant_app(table, append_only=table == "replies")
        connection.execute(text("INSERT INTO notes (id, author, body, mood) VALUES (1, 'a', '100 % sure: no', 'calm'), (2, 'b', NULL, 'cross')"))
        connection.execute(text("INSERT INTO replies (id, note_id) VALUES (1, 1)"))
    return owner


def refused(engine: Engine, statement: str, error: type[Exception] = IntegrityError) -> str:
    with engine.connect() as connection, pytest.raises(error) as caught:
        connection.execute(text(statement))
    return str(caught.value)


def rows(engine: Engine, table: str = "notes") -> list[tuple[object, ...]]:
    with engine.connect() as connection:
        return [tuple(row) for row in connection.execute(text(f"SELECT * FROM {table} ORDER BY id"))]


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE replies SET note_id = 2",
        "UPDATE replies SET note_id = note_id",
        "DELETE FROM replies",
        "DELETE FROM replies WHERE id = 1",
        "DELETE FROM notes WHERE id = 2",
        "UPDATE notes SET body = 'another' WHERE id = 1",
        "UPDATE notes SET body = NULL WHERE id = 1",
        "UPDATE notes SET body = 'first' WHERE id = 2",
        "UPDATE notes SET id = 3 WHERE id = 2",
    ],
)
def test_guarded_rows_refuse_the_owner_too(notes: Engine, statement: str) -> None:
    before = rows(notes), rows(notes, "replies")
    assert "is refused" in refused(notes, statement)
    assert (rows(notes), rows(notes, "replies")) == before


def test_guarded_tables_let_the_rest_through(notes: Engine) -> None:
    with notes.begin() as connection:
        connection.execute(text("UPDATE notes SET author = 'c', body = body WHERE id = 2"))
        connection.execute(text("INSERT INTO replies (id, note_id) VALUES (2, 2)"))
    assert rows(notes)[1] == (2, "c", None, "cross")
    assert len(rows(notes, "replies")) == 2


def test_no_detour_around_the_guards(notes: Engine) -> None:
    if notes.dialect.name == "sqlite":
        assert "is refused" in refused(notes, "INSERT OR REPLACE INTO replies (id, note_id) VALUES (1, 2)")
    else:
        assert "is refused" in refused(notes, "TRUNCATE replies")
        assert "is refused" in refused(notes, "TRUNCATE notes CASCADE")
    assert rows(notes, "replies") == [(1, 1)]


def test_the_application_has_no_right_to_what_the_guards_refuse(empty: Database, notes: Engine) -> None:
    engine = empty.engine()
    error = IntegrityError if empty.kind == "sqlite" else ProgrammingError
    message = "is refused" if empty.kind == "sqlite" else "permission denied"
    assert message in refused(engine, "DELETE FROM replies", error)
    assert message in refused(engine, "UPDATE replies SET id = 7", error)
    engine.dispose()


def add_a_column() -> None:
    with ddl.rebuild_table("notes") as batch:
        batch.add_column(sa.Column("stars", sa.Integer, nullable=False, server_default="0"))


def widen_the_moods() -> None:
    with ddl.rebuild_table("notes", drops=["ck_notes_mood_known"]) as batch:
        batch.drop_constraint(op.f("ck_notes_mood_known"), type_="check")
        batch.create_check_constraint("mood_known", "mood IN ('calm', 'cross', 'gone')")


@pytest.mark.parametrize("change", [add_a_column, widen_the_moods])
def test_a_rebuilt_table_keeps_rows_checks_indexes_triggers_and_references(notes: Engine, change: Callable[[], None]) -> None:
    before = rows(notes)
    with notes.connect() as connection:
        indexes = {index["name"] for index in inspect(connection).get_indexes("notes")}
    with migration(notes) as connection:
        change()
    assert [row[:4] for row in rows(notes)] == before
    with notes.connect() as connection:
        found = inspect(connection)
        assert {check["name"] for check in found.get_check_constraints("notes")} == {"ck_notes_mood_known", "ck_notes_author_not_empty"}
        assert {index["name"] for index in found.get_indexes("notes")} == indexes
        assert [key["name"] for key in found.get_unique_constraints("notes")] == ["uq_notes_author_mood"]
        assert [key["referred_table"] for key in found.get_foreign_keys("replies")] == ["notes"]
    assert "is refused" in refused(notes, "DELETE FROM notes WHERE id = 2")
    assert "is refused" in refused(notes, "UPDATE notes SET body = 'another' WHERE id = 1")
    assert "is refused" in refused(notes, "DELETE FROM replies")
    refused(notes, "INSERT INTO notes (id, author, mood) VALUES (3, '', 'calm')")
    refused(notes, "INSERT INTO notes (id, author, mood) VALUES (3, 'd', 'sulky')")
    refused(notes, "INSERT INTO notes (id, author, mood) VALUES (3, 'a', 'calm')")
    refused(notes, "INSERT INTO notes (id, author, body, mood) VALUES (3, 'd', '100 % sure: no', 'calm')")
    refused(notes, "INSERT INTO replies (id, note_id) VALUES (2, 99)")


def test_a_widened_check_admits_the_new_value(notes: Engine) -> None:
    with migration(notes):
        widen_the_moods()
    with notes.begin() as connection:
        connection.execute(text("INSERT INTO notes (id, mood) VALUES (3, 'gone')"))
    assert rows(notes)[2] == (3, "unknown", None, "gone")
    with notes.connect() as connection, pytest.raises(IntegrityError) as caught:
        connection.execute(text("INSERT INTO notes (id, mood) VALUES (4, 'sulky')"))
    assert is_check_violation(caught.value, "ck_notes_mood_known")


def test_a_table_with_a_nameless_check_is_not_rebuilt(notes: Engine) -> None:
    if notes.dialect.name == "postgresql":
        pytest.skip("PostgreSQL names every CHECK itself")
    with notes.begin() as connection:
        connection.execute(text("CREATE TABLE loose (id INTEGER PRIMARY KEY, CHECK (id > 0))"))
    with pytest.raises(RuntimeError, match="without a name"), migration(notes), ddl.rebuild_table("loose"):
        pass
