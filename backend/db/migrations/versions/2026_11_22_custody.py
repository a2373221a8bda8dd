"""Create what custody of evidence needs: the draw of reviews, reviews of files, masks, holds, destructions, productions and packs.

New tables hold no rows yet. A visit may now end as `not_sampled`; no visit changes by this. From here on a case key is destroyed,
and a file loses its key, only by a destruction that two people decided and never while a legal hold is in force.
"""

import sqlalchemy as sa
from alembic import op

from backend.db.migrations import ddl

revision = "custody"
down_revision = "plan_jobs"
branch_labels = None
depends_on = None

_STATUSES = ("archived", "cancelled", "concluded", "dispatched", "entered", "reported", "returned", "reviewed", "started")
_TABLES = ("visit_samplings", "item_reviews", "item_masks", "legal_holds", "destructions", "packs", "productions")


def upgrade() -> None:
    _let_visits_end_as(("not_sampled", *_STATUSES))
    _create_reviews()
    _create_custody()
    _create_handovers()
    _guard_destruction()


def downgrade() -> None:
    for table in ("case_keys", "items"):
        ddl.execute(postgresql=f"DROP TRIGGER tr_{table}_custody ON {table}", sqlite=f"DROP TRIGGER tr_{table}_custody")
        ddl.execute(postgresql=f"DROP FUNCTION fieldvisit_{table}_custody()")
    for table in reversed(_TABLES):
        op.drop_table(table)
    op.execute("UPDATE visits SET status = 'reported' WHERE status = 'not_sampled'")
    _let_visits_end_as(_STATUSES)


def _let_visits_end_as(statuses: tuple[str, ...]) -> None:
    with ddl.rebuild_table("visits", drops=("ck_visits_status_known",)) as visits:
        visits.drop_constraint("status_known", type_="check")
        quoted = ", ".join(f"'{status}'" for status in sorted(statuses))
        visits.create_check_constraint("status_known", f"status IN ({quoted})")


def _id(name: str = "id") -> sa.Column[object]:
    return sa.Column(name, ddl.uuid(), primary_key=True)


def _to(name: str, target: str, *, nullable: bool = False) -> sa.Column[object]:
    return sa.Column(name, ddl.uuid(), sa.ForeignKey(target), nullable=nullable)


def _at(name: str, *, nullable: bool = False) -> sa.Column[object]:
    return sa.Column(name, ddl.instant(), nullable=nullable)


def _append_only(table: str) -> None:
    ddl.append_only(table)
    ddl.grant_app(table, append_only=True)


def _create_reviews() -> None:
    op.create_table(
        "visit_samplings",
        sa.Column("visit_id", ddl.uuid(), sa.ForeignKey("visits.id"), primary_key=True),
        sa.Column("result", ddl.choice(), nullable=False),
        sa.Column("reasons", ddl.canonical_json(), nullable=False),
        sa.Column("share_pct", sa.Integer, nullable=False),
        sa.Column("policy_version", ddl.key(64), nullable=False),
        sa.Column("log_size", sa.BigInteger),
        sa.Column("log_root", ddl.key(64)),
        sa.Column("ticket", sa.Integer),
        _at("at"),
        _to("log_entry_id", "log_entries.id"),
        ddl.known("result", ("required", "drawn", "not_drawn")),
        sa.CheckConstraint("share_pct BETWEEN 0 AND 100", name="share_in_range"),
        sa.CheckConstraint("(result = 'required') = (ticket IS NULL)", name="drawn_by_ticket"),
        sa.CheckConstraint("(ticket IS NULL) = (log_root IS NULL) AND (ticket IS NULL) = (log_size IS NULL)", name="ticket_names_root"),
    )
    _append_only("visit_samplings")
    op.create_table(
        "item_reviews",
        _id(),
        _to("item_key", "items.id"),
        _to("reviewer_id", "staff.id"),
        sa.Column("verdict", ddl.choice(), nullable=False),
        sa.Column("comment", ddl.sealed(), nullable=False),
        _at("at"),
        _to("log_entry_id", "log_entries.id"),
        ddl.known("verdict", ("accepted", "returned", "rejected", "comment")),
    )
    op.create_index("ix_item_reviews_item_key", "item_reviews", ["item_key"])
    _append_only("item_reviews")
    op.create_table(
        "item_masks",
        _id(),
        _to("item_key", "items.id"),
        sa.Column("boxes", ddl.canonical_json(), nullable=False),
        sa.Column("reason", ddl.key(32), nullable=False),
        _to("set_by", "staff.id"),
        _at("at"),
        _to("log_entry_id", "log_entries.id"),
    )
    op.create_index("ix_item_masks_item_key", "item_masks", ["item_key"])
    _append_only("item_masks")


