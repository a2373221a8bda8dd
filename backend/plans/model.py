"""A branch's day: an ordered plan, its routes and stops, and what may follow what (REQ-04)."""

from collections.abc import Mapping
from datetime import date, datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Any
from uuid import UUID

import msgspec

from backend.core.geo import LonLat
from backend.core.ids import AddressId, BankId, BranchId, CaseId, PlanId, RequestId, RouteId, StaffId, StopId, VisitId
from backend.core.states import follow

SEARCH_S_MAX = 300


class PlanStatus(StrEnum):
    """Where a plan stands, and beside it who acts next."""

    QUEUED = "queued"          # A worker.
    SOLVING = "solving"        # A worker; after a crash another one takes it up.
    READY = "ready"            # The dispatcher.
    FAILED = "failed"          # The dispatcher orders another version.
    PUBLISHED = "published"    # The pairs.
    SUPERSEDED = "superseded"  # Nobody.
    CANCELLED = "cancelled"    # Nobody; the dispatcher did not want it any more.


class PlanEvent(StrEnum):
    """What can happen to a plan."""

    CLAIM = "claim"
    SOLVE = "solve"
    FAIL = "fail"
    CANCEL = "cancel"
    DISCARD = "discard"
    PUBLISH = "publish"
    SUPERSEDE = "supersede"


S, E = PlanStatus, PlanEvent
TRANSITIONS: Mapping[tuple[PlanStatus, PlanEvent], PlanStatus] = MappingProxyType({
    (S.QUEUED, E.CLAIM): S.SOLVING,
    (S.QUEUED, E.FAIL): S.FAILED,
    (S.SOLVING, E.CLAIM): S.SOLVING,        # Found again after a crash; solving is a function of the plan's id.
    (S.SOLVING, E.SOLVE): S.READY,
    (S.SOLVING, E.FAIL): S.FAILED,
    (S.QUEUED, E.CANCEL): S.CANCELLED,
    (S.SOLVING, E.CANCEL): S.CANCELLED,
    (S.READY, E.PUBLISH): S.PUBLISHED,
    (S.READY, E.DISCARD): S.CANCELLED,
    (S.PUBLISHED, E.SUPERSEDE): S.SUPERSEDED,
})


def advance(status: PlanStatus, event: PlanEvent) -> PlanStatus:
    """Return the status after `event`. Raises `IllegalTransition` when it cannot follow."""
    return follow(TRANSITIONS, status, event)


class EndingAsked(StrEnum):
    """What a dispatcher asks of a search under way."""

    CANCEL = "cancel"    # Drop it.
    FINISH = "finish"    # Take the best plan found so far.


class Ending(StrEnum):
    """How a search ended: by itself, early on request, killed after its limit, or because its process died. The words are `routing.Ending`'s."""

    FINISHED = "finished"
    CANCELLED = "cancelled"
    LATE = "late"
    DIED = "died"


class StopKind(StrEnum):
    """What a pair does at a stop."""

    VISIT = "visit"
    DEPOSIT = "deposit"
    PAUSE = "pause"


class OrderPlan(msgspec.Struct, frozen=True, kw_only=True):
    """A dispatcher's order: which branch, which day, how long to search, from which seed."""

    branch_id: BranchId
    on: date
    search_s: int
    seed: int

    def __post_init__(self) -> None:
        if not 1 <= self.search_s <= SEARCH_S_MAX:
            raise ValueError(f"a search takes 1 to {SEARCH_S_MAX} seconds")


class LateReport(msgspec.Struct, frozen=True, kw_only=True):
    """A pair that can go on only from `free_at`."""

    collector_a: StaffId
    collector_b: StaffId
    free_at: datetime


class ClosedReport(msgspec.Struct, frozen=True, kw_only=True):
    """A deposit office that takes nothing more from `from_at` on."""

    office_id: UUID
    from_at: datetime


class OrderReplan(msgspec.Struct, frozen=True, kw_only=True):
    """What happened on a running day. Withdrawn cases need not be named: they are known."""

    plan_id: PlanId
    sick: tuple[StaffId, ...] = ()
    urgent: tuple[RequestId, ...] = ()
    late: tuple[LateReport, ...] = ()
    closed: tuple[ClosedReport, ...] = ()


