"""Rows of what a bank did after it ruled fraud (DECL-05, DECL-09)."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from backend.db.base import Base, Choice, Instant, Key, SealedBytes, SealedValue, Uuid, enum_check
from backend.disputes.follow_up_model import FollowUpAct

_IS_REQUEST = text("act = 'deletion_requested'")
_IS_ANSWER = text("act IN ('deletion_confirmed', 'deletion_refused')")


class FollowUpRow(Base):
    """One act under one ruling. Appended, never changed; one request and one answer per attempt, whoever races."""

    __tablename__ = "fraud_follow_ups"
    __table_args__ = (
        enum_check("act", FollowUpAct),
        CheckConstraint("(act IN ('police_reported', 'department_reported')) = (attempt = 0) AND attempt >= 0", name="attempts_counted"),
        CheckConstraint("(act = 'deletion_refused') = (reason IS NOT NULL)", name="refused_for_a_reason"),
        CheckConstraint("item_key IS NULL OR act = 'police_reported'", name="slip_of_police"),
        CheckConstraint("occurred_at <= recorded_at", name="told_after"),
        Index("uq_fraud_follow_ups_request", "case_id", "attempt", unique=True, sqlite_where=_IS_REQUEST, postgresql_where=_IS_REQUEST),
        Index("uq_fraud_follow_ups_answer", "case_id", "attempt", unique=True, sqlite_where=_IS_ANSWER, postgresql_where=_IS_ANSWER),
        Index("uq_fraud_follow_ups_reference", "case_id", "act", "attempt", "reference", unique=True),
        Index(None, "bank_id", "id"),
        Index(None, "case_id", "id"),
        Index(None, "dispute_id"),
    )

    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    dispute_id: Mapped[UUID] = mapped_column(ForeignKey("disputes.id"))
    case_id: Mapped[UUID] = mapped_column(ForeignKey("cases.id"))
    bank_id: Mapped[UUID] = mapped_column(ForeignKey("banks.id"))
    branch_id: Mapped[UUID] = mapped_column(ForeignKey("branches.id"))
    act: Mapped[FollowUpAct] = mapped_column(Choice(FollowUpAct))
    attempt: Mapped[int]
    occurred_at: Mapped[datetime] = mapped_column(Instant)
    reference: Mapped[str] = mapped_column(Key(64))
    reason: Mapped[SealedValue | None] = mapped_column(SealedBytes)
    item_key: Mapped[UUID | None] = mapped_column(ForeignKey("items.id"))
    recorded_by: Mapped[UUID] = mapped_column(ForeignKey("staff.id"))
    recorded_at: Mapped[datetime] = mapped_column(Instant)
    log_entry_id: Mapped[UUID] = mapped_column(ForeignKey("log_entries.id"))
