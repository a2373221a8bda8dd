"""Custody: hand-overs, deposits, statements, corrections, and the books proven, on both engines."""

import hashlib
from collections.abc import Iterator
from datetime import timedelta
from uuid import UUID

import msgspec
import pytest
from sqlalchemy import func, select
from sqlalchemy.orm import Session, sessionmaker

from backend.audit.breaches import breaches_of
from backend.audit.tables import AuditEntryRow
from backend.auth.actors import Role
from backend.cases.layout import Acceptance, BatchOutcome, ControlTotalsMismatch
from backend.cash import actions, corrections, custody, queries, reconciliation, transfers, variances, waiting
from backend.cash.bank_files import FileRefused, FileUnreadable, rejections_of
from backend.cash.handover_signatures import handover_words
from backend.cash.model import DepositStatus, HandoverStatus, NumberStatus, VarianceKind, VarianceStatus
from backend.cash.movements import Shortfall
from backend.cash.proof import prove_books
from backend.cash.tables import CollectionRow, DepositRow, HandoverRow, ReceiptNumberRow, StatementLineRow, VarianceRow
from backend.cash.tasks import chores
from backend.core.fen import Fen
from backend.core.ids import TransferId, new_id
from backend.core.problems import Conflict, Forbidden, IdempotencyConflict, IllegalTransition, NotFound
from backend.core.rulebook import Rule, RulesBreached
from backend.exhibits.model import Standing
from backend.exhibits.refusals import SignatureInvalid
from backend.keys.keyring import Keyring
from backend.policies.tables import PolicyRow
from backend.staff.model import DeviceState
from backend.staff.tables import DeviceRow
from tests.support.cash import Door, door, signed_words, statement_csv
from tests.support.world import ACCOUNT_NUMBER, add_person, world


@pytest.fixture
def at(session: Session, keyring: Keyring) -> Iterator[Door]:
    """Return a door of the world, 1,000 fen taken by bilal under two receipts."""
    made = door(session, keyring, world(session, keyring))
    numbers, jti = made.lease(), made.authorise()
    made.take(numbers[0], 600, jti)
    made.take(numbers[1], 400, jti)
    made.numbers = numbers  # type: ignore[attr-defined]
    yield made
    proof = prove_books(session, made.bank.id)
    assert proof.differences == (), proof.differences
    assert proof.receipted_fen == proof.custody_fen + proof.in_transit_fen + proof.designated_fen + proof.suspense_fen


def numbers_of(at: Door) -> tuple[str, ...]:
    """Return the leased numbers."""
    return at.numbers  # type: ignore[attr-defined, no-any-return]


def held(at: Door, person: str = "bilal") -> int:
    """Return what somebody holds for bank A."""
    return transfers.balance(at.session, transfers.custody_of(getattr(at.made, person).id, at.bank.id))


def refused_rules(at: Door, **changes: object) -> set[Rule]:
    """Ask to deposit both receipts in a way that must be refused."""
    members = {"amount_fen": Fen(1_000)} | changes
    command = msgspec.structs.replace(at.deposit(1_000, *numbers_of(at)[:2]), **members)
    with pytest.raises(RulesBreached) as caught:
        custody.deposit(at.session, at.made.bilal.actor, command, at.policy, at.now)
    return {breach.rule for breach in caught.value.breaches}


def test_CASH_06_another_account_is_refused(at: Door) -> None:
    assert refused_rules(at, account_digest=hashlib.sha256(b"1").hexdigest()) == {Rule.CASH_06}
    command = at.deposit(1_000, *numbers_of(at)[:2], account_digest=hashlib.sha256(b"1").hexdigest())
    with pytest.raises(RulesBreached) as caught:
        custody.ask_deposit(at.session, at.made.bilal.actor, command)
    assert (caught.value.answered_status, caught.value.answered_code) == (422, "account-not-designated")


def test_CASH_09_less_than_was_taken_is_refused(at: Door) -> None:
    assert refused_rules(at, amount_fen=Fen(980)) == {Rule.CASH_09}


def test_CASH_07_more_than_was_taken_is_refused(at: Door) -> None:
    assert refused_rules(at, amount_fen=Fen(1_001)) == {Rule.CASH_09}


def test_CASH_06_no_slip_is_refused(at: Door) -> None:
    assert refused_rules(at, slip_reference=" ") == {Rule.CASH_06}


def test_CASH_08_the_same_money_is_not_deposited_twice(at: Door) -> None:
    custody.deposit(at.session, at.made.bilal.actor, at.deposit(600, numbers_of(at)[0]), at.policy, at.now)
    with pytest.raises(RulesBreached) as caught:
        custody.deposit(at.session, at.made.bilal.actor, at.deposit(600, numbers_of(at)[0]), at.policy, at.now)
    assert {breach.rule for breach in caught.value.breaches} == {Rule.CASH_08}
    with pytest.raises(transfers.FundsMissing):
        custody.deposit(at.session, at.made.dong.actor, at.deposit(400, numbers_of(at)[1]), at.policy, at.now)


def test_CASH_06_a_reported_deposit_elsewhere_moves_nothing(at: Door) -> None:
    command = at.deposit(1_000, *numbers_of(at)[:2], account_digest=hashlib.sha256(b"1").hexdigest())
    done = custody.report_deposit(at.session, at.made.bilal.actor, command, at.policy, at.now)
    assert (done.status, done.standing, held(at)) == (DepositStatus.UNBOOKED, Standing.BREACH, 1_000)
    assert {breach.rule for breach in breaches_of(at.session, f"deposit:{done.deposit_id}")} == {Rule.CASH_06}


