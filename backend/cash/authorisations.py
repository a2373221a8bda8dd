"""Asking the bank and its answer: request, grant under the bank's own key, refusal, expiry, revocation (CASH-03, CASH-04, F19)."""

from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from backend.audit import log
from backend.audit.events import EventTag
from backend.audit.record import record
from backend.auth.actors import Actor
from backend.auth.authorise import authorise
from backend.auth.permissions import Permission
from backend.banks.duties import on_duty
from backend.banks.model import BankKeyState, KeyPurpose, MandateAction
from backend.banks.rules import MandateFacts, MandateQuestion, judge_mandate
from backend.banks.tables import BankKeyRow, DesignatedAccountRow, MandateRow
from backend.cases.model import today_of
from backend.cases.queries import case_of, stops_of
from backend.cases.rules import judge_stops
from backend.cash import tokens
from backend.cash.model import AuthorisationTerms, CashRequest, Grant, Instrument, RequestEvent, RequestStatus, advance_request
from backend.cash.problems import TokenRejected
from backend.cash.rules import judge_request
from backend.cash.tables import AuthorisationRequestRow, AuthorisationRow
from backend.core.fen import Fen
from backend.core.ids import BankId, CaseId
from backend.core.problems import Conflict, NotFound
from backend.core.rulebook import Breach, Rule, demand
from backend.db.base import SealedValue
from backend.keys.keyring import Keyring
from backend.keys.sealing import sealer
from backend.policies.model import Policy
from backend.requests.actions import expect_cash
from backend.staff.model import DeviceState
from backend.staff.tables import DeviceRow, StaffRow
from backend.visits.tables import VisitRow
from evidence.keys import PublicKey, key_from_jwk

EXPLANATION_COLUMN = "authorisation_requests.explanation"


def seal_explanation(session: Session, actor: Actor, keyring: Keyring, case_id: UUID, text: str) -> SealedValue:
    """Seal why direct payment is impossible under the key of a case that `actor` may see. Raises NotFound for another's."""
    case = case_of(session, actor, case_id)
    return sealer(session, keyring, case.id).seal(EXPLANATION_COLUMN, text)


def open_explanation(session: Session, keyring: Keyring, row: AuthorisationRequestRow) -> str:
    """Open the explanation for the authoriser who decides on it; the caller records the read."""
    return sealer(session, keyring, row.case_id).open(EXPLANATION_COLUMN, row.explanation)


def request_authorisation(session: Session, actor: Actor, command: CashRequest, policy: Policy, now: datetime) -> UUID:
    """Ask the bank of a case for leave to take money. Without an answer in time it stands as refused (F19).

    Raises:
        NotFound: the case or visit is not the actor's to see.
        RulesBreached: CASH-03, BANK-02, and the rule of whatever stopped the case: DECL-01, VIS-11, BANK-03 …
    """
    authorise(actor, Permission.CASH_REQUEST)
    case = case_of(session, actor, command.case_id)
    if command.visit_id is not None:
        visit = session.get(VisitRow, command.visit_id)
        if visit is None or visit.case_id != case.id:
            raise NotFound
    breaches = list(judge_request(command)) + list(_judge_mandate(session, BankId(case.bank_id), now))
    breaches.extend(judge_stops(stops_of(case, today_of(now))))
    demand(tuple(breaches))
    session.add(AuthorisationRequestRow(
        id=command.request_id, case_id=case.id, visit_id=command.visit_id, bank_id=case.bank_id, branch_id=case.branch_id,
        circumstance=command.circumstance, explanation=SealedValue(command.sealed_explanation), cap_requested_fen=command.cap_requested_fen,
        requested_by=actor.id, requested_at=now, expires_at=now + timedelta(seconds=policy.cash_request_answer_s), status=RequestStatus.REQUESTED,
    ))
    session.flush()
    record(session, actor, EventTag.CASH_REQUESTED, f"case:{case.id}", now, policy_version=policy.version, request=command.request_id,
           cap_fen=command.cap_requested_fen, circumstance=command.circumstance.value)
    return command.request_id


def is_attended(session: Session, request_id: UUID, now: datetime) -> bool:
    """Tell whether somebody of the bank is on duty to answer a request now; nobody's silence refuses it all the same (F19)."""
    return bool(on_duty(session, BankId(session.get_one(AuthorisationRequestRow, request_id).bank_id), now))


def second(session: Session, actor: Actor, request_id: UUID, policy: Policy, now: datetime) -> None:
    """Confirm a request as the first of two authorisers; due from the policy's threshold on.

    Raises:
        Forbidden: not a bank's authoriser.
        NotFound: another bank's request.
        IllegalTransition: it is answered, or too late.
    """
    row = _open_request(session, actor, request_id, RequestEvent.SECOND, now)
    row.status = advance_request(row.status, RequestEvent.SECOND)
    row.seconded_by, row.seconded_at = actor.id, now
    record(session, actor, EventTag.CASH_GRANTED, f"case:{row.case_id}", now, policy_version=policy.version, request=row.id, step="seconded")


