"""A visit from dispatch to review: nouns, statuses and what may follow what."""

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Any
from uuid import UUID

import msgspec

from backend.core.geo import LonLat
from backend.core.ids import VisitId
from backend.core.rulebook import Breach
from backend.core.states import follow

RIGHT_PARTY_ATTEMPTS_MAX = 3  # F08


class VisitStatus(StrEnum):
    """Where a visit stands, and beside it who acts next."""

    DISPATCHED = "dispatched"  # The pair.
    STARTED = "started"        # The pair.
    ENTERED = "entered"        # The pair.
    CONCLUDED = "concluded"    # The pair: an outcome is told, the report is owed.
    REPORTED = "reported"      # The supervisor.
    RETURNED = "returned"      # The pair: the report is told anew.
    REVIEWED = "reviewed"      # The archive.
    CANCELLED = "cancelled"    # Nobody; a pair that went nevertheless may still tell so.
    NOT_SAMPLED = "not_sampled"  # The archive; nobody looked at it, and it never counts as reviewed (F05).
    ARCHIVED = "archived"      # Nobody.


class VisitEvent(StrEnum):
    """What can happen to a visit."""

    START = "start"
    ENTER = "enter"
    CONCLUDE = "conclude"
    REPORT = "report"
    ACCEPT = "accept"
    RETURN = "return"
    CANCEL = "cancel"
    ARCHIVE = "archive"
    PASS_OVER = "pass_over"
    CALL_UP = "call_up"


S, E = VisitStatus, VisitEvent
TRANSITIONS: Mapping[tuple[VisitStatus, VisitEvent], VisitStatus] = MappingProxyType({
    (S.DISPATCHED, E.START): S.STARTED,
    (S.DISPATCHED, E.CANCEL): S.CANCELLED,
    (S.CANCELLED, E.START): S.STARTED,      # Only as a fact: leave to start a cancelled visit is refused (REQ-04).
    (S.STARTED, E.ENTER): S.ENTERED,
    (S.STARTED, E.CONCLUDE): S.CONCLUDED,
    (S.ENTERED, E.CONCLUDE): S.CONCLUDED,
    (S.CONCLUDED, E.REPORT): S.REPORTED,
    (S.RETURNED, E.REPORT): S.REPORTED,
    (S.REPORTED, E.ACCEPT): S.REVIEWED,
    (S.REPORTED, E.RETURN): S.RETURNED,
    (S.REVIEWED, E.RETURN): S.RETURNED,     # The bank's liaison sends it back.
    (S.REVIEWED, E.ARCHIVE): S.ARCHIVED,
    (S.REPORTED, E.PASS_OVER): S.NOT_SAMPLED,
    (S.NOT_SAMPLED, E.CALL_UP): S.REPORTED,     # Somebody wants it looked at after all: a complaint, an incident, the bank.
    (S.NOT_SAMPLED, E.ACCEPT): S.REVIEWED,      # Somebody looked at it all the same.
    (S.NOT_SAMPLED, E.RETURN): S.RETURNED,
    (S.NOT_SAMPLED, E.ARCHIVE): S.ARCHIVED,
})
BEGUN = frozenset({S.STARTED, S.ENTERED, S.CONCLUDED, S.REPORTED, S.RETURNED, S.REVIEWED, S.NOT_SAMPLED, S.ARCHIVED})


def advance(status: VisitStatus, event: VisitEvent) -> VisitStatus:
    """Return the status after `event`. Raises `IllegalTransition` when it cannot follow."""
    return follow(TRANSITIONS, status, event)


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """Which facts of a visit have been told so far, in whatever order they reached us."""

    is_started: bool = False
    is_entered: bool = False
    is_concluded: bool = False
    is_reported: bool = False


def settle(status: VisitStatus, told: Told) -> VisitStatus:
    """Return how far `told` carries a visit: two phones deliver in any order and end in the same status.

    A fact whose turn has not come is kept and waits; nothing told is ever undone. A report told before a review returned it
    does not answer that review, so RETURNED only moves by a new report.
    """
    steps = ((told.is_started, E.START), (told.is_entered, E.ENTER), (told.is_concluded, E.CONCLUDE), (told.is_reported, E.REPORT))
    for is_told, event in steps:
        if is_told and status is not S.RETURNED:
            status = TRANSITIONS.get((status, event), status)
    return status


