"""Give the log witnesses: their keys, enrolled by banks, and their signatures over checkpoints, none of which steps back.

A checkpoint's size and root together become referable, so that no cosignature can stand over a root that the log does not have.
"""

import sqlalchemy as sa
from alembic import op

from backend.db.migrations import ddl

revision = "witnesses"
down_revision = "travel"
branch_labels = None
depends_on = None

_BACK = "SELECT 1 FROM log_cosignatures WHERE witness = NEW.witness AND size >= NEW.size"
_REASON = "INSERT of log_cosignatures is refused: a witness does not step back"


def upgrade() -> None:
    op.create_index("ux_log_checkpoints_size_root", "log_checkpoints", ["size", "root"], unique=True)
    op.create_table(
        "log_witnesses",
        sa.Column("name", ddl.key(80), primary_key=True),
        sa.Column("bank_id", ddl.uuid(), sa.ForeignKey("banks.id"), nullable=False),
        sa.Column("key", sa.LargeBinary, nullable=False),
        sa.Column("enrolled_by", ddl.uuid(), sa.ForeignKey("staff.id"), nullable=False),
        sa.Column("enrolled_at", ddl.instant(), nullable=False),
        sa.Column("revoked_at", ddl.instant()),
        sa.UniqueConstraint("key"),
        sa.CheckConstraint("length(key) = 32", name="key_ed25519"),
    )
    ddl.immutable_columns("log_witnesses", ("name", "bank_id", "key", "enrolled_by", "enrolled_at"))
    ddl.refuse_update_when("log_witnesses", "ended", "OLD.revoked_at IS NOT NULL", "what has ended stays ended")
    ddl.forbid_delete("log_witnesses")
    ddl.grant_app("log_witnesses")
    op.create_table(
        "log_cosignatures",
        sa.Column("witness", ddl.key(80), sa.ForeignKey("log_witnesses.name"), primary_key=True),
        sa.Column("size", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("root", sa.LargeBinary, nullable=False),
        sa.Column("cosignature", sa.LargeBinary, nullable=False),
        sa.Column("received_at", ddl.instant(), nullable=False),
        sa.ForeignKeyConstraint(["size", "root"], ["log_checkpoints.size", "log_checkpoints.root"]),
        sa.CheckConstraint("length(cosignature) = 72", name="cosignature_whole"),
    )
    ddl.execute(
        postgresql=f"""
        CREATE FUNCTION fieldvisit_witness_forward() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            IF EXISTS ({_BACK}) THEN
                RAISE EXCEPTION '{_REASON}' USING ERRCODE = 'integrity_constraint_violation';
            END IF;
            RETURN NEW;
        END $$
        """,
        sqlite=f"CREATE TRIGGER tr_log_cosignatures_forward BEFORE INSERT ON log_cosignatures FOR EACH ROW WHEN EXISTS ({_BACK}) "
        f"BEGIN SELECT RAISE(ABORT, '{_REASON}'); END",
    )
    ddl.execute(
        postgresql="CREATE TRIGGER tr_log_cosignatures_forward BEFORE INSERT ON log_cosignatures "
        "FOR EACH ROW EXECUTE FUNCTION fieldvisit_witness_forward()")
    ddl.append_only("log_cosignatures")
    ddl.grant_app("log_cosignatures", append_only=True)


def downgrade() -> None:
    op.drop_table("log_cosignatures")
    ddl.execute(postgresql="DROP FUNCTION fieldvisit_witness_forward()")
    op.drop_table("log_witnesses")
    op.drop_index("ux_log_checkpoints_size_root", "log_checkpoints")
