"""Events at the door: check-in, leave to start, right party, entry, outcome, report, end, and what a supervisor must see.

A fact happened when the phone captured it; `visit.start` alone may also be asked for as leave.
"""

from typing import Annotated, Any
from uuid import UUID

import msgspec
from msgspec import Meta

from backend.cash import claims
from backend.cash.claims import witnessed_payment
from backend.core.geo import Datum, LonLat, to_wgs84
from backend.core.ids import VisitId
from backend.visits import actions, reports
from backend.visits.model import (
    CheckIn,
    Entry,
    FactStored,
    Identity,
    Incident,
    IncidentKind,
    OutcomeTold,
    Recoverability,
    Report,
    RightPartyCheck,
    StartVisit,
)
from backend.web.body import Body
from mobile_api.envelope import EventContext, EventKind, Mode, UtcText, fact_answer, parse_utc

Note = Annotated[str, Meta(min_length=1, max_length=2000)]
Words = Annotated[str, Meta(max_length=2000)]
Code = Annotated[str, Meta(min_length=1, max_length=64)]
ItemName = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:-]*\Z", min_length=1, max_length=64)]


class PlaceBody(Body, kw_only=True):
    """Where the phone says it is; the datum is always named."""

    lon: Annotated[float, Meta(ge=-180, le=180)]
    lat: Annotated[float, Meta(ge=-90, le=90)]
    datum: Datum
    accuracy_m: Annotated[int, Meta(ge=0, le=100_000)] | None = None


class CheckInBody(Body, kw_only=True):
    """I stand at the door, wear my credential or not, and present myself as … (VIS-05, VIS-07)."""

    visit_id: UUID
    is_credential_worn: bool
    identity_presented: Identity
    position: PlaceBody | None = None


class StartBody(Body, kw_only=True):
    """May we start, or: we started."""

    visit_id: UUID


class RightPartyBody(Body, kw_only=True):
    """What the person said was compared on the phone (F08); `attempt` counts from 1."""

    visit_id: UUID
    attempt: Annotated[int, Meta(ge=1, le=100)]
    is_match: bool


class EnteredBody(Body, kw_only=True):
    """We went in: why, who allowed it, when, and the evidence item that shows it (VIS-02, VIS-03)."""

    visit_id: UUID
    reason: Note | None = None
    consented_by: Annotated[str, Meta(min_length=1, max_length=200)] | None = None
    consented_at: UtcText | None = None
    evidence_item_id: ItemName | None = None

    def __post_init__(self) -> None:
        if self.consented_at is not None:
            parse_utc(self.consented_at)


class OutcomeBody(Body, kw_only=True):
    """How it went: a code of the outcome catalogue with its fields (F09)."""

    visit_id: UUID
    code: Code
    fields: Annotated[dict[Code, Any], Meta(max_length=20)] = msgspec.field(default_factory=dict)
    note: Note | None = None


class ReportBody(Body, kw_only=True):
    """What we found (VIS-12, VIS-13). The entered answer has no default (VIS-02)."""

    visit_id: UUID
    is_entered: bool
    recoverability: Recoverability
    reasons: Words
    attitude: Words
    delinquency_reason: Words
    financial_situation: Words
    new_contact: Words | None = None


class EndBody(Body, kw_only=True):
    """We left the door."""

    visit_id: UUID


class VulnerabilityBody(Body, kw_only=True):
    """Somebody there is seriously ill, pregnant or in a like condition (VIS-11)."""

    visit_id: UUID
    condition: Code
    observation: Annotated[str, Meta(min_length=1, max_length=500)] | None = None


class IncidentBody(Body, kw_only=True):
    """Something that the supervisor must see (VIS-09, VIS-18)."""

    visit_id: UUID
    kind: IncidentKind
    note: Note


def check_in(context: EventContext, body: CheckInBody) -> dict[str, Any]:
    """Store one visitor's check-in."""
    place = body.position
    return _answer(actions.check_in(context.session, context.actor, context.keyring, CheckIn(
        visit_id=VisitId(body.visit_id), at=context.event.captured_at, is_credential_worn=body.is_credential_worn,
        identity_presented=body.identity_presented, position=to_wgs84(LonLat(place.lon, place.lat), place.datum) if place else None,
        accuracy_m=place.accuracy_m if place else None,
    ), context.now))


