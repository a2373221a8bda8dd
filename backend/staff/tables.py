"""Rows of people: who they are, what they may do, how they log in, which phone speaks for them."""

from datetime import date, datetime
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Index, String, Text, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from backend.auth.actors import Role
from backend.core.geo import LonLat, MultiPolygon
from backend.db.base import Base, CanonicalJson, Choice, Instant, Key, SealedBytes, SealedValue, Uuid, enum_check
from backend.db.geo import Area, Point
from backend.staff.model import DeviceLevel, DeviceState, EquipmentKind, EquipmentState, Gender, QualificationKind, SkillKind

_IS_ACTIVE = text("state = 'active'")
_IS_USED = text("used_at IS NOT NULL")


class BranchRow(Base):
    """A branch office with the area it serves; its time zone is an IANA name."""

    __tablename__ = "branches"
    __table_args__ = (
        UniqueConstraint("code"),
        Index("ix_branches_office", "office", postgresql_using="gist"),
        Index("ix_branches_territory", "territory", postgresql_using="gist"),
    )

    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    code: Mapped[str] = mapped_column(Key(16))
    name_zh: Mapped[str] = mapped_column(String(80))
    name_en: Mapped[str] = mapped_column(String(80))
    timezone: Mapped[str] = mapped_column(String(64))
    office: Mapped[LonLat] = mapped_column(Point)
    territory: Mapped[MultiPolygon | None] = mapped_column(Area)


class StaffRow(Base):
    """A person: of a branch, of a bank, or of the agency as a whole."""

    __tablename__ = "staff"
    __table_args__ = (
        UniqueConstraint("employee_no"),
        enum_check("gender", Gender),
        CheckConstraint("branch_id IS NULL OR bank_id IS NULL", name="one_house"),
        Index("ix_staff_branch_id", "branch_id"),
        Index("ix_staff_bank_id", "bank_id"),
    )

    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    employee_no: Mapped[str] = mapped_column(Key(32))
    name: Mapped[str] = mapped_column(String(80))
    gender: Mapped[Gender | None] = mapped_column(Choice(Gender))
    branch_id: Mapped[UUID | None] = mapped_column(ForeignKey("branches.id"))
    bank_id: Mapped[UUID | None] = mapped_column(ForeignKey("banks.id"))
    is_active: Mapped[bool]
    joined_on: Mapped[date]
    left_on: Mapped[date | None]
    language: Mapped[str | None] = mapped_column(Key(8))


class StaffRoleRow(Base):
    """One role of one person; `branch_id` adds a branch beyond the person's own."""

    __tablename__ = "staff_roles"
    __table_args__ = (UniqueConstraint("staff_id", "role", "branch_id"), enum_check("role", Role))

    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    staff_id: Mapped[UUID] = mapped_column(ForeignKey("staff.id"))
    role: Mapped[Role] = mapped_column(Choice(Role))
    branch_id: Mapped[UUID | None] = mapped_column(ForeignKey("branches.id"))


class LoginRow(Base):
    """How one person logs in: argon2id hash and sealed TOTP secret; `totp_step_last` is the last code's step, never taken again."""

    __tablename__ = "logins"
    __table_args__ = (UniqueConstraint("username"),)

    staff_id: Mapped[UUID] = mapped_column(ForeignKey("staff.id"), primary_key=True)
    username: Mapped[str] = mapped_column(Key(64))
    password_hash: Mapped[str] = mapped_column(String(200))
    totp_secret: Mapped[SealedValue] = mapped_column(SealedBytes)
    totp_step_last: Mapped[int]
    changed_at: Mapped[datetime] = mapped_column(Instant)


class LoginFailureRow(Base):
    """Failed logins under one name, known or not, so that a lock tells nobody whether the name exists."""

    __tablename__ = "login_failures"
    __table_args__ = (Index("ix_login_failures_failed_at", "failed_at"),)

    username_digest: Mapped[str] = mapped_column(Key(64), primary_key=True)
    failed_count: Mapped[int]
    failed_at: Mapped[datetime] = mapped_column(Instant)
    locked_until: Mapped[datetime | None] = mapped_column(Instant)


class ConsoleSessionRow(Base):
    """A console session under the SHA-256 of its token."""

    __tablename__ = "console_sessions"
    __table_args__ = (UniqueConstraint("token_hash"), Index("ix_console_sessions_staff_id", "staff_id"))

    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    token_hash: Mapped[str] = mapped_column(Key(64))
    staff_id: Mapped[UUID] = mapped_column(ForeignKey("staff.id"))
    csrf: Mapped[str] = mapped_column(Key(64))
    opened_at: Mapped[datetime] = mapped_column(Instant)
    seen_at: Mapped[datetime] = mapped_column(Instant)
    expires_at: Mapped[datetime] = mapped_column(Instant)
    closed_at: Mapped[datetime | None] = mapped_column(Instant)


