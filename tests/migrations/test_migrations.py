"""The migrations build exactly the schema that the slices declare, on both engines alike, and can be undone and redone."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import CheckConstraint, Connection, Engine, MetaData, inspect, text
from sqlalchemy.exc import ProgrammingError

from backend.db import upgrade
from backend.db.engine import unchecked_references
from backend.db.metadata import load_metadata
from backend.db.migrations.ddl import APP_ROLE
from backend.db.migrations.schema import include_object
from tests.support.engines import AnyEngine, Database, PostgresqlUnderTest, SqliteUnderTest
from tests.support.rows import fill

NAME_BYTES_MAX = 63  # PostgreSQL cuts longer names silently, SQLite keeps them.
FOREIGN_TABLES = {"spatial_ref_sys", "alembic_version"}
PSEUDO_TABLES = ("sqlite_", "procrastinate_")


@pytest.fixture
def empty(database: AnyEngine) -> Iterator[Database]:
    """A database that no migration has touched."""
    with database.empty() as empty:
        yield empty


@pytest.fixture
def owner(cloned: Database) -> Iterator[Engine]:
    """The owner's engine on a migrated database."""
    engine = cloned.owner_engine()
    yield engine
    engine.dispose()


def tables(engine: Engine | Connection) -> set[str]:
    return {name for name in inspect(engine).get_table_names() if name not in FOREIGN_TABLES and not name.startswith(PSEUDO_TABLES)}


def schema_text(database: Database) -> list[Any]:
    """Describe everything that a migration can leave behind, in a form that compares."""
    engine = database.owner_engine()
    try:
        with engine.connect() as connection:
            if database.kind == "sqlite":
                everything = text("SELECT type, name, tbl_name, sql FROM sqlite_master WHERE tbl_name <> 'alembic_version' ORDER BY 1, 2")
                return [(kind, name, table, _spelled(statement)) for kind, name, table, statement in connection.execute(everything)]
            found = inspect(connection)
            described: list[Any] = []
            for table in sorted(tables(connection)):
                columns = [(column["name"], str(column["type"]), column["nullable"], column["default"]) for column in found.get_columns(table)]
                keys = (found.get_pk_constraint(table), found.get_foreign_keys(table), found.get_unique_constraints(table))
                described.append((table, columns, keys, found.get_check_constraints(table), found.get_indexes(table)))
            functions = "SELECT proname, prosrc FROM pg_proc WHERE pronamespace = 'public'::regnamespace AND prolang <> 13 AND probin IS NULL"
            own_functions = f"{functions} AND NOT EXISTS (SELECT FROM pg_depend WHERE objid = pg_proc.oid AND deptype = 'e') ORDER BY 1"
            return [*described, sorted(triggers(connection)), [tuple(row) for row in connection.execute(text(own_functions))]]
    finally:
        engine.dispose()


def _spelled(statement: str | None) -> list[str]:
    """Return the lines of a CREATE statement; a rebuilt table means the same with its constraints in another order and names in quotes."""
    return sorted(line.strip().rstrip(",").replace('"', "") for line in (statement or "").splitlines())


def triggers(connection: Connection) -> set[tuple[str, str]]:
    """Return (table, name) of every trigger of ours; those against TRUNCATE, which SQLite has not, are left out."""
    return {(table, name) for table, name, _ in _trigger_rows(connection)}


def guarded_verbs(connection: Connection) -> set[tuple[str, str]]:
    """Return (table, verb) of everything a trigger of ours watches."""
    return {(table, verb) for table, _, verbs in _trigger_rows(connection) for verb in verbs}


def _trigger_rows(connection: Connection) -> list[tuple[str, str, set[str]]]:
    if connection.dialect.name == "sqlite":
        statement = "SELECT tbl_name, name, sql FROM sqlite_master WHERE type = 'trigger'"
    else:
        statement = "SELECT tgrelid::regclass::text, tgname, pg_get_triggerdef(oid) FROM pg_trigger WHERE NOT tgisinternal"
    found = []
    for table, name, sql in connection.execute(text(statement)):
        head = re.split(r"\bON\b", sql.upper(), maxsplit=1)[0]  # CREATE … TRIGGER name BEFORE INSERT OR UPDATE OF …
        if name.startswith("tr_") and not name.endswith("_no_truncate"):
            found.append((table, name, {verb for verb in ("INSERT", "UPDATE", "DELETE") if re.search(rf"\b{verb}\b", head)}))
    return found


def checks(connection: Connection) -> dict[tuple[str, str | None], str]:
    found = inspect(connection)
    return {(table, check["name"]): check["sqltext"] for table in tables(connection) for check in found.get_check_constraints(table)}


def declared_checks(metadata: MetaData) -> dict[tuple[str, str], str]:
    constraints = [(table, one) for table in metadata.tables.values() for one in table.constraints if isinstance(one, CheckConstraint)]
    return {(table.name, str(one.name)): str(one.sqltext) for table, one in constraints}


