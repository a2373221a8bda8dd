"""The page of daily closes: cashiers close a day, the agency reads its branches', a bank its own part. It works without script."""

from collections.abc import Mapping
from datetime import date, datetime
from typing import Annotated, Any
from uuid import UUID

import msgspec
from litestar import Request, Response, get, post
from litestar.di import NamedDependency
from litestar.params import FromQuery, URLEncodedBody
from msgspec import Meta

from backend.auth.actors import Actor
from backend.auth.authorise import authorise
from backend.auth.permissions import Permission
from backend.cases.model import today_of
from backend.cash import closing
from backend.console.pages import AGENCY_ZONE, FORM, PAGE, back, demand_own, page, shared
from backend.console.values import day_within_reach
from backend.core.i18n import N_
from backend.core.ids import BranchId
from backend.staff import queries as staff
from backend.web.app import Resources
from backend.web.pages import reader_language
from backend.web.paging import page_of, read_page
from backend.web.transaction import transaction

SHOWN = 14
KINDS: Mapping[str, str] = {
    "custody-not-deposited": N_("money still held"), "deposit-overdue": N_("receipt not paid in before its deadline"),
    "variance-open": N_("variance not closed"), "deposit-held": N_("deposit waits for its money"),
    "deposit-unconfirmed": N_("deposit not on the statement yet"), "handover-open": N_("hand-over not finished"),
    "exception-open": N_("money taken without authority"),
}
"""What a difference of a close is called."""


class CloseForm(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Which day of which branch is over."""

    branch_id: UUID
    on: date
    csrf: Annotated[str, Meta(max_length=64)] = ""


@get("/console/closes", operation_id="showCloses", **PAGE)
def show_closes(
    request: Request[Any, Any, Any], actor: NamedDependency[Actor], resources: NamedDependency[Resources], now: NamedDependency[datetime],
    cursor: FromQuery[str | None] = None,
) -> Response[str]:
    """Show the closed days that the actor sees, the latest first; a bank sees what each says of its money."""
    authorise(actor, Permission.CASH_READ)
    asked = read_page(SHOWN, cursor)
    with transaction(resources.sessions, actor, now) as session:
        rows = page_of(
            closing.list_closes(session, actor, limit=asked.limit, after=asked.after_id, is_latest_first=True), asked, lambda row: str(row.id))
        is_chinese = reader_language(request) == "zh-Hans"
        branches = {one.id: one.name_zh if is_chinese else one.name_en for one in staff.branches_named(session, {row.branch_id for row in rows.rows})}
        branches |= {one.id: one.name_zh if is_chinese else one.name_en for one in staff.branches(session, actor)}
        people = {row.closed_by for row in rows.rows} | {day.staff_id for row in rows.rows for day in row.custody}
        people |= {one.owner for row in rows.rows for one in row.differences if one.owner is not None}
        names = staff.names_of(session, people)
        values = shared(session, request, actor, resources, now)
    return page(
        "closes.html", request, **values, rows=rows.rows, older=rows.next, branches=branches, people=names, kinds=KINDS, zone=AGENCY_ZONE,
        today=today_of(now))


@post("/console/closes", operation_id="submitClose", opt=FORM, **PAGE)
def submit_close(
    data: URLEncodedBody[CloseForm], request: Request[Any, Any, Any], actor: NamedDependency[Actor], resources: NamedDependency[Resources],
    now: NamedDependency[datetime],
) -> Response[Any]:
    """Close a day of a branch."""
    with transaction(resources.sessions, actor, now) as session:
        demand_own(request, resources, now, data.csrf)
        closing.close_day(session, actor, BranchId(data.branch_id), day_within_reach(data.on, now, "/on"), now)
    return back("/console/closes")


ROUTES: list[Any] = [show_closes, submit_close]
