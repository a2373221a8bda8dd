"""Direct SQL against the invariants: refused by the database itself, on both engines, even to the owner of the tables."""

from collections.abc import Iterator

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import DBAPIError, IntegrityError

from backend.cash import custody, reconciliation
from backend.core.ids import new_id
from backend.db.base import Base
from backend.db.engine import session_factory
from tests.support.cash import door
from tests.support.engines import AnyEngine, Database
from tests.support.world import shared_keyring, world

APPEND_ONLY = ("transfers", "postings", "collections", "receipts", "statements", "reconciliations", "bank_files", "bank_file_rejections",
               "variance_steps", "branch_closes", "branch_close_lines")

KEPT = ("accounts", "authorisation_requests", "authorisations", "bank_files", "branch_closes", "cash_exceptions", "cash_hints", "collections",
        "corrections", "deposit_lines", "deposits", "direct_payments", "handovers", "postings", "promises", "proposals", "receipt_book_counts",
        "receipt_book_takings", "receipt_books", "receipt_numbers", "receipts", "reconciliations", "statement_lines", "statements", "transfers",
        "variances", "variance_steps")
UNUSED = ("branch_closes", "cash_hints", "corrections", "direct_payments", "promises", "proposals", "receipt_book_counts", "receipt_book_takings",
          "reconciliations", "variance_steps")

CHANGED = {"postings": "amount_fen", "receipts": "amount_fen", "bank_file_rejections": "code", "branch_close_lines": "ordinal_to"}


@pytest.fixture(scope="module")
def target(database: AnyEngine) -> Iterator[Database]:
    """A database with three receipts, one paid in whole and one net, one of them confirmed, and hand-overs in every state. No test changes it."""
    with database.clone() as clone:
        engine, keyring = clone.engine(), shared_keyring()
        with session_factory(engine).begin() as session:
            at = door(session, keyring, world(session, keyring))
            numbers, jti = at.lease(5), at.authorise(cap_fen=1_000)
            at.take(numbers[0], 600, jti)
            at.take(numbers[1], 100, None)
            at.take(numbers[2], 200, jti)
            at.void_statement(numbers[4])
            at.request()
            bilal, dong = at.made.bilal, at.made.dong
            custody.deposit(session, bilal.actor, at.deposit(600, numbers[0]), at.policy, at.now)
            custody.report_deposit(session, bilal.actor, at.deposit(150, numbers[2], slip_reference="NET"), at.policy, at.now)
            custody.report_deposit(session, bilal.actor, at.deposit(70, "NOT-HERE-YET", slip_reference="WAITS"), at.policy, at.now)
            custody.report_deposit(session, bilal.actor, at.deposit(100, numbers[1], account_digest="e" * 64), at.policy, at.now)
            custody.hand_over(session, bilal.on_phone, at.handover(bilal, dong, 50), at.now)
            custody.hand_over(session, bilal.on_phone, at.handover(bilal, dong, 999), at.now)
            custody.hand_over(session, bilal.on_phone, at.handover(bilal, dong, 10, signs=False), at.now)
            lines = at.statement_file(("NET", "1.50"), ("NOBODYS", "1.50"))
            reconciliation.import_statement(session, at.made.kai.actor, lines, at.policy, at.now)
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
    with pytest.raises(IntegrityError) as caught:
        committed(engine, statement)
    said = str(caught.value.orig)
    assert "NOT NULL" not in said, "the statement itself forgets a column"
    assert "not-null" not in said, "the statement itself forgets a column"


def uid(engine: Engine) -> str:
    """Return a new id as the engine's literal."""
    value = new_id()
    return f"'{value}'" if engine.dialect.name == "postgresql" else f"'{value.hex}'"


@pytest.mark.parametrize("table", ["transfers", "postings", "collections", "receipts"])
def test_what_is_booked_is_never_changed_or_removed(owner: Engine, table: str) -> None:
    column = "amount_fen"
    refused(owner, f"UPDATE {table} SET {column} = {column} + 1")
    refused(owner, f"UPDATE {table} SET {column} = {column}")
    refused(owner, f"DELETE FROM {table}")
    if owner.dialect.name == "postgresql":
        refused(owner, f"TRUNCATE {table} CASCADE")  # Also where a key points at the table.


@pytest.mark.parametrize("table", KEPT)
def test_no_table_of_money_is_emptied(owner: Engine, table: str) -> None:
    with owner.connect() as connection:
        assert connection.execute(text(f"SELECT count(*) FROM {table}")).scalar_one() or table in UNUSED
    if table not in UNUSED:
        refused(owner, f"DELETE FROM {table}")
    if owner.dialect.name == "postgresql":
        refused(owner, f"TRUNCATE {table} CASCADE")


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
        "collected_at, recorded_at, deposit_due_at, standing, policy_version FROM collections WHERE authorisation_jti IS NOT NULL LIMIT 1"
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
    refused(owner, "UPDATE receipt_numbers SET code = 'X'")
    refused(owner, "DELETE FROM receipt_numbers")


