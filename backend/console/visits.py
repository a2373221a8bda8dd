"""Visits at the desk: the day, one visit whole, reviews by supervisor and liaison, incidents, cancelling and filing."""

from datetime import date, datetime
from typing import Annotated
from uuid import UUID

from litestar import get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery, JSONBody
from litestar.types import ControllerRouterHandler
from msgspec import Meta

from backend.auth.actors import Actor
from backend.core.ids import BranchId, VisitId
from backend.visits import incidents, queries, reports
from backend.visits.incidents import IncidentView
from backend.visits.model import ReviewVerdict, Verdict, VisitStatus
from backend.visits.queries import VisitDetail, VisitSummary
from backend.visits.rules import REVIEW_CHECKLIST
from backend.web.app import Resources
from backend.web.body import Body, View
from backend.web.paging import Page, page_of, read_page
from backend.web.transaction import transaction

CheckName = Annotated[str, Meta(pattern=r"^[a-z_]{1,40}\Z", max_length=40, examples=list(REVIEW_CHECKLIST))]
ExceptionCode = Annotated[str, Meta(pattern=r"^[a-z-]{1,80}\Z", max_length=80, examples=["no-recording"])]


class ReviewBody(Body):
    """A review over the whole checklist. `acceptedExceptions` names each listed exception that the reviewer takes on themselves."""

    verdict: Verdict
    checklist: Annotated[dict[CheckName, bool], Meta(max_length=40)]
    comment: Annotated[str, Meta(max_length=2_000)] = ""
    accepted_exceptions: Annotated[frozenset[ExceptionCode], Meta(max_length=40)] = frozenset()


class StatusView(View, frozen=True, kw_only=True):
    """A visit after a step."""

    id: VisitId
    status: VisitStatus


class DayView(View, frozen=True):
    """Every visit of a day that the reader may see, in the order of arrival."""

    on: date
    visits: tuple[VisitSummary, ...]


class VisitView(View, frozen=True, kw_only=True):
    """One visit with all that was told of it; incidents are shown to the agency's people."""

    visit: VisitDetail
    incidents: tuple[IncidentView, ...]


class SettledView(View, frozen=True):
    """An incident that a supervisor has dealt with."""

    id: UUID


@get("/api/v1/visits", operation_id="listVisits", sync_to_thread=True, tags=["visits"])
def read_visits(
    actor: NamedDependency[Actor], resources: NamedDependency[Resources], now: NamedDependency[datetime], limit: FromQuery[int | None] = None,
    cursor: FromQuery[str | None] = None, on: FromQuery[date | None] = None, status: FromQuery[VisitStatus | None] = None,
) -> Page[VisitSummary]:
    """List visits; the read is recorded (SEC-01)."""
    asked = read_page(limit, cursor)
    with transaction(resources.sessions, actor, now) as session:
        rows = queries.visit_page(session, actor, resources.keyring, now, after=asked.after_id, limit=asked.limit, on=on, status=status)
    return page_of(rows, asked, lambda row: str(row.id))


@get("/api/v1/visit-days/{on:date}", operation_id="readVisitDay", sync_to_thread=True, tags=["visits"])
def read_day(
    on: FromPath[date], actor: NamedDependency[Actor], resources: NamedDependency[Resources], now: NamedDependency[datetime],
    branch_id: FromQuery[UUID | None] = None,
) -> DayView:
    """Return a whole day with withdrawals as of now; the read is recorded (SEC-01)."""
    with transaction(resources.sessions, actor, now) as session:
        return DayView(on=on, visits=queries.day(session, actor, resources.keyring, BranchId(branch_id) if branch_id else None, on, now))


