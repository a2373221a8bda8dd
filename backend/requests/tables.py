"""Rows of visit requests and their decisions."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Index, Integer, text
from sqlalchemy.orm import Mapped, mapped_column

from backend.db.base import Base, CanonicalJson, Instant, Key, Money, SealedBytes, SealedValue, Uuid, enum_check
from backend.db.base import Choice as ChoiceColumn
from backend.requests.model import Choice, RequestStatus, Verdict

_OPEN = text("status IN ('analysed', 'approved', 'draft', 'requested')")


class VisitRequestRow(Base):
    """One request for one visit to one case. A case has at most one open request."""

    __tablename__ = "visit_requests"
    __table_args__ = (
        Index("uq_visit_requests_case_id_open", "case_id", unique=True, sqlite_where=_OPEN, postgresql_where=_OPEN),
        Index("ix_visit_requests_case_id", "case_id"),
        Index("ix_visit_requests_status_id", "status", "id"),
        enum_check("status", RequestStatus),
        enum_check("verdict", Verdict),
        CheckConstraint("0 <= window_from_s AND window_from_s < window_to_s AND window_to_s <= 86400", name="window_in_day"),
        CheckConstraint("service_s BETWEEN 60 AND 14400", name="service_bounded"),
        CheckConstraint("cash_expected_fen >= 0", name="cash_not_negative"),
        CheckConstraint("status NOT IN ('analysed', 'approved', 'fulfilled', 'rejected') OR analysed_by IS NOT NULL", name="analysis_has_author"),
        CheckConstraint("status NOT IN ('approved', 'fulfilled') OR decided_by <> requested_by", name="not_self_approved"),
    )

    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    case_id: Mapped[UUID] = mapped_column(ForeignKey("cases.id"))
    contact_id: Mapped[UUID] = mapped_column(ForeignKey("contact_records.id"))
    address_id: Mapped[UUID] = mapped_column(ForeignKey("case_addresses.id"))
    status: Mapped[RequestStatus] = mapped_column(ChoiceColumn(RequestStatus))
    requested_by: Mapped[UUID] = mapped_column(ForeignKey("staff.id"))
    requested_at: Mapped[datetime] = mapped_column(Instant)
    reason: Mapped[SealedValue] = mapped_column(SealedBytes)
    analysed_by: Mapped[UUID | None] = mapped_column(ForeignKey("staff.id"))
    analysed_at: Mapped[datetime | None] = mapped_column(Instant)
    analysis: Mapped[SealedValue | None] = mapped_column(SealedBytes)
    verdict: Mapped[Verdict | None] = mapped_column(ChoiceColumn(Verdict))
    decided_by: Mapped[UUID | None] = mapped_column(ForeignKey("staff.id"))
    decided_at: Mapped[datetime | None] = mapped_column(Instant)
    decision_reason: Mapped[SealedValue | None] = mapped_column(SealedBytes)
    effective_from: Mapped[datetime | None] = mapped_column(Instant)
    window_from_s: Mapped[int] = mapped_column(Integer)
    window_to_s: Mapped[int] = mapped_column(Integer)
    is_mandatory: Mapped[bool] = mapped_column()
    required_certificate: Mapped[str | None] = mapped_column(Key(64))
    required_language: Mapped[str | None] = mapped_column(Key(16))
    service_s: Mapped[int] = mapped_column(Integer)
    cash_expected_fen: Mapped[int] = mapped_column(Money)
    excluded_staff: Mapped[list[Any]] = mapped_column(CanonicalJson)
    policy_version: Mapped[str] = mapped_column(Key(64))


class RequestDecisionRow(Base):
    """One decision on one request, alone or in a batch of green ones: who, when, why (REQ-03, F04). Append-only."""

    __tablename__ = "request_decisions"
    __table_args__ = (Index("ix_request_decisions_request_id", "request_id"), enum_check("choice", Choice))

    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    request_id: Mapped[UUID] = mapped_column(ForeignKey("visit_requests.id"))
    choice: Mapped[Choice] = mapped_column(ChoiceColumn(Choice))
    decided_by: Mapped[UUID] = mapped_column(ForeignKey("staff.id"))
    decided_at: Mapped[datetime] = mapped_column(Instant)
    reason: Mapped[SealedValue] = mapped_column(SealedBytes)
    batch_size: Mapped[int] = mapped_column(Integer)
    policy_version: Mapped[str] = mapped_column(Key(64))
