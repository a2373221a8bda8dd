"""Random histories of money: offline order, replays, crashes, hand-overs, voids, deposits, statements, reversals. The books stay equal to the fen."""

from collections.abc import Callable
from copy import copy
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule, run_state_machine_as_test
from sqlalchemy import TextClause, func, select, text
from sqlalchemy.orm import Session

from backend.cases import actions as case_actions
from backend.cases.model import Stop
from backend.cases.tables import CaseRow
from backend.cash import actions, authorisations, books, corrections, custody, reconciliation, variances
from backend.cash.model import Collected, DepositStatus, HandoverStatus, NumberStatus, VarianceKind
from backend.cash.movements import Shortfall
from backend.cash.proof import prove_books
from backend.cash.tables import CashExceptionRow, DepositRow, ReceiptNumberRow, ReceiptRow, TransferRow, VarianceRow
from backend.core.fen import Fen
from backend.core.ids import TransferId
from backend.core.problems import Problem
from backend.exhibits.model import Accepted
from backend.keys.keyring import Keyring
from evidence.capitals import to_capitals
from evidence.facts import Denomination
from tests.support.cash import PREVIOUS_NONE, Door, door
from tests.support.world import Person, World, world

CAP_FEN = 2_000
AMOUNTS = st.integers(1, 900)
PICK = st.integers(0, 10_000)
PROOF_EVERY = 10
AUTHORISATIONS_MAX = 4


