"""Whatever is changed behind the application's back, triggers off and with the owner's rights, is found by `audit verify`: on both engines."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Connection, delete, func, select, text, update
from sqlalchemy.orm import Session, sessionmaker

from backend.audit import rows
from backend.audit.tables import RowCommitmentRow
from backend.audit.verify import AuditReport, verify
from backend.cases.tables import CaseRow
from backend.db.engine import session_factory, unchecked_references
from backend.staff.tables import CredentialRow
from backend.visits.tables import VisitRow
from backend.web.transaction import attach_log, transaction
from tests.support.cash import door
from tests.support.engines import AnyEngine, Database
from tests.support.world import FRIDAY, World, shared_keyring, world

KEYRING = shared_keyring()
ORIGIN = "fieldvisit/test"


@dataclass
class Office:
    """A committed day of business, and a database owner with bad intentions whose every attempt is taken back afterwards."""

    database: Database
    sessions: sessionmaker[Session]
    made: World
    case_id: Any

    def check(self, connection: Connection | None = None) -> AuditReport:
        with self.sessions() if connection is None else Session(connection) as session:
            return verify(session, KEYRING, ORIGIN, with_rows=True)

    def faults_after(self, *statements: str) -> set[tuple[str, str]]:
        """Return what is found after the owner ran these with every trigger and foreign key switched off."""
        engine = self.database.owner_engine()
        try:
            with engine.connect() as connection, unchecked_references(connection), connection.begin() as attempt:
                if connection.dialect.name == "postgresql":
                    connection.execute(text("SET LOCAL session_replication_role = replica"))
                else:
                    for (name,) in connection.exec_driver_sql("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
                        connection.exec_driver_sql(f"DROP TRIGGER {name}")
                for statement in statements:
                    assert connection.execute(text(statement)).rowcount > 0, statement
                found = {(fault.subject.split(":")[0], fault.code) for fault in self.check(connection).faults}
                attempt.rollback()
                return found
        finally:
            engine.dispose()


@pytest.fixture(scope="module")
def office(database: AnyEngine) -> Iterator[Office]:
    with database.clone() as clone:
        engine = clone.engine()
        sessions = session_factory(engine)
        attach_log(sessions, KEYRING, ORIGIN)
        with transaction(sessions, None, FRIDAY) as session:
            made = world(session, KEYRING, FRIDAY)
        with transaction(sessions, None, FRIDAY) as session:
            at = door(session, KEYRING, made)
            session.get_one(VisitRow, at.visit_id).ended_at = FRIDAY - timedelta(minutes=1)
            at.take(at.lease()[0], 300, at.authorise())
        yield Office(clone, sessions, made, at.case_id)
        engine.dispose()


def test_EVD_09_an_untouched_day_verifies_and_every_covered_row_is_spoken_for(office: Office) -> None:
    report = office.check()
    assert report.faults == ()
    assert report.rows > 40


EDITS = {
    "a visit's outcome": ("UPDATE visits SET outcome = 'nobody_met', outcome_at = ended_at", ("visits", "row-altered")),
    "a visit's time": ("UPDATE visits SET ended_at = started_at", ("visits", "row-altered")),
    "a case's amount": ("UPDATE cases SET amount_fen = amount_fen + 1", ("cases", "row-altered")),
    "a receipt's amount": ("UPDATE receipts SET amount_fen = 299", ("receipts", "row-altered")),
    "a collection's amount": ("UPDATE collections SET amount_fen = 299", ("collections", "row-altered")),
    "a transfer's amount": ("UPDATE transfers SET amount_fen = 299", ("transfers", "row-altered")),
    "an authorisation's cap": ("UPDATE authorisations SET cap_fen = cap_fen + 1", ("authorisations", "row-altered")),
    "a deleted file's row": ("DELETE FROM items", ("items", "row-missing")),
    "a deleted finding": ("DELETE FROM findings", ("findings", "row-missing")),
    "a statement's standing": ("UPDATE manifests SET standing = 'doubtful'", ("manifests", "row-altered")),
    "whose phone it is": ("UPDATE devices SET model = 'another'", ("devices", "row-altered")),
    "a deleted exception": ("DELETE FROM receipts", ("receipts", "row-missing")),
    "a role given": ("UPDATE staff_roles SET role = 'operator'", ("staff_roles", "row-altered")),
}


@pytest.mark.parametrize("what", EDITS)
def test_EVD_09_a_row_changed_behind_the_application_is_named(office: Office, what: str) -> None:
    statement, fault = EDITS[what]
    assert fault in office.faults_after(statement)


def test_EVD_09_a_row_slipped_in_is_named(office: Office) -> None:
    columns = ", ".join(column.name for column in CaseRow.__table__.columns if column.name not in ("id", "bank_reference"))
    other = "'0199a000000070008000000000000099'" if office.database.kind == "sqlite" else "'0199a000-0000-7000-8000-000000000099'"
    forged = f"INSERT INTO cases (id, bank_reference, {columns}) SELECT {other}, 'forged', {columns} FROM cases LIMIT 1"
    assert ("cases", "row-unaccounted") in office.faults_after(forged)


@pytest.mark.parametrize(("statement", "code"), [
    ("UPDATE row_commitments SET digest = 'f' WHERE table_name = 'visits'", "commitment-altered"),
    ("DELETE FROM row_commitments WHERE table_name = 'visits'", "commitment-altered"),
    ("DELETE FROM row_commitments", "commitment-missing"),
])
def test_EVD_09_who_covers_the_tracks_in_the_commitments_is_found_by_the_log(office: Office, statement: str, code: str) -> None:
    assert code in {fault for _, fault in office.faults_after("UPDATE visits SET ended_at = started_at", statement)}


def test_EVD_09_who_rewrites_the_log_entry_too_is_found_by_its_signed_tree(office: Office) -> None:
    found = office.faults_after(
        "DELETE FROM row_commitments WHERE table_name = 'visits'", "UPDATE log_entries SET salted_sha256 = payload_sha256 WHERE entry_type = 'rows'")
    assert "leaf-altered" in {fault for _, fault in found}


def test_EVD_09_update_and_delete_past_the_unit_of_work_speak_for_their_rows_too(office: Office) -> None:
    with transaction(office.sessions, None, FRIDAY) as session:
        session.execute(update(CaseRow).where(CaseRow.id == office.case_id).values(is_urgent=True))
        session.execute(delete(CredentialRow).where(CredentialRow.staff_id == office.made.zhen.id))
    assert office.check().faults == ()


def test_EVD_09_what_is_rolled_back_says_nothing(office: Office) -> None:
    with office.sessions() as session:
        before = session.scalar(select(func.count()).select_from(RowCommitmentRow))
        session.get_one(CaseRow, office.case_id).priority = 1
        session.flush()
        session.rollback()
    with office.sessions.begin() as session:
        undone = session.begin_nested()
        session.get_one(CaseRow, office.case_id).priority = 1
        session.flush()
        undone.rollback()
    with office.sessions() as session:
        assert session.scalar(select(func.count()).select_from(RowCommitmentRow)) == before
    assert office.check().faults == ()


def test_EVD_09_what_was_written_before_an_undone_part_is_still_spoken_for(office: Office) -> None:
    with office.sessions.begin() as session:
        case = session.get_one(CaseRow, office.case_id)
        case.priority = 4 if case.priority != 4 else 5
        undone = session.begin_nested()
        case.is_urgent = not case.is_urgent
        session.flush()
        undone.rollback()
    assert office.check().faults == ()


def test_EVD_09_rows_from_before_are_adopted_once_and_watched_from_then_on(cloned: Database, sessions: sessionmaker[Session]) -> None:
    with sessions.begin() as session:                            # Nothing speaks for rows yet.
        made = world(session, KEYRING, FRIDAY)
    attach_log(sessions, KEYRING, ORIGIN)
    office = Office(cloned, sessions, made, None)
    assert ("staff", "row-unaccounted") in {(fault.subject.split(":")[0], fault.code) for fault in office.check().faults}
    for expects_some in (True, False):
        with transaction(sessions, None, FRIDAY) as session:
            assert (rows.adopt(session, FRIDAY) > 0) is expects_some
    assert office.check().faults == ()
    assert ("staff", "row-altered") in office.faults_after("UPDATE staff SET name = 'Somebody'")
