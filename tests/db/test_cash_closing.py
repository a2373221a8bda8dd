"""The daily close of a branch, statements of accounts and months, and who sees how much of a bank's books."""

from datetime import timedelta
from typing import Any

import msgspec
import pytest
from sqlalchemy import event, insert, select, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from backend.audit import log
from backend.audit.tables import LogEntryRow
from backend.cash import closing, corrections, custody, statements, transfers
from backend.cash.movements import Transfer
from backend.cash.proof import prove_books, shown_to
from backend.cash.tables import AccountRow, BranchCloseRow, CollectionRow, ReceiptRow, TransferRow
from backend.core.fen import Fen
from backend.core.ids import AccountId, BankId, CaseId, CollectionId, StaffId, TransferId, new_id
from backend.core.problems import Conflict, Forbidden, InvalidInput, NotFound
from backend.keys.keyring import Keyring
from evidence.canonical import sha256_hex
from tests.support.cash import Door, door
from tests.support.world import world


@pytest.fixture
def at(session: Session, keyring: Keyring) -> Door:
    """A door with 600 fen and 400 fen taken by bilal."""
    made = door(session, keyring, world(session, keyring))
    numbers, jti = made.lease(), made.authorise()
    made.take(numbers[0], 600, jti)
    made.take(numbers[1], 400, jti)
    made.numbers = numbers  # type: ignore[attr-defined]
    return made


def close(at: Door, days: int = 0, person: str = "kai") -> closing.DayClose:
    """Close the day so many days from today, on that day."""
    when = at.now + timedelta(days=days)
    return closing.close_day(at.session, getattr(at.made, person).actor, at.made.sh1, at.made.today + timedelta(days=days), when)


def transfer_of(at: Door, number: str) -> TransferId:
    """Return the transfer behind a receipt."""
    return TransferId(at.session.scalars(select(CollectionRow.transfer_id).where(CollectionRow.receipt_number == number)).one())


@pytest.mark.parametrize(("person", "refusal"), [("amina", Forbidden), ("bilal", Forbidden), ("lin", Forbidden), ("wei", Forbidden)])
def test_only_a_cashier_of_the_branch_closes_its_day(at: Door, person: str, refusal: type[Exception]) -> None:
    with pytest.raises(refusal):
        close(at, person=person)
    with pytest.raises(NotFound):
        closing.close_day(at.session, at.made.kai.actor, at.made.bj1, at.made.today, at.now)
    with pytest.raises(InvalidInput):
        closing.close_day(at.session, at.made.kai.actor, at.made.sh1, at.made.today + timedelta(days=1), at.now)


def test_a_day_is_closed_once_and_in_order(at: Door) -> None:
    close(at)
    for days in (0, -1):
        with pytest.raises(Conflict):
            closing.close_day(at.session, at.made.kai.actor, at.made.sh1, at.made.today + timedelta(days=days), at.now)
    assert close(at, 1).opening_fen == 1_000


def test_CASH_08_a_close_names_who_closed_and_every_difference(at: Door) -> None:
    numbers: tuple[str, ...] = at.numbers  # type: ignore[attr-defined]
    custody.report_deposit(at.session, at.made.bilal.actor, at.deposit(580, numbers[0]), at.policy, at.now)
    custody.hand_over(at.session, at.made.bilal.on_phone, at.handover(at.made.bilal, at.made.dong, 100), at.now)
    told = close(at, 2)
    assert (told.closed_by, told.receipt_count, told.receipted_fen, told.opening_fen, told.closing_fen) == (at.made.kai.id, 2, 1_000, 0, 420)
    days = {day.staff_id: day for day in told.custody}
    bilal = days[at.made.bilal.id]
    assert (bilal.collected_fen, bilal.deposited_fen, bilal.handed_out_fen, bilal.closing_fen) == (1_000, 580, 100, 320)
    assert (days[at.made.dong.id].handed_in_fen, days[at.made.dong.id].closing_fen) == (100, 100)
    named = {(one.kind, one.owner, one.amount_fen) for one in told.differences}
    assert named >= {
        ("custody-not-deposited", at.made.bilal.id, 320), ("custody-not-deposited", at.made.dong.id, 100), ("variance-open", at.made.bilal.id, 20),
        ("deposit-overdue", at.made.bilal.id, 400), ("deposit-unconfirmed", at.made.bilal.id, 580),
    }
    assert [one.receipt_count for one in (*told.banks, *told.pairs, *told.books)] == [2, 2, 2]


