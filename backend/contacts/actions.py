"""Contacts asked for, reported and concluded; agreed hours; work numbers.

An intent is refused with all its breaches. A fact is stored with them, and what it says takes effect at once: a denial suspends
the case, a death or a complaint stops it.
"""

from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

import msgspec
from sqlalchemy import select
from sqlalchemy.orm import Session

from backend.audit import breaches as stored_breaches
from backend.audit.events import EventTag
from backend.audit.record import record
from backend.auth.actors import Actor
from backend.auth.authorise import authorise
from backend.auth.permissions import Permission
from backend.banks.model import MandateAction
from backend.banks.queries import mandate_facts
from backend.banks.rules import MandateQuestion, judge_mandate
from backend.cases import actions as cases
from backend.cases.model import CaseEvent, Signal
from backend.cases.queries import case_of
from backend.cases.tables import CaseRow
from backend.cases.upkeep import apply_signal, begin_phone_collection
from backend.contacts.model import (
    CEASING,
    SUSPENDING,
    AgreeHours,
    Carried,
    Channel,
    ContactReceipt,
    Mode,
    Person,
    Purpose,
    RecordContact,
    Result,
    SeenAtDoor,
    Standing,
    Told,
)
from backend.contacts.queries import Evidence, contact_facts, zone_of
from backend.contacts.rules import judge_agreement, judge_contact, judge_third_party
from backend.contacts.tables import ContactRecordRow, HourAgreementRow, ThirdPartyRow, WorkNumberRow
from backend.core.fen import Fen
from backend.core.ids import BankId, CaseId, ContactId, VisitId, new_id
from backend.core.problems import Conflict, InvalidInput, NotFound
from backend.core.rulebook import Breach, demand
from backend.keys.keyring import Keyring
from backend.keys.sealing import Sealer, sealer
from backend.offers.model import NewPromise, PromiseSource
from backend.offers.promises import promise
from backend.policies.model import Policy
from backend.policies.queries import policy_in_force

AHEAD_MAX: Final = timedelta(minutes=5)
_CARRIES: Final = {
    Result.PROMISE_TO_PAY: Carried.PROMISE, Result.VAGUE_PROMISE: Carried.PROMISE, Result.REFUSES: Carried.DEMAND, Result.DELIVERED: Carried.LETTER,
}
_EVENT_OF: Final = {Result.PROMISE_TO_PAY: CaseEvent.PROMISE, Result.WRONG_NUMBER: CaseEvent.LOSE_CONTACT}
_MANDATED: Final = {
    Channel.PHONE: MandateAction.PHONE_CONTACT, Channel.SMS: MandateAction.SMS, Channel.LETTER: MandateAction.LETTER,
    Channel.VISIT: MandateAction.FIELD_VISIT,
}
_SIGNAL_OF: Final = {Result.WRONG_NUMBER: Signal.LOST_CONTACT}


def lock_debtor(session: Session, actor: Actor, case_id: CaseId | UUID) -> CaseRow:
    """Lock every case of a case's debtor, in id order, so that two banks' contacts are counted one after the other (CONT-05).

    Raises:
        NotFound: The case is not the actor's to see.
    """
    asked = case_of(session, actor, case_id)
    everywhere = select(CaseRow).where(CaseRow.debtor_hmac == asked.debtor_hmac).order_by(CaseRow.id).with_for_update()
    rows = session.scalars(everywhere.execution_options(populate_existing=True)).all()
    return next(row for row in rows if row.id == asked.id)


