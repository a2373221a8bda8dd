"""Create the tables of visits, from leave to start to the reviewed report.

They are new; no rows exist yet. Facts told by phones are append-only; a visit never becomes another visit.
"""

import sqlalchemy as sa
from alembic import op

from backend.db.migrations import ddl

revision = "visits"
down_revision = "plans"
branch_labels = None
depends_on = None

TABLES = ("visits", "check_ins", "right_party_checks", "visit_entries", "visit_outcomes", "visit_reports", "incidents", "visit_exceptions", "visit_reviews")


def upgrade() -> None:
    _create_visits()
    _create_check_ins()
    _create_right_party_checks()
    _create_visit_entries()
    _create_visit_outcomes()
    _create_visit_reports()
    _create_incidents()
    _create_visit_exceptions()
    _create_visit_reviews()


def downgrade() -> None:
    for table in reversed(TABLES):
        op.drop_table(table)


def _create_visits() -> None:
    op.create_table(
        "visits",
        sa.Column("id", ddl.uuid(), primary_key=True),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("case_id", ddl.uuid(), sa.ForeignKey("cases.id"), nullable=False),
        sa.Column("request_id", ddl.uuid(), sa.ForeignKey("visit_requests.id"), nullable=False),
        sa.Column("stop_id", ddl.uuid(), sa.ForeignKey("stops.id"), nullable=False),
        sa.Column("address_id", ddl.uuid(), sa.ForeignKey("case_addresses.id"), nullable=False),
        sa.Column("bank_id", ddl.uuid(), sa.ForeignKey("banks.id"), nullable=False),
        sa.Column("branch_id", ddl.uuid(), sa.ForeignKey("branches.id"), nullable=False),
        sa.Column("on", sa.Date, nullable=False),
        sa.Column("timezone", ddl.key(64), nullable=False),
        sa.Column("collector_a", ddl.uuid(), sa.ForeignKey("staff.id"), nullable=False),
        sa.Column("collector_b", ddl.uuid(), sa.ForeignKey("staff.id"), nullable=False),
        sa.Column("status", ddl.choice(), nullable=False),
        sa.Column("is_entered", sa.Boolean),
        sa.Column("dispatched_at", ddl.instant(), nullable=False),
        sa.Column("started_at", ddl.instant()),
        sa.Column("ended_at", ddl.instant()),
        sa.Column("stopped_at", ddl.instant()),
        sa.Column("outcome", ddl.choice()),
        sa.Column("outcome_at", ddl.instant()),
        sa.Column("reported_at", ddl.instant()),
        sa.Column("closed_at", ddl.instant()),
        sa.Column("closing_manifest_id", ddl.uuid(), sa.ForeignKey("manifests.id")),
        sa.Column("policy_version", ddl.key(64), nullable=False),
        sa.UniqueConstraint("stop_id"),
        ddl.known("status", ("archived", "cancelled", "concluded", "dispatched", "entered", "reported", "returned", "reviewed", "started")),
        ddl.known("outcome", ("address_absent", "cash_taken", "conflict_left", "deceased", "declaration_taken", "denies_application", "denies_spending", "disputes_amount", "filmed_by_debtor", "gate_refused", "hardship", "hazard", "letter_handed_over", "letter_in_mailbox", "moved_away", "no_answer_intercom", "nobody_met", "only_frail_person", "only_minor", "out_of_time", "paid_directly", "police_attended", "promise", "promise_vague", "recording_objected", "refused_to_pay", "self_harm_threat", "tenant_met", "third_party_met", "vulnerable_found")),
        sa.CheckConstraint("collector_a <> collector_b", name="two_people"),
        sa.CheckConstraint("version > 0", name="version_positive"),
        sa.CheckConstraint("(outcome IS NULL) = (outcome_at IS NULL)", name="outcome_has_time"),
        sa.CheckConstraint("(closed_at IS NULL) = (closing_manifest_id IS NULL)", name="closed_by_manifest"),
    )
    op.create_index("ix_visits_bank_id_on_id", "visits", ["bank_id", "on", "id"])
    op.create_index("ix_visits_branch_id_on_id", "visits", ["branch_id", "on", "id"])
    op.create_index("ix_visits_case_id", "visits", ["case_id"])
    op.create_index("ix_visits_collector_a_on", "visits", ["collector_a", "on"])
    op.create_index("ix_visits_collector_b_on", "visits", ["collector_b", "on"])
    op.create_index("ix_visits_request_id", "visits", ["request_id"])
    ddl.immutable_columns("visits", ("id", "version", "case_id", "request_id", "stop_id", "address_id", "bank_id", "branch_id", '"on"', "timezone", "collector_a", "collector_b", "dispatched_at"))
    ddl.forbid_delete("visits")
    ddl.grant_app("visits")


