"""Cases: nouns, statuses, what may follow what, and how amount and age become bucket, risk label and priority. Pure.

A status says where the work stands. What stops collection beside it (vulnerability, complaint, hold, recall, payment, death,
term end) runs in parallel and is a column of its own, so that it survives every change of status.
"""

from bisect import bisect_right
from collections.abc import Mapping
from datetime import date, datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Final
from zoneinfo import ZoneInfo

import msgspec

from backend.core.fen import Fen
from backend.core.ids import CaseId, StaffId
from backend.core.problems import IllegalTransition


class CaseStatus(StrEnum):
    """Where a case stands, and beside it who acts next."""

    RECEIVED = "received"                            # Data clerk.
    FILED = "filed"                                  # Business department allocates.
    ALLOCATED = "allocated"                          # Phone team calls.
    PHONE_COLLECTION = "phone_collection"            # Phone team.
    PROMISED = "promised"                            # Debtor.
    KEPT = "kept"                                    # Bank's repayment file confirms.
    BROKEN = "broken"                                # Phone team.
    UNREACHABLE = "unreachable"                      # Phone team.
    TRACING = "tracing"                              # Tracing within two days.
    VISIT_REQUESTED = "visit_requested"              # Business department analyses and approves.
    VISIT_PLANNED = "visit_planned"                  # Pair.
    VISITED = "visited"                              # Supervisor reviews, phone team goes on.
    SUSPENDED = "suspended"                          # Cardholder declares, bank rules.
    INVESTIGATION = "investigation"                  # Named investigator, then the bank.
    RULED_FRAUD = "ruled_fraud"                      # Bank.
    HARDSHIP_PROPOSAL = "hardship_proposal"          # Bank.
    REPAYMENT_PLAN = "repayment_plan"                # Debtor.
    PLAN_BROKEN = "plan_broken"                      # Phone team.
    LEGAL = "legal"                                  # Lawyers.
    POLICE_CANDIDATE = "police_candidate"            # Police duty-holder.
    MATERIAL_REQUESTED = "material_requested"        # Bank.
    MATERIAL_RECEIVED = "material_received"          # Police duty-holder.
    POLICE_REPORTED = "police_reported"              # Police.
    POLICE_REGISTERED = "police_registered"          # Police.
    DECEASED = "deceased"                            # Supervisor.
    RECALLED = "recalled"                            # Nobody: the bank has it back.
    PAID = "paid"                                    # Customer is told.
    CLOSED = "closed"                                # Archive administrator.
    ARCHIVED = "archived"                            # Nobody.


class CaseEvent(StrEnum):
    """What can happen to a case's status."""

    FILE = "file"
    ALLOCATE = "allocate"
    CALL = "call"
    PROMISE = "promise"
    KEEP_PROMISE = "keep_promise"
    BREAK_PROMISE = "break_promise"
    LOSE_CONTACT = "lose_contact"
    TRACE = "trace"
    FIND = "find"
    REQUEST_VISIT = "request_visit"
    WITHDRAW_VISIT = "withdraw_visit"
    PLAN_VISIT = "plan_visit"
    VISIT = "visit"
    RETURN_TO_PHONE = "return_to_phone"
    SUSPEND = "suspend"
    INVESTIGATE = "investigate"
    RULE_FRAUD = "rule_fraud"
    RESUME = "resume"
    PROPOSE_HARDSHIP = "propose_hardship"
    DECLINE_HARDSHIP = "decline_hardship"
    GRANT_PLAN = "grant_plan"
    BREAK_PLAN = "break_plan"
    SUE = "sue"
    NOMINATE_FOR_POLICE = "nominate_for_police"
    REQUEST_MATERIAL = "request_material"
    RECEIVE_MATERIAL = "receive_material"
    REPORT_TO_POLICE = "report_to_police"
    REGISTER_WITH_POLICE = "register_with_police"
    RECORD_DEATH = "record_death"
    RECALL = "recall"
    PAY = "pay"
    CLOSE = "close"
    ARCHIVE = "archive"


S, E = CaseStatus, CaseEvent

