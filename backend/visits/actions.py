"""At the door: dispatch, check-in, leave to start, right party, entry, outcome, end.

Leave is refused with all its breaches. A fact is stored with them and never refused for what it says (F23); it is judged under
the policy in force when it happened.
"""

from collections.abc import Mapping
from datetime import date, datetime
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import msgspec
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from backend.audit import breaches as stored_breaches
from backend.audit.events import EventTag
from backend.audit.record import record
from backend.auth.actors import Actor
from backend.auth.authorise import authorise
from backend.auth.permissions import Permission
from backend.cases import actions as cases
from backend.cases.model import CaseEvent, Stop, SuspensionReason
from backend.cases.tables import CaseRow
from backend.contacts.actions import conclude_visit_contact, lock_debtor, record_visit_contact
from backend.core.fen import Fen
from backend.core.ids import BankId, CaseId, PlanId, VisitId, new_id
from backend.core.problems import NotFound
from backend.core.rulebook import Breach, demand
from backend.disputes import actions as disputes
from backend.keys.keyring import Keyring
from backend.keys.sealing import sealer
from backend.offers.model import NewPromise, PromiseSource
from backend.offers.promises import promise
from backend.plans import actions as plans
from backend.plans.model import PlanPublished
from backend.plans.tables import RouteRow, StopRow
from backend.policies.model import Policy
from backend.policies.queries import policy_in_force
from backend.requests.actions import fulfil
from backend.visits.as_contacts import seen_at_door
from backend.visits.catalogue import CATALOGUE_VERSION, Effect, Outcome, OutcomeSpec
from backend.visits.gather import check_in_facts, has_entry, right_party_at, start_facts, stops_as_of
from backend.visits.incidents import add_incident
from backend.visits.model import (
    CheckIn,
    Entry,
    FactStored,
    Identity,
    IncidentKind,
    OutcomeTold,
    RightPartyCheck,
    Standing,
    StartVisit,
    Told,
    VisitEvent,
    VisitStatus,
    advance,
    settle,
    standing_of,
)
from backend.visits.queries import visible_to
from backend.visits.rules import OutcomeFacts, judge_attempt, judge_check_in, judge_entry, judge_outcome, judge_start, read_outcome
from backend.visits.tables import CheckInRow, EntryRow, OutcomeRow, RightPartyRow, VisitRow

_SUSPENDS_FOR = {
    Outcome.DENIES_APPLICATION: SuspensionReason.DENIES_APPLICATION, Outcome.DENIES_SPENDING: SuspensionReason.DENIES_SPENDING,
    Outcome.DISPUTES_AMOUNT: SuspensionReason.DISPUTES_AMOUNT, Outcome.DECLARATION_TAKEN: SuspensionReason.DENIES_APPLICATION,
}


def dispatch_plan(session: Session, actor: Actor, plan_id: PlanId, now: datetime) -> PlanPublished:
    """Publish a plan and make its visit stops visits; visits of the superseded version that nobody has begun are cancelled.

    Raises:
        RulesBreached: the plan is no longer clean; nothing is published.
        NotFound, Forbidden, IllegalTransition: as `plans.actions.publish`.
    """
    published = plans.publish(session, actor, plan_id, now)
    replaced = _cancel_superseded(session, published)
    for stop in published.stops:
        session.add(VisitRow(
            id=stop.visit_id, version=published.version, case_id=stop.case_id, request_id=stop.request_id, stop_id=stop.stop_id,
            address_id=stop.address_id, bank_id=stop.bank_id, branch_id=published.branch_id, on=published.on, timezone=stop.timezone,
            collector_a=stop.collector_a, collector_b=stop.collector_b, status=VisitStatus.DISPATCHED, dispatched_at=now,
            policy_version=published.policy_version,
        ))
    session.flush()
    planned = {stop.case_id for stop in published.stops}
    for case_id in sorted(replaced - planned):
        cases.step_if_allowed(session, actor, cases.locked_case(session, actor, case_id), (CaseEvent.WITHDRAW_VISIT,), now)
    for case_id in sorted(planned - replaced):
        cases.step_if_allowed(session, actor, cases.locked_case(session, actor, case_id), (CaseEvent.PLAN_VISIT,), now)
    record(
        session, actor, EventTag.VISIT_DISPATCHED, f"plan:{published.id}", now, policy_version=published.policy_version, visits=len(published.stops),
        cancelled=len(replaced),
    )
    return published


