"""The audit chain and the log find every change made behind their backs, on both engines."""

from datetime import datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session, sessionmaker

from backend.archive import tasks as archive_tasks
from backend.audit import log
from backend.audit.events import EventTag
from backend.audit.record import record
from backend.audit.verify import anchor, verify
from backend.core.ids import new_id
from backend.core.settings import Settings
from backend.keys.folder import make_folder
from backend.keys.keyring import Keyring
from backend.keys.model import KeyPurpose
from evidence import merkle, translog

ORIGIN = "log.example"


@pytest.fixture
def keyring(tmp_path: Path, now: datetime) -> Keyring:
    return Keyring(make_folder(tmp_path / "keys", None, now))


def act(sessions: sessionmaker[Session], now: datetime, subject: str = "case:1") -> None:
    with sessions.begin() as session:
        record(session, None, EventTag.CASE_OPENED, subject, now, batch=new_id())
        log.append(session, "manifest", b"payload", now)


def test_untouched_rows_verify(joined: sessionmaker[Session], keyring: Keyring, now: datetime) -> None:
    for number in range(9):
        act(joined, now, f"case:{number % 2}")
        log.sequence(joined, keyring, ORIGIN, now)
    with joined.begin() as session:
        assert anchor(session, now)
        assert not anchor(session, now)
    log.sequence(joined, keyring, ORIGIN, now)
    with joined() as session:
        report = verify(session, keyring, ORIGIN)
    assert report.faults == ()
    assert (report.entries, report.chains, report.log_size, report.checkpoints) == (9, 2, 10, 10)


def test_the_sweep_anchors_what_moved_and_a_chain_cut_with_its_head_is_found(
    joined: sessionmaker[Session], keyring: Keyring, now: datetime,
) -> None:
    class Means:
        sessions, origin, settings = joined, ORIGIN, Settings()
        clock = staticmethod(lambda: at[0])

    Means.keyring = keyring  # type: ignore[attr-defined]
    at = [now]
    (chore,) = [one for one in archive_tasks.chores(Means()) if one.name == archive_tasks.ANCHOR]  # type: ignore[arg-type]
    sizes = []
    for hours in (0, 1, 2, 30, 60):
        at[0] = now + timedelta(hours=hours)
        if hours != 1:
            act(joined, at[0], "case:1" if hours < 60 else "case:2")
        chore.run()
        chore.run()                                                       # Nothing moved: nothing is said.
        with joined() as session:
            sizes.append(log.size_of(session))
    assert sizes == [2, 2, 4, 6, 8]
    with joined() as session:
        assert verify(session, keyring, ORIGIN).faults == ()
    with joined.begin() as session:
        for table in ("audit_entries", "audit_heads"):
            _disarm(session, table)
            session.execute(text(f"DELETE FROM {table} WHERE subject = 'case:2'"))
    with joined() as session:
        assert [(fault.subject, fault.code) for fault in verify(session, keyring, ORIGIN).faults] == [("case:2#1", "anchored-entry-missing")]
    assert archive_tasks.ANCHOR_EVERY_S <= 3600


def test_a_proof_verifies_offline_and_trees_are_consistent(joined: sessionmaker[Session], keyring: Keyring, now: datetime) -> None:
    ids = []
    for number in range(7):
        with joined.begin() as session:
            ids.append(log.append(session, "manifest", f"payload {number}".encode(), now))
            assert log.proof_of(session, ids[-1]) is None
        log.sequence(joined, keyring, ORIGIN, now)
    with joined() as session:
        for number, entry_id in enumerate(ids):
            proof = log.proof_of(session, entry_id)
            assert proof is not None
            assert translog.verify_proof(proof, f"payload {number}".encode(), ORIGIN, keyring.log_public_key()).size == 7
        old, new = (translog.parse_checkpoint(log.checkpoint_at(session, size) or "") for size in (3, 7))
        merkle.demand_consistency((3, old.root), (7, new.root), log.consistency_path(session, 3, 7))


