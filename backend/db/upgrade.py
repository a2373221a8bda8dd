"""Brings a database to a revision. The configuration is built here, so that an installed wheel needs no file beside it."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy.engine import URL

from backend.db.engine import make_engine

_MIGRATIONS = Path(__file__).parent / "migrations"


def upgrade(url: str | URL, revision: str = "head") -> None:
    """Run every migration from the database's present revision up to `revision`, each in its own transaction."""
    command.upgrade(_config(url), revision)


def downgrade(url: str | URL, revision: str) -> None:
    """Undo migrations down to `revision`, or to `base`."""
    command.downgrade(_config(url), revision)


def current(url: str | URL) -> str | None:
    """Return the database's revision, or None before the first migration."""
    engine = make_engine(url, read_only=True, pool_size=1)
    try:
        with engine.connect() as connection:
            return MigrationContext.configure(connection).get_current_revision()
    finally:
        engine.dispose()


def head() -> str:
    """Return the newest revision this code knows; it serves a database at exactly this one."""
    newest = _scripts().get_current_head()
    assert newest is not None
    return newest


def revisions() -> tuple[str, ...]:
    """Return all revisions in the order in which they are applied."""
    return tuple(reversed([script.revision for script in _scripts().walk_revisions()]))


def _scripts() -> ScriptDirectory:
    return ScriptDirectory(str(_MIGRATIONS))


def _config(url: str | URL) -> Config:
    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    config.attributes["url"] = url
    return config
