"""Cash in the field besides the ledger: claimed times, offices by date, paper books, witnessed payments, alerts; on both engines."""

from datetime import date, datetime, timedelta
from typing import Any

import msgspec
import pytest
from sqlalchemy import insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from backend.audit.breaches import breaches_of
from backend.banks import duties, hours
from backend.banks.actions import add_office
from backend.banks.model import KeyHardware, NewOffice, OfficeKind
from backend.banks.tables import BankKeyRow, BankOfficeRow, OfficeTermsRow
from backend.cases.model import Stop
from backend.cases.queries import stops_of
from backend.cases.tables import CaseRow
from backend.cash import actions, alerts, authorisations, book_custody, books, claims, custody, queries, receipt_paper
from backend.cash.alerts import AlertKind
from backend.cash.claim_model import ClaimStatus
from backend.cash.field_tables import DirectPaymentRow
from backend.cash.model import Channel, DepositStatus, Grant, HandoverStatus, NumberStatus, VarianceKind
from backend.cash.movements import Shortfall
from backend.cash.tables import CollectionRow, DepositRow, ReceiptBookRow, ReceiptNumberRow
from backend.core.fen import Fen
from backend.core.geo import LonLat
from backend.core.ids import CaseId, VisitId, new_id
from backend.core.problems import Conflict, Forbidden, InvalidInput, NotFound
from backend.core.rulebook import Rule, RulesBreached
from backend.exhibits.model import Standing
from backend.keys.keyring import Keyring
from backend.plans.gather import day_facts
from backend.requests.tables import VisitRequestRow
from backend.staff.model import DeviceState
from backend.staff.tables import DeviceRow
from backend.visits.model import VisitStatus
from backend.visits.tables import VisitRow
from tests.support.cases import ready_case
from tests.support.cash import Door, door
from tests.support.world import world

SATURDAY, SUNDAY, MAKE_UP_SATURDAY, NATIONAL_DAY = date(2026, 11, 28), date(2026, 11, 29), date(2026, 10, 10), date(2026, 10, 1)


@pytest.fixture
def at(session: Session, keyring: Keyring) -> Door:
    """Return a door of the world."""
    return door(session, keyring, world(session, keyring))


def codes(at: Door, subject: str) -> set[str]:
    return {breach.code for breach in breaches_of(at.session, subject)}


def standing(at: Door, deposit: Any, **changes: Any) -> Standing:
    done = custody.report_deposit(at.session, at.made.bilal.actor, msgspec.structs.replace(deposit, **changes), at.policy, at.now)
    return done.standing


# -- A visit must be running ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [VisitStatus.DISPATCHED, VisitStatus.CONCLUDED, VisitStatus.REPORTED, VisitStatus.CANCELLED])
def test_REQ_04_no_leave_outside_a_running_visit(at: Door, status: VisitStatus) -> None:
    number, jti = at.lease()[0], at.authorise()
    at.session.execute(update(VisitRow).where(VisitRow.id == at.visit_id).values(status=status))
    at.session.expire_all()
    with pytest.raises(RulesBreached) as caught:
        actions.intend(at.session, at.made.bilal.on_phone, at.intent(number, 100, jti), at.policy, at.now)
    assert [breach.rule for breach in caught.value.breaches] == [Rule.REQ_04]


def test_REQ_04_money_taken_after_the_visit_is_booked_with_its_breach(at: Door) -> None:
    number, jti = at.lease()[0], at.authorise()
    at.session.execute(update(VisitRow).where(VisitRow.id == at.visit_id).values(ended_at=at.taken_at - timedelta(minutes=10)))
    at.session.expire_all()
    done = at.take(number, 100, jti)
    assert (done.standing, done.exception_number) == (Standing.BREACH, None)
    assert codes(at, f"collection:{done.collection_id}") == {"not-started"}


# -- Claimed times are bounded or doubted --------------------------------------------------------------------------


def test_REQ_04_money_taken_at_another_pairs_visit_is_booked_with_its_breach(at: Door) -> None:
    number, jti = at.lease()[0], at.authorise()
    done = at.collect(msgspec.structs.replace(at.statement(number, 100, jti), cosigner_id=at.made.zhen.id))
    assert (done.standing, done.exception_number) == (Standing.BREACH, None)
    assert codes(at, f"collection:{done.collection_id}") == {"not-started"}


