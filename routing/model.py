"""Nouns of the planning problem: the formats `fieldday/1`, `fieldday/2` and `fieldday-plan/1` as frozen structs.

Units everywhere: seconds (times of day count from local midnight), metres, fen. All whole numbers.
Nothing here computes; `reader.py` decodes and validates, `check.py` judges.
"""

from __future__ import annotations

from enum import StrEnum
from math import isfinite
from typing import Annotated, Any, NewType

import msgspec
from msgspec import Meta

INSTANCE_SCHEMA = "fieldday/1"
RUNNING_SCHEMA = "fieldday/2"
PLAN_SCHEMA = "fieldday-plan/1"

CollectorId = NewType("CollectorId", str)
VisitId = NewType("VisitId", str)
BankId = NewType("BankId", str)
LocationId = NewType("LocationId", str)

Text = Annotated[str, Meta(min_length=1, max_length=200)]
Label = Annotated[str, Meta(max_length=200)]
DaySeconds = Annotated[int, Meta(ge=0, le=172_800)]
Fen = Annotated[int, Meta(ge=0, le=10**12)]
Weight = Annotated[int, Meta(ge=0, le=10**9)]
Span = tuple[DaySeconds, DaySeconds]


class InstanceError(ValueError):
    """Refuse an instance, matrix or plan file; the message is one line that names the key at fault."""


class Gender(StrEnum):
    F = "F"
    M = "M"


class GenderRule(StrEnum):
    """Who must be at the door: anybody, at least one woman, or one woman and one man."""

    ANY = "any"
    FEMALE_PRESENT = "female_present"
    MIXED = "mixed"


class LocationKind(StrEnum):
    OFFICE = "office"
    HOME = "home"
    BANK = "bank"
    VISIT = "visit"


class StopType(StrEnum):
    """`pause` belongs to `fieldday/2`: the pair takes a break, where it stands or where it goes next."""

    VISIT = "visit"
    DEPOSIT = "deposit"
    PAUSE = "pause"


class SpeedSpan(msgspec.Struct, frozen=True, kw_only=True):
    """`fieldday/2`: from `span[0]` to `span[1]` the way goes at `percent` of the ordinary speed."""

    span: Span
    percent: Annotated[int, Meta(ge=5, le=1000)]

    def __post_init__(self) -> None:
        if self.span[0] >= self.span[1]:
            raise ValueError(f"span must end after it begins, got {list(self.span)}")


class TravelModel(msgspec.Struct, frozen=True, kw_only=True):
    """Great-circle travel: radius in metres, detour factor, speed in km/h; all positive."""

    earth_radius_m: float
    detour_factor: float
    speed_kmh: float
    model: Label = "haversine"
    speeds: Annotated[tuple[SpeedSpan, ...], Meta(max_length=48)] = ()
    """`fieldday/2`: hours that are slower or faster, in order of time, apart from each other; at all other times the ordinary speed holds.

    The table of travel, whatever its source, is that at the ordinary speed. Who leaves later never arrives earlier.
    """

    def __post_init__(self) -> None:
        if any(later.span[0] < earlier.span[1] for earlier, later in zip(self.speeds, self.speeds[1:], strict=False)):
            raise ValueError("speeds must follow each other in time and not overlap")
        for key in ("earth_radius_m", "detour_factor", "speed_kmh"):
            number = getattr(self, key)
            if not (isfinite(number) and 0 < number <= 1e9):
                raise ValueError(f"{key} must be a positive number, got {number}")


class Objective(msgspec.Struct, frozen=True, kw_only=True):
    """Weights of the cost, all in its one unit (a second of travel); `imbalance_div` divides, so it is at least 1."""

    mandatory_unserved: Weight
    lost_value: Weight
    travel_s: Weight
    imbalance_div: Annotated[int, Meta(ge=1, le=10**9)]


class PastDay(msgspec.Struct, frozen=True, kw_only=True):
    """Pairs that worked `days_ago` working days before the planned one (1 = yesterday)."""

    days_ago: Annotated[int, Meta(ge=1, le=10_000)]
    pairs: tuple[tuple[CollectorId, CollectorId], ...]


class PairingRules(msgspec.Struct, frozen=True, kw_only=True):
    max_pairs: Annotated[int, Meta(ge=0, le=100_000)]
    require_lead: bool
    max_consecutive_days: Annotated[int, Meta(ge=0, le=10_000)]
    conflicts: tuple[tuple[CollectorId, CollectorId], ...]
    history: tuple[PastDay, ...]
    fixed: tuple[tuple[CollectorId, CollectorId], ...] = ()
    """`fieldday/2`: these two work with each other today or not at all."""


class BankLimit(msgspec.Struct, frozen=True, kw_only=True):
    """`fieldday/2`: no pair carries more of this bank's money, nor more than the limit for all."""

    bank: Text
    carry_limit_fen: Fen


