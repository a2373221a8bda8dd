"""Rows of custody: legal holds, destructions, productions of originals.

What a decision says never changes; only its end (lifted, decided, done, produced) is filled in, once, by trigger.
"""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Boolean, CheckConstraint, ForeignKey, Index, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from backend.archive.model import DestructionGround, HoldGround
from backend.db.base import Base, CanonicalJson, Choice, Instant, Key, SealedBytes, SealedValue, Uuid, enum_check


class LegalHoldRow(Base):
    """While one of a case's holds is in force, nothing of the case is destroyed, whatever its term."""

    __tablename__ = "legal_holds"
    __table_args__ = (
        Index(None, "case_id"),
        enum_check("ground", HoldGround),
        CheckConstraint(
            "(lifted_at IS NULL) = (lifted_by IS NULL) AND (lifted_at IS NULL) = (lift_reason IS NULL) "
            "AND (lifted_at IS NULL) = (lift_entry_id IS NULL)", name="lifted_by_someone_for_a_reason"),
        CheckConstraint("lifted_at >= set_at", name="lifted_after_set"),
    )

    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    case_id: Mapped[UUID] = mapped_column(Uuid, ForeignKey("cases.id"))
    ground: Mapped[HoldGround] = mapped_column(Choice(HoldGround))
    reason: Mapped[SealedValue] = mapped_column(SealedBytes)
    set_by: Mapped[UUID] = mapped_column(Uuid, ForeignKey("staff.id"))
    set_at: Mapped[datetime] = mapped_column(Instant)
    log_entry_id: Mapped[UUID] = mapped_column(Uuid, ForeignKey("log_entries.id"))
    lift_reason: Mapped[SealedValue | None] = mapped_column(SealedBytes)
    lifted_by: Mapped[UUID | None] = mapped_column(Uuid, ForeignKey("staff.id"))
    lifted_at: Mapped[datetime | None] = mapped_column(Instant)
    lift_entry_id: Mapped[UUID | None] = mapped_column(Uuid, ForeignKey("log_entries.id"))


class DestructionRow(Base):
    """The end of a case's evidence: proposed by one, decided by another, then done and certified."""

    __tablename__ = "destructions"
    __table_args__ = (
        Index(None, "case_id"),
        enum_check("ground", DestructionGround),
        CheckConstraint("decided_by <> proposed_by", name="two_people"),
        CheckConstraint("(decided_by IS NULL) = (decided_at IS NULL) AND (decided_by IS NULL) = (is_approved IS NULL)", name="decided_by_someone"),
        CheckConstraint("done_at IS NULL OR (is_approved AND certificate IS NOT NULL AND log_entry_id IS NOT NULL)", name="done_is_certified"),
    )

    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    case_id: Mapped[UUID] = mapped_column(Uuid, ForeignKey("cases.id"))
    ground: Mapped[DestructionGround] = mapped_column(Choice(DestructionGround))
    proposed_by: Mapped[UUID] = mapped_column(Uuid, ForeignKey("staff.id"))
    proposed_at: Mapped[datetime] = mapped_column(Instant)
    decided_by: Mapped[UUID | None] = mapped_column(Uuid, ForeignKey("staff.id"))
    decided_at: Mapped[datetime | None] = mapped_column(Instant)
    is_approved: Mapped[bool | None] = mapped_column(Boolean)
    done_at: Mapped[datetime | None] = mapped_column(Instant)
    certificate: Mapped[Any | None] = mapped_column(CanonicalJson)
    log_entry_id: Mapped[UUID | None] = mapped_column(Uuid, ForeignKey("log_entries.id"))


class ProductionRow(Base):
    """Originals asked for by a bank's liaison, approved by two others, handed over sealed: an entry of the register (EVD-08, ARCH-11)."""

    __tablename__ = "productions"
    __table_args__ = (
        UniqueConstraint("register_number"),
        Index(None, "case_id"),
        Index(None, "bank_id", "id"),
        CheckConstraint("first_by <> requested_by AND second_by <> requested_by AND second_by <> first_by", name="three_people"),
        CheckConstraint("(first_by IS NULL) = (first_at IS NULL) AND (second_by IS NULL) = (second_at IS NULL)", name="approved_by_someone"),
        CheckConstraint("second_by IS NULL OR first_by IS NOT NULL", name="first_comes_first"),
        CheckConstraint("(refused_by IS NULL) = (refused_at IS NULL)", name="refused_by_someone"),
        CheckConstraint("(pack_id IS NULL) = (produced_at IS NULL)", name="produced_at_some_time"),
        CheckConstraint("pack_id IS NULL OR (second_by IS NOT NULL AND refused_by IS NULL)", name="twice_approved"),
    )

    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    case_id: Mapped[UUID] = mapped_column(Uuid, ForeignKey("cases.id"))
    bank_id: Mapped[UUID] = mapped_column(Uuid, ForeignKey("banks.id"))
    items: Mapped[Any] = mapped_column(CanonicalJson)
    recipient: Mapped[SealedValue] = mapped_column(SealedBytes)
    recipient_jwk: Mapped[Any] = mapped_column(CanonicalJson)
    purpose: Mapped[str] = mapped_column(Key(32))
    reason: Mapped[SealedValue] = mapped_column(SealedBytes)
    requested_by: Mapped[UUID] = mapped_column(Uuid, ForeignKey("staff.id"))
    requested_at: Mapped[datetime] = mapped_column(Instant)
    first_by: Mapped[UUID | None] = mapped_column(Uuid, ForeignKey("staff.id"))
    first_at: Mapped[datetime | None] = mapped_column(Instant)
    second_by: Mapped[UUID | None] = mapped_column(Uuid, ForeignKey("staff.id"))
    second_at: Mapped[datetime | None] = mapped_column(Instant)
    refused_by: Mapped[UUID | None] = mapped_column(Uuid, ForeignKey("staff.id"))
    refused_at: Mapped[datetime | None] = mapped_column(Instant)
    pack_id: Mapped[UUID | None] = mapped_column(Uuid, ForeignKey("packs.id"))
    produced_at: Mapped[datetime | None] = mapped_column(Instant)
    register_number: Mapped[str] = mapped_column(Key(64))
    log_entry_id: Mapped[UUID] = mapped_column(Uuid, ForeignKey("log_entries.id"))
