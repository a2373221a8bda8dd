"""Corrections: a wrong entry stays, and its mirror image is booked beside it, with a reason and by two people (design decision 3)."""

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
from backend.cash import transfers, variances
from backend.cash.journal import transfers_seen_by
from backend.cash.model import (
    DepositEvent,
    NumberEvent,
    NumberStatus,
    TransferKind,
    VarianceEvent,
    VarianceStatus,
    advance_deposit,
    advance_number,
    advance_variance,
)
from backend.cash.movements import Transfer
from backend.cash.tables import (
    CollectionRow,
    CorrectionRow,
    DepositLineRow,
    DepositRow,
    ReceiptNumberRow,
    TransferRow,
    VarianceRow,
    VarianceStepRow,
)
from backend.core.fen import Fen
from backend.core.ids import AccountId, BankId, CaseId, CollectionId, StaffId, TransferId, new_id
from backend.core.problems import Conflict, Forbidden, NotFound

_REVERSIBLE = frozenset({TransferKind.COLLECTION, TransferKind.HANDOVER, TransferKind.DEPOSIT})


class Proposal(msgspec.Struct, frozen=True, kw_only=True):
    """Which transfer was wrong, and why."""

    transfer_id: TransferId
    reason: str


def propose(session: Session, actor: Actor, command: Proposal, now: datetime) -> UUID:
    """Propose to reverse a collection, hand-over or deposit; nothing moves yet.

    Raises:
        NotFound: no such transfer, or not one of the actor's branches.
        Conflict: of a kind that is not reversed by itself, or reversed already.
    """
    authorise(actor, Permission.CASH_CORRECT)
    original = session.scalar(select(TransferRow).where(TransferRow.id == command.transfer_id, transfers_seen_by(actor)))
    if original is None:
        raise NotFound
    _demand_reversible(session, original)
    row = CorrectionRow(
        id=new_id(), transfer_id=original.id, bank_id=original.bank_id, reason=command.reason, proposed_by=actor.id, proposed_at=now,
        is_approved=None,
    )
    session.add(row)
    session.flush()
    record(session, actor, EventTag.CASH_CORRECTION_PROPOSED, f"transfer:{original.id}", now, correction=row.id)
    return row.id


def decide(session: Session, actor: Actor, correction_id: UUID, now: datetime, *, is_approved: bool) -> TransferId | None:
    """Approve or reject as the second person; returns the reversing transfer when approved.

    Raises:
        Forbidden: the proposer cannot decide.
        NotFound: no such proposal, or not about a transfer of the actor's branches.
        Conflict: decided already, or what it would undo was built upon.
        FundsMissing: the money is no longer where the reversal would take it from.
    """
    authorise(actor, Permission.CASH_CORRECT)
    row = session.scalar(
        select(CorrectionRow).join(TransferRow, TransferRow.id == CorrectionRow.transfer_id)
        .where(CorrectionRow.id == correction_id, transfers_seen_by(actor)).with_for_update(of=CorrectionRow)
    )
    if row is None:
        raise NotFound
    if row.proposed_by == actor.id:
        raise Forbidden(reason="a correction takes two people")
    if row.decided_at is not None:
        raise Conflict(reason="this correction is decided")
    row.is_approved, row.decided_by, row.decided_at = is_approved, actor.id, now
    if is_approved:
        original = session.get_one(TransferRow, row.transfer_id)
        transfers.lock(session, frozenset({AccountId(original.debit_id), AccountId(original.credit_id)}))
        _demand_reversible(session, original)
        row.reversal_id = _undo(session, actor, original, row, now)
    session.flush()
    record(session, actor, EventTag.CASH_REVERSED, f"transfer:{row.transfer_id}", now, correction=row.id, approved=is_approved)
    return TransferId(row.reversal_id) if row.reversal_id else None


