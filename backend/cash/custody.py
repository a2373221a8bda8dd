"""Custody: who holds the money between the door and the bank. Hand-overs signed by both, deposits whole and gross (CASH-06 … CASH-09).

What is reported before the money it spends has arrived here is held, and booked as soon as that money is there.
"""

import hashlib
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import partial
from typing import Any, Final
from uuid import UUID

import msgspec
from sqlalchemy import func, select
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from backend.audit import breaches as kept
from backend.audit.events import EventTag
from backend.audit.record import record
from backend.auth.actors import Actor
from backend.auth.authorise import authorise
from backend.auth.permissions import Permission
from backend.banks.tables import BankOfficeRow, BankRow
from backend.cash import transfers, variances
from backend.cash.custody_facts import collections_named, deposit_facts, standing_of_deposit, time_breaches
from backend.cash.handover_signatures import demand_signed
from backend.cash.model import (
    DepositEvent,
    DepositStatus,
    HandoverEvent,
    HandoverStatus,
    TransferKind,
    VarianceKind,
    advance_deposit,
    advance_handover,
)
from backend.cash.movements import Deposit, Deposited, Handover, Shortfall
from backend.cash.rules import LATE_ONLY, is_unbookable, judge_deposit
from backend.cash.tables import (
    CollectionRow,
    DepositLineRow,
    DepositRow,
    HandoverRow,
    VarianceRow,
)
from backend.core.fen import Fen
from backend.core.ids import BankId, DepositId, StaffId, new_id
from backend.core.problems import IdempotencyConflict, NotFound
from backend.core.rulebook import demand
from backend.exhibits.model import Standing
from backend.policies.model import Policy
from backend.policies.queries import policy_in_force
from backend.staff.tables import StaffRow
from evidence.canonical import canonicalise

LOCK_PATIENCE: Final = "20ms"
LOCK_NOT_AVAILABLE: Final = "55P03"


def hand_over(session: Session, actor: Actor, command: Handover, now: datetime) -> HandoverStatus:
    """Record that money went from one employee to another; it moves once both have signed and the giver's custody holds it.

    Either side's phone may report it, and report it again with the other's signature. A claimed time that cannot be true, or on
    which a signature's worth depends, is kept as a breach beside it and moves the money all the same.

    Raises:
        NotFound: the actor is neither of the two, one of them is no employee of the agency, or there is no such bank.
        SignatureInvalid: a token does not hold these words under that person's phone key.
        IdempotencyConflict: the id stands for another hand-over.
    """
    authorise(actor, Permission.CASH_COLLECT)
    if actor.id not in (command.giver_id, command.taker_id) or len(_employees(session, command)) != 2:
        raise NotFound
    _demand_bank(session, command.bank_id)
    demand_signed(session, command, (command.giver_token, command.giver_id))
    if command.taker_token is not None:
        demand_signed(session, command, (command.taker_token, command.taker_id))
    transfers.lock_custodies(session, (command.giver_id, command.taker_id), command.bank_id)
    row = session.scalar(select(HandoverRow).where(HandoverRow.id == command.handover_id).with_for_update())
    before = row.status if row is not None else None
    if row is None:
        row = HandoverRow(
            id=command.handover_id, bank_id=command.bank_id, giver_id=command.giver_id, taker_id=command.taker_id, amount_fen=command.amount_fen,
            handed_at=command.handed_at, giver_token=command.giver_token, taker_token=None, taken_at=None, status=HandoverStatus.OFFERED,
            recorded_at=now,
        )
        session.add(row)
        session.flush()
    elif _words_of(row) != (command.bank_id, command.giver_id, command.taker_id, command.amount_fen, command.handed_at):
        raise IdempotencyConflict(id=str(command.handover_id))
    if row.status is HandoverStatus.OFFERED and command.taker_token is not None:
        _take(session, row, command.taker_token, now)
    if row.status is before:
        return row.status  # Told again with nothing new: nothing is judged or audited twice.
    kept.store(session, f"handover:{row.id}", time_breaches(session, command, now), now, policy_in_force(session, None, now).version)
    record(session, actor, EventTag.CASH_HANDED_OVER, f"handover:{row.id}", now, giver=row.giver_id, taker=row.taker_id, amount_fen=row.amount_fen,
           status=row.status.value)
    if row.status is HandoverStatus.HELD:
        release_held(session, actor, frozenset({StaffId(row.giver_id)}), BankId(row.bank_id), now)
    return row.status


