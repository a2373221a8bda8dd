"""Rows of recordings that were brought in from registered recorders and body cameras."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Index, LargeBinary, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from backend.db.base import Base, CanonicalJson, Choice, Instant, Key, Uuid, enum_check
from backend.exhibits.recording_model import ClockProof
from evidence.manifest import Role


class RecordingRow(Base):
    """One file off a recorder, bound to one visit of one bank (F06, F22). Only what its examination finds is added, once.

    `told_started_at` is the recorder's own clock. `clock_offset_ms` is what must be added to it. Its bytes lie in the store as an
    item's do; statements of the pair that name the digest share them. Its clock is proven by a mark that `clock_device`, a phone of
    the visit's pair, signed and showed at `clock_shown_at`; a trigger holds that it is theirs.
    """

    __tablename__ = "recordings"
    __table_args__ = (
        UniqueConstraint("sha256"),
        enum_check("role", Role),
        enum_check("clock_proof", ClockProof),
        CheckConstraint("size > 0", name="size_positive"),
        CheckConstraint("(examination IS NULL) = (examined_at IS NULL) AND (examined_at IS NULL) = (clock_proof IS NULL)", name="examined_whole"),
        CheckConstraint("clock_proof IS NULL OR (clock_proof = 'none') = (clock_offset_ms IS NULL)", name="offset_is_proven"),
        CheckConstraint("pair_a <> pair_b AND (pair_a IS NULL) = (pair_b IS NULL)", name="two_people"),
        CheckConstraint("(clock_device IS NULL) = (clock_shown_at IS NULL)", name="shown_by_a_device"),
        Index(None, "visit_id"),
        Index(None, "case_id"),
        Index(None, "equipment_id", "told_started_at"),
        Index(None, "examined_at"),
    )

    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    equipment_id: Mapped[UUID] = mapped_column(Uuid, ForeignKey("equipment.id"))
    visit_id: Mapped[UUID] = mapped_column(Uuid)
    case_id: Mapped[UUID] = mapped_column(Uuid, ForeignKey("cases.id"))
    bank_id: Mapped[UUID] = mapped_column(Uuid, ForeignKey("banks.id"))
    branch_id: Mapped[UUID] = mapped_column(Uuid, ForeignKey("branches.id"))
    imported_by: Mapped[UUID] = mapped_column(Uuid, ForeignKey("staff.id"))
    imported_at: Mapped[datetime] = mapped_column(Instant)
    sha256: Mapped[str] = mapped_column(Key(64))
    size: Mapped[int] = mapped_column(BigInteger)
    media_type: Mapped[str] = mapped_column(Key(64))
    role: Mapped[Role] = mapped_column(Choice(Role))
    told_started_at: Mapped[datetime] = mapped_column(Instant)
    blob_key: Mapped[str] = mapped_column(Key(200))
    wrapped_key: Mapped[bytes | None] = mapped_column(LargeBinary)
    statement: Mapped[str] = mapped_column(Text)
    log_entry_id: Mapped[UUID] = mapped_column(Uuid, ForeignKey("log_entries.id"))
    examination: Mapped[Any | None] = mapped_column(CanonicalJson)
    examined_at: Mapped[datetime | None] = mapped_column(Instant)
    clock_proof: Mapped[ClockProof | None] = mapped_column(Choice(ClockProof))
    clock_offset_ms: Mapped[int | None] = mapped_column(BigInteger)
    pair_a: Mapped[UUID | None] = mapped_column(Uuid, ForeignKey("staff.id"))
    pair_b: Mapped[UUID | None] = mapped_column(Uuid, ForeignKey("staff.id"))
    clock_device: Mapped[str | None] = mapped_column(Key(43), ForeignKey("devices.kid"))
    clock_shown_at: Mapped[datetime | None] = mapped_column(Instant)
