"""The ledger's transfers as a page of views: what moved, from which account to which, and why. Reads only."""

from datetime import datetime
from uuid import UUID

import msgspec
from sqlalchemy import ColumnElement, or_, select, true
from sqlalchemy.orm import Session, aliased

from backend.auth.actors import Actor
from backend.auth.authorise import authorise
from backend.auth.permissions import Permission
from backend.cases.tables import CaseRow
from backend.cash.model import AccountKind, TransferKind
from backend.cash.tables import AccountRow, CollectionRow, TransferRow
from backend.core.fen import Fen
from backend.core.ids import BankId, TransferId
from backend.core.problems import NotFound
from backend.staff.tables import StaffRow


class NamedAccount(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """An account by kind and owner: a case, an employee, or the digest of a bank's account."""

    kind: AccountKind
    owner: str


class TransferView(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One transfer: out of `credit`, into `debit`."""

    id: TransferId
    at: datetime
    kind: TransferKind
    debit: NamedAccount
    credit: NamedAccount
    amount_fen: Fen
    receipt_number: str | None
    reverses_id: UUID | None


def transfers_seen_by(actor: Actor) -> ColumnElement[bool]:
    """Return the condition on `TransferRow` that holds for what `actor` may see: their bank's, or made by or for the people of their branches."""
    if actor.bank is not None:
        return TransferRow.bank_id == actor.bank
    if actor.sees_every_branch:
        return true()
    colleagues = select(StaffRow.id).where(StaffRow.branch_id.in_(actor.branches))
    own_cases = select(CaseRow.id).where(CaseRow.branch_id.in_(actor.branches))
    return or_(TransferRow.made_by.in_(colleagues), TransferRow.case_id.in_(own_cases))


def list_transfers(session: Session, actor: Actor, bank_id: BankId, *, limit: int, after: UUID | None) -> list[TransferView]:
    """Return up to `limit` + 1 transfers of a bank's money that the actor sees, oldest first.

    Raises:
        NotFound: another bank's.
    """
    authorise(actor, Permission.CASH_READ)
    if actor.bank is not None and actor.bank != bank_id:
        raise NotFound
    debit, credit = aliased(AccountRow), aliased(AccountRow)
    query = (
        select(TransferRow, debit, credit, CollectionRow.receipt_number).join(debit, debit.id == TransferRow.debit_id)
        .join(credit, credit.id == TransferRow.credit_id).outerjoin(CollectionRow, CollectionRow.id == TransferRow.collection_id)
        .where(TransferRow.bank_id == bank_id, transfers_seen_by(actor)).order_by(TransferRow.id).limit(limit + 1)
    )
    if after is not None:
        query = query.where(TransferRow.id > after)
    return [
        TransferView(
            id=TransferId(row.id), at=row.at, kind=row.kind, debit=NamedAccount(kind=into.kind, owner=into.owner),
            credit=NamedAccount(kind=out_of.kind, owner=out_of.owner), amount_fen=Fen(row.amount_fen), receipt_number=number,
            reverses_id=row.reverses_id,
        ) for row, into, out_of, number in session.execute(query)
    ]
