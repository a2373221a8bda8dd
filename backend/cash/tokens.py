"""The bank's word: a compact ES256 JWS of type `cash-authorisation+jwt` under a key of the bank that no server of ours holds. Pure.

Phones verify the same token offline with pinned bank keys; nothing here is needed for that but the claims' shape.
"""

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta

from backend.cash.model import AUTHORISABLE, Circumstance, Instrument
from backend.cash.problems import TokenRejected
from backend.core.fen import FEN_MAX
from evidence.errors import EvidenceError
from evidence.es256 import compact_peek, compact_verify
from evidence.facts import Kid, OpaqueId, Sha256
from evidence.keys import KeyResolver

TYP: Final = "cash-authorisation+jwt"
_CLOCK_SKEW_S: Final = 60
_Seconds = Annotated[int, Meta(ge=1_600_000_000, le=10_000_000_000)]


class NamedPayer(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A person besides the debtor from whom money may be taken (CONT-08): SHA-256 of `jti`, a colon and the NFC name."""

    relation: Annotated[str, Meta(pattern=r"^[a-z][a-z_]*$", max_length=48)]
    name_sha256: Sha256


class Claims(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Exactly what the bank signs. Seconds since 1970 for times, whole fen for the cap."""

    iss: OpaqueId                                      # Bank id.
    jti: OpaqueId
    agency: OpaqueId
    request: OpaqueId
    case: OpaqueId
    devices: Annotated[tuple[Kid, ...], Meta(min_length=2, max_length=2)]
    instruments: Annotated[tuple[Instrument, ...], Meta(min_length=1, max_length=3)]
    cap_fen: Annotated[int, Meta(ge=1, le=FEN_MAX)]
    max_collections: Annotated[int, Meta(ge=1, le=100)]
    circumstance: Circumstance
    account_digest: Sha256
    iat: _Seconds
    exp: _Seconds
    payer: NamedPayer | None = None

    def __post_init__(self) -> None:
        if self.devices[0] == self.devices[1]:
            raise ValueError("an authorisation names two different devices")
        if set(self.instruments) - AUTHORISABLE or len(set(self.instruments)) != len(self.instruments):
            raise ValueError("an authorisation names each of cash, cash_cheque, other_property at most once")
        if self.exp <= self.iat:
            raise ValueError("an authorisation ends after it is made")

    @property
    def issued_at(self) -> datetime:
        """Return the instant of signing."""
        return datetime.fromtimestamp(self.iat, UTC)

    @property
    def expires_at(self) -> datetime:
        """Return the first instant at which nothing may be taken any more."""
        return datetime.fromtimestamp(self.exp, UTC)


class Expected(msgspec.Struct, frozen=True, kw_only=True):
    """What a token must say to answer one request."""

    bank_id: str
    request_id: str
    case_id: str
    circumstance: Circumstance
    cap_requested_fen: int
    pair_devices: frozenset[str] | None      # None: the pair is not known yet; any two active devices of the branch.
    known_devices: frozenset[str]
    designated: frozenset[str]
    hours_max: int
    requested_at: datetime


def peek_kid(token: str) -> str:
    """Return the key id that a token names, unverified. Raises `TokenRejected` for a shape that is not ours."""
    try:
        header, _ = compact_peek(token, TYP)
    except EvidenceError as error:
        raise TokenRejected(reason=error.problem) from error
    return header["kid"]


def read_token(token: str, resolve_key: KeyResolver) -> Claims:
    """Verify the signature and decode the claims.

    Raises:
        TokenRejected: shape, key, signature or a claim is not acceptable.
    """
    try:
        _, payload = compact_verify(token, resolve_key, typ=TYP)
        return msgspec.convert(payload, Claims, strict=True)
    except EvidenceError as error:
        raise TokenRejected(reason=error.problem) from error
    except msgspec.ValidationError as error:
        raise TokenRejected(reason="claims", got=str(error)) from error


def demand_answers(claims: Claims, expected: Expected, agency: str, now: datetime) -> None:
    """Demand that a verified token is meant for this agency and answers this request and no other (CASH-01, CASH-03, CASH-04).

    Raises:
        TokenRejected: names the first claim that does not fit.
    """
    _demand("iss", expected.bank_id, claims.iss)
    _demand("agency", agency, claims.agency)
    _demand("request", expected.request_id, claims.request)
    _demand("case", expected.case_id, claims.case)
    _demand("circumstance", expected.circumstance.value, claims.circumstance.value)
    if claims.cap_fen > expected.cap_requested_fen:
        raise TokenRejected(claim="cap_fen", expected=f"at most {expected.cap_requested_fen}", got=claims.cap_fen)
    devices = frozenset(claims.devices)
    if (expected.pair_devices is not None and devices != expected.pair_devices) or not devices <= expected.known_devices:
        raise TokenRejected(claim="devices", expected="the active devices of this pair", got=sorted(devices))
    if claims.account_digest not in expected.designated:
        raise TokenRejected(claim="account_digest", expected="an account that the bank designated", got=claims.account_digest)
    skew = timedelta(seconds=_CLOCK_SKEW_S)
    if not expected.requested_at - skew <= claims.issued_at <= now + skew:
        raise TokenRejected(claim="iat", expected="after the request and not in the future", got=claims.iat)
    if claims.expires_at <= now or claims.expires_at - claims.issued_at > timedelta(hours=expected.hours_max):
        raise TokenRejected(claim="exp", expected=f"in the future, within {expected.hours_max} h of signing", got=claims.exp)


def payload_of(claims: Claims) -> dict[str, Any]:
    """Return the JSON object that a bank signs for `claims`; an absent payer is left out."""
    payload: dict[str, Any] = msgspec.to_builtins(claims)
    if payload["payer"] is None:
        del payload["payer"]
    return payload


def _demand(claim: str, expected: str, got: str) -> None:
    if got != expected:
        raise TokenRejected(claim=claim, expected=expected, got=got)
