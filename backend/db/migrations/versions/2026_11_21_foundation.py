"""Prepare the database: PostGIS, the application's role, trigger functions; keys, audit chain, log and inbox.

There are no rows before it. The extension and the role outlive a downgrade: others may use them.
"""

import sqlalchemy as sa
from alembic import op

from backend.db.migrations import ddl

revision = "foundation"
down_revision = None
branch_labels = None
depends_on = None

TABLES = (
    "case_keys", "audit_heads", "audit_entries", "audit_reads", "breaches", "log_head", "log_entries", "log_nodes", "log_checkpoints", "audit_anchors",
    "submissions",
)


def upgrade() -> None:
    ddl.execute(postgresql="CREATE EXTENSION IF NOT EXISTS postgis")
    ddl.create_app_role()
    ddl.grant_app_read("alembic_version")
    ddl.install_trigger_functions()
    _create_keys()
    _create_audit()
    _create_log()
    _create_submissions()


def downgrade() -> None:
    for table in reversed(TABLES):
        op.drop_table(table)
    ddl.remove_trigger_functions()


def _create_keys() -> None:
    op.create_table(
        "case_keys",
        sa.Column("subject_id", ddl.uuid(), primary_key=True),
        sa.Column("master_kid", ddl.key(64), nullable=False),
        sa.Column("wrapped", sa.LargeBinary),
        sa.Column("created_at", ddl.instant(), nullable=False),
        sa.Column("destroyed_at", ddl.instant()),
        sa.CheckConstraint("(wrapped IS NULL) = (destroyed_at IS NOT NULL)", name="destroyed_has_no_key"),
    )
    ddl.immutable_columns("case_keys", ("subject_id", "created_at"))
    ddl.forbid_delete("case_keys")
    ddl.grant_app("case_keys")


def _create_audit() -> None:
    op.create_table(
        "audit_heads",
        sa.Column("subject", ddl.key(120), primary_key=True),
        sa.Column("seq", sa.BigInteger, nullable=False),
        sa.Column("digest", sa.LargeBinary, nullable=False),
    )
    ddl.forbid_delete("audit_heads")
    ddl.grant_app("audit_heads")
    op.create_table(
        "audit_entries",
        sa.Column("id", ddl.uuid(), primary_key=True),
        sa.Column("subject", ddl.key(120), nullable=False),
        sa.Column("seq", sa.BigInteger, nullable=False),
        sa.Column("tag", ddl.key(64), nullable=False),
        sa.Column("actor_id", ddl.uuid()),
        sa.Column("at", ddl.instant(), nullable=False),
        sa.Column("policy_version", ddl.key(64)),
        sa.Column("details", ddl.canonical_json(), nullable=False),
        sa.Column("previous", sa.LargeBinary, nullable=False),
        sa.Column("digest", sa.LargeBinary, nullable=False),
        sa.UniqueConstraint("subject", "seq"),
        sa.CheckConstraint("seq > 0", name="seq_positive"),
    )
    op.create_index("ix_audit_entries_at", "audit_entries", ["at"])
    op.create_table(
        "audit_reads",
        sa.Column("entry_id", ddl.uuid(), sa.ForeignKey("audit_entries.id"), primary_key=True),
        sa.Column("subject_id", ddl.uuid(), primary_key=True),
    )
    op.create_index("ix_audit_reads_subject_id", "audit_reads", ["subject_id"])
    op.create_table(
        "breaches",
        sa.Column("id", ddl.uuid(), primary_key=True),
        sa.Column("subject", ddl.key(120), nullable=False),
        sa.Column("rule", ddl.key(16), nullable=False),
        sa.Column("code", ddl.key(80), nullable=False),
        sa.Column("expected", sa.String(400), nullable=False),
        sa.Column("got", sa.String(400), nullable=False),
        sa.Column("judged_at", ddl.instant(), nullable=False),
        sa.Column("policy_version", ddl.key(64)),
    )
    op.create_index("ix_breaches_subject", "breaches", ["subject"])
    for table in ("audit_entries", "audit_reads", "breaches"):
        ddl.append_only(table)
        ddl.grant_app(table, append_only=True)


def _create_log() -> None:
    op.create_table(
        "log_head",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.CheckConstraint("id = 1", name="single"),
    )
    op.execute("INSERT INTO log_head (id, size) VALUES (1, 0)")
    ddl.forbid_delete("log_head")
    ddl.grant_app("log_head")
    op.create_table(
        "log_entries",
        sa.Column("id", ddl.uuid(), primary_key=True),
        sa.Column("entry_type", ddl.key(40), nullable=False),
        sa.Column("payload_sha256", ddl.key(64), nullable=False),
        sa.Column("salt", sa.LargeBinary, nullable=False),
        sa.Column("salted_sha256", ddl.key(64), nullable=False),
        sa.Column("at", ddl.instant(), nullable=False),
        sa.Column("tree_index", sa.BigInteger, unique=True),
        sa.Column("leaf_hash", sa.LargeBinary),
        sa.CheckConstraint("(tree_index IS NULL) = (leaf_hash IS NULL)", name="indexed_is_hashed"),
    )
    ddl.immutable_columns("log_entries", ("id", "entry_type", "payload_sha256", "salt", "salted_sha256", "at"))
    ddl.refuse_update_when("log_entries", "indexed", "OLD.tree_index IS NOT NULL", "an indexed entry never changes")
    ddl.forbid_delete("log_entries")
    ddl.grant_app("log_entries")
    op.create_table(
        "log_nodes",
        sa.Column("level", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("position", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("hash", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "log_checkpoints",
        sa.Column("size", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("root", sa.LargeBinary, nullable=False),
        sa.Column("text", sa.Text, nullable=False),
        sa.Column("at", ddl.instant(), nullable=False),
    )
    op.create_table(
        "audit_anchors",
        sa.Column("log_entry_id", ddl.uuid(), sa.ForeignKey("log_entries.id"), primary_key=True),
        sa.Column("heads", ddl.canonical_json(), nullable=False),
        sa.Column("at", ddl.instant(), nullable=False),
    )
    for table in ("log_nodes", "log_checkpoints", "audit_anchors"):
        ddl.append_only(table)
        ddl.grant_app(table, append_only=True)


def _create_submissions() -> None:
    op.create_table(
        "submissions",
        sa.Column("id", ddl.uuid(), primary_key=True),
        sa.Column("kind", ddl.key(64), nullable=False),
        sa.Column("digest", ddl.key(64), nullable=False),
        sa.Column("actor_id", ddl.uuid(), nullable=False),
        sa.Column("device", ddl.key(64)),
        sa.Column("answer", ddl.canonical_json(), nullable=False),
        sa.Column("received_at", ddl.instant(), nullable=False),
    )
    ddl.append_only("submissions")
    ddl.grant_app("submissions", append_only=True)
