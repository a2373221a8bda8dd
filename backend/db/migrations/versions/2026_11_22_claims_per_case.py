"""Let one payment of the bank settle a claim in each of several cases: its reference is used once per case, not once per bank.

The way back fails where that has happened, and loses nothing.
"""

from backend.db.migrations import ddl

revision = "claims_per_case"
down_revision = "desk_proofs"
branch_labels = None
depends_on = None

_PER_BANK, _PER_CASE = "uq_direct_payments_bank_id_reference", "uq_direct_payments_case_id_reference"


def upgrade() -> None:
    with ddl.rebuild_table("direct_payments", drops=(_PER_BANK,)) as batch:
        batch.drop_constraint(_PER_BANK, type_="unique")
        batch.create_unique_constraint(_PER_CASE, ["case_id", "reference"])


def downgrade() -> None:
    with ddl.rebuild_table("direct_payments", drops=(_PER_CASE,)) as batch:
        batch.drop_constraint(_PER_CASE, type_="unique")
        batch.create_unique_constraint(_PER_BANK, ["bank_id", "reference"])
