"""Rows of disputes. What the cardholder wrote stays in the signed statement; here stands what was judged and decided about it."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Index, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from backend.cases.model import SuspensionReason
from backend.db.base import Base, Choice, Instant, Key, Uuid, enum_check
from backend.disputes.follow_up_tables import FollowUpRow as FollowUpRow
from backend.disputes.model import DeclarationStatus, DisputeStatus, Handwriting, Ruling
from backend.disputes.suspicion_tables import SuspicionRow as SuspicionRow
from backend.exhibits.model import Standing


class DisputeRow(Base):
    """One denial. Its suspension ends with the bank's ruling and with nothing else."""

    __tablename__ = "disputes"
    __table_args__ = (
        enum_check("kind", SuspensionReason),
        enum_check("status", DisputeStatus),
        enum_check("ruling", Ruling),
        CheckConstraint("(status = 'ruled') = (ruling IS NOT NULL AND ruled_by IS NOT NULL AND ruled_at IS NOT NULL)", name="ruling_whole"),
        Index(None, "case_id", "status"),
        Index(None, "bank_id", "id"),
    )

    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    case_id: Mapped[UUID] = mapped_column(ForeignKey("cases.id"))
    visit_id: Mapped[UUID | None] = mapped_column(ForeignKey("visits.id"))
    bank_id: Mapped[UUID] = mapped_column(ForeignKey("banks.id"))
    branch_id: Mapped[UUID] = mapped_column(ForeignKey("branches.id"))
    kind: Mapped[SuspensionReason] = mapped_column(Choice(SuspensionReason))
    status: Mapped[DisputeStatus] = mapped_column(Choice(DisputeStatus))
    stated_at: Mapped[datetime] = mapped_column(Instant)
    recorded_by: Mapped[UUID] = mapped_column(ForeignKey("staff.id"))
    recorded_at: Mapped[datetime] = mapped_column(Instant)
    ruling: Mapped[Ruling | None] = mapped_column(Choice(Ruling))
    ruled_by: Mapped[UUID | None] = mapped_column(ForeignKey("staff.id"))
    ruled_at: Mapped[datetime | None] = mapped_column(Instant)
    log_entry_id: Mapped[UUID | None] = mapped_column(ForeignKey("log_entries.id"))


class DeclarationRow(Base):
    """One written declaration. Locked once taken (DECL-06): only the investigation and the ruling are added."""

    __tablename__ = "declarations"
    __table_args__ = (
        UniqueConstraint("manifest_id"),
        enum_check("status", DeclarationStatus),
        enum_check("standing", Standing),
        enum_check("handwriting", Handwriting),
        enum_check("ruling", Ruling),
        CheckConstraint("status = 'taken' OR investigator_id IS NOT NULL", name="investigator_named"),
        CheckConstraint("status NOT IN ('compared', 'ruled') OR handwriting IS NOT NULL", name="handwriting_compared"),
        CheckConstraint("(status = 'ruled') = (ruling IS NOT NULL AND ruled_by IS NOT NULL AND ruled_at IS NOT NULL)", name="ruling_whole"),
        Index(None, "dispute_id"),
        Index(None, "case_id"),
        Index(None, "bank_id", "id"),
    )

    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    dispute_id: Mapped[UUID] = mapped_column(ForeignKey("disputes.id"))
    case_id: Mapped[UUID] = mapped_column(ForeignKey("cases.id"))
    visit_id: Mapped[UUID | None] = mapped_column(ForeignKey("visits.id"))
    bank_id: Mapped[UUID] = mapped_column(ForeignKey("banks.id"))
    branch_id: Mapped[UUID] = mapped_column(ForeignKey("branches.id"))
    manifest_id: Mapped[UUID] = mapped_column(ForeignKey("manifests.id"))
    template_id: Mapped[UUID | None] = mapped_column(ForeignKey("templates.id"))
    has_circumstances: Mapped[bool]
    is_text_deviating: Mapped[bool]
    standing: Mapped[Standing] = mapped_column(Choice(Standing))
    status: Mapped[DeclarationStatus] = mapped_column(Choice(DeclarationStatus))
    taken_at: Mapped[datetime] = mapped_column(Instant)
    recorded_at: Mapped[datetime] = mapped_column(Instant)
    policy_version: Mapped[str] = mapped_column(Key(64))
    investigator_id: Mapped[UUID | None] = mapped_column(ForeignKey("staff.id"))
    investigator_named_at: Mapped[datetime | None] = mapped_column(Instant)
    handwriting: Mapped[Handwriting | None] = mapped_column(Choice(Handwriting))
    handwriting_at: Mapped[datetime | None] = mapped_column(Instant)
    ruling: Mapped[Ruling | None] = mapped_column(Choice(Ruling))
    ruled_by: Mapped[UUID | None] = mapped_column(ForeignKey("staff.id"))
    ruled_at: Mapped[datetime | None] = mapped_column(Instant)
