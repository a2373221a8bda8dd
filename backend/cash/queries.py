"""Reads of money: requests and their countdown, authorisations for phones, custody, deposits, and the public's one question."""

import hmac
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import ColumnElement, func, or_, select, true
from sqlalchemy.orm import InstrumentedAttribute, Session

from backend.audit.record import record_read
from backend.auth.actors import Actor
from backend.auth.authorise import authorise
from backend.auth.permissions import Permission
from backend.banks.duties import on_duty
from backend.cases.model import today_of
from backend.cases.queries import open_for_collection
from backend.cases.tables import CaseRow
from backend.cash.authorisations import open_explanation
from backend.cash.custody_facts import is_deposited, is_reversed
from backend.cash.model import (
    AccountKind,
    Channel,
    Circumstance,
    DepositStatus,
    Instrument,
    NumberStatus,
    RequestStatus,
    VarianceKind,
    VarianceStatus,
)
from backend.cash.tables import (
    AccountRow,
    AuthorisationRequestRow,
    AuthorisationRow,
    CollectionRow,
    DepositRow,
    ReceiptNumberRow,
    ReceiptRow,
    VarianceRow,
)
from backend.core.fen import Fen
from backend.core.ids import BankId, CaseId, DepositId, StaffId, VisitId
from backend.exhibits.model import Standing
from backend.keys.keyring import Keyring
from backend.policies.model import Policy
from backend.policies.queries import policy_in_force
from backend.staff.tables import StaffRow

BOOKED_SHOWN = timedelta(days=30)


