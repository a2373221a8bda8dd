"""Phones: enrolling, signing in by key, proving possession with every call; refusals first."""

import json
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from litestar.testing import TestClient
from sqlalchemy import select
from sqlalchemy.orm import Session, sessionmaker

from backend.audit.events import EventTag
from backend.audit.tables import AuditEntryRow
from backend.keys.keyring import Keyring
from backend.keys.model import KeyPurpose
from backend.staff import devices, dpop
from backend.staff.model import DeviceEvent, DeviceState, EnrolmentCode
from backend.staff.tables import DeviceRow
from backend.web.auth import phone_actor
from evidence.canonical import b64u_decode, b64u_encode
from evidence.es256 import compact_peek, compact_sign, compact_verify
from evidence.keys import PrivateKey, generate_key, public_jwk, thumbprint
from mobile_api import login
from mobile_api.phone_link import Link
from tests.support.http import SteppedClock, make_client, make_resources, signed_in
from tests.support.phones import access_token, assertion, assertion_claims, enrolment_proof, phone_headers, proof, proof_claims
from tests.support.world import Person, World, device_key, world
from tests.unit.evidence import test_app_attest as apple
from tests.unit.evidence import test_attestation as attested

BEACON = "/mobile/v1/beacon"
ASKED = f"{BEACON}?nonce=0123456789abcdef"
TOKEN = "/mobile/v1/token"


@pytest.fixture
def clock(now: datetime) -> SteppedClock:
    return SteppedClock(now)


@pytest.fixture
def made(joined: sessionmaker[Session], keyring: Keyring, now: datetime) -> World:
    with joined.begin() as session:
        return world(session, keyring, now)


@pytest.fixture
def client(joined: sessionmaker[Session], keyring: Keyring, tmp_path: Path, clock: SteppedClock, made: World) -> Iterator[TestClient[Any]]:
    with make_client(make_resources(joined, keyring, tmp_path, clock), [signed_in(phone_actor, login.ROUTES), *login.OPEN_ROUTES]) as client:
        yield client


def refusals(sessions: sessionmaker[Session], person: Person) -> list[str]:
    with sessions() as session:
        refused = (AuditEntryRow.subject == f"staff:{person.id}") & (AuditEntryRow.tag == EventTag.REFUSED)
        rows = session.scalars(select(AuditEntryRow).where(refused).order_by(AuditEntryRow.seq))
        return [row.details["problem"] for row in rows]


def outcome(answer: Any) -> tuple[int, str]:
    return answer.status_code, answer.json()["type"].removeprefix("/problems/")


def headers_with(token: str, made_proof: str) -> dict[str, str]:
    return {"Authorization": f"DPoP {token}", "DPoP": made_proof}


def set_state(sessions: sessionmaker[Session], made: World, person: Person, event: DeviceEvent) -> None:
    assert person.phone is not None
    with sessions.begin() as session:
        devices.change_device(session, made.amina.actor, devices.DeviceChange(kid=person.phone.kid, event=event, reason="test"), made.now)


NOT_ACCEPTED = (401, "proof-not-accepted")


def test_a_replayed_proof_is_refused_and_recorded(
    client: TestClient[Any], joined: sessionmaker[Session], keyring: Keyring, made: World, now: datetime
) -> None:
    headers = phone_headers(keyring, made.bilal, "GET", BEACON, now)
    assert client.get(ASKED, headers=headers).status_code == 200
    assert outcome(client.get(ASKED, headers=headers)) == NOT_ACCEPTED
    assert refusals(joined, made.bilal) == ["proof-not-accepted"]


@pytest.mark.parametrize(
    "changes",
    [{"htu": "http://127.0.0.1:8000/mobile/v1/token"}, {"htu": "https://elsewhere.example/mobile/v1/beacon"}, {"htm": "POST"}, {"ath": "x" * 43}],
    ids=["address", "host", "method", "token"],
)
def test_a_proof_for_another_call_is_refused_and_recorded(
    client: TestClient[Any], joined: sessionmaker[Session], keyring: Keyring, made: World, now: datetime, changes: dict[str, str]
) -> None:
    token = access_token(keyring, made.bilal, now)
    claims = {**proof_claims("GET", BEACON, now, token), **changes}
    assert outcome(client.get(ASKED, headers=headers_with(token, proof(device_key("bilal"), claims)))) == NOT_ACCEPTED
    assert refusals(joined, made.bilal) == ["proof-not-accepted"]


