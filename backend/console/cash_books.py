"""Receipts on paper: books counted in, receipts as PDF and QR, payments witnessed at the door, hints of personal transfers, and what is due now."""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from litestar import Response, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery, JSONBody, QueryParameter
from msgspec import Meta

from backend.auth.actors import Actor
from backend.cash import alerts, book_custody, claims, hints, receipt_paper
from backend.cash.hint_model import HintFinding, HintSource
from backend.console.people import Made
from backend.core.ids import CaseId, VisitId
from backend.core.problems import NotFound
from backend.documents.typeset import qr_svg
from backend.web.app import Resources
from backend.web.body import Body, View
from backend.web.paging import Page, page_of, read_page
from backend.web.transaction import transaction

Number = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:-]*\Z", min_length=1, max_length=40)]
NUMBER_CHARS_MAX = 40


class BookCountBody(Body, kw_only=True):
    """What lies in hand: unused sheets, and void numbers of which all parts are there."""

    unused: Annotated[list[Number], Meta(max_length=500)]
    void_parts: Annotated[tuple[Number, ...], Meta(max_length=500)] = ()


class HintBody(Body, kw_only=True):
    """What was heard of a case, and where; without a visit the last one that began is meant."""

    case_id: UUID
    source: HintSource
    visit_id: UUID | None = None
    subject_id: UUID | None = None


class FindingBody(Body, kw_only=True):
    """What came of looking into it."""

    finding: HintFinding


class HintResolved(View, frozen=True):
    """Whether agency and bank have both looked into it."""

    is_resolved: bool


class MissingView(View, frozen=True):
    """The numbers whose paper is not there."""

    missing: tuple[str, ...]


@get("/api/v1/receipt-books", operation_id="listReceiptBooks", sync_to_thread=True, tags=["cash"])
def list_books(
    actor: NamedDependency[Actor], resources: NamedDependency[Resources], limit: FromQuery[int | None] = None, cursor: FromQuery[str | None] = None
) -> Page[book_custody.BookView]:
    """List receipt books: who holds them, what came back, what is missing."""
    asked = read_page(limit, cursor)
    with resources.reads() as session:
        rows = book_custody.list_books(session, actor, limit=asked.limit, after=asked.after_id)
    return page_of(rows, asked, lambda row: str(row.id))


@post("/api/v1/receipt-books/{book_id:uuid}/count", operation_id="countReceiptBook", status_code=200, sync_to_thread=True, tags=["cash"])
def count_book(
    book_id: FromPath[UUID], data: JSONBody[BookCountBody], actor: NamedDependency[Actor], resources: NamedDependency[Resources],
    now: NamedDependency[datetime],
) -> MissingView:
    """Take a book back against the paper in hand; what cannot be shown stays suspended, and its holder answers for it."""
    counted = book_custody.BookCount(unused=frozenset(data.unused), void_parts=frozenset(data.void_parts))
    with transaction(resources.sessions, actor, now) as session:
        return MissingView(missing=book_custody.count_in(session, actor, book_id, counted, now))


@get("/api/v1/receipts/{number:str}/document", operation_id="readReceiptDocument", sync_to_thread=True, tags=["cash"], media_type="application/pdf")
def read_document(number: FromPath[str], actor: NamedDependency[Actor], resources: NamedDependency[Resources]) -> Response[bytes]:
    """Read a receipt as PDF with its QR code; the same receipt has the same bytes."""
    receipt = _printed(number, actor, resources)
    return Response(receipt_paper.receipt_pdf(resources.settings.public_url, receipt), media_type="application/pdf", headers={
        "Content-Disposition": f'attachment; filename="{receipt.number}.pdf"'})


