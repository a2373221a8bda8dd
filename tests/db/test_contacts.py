"""Contacts on both engines: intents refused with every breach, facts stored with them and taking effect."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from sqlalchemy import func, select, update
from sqlalchemy.orm import Session, sessionmaker

from backend.audit.breaches import breaches_of
from backend.banks.tables import MandateRow
from backend.cases import actions as cases
from backend.cases.model import CaseStatus, Stop, SuspensionReason
from backend.cases.queries import stops_of
from backend.cases.tables import CaseAddressRow, CaseRow
from backend.contacts.actions import agree_hours, conclude_contact, record_contact, record_visit_contact, register_work_number
from backend.contacts.model import AgreeHours, Channel, Mode, Person, Purpose, RecordContact, Result, Standing, ThirdParty, Told
from backend.contacts.queries import contact_facts, list_contacts
from backend.contacts.rules import judge_contact
from backend.contacts.tables import ContactRecordRow
from backend.core.fen import Fen
from backend.core.ids import CaseId, ContactId, new_id
from backend.core.problems import Conflict, Forbidden, InvalidInput, NotFound
from backend.core.rulebook import Rule, RulesBreached
from backend.keys.keyring import Keyring
from backend.policies.model import DEFAULT_POLICY
from tests.support.cases import WORK_NUMBER, call, id_number, ready_case
from tests.support.world import SHANGHAI, World, shared_keyring, world

NIGHT = datetime(2026, 11, 27, 13, 30, tzinfo=UTC)  # 21:30 in Shanghai.


@pytest.fixture
def made(session: Session, keyring: Keyring, now: datetime) -> World:
    return world(session, keyring, now)


@pytest.fixture
def case(session: Session, keyring: Keyring, made: World) -> CaseRow:
    return ready_case(session, keyring, made)


def intend(session: Session, keyring: Keyring, made: World, case: CaseRow, now: datetime | None = None, **changes: object) -> ContactId:
    values: dict[str, object] = {
        "case_id": CaseId(case.id), "mode": Mode.INTENT, "channel": Channel.PHONE, "at": made.now, "work_number": WORK_NUMBER,
    }
    return record_contact(session, made.hana.actor, keyring, RecordContact(**{**values, **changes}), now or made.now).id  # type: ignore[arg-type]


def refused_rules(session: Session, keyring: Keyring, made: World, case: CaseRow, now: datetime | None = None, **changes: object) -> list[Rule]:
    before = session.scalar(select(func.count()).select_from(ContactRecordRow))
    with pytest.raises(RulesBreached) as refused:
        intend(session, keyring, made, case, now, **changes)
    assert session.scalar(select(func.count()).select_from(ContactRecordRow)) == before
    return [breach.rule for breach in refused.value.breaches]


def test_CONT_03_CONT_04_call_outside_hours_is_refused(session: Session, keyring: Keyring, made: World, case: CaseRow) -> None:
    assert refused_rules(session, keyring, made, case, NIGHT) == [Rule.CONT_03, Rule.CONT_04]
    assert refused_rules(session, keyring, made, case, NIGHT, channel=Channel.LETTER) == [Rule.CONT_04]


def test_CONT_04_hours_are_those_of_the_debtors_address(session: Session, keyring: Keyring, made: World, case: CaseRow) -> None:
    intend(session, keyring, made, case)
    session.execute(update(CaseAddressRow).where(CaseAddressRow.case_id == case.id).values(timezone="Europe/Berlin"))
    assert refused_rules(session, keyring, made, case) == [Rule.CONT_03, Rule.CONT_04]  # 10:00 in Shanghai is 03:00 there.


def test_CONT_04_agreement_with_the_cardholder_opens_its_slot_and_no_other(session: Session, keyring: Keyring, made: World, case: CaseRow) -> None:
    talked = call(session, keyring, made, case.id, Result.CONNECTED)
    agreed = AgreeHours(
        case_id=CaseId(case.id), from_at=NIGHT, to_at=NIGHT + timedelta(minutes=30), agreed_with="cardholder", contact_id=talked.id
    )
    with pytest.raises(NotFound):
        agree_hours(session, made.yara.actor, agreed, made.now)
    agree_hours(session, made.hana.actor, agreed, made.now)
    assert refused_rules(session, keyring, made, case, NIGHT - timedelta(seconds=1)) == [Rule.CONT_03, Rule.CONT_04]
    assert refused_rules(session, keyring, made, case, NIGHT + timedelta(minutes=30, seconds=1)) == [Rule.CONT_03, Rule.CONT_04]
    intend(session, keyring, made, case, NIGHT)


def test_CONT_04_agreement_of_a_third_party_is_refused(session: Session, keyring: Keyring, made: World, case: CaseRow) -> None:
    talked = call(session, keyring, made, case.id, Result.CONNECTED)
    with pytest.raises(RulesBreached) as refused:
        agree_hours(session, made.hana.actor, AgreeHours(
            case_id=CaseId(case.id), from_at=NIGHT, to_at=NIGHT + timedelta(hours=1), agreed_with="spouse", contact_id=talked.id
        ), made.now)
    assert [breach.rule for breach in refused.value.breaches] == [Rule.CONT_04]


def test_CONT_04_agreement_needs_a_contact_with_this_debtor(session: Session, keyring: Keyring, made: World, case: CaseRow) -> None:
    other = ready_case(session, keyring, made, 2)
    talked = call(session, keyring, made, other.id, Result.CONNECTED)
    for contact_id in (talked.id, new_id()):
        with pytest.raises(NotFound):
            agree_hours(session, made.hana.actor, AgreeHours(
                case_id=CaseId(case.id), from_at=NIGHT, to_at=NIGHT + timedelta(hours=1), agreed_with="cardholder", contact_id=contact_id
            ), made.now)


def test_CONT_05_fourth_contact_of_a_local_day_is_refused_across_channels_and_banks(session: Session, keyring: Keyring, made: World) -> None:
    case = ready_case(session, keyring, made, 1)
    same_person = ready_case(session, keyring, made, 2, bank=made.bank_b, id_number=id_number(1))
    somebody_else = ready_case(session, keyring, made, 3)
    intend(session, keyring, made, case)
    intend(session, keyring, made, same_person, channel=Channel.SMS)
    record_visit_contact(session, made.bilal.on_phone, case.id, None, made.now, DEFAULT_POLICY, made.now)
    assert refused_rules(session, keyring, made, case) == [Rule.CONT_05]
    assert refused_rules(session, keyring, made, same_person, channel=Channel.LETTER) == [Rule.CONT_05]
    visit = contact_facts(session, case, Channel.VISIT, made.now, DEFAULT_POLICY)
    assert [breach.rule for breach in judge_contact(visit, DEFAULT_POLICY)] == [Rule.CONT_05]
    intend(session, keyring, made, somebody_else)
    intend(session, keyring, made, case, made.now + timedelta(days=1))


def test_CONT_05_the_day_is_the_local_one(session: Session, keyring: Keyring, made: World, case: CaseRow) -> None:
    for _ in range(3):
        intend(session, keyring, made, case)
    # 00:30 UTC the next day is still Friday by UTC's clock minus eight hours, and already Saturday morning in Shanghai.
    saturday = made.now.astimezone(SHANGHAI).replace(hour=8, minute=30) + timedelta(days=1)
    assert saturday.astimezone(UTC).date() != made.now.date()
    intend(session, keyring, made, case, saturday)
    friday_evening = made.now.astimezone(SHANGHAI).replace(hour=20)
    assert refused_rules(session, keyring, made, case, friday_evening) == [Rule.CONT_05]


def test_CONT_02_call_on_unconfirmed_data_is_refused(session: Session, keyring: Keyring, made: World) -> None:
    case = ready_case(session, keyring, made, occupation="")
    assert refused_rules(session, keyring, made, case) == [Rule.CONT_02]


@pytest.mark.parametrize("channel", [Channel.PHONE, Channel.SMS, Channel.LETTER])
def test_DECL_01_every_channel_is_refused_on_a_suspended_case(
    session: Session, keyring: Keyring, made: World, case: CaseRow, channel: Channel
) -> None:
    cases.suspend(session, made.bilal.on_phone, case.id, SuspensionReason.DENIES_APPLICATION, made.now)
    assert refused_rules(session, keyring, made, case, channel=channel) == [Rule.DECL_01]


def test_CONT_07_unregistered_number_and_another_branchs_are_refused(session: Session, keyring: Keyring, made: World, case: CaseRow) -> None:
    register_work_number(session, made.yara.actor, made.bj1, "01000000002", made.now)
    for number in ("13900000000", "01000000002", None):
        assert refused_rules(session, keyring, made, case, work_number=number) == [Rule.CONT_07]
    with pytest.raises(Forbidden):
        register_work_number(session, made.hana.actor, made.sh1, "1", made.now)
    with pytest.raises(NotFound):
        register_work_number(session, made.amina.actor, made.bj1, "1", made.now)
    with pytest.raises(Conflict):
        register_work_number(session, made.amina.actor, made.sh1, WORK_NUMBER, made.now)


def test_CONT_08_CONT_09_third_party_is_asked_with_consent_and_nothing_else(session: Session, keyring: Keyring, made: World, case: CaseRow) -> None:
    neighbour = ThirdParty(relation="neighbour", phone="10000000099")
    asked = {"person": Person.THIRD_PARTY, "third_party": neighbour}
    assert refused_rules(session, keyring, made, case, **asked) == [Rule.CONT_09]
    assert refused_rules(session, keyring, made, case, **asked, purpose=Purpose.INFORMATION_REQUEST) == [Rule.CONT_09]
    contact_id = intend(session, keyring, made, case, **asked, purpose=Purpose.INFORMATION_REQUEST, is_consented=True)
    told = Told(result=Result.PROMISE_TO_PAY, promised_fen=Fen(1), promised_on=made.today)
    concluded = conclude_contact(session, made.hana.actor, keyring, contact_id, told, made.now)
    assert (concluded.standing, [breach.rule for breach in concluded.breaches]) == (Standing.BREACH, [Rule.CONT_08])
    assert case.status is CaseStatus.PHONE_COLLECTION  # A third party's promise is none of the debtor's.


@pytest.mark.parametrize("result", [Result.DOES_NOT_KNOW, Result.UNWILLING, Result.DISPLEASED])
def test_CONT_10_third_party_who_refused_is_never_asked_again(
    session: Session, keyring: Keyring, made: World, case: CaseRow, result: Result
) -> None:
    asked = {
        "person": Person.THIRD_PARTY, "third_party": ThirdParty(relation="neighbour", phone="10000000099"),
        "purpose": Purpose.INFORMATION_REQUEST, "is_consented": True,
    }
    call(session, keyring, made, case.id, result, **asked)
    assert refused_rules(session, keyring, made, case, **asked) == [Rule.CONT_10]
    other = {**asked, "third_party": ThirdParty(relation="colleague", phone="10000000098")}
    intend(session, keyring, made, case, **other)


def test_CONT_12_presenting_another_identity_is_refused(session: Session, keyring: Keyring, made: World, case: CaseRow) -> None:
    assert refused_rules(session, keyring, made, case, identity_presented="bank") == [Rule.CONT_12]


def test_SEC_01_contacts_of_others_cases_are_not_found(session: Session, keyring: Keyring, made: World, case: CaseRow) -> None:
    call(session, keyring, made, case.id)
    for stranger in (made.chen.actor, made.yara.actor):
        with pytest.raises(NotFound):
            list_contacts(session, stranger, keyring, case.id, made.now, limit=10, after=None)
    with pytest.raises(Forbidden):
        record_contact(session, made.lin.actor, keyring, RecordContact(
            case_id=CaseId(case.id), mode=Mode.INTENT, channel=Channel.PHONE, at=made.now), made.now)


def test_fact_from_the_future_is_refused(session: Session, keyring: Keyring, made: World, case: CaseRow) -> None:
    with pytest.raises(InvalidInput):
        call(session, keyring, made, case.id, at=made.now + timedelta(minutes=6))


def test_fact_with_breaches_is_stored_with_them_and_counts(session: Session, keyring: Keyring, made: World, case: CaseRow) -> None:
    late = NIGHT - timedelta(days=1)
    receipt = call(session, keyring, made, case.id, Result.CONNECTED, at=late, work_number="13900000000", feedback="angry")
    assert (receipt.standing, [breach.rule for breach in receipt.breaches]) == (Standing.BREACH, [Rule.CONT_03, Rule.CONT_04, Rule.CONT_07])
    assert [breach.rule for breach in breaches_of(session, f"contact:{receipt.id}")] == [Rule.CONT_03, Rule.CONT_04, Rule.CONT_07]
    (shown,) = list_contacts(session, made.amina.actor, keyring, case.id, made.now, limit=10, after=None)
    assert (shown.feedback, shown.standing, shown.rules) == ("angry", Standing.BREACH, ("CONT-03", "CONT-04", "CONT-07"))


@pytest.mark.parametrize("result", [Result.DENIES_APPLICATION, Result.DENIES_SPENDING, Result.DISPUTES_AMOUNT])
def test_DECL_01_denial_on_the_phone_suspends_at_once(session: Session, keyring: Keyring, made: World, case: CaseRow, result: Result) -> None:
    receipt = call(session, keyring, made, case.id, result)
    assert receipt.is_case_suspended
    assert case.suspended_at == made.now
    assert refused_rules(session, keyring, made, case) == [Rule.DECL_01]
    later = call(session, keyring, made, case.id, Result.CONNECTED)
    assert [breach.rule for breach in later.breaches] == [Rule.DECL_01]


@pytest.mark.parametrize(
    ("result", "stop"), [(Result.VULNERABLE, Stop.VULNERABLE), (Result.COMPLAINT, Stop.COMPLAINT), (Result.DECEASED, Stop.DECEASED)]
)
def test_VIS_11_what_was_learnt_on_the_phone_stops_the_case(
    session: Session, keyring: Keyring, made: World, case: CaseRow, result: Result, stop: Stop
) -> None:
    call(session, keyring, made, case.id, result)
    assert stops_of(case, made.today) == {stop}


def test_CASE_32_promise_without_amount_or_day_is_stored_as_vague(session: Session, keyring: Keyring, made: World, case: CaseRow) -> None:
    assert call(session, keyring, made, case.id, Result.PROMISE_TO_PAY, promised_fen=Fen(100)).result is Result.VAGUE_PROMISE
    assert case.status is CaseStatus.PHONE_COLLECTION
    assert call(session, keyring, made, case.id, Result.PROMISE_TO_PAY, promised_fen=Fen(100), promised_on=made.today).result is Result.PROMISE_TO_PAY
    assert case.status is CaseStatus.PROMISED


def test_CASE_28_wrong_number_raises_the_priority_by_itself(session: Session, keyring: Keyring, made: World, case: CaseRow) -> None:
    before = case.priority
    call(session, keyring, made, case.id, Result.WRONG_NUMBER)
    assert case.priority > before
    assert case.status is CaseStatus.UNREACHABLE


def test_permitted_call_is_concluded_once_and_by_its_caller(session: Session, keyring: Keyring, made: World, case: CaseRow) -> None:
    contact_id = intend(session, keyring, made, case)
    told = Told(result=Result.CONNECTED, feedback="will call back")
    with pytest.raises(NotFound):
        conclude_contact(session, made.amina.actor, keyring, contact_id, told, made.now)
    assert conclude_contact(session, made.hana.actor, keyring, contact_id, told, made.now).standing is Standing.ACCEPTED
    with pytest.raises(Conflict):
        conclude_contact(session, made.hana.actor, keyring, contact_id, told, made.now)


def test_BANK_02_channel_outside_the_mandate_is_refused(session: Session, keyring: Keyring, made: World, case: CaseRow) -> None:
    session.get_one(MandateRow, made.bank_a.mandate_id).permitted = ["phone_contact"]
    session.flush()
    assert refused_rules(session, keyring, made, case, channel=Channel.SMS) == [Rule.BANK_02]
    intend(session, keyring, made, case)


def test_CONT_11_paid_case_is_not_contacted(session: Session, keyring: Keyring, made: World, case: CaseRow) -> None:
    cases.record_repayment(session, made.gu.actor, case.id, reference="T", amount=Fen(case.amount_fen), paid_on=made.today, now=made.now)
    assert refused_rules(session, keyring, made, case) == [Rule.CONT_11]


def test_CONT_05_two_calls_at_once_never_pass_the_cap_together(sessions: sessionmaker[Session], now: datetime) -> None:
    keyring = shared_keyring()
    with sessions.begin() as session:
        made = world(session, keyring, now)
        first = ready_case(session, keyring, made, 1)
        second = ready_case(session, keyring, made, 2, bank=made.bank_b, id_number=id_number(1))
        ids = [first.id, second.id]
        for _ in range(2):
            intend(session, keyring, made, first)

    def attempt(case_id: UUID) -> bool:
        try:
            with sessions.begin() as session:
                intend(session, keyring, made, session.get_one(CaseRow, case_id))
        except RulesBreached:
            return False
        return True

    with ThreadPoolExecutor(4) as pool:
        assert sorted(pool.map(attempt, ids * 2)) == [False, False, False, True]
