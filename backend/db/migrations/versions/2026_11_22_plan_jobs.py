"""Let plans be cancelled and changed by hand: how a search is going, and what a version was made of.

Plans made before have neither row: they were solved in one go and never changed.
"""

import sqlalchemy as sa
from alembic import op

from backend.db.migrations import ddl

revision = "plan_jobs"
down_revision = "row_commitments"
branch_labels = None
depends_on = None

_STATUSES = ("failed", "published", "queued", "ready", "solving", "superseded")


def upgrade() -> None:
    _know((*_STATUSES, "cancelled"))
    op.create_table(
        "plan_runs",
        sa.Column("plan_id", ddl.uuid(), sa.ForeignKey("plans.id"), primary_key=True),
        sa.Column("claimed_by", ddl.key(100), nullable=False),
        sa.Column("claimed_at", ddl.instant(), nullable=False),
        sa.Column("asked", ddl.choice()),
        sa.Column("elapsed_ms", sa.Integer),
        sa.Column("cost", sa.BigInteger),
        sa.Column("served", sa.Integer),
        sa.Column("engine", ddl.key(64)),
        sa.Column("ending", ddl.choice()),
        ddl.known("asked", ("cancel", "finish")),
        ddl.known("ending", ("cancelled", "died", "finished", "late")),
    )
    ddl.grant_app("plan_runs")
    op.create_table(
        "plan_changes",
        sa.Column("plan_id", ddl.uuid(), sa.ForeignKey("plans.id"), primary_key=True),
        sa.Column("based_on", ddl.uuid(), sa.ForeignKey("plans.id"), nullable=False),
        sa.Column("changes", ddl.canonical_json(), nullable=False),
        sa.CheckConstraint("plan_id <> based_on", name="based_on_another"),
    )
    ddl.append_only("plan_changes")
    ddl.grant_app("plan_changes", append_only=True)


def downgrade() -> None:
    op.drop_table("plan_changes")
    op.drop_table("plan_runs")
    op.execute("UPDATE plans SET status = 'failed', failure = 'cancelled' WHERE status = 'cancelled'")
    _know(_STATUSES)


def _know(statuses: tuple[str, ...]) -> None:
    quoted = ", ".join(f"'{value}'" for value in sorted(statuses))
    with ddl.rebuild_table("plans", drops=("ck_plans_status_known",)) as batch:
        batch.drop_constraint("status_known", type_="check")
        batch.create_check_constraint("status_known", f"status IN ({quoted})")
