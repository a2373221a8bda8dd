"""Placements, cases, contacts and requests over HTTP: strangers get 404, bad input a problem, the rest its answer."""

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from litestar.testing import TestClient
from sqlalchemy import select
from sqlalchemy.orm import Session, sessionmaker

from backend.audit.tables import AuditEntryRow, AuditReadRow
from backend.cases.tables import CaseAddressRow
from backend.console import cases, contacts, requests
from backend.core.ids import CaseId
from backend.keys.keyring import Keyring
from backend.requests.actions import raise_request
from backend.requests.model import RaiseRequest
from backend.web.auth import console_actor
from tests.support.cases import WORK_NUMBER, called_case, case_by_reference, csv_text, place, profile, row, total_fen
from tests.support.http import SteppedClock, console_headers, make_client, make_resources, signed_in
from tests.support.world import Person, World, world

Headers = Callable[[Person], dict[str, str]]


@pytest.fixture
def made(joined: sessionmaker[Session], keyring: Keyring, now: datetime) -> World:
    with joined.begin() as session:
        return world(session, keyring, now)


@pytest.fixture
def client(joined: sessionmaker[Session], keyring: Keyring, tmp_path: Path, now: datetime, made: World) -> Iterator[TestClient[Any]]:
    resources = make_resources(joined, keyring, tmp_path, SteppedClock(now))
    with make_client(resources, [signed_in(console_actor, [*cases.ROUTES, *contacts.ROUTES, *requests.ROUTES])]) as client:
        yield client


@pytest.fixture
def headers(joined: sessionmaker[Session], now: datetime) -> Headers:
    known: dict[str, dict[str, str]] = {}

    def of(person: Person) -> dict[str, str]:
        if person.name not in known:
            with joined.begin() as session:
                known[person.name] = console_headers(session, person, now)
        return known[person.name]

    return of


@pytest.fixture
def called(joined: sessionmaker[Session], keyring: Keyring, made: World) -> tuple[UUID, UUID]:
    with joined.begin() as session:
        case, contact_id = called_case(session, keyring, made)
        return case.id, contact_id


@pytest.fixture
def raised(joined: sessionmaker[Session], keyring: Keyring, made: World, called: tuple[UUID, UUID]) -> UUID:
    with joined.begin() as session:
        command = RaiseRequest(case_id=CaseId(called[0]), contact_id=called[1], reason="silence")
        return raise_request(session, made.hana.actor, keyring, command, made.now).id


def import_query(made: World, profile_id: UUID, rows: list[dict[str, str]], **changes: object) -> dict[str, str]:
    asked = {
        "bank": made.bank_a.id, "profile": profile_id, "branch": made.sh1, "number": "B-1", "asOfOn": made.today.isoformat(), "rowCount": len(rows),
        "amountTotalFen": total_fen(rows), **changes,
    }
    return {name: str(value) for name, value in asked.items()}


def made_profile(joined: sessionmaker[Session], made: World, **changes: object) -> UUID:
    with joined.begin() as session:
        return profile(session, made.bank_a, **changes)


