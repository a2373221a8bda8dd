"""Rows of the key slice: one key per case or person, wrapped under the master key. Shredding one erases what it sealed."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import CheckConstraint, LargeBinary
from sqlalchemy.orm import Mapped, mapped_column

from backend.db.base import Base, Instant, Key, Uuid


class CaseKeyRow(Base):
    """The sealing key of one subject (a case; for other sealed rows their own id). `wrapped` becomes NULL when it is destroyed."""

    __tablename__ = "case_keys"
    __table_args__ = (CheckConstraint("(wrapped IS NULL) = (destroyed_at IS NOT NULL)", name="destroyed_has_no_key"),)

    subject_id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    master_kid: Mapped[str] = mapped_column(Key(64))
    wrapped: Mapped[bytes | None] = mapped_column(LargeBinary)
    created_at: Mapped[datetime] = mapped_column(Instant)
    destroyed_at: Mapped[datetime | None] = mapped_column(Instant)
