"""Rows of placements and cases. Personal values are sealed under the case's key; searching goes through keyed digests beside them."""

from datetime import date, datetime
from uuid import UUID

from sqlalchemy import CheckConstraint, Date, ForeignKey, Index, Integer, LargeBinary, SmallInteger, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from backend.cases.layout import Acceptance, BatchOutcome
from backend.cases.model import (
    AddressKind,
    Bucket,
    CaseStatus,
    DebtorType,
    GenderRule,
    Risk,
    Signal,
    Source,
    SuspensionReason,
)
from backend.core.geo import Datum, LonLat
from backend.db.base import Base, Choice, Instant, Key, Money, SealedBytes, SealedValue, Uuid, enum_check
from backend.db.geo import Point

_IS_SUSPENDED = "(status IN ('investigation', 'suspended'))"


class PlacementBatchRow(Base):
    """One placement file as received: by whom, when, with which totals. A refused one left rejections and nothing else."""

    __tablename__ = "placement_batches"
    __table_args__ = (
        UniqueConstraint("bank_id", "file_sha256", "acceptance"),
        Index(
            "uq_placement_batches_number_imported", "bank_id", "number", unique=True,
            sqlite_where=text("outcome = 'imported'"), postgresql_where=text("outcome = 'imported'"),
        ),
        Index("ix_placement_batches_bank_id_id", "bank_id", "id"),
        enum_check("acceptance", Acceptance),
        enum_check("outcome", BatchOutcome),
        CheckConstraint("accepted_count + rejected_count = row_count AND accepted_count >= 0 AND rejected_count >= 0", name="rows_add_up"),
    )

    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    bank_id: Mapped[UUID] = mapped_column(ForeignKey("banks.id"))
    branch_id: Mapped[UUID] = mapped_column(ForeignKey("branches.id"))
    profile_id: Mapped[UUID] = mapped_column(ForeignKey("import_profiles.id"))
    number: Mapped[str] = mapped_column(Key(64))
    file_sha256: Mapped[str] = mapped_column(Key(64))
    encoding: Mapped[str] = mapped_column(Key(16))
    acceptance: Mapped[Acceptance] = mapped_column(Choice(Acceptance))
    outcome: Mapped[BatchOutcome] = mapped_column(Choice(BatchOutcome))
    as_of_on: Mapped[date] = mapped_column(Date)
    received_by: Mapped[UUID] = mapped_column(ForeignKey("staff.id"))
    received_at: Mapped[datetime] = mapped_column(Instant)
    row_count: Mapped[int] = mapped_column(Integer)
    accepted_count: Mapped[int] = mapped_column(Integer)
    rejected_count: Mapped[int] = mapped_column(Integer)
    amount_total_fen: Mapped[int] = mapped_column(Money)
    accepted_fen: Mapped[int] = mapped_column(Money)


class BatchRejectionRow(Base):
    """One reason against one row of a file. Append-only; `got` is masked."""

    __tablename__ = "batch_rejections"

    batch_id: Mapped[UUID] = mapped_column(ForeignKey("placement_batches.id"), primary_key=True)
    position: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    row_number: Mapped[int] = mapped_column(Integer)
    column_name: Mapped[str] = mapped_column(Key(32))
    code: Mapped[str] = mapped_column(Key(32))
    expected: Mapped[str] = mapped_column(Key(200))
    got: Mapped[str] = mapped_column(Key(80))


