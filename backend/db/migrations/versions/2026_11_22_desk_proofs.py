"""Suspicions of fraud reported to the bank; recorders' clocks bound to the pair's own phones; a credit record deleted only after fraud.

Recordings that are here take their pair from their visit; what proved their clocks stays, but which phone it was is not known of them.
Going back forgets suspicions and which phone proved a clock.
"""

import sqlalchemy as sa
from alembic import op

from backend.db.migrations import ddl

revision = "desk_proofs"
down_revision = "plan_pauses"
branch_labels = None
depends_on = None

_REASON = "a clock is proven by a phone of the pair that made the visit"
_UNBOUND = (
    "NEW.clock_proof IN ('filmed', 'photographed') AND OLD.clock_proof IS NULL AND NOT EXISTS "
    "(SELECT 1 FROM devices WHERE kid = NEW.clock_device AND staff_id IN (NEW.pair_a, NEW.pair_b))")


def upgrade() -> None:
    """Make them."""
    _make_suspicions()
    with ddl.rebuild_table("recordings") as batch:
        batch.add_column(sa.Column("pair_a", ddl.uuid(), sa.ForeignKey("staff.id", name="fk_recordings_pair_a_staff")))
        batch.add_column(sa.Column("pair_b", ddl.uuid(), sa.ForeignKey("staff.id", name="fk_recordings_pair_b_staff")))
        batch.add_column(sa.Column("clock_device", ddl.key(43), sa.ForeignKey("devices.kid", name="fk_recordings_clock_device_devices")))
        batch.add_column(sa.Column("clock_shown_at", ddl.instant()))
        batch.create_check_constraint("two_people", "pair_a <> pair_b AND (pair_a IS NULL) = (pair_b IS NULL)")
        batch.create_check_constraint("shown_by_a_device", "(clock_device IS NULL) = (clock_shown_at IS NULL)")
    ddl.execute(**dict.fromkeys(("postgresql", "sqlite"), """
        UPDATE recordings SET pair_a = (SELECT collector_a FROM visits WHERE visits.id = recordings.visit_id),
        pair_b = (SELECT collector_b FROM visits WHERE visits.id = recordings.visit_id)
    """))
    ddl.refuse_update_when(
        "recordings", "pair_stands", "OLD.pair_a <> NEW.pair_a OR OLD.pair_b <> NEW.pair_b OR (OLD.pair_a IS NOT NULL AND NEW.pair_a IS NULL)",
        "the pair of a recording stays")
    ddl.refuse_update_when(
        "recordings", "mark_stands", "OLD.examined_at IS NOT NULL AND (OLD.clock_device <> NEW.clock_device OR OLD.clock_shown_at <> NEW.clock_shown_at "
        "OR (OLD.clock_device IS NULL) <> (NEW.clock_device IS NULL))", "what proved a clock stays")
    ddl.execute(postgresql=f"""
        CREATE FUNCTION fieldvisit_recordings_clock() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            IF {_UNBOUND} THEN
                RAISE EXCEPTION '{_REASON}' USING ERRCODE = 'integrity_constraint_violation';
            END IF;
            RETURN NEW;
        END $$
    """)
    ddl.execute(
        postgresql="CREATE TRIGGER tr_recordings_clock BEFORE UPDATE ON recordings FOR EACH ROW EXECUTE FUNCTION fieldvisit_recordings_clock()",
        sqlite=f"CREATE TRIGGER tr_recordings_clock BEFORE UPDATE ON recordings FOR EACH ROW WHEN ({_UNBOUND}) "
        f"BEGIN SELECT RAISE(ABORT, '{_REASON}'); END",
    )
    ddl.refuse_update_when(
        "declarations", "deletion_after_fraud",
        "NEW.record_deletion <> OLD.record_deletion AND ((NEW.record_deletion <> 'not_due' AND (NEW.ruling IS NULL OR NEW.ruling <> 'fraud')) "
        "OR NEW.record_deletion = 'not_due' OR OLD.record_deletion = 'done')", "a credit record is deleted after a ruling of fraud, step by step")