def test_a_token_with_the_proof_of_another_key_is_refused_and_recorded(
    client: TestClient[Any], joined: sessionmaker[Session], keyring: Keyring, made: World, now: datetime
) -> None:
    token = access_token(keyring, made.bilal, now)
    stolen = proof(device_key("dong"), proof_claims("GET", BEACON, now, token))
    assert outcome(client.get(ASKED, headers=headers_with(token, stolen))) == NOT_ACCEPTED
    assert refusals(joined, made.bilal) == ["proof-not-accepted"]


def test_a_call_without_or_with_two_proofs_is_refused(client: TestClient[Any], keyring: Keyring, made: World, now: datetime) -> None:
    headers = phone_headers(keyring, made.bilal, "GET", BEACON, now)
    assert outcome(client.get(ASKED, headers={"Authorization": headers["Authorization"]})) == NOT_ACCEPTED
    assert outcome(client.get(ASKED, headers=[*headers.items(), ("DPoP", headers["DPoP"])])) == NOT_ACCEPTED  # type: ignore[arg-type]


@pytest.mark.parametrize("authorization", ["", "Bearer x", "DPoP", "DPoP x", "DPoP a.b.c"])
def test_a_call_without_a_token_of_ours_is_refused(client: TestClient[Any], authorization: str) -> None:
    answer = client.get(ASKED, headers={"Authorization": authorization})
    assert outcome(answer) == (401, "unauthenticated")
    assert answer.headers["www-authenticate"] == 'DPoP algs="ES256"'


def test_a_token_that_a_phone_signs_for_itself_is_refused(client: TestClient[Any], made: World, now: datetime) -> None:
    assert made.bilal.phone is not None
    claims = dpop.access_claims(public_url="http://127.0.0.1:8000", staff_id=str(made.amina.id), kid=made.bilal.phone.kid, jti="x" * 16, now=now)
    token = compact_sign(claims, device_key("bilal"), typ=dpop.ACCESS_TYP, kid=made.bilal.phone.kid)
    headers = headers_with(token, proof(device_key("bilal"), proof_claims("GET", BEACON, now, token)))
    assert outcome(client.get(ASKED, headers=headers)) == (401, "unauthenticated")


def test_a_token_of_ours_for_another_purpose_is_refused(client: TestClient[Any], keyring: Keyring, made: World, now: datetime) -> None:
    assert made.bilal.phone is not None
    claims = dpop.access_claims(public_url="http://127.0.0.1:8000", staff_id=str(made.bilal.id), kid=made.bilal.phone.kid, jti="x" * 16, now=now)
    token = keyring.sign(KeyPurpose.BEACON, claims, dpop.ACCESS_TYP)
    headers = headers_with(token, proof(device_key("bilal"), proof_claims("GET", BEACON, now, token)))
    assert outcome(client.get(ASKED, headers=headers)) == (401, "unauthenticated")


def test_a_token_lasts_fifteen_minutes(client: TestClient[Any], keyring: Keyring, clock: SteppedClock, made: World) -> None:
    token = access_token(keyring, made.bilal, clock.now)
    for step_s, status in ((899, 200), (1, 401)):
        clock.step(step_s)
        fresh = proof(device_key("bilal"), proof_claims("GET", BEACON, clock.now, token))
        assert client.get(ASKED, headers=headers_with(token, fresh)).status_code == status


@pytest.mark.parametrize("days", [-2, 2])
def test_a_phone_whose_clock_is_two_days_off_is_told_the_time(
    client: TestClient[Any], keyring: Keyring, made: World, now: datetime, days: int
) -> None:
    token = access_token(keyring, made.bilal, now)
    stale = proof(device_key("bilal"), proof_claims("GET", BEACON, now + timedelta(days=days), token))
    answer = client.get(ASKED, headers=headers_with(token, stale))
    assert outcome(answer) == NOT_ACCEPTED
    assert datetime.fromisoformat(answer.json()["details"]["server_time"]) == now


@pytest.mark.parametrize(("event", "state"), [(DeviceEvent.SUSPEND, "suspended"), (DeviceEvent.REVOKE, "revoked")])
def test_a_suspended_or_revoked_phone_is_silenced_at_once(
    client: TestClient[Any], joined: sessionmaker[Session], keyring: Keyring, made: World, now: datetime, event: DeviceEvent, state: str
) -> None:
    set_state(joined, made, made.bilal, event)
    answer = client.get(ASKED, headers=phone_headers(keyring, made.bilal, "GET", BEACON, now))
    assert outcome(answer) == (403, "device-not-active")
    assert answer.json()["details"]["state"] == state
    assert outcome(sign_in(client, device_key("bilal"), now)) == (403, "device-not-active")
    assert refusals(joined, made.bilal) == ["device-not-active"] * 2


