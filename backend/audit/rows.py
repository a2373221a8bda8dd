"""What every row of the business says, committed to the transparency log in the transaction that wrote it.

Each commit that touches a covered row leaves, per row, a version number and a digest of all its columns, and one log leaf over
them together. `verify` replays these and compares the last word about each row with what the table says now: a row edited,
deleted or slipped in past the application, triggers off, is named. Shown in docs/audit.md.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from datetime import date, datetime
from enum import Enum
from typing import Any, Final
from uuid import UUID

import rfc8785
from sqlalchemy import event, inspect, select, tuple_
from sqlalchemy.orm import ORMExecuteState, Session

from backend.audit import log
from backend.audit.fault import Fault
from backend.audit.record import ACTED_AT
from backend.audit.tables import LogEntryRow, RowCommitmentRow
from backend.core.clock import system_clock
from backend.core.ids import new_id
from backend.db.base import Base
from evidence.canonical import canonicalise, sha256_hex

COMMITS_ROWS = "commits-rows"       # Key of `Session.info`: this session's commits speak for their rows.
ENTRY_TYPE = "rows"
DELETED = "0" * 64
ROWS_PER_LEAF_MAX = 1_000
_TOUCHED = "touched-rows"
_KEYS_PER_QUERY = 300
_LOADED_PER_TIME = 500

COVERED: Final[Mapping[str, frozenset[str]]] = {
    **dict.fromkeys((
        "placement_batches", "cases", "case_addresses", "case_decisions", "repayments", "contact_records", "hour_agreements", "visit_requests",
        "request_decisions", "visits", "check_ins", "right_party_checks", "visit_entries", "visit_outcomes", "visit_reports", "incidents",
        "visit_exceptions", "visit_reviews", "manifests", "cosign_refusals", "manifest_signatures", "chain_links", "items", "findings", "recordings",
        "evidence_receipts", "evidence_reviews", "visit_samplings", "item_reviews", "item_masks", "legal_holds", "destructions", "productions",
        "packs", "beacons", "copies", "exports", "disputes", "declarations", "suspicions", "fraud_follow_ups", "breaches",
        "authorisation_requests", "cash_hints",
        "receipt_books", "receipt_numbers", "collections", "receipts", "cash_exceptions", "transfers", "handovers", "deposits", "deposit_lines",
        "variances", "statements", "statement_lines", "reconciliations", "corrections", "banks", "mandates", "templates", "designated_accounts",
        "bank_keys", "policies", "staff", "staff_roles", "credentials", "qualifications", "devices", "device_changes",
        "authoriser_duties", "bank_files", "bank_file_rejections", "branch_closes", "branch_close_lines", "direct_payments",
        "invitation_confirmations", "payment_notices", "promises", "proposals", "receipt_book_counts", "receipt_book_takings", "variance_steps",
        "log_witnesses", "log_stamps", "device_renewals",
    ), frozenset[str]()),
    # Triggers move these two with each collection; they are the sum and the number of covered rows.
    "authorisations": frozenset({"collected_fen", "collected_count"}),
}
"""Tables whose rows are committed, with the columns that are left out. Accounts and postings are made by triggers from transfers."""


def digest_of(row: Any) -> str:
    """Return the SHA-256 of a row's columns in canonical form, the same before and after a round trip on either engine."""
    mapper = inspect(type(row))
    left_out = COVERED[mapper.local_table.name]
    columns = {attribute.columns[0].name: _plain(getattr(row, attribute.key)) for attribute in mapper.column_attrs
               if attribute.columns[0].name not in left_out}
    return hashlib.sha256(rfc8785.dumps(columns)).hexdigest()


def key_of(row: Any) -> str:
    """Return a row's primary key as text."""
    return "/".join(str(_plain(value)) for value in inspect(type(row)).primary_key_from_instance(row))


def adopt(session: Session, now: datetime) -> int:
    """Commit every covered row that no commitment speaks for, as it stands; returns how many. Once, after an upgrade from before."""
    spoken_for = {(table, key) for table, key in session.execute(select(RowCommitmentRow.table_name, RowCommitmentRow.row_key).distinct())}
    found = [(table, key, 1, digest) for table, key, digest in _rows_now(session) if (table, key) not in spoken_for]
    _commit(session, found, now)
    return len(found)


