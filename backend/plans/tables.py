"""Rows of plans. What was solved never changes: another version takes its place."""

from datetime import date, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, Date, ForeignKey, Index, Integer, LargeBinary, Text, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from backend.db.base import Base, CanonicalJson, Choice, Instant, Key, Uuid, enum_check
from backend.plans.model import Ending, EndingAsked, PlanStatus, StopKind

_IS_PUBLISHED = text("status = 'published'")
_IS_UNFINISHED = text("status IN ('queued', 'solving')")


class PlanRow(Base):
    """One version of one branch's day: the instance as it was built, the plan as it was solved and checked."""

    __tablename__ = "plans"
    __table_args__ = (
        UniqueConstraint("branch_id", "on", "version"),
        Index("uq_plans_branch_id_on_published", "branch_id", "on", unique=True, sqlite_where=_IS_PUBLISHED, postgresql_where=_IS_PUBLISHED),
        Index("ix_plans_status_unfinished", "status", sqlite_where=_IS_UNFINISHED, postgresql_where=_IS_UNFINISHED),
        enum_check("status", PlanStatus),
        CheckConstraint("version > 0", name="version_positive"),
        CheckConstraint("search_s BETWEEN 1 AND 300", name="search_bounded"),
        CheckConstraint("status NOT IN ('ready', 'published', 'superseded') OR plan IS NOT NULL", name="solved_has_plan"),
        CheckConstraint("(status = 'failed') = (failure IS NOT NULL)", name="failed_says_why"),
        CheckConstraint("(status IN ('published', 'superseded')) = (published_at IS NOT NULL)", name="published_has_time"),
        CheckConstraint("(published_at IS NULL) = (published_by IS NULL)", name="published_has_author"),
    )

    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    branch_id: Mapped[UUID] = mapped_column(ForeignKey("branches.id"))
    on: Mapped[date] = mapped_column(Date)
    version: Mapped[int] = mapped_column(Integer)
    status: Mapped[PlanStatus] = mapped_column(Choice(PlanStatus))
    seed: Mapped[int] = mapped_column(BigInteger)
    search_s: Mapped[int] = mapped_column(Integer)
    policy_version: Mapped[str] = mapped_column(Key(64))
    instance: Mapped[dict[str, Any]] = mapped_column(CanonicalJson)
    instance_digest: Mapped[str] = mapped_column(Key(64))
    plan: Mapped[dict[str, Any] | None] = mapped_column(CanonicalJson)
    plan_digest: Mapped[str | None] = mapped_column(Key(64))
    contributions: Mapped[list[Any] | None] = mapped_column(CanonicalJson)
    travel: Mapped[dict[str, Any] | None] = mapped_column(CanonicalJson)
    cost: Mapped[int | None] = mapped_column(BigInteger)
    failure: Mapped[str | None] = mapped_column(Key(200))
    requested_by: Mapped[UUID] = mapped_column(ForeignKey("staff.id"))
    requested_at: Mapped[datetime] = mapped_column(Instant)
    solved_at: Mapped[datetime | None] = mapped_column(Instant)
    published_by: Mapped[UUID | None] = mapped_column(ForeignKey("staff.id"))
    published_at: Mapped[datetime | None] = mapped_column(Instant)


class TravelMatrixRow(Base):
    """Travel times that plans were made with, under their digest; those of great-circle travel are not kept. Append-only.

    `content` is a zlib stream of MessagePack: ids, seconds and metres, row by row, little-endian 32 bits each.
    """

    __tablename__ = "travel_matrices"

    digest: Mapped[str] = mapped_column(Key(64), primary_key=True)
    content: Mapped[bytes] = mapped_column(LargeBinary)
    kept_at: Mapped[datetime] = mapped_column(Instant)


class RouteRow(Base):
    """The day of one pair (VIS-01). Append-only."""

    __tablename__ = "routes"
    __table_args__ = (
        UniqueConstraint("plan_id", "number"),
        CheckConstraint("collector_a <> collector_b", name="two_people"),
        Index("ix_routes_collector_a", "collector_a"),
        Index("ix_routes_collector_b", "collector_b"),
    )

    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    plan_id: Mapped[UUID] = mapped_column(ForeignKey("plans.id"))
    number: Mapped[int] = mapped_column(Integer)
    collector_a: Mapped[UUID] = mapped_column(ForeignKey("staff.id"))
    collector_b: Mapped[UUID] = mapped_column(ForeignKey("staff.id"))
    departure_at: Mapped[datetime] = mapped_column(Instant)
    return_at: Mapped[datetime] = mapped_column(Instant)