def check_in(session: Session, actor: Actor, keyring: Keyring, command: CheckIn, now: datetime) -> FactStored:
    """Store that one visitor stands at the door, with what they wear and as whom they present themselves."""
    visit, policy = _performed(session, actor, command.visit_id, command.at)
    fact_id = new_id()
    session.add(CheckInRow(
        id=fact_id, visit_id=visit.id, staff_id=actor.id, device=actor.device, at=command.at, received_at=now, position=command.position,
        accuracy_m=command.accuracy_m, is_credential_worn=command.is_credential_worn, identity_presented=command.identity_presented,
    ))
    local_at = command.at.astimezone(ZoneInfo(visit.timezone))
    breaches = judge_check_in(check_in_facts(session, visit, actor.id, command, local_at), policy)
    if command.identity_presented is not Identity.AGENCY:
        note = f"presented as {command.identity_presented.value}"
        add_incident(session, actor, keyring, visit, IncidentKind.WRONG_IDENTITY, note, at=command.at, now=now)
    return _stored(session, actor, visit, fact_id, breaches, EventTag.VISIT_CHECKED_IN, policy, now)


def start(session: Session, actor: Actor, command: StartVisit, now: datetime) -> FactStored:
    """Give leave to start, or store that a visit was started. A visit that has begun stays begun: the partner gets the same answer.

    Raises:
        RulesBreached: leave was asked and a rule forbids it; every breach is named.
        NotFound: not a visit of this collector.
    """
    at = now if command.is_intent else command.at
    visit, policy = _performed(session, actor, command.visit_id, at)
    if visit.started_at is not None:
        return FactStored(id=new_id(), visit_id=VisitId(visit.id), status=visit.status, standing=Standing.ACCEPTED)
    case = lock_debtor(session, actor, visit.case_id)
    breaches = judge_start(start_facts(session, visit, case, at, policy), policy)
    if command.is_intent:
        demand(breaches)
    visit.started_at, visit.policy_version = at, policy.version
    record_visit_contact(session, actor, visit.case_id, visit.id, at, policy, now)
    _write_back(session, actor, visit, now)  # An outcome may have arrived before the start that it followed.
    fulfil(session, actor, visit.request_id, now)
    return _stored(session, actor, visit, new_id(), breaches, EventTag.VISIT_STARTED, policy, now)


def confirm_right_party(session: Session, actor: Actor, command: RightPartyCheck, now: datetime) -> FactStored:
    """Store one try to confirm whom the pair speaks with (F08); the phone's number counts, or ours when it is higher."""
    visit, policy = _performed(session, actor, command.visit_id, command.at)
    earlier = session.scalar(select(func.count()).select_from(RightPartyRow).where(RightPartyRow.visit_id == visit.id)) or 0
    attempt, fact_id = max(command.attempt, earlier + 1), new_id()
    session.add(RightPartyRow(
        id=fact_id, visit_id=visit.id, staff_id=actor.id, at=command.at, received_at=now, attempt=attempt, is_match=command.is_match,
    ))
    return _stored(session, actor, visit, fact_id, judge_attempt(attempt, policy), EventTag.VISIT_RIGHT_PARTY, policy, now)


def enter(session: Session, actor: Actor, keyring: Keyring, command: Entry, now: datetime) -> FactStored:
    """Store that the pair went in, with whose prior consent (VIS-02, VIS-03)."""
    visit, policy = _performed(session, actor, command.visit_id, command.at)
    box, fact_id = sealer(session, keyring, visit.case_id), new_id()
    session.add(EntryRow(
        id=fact_id, visit_id=visit.id, staff_id=actor.id, at=command.at, received_at=now,
        reason=None if command.reason is None else box.seal("visit_entries.reason", command.reason),
        consented_by=None if command.consented_by is None else box.seal("visit_entries.consented_by", command.consented_by),
        consented_at=command.consented_at, evidence_item_id=command.evidence_item_id,
    ))
    visit.is_entered = True
    return _stored(session, actor, visit, fact_id, judge_entry(command), EventTag.VISIT_ENTERED, policy, now)


