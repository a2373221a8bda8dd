"""Keep what banks send about money with its rejections, and the states of variances.

Variances that were resolved become `resolved`, the others `open`; nobody has explained one yet. Earlier statements stay as they are
and have no file row: they were taken whole.
"""

import sqlalchemy as sa
from alembic import op

from backend.db.migrations import ddl

revision = "bank_files"
down_revision = "custody"
branch_labels = None
depends_on = None

_APPEND_ONLY = ("bank_files", "bank_file_rejections", "variance_steps")


def upgrade() -> None:
    _create_files()
    with ddl.rebuild_table("variances") as batch:
        batch.add_column(sa.Column("status", ddl.choice(), nullable=False, server_default="open"))
    op.execute("UPDATE variances SET status = 'resolved' WHERE resolved_at IS NOT NULL")
    with ddl.rebuild_table("variances") as batch:
        batch.alter_column("status", existing_type=ddl.choice(), server_default=None)
        batch.create_check_constraint("status_known", sa.column("status").in_(("explained", "open", "resolved")))
        batch.create_check_constraint("resolved_has_time", sa.text("(status = 'resolved') = (resolved_at IS NOT NULL)"))
    op.create_index("ix_variances_statement_line_id", "variances", ["statement_line_id"])
    op.create_index("ix_statement_lines_statement_id", "statement_lines", ["statement_id"])
    op.create_index(
        "ix_statement_lines_unmatched_bank_id", "statement_lines", ["bank_id", "id"], postgresql_where=sa.text("deposit_id IS NULL"),
        sqlite_where=sa.text("deposit_id IS NULL"),
    )
    op.create_table(
        "variance_steps",
        sa.Column("id", ddl.uuid(), primary_key=True),
        sa.Column("variance_id", ddl.uuid(), sa.ForeignKey("variances.id"), nullable=False),
        sa.Column("at", ddl.instant(), nullable=False),
        sa.Column("by", ddl.uuid(), sa.ForeignKey("staff.id"), nullable=False),
        sa.Column("event", ddl.choice(), nullable=False),
        sa.Column("code", ddl.key(48), nullable=False),
        sa.Column("reference", ddl.key(64), nullable=True),
        ddl.known("event", ("explain", "resolve", "return")),
    )
    op.create_index("ix_variance_steps_variance_id_id", "variance_steps", ["variance_id", "id"])
    for table in _APPEND_ONLY:
        ddl.append_only(table)
        ddl.grant_app(table, append_only=True)


def downgrade() -> None:
    op.drop_table("variance_steps")
    op.drop_index("ix_statement_lines_unmatched_bank_id", "statement_lines")
    op.drop_index("ix_statement_lines_statement_id", "statement_lines")
    op.drop_index("ix_variances_statement_line_id", "variances")
    with ddl.rebuild_table("variances", drops=("ck_variances_status_known", "ck_variances_resolved_has_time")) as batch:
        batch.drop_constraint("resolved_has_time", type_="check")
        batch.drop_constraint("status_known", type_="check")
        batch.drop_column("status")
    op.drop_table("bank_file_rejections")
    op.drop_table("bank_files")


def _create_files() -> None:
    op.create_table(
        "bank_files",
        sa.Column("id", ddl.uuid(), primary_key=True),
        sa.Column("kind", ddl.choice(), nullable=False),
        sa.Column("bank_id", ddl.uuid(), sa.ForeignKey("banks.id"), nullable=False),
        sa.Column("file_sha256", ddl.key(64), nullable=False),
        sa.Column("encoding", ddl.key(16), nullable=False),
        sa.Column("acceptance", ddl.choice(), nullable=False),
        sa.Column("outcome", ddl.choice(), nullable=False),
        sa.Column("row_count", sa.Integer(), nullable=False),
        sa.Column("accepted_count", sa.Integer(), nullable=False),
        sa.Column("rejected_count", sa.Integer(), nullable=False),
        sa.Column("total_fen", ddl.money(), nullable=False),
        sa.Column("accepted_fen", ddl.money(), nullable=False),
        sa.Column("as_of_on", sa.Date(), nullable=True),
        sa.Column("imported_by", ddl.uuid(), sa.ForeignKey("staff.id"), nullable=False),
        sa.Column("imported_at", ddl.instant(), nullable=False),
        ddl.known("kind", ("repayments", "statement")),
        ddl.known("acceptance", ("accept_good", "all_or_nothing")),
        ddl.known("outcome", ("imported", "refused")),
        sa.CheckConstraint("accepted_count + rejected_count = row_count AND accepted_count >= 0 AND rejected_count >= 0", name="rows_add_up"),
        sa.CheckConstraint("accepted_fen >= 0 AND accepted_fen <= total_fen", name="sums_add_up"),
        sa.CheckConstraint("(kind = 'repayments') = (as_of_on IS NOT NULL)", name="repayments_are_dated"),
        sa.UniqueConstraint("bank_id", "kind", "file_sha256", "acceptance"),
    )
    op.create_index("ix_bank_files_bank_id_id", "bank_files", ["bank_id", "id"])
    op.create_table(
        "bank_file_rejections",
        sa.Column("file_id", ddl.uuid(), sa.ForeignKey("bank_files.id"), primary_key=True),
        sa.Column("position", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("row_number", sa.Integer(), nullable=False),
        sa.Column("column_name", ddl.key(32), nullable=False),
        sa.Column("code", ddl.key(32), nullable=False),
        sa.Column("expected", ddl.key(200), nullable=False),
        sa.Column("got", ddl.key(80), nullable=False),
    )
