"""Sixteen connections want the same thing at the same moment: exactly one gets it. PostgreSQL only; SQLite has one writer."""

import random
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import msgspec
import pytest
from psycopg.errors import LockNotAvailable
from sqlalchemy import Engine, func, select
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session, sessionmaker

from backend.audit.tables import AuditEntryRow
from backend.cash import custody, transfers
from backend.cash.model import DepositStatus, HandoverStatus
from backend.cash.movements import Deposit
from backend.cash.proof import prove_books
from backend.cash.tables import AuthorisationRow, CollectionRow, DepositLineRow, HandoverRow, ReceiptRow
from backend.core.ids import VisitId, new_id
from backend.core.problems import Problem
from backend.db.engine import session_factory
from backend.exhibits.model import Accepted, Standing
from backend.plans.tables import StopRow
from backend.visits import reports
from backend.visits.tables import VisitRow
from evidence.capitals import to_capitals
from evidence.facts import Denomination
from tests.support.cash import Door, door
from tests.support.engines import AnyEngine
from tests.support.exhibits import Handset
from tests.support.world import shared_keyring, world

CONNECTIONS = 16


@pytest.fixture(scope="module")
def engine(database: AnyEngine) -> Iterator[Engine]:
    """A database of this module's own, with as many connections as there are runners."""
    if database.kind != "postgresql":
        pytest.skip("SQLite has one writer at a time: nothing races")
    with database.clone() as clone:
        engine = clone.engine(pool_size=CONNECTIONS + 2)
        yield engine
        engine.dispose()


@pytest.fixture(scope="module")
def sessions(engine: Engine) -> sessionmaker[Session]:
    """Return sessions with real commits."""
    return session_factory(engine)


@pytest.fixture(scope="module")
def base(sessions: sessionmaker[Session]) -> Door:
    """Return a committed door."""
    with sessions.begin() as session:
        return door(session, shared_keyring(), world(session, shared_keyring()))


def opened(base: Door, session: Session) -> Door:
    """Return the door as one session sees it; its two phones go on where they were."""
    return replace(base, session=session)


def race(sessions: sessionmaker[Session], acts: list[Callable[[Session], Any]], runners: ThreadPoolExecutor | None = None) -> list[Any]:
    """Let every act begin at the same moment, each in a transaction of its own; a refusal is an answer, a deadlock is a failure."""
    start = threading.Barrier(len(acts))

    def attempt(act: Callable[[Session], Any], *, is_first: bool) -> Any:
        with sessions() as session:
            session.connection()
            if is_first:
                start.wait()
            try:
                done = act(session)
                session.commit()
            except Problem as problem:
                session.rollback()
                return problem
            return done

    def runner(act: Callable[[Session], Any]) -> Any:
        is_first = True
        while True:
            try:
                return attempt(act, is_first=is_first)
            except OperationalError as error:
                # A slow machine: the queue was longer than a lock is waited for. A phone is told 503 and sends again.
                if not isinstance(error.orig, LockNotAvailable):
                    raise
                is_first = False

    if runners is not None:
        return list(runners.map(runner, acts))
    with ThreadPoolExecutor(len(acts)) as pool:
        return list(pool.map(runner, acts))


def collecting(base: Door, statement: Accepted) -> Callable[[Session], Any]:
    """Return the act of booking a statement."""
    return lambda session: opened(base, session).collect(statement)


def last_fen_under_a_cap(sessions: sessionmaker[Session], base: Door) -> None:
    """Each of sixteen receipts would use up the whole cap."""
    with sessions.begin() as session:
        at = opened(base, session)
        jti, numbers = at.authorise(cap_fen=100, max_collections=50), at.lease(CONNECTIONS)
        statements = [at.statement(number, 100, jti) for number in numbers]
    done = race(sessions, [collecting(base, statement) for statement in statements])
    assert [one.exception_number is None for one in done].count(True) == 1
    with sessions() as session:
        assert session.get_one(AuthorisationRow, jti).collected_fen == 100
        sent = [statement.manifest_id for statement in statements]
        booked = session.scalar(select(func.count()).select_from(CollectionRow).where(CollectionRow.manifest_id.in_(sent)))
        assert booked == CONNECTIONS  # None refused, none lost.