def verify(session: Session) -> tuple[int, tuple[Fault, ...]]:
    """Compare the last commitment about each covered row with the row; returns the number of rows and every fault."""
    faults: list[Fault] = []
    said = _replayed(session, faults)
    rows = 0
    for table, key, digest in _rows_now(session):
        rows += 1
        known = said.pop((table, key), None)
        if known is None:
            faults.append(Fault(f"{table}:{key}", "row-unaccounted"))
        elif known[1] != digest:
            faults.append(Fault(f"{table}:{key}", "row-returned" if known[1] == DELETED else "row-altered"))
    faults.extend(Fault(f"{table}:{key}", "row-missing") for (table, key), (_, digest) in sorted(said.items()) if digest != DELETED)
    return rows, tuple(faults)


def _replayed(session: Session, faults: list[Fault]) -> dict[tuple[str, str], tuple[int, str]]:
    """Return the last version and digest said of each row, after each commitment was compared with its log entry."""
    said: dict[tuple[str, str], tuple[int, str]] = {}
    versions: dict[tuple[str, str], int] = {}
    logged = {row.id: row.payload_sha256 for row in session.execute(
        select(LogEntryRow.id, LogEntryRow.payload_sha256).where(LogEntryRow.entry_type == ENTRY_TYPE))}
    query = select(RowCommitmentRow).order_by(
        RowCommitmentRow.log_entry_id, RowCommitmentRow.table_name, RowCommitmentRow.row_key, RowCommitmentRow.version)
    for entry_id, rows in _grouped(session.scalars(query.execution_options(yield_per=2_000))):
        if logged.pop(entry_id, None) != sha256_hex(_payload(rows)):
            faults.append(Fault(f"rows:{entry_id}", "commitment-altered"))
        for table, key, version, digest in rows:
            versions[table, key] = versions.get((table, key), 0) + 1
            if version > said.get((table, key), (0, ""))[0]:
                said[table, key] = (version, digest)
    faults.extend(Fault(f"rows:{entry_id}", "commitment-missing") for entry_id in logged)
    faults.extend(Fault(f"{table}:{key}", "version-missing") for (table, key), (last, _) in said.items() if versions[table, key] != last)
    return said


def _grouped(rows: Iterable[RowCommitmentRow]) -> Iterator[tuple[UUID, list[tuple[str, str, int, str]]]]:
    entry_id, group = None, list[tuple[str, str, int, str]]()
    for row in rows:
        if row.log_entry_id != entry_id:
            if entry_id is not None:
                yield entry_id, group
            entry_id, group = row.log_entry_id, []
        group.append((row.table_name, row.row_key, row.version, row.digest))
    if entry_id is not None:
        yield entry_id, group


def _rows_now(session: Session) -> Iterator[tuple[str, str, str]]:
    for mapper in sorted(Base.registry.mappers, key=lambda one: one.local_table.name):  # type: ignore[attr-defined]
        table = mapper.local_table.name  # type: ignore[attr-defined]
        if table in COVERED:
            for row in session.scalars(select(mapper.class_).execution_options(yield_per=_LOADED_PER_TIME, populate_existing=True)):
                yield table, key_of(row), digest_of(row)
                session.expunge(row)


def _payload(rows: Iterable[tuple[str, str, int, str]]) -> bytes:
    return canonicalise({"rows": [list(row) for row in sorted(rows)]})


def _commit(session: Session, said: list[tuple[str, str, int, str]], now: datetime) -> None:
    for start in range(0, len(said), ROWS_PER_LEAF_MAX):
        group = said[start:start + ROWS_PER_LEAF_MAX]
        entry_id = log.append(session, ENTRY_TYPE, _payload(group), now)
        session.add_all(
            RowCommitmentRow(id=new_id(), table_name=table, row_key=key, version=version, digest=digest, log_entry_id=entry_id)
            for table, key, version, digest in group)
    session.flush()


