"""Visit requests: raised, analysed, decided by somebody else, withdrawn."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

import msgspec
from litestar import get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery, JSONBody
from litestar.types import ControllerRouterHandler
from msgspec import Meta

from backend.auth.actors import Actor
from backend.console.values import Moment, Note, sound_values, within_reach
from backend.core.fen import FEN_MAX, Fen
from backend.core.ids import CaseId, RequestId, StaffId
from backend.requests import actions, queries
from backend.requests.actions import Decide
from backend.requests.model import BULK_MAX, Choice, RaiseRequest, RequestReceipt, RequestStatus, Verdict
from backend.requests.queries import RequestView
from backend.web.app import Resources
from backend.web.body import Body, View
from backend.web.paging import Page, page_of, read_page
from backend.web.transaction import transaction

DaySeconds = Annotated[int, Meta(ge=0, le=86_400)]
Code = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{1,64}$")]


class RequestBody(Body):
    """A request for a visit. Without a phone contact it is refused under REQ-01."""

    case_id: UUID
    reason: Note
    contact_id: UUID | None = None
    address_id: UUID | None = None
    window_from_s: DaySeconds = 28_800
    window_to_s: DaySeconds = 75_600
    is_mandatory: bool = False
    required_certificate: Code | None = None
    required_language: Annotated[str, Meta(pattern=r"^[a-z]{2,3}(-[A-Za-z0-9]{2,8})?$")] | None = None
    service_s: Annotated[int, Meta(ge=60, le=14_400)] = 1_500
    cash_expected_fen: Annotated[int, Meta(ge=0, le=FEN_MAX)] = 0
    excluded_staff: Annotated[tuple[UUID, ...], Meta(max_length=50)] = ()

    def to_command(self) -> RaiseRequest:
        """Return the same in the domain's words. Raises `InvalidInput`."""
        with sound_values():
            return RaiseRequest(
                case_id=CaseId(self.case_id), contact_id=self.contact_id, reason=self.reason, address_id=self.address_id,
                window_from_s=self.window_from_s, window_to_s=self.window_to_s, is_mandatory=self.is_mandatory,
                required_certificate=self.required_certificate, required_language=self.required_language, service_s=self.service_s,
                cash_expected_fen=Fen(self.cash_expected_fen), excluded_staff=frozenset(StaffId(one) for one in self.excluded_staff),
            )


class AnalysisBody(Body):
    """The completed analysis of a request (REQ-02)."""

    analysis: Note


class DecisionBody(Body):
    """One decision. `effectiveAt` is when an approval takes effect; at once when it is absent."""

    choice: Choice
    reason: Note
    effective_at: Moment | None = None


class BatchDecisionBody(DecisionBody, kw_only=True):
    """One decision on up to fifty green requests, with a row for each (F04)."""

    request_ids: Annotated[list[UUID], Meta(min_length=1, max_length=BULK_MAX)]


class RequestReceiptView(View, frozen=True, kw_only=True):
    """A request after a step."""

    id: RequestId
    case_id: CaseId
    status: RequestStatus
    verdict: Verdict | None
    at: datetime


class RequestReceiptsView(View, frozen=True):
    """The requests of a batch after their decision."""

    rows: tuple[RequestReceiptView, ...]


@post("/api/v1/visit-requests", operation_id="raiseVisitRequest", sync_to_thread=True, tags=["visit requests"])
def raise_request(
    data: JSONBody[RequestBody], actor: NamedDependency[Actor], resources: NamedDependency[Resources], now: NamedDependency[datetime]
) -> RequestReceiptView:
    """Ask for a visit on the strength of a phone contact (REQ-01)."""
    command = data.to_command()
    with transaction(resources.sessions, actor, now) as session:
        return _shown(actions.raise_request(session, actor, resources.keyring, command, now))


@get("/api/v1/visit-requests", operation_id="listVisitRequests", sync_to_thread=True, tags=["visit requests"])
def read_requests(
    actor: NamedDependency[Actor], resources: NamedDependency[Resources], now: NamedDependency[datetime], limit: FromQuery[int | None] = None,
    cursor: FromQuery[str | None] = None, status: FromQuery[RequestStatus | None] = None, verdict: FromQuery[Verdict | None] = None,
) -> Page[RequestView]:
    """List requests without their texts, oldest first."""
    asked = read_page(limit, cursor)
    with resources.reads() as session:
        rows = queries.list_requests(session, actor, now=now, limit=asked.limit, after=asked.after_id, status=status, verdict=verdict)
    return page_of(rows, asked, lambda row: str(row.id))


