"""Create the tables of authorisations, receipts, the money ledger and deposits.

They are new; no rows exist yet. What the database itself refuses, on both engines and without a single SUM:

* a balance that no posting moved, a posting that no transfer made, a transfer between accounts that its kind may not join;
* any change or removal of a transfer, posting, collection, receipt, statement or reconciliation;
* a collection without its receipt and transfer of the same amount in the same commit, or above the cap of its authorisation;
* a second receipt under one number, a second deposit of one collection, a reversal that is not the mirror of its original.
"""

import sqlalchemy as sa
from alembic import op

from backend.db.migrations import ddl

revision = "cash"
down_revision = "disputes"
branch_labels = None
depends_on = None

_TABLES = (
    "receipt_books", "receipt_numbers", "accounts", "authorisation_requests", "authorisations", "transfers", "postings", "collections", "receipts",
    "cash_exceptions", "handovers", "deposits", "deposit_lines", "statements", "statement_lines", "variances", "reconciliations", "corrections",
)
_APPEND_ONLY = ("transfers", "postings", "collections", "receipts", "statements", "reconciliations")
_FIXED = {
    "receipt_books": ("id", "serial", "bank_id", "branch_id", "first_number", "last_number", "signed_out_by", "signed_out_at"),
    "receipt_numbers": ("number", "book_id", "ordinal", "bank_id", "device", "code", "leased_at"),
    "accounts": ("id", "kind", "owner", "bank_id", "currency"),
    "authorisation_requests": (
        "id", "case_id", "visit_id", "bank_id", "branch_id", "circumstance", "explanation", "cap_requested_fen", "requested_by", "requested_at", "expires_at",
    ),
    "authorisations": (
        "jti", "request_id", "case_id", "bank_id", "branch_id", "token", "kid", "hardware", "cap_fen", "max_collections", "devices", "instruments",
        "account_digest", "payer", "not_before_at", "expires_at", "granted_by", "granted_at", "log_entry_id",
    ),
    "cash_exceptions": ("number", "collection_id", "bank_id", "branch_id", "collector_id", "cosigner_id", "opened_at"),
    "handovers": ("id", "bank_id", "giver_id", "taker_id", "amount_fen", "handed_at", "giver_token", "recorded_at"),
    "deposits": (
        "id", "digest", "bank_id", "branch_id", "account_digest", "channel", "slip_reference", "slip_sha256", "amount_fen", "content", "depositor_id",
        "deposited_at", "recorded_at", "policy_version",
    ),
    "deposit_lines": ("deposit_id", "collection_id", "amount_fen"),
    "statement_lines": ("id", "statement_id", "bank_id", "line_key", "account_digest", "booked_on", "reference", "amount_fen"),
    "variances": ("id", "bank_id", "kind", "amount_fen", "owner_id", "deposit_id", "statement_line_id", "transfer_id", "certificate", "opened_at"),
    "corrections": ("id", "transfer_id", "bank_id", "reason", "proposed_by", "proposed_at"),
}
_SIDES = """
    EXISTS (
        SELECT 1 FROM accounts AS debit JOIN accounts AS credit ON debit.bank_id = credit.bank_id
        WHERE debit.id = NEW.debit_id AND credit.id = NEW.credit_id AND debit.bank_id = NEW.bank_id AND (
            (NEW.kind = 'collection' AND debit.kind = 'custody' AND credit.kind = 'debtor')
            OR (NEW.kind = 'handover' AND debit.kind = 'custody' AND credit.kind = 'custody')
            OR (NEW.kind = 'deposit' AND debit.kind = 'in_transit' AND credit.kind = 'custody')
            OR (NEW.kind = 'confirmation' AND debit.kind = 'designated' AND credit.kind = 'in_transit' AND debit.owner = credit.owner)
            OR (NEW.kind = 'shortfall' AND debit.kind = 'suspense' AND credit.kind IN ('custody', 'in_transit'))
            OR (NEW.kind = 'recovery' AND debit.kind = 'in_transit' AND credit.kind = 'suspense')
            OR (NEW.kind = 'reversal' AND EXISTS (
                SELECT 1 FROM transfers AS original
                WHERE original.id = NEW.reverses_id AND original.kind <> 'reversal' AND original.amount_fen = NEW.amount_fen
                    AND original.debit_id = NEW.credit_id AND original.credit_id = NEW.debit_id
            ))
        )
    )
"""
_POSTING_FITS = """
    EXISTS (
        SELECT 1 FROM transfers JOIN accounts ON accounts.id = NEW.account_id
        WHERE transfers.id = NEW.transfer_id AND NEW.ordinal = accounts.posting_count + 1 AND NEW.balance_fen = accounts.balance_fen + NEW.amount_fen
            AND ((transfers.debit_id = accounts.id AND NEW.amount_fen = transfers.amount_fen)
                OR (transfers.credit_id = accounts.id AND NEW.amount_fen = -transfers.amount_fen))
    )
"""
_BALANCE_FITS = """
    (NEW.balance_fen = OLD.balance_fen AND NEW.posting_count = OLD.posting_count) OR (
        NEW.posting_count = OLD.posting_count + 1 AND EXISTS (
            SELECT 1 FROM postings WHERE account_id = NEW.id AND ordinal = NEW.posting_count AND balance_fen = NEW.balance_fen
        )
    )
"""
_RECEIPT_FITS = """
    NEW.leased_number IS NULL OR EXISTS (SELECT 1 FROM receipt_numbers WHERE number = NEW.leased_number AND status = 'issued')
"""
_NUMBER_FITS = """
    NEW.status = OLD.status OR OLD.status IN ('leased', 'suspended') OR (OLD.status = 'issued' AND NEW.status = 'void')
"""


