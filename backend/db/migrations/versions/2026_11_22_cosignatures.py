"""Give the wait for a partner's signature its ends: a refusal as a statement, and a term after which it lapses.

Statements that wait already get the default term of twelve hours from their receipt. Going back, lapsed ones wait again, and a
refusal's statement stands as a capture: the former schema knows no other form of it, its payload still says what it is.
"""

import sqlalchemy as sa
from alembic import op

from backend.db.migrations import ddl

revision = "cosignatures"
down_revision = "cash"
branch_labels = None
depends_on = None

_KINDS = ("arrival", "capture", "declaration", "cash_receipt", "void", "departure", "visit_close")
_STATES = ("awaiting_cosignature", "complete")
_FIXED = (
    "id", "digest", "payload", "kind", "visit_id", "case_id", "bank_id", "branch_id", "seal_subject", "device", "staff_id", "cosigner_device",
    "cosigner_id", "seq", "prev", "captured_at", "captured_lower_at", "captured_upper_at", "judged_at", "received_at", "policy_version", "log_entry_id",
)
_TERM = "12 hours"
_TERM_US = 12 * 3600 * 1_000_000


def upgrade() -> None:
    _rebuild_manifests((*_KINDS, "cosign_refusal"), (*_STATES, "lapsed"), adds_term=True)
    ddl.execute(
        postgresql=f"UPDATE manifests SET cosign_due_at = received_at + interval '{_TERM}' WHERE state = 'awaiting_cosignature'",
        sqlite=f"UPDATE manifests SET cosign_due_at = received_at + {_TERM_US} WHERE state = 'awaiting_cosignature'",
    )
    op.create_index("ix_manifests_state_cosign_due_at", "manifests", ["state", "cosign_due_at"])
    op.create_table(
        "cosign_refusals",
        sa.Column("manifest_id", ddl.uuid(), sa.ForeignKey("manifests.id"), primary_key=True),
        sa.Column("refused_sha256", ddl.key(64), nullable=False),
        sa.Column("refused_by", ddl.uuid(), sa.ForeignKey("staff.id"), nullable=False),
        sa.Column("reason", ddl.choice(), nullable=False),
        sa.Column("at", ddl.instant(), nullable=False),
        ddl.known("reason", ("not_as_stated", "not_present", "not_shown", "other", "pressure")),
    )
    op.create_index("ix_cosign_refusals_refused_sha256", "cosign_refusals", ["refused_sha256"])
    ddl.append_only("cosign_refusals")
    ddl.grant_app("cosign_refusals", append_only=True)


def downgrade() -> None:
    op.drop_table("cosign_refusals")
    op.drop_index("ix_manifests_state_cosign_due_at", "manifests")
    op.execute("UPDATE manifests SET state = 'awaiting_cosignature' WHERE state = 'lapsed'")
    ddl.execute(postgresql="DROP TRIGGER tr_manifests_immutable ON manifests", sqlite="DROP TRIGGER tr_manifests_immutable")
    op.execute("UPDATE manifests SET kind = 'capture' WHERE kind = 'cosign_refusal'")
    ddl.immutable_columns("manifests", _FIXED)
    _rebuild_manifests(_KINDS, _STATES, adds_term=False)


def _rebuild_manifests(kinds: tuple[str, ...], states: tuple[str, ...], *, adds_term: bool) -> None:
    with ddl.rebuild_table("manifests", drops=("ck_manifests_kind_known", "ck_manifests_state_known")) as batch:
        for name in ("kind_known", "state_known"):
            batch.drop_constraint(name, type_="check")
        for column, values in (("kind", kinds), ("state", states)):
            quoted = ", ".join(f"'{value}'" for value in sorted(values))
            batch.create_check_constraint(f"{column}_known", f"{column} IN ({quoted})")
        if adds_term:
            batch.add_column(sa.Column("cosign_due_at", ddl.instant()))
        else:
            batch.drop_column("cosign_due_at")