class CashRules(msgspec.Struct, frozen=True, kw_only=True):
    """The most that a pair may carry; of `fieldday/2`: of single banks' money still less."""

    carry_limit_fen: Fen
    limits: Annotated[tuple[BankLimit, ...], Meta(max_length=1000)] = ()

    def limit_of(self, bank: str | None) -> int:
        """Return the most that may be carried of a bank's money."""
        return min([self.carry_limit_fen, *(one.carry_limit_fen for one in self.limits if one.bank == bank)])


class Location(msgspec.Struct, frozen=True, kw_only=True):
    """A WGS-84 point in degrees."""

    id: Text
    kind: LocationKind
    lat: float
    lon: float

    def __post_init__(self) -> None:
        if not (isfinite(self.lat) and -90 <= self.lat <= 90):
            raise ValueError(f"lat must be between -90 and 90, got {self.lat}")
        if not (isfinite(self.lon) and -180 <= self.lon <= 180):
            raise ValueError(f"lon must be between -180 and 180, got {self.lon}")


class Break(msgspec.Struct, frozen=True, kw_only=True):
    """`fieldday/2`: a break of `duration_s` that begins within `window`. It is due before any visit that ends after the window."""

    window: Span
    duration_s: Annotated[int, Meta(ge=1, le=43_200)]

    def __post_init__(self) -> None:
        if self.window[0] > self.window[1]:
            raise ValueError(f"window must not close before it opens, got {list(self.window)}")


class Collector(msgspec.Struct, frozen=True, kw_only=True):
    id: Text
    gender: Gender
    lead: bool
    certs: tuple[Text, ...]
    languages: tuple[Text, ...]
    available: bool
    shift: Span
    start: LocationId
    end: LocationId
    recent_load_s: Annotated[int, Meta(ge=0, le=10**9)] = 0
    """Seconds of work of recent weeks, made comparable between people; whoever has less is paired first. 0 for all where nobody counts."""
    credentials: tuple[Text, ...] = ()
    """`fieldday/2`: the banks whose credential this person holds; a visit's `credential` must be held by *both* (VIS-06)."""
    breaks: Annotated[tuple[Break, ...], Meta(max_length=3)] = ()
    """`fieldday/2`: in order of time, their windows apart from each other."""

    def __post_init__(self) -> None:
        if any(later.window[0] <= earlier.window[1] for earlier, later in zip(self.breaks, self.breaks[1:], strict=False)):
            raise ValueError("breaks must follow each other in time, their windows apart")
        if self.shift[0] > self.shift[1]:
            raise ValueError(f"shift must not end before it begins, got {list(self.shift)}")


class Bank(msgspec.Struct, frozen=True, kw_only=True):
    """An office that takes deposits: service starts at `open` at the earliest and ends by `close`.

    Of `fieldday/2`: `bank`, whose office it is; it takes only that bank's money (CASH-06). Absent: it takes any.
    """

    id: Text
    location: LocationId
    open: DaySeconds
    close: DaySeconds
    service_s: DaySeconds
    bank: Text | None = None

    def __post_init__(self) -> None:
        if self.open > self.close:
            raise ValueError(f"close must not be before open, got {self.open} to {self.close}")


class Approval(msgspec.Struct, frozen=True, kw_only=True):
    """REQ-03: only status `approved` may be planned, and not before `effective_from` (None = from the start of the day)."""

    status: Text
    effective_from: DaySeconds | None

    @property
    def is_granted(self) -> bool:
        return self.status == "approved"


class Announced(msgspec.Struct, frozen=True, kw_only=True):
    """`fieldday/2`: somebody was told that service starts within `window`; another time costs `price`, in the cost's unit."""

    window: Span
    price: Weight

    def __post_init__(self) -> None:
        if self.window[0] > self.window[1]:
            raise ValueError(f"window must not close before it opens, got {list(self.window)}")


class Visit(msgspec.Struct, frozen=True, kw_only=True):
    """A visit that two collectors make together (VIS-01); service starts inside one of the windows.

    Of `fieldday/2`: who must be in the pair, when exactly service starts, what was announced, whose visit it is (one visit per debtor
    and day), whose credential both must hold, whose money `cash_fen` is, and whether it is only the most that may be taken (F12).
    """

    id: Text
    location: LocationId
    service_s: DaySeconds
    windows: Annotated[tuple[Span, ...], Meta(min_length=1, max_length=20)]
    mandatory: bool
    value: Weight
    required_cert: Text | None
    required_language: Text | None
    gender_rule: GenderRule
    excluded_collectors: tuple[CollectorId, ...]
    approval: Approval
    cash_fen: Fen
    priority: Annotated[int, Meta(ge=0, le=1000)] = 1
    pinned_collectors: Annotated[tuple[CollectorId, ...], Meta(max_length=2)] = ()
    pinned_start: DaySeconds | None = None
    announced: Announced | None = None
    debtor: Text | None = None
    credential: Text | None = None
    bank: Text | None = None
    cash_is_cap: bool = False

    def __post_init__(self) -> None:
        for opens, closes in self.windows:
            if opens > closes:
                raise ValueError(f"windows must not close before they open, got {[opens, closes]}")