def test_CASH_06_a_deposits_claimed_time_counts_within_what_can_be_true(at: Door) -> None:
    number = at.lease()[0]
    at.take(number, 100, at.authorise())
    collected_at = at.session.scalars(select(CollectionRow.collected_at)).one()
    honest = at.deposit(100, number)
    for deposited_at in (collected_at - timedelta(hours=1), at.now + timedelta(hours=1)):
        with at.session.begin_nested() as undone:
            assert standing(at, honest, deposited_at=deposited_at) is Standing.DOUBTFUL
            undone.rollback()
    assert standing(at, honest) is Standing.ACCEPTED


def test_CASH_06_lateness_that_hangs_on_the_claim_alone_is_doubted(at: Door) -> None:
    number = at.lease()[0]
    taken = at.take(number, 100, at.authorise())
    after = taken.deposit_due_at + timedelta(hours=2)
    claimed = at.deposit(100, number, deposited_at=taken.deposit_due_at - timedelta(minutes=1))
    with at.session.begin_nested() as undone:
        done = custody.report_deposit(at.session, at.made.bilal.actor, claimed, at.policy, after)
        assert done.standing is Standing.DOUBTFUL
        undone.rollback()
    with at.session.begin_nested() as undone:
        told = msgspec.structs.replace(claimed, told_at=taken.deposit_due_at - timedelta(seconds=30))
        assert custody.report_deposit(at.session, at.made.bilal.actor, told, at.policy, after).standing is Standing.ACCEPTED
        undone.rollback()
    late = msgspec.structs.replace(claimed, deposited_at=after)
    assert custody.report_deposit(at.session, at.made.bilal.actor, late, at.policy, after).standing is Standing.BREACH
    assert codes(at, f"deposit:{late.deposit_id}") == {"deposit-late"}


def test_CASH_06_a_slip_that_nobody_photographed_is_doubted(at: Door) -> None:
    number = at.lease()[0]
    at.take(number, 100, at.authorise())
    assert standing(at, at.deposit(100, number), slip_sha256=None) is Standing.DOUBTFUL


def test_CASH_06_a_photograph_that_another_deposit_named_is_doubted(at: Door) -> None:
    first, second = at.lease()[:2]
    for number in (first, second):
        at.take(number, 100, at.authorise())
    slip = at.deposit(100, first)
    assert custody.report_deposit(at.session, at.made.bilal.actor, slip, at.policy, at.now).standing is Standing.ACCEPTED
    assert custody.report_deposit(at.session, at.made.bilal.actor, slip, at.policy, at.now).standing is Standing.ACCEPTED
    assert standing(at, at.deposit(100, second), slip_sha256=slip.slip_sha256) is Standing.DOUBTFUL


def test_CASH_06_told_again_the_same_deposit_is_the_same(at: Door) -> None:
    number = at.lease()[0]
    at.take(number, 100, at.authorise())
    once = at.deposit(100, number, told_at=at.now)
    first = custody.report_deposit(at.session, at.made.bilal.actor, once, at.policy, at.now)
    again = custody.report_deposit(at.session, at.made.bilal.actor, msgspec.structs.replace(once, told_at=None), at.policy, at.now)
    assert first == again


def test_CASH_08_a_hand_over_of_the_future_moves_money_and_is_a_breach(at: Door) -> None:
    at.take(at.lease()[0], 100, at.authorise())
    command = at.handover(at.made.bilal, at.made.dong, 100, handed_at=at.now + timedelta(hours=1))
    assert custody.hand_over(at.session, at.made.bilal.on_phone, command, at.now) is HandoverStatus.POSTED
    assert codes(at, f"handover:{command.handover_id}") == {"handover-time-impossible"}


