"""Direct SQL against the invariants: refused by the database itself, on both engines, even to the owner of the tables."""

from collections.abc import Iterator

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import DBAPIError, IntegrityError

from backend.cash import custody
from backend.core.ids import new_id
from backend.db.engine import session_factory
from tests.support.cash import door
from tests.support.engines import AnyEngine, Database
from tests.support.world import shared_keyring, world

APPEND_ONLY = ("transfers", "postings", "collections", "receipts", "statements", "reconciliations", "bank_files", "bank_file_rejections",
               "variance_steps", "branch_closes", "branch_close_lines")

CHANGED = {"postings": "amount_fen", "receipts": "amount_fen", "bank_file_rejections": "code", "branch_close_lines": "ordinal_to"}


@pytest.fixture(scope="module")
def target(database: AnyEngine) -> Iterator[Database]:
    """A database with two receipts, one of them paid in, and a statement that stands for nothing yet. No test changes it."""
    with database.clone() as clone:
        engine, keyring = clone.engine(), shared_keyring()
        with session_factory(engine).begin() as session:
            at = door(session, keyring, world(session, keyring))
            numbers, jti = at.lease(3), at.authorise(cap_fen=1_000)
            at.take(numbers[0], 600, jti)
            at.take(numbers[1], 100, None)
            at.void_statement(numbers[2])
            custody.deposit(session, at.made.bilal.actor, at.deposit(600, numbers[0]), at.policy, at.now)
        engine.dispose()
        yield clone


@pytest.fixture
def owner(target: Database) -> Iterator[Engine]:
    """The database, spoken to as the owner of its tables."""
    engine = target.owner_engine()
    yield engine
    engine.dispose()


def committed(engine: Engine, statement: str) -> None:
    """Run one statement in a transaction of its own."""
    with engine.begin() as connection:
        connection.execute(text(statement))


def refused(engine: Engine, statement: str) -> None:
    """Run a statement that a constraint or trigger must stop, at once or at the commit; a mistake in it is no refusal."""
    with pytest.raises(IntegrityError):
        committed(engine, statement)


def uid(engine: Engine) -> str:
    """Return a new id as the engine's literal."""
    value = new_id()
    return f"'{value}'" if engine.dialect.name == "postgresql" else f"'{value.hex}'"


@pytest.mark.parametrize("table", APPEND_ONLY[:4])
def test_what_is_booked_is_never_changed_or_removed(owner: Engine, table: str) -> None:
    column = {"transfers": "amount_fen", "postings": "amount_fen", "collections": "amount_fen", "receipts": "amount_fen"}[table]
    refused(owner, f"UPDATE {table} SET {column} = {column} + 1")
    refused(owner, f"UPDATE {table} SET {column} = {column}")
    refused(owner, f"DELETE FROM {table}")
    if owner.dialect.name == "postgresql":
        refused(owner, f"TRUNCATE {table} CASCADE")  # Also where a key points at the table.


def test_the_application_role_has_no_right_to_change_the_books(target: Database, owner: Engine) -> None:
    if owner.dialect.name != "postgresql":
        pytest.skip("SQLite has no roles")
    engine = target.engine()
    for table in APPEND_ONLY:
        for statement in (f"UPDATE {table} SET {CHANGED.get(table, 'id')} = {CHANGED.get(table, 'id')}",
                          f"DELETE FROM {table}", f"TRUNCATE {table}"):
            with pytest.raises(DBAPIError, match="permission denied"), engine.begin() as connection:
                connection.execute(text(statement))
    engine.dispose()


def test_a_balance_moves_with_a_transfer_only(owner: Engine) -> None:
    refused(owner, "UPDATE accounts SET balance_fen = balance_fen + 1 WHERE kind = 'custody'")
    refused(owner, "UPDATE accounts SET balance_fen = balance_fen - 100, posting_count = posting_count + 1 WHERE kind = 'custody'")
    refused(owner, "UPDATE accounts SET posting_count = posting_count + 1")
    refused(owner, "UPDATE accounts SET kind = 'suspense' WHERE kind = 'custody'")
    refused(owner, "DELETE FROM accounts")


