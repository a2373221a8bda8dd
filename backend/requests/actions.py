"""Raise, analyse, decide, withdraw and fulfil visit requests."""

from datetime import datetime, time, timedelta
from uuid import UUID
from zoneinfo import ZoneInfo

import msgspec
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from backend.audit.events import EventTag
from backend.audit.record import record
from backend.auth.actors import Actor
from backend.auth.authorise import authorise
from backend.auth.permissions import Permission
from backend.banks.model import MandateAction
from backend.banks.queries import mandate_facts
from backend.banks.rules import MandateQuestion, judge_mandate
from backend.cases.actions import locked_case, step_if_allowed
from backend.cases.model import CaseEvent, today_of
from backend.cases.queries import stops_of, unconfirmed_of
from backend.cases.tables import CaseAddressRow, CaseRow
from backend.contacts.model import Channel
from backend.contacts.queries import failed_contacts, is_hour_agreed
from backend.contacts.tables import ContactRecordRow
from backend.core.fen import Fen
from backend.core.ids import BankId, CaseId, RequestId, StaffId, new_id
from backend.core.problems import Conflict, NotFound
from backend.core.rulebook import Breach, demand
from backend.db.base import SealedValue
from backend.db.engine import is_unique_violation
from backend.db.geo import covers
from backend.keys.keyring import Keyring
from backend.keys.sealing import sealer
from backend.policies.model import Policy
from backend.policies.queries import policy_in_force
from backend.requests.model import (
    Choice,
    DecisionFacts,
    RaiseRequest,
    RequestEvent,
    RequestFacts,
    RequestReceipt,
    RequestStatus,
    TriageFacts,
    Verdict,
    advance,
)
from backend.requests.queries import visible_to
from backend.requests.rules import judge_bulk, judge_decision, judge_request, triage
from backend.requests.tables import RequestDecisionRow, VisitRequestRow
from backend.staff.tables import BranchRow


class Decide(msgspec.Struct, frozen=True, kw_only=True):
    """A decision on one request or on a batch of green ones; `effective_at` is when an approval takes effect, None for at once."""

    request_ids: tuple[RequestId, ...]
    choice: Choice
    reason: str
    effective_at: datetime | None = None


def raise_request(session: Session, actor: Actor, keyring: Keyring, command: RaiseRequest, now: datetime) -> RequestReceipt:
    """Ask for a visit (REQ-01).

    Raises:
        RulesBreached: No phone contact, unconfirmed data, a stopped case, hours outside without an agreement.
        Conflict: The case has an open request already.
        NotFound: The case or the address is not the actor's.
    """
    authorise(actor, Permission.REQUEST_RAISE)
    row = locked_case(session, actor, command.case_id)
    policy = policy_in_force(session, BankId(row.bank_id), now)
    address = _address(session, row, command.address_id)
    breaches = judge_request(_request_facts(session, row, command, address, policy, now), policy)
    demand((*breaches, *_judge_mandate(session, row, now)))
    assert address is not None, "VIS-16 was demanded"
    assert command.contact_id is not None, "REQ-01 was demanded"
    request = VisitRequestRow(
        id=new_id(), case_id=row.id, contact_id=command.contact_id, address_id=address.id, status=advance(RequestStatus.DRAFT, RequestEvent.SUBMIT),
        requested_by=actor.id, requested_at=now, reason=_sealed(session, keyring, row.id, "reason", command.reason),
        window_from_s=command.window_from_s, window_to_s=command.window_to_s, is_mandatory=command.is_mandatory,
        required_certificate=command.required_certificate, required_language=command.required_language, service_s=command.service_s,
        cash_expected_fen=command.cash_expected_fen, excluded_staff=sorted(str(one) for one in command.excluded_staff), policy_version=policy.version,
    )
    try:
        with session.begin_nested():
            session.add(request)
    except IntegrityError as error:
        if is_unique_violation(error, "uq_visit_requests_case_id_open"):
            raise Conflict(reason="open-request-exists") from error
        raise
    step_if_allowed(session, actor, row, (CaseEvent.RETURN_TO_PHONE, CaseEvent.REQUEST_VISIT), now)
    record(
        session, actor, EventTag.REQUEST_RAISED, f"request:{request.id}", now, policy_version=policy.version, case=row.id, contact=command.contact_id
    )
    return _receipt(request, now)


