"""Asking banks for leave to take money and their answers, receipt books, money taken without leave."""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from litestar import get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery, JSONBody
from msgspec import Meta

from backend.auth.actors import Actor
from backend.auth.authorise import authorise
from backend.auth.permissions import Permission
from backend.cash import actions, authorisations, books, queries, waiting
from backend.cash.model import CashRequest, Circumstance, Grant
from backend.core.fen import FEN_MAX, Fen
from backend.core.ids import BankId, CaseId, VisitId, new_id
from backend.policies.queries import policy_in_force
from backend.web.app import Resources
from backend.web.body import Body, View
from backend.web.paging import Page, page_of, read_page
from backend.web.transaction import transaction

Amount = Annotated[int, Meta(ge=1, le=FEN_MAX)]
AmountOrNothing = Annotated[int, Meta(ge=0, le=FEN_MAX)]
Code = Annotated[str, Meta(pattern=r"^[a-z][a-z0-9_-]*\Z", min_length=1, max_length=48)]
Reason = Annotated[str, Meta(min_length=3, max_length=400)]
Kid = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{43}\Z", max_length=43)]
Sha256 = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z", max_length=64)]
Number = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:-]*\Z", min_length=1, max_length=40)]
Reference = Annotated[str, Meta(pattern=r"^[\x21-\x7e]{1,64}\Z", max_length=64)]


class AskBody(Body, kw_only=True):
    """Ask a bank for leave to take money (CASH-03)."""

    case_id: UUID
    visit_id: UUID | None = None
    circumstance: Circumstance
    explanation: Annotated[str, Meta(max_length=2000)]
    cap_fen: Amount


class GrantBody(Body, kw_only=True):
    """The compact JWS made with the bank's own key."""

    token: Annotated[str, Meta(min_length=1, max_length=8000, pattern=r"^[A-Za-z0-9_.-]+\Z")]


class RefuseBody(Body, kw_only=True):
    """Why not, as a code."""

    reason: Code


class LeaseBody(Body, kw_only=True):
    """One sealed book for one phone."""

    serial: Annotated[str, Meta(pattern=r"^[A-Z0-9][A-Z0-9-]*\Z", min_length=2, max_length=24)]
    bank_id: UUID
    device: Kid
    first_number: Annotated[int, Meta(ge=1, le=99_999)]
    last_number: Annotated[int, Meta(ge=1, le=99_999)]

    def __post_init__(self) -> None:
        self.to_lease()

    def to_lease(self) -> books.Lease:
        """Say it in the slice's words."""
        return books.Lease(
            serial=self.serial, bank_id=BankId(self.bank_id), device=self.device, first_number=self.first_number, last_number=self.last_number
        )


class Made(View, frozen=True):
    """The id of what was made."""

    id: UUID


class Granted(View, frozen=True):
    """The authorisation's own id."""

    jti: str


class StatusView(View, frozen=True):
    """Where it stands now."""

    status: str


class NumbersView(View, frozen=True):
    """The numbers of a book with the codes printed beside them."""

    numbers: tuple[books.LeasedNumber, ...]


class CountView(View, frozen=True):
    """How many were changed."""

    count: int


@get("/api/v1/authorisation-requests", operation_id="listAuthorisationRequests", sync_to_thread=True, tags=["cash"])
def list_requests(
    actor: NamedDependency[Actor], resources: NamedDependency[Resources], now: NamedDependency[datetime], limit: FromQuery[int | None] = None,
    cursor: FromQuery[str | None] = None,
) -> Page[queries.RequestView]:
    """List the requests to banks with their countdown."""
    asked = read_page(limit, cursor)
    with transaction(resources.sessions, actor, now) as session:
        rows = queries.list_requests(session, actor, resources.keyring, now, limit=asked.limit, after=asked.after_id)
    return page_of(rows, asked, lambda row: str(row.id))


@post("/api/v1/authorisation-requests", operation_id="requestAuthorisation", sync_to_thread=True, tags=["cash"])
def ask(data: JSONBody[AskBody], actor: NamedDependency[Actor], resources: NamedDependency[Resources], now: NamedDependency[datetime]) -> Made:
    """Ask the bank of a case."""
    with transaction(resources.sessions, actor, now) as session:
        authorise(actor, Permission.CASH_REQUEST)
        sealed = authorisations.seal_explanation(session, actor, resources.keyring, data.case_id, data.explanation.strip())
        policy = queries.policy_of_case(session, data.case_id, now)
        request_id = authorisations.request_authorisation(session, actor, CashRequest(
            request_id=new_id(), case_id=CaseId(data.case_id), visit_id=VisitId(data.visit_id) if data.visit_id else None,
            circumstance=data.circumstance, sealed_explanation=sealed,
            is_explained=bool(data.explanation.strip()), cap_requested_fen=Fen(data.cap_fen),
        ), policy, now)
    return Made(id=request_id)


