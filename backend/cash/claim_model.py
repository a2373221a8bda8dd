"""States of a payment to the bank that was witnessed at the door (F10). Pure."""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType

from backend.core.states import follow


class ClaimStatus(StrEnum):
    """Where a payment that was witnessed at the door stands, and beside it who acts next (F10)."""

    CLAIMED = "claimed"          # The bank's repayment file confirms it, or its silence contradicts it.
    CONFIRMED = "confirmed"
    CONTRADICTED = "contradicted"


class ClaimEvent(StrEnum):
    """What can happen to such a claim."""

    CONFIRM = "confirm"
    CONTRADICT = "contradict"


CLAIM_TRANSITIONS: Mapping[tuple[ClaimStatus, ClaimEvent], ClaimStatus] = MappingProxyType({
    (ClaimStatus.CLAIMED, ClaimEvent.CONFIRM): ClaimStatus.CONFIRMED,
    (ClaimStatus.CLAIMED, ClaimEvent.CONTRADICT): ClaimStatus.CONTRADICTED,
})


def advance_claim(status: ClaimStatus, event: ClaimEvent) -> ClaimStatus:
    """Return the status after `event`. Raises `IllegalTransition` when it cannot follow."""
    return follow(CLAIM_TRANSITIONS, status, event)
