"""Raising, analysing and deciding visit requests on both engines: refusals first."""

from datetime import datetime, timedelta
from uuid import UUID

import pytest
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from backend.banks.tables import MandateRow
from backend.cases import actions as cases
from backend.cases import upkeep
from backend.cases.model import CaseStatus, Release, SuspensionReason
from backend.contacts.actions import agree_hours
from backend.contacts.model import AgreeHours, Channel, Result
from backend.core.ids import CaseId
from backend.core.problems import Conflict, Forbidden, IllegalTransition, NotFound
from backend.core.rulebook import Rule, RulesBreached
from backend.keys.keyring import Keyring
from backend.requests.actions import Decide, analyse, decide, fulfil, raise_request, withdraw
from backend.requests.model import Choice, RaiseRequest, RequestStatus, Verdict, Withheld
from backend.requests.queries import list_requests, plannable, show_request, withheld_reasons
from backend.requests.tables import RequestDecisionRow
from tests.support.cases import approved_request, call, called_case, counted_statements, ready_case
from tests.support.world import SHANGHAI, World, world


@pytest.fixture
def made(session: Session, keyring: Keyring, now: datetime) -> World:
    return world(session, keyring, now)


def ask(case_id: UUID, contact_id: UUID | None, **changes: object) -> RaiseRequest:
    return RaiseRequest(case_id=CaseId(case_id), contact_id=contact_id, reason="long silence", **changes)  # type: ignore[arg-type]


def rules(refusal: RulesBreached) -> list[Rule]:
    return [breach.rule for breach in refusal.breaches]


def test_REQ_01_request_without_a_phone_contact_is_refused(session: Session, keyring: Keyring, made: World) -> None:
    case = ready_case(session, keyring, made)
    with pytest.raises(RulesBreached) as refused:
        raise_request(session, made.hana.actor, keyring, ask(case.id, None), made.now)
    assert rules(refused.value) == [Rule.REQ_01]


def test_REQ_01_phone_contact_of_another_case_is_no_ground(session: Session, keyring: Keyring, made: World) -> None:
    case = ready_case(session, keyring, made, 1)
    _, contact_of_other = called_case(session, keyring, made, 2)
    with pytest.raises(RulesBreached) as refused:
        raise_request(session, made.hana.actor, keyring, ask(case.id, contact_of_other), made.now)
    assert rules(refused.value) == [Rule.REQ_01]


def test_REQ_01_letter_is_no_phone_contact(session: Session, keyring: Keyring, made: World) -> None:
    case = ready_case(session, keyring, made)
    letter = call(session, keyring, made, case.id, Result.DELIVERED, channel=Channel.LETTER)
    with pytest.raises(RulesBreached) as refused:
        raise_request(session, made.hana.actor, keyring, ask(case.id, letter.id), made.now)
    assert rules(refused.value) == [Rule.REQ_01]


def test_CONT_02_request_on_unconfirmed_data_is_refused(session: Session, keyring: Keyring, made: World) -> None:
    case, contact = called_case(session, keyring, made, occupation="")
    with pytest.raises(RulesBreached) as refused:
        raise_request(session, made.hana.actor, keyring, ask(case.id, contact), made.now)
    assert rules(refused.value) == [Rule.CONT_02]
    assert "occupation" in refused.value.breaches[0].got


def test_DECL_01_request_on_a_suspended_case_is_refused(session: Session, keyring: Keyring, made: World) -> None:
    case, contact = called_case(session, keyring, made)
    cases.suspend(session, made.bilal.on_phone, case.id, SuspensionReason.DENIES_SPENDING, made.now)
    with pytest.raises(RulesBreached) as refused:
        raise_request(session, made.hana.actor, keyring, ask(case.id, contact), made.now)
    assert rules(refused.value) == [Rule.DECL_01]


def test_VIS_10_request_outside_hours_needs_an_agreement_with_the_cardholder(session: Session, keyring: Keyring, made: World) -> None:
    case, contact = called_case(session, keyring, made)
    late = ask(case.id, contact, window_from_s=20 * 3600, window_to_s=21 * 3600 + 1800)
    with pytest.raises(RulesBreached) as refused:
        raise_request(session, made.hana.actor, keyring, late, made.now)
    assert rules(refused.value) == [Rule.VIS_10]
    evening = made.now.astimezone(SHANGHAI).replace(hour=21, minute=0)
    talked = call(session, keyring, made, case.id, Result.CONNECTED)
    agree_hours(session, made.hana.actor, AgreeHours(
        case_id=CaseId(case.id), from_at=evening, to_at=evening + timedelta(minutes=30), agreed_with="cardholder", contact_id=talked.id
    ), made.now)
    assert raise_request(session, made.hana.actor, keyring, late, made.now).status is RequestStatus.REQUESTED