def test_CASH_08_a_key_that_ended_in_between_does_not_speak_unquestioned(at: Door) -> None:
    at.take(at.lease()[0], 100, at.authorise())
    command = at.handover(at.made.bilal, at.made.dong, 100, handed_at=at.now - timedelta(hours=3))
    revoked = update(DeviceRow).where(DeviceRow.kid == at.first.kid).values(state=DeviceState.REVOKED, revoked_at=at.now - timedelta(hours=1))
    at.session.execute(revoked)
    assert custody.hand_over(at.session, at.made.dong.on_phone, command, at.now) is HandoverStatus.POSTED
    assert codes(at, f"handover:{command.handover_id}") == {"handover-key-ended"}


# -- Offices by date, channels (F12) -------------------------------------------------------------------------------


def test_F12_workdays_come_from_the_bank_then_the_public_calendar_then_the_week() -> None:
    assert hours.is_workday(SATURDAY, {SATURDAY: True}) == (True, hours.CalendarSource.BANK)
    assert hours.is_workday(SATURDAY, {}) == (False, hours.CalendarSource.PUBLIC)
    assert hours.is_workday(MAKE_UP_SATURDAY, {}) == (True, hours.CalendarSource.PUBLIC), "a make-up workday"
    assert hours.is_workday(NATIONAL_DAY, {}) == (False, hours.CalendarSource.PUBLIC)
    assert hours.is_workday(date(2199, 11, 29), {}) == (True, hours.CalendarSource.WEEKDAY)
    assert hours.is_workday(date(2199, 11, 30), {}) == (False, hours.CalendarSource.WEEKDAY)


def test_F12_an_office_is_open_by_date(at: Door) -> None:
    session, oscar, office = at.session, at.made.oscar.actor, at.bank.office_id
    friday = hours.office_on(session, office, at.made.today)
    assert friday is not None
    assert (friday.opens_s, friday.closes_s, friday.kind) == (9 * 3600, 16 * 3600 + 1200, OfficeKind.COUNTER)
    hours.set_office_days(session, oscar, office, [hours.OfficeDay(on=at.made.today, opens_s=None, closes_s=None)], at.now)
    hours.set_calendar(session, oscar, at.bank.id, {SATURDAY: True}, at.now)
    machine = add_office(session, oscar, NewOffice(
        bank_id=at.bank.id, name="Machine", location=LonLat(121.48, 31.24), opens_s=0, closes_s=86_400, service_s=300, kind=OfficeKind.MACHINE,
        is_open_on_off_days=True, deposit_fen_max=Fen(1_000_000)), at.now)

    def open_ids(on: date) -> set[Any]:
        return {one.id for one in hours.offices_on(session, [at.bank.id], on) if one.opens_s is not None}

    assert open_ids(at.made.today) == {machine}
    assert open_ids(SATURDAY) == {office, machine}
    assert open_ids(SUNDAY) == {machine}
    with pytest.raises(Forbidden):
        hours.set_calendar(session, at.made.kai.actor, at.bank.id, {SUNDAY: True}, at.now)
    with pytest.raises(NotFound):
        hours.set_office_days(session, oscar, at.case_id, [], at.now)


def test_F12_the_planner_sees_offices_that_are_open_and_the_cash_that_a_bank_allowed(at: Door) -> None:
    session = at.session
    visit = session.get_one(VisitRow, at.visit_id)
    at.authorise(cap_fen=400_000)
    assert session.get_one(VisitRequestRow, visit.request_id, populate_existing=True).cash_expected_fen == 400_000
    at.authorise(cap_fen=300_000)
    assert session.get_one(VisitRequestRow, visit.request_id, populate_existing=True).cash_expected_fen == 400_000, "a cap never shrinks the plan"
    other = door(session, at.keyring, at.made, serial=2)
    waiting = session.get_one(VisitRequestRow, session.get_one(VisitRow, other.visit_id).request_id)
    session.execute(update(VisitRequestRow).where(VisitRequestRow.id == waiting.id).values(cash_expected_fen=100))
    for on, is_open in ((at.made.today + timedelta(days=3), True), (SUNDAY, False)):
        facts = day_facts(session, at.made.sh1, on, at.now)
        expected = {str(at.bank.office_id)} if is_open and any(one.cash_expected_fen for one in facts.ready) else set()
        assert {one.id for one in facts.offices} == expected, on