def grant(session: Session, actor: Actor, command: Grant, policy: Policy, now: datetime) -> str:
    """Take the bank's signed word; returns its `jti`. Only an authoriser of the case's own bank may hand it in (CASH-04).

    The server verifies with the bank's public key and holds no key that could sign (design decision 19).

    Raises:
        Forbidden: not a bank's authoriser.
        NotFound: another bank's request.
        IllegalTransition: it is answered, or too late.
        TokenRejected: the token is not the bank's, or answers another question.
        RulesBreached: a second authoriser is due, or the case was stopped meanwhile.
    """
    row = _open_request(session, actor, command.request_id, RequestEvent.GRANT, now)
    case = case_of(session, actor, row.case_id)
    key = _bank_key(session, BankId(row.bank_id), tokens.peek_kid(command.token))
    public = key_from_jwk(key.public_jwk)
    claims = tokens.read_token(command.token, lambda kid: public if kid == key.kid else None)
    tokens.demand_answers(claims, expected_of(session, row, policy), command.agency, now)
    breaches = list(_judge_mandate(session, BankId(row.bank_id), now))
    breaches.extend(judge_stops(stops_of(case, today_of(now))))
    if claims.cap_fen >= policy.second_authoriser_from_fen and row.status is not RequestStatus.SECONDED:
        breaches.append(Breach(Rule.CASH_04, "second-authoriser-missing", expected="two authorisers of the bank", got="one"))
    if key.hardware.value not in policy.authoriser_hardware:
        admitted = ", ".join(policy.authoriser_hardware)
        breaches.append(Breach(Rule.CASH_04, "key-hardware-not-admitted", expected=admitted, got=key.hardware.value))
    if row.seconded_by == actor.id:
        breaches.append(Breach(Rule.CASH_04, "second-authoriser-missing", expected="two authorisers of the bank", got="the same person twice"))
    demand(tuple(breaches))
    if session.get(AuthorisationRow, claims.jti) is not None:
        raise Conflict(reason="this authorisation id was used before")
    row.status = advance_request(row.status, RequestEvent.GRANT)
    row.decided_by, row.decided_at = actor.id, now
    session.flush()
    payer = tokens.payload_of(claims).get("payer")
    session.add(AuthorisationRow(
        jti=claims.jti, request_id=row.id, case_id=row.case_id, bank_id=row.bank_id, branch_id=row.branch_id, token=command.token, kid=key.kid,
        hardware=key.hardware, cap_fen=claims.cap_fen, max_collections=claims.max_collections, collected_fen=0, collected_count=0,
        devices=sorted(claims.devices), instruments=sorted(claims.instruments), account_digest=claims.account_digest, payer=payer,
        not_before_at=claims.issued_at, expires_at=claims.expires_at, granted_by=actor.id, granted_at=now,
        log_entry_id=log.append(session, "cash-authorisation", command.token.encode(), now),
    ))
    session.flush()
    visit = session.get(VisitRow, row.visit_id) if row.visit_id is not None else None
    if visit is not None:
        expect_cash(session, visit.request_id, Fen(claims.cap_fen))
    record(session, actor, EventTag.CASH_GRANTED, f"case:{row.case_id}", now, policy_version=policy.version, request=row.id, jti=claims.jti,
           cap_fen=claims.cap_fen, hardware=key.hardware.value)
    return claims.jti


def refuse(session: Session, actor: Actor, request_id: UUID, reason: str, now: datetime) -> None:
    """Refuse as the bank. `reason` is a code. Raises as `second` does."""
    row = _open_request(session, actor, request_id, RequestEvent.REFUSE, now)
    row.status = advance_request(row.status, RequestEvent.REFUSE)
    row.decided_by, row.decided_at, row.refusal_reason = actor.id, now, reason
    record(session, actor, EventTag.CASH_REFUSED, f"case:{row.case_id}", now, request=row.id, reason=reason)


def expire_due(session: Session, now: datetime) -> int:
    """Let unanswered requests stand as refused; returns how many. A periodic task of no one in particular (F19)."""
    due = session.scalars(
        select(AuthorisationRequestRow)
        .where(AuthorisationRequestRow.status.in_([RequestStatus.REQUESTED, RequestStatus.SECONDED]), AuthorisationRequestRow.expires_at <= now)
        .order_by(AuthorisationRequestRow.id)
        .with_for_update()
    ).all()
    for row in due:
        row.status = advance_request(row.status, RequestEvent.EXPIRE)
        row.refusal_reason = "no-answer"
        record(session, None, EventTag.CASH_REFUSED, f"case:{row.case_id}", now, request=row.id, reason="no-answer")
    return len(due)