def test_CASH_09_one_collection_is_in_one_deposit_and_whole(owner: Engine) -> None:
    refused(owner, "UPDATE deposit_lines SET amount_fen = amount_fen - 1")
    refused(owner, "DELETE FROM deposit_lines")
    refused(owner, "UPDATE deposits SET amount_fen = amount_fen - 1")
    refused(owner, "INSERT INTO deposit_lines (deposit_id, collection_id, amount_fen) "
                   "SELECT (SELECT id FROM deposits WHERE status = 'held'), id, amount_fen - 1 FROM collections WHERE authorisation_jti IS NULL")


RESOLVED_BY_BANK = "bank_resolved_at = opened_at, bank_resolved_by = (SELECT decided_by FROM authorisation_requests WHERE status = 'granted')"
RESOLVED_BY_AGENCY = "agency_resolved_at = opened_at, agency_resolved_by = (SELECT imported_by FROM statements)"


@pytest.mark.parametrize(("table", "stands", "change"), [
    ("authorisations", "revoked_at = granted_at, revoked_by = granted_by", "revoked_at = NULL, revoked_by = NULL"),
    ("cash_exceptions", RESOLVED_BY_AGENCY, "agency_resolved_by = (SELECT signed_out_by FROM receipt_books), agency_resolved_at = NULL"),
    ("cash_exceptions", RESOLVED_BY_BANK, "bank_resolved_at = NULL, bank_resolved_by = NULL"),
])
def test_CASH_01_what_happens_once_is_not_taken_back(owner: Engine, table: str, stands: str, change: str) -> None:
    with owner.connect() as connection:  # Never committed.
        for _ in range(2):
            connection.execute(text(f"UPDATE {table} SET {stands}"))
        with pytest.raises(IntegrityError, match="it happens once"):
            connection.execute(text(f"UPDATE {table} SET {change}"))


@pytest.mark.parametrize("change", [
    "agency_resolved_at = opened_at, agency_resolved_by = collector_id", "agency_resolved_at = opened_at, agency_resolved_by = cosigner_id",
    RESOLVED_BY_BANK.replace("bank_resolved", "agency_resolved"), RESOLVED_BY_AGENCY.replace("agency_resolved", "bank_resolved"),
])
def test_CASH_01_an_exception_is_resolved_by_agency_and_bank_each_for_itself(owner: Engine, change: str) -> None:
    refused(owner, f"UPDATE cash_exceptions SET {change}")


