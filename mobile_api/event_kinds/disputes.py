"""Events of disputes: a denial, which suspends at once, and the question whether a declaration is complete before it is signed."""

from typing import Annotated, Any
from uuid import UUID

from msgspec import Meta

from backend.cases.model import SuspensionReason
from backend.core.ids import CaseId, DisputeId
from backend.disputes import actions
from backend.disputes.model import StateDispute
from backend.disputes.queries import form_facts
from backend.visits.for_evidence import facts_for_evidence
from backend.web.body import Body
from evidence.facts import DeclarationForm
from mobile_api.envelope import EventContext, EventKind, Mode, UtcText, parse_utc

Sha256 = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z", max_length=64)]
Words = Annotated[str, Meta(max_length=2000)]


class StatedBody(Body, kw_only=True):
    """The cardholder denies the application or the spending, or disputes the amount (DECL-01)."""

    case_id: UUID
    visit_id: UUID | None = None
    kind: SuspensionReason
    stated_at: UtcText

    def __post_init__(self) -> None:
        parse_utc(self.stated_at)


class CheckBody(Body, kw_only=True):
    """A declaration as it would be signed: form, words, digests of the pictures."""

    case_id: UUID
    form: DeclarationForm
    template_id: UUID
    template_version: Annotated[int, Meta(ge=1, le=1_000_000)]
    special_circumstances: Words | None = None
    transcription: Words | None = None
    written_by_declarant: bool
    signed_by_declarant: bool
    id_card_generation: Annotated[int, Meta(ge=1, le=2)]
    id_front_sha256: Sha256 | None = None
    id_back_sha256: Sha256 | None = None
    page_count: Annotated[int, Meta(ge=0, le=50)]


def stated(context: EventContext, body: StatedBody) -> dict[str, Any]:
    """Record a denial; the event's id is the dispute's. It is never lost to a wrong visit: one that is not this case's is left out."""
    visit = facts_for_evidence(context.session, str(body.visit_id)) if body.visit_id else None
    visit_id = visit.visit_id if visit and visit.case_id == body.case_id else None
    done = actions.state_dispute(context.session, context.actor, StateDispute(
        dispute_id=DisputeId(context.event.id), case_id=CaseId(body.case_id), visit_id=visit_id,
        kind=body.kind, stated_at=min(parse_utc(body.stated_at), context.now),
    ), context.policy, context.now)
    return {
        "standing": "accepted", "breaches": [], "disputeId": str(done.dispute_id), "status": done.status.value,
        "suspendedAt": done.suspended_at.isoformat(),
    }


def check(context: EventContext, body: CheckBody) -> dict[str, Any]:
    """Tell whether the declaration is complete; refused for form, template or identity card, never for the declarant's words."""
    facts = form_facts(
        context.session, context.actor, body.case_id, (body.template_id, body.form, body.template_version), now=context.now,
        words=(body.special_circumstances or "", body.transcription or ""), is_by_declarant=(body.written_by_declarant, body.signed_by_declarant),
        id_card_generation=body.id_card_generation, sides=(body.id_front_sha256, body.id_back_sha256), page_count=body.page_count,
    )
    flagged = actions.check_declaration(facts)
    return {"complete": True, "flagged": [{"rule": one.rule.value, "code": one.code} for one in flagged]}


KINDS: dict[str, EventKind[Any]] = {
    "dispute.stated": EventKind(StatedBody, frozenset({Mode.FACT}), stated),
    "declaration.check": EventKind(CheckBody, frozenset({Mode.INTENT}), check),
}