def test_a_phone_past_its_year_is_silenced(client: TestClient[Any], keyring: Keyring, clock: SteppedClock, made: World) -> None:
    now = clock.step(336 * 86_400)
    assert outcome(client.get(ASKED, headers=phone_headers(keyring, made.bilal, "GET", BEACON, now))) == (403, "device-not-active")


def sign_in(client: TestClient[Any], key: PrivateKey, now: datetime, **changes: Any) -> Any:
    claims = {**assertion_claims(thumbprint(key), now), **changes}
    sent = {"clientAssertion": assertion(key, claims)}
    return client.post(TOKEN, json=sent, headers={"DPoP": proof(key, proof_claims("POST", TOKEN, now))})


def test_a_phone_nobody_enrolled_gets_no_token(client: TestClient[Any], now: datetime) -> None:
    assert outcome(sign_in(client, generate_key(), now)) == (401, "unauthenticated")


@pytest.mark.parametrize("changes", [{"aud": "http://127.0.0.1:8000"}, {"iss": "x"}, {"exp": 0}], ids=["audience", "issuer", "expired"])
def test_an_assertion_for_something_else_buys_no_token(client: TestClient[Any], made: World, now: datetime, changes: dict[str, Any]) -> None:
    assert outcome(sign_in(client, device_key("bilal"), now, **changes)) == (401, "unauthenticated")


def test_an_assertion_with_the_proof_of_another_phone_buys_no_token(
    client: TestClient[Any], joined: sessionmaker[Session], made: World, now: datetime
) -> None:
    key = device_key("bilal")
    sent = {"clientAssertion": assertion(key, assertion_claims(thumbprint(key), now))}
    answer = client.post(TOKEN, json=sent, headers={"DPoP": proof(device_key("dong"), proof_claims("POST", TOKEN, now))})
    assert outcome(answer) == NOT_ACCEPTED
    assert refusals(joined, made.bilal) == ["proof-not-accepted"]


def test_an_assertion_buys_one_token(client: TestClient[Any], joined: sessionmaker[Session], made: World, now: datetime) -> None:
    key = device_key("bilal")
    sent = {"clientAssertion": assertion(key, assertion_claims(thumbprint(key), now))}
    for status in (200, 401):
        assert client.post(TOKEN, json=sent, headers={"DPoP": proof(key, proof_claims("POST", TOKEN, now))}).status_code == status
    assert refusals(joined, made.bilal) == ["proof-not-accepted"]


def test_a_token_bought_by_the_key_opens_the_beacon(client: TestClient[Any], keyring: Keyring, made: World, now: datetime) -> None:
    bought = sign_in(client, device_key("bilal"), now).json()
    assert (bought["tokenType"], bought["expiresInS"]) == ("DPoP", 900)
    fresh = proof(device_key("bilal"), proof_claims("GET", BEACON, now, bought["accessToken"]))
    answer = client.get(ASKED, headers=headers_with(bought["accessToken"], fresh))
    _, stated = compact_verify(answer.json()["beacon"], lambda kid: keyring.resolve(KeyPurpose.BEACON, kid), typ="beacon+jws")
    assert made.bilal.phone is not None
    assert (stated["time"], stated["nonce"], stated["device"]) == ("2026-11-27T02:00:00.000Z", "0123456789abcdef", made.bilal.phone.kid)


@pytest.mark.parametrize("nonce", ["", "short", "x" * 65, "with space 0123456789"])
def test_a_nonce_outside_its_bounds_is_refused(client: TestClient[Any], keyring: Keyring, made: World, now: datetime, nonce: str) -> None:
    answer = client.get(BEACON, params={"nonce": nonce}, headers=phone_headers(keyring, made.bilal, "GET", BEACON, now))
    assert answer.status_code in (400, 422)


# -- Enrolment ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def retired(joined: sessionmaker[Session], made: World) -> World:
    """Bilal's old phone is revoked, so that he may enrol another."""
    set_state(joined, made, made.bilal, DeviceEvent.REVOKE)
    return made


def ask(sessions: sessionmaker[Session], made: World, *, granted: bool = True) -> EnrolmentCode:
    with sessions.begin() as session:
        asked = devices.ask_enrolment(session, made.bilal.actor, made.bilal.id, made.now)
        if granted:
            devices.grant_enrolment(session, made.amina.actor, asked.id, made.now)
    return asked