CSV = {"Content-Type": "text/csv"}


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "/api/v1/cases/{case}", None), ("POST", "/api/v1/cases/{case}/recall", None), ("GET", "/api/v1/cases/{case}/contacts", None),
        ("POST", "/api/v1/cases/{case}/repayments", {"reference": "1", "amountFen": 1, "paidOn": "2026-11-27"}),
        ("GET", "/api/v1/batches/{batch}/rejections.csv", None), ("GET", "/api/v1/batches/{batch}/statistics", None),
    ],
)
def test_SEC_01_chen_of_another_bank_gets_404(
    client: TestClient[Any], headers: Headers, joined: sessionmaker[Session], keyring: Keyring, made: World, method: str, path: str, body: Any
) -> None:
    with joined.begin() as session:
        batch = place(session, keyring, made, [row(1)])
        case = case_by_reference(session, made.bank_a, "R-0001")
        case_id = case.id
    answer = client.request(method, path.format(case=case_id, batch=batch.id), json=body, headers=headers(made.chen))
    assert (answer.status_code, answer.json()["type"]) == (404, "/problems/not-found")
    assert str(case_id) not in answer.text


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "/api/v1/cases/{case}", None), ("POST", "/api/v1/cases/{case}/unmask", {"fields": ["idNumber"], "purpose": "call"}),
        ("POST", "/api/v1/cases/{case}/holds", None), ("DELETE", "/api/v1/cases/{case}/holds/hold", None),
        ("POST", "/api/v1/cases/{case}/releases",
         {"fromAt": "2026-11-27T10:00:00Z", "toAt": "2026-11-27T11:00:00Z", "manner": "m", "precautions": "p"}),
        ("POST", "/api/v1/cases/{case}/signals", {"signal": "lost_contact"}), ("POST", "/api/v1/cases/{case}/urgency", {"reason": "r"}),
        ("POST", "/api/v1/cases/{case}/confirmations", {"field": "age", "source": "phone"}),
        ("POST", "/api/v1/cases/{case}/addresses", {"kind": "work", "street": "s", "source": "phone"}),
        ("GET", "/api/v1/cases/{case}/contacts", None), ("POST", "/api/v1/cases/{case}/contacts", {"mode": "intent", "channel": "phone"}),
        ("POST", "/api/v1/cases/{case}/agreements",
         {"fromAt": "2026-11-27T13:00:00Z", "toAt": "2026-11-27T14:00:00Z", "agreedWith": "cardholder", "contactId": "{contact}"}),
        ("POST", "/api/v1/contacts/{contact}/result", {"result": "connected"}),
        ("POST", "/api/v1/visit-requests", {"caseId": "{case}", "reason": "r"}),
        ("POST", "/api/v1/allocations", {"caseIds": ["{case}"], "assigneeId": "{hana}"}), ("GET", "/api/v1/visit-requests/{request}", None),
        ("POST", "/api/v1/visit-requests/{request}/analysis", {"analysis": "a"}),
        ("POST", "/api/v1/visit-requests/{request}/decision", {"choice": "approve", "reason": "r"}),
        ("POST", "/api/v1/visit-request-decisions", {"requestIds": ["{request}"], "choice": "approve", "reason": "r"}),
        ("POST", "/api/v1/visit-requests/{request}/withdrawal", None),
        ("POST", "/api/v1/work-numbers", {"branchId": "{sh1}", "number": "02100000009"}),
    ],
)
def test_SEC_01_yara_of_another_branch_gets_404(
    client: TestClient[Any], headers: Headers, made: World, called: tuple[UUID, UUID], raised: UUID, method: str, path: str, body: Any
) -> None:
    names = {"case": str(called[0]), "contact": str(called[1]), "request": str(raised), "hana": str(made.hana.id), "sh1": str(made.sh1)}
    filled = _filled(body, names)
    answer = client.request(method, path.format(**names), json=filled, headers=headers(made.yara))
    assert (answer.status_code, answer.json()["type"]) == (404, "/problems/not-found")


def test_SEC_01_pin_of_anothers_address_is_404(
    client: TestClient[Any], headers: Headers, joined: sessionmaker[Session], keyring: Keyring, made: World, called: tuple[UUID, UUID]
) -> None:
    with joined() as session:
        address_id = session.scalars(select(CaseAddressRow.id)).one()
    place_body = {"lon": 121.5, "lat": 31.2, "datum": "gcj02"}
    assert client.post(f"/api/v1/addresses/{uuid4()}/pin", json=place_body, headers=headers(made.farid)).status_code == 404
    assert client.post(f"/api/v1/addresses/{address_id}/pin", json=place_body, headers=headers(made.hana)).status_code == 403
    assert client.post(f"/api/v1/addresses/{address_id}/pin", json=place_body, headers=headers(made.farid)).status_code == 204


@pytest.mark.parametrize(
    ("method", "path", "person"),
    [("GET", "/api/v1/cases", "bilal"), ("GET", "/api/v1/batches", "hana"),
     ("GET", "/api/v1/visit-requests", "gu"), ("GET", "/api/v1/cases", "oscar")],
)
def test_role_that_never_reads_this_is_forbidden_and_it_is_recorded(
    client: TestClient[Any], headers: Headers, joined: sessionmaker[Session], made: World, method: str, path: str, person: str
) -> None:
    assert client.request(method, path, headers=headers(getattr(made, person))).status_code == 403