# By what it tries: the statement and what the database says to it. Every one hits at least one row.
STATES = {
    "a request granted without anybody": "UPDATE authorisation_requests SET status = 'granted' WHERE status = 'requested'",
    "a request granted by the agency": "UPDATE authorisation_requests SET status = 'granted', decided_by = requested_by, decided_at = requested_at "
                                       "WHERE status = 'requested'",
    "a request granted too late": "UPDATE authorisation_requests SET status = 'granted', decided_at = expires_at, decided_by = "
                                  "(SELECT granted_by FROM authorisations) WHERE status = 'requested'",
    "a request seconded by nobody": "UPDATE authorisation_requests SET status = 'seconded' WHERE status = 'requested'",
    "a granted request asked again": "UPDATE authorisation_requests SET status = 'requested', decided_by = NULL, decided_at = NULL "
                                     "WHERE status = 'granted'",
    "another reason on an ended request": "UPDATE authorisation_requests SET refusal_reason = 'x' WHERE status = 'granted'",
    "another amount asked for": "UPDATE authorisation_requests SET cap_requested_fen = 1",
    "a longer time to answer": "UPDATE authorisation_requests SET expires_at = requested_at",
    "a number unused again": "UPDATE receipt_numbers SET status = 'leased', settled_at = NULL WHERE status = 'issued'",
    "a number returned that was issued": "UPDATE receipt_numbers SET status = 'returned' WHERE status = 'issued'",
    "a number settled at another time": "UPDATE receipt_numbers SET settled_at = leased_at WHERE status = 'issued'",
    "a book of somebody else": "UPDATE receipt_books SET held_by = signed_out_by",
    "a hand-over posted without money": "UPDATE handovers SET status = 'posted' WHERE status = 'held'",
    "a hand-over by another transfer": "UPDATE handovers SET status = 'posted', transfer_id = "
                                       "(SELECT id FROM transfers WHERE kind = 'deposit' LIMIT 1) WHERE status = 'held'",
    "a hand-over taken by nobody": "UPDATE handovers SET status = 'held' WHERE status = 'offered'",
    "a hand-over declined after it was taken": "UPDATE handovers SET status = 'declined', taken_at = NULL WHERE status = 'held'",
    "a posted hand-over offered again": "UPDATE handovers SET status = 'offered', transfer_id = NULL, taken_at = NULL WHERE status = 'posted'",
    "another signature under a hand-over": "UPDATE handovers SET taker_token = giver_token WHERE status = 'held'",
    "a hand-over's amount": "UPDATE handovers SET amount_fen = 1 WHERE status = 'offered'",
    "a hand-over's taker": "UPDATE handovers SET taker_id = (SELECT imported_by FROM statements)",
    "a slip posted without money": "UPDATE deposits SET status = 'posted' WHERE status = 'held'",
    "a slip posted by another's money": "UPDATE deposits SET status = 'posted', transfer_id = (SELECT id FROM transfers WHERE kind = 'handover') "
                                        "WHERE status = 'held'",
    "a slip confirmed by nobody": "UPDATE deposits SET status = 'confirmed' WHERE status = 'posted'",
    "a slip reversed by nobody": "UPDATE deposits SET status = 'reversed' WHERE status = 'posted'",
    "a confirmed slip waiting again": "UPDATE deposits SET status = 'posted' WHERE status = 'confirmed'",
    "a slip booked that was set aside": "UPDATE deposits SET status = 'held' WHERE status = 'unbooked'",
    "a breach made good by hand": "UPDATE deposits SET standing = 'accepted' WHERE status = 'unbooked'",
    "a standing made better by hand": "UPDATE deposits SET standing = 'doubtful' WHERE status = 'held'",
    "a slip's amount": "UPDATE deposits SET amount_fen = amount_fen + 1",
    "a slip's account": "UPDATE deposits SET account_digest = 'f' WHERE status = 'posted'",
    "a slip's money": "UPDATE deposits SET transfer_id = NULL WHERE status = 'posted'",
    "a receipt freed under its deposit": "UPDATE deposit_lines SET reversed_at = (SELECT min(recorded_at) FROM deposits)",
    "a receipt slipped into a deposit": "INSERT INTO deposit_lines (deposit_id, collection_id, amount_fen) SELECT (SELECT id FROM deposits "
                                        "WHERE status = 'posted'), id, amount_fen FROM collections WHERE authorisation_jti IS NULL",
    "a credit matched without money": "UPDATE statement_lines SET deposit_id = (SELECT id FROM deposits WHERE status = 'posted') "
                                      "WHERE deposit_id IS NULL",
    "a credit matched to another slip": "UPDATE statement_lines SET deposit_id = (SELECT id FROM deposits WHERE status = 'posted'), transfer_id = "
                                        "(SELECT id FROM transfers WHERE kind = 'confirmation') WHERE deposit_id IS NULL",
    "a credit unmatched": "UPDATE statement_lines SET deposit_id = NULL, transfer_id = NULL WHERE deposit_id IS NOT NULL",
    "a variance resolved by nobody": "UPDATE variances SET status = 'resolved'",
    "a variance resolved by its owner": "UPDATE variances SET status = 'resolved', resolution = 'x', resolved_at = opened_at, resolved_by = owner_id",
    "a variance's amount": "UPDATE variances SET amount_fen = 1",
    "a variance's owner": "UPDATE variances SET owner_id = (SELECT granted_by FROM authorisations)",
    "a variance's deposit": "UPDATE variances SET deposit_id = NULL WHERE deposit_id IS NOT NULL",
}


@pytest.mark.parametrize("what", STATES)
def test_CASH_08_no_state_of_money_is_set_by_hand(owner: Engine, what: str) -> None:
    refused(owner, STATES[what])


def test_CASH_08_a_resolved_variance_stays_resolved(owner: Engine) -> None:
    resolve = "status = 'resolved', resolution = 'x', resolved_at = opened_at, resolved_by = (SELECT granted_by FROM authorisations)"
    for change in ("status = 'open', resolved_at = NULL, resolved_by = NULL, resolution = NULL", "resolution = 'y'"):
        with owner.connect() as connection:  # Never committed.
            connection.execute(text(f"UPDATE variances SET {resolve}"))
            with pytest.raises(IntegrityError, match=r"come to its end|does not follow"):
                connection.execute(text(f"UPDATE variances SET {change}"))


def copied(table: str, engine: Engine, changes: dict[str, str]) -> str:
    """Return an INSERT of a copy of one row with some columns changed."""
    names = [column.name for column in Base.metadata.tables[table].columns]
    values = {name: name for name in names} | {"id": uid(engine)} | changes
    return f"INSERT INTO {table} ({', '.join(names)}) SELECT {', '.join(values[name] for name in names)} FROM {table}"


@pytest.mark.parametrize(("table", "row", "changes"), [
    ("authorisation_requests", "status = 'granted'", {}),
    ("receipt_numbers", "status = 'issued'", {"number": "'Z-1'", "ordinal": "4"}),
    ("handovers", "status = 'held'", {}),
    ("deposits", "status = 'posted'", {}),
    ("deposits", "status = 'unbooked'", {}),
    ("variances", "kind = 'net_deposit'", {"status": "'explained'"}),
    ("statement_lines", "deposit_id IS NOT NULL", {"line_key": "'z'"}),
])
def test_CASH_08_nothing_of_money_begins_in_the_middle(owner: Engine, table: str, row: str, changes: dict[str, str]) -> None:
    refused(owner, f"{copied(table, owner, changes)} WHERE {row}")
