"""Reads of promises, proposals, offers, ways of paying and notices."""

from collections.abc import Collection
from datetime import date, datetime
from uuid import UUID

import msgspec
from sqlalchemy import ColumnElement, and_, or_, select, true
from sqlalchemy.orm import Session

from backend.auth.actors import Actor
from backend.auth.authorise import authorise
from backend.auth.permissions import Permission
from backend.cases.queries import open_for_collection
from backend.cases.tables import CaseRow
from backend.core.fen import Fen
from backend.core.ids import BankId, CaseId, StaffId
from backend.offers.model import PromiseStatus, ProposalStatus, Terms
from backend.offers.tables import PaymentNoticeRow, PromiseRow, ProposalRow, RepaymentMethodRow


class PromiseView(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One promise and what became of it."""

    id: UUID
    case_id: CaseId
    amount_fen: Fen
    made_on: date
    due_on: date
    status: PromiseStatus
    judged_at: datetime | None
    followed_up_at: datetime | None


class ProposalView(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One proposal; `is_offer` tells whether it may be shown to the customer today."""

    id: UUID
    case_id: CaseId
    bank_id: BankId
    terms: Terms
    is_hardship: bool
    proposed_by: StaffId
    proposed_at: datetime
    status: ProposalStatus
    decided_at: datetime | None
    valid_to_on: date | None
    is_offer: bool


class MethodView(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One way of paying of a bank."""

    code: str
    text_zh: str
    text_en: str
    is_offered: bool


class NoticeView(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A payment of which the customer is to be told."""

    id: UUID
    case_id: CaseId
    raised_at: datetime
    told_at: datetime | None


Owned = type[PromiseRow] | type[ProposalRow] | type[PaymentNoticeRow]


def visible_to(actor: Actor, rows: Owned) -> ColumnElement[bool]:
    """Return the condition that holds for what `actor` may see: their bank's, or their branches'."""
    if actor.bank is not None:
        return rows.bank_id == actor.bank
    return true() if actor.sees_every_branch else rows.branch_id.in_(actor.branches)


def list_promises(
    session: Session, actor: Actor, *, limit: int, after: UUID | None, case_id: UUID | None = None, due_by: date | None = None
) -> list[PromiseView]:
    """Return at most `limit` + 1 promises after a cursor.

    With `due_by` those to follow up: open and due by then, or broken and not asked about, of cases that nothing stops on that day.
    A witnessed payment that the bank has not confirmed yet stops its case, so nobody who has paid is pressed (F10).
    """
    authorise(actor, Permission.CASE_READ)
    query = select(PromiseRow).where(visible_to(actor, PromiseRow))
    if case_id is not None:
        query = query.where(PromiseRow.case_id == case_id)
    if due_by is not None:
        is_due = and_(PromiseRow.status == PromiseStatus.OPEN, PromiseRow.due_on <= due_by)
        is_broken = and_(PromiseRow.status == PromiseStatus.BROKEN, or_(
            PromiseRow.followed_up_at.is_(None), PromiseRow.followed_up_at < PromiseRow.judged_at))
        is_open = select(CaseRow.id).where(CaseRow.id == PromiseRow.case_id, open_for_collection(due_by)).exists()
        query = query.where(or_(is_due, is_broken), is_open)
    if after is not None:
        query = query.where(PromiseRow.id > after)
    return [
        PromiseView(
            id=row.id, case_id=CaseId(row.case_id), amount_fen=Fen(row.amount_fen), made_on=row.made_on, due_on=row.due_on, status=row.status,
            judged_at=row.judged_at, followed_up_at=row.followed_up_at,
        ) for row in session.scalars(query.order_by(PromiseRow.id).limit(limit + 1))
    ]


def list_proposals(
    session: Session, actor: Actor, on: date, *, limit: int, after: UUID | None, case_id: UUID | None = None, status: ProposalStatus | None = None
) -> list[ProposalView]:
    """Return at most `limit` + 1 proposals after a cursor, oldest first."""
    authorise(actor, Permission.CASE_READ)
    query = select(ProposalRow).where(visible_to(actor, ProposalRow))
    if case_id is not None:
        query = query.where(ProposalRow.case_id == case_id)
    if status is not None:
        query = query.where(ProposalRow.status == status)
    if after is not None:
        query = query.where(ProposalRow.id > after)
    return [_view(row, on) for row in session.scalars(query.order_by(ProposalRow.id).limit(limit + 1))]


def offers_of(session: Session, case_ids: Collection[UUID], on: date) -> list[ProposalView]:
    """Return what a pair may show at these doors: offers of the bank that stand on that day, and never a proposal (BANK-01)."""
    rows = session.scalars(
        select(ProposalRow)
        .where(ProposalRow.case_id.in_(sorted(case_ids)), ProposalRow.status == ProposalStatus.OFFERED, ProposalRow.valid_to_on >= on)
        .order_by(ProposalRow.case_id, ProposalRow.id)
    )
    return [_view(row, on) for row in rows]


def authorised_methods(session: Session, bank_id: BankId) -> frozenset[str]:
    """Return the codes of the ways of paying that a bank offers now."""
    return frozenset(one.code for one in methods_of(session, bank_id) if one.is_offered)


def methods_of(session: Session, bank_id: BankId) -> list[MethodView]:
    """Return every way of paying on a bank's list."""
    rows = session.scalars(select(RepaymentMethodRow).where(RepaymentMethodRow.bank_id == bank_id).order_by(RepaymentMethodRow.code))
    return [
        MethodView(
            code=row.code, text_zh=row.text_zh, text_en=row.text_en, is_offered=row.authorised_at is not None and row.withdrawn_at is None,
        ) for row in rows
    ]


def list_notices(session: Session, actor: Actor, *, limit: int, after: UUID | None) -> list[NoticeView]:
    """Return at most `limit` + 1 notices after a cursor, oldest first."""
    authorise(actor, Permission.CASE_READ)
    query = select(PaymentNoticeRow).where(visible_to(actor, PaymentNoticeRow))
    if after is not None:
        query = query.where(PaymentNoticeRow.id > after)
    return [
        NoticeView(id=row.id, case_id=CaseId(row.case_id), raised_at=row.raised_at, told_at=row.told_at)
        for row in session.scalars(query.order_by(PaymentNoticeRow.id).limit(limit + 1))
    ]


def _view(row: ProposalRow, on: date) -> ProposalView:
    return ProposalView(
        id=row.id, case_id=CaseId(row.case_id), bank_id=BankId(row.bank_id), terms=msgspec.convert(row.terms, Terms), is_hardship=row.is_hardship,
        proposed_by=StaffId(row.proposed_by), proposed_at=row.proposed_at, status=row.status, decided_at=row.decided_at, valid_to_on=row.valid_to_on,
        is_offer=row.status is ProposalStatus.OFFERED and row.valid_to_on is not None and row.valid_to_on >= on,
    )