def test_refused_write_is_recorded_on_the_actors_chain(client: TestClient[Any], headers: Headers, joined: sessionmaker[Session], made: World) -> None:
    answer = client.post("/api/v1/allocations", json={"caseIds": [str(uuid4())], "assigneeId": str(made.hana.id)}, headers=headers(made.hana))
    assert answer.status_code == 403
    with joined() as session:
        entry = session.scalars(select(AuditEntryRow).where(AuditEntryRow.tag == "actor.refused")).one()
    assert entry.subject == f"staff:{made.hana.id}"


@pytest.mark.parametrize(
    ("content", "changes", "status", "problem"),
    [
        (b"", {}, 422, "placement-unreadable"), (b"\0\0\0", {}, 422, "placement-unreadable"), (b"a,b\n1,2\n", {}, 422, "placement-unreadable"),
        (b'"never closed', {}, 422, "placement-unreadable"), (b"\xff\xfe\xff\xff,\xff", {}, 422, "placement-encoding"),
        (csv_text([row(1)]).encode("gb18030"), {}, 422, "placement-encoding"), (csv_text([row(1)]).encode(), {"rowCount": 2}, 422, "control-totals"),
        (csv_text([row(1)]).encode(), {"amountTotalFen": 1}, 422, "control-totals"),
        (csv_text([row(1)]).encode(), {"number": "a b"}, 422, "invalid-input"),
        (csv_text([row(1)]).encode(), {"rowCount": 10**22}, 422, "invalid-input"),
        (csv_text([row(1)]).encode(), {"asOfOn": "yesterday"}, 422, "invalid-input"),
        (csv_text([row(1)]).encode(), {"bank": "x"}, 422, "invalid-input"),
        (csv_text([row(1)]).encode(), {"asOfOn": "2026-11-28"}, 422, "invalid-input"),
        (csv_text([row(1)]).encode(), {"bank": uuid4()}, 404, "not-found"),
        (csv_text([row(1)]).encode(), {"acceptance": "some"}, 422, "invalid-input"),
    ],
)
def test_bad_file_or_declaration_is_a_problem_and_leaves_nothing(
    client: TestClient[Any], headers: Headers, joined: sessionmaker[Session], made: World, content: bytes, changes: dict[str, object], status: int,
    problem: str,
) -> None:
    query = import_query(made, made_profile(joined, made), [row(1)], **changes)
    answer = client.post("/api/v1/batches", params=query, content=content, headers={**headers(made.gu), **CSV})
    assert (answer.status_code, answer.json()["type"]) in {(status, f"/problems/{problem}"), (400, "/problems/invalid-input")}, answer.text
    assert client.get("/api/v1/batches", headers=headers(made.gu)).json()["rows"] == []


def test_file_sent_as_json_or_too_large_is_refused(client: TestClient[Any], headers: Headers, joined: sessionmaker[Session], made: World) -> None:
    query = import_query(made, made_profile(joined, made), [row(1)])
    as_json = client.post("/api/v1/batches", params=query, json={}, headers=headers(made.gu))
    assert (as_json.status_code, as_json.json()["type"]) == (415, "/problems/unsupported-media-type")
    large = client.post("/api/v1/batches", params=query, content=b"x" * 100_000_001, headers={**headers(made.gu), **CSV})
    assert (large.status_code, large.json()["type"]) == (413, "/problems/too-large")


def test_file_is_imported_once_and_listed(client: TestClient[Any], headers: Headers, joined: sessionmaker[Session], made: World) -> None:
    rows = [row(1), row(2)]
    query = import_query(made, made_profile(joined, made), rows)
    first, again = (client.post("/api/v1/batches", params=query, content=csv_text(rows).encode(), headers={**headers(made.gu), **CSV}) for _ in "12")
    assert (first.status_code, again.status_code) == (201, 200), first.text
    assert {**first.json(), "isFirst": False} == again.json()
    listed = client.get("/api/v1/batches", headers=headers(made.lin)).json()
    assert [one["id"] for one in listed["rows"]] == [first.json()["id"]]
    assert client.get(f"/api/v1/batches/{first.json()['id']}/statistics", headers=headers(made.lin)).json()["rows"][0]["caseCount"] == 2