def test_a_rotated_log_key_leaves_what_was_signed_before_it_valid(
    joined: sessionmaker[Session], keyring: Keyring, now: datetime, tmp_path: Path
) -> None:
    act(joined, now)
    log.sequence(joined, keyring, ORIGIN, now)
    keyring.rotate(KeyPurpose.LOG, now)
    act(joined, now)
    log.sequence(joined, keyring, ORIGIN, now)
    with joined() as session:
        assert verify(session, keyring, ORIGIN).faults == ()
        others = Keyring(make_folder(tmp_path / "others", None, now))
        assert {fault.code for fault in verify(session, others, ORIGIN).faults} == {"checkpoint-invalid"}


@pytest.mark.parametrize(
    ("statement", "code"),
    [
        ("UPDATE audit_entries SET tag = 'case.changed' WHERE seq = 2", "entry-altered"),
        ("DELETE FROM audit_entries WHERE seq = 2", "entry-missing-before"),
        ("DELETE FROM audit_entries WHERE seq = 3", "head-differs"),
        ("UPDATE log_nodes SET hash = (SELECT leaf_hash FROM log_entries WHERE tree_index = 0) WHERE level = 0 AND position = 1", "leaf-altered"),
        ("UPDATE log_checkpoints SET text = replace(text, '1', '2') WHERE size = 1", "checkpoint-invalid"),
        ("DELETE FROM audit_anchors", "anchor-missing"),
    ],
)
def test_ARCH_09_a_change_behind_the_triggers_is_found(
    joined: sessionmaker[Session], keyring: Keyring, now: datetime, statement: str, code: str
) -> None:
    for _ in range(3):
        act(joined, now)
        log.sequence(joined, keyring, ORIGIN, now)
    with joined.begin() as session:
        anchor(session, now)
    log.sequence(joined, keyring, ORIGIN, now)
    with joined.begin() as session:
        _disarm(session, statement.split()[1 if statement.startswith("UPDATE") else 2])
        session.execute(text(statement))
    with joined() as session:
        assert code in {fault.code for fault in verify(session, keyring, ORIGIN).faults}


def test_ARCH_09_an_entry_about_nothing_that_is_known_is_refused_and_found(
    joined: sessionmaker[Session], keyring: Keyring, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    with joined() as session, pytest.raises(AssertionError):
        log.append(session, "gossip", b"payload", now)
    with monkeypatch.context() as looser, joined.begin() as session:
        looser.setattr(log, "ENTRY_TYPES", log.ENTRY_TYPES | {"gossip"})
        log.append(session, "gossip", b"payload", now)
    log.sequence(joined, keyring, ORIGIN, now)
    with joined() as session:
        assert {fault.code for fault in verify(session, keyring, ORIGIN).faults} == {"entry-type-unknown"}


@pytest.mark.parametrize("statement", ["UPDATE {} SET {} = NULL", "DELETE FROM {}"])
@pytest.mark.parametrize(
    ("table", "column"),
    [("audit_entries", "tag"), ("log_nodes", "hash"), ("log_checkpoints", "text"), ("log_entries", "leaf_hash"), ("audit_heads", "")],
)
def test_EVD_09_the_database_itself_refuses_changes(
    joined: sessionmaker[Session], keyring: Keyring, now: datetime, table: str, column: str, statement: str
) -> None:
    act(joined, now)
    log.sequence(joined, keyring, ORIGIN, now)
    if column or statement.startswith("DELETE"):
        with joined() as session, pytest.raises(DBAPIError, match=r"refused|denied"):
            session.execute(text(statement.format(table, column)))


def _disarm(session: Session, table: str) -> None:
    """Do what an attacker with the owner's rights would."""
    if session.get_bind().dialect.name == "sqlite":
        for (name,) in session.execute(text("SELECT name FROM sqlite_master WHERE type = 'trigger' AND tbl_name = :t"), {"t": table}).all():
            session.execute(text(f"DROP TRIGGER {name}"))
    else:
        session.execute(text("SET ROLE NONE"))
        session.execute(text(f"ALTER TABLE {table} DISABLE TRIGGER USER"))
