"""People, their devices and papers: nouns, statuses and what may follow what."""

from collections.abc import Mapping
from datetime import date, datetime
from enum import StrEnum
from types import MappingProxyType
from uuid import UUID

import msgspec

from backend.auth.actors import Role
from backend.core.geo import LonLat, MultiPolygon
from backend.core.i18n import N_
from backend.core.ids import BankId, BranchId, StaffId
from backend.core.problems import Problem
from backend.core.states import follow


class Gender(StrEnum):
    """As stated by the employee; never guessed from a name."""

    F = "F"
    M = "M"


class PartingReason(StrEnum):
    """Why two employees are never sent together."""

    RELATIVES = "relatives"
    COMPLAINT = "complaint"
    CONFLICT_OF_INTEREST = "conflict_of_interest"
    INVESTIGATION = "investigation"
    OTHER = "other"


class ReunionReason(StrEnum):
    """Why an exclusion ends."""

    MISTAKEN = "mistaken"
    SETTLED = "settled"
    NO_LONGER_RELATED = "no_longer_related"


class DeviceState(StrEnum):
    """Where an enrolled phone stands, and beside it who acts next."""

    PENDING = "pending"        # A second person approves.
    ACTIVE = "active"
    SUSPENDED = "suspended"    # A supervisor resumes or revokes.
    REVOKED = "revoked"        # Nobody: a phone is enrolled again under a new key.


class DeviceEvent(StrEnum):
    """What can happen to a phone's enrolment."""

    ACTIVATE = "activate"
    SUSPEND = "suspend"
    RESUME = "resume"
    REVOKE = "revoke"


DEVICE_TRANSITIONS: Mapping[tuple[DeviceState, DeviceEvent], DeviceState] = MappingProxyType({
    (DeviceState.PENDING, DeviceEvent.ACTIVATE): DeviceState.ACTIVE,
    (DeviceState.PENDING, DeviceEvent.REVOKE): DeviceState.REVOKED,
    (DeviceState.ACTIVE, DeviceEvent.SUSPEND): DeviceState.SUSPENDED,
    (DeviceState.ACTIVE, DeviceEvent.REVOKE): DeviceState.REVOKED,
    (DeviceState.SUSPENDED, DeviceEvent.RESUME): DeviceState.ACTIVE,
    (DeviceState.SUSPENDED, DeviceEvent.REVOKE): DeviceState.REVOKED,
})


def advance_device(state: DeviceState, event: DeviceEvent) -> DeviceState:
    """Return the state after `event`. Raises `IllegalTransition` when it cannot follow."""
    return follow(DEVICE_TRANSITIONS, state, event)


class SecondPersonNeeded(Problem):
    """The act takes two people, and this one has already had their part in it or is its subject."""

    status, code, title = 409, "second-person-needed", N_("This needs another person.")
    explanation = N_("Whoever asked for it, and whoever it is for, cannot grant it.")


class DeviceLevel(StrEnum):
    """Where the device key is known to live. Without a verified attestation it is `unattested`, whatever the phone says."""

    STRONGBOX = "strongbox"
    TEE = "tee"
    ENCLAVE = "enclave"
    SOFTWARE = "software"
    UNATTESTED = "unattested"
    UNPARSED = "unparsed"


class QualificationKind(StrEnum):
    """What an employee has been examined for (TEAM-01, TEAM-03, TEAM-04)."""

    FIELD_VISIT = "field_visit"
    PHONE = "phone"
    LEGAL_TRAINING = "legal_training"


class SkillKind(StrEnum):
    """What a visit may ask of one of its two visitors."""

    CERTIFICATE = "certificate"
    LANGUAGE = "language"


class EquipmentKind(StrEnum):
    """The two kinds of recording equipment that a pair carries (VIS-04)."""

    AUDIO = "audio"
    CAMERA = "camera"


class EquipmentState(StrEnum):
    """Whether a recorder or camera may be handed out, and beside it who acts next."""

    IN_USE = "in_use"                # Whoever hands it out.
    WITHDRAWN = "withdrawn"          # Its owner may give it back.