def record_contact(session: Session, actor: Actor, keyring: Keyring, command: RecordContact, now: datetime) -> ContactReceipt:
    """Ask leave for a contact, or report one that was made.

    Raises:
        RulesBreached: An intent breaks a rule; a fact never does, it is stored with its breaches.
        InvalidInput: A fact from the future, or more than five minutes ahead.
        NotFound: The case is not the actor's.
    """
    authorise(actor, Permission.CONTACT_RECORD)
    row = lock_debtor(session, actor, command.case_id)
    at = now if command.mode is Mode.INTENT else command.at
    if at > now + AHEAD_MAX:
        raise InvalidInput(pointer="/at", expected="an instant not in the future", got=at.isoformat())
    policy = policy_in_force(session, BankId(row.bank_id), at)
    box = sealer(session, keyring, row.id)
    third_party = _third_party(session, keyring, row, command, box)
    breaches = (*_judge(session, row, command, at, policy, third_party), *_judge_mandate(session, row, command.channel, at))
    if command.mode is Mode.INTENT:
        demand(breaches)
    contact = _contact_row(session, actor, row, command, at)
    if command.told is not None:
        _write_result(contact, command.told, at, box)
    contact.third_party_id = None if third_party is None else third_party.id
    contact.standing = Standing.BREACH if breaches else Standing.ACCEPTED
    contact.policy_version, contact.recorded_at = policy.version, now
    session.add(contact)
    session.flush()
    stored_breaches.store(session, f"contact:{contact.id}", breaches, now, policy.version)
    record(
        session, actor, EventTag.CONTACT_RECORDED, f"case:{row.id}", now, policy_version=policy.version, contact=contact.id, mode=command.mode.value,
        channel=command.channel.value, standing=contact.standing.value, rules=[breach.rule.value for breach in breaches],
    )
    if command.channel is Channel.PHONE:
        begin_phone_collection(session, actor, row, now)
    if contact.result is not None:
        _take_effect(session, actor, row, contact, now)
    return _receipt(contact, breaches, row)


def conclude_contact(session: Session, actor: Actor, keyring: Keyring, contact_id: ContactId, told: Told, now: datetime) -> ContactReceipt:
    """Write down what came of a contact that leave was given for.

    Raises:
        NotFound: It is not this person's own contact with a case they may see.
        Conflict: It has a result already.
    """
    authorise(actor, Permission.CONTACT_RECORD)
    contact = session.get(ContactRecordRow, contact_id)
    if contact is None or contact.by != actor.id:
        raise NotFound
    row = lock_debtor(session, actor, contact.case_id)
    session.refresh(contact)
    if contact.result is not None:
        raise Conflict(reason="concluded", result=contact.result.value)
    _write_result(contact, told, now, sealer(session, keyring, row.id))
    breaches = judge_third_party(
        contact.person, contact.purpose, is_consented=contact.is_consented, carried=_carried(frozenset(), told), is_ceased=False
    )
    contact.standing = Standing.BREACH if breaches else contact.standing
    session.flush()
    stored_breaches.store(session, f"contact:{contact.id}", breaches, now, contact.policy_version)
    record(session, actor, EventTag.CONTACT_RECORDED, f"case:{row.id}", now, contact=contact.id, result=told.stored_result.value)
    _take_effect(session, actor, row, contact, now)
    return _receipt(contact, breaches, row)


def record_visit_contact(
    session: Session, actor: Actor, case_id: CaseId | UUID, visit_id: UUID | None, at: datetime, policy: Policy, now: datetime
) -> ContactId:
    """Count a started visit among the debtor's contacts of its local day (CONT-05); the visit itself was judged by its own slice."""
    row = lock_debtor(session, actor, case_id)
    local_at = at.astimezone(zone_of(session, row.id))
    contact = ContactRecordRow(
        id=new_id(), case_id=row.id, visit_id=visit_id, channel=Channel.VISIT, mode=Mode.FACT, at=at, local_on=local_at.date(), by=actor.id,
        person=Person.NOBODY, purpose=Purpose.COLLECTION, is_consented=False, identity_presented="agency", standing=Standing.ACCEPTED,
        policy_version=policy.version, recorded_at=now,
    )
    session.add(contact)
    session.flush()
    return ContactId(contact.id)