def test_a_closed_day_takes_nothing_more_and_its_correction_is_the_next_days(at: Door) -> None:
    numbers: tuple[str, ...] = at.numbers  # type: ignore[attr-defined]
    first = close(at)
    late = at.statement(numbers[2], 50, None)  # Taken on the closed day, arrived after it.
    at.collect(late)
    proposal = corrections.Proposal(transfer_id=transfer_of(at, numbers[0]), reason="written on the wrong case")
    wrong = corrections.propose(at.session, at.made.kai.actor, proposal, at.now)
    corrections.decide(at.session, at.made.amina.actor, wrong, at.now, is_approved=True)
    second = close(at, 1)
    [day] = second.custody
    assert (day.opening_fen, day.collected_fen, day.corrected_fen, day.closing_fen) == (1_000, 50, -600, 450)
    listed = closing.list_closes(at.session, at.made.kai.actor, limit=10, after=None)
    assert listed == [first, second]
    for person, count in ((at.made.amina, 2), (at.made.wei, 2), (at.made.yara, 0), (at.made.lin, 2)):
        assert len(closing.list_closes(at.session, person.actor, limit=10, after=None)) == count, person.name


def test_SEC_01_a_bank_sees_its_own_part_of_a_close_and_no_other_banks(at: Door) -> None:
    whole = close(at)
    (part,) = closing.list_closes(at.session, at.made.lin.actor, limit=5, after=None)
    assert (part.id, part.receipt_count, part.receipted_fen, part.closing_fen) == (whole.id, 2, 1_000, 1_000)
    assert (part.custody, part.pairs, part.books) == (whole.custody, (), ())
    assert {one.bank for one in part.differences} == {at.bank.id}
    assert closing.list_closes(at.session, at.made.chen.actor, limit=5, after=None) == [], "a close in which bank B has no part"
    both = msgspec.structs.replace(whole, custody=(*whole.custody, msgspec.structs.replace(whole.custody[0], bank_id=at.made.bank_b.id)))
    foreign = closing._part_of(both, at.made.bank_b.id)
    assert (len(foreign.custody), foreign.receipt_count, foreign.differences, foreign.banks) == (1, 0, (), ())


def test_the_database_keeps_closed_days(at: Door) -> None:
    close(at)
    at.session.flush()
    copied = ("account_id, ordinal_from, ordinal_to, opening_fen, collected_fen, handed_in_fen, handed_out_fen, deposited_fen, short_fen, "
              "corrected_fen, closing_fen")
    for statement in (
        "UPDATE branch_closes SET closing_fen = closing_fen + 1", "DELETE FROM branch_closes", "UPDATE branch_close_lines SET ordinal_to = 9",
        "DELETE FROM branch_close_lines", f"INSERT INTO branch_close_lines (close_id, {copied}) "
        f"SELECT close_id, {copied} FROM branch_close_lines",
    ):
        with pytest.raises(DBAPIError), at.session.begin_nested():
            at.session.execute(text(statement))
    row = at.session.scalars(select(BranchCloseRow)).one()
    columns = {column.key: getattr(row, column.key) for column in BranchCloseRow.__table__.columns}
    for on in (row.on, row.on - timedelta(days=1)):
        with pytest.raises(DBAPIError), at.session.begin_nested():
            at.session.execute(insert(BranchCloseRow).values(**(columns | {"id": new_id(), "on": on})))


