"""What is read to judge money on its way: the collections behind a deposit, the hours of the office, the times that were claimed."""

from datetime import datetime, timedelta
from typing import Final
from uuid import UUID
from zoneinfo import ZoneInfo

import msgspec
from sqlalchemy import ColumnElement, or_, select
from sqlalchemy.orm import Session

from backend.banks.hours import office_on
from backend.cash.authorisations import designated_digests
from backend.cash.movements import Deposit, Handover
from backend.cash.rules import DepositFacts, OfficeHours, doubts_of_deposit, judge_handover_time
from backend.cash.tables import AuthorisationRow, CollectionRow, DepositLineRow, DepositRow, ReceiptRow, TransferRow
from backend.core.fen import Fen
from backend.core.rulebook import Breach
from backend.exhibits.model import Standing
from backend.staff.tables import DeviceRow

CLOCKS_APART: Final = timedelta(minutes=5)
BANKS_ZONE: Final = ZoneInfo("Asia/Shanghai")
"""The one legal time of every bank office."""


def is_deposited() -> ColumnElement[bool]:
    """Return the condition on `CollectionRow` that a deposit holds it."""
    return select(DepositLineRow.deposit_id).where(DepositLineRow.collection_id == CollectionRow.id, DepositLineRow.reversed_at.is_(None)).exists()


def is_reversed() -> ColumnElement[bool]:
    """Return the condition on `CollectionRow` that two people have undone it."""
    return select(TransferRow.id).where(TransferRow.reverses_id == CollectionRow.transfer_id).exists()


class Named(msgspec.Struct, frozen=True, kw_only=True):
    """What a deposit names: each standing collection once, also one named by both its numbers."""

    collections: list[CollectionRow]
    is_complete: bool                # Every name is in the books.
    undone: list[CollectionRow]      # What two people have undone, of names under which nothing else stands.


def collections_named(session: Session, command: Deposit) -> Named:
    """Find the collections of the named receipts, by the number they stand under or the one printed on the paper."""
    query = (
        select(CollectionRow, ReceiptRow.number, ReceiptRow.stated_number, is_reversed())
        .join(ReceiptRow, ReceiptRow.collection_id == CollectionRow.id)
        .where(or_(ReceiptRow.number.in_(command.receipt_numbers), ReceiptRow.stated_number.in_(command.receipt_numbers)))
        .order_by(ReceiptRow.number)
    )
    found: dict[str, CollectionRow] = {}
    by_statement: dict[str, CollectionRow] = {}
    undone: dict[str, CollectionRow] = {}
    for row, number, stated, is_undone in session.execute(query):
        if is_undone:
            undone |= {number: row, stated: row}
        else:
            found[number] = row
            by_statement.setdefault(stated, row)
    missing = [number for number in command.receipt_numbers if number not in found and number not in by_statement]
    standing = [found.get(number) or by_statement[number] for number in command.receipt_numbers if number not in missing]
    return Named(
        collections=list({row.id: row for row in standing}.values()), is_complete=all(number in undone for number in missing),
        undone=[undone[number] for number in missing if number in undone])


def deposit_facts(session: Session, command: Deposit, named: Named, received_at: datetime) -> DepositFacts:
    """Gather what a deposit is judged by; its time is held between the last taking of this money and when it was told."""
    collections = named.collections
    ids = [one.id for one in collections]
    told_at = min(command.told_at or received_at, received_at)
    earliest_at = max((one.collected_at for one in collections), default=told_at)
    deposited_at = min(max(command.deposited_at, earliest_at), told_at) if earliest_at <= told_at else told_at
    demanded = session.scalars(
        select(AuthorisationRow.account_digest)
        .join(CollectionRow, CollectionRow.authorisation_jti == AuthorisationRow.jti)
        .where(CollectionRow.id.in_(ids))
    )
    deposited = session.scalars(
        select(DepositLineRow.collection_id).where(DepositLineRow.collection_id.in_(ids), DepositLineRow.reversed_at.is_(None))
    ).all()
    return DepositFacts(
        bank_id=command.bank_id, account_digest=command.account_digest, designated=designated_digests(session, command.bank_id),
        demanded=frozenset(demanded), amount_fen=command.amount_fen, taken_fen=Fen(sum(one.amount_fen for one in collections)),
        shortfalls=command.shortfalls, is_slip_given=bool(command.slip_reference.strip()),
        foreign_count=sum(one.bank_id != command.bank_id for one in collections), deposited_count=len(deposited),
        undone_count=len(named.undone),
        due_at=min((one.deposit_due_at for one in collections), default=None), deposited_at=deposited_at, told_at=told_at,
        is_time_possible=abs(command.deposited_at - deposited_at) <= CLOCKS_APART, is_slip_shown=command.slip_sha256 is not None,
        is_slip_seen_before=_is_slip_seen_before(session, command),
        channel=command.channel, hours=_hours(session, command.bank_hours_id, deposited_at),
    )


def _is_slip_seen_before(session: Session, command: Deposit) -> bool:
    if command.slip_sha256 is None:
        return False
    others = select(DepositRow.id).where(DepositRow.slip_sha256 == command.slip_sha256, DepositRow.id != command.deposit_id)
    return session.scalar(others.limit(1)) is not None


def standing_of_deposit(breaches: tuple[Breach, ...], facts: DepositFacts) -> Standing:
    """Return how a deposit stands: breaches weigh more than doubts."""
    return Standing.BREACH if breaches else Standing.DOUBTFUL if doubts_of_deposit(facts) else Standing.ACCEPTED


def time_breaches(session: Session, command: Handover, now: datetime) -> tuple[Breach, ...]:
    """Judge the claimed time of a hand-over; it moves the money all the same (CASH-08)."""
    told_at = min(command.told_at or now, now)
    # The claim alone makes a signature older than the end of its key: nobody else saw when it was made.
    ended = session.scalar(select(DeviceRow.kid).where(
        DeviceRow.staff_id.in_((command.giver_id, command.taker_id)), DeviceRow.revoked_at > command.handed_at, DeviceRow.revoked_at <= told_at,
    ).limit(1))
    return judge_handover_time(is_time_possible=command.handed_at <= told_at + CLOCKS_APART, is_key_ended=ended is not None)


def _hours(session: Session, office_id: UUID | None, at: datetime) -> OfficeHours | None:
    if office_id is None:
        return None
    local = at.astimezone(BANKS_ZONE)
    office = office_on(session, office_id, local.date())
    second = local.hour * 3600 + local.minute * 60 + local.second
    is_open = office is not None and office.opens_s is not None and office.closes_s is not None and office.opens_s <= second < office.closes_s
    return OfficeHours(is_open=is_open, deposit_fen_max=office.deposit_fen_max if office is not None else None)