OPEN_STATUSES: Final = frozenset({
    S.RECEIVED, S.FILED, S.ALLOCATED, S.PHONE_COLLECTION, S.PROMISED, S.KEPT, S.BROKEN, S.UNREACHABLE, S.TRACING, S.VISIT_REQUESTED,
    S.VISIT_PLANNED, S.VISITED, S.HARDSHIP_PROPOSAL, S.REPAYMENT_PLAN, S.PLAN_BROKEN, S.LEGAL, S.POLICE_CANDIDATE, S.MATERIAL_REQUESTED,
    S.MATERIAL_RECEIVED, S.POLICE_REPORTED, S.POLICE_REGISTERED,
})
SUSPENDED_STATUSES: Final = frozenset({S.SUSPENDED, S.INVESTIGATION})
_WORK_RESUMED_BY_PHONE: Final = (S.BROKEN, S.VISITED, S.PLAN_BROKEN)


def _transitions() -> dict[tuple[CaseStatus, CaseEvent], CaseStatus | None]:
    table: dict[tuple[CaseStatus, CaseEvent], CaseStatus | None] = {
        (S.RECEIVED, E.FILE): S.FILED,
        (S.FILED, E.ALLOCATE): S.ALLOCATED,
        (S.ALLOCATED, E.CALL): S.PHONE_COLLECTION,
        (S.PHONE_COLLECTION, E.PROMISE): S.PROMISED,
        (S.PROMISED, E.KEEP_PROMISE): S.KEPT,
        (S.PROMISED, E.BREAK_PROMISE): S.BROKEN,
        (S.PHONE_COLLECTION, E.LOSE_CONTACT): S.UNREACHABLE,
        (S.UNREACHABLE, E.TRACE): S.TRACING,
        (S.UNREACHABLE, E.FIND): S.PHONE_COLLECTION,
        (S.TRACING, E.FIND): S.PHONE_COLLECTION,
        (S.PHONE_COLLECTION, E.REQUEST_VISIT): S.VISIT_REQUESTED,
        (S.VISIT_REQUESTED, E.WITHDRAW_VISIT): S.PHONE_COLLECTION,
        (S.VISIT_REQUESTED, E.PLAN_VISIT): S.VISIT_PLANNED,
        (S.VISIT_PLANNED, E.WITHDRAW_VISIT): S.VISIT_REQUESTED,   # The plan dropped it; the approval stands.
        (S.VISIT_PLANNED, E.VISIT): S.VISITED,
        (S.SUSPENDED, E.INVESTIGATE): S.INVESTIGATION,
        (S.INVESTIGATION, E.RULE_FRAUD): S.RULED_FRAUD,
        (S.SUSPENDED, E.RESUME): None,                            # To the status before the suspension.
        (S.INVESTIGATION, E.RESUME): None,
        (S.HARDSHIP_PROPOSAL, E.DECLINE_HARDSHIP): S.PHONE_COLLECTION,
        (S.HARDSHIP_PROPOSAL, E.GRANT_PLAN): S.REPAYMENT_PLAN,
        (S.REPAYMENT_PLAN, E.BREAK_PLAN): S.PLAN_BROKEN,
        (S.POLICE_CANDIDATE, E.REQUEST_MATERIAL): S.MATERIAL_REQUESTED,
        (S.MATERIAL_REQUESTED, E.RECEIVE_MATERIAL): S.MATERIAL_RECEIVED,
        (S.MATERIAL_RECEIVED, E.REPORT_TO_POLICE): S.POLICE_REPORTED,
        (S.POLICE_REPORTED, E.REGISTER_WITH_POLICE): S.POLICE_REGISTERED,
        (S.PAID, E.CLOSE): S.CLOSED,
        (S.CLOSED, E.ARCHIVE): S.ARCHIVED,
    }
    for status in _WORK_RESUMED_BY_PHONE:
        table[status, E.RETURN_TO_PHONE] = S.PHONE_COLLECTION
    anywhere = {
        E.SUSPEND: S.SUSPENDED, E.PROPOSE_HARDSHIP: S.HARDSHIP_PROPOSAL, E.SUE: S.LEGAL, E.NOMINATE_FOR_POLICE: S.POLICE_CANDIDATE,
        E.RECORD_DEATH: S.DECEASED, E.RECALL: S.RECALLED, E.PAY: S.PAID,
    }
    for status in OPEN_STATUSES:
        for event, following in anywhere.items():
            if status is not following:
                table[status, event] = following
    for status in SUSPENDED_STATUSES | {S.RULED_FRAUD, S.DECEASED}:
        table[status, E.RECALL] = S.RECALLED
    for status in SUSPENDED_STATUSES:
        table[status, E.PAY] = S.PAID                             # The bank's file says so; no collection made it.
        table[status, E.RECORD_DEATH] = S.DECEASED
    return table


