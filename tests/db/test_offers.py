"""Promises, proposals, offers and notices on both engines: refusals first. Nothing but an offer of the case's own bank reaches a customer."""

import json
from collections.abc import Callable
from datetime import date, timedelta
from typing import Any
from uuid import UUID

import msgspec
import pytest
from sqlalchemy import select, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from backend.auth.actors import Role
from backend.cases.actions import resume, suspend
from backend.cases.layout import Acceptance, BatchOutcome, ControlTotalsMismatch
from backend.cases.model import CaseStatus, SuspensionReason
from backend.cases.tables import CaseRow, RepaymentRow
from backend.cash import claims, repayments
from backend.cash.bank_files import BankFile, FileRefused, FileUnreadable, amount_of, rejections_of
from backend.cash.claim_model import ClaimStatus
from backend.cash.field_tables import DirectPaymentRow
from backend.core.fen import Fen
from backend.core.ids import VisitId, new_id
from backend.core.problems import Forbidden, IllegalTransition, InvalidInput, NotFound
from backend.core.rulebook import Rule, RulesBreached
from backend.keys.keyring import Keyring
from backend.offers import actions, promises, queries
from backend.offers.model import Concession, Instalment, NewPromise, NewProposal, PromiseSource, PromiseStatus, ProposalStatus, Terms
from backend.offers.rules import due_after
from backend.offers.tables import PaymentNoticeRow, PromiseRow, ProposalRow
from tests.support.cash import Door, door
from tests.support.world import Person, add_person, world

WAIVER = Terms(kind=Concession.WAIVER, waived_fen=Fen(5_000))


@pytest.fixture
def at(session: Session, keyring: Keyring) -> Door:
    return door(session, keyring, world(session, keyring))


def case_of(at: Door) -> CaseRow:
    return at.session.get_one(CaseRow, at.case_id, populate_existing=True)


def proposed(at: Door, terms: Terms = WAIVER, **changes: Any) -> UUID:
    """Propose as the phone collector."""
    return actions.propose(at.session, at.made.hana.actor, NewProposal(case_id=at.case_id, terms=terms, **changes), at.now)


def plan(at: Door, *amounts: int) -> Terms:
    """Return a plan with an instalment every ten days, the first tomorrow."""
    first = at.made.today + timedelta(days=1)
    return Terms(kind=Concession.INSTALMENT, instalments=tuple(
        Instalment(due_on=first + timedelta(days=10 * place), amount_fen=Fen(amount)) for place, amount in enumerate(amounts)))


def row_of(at: Door, proposal_id: UUID) -> ProposalRow:
    return at.session.get_one(ProposalRow, proposal_id, populate_existing=True)


def rules_of(act: Callable[[], object]) -> set[Rule]:
    with pytest.raises(RulesBreached) as caught:
        act()
    return {breach.rule for breach in caught.value.breaches}


def until(at: Door, days: int = 30) -> date:
    return at.made.today + timedelta(days=days)


@pytest.mark.parametrize("step", ["proposed", "declined", "withdrawn", "revoked", "over"])
def test_BANK_01_what_is_no_offer_is_confirmed_to_nobody_and_told_to_no_phone(at: Door, step: str) -> None:
    proposal_id = proposed(at)
    bank = at.made.mo.actor
    if step == "declined":
        actions.decline(at.session, bank, proposal_id, at.now)
    elif step == "withdrawn":
        actions.withdraw(at.session, at.made.amina.actor, proposal_id, at.now)
    elif step in ("revoked", "over"):
        actions.offer(at.session, bank, proposal_id, until(at, 0), at.now)
    if step == "revoked":
        actions.revoke(at.session, bank, proposal_id, at.now)
    later = at.now + timedelta(days=1 if step == "over" else 0)
    assert rules_of(lambda: actions.accept(at.session, at.made.hana.actor, proposal_id, later)) == {Rule.BANK_01}
    assert queries.offers_of(at.session, [at.case_id], later.date()) == []
    [view] = queries.list_proposals(at.session, at.made.hana.actor, later.date(), limit=10, after=None)
    assert not view.is_offer