class EquipmentEvent(StrEnum):
    """What can happen to a recorder or camera."""

    WITHDRAW = "withdraw"
    GIVE_BACK = "give_back"


EQUIPMENT_TRANSITIONS: Mapping[tuple[EquipmentState, EquipmentEvent], EquipmentState] = MappingProxyType({
    (EquipmentState.IN_USE, EquipmentEvent.WITHDRAW): EquipmentState.WITHDRAWN,
    (EquipmentState.WITHDRAWN, EquipmentEvent.GIVE_BACK): EquipmentState.IN_USE,
})


def advance_equipment(state: EquipmentState, event: EquipmentEvent) -> EquipmentState:
    """Return the state after `event`. Raises `IllegalTransition` when it cannot follow."""
    return follow(EQUIPMENT_TRANSITIONS, state, event)


class NewBranch(msgspec.Struct, frozen=True, kw_only=True):
    """A branch to open; `timezone` is an IANA name, `territory` None serves no address yet."""

    code: str
    name_zh: str
    name_en: str
    timezone: str
    office: LonLat
    territory: MultiPolygon | None = None


class NewStaff(msgspec.Struct, frozen=True, kw_only=True):
    """An employee of the agency (`branch_id` or neither) or a person of a bank (`bank_id`), never both (SEC-02)."""

    employee_no: str
    name: str
    roles: frozenset[Role]
    joined_on: date
    gender: Gender | None = None
    branch_id: BranchId | None = None
    bank_id: BankId | None = None


class NewCredential(msgspec.Struct, frozen=True, kw_only=True):
    """A work credential that a bank recognises (VIS-06), valid on both named days and between."""

    staff_id: StaffId
    bank_id: BankId
    number: str
    valid_from_on: date
    valid_to_on: date

    def __post_init__(self) -> None:
        if self.valid_to_on < self.valid_from_on:
            raise ValueError("a credential ends on or after the day it begins")


class NewQualification(msgspec.Struct, frozen=True, kw_only=True):
    """The result of an assessment by another employee (TEAM-04)."""

    staff_id: StaffId
    kind: QualificationKind
    is_lead: bool
    valid_to_on: date
    assessor_id: StaffId
    test_result: str

    def __post_init__(self) -> None:
        if self.assessor_id == self.staff_id:
            raise ValueError("nobody assesses themselves")


class Workday(msgspec.Struct, frozen=True, kw_only=True):
    """One employee's day: seconds since local midnight, and where it starts and ends (None: the branch office)."""

    staff_id: StaffId
    on: date
    is_available: bool
    shift_from_s: int
    shift_to_s: int
    start: LonLat | None = None
    end: LonLat | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.shift_from_s < self.shift_to_s <= 86_400:
            raise ValueError("a shift lies within one day and is not empty")


class Inspection(msgspec.Struct, frozen=True, kw_only=True):
    """One row of the inspection register (EVD-04)."""

    equipment_id: UUID
    is_passed: bool
    next_due_on: date
    remark: str = ""


class SessionOpened(msgspec.Struct, frozen=True, kw_only=True):
    """A console session just opened. Only here are token and CSRF token known in clear."""

    token: str
    csrf: str
    staff_id: StaffId
    expires_at: datetime


class EnrolmentCode(msgspec.Struct, frozen=True, kw_only=True):
    """A one-time code for one phone. Only here is the code known in clear."""

    id: UUID
    code: str
    staff_id: StaffId
    expires_at: datetime


class Invited(msgspec.Struct, frozen=True, kw_only=True):
    """A one-time invitation to choose a password. Only here is its token known in clear."""

    token: str
    staff_id: StaffId
    expires_at: datetime
    is_confirmation_due: bool = False       # Nobody can accept it before a second person has confirmed it.


class LoginMade(msgspec.Struct, frozen=True, kw_only=True):
    """A login with its TOTP secret, shown once to its owner."""

    staff_id: StaffId
    username: str
    totp_secret: str
    provisioning_uri: str
