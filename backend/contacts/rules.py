"""The one guard of every contact: hours, cap, confirmed data, stops, third parties, numbers and identity. Pure.

Calls, SMS, letters and visits are judged by the same function, before the fact as an intent and afterwards as a fact.
"""

from datetime import time
from typing import Final

from backend.cases.rules import judge_confirmations, judge_stops
from backend.contacts.model import AGENCY_IDENTITY, Carried, Channel, ContactFacts, Person, Purpose
from backend.core.rulebook import Breach, Rule
from backend.policies.model import Policy

CARDHOLDER: Final = "cardholder"
_HOUR_RULES: Final = {Channel.VISIT: (Rule.VIS_10,), Channel.PHONE: (Rule.CONT_03, Rule.CONT_04)}


def judge_contact(facts: ContactFacts, policy: Policy) -> tuple[Breach, ...]:
    """Return everything that forbids a contact; empty means that it may be made, or was made well."""
    return (
        *judge_stops(facts.stops),
        *judge_confirmations(facts.unconfirmed),
        *judge_hours(facts.channel, facts.local_at.timetz().replace(tzinfo=None), policy, is_agreed=facts.is_hour_agreed),
        *_judge_cap(facts, policy),
        *_judge_number(facts),
        *judge_third_party(
            facts.person, facts.purpose, is_consented=facts.is_consented, carried=facts.carried, is_ceased=facts.is_ceased
        ),
        *_judge_identity(facts),
    )


def judge_hours(channel: Channel, local_time: time, policy: Policy, *, is_agreed: bool) -> tuple[Breach, ...]:
    """Judge one local time of day: from the opening instant to the closing one, both permitted (CF-01).

    Outside the hours only a recorded agreement with the cardholder helps, and not where the bank switched that off (CONT-06).
    """
    if is_within_hours(local_time, policy):
        return ()
    expected = f"{clock_text(policy.hours_from_s)} to {clock_text(policy.hours_to_s)} at the debtor's address"
    if is_agreed and policy.is_hour_exception_allowed:
        return ()
    if is_agreed:
        return (Breach(rule=Rule.CONT_06, code="outside-hours-without-exception", expected=expected, got=local_time.isoformat("seconds")),)
    rules = _HOUR_RULES.get(channel, (Rule.CONT_04,))
    return tuple(Breach(rule=rule, code="outside-hours", expected=expected, got=local_time.isoformat("seconds")) for rule in rules)


def is_within_hours(local_time: time, policy: Policy) -> bool:
    """Whether a local time lies within the hours; 21:00:00 sharp still does, a microsecond later does not."""
    seconds = local_time.hour * 3600 + local_time.minute * 60 + local_time.second
    is_after_end = seconds > policy.hours_to_s or (seconds == policy.hours_to_s and local_time.microsecond > 0)
    return seconds >= policy.hours_from_s and not is_after_end


def judge_agreement(agreed_with: str) -> tuple[Breach, ...]:
    """Only the cardholder can agree to another hour (CONT-04, CF-01)."""
    if agreed_with == CARDHOLDER:
        return ()
    return (Breach(rule=Rule.CONT_04, code="agreed-with-another", expected=CARDHOLDER, got=agreed_with[:40]),)


def judge_third_party(
    person: Person, purpose: Purpose, *, is_consented: bool, carried: frozenset[Carried], is_ceased: bool
) -> tuple[Breach, ...]:
    """Judge what anyone but the debtor is asked or given (CONT-08, CONT-09, CONT-10)."""
    if person is not Person.THIRD_PARTY:
        return ()
    breaches: list[Breach] = []
    if carried:
        got = ", ".join(sorted(one.value for one in carried))
        breaches.append(Breach(rule=Rule.CONT_08, code="third-party-collected", expected="nothing but a question for information", got=got))
    if purpose is not Purpose.INFORMATION_REQUEST or not is_consented:
        got = purpose.value if purpose is not Purpose.INFORMATION_REQUEST else "no consent"
        breaches.append(Breach(rule=Rule.CONT_09, code="third-party-not-asked", expected="an information request with consent", got=got))
    if is_ceased:
        breaches.append(Breach(rule=Rule.CONT_10, code="third-party-ceased", expected="no contact after the first refusal", got="contacted again"))
    return tuple(breaches)


def clock_text(day_s: int) -> str:
    """Write seconds since midnight as a time of day: 28800 → 08:00."""
    return f"{day_s // 3600:02d}:{day_s % 3600 // 60:02d}"


def _judge_cap(facts: ContactFacts, policy: Policy) -> tuple[Breach, ...]:
    if facts.contacts_today < policy.contacts_per_day_max:
        return ()
    return (Breach(
        rule=Rule.CONT_05, code="daily-cap", expected=f"at most {policy.contacts_per_day_max} contacts a day over all channels",
        got=f"{facts.contacts_today} before this one",
    ),)


def _judge_number(facts: ContactFacts) -> tuple[Breach, ...]:
    if facts.channel not in (Channel.PHONE, Channel.SMS) or facts.is_work_number:
        return ()
    return (Breach(rule=Rule.CONT_07, code="not-a-work-number", expected="a registered work number", got="another number"),)


def _judge_identity(facts: ContactFacts) -> tuple[Breach, ...]:
    if facts.identity_presented == AGENCY_IDENTITY:
        return ()
    return (Breach(rule=Rule.CONT_12, code="identity", expected=AGENCY_IDENTITY, got=facts.identity_presented[:40]),)
