"""Create the tables of pairs, routes and stops of a day.

They are new; no rows exist yet.
"""

revision = "plans"
down_revision = "exhibits"
branch_labels = None
depends_on = None


def upgrade() -> None:
    pass


def downgrade() -> None:
    pass