def analyse(session: Session, actor: Actor, keyring: Keyring, request_id: UUID, analysis: str, now: datetime) -> RequestReceipt:
    """Complete the case analysis of a request (REQ-02); the policy's verdict is stored with it.

    Raises:
        IllegalTransition: It was decided already.
        NotFound: It is not the actor's.
    """
    authorise(actor, Permission.REQUEST_ANALYSE)
    request, row = _locked(session, actor, request_id)
    policy = policy_in_force(session, BankId(row.bank_id), now)
    request.status = advance(request.status, RequestEvent.ANALYSE)
    request.analysed_by, request.analysed_at = actor.id, now
    request.analysis = _sealed(session, keyring, row.id, "analysis", analysis)
    request.verdict = triage(_triage_facts(session, request, row, policy, now), policy)
    request.policy_version = policy.version
    record(session, actor, EventTag.REQUEST_ANALYSED, f"request:{request.id}", now, policy_version=policy.version, verdict=request.verdict.value)
    return _receipt(request, now)


def decide(session: Session, actor: Actor, keyring: Keyring, command: Decide, now: datetime) -> tuple[RequestReceipt, ...]:
    """Decide one request, or up to fifty green ones in one act with a decision row each (REQ-03, F04). All or none.

    Raises:
        RulesBreached: Self-approval, no analysis, a stopped case, a batch that is not green throughout.
        IllegalTransition: One was decided already.
        NotFound: One is not the actor's.
    """
    authorise(actor, Permission.REQUEST_DECIDE)
    found = [_locked(session, actor, request_id) for request_id in sorted(set(command.request_ids))]
    if len(found) != 1:
        demand(judge_bulk(tuple(request.verdict for request, _ in found)))
    event = RequestEvent.APPROVE if command.choice is Choice.APPROVE else RequestEvent.REJECT
    for request, row in found:
        policy = policy_in_force(session, BankId(row.bank_id), now)
        on = now.astimezone(_zone(session, request)).date()
        breaches = judge_decision(DecisionFacts(
            choice=command.choice, requester=StaffId(request.requested_by), decider=actor.id,
            analyst=None if request.analysed_by is None else StaffId(request.analysed_by), stops=stops_of(row, on),
            unconfirmed=unconfirmed_of(row, on, policy),
        ), policy)
        demand((*breaches, *(_judge_mandate(session, row, now) if command.choice is Choice.APPROVE else ())))
        request.status = advance(request.status, event)
        request.decided_by, request.decided_at = actor.id, now
        request.decision_reason = _sealed(session, keyring, row.id, "decision_reason", command.reason)
        request.effective_from = (command.effective_at or now) if command.choice is Choice.APPROVE else None
        session.add(RequestDecisionRow(
            id=new_id(), request_id=request.id, choice=command.choice, decided_by=actor.id, decided_at=now, batch_size=len(found),
            reason=sealer(session, keyring, row.id).seal("request_decisions.reason", command.reason), policy_version=policy.version,
        ))
        if command.choice is Choice.REJECT:
            step_if_allowed(session, actor, row, (CaseEvent.WITHDRAW_VISIT,), now)
        session.flush()
        record(
            session, actor, EventTag.REQUEST_DECIDED, f"request:{request.id}", now, policy_version=policy.version, choice=command.choice.value,
            batch_size=len(found),
        )
    return tuple(_receipt(request, now) for request, _ in found)


def expect_cash(session: Session, request_id: UUID, cap_fen: Fen) -> None:
    """Let planning reserve a deposit for money that a bank has just allowed to be taken; part of a larger act, which records it.

    What is expected is a cap and not an amount: the slot is let go when nothing was taken (F12).
    """
    row = session.scalar(select(VisitRequestRow).where(VisitRequestRow.id == request_id).with_for_update())
    if row is not None and row.cash_expected_fen < cap_fen:
        row.cash_expected_fen = cap_fen
        session.flush()


def withdraw(session: Session, actor: Actor, request_id: UUID, now: datetime) -> RequestReceipt:
    """Withdraw an open request by decision. What stops a case withdraws nothing here: queries leave it out by themselves."""
    authorise(actor, Permission.REQUEST_RAISE)
    request, row = _locked(session, actor, request_id)
    request.status = advance(request.status, RequestEvent.WITHDRAW)
    step_if_allowed(session, actor, row, (CaseEvent.WITHDRAW_VISIT,), now)
    record(session, actor, EventTag.REQUEST_DECIDED, f"request:{request.id}", now, choice="withdraw")
    return _receipt(request, now)


def fulfil(session: Session, actor: Actor, request_id: UUID, now: datetime) -> None:
    """Note that a visit was made for an approved request, so that it is not planned again. Called by visits; once is enough."""
    request, row = _locked(session, actor, request_id)
    if request.status is RequestStatus.APPROVED:
        request.status = advance(request.status, RequestEvent.FULFIL)
        step_if_allowed(session, actor, row, (CaseEvent.PLAN_VISIT, CaseEvent.VISIT), now)


