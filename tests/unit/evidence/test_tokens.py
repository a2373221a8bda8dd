"""Compact tokens, and ES256 against published vectors."""

from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from joserfc.jwk import ECKey
from joserfc.jws import JWSRegistry

from evidence.canonical import b64u_encode, canonicalise
from evidence.errors import EvidenceError, MalformedError, SignatureInvalid, UnknownDevice, WrongAlgorithm
from evidence.es256 import compact_sign, compact_verify, sign_bytes
from evidence.keys import generate_key, key_from_jwk, public_jwk
from tests.unit.evidence.samples import sample_json

KEY = generate_key()
TYP = "cash-authorisation+jwt"
TOKEN = compact_sign({"iss": "bank-1", "cap_fen": 200_000}, KEY, typ=TYP, kid="bank-key-1")


def with_header(raw: bytes) -> str:
    protected, body = b64u_encode(raw), TOKEN.split(".")[1]
    return f"{protected}.{body}.{b64u_encode(sign_bytes(f'{protected}.{body}'.encode(), KEY))}"


@pytest.mark.parametrize("header, error", [
    ({"alg": "none", "kid": "k", "typ": TYP}, WrongAlgorithm), ({"alg": "HS256", "kid": "k", "typ": TYP}, WrongAlgorithm),
    ({"alg": "ES256", "kid": "k", "typ": "JWT"}, MalformedError), ({"alg": "ES256", "typ": TYP}, MalformedError),
    ({"alg": "ES256", "kid": "", "typ": TYP}, MalformedError), ({"alg": "ES256", "kid": ["k"], "typ": TYP}, MalformedError),
    ({"alg": "ES256", "kid": "k", "typ": TYP, "crit": ["exp"]}, MalformedError),
    ({"alg": "ES256", "kid": "k", "typ": TYP, "jwk": public_jwk(KEY)}, MalformedError),
    ({"alg": "ES256", "kid": "k", "typ": TYP, "b64": False}, MalformedError),
])
def test_CASH_04_a_token_with_another_header_is_refused(header: dict[str, object], error: type[EvidenceError]) -> None:
    with pytest.raises(error):
        compact_verify(with_header(canonicalise(header)), lambda _: KEY.public_key(), typ=TYP)  # type: ignore[arg-type]


@pytest.mark.parametrize("token", ["", ".", "..", "a.b", "a.b.c.d", TOKEN + "=", TOKEN + ".", TOKEN.replace(".", "", 1), "é" + TOKEN, TOKEN[:-1],
" " + TOKEN])
def test_a_token_of_another_shape_is_refused(token: str) -> None:
    with pytest.raises(MalformedError):
        compact_verify(token, lambda _: KEY.public_key(), typ=TYP)


def test_every_changed_character_of_a_token_is_refused() -> None:
    for position in range(len(TOKEN)):
        changed = TOKEN[:position] + chr(ord(TOKEN[position]) ^ 1) + TOKEN[position + 1:]
        with pytest.raises(EvidenceError):
            compact_verify(changed, {"bank-key-1": KEY.public_key()}.get, typ=TYP)


def test_an_unknown_and_a_foreign_key_are_refused() -> None:
    with pytest.raises(UnknownDevice):
        compact_verify(TOKEN, lambda _: None, typ=TYP)
    with pytest.raises(SignatureInvalid):
        compact_verify(TOKEN, lambda _: generate_key().public_key(), typ=TYP)


def test_a_good_token_gives_header_and_payload() -> None:
    header, payload = compact_verify(TOKEN, lambda _: KEY.public_key(), typ=TYP)
    assert header == {"alg": "ES256", "kid": "bank-key-1", "typ": TYP}
    assert payload == {"iss": "bank-1", "cap_fen": 200_000}


def test_a_signing_function_may_stand_for_a_key() -> None:
    token = compact_sign({"x": 1}, lambda message: sign_bytes(message, KEY), typ=TYP, kid="k")
    assert compact_verify(token, lambda _: KEY.public_key(), typ=TYP)[1] == {"x": 1}
    with pytest.raises(WrongAlgorithm):
        compact_sign({"x": 1}, lambda _: b"short", typ=TYP, kid="k")


def answered_valid(group: dict[str, Any], vector: dict[str, Any]) -> bool:
    """Judge one DER vector with the primitive behind `demand_signature`, which takes r‖s only."""
    x, y = (b64u_encode(int(group["publicKey"][name], 16).to_bytes(32, "big")) for name in ("wx", "wy"))
    key = key_from_jwk({"kty": "EC", "crv": "P-256", "x": x, "y": y})
    der = bytes.fromhex(vector["sig"])
    try:
        r, s = decode_dss_signature(der)
        if encode_dss_signature(r, s) != der:
            return False
        raw = r.to_bytes(32, "big") + s.to_bytes(32, "big")
    except (ValueError, OverflowError):
        return False
    return JWSRegistry.algorithms["ES256"].verify(bytes.fromhex(vector["msg"]), raw, ECKey.import_key(key))


def test_published_ecdsa_vectors_are_answered() -> None:
    groups = sample_json("wycheproof/ecdsa_secp256r1_sha256_subset.json")["testGroups"]
    wrong = [vector["tcId"] for group in groups for vector in group["tests"] if answered_valid(group, vector) != (vector["result"] == "valid")]
    assert wrong == []
    assert {vector["result"] for group in groups for vector in group["tests"]} >= {"valid", "invalid"}
