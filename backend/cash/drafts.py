"""What an authoriser is asked to sign: the open requests of their bank with the claims that would answer each. Nothing here signs.

The key is the bank's: it lives in the authoriser's browser or the bank's system (design decision 19).
"""

from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import select
from sqlalchemy.orm import Session

from backend.audit.record import record_read
from backend.auth.actors import Actor
from backend.auth.authorise import authorise
from backend.auth.permissions import Permission
from backend.banks import queries as banks
from backend.cash.authorisations import expected_of, open_explanation
from backend.cash.model import Circumstance, Instrument, RequestStatus
from backend.cash.tables import AuthorisationRequestRow
from backend.core.fen import Fen
from backend.core.ids import BankId
from backend.keys.keyring import Keyring
from backend.policies.model import Policy

DRAFTS_MAX = 50


class Draft(msgspec.Struct, frozen=True, kw_only=True):
    """One open request. `claims` is what the bank would sign but for `agency`, `jti`, `iat` and `exp`; None while the pair is not known."""

    request_id: UUID
    circumstance: Circumstance
    explanation: str
    cap_fen: Fen
    requested_at: datetime
    expires_at: datetime
    answer_due_s: int
    is_second_due: bool              # Another authoriser has to confirm first.
    hours_max: int
    claims: dict[str, Any] | None


def open_drafts(session: Session, actor: Actor, keyring: Keyring, policy: Policy, now: datetime) -> tuple[Draft, ...]:
    """Return the unanswered requests of the actor's bank, the most urgent first; the read is recorded (SEC-01).

    Raises:
        Forbidden: not a bank's authoriser.
    """
    authorise(actor, Permission.CASH_AUTHORISE)
    assert actor.bank is not None, "authorisers belong to a bank"
    rows = session.scalars(
        select(AuthorisationRequestRow).where(
            AuthorisationRequestRow.bank_id == actor.bank, AuthorisationRequestRow.expires_at > now,
            AuthorisationRequestRow.status.in_((RequestStatus.REQUESTED, RequestStatus.SECONDED)))
        .order_by(AuthorisationRequestRow.expires_at, AuthorisationRequestRow.id).limit(DRAFTS_MAX)
    ).all()
    record_read(session, actor, [row.case_id for row in rows], now, "cash-requests")
    accounts = banks.accounts(session, BankId(actor.bank))
    return tuple(_draft(session, keyring, row, (policy, accounts, now)) for row in rows)


def _draft(
    session: Session, keyring: Keyring, row: AuthorisationRequestRow, about: tuple[Policy, tuple[banks.AccountView, ...], datetime]
) -> Draft:
    policy, accounts, now = about
    is_large = row.cap_requested_fen >= policy.second_authoriser_from_fen
    expected = expected_of(session, row, policy)
    claims: dict[str, Any] | None = None
    if expected.pair_devices is not None and len(expected.pair_devices) == 2 and accounts:
        claims = {
            "iss": expected.bank_id, "request": expected.request_id, "case": expected.case_id,
            "devices": sorted(expected.pair_devices), "instruments": [Instrument.CASH.value], "cap_fen": row.cap_requested_fen, "max_collections": 1,
            "circumstance": row.circumstance.value, "account_digest": accounts[-1].account_digest,
        }
    return Draft(
        request_id=row.id, circumstance=row.circumstance, explanation=open_explanation(session, keyring, row), cap_fen=Fen(row.cap_requested_fen),
        requested_at=row.requested_at, expires_at=row.expires_at, answer_due_s=max(0, int((row.expires_at - now).total_seconds())),
        is_second_due=is_large and row.status is RequestStatus.REQUESTED,
        hours_max=policy.authorisation_hours_max, claims=claims,
    )