@pytest.mark.parametrize(("who", "refusal"), [
    ("hana", Forbidden), ("amina", Forbidden), ("petra", Forbidden), ("lin", Forbidden), ("nuo", NotFound), ("bilal", Forbidden),
])
def test_BANK_01_only_the_authorisers_of_the_own_bank_offer(at: Door, who: str, refusal: type[Exception]) -> None:
    proposal_id = proposed(at)
    person: Person = getattr(at.made, who)
    for act in (
        lambda: actions.offer(at.session, person.actor, proposal_id, until(at), at.now),
        lambda: actions.decline(at.session, person.actor, proposal_id, at.now),
        lambda: actions.revoke(at.session, person.actor, proposal_id, at.now),
    ):
        with pytest.raises(refusal):
            act()


def test_BANK_01_an_offer_of_the_bank_reaches_the_customer(at: Door) -> None:
    proposal_id = proposed(at)
    with pytest.raises(InvalidInput):
        actions.offer(at.session, at.made.mo.actor, proposal_id, until(at, -1), at.now)
    assert actions.offer(at.session, at.made.mo.actor, proposal_id, until(at), at.now) is ProposalStatus.OFFERED
    assert [one.id for one in queries.offers_of(at.session, [at.case_id], at.made.today)] == [proposal_id]
    with pytest.raises(IllegalTransition):
        actions.offer(at.session, at.made.mo.actor, proposal_id, until(at), at.now)
    assert actions.accept(at.session, at.made.hana.actor, proposal_id, at.now) is ProposalStatus.ACCEPTED
    with pytest.raises(IllegalTransition):
        actions.revoke(at.session, at.made.mo.actor, proposal_id, at.now)


def test_BANK_01_the_database_knows_no_offer_but_the_banks(at: Door) -> None:
    proposal_id, other = proposed(at), at.made.amina.id
    row_of(at, proposal_id)
    literal = f"'{proposal_id}'" if at.session.get_bind().dialect.name == "postgresql" else f"'{proposal_id.hex}'"
    person = f"'{other}'" if at.session.get_bind().dialect.name == "postgresql" else f"'{other.hex}'"
    for statement in (
        f"UPDATE proposals SET status = 'offered', valid_to_on = '2027-01-01' WHERE id = {literal}",
        f"UPDATE proposals SET status = 'offered', valid_to_on = '2027-01-01', decided_by = {person}, decided_at = proposed_at WHERE id = {literal}",
        f"UPDATE proposals SET status = 'accepted' WHERE id = {literal}",
        f"UPDATE proposals SET terms = '{{}}' WHERE id = {literal}", f"DELETE FROM proposals WHERE id = {literal}",
    ):
        with pytest.raises(DBAPIError), at.session.begin_nested():
            at.session.execute(text(statement))
    assert row_of(at, proposal_id).status is ProposalStatus.PROPOSED


def test_BANK_12_no_more_than_is_owed_is_proposed(at: Door) -> None:
    owed = case_of(at).amount_fen
    assert rules_of(lambda: proposed(at, plan(at, owed, 1))) == {Rule.BANK_12}
    assert rules_of(lambda: proposed(at, Terms(kind=Concession.WAIVER, waived_fen=Fen(owed + 1)))) == {Rule.BANK_12}
    proposed(at, plan(at, owed - 1, 1))


def test_CASE_30_a_plan_does_not_begin_in_the_past(at: Door) -> None:
    past = Terms(kind=Concession.DEFERRAL, until_on=until(at, -1))
    assert rules_of(lambda: proposed(at, past)) == {Rule.CASE_30}


def test_CASH_13_only_ways_of_paying_that_the_bank_has_authorised_are_proposed(at: Door) -> None:
    terms = Terms(kind=Concession.AUTOMATIC_DEBIT, method="points")
    words = ("积分还款", "Repay with points")
    assert rules_of(lambda: proposed(at, terms)) == {Rule.CASH_13}
    with pytest.raises(NotFound):
        actions.decide_method(at.session, at.made.mo.actor, at.bank.id, "points", at.now, is_offered=True)
    actions.suggest_method(at.session, at.made.oscar.actor, at.bank.id, "points", words, at.now)
    assert rules_of(lambda: proposed(at, terms)) == {Rule.CASH_13}
    for person, refusal in ((at.made.oscar, Forbidden), (at.made.lin, Forbidden), (at.made.nuo, NotFound)):
        with pytest.raises(refusal):
            actions.decide_method(at.session, person.actor, at.bank.id, "points", at.now, is_offered=True)
    actions.decide_method(at.session, at.made.mo.actor, at.bank.id, "points", at.now, is_offered=True)
    proposed(at, terms)
    actions.suggest_method(at.session, at.made.oscar.actor, at.bank.id, "points", ("新的话", "Other words"), at.now)
    assert rules_of(lambda: proposed(at, terms)) == {Rule.CASH_13}


