"""What a bank's mandate allows: pure judgements."""

from datetime import date, datetime

import msgspec

from backend.banks.model import MandateAction
from backend.core.rulebook import Breach, Rule


class MandateFacts(msgspec.Struct, frozen=True, kw_only=True):
    """One mandate; both end days are valid, an ended mandate is void from the instant of its ending."""

    permitted: frozenset[MandateAction]
    valid_from_on: date
    valid_to_on: date
    terminated_at: datetime | None
    is_nda_signed: bool = True
    is_qualification_checked: bool = True


class MandateQuestion(msgspec.Struct, frozen=True, kw_only=True):
    """May this be done in the bank's matter on the local date `on`, asked at the instant `at`?"""

    action: MandateAction
    on: date
    at: datetime


def judge_mandate(mandates: tuple[MandateFacts, ...], question: MandateQuestion) -> tuple[Breach, ...]:
    """Judge an act against every mandate of its bank; one that covers it is enough (BANK-02, BANK-03)."""
    in_time = [mandate for mandate in mandates if mandate.valid_from_on <= question.on <= mandate.valid_to_on]
    alive = [mandate for mandate in in_time if mandate.terminated_at is None or question.at < mandate.terminated_at]
    if any(question.action in mandate.permitted for mandate in alive):
        return ()
    if alive:
        permitted = sorted({action.value for mandate in alive for action in mandate.permitted})
        return (Breach(Rule.BANK_02, "outside-the-mandate", expected=f"one of: {', '.join(permitted)}", got=question.action.value),)
    if in_time:
        return (Breach(Rule.BANK_03, "mandate-terminated", expected="a mandate that the bank has not ended", got="ended"),)
    return (Breach(Rule.BANK_02, "no-mandate-in-force", expected=f"a mandate valid on {question.on}", got="none"),)


def flag_mandate(mandate: MandateFacts) -> tuple[Breach, ...]:
    """Name what the bank's own duty leaves open: the agency's qualification check and the confidentiality agreement (BANK-07). Never a refusal."""
    breaches = []
    if not mandate.is_nda_signed:
        breaches.append(Breach(Rule.BANK_07, "nda-missing", expected="a confidentiality agreement", got="none"))
    if not mandate.is_qualification_checked:
        breaches.append(Breach(Rule.BANK_07, "qualification-unchecked", expected="a qualification check", got="none"))
    return tuple(breaches)
