"""What may happen at the door, rule by rule; refusals first."""

from datetime import UTC, date, datetime, time
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import msgspec
import pytest

from backend.cases.model import Field, Stop
from backend.cases.rules import RULE_OF_STOP
from backend.contacts.model import Channel, ContactFacts
from backend.core.ids import BankId, StaffId, VisitId
from backend.core.rulebook import Breach, Rule, RulesBreached
from backend.policies.model import DEFAULT_POLICY, Policy
from backend.staff.model import EquipmentKind
from backend.staff.rules import CredentialFacts, EquipmentFacts, MemberFacts, PairFacts
from backend.visits.model import Entry, Identity, Verdict
from backend.visits.rules import (
    REVIEW_CHECKLIST,
    CheckInFacts,
    OutcomeFacts,
    ReportFacts,
    ReviewFacts,
    StartFacts,
    VisitorFacts,
    judge_attempt,
    judge_check_in,
    judge_entry,
    judge_outcome,
    judge_report,
    judge_review,
    judge_start,
    read_outcome,
)

BILAL, DONG, EVE = (StaffId(UUID(int=n)) for n in (1, 2, 3))
VISIT, BANK = VisitId(UUID(int=9)), BankId(UUID(int=0xA))
SHANGHAI, FRIDAY = ZoneInfo("Asia/Shanghai"), date(2026, 11, 27)
NOON = datetime(2026, 11, 27, 4, 0, tzinfo=UTC)


def member(staff_id: StaffId, **changed: Any) -> MemberFacts:
    paper = CredentialFacts(bank_id=BANK, valid_from_on=date(2026, 1, 1), valid_to_on=FRIDAY)
    clean = MemberFacts(
        staff_id=staff_id, is_active=True, is_of_the_agency=True, credentials=(paper,), field_qualified_to_on=FRIDAY, is_lead=True,
    )
    return msgspec.structs.replace(clean, **changed)


def pair(*members: MemberFacts, kinds: tuple[EquipmentKind, ...] = tuple(EquipmentKind), due_on: date = FRIDAY) -> PairFacts:
    carried = tuple(EquipmentFacts(kind=kind, is_passed=True, next_due_on=due_on) for kind in kinds)
    return PairFacts(on=FRIDAY, bank_id=BANK, members=members or (member(BILAL), member(DONG)), equipment=carried)


def visitor(staff_id: StaffId = BILAL, **changed: Any) -> VisitorFacts:
    clean = VisitorFacts(staff_id=staff_id, is_planned=True, is_credential_worn=True, identity_presented=Identity.AGENCY)
    return msgspec.structs.replace(clean, **changed)


def at(hour: int, minute: int = 0, second: int = 0) -> datetime:
    return datetime(2026, 11, 27, hour, minute, second, tzinfo=SHANGHAI)


def contact(**changed: Any) -> ContactFacts:
    clean = ContactFacts(
        channel=Channel.VISIT, local_at=at(12), is_hour_agreed=False, contacts_today=0, unconfirmed=frozenset(), stops=frozenset(),
    )
    return msgspec.structs.replace(clean, **changed)


def start(**changed: Any) -> StartFacts:
    clean = StartFacts(
        pair=pair(), visitors=(visitor(BILAL), visitor(DONG)), contact=contact(), is_planned_stop=True, planned_on=FRIDAY, is_request_approved=True,
    )
    return msgspec.structs.replace(clean, **changed)