def test_CASH_09_a_reported_net_deposit_leaves_the_rest_with_its_owner(at: Door) -> None:
    done = custody.report_deposit(at.session, at.made.bilal.actor, at.deposit(980, *numbers_of(at)[:2]), at.policy, at.now)
    assert (done.status, done.standing, held(at)) == (DepositStatus.POSTED, Standing.BREACH, 20)
    variance = at.session.scalars(select(VarianceRow)).one()
    assert (variance.kind, variance.amount_fen, variance.owner_id) == (VarianceKind.NET_DEPOSIT, 20, at.made.bilal.id)
    resolution = variances.Resolution(
        variance_id=variance.id, code="paid-in", slip_reference="SLIP-REST", account_digest=at.bank.account_digest)
    with pytest.raises(Forbidden):
        variances.resolve_variance(at.session, at.made.bilal.actor, resolution, at.policy, at.now)
    given_up = variances.Resolution(variance_id=variance.id, code="never-mind")
    with pytest.raises(Forbidden):
        variances.resolve_variance(at.session, at.made.amina.actor, given_up, at.policy, at.now)
    assert actions.overdue_count(at.session, frozenset({at.made.bilal.id}), at.now) == 1, "who kept money back takes no more"
    variances.resolve_variance(at.session, at.made.amina.actor, resolution, at.policy, at.now)
    assert held(at) == 0


@pytest.mark.parametrize("is_explained", [True, False])
def test_CASH_09_only_the_bank_gives_up_money_of_its_own(at: Door, is_explained: bool) -> None:
    notes = (Shortfall(kind=VarianceKind.COUNTERFEIT, amount_fen=Fen(100), certificate="CERT-1"),) if is_explained else ()
    custody.report_deposit(at.session, at.made.bilal.actor, at.deposit(500, numbers_of(at)[0], shortfalls=notes), at.policy, at.now)
    given_up = variances.Resolution(variance_id=at.session.scalars(select(VarianceRow.id)).one(), code="never-mind")
    for person in (at.made.amina, at.made.petra):
        with pytest.raises(Forbidden):
            variances.resolve_variance(at.session, person.actor, given_up, at.policy, at.now)
    variances.resolve_variance(at.session, at.made.mo.actor, given_up, at.policy, at.now)
    assert at.session.get_one(VarianceRow, given_up.variance_id).status is VarianceStatus.RESOLVED


def test_CASH_08_nobody_pays_in_receipts_whose_money_another_holds(at: Door) -> None:
    custody.hand_over(at.session, at.made.bilal.on_phone, at.handover(at.made.bilal, at.made.dong, 1), at.now)
    done = custody.report_deposit(at.session, at.made.dong.actor, at.deposit(1, *numbers_of(at)[:2]), at.policy, at.now)
    assert (done.status, done.standing, held(at), held(at, "dong")) == (DepositStatus.HELD, Standing.BREACH, 999, 1)
    late = at.now + timedelta(seconds=at.policy.deposit_deadline_s)
    assert actions.overdue_count(at.session, frozenset({at.made.bilal.id}), late) == 2, "bilal still answers for both"
    custody.hand_over(at.session, at.made.bilal.on_phone, at.handover(at.made.bilal, at.made.dong, 999), at.now)
    assert at.session.get_one(DepositRow, done.deposit_id).status is DepositStatus.POSTED
    assert (held(at), held(at, "dong"), actions.overdue_count(at.session, frozenset({at.made.dong.id}), at.now)) == (0, 999, 1)


def test_SEC_01_asking_about_a_deposit_tells_nothing_of_another_branchs_receipts(at: Door) -> None:
    zhen, command = at.made.zhen.actor, at.deposit(1, numbers_of(at)[0])
    with pytest.raises(NotFound):
        custody.ask_deposit(at.session, zhen, command)
    with pytest.raises(NotFound):
        custody.deposit(at.session, zhen, command, at.policy, at.now)
    told = custody.report_deposit(at.session, zhen, command, at.policy, at.now)
    assert (told.status, breaches_of(at.session, f"deposit:{told.deposit_id}")) == (DepositStatus.HELD, ())
    handed = at.handover(at.made.bilal, at.made.zhen, 600)
    assert custody.hand_over(at.session, at.made.bilal.on_phone, handed, at.now) is HandoverStatus.POSTED
    net = at.session.get_one(DepositRow, told.deposit_id)
    assert (net.status, net.standing) == (DepositStatus.POSTED, Standing.BREACH), "judged when the money was in its teller's hands"
    at.take(numbers_of(at)[2], 50, None)
    custody.hand_over(at.session, at.made.bilal.on_phone, at.handover(at.made.bilal, at.made.zhen, 50), at.now)
    paid_in = custody.deposit(at.session, zhen, at.deposit(50, numbers_of(at)[2]), at.policy, at.now)
    assert paid_in.status is DepositStatus.POSTED, "whoever was handed the money pays it in, of whatever branch"


def test_CASH_09_a_deposit_is_gross_and_the_same_id_is_the_same_deposit(at: Door) -> None:
    command = at.deposit(1_000, *numbers_of(at)[:2])
    first = custody.deposit(at.session, at.made.bilal.actor, command, at.policy, at.now)
    again = custody.deposit(at.session, at.made.bilal.actor, command, at.policy, at.now)
    assert first == again
    assert (first.status, held(at)) == (DepositStatus.POSTED, 0)
    other = msgspec.structs.replace(command, slip_reference="OTHER")
    with pytest.raises(IdempotencyConflict):
        custody.report_deposit(at.session, at.made.bilal.actor, other, at.policy, at.now)


