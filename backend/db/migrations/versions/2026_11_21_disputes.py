"""Create the tables of denials, declarations and the suspension they bring.

They are new; no rows exist yet.
"""

import sqlalchemy as sa
from alembic import op

from backend.db.migrations import ddl

revision = "disputes"
down_revision = "visits"
branch_labels = None
depends_on = None

_FIXED = {
    "disputes": ("id", "case_id", "visit_id", "bank_id", "branch_id", "kind", "stated_at", "recorded_by", "recorded_at"),
    "declarations": (
        "id", "dispute_id", "case_id", "visit_id", "bank_id", "branch_id", "manifest_id", "template_id", "has_circumstances", "is_text_deviating",
        "standing", "taken_at", "recorded_at", "policy_version",
    ),
}


def upgrade() -> None:
    op.create_table(
        "disputes",
        sa.Column("id", ddl.uuid(), primary_key=True),
        sa.Column("case_id", ddl.uuid(), sa.ForeignKey("cases.id"), nullable=False),
        sa.Column("visit_id", ddl.uuid(), sa.ForeignKey("visits.id"), nullable=True),
        sa.Column("bank_id", ddl.uuid(), sa.ForeignKey("banks.id"), nullable=False),
        sa.Column("branch_id", ddl.uuid(), sa.ForeignKey("branches.id"), nullable=False),
        sa.Column("kind", ddl.choice(), nullable=False),
        sa.Column("status", ddl.choice(), nullable=False),
        sa.Column("stated_at", ddl.instant(), nullable=False),
        sa.Column("recorded_by", ddl.uuid(), sa.ForeignKey("staff.id"), nullable=False),
        sa.Column("recorded_at", ddl.instant(), nullable=False),
        sa.Column("ruling", ddl.choice(), nullable=True),
        sa.Column("ruled_by", ddl.uuid(), sa.ForeignKey("staff.id"), nullable=True),
        sa.Column("ruled_at", ddl.instant(), nullable=True),
        sa.Column("log_entry_id", ddl.uuid(), sa.ForeignKey("log_entries.id"), nullable=True),
        sa.CheckConstraint("kind IN ('denies_application', 'denies_spending', 'disputes_amount')", name="kind_known"),
        sa.CheckConstraint("ruling IN ('amount_corrected', 'amount_stands', 'fraud', 'own_card')", name="ruling_known"),
        sa.CheckConstraint("(status = 'ruled') = (ruling IS NOT NULL AND ruled_by IS NOT NULL AND ruled_at IS NOT NULL)", name="ruling_whole"),
        sa.CheckConstraint("status IN ('declared', 'ruled', 'stated')", name="status_known"),
    )
    op.create_index("ix_disputes_bank_id_id", "disputes", ["bank_id", "id"])
    op.create_index("ix_disputes_case_id_status", "disputes", ["case_id", "status"])
    op.create_table(
        "declarations",
        sa.Column("id", ddl.uuid(), primary_key=True),
        sa.Column("dispute_id", ddl.uuid(), sa.ForeignKey("disputes.id"), nullable=False),
        sa.Column("case_id", ddl.uuid(), sa.ForeignKey("cases.id"), nullable=False),
        sa.Column("visit_id", ddl.uuid(), sa.ForeignKey("visits.id"), nullable=True),
        sa.Column("bank_id", ddl.uuid(), sa.ForeignKey("banks.id"), nullable=False),
        sa.Column("branch_id", ddl.uuid(), sa.ForeignKey("branches.id"), nullable=False),
        sa.Column("manifest_id", ddl.uuid(), sa.ForeignKey("manifests.id"), nullable=False),
        sa.Column("template_id", ddl.uuid(), sa.ForeignKey("templates.id"), nullable=True),
        sa.Column("has_circumstances", sa.Boolean(), nullable=False),
        sa.Column("is_text_deviating", sa.Boolean(), nullable=False),
        sa.Column("standing", ddl.choice(), nullable=False),
        sa.Column("status", ddl.choice(), nullable=False),
        sa.Column("taken_at", ddl.instant(), nullable=False),
        sa.Column("recorded_at", ddl.instant(), nullable=False),
        sa.Column("policy_version", ddl.key(64), nullable=False),
        sa.Column("investigator_id", ddl.uuid(), sa.ForeignKey("staff.id"), nullable=True),
        sa.Column("investigator_named_at", ddl.instant(), nullable=True),
        sa.Column("handwriting", ddl.choice(), nullable=True),
        sa.Column("handwriting_at", ddl.instant(), nullable=True),
        sa.Column("ruling", ddl.choice(), nullable=True),
        sa.Column("ruled_by", ddl.uuid(), sa.ForeignKey("staff.id"), nullable=True),
        sa.Column("ruled_at", ddl.instant(), nullable=True),
        sa.Column("record_deletion", ddl.choice(), nullable=False),
        sa.CheckConstraint("status NOT IN ('compared', 'ruled') OR handwriting IS NOT NULL", name="handwriting_compared"),
        sa.CheckConstraint("handwriting IN ('inconclusive', 'other_hand', 'same_hand')", name="handwriting_known"),
        sa.CheckConstraint("status = 'taken' OR investigator_id IS NOT NULL", name="investigator_named"),
        sa.CheckConstraint("record_deletion IN ('done', 'not_due', 'requested')", name="record_deletion_known"),
        sa.CheckConstraint("ruling IN ('amount_corrected', 'amount_stands', 'fraud', 'own_card')", name="ruling_known"),
        sa.CheckConstraint("(status = 'ruled') = (ruling IS NOT NULL AND ruled_by IS NOT NULL AND ruled_at IS NOT NULL)", name="ruling_whole"),
        sa.CheckConstraint("standing IN ('accepted', 'breach', 'doubtful', 'quarantined')", name="standing_known"),
        sa.CheckConstraint("status IN ('compared', 'investigation', 'ruled', 'taken')", name="status_known"),
        sa.UniqueConstraint("manifest_id"),
    )
    op.create_index("ix_declarations_bank_id_id", "declarations", ["bank_id", "id"])
    op.create_index("ix_declarations_case_id", "declarations", ["case_id"])
    op.create_index("ix_declarations_dispute_id", "declarations", ["dispute_id"])
    for table, columns in _FIXED.items():
        ddl.grant_app(table)
        ddl.forbid_delete(table)
        ddl.immutable_columns(table, columns)


def downgrade() -> None:
    op.drop_table("declarations")
    op.drop_table("disputes")