def test_VIS_16_request_without_an_address_in_use_is_refused(session: Session, keyring: Keyring, made: World) -> None:
    approved = approved_request(session, keyring, made)
    withdraw(session, made.hana.actor, approved.request_id, made.now)
    approved.address.is_current = False
    contact = call(session, keyring, made, approved.case.id)
    with pytest.raises(RulesBreached) as refused:
        raise_request(session, made.hana.actor, keyring, ask(approved.case.id, contact.id), made.now)
    assert Rule.VIS_16 in rules(refused.value)


def test_second_open_request_of_a_case_is_refused(session: Session, keyring: Keyring, made: World) -> None:
    approved = approved_request(session, keyring, made)
    contact = call(session, keyring, made, approved.case.id)
    with pytest.raises(Conflict):
        raise_request(session, made.hana.actor, keyring, ask(approved.case.id, contact.id), made.now)


def test_REQ_02_decision_without_an_analysis_is_refused(session: Session, keyring: Keyring, made: World) -> None:
    case, contact = called_case(session, keyring, made)
    raised = raise_request(session, made.hana.actor, keyring, ask(case.id, contact), made.now)
    with pytest.raises(RulesBreached) as refused:
        decide(session, made.amina.actor, keyring, Decide(request_ids=(raised.id,), choice=Choice.APPROVE, reason="yes"), made.now)
    assert rules(refused.value) == [Rule.REQ_02]


@pytest.mark.parametrize("choice", list(Choice))
def test_REQ_03_requester_deciding_their_own_request_is_refused(session: Session, keyring: Keyring, made: World, choice: Choice) -> None:
    case, contact = called_case(session, keyring, made)
    raised = raise_request(session, made.amina.actor, keyring, ask(case.id, contact), made.now)
    analyse(session, made.petra.actor, keyring, raised.id, "read", made.now)
    with pytest.raises(RulesBreached) as refused:
        decide(session, made.amina.actor, keyring, Decide(request_ids=(raised.id,), choice=choice, reason="mine"), made.now)
    assert rules(refused.value) == [Rule.REQ_03]


def test_REQ_03_phone_collector_may_not_decide_at_all(session: Session, keyring: Keyring, made: World) -> None:
    approved = approved_request(session, keyring, made)
    with pytest.raises(Forbidden):
        decide(session, made.hana.actor, keyring, Decide(request_ids=(approved.request_id,), choice=Choice.APPROVE, reason="x"), made.now)


def test_REQ_03_only_approved_requests_can_be_planned(session: Session, keyring: Keyring, made: World) -> None:
    case, contact = called_case(session, keyring, made)
    raised = raise_request(session, made.hana.actor, keyring, ask(case.id, contact), made.now)
    found = plannable(session, made.sh1, made.today)
    assert found.ready == ()
    assert [one.reasons for one in found.withheld] == [(Withheld.NOT_APPROVED,)]
    assert found.withheld[0].request_id == raised.id


def test_DECL_01_approval_of_a_request_whose_case_was_suspended_is_refused(session: Session, keyring: Keyring, made: World) -> None:
    case, contact = called_case(session, keyring, made)
    raised = raise_request(session, made.hana.actor, keyring, ask(case.id, contact), made.now)
    analyse(session, made.petra.actor, keyring, raised.id, "read", made.now)
    cases.suspend(session, made.hana.actor, case.id, SuspensionReason.DENIES_APPLICATION, made.now)
    with pytest.raises(RulesBreached) as refused:
        decide(session, made.amina.actor, keyring, Decide(request_ids=(raised.id,), choice=Choice.APPROVE, reason="yes"), made.now)
    assert rules(refused.value) == [Rule.DECL_01]


def test_decided_request_is_not_decided_again(session: Session, keyring: Keyring, made: World) -> None:
    approved = approved_request(session, keyring, made)
    with pytest.raises(IllegalTransition):
        decide(session, made.amina.actor, keyring, Decide(request_ids=(approved.request_id,), choice=Choice.REJECT, reason="no"), made.now)