class DoneStop(msgspec.Struct, frozen=True, kw_only=True):
    """`fieldday/2`: a stop that stays as it is, with its times: made, under way, or promised. `cash_fen` is what was really taken there."""

    type: StopType
    id: VisitId | None = None
    bank: BankId | None = None
    place: LocationId | None = None
    arrival: DaySeconds
    start: DaySeconds
    end: DaySeconds
    cash_fen: Fen | None = None

    def __post_init__(self) -> None:
        if not self.arrival <= self.start <= self.end:
            raise ValueError(f"end must not be before start, nor start before arrival, got {[self.arrival, self.start, self.end]}")


class PairProgress(msgspec.Struct, frozen=True, kw_only=True):
    """`fieldday/2`: how far a pair has come: its locked stops, where both stand after them and from when they may go on.

    Parted pairs (`together` false) keep their stops; their members may work with others from there.
    """

    collectors: tuple[CollectorId, CollectorId]
    departure: DaySeconds
    stops: Annotated[tuple[DoneStop, ...], Meta(min_length=1)]
    place: LocationId
    free_at: DaySeconds
    together: bool = True


class Instance(msgspec.Struct, frozen=True, kw_only=True):
    """One day to plan. Unknown extra keys (`notes`, `generator`, `units` …) are carried by nobody and ignored."""

    name: Text
    horizon: Span
    travel: TravelModel
    objective: Objective
    pairing: PairingRules
    cash: CashRules
    locations: tuple[Location, ...]
    collectors: tuple[Collector, ...]
    banks: tuple[Bank, ...]
    visits: tuple[Visit, ...]
    date: Label = ""
    timezone: Label = ""
    schema: str = INSTANCE_SCHEMA
    now: DaySeconds | None = None
    progress: tuple[PairProgress, ...] = ()

    def __post_init__(self) -> None:
        if self.schema not in (INSTANCE_SCHEMA, RUNNING_SCHEMA):
            raise ValueError(f"schema must be {INSTANCE_SCHEMA} or {RUNNING_SCHEMA}, got {self.schema[:40]!r}")
        if self.horizon[0] > self.horizon[1]:
            raise ValueError(f"horizon must not end before it begins, got {list(self.horizon)}")


class Stop(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One stop of a route. A visit names `id`, a deposit names `bank`; missing times mean the earliest feasible schedule.

    A pause names its `place`: that of the stop before it or of the next one; absent, the pair stays where it stands.
    """

    type: StopType
    id: VisitId | None = None
    bank: BankId | None = None
    place: LocationId | None = None
    arrival: int | None = None
    start: int | None = None
    end: int | None = None


class Route(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename={"return_at": "return"}):
    """The day of one pair. `departure` is when both leave their starts, `return_at` when the slower is back."""

    collectors: tuple[CollectorId, ...]
    stops: tuple[Stop, ...]
    departure: int | None = None
    return_at: int | None = None


class Unserved(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A visit without a stop: a stable reason code with its parameters, and the sentence for people in both languages."""

    id: VisitId
    reason: str = ""
    reason_zh: str = ""
    code: str = ""
    params: dict[str, Any] = {}
    changes: tuple[dict[str, Any], ...] = ()


class Contribution(msgspec.Struct, frozen=True, kw_only=True):
    """What one engine did: the plan's cost before and after it, its iterations and its wall time."""

    engine: str
    cost_before: int | None
    cost_after: int
    iterations: int
    wall_s: float | None = None


class SolverRecord(msgspec.Struct, frozen=True, kw_only=True):
    """What a replay needs and what a reader of the plan may ask: engines, seed, parameters, digests, trace."""

    seed: int
    cost: int
    matrix_digest: str
    instance_digest: str
    contributions: tuple[Contribution, ...]
    parameters: dict[str, Any]
    versions: dict[str, str]
    trace: tuple[dict[str, Any], ...] = ()


class Plan(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A day's work plan (REQ-04). `solver` is absent in a hand-made plan."""

    instance: str
    routes: tuple[Route, ...]
    schema: str = ""
    unserved: tuple[Unserved, ...] | None = None
    solver: SolverRecord | None = None

    def served(self) -> frozenset[VisitId]:
        """Return the ids of all visits that have a stop."""
        return frozenset(stop.id for route in self.routes for stop in route.stops if stop.id is not None and stop.type is StopType.VISIT)
