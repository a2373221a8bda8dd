"""Create the tables of what was captured, its digests and custody.

They are new; no rows exist yet. Payloads, signatures, links, findings, receipts, reviews, beacons, copies and exports are
append-only; of a statement only its state and standing change, of an item only what its arrival and examination fill in.
The triggers on retention hold the floor of two years (731 days) for recordings, whoever asks.
"""

import sqlalchemy as sa
from alembic import op

from backend.db.migrations import ddl

revision = "exhibits"
down_revision = "cases"
branch_labels = None
depends_on = None

_TABLES = (
    "manifests", "manifest_signatures", "chain_links", "items", "uploads", "upload_tokens", "findings", "evidence_receipts", "evidence_reviews",
    "beacons", "copy_numbers", "copies", "exports",
)
_KINDS = ("arrival", "capture", "declaration", "cash_receipt", "void", "departure", "visit_close")
_ROLES = (
    "photo", "audio", "video", "declaration_page", "id_front", "id_back", "payer_signature", "deposit_slip", "debtor_document", "door_plate",
    "authorisation_shown", "letter_delivery", "police_slip", "cash_count", "counterfoil", "refusal",
)


def upgrade() -> None:
    _create_statements()
    _create_items()
    _create_uploads()
    _create_judgements()
    _create_registers()
    _guard_retention()


def downgrade() -> None:
    ddl.execute(postgresql="DROP TRIGGER tr_case_keys_retention ON case_keys", sqlite="DROP TRIGGER tr_case_keys_retention")
    for table in reversed(_TABLES):
        op.drop_table(table)
    for function in ("fieldvisit_item_retention", "fieldvisit_key_retention"):
        ddl.execute(postgresql=f"DROP FUNCTION {function}()")


def _id(name: str = "id") -> sa.Column[object]:
    return sa.Column(name, ddl.uuid(), primary_key=True)


def _to(name: str, target: str, *, nullable: bool = False) -> sa.Column[object]:
    of_device = target == "devices.kid"
    return sa.Column(name, ddl.key(43) if of_device else ddl.uuid(), sa.ForeignKey(target), nullable=nullable)


def _at(name: str, *, nullable: bool = False) -> sa.Column[object]:
    return sa.Column(name, ddl.instant(), nullable=nullable)


def _index(table: str, *columns: str) -> None:
    op.create_index(f"ix_{table}_{'_'.join(columns)}", table, list(columns))


