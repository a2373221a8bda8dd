"""The proof of books: what was receipted, and where every fen of it is, per bank, per case and per collector (CASH-08, CASH-09).

The two sides are computed from different rows: receipts on one, balances that the ledger's triggers moved on the other.
"""

from collections import defaultdict
from uuid import UUID

import msgspec
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from backend.auth.actors import Actor
from backend.cases import queries as cases
from backend.cases.tables import CaseRow
from backend.cash.custody_facts import is_deposited, is_reversed
from backend.cash.model import AccountKind, DepositStatus, VarianceStatus
from backend.cash.tables import AccountRow, CollectionRow, DepositRow, PostingRow, ReceiptRow, TransferRow, VarianceRow
from backend.core.fen import Fen
from backend.core.ids import BankId, CaseId, StaffId
from backend.staff.tables import StaffRow


class CaseBooks(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One case: receipted, of that in deposits, of that still held; and what its debtor account says."""

    case_id: CaseId
    receipted_fen: Fen
    deposited_fen: Fen
    held_fen: Fen
    ledger_fen: Fen


class CollectorBooks(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One collector: receipted by them, of that in deposits, what they hold, what they answer for."""

    staff_id: StaffId
    receipted_fen: Fen
    deposited_fen: Fen       # Of what they receipted; the rest is held by them, or by whom they handed it to.
    custody_fen: Fen
    suspense_fen: Fen


class BooksProof(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The books of one bank. `differences` names every equation that does not hold; empty means proven to the fen."""

    bank_id: BankId
    receipt_count: int
    receipted_fen: Fen
    custody_fen: Fen
    in_transit_fen: Fen
    designated_fen: Fen
    suspense_fen: Fen
    open_variance_count: int
    cases: tuple[CaseBooks, ...]
    collectors: tuple[CollectorBooks, ...]
    differences: tuple[str, ...]
    is_whole_bank: bool = True      # False: the sums are those of the reader's own branches alone.


def prove_books(session: Session, bank_id: BankId) -> BooksProof:
    """Prove: receipts = custody + in transit + designated + suspense; every case's and account's sums; every balance from its postings."""
    of_bank = (CollectionRow.bank_id == bank_id, ~is_reversed())
    count, receipted = session.execute(
        select(func.count(ReceiptRow.number), func.coalesce(func.sum(ReceiptRow.amount_fen), 0))
        .join(CollectionRow, CollectionRow.id == ReceiptRow.collection_id).where(*of_bank)
    ).one()
    held: dict[AccountKind, int] = defaultdict(int)
    owners: dict[tuple[AccountKind, str], int] = {}
    for account in session.execute(select(AccountRow.kind, AccountRow.owner, AccountRow.balance_fen).where(AccountRow.bank_id == bank_id)):
        held[account.kind] += account.balance_fen
        owners[account.kind, account.owner] = account.balance_fen
    by_case = _cases(session, bank_id, owners)
    open_count = session.scalar(
        select(func.count()).select_from(VarianceRow).where(VarianceRow.bank_id == bank_id, VarianceRow.status != VarianceStatus.RESOLVED)
    )
    places = (AccountKind.CUSTODY, AccountKind.IN_TRANSIT, AccountKind.DESIGNATED, AccountKind.SUSPENSE)
    found = [
        *_unequal("receipts against custody, in transit, designated and suspense", int(receipted), sum(held[kind] for kind in places)),
        *_unequal("receipts against debtors' accounts", int(receipted), -held[AccountKind.DEBTOR]),
        *(text for case in by_case for text in _unequal(f"case {case.case_id}", case.receipted_fen, case.ledger_fen)),
        *_unposted(session, bank_id),
    ]
    return BooksProof(
        bank_id=bank_id, receipt_count=count, receipted_fen=Fen(int(receipted)), custody_fen=Fen(held[AccountKind.CUSTODY]),
        in_transit_fen=Fen(held[AccountKind.IN_TRANSIT]), designated_fen=Fen(held[AccountKind.DESIGNATED]),
        suspense_fen=Fen(held[AccountKind.SUSPENSE]), open_variance_count=open_count or 0, cases=by_case,
        collectors=_collectors(session, bank_id, owners), differences=tuple(found),
    )


def shown_to(session: Session, actor: Actor, books: BooksProof) -> BooksProof:
    """Return a proof as far as the actor sees the bank's money: whole for the bank and the head office, else the own branches' (SEC-01).

    A branch is told that the bank's books are unequal, but not by how much.
    """
    # Asked by the bank, not by a list of ids: a bank's books hold more cases than a statement has parameters.
    of_bank = select(CollectionRow.id).where(CollectionRow.case_id == CaseRow.id, CollectionRow.bank_id == books.bank_id).exists()
    seen = set(session.scalars(select(CaseRow.id).where(of_bank, cases.visible_to(actor))))
    people = select(StaffRow.id).where(StaffRow.bank_id.is_(None))
    if actor.bank is None and not actor.sees_every_branch:
        people = people.where(StaffRow.branch_id.in_(actor.branches))
    colleagues = set(session.scalars(people))
    shown = msgspec.structs.replace(
        books, cases=tuple(one for one in books.cases if one.case_id in seen),
        collectors=tuple(one for one in books.collectors if one.staff_id in colleagues),
    )
    return shown if actor.bank is not None or actor.sees_every_branch else _of_branches(session, actor, shown)


def _of_branches(session: Session, actor: Actor, shown: BooksProof) -> BooksProof:
    """Put the sums of the actor's own branches in the place of the bank's."""
    receipt_count = session.scalar(select(func.count()).select_from(CollectionRow).where(
        CollectionRow.bank_id == shown.bank_id, CollectionRow.branch_id.in_(actor.branches), ~is_reversed()))
    paid_in = {status: int(total) for status, total in session.execute(
        select(DepositRow.status, func.sum(TransferRow.amount_fen)).join(TransferRow, TransferRow.id == DepositRow.transfer_id)
        .where(DepositRow.bank_id == shown.bank_id, DepositRow.branch_id.in_(actor.branches)).group_by(DepositRow.status))}
    open_count = session.scalar(select(func.count()).select_from(VarianceRow).where(
        VarianceRow.bank_id == shown.bank_id, VarianceRow.status != VarianceStatus.RESOLVED,
        VarianceRow.owner_id.in_(select(StaffRow.id).where(StaffRow.branch_id.in_(actor.branches)))))
    return msgspec.structs.replace(
        shown, receipt_count=receipt_count or 0, receipted_fen=Fen(sum(one.receipted_fen for one in shown.cases)),
        custody_fen=Fen(sum(one.custody_fen for one in shown.collectors)), suspense_fen=Fen(sum(one.suspense_fen for one in shown.collectors)),
        in_transit_fen=Fen(paid_in.get(DepositStatus.POSTED, 0)), designated_fen=Fen(paid_in.get(DepositStatus.CONFIRMED, 0)),
        open_variance_count=open_count or 0, differences=("the books of the bank are not equal",) if shown.differences else (), is_whole_bank=False,
    )


def _cases(session: Session, bank_id: BankId, owners: dict[tuple[AccountKind, str], int]) -> tuple[CaseBooks, ...]:
    rows = session.execute(
        select(CollectionRow.case_id, is_deposited().label("deposited"), func.sum(CollectionRow.amount_fen))
        .where(CollectionRow.bank_id == bank_id, ~is_reversed()).group_by(CollectionRow.case_id, "deposited")
    )
    sums: dict[UUID, list[int]] = defaultdict(lambda: [0, 0])
    for case_id, deposited, total in rows:
        sums[case_id][bool(deposited)] += int(total)
    for kind, owner in owners:
        if kind is AccountKind.DEBTOR:
            sums[UUID(owner)]
    return tuple(
        CaseBooks(
            case_id=CaseId(case_id), receipted_fen=Fen(kept + paid), deposited_fen=Fen(paid), held_fen=Fen(kept),
            ledger_fen=Fen(-owners.get((AccountKind.DEBTOR, str(case_id)), 0)),
        )
        for case_id, (kept, paid) in sorted(sums.items())
    )


def _collectors(session: Session, bank_id: BankId, owners: dict[tuple[AccountKind, str], int]) -> tuple[CollectorBooks, ...]:
    receipted: dict[str, int] = defaultdict(int)
    deposited: dict[str, int] = defaultdict(int)
    for staff_id, is_paid_in, total in session.execute(
        select(CollectionRow.collector_id, is_deposited().label("deposited"), func.sum(CollectionRow.amount_fen))
        .where(CollectionRow.bank_id == bank_id, ~is_reversed()).group_by(CollectionRow.collector_id, "deposited")
    ):
        receipted[str(staff_id)] += int(total)
        deposited[str(staff_id)] += int(total) if is_paid_in else 0
    people = {owner for kind, owner in owners if kind in (AccountKind.CUSTODY, AccountKind.SUSPENSE)} | set(receipted)
    return tuple(
        CollectorBooks(
            staff_id=StaffId(UUID(one)), receipted_fen=Fen(receipted.get(one, 0)), deposited_fen=Fen(deposited.get(one, 0)),
            custody_fen=Fen(owners.get((AccountKind.CUSTODY, one), 0)), suspense_fen=Fen(owners.get((AccountKind.SUSPENSE, one), 0)),
        )
        for one in sorted(people)
    )


def _unposted(session: Session, bank_id: BankId) -> list[str]:
    """Compare each balance with the sum of its postings, and their number with their count."""
    rows = session.execute(
        select(AccountRow.id, AccountRow.balance_fen, AccountRow.posting_count, func.coalesce(func.sum(PostingRow.amount_fen), 0),
               func.count(PostingRow.ordinal))
        .join(PostingRow, PostingRow.account_id == AccountRow.id, isouter=True)
        .where(AccountRow.bank_id == bank_id).group_by(AccountRow.id, AccountRow.balance_fen, AccountRow.posting_count)
    )
    found: list[str] = []
    for account_id, balance_fen, posting_count, posted_fen, counted in rows:
        found += _unequal(f"account {account_id} against its postings", balance_fen, int(posted_fen))
        found += _unequal(f"account {account_id}: number of postings", posting_count, counted)
    return found


def _unequal(name: str, left: int, right: int) -> list[str]:
    return [] if left == right else [f"{name}: {left} is not {right}"]