class Standing(StrEnum):
    """How a signed statement of what happened is received; it is never refused for what it says (F23)."""

    ACCEPTED = "accepted"
    DOUBTFUL = "doubtful"
    QUARANTINED = "quarantined"
    BREACH = "breach"


def standing_of(breaches: tuple[Breach, ...]) -> Standing:
    """Return BREACH when any rule was broken, else ACCEPTED."""
    return Standing.BREACH if breaches else Standing.ACCEPTED


class Identity(StrEnum):
    """As whom a visitor presented themselves (VIS-07): only the agency is clean."""

    AGENCY = "agency"
    BANK = "bank"
    AUTHORITY = "authority"
    OTHER = "other"


class Recoverability(StrEnum):
    """The judgement a visit is made for (VIS-12)."""

    RECOVERABLE = "recoverable"
    PARTLY = "partly"
    UNLIKELY = "unlikely"
    UNRECOVERABLE = "unrecoverable"
    UNKNOWN = "unknown"


class IncidentKind(StrEnum):
    """What a supervisor must see at once."""

    CONFLICT = "conflict"
    WRONG_IDENTITY = "wrong_identity"
    SELF_HARM = "self_harm"
    POLICE = "police"
    HAZARD = "hazard"
    FILMED = "filmed"
    RECORDING_OBJECTED = "recording_objected"
    COSIGNATURE_REFUSED = "cosignature_refused"
    SAFETY = "safety"


class Verdict(StrEnum):
    """What a review says of a reported visit."""

    ACCEPTED = "accepted"
    RETURNED = "returned"


class Draw(StrEnum):
    """Whether a reported visit must be looked at (F05)."""

    REQUIRED = "required"      # Cash, declaration, entry, incident, complaint …
    DRAWN = "drawn"            # By lot.
    NOT_DRAWN = "not_drawn"


class Reviewer(StrEnum):
    """Who reviews: the agency's supervisor accepts or returns, the bank's liaison is heard and may return."""

    SUPERVISOR = "supervisor"
    LIAISON = "liaison"


class StartVisit(msgspec.Struct, frozen=True, kw_only=True):
    """Leave to start asked for (`is_intent`), or a start reported."""

    visit_id: VisitId
    at: datetime
    is_intent: bool


class CheckIn(msgspec.Struct, frozen=True, kw_only=True):
    """One visitor at the door. `position` is WGS-84; `accuracy_m` is the phone's own claim."""

    visit_id: VisitId
    at: datetime
    is_credential_worn: bool
    identity_presented: Identity
    position: LonLat | None = None
    accuracy_m: int | None = None


class RightPartyCheck(msgspec.Struct, frozen=True, kw_only=True):
    """The person at the door said name and last four digits, the phone compared (F08). `attempt` counts from 1."""

    visit_id: VisitId
    at: datetime
    attempt: int
    is_match: bool


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """The pair went in (VIS-02): why, who allowed it, when, and where that is recorded (VIS-03)."""

    visit_id: VisitId
    at: datetime
    reason: str | None = None
    consented_by: str | None = None
    consented_at: datetime | None = None
    evidence_item_id: str | None = None


class OutcomeTold(msgspec.Struct, frozen=True, kw_only=True):
    """How a visit went: a code of the catalogue, its fields, and a note in the pair's words."""

    visit_id: VisitId
    at: datetime
    code: str
    fields: Mapping[str, Any]
    note: str | None = None


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What the pair found (VIS-12, VIS-13). `is_entered` has no default: the answer is always given (VIS-02)."""

    visit_id: VisitId
    at: datetime
    is_entered: bool
    recoverability: Recoverability
    reasons: str
    attitude: str
    delinquency_reason: str
    financial_situation: str
    new_contact: str | None = None


class Incident(msgspec.Struct, frozen=True, kw_only=True):
    """Something that a supervisor must see."""

    visit_id: VisitId
    at: datetime
    kind: IncidentKind
    note: str


class ReviewVerdict(msgspec.Struct, frozen=True, kw_only=True):
    """A reviewer's answer. `accepted_exceptions` names each listed exception that the reviewer takes on themselves (EVD-01)."""

    visit_id: VisitId
    verdict: Verdict
    checklist: Mapping[str, bool]
    comment: str
    accepted_exceptions: frozenset[str] = frozenset()


class FactStored(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to a fact: kept, with what it broke."""

    id: UUID
    visit_id: VisitId
    status: VisitStatus
    standing: Standing
    breaches: tuple[Breach, ...] = ()