def test_CASH_08_a_false_note_is_a_variance_with_an_owner(at: Door) -> None:
    false_note = Shortfall(kind=VarianceKind.COUNTERFEIT, amount_fen=Fen(100), certificate="CERT-1")
    command = at.deposit(900, *numbers_of(at)[:2], shortfalls=(false_note,))
    done = custody.deposit(at.session, at.made.bilal.actor, command, at.policy, at.now)
    assert (done.status, held(at)) == (DepositStatus.POSTED, 0)
    assert transfers.balance(at.session, transfers.suspense_of(at.made.bilal.id, at.bank.id)) == 100


def test_CASH_08_a_handover_takes_both_signatures(at: Door) -> None:
    giver, taker = at.made.bilal, at.made.dong
    command = at.handover(giver, taker, 300, signs=False)
    assert custody.hand_over(at.session, giver.on_phone, command, at.now) is HandoverStatus.OFFERED
    assert held(at, "dong") == 0
    forged = msgspec.structs.replace(command, taker_token=signed_words(giver, handover_words(command)))
    with pytest.raises(Exception, match="unknown-device"):
        custody.hand_over(at.session, giver.on_phone, forged, at.now)
    other_words = msgspec.structs.replace(command, taker_token=signed_words(taker, handover_words(command) | {"amount_fen": 1}))
    with pytest.raises(SignatureInvalid):
        custody.hand_over(at.session, giver.on_phone, other_words, at.now)
    signed = msgspec.structs.replace(command, taker_token=signed_words(taker, handover_words(command)))
    assert custody.hand_over(at.session, taker.on_phone, signed, at.now) is HandoverStatus.POSTED
    assert custody.hand_over(at.session, giver.on_phone, signed, at.now) is HandoverStatus.POSTED
    assert (held(at), held(at, "dong")) == (700, 300)


def test_CASH_08_what_waits_for_a_yes_is_told_page_by_page(at: Door) -> None:
    giver, taker = at.made.bilal, at.made.dong
    for amount in (100, 200, 300):
        custody.hand_over(at.session, giver.on_phone, at.handover(giver, taker, amount, signs=False), at.now)
    first = waiting.offered_handovers(at.session, taker.actor, limit=2, after=None)
    assert len(first) == 3
    assert [one.id for one in waiting.offered_handovers(at.session, taker.actor, limit=2, after=first[1].id)] == [first[2].id]
    assert {int(one.amount_fen) for one in first} == {100, 200, 300}
    assert waiting.offered_handovers(at.session, giver.actor, limit=2, after=None) == []


def test_CASH_02_open_exceptions_are_told_page_by_page(at: Door) -> None:
    for number in numbers_of(at)[2:4]:
        at.take(number, 10, None)
    first = waiting.list_exceptions(at.session, at.made.amina.actor, limit=1, after=None)
    assert len(first) == 2
    assert [one.number for one in waiting.list_exceptions(at.session, at.made.amina.actor, limit=1, after=first[0].number)] == [first[1].number]
    with pytest.raises(Forbidden):
        waiting.list_exceptions(at.session, at.made.hana.actor, limit=1, after=None)


@pytest.mark.parametrize(("state", "compromised_h", "is_taken"), [
    (DeviceState.PENDING, None, False), (DeviceState.REVOKED, 1, False), (DeviceState.REVOKED, None, False), (DeviceState.SUSPENDED, None, True),
])
def test_CASH_08_a_key_that_is_not_the_takers_any_more_takes_nothing(
    at: Door, state: DeviceState, compromised_h: int | None, is_taken: bool
) -> None:
    giver, taker = at.made.bilal, at.made.dong
    assert taker.phone is not None
    phone = at.session.get_one(DeviceRow, taker.phone.kid)
    phone.state = state
    if state is DeviceState.REVOKED:
        phone.revoked_at = at.now - timedelta(minutes=30) if compromised_h is None else at.now + timedelta(hours=1)
        phone.compromised_since = at.now - timedelta(hours=compromised_h) if compromised_h is not None else None
    at.session.flush()
    command = at.handover(giver, taker, 300)
    if is_taken:
        assert custody.hand_over(at.session, giver.on_phone, command, at.now) is HandoverStatus.POSTED
    else:
        with pytest.raises(Exception, match="unknown-device"):
            custody.hand_over(at.session, giver.on_phone, command, at.now)
    assert held(at, "dong") == (300 if is_taken else 0)


def test_CASH_08_a_hand_over_told_again_is_the_same_one_and_of_another_moment_is_refused(at: Door) -> None:
    giver, taker = at.made.bilal, at.made.dong
    command = at.handover(giver, taker, 300, signs=False)
    subject = f"handover:{command.handover_id}"
    for _ in range(3):
        assert custody.hand_over(at.session, giver.on_phone, command, at.now) is HandoverStatus.OFFERED
    assert audited(at, subject) == 1
    later = at.handover(giver, taker, 300, handover_id=command.handover_id, handed_at=at.now + timedelta(minutes=1))
    with pytest.raises(IdempotencyConflict):
        custody.hand_over(at.session, giver.on_phone, later, at.now)
    signed = msgspec.structs.replace(command, taker_token=signed_words(taker, handover_words(command)))
    for _ in range(2):
        assert custody.hand_over(at.session, taker.on_phone, signed, at.now) is HandoverStatus.POSTED
    assert (audited(at, subject), held(at)) == (2, 700)


