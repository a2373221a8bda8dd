"""The bank's repayment file: what reached the bank for each case. It pays cases and judges promises and plans.

A row per repayment: the bank's reference of the case, the reference of the payment, the day it was booked, the amount.
"""

import re
from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import Final
from uuid import UUID

import msgspec
from sqlalchemy import select
from sqlalchemy.orm import Session

from backend.audit.events import EventTag
from backend.audit.record import record
from backend.auth.actors import Actor
from backend.auth.authorise import authorise
from backend.auth.permissions import Permission
from backend.banks import queries as banks
from backend.cases import queries as cases
from backend.cases.actions import lock_cases, record_repayment
from backend.cases.layout import BatchOutcome
from backend.cases.model import today_of
from backend.cases.placement import Rejection
from backend.cases.tables import CaseRow, RepaymentRow
from backend.cash import bank_files, claims
from backend.cash.bank_files import BankFile, FileRefused, Table, amount_of, day_of, rejected
from backend.cash.model import FileKind
from backend.cash.tables import BankFileRow
from backend.core.fen import Fen
from backend.core.ids import BankId, CaseId
from backend.core.problems import InvalidInput
from backend.offers import promises

HEADINGS: Final[Mapping[str, tuple[str, ...]]] = {
    "case": ("case", "案件编号", "案件号"), "reference": ("reference", "流水号", "凭证号"),
    "paid_on": ("paid_on", "还款日期", "入账日期"), "amount": ("amount", "还款金额", "金额"),
}
_REFERENCE: Final = re.compile(r"[0-9A-Za-z._/-]{1,64}")
_CHUNK: Final = 500


