"""Files that banks send about money: CSV or XLSX, with control totals, judged row by row, the same file twice being one import.

Headings are English or Chinese and may stand in any order. Texts are UTF-8 or GB18030, amounts yuan with at most two decimals, days
`2026-11-27`, `2026/11/27` or `20261127`. Reading is pure; `keep` stores what became of a file.
"""

import csv
import hashlib
import io
from collections.abc import Iterable, Mapping
from datetime import date, datetime
from typing import Final
from uuid import UUID

import msgspec
from sqlalchemy import ColumnElement, and_, or_, select, true
from sqlalchemy.orm import Session

from backend.auth.actors import Actor
from backend.auth.authorise import authorise, may
from backend.auth.permissions import Permission
from backend.banks.model import AmountStyle, DateStyle
from backend.banks.tables import BankRow
from backend.cases.layout import (
    CELL_CHARACTERS_MAX,
    COLUMNS_MAX,
    ROWS_MAX,
    Acceptance,
    BatchOutcome,
    ControlTotalsMismatch,
    detect_encoding,
    parse_amount,
    parse_date,
)
from backend.cases.placement import Rejection
from backend.cases.sheets import Rows
from backend.cash.model import FileKind
from backend.cash.tables import BankFileRejectionRow, BankFileRow
from backend.core.fen import FEN_MAX, Fen
from backend.core.i18n import N_
from backend.core.ids import BankId, StaffId, new_id
from backend.core.problems import NotFound, Problem

FILE_BYTES_MAX: Final = 20_000_000
WHOLE_BANK: Final = "all"
_CELL_SHOWN_MAX = 40
_EARLIEST_ON = date(1970, 1, 1)


class FileUnreadable(Problem):
    """The file is no table of the kind it is sent as: nothing of it was taken in."""

    status, code, title = 422, "bank-file-unreadable", N_("The file cannot be read as this kind of bank file.")
    explanation = N_("The details name the line, what was expected and what was got. Nothing of the file was booked.")


class FileRefused(Problem):
    """Some rows are bad and the file was to be taken whole or not at all; the rejections are kept under `file_id`."""

    status, code, title = 422, "bank-file-refused", N_("Rows of the bank's file were rejected, and it was to be taken whole or not at all.")
    explanation = N_("Fetch the rejection file, let the bank correct the rows, or import again accepting the good rows only.")


class BankFile(msgspec.Struct, frozen=True, kw_only=True):
    """A bank's file with what the bank declared about it. `rows` of a workbook are read before; `content` is then its digest's alone."""

    bank_id: BankId
    content: bytes
    row_count: int
    amount_total_fen: Fen
    acceptance: Acceptance = Acceptance.ALL_OR_NOTHING
    as_of_on: date | None = None         # Of repayments: every one booked up to the end of this day is in the file.
    rows: Rows | None = None

    @property
    def digest(self) -> str:
        """SHA-256 of the file as it was sent."""
        return hashlib.sha256(self.content).hexdigest()


class Table(msgspec.Struct, frozen=True, kw_only=True):
    """A file as a table: for each row below the heading, counted from 1, its cells by our column names."""

    encoding: str
    rows: tuple[tuple[int, Mapping[str, str]], ...]
    rejections: tuple[Rejection, ...]
    row_count: int