def test_refused_file_keeps_its_rejection_csv(client: TestClient[Any], headers: Headers, joined: sessionmaker[Session], made: World) -> None:
    rows = [row(1), row(2, phone="?")]
    query = import_query(made, made_profile(joined, made), rows)
    refused = client.post("/api/v1/batches", params=query, content=csv_text(rows).encode(), headers={**headers(made.gu), **CSV})
    assert (refused.status_code, refused.json()["type"]) == (422, "/problems/placement-refused")
    batch_id = refused.json()["details"]["batch_id"]
    file = client.get(f"/api/v1/batches/{batch_id}/rejections.csv", headers=headers(made.gu))
    assert file.headers["content-type"].startswith("text/csv")
    assert file.content.decode("utf-8-sig").splitlines()[1] == "2,phone,malformed,7 to 15 digits,*"


def test_SEC_01_pages_of_cases_are_masked_recorded_and_complete(
    client: TestClient[Any], headers: Headers, joined: sessionmaker[Session], keyring: Keyring, made: World
) -> None:
    rows = [row(serial) for serial in range(1, 8)]
    with joined.begin() as session:
        place(session, keyring, made, rows)
    seen: list[str] = []
    cursor: str | None = None
    while True:
        page = client.get("/api/v1/cases", params={"limit": 3, **({"cursor": cursor} if cursor else {})}, headers=headers(made.amina))
        assert page.status_code == 200
        assert not any(one["id_number"] in page.text or one["name"] in page.text for one in rows)
        seen += [one["bankReference"] for one in page.json()["rows"]]
        cursor = page.json()["next"]
        if cursor is None:
            break
    assert seen == [one["bank_reference"] for one in rows]
    with joined() as session:
        assert len(session.scalars(select(AuditReadRow)).all()) == 7
        assert len(session.scalars(select(AuditEntryRow).where(AuditEntryRow.tag == "actor.read")).all()) == 3


@pytest.mark.parametrize("query", [{"limit": 0}, {"limit": 201}, {"limit": "x"}, {"cursor": "%%%"}, {"cursor": "bm90LWFuLWlk"}, {"status": "open"}])
def test_list_outside_its_bounds_is_refused(client: TestClient[Any], headers: Headers, made: World, query: dict[str, Any]) -> None:
    for path in ("/api/v1/cases", "/api/v1/visit-requests", "/api/v1/batches"):
        if "status" not in query or path != "/api/v1/batches":
            answer = client.get(path, params=query, headers=headers(made.amina))
            assert answer.status_code in (400, 422), answer.text


def test_SEC_03_search_finds_and_unmasking_states_a_purpose(
    client: TestClient[Any], headers: Headers, joined: sessionmaker[Session], made: World, called: tuple[UUID, UUID]
) -> None:
    found = client.post("/api/v1/cases/search", json={"idNumber": row(1)["id_number"]}, headers=headers(made.hana)).json()
    assert [one["id"] for one in found["rows"]] == [str(called[0])]
    path = f"/api/v1/cases/{called[0]}/unmask"
    for bad in ({"fields": ["idNumber"]}, {"fields": ["idNumber"], "purpose": "curiosity"}, {"fields": [], "purpose": "call"},
                {"fields": ["status"], "purpose": "call"}):
        assert client.post(path, json=bad, headers=headers(made.amina)).status_code in (400, 422)
    assert client.post(path, json={"fields": ["idNumber"], "purpose": "call"}, headers=headers(made.hana)).status_code == 403
    assert client.post(path, json={"fields": ["phone"], "purpose": "call"}, headers=headers(made.hana)).json() == {"phone": row(1)["phone"]}
    shown = client.post(path, json={"fields": ["idNumber"], "purpose": "identity_check"}, headers=headers(made.amina)).json()
    assert shown == {"idNumber": row(1)["id_number"]}


