"""Account statements: every line of one account, numbered without a gap; and what one collector held for one bank in one month."""

from datetime import date, datetime, time
from uuid import UUID

import msgspec
from sqlalchemy import ColumnElement, and_, func, or_, select, true
from sqlalchemy.orm import Session, aliased

from backend.auth.actors import Actor
from backend.auth.authorise import authorise
from backend.auth.permissions import Permission
from backend.cases.model import AGENCY_ZONE
from backend.cases.tables import CaseRow
from backend.cash.journal import NamedAccount
from backend.cash.model import AccountKind, TransferKind
from backend.cash.tables import AccountRow, CollectionRow, PostingRow, TransferRow
from backend.core.ids import AccountId, BankId, StaffId, TransferId
from backend.core.problems import NotFound
from backend.staff.tables import StaffRow


class AccountView(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One account and what it holds."""

    id: AccountId
    kind: AccountKind
    owner: str
    bank_id: BankId
    balance_fen: int
    posting_count: int


class Line(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One line: what came (above zero) or went, with whom, and what was there afterwards."""

    ordinal: int
    at: datetime
    transfer_id: TransferId
    kind: TransferKind
    other: NamedAccount
    amount_fen: int
    balance_fen: int
    receipt_number: str | None
    reverses_id: UUID | None


class CustodyMonth(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One collector's custody for one bank in one month; `closing_fen` is `opening_fen` and everything between."""

    staff_id: StaffId
    bank_id: BankId
    month: date
    opening_fen: int
    came_fen: int
    went_fen: int
    closing_fen: int


def accounts_seen_by(session: Session, actor: Actor) -> ColumnElement[bool]:
    """Return the condition on `AccountRow` that holds for what `actor` may see.

    A bank sees its own; a branch the accounts of its people and cases, but not those at the bank, which hold every branch's money.
    """
    if actor.bank is not None:
        return AccountRow.bank_id == actor.bank
    if actor.sees_every_branch:
        return true()
    # An owner is text, whoever it is; ids are written into it as texts.
    people = [str(one) for one in session.scalars(select(StaffRow.id).where(StaffRow.branch_id.in_(actor.branches)))]
    theirs = select(TransferRow.credit_id).join(CaseRow, CaseRow.id == TransferRow.case_id).where(
        TransferRow.kind == TransferKind.COLLECTION, CaseRow.branch_id.in_(actor.branches))
    return or_(
        and_(AccountRow.kind.in_([AccountKind.CUSTODY, AccountKind.SUSPENSE]), AccountRow.owner.in_(people)),
        and_(AccountRow.kind == AccountKind.DEBTOR, AccountRow.id.in_(theirs)),
    )


def list_accounts(session: Session, actor: Actor, bank_id: BankId, *, limit: int, after: UUID | None) -> list[AccountView]:
    """Return at most `limit` + 1 accounts of a bank's money after a cursor. Raises `NotFound` for another bank's."""
    authorise(actor, Permission.CASH_READ)
    if actor.bank is not None and actor.bank != bank_id:
        raise NotFound
    query = select(AccountRow).where(AccountRow.bank_id == bank_id, accounts_seen_by(session, actor))
    if after is not None:
        query = query.where(AccountRow.id > after)
    return [
        AccountView(
            id=AccountId(row.id), kind=row.kind, owner=row.owner, bank_id=BankId(row.bank_id), balance_fen=row.balance_fen,
            posting_count=row.posting_count,
        ) for row in session.scalars(query.order_by(AccountRow.id).limit(limit + 1))
    ]


def account_lines(session: Session, actor: Actor, account_id: UUID, *, limit: int, after: int) -> list[Line]:
    """Return at most `limit` + 1 lines of an account from the one after `after` on, oldest first. Raises `NotFound`."""
    authorise(actor, Permission.CASH_READ)
    account = session.scalar(select(AccountRow).where(AccountRow.id == account_id, accounts_seen_by(session, actor)))
    if account is None:
        raise NotFound
    return _lines(session, account.id, true(), limit=limit, after=after)


def custody_month(
    session: Session, actor: Actor, staff_id: StaffId, bank_id: BankId, month: date, *, limit: int, after: int
) -> tuple[CustodyMonth, list[Line]]:
    """Return what an employee held for a bank in the month that holds the day `month`, and at most `limit` + 1 of its lines (CASH-08).

    Raises:
        NotFound: not an employee whom the actor sees, or another bank's money.
    """
    authorise(actor, Permission.CASH_READ)
    is_seen = actor.sees_every_branch or actor.bank == bank_id or (
        actor.bank is None and session.scalar(select(StaffRow.branch_id).where(StaffRow.id == staff_id)) in actor.branches)
    if not is_seen or session.scalar(select(StaffRow.id).where(StaffRow.id == staff_id, StaffRow.bank_id.is_(None))) is None:
        raise NotFound
    first = month.replace(day=1)
    end = first.replace(year=first.year + 1, month=1) if first.month == 12 else first.replace(month=first.month + 1)
    from_at, to_at = (datetime.combine(day, time(), AGENCY_ZONE) for day in (first, end))
    account_id = session.scalar(select(AccountRow.id).where(
        AccountRow.kind == AccountKind.CUSTODY, AccountRow.owner == str(staff_id), AccountRow.bank_id == bank_id))
    posted = select(
        func.coalesce(func.sum(PostingRow.amount_fen).filter(TransferRow.at < from_at), 0),
        func.coalesce(func.sum(PostingRow.amount_fen).filter(TransferRow.at >= from_at, PostingRow.amount_fen > 0), 0),
        func.coalesce(func.sum(PostingRow.amount_fen).filter(TransferRow.at >= from_at, PostingRow.amount_fen < 0), 0),
    ).select_from(PostingRow).join(TransferRow, TransferRow.id == PostingRow.transfer_id).where(
        PostingRow.account_id == account_id, TransferRow.at < to_at)
    opening, came, went = (int(one) for one in session.execute(posted).one())
    lines = [] if account_id is None else _lines(
        session, account_id, and_(TransferRow.at >= from_at, TransferRow.at < to_at), limit=limit, after=after)
    return CustodyMonth(
        staff_id=staff_id, bank_id=bank_id, month=first, opening_fen=opening, came_fen=came, went_fen=-went, closing_fen=opening + came + went,
    ), lines


def _lines(session: Session, account_id: UUID, condition: ColumnElement[bool], *, limit: int, after: int) -> list[Line]:
    debit, credit = aliased(AccountRow), aliased(AccountRow)
    rows = session.execute(
        select(PostingRow, TransferRow, debit, credit, CollectionRow.receipt_number)
        .join(TransferRow, TransferRow.id == PostingRow.transfer_id).join(debit, debit.id == TransferRow.debit_id)
        .join(credit, credit.id == TransferRow.credit_id).outerjoin(CollectionRow, CollectionRow.id == TransferRow.collection_id)
        .where(PostingRow.account_id == account_id, PostingRow.ordinal > after, condition).order_by(PostingRow.ordinal).limit(limit + 1)
    )
    return [
        Line(
            ordinal=posting.ordinal, at=moved.at, transfer_id=TransferId(moved.id), kind=moved.kind,
            other=NamedAccount(kind=other.kind, owner=other.owner), amount_fen=posting.amount_fen, balance_fen=posting.balance_fen,
            receipt_number=number, reverses_id=moved.reverses_id,
        )
        for posting, moved, into, out_of, number in rows for other in (out_of if into.id == account_id else into,)
    ]
