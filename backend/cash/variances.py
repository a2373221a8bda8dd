"""Variances: amounts that are not what they should be, as cases with an owner and a state. Never an edit of what was booked (F12).

The owner explains or makes good; somebody else closes, or sends back. What turns out to have been a matter of time closes itself.
"""

import hashlib
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
from backend.cash import transfers
from backend.cash.authorisations import designated_digests
from backend.cash.model import (
    Channel,
    DepositStatus,
    TransferKind,
    VarianceEvent,
    VarianceKind,
    VarianceStatus,
    advance_variance,
)
from backend.cash.tables import DepositRow, StatementLineRow, VarianceRow, VarianceStepRow
from backend.core.fen import Fen
from backend.core.ids import BankId, StaffId, new_id
from backend.core.problems import Conflict, Forbidden, NotFound
from backend.exhibits.model import Standing
from backend.policies.model import Policy
from backend.staff.tables import StaffRow


class Resolution(msgspec.Struct, frozen=True, kw_only=True):
    """How a variance ends. With a slip its owner has paid the amount in after all; without one it stands as it is."""

    variance_id: UUID
    code: str
    slip_reference: str | None = None
    account_digest: str | None = None


class VarianceStep(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One step that somebody took."""

    at: datetime
    by: StaffId
    event: VarianceEvent
    code: str
    reference: str | None


def open_one(
    session: Session, kind: VarianceKind, amount_fen: Fen, owner_id: UUID, *, now: datetime, line: StatementLineRow | None = None,
    deposit_id: UUID | None = None, transfer_id: UUID | None = None, bank_id: UUID | None = None,
) -> None:
    """Open a variance of a statement's line, a deposit, or both."""
    session.add(VarianceRow(
        id=new_id(), bank_id=line.bank_id if line is not None else bank_id, kind=kind, amount_fen=amount_fen, owner_id=owner_id,
        deposit_id=deposit_id, statement_line_id=line.id if line is not None else None, transfer_id=transfer_id, opened_at=now,
        status=VarianceStatus.OPEN,
    ))


def explain(session: Session, actor: Actor, variance_id: UUID, code: str, reference: str | None, now: datetime) -> VarianceStatus:
    """Say as the owner why the amount differs: a code, and the number of a certificate or incident. Somebody else decides on it.

    Raises:
        NotFound: not the actor's own.
        IllegalTransition: it is closed.
    """
    row = session.scalar(select(VarianceRow).where(VarianceRow.id == variance_id, VarianceRow.owner_id == actor.id).with_for_update())
    if row is None:
        raise NotFound
    return _step(session, actor, row, VarianceEvent.EXPLAIN, (code, reference), now)


def send_back(session: Session, actor: Actor, variance_id: UUID, code: str, now: datetime) -> VarianceStatus:
    """Find an explanation wanting, as somebody who does not own it.

    Raises:
        NotFound: not the actor's to see.
        Forbidden: the actor owns it.
        IllegalTransition: nothing is explained.
    """
    row = _locked(session, actor, variance_id)
    return _step(session, actor, row, VarianceEvent.RETURN, (code, None), now)


def resolve_variance(session: Session, actor: Actor, command: Resolution, policy: Policy, now: datetime) -> None:
    """Close a variance by somebody who does not own it. Made good, the money goes on towards the bank; else it stays where it is for ever.

    Money that somebody of the agency holds or answers for is the bank's: only the bank gives it up (CASH-08, CASH-09).

    Raises:
        NotFound: not the actor's to see.
        Forbidden: the actor owns it, or would give up money of the bank's for the agency.
        IllegalTransition: it is closed.
        Conflict: the owner holds and answers for nothing that could make it good.
    """
    row = _locked(session, actor, command.variance_id)
    advance_variance(row.status, VarianceEvent.RESOLVE)
    if command.slip_reference is not None:
        _make_good(session, actor, row, command, policy, now)
    elif actor.bank is None and (row.kind is VarianceKind.NET_DEPOSIT or row.transfer_id is not None):
        raise Forbidden(reason="only the bank gives up money of its own")
    row.resolved_at, row.resolved_by, row.resolution = now, actor.id, command.code
    _step(session, actor, row, VarianceEvent.RESOLVE, (command.code, command.slip_reference), now)


def clear_up(session: Session, actor: Actor, variance_id: UUID, code: str, now: datetime) -> None:
    """End a variance that time has explained; whoever owns it cannot be the one, so then it waits, explained, for somebody else."""
    row = session.get_one(VarianceRow, variance_id, with_for_update=True)
    if row.owner_id != actor.id:
        row.resolved_at, row.resolved_by, row.resolution = now, actor.id, code
        _step(session, actor, row, VarianceEvent.RESOLVE, (code, None), now)
    else:
        _step(session, actor, row, VarianceEvent.EXPLAIN, (code, None), now)


def missing_of(session: Session, deposit_id: UUID) -> tuple[UUID, ...]:
    """Return the open variances that say that no statement shows this slip."""
    return tuple(session.scalars(select(VarianceRow.id).where(
        VarianceRow.deposit_id == deposit_id, VarianceRow.kind == VarianceKind.MISSING_CREDIT, VarianceRow.status != VarianceStatus.RESOLVED)))


def flag_missing_credits(session: Session, bank_id: BankId, before: datetime, now: datetime, account: str | None = None) -> int:
    """Open a variance for each slip from before `before` that no statement shows; its depositor owns it. Returns how many.

    Args:
        account: The digest of the one account that a statement was about; None looks at every account of the bank.
    """
    shown = select(VarianceRow.deposit_id).where(VarianceRow.deposit_id == DepositRow.id, VarianceRow.kind == VarianceKind.MISSING_CREDIT)
    credited = select(StatementLineRow.id).where(
        StatementLineRow.bank_id == DepositRow.bank_id, StatementLineRow.account_digest == DepositRow.account_digest,
        StatementLineRow.reference == DepositRow.slip_reference, StatementLineRow.deposit_id.is_(None))
    missing = session.scalars(select(DepositRow).where(
        DepositRow.bank_id == bank_id, DepositRow.status == DepositStatus.POSTED, DepositRow.amount_fen > 0, ~shown.exists(), ~credited.exists(),
        DepositRow.deposited_at < before, *([] if account is None else [DepositRow.account_digest == account]),
    )).all()
    for row in missing:
        open_one(session, VarianceKind.MISSING_CREDIT, Fen(row.amount_fen), row.depositor_id, deposit_id=row.id, bank_id=bank_id, now=now)
    session.flush()
    return len(missing)


def is_built_upon(session: Session, row: VarianceRow) -> bool:
    """Tell whether the money behind a closed variance has gone its own way, so that its deposit cannot be undone under it."""
    if row.status is not VarianceStatus.RESOLVED:
        return False
    good = select(DepositRow.id).where(DepositRow.digest == _slip_digest(row.id), DepositRow.status != DepositStatus.REVERSED)
    return row.transfer_id is not None or session.scalar(good.limit(1)) is not None


def keep_back_again(session: Session, slip: DepositRow, now: datetime) -> None:
    """Open the variance again, as another one, that a slip made good which is now undone: its owner holds the rest once more."""
    made_good = slip.content.get("variance")
    if made_good is not None:
        row = session.get_one(VarianceRow, UUID(made_good))
        open_one(session, row.kind, Fen(row.amount_fen), row.owner_id, deposit_id=row.deposit_id, bank_id=row.bank_id, now=now)


def steps_of(session: Session, actor: Actor, variance_id: UUID) -> tuple[VarianceStep, ...]:
    """Return what was done about a variance, oldest first. Raises `NotFound`."""
    authorise(actor, Permission.CASH_READ)
    row = session.get(VarianceRow, variance_id)
    if row is None or not _is_seen(session, actor, row):
        raise NotFound
    rows = session.scalars(select(VarianceStepRow).where(VarianceStepRow.variance_id == row.id).order_by(VarianceStepRow.id))
    return tuple(VarianceStep(at=one.at, by=StaffId(one.by), event=one.event, code=one.code, reference=one.reference) for one in rows)


def _locked(session: Session, actor: Actor, variance_id: UUID) -> VarianceRow:
    authorise(actor, Permission.CASH_RESOLVE)
    row = session.scalar(select(VarianceRow).where(VarianceRow.id == variance_id).with_for_update())
    if row is None or not _is_seen(session, actor, row):
        raise NotFound
    if row.owner_id == actor.id:
        raise Forbidden(reason="nobody closes their own variance")
    return row


def _step(
    session: Session, actor: Actor, row: VarianceRow, event: VarianceEvent, said: tuple[str, str | None], now: datetime
) -> VarianceStatus:
    row.status = advance_variance(row.status, event)
    session.add(VarianceStepRow(id=new_id(), variance_id=row.id, at=now, by=actor.id, event=event, code=said[0], reference=said[1]))
    session.flush()
    record(session, actor, EventTag.CASH_VARIANCE_RESOLVED, f"variance:{row.id}", now, event=event.value, code=said[0],
           made_good=event is VarianceEvent.RESOLVE and said[1] is not None)
    return row.status


def _is_seen(session: Session, actor: Actor, row: VarianceRow) -> bool:
    """Tell whether a variance is of the actor's bank, or of somebody of their branches."""
    if actor.bank is not None:
        return row.bank_id == actor.bank
    return actor.sees_every_branch or session.scalar(select(StaffRow.branch_id).where(StaffRow.id == row.owner_id)) in actor.branches


def _make_good(session: Session, actor: Actor, row: VarianceRow, command: Resolution, policy: Policy, now: datetime) -> None:
    """Book what the owner paid in after all, as a deposit of its own that the bank's statement will confirm."""
    bank_id, amount_fen = BankId(row.bank_id), Fen(row.amount_fen)
    account = command.account_digest
    if account is None or account not in designated_digests(session, bank_id):
        raise Conflict(reason="not an account that the bank designated")
    towards = transfers.in_transit_to(account, bank_id)
    if row.kind is VarianceKind.NET_DEPOSIT:
        transfer_id = transfers.move(session, actor, TransferKind.DEPOSIT, towards, transfers.custody_of(row.owner_id, bank_id), amount_fen, now)
    elif row.transfer_id is not None:
        transfer_id = transfers.move(session, actor, TransferKind.RECOVERY, towards, transfers.suspense_of(row.owner_id, bank_id), amount_fen, now)
    else:
        raise Conflict(reason="there is no money behind this variance")
    content = {"variance": str(row.id)}
    branch_id = session.scalar(select(StaffRow.branch_id).where(StaffRow.id == row.owner_id))
    session.add(DepositRow(
        id=new_id(), digest=_slip_digest(row.id), bank_id=bank_id, branch_id=branch_id, account_digest=account,
        channel=Channel.COUNTER, slip_reference=command.slip_reference, amount_fen=amount_fen, content=content, depositor_id=row.owner_id,
        deposited_at=now, recorded_at=now, status=DepositStatus.POSTED, standing=Standing.ACCEPTED, transfer_id=transfer_id,
        policy_version=policy.version,
    ))
    session.flush()


def _slip_digest(variance_id: UUID) -> str:
    """Return the digest under which the slip stands that made a variance good."""
    return hashlib.sha256(str(variance_id).encode()).hexdigest()
