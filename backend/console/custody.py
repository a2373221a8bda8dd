"""Custody at the console: files reviewed and masked, legal holds, terms, destructions by two people, originals for an outsider."""

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec
from litestar import get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery, JSONBody
from litestar.types import ControllerRouterHandler
from msgspec import Meta

from backend.archive import destructions, holds, productions
from backend.archive.destructions import DestructionView
from backend.archive.holds import HoldView
from backend.archive.model import ORIGINALS_MAX, AskProduction, DestructionGround, HoldGround, SetHold
from backend.archive.productions import ProductionView
from backend.auth.actors import Actor
from backend.console.values import Moment
from backend.core.ids import CaseId, VisitId
from backend.exhibits import masks
from backend.exhibits.copies import CopyPurpose
from backend.exhibits.custody_model import MASKS_MAX, ItemVerdict, MaskReason, SetMask
from backend.exhibits.exports import PackView, place_of
from backend.exhibits.item_reviews import ReviewItem
from backend.visits import evidence_review, sampling
from backend.visits.model import VisitStatus
from backend.web.app import Resources
from backend.web.body import Body, View
from backend.web.paging import Page, page_of, read_page
from backend.web.transaction import transaction
from evidence.photo_marks import Box

Reason = Annotated[str, Meta(min_length=1, max_length=2000)]
_Coordinate = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{43}\Z", max_length=43)]


class ItemReviewBody(Body):
    """A reviewer's word on one file; a return opens the visit again, a rejection takes the file out of exports."""

    verdict: ItemVerdict
    comment: Reason


class MaskBody(Body):
    """Regions that no copy shows from now on; an empty list takes earlier ones away."""

    boxes: Annotated[list[Box], Meta(max_length=MASKS_MAX)]
    reason: MaskReason


class HoldBody(Body):
    """Why nothing of the case may be destroyed."""

    ground: HoldGround
    reason: Reason


class LiftBody(Body):
    """Why a hold ends."""

    reason: Reason


class TermBody(Body):
    """Until when files without an end are kept; longer terms stay."""

    until: Moment


class DestructionBody(Body):
    """Why a case's evidence is to be destroyed."""

    ground: DestructionGround


class ApprovalBody(Body):
    """One of two people's answers."""

    is_approved: bool


class PublicKeyBody(Body):
    """A recipient's public P-256 key; the private one never comes here."""

    kty: Literal["EC"]
    crv: Literal["P-256"]
    x: _Coordinate
    y: _Coordinate


class ProductionBody(Body):
    """Which originals, for whom, sealed to which key, and why."""

    case_id: UUID
    items: Annotated[list[UUID], Meta(min_length=1, max_length=ORIGINALS_MAX)]
    recipient: Annotated[str, Meta(min_length=1, max_length=120)]
    recipient_key: PublicKeyBody
    purpose: CopyPurpose
    reason: Reason


class ItemReviewed(View, frozen=True, kw_only=True):
    """A stored word, and where the visit stands then."""

    id: UUID
    visit_status: VisitStatus | None


class Made(View, frozen=True):
    """What was made."""

    id: UUID


class TermSet(View, frozen=True):
    """How many files got the term."""

    files: int


class Holds(View, frozen=True):
    """Every hold that a case has or had."""

    holds: tuple[HoldView, ...]


class StatusView(View, frozen=True, kw_only=True):
    """A visit after a step."""

    id: VisitId
    status: VisitStatus


@post("/api/v1/evidence/{item_key:uuid}/reviews", operation_id="reviewItem", status_code=201, sync_to_thread=True, tags=["evidence"])
def review_item(
    item_key: FromPath[UUID], data: JSONBody[ItemReviewBody], actor: NamedDependency[Actor], resources: NamedDependency[Resources],
    now: NamedDependency[datetime],
) -> ItemReviewed:
    """Accept, return or reject one file, or comment on it."""
    command = ReviewItem(item_key=item_key, verdict=data.verdict, comment=data.comment)
    with transaction(resources.sessions, actor, now) as session:
        reviewed, status = evidence_review.review(session, actor, resources.keyring, command, now)
    return ItemReviewed(id=reviewed.id, visit_status=status)


