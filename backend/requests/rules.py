"""What a visit request must have, who may decide it, and what the policy says of it. Pure."""

from typing import Final

from backend.cases.rules import judge_confirmations, judge_stops
from backend.contacts.rules import clock_text
from backend.core.rulebook import Breach, Rule
from backend.policies.model import Policy
from backend.requests.model import BULK_MAX, Choice, DecisionFacts, RequestFacts, TriageFacts, Verdict

_FAILED_CONTACTS_MIN: Final = 1


def judge_request(facts: RequestFacts, policy: Policy) -> tuple[Breach, ...]:
    """Return everything that forbids a request (REQ-01, CONT-02, DECL-01, VIS-10 …)."""
    breaches = [*judge_stops(facts.stops), *judge_confirmations(facts.unconfirmed)]
    if facts.phone_contacts < 1:
        breaches.append(Breach(rule=Rule.REQ_01, code="no-phone-contact", expected="a phone-contact record of the same case", got="none"))
    if not facts.is_address_current:
        breaches.append(Breach(rule=Rule.VIS_16, code="no-current-address", expected="an address of the case in use", got="none or replaced"))
    is_outside = facts.window_from_s < policy.hours_from_s or facts.window_to_s > policy.hours_to_s
    if is_outside and not (facts.is_hour_agreed and policy.is_hour_exception_allowed):
        breaches.append(Breach(
            rule=Rule.VIS_10, code="outside-hours",
            expected=f"{clock_text(policy.hours_from_s)} to {clock_text(policy.hours_to_s)} or a recorded agreement with the cardholder",
            got=f"{clock_text(facts.window_from_s)} to {clock_text(facts.window_to_s)}",
        ))
    return tuple(breaches)


def judge_decision(facts: DecisionFacts, policy: Policy) -> tuple[Breach, ...]:
    """Return everything that forbids a decision. A rejection needs another person and an analysis, an approval an open case too."""
    breaches: list[Breach] = []
    if facts.analyst is None:
        breaches.append(Breach(rule=Rule.REQ_02, code="not-analysed", expected="a completed analysis", got="none"))
    if facts.decider == facts.requester:
        breaches.append(Breach(rule=Rule.REQ_03, code="self-decided", expected="a decision by somebody else than the requester", got="the requester"))
    if policy.is_analyst_barred and facts.decider == facts.analyst:
        breaches.append(Breach(rule=Rule.REQ_03, code="analyst-decided", expected="a decision by somebody else than the analyst", got="the analyst"))
    if facts.choice is Choice.APPROVE:
        breaches.extend(judge_stops(facts.stops))
        breaches.extend(judge_confirmations(facts.unconfirmed))
    return tuple(breaches)


def judge_bulk(verdicts: tuple[Verdict | None, ...]) -> tuple[Breach, ...]:
    """Return a breach unless a batch is bounded and green throughout (F04): amber and red ones are decided singly."""
    if 1 <= len(verdicts) <= BULK_MAX and all(verdict is Verdict.GREEN for verdict in verdicts):
        return ()
    others = sum(verdict is not Verdict.GREEN for verdict in verdicts)
    return (Breach(
        rule=Rule.REQ_03, code="batch-not-green", expected=f"1 to {BULK_MAX} green requests", got=f"{len(verdicts)} requests, {others} not green"
    ),)


def triage(facts: TriageFacts, policy: Policy) -> Verdict:
    """Say what the policy thinks of a request: red cannot be planned as it stands, green is the plain case, amber wants reading.

    The narrowest reading of the selection rules: far past due, poor results by phone, a located address in a served area
    (VIS-14, VIS-15, VIS-16), nothing special about door, hour or money.
    """
    if facts.stops or facts.unconfirmed or not facts.is_located or not facts.is_served:
        return Verdict.RED
    is_plain = (
        facts.bucket_days >= policy.green_days_min
        and facts.failed_contacts >= _FAILED_CONTACTS_MIN
        and facts.confidence_pct >= policy.green_confidence_pct_min
        and facts.amount_fen <= policy.green_amount_fen_max
        and not facts.has_safety_note
        and not facts.has_hours_outside
        and facts.cash_expected_fen == 0
    )
    return Verdict.GREEN if is_plain else Verdict.AMBER
