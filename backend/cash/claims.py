"""Paid to the bank before the pair's eyes: a claim without any receipt, until the bank's repayment file settles it (F10).

Nobody of ours touched the money, so nothing is booked. While a claim is open its case is stopped, so that no call, letter, visit or
follow-up presses a debtor who has paid; the file that shows the payment confirms it, and a file that ought to show it and does not
contradicts it.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import ColumnElement, and_, func, select
from sqlalchemy.orm import Session

from backend.audit.events import EventTag
from backend.audit.record import record
from backend.auth.actors import Actor
from backend.auth.authorise import authorise
from backend.auth.permissions import Permission
from backend.cases.actions import lock_cases, note_claims
from backend.cases.model import today_of
from backend.cases.tables import RepaymentRow
from backend.cash.claim_model import ClaimEvent, ClaimStatus, advance_claim
from backend.cash.field_tables import DirectPaymentRow
from backend.cash.model import demand_positive
from backend.cash.queries import visible_to
from backend.core.fen import Fen
from backend.core.ids import BankId, CaseId, StaffId, VisitId, new_id
from backend.core.problems import NotFound
from backend.policies.queries import policy_in_force
from backend.visits.catalogue import CATALOGUE_VERSION, CATALOGUES, Outcome, read_field
from backend.visits.tables import VisitRow

EARLIER = timedelta(days=1)
"""How far before the stated moment a bank may date the payment."""


class WitnessedPayment(msgspec.Struct, frozen=True, kw_only=True):
    """What the pair saw: the debtor paid the bank. `paid_at` is what the screen said, `witnessed_at` when it was seen."""

    visit_id: VisitId
    amount_fen: Fen
    channel: str
    paid_at: datetime
    witnessed_at: datetime

    def __post_init__(self) -> None:
        demand_positive(self.amount_fen)


class Repayment(msgspec.Struct, frozen=True, kw_only=True):
    """One line of a bank's repayment file, as far as a claim is settled by it."""

    case_id: CaseId
    amount_fen: Fen
    paid_on: date
    reference: str