def test_CASH_08_a_collectors_month_is_told_line_by_line(at: Door) -> None:
    numbers: tuple[str, ...] = at.numbers  # type: ignore[attr-defined]
    custody.deposit(at.session, at.made.bilal.actor, at.deposit(600, numbers[0]), at.policy, at.now)

    def month(person: str, days: int = 0, **page: int) -> tuple[statements.CustodyMonth, list[statements.Line]]:
        asked: dict[str, Any] = {"limit": 50, "after": 0} | page
        return statements.custody_month(
            at.session, getattr(at.made, person).actor, at.made.bilal.id, at.bank.id, at.made.today + timedelta(days=days), **asked)

    told, lines = month("kai")
    assert (told.opening_fen, told.came_fen, told.went_fen, told.closing_fen) == (0, 1_000, 600, 400)
    assert [(line.ordinal, line.kind.value, line.amount_fen, line.balance_fen, line.receipt_number) for line in lines] == [
        (1, "collection", 600, 600, numbers[0]), (2, "collection", 400, 1_000, numbers[1]), (3, "deposit", -600, 400, None)]
    assert [line.ordinal for line in month("kai", limit=1, after=1)[1]] == [2, 3]
    later, none = month("lin", 31)
    assert (later.opening_fen, later.closing_fen, none) == (400, 400, [])
    for person in ("chen", "yara"):
        with pytest.raises(NotFound):
            month(person)
    with pytest.raises(Forbidden):
        month("hana")


def test_SEC_01_a_branch_sees_its_own_part_of_a_banks_books(at: Door) -> None:
    books = prove_books(at.session, at.bank.id)
    for person, receipted in (("kai", 1_000), ("yara", 0), ("lin", 1_000), ("petra", 1_000)):
        actor = getattr(at.made, person).actor
        told = shown_to(at.session, actor, books)
        assert (told.receipted_fen, told.custody_fen, told.receipt_count > 0) == (receipted, receipted, receipted > 0), person
        assert told.is_whole_bank == (person in ("lin", "petra"))
        kinds = {one.kind.value for one in statements.list_accounts(at.session, actor, at.bank.id, limit=50, after=None)}
        assert kinds == ({"custody", "debtor"} if receipted else set()), person
    with pytest.raises(NotFound):
        statements.list_accounts(at.session, at.made.chen.actor, at.bank.id, limit=50, after=None)
    account = at.session.scalars(select(AccountRow.id).where(AccountRow.kind == "custody")).one()
    assert len(statements.account_lines(at.session, at.made.lin.actor, account, limit=50, after=0)) == 2
    with pytest.raises(NotFound):
        statements.account_lines(at.session, at.made.yara.actor, account, limit=50, after=0)


def test_the_proof_of_a_banks_books_asks_for_no_list_of_its_cases(at: Door) -> None:
    for serial in range(2, 8):
        other = door(at.session, at.keyring, at.made, serial=serial)
        other.first, other.second = at.first, at.second
        other.take(other.lease()[0], 100, other.authorise())
    books = prove_books(at.session, at.bank.id)
    asked: list[int] = []

    def count(*arguments: Any) -> None:
        asked.append(len(arguments[3]))

    event.listen(at.session.get_bind(), "before_cursor_execute", count)
    try:
        shown = shown_to(at.session, at.made.kai.actor, books)
    finally:
        event.remove(at.session.get_bind(), "before_cursor_execute", count)
    assert {one.case_id for one in shown.cases} == {one.case_id for one in books.cases}
    assert max(asked) < len(books.cases) == 7


def test_receipts_and_transfers_are_entries_of_the_log(at: Door) -> None:
    entries = {row.id: row for row in at.session.scalars(select(LogEntryRow))}
    receipts, moved = at.session.scalars(select(ReceiptRow)).all(), at.session.scalars(select(TransferRow)).all()
    assert (len(receipts), len(moved)) == (2, 2)
    for receipt in receipts:
        payload = f"{receipt.number}:{receipt.digest}".encode()
        entry = entries[receipt.log_entry_id]
        assert (entry.entry_type, entry.salted_sha256) == ("cash-receipt", sha256_hex(entry.salt + payload))
    for row in moved:
        said = Transfer(
            id=TransferId(row.id), debit_id=AccountId(row.debit_id), credit_id=AccountId(row.credit_id), amount_fen=Fen(row.amount_fen),
            kind=row.kind, bank_id=BankId(row.bank_id), case_id=CaseId(row.case_id) if row.case_id else None,
            collection_id=CollectionId(row.collection_id) if row.collection_id else None)
        entry = entries[row.log_entry_id]
        assert (entry.entry_type, entry.salted_sha256) == ("transfer", sha256_hex(entry.salt + transfers.logged(said, StaffId(row.made_by), row.at)))
    assert log.size_of(at.session) == 0  # Indexed after the commit, which this test never makes.
