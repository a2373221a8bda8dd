"""Rows of what banks sent about money, and of the steps by which a variance came to its end."""

from datetime import date, datetime
from uuid import UUID

from sqlalchemy import CheckConstraint, Date, ForeignKey, Index, Integer, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from backend.cases.layout import Acceptance, BatchOutcome
from backend.cash.model import FileKind, VarianceEvent
from backend.db.base import Base, Choice, Instant, Key, Money, Uuid, enum_check


class BankFileRow(Base):
    """One file of a bank as received: by whom, when, with which totals; `scope` says for whose cases.

    Append-only; a refused one left rejections and nothing else.
    """

    __tablename__ = "bank_files"
    __table_args__ = (
        UniqueConstraint("bank_id", "kind", "file_sha256", "acceptance", "scope"),
        Index(None, "bank_id", "id"),
        enum_check("kind", FileKind),
        enum_check("acceptance", Acceptance),
        enum_check("outcome", BatchOutcome),
        CheckConstraint("accepted_count + rejected_count = row_count AND accepted_count >= 0 AND rejected_count >= 0", name="rows_add_up"),
        CheckConstraint("accepted_fen >= 0 AND accepted_fen <= total_fen", name="sums_add_up"),
        CheckConstraint("(kind = 'repayments') = (as_of_on IS NOT NULL)", name="repayments_are_dated"),
    )

    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    kind: Mapped[FileKind] = mapped_column(Choice(FileKind))
    bank_id: Mapped[UUID] = mapped_column(ForeignKey("banks.id"))
    file_sha256: Mapped[str] = mapped_column(Key(64))
    encoding: Mapped[str] = mapped_column(Key(16))
    acceptance: Mapped[Acceptance] = mapped_column(Choice(Acceptance))
    scope: Mapped[str] = mapped_column(Key(64))
    outcome: Mapped[BatchOutcome] = mapped_column(Choice(BatchOutcome))
    row_count: Mapped[int] = mapped_column(Integer)
    accepted_count: Mapped[int] = mapped_column(Integer)
    rejected_count: Mapped[int] = mapped_column(Integer)
    total_fen: Mapped[int] = mapped_column(Money)
    accepted_fen: Mapped[int] = mapped_column(Money)
    as_of_on: Mapped[date | None] = mapped_column(Date)
    imported_by: Mapped[UUID] = mapped_column(ForeignKey("staff.id"))
    imported_at: Mapped[datetime] = mapped_column(Instant)


class BankFileRejectionRow(Base):
    """One reason against one row of a bank's file. Append-only."""

    __tablename__ = "bank_file_rejections"

    file_id: Mapped[UUID] = mapped_column(ForeignKey("bank_files.id"), primary_key=True)
    position: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    row_number: Mapped[int] = mapped_column(Integer)
    column_name: Mapped[str] = mapped_column(Key(32))
    code: Mapped[str] = mapped_column(Key(32))
    expected: Mapped[str] = mapped_column(Key(200))
    got: Mapped[str] = mapped_column(Key(80))


class VarianceStepRow(Base):
    """One step of a variance: who took it, and the code and reference given. Append-only."""

    __tablename__ = "variance_steps"
    __table_args__ = (enum_check("event", VarianceEvent), Index(None, "variance_id", "id"))

    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    variance_id: Mapped[UUID] = mapped_column(ForeignKey("variances.id"))
    at: Mapped[datetime] = mapped_column(Instant)
    by: Mapped[UUID] = mapped_column(ForeignKey("staff.id"))
    event: Mapped[VarianceEvent] = mapped_column(Choice(VarianceEvent))
    code: Mapped[str] = mapped_column(Key(48))
    reference: Mapped[str | None] = mapped_column(Key(64))