@pytest.mark.parametrize(("facts", "answered"), [
    ({"is_planned_stop": False}, ("visit-not-open", 409)), ({"planned_on": date(2026, 11, 28)}, ("visit-not-open", 409)),
    ({"is_request_approved": False}, ("visit-not-open", 409)), ({"is_planned_stop": False, "is_request_approved": False}, ("visit-not-open", 409)),
    ({"is_planned_stop": False, "is_replaced": True}, ("visit-version-stale", 409)),
    ({"visitors": (visitor(BILAL), visitor(DONG), visitor(StaffId(UUID(int=9)), is_planned=False))}, ("signer-not-assigned", 403)),
    ({"contact": contact(stops=frozenset({Stop.SUSPENDED}))}, ("case-on-hold", 409)),
    ({"contact": contact(stops=frozenset({Stop.SUSPENDED})), "is_planned_stop": False}, ("rules-breached", 409)),
])
def test_REQ_04_leave_refused_for_one_documented_reason_is_answered_under_its_name(facts: dict[str, Any], answered: tuple[str, int]) -> None:
    refused = RulesBreached(judge_start(start(**facts), DEFAULT_POLICY))
    assert (refused.answered_code, refused.answered_status) == answered


def rules_of(breaches: tuple[Breach, ...]) -> list[Rule]:
    return [breach.rule for breach in breaches]


def broken(facts: StartFacts, policy: Policy = DEFAULT_POLICY) -> list[Rule]:
    return rules_of(judge_start(facts, policy))


@pytest.mark.parametrize("members", [
    (member(BILAL),), (member(BILAL), member(BILAL)), (member(BILAL), member(DONG, is_of_the_agency=False)),
    (member(BILAL), member(DONG, is_active=False)),
])
def test_VIS_01_fewer_than_two_different_active_employees_are_refused(members: tuple[MemberFacts, ...]) -> None:
    assert Rule.VIS_01 in broken(start(pair=pair(*members)))


def test_VIS_04_a_missing_recorder_or_camera_is_refused() -> None:
    assert broken(start(pair=pair(kinds=(EquipmentKind.AUDIO,)))) == [Rule.VIS_04]
    assert broken(start(pair=pair(kinds=(EquipmentKind.CAMERA,)))) == [Rule.VIS_04]


def test_EVD_04_equipment_overdue_for_inspection_is_refused() -> None:
    assert broken(start(pair=pair(due_on=date(2026, 11, 26)))) == [Rule.EVD_04, Rule.EVD_04]


def test_VIS_05_a_credential_not_worn_is_refused() -> None:
    assert broken(start(visitors=(visitor(BILAL), visitor(DONG, is_credential_worn=False)))) == [Rule.VIS_05]


def test_VIS_06_a_visitor_without_the_banks_credential_is_refused() -> None:
    assert broken(start(pair=pair(member(BILAL), member(DONG, credentials=())))) == [Rule.VIS_06]


@pytest.mark.parametrize("identity", [Identity.BANK, Identity.AUTHORITY, Identity.OTHER])
def test_VIS_07_posing_as_anyone_but_the_agency_is_refused(identity: Identity) -> None:
    assert broken(start(visitors=(visitor(BILAL), visitor(DONG, identity_presented=identity)))) == [Rule.VIS_07]


@pytest.mark.parametrize("local_at", [at(7, 59, 59), at(21, 0, 1), at(0), at(23, 59)])
def test_VIS_10_outside_the_hours_is_refused(local_at: datetime) -> None:
    assert broken(start(contact=contact(local_at=local_at))) == [Rule.VIS_10]


@pytest.mark.parametrize("local_at", [at(8), at(12), at(21)])
def test_VIS_10_the_first_and_the_last_permitted_instant_are_inside(local_at: datetime) -> None:
    assert broken(start(contact=contact(local_at=local_at))) == []


def test_VIS_10_a_recorded_agreement_permits_an_hour_outside() -> None:
    assert broken(start(contact=contact(local_at=at(21, 30), is_hour_agreed=True))) == []


def test_VIS_10_a_policy_may_narrow_the_hours() -> None:
    assert broken(start(contact=contact(local_at=at(8, 30))), Policy(hours_from_s=9 * 3600)) == [Rule.VIS_10]


def test_TEAM_01_an_unqualified_visitor_is_refused() -> None:
    assert broken(start(pair=pair(member(BILAL), member(DONG, field_qualified_to_on=None)))) == [Rule.TEAM_01]


