"""May this money be taken? The phone's own judgement, without a server: the bank's token, the pinned keys, the revocations, the numbers.

The phone says *no* by itself whenever the server would; it says *yes* only under the bank's signature, inside every limit,
with what both phones have taken and not yet seen booked counted against them. Nothing here writes or sends.
"""

import hashlib
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import msgspec

from evidence.errors import EvidenceError
from evidence.es256 import compact_verify
from evidence.facts import CashReceiptFacts, Facts, VoidFacts
from evidence.keys import PublicKey, key_from_jwk
from evidence.times import parse_utc
from mobile_api.phone_notebook import Taken

TYP: Final = "cash-authorisation+jwt"
INSTRUMENTS: Final = frozenset({"cash", "cash_cheque", "other_property"})
NO_RECEIPT: Final = "0" * 64
CLOCK_BACK_S: Final = 60
"""How far the phone's clock may stand before the moment at which its own bundle was made."""


class CashWish(msgspec.Struct, frozen=True, kw_only=True):
    """What the pair would like to take, in the words of the day bundle."""

    case: str
    bank: str
    jti: str | None
    amount_fen: int
    instrument: str = "cash"
    payer: str = "debtor"
    payer_name: str | None = None            # Of a person the authorisation names; it stays on the phone.


class WhyNot(msgspec.Struct, frozen=True, kw_only=True):
    """One reason against it, under its rule."""

    rule: str
    code: str
    expected: str
    got: str


class CashLeave(msgspec.Struct, frozen=True, kw_only=True):
    """Go ahead, with this number: what the receipt has to say besides its amount."""

    jti: str
    receipt_number: str
    receipt_code: str
    previous_receipt: str
    payer_digest: str | None
    remaining_fen: int
    carry_left_fen: int


class TakeNothing(Exception):
    """The phone says no; `reasons` are all of them, and what to do instead is to show the bank's own channels (CASH-10)."""

    def __init__(self, reasons: Sequence[WhyNot]) -> None:
        super().__init__("; ".join(f"{one.rule} {one.code}: {one.expected}, got {one.got}" for one in reasons))
        self.reasons = tuple(reasons)

    @property
    def codes(self) -> frozenset[str]:
        """The codes of the reasons."""
        return frozenset(one.code for one in self.reasons)


def payer_digest(salt: str, name: str) -> str:
    """Return the digest under which a payer is named: SHA-256 of salt, colon and NFC name; the salt is the token's `jti` for a named person."""
    return hashlib.sha256(f"{salt}:{unicodedata.normalize('NFC', name.strip())}".encode()).hexdigest()


def decide(bundle: Mapping[str, Any], kid: str, taken: Sequence[Taken], wish: CashWish, at: datetime) -> CashLeave:
    """Decide from the signed day bundle and what this phone has taken. `at` is the phone's clock.

    Raises:
        TakeNothing: with every reason that speaks against it.
    """
    cash, policy = bundle["cash"], bundle["policy"] | _limits(bundle, wish.bank)
    open_ones = unbooked(cash, taken)
    reasons = [*_judge_snapshot(cash, policy, at), *_judge_pair(cash)]
    entry = next((one for one in cash["authorisations"] if one["jti"] == wish.jti and one["case_id"] == wish.case), None)
    claims: Mapping[str, Any] = {}
    if entry is None:
        reasons.append(_no("CASH-01", "cash-not-authorised", "an authorisation for this case on this phone", "none"))
    else:
        claims = _claims(entry["token"], _pinned(bundle, wish.bank), reasons)
    if claims and entry is not None:
        reasons += _judge_claims(claims, {kid, bundle["pair"]["partner"]["kid"]}, wish, at)
        reasons += _judge_revocation(cash, claims["jti"])
        reasons += _judge_limits(entry, claims, taken, open_ones, wish)
    carried = cash["carried_fen"] + sum(one.amount_fen for one in open_ones)
    if carried + wish.amount_fen > policy["carry_limit_fen"]:
        reasons.append(_no("CASH-08", "carry-limit", f"at most {policy['carry_limit_fen']} fen carried", f"{carried + wish.amount_fen} fen"))
    number = next_number(cash, taken, wish.bank)
    if number is None:
        reasons.append(_no("CASH-05", "receipt-number-not-leased", "a printed number of this bank's book", "none left"))
    if reasons or entry is None or number is None:
        raise TakeNothing(reasons)
    return CashLeave(
        jti=claims["jti"], receipt_number=number["number"], receipt_code=number["code"], previous_receipt=last_receipt(taken),
        payer_digest=payer_digest(claims["jti"], wish.payer_name) if wish.payer_name else None,
        remaining_fen=_left(entry, claims, taken, open_ones) - wish.amount_fen, carry_left_fen=policy["carry_limit_fen"] - carried - wish.amount_fen,
    )