def _create_check_ins() -> None:
    op.create_table(
        "check_ins",
        sa.Column("id", ddl.uuid(), primary_key=True),
        sa.Column("visit_id", ddl.uuid(), sa.ForeignKey("visits.id"), nullable=False),
        sa.Column("staff_id", ddl.uuid(), sa.ForeignKey("staff.id"), nullable=False),
        sa.Column("device", ddl.key(43), sa.ForeignKey("devices.kid")),
        sa.Column("at", ddl.instant(), nullable=False),
        sa.Column("received_at", ddl.instant(), nullable=False),
        sa.Column("position", ddl.point()),
        sa.Column("accuracy_m", sa.Integer),
        sa.Column("is_credential_worn", sa.Boolean, nullable=False),
        sa.Column("identity_presented", ddl.choice(), nullable=False),
        ddl.known("identity_presented", ("agency", "authority", "bank", "other")),
    )
    op.create_index("ix_check_ins_visit_id", "check_ins", ["visit_id"])
    ddl.append_only("check_ins")
    ddl.grant_app("check_ins", append_only=True)


def _create_right_party_checks() -> None:
    op.create_table(
        "right_party_checks",
        sa.Column("id", ddl.uuid(), primary_key=True),
        sa.Column("visit_id", ddl.uuid(), sa.ForeignKey("visits.id"), nullable=False),
        sa.Column("staff_id", ddl.uuid(), sa.ForeignKey("staff.id"), nullable=False),
        sa.Column("at", ddl.instant(), nullable=False),
        sa.Column("received_at", ddl.instant(), nullable=False),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("is_match", sa.Boolean, nullable=False),
        sa.CheckConstraint("attempt > 0", name="attempt_positive"),
    )
    op.create_index("ix_right_party_checks_visit_id", "right_party_checks", ["visit_id"])
    ddl.append_only("right_party_checks")
    ddl.grant_app("right_party_checks", append_only=True)


def _create_visit_entries() -> None:
    op.create_table(
        "visit_entries",
        sa.Column("id", ddl.uuid(), primary_key=True),
        sa.Column("visit_id", ddl.uuid(), sa.ForeignKey("visits.id"), nullable=False),
        sa.Column("staff_id", ddl.uuid(), sa.ForeignKey("staff.id"), nullable=False),
        sa.Column("at", ddl.instant(), nullable=False),
        sa.Column("received_at", ddl.instant(), nullable=False),
        sa.Column("reason", ddl.sealed()),
        sa.Column("consented_by", ddl.sealed()),
        sa.Column("consented_at", ddl.instant()),
        sa.Column("evidence_item_id", ddl.key(64)),
    )
    op.create_index("ix_visit_entries_visit_id", "visit_entries", ["visit_id"])
    ddl.append_only("visit_entries")
    ddl.grant_app("visit_entries", append_only=True)


def _create_visit_outcomes() -> None:
    op.create_table(
        "visit_outcomes",
        sa.Column("id", ddl.uuid(), primary_key=True),
        sa.Column("visit_id", ddl.uuid(), sa.ForeignKey("visits.id"), nullable=False),
        sa.Column("staff_id", ddl.uuid(), sa.ForeignKey("staff.id"), nullable=False),
        sa.Column("at", ddl.instant(), nullable=False),
        sa.Column("received_at", ddl.instant(), nullable=False),
        sa.Column("catalogue_version", sa.Integer, nullable=False),
        sa.Column("told_code", ddl.key(64), nullable=False),
        sa.Column("code", ddl.choice()),
        sa.Column("fields", ddl.canonical_json(), nullable=False),
        sa.Column("texts", ddl.sealed()),
        ddl.known("code", ("address_absent", "cash_taken", "conflict_left", "deceased", "declaration_taken", "denies_application", "denies_spending", "disputes_amount", "filmed_by_debtor", "gate_refused", "hardship", "hazard", "letter_handed_over", "letter_in_mailbox", "moved_away", "no_answer_intercom", "nobody_met", "only_frail_person", "only_minor", "out_of_time", "paid_directly", "police_attended", "promise", "promise_vague", "recording_objected", "refused_to_pay", "self_harm_threat", "tenant_met", "third_party_met", "vulnerable_found")),
    )
    op.create_index("ix_visit_outcomes_visit_id", "visit_outcomes", ["visit_id"])
    ddl.append_only("visit_outcomes")
    ddl.grant_app("visit_outcomes", append_only=True)