@pytest.mark.parametrize(("channel", "hour", "amount_fen", "found"), [
    (Channel.COUNTER, 10, 100, set()), (Channel.COUNTER, 17, 100, {"office-closed"}), (Channel.SEALED_BAG, 17, 100, set()),
    (Channel.MACHINE, 10, 2_000, {"machine-limit"}), (Channel.COUNTER, 10, 2_000, set()),
])
def test_F12_channel_hours_and_limits_are_judged_and_the_money_is_booked(
    at: Door, channel: Channel, hour: int, amount_fen: int, found: set[str]
) -> None:
    number, office = at.lease()[0], at.session.get_one(BankOfficeRow, at.bank.office_id)
    at.take(number, amount_fen, at.authorise())
    at.session.add(OfficeTermsRow(office_id=office.id, kind=OfficeKind.COUNTER, is_open_on_off_days=False, deposit_fen_max=1_000))
    at.session.flush()
    when = datetime.combine(at.made.today, datetime.min.time(), at.now.tzinfo) + timedelta(hours=hour - 8, minutes=30)
    deposit = at.deposit(amount_fen, number, channel=channel, bank_hours_id=office.id, deposited_at=when)
    done = custody.report_deposit(at.session, at.made.bilal.actor, deposit, at.policy, max(at.now, when))
    assert done.status is DepositStatus.POSTED
    assert codes(at, f"deposit:{deposit.deposit_id}") == found


def test_F12_a_counterfeit_has_an_owner_and_changes_no_receipt(at: Door) -> None:
    number = at.lease()[0]
    at.take(number, 300, at.authorise())
    false_note = Shortfall(kind=VarianceKind.COUNTERFEIT, amount_fen=Fen(100), certificate="JB-1")
    custody.deposit(at.session, at.made.bilal.actor, at.deposit(200, number, shortfalls=(false_note,)), at.policy, at.now)
    row = queries.list_variances(at.session, at.made.lin.actor, limit=5, after=None)[0]
    assert (row.kind, row.amount_fen, row.owner_id) == (VarianceKind.COUNTERFEIT, 100, at.made.bilal.id)
    assert queries.list_collections(at.session, at.made.lin.actor, limit=5, after=None)[0].amount_fen == 300


# -- Duty roster (F19) ---------------------------------------------------------------------------------------------


def test_F19_a_bank_keeps_its_own_roster_and_a_request_says_who_is_on_duty(at: Door) -> None:
    session, mo, bank = at.session, at.made.mo, at.bank.id
    span = (at.now - timedelta(hours=1), at.now + timedelta(hours=1))
    for person in (at.made.oscar, at.made.amina, at.made.lin):
        with pytest.raises(Forbidden):
            duties.set_duty(session, person.actor, mo.id, span, at.now)
    for staff_id in (at.made.nuo.id, at.made.lin.id, at.made.amina.id):
        with pytest.raises(NotFound):
            duties.set_duty(session, mo.actor, staff_id, span, at.now)
    with pytest.raises(InvalidInput):
        duties.set_duty(session, mo.actor, mo.id, (span[1], span[0]), at.now)
    request_id = at.request(at=at.now)
    assert not authorisations.is_attended(session, request_id, at.now)
    assert [one.kind for one in alerts.list_alerts(session, mo.actor, at.now)] == [AlertKind.REQUEST_UNATTENDED]
    duties.set_duty(session, mo.actor, mo.id, span, at.now)
    assert duties.on_duty(session, bank, at.now) == (mo.id,)
    assert duties.on_duty(session, bank, span[1]) == ()
    assert authorisations.is_attended(session, request_id, at.now)
    view = queries.list_requests(session, mo.actor, at.keyring, at.now + timedelta(seconds=60), limit=5, after=None)[0]
    assert (view.on_duty, view.answer_due_s) == ((mo.id,), at.policy.cash_request_answer_s - 60)
    assert [one.kind for one in alerts.list_alerts(session, mo.actor, at.now)] == [AlertKind.REQUEST_WAITING]
    with pytest.raises(Conflict):
        duties.set_duty(session, mo.actor, mo.id, span, at.now)
    with pytest.raises(NotFound):
        duties.list_duties(session, at.made.nuo.actor, bank, at.now)