class MoveView(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One change of a re-planned version against the one before, with its cause and the sentence in both languages. Seconds from midnight."""

    kind: str
    subject: str
    cause: str
    causes: tuple[str, ...]
    pair_before: str | None
    pair_after: str | None
    start_before_s: int | None
    start_after_s: int | None
    unserved: str
    text_zh: str
    text_en: str


class PlanOrdered(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """An order taken: the plan's id and version; `visit_count` requests entered the instance, `unserved_count` could not."""

    id: PlanId
    version: int
    status: PlanStatus
    visit_count: int
    unserved_count: int


class UnservedView(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A request without a stop, with the true reason in both languages and, where they are known, changes that would serve it."""

    request_id: RequestId
    code: str
    params: Mapping[str, Any]
    text_zh: str
    text_en: str
    changes: tuple[Mapping[str, Any], ...]


class StopView(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One stop; a pause is taken at the place of the stop before it or of the next one (`place` null: where the pair then stands).

    `withdrawn` is derived, never stored: why the case is not open for collection now, or that the approval is gone.
    """

    id: StopId
    position: int
    kind: StopKind
    visit_id: VisitId | None
    request_id: RequestId | None
    case_id: CaseId | None
    office_id: UUID | None
    arrives_at: datetime
    starts_at: datetime
    ends_at: datetime
    place: LonLat | None
    withdrawn: str | None = None


class RouteView(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The day of one pair."""

    id: RouteId
    number: int
    collector_a: StaffId
    collector_b: StaffId
    departure_at: datetime
    return_at: datetime
    stops: tuple[StopView, ...]


class PlannedStop(msgspec.Struct, frozen=True, kw_only=True):
    """A visit stop just published, as a visit is made of it."""

    visit_id: VisitId
    stop_id: StopId
    request_id: RequestId
    case_id: CaseId
    address_id: AddressId
    bank_id: BankId
    timezone: str
    collector_a: StaffId
    collector_b: StaffId


class PlanPublished(msgspec.Struct, frozen=True, kw_only=True):
    """A plan just published; `superseded_id` is the version that it replaces."""

    id: PlanId
    branch_id: BranchId
    on: date
    version: int
    superseded_id: PlanId | None
    policy_version: str
    stops: tuple[PlannedStop, ...]


class PlanSummary(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One version of a branch's day, without its routes."""

    id: PlanId
    branch_id: BranchId
    on: date
    version: int
    status: PlanStatus
    seed: int
    search_s: int
    cost: int | None
    failure: str | None
    requested_by: StaffId
    requested_at: datetime
    published_by: StaffId | None
    published_at: datetime | None


class RunView(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """How a search is going or went: since when, by which process, and the best plan so far, which only gets cheaper."""

    claimed_at: datetime
    claimed_by: str
    asked: EndingAsked | None
    elapsed_s: float | None
    cost: int | None
    served: int | None
    engine: str | None
    ending: Ending | None


class PlanView(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A plan with everything that the dispatcher decides by; `travel` says where its travel times come from, None before it is solved."""

    summary: PlanSummary
    instance_digest: str
    plan_digest: str | None
    contributions: tuple[Mapping[str, Any], ...]
    travel: Mapping[str, Any] | None
    routes: tuple[RouteView, ...]
    unserved: tuple[UnservedView, ...]
    run: RunView | None = None
    based_on: PlanId | None = None                  # A version made by hand, and by which changes.
    changes: tuple[Mapping[str, Any], ...] = ()


class ViolationView(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A broken hard rule of a plan, solved or hand-made. `route` and `stop` count from 0."""

    code: str
    rule: str
    subject: str
    message: str
    route: int | None
    stop: int | None


class PlanJudged(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What the checker says of a hand-made plan: every violation, and its cost; it may be published only without any.

    `travel` says by which travel times it was judged: those of the day's newest version that knows its places, else great-circle ones.
    """

    violations: tuple[ViolationView, ...]
    cost: int
    served: int
    mandatory_unserved: int
    travel_s: int
    travel: Mapping[str, Any]
