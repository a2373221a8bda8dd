"""Visit requests: from a phone contact to an approved visit; statuses, verdicts and the facts the rules read. Pure."""

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Final
from uuid import UUID

import msgspec

from backend.cases.model import Field, Stop
from backend.core.fen import FEN_MAX, Fen
from backend.core.ids import CaseId, RequestId, StaffId
from backend.core.states import follow


class RequestStatus(StrEnum):
    """Where a request stands, and beside it who acts next."""

    DRAFT = "draft"              # Requester.
    REQUESTED = "requested"      # Business department analyses.
    ANALYSED = "analysed"        # Somebody else decides.
    APPROVED = "approved"        # Dispatcher plans.
    REJECTED = "rejected"        # Nobody.
    WITHDRAWN = "withdrawn"      # Nobody.
    FULFILLED = "fulfilled"      # Nobody: a visit was made for it.


class RequestEvent(StrEnum):
    """What can happen to a request."""

    SUBMIT = "submit"
    ANALYSE = "analyse"
    APPROVE = "approve"
    REJECT = "reject"
    WITHDRAW = "withdraw"
    FULFIL = "fulfil"


R, E = RequestStatus, RequestEvent

TRANSITIONS: Mapping[tuple[RequestStatus, RequestEvent], RequestStatus] = MappingProxyType({
    (R.DRAFT, E.SUBMIT): R.REQUESTED,
    (R.DRAFT, E.WITHDRAW): R.WITHDRAWN,
    (R.REQUESTED, E.ANALYSE): R.ANALYSED,
    (R.REQUESTED, E.WITHDRAW): R.WITHDRAWN,
    (R.ANALYSED, E.ANALYSE): R.ANALYSED,          # Read again: the newest analysis counts.
    (R.ANALYSED, E.APPROVE): R.APPROVED,
    (R.ANALYSED, E.REJECT): R.REJECTED,
    (R.ANALYSED, E.WITHDRAW): R.WITHDRAWN,
    (R.APPROVED, E.WITHDRAW): R.WITHDRAWN,
    (R.APPROVED, E.FULFIL): R.FULFILLED,
})

OPEN_STATUSES: Final = frozenset({R.DRAFT, R.REQUESTED, R.ANALYSED, R.APPROVED})


def advance(status: RequestStatus, event: RequestEvent) -> RequestStatus:
    """Return the status after `event`. Raises `IllegalTransition` when it cannot follow."""
    return follow(TRANSITIONS, status, event)


class Verdict(StrEnum):
    """What the policy says of a request: green ones may be approved in bounded batches, the others singly (F04)."""

    GREEN = "green"
    AMBER = "amber"
    RED = "red"


class Choice(StrEnum):
    """A decision."""

    APPROVE = "approve"
    REJECT = "reject"


class Withheld(StrEnum):
    """Why an open request is not offered to the planner; each is a true reason, with what would change it."""

    NOT_APPROVED = "not-approved"
    NOT_YET_EFFECTIVE = "not-yet-effective"
    APPROVAL_EXPIRED = "approval-expired"
    NEEDS_PIN = "needs-pin"
    OUTSIDE_TERRITORY = "outside-territory"
    ADDRESS_REPLACED = "address-replaced"
    UNCONFIRMED = "unconfirmed"
    AMOUNT_TOO_OLD = "amount-too-old"
    DAILY_CAP = "daily-cap"
    NO_HOURS = "no-hours"
    SUSPENDED = "suspended"
    DECEASED = "deceased"
    PAID = "paid"
    PAYMENT_CLAIMED = "payment-claimed"
    RECALLED = "recalled"
    TERM_OVER = "term-over"
    VULNERABLE = "vulnerable"
    COMPLAINT = "complaint"
    HOLD = "hold"
    CLOSED = "closed"


BULK_MAX: Final = 50


class RaiseRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Ask for a visit on the strength of a phone contact. Times are seconds since local midnight of the address."""

    case_id: CaseId
    contact_id: UUID | None
    reason: str
    address_id: UUID | None = None
    window_from_s: int = 28_800
    window_to_s: int = 75_600
    is_mandatory: bool = False
    required_certificate: str | None = None
    required_language: str | None = None
    service_s: int = 1_500
    cash_expected_fen: Fen = Fen(0)
    excluded_staff: frozenset[StaffId] = frozenset()

    def __post_init__(self) -> None:
        if not 0 <= self.window_from_s < self.window_to_s <= 86_400:
            raise ValueError("a window lies within one day and is not empty")
        if not 60 <= self.service_s <= 4 * 3600:
            raise ValueError("service takes one minute to four hours")
        if not 0 <= self.cash_expected_fen <= FEN_MAX:
            raise ValueError("expected cash is not negative")


class RequestFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What the rules of raising a request read."""

    phone_contacts: int                      # Phone-contact records of the same case that the request references.
    unconfirmed: frozenset[Field]
    stops: frozenset[Stop]
    is_address_current: bool
    window_from_s: int
    window_to_s: int
    is_hour_agreed: bool                     # A recorded agreement with the cardholder covers the window's part outside the hours.


class DecisionFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What the rules of deciding a request read."""

    choice: Choice
    requester: StaffId
    analyst: StaffId | None                  # None while no analysis is complete.
    decider: StaffId
    stops: frozenset[Stop]
    unconfirmed: frozenset[Field]


class TriageFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What the policy's verdict reads."""

    is_located: bool
    is_served: bool
    confidence_pct: int
    bucket_days: int
    failed_contacts: int
    has_safety_note: bool
    has_hours_outside: bool
    cash_expected_fen: Fen
    amount_fen: Fen
    stops: frozenset[Stop]
    unconfirmed: frozenset[Field]


class RequestReceipt(msgspec.Struct, frozen=True, kw_only=True):
    """A request after a step."""

    id: RequestId
    case_id: CaseId
    status: RequestStatus
    verdict: Verdict | None
    at: datetime
