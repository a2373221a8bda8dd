"""What a day is planned from: the noun between the database and the translator. Pure."""

from collections.abc import Mapping
from datetime import date

import msgspec

from backend.cases.model import Field, GenderRule, Stop
from backend.core.fen import Fen
from backend.core.geo import LonLat
from backend.core.ids import BankId, BranchId, CaseId, RequestId, StaffId
from backend.staff.model import Gender


class CollectorFacts(msgspec.Struct, frozen=True, kw_only=True):
    """One employee as of the planned day. Shifts are seconds since local midnight; places None mean the office."""

    id: StaffId
    is_active: bool
    is_qualified: bool                  # TEAM-01
    is_lead: bool
    is_available: bool
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
        return self.is_active and self.is_qualified and self.is_available


class RequestFacts(msgspec.Struct, frozen=True, kw_only=True):
    """One visit request as of now. `windows` are spans of permitted starts; `effective_from_s` counts from the day's midnight."""

    id: RequestId
    case_id: CaseId
    bank_id: BankId
    is_approved: bool
    effective_from_s: int
    place: LonLat | None
    is_in_territory: bool
    windows: tuple[tuple[int, int], ...]
    service_s: int
    is_mandatory: bool
    priority: int                       # 1 to 5
    required_certificate: str | None
    required_language: str | None
    gender_rule: GenderRule
    excluded: frozenset[StaffId]
    cash_expected_fen: Fen
    stops: frozenset[Stop]
    unconfirmed: frozenset[Field]
    contacts_on_day: int


class OfficeFacts(msgspec.Struct, frozen=True, kw_only=True):
    """A counter of a bank that takes deposits."""

    id: str
    bank_id: BankId
    place: LonLat
    opens_s: int
    closes_s: int
    service_s: int


class DayFacts(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that one branch's day is planned from."""

    branch_id: BranchId
    branch_code: str
    on: date
    timezone: str
    office: LonLat
    collectors: tuple[CollectorFacts, ...]
    requests: tuple[RequestFacts, ...]
    offices: tuple[OfficeFacts, ...]
    conflicts: tuple[tuple[StaffId, StaffId], ...]
    history: Mapping[int, tuple[tuple[StaffId, StaffId], ...]]   # Working days ago (1 = the last) → pairs of that day.
