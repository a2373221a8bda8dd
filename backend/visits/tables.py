"""Rows of visits. Facts are append-only and keep two times: when it happened and when it reached us (EVD-10)."""

from datetime import date, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, Date, ForeignKey, Index, Integer, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from backend.core.geo import LonLat
from backend.db.base import Base, CanonicalJson, Choice, Instant, Key, SealedBytes, SealedValue, Uuid, enum_check
from backend.db.geo import Point
from backend.visits.catalogue import Outcome
from backend.visits.model import Draw, Identity, IncidentKind, Recoverability, Reviewer, Verdict, VisitStatus


class VisitRow(Base):
    """One visit to one case of one bank by one pair (VIS-01, F22). Its id is the one its stop was planned under."""

    __tablename__ = "visits"
    __table_args__ = (
        UniqueConstraint("stop_id"),
        Index("ix_visits_branch_id_on_id", "branch_id", "on", "id"),
        Index("ix_visits_bank_id_on_id", "bank_id", "on", "id"),
        Index("ix_visits_collector_a_on", "collector_a", "on"),
        Index("ix_visits_collector_b_on", "collector_b", "on"),
        Index("ix_visits_case_id", "case_id"),
        Index("ix_visits_request_id", "request_id"),
        enum_check("status", VisitStatus),
        enum_check("outcome", Outcome),
        CheckConstraint("collector_a <> collector_b", name="two_people"),
        CheckConstraint("version > 0", name="version_positive"),
        CheckConstraint("(outcome IS NULL) = (outcome_at IS NULL)", name="outcome_has_time"),
        CheckConstraint("(closed_at IS NULL) = (closing_manifest_id IS NULL)", name="closed_by_manifest"),
    )

    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    version: Mapped[int] = mapped_column(Integer)
    case_id: Mapped[UUID] = mapped_column(ForeignKey("cases.id"))
    request_id: Mapped[UUID] = mapped_column(ForeignKey("visit_requests.id"))
    stop_id: Mapped[UUID] = mapped_column(ForeignKey("stops.id"))
    address_id: Mapped[UUID] = mapped_column(ForeignKey("case_addresses.id"))
    bank_id: Mapped[UUID] = mapped_column(ForeignKey("banks.id"))
    branch_id: Mapped[UUID] = mapped_column(ForeignKey("branches.id"))
    on: Mapped[date] = mapped_column(Date)
    timezone: Mapped[str] = mapped_column(Key(64))
    collector_a: Mapped[UUID] = mapped_column(ForeignKey("staff.id"))
    collector_b: Mapped[UUID] = mapped_column(ForeignKey("staff.id"))
    status: Mapped[VisitStatus] = mapped_column(Choice(VisitStatus))
    is_entered: Mapped[bool | None]
    dispatched_at: Mapped[datetime] = mapped_column(Instant)
    started_at: Mapped[datetime | None] = mapped_column(Instant)
    ended_at: Mapped[datetime | None] = mapped_column(Instant)
    stopped_at: Mapped[datetime | None] = mapped_column(Instant)
    outcome: Mapped[Outcome | None] = mapped_column(Choice(Outcome))
    outcome_at: Mapped[datetime | None] = mapped_column(Instant)
    reported_at: Mapped[datetime | None] = mapped_column(Instant)
    closed_at: Mapped[datetime | None] = mapped_column(Instant)
    closing_manifest_id: Mapped[UUID | None] = mapped_column(ForeignKey("manifests.id"))
    policy_version: Mapped[str] = mapped_column(Key(64))


class CheckInRow(Base):
    """One visitor at the door. Append-only."""

    __tablename__ = "check_ins"
    __table_args__ = (Index("ix_check_ins_visit_id", "visit_id"), enum_check("identity_presented", Identity))

    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    visit_id: Mapped[UUID] = mapped_column(ForeignKey("visits.id"))
    staff_id: Mapped[UUID] = mapped_column(ForeignKey("staff.id"))
    device: Mapped[str | None] = mapped_column(ForeignKey("devices.kid"))
    at: Mapped[datetime] = mapped_column(Instant)
    received_at: Mapped[datetime] = mapped_column(Instant)
    position: Mapped[LonLat | None] = mapped_column(Point)
    accuracy_m: Mapped[int | None] = mapped_column(Integer)
    is_credential_worn: Mapped[bool]
    identity_presented: Mapped[Identity] = mapped_column(Choice(Identity))