class CaseRow(Base):
    """One debt of one person to one bank.

    `debtor_hmac` is the keyed digest of the identity number: the same person at two banks has the same one, and nobody learns more.
    Each of the five confirmations is a source and a day, both or neither (CONT-02).
    """

    __tablename__ = "cases"
    __table_args__ = (
        UniqueConstraint("bank_id", "bank_reference"),
        Index("ix_cases_branch_id_id", "branch_id", "id"),
        Index("ix_cases_bank_id_id", "bank_id", "id"),
        Index("ix_cases_debtor_hmac", "debtor_hmac"),
        Index("ix_cases_batch_id", "batch_id"),
        Index("ix_cases_assignee_id", "assignee_id"),
        enum_check("status", CaseStatus),
        enum_check("bucket", Bucket),
        enum_check("risk", Risk),
        enum_check("debtor_type", DebtorType),
        enum_check("gender_rule", GenderRule),
        enum_check("suspension_reason", SuspensionReason),
        CheckConstraint("amount_fen > 0 AND (principal_fen IS NULL OR principal_fen > 0)", name="amounts_positive"),
        CheckConstraint("days_past_due >= 0", name="days_past_due_not_negative"),
        CheckConstraint("priority BETWEEN 1 AND 5", name="priority_level"),
        CheckConstraint(f"{_IS_SUSPENDED} = (suspended_at IS NOT NULL AND resumes_to IS NOT NULL)", name="suspension_is_dated"),
        CheckConstraint("(suspended_at IS NULL) = (suspension_reason IS NULL)", name="suspension_has_reason"),
        *(
            CheckConstraint(f"(confirmed_{field}_source IS NULL) = (confirmed_{field}_on IS NULL)", name=f"confirmed_{field}_complete")
            for field in ("card", "amount", "age", "identity", "occupation")
        ),
    )

    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    bank_id: Mapped[UUID] = mapped_column(ForeignKey("banks.id"))
    branch_id: Mapped[UUID] = mapped_column(ForeignKey("branches.id"))
    batch_id: Mapped[UUID] = mapped_column(ForeignKey("placement_batches.id"))
    row_number: Mapped[int] = mapped_column(Integer)
    bank_reference: Mapped[str] = mapped_column(Key(64))
    status: Mapped[CaseStatus] = mapped_column(Choice(CaseStatus))
    resumes_to: Mapped[CaseStatus | None] = mapped_column(Choice(CaseStatus))
    assignee_id: Mapped[UUID | None] = mapped_column(ForeignKey("staff.id"))

    amount_fen: Mapped[int] = mapped_column(Money)
    amount_as_of_on: Mapped[date] = mapped_column(Date)
    principal_fen: Mapped[int | None] = mapped_column(Money)
    days_past_due: Mapped[int] = mapped_column(Integer)
    bucket: Mapped[Bucket] = mapped_column(Choice(Bucket))
    risk: Mapped[Risk] = mapped_column(Choice(Risk))
    score: Mapped[int] = mapped_column(Integer)
    priority: Mapped[int] = mapped_column(SmallInteger)
    is_urgent: Mapped[bool] = mapped_column(default=False)
    grade: Mapped[str | None] = mapped_column(Key(8))
    debtor_type: Mapped[DebtorType | None] = mapped_column(Choice(DebtorType))
    gender_rule: Mapped[GenderRule] = mapped_column(Choice(GenderRule))
    language: Mapped[str] = mapped_column(Key(16))

    debtor_hmac: Mapped[bytes] = mapped_column(LargeBinary)
    name: Mapped[SealedValue] = mapped_column(SealedBytes)
    id_number: Mapped[SealedValue] = mapped_column(SealedBytes)
    id_last4_hmac: Mapped[bytes] = mapped_column(LargeBinary)
    birth_on: Mapped[SealedValue] = mapped_column(SealedBytes)
    card_number: Mapped[SealedValue] = mapped_column(SealedBytes)
    phone: Mapped[SealedValue | None] = mapped_column(SealedBytes)
    occupation: Mapped[SealedValue | None] = mapped_column(SealedBytes)

    confirmed_card_source: Mapped[Source | None] = mapped_column(Choice(Source))
    confirmed_card_on: Mapped[date | None] = mapped_column(Date)
    confirmed_amount_source: Mapped[Source | None] = mapped_column(Choice(Source))
    confirmed_amount_on: Mapped[date | None] = mapped_column(Date)
    confirmed_age_source: Mapped[Source | None] = mapped_column(Choice(Source))
    confirmed_age_on: Mapped[date | None] = mapped_column(Date)
    confirmed_identity_source: Mapped[Source | None] = mapped_column(Choice(Source))
    confirmed_identity_on: Mapped[date | None] = mapped_column(Date)
    confirmed_occupation_source: Mapped[Source | None] = mapped_column(Choice(Source))
    confirmed_occupation_on: Mapped[date | None] = mapped_column(Date)

    term_ends_on: Mapped[date] = mapped_column(Date)
    suspended_at: Mapped[datetime | None] = mapped_column(Instant)
    suspension_reason: Mapped[SuspensionReason | None] = mapped_column(Choice(SuspensionReason))
    vulnerable_at: Mapped[datetime | None] = mapped_column(Instant)
    complaint_at: Mapped[datetime | None] = mapped_column(Instant)
    hold_at: Mapped[datetime | None] = mapped_column(Instant)
    recalled_at: Mapped[datetime | None] = mapped_column(Instant)
    paid_at: Mapped[datetime | None] = mapped_column(Instant)
    payment_claimed_at: Mapped[datetime | None] = mapped_column(Instant)
    deceased_at: Mapped[datetime | None] = mapped_column(Instant)


class CaseAddressRow(Base):
    """One address of a debtor with its source; a change is a new row, and replaced addresses are not routed (CASE-34)."""

    __tablename__ = "case_addresses"
    __table_args__ = (
        Index("ix_case_addresses_case_id", "case_id"),
        Index("ix_case_addresses_point", "point", postgresql_using="gist"),
        enum_check("kind", AddressKind),
        enum_check("source", Source),
        enum_check("datum_given", Datum),
        CheckConstraint("(point IS NULL) = (datum_given IS NULL)", name="point_names_datum"),
        CheckConstraint("confidence_pct BETWEEN 0 AND 100", name="confidence_in_range"),
    )

    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    case_id: Mapped[UUID] = mapped_column(ForeignKey("cases.id"))
    kind: Mapped[AddressKind] = mapped_column(Choice(AddressKind))
    street: Mapped[SealedValue] = mapped_column(SealedBytes)
    division_code: Mapped[str | None] = mapped_column(Key(12))
    timezone: Mapped[str] = mapped_column(Key(64))
    point: Mapped[LonLat | None] = mapped_column(Point)
    datum_given: Mapped[Datum | None] = mapped_column(Choice(Datum))
    confidence_pct: Mapped[int] = mapped_column(SmallInteger)
    source: Mapped[Source] = mapped_column(Choice(Source))
    is_current: Mapped[bool] = mapped_column(default=True)
    safety_note: Mapped[SealedValue | None] = mapped_column(SealedBytes)
    recorded_by: Mapped[UUID] = mapped_column(ForeignKey("staff.id"))
    recorded_at: Mapped[datetime] = mapped_column(Instant)


