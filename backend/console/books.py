"""The books, read and closed: accounts and their statements, a collector's month, the daily close of a branch."""

from datetime import date, datetime
from typing import Annotated, Any
from uuid import UUID

from litestar import get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery, JSONBody, QueryParameter

from backend.auth.actors import Actor
from backend.cash import closing, statements
from backend.console.reconciliation import BankQuery
from backend.console.values import day_within_reach
from backend.core.ids import BankId, BranchId, StaffId
from backend.core.problems import InvalidInput
from backend.web.app import Resources
from backend.web.body import Body, View
from backend.web.paging import Page, PageAsked, page_of, read_page
from backend.web.transaction import transaction

_ORDINAL_DIGITS_MAX = 9


class DayCloseBody(Body, kw_only=True):
    """Which day of which branch is over."""

    branch_id: UUID
    on: date


class CustodyStatement(View, frozen=True):
    """A collector's month: its sums, and a page of its lines."""

    month: statements.CustodyMonth
    rows: tuple[statements.Line, ...]
    next: str | None


@get("/api/v1/ledger/accounts", operation_id="listLedgerAccounts", sync_to_thread=True, tags=["cash"])
def list_accounts(
    bank_id: BankQuery, actor: NamedDependency[Actor], resources: NamedDependency[Resources], limit: FromQuery[int | None] = None,
    cursor: FromQuery[str | None] = None,
) -> Page[statements.AccountView]:
    """List the accounts of a bank's money with what they hold."""
    asked = read_page(limit, cursor)
    with resources.reads() as session:
        rows = statements.list_accounts(session, actor, BankId(bank_id), limit=asked.limit, after=asked.after_id)
    return page_of(rows, asked, lambda row: str(row.id))


@get("/api/v1/ledger/accounts/{account_id:uuid}/lines", operation_id="listAccountLines", sync_to_thread=True, tags=["cash"])
def list_lines(
    account_id: FromPath[UUID], actor: NamedDependency[Actor], resources: NamedDependency[Resources], limit: FromQuery[int | None] = None,
    cursor: FromQuery[str | None] = None,
) -> Page[statements.Line]:
    """List an account's lines, numbered without a gap, oldest first."""
    asked = read_page(limit, cursor)
    with resources.reads() as session:
        rows = statements.account_lines(session, actor, account_id, limit=asked.limit, after=_ordinal(asked))
    return page_of(rows, asked, lambda row: str(row.ordinal))


@get("/api/v1/cash/custody-statements", operation_id="readCustodyStatement", sync_to_thread=True, tags=["cash"])
def read_custody_month(
    staff_id: Annotated[UUID, QueryParameter(name="staffId")], bank_id: BankQuery, month: FromQuery[date], actor: NamedDependency[Actor],
    resources: NamedDependency[Resources], now: NamedDependency[datetime], limit: FromQuery[int | None] = None,
    cursor: FromQuery[str | None] = None,
) -> CustodyStatement:
    """Return what an employee held for a bank in the month of a day (CASH-08)."""
    on, asked = day_within_reach(month, now, "/month"), read_page(limit, cursor)
    with resources.reads() as session:
        told, lines = statements.custody_month(
            session, actor, StaffId(staff_id), BankId(bank_id), on, limit=asked.limit, after=_ordinal(asked))
    page = page_of(lines, asked, lambda row: str(row.ordinal))
    return CustodyStatement(month=told, rows=page.rows, next=page.next)


@get("/api/v1/branch-closes", operation_id="listBranchCloses", sync_to_thread=True, tags=["cash"])
def list_closes(
    actor: NamedDependency[Actor], resources: NamedDependency[Resources], limit: FromQuery[int | None] = None, cursor: FromQuery[str | None] = None
) -> Page[closing.DayClose]:
    """List the closed days of the branches that the caller sees."""
    asked = read_page(limit, cursor)
    with resources.reads() as session:
        rows = closing.list_closes(session, actor, limit=asked.limit, after=asked.after_id)
    return page_of(rows, asked, lambda row: str(row.id))


@post("/api/v1/branch-closes", operation_id="closeBranchDay", sync_to_thread=True, tags=["cash"])
def close_day(
    data: JSONBody[DayCloseBody], actor: NamedDependency[Actor], resources: NamedDependency[Resources], now: NamedDependency[datetime]
) -> closing.DayClose:
    """Close a day of a branch: every custody to the fen, every difference by name."""
    on = day_within_reach(data.on, now, "/on")
    with transaction(resources.sessions, actor, now) as session:
        return closing.close_day(session, actor, BranchId(data.branch_id), on, now)


def _ordinal(asked: PageAsked) -> int:
    """Return the cursor's key as a line's number. Raises InvalidInput when it is none."""
    if asked.after is None:
        return 0
    if not asked.after.isdecimal() or len(asked.after) > _ORDINAL_DIGITS_MAX:
        raise InvalidInput(pointer="/cursor", expected="a cursor from a former page", got="another text")
    return int(asked.after)


ROUTES: list[Any] = [list_accounts, list_lines, read_custody_month, list_closes, close_day]
