"""Create the table of draws of partners: committed when a plan is ordered, revealed when it is published.

It is new; plans ordered before have no draw, and none is made for them.
"""

import sqlalchemy as sa
from alembic import op

from backend.db.migrations import ddl

revision = "plan_draws"
down_revision = "renewals"
branch_labels = None
depends_on = None

FIXED = ("plan_id", "chance_pct", "commitment", "seed")


def upgrade() -> None:
    op.create_table(
        "plan_draws",
        sa.Column("plan_id", ddl.uuid(), sa.ForeignKey("plans.id"), primary_key=True),
        sa.Column("chance_pct", sa.Integer, nullable=False),
        sa.Column("commitment", ddl.key(), nullable=False),
        sa.Column("seed", ddl.key(), nullable=False),
        sa.Column("document", ddl.canonical_json()),
        sa.Column("base", ddl.canonical_json()),
        sa.Column("revealed_at", ddl.instant()),
        sa.CheckConstraint("chance_pct BETWEEN 1 AND 100", name="chance_is_percent"),
        sa.CheckConstraint("commitment <> seed", name="seed_is_hidden"),
        sa.CheckConstraint("(document IS NULL) = (base IS NULL)", name="drawn_from_a_plan"),
        sa.CheckConstraint("revealed_at IS NULL OR document IS NOT NULL", name="revealed_is_drawn"),
    )
    ddl.immutable_columns("plan_draws", FIXED)
    ddl.forbid_delete("plan_draws", "draws are kept")
    ddl.grant_app("plan_draws")


def downgrade() -> None:
    op.drop_table("plan_draws")
