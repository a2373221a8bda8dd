"""Taking money: leave asked before, the signed statement booked after. What was taken is booked whatever it says (design decision 7)."""

from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import func, or_, select
from sqlalchemy.orm import Session

from backend.audit import breaches as kept
from backend.audit import log
from backend.audit.events import EventTag
from backend.audit.record import record
from backend.auth.actors import Actor
from backend.auth.authorise import authorise
from backend.auth.permissions import Permission
from backend.cases.model import Stop, today_of
from backend.cases.queries import stops_of, was_suspended
from backend.cases.tables import CaseRow
from backend.cash import books, transfers
from backend.cash.authorisations import terms_of
from backend.cash.custody import release_held
from backend.cash.custody_facts import is_deposited, is_reversed
from backend.cash.hints import is_open as is_open_hint
from backend.cash.model import (
    AccountKind,
    CashIntent,
    Collected,
    Instrument,
    Leave,
    NumberEvent,
    NumberStatus,
    PayerRelation,
    ReceiptStatement,
    TransferKind,
    VarianceKind,
    advance_number,
)
from backend.cash.movements import Transfer
from backend.cash.rules import (
    UNAUTHORISING,
    UNNUMBERED,
    CollectionFacts,
    NumberFacts,
    PaperFacts,
    doubts_of,
    judge_authority,
    judge_carrying,
    judge_intent,
    judge_number,
    judge_paper,
    judge_signatures,
    standing_after,
)
from backend.cash.tables import AccountRow, CashExceptionRow, CashHintRow, CollectionRow, ReceiptNumberRow, ReceiptRow, VarianceRow
from backend.core.fen import Fen
from backend.core.ids import BankId, BranchId, CaseId, CollectionId, StaffId, TransferId, new_id
from backend.core.problems import Forbidden, NotFound
from backend.core.rulebook import Breach, Rule, demand
from backend.exhibits.model import Accepted, ManifestState, Standing
from backend.exhibits.tables import ManifestRow
from backend.policies.model import Policy
from backend.staff.tables import DeviceRow
from backend.visits.model import VisitStatus
from backend.visits.tables import VisitRow
from evidence.capitals import to_capitals
from evidence.facts import CashReceiptFacts, VoidFacts

RUNNING = frozenset({VisitStatus.STARTED, VisitStatus.ENTERED})
EXCEPTION_PREFIX = "EX-"


def intend(session: Session, actor: Actor, command: CashIntent, policy: Policy, now: datetime) -> Leave:
    """Answer the question *may we take this now*; nothing is booked, everything that speaks against it is told at once.

    Raises:
        Forbidden: not a collector.
        NotFound: not a visit of this collector.
        RulesBreached: CASH-01 … CASH-08, CONT-08, DECL-01.
    """
    authorise(actor, Permission.CASH_COLLECT)
    visit = session.get(VisitRow, command.visit_id)
    partner_id = session.scalar(select(DeviceRow.staff_id).where(DeviceRow.kid == command.cosigner_device))
    if visit is None or visit.case_id != command.case_id or actor.id not in (visit.collector_a, visit.collector_b) or actor.device is None:
        raise NotFound
    case = session.get_one(CaseRow, visit.case_id)
    pair = frozenset({visit.collector_a, visit.collector_b})
    terms = terms_of(session, command.authorisation_jti) if command.authorisation_jti else None
    facts = CollectionFacts(
        terms=terms, number=_number_facts(books.locked_number(session, command.receipt_number)), case_id=CaseId(case.id),
        bank_id=BankId(case.bank_id),
        devices=frozenset({actor.device, command.cosigner_device}) if partner_id in pair - {actor.id} else frozenset({actor.device}),
        capturer_device=actor.device, instrument=command.instrument, amount_fen=command.amount_fen, payer=command.payer,
        payer_digest=command.payer_digest, captured_lower_at=now, captured_upper_at=now,
        is_at_visit=visit.status in RUNNING, stops=stops_of(case, today_of(now)), blocked_count=blocked_count(session, pair),
        overdue_count=overdue_count(session, pair, now), carried_fen=Fen(carried_fen(session, pair) + command.unsynced_fen),
    )
    demand(judge_intent(facts, policy))
    assert terms is not None, "leave was judged on an authorisation"
    record(session, actor, EventTag.CASH_INTENDED, f"case:{case.id}", now, policy_version=policy.version, jti=terms.jti,
           amount_fen=command.amount_fen)
    return Leave(
        allowed=True, remaining_fen=Fen(terms.cap_fen - terms.collected_fen - command.amount_fen),
        remaining_collections=terms.collections_max - terms.collected_count - 1,
        carry_left_fen=Fen(policy.carry_limit_fen - facts.carried_fen - command.amount_fen), expires_at=terms.expires_at,
    )