def one_receipt_number(sessions: sessionmaker[Session], base: Door) -> None:
    """Sixteen statements claim one printed number."""
    with sessions.begin() as session:
        at = opened(base, session)
        jti, number = at.authorise(cap_fen=10_000, max_collections=50), at.lease(1)[0]
        statements = [at.statement(number, 5, jti) for _ in range(CONNECTIONS)]
    done = race(sessions, [collecting(base, statement) for statement in statements])
    assert [one.receipt_number == number for one in done].count(True) == 1
    with sessions() as session:
        assert session.scalar(select(func.count()).select_from(ReceiptRow).where(ReceiptRow.stated_number == number)) == CONNECTIONS


def one_statement_sixteen_times(sessions: sessionmaker[Session], base: Door) -> None:
    """Both phones send the same receipt again and again."""
    with sessions.begin() as session:
        at = opened(base, session)
        statement = at.statement(at.lease(1)[0], 7, at.authorise())
    done = race(sessions, [collecting(base, statement)] * CONNECTIONS)
    assert len({one.collection_id for one in done}) == 1
    assert done[0].standing in (Standing.ACCEPTED, Standing.BREACH)


def one_deposit_of_the_same_money(sessions: sessionmaker[Session], base: Door) -> None:
    """Sixteen slips claim one receipt."""
    with sessions.begin() as session:
        at = opened(base, session)
        number = at.lease(1)[0]
        done = at.take(number, 11, at.authorise())
        deposits = [at.deposit(11, number) for _ in range(CONNECTIONS)]

    def paying_in(index: int) -> Callable[[Session], Any]:
        return lambda session: custody.report_deposit(session, base.made.bilal.actor, deposits[index], base.policy, base.now)

    answers = race(sessions, [paying_in(index) for index in range(CONNECTIONS)])
    assert [answer.status for answer in answers].count(DepositStatus.POSTED) == 1
    with sessions() as session:
        assert session.scalar(select(func.count()).select_from(DepositLineRow).where(DepositLineRow.collection_id == done.collection_id)) == 1