class Histories(RuleBasedStateMachine):
    """One pair, one case, one authorisation, one book; anything may happen in any order."""

    session: Session
    base: Door
    receipt: Accepted
    void: Accepted

    @initialize()
    def begin(self) -> None:
        """Start from the same door every time."""
        self.point = self.session.begin_nested()
        base = self.base
        self.at = Door(
            session=base.session, keyring=base.keyring, made=base.made, case_id=base.case_id, visit_id=base.visit_id, bank=base.bank,
            first=copy(base.first), second=copy(base.second))  # Where their chains stood; one that begins anew is a fork, and suspends the phone.
        self.jtis = [self.at.authorise(cap_fen=CAP_FEN, max_collections=6)]
        self.numbers = list(self.at.lease(8))
        self.used: list[str] = []
        self.offline: list[Accepted] = []
        self.booked: dict[str, Collected] = {}
        self.reversed: set[str] = set()
        self.told: list[Any] = []
        self.slips = self.steps = 0

    def teardown(self) -> None:
        """Forget the history; what is checked at a commit is checked before."""
        self.prove()
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

    @precondition(lambda self: len(self.jtis) < AUTHORISATIONS_MAX)
    @rule(cap=st.integers(1, CAP_FEN), count=st.integers(1, 4))
    def ask_the_bank(self, cap: int, count: int) -> None:
        """Get another word of the bank, and another book."""
        if self.at.session.get_one(CaseRow, self.at.case_id).hold_at is None:
            self.jtis.append(self.at.authorise(cap_fen=cap, max_collections=count))
        self.numbers += self.at.lease(3)

    @rule(pick=PICK)
    def take_the_word_back(self, pick: int) -> None:
        """Revoke one of the bank's words, perhaps again; receipts under it may still be on their way."""
        authorisations.revoke(self.session, self.at.made.mo.actor, self.jtis[pick % len(self.jtis)], self.at.now)

    @rule(is_held=st.booleans())
    def hold_the_case(self, is_held: bool) -> None:
        """Stop the case while receipts are on their way, or let it go on."""
        if is_held:
            case_actions.hold(self.session, self.at.made.amina.actor, self.at.case_id, self.at.now - timedelta(hours=1))
        else:
            self.attempt(lambda: case_actions.lift(self.session, self.at.made.amina.actor, self.at.case_id, Stop.HOLD, self.at.now))

    @rule(amount=AMOUNTS, pick=PICK, kind=st.sampled_from(["good", "good", "good", "unauthorised", "foreign number", "used number"]))
    def take_offline(self, amount: int, pick: int, kind: str) -> None:
        """Take money at the door and sign; nobody hears of it yet."""
        number = "FOREIGN-1" if kind == "foreign number" else self.used[0] if kind == "used number" and self.used else None
        if number is None:
            if not self.numbers:
                return
            number = self.numbers.pop(0)
            self.used.append(number)
        self.offline.append(self.signed(number, amount, None if kind == "unauthorised" else self.jtis[pick % len(self.jtis)]))

    def signed(self, number: str, amount: int, jti: str | None) -> Accepted:
        """Return a receipt that both signed: the first of a history goes through the whole intake, which took half the time of all the others."""
        if self.at.previous == PREVIOUS_NONE:
            return self.at.statement(number, amount, jti)
        statement = self.at.another(
            self.receipt, receipt_number=number, amount_fen=amount, amount_capitals=to_capitals(amount), authorisation_jti=jti,
            previous_receipt=self.at.previous, denominations=(Denomination(face_fen=1, count=amount),))
        self.at.previous = statement.digest
        return statement

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
        numbers = tuple(dict.fromkeys(self.used[pick % len(self.used)] for pick in picks))  # A book's letters are drawn: no order to sort by.
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
        stated = self.at.another(self.void, receipt_number=number)
        status = actions.void_receipt(self.session, self.at.made.bilal.on_phone, stated, self.at.policy, self.at.now)
        if status is NumberStatus.VOID and number in self.numbers:
            self.numbers.remove(number)
            self.used.append(number)

    @rule(step=st.sampled_from(["suspend", "sign in"]))
    def lose_or_return(self, step: str) -> None:
        """Lose the phone or give the book back."""
        if step == "suspend":
            books.suspend_device(self.session, self.at.made.kai.actor, self.at.first.kid, self.at.now)
            return
        query = select(ReceiptNumberRow.book_id).where(ReceiptNumberRow.device == self.at.first.kid).order_by(ReceiptNumberRow.book_id)
        book_id = self.session.scalars(query.limit(1)).first()
        assert book_id is not None
        books.sign_in(self.session, self.at.made.kai.actor, book_id, self.at.now)

    @rule(pick=PICK, delta=st.sampled_from([0, 0, -1, 1]))
    def hear_from_the_bank(self, pick: int, delta: int) -> None:
        """Import a statement that confirms a slip, more or less, or names one that nobody knows; twice."""
        posted = self.session.execute(
            select(DepositRow.slip_reference, DepositRow.amount_fen).where(DepositRow.status == DepositStatus.POSTED).order_by(DepositRow.id)).all()
        reference, amount = posted[pick % len(posted)] if posted else ("UNKNOWN", 100)
        amount = max(1, amount + delta)
        file = self.at.statement_file((reference, f"{amount // 100}.{amount % 100:02d}"))
        first = reconciliation.import_statement(self.session, self.at.made.kai.actor, file, self.at.policy, self.at.now)
        again = reconciliation.import_statement(self.session, self.at.made.kai.actor, file, self.at.policy, self.at.now)
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
            command = variances.Resolution(
                variance_id=open_ones[pick % len(open_ones)], code="looked-into", slip_reference=f"S{self.slips}" if is_made_good else None,
                account_digest=self.at.bank.account_digest)
            self.attempt(lambda: variances.resolve_variance(self.session, self.at.made.petra.actor, command, self.at.policy, self.at.now))
        for number in self.session.scalars(select(CashExceptionRow.number).order_by(CashExceptionRow.number)).all():
            actions.resolve_exception(self.session, self.at.made.amina.actor, number, self.at.now)

    @invariant()
    def the_books_are_equal(self) -> None:
        """Receipts = custody + in transit + designated + suspense, per bank and per case, to the fen; every balance is its postings' sum."""
        found = self.ask(_BOOKS)
        assert found.receipted_fen == sum(done.amount_fen for done in self.booked.values()) - found.undone_fen
        assert found.receipted_fen == found.held_fen == found.debtors_fen
        assert found.unequal_count == 0, "a balance differs from its postings"
        self.steps += 1
        if self.steps % PROOF_EVERY == 0:
            self.prove()

    @invariant()
    def nothing_is_lost_or_doubled(self) -> None:
        """One collection, receipt and transfer per statement that arrived; each collection in at most one live deposit."""
        found = self.ask(_COUNTS)
        assert (found.collections, found.receipts, found.moved) == (len(self.booked),) * 3
        assert found.live == found.live_distinct
        assert found.matched == found.matched_distinct

    @invariant()
    def authority_and_custody_hold(self) -> None:
        """Each authorisation counts exactly what was taken under it, within its cap, and nobody holds less than nothing."""
        found = self.ask(_AUTHORITY)
        assert (found.miscounted, found.above, found.below_nothing) == (0, 0, 0)

    @invariant()
    def every_number_is_accounted_for(self) -> None:
        """A number is issued exactly when a receipt stands under it that nobody has undone."""
        found = self.ask(_NUMBERS)
        assert (found.issued_alone, found.standing_alone) == (0, 0)

    def ask(self, question: TextClause) -> Any:
        """Return the one row of a question to the database as it stands."""
        self.session.flush()
        return self.session.connection().execute(question).one()

    def prove(self) -> None:
        """Let the report say the same as the invariants."""
        proof = prove_books(self.session, self.at.bank.id)
        assert proof.differences == ()
        assert proof.receipted_fen == proof.custody_fen + proof.in_transit_fen + proof.designated_fen + proof.suspense_fen


