"""Rows of policies. A policy never changes: another version takes its place from its first moment on."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ForeignKey, Index, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from backend.db.base import Base, CanonicalJson, Instant, Key, Uuid


class PolicyRow(Base):
    """One version of the thresholds, for one bank or (bank NULL) for all. Append-only."""

    __tablename__ = "policies"
    __table_args__ = (UniqueConstraint("version"), Index("ix_policies_bank_id_valid_from", "bank_id", "valid_from"))

    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    version: Mapped[str] = mapped_column(Key(64))
    bank_id: Mapped[UUID | None] = mapped_column(ForeignKey("banks.id"))
    valid_from: Mapped[datetime] = mapped_column(Instant)
    thresholds: Mapped[dict[str, Any]] = mapped_column(CanonicalJson)
    made_by: Mapped[UUID | None] = mapped_column(ForeignKey("staff.id"))
    made_at: Mapped[datetime] = mapped_column(Instant)
