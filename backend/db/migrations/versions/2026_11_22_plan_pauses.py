"""Keep the pauses of a plan as stops of its routes: for the pair's day, the routes and their sheet.

Routes stored before keep only their visits and deposits; their pauses stand in the plan itself.
"""

from alembic import op

from backend.db.migrations import ddl

revision = "plan_pauses"
down_revision = "looks"
branch_labels = None
depends_on = None

_VISIT = "(kind = 'visit' AND visit_id IS NOT NULL AND request_id IS NOT NULL AND case_id IS NOT NULL AND bank_hours_id IS NULL)"
_DEPOSIT = "(kind = 'deposit' AND visit_id IS NULL AND request_id IS NULL AND case_id IS NULL AND bank_hours_id IS NOT NULL)"
_PAUSE = "(kind = 'pause' AND visit_id IS NULL AND request_id IS NULL AND case_id IS NULL AND bank_hours_id IS NULL)"


def upgrade() -> None:
    with ddl.rebuild_table("stops", drops=("ck_stops_kind_known", "ck_stops_visit_or_deposit")) as batch:
        batch.drop_constraint("kind_known", type_="check")
        batch.create_check_constraint("kind_known", "kind IN ('deposit', 'pause', 'visit')")
        batch.drop_constraint("visit_or_deposit", type_="check")
        batch.create_check_constraint("visit_deposit_or_pause", f"{_VISIT} OR {_DEPOSIT} OR {_PAUSE}")


def downgrade() -> None:
    _drop_guards()
    op.execute("DELETE FROM stops WHERE kind = 'pause'")
    with ddl.rebuild_table("stops", drops=("ck_stops_kind_known", "ck_stops_visit_deposit_or_pause")) as batch:
        batch.drop_constraint("kind_known", type_="check")
        batch.create_check_constraint("kind_known", "kind IN ('deposit', 'visit')")
        batch.drop_constraint("visit_deposit_or_pause", type_="check")
        batch.create_check_constraint("visit_or_deposit", f"{_VISIT} OR {_DEPOSIT}")
    ddl.append_only("stops")


def _drop_guards() -> None:
    """An append-only table gives up its rows only to the migration that no longer knows them."""
    for name in ("no_update", "no_delete"):
        ddl.execute(postgresql=f"DROP TRIGGER tr_stops_{name} ON stops", sqlite=f"DROP TRIGGER tr_stops_{name}")
    ddl.execute(postgresql="DROP TRIGGER tr_stops_no_truncate ON stops")
