"""Let a witnessed payment stop its case, hints of a personal transfer block a pair, and contacts at a door carry their result.

Cases with an open claim of a direct payment are stopped from its moment on. Files imported before were taken for the whole bank.
Contacts of visits made before keep what they say and name no visit; the visits themselves hold the outcomes.
"""

import sqlalchemy as sa
from alembic import op

from backend.db.migrations import ddl

revision = "cash_pauses"
down_revision = "witnesses"
branch_labels = None
depends_on = None

_OPEN_CLAIM = "SELECT min(witnessed_at) FROM direct_payments WHERE direct_payments.case_id = cases.id AND status = 'claimed'"
_NAMED = "(person = 'third_party') = (third_party_id IS NOT NULL)"
_NAMED_OR_MET = "(person = 'third_party') = (third_party_id IS NOT NULL) OR (person = 'third_party' AND channel = 'visit')"


def upgrade() -> None:
    op.add_column("cases", sa.Column("payment_claimed_at", ddl.instant(), nullable=True))
    op.execute(f"UPDATE cases SET payment_claimed_at = ({_OPEN_CLAIM})")
    with ddl.rebuild_table("contact_records", drops=("ck_contact_records_third_party_is_named",)) as batch:
        batch.add_column(sa.Column("visit_id", ddl.uuid(), nullable=True))
        batch.create_foreign_key("fk_contact_records_visit_id_visits", "visits", ["visit_id"], ["id"])
        batch.create_unique_constraint("uq_contact_records_visit_id", ["visit_id"])
        batch.drop_constraint("third_party_is_named", type_="check")
        batch.create_check_constraint("third_party_is_named", sa.text(_NAMED_OR_MET))
    with ddl.rebuild_table("bank_files", drops=("uq_bank_files_bank_id_kind_file_sha256_acceptance",)) as batch:
        batch.add_column(sa.Column("scope", ddl.key(64), nullable=False, server_default="all"))
        batch.drop_constraint("uq_bank_files_bank_id_kind_file_sha256_acceptance", type_="unique")
        batch.create_unique_constraint("uq_bank_files_bank_id_kind_file_sha256_acceptance_scope", [
            "bank_id", "kind", "file_sha256", "acceptance", "scope"])
    with ddl.rebuild_table("bank_files") as batch:
        batch.alter_column("scope", existing_type=ddl.key(64), server_default=None)
    _create_hints()


def downgrade() -> None:
    op.drop_table("cash_hints")
    with ddl.rebuild_table("bank_files", drops=("uq_bank_files_bank_id_kind_file_sha256_acceptance_scope",)) as batch:
        batch.drop_constraint("uq_bank_files_bank_id_kind_file_sha256_acceptance_scope", type_="unique")
        batch.drop_column("scope")
        batch.create_unique_constraint("uq_bank_files_bank_id_kind_file_sha256_acceptance", ["bank_id", "kind", "file_sha256", "acceptance"])
    op.execute("UPDATE contact_records SET person = 'nobody' WHERE person = 'third_party' AND third_party_id IS NULL")
    with ddl.rebuild_table("contact_records", drops=("ck_contact_records_third_party_is_named",)) as batch:
        batch.drop_constraint("third_party_is_named", type_="check")
        batch.create_check_constraint("third_party_is_named", sa.text(_NAMED))
        batch.drop_constraint("uq_contact_records_visit_id", type_="unique")
        batch.drop_constraint("fk_contact_records_visit_id_visits", type_="foreignkey")
        batch.drop_column("visit_id")
    op.drop_column("cases", "payment_claimed_at")


def _create_hints() -> None:
    op.create_table(
        "cash_hints",
        sa.Column("id", ddl.uuid(), primary_key=True),
        sa.Column("case_id", ddl.uuid(), sa.ForeignKey("cases.id"), nullable=False),
        sa.Column("visit_id", ddl.uuid(), sa.ForeignKey("visits.id"), nullable=False),
        sa.Column("bank_id", ddl.uuid(), sa.ForeignKey("banks.id"), nullable=False),
        sa.Column("branch_id", ddl.uuid(), sa.ForeignKey("branches.id"), nullable=False),
        sa.Column("collector_id", ddl.uuid(), sa.ForeignKey("staff.id"), nullable=False),
        sa.Column("cosigner_id", ddl.uuid(), sa.ForeignKey("staff.id"), nullable=False),
        sa.Column("source", ddl.choice(), nullable=False),
        sa.Column("subject_id", ddl.uuid(), nullable=True),
        sa.Column("told_by", ddl.uuid(), sa.ForeignKey("staff.id"), nullable=False),
        sa.Column("told_at", ddl.instant(), nullable=False),
        sa.Column("agency_finding", ddl.choice(), nullable=True),
        sa.Column("agency_resolved_at", ddl.instant(), nullable=True),
        sa.Column("agency_resolved_by", ddl.uuid(), sa.ForeignKey("staff.id"), nullable=True),
        sa.Column("bank_finding", ddl.choice(), nullable=True),
        sa.Column("bank_resolved_at", ddl.instant(), nullable=True),
        sa.Column("bank_resolved_by", ddl.uuid(), sa.ForeignKey("staff.id"), nullable=True),
        ddl.known("source", ("call", "complaint", "credit", "recording")),
        ddl.known("agency_finding", ("unfounded", "upheld")),
        ddl.known("bank_finding", ("unfounded", "upheld")),
        sa.CheckConstraint("collector_id <> cosigner_id", name="two_people"),
        sa.CheckConstraint("told_by <> agency_resolved_by AND told_by <> bank_resolved_by", name="told_by_another"),
        sa.CheckConstraint(
            "(agency_resolved_at IS NULL) = (agency_resolved_by IS NULL) AND (agency_resolved_at IS NULL) = (agency_finding IS NULL)",
            name="agency_whole"),
        sa.CheckConstraint(
            "(bank_resolved_at IS NULL) = (bank_resolved_by IS NULL) AND (bank_resolved_at IS NULL) = (bank_finding IS NULL)", name="bank_whole"),
    )
    op.create_index("ix_cash_hints_collector_id", "cash_hints", ["collector_id"])
    op.create_index("ix_cash_hints_cosigner_id", "cash_hints", ["cosigner_id"])
    op.create_index("ix_cash_hints_bank_id_id", "cash_hints", ["bank_id", "id"])
    ddl.immutable_columns("cash_hints", (
        "id", "case_id", "visit_id", "bank_id", "branch_id", "collector_id", "cosigner_id", "source", "subject_id", "told_by", "told_at"))
    ddl.refuse_update_when(
        "cash_hints", "agency_settled", "OLD.agency_resolved_at IS NOT NULL AND (OLD.agency_resolved_at <> NEW.agency_resolved_at "
        "OR NEW.agency_resolved_at IS NULL OR OLD.agency_finding <> NEW.agency_finding)", "a finding stands")
    ddl.refuse_update_when(
        "cash_hints", "bank_settled", "OLD.bank_resolved_at IS NOT NULL AND (OLD.bank_resolved_at <> NEW.bank_resolved_at "
        "OR NEW.bank_resolved_at IS NULL OR OLD.bank_finding <> NEW.bank_finding)", "a finding stands")
    ddl.forbid_delete("cash_hints")
    ddl.grant_app("cash_hints")