def _locked(session: Session, actor: Actor, request_id: UUID) -> tuple[VisitRequestRow, CaseRow]:
    # The case is the lock: every step of a request and of its case waits for it.
    case_id = session.scalar(
        select(VisitRequestRow.case_id).join(CaseRow, CaseRow.id == VisitRequestRow.case_id)
        .where(VisitRequestRow.id == request_id, visible_to(actor))
    )
    if case_id is None:
        raise NotFound
    row = locked_case(session, actor, case_id)
    request = session.scalars(
        select(VisitRequestRow).where(VisitRequestRow.id == request_id).execution_options(populate_existing=True)
    ).one()
    return request, row


def _address(session: Session, row: CaseRow, address_id: UUID | None) -> CaseAddressRow | None:
    query = select(CaseAddressRow).where(CaseAddressRow.case_id == row.id)
    if address_id is None:
        addresses = session.scalars(query.where(CaseAddressRow.is_current).order_by(CaseAddressRow.id)).all()
        return min(addresses, key=lambda one: (one.kind.value != "residence", one.kind.value == "household", one.id), default=None)
    address = session.scalar(query.where(CaseAddressRow.id == address_id))
    if address is None:
        raise NotFound
    return address if address.is_current else None


def _request_facts(
    session: Session, row: CaseRow, command: RaiseRequest, address: CaseAddressRow | None, policy: Policy, now: datetime
) -> RequestFacts:
    contact = None if command.contact_id is None else session.get(ContactRecordRow, command.contact_id)
    is_phone_contact = contact is not None and contact.case_id == row.id and contact.channel is Channel.PHONE and contact.result is not None
    zone = ZoneInfo(address.timezone) if address is not None else ZoneInfo("Asia/Shanghai")
    on = now.astimezone(zone).date()
    return RequestFacts(
        phone_contacts=int(is_phone_contact), unconfirmed=unconfirmed_of(row, on, policy), stops=stops_of(row, on),
        is_address_current=address is not None, window_from_s=command.window_from_s, window_to_s=command.window_to_s,
        is_hour_agreed=_is_window_agreed(session, row, command, policy, zone, now),
    )


def _is_window_agreed(session: Session, row: CaseRow, command: RaiseRequest, policy: Policy, zone: ZoneInfo, now: datetime) -> bool:
    """Whether on one of the coming days an agreement covers every part of the window that lies outside the hours."""
    parts = [
        (command.window_from_s, min(command.window_to_s, policy.hours_from_s)) if command.window_from_s < policy.hours_from_s else None,
        (max(command.window_from_s, policy.hours_to_s), command.window_to_s) if command.window_to_s > policy.hours_to_s else None,
    ]
    outside = [part for part in parts if part is not None]
    today = now.astimezone(zone).date()
    for day in range(policy.request_valid_days):
        midnight = datetime.combine(today + timedelta(days=day), time(), zone)
        if all(is_hour_agreed(session, row.id, midnight + timedelta(seconds=a), midnight + timedelta(seconds=b)) for a, b in outside):
            return bool(outside)
    return False


def _triage_facts(session: Session, request: VisitRequestRow, row: CaseRow, policy: Policy, now: datetime) -> TriageFacts:
    address = session.get_one(CaseAddressRow, request.address_id)
    is_served = session.scalar(
        select(BranchRow.id).where(BranchRow.id == row.branch_id, BranchRow.territory.is_(None) | covers(BranchRow.territory, address.point))
    ) if address.point is not None else None
    on = now.astimezone(ZoneInfo(address.timezone)).date()
    return TriageFacts(
        is_located=address.point is not None and address.is_current, is_served=is_served is not None, confidence_pct=address.confidence_pct,
        bucket_days=row.days_past_due, failed_contacts=failed_contacts(session, row.id), has_safety_note=address.safety_note is not None,
        has_hours_outside=request.window_from_s < policy.hours_from_s or request.window_to_s > policy.hours_to_s,
        cash_expected_fen=Fen(request.cash_expected_fen), amount_fen=Fen(row.amount_fen), stops=stops_of(row, on),
        unconfirmed=unconfirmed_of(row, on, policy),
    )


def _judge_mandate(session: Session, row: CaseRow, now: datetime) -> tuple[Breach, ...]:
    question = MandateQuestion(action=MandateAction.FIELD_VISIT, on=today_of(now), at=now)
    return judge_mandate(mandate_facts(session, BankId(row.bank_id)), question)


def _zone(session: Session, request: VisitRequestRow) -> ZoneInfo:
    return ZoneInfo(session.get_one(CaseAddressRow, request.address_id).timezone)


def _sealed(session: Session, keyring: Keyring, case_id: UUID, column: str, text: str) -> SealedValue:
    return sealer(session, keyring, case_id).seal(f"visit_requests.{column}", text)


def _receipt(request: VisitRequestRow, now: datetime) -> RequestReceipt:
    verdict: Verdict | None = request.verdict
    return RequestReceipt(id=RequestId(request.id), case_id=CaseId(request.case_id), status=request.status, verdict=verdict, at=now)
