"""Who may be sent to a door, by table."""

from datetime import UTC, date, datetime, timedelta

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.banks.model import MandateAction
from backend.banks.rules import MandateFacts, MandateQuestion, flag_mandate, judge_mandate
from backend.core.ids import BankId, StaffId, new_id
from backend.core.rulebook import Breach, Rule
from backend.policies.model import Policy
from backend.staff.model import EquipmentKind
from backend.staff.rules import CredentialFacts, EquipmentFacts, MemberFacts, PairFacts, judge_equipment, judge_pair

POLICY = Policy()
TODAY = date(2026, 11, 27)
BANK_A, BANK_B = BankId(new_id()), BankId(new_id())
CREDENTIAL = CredentialFacts(bank_id=BANK_A, valid_from_on=date(2026, 1, 1), valid_to_on=date(2026, 12, 31))
BILAL = MemberFacts(
    staff_id=StaffId(new_id()), is_active=True, is_of_the_agency=True, credentials=(CREDENTIAL,), field_qualified_to_on=date(2027, 6, 1), is_lead=True
)
DONG = msgspec.structs.replace(BILAL, staff_id=StaffId(new_id()), is_lead=False)
RECORDER = EquipmentFacts(kind=EquipmentKind.AUDIO, is_passed=True, next_due_on=date(2026, 12, 24))
CAMERA = EquipmentFacts(kind=EquipmentKind.CAMERA, is_passed=True, next_due_on=date(2026, 12, 24))
PAIR = PairFacts(on=TODAY, bank_id=BANK_A, members=(BILAL, DONG), equipment=(RECORDER, CAMERA))


def codes(breaches: tuple[Breach, ...]) -> list[tuple[Rule, str]]:
    return [(breach.rule, breach.code) for breach in breaches]


def with_members(*members: MemberFacts) -> PairFacts:
    return msgspec.structs.replace(PAIR, members=members)


def with_credential(**changes: object) -> PairFacts:
    return with_members(BILAL, msgspec.structs.replace(DONG, credentials=(msgspec.structs.replace(CREDENTIAL, **changes),)))


def test_VIS_01_one_visitor_is_refused() -> None:
    assert codes(judge_pair(with_members(BILAL), POLICY)) == [(Rule.VIS_01, "too-few-visitors")]


def test_VIS_01_the_same_person_twice_counts_as_one() -> None:
    assert codes(judge_pair(with_members(BILAL, BILAL), POLICY)) == [(Rule.VIS_01, "too-few-visitors")]


def test_VIS_01_nobody_is_refused() -> None:
    assert codes(judge_pair(with_members(), POLICY)) == [(Rule.VIS_01, "too-few-visitors")]


def test_VIS_01_an_excluded_pair_is_refused() -> None:
    assert codes(judge_pair(msgspec.structs.replace(PAIR, is_conflicting=True), POLICY)) == [(Rule.VIS_01, "pair-excluded")]


def test_VIS_01_a_policy_may_ask_for_three() -> None:
    policy = Policy(pair_min=3)
    assert codes(judge_pair(PAIR, policy)) == [(Rule.VIS_01, "too-few-visitors")]
    assert judge_pair(with_members(BILAL, DONG, msgspec.structs.replace(DONG, staff_id=StaffId(new_id()))), policy) == ()


def test_VIS_01_no_policy_allows_one_visitor() -> None:
    with pytest.raises(ValueError):
        Policy(pair_min=1)


def test_SEC_02_a_banks_person_is_never_assigned() -> None:
    guest = msgspec.structs.replace(DONG, is_of_the_agency=False)
    assert codes(judge_pair(with_members(BILAL, guest), POLICY)) == [(Rule.VIS_01, "too-few-visitors"), (Rule.SEC_02, "visitor-not-of-the-agency")]


def test_SEC_02_an_inactive_employee_is_never_assigned() -> None:
    gone = msgspec.structs.replace(DONG, is_active=False)
    assert codes(judge_pair(with_members(BILAL, gone), POLICY)) == [(Rule.VIS_01, "too-few-visitors"), (Rule.SEC_02, "visitor-not-active")]


@pytest.mark.parametrize(
    ("facts", "code"),
    [
        (with_members(BILAL, msgspec.structs.replace(DONG, credentials=())), "credential-missing"),
        (with_credential(bank_id=BANK_B), "credential-missing"),
        (with_credential(valid_to_on=TODAY - timedelta(days=1)), "credential-expired"),
        (with_credential(valid_from_on=TODAY + timedelta(days=1)), "credential-not-yet-valid"),
        (with_credential(is_revoked=True), "credential-revoked"),
        (with_credential(is_revoked=True, valid_to_on=TODAY - timedelta(days=3)), "credential-revoked"),
    ],
)
def test_VIS_06_a_credential_that_does_not_hold_is_refused(facts: PairFacts, code: str) -> None:
    assert codes(judge_pair(facts, POLICY)) == [(Rule.VIS_06, code)]


@pytest.mark.parametrize("days", [{"valid_to_on": TODAY}, {"valid_from_on": TODAY}])
def test_VIS_06_the_first_and_the_last_day_are_valid(days: dict[str, date]) -> None:
    assert judge_pair(with_credential(**days), POLICY) == ()


def test_VIS_06_one_good_credential_among_bad_ones_is_enough() -> None:
    old = msgspec.structs.replace(CREDENTIAL, valid_to_on=TODAY - timedelta(days=1))
    assert judge_pair(with_members(BILAL, msgspec.structs.replace(DONG, credentials=(old, CREDENTIAL))), POLICY) == ()


