"""Create the tables of pairs, routes and stops of a day.

They are new; no rows exist yet. What was solved cannot be changed afterwards, only superseded.
"""

import sqlalchemy as sa
from alembic import op

from backend.db.migrations import ddl

revision = "plans"
down_revision = "exhibits"
branch_labels = None
depends_on = None

TABLES = ("plans", "routes", "stops", "unserved")


def upgrade() -> None:
    _create_plans()
    _create_routes()
    _create_stops()
    _create_unserved()


def downgrade() -> None:
    for table in reversed(TABLES):
        op.drop_table(table)


def _create_plans() -> None:
    op.create_table(
        "plans",
        sa.Column("id", ddl.uuid(), primary_key=True),
        sa.Column("branch_id", ddl.uuid(), sa.ForeignKey("branches.id"), nullable=False),
        sa.Column("on", sa.Date, nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("status", ddl.choice(), nullable=False),
        sa.Column("seed", sa.BigInteger, nullable=False),
        sa.Column("search_s", sa.Integer, nullable=False),
        sa.Column("policy_version", ddl.key(64), nullable=False),
        sa.Column("instance", ddl.canonical_json(), nullable=False),
        sa.Column("instance_digest", ddl.key(64), nullable=False),
        sa.Column("plan", ddl.canonical_json()),
        sa.Column("plan_digest", ddl.key(64)),
        sa.Column("contributions", ddl.canonical_json()),
        sa.Column("cost", sa.BigInteger),
        sa.Column("failure", ddl.key(200)),
        sa.Column("requested_by", ddl.uuid(), sa.ForeignKey("staff.id"), nullable=False),
        sa.Column("requested_at", ddl.instant(), nullable=False),
        sa.Column("solved_at", ddl.instant()),
        sa.Column("published_by", ddl.uuid(), sa.ForeignKey("staff.id")),
        sa.Column("published_at", ddl.instant()),
        sa.UniqueConstraint("branch_id", "on", "version"),
        ddl.known("status", ("failed", "published", "queued", "ready", "solving", "superseded")),
        sa.CheckConstraint("version > 0", name="version_positive"),
        sa.CheckConstraint("search_s BETWEEN 1 AND 300", name="search_bounded"),
        sa.CheckConstraint("status NOT IN ('ready', 'published', 'superseded') OR plan IS NOT NULL", name="solved_has_plan"),
        sa.CheckConstraint("(status = 'failed') = (failure IS NOT NULL)", name="failed_says_why"),
        sa.CheckConstraint("(status IN ('published', 'superseded')) = (published_at IS NOT NULL)", name="published_has_time"),
        sa.CheckConstraint("(published_at IS NULL) = (published_by IS NULL)", name="published_has_author"),
    )
    op.create_index("ix_plans_status_unfinished", "plans", ["status"], sqlite_where=sa.text("status IN ('queued', 'solving')"), postgresql_where=sa.text("status IN ('queued', 'solving')"))
    op.create_index("uq_plans_branch_id_on_published", "plans", ["branch_id", "on"], unique=True, sqlite_where=sa.text("status = 'published'"), postgresql_where=sa.text("status = 'published'"))
    ddl.immutable_columns("plans", ("id", "branch_id", '"on"', "version", "seed", "search_s", "policy_version", "instance", "instance_digest", "requested_by", "requested_at"))
    ddl.forbid_delete("plans")
    ddl.grant_app("plans")


def _create_routes() -> None:
    op.create_table(
        "routes",
        sa.Column("id", ddl.uuid(), primary_key=True),
        sa.Column("plan_id", ddl.uuid(), sa.ForeignKey("plans.id"), nullable=False),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("collector_a", ddl.uuid(), sa.ForeignKey("staff.id"), nullable=False),
        sa.Column("collector_b", ddl.uuid(), sa.ForeignKey("staff.id"), nullable=False),
        sa.Column("departure_at", ddl.instant(), nullable=False),
        sa.Column("return_at", ddl.instant(), nullable=False),
        sa.UniqueConstraint("plan_id", "number"),
        sa.CheckConstraint("collector_a <> collector_b", name="two_people"),
    )
    op.create_index("ix_routes_collector_a", "routes", ["collector_a"])
    op.create_index("ix_routes_collector_b", "routes", ["collector_b"])
    ddl.append_only("routes")
    ddl.grant_app("routes", append_only=True)


def _create_stops() -> None:
    op.create_table(
        "stops",
        sa.Column("id", ddl.uuid(), primary_key=True),
        sa.Column("route_id", ddl.uuid(), sa.ForeignKey("routes.id"), nullable=False),
        sa.Column("position", sa.Integer, nullable=False),
        sa.Column("kind", ddl.choice(), nullable=False),
        sa.Column("visit_id", ddl.uuid()),
        sa.Column("request_id", ddl.uuid(), sa.ForeignKey("visit_requests.id")),
        sa.Column("case_id", ddl.uuid(), sa.ForeignKey("cases.id")),
        sa.Column("bank_hours_id", ddl.uuid(), sa.ForeignKey("bank_hours.id")),
        sa.Column("arrives_at", ddl.instant(), nullable=False),
        sa.Column("starts_at", ddl.instant(), nullable=False),
        sa.Column("ends_at", ddl.instant(), nullable=False),
        sa.UniqueConstraint("route_id", "position"),
        sa.UniqueConstraint("visit_id"),
        ddl.known("kind", ("deposit", "visit")),
        sa.CheckConstraint("(kind = 'visit' AND visit_id IS NOT NULL AND request_id IS NOT NULL AND case_id IS NOT NULL AND bank_hours_id IS NULL) OR (kind = 'deposit' AND visit_id IS NULL AND request_id IS NULL AND case_id IS NULL AND bank_hours_id IS NOT NULL)", name="visit_or_deposit"),
        sa.CheckConstraint("arrives_at <= starts_at AND starts_at <= ends_at", name="times_in_order"),
    )
    op.create_index("ix_stops_case_id", "stops", ["case_id"])
    op.create_index("ix_stops_request_id", "stops", ["request_id"])
    ddl.append_only("stops")
    ddl.grant_app("stops", append_only=True)


def _create_unserved() -> None:
    op.create_table(
        "unserved",
        sa.Column("plan_id", ddl.uuid(), sa.ForeignKey("plans.id"), primary_key=True),
        sa.Column("request_id", ddl.uuid(), sa.ForeignKey("visit_requests.id"), primary_key=True),
        sa.Column("code", ddl.key(64), nullable=False),
        sa.Column("params", ddl.canonical_json(), nullable=False),
        sa.Column("text_zh", sa.Text, nullable=False),
        sa.Column("text_en", sa.Text, nullable=False),
        sa.Column("changes", ddl.canonical_json(), nullable=False),
    )
    ddl.append_only("unserved")
    ddl.grant_app("unserved", append_only=True)
