"""Recordings off registered recorders and body cameras, with their owner and state; an index for what one device opened within a day.

Registered equipment is in use and has no owner named until somebody says otherwise. Going back forgets recordings and owners; items that
the pair had accepted keep their bytes and keys.
"""

import sqlalchemy as sa
from alembic import op

from backend.db.migrations import ddl

revision = "recordings"
down_revision = "cash_pauses"
branch_labels = None
depends_on = None

_FIXED = (
    "id", "equipment_id", "visit_id", "case_id", "bank_id", "branch_id", "imported_by", "imported_at", "sha256", "size", "media_type", "role",
    "told_started_at", "blob_key", "statement", "log_entry_id",
)
_ROLES = (
    "photo", "audio", "video", "declaration_page", "id_front", "id_back", "payer_signature", "deposit_slip", "debtor_document", "door_plate",
    "authorisation_shown", "letter_delivery", "police_slip", "cash_count", "counterfoil", "refusal",
)


def upgrade() -> None:
    """Make them."""
    op.create_index("ix_uploads_device_created_at", "uploads", ["device", "created_at"])
    with ddl.rebuild_table("equipment") as batch:
        batch.add_column(sa.Column("owner_id", ddl.uuid(), sa.ForeignKey("staff.id", name="fk_equipment_owner_id_staff")))
        batch.add_column(sa.Column("state", ddl.choice(), nullable=False, server_default="in_use"))
        batch.create_check_constraint("state_known", "state IN ('in_use', 'withdrawn')")
    with ddl.rebuild_table("equipment") as batch:
        batch.alter_column("state", server_default=None)
    op.create_table(
        "recordings",
        sa.Column("id", ddl.uuid(), primary_key=True),
        sa.Column("equipment_id", ddl.uuid(), sa.ForeignKey("equipment.id"), nullable=False),
        sa.Column("visit_id", ddl.uuid(), nullable=False),
        sa.Column("case_id", ddl.uuid(), sa.ForeignKey("cases.id"), nullable=False),
        sa.Column("bank_id", ddl.uuid(), sa.ForeignKey("banks.id"), nullable=False),
        sa.Column("branch_id", ddl.uuid(), sa.ForeignKey("branches.id"), nullable=False),
        sa.Column("imported_by", ddl.uuid(), sa.ForeignKey("staff.id"), nullable=False),
        sa.Column("imported_at", ddl.instant(), nullable=False),
        sa.Column("sha256", ddl.key(64), nullable=False),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("media_type", ddl.key(64), nullable=False),
        sa.Column("role", ddl.choice(), nullable=False),
        sa.Column("told_started_at", ddl.instant(), nullable=False),
        sa.Column("blob_key", ddl.key(200), nullable=False),
        sa.Column("wrapped_key", sa.LargeBinary),
        sa.Column("statement", sa.Text, nullable=False),
        sa.Column("log_entry_id", ddl.uuid(), sa.ForeignKey("log_entries.id"), nullable=False),
        sa.Column("examination", ddl.canonical_json()),
        sa.Column("examined_at", ddl.instant()),
        sa.Column("clock_proof", ddl.choice()),
        sa.Column("clock_offset_ms", sa.BigInteger),
        sa.UniqueConstraint("sha256"),
        ddl.known("role", _ROLES),
        ddl.known("clock_proof", ("filmed", "photographed", "inherited", "none")),
        sa.CheckConstraint("size > 0", name="size_positive"),
        sa.CheckConstraint(
            "(examination IS NULL) = (examined_at IS NULL) AND (examined_at IS NULL) = (clock_proof IS NULL)", name="examined_whole"),
        sa.CheckConstraint("clock_proof IS NULL OR (clock_proof = 'none') = (clock_offset_ms IS NULL)", name="offset_is_proven"),
    )
    op.create_index("ix_recordings_visit_id", "recordings", ["visit_id"])
    op.create_index("ix_recordings_case_id", "recordings", ["case_id"])
    op.create_index("ix_recordings_equipment_id_told_started_at", "recordings", ["equipment_id", "told_started_at"])
    op.create_index("ix_recordings_examined_at", "recordings", ["examined_at"])
    ddl.immutable_columns("recordings", _FIXED)
    ddl.refuse_update_when(
        "recordings", "examined_once", "OLD.examined_at IS NOT NULL AND (NEW.examined_at IS NULL OR NEW.examined_at <> OLD.examined_at "
        "OR NEW.clock_proof <> OLD.clock_proof OR NEW.clock_offset_ms <> OLD.clock_offset_ms)", "an examination stays as it is")
    ddl.refuse_update_when("recordings", "gone_is_gone", "OLD.wrapped_key IS NULL AND NEW.wrapped_key IS NOT NULL", "a key that is gone stays gone")
    _guard_destruction()
    ddl.forbid_delete("recordings")
    ddl.grant_app("recordings")


def _guard_destruction() -> None:
    """A key goes only by a destruction that two people decided and that is not done yet, and never under a legal hold."""
    is_lost = "OLD.wrapped_key IS NOT NULL AND NEW.wrapped_key IS NULL"
    refused = (
        "NOT EXISTS (SELECT 1 FROM destructions WHERE case_id = NEW.case_id AND is_approved AND done_at IS NULL) "
        "OR EXISTS (SELECT 1 FROM legal_holds WHERE case_id = NEW.case_id AND lifted_at IS NULL)")
    reason = "custody: destruction needs two people and no legal hold"
    ddl.execute(postgresql=f"""
        CREATE FUNCTION fieldvisit_recordings_custody() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            IF {is_lost} AND ({refused}) THEN
                RAISE EXCEPTION '{reason}' USING ERRCODE = 'integrity_constraint_violation';
            END IF;
            RETURN NEW;
        END $$
    """)
    ddl.execute(
        postgresql="CREATE TRIGGER tr_recordings_custody BEFORE UPDATE ON recordings FOR EACH ROW EXECUTE FUNCTION fieldvisit_recordings_custody()",
        sqlite=f"CREATE TRIGGER tr_recordings_custody BEFORE UPDATE ON recordings FOR EACH ROW WHEN ({is_lost} AND ({refused})) "
        f"BEGIN SELECT RAISE(ABORT, '{reason}'); END",
    )


def downgrade() -> None:
    """Drop them."""
    op.drop_table("recordings")
    ddl.execute(postgresql="DROP FUNCTION fieldvisit_recordings_custody()")
    with ddl.rebuild_table("equipment", drops=("ck_equipment_state_known",)) as batch:
        batch.drop_constraint("state_known", type_="check")
        batch.drop_constraint("fk_equipment_owner_id_staff", type_="foreignkey")
        batch.drop_column("state")
        batch.drop_column("owner_id")
    op.drop_index("ix_uploads_device_created_at", table_name="uploads")
