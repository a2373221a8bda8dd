"""What a bank did after it ruled fraud: told there by its own people, read on the case by the agency, listed while the credit record is open."""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID
from zoneinfo import ZoneInfo

import msgspec
from litestar import Request, Response, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery, JSONBody, QueryParameter, URLEncodedBody
from msgspec import Meta

from backend.auth.actors import Actor
from backend.auth.authorise import authorise
from backend.auth.permissions import Permission
from backend.cases import queries as cases
from backend.console.pages import AGENCY_ZONE, FORM, PAGE, back, demand_own, page, shared
from backend.console.values import Moment, sound_values
from backend.core.ids import DisputeId
from backend.core.problems import InvalidInput
from backend.disputes import follow_ups
from backend.disputes.follow_up_model import (
    REASON_CHARACTERS_MAX,
    REFERENCE_CHARACTERS_MAX,
    FollowUpAct,
    FollowUpView,
    NewFollowUp,
    OpenRuling,
    one_spelling,
)
from backend.web.app import Resources
from backend.web.body import Body
from backend.web.paging import Page, page_of, read_page
from backend.web.transaction import transaction

SHOWN = 50
_CASE = QueryParameter(name="caseId")


class FollowUpBody(Body, kw_only=True):
    """One act of the bank: `reason` of a refused deletion alone, `itemId` the case's own police slip, of a report to the police alone."""

    act: FollowUpAct
    occurred_at: Moment
    reference: Annotated[str, Meta(min_length=1, max_length=REFERENCE_CHARACTERS_MAX)]
    reason: Annotated[str, Meta(min_length=1, max_length=REASON_CHARACTERS_MAX)] | None = None
    item_id: UUID | None = None


class FollowUpForm(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """The same from a page: the time on the agency's clock, an empty text where nothing is said."""

    act: FollowUpAct
    occurred: Annotated[str, Meta(min_length=16, max_length=19)]
    reference: Annotated[str, Meta(min_length=1, max_length=REFERENCE_CHARACTERS_MAX)]
    reason: Annotated[str, Meta(max_length=REASON_CHARACTERS_MAX)] = ""
    item: Annotated[str, Meta(max_length=36)] = ""
    csrf: Annotated[str, Meta(max_length=64)] = ""

    def to_body(self) -> FollowUpBody:
        """Read times and ids. Raises `InvalidInput`."""
        with sound_values("/occurred"):
            local = datetime.fromisoformat(self.occurred)
        if local.tzinfo is not None or not 1970 <= local.year < 9998:
            raise InvalidInput(pointer="/occurred", expected="a local time like 2026-11-27T09:30:00", got=self.occurred)
        with sound_values("/item"):
            item = UUID(self.item) if self.item else None
        return FollowUpBody(
            act=self.act, occurred_at=local.replace(tzinfo=ZoneInfo(AGENCY_ZONE)), reference=self.reference, reason=self.reason.strip() or None,
            item_id=item)


@get("/api/v1/follow-ups", operation_id="listFollowUps", sync_to_thread=True, tags=["disputes"])
def list_follow_ups(
    actor: NamedDependency[Actor], resources: NamedDependency[Resources], limit: FromQuery[int | None] = None, cursor: FromQuery[str | None] = None,
    case_id: Annotated[UUID | None, _CASE] = None,
) -> Page[FollowUpView]:
    """List what banks did after they ruled fraud, as it was told."""
    asked = read_page(limit, cursor)
    with resources.reads() as session:
        rows = follow_ups.page(session, actor, resources.keyring, after=asked.after_id, limit=asked.limit + 1, case_id=case_id)
    return page_of(rows, asked, lambda row: str(row.id))


@get("/api/v1/follow-ups/open", operation_id="listOpenFollowUps", sync_to_thread=True, tags=["disputes"])
def list_open(
    actor: NamedDependency[Actor], resources: NamedDependency[Resources], limit: FromQuery[int | None] = None, cursor: FromQuery[str | None] = None,
) -> Page[OpenRuling]:
    """List cases ruled to be fraud whose credit record is neither deleted nor refused to be."""
    asked = read_page(limit, cursor)
    with resources.reads() as session:
        rows = follow_ups.open_rulings(session, actor, after=asked.after_id, limit=asked.limit + 1)
    return page_of(rows, asked, lambda row: str(row.dispute_id))


@post("/api/v1/disputes/{dispute_id:uuid}/follow-ups", operation_id="followRuling", status_code=201, sync_to_thread=True, tags=["disputes"])
def follow_ruling(
    dispute_id: FromPath[UUID], data: JSONBody[FollowUpBody], actor: NamedDependency[Actor], resources: NamedDependency[Resources],
    now: NamedDependency[datetime],
) -> FollowUpView:
    """Tell, as the bank that ruled, of a report of the fraud or of the deletion of the credit record. The same again changes nothing."""
    with transaction(resources.sessions, actor, now) as session:
        authorise(actor, Permission.FRAUD_FOLLOW)
        return follow_ups.follow(session, actor, resources.keyring, _command(dispute_id, data), now)


@get("/console/follow-ups", operation_id="showFollowUps", **PAGE)
def show_follow_ups(
    request: Request[Any, Any, Any], actor: NamedDependency[Actor], resources: NamedDependency[Resources], now: NamedDependency[datetime],
    cursor: FromQuery[str | None] = None,
) -> Response[str]:
    """Show the cases ruled to be fraud whose credit record waits, each with what the bank may tell next."""
    authorise(actor, Permission.DISPUTE_READ, Permission.FRAUD_FOLLOW)
    asked = read_page(SHOWN, cursor)
    with transaction(resources.sessions, actor, now) as session:
        rows = page_of(follow_ups.open_rulings(session, actor, after=asked.after_id, limit=asked.limit + 1), asked, lambda row: str(row.dispute_id))
        references = cases.references_of(session, actor, {row.case_id for row in rows.rows})
        values = shared(session, request, actor, resources, now)
    return page("follow_ups.html", request, **values, rows=rows.rows, older=rows.next, references=references, zone=AGENCY_ZONE)


@post("/console/disputes/{dispute_id:uuid}/follow-ups", operation_id="submitFollowUp", opt=FORM, **PAGE)
def submit_follow_up(
    dispute_id: FromPath[UUID], data: URLEncodedBody[FollowUpForm], request: Request[Any, Any, Any], actor: NamedDependency[Actor],
    resources: NamedDependency[Resources], now: NamedDependency[datetime],
) -> Response[Any]:
    """Tell of an act on a page, as the bank that ruled."""
    with transaction(resources.sessions, actor, now) as session:
        demand_own(request, resources, now, data.csrf)
        authorise(actor, Permission.FRAUD_FOLLOW)
        told = follow_ups.follow(session, actor, resources.keyring, _command(dispute_id, data.to_body()), now)
    return back(f"/console/cases/{told.case_id}#follow-ups")


ROUTES: list[Any] = [list_follow_ups, list_open, follow_ruling, show_follow_ups, submit_follow_up]


def _command(dispute_id: UUID, data: FollowUpBody) -> NewFollowUp:
    with sound_values():
        return NewFollowUp(
            dispute_id=DisputeId(dispute_id), act=data.act, occurred_at=data.occurred_at, reference=one_spelling(data.reference),
            reason=None if data.reason is None else one_spelling(data.reason), item_id=data.item_id)