def accept_handover(session: Session, actor: Actor, handover_id: UUID, now: datetime, *, is_declined: bool = False) -> HandoverStatus:
    """Confirm or decline at the desk, signed in as the taker; for cashiers, who carry no phone.

    Raises:
        NotFound: not offered to the actor.
        IllegalTransition: it is answered already.
    """
    offered = session.scalar(select(HandoverRow).where(HandoverRow.id == handover_id, HandoverRow.taker_id == actor.id))
    if offered is None:
        raise NotFound
    transfers.lock_custodies(session, (offered.giver_id, offered.taker_id), BankId(offered.bank_id))
    row = session.get_one(HandoverRow, handover_id, with_for_update=True, populate_existing=True)
    if is_declined:
        row.status = advance_handover(row.status, HandoverEvent.DECLINE)
        session.flush()
    else:
        _take(session, row, None, now)
    record(session, actor, EventTag.CASH_HANDED_OVER, f"handover:{row.id}", now, status=row.status.value)
    if row.status is HandoverStatus.HELD:
        release_held(session, actor, frozenset({StaffId(row.giver_id)}), BankId(row.bank_id), now)
    return row.status


def ask_deposit(session: Session, actor: Actor, command: Deposit) -> None:
    """Answer *may we pay in like this*; nothing is stored.

    Raises:
        RulesBreached: CASH-06, CASH-08, CASH-09; lateness alone is no reason.
        NotFound: a receipt that is not in the books yet, or another branch's of which nobody handed the actor any money.
    """
    authorise(actor, Permission.CASH_DEPOSIT)
    named = collections_named(session, command)
    if not named.is_complete or not _are_seen(session, actor, command, [*named.collections, *named.undone]):
        raise NotFound
    breaches = judge_deposit(deposit_facts(session, command, named, command.told_at or command.deposited_at))
    demand(tuple(breach for breach in breaches if breach.code not in LATE_ONLY))


def deposit(session: Session, actor: Actor, command: Deposit, policy: Policy, now: datetime) -> Deposited:
    """Book a deposit at the desk: judged first, refused if it may not be. The same id with the same content is the same deposit.

    Raises:
        RulesBreached: CASH-06, CASH-08, CASH-09.
        FundsMissing: the depositor does not hold that much.
        IdempotencyConflict: the id stands for other content.
    """
    stored = _stored(session, actor, command)
    if stored is not None:
        return stored
    ask_deposit(session, actor, command)
    done = report_deposit(session, actor, command, policy, now)
    if done.status is DepositStatus.HELD:
        raise transfers.FundsMissing(needed_fen=command.amount_fen)
    # Somebody else may have paid the same receipts in between judging and locking.
    demand(tuple(breach for breach in kept.breaches_of(session, f"deposit:{done.deposit_id}") if breach.code not in LATE_ONLY))
    return done