def test_CONT_05_intent_is_refused_with_its_breaches_and_a_fact_is_stored_with_them(
    client: TestClient[Any], headers: Headers, joined: sessionmaker[Session], keyring: Keyring, made: World, called: tuple[UUID, UUID]
) -> None:
    path = f"/api/v1/cases/{called[0]}/contacts"
    asked = {"mode": "intent", "channel": "phone", "workNumber": WORK_NUMBER}
    permitted = [client.post(path, json=asked, headers=headers(made.hana)) for _ in range(3)]
    assert [one.status_code for one in permitted] == [201] * 3
    told = client.post(f"/api/v1/contacts/{permitted[0].json()['id']}/result", json={"result": "connected"}, headers=headers(made.hana))
    assert told.json()["standing"] == "accepted"
    refused = client.post(path, json=asked, headers=headers(made.hana))
    assert (refused.status_code, [one["rule"] for one in refused.json()["breaches"]]) == (409, ["CONT-05"])
    fact = {**asked, "mode": "fact", "at": made.now.isoformat(), "outcome": {"result": "denies_spending", "feedback": "never bought it"}}
    stored = client.post(path, json=fact, headers=headers(made.hana)).json()
    assert (stored["standing"], [one["rule"] for one in stored["breaches"]], stored["isCaseSuspended"]) == ("breach", ["CONT-05"], True)
    listed = client.get(path, headers=headers(made.hana)).json()["rows"]
    assert (len(listed), listed[-1]["feedback"]) == (5, "never bought it")


@pytest.mark.parametrize(
    "body",
    [{"mode": "fact", "channel": "phone"}, {"mode": "intent", "channel": "phone", "outcome": {"result": "connected"}},
     {"mode": "intent", "channel": "pigeon"}, {"mode": "intent", "channel": "phone", "person": "third_party"},
     {"mode": "fact", "channel": "phone", "at": "2026-11-27T10:00:00", "outcome": {"result": "connected"}},
     {"mode": "fact", "channel": "phone", "at": "0001-01-01T00:00:00+14:00", "outcome": {"result": "connected"}},
     {"mode": "fact", "channel": "phone", "at": "9999-12-31T23:59:59-14:00", "outcome": {"result": "connected"}},
     {"mode": "intent", "channel": "phone", "extra": 1}, {"mode": "intent", "channel": "phone", "workNumber": "a"}],
)
def test_contact_that_does_not_fit_together_is_refused(
    client: TestClient[Any], headers: Headers, made: World, called: tuple[UUID, UUID], body: dict[str, Any]
) -> None:
    answer = client.post(f"/api/v1/cases/{called[0]}/contacts", json=body, headers=headers(made.hana))
    assert answer.status_code in (400, 422), answer.text


def test_REQ_03_request_goes_from_phone_to_approval_by_somebody_else(
    client: TestClient[Any], headers: Headers, made: World, called: tuple[UUID, UUID]
) -> None:
    asked = {"caseId": str(called[0]), "contactId": str(called[1]), "reason": "silence"}
    without = client.post("/api/v1/visit-requests", json={**asked, "contactId": None}, headers=headers(made.amina))
    assert [one["rule"] for one in without.json()["breaches"]] == ["REQ-01"]
    raised = client.post("/api/v1/visit-requests", json=asked, headers=headers(made.amina))
    assert raised.status_code == 201, raised.text
    path = f"/api/v1/visit-requests/{raised.json()['id']}"
    early = client.post(f"{path}/decision", json={"choice": "approve", "reason": "x"}, headers=headers(made.petra))
    assert [one["rule"] for one in early.json()["breaches"]] == ["REQ-02"]
    assert client.post(f"{path}/analysis", json={"analysis": "go"}, headers=headers(made.petra)).json()["verdict"] == "green"
    own = client.post(f"{path}/decision", json={"choice": "approve", "reason": "x"}, headers=headers(made.amina))
    assert (own.status_code, [one["rule"] for one in own.json()["breaches"]]) == (409, ["REQ-03"])
    approved = client.post(f"{path}/decision", json={"choice": "approve", "reason": "x"}, headers=headers(made.petra))
    assert (approved.status_code, approved.json()["status"]) == (200, "approved")
    again = client.post(f"{path}/decision", json={"choice": "reject", "reason": "x"}, headers=headers(made.petra))
    assert (again.status_code, again.json()["type"]) == (409, "/problems/illegal-transition")
    shown = client.get(path, headers=headers(made.farid)).json()
    assert (shown["reason"], shown["analysis"], shown["decisionReason"]) == ("silence", "go", "x")
    listed = client.get("/api/v1/visit-requests", params={"status": "approved"}, headers=headers(made.farid)).json()
    assert [(one["id"], one["reason"]) for one in listed["rows"]] == [(raised.json()["id"], None)]