def _demand(name: str, table: str, verb: str, condition: str, reason: str) -> None:
    """Refuse a row of `table` for which `condition`, in terms of NEW and OLD, does not hold."""
    ddl.execute(
        postgresql=f"""
        CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            IF NOT ({condition}) THEN
                RAISE EXCEPTION '% of {table} is refused: {reason}', TG_OP USING ERRCODE = 'integrity_constraint_violation';
            END IF;
            RETURN NEW;
        END $$
        """,
        sqlite=f"CREATE TRIGGER tr_{table}_{name} BEFORE {verb} ON {table} FOR EACH ROW WHEN NOT ({condition}) "
        f"BEGIN SELECT RAISE(ABORT, '{verb} of {table} is refused: {reason}'); END",
    )
    ddl.execute(postgresql=f"CREATE TRIGGER tr_{table}_{name} BEFORE {verb} ON {table} FOR EACH ROW EXECUTE FUNCTION {name}()")


def _follow(name: str, table: str, statements: str, before: str = "") -> None:
    """Run `statements` after each INSERT into `table`; `before` runs first, on PostgreSQL alone, to take locks in one order."""
    ddl.execute(
        postgresql=f"CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {before} {statements} RETURN NULL; END $$",
        sqlite=f"CREATE TRIGGER tr_{table}_{name} AFTER INSERT ON {table} FOR EACH ROW BEGIN {statements} END",
    )
    ddl.execute(postgresql=f"CREATE TRIGGER tr_{table}_{name} AFTER INSERT ON {table} FOR EACH ROW EXECUTE FUNCTION {name}()")


def _deferred(table: str, columns: list[str], targets: list[str]) -> list[sa.ForeignKeyConstraint]:
    """Make a key that is checked at commit; PostgreSQL gets it once both tables stand, see `_add_deferred`."""
    _DEFERRED.append((table, columns, targets))
    return [] if ddl.is_postgresql() else [sa.ForeignKeyConstraint(columns, targets, deferrable=True, initially="DEFERRED")]


_DEFERRED: list[tuple[str, list[str], list[str]]] = []


def _add_deferred() -> None:
    for table, columns, targets in _DEFERRED:
        if ddl.is_postgresql():
            name = op.f(f"fk_{table}_{'_'.join(columns)}")
            local = [target.partition(".")[2] for target in targets]
            op.create_foreign_key(name, table, targets[0].partition(".")[0], columns, local, deferrable=True, initially="DEFERRED")
    _DEFERRED.clear()


def _install_ledger() -> None:
    _demand("ledger_sides", "transfers", "INSERT", _SIDES, "these accounts are not joined by this kind of transfer")
    _demand("ledger_posting", "postings", "INSERT", _POSTING_FITS, "a posting is one side of a transfer")
    _demand("ledger_birth", "accounts", "INSERT", "NEW.balance_fen = 0 AND NEW.posting_count = 0", "an account begins empty")
    _demand("ledger_balance", "accounts", "UPDATE", _BALANCE_FITS, "a balance moves with a posting only")
    _follow(
        "ledger_apply", "postings",
        "UPDATE accounts SET balance_fen = NEW.balance_fen, posting_count = NEW.ordinal WHERE id = NEW.account_id;",
    )
    sides = "".join(
        "INSERT INTO postings (account_id, ordinal, transfer_id, amount_fen, balance_fen) "
        f"SELECT id, posting_count + 1, NEW.id, {sign}NEW.amount_fen, balance_fen {sign or '+'} NEW.amount_fen FROM accounts WHERE id = NEW.{side}; "
        for side, sign in (("debit_id", ""), ("credit_id", "-"))
    )
    _follow("ledger_post", "transfers", sides, before="PERFORM 1 FROM accounts WHERE id IN (NEW.debit_id, NEW.credit_id) ORDER BY id FOR UPDATE;")


def _install_receipts() -> None:
    _demand("authority_birth", "authorisations", "INSERT", "NEW.collected_fen = 0 AND NEW.collected_count = 0", "an authorisation begins unused")
    _demand(
        "authority_use", "authorisations", "UPDATE", "NEW.collected_fen >= OLD.collected_fen AND NEW.collected_count >= OLD.collected_count",
        "what was taken stays taken",
    )
    _demand("receipt_number_use", "receipts", "INSERT", _RECEIPT_FITS, "its number is not issued to it")
    _demand("receipt_number_end", "receipt_numbers", "UPDATE", _NUMBER_FITS, "a settled number stays settled")
    _follow(
        "authority_count", "collections",
        "UPDATE authorisations SET collected_fen = collected_fen + NEW.amount_fen, collected_count = collected_count + 1 "
        "WHERE jti = NEW.authorisation_jti;",
    )