def test_an_account_begins_empty_and_is_of_a_known_kind(owner: Engine) -> None:
    for kind, amount, currency in (("custody", 5, "CNY"), ("fee", 0, "CNY"), ("set_off", 0, "CNY"), ("custody", 0, "USD")):
        refused(owner, f"INSERT INTO accounts (id, kind, owner, bank_id, currency, balance_fen, posting_count) "
                       f"SELECT {uid(owner)}, '{kind}', 'x', bank_id, '{currency}', {amount}, 0 FROM accounts LIMIT 1")


def test_a_posting_without_its_transfer_is_refused(owner: Engine) -> None:
    refused(owner, "INSERT INTO postings (account_id, ordinal, transfer_id, amount_fen, balance_fen) "
                   "SELECT id, posting_count + 1, (SELECT id FROM transfers LIMIT 1), 5, balance_fen + 5 FROM accounts WHERE kind = 'custody'")
    refused(owner, "INSERT INTO postings (account_id, ordinal, transfer_id, amount_fen, balance_fen) "
                   "SELECT p.account_id, a.posting_count + 1, p.transfer_id, p.amount_fen, a.balance_fen + p.amount_fen "
                   "FROM postings p JOIN accounts a ON a.id = p.account_id WHERE a.kind = 'custody' LIMIT 1")


def transfer(engine: Engine, *, kind: str = "collection", debit: str = "custody", credit: str = "debtor", amount: int = 5, more: str = "NULL") -> str:
    """Return an INSERT of a transfer between accounts of two kinds."""
    account = "(SELECT id FROM accounts WHERE kind = '{}' LIMIT 1)"
    case = "(SELECT case_id FROM collections LIMIT 1)" if kind == "collection" else "NULL"
    return (
        "INSERT INTO transfers (id, debit_id, credit_id, amount_fen, kind, bank_id, case_id, collection_id, at, made_by, approved_by, reverses_id, "
        f"reason, log_entry_id) SELECT {uid(engine)}, {account.format(debit)}, {account.format(credit)}, {amount}, '{kind}', bank_id, {case}, "
        f"{more}, at, made_by, NULL, NULL, NULL, log_entry_id FROM transfers LIMIT 1"
    )


@pytest.mark.parametrize("change", [
    {"amount": -5}, {"amount": 0}, {"kind": "fee"}, {"kind": "deposit", "debit": "in_transit", "credit": "debtor"},
    {"kind": "handover", "debit": "debtor", "credit": "custody"}, {"kind": "deposit", "debit": "custody", "credit": "custody"},
    {"kind": "deposit", "debit": "in_transit", "credit": "custody", "amount": 101}, {"kind": "reversal", "debit": "debtor", "credit": "custody"},
    {"kind": "collection"}, {"kind": "collection", "more": "(SELECT id FROM collections LIMIT 1)"},
    {"kind": "collection", "more": "(SELECT id FROM collections WHERE amount_fen = 600)", "amount": 600},
], ids=str)
def test_CASH_09_no_transfer_but_the_permitted_ones(owner: Engine, change: dict[str, object]) -> None:
    refused(owner, transfer(owner, **change))  # type: ignore[arg-type]


def copy_of_collection(engine: Engine, collection: str, amount: int, number: str, jti: str = "authorisation_jti") -> str:
    """Return an INSERT of another collection like the authorised one."""
    return (
        "INSERT INTO collections (id, case_id, visit_id, bank_id, branch_id, authorisation_jti, exception_number, receipt_number, transfer_id, "
        "amount_fen, instrument, payer, manifest_id, device, previous_digest, collector_id, cosigner_id, collected_at, recorded_at, deposit_due_at, "
        f"standing, policy_version) SELECT {collection}, case_id, visit_id, bank_id, branch_id, {jti}, exception_number, '{number}', {uid(engine)}, "
        f"{amount}, instrument, payer, (SELECT id FROM manifests WHERE kind = 'void'), device, previous_digest, collector_id, cosigner_id, "
        "collected_at, recorded_at, deposit_due_at, standing, policy_version FROM collections WHERE authorisation_jti IS NOT NULL"
    )


