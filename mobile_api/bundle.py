"""The signed day bundle: assembled here from the slices that each own a part, and signed with the bundle key."""

from datetime import date, datetime
from typing import Any

from litestar import get
from litestar.di import NamedDependency
from litestar.params import FromQuery
from sqlalchemy.orm import Session

from backend.audit.log import utc_text
from backend.auth.actors import Actor
from backend.banks import queries as banks
from backend.banks.hours import offices_on
from backend.banks.model import BankKeyState, KeyPurpose
from backend.cash import actions as cash_actions
from backend.cash import queries as cash
from backend.cash.books import leased_numbers
from backend.core.ids import BankId
from backend.keys.keyring import Keyring
from backend.keys.model import KeyPurpose as ServerKeyPurpose
from backend.offers import queries as offers
from backend.offers.model import Terms
from backend.policies.queries import policy_in_force
from backend.staff import queries as staff
from backend.visits.bundle import Day
from backend.web.app import Resources
from backend.web.body import View
from backend.web.transaction import transaction

TYP = "day-bundle+jws"


class BundleAnswer(View, frozen=True):
    """The bundle as a compact JWS of type `day-bundle+jws`; its payload is snake_case, described in `backend.visits.bundle`."""

    bundle: str


@get("/mobile/v1/bundle", operation_id="readBundle", sync_to_thread=True, tags=["bundle"])
def read_bundle(
    on: FromQuery[date], actor: NamedDependency[Actor], resources: NamedDependency[Resources], now: NamedDependency[datetime]
) -> BundleAnswer:
    """Return the signed day of the asking phone's own pair, from its publication to the end of the day and a grace. The read is recorded."""
    with transaction(resources.sessions, actor, now) as session:
        day = Day(session, actor, on, now)
        document = day.document(resources.keyring, resources.settings.tenant) | {
            "cash": _cash(session, day, now), "offers": _offers(session, day, on),
            "banks": [_bank(session, bank_id, on, now) for bank_id in sorted(day.bank_ids)],
            "server_keys": _server_keys(resources.keyring),
        }
        return BundleAnswer(bundle=resources.keyring.sign(ServerKeyPurpose.BUNDLE, document, TYP))


ROUTES = [read_bundle]


def _cash(session: Session, day: Day, now: datetime) -> dict[str, Any]:
    """Return the numbers leased to this phone, this pair's authorisations, what was revoked, and what the pair's figures contain."""
    device, partner = day.actor.device, staff.active_device(session, day.partner_id)
    assert device is not None, "phones speak through a device"
    in_force = cash.authorisations_in_force(session, frozenset({device, partner.kid}), now) if partner else ()
    revoked = cash.revocations(session, now)
    cases = {visit.case_id for visit in day.visits.values()}
    pair = frozenset({day.actor.id, day.partner_id})
    return {
        "receipt_numbers": [{"number": one.number, "code": one.code, "bank_id": str(one.bank_id)} for one in leased_numbers(session, device)],
        "authorisations": [
            {
                "jti": one.jti, "case_id": str(one.case_id), "token": one.token, "kid": one.kid, "hardware": one.hardware,
                "remaining_fen": one.remaining_fen, "remaining_collections": one.remaining_collections, "expires": utc_text(one.expires_at),
            } for one in in_force if one.case_id in cases
        ],
        "revocations": {"taken": utc_text(revoked.taken_at), "jtis": list(revoked.jtis)},
        "carried_fen": cash_actions.carried_fen(session, pair), "blocked": cash_actions.blocked_count(session, pair),
        "overdue": cash_actions.overdue_count(session, pair, now), "booked": list(cash.booked_digests(session, pair, now)),
    }


def _offers(session: Session, day: Day, on: date) -> list[dict[str, Any]]:
    """Return what the banks have turned into offers for these doors. A proposal never reaches a phone (BANK-01)."""
    doors = {visit.case_id for visit in day.visits.values()}
    return [
        {"offer_id": str(one.id), "case_id": str(one.case_id), "valid_to": str(one.valid_to_on), "terms": _terms(one.terms)}
        for one in offers.offers_of(session, doors, on)
    ]


def _terms(terms: Terms) -> dict[str, Any]:
    told = {
        "kind": terms.kind.value, "waived_fen": terms.waived_fen, "method": terms.method,
        "until": None if terms.until_on is None else terms.until_on.isoformat(),
        "instalments": [{"due": one.due_on.isoformat(), "amount_fen": one.amount_fen} for one in terms.instalments] or None,
    }
    return {name: value for name, value in told.items() if value is not None}


def _bank(session: Session, bank_id: BankId, on: date, now: datetime) -> dict[str, Any]:
    """Return what the pair shows and checks at a door of this bank, kept folded: limits on cash, ways to pay, offices that day, texts, keys."""
    policy = policy_in_force(session, bank_id, now)
    return {
        "bank_id": str(bank_id),
        "limits": {
            "carry_limit_fen": policy.carry_limit_fen, "deposit_deadline_s": policy.deposit_deadline_s,
            "revocation_age_s_max": policy.revocation_age_s_max,
        },
        "offices": [
            {
                "id": str(one.id), "name": one.name, "kind": one.kind.value, "opens_s": one.opens_s, "closes_s": one.closes_s,
                "lat_e7": round(one.location.lat * 1e7), "lon_e7": round(one.location.lon * 1e7), "deposit_fen_max": one.deposit_fen_max,
            } for one in offices_on(session, [bank_id], on) if one.opens_s is not None
        ],
        "payment_channels": [{"kind": one.kind, "text_zh": one.text_zh, "text_en": one.text_en} for one in banks.channels(session, bank_id)],
        "repayment_methods": [
            {"code": one.code, "text_zh": one.text_zh, "text_en": one.text_en} for one in offers.methods_of(session, bank_id) if one.is_offered
        ],
        "templates": [
            {"id": str(one.id), "kind": one.kind.value, "version": one.version, "text_zh": one.text_zh}
            for one in banks.templates(session, bank_id) if one.approved_at is not None
        ],
        "keys": [
            {"kid": one.kid, "jwk": one.public_jwk, "hardware": one.hardware.value}
            for one in banks.keys(session, bank_id) if one.purpose is KeyPurpose.CASH_AUTHORISATION and one.state is BankKeyState.ACTIVE
        ],
    }


def _server_keys(keyring: Keyring) -> dict[str, list[dict[str, Any]]]:
    keys: dict[str, list[dict[str, Any]]] = {}
    for one in keyring.public_keys():
        if isinstance(one.public, dict):
            keys.setdefault(one.purpose.value, []).append({"kid": one.kid, "jwk": one.public})
    return keys

