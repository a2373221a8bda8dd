"""Create the table of re-planned versions: what happened on the running day, and what changed by it.

It is new; no rows exist yet, for no version before came from another one.
"""

import sqlalchemy as sa
from alembic import op

from backend.db.migrations import ddl

revision = "replans"
down_revision = "cash_field"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "replans",
        sa.Column("plan_id", ddl.uuid(), sa.ForeignKey("plans.id"), primary_key=True),
        sa.Column("base_plan_id", ddl.uuid(), sa.ForeignKey("plans.id"), nullable=False),
        sa.Column("now_s", sa.Integer, nullable=False),
        sa.Column("events", ddl.canonical_json(), nullable=False),
        sa.Column("begun", ddl.canonical_json(), nullable=False),
        sa.Column("moves", ddl.canonical_json()),
        sa.CheckConstraint("plan_id <> base_plan_id", name="two_versions"),
        sa.CheckConstraint("now_s BETWEEN 0 AND 172800", name="now_within_day"),
    )
    op.create_index("ix_replans_base_plan_id", "replans", ["base_plan_id"])
    ddl.grant_app("replans")


def downgrade() -> None:
    op.drop_table("replans")