def test_SEC_01_other_banks_and_branches_requests_are_not_found(session: Session, keyring: Keyring, made: World) -> None:
    approved = approved_request(session, keyring, made)
    with pytest.raises(NotFound):
        show_request(session, made.yara.actor, keyring, approved.request_id, made.now)
    with pytest.raises(NotFound):
        analyse(session, made.yara.actor, keyring, approved.request_id, "x", made.now)
    assert list_requests(session, made.yara.actor, now=made.now, limit=10, after=None) == []
    assert [one.id for one in list_requests(session, made.farid.actor, now=made.now, limit=10, after=None)] == [approved.request_id]


def test_batch_with_an_amber_request_is_refused_and_green_ones_get_a_row_each(session: Session, keyring: Keyring, made: World) -> None:
    raised = []
    for serial, changes in ((1, {}), (2, {}), (3, {"safety_note": "dog"})):
        case, contact = called_case(session, keyring, made, serial, **changes)
        receipt = raise_request(session, made.hana.actor, keyring, ask(case.id, contact), made.now)
        raised.append(analyse(session, made.petra.actor, keyring, receipt.id, "read", made.now))
    assert [one.verdict for one in raised] == [Verdict.GREEN, Verdict.GREEN, Verdict.AMBER]
    with pytest.raises(RulesBreached) as refused:
        decide(session, made.amina.actor, keyring, Decide(request_ids=tuple(one.id for one in raised), choice=Choice.APPROVE, reason="all"), made.now)
    assert rules(refused.value) == [Rule.REQ_03]
    decide(session, made.amina.actor, keyring, Decide(request_ids=tuple(one.id for one in raised[:2]), choice=Choice.APPROVE, reason="all"), made.now)
    assert session.scalar(select(func.count()).select_from(RequestDecisionRow).where(RequestDecisionRow.batch_size == 2)) == 2


def test_approved_request_is_plannable_with_what_a_plan_needs(session: Session, keyring: Keyring, made: World) -> None:
    approved = approved_request(session, keyring, made, gender_rule="female_present", language="yue")
    (ready,), withheld = plannable(session, made.sh1, made.today).ready, plannable(session, made.sh1, made.today).withheld
    assert withheld == ()
    assert (ready.request_id, ready.case_id, ready.bank_id) == (approved.request_id, approved.case.id, made.bank_a.id)
    assert (ready.window_from_s, ready.window_to_s, ready.service_s) == (28_800, 75_600, 1_500)
    assert ready.point == approved.point
    assert ready.gender_rule.value == "female_present"
    assert ready.required_language == "yue"
    assert ready.value == 1 << (ready.priority - 1)
    assert approved.case.status is CaseStatus.VISIT_REQUESTED


def test_DECL_01_suspension_withdraws_an_approved_request_by_itself(session: Session, keyring: Keyring, made: World) -> None:
    approved = approved_request(session, keyring, made)
    cases.suspend(session, made.bilal.on_phone, approved.case.id, SuspensionReason.DENIES_APPLICATION, made.now)
    session.flush()
    assert withheld_reasons(session, [approved.request_id], made.today) == {approved.request_id: (Withheld.SUSPENDED,)}
    cases.resume(session, made.lin.actor, keyring, approved.case.id, "owes it", made.now)
    assert withheld_reasons(session, [approved.request_id], made.today) == {approved.request_id: ()}
    assert approved.case.status is CaseStatus.VISIT_REQUESTED


def test_VIS_11_vulnerable_case_is_withheld_until_released_and_then_only_in_its_time(session: Session, keyring: Keyring, made: World) -> None:
    approved = approved_request(session, keyring, made)
    cases.hold_vulnerable(session, made.bilal.on_phone, approved.case.id, made.now)
    session.flush()
    assert withheld_reasons(session, [approved.request_id], made.today) == {approved.request_id: (Withheld.VULNERABLE,)}
    afternoon = made.now.astimezone(SHANGHAI).replace(hour=14)
    cases.release_vulnerable(session, made.amina.actor, keyring, Release(
        case_id=CaseId(approved.case.id), from_at=afternoon, to_at=afternoon + timedelta(hours=2), manner="with the family", precautions="short"
    ), made.now)
    (ready,) = plannable(session, made.sh1, made.today).ready
    assert (ready.window_from_s, ready.window_to_s) == (14 * 3600, 16 * 3600)
    tomorrow = made.today + timedelta(days=1)
    assert withheld_reasons(session, [approved.request_id], tomorrow) == {approved.request_id: (Withheld.NO_HOURS,)}