def _create_visit_reports() -> None:
    op.create_table(
        "visit_reports",
        sa.Column("id", ddl.uuid(), primary_key=True),
        sa.Column("visit_id", ddl.uuid(), sa.ForeignKey("visits.id"), nullable=False),
        sa.Column("reported_by", ddl.uuid(), sa.ForeignKey("staff.id"), nullable=False),
        sa.Column("reported_at", ddl.instant(), nullable=False),
        sa.Column("received_at", ddl.instant(), nullable=False),
        sa.Column("is_entered", sa.Boolean, nullable=False),
        sa.Column("recoverability", ddl.choice(), nullable=False),
        sa.Column("reasons", ddl.sealed(), nullable=False),
        sa.Column("attitude", ddl.sealed(), nullable=False),
        sa.Column("delinquency_reason", ddl.sealed(), nullable=False),
        sa.Column("financial_situation", ddl.sealed(), nullable=False),
        sa.Column("new_contact", ddl.sealed()),
        ddl.known("recoverability", ("partly", "recoverable", "unknown", "unlikely", "unrecoverable")),
    )
    op.create_index("ix_visit_reports_visit_id", "visit_reports", ["visit_id"])
    ddl.append_only("visit_reports")
    ddl.grant_app("visit_reports", append_only=True)


def _create_incidents() -> None:
    op.create_table(
        "incidents",
        sa.Column("id", ddl.uuid(), primary_key=True),
        sa.Column("visit_id", ddl.uuid(), sa.ForeignKey("visits.id"), nullable=False),
        sa.Column("branch_id", ddl.uuid(), sa.ForeignKey("branches.id"), nullable=False),
        sa.Column("kind", ddl.choice(), nullable=False),
        sa.Column("at", ddl.instant(), nullable=False),
        sa.Column("received_at", ddl.instant(), nullable=False),
        sa.Column("reported_by", ddl.uuid(), sa.ForeignKey("staff.id"), nullable=False),
        sa.Column("note", ddl.sealed(), nullable=False),
        sa.Column("settled_at", ddl.instant()),
        sa.Column("settled_by", ddl.uuid(), sa.ForeignKey("staff.id")),
        ddl.known("kind", ("conflict", "cosignature_refused", "filmed", "hazard", "police", "recording_objected", "safety", "self_harm", "wrong_identity")),
        sa.CheckConstraint("(settled_at IS NULL) = (settled_by IS NULL)", name="settled_by_someone"),
    )
    op.create_index("ix_incidents_branch_id_id", "incidents", ["branch_id", "id"])
    op.create_index("ix_incidents_visit_id", "incidents", ["visit_id"])
    ddl.immutable_columns("incidents", ("id", "visit_id", "branch_id", "kind", "at", "received_at", "reported_by", "note"))
    ddl.forbid_delete("incidents")
    ddl.grant_app("incidents")


def _create_visit_exceptions() -> None:
    op.create_table(
        "visit_exceptions",
        sa.Column("visit_id", ddl.uuid(), sa.ForeignKey("visits.id"), primary_key=True),
        sa.Column("code", ddl.key(80), primary_key=True),
        sa.Column("rule", ddl.key(16), nullable=False),
        sa.Column("listed_at", ddl.instant(), nullable=False),
        sa.Column("accepted_at", ddl.instant()),
        sa.Column("accepted_by", ddl.uuid(), sa.ForeignKey("staff.id")),
        sa.CheckConstraint("(accepted_at IS NULL) = (accepted_by IS NULL)", name="accepted_by_someone"),
    )
    ddl.immutable_columns("visit_exceptions", ("visit_id", "code", "rule", "listed_at"))
    ddl.forbid_delete("visit_exceptions")
    ddl.grant_app("visit_exceptions")


def _create_visit_reviews() -> None:
    op.create_table(
        "visit_reviews",
        sa.Column("id", ddl.uuid(), primary_key=True),
        sa.Column("visit_id", ddl.uuid(), sa.ForeignKey("visits.id"), nullable=False),
        sa.Column("by", ddl.uuid(), sa.ForeignKey("staff.id"), nullable=False),
        sa.Column("at", ddl.instant(), nullable=False),
        sa.Column("reviewer", ddl.choice(), nullable=False),
        sa.Column("verdict", ddl.choice(), nullable=False),
        sa.Column("checklist_version", sa.Integer, nullable=False),
        sa.Column("checklist", ddl.canonical_json(), nullable=False),
        sa.Column("comment", ddl.sealed(), nullable=False),
        ddl.known("verdict", ("accepted", "returned")),
        ddl.known("reviewer", ("liaison", "supervisor")),
    )
    op.create_index("ix_visit_reviews_visit_id", "visit_reviews", ["visit_id"])
    ddl.append_only("visit_reviews")
    ddl.grant_app("visit_reviews", append_only=True)
