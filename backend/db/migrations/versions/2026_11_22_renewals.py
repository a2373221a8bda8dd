"""Let a phone renew its key: what was asked, who granted it, what both keys signed. One key has one successor.

Keys that were revoked before stay revoked; none of them counts as renewed.
"""

import sqlalchemy as sa
from alembic import op

from backend.db.migrations import ddl

revision = "renewals"
down_revision = "recordings"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "device_renewals",
        sa.Column("id", ddl.uuid(), primary_key=True),
        sa.Column("old_kid", ddl.key(43), sa.ForeignKey("devices.kid"), nullable=False),
        sa.Column("staff_id", ddl.uuid(), sa.ForeignKey("staff.id"), nullable=False),
        sa.Column("asked_at", ddl.instant(), nullable=False),
        sa.Column("expires_at", ddl.instant(), nullable=False),
        sa.Column("approved_by", ddl.uuid(), sa.ForeignKey("staff.id")),
        sa.Column("approved_at", ddl.instant()),
        sa.Column("challenge", ddl.key(43)),
        sa.Column("challenge_expires_at", ddl.instant()),
        sa.Column("new_kid", ddl.key(43), sa.ForeignKey("devices.kid")),
        sa.Column("last_seq", sa.BigInteger),
        sa.Column("last_digest", ddl.key(64)),
        sa.Column("consent", sa.Text),
        sa.Column("used_at", ddl.instant()),
        sa.UniqueConstraint("new_kid"),
        sa.CheckConstraint("(approved_by IS NULL) = (approved_at IS NULL)", name="approval_whole"),
        sa.CheckConstraint("approved_by <> staff_id", name="second_person"),
        sa.CheckConstraint("new_kid <> old_kid", name="another_key"),
        sa.CheckConstraint(
            "(used_at IS NULL) = (new_kid IS NULL) AND (used_at IS NULL) = (consent IS NULL) AND (used_at IS NULL) = (last_seq IS NULL) "
            "AND (used_at IS NULL) = (last_digest IS NULL)", name="use_whole"),
        sa.CheckConstraint("used_at IS NULL OR (approved_at IS NOT NULL AND challenge IS NULL)", name="used_once_granted"),
    )
    op.create_index(
        "uq_device_renewals_used_old_kid", "device_renewals", ["old_kid"], unique=True, sqlite_where=sa.text("used_at IS NOT NULL"),
        postgresql_where=sa.text("used_at IS NOT NULL"))
    op.create_index("ix_device_renewals_old_kid", "device_renewals", ["old_kid"])
    op.create_index("ix_device_renewals_staff_id", "device_renewals", ["staff_id"])
    ddl.immutable_columns("device_renewals", ("id", "old_kid", "staff_id", "asked_at", "expires_at"))
    ddl.refuse_update_when("device_renewals", "used", "OLD.used_at IS NOT NULL", "a renewal is used once")
    ddl.forbid_delete("device_renewals")
    ddl.grant_app("device_renewals")


def downgrade() -> None:
    op.drop_table("device_renewals")