def test_CONT_05_debtor_at_the_daily_cap_is_withheld(session: Session, keyring: Keyring, made: World) -> None:
    approved = approved_request(session, keyring, made)
    for _ in range(3):
        call(session, keyring, made, approved.case.id)
    assert withheld_reasons(session, [approved.request_id], made.today) == {approved.request_id: (Withheld.DAILY_CAP,)}


def test_VIS_16_unlocated_and_distant_addresses_are_withheld_with_their_reason(session: Session, keyring: Keyring, made: World) -> None:
    unlocated = approved_request(session, keyring, made, 1, lon="", lat="")
    distant = approved_request(session, keyring, made, 2, lon="110.1", lat="25.2")
    assert withheld_reasons(session, [unlocated.request_id, distant.request_id], made.today) == {
        unlocated.request_id: (Withheld.NEEDS_PIN,), distant.request_id: (Withheld.OUTSIDE_TERRITORY,),
    }


def test_fulfilled_request_is_neither_ready_nor_withheld(session: Session, keyring: Keyring, made: World) -> None:
    approved = approved_request(session, keyring, made)
    fulfil(session, made.bilal.on_phone, approved.request_id, made.now)
    fulfil(session, made.bilal.on_phone, approved.request_id, made.now)
    session.flush()
    found = plannable(session, made.sh1, made.today)
    assert (found.ready, found.withheld) == ((), ())
    assert approved.case.status is CaseStatus.VISITED


def test_BANK_03_ended_mandate_refuses_requests_and_approvals_and_withdraws_what_was_approved(
    session: Session, keyring: Keyring, made: World
) -> None:
    approved = approved_request(session, keyring, made, 1)
    case, contact = called_case(session, keyring, made, 2)
    raised = raise_request(session, made.hana.actor, keyring, ask(case.id, contact), made.now)
    analyse(session, made.petra.actor, keyring, raised.id, "read", made.now)
    other, other_contact = called_case(session, keyring, made, 3)
    session.get_one(MandateRow, made.bank_a.mandate_id).terminated_at = made.now
    session.flush()
    with pytest.raises(RulesBreached) as refused:
        raise_request(session, made.hana.actor, keyring, ask(other.id, other_contact), made.now)
    assert rules(refused.value) == [Rule.BANK_03]
    with pytest.raises(RulesBreached) as refused:
        decide(session, made.amina.actor, keyring, Decide(request_ids=(raised.id,), choice=Choice.APPROVE, reason="yes"), made.now)
    assert rules(refused.value) == [Rule.BANK_03]
    assert withheld_reasons(session, [approved.request_id], made.today) == {approved.request_id: (Withheld.RECALLED,)}


def test_BANK_02_mandate_without_field_visits_refuses_requests(session: Session, keyring: Keyring, made: World) -> None:
    case, contact = called_case(session, keyring, made)
    session.get_one(MandateRow, made.bank_a.mandate_id).permitted = ["phone_contact"]
    session.flush()
    with pytest.raises(RulesBreached) as refused:
        raise_request(session, made.hana.actor, keyring, ask(case.id, contact), made.now)
    assert rules(refused.value) == [Rule.BANK_02]


def test_CASE_39_urgent_case_comes_first_and_passes_no_rule(session: Session, keyring: Keyring, made: World) -> None:
    calm, urgent, unapproved = (approved_request(session, keyring, made, serial, amount="1000.00", days_past_due="62") for serial in (1, 2, 3))
    for one in (urgent, unapproved):
        upkeep.mark_urgent(session, made.amina.actor, keyring, one.case.id, "moving away", made.now)
    withdraw(session, made.hana.actor, unapproved.request_id, made.now)
    values = {one.request_id: one.value for one in plannable(session, made.sh1, made.today).ready}
    assert values.keys() == {calm.request_id, urgent.request_id}
    assert values[urgent.request_id] > values[calm.request_id]


def test_plannable_asks_the_database_as_often_for_nine_requests_as_for_three(session: Session, keyring: Keyring, made: World) -> None:
    counts = []
    for serials in (range(1, 4), range(4, 10)):
        for serial in serials:
            approved_request(session, keyring, made, serial)
        session.flush()
        with counted_statements(session) as statements:
            plannable(session, made.sh1, made.today)
        counts.append(len(statements))
    assert counts[0] == counts[1] <= 10
