"""Rows around money in the field: who held and counted a receipt book, and what was paid to the bank before the pair's eyes."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Index, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from backend.cash.claim_model import ClaimStatus
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
        UniqueConstraint("bank_id", "reference"),
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