def audited(at: Door, subject: str) -> int:
    """Count what the audit tells of a subject."""
    return at.session.scalar(select(func.count()).select_from(AuditEntryRow).where(AuditEntryRow.subject == subject)) or 0


def test_CASH_08_a_cashier_takes_at_the_desk(at: Door) -> None:
    command = at.handover(at.made.bilal, at.made.kai, 1_000, signs=False)
    custody.hand_over(at.session, at.made.bilal.on_phone, command, at.now)
    with pytest.raises(NotFound):
        custody.accept_handover(at.session, at.made.dong.actor, command.handover_id, at.now)
    assert custody.accept_handover(at.session, at.made.kai.actor, command.handover_id, at.now) is HandoverStatus.POSTED
    done = custody.deposit(at.session, at.made.kai.actor, at.deposit(1_000, *numbers_of(at)[:2]), at.policy, at.now)
    assert (done.status, held(at, "kai")) == (DepositStatus.POSTED, 0)


def test_what_spends_money_that_has_not_arrived_waits_for_it(at: Door) -> None:
    jti = at.authorise()
    statement = at.statement(numbers_of(at)[2], 250, jti)
    handover = at.handover(at.made.bilal, at.made.dong, 1_250)
    assert custody.hand_over(at.session, at.made.dong.on_phone, handover, at.now) is HandoverStatus.HELD
    waiting = custody.report_deposit(at.session, at.made.dong.actor, at.deposit(1_250, *numbers_of(at)[:3]), at.policy, at.now)
    assert waiting.status is DepositStatus.HELD
    at.collect(statement)
    assert at.session.get_one(HandoverRow, handover.handover_id).status is HandoverStatus.POSTED
    assert at.session.get_one(DepositRow, waiting.deposit_id).status is DepositStatus.POSTED
    assert (held(at), held(at, "dong")) == (0, 0)


def test_CASH_08_a_deposit_of_an_undone_receipt_is_refused_and_told_of_moves_no_other_money(at: Door) -> None:
    first, second = numbers_of(at)[:2]
    undone(at, transfer_of(at, second))
    with pytest.raises(RulesBreached) as caught:
        custody.deposit(at.session, at.made.bilal.actor, at.deposit(400, second), at.policy, at.now)
    assert [breach.code for breach in caught.value.breaches if breach.rule is Rule.CASH_08] == ["receipt-undone"]
    for told in (at.deposit(400, second), at.deposit(1_000, first, second), at.deposit(600, first, second)):
        done = custody.report_deposit(at.session, at.made.bilal.actor, told, at.policy, at.now)
        assert (done.status, done.standing, held(at)) == (DepositStatus.UNBOOKED, Standing.BREACH, 600)
    with pytest.raises(NotFound):  # Whether a number of another branch is undone is nobody's to ask.
        custody.ask_deposit(at.session, at.made.zhen.actor, at.deposit(400, second))


def test_CASH_08_a_deposit_that_waited_is_set_aside_when_its_receipt_is_undone(at: Door) -> None:
    waiting = custody.report_deposit(at.session, at.made.dong.actor, at.deposit(600, numbers_of(at)[0]), at.policy, at.now)
    assert waiting.status is DepositStatus.HELD
    undone(at, transfer_of(at, numbers_of(at)[0]))
    custody.release_waiting(at.session, at.bank.id, at.made.dong.id, at.now)
    assert at.session.get_one(DepositRow, waiting.deposit_id).status is DepositStatus.UNBOOKED
    assert "receipt-undone" in {breach.code for breach in breaches_of(at.session, f"deposit:{waiting.deposit_id}")}


GOOD = statement_csv(("R1", "1.00"))


@pytest.mark.parametrize("content", [
    b"", b"account,booked_on\n", b"\xff\xfe\x00", GOOD + b"\x00", b'account,booked_on,reference,amount\n"', GOOD.replace(b"reference", b"account"),
], ids=repr)
def test_an_unreadable_statement_books_nothing(at: Door, content: bytes) -> None:
    with pytest.raises(FileUnreadable):
        reconciliation.import_statement(at.session, at.made.kai.actor, at.statement_file(raw=content), at.policy, at.now)


@pytest.mark.parametrize(("row_count", "total"), [(2, 100), (1, 101), (0, 0)])
def test_a_statement_that_differs_from_its_control_totals_books_nothing(at: Door, row_count: int, total: int) -> None:
    file = at.statement_file(raw=GOOD, row_count=row_count, amount_total_fen=Fen(total))
    with pytest.raises(ControlTotalsMismatch):
        reconciliation.import_statement(at.session, at.made.kai.actor, file, at.policy, at.now)


