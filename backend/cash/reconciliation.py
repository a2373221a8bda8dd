"""The bank's own word about the money: statements imported and matched to slips, the books proven to the fen.

A statement has a row per credit on a designated account: the account's number, the day it was booked, the slip's reference, the
amount. What fits no slip, or not to the fen, is a variance with an owner (`backend.cash.variances`).
"""

import hashlib
import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from datetime import date, datetime, time, timedelta
from typing import Final
from uuid import UUID

import msgspec
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from backend.audit.events import EventTag
from backend.audit.record import record
from backend.auth.actors import Actor
from backend.auth.authorise import authorise
from backend.auth.permissions import Permission
from backend.banks import queries as banks
from backend.cases.layout import BatchOutcome
from backend.cases.model import AGENCY_ZONE, today_of
from backend.cases.placement import Rejection
from backend.cash import bank_files, transfers, variances
from backend.cash.authorisations import designated_digests
from backend.cash.bank_files import BankFile, FileRefused, Table, amount_of, day_of, rejected
from backend.cash.model import DepositEvent, DepositStatus, FileKind, TransferKind, VarianceKind, VarianceStatus, advance_deposit
from backend.cash.movements import StatementLine, Transfer
from backend.cash.proof import BooksProof, prove_books
from backend.cash.tables import BankFileRow, DepositRow, ReconciliationRow, StatementLineRow, StatementRow, VarianceRow
from backend.core.fen import Fen
from backend.core.ids import AccountId, BankId, TransferId, new_id
from backend.core.problems import Conflict
from backend.policies.model import Policy

HEADINGS: Final[Mapping[str, tuple[str, ...]]] = {
    "account": ("account", "账号", "收款账号"), "booked_on": ("booked_on", "记账日期", "入账日期"),
    "reference": ("reference", "凭证号", "流水号"), "amount": ("amount", "金额", "入账金额"),
}
_REFERENCE: Final = re.compile(r"[\x21-\x7e]{1,64}")
_CHUNK: Final = 500