def test_decisions_of_cases_over_http(client: TestClient[Any], headers: Headers, made: World, called: tuple[UUID, UUID]) -> None:
    path = f"/api/v1/cases/{called[0]}"
    amina, hana, gu = headers(made.amina), headers(made.hana), headers(made.gu)
    assert client.post(f"{path}/holds", headers=amina).status_code == 204
    assert client.get(path, headers=amina).json()["stops"] == ["hold"]
    assert client.delete(f"{path}/holds/hold", headers=amina).status_code == 204
    assert client.delete(f"{path}/holds/everything", headers=amina).status_code in (400, 404, 422)
    fact = {"mode": "fact", "channel": "phone", "workNumber": WORK_NUMBER, "at": made.now.isoformat(), "outcome": {"result": "vulnerable"}}
    assert client.post(f"{path}/contacts", json=fact, headers=hana).status_code == 201
    release = {"fromAt": made.now.isoformat(), "toAt": (made.now + timedelta(hours=3)).isoformat(), "manner": "calm", "precautions": "two"}
    assert client.post(f"{path}/releases", json={**release, "toAt": release["fromAt"]}, headers=amina).status_code == 422
    assert client.post(f"{path}/releases", json=release, headers=amina).status_code == 201
    assert client.post(f"{path}/signals", json={"signal": "asset_transfer"}, headers=hana).json()["priority"] >= 4
    assert client.post(f"{path}/urgency", json={"reason": "leaving"}, headers=amina).status_code == 204
    confirmed = {"field": "occupation", "source": "phone", "occupation": "nurse"}
    assert client.post(f"{path}/confirmations", json=confirmed, headers=hana).status_code == 204
    address = {"kind": "work", "street": "示范路3号", "source": "phone", "position": {"lon": 121.4, "lat": 31.2, "datum": "gcj02"}}
    assert client.post(f"{path}/addresses", json=address, headers=hana).status_code == 201
    assert client.post(f"{path}/addresses", json={**address, "timezone": "Mars/Olympus"}, headers=hana).status_code == 422
    talk = {**fact, "outcome": {"result": "connected"}}
    contact_id = client.post(f"{path}/contacts", json=talk, headers=hana).json()["id"]
    agreed = {"fromAt": "2026-11-27T13:00:00Z", "toAt": "2026-11-27T14:00:00Z", "agreedWith": "cardholder", "contactId": contact_id}
    assert client.post(f"{path}/agreements", json=agreed, headers=hana).status_code == 201
    assert client.post(f"{path}/agreements", json={**agreed, "agreedWith": "spouse"}, headers=hana).status_code == 409
    assert client.post(f"{path}/agreements", json={**agreed, "toAt": agreed["fromAt"]}, headers=hana).status_code == 422
    assert client.post("/api/v1/work-numbers", json={"branchId": str(made.sh1), "number": "02100000003"}, headers=amina).status_code == 204
    paid = client.post(f"{path}/repayments", json={"reference": "T1", "amountFen": 1_234_567, "paidOn": "2026-11-27"}, headers=gu)
    assert paid.json() == {"isPaid": True}
    detail = client.get(path, headers=amina).json()
    assert (detail["status"], detail["stops"], detail["repaidFen"], detail["isUrgent"]) == ("paid", ["paid"], 1_234_567, True)


def _filled(body: Any, names: dict[str, str]) -> Any:
    if isinstance(body, str):
        return body.format(**names)
    if isinstance(body, list):
        return [_filled(one, names) for one in body]
    return {name: _filled(one, names) for name, one in body.items()} if isinstance(body, dict) else body