class RightPartyRow(Base):
    """One try to confirm whom the pair speaks with (F08). Append-only."""

    __tablename__ = "right_party_checks"
    __table_args__ = (Index("ix_right_party_checks_visit_id", "visit_id"), CheckConstraint("attempt > 0", name="attempt_positive"))

    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    visit_id: Mapped[UUID] = mapped_column(ForeignKey("visits.id"))
    staff_id: Mapped[UUID] = mapped_column(ForeignKey("staff.id"))
    at: Mapped[datetime] = mapped_column(Instant)
    received_at: Mapped[datetime] = mapped_column(Instant)
    attempt: Mapped[int] = mapped_column(Integer)
    is_match: Mapped[bool]


class EntryRow(Base):
    """The pair went in, with whose consent (VIS-02, VIS-03). Append-only."""

    __tablename__ = "visit_entries"
    __table_args__ = (Index("ix_visit_entries_visit_id", "visit_id"),)

    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    visit_id: Mapped[UUID] = mapped_column(ForeignKey("visits.id"))
    staff_id: Mapped[UUID] = mapped_column(ForeignKey("staff.id"))
    at: Mapped[datetime] = mapped_column(Instant)
    received_at: Mapped[datetime] = mapped_column(Instant)
    reason: Mapped[SealedValue | None] = mapped_column(SealedBytes)
    consented_by: Mapped[SealedValue | None] = mapped_column(SealedBytes)
    consented_at: Mapped[datetime | None] = mapped_column(Instant)
    evidence_item_id: Mapped[str | None] = mapped_column(Key(64))


class OutcomeRow(Base):
    """How a visit went, under the version of the catalogue it was judged by. Append-only; the latest by `at` counts.

    `told_code` is the pair's word, `code` what it amounts to (a promise without its parts is vague: CASE-32). Texts are sealed.
    """

    __tablename__ = "visit_outcomes"
    __table_args__ = (Index("ix_visit_outcomes_visit_id", "visit_id"), enum_check("code", Outcome))

    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    visit_id: Mapped[UUID] = mapped_column(ForeignKey("visits.id"))
    staff_id: Mapped[UUID] = mapped_column(ForeignKey("staff.id"))
    at: Mapped[datetime] = mapped_column(Instant)
    received_at: Mapped[datetime] = mapped_column(Instant)
    catalogue_version: Mapped[int] = mapped_column(Integer)
    told_code: Mapped[str] = mapped_column(Key(64))
    code: Mapped[Outcome | None] = mapped_column(Choice(Outcome))
    fields: Mapped[dict[str, Any]] = mapped_column(CanonicalJson)
    texts: Mapped[SealedValue | None] = mapped_column(SealedBytes)


class ReportRow(Base):
    """What the pair found (VIS-12, VIS-13). Append-only; a returned report is told anew, the latest received counts."""

    __tablename__ = "visit_reports"
    __table_args__ = (Index("ix_visit_reports_visit_id", "visit_id"), enum_check("recoverability", Recoverability))

    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    visit_id: Mapped[UUID] = mapped_column(ForeignKey("visits.id"))
    reported_by: Mapped[UUID] = mapped_column(ForeignKey("staff.id"))
    reported_at: Mapped[datetime] = mapped_column(Instant)
    received_at: Mapped[datetime] = mapped_column(Instant)
    is_entered: Mapped[bool]
    recoverability: Mapped[Recoverability] = mapped_column(Choice(Recoverability))
    reasons: Mapped[SealedValue] = mapped_column(SealedBytes)
    attitude: Mapped[SealedValue] = mapped_column(SealedBytes)
    delinquency_reason: Mapped[SealedValue] = mapped_column(SealedBytes)
    financial_situation: Mapped[SealedValue] = mapped_column(SealedBytes)
    new_contact: Mapped[SealedValue | None] = mapped_column(SealedBytes)


