"""Jobs that were given up."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import CheckConstraint, Integer
from sqlalchemy.orm import Mapped, mapped_column

from backend.db.base import Base, Instant, Key, Uuid


class GivenUpJobRow(Base):
    """A job that failed as often as a job may. The sweep leaves it alone until an operator lets it be tried again."""

    __tablename__ = "given_up_jobs"
    __table_args__ = (CheckConstraint("attempts > 0", name="attempts_positive"),)

    task: Mapped[str] = mapped_column(Key(64), primary_key=True)
    subject_id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    attempts: Mapped[int] = mapped_column(Integer)
    failure: Mapped[str] = mapped_column(Key(64))      # The kind of the error alone: its text may hold what a debtor entrusted to us.
    given_up_at: Mapped[datetime] = mapped_column(Instant)