@pytest.mark.parametrize(("content", "code"), [
    (statement_csv(("R1", "1.234")), "malformed-amount"), (statement_csv(("R1", "-1.00")), "malformed-amount"),
    (statement_csv(("R1", "0.00")), "malformed-amount"), (statement_csv(("a b", "1.00")), "malformed"),
    (GOOD.replace(b"2026-11-27", b"2026-11-31"), "malformed-date"), (GOOD.replace(ACCOUNT_NUMBER.encode(), b"999"), "not-designated"),
    (GOOD.replace(b"2026-11-27", b"2026-11-28"), "after-today"), (GOOD.replace(b"2026-11-27", b"0001-01-01"), "malformed-date"),
    (GOOD + b",x", "column-count"),
], ids=repr)
def test_a_bad_row_is_rejected_by_name_and_the_good_ones_taken_by_choice(at: Door, content: bytes, code: str) -> None:
    whole = content + b"\n" + statement_csv(("GOOD", "2.00")).splitlines()[1]
    readable = 200 + (100 if code in ("malformed", "malformed-date", "not-designated", "after-today") else 0)
    file = at.statement_file(raw=whole, row_count=2, amount_total_fen=Fen(readable))
    refused = reconciliation.import_statement(at.session, at.made.kai.actor, file, at.policy, at.now)
    assert (refused.outcome, refused.line_count, refused.rejected_count) == (BatchOutcome.REFUSED, 0, 2)
    assert {(one.row_number, one.code) for one in rejections_of(at.session, at.made.kai.actor, refused.statement_id)} == {(1, code)}
    with pytest.raises(FileRefused):
        reconciliation.demand_taken(refused)
    again = reconciliation.import_statement(at.session, at.made.kai.actor, file, at.policy, at.now)
    assert (again.statement_id, again.is_first) == (refused.statement_id, False)
    chosen = msgspec.structs.replace(file, acceptance=Acceptance.ACCEPT_GOOD)
    taken = reconciliation.demand_taken(reconciliation.import_statement(at.session, at.made.kai.actor, chosen, at.policy, at.now))
    assert (taken.line_count, taken.rejected_count, taken.total_fen) == (1, 1, 200)
    with pytest.raises(NotFound):
        rejections_of(at.session, at.made.nuo.actor, taken.statement_id)


@pytest.mark.parametrize(("encoding", "heading"), [
    ("utf-8-sig", "账号,记账日期,流水号,金额"), ("gb18030", "金额,账号,记账日期,凭证号"),
])
def test_a_statement_speaks_chinese_in_either_encoding(at: Door, encoding: str, heading: str) -> None:
    cells = {"账号": ACCOUNT_NUMBER, "记账日期": "2026/11/27", "流水号": "R7", "凭证号": "R7", "金额": '"1,234.50"'}
    content = f"{heading}\r\n{','.join(cells[name] for name in heading.split(','))}\r\n".encode(encoding)
    file = at.statement_file(raw=content, row_count=1, amount_total_fen=Fen(123_450))
    assert reconciliation.import_statement(at.session, at.made.kai.actor, file, at.policy, at.now).total_fen == 123_450


def test_CASH_08_a_statement_confirms_the_slip_to_the_fen(at: Door) -> None:
    command = at.deposit(1_000, *numbers_of(at)[:2])
    custody.deposit(at.session, at.made.bilal.actor, command, at.policy, at.now)
    file = at.statement_file((command.slip_reference, "10.00"))
    with pytest.raises(Forbidden):
        reconciliation.import_statement(at.session, at.made.mo.actor, file, at.policy, at.now)
    first = reconciliation.import_statement(at.session, at.made.kai.actor, file, at.policy, at.now)
    assert (first.matched_count, first.variance_count, first.is_first) == (1, 0, True)
    again = reconciliation.import_statement(at.session, at.made.kai.actor, file, at.policy, at.now)
    assert (again.statement_id, again.is_first) == (first.statement_id, False)
    longer = msgspec.structs.replace(file, content=file.content + b"\n")
    overlapping = reconciliation.import_statement(at.session, at.made.kai.actor, longer, at.policy, at.now)
    assert overlapping.matched_count == 0
    proof = reconciliation.close_books(at.session, at.made.kai.actor, at.bank.id, at.now)
    assert (proof.designated_fen, proof.in_transit_fen, proof.custody_fen) == (1_000, 0, 0)


def test_CASH_08_credits_that_differ_are_variances_with_owners(at: Door) -> None:
    short, surplus = at.deposit(600, numbers_of(at)[0]), at.deposit(400, numbers_of(at)[1])
    for command in (short, surplus):
        custody.deposit(at.session, at.made.bilal.actor, command, at.policy, at.now)
    file = at.statement_file((short.slip_reference, "5.00"), (surplus.slip_reference, "4.01"), ("NOBODY", "7.77"))
    reconciliation.import_statement(at.session, at.made.kai.actor, file, at.policy, at.now)
    found = {row.kind: (row.amount_fen, row.owner_id) for row in at.session.scalars(select(VarianceRow))}
    assert found == {
        VarianceKind.SHORT_CREDIT: (100, at.made.bilal.id), VarianceKind.SURPLUS_CREDIT: (1, at.made.bilal.id),
        VarianceKind.UNKNOWN_CREDIT: (777, at.made.kai.id),
    }
    assert transfers.balance(at.session, transfers.suspense_of(at.made.bilal.id, at.bank.id)) == 100


def test_CASH_08_a_credit_that_fits_to_the_fen_goes_before_one_that_differs(at: Door) -> None:
    command = at.deposit(600, numbers_of(at)[0], slip_reference="0001")
    custody.deposit(at.session, at.made.bilal.actor, command, at.policy, at.now)
    done = reconciliation.import_statement(at.session, at.made.kai.actor, at.statement_file(("0001", "7.00"), ("0001", "6.00")), at.policy, at.now)
    assert (done.matched_count, done.variance_count) == (1, 1)
    assert {(row.kind, row.amount_fen) for row in at.session.scalars(select(VarianceRow))} == {(VarianceKind.UNKNOWN_CREDIT, 700)}