class InvitationRow(Base):
    """A one-time link to choose a password and a TOTP secret, under the SHA-256 of its token."""

    __tablename__ = "invitations"
    __table_args__ = (UniqueConstraint("token_hash"), Index("ix_invitations_staff_id", "staff_id"))

    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    token_hash: Mapped[str] = mapped_column(Key(64))
    staff_id: Mapped[UUID] = mapped_column(ForeignKey("staff.id"))
    invited_by: Mapped[UUID | None] = mapped_column(ForeignKey("staff.id"))
    expires_at: Mapped[datetime] = mapped_column(Instant)
    used_at: Mapped[datetime | None] = mapped_column(Instant)


class InvitationConfirmationRow(Base):
    """That an invitation waits for a second person's word, and who gave it: neither who invited nor who is invited."""

    __tablename__ = "invitation_confirmations"
    __table_args__ = (
        CheckConstraint("(confirmed_by IS NULL) = (confirmed_at IS NULL)", name="confirmation_whole"),
        CheckConstraint("confirmed_by <> invited_by AND confirmed_by <> staff_id", name="two_people"),
    )

    invitation_id: Mapped[UUID] = mapped_column(ForeignKey("invitations.id"), primary_key=True)
    staff_id: Mapped[UUID] = mapped_column(ForeignKey("staff.id"))
    invited_by: Mapped[UUID] = mapped_column(ForeignKey("staff.id"))
    confirmed_by: Mapped[UUID | None] = mapped_column(ForeignKey("staff.id"))
    confirmed_at: Mapped[datetime | None] = mapped_column(Instant)


class TotpResetRow(Base):
    """A reset of a lost second factor: asked for by one person, granted by another, neither the owner of the login."""

    __tablename__ = "totp_resets"
    __table_args__ = (
        CheckConstraint("approved_by IS NULL OR approved_by <> requested_by", name="two_people"),
        CheckConstraint("staff_id <> requested_by AND (approved_by IS NULL OR approved_by <> staff_id)", name="not_the_owner"),
        Index("ix_totp_resets_staff_id", "staff_id"),
    )

    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    staff_id: Mapped[UUID] = mapped_column(ForeignKey("staff.id"))
    requested_by: Mapped[UUID] = mapped_column(ForeignKey("staff.id"))
    requested_at: Mapped[datetime] = mapped_column(Instant)
    expires_at: Mapped[datetime] = mapped_column(Instant)
    approved_by: Mapped[UUID | None] = mapped_column(ForeignKey("staff.id"))
    approved_at: Mapped[datetime | None] = mapped_column(Instant)


class DeviceRow(Base):
    """An enrolled phone under the RFC 7638 thumbprint of its key; one person per key, one active phone per person."""

    __tablename__ = "devices"
    __table_args__ = (
        enum_check("level", DeviceLevel),
        enum_check("state", DeviceState),
        Index("uq_devices_active_staff_id", "staff_id", unique=True, sqlite_where=_IS_ACTIVE, postgresql_where=_IS_ACTIVE),
        Index("ix_devices_staff_id", "staff_id"),
    )

    kid: Mapped[str] = mapped_column(Key(43), primary_key=True)
    staff_id: Mapped[UUID] = mapped_column(ForeignKey("staff.id"))
    public_jwk: Mapped[dict[str, str]] = mapped_column(CanonicalJson)
    model: Mapped[str] = mapped_column(String(80))
    level: Mapped[DeviceLevel] = mapped_column(Choice(DeviceLevel))
    state: Mapped[DeviceState] = mapped_column(Choice(DeviceState))
    enrolled_at: Mapped[datetime] = mapped_column(Instant)
    valid_until: Mapped[datetime] = mapped_column(Instant)
    revoked_at: Mapped[datetime | None] = mapped_column(Instant)
    compromised_since: Mapped[datetime | None] = mapped_column(Instant)


class DeviceChangeRow(Base):
    """One change of a phone's state, with actor and reason. Append-only."""

    __tablename__ = "device_changes"
    __table_args__ = (enum_check("from_state", DeviceState), enum_check("to_state", DeviceState), Index("ix_device_changes_kid", "kid"))

    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    kid: Mapped[str] = mapped_column(Key(43), ForeignKey("devices.kid"))
    at: Mapped[datetime] = mapped_column(Instant)
    by: Mapped[UUID | None] = mapped_column(ForeignKey("staff.id"))
    from_state: Mapped[DeviceState] = mapped_column(Choice(DeviceState))
    to_state: Mapped[DeviceState] = mapped_column(Choice(DeviceState))
    reason: Mapped[str] = mapped_column(String(200))


