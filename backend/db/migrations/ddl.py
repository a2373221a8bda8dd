"""What migrations are written with: column types, triggers, grants and the rebuilding of SQLite tables.

This module speaks SQL text only and imports nothing of the application, so that a migration means in ten years what it
means today. Never change what a function here emits once a release has used it: add another.

Names of constraints follow `backend.db.base.NAMING_CONVENTION` in migrations too: leave keys unnamed, name a CHECK by its
last part (`name="amount_positive"` becomes `ck_<table>_amount_positive`).
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa
from alembic import op
from alembic.operations import BatchOperations
from sqlalchemy.types import TypeEngine, UserDefinedType

APP_ROLE = "fieldvisit_app"


class _Geography(UserDefinedType[Any]):
    cache_ok = True

    def __init__(self, geometry_type: str) -> None:
        self.geometry_type = geometry_type

    def get_col_spec(self, **_kw: Any) -> str:
        return f"geography({self.geometry_type},4326)"


def uuid() -> TypeEngine[Any]:
    """The type of an id: uuid, or CHAR(32) of lower-case hex digits."""
    return sa.Uuid()


def instant() -> TypeEngine[Any]:
    """The type of an `Instant`: timestamptz, or whole microseconds."""
    return sa.BigInteger().with_variant(sa.TIMESTAMP(timezone=True), "postgresql")


def key(length: int = 64) -> TypeEngine[Any]:
    """The type of a `Key` of at most `length` characters."""
    return sa.String(length).with_variant(sa.String(length, collation="C"), "postgresql")


def choice() -> TypeEngine[Any]:
    """The type of a `Choice`; pair it with `known`."""
    return key(32)


def canonical_json() -> TypeEngine[Any]:
    """The type of a `CanonicalJson`."""
    return sa.Text()


def money() -> TypeEngine[Any]:
    """The type of an amount in whole fen."""
    return sa.BigInteger()


def sealed() -> TypeEngine[Any]:
    """The type of a `SealedBytes`."""
    return sa.LargeBinary()


def point() -> TypeEngine[Any]:
    """The type of a `Point`."""
    return sa.LargeBinary().with_variant(_Geography("POINT"), "postgresql")


def area() -> TypeEngine[Any]:
    """The type of an `Area`."""
    return sa.LargeBinary().with_variant(_Geography("MULTIPOLYGON"), "postgresql")


def known(column: str, values: Iterable[str]) -> sa.CheckConstraint:
    """Make the CHECK `<column>_known` that admits exactly `values`, written as `enum_check` writes it."""
    quoted = ", ".join("'" + value.replace("'", "''") + "'" for value in sorted(values))
    return sa.CheckConstraint(f"{column} IN ({quoted})", name=f"{column}_known")


def is_postgresql() -> bool:
    """Tell whether the migration runs on PostgreSQL; otherwise it runs on SQLite."""
    return op.get_bind().dialect.name == "postgresql"


def execute(*, postgresql: str | None = None, sqlite: str | None = None) -> None:
    """Run the statement meant for this engine, if there is one. Neither colons nor percent signs bind anything."""
    if is_postgresql():
        statement = None if postgresql is None else postgresql.replace("%", "%%")  # psycopg reads % as a placeholder.
    else:
        statement = sqlite
    if statement is not None:
        op.get_bind().exec_driver_sql(statement)


def install_trigger_functions() -> None:
    """Create the functions that PostgreSQL's triggers of this module call; the first revision does it once."""
    execute(
        postgresql="""
        CREATE FUNCTION fieldvisit_refuse() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            RAISE EXCEPTION '% of % is refused: %', TG_OP, TG_TABLE_NAME, TG_ARGV[0] USING ERRCODE = 'integrity_constraint_violation';
        END $$
        """
    )


def remove_trigger_functions() -> None:
    """Drop what `install_trigger_functions` made."""
    execute(postgresql="DROP FUNCTION fieldvisit_refuse()")


def append_only(table: str) -> None:
    """Refuse UPDATE and DELETE on a table, and TRUNCATE where the engine has it. The caller sees an `IntegrityError`."""
    _refuse(table, "no_update", "UPDATE", "the table is append-only")
    forbid_delete(table, "the table is append-only")