@pytest.mark.parametrize(("stop", "rule"), sorted(RULE_OF_STOP.items()))
def test_DECL_01_VIS_11_BANK_03_a_stopped_case_is_refused_under_the_rule_that_stopped_it(stop: Stop, rule: Rule) -> None:
    assert broken(start(contact=contact(stops=frozenset({stop})))) == [rule]


def test_DECL_01_is_the_rule_of_a_suspension_and_VIS_11_of_a_vulnerable_person() -> None:
    assert (RULE_OF_STOP[Stop.SUSPENDED], RULE_OF_STOP[Stop.VULNERABLE]) == (Rule.DECL_01, Rule.VIS_11)


def test_CONT_02_an_unconfirmed_field_is_refused() -> None:
    assert broken(start(contact=contact(unconfirmed=frozenset({Field.AGE})))) == [Rule.CONT_02]


def test_CONT_05_the_fourth_contact_of_a_day_is_refused() -> None:
    assert broken(start(contact=contact(contacts_today=3))) == [Rule.CONT_05]
    assert broken(start(contact=contact(contacts_today=2))) == []


def test_REQ_03_a_request_without_approval_is_refused() -> None:
    assert broken(start(is_request_approved=False)) == [Rule.REQ_03]


def test_REQ_04_a_visit_that_no_plan_names_is_refused() -> None:
    assert broken(start(is_planned_stop=False)) == [Rule.REQ_04]


def test_REQ_04_somebody_whom_the_plan_does_not_name_is_refused() -> None:
    assert broken(start(visitors=(visitor(BILAL), visitor(DONG), visitor(EVE, is_planned=False)))) == [Rule.REQ_04]


def test_REQ_04_a_visit_of_another_day_is_refused() -> None:
    (breach,) = judge_start(start(planned_on=date(2026, 11, 28)), DEFAULT_POLICY)
    assert (breach.rule, breach.code) == (Rule.REQ_04, "another-day")


def test_a_start_names_all_its_breaches_at_once() -> None:
    facts = start(
        pair=pair(member(BILAL)), visitors=(visitor(BILAL, is_credential_worn=False),),
        contact=contact(local_at=at(22), stops=frozenset({Stop.SUSPENDED}), contacts_today=5),
    )
    assert set(broken(facts)) == {Rule.VIS_01, Rule.VIS_05, Rule.VIS_10, Rule.DECL_01, Rule.CONT_05}


def test_a_clean_start_breaks_nothing() -> None:
    assert broken(start()) == []


@pytest.mark.parametrize(("changed", "rules"), [
    ({"visitor": visitor(is_credential_worn=False)}, [Rule.VIS_05]), ({"visitor": visitor(identity_presented=Identity.BANK)}, [Rule.VIS_07]),
    ({"credentials": ()}, [Rule.VIS_06]), ({"local_time": time(21, 4)}, [Rule.VIS_10]), ({"visitor": visitor(is_planned=False)}, [Rule.REQ_04]),
    ({}, []),
])
def test_VIS_05_VIS_06_VIS_07_VIS_10_a_check_in_is_judged_by_itself(changed: dict[str, Any], rules: list[Rule]) -> None:
    clean = CheckInFacts(
        visitor=visitor(), credentials=member(BILAL).credentials, bank_id=BANK, planned_on=FRIDAY, local_time=time(12), is_hour_agreed=False,
    )
    assert rules_of(judge_check_in(msgspec.structs.replace(clean, **changed), DEFAULT_POLICY)) == rules


def entry(**changed: Any) -> Entry:
    clean = Entry(visit_id=VISIT, at=NOON, reason="invited to sit down", consented_by="cardholder", consented_at=NOON, evidence_item_id="item-5")
    return msgspec.structs.replace(clean, **changed)