def test_CASH_08_a_reference_that_comes_again_does_not_lend_an_older_credit_to_a_later_slip(at: Door) -> None:
    older = statement_csv(("0001", "7.00")).replace(b"2026-11-27", b"2026-11-24")
    reconciliation.import_statement(at.session, at.made.kai.actor, at.statement_file(("0001", "7.00"), raw=older), at.policy, at.now)
    command = at.deposit(600, numbers_of(at)[0], slip_reference="0001")
    custody.deposit(at.session, at.made.bilal.actor, command, at.policy, at.now)
    assert reconciliation.match_lines(at.session, at.made.kai.actor, at.bank.id, at.now) == 0
    done = reconciliation.import_statement(at.session, at.made.kai.actor, at.statement_file(("0001", "6.00")), at.policy, at.now)
    assert (done.matched_count, done.variance_count) == (1, 0)
    assert at.session.get_one(DepositRow, command.deposit_id).status is DepositStatus.CONFIRMED


def test_CASH_08_equal_credits_of_one_day_are_two_credits(at: Door) -> None:
    slips = [at.deposit(600, numbers_of(at)[0], slip_reference="0001"), at.deposit(400, numbers_of(at)[1], slip_reference="0002")]
    for command in slips:
        custody.deposit(at.session, at.made.bilal.actor, command, at.policy, at.now)
    twice = at.statement_file(("0001", "6.00"), ("0001", "6.00"), ("0002", "4.00"))
    first = reconciliation.import_statement(at.session, at.made.kai.actor, twice, at.policy, at.now)
    assert (first.line_count, first.matched_count, first.variance_count) == (3, 2, 1)
    longer = at.statement_file(("0001", "6.00"), ("0001", "6.00"), ("0002", "4.00"), ("0003", "1.00"))
    again = reconciliation.import_statement(at.session, at.made.kai.actor, longer, at.policy, at.now)
    assert at.session.scalar(select(func.count()).select_from(StatementLineRow)) == 4, "the same lines in a longer file are the same lines"
    assert (again.matched_count, again.variance_count) == (0, 1)


@pytest.mark.parametrize("amount", ["\uff16.00", "\u0666.00", "6.005", "-6.00", "6e2", "+6.00", " ", "1,0,0.00", "99999999999999.00"])
def test_CASH_08_an_amount_in_other_digits_or_of_other_shape_is_rejected(at: Door, amount: str) -> None:
    raw = f"account,booked_on,reference,amount\n{ACCOUNT_NUMBER},2026-11-27,0001,\"{amount}\"\n".encode()
    file = at.statement_file(raw=raw, row_count=1, amount_total_fen=Fen(0))
    done = reconciliation.import_statement(at.session, at.made.kai.actor, file, at.policy, at.now)
    assert (done.line_count, done.rejected_count) == (0, 1)


def variance_of(at: Door, kind: VarianceKind) -> VarianceRow:
    """Return the one variance of a kind as it stands."""
    return at.session.scalars(select(VarianceRow).where(VarianceRow.kind == kind)).one()


def test_a_slip_that_no_statement_shows_is_a_variance_until_one_does(at: Door) -> None:
    slip = at.deposit(600, numbers_of(at)[0], deposited_at=at.now - timedelta(days=5))
    custody.deposit(at.session, at.made.bilal.actor, slip, at.policy, at.now)
    for reference in ("OTHER-1", "OTHER-2"):
        reconciliation.import_statement(at.session, at.made.kai.actor, at.statement_file((reference, "1.00")), at.policy, at.now)
    missing = variance_of(at, VarianceKind.MISSING_CREDIT)
    assert (missing.amount_fen, missing.owner_id, missing.status) == (600, at.made.bilal.id, VarianceStatus.OPEN)
    reconciliation.import_statement(at.session, at.made.kai.actor, at.statement_file((slip.slip_reference, "6.00")), at.policy, at.now)
    assert (missing.status, missing.resolution) == (VarianceStatus.RESOLVED, "credited-later")


def test_the_sweep_waits_for_a_statement_as_long_as_the_banks_policy_says(at: Door, joined: sessionmaker[Session]) -> None:
    slip = at.deposit(600, numbers_of(at)[0], deposited_at=at.now - timedelta(days=5))
    custody.deposit(at.session, at.made.bilal.actor, slip, at.policy, at.now)
    patient = PolicyRow(
        id=new_id(), version="patient", bank_id=at.bank.id, valid_from=at.now, thresholds={"missing_credit_days": 7}, made_by=at.made.oscar.id,
        made_at=at.now)
    at.session.add(patient)
    at.session.flush()
    for days, flagged in ((0, 0), (1, 0), (3, 1), (4, 1)):
        for chore in chores(joined, lambda days=days: at.now + timedelta(days=days)):
            chore.run()
        kinds = at.session.scalars(select(VarianceRow.kind)).all()
        assert kinds == [VarianceKind.MISSING_CREDIT] * flagged, f"{days} days later"