class DeviceEnrolmentRow(Base):
    """A one-time enrolment under the SHA-256 of its code; granted by somebody who neither asked for it nor gets the phone."""

    __tablename__ = "device_enrolments"
    __table_args__ = (
        UniqueConstraint("code_hash"),
        CheckConstraint("approved_by IS NULL OR (approved_by <> staff_id AND approved_by <> requested_by)", name="second_person"),
        Index("ix_device_enrolments_staff_id", "staff_id"),
    )

    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    code_hash: Mapped[str] = mapped_column(Key(64))
    staff_id: Mapped[UUID] = mapped_column(ForeignKey("staff.id"))
    requested_by: Mapped[UUID] = mapped_column(ForeignKey("staff.id"))
    requested_at: Mapped[datetime] = mapped_column(Instant)
    expires_at: Mapped[datetime] = mapped_column(Instant)
    approved_by: Mapped[UUID | None] = mapped_column(ForeignKey("staff.id"))
    approved_at: Mapped[datetime | None] = mapped_column(Instant)
    challenge: Mapped[str | None] = mapped_column(Key(43))
    challenge_expires_at: Mapped[datetime | None] = mapped_column(Instant)
    kid: Mapped[str | None] = mapped_column(Key(43), ForeignKey("devices.kid"))
    used_at: Mapped[datetime | None] = mapped_column(Instant)


class DeviceRenewalRow(Base):
    """A phone's key giving way to its successor: asked by the old key, granted by another person, signed by both keys, used once."""

    __tablename__ = "device_renewals"
    __table_args__ = (
        UniqueConstraint("new_kid"),
        CheckConstraint("(approved_by IS NULL) = (approved_at IS NULL)", name="approval_whole"),
        CheckConstraint("approved_by <> staff_id", name="second_person"),
        CheckConstraint("new_kid <> old_kid", name="another_key"),
        CheckConstraint(
            "(used_at IS NULL) = (new_kid IS NULL) AND (used_at IS NULL) = (consent IS NULL) AND (used_at IS NULL) = (last_seq IS NULL) "
            "AND (used_at IS NULL) = (last_digest IS NULL)", name="use_whole"),
        CheckConstraint("used_at IS NULL OR (approved_at IS NOT NULL AND challenge IS NULL)", name="used_once_granted"),
        Index("uq_device_renewals_used_old_kid", "old_kid", unique=True, sqlite_where=_IS_USED, postgresql_where=_IS_USED),
        Index("ix_device_renewals_old_kid", "old_kid"),
        Index("ix_device_renewals_staff_id", "staff_id"),
    )

    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    old_kid: Mapped[str] = mapped_column(Key(43), ForeignKey("devices.kid"))
    staff_id: Mapped[UUID] = mapped_column(ForeignKey("staff.id"))
    asked_at: Mapped[datetime] = mapped_column(Instant)
    expires_at: Mapped[datetime] = mapped_column(Instant)
    approved_by: Mapped[UUID | None] = mapped_column(ForeignKey("staff.id"))
    approved_at: Mapped[datetime | None] = mapped_column(Instant)
    challenge: Mapped[str | None] = mapped_column(Key(43))
    challenge_expires_at: Mapped[datetime | None] = mapped_column(Instant)
    new_kid: Mapped[str | None] = mapped_column(Key(43), ForeignKey("devices.kid"))
    last_seq: Mapped[int | None] = mapped_column(BigInteger)
    last_digest: Mapped[str | None] = mapped_column(Key(64))
    consent: Mapped[str | None] = mapped_column(Text)
    used_at: Mapped[datetime | None] = mapped_column(Instant)


class ProofRow(Base):
    """A DPoP proof or client assertion already seen, under the SHA-256 of its key and id; kept until it could not pass anyway."""

    __tablename__ = "seen_proofs"
    __table_args__ = (Index("ix_seen_proofs_expires_at", "expires_at"),)

    digest: Mapped[str] = mapped_column(Key(64), primary_key=True)
    expires_at: Mapped[datetime] = mapped_column(Instant)


class QualificationRow(Base):
    """An assessment passed (TEAM-01, TEAM-03, TEAM-04)."""

    __tablename__ = "qualifications"
    __table_args__ = (
        enum_check("kind", QualificationKind),
        CheckConstraint("assessor_id <> staff_id", name="assessed_by_another"),
        Index("ix_qualifications_staff_id", "staff_id"),
    )

    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    staff_id: Mapped[UUID] = mapped_column(ForeignKey("staff.id"))
    kind: Mapped[QualificationKind] = mapped_column(Choice(QualificationKind))
    is_lead: Mapped[bool]
    valid_to_on: Mapped[date]
    assessor_id: Mapped[UUID] = mapped_column(ForeignKey("staff.id"))
    test_result: Mapped[str] = mapped_column(String(80))
    recorded_at: Mapped[datetime] = mapped_column(Instant)


