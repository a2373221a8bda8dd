"""Phone writes: one event, or a batch answered item by item in order; the same decoder for both."""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

import msgspec
from litestar import Request, Response, post
from litestar.di import NamedDependency
from litestar.params import JSONBody
from msgspec import Meta
from sqlalchemy.orm import Session

from backend.auth.actors import Actor
from backend.core.i18n import negotiate
from backend.core.problems import InvalidInput, Problem
from backend.exhibits import beacons
from backend.exhibits.rules import Told, bound_claim
from backend.policies import queries as policies
from backend.submissions import inbox
from backend.visits.for_evidence import facts_for_evidence
from backend.web.app import Resources
from backend.web.body import Body, View
from backend.web.problems import from_evidence, render, request_id
from backend.web.transaction import transaction
from evidence.errors import EvidenceError
from mobile_api.envelope import Clocks, EnvelopeBody, Event, EventContext, EventKind, decode_body, digest_of, parse_utc
from mobile_api.event_kinds import KINDS

BATCH_MAX = 50


class EventAnswer(View, frozen=True, omit_defaults=True, kw_only=True):
    """One event's result: `answer` for an acknowledged one (201 new, 200 seen before), `problem` for a refused one."""

    id: UUID
    status: int
    answer: dict[str, Any] | None = None
    problem: dict[str, Any] | None = None


class BatchBody(Body):
    """Up to 50 events of one phone, in the order in which they happened."""

    events: Annotated[list[EnvelopeBody], Meta(min_length=1, max_length=BATCH_MAX)]


class BatchAnswer(View, frozen=True):
    """One result per event, in order; each event was a transaction of its own."""

    results: list[EventAnswer]


@post("/mobile/v1/events", operation_id="sendEvent", sync_to_thread=True, tags=["events"])
def send_event(
    data: JSONBody[EnvelopeBody], actor: NamedDependency[Actor], resources: NamedDependency[Resources], now: NamedDependency[datetime]
) -> Response[EventAnswer]:
    """Take one event: 201, 200 when it was acknowledged before, or a problem."""
    status, answer = receive(resources, actor, data, now)
    return Response(EventAnswer(id=data.id, status=status, answer=answer), status_code=status)


@post("/mobile/v1/event-batches", operation_id="sendEventBatch", sync_to_thread=True, status_code=200, tags=["events"])
def send_batch(
    data: JSONBody[BatchBody], request: Request[Any, Any, Any], actor: NamedDependency[Actor], resources: NamedDependency[Resources],
    now: NamedDependency[datetime],
) -> BatchAnswer:
    """Take a batch: one transaction and one result per event, in order; a refused one does not stop the next."""
    results = []
    for envelope in data.events:
        try:
            status, answer = receive(resources, actor, envelope, now)
            results.append(EventAnswer(id=envelope.id, status=status, answer=answer))
        except (Problem, EvidenceError) as error:
            problem = from_evidence(error) if isinstance(error, EvidenceError) else error
            document = render(problem, negotiate(request.headers.get("accept-language", "")), request_id(request))
            results.append(EventAnswer(id=envelope.id, status=document.status, problem=msgspec.to_builtins(document)))
    return BatchAnswer(results=results)


ROUTES = [send_event, send_batch]


def receive(resources: Resources, actor: Actor, envelope: EnvelopeBody, now: datetime) -> tuple[int, dict[str, Any]]:
    """Take one event in one transaction; returns 201 with its answer, or 200 with the stored one.

    Raises:
        Problem: the event is refused; nothing was written but the refusal.
    """
    kind: EventKind[Any] | None = KINDS.get(envelope.kind)
    if kind is None:
        raise InvalidInput(pointer="/kind", expected=sorted(KINDS), got=envelope.kind)
    body = decode_body(kind, envelope)
    try:
        return _receive_once(resources, actor, envelope, (kind, body), now)
    except inbox.DoubledSubmission:
        return _receive_once(resources, actor, envelope, (kind, body), now)    # The other one won: this replays its answer.


def _receive_once(
    resources: Resources, actor: Actor, envelope: EnvelopeBody, decoded: tuple[EventKind[Any], Any], now: datetime
) -> tuple[int, dict[str, Any]]:
    kind, body = decoded
    digest = digest_of(envelope)
    with transaction(resources.sessions, actor, now) as session:
        inbox.take_in_hand(session, envelope.id)
        stored = inbox.replay(session, envelope.id, envelope.kind, digest, actor)
        if stored is not None:
            return 200, stored
        event = Event(
            id=envelope.id, kind=envelope.kind, mode=envelope.mode, seq=envelope.seq, clocks=envelope.clocks,
            captured_at=_captured_at(session, actor, envelope.clocks, now), received_at=now,
        )
        policy = policies.policy_in_force(session, None, event.captured_at)
        context = EventContext(
            session=session, actor=actor, event=event, policy=policy, keyring=resources.keyring, store=resources.store, settings=resources.settings
        )
        answer = kind.act(context, body)
        inbox.remember(session, envelope.id, envelope.kind, digest, actor, answer, now, case_id=_case_of(session, body))
    return 201, answer


def _case_of(session: Session, body: Any) -> UUID | None:
    """Return the case that an acknowledged event is about, by its own word or its visit's; None for one of several cases or of none."""
    case_id: UUID | None = getattr(body, "case_id", None)
    visit_id: UUID | None = getattr(body, "visit_id", None)
    if case_id is not None or visit_id is None:
        return case_id
    visit = facts_for_evidence(session, str(visit_id))
    return None if visit is None else visit.case_id


def _captured_at(session: Session, actor: Actor, clocks: Clocks, now: datetime) -> datetime:
    """Return the wall clock's time, held within what the phone's last beacon allows; never later than now (F24)."""
    assert actor.device is not None, "phones speak through a device"
    issued_at = beacons.issued_at(session, clocks.beacon, actor.device)
    told = Told(claimed_at=parse_utc(clocks.wall), monotonic_ms=clocks.monotonic_ms, beacon_age_ms=clocks.beacon_age_ms)
    return bound_claim(told, issued_at, now).judged_at