def test_VIS_06_both_visitors_need_one() -> None:
    bare = tuple(msgspec.structs.replace(member, credentials=()) for member in (BILAL, DONG))
    assert codes(judge_pair(with_members(*bare), POLICY)) == [(Rule.VIS_06, "credential-missing")] * 2


@pytest.mark.parametrize("until", [None, TODAY - timedelta(days=1)])
def test_TEAM_01_an_unqualified_employee_is_refused(until: date | None) -> None:
    unqualified = msgspec.structs.replace(DONG, field_qualified_to_on=until)
    assert codes(judge_pair(with_members(BILAL, unqualified), POLICY)) == [(Rule.TEAM_01, "not-qualified")]


def test_TEAM_01_a_policy_may_ask_for_a_lead() -> None:
    policy = Policy(is_lead_required=True)
    assert codes(judge_pair(with_members(DONG, msgspec.structs.replace(BILAL, is_lead=False)), policy)) == [(Rule.TEAM_01, "no-lead")]
    assert judge_pair(PAIR, policy) == ()


def test_TEAM_03_legal_training_blocks_only_where_the_policy_says_so() -> None:
    assert judge_pair(PAIR, POLICY) == ()
    assert codes(judge_pair(PAIR, Policy(is_legal_training_required=True))) == [(Rule.TEAM_03, "legal-training-expired")] * 2


@pytest.mark.parametrize(("equipment", "code"), [((CAMERA,), "no-audio"), ((RECORDER,), "no-camera")])
def test_VIS_04_a_pair_without_recorder_or_camera_is_refused(equipment: tuple[EquipmentFacts, ...], code: str) -> None:
    assert codes(judge_pair(msgspec.structs.replace(PAIR, equipment=equipment), POLICY)) == [(Rule.VIS_04, code)]


@pytest.mark.parametrize(
    ("equipment", "code"),
    [
        (msgspec.structs.replace(RECORDER, is_passed=False), "audio-not-passed"),
        (msgspec.structs.replace(RECORDER, is_passed=False, next_due_on=None), "audio-not-passed"),
        (msgspec.structs.replace(RECORDER, next_due_on=TODAY - timedelta(days=1)), "audio-overdue"),
    ],
)
def test_EVD_04_failed_or_overdue_equipment_is_refused(equipment: EquipmentFacts, code: str) -> None:
    assert codes(judge_equipment(equipment, TODAY)) == [(Rule.EVD_04, code)]
    assert codes(judge_pair(msgspec.structs.replace(PAIR, equipment=(equipment, CAMERA)), POLICY)) == [(Rule.EVD_04, code)]


def test_EVD_04_the_due_day_is_in_time_and_a_spare_counts() -> None:
    due = msgspec.structs.replace(RECORDER, next_due_on=TODAY)
    assert judge_equipment(due, TODAY) == ()
    broken = msgspec.structs.replace(RECORDER, is_passed=False)
    assert judge_pair(msgspec.structs.replace(PAIR, equipment=(broken, RECORDER, CAMERA)), POLICY) == ()


def test_a_whole_pair_is_clean() -> None:
    assert judge_pair(PAIR, POLICY) == ()


@given(st.lists(st.sampled_from((BILAL, DONG)), max_size=4))
def test_VIS_01_a_pair_passes_only_when_both_are_in_it(members: list[MemberFacts]) -> None:
    is_clean = not judge_pair(with_members(*members), POLICY)
    assert is_clean == ({member.staff_id for member in members} == {BILAL.staff_id, DONG.staff_id})


NOON = datetime(2026, 11, 27, 4, 0, tzinfo=UTC)
MANDATE = MandateFacts(
    permitted=frozenset({MandateAction.FIELD_VISIT}), valid_from_on=date(2026, 1, 1), valid_to_on=date(2026, 12, 31), terminated_at=None
)
VISIT = MandateQuestion(action=MandateAction.FIELD_VISIT, on=TODAY, at=NOON)


def test_BANK_02_an_act_outside_the_mandate_is_refused() -> None:
    taking_cash = msgspec.structs.replace(VISIT, action=MandateAction.CASH_COLLECTION)
    assert codes(judge_mandate((MANDATE,), taking_cash)) == [(Rule.BANK_02, "outside-the-mandate")]


@pytest.mark.parametrize("mandates", [(), (msgspec.structs.replace(MANDATE, valid_to_on=TODAY - timedelta(days=1)),),
                                      (msgspec.structs.replace(MANDATE, valid_from_on=TODAY + timedelta(days=1)),)])
def test_BANK_02_without_a_mandate_in_force_nothing_is_allowed(mandates: tuple[MandateFacts, ...]) -> None:
    assert codes(judge_mandate(mandates, VISIT)) == [(Rule.BANK_02, "no-mandate-in-force")]


def test_BANK_03_an_ended_mandate_is_void_from_the_instant_of_its_ending() -> None:
    ended = msgspec.structs.replace(MANDATE, terminated_at=NOON)
    assert codes(judge_mandate((ended,), VISIT)) == [(Rule.BANK_03, "mandate-terminated")]
    assert judge_mandate((ended,), msgspec.structs.replace(VISIT, at=NOON - timedelta(microseconds=1))) == ()


def test_BANK_03_a_successor_takes_the_place_of_an_ended_mandate() -> None:
    assert judge_mandate((msgspec.structs.replace(MANDATE, terminated_at=NOON), MANDATE), VISIT) == ()


def test_BANK_07_missing_papers_are_flagged() -> None:
    assert flag_mandate(MANDATE) == ()
    bare = msgspec.structs.replace(MANDATE, is_nda_signed=False, is_qualification_checked=False)
    assert codes(flag_mandate(bare)) == [(Rule.BANK_07, "nda-missing"), (Rule.BANK_07, "qualification-unchecked")]