def begin(client: TestClient[Any], code: str) -> Any:
    return client.post("/mobile/v1/device-enrolments", json={"code": code})


def complete(client: TestClient[Any], code: str, key: PrivateKey, signed: str) -> Any:
    return client.post("/mobile/v1/device-enrolments/complete", json={"code": code, "jwk": public_jwk(key), "proof": signed, "model": "sample"})


def test_an_unknown_or_expired_code_is_refused(client: TestClient[Any], joined: sessionmaker[Session], clock: SteppedClock, retired: World) -> None:
    assert outcome(begin(client, "A" * 24)) == (401, "unauthenticated")
    code = ask(joined, retired).code
    clock.step(devices.CODE_LIFE_S)
    assert outcome(begin(client, code)) == (401, "unauthenticated")


def test_a_stale_or_superseded_challenge_is_refused(
    client: TestClient[Any], joined: sessionmaker[Session], clock: SteppedClock, retired: World
) -> None:
    code, key, staff = ask(joined, retired).code, generate_key(), str(retired.bilal.id)
    first = begin(client, code).json()["challenge"]
    second = begin(client, code).json()["challenge"]
    assert outcome(complete(client, code, key, enrolment_proof(key, first, staff))) == (401, "unauthenticated")
    clock.step(devices.CHALLENGE_LIFE_S)
    assert outcome(complete(client, code, key, enrolment_proof(key, second, staff))) == (401, "unauthenticated")


def test_a_proof_by_another_key_or_for_another_person_enrols_nothing(client: TestClient[Any], joined: sessionmaker[Session], retired: World) -> None:
    code, key = ask(joined, retired).code, generate_key()
    challenge = begin(client, code).json()["challenge"]
    assert outcome(complete(client, code, key, enrolment_proof(generate_key(), challenge, str(retired.bilal.id)))) == (401, "unauthenticated")
    assert outcome(complete(client, code, key, enrolment_proof(key, challenge, str(retired.dong.id)))) == (401, "unauthenticated")


def test_a_key_belongs_to_one_person(client: TestClient[Any], joined: sessionmaker[Session], retired: World) -> None:
    code, key = ask(joined, retired).code, device_key("dong")
    challenge = begin(client, code).json()["challenge"]
    assert outcome(complete(client, code, key, enrolment_proof(key, challenge, str(retired.bilal.id)))) == (409, "conflict")


def test_a_second_phone_beside_an_active_one_is_refused(client: TestClient[Any], joined: sessionmaker[Session], made: World) -> None:
    code, key = ask(joined, made).code, generate_key()
    challenge = begin(client, code).json()["challenge"]
    assert outcome(complete(client, code, key, enrolment_proof(key, challenge, str(made.bilal.id)))) == (409, "conflict")


def test_a_code_enrols_one_phone(client: TestClient[Any], joined: sessionmaker[Session], clock: SteppedClock, retired: World) -> None:
    code, key, staff = ask(joined, retired).code, generate_key(), str(retired.bilal.id)
    challenge = begin(client, code).json()["challenge"]
    enrolled = complete(client, code, key, enrolment_proof(key, challenge, staff))
    assert (enrolled.status_code, enrolled.json()["state"], enrolled.json()["level"]) == (201, "active", "unattested")
    assert outcome(begin(client, code)) == (401, "unauthenticated")
    assert sign_in(client, key, clock.now).status_code == 200


@pytest.mark.parametrize(("is_pinned", "expected"), [(True, "strongbox"), (False, "unattested")])
def test_an_attestation_gives_the_level_that_a_pinned_root_proves(
    joined: sessionmaker[Session], keyring: Keyring, tmp_path: Path, clock: SteppedClock, retired: World, is_pinned: bool, expected: str
) -> None:
    roots = tmp_path / "roots.json"
    roots.write_text(json.dumps({"root_keys_sha256": sorted(attested.pinned(attested.ROOT.public_key()).root_keys_sha256)}), encoding="utf-8")
    resources = make_resources(joined, keyring, tmp_path, clock)
    if is_pinned:
        resources = msgspec.structs.replace(resources, settings=msgspec.structs.replace(resources.settings, attestation_roots_file=roots))
    with make_client(resources, login.OPEN_ROUTES) as client:
        code = ask(joined, retired).code
        challenge = begin(client, code).json()["challenge"]
        certificates = [b64u_encode(one) for one in attested.chain(challenge=b64u_decode(challenge))]
        body = {"code": code, "jwk": public_jwk(attested.LEAF), "proof": enrolment_proof(attested.LEAF, challenge, str(retired.bilal.id)),
                "attestation": certificates}
        answer = client.post("/mobile/v1/device-enrolments/complete", json=body)
    assert (answer.status_code, answer.json()["level"]) == (201, expected)


