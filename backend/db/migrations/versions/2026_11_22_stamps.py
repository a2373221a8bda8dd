"""Keep a third party's time-stamps over the log's checkpoints; append-only, and never over a root that the log does not have."""

import sqlalchemy as sa
from alembic import op

from backend.db.migrations import ddl

revision = "stamps"
down_revision = "cash_states"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "log_stamps",
        sa.Column("size", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("root", sa.LargeBinary, nullable=False),
        sa.Column("nonce", ddl.key(16), nullable=False),
        sa.Column("response", sa.LargeBinary, nullable=False),
        sa.Column("stamped_at", ddl.instant(), nullable=False),
        sa.Column("received_at", ddl.instant(), nullable=False),
        sa.ForeignKeyConstraint(["size", "root"], ["log_checkpoints.size", "log_checkpoints.root"]),
        sa.CheckConstraint("length(nonce) = 16 AND length(response) BETWEEN 1 AND 64000", name="stamp_whole"),
    )
    ddl.append_only("log_stamps")
    ddl.grant_app("log_stamps", append_only=True)


def downgrade() -> None:
    op.drop_table("log_stamps")
