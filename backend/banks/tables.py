"""Rows of banks: what each bank has mandated, worded, opened and signed with."""

from datetime import date, datetime
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Index, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from backend.banks.model import AmountStyle, BankKeyState, DateStyle, KeyHardware, KeyPurpose, OfficeKind, TemplateKind
from backend.core.geo import LonLat
from backend.db.base import Base, CanonicalJson, Choice, Instant, Key, Money, SealedBytes, SealedValue, Uuid, enum_check
from backend.db.geo import Point


class BankRow(Base):
    """An entrusting bank."""

    __tablename__ = "banks"
    __table_args__ = (UniqueConstraint("code"),)

    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    code: Mapped[str] = mapped_column(Key(16))
    name_zh: Mapped[str] = mapped_column(String(80))
    name_en: Mapped[str] = mapped_column(String(80))


class MandateRow(Base):
    """A bank's mandate: what it permits, when, and whether it was ended (BANK-02, BANK-03, BANK-07)."""

    __tablename__ = "mandates"
    __table_args__ = (
        UniqueConstraint("bank_id", "reference"),
        CheckConstraint("valid_from_on <= valid_to_on", name="in_order"),
    )

    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    bank_id: Mapped[UUID] = mapped_column(ForeignKey("banks.id"))
    reference: Mapped[str] = mapped_column(Key(64))
    valid_from_on: Mapped[date]
    valid_to_on: Mapped[date]
    terminated_at: Mapped[datetime | None] = mapped_column(Instant)
    terminated_by: Mapped[UUID | None] = mapped_column(ForeignKey("staff.id"))
    nda_reference: Mapped[str | None] = mapped_column(String(80))
    qualification_checked_on: Mapped[date | None]
    permitted: Mapped[list[str]] = mapped_column(CanonicalJson)


class TemplateRow(Base):
    """One version of a text in the bank's wording, usable once a person of the bank has approved it."""

    __tablename__ = "templates"
    __table_args__ = (
        UniqueConstraint("bank_id", "kind", "version"),
        enum_check("kind", TemplateKind),
        CheckConstraint("(approved_at IS NULL) = (approved_by IS NULL)", name="approval_whole"),
    )

    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    bank_id: Mapped[UUID] = mapped_column(ForeignKey("banks.id"))
    kind: Mapped[TemplateKind] = mapped_column(Choice(TemplateKind))
    version: Mapped[int]
    text_zh: Mapped[str] = mapped_column(Text)
    approved_at: Mapped[datetime | None] = mapped_column(Instant)
    approved_by: Mapped[UUID | None] = mapped_column(ForeignKey("staff.id"))


class DesignatedAccountRow(Base):
    """An account that the bank has named for deposits (CASH-06). The number is sealed; its digest finds it."""

    __tablename__ = "designated_accounts"
    __table_args__ = (UniqueConstraint("bank_id", "account_digest"),)

    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    bank_id: Mapped[UUID] = mapped_column(ForeignKey("banks.id"))
    account: Mapped[SealedValue] = mapped_column(SealedBytes)
    account_digest: Mapped[str] = mapped_column(Key(64))
    last4: Mapped[str] = mapped_column(Key(4))
    holder: Mapped[str] = mapped_column(String(80))


class BankOfficeRow(Base):
    """A counter or machine that takes deposits, with its hours in seconds since local midnight."""

    __tablename__ = "bank_hours"
    __table_args__ = (
        CheckConstraint("0 <= opens_s AND opens_s < closes_s AND closes_s <= 86400", name="within_a_day"),
        CheckConstraint("service_s > 0", name="service_positive"),
        Index("ix_bank_hours_bank_id", "bank_id"),
        Index("ix_bank_hours_location", "location", postgresql_using="gist"),
    )

    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    bank_id: Mapped[UUID] = mapped_column(ForeignKey("banks.id"))
    name: Mapped[str] = mapped_column(String(80))
    location: Mapped[LonLat] = mapped_column(Point)
    opens_s: Mapped[int]
    closes_s: Mapped[int]
    service_s: Mapped[int]


class OfficeTermsRow(Base):
    """How an office takes cash: a counter or a machine, on days off too or not, and at most so much in one deposit."""

    __tablename__ = "office_terms"
    __table_args__ = (enum_check("kind", OfficeKind), CheckConstraint("deposit_fen_max > 0", name="limit_positive"))

    office_id: Mapped[UUID] = mapped_column(ForeignKey("bank_hours.id"), primary_key=True)
    kind: Mapped[OfficeKind] = mapped_column(Choice(OfficeKind))
    is_open_on_off_days: Mapped[bool]
    deposit_fen_max: Mapped[int | None] = mapped_column(Money)