def _create_custody() -> None:
    op.create_table(
        "legal_holds",
        _id(),
        _to("case_id", "cases.id"),
        sa.Column("ground", ddl.choice(), nullable=False),
        sa.Column("reason", ddl.sealed(), nullable=False),
        _to("set_by", "staff.id"),
        _at("set_at"),
        _to("log_entry_id", "log_entries.id"),
        sa.Column("lift_reason", ddl.sealed()),
        _to("lifted_by", "staff.id", nullable=True),
        _at("lifted_at", nullable=True),
        _to("lift_entry_id", "log_entries.id", nullable=True),
        ddl.known("ground", ("litigation", "complaint", "police", "regulator", "dispute", "other")),
        sa.CheckConstraint(
            "(lifted_at IS NULL) = (lifted_by IS NULL) AND (lifted_at IS NULL) = (lift_reason IS NULL) AND (lifted_at IS NULL) = (lift_entry_id IS NULL)",
            name="lifted_by_someone_for_a_reason"),
        sa.CheckConstraint("lifted_at >= set_at", name="lifted_after_set"),
    )
    op.create_index("ix_legal_holds_case_id", "legal_holds", ["case_id"])
    ddl.immutable_columns("legal_holds", ("id", "case_id", "ground", "reason", "set_by", "set_at", "log_entry_id"))
    ddl.refuse_update_when("legal_holds", "lifted_once", "OLD.lifted_at IS NOT NULL", "a lifted hold stays as it is")
    ddl.forbid_delete("legal_holds", "the history of holds is kept")
    ddl.grant_app("legal_holds")
    op.create_table(
        "destructions",
        _id(),
        _to("case_id", "cases.id"),
        sa.Column("ground", ddl.choice(), nullable=False),
        _to("proposed_by", "staff.id"),
        _at("proposed_at"),
        _to("decided_by", "staff.id", nullable=True),
        _at("decided_at", nullable=True),
        sa.Column("is_approved", sa.Boolean),
        _at("done_at", nullable=True),
        sa.Column("certificate", ddl.canonical_json()),
        _to("log_entry_id", "log_entries.id", nullable=True),
        ddl.known("ground", ("term_over", "bank_instruction", "contract_end")),
        sa.CheckConstraint("decided_by <> proposed_by", name="two_people"),
        sa.CheckConstraint("(decided_by IS NULL) = (decided_at IS NULL) AND (decided_by IS NULL) = (is_approved IS NULL)", name="decided_by_someone"),
        sa.CheckConstraint("done_at IS NULL OR (is_approved AND certificate IS NOT NULL AND log_entry_id IS NOT NULL)", name="done_is_certified"),
    )
    op.create_index("ix_destructions_case_id", "destructions", ["case_id"])
    ddl.immutable_columns("destructions", ("id", "case_id", "ground", "proposed_by", "proposed_at"))
    ddl.refuse_update_when(
        "destructions", "decided_once", "OLD.decided_by IS NOT NULL AND (NEW.decided_by <> OLD.decided_by OR NEW.is_approved <> OLD.is_approved)",
        "a decision stays as it is")
    ddl.refuse_update_when("destructions", "done_once", "OLD.done_at IS NOT NULL", "a destruction stays as it is certified")
    ddl.forbid_delete("destructions", "the history of destructions is kept")
    ddl.grant_app("destructions")