# -- Paper books (F11) ---------------------------------------------------------------------------------------------


def test_F11_a_book_is_taken_by_its_holder_and_counted_when_it_comes_back(at: Door) -> None:
    session, kai = at.session, at.made.kai.actor
    numbers = at.lease(6)
    book = session.scalars(select(ReceiptBookRow)).one()
    with pytest.raises(NotFound):
        book_custody.take(session, at.made.dong.on_phone, book.serial, at.now, is_seal_whole=True)
    for _ in range(2):
        assert book_custody.take(session, at.made.bilal.on_phone, book.serial, at.now, is_seal_whole=False) == book.id
    at.take(numbers[0], 100, at.authorise())
    for number in numbers[1:3]:
        assert actions.void_receipt(session, at.made.bilal.on_phone, at.void_statement(number), at.policy, at.now) is NumberStatus.VOID
    counted = book_custody.BookCount(unused=frozenset(numbers[3:5]), void_parts=frozenset(numbers[1:2]))
    with pytest.raises(NotFound):
        book_custody.count_in(session, _of_other_branch(at), book.id, counted, at.now)
    assert book_custody.count_in(session, kai, book.id, counted, at.now) == (numbers[2], numbers[5])
    with pytest.raises(Conflict):
        book_custody.count_in(session, kai, book.id, counted, at.now)
    statuses = [session.get_one(ReceiptNumberRow, number, populate_existing=True).status for number in numbers]
    assert statuses == [
        NumberStatus.ISSUED, NumberStatus.VOID, NumberStatus.VOID, NumberStatus.RETURNED, NumberStatus.RETURNED, NumberStatus.SUSPENDED]
    shown = book_custody.list_books(session, kai, limit=5, after=None)
    assert [(one.is_seal_whole, one.missing, one.signed_in_at) for one in shown] == [(False, (numbers[2], numbers[5]), at.now)]
    assert AlertKind.BOOK_SHORT in {one.kind for one in alerts.list_alerts(session, kai, at.now)}
    assert books.leased_numbers(session, at.first.kid) == ()


def _of_other_branch(at: Door) -> Any:
    return msgspec.structs.replace(at.made.kai.actor, branches=frozenset({at.made.bj1}))


def test_CASH_05_the_receipt_as_pdf_and_code_tells_nothing_of_the_debt(at: Door) -> None:
    number = at.lease()[0]
    at.take(number, 12_300, at.authorise())
    printed = receipt_paper.printed(at.session, at.made.lin.actor, number)
    first = receipt_paper.receipt_pdf("https://agency.example", printed)
    assert first.startswith(b"%PDF-")
    assert first == receipt_paper.receipt_pdf("https://agency.example", receipt_paper.printed(at.session, at.made.kai.actor, number))
    address = receipt_paper.verify_address("https://agency.example", printed)
    assert address == f"https://agency.example/verify/receipt?number={number}&amountFen=12300&code={printed.code}"
    assert queries.verify_receipt(at.session, number, 12_300, printed.code).status == "genuine"
    for wrong in ((number, 12_301, printed.code), (number, 12_300, "A" * 20), ("B-1", 12_300, printed.code)):
        assert queries.verify_receipt(at.session, *wrong).status == "unknown"
    for stranger in (at.made.chen, at.made.yara):
        with pytest.raises(NotFound):
            receipt_paper.printed(at.session, stranger.actor, number)


# -- Paid directly, witnessed (F10) --------------------------------------------------------------------------------


def told(at: Door, amount_fen: int = 300_000, **changes: Any) -> claims.WitnessedPayment:
    members: dict[str, Any] = {
        "visit_id": VisitId(at.visit_id), "amount_fen": Fen(amount_fen), "channel": "mobile_bank", "paid_at": at.taken_at,
        "witnessed_at": at.taken_at,
    }
    return claims.WitnessedPayment(**(members | changes))


def repayment(at: Door, amount_fen: int = 300_000, reference: str = "R-1", **changes: Any) -> claims.Repayment:
    members: dict[str, Any] = {"case_id": CaseId(at.case_id), "amount_fen": Fen(amount_fen), "paid_on": at.made.today, "reference": reference}
    return claims.Repayment(**(members | changes))