def _create_statements() -> None:
    op.create_table(
        "manifests",
        _id(),
        sa.Column("digest", ddl.key(64), nullable=False),
        sa.Column("payload", sa.LargeBinary, nullable=False),
        sa.Column("kind", ddl.choice(), nullable=False),
        sa.Column("visit_id", ddl.uuid()),
        _to("case_id", "cases.id", nullable=True),
        _to("bank_id", "banks.id", nullable=True),
        _to("branch_id", "branches.id", nullable=True),
        _to("seal_subject", "case_keys.subject_id"),
        _to("device", "devices.kid"),
        _to("staff_id", "staff.id"),
        _to("cosigner_device", "devices.kid", nullable=True),
        _to("cosigner_id", "staff.id", nullable=True),
        sa.Column("seq", sa.BigInteger, nullable=False),
        sa.Column("prev", ddl.key(64), nullable=False),
        _at("captured_at"),
        _at("captured_lower_at", nullable=True),
        _at("captured_upper_at"),
        _at("judged_at"),
        _at("received_at"),
        sa.Column("policy_version", ddl.key(64), nullable=False),
        _to("log_entry_id", "log_entries.id"),
        sa.Column("state", ddl.choice(), nullable=False),
        sa.Column("standing", ddl.choice(), nullable=False),
        _at("completed_at", nullable=True),
        sa.UniqueConstraint("digest"),
        sa.UniqueConstraint("device", "seq", "digest"),
        ddl.known("kind", _KINDS),
        ddl.known("state", ("awaiting_cosignature", "complete")),
        ddl.known("standing", ("accepted", "doubtful", "breach", "quarantined")),
        sa.CheckConstraint("(state = 'complete') = (completed_at IS NOT NULL)", name="complete_has_time"),
        sa.CheckConstraint("cosigner_id <> staff_id", name="two_people"),
        sa.CheckConstraint("cosigner_device <> device", name="two_devices"),
        sa.CheckConstraint("seq >= 1", name="seq_positive"),
    )
    for columns in (("visit_id", "id"), ("case_id",), ("bank_id", "id"), ("staff_id", "captured_at"), ("cosigner_id",), ("branch_id", "standing")):
        _index("manifests", *columns)
    ddl.immutable_columns("manifests", (
        "id", "digest", "payload", "kind", "visit_id", "case_id", "bank_id", "branch_id", "seal_subject", "device", "staff_id", "cosigner_device",
        "cosigner_id", "seq", "prev", "captured_at", "captured_lower_at", "captured_upper_at", "judged_at", "received_at", "policy_version", "log_entry_id",
    ))
    ddl.forbid_delete("manifests", "evidence is kept")
    ddl.grant_app("manifests")
    op.create_table(
        "manifest_signatures",
        sa.Column("manifest_id", ddl.uuid(), sa.ForeignKey("manifests.id"), primary_key=True),
        sa.Column("kid", ddl.key(43), sa.ForeignKey("devices.kid"), primary_key=True),
        sa.Column("role", ddl.choice(), nullable=False),
        sa.Column("protected", sa.Text, nullable=False),
        sa.Column("signature", ddl.key(86), nullable=False),
        _at("signed_at"),
        _at("received_at"),
        _to("log_entry_id", "log_entries.id"),
        sa.UniqueConstraint("manifest_id", "role"),
        ddl.known("role", ("capturer", "witness")),
    )
    _append_only("manifest_signatures")
    op.create_table(
        "chain_links",
        _id(),
        _to("device", "devices.kid"),
        sa.Column("seq", sa.BigInteger, nullable=False),
        sa.Column("digest", ddl.key(64), nullable=False),
        sa.Column("prev", ddl.key(64), nullable=False),
        sa.Column("role", ddl.choice(), nullable=False),
        _to("manifest_id", "manifests.id"),
        _at("received_at"),
        sa.UniqueConstraint("device", "seq", "digest"),
        ddl.known("role", ("capturer", "witness")),
    )
    _index("chain_links", "manifest_id")
    _append_only("chain_links")


def _create_items() -> None:
    op.create_table(
        "items",
        _id(),
        _to("manifest_id", "manifests.id"),
        sa.Column("item_id", ddl.key(64), nullable=False),
        sa.Column("sha256", ddl.key(64), nullable=False),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("role", ddl.choice(), nullable=False),
        sa.Column("media_type", ddl.key(64), nullable=False),
        _at("started_at"),
        _at("ended_at"),
        _to("seal_subject", "case_keys.subject_id"),
        sa.Column("state", ddl.choice(), nullable=False),
        sa.Column("blob_key", ddl.key(200)),
        sa.Column("wrapped_key", sa.LargeBinary),
        _at("stored_at", nullable=True),
        _at("retained_until_at", nullable=True),
        sa.Column("examination", ddl.canonical_json()),
        _at("examined_at", nullable=True),
        sa.UniqueConstraint("manifest_id", "item_id"),
        sa.UniqueConstraint("manifest_id", "sha256"),
        ddl.known("role", _ROLES),
        ddl.known("state", ("needed", "stored")),
        sa.CheckConstraint("size > 0", name="size_positive"),
        sa.CheckConstraint("(state = 'stored') = (stored_at IS NOT NULL)", name="stored_has_time"),
        sa.CheckConstraint("state <> 'stored' OR blob_key IS NOT NULL", name="stored_has_blob"),
    )
    _index("items", "sha256")
    _index("items", "seal_subject")
    ddl.immutable_columns("items", ("id", "manifest_id", "item_id", "sha256", "size", "role", "media_type", "started_at", "ended_at", "seal_subject"))
    ddl.forbid_delete("items", "evidence is kept")
    ddl.grant_app("items")