def _make_suspicions() -> None:
    op.create_table(
        "suspicions",
        sa.Column("id", ddl.uuid(), primary_key=True),
        sa.Column("case_id", ddl.uuid(), sa.ForeignKey("cases.id"), nullable=False),
        sa.Column("bank_id", ddl.uuid(), sa.ForeignKey("banks.id"), nullable=False),
        sa.Column("branch_id", ddl.uuid(), sa.ForeignKey("branches.id"), nullable=False),
        sa.Column("ground", ddl.choice(), nullable=False),
        sa.Column("declaration_id", ddl.uuid(), sa.ForeignKey("declarations.id")),
        sa.Column("heard_by", ddl.uuid(), sa.ForeignKey("staff.id"), nullable=False),
        sa.Column("heard_at", ddl.instant(), nullable=False),
        sa.Column("status", ddl.choice(), nullable=False),
        sa.Column("decided_by", ddl.uuid(), sa.ForeignKey("staff.id")),
        sa.Column("decided_at", ddl.instant()),
        sa.Column("due_at", ddl.instant()),
        sa.Column("log_entry_id", ddl.uuid(), sa.ForeignKey("log_entries.id")),
        sa.Column("acknowledged_by", ddl.uuid(), sa.ForeignKey("staff.id")),
        sa.Column("acknowledged_at", ddl.instant()),
        sa.Column("proof_entry_id", ddl.uuid(), sa.ForeignKey("log_entries.id")),
        sa.Column("policy_version", ddl.key(64), nullable=False),
        ddl.known("ground", ("fraud", "forgery", "malicious_overdraft")),
        ddl.known("status", ("heard", "reported", "acknowledged", "dismissed")),
        sa.CheckConstraint("(status = 'heard') = (decided_at IS NULL) AND (decided_at IS NULL) = (decided_by IS NULL)", name="decision_whole"),
        sa.CheckConstraint("(status IN ('reported', 'acknowledged')) = (due_at IS NOT NULL)", name="report_has_term"),
        sa.CheckConstraint("(due_at IS NULL) = (log_entry_id IS NULL)", name="report_is_logged"),
        sa.CheckConstraint(
            "(status = 'acknowledged') = (acknowledged_at IS NOT NULL) AND (acknowledged_at IS NULL) = (acknowledged_by IS NULL) "
            "AND (acknowledged_at IS NULL) = (proof_entry_id IS NULL)", name="proof_whole"),
    )
    for columns in (("case_id", "status"), ("bank_id", "id"), ("branch_id", "id")):
        op.create_index(f"ix_suspicions_{'_'.join(columns)}", "suspicions", list(columns))
    ddl.immutable_columns("suspicions", (
        "id", "case_id", "bank_id", "branch_id", "ground", "declaration_id", "heard_by", "heard_at", "policy_version"))
    ddl.refuse_update_when(
        "suspicions", "decided_once", "OLD.decided_at IS NOT NULL AND (NEW.decided_at IS NULL OR NEW.decided_at <> OLD.decided_at "
        "OR NEW.decided_by <> OLD.decided_by OR NEW.due_at <> OLD.due_at)", "a decision stands")
    ddl.refuse_update_when(
        "suspicions", "acknowledged_once", "OLD.acknowledged_at IS NOT NULL AND (NEW.acknowledged_at IS NULL "
        "OR NEW.acknowledged_at <> OLD.acknowledged_at OR NEW.acknowledged_by <> OLD.acknowledged_by)", "an acknowledgement stands")
    ddl.forbid_delete("suspicions")
    ddl.grant_app("suspicions")


def downgrade() -> None:
    """Drop them."""
    for table, name in (("declarations", "deletion_after_fraud"), ("recordings", "clock"), ("recordings", "mark_stands"), ("recordings", "pair_stands")):
        ddl.execute(postgresql=f"DROP TRIGGER tr_{table}_{name} ON {table}", sqlite=f"DROP TRIGGER tr_{table}_{name}")
    ddl.execute(postgresql="DROP FUNCTION fieldvisit_recordings_clock()")
    with ddl.rebuild_table("recordings", drops=("ck_recordings_two_people", "ck_recordings_shown_by_a_device")) as batch:
        batch.drop_constraint("two_people", type_="check")
        batch.drop_constraint("shown_by_a_device", type_="check")
        for column, target in (("pair_a", "staff"), ("pair_b", "staff"), ("clock_device", "devices")):
            batch.drop_constraint(f"fk_recordings_{column}_{target}", type_="foreignkey")
            batch.drop_column(column)
        batch.drop_column("clock_shown_at")
    op.drop_table("suspicions")