def is_stopped(at: Door) -> bool:
    return Stop.PAYMENT_CLAIMED in stops_of(at.session.get_one(CaseRow, at.case_id, populate_existing=True), at.made.today)


def test_CASH_05_a_receipt_is_printed_whatever_the_bank_is_called(at: Door) -> None:
    number = at.lease()[0]
    at.take(number, 12_300, at.authorise())
    printed = receipt_paper.printed(at.session, at.made.lin.actor, number)
    hostile = msgspec.structs.replace(printed, bank="\U0001f600#set page(width: 1pt)\u202e\x07銀行\"]")
    assert receipt_paper.receipt_pdf("https://agency.example", hostile).startswith(b"%PDF")


def test_F10_a_witnessed_payment_issues_no_receipt_and_books_nothing(at: Door) -> None:
    with pytest.raises(NotFound):
        claims.claim(at.session, at.made.zhen.on_phone, told(at), at.now)
    first = claims.claim(at.session, at.made.bilal.on_phone, told(at), at.now)
    assert claims.claim(at.session, at.made.dong.on_phone, told(at), at.now) == first
    assert is_stopped(at)
    assert at.session.scalars(select(CollectionRow.id)).all() == []
    assert [one.status for one in claims.list_claims(at.session, at.made.lin.actor, limit=5, after=None)] == [ClaimStatus.CLAIMED]
    for stranger in (at.made.chen, at.made.yara):
        assert claims.list_claims(at.session, stranger.actor, limit=5, after=None) == []


def test_F10_the_banks_file_confirms_the_claim_that_it_fits_once(at: Door) -> None:
    wanted = claims.claim(at.session, at.made.bilal.on_phone, told(at), at.now)
    other = claims.claim(at.session, at.made.bilal.on_phone, told(at, 100_000), at.now)
    early = repayment(at, paid_on=at.made.today - timedelta(days=2))
    assert claims.confirm(at.session, None, early, at.now) is None
    assert claims.confirm(at.session, None, repayment(at), at.now) == wanted
    assert claims.confirm(at.session, None, repayment(at), at.now) is None, "one line of the file is one payment"
    assert claims.confirm(at.session, None, repayment(at, 90_000, "R-2"), at.now) == other
    row = at.session.get_one(DirectPaymentRow, other)
    assert (row.status, row.amount_fen, row.confirmed_fen) == (ClaimStatus.CONFIRMED, 100_000, 90_000)
    assert not is_stopped(at)


@pytest.mark.parametrize("is_known", [False, True])
def test_F10_a_small_payment_does_not_use_up_the_claim_of_a_large_one(at: Door, is_known: bool) -> None:
    wanted = claims.claim(at.session, at.made.bilal.on_phone, told(at), at.now)
    claimed_fen = at.session.get_one(DirectPaymentRow, wanted).amount_fen
    claims.confirm_all(at.session, None, [(repayment(at, 100, "R-0"), not is_known), (repayment(at, claimed_fen, "R-1"), True)], at.now)
    row = at.session.get_one(DirectPaymentRow, wanted)
    assert (row.reference, row.confirmed_fen) == ("R-1", claimed_fen)


def test_F10_a_payment_known_before_confirms_no_claim_of_another_amount(at: Door) -> None:
    wanted = claims.claim(at.session, at.made.bilal.on_phone, told(at), at.now)
    claims.confirm_all(at.session, None, [(repayment(at, 100, "R-0"), False)], at.now)
    assert at.session.get_one(DirectPaymentRow, wanted).status is ClaimStatus.CLAIMED
    claims.confirm_all(at.session, None, [(repayment(at, 100, "R-0"), True)], at.now)
    assert at.session.get_one(DirectPaymentRow, wanted).confirmed_fen == 100


