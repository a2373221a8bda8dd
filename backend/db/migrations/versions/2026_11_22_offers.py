"""Create promises, proposals and offers, the banks' ways of paying, and notices of payments.

Promises told at a contact so far become open ones; the next repayment file judges them. What the database itself refuses: an offer
that nobody of the case's own bank made, a proposal that begins as anything else, other terms under a proposal once made.
"""

import sqlalchemy as sa
from alembic import op

from backend.db.migrations import ddl

revision = "offers"
down_revision = "bank_files"
branch_labels = None
depends_on = None

_TABLES = ("promises", "proposals", "repayment_methods", "payment_notices")
_FIXED = {
    "promises": ("id", "case_id", "bank_id", "branch_id", "amount_fen", "due_on", "made_on", "source", "source_id", "recorded_by", "recorded_at"),
    "proposals": ("id", "case_id", "bank_id", "branch_id", "kind", "terms", "is_hardship", "proposed_by", "proposed_at"),
    "payment_notices": ("id", "case_id", "bank_id", "branch_id", "repayment_id", "raised_at"),
}
_STATUSES = ("accepted", "broken", "declined", "kept", "offered", "proposed", "revoked", "withdrawn")
_OF_THE_BANK = "EXISTS (SELECT 1 FROM staff WHERE staff.id = NEW.decided_by AND staff.bank_id = NEW.bank_id)"


def upgrade() -> None:
    _create_promises()
    _create_proposals()
    op.create_table(
        "repayment_methods",
        sa.Column("bank_id", ddl.uuid(), sa.ForeignKey("banks.id"), primary_key=True),
        sa.Column("code", ddl.key(32), primary_key=True),
        sa.Column("text_zh", sa.String(400), nullable=False),
        sa.Column("text_en", sa.String(400), nullable=False),
        sa.Column("authorised_by", ddl.uuid(), sa.ForeignKey("staff.id"), nullable=True),
        sa.Column("authorised_at", ddl.instant(), nullable=True),
        sa.Column("withdrawn_at", ddl.instant(), nullable=True),
        sa.CheckConstraint("(authorised_by IS NULL) = (authorised_at IS NULL)", name="authorisation_whole"),
        sa.CheckConstraint("withdrawn_at IS NULL OR authorised_at IS NOT NULL", name="withdrawn_was_authorised"),
    )
    op.create_table(
        "payment_notices",
        sa.Column("id", ddl.uuid(), primary_key=True),
        sa.Column("case_id", ddl.uuid(), sa.ForeignKey("cases.id"), nullable=False),
        sa.Column("bank_id", ddl.uuid(), sa.ForeignKey("banks.id"), nullable=False),
        sa.Column("branch_id", ddl.uuid(), sa.ForeignKey("branches.id"), nullable=False),
        sa.Column("repayment_id", ddl.uuid(), sa.ForeignKey("repayments.id"), nullable=False),
        sa.Column("raised_at", ddl.instant(), nullable=False),
        sa.Column("told_at", ddl.instant(), nullable=True),
        sa.Column("told_by", ddl.uuid(), sa.ForeignKey("staff.id"), nullable=True),
        sa.CheckConstraint("(told_at IS NULL) = (told_by IS NULL)", name="told_whole"),
        sa.UniqueConstraint("repayment_id"),
    )
    for table, columns in (
        ("payment_notices", ["bank_id", "id"]), ("payment_notices", ["branch_id", "id"]), ("payment_notices", ["case_id"]),
        ("promises", ["case_id", "status"]), ("promises", ["bank_id", "status", "due_on"]), ("promises", ["branch_id", "id"]),
        ("proposals", ["case_id", "id"]), ("proposals", ["bank_id", "id"]), ("proposals", ["branch_id", "id"]),
    ):
        op.create_index(f"ix_{table}_{'_'.join(columns)}", table, columns)
    for table in _TABLES:
        ddl.grant_app(table)
        ddl.forbid_delete(table)
    for table, fixed in _FIXED.items():
        ddl.immutable_columns(table, fixed)
    _guard_offers()
    op.execute(
        "INSERT INTO promises (id, case_id, bank_id, branch_id, amount_fen, due_on, made_on, source, source_id, recorded_by, recorded_at, status) "
        "SELECT contact_records.id, contact_records.case_id, cases.bank_id, cases.branch_id, promised_fen, promised_on, local_on, 'contact', "
        "contact_records.id, by, coalesce(result_at, at), 'open' FROM contact_records JOIN cases ON cases.id = contact_records.case_id "
        "WHERE result = 'promise_to_pay'"
    )


def downgrade() -> None:
    for table in ("payment_notices", "repayment_methods", "proposals", "promises"):
        op.drop_table(table)
    ddl.execute(postgresql="DROP FUNCTION fieldvisit_offer()")


