"""What a destroyed or rewrapped case key means for sealed files: erased for good, or unchanged where they lie."""

import sqlite3
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from threading import Event
from uuid import UUID

import pytest
from sqlalchemy import select, text, update
from sqlalchemy.orm import Session, sessionmaker

from backend.cli import database as commands
from backend.core.ids import new_id
from backend.core.settings import Settings
from backend.exhibits.commands import verify_store
from backend.exhibits.tables import ItemRow
from backend.keys import sealing
from backend.keys.folder import make_folder
from backend.keys.keyring import Keyring
from backend.keys.model import KeyFolderError, KeyPurpose
from backend.keys.sealing import CaseKeyDestroyed, create_case_key, rewrap, sealer
from backend.keys.tables import CaseKeyRow
from evidence.errors import SealBroken
from evidence.sealing import SealContext, new_key, open_sealed
from tests.support.engines import Database
from tests.support.uploading import KEYRING, PHOTO, Place, place_of


@pytest.fixture
def place(sessions: sessionmaker[Session], tmp_path: Path, now: datetime) -> Iterator[Place]:
    with place_of(sessions, tmp_path, now) as made:
        yield made


def lying(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_EVD_02_a_shredded_case_key_erases_its_files_while_hashes_and_proofs_stay(place: Place, cloned: Database, now: datetime) -> None:
    asked, begun = place.declare(), place.declare(PHOTO + b"x")
    assert place.patch(asked, 0, PHOTO).status_code == 204
    assert place.patch(begun, 0, PHOTO[:70_000]).status_code == 204
    receipt = place.receipt(asked["manifestId"]).json()
    with place.sessions() as session:
        item = session.scalars(select(ItemRow).where(ItemRow.item_id == asked["itemId"])).one()
        assert item.wrapped_key is not None
        assert item.blob_key is not None
        kept_key = item.wrapped_key
        wrapped = session.get_one(CaseKeyRow, item.seal_subject).wrapped
        assert wrapped is not None
        subjects = set(session.scalars(select(ItemRow.seal_subject)))
    _shred(cloned, subjects, now)
    assert _is_gone(wrapped, cloned)
    with place.sessions() as session:
        with pytest.raises(CaseKeyDestroyed):
            sealer(session, KEYRING, item.seal_subject)
        # The item's own key is still in its row, and worth nothing: only the case key opens it, and that is gone everywhere.
        assert session.get_one(CaseKeyRow, item.seal_subject).wrapped is None
        sealed = b"".join(place.resources.store.read(item.blob_key))
    for guess in (kept_key[:32], kept_key[-32:], new_key()):
        with pytest.raises(SealBroken):
            list(open_sealed([sealed], guess, SealContext(tenant=place.resources.settings.tenant, item_sha256=item.sha256)))
    for one in (asked, begun):
        assert place.head(one).status_code == 410, "an upload under a destroyed key cannot go on"
    assert place.receipt(asked["manifestId"]).json() == receipt
    with place.sessions() as session:
        assert verify_store(session, KEYRING, place.resources.store, place.resources.settings.tenant).faults == ()


def test_EVD_09_rewrapping_touches_no_file_and_everything_still_opens(
    sessions: sessionmaker[Session], cloned: Database, tmp_path: Path, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    keyring = Keyring(make_folder(tmp_path / "keys", None, now))
    with place_of(sessions, tmp_path / "data", now, keyring=keyring) as place:
        asked, begun = place.declare(), place.declare(PHOTO + b"x")
        assert place.patch(asked, 0, PHOTO).status_code == 204
        assert place.patch(begun, 0, PHOTO[:70_000]).status_code == 204
        with sessions.begin() as session:
            gone = place_subject(session, keyring, now)
        _shred(cloned, {gone}, now)
        with sessions() as session:
            former = {row.subject_id: (row.master_kid, row.wrapped) for row in session.scalars(select(CaseKeyRow))}
        before = lying(tmp_path / "data" / "evidence")
        newer = keyring.rotate(KeyPurpose.MASTER, now + timedelta(seconds=1))
        settings = Settings(data_folder=tmp_path / "data", key_folder=tmp_path / "keys",
                            database_url=cloned.url.render_as_string(hide_password=False))
        monkeypatch.setattr(sealing.rewrap, "__defaults__", (2,))
        living = sum(wrapped is not None for _, wrapped in former.values())
        assert commands.rewrap_case_keys(settings) == living
        assert commands.rewrap_case_keys(settings) == 0
        with sessions() as session:
            for row in session.scalars(select(CaseKeyRow)):
                kid, wrapped = former[row.subject_id]
                assert (row.master_kid, row.wrapped is None) == (kid if wrapped is None else newer.kid, wrapped is None)
                assert wrapped is None or row.wrapped != wrapped
        assert lying(tmp_path / "data" / "evidence") == before
        assert place.stored(asked) == PHOTO
        assert place.patch(begun, 70_000, (PHOTO + b"x")[70_000:]).status_code == 204
        assert place.stored(begun) == PHOTO + b"x"


def test_a_key_that_was_altered_stops_the_rewrapping(sessions: sessionmaker[Session], tmp_path: Path, now: datetime) -> None:
    keyring = Keyring(make_folder(tmp_path / "keys", None, now))
    with sessions.begin() as session:
        subject = place_subject(session, keyring, now)
        session.execute(update(CaseKeyRow).where(CaseKeyRow.subject_id == subject).values(wrapped=b"x" * 60))
    keyring.rotate(KeyPurpose.MASTER, now + timedelta(seconds=1))
    with pytest.raises(KeyFolderError), sessions.begin() as session:
        rewrap(session, keyring, None)


def place_subject(session: Session, keyring: Keyring, now: datetime) -> UUID:
    subject = new_id()
    create_case_key(session, keyring, subject, now)
    return subject


def _shred(cloned: Database, subjects: set[UUID], now: datetime) -> None:
    """Destroy case keys, as the end of retention does; the guard against doing it earlier has tests of its own."""
    engine = cloned.owner_engine()
    with engine.begin() as connection:
        for guard in ("retention", "custody"):
            connection.execute(text(f"DROP TRIGGER tr_case_keys_{guard}" + (" ON case_keys" if cloned.kind == "postgresql" else "")))
        connection.execute(update(CaseKeyRow).where(CaseKeyRow.subject_id.in_(subjects)).values(wrapped=None, destroyed_at=now))
    engine.dispose()


def _is_gone(wrapped: bytes, cloned: Database) -> bool:
    """Whether the key's bytes left the table's pages. PostgreSQL keeps a dead row as long as any older transaction of the cluster is open."""
    pause, rounds = Event(), 1 if cloned.kind == "sqlite" else 200
    for _ in range(rounds):
        if cloned.kind == "postgresql":
            engine = cloned.owner_engine()
            with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
                connection.execute(text("VACUUM (FULL) case_keys"))
            engine.dispose()
        if wrapped not in _at_rest(cloned):
            return True
        pause.wait(0.1)
    return False


def _at_rest(cloned: Database) -> bytes:
    """Return what the database file holds after a checkpoint; of PostgreSQL what a reader of the table's pages would find."""
    if cloned.kind == "sqlite":
        path = str(cloned.url.database)
        with sqlite3.connect(path) as connection:
            assert connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0] == 0
        connection.close()
        return Path(path).read_bytes()
    engine = cloned.owner_engine()
    with engine.connect() as connection:
        table = connection.execute(text("SELECT pg_read_binary_file(pg_relation_filepath('case_keys'))")).scalar_one()
    engine.dispose()
    return bytes(table)