def test_F10_one_payment_of_the_bank_settles_a_claim_in_each_case_that_it_pays(at: Door) -> None:
    wanted = claims.claim(at.session, at.made.bilal.on_phone, told(at), at.now)
    case_id = CaseId(ready_case(at.session, at.keyring, at.made, 2).id)
    row = at.session.get_one(DirectPaymentRow, wanted)
    members = {column.name: getattr(row, column.name) for column in DirectPaymentRow.__table__.columns}
    other = members | {"id": new_id(), "case_id": case_id, "paid_at": at.taken_at - timedelta(minutes=1)}
    third = members | {"id": new_id(), "paid_at": at.taken_at - timedelta(minutes=2)}
    at.session.execute(insert(DirectPaymentRow), [other, third])
    assert claims.confirm(at.session, None, repayment(at), at.now) == third["id"], "the oldest first"
    assert claims.confirm(at.session, None, repayment(at, case_id=case_id), at.now) == other["id"]
    assert claims.confirm(at.session, None, repayment(at), at.now) is None
    settled = {"status": ClaimStatus.CONFIRMED, "settled_at": at.now, "reference": "R-1", "confirmed_fen": 1}
    with pytest.raises(IntegrityError), at.session.begin_nested():
        at.session.execute(update(DirectPaymentRow).where(DirectPaymentRow.id == wanted).values(settled))


def test_F10_a_file_that_ought_to_show_it_contradicts_it(at: Door) -> None:
    wanted = claims.claim(at.session, at.made.bilal.on_phone, told(at), at.now)
    due = at.session.get_one(DirectPaymentRow, wanted).due_at
    assert claims.contradict_due(at.session, at.made.gu.actor, at.bank.id, due.date(), due - timedelta(seconds=1)) == []
    assert claims.contradict_due(at.session, at.made.gu.actor, at.bank.id, due.date() - timedelta(days=2), due) == [], "the file ends before"
    assert claims.contradict_due(at.session, at.made.gu.actor, at.made.bank_b.id, due.date(), due) == []
    assert AlertKind.CLAIM_UNCONFIRMED in {one.kind for one in alerts.list_alerts(at.session, at.made.amina.actor, due)}
    assert claims.contradict_due(at.session, at.made.gu.actor, at.bank.id, due.date() + timedelta(days=1), due) == [wanted]
    assert claims.confirm(at.session, None, repayment(at), due) is None
    with pytest.raises(IntegrityError), at.session.begin_nested():
        at.session.execute(update(DirectPaymentRow).values(status=ClaimStatus.CLAIMED, settled_at=None))
    with pytest.raises(IntegrityError), at.session.begin_nested():
        at.session.execute(update(DirectPaymentRow).values(amount_fen=1))


def test_F10_only_the_outcome_paid_directly_with_all_its_fields_is_a_claim(at: Door) -> None:
    fields = {"amount_fen": 300_000, "channel": "mobile_bank", "paid_at": "2026-11-27T01:55:00Z"}
    wanted = claims.witnessed_payment(VisitId(at.visit_id), "paid_directly", fields, at.now)
    assert wanted is not None
    assert (wanted.amount_fen, wanted.channel) == (300_000, "mobile_bank")
    assert claims.witnessed_payment(VisitId(at.visit_id), "promise", fields, at.now) is None
    for missing in fields:
        assert claims.witnessed_payment(VisitId(at.visit_id), "paid_directly", {**fields, missing: None}, at.now) is None
    for moment in ("0001-01-01T00:00:00+08:00", "0001-01-01T05:00:00Z", "9999-12-31T23:00:00Z", "9999-12-31T23:00:00-08:00"):
        told_of = claims.witnessed_payment(VisitId(at.visit_id), "paid_directly", {**fields, "paid_at": moment}, at.now)
        assert told_of is None, "no calendar of a bank has this moment"


# -- Alerts and the block of who is late ---------------------------------------------------------------------------