def taken_of(facts: Facts, digest: str, *, is_own: bool) -> Taken | None:
    """Return what a statement counts for in the notebook: a receipt its amount, a void its number, any other nothing."""
    if isinstance(facts, CashReceiptFacts):
        return Taken(facts.receipt_number, facts.authorisation_jti, facts.amount_fen, digest, is_own)
    return Taken(facts.receipt_number, None, 0, digest, is_own) if isinstance(facts, VoidFacts) else None


def unbooked(cash: Mapping[str, Any], taken: Sequence[Taken]) -> list[Taken]:
    """Return the receipts that the bundle's figures do not contain yet: taken by either of the pair, not seen booked by the server."""
    booked = set(cash["booked"])
    return [one for one in taken if one.amount_fen and not one.is_booked and one.digest not in booked]


def next_number(cash: Mapping[str, Any], taken: Sequence[Taken], bank: str) -> Mapping[str, str] | None:
    """Return the next printed number of a bank's book, strictly in order; a number once used is passed over for ever."""
    used = {one.number for one in taken}
    return next((one for one in cash["receipt_numbers"] if one["bank_id"] == bank and one["number"] not in used), None)


def last_receipt(taken: Sequence[Taken]) -> str:
    """Return the digest that this phone's next receipt links to."""
    return next((one.digest for one in reversed(taken) if one.is_own and one.amount_fen), NO_RECEIPT)


def _judge_snapshot(cash: Mapping[str, Any], policy: Mapping[str, Any], at: datetime) -> list[WhyNot]:
    snapshot = parse_utc(cash["revocations"]["taken"])
    if at < snapshot - timedelta(seconds=CLOCK_BACK_S):
        return [_no("CASH-04", "clock-behind", "a clock not before the bundle's own time", at.isoformat())]
    if at - snapshot > timedelta(seconds=policy["revocation_age_s_max"]):
        return [_no("CASH-01", "revocations-stale", f"revocations at most {policy['revocation_age_s_max']} s old", snapshot.isoformat())]
    return []


def _judge_pair(cash: Mapping[str, Any]) -> list[WhyNot]:
    reasons = []
    if cash["blocked"]:
        reasons.append(_no("CASH-01", "collector-blocked", "no open exception of the pair", str(cash["blocked"])))
    if cash["overdue"]:
        reasons.append(_no("CASH-06", "deposit-overdue", "no deposit of the pair overdue", str(cash["overdue"])))
    return reasons


def _limits(bundle: Mapping[str, Any], bank: str) -> Mapping[str, int]:
    """Return the bank's own limits; bundles made before they were told hold the agency's alone."""
    told: Mapping[str, int] = next((one.get("limits", {}) for one in bundle["banks"] if one["bank_id"] == bank), {})
    return told


def _pinned(bundle: Mapping[str, Any], bank: str) -> Mapping[str, PublicKey]:
    keys: list[Mapping[str, Any]] = next((one["keys"] for one in bundle["banks"] if one["bank_id"] == bank), [])
    return {one["kid"]: key_from_jwk(one["jwk"]) for one in keys}