@get("/api/v1/receipts/{number:str}/qr", operation_id="readReceiptCode", sync_to_thread=True, tags=["cash"], media_type="image/svg+xml")
def read_qr(number: FromPath[str], actor: NamedDependency[Actor], resources: NamedDependency[Resources]) -> Response[bytes]:
    """Read the QR code with which whoever holds the receipt can ask whether it is genuine."""
    receipt = _printed(number, actor, resources)
    picture = qr_svg(receipt_paper.verify_address(resources.settings.public_url, receipt))
    return Response(picture.encode(), media_type="image/svg+xml", headers={"Content-Security-Policy": "sandbox; default-src 'none'"})


@get("/api/v1/cash/alerts", operation_id="listCashAlerts", sync_to_thread=True, tags=["cash"])
def list_alerts(
    actor: NamedDependency[Actor], resources: NamedDependency[Resources], now: NamedDependency[datetime]
) -> dict[str, list[alerts.Alert]]:
    """List what somebody has to do about money now, the worst first."""
    with resources.reads() as session:
        return {"rows": alerts.list_alerts(session, actor, now)}


@get("/api/v1/cash/claims", operation_id="listDirectPayments", sync_to_thread=True, tags=["cash"])
def list_claims(
    actor: NamedDependency[Actor], resources: NamedDependency[Resources], limit: FromQuery[int | None] = None, cursor: FromQuery[str | None] = None,
    case_id: Annotated[UUID | None, QueryParameter(name="caseId")] = None,
) -> Page[claims.ClaimView]:
    """List payments to the bank that a pair witnessed, and whether the bank's file confirmed them (F10)."""
    asked = read_page(limit, cursor)
    with resources.reads() as session:
        rows = claims.list_claims(session, actor, limit=asked.limit, after=asked.after_id, case_id=case_id)
    return page_of(rows, asked, lambda row: str(row.id))


@get("/api/v1/cash/hints", operation_id="listCashHints", sync_to_thread=True, tags=["cash"])
def list_hints(
    actor: NamedDependency[Actor], resources: NamedDependency[Resources], limit: FromQuery[int | None] = None, cursor: FromQuery[str | None] = None
) -> Page[hints.HintView]:
    """List hints of personal transfers, and what agency and bank found about them."""
    asked = read_page(limit, cursor)
    with resources.reads() as session:
        rows = hints.list_hints(session, actor, limit=asked.limit, after=asked.after_id)
    return page_of(rows, asked, lambda row: str(row.id))


@post("/api/v1/cash/hints", operation_id="tellCashHint", sync_to_thread=True, tags=["cash"])
def tell_hint(
    data: JSONBody[HintBody], actor: NamedDependency[Actor], resources: NamedDependency[Resources], now: NamedDependency[datetime]
) -> Made:
    """Tell that a debtor is said to have paid one of ours personally: the pair of that visit takes no cash until it is looked into."""
    hint = hints.Hint(
        case_id=CaseId(data.case_id), source=data.source, visit_id=None if data.visit_id is None else VisitId(data.visit_id),
        subject_id=data.subject_id)
    with transaction(resources.sessions, actor, now) as session:
        return Made(id=hints.tell(session, actor, hint, now))


@post("/api/v1/cash/hints/{hint_id:uuid}/resolve", operation_id="resolveCashHint", status_code=200, sync_to_thread=True, tags=["cash"])
def resolve_hint(
    hint_id: FromPath[UUID], data: JSONBody[FindingBody], actor: NamedDependency[Actor], resources: NamedDependency[Resources],
    now: NamedDependency[datetime],
) -> HintResolved:
    """Say what was found, for the agency or for the bank; the pair may take cash again once both have."""
    with transaction(resources.sessions, actor, now) as session:
        return HintResolved(is_resolved=hints.resolve(session, actor, hint_id, data.finding, now))


def _printed(number: str, actor: Actor, resources: Resources) -> receipt_paper.PrintedReceipt:
    if len(number) > NUMBER_CHARS_MAX or "\0" in number:
        raise NotFound
    with resources.reads() as session:
        return receipt_paper.printed(session, actor, number)


ROUTES: list[Any] = [list_books, count_book, read_document, read_qr, list_alerts, list_claims, list_hints, tell_hint, resolve_hint]