def report_deposit(session: Session, actor: Actor, command: Deposit, policy: Policy, now: datetime) -> Deposited:
    """Book what was paid in, never refusing it: to another account or twice, it moves nothing and stands as a breach.

    Raises:
        NotFound: there is no such bank, or no such counter of it.
        IdempotencyConflict: the id stands for other content.
    """
    authorise(actor, Permission.CASH_DEPOSIT)
    _demand_bank(session, command.bank_id, command.bank_hours_id)
    _lock_money(session, actor, command)
    stored = _stored(session, actor, command)
    if stored is not None:
        return stored
    named = collections_named(session, command)
    collections = named.collections  # Of strangers: it waits, as for receipts that nobody has told of.
    is_complete = named.is_complete and _are_seen(session, actor, command, [*collections, *named.undone])
    facts = deposit_facts(session, command, named, now)
    breaches = judge_deposit(facts) if is_complete else ()
    branch_id = session.scalar(select(StaffRow.branch_id).where(StaffRow.id == actor.id))
    row = DepositRow(
        id=command.deposit_id, digest=_digest(command), bank_id=command.bank_id, branch_id=branch_id, account_digest=command.account_digest,
        bank_hours_id=command.bank_hours_id, channel=command.channel, slip_reference=command.slip_reference, slip_sha256=command.slip_sha256,
        amount_fen=command.amount_fen, content=msgspec.to_builtins(command), depositor_id=actor.id, deposited_at=command.deposited_at,
        recorded_at=now, status=DepositStatus.HELD, standing=standing_of_deposit(breaches, facts), policy_version=policy.version,
    )
    session.add(row)
    session.flush()
    kept.store(session, f"deposit:{row.id}", breaches, now, policy.version)
    if is_unbookable(breaches, facts):
        row.status = advance_deposit(row.status, DepositEvent.SET_ASIDE)
        session.flush()
    elif is_complete:
        _post(session, actor, row, command, collections, now)
    record(session, actor, EventTag.CASH_DEPOSITED, f"deposit:{row.id}", now, policy_version=policy.version, amount_fen=row.amount_fen,
           status=row.status.value, standing=row.standing.value)
    return _view(row)


def release_held(session: Session, actor: Actor, staff_ids: frozenset[StaffId], bank_id: BankId, now: datetime) -> int:
    """Book what waited for money that has now arrived with one of these people, in the order in which it happened; returns how many.

    The custodies of these people are locked. A chain reaches others', in whatever order it runs, and two chains may want each other's:
    so nobody waits for a lock here. What cannot be had at once stays held, and `cash.release-held` comes back for it.
    """
    released, reached = 0, set(staff_ids)
    while True:
        before = released
        for handover in session.scalars(
            select(HandoverRow)
            .where(HandoverRow.status == HandoverStatus.HELD, HandoverRow.giver_id.in_(reached), HandoverRow.bank_id == bank_id)
            .order_by(HandoverRow.handed_at, HandoverRow.id)
            .with_for_update()
        ).all():
            if _at_once(session, partial(_pass_on, session, actor, handover, now)):
                reached.add(StaffId(handover.taker_id))
                released += 1
        for row in session.scalars(
            select(DepositRow)
            .where(DepositRow.status == DepositStatus.HELD, DepositRow.depositor_id.in_(reached), DepositRow.bank_id == bank_id)
            .order_by(DepositRow.deposited_at, DepositRow.id)
            .with_for_update()
        ).all():
            released += _at_once(session, partial(_retry, session, actor, row, now))
        if released == before:
            return released


def waiting_people(session: Session) -> Sequence[tuple[BankId, StaffId]]:
    """Return who, for which bank, has hand-overs or deposits that wait for money."""
    givers = select(HandoverRow.bank_id, HandoverRow.giver_id.label("staff_id")).where(HandoverRow.status == HandoverStatus.HELD)
    depositors = select(DepositRow.bank_id, DepositRow.depositor_id).where(DepositRow.status == DepositStatus.HELD)
    rows = session.execute(givers.union(depositors).order_by("bank_id", "staff_id"))
    return [(BankId(bank_id), StaffId(staff_id)) for bank_id, staff_id in rows]


def release_waiting(session: Session, bank_id: BankId, staff_id: StaffId, now: datetime) -> int:
    """Book what one person's held hand-overs and deposits can have by now; a periodic task of no one in particular. Returns how many."""
    transfers.lock_custodies(session, (staff_id,), bank_id)
    return release_held(session, Actor(id=staff_id, roles=frozenset()), frozenset({staff_id}), bank_id, now)