def start(context: EventContext, body: StartBody) -> dict[str, Any]:
    """Give leave to start, or store that the visit was started."""
    is_intent = context.event.mode is Mode.INTENT
    command = StartVisit(visit_id=VisitId(body.visit_id), at=context.event.captured_at, is_intent=is_intent)
    told = actions.start(context.session, context.actor, command, context.now)
    return {"granted": True, "visitId": str(told.visit_id), "status": told.status.value} if is_intent else _answer(told)


def right_party(context: EventContext, body: RightPartyBody) -> dict[str, Any]:
    """Store one try at the right party."""
    return _answer(actions.confirm_right_party(context.session, context.actor, RightPartyCheck(
        visit_id=VisitId(body.visit_id), at=context.event.captured_at, attempt=body.attempt, is_match=body.is_match,
    ), context.now))


def entered(context: EventContext, body: EnteredBody) -> dict[str, Any]:
    """Store an entry."""
    return _answer(actions.enter(context.session, context.actor, context.keyring, Entry(
        visit_id=VisitId(body.visit_id), at=context.event.captured_at, reason=body.reason, consented_by=body.consented_by,
        consented_at=parse_utc(body.consented_at) if body.consented_at else None, evidence_item_id=body.evidence_item_id,
    ), context.now))


def outcome(context: EventContext, body: OutcomeBody) -> dict[str, Any]:
    """Store an outcome; it takes effect at once. A payment to the bank that the pair saw becomes a claim without a receipt (F10)."""
    told = _told(context, OutcomeTold(
        visit_id=VisitId(body.visit_id), at=context.event.captured_at, code=body.code, fields=body.fields, note=body.note,
    ))
    witnessed = witnessed_payment(VisitId(body.visit_id), body.code, body.fields, context.event.captured_at)
    if witnessed is not None:
        claims.claim(context.session, context.actor, witnessed, context.now)
    return told


def noticed(context: EventContext, body: VulnerabilityBody) -> dict[str, Any]:
    """Hold the case and stop the visit: the outcome `vulnerable_found`, told by its own name."""
    fields: dict[str, Any] = {"condition": body.condition} | ({"observation": body.observation} if body.observation else {})
    return _told(context, OutcomeTold(visit_id=VisitId(body.visit_id), at=context.event.captured_at, code="vulnerable_found", fields=fields))


def report(context: EventContext, body: ReportBody) -> dict[str, Any]:
    """Store the report."""
    return _answer(reports.report(context.session, context.actor, context.keyring, Report(
        visit_id=VisitId(body.visit_id), at=context.event.captured_at, is_entered=body.is_entered, recoverability=body.recoverability,
        reasons=body.reasons, attitude=body.attitude, delinquency_reason=body.delinquency_reason, financial_situation=body.financial_situation,
        new_contact=body.new_contact,
    ), context.now))


def end(context: EventContext, body: EndBody) -> dict[str, Any]:
    """Store when the pair left."""
    return _answer(actions.end(context.session, context.actor, VisitId(body.visit_id), context.event.captured_at, context.now))


def incident(context: EventContext, body: IncidentBody) -> dict[str, Any]:
    """Store an incident."""
    return _answer(reports.report_incident(context.session, context.actor, context.keyring, Incident(
        visit_id=VisitId(body.visit_id), at=context.event.captured_at, kind=body.kind, note=body.note,
    ), context.now))


def _told(context: EventContext, told: OutcomeTold) -> dict[str, Any]:
    return _answer(actions.record_outcome(context.session, context.actor, context.keyring, told, context.now))


def _answer(stored: FactStored) -> dict[str, Any]:
    return fact_answer(stored.breaches, factId=str(stored.id), visitId=str(stored.visit_id), status=stored.status.value)


_FACT = frozenset({Mode.FACT})
KINDS: dict[str, EventKind[Any]] = {
    "visit.check_in": EventKind(CheckInBody, _FACT, check_in),
    "visit.start": EventKind(StartBody, frozenset({Mode.INTENT, Mode.FACT}), start),
    "visit.right_party": EventKind(RightPartyBody, _FACT, right_party),
    "visit.entered": EventKind(EnteredBody, _FACT, entered),
    "visit.outcome": EventKind(OutcomeBody, _FACT, outcome),
    "visit.report": EventKind(ReportBody, _FACT, report),
    "visit.end": EventKind(EndBody, _FACT, end),
    "vulnerability.noticed": EventKind(VulnerabilityBody, _FACT, noticed),
    "safety.incident": EventKind(IncidentBody, _FACT, incident),
}
