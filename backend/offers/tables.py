"""Rows of promises, proposals, ways of paying and notices. What may never change is held by triggers of the migration."""

from datetime import date, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, Date, ForeignKey, Index, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from backend.db.base import Base, CanonicalJson, Choice, Instant, Key, Money, Uuid, enum_check
from backend.offers.model import Concession, PromiseSource, PromiseStatus, ProposalStatus

_ANSWERED = "(status IN ('proposed', 'withdrawn')) = (decided_by IS NULL)"
_OFFERED = "status NOT IN ('offered', 'revoked', 'accepted', 'kept', 'broken') OR valid_to_on IS NOT NULL"
_ACCEPTED = "(status IN ('accepted', 'kept', 'broken')) = (accepted_at IS NOT NULL)"


class PromiseRow(Base):
    """One promise to pay, with amount and day, and what the repayment file made of it."""

    __tablename__ = "promises"
    __table_args__ = (
        UniqueConstraint("source_id"),
        enum_check("source", PromiseSource),
        enum_check("status", PromiseStatus),
        CheckConstraint("amount_fen > 0", name="amount_positive"),
        CheckConstraint("(status = 'open') = (judged_at IS NULL)", name="judged_has_time"),
        CheckConstraint("(followed_up_at IS NULL) = (followed_up_by IS NULL)", name="follow_up_whole"),
        Index(None, "case_id", "status"),
        Index(None, "bank_id", "status", "due_on"),
        Index(None, "branch_id", "id"),
    )

    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    case_id: Mapped[UUID] = mapped_column(ForeignKey("cases.id"))
    bank_id: Mapped[UUID] = mapped_column(ForeignKey("banks.id"))
    branch_id: Mapped[UUID] = mapped_column(ForeignKey("branches.id"))
    amount_fen: Mapped[int] = mapped_column(Money)
    due_on: Mapped[date] = mapped_column(Date)
    made_on: Mapped[date] = mapped_column(Date)
    source: Mapped[PromiseSource] = mapped_column(Choice(PromiseSource))
    source_id: Mapped[UUID] = mapped_column(Uuid)
    recorded_by: Mapped[UUID] = mapped_column(ForeignKey("staff.id"))
    recorded_at: Mapped[datetime] = mapped_column(Instant)
    status: Mapped[PromiseStatus] = mapped_column(Choice(PromiseStatus))
    judged_at: Mapped[datetime | None] = mapped_column(Instant)
    followed_up_at: Mapped[datetime | None] = mapped_column(Instant)
    followed_up_by: Mapped[UUID | None] = mapped_column(ForeignKey("staff.id"))


class ProposalRow(Base):
    """One concession on its way from a proposal to an offer of the bank. `terms` never change; a revised plan is another proposal."""

    __tablename__ = "proposals"
    __table_args__ = (
        enum_check("kind", Concession),
        enum_check("status", ProposalStatus),
        CheckConstraint("decided_by <> proposed_by", name="two_people"),
        CheckConstraint("(decided_by IS NULL) = (decided_at IS NULL)", name="decision_whole"),
        CheckConstraint(_ANSWERED, name="answered_by_somebody"),
        CheckConstraint(_OFFERED, name="offer_is_dated"),
        CheckConstraint(_ACCEPTED, name="acceptance_has_time"),
        Index(None, "case_id", "id"),
        Index(None, "bank_id", "id"),
        Index(None, "branch_id", "id"),
    )

    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    case_id: Mapped[UUID] = mapped_column(ForeignKey("cases.id"))
    bank_id: Mapped[UUID] = mapped_column(ForeignKey("banks.id"))
    branch_id: Mapped[UUID] = mapped_column(ForeignKey("branches.id"))
    kind: Mapped[Concession] = mapped_column(Choice(Concession))
    terms: Mapped[Any] = mapped_column(CanonicalJson)
    is_hardship: Mapped[bool]
    proposed_by: Mapped[UUID] = mapped_column(ForeignKey("staff.id"))
    proposed_at: Mapped[datetime] = mapped_column(Instant)
    status: Mapped[ProposalStatus] = mapped_column(Choice(ProposalStatus))
    decided_by: Mapped[UUID | None] = mapped_column(ForeignKey("staff.id"))
    decided_at: Mapped[datetime | None] = mapped_column(Instant)
    valid_to_on: Mapped[date | None] = mapped_column(Date)
    accepted_at: Mapped[datetime | None] = mapped_column(Instant)
    accepted_on: Mapped[date | None] = mapped_column(Date)


class RepaymentMethodRow(Base):
    """One way of paying that a bank has for its customers, an open list; offered only once the bank's own people said so (CASH-13)."""

    __tablename__ = "repayment_methods"
    __table_args__ = (
        CheckConstraint("(authorised_by IS NULL) = (authorised_at IS NULL)", name="authorisation_whole"),
        CheckConstraint("withdrawn_at IS NULL OR authorised_at IS NOT NULL", name="withdrawn_was_authorised"),
    )

    bank_id: Mapped[UUID] = mapped_column(ForeignKey("banks.id"), primary_key=True)
    code: Mapped[str] = mapped_column(Key(32), primary_key=True)
    text_zh: Mapped[str] = mapped_column(String(400))
    text_en: Mapped[str] = mapped_column(String(400))
    authorised_by: Mapped[UUID | None] = mapped_column(ForeignKey("staff.id"))
    authorised_at: Mapped[datetime | None] = mapped_column(Instant)
    withdrawn_at: Mapped[datetime | None] = mapped_column(Instant)


class PaymentNoticeRow(Base):
    """A posted repayment of which the customer is to be told (CASH-12)."""

    __tablename__ = "payment_notices"
    __table_args__ = (
        UniqueConstraint("repayment_id"),
        CheckConstraint("(told_at IS NULL) = (told_by IS NULL)", name="told_whole"),
        Index(None, "bank_id", "id"),
        Index(None, "branch_id", "id"),
        Index(None, "case_id"),
    )

    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    case_id: Mapped[UUID] = mapped_column(ForeignKey("cases.id"))
    bank_id: Mapped[UUID] = mapped_column(ForeignKey("banks.id"))
    branch_id: Mapped[UUID] = mapped_column(ForeignKey("branches.id"))
    repayment_id: Mapped[UUID] = mapped_column(ForeignKey("repayments.id"))
    raised_at: Mapped[datetime] = mapped_column(Instant)
    told_at: Mapped[datetime | None] = mapped_column(Instant)
    told_by: Mapped[UUID | None] = mapped_column(ForeignKey("staff.id"))
