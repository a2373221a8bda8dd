"""The bank's own word about the money: statements imported and matched to slips, variances with an owner, the books proven to the fen.

A statement is CSV with the header `account,booked_on,reference,amount`: the account's number, an ISO date, the slip's reference, yuan
with two decimals. UTF-8 or GB18030.
"""

import csv
import hashlib
import io
import re
from collections import Counter
from datetime import date, datetime
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
from backend.cash import transfers
from backend.cash.authorisations import designated_digests
from backend.cash.model import Channel, DepositEvent, DepositStatus, TransferKind, VarianceKind, advance_deposit
from backend.cash.movements import StatementLine
from backend.cash.proof import BooksProof, prove_books
from backend.cash.tables import DepositRow, ReconciliationRow, StatementLineRow, StatementRow, VarianceRow
from backend.core.fen import Fen
from backend.core.i18n import N_
from backend.core.ids import BankId, new_id
from backend.core.problems import Conflict, Forbidden, NotFound, Problem
from backend.exhibits.model import Standing
from backend.policies.model import Policy
from backend.staff.tables import StaffRow

HEADER: Final = ("account", "booked_on", "reference", "amount")
LINES_MAX: Final = 20_000
_AMOUNT: Final = re.compile(r"^(\d{1,3}(?:,\d{3})+|\d{1,11})\.(\d{2})$")
_REFERENCE: Final = re.compile(r"^[\x21-\x7e]{1,64}$")


class StatementUnreadable(Problem):
    """The file is not a statement of this bank."""

    status, code, title = 422, "statement-unreadable", N_("The file cannot be read as a statement of this bank.")
    explanation = N_("The details name the line, the column, what was expected and what was got. Nothing of the file was booked.")