@pytest.mark.parametrize("is_own", [False, True])
def test_a_credit_that_came_before_its_slip_is_matched_when_the_slip_is_here(at: Door, is_own: bool) -> None:
    slip = at.deposit(600, numbers_of(at)[0])
    first = reconciliation.import_statement(at.session, at.made.kai.actor, at.statement_file((slip.slip_reference, "6.00")), at.policy, at.now)
    assert (first.matched_count, first.variance_count) == (0, 1)
    custody.deposit(at.session, at.made.bilal.actor, slip, at.policy, at.now)
    someone = at.made.kai if is_own else add_person(at.session, at.keyring, "second-cashier", Role.CASHIER, branch_id=at.made.sh1)
    assert reconciliation.match_lines(at.session, someone.actor, at.bank.id, at.now) == 1
    unknown = variance_of(at, VarianceKind.UNKNOWN_CREDIT)
    assert unknown.status is (VarianceStatus.EXPLAINED if is_own else VarianceStatus.RESOLVED)  # Nobody closes their own.
    assert at.session.get_one(DepositRow, slip.deposit_id).status is DepositStatus.CONFIRMED


def test_a_variance_is_explained_by_its_owner_sent_back_and_closed_by_another(at: Door) -> None:
    custody.report_deposit(at.session, at.made.bilal.actor, at.deposit(980, *numbers_of(at)[:2]), at.policy, at.now)
    row = variance_of(at, VarianceKind.NET_DEPOSIT)
    with pytest.raises(NotFound):
        variances.explain(at.session, at.made.dong.actor, row.id, "not-mine", None, at.now)
    with pytest.raises(IllegalTransition):
        variances.send_back(at.session, at.made.amina.actor, row.id, "too-early", at.now)
    assert variances.explain(at.session, at.made.bilal.actor, row.id, "note-fell-down", "INC-7", at.now) is VarianceStatus.EXPLAINED
    with pytest.raises(NotFound):
        variances.send_back(at.session, at.made.yara.actor, row.id, "not-enough", at.now)
    assert variances.send_back(at.session, at.made.amina.actor, row.id, "not-enough", at.now) is VarianceStatus.OPEN
    variances.explain(at.session, at.made.bilal.actor, row.id, "found", "INC-8", at.now)
    with pytest.raises(Forbidden):
        variances.resolve_variance(at.session, at.made.bilal.actor, variances.Resolution(variance_id=row.id, code="fine"), at.policy, at.now)
    variances.resolve_variance(at.session, at.made.mo.actor, variances.Resolution(variance_id=row.id, code="accepted"), at.policy, at.now)
    with pytest.raises(IllegalTransition):
        variances.resolve_variance(at.session, at.made.amina.actor, variances.Resolution(variance_id=row.id, code="again"), at.policy, at.now)
    told = [(step.event.value, step.code) for step in variances.steps_of(at.session, at.made.lin.actor, row.id)]
    assert told == [("explain", "note-fell-down"), ("return", "not-enough"), ("explain", "found"), ("resolve", "accepted")]
    with pytest.raises(NotFound):
        variances.steps_of(at.session, at.made.chen.actor, row.id)


def transfer_of(at: Door, number: str) -> TransferId:
    """Return the transfer behind a receipt."""
    return TransferId(at.session.scalars(select(CollectionRow.transfer_id).where(CollectionRow.receipt_number == number)).one())


def test_a_correction_takes_a_reason_and_two_people(at: Door) -> None:
    number = numbers_of(at)[0]
    proposal = corrections.Proposal(transfer_id=transfer_of(at, number), reason="written on the wrong case")
    with pytest.raises(Forbidden):
        corrections.propose(at.session, at.made.bilal.actor, proposal, at.now)
    correction_id = corrections.propose(at.session, at.made.kai.actor, proposal, at.now)
    with pytest.raises(Forbidden):
        corrections.decide(at.session, at.made.kai.actor, correction_id, at.now, is_approved=True)
    assert corrections.decide(at.session, at.made.amina.actor, correction_id, at.now, is_approved=True) is not None
    assert (held(at), at.session.get_one(ReceiptNumberRow, number).status) == (400, NumberStatus.VOID)
    with pytest.raises(Conflict):
        corrections.decide(at.session, at.made.amina.actor, correction_id, at.now, is_approved=True)
    with pytest.raises(Conflict):
        corrections.propose(at.session, at.made.kai.actor, proposal, at.now)


def test_money_that_is_paid_in_is_not_taken_back_before_its_deposit_is(at: Door) -> None:
    number = numbers_of(at)[0]
    false_note = Shortfall(kind=VarianceKind.COUNTERFEIT, amount_fen=Fen(100), certificate="CERT-1")
    command = at.deposit(500, number, shortfalls=(false_note,))
    custody.deposit(at.session, at.made.bilal.actor, command, at.policy, at.now)
    early = corrections.propose(at.session, at.made.kai.actor, corrections.Proposal(transfer_id=transfer_of(at, number), reason="wrong"), at.now)
    with pytest.raises(Conflict):
        corrections.decide(at.session, at.made.amina.actor, early, at.now, is_approved=True)
    deposit_row = at.session.get_one(DepositRow, command.deposit_id)
    assert deposit_row.transfer_id is not None
    proposal = corrections.Proposal(transfer_id=TransferId(deposit_row.transfer_id), reason="slip of another pair")
    undo = corrections.propose(at.session, at.made.kai.actor, proposal, at.now)
    corrections.decide(at.session, at.made.amina.actor, undo, at.now, is_approved=True)
    assert (deposit_row.status, held(at)) == (DepositStatus.REVERSED, 1_000)
    again = custody.deposit(at.session, at.made.bilal.actor, at.deposit(600, number), at.policy, at.now)
    assert again.status is DepositStatus.POSTED


