"""Rows of the daily close of a branch: who closed which day, and each custody from its last close to this one."""

from datetime import date, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, Date, ForeignKey, Index, Integer, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from backend.db.base import Base, CanonicalJson, Instant, Key, Money, Uuid


class BranchCloseRow(Base):
    """One closed day of one branch, append-only. `content` names the differences and the sums by bank, pair and book."""

    __tablename__ = "branch_closes"
    __table_args__ = (
        UniqueConstraint("branch_id", "on"),
        CheckConstraint("receipt_count >= 0 AND receipted_fen >= 0 AND difference_count >= 0", name="counts_positive"),
        Index(None, "branch_id", "id"),
    )

    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    branch_id: Mapped[UUID] = mapped_column(ForeignKey("branches.id"))
    on: Mapped[date] = mapped_column(Date)
    closed_by: Mapped[UUID] = mapped_column(ForeignKey("staff.id"))
    closed_at: Mapped[datetime] = mapped_column(Instant)
    receipt_count: Mapped[int] = mapped_column(Integer)
    receipted_fen: Mapped[int] = mapped_column(Money)
    opening_fen: Mapped[int] = mapped_column(Money)
    closing_fen: Mapped[int] = mapped_column(Money)
    difference_count: Mapped[int] = mapped_column(Integer)
    content: Mapped[Any] = mapped_column(CanonicalJson)
    content_sha256: Mapped[str] = mapped_column(Key(64))
    log_entry_id: Mapped[UUID] = mapped_column(ForeignKey("log_entries.id"))


class BranchCloseLineRow(Base):
    """One custody in one close: the postings from `ordinal_from` to `ordinal_to` are its day, whenever they happened. Append-only."""

    __tablename__ = "branch_close_lines"
    __table_args__ = (
        CheckConstraint(
            "closing_fen = opening_fen + collected_fen + handed_in_fen - handed_out_fen - deposited_fen - short_fen + corrected_fen",
            name="day_adds_up",
        ),
        CheckConstraint("ordinal_from >= 1 AND ordinal_to >= ordinal_from - 1", name="ordinals_in_order"),
        Index(None, "account_id", "ordinal_to"),
    )

    close_id: Mapped[UUID] = mapped_column(ForeignKey("branch_closes.id"), primary_key=True)
    account_id: Mapped[UUID] = mapped_column(ForeignKey("accounts.id"), primary_key=True)
    ordinal_from: Mapped[int] = mapped_column(Integer)
    ordinal_to: Mapped[int] = mapped_column(Integer)
    opening_fen: Mapped[int] = mapped_column(Money)
    collected_fen: Mapped[int] = mapped_column(Money)
    handed_in_fen: Mapped[int] = mapped_column(Money)
    handed_out_fen: Mapped[int] = mapped_column(Money)
    deposited_fen: Mapped[int] = mapped_column(Money)
    short_fen: Mapped[int] = mapped_column(Money)
    corrected_fen: Mapped[int] = mapped_column(Money)
    closing_fen: Mapped[int] = mapped_column(Money)