def _demand_reversible(session: Session, original: TransferRow) -> None:
    if original.kind not in _REVERSIBLE:
        raise Conflict(reason="a transfer of this kind is not reversed by itself", kind=original.kind.value)
    if session.scalar(select(TransferRow.id).where(TransferRow.reverses_id == original.id)) is not None:
        raise Conflict(reason="this transfer is reversed already")


def _undo(session: Session, actor: Actor, original: TransferRow, row: CorrectionRow, now: datetime) -> TransferId:
    """Book the mirror image, and undo what hangs on the transfer: the receipt's number becomes void, a deposit's receipts are free again."""
    if original.kind is TransferKind.COLLECTION:
        collection = session.get_one(CollectionRow, original.collection_id)
        line = select(DepositLineRow.deposit_id).where(DepositLineRow.collection_id == collection.id, DepositLineRow.reversed_at.is_(None))
        if session.scalar(line) is not None:
            raise Conflict(reason="the money is paid in; reverse the deposit first")
        number = session.get(ReceiptNumberRow, collection.receipt_number, with_for_update=True)
        if number is not None and number.status is NumberStatus.ISSUED:
            number.status, number.void_reason = advance_number(number.status, NumberEvent.VOID), "reversed"
    elif original.kind is TransferKind.DEPOSIT:
        return _undo_deposit(session, actor, original, row, now)
    return _mirror(session, original, row, now)


def _undo_deposit(session: Session, actor: Actor, original: TransferRow, row: CorrectionRow, now: datetime) -> TransferId:
    deposit = session.scalar(select(DepositRow).where(DepositRow.transfer_id == original.id).with_for_update())
    if deposit is None:
        raise Conflict(reason="no deposit stands behind this transfer")
    found = session.scalars(select(VarianceRow).where(VarianceRow.deposit_id == deposit.id)).all()
    if any(variances.is_built_upon(session, one) for one in found):
        raise Conflict(reason="what this deposit lacked is settled already")
    waiting = [one for one in found if one.status is not VarianceStatus.RESOLVED]
    if any(one.owner_id == actor.id for one in waiting):
        raise Forbidden(reason="nobody closes their own variance")
    status = advance_deposit(deposit.status, DepositEvent.REVERSE)
    # In this order: the database lets a deposit be reversed when its mirror stands, and its receipts go when it is reversed.
    reversal_id = _mirror(session, original, row, now)
    deposit.status = status
    session.flush()
    for line in session.scalars(select(DepositLineRow).where(DepositLineRow.deposit_id == deposit.id, DepositLineRow.reversed_at.is_(None))):
        line.reversed_at = now
    for variance in waiting:
        if variance.transfer_id is not None:
            _mirror(session, session.get_one(TransferRow, variance.transfer_id), row, now)
        variance.resolved_at, variance.resolved_by, variance.resolution = now, actor.id, "deposit-reversed"
        variance.status = advance_variance(variance.status, VarianceEvent.RESOLVE)
        session.add(VarianceStepRow(
            id=new_id(), variance_id=variance.id, at=now, by=actor.id, event=VarianceEvent.RESOLVE, code="deposit-reversed", reference=None))
    variances.keep_back_again(session, deposit, now)
    return reversal_id


def _mirror(session: Session, original: TransferRow, row: CorrectionRow, now: datetime) -> TransferId:
    # Made by who proposed, approved by who decided: the database demands two different people.
    proposer = Actor(id=StaffId(row.proposed_by), roles=frozenset())
    return transfers.transfer(session, proposer, Transfer(
        id=TransferId(new_id()), debit_id=AccountId(original.credit_id), credit_id=AccountId(original.debit_id), amount_fen=Fen(original.amount_fen),
        kind=TransferKind.REVERSAL, bank_id=BankId(original.bank_id), case_id=CaseId(original.case_id) if original.case_id else None,
        collection_id=CollectionId(original.collection_id) if original.collection_id else None, reverses_id=TransferId(original.id),
        reason=row.reason, approved_by=StaffId(row.decided_by) if row.decided_by else None,
    ), now)