@get("/api/v1/visit-requests/{request_id:uuid}", operation_id="readVisitRequest", sync_to_thread=True, tags=["visit requests"])
def read_request(
    request_id: FromPath[UUID], actor: NamedDependency[Actor], resources: NamedDependency[Resources], now: NamedDependency[datetime]
) -> RequestView:
    """Return one request with its texts. The read is recorded (SEC-01)."""
    with transaction(resources.sessions, actor, now) as session:
        return queries.show_request(session, actor, resources.keyring, request_id, now)


@post("/api/v1/visit-requests/{request_id:uuid}/analysis", operation_id="analyseVisitRequest", status_code=200, sync_to_thread=True,
      tags=["visit requests"])
def analyse_request(
    request_id: FromPath[UUID], data: JSONBody[AnalysisBody], actor: NamedDependency[Actor], resources: NamedDependency[Resources],
    now: NamedDependency[datetime],
) -> RequestReceiptView:
    """Complete the analysis of a request; the policy's verdict comes with it (REQ-02)."""
    with transaction(resources.sessions, actor, now) as session:
        return _shown(actions.analyse(session, actor, resources.keyring, request_id, data.analysis, now))


@post("/api/v1/visit-requests/{request_id:uuid}/decision", operation_id="decideVisitRequest", status_code=200, sync_to_thread=True,
      tags=["visit requests"])
def decide_request(
    request_id: FromPath[UUID], data: JSONBody[DecisionBody], actor: NamedDependency[Actor], resources: NamedDependency[Resources],
    now: NamedDependency[datetime],
) -> RequestReceiptView:
    """Approve or reject a request that somebody else raised (REQ-03)."""
    command = _decision((request_id,), data, now)
    with transaction(resources.sessions, actor, now) as session:
        (receipt,) = actions.decide(session, actor, resources.keyring, command, now)
        return _shown(receipt)


@post("/api/v1/visit-request-decisions", operation_id="decideVisitRequests", status_code=200, sync_to_thread=True, tags=["visit requests"])
def decide_requests(
    data: JSONBody[BatchDecisionBody], actor: NamedDependency[Actor], resources: NamedDependency[Resources], now: NamedDependency[datetime]
) -> RequestReceiptsView:
    """Decide up to fifty green requests in one act, all or none, with a decision row each (F04)."""
    command = _decision(tuple(data.request_ids), data, now)
    with transaction(resources.sessions, actor, now) as session:
        receipts = actions.decide(session, actor, resources.keyring, command, now)
    return RequestReceiptsView(rows=tuple(_shown(receipt) for receipt in receipts))


@post("/api/v1/visit-requests/{request_id:uuid}/withdrawal", operation_id="withdrawVisitRequest", status_code=200, sync_to_thread=True,
      tags=["visit requests"])
def withdraw_request(
    request_id: FromPath[UUID], actor: NamedDependency[Actor], resources: NamedDependency[Resources], now: NamedDependency[datetime]
) -> RequestReceiptView:
    """Withdraw an open request by decision."""
    with transaction(resources.sessions, actor, now) as session:
        return _shown(actions.withdraw(session, actor, request_id, now))


def _decision(request_ids: tuple[UUID, ...], body: DecisionBody, now: datetime) -> Decide:
    effective_at = None if body.effective_at is None else within_reach(body.effective_at, now, "/effectiveAt")
    return Decide(
        request_ids=tuple(RequestId(one) for one in request_ids), choice=body.choice, reason=body.reason, effective_at=effective_at
    )


def _shown(receipt: RequestReceipt) -> RequestReceiptView:
    return msgspec.convert(receipt, RequestReceiptView, from_attributes=True)


ROUTES: list[ControllerRouterHandler] = [
    raise_request, read_requests, read_request, analyse_request, decide_request, decide_requests, withdraw_request,
]
