"""Proposals to a bank and its offers: the agency proposes, only the case's own bank offers, only an offer reaches a customer (BANK-01)."""

import re
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
from backend.cases.actions import locked_case, step_if_allowed
from backend.cases.model import CaseEvent, today_of
from backend.cases.queries import stops_of
from backend.cases.rules import judge_stops
from backend.cases.tables import CaseRow
from backend.core.fen import Fen
from backend.core.ids import BankId, new_id
from backend.core.problems import InvalidInput, NotFound
from backend.core.rulebook import demand
from backend.offers.model import NewProposal, ProposalEvent, ProposalStatus, advance_proposal
from backend.offers.queries import authorised_methods, visible_to
from backend.offers.rules import OfferFacts, ProposalFacts, judge_offer, judge_proposal
from backend.offers.tables import ProposalRow, RepaymentMethodRow

_METHOD: Final = re.compile(r"[a-z][a-z0-9_-]{0,31}")


def propose(session: Session, actor: Actor, command: NewProposal, now: datetime) -> UUID:
    """Propose a concession to the bank of a case. It is told to nobody else until the bank has turned it into an offer.

    Raises:
        Forbidden: the actor may not propose.
        NotFound: not a case of the actor's.
        RulesBreached: BANK-12, CASE-30, CASH-13.
    """
    authorise(actor, Permission.PROPOSAL_MAKE)
    case = locked_case(session, actor, command.case_id)
    demand(judge_proposal(ProposalFacts(
        terms=command.terms, amount_fen=Fen(case.amount_fen), methods=authorised_methods(session, BankId(case.bank_id)), on=today_of(now))))
    row = ProposalRow(
        id=new_id(), case_id=case.id, bank_id=case.bank_id, branch_id=case.branch_id, kind=command.terms.kind,
        terms=msgspec.to_builtins(command.terms), is_hardship=command.is_hardship, proposed_by=actor.id, proposed_at=now,
        status=ProposalStatus.PROPOSED,
    )
    session.add(row)
    session.flush()
    if command.is_hardship:
        step_if_allowed(session, actor, case, (CaseEvent.PROPOSE_HARDSHIP,), now)
    record(session, actor, EventTag.PROPOSAL_MADE, f"case:{case.id}", now, proposal=row.id, kind=row.kind.value, hardship=row.is_hardship)
    return row.id


def withdraw(session: Session, actor: Actor, proposal_id: UUID, now: datetime) -> ProposalStatus:
    """Take a proposal back before the bank has answered. Raises `NotFound`, `IllegalTransition`."""
    authorise(actor, Permission.PROPOSAL_MAKE)
    row = _locked(session, actor, proposal_id)
    return _step(session, actor, row, ProposalEvent.WITHDRAW, now)


def offer(session: Session, actor: Actor, proposal_id: UUID, valid_to_on: date, now: datetime) -> ProposalStatus:
    """Turn a proposal into an offer, as the relevant department of the case's own bank (BANK-01).

    Raises:
        Forbidden: not a bank's authoriser.
        NotFound: another bank's.
        IllegalTransition: it is answered.
        InvalidInput: the offer would be over before it stands.
    """
    authorise(actor, Permission.PROPOSAL_DECIDE)
    row = _locked(session, actor, proposal_id)
    if valid_to_on < today_of(now):
        raise InvalidInput(pointer="/validToOn", expected="today or later", got=valid_to_on.isoformat())
    row.valid_to_on = valid_to_on
    return _decide(session, actor, row, ProposalEvent.OFFER, now)


def decline(session: Session, actor: Actor, proposal_id: UUID, now: datetime) -> ProposalStatus:
    """Decline a proposal as its bank. Raises as `offer`."""
    authorise(actor, Permission.PROPOSAL_DECIDE)
    return _decide(session, actor, _locked(session, actor, proposal_id), ProposalEvent.DECLINE, now)


def revoke(session: Session, actor: Actor, proposal_id: UUID, now: datetime) -> ProposalStatus:
    """Take an offer back as its bank before the customer has accepted it. Raises as `offer`."""
    authorise(actor, Permission.PROPOSAL_DECIDE)
    return _decide(session, actor, _locked(session, actor, proposal_id), ProposalEvent.REVOKE, now)


