"""What phones and banks' systems sent: id, digest, answer. Ids, digests and times are kept for ever, answers until their case is long over."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, Index
from sqlalchemy.orm import Mapped, mapped_column

from backend.db.base import Base, CanonicalJson, Instant, Key, Uuid


class SubmissionRow(Base):
    """One acknowledged write and the answer it got. Refusals are not kept: they are judged again when re-sent.

    `case_id` is NULL for what is about no case or several, such as a deposit: its answer stays. A trimmed answer is NULL.
    """

    __tablename__ = "submissions"
    __table_args__ = (
        CheckConstraint("(answer IS NULL) = (trimmed_at IS NOT NULL)", name="answered_or_trimmed"),
        CheckConstraint("trimmed_at IS NULL OR case_id IS NOT NULL", name="trimmed_of_a_case"),
        Index(None, "case_id"),
    )

    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    kind: Mapped[str] = mapped_column(Key(64))
    digest: Mapped[str] = mapped_column(Key(64))
    actor_id: Mapped[UUID] = mapped_column(Uuid)
    device: Mapped[str | None] = mapped_column(Key(64))
    answer: Mapped[Any | None] = mapped_column(CanonicalJson)
    received_at: Mapped[datetime] = mapped_column(Instant)
    case_id: Mapped[UUID | None] = mapped_column(Uuid)
    trimmed_at: Mapped[datetime | None] = mapped_column(Instant)


class RequestCountRow(Base):
    """How often one kind of anonymous request came from one place since `begun_at`; unlogged on PostgreSQL."""

    __tablename__ = "request_counts"
    __table_args__ = (Index("ix_request_counts_begun_at", "begun_at"),)

    bucket: Mapped[str] = mapped_column(Key(64), primary_key=True)
    begun_at: Mapped[datetime] = mapped_column(Instant)
    number: Mapped[int]