class Imported(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What became of a statement; the same for every import of the same file."""

    statement_id: UUID
    line_count: int
    total_fen: Fen
    matched_count: int
    variance_count: int
    is_first: bool


class Resolution(msgspec.Struct, frozen=True, kw_only=True):
    """How a variance ends. With a slip its owner has paid the amount in after all; without one it stands as it is."""

    variance_id: UUID
    code: str
    slip_reference: str | None = None
    account_digest: str | None = None


def import_statement(session: Session, actor: Actor, bank_id: BankId, content: bytes, now: datetime) -> Imported:
    """Import a statement whole or not at all, and match it at once. The same file, or a line seen before, changes nothing.

    Raises:
        Forbidden: not a cashier of the agency.
        NotFound: no such bank.
        StatementUnreadable: a line is not what it should be.
    """
    authorise(actor, Permission.CASH_RECONCILE)
    banks.bank(session, actor, bank_id)
    digest = hashlib.sha256(content).hexdigest()
    stored = session.scalar(select(StatementRow).where(StatementRow.bank_id == bank_id, StatementRow.file_sha256 == digest))
    if stored is not None:
        return _imported(session, stored, is_first=False)
    lines = read_statement(content, designated_digests(session, bank_id))
    row = StatementRow(
        id=new_id(), bank_id=bank_id, file_sha256=digest, imported_by=actor.id, imported_at=now, line_count=len(lines),
        total_fen=sum(line.amount_fen for line in lines),
    )
    session.add(row)
    session.flush()
    known = set(session.scalars(select(StatementLineRow.line_key).where(StatementLineRow.bank_id == bank_id)))
    for line, key in _keyed(lines):
        if key not in known:
            session.add(StatementLineRow(
                id=new_id(), statement_id=row.id, bank_id=bank_id, line_key=key, account_digest=line.account_digest, booked_on=line.booked_on,
                reference=line.reference, amount_fen=line.amount_fen,
            ))
    session.flush()
    record(session, actor, EventTag.STATEMENT_IMPORTED, f"bank:{bank_id}", now, statement=row.id, lines=len(lines), total_fen=row.total_fen)
    match_lines(session, actor, bank_id, now)
    return _imported(session, row, is_first=True)


def read_statement(content: bytes, designated: frozenset[str]) -> tuple[StatementLine, ...]:
    """Read the CSV. Pure.

    Raises:
        StatementUnreadable: encoding, header or a line; names its number.
    """
    reader = csv.reader(io.StringIO(_decoded(content)), strict=True)
    try:
        rows = [row for _, row in zip(range(LINES_MAX + 2), reader, strict=False)]
    except csv.Error as error:
        raise StatementUnreadable(line=reader.line_num, expected="CSV", got=str(error)[:100]) from error
    if not rows or tuple(cell.strip().lower() for cell in rows[0]) != HEADER:
        raise StatementUnreadable(line=1, expected=",".join(HEADER), got="another header")
    if len(rows) > LINES_MAX + 1:
        raise StatementUnreadable(line=LINES_MAX + 2, expected=f"at most {LINES_MAX} lines", got="more")
    return tuple(_line(number, row, designated) for number, row in enumerate(rows[1:], start=2) if any(cell.strip() for cell in row))


def match_lines(session: Session, actor: Actor, bank_id: BankId, now: datetime) -> int:
    """Match unmatched lines to posted deposits by account and slip reference; open a variance for each that fits none. Returns the matches."""
    tried = select(VarianceRow.statement_line_id).where(VarianceRow.statement_line_id.is_not(None))
    waiting = session.scalars(
        select(StatementLineRow)
        .where(StatementLineRow.bank_id == bank_id, StatementLineRow.deposit_id.is_(None), StatementLineRow.id.not_in(tried))
        .order_by(StatementLineRow.booked_on, StatementLineRow.id)
        .with_for_update()
    ).all()
    matched = 0
    for line in waiting:
        deposit = session.scalars(
            select(DepositRow)
            .where(
                DepositRow.bank_id == bank_id, DepositRow.account_digest == line.account_digest, DepositRow.slip_reference == line.reference,
                DepositRow.status == DepositStatus.POSTED, DepositRow.amount_fen > 0,
            )
            .order_by(DepositRow.amount_fen != line.amount_fen, DepositRow.id)
            .limit(1)
            .with_for_update()
        ).first()
        if deposit is None:
            _open_variance(session, line, VarianceKind.UNKNOWN_CREDIT, line.amount_fen, actor.id, None, now)
        else:
            _confirm(session, actor, line, deposit, now)
            matched += 1
    session.flush()
    return matched


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


def resolve_variance(session: Session, actor: Actor, command: Resolution, policy: Policy, now: datetime) -> None:
    """Close a variance by somebody who does not own it. Made good, the money goes on towards the bank; else it stays where it is for ever.

    Raises:
        NotFound: not the actor's to see.
        Forbidden: the actor owns it.
        Conflict: it is closed, or the owner holds and answers for nothing that could make it good.
    """
    authorise(actor, Permission.CASH_RESOLVE)
    row = session.scalar(select(VarianceRow).where(VarianceRow.id == command.variance_id).with_for_update())
    if row is None or not _is_seen(session, actor, row):
        raise NotFound
    if row.owner_id == actor.id:
        raise Forbidden(reason="nobody closes their own variance")
    if row.resolved_at is not None:
        raise Conflict(reason="this variance is closed")
    if command.slip_reference is not None:
        _make_good(session, actor, row, command, policy, now)
    row.resolved_at, row.resolved_by, row.resolution = now, actor.id, command.code
    session.flush()
    record(session, actor, EventTag.CASH_VARIANCE_RESOLVED, f"variance:{row.id}", now, policy_version=policy.version, code=command.code,
           made_good=command.slip_reference is not None)


def _is_seen(session: Session, actor: Actor, row: VarianceRow) -> bool:
    """Tell whether a variance is of the actor's bank, or of somebody of their branches."""
    if actor.bank is not None:
        return row.bank_id == actor.bank
    return actor.sees_every_branch or session.scalar(select(StaffRow.branch_id).where(StaffRow.id == row.owner_id)) in actor.branches


def _make_good(session: Session, actor: Actor, row: VarianceRow, command: Resolution, policy: Policy, now: datetime) -> None:
    """Book what the owner paid in after all, as a deposit of its own that the bank's statement will confirm."""
    bank_id, amount_fen = BankId(row.bank_id), Fen(row.amount_fen)
    account = command.account_digest
    if account is None or account not in designated_digests(session, bank_id):
        raise Conflict(reason="not an account that the bank designated")
    towards = transfers.in_transit_to(account, bank_id)
    if row.kind is VarianceKind.NET_DEPOSIT:
        transfer_id = transfers.move(session, actor, TransferKind.DEPOSIT, towards, transfers.custody_of(row.owner_id, bank_id), amount_fen, now)
    elif row.transfer_id is not None:
        transfer_id = transfers.move(session, actor, TransferKind.RECOVERY, towards, transfers.suspense_of(row.owner_id, bank_id), amount_fen, now)
    else:
        raise Conflict(reason="there is no money behind this variance")
    content = {"variance": str(row.id)}
    session.add(DepositRow(
        id=new_id(), digest=hashlib.sha256(str(row.id).encode()).hexdigest(), bank_id=bank_id, branch_id=None, account_digest=account,
        channel=Channel.COUNTER, slip_reference=command.slip_reference, amount_fen=amount_fen, content=content, depositor_id=row.owner_id,
        deposited_at=now, recorded_at=now, status=DepositStatus.POSTED, standing=Standing.ACCEPTED, transfer_id=transfer_id,
        policy_version=policy.version,
    ))
    session.flush()


def flag_missing_credits(session: Session, bank_id: BankId, before: datetime, now: datetime) -> int:
    """Open a variance for each slip from before `before` that no statement shows; its depositor owns it. Returns how many."""
    shown = select(VarianceRow.deposit_id).where(VarianceRow.kind == VarianceKind.MISSING_CREDIT)
    missing = session.scalars(select(DepositRow).where(
        DepositRow.bank_id == bank_id, DepositRow.status == DepositStatus.POSTED, DepositRow.deposited_at < before, DepositRow.amount_fen > 0,
        DepositRow.id.not_in(shown),
    )).all()
    session.add_all(
        VarianceRow(id=new_id(), bank_id=bank_id, kind=VarianceKind.MISSING_CREDIT, amount_fen=row.amount_fen, owner_id=row.depositor_id,
                    deposit_id=row.id, opened_at=now)
        for row in missing
    )
    session.flush()
    return len(missing)


def _confirm(session: Session, actor: Actor, line: StatementLineRow, deposit: DepositRow, now: datetime) -> None:
    bank_id = BankId(line.bank_id)
    paid_in, arrived = transfers.in_transit_to(line.account_digest, bank_id), transfers.designated(line.account_digest, bank_id)
    confirmed_fen = Fen(min(line.amount_fen, deposit.amount_fen))
    line.transfer_id = transfers.move(session, actor, TransferKind.CONFIRMATION, arrived, paid_in, confirmed_fen, now)
    line.deposit_id = deposit.id
    deposit.status = advance_deposit(deposit.status, DepositEvent.CONFIRM)
    session.flush()
    if line.amount_fen < deposit.amount_fen:
        short_fen = Fen(deposit.amount_fen - line.amount_fen)
        suspense = transfers.suspense_of(deposit.depositor_id, bank_id)
        transfer_id = transfers.move(session, actor, TransferKind.SHORTFALL, suspense, paid_in, short_fen, now)
        _open_variance(session, line, VarianceKind.SHORT_CREDIT, short_fen, deposit.depositor_id, deposit.id, now, transfer_id)
    elif line.amount_fen > deposit.amount_fen:
        _open_variance(session, line, VarianceKind.SURPLUS_CREDIT, line.amount_fen - deposit.amount_fen, deposit.depositor_id, deposit.id, now)


def _open_variance(
    session: Session, line: StatementLineRow, kind: VarianceKind, amount_fen: int, owner_id: UUID, deposit_id: UUID | None, now: datetime,
    transfer_id: UUID | None = None,
) -> None:
    session.add(VarianceRow(
        id=new_id(), bank_id=line.bank_id, kind=kind, amount_fen=amount_fen, owner_id=owner_id, deposit_id=deposit_id, statement_line_id=line.id,
        transfer_id=transfer_id, opened_at=now,
    ))
    session.flush()


def _imported(session: Session, row: StatementRow, *, is_first: bool) -> Imported:
    of_file = select(StatementLineRow.id).where(StatementLineRow.statement_id == row.id)
    matched = session.scalar(select(func.count()).select_from(StatementLineRow).where(
        StatementLineRow.statement_id == row.id, StatementLineRow.deposit_id.is_not(None))) or 0
    open_count = session.scalar(select(func.count()).select_from(VarianceRow).where(
        VarianceRow.statement_line_id.in_(of_file), VarianceRow.resolved_at.is_(None))) or 0
    return Imported(
        statement_id=row.id, line_count=row.line_count, total_fen=Fen(row.total_fen), matched_count=matched, variance_count=open_count,
        is_first=is_first,
    )


def _decoded(content: bytes) -> str:
    for encoding in ("utf-8-sig", "gb18030"):
        try:
            return content.decode(encoding)
        except UnicodeDecodeError:
            continue
    raise StatementUnreadable(line=1, expected="UTF-8 or GB18030", got="other bytes")


def _line(number: int, row: list[str], designated: frozenset[str]) -> StatementLine:
    if len(row) != len(HEADER):
        raise StatementUnreadable(line=number, expected=f"{len(HEADER)} columns", got=len(row))
    account, booked_on, reference, amount = (cell.strip() for cell in row)
    digest = account_digest(account)
    if digest not in designated:
        raise StatementUnreadable(line=number, column="account", expected="a designated account of this bank", got="another account")
    matched = _AMOUNT.match(amount)
    amount_fen = int(matched[1].replace(",", "")) * 100 + int(matched[2]) if matched else 0
    if amount_fen <= 0:
        raise StatementUnreadable(line=number, column="amount", expected="yuan with two decimals, above zero", got=amount[:20])
    if not _REFERENCE.match(reference):
        raise StatementUnreadable(line=number, column="reference", expected="1 to 64 printable ASCII characters", got="another text")
    try:
        on = date.fromisoformat(booked_on)
    except ValueError:
        raise StatementUnreadable(line=number, column="booked_on", expected="YYYY-MM-DD", got=booked_on[:20]) from None
    return StatementLine(account_digest=digest, booked_on=on, reference=reference, amount_fen=Fen(amount_fen))


def account_digest(number: str) -> str:
    """Return the digest under which an account's number is known: SHA-256 of its digits."""
    return hashlib.sha256("".join(character for character in number if character.isalnum()).encode()).hexdigest()


def _keyed(lines: tuple[StatementLine, ...]) -> list[tuple[StatementLine, str]]:
    """Give each line a key of its content and of how many equal ones came before it in the file."""
    seen: Counter[str] = Counter()
    keyed = []
    for line in lines:
        content = f"{line.account_digest}|{line.booked_on}|{line.reference}|{line.amount_fen}"
        seen[content] += 1
        keyed.append((line, hashlib.sha256(f"{content}|{seen[content]}".encode()).hexdigest()))
    return keyed