def conclude_visit_contact(session: Session, actor: Actor, visit_id: VisitId | UUID, seen: SeenAtDoor, now: datetime) -> None:
    """Write down on the contact of a visit whom the pair met and what came of it (CASE-11, EVD-10); what is told later counts.

    The visit's slice has taken the effects. The words stay sealed with the visit; before the visit began there is no contact yet.
    """
    contact = session.scalar(select(ContactRecordRow).where(ContactRecordRow.visit_id == visit_id).with_for_update())
    if contact is None or (contact.result_at is not None and seen.at < contact.result_at):
        return
    contact.person, contact.result, contact.result_at = seen.person, seen.result, seen.at
    contact.promised_fen, contact.promised_on = seen.promised_fen, seen.promised_on
    session.flush()
    record(session, actor, EventTag.CONTACT_RECORDED, f"case:{contact.case_id}", now, contact=contact.id, result=seen.result.value)


def agree_hours(session: Session, actor: Actor, command: AgreeHours, now: datetime) -> UUID:
    """Record that the cardholder agreed to a time outside the hours, in a contact with them (VIS-10, CONT-04).

    Raises:
        RulesBreached: Somebody else agreed.
        NotFound: Case or contact are not the actor's, or the contact was not with the debtor of this case.
    """
    authorise(actor, Permission.CONTACT_RECORD)
    row = cases.locked_case(session, actor, command.case_id)
    demand(judge_agreement(command.agreed_with))
    contact = session.get(ContactRecordRow, command.contact_id)
    if contact is None or contact.case_id != row.id or contact.person is not Person.DEBTOR:
        raise NotFound
    if command.from_at < contact.at:
        raise InvalidInput(pointer="/fromAt", expected="an instant after the contact", got=command.from_at.isoformat())
    agreement = HourAgreementRow(
        id=new_id(), case_id=row.id, agreed_with=command.agreed_with, from_at=command.from_at, to_at=command.to_at, contact_id=contact.id,
        recorded_by=actor.id, recorded_at=now,
    )
    session.add(agreement)
    session.flush()
    record(session, actor, EventTag.AGREEMENT_RECORDED, f"case:{row.id}", now, agreement=agreement.id, contact=contact.id)
    return agreement.id


def register_work_number(session: Session, actor: Actor, branch_id: UUID, number: str, now: datetime) -> None:
    """Register a number of the agency that may be called from (CONT-07).

    Raises:
        NotFound: The branch is not the actor's.
        Conflict: The number is registered already.
    """
    authorise(actor, Permission.CASE_DECIDE)
    if not actor.sees_every_branch and branch_id not in actor.branches:
        raise NotFound
    if session.get(WorkNumberRow, number) is not None:
        raise Conflict(reason="registered")
    session.add(WorkNumberRow(number=number, branch_id=branch_id, registered_by=actor.id, registered_at=now, retired_at=None))
    session.flush()
    record(session, actor, EventTag.CASE_CHANGED, f"branch:{branch_id}", now, work_number=True)


def _carried(carried: frozenset[Carried], told: Told | None) -> frozenset[Carried]:
    implied = None if told is None else _CARRIES.get(told.result)
    return carried if implied is None else carried | {implied}


def _judge(
    session: Session, row: CaseRow, command: RecordContact, at: datetime, policy: Policy, third_party: ThirdPartyRow | None
) -> tuple[Breach, ...]:
    evidence = Evidence(
        person=command.person, third_party_hmac=None if third_party is None else third_party.phone_hmac, work_number=command.work_number
    )
    facts = contact_facts(session, row, command.channel, at, policy, evidence)
    return judge_contact(
        msgspec.structs.replace(
            facts, purpose=command.purpose, carried=_carried(command.carried, command.told), is_consented=command.is_consented,
            identity_presented=command.identity_presented,
        ),
        policy,
    )


def _judge_mandate(session: Session, row: CaseRow, channel: Channel, at: datetime) -> tuple[Breach, ...]:
    on = at.astimezone(zone_of(session, row.id)).date()
    question = MandateQuestion(action=_MANDATED[channel], on=on, at=at)
    return judge_mandate(mandate_facts(session, BankId(row.bank_id)), question)