@post(
    "/api/v1/authorisation-requests/{request_id:uuid}/second", operation_id="secondAuthorisation", status_code=204, sync_to_thread=True, tags=["cash"]
)
def second(
    request_id: FromPath[UUID], actor: NamedDependency[Actor], resources: NamedDependency[Resources], now: NamedDependency[datetime]
) -> None:
    """Confirm a large request as the first of two authorisers."""
    with transaction(resources.sessions, actor, now) as session:
        authorisations.second(session, actor, request_id, policy_in_force(session, actor_bank(actor), now), now)


@post(
    "/api/v1/authorisation-requests/{request_id:uuid}/grant", operation_id="grantAuthorisation", status_code=200, sync_to_thread=True, tags=["cash"]
)
def grant(
    request_id: FromPath[UUID], data: JSONBody[GrantBody], actor: NamedDependency[Actor], resources: NamedDependency[Resources],
    now: NamedDependency[datetime],
) -> Granted:
    """Hand in the bank's signed word (CASH-04)."""
    with transaction(resources.sessions, actor, now) as session:
        policy = policy_in_force(session, actor_bank(actor), now)
        command = Grant(request_id=request_id, agency=resources.settings.tenant, token=data.token)
        return Granted(jti=authorisations.grant(session, actor, command, policy, now))


@post(
    "/api/v1/authorisation-requests/{request_id:uuid}/refuse", operation_id="refuseAuthorisation", status_code=204, sync_to_thread=True, tags=["cash"]
)
def refuse(
    request_id: FromPath[UUID], data: JSONBody[RefuseBody], actor: NamedDependency[Actor], resources: NamedDependency[Resources],
    now: NamedDependency[datetime],
) -> None:
    """Refuse as the bank."""
    with transaction(resources.sessions, actor, now) as session:
        authorisations.refuse(session, actor, request_id, data.reason, now)


@post("/api/v1/authorisations/{jti:str}/revoke", operation_id="revokeAuthorisation", status_code=204, sync_to_thread=True, tags=["cash"])
def revoke(jti: FromPath[str], actor: NamedDependency[Actor], resources: NamedDependency[Resources], now: NamedDependency[datetime]) -> None:
    """Take an authorisation back."""
    with transaction(resources.sessions, actor, now) as session:
        authorisations.revoke(session, actor, jti, now)


@post("/api/v1/receipt-books", operation_id="leaseReceiptBook", sync_to_thread=True, tags=["cash"])
def lease(
    data: JSONBody[LeaseBody], actor: NamedDependency[Actor], resources: NamedDependency[Resources], now: NamedDependency[datetime]
) -> NumbersView:
    """Sign a book out to a phone."""
    with transaction(resources.sessions, actor, now) as session:
        return NumbersView(numbers=books.lease(session, actor, data.to_lease(), now))


@post("/api/v1/receipt-books/{book_id:uuid}/sign-in", operation_id="signInReceiptBook", status_code=200, sync_to_thread=True, tags=["cash"])
def sign_in(
    book_id: FromPath[UUID], actor: NamedDependency[Actor], resources: NamedDependency[Resources], now: NamedDependency[datetime]
) -> CountView:
    """Take a book back; its unused numbers are returned."""
    with transaction(resources.sessions, actor, now) as session:
        return CountView(count=books.sign_in(session, actor, book_id, now))


@post("/api/v1/devices/{kid:str}/suspend-receipts", operation_id="suspendReceipts", status_code=200, sync_to_thread=True, tags=["cash"])
def suspend_receipts(
    kid: FromPath[str], actor: NamedDependency[Actor], resources: NamedDependency[Resources], now: NamedDependency[datetime]
) -> CountView:
    """Suspend the unused numbers of a lost phone."""
    with transaction(resources.sessions, actor, now) as session:
        return CountView(count=books.suspend_device(session, actor, kid, now))


@get("/api/v1/cash/exceptions", operation_id="listCashExceptions", sync_to_thread=True, tags=["cash"])
def list_exceptions(
    actor: NamedDependency[Actor], resources: NamedDependency[Resources], limit: FromQuery[int | None] = None, cursor: FromQuery[str | None] = None
) -> Page[waiting.ExceptionView]:
    """List money taken without authority that agency or bank have not resolved."""
    asked = read_page(limit, cursor)
    with resources.reads() as session:
        rows = waiting.list_exceptions(session, actor, limit=asked.limit, after=asked.after)
    return page_of(rows, asked, lambda row: row.number)


@post("/api/v1/cash/exceptions/{number:str}/resolve", operation_id="resolveCashException", status_code=200, sync_to_thread=True, tags=["cash"])
def resolve_exception(
    number: FromPath[str], actor: NamedDependency[Actor], resources: NamedDependency[Resources], now: NamedDependency[datetime]
) -> StatusView:
    """Resolve an exception for the agency or for the bank."""
    with transaction(resources.sessions, actor, now) as session:
        is_resolved = actions.resolve_exception(session, actor, number, now)
    return StatusView(status="resolved" if is_resolved else "open")


def actor_bank(actor: Actor) -> BankId | None:
    """Return the bank that the actor speaks for."""
    return BankId(actor.bank) if actor.bank else None


ROUTES: list[Any] = [list_requests, ask, second, grant, refuse, revoke, lease, sign_in, suspend_receipts, list_exceptions, resolve_exception]
