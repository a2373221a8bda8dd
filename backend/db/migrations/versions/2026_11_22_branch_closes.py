"""Create the daily close of branches.

No day is closed yet: the first close of a branch takes in every posting since its accounts began. What the database itself refuses: a
day closed twice or out of order, a line that does not begin where the last one of its account ended or does not end where the account
stands, a day that does not add up, any change or removal.
"""

import sqlalchemy as sa
from alembic import op

from backend.db.migrations import ddl

revision = "branch_closes"
down_revision = "offers"
branch_labels = None
depends_on = None

_FEN = ("opening_fen", "collected_fen", "handed_in_fen", "handed_out_fen", "deposited_fen", "short_fen", "corrected_fen", "closing_fen")
_DAY = 'NEW."on" <= (SELECT max(closed."on") FROM branch_closes AS closed WHERE closed.branch_id = NEW.branch_id)'
_LINE = """
    NEW.ordinal_from <> 1 + coalesce((SELECT max(ordinal_to) FROM branch_close_lines AS closed WHERE closed.account_id = NEW.account_id), 0)
    OR NEW.opening_fen <> coalesce((
        SELECT closed.closing_fen FROM branch_close_lines AS closed WHERE closed.account_id = NEW.account_id ORDER BY closed.ordinal_to DESC LIMIT 1
    ), 0)
    OR NOT EXISTS (
        SELECT 1 FROM accounts WHERE accounts.id = NEW.account_id AND accounts.kind = 'custody'
        AND accounts.posting_count = NEW.ordinal_to AND accounts.balance_fen = NEW.closing_fen
    )
"""


def upgrade() -> None:
    op.create_table(
        "branch_closes",
        sa.Column("id", ddl.uuid(), primary_key=True),
        sa.Column("branch_id", ddl.uuid(), sa.ForeignKey("branches.id"), nullable=False),
        sa.Column("on", sa.Date(), nullable=False),
        sa.Column("closed_by", ddl.uuid(), sa.ForeignKey("staff.id"), nullable=False),
        sa.Column("closed_at", ddl.instant(), nullable=False),
        sa.Column("receipt_count", sa.Integer(), nullable=False),
        sa.Column("receipted_fen", ddl.money(), nullable=False),
        sa.Column("opening_fen", ddl.money(), nullable=False),
        sa.Column("closing_fen", ddl.money(), nullable=False),
        sa.Column("difference_count", sa.Integer(), nullable=False),
        sa.Column("content", ddl.canonical_json(), nullable=False),
        sa.Column("content_sha256", ddl.key(64), nullable=False),
        sa.Column("log_entry_id", ddl.uuid(), sa.ForeignKey("log_entries.id"), nullable=False),
        sa.CheckConstraint("receipt_count >= 0 AND receipted_fen >= 0 AND difference_count >= 0", name="counts_positive"),
        sa.UniqueConstraint("branch_id", "on"),
    )
    op.create_index("ix_branch_closes_branch_id_id", "branch_closes", ["branch_id", "id"])
    op.create_table(
        "branch_close_lines",
        sa.Column("close_id", ddl.uuid(), sa.ForeignKey("branch_closes.id"), primary_key=True),
        sa.Column("account_id", ddl.uuid(), sa.ForeignKey("accounts.id"), primary_key=True),
        sa.Column("ordinal_from", sa.Integer(), nullable=False),
        sa.Column("ordinal_to", sa.Integer(), nullable=False),
        *(sa.Column(name, ddl.money(), nullable=False) for name in _FEN),
        sa.CheckConstraint(
            "closing_fen = opening_fen + collected_fen + handed_in_fen - handed_out_fen - deposited_fen - short_fen + corrected_fen", name="day_adds_up"
        ),
        sa.CheckConstraint("ordinal_from >= 1 AND ordinal_to >= ordinal_from - 1", name="ordinals_in_order"),
    )
    op.create_index("ix_branch_close_lines_account_id_ordinal_to", "branch_close_lines", ["account_id", "ordinal_to"])
    for table in ("branch_closes", "branch_close_lines"):
        ddl.append_only(table)
        ddl.grant_app(table, append_only=True)
    _refuse_insert("branch_closes", "in_order", _DAY, "days are closed once and in order")
    _refuse_insert("branch_close_lines", "follows", _LINE, "a day begins where the last one ended and ends where the account stands")


def downgrade() -> None:
    op.drop_table("branch_close_lines")
    op.drop_table("branch_closes")
    for name in ("branch_close_lines_follows", "branch_closes_in_order"):
        ddl.execute(postgresql=f"DROP FUNCTION fieldvisit_{name}()")


def _refuse_insert(table: str, name: str, condition: str, reason: str) -> None:
    ddl.execute(
        postgresql=f"""
        CREATE FUNCTION fieldvisit_{table}_{name}() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            IF {condition} THEN
                RAISE EXCEPTION '{reason}' USING ERRCODE = 'integrity_constraint_violation';
            END IF;
            RETURN NEW;
        END $$
        """,
        sqlite=f"CREATE TRIGGER tr_{table}_{name} BEFORE INSERT ON {table} FOR EACH ROW WHEN ({condition}) "
        f"BEGIN SELECT RAISE(ABORT, '{reason}'); END",
    )
    ddl.execute(postgresql=f"CREATE TRIGGER tr_{table}_{name} BEFORE INSERT ON {table} FOR EACH ROW EXECUTE FUNCTION fieldvisit_{table}_{name}()")