def upgrade() -> None:
    _create_tables()
    _add_deferred()
    _install_ledger()
    _install_receipts()
    for table in _TABLES:
        ddl.grant_app(table, append_only=table in _APPEND_ONLY)
        if table in _APPEND_ONLY:
            ddl.append_only(table)
        else:
            ddl.forbid_delete(table)
            ddl.immutable_columns(table, _FIXED[table])


def downgrade() -> None:
    if ddl.is_postgresql():
        for table, columns in _DEFERRED_KEYS:
            op.drop_constraint(op.f(f"fk_{table}_{'_'.join(columns)}"), table, type_="foreignkey")
    for table in reversed(_TABLES):
        op.drop_table(table)
    for name in (
        "ledger_sides", "ledger_posting", "ledger_birth", "ledger_balance", "ledger_apply", "ledger_post", "authority_birth", "authority_use",
        "receipt_number_use", "receipt_number_end", "authority_count",
    ):
        ddl.execute(postgresql=f"DROP FUNCTION {name}()")


_DEFERRED_KEYS = (
    ("transfers", ["collection_id", "amount_fen"]),
    ("collections", ["receipt_number", "id", "amount_fen"]),
    ("collections", ["transfer_id", "amount_fen"]),
    ("receipts", ["collection_id", "amount_fen"]),
)