class Repaid(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What became of a repayment file; the same for every import of the same file by people of the same branches."""

    file_id: UUID
    outcome: BatchOutcome
    accepted_count: int
    rejected_count: int
    accepted_fen: Fen
    is_first: bool


class _Repayment(msgspec.Struct, frozen=True, kw_only=True):
    row_number: int
    case_id: UUID
    reference: str
    paid_on: date
    amount_fen: Fen
    is_new: bool


def import_repayments(session: Session, actor: Actor, file: BankFile, now: datetime) -> Repaid:
    """Import a bank's repayments up to `as_of_on`: those of the actor's own cases. The same file, or a payment known already, changes nothing.

    Raises:
        Forbidden: neither a clerk nor the bank's liaison.
        NotFound: no such bank.
        InvalidInput: the file claims to know the future.
        FileUnreadable, ControlTotalsMismatch: nothing is stored.
    """
    authorise(actor, Permission.BATCH_IMPORT)
    banks.bank(session, actor, file.bank_id)
    if file.as_of_on is None or file.as_of_on > today_of(now):
        raise InvalidInput(pointer="/asOfOn", expected="today or a day before", got=str(file.as_of_on))
    bank_files.lock_bank(session, file.bank_id)
    known = bank_files.earlier(session, actor, file, FileKind.REPAYMENTS)
    if known is not None:
        return _repaid(known, is_first=False)
    table = bank_files.read_table(file, HEADINGS)
    bank_files.demand_totals(file, table, (cells["amount"] for _, cells in table.rows))
    good, rejections = _judge(session, actor, file, table)
    row = bank_files.keep(
        session, actor, file, FileKind.REPAYMENTS, table, rejections=rejections, accepted=[one.amount_fen for one in good], now=now)
    record(session, actor, EventTag.REPAYMENTS_IMPORTED, f"bank:{file.bank_id}", now, file=row.id, outcome=row.outcome.value,
           rows=row.accepted_count, rejected=row.rejected_count, total_fen=row.accepted_fen)
    if row.outcome is BatchOutcome.IMPORTED:
        lock_cases(session, {
            *(one.case_id for one in good), *promises.judged_cases(session, actor, file.bank_id, file.as_of_on),
            *claims.due_cases(session, actor, file.bank_id, now)})
        for one in good:
            record_repayment(session, actor, one.case_id, reference=one.reference, amount=one.amount_fen, paid_on=one.paid_on, now=now)
        claims.confirm_all(session, actor, [(claims.Repayment(
            case_id=CaseId(one.case_id), amount_fen=one.amount_fen, paid_on=one.paid_on, reference=one.reference), one.is_new) for one in good], now)
        promises.after_repayments(session, actor, [one.case_id for one in good], now)
        promises.judge_until(session, actor, file.bank_id, file.as_of_on, now)
        claims.contradict_due(session, actor, file.bank_id, file.as_of_on, now)
    return _repaid(row, is_first=True)


def record_one(session: Session, actor: Actor, seen: claims.Repayment, now: datetime) -> bool:
    """Record a single repayment as a file's line would be; returns whether the case is paid.

    Raises:
        Forbidden, NotFound, Conflict: as `cases.actions.record_repayment`.
    """
    is_paid = record_repayment(
        session, actor, seen.case_id, reference=seen.reference, amount=seen.amount_fen, paid_on=seen.paid_on, now=now)
    claims.confirm(session, actor, seen, now)
    promises.after_repayments(session, actor, (seen.case_id,), now)
    return is_paid


def demand_taken(done: Repaid) -> Repaid:
    """Return the result, or refuse after the commit that kept the rejections. Raises `FileRefused`."""
    if done.outcome is BatchOutcome.REFUSED:
        raise FileRefused(file_id=str(done.file_id), rejected_count=done.rejected_count)
    return done


def _judge(session: Session, actor: Actor, file: BankFile, table: Table) -> tuple[list[_Repayment], tuple[Rejection, ...]]:
    case_ids = _cases(session, actor, file.bank_id, [cells["case"] for _, cells in table.rows])
    stored = _stored(session, sorted(case_ids.values()))
    assert file.as_of_on is not None, "a repayment file is dated"
    good: list[_Repayment] = []
    rejections, seen = list(table.rejections), dict[tuple[UUID, str], int]()
    for number, cells in table.rows:
        case_id, amount, on, reference = case_ids.get(cells["case"]), amount_of(cells["amount"]), day_of(cells["paid_on"]), cells["reference"]
        earlier = stored.get((case_id, reference)) if case_id is not None else None
        first = seen.setdefault((case_id, reference), number) if case_id is not None else number
        reasons = [
            rejected(number, column, code, expected, got) for column, code, expected, got, is_wrong in (
                ("case", "unknown-case", "a case of this bank", cells["case"], case_id is None),
                ("amount", "malformed-amount", "yuan with at most two decimals, above zero", cells["amount"], amount is None),
                ("reference", "malformed", "1 to 64 letters, digits or ._/-", reference, not _REFERENCE.fullmatch(reference)),
                ("paid_on", "malformed-date", "YYYY-MM-DD", cells["paid_on"], on is None),
                ("paid_on", "after-the-file", f"{file.as_of_on} or before", cells["paid_on"], on is not None and on > file.as_of_on),
                ("reference", "reference-used", "the amount and day known under it", cells["amount"],
                 earlier is not None and amount is not None and earlier != (amount, on)),
                ("reference", "duplicate-in-file", "once", f"first in row {first}", first != number),
            ) if is_wrong
        ]
        rejections += reasons
        if not reasons and case_id is not None and amount is not None and on is not None:
            good.append(_Repayment(
                row_number=number, case_id=case_id, reference=reference, paid_on=on, amount_fen=amount, is_new=earlier is None))
    return good, tuple(rejections)


def _cases(session: Session, actor: Actor, bank_id: BankId, references: Sequence[str]) -> dict[str, UUID]:
    found: dict[str, UUID] = {}
    wanted = sorted({one for one in references if one})
    for start in range(0, len(wanted), _CHUNK):
        query = select(CaseRow.bank_reference, CaseRow.id).where(
            CaseRow.bank_id == bank_id, CaseRow.bank_reference.in_(wanted[start : start + _CHUNK]), cases.visible_to(actor))
        found |= {row.bank_reference: row.id for row in session.execute(query)}
    return found


def _stored(session: Session, case_ids: Sequence[UUID]) -> dict[tuple[UUID, str], tuple[int, date]]:
    found: dict[tuple[UUID, str], tuple[int, date]] = {}
    for start in range(0, len(case_ids), _CHUNK):
        for row in session.scalars(select(RepaymentRow).where(RepaymentRow.case_id.in_(case_ids[start : start + _CHUNK]))):
            found[row.case_id, row.reference] = (row.amount_fen, row.paid_on)
    return found


def _repaid(row: BankFileRow, *, is_first: bool) -> Repaid:
    return Repaid(
        file_id=row.id, outcome=row.outcome, accepted_count=row.accepted_count, rejected_count=row.rejected_count,
        accepted_fen=Fen(row.accepted_fen), is_first=is_first,
    )
