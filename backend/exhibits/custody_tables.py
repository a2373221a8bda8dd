"""Rows of what is said of files and of packs: reviews, masks, the register of packs."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Index, LargeBinary
from sqlalchemy.orm import Mapped, mapped_column

from backend.db.base import Base, CanonicalJson, Choice, Instant, Key, SealedBytes, SealedValue, Uuid, enum_check
from backend.exhibits.custody_model import ItemVerdict, ScopeKind


class ItemReviewRow(Base):
    """What one reviewer says of one file; the newest verdict that is no mere comment counts. Append-only."""

    __tablename__ = "item_reviews"
    __table_args__ = (Index(None, "item_key"), enum_check("verdict", ItemVerdict))

    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    item_key: Mapped[UUID] = mapped_column(Uuid, ForeignKey("items.id"))
    reviewer_id: Mapped[UUID] = mapped_column(Uuid, ForeignKey("staff.id"))
    verdict: Mapped[ItemVerdict] = mapped_column(Choice(ItemVerdict))
    comment: Mapped[SealedValue] = mapped_column(SealedBytes)
    at: Mapped[datetime] = mapped_column(Instant)
    log_entry_id: Mapped[UUID] = mapped_column(Uuid, ForeignKey("log_entries.id"))


class ItemMaskRow(Base):
    """Regions of a picture that no copy shows; the newest row counts whole. The original is never touched. Append-only."""

    __tablename__ = "item_masks"
    __table_args__ = (Index(None, "item_key"),)

    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    item_key: Mapped[UUID] = mapped_column(Uuid, ForeignKey("items.id"))
    boxes: Mapped[Any] = mapped_column(CanonicalJson)
    reason: Mapped[str] = mapped_column(Key(32))
    set_by: Mapped[UUID] = mapped_column(Uuid, ForeignKey("staff.id"))
    at: Mapped[datetime] = mapped_column(Instant)
    log_entry_id: Mapped[UUID] = mapped_column(Uuid, ForeignKey("log_entries.id"))


class PackRow(Base):
    """One pack: of what, for whom, why, with which digest. Its bytes wait sealed in the store until `expires_at`, then its key goes."""

    __tablename__ = "packs"
    __table_args__ = (
        Index(None, "bank_id", "id"), Index(None, "expires_at"), enum_check("kind", ScopeKind), CheckConstraint("size > 0", name="size_positive"),
    )

    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    kind: Mapped[ScopeKind] = mapped_column(Choice(ScopeKind))
    scope: Mapped[Any] = mapped_column(CanonicalJson)
    cases: Mapped[Any] = mapped_column(CanonicalJson)
    bank_id: Mapped[UUID] = mapped_column(Uuid, ForeignKey("banks.id"))
    requested_by: Mapped[UUID] = mapped_column(Uuid, ForeignKey("staff.id"))
    at: Mapped[datetime] = mapped_column(Instant)
    purpose: Mapped[str] = mapped_column(Key(32))
    size: Mapped[int] = mapped_column(BigInteger)
    sha256: Mapped[str] = mapped_column(Key(64))
    log_size: Mapped[int] = mapped_column(BigInteger)
    log_entry_id: Mapped[UUID] = mapped_column(Uuid, ForeignKey("log_entries.id"))
    expires_at: Mapped[datetime] = mapped_column(Instant)
    master_kid: Mapped[str] = mapped_column(Key(64))
    wrapped_key: Mapped[bytes | None] = mapped_column(LargeBinary)
