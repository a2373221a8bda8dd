"""What phones and banks' systems sent: id, digest, answer. Ids and digests are kept for ever."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Index
from sqlalchemy.orm import Mapped, mapped_column

from backend.db.base import Base, CanonicalJson, Instant, Key, Uuid


class SubmissionRow(Base):
    """One acknowledged write and the answer it got. Refusals are not kept: they are judged again when re-sent."""

    __tablename__ = "submissions"

    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    kind: Mapped[str] = mapped_column(Key(64))
    digest: Mapped[str] = mapped_column(Key(64))
    actor_id: Mapped[UUID] = mapped_column(Uuid)
    device: Mapped[str | None] = mapped_column(Key(64))
    answer: Mapped[Any] = mapped_column(CanonicalJson)
    received_at: Mapped[datetime] = mapped_column(Instant)


class RequestCountRow(Base):
    """How often one kind of anonymous request came from one place since `begun_at`; unlogged on PostgreSQL."""

    __tablename__ = "request_counts"
    __table_args__ = (Index("ix_request_counts_begun_at", "begun_at"),)

    bucket: Mapped[str] = mapped_column(Key(64), primary_key=True)
    begun_at: Mapped[datetime] = mapped_column(Instant)
    number: Mapped[int]
