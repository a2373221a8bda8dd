"""Promises of debtors, proposals to the bank and its offers, notices of payments: nouns and what may follow what. Pure.

A concession is a proposal until the case's bank turns it into an offer; nothing but an offer may be shown to anybody (BANK-01).
"""

from calendar import monthrange
from collections.abc import Mapping
from datetime import date
from enum import StrEnum
from types import MappingProxyType
from typing import Final
from uuid import UUID

import msgspec

from backend.core.fen import FEN_MAX, Fen
from backend.core.ids import CaseId
from backend.core.states import follow

INSTALMENTS_MAX: Final = 60


class PromiseStatus(StrEnum):
    """Where a debtor's promise stands."""

    OPEN = "open"            # The bank's repayment file judges it.
    KEPT = "kept"
    BROKEN = "broken"        # The phone collector follows up.
    REPLACED = "replaced"    # The debtor promised something else.


class PromiseEvent(StrEnum):
    """What can happen to a promise."""

    KEEP = "keep"
    BREAK = "break"
    REPLACE = "replace"


PROMISE_TRANSITIONS: Mapping[tuple[PromiseStatus, PromiseEvent], PromiseStatus] = MappingProxyType({
    (PromiseStatus.OPEN, PromiseEvent.KEEP): PromiseStatus.KEPT,
    (PromiseStatus.OPEN, PromiseEvent.BREAK): PromiseStatus.BROKEN,
    (PromiseStatus.OPEN, PromiseEvent.REPLACE): PromiseStatus.REPLACED,
    (PromiseStatus.BROKEN, PromiseEvent.KEEP): PromiseStatus.KEPT,       # A later file shows that it had been paid in time.
})


def advance_promise(status: PromiseStatus, event: PromiseEvent) -> PromiseStatus:
    """Return the status after `event`. Raises `IllegalTransition` when it cannot follow."""
    return follow(PROMISE_TRANSITIONS, status, event)


class PromiseSource(StrEnum):
    """Where a promise was made."""

    CONTACT = "contact"
    VISIT = "visit"


class Concession(StrEnum):
    """What only the bank can give: the four that need its authority by name, and its own ways of paying (CASH-11)."""

    INSTALMENT = "instalment"
    WAIVER = "waiver"
    DEFERRAL = "deferral"
    REACTIVATION = "reactivation"
    AUTOMATIC_DEBIT = "automatic_debit"
    FLEXIBLE_DUE_DATE = "flexible_due_date"


class ProposalStatus(StrEnum):
    """Where a proposal stands, and beside it who acts next."""

    PROPOSED = "proposed"        # The bank offers or declines.
    DECLINED = "declined"
    WITHDRAWN = "withdrawn"      # By the agency, before the bank answered.
    OFFERED = "offered"          # The customer answers; only now may it be shown.
    REVOKED = "revoked"          # By the bank, before the customer answered.
    ACCEPTED = "accepted"        # The repayment file judges it.
    KEPT = "kept"
    BROKEN = "broken"


class ProposalEvent(StrEnum):
    """What can happen to a proposal."""

    OFFER = "offer"
    DECLINE = "decline"
    WITHDRAW = "withdraw"
    REVOKE = "revoke"
    ACCEPT = "accept"
    KEEP = "keep"
    BREAK = "break"


PROPOSAL_TRANSITIONS: Mapping[tuple[ProposalStatus, ProposalEvent], ProposalStatus] = MappingProxyType({
    (ProposalStatus.PROPOSED, ProposalEvent.OFFER): ProposalStatus.OFFERED,
    (ProposalStatus.PROPOSED, ProposalEvent.DECLINE): ProposalStatus.DECLINED,
    (ProposalStatus.PROPOSED, ProposalEvent.WITHDRAW): ProposalStatus.WITHDRAWN,
    (ProposalStatus.OFFERED, ProposalEvent.REVOKE): ProposalStatus.REVOKED,
    (ProposalStatus.OFFERED, ProposalEvent.ACCEPT): ProposalStatus.ACCEPTED,
    (ProposalStatus.ACCEPTED, ProposalEvent.KEEP): ProposalStatus.KEPT,
    (ProposalStatus.ACCEPTED, ProposalEvent.BREAK): ProposalStatus.BROKEN,
})


def advance_proposal(status: ProposalStatus, event: ProposalEvent) -> ProposalStatus:
    """Return the status after `event`. Raises `IllegalTransition` when it cannot follow."""
    return follow(PROPOSAL_TRANSITIONS, status, event)


class Instalment(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One row of a plan: so much until the end of that day."""

    due_on: date
    amount_fen: Fen

    def __post_init__(self) -> None:
        if not 0 < self.amount_fen <= FEN_MAX:
            raise ValueError("an instalment is above zero")


def monthly(amount: Fen, first_on: date, parts: int) -> tuple[Instalment, ...]:
    """Divide an amount into monthly instalments, the odd fen in the first; a day that a month lacks is its last."""
    assert 1 <= parts <= min(INSTALMENTS_MAX, amount), (parts, amount)
    share, odd = divmod(amount, parts)
    made = []
    for number in range(parts):
        year, month = divmod(first_on.year * 12 + first_on.month - 1 + number, 12)
        day = min(first_on.day, monthrange(year, month + 1)[1])
        made.append(Instalment(due_on=date(year, month + 1, day), amount_fen=Fen(share + (odd if number == 0 else 0))))
    return tuple(made)


class Terms(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What is conceded; exactly the members that its kind needs. `ability_fen` is what the debtor can pay a month, as assessed (BANK-13)."""

    kind: Concession
    instalments: tuple[Instalment, ...] = ()
    waived_fen: Fen | None = None
    until_on: date | None = None
    method: str | None = None            # A way of paying that the bank offers at all (CASH-13).
    ability_fen: Fen | None = None

    def __post_init__(self) -> None:
        if bool(self.instalments) != (self.kind is Concession.INSTALMENT) or len(self.instalments) > INSTALMENTS_MAX:
            raise ValueError(f"exactly a plan by instalments has 1 to {INSTALMENTS_MAX} of them")
        days = [one.due_on for one in self.instalments]
        if days != sorted(set(days)):
            raise ValueError("instalments fall due one after the other")
        if (self.waived_fen is not None) != (self.kind is Concession.WAIVER) or (self.waived_fen is not None and not 0 < self.waived_fen <= FEN_MAX):
            raise ValueError("exactly a waiver names an amount above zero")
        if (self.until_on is not None) != (self.kind in (Concession.DEFERRAL, Concession.FLEXIBLE_DUE_DATE)):
            raise ValueError("exactly a deferral or another due date names its day")
        if self.ability_fen is not None and not 0 <= self.ability_fen <= FEN_MAX:
            raise ValueError("an ability is an amount")

    @property
    def total_fen(self) -> Fen:
        """What the instalments come to, or what is waived."""
        return Fen(sum(one.amount_fen for one in self.instalments) + (self.waived_fen or 0))


class NewPromise(msgspec.Struct, frozen=True, kw_only=True):
    """So much until the end of that day, as the debtor said it."""

    case_id: CaseId
    amount_fen: Fen
    due_on: date
    made_on: date
    source: PromiseSource
    source_id: UUID


class NewProposal(msgspec.Struct, frozen=True, kw_only=True):
    """What the agency proposes to the bank of a case. A hardship takes the case out of harsher channels (CASE-33)."""

    case_id: CaseId
    terms: Terms
    is_hardship: bool = False
