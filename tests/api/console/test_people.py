"""People, phones, equipment, banks and policies over JSON: who may, what is not yours, what is refused."""

import re
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from litestar.testing import TestClient
from sqlalchemy.orm import Session, sessionmaker

from backend.banks.actions import KEY_PROOF_TYP
from backend.console import banks, people, phones
from backend.keys.keyring import Keyring
from backend.web.auth import console_actor
from evidence.es256 import compact_sign
from evidence.keys import generate_key, public_jwk, thumbprint
from tests.support.http import SteppedClock, console_headers, make_client, make_resources, signed_in
from tests.support.world import World, world

ROUTES = [*people.ROUTES, *phones.ROUTES, *banks.ROUTES]


@pytest.fixture
def made(joined: sessionmaker[Session], keyring: Keyring, now: datetime) -> World:
    with joined.begin() as session:
        return world(session, keyring, now)


@pytest.fixture
def client(joined: sessionmaker[Session], keyring: Keyring, tmp_path: Path, now: datetime) -> Iterator[TestClient[Any]]:
    with make_client(make_resources(joined, keyring, tmp_path, SteppedClock(now)), [signed_in(console_actor, ROUTES)]) as client:
        yield client


class Desk:
    """Speaks as one person of the world."""

    def __init__(self, client: TestClient[Any], sessions: sessionmaker[Session], made: World) -> None:
        self._client, self._sessions, self._made = client, sessions, made

    def send(self, who: str, method: str, path: str, document: Any = None) -> Any:
        """Send a request as `who`, under a session of their own."""
        with self._sessions.begin() as session:
            headers = console_headers(session, getattr(self._made, who), self._made.now)
        return self._client.request(method, f"/api/v1{path}", json=document, headers=headers)

    def outcome(self, who: str, method: str, path: str, document: Any = None) -> tuple[int, str]:
        """Return status and problem of a request."""
        answer = self.send(who, method, path, document)
        return answer.status_code, answer.json()["type"].removeprefix("/problems/") if answer.content and answer.status_code >= 400 else ""


@pytest.fixture
def desk(client: TestClient[Any], joined: sessionmaker[Session], made: World) -> Desk:
    return Desk(client, joined, made)


FORBIDDEN, NOT_FOUND, CONFLICT = (403, "forbidden"), (404, "not-found"), (409, "conflict")


def new_person(made: World, **changes: Any) -> dict[str, Any]:
    return {"employeeNo": "E-77", "name": "样本", "roles": ["cashier"], "joinedOn": str(made.today), "branchId": str(made.sh1), **changes}


def test_every_route_refuses_a_stranger(client: TestClient[Any]) -> None:
    for handler in ROUTES:
        path = next(iter(handler.paths)).replace("{kid:str}", "x" * 43)
        path = re.sub(r"\{\w+(:uuid)?\}", lambda _parameter: str(uuid4()), path)
        (method,) = (str(method) for method in handler.http_methods if method not in ("HEAD", "OPTIONS"))
        # The framework reads query parameters before it asks who speaks, so they are given here.
        answer = client.request(method, path, params={"branch": str(uuid4()), "on": "2026-11-27"} if path.endswith("/workdays") else {})
        assert answer.status_code == 401, path


def test_only_the_operator_makes_people(desk: Desk, made: World) -> None:
    for who in ("amina", "farid", "bilal", "lin", "chen", "wei"):
        assert desk.outcome(who, "POST", "/staff", new_person(made)) == FORBIDDEN
    assert desk.outcome("oscar", "POST", "/staff", new_person(made, bankId=str(uuid4()), branchId=None, roles=["bank_liaison"])) == NOT_FOUND
    assert desk.outcome("oscar", "POST", "/staff", new_person(made, branchId=str(uuid4()))) == NOT_FOUND
    assert desk.outcome("oscar", "POST", "/staff", new_person(made, roles=["bank_liaison"])) == (422, "invalid-input")
    assert desk.send("oscar", "POST", "/staff", new_person(made)).status_code == 201
    assert desk.outcome("oscar", "POST", "/staff", new_person(made)) == CONFLICT


@pytest.mark.parametrize("changes", [{"name": ""}, {"name": "x" * 81}, {"name": "a\u0000b"}, {"roles": []}, {"roles": ["king"]}, {"salary": 1},
                                     {"joinedOn": "yesterday"}])
