"""What a day is planned from: the noun between the database and the translator. Pure."""

from collections.abc import Mapping
from datetime import date

import msgspec

from backend.core.geo import LonLat
from backend.core.ids import BankId, BranchId, StaffId
from backend.plans.rotation import PairDay
from backend.requests.queries import PlannableRequest, WithheldRequest
from backend.staff.model import Gender


class CollectorFacts(msgspec.Struct, frozen=True, kw_only=True):
    """One employee as of the planned day. Shifts are seconds since local midnight; places None mean the office."""

    id: StaffId
    is_active: bool
    is_qualified: bool                  # TEAM-01
    is_lead: bool
    gender: Gender | None
    credentials: frozenset[BankId]      # Banks whose credential is in force on that day (VIS-06).
    certificates: frozenset[str]
    languages: frozenset[str]
    shift_from_s: int
    shift_to_s: int
    start: LonLat | None
    end: LonLat | None
    has_audio: bool                     # Inspected, in date, assigned for that day (VIS-04, EVD-04).
    has_camera: bool

    @property
    def may_visit(self) -> bool:
        """Whether this person can be half of a pair at all."""
        return self.is_active and self.is_qualified


class OfficeFacts(msgspec.Struct, frozen=True, kw_only=True):
    """A counter of a bank that takes deposits."""

    id: str
    bank_id: BankId
    place: LonLat
    opens_s: int
    closes_s: int
    service_s: int


class DayFacts(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that one branch's day is planned from. `collectors` are those who work that day."""

    branch_id: BranchId
    branch_code: str
    on: date
    timezone: str
    office: LonLat
    collectors: tuple[CollectorFacts, ...]
    ready: tuple[PlannableRequest, ...]
    withheld: tuple[WithheldRequest, ...]
    offices: tuple[OfficeFacts, ...]
    conflicts: frozenset[tuple[StaffId, StaffId]]
    history: Mapping[int, tuple[tuple[StaffId, StaffId], ...]]   # Working days ago (1 = the last) → pairs of that day.
    past: tuple[PairDay, ...] = ()                               # Other published days within the longest window, by date.
    carry_limits: Mapping[BankId, int] = {}                      # What each bank's own policy lets a pair carry of its money.
    load_s: Mapping[StaffId, int] = {}                           # Recent work, as if everybody were there every day.