@pytest.mark.parametrize("members", [
    {"kind": "instalment"}, {"kind": "waiver"}, {"kind": "deferral"}, {"kind": "reactivation", "waivedFen": 1},
    {"kind": "instalment", "instalments": [{"dueOn": "2026-12-01", "amountFen": 0}]},
    {"kind": "instalment", "instalments": [{"dueOn": "2026-12-02", "amountFen": 1}, {"dueOn": "2026-12-01", "amountFen": 1}]},
], ids=str)
def test_terms_say_what_their_kind_needs_and_nothing_else(members: dict[str, Any]) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(json.dumps(members), type=Terms)


def test_CASE_33_a_hardship_goes_to_the_bank_and_not_to_a_harsher_channel(at: Door) -> None:
    declined = proposed(at, is_hardship=True)
    assert case_of(at).status is CaseStatus.HARDSHIP_PROPOSAL
    actions.decline(at.session, at.made.mo.actor, declined, at.now)
    assert case_of(at).status is CaseStatus.PHONE_COLLECTION
    granted = proposed(at, plan(at, 1_000, 1_000), is_hardship=True)
    actions.offer(at.session, at.made.mo.actor, granted, until(at), at.now)
    actions.accept(at.session, at.made.hana.actor, granted, at.now)
    assert case_of(at).status is CaseStatus.REPAYMENT_PLAN


def promised(at: Door, amount: int, days: int = 5) -> UUID:
    return promises.promise(at.session, at.made.hana.actor, case_of(at), NewPromise(
        case_id=at.case_id, amount_fen=Fen(amount), due_on=until(at, days), made_on=at.made.today, source=PromiseSource.CONTACT,
        source_id=new_id()), at.now)


def status_of(at: Door, promise_id: UUID) -> PromiseStatus:
    return at.session.get_one(PromiseRow, promise_id, populate_existing=True).status


def file_of(at: Door, *rows: tuple[str, int, str], later: int = 0, case: str | None = None, **changes: Any) -> BankFile:
    """Write a repayment file: reference, days from today, yuan."""
    name = case_of(at).bank_reference if case is None else case
    lines = [f"{name},{reference},{until(at, days)},{yuan}" for reference, days, yuan in rows]
    members: dict[str, Any] = {
        "bank_id": at.bank.id, "content": "\n".join(["case,reference,paid_on,amount", *lines]).encode(), "row_count": len(rows),
        "amount_total_fen": Fen(sum(amount_of(yuan) or 0 for _, _, yuan in rows)), "as_of_on": until(at, later),
    }
    return BankFile(**(members | changes))


def repaid(at: Door, file: BankFile, later: int = 0, person: Person | None = None) -> repayments.Repaid:
    return repayments.import_repayments(at.session, (person or at.made.gu).actor, file, at.now + timedelta(days=later))


def test_a_repayment_file_must_be_the_banks_whole_and_of_the_past(at: Door) -> None:
    good = file_of(at, ("P-1", 0, "10.00"))
    for person, refusal in ((at.made.kai, Forbidden), (at.made.mo, Forbidden), (at.made.chen, NotFound)):
        with pytest.raises(refusal):
            repaid(at, good, person=person)
    with pytest.raises(InvalidInput):
        repaid(at, msgspec.structs.replace(good, as_of_on=until(at, 1)))
    with pytest.raises(ControlTotalsMismatch):
        repaid(at, msgspec.structs.replace(good, amount_total_fen=Fen(999)))
    with pytest.raises(FileUnreadable):
        repaid(at, msgspec.structs.replace(good, content=b"case,amount\n"))
    assert at.session.scalars(select(RepaymentRow)).all() == []