def _third_party(session: Session, keyring: Keyring, row: CaseRow, command: RecordContact, box: Sealer) -> ThirdPartyRow | None:
    if command.third_party is None:
        return None
    digest = keyring.search_hmac("phone", command.third_party.phone.removeprefix("+"))
    known = session.scalar(select(ThirdPartyRow).where(ThirdPartyRow.case_id == row.id, ThirdPartyRow.phone_hmac == digest))
    if known is None:
        known = ThirdPartyRow(
            id=new_id(), case_id=row.id, relation=box.seal("third_parties.relation", command.third_party.relation),
            phone=box.seal("third_parties.phone", command.third_party.phone), phone_hmac=digest, ceased_at=None,
        )
        session.add(known)
        session.flush()
    return known


def _contact_row(session: Session, actor: Actor, row: CaseRow, command: RecordContact, at: datetime) -> ContactRecordRow:
    return ContactRecordRow(
        id=new_id(), case_id=row.id, channel=command.channel, mode=command.mode, at=at, local_on=at.astimezone(zone_of(session, row.id)).date(),
        by=actor.id, person=command.person, purpose=command.purpose, is_consented=command.is_consented, work_number=command.work_number,
        identity_presented=command.identity_presented,
    )


def _write_result(contact: ContactRecordRow, told: Told, at: datetime, box: Sealer) -> None:
    is_promise = told.stored_result is Result.PROMISE_TO_PAY
    contact.result, contact.result_at, contact.attitude = told.stored_result, at, told.attitude
    contact.feedback = None if told.feedback is None else box.seal("contact_records.feedback", told.feedback)
    contact.next_step = None if told.next_step is None else box.seal("contact_records.next_step", told.next_step)
    contact.promised_fen, contact.promised_on = (told.promised_fen, told.promised_on) if is_promise else (None, None)
    contact.recording_reference = told.recording_reference


def _take_effect(session: Session, actor: Actor, row: CaseRow, contact: ContactRecordRow, now: datetime) -> None:
    result = contact.result
    assert result is not None
    if contact.person is Person.THIRD_PARTY:
        if result in CEASING:
            session.get_one(ThirdPartyRow, contact.third_party_id).ceased_at = now
        if result is Result.DECEASED:
            cases.record_death(session, actor, row.id, now)
        return
    if result in SUSPENDING:
        cases.suspend(session, actor, row.id, SUSPENDING[result], now)
    elif result is Result.DECEASED:
        cases.record_death(session, actor, row.id, now)
    elif result is Result.VULNERABLE:
        cases.hold_vulnerable(session, actor, row.id, now)
    elif result is Result.COMPLAINT:
        cases.record_complaint(session, actor, row.id, now)
    if result in _SIGNAL_OF:
        apply_signal(session, actor, row, _SIGNAL_OF[result], now)
    if result in _EVENT_OF:
        cases.step_if_allowed(session, actor, row, (_EVENT_OF[result],), now)
    if result is Result.PROMISE_TO_PAY:
        assert contact.promised_fen is not None, "a promise has its amount, else it is a vague one"
        assert contact.promised_on is not None, "a promise has its day, else it is a vague one"
        promise(session, actor, row, NewPromise(
            case_id=CaseId(row.id), amount_fen=Fen(contact.promised_fen), due_on=contact.promised_on, made_on=contact.local_on,
            source=PromiseSource.CONTACT, source_id=contact.id), now)


def _receipt(contact: ContactRecordRow, breaches: tuple[Breach, ...], row: CaseRow) -> ContactReceipt:
    return ContactReceipt(
        id=ContactId(contact.id), case_id=CaseId(row.id), person=contact.person, standing=contact.standing, result=contact.result, breaches=breaches,
        is_case_suspended=row.suspended_at is not None,
    )
