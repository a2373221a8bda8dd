"""Judgements about promises, proposals and offers. Pure."""

from collections.abc import Sequence
from datetime import date, timedelta

import msgspec

from backend.core.fen import Fen
from backend.core.rulebook import Breach, Rule
from backend.offers.model import Instalment, ProposalStatus, Terms


class ProposalFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What is read to judge a proposal."""

    terms: Terms
    amount_fen: Fen                       # What is owed, from the bank's file.
    methods: frozenset[str]               # Ways of paying that the bank has authorised.
    on: date


class OfferFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What is read before an offer is shown to, or confirmed by, a customer."""

    status: ProposalStatus
    valid_to_on: date | None
    on: date


def judge_proposal(facts: ProposalFacts) -> tuple[Breach, ...]:
    """Judge what is proposed: never more than is owed (BANK-12), nothing in the past, only ways of paying that the bank has (CASH-13)."""
    found: list[Breach] = []
    if facts.terms.total_fen > facts.amount_fen:
        found.append(Breach(Rule.BANK_12, "more-than-owed", expected=f"at most {facts.amount_fen} fen", got=f"{facts.terms.total_fen} fen"))
    days = [one.due_on for one in facts.terms.instalments] + ([facts.terms.until_on] if facts.terms.until_on is not None else [])
    if any(day < facts.on for day in days):
        found.append(Breach(Rule.CASE_30, "day-past", expected=f"{facts.on} or later", got=str(min(days))))
    if facts.terms.method is not None and facts.terms.method not in facts.methods:
        found.append(Breach(Rule.CASH_13, "method-not-authorised", expected=" | ".join(sorted(facts.methods)) or "none", got=facts.terms.method))
    return tuple(found)


def judge_offer(facts: OfferFacts) -> tuple[Breach, ...]:
    """Judge whether a concession may be shown or confirmed: the bank has turned it into an offer, and it still stands (BANK-01)."""
    if facts.status is not ProposalStatus.OFFERED:
        return (Breach(Rule.BANK_01, "not-an-offer", expected="an offer of the bank", got=facts.status.value),)
    if facts.valid_to_on is not None and facts.on > facts.valid_to_on:
        return (Breach(Rule.BANK_01, "offer-over", expected=f"an offer valid on {facts.on}", got=f"valid to {facts.valid_to_on}"),)
    return ()


def paid_by(repayments: Sequence[tuple[date, int]], from_on: date, to_on: date) -> int:
    """Return what reached the bank on these days, both included, in fen."""
    return sum(amount for on, amount in repayments if from_on <= on <= to_on)


def is_kept(repayments: Sequence[tuple[date, int]], made_on: date, due_on: date, amount_fen: int) -> bool:
    """Tell whether what reached the bank in time fulfils a promise."""
    return paid_by(repayments, made_on, due_on) >= amount_fen


def due_after(due_on: date, made_on: date, suspensions: Sequence[tuple[date, date | None]]) -> date | None:
    """Return the day by which a promise is due when its case stood suspended meanwhile: later by as many days; None while it still does.

    Nobody may ask a debtor who denies the debt for it (DECL-01), so no day of a suspension counts against what was promised before it.
    A suspension that began after the due day changes nothing.
    """
    for began_on, ended_on in suspensions:
        if began_on > due_on:
            break
        if ended_on is None:
            return None
        due_on += max(ended_on - max(began_on, made_on), timedelta())
    return due_on


def is_known_broken(due_on: date, as_of_on: date) -> bool:
    """Tell whether a repayment file tells of everything that could have kept a promise: it reaches beyond the last day."""
    return as_of_on > due_on


def unpaid_instalments(
    instalments: Sequence[Instalment], repayments: Sequence[tuple[date, int]], from_on: date
) -> tuple[Instalment, ...]:
    """Return the instalments not covered by what had reached the bank on the day each fell due."""
    due, found = 0, []
    for one in instalments:
        due += one.amount_fen
        if paid_by(repayments, from_on, one.due_on) < due:
            found.append(one)
    return tuple(found)