TRANSITIONS: Mapping[tuple[CaseStatus, CaseEvent], CaseStatus | None] = MappingProxyType(_transitions())


def advance(status: CaseStatus, event: CaseEvent, *, before: CaseStatus | None = None) -> CaseStatus:
    """Return the status after `event`.

    Args:
        before: The status that a suspension interrupted; `RESUME` leads back to it.

    Raises:
        IllegalTransition: `event` cannot follow `status`, or a resumption does not know where to.
    """
    following = TRANSITIONS.get((status, event), status)
    if (status, event) in TRANSITIONS and following is None and before in OPEN_STATUSES:
        return before
    if following is None or (status, event) not in TRANSITIONS:
        raise IllegalTransition(current=status.value, event=event.value)
    return following


class SuspensionReason(StrEnum):
    """The three statements that suspend a case at once (DECL-01), and the declaration itself (DECL-03)."""

    DENIES_APPLICATION = "denies_application"
    DENIES_SPENDING = "denies_spending"
    DISPUTES_AMOUNT = "disputes_amount"


class Stop(StrEnum):
    """What keeps a case from being collected, whatever its status; in the order in which it is shown."""

    SUSPENDED = "suspended"
    DECEASED = "deceased"
    PAID = "paid"
    PAYMENT_CLAIMED = "payment_claimed"    # Somebody of ours saw it paid; the bank's file tells whether it was (F10).
    RECALLED = "recalled"
    TERM_OVER = "term_over"
    VULNERABLE = "vulnerable"
    COMPLAINT = "complaint"
    HOLD = "hold"
    CLOSED = "closed"


class Bucket(StrEnum):
    """Days past due, as read by CF-09."""

    M0 = "M0"
    M1 = "M1"
    M2 = "M2"
    M3 = "M3"
    M3_PLUS = "M3+"


class Risk(StrEnum):
    """The risk label of CASE-22: a field beside the bucket, with thresholds of its own."""

    PRIME = "prime"
    LOW = "low"
    HIGH = "high"


class DebtorType(StrEnum):
    """The three kinds of debtor of CASE-15."""

    CARELESS = "careless"
    HARDSHIP = "hardship"
    MALICIOUS = "malicious"


class GenderRule(StrEnum):
    """Who must be in the pair, by the bank's data; never guessed."""

    ANY = "any"
    FEMALE_PRESENT = "female_present"
    MIXED = "mixed"


class AddressKind(StrEnum):
    """What an address is to the debtor. The registered household is not a visit's target by default."""

    RESIDENCE = "residence"
    HOUSEHOLD = "household"
    WORK = "work"
    BILLING = "billing"


class Signal(StrEnum):
    """Warnings that raise the priority and open a task without anyone's doing (CASE-28)."""

    LOST_CONTACT = "lost_contact"
    MULTIPLE_BORROWING = "multiple_borrowing"
    ASSET_TRANSFER = "asset_transfer"


class Field(StrEnum):
    """The five that are confirmed before any collection (CONT-02)."""

    CARD_NUMBER = "card_number"
    AMOUNT = "amount"
    AGE = "age"
    IDENTITY = "identity"
    OCCUPATION = "occupation"


class Source(StrEnum):
    """Where a datum comes from (CASE-09)."""

    BANK_FILE = "bank_file"
    PHONE = "phone"
    VISIT = "visit"
    CLERK = "clerk"


