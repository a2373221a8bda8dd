"""A suspicion of fraud: heard, verified, told to the bank, acknowledged there. Pure (DECL-02, DECL-14)."""

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType
from uuid import UUID

import msgspec

from backend.core.ids import BankId, CaseId, StaffId
from backend.core.states import follow


class SuspicionGround(StrEnum):
    """What is suspected."""

    FRAUD = "fraud"
    FORGERY = "forgery"
    MALICIOUS_OVERDRAFT = "malicious_overdraft"


class SuspicionStatus(StrEnum):
    """Where a suspicion stands, and beside it who acts next."""

    HEARD = "heard"                  # A supervisor verifies or dismisses it.
    REPORTED = "reported"            # The bank acknowledges it, within its term.
    ACKNOWLEDGED = "acknowledged"    # Nobody: the bank's own person has it, which is the proof of delivery.
    DISMISSED = "dismissed"          # Nobody.


class SuspicionEvent(StrEnum):
    """What can happen to a suspicion."""

    VERIFY = "verify"
    DISMISS = "dismiss"
    ACKNOWLEDGE = "acknowledge"


TRANSITIONS: Mapping[tuple[SuspicionStatus, SuspicionEvent], SuspicionStatus] = MappingProxyType({
    (SuspicionStatus.HEARD, SuspicionEvent.VERIFY): SuspicionStatus.REPORTED,
    (SuspicionStatus.HEARD, SuspicionEvent.DISMISS): SuspicionStatus.DISMISSED,
    (SuspicionStatus.REPORTED, SuspicionEvent.ACKNOWLEDGE): SuspicionStatus.ACKNOWLEDGED,
})


def advance(status: SuspicionStatus, event: SuspicionEvent) -> SuspicionStatus:
    """Return the status after `event`. Raises `IllegalTransition` when it cannot follow."""
    return follow(TRANSITIONS, status, event)


class SuspicionView(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One suspicion. A bank sees it from its report on; `isLate` says that the bank had it, or still has not had it, after `dueAt`."""

    id: UUID
    case_id: CaseId
    bank_id: BankId
    ground: SuspicionGround
    status: SuspicionStatus
    declaration_id: UUID | None
    heard_at: datetime
    decided_by: StaffId | None
    decided_at: datetime | None
    due_at: datetime | None
    acknowledged_by: StaffId | None
    acknowledged_at: datetime | None
    is_late: bool