# Plain SQL, one question an invariant: what fifty steps of a hundred histories ask must cost little.
_STANDING = "collections AS c WHERE NOT EXISTS (SELECT 1 FROM transfers AS undone WHERE undone.reverses_id = c.transfer_id)"
_BOOKS = text(f"""
    SELECT (SELECT CAST(coalesce(sum(c.amount_fen), 0) AS bigint) FROM {_STANDING}) AS receipted_fen,
        (SELECT CAST(coalesce(sum(amount_fen), 0) AS bigint) FROM transfers WHERE kind = 'reversal' AND collection_id IS NOT NULL) AS undone_fen,
        (SELECT CAST(coalesce(sum(balance_fen), 0) AS bigint) FROM accounts WHERE kind <> 'debtor') AS held_fen,
        (SELECT CAST(coalesce(-sum(balance_fen), 0) AS bigint) FROM accounts WHERE kind = 'debtor') AS debtors_fen,
        (SELECT count(*) FROM accounts AS a WHERE (a.balance_fen, a.posting_count) <> (
            SELECT coalesce(sum(p.amount_fen), 0), count(*) FROM postings AS p WHERE p.account_id = a.id)) AS unequal_count
""")
_COUNTS = text("""
    SELECT (SELECT count(*) FROM collections) AS collections, (SELECT count(*) FROM receipts) AS receipts,
        (SELECT count(*) FROM transfers WHERE kind = 'collection') AS moved,
        (SELECT count(*) FROM deposit_lines WHERE reversed_at IS NULL) AS live,
        (SELECT count(DISTINCT collection_id) FROM deposit_lines WHERE reversed_at IS NULL) AS live_distinct,
        (SELECT count(deposit_id) FROM statement_lines) AS matched, (SELECT count(DISTINCT deposit_id) FROM statement_lines) AS matched_distinct
""")
_AUTHORITY = text("""
    SELECT (SELECT count(*) FROM authorisations AS a WHERE (a.collected_fen, a.collected_count) <> (
            SELECT coalesce(sum(c.amount_fen), 0), count(*) FROM collections AS c WHERE c.authorisation_jti = a.jti)) AS miscounted,
        (SELECT count(*) FROM authorisations WHERE collected_fen > cap_fen OR collected_count > max_collections) AS above,
        (SELECT count(*) FROM accounts WHERE kind <> 'debtor' AND balance_fen < 0) AS below_nothing
""")
_NUMBERS = text(f"""
    SELECT (SELECT count(*) FROM receipt_numbers AS n WHERE n.status = 'issued' AND n.number NOT IN (
            SELECT r.leased_number FROM receipts AS r WHERE r.leased_number IS NOT NULL AND r.collection_id IN (SELECT c.id FROM {_STANDING})
        )) AS issued_alone,
        (SELECT count(*) FROM receipts AS r JOIN receipt_numbers AS n ON n.number = r.leased_number WHERE n.status <> 'issued'
            AND r.collection_id IN (SELECT c.id FROM {_STANDING})) AS standing_alone
""")


def run(session: Session, base: Door, *, examples: int, steps: int) -> None:
    """Run random histories; the seed is printed by Hypothesis when one fails."""
    signed = {"receipt": base.statement("SAMPLE-1", 100, None), "void": base.void_statement("SAMPLE-2")}  # Evidence alone: nothing is booked.
    machine = type("Machine", (Histories,), {"session": session, "base": base} | signed)
    run_state_machine_as_test(machine, settings=settings(
        max_examples=examples, stateful_step_count=steps, deadline=None, suppress_health_check=list(HealthCheck), database=None, print_blob=True))


@pytest.fixture
def base(session: Session, keyring: Keyring) -> Door:
    """Return the door from which every history begins."""
    made: World = world(session, keyring)
    return door(session, keyring, made)


def test_random_histories_keep_the_books(session: Session, base: Door) -> None:
    run(session, base, examples=3, steps=20)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_hundred_histories_of_fifty_steps_keep_the_books(session: Session, base: Door) -> None:
    run(session, base, examples=100, steps=50)


@pytest.mark.soak
def test_two_thousand_histories_keep_the_books(session: Session, base: Door) -> None:
    run(session, base, examples=2_000, steps=50)
