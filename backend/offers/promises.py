"""Promises to pay: kept or broken as the bank's repayment file says, followed up by people, and the notice that a payment has arrived."""

from collections.abc import Iterable
from datetime import date, datetime
from uuid import UUID

import msgspec
from sqlalchemy import select
from sqlalchemy.orm import Session

from backend.audit.events import EventTag
from backend.audit.record import record
from backend.auth.actors import Actor
from backend.auth.authorise import authorise
from backend.auth.permissions import Permission
from backend.cases.actions import step_if_allowed
from backend.cases.model import CaseEvent, today_of
from backend.cases.queries import stops_of, suspensions_of
from backend.cases.rules import judge_stops
from backend.cases.tables import CaseRow, RepaymentRow
from backend.core.ids import BankId, new_id
from backend.core.problems import Conflict, NotFound
from backend.core.rulebook import demand
from backend.offers.model import (
    Concession,
    NewPromise,
    PromiseEvent,
    PromiseStatus,
    ProposalEvent,
    ProposalStatus,
    Terms,
    advance_promise,
    advance_proposal,
)
from backend.offers.queries import visible_to
from backend.offers.rules import due_after, is_kept, is_known_broken, unpaid_instalments
from backend.offers.tables import PaymentNoticeRow, PromiseRow, ProposalRow

_CHUNK = 500
_WAITING = (PromiseStatus.OPEN, PromiseStatus.BROKEN)


def promise(session: Session, actor: Actor, row: CaseRow, command: NewPromise, now: datetime) -> UUID:
    """Note a promise on a case; what was promised before and is still open is replaced by it. The same source twice is one promise."""
    known = session.scalar(select(PromiseRow.id).where(PromiseRow.source_id == command.source_id))
    if known is not None:
        return known
    for earlier in session.scalars(select(PromiseRow).where(PromiseRow.case_id == row.id, PromiseRow.status == PromiseStatus.OPEN).with_for_update()):
        earlier.status, earlier.judged_at = advance_promise(earlier.status, PromiseEvent.REPLACE), now
    made = PromiseRow(
        id=new_id(), case_id=row.id, bank_id=row.bank_id, branch_id=row.branch_id, amount_fen=command.amount_fen, due_on=command.due_on,
        made_on=command.made_on, source=command.source, source_id=command.source_id, recorded_by=actor.id, recorded_at=now,
        status=PromiseStatus.OPEN,
    )
    session.add(made)
    session.flush()
    record(session, actor, EventTag.PROMISE_RECORDED, f"case:{row.id}", now, promise=made.id, amount_fen=made.amount_fen)
    return made.id


def after_repayments(session: Session, actor: Actor, case_ids: Iterable[UUID], now: datetime) -> None:
    """Raise the notice for each payment that has arrived on these cases (CASH-12), and note the promises and plans that are now kept."""
    wanted = sorted(set(case_ids))
    for start in range(0, len(wanted), _CHUNK):
        chunk = wanted[start : start + _CHUNK]
        _raise_notices(session, chunk, now)
        _judge(session, actor, chunk, None, now)


def judged_cases(session: Session, actor: Actor, bank_id: BankId, as_of_on: date) -> list[UUID]:
    """Return the cases whose promises or plans `judge_until` looks at: the actor's, since a clerk's file tells of no other branch."""
    open_promises = select(PromiseRow.case_id).where(
        PromiseRow.bank_id == bank_id, PromiseRow.status == PromiseStatus.OPEN, PromiseRow.due_on < as_of_on, visible_to(actor, PromiseRow))
    open_plans = select(ProposalRow.case_id).where(
        ProposalRow.bank_id == bank_id, ProposalRow.status == ProposalStatus.ACCEPTED, visible_to(actor, ProposalRow))
    return sorted(set(session.scalars(open_promises)) | set(session.scalars(open_plans)))


def judge_until(session: Session, actor: Actor, bank_id: BankId, as_of_on: date, now: datetime) -> int:
    """Judge every promise and plan of the actor's cases that a bank's file, whole up to the end of `as_of_on`, can tell of.

    The cases of `judged_cases` are locked before. Returns how many were looked at.
    """
    found = judged_cases(session, actor, bank_id, as_of_on)
    for start in range(0, len(found), _CHUNK):
        _judge(session, actor, found[start : start + _CHUNK], as_of_on, now)
    return len(found)


def follow_up(session: Session, actor: Actor, promise_id: UUID, now: datetime) -> None:
    """Note that somebody reminded the debtor of a promise, or asked why it was broken.

    Raises:
        NotFound: not the actor's to see.
        Conflict: it needs no following up any more.
        RulesBreached: the case is stopped: a payment was witnessed, it is suspended, paid …
    """
    authorise(actor, Permission.CONTACT_RECORD)
    row = session.scalar(select(PromiseRow).where(PromiseRow.id == promise_id, visible_to(actor, PromiseRow)).with_for_update())
    if row is None:
        raise NotFound
    if row.status not in _WAITING:
        raise Conflict(reason="nothing to follow up", status=row.status.value)
    demand(judge_stops(stops_of(session.get_one(CaseRow, row.case_id), today_of(now))))
    row.followed_up_at, row.followed_up_by = now, actor.id
    session.flush()
    record(session, actor, EventTag.PROMISE_JUDGED, f"case:{row.case_id}", now, promise=row.id, step="followed-up")


