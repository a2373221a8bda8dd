"""Create the tables of the agency's people, their devices and what they may do, the banks and the policies.

They are new; no rows exist yet.
"""

import sqlalchemy as sa
from alembic import op

from backend.db.migrations import ddl

revision = "people"
down_revision = "foundation"
branch_labels = None
depends_on = None

_TABLES = (
    "banks",
    "branches",
    "login_failures",
    "seen_proofs",
    "bank_hours",
    "designated_accounts",
    "equipment",
    "import_profiles",
    "payment_channels",
    "staff",
    "bank_keys",
    "console_sessions",
    "credentials",
    "devices",
    "equipment_assignments",
    "equipment_inspections",
    "invitations",
    "logins",
    "mandates",
    "pair_conflicts",
    "policies",
    "qualifications",
    "staff_roles",
    "staff_skills",
    "templates",
    "totp_resets",
    "workdays",
    "device_changes",
    "device_enrolments",
)


def upgrade() -> None:
    op.create_table(
        "banks",
        sa.Column("id", ddl.uuid(), primary_key=True),
        sa.Column("code", ddl.key(16), nullable=False),
        sa.Column("name_zh", sa.String(80), nullable=False),
        sa.Column("name_en", sa.String(80), nullable=False),
        sa.UniqueConstraint("code"),
    )
    ddl.grant_app("banks")
    op.create_table(
        "branches",
        sa.Column("id", ddl.uuid(), primary_key=True),
        sa.Column("code", ddl.key(16), nullable=False),
        sa.Column("name_zh", sa.String(80), nullable=False),
        sa.Column("name_en", sa.String(80), nullable=False),
        sa.Column("timezone", sa.String(64), nullable=False),
        sa.Column("office", ddl.point(), nullable=False),
        sa.Column("territory", ddl.area(), nullable=True),
        sa.UniqueConstraint("code"),
    )
    op.create_index("ix_branches_office", "branches", ["office"], postgresql_using="gist")
    op.create_index("ix_branches_territory", "branches", ["territory"], postgresql_using="gist")
    ddl.grant_app("branches")
    op.create_table(
        "login_failures",
        sa.Column("username_digest", ddl.key(), primary_key=True),
        sa.Column("failed_count", sa.Integer(), nullable=False),
        sa.Column("failed_at", ddl.instant(), nullable=False),
        sa.Column("locked_until", ddl.instant(), nullable=True),
    )
    op.create_index("ix_login_failures_failed_at", "login_failures", ["failed_at"])
    ddl.grant_app("login_failures")
    op.create_table(
        "seen_proofs",
        sa.Column("digest", ddl.key(), primary_key=True),
        sa.Column("expires_at", ddl.instant(), nullable=False),
        prefixes=["UNLOGGED"] if ddl.is_postgresql() else [],  # Its loss in a crash opens a replay window of seconds; its WAL would cost every call.
    )
    op.create_index("ix_seen_proofs_expires_at", "seen_proofs", ["expires_at"])
    ddl.grant_app("seen_proofs")
    op.create_table(
        "bank_hours",
        sa.Column("id", ddl.uuid(), primary_key=True),
        sa.Column("bank_id", ddl.uuid(), sa.ForeignKey("banks.id"), nullable=False),
        sa.Column("name", sa.String(80), nullable=False),
        sa.Column("location", ddl.point(), nullable=False),
        sa.Column("opens_s", sa.Integer(), nullable=False),
        sa.Column("closes_s", sa.Integer(), nullable=False),
        sa.Column("service_s", sa.Integer(), nullable=False),
        sa.CheckConstraint("service_s > 0", name="service_positive"),
        sa.CheckConstraint("0 <= opens_s AND opens_s < closes_s AND closes_s <= 86400", name="within_a_day"),
    )
    op.create_index("ix_bank_hours_bank_id", "bank_hours", ["bank_id"])
    op.create_index("ix_bank_hours_location", "bank_hours", ["location"], postgresql_using="gist")
    ddl.grant_app("bank_hours")
    op.create_table(
        "designated_accounts",
        sa.Column("id", ddl.uuid(), primary_key=True),
        sa.Column("bank_id", ddl.uuid(), sa.ForeignKey("banks.id"), nullable=False),
        sa.Column("account", ddl.sealed(), nullable=False),
        sa.Column("account_digest", ddl.key(), nullable=False),
        sa.Column("last4", ddl.key(4), nullable=False),
        sa.Column("holder", sa.String(80), nullable=False),
        sa.UniqueConstraint("bank_id", "account_digest"),
    )
    ddl.grant_app("designated_accounts")
    op.create_table(
        "equipment",
        sa.Column("id", ddl.uuid(), primary_key=True),
        sa.Column("branch_id", ddl.uuid(), sa.ForeignKey("branches.id"), nullable=False),
        sa.Column("kind", ddl.choice(), nullable=False),
        sa.Column("serial", ddl.key(), nullable=False),
        sa.Column("inspected_at", ddl.instant(), nullable=True),
        sa.Column("is_passed", sa.Boolean(), nullable=True),
        sa.Column("next_due_on", sa.Date(), nullable=True),
        ddl.known("kind", ("audio", "camera")),
        sa.UniqueConstraint("serial"),
    )
    op.create_index("ix_equipment_branch_id", "equipment", ["branch_id"])
    ddl.grant_app("equipment")
    op.create_table(
        "import_profiles",
        sa.Column("id", ddl.uuid(), primary_key=True),
        sa.Column("bank_id", ddl.uuid(), sa.ForeignKey("banks.id"), nullable=False),
        sa.Column("version", ddl.key(32), nullable=False),
        sa.Column("columns", ddl.canonical_json(), nullable=False),
        sa.Column("encoding", ddl.key(16), nullable=False),
        sa.Column("date_style", ddl.choice(), nullable=False),
        sa.Column("amount_style", ddl.choice(), nullable=False),
        sa.Column("separator", ddl.key(1), nullable=False),
        ddl.known("amount_style", ("fen", "yuan")),
        ddl.known("date_style", ("chinese", "compact", "iso", "slash")),
        sa.UniqueConstraint("bank_id", "version"),
    )
    ddl.grant_app("import_profiles")
    op.create_table(
        "payment_channels",
        sa.Column("bank_id", ddl.uuid(), sa.ForeignKey("banks.id"), nullable=False),
        sa.Column("kind", ddl.key(32), nullable=False),
        sa.Column("text_zh", sa.Text(), nullable=False),
        sa.Column("text_en", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("bank_id", "kind"),
    )
    ddl.grant_app("payment_channels")
    op.create_table(
        "staff",
        sa.Column("id", ddl.uuid(), primary_key=True),
        sa.Column("employee_no", ddl.key(32), nullable=False),
        sa.Column("name", sa.String(80), nullable=False),
        sa.Column("gender", ddl.choice(), nullable=True),
        sa.Column("branch_id", ddl.uuid(), sa.ForeignKey("branches.id"), nullable=True),
        sa.Column("bank_id", ddl.uuid(), sa.ForeignKey("banks.id"), nullable=True),
        sa.Column("is_active", sa.Boolean(), nullable=False),
        sa.Column("joined_on", sa.Date(), nullable=False),
        sa.Column("left_on", sa.Date(), nullable=True),
        sa.Column("language", ddl.key(8), nullable=True),
        ddl.known("gender", ("F", "M")),
        sa.CheckConstraint("branch_id IS NULL OR bank_id IS NULL", name="one_house"),
        sa.UniqueConstraint("employee_no"),
    )
    op.create_index("ix_staff_bank_id", "staff", ["bank_id"])
    op.create_index("ix_staff_branch_id", "staff", ["branch_id"])
    ddl.grant_app("staff")
    op.create_table(
        "bank_keys",
        sa.Column("kid", ddl.key(43), primary_key=True),
        sa.Column("bank_id", ddl.uuid(), sa.ForeignKey("banks.id"), nullable=False),
        sa.Column("purpose", ddl.choice(), nullable=False),
        sa.Column("public_jwk", ddl.canonical_json(), nullable=False),
        sa.Column("hardware", ddl.choice(), nullable=False),
        sa.Column("state", ddl.choice(), nullable=False),
        sa.Column("enrolled_by", ddl.uuid(), sa.ForeignKey("staff.id"), nullable=False),
        sa.Column("enrolled_at", ddl.instant(), nullable=False),
        sa.Column("revoked_at", ddl.instant(), nullable=True),
        ddl.known("hardware", ("bank_system", "demo", "webcrypto")),
        ddl.known("purpose", ("api", "cash_authorisation")),
        ddl.known("state", ("active", "revoked")),
    )
    op.create_index("ix_bank_keys_bank_id", "bank_keys", ["bank_id"])
    ddl.grant_app("bank_keys")
    op.create_table(
        "console_sessions",
        sa.Column("id", ddl.uuid(), primary_key=True),
        sa.Column("token_hash", ddl.key(), nullable=False),
        sa.Column("staff_id", ddl.uuid(), sa.ForeignKey("staff.id"), nullable=False),
        sa.Column("csrf", ddl.key(), nullable=False),
        sa.Column("opened_at", ddl.instant(), nullable=False),
        sa.Column("seen_at", ddl.instant(), nullable=False),
        sa.Column("expires_at", ddl.instant(), nullable=False),
        sa.Column("closed_at", ddl.instant(), nullable=True),
        sa.UniqueConstraint("token_hash"),
    )
    op.create_index("ix_console_sessions_staff_id", "console_sessions", ["staff_id"])
    ddl.grant_app("console_sessions")
    op.create_table(
        "credentials",
        sa.Column("id", ddl.uuid(), primary_key=True),
        sa.Column("staff_id", ddl.uuid(), sa.ForeignKey("staff.id"), nullable=False),
        sa.Column("bank_id", ddl.uuid(), sa.ForeignKey("banks.id"), nullable=False),
        sa.Column("number", ddl.key(), nullable=False),
        sa.Column("valid_from_on", sa.Date(), nullable=False),
        sa.Column("valid_to_on", sa.Date(), nullable=False),
        sa.Column("revoked_at", ddl.instant(), nullable=True),
        sa.CheckConstraint("valid_from_on <= valid_to_on", name="in_order"),
        sa.UniqueConstraint("bank_id", "number"),
    )
    op.create_index("ix_credentials_staff_id", "credentials", ["staff_id"])
    ddl.grant_app("credentials")
    op.create_table(
        "devices",
        sa.Column("kid", ddl.key(43), primary_key=True),
        sa.Column("staff_id", ddl.uuid(), sa.ForeignKey("staff.id"), nullable=False),
        sa.Column("public_jwk", ddl.canonical_json(), nullable=False),
        sa.Column("model", sa.String(80), nullable=False),
        sa.Column("level", ddl.choice(), nullable=False),
        sa.Column("state", ddl.choice(), nullable=False),
        sa.Column("enrolled_at", ddl.instant(), nullable=False),
        sa.Column("valid_until", ddl.instant(), nullable=False),
        sa.Column("revoked_at", ddl.instant(), nullable=True),
        sa.Column("compromised_since", ddl.instant(), nullable=True),
        ddl.known("level", ("enclave", "software", "strongbox", "tee", "unattested", "unparsed")),
        ddl.known("state", ("active", "pending", "revoked", "suspended")),
    )
    op.create_index("ix_devices_staff_id", "devices", ["staff_id"])
    op.create_index("uq_devices_active_staff_id", "devices", ["staff_id"], unique=True, sqlite_where=sa.text("state = 'active'"), postgresql_where=sa.text("state = 'active'"))
    ddl.grant_app("devices")
    op.create_table(
        "equipment_assignments",
        sa.Column("equipment_id", ddl.uuid(), sa.ForeignKey("equipment.id"), nullable=False),
        sa.Column("on", sa.Date(), nullable=False),
        sa.Column("staff_id", ddl.uuid(), sa.ForeignKey("staff.id"), nullable=False),
        sa.PrimaryKeyConstraint("equipment_id", "on"),
    )
    op.create_index("ix_equipment_assignments_staff_id_on", "equipment_assignments", ["staff_id", "on"])
    ddl.grant_app("equipment_assignments")
    op.create_table(
        "equipment_inspections",
        sa.Column("id", ddl.uuid(), primary_key=True),
        sa.Column("equipment_id", ddl.uuid(), sa.ForeignKey("equipment.id"), nullable=False),
        sa.Column("inspected_by", ddl.uuid(), sa.ForeignKey("staff.id"), nullable=False),
        sa.Column("inspected_at", ddl.instant(), nullable=False),
        sa.Column("is_passed", sa.Boolean(), nullable=False),
        sa.Column("next_due_on", sa.Date(), nullable=False),
        sa.Column("remark", sa.Text(), nullable=False),
    )
    op.create_index("ix_equipment_inspections_equipment_id", "equipment_inspections", ["equipment_id"])
    ddl.append_only("equipment_inspections")
    ddl.grant_app("equipment_inspections", append_only=True)
    op.create_table(
        "invitations",
        sa.Column("id", ddl.uuid(), primary_key=True),
        sa.Column("token_hash", ddl.key(), nullable=False),
        sa.Column("staff_id", ddl.uuid(), sa.ForeignKey("staff.id"), nullable=False),
        sa.Column("invited_by", ddl.uuid(), sa.ForeignKey("staff.id"), nullable=True),
        sa.Column("expires_at", ddl.instant(), nullable=False),
        sa.Column("used_at", ddl.instant(), nullable=True),
        sa.UniqueConstraint("token_hash"),
    )
    op.create_index("ix_invitations_staff_id", "invitations", ["staff_id"])
    ddl.grant_app("invitations")
    op.create_table(
        "logins",
        sa.Column("staff_id", ddl.uuid(), sa.ForeignKey("staff.id"), primary_key=True),
        sa.Column("username", ddl.key(), nullable=False),
        sa.Column("password_hash", sa.String(200), nullable=False),
        sa.Column("totp_secret", ddl.sealed(), nullable=False),
        sa.Column("totp_step_last", sa.Integer(), nullable=False),
        sa.Column("changed_at", ddl.instant(), nullable=False),
        sa.UniqueConstraint("username"),
    )
    ddl.grant_app("logins")
    op.create_table(
        "mandates",
        sa.Column("id", ddl.uuid(), primary_key=True),
        sa.Column("bank_id", ddl.uuid(), sa.ForeignKey("banks.id"), nullable=False),
        sa.Column("reference", ddl.key(), nullable=False),
        sa.Column("valid_from_on", sa.Date(), nullable=False),
        sa.Column("valid_to_on", sa.Date(), nullable=False),
        sa.Column("terminated_at", ddl.instant(), nullable=True),
        sa.Column("terminated_by", ddl.uuid(), sa.ForeignKey("staff.id"), nullable=True),
        sa.Column("nda_reference", sa.String(80), nullable=True),
        sa.Column("qualification_checked_on", sa.Date(), nullable=True),
        sa.Column("permitted", ddl.canonical_json(), nullable=False),
        sa.CheckConstraint("valid_from_on <= valid_to_on", name="in_order"),
        sa.UniqueConstraint("bank_id", "reference"),
    )
    ddl.grant_app("mandates")
    op.create_table(
        "pair_conflicts",
        sa.Column("a", ddl.uuid(), sa.ForeignKey("staff.id"), nullable=False),
        sa.Column("b", ddl.uuid(), sa.ForeignKey("staff.id"), nullable=False),
        sa.PrimaryKeyConstraint("a", "b"),
        sa.CheckConstraint("a < b", name="in_order"),
    )
    ddl.grant_app("pair_conflicts")
    op.create_table(
        "policies",
        sa.Column("id", ddl.uuid(), primary_key=True),
        sa.Column("version", ddl.key(), nullable=False),
        sa.Column("bank_id", ddl.uuid(), sa.ForeignKey("banks.id"), nullable=True),
        sa.Column("valid_from", ddl.instant(), nullable=False),
        sa.Column("thresholds", ddl.canonical_json(), nullable=False),
        sa.Column("made_by", ddl.uuid(), sa.ForeignKey("staff.id"), nullable=True),
        sa.Column("made_at", ddl.instant(), nullable=False),
        sa.UniqueConstraint("version"),
    )
    op.create_index("ix_policies_bank_id_valid_from", "policies", ["bank_id", "valid_from"])
    ddl.append_only("policies")
    ddl.grant_app("policies", append_only=True)
    op.create_table(
        "qualifications",
        sa.Column("id", ddl.uuid(), primary_key=True),
        sa.Column("staff_id", ddl.uuid(), sa.ForeignKey("staff.id"), nullable=False),
        sa.Column("kind", ddl.choice(), nullable=False),
        sa.Column("is_lead", sa.Boolean(), nullable=False),
        sa.Column("valid_to_on", sa.Date(), nullable=False),
        sa.Column("assessor_id", ddl.uuid(), sa.ForeignKey("staff.id"), nullable=False),
        sa.Column("test_result", sa.String(80), nullable=False),
        sa.Column("recorded_at", ddl.instant(), nullable=False),
        sa.CheckConstraint("assessor_id <> staff_id", name="assessed_by_another"),
        ddl.known("kind", ("field_visit", "legal_training", "phone")),
    )
    op.create_index("ix_qualifications_staff_id", "qualifications", ["staff_id"])
    ddl.grant_app("qualifications")
    op.create_table(
        "staff_roles",
        sa.Column("id", ddl.uuid(), primary_key=True),
        sa.Column("staff_id", ddl.uuid(), sa.ForeignKey("staff.id"), nullable=False),
        sa.Column("role", ddl.choice(), nullable=False),
        sa.Column("branch_id", ddl.uuid(), sa.ForeignKey("branches.id"), nullable=True),
        ddl.known("role", ("archive_admin", "auditor", "bank_authoriser", "bank_liaison", "cashier", "data_clerk", "dispatcher", "field_collector", "general_manager", "letter_duty", "manager", "operator", "phone_collector", "police_duty", "supervisor")),
        sa.UniqueConstraint("staff_id", "role", "branch_id"),
    )
    ddl.grant_app("staff_roles")
    op.create_table(
        "staff_skills",
        sa.Column("staff_id", ddl.uuid(), sa.ForeignKey("staff.id"), nullable=False),
        sa.Column("kind", ddl.choice(), nullable=False),
        sa.Column("value", ddl.key(32), nullable=False),
        sa.PrimaryKeyConstraint("staff_id", "kind", "value"),
        ddl.known("kind", ("certificate", "language")),
    )
    ddl.grant_app("staff_skills")
    op.create_table(
        "templates",
        sa.Column("id", ddl.uuid(), primary_key=True),
        sa.Column("bank_id", ddl.uuid(), sa.ForeignKey("banks.id"), nullable=False),
        sa.Column("kind", ddl.choice(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("text_zh", sa.Text(), nullable=False),
        sa.Column("approved_at", ddl.instant(), nullable=True),
        sa.Column("approved_by", ddl.uuid(), sa.ForeignKey("staff.id"), nullable=True),
        sa.CheckConstraint("(approved_at IS NULL) = (approved_by IS NULL)", name="approval_whole"),
        ddl.known("kind", ("forgery", "letter", "not_my_card", "repayment_commitment")),
        sa.UniqueConstraint("bank_id", "kind", "version"),
    )
    ddl.grant_app("templates")
    op.create_table(
        "totp_resets",
        sa.Column("id", ddl.uuid(), primary_key=True),
        sa.Column("staff_id", ddl.uuid(), sa.ForeignKey("staff.id"), nullable=False),
        sa.Column("requested_by", ddl.uuid(), sa.ForeignKey("staff.id"), nullable=False),
        sa.Column("requested_at", ddl.instant(), nullable=False),
        sa.Column("expires_at", ddl.instant(), nullable=False),
        sa.Column("approved_by", ddl.uuid(), sa.ForeignKey("staff.id"), nullable=True),
        sa.Column("approved_at", ddl.instant(), nullable=True),
        sa.CheckConstraint("staff_id <> requested_by AND (approved_by IS NULL OR approved_by <> staff_id)", name="not_the_owner"),
        sa.CheckConstraint("approved_by IS NULL OR approved_by <> requested_by", name="two_people"),
    )
    op.create_index("ix_totp_resets_staff_id", "totp_resets", ["staff_id"])
    ddl.grant_app("totp_resets")
    op.create_table(
        "workdays",
        sa.Column("staff_id", ddl.uuid(), sa.ForeignKey("staff.id"), nullable=False),
        sa.Column("on", sa.Date(), nullable=False),
        sa.Column("is_available", sa.Boolean(), nullable=False),
        sa.Column("shift_from_s", sa.Integer(), nullable=False),
        sa.Column("shift_to_s", sa.Integer(), nullable=False),
        sa.Column("start", ddl.point(), nullable=True),
        sa.Column("end", ddl.point(), nullable=True),
        sa.PrimaryKeyConstraint("staff_id", "on"),
        sa.CheckConstraint("0 <= shift_from_s AND shift_from_s < shift_to_s AND shift_to_s <= 86400", name="within_a_day"),
    )
    ddl.grant_app("workdays")
    op.create_table(
        "device_changes",
        sa.Column("id", ddl.uuid(), primary_key=True),
        sa.Column("kid", ddl.key(43), sa.ForeignKey("devices.kid"), nullable=False),
        sa.Column("at", ddl.instant(), nullable=False),
        sa.Column("by", ddl.uuid(), sa.ForeignKey("staff.id"), nullable=True),
        sa.Column("from_state", ddl.choice(), nullable=False),
        sa.Column("to_state", ddl.choice(), nullable=False),
        sa.Column("reason", sa.String(200), nullable=False),
        ddl.known("from_state", ("active", "pending", "revoked", "suspended")),
        ddl.known("to_state", ("active", "pending", "revoked", "suspended")),
    )
    op.create_index("ix_device_changes_kid", "device_changes", ["kid"])
    ddl.append_only("device_changes")
    ddl.grant_app("device_changes", append_only=True)
    op.create_table(
        "device_enrolments",
        sa.Column("id", ddl.uuid(), primary_key=True),
        sa.Column("code_hash", ddl.key(), nullable=False),
        sa.Column("staff_id", ddl.uuid(), sa.ForeignKey("staff.id"), nullable=False),
        sa.Column("requested_by", ddl.uuid(), sa.ForeignKey("staff.id"), nullable=False),
        sa.Column("requested_at", ddl.instant(), nullable=False),
        sa.Column("expires_at", ddl.instant(), nullable=False),
        sa.Column("approved_by", ddl.uuid(), sa.ForeignKey("staff.id"), nullable=True),
        sa.Column("approved_at", ddl.instant(), nullable=True),
        sa.Column("challenge", ddl.key(43), nullable=True),
        sa.Column("challenge_expires_at", ddl.instant(), nullable=True),
        sa.Column("kid", ddl.key(43), sa.ForeignKey("devices.kid"), nullable=True),
        sa.Column("used_at", ddl.instant(), nullable=True),
        sa.CheckConstraint("approved_by IS NULL OR (approved_by <> staff_id AND approved_by <> requested_by)", name="second_person"),
        sa.UniqueConstraint("code_hash"),
    )
    op.create_index("ix_device_enrolments_staff_id", "device_enrolments", ["staff_id"])
    ddl.grant_app("device_enrolments")


def downgrade() -> None:
    for table in reversed(_TABLES):
        op.drop_table(table)