@pytest.mark.parametrize("field", ["reason", "consented_by", "consented_at", "evidence_item_id"])
def test_VIS_03_an_entry_without_one_part_of_its_consent_is_a_breach(field: str) -> None:
    breaches = judge_entry(entry(**{field: None}))
    assert rules_of(breaches) == [Rule.VIS_02, Rule.VIS_03]


def test_VIS_03_consent_after_the_entry_is_a_breach() -> None:
    breaches = judge_entry(entry(consented_at=datetime(2026, 11, 27, 4, 0, 1, tzinfo=UTC)))
    assert [(breach.rule, breach.code) for breach in breaches] == [(Rule.VIS_03, "consent-after-entry")]


def test_VIS_02_an_entry_with_prior_consent_is_clean() -> None:
    assert judge_entry(entry()) == ()


def test_CONT_08_a_fourth_try_at_the_right_party_is_a_breach() -> None:
    assert [rules_of(judge_attempt(attempt, DEFAULT_POLICY)) for attempt in (1, 3, 4)] == [[], [], [Rule.CONT_08]]


PROMISE = {"amount_fen": 200_000, "promised_on": "2026-12-04", "is_confirmed": True}


def outcome(code: str = "promise", fields: dict[str, Any] | None = None, **changed: Any) -> OutcomeFacts:
    clean = OutcomeFacts(
        version=1, code=code, fields=PROMISE if fields is None else fields, at=NOON, is_started=True, right_party_at=NOON, stops=frozenset(),
        stopped_at=None,
    )
    return msgspec.structs.replace(clean, **changed)


@pytest.mark.parametrize("code,fields", [
    ("promise", PROMISE), ("promise_vague", {}), ("refused_to_pay", {"reason": "none given"}),
    ("paid_directly", {"amount_fen": 300_000, "channel": "bank_app", "paid_at": "2026-11-27T04:00:00Z"}),
    ("cash_taken", {"receipt_number": "SH1-000001", "amount_fen": 1}), ("letter_handed_over", {"letter_number": "L-1"}),
])
def test_CONT_08_no_word_about_the_debt_is_clean_before_the_right_party_is_confirmed(code: str, fields: dict[str, Any]) -> None:
    later = datetime(2026, 11, 27, 4, 0, 1, tzinfo=UTC)
    assert judge_outcome(outcome(code, fields)) == ()
    assert rules_of(judge_outcome(outcome(code, fields, right_party_at=None))) == [Rule.CONT_08]
    assert rules_of(judge_outcome(outcome(code, fields, right_party_at=later))) == [Rule.CONT_08]


def test_CONT_09_information_from_a_third_party_without_consent_is_a_breach() -> None:
    told = outcome("third_party_met", {"is_consent_given": False, "relation": "neighbour", "information": "gone for weeks"}, right_party_at=None)
    assert rules_of(judge_outcome(told)) == [Rule.CONT_09]


@pytest.mark.parametrize("changed", [
    {"amount_fen": None}, {"amount_fen": 0}, {"amount_fen": True}, {"amount_fen": 1.5}, {"promised_on": "Friday"}, {"promised_on": None},
    {"is_confirmed": False}, {"is_confirmed": None},
])
def test_CASE_32_a_promise_without_amount_date_and_confirmation_is_stored_as_vague(changed: dict[str, Any]) -> None:
    read = read_outcome(outcome(fields={**PROMISE, **changed}))
    assert read is not None
    assert read[0].value == "promise_vague"


def test_EVD_12_a_confirmed_promise_stays_a_promise() -> None:
    read = read_outcome(outcome())
    assert read is not None
    assert (read[0].value, read[2]) == ("promise", PROMISE)


def test_EVD_10_an_unknown_or_incomplete_outcome_is_a_breach() -> None:
    assert rules_of(judge_outcome(outcome("bribed"))) == [Rule.EVD_10]
    assert rules_of(judge_outcome(outcome("police_attended", {"station": "Xuhui 3"}))) == [Rule.EVD_10]


