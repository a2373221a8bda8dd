"""Keep what each business row said when it was written: a version and a digest, spoken for by a leaf of the log.

Rows from before have no commitment yet; `fieldvisit audit adopt` commits them as they stand, once, after the upgrade.
"""

import sqlalchemy as sa
from alembic import op

from backend.db.migrations import ddl

revision = "row_commitments"
down_revision = "jobs"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "row_commitments",
        sa.Column("id", ddl.uuid(), primary_key=True),
        sa.Column("table_name", ddl.key(64), nullable=False),
        sa.Column("row_key", ddl.key(200), nullable=False),
        sa.Column("version", sa.BigInteger, nullable=False),
        sa.Column("digest", ddl.key(64), nullable=False),
        sa.Column("log_entry_id", ddl.uuid(), sa.ForeignKey("log_entries.id"), nullable=False),
        sa.UniqueConstraint("table_name", "row_key", "version"),
        sa.CheckConstraint("version > 0", name="version_positive"),
    )
    op.create_index("ix_row_commitments_log_entry_id", "row_commitments", ["log_entry_id"])
    ddl.append_only("row_commitments")
    ddl.grant_app("row_commitments", append_only=True)


def downgrade() -> None:
    op.drop_table("row_commitments")