class CaseSearchRow(Base):
    """A keyed digest under which a case is found: by number, by whole name, by each pair of characters of the name."""

    __tablename__ = "case_search"
    __table_args__ = (Index("ix_case_search_field_hmac", "field", "hmac"),)

    case_id: Mapped[UUID] = mapped_column(ForeignKey("cases.id"), primary_key=True)
    field: Mapped[str] = mapped_column(Key(16), primary_key=True)
    hmac: Mapped[bytes] = mapped_column(LargeBinary, primary_key=True)


class CaseDecisionRow(Base):
    """One step of a case: who decided it, when and why (REQ-08). Append-only."""

    __tablename__ = "case_decisions"
    __table_args__ = (Index("ix_case_decisions_case_id_id", "case_id", "id"),)

    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    case_id: Mapped[UUID] = mapped_column(ForeignKey("cases.id"))
    at: Mapped[datetime] = mapped_column(Instant)
    by: Mapped[UUID] = mapped_column(ForeignKey("staff.id"))
    event: Mapped[str] = mapped_column(Key(32))
    from_status: Mapped[CaseStatus] = mapped_column(Choice(CaseStatus))
    to_status: Mapped[CaseStatus] = mapped_column(Choice(CaseStatus))
    reason: Mapped[SealedValue | None] = mapped_column(SealedBytes)


class AllocationRow(Base):
    """Who was given a case, by whom and when (CASE-03). Append-only; the newest counts."""

    __tablename__ = "case_allocations"
    __table_args__ = (Index("ix_case_allocations_case_id_id", "case_id", "id"), Index("ix_case_allocations_assignee_id", "assignee_id"))

    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    case_id: Mapped[UUID] = mapped_column(ForeignKey("cases.id"))
    assignee_id: Mapped[UUID] = mapped_column(ForeignKey("staff.id"))
    allocated_by: Mapped[UUID] = mapped_column(ForeignKey("staff.id"))
    allocated_at: Mapped[datetime] = mapped_column(Instant)


class SignalTaskRow(Base):
    """A warning sign and the special handling it opened (CASE-28)."""

    __tablename__ = "case_signals"
    __table_args__ = (UniqueConstraint("case_id", "signal"), enum_check("signal", Signal))

    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    case_id: Mapped[UUID] = mapped_column(ForeignKey("cases.id"))
    signal: Mapped[Signal] = mapped_column(Choice(Signal))
    opened_at: Mapped[datetime] = mapped_column(Instant)
    handled_by: Mapped[UUID | None] = mapped_column(ForeignKey("staff.id"))
    handled_at: Mapped[datetime | None] = mapped_column(Instant)


class VulnerabilityReleaseRow(Base):
    """The time, manner and precautions that a supervisor recorded for a vulnerable debtor (VIS-11). Append-only."""

    __tablename__ = "vulnerability_releases"
    __table_args__ = (CheckConstraint("from_at < to_at", name="time_not_empty"), Index("ix_vulnerability_releases_case_id", "case_id"))

    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    case_id: Mapped[UUID] = mapped_column(ForeignKey("cases.id"))
    from_at: Mapped[datetime] = mapped_column(Instant)
    to_at: Mapped[datetime] = mapped_column(Instant)
    manner: Mapped[SealedValue] = mapped_column(SealedBytes)
    precautions: Mapped[SealedValue] = mapped_column(SealedBytes)
    released_by: Mapped[UUID] = mapped_column(ForeignKey("staff.id"))
    released_at: Mapped[datetime] = mapped_column(Instant)


class RepaymentRow(Base):
    """Money that reached the bank, as the bank reports it. Append-only."""

    __tablename__ = "repayments"
    __table_args__ = (
        UniqueConstraint("case_id", "reference"),
        CheckConstraint("amount_fen > 0", name="amount_positive"),
        enum_check("source", Source),
    )

    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    case_id: Mapped[UUID] = mapped_column(ForeignKey("cases.id"))
    reference: Mapped[str] = mapped_column(Key(64))
    amount_fen: Mapped[int] = mapped_column(Money)
    paid_on: Mapped[date] = mapped_column(Date)
    source: Mapped[Source] = mapped_column(Choice(Source))
    recorded_by: Mapped[UUID] = mapped_column(ForeignKey("staff.id"))
    recorded_at: Mapped[datetime] = mapped_column(Instant)
