"""The daily close of a branch: every custody of its people from the last close to this one, to the fen, with what is not in order named.

A day is a stretch of postings, not of time: each account's are numbered without a gap, and a close takes them in from where the last one
ended. So nothing can be booked into a closed day. What arrives later, a late receipt or the reversal of an early one, is the next day's.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable
from datetime import date, datetime
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import ColumnElement, func, or_, select, true
from sqlalchemy.orm import Session

from backend.audit import log
from backend.audit.events import EventTag
from backend.audit.record import record
from backend.auth.actors import Actor
from backend.auth.authorise import authorise
from backend.auth.permissions import Permission
from backend.cases.model import today_of
from backend.cash import transfers
from backend.cash.custody_facts import is_deposited, is_reversed
from backend.cash.model import AccountKind, DepositStatus, HandoverStatus, TransferKind, VarianceStatus
from backend.cash.tables import (
    AccountRow,
    BranchCloseLineRow,
    BranchCloseRow,
    CashExceptionRow,
    CollectionRow,
    DepositRow,
    HandoverRow,
    PostingRow,
    ReceiptBookRow,
    ReceiptNumberRow,
    TransferRow,
    VarianceRow,
)
from backend.core.fen import Fen
from backend.core.ids import AccountId, BankId, BranchId, StaffId, new_id
from backend.core.problems import Conflict, InvalidInput, NotFound
from backend.staff.tables import StaffRow
from evidence.canonical import canonicalise, sha256_hex

_NAMED_MAX = 500


class Difference(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One thing that is not in order at the close: what, of whom, how much."""

    kind: str
    subject: str
    owner: StaffId | None
    amount_fen: Fen
    bank: BankId | None = None               # Whose money it is about; not kept by closes before this was.


