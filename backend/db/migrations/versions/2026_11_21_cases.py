"""Create the tables of the banks' placements, debtors' contact data, phone contacts and visit requests.

They are new; no rows exist yet.
"""

revision = "cases"
down_revision = "people"
branch_labels = None
depends_on = None


def upgrade() -> None:
    pass


def downgrade() -> None:
    pass