def collect(session: Session, actor: Actor, accepted: Accepted, policy: Policy, now: datetime) -> Collected | None:
    """Book a receipt that both collectors signed: collection, receipt and transfer in this one transaction (CASH-05).

    Nothing is refused: without authority the money stands in the same custody account under an exception number, the breach is
    stored and escalated, and both collectors are blocked until agency and bank have resolved it. The same statement again
    returns what was booked. None while the second signature is waited for, or when the statement names no case we have; once
    that wait has ended without it, the money counts as taken without authority (VIS-01).
    """
    if accepted.state is ManifestState.AWAITING_COSIGNATURE:
        return None
    session.execute(select(ManifestRow.id).where(ManifestRow.id == accepted.manifest_id).with_for_update())
    booked = session.scalar(select(CollectionRow).where(CollectionRow.manifest_id == accepted.manifest_id))
    if booked is not None:
        return _view(booked)
    case = _case_of(session, accepted)
    if case is None:
        breach = Breach(Rule.CASH_01, "case-unknown", expected="a case of ours", got="another", problem=None)
        kept.store(session, f"manifest:{accepted.manifest_id}", (breach,), now, policy.version)
        return None
    partner_id = accepted.cosigner_id or _assigned_partner(session, accepted)
    if partner_id is None:
        breach = Breach(Rule.VIS_01, "cosigner-unknown", expected="a partner, named or assigned", got="none", problem=None)
        kept.store(session, f"manifest:{accepted.manifest_id}", (breach,), now, policy.version)
        return None
    statement = _statement(accepted, case, partner_id)
    facts = _facts(session, statement, case, now)
    breaches = (
        *judge_signatures(is_cosigned=accepted.state is ManifestState.COMPLETE),
        *judge_authority(facts), *judge_number(facts.number, facts.capturer_device, facts.bank_id), *judge_carrying(facts, policy),
        *judge_paper(_paper(statement)),
    )
    is_forked = session.scalar(select(CollectionRow.id).where(
        CollectionRow.device == statement.device, CollectionRow.previous_digest == statement.previous_digest).limit(1)) is not None
    standing = standing_after(breaches, doubts_of(facts, is_chain_forked=is_forked), accepted.standing)
    row = _book(session, actor, statement, (breaches, standing, accepted.captured_at), policy, now)
    kept.store(session, f"collection:{row.id}", breaches, now, policy.version)
    record(session, actor, EventTag.CASH_COLLECTED, f"case:{case.id}", now, policy_version=policy.version, collection=row.id,
           receipt=row.receipt_number, amount_fen=row.amount_fen, standing=row.standing.value, exception=row.exception_number or "")
    release_held(session, actor, frozenset({statement.collector_id}), statement.bank_id, now)
    return _view(row)


def void_receipt(session: Session, actor: Actor, accepted: Accepted, policy: Policy, now: datetime) -> NumberStatus | None:
    """Make an unused number void from a `void` statement with both signatures, a reason and a photo; returns the number's status.

    A number that was issued stays issued: money was taken on it, and only a reversal by two people undoes that. None while
    the second signature is missing.
    """
    if accepted.state is not ManifestState.COMPLETE:
        return None
    facts = accepted.manifest.facts
    assert isinstance(facts, VoidFacts), accepted.manifest.kind
    number = books.locked_number(session, facts.receipt_number)
    if number is not None and number.void_manifest_id == accepted.manifest_id:
        return number.status
    found = list(judge_number(_number_facts(number), accepted.device, BankId(number.bank_id) if number else BankId(UUID(int=0))))
    if not any(item.role.value in ("photo", "counterfoil") for item in accepted.manifest.items):
        found.append(Breach(Rule.CASH_05, "void-photo-missing", expected="a photo of the void parts", got="none"))
    if not facts.all_parts_kept:
        found.append(Breach(Rule.CASH_05, "void-parts-missing", expected="all parts kept", got="parts missing"))
    kept.store(session, f"manifest:{accepted.manifest_id}", tuple(found), now, policy.version)
    if number is None or any(breach.code in UNNUMBERED for breach in found):
        return number.status if number else None
    number.status, number.settled_at = advance_number(number.status, NumberEvent.VOID), now
    number.void_reason, number.void_manifest_id = facts.reason, accepted.manifest_id
    session.flush()
    record(session, actor, EventTag.RECEIPT_VOIDED, f"receipt:{number.number}", now, policy_version=policy.version, reason=facts.reason,
           breaches=[breach.code for breach in found])
    return number.status