def revoke(session: Session, actor: Actor, jti: str, now: datetime) -> None:
    """Take an authorisation back; phones learn of it with the next revocation snapshot. Revoking twice changes nothing.

    Raises:
        Forbidden: not a bank's authoriser.
        NotFound: another bank's authorisation.
    """
    authorise(actor, Permission.CASH_AUTHORISE)
    row = session.scalar(select(AuthorisationRow).where(AuthorisationRow.jti == jti, AuthorisationRow.bank_id == actor.bank).with_for_update())
    if row is None:
        raise NotFound
    if row.revoked_at is None:
        row.revoked_at, row.revoked_by = now, actor.id
        record(session, actor, EventTag.CASH_REVOKED, f"case:{row.case_id}", now, jti=jti)


def terms_of(session: Session, jti: str) -> AuthorisationTerms | None:
    """Return what the bank signed under `jti` as it stands now, its row locked so that nobody else uses it up meanwhile."""
    row = session.scalar(
        select(AuthorisationRow).where(AuthorisationRow.jti == jti).with_for_update().execution_options(populate_existing=True)
    )
    if row is None:
        return None
    return AuthorisationTerms(
        jti=row.jti, case_id=CaseId(row.case_id), bank_id=BankId(row.bank_id), cap_fen=Fen(row.cap_fen), collected_fen=Fen(row.collected_fen),
        collections_max=row.max_collections, collected_count=row.collected_count, devices=frozenset(row.devices),
        instruments=frozenset(Instrument(one) for one in row.instruments), account_digest=row.account_digest,
        is_account_designated=row.account_digest in designated_digests(session, BankId(row.bank_id)),
        payer_digest=row.payer["name_sha256"] if row.payer is not None else None,
        granted_at=row.granted_at, expires_at=row.expires_at, revoked_at=row.revoked_at,
    )


def designated_digests(session: Session, bank_id: BankId) -> frozenset[str]:
    """Return the digests of a bank's designated accounts (CASH-06)."""
    return frozenset(session.scalars(select(DesignatedAccountRow.account_digest).where(DesignatedAccountRow.bank_id == bank_id)))


def resolve_bank_key(session: Session, kid: str) -> PublicKey | None:
    """Return a bank's public authorisation key, revoked ones included, for verifying stored tokens."""
    row = session.get(BankKeyRow, kid)
    return key_from_jwk(row.public_jwk) if row is not None and row.purpose is KeyPurpose.CASH_AUTHORISATION else None


def _open_request(session: Session, actor: Actor, request_id: UUID, event: RequestEvent, now: datetime) -> AuthorisationRequestRow:
    authorise(actor, Permission.CASH_AUTHORISE)
    row = session.scalar(
        select(AuthorisationRequestRow)
        .where(AuthorisationRequestRow.id == request_id, AuthorisationRequestRow.bank_id == actor.bank)
        .with_for_update()
        .execution_options(populate_existing=True)
    )
    if row is None:
        raise NotFound
    # Too late counts as refused whether or not the sweep has come by (F19).
    advance_request(RequestStatus.EXPIRED if now >= row.expires_at else row.status, event)
    return row


def _bank_key(session: Session, bank_id: BankId, kid: str) -> BankKeyRow:
    row = session.get(BankKeyRow, kid)
    is_usable = row is not None and row.bank_id == bank_id and row.purpose is KeyPurpose.CASH_AUTHORISATION and row.state is BankKeyState.ACTIVE
    if row is None or not is_usable:
        raise TokenRejected(claim="kid", expected="an active authorisation key of the case's own bank", got=kid)
    return row


def expected_of(session: Session, row: AuthorisationRequestRow, policy: Policy) -> tokens.Expected:
    """Return what a token must say to answer a request."""
    active = select(DeviceRow.kid).join(StaffRow, StaffRow.id == DeviceRow.staff_id).where(DeviceRow.state == DeviceState.ACTIVE)
    known = frozenset(session.scalars(active.where(StaffRow.branch_id == row.branch_id)))
    visit = session.get(VisitRow, row.visit_id) if row.visit_id else None
    pair = frozenset(session.scalars(active.where(StaffRow.id.in_([visit.collector_a, visit.collector_b])))) if visit else None
    return tokens.Expected(
        bank_id=str(row.bank_id), request_id=str(row.id), case_id=str(row.case_id), circumstance=row.circumstance,
        cap_requested_fen=row.cap_requested_fen, pair_devices=pair, known_devices=known,
        designated=designated_digests(session, BankId(row.bank_id)), hours_max=policy.authorisation_hours_max, requested_at=row.requested_at,
    )


def _judge_mandate(session: Session, bank_id: BankId, now: datetime) -> tuple[Breach, ...]:
    rows = session.scalars(select(MandateRow).where(MandateRow.bank_id == bank_id))
    mandates = tuple(
        MandateFacts(
            permitted=frozenset(MandateAction(one) for one in row.permitted), valid_from_on=row.valid_from_on, valid_to_on=row.valid_to_on,
            terminated_at=row.terminated_at,
        )
        for row in rows
    )
    return judge_mandate(mandates, MandateQuestion(action=MandateAction.CASH_COLLECTION, on=today_of(now), at=now))
