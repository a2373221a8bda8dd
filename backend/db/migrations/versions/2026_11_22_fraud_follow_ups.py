"""Keep what a bank does after it ruled fraud, act by act, each tied to its ruling; how the credit record stands is read from them.

Until now one word on a declaration said how the record stands, without a date, a reference or who told it, and a ruling on a denial that was never
declared in writing had no such word. Words that are here become acts of the person who ruled, at the time of the ruling, under the reference
`not recorded` and the log entry of the ruling. Going back, requested and confirmed deletions become that word again; everything else is forgotten.
"""

import sqlalchemy as sa
from alembic import op

from backend.db.migrations import ddl

revision = "fraud_follow_ups"
down_revision = "decision_states"
branch_labels = None
depends_on = None

TABLE = "fraud_follow_ups"
_OF_CASE = "EXISTS (SELECT 1 FROM cases WHERE cases.id = NEW.case_id AND cases.bank_id = NEW.bank_id AND cases.branch_id = NEW.branch_id)"
_PUTS_INTO_WRITING = (
    "EXISTS (SELECT 1 FROM disputes WHERE disputes.id = NEW.dispute_id AND disputes.case_id = NEW.case_id AND disputes.status = 'declared')")
_IS_DECLARED = "it puts an open dispute of its own case into writing"
_IS_WORD = (
    "NEW.record_deletion <> OLD.record_deletion AND ((NEW.record_deletion <> 'not_due' AND (NEW.ruling IS NULL OR NEW.ruling <> 'fraud')) "
    "OR NEW.record_deletion = 'not_due' OR OLD.record_deletion = 'done')")
_EARLIER = (
    f"EXISTS (SELECT 1 FROM {TABLE} AS earlier WHERE earlier.case_id = NEW.case_id AND earlier.act = '{{0}}' AND earlier.attempt = {{1}} "
    "AND earlier.occurred_at <= NEW.occurred_at)")
_DEMANDS = {
    "of_ruling": (
        "EXISTS (SELECT 1 FROM disputes WHERE disputes.id = NEW.dispute_id AND disputes.case_id = NEW.case_id AND disputes.bank_id = NEW.bank_id "
        "AND disputes.branch_id = NEW.branch_id AND disputes.ruling = 'fraud' AND disputes.ruled_at <= NEW.occurred_at)",
        "it follows a ruling of fraud on its own case"),
    "whose_word": (
        "EXISTS (SELECT 1 FROM staff WHERE staff.id = NEW.recorded_by AND staff.bank_id = NEW.bank_id) "
        "AND EXISTS (SELECT 1 FROM log_entries WHERE log_entries.id = NEW.log_entry_id AND log_entries.entry_type = 'follow-up')",
        "only the bank that ruled tells of it, and it is logged"),
    "in_order": (
        "NEW.act IN ('police_reported', 'department_reported') "
        f"OR (NEW.act = 'deletion_requested' AND (NEW.attempt = 1 OR {_EARLIER.format('deletion_refused', 'NEW.attempt - 1')})) "
        f"OR (NEW.act IN ('deletion_confirmed', 'deletion_refused') AND {_EARLIER.format('deletion_requested', 'NEW.attempt')})",
        "a deletion is requested, then confirmed or refused"),
    "slip_of_case": (
        "NEW.item_key IS NULL OR EXISTS (SELECT 1 FROM items JOIN manifests ON manifests.id = items.manifest_id WHERE items.id = NEW.item_key "
        "AND items.role = 'police_slip' AND manifests.case_id = NEW.case_id)",
        "its slip is a police slip of its own case"),
}
_SAID = """
    INSERT INTO fraud_follow_ups (id, dispute_id, case_id, bank_id, branch_id, act, attempt, occurred_at, reference, recorded_by, recorded_at, log_entry_id)
    SELECT {0}, disputes.id, disputes.case_id, disputes.bank_id, disputes.branch_id, '{1}', 1, disputes.ruled_at, 'not recorded', disputes.ruled_by,
        disputes.ruled_at, disputes.log_entry_id
    FROM declarations JOIN disputes ON disputes.id = declarations.dispute_id
    WHERE disputes.ruling = 'fraud' AND disputes.log_entry_id IS NOT NULL AND declarations.record_deletion IN ({2}) AND NOT EXISTS (
        SELECT 1 FROM declarations AS other JOIN disputes AS ruled ON ruled.id = other.dispute_id WHERE other.case_id = declarations.case_id
        AND ruled.ruling = 'fraud' AND ruled.log_entry_id IS NOT NULL AND other.record_deletion <> 'not_due'
        AND (other.record_deletion < declarations.record_deletion
             OR (other.record_deletion = declarations.record_deletion AND other.id < declarations.id)))
"""