def report_void(session: Session, actor: Actor, number: str, policy: Policy, now: datetime) -> tuple[NumberStatus | None, tuple[Breach, ...]]:
    """Record a phone's notice that a number was made void. It takes effect with the statement that both signed, and not before.

    A number of somebody else's book is as unknown as one that was never printed, and the notice is kept with whoever gave it.
    """
    authorise(actor, Permission.CASH_COLLECT)
    row = books.locked_number(session, number)
    if row is not None and session.scalar(select(DeviceRow.staff_id).where(DeviceRow.kid == row.device)) != actor.id:
        row = None
    subject = f"receipt:{number}" if row is not None else f"staff:{actor.id}"
    found: tuple[Breach, ...] = ()
    if row is None or row.status is not NumberStatus.VOID:
        found = (Breach(Rule.CASH_05, "void-statement-missing", expected="a void statement with both signatures", got="none yet"),)
    kept.store(session, subject, found, now, policy.version)
    record(session, actor, EventTag.RECEIPT_VOIDED, subject, now, policy_version=policy.version, step="noticed", receipt=number)
    return row.status if row else None, found


def resolve_exception(session: Session, actor: Actor, number: str, now: datetime) -> bool:
    """Resolve an exception for the agency or for the bank, whichever the actor speaks for; returns whether both have. It is said once.

    Raises:
        Forbidden: neither supervisor nor bank, or one of the two who took the money.
        NotFound: not the actor's to see.
    """
    authorise(actor, Permission.CASH_RESOLVE)
    row = session.scalar(select(CashExceptionRow).where(CashExceptionRow.number == number).with_for_update())
    is_seen = row is not None and (row.bank_id == actor.bank if actor.bank else actor.sees_every_branch or row.branch_id in actor.branches)
    if row is None or not is_seen:
        raise NotFound
    if actor.id in (row.collector_id, row.cosigner_id):
        raise Forbidden(reason="somebody else looks into an exception")
    if actor.bank is not None and row.bank_resolved_at is None:
        row.bank_resolved_at, row.bank_resolved_by = now, actor.id
    elif actor.bank is None and row.agency_resolved_at is None:
        row.agency_resolved_at, row.agency_resolved_by = now, actor.id
    else:
        return row.agency_resolved_at is not None and row.bank_resolved_at is not None  # Said already for this side, and told once.
    session.flush()
    record(session, actor, EventTag.CASH_EXCEPTION_RESOLVED, f"collection:{row.collection_id}", now, number=number)
    return row.agency_resolved_at is not None and row.bank_resolved_at is not None


def blocked_count(session: Session, pair: frozenset[UUID]) -> int:
    """Count the open exceptions and hints that block one of these people from cash."""
    exceptions = session.scalar(select(func.count()).select_from(CashExceptionRow).where(
        or_(CashExceptionRow.collector_id.in_(pair), CashExceptionRow.cosigner_id.in_(pair)),
        or_(CashExceptionRow.agency_resolved_at.is_(None), CashExceptionRow.bank_resolved_at.is_(None)),
    )) or 0
    hints = session.scalar(select(func.count()).select_from(CashHintRow).where(
        or_(CashHintRow.collector_id.in_(pair), CashHintRow.cosigner_id.in_(pair)), is_open_hint(),
    )) or 0
    return exceptions + hints


def overdue_count(session: Session, pair: frozenset[UUID], now: datetime) -> int:
    """Count the collections of these people past their deadline and in no deposit, and the rests they kept back (CASH-06, CASH-09)."""
    late = session.scalar(select(func.count()).select_from(CollectionRow).where(
        CollectionRow.collector_id.in_(pair), CollectionRow.deposit_due_at < now, ~is_deposited(), ~is_reversed(),
    )) or 0
    kept_back = session.scalar(select(func.count()).select_from(VarianceRow).where(
        VarianceRow.owner_id.in_(pair), VarianceRow.kind == VarianceKind.NET_DEPOSIT, VarianceRow.resolved_at.is_(None),
    )) or 0
    return late + kept_back


