"""The one guard of every contact, breach by breach."""

from datetime import datetime, time
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.cases.model import Field, Stop
from backend.contacts.model import Carried, Channel, ContactFacts, Person, Purpose
from backend.contacts.rules import is_within_hours, judge_agreement, judge_contact
from backend.core.rulebook import Rule
from backend.policies.model import DEFAULT_POLICY

SHANGHAI = ZoneInfo("Asia/Shanghai")
NO_EXCEPTION = msgspec.structs.replace(DEFAULT_POLICY, is_hour_exception_allowed=False)


def facts(**changes: Any) -> ContactFacts:
    clean: dict[str, Any] = {
        "channel": Channel.PHONE, "local_at": datetime(2026, 11, 27, 10, 0, tzinfo=SHANGHAI), "is_hour_agreed": False, "contacts_today": 0,
        "unconfirmed": frozenset(), "stops": frozenset(),
    }
    return ContactFacts(**{**clean, **changes})


def at(text: str) -> datetime:
    return datetime.combine(datetime(2026, 11, 27).date(), time.fromisoformat(text), SHANGHAI)  # noqa: DTZ001 - a date only.


def rules(found: ContactFacts, policy: Any = DEFAULT_POLICY) -> set[Rule]:
    return {breach.rule for breach in judge_contact(found, policy)}


@pytest.mark.parametrize("local_time", ["00:00", "07:59:59.999999", "21:00:00.000001", "21:00:01", "23:59:59"])
@pytest.mark.parametrize(
    ("channel", "broken"),
    [(Channel.PHONE, {Rule.CONT_03, Rule.CONT_04}), (Channel.SMS, {Rule.CONT_04}), (Channel.LETTER, {Rule.CONT_04}), (Channel.VISIT, {Rule.VIS_10})],
)
def test_CONT_03_CONT_04_VIS_10_contact_outside_hours_is_a_breach(channel: Channel, broken: set[Rule], local_time: str) -> None:
    assert rules(facts(channel=channel, local_at=at(local_time))) == broken


@pytest.mark.parametrize("local_time", ["08:00", "20:59:59.999999", "21:00:00"])
@pytest.mark.parametrize("channel", list(Channel))
def test_VIS_10_both_ends_of_the_hours_are_permitted(channel: Channel, local_time: str) -> None:
    assert rules(facts(channel=channel, local_at=at(local_time))) == set()


def test_VIS_10_agreement_with_the_cardholder_permits_another_hour() -> None:
    assert rules(facts(channel=Channel.VISIT, local_at=at("21:30"), is_hour_agreed=True)) == set()


def test_CONT_06_bank_that_allows_no_exception_refuses_the_agreed_hour_too() -> None:
    assert rules(facts(local_at=at("21:30"), is_hour_agreed=True), NO_EXCEPTION) == {Rule.CONT_06}


@given(st.times())
def test_VIS_10_hours_are_one_closed_interval(local_time: time) -> None:
    assert is_within_hours(local_time, DEFAULT_POLICY) == (time(8) <= local_time <= time(21))


@pytest.mark.parametrize("channel", list(Channel))
def test_CONT_05_fourth_contact_of_a_day_is_a_breach_on_every_channel(channel: Channel) -> None:
    assert rules(facts(channel=channel, contacts_today=3)) == {Rule.CONT_05}
    assert rules(facts(channel=channel, contacts_today=2)) == set()


@pytest.mark.parametrize("field", list(Field))
def test_CONT_02_contact_on_unconfirmed_data_is_a_breach(field: Field) -> None:
    assert rules(facts(unconfirmed=frozenset({field}))) == {Rule.CONT_02}


@pytest.mark.parametrize("channel", list(Channel))
def test_DECL_01_contact_with_a_suspended_case_is_a_breach_on_every_channel(channel: Channel) -> None:
    assert rules(facts(channel=channel, stops=frozenset({Stop.SUSPENDED}))) == {Rule.DECL_01}


def test_VIS_11_contact_with_a_vulnerable_debtor_is_a_breach() -> None:
    assert rules(facts(stops=frozenset({Stop.VULNERABLE}))) == {Rule.VIS_11}


@pytest.mark.parametrize(("channel", "broken"), [(Channel.PHONE, {Rule.CONT_07}), (Channel.SMS, {Rule.CONT_07}), (Channel.VISIT, set())])
def test_CONT_07_other_numbers_than_work_numbers_are_a_breach(channel: Channel, broken: set[Rule]) -> None:
    assert rules(facts(channel=channel, is_work_number=False)) == broken


@pytest.mark.parametrize("carried", list(Carried))
def test_CONT_08_nothing_is_demanded_from_or_given_to_a_third_party(carried: Carried) -> None:
    asked = facts(person=Person.THIRD_PARTY, purpose=Purpose.INFORMATION_REQUEST, is_consented=True, carried=frozenset({carried}))
    assert rules(asked) == {Rule.CONT_08}
    assert rules(msgspec.structs.replace(asked, person=Person.DEBTOR)) == set()


@pytest.mark.parametrize(("purpose", "is_consented"), [(Purpose.COLLECTION, True), (Purpose.INFORMATION_REQUEST, False)])
def test_CONT_09_third_party_is_asked_for_information_and_with_consent(purpose: Purpose, is_consented: bool) -> None:
    assert rules(facts(person=Person.THIRD_PARTY, purpose=purpose, is_consented=is_consented)) == {Rule.CONT_09}


def test_CONT_10_third_party_who_refused_once_is_not_contacted_again() -> None:
    asked = facts(person=Person.THIRD_PARTY, purpose=Purpose.INFORMATION_REQUEST, is_consented=True, is_ceased=True)
    assert rules(asked) == {Rule.CONT_10}


def test_CONT_12_only_the_agency_identity_is_presented() -> None:
    assert rules(facts(identity_presented="bank")) == {Rule.CONT_12}


def test_CONT_04_agreement_of_anyone_but_the_cardholder_counts_for_nothing() -> None:
    assert [breach.rule for breach in judge_agreement("third_party")] == [Rule.CONT_04]
    assert judge_agreement("cardholder") == ()


def test_all_breaches_are_named_at_once() -> None:
    worst = facts(local_at=at("22:00"), contacts_today=9, unconfirmed=frozenset(Field), stops=frozenset({Stop.SUSPENDED}), is_work_number=False)
    assert rules(worst) == {Rule.DECL_01, Rule.CONT_02, Rule.CONT_03, Rule.CONT_04, Rule.CONT_05, Rule.CONT_07}