def upgrade() -> None:
    _make_table()
    # One line of acts for each case: of several declarations the one that came furthest, 'done' standing before 'requested'.
    both(_SAID.format("declarations.id", "deletion_requested", "'requested', 'done'"))
    both(_SAID.format("disputes.id", "deletion_confirmed", "'done'"))
    for name, (condition, reason) in _DEMANDS.items():
        ddl.demand(TABLE, name, condition, reason, verbs=("INSERT",))
    ddl.append_only(TABLE)
    ddl.grant_app(TABLE, append_only=True)
    ddl.drop_trigger("declarations", "deletion_after_fraud")
    ddl.drop_demand("declarations", "of_case", verbs=("INSERT",))
    with ddl.rebuild_table("declarations", drops=("ck_declarations_record_deletion_known",)) as batch:
        batch.drop_constraint("record_deletion_known", type_="check")
        batch.drop_column("record_deletion")
    ddl.demand("declarations", "of_case", f"{_OF_CASE} AND {_PUTS_INTO_WRITING}", _IS_DECLARED, verbs=("INSERT",))


def downgrade() -> None:
    ddl.drop_demand("declarations", "of_case", verbs=("INSERT",))
    with ddl.rebuild_table("declarations") as batch:
        batch.add_column(sa.Column("record_deletion", ddl.choice(), nullable=False, server_default="not_due"))
        batch.create_check_constraint("record_deletion_known", "record_deletion IN ('done', 'not_due', 'requested')")
    both("""
        UPDATE declarations SET record_deletion = CASE
            WHEN EXISTS (SELECT 1 FROM fraud_follow_ups WHERE fraud_follow_ups.case_id = declarations.case_id AND act = 'deletion_confirmed') THEN 'done'
            WHEN EXISTS (SELECT 1 FROM fraud_follow_ups WHERE fraud_follow_ups.case_id = declarations.case_id AND act = 'deletion_requested')
            THEN 'requested' ELSE 'not_due' END
        WHERE ruling = 'fraud'
    """)
    with ddl.rebuild_table("declarations") as batch:
        batch.alter_column("record_deletion", server_default=None, existing_type=ddl.choice(), existing_nullable=False)
    ddl.demand(
        "declarations", "of_case", f"{_OF_CASE} AND NEW.record_deletion = 'not_due' AND {_PUTS_INTO_WRITING}", _IS_DECLARED, verbs=("INSERT",))
    ddl.refuse_update_when("declarations", "deletion_after_fraud", _IS_WORD, "a credit record is deleted after a ruling of fraud, step by step")
    for name in _DEMANDS:
        ddl.drop_demand(TABLE, name, verbs=("INSERT",))
    op.drop_table(TABLE)


def both(statement: str) -> None:
    """Run a statement that both engines read alike."""
    ddl.execute(postgresql=statement, sqlite=statement)


def _make_table() -> None:
    op.create_table(
        TABLE,
        sa.Column("id", ddl.uuid(), primary_key=True),
        sa.Column("dispute_id", ddl.uuid(), sa.ForeignKey("disputes.id"), nullable=False),
        sa.Column("case_id", ddl.uuid(), sa.ForeignKey("cases.id"), nullable=False),
        sa.Column("bank_id", ddl.uuid(), sa.ForeignKey("banks.id"), nullable=False),
        sa.Column("branch_id", ddl.uuid(), sa.ForeignKey("branches.id"), nullable=False),
        sa.Column("act", ddl.choice(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("occurred_at", ddl.instant(), nullable=False),
        sa.Column("reference", ddl.key(64), nullable=False),
        sa.Column("reason", ddl.sealed()),
        sa.Column("item_key", ddl.uuid(), sa.ForeignKey("items.id")),
        sa.Column("recorded_by", ddl.uuid(), sa.ForeignKey("staff.id"), nullable=False),
        sa.Column("recorded_at", ddl.instant(), nullable=False),
        sa.Column("log_entry_id", ddl.uuid(), sa.ForeignKey("log_entries.id"), nullable=False),
        ddl.known("act", ("police_reported", "department_reported", "deletion_requested", "deletion_confirmed", "deletion_refused")),
        sa.CheckConstraint("(act IN ('police_reported', 'department_reported')) = (attempt = 0) AND attempt >= 0", name="attempts_counted"),
        sa.CheckConstraint("(act = 'deletion_refused') = (reason IS NOT NULL)", name="refused_for_a_reason"),
        sa.CheckConstraint("item_key IS NULL OR act = 'police_reported'", name="slip_of_police"),
        sa.CheckConstraint("occurred_at <= recorded_at", name="told_after"),
    )
    request, answer = sa.text("act = 'deletion_requested'"), sa.text("act IN ('deletion_confirmed', 'deletion_refused')")
    op.create_index("uq_fraud_follow_ups_request", TABLE, ["case_id", "attempt"], unique=True, sqlite_where=request, postgresql_where=request)
    op.create_index("uq_fraud_follow_ups_answer", TABLE, ["case_id", "attempt"], unique=True, sqlite_where=answer, postgresql_where=answer)
    op.create_index("uq_fraud_follow_ups_reference", TABLE, ["case_id", "act", "attempt", "reference"], unique=True)
    for columns in (("bank_id", "id"), ("case_id", "id"), ("dispute_id",)):
        op.create_index(f"ix_{TABLE}_{'_'.join(columns)}", TABLE, list(columns))