def tell(session: Session, actor: Actor, notice_id: UUID, now: datetime) -> None:
    """Note that the customer was told that their payment arrived (CASH-12). Telling twice changes nothing. Raises `NotFound`.

    A paid case whose customer was told of every payment is closed.
    """
    authorise(actor, Permission.CONTACT_RECORD)
    case_id = session.scalar(select(PaymentNoticeRow.case_id).where(PaymentNoticeRow.id == notice_id, visible_to(actor, PaymentNoticeRow)))
    if case_id is None:
        raise NotFound
    case = session.get_one(CaseRow, case_id, with_for_update=True, populate_existing=True)
    row = session.get_one(PaymentNoticeRow, notice_id, with_for_update=True, populate_existing=True)
    if row.told_at is not None:
        return
    row.told_at, row.told_by = now, actor.id
    session.flush()
    record(session, actor, EventTag.PAYMENT_CONFIRMED, f"case:{row.case_id}", now, notice=row.id)
    untold = select(PaymentNoticeRow.id).where(PaymentNoticeRow.case_id == case_id, PaymentNoticeRow.told_at.is_(None))
    if session.scalar(untold.limit(1)) is None:
        step_if_allowed(session, actor, case, (CaseEvent.CLOSE,), now)


def _raise_notices(session: Session, case_ids: list[UUID], now: datetime) -> None:
    known = select(PaymentNoticeRow.id).where(PaymentNoticeRow.repayment_id == RepaymentRow.id)
    rows = session.execute(
        select(RepaymentRow.id, CaseRow.id, CaseRow.bank_id, CaseRow.branch_id).join(CaseRow, CaseRow.id == RepaymentRow.case_id)
        .where(RepaymentRow.case_id.in_(case_ids), ~known.exists()).order_by(RepaymentRow.id)
    )
    session.add_all(
        PaymentNoticeRow(id=new_id(), case_id=case_id, bank_id=bank_id, branch_id=branch_id, repayment_id=repayment_id, raised_at=now)
        for repayment_id, case_id, bank_id, branch_id in rows
    )
    session.flush()


def _judge(session: Session, actor: Actor, case_ids: list[UUID], as_of_on: date | None, now: datetime) -> None:
    repaid: dict[UUID, list[tuple[date, int]]] = {}
    for case_id, paid_on, amount in session.execute(
        select(RepaymentRow.case_id, RepaymentRow.paid_on, RepaymentRow.amount_fen).where(RepaymentRow.case_id.in_(case_ids))
    ):
        repaid.setdefault(case_id, []).append((paid_on, amount))
    rows = session.scalars(select(PromiseRow).where(
        PromiseRow.case_id.in_(case_ids), PromiseRow.status.in_(_WAITING)).order_by(PromiseRow.id).with_for_update()).all()
    suspended = suspensions_of(session, case_ids)
    for row in rows:
        due_on = due_after(row.due_on, row.made_on, suspended.get(row.case_id, ()))
        if is_kept(repaid.get(row.case_id, []), row.made_on, due_on or date.max, row.amount_fen):
            _end_promise(session, actor, row, PromiseEvent.KEEP, now)
        elif row.status is PromiseStatus.OPEN and as_of_on is not None and due_on is not None and is_known_broken(due_on, as_of_on):
            _end_promise(session, actor, row, PromiseEvent.BREAK, now)
    plans = session.scalars(select(ProposalRow).where(
        ProposalRow.case_id.in_(case_ids), ProposalRow.status == ProposalStatus.ACCEPTED, ProposalRow.kind == Concession.INSTALMENT)
        .order_by(ProposalRow.id).with_for_update()).all()
    for plan in plans:
        _judge_plan(session, actor, plan, (repaid.get(plan.case_id, []), suspended.get(plan.case_id, [])), as_of_on, now)


def _end_promise(session: Session, actor: Actor, row: PromiseRow, event: PromiseEvent, now: datetime) -> None:
    row.status, row.judged_at = advance_promise(row.status, event), now
    case = session.get_one(CaseRow, row.case_id, with_for_update=True)
    step = CaseEvent.KEEP_PROMISE if event is PromiseEvent.KEEP else CaseEvent.BREAK_PROMISE
    step_if_allowed(session, actor, case, (step,), now)
    session.flush()
    record(session, actor, EventTag.PROMISE_JUDGED, f"case:{row.case_id}", now, promise=row.id, status=row.status.value)


def _judge_plan(
    session: Session, actor: Actor, plan: ProposalRow, known: tuple[list[tuple[date, int]], list[tuple[date, date | None]]], as_of_on: date | None,
    now: datetime
) -> None:
    assert plan.accepted_on is not None, "an accepted plan has its day"
    repaid, suspended = known
    terms = msgspec.convert(plan.terms, Terms)
    due = [msgspec.structs.replace(one, due_on=due_after(one.due_on, plan.accepted_on, suspended) or date.max) for one in terms.instalments]
    unpaid = unpaid_instalments(due, repaid, plan.accepted_on)
    if not unpaid:
        event = ProposalEvent.KEEP
    elif as_of_on is not None and is_known_broken(unpaid[0].due_on, as_of_on):
        event = ProposalEvent.BREAK
    else:
        return
    plan.status = advance_proposal(plan.status, event)
    if event is ProposalEvent.BREAK:
        step_if_allowed(session, actor, session.get_one(CaseRow, plan.case_id, with_for_update=True), (CaseEvent.BREAK_PLAN,), now)
    session.flush()
    record(session, actor, EventTag.PROPOSAL_DECIDED, f"case:{plan.case_id}", now, proposal=plan.id, status=plan.status.value)