class FileView(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What became of a bank's file."""

    id: UUID
    kind: FileKind
    bank_id: BankId
    file_sha256: str
    encoding: str
    acceptance: Acceptance
    outcome: BatchOutcome
    row_count: int
    accepted_count: int
    rejected_count: int
    total_fen: Fen
    accepted_fen: Fen
    as_of_on: date | None
    imported_by: StaffId
    imported_at: datetime


def read_table(file: BankFile, headings: Mapping[str, tuple[str, ...]]) -> Table:
    """Read a file whose columns are named by one of `headings` each.

    Raises:
        FileUnreadable: encoding, heading, or more than is read.
    """
    records, encoding = ([list(row) for row in file.rows], "xlsx") if file.rows is not None else _csv_records(file.content)
    if not records:
        raise FileUnreadable(line=1, expected="a heading", got="nothing")
    names = [cell.strip().casefold() for cell in records[0]]
    places: dict[str, int] = {}
    for column, known in headings.items():
        found = [place for place, name in enumerate(names) if name in known]
        if len(found) != 1:
            raise FileUnreadable(line=1, expected=" | ".join(known), got="no such column" if not found else "several")
        places[column] = found[0]
    rows, rejections = [], []
    for number, record in enumerate(records[1:], start=1):
        if len(record) != len(names):
            rejections.append(rejected(number, "", "column-count", str(len(names)), str(len(record))))
            continue
        rows.append((number, {column: record[place].strip() for column, place in places.items()}))
    return Table(encoding=encoding, rows=tuple(rows), rejections=tuple(rejections), row_count=len(records) - 1)


def amount_of(text: str) -> Fen | None:
    """Return an amount above zero, None when it is none."""
    amount = parse_amount(text, AmountStyle.YUAN)
    return amount if amount is not None and 0 < amount <= FEN_MAX else None


def day_of(text: str) -> date | None:
    """Return a day, None when it is none on which a bank could have booked anything."""
    day = next((day for style in (DateStyle.ISO, DateStyle.SLASH, DateStyle.COMPACT) if (day := parse_date(text, style)) is not None), None)
    return day if day is not None and day >= _EARLIEST_ON else None


def rejected(number: int, column: str, code: str, expected: str, got: str) -> Rejection:
    """Return one reason against one row."""
    return Rejection(row_number=number, column=column, code=code, expected=expected, got=got[:_CELL_SHOWN_MAX])


def demand_totals(file: BankFile, table: Table, amounts: Iterable[str]) -> Fen:
    """Return the sum of the amounts that can be read; refuse a file that differs from what the bank declared.

    Raises:
        ControlTotalsMismatch: count or sum differ.
    """
    total = sum(amount_of(one) or 0 for one in amounts)
    if (table.row_count, total) != (file.row_count, file.amount_total_fen):
        raise ControlTotalsMismatch(
            row_count_declared=file.row_count, row_count_found=table.row_count, amount_declared_fen=file.amount_total_fen, amount_found_fen=total)
    return Fen(total)


def lock_bank(session: Session, bank_id: BankId) -> None:
    """Let one file of a bank be taken in at a time: of two imports of the same file the second waits and finds the first."""
    session.execute(select(BankRow.id).where(BankRow.id == bank_id).with_for_update(key_share=True))


def scope_of(actor: Actor, kind: FileKind) -> str:
    """Return whose rows an import by `actor` can take in: a statement's are the whole bank's, repayments those of the actor's own cases."""
    if kind is FileKind.STATEMENT or actor.bank is not None or actor.sees_every_branch:
        return WHOLE_BANK
    return hashlib.sha256(" ".join(sorted(str(one) for one in actor.branches)).encode()).hexdigest()


def earlier(session: Session, actor: Actor, file: BankFile, kind: FileKind) -> BankFileRow | None:
    """Return the import of the same file that stands: the one that took it in, else the one that refused it in the same way.

    Another branch's import is none: it took in other rows, and tells nothing to people of this one.
    """
    rows = session.scalars(select(BankFileRow).where(
        BankFileRow.bank_id == file.bank_id, BankFileRow.kind == kind, BankFileRow.file_sha256 == file.digest,
        BankFileRow.scope == scope_of(actor, kind))).all()
    taken = [row for row in rows if row.outcome is BatchOutcome.IMPORTED]
    return next(iter(taken + [row for row in rows if row.acceptance is file.acceptance]), None)


def keep(
    session: Session, actor: Actor, file: BankFile, kind: FileKind, table: Table, *, rejections: tuple[Rejection, ...], accepted: list[Fen],
    now: datetime,
) -> BankFileRow:
    """Store what becomes of a file. It is refused when nothing in it is good, or something is bad and it was to be taken whole."""
    is_refused = bool(rejections) and (not accepted or file.acceptance is Acceptance.ALL_OR_NOTHING)
    taken = [] if is_refused else accepted
    row = BankFileRow(
        id=new_id(), kind=kind, bank_id=file.bank_id, file_sha256=file.digest, encoding=table.encoding, acceptance=file.acceptance,
        scope=scope_of(actor, kind),
        outcome=BatchOutcome.REFUSED if is_refused else BatchOutcome.IMPORTED, row_count=table.row_count, accepted_count=len(taken),
        rejected_count=table.row_count - len(taken), total_fen=file.amount_total_fen, accepted_fen=sum(taken), as_of_on=file.as_of_on,
        imported_by=actor.id, imported_at=now,
    )
    session.add(row)
    session.flush()
    session.add_all(
        BankFileRejectionRow(file_id=row.id, position=place, row_number=one.row_number, column_name=one.column, code=one.code,
                             expected=one.expected, got=one.got)
        for place, one in enumerate(sorted(rejections, key=lambda one: one.row_number), start=1)
    )
    session.flush()
    return row


def visible_to(actor: Actor) -> ColumnElement[bool]:
    """Return the condition on `BankFileRow` that holds for what `actor` may see: statements are about a bank, repayments about branches' cases.

    Clerks see what they may import; who reads the books sees every kind.
    """
    if actor.bank is not None:
        return BankFileRow.bank_id == actor.bank
    if actor.sees_every_branch:
        return true()
    own = and_(BankFileRow.kind == FileKind.REPAYMENTS, BankFileRow.scope == scope_of(actor, FileKind.REPAYMENTS))
    return or_(own, BankFileRow.kind == FileKind.STATEMENT) if may(actor, Permission.CASH_READ) else own


def list_files(session: Session, actor: Actor, *, limit: int, after: UUID | None) -> list[FileView]:
    """Return at most `limit` + 1 files after a cursor, oldest first; a bank sees its own alone."""
    authorise(actor, Permission.CASH_READ, Permission.BATCH_IMPORT)
    query = select(BankFileRow).where(visible_to(actor))
    if after is not None:
        query = query.where(BankFileRow.id > after)
    return [view_of(row) for row in session.scalars(query.order_by(BankFileRow.id).limit(limit + 1))]


def rejections_of(session: Session, actor: Actor, file_id: UUID) -> tuple[Rejection, ...]:
    """Return every reason against rows of a file, in its order. Raises `NotFound` for another bank's."""
    authorise(actor, Permission.CASH_READ, Permission.BATCH_IMPORT)
    if session.scalar(select(BankFileRow.id).where(BankFileRow.id == file_id, visible_to(actor))) is None:
        raise NotFound
    rows = session.scalars(select(BankFileRejectionRow).where(BankFileRejectionRow.file_id == file_id).order_by(BankFileRejectionRow.position))
    return tuple(
        Rejection(row_number=row.row_number, column=row.column_name, code=row.code, expected=row.expected, got=row.got) for row in rows
    )


def view_of(row: BankFileRow) -> FileView:
    """Return what became of a file."""
    return FileView(
        id=row.id, kind=row.kind, bank_id=BankId(row.bank_id), file_sha256=row.file_sha256, encoding=row.encoding, acceptance=row.acceptance,
        outcome=row.outcome, row_count=row.row_count, accepted_count=row.accepted_count, rejected_count=row.rejected_count,
        total_fen=Fen(row.total_fen), accepted_fen=Fen(row.accepted_fen), as_of_on=row.as_of_on, imported_by=StaffId(row.imported_by),
        imported_at=row.imported_at,
    )


def _csv_records(content: bytes) -> tuple[list[list[str]], str]:
    encoding = detect_encoding(content)
    if encoding is None or b"\0" in content:
        raise FileUnreadable(line=1, expected="UTF-8 or GB18030", got="other bytes")
    reader = csv.reader(io.StringIO(content.decode("utf-8-sig" if encoding.value == "utf-8" else encoding.value), newline=""), strict=True)
    records: list[list[str]] = []
    try:
        for record in reader:
            if not any(cell.strip() for cell in record):
                continue
            if len(records) > ROWS_MAX or len(record) > COLUMNS_MAX or any(len(cell) > CELL_CHARACTERS_MAX for cell in record):
                raise FileUnreadable(line=reader.line_num, expected=f"at most {ROWS_MAX} rows", got="more, or wider ones")
            records.append(record)
    except csv.Error as error:
        raise FileUnreadable(line=reader.line_num, expected="CSV", got=str(error)[:100]) from error
    return records, encoding.value
