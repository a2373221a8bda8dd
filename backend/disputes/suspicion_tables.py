"""Rows of suspicions of fraud (DECL-02)."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Index
from sqlalchemy.orm import Mapped, mapped_column

from backend.db.base import Base, Choice, Instant, Key, Uuid, enum_check
from backend.disputes.suspicion_model import SuspicionGround, SuspicionStatus


class SuspicionRow(Base):
    """One suspicion on one case. Verified, it is the report to the bank; the bank's acknowledgement proves that it arrived."""

    __tablename__ = "suspicions"
    __table_args__ = (
        enum_check("ground", SuspicionGround),
        enum_check("status", SuspicionStatus),
        CheckConstraint("(status = 'heard') = (decided_at IS NULL) AND (decided_at IS NULL) = (decided_by IS NULL)", name="decision_whole"),
        CheckConstraint("(status IN ('reported', 'acknowledged')) = (due_at IS NOT NULL)", name="report_has_term"),
        CheckConstraint("(due_at IS NULL) = (log_entry_id IS NULL)", name="report_is_logged"),
        CheckConstraint(
            "(status = 'acknowledged') = (acknowledged_at IS NOT NULL) AND (acknowledged_at IS NULL) = (acknowledged_by IS NULL) "
            "AND (acknowledged_at IS NULL) = (proof_entry_id IS NULL)", name="proof_whole"),
        Index(None, "case_id", "status"),
        Index(None, "bank_id", "id"),
        Index(None, "branch_id", "id"),
    )

    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    case_id: Mapped[UUID] = mapped_column(ForeignKey("cases.id"))
    bank_id: Mapped[UUID] = mapped_column(ForeignKey("banks.id"))
    branch_id: Mapped[UUID] = mapped_column(ForeignKey("branches.id"))
    ground: Mapped[SuspicionGround] = mapped_column(Choice(SuspicionGround))
    declaration_id: Mapped[UUID | None] = mapped_column(ForeignKey("declarations.id"))
    heard_by: Mapped[UUID] = mapped_column(ForeignKey("staff.id"))
    heard_at: Mapped[datetime] = mapped_column(Instant)
    status: Mapped[SuspicionStatus] = mapped_column(Choice(SuspicionStatus))
    decided_by: Mapped[UUID | None] = mapped_column(ForeignKey("staff.id"))
    decided_at: Mapped[datetime | None] = mapped_column(Instant)
    due_at: Mapped[datetime | None] = mapped_column(Instant)
    log_entry_id: Mapped[UUID | None] = mapped_column(ForeignKey("log_entries.id"))
    acknowledged_by: Mapped[UUID | None] = mapped_column(ForeignKey("staff.id"))
    acknowledged_at: Mapped[datetime | None] = mapped_column(Instant)
    proof_entry_id: Mapped[UUID | None] = mapped_column(ForeignKey("log_entries.id"))
    policy_version: Mapped[str] = mapped_column(Key(64))