class RequestView(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One request to a bank; `explanation` is shown to the bank alone, `answer_due_s` counts down to its refusal, `on_duty` answer it now."""

    id: UUID
    case_id: CaseId
    visit_id: VisitId | None
    bank_id: BankId
    circumstance: Circumstance
    explanation: str | None
    cap_requested_fen: Fen
    requested_by: StaffId
    requested_at: datetime
    expires_at: datetime
    answer_due_s: int
    status: RequestStatus
    is_seconded: bool
    jti: str | None
    on_duty: tuple[StaffId, ...]


class AuthorisationView(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One authorisation as a phone carries it: the bank's own token, and what is left under it as far as the server knows."""

    jti: str
    case_id: CaseId
    token: str
    kid: str
    hardware: str
    remaining_fen: Fen
    remaining_collections: int
    expires_at: datetime


class Revocations(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What phones must not use any more, as of `taken_at`; too old a list means no cash at all."""

    taken_at: datetime
    jtis: tuple[str, ...]


class CustodyView(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What one employee holds for one bank, and how late it is."""

    staff_id: StaffId
    bank_id: BankId
    custody_fen: Fen
    suspense_fen: Fen
    oldest_due_at: datetime | None
    overdue_fen: Fen


class DepositView(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One deposit."""

    id: DepositId
    bank_id: BankId
    depositor_id: StaffId
    account_digest: str
    channel: Channel
    slip_reference: str
    amount_fen: Fen
    deposited_at: datetime
    status: DepositStatus
    standing: Standing


class VarianceView(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One variance with its owner."""

    id: UUID
    bank_id: BankId
    kind: VarianceKind
    amount_fen: Fen
    owner_id: StaffId
    deposit_id: UUID | None
    opened_at: datetime
    status: VarianceStatus
    resolved_at: datetime | None
    resolution: str | None


class CollectionView(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One collection with its receipt."""

    id: UUID
    case_id: CaseId
    visit_id: VisitId | None
    bank_id: BankId
    receipt_number: str
    stated_number: str
    amount_fen: Fen
    capitals: str
    instrument: Instrument
    authorisation_jti: str | None
    exception_number: str | None
    collector_id: StaffId
    collected_at: datetime
    deposit_due_at: datetime
    is_deposited: bool
    is_reversed: bool
    standing: Standing


class ReceiptAnswer(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What the public learns about a receipt: genuine, void or unknown, and nothing about anybody's debt."""

    status: str


def visible_to(actor: Actor, bank: InstrumentedAttribute[UUID], branch: InstrumentedAttribute[Any]) -> ColumnElement[bool]:
    """Return the condition that holds for what `actor` may see: their bank's, or their branches'."""
    if actor.bank is not None:
        return bank == actor.bank
    return true() if actor.sees_every_branch else branch.in_(actor.branches)


def policy_of_case(session: Session, case_id: UUID, at: datetime) -> Policy:
    """Return the policy by which a case's money is judged at `at`: its bank's own, where the bank has one. The agency's for no case of ours."""
    bank_id = session.scalar(select(CaseRow.bank_id).where(CaseRow.id == case_id))
    return policy_in_force(session, None if bank_id is None else BankId(bank_id), at)


def list_requests(session: Session, actor: Actor, keyring: Keyring, now: datetime, *, limit: int, after: UUID | None) -> list[RequestView]:
    """Return at most `limit` + 1 requests, oldest first. Explanations are opened for the bank's authorisers, and the read is recorded (SEC-01)."""
    authorise(actor, Permission.CASH_READ)
    query = (
        select(AuthorisationRequestRow, AuthorisationRow.jti)
        .join(AuthorisationRow, AuthorisationRow.request_id == AuthorisationRequestRow.id, isouter=True)
        .where(visible_to(actor, AuthorisationRequestRow.bank_id, AuthorisationRequestRow.branch_id))
    )
    if after is not None:
        query = query.where(AuthorisationRequestRow.id > after)
    rows = session.execute(query.order_by(AuthorisationRequestRow.id).limit(limit + 1)).all()
    if actor.bank is not None:
        record_read(session, actor, [row.case_id for row, _ in rows[:limit]], now, "cash-requests")
    duties = {bank_id: on_duty(session, BankId(bank_id), now) for bank_id in {row.bank_id for row, _ in rows}}
    return [
        RequestView(
            id=row.id, case_id=CaseId(row.case_id), visit_id=VisitId(row.visit_id) if row.visit_id else None, bank_id=BankId(row.bank_id),
            circumstance=row.circumstance, explanation=open_explanation(session, keyring, row) if actor.bank is not None else None,
            cap_requested_fen=Fen(row.cap_requested_fen), requested_by=StaffId(row.requested_by), requested_at=row.requested_at,
            expires_at=row.expires_at, answer_due_s=max(0, int((row.expires_at - now).total_seconds())), status=_status_at(row, now),
            is_seconded=row.seconded_by is not None, jti=jti, on_duty=duties[row.bank_id],
        )
        for row, jti in rows
    ]


def authorisations_in_force(session: Session, devices: frozenset[str], now: datetime) -> tuple[AuthorisationView, ...]:
    """Return the usable authorisations of exactly this pair of phones, of cases open for collection; for the day bundle."""
    rows = session.scalars(
        select(AuthorisationRow)
        .join(CaseRow, CaseRow.id == AuthorisationRow.case_id)
        .where(
            AuthorisationRow.expires_at > now, AuthorisationRow.revoked_at.is_(None), AuthorisationRow.collected_fen < AuthorisationRow.cap_fen,
            AuthorisationRow.collected_count < AuthorisationRow.max_collections, AuthorisationRow.devices == sorted(devices),
            open_for_collection(today_of(now)),
        )
        .order_by(AuthorisationRow.expires_at, AuthorisationRow.jti)
    )
    return tuple(
        AuthorisationView(
            jti=row.jti, case_id=CaseId(row.case_id), token=row.token, kid=row.kid, hardware=row.hardware.value,
            remaining_fen=Fen(row.cap_fen - row.collected_fen), remaining_collections=row.max_collections - row.collected_count,
            expires_at=row.expires_at,
        )
        for row in rows
    )


def revocations(session: Session, now: datetime) -> Revocations:
    """Return every revoked authorisation that has not ended by itself."""
    jtis = session.scalars(
        select(AuthorisationRow.jti).where(AuthorisationRow.revoked_at.is_not(None), AuthorisationRow.expires_at > now).order_by(AuthorisationRow.jti)
    )
    return Revocations(taken_at=now, jtis=tuple(jtis))


def booked_digests(session: Session, pair: frozenset[StaffId], now: datetime) -> tuple[str, ...]:
    """Return the digests of these people's receipts of the last month: phones count what is not among them against what may be taken."""
    rows = session.scalars(
        select(ReceiptRow.digest).join(CollectionRow, CollectionRow.id == ReceiptRow.collection_id)
        .where(or_(CollectionRow.collector_id.in_(pair), CollectionRow.cosigner_id.in_(pair)), CollectionRow.recorded_at > now - BOOKED_SHOWN)
        .order_by(CollectionRow.recorded_at.desc(), ReceiptRow.digest).limit(500)
    )
    return tuple(rows)


def list_custody(session: Session, actor: Actor, now: datetime) -> list[CustodyView]:
    """Return what each visible employee holds and answers for, per bank, with what is past its deadline (CASH-08)."""
    authorise(actor, Permission.CASH_READ)
    kinds = (AccountKind.CUSTODY, AccountKind.SUSPENSE)
    held: dict[tuple[UUID, UUID], dict[AccountKind, int]] = {}
    accounts = select(AccountRow.kind, AccountRow.owner, AccountRow.bank_id, AccountRow.balance_fen)
    for row in session.execute(accounts.where(AccountRow.kind.in_(kinds))):
        held.setdefault((UUID(row.owner), row.bank_id), {})[row.kind] = row.balance_fen
    due = {
        (row.collector_id, row.bank_id): row
        for row in session.execute(
            select(
                CollectionRow.collector_id, CollectionRow.bank_id, func.min(CollectionRow.deposit_due_at).label("oldest"),
                func.sum(CollectionRow.amount_fen).filter(CollectionRow.deposit_due_at < now).label("overdue"),
            )
            .where(~is_deposited(), ~is_reversed()).group_by(CollectionRow.collector_id, CollectionRow.bank_id)
        )
    }
    seen = set(session.scalars(select(StaffRow.id).where(StaffRow.bank_id.is_(None), _staff_visible(actor))))
    return [
        CustodyView(
            staff_id=StaffId(staff_id), bank_id=BankId(bank_id), custody_fen=Fen(sums.get(AccountKind.CUSTODY, 0)),
            suspense_fen=Fen(sums.get(AccountKind.SUSPENSE, 0)), oldest_due_at=due[staff_id, bank_id].oldest if (staff_id, bank_id) in due else None,
            overdue_fen=Fen(int(due[staff_id, bank_id].overdue or 0)) if (staff_id, bank_id) in due else Fen(0),
        )
        for (staff_id, bank_id), sums in sorted(held.items())
        if staff_id in seen and (actor.bank is None or bank_id == actor.bank)
    ]


def list_collections(session: Session, actor: Actor, *, limit: int, after: UUID | None, case_id: UUID | None = None) -> list[CollectionView]:
    """Return at most `limit` + 1 collections after a cursor, oldest first."""
    authorise(actor, Permission.CASH_READ)
    query = (
        select(CollectionRow, ReceiptRow, is_deposited(), is_reversed())
        .join(ReceiptRow, ReceiptRow.collection_id == CollectionRow.id)
        .where(visible_to(actor, CollectionRow.bank_id, CollectionRow.branch_id))
    )
    if case_id is not None:
        query = query.where(CollectionRow.case_id == case_id)
    if after is not None:
        query = query.where(CollectionRow.id > after)
    return [
        CollectionView(
            id=row.id, case_id=CaseId(row.case_id), visit_id=VisitId(row.visit_id) if row.visit_id else None, bank_id=BankId(row.bank_id),
            receipt_number=row.receipt_number, stated_number=receipt.stated_number, amount_fen=Fen(row.amount_fen), capitals=receipt.capitals,
            instrument=row.instrument, authorisation_jti=row.authorisation_jti, exception_number=row.exception_number,
            collector_id=StaffId(row.collector_id), collected_at=row.collected_at, deposit_due_at=row.deposit_due_at, is_deposited=bool(deposited),
            is_reversed=bool(undone), standing=row.standing,
        )
        for row, receipt, deposited, undone in session.execute(query.order_by(CollectionRow.id).limit(limit + 1))
    ]


def list_deposits(session: Session, actor: Actor, *, limit: int, after: UUID | None) -> list[DepositView]:
    """Return at most `limit` + 1 deposits after a cursor."""
    authorise(actor, Permission.CASH_READ)
    query = select(DepositRow).where(visible_to(actor, DepositRow.bank_id, DepositRow.branch_id))
    if after is not None:
        query = query.where(DepositRow.id > after)
    return [
        DepositView(
            id=DepositId(row.id), bank_id=BankId(row.bank_id), depositor_id=StaffId(row.depositor_id), account_digest=row.account_digest,
            channel=row.channel, slip_reference=row.slip_reference, amount_fen=Fen(row.amount_fen), deposited_at=row.deposited_at, status=row.status,
            standing=row.standing,
        )
        for row in session.scalars(query.order_by(DepositRow.id).limit(limit + 1))
    ]


def list_variances(session: Session, actor: Actor, *, limit: int, after: UUID | None) -> list[VarianceView]:
    """Return at most `limit` + 1 variances after a cursor: those of the actor's bank, or of the people of the actor's branches."""
    authorise(actor, Permission.CASH_READ)
    query = select(VarianceRow).join(StaffRow, StaffRow.id == VarianceRow.owner_id)
    query = query.where(VarianceRow.bank_id == actor.bank if actor.bank is not None else _staff_visible(actor))
    if after is not None:
        query = query.where(VarianceRow.id > after)
    return [
        VarianceView(
            id=row.id, bank_id=BankId(row.bank_id), kind=row.kind, amount_fen=Fen(row.amount_fen), owner_id=StaffId(row.owner_id),
            deposit_id=row.deposit_id, opened_at=row.opened_at, status=row.status, resolved_at=row.resolved_at,
            resolution=row.resolution,
        )
        for row in session.scalars(query.order_by(VarianceRow.id).limit(limit + 1))
    ]


def verify_receipt(session: Session, number: str, amount_fen: int, code: str) -> ReceiptAnswer:
    """Answer whoever holds a receipt: `genuine`, `void` or `unknown`. A wrong code, amount or number are all the same `unknown`."""
    row = session.execute(
        select(ReceiptNumberRow.code, ReceiptNumberRow.status, ReceiptRow.amount_fen)
        .join(ReceiptRow, ReceiptRow.leased_number == ReceiptNumberRow.number, isouter=True)
        .where(ReceiptNumberRow.number == number)
    ).one_or_none()
    # Compared in constant time, and also when there is no such number, so that the time tells nothing.
    is_right_code = hmac.compare_digest((row.code if row else "-" * 20).encode(), code.upper().encode())
    if row is None or not is_right_code:
        return ReceiptAnswer(status="unknown")
    if row.status is NumberStatus.VOID:
        return ReceiptAnswer(status="void")
    is_genuine = row.status is NumberStatus.ISSUED and row.amount_fen == amount_fen
    return ReceiptAnswer(status="genuine" if is_genuine else "unknown")


def _status_at(row: AuthorisationRequestRow, now: datetime) -> RequestStatus:
    is_unanswered = row.status in (RequestStatus.REQUESTED, RequestStatus.SECONDED)
    return RequestStatus.EXPIRED if is_unanswered and now >= row.expires_at else row.status


def _staff_visible(actor: Actor) -> ColumnElement[bool]:
    if actor.bank is not None or actor.sees_every_branch:
        return true()
    return StaffRow.branch_id.in_(actor.branches)