def _create_uploads() -> None:
    op.create_table(
        "uploads",
        _id(),
        _to("item_key", "items.id"),
        _to("device", "devices.kid"),
        sa.Column("length", sa.BigInteger, nullable=False),
        sa.Column("wrapped_key", sa.LargeBinary, nullable=False),
        _at("created_at"),
        _at("expires_at"),
        sa.Column("state", ddl.choice(), nullable=False),
        ddl.known("state", ("open", "finished", "gone")),
        sa.CheckConstraint("length > 0", name="length_positive"),
    )
    _index("uploads", "item_key")
    _index("uploads", "device", "state")
    _index("uploads", "state", "expires_at")
    ddl.grant_app("uploads")
    op.create_table(
        "upload_tokens",
        sa.Column("token_hash", ddl.key(64), primary_key=True),
        _to("item_key", "items.id"),
        _to("device", "devices.kid"),
        _at("issued_at"),
        _at("expires_at"),
    )
    _index("upload_tokens", "item_key")
    ddl.grant_app("upload_tokens")


def _create_judgements() -> None:
    op.create_table(
        "findings",
        _id(),
        _to("manifest_id", "manifests.id"),
        _to("item_key", "items.id", nullable=True),
        sa.Column("grade", ddl.choice(), nullable=False),
        sa.Column("code", ddl.key(64), nullable=False),
        sa.Column("params", ddl.canonical_json(), nullable=False),
        _at("at"),
        sa.Column("policy_version", ddl.key(64), nullable=False),
        ddl.known("grade", ("info", "doubt", "fraud_sign")),
    )
    _index("findings", "manifest_id")
    _index("findings", "grade", "id")
    _append_only("findings")
    op.create_table(
        "evidence_receipts",
        _id(),
        _to("manifest_id", "manifests.id"),
        sa.Column("kind", ddl.choice(), nullable=False),
        sa.Column("jws", sa.Text, nullable=False),
        sa.Column("proof", sa.Text, nullable=False),
        _to("log_entry_id", "log_entries.id"),
        _at("created_at"),
        sa.UniqueConstraint("manifest_id", "kind"),
        ddl.known("kind", ("received", "examined")),
    )
    _append_only("evidence_receipts")
    op.create_table(
        "evidence_reviews",
        _id(),
        _to("manifest_id", "manifests.id"),
        _to("reviewer_id", "staff.id"),
        sa.Column("verdict", ddl.choice(), nullable=False),
        sa.Column("reason", ddl.sealed(), nullable=False),
        _at("at"),
        _to("log_entry_id", "log_entries.id"),
        sa.UniqueConstraint("manifest_id", "reviewer_id"),
        ddl.known("verdict", ("release", "uphold")),
    )
    _append_only("evidence_reviews")


def _create_registers() -> None:
    op.create_table(
        "beacons",
        sa.Column("digest", ddl.key(64), primary_key=True),
        _to("device", "devices.kid"),
        _at("issued_at"),
    )
    _append_only("beacons")
    op.create_table("copy_numbers", sa.Column("year", sa.Integer, primary_key=True, autoincrement=False), sa.Column("last", sa.Integer, nullable=False))
    ddl.grant_app("copy_numbers")
    op.create_table(
        "copies",
        _id(),
        sa.Column("number", ddl.key(32), nullable=False),
        _to("item_key", "items.id"),
        _to("copier_id", "staff.id"),
        sa.Column("purpose", ddl.key(32), nullable=False),
        _at("at"),
        sa.Column("copy_sha256", ddl.key(64), nullable=False),
        sa.Column("statement", sa.Text, nullable=False),
        _to("log_entry_id", "log_entries.id"),
        sa.UniqueConstraint("number"),
    )
    _index("copies", "item_key")
    _index("copies", "copier_id", "at")
    _append_only("copies")
    op.create_table(
        "exports",
        _id(),
        sa.Column("visit_id", ddl.uuid(), nullable=False),
        _to("requested_by", "staff.id"),
        _at("at"),
        sa.Column("sha256", ddl.key(64), nullable=False),
        sa.Column("purpose", ddl.key(32), nullable=False),
        _to("log_entry_id", "log_entries.id"),
    )
    _index("exports", "visit_id")
    _append_only("exports")


def _append_only(table: str) -> None:
    ddl.append_only(table)
    ddl.grant_app(table, append_only=True)