def test_REQ_04_an_outcome_of_a_visit_that_never_started_is_a_breach() -> None:
    assert rules_of(judge_outcome(outcome("nobody_met", {}, is_started=False))) == [Rule.REQ_04]


def test_DECL_01_a_demand_on_a_suspended_case_is_a_breach_and_leaving_is_not() -> None:
    assert rules_of(judge_outcome(outcome(stops=frozenset({Stop.SUSPENDED})))) == [Rule.DECL_01]
    assert judge_outcome(outcome("nobody_met", {}, stops=frozenset({Stop.SUSPENDED}))) == ()
    assert judge_outcome(outcome("denies_application", {}, stops=frozenset({Stop.SUSPENDED}))) == ()


def test_VIS_11_a_demand_after_a_vulnerable_person_was_found_is_a_breach() -> None:
    earlier = datetime(2026, 11, 27, 3, 59, tzinfo=UTC)
    assert rules_of(judge_outcome(outcome(stopped_at=earlier))) == [Rule.VIS_11]


def report(**changed: Any) -> ReportFacts:
    clean = ReportFacts(
        is_entered=False, has_entry=False, has_outcome=True, reasons="has an income", attitude="calm", delinquency_reason="lost the job",
        financial_situation="new job since May",
    )
    return msgspec.structs.replace(clean, **changed)


@pytest.mark.parametrize("changed,rule", [
    ({"is_entered": True}, Rule.VIS_03), ({"has_entry": True}, Rule.VIS_02), ({"reasons": " "}, Rule.VIS_12), ({"attitude": ""}, Rule.VIS_13),
    ({"delinquency_reason": ""}, Rule.VIS_13), ({"financial_situation": ""}, Rule.VIS_13), ({"has_outcome": False}, Rule.EVD_10),
])
def test_VIS_12_VIS_13_an_incomplete_or_contradictory_report_is_a_breach(changed: dict[str, Any], rule: Rule) -> None:
    assert rules_of(judge_report(report(**changed))) == [rule]


def test_a_complete_report_is_clean() -> None:
    assert judge_report(report()) == ()
    assert judge_report(report(is_entered=True, has_entry=True)) == ()


def review(**changed: Any) -> ReviewFacts:
    clean = ReviewFacts(
        verdict=Verdict.ACCEPTED, is_own_visit=False, is_closed=True, open_exceptions=frozenset(), accepted_exceptions=frozenset(),
        checklist=dict.fromkeys(REVIEW_CHECKLIST, True), comment="",
    )
    return msgspec.structs.replace(clean, **changed)


@pytest.mark.parametrize("changed,code", [
    ({"is_closed": False}, "not-closed"), ({"open_exceptions": frozenset({"no-recording"})}, "exceptions-open"),
])
def test_EVD_01_an_unclosed_visit_or_an_open_exception_is_not_accepted(changed: dict[str, Any], code: str) -> None:
    (breach,) = judge_review(review(**changed))
    assert (breach.rule, breach.code) == (Rule.EVD_01, code)


def test_EVD_01_an_exception_taken_on_by_name_is_accepted() -> None:
    named = frozenset({"no-recording"})
    assert judge_review(review(open_exceptions=named, accepted_exceptions=named)) == ()


@pytest.mark.parametrize("changed", [
    {"checklist": {"hours": True}}, {"verdict": Verdict.RETURNED}, {"checklist": {**dict.fromkeys(REVIEW_CHECKLIST, True), "manner": False}},
])
def test_TEAM_09_a_review_without_its_whole_checklist_or_reason_is_refused(changed: dict[str, Any]) -> None:
    assert rules_of(judge_review(review(**changed))) == [Rule.TEAM_09]


def test_REQ_06_nobody_reviews_their_own_visit() -> None:
    assert rules_of(judge_review(review(is_own_visit=True))) == [Rule.REQ_06]