class CustodyDay(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What one employee held for one bank from the last close to this one."""

    staff_id: StaffId
    bank_id: BankId
    opening_fen: Fen
    collected_fen: Fen
    handed_in_fen: Fen
    handed_out_fen: Fen
    deposited_fen: Fen
    short_fen: Fen
    corrected_fen: int
    closing_fen: Fen


class Sum(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Receipts of one bank, pair or book in the day."""

    name: str
    receipt_count: int
    receipted_fen: Fen


class DayClose(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One closed day of one branch."""

    id: UUID
    branch_id: BranchId
    on: date
    closed_by: StaffId
    closed_at: datetime
    receipt_count: int
    receipted_fen: Fen
    opening_fen: Fen
    closing_fen: Fen
    differences: tuple[Difference, ...]
    banks: tuple[Sum, ...]
    pairs: tuple[Sum, ...]
    books: tuple[Sum, ...]
    custody: tuple[CustodyDay, ...]


class _Content(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    differences: tuple[Difference, ...]
    banks: tuple[Sum, ...]
    pairs: tuple[Sum, ...]
    books: tuple[Sum, ...]


def close_day(session: Session, actor: Actor, branch_id: BranchId, on: date, now: datetime) -> DayClose:
    """Close a day of a branch, with who closed it and every difference by name; it stands for ever.

    Raises:
        Forbidden: not a cashier.
        NotFound: not a branch of the actor's.
        InvalidInput: a day to come.
        Conflict: this day, or a later one, is closed.
    """
    authorise(actor, Permission.CASH_RECONCILE)
    if not (actor.sees_every_branch or branch_id in actor.branches):
        raise NotFound
    if on > today_of(now):
        raise InvalidInput(pointer="/on", expected="today or a day before", got=on.isoformat())
    people = select(StaffRow.id).where(StaffRow.branch_id == branch_id)
    owners = {str(one): StaffId(one) for one in session.scalars(people)}
    account_ids = frozenset(AccountId(one) for one in session.scalars(
        select(AccountRow.id).where(AccountRow.kind == AccountKind.CUSTODY, AccountRow.owner.in_(sorted(owners)))))
    transfers.lock(session, account_ids)  # From here on no fen of these people moves until the day is closed.
    last = session.scalar(select(func.max(BranchCloseRow.on)).where(BranchCloseRow.branch_id == branch_id))
    if last is not None and on <= last:
        raise Conflict(reason="this day is closed", last_closed_on=last.isoformat())
    days, collected = _days(session, account_ids)
    content = _content(session, branch_id, frozenset(owners.values()), days, collected, now)
    plain = msgspec.to_builtins(content)
    row = BranchCloseRow(
        id=new_id(), branch_id=branch_id, on=on, closed_by=actor.id, closed_at=now, receipt_count=len(collected),
        receipted_fen=sum(one.amount_fen for one in collected), opening_fen=sum(day.opening_fen for _, day in days),
        closing_fen=sum(day.closing_fen for _, day in days), difference_count=len(content.differences), content=plain,
        content_sha256=sha256_hex(canonicalise(plain)), log_entry_id=log.append(session, "branch-close", canonicalise({
            "branch": str(branch_id), "on": on.isoformat(), "closed_by": str(actor.id), "content_sha256": sha256_hex(canonicalise(plain)),
            "custody": [_line_words(line) for line, _ in days],
        }), now),
    )
    session.add(row)
    session.flush()
    for line, _ in days:
        line.close_id = row.id
        session.add(line)
    session.flush()
    record(session, actor, EventTag.BRANCH_CLOSED, f"branch:{branch_id}", now, on=on.isoformat(), close=row.id, receipts=row.receipt_count,
           receipted_fen=row.receipted_fen, closing_fen=row.closing_fen, differences=row.difference_count)
    return _view(row, tuple(day for _, day in days))


def visible_to(actor: Actor) -> ColumnElement[bool]:
    """Return the condition on `BranchCloseRow` that holds for what `actor` may see: their branches', or those in which their bank has a part."""
    if actor.bank is not None:
        return select(BranchCloseLineRow.close_id).join(AccountRow, AccountRow.id == BranchCloseLineRow.account_id).where(
            BranchCloseLineRow.close_id == BranchCloseRow.id, AccountRow.bank_id == actor.bank).exists()
    return true() if actor.sees_every_branch else BranchCloseRow.branch_id.in_(actor.branches)


def list_closes(session: Session, actor: Actor, *, limit: int, after: UUID | None, is_latest_first: bool = False) -> list[DayClose]:
    """Return at most `limit` + 1 closed days after a cursor, oldest first unless asked otherwise.

    A bank sees its own part of each: the custodies, receipts and differences of its money, and no other bank's.
    """
    authorise(actor, Permission.CASH_READ)
    query = select(BranchCloseRow).where(visible_to(actor))
    if after is not None:
        query = query.where(BranchCloseRow.id < after if is_latest_first else BranchCloseRow.id > after)
    order = BranchCloseRow.id.desc() if is_latest_first else BranchCloseRow.id
    rows = session.scalars(query.order_by(order).limit(limit + 1)).all()
    lines: dict[UUID, list[CustodyDay]] = defaultdict(list)
    for line, account in session.execute(
        select(BranchCloseLineRow, AccountRow).join(AccountRow, AccountRow.id == BranchCloseLineRow.account_id)
        .where(BranchCloseLineRow.close_id.in_([row.id for row in rows])).order_by(BranchCloseLineRow.close_id, AccountRow.owner, AccountRow.bank_id)
    ):
        lines[line.close_id].append(_day(line, account))
    told = [_view(row, tuple(lines[row.id])) for row in rows]
    return told if actor.bank is None else [_part_of(one, BankId(actor.bank)) for one in told]


def _part_of(close: DayClose, bank_id: BankId) -> DayClose:
    """Return what a close says of one bank's money; pairs and books hold several banks' receipts and are left out."""
    custody = tuple(day for day in close.custody if day.bank_id == bank_id)
    banks = tuple(one for one in close.banks if one.name == str(bank_id))
    return msgspec.structs.replace(
        close, custody=custody, banks=banks, pairs=(), books=(), differences=tuple(one for one in close.differences if one.bank == bank_id),
        receipt_count=sum(one.receipt_count for one in banks), receipted_fen=Fen(sum(one.receipted_fen for one in banks)),
        opening_fen=Fen(sum(day.opening_fen for day in custody)), closing_fen=Fen(sum(day.closing_fen for day in custody)),
    )


def _days(session: Session, account_ids: frozenset[AccountId]) -> tuple[list[tuple[BranchCloseLineRow, CustodyDay]], list[CollectionRow]]:
    """Return the line of each custody since its last close, and the collections in them."""
    ended = select(
        BranchCloseLineRow.account_id, func.max(BranchCloseLineRow.ordinal_to).label("ordinal_to")
    ).where(BranchCloseLineRow.account_id.in_(account_ids)).group_by(BranchCloseLineRow.account_id).subquery()
    accounts = session.execute(
        select(AccountRow, func.coalesce(ended.c.ordinal_to, 0)).outerjoin(ended, ended.c.account_id == AccountRow.id)
        .where(AccountRow.id.in_(account_ids)).order_by(AccountRow.owner, AccountRow.bank_id).execution_options(populate_existing=True)
    ).all()
    found, collection_ids = [], list[UUID]()
    for account, ended_at in accounts:
        moved: Counter[str] = Counter()
        rows = session.execute(
            select(PostingRow.amount_fen, TransferRow.kind, TransferRow.collection_id).join(TransferRow, TransferRow.id == PostingRow.transfer_id)
            .where(PostingRow.account_id == account.id, PostingRow.ordinal > ended_at)
        )
        for amount_fen, kind, collection_id in rows:
            moved[_column(kind, amount_fen)] += amount_fen if kind is TransferKind.REVERSAL else abs(amount_fen)
            if kind is TransferKind.COLLECTION and collection_id is not None:
                collection_ids.append(collection_id)
        opening_fen = account.balance_fen - moved["collected"] - moved["handed_in"] + moved["handed_out"] + moved["deposited"] + moved["short"]
        line = BranchCloseLineRow(
            account_id=account.id, ordinal_from=ended_at + 1, ordinal_to=account.posting_count, opening_fen=opening_fen - moved["corrected"],
            closing_fen=account.balance_fen,
            **{f"{name}_fen": moved[name] for name in ("collected", "handed_in", "handed_out", "deposited", "short", "corrected")},
        )
        found.append((line, _day(line, account)))
    collected = session.scalars(select(CollectionRow).where(CollectionRow.id.in_(collection_ids)).order_by(CollectionRow.id)).all()
    return found, list(collected)


def _column(kind: TransferKind, amount_fen: int) -> str:
    if kind is TransferKind.HANDOVER:
        return "handed_in" if amount_fen > 0 else "handed_out"
    return {
        TransferKind.COLLECTION: "collected", TransferKind.DEPOSIT: "deposited", TransferKind.SHORTFALL: "short", TransferKind.REVERSAL: "corrected",
    }[kind]


def _content(
    session: Session, branch_id: BranchId, people: frozenset[StaffId], days: list[tuple[BranchCloseLineRow, CustodyDay]],
    collected: list[CollectionRow], now: datetime,
) -> _Content:
    differences = [
        Difference(kind="custody-not-deposited", subject=str(day.bank_id), owner=day.staff_id, amount_fen=day.closing_fen, bank=day.bank_id)
        for _, day in days if day.closing_fen
    ]
    differences += _open_matters(session, branch_id, people, now)
    serials = {row.number: row.serial for row in session.execute(
        select(ReceiptNumberRow.number, ReceiptBookRow.serial).join(ReceiptBookRow, ReceiptBookRow.id == ReceiptNumberRow.book_id)
        .where(ReceiptNumberRow.number.in_([one.receipt_number for one in collected]))
    )}
    return _Content(
        differences=tuple(differences), banks=_sums((str(one.bank_id), one) for one in collected),
        pairs=_sums((" ".join(sorted((str(one.collector_id), str(one.cosigner_id)))), one) for one in collected),
        books=_sums((serials.get(one.receipt_number, "no-book"), one) for one in collected),
    )


def _open_matters(session: Session, branch_id: BranchId, people: frozenset[StaffId], now: datetime) -> list[Difference]:
    """Name what is open with the people of a branch, the oldest first of each kind."""
    found: list[Difference] = []

    def name(kind: str, rows: Iterable[Any]) -> None:
        found.extend(
            Difference(kind=kind, subject=str(row[0]), owner=StaffId(row[1]), amount_fen=Fen(int(row[2])), bank=BankId(row[3])) for row in rows)

    name("deposit-overdue", session.execute(
        select(CollectionRow.id, CollectionRow.collector_id, CollectionRow.amount_fen, CollectionRow.bank_id)
        .where(CollectionRow.collector_id.in_(people), CollectionRow.deposit_due_at < now, ~is_deposited(), ~is_reversed())
        .order_by(CollectionRow.id).limit(_NAMED_MAX)))
    name("variance-open", session.execute(
        select(VarianceRow.id, VarianceRow.owner_id, VarianceRow.amount_fen, VarianceRow.bank_id)
        .where(VarianceRow.owner_id.in_(people), VarianceRow.status != VarianceStatus.RESOLVED).order_by(VarianceRow.id).limit(_NAMED_MAX)))
    name("deposit-held", session.execute(
        select(DepositRow.id, DepositRow.depositor_id, DepositRow.amount_fen, DepositRow.bank_id)
        .where(DepositRow.depositor_id.in_(people), DepositRow.status == DepositStatus.HELD).order_by(DepositRow.id).limit(_NAMED_MAX)))
    name("deposit-unconfirmed", session.execute(
        select(DepositRow.id, DepositRow.depositor_id, DepositRow.amount_fen, DepositRow.bank_id)
        .where(DepositRow.depositor_id.in_(people), DepositRow.status == DepositStatus.POSTED).order_by(DepositRow.id).limit(_NAMED_MAX)))
    name("handover-open", session.execute(
        select(HandoverRow.id, HandoverRow.giver_id, HandoverRow.amount_fen, HandoverRow.bank_id)
        .where(HandoverRow.giver_id.in_(people), HandoverRow.status.in_([HandoverStatus.OFFERED, HandoverStatus.HELD]))
        .order_by(HandoverRow.id).limit(_NAMED_MAX)))
    name("exception-open", session.execute(
        select(CashExceptionRow.number, CashExceptionRow.collector_id, CollectionRow.amount_fen, CashExceptionRow.bank_id)
        .join(CollectionRow, CollectionRow.id == CashExceptionRow.collection_id)
        .where(CashExceptionRow.branch_id == branch_id, or_(
            CashExceptionRow.agency_resolved_at.is_(None), CashExceptionRow.bank_resolved_at.is_(None)))
        .order_by(CashExceptionRow.number).limit(_NAMED_MAX)))
    return found


def _sums(named: Iterable[tuple[str, CollectionRow]]) -> tuple[Sum, ...]:
    counts: Counter[str] = Counter()
    amounts: Counter[str] = Counter()
    for key, row in named:
        counts[key] += 1
        amounts[key] += row.amount_fen
    return tuple(Sum(name=key, receipt_count=counts[key], receipted_fen=Fen(amounts[key])) for key in sorted(counts))


def _line_words(line: BranchCloseLineRow) -> dict[str, Any]:
    return {"account": str(line.account_id), "ordinal_from": line.ordinal_from, "ordinal_to": line.ordinal_to, "closing_fen": line.closing_fen}


def _day(line: BranchCloseLineRow, account: AccountRow) -> CustodyDay:
    return CustodyDay(
        staff_id=StaffId(UUID(account.owner)), bank_id=BankId(account.bank_id), opening_fen=Fen(line.opening_fen),
        collected_fen=Fen(line.collected_fen), handed_in_fen=Fen(line.handed_in_fen), handed_out_fen=Fen(line.handed_out_fen),
        deposited_fen=Fen(line.deposited_fen), short_fen=Fen(line.short_fen), corrected_fen=line.corrected_fen, closing_fen=Fen(line.closing_fen),
    )


def _view(row: BranchCloseRow, custody: tuple[CustodyDay, ...]) -> DayClose:
    content = msgspec.convert(row.content, _Content, strict=False)
    return DayClose(
        id=row.id, branch_id=BranchId(row.branch_id), on=row.on, closed_by=StaffId(row.closed_by), closed_at=row.closed_at,
        receipt_count=row.receipt_count, receipted_fen=Fen(row.receipted_fen), opening_fen=Fen(row.opening_fen), closing_fen=Fen(row.closing_fen),
        differences=content.differences, banks=content.banks, pairs=content.pairs, books=content.books, custody=custody,
    )