_LOST_POSTGRESQL = """
    (NEW.role IN ('audio', 'video') AND (NEW.retained_until_at IS NULL OR NEW.retained_until_at < NEW.ended_at + INTERVAL '731 days'))
    OR (OLD.retained_until_at IS NOT NULL AND NEW.retained_until_at IS NOT NULL AND NEW.retained_until_at < OLD.retained_until_at)
    OR (OLD.retained_until_at IS NULL AND NEW.retained_until_at IS NOT NULL AND NEW.retained_until_at < now())
    OR (OLD.state = 'stored' AND (NEW.state <> 'stored' OR NEW.blob_key IS DISTINCT FROM OLD.blob_key))
    OR (OLD.wrapped_key IS NOT NULL AND NEW.wrapped_key IS NULL AND (OLD.retained_until_at IS NULL OR OLD.retained_until_at > now()))
"""
_SQLITE_NOW = "(CAST(strftime('%s', 'now') AS INTEGER) * 1000000)"
_LOST_SQLITE = (
    _LOST_POSTGRESQL.replace("INTERVAL '731 days'", str(731 * 86_400 * 1_000_000)).replace("now()", _SQLITE_NOW).replace("IS DISTINCT FROM", "IS NOT")
)


def _guard_retention() -> None:
    """Recordings stay for two years at least, a term is never shortened, a key goes only after the term (EVD-02, EVD-03)."""
    ddl.execute(postgresql=f"""
        CREATE FUNCTION fieldvisit_item_retention() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            IF TG_OP = 'INSERT' THEN
                IF NEW.role IN ('audio', 'video') AND (NEW.retained_until_at IS NULL OR NEW.retained_until_at < NEW.ended_at + INTERVAL '731 days') THEN
                    RAISE EXCEPTION 'retention of items: recordings are kept two years' USING ERRCODE = 'integrity_constraint_violation';
                END IF;
            ELSIF {_LOST_POSTGRESQL} THEN
                RAISE EXCEPTION 'retention of items is refused to shrink' USING ERRCODE = 'integrity_constraint_violation';
            END IF;
            RETURN NEW;
        END $$
    """)
    ddl.execute(postgresql="CREATE TRIGGER tr_items_retention BEFORE INSERT OR UPDATE ON items FOR EACH ROW EXECUTE FUNCTION fieldvisit_item_retention()")
    floor = f"NEW.role IN ('audio', 'video') AND (NEW.retained_until_at IS NULL OR NEW.retained_until_at < NEW.ended_at + {731 * 86_400 * 1_000_000})"
    ddl.execute(sqlite=f"CREATE TRIGGER tr_items_retention_new BEFORE INSERT ON items FOR EACH ROW WHEN ({floor}) "
                       "BEGIN SELECT RAISE(ABORT, 'retention of items: recordings are kept two years'); END")
    ddl.execute(sqlite=f"CREATE TRIGGER tr_items_retention BEFORE UPDATE ON items FOR EACH ROW WHEN ({_LOST_SQLITE}) "
                       "BEGIN SELECT RAISE(ABORT, 'retention of items is refused to shrink'); END")
    kept = "SELECT 1 FROM items WHERE seal_subject = NEW.subject_id AND state = 'stored' AND (retained_until_at IS NULL OR retained_until_at > {now})"
    ddl.execute(postgresql=f"""
        CREATE FUNCTION fieldvisit_key_retention() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            IF OLD.wrapped IS NOT NULL AND NEW.wrapped IS NULL AND EXISTS ({kept.format(now="now()")}) THEN
                RAISE EXCEPTION 'retention: evidence under this key is still kept' USING ERRCODE = 'integrity_constraint_violation';
            END IF;
            RETURN NEW;
        END $$
    """)
    ddl.execute(
        postgresql="CREATE TRIGGER tr_case_keys_retention BEFORE UPDATE ON case_keys FOR EACH ROW EXECUTE FUNCTION fieldvisit_key_retention()",
        sqlite="CREATE TRIGGER tr_case_keys_retention BEFORE UPDATE ON case_keys FOR EACH ROW "
        f"WHEN (OLD.wrapped IS NOT NULL AND NEW.wrapped IS NULL AND EXISTS ({kept.format(now=_SQLITE_NOW)})) "
        "BEGIN SELECT RAISE(ABORT, 'retention: evidence under this key is still kept'); END",
    )