def carried_fen(session: Session, pair: frozenset[UUID]) -> Fen:
    """Return what these people hold in custody for all banks together."""
    owners = [str(one) for one in pair]
    total = session.scalar(select(func.sum(AccountRow.balance_fen)).where(AccountRow.kind == AccountKind.CUSTODY, AccountRow.owner.in_(owners)))
    return Fen(int(total or 0))


def _facts(session: Session, statement: ReceiptStatement, case: CaseRow, now: datetime) -> CollectionFacts:
    # Locked in this order everywhere: authorisation, number, accounts.
    terms = terms_of(session, statement.authorisation_jti) if statement.authorisation_jti else None
    number = books.locked_number(session, statement.receipt_number)
    pair = frozenset({statement.collector_id, statement.cosigner_id})
    return CollectionFacts(
        terms=terms, number=_number_facts(number), case_id=statement.case_id, bank_id=statement.bank_id,
        devices=frozenset(one for one in (statement.device, statement.cosigner_device) if one is not None), capturer_device=statement.device,
        instrument=statement.instrument, amount_fen=statement.amount_fen, payer=statement.payer, payer_digest=statement.payer_digest,
        captured_lower_at=statement.captured_lower_at,
        captured_upper_at=statement.captured_upper_at, is_at_visit=_was_at_visit(session, statement),
        stops=_stops_at(session, case, statement), blocked_count=blocked_count(session, pair),
        overdue_count=overdue_count(session, pair, min(statement.captured_lower_at or statement.captured_upper_at, now)),
        carried_fen=carried_fen(session, pair),
    )


def _was_at_visit(session: Session, statement: ReceiptStatement) -> bool:
    """Tell whether a visit of these two had begun and was not over at some moment at which the money can have been taken."""
    visit = session.get(VisitRow, statement.visit_id) if statement.visit_id is not None else None
    if visit is None or visit.started_at is None or visit.case_id != statement.case_id:
        return False
    if {visit.collector_a, visit.collector_b} != {statement.collector_id, statement.cosigner_id}:
        return False
    earliest = statement.captured_lower_at or statement.captured_upper_at
    return visit.started_at <= statement.captured_upper_at and (visit.ended_at is None or earliest <= visit.ended_at)


def _stops_at(session: Session, case: CaseRow, statement: ReceiptStatement) -> frozenset[Stop]:
    """Return what had stopped the case when the money was taken; what stopped it later does not count against the pair."""
    earliest = statement.captured_lower_at or statement.captured_upper_at
    since = {
        Stop.SUSPENDED: case.suspended_at, Stop.VULNERABLE: case.vulnerable_at, Stop.COMPLAINT: case.complaint_at, Stop.HOLD: case.hold_at,
        Stop.RECALLED: case.recalled_at, Stop.PAID: case.paid_at, Stop.DECEASED: case.deceased_at}
    stops = {stop for stop, at in since.items() if at is not None and at <= earliest}
    if was_suspended(session, case.id, earliest):
        stops.add(Stop.SUSPENDED)
    if case.term_ends_on < today_of(earliest):
        stops.add(Stop.TERM_OVER)
    return frozenset(stops)


