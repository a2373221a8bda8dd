"""Rows around money in the field: who held and counted a receipt book, what was paid before the pair's eyes, and what is said of the pair."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Index, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from backend.cash.claim_model import ClaimStatus
from backend.cash.hint_model import HintFinding, HintSource
from backend.db.base import Base, CanonicalJson, Choice, Instant, Key, Money, Uuid, enum_check


class BookTakingRow(Base):
    """The collector's own yes to a book that was signed out to them, append-only."""

    __tablename__ = "receipt_book_takings"

    book_id: Mapped[UUID] = mapped_column(ForeignKey("receipt_books.id"), primary_key=True)
    taken_by: Mapped[UUID] = mapped_column(ForeignKey("staff.id"))
    taken_at: Mapped[datetime] = mapped_column(Instant)
    is_seal_whole: Mapped[bool]


class BookCountRow(Base):
    """What the cashier held in hand when a book came back, append-only: unused sheets, parts of void ones, what was not there."""

    __tablename__ = "receipt_book_counts"

    book_id: Mapped[UUID] = mapped_column(ForeignKey("receipt_books.id"), primary_key=True)
    counted_by: Mapped[UUID] = mapped_column(ForeignKey("staff.id"))
    counted_at: Mapped[datetime] = mapped_column(Instant)
    unused: Mapped[list[str]] = mapped_column(CanonicalJson)
    void_parts: Mapped[list[str]] = mapped_column(CanonicalJson)
    missing: Mapped[list[str]] = mapped_column(CanonicalJson)


class DirectPaymentRow(Base):
    """A payment to the bank that the pair saw and nobody of ours touched: a claim until the bank's file settles it (F10)."""

    __tablename__ = "direct_payments"
    __table_args__ = (
        UniqueConstraint("visit_id", "paid_at", "amount_fen"),
        UniqueConstraint("case_id", "reference"),  # A bank may settle several of a person's cases with one payment.
        enum_check("status", ClaimStatus),
        CheckConstraint("amount_fen > 0", name="amount_positive"),
        CheckConstraint("confirmed_fen > 0", name="confirmed_positive"),
        CheckConstraint("(status = 'claimed') = (settled_at IS NULL)", name="settled_has_time"),
        CheckConstraint("(status = 'confirmed') = (reference IS NOT NULL AND confirmed_fen IS NOT NULL)", name="confirmed_by_the_bank"),
        Index(None, "bank_id", "id"),
        Index(None, "case_id", "status"),
    )

    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    case_id: Mapped[UUID] = mapped_column(ForeignKey("cases.id"))
    visit_id: Mapped[UUID] = mapped_column(ForeignKey("visits.id"))
    bank_id: Mapped[UUID] = mapped_column(ForeignKey("banks.id"))
    branch_id: Mapped[UUID] = mapped_column(ForeignKey("branches.id"))
    amount_fen: Mapped[int] = mapped_column(Money)
    channel: Mapped[str] = mapped_column(Key(64))
    paid_at: Mapped[datetime] = mapped_column(Instant)
    witnessed_by: Mapped[UUID] = mapped_column(ForeignKey("staff.id"))
    witnessed_at: Mapped[datetime] = mapped_column(Instant)
    due_at: Mapped[datetime] = mapped_column(Instant)
    status: Mapped[ClaimStatus] = mapped_column(Choice(ClaimStatus))
    settled_at: Mapped[datetime | None] = mapped_column(Instant)
    reference: Mapped[str | None] = mapped_column(Key(64))
    confirmed_fen: Mapped[int | None] = mapped_column(Money)


class CashHintRow(Base):
    """Somebody said that a debtor transferred money to one of ours: both of the pair take no cash until agency and bank have looked into it."""

    __tablename__ = "cash_hints"
    __table_args__ = (
        enum_check("source", HintSource),
        enum_check("agency_finding", HintFinding),
        enum_check("bank_finding", HintFinding),
        CheckConstraint("collector_id <> cosigner_id", name="two_people"),
        CheckConstraint("told_by <> agency_resolved_by AND told_by <> bank_resolved_by", name="told_by_another"),
        CheckConstraint(
            "(agency_resolved_at IS NULL) = (agency_resolved_by IS NULL) AND (agency_resolved_at IS NULL) = (agency_finding IS NULL)",
            name="agency_whole"),
        CheckConstraint(
            "(bank_resolved_at IS NULL) = (bank_resolved_by IS NULL) AND (bank_resolved_at IS NULL) = (bank_finding IS NULL)", name="bank_whole"),
        Index(None, "collector_id"),
        Index(None, "cosigner_id"),
        Index(None, "bank_id", "id"),
    )

    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    case_id: Mapped[UUID] = mapped_column(ForeignKey("cases.id"))
    visit_id: Mapped[UUID] = mapped_column(ForeignKey("visits.id"))
    bank_id: Mapped[UUID] = mapped_column(ForeignKey("banks.id"))
    branch_id: Mapped[UUID] = mapped_column(ForeignKey("branches.id"))
    collector_id: Mapped[UUID] = mapped_column(ForeignKey("staff.id"))
    cosigner_id: Mapped[UUID] = mapped_column(ForeignKey("staff.id"))
    source: Mapped[HintSource] = mapped_column(Choice(HintSource))
    subject_id: Mapped[UUID | None] = mapped_column(Uuid)
    told_by: Mapped[UUID] = mapped_column(ForeignKey("staff.id"))
    told_at: Mapped[datetime] = mapped_column(Instant)
    agency_finding: Mapped[HintFinding | None] = mapped_column(Choice(HintFinding))
    agency_resolved_at: Mapped[datetime | None] = mapped_column(Instant)
    agency_resolved_by: Mapped[UUID | None] = mapped_column(ForeignKey("staff.id"))
    bank_finding: Mapped[HintFinding | None] = mapped_column(Choice(HintFinding))
    bank_resolved_at: Mapped[datetime | None] = mapped_column(Instant)
    bank_resolved_by: Mapped[UUID | None] = mapped_column(ForeignKey("staff.id"))