def accept(session: Session, actor: Actor, proposal_id: UUID, now: datetime) -> ProposalStatus:
    """Note that the customer accepted an offer; what is no offer of the bank cannot be confirmed to anybody.

    Raises:
        Forbidden: the actor speaks to no customers.
        NotFound: not the actor's to see.
        RulesBreached: BANK-01; or the case is stopped: suspended by a denial (DECL-01), paid, recalled …
    """
    authorise(actor, Permission.PROPOSAL_MAKE)
    row = _locked(session, actor, proposal_id)
    stops = stops_of(_case(session, row), today_of(now))
    demand((*judge_offer(OfferFacts(status=row.status, valid_to_on=row.valid_to_on, on=today_of(now))), *judge_stops(stops)))
    row.accepted_at, row.accepted_on = now, today_of(now)
    status = _step(session, actor, row, ProposalEvent.ACCEPT, now)
    step_if_allowed(session, actor, _case(session, row), (CaseEvent.GRANT_PLAN,), now)
    return status


def suggest_method(session: Session, actor: Actor, bank_id: BankId, code: str, texts: tuple[str, str], now: datetime) -> None:
    """Put a way of paying on a bank's list, or change its words (Chinese, English); it is offered once the bank has authorised these words.

    Raises:
        Forbidden: the actor keeps no bank's records.
        NotFound: no such bank.
        InvalidInput: the code is none.
    """
    authorise(actor, Permission.BANK_MANAGE)
    banks.bank(session, actor, bank_id)
    if not _METHOD.fullmatch(code):
        raise InvalidInput(pointer="/method", expected="1 to 32 of a-z, 0-9, - and _, a letter first", got=code[:40])
    row = session.get(RepaymentMethodRow, (bank_id, code), with_for_update=True)
    if row is None:
        row = RepaymentMethodRow(bank_id=bank_id, code=code, text_zh=texts[0], text_en=texts[1])
        session.add(row)
    row.text_zh, row.text_en = texts
    row.authorised_by = row.authorised_at = row.withdrawn_at = None
    session.flush()
    record(session, actor, EventTag.BANK_CHANGED, f"bank:{bank_id}", now, method=code, step="suggested")


def decide_method(session: Session, actor: Actor, bank_id: BankId, code: str, now: datetime, *, is_offered: bool) -> None:
    """Authorise a way of paying as the bank whose it is, or withdraw it (CASH-13).

    Raises:
        Forbidden: not a bank's authoriser.
        NotFound: another bank's, or unknown.
    """
    authorise(actor, Permission.PROPOSAL_DECIDE)
    row = session.get(RepaymentMethodRow, (bank_id, code), with_for_update=True)
    if row is None or actor.bank != bank_id:
        raise NotFound
    if is_offered:
        row.authorised_by, row.authorised_at, row.withdrawn_at = actor.id, now, None
    elif row.authorised_at is not None:
        row.withdrawn_at = now
    session.flush()
    record(session, actor, EventTag.BANK_CHANGED, f"bank:{bank_id}", now, method=code, step="authorised" if is_offered else "withdrawn")


def _decide(session: Session, actor: Actor, row: ProposalRow, event: ProposalEvent, now: datetime) -> ProposalStatus:
    if actor.bank != row.bank_id:
        raise NotFound
    row.decided_by, row.decided_at = actor.id, now
    status = _step(session, actor, row, event, now)
    if event is ProposalEvent.DECLINE and row.is_hardship:
        step_if_allowed(session, actor, _case(session, row), (CaseEvent.DECLINE_HARDSHIP,), now)
    return status


def _step(session: Session, actor: Actor, row: ProposalRow, event: ProposalEvent, now: datetime) -> ProposalStatus:
    row.status = advance_proposal(row.status, event)
    session.flush()
    record(session, actor, EventTag.PROPOSAL_DECIDED, f"case:{row.case_id}", now, proposal=row.id, status=row.status.value)
    return row.status


def _locked(session: Session, actor: Actor, proposal_id: UUID) -> ProposalRow:
    case_id = session.scalar(select(ProposalRow.case_id).where(ProposalRow.id == proposal_id, visible_to(actor, ProposalRow)))
    if case_id is None:
        raise NotFound
    locked_case(session, actor, case_id)  # Before the proposal, as whoever judges promises and plans does.
    return session.get_one(ProposalRow, proposal_id, with_for_update=True, populate_existing=True)


def _case(session: Session, row: ProposalRow) -> CaseRow:
    return session.get_one(CaseRow, row.case_id)
