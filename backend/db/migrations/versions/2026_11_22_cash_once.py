"""Let the database itself hold what happens once to money: taken once, freed once, revoked for good, resolved for good.

A transfer that takes money is the only one of its collection. A revocation, a reversed line of a deposit and a word on an exception stand.
"""

import sqlalchemy as sa
from alembic import op

from backend.db.migrations import ddl

revision = "cash_once"
down_revision = "plan_draws"
branch_labels = None
depends_on = None

_TAKING = "kind = 'collection'"
_STANDS = {
    ("authorisations", "revoked"): ("revoked_at", "revoked_by"),
    ("deposit_lines", "freed"): ("reversed_at",),
    ("cash_exceptions", "agency"): ("agency_resolved_at", "agency_resolved_by"),
    ("cash_exceptions", "bank"): ("bank_resolved_at", "bank_resolved_by"),
}


def upgrade() -> None:
    op.create_index(
        "uq_transfers_taken_collection_id", "transfers", ["collection_id"], unique=True, postgresql_where=sa.text(_TAKING), sqlite_where=sa.text(_TAKING))
    for (table, name), columns in _STANDS.items():
        changed = " OR ".join(f"NEW.{column} IS NULL OR OLD.{column} <> NEW.{column}" for column in columns)
        ddl.refuse_update_when(table, f"{name}_stands", f"OLD.{columns[0]} IS NOT NULL AND ({changed})", "it happens once")


def downgrade() -> None:
    for table, name in _STANDS:
        ddl.execute(postgresql=f"DROP TRIGGER tr_{table}_{name}_stands ON {table}", sqlite=f"DROP TRIGGER tr_{table}_{name}_stands")
    op.drop_index("uq_transfers_taken_collection_id", "transfers")