class ClaimView(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One claim and what became of it."""

    id: UUID
    case_id: CaseId
    visit_id: VisitId
    bank_id: BankId
    amount_fen: Fen
    channel: str
    paid_at: datetime
    witnessed_by: StaffId
    witnessed_at: datetime
    due_at: datetime
    status: ClaimStatus
    reference: str | None
    confirmed_fen: Fen | None


def witnessed_payment(visit_id: VisitId, code: str, fields: Mapping[str, Any], at: datetime) -> WitnessedPayment | None:
    """Return what an outcome tells of a direct payment; None for other outcomes, and while a field is missing or not of its kind."""
    if code != Outcome.PAID_DIRECTLY:
        return None
    read = {field.name: read_field(field, fields.get(field.name)) for field in CATALOGUES[CATALOGUE_VERSION][Outcome.PAID_DIRECTLY].fields}
    if any(read[name] is None for name in ("amount_fen", "channel", "paid_at")):
        return None
    paid_at = msgspec.convert(read["paid_at"], datetime).astimezone(UTC)
    return WitnessedPayment(visit_id=visit_id, amount_fen=Fen(int(read["amount_fen"] or 0)), channel=str(read["channel"]), paid_at=paid_at,
                            witnessed_at=at)


def claim(session: Session, actor: Actor, told: WitnessedPayment, now: datetime) -> UUID:
    """Record a claim; told again by either of the pair it is the same one. It issues no receipt and books nothing.

    The policy of the visit's own bank says how long its file may take to show the payment.

    Raises:
        NotFound: not a visit of the actor.
    """
    authorise(actor, Permission.VISIT_PERFORM)
    visit = session.scalar(select(VisitRow).where(VisitRow.id == told.visit_id).with_for_update())
    if visit is None or actor.id not in (visit.collector_a, visit.collector_b):
        raise NotFound
    known = session.scalar(select(DirectPaymentRow.id).where(
        DirectPaymentRow.visit_id == visit.id, DirectPaymentRow.paid_at == told.paid_at, DirectPaymentRow.amount_fen == told.amount_fen))
    if known is not None:
        return known
    policy = policy_in_force(session, BankId(visit.bank_id), told.witnessed_at)
    row = DirectPaymentRow(
        id=new_id(), case_id=visit.case_id, visit_id=visit.id, bank_id=visit.bank_id, branch_id=visit.branch_id, amount_fen=told.amount_fen,
        channel=told.channel, paid_at=told.paid_at, witnessed_by=actor.id, witnessed_at=told.witnessed_at,
        due_at=told.witnessed_at + timedelta(days=policy.claim_days_max), status=ClaimStatus.CLAIMED, settled_at=None, reference=None,
        confirmed_fen=None,
    )
    session.add(row)
    session.flush()
    record(session, actor, EventTag.CASH_CLAIMED, f"case:{row.case_id}", now, policy_version=policy.version, claim=row.id, amount_fen=row.amount_fen)
    lock_cases(session, (row.case_id,))
    _stop_or_free(session, (row.case_id,))
    _find_told_before(session, actor, row, now)
    return row.id


def confirm_all(session: Session, actor: Actor | None, repayments: Sequence[tuple[Repayment, bool]], now: datetime) -> None:
    """Let the lines of a file confirm open claims: first every line of an equal amount, then new lines of a differing one.

    Else a small payment that stands earlier in the file, or that an overlapping file tells again, would use up the claim of a larger one.

    Args:
        repayments: Each line, and whether it was unknown before this file.
    """
    left = [(one, is_new) for one, is_new in repayments if confirm(session, actor, one, now, is_equal_only=True) is None]
    for one, is_new in left:
        if is_new:
            confirm(session, actor, one, now)


def confirm(session: Session, actor: Actor | None, repayment: Repayment, now: datetime, *, is_equal_only: bool = False) -> UUID | None:
    """Let a line of the bank's repayment file confirm the open claim that it fits; returns the claim, None when none fits.

    It fits the case, whose row is locked, is dated from a day before the stated moment on, and is used for one claim of that case only. An equal
    amount goes before a differing one, which confirms that money came and says how much.
    """
    open_ones = session.scalars(
        select(DirectPaymentRow)
        .where(DirectPaymentRow.case_id == repayment.case_id, DirectPaymentRow.status == ClaimStatus.CLAIMED)
        .order_by(DirectPaymentRow.paid_at, DirectPaymentRow.id).with_for_update().execution_options(populate_existing=True)
    ).all()
    fitting = [row for row in open_ones if today_of(row.paid_at - EARLIER) <= repayment.paid_on]
    if not fitting:
        return None
    used = select(DirectPaymentRow.id).where(DirectPaymentRow.case_id == repayment.case_id, DirectPaymentRow.reference == repayment.reference)
    if session.scalar(used) is not None:
        return None
    row = next((one for one in fitting if one.amount_fen == repayment.amount_fen), None if is_equal_only else fitting[0])
    if row is None:
        return None
    row.status, row.settled_at = advance_claim(row.status, ClaimEvent.CONFIRM), now
    row.reference, row.confirmed_fen = repayment.reference, repayment.amount_fen
    session.flush()
    _stop_or_free(session, (row.case_id,))
    record(session, actor, EventTag.CASH_CLAIM_SETTLED, f"case:{row.case_id}", now, claim=row.id, status=row.status.value,
           claimed_fen=row.amount_fen, confirmed_fen=row.confirmed_fen)
    return row.id


def contradict_due(session: Session, actor: Actor, bank_id: BankId, covered_to_on: date, now: datetime) -> Sequence[UUID]:
    """Let a repayment file that covers every payment up to a date contradict what it ought to show; returns the claims.

    Call it after every line of the file has been offered to `confirm`, with the cases of `due_cases` locked. A claim whose days are
    not over yet is left alone, and so are claims of branches that are not the actor's: their payments are in another clerk's file.
    """
    due = session.scalars(
        select(DirectPaymentRow).where(_is_due(actor, bank_id, now))
        .order_by(DirectPaymentRow.id).with_for_update().execution_options(populate_existing=True)
    ).all()
    contradicted = [row for row in due if today_of(row.due_at) <= covered_to_on]
    for row in contradicted:
        row.status, row.settled_at = advance_claim(row.status, ClaimEvent.CONTRADICT), now
        session.flush()
        record(session, actor, EventTag.CASH_CLAIM_SETTLED, f"case:{row.case_id}", now, claim=row.id, status=row.status.value,
               claimed_fen=row.amount_fen)
    _stop_or_free(session, {row.case_id for row in contradicted})
    return [row.id for row in contradicted]


def due_cases(session: Session, actor: Actor, bank_id: BankId, now: datetime) -> Sequence[UUID]:
    """Return the cases whose claims `contradict_due` may end."""
    return session.scalars(select(DirectPaymentRow.case_id).where(_is_due(actor, bank_id, now))).all()


def list_claims(session: Session, actor: Actor, *, limit: int, after: UUID | None, case_id: UUID | None = None) -> list[ClaimView]:
    """Return at most `limit` + 1 claims after a cursor, oldest first."""
    authorise(actor, Permission.CASH_READ)
    query = select(DirectPaymentRow).where(visible_to(actor, DirectPaymentRow.bank_id, DirectPaymentRow.branch_id))
    if case_id is not None:
        query = query.where(DirectPaymentRow.case_id == case_id)
    if after is not None:
        query = query.where(DirectPaymentRow.id > after)
    return [
        ClaimView(
            id=row.id, case_id=CaseId(row.case_id), visit_id=VisitId(row.visit_id), bank_id=BankId(row.bank_id), amount_fen=Fen(row.amount_fen),
            channel=row.channel, paid_at=row.paid_at, witnessed_by=StaffId(row.witnessed_by), witnessed_at=row.witnessed_at, due_at=row.due_at,
            status=row.status, reference=row.reference, confirmed_fen=None if row.confirmed_fen is None else Fen(row.confirmed_fen),
        )
        for row in session.scalars(query.order_by(DirectPaymentRow.id).limit(limit + 1))
    ]


def _is_due(actor: Actor, bank_id: BankId, now: datetime) -> ColumnElement[bool]:
    return and_(
        DirectPaymentRow.bank_id == bank_id, DirectPaymentRow.status == ClaimStatus.CLAIMED, DirectPaymentRow.due_at <= now,
        visible_to(actor, DirectPaymentRow.bank_id, DirectPaymentRow.branch_id))


def _stop_or_free(session: Session, case_ids: Iterable[UUID]) -> None:
    """Let the open claims of these cases say whether they are stopped."""
    wanted = sorted(set(case_ids))
    rows = session.execute(
        select(DirectPaymentRow.case_id, func.min(DirectPaymentRow.witnessed_at))
        .where(DirectPaymentRow.case_id.in_(wanted), DirectPaymentRow.status == ClaimStatus.CLAIMED).group_by(DirectPaymentRow.case_id))
    note_claims(session, wanted, {case_id: since for case_id, since in rows})  # noqa: C416 - rows are not pairs to the type checker.


def _find_told_before(session: Session, actor: Actor, row: DirectPaymentRow, now: datetime) -> None:
    """Let a payment that the bank told before the phone did settle the claim; only one of the same amount, since nobody looks at it again."""
    known = session.scalars(
        select(RepaymentRow).where(
            RepaymentRow.case_id == row.case_id, RepaymentRow.amount_fen == row.amount_fen, RepaymentRow.paid_on >= today_of(row.paid_at - EARLIER))
        .order_by(RepaymentRow.paid_on, RepaymentRow.id)
    ).all()
    for one in known:
        told = Repayment(case_id=CaseId(row.case_id), amount_fen=Fen(one.amount_fen), paid_on=one.paid_on, reference=one.reference)
        if confirm(session, actor, told, now) is not None:
            return
