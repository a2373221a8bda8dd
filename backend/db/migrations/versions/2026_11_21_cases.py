"""Create the tables of the banks' placements, debtors' contact data, phone contacts and visit requests.

They are new; no rows exist yet.
"""

import sqlalchemy as sa
from alembic import op

from backend.db.migrations import ddl

revision = "cases"
down_revision = "people"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "placement_batches",
        sa.Column("id", ddl.uuid(), primary_key=True),
        sa.Column("bank_id", ddl.uuid(), sa.ForeignKey("banks.id"), nullable=False),
        sa.Column("branch_id", ddl.uuid(), sa.ForeignKey("branches.id"), nullable=False),
        sa.Column("profile_id", ddl.uuid(), sa.ForeignKey("import_profiles.id"), nullable=False),
        sa.Column("number", ddl.key(64), nullable=False),
        sa.Column("file_sha256", ddl.key(64), nullable=False),
        sa.Column("encoding", ddl.key(16), nullable=False),
        sa.Column("acceptance", ddl.choice(), nullable=False),
        sa.Column("outcome", ddl.choice(), nullable=False),
        sa.Column("as_of_on", sa.Date(), nullable=False),
        sa.Column("received_by", ddl.uuid(), sa.ForeignKey("staff.id"), nullable=False),
        sa.Column("received_at", ddl.instant(), nullable=False),
        sa.Column("row_count", sa.Integer(), nullable=False),
        sa.Column("accepted_count", sa.Integer(), nullable=False),
        sa.Column("rejected_count", sa.Integer(), nullable=False),
        sa.Column("amount_total_fen", ddl.money(), nullable=False),
        sa.Column("accepted_fen", ddl.money(), nullable=False),
        sa.UniqueConstraint("bank_id", "file_sha256", "acceptance"),
        sa.CheckConstraint("acceptance IN ('accept_good', 'all_or_nothing')", name="acceptance_known"),
        sa.CheckConstraint("outcome IN ('imported', 'refused')", name="outcome_known"),
        sa.CheckConstraint("accepted_count + rejected_count = row_count AND accepted_count >= 0 AND rejected_count >= 0", name="rows_add_up"),
    )
    op.create_index("ix_placement_batches_bank_id_id", "placement_batches", ["bank_id", "id"])
    op.create_index("uq_placement_batches_number_imported", "placement_batches", ["bank_id", "number"], unique=True, sqlite_where=sa.text("outcome = 'imported'"), postgresql_where=sa.text("outcome = 'imported'"))
    ddl.grant_app("placement_batches")

    op.create_table(
        "batch_rejections",
        sa.Column("batch_id", ddl.uuid(), sa.ForeignKey("placement_batches.id"), primary_key=True),
        sa.Column("position", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("row_number", sa.Integer(), nullable=False),
        sa.Column("column_name", ddl.key(32), nullable=False),
        sa.Column("code", ddl.key(32), nullable=False),
        sa.Column("expected", ddl.key(200), nullable=False),
        sa.Column("got", ddl.key(80), nullable=False),
    )
    ddl.append_only("batch_rejections")
    ddl.grant_app("batch_rejections", append_only=True)

    op.create_table(
        "cases",
        sa.Column("id", ddl.uuid(), primary_key=True),
        sa.Column("bank_id", ddl.uuid(), sa.ForeignKey("banks.id"), nullable=False),
        sa.Column("branch_id", ddl.uuid(), sa.ForeignKey("branches.id"), nullable=False),
        sa.Column("batch_id", ddl.uuid(), sa.ForeignKey("placement_batches.id"), nullable=False),
        sa.Column("row_number", sa.Integer(), nullable=False),
        sa.Column("bank_reference", ddl.key(64), nullable=False),
        sa.Column("status", ddl.choice(), nullable=False),
        sa.Column("resumes_to", ddl.choice()),
        sa.Column("assignee_id", ddl.uuid(), sa.ForeignKey("staff.id")),
        sa.Column("amount_fen", ddl.money(), nullable=False),
        sa.Column("amount_as_of_on", sa.Date(), nullable=False),
        sa.Column("principal_fen", ddl.money()),
        sa.Column("days_past_due", sa.Integer(), nullable=False),
        sa.Column("bucket", ddl.choice(), nullable=False),
        sa.Column("risk", ddl.choice(), nullable=False),
        sa.Column("score", sa.Integer(), nullable=False),
        sa.Column("priority", sa.SmallInteger(), nullable=False),
        sa.Column("is_urgent", sa.Boolean(), nullable=False),
        sa.Column("grade", ddl.key(8)),
        sa.Column("debtor_type", ddl.choice()),
        sa.Column("gender_rule", ddl.choice(), nullable=False),
        sa.Column("language", ddl.key(16), nullable=False),
        sa.Column("debtor_hmac", sa.LargeBinary(), nullable=False),
        sa.Column("name", ddl.sealed(), nullable=False),
        sa.Column("id_number", ddl.sealed(), nullable=False),
        sa.Column("id_last4_hmac", sa.LargeBinary(), nullable=False),
        sa.Column("birth_on", ddl.sealed(), nullable=False),
        sa.Column("card_number", ddl.sealed(), nullable=False),
        sa.Column("phone", ddl.sealed()),
        sa.Column("occupation", ddl.sealed()),
        sa.Column("confirmed_card_source", ddl.choice()),
        sa.Column("confirmed_card_on", sa.Date()),
        sa.Column("confirmed_amount_source", ddl.choice()),
        sa.Column("confirmed_amount_on", sa.Date()),
        sa.Column("confirmed_age_source", ddl.choice()),
        sa.Column("confirmed_age_on", sa.Date()),
        sa.Column("confirmed_identity_source", ddl.choice()),
        sa.Column("confirmed_identity_on", sa.Date()),
        sa.Column("confirmed_occupation_source", ddl.choice()),
        sa.Column("confirmed_occupation_on", sa.Date()),
        sa.Column("term_ends_on", sa.Date(), nullable=False),
        sa.Column("suspended_at", ddl.instant()),
        sa.Column("suspension_reason", ddl.choice()),
        sa.Column("vulnerable_at", ddl.instant()),
        sa.Column("complaint_at", ddl.instant()),
        sa.Column("hold_at", ddl.instant()),
        sa.Column("recalled_at", ddl.instant()),
        sa.Column("paid_at", ddl.instant()),
        sa.Column("deceased_at", ddl.instant()),
        sa.UniqueConstraint("bank_id", "bank_reference"),
        sa.CheckConstraint("amount_fen > 0 AND (principal_fen IS NULL OR principal_fen > 0)", name="amounts_positive"),
        sa.CheckConstraint("bucket IN ('M0', 'M1', 'M2', 'M3', 'M3+')", name="bucket_known"),
        sa.CheckConstraint("(confirmed_age_source IS NULL) = (confirmed_age_on IS NULL)", name="confirmed_age_complete"),
        sa.CheckConstraint("(confirmed_amount_source IS NULL) = (confirmed_amount_on IS NULL)", name="confirmed_amount_complete"),
        sa.CheckConstraint("(confirmed_card_source IS NULL) = (confirmed_card_on IS NULL)", name="confirmed_card_complete"),
        sa.CheckConstraint("(confirmed_identity_source IS NULL) = (confirmed_identity_on IS NULL)", name="confirmed_identity_complete"),
        sa.CheckConstraint("(confirmed_occupation_source IS NULL) = (confirmed_occupation_on IS NULL)", name="confirmed_occupation_complete"),
        sa.CheckConstraint("days_past_due >= 0", name="days_past_due_not_negative"),
        sa.CheckConstraint("debtor_type IN ('careless', 'hardship', 'malicious')", name="debtor_type_known"),
        sa.CheckConstraint("gender_rule IN ('any', 'female_present', 'mixed')", name="gender_rule_known"),
        sa.CheckConstraint("priority BETWEEN 1 AND 5", name="priority_level"),
        sa.CheckConstraint("risk IN ('high', 'low', 'prime')", name="risk_known"),
        sa.CheckConstraint("status IN ('allocated', 'archived', 'broken', 'closed', 'deceased', 'filed', 'hardship_proposal', 'investigation', 'kept', 'legal', 'material_received', 'material_requested', 'paid', 'phone_collection', 'plan_broken', 'police_candidate', 'police_registered', 'police_reported', 'promised', 'recalled', 'received', 'repayment_plan', 'ruled_fraud', 'suspended', 'tracing', 'unreachable', 'visit_planned', 'visit_requested', 'visited')", name="status_known"),
        sa.CheckConstraint("(suspended_at IS NULL) = (suspension_reason IS NULL)", name="suspension_has_reason"),
        sa.CheckConstraint("(status IN ('investigation', 'suspended')) = (suspended_at IS NOT NULL AND resumes_to IS NOT NULL)", name="suspension_is_dated"),
        sa.CheckConstraint("suspension_reason IN ('denies_application', 'denies_spending', 'disputes_amount')", name="suspension_reason_known"),
    )
    op.create_index("ix_cases_assignee_id", "cases", ["assignee_id"])
    op.create_index("ix_cases_bank_id_id", "cases", ["bank_id", "id"])
    op.create_index("ix_cases_batch_id", "cases", ["batch_id"])
    op.create_index("ix_cases_branch_id_id", "cases", ["branch_id", "id"])
    op.create_index("ix_cases_debtor_hmac", "cases", ["debtor_hmac"])
    ddl.grant_app("cases")
    ddl.immutable_columns("cases", ("id", "bank_id", "batch_id", "bank_reference", "debtor_hmac"))
    # LEGAL-11: nobody here raises an amount; it follows the bank's statements, each later than the one before.
    stale = "OLD.amount_fen <> NEW.amount_fen AND NEW.amount_as_of_on <= OLD.amount_as_of_on"
    reason = "an amount changes by a later statement of the bank only"
    ddl.execute(
        postgresql=f"CREATE TRIGGER tr_cases_amount_by_bank BEFORE UPDATE ON cases FOR EACH ROW WHEN ({stale}) "
        f"EXECUTE FUNCTION fieldvisit_refuse('{reason}')",
        sqlite=f"CREATE TRIGGER tr_cases_amount_by_bank BEFORE UPDATE ON cases FOR EACH ROW WHEN ({stale}) "
        f"BEGIN SELECT RAISE(ABORT, '{reason}'); END",
    )

    op.create_table(
        "case_addresses",
        sa.Column("id", ddl.uuid(), primary_key=True),
        sa.Column("case_id", ddl.uuid(), sa.ForeignKey("cases.id"), nullable=False),
        sa.Column("kind", ddl.choice(), nullable=False),
        sa.Column("street", ddl.sealed(), nullable=False),
        sa.Column("division_code", ddl.key(12)),
        sa.Column("timezone", ddl.key(64), nullable=False),
        sa.Column("point", ddl.point()),
        sa.Column("datum_given", ddl.choice()),
        sa.Column("confidence_pct", sa.SmallInteger(), nullable=False),
        sa.Column("source", ddl.choice(), nullable=False),
        sa.Column("is_current", sa.Boolean(), nullable=False),
        sa.Column("safety_note", ddl.sealed()),
        sa.Column("recorded_by", ddl.uuid(), sa.ForeignKey("staff.id"), nullable=False),
        sa.Column("recorded_at", ddl.instant(), nullable=False),
        sa.CheckConstraint("confidence_pct BETWEEN 0 AND 100", name="confidence_in_range"),
        sa.CheckConstraint("datum_given IN ('bd09', 'gcj02', 'wgs84')", name="datum_given_known"),
        sa.CheckConstraint("kind IN ('billing', 'household', 'residence', 'work')", name="kind_known"),
        sa.CheckConstraint("(point IS NULL) = (datum_given IS NULL)", name="point_names_datum"),
        sa.CheckConstraint("source IN ('bank_file', 'clerk', 'phone', 'visit')", name="source_known"),
    )
    op.create_index("ix_case_addresses_case_id", "case_addresses", ["case_id"])
    op.create_index("ix_case_addresses_point", "case_addresses", ["point"], postgresql_using="gist")
    ddl.grant_app("case_addresses")

    op.create_table(
        "case_search",
        sa.Column("case_id", ddl.uuid(), sa.ForeignKey("cases.id"), primary_key=True),
        sa.Column("field", ddl.key(16), primary_key=True),
        sa.Column("hmac", sa.LargeBinary(), primary_key=True),
    )
    op.create_index("ix_case_search_field_hmac", "case_search", ["field", "hmac"])
    ddl.grant_app("case_search")

    op.create_table(
        "case_decisions",
        sa.Column("id", ddl.uuid(), primary_key=True),
        sa.Column("case_id", ddl.uuid(), sa.ForeignKey("cases.id"), nullable=False),
        sa.Column("at", ddl.instant(), nullable=False),
        sa.Column("by", ddl.uuid(), sa.ForeignKey("staff.id"), nullable=False),
        sa.Column("event", ddl.key(32), nullable=False),
        sa.Column("from_status", ddl.choice(), nullable=False),
        sa.Column("to_status", ddl.choice(), nullable=False),
        sa.Column("reason", ddl.sealed()),
    )
    op.create_index("ix_case_decisions_case_id_id", "case_decisions", ["case_id", "id"])
    ddl.append_only("case_decisions")
    ddl.grant_app("case_decisions", append_only=True)

    op.create_table(
        "case_allocations",
        sa.Column("id", ddl.uuid(), primary_key=True),
        sa.Column("case_id", ddl.uuid(), sa.ForeignKey("cases.id"), nullable=False),
        sa.Column("assignee_id", ddl.uuid(), sa.ForeignKey("staff.id"), nullable=False),
        sa.Column("allocated_by", ddl.uuid(), sa.ForeignKey("staff.id"), nullable=False),
        sa.Column("allocated_at", ddl.instant(), nullable=False),
    )
    op.create_index("ix_case_allocations_assignee_id", "case_allocations", ["assignee_id"])
    op.create_index("ix_case_allocations_case_id_id", "case_allocations", ["case_id", "id"])
    ddl.append_only("case_allocations")
    ddl.grant_app("case_allocations", append_only=True)

    op.create_table(
        "case_signals",
        sa.Column("id", ddl.uuid(), primary_key=True),
        sa.Column("case_id", ddl.uuid(), sa.ForeignKey("cases.id"), nullable=False),
        sa.Column("signal", ddl.choice(), nullable=False),
        sa.Column("opened_at", ddl.instant(), nullable=False),
        sa.Column("handled_by", ddl.uuid(), sa.ForeignKey("staff.id")),
        sa.Column("handled_at", ddl.instant()),
        sa.UniqueConstraint("case_id", "signal"),
        sa.CheckConstraint("signal IN ('asset_transfer', 'lost_contact', 'multiple_borrowing')", name="signal_known"),
    )
    ddl.grant_app("case_signals")

    op.create_table(
        "vulnerability_releases",
        sa.Column("id", ddl.uuid(), primary_key=True),
        sa.Column("case_id", ddl.uuid(), sa.ForeignKey("cases.id"), nullable=False),
        sa.Column("from_at", ddl.instant(), nullable=False),
        sa.Column("to_at", ddl.instant(), nullable=False),
        sa.Column("manner", ddl.sealed(), nullable=False),
        sa.Column("precautions", ddl.sealed(), nullable=False),
        sa.Column("released_by", ddl.uuid(), sa.ForeignKey("staff.id"), nullable=False),
        sa.Column("released_at", ddl.instant(), nullable=False),
        sa.CheckConstraint("from_at < to_at", name="time_not_empty"),
    )
    op.create_index("ix_vulnerability_releases_case_id", "vulnerability_releases", ["case_id"])
    ddl.append_only("vulnerability_releases")
    ddl.grant_app("vulnerability_releases", append_only=True)

    op.create_table(
        "repayments",
        sa.Column("id", ddl.uuid(), primary_key=True),
        sa.Column("case_id", ddl.uuid(), sa.ForeignKey("cases.id"), nullable=False),
        sa.Column("reference", ddl.key(64), nullable=False),
        sa.Column("amount_fen", ddl.money(), nullable=False),
        sa.Column("paid_on", sa.Date(), nullable=False),
        sa.Column("source", ddl.choice(), nullable=False),
        sa.Column("recorded_by", ddl.uuid(), sa.ForeignKey("staff.id"), nullable=False),
        sa.Column("recorded_at", ddl.instant(), nullable=False),
        sa.UniqueConstraint("case_id", "reference"),
        sa.CheckConstraint("amount_fen > 0", name="amount_positive"),
        sa.CheckConstraint("source IN ('bank_file', 'clerk', 'phone', 'visit')", name="source_known"),
    )
    ddl.append_only("repayments")
    ddl.grant_app("repayments", append_only=True)

    op.create_table(
        "third_parties",
        sa.Column("id", ddl.uuid(), primary_key=True),
        sa.Column("case_id", ddl.uuid(), sa.ForeignKey("cases.id"), nullable=False),
        sa.Column("relation", ddl.sealed(), nullable=False),
        sa.Column("phone", ddl.sealed(), nullable=False),
        sa.Column("phone_hmac", sa.LargeBinary(), nullable=False),
        sa.Column("ceased_at", ddl.instant()),
        sa.UniqueConstraint("case_id", "phone_hmac"),
    )
    ddl.grant_app("third_parties")

    op.create_table(
        "contact_records",
        sa.Column("id", ddl.uuid(), primary_key=True),
        sa.Column("case_id", ddl.uuid(), sa.ForeignKey("cases.id"), nullable=False),
        sa.Column("channel", ddl.choice(), nullable=False),
        sa.Column("mode", ddl.choice(), nullable=False),
        sa.Column("at", ddl.instant(), nullable=False),
        sa.Column("local_on", sa.Date(), nullable=False),
        sa.Column("by", ddl.uuid(), sa.ForeignKey("staff.id"), nullable=False),
        sa.Column("person", ddl.choice(), nullable=False),
        sa.Column("purpose", ddl.choice(), nullable=False),
        sa.Column("third_party_id", ddl.uuid(), sa.ForeignKey("third_parties.id")),
        sa.Column("is_consented", sa.Boolean(), nullable=False),
        sa.Column("result", ddl.choice()),
        sa.Column("result_at", ddl.instant()),
        sa.Column("attitude", ddl.choice()),
        sa.Column("feedback", ddl.sealed()),
        sa.Column("next_step", ddl.sealed()),
        sa.Column("promised_fen", ddl.money()),
        sa.Column("promised_on", sa.Date()),
        sa.Column("work_number", ddl.key(32)),
        sa.Column("recording_reference", ddl.key(128)),
        sa.Column("identity_presented", ddl.key(32), nullable=False),
        sa.Column("standing", ddl.choice(), nullable=False),
        sa.Column("policy_version", ddl.key(64), nullable=False),
        sa.Column("recorded_at", ddl.instant(), nullable=False),
        sa.CheckConstraint("attitude IN ('cooperative', 'evasive', 'hostile', 'neutral')", name="attitude_known"),
        sa.CheckConstraint("channel IN ('letter', 'phone', 'sms', 'visit')", name="channel_known"),
        sa.CheckConstraint("mode IN ('fact', 'intent')", name="mode_known"),
        sa.CheckConstraint("person IN ('debtor', 'nobody', 'third_party')", name="person_known"),
        sa.CheckConstraint("result <> 'promise_to_pay' OR (promised_fen > 0 AND promised_on IS NOT NULL)", name="promise_has_amount_and_day"),
        sa.CheckConstraint("purpose IN ('collection', 'information_request')", name="purpose_known"),
        sa.CheckConstraint("result IN ('busy', 'claims_paid', 'complaint', 'connected', 'deceased', 'delivered', 'denies_application', 'denies_spending', 'displeased', 'disputes_amount', 'does_not_know', 'hardship', 'informed', 'no_answer', 'promise_to_pay', 'refuses', 'suspected_fraud', 'switched_off', 'unwilling', 'vague_promise', 'vulnerable', 'wrong_number')", name="result_known"),
        sa.CheckConstraint("standing IN ('accepted', 'breach')", name="standing_known"),
        sa.CheckConstraint("(person = 'third_party') = (third_party_id IS NOT NULL)", name="third_party_is_named"),
    )
    op.create_index("ix_contact_records_case_id_id", "contact_records", ["case_id", "id"])
    op.create_index("ix_contact_records_case_id_local_on", "contact_records", ["case_id", "local_on"])
    ddl.grant_app("contact_records")

    op.create_table(
        "hour_agreements",
        sa.Column("id", ddl.uuid(), primary_key=True),
        sa.Column("case_id", ddl.uuid(), sa.ForeignKey("cases.id"), nullable=False),
        sa.Column("agreed_with", ddl.key(16), nullable=False),
        sa.Column("from_at", ddl.instant(), nullable=False),
        sa.Column("to_at", ddl.instant(), nullable=False),
        sa.Column("contact_id", ddl.uuid(), sa.ForeignKey("contact_records.id"), nullable=False),
        sa.Column("recorded_by", ddl.uuid(), sa.ForeignKey("staff.id"), nullable=False),
        sa.Column("recorded_at", ddl.instant(), nullable=False),
        sa.CheckConstraint("from_at < to_at", name="time_not_empty"),
        sa.CheckConstraint("agreed_with = 'cardholder'", name="with_cardholder"),
    )
    op.create_index("ix_hour_agreements_case_id", "hour_agreements", ["case_id"])
    ddl.append_only("hour_agreements")
    ddl.grant_app("hour_agreements", append_only=True)

    op.create_table(
        "work_numbers",
        sa.Column("number", ddl.key(32), primary_key=True),
        sa.Column("branch_id", ddl.uuid(), sa.ForeignKey("branches.id"), nullable=False),
        sa.Column("registered_by", ddl.uuid(), sa.ForeignKey("staff.id"), nullable=False),
        sa.Column("registered_at", ddl.instant(), nullable=False),
        sa.Column("retired_at", ddl.instant()),
    )
    ddl.grant_app("work_numbers")

    op.create_table(
        "visit_requests",
        sa.Column("id", ddl.uuid(), primary_key=True),
        sa.Column("case_id", ddl.uuid(), sa.ForeignKey("cases.id"), nullable=False),
        sa.Column("contact_id", ddl.uuid(), sa.ForeignKey("contact_records.id"), nullable=False),
        sa.Column("address_id", ddl.uuid(), sa.ForeignKey("case_addresses.id"), nullable=False),
        sa.Column("status", ddl.choice(), nullable=False),
        sa.Column("requested_by", ddl.uuid(), sa.ForeignKey("staff.id"), nullable=False),
        sa.Column("requested_at", ddl.instant(), nullable=False),
        sa.Column("reason", ddl.sealed(), nullable=False),
        sa.Column("analysed_by", ddl.uuid(), sa.ForeignKey("staff.id")),
        sa.Column("analysed_at", ddl.instant()),
        sa.Column("analysis", ddl.sealed()),
        sa.Column("verdict", ddl.choice()),
        sa.Column("decided_by", ddl.uuid(), sa.ForeignKey("staff.id")),
        sa.Column("decided_at", ddl.instant()),
        sa.Column("decision_reason", ddl.sealed()),
        sa.Column("effective_from", ddl.instant()),
        sa.Column("window_from_s", sa.Integer(), nullable=False),
        sa.Column("window_to_s", sa.Integer(), nullable=False),
        sa.Column("is_mandatory", sa.Boolean(), nullable=False),
        sa.Column("required_certificate", ddl.key(64)),
        sa.Column("required_language", ddl.key(16)),
        sa.Column("service_s", sa.Integer(), nullable=False),
        sa.Column("cash_expected_fen", ddl.money(), nullable=False),
        sa.Column("excluded_staff", ddl.canonical_json(), nullable=False),
        sa.Column("policy_version", ddl.key(64), nullable=False),
        sa.CheckConstraint("status NOT IN ('analysed', 'approved', 'fulfilled', 'rejected') OR analysed_by IS NOT NULL", name="analysis_has_author"),
        sa.CheckConstraint("cash_expected_fen >= 0", name="cash_not_negative"),
        sa.CheckConstraint("status NOT IN ('approved', 'fulfilled') OR decided_by <> requested_by", name="not_self_approved"),
        sa.CheckConstraint("service_s BETWEEN 60 AND 14400", name="service_bounded"),
        sa.CheckConstraint("status IN ('analysed', 'approved', 'draft', 'fulfilled', 'rejected', 'requested', 'withdrawn')", name="status_known"),
        sa.CheckConstraint("verdict IN ('amber', 'green', 'red')", name="verdict_known"),
        sa.CheckConstraint("0 <= window_from_s AND window_from_s < window_to_s AND window_to_s <= 86400", name="window_in_day"),
    )
    op.create_index("ix_visit_requests_case_id", "visit_requests", ["case_id"])
    op.create_index("ix_visit_requests_status_id", "visit_requests", ["status", "id"])
    op.create_index("uq_visit_requests_case_id_open", "visit_requests", ["case_id"], unique=True, sqlite_where=sa.text("status IN ('analysed', 'approved', 'draft', 'requested')"), postgresql_where=sa.text("status IN ('analysed', 'approved', 'draft', 'requested')"))
    ddl.grant_app("visit_requests")

    op.create_table(
        "request_decisions",
        sa.Column("id", ddl.uuid(), primary_key=True),
        sa.Column("request_id", ddl.uuid(), sa.ForeignKey("visit_requests.id"), nullable=False),
        sa.Column("choice", ddl.choice(), nullable=False),
        sa.Column("decided_by", ddl.uuid(), sa.ForeignKey("staff.id"), nullable=False),
        sa.Column("decided_at", ddl.instant(), nullable=False),
        sa.Column("reason", ddl.sealed(), nullable=False),
        sa.Column("batch_size", sa.Integer(), nullable=False),
        sa.Column("policy_version", ddl.key(64), nullable=False),
        sa.CheckConstraint("choice IN ('approve', 'reject')", name="choice_known"),
    )
    op.create_index("ix_request_decisions_request_id", "request_decisions", ["request_id"])
    ddl.append_only("request_decisions")
    ddl.grant_app("request_decisions", append_only=True)


def downgrade() -> None:
    op.drop_table("request_decisions")
    op.drop_table("visit_requests")
    op.drop_table("work_numbers")
    op.drop_table("hour_agreements")
    op.drop_table("contact_records")
    op.drop_table("third_parties")
    op.drop_table("repayments")
    op.drop_table("vulnerability_releases")
    op.drop_table("case_signals")
    op.drop_table("case_allocations")
    op.drop_table("case_decisions")
    op.drop_table("case_search")
    op.drop_table("case_addresses")
    op.drop_table("cases")
    op.drop_table("batch_rejections")
    op.drop_table("placement_batches")