def test_rows_of_a_repayment_file_are_rejected_by_name(at: Door) -> None:
    repaid(at, file_of(at, ("P-0", 0, "1.00")))
    name = case_of(at).bank_reference
    lines = [
        f"{name},P-1,{until(at, 0)},2.00", f"X-9,P-2,{until(at, 0)},2.00", f"{name},P-3,soon,2.00", f"{name},P-4,{until(at, 1)},2.00",
        f"{name},P 5,{until(at, 0)},2.00", f"{name},P-6,{until(at, 0)},-2.00", f"{name},P-0,{until(at, 0)},2.00", f"{name},P-1,{until(at, 0)},2.00",
    ]
    file = BankFile(
        bank_id=at.bank.id, content="\n".join(["案件编号,流水号,还款日期,还款金额", *lines]).encode("gb18030"), row_count=8,
        amount_total_fen=Fen(1_400), as_of_on=at.made.today)
    refused = repaid(at, file)
    assert (refused.outcome, refused.rejected_count) == (BatchOutcome.REFUSED, 8)
    with pytest.raises(FileRefused):
        repayments.demand_taken(refused)
    named = [(one.row_number, one.code) for one in rejections_of(at.session, at.made.lin.actor, refused.file_id)]
    assert named == [(2, "unknown-case"), (3, "malformed-date"), (4, "after-the-file"), (5, "malformed"), (6, "malformed-amount"),
                     (7, "reference-used"), (8, "duplicate-in-file")]
    taken = repaid(at, msgspec.structs.replace(file, acceptance=Acceptance.ACCEPT_GOOD))
    assert (taken.accepted_count, taken.accepted_fen) == (1, 200)
    again = repaid(at, msgspec.structs.replace(file, acceptance=Acceptance.ACCEPT_GOOD))
    assert (again.file_id, again.is_first) == (taken.file_id, False)
    assert sorted(at.session.scalars(select(RepaymentRow.reference))) == ["P-0", "P-1"]


def test_CASE_32_a_promise_is_kept_or_broken_as_the_repayment_file_says(at: Door) -> None:
    kept = promised(at, 1_000)
    repaid(at, file_of(at, ("P-1", 3, "9.99"), later=4), later=4)
    assert status_of(at, kept) is PromiseStatus.OPEN
    repaid(at, file_of(at, ("P-2", 5, "0.01"), later=5), later=5)
    assert status_of(at, kept) is PromiseStatus.KEPT
    broken = promised(at, 1_000)
    repaid(at, file_of(at, ("P-3", 6, "10.00"), later=5 + 1), later=6)
    assert status_of(at, broken) is PromiseStatus.KEPT  # What came on the day after counts for nobody, what came before for both.


def test_a_promise_that_a_whole_file_does_not_show_is_broken_until_a_later_one_does(at: Door) -> None:
    promise_id = promised(at, 1_000)
    repaid(at, file_of(at, ("P-1", 5, "4.00"), later=5), later=5)
    assert status_of(at, promise_id) is PromiseStatus.OPEN  # The last day is not over in this file.
    repaid(at, file_of(at, ("P-2", 6, "6.00"), later=6), later=6)
    assert status_of(at, promise_id) is PromiseStatus.BROKEN  # Paid a day late.
    with pytest.raises(NotFound):
        promises.follow_up(at.session, at.made.yara.actor, promise_id, at.now)
    due = queries.list_promises(at.session, at.made.hana.actor, limit=10, after=None, due_by=until(at, 6))
    assert [one.id for one in due] == [promise_id]
    promises.follow_up(at.session, at.made.hana.actor, promise_id, at.now + timedelta(days=6, hours=1))
    assert queries.list_promises(at.session, at.made.hana.actor, limit=10, after=None, due_by=until(at, 6)) == []
    repaid(at, file_of(at, ("P-3", 4, "6.00"), later=7), later=7)
    assert status_of(at, promise_id) is PromiseStatus.KEPT