def test_CASH_06_who_is_late_is_alerted_and_takes_nothing_more(at: Door) -> None:
    numbers, jti = at.lease(), at.authorise()
    taken = at.take(numbers[0], 100, jti)
    seen = [at.made.kai, at.made.amina, at.made.lin]
    assert [one.kind for person in seen for one in alerts.list_alerts(at.session, person.actor, at.now)] == []
    soon = taken.deposit_due_at - timedelta(hours=1)
    assert {one.kind for one in alerts.list_alerts(at.session, at.made.kai.actor, soon)} == {AlertKind.DEPOSIT_DUE_SOON}
    late = taken.deposit_due_at + timedelta(seconds=1)
    for person in seen:
        found = alerts.list_alerts(at.session, person.actor, late)
        assert [(one.kind, one.owner_id, one.amount_fen) for one in found] == [(AlertKind.DEPOSIT_OVERDUE, at.made.bilal.id, 100)]
    for stranger in (at.made.chen, at.made.yara):
        assert alerts.list_alerts(at.session, stranger.actor, late) == []
    again = at.authorise()
    with pytest.raises(RulesBreached) as caught:
        actions.intend(at.session, at.made.bilal.on_phone, at.intent(numbers[1], 100, again), at.policy, late)
    assert "deposit-overdue" in {breach.code for breach in caught.value.breaches}
    custody.report_deposit(at.session, at.made.bilal.actor, at.deposit(100, numbers[0]), at.policy, late)
    assert alerts.list_alerts(at.session, at.made.kai.actor, late) == []


def test_CASH_01_an_exception_is_the_first_alert_until_agency_and_bank_have_resolved_it(at: Door) -> None:
    taken = at.take(at.lease()[0], 100, None)
    assert [one.kind for one in alerts.list_alerts(at.session, at.made.lin.actor, at.now)][:1] == [AlertKind.UNAUTHORISED]
    assert taken.exception_number is not None
    for person in (at.made.amina, at.made.lin):
        actions.resolve_exception(at.session, person.actor, taken.exception_number, at.now)
    assert AlertKind.UNAUTHORISED not in {one.kind for one in alerts.list_alerts(at.session, at.made.lin.actor, at.now)}


def test_CASH_04_two_people_of_the_bank_above_its_threshold(at: Door) -> None:
    request_id = at.request(cap_fen=2_000_000)
    token = at.token(at.claims(request_id, cap_fen=2_000_000))
    granted_at = at.now - timedelta(minutes=19)
    with pytest.raises(RulesBreached) as caught:
        authorisations.grant(at.session, at.made.mo.actor, Grant(request_id=request_id, agency="fieldvisit", token=token), at.policy, granted_at)
    assert [breach.code for breach in caught.value.breaches] == ["second-authoriser-missing"]
    assert at.session.scalars(select(DepositRow.id)).all() == []


def test_F11_a_phone_that_is_lost_takes_its_numbers_with_it_and_a_late_receipt_is_welcome(at: Door) -> None:
    numbers, jti = at.lease(), at.authorise()
    signed_before = at.statement(numbers[0], 100, jti)
    assert books.suspend_numbers(at.session, at.made.amina.actor, at.first.kid, at.now) == len(numbers)
    assert books.suspend_numbers(at.session, at.made.amina.actor, at.first.kid, at.now) == 0
    assert books.leased_numbers(at.session, at.first.kid) == ()
    with pytest.raises(RulesBreached) as caught:
        actions.intend(at.session, at.made.bilal.on_phone, at.intent(numbers[1], 100, jti), at.policy, at.now)
    assert {breach.code for breach in caught.value.breaches} == {"receipt-number-not-leased"}
    assert at.collect(signed_before).exception_number is None
    with pytest.raises(NotFound):
        books.suspend_numbers(at.session, at.made.yara.actor, at.first.kid, at.now)


def test_F19_a_bank_may_insist_on_its_own_hardware(at: Door) -> None:
    own = msgspec.structs.replace(at.policy, authoriser_hardware=("bank_system", "webcrypto"))
    request_id = at.request()
    command = Grant(request_id=request_id, agency="fieldvisit", token=at.token(at.claims(request_id)))
    granted_at = at.now - timedelta(minutes=19)
    with pytest.raises(RulesBreached) as caught:
        authorisations.grant(at.session, at.made.mo.actor, command, own, granted_at)
    assert [breach.code for breach in caught.value.breaches] == ["key-hardware-not-admitted"]
    at.session.execute(update(BankKeyRow).values(hardware=KeyHardware.WEBCRYPTO))
    at.session.expire_all()
    assert authorisations.grant(at.session, at.made.mo.actor, command, own, granted_at)