def _book(
    session: Session, actor: Actor, statement: ReceiptStatement, judged: tuple[tuple[Breach, ...], Standing, datetime], policy: Policy, now: datetime
) -> CollectionRow:
    breaches, standing, collected_at = judged
    codes = {breach.code for breach in breaches}
    is_authorised, is_numbered = not codes & UNAUTHORISING, not codes & UNNUMBERED
    collection_id, transfer_id = CollectionId(new_id()), TransferId(new_id())
    exception = None if is_authorised and is_numbered else f"{EXCEPTION_PREFIX}{collection_id.hex}"
    number = statement.receipt_number if is_numbered else f"{EXCEPTION_PREFIX}{collection_id.hex}"
    if is_numbered:
        leased = session.get_one(ReceiptNumberRow, number)
        leased.status, leased.settled_at = advance_number(leased.status, NumberEvent.ISSUE), now
        session.flush()
    custody = transfers.custody_of(statement.collector_id, statement.bank_id)
    debtor = transfers.debtor_of(statement.case_id, statement.bank_id)
    accounts = transfers.open_accounts(session, (custody, debtor))
    transfers.transfer(session, actor, Transfer(
        id=transfer_id, debit_id=accounts[custody], credit_id=accounts[debtor], amount_fen=statement.amount_fen, kind=TransferKind.COLLECTION,
        bank_id=statement.bank_id, case_id=statement.case_id, collection_id=collection_id,
    ), now)
    row = CollectionRow(
        id=collection_id, case_id=statement.case_id, visit_id=statement.visit_id, bank_id=statement.bank_id, branch_id=statement.branch_id,
        authorisation_jti=statement.authorisation_jti if is_authorised else None, exception_number=exception, receipt_number=number,
        transfer_id=transfer_id, amount_fen=statement.amount_fen, instrument=statement.instrument, payer=statement.payer,
        manifest_id=statement.manifest_id, device=statement.device, previous_digest=statement.previous_digest, collector_id=statement.collector_id,
        cosigner_id=statement.cosigner_id, collected_at=collected_at, recorded_at=now,
        deposit_due_at=collected_at + timedelta(seconds=policy.deposit_deadline_s), standing=standing, policy_version=policy.version,
    )
    session.add(row)
    session.flush()
    session.add(ReceiptRow(
        number=number, leased_number=number if is_numbered else None, stated_number=statement.receipt_number, collection_id=collection_id,
        amount_fen=statement.amount_fen, capitals=statement.amount_capitals, digest=statement.digest,
        log_entry_id=log.append(session, "cash-receipt", f"{number}:{statement.digest}".encode(), now),
    ))
    if exception is not None:
        session.add(CashExceptionRow(
            number=exception, collection_id=collection_id, bank_id=statement.bank_id, branch_id=statement.branch_id,
            collector_id=statement.collector_id, cosigner_id=statement.cosigner_id, opened_at=now,
        ))
    session.flush()
    return row


def _case_of(session: Session, accepted: Accepted) -> CaseRow | None:
    if accepted.case_id is not None:
        return session.get(CaseRow, accepted.case_id)
    try:
        return session.get(CaseRow, UUID(accepted.manifest.case))  # No such visit, but a case of ours: the money is booked to it.
    except ValueError:
        return None


def _assigned_partner(session: Session, accepted: Accepted) -> StaffId | None:
    visit = session.get(VisitRow, accepted.visit_id) if accepted.visit_id is not None else None
    others = {visit.collector_a, visit.collector_b} - {accepted.staff_id} if visit is not None else set()
    return StaffId(others.pop()) if len(others) == 1 else None


def _statement(accepted: Accepted, case: CaseRow, partner_id: StaffId) -> ReceiptStatement:
    facts, manifest = accepted.manifest.facts, accepted.manifest
    assert isinstance(facts, CashReceiptFacts), manifest.kind
    return ReceiptStatement(
        manifest_id=accepted.manifest_id, digest=accepted.digest, case_id=CaseId(case.id),
        visit_id=accepted.visit_id, bank_id=BankId(case.bank_id), branch_id=BranchId(case.branch_id),
        device=accepted.device, cosigner_device=manifest.cosigner_device, collector_id=accepted.staff_id,
        cosigner_id=partner_id, captured_lower_at=accepted.captured_lower_at, captured_upper_at=accepted.captured_upper_at,
        receipt_number=facts.receipt_number, amount_fen=Fen(facts.amount_fen), amount_capitals=facts.amount_capitals,
        instrument=Instrument(facts.instrument.value), payer=PayerRelation(facts.payer.value),
        payer_digest=facts.payer_name_sha256, authorisation_jti=facts.authorisation_jti,
        previous_digest=facts.previous_receipt, denominations=tuple((one.face_fen, one.count) for one in facts.denominations),
        has_paper=facts.paper_receipt, roles=frozenset(item.role.value for item in manifest.items),
    )


def _paper(statement: ReceiptStatement) -> PaperFacts:
    return PaperFacts(
        amount_fen=statement.amount_fen, amount_capitals=statement.amount_capitals, capitals_expected=to_capitals(statement.amount_fen),
        denominations=statement.denominations, instrument=statement.instrument, has_paper=statement.has_paper, roles=statement.roles,
    )


def _number_facts(row: ReceiptNumberRow | None) -> NumberFacts | None:
    return None if row is None else NumberFacts(status=row.status, device=row.device, bank_id=BankId(row.bank_id))


def _view(row: CollectionRow) -> Collected:
    return Collected(
        collection_id=CollectionId(row.id), receipt_number=row.receipt_number, amount_fen=Fen(row.amount_fen), standing=row.standing,
        exception_number=row.exception_number, deposit_due_at=row.deposit_due_at,
    )
