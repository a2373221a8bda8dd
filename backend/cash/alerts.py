"""What somebody has to do about money now: late and soon-late deposits, unanswered requests, open exceptions, books that are short.

Derived at the moment of asking: nothing is sent, so nothing is forgotten and nothing is stale.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta
from enum import StrEnum

import msgspec
from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from backend.auth.actors import Actor
from backend.auth.authorise import authorise
from backend.auth.permissions import Permission
from backend.banks.duties import on_duty
from backend.cash.claim_model import ClaimStatus
from backend.cash.custody_facts import is_deposited, is_reversed
from backend.cash.field_tables import BookCountRow, CashHintRow, DirectPaymentRow
from backend.cash.hints import is_open as is_open_hint
from backend.cash.model import RequestStatus
from backend.cash.queries import visible_to
from backend.cash.tables import AuthorisationRequestRow, CashExceptionRow, CollectionRow, ReceiptBookRow
from backend.core.fen import Fen
from backend.core.ids import BankId, StaffId

SOON = timedelta(hours=3)
ALERTS_MAX = 200


class AlertKind(StrEnum):
    """What is wrong, the worst first."""

    UNAUTHORISED = "unauthorised"              # Agency and bank resolve the exception; both collectors are blocked.
    TRANSFER_HINT = "transfer_hint"            # Somebody said that the debtor paid one of ours; both collectors are blocked.
    DEPOSIT_OVERDUE = "deposit_overdue"        # The collector pays in; no new money until then.
    DEPOSIT_DUE_SOON = "deposit_due_soon"
    REQUEST_UNATTENDED = "request_unattended"  # A request waits and nobody of the bank is on duty.
    REQUEST_WAITING = "request_waiting"
    BOOK_SHORT = "book_short"                  # A sheet or void part that nobody can show.
    CLAIM_UNCONFIRMED = "claim_unconfirmed"    # A witnessed payment that the bank's file ought to show by now.


class Alert(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One thing to do. `owner_id` answers for it, None while it is the bank's turn; `due_at` is when it was or will be late."""

    kind: AlertKind
    subject: str
    bank_id: BankId
    owner_id: StaffId | None
    amount_fen: Fen | None
    due_at: datetime


def list_alerts(session: Session, actor: Actor, now: datetime) -> list[Alert]:
    """Return up to 200 alerts that the actor sees, the worst and oldest first."""
    authorise(actor, Permission.CASH_READ)
    found = [
        *_exceptions(session, actor), *_hints(session, actor), *_deposits(session, actor, now), *_requests(session, actor, now),
        *_claims(session, actor, now),
    ]
    if actor.bank is None:
        found += _books(session, actor)
    order = list(AlertKind)
    return sorted(found, key=lambda one: (order.index(one.kind), one.due_at, one.subject))[:ALERTS_MAX]


def _exceptions(session: Session, actor: Actor) -> Iterator[Alert]:
    rows = session.scalars(
        select(CashExceptionRow).where(
            visible_to(actor, CashExceptionRow.bank_id, CashExceptionRow.branch_id),
            or_(CashExceptionRow.agency_resolved_at.is_(None), CashExceptionRow.bank_resolved_at.is_(None)))
        .order_by(CashExceptionRow.opened_at, CashExceptionRow.number).limit(ALERTS_MAX))
    for row in rows:
        yield Alert(kind=AlertKind.UNAUTHORISED, subject=f"exception:{row.number}", bank_id=BankId(row.bank_id), owner_id=StaffId(row.collector_id),
                    amount_fen=None, due_at=row.opened_at)


def _hints(session: Session, actor: Actor) -> Iterator[Alert]:
    rows = session.scalars(
        select(CashHintRow).where(visible_to(actor, CashHintRow.bank_id, CashHintRow.branch_id), is_open_hint())
        .order_by(CashHintRow.told_at, CashHintRow.id).limit(ALERTS_MAX))
    for row in rows:
        yield Alert(kind=AlertKind.TRANSFER_HINT, subject=f"hint:{row.id}", bank_id=BankId(row.bank_id), owner_id=StaffId(row.collector_id),
                    amount_fen=None, due_at=row.told_at)


def _deposits(session: Session, actor: Actor, now: datetime) -> Iterator[Alert]:
    rows = session.scalars(
        select(CollectionRow).where(
            visible_to(actor, CollectionRow.bank_id, CollectionRow.branch_id), CollectionRow.deposit_due_at < now + SOON, ~is_deposited(),
            ~is_reversed())
        .order_by(CollectionRow.deposit_due_at, CollectionRow.id).limit(ALERTS_MAX))
    for row in rows:
        kind = AlertKind.DEPOSIT_OVERDUE if row.deposit_due_at < now else AlertKind.DEPOSIT_DUE_SOON
        yield Alert(kind=kind, subject=f"receipt:{row.receipt_number}", bank_id=BankId(row.bank_id), owner_id=StaffId(row.collector_id),
                    amount_fen=Fen(row.amount_fen), due_at=row.deposit_due_at)


def _requests(session: Session, actor: Actor, now: datetime) -> Iterator[Alert]:
    rows = session.scalars(
        select(AuthorisationRequestRow).where(
            visible_to(actor, AuthorisationRequestRow.bank_id, AuthorisationRequestRow.branch_id),
            AuthorisationRequestRow.status.in_((RequestStatus.REQUESTED, RequestStatus.SECONDED)), AuthorisationRequestRow.expires_at > now)
        .order_by(AuthorisationRequestRow.expires_at, AuthorisationRequestRow.id).limit(ALERTS_MAX))
    attended: dict[BankId, bool] = {}
    for row in rows:
        bank_id = BankId(row.bank_id)
        if bank_id not in attended:
            attended[bank_id] = bool(on_duty(session, bank_id, now))
        kind = AlertKind.REQUEST_WAITING if attended[bank_id] else AlertKind.REQUEST_UNATTENDED
        yield Alert(kind=kind, subject=f"request:{row.id}", bank_id=bank_id, owner_id=None, amount_fen=Fen(row.cap_requested_fen),
                    due_at=row.expires_at)


def _claims(session: Session, actor: Actor, now: datetime) -> Iterator[Alert]:
    rows = session.scalars(
        select(DirectPaymentRow).where(
            visible_to(actor, DirectPaymentRow.bank_id, DirectPaymentRow.branch_id), DirectPaymentRow.status == ClaimStatus.CLAIMED,
            DirectPaymentRow.due_at <= now)
        .order_by(DirectPaymentRow.due_at, DirectPaymentRow.id).limit(ALERTS_MAX))
    for row in rows:
        yield Alert(kind=AlertKind.CLAIM_UNCONFIRMED, subject=f"claim:{row.id}", bank_id=BankId(row.bank_id), owner_id=StaffId(row.witnessed_by),
                    amount_fen=Fen(row.amount_fen), due_at=row.due_at)


def _books(session: Session, actor: Actor) -> Iterator[Alert]:
    query = select(ReceiptBookRow, BookCountRow).join(BookCountRow, BookCountRow.book_id == ReceiptBookRow.id).where(BookCountRow.missing != [])
    if not actor.sees_every_branch:
        query = query.where(ReceiptBookRow.branch_id.in_(actor.branches))
    for book, counted in session.execute(query.order_by(BookCountRow.counted_at, ReceiptBookRow.id).limit(ALERTS_MAX)):
        yield Alert(kind=AlertKind.BOOK_SHORT, subject=f"receipt-book:{book.serial}", bank_id=BankId(book.bank_id), owner_id=StaffId(book.held_by),
                    amount_fen=None, due_at=counted.counted_at)
