"""Create what cash in the field needs besides the ledger, and let an invitation wait for a second person.

New tables: who of a bank answers requests and when, when its counters take cash on a date, who held and counted a receipt book,
payments made to the bank and witnessed at the door, and how often anonymous callers asked. Invitations made before need no
confirmation; those of bank people who have a login already are used up.
"""

import sqlalchemy as sa
from alembic import op

from backend.db.migrations import ddl

revision = "cash_field"
down_revision = "branch_closes"
branch_labels = None
depends_on = None

TABLES = (
    "invitation_confirmations", "authoriser_duties", "office_terms", "office_days", "bank_calendar_days", "receipt_book_takings", "receipt_book_counts", "direct_payments",
    "request_counts",
)


def upgrade() -> None:
    op.create_table(
        "invitation_confirmations",
        sa.Column("invitation_id", ddl.uuid(), sa.ForeignKey("invitations.id"), primary_key=True),
        sa.Column("staff_id", ddl.uuid(), sa.ForeignKey("staff.id"), nullable=False),
        sa.Column("invited_by", ddl.uuid(), sa.ForeignKey("staff.id"), nullable=False),
        sa.Column("confirmed_by", ddl.uuid(), sa.ForeignKey("staff.id"), nullable=True),
        sa.Column("confirmed_at", ddl.instant(), nullable=True),
        sa.CheckConstraint("(confirmed_by IS NULL) = (confirmed_at IS NULL)", name="confirmation_whole"),
        sa.CheckConstraint("confirmed_by <> invited_by AND confirmed_by <> staff_id", name="two_people"),
    )
    ddl.immutable_columns("invitation_confirmations", ("invitation_id", "staff_id", "invited_by"))
    ddl.forbid_delete("invitation_confirmations")
    ddl.grant_app("invitation_confirmations")
    _create_banks_tables()
    _create_book_tables()
    _create_direct_payments()
    op.create_table(
        "request_counts",
        sa.Column("bucket", ddl.key(64), primary_key=True),
        sa.Column("begun_at", ddl.instant(), nullable=False),
        sa.Column("number", sa.Integer, nullable=False),
    )
    op.create_index("ix_request_counts_begun_at", "request_counts", ["begun_at"])
    # Worth nothing after a crash, and written by strangers: it stays out of the write-ahead log.
    ddl.execute(postgresql="ALTER TABLE request_counts SET UNLOGGED")
    ddl.grant_app("request_counts")


def downgrade() -> None:
    for table in reversed(TABLES):
        op.drop_table(table)


def _create_banks_tables() -> None:
    op.create_table(
        "authoriser_duties",
        sa.Column("id", ddl.uuid(), primary_key=True),
        sa.Column("bank_id", ddl.uuid(), sa.ForeignKey("banks.id"), nullable=False),
        sa.Column("staff_id", ddl.uuid(), sa.ForeignKey("staff.id"), nullable=False),
        sa.Column("from_at", ddl.instant(), nullable=False),
        sa.Column("to_at", ddl.instant(), nullable=False),
        sa.Column("set_by", ddl.uuid(), sa.ForeignKey("staff.id"), nullable=False),
        sa.UniqueConstraint("staff_id", "from_at"),
        sa.CheckConstraint("to_at > from_at", name="in_order"),
    )
    op.create_index("ix_authoriser_duties_bank_id_to_at", "authoriser_duties", ["bank_id", "to_at"])
    ddl.grant_app("authoriser_duties")
    op.create_table(
        "office_terms",
        sa.Column("office_id", ddl.uuid(), sa.ForeignKey("bank_hours.id"), primary_key=True),
        sa.Column("kind", ddl.choice(), nullable=False),
        sa.Column("is_open_on_off_days", sa.Boolean, nullable=False),
        sa.Column("deposit_fen_max", ddl.money(), nullable=True),
        ddl.known("kind", ("counter", "machine")),
        sa.CheckConstraint("deposit_fen_max > 0", name="limit_positive"),
    )
    ddl.grant_app("office_terms")
    op.create_table(
        "office_days",
        sa.Column("office_id", ddl.uuid(), sa.ForeignKey("bank_hours.id"), primary_key=True),
        sa.Column("on", sa.Date, primary_key=True),
        sa.Column("opens_s", sa.Integer, nullable=True),
        sa.Column("closes_s", sa.Integer, nullable=True),
        sa.CheckConstraint("(opens_s IS NULL) = (closes_s IS NULL)", name="whole"),
        sa.CheckConstraint("0 <= opens_s AND opens_s < closes_s AND closes_s <= 86400", name="within_a_day"),
    )
    ddl.grant_app("office_days")
    op.create_table(
        "bank_calendar_days",
        sa.Column("bank_id", ddl.uuid(), sa.ForeignKey("banks.id"), primary_key=True),
        sa.Column("on", sa.Date, primary_key=True),
        sa.Column("is_workday", sa.Boolean, nullable=False),
    )
    ddl.grant_app("bank_calendar_days")