class CredentialRow(Base):
    """A work credential recognised by one bank (VIS-06)."""

    __tablename__ = "credentials"
    __table_args__ = (
        UniqueConstraint("bank_id", "number"),
        CheckConstraint("valid_from_on <= valid_to_on", name="in_order"),
        Index("ix_credentials_staff_id", "staff_id"),
    )

    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    staff_id: Mapped[UUID] = mapped_column(ForeignKey("staff.id"))
    bank_id: Mapped[UUID] = mapped_column(ForeignKey("banks.id"))
    number: Mapped[str] = mapped_column(Key(64))
    valid_from_on: Mapped[date]
    valid_to_on: Mapped[date]
    revoked_at: Mapped[datetime | None] = mapped_column(Instant)


class StaffSkillRow(Base):
    """A certificate or a language."""

    __tablename__ = "staff_skills"
    __table_args__ = (enum_check("kind", SkillKind),)

    staff_id: Mapped[UUID] = mapped_column(ForeignKey("staff.id"), primary_key=True)
    kind: Mapped[SkillKind] = mapped_column(Choice(SkillKind), primary_key=True)
    value: Mapped[str] = mapped_column(Key(32), primary_key=True)


class EquipmentRow(Base):
    """A recorder or camera with its latest inspection; never inspected counts as overdue (EVD-04). `owner_id` answers for it."""

    __tablename__ = "equipment"
    __table_args__ = (
        UniqueConstraint("serial"), enum_check("kind", EquipmentKind), enum_check("state", EquipmentState),
        Index("ix_equipment_branch_id", "branch_id"),
    )

    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    branch_id: Mapped[UUID] = mapped_column(ForeignKey("branches.id"))
    kind: Mapped[EquipmentKind] = mapped_column(Choice(EquipmentKind))
    serial: Mapped[str] = mapped_column(Key(64))
    owner_id: Mapped[UUID | None] = mapped_column(ForeignKey("staff.id"))
    state: Mapped[EquipmentState] = mapped_column(Choice(EquipmentState), default=EquipmentState.IN_USE)
    inspected_at: Mapped[datetime | None] = mapped_column(Instant)
    is_passed: Mapped[bool | None]
    next_due_on: Mapped[date | None]


class EquipmentInspectionRow(Base):
    """The inspection register (EVD-04). Append-only."""

    __tablename__ = "equipment_inspections"
    __table_args__ = (Index("ix_equipment_inspections_equipment_id", "equipment_id"),)

    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    equipment_id: Mapped[UUID] = mapped_column(ForeignKey("equipment.id"))
    inspected_by: Mapped[UUID] = mapped_column(ForeignKey("staff.id"))
    inspected_at: Mapped[datetime] = mapped_column(Instant)
    is_passed: Mapped[bool]
    next_due_on: Mapped[date]
    remark: Mapped[str] = mapped_column(Text)


class EquipmentAssignmentRow(Base):
    """One piece of equipment carried by one employee on one day."""

    __tablename__ = "equipment_assignments"
    __table_args__ = (Index("ix_equipment_assignments_staff_id_on", "staff_id", "on"),)

    equipment_id: Mapped[UUID] = mapped_column(ForeignKey("equipment.id"), primary_key=True)
    on: Mapped[date] = mapped_column(primary_key=True)
    staff_id: Mapped[UUID] = mapped_column(ForeignKey("staff.id"))


class WorkdayRow(Base):
    """One employee's day; NULL places mean the branch office."""

    __tablename__ = "workdays"
    __table_args__ = (CheckConstraint("0 <= shift_from_s AND shift_from_s < shift_to_s AND shift_to_s <= 86400", name="within_a_day"),)

    staff_id: Mapped[UUID] = mapped_column(ForeignKey("staff.id"), primary_key=True)
    on: Mapped[date] = mapped_column(primary_key=True)
    is_available: Mapped[bool]
    shift_from_s: Mapped[int]
    shift_to_s: Mapped[int]
    start: Mapped[LonLat | None] = mapped_column(Point)
    end: Mapped[LonLat | None] = mapped_column(Point)


class PairConflictRow(Base):
    """Two employees who are never sent together; the smaller id first."""

    __tablename__ = "pair_conflicts"
    __table_args__ = (CheckConstraint("a < b", name="in_order"),)

    a: Mapped[UUID] = mapped_column(ForeignKey("staff.id"), primary_key=True)
    b: Mapped[UUID] = mapped_column(ForeignKey("staff.id"), primary_key=True)