class ReadPurpose(StrEnum):
    """Why somebody needs a personal value in the clear (SEC-05); stored with the read."""

    CALL = "call"
    VISIT = "visit"
    IDENTITY_CHECK = "identity_check"
    CORRECTION = "correction"
    BANK_INQUIRY = "bank_inquiry"
    COMPLAINT = "complaint"
    AUTHORITY = "authority"


class Segmentation(msgspec.Struct, frozen=True, kw_only=True):
    """Thresholds that the seeds leave to configuration.

    A score point is one day past due or `fen_per_point` owed; a warning signal is worth `signal_points`. A score at or above the
    n-th of `level_points` is on level n + 1.
    """

    risk_low_from_days: int = 31
    risk_high_from_days: int = 61
    fen_per_point: int = 20_000
    signal_points: int = 300
    failed_contact_points: int = 20
    failed_contacts_max: int = 5
    level_points: tuple[int, int, int, int] = (60, 150, 300, 600)


DEFAULT_SEGMENTATION: Final = Segmentation()
AGENCY_ZONE: Final = ZoneInfo("Asia/Shanghai")


def today_of(now: datetime) -> date:
    """Return the agency's calendar day of an instant; terms, recalls and statistics are counted in it."""
    return now.astimezone(AGENCY_ZONE).date()


def bucket_of(days_past_due: int) -> Bucket:
    """Return the bucket: 0 → M0, 1–30 → M1, 31–60 → M2, 61–90 → M3, 91 and more → M3+ (CF-09)."""
    return (Bucket.M0, Bucket.M1, Bucket.M2, Bucket.M3, Bucket.M3_PLUS)[bisect_right((1, 31, 61, 91), days_past_due)]


def risk_of(days_past_due: int, segmentation: Segmentation = DEFAULT_SEGMENTATION) -> Risk:
    """Return the risk label (CASE-22); day 30 is prime, day 31 low-risk, day 61 high-risk by default."""
    edges = (segmentation.risk_low_from_days, segmentation.risk_high_from_days)
    return (Risk.PRIME, Risk.LOW, Risk.HIGH)[bisect_right(edges, days_past_due)]


def score_of(
    amount: Fen, days_past_due: int, *, signals: frozenset[Signal], segmentation: Segmentation = DEFAULT_SEGMENTATION
) -> int:
    """Weigh amount and age together: never less for more of either (CASE-26), strictly more with a signal (CASE-28)."""
    return amount // segmentation.fen_per_point + days_past_due + segmentation.signal_points * len(signals)


def level_of(score: int, segmentation: Segmentation = DEFAULT_SEGMENTATION) -> int:
    """Return the priority, 1 to 5, of a score."""
    return 1 + bisect_right(segmentation.level_points, score)


def visit_value(score: int, failed_contacts: int, segmentation: Segmentation = DEFAULT_SEGMENTATION) -> tuple[int, int]:
    """Return priority (1–5) and planning value (1, 2, 4, 8, 16) of a visit: the case's score and how badly the phone worked (VIS-14, VIS-15)."""
    tried = min(failed_contacts, segmentation.failed_contacts_max)
    level = level_of(score + segmentation.failed_contact_points * tried, segmentation)
    return level, 1 << (level - 1)


class Confirmation(msgspec.Struct, frozen=True):
    """Who said so, and as of when (CONT-02)."""

    source: Source
    on: date


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """One step of a case with its author (REQ-08)."""

    case_id: CaseId
    event: str
    from_status: CaseStatus
    to_status: CaseStatus
    at: datetime
    by: StaffId


class Release(msgspec.Struct, frozen=True, kw_only=True):
    """How a case held for vulnerability may be collected again: in which time, in what manner, with which precautions (VIS-11)."""

    case_id: CaseId
    from_at: datetime
    to_at: datetime
    manner: str
    precautions: str

    def __post_init__(self) -> None:
        if self.from_at >= self.to_at:
            raise ValueError("the time of a release is not empty")
        if not self.manner.strip() or not self.precautions.strip():
            raise ValueError("a release states manner and precautions")