def _create_book_tables() -> None:
    op.create_table(
        "receipt_book_takings",
        sa.Column("book_id", ddl.uuid(), sa.ForeignKey("receipt_books.id"), primary_key=True),
        sa.Column("taken_by", ddl.uuid(), sa.ForeignKey("staff.id"), nullable=False),
        sa.Column("taken_at", ddl.instant(), nullable=False),
        sa.Column("is_seal_whole", sa.Boolean, nullable=False),
    )
    ddl.append_only("receipt_book_takings")
    ddl.grant_app("receipt_book_takings", append_only=True)
    op.create_table(
        "receipt_book_counts",
        sa.Column("book_id", ddl.uuid(), sa.ForeignKey("receipt_books.id"), primary_key=True),
        sa.Column("counted_by", ddl.uuid(), sa.ForeignKey("staff.id"), nullable=False),
        sa.Column("counted_at", ddl.instant(), nullable=False),
        sa.Column("unused", ddl.canonical_json(), nullable=False),
        sa.Column("void_parts", ddl.canonical_json(), nullable=False),
        sa.Column("missing", ddl.canonical_json(), nullable=False),
    )
    ddl.append_only("receipt_book_counts")
    ddl.grant_app("receipt_book_counts", append_only=True)


def _create_direct_payments() -> None:
    op.create_table(
        "direct_payments",
        sa.Column("id", ddl.uuid(), primary_key=True),
        sa.Column("case_id", ddl.uuid(), sa.ForeignKey("cases.id"), nullable=False),
        sa.Column("visit_id", ddl.uuid(), sa.ForeignKey("visits.id"), nullable=False),
        sa.Column("bank_id", ddl.uuid(), sa.ForeignKey("banks.id"), nullable=False),
        sa.Column("branch_id", ddl.uuid(), sa.ForeignKey("branches.id"), nullable=False),
        sa.Column("amount_fen", ddl.money(), nullable=False),
        sa.Column("channel", ddl.key(64), nullable=False),
        sa.Column("paid_at", ddl.instant(), nullable=False),
        sa.Column("witnessed_by", ddl.uuid(), sa.ForeignKey("staff.id"), nullable=False),
        sa.Column("witnessed_at", ddl.instant(), nullable=False),
        sa.Column("due_at", ddl.instant(), nullable=False),
        sa.Column("status", ddl.choice(), nullable=False),
        sa.Column("settled_at", ddl.instant(), nullable=True),
        sa.Column("reference", ddl.key(64), nullable=True),
        sa.Column("confirmed_fen", ddl.money(), nullable=True),
        sa.UniqueConstraint("visit_id", "paid_at", "amount_fen"),
        sa.UniqueConstraint("bank_id", "reference"),
        sa.CheckConstraint("amount_fen > 0", name="amount_positive"),
        sa.CheckConstraint("confirmed_fen > 0", name="confirmed_positive"),
        sa.CheckConstraint("(status = 'claimed') = (settled_at IS NULL)", name="settled_has_time"),
        sa.CheckConstraint("(status = 'confirmed') = (reference IS NOT NULL AND confirmed_fen IS NOT NULL)", name="confirmed_by_the_bank"),
        ddl.known("status", ("claimed", "confirmed", "contradicted")),
    )
    op.create_index("ix_direct_payments_bank_id_id", "direct_payments", ["bank_id", "id"])
    op.create_index("ix_direct_payments_case_id_status", "direct_payments", ["case_id", "status"])
    ddl.immutable_columns("direct_payments", (
        "id", "case_id", "visit_id", "bank_id", "branch_id", "amount_fen", "channel", "paid_at", "witnessed_by", "witnessed_at", "due_at"))
    ddl.refuse_update_when("direct_payments", "settled", "OLD.status <> 'claimed'", "a settled claim stays settled")
    ddl.forbid_delete("direct_payments")
    ddl.grant_app("direct_payments")