def record_outcome(session: Session, actor: Actor, keyring: Keyring, command: OutcomeTold, now: datetime) -> FactStored:
    """Store how a visit went; what it says takes effect at once: a denial suspends the case, a vulnerable person holds it."""
    visit, policy = _performed(session, actor, command.visit_id, command.at)
    case = cases.locked_case(session, actor, visit.case_id)
    facts = OutcomeFacts(
        version=CATALOGUE_VERSION, code=command.code, fields=command.fields, at=command.at, is_started=visit.started_at is not None,
        right_party_at=right_party_at(session, visit.id, policy), stops=stops_as_of(case, command.at, visit.on) - {Stop.PAYMENT_CLAIMED},
        stopped_at=visit.stopped_at,  # What was paid at this door ends no talk at it: the debtor may promise the rest.
    )
    breaches, read, fact_id = judge_outcome(facts), read_outcome(facts), new_id()
    outcome, spec, fields = read if read is not None else (None, None, {})
    sealed_names = spec.sealed_names if spec is not None else frozenset()
    texts = {name: given for name, given in fields.items() if name in sealed_names} | ({"note": command.note} if command.note else {})
    session.add(OutcomeRow(
        id=fact_id, visit_id=visit.id, staff_id=actor.id, at=command.at, received_at=now, catalogue_version=CATALOGUE_VERSION,
        told_code=command.code[:64], code=outcome, fields={name: given for name, given in fields.items() if name not in sealed_names},
        texts=sealer(session, keyring, case.id).seal("visit_outcomes.texts", msgspec.json.encode(texts).decode()) if texts else None,
    ))
    if outcome is not None and spec is not None:
        if visit.outcome_at is None or command.at >= visit.outcome_at:
            visit.outcome, visit.outcome_at = outcome, command.at
        _take_effect(session, actor, visit, case, (outcome, spec, command.at), now)
        if outcome is Outcome.PROMISE:
            _note_promise(session, actor, case, visit, (fact_id, command.at, fields), now)
        session.flush()
        _write_back(session, actor, visit, now)
        if spec.stops_visit:
            visit.stopped_at = min(visit.stopped_at or command.at, command.at)
        if spec.incident is not None:
            note = str(fields.get("description") or command.note or outcome.value)
            add_incident(session, actor, keyring, visit, spec.incident, note, at=command.at, now=now)
    return _stored(session, actor, visit, fact_id, breaches, EventTag.VISIT_OUTCOME, policy, now)


def end(session: Session, actor: Actor, visit_id: VisitId, at: datetime, now: datetime) -> FactStored:
    """Store when the pair left the door; the first to tell it is believed."""
    visit, policy = _performed(session, actor, visit_id, at)
    visit.ended_at = visit.ended_at or at
    return _stored(session, actor, visit, new_id(), (), EventTag.VISIT_ENDED, policy, now)


def locked_visit(session: Session, actor: Actor, visit_id: VisitId | UUID) -> VisitRow:
    """Return a visit locked for the rest of the transaction. Raises `NotFound` for one that is not the actor's to see."""
    query = select(VisitRow).where(VisitRow.id == visit_id, visible_to(actor)).with_for_update()
    visit = session.scalar(query.execution_options(populate_existing=True))
    if visit is None:
        raise NotFound
    return visit


def settle_visit(session: Session, visit: VisitRow) -> None:
    """Carry a visit as far as the facts told so far carry it."""
    visit.status = settle(visit.status, Told(
        is_started=visit.started_at is not None, is_entered=visit.is_entered is True and has_entry(session, visit.id),
        is_concluded=visit.outcome is not None, is_reported=visit.reported_at is not None,
    ))


