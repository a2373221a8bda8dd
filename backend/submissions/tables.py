"""What phones and banks' systems sent: id, digest, answer. Ids and digests are kept for ever."""

from datetime import datetime
from typing import Any
from uuid import UUID

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