def forbid_delete(table: str, reason: str = "rows are kept") -> None:
    """Refuse DELETE on a table, and TRUNCATE where the engine has it."""
    _refuse(table, "no_delete", "DELETE", reason)
    execute(
        postgresql=f"CREATE TRIGGER tr_{table}_no_truncate BEFORE TRUNCATE ON {table} "
        f"FOR EACH STATEMENT EXECUTE FUNCTION fieldvisit_refuse({_literal(reason)})"
    )


def immutable_columns(table: str, columns: Sequence[str]) -> None:
    """Refuse an UPDATE that changes one of `columns`, NULL counting as a value; rewriting the same value passes."""
    reason = f"{', '.join(columns)} never change"
    is_changed = "IS DISTINCT FROM" if is_postgresql() else "IS NOT"
    changes = " OR ".join(f"OLD.{column} {is_changed} NEW.{column}" for column in columns)
    _refuse(table, "immutable", "UPDATE", reason, when=changes)


def refuse_update_when(table: str, name: str, condition: str, reason: str) -> None:
    """Refuse an UPDATE of rows for which `condition`, over OLD and NEW, holds. `condition` means the same on both engines."""
    _refuse(table, name, "UPDATE", reason, when=condition)


def transitions(table: str, *, begins: Sequence[str], follows: Mapping[str, Sequence[str]]) -> None:
    """Let `status` begin as one of `begins` and change only from a key of `follows` to one of its values; any other stays for ever."""
    _refuse(table, "begins", "INSERT", f"its status begins as {' or '.join(begins)}", when=f"NEW.status NOT IN ({_literals(begins)})")
    allowed = " OR ".join(f"(OLD.status = {_literal(status)} AND NEW.status IN ({_literals(after)}))" for status, after in follows.items())
    refuse_update_when(table, "follows", f"OLD.status <> NEW.status AND NOT ({allowed})", "this status does not follow that one")


def set_once(table: str, name: str, columns: Sequence[str]) -> None:
    """Refuse an UPDATE that changes one of `columns` once the first of them holds a value."""
    is_changed = "IS DISTINCT FROM" if is_postgresql() else "IS NOT"
    changes = " OR ".join(f"OLD.{column} {is_changed} NEW.{column}" for column in columns)
    refuse_update_when(table, name, f"OLD.{columns[0]} IS NOT NULL AND ({changes})", f"{', '.join(columns)} are set once")


def demand(table: str, name: str, condition: str, reason: str, *, verbs: Sequence[str] = ("INSERT", "UPDATE")) -> None:
    """Refuse a row for which `condition`, over NEW and any table, does not hold. Unlike `refuse_update_when` it may ask a query."""
    execute(postgresql=f"""
        CREATE FUNCTION fieldvisit_{table}_{name}() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            IF NOT ({condition}) THEN
                RAISE EXCEPTION '% of {table} is refused: {reason}', TG_OP USING ERRCODE = 'integrity_constraint_violation';
            END IF;
            RETURN NEW;
        END $$
    """)
    for verb in verbs:
        execute(
            postgresql=f"CREATE TRIGGER tr_{table}_{name}_{verb.lower()} BEFORE {verb} ON {table} FOR EACH ROW "
            f"EXECUTE FUNCTION fieldvisit_{table}_{name}()",
            sqlite=f"CREATE TRIGGER tr_{table}_{name}_{verb.lower()} BEFORE {verb} ON {table} FOR EACH ROW WHEN NOT ({condition}) "
            f"BEGIN SELECT RAISE(ABORT, '{verb} of {table} is refused: {reason}'); END",
        )


def drop_trigger(table: str, name: str) -> None:
    """Drop a trigger that a function of this module made under `name`."""
    execute(postgresql=f"DROP TRIGGER tr_{table}_{name} ON {table}", sqlite=f"DROP TRIGGER tr_{table}_{name}")


def drop_demand(table: str, name: str, *, verbs: Sequence[str] = ("INSERT", "UPDATE")) -> None:
    """Drop what `demand` made."""
    for verb in verbs:
        drop_trigger(table, f"{name}_{verb.lower()}")
    execute(postgresql=f"DROP FUNCTION fieldvisit_{table}_{name}()")


def grant_app(table: str, *, append_only: bool = False) -> None:
    """Let the application's role read and write a table: SELECT and INSERT, and unless append-only UPDATE and DELETE.

    Mind that PostgreSQL lets nobody SELECT … FOR UPDATE without the right to UPDATE: lock the parent row instead.
    """
    rights = "SELECT, INSERT" if append_only else "SELECT, INSERT, UPDATE, DELETE"
    _grant(f"GRANT {rights} ON {table} TO {APP_ROLE}")