def test_a_body_outside_its_bounds_is_refused(desk: Desk, made: World, changes: dict[str, Any]) -> None:
    status, problem = desk.outcome("oscar", "POST", "/staff", new_person(made, **changes))
    assert status in (400, 422)
    assert problem in ("invalid-input", "malformed-request")


def test_lists_show_only_what_is_yours_page_by_page(desk: Desk, made: World) -> None:
    assert desk.outcome("bilal", "GET", "/staff") == FORBIDDEN
    first = desk.send("amina", "GET", "/staff?limit=3").json()
    rest = desk.send("amina", "GET", f"/staff?limit=200&cursor={first['next']}").json()
    names = [row["name"] for row in (*first["rows"], *rest["rows"])]
    assert sorted(names) == ["Amina", "Bilal", "Dong", "Farid", "Gu", "Hana", "Kai"]
    assert rest["next"] is None
    assert len(desk.send("wei", "GET", "/staff?limit=200").json()["rows"]) == len(list(made.everyone()))
    for query in ("limit=0", "limit=201", "cursor=%21", "cursor=eA"):
        assert desk.outcome("wei", "GET", f"/staff?{query}") == (422, "invalid-input")


def test_VIS_06_credentials_are_the_operators_to_record(desk: Desk, made: World) -> None:
    path = f"/staff/{made.hana.id}/credentials"
    document = {"bankId": str(made.bank_a.id), "number": "A-1", "validFromOn": str(made.today), "validToOn": str(made.today)}
    assert desk.outcome("amina", "POST", path, document) == FORBIDDEN
    assert desk.outcome("oscar", "POST", path, {**document, "bankId": str(uuid4())}) == NOT_FOUND
    assert desk.outcome("oscar", "POST", f"/staff/{uuid4()}/credentials", document) == NOT_FOUND
    assert desk.outcome("oscar", "POST", path, {**document, "validToOn": "2020-01-01"})[0] in (400, 422)
    made_id = desk.send("oscar", "POST", path, document).json()["id"]
    assert desk.send("oscar", "POST", f"/credentials/{made_id}/revocation").status_code == 204
    assert desk.outcome("oscar", "POST", f"/credentials/{made_id}/revocation") == CONFLICT


def test_workdays_stay_within_the_branch(desk: Desk, made: World) -> None:
    day = {"staffId": str(made.bilal.id), "on": str(made.today), "isAvailable": False, "shiftFromS": 28800, "shiftToS": 72000,
           "start": {"lon": 121.5, "lat": 31.2, "datum": "gcj02"}}
    assert desk.outcome("bilal", "PUT", "/workdays", {"days": [day]}) == FORBIDDEN
    assert desk.outcome("yara", "PUT", "/workdays", {"days": [day]}) == NOT_FOUND
    assert desk.outcome("farid", "PUT", "/workdays", {"days": [{**day, "shiftToS": 28800}]})[0] in (400, 422)
    query = f"/workdays?branch={made.sh1}&on={made.today}"
    assert desk.outcome("yara", "GET", query) == NOT_FOUND
    assert [row["name"] for row in desk.send("farid", "GET", query).json()] == ["Bilal", "Dong"]
    assert desk.send("farid", "PUT", "/workdays", {"days": [day]}).status_code == 204
    assert [row["name"] for row in desk.send("farid", "GET", query).json()] == ["Dong"]


def test_a_phone_takes_two_people(desk: Desk, made: World) -> None:
    asked = desk.send("bilal", "POST", "/device-enrolments", {"staffId": str(made.bilal.id)})
    assert asked.status_code == 201
    path = f"/device-enrolments/{asked.json()['id']}/approve"
    assert desk.outcome("bilal", "POST", path) == FORBIDDEN
    assert desk.outcome("yara", "POST", path) == NOT_FOUND
    assert asked.json()["code"] not in desk.send("amina", "GET", "/device-enrolments").text
    assert desk.send("amina", "POST", path).json()["isApproved"] is True
    own = desk.send("amina", "POST", "/device-enrolments", {"staffId": str(made.amina.id)}).json()
    assert desk.outcome("amina", "POST", f"/device-enrolments/{own['id']}/approve") == (409, "second-person-needed")