def _at_once(session: Session, act: Callable[[], int]) -> int:
    """Do it if every lock can be had without waiting, else leave everything as it was and return 0."""
    if session.get_bind().dialect.name != "postgresql":
        return act()  # One writer at a time.
    usual = session.scalar(select(func.current_setting("lock_timeout")))
    point = session.begin_nested()
    session.execute(select(func.set_config("lock_timeout", LOCK_PATIENCE, True)))  # noqa: FBT003 - local to the transaction.
    try:
        done = act()
    except OperationalError as error:
        if getattr(error.orig, "sqlstate", None) != LOCK_NOT_AVAILABLE:
            raise
        point.rollback()
        return 0
    session.execute(select(func.set_config("lock_timeout", usual, True)))  # noqa: FBT003
    point.commit()
    return done


def _words_of(row: HandoverRow) -> tuple[UUID, UUID, UUID, int, datetime]:
    """Return what both sign; a token over another moment would not be about this row."""
    return row.bank_id, row.giver_id, row.taker_id, row.amount_fen, row.handed_at


def _take(session: Session, row: HandoverRow, token: str | None, now: datetime) -> None:
    row.status, row.taker_token, row.taken_at = advance_handover(row.status, HandoverEvent.TAKE), token, now
    session.flush()


def _pass_on(session: Session, actor: Actor, row: HandoverRow, now: datetime) -> int:
    bank_id = BankId(row.bank_id)
    giver, taker = transfers.custody_of(row.giver_id, bank_id), transfers.custody_of(row.taker_id, bank_id)
    transfers.open_accounts(session, (giver, taker))
    if transfers.balance(session, giver) < row.amount_fen:
        return 0
    row.transfer_id = transfers.move(session, actor, TransferKind.HANDOVER, taker, giver, Fen(row.amount_fen), now)
    row.status = advance_handover(row.status, HandoverEvent.POST)
    session.flush()
    return 1


def _retry(session: Session, actor: Actor, row: DepositRow, now: datetime) -> int:
    command = msgspec.convert(row.content, Deposit, strict=False)
    named = collections_named(session, command)
    if not named.is_complete:
        return 0
    collections = named.collections
    transfers.open_accounts(session, tuple(transfers.debtor_of(one.case_id, BankId(one.bank_id)) for one in collections))
    facts = deposit_facts(session, command, named, row.recorded_at)
    breaches = judge_deposit(facts)
    if is_unbookable(breaches, facts):
        row.status, row.standing = advance_deposit(row.status, DepositEvent.SET_ASIDE), Standing.BREACH
        kept.store(session, f"deposit:{row.id}", breaches, now, row.policy_version)
        return 1
    _post(session, actor, row, command, collections, now)
    if row.status is DepositStatus.HELD:
        return 0
    if breaches and row.standing in (Standing.ACCEPTED, Standing.DOUBTFUL):
        row.standing = Standing.BREACH
        kept.store(session, f"deposit:{row.id}", breaches, now, row.policy_version)
        session.flush()
    return 1


def _post(session: Session, actor: Actor, row: DepositRow, command: Deposit, collections: list[CollectionRow], now: datetime) -> None:
    bank_id, taken_fen = BankId(row.bank_id), sum(one.amount_fen for one in collections)
    short_fen = sum(one.amount_fen for one in command.shortfalls)
    custody = transfers.custody_of(row.depositor_id, bank_id)
    if transfers.balance(session, custody) < taken_fen:  # Also of a net deposit: the rest is kept back by whoever holds it, and by nobody else.
        return
    transfer_id = None
    if row.amount_fen:
        paid_in = transfers.in_transit_to(row.account_digest, bank_id)
        transfer_id = transfers.move(session, actor, TransferKind.DEPOSIT, paid_in, custody, Fen(row.amount_fen), now)
    session.add_all(DepositLineRow(deposit_id=row.id, collection_id=one.id, amount_fen=one.amount_fen) for one in collections)
    session.flush()  # The database takes lines in before the deposit is booked, and none afterwards.
    row.status, row.transfer_id = advance_deposit(row.status, DepositEvent.POST), transfer_id
    session.flush()
    for shortfall in command.shortfalls:
        _open_shortfall(session, actor, row, shortfall, now)
    rest_fen = taken_fen - row.amount_fen - short_fen
    if rest_fen > 0:
        variances.open_one(session, VarianceKind.NET_DEPOSIT, Fen(rest_fen), row.depositor_id, deposit_id=row.id, bank_id=bank_id, now=now)
    session.flush()


