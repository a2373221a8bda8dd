"""Runs the migrations: one at a time in a database, each in its own transaction, giving up soon when a table is locked."""

from typing import Any

from alembic import context
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection

from backend.db.base import Base
from backend.db.engine import make_engine, unchecked_references
from backend.db.migrations.schema import include_object

ADVISORY_LOCK = 0x0F1E1D
STATEMENT_TIMEOUT_S = 60


def run(connection: Connection) -> None:
    """Run the wanted migrations on a connection that is in no transaction."""
    is_sqlite = connection.dialect.name == "sqlite"
    context.configure(
        connection=connection,
        target_metadata=_metadata(),
        include_object=include_object,
        transactional_ddl=True,  # True of SQLite as well, once the driver no longer commits by itself.
        transaction_per_migration=True,
        compare_type=True,
        on_version_apply=_check_foreign_keys if is_sqlite else None,
    )
    if not is_sqlite:
        connection.exec_driver_sql(f"SELECT pg_advisory_lock({ADVISORY_LOCK})")
        connection.commit()
    with unchecked_references(connection), context.begin_transaction():
        context.run_migrations()


def _metadata() -> Any:
    # Slices' tables are needed to compare and to generate, by developers; an upgrade needs the naming convention alone.
    if context.config.cmd_opts is not None or context.config.attributes.get("compares", False):
        from backend.db.metadata import load_metadata

        return load_metadata()
    return Base.metadata


def _check_foreign_keys(ctx: MigrationContext, step: Any, heads: Any, run_args: Any) -> None:  # noqa: ARG001 - alembic calls by name.
    assert ctx.connection is not None
    broken = ctx.connection.exec_driver_sql("PRAGMA foreign_key_check").fetchall()
    if broken:
        raise RuntimeError(f"the migration leaves {len(broken)} broken references, first {tuple(broken[0])}")


def main() -> None:
    if context.is_offline_mode():
        raise RuntimeError("migrations look at the database they change; there is no offline mode")
    url = context.config.get_main_option("sqlalchemy.url") or ""
    url = context.get_x_argument(as_dictionary=True).get("url", url)
    engine = make_engine(context.config.attributes.get("url", url), pool_size=1, statement_timeout_s=STATEMENT_TIMEOUT_S)
    try:
        with engine.connect() as connection:
            run(connection)
    finally:
        engine.dispose()  # Closing the connection also gives back the advisory lock.


main()
