"""What waits for somebody's word: open exceptions for agency and bank, offered hand-overs for their taker."""

from datetime import datetime
from uuid import UUID

import msgspec
from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from backend.auth.actors import Actor
from backend.auth.authorise import authorise
from backend.auth.permissions import Permission
from backend.cash.model import HandoverStatus
from backend.cash.queries import visible_to
from backend.cash.tables import CashExceptionRow, HandoverRow
from backend.core.fen import Fen
from backend.core.ids import BankId, StaffId


class ExceptionView(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Money taken without authority, and whose answer is missing."""

    number: str
    collection_id: UUID
    bank_id: BankId
    collector_id: StaffId
    cosigner_id: StaffId
    opened_at: datetime
    is_agency_resolved: bool
    is_bank_resolved: bool


class OfferedView(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A hand-over that waits for a yes."""

    id: UUID
    giver_id: StaffId
    bank_id: BankId
    amount_fen: Fen


def list_exceptions(session: Session, actor: Actor, *, limit: int, after: str | None) -> list[ExceptionView]:
    """Return at most `limit` + 1 open exceptions after a number: each blocks two people and waits for agency, bank or both."""
    authorise(actor, Permission.CASH_READ)
    query = select(CashExceptionRow).where(
        visible_to(actor, CashExceptionRow.bank_id, CashExceptionRow.branch_id),
        or_(CashExceptionRow.agency_resolved_at.is_(None), CashExceptionRow.bank_resolved_at.is_(None)),
    )
    if after is not None:
        query = query.where(CashExceptionRow.number > after)
    return [
        ExceptionView(
            number=row.number, collection_id=row.collection_id, bank_id=BankId(row.bank_id), collector_id=StaffId(row.collector_id),
            cosigner_id=StaffId(row.cosigner_id), opened_at=row.opened_at, is_agency_resolved=row.agency_resolved_at is not None,
            is_bank_resolved=row.bank_resolved_at is not None,
        )
        for row in session.scalars(query.order_by(CashExceptionRow.number).limit(limit + 1))
    ]


def offered_handovers(session: Session, actor: Actor, *, limit: int, after: UUID | None) -> list[OfferedView]:
    """Return at most `limit` + 1 hand-overs after a cursor that wait for the actor's yes, oldest first."""
    query = select(HandoverRow).where(HandoverRow.taker_id == actor.id, HandoverRow.status == HandoverStatus.OFFERED)
    if after is not None:
        query = query.where(HandoverRow.id > after)
    return [
        OfferedView(id=row.id, giver_id=StaffId(row.giver_id), bank_id=BankId(row.bank_id), amount_fen=Fen(row.amount_fen))
        for row in session.scalars(query.order_by(HandoverRow.id).limit(limit + 1))
    ]
