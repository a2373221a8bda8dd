"""The paper itself: a sealed book taken by its holder, and counted sheet by sheet when it comes back (F11)."""

from datetime import datetime
from uuid import UUID

import msgspec
from sqlalchemy import select
from sqlalchemy.orm import Session

from backend.audit.events import EventTag
from backend.audit.record import record
from backend.auth.actors import Actor
from backend.auth.authorise import authorise
from backend.auth.permissions import Permission
from backend.cash.books import own_book
from backend.cash.field_tables import BookCountRow, BookTakingRow
from backend.cash.model import NumberEvent, NumberStatus, advance_number
from backend.cash.tables import ReceiptBookRow, ReceiptNumberRow
from backend.core.ids import BankId, StaffId
from backend.core.problems import Conflict, NotFound


class BookCount(msgspec.Struct, frozen=True, kw_only=True):
    """What the cashier holds in hand: the unused sheets, and the void numbers of which all parts are there."""

    unused: frozenset[str]
    void_parts: frozenset[str]


class BookView(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A book: who holds it, whether they said so, and what was not there when it came back."""

    id: UUID
    serial: str
    bank_id: BankId
    held_by: StaffId
    first_number: int
    last_number: int
    signed_out_at: datetime
    taken_at: datetime | None
    is_seal_whole: bool | None
    signed_in_at: datetime | None
    missing: tuple[str, ...]


def take(session: Session, actor: Actor, serial: str, now: datetime, *, is_seal_whole: bool) -> UUID:
    """Say as its holder that a book was received, its seal whole or not. Saying it twice changes nothing.

    Raises:
        NotFound: no book of that serial is signed out to the actor.
    """
    authorise(actor, Permission.CASH_COLLECT)
    book = session.scalar(select(ReceiptBookRow).where(ReceiptBookRow.serial == serial, ReceiptBookRow.held_by == actor.id).with_for_update())
    if book is None:
        raise NotFound
    if session.get(BookTakingRow, book.id) is None:
        session.add(BookTakingRow(book_id=book.id, taken_by=actor.id, taken_at=now, is_seal_whole=is_seal_whole))
        session.flush()
        record(session, actor, EventTag.RECEIPTS_LEASED, f"receipt-book:{book.id}", now, step="taken", is_seal_whole=is_seal_whole)
    return book.id


def count_in(session: Session, actor: Actor, book_id: UUID, counted: BookCount, now: datetime) -> tuple[str, ...]:
    """Take a book back against what lies in hand; returns the numbers whose paper is not there.

    Unused sheets are returned. A sheet that nobody can show stays suspended for ever and its holder answers for it; so does the
    holder of a number that was made void without its parts.

    Raises:
        NotFound: no such book in the actor's branches.
        Conflict: it came back before.
    """
    authorise(actor, Permission.RECEIPTS_LEASE)
    book = own_book(session, actor, book_id)
    if book.signed_in_at is not None:
        raise Conflict(reason="this book came back before")
    rows = session.scalars(
        select(ReceiptNumberRow).where(ReceiptNumberRow.book_id == book_id).order_by(ReceiptNumberRow.number).with_for_update()).all()
    missing: list[str] = []
    for row in rows:
        if row.status is NumberStatus.VOID and row.number not in counted.void_parts:
            missing.append(row.number)
        elif row.status in (NumberStatus.LEASED, NumberStatus.SUSPENDED) and row.number in counted.unused:
            row.status, row.settled_at = advance_number(row.status, NumberEvent.RETURN), now
        elif row.status in (NumberStatus.LEASED, NumberStatus.SUSPENDED):
            missing.append(row.number)
            row.status = advance_number(row.status, NumberEvent.SUSPEND) if row.status is NumberStatus.LEASED else row.status
    session.add(BookCountRow(
        book_id=book_id, counted_by=actor.id, counted_at=now, unused=sorted(counted.unused), void_parts=sorted(counted.void_parts), missing=missing,
    ))
    book.signed_in_at, book.signed_in_by = now, actor.id
    session.flush()
    record(session, actor, EventTag.RECEIPTS_LEASED, f"receipt-book:{book_id}", now, step="counted-in", missing=missing)
    return tuple(missing)


def list_books(session: Session, actor: Actor, *, limit: int, after: UUID | None) -> list[BookView]:
    """Return at most `limit` + 1 books of the actor's branches after a cursor."""
    authorise(actor, Permission.RECEIPTS_LEASE)
    query = (
        select(ReceiptBookRow, BookTakingRow, BookCountRow)
        .outerjoin(BookTakingRow, BookTakingRow.book_id == ReceiptBookRow.id).outerjoin(BookCountRow, BookCountRow.book_id == ReceiptBookRow.id)
    )
    if not actor.sees_every_branch:
        query = query.where(ReceiptBookRow.branch_id.in_(actor.branches))
    if after is not None:
        query = query.where(ReceiptBookRow.id > after)
    return [
        BookView(
            id=book.id, serial=book.serial, bank_id=BankId(book.bank_id), held_by=StaffId(book.held_by), first_number=book.first_number,
            last_number=book.last_number, signed_out_at=book.signed_out_at, taken_at=taken.taken_at if taken else None,
            is_seal_whole=taken.is_seal_whole if taken else None, signed_in_at=book.signed_in_at, missing=tuple(counted.missing) if counted else (),
        )
        for book, taken, counted in session.execute(query.order_by(ReceiptBookRow.id).limit(limit + 1))
    ]
