"""Who of a bank is on duty to answer cash requests, and until when (F19). A bank keeps its own roster."""

from datetime import datetime
from uuid import UUID

import msgspec
from sqlalchemy import select
from sqlalchemy.orm import Session

from backend.audit.events import EventTag
from backend.audit.record import record
from backend.auth.actors import Actor, Role
from backend.auth.authorise import authorise
from backend.auth.permissions import Permission
from backend.banks.queries import bank
from backend.banks.tables import AuthoriserDutyRow
from backend.core.ids import BankId, StaffId, new_id
from backend.core.problems import Conflict, InvalidInput, NotFound
from backend.staff.queries import actor_of


class DutyView(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One turn of duty: from the first instant, up to the second."""

    id: UUID
    bank_id: BankId
    staff_id: StaffId
    from_at: datetime
    to_at: datetime


def set_duty(session: Session, actor: Actor, staff_id: StaffId, span: tuple[datetime, datetime], now: datetime) -> UUID:
    """Put an authoriser of one's own bank on duty.

    Raises:
        Forbidden: not a bank's authoriser.
        NotFound: not an authoriser of one's own bank.
        InvalidInput: the turn is empty or over. Conflict: it begins with another of the same person.
    """
    authorise(actor, Permission.CASH_AUTHORISE)
    from_at, to_at = span
    person = actor_of(session, staff_id)
    if person is None or person.bank != actor.bank or Role.BANK_AUTHORISER not in person.roles:
        raise NotFound
    if not from_at < to_at or to_at <= now:
        raise InvalidInput(pointer="/toAt", expected="a turn that ends after it begins, and after now", got=to_at.isoformat())
    if session.scalar(select(AuthoriserDutyRow.id).where(AuthoriserDutyRow.staff_id == staff_id, AuthoriserDutyRow.from_at == from_at)):
        raise Conflict(reason="duty-known-already")
    row = AuthoriserDutyRow(id=new_id(), bank_id=actor.bank, staff_id=staff_id, from_at=from_at, to_at=to_at, set_by=actor.id)
    session.add(row)
    session.flush()
    record(session, actor, EventTag.BANK_CHANGED, f"bank:{actor.bank}", now, what="duty-set", duty=row.id, staff=staff_id)
    return row.id


def on_duty(session: Session, bank_id: BankId, at: datetime) -> tuple[StaffId, ...]:
    """Return who of a bank answers requests at an instant."""
    rows = session.scalars(
        select(AuthoriserDutyRow.staff_id).where(AuthoriserDutyRow.bank_id == bank_id, AuthoriserDutyRow.from_at <= at, AuthoriserDutyRow.to_at > at)
        .distinct().order_by(AuthoriserDutyRow.staff_id)
    )
    return tuple(StaffId(one) for one in rows)


def list_duties(session: Session, actor: Actor, bank_id: BankId, now: datetime) -> tuple[DutyView, ...]:
    """Return up to 200 turns of a bank that are not over, by their end. Raises NotFound for another's bank."""
    authorise(actor, Permission.BANK_READ)
    bank(session, actor, bank_id)
    rows = session.scalars(
        select(AuthoriserDutyRow).where(AuthoriserDutyRow.bank_id == bank_id, AuthoriserDutyRow.to_at > now)
        .order_by(AuthoriserDutyRow.to_at, AuthoriserDutyRow.id).limit(200)
    )
    return tuple(
        DutyView(id=row.id, bank_id=BankId(row.bank_id), staff_id=StaffId(row.staff_id), from_at=row.from_at, to_at=row.to_at) for row in rows
    )