@pytest.mark.parametrize(("changes", "expected"), [
    ({}, "enclave"), ({"client_data": b"another"}, "unattested"), ({"attestation": ["AAAA"]}, "unattested"),
    ({"appleAttestation": "AAAA"}, "unparsed")])
def test_an_app_attestation_vouches_for_this_phones_key_under_this_challenge(
    joined: sessionmaker[Session], keyring: Keyring, tmp_path: Path, clock: SteppedClock, retired: World, changes: dict[str, Any], expected: str
) -> None:
    roots, key = tmp_path / "roots.json", generate_key()
    roots.write_bytes(msgspec.json.encode(apple.PINNED))
    resources = make_resources(joined, keyring, tmp_path, clock)
    resources = msgspec.structs.replace(resources, settings=msgspec.structs.replace(resources.settings, attestation_roots_file=roots))
    with make_client(resources, login.OPEN_ROUTES) as client:
        code = ask(joined, retired).code
        challenge = begin(client, code).json()["challenge"]
        said = changes.get("client_data", f"{challenge}.{thumbprint(key)}".encode())
        body = {"code": code, "jwk": public_jwk(key), "proof": enrolment_proof(key, challenge, str(retired.bilal.id)),
                "appleAttestation": b64u_encode(apple.attestation(client_data=said, at=clock.now)),
                **{name: value for name, value in changes.items() if name != "client_data"}}
        answer = client.post("/mobile/v1/device-enrolments/complete", json=body)
    assert (answer.status_code, answer.json()["level"]) == (201, expected)


@pytest.mark.parametrize(("certificates", "expected"), [(["AAAA", "AAAA"], "unparsed"), (["AAAA"], "unattested"), (["A" * 10_000] * 2, "unparsed")])
def test_an_attestation_that_is_none_never_stands_in_the_way(
    client: TestClient[Any], joined: sessionmaker[Session], retired: World, certificates: list[str], expected: str
) -> None:
    code, key = ask(joined, retired).code, generate_key()
    challenge = begin(client, code).json()["challenge"]
    body = {"code": code, "jwk": public_jwk(key), "proof": enrolment_proof(key, challenge, str(retired.bilal.id)), "attestation": certificates}
    answer = client.post("/mobile/v1/device-enrolments/complete", json=body)
    assert (answer.status_code, answer.json()["level"]) == (201, expected)


def test_a_phone_waits_for_a_second_person(client: TestClient[Any], joined: sessionmaker[Session], retired: World, now: datetime) -> None:
    asked, key = ask(joined, retired, granted=False), generate_key()
    challenge = begin(client, asked.code).json()["challenge"]
    pending = complete(client, asked.code, key, enrolment_proof(key, challenge, str(retired.bilal.id)))
    assert pending.json()["state"] == "pending"
    assert outcome(sign_in(client, key, now)) == (403, "device-not-active")
    with joined.begin() as session:
        devices.grant_enrolment(session, retired.amina.actor, asked.id, now)
    assert sign_in(client, key, now).status_code == 200
    with joined() as session:
        assert session.get_one(DeviceRow, thumbprint(key)).state is DeviceState.ACTIVE


def test_the_token_names_person_and_key(client: TestClient[Any], made: World, now: datetime) -> None:
    _, claims = compact_peek(sign_in(client, device_key("bilal"), now).json()["accessToken"], dpop.ACCESS_TYP)
    assert made.bilal.phone is not None
    assert claims["sub"] == str(made.bilal.id)
    assert claims["cnf"] == {"jkt": made.bilal.phone.kid}


def test_the_reference_phone_enrols_and_signs_in(client: TestClient[Any], joined: sessionmaker[Session], clock: SteppedClock, retired: World) -> None:
    link = Link(client, "http://127.0.0.1:8000", generate_key(), clock)
    code = ask(joined, retired).code
    offered = link.post_open("/mobile/v1/device-enrolments", {"code": code})
    signed = enrolment_proof(link.key, offered["challenge"], offered["staffId"])
    assert link.post_open("/mobile/v1/device-enrolments/complete", {"code": code, "jwk": public_jwk(link.key), "proof": signed})["state"] == "active"
    for _ in range(2):
        assert link.call("GET", ASKED).status_code == 200
