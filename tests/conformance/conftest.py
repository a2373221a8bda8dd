"""A server with a phone beside it."""

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest

from tests.support.engines import SqliteUnderTest
from tests.support.uploading import Place, place_of


@pytest.fixture
def place(sqlite: SqliteUnderTest, tmp_path: Path, now: datetime) -> Iterator[Place]:
    """A place on SQLite: what is signed there does not depend on the engine."""
    from backend.db.engine import session_factory

    with sqlite.clone() as clone:
        engine = clone.engine()
        with place_of(session_factory(engine), tmp_path, now) as made:
            yield made
        engine.dispose()
