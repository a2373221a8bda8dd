"""The pages of review and custody: what waits to be looked at, and the forms of a visit's page. They work without script."""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

import msgspec
from litestar import Request, Response, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, URLEncodedBody
from msgspec import Meta
from sqlalchemy.orm import Session

from backend.archive import holds
from backend.archive.model import HoldGround, SetHold
from backend.archive.scopes import tokens_for, told_after
from backend.auth.actors import Actor
from backend.auth.authorise import authorise
from backend.auth.permissions import Permission
from backend.console.packs import send_whole
from backend.console.pages import FORM, PAGE, UnmaskText, back, demand_own, page, shared, unmask_of
from backend.console.words import REASONS
from backend.core.ids import CaseId, ManifestId, VisitId
from backend.exhibits import exports, masks, queries, reviews
from backend.exhibits.copies import CopyPurpose
from backend.exhibits.custody_model import ItemVerdict, MaskReason, SetMask
from backend.exhibits.exports import place_of
from backend.exhibits.item_reviews import ReviewItem
from backend.exhibits.model import Verdict
from backend.exhibits.packs import visit_scope
from backend.visits import evidence_review, sampling
from backend.visits import queries as visits
from backend.visits.model import VisitStatus
from backend.web.app import Resources
from backend.web.transaction import transaction
from evidence.photo_marks import Box

QUEUE_MAX, PASSED_MAX = 50, 20
_Text = Annotated[str, Meta(min_length=1, max_length=2000)]
_Csrf = Annotated[str, Meta(max_length=64)]
_PerMille = Annotated[int, Meta(ge=0, le=1000)]