class StopRow(Base):
    """One stop of a route. Append-only. `visit_id` is the id that the visit bears once the plan is published."""

    __tablename__ = "stops"
    __table_args__ = (
        UniqueConstraint("route_id", "position"),
        UniqueConstraint("visit_id"),
        enum_check("kind", StopKind),
        CheckConstraint(
            "(kind = 'visit' AND visit_id IS NOT NULL AND request_id IS NOT NULL AND case_id IS NOT NULL AND bank_hours_id IS NULL)"
            " OR (kind = 'deposit' AND visit_id IS NULL AND request_id IS NULL AND case_id IS NULL AND bank_hours_id IS NOT NULL)"
            " OR (kind = 'pause' AND visit_id IS NULL AND request_id IS NULL AND case_id IS NULL AND bank_hours_id IS NULL)",
            name="visit_deposit_or_pause",
        ),
        CheckConstraint("arrives_at <= starts_at AND starts_at <= ends_at", name="times_in_order"),
        Index("ix_stops_request_id", "request_id"),
        Index("ix_stops_case_id", "case_id"),
    )

    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    route_id: Mapped[UUID] = mapped_column(ForeignKey("routes.id"))
    position: Mapped[int] = mapped_column(Integer)
    kind: Mapped[StopKind] = mapped_column(Choice(StopKind))
    visit_id: Mapped[UUID | None] = mapped_column(Uuid)
    request_id: Mapped[UUID | None] = mapped_column(ForeignKey("visit_requests.id"))
    case_id: Mapped[UUID | None] = mapped_column(ForeignKey("cases.id"))
    bank_hours_id: Mapped[UUID | None] = mapped_column(ForeignKey("bank_hours.id"))
    arrives_at: Mapped[datetime] = mapped_column(Instant)
    starts_at: Mapped[datetime] = mapped_column(Instant)
    ends_at: Mapped[datetime] = mapped_column(Instant)


class UnservedRow(Base):
    """A request that the plan leaves out, with the true reason in both languages. Append-only."""

    __tablename__ = "unserved"

    plan_id: Mapped[UUID] = mapped_column(ForeignKey("plans.id"), primary_key=True)
    request_id: Mapped[UUID] = mapped_column(ForeignKey("visit_requests.id"), primary_key=True)
    code: Mapped[str] = mapped_column(Key(64))
    params: Mapped[dict[str, Any]] = mapped_column(CanonicalJson)
    text_zh: Mapped[str] = mapped_column(Text)
    text_en: Mapped[str] = mapped_column(Text)
    changes: Mapped[list[Any]] = mapped_column(CanonicalJson)


class PlanRunRow(Base):
    """How a plan's search is going: who solves it, what it was asked, the best plan so far. The last run counts."""

    __tablename__ = "plan_runs"
    __table_args__ = (enum_check("asked", EndingAsked), enum_check("ending", Ending))

    plan_id: Mapped[UUID] = mapped_column(ForeignKey("plans.id"), primary_key=True)
    claimed_by: Mapped[str] = mapped_column(Key(100))
    claimed_at: Mapped[datetime] = mapped_column(Instant)
    asked: Mapped[EndingAsked | None] = mapped_column(Choice(EndingAsked))
    elapsed_ms: Mapped[int | None] = mapped_column(Integer)
    cost: Mapped[int | None] = mapped_column(BigInteger)
    served: Mapped[int | None] = mapped_column(Integer)
    engine: Mapped[str | None] = mapped_column(Key(64))
    ending: Mapped[Ending | None] = mapped_column(Choice(Ending))


class PlanChangeRow(Base):
    """A version made by hand: of which other one, by which changes. Append-only."""

    __tablename__ = "plan_changes"
    __table_args__ = (CheckConstraint("plan_id <> based_on", name="based_on_another"),)

    plan_id: Mapped[UUID] = mapped_column(ForeignKey("plans.id"), primary_key=True)
    based_on: Mapped[UUID] = mapped_column(ForeignKey("plans.id"))
    changes: Mapped[list[Any]] = mapped_column(CanonicalJson)


class PlanDrawRow(Base):
    """A plan's unannounced exchange of partners: committed with its order, drawn when solved, revealed when published. `base` is the plan before."""

    __tablename__ = "plan_draws"
    __table_args__ = (
        CheckConstraint("chance_pct BETWEEN 1 AND 100", name="chance_is_percent"),
        CheckConstraint("commitment <> seed", name="seed_is_hidden"),
        CheckConstraint("(document IS NULL) = (base IS NULL)", name="drawn_from_a_plan"),
        CheckConstraint("revealed_at IS NULL OR document IS NOT NULL", name="revealed_is_drawn"),
    )

    plan_id: Mapped[UUID] = mapped_column(ForeignKey("plans.id"), primary_key=True)
    chance_pct: Mapped[int] = mapped_column(Integer)
    commitment: Mapped[str] = mapped_column(Key(64))
    seed: Mapped[str] = mapped_column(Key(64))
    document: Mapped[dict[str, Any] | None] = mapped_column(CanonicalJson)
    base: Mapped[dict[str, Any] | None] = mapped_column(CanonicalJson)
    revealed_at: Mapped[datetime | None] = mapped_column(Instant)


class ReplanRow(Base):
    """Where a version comes from that plans the rest of a running day: the version before, what happened, which visits had begun."""

    __tablename__ = "replans"
    __table_args__ = (
        CheckConstraint("plan_id <> base_plan_id", name="two_versions"),
        CheckConstraint("now_s BETWEEN 0 AND 172800", name="now_within_day"),
        Index("ix_replans_base_plan_id", "base_plan_id"),
    )

    plan_id: Mapped[UUID] = mapped_column(ForeignKey("plans.id"), primary_key=True)
    base_plan_id: Mapped[UUID] = mapped_column(ForeignKey("plans.id"))
    now_s: Mapped[int] = mapped_column(Integer)
    events: Mapped[list[Any]] = mapped_column(CanonicalJson)
    begun: Mapped[list[Any]] = mapped_column(CanonicalJson)
    moves: Mapped[list[Any] | None] = mapped_column(CanonicalJson)