def _create_handovers() -> None:
    op.create_table(
        "packs",
        _id(),
        sa.Column("kind", ddl.choice(), nullable=False),
        sa.Column("scope", ddl.canonical_json(), nullable=False),
        sa.Column("cases", ddl.canonical_json(), nullable=False),
        _to("bank_id", "banks.id"),
        _to("requested_by", "staff.id"),
        _at("at"),
        sa.Column("purpose", ddl.key(32), nullable=False),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("sha256", ddl.key(64), nullable=False),
        sa.Column("log_size", sa.BigInteger, nullable=False),
        _to("log_entry_id", "log_entries.id"),
        _at("expires_at"),
        sa.Column("master_kid", ddl.key(64), nullable=False),
        sa.Column("wrapped_key", sa.LargeBinary),
        ddl.known("kind", ("visit", "case", "batch", "period", "production")),
        sa.CheckConstraint("size > 0", name="size_positive"),
    )
    op.create_index("ix_packs_bank_id_id", "packs", ["bank_id", "id"])
    op.create_index("ix_packs_expires_at", "packs", ["expires_at"])
    ddl.immutable_columns("packs", (
        "id", "kind", "scope", "cases", "bank_id", "requested_by", "at", "purpose", "size", "sha256", "log_size", "log_entry_id", "expires_at", "master_kid"))
    ddl.refuse_update_when("packs", "gone_is_gone", "OLD.wrapped_key IS NULL AND NEW.wrapped_key IS NOT NULL", "a pack that is gone stays gone")
    ddl.forbid_delete("packs", "the register of packs is kept")
    ddl.grant_app("packs")
    op.create_table(
        "productions",
        _id(),
        _to("case_id", "cases.id"),
        _to("bank_id", "banks.id"),
        sa.Column("items", ddl.canonical_json(), nullable=False),
        sa.Column("recipient", ddl.sealed(), nullable=False),
        sa.Column("recipient_jwk", ddl.canonical_json(), nullable=False),
        sa.Column("purpose", ddl.key(32), nullable=False),
        sa.Column("reason", ddl.sealed(), nullable=False),
        _to("requested_by", "staff.id"),
        _at("requested_at"),
        _to("first_by", "staff.id", nullable=True),
        _at("first_at", nullable=True),
        _to("second_by", "staff.id", nullable=True),
        _at("second_at", nullable=True),
        _to("refused_by", "staff.id", nullable=True),
        _at("refused_at", nullable=True),
        _to("pack_id", "packs.id", nullable=True),
        _at("produced_at", nullable=True),
        sa.Column("register_number", ddl.key(64), nullable=False),
        _to("log_entry_id", "log_entries.id"),
        sa.UniqueConstraint("register_number"),
        sa.CheckConstraint("first_by <> requested_by AND second_by <> requested_by AND second_by <> first_by", name="three_people"),
        sa.CheckConstraint("(first_by IS NULL) = (first_at IS NULL) AND (second_by IS NULL) = (second_at IS NULL)", name="approved_by_someone"),
        sa.CheckConstraint("second_by IS NULL OR first_by IS NOT NULL", name="first_comes_first"),
        sa.CheckConstraint("(refused_by IS NULL) = (refused_at IS NULL)", name="refused_by_someone"),
        sa.CheckConstraint("(pack_id IS NULL) = (produced_at IS NULL)", name="produced_at_some_time"),
        sa.CheckConstraint("pack_id IS NULL OR (second_by IS NOT NULL AND refused_by IS NULL)", name="twice_approved"),
    )
    op.create_index("ix_productions_case_id", "productions", ["case_id"])
    op.create_index("ix_productions_bank_id_id", "productions", ["bank_id", "id"])
    ddl.immutable_columns("productions", (
        "id", "case_id", "bank_id", "items", "recipient", "recipient_jwk", "purpose", "reason", "requested_by", "requested_at", "register_number",
        "log_entry_id"))
    ddl.refuse_update_when(
        "productions", "approved_once", "(OLD.first_by IS NOT NULL AND (NEW.first_by IS NULL OR NEW.first_by <> OLD.first_by)) "
        "OR (OLD.second_by IS NOT NULL AND (NEW.second_by IS NULL OR NEW.second_by <> OLD.second_by)) OR OLD.refused_by IS NOT NULL",
        "an approval or refusal stays as it is")
    ddl.forbid_delete("productions", "the register of productions is kept")
    ddl.grant_app("productions")


def _guard_destruction() -> None:
    """A key goes only by a destruction that two people decided and that is not done yet, and never under a legal hold."""
    decided = "SELECT 1 FROM destructions WHERE case_id = {case} AND is_approved AND done_at IS NULL"
    held = "SELECT 1 FROM legal_holds WHERE case_id = {case} AND lifted_at IS NULL"
    of_item = "(SELECT case_id FROM manifests WHERE id = NEW.manifest_id)"
    for table, column, case in (("case_keys", "wrapped", "NEW.subject_id"), ("items", "wrapped_key", of_item)):
        is_lost = f"OLD.{column} IS NOT NULL AND NEW.{column} IS NULL"
        refused = f"NOT EXISTS ({decided.format(case=case)}) OR EXISTS ({held.format(case=case)})"
        reason = "custody: destruction needs two people and no legal hold"
        ddl.execute(postgresql=f"""
            CREATE FUNCTION fieldvisit_{table}_custody() RETURNS trigger LANGUAGE plpgsql AS $$
            BEGIN
                IF {is_lost} AND ({refused}) THEN
                    RAISE EXCEPTION '{reason}' USING ERRCODE = 'integrity_constraint_violation';
                END IF;
                RETURN NEW;
            END $$
        """)
        ddl.execute(
            postgresql=f"CREATE TRIGGER tr_{table}_custody BEFORE UPDATE ON {table} FOR EACH ROW EXECUTE FUNCTION fieldvisit_{table}_custody()",
            sqlite=f"CREATE TRIGGER tr_{table}_custody BEFORE UPDATE ON {table} FOR EACH ROW WHEN ({is_lost} AND ({refused})) "
            f"BEGIN SELECT RAISE(ABORT, '{reason}'); END",
        )