class OfficeDayRow(Base):
    """An office's hours on one date, in place of its usual ones; without hours it takes no cash that day."""

    __tablename__ = "office_days"
    __table_args__ = (
        CheckConstraint("(opens_s IS NULL) = (closes_s IS NULL)", name="whole"),
        CheckConstraint("0 <= opens_s AND opens_s < closes_s AND closes_s <= 86400", name="within_a_day"),
    )

    office_id: Mapped[UUID] = mapped_column(ForeignKey("bank_hours.id"), primary_key=True)
    on: Mapped[date] = mapped_column(primary_key=True)
    opens_s: Mapped[int | None]
    closes_s: Mapped[int | None]


class BankCalendarDayRow(Base):
    """One date of the calendar that a bank uploaded: a workday (make-up workdays included) or a day off."""

    __tablename__ = "bank_calendar_days"

    bank_id: Mapped[UUID] = mapped_column(ForeignKey("banks.id"), primary_key=True)
    on: Mapped[date] = mapped_column(primary_key=True)
    is_workday: Mapped[bool]


class AuthoriserDutyRow(Base):
    """When an authoriser of a bank is on duty to answer requests (F19)."""

    __tablename__ = "authoriser_duties"
    __table_args__ = (
        UniqueConstraint("staff_id", "from_at"),
        CheckConstraint("to_at > from_at", name="in_order"),
        Index(None, "bank_id", "to_at"),
    )

    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    bank_id: Mapped[UUID] = mapped_column(ForeignKey("banks.id"))
    staff_id: Mapped[UUID] = mapped_column(ForeignKey("staff.id"))
    from_at: Mapped[datetime] = mapped_column(Instant)
    to_at: Mapped[datetime] = mapped_column(Instant)
    set_by: Mapped[UUID] = mapped_column(ForeignKey("staff.id"))


class BankKeyRow(Base):
    """A public key of a bank under its RFC 7638 thumbprint; the private half is never ours."""

    __tablename__ = "bank_keys"
    __table_args__ = (
        enum_check("purpose", KeyPurpose),
        enum_check("hardware", KeyHardware),
        enum_check("state", BankKeyState),
        Index("ix_bank_keys_bank_id", "bank_id"),
    )

    kid: Mapped[str] = mapped_column(Key(43), primary_key=True)
    bank_id: Mapped[UUID] = mapped_column(ForeignKey("banks.id"))
    purpose: Mapped[KeyPurpose] = mapped_column(Choice(KeyPurpose))
    public_jwk: Mapped[dict[str, str]] = mapped_column(CanonicalJson)
    hardware: Mapped[KeyHardware] = mapped_column(Choice(KeyHardware))
    state: Mapped[BankKeyState] = mapped_column(Choice(BankKeyState))
    enrolled_by: Mapped[UUID] = mapped_column(ForeignKey("staff.id"))
    enrolled_at: Mapped[datetime] = mapped_column(Instant)
    revoked_at: Mapped[datetime | None] = mapped_column(Instant)


class ImportProfileRow(Base):
    """One version of how a bank writes its placement files."""

    __tablename__ = "import_profiles"
    __table_args__ = (
        UniqueConstraint("bank_id", "version"),
        enum_check("date_style", DateStyle),
        enum_check("amount_style", AmountStyle),
    )

    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    bank_id: Mapped[UUID] = mapped_column(ForeignKey("banks.id"))
    version: Mapped[str] = mapped_column(Key(32))
    columns: Mapped[dict[str, str]] = mapped_column(CanonicalJson)
    encoding: Mapped[str] = mapped_column(Key(16))
    date_style: Mapped[DateStyle] = mapped_column(Choice(DateStyle))
    amount_style: Mapped[AmountStyle] = mapped_column(Choice(AmountStyle))
    separator: Mapped[str] = mapped_column(Key(1))


class PaymentChannelRow(Base):
    """A way to pay the bank directly that a pair may show at the door; never one of ours."""

    __tablename__ = "payment_channels"

    bank_id: Mapped[UUID] = mapped_column(ForeignKey("banks.id"), primary_key=True)
    kind: Mapped[str] = mapped_column(Key(32), primary_key=True)
    text_zh: Mapped[str] = mapped_column(Text)
    text_en: Mapped[str] = mapped_column(Text)