def _plain(value: Any) -> Any:
    """Bring a value to the one form that it has before it is written and after it was read."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, UUID):
        return str(value)
    if isinstance(value, datetime):
        return str((value - _EPOCH) // _MICROSECOND)
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, bytes | memoryview):
        return hashlib.sha256(value).hexdigest()
    if isinstance(value, dict | list) or (isinstance(value, tuple) and type(value) is tuple):
        return rfc8785.dumps(value).decode()
    if isinstance(value, str):
        return value
    return str(value) if isinstance(value, int) else repr(value)


def _note(session: Session, _context: Any) -> None:
    """Remember which covered rows a flush writes."""
    if not session.info.get(COMMITS_ROWS):
        return
    touched: dict[tuple[str, str], Any] = session.info.setdefault(_TOUCHED, {})
    for row in (*session.new, *session.dirty, *session.deleted):
        table = inspect(type(row)).local_table.name
        if table in COVERED:
            touched[table, key_of(row)] = row


def _note_many(state: ORMExecuteState) -> None:
    """Remember which covered rows an UPDATE or DELETE past the unit of work writes."""
    mapper = state.bind_mapper
    if not (state.is_update or state.is_delete) or mapper is None or not state.session.info.get(COMMITS_ROWS):
        return
    if mapper.local_table.name not in COVERED:  # type: ignore[attr-defined]
        return
    wanted = select(mapper.class_)
    where = getattr(state.statement, "whereclause", None)
    found = state.session.scalars(wanted if where is None else wanted.where(where), params=state.parameters).all()
    touched = state.session.info.setdefault(_TOUCHED, {})
    for row in found:
        touched[mapper.local_table.name, key_of(row)] = row  # type: ignore[attr-defined]
        state.session.info.setdefault(_STALE, []).append(row)


def _speak(session: Session) -> None:
    """Commit what the transaction made of its rows, as the last thing before it commits."""
    if not session.info.get(COMMITS_ROWS):
        return
    session.flush()
    for row in session.info.pop(_STALE, []):
        if inspect(row).persistent:
            session.expire(row)
    touched: dict[tuple[str, str], Any] = session.info.pop(_TOUCHED, {})
    if not touched:
        return
    heads = _heads(session, list(touched))
    said = []
    for (table, key), row in sorted(touched.items(), key=lambda one: one[0]):
        version, digest = heads.get((table, key), (0, DELETED))
        now_says = _state_of(session, row)
        if now_says != digest:
            said.append((table, key, version + 1, now_says))
    if said:
        _commit(session, said, session.info.get(ACTED_AT) or system_clock())


def _state_of(session: Session, row: Any) -> str:
    state = inspect(row)
    if state.deleted or state.was_deleted or not state.persistent:
        return DELETED
    if state.expired and session.get(type(row), state.identity) is None:
        return DELETED
    return digest_of(row)


def _heads(session: Session, keys: list[tuple[str, str]]) -> dict[tuple[str, str], tuple[int, str]]:
    heads: dict[tuple[str, str], tuple[int, str]] = {}
    for start in range(0, len(keys), _KEYS_PER_QUERY):
        query = select(RowCommitmentRow.table_name, RowCommitmentRow.row_key, RowCommitmentRow.version, RowCommitmentRow.digest).where(
            tuple_(RowCommitmentRow.table_name, RowCommitmentRow.row_key).in_(keys[start:start + _KEYS_PER_QUERY]))
        for table, key, version, digest in session.execute(query.order_by(RowCommitmentRow.version)):
            heads[table, key] = (version, digest)
    return heads


def _forget(session: Session) -> None:
    if session.in_nested_transaction():
        return                                       # Only a part is undone: what was written before it stands, and is asked for at the commit.
    session.info.pop(_TOUCHED, None)
    session.info.pop(_STALE, None)


_STALE = "stale-rows"
_EPOCH = datetime.fromisoformat("1970-01-01T00:00:00+00:00")
_MICROSECOND = datetime.resolution
event.listen(Session, "after_flush", _note)
event.listen(Session, "do_orm_execute", _note_many)
event.listen(Session, "before_commit", _speak)
event.listen(Session, "after_rollback", _forget)