def test_DECL_01_a_promise_and_a_plan_that_fall_due_while_the_case_is_suspended_wait_and_get_their_days_back(at: Door) -> None:
    promise_id, proposal_id = promised(at, 1_000), proposed(at, plan(at, 1_000, 1_000))
    actions.offer(at.session, at.made.mo.actor, proposal_id, until(at), at.now)
    actions.accept(at.session, at.made.hana.actor, proposal_id, at.now)
    suspend(at.session, at.made.hana.actor, at.case_id, SuspensionReason.DENIES_APPLICATION, at.now)
    repaid(at, file_of(at, later=12), later=12)
    assert (status_of(at, promise_id), row_of(at, proposal_id).status) == (PromiseStatus.OPEN, ProposalStatus.ACCEPTED)
    resume(at.session, at.made.lin.actor, at.keyring, at.case_id, "genuine", at.now + timedelta(days=12))
    repaid(at, file_of(at, ("P-1", 13, "10.00"), later=16), later=16)         # Of both: the plan's first day was the first, now the thirteenth.
    assert (status_of(at, promise_id), row_of(at, proposal_id).status) == (PromiseStatus.KEPT, ProposalStatus.ACCEPTED)
    late = promised(at, 9_000)
    repaid(at, file_of(at, ("P-2", 17, "0.01"), later=24), later=24)
    assert (status_of(at, late), row_of(at, proposal_id).status) == (PromiseStatus.BROKEN, ProposalStatus.BROKEN)


def test_DECL_01_a_suspension_moves_the_day_of_a_promise_by_its_own_days_alone() -> None:
    def day(number: int) -> date:
        return date(2026, 11, number)

    def due(*suspensions: tuple[int, int | None]) -> date | None:
        return due_after(day(10), day(5), [(day(began), None if ended is None else day(ended)) for began, ended in suspensions])

    assert due() == day(10)
    assert due((1, 4)) == day(10)                   # Over before it was made.
    assert due((3, 7)) == day(12)                   # Its days since the promise count.
    assert due((6, 9)) == day(13)
    assert due((6, 9), (12, 14)) == day(15)         # The second begins before the day to which the first moved it.
    assert due((10, 20)) == day(20)
    assert due((11, 20)) == day(10)
    assert due((11, None)) == day(10)               # It was due already.
    assert due((8, None)) is None


def test_a_clerks_file_judges_no_promise_or_plan_of_another_branch(at: Door) -> None:
    promise_id, proposal_id = promised(at, 1_000), proposed(at, plan(at, 1_000))
    actions.offer(at.session, at.made.mo.actor, proposal_id, until(at), at.now)
    actions.accept(at.session, at.made.hana.actor, proposal_id, at.now)
    [branch_id] = at.made.yara.actor.branches
    stranger = add_person(at.session, at.keyring, "olga", Role.DATA_CLERK, branch_id=branch_id, now=at.now)
    assert repaid(at, file_of(at, later=12), later=12, person=stranger).outcome is BatchOutcome.IMPORTED
    assert (status_of(at, promise_id), row_of(at, proposal_id).status) == (PromiseStatus.OPEN, ProposalStatus.ACCEPTED)
    repaid(at, file_of(at, ("P-9", 13, "0.01"), later=13), later=13)
    assert (status_of(at, promise_id), row_of(at, proposal_id).status) == (PromiseStatus.BROKEN, ProposalStatus.BROKEN)


def test_a_new_promise_replaces_the_open_one(at: Door) -> None:
    first = promised(at, 500)
    second = promised(at, 700)
    assert (status_of(at, first), status_of(at, second)) == (PromiseStatus.REPLACED, PromiseStatus.OPEN)


@pytest.mark.parametrize(("paid", "status"), [
    ((("A", 1, "10.00"), ("B", 11, "10.00")), ProposalStatus.KEPT), ((("A", 1, "10.00"), ("B", 12, "10.00")), ProposalStatus.BROKEN),
    ((("A", 1, "20.00"),), ProposalStatus.KEPT), ((("B", 11, "20.00"),), ProposalStatus.BROKEN),
])
def test_CASE_30_an_accepted_plan_is_judged_by_instalment(at: Door, paid: tuple[tuple[str, int, str], ...], status: ProposalStatus) -> None:
    proposal_id = proposed(at, plan(at, 1_000, 1_000))
    actions.offer(at.session, at.made.mo.actor, proposal_id, until(at), at.now)
    actions.accept(at.session, at.made.hana.actor, proposal_id, at.now)
    repaid(at, file_of(at, *paid, later=12), later=12)
    assert row_of(at, proposal_id).status is status