@get("/api/v1/visits/{visit_id:uuid}", operation_id="readVisit", sync_to_thread=True, tags=["visits"])
def read_visit(
    visit_id: FromPath[UUID], actor: NamedDependency[Actor], resources: NamedDependency[Resources], now: NamedDependency[datetime]
) -> VisitView:
    """Return one visit with all that was told of it; the read is recorded (SEC-01)."""
    with transaction(resources.sessions, actor, now) as session:
        shown = queries.detail(session, actor, resources.keyring, VisitId(visit_id), now)
        seen = incidents.incidents_of(session, actor, resources.keyring, VisitId(visit_id))
    return VisitView(visit=shown, incidents=seen)


@post("/api/v1/visits/{visit_id:uuid}/review", operation_id="reviewVisit", status_code=200, sync_to_thread=True, tags=["visits"])
def review_visit(
    visit_id: FromPath[UUID], data: JSONBody[ReviewBody], actor: NamedDependency[Actor], resources: NamedDependency[Resources],
    now: NamedDependency[datetime],
) -> StatusView:
    """Accept a visit or send it back; what its closing lacked is taken on by name or not accepted (EVD-01, TEAM-09)."""
    command = ReviewVerdict(
        visit_id=VisitId(visit_id), verdict=data.verdict, checklist=data.checklist, comment=data.comment,
        accepted_exceptions=data.accepted_exceptions,
    )
    with transaction(resources.sessions, actor, now) as session:
        return StatusView(id=VisitId(visit_id), status=reports.review(session, actor, resources.keyring, command, now))


@post("/api/v1/visits/{visit_id:uuid}/cancel", operation_id="cancelVisit", status_code=200, sync_to_thread=True, tags=["visits"])
def cancel_visit(
    visit_id: FromPath[UUID], actor: NamedDependency[Actor], resources: NamedDependency[Resources], now: NamedDependency[datetime]
) -> StatusView:
    """Cancel a visit that nobody has begun."""
    with transaction(resources.sessions, actor, now) as session:
        return StatusView(id=VisitId(visit_id), status=reports.cancel(session, actor, VisitId(visit_id), now))


@post("/api/v1/visits/{visit_id:uuid}/archive", operation_id="archiveVisit", status_code=200, sync_to_thread=True, tags=["visits"])
def archive_visit(
    visit_id: FromPath[UUID], actor: NamedDependency[Actor], resources: NamedDependency[Resources], now: NamedDependency[datetime]
) -> StatusView:
    """File a reviewed visit."""
    with transaction(resources.sessions, actor, now) as session:
        return StatusView(id=VisitId(visit_id), status=reports.archive(session, actor, VisitId(visit_id), now))


@get("/api/v1/incidents", operation_id="listIncidents", sync_to_thread=True, tags=["visits"])
def read_incidents(
    actor: NamedDependency[Actor], resources: NamedDependency[Resources], now: NamedDependency[datetime], limit: FromQuery[int | None] = None,
    cursor: FromQuery[str | None] = None, settled: FromQuery[bool | None] = None,
) -> Page[IncidentView]:
    """List the open incidents of the supervisor's branches, or with `settled` all of them, oldest first; the read is recorded (VIS-09)."""
    asked = read_page(limit, cursor)
    with transaction(resources.sessions, actor, now) as session:
        rows = incidents.incident_page(session, actor, resources.keyring, now, after=asked.after_id, limit=asked.limit, is_open=not settled)
    return page_of(rows, asked, lambda row: str(row.id))


@post("/api/v1/incidents/{incident_id:uuid}/settle", operation_id="settleIncident", status_code=200, sync_to_thread=True, tags=["visits"])
def settle_incident(
    incident_id: FromPath[UUID], actor: NamedDependency[Actor], resources: NamedDependency[Resources], now: NamedDependency[datetime]
) -> SettledView:
    """Note that an incident was dealt with."""
    with transaction(resources.sessions, actor, now) as session:
        incidents.settle_incident(session, actor, incident_id, now)
    return SettledView(incident_id)


ROUTES: list[ControllerRouterHandler] = [
    read_visits, read_day, read_visit, review_visit, cancel_visit, archive_visit, read_incidents, settle_incident,
]