def _open_shortfall(session: Session, actor: Actor, row: DepositRow, shortfall: Shortfall, now: datetime) -> None:
    bank_id = BankId(row.bank_id)
    custody, suspense = transfers.custody_of(row.depositor_id, bank_id), transfers.suspense_of(row.depositor_id, bank_id)
    transfer_id = transfers.move(session, actor, TransferKind.SHORTFALL, suspense, custody, shortfall.amount_fen, now)
    session.add(VarianceRow(
        id=new_id(), bank_id=bank_id, kind=shortfall.kind, amount_fen=shortfall.amount_fen, owner_id=row.depositor_id, deposit_id=row.id,
        transfer_id=transfer_id, certificate=shortfall.certificate, opened_at=now,
    ))


def _lock_money(session: Session, actor: Actor, command: Deposit) -> None:
    """Lock every account that the deposit touches, and the debtors' of its receipts: two deposits of one receipt wait for each other here."""
    debtors = tuple(transfers.debtor_of(one.case_id, BankId(one.bank_id)) for one in collections_named(session, command).collections)
    transfers.open_accounts(session, (
        *debtors, transfers.custody_of(actor.id, command.bank_id), transfers.suspense_of(actor.id, command.bank_id),
        transfers.in_transit_to(command.account_digest, command.bank_id),
    ))


def _are_seen(session: Session, actor: Actor, command: Deposit, collections: list[CollectionRow]) -> bool:
    """Tell whether the receipts are the actor's to know: of their branches, taken by them, or of a bank whose money they were handed."""
    if actor.sees_every_branch or all(
        one.branch_id in actor.branches or actor.id in (one.collector_id, one.cosigner_id) for one in collections
    ):
        return True
    handed = select(HandoverRow.id).where(
        HandoverRow.taker_id == actor.id, HandoverRow.bank_id == command.bank_id, HandoverRow.status == HandoverStatus.POSTED)
    return session.scalar(handed.limit(1)) is not None


def _stored(session: Session, actor: Actor, command: Deposit) -> Deposited | None:
    row = session.get(DepositRow, command.deposit_id)
    if row is None:
        return None
    if row.depositor_id != actor.id:
        raise NotFound
    if row.digest != _digest(command):
        raise IdempotencyConflict(id=str(command.deposit_id))
    return _view(row)


def _digest(command: Deposit) -> str:
    stated = msgspec.structs.replace(command, told_at=None)
    return hashlib.sha256(canonicalise(_without_nulls(msgspec.to_builtins(stated)))).hexdigest()


def _without_nulls(content: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in content.items() if value is not None}


def _view(row: DepositRow) -> Deposited:
    return Deposited(deposit_id=DepositId(row.id), status=row.status, standing=row.standing, amount_fen=Fen(row.amount_fen))


def _employees(session: Session, command: Handover) -> set[UUID]:
    wanted = (command.giver_id, command.taker_id)
    return set(session.scalars(select(StaffRow.id).where(StaffRow.id.in_(wanted), StaffRow.bank_id.is_(None))))


def _demand_bank(session: Session, bank_id: BankId, office_id: UUID | None = None) -> None:
    counter_of = select(BankOfficeRow.bank_id).where(BankOfficeRow.id == office_id)
    if session.get(BankRow, bank_id) is None or (office_id is not None and session.scalar(counter_of) != bank_id):
        raise NotFound