class Imported(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What became of a statement; the same for every import of the same file, but that matches may have been found since."""

    statement_id: UUID
    outcome: BatchOutcome
    line_count: int
    rejected_count: int
    total_fen: Fen
    matched_count: int
    variance_count: int
    is_first: bool


def import_statement(session: Session, actor: Actor, file: BankFile, policy: Policy, now: datetime) -> Imported:
    """Import a statement and match it at once. The same file, or a line seen before, changes nothing.

    A file refused for its rows stays known with its rejections; `demand_taken` turns it into a problem after the commit.

    Raises:
        Forbidden: not a cashier of the agency.
        NotFound: no such bank.
        FileUnreadable, ControlTotalsMismatch: nothing is stored.
    """
    authorise(actor, Permission.CASH_RECONCILE)
    banks.bank(session, actor, file.bank_id)
    bank_files.lock_bank(session, file.bank_id)
    known = bank_files.earlier(session, actor, file, FileKind.STATEMENT)
    if known is not None:
        return _imported(session, known, is_first=False)
    table = bank_files.read_table(file, HEADINGS)
    bank_files.demand_totals(file, table, (cells["amount"] for _, cells in table.rows))
    lines, rejections = read_lines(table, designated_digests(session, file.bank_id), today_of(now))
    row = bank_files.keep(
        session, actor, file, FileKind.STATEMENT, table, rejections=rejections, accepted=[line.amount_fen for line in lines], now=now)
    if row.outcome is BatchOutcome.IMPORTED:
        _store_lines(session, actor, row, lines, now)
        for account, before in _missing_before(lines, policy).items():
            variances.flag_missing_credits(session, file.bank_id, before, now, account)
    record(session, actor, EventTag.STATEMENT_IMPORTED, f"bank:{file.bank_id}", now, policy_version=policy.version, statement=row.id,
           outcome=row.outcome.value, lines=row.accepted_count, rejected=row.rejected_count, total_fen=row.accepted_fen)
    if row.outcome is BatchOutcome.IMPORTED:
        match_lines(session, actor, file.bank_id, now)
    return _imported(session, row, is_first=True)


def demand_taken(done: Imported) -> Imported:
    """Return the result, or refuse after the commit that kept the rejections. Raises `FileRefused`."""
    if done.outcome is BatchOutcome.REFUSED:
        raise FileRefused(file_id=str(done.statement_id), rejected_count=done.rejected_count)
    return done


def read_lines(table: Table, designated: frozenset[str], today: date) -> tuple[tuple[StatementLine, ...], tuple[Rejection, ...]]:
    """Judge the rows of a statement one by one. Pure; an account's number is never told back."""
    lines: list[StatementLine] = []
    rejections = list(table.rejections)
    for number, cells in table.rows:
        digest, amount, on = account_digest(cells["account"]), amount_of(cells["amount"]), day_of(cells["booked_on"])
        reasons = [
            rejected(number, column, code, expected, got) for column, code, expected, got, is_wrong in (
                ("account", "not-designated", "a designated account of this bank", "another account", digest not in designated),
                ("amount", "malformed-amount", "yuan with at most two decimals, above zero", cells["amount"], amount is None),
                ("reference", "malformed", "1 to 64 printable ASCII characters", cells["reference"], not _REFERENCE.fullmatch(cells["reference"])),
                ("booked_on", "malformed-date", "YYYY-MM-DD", cells["booked_on"], on is None),
                ("booked_on", "after-today", f"{today} or before", cells["booked_on"], on is not None and on > today),
            ) if is_wrong
        ]
        rejections += reasons
        if not reasons and amount is not None and on is not None:
            lines.append(StatementLine(account_digest=digest, booked_on=on, reference=cells["reference"], amount_fen=amount))
    return tuple(lines), tuple(rejections)


def match_lines(session: Session, actor: Actor, bank_id: BankId, now: datetime) -> int:
    """Match waiting lines to posted deposits by account and slip reference; returns the matches.

    A line that fits none becomes an unknown credit and waits on: its slip may still be on a phone. Money moves in the order of the
    lines; accounts are locked before any deposit, as whoever books or reverses one does.
    """
    closed = select(VarianceRow.statement_line_id).where(
        VarianceRow.statement_line_id == StatementLineRow.id, VarianceRow.status == VarianceStatus.RESOLVED)
    waiting = session.scalars(
        select(StatementLineRow)
        .where(StatementLineRow.bank_id == bank_id, StatementLineRow.deposit_id.is_(None), ~closed.exists())
        .order_by(StatementLineRow.booked_on, StatementLineRow.id)
        .with_for_update()
    ).all()
    keys = {line.account_digest: (transfers.in_transit_to(line.account_digest, bank_id), transfers.designated(line.account_digest, bank_id))
            for line in waiting}
    accounts = transfers.open_accounts(session, tuple(key for pair in keys.values() for key in pair))
    ids = {digest: (accounts[paid_in], accounts[arrived]) for digest, (paid_in, arrived) in keys.items()}
    known = {row.statement_line_id: row.id for row in session.execute(
        select(VarianceRow.statement_line_id, VarianceRow.id)
        .where(VarianceRow.bank_id == bank_id, VarianceRow.kind == VarianceKind.UNKNOWN_CREDIT, VarianceRow.status != VarianceStatus.RESOLVED)
    )}
    books, matched = _Books(bank_id, ids, known), 0
    # Every equal amount first: a credit that differs must not take the slip of one that fits to the fen.
    for is_equal in (True, False):
        left = [line for line in waiting if line.deposit_id is None]
        for start in range(0, len(left), _CHUNK):
            matched += _match_chunk(session, actor, left[start : start + _CHUNK], books, now, is_equal=is_equal)
    for line in waiting:
        if line.deposit_id is None and line.id not in known:
            variances.open_one(session, VarianceKind.UNKNOWN_CREDIT, Fen(line.amount_fen), actor.id, line=line, now=now)
    session.flush()
    return matched


class _Books(msgspec.Struct, frozen=True):
    """What matching a chunk needs to know of a bank: its accounts in transit and designated, and its lines that nobody knew so far."""

    bank_id: BankId
    accounts: Mapping[str, tuple[AccountId, AccountId]]
    unknown: Mapping[UUID | None, UUID]


def _match_chunk(
    session: Session, actor: Actor, lines: Sequence[StatementLineRow], books: _Books, now: datetime, *, is_equal: bool
) -> int:
    posted = _posted(session, books.bank_id, [line.reference for line in lines])
    pairs: list[tuple[StatementLineRow, DepositRow]] = []
    for line in lines:
        slips = posted.get((line.account_digest, line.reference), [])
        fitting = [slip for slip in slips if _fits(line, slip, is_equal=is_equal)]
        if fitting:
            slip = min(fitting, key=lambda one: (abs(today_of(one.deposited_at) - line.booked_on), one.id))
            slips.remove(slip)
            pairs.append((line, slip))
    moves = []
    for line, slip in pairs:
        paid_in, arrived = books.accounts[line.account_digest]
        moves.append(Transfer(
            id=TransferId(new_id()), debit_id=arrived, credit_id=paid_in, amount_fen=Fen(min(line.amount_fen, slip.amount_fen)),
            kind=TransferKind.CONFIRMATION, bank_id=books.bank_id))
    transfers.transfer_all(session, actor, moves, now)
    for (line, slip), move in zip(pairs, moves, strict=True):
        line.transfer_id, line.deposit_id = move.id, slip.id
    session.flush()
    for _, slip in pairs:
        slip.status = advance_deposit(slip.status, DepositEvent.CONFIRM)  # The database wants to see the credit first.
    session.flush()
    for line, slip in pairs:
        _settle(session, actor, (line, slip), books, now)
    session.flush()
    return len(pairs)


def _fits(line: StatementLineRow, slip: DepositRow, *, is_equal: bool) -> bool:
    """Tell whether a credit can be a slip's. References come again, day by day: one of another amount from before the slip is another's."""
    return slip.amount_fen == line.amount_fen if is_equal else today_of(slip.deposited_at) <= line.booked_on


def _posted(session: Session, bank_id: BankId, references: list[str]) -> dict[tuple[str, str], list[DepositRow]]:
    rows = session.scalars(
        select(DepositRow)
        .where(DepositRow.bank_id == bank_id, DepositRow.slip_reference.in_(references), DepositRow.status == DepositStatus.POSTED,
               DepositRow.amount_fen > 0)
        .order_by(DepositRow.id).with_for_update().execution_options(populate_existing=True)
    )
    found: dict[tuple[str, str], list[DepositRow]] = defaultdict(list)
    for row in rows:
        found[row.account_digest, row.slip_reference].append(row)
    return found


def _settle(session: Session, actor: Actor, pair: tuple[StatementLineRow, DepositRow], books: _Books, now: datetime) -> None:
    """Note what differs between a line and its slip, and end the variances that waited for them."""
    line, slip = pair
    unknown = books.unknown.get(line.id)
    if unknown is not None:
        variances.clear_up(session, actor, unknown, "matched-later", now)
    for missing in variances.missing_of(session, slip.id):
        variances.clear_up(session, actor, missing, "credited-later", now)
    if line.amount_fen < slip.amount_fen:
        short_fen = Fen(slip.amount_fen - line.amount_fen)
        suspense = transfers.suspense_of(slip.depositor_id, books.bank_id)
        paid_in = transfers.in_transit_to(line.account_digest, books.bank_id)
        transfer_id = transfers.move(session, actor, TransferKind.SHORTFALL, suspense, paid_in, short_fen, now)
        variances.open_one(
            session, VarianceKind.SHORT_CREDIT, short_fen, slip.depositor_id, line=line, deposit_id=slip.id, transfer_id=transfer_id, now=now)
    elif line.amount_fen > slip.amount_fen:
        surplus_fen = Fen(line.amount_fen - slip.amount_fen)
        variances.open_one(session, VarianceKind.SURPLUS_CREDIT, surplus_fen, slip.depositor_id, line=line, deposit_id=slip.id, now=now)


def close_books(session: Session, actor: Actor, bank_id: BankId, now: datetime) -> BooksProof:
    """Prove the books of a bank and keep the proof. It stands even with open variances: they are part of it.

    Raises:
        Forbidden: may not reconcile.
        NotFound: no such bank.
        Conflict: the books are not equal; names the difference. Nothing we know of brings that about.
    """
    authorise(actor, Permission.CASH_RECONCILE)
    banks.bank(session, actor, bank_id)
    proof = prove_books(session, bank_id)
    if proof.differences:
        raise Conflict(reason="the books are not equal", differences=list(proof.differences))
    session.add(ReconciliationRow(
        id=new_id(), bank_id=bank_id, closed_at=now, closed_by=actor.id, receipt_count=proof.receipt_count, receipted_fen=proof.receipted_fen,
        custody_fen=proof.custody_fen, in_transit_fen=proof.in_transit_fen, designated_fen=proof.designated_fen, suspense_fen=proof.suspense_fen,
        open_variance_count=proof.open_variance_count,
    ))
    session.flush()
    record(session, actor, EventTag.CASH_RECONCILED, f"bank:{bank_id}", now, receipted_fen=proof.receipted_fen, custody_fen=proof.custody_fen,
           in_transit_fen=proof.in_transit_fen, designated_fen=proof.designated_fen, suspense_fen=proof.suspense_fen)
    return proof


def account_digest(number: str) -> str:
    """Return the digest under which an account's number is known: SHA-256 of its digits."""
    return hashlib.sha256("".join(character for character in number if character.isalnum()).encode()).hexdigest()


def _store_lines(session: Session, actor: Actor, file: BankFileRow, lines: tuple[StatementLine, ...], now: datetime) -> None:
    session.add(StatementRow(
        id=file.id, bank_id=file.bank_id, file_sha256=file.file_sha256, imported_by=actor.id, imported_at=now, line_count=len(lines),
        total_fen=file.accepted_fen,
    ))
    session.flush()
    keyed = _keyed(lines)
    known: set[str] = set()
    for start in range(0, len(keyed), _CHUNK):
        chunk = [key for _, key in keyed[start : start + _CHUNK]]
        known.update(session.scalars(
            select(StatementLineRow.line_key).where(StatementLineRow.bank_id == file.bank_id, StatementLineRow.line_key.in_(chunk))))
    session.add_all(
        StatementLineRow(
            id=new_id(), statement_id=file.id, bank_id=file.bank_id, line_key=key, account_digest=line.account_digest, booked_on=line.booked_on,
            reference=line.reference, amount_fen=line.amount_fen,
        ) for line, key in keyed if key not in known
    )
    session.flush()


def _missing_before(lines: tuple[StatementLine, ...], policy: Policy) -> Mapping[str, datetime]:
    """Return for each account the instant before which the statement should show every slip."""
    last: dict[str, date] = {}
    for line in lines:
        last[line.account_digest] = max(line.booked_on, last.get(line.account_digest, line.booked_on))
    return {
        digest: datetime.combine(on - timedelta(days=policy.missing_credit_days), time(), AGENCY_ZONE) for digest, on in last.items()
    }


def _imported(session: Session, row: BankFileRow, *, is_first: bool) -> Imported:
    of_file = select(StatementLineRow.id).where(StatementLineRow.statement_id == row.id)
    matched = session.scalar(select(func.count()).select_from(StatementLineRow).where(
        StatementLineRow.statement_id == row.id, StatementLineRow.deposit_id.is_not(None))) or 0
    open_count = session.scalar(select(func.count()).select_from(VarianceRow).where(
        VarianceRow.statement_line_id.in_(of_file), VarianceRow.status != VarianceStatus.RESOLVED)) or 0
    return Imported(
        statement_id=row.id, outcome=row.outcome, line_count=row.accepted_count, rejected_count=row.rejected_count, total_fen=Fen(row.accepted_fen),
        matched_count=matched, variance_count=open_count, is_first=is_first,
    )


def _keyed(lines: tuple[StatementLine, ...]) -> list[tuple[StatementLine, str]]:
    """Give each line a key of its content and of how many equal ones came before it in the file."""
    seen: Counter[str] = Counter()
    keyed = []
    for line in lines:
        content = f"{line.account_digest}|{line.booked_on}|{line.reference}|{line.amount_fen}"
        seen[content] += 1
        keyed.append((line, hashlib.sha256(f"{content}|{seen[content]}".encode()).hexdigest()))
    return keyed