def squeezed(sql: str) -> str:
    return re.sub(r"\s+", " ", sql).strip()


def test_the_schema_is_what_the_slices_declare(owner: Engine) -> None:
    metadata = load_metadata()
    with owner.connect() as connection:
        context = MigrationContext.configure(connection, opts={"include_object": include_object, "compare_type": True, "target_metadata": metadata})
        assert compare_metadata(context, metadata) == []


def test_checks_are_what_the_slices_declare(owner: Engine) -> None:
    declared = declared_checks(load_metadata())
    with owner.connect() as connection:
        found = checks(connection)
    assert set(found) == set(declared)
    if owner.dialect.name == "sqlite":  # It keeps the text; PostgreSQL keeps its own reading of it.
        assert {key: squeezed(sql) for key, sql in found.items()} == {key: squeezed(sql) for key, sql in declared.items()}


def test_both_engines_have_the_same_checks_triggers_and_names(sqlite: SqliteUnderTest, postgresql: PostgresqlUnderTest) -> None:
    facts = []
    for under_test in (sqlite, postgresql):
        engine = under_test.shared.owner_engine()
        with engine.connect() as connection:
            found = inspect(connection)
            indexes = {(table, index["name"]) for table in tables(connection) for index in found.get_indexes(table)}
            facts.append((tables(connection), set(checks(connection)), guarded_verbs(connection), triggers(connection), indexes))
        engine.dispose()
    on_sqlite, on_postgresql = facts
    for left, right in zip(on_sqlite[:3], on_postgresql[:3], strict=True):
        assert left == right
    assert on_postgresql[3] <= on_sqlite[3]  # One trigger of PostgreSQL may watch two verbs, where SQLite needs two.
    assert on_sqlite[4] <= on_postgresql[4]  # PostgreSQL lists the index behind a unique constraint, SQLite the constraint alone.


def test_no_name_is_longer_than_postgresql_keeps() -> None:
    metadata = load_metadata()
    names = [str(part.name) for table in metadata.tables.values() for part in (table, *table.constraints, *table.indexes, *table.columns)]
    assert [name for name in names if len(name.encode()) > NAME_BYTES_MAX] == []


def test_every_migration_can_be_undone_and_redone(empty: Database) -> None:
    before_each: dict[str, list[Any]] = {}
    for revision in upgrade.revisions():
        before_each[revision] = schema_text(empty)
        upgrade.upgrade(empty.url, revision)
        assert upgrade.current(empty.url) == revision
        built = schema_text(empty)
        parent = list(before_each)[-2] if len(before_each) > 1 else "base"
        upgrade.downgrade(empty.url, parent)
        assert schema_text(empty) == before_each[revision], f"{revision} leaves something behind"
        upgrade.upgrade(empty.url, revision)
        assert schema_text(empty) == built, f"{revision} builds something else the second time"
    assert upgrade.current(empty.url) == upgrade.head()
    upgrade.downgrade(empty.url, "base")
    assert upgrade.current(empty.url) is None
    assert schema_text(empty) == before_each[upgrade.revisions()[0]]
    upgrade.upgrade(empty.url)
    assert upgrade.current(empty.url) == upgrade.head()


def test_a_filled_database_goes_down_and_up_again(cloned: Database) -> None:
    metadata = load_metadata()
    engine = cloned.owner_engine()
    with engine.connect() as connection, unchecked_references(connection), connection.begin():
        filled = fill(connection, metadata, seed=1)
    engine.dispose()
    assert [table for table, count in filled.items() if not count] == []
    built = schema_text(cloned)
    for revision in reversed(("base", *upgrade.revisions()[:-1])):
        upgrade.downgrade(cloned.url, revision)
    upgrade.upgrade(cloned.url)
    assert schema_text(cloned) == built


def test_the_application_reads_every_table_and_makes_none(postgresql: PostgresqlUnderTest) -> None:
    with postgresql.clone() as clone:
        engine = clone.engine()
        with engine.connect() as connection:
            assert connection.execute(text("SELECT current_user")).scalar_one() == APP_ROLE
            for table in sorted(tables(connection)):
                connection.execute(text(f'SELECT count(*) FROM "{table}"'))
            assert connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one() == upgrade.head()
            with pytest.raises(ProgrammingError, match="permission denied"):
                connection.execute(text("CREATE TABLE public.intruder (id integer)"))
        engine.dispose()


def test_what_a_trigger_refuses_is_not_granted_either(postgresql: PostgresqlUnderTest) -> None:
    engine = postgresql.shared.owner_engine()
    asked = text("SELECT has_table_privilege(:role, :table, 'UPDATE')")
    with engine.connect() as connection:
        append_only = {table for table, name in triggers(connection) if name == f"tr_{table}_no_update"}
        granted = {table for table in append_only if connection.execute(asked, {"role": APP_ROLE, "table": table}).scalar_one()}
    engine.dispose()
    assert append_only
    assert granted == set()
