"""Proof of possession for phones (RFC 9449) and their private-key login (RFC 7523). Pure.

Three compact ES256 tokens, each under its own `typ`, so that none passes for another:

- client assertion, `client-authentication+jwt`: header `alg, kid, typ`; claims `iss = sub = kid`, `aud` = the token address, `iat`, `exp`, `jti`;
- DPoP proof, `dpop+jwt`: header `alg, jwk, typ`; claims `htm`, `htu`, `iat`, `jti` and, with an access token, `ath`;
- access token, `access+jwt`: made by the server; claims `iss, aud, sub, client_id, iat, exp, jti, cnf.jkt`.

Every refusal is `ProofRefused` with a stable reason; the answer to the caller is `unauthenticated` for all of them alike.
"""

import hashlib
from datetime import datetime, timedelta
from typing import Annotated, Literal, TypeVar
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta

from evidence.canonical import JsonObject, b64u_decode, b64u_encode, parse_strict
from evidence.errors import EvidenceError
from evidence.es256 import compact_verify, demand_signature, demand_signature_shape, read_header
from evidence.keys import KeyResolver, PublicKey, key_from_jwk, thumbprint

ASSERTION_TYP = "client-authentication+jwt"
PROOF_TYP = "dpop+jwt"
ACCESS_TYP = "access+jwt"
ENROLMENT_TYP = "device-enrolment+jws"
RENEWAL_TYP = "device-renewal+jws"
PROOF_AGE_S_MAX = 60
CLOCK_SKEW_S_MAX = 60         # Added on both sides: a phone that learnt the time from our answers is off by no more.
ASSERTION_LIFE_S_MAX = 300
ACCESS_LIFE_S = 900
TOKEN_CHARS_MAX = 4_096

_Text = Annotated[str, Meta(min_length=1, max_length=400)]
_Jti = Annotated[str, Meta(min_length=16, max_length=128)]
_Seconds = Annotated[int, Meta(ge=0, le=2**40)]
Claims = TypeVar("Claims", bound=msgspec.Struct)


class ProofRefused(Exception):
    """A token or proof does not prove what it should. `reason` is for tests and counters; only a clock fault is told to the caller."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason

    @property
    def is_clock_fault(self) -> bool:
        """Whether the phone's clock is to blame, which it can mend by the server's time."""
        return self.reason in ("too-old", "from-the-future")


class _ProofClaims(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    htm: Annotated[str, Meta(max_length=10)]
    htu: Annotated[str, Meta(max_length=2000)]
    iat: _Seconds
    jti: _Jti
    ath: Annotated[str, Meta(max_length=43)] | None = None


class _AssertionClaims(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    iss: _Text
    sub: _Text
    aud: _Text
    iat: _Seconds
    exp: _Seconds
    jti: _Jti


class _Confirmation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    jkt: _Text


class AccessClaims(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What an access token says."""

    iss: _Text
    aud: _Text
    sub: _Text
    client_id: _Text
    iat: _Seconds
    exp: _Seconds
    jti: _Text
    cnf: _Confirmation


class EnrolmentStatement(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a phone signs to be enrolled."""

    challenge: _Text
    staff: _Text
    app: Literal["fieldvisit"] = "fieldvisit"


class RenewalStatement(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a phone's old key signs to give way to a new one. `last_seq` 0: the old key's chain is empty."""

    challenge: _Text
    staff: _Text
    old: _Text
    new: _Text
    last_seq: _Seconds
    last_digest: Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]
    app: Literal["fieldvisit"] = "fieldvisit"


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """The request that a proof must belong to: method and address as the phone sees it, without query and fragment."""

    method: str
    url: str


class Proven(msgspec.Struct, frozen=True, kw_only=True):
    """A token that verified; to be remembered under `replay_digest` until `expires_at`, so that it passes once."""

    kid: str
    replay_digest: str
    expires_at: datetime


def check_proof(token: str, call: Call, now: datetime, access_token: str | None = None) -> Proven:
    """Verify one DPoP proof by the steps of RFC 9449 §4.3 and return the thumbprint of its key.

    Replay is the caller's to refuse, through `replay_digest`.

    Raises:
        ProofRefused: any step failed.
    """
    # 1.-6. One well-formed compact token, typ dpop+jwt, ES256, signed by the public key it carries.
    claims, kid = _read_proof(token)
    # 7.-8. Made for this method and this address.
    if claims.htm != call.method:
        raise ProofRefused("htm-mismatch")
    if _normal_url(claims.htu) != _normal_url(call.url):
        raise ProofRefused("htu-mismatch")
    # 9. We give no nonce. 10. Made now.
    _check_age(claims.iat, now)
    # 11. Made for this access token; its binding to the key is checked with the token.
    if access_token is not None and claims.ath != _ath(access_token):
        raise ProofRefused("ath-mismatch")
    if access_token is None and claims.ath is not None:
        raise ProofRefused("ath-unexpected")
    expires_at = now + timedelta(seconds=PROOF_AGE_S_MAX + 2 * CLOCK_SKEW_S_MAX)  # The last instant at which it could pass again.
    return Proven(kid=kid, replay_digest=_replay_digest(PROOF_TYP, kid, claims.jti), expires_at=expires_at)