def undone(at: Door, transfer_id: UUID | None) -> None:
    """Reverse a transfer by two people."""
    assert transfer_id is not None
    proposal = corrections.Proposal(transfer_id=TransferId(transfer_id), reason="wrong slip")
    corrections.decide(
        at.session, at.made.amina.actor, corrections.propose(at.session, at.made.kai.actor, proposal, at.now), at.now, is_approved=True)


def made_good(at: Door) -> None:
    """Close the one open variance by a slip."""
    variance_id = at.session.scalars(select(VarianceRow.id).where(VarianceRow.status == VarianceStatus.OPEN)).one()
    resolution = variances.Resolution(variance_id=variance_id, code="paid-in", slip_reference="SLIP-REST", account_digest=at.bank.account_digest)
    variances.resolve_variance(at.session, at.made.amina.actor, resolution, at.policy, at.now)


@pytest.mark.parametrize("is_explained", [True, False])
def test_CASH_08_a_deposit_whose_rest_was_made_good_is_not_undone_under_it(at: Door, is_explained: bool) -> None:
    notes = (Shortfall(kind=VarianceKind.COUNTERFEIT, amount_fen=Fen(100), certificate="CERT-1"),) if is_explained else ()
    done = custody.report_deposit(at.session, at.made.bilal.actor, at.deposit(500, numbers_of(at)[0], shortfalls=notes), at.policy, at.now)
    made_good(at)
    assert held(at) == 400
    with pytest.raises(Conflict):
        undone(at, at.session.get_one(DepositRow, done.deposit_id).transfer_id)


def test_CASH_09_a_rest_whose_slip_was_wrong_is_kept_back_again(at: Door) -> None:
    custody.report_deposit(at.session, at.made.bilal.actor, at.deposit(500, numbers_of(at)[0]), at.policy, at.now)
    made_good(at)
    assert actions.overdue_count(at.session, frozenset({at.made.bilal.id}), at.now) == 0
    undone(at, at.session.scalars(select(DepositRow.transfer_id).where(DepositRow.slip_reference == "SLIP-REST")).one())
    assert (held(at), actions.overdue_count(at.session, frozenset({at.made.bilal.id}), at.now)) == (500, 1)
    made_good(at)
    assert (held(at), actions.overdue_count(at.session, frozenset({at.made.bilal.id}), at.now)) == (400, 0)


def test_CASH_08_custody_is_told_per_collector_and_to_the_own_bank_only(at: Door) -> None:
    for person, expected in ((at.made.kai, 1), (at.made.amina, 1), (at.made.mo, 1), (at.made.nuo, 0), (at.made.yara, 0), (at.made.wei, 1)):
        rows = queries.list_custody(at.session, person.actor, at.now)
        assert len(rows) == expected, person.name
    late = queries.list_custody(at.session, at.made.kai.actor, at.now + timedelta(seconds=at.policy.deposit_deadline_s))
    assert (late[0].custody_fen, late[0].overdue_fen) == (1_000, 1_000)
    statement = transfers.account_statement(at.session, transfers.custody_of(at.made.bilal.id, at.bank.id))
    assert [(line.ordinal, line.amount_fen, line.balance_fen) for line in statement] == [(1, 600, 600), (2, 400, 1_000)]


def test_the_public_learns_genuine_void_or_unknown_and_no_more(at: Door) -> None:
    number = numbers_of(at)[0]
    code = at.session.get_one(ReceiptNumberRow, number).code
    assert queries.verify_receipt(at.session, number, 600, code).status == "genuine"
    for asked in ((number, 601, code), (number, 600, "A" * 20), ("NO-SUCH", 600, code), (numbers_of(at)[2], 0, code)):
        assert queries.verify_receipt(at.session, *asked).status == "unknown"
    proposal = corrections.Proposal(transfer_id=transfer_of(at, number), reason="wrong")
    correction_id = corrections.propose(at.session, at.made.kai.actor, proposal, at.now)
    corrections.decide(at.session, at.made.amina.actor, correction_id, at.now, is_approved=True)
    assert queries.verify_receipt(at.session, number, 600, code).status == "void"


def test_the_phone_gets_its_authorisations_and_what_is_revoked(at: Door) -> None:
    devices = frozenset({at.first.kid, at.second.kid})
    [view] = queries.authorisations_in_force(at.session, devices, at.now)
    assert (view.remaining_fen, view.remaining_collections) == (499_000, 1)
    assert queries.authorisations_in_force(at.session, frozenset({at.first.kid, "x" * 43}), at.now) == ()
    assert queries.revocations(at.session, at.now).jtis == ()


def test_CASH_09_a_receipt_named_by_both_its_numbers_is_paid_in_once(at: Door) -> None:
    at.take(numbers_of(at)[2], 300, None)
    other = at.take("NOT-LEASED-1", 250, None)  # It stands under an exception number.
    twice = (other.receipt_number, "NOT-LEASED-1")
    with pytest.raises(RulesBreached) as caught:
        custody.deposit(at.session, at.made.bilal.actor, at.deposit(500, *twice), at.policy, at.now)
    assert {breach.rule for breach in caught.value.breaches} == {Rule.CASH_09}
    done = custody.report_deposit(at.session, at.made.bilal.actor, at.deposit(250, *twice), at.policy, at.now)
    assert (done.status, held(at)) == (DepositStatus.POSTED, 1_300)
    told = custody.report_deposit(at.session, at.made.bilal.actor, at.deposit(500, *twice), at.policy, at.now)
    assert (told.status, held(at)) == (DepositStatus.UNBOOKED, 1_300)