@post("/api/v1/evidence/{item_key:uuid}/masks", operation_id="maskItem", status_code=201, sync_to_thread=True, tags=["evidence"])
def mask_item(
    item_key: FromPath[UUID], data: JSONBody[MaskBody], actor: NamedDependency[Actor], resources: NamedDependency[Resources],
    now: NamedDependency[datetime],
) -> Made:
    """Cover regions of a picture on every copy made from now on (F27); the original stays as it is."""
    with transaction(resources.sessions, actor, now) as session:
        return Made(masks.set_mask(session, actor, SetMask(item_key=item_key, boxes=tuple(data.boxes), reason=data.reason), now))


@post("/api/v1/visits/{visit_id:uuid}/call-up", operation_id="callUpVisit", status_code=200, sync_to_thread=True, tags=["visits"])
def call_up_visit(
    visit_id: FromPath[UUID], actor: NamedDependency[Actor], resources: NamedDependency[Resources], now: NamedDependency[datetime]
) -> StatusView:
    """Have a visit looked at that no lot had drawn (F05, F20)."""
    with transaction(resources.sessions, actor, now) as session:
        return StatusView(id=VisitId(visit_id), status=sampling.call_up(session, actor, VisitId(visit_id), now))


@get("/api/v1/cases/{case_id:uuid}/legal-holds", operation_id="listLegalHolds", sync_to_thread=True, tags=["custody"])
def read_holds(
    case_id: FromPath[UUID], actor: NamedDependency[Actor], resources: NamedDependency[Resources], now: NamedDependency[datetime]
) -> Holds:
    """Return every hold that a case has or had."""
    with transaction(resources.sessions, actor, now) as session:
        return Holds(holds.holds_of(session, actor, resources.keyring, case_id, now))


@post("/api/v1/cases/{case_id:uuid}/legal-holds", operation_id="setLegalHold", status_code=201, sync_to_thread=True, tags=["custody"])
def set_hold(
    case_id: FromPath[UUID], data: JSONBody[HoldBody], actor: NamedDependency[Actor], resources: NamedDependency[Resources],
    now: NamedDependency[datetime],
) -> Made:
    """Hold everything of a case: nothing of it is destroyed until the hold is lifted."""
    command = SetHold(case_id=CaseId(case_id), ground=data.ground, reason=data.reason)
    with transaction(resources.sessions, actor, now) as session:
        return Made(holds.set_hold(session, actor, resources.keyring, command, now))


@post("/api/v1/legal-holds/{hold_id:uuid}/lift", operation_id="liftLegalHold", status_code=204, sync_to_thread=True, tags=["custody"])
def lift_hold(
    hold_id: FromPath[UUID], data: JSONBody[LiftBody], actor: NamedDependency[Actor], resources: NamedDependency[Resources],
    now: NamedDependency[datetime],
) -> None:
    """Lift a hold, with the reason; its history stays."""
    with transaction(resources.sessions, actor, now) as session:
        holds.lift_hold(session, actor, resources.keyring, (hold_id, data.reason), now)


@post("/api/v1/cases/{case_id:uuid}/retention", operation_id="setTerm", status_code=200, sync_to_thread=True, tags=["custody"])
def set_term(
    case_id: FromPath[UUID], data: JSONBody[TermBody], actor: NamedDependency[Actor], resources: NamedDependency[Resources],
    now: NamedDependency[datetime],
) -> TermSet:
    """Give a case's files a term; none is ever shortened (EVD-03)."""
    with transaction(resources.sessions, actor, now) as session:
        return TermSet(destructions.set_term(session, actor, case_id, data.until, now))


@get("/api/v1/destructions", operation_id="listDestructions", sync_to_thread=True, tags=["custody"])
def read_destructions(
    actor: NamedDependency[Actor], resources: NamedDependency[Resources], limit: FromQuery[int | None] = None, cursor: FromQuery[str | None] = None,
) -> Page[DestructionView]:
    """List destructions with their certificates, newest first."""
    asked = read_page(limit, cursor)
    with resources.reads() as session:
        rows = destructions.page(session, actor, after=asked.after_id, limit=asked.limit + 1)
    return page_of(rows, asked, lambda row: str(row.id))


