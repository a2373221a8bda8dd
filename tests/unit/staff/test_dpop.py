"""Proofs of possession: every deviation is refused for its own reason."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest

from backend.staff import dpop
from backend.staff.dpop import Call, EnrolmentStatement, ProofRefused
from evidence.canonical import JsonObject
from evidence.es256 import compact_sign
from evidence.keys import PublicKey, generate_key, public_jwk, thumbprint
from tests.support.phones import PUBLIC_URL, assertion, assertion_claims, enrolment_proof, proof, proof_claims, signed

KEY, OTHER_KEY, SERVER_KEY = generate_key(), generate_key(), generate_key()
KID, SERVER_KID = thumbprint(KEY), thumbprint(SERVER_KEY)
CALL = Call(method="POST", url=f"{PUBLIC_URL}/mobile/v1/events")
AUDIENCE = f"{PUBLIC_URL}/mobile/v1/token"


def refusal(check: Callable[[], object]) -> str:
    with pytest.raises(ProofRefused) as refused:
        check()
    return refused.value.reason


def claims(now: datetime, access_token: str | None = None, **changes: Any) -> JsonObject:
    changed = {**proof_claims("POST", "/mobile/v1/events", now, access_token), **changes}
    return {name: value for name, value in changed.items() if value is not ...}  # type: ignore[misc]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"htm": "GET"}, "htm-mismatch"),
        ({"htm": "post"}, "htm-mismatch"),
        ({"htu": f"{PUBLIC_URL}/mobile/v1/token"}, "htu-mismatch"),
        ({"htu": "http://elsewhere.example/mobile/v1/events"}, "htu-mismatch"),
        ({"htu": "https://127.0.0.1:8000/mobile/v1/events"}, "htu-mismatch"),
        ({"htu": "http://127.0.0.1/mobile/v1/events"}, "htu-mismatch"),
        ({"htu": "http://127.0.0.1:port/"}, "malformed-url"),
        ({"jti": "short"}, "malformed-claims"),
        ({"jti": ...}, "malformed-claims"),
        ({"iat": ...}, "malformed-claims"),
        ({"iat": "1790000000"}, "malformed-claims"),
        ({"nonce": "unexpected"}, "malformed-claims"),
        ({"ath": "x"}, "ath-unexpected"),
    ],
)
def test_a_proof_for_something_else_is_refused(now: datetime, changes: dict[str, Any], reason: str) -> None:
    assert refusal(lambda: dpop.check_proof(proof(KEY, claims(now, **changes)), CALL, now)) == reason


@pytest.mark.parametrize(("age_s", "reason"), [(121, "too-old"), (-61, "from-the-future")])
def test_a_proof_made_at_another_time_is_refused_and_the_clock_is_named(now: datetime, age_s: int, reason: str) -> None:
    with pytest.raises(ProofRefused) as refused:
        dpop.check_proof(proof(KEY, claims(now - timedelta(seconds=age_s))), CALL, now)
    assert refused.value.reason == reason
    assert refused.value.is_clock_fault


@pytest.mark.parametrize("age_s", [120, 0, -60])
def test_a_proof_passes_within_its_window_and_is_remembered_as_long_as_it_could_pass(now: datetime, age_s: int) -> None:
    issued_at = now - timedelta(seconds=age_s)
    proven = dpop.check_proof(proof(KEY, claims(issued_at)), CALL, now)
    assert proven.kid == KID
    assert proven.expires_at >= issued_at + timedelta(seconds=120)


def test_a_proof_for_another_access_token_is_refused(now: datetime) -> None:
    assert refusal(lambda: dpop.check_proof(proof(KEY, claims(now, "token-a")), CALL, now, "token-b")) == "ath-mismatch"
    assert refusal(lambda: dpop.check_proof(proof(KEY, claims(now)), CALL, now, "token-b")) == "ath-mismatch"
    assert dpop.check_proof(proof(KEY, claims(now, "token-a")), CALL, now, "token-a").kid == KID


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        ({"alg": "none"}, "wrong-algorithm"),
        ({"alg": "HS256"}, "wrong-algorithm"),
        ({"typ": "JWT"}, "wrong-typ"),
        ({"typ": dpop.ASSERTION_TYP}, "wrong-typ"),
        ({"kid": "x"}, "malformed-envelope"),
        ({"jwk": "x"}, "wrong-typ"),
        ({"jwk": {**public_jwk(KEY), "d": "AAAA"}}, "malformed-envelope"),
        ({"jwk": {**public_jwk(KEY), "crv": "P-384"}}, "wrong-algorithm"),
        ({"jwk": dict(public_jwk(OTHER_KEY))}, "signature-invalid"),
    ],
)
def test_a_proof_with_another_header_is_refused(now: datetime, header: JsonObject, reason: str) -> None:
    sound: JsonObject = {"alg": "ES256", "jwk": dict(public_jwk(KEY)), "typ": dpop.PROOF_TYP}
    assert refusal(lambda: dpop.check_proof(signed({**sound, **header}, claims(now), KEY), CALL, now)) == reason


@pytest.mark.parametrize("token", ["", "a.b", "a.b.c.d", "é.b.c", "....", "e30.e30.", "x" * 5000])
def test_garbage_is_refused(now: datetime, token: str) -> None:
    assert refusal(lambda: dpop.check_proof(token, CALL, now)).startswith(("malformed", "wrong"))
    assert refusal(lambda: dpop.check_assertion(token, AUDIENCE, lambda _: KEY.public_key(), now)).startswith(("malformed", "wrong"))
    assert refusal(lambda: dpop.check_access(token, PUBLIC_URL, lambda _: KEY.public_key(), now)).startswith(("malformed", "wrong"))


def test_the_same_proof_has_the_same_replay_digest_and_another_key_another(now: datetime) -> None:
    same = claims(now)
    first, again = (dpop.check_proof(proof(KEY, same), CALL, now) for _ in range(2))
    assert first.replay_digest == again.replay_digest
    assert dpop.check_proof(proof(OTHER_KEY, same), CALL, now).replay_digest != first.replay_digest
    assert dpop.check_proof(proof(KEY, claims(now)), CALL, now).replay_digest != first.replay_digest


def test_the_address_is_compared_without_query_fragment_case_and_default_port(now: datetime) -> None:
    call = Call(method="GET", url="https://field.example/mobile/v1/bundle")
    made = proof_claims("GET", "", now)
    for htu in ("HTTPS://FIELD.example:443/mobile/v1/bundle?on=2026-11-27#x", "https://field.example/mobile/v1/bundle"):
        assert dpop.check_proof(proof(KEY, {**made, "htu": htu}), call, now).kid == KID


def resolve(kid: str) -> PublicKey | None:
    return KEY.public_key() if kid == KID else None


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"aud": PUBLIC_URL}, "audience-mismatch"),
        ({"iss": "somebody"}, "issuer-mismatch"),
        ({"sub": "somebody"}, "issuer-mismatch"),
        ({"jti": ""}, "malformed-claims"),
    ],
)
def test_an_assertion_for_something_else_is_refused(now: datetime, changes: JsonObject, reason: str) -> None:
    token = assertion(KEY, {**assertion_claims(KID, now), **changes})
    assert refusal(lambda: dpop.check_assertion(token, AUDIENCE, resolve, now)) == reason


@pytest.mark.parametrize(
    ("made_at_s", "life_s", "reason"),
    [(-120, 120, "expired"), (0, 301, "lifetime-out-of-bounds"), (61, 60, "lifetime-out-of-bounds")],
)
def test_an_assertion_of_another_time_is_refused(now: datetime, made_at_s: int, life_s: int, reason: str) -> None:
    token = assertion(KEY, assertion_claims(KID, now + timedelta(seconds=made_at_s), life_s))
    assert refusal(lambda: dpop.check_assertion(token, AUDIENCE, resolve, now)) == reason


def test_an_assertion_of_an_unknown_key_is_refused(now: datetime) -> None:
    token = assertion(OTHER_KEY, assertion_claims(thumbprint(OTHER_KEY), now))
    assert refusal(lambda: dpop.check_assertion(token, AUDIENCE, resolve, now)) == "unknown-device"
    forged = compact_sign(assertion_claims(KID, now), OTHER_KEY, typ=dpop.ASSERTION_TYP, kid=KID)
    assert refusal(lambda: dpop.check_assertion(forged, AUDIENCE, resolve, now)) == "signature-invalid"


def server_key(kid: str) -> PublicKey | None:
    return SERVER_KEY.public_key() if kid == SERVER_KID else None


def minted(now: datetime, typ: str = dpop.ACCESS_TYP, url: str = PUBLIC_URL) -> str:
    made = dpop.access_claims(public_url=url, staff_id="s", kid=KID, jti="j", now=now)
    return compact_sign(made, SERVER_KEY, typ=typ, kid=SERVER_KID)


def test_an_access_token_that_is_not_ours_or_not_now_is_refused(now: datetime) -> None:
    def reason(token: str) -> str:
        return refusal(lambda: dpop.check_access(token, PUBLIC_URL, server_key, now))

    assert reason(minted(now - timedelta(seconds=900))) == "expired"
    assert reason(minted(now, url="https://other.example")) == "audience-mismatch"
    assert reason(minted(now, typ="beacon+jws")) == "malformed-envelope"
    made = dpop.access_claims(public_url=PUBLIC_URL, staff_id="s", kid=KID, jti="j", now=now)
    by_phone = compact_sign(made, KEY, typ=dpop.ACCESS_TYP, kid=SERVER_KID)
    assert reason(by_phone) == "signature-invalid"


def test_an_access_token_names_person_and_key(now: datetime) -> None:
    read = dpop.check_access(minted(now - timedelta(seconds=899)), PUBLIC_URL, server_key, now)
    assert (read.sub, read.client_id, read.cnf.jkt) == ("s", KID, KID)


def test_an_enrolment_needs_the_challenge_the_person_and_the_key_itself() -> None:
    expected = EnrolmentStatement(challenge="c", staff="s")
    dpop.check_enrolment(enrolment_proof(KEY, "c", "s"), KEY.public_key(), expected)
    for wrong in (enrolment_proof(KEY, "d", "s"), enrolment_proof(KEY, "c", "t")):
        assert refusal(lambda wrong=wrong: dpop.check_enrolment(wrong, KEY.public_key(), expected)) == "statement-mismatch"  # type: ignore[misc]
    assert refusal(lambda: dpop.check_enrolment(enrolment_proof(OTHER_KEY, "c", "s"), KEY.public_key(), expected)) == "unknown-device"