def test_CASH_12_a_posted_repayment_raises_one_notice_that_somebody_tells(at: Door) -> None:
    file = file_of(at, ("P-1", 0, "10.00"))
    repaid(at, file)
    repaid(at, msgspec.structs.replace(file, content=file.content + b"\n"))
    notice = at.session.scalars(select(PaymentNoticeRow)).one()
    with pytest.raises(NotFound):
        promises.tell(at.session, at.made.yara.actor, notice.id, at.now)
    promises.tell(at.session, at.made.hana.actor, notice.id, at.now)
    promises.tell(at.session, at.made.amina.actor, notice.id, at.now + timedelta(hours=1))
    assert (notice.told_by, notice.told_at) == (at.made.hana.id, at.now)
    assert [one.id for one in queries.list_notices(at.session, at.made.lin.actor, limit=5, after=None)] == [notice.id]
    assert queries.list_notices(at.session, at.made.chen.actor, limit=5, after=None) == []


def test_CASH_12_a_paid_case_is_closed_when_the_customer_was_told_of_every_payment(at: Door) -> None:
    case = at.session.get_one(CaseRow, at.case_id)
    repaid(at, file_of(at, ("P-1", 0, "10.00")))
    notice = at.session.scalars(select(PaymentNoticeRow)).one()
    promises.tell(at.session, at.made.hana.actor, notice.id, at.now)
    assert case.status not in (CaseStatus.PAID, CaseStatus.CLOSED), "a part is not the whole"
    owed = f"{case.amount_fen // 100}.{case.amount_fen % 100:02d}"
    repaid(at, file_of(at, ("P-2", 0, "1.00"), ("P-3", 0, owed)))
    assert case.status is CaseStatus.PAID
    last, other = at.session.scalars(select(PaymentNoticeRow.id).where(PaymentNoticeRow.told_at.is_(None))).all()
    promises.tell(at.session, at.made.hana.actor, last, at.now)
    assert case.status is CaseStatus.PAID
    promises.tell(at.session, at.made.hana.actor, other, at.now)
    assert case.status is CaseStatus.CLOSED


def test_a_liaison_sends_the_whole_banks_file_and_a_clerk_their_branches(at: Door) -> None:
    foreign = msgspec.structs.replace(file_of(at, ("P-1", 0, "10.00"), case="OF-ANOTHER-BRANCH"), acceptance=Acceptance.ACCEPT_GOOD)
    assert repaid(at, foreign).outcome is BatchOutcome.REFUSED
    assert repaid(at, file_of(at, ("P-9", 0, "10.00")), person=at.made.lin).accepted_count == 1


def seen_at_the_door(at: Door, amount_fen: int) -> DirectPaymentRow:
    told = claims.WitnessedPayment(
        visit_id=VisitId(at.visit_id), amount_fen=Fen(amount_fen), channel="mobile_bank", paid_at=at.taken_at, witnessed_at=at.taken_at)
    return at.session.get_one(DirectPaymentRow, claims.claim(at.session, at.made.bilal.on_phone, told, at.now))


def test_F10_the_repayment_file_confirms_what_the_pair_saw(at: Door) -> None:
    claimed = seen_at_the_door(at, 1_000)
    repaid(at, file_of(at, ("P-1", 0, "10.00")))
    assert (claimed.status, claimed.reference, claimed.confirmed_fen) == (ClaimStatus.CONFIRMED, "P-1", 1_000)


def test_F10_a_payment_that_the_file_told_of_before_the_phone_did_confirms_it_once(at: Door) -> None:
    repaid(at, file_of(at, ("P-1", 0, "10.00"), ("P-2", 0, "5.00")))
    claimed = seen_at_the_door(at, 1_000)
    assert (claimed.status, claimed.reference, claimed.confirmed_fen) == (ClaimStatus.CONFIRMED, "P-1", 1_000)
    assert seen_at_the_door(at, 700).status is ClaimStatus.CLAIMED, "what came before is another payment unless it is to the fen"


def test_F10_the_repayment_file_contradicts_what_it_ought_to_show_and_only_there(at: Door) -> None:
    claimed = seen_at_the_door(at, 1_000)
    later = at.policy.claim_days_max + 2
    repaid(at, file_of(at, ("P-1", -3, "10.00")))
    assert claimed.status is ClaimStatus.CLAIMED, "the payment is older than what was seen, and the days are not over"
    repaid(at, file_of(at, ("P-2", -3, "10.00"), later=later), later=later)
    assert claimed.status is ClaimStatus.CONTRADICTED