def _create_promises() -> None:
    op.create_table(
        "promises",
        sa.Column("id", ddl.uuid(), primary_key=True),
        sa.Column("case_id", ddl.uuid(), sa.ForeignKey("cases.id"), nullable=False),
        sa.Column("bank_id", ddl.uuid(), sa.ForeignKey("banks.id"), nullable=False),
        sa.Column("branch_id", ddl.uuid(), sa.ForeignKey("branches.id"), nullable=False),
        sa.Column("amount_fen", ddl.money(), nullable=False),
        sa.Column("due_on", sa.Date(), nullable=False),
        sa.Column("made_on", sa.Date(), nullable=False),
        sa.Column("source", ddl.choice(), nullable=False),
        sa.Column("source_id", ddl.uuid(), nullable=False),
        sa.Column("recorded_by", ddl.uuid(), sa.ForeignKey("staff.id"), nullable=False),
        sa.Column("recorded_at", ddl.instant(), nullable=False),
        sa.Column("status", ddl.choice(), nullable=False),
        sa.Column("judged_at", ddl.instant(), nullable=True),
        sa.Column("followed_up_at", ddl.instant(), nullable=True),
        sa.Column("followed_up_by", ddl.uuid(), sa.ForeignKey("staff.id"), nullable=True),
        sa.UniqueConstraint("source_id"),
        ddl.known("source", ("contact", "visit")),
        ddl.known("status", ("broken", "kept", "open", "replaced")),
        sa.CheckConstraint("amount_fen > 0", name="amount_positive"),
        sa.CheckConstraint("(status = 'open') = (judged_at IS NULL)", name="judged_has_time"),
        sa.CheckConstraint("(followed_up_at IS NULL) = (followed_up_by IS NULL)", name="follow_up_whole"),
    )


def _create_proposals() -> None:
    op.create_table(
        "proposals",
        sa.Column("id", ddl.uuid(), primary_key=True),
        sa.Column("case_id", ddl.uuid(), sa.ForeignKey("cases.id"), nullable=False),
        sa.Column("bank_id", ddl.uuid(), sa.ForeignKey("banks.id"), nullable=False),
        sa.Column("branch_id", ddl.uuid(), sa.ForeignKey("branches.id"), nullable=False),
        sa.Column("kind", ddl.choice(), nullable=False),
        sa.Column("terms", ddl.canonical_json(), nullable=False),
        sa.Column("is_hardship", sa.Boolean(), nullable=False),
        sa.Column("proposed_by", ddl.uuid(), sa.ForeignKey("staff.id"), nullable=False),
        sa.Column("proposed_at", ddl.instant(), nullable=False),
        sa.Column("status", ddl.choice(), nullable=False),
        sa.Column("decided_by", ddl.uuid(), sa.ForeignKey("staff.id"), nullable=True),
        sa.Column("decided_at", ddl.instant(), nullable=True),
        sa.Column("valid_to_on", sa.Date(), nullable=True),
        sa.Column("accepted_at", ddl.instant(), nullable=True),
        sa.Column("accepted_on", sa.Date(), nullable=True),
        ddl.known("kind", ("automatic_debit", "deferral", "flexible_due_date", "instalment", "reactivation", "waiver")),
        ddl.known("status", _STATUSES),
        sa.CheckConstraint("decided_by <> proposed_by", name="two_people"),
        sa.CheckConstraint("(decided_by IS NULL) = (decided_at IS NULL)", name="decision_whole"),
        sa.CheckConstraint("(status IN ('proposed', 'withdrawn')) = (decided_by IS NULL)", name="answered_by_somebody"),
        sa.CheckConstraint(
            "status NOT IN ('offered', 'revoked', 'accepted', 'kept', 'broken') OR valid_to_on IS NOT NULL", name="offer_is_dated"),
        sa.CheckConstraint("(status IN ('accepted', 'kept', 'broken')) = (accepted_at IS NOT NULL)", name="acceptance_has_time"),
    )


def _guard_offers() -> None:
    """A proposal begins as one, and becomes an offer by somebody of its own bank alone (BANK-01)."""
    begins = "a proposal begins as a proposal"
    answers = "only its own bank answers a proposal"
    ddl.execute(
        postgresql=f"""
        CREATE FUNCTION fieldvisit_offer() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            IF TG_OP = 'INSERT' AND NEW.status <> 'proposed' THEN
                RAISE EXCEPTION '{begins}' USING ERRCODE = 'integrity_constraint_violation';
            END IF;
            IF NEW.decided_by IS NOT NULL AND NOT {_OF_THE_BANK} THEN
                RAISE EXCEPTION '{answers}' USING ERRCODE = 'integrity_constraint_violation';
            END IF;
            RETURN NEW;
        END $$
        """,
    )
    ddl.execute(
        postgresql="CREATE TRIGGER tr_proposals_offer BEFORE INSERT OR UPDATE ON proposals FOR EACH ROW EXECUTE FUNCTION fieldvisit_offer()",
        sqlite=f"CREATE TRIGGER tr_proposals_offer BEFORE INSERT ON proposals FOR EACH ROW WHEN (NEW.status <> 'proposed') "
        f"BEGIN SELECT RAISE(ABORT, '{begins}'); END",
    )
    ddl.execute(
        sqlite=f"CREATE TRIGGER tr_proposals_offer_update BEFORE UPDATE ON proposals FOR EACH ROW "
        f"WHEN (NEW.decided_by IS NOT NULL AND NOT {_OF_THE_BANK}) BEGIN SELECT RAISE(ABORT, '{answers}'); END",
    )