class _Form(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    csrf: _Csrf = ""


class ItemReviewForm(_Form, kw_only=True):
    """A word on one file."""

    verdict: ItemVerdict
    comment: _Text


class MaskForm(_Form, kw_only=True):
    """One region of a picture in per mille; added to those that are there."""

    reason: MaskReason
    left: _PerMille
    top: _PerMille
    right: _PerMille
    bottom: _PerMille


class DecisionForm(_Form, kw_only=True):
    """A verdict on one statement in doubt or quarantine."""

    verdict: Verdict
    reason: _Text


class HoldForm(_Form, kw_only=True):
    """Why nothing of the case may be destroyed."""

    ground: HoldGround
    reason: _Text


class LiftForm(_Form, kw_only=True):
    """Why a hold ends."""

    reason: _Text


class PackForm(_Form, kw_only=True):
    """What a pack is for, and why identity documents in it shall be legible, if they shall."""

    purpose: CopyPurpose
    unmask: UnmaskText = ""


@get("/console/reviews", operation_id="showReviews", **PAGE)
def show_reviews(
    request: Request[Any, Any, Any], actor: NamedDependency[Actor], resources: NamedDependency[Resources], now: NamedDependency[datetime]
) -> Response[str]:
    """Show the reported visits that wait to be looked at, with the reason, and those that no lot drew (F05)."""
    authorise(actor, Permission.VISIT_REVIEW)
    with transaction(resources.sessions, actor, now) as session:
        waiting = visits.visit_page(session, actor, resources.keyring, now, after=None, limit=QUEUE_MAX, status=VisitStatus.REPORTED)
        passed = visits.visit_page(session, actor, resources.keyring, now, after=None, limit=PASSED_MAX, status=VisitStatus.NOT_SAMPLED)
        drawn = sampling.samplings_of(session, [row.id for row in (*waiting, *passed)])
        evidence = queries.exceptions_in(session, [row.id for row in waiting[:QUEUE_MAX]])
        withheld = queries.withheld_in(session, list(evidence))
        values = shared(session, request, actor, resources, now)
    return page(
        "reviews.html", request, **values, withheld=withheld, waiting=waiting[:QUEUE_MAX], passed=passed[:PASSED_MAX], drawn=drawn, evidence=evidence,
        reasons=REASONS, is_more=len(waiting) > QUEUE_MAX)


@post("/console/evidence/{item_key:uuid}/review", operation_id="submitItemReview", opt=FORM, **PAGE)
def submit_item_review(
    item_key: FromPath[UUID], data: URLEncodedBody[ItemReviewForm], request: Request[Any, Any, Any], actor: NamedDependency[Actor],
    resources: NamedDependency[Resources], now: NamedDependency[datetime],
) -> Response[Any]:
    """Accept, return or reject a file, or comment on it."""
    with transaction(resources.sessions, actor, now) as session:
        demand_own(request, resources, now, data.csrf)
        command = ReviewItem(item_key=item_key, verdict=data.verdict, comment=data.comment)
        reviewed, _ = evidence_review.review(session, actor, resources.keyring, command, now)
    return _back(reviewed.visit_id)


@post("/console/evidence/{item_key:uuid}/mask", operation_id="submitMask", opt=FORM, **PAGE)
def submit_mask(
    item_key: FromPath[UUID], data: URLEncodedBody[MaskForm], request: Request[Any, Any, Any], actor: NamedDependency[Actor],
    resources: NamedDependency[Resources], now: NamedDependency[datetime],
) -> Response[Any]:
    """Cover one more region of a picture on every copy from now on (F27)."""
    with transaction(resources.sessions, actor, now) as session:
        demand_own(request, resources, now, data.csrf)
        authorise(actor, Permission.VISIT_REVIEW)
        item = queries.stored_item(session, actor, item_key)
        box = msgspec.convert({"left": data.left, "top": data.top, "right": data.right, "bottom": data.bottom}, Box)
        boxes = (*masks.masks_of(session, [item_key]).get(item_key, ()), box)
        masks.set_mask(session, actor, SetMask(item_key=item_key, boxes=boxes, reason=data.reason), now)
    return _back(item.visit_id)


@post("/console/statements/{manifest_id:uuid}/decision", operation_id="submitDecision", opt=FORM, **PAGE)
def submit_decision(
    manifest_id: FromPath[UUID], data: URLEncodedBody[DecisionForm], request: Request[Any, Any, Any], actor: NamedDependency[Actor],
    resources: NamedDependency[Resources], now: NamedDependency[datetime],
) -> Response[Any]:
    """Release or uphold a statement in doubt (one supervisor) or quarantine (two people)."""
    with transaction(resources.sessions, actor, now) as session:
        demand_own(request, resources, now, data.csrf)
        command = reviews.Decide(manifest_id=ManifestId(manifest_id), verdict=data.verdict, reason=data.reason)
        reviews.decide(session, actor, resources.keyring, command, now)
        visit_id = queries.statement(session, actor, ManifestId(manifest_id)).visit_id
    return _back(visit_id)


@post("/console/visits/{visit_id:uuid}/hold", operation_id="submitHold", opt=FORM, **PAGE)
def submit_hold(
    visit_id: FromPath[UUID], data: URLEncodedBody[HoldForm], request: Request[Any, Any, Any], actor: NamedDependency[Actor],
    resources: NamedDependency[Resources], now: NamedDependency[datetime],
) -> Response[Any]:
    """Hold everything of the visit's case."""
    with transaction(resources.sessions, actor, now) as session:
        demand_own(request, resources, now, data.csrf)
        command = SetHold(case_id=_case(session, actor, visit_id), ground=data.ground, reason=data.reason)
        holds.set_hold(session, actor, resources.keyring, command, now)
    return _back(VisitId(visit_id))


@post("/console/visits/{visit_id:uuid}/holds/{hold_id:uuid}/lift", operation_id="submitLift", opt=FORM, **PAGE)
def submit_lift(
    visit_id: FromPath[UUID], hold_id: FromPath[UUID], data: URLEncodedBody[LiftForm], request: Request[Any, Any, Any],
    actor: NamedDependency[Actor], resources: NamedDependency[Resources], now: NamedDependency[datetime],
) -> Response[Any]:
    """Lift a hold, with the reason."""
    with transaction(resources.sessions, actor, now) as session:
        demand_own(request, resources, now, data.csrf)
        _case(session, actor, visit_id)
        holds.lift_hold(session, actor, resources.keyring, (hold_id, data.reason), now)
    return _back(VisitId(visit_id))


@post("/console/visits/{visit_id:uuid}/pack", operation_id="submitPack", status_code=200, opt=FORM, **PAGE)
def submit_pack(
    visit_id: FromPath[UUID], data: URLEncodedBody[PackForm], request: Request[Any, Any, Any], actor: NamedDependency[Actor],
    resources: NamedDependency[Resources], now: NamedDependency[datetime],
) -> Response[Any]:
    """Make the visit's pack and hand it over as a file."""
    demand_own(request, resources, now, data.csrf)
    authorise(actor, Permission.EVIDENCE_EXPORT)
    place = place_of(resources.store, resources.settings, resources.origin)
    asked = exports.PackRequest(
        scope=visit_scope(visit_id), purpose=data.purpose, unmask=unmask_of(data.unmask), authorisations=tokens_for, follow_ups=told_after)
    made = exports.export(lambda: transaction(resources.sessions, actor, now), actor, resources.keyring, place, (asked, now))
    return send_whole(actor, resources, made.id, f"visit-{visit_id}.zip", now)


ROUTES = [show_reviews, submit_item_review, submit_mask, submit_decision, submit_hold, submit_lift, submit_pack]


def _case(session: Session, actor: Actor, visit_id: UUID) -> CaseId:
    return CaseId(visits.visit_of(session, actor, visit_id).case_id)


def _back(visit_id: VisitId | None) -> Response[Any]:
    return back("/console/reviews" if visit_id is None else f"/console/visits/{visit_id}#evidence")