def _performed(session: Session, actor: Actor, visit_id: VisitId, at: datetime) -> tuple[VisitRow, Policy]:
    authorise(actor, Permission.VISIT_PERFORM)
    visit = locked_visit(session, actor, visit_id)
    return visit, policy_in_force(session, BankId(visit.bank_id), at)


def _stored(
    session: Session, actor: Actor, visit: VisitRow, fact_id: UUID, breaches: tuple[Breach, ...], tag: EventTag, policy: Policy, now: datetime
) -> FactStored:
    session.flush()
    settle_visit(session, visit)
    stored_breaches.store(session, f"visit:{visit.id}", breaches, now, policy.version)
    standing = standing_of(breaches)
    record(
        session, actor, tag, f"visit:{visit.id}", now, policy_version=policy.version, fact=fact_id, status=visit.status.value,
        standing=standing.value, rules=sorted({breach.rule.value for breach in breaches}),
    )
    return FactStored(id=fact_id, visit_id=VisitId(visit.id), status=visit.status, standing=standing, breaches=breaches)


def _take_effect(session: Session, actor: Actor, visit: VisitRow, case: CaseRow, told: tuple[Outcome, OutcomeSpec, datetime], now: datetime) -> None:
    outcome, spec, at = told
    match spec.effect:
        case Effect.SUSPEND:
            cases.suspend(session, actor, case.id, _SUSPENDS_FOR[outcome], now)
            if outcome is not Outcome.DECLARATION_TAKEN:        # A declaration opens its own, of the kind that it states.
                disputes.hear_denial(session, actor, CaseId(case.id), _SUSPENDS_FOR[outcome], now, at=at, visit_id=VisitId(visit.id))
        case Effect.HOLD:
            cases.hold_vulnerable(session, actor, case.id, now)
        case Effect.DECEASED:
            cases.record_death(session, actor, case.id, now)
        case Effect.NONE:
            if outcome is Outcome.PROMISE:
                cases.step_if_allowed(session, actor, case, (CaseEvent.RETURN_TO_PHONE, CaseEvent.PROMISE), now)


def _note_promise(
    session: Session, actor: Actor, case: CaseRow, visit: VisitRow, told: tuple[UUID, datetime, Mapping[str, Any]], now: datetime
) -> None:
    fact_id, at, fields = told
    promise(session, actor, case, NewPromise(
        case_id=CaseId(case.id), amount_fen=Fen(int(fields["amount_fen"])), due_on=date.fromisoformat(str(fields["promised_on"])),
        made_on=at.astimezone(ZoneInfo(visit.timezone)).date(), source=PromiseSource.VISIT, source_id=fact_id), now)


def _write_back(session: Session, actor: Actor, visit: VisitRow, now: datetime) -> None:
    """Let the case's contact records say what came of the visit: the outcome that counts."""
    if visit.outcome is None or visit.outcome_at is None:
        return
    told = session.scalars(select(OutcomeRow).where(
        OutcomeRow.visit_id == visit.id, OutcomeRow.code == visit.outcome, OutcomeRow.at == visit.outcome_at).order_by(OutcomeRow.id)).first()
    if told is not None:
        conclude_visit_contact(session, actor, visit.id, seen_at_door(visit.outcome, told.fields, told.at), now)


def _cancel_superseded(session: Session, published: PlanPublished) -> set[UUID]:
    """Cancel the dispatched visits of the version just superseded; returns their cases."""
    if published.superseded_id is None:
        return set()
    replaced = session.scalars(
        select(VisitRow).join(StopRow, StopRow.id == VisitRow.stop_id).join(RouteRow, RouteRow.id == StopRow.route_id)
        .where(RouteRow.plan_id == published.superseded_id, VisitRow.status == VisitStatus.DISPATCHED)
        .order_by(VisitRow.id).with_for_update(of=VisitRow)
    ).all()
    for visit in replaced:
        visit.status = advance(visit.status, VisitEvent.CANCEL)
    return {visit.case_id for visit in replaced}