@post("/api/v1/cases/{case_id:uuid}/destructions", operation_id="proposeDestruction", status_code=201, sync_to_thread=True, tags=["custody"])
def propose_destruction(
    case_id: FromPath[UUID], data: JSONBody[DestructionBody], actor: NamedDependency[Actor], resources: NamedDependency[Resources],
    now: NamedDependency[datetime],
) -> Made:
    """Propose to destroy a case's evidence once its terms are over (EVD-02, EVD-03); another person decides."""
    with transaction(resources.sessions, actor, now) as session:
        return Made(destructions.propose(session, actor, case_id, data.ground, now))


@post("/api/v1/destructions/{destruction_id:uuid}/decision", operation_id="decideDestruction", status_code=200, sync_to_thread=True, tags=["custody"])
def decide_destruction(
    destruction_id: FromPath[UUID], data: JSONBody[ApprovalBody], actor: NamedDependency[Actor], resources: NamedDependency[Resources],
    now: NamedDependency[datetime],
) -> DestructionView:
    """Approve or refuse a destruction that somebody else proposed; an approved one is carried out and certified."""
    with transaction(resources.sessions, actor, now) as session:
        decided = destructions.decide(session, actor, destruction_id, now, is_approved=data.is_approved)
    if decided.is_approved and resources.queue is not None:
        resources.queue.put("evidence.destroy", decided.id)
    return decided


@get("/api/v1/productions", operation_id="listProductions", sync_to_thread=True, tags=["custody"])
def read_productions(
    actor: NamedDependency[Actor], resources: NamedDependency[Resources], limit: FromQuery[int | None] = None, cursor: FromQuery[str | None] = None,
) -> Page[ProductionView]:
    """List the register of productions, newest first."""
    asked = read_page(limit, cursor)
    with resources.reads() as session:
        rows = productions.page(session, actor, after=asked.after_id, limit=asked.limit + 1)
    return page_of(rows, asked, lambda row: str(row.id))


@post("/api/v1/productions", operation_id="askProduction", status_code=201, sync_to_thread=True, tags=["custody"])
def ask_production(
    data: JSONBody[ProductionBody], actor: NamedDependency[Actor], resources: NamedDependency[Resources], now: NamedDependency[datetime]
) -> ProductionView:
    """Ask for originals, sealed to one recipient's key; two others approve, the general manager among them (ARCH-11)."""
    key: dict[str, Any] = msgspec.structs.asdict(data.recipient_key)
    command = AskProduction(
        case_id=CaseId(data.case_id), items=tuple(data.items), recipient=data.recipient, recipient_jwk=key, purpose=data.purpose.value,
        reason=data.reason)
    with transaction(resources.sessions, actor, now) as session:
        return productions.ask(session, actor, resources.keyring, command, now)


@post("/api/v1/productions/{production_id:uuid}/decision", operation_id="decideProduction", status_code=200, sync_to_thread=True, tags=["custody"])
def decide_production(
    production_id: FromPath[UUID], data: JSONBody[ApprovalBody], actor: NamedDependency[Actor], resources: NamedDependency[Resources],
    now: NamedDependency[datetime],
) -> ProductionView:
    """Approve a production, first or second, or refuse it."""
    with transaction(resources.sessions, actor, now) as session:
        return productions.decide(session, actor, production_id, now, is_approved=data.is_approved)


@post("/api/v1/productions/{production_id:uuid}/pack", operation_id="produceOriginals", status_code=201, sync_to_thread=True, tags=["custody"])
def produce_originals(
    production_id: FromPath[UUID], actor: NamedDependency[Actor], resources: NamedDependency[Resources], now: NamedDependency[datetime]
) -> PackView:
    """Make the sealed pack of a twice approved production, once; `verify_pack --open KEY` opens it."""
    place = place_of(resources.store, resources.settings, resources.origin)
    return productions.produce(
        lambda: transaction(resources.sessions, actor, now), actor, resources.keyring, place, (production_id, now))


ROUTES: list[ControllerRouterHandler] = [
    review_item, mask_item, call_up_visit, read_holds, set_hold, lift_hold, set_term, read_destructions, propose_destruction, decide_destruction,
    read_productions, ask_production, decide_production, produce_originals,
]