def _create_tables() -> None:
    op.create_table(
        "receipt_books",
        sa.Column("id", ddl.uuid(), primary_key=True),
        sa.Column("serial", ddl.key(24), nullable=False),
        sa.Column("bank_id", ddl.uuid(), sa.ForeignKey("banks.id"), nullable=False),
        sa.Column("branch_id", ddl.uuid(), sa.ForeignKey("branches.id"), nullable=False),
        sa.Column("first_number", sa.Integer(), nullable=False),
        sa.Column("last_number", sa.Integer(), nullable=False),
        sa.Column("held_by", ddl.uuid(), sa.ForeignKey("staff.id"), nullable=False),
        sa.Column("signed_out_by", ddl.uuid(), sa.ForeignKey("staff.id"), nullable=False),
        sa.Column("signed_out_at", ddl.instant(), nullable=False),
        sa.Column("signed_in_by", ddl.uuid(), sa.ForeignKey("staff.id"), nullable=True),
        sa.Column("signed_in_at", ddl.instant(), nullable=True),
        sa.CheckConstraint('first_number >= 1 AND last_number >= first_number AND last_number - first_number < 500', name="range_bounded"),
        sa.UniqueConstraint("serial"),
    )
    op.create_index("ix_receipt_books_bank_id_id", "receipt_books", ["bank_id", "id"])
    op.create_table(
        "receipt_numbers",
        sa.Column("number", ddl.key(40), primary_key=True),
        sa.Column("book_id", ddl.uuid(), sa.ForeignKey("receipt_books.id"), nullable=False),
        sa.Column("ordinal", sa.Integer(), nullable=False),
        sa.Column("bank_id", ddl.uuid(), sa.ForeignKey("banks.id"), nullable=False),
        sa.Column("device", ddl.key(43), sa.ForeignKey("devices.kid"), nullable=False),
        sa.Column("code", ddl.key(32), nullable=False),
        sa.Column("leased_at", ddl.instant(), nullable=False),
        sa.Column("status", ddl.choice(), nullable=False),
        sa.Column("settled_at", ddl.instant(), nullable=True),
        sa.Column("void_reason", ddl.key(48), nullable=True),
        sa.Column("void_manifest_id", ddl.uuid(), sa.ForeignKey("manifests.id"), nullable=True),
        sa.CheckConstraint("(status = 'leased' OR status = 'suspended') = (settled_at IS NULL)", name="settled_has_time"),
        sa.CheckConstraint("status IN ('issued', 'leased', 'returned', 'suspended', 'void')", name="status_known"),
        sa.CheckConstraint("status <> 'void' OR void_reason IS NOT NULL", name="void_has_reason"),
        sa.UniqueConstraint("book_id", "ordinal"),
    )
    op.create_index("ix_receipt_numbers_device_status_ordinal", "receipt_numbers", ["device", "status", "ordinal"])
    op.create_table(
        "accounts",
        sa.Column("id", ddl.uuid(), primary_key=True),
        sa.Column("kind", ddl.choice(), nullable=False),
        sa.Column("owner", ddl.key(64), nullable=False),
        sa.Column("bank_id", ddl.uuid(), sa.ForeignKey("banks.id"), nullable=False),
        sa.Column("currency", ddl.key(3), nullable=False),
        sa.Column("balance_fen", ddl.money(), nullable=False),
        sa.Column("posting_count", sa.Integer(), nullable=False),
        sa.CheckConstraint('posting_count >= 0', name="count_positive"),
        sa.CheckConstraint("kind IN ('custody', 'debtor', 'designated', 'in_transit', 'suspense')", name="kind_known"),
        sa.CheckConstraint("currency = 'CNY'", name="one_currency"),
        sa.CheckConstraint("(kind = 'debtor' AND balance_fen <= 0) OR (kind <> 'debtor' AND balance_fen >= 0)", name="right_side"),
        sa.UniqueConstraint("kind", "owner", "bank_id"),
    )
    op.create_index("ix_accounts_bank_id_kind", "accounts", ["bank_id", "kind"])
    op.create_table(
        "authorisation_requests",
        sa.Column("id", ddl.uuid(), primary_key=True),
        sa.Column("case_id", ddl.uuid(), sa.ForeignKey("cases.id"), nullable=False),
        sa.Column("visit_id", ddl.uuid(), sa.ForeignKey("visits.id"), nullable=True),
        sa.Column("bank_id", ddl.uuid(), sa.ForeignKey("banks.id"), nullable=False),
        sa.Column("branch_id", ddl.uuid(), sa.ForeignKey("branches.id"), nullable=False),
        sa.Column("circumstance", ddl.choice(), nullable=False),
        sa.Column("explanation", ddl.sealed(), nullable=False),
        sa.Column("cap_requested_fen", ddl.money(), nullable=False),
        sa.Column("requested_by", ddl.uuid(), sa.ForeignKey("staff.id"), nullable=False),
        sa.Column("requested_at", ddl.instant(), nullable=False),
        sa.Column("expires_at", ddl.instant(), nullable=False),
        sa.Column("status", ddl.choice(), nullable=False),
        sa.Column("seconded_by", ddl.uuid(), sa.ForeignKey("staff.id"), nullable=True),
        sa.Column("seconded_at", ddl.instant(), nullable=True),
        sa.Column("decided_by", ddl.uuid(), sa.ForeignKey("staff.id"), nullable=True),
        sa.Column("decided_at", ddl.instant(), nullable=True),
        sa.Column("refusal_reason", ddl.key(64), nullable=True),
        sa.CheckConstraint('cap_requested_fen > 0', name="cap_positive"),
        sa.CheckConstraint("circumstance IN ('limited_mobility', 'no_bank_channel', 'other_obstacle', 'remote_area')", name="circumstance_known"),
        sa.CheckConstraint('expires_at > requested_at', name="expires_later"),
        sa.CheckConstraint("status IN ('expired', 'granted', 'refused', 'requested', 'seconded')", name="status_known"),
        sa.CheckConstraint('seconded_by <> decided_by', name="two_authorisers"),
    )
    op.create_index("ix_authorisation_requests_bank_id_status_id", "authorisation_requests", ["bank_id", "status", "id"])
    op.create_index("ix_authorisation_requests_case_id", "authorisation_requests", ["case_id"])
    op.create_table(
        "authorisations",
        sa.Column("jti", ddl.key(64), primary_key=True),
        sa.Column("request_id", ddl.uuid(), sa.ForeignKey("authorisation_requests.id"), nullable=False),
        sa.Column("case_id", ddl.uuid(), sa.ForeignKey("cases.id"), nullable=False),
        sa.Column("bank_id", ddl.uuid(), sa.ForeignKey("banks.id"), nullable=False),
        sa.Column("branch_id", ddl.uuid(), sa.ForeignKey("branches.id"), nullable=False),
        sa.Column("token", sa.Text(), nullable=False),
        sa.Column("kid", ddl.key(43), sa.ForeignKey("bank_keys.kid"), nullable=False),
        sa.Column("hardware", ddl.choice(), nullable=False),
        sa.Column("cap_fen", ddl.money(), nullable=False),
        sa.Column("max_collections", sa.Integer(), nullable=False),
        sa.Column("collected_fen", ddl.money(), nullable=False),
        sa.Column("collected_count", sa.Integer(), nullable=False),
        sa.Column("devices", ddl.canonical_json(), nullable=False),
        sa.Column("instruments", ddl.canonical_json(), nullable=False),
        sa.Column("account_digest", ddl.key(64), nullable=False),
        sa.Column("payer", ddl.canonical_json(), nullable=True),
        sa.Column("not_before_at", ddl.instant(), nullable=False),
        sa.Column("expires_at", ddl.instant(), nullable=False),
        sa.Column("granted_by", ddl.uuid(), sa.ForeignKey("staff.id"), nullable=False),
        sa.Column("granted_at", ddl.instant(), nullable=False),
        sa.Column("revoked_at", ddl.instant(), nullable=True),
        sa.Column("revoked_by", ddl.uuid(), sa.ForeignKey("staff.id"), nullable=True),
        sa.Column("log_entry_id", ddl.uuid(), sa.ForeignKey("log_entries.id"), nullable=False),
        sa.CheckConstraint('cap_fen > 0 AND max_collections > 0', name="cap_positive"),
        sa.CheckConstraint('expires_at > not_before_at', name="expires_later"),
        sa.CheckConstraint("hardware IN ('bank_system', 'demo', 'webcrypto')", name="hardware_known"),
        sa.CheckConstraint('(revoked_at IS NULL) = (revoked_by IS NULL)', name="revocation_whole"),
        sa.CheckConstraint('collected_fen >= 0 AND collected_fen <= cap_fen', name="within_cap"),
        sa.CheckConstraint('collected_count >= 0 AND collected_count <= max_collections', name="within_count"),
        sa.UniqueConstraint("jti", "case_id", "bank_id"),
        sa.UniqueConstraint("request_id"),
    )
    op.create_index("ix_authorisations_bank_id_expires_at", "authorisations", ["bank_id", "expires_at"])
    op.create_index("ix_authorisations_case_id", "authorisations", ["case_id"])
    op.create_table(
        "transfers",
        sa.Column("id", ddl.uuid(), primary_key=True),
        sa.Column("debit_id", ddl.uuid(), sa.ForeignKey("accounts.id"), nullable=False),
        sa.Column("credit_id", ddl.uuid(), sa.ForeignKey("accounts.id"), nullable=False),
        sa.Column("amount_fen", ddl.money(), nullable=False),
        sa.Column("kind", ddl.choice(), nullable=False),
        sa.Column("bank_id", ddl.uuid(), sa.ForeignKey("banks.id"), nullable=False),
        sa.Column("case_id", ddl.uuid(), sa.ForeignKey("cases.id"), nullable=True),
        sa.Column("collection_id", ddl.uuid(), nullable=True),
        sa.Column("at", ddl.instant(), nullable=False),
        sa.Column("made_by", ddl.uuid(), sa.ForeignKey("staff.id"), nullable=False),
        sa.Column("approved_by", ddl.uuid(), sa.ForeignKey("staff.id"), nullable=True),
        sa.Column("reverses_id", ddl.uuid(), sa.ForeignKey("transfers.id"), nullable=True),
        sa.Column("reason", sa.String(400), nullable=True),
        sa.Column("log_entry_id", ddl.uuid(), sa.ForeignKey("log_entries.id"), nullable=False),
        sa.CheckConstraint('amount_fen > 0', name="amount_positive"),
        sa.CheckConstraint("kind <> 'collection' OR (collection_id IS NOT NULL AND case_id IS NOT NULL)", name="collection_named"),
        sa.CheckConstraint("kind IN ('collection', 'confirmation', 'deposit', 'handover', 'recovery', 'reversal', 'shortfall')", name="kind_known"),
        sa.CheckConstraint("(kind = 'reversal') = (reverses_id IS NOT NULL AND reason IS NOT NULL AND approved_by IS NOT NULL)", name="reversal_whole"),
        sa.CheckConstraint('debit_id <> credit_id', name="two_accounts"),
        sa.CheckConstraint('approved_by <> made_by', name="two_people"),
        *_deferred("transfers", ["collection_id", "amount_fen"], ["collections.id", "collections.amount_fen"]),
        sa.UniqueConstraint("id", "amount_fen"),
        sa.UniqueConstraint("reverses_id"),
    )
    op.create_index("ix_transfers_bank_id_at", "transfers", ["bank_id", "at"])
    op.create_index("ix_transfers_collection_id", "transfers", ["collection_id"])
    op.create_table(
        "postings",
        sa.Column("account_id", ddl.uuid(), sa.ForeignKey("accounts.id"), primary_key=True),
        sa.Column("ordinal", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("transfer_id", ddl.uuid(), sa.ForeignKey("transfers.id"), nullable=False),
        sa.Column("amount_fen", ddl.money(), nullable=False),
        sa.Column("balance_fen", ddl.money(), nullable=False),
        sa.CheckConstraint('amount_fen <> 0', name="amount_moves"),
        sa.UniqueConstraint("transfer_id", "account_id"),
    )
    op.create_table(
        "collections",
        sa.Column("id", ddl.uuid(), primary_key=True),
        sa.Column("case_id", ddl.uuid(), sa.ForeignKey("cases.id"), nullable=False),
        sa.Column("visit_id", ddl.uuid(), sa.ForeignKey("visits.id"), nullable=True),
        sa.Column("bank_id", ddl.uuid(), sa.ForeignKey("banks.id"), nullable=False),
        sa.Column("branch_id", ddl.uuid(), sa.ForeignKey("branches.id"), nullable=False),
        sa.Column("authorisation_jti", ddl.key(64), nullable=True),
        sa.Column("exception_number", ddl.key(40), nullable=True),
        sa.Column("receipt_number", ddl.key(40), nullable=False),
        sa.Column("transfer_id", ddl.uuid(), nullable=False),
        sa.Column("amount_fen", ddl.money(), nullable=False),
        sa.Column("instrument", ddl.choice(), nullable=False),
        sa.Column("payer", ddl.choice(), nullable=False),
        sa.Column("manifest_id", ddl.uuid(), sa.ForeignKey("manifests.id"), nullable=False),
        sa.Column("device", ddl.key(43), sa.ForeignKey("devices.kid"), nullable=False),
        sa.Column("previous_digest", ddl.key(64), nullable=False),
        sa.Column("collector_id", ddl.uuid(), sa.ForeignKey("staff.id"), nullable=False),
        sa.Column("cosigner_id", ddl.uuid(), sa.ForeignKey("staff.id"), nullable=False),
        sa.Column("collected_at", ddl.instant(), nullable=False),
        sa.Column("recorded_at", ddl.instant(), nullable=False),
        sa.Column("deposit_due_at", ddl.instant(), nullable=False),
        sa.Column("standing", ddl.choice(), nullable=False),
        sa.Column("policy_version", ddl.key(64), nullable=False),
        sa.CheckConstraint('amount_fen > 0', name="amount_positive"),
        sa.CheckConstraint('authorisation_jti IS NOT NULL OR exception_number IS NOT NULL', name="authorised_or_exception"),
        sa.CheckConstraint("instrument IN ('cash', 'cash_cheque', 'other_property', 'personal_transfer')", name="instrument_known"),
        sa.CheckConstraint("payer IN ('debtor', 'named_person', 'other')", name="payer_known"),
        sa.CheckConstraint("standing IN ('accepted', 'breach', 'doubtful', 'quarantined')", name="standing_known"),
        sa.CheckConstraint('collector_id <> cosigner_id', name="two_people"),
        sa.ForeignKeyConstraint(["authorisation_jti", "case_id", "bank_id"], ["authorisations.jti", "authorisations.case_id", "authorisations.bank_id"]),
        *_deferred("collections", ["receipt_number", "id", "amount_fen"], ["receipts.number", "receipts.collection_id", "receipts.amount_fen"]),
        *_deferred("collections", ["transfer_id", "amount_fen"], ["transfers.id", "transfers.amount_fen"]),
        sa.UniqueConstraint("exception_number"),
        sa.UniqueConstraint("id", "amount_fen"),
        sa.UniqueConstraint("manifest_id"),
        sa.UniqueConstraint("receipt_number"),
        sa.UniqueConstraint("transfer_id"),
    )
    op.create_index("ix_collections_bank_id_id", "collections", ["bank_id", "id"])
    op.create_index("ix_collections_case_id", "collections", ["case_id"])
    op.create_index("ix_collections_collector_id_collected_at", "collections", ["collector_id", "collected_at"])
    op.create_index("ix_collections_cosigner_id", "collections", ["cosigner_id"])
    op.create_index("ix_collections_device_previous_digest", "collections", ["device", "previous_digest"])
    op.create_index("ix_collections_visit_id", "collections", ["visit_id"])
    op.create_table(
        "receipts",
        sa.Column("number", ddl.key(40), primary_key=True),
        sa.Column("leased_number", ddl.key(40), sa.ForeignKey("receipt_numbers.number"), nullable=True),
        sa.Column("stated_number", ddl.key(64), nullable=False),
        sa.Column("collection_id", ddl.uuid(), nullable=False),
        sa.Column("amount_fen", ddl.money(), nullable=False),
        sa.Column("capitals", sa.String(120), nullable=False),
        sa.Column("digest", ddl.key(64), nullable=False),
        sa.Column("log_entry_id", ddl.uuid(), sa.ForeignKey("log_entries.id"), nullable=False),
        sa.CheckConstraint('amount_fen > 0', name="amount_positive"),
        sa.CheckConstraint('leased_number IS NULL OR leased_number = number', name="number_is_leased"),
        *_deferred("receipts", ["collection_id", "amount_fen"], ["collections.id", "collections.amount_fen"]),
        sa.UniqueConstraint("collection_id"),
        sa.UniqueConstraint("leased_number"),
        sa.UniqueConstraint("number", "collection_id", "amount_fen"),
    )
    op.create_table(
        "cash_exceptions",
        sa.Column("number", ddl.key(40), primary_key=True),
        sa.Column("collection_id", ddl.uuid(), sa.ForeignKey("collections.id"), nullable=False),
        sa.Column("bank_id", ddl.uuid(), sa.ForeignKey("banks.id"), nullable=False),
        sa.Column("branch_id", ddl.uuid(), sa.ForeignKey("branches.id"), nullable=False),
        sa.Column("collector_id", ddl.uuid(), sa.ForeignKey("staff.id"), nullable=False),
        sa.Column("cosigner_id", ddl.uuid(), sa.ForeignKey("staff.id"), nullable=False),
        sa.Column("opened_at", ddl.instant(), nullable=False),
        sa.Column("agency_resolved_at", ddl.instant(), nullable=True),
        sa.Column("agency_resolved_by", ddl.uuid(), sa.ForeignKey("staff.id"), nullable=True),
        sa.Column("bank_resolved_at", ddl.instant(), nullable=True),
        sa.Column("bank_resolved_by", ddl.uuid(), sa.ForeignKey("staff.id"), nullable=True),
        sa.CheckConstraint('(agency_resolved_at IS NULL) = (agency_resolved_by IS NULL)', name="agency_whole"),
        sa.CheckConstraint('(bank_resolved_at IS NULL) = (bank_resolved_by IS NULL)', name="bank_whole"),
        sa.UniqueConstraint("collection_id"),
    )
    op.create_index("ix_cash_exceptions_bank_id_number", "cash_exceptions", ["bank_id", "number"])
    op.create_index("ix_cash_exceptions_collector_id", "cash_exceptions", ["collector_id"])
    op.create_index("ix_cash_exceptions_cosigner_id", "cash_exceptions", ["cosigner_id"])
    op.create_table(
        "handovers",
        sa.Column("id", ddl.uuid(), primary_key=True),
        sa.Column("bank_id", ddl.uuid(), sa.ForeignKey("banks.id"), nullable=False),
        sa.Column("giver_id", ddl.uuid(), sa.ForeignKey("staff.id"), nullable=False),
        sa.Column("taker_id", ddl.uuid(), sa.ForeignKey("staff.id"), nullable=False),
        sa.Column("amount_fen", ddl.money(), nullable=False),
        sa.Column("handed_at", ddl.instant(), nullable=False),
        sa.Column("giver_token", sa.Text(), nullable=False),
        sa.Column("taker_token", sa.Text(), nullable=True),
        sa.Column("taken_at", ddl.instant(), nullable=True),
        sa.Column("status", ddl.choice(), nullable=False),
        sa.Column("recorded_at", ddl.instant(), nullable=False),
        sa.Column("transfer_id", ddl.uuid(), sa.ForeignKey("transfers.id"), nullable=True),
        sa.CheckConstraint('amount_fen > 0', name="amount_positive"),
        sa.CheckConstraint("(status = 'posted') = (transfer_id IS NOT NULL)", name="posted_has_transfer"),
        sa.CheckConstraint("status IN ('declined', 'held', 'offered', 'posted')", name="status_known"),
        sa.CheckConstraint('giver_id <> taker_id', name="two_people"),
        sa.UniqueConstraint("transfer_id"),
    )
    op.create_index("ix_handovers_giver_id_status", "handovers", ["giver_id", "status"])
    op.create_index("ix_handovers_taker_id_status", "handovers", ["taker_id", "status"])
    op.create_table(
        "deposits",
        sa.Column("id", ddl.uuid(), primary_key=True),
        sa.Column("digest", ddl.key(64), nullable=False),
        sa.Column("bank_id", ddl.uuid(), sa.ForeignKey("banks.id"), nullable=False),
        sa.Column("branch_id", ddl.uuid(), sa.ForeignKey("branches.id"), nullable=True),
        sa.Column("account_digest", ddl.key(64), nullable=False),
        sa.Column("bank_hours_id", ddl.uuid(), sa.ForeignKey("bank_hours.id"), nullable=True),
        sa.Column("channel", ddl.choice(), nullable=False),
        sa.Column("slip_reference", ddl.key(64), nullable=False),
        sa.Column("slip_sha256", ddl.key(64), nullable=True),
        sa.Column("amount_fen", ddl.money(), nullable=False),
        sa.Column("content", ddl.canonical_json(), nullable=False),
        sa.Column("depositor_id", ddl.uuid(), sa.ForeignKey("staff.id"), nullable=False),
        sa.Column("deposited_at", ddl.instant(), nullable=False),
        sa.Column("recorded_at", ddl.instant(), nullable=False),
        sa.Column("status", ddl.choice(), nullable=False),
        sa.Column("standing", ddl.choice(), nullable=False),
        sa.Column("transfer_id", ddl.uuid(), sa.ForeignKey("transfers.id"), nullable=True),
        sa.Column("policy_version", ddl.key(64), nullable=False),
        sa.CheckConstraint('amount_fen >= 0', name="amount_not_negative"),
        sa.CheckConstraint("channel IN ('counter', 'machine', 'sealed_bag')", name="channel_known"),
        sa.CheckConstraint("standing IN ('accepted', 'breach', 'doubtful', 'quarantined')", name="standing_known"),
        sa.CheckConstraint("status IN ('confirmed', 'held', 'posted', 'reversed', 'unbooked')", name="status_known"),
    )
    op.create_index("ix_deposits_bank_id_account_digest_slip_reference", "deposits", ["bank_id", "account_digest", "slip_reference"])
    op.create_index("ix_deposits_bank_id_status_id", "deposits", ["bank_id", "status", "id"])
    op.create_index("ix_deposits_depositor_id_status", "deposits", ["depositor_id", "status"])
    op.create_table(
        "deposit_lines",
        sa.Column("deposit_id", ddl.uuid(), sa.ForeignKey("deposits.id"), primary_key=True),
        sa.Column("collection_id", ddl.uuid(), primary_key=True),
        sa.Column("amount_fen", ddl.money(), nullable=False),
        sa.Column("reversed_at", ddl.instant(), nullable=True),
        sa.ForeignKeyConstraint(["collection_id", "amount_fen"], ["collections.id", "collections.amount_fen"]),
    )
    op.create_index("uq_deposit_lines_live_collection_id", "deposit_lines", ["collection_id"], unique=True, postgresql_where=sa.text("reversed_at IS NULL"), sqlite_where=sa.text("reversed_at IS NULL"))
    op.create_table(
        "statements",
        sa.Column("id", ddl.uuid(), primary_key=True),
        sa.Column("bank_id", ddl.uuid(), sa.ForeignKey("banks.id"), nullable=False),
        sa.Column("file_sha256", ddl.key(64), nullable=False),
        sa.Column("imported_by", ddl.uuid(), sa.ForeignKey("staff.id"), nullable=False),
        sa.Column("imported_at", ddl.instant(), nullable=False),
        sa.Column("line_count", sa.Integer(), nullable=False),
        sa.Column("total_fen", ddl.money(), nullable=False),
        sa.UniqueConstraint("bank_id", "file_sha256"),
    )
    op.create_table(
        "statement_lines",
        sa.Column("id", ddl.uuid(), primary_key=True),
        sa.Column("statement_id", ddl.uuid(), sa.ForeignKey("statements.id"), nullable=False),
        sa.Column("bank_id", ddl.uuid(), sa.ForeignKey("banks.id"), nullable=False),
        sa.Column("line_key", ddl.key(64), nullable=False),
        sa.Column("account_digest", ddl.key(64), nullable=False),
        sa.Column("booked_on", sa.Date(), nullable=False),
        sa.Column("reference", ddl.key(64), nullable=False),
        sa.Column("amount_fen", ddl.money(), nullable=False),
        sa.Column("deposit_id", ddl.uuid(), sa.ForeignKey("deposits.id"), nullable=True),
        sa.Column("transfer_id", ddl.uuid(), sa.ForeignKey("transfers.id"), nullable=True),
        sa.CheckConstraint('amount_fen > 0', name="amount_positive"),
        sa.UniqueConstraint("bank_id", "line_key"),
        sa.UniqueConstraint("deposit_id"),
    )
    op.create_index("ix_statement_lines_bank_id_account_digest_reference", "statement_lines", ["bank_id", "account_digest", "reference"])
    op.create_table(
        "variances",
        sa.Column("id", ddl.uuid(), primary_key=True),
        sa.Column("bank_id", ddl.uuid(), sa.ForeignKey("banks.id"), nullable=False),
        sa.Column("kind", ddl.choice(), nullable=False),
        sa.Column("amount_fen", ddl.money(), nullable=False),
        sa.Column("owner_id", ddl.uuid(), sa.ForeignKey("staff.id"), nullable=False),
        sa.Column("deposit_id", ddl.uuid(), sa.ForeignKey("deposits.id"), nullable=True),
        sa.Column("statement_line_id", ddl.uuid(), sa.ForeignKey("statement_lines.id"), nullable=True),
        sa.Column("transfer_id", ddl.uuid(), sa.ForeignKey("transfers.id"), nullable=True),
        sa.Column("certificate", ddl.key(64), nullable=True),
        sa.Column("opened_at", ddl.instant(), nullable=False),
        sa.Column("resolved_at", ddl.instant(), nullable=True),
        sa.Column("resolved_by", ddl.uuid(), sa.ForeignKey("staff.id"), nullable=True),
        sa.Column("resolution", ddl.key(48), nullable=True),
        sa.CheckConstraint('amount_fen > 0', name="amount_positive"),
        sa.CheckConstraint("kind IN ('counterfeit', 'missing_credit', 'net_deposit', 'short_count', 'short_credit', 'surplus_credit', 'unknown_credit')", name="kind_known"),
        sa.CheckConstraint('(resolved_at IS NULL) = (resolved_by IS NULL) AND (resolved_at IS NULL) = (resolution IS NULL)', name="resolution_whole"),
        sa.CheckConstraint('resolved_by <> owner_id', name="two_people"),
    )
    op.create_index("ix_variances_bank_id_id", "variances", ["bank_id", "id"])
    op.create_index("ix_variances_deposit_id", "variances", ["deposit_id"])
    op.create_index("ix_variances_owner_id", "variances", ["owner_id"])
    op.create_table(
        "reconciliations",
        sa.Column("id", ddl.uuid(), primary_key=True),
        sa.Column("bank_id", ddl.uuid(), sa.ForeignKey("banks.id"), nullable=False),
        sa.Column("closed_at", ddl.instant(), nullable=False),
        sa.Column("closed_by", ddl.uuid(), sa.ForeignKey("staff.id"), nullable=False),
        sa.Column("receipt_count", sa.Integer(), nullable=False),
        sa.Column("receipted_fen", ddl.money(), nullable=False),
        sa.Column("custody_fen", ddl.money(), nullable=False),
        sa.Column("in_transit_fen", ddl.money(), nullable=False),
        sa.Column("designated_fen", ddl.money(), nullable=False),
        sa.Column("suspense_fen", ddl.money(), nullable=False),
        sa.Column("open_variance_count", sa.Integer(), nullable=False),
        sa.CheckConstraint('receipted_fen = custody_fen + in_transit_fen + designated_fen + suspense_fen', name="books_equal"),
    )
    op.create_index("ix_reconciliations_bank_id_id", "reconciliations", ["bank_id", "id"])
    op.create_table(
        "corrections",
        sa.Column("id", ddl.uuid(), primary_key=True),
        sa.Column("transfer_id", ddl.uuid(), sa.ForeignKey("transfers.id"), nullable=False),
        sa.Column("bank_id", ddl.uuid(), sa.ForeignKey("banks.id"), nullable=False),
        sa.Column("reason", sa.String(400), nullable=False),
        sa.Column("proposed_by", ddl.uuid(), sa.ForeignKey("staff.id"), nullable=False),
        sa.Column("proposed_at", ddl.instant(), nullable=False),
        sa.Column("is_approved", sa.Boolean(), nullable=True),
        sa.Column("decided_by", ddl.uuid(), sa.ForeignKey("staff.id"), nullable=True),
        sa.Column("decided_at", ddl.instant(), nullable=True),
        sa.Column("reversal_id", ddl.uuid(), sa.ForeignKey("transfers.id"), nullable=True),
        sa.CheckConstraint('(decided_at IS NULL) = (decided_by IS NULL)', name="decision_whole"),
        sa.CheckConstraint('decided_by <> proposed_by', name="two_people"),
        sa.UniqueConstraint("reversal_id"),
    )
    op.create_index("ix_corrections_bank_id_id", "corrections", ["bank_id", "id"])
    op.create_index("ix_corrections_transfer_id", "corrections", ["transfer_id"])