def check_assertion(token: str, audience: str, resolve_key: KeyResolver, now: datetime) -> Proven:
    """Verify a client assertion and return the key id that signed it.

    Raises:
        ProofRefused: unknown key, bad signature, another audience, too old or too long-lived.
    """
    claims, kid = _verified(token, resolve_key, ASSERTION_TYP, _AssertionClaims)
    if not claims.iss == claims.sub == kid:
        raise ProofRefused("issuer-mismatch")
    if claims.aud != audience:
        raise ProofRefused("audience-mismatch")
    at_s = now.timestamp()
    if claims.exp <= at_s:
        raise ProofRefused("expired")
    if claims.iat > at_s + CLOCK_SKEW_S_MAX or claims.exp - claims.iat > ASSERTION_LIFE_S_MAX:
        raise ProofRefused("lifetime-out-of-bounds")
    expires_at = now + timedelta(seconds=ASSERTION_LIFE_S_MAX + CLOCK_SKEW_S_MAX)
    return Proven(kid=kid, replay_digest=_replay_digest(ASSERTION_TYP, kid, claims.jti), expires_at=expires_at)


def access_claims(*, public_url: str, staff_id: str, kid: str, jti: str, now: datetime) -> JsonObject:
    """Return the claims of a fifteen-minute access token bound to the key `kid`."""
    issued_s = int(now.timestamp())
    return {
        "iss": public_url, "aud": f"{public_url}/mobile/v1", "sub": staff_id, "client_id": kid, "iat": issued_s, "exp": issued_s + ACCESS_LIFE_S,
        "jti": jti, "cnf": {"jkt": kid},
    }


def check_access(token: str, public_url: str, resolve_key: KeyResolver, now: datetime) -> AccessClaims:
    """Verify an access token of ours. The key it is bound to must be compared with the proof's.

    Raises:
        ProofRefused: not signed by us, another purpose, another deployment, expired.
    """
    claims, _ = _verified(token, resolve_key, ACCESS_TYP, AccessClaims)
    if claims.iss != public_url or claims.aud != f"{public_url}/mobile/v1":
        raise ProofRefused("audience-mismatch")
    if claims.exp <= now.timestamp():
        raise ProofRefused("expired")
    return claims


def check_enrolment(proof: str, key: PublicKey, expected: EnrolmentStatement) -> None:
    """Verify that the new phone signed its challenge, employee and app with the key it brings (typ `device-enrolment+jws`).

    Raises:
        ProofRefused: another challenge or employee, or another key signed.
    """
    kid = thumbprint(key)
    claims, _ = _verified(proof, lambda named: key if named == kid else None, ENROLMENT_TYP, EnrolmentStatement)
    if claims != expected:
        raise ProofRefused("statement-mismatch")


def check_renewal(consent: str, old_key: PublicKey) -> RenewalStatement:
    """Verify the old key's consent (typ `device-renewal+jws`) and return what it says; whom it names is the caller's to compare.

    Raises:
        ProofRefused: another key signed, another typ, or it says anything else.
    """
    kid = thumbprint(old_key)
    claims, _ = _verified(consent, lambda named: old_key if named == kid else None, RENEWAL_TYP, RenewalStatement)
    return claims


def _read_proof(token: str) -> tuple[_ProofClaims, str]:
    if len(token) > TOKEN_CHARS_MAX or not token.isascii() or token.count(".") != 2:
        raise ProofRefused("malformed")
    protected, body, signature = token.split(".")
    try:
        header = read_header(protected, frozenset({"alg", "jwk", "typ"}))
        if header["typ"] != PROOF_TYP or not isinstance(header["jwk"], dict):
            raise ProofRefused("wrong-typ")
        key = key_from_jwk(header["jwk"])
        demand_signature_shape(signature)
        demand_signature(token, key)
        return msgspec.convert(parse_strict(b64u_decode(body)), _ProofClaims), thumbprint(key)
    except EvidenceError as error:
        raise ProofRefused(error.problem) from error
    except msgspec.ValidationError as error:
        raise ProofRefused("malformed-claims") from error


def _verified(token: str, resolve_key: KeyResolver, typ: str, claims_type: type[Claims]) -> tuple[Claims, str]:
    if len(token) > TOKEN_CHARS_MAX:
        raise ProofRefused("malformed")
    try:
        header, payload = compact_verify(token, resolve_key, typ=typ)
        return msgspec.convert(payload, claims_type), header["kid"]
    except EvidenceError as error:
        raise ProofRefused(error.problem) from error
    except msgspec.ValidationError as error:
        raise ProofRefused("malformed-claims") from error


def _check_age(issued_s: int, now: datetime) -> None:
    age_s = now.timestamp() - issued_s
    if age_s > PROOF_AGE_S_MAX + CLOCK_SKEW_S_MAX:
        raise ProofRefused("too-old")
    if age_s < -CLOCK_SKEW_S_MAX:
        raise ProofRefused("from-the-future")


def _normal_url(url: str) -> tuple[str, str, int | None, str]:
    # RFC 9449 §4.3: compared after scheme- and syntax-based normalisation, query and fragment set aside.
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise ProofRefused("malformed-url") from None
    default = {"https": 443, "http": 80}.get(parts.scheme.lower())
    return parts.scheme.lower(), (parts.hostname or "").lower(), port or default, parts.path or "/"


def _ath(access_token: str) -> str:
    return b64u_encode(hashlib.sha256(access_token.encode()).digest())


def _replay_digest(typ: str, kid: str, jti: str) -> str:
    return hashlib.sha256("\0".join((typ, kid, jti)).encode()).hexdigest()