def test_CASH_01_nothing_is_taken_above_the_cap(owner: Engine) -> None:
    with owner.begin() as connection, pytest.raises(IntegrityError, match="within_cap"):
        connection.execute(text("UPDATE authorisations SET collected_fen = cap_fen + 1"))
    refused(owner, "UPDATE authorisations SET collected_fen = 0")
    refused(owner, "UPDATE authorisations SET cap_fen = 10000000")
    refused(owner, "UPDATE authorisations SET expires_at = expires_at + expires_at" if owner.dialect.name == "sqlite"
            else "UPDATE authorisations SET expires_at = expires_at + interval '1 day'")
    refused(owner, "DELETE FROM authorisations")


def test_CASH_05_a_collection_without_receipt_cannot_be_committed(owner: Engine) -> None:
    refused(owner, copy_of_collection(owner, uid(owner), 1, "NO-RECEIPT"))


def test_CASH_05_a_second_receipt_under_one_number_is_refused(owner: Engine) -> None:
    columns = "number, leased_number, stated_number, collection_id, amount_fen, capitals, digest, log_entry_id"
    refused(owner, f"INSERT INTO receipts ({columns}) SELECT {columns} FROM receipts LIMIT 1")
    # A number that is not issued carries no receipt, and a receipt's amount is its collection's (CASH-07).
    refused(owner, f"INSERT INTO receipts ({columns}) SELECT n.number, n.number, n.number, r.collection_id, r.amount_fen, r.capitals, r.digest, "
                   "r.log_entry_id FROM receipt_numbers n CROSS JOIN receipts r WHERE n.status = 'leased' LIMIT 1")
    refused(owner, f"INSERT INTO receipts ({columns}) SELECT 'EX-1', NULL, stated_number, collection_id, amount_fen + 1, capitals, digest, "
                   "log_entry_id FROM receipts LIMIT 1")


def test_CASH_05_a_settled_number_stays_settled(owner: Engine) -> None:
    refused(owner, "UPDATE receipt_numbers SET status = 'leased', settled_at = NULL WHERE status = 'issued'")
    refused(owner, "UPDATE receipt_numbers SET status = 'returned' WHERE status = 'issued'")
    refused(owner, "UPDATE receipt_numbers SET code = 'X'")
    refused(owner, "DELETE FROM receipt_numbers")


def test_CASH_09_one_collection_is_in_one_deposit_and_whole(owner: Engine) -> None:
    refused(owner, "UPDATE deposit_lines SET amount_fen = amount_fen - 1")
    refused(owner, "DELETE FROM deposit_lines")
    refused(owner, "UPDATE deposits SET amount_fen = amount_fen - 1")
    refused(owner, "INSERT INTO deposit_lines (deposit_id, collection_id, amount_fen) "
                   "SELECT (SELECT id FROM deposits), id, amount_fen - 1 FROM collections WHERE authorisation_jti IS NULL")


@pytest.mark.parametrize(("table", "stands", "change"), [
    ("authorisations", "revoked_at = granted_at, revoked_by = granted_by", "revoked_at = NULL, revoked_by = NULL"),
    ("deposit_lines", "reversed_at = (SELECT recorded_at FROM deposits LIMIT 1)", "reversed_at = NULL"),
    ("cash_exceptions", "agency_resolved_at = opened_at, agency_resolved_by = collector_id", "agency_resolved_by = cosigner_id"),
    ("cash_exceptions", "bank_resolved_at = opened_at, bank_resolved_by = collector_id", "bank_resolved_at = NULL, bank_resolved_by = NULL"),
])
def test_CASH_01_what_happens_once_is_not_taken_back(owner: Engine, table: str, stands: str, change: str) -> None:
    with owner.connect() as connection:  # Never committed.
        for _ in range(2):
            connection.execute(text(f"UPDATE {table} SET {stands}"))
        with pytest.raises(IntegrityError, match="it happens once"):
            connection.execute(text(f"UPDATE {table} SET {change}"))


def test_a_variance_is_not_resolved_by_its_owner(owner: Engine) -> None:
    insert = (
        f"INSERT INTO variances (id, bank_id, kind, amount_fen, owner_id, opened_at, resolved_at, resolved_by, resolution) "
        f"SELECT {uid(owner)}, bank_id, 'short_count', 5, depositor_id, recorded_at, recorded_at, depositor_id, 'x' FROM deposits"
    )
    refused(owner, insert)