def _claims(token: str, pinned: Mapping[str, PublicKey], reasons: list[WhyNot]) -> Mapping[str, Any]:
    try:
        return compact_verify(token, pinned.get, typ=TYP)[1]
    except EvidenceError as error:
        reasons.append(_no("CASH-04", "token-not-the-banks", "a signature by a pinned key of this bank", error.problem))
        return {}


def _judge_claims(claims: Mapping[str, Any], devices: set[str], wish: CashWish, at: datetime) -> list[WhyNot]:
    wanted: list[tuple[bool, Callable[[], WhyNot]]] = [
        (claims["iss"] == wish.bank, lambda: _no("CASH-04", "cash-not-authorised", "the case's own bank", str(claims["iss"]))),
        (claims["case"] == wish.case, lambda: _no("CASH-01", "cash-not-authorised", "this case", "another")),
        (set(claims["devices"]) == devices, lambda: _no("CASH-01", "cash-not-authorised", "these two phones", "another pair's")),
        (wish.instrument in INSTRUMENTS and wish.instrument in claims["instruments"],
         lambda: _no("CASH-02", "cash-not-authorised", ", ".join(claims["instruments"]), wish.instrument)),
        (_second(claims["iat"]) < at, lambda: _no("CASH-04", "cash-not-authorised", "granted before the money is taken", "not yet")),
        (at < _second(claims["exp"]), lambda: _no("CASH-04", "authorisation-expired", "taken before it ends", at.isoformat())),
        (_is_payer(claims, wish), lambda: _no("CONT-08", "payer-not-named", "the debtor, or a person the authorisation names", wish.payer)),
        (wish.amount_fen > 0, lambda: _no("CASH-07", "amount-not-positive", "an amount above zero", str(wish.amount_fen))),
    ]
    return [reason() for holds, reason in wanted if not holds]


def _is_payer(claims: Mapping[str, Any], wish: CashWish) -> bool:
    if wish.payer == "debtor":
        return True
    named = claims.get("payer")
    if wish.payer != "named_person" or named is None or wish.payer_name is None:
        return False
    return bool(payer_digest(claims["jti"], wish.payer_name) == named["name_sha256"])


def _judge_revocation(cash: Mapping[str, Any], jti: str) -> list[WhyNot]:
    return [_no("CASH-01", "authorisation-revoked", "an authorisation in force", "revoked")] if jti in cash["revocations"]["jtis"] else []


def _judge_limits(
    entry: Mapping[str, Any], claims: Mapping[str, Any], taken: Sequence[Taken], open_ones: Sequence[Taken], wish: CashWish
) -> list[WhyNot]:
    reasons = []
    left, jti = _left(entry, claims, taken, open_ones), claims["jti"]
    times = min(
        entry["remaining_collections"] - sum(one.jti == jti for one in open_ones), claims["max_collections"] - sum(one.jti == jti for one in taken))
    if wish.amount_fen > left:
        reasons.append(_no("CASH-01", "cap-exceeded", f"at most {left} fen", f"{wish.amount_fen} fen"))
    if times <= 0:
        reasons.append(_no("CASH-01", "authorisation-exhausted", f"at most {claims['max_collections']} collections", "one more"))
    return reasons


def _left(entry: Mapping[str, Any], claims: Mapping[str, Any], taken: Sequence[Taken], open_ones: Sequence[Taken]) -> int:
    """Count what is left: by the server's figure less what it has not seen yet, and never above the bank's own cap less all that was taken."""
    by_server = entry["remaining_fen"] - sum(one.amount_fen for one in open_ones if one.jti == claims["jti"])
    return int(min(by_server, claims["cap_fen"] - sum(one.amount_fen for one in taken if one.jti == claims["jti"])))


def _second(stamp: int) -> datetime:
    return datetime.fromtimestamp(stamp, UTC)


def _no(rule: str, code: str, expected: str, got: str) -> WhyNot:
    return WhyNot(rule=rule, code=code, expected=expected, got=got)