def money_handed_to_and_fro(sessions: sessionmaker[Session], base: Door) -> None:
    """Hand-overs in both directions lock the same two accounts: none waits for ever, none makes a fen."""
    bilal, dong = base.made.bilal, base.made.dong
    with sessions.begin() as session:
        at = opened(base, session)
        at.take(at.lease(1)[0], 40, at.authorise())
        before = sum(transfers.balance(session, transfers.custody_of(one.id, base.bank.id)) for one in (bilal, dong))
    commands = [at.handover(*pair, 3) for pair in ((bilal, dong), (dong, bilal)) * (CONNECTIONS // 2)]

    def handing(index: int) -> Callable[[Session], Any]:
        giver = bilal if index % 2 == 0 else dong
        return lambda session: custody.hand_over(session, giver.on_phone, commands[index], base.now)

    answers = race(sessions, [handing(index) for index in range(CONNECTIONS)])
    assert not [answer for answer in answers if isinstance(answer, Problem)]
    with sessions() as session:
        assert sum(transfers.balance(session, transfers.custody_of(one.id, base.bank.id)) for one in (bilal, dong)) == before


def chains_in_both_directions(sessions: sessionmaker[Session], base: Door) -> None:
    """Money arrives with two people at once, each with a held hand-over to the other: nobody waits in a ring, and nothing is forgotten."""
    bilal, dong = base.made.bilal, base.made.dong
    with sessions.begin() as session:
        at = opened(base, session)
        doors = (at, replace(at, first=Handset(dong), second=Handset(bilal)))
        statements = []
        for door_of, (giver, taker) in zip(doors, ((bilal, dong), (dong, bilal)), strict=True):
            number, jti = door_of.lease(1, handset=door_of.first)[0], door_of.authorise()
            there = transfers.balance(session, transfers.custody_of(giver.id, base.bank.id))
            command = door_of.handover(giver, taker, there + 30)
            assert custody.hand_over(session, giver.on_phone, command, base.now) is HandoverStatus.HELD
            statements.append((giver, door_of.statement(number, 40, jti), command.handover_id))
    both_hold = threading.Barrier(2, timeout=30)

    def receiving(index: int) -> Callable[[Session], Any]:
        giver, statement, _ = statements[index]

        def act(session: Session) -> Any:
            transfers.lock_custodies(session, (giver.id,), base.bank.id)
            both_hold.wait()
            return opened(base, session).collect(statement)

        return act

    done = race(sessions, [receiving(0), receiving(1)])
    assert len({one.collection_id for one in done}) == 2
    with sessions() as session:
        waiting = custody.waiting_people(session)
    for bank_id, staff_id in waiting:
        with sessions.begin() as session:
            custody.release_waiting(session, bank_id, staff_id, base.now)
    with sessions() as session:
        assert {session.get_one(HandoverRow, one).status for _, _, one in statements} == {HandoverStatus.POSTED}


RACES = (last_fen_under_a_cap, one_receipt_number, one_statement_sixteen_times, one_deposit_of_the_same_money, money_handed_to_and_fro,
         chains_in_both_directions)


@pytest.mark.parametrize("contest", RACES, ids=lambda contest: contest.__name__)
def test_exactly_one_wins(sessions: sessionmaker[Session], base: Door, contest: Callable[[sessionmaker[Session], Door], None]) -> None:
    contest(sessions, base)
    with sessions() as session:
        assert prove_books(session, base.bank.id).differences == ()


class Rounds:
    """Round after round, sixteen connections fight over four things at once: four each over a cap, a number, a deposit, a visit's close."""

    CONTESTANTS = CONNECTIONS // 4
    PER_DATABASE = 50        # Rounds before a fresh database: one pair never holds thousands of receipts.

    def __init__(self, sessions: sessionmaker[Session]) -> None:
        self.sessions = sessions
        with sessions.begin() as session:
            self.base = door(session, shared_keyring(), world(session, shared_keyring()))
            self.numbers = list(self.base.lease(6 * self.PER_DATABASE + 1))
            self.receipt = self.base.statement(self.numbers.pop(), 1, None)
            self.closing = self.base.close_statement()

    def play(self, pool: ThreadPoolExecutor) -> None:
        """Prepare one round, let it happen, and look who won."""
        with self.sessions.begin() as session:
            at = opened(self.base, session)
            jti = at.authorise(cap_fen=100, max_collections=50)
            capped = [at.another(self.receipt, **_said(self.numbers.pop(), 100, jti)) for _ in range(self.CONTESTANTS)]
            number, paid = self.numbers.pop(), self.numbers.pop()
            claimed = [at.another(self.receipt, **_said(number, 5, None)) for _ in range(self.CONTESTANTS)]
            at.collect(at.another(self.receipt, **_said(paid, 11, None)))
            deposits = [at.deposit(11, paid) for _ in range(self.CONTESTANTS)]
            visit_id = self._visit(session)
            closes = [msgspec.structs.replace(at.another(self.closing), visit_id=visit_id) for _ in range(self.CONTESTANTS)]
        acts = [
            *(collecting(self.base, one) for one in (*capped, *claimed)), *(self._paying_in(one) for one in deposits),
            *(self._closing(one) for one in closes),
        ]
        order = random.Random(visit_id.int).sample(range(CONNECTIONS), CONNECTIONS)
        mixed = dict(zip(order, race(self.sessions, [acts[place] for place in order], pool), strict=True))
        of = [[mixed[place] for place in range(first, first + self.CONTESTANTS)] for first in range(0, CONNECTIONS, self.CONTESTANTS)]
        assert not [one for answers in of for one in answers if isinstance(one, Problem)], mixed
        assert [one.exception_number is None for one in of[0]].count(True) == 1
        assert [one.receipt_number == number for one in of[1]].count(True) == 1
        assert [one.status for one in of[2]].count(DepositStatus.POSTED) == 1
        with self.sessions() as session:
            assert session.get_one(AuthorisationRow, jti).collected_fen == 100
            visit = session.get_one(VisitRow, visit_id)
            assert visit.closing_manifest_id in {one.manifest_id for one in closes}
            told = session.scalars(select(AuditEntryRow.seq).where(AuditEntryRow.subject == f"visit:{visit_id}").order_by(AuditEntryRow.seq)).all()
            assert told == list(range(1, self.CONTESTANTS + 1))  # Every close is on the chain, one after the other.

    def _visit(self, session: Session) -> VisitId:
        row = session.get_one(VisitRow, self.base.visit_id)
        columns = {column.key: getattr(row, column.key) for column in VisitRow.__table__.columns}
        stop = session.get_one(StopRow, row.stop_id)
        ids = {"stop": new_id(), "visit": new_id()}
        stop_columns = {column.key: getattr(stop, column.key) for column in StopRow.__table__.columns}
        place = (session.scalar(select(func.max(StopRow.position)).where(StopRow.route_id == stop.route_id)) or 0) + 1
        session.add(StopRow(**(stop_columns | {"id": ids["stop"], "visit_id": ids["visit"], "position": place})))
        session.flush()
        session.add(VisitRow(**(columns | {"id": ids["visit"], "stop_id": ids["stop"], "closed_at": None, "closing_manifest_id": None})))
        session.flush()
        return VisitId(ids["visit"])

    def _paying_in(self, command: Deposit) -> Callable[[Session], Any]:
        return lambda session: custody.report_deposit(session, self.base.made.bilal.actor, command, self.base.policy, self.base.now)

    def _closing(self, accepted: Accepted) -> Callable[[Session], Any]:
        return lambda session: reports.close(session, self.base.made.bilal.on_phone, accepted, self.base.policy, self.base.now)


def _said(number: str, amount_fen: int, jti: str | None) -> dict[str, Any]:
    return {"receipt_number": number, "amount_fen": amount_fen, "amount_capitals": to_capitals(amount_fen), "authorisation_jti": jti,
            "denominations": (Denomination(face_fen=1, count=amount_fen),)}


def run_rounds(database: AnyEngine, rounds: int) -> None:
    """Play so many rounds; the books are proven after each database's share."""
    if database.kind != "postgresql":
        pytest.skip("SQLite has one writer at a time: nothing races")
    with ThreadPoolExecutor(CONNECTIONS) as pool:
        for first in range(0, rounds, Rounds.PER_DATABASE):
            with database.clone() as clone:
                engine = clone.engine(pool_size=CONNECTIONS + 2)
                sessions = session_factory(engine)
                contest = Rounds(sessions)
                for _ in range(min(Rounds.PER_DATABASE, rounds - first)):
                    contest.play(pool)
                with sessions() as session:
                    assert prove_books(session, contest.base.bank.id).differences == ()
                engine.dispose()


def test_four_contests_at_once_have_one_winner_each(database: AnyEngine) -> None:
    run_rounds(database, 1)


@pytest.mark.slow
@pytest.mark.timeout(1_200)
def test_four_contests_at_once_have_one_winner_each_in_five_hundred_rounds(database: AnyEngine) -> None:
    run_rounds(database, 500)


@pytest.mark.soak
def test_four_contests_at_once_have_one_winner_each_in_five_thousand_rounds(database: AnyEngine) -> None:
    run_rounds(database, 5_000)


@pytest.mark.soak
@pytest.mark.parametrize("contest", RACES, ids=lambda contest: contest.__name__)
def test_exactly_one_of_sixteen_wins_five_hundred_times(
    sessions: sessionmaker[Session], base: Door, contest: Callable[[sessionmaker[Session], Door], None]
) -> None:
    for _ in range(500):
        contest(sessions, base)
    with sessions() as session:
        assert prove_books(session, base.bank.id).differences == ()