class IncidentRow(Base):
    """Something that a supervisor must see (VIS-09, VIS-18). Only its settlement is ever added."""

    __tablename__ = "incidents"
    __table_args__ = (
        Index("ix_incidents_visit_id", "visit_id"),
        Index("ix_incidents_branch_id_id", "branch_id", "id"),
        enum_check("kind", IncidentKind),
        CheckConstraint("(settled_at IS NULL) = (settled_by IS NULL)", name="settled_by_someone"),
    )

    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    visit_id: Mapped[UUID] = mapped_column(ForeignKey("visits.id"))
    branch_id: Mapped[UUID] = mapped_column(ForeignKey("branches.id"))
    kind: Mapped[IncidentKind] = mapped_column(Choice(IncidentKind))
    at: Mapped[datetime] = mapped_column(Instant)
    received_at: Mapped[datetime] = mapped_column(Instant)
    reported_by: Mapped[UUID] = mapped_column(ForeignKey("staff.id"))
    note: Mapped[SealedValue] = mapped_column(SealedBytes)
    settled_at: Mapped[datetime | None] = mapped_column(Instant)
    settled_by: Mapped[UUID | None] = mapped_column(ForeignKey("staff.id"))


class ExceptionRow(Base):
    """What a closing lacked (EVD-01), listed until a reviewer takes it on themselves by name."""

    __tablename__ = "visit_exceptions"
    __table_args__ = (CheckConstraint("(accepted_at IS NULL) = (accepted_by IS NULL)", name="accepted_by_someone"),)

    visit_id: Mapped[UUID] = mapped_column(ForeignKey("visits.id"), primary_key=True)
    code: Mapped[str] = mapped_column(Key(80), primary_key=True)
    rule: Mapped[str] = mapped_column(Key(16))
    listed_at: Mapped[datetime] = mapped_column(Instant)
    accepted_at: Mapped[datetime | None] = mapped_column(Instant)
    accepted_by: Mapped[UUID | None] = mapped_column(ForeignKey("staff.id"))


class SamplingRow(Base):
    """Whether a reported visit is looked at, and why: by what it holds, or by lot. Append-only.

    The lot: the first 8 bytes of SHA-256(`log_root` ‖ visit id), big-endian, modulo 10,000, below 100 × `share_pct`; `log_root` is that
    of the log's first checkpoint (`log_size`) which covers the closing, so it was fixed before anybody looked and cannot be chosen.
    """

    __tablename__ = "visit_samplings"
    __table_args__ = (
        enum_check("result", Draw),
        CheckConstraint("share_pct BETWEEN 0 AND 100", name="share_in_range"),
        CheckConstraint("(result = 'required') = (ticket IS NULL)", name="drawn_by_ticket"),
        CheckConstraint("(ticket IS NULL) = (log_root IS NULL) AND (ticket IS NULL) = (log_size IS NULL)", name="ticket_names_root"),
    )

    visit_id: Mapped[UUID] = mapped_column(ForeignKey("visits.id"), primary_key=True)
    result: Mapped[Draw] = mapped_column(Choice(Draw))
    reasons: Mapped[list[str]] = mapped_column(CanonicalJson)
    share_pct: Mapped[int] = mapped_column(Integer)
    policy_version: Mapped[str] = mapped_column(Key(64))
    log_size: Mapped[int | None] = mapped_column(BigInteger)
    log_root: Mapped[str | None] = mapped_column(Key(64))
    ticket: Mapped[int | None] = mapped_column(Integer)
    at: Mapped[datetime] = mapped_column(Instant)
    log_entry_id: Mapped[UUID] = mapped_column(ForeignKey("log_entries.id"))


class ReviewRow(Base):
    """One reviewer's answer over the whole checklist (TEAM-09, BANK-08). Append-only."""

    __tablename__ = "visit_reviews"
    __table_args__ = (Index("ix_visit_reviews_visit_id", "visit_id"), enum_check("verdict", Verdict), enum_check("reviewer", Reviewer))

    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    visit_id: Mapped[UUID] = mapped_column(ForeignKey("visits.id"))
    by: Mapped[UUID] = mapped_column(ForeignKey("staff.id"))
    at: Mapped[datetime] = mapped_column(Instant)
    reviewer: Mapped[Reviewer] = mapped_column(Choice(Reviewer))
    verdict: Mapped[Verdict] = mapped_column(Choice(Verdict))
    checklist_version: Mapped[int] = mapped_column(Integer)
    checklist: Mapped[dict[str, bool]] = mapped_column(CanonicalJson)
    comment: Mapped[SealedValue] = mapped_column(SealedBytes)