def test_a_phone_is_silenced_by_its_branch_only(desk: Desk, made: World) -> None:
    assert made.bilal.phone is not None
    path, document = f"/devices/{made.bilal.phone.kid}/state", {"event": "suspend", "reason": "lost in a taxi"}
    assert desk.outcome("dong", "POST", path, document) == FORBIDDEN
    assert desk.outcome("yara", "POST", path, document) == NOT_FOUND
    assert desk.outcome("amina", "POST", "/devices/short/state", document) == NOT_FOUND
    assert desk.outcome("amina", "POST", "/devices/" + "%00" * 43 + "/state", document)[0] in (400, 404)
    assert desk.outcome("amina", "POST", path, {**document, "event": "resume"}) == (409, "illegal-transition")
    assert desk.outcome("amina", "POST", path, {**document, "compromisedSince": "2026-11-01T00:00:00Z"}) == (422, "invalid-input")
    assert desk.send("amina", "POST", path, document).json()["state"] == "suspended"


def test_EVD_04_equipment_is_inspected_before_it_is_carried(desk: Desk, made: World) -> None:
    document = {"branchId": str(made.sh1), "kind": "camera", "serial": "C-1"}
    assert desk.outcome("farid", "POST", "/equipment", document) == FORBIDDEN
    assert desk.outcome("yara", "POST", "/equipment", document) == NOT_FOUND
    camera = desk.send("amina", "POST", "/equipment", document).json()["id"]
    hand_out = {"staffId": str(made.dong.id), "on": str(made.today)}
    refused = desk.send("farid", "PUT", f"/equipment/{camera}/assignment", hand_out)
    assert [(breach["rule"], breach["code"]) for breach in refused.json()["breaches"]] == [("EVD-04", "camera-not-passed")]
    inspection = {"isPassed": True, "nextDueOn": str(made.today)}
    assert desk.outcome("yara", "POST", f"/equipment/{camera}/inspections", inspection) == NOT_FOUND
    assert desk.send("amina", "POST", f"/equipment/{camera}/inspections", inspection).status_code == 201
    assert desk.send("farid", "PUT", f"/equipment/{camera}/assignment", hand_out).status_code == 204


# -- Banks -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("part", ["mandates", "templates", "accounts", "offices", "keys"])
def test_a_bank_is_not_seen_by_another_banks_people(desk: Desk, made: World, part: str) -> None:
    path = f"/banks/{made.bank_a.id}/{part}"
    assert desk.outcome("chen", "GET", path) == NOT_FOUND
    assert desk.outcome("bilal", "GET", path) == FORBIDDEN
    assert len(desk.send("lin", "GET", path).json()) >= 1
    assert [bank["code"] for bank in desk.send("chen", "GET", "/banks").json()] == ["B"]


def test_BANK_03_the_bank_ends_its_own_mandate_at_once(desk: Desk, made: World) -> None:
    path = f"/mandates/{made.bank_a.mandate_id}/termination"
    assert desk.outcome("amina", "POST", path) == FORBIDDEN
    assert desk.outcome("mo", "POST", path) == FORBIDDEN
    assert desk.outcome("chen", "POST", path) == NOT_FOUND
    assert desk.send("lin", "POST", path).status_code == 204
    assert desk.outcome("lin", "POST", path) == CONFLICT
    assert desk.send("lin", "GET", f"/banks/{made.bank_a.id}/mandates").json()[0]["terminatedAt"] is not None


def test_a_wording_is_proposed_by_the_operator_and_approved_by_its_bank(desk: Desk, made: World) -> None:
    path, document = f"/banks/{made.bank_a.id}/templates", {"kind": "forgery", "textZh": "第二版"}
    assert desk.outcome("lin", "POST", path, document) == FORBIDDEN
    template = desk.send("oscar", "POST", path, document).json()["id"]
    assert desk.outcome("oscar", "POST", f"/templates/{template}/approval") == FORBIDDEN
    assert desk.outcome("chen", "POST", f"/templates/{template}/approval") == NOT_FOUND
    assert desk.send("lin", "POST", f"/templates/{template}/approval").status_code == 204
    assert desk.outcome("lin", "POST", f"/templates/{template}/approval") == CONFLICT