def grant_app_read(table: str) -> None:
    """Let the application's role read a table and no more."""
    _grant(f"GRANT SELECT ON {table} TO {APP_ROLE}")


def create_app_role() -> None:
    """Create the application's role if it is absent and the migrating role may; grants are skipped while it is absent."""
    execute(
        postgresql=f"""
        DO $$
        BEGIN
            IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{APP_ROLE}')
               AND EXISTS (SELECT FROM pg_roles WHERE rolname = current_user AND (rolsuper OR rolcreaterole)) THEN
                CREATE ROLE {APP_ROLE} NOLOGIN;
            END IF;
        EXCEPTION WHEN duplicate_object OR unique_violation THEN
            NULL;  -- Another database of this cluster was being migrated at the same moment.
        END $$
        """
    )
    _grant(f"GRANT USAGE ON SCHEMA public TO {APP_ROLE}")


@contextmanager
def rebuild_table(table: str, *, drops: Collection[str] = ()) -> Iterator[BatchOperations]:
    """Alter a table on both engines; on SQLite by copying it, with its CHECKs, indexes and triggers kept or restored.

    `env.py` switches foreign keys off before the migration's transaction begins and checks them before it commits. A trigger
    that names a dropped column makes the migration fail; drop it first and create its successor afterwards.

    Args:
        drops: The full names of CHECKs, indexes and triggers that the alteration is meant to lose.

    Raises:
        RuntimeError: The table has a CHECK without a name, which SQLite would lose, or something was lost in the copy.
    """
    if is_postgresql():
        with op.batch_alter_table(table, recreate="never") as batch:
            yield batch
        return
    connection = op.get_bind()
    checks = sa.inspect(connection).get_check_constraints(table)
    if any(check["name"] is None for check in checks):
        raise RuntimeError(f"{table} has a CHECK without a name and cannot be rebuilt")
    made_by_hand = _sqlite_statements(connection, table)
    # With it, renaming the copy into place leaves other tables' references and triggers alone.
    connection.exec_driver_sql("PRAGMA legacy_alter_table = ON")
    try:
        with op.batch_alter_table(table, recreate="always") as batch:
            yield batch
    finally:
        connection.exec_driver_sql("PRAGMA legacy_alter_table = OFF")
    left = _sqlite_statements(connection, table)
    for name, statement in made_by_hand.items():
        if name not in left and name not in drops:
            connection.exec_driver_sql(statement)
    kept = {check["name"] for check in sa.inspect(connection).get_check_constraints(table)}
    lost = {check["name"] for check in checks} - kept - set(drops)
    if lost:
        raise RuntimeError(f"rebuilding {table} lost {', '.join(sorted(str(name) for name in lost))}")


def _sqlite_statements(connection: sa.Connection, table: str) -> dict[str, str]:
    """Return the CREATE statements of a table's triggers and indexes by name, in the order of their making."""
    found = connection.exec_driver_sql(
        "SELECT name, sql FROM sqlite_master WHERE tbl_name = ? AND type IN ('index', 'trigger') AND sql IS NOT NULL ORDER BY rowid", (table,)
    )
    return {name: statement for name, statement in found}  # noqa: C416 - rows are not pairs to the type checker.


def _refuse(table: str, suffix: str, verb: str, reason: str, when: str | None = None) -> None:
    name, condition = f"tr_{table}_{suffix}", f"WHEN ({when}) " if when else ""
    execute(
        postgresql=f"CREATE TRIGGER {name} BEFORE {verb} ON {table} FOR EACH ROW {condition}"
        f"EXECUTE FUNCTION fieldvisit_refuse({_literal(reason)})",
        sqlite=f"CREATE TRIGGER {name} BEFORE {verb} ON {table} FOR EACH ROW {condition}"
        f"BEGIN SELECT RAISE(ABORT, {_literal(f'{verb} of {table} is refused: {reason}')}); END",
    )


def _grant(statement: str) -> None:
    execute(postgresql=f"DO $$ BEGIN IF EXISTS (SELECT FROM pg_roles WHERE rolname = '{APP_ROLE}') THEN {statement}; END IF; END $$")


def _literals(texts: Iterable[str]) -> str:
    return ", ".join(_literal(text) for text in texts)


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
