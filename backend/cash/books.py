"""Receipt books: every printed number has one row from its lease on, and ends issued, void, returned or suspended (CASH-05, F11)."""

import secrets
from datetime import datetime
from uuid import UUID

import msgspec
from sqlalchemy import ColumnElement, select
from sqlalchemy.orm import Session

from backend.audit.events import EventTag
from backend.audit.record import record
from backend.auth.actors import Actor
from backend.auth.authorise import authorise
from backend.auth.permissions import Permission
from backend.banks import queries as banks
from backend.cash.model import BOOK_NUMBERS_MAX, NumberEvent, NumberStatus, advance_number
from backend.cash.tables import ReceiptBookRow, ReceiptNumberRow
from backend.core.ids import BankId, new_id
from backend.core.problems import Conflict, NotFound
from backend.staff.model import DeviceState
from backend.staff.tables import DeviceRow, StaffRow

_CODE_BYTES = 10
_CODE_LETTERS = "ABCDEFGHJKLMNPQRSTUVWXYZ23456789"  # Without what is misread on paper: I, O, 0, 1.


class Lease(msgspec.Struct, frozen=True, kw_only=True):
    """A block of printed numbers signed out with one book to one phone."""

    serial: str
    bank_id: BankId
    device: str
    first_number: int
    last_number: int

    def __post_init__(self) -> None:
        if not 1 <= self.first_number <= self.last_number or self.last_number - self.first_number >= BOOK_NUMBERS_MAX:
            raise ValueError(f"a book has 1 to {BOOK_NUMBERS_MAX} numbers, counted from 1")