def test_an_account_number_is_never_shown(desk: Desk, made: World) -> None:
    path, number = f"/banks/{made.bank_a.id}/accounts", "9900112233445566"
    assert desk.outcome("lin", "POST", path, {"number": number, "holder": "x"}) == FORBIDDEN
    assert desk.outcome("oscar", "POST", path, {"number": "12-34", "holder": "x"})[0] in (400, 422)
    assert desk.send("oscar", "POST", path, {"number": number, "holder": "x"}).status_code == 201
    assert desk.outcome("oscar", "POST", path, {"number": number, "holder": "x"}) == CONFLICT
    shown = desk.send("lin", "GET", path)
    assert number not in shown.text
    assert number[-4:] in shown.text


def test_CASH_04_only_the_banks_authoriser_enrols_its_key(desk: Desk, made: World) -> None:
    key = generate_key()

    def document(bank: str, staff: str, **changes: Any) -> dict[str, Any]:
        statement: Any = {"bank": bank, "staff": staff, "purpose": "cash_authorisation"}
        proof = compact_sign(statement, key, typ=KEY_PROOF_TYP, kid=thumbprint(key))
        return {"purpose": "cash_authorisation", "jwk": public_jwk(key), "hardware": "webcrypto", "proof": proof, **changes}

    own = document(str(made.bank_a.id), str(made.mo.id))
    for who in ("oscar", "amina", "lin"):
        assert desk.outcome(who, "POST", "/bank-keys", own) == FORBIDDEN
    assert desk.outcome("nuo", "POST", "/bank-keys", own) == (422, "invalid-input")
    assert desk.outcome("mo", "POST", "/bank-keys", {**own, "jwk": public_jwk(generate_key())}) == (422, "invalid-input")
    assert desk.outcome("mo", "POST", "/bank-keys", {**own, "purpose": "api"}) == (422, "invalid-input")
    enrolled = desk.send("mo", "POST", "/bank-keys", own)
    assert (enrolled.status_code, enrolled.json()["kid"], enrolled.json()["hardware"]) == (201, thumbprint(key), "webcrypto")
    assert desk.outcome("mo", "POST", "/bank-keys", own) == CONFLICT
    assert desk.outcome("nuo", "POST", f"/bank-keys/{thumbprint(key)}/revocation") == NOT_FOUND
    assert desk.send("mo", "POST", f"/bank-keys/{thumbprint(key)}/revocation").status_code == 204
    assert desk.outcome("mo", "POST", f"/bank-keys/{thumbprint(key)}/revocation") == (409, "illegal-transition")


def test_a_policy_never_reaches_into_the_past_or_beyond_the_rulebook(desk: Desk, made: World) -> None:
    def document(**changes: Any) -> dict[str, Any]:
        return {"version": "sh-2", "validFrom": made.now.isoformat(), "thresholds": {"contacts_per_day_max": 2}, **changes}

    assert desk.outcome("amina", "POST", "/policies", document()) == FORBIDDEN
    for wrong in ({"pair_min": 1}, {"hours_from_s": 7 * 3600}, {"hours_to_s": 22 * 3600}, {"contacts_per_day_max": 4}, {"unknown": 1},
                  {"recording_kept_days_min": 365}):
        assert desk.outcome("oscar", "POST", "/policies", document(thresholds=wrong)) == (422, "invalid-input"), wrong
    assert desk.outcome("oscar", "POST", "/policies", document(validFrom="2026-01-01T00:00:00Z")) == (422, "invalid-input")
    assert desk.outcome("oscar", "POST", "/policies", document(validFrom="2026-12-01T00:00:00"))[0] in (400, 422)
    assert desk.outcome("oscar", "POST", "/policies", document(bankId=str(uuid4()))) == NOT_FOUND
    assert desk.outcome("oscar", "POST", "/policies", document(version="default-1")) == CONFLICT
    assert desk.send("oscar", "POST", "/policies", document(bankId=str(made.bank_a.id))).status_code == 201
    assert desk.send("lin", "GET", "/policies/in-force").json()["contacts_per_day_max"] == 2
    assert desk.send("chen", "GET", "/policies/in-force").json()["version"] == "default-1"
