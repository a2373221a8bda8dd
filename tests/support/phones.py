"""What a phone signs, made from a test's own keys: client assertions, DPoP proofs, enrolment statements and whole header sets."""

import hashlib
from datetime import datetime
from uuid import uuid4

from backend.keys.keyring import Keyring
from backend.keys.model import KeyPurpose
from backend.staff import dpop
from evidence.canonical import JsonObject, b64u_encode, canonicalise
from evidence.es256 import compact_sign, sign_bytes
from evidence.keys import PrivateKey, public_jwk, thumbprint
from tests.support.world import Person

PUBLIC_URL = "http://127.0.0.1:8000"


def signed(header: JsonObject, claims: JsonObject, key: PrivateKey) -> str:
    """Sign any header and claims, sound or not."""
    signing_input = f"{b64u_encode(canonicalise(header))}.{b64u_encode(canonicalise(claims))}"
    return f"{signing_input}.{b64u_encode(sign_bytes(signing_input.encode(), key))}"


def proof_claims(method: str, path: str, now: datetime, access_token: str | None = None) -> JsonObject:
    """Return the claims of a fresh DPoP proof for a path of the deployment."""
    claims: JsonObject = {"htm": method, "htu": f"{PUBLIC_URL}{path}", "iat": int(now.timestamp()), "jti": uuid4().hex}
    if access_token is not None:
        claims["ath"] = b64u_encode(hashlib.sha256(access_token.encode()).digest())
    return claims


def proof(key: PrivateKey, claims: JsonObject) -> str:
    """Sign a DPoP proof with the key it carries."""
    jwk: JsonObject = dict(public_jwk(key))
    return signed({"alg": "ES256", "jwk": jwk, "typ": dpop.PROOF_TYP}, claims, key)


def assertion_claims(kid: str, now: datetime, life_s: int = 120) -> JsonObject:
    """Return the claims of a fresh client assertion."""
    at_s = int(now.timestamp())
    return {"iss": kid, "sub": kid, "aud": f"{PUBLIC_URL}/mobile/v1/token", "iat": at_s, "exp": at_s + life_s, "jti": uuid4().hex}


def assertion(key: PrivateKey, claims: JsonObject) -> str:
    """Sign a client assertion under the key's own id."""
    return compact_sign(claims, key, typ=dpop.ASSERTION_TYP, kid=thumbprint(key))


def enrolment_proof(key: PrivateKey, challenge: str, staff_id: str) -> str:
    """Sign the statement that enrols a phone."""
    statement: JsonObject = {"challenge": challenge, "staff": staff_id, "app": "fieldvisit"}
    return compact_sign(statement, key, typ=dpop.ENROLMENT_TYP, kid=thumbprint(key))


def access_token(keyring: Keyring, person: Person, now: datetime) -> str:
    """Mint an access token as the token endpoint does."""
    assert person.phone is not None, f"{person.name} has no phone"
    claims = dpop.access_claims(public_url=PUBLIC_URL, staff_id=str(person.id), kid=person.phone.kid, jti=uuid4().hex, now=now)
    return keyring.sign(KeyPurpose.ACCESS, claims, dpop.ACCESS_TYP)


def phone_headers(keyring: Keyring, person: Person, method: str, path: str, now: datetime) -> dict[str, str]:
    """Return the two headers of one authenticated call; a second call needs new ones."""
    assert person.phone is not None, f"{person.name} has no phone"
    token = access_token(keyring, person, now)
    return {"Authorization": f"DPoP {token}", "DPoP": proof(person.phone.key, proof_claims(method, path, now, token))}