class LeasedNumber(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One number with the code printed beside it."""

    number: str
    code: str
    bank_id: BankId


def lease(session: Session, actor: Actor, command: Lease, now: datetime) -> tuple[LeasedNumber, ...]:
    """Sign a book out to the holder of an active phone of the actor's branch; one row per number.

    Raises:
        Forbidden: not a cashier.
        NotFound: no such bank, or no such active phone in the actor's branches.
        Conflict: the book was signed out before.
    """
    authorise(actor, Permission.RECEIPTS_LEASE)
    banks.bank(session, actor, command.bank_id)
    holder = session.execute(
        select(StaffRow.id, StaffRow.branch_id)
        .join(DeviceRow, DeviceRow.staff_id == StaffRow.id)
        .where(DeviceRow.kid == command.device, DeviceRow.state == DeviceState.ACTIVE)
    ).one_or_none()
    if holder is None or not (actor.sees_every_branch or holder.branch_id in actor.branches):
        raise NotFound
    if session.scalar(select(ReceiptBookRow.id).where(ReceiptBookRow.serial == command.serial)) is not None:
        raise Conflict(reason="this book was signed out before")
    book_id = new_id()
    session.add(ReceiptBookRow(
        id=book_id, serial=command.serial, bank_id=command.bank_id, branch_id=holder.branch_id, first_number=command.first_number,
        last_number=command.last_number, held_by=holder.id, signed_out_by=actor.id, signed_out_at=now,
    ))
    session.flush()
    leased = tuple(
        LeasedNumber(number=f"{command.serial}-{ordinal:05d}", code="".join(secrets.choice(_CODE_LETTERS) for _ in range(2 * _CODE_BYTES)),
                     bank_id=command.bank_id)
        for ordinal in range(command.first_number, command.last_number + 1)
    )
    session.add_all(
        ReceiptNumberRow(
            number=one.number, book_id=book_id, ordinal=ordinal, bank_id=command.bank_id, device=command.device, code=one.code, leased_at=now,
            status=NumberStatus.LEASED,
        )
        for ordinal, one in enumerate(leased, start=command.first_number)
    )
    session.flush()
    record(session, actor, EventTag.RECEIPTS_LEASED, f"receipt-book:{book_id}", now, device=command.device, count=len(leased))
    return leased


def leased_numbers(session: Session, device: str, *, limit: int = 200) -> tuple[LeasedNumber, ...]:
    """Return the numbers a phone may still issue, in the order in which it must use them; for the day bundle."""
    rows = session.execute(
        select(ReceiptNumberRow.number, ReceiptNumberRow.code, ReceiptNumberRow.bank_id)
        .join(ReceiptBookRow, ReceiptBookRow.id == ReceiptNumberRow.book_id)
        .where(ReceiptNumberRow.device == device, ReceiptNumberRow.status == NumberStatus.LEASED, ReceiptBookRow.signed_in_at.is_(None))
        .order_by(ReceiptNumberRow.leased_at, ReceiptNumberRow.number)
        .limit(limit)
    )
    return tuple(LeasedNumber(number=row.number, code=row.code, bank_id=BankId(row.bank_id)) for row in rows)


def suspend_device(session: Session, actor: Actor, device: str, now: datetime) -> int:
    """Suspend the unused numbers of a lost phone; a receipt signed before may still arrive by the partner's phone. Returns how many.

    Raises:
        NotFound: no such phone in the actor's branches.
    """
    authorise(actor, Permission.RECEIPTS_LEASE)
    return suspend_numbers(session, actor, device, now)


def suspend_numbers(session: Session, actor: Actor, device: str, now: datetime) -> int:
    """Suspend the unused numbers of a phone that is suspended or revoked; part of that act, whoever may do it. Returns how many.

    Raises:
        NotFound: no such phone in the actor's branches.
    """
    branch_id = session.scalar(select(StaffRow.branch_id).join(DeviceRow, DeviceRow.staff_id == StaffRow.id).where(DeviceRow.kid == device))
    if branch_id is None or not (actor.sees_every_branch or branch_id in actor.branches):
        raise NotFound
    numbers = _unsettled(session, actor, ReceiptNumberRow.device == device, NumberStatus.LEASED)
    for row in numbers:
        row.status = advance_number(row.status, NumberEvent.SUSPEND)
    if numbers:
        record(session, actor, EventTag.RECEIPTS_LEASED, f"device:{device}", now, step="suspended", count=len(numbers))
    return len(numbers)


def sign_in(session: Session, actor: Actor, book_id: UUID, now: datetime) -> int:
    """Take a book back whose unused sheets are all there: they are returned and never used again. Twice changes nothing.

    Raises:
        NotFound: no such book in the actor's branches.
    """
    authorise(actor, Permission.RECEIPTS_LEASE)
    book = own_book(session, actor, book_id)
    if book.signed_in_at is not None:
        return 0
    numbers = _unsettled(session, actor, ReceiptNumberRow.book_id == book_id, NumberStatus.LEASED, NumberStatus.SUSPENDED)
    for row in numbers:
        row.status, row.settled_at = advance_number(row.status, NumberEvent.RETURN), now
    book.signed_in_at, book.signed_in_by = now, actor.id
    session.flush()
    record(session, actor, EventTag.RECEIPTS_LEASED, f"receipt-book:{book_id}", now, step="signed-in", count=len(numbers))
    return len(numbers)


def locked_number(session: Session, number: str) -> ReceiptNumberRow | None:
    """Return a number's row, locked."""
    return session.scalar(
        select(ReceiptNumberRow).where(ReceiptNumberRow.number == number).with_for_update().execution_options(populate_existing=True)
    )


def own_book(session: Session, actor: Actor, book_id: UUID) -> ReceiptBookRow:
    """Return a book of the actor's branches, locked. Raises NotFound."""
    book = session.scalar(select(ReceiptBookRow).where(ReceiptBookRow.id == book_id).with_for_update())
    if book is None or not (actor.sees_every_branch or book.branch_id in actor.branches):
        raise NotFound
    return book


def _unsettled(session: Session, actor: Actor, condition: ColumnElement[bool], *statuses: NumberStatus) -> list[ReceiptNumberRow]:
    query = select(ReceiptNumberRow).join(ReceiptBookRow, ReceiptBookRow.id == ReceiptNumberRow.book_id).where(condition)
    if not actor.sees_every_branch:
        query = query.where(ReceiptBookRow.branch_id.in_(actor.branches))
    locked = query.where(ReceiptNumberRow.status.in_(statuses)).order_by(ReceiptNumberRow.number).with_for_update(of=ReceiptNumberRow)
    return list(session.scalars(locked))
