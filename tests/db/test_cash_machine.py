"""Random histories of money: offline order, replays, crashes, hand-overs, voids, deposits, statements, reversals. The books stay equal to the fen."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule, run_state_machine_as_test
from sqlalchemy import func, select, text
from sqlalchemy.orm import Session

from backend.cash import actions, books, corrections, custody, reconciliation
from backend.cash.model import Collected, DepositStatus, HandoverStatus, NumberStatus, TransferKind, VarianceKind
from backend.cash.movements import Shortfall
from backend.cash.proof import prove_books
from backend.cash.tables import (
    AccountRow,
    AuthorisationRow,
    CashExceptionRow,
    CollectionRow,
    DepositLineRow,
    DepositRow,
    ReceiptNumberRow,
    ReceiptRow,
    StatementLineRow,
    TransferRow,
    VarianceRow,
)
from backend.core.fen import Fen
from backend.core.ids import TransferId
from backend.core.problems import Problem
from backend.exhibits.model import Accepted
from backend.keys.keyring import Keyring
from tests.support.cash import Door, door
from tests.support.exhibits import Handset
from tests.support.world import ACCOUNT_NUMBER, Person, World, world

CAP_FEN = 2_000
AMOUNTS = st.integers(1, 900)
PICK = st.integers(0, 10_000)


class Histories(RuleBasedStateMachine):
    """One pair, one case, one authorisation, one book; anything may happen in any order."""

    session: Session
    base: Door

    @initialize()
    def begin(self) -> None:
        """Start from the same door every time."""
        self.point = self.session.begin_nested()
        base = self.base
        self.at = Door(
            session=base.session, keyring=base.keyring, made=base.made, case_id=base.case_id, visit_id=base.visit_id, bank=base.bank,
            first=Handset(base.made.bilal), second=Handset(base.made.dong))
        self.jti = self.at.authorise(cap_fen=CAP_FEN, max_collections=6)
        self.numbers = list(self.at.lease(8))
        self.used: list[str] = []
        self.offline: list[Accepted] = []
        self.booked: dict[str, Collected] = {}
        self.reversed: set[str] = set()
        self.told: list[Any] = []
        self.slips = 0

    def teardown(self) -> None:
        """Forget the history; what is checked at a commit is checked before."""
        if self.session.get_bind().dialect.name == "postgresql":
            self.session.execute(text("SET CONSTRAINTS ALL IMMEDIATE"))
            self.session.execute(text("SET CONSTRAINTS ALL DEFERRED"))
        else:
            assert self.session.execute(text("PRAGMA foreign_key_check")).fetchall() == []
        self.session.expire_all()
        self.point.rollback()

    @property
    def people(self) -> tuple[Person, ...]:
        """Everybody who may hold money."""
        return (self.at.made.bilal, self.at.made.dong, self.at.made.kai)

    def attempt(self, act: Callable[[], Any]) -> Any:
        """Do something that may be refused; a refusal leaves nothing behind."""
        point = self.session.begin_nested()
        try:
            done = act()
        except Problem:
            point.rollback()
            self.session.expire_all()
            return None
        point.commit()
        return done

    @rule(amount=AMOUNTS, kind=st.sampled_from(["good", "good", "good", "unauthorised", "foreign number", "used number"]))
    def take_offline(self, amount: int, kind: str) -> None:
        """Take money at the door and sign; nobody hears of it yet."""
        number = "FOREIGN-1" if kind == "foreign number" else self.used[0] if kind == "used number" and self.used else None
        if number is None:
            if not self.numbers:
                return
            number = self.numbers.pop(0)
            self.used.append(number)
        self.offline.append(self.at.statement(number, amount, None if kind == "unauthorised" else self.jti))

    @precondition(lambda self: self.offline)
    @rule(pick=PICK, replays=st.integers(0, 2))
    def arrive(self, pick: int, replays: int) -> None:
        """Deliver one of the waiting statements, in any order, and perhaps again."""
        statement = self.offline.pop(pick % len(self.offline))
        done = self.at.collect(statement)
        for _ in range(replays):
            assert self.at.collect(statement) == done
        self.booked[statement.digest] = done

    @precondition(lambda self: self.offline)
    @rule(pick=PICK)
    def crash_while_booking(self, pick: int) -> None:
        """Lose the transaction after everything was written and before it was committed."""
        point = self.session.begin_nested()
        self.at.collect(self.offline[pick % len(self.offline)])
        point.rollback()
        self.session.expire_all()

    @rule(giver=st.integers(0, 2), taker=st.integers(0, 2), amount=AMOUNTS, signs=st.booleans())
    def hand_over(self, giver: int, taker: int, amount: int, signs: bool) -> None:
        """Pass money on; a cashier takes at the desk."""
        gives, takes = self.people[giver], self.people[taker]
        if gives is takes or gives.phone is None:
            return
        command = self.at.handover(gives, takes, amount, signs=signs and takes.phone is not None)
        status = custody.hand_over(self.session, gives.on_phone, command, self.at.now)
        if status is HandoverStatus.OFFERED and takes.phone is None:
            custody.accept_handover(self.session, takes.actor, command.handover_id, self.at.now)
        elif status is not HandoverStatus.OFFERED:
            assert custody.hand_over(self.session, gives.on_phone, command, self.at.now) in (status, HandoverStatus.POSTED)

    @precondition(lambda self: self.used)
    @rule(
        who=st.integers(0, 2), picks=st.lists(PICK, min_size=1, max_size=3), delta=st.sampled_from([0, 0, 0, 0, -1, 1]),
        false_fen=st.sampled_from([0, 0, 50]), account=st.sampled_from(["right", "right", "right", "wrong"]),
    )
    def pay_in(self, who: int, picks: list[int], delta: int, false_fen: int, account: str) -> None:
        """Report a deposit of some receipts, right or wrong, and report it again."""
        numbers = tuple(sorted({self.used[pick % len(self.used)] for pick in picks}))
        taken = self.session.scalar(select(func.coalesce(func.sum(ReceiptRow.amount_fen), 0)).where(ReceiptRow.number.in_(numbers))) or 0
        short = false_fen if taken > false_fen else 0
        shortfalls = (Shortfall(kind=VarianceKind.COUNTERFEIT, amount_fen=Fen(short), certificate="CERT"),) if short else ()
        self.slips += 1
        changes: dict[str, Any] = {"shortfalls": shortfalls, "slip_reference": f"S{self.slips}"}
        if account == "wrong":
            changes["account_digest"] = "e" * 64
        command = self.at.deposit(max(0, int(taken) - short + delta), *numbers, **changes)
        done = custody.report_deposit(self.session, self.people[who].actor, command, self.at.policy, self.at.now)
        assert custody.report_deposit(self.session, self.people[who].actor, command, self.at.policy, self.at.now) == done

    @rule(pick=PICK)
    def make_void(self, pick: int) -> None:
        """Void any number that ever was, with both signatures."""
        everything = [*self.numbers, *self.used]
        number = everything[pick % len(everything)]
        status = actions.void_receipt(self.session, self.at.made.bilal.on_phone, self.at.void_statement(number), self.at.policy, self.at.now)
        if status is NumberStatus.VOID and number in self.numbers:
            self.numbers.remove(number)
            self.used.append(number)

    @rule(step=st.sampled_from(["suspend", "sign in"]))
    def lose_or_return(self, step: str) -> None:
        """Lose the phone or give the book back."""
        if step == "suspend":
            books.suspend_device(self.session, self.at.made.kai.actor, self.at.first.kid, self.at.now)
            return
        book_id = self.session.scalars(select(ReceiptNumberRow.book_id).where(ReceiptNumberRow.device == self.at.first.kid)).first()
        assert book_id is not None
        books.sign_in(self.session, self.at.made.kai.actor, book_id, self.at.now)

    @rule(pick=PICK, delta=st.sampled_from([0, 0, -1, 1]))
    def hear_from_the_bank(self, pick: int, delta: int) -> None:
        """Import a statement that confirms a slip, more or less, or names one that nobody knows; twice."""
        posted = self.session.execute(
            select(DepositRow.slip_reference, DepositRow.amount_fen).where(DepositRow.status == DepositStatus.POSTED).order_by(DepositRow.id)).all()
        reference, amount = posted[pick % len(posted)] if posted else ("UNKNOWN", 100)
        amount = max(1, amount + delta)
        content = f"account,booked_on,reference,amount\n{ACCOUNT_NUMBER},2026-11-27,{reference},{amount // 100}.{amount % 100:02d}\n".encode()
        first = reconciliation.import_statement(self.session, self.at.made.kai.actor, self.at.bank.id, content, self.at.now)
        again = reconciliation.import_statement(self.session, self.at.made.kai.actor, self.at.bank.id, content, self.at.now)
        assert (again.statement_id, again.is_first) == (first.statement_id, False)

    @rule(pick=PICK, is_approved=st.booleans())
    def correct(self, pick: int, is_approved: bool) -> None:
        """Propose to reverse any transfer; somebody else decides."""
        transfers = self.session.scalars(select(TransferRow).order_by(TransferRow.id)).all()
        if not transfers:
            return
        original = transfers[pick % len(transfers)]
        proposal = corrections.Proposal(transfer_id=TransferId(original.id), reason="an honest mistake")
        proposed = self.attempt(lambda: corrections.propose(self.session, self.at.made.kai.actor, proposal, self.at.now))
        if proposed is not None:
            self.attempt(lambda: corrections.decide(self.session, self.at.made.amina.actor, proposed, self.at.now, is_approved=is_approved))

    @rule(pick=PICK, is_made_good=st.booleans())
    def resolve(self, pick: int, is_made_good: bool) -> None:
        """Close a variance, made good or not, and an exception by both sides."""
        open_ones = self.session.scalars(select(VarianceRow.id).where(VarianceRow.resolved_at.is_(None)).order_by(VarianceRow.id)).all()
        if open_ones:
            self.slips += 1
            command = reconciliation.Resolution(
                variance_id=open_ones[pick % len(open_ones)], code="looked-into", slip_reference=f"S{self.slips}" if is_made_good else None,
                account_digest=self.at.bank.account_digest)
            self.attempt(lambda: reconciliation.resolve_variance(self.session, self.at.made.petra.actor, command, self.at.policy, self.at.now))
        for number in self.session.scalars(select(CashExceptionRow.number)).all():
            actions.resolve_exception(self.session, self.at.made.amina.actor, number, self.at.now)

    @invariant()
    def the_books_are_equal(self) -> None:
        """Receipts = custody + in transit + designated + suspense, per bank, case and account, to the fen."""
        proof = prove_books(self.session, self.at.bank.id)
        assert proof.differences == ()
        undone = self.session.scalar(select(func.coalesce(func.sum(TransferRow.amount_fen), 0)).where(
            TransferRow.kind == TransferKind.REVERSAL, TransferRow.collection_id.is_not(None))) or 0
        assert proof.receipted_fen == sum(done.amount_fen for done in self.booked.values()) - int(undone)

    @invariant()
    def nothing_is_lost_or_doubled(self) -> None:
        """One collection, receipt and transfer per statement that arrived; each collection in at most one live deposit."""
        counts = [self.session.scalar(select(func.count()).select_from(row)) for row in (CollectionRow, ReceiptRow)]
        moved = self.session.scalar(select(func.count()).select_from(TransferRow).where(TransferRow.kind == TransferKind.COLLECTION))
        assert [*counts, moved] == [len(self.booked)] * 3
        live = self.session.scalars(select(DepositLineRow.collection_id).where(DepositLineRow.reversed_at.is_(None))).all()
        assert len(live) == len(set(live))
        matched = self.session.scalars(select(StatementLineRow.deposit_id).where(StatementLineRow.deposit_id.is_not(None))).all()
        assert len(matched) == len(set(matched))

    @invariant()
    def authority_and_custody_hold(self) -> None:
        """The authorisation counts exactly what was taken under it, and nobody holds less than nothing."""
        row = self.session.get_one(AuthorisationRow, self.jti, populate_existing=True)
        under = self.session.execute(
            select(func.coalesce(func.sum(CollectionRow.amount_fen), 0), func.count()).where(CollectionRow.authorisation_jti == self.jti)).one()
        assert (row.collected_fen, row.collected_count) == tuple(under)
        assert row.collected_fen <= CAP_FEN
        assert self.session.scalar(select(func.count()).select_from(AccountRow).where(AccountRow.kind != "debtor", AccountRow.balance_fen < 0)) == 0

    @invariant()
    def every_number_is_accounted_for(self) -> None:
        """A number is issued exactly when a receipt stands under it that nobody has undone."""
        issued = set(self.session.scalars(select(ReceiptNumberRow.number).where(ReceiptNumberRow.status == NumberStatus.ISSUED)))
        undone = select(TransferRow.reverses_id).where(TransferRow.reverses_id.is_not(None))
        standing = set(self.session.scalars(
            select(ReceiptRow.leased_number).join(CollectionRow, CollectionRow.id == ReceiptRow.collection_id)
            .where(ReceiptRow.leased_number.is_not(None), CollectionRow.transfer_id.not_in(undone))))
        assert issued == standing


def run(session: Session, base: Door, *, examples: int, steps: int) -> None:
    """Run random histories; the seed is printed by Hypothesis when one fails."""
    machine = type("Machine", (Histories,), {"session": session, "base": base})
    run_state_machine_as_test(machine, settings=settings(
        max_examples=examples, stateful_step_count=steps, deadline=None, suppress_health_check=list(HealthCheck), database=None, print_blob=True))


@pytest.fixture
def base(session: Session, keyring: Keyring) -> Door:
    """Return the door from which every history begins."""
    made: World = world(session, keyring)
    return door(session, keyring, made)


def test_random_histories_keep_the_books(session: Session, base: Door) -> None:
    run(session, base, examples=6, steps=20)


@pytest.mark.soak
def test_many_long_histories_keep_the_books(session: Session, base: Door) -> None:
    run(session, base, examples=100, steps=50)


