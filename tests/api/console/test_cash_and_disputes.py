"""Cash and disputes over HTTP: refusals first, then the whole way from the request to the proven books."""

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from litestar.testing import TestClient
from sqlalchemy import select
from sqlalchemy.orm import Session, sessionmaker

from backend.audit.tables import AuditEntryRow
from backend.cash.tables import ReceiptNumberRow
from backend.console import cash, disputes
from backend.console.values import XLSX
from backend.core.ids import new_id
from backend.keys.keyring import Keyring
from backend.policies.tables import PolicyRow
from backend.web.auth import console_actor, phone_actor
from evidence.times import format_utc
from mobile_api import events
from tests.support.cash import Door, door
from tests.support.http import SteppedClock, console_headers, make_client, make_resources, signed_in
from tests.support.phones import phone_headers
from tests.support.world import ACCOUNT_NUMBER, Person, World, world

Ask = Callable[..., Any]


@pytest.fixture
def made(joined: sessionmaker[Session], keyring: Keyring, now: datetime) -> World:
    with joined.begin() as session:
        return world(session, keyring, now)


@pytest.fixture
def at(joined: sessionmaker[Session], keyring: Keyring, made: World) -> Iterator[Door]:
    with joined() as session:
        yield door(session, keyring, made)
        session.commit()


@pytest.fixture
def client(joined: sessionmaker[Session], keyring: Keyring, tmp_path: Path, now: datetime, made: World) -> Iterator[TestClient[Any]]:
    resources = make_resources(joined, keyring, tmp_path, SteppedClock(now))
    routers = [signed_in(console_actor, [*cash.ROUTES, *disputes.ROUTES]), signed_in(phone_actor, events.ROUTES), *cash.OPEN_ROUTES]
    with make_client(resources, routers) as client:
        yield client


@pytest.fixture
def ask(client: TestClient[Any], joined: sessionmaker[Session], now: datetime) -> Ask:
    def asked(person: Person, method: str, path: str, body: Any = None) -> Any:
        with joined.begin() as session:
            headers = console_headers(session, person, now)
        return client.request(method, path, headers=headers, json=body)

    return asked


@pytest.fixture
def tell(client: TestClient[Any], keyring: Keyring, now: datetime) -> Ask:
    def told(person: Person, kind: str, mode: str, body: dict[str, Any], seq: int = 1, event_id: Any = None) -> Any:
        headers = phone_headers(keyring, person, "POST", "/mobile/v1/events", now)
        clocks = {"wall": format_utc(now), "monotonicMs": 1, "bootId": "b1", "beacon": None, "beaconAgeMs": None}
        envelope = {"id": str(event_id or new_id()), "kind": kind, "mode": mode, "seq": seq, "clocks": clocks, "body": body}
        return client.post("/mobile/v1/events", headers=headers, json=envelope)

    return told


NOT_THERE = "00000000-0000-7000-8000-000000000000"      # The same in every worker: xdist compares the names of tests.


def deposit_body(at: Door, *numbers: str, **changes: Any) -> dict[str, Any]:
    """Return the body of a deposit of these receipts."""
    return {
        "depositId": str(new_id()), "bankId": str(at.bank.id), "accountDigest": at.bank.account_digest, "channel": "counter",
        "slipReference": "SLIP-1", "amountFen": 300, "depositedAt": format_utc(at.now), "receiptNumbers": list(numbers), "shortfalls": [],
    } | changes


@pytest.mark.parametrize("path", [
    f"/api/v1/authorisation-requests/{NOT_THERE}/refuse", f"/api/v1/declarations/{NOT_THERE}/ruling", f"/api/v1/disputes/{NOT_THERE}/ruling",
])
def test_what_is_not_there_is_404(ask: Ask, made: World, path: str) -> None:
    person = made.mo if "authorisation" in path else made.lin
    answer = ask(person, "POST", path, {"reason": "no"} if "authorisation" in path else {"ruling": "fraud"})
    assert (answer.status_code, answer.json()["type"]) == (404, "/problems/not-found")


def test_CASH_01_an_unauthorised_intent_is_refused_and_the_refusal_recorded(ask: Ask, tell: Ask, at: Door, joined: sessionmaker[Session]) -> None:
    number = at.lease()[0]
    at.session.commit()
    body = {
        "caseId": str(at.case_id), "visitId": str(at.visit_id), "jti": None, "receiptNumber": number, "amountFen": 100, "instrument": "cash",
        "cosignerDevice": at.second.kid,
    }
    answer = tell(at.made.bilal, "cash.collect", "intent", body)
    assert (answer.status_code, answer.json()["type"]) == (403, "/problems/cash-not-authorised")
    with joined() as session:
        entries = session.scalars(select(AuditEntryRow).where(AuditEntryRow.tag == "actor.refused")).all()
        assert entries[-1].details["rules"] == ["CASH-01"]
    assert tell(at.made.bilal, "cash.collect", "fact", body).status_code == 422


def test_CASH_08_a_phone_is_held_to_the_limits_of_the_cases_own_bank(ask: Ask, tell: Ask, at: Door) -> None:
    limits = {"carry_limit_fen": 99, "cash_request_answer_s": 600, "deposit_deadline_s": 3_600}
    at.session.add(PolicyRow(
        id=new_id(), version="bank-a-strict", bank_id=at.bank.id, valid_from=at.now - timedelta(hours=3), thresholds=limits,
        made_by=at.made.oscar.id, made_at=at.now))
    number, jti = at.lease()[0], at.authorise()
    at.session.commit()
    body = {
        "caseId": str(at.case_id), "visitId": str(at.visit_id), "jti": jti, "receiptNumber": number, "amountFen": 100, "instrument": "cash",
        "cosignerDevice": at.second.kid,
    }
    answer = tell(at.made.bilal, "cash.collect", "intent", body)
    assert (answer.status_code, [one["code"] for one in answer.json()["breaches"]]) == (409, ["carry-limit"])
    assert tell(at.made.bilal, "cash.collect", "intent", body | {"amountFen": 99}, seq=2).json()["answer"]["carryLeftFen"] == 0
    asked = {"caseId": str(at.case_id), "visitId": str(at.visit_id), "circumstance": "remote_area", "explanation": "no bank", "capFen": 5_000}
    assert tell(at.made.bilal, "cash.request", "intent", asked, seq=3).json()["answer"]["answerDueS"] == 600
    assert ask(at.made.amina, "POST", "/api/v1/authorisation-requests", asked).status_code == 201
    due = {one["answerDueS"] for one in ask(at.made.mo, "GET", "/api/v1/authorisation-requests").json()["rows"] if one["status"] == "requested"}
    assert due == {600}


def test_CASH_04_only_the_cases_bank_grants(ask: Ask, at: Door) -> None:
    body = {"caseId": str(at.case_id), "visitId": str(at.visit_id), "circumstance": "remote_area", "explanation": "no bank", "capFen": 5_000}
    assert ask(at.made.mo, "POST", "/api/v1/authorisation-requests", body).status_code == 403
    assert ask(at.made.yara, "POST", "/api/v1/authorisation-requests", body).status_code == 404
    assert ask(at.made.amina, "POST", "/api/v1/authorisation-requests", body | {"explanation": " "}).json()["type"] == "/problems/rules-breached"
    request_id = ask(at.made.amina, "POST", "/api/v1/authorisation-requests", body).json()["id"]
    issued = int((at.now - timedelta(seconds=30)).timestamp())
    token = at.token(at.claims(new_id(), cap_fen=5_000, request=request_id, iat=issued))
    path = f"/api/v1/authorisation-requests/{request_id}/grant"
    assert ask(at.made.amina, "POST", path, {"token": token}).status_code == 403
    assert ask(at.made.nuo, "POST", path, {"token": token}).status_code == 404
    assert ask(at.made.mo, "POST", path, {"token": token[:-4] + "AAAA"}).json()["type"] == "/problems/authorisation-rejected"
    granted = ask(at.made.mo, "POST", path, {"token": token})
    assert granted.status_code == 200, granted.text
    rows = ask(at.made.mo, "GET", "/api/v1/authorisation-requests").json()["rows"]
    assert (rows[0]["status"], rows[0]["explanation"]) == ("granted", "no bank")
    assert ask(at.made.amina, "GET", "/api/v1/authorisation-requests").json()["rows"][0]["explanation"] is None
    assert ask(at.made.nuo, "GET", "/api/v1/authorisation-requests").json()["rows"] == []
    jti = granted.json()["jti"]
    assert ask(at.made.nuo, "POST", f"/api/v1/authorisations/{jti}/revoke").status_code == 404
    assert ask(at.made.mo, "POST", f"/api/v1/authorisations/{jti}/revoke").status_code == 204


def test_CASH_06_from_the_receipt_to_the_proven_books(ask: Ask, tell: Ask, at: Door, client: TestClient[Any]) -> None:
    numbers, jti = at.lease(), at.authorise()
    at.take(numbers[0], 300, jti)
    at.session.commit()
    elsewhere = tell(at.made.bilal, "cash.deposit", "intent", deposit_body(at, numbers[0], accountDigest="e" * 64))
    assert (elsewhere.status_code, elsewhere.json()["type"]) == (422, "/problems/account-not-designated")
    net = ask(at.made.kai, "POST", "/api/v1/deposits", deposit_body(at, numbers[0], amountFen=290))
    assert (net.status_code, net.json()["type"]) == (409, "/problems/rules-breached")
    event_id, body = new_id(), deposit_body(at, numbers[0])
    first = tell(at.made.bilal, "cash.deposit", "fact", body, event_id=event_id)
    again = tell(at.made.bilal, "cash.deposit", "fact", body, event_id=event_id)
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json()["answer"] == again.json()["answer"]
    assert first.json()["answer"]["status"] == "posted"
    statement = f"account,booked_on,reference,amount\n{ACCOUNT_NUMBER},2026-11-27,SLIP-1,3.00\n"
    imported = upload(ask, client, at, statement)
    assert imported["matchedCount"] == 1
    closed = ask(at.made.kai, "POST", "/api/v1/reconciliations", {"bankId": str(at.bank.id)})
    assert (closed.status_code, closed.json()["designatedFen"], closed.json()["differences"]) == (201, 300, [])
    for person, status in ((at.made.mo, 200), (at.made.nuo, 404), (at.made.hana, 403)):
        assert ask(person, "GET", f"/api/v1/ledger/proof?bankId={at.bank.id}").status_code == status, person.name
    for path in ("cash/custody", "cash/collections", "cash/exceptions", "deposits", "variances", "handovers"):
        assert ask(at.made.kai, "GET", f"/api/v1/{path}").status_code == 200, path


def upload(ask: Ask, client: TestClient[Any], at: Door, text: str) -> Any:
    """Import a statement as the cashier."""
    with at.session.begin_nested():
        headers = console_headers(at.session, at.made.kai, at.now)
    at.session.commit()
    path = f"/api/v1/statements?bankId={at.bank.id}&rowCount=1&amountTotalFen=300"
    answer = client.post(path, headers=headers | {"content-type": "text/csv"}, content=text.encode())
    assert answer.status_code == 201, answer.text
    for kind, content, problem in (
        ("text/csv", b"\x00\xff", "bank-file-unreadable"), ("text/csv", text.replace("3.00", "4.00").encode(), "control-totals"),
        ("text/csv", text.replace("2026-11-27", "soon").encode(), "bank-file-refused"), (XLSX, b"PK\x03\x04 not really", "sheet-unreadable"),
    ):
        broken = client.post(path, headers=headers | {"content-type": kind}, content=content)
        assert (broken.status_code, broken.json()["type"]) == (422, f"/problems/{problem}")
    refused = ask(at.made.kai, "GET", "/api/v1/bank-files").json()["rows"][-1]
    assert (refused["outcome"], refused["rejectedCount"]) == ("refused", 1)
    told = ask(at.made.lin, "GET", f"/api/v1/bank-files/{refused['id']}/rejections.csv")
    assert told.text.splitlines()[1] == "1,booked_on,malformed-date,YYYY-MM-DD,soon"
    return answer.json()


def test_the_public_asks_about_a_receipt(at: Door, client: TestClient[Any]) -> None:
    number = at.lease()[0]
    at.take(number, 300, at.authorise())
    code = at.session.get_one(ReceiptNumberRow, number).code
    at.session.commit()
    for asked, expected in (({"amountFen": 300, "code": code}, "genuine"), ({"amountFen": 301, "code": code}, "unknown"),
                            ({"amountFen": 300, "code": "X"}, "unknown")):
        answer = client.get("/verify/receipt", params={"number": number, **asked})
        assert (answer.status_code, answer.json()) == (200, {"status": expected})
    page = client.get("/verify/receipt", params={"number": number, "amountFen": 300, "code": code}, headers={"accept": "text/html"})
    assert page.status_code == 200
    assert 'data-status="genuine"' in page.text
    assert client.get("/verify/receipt", params={"amountFen": 10**20}).status_code < 500


def test_DECL_01_a_denial_told_by_phone_suspends_and_the_bank_rules(ask: Ask, tell: Ask, at: Door) -> None:
    at.session.commit()
    body = {"caseId": str(at.case_id), "visitId": str(at.visit_id), "kind": "disputes_amount", "statedAt": format_utc(at.now)}
    assert tell(at.made.zhen, "dispute.stated", "fact", body).status_code == 404 if at.made.zhen.phone else True
    told = tell(at.made.bilal, "dispute.stated", "fact", body)
    assert told.status_code == 201, told.text
    dispute_id = told.json()["answer"]["disputeId"]
    assert ask(at.made.chen, "POST", f"/api/v1/disputes/{dispute_id}/ruling", {"ruling": "amount_stands"}).status_code == 404
    assert ask(at.made.amina, "POST", f"/api/v1/disputes/{dispute_id}/ruling", {"ruling": "amount_stands"}).status_code == 403
    assert [row["status"] for row in ask(at.made.lin, "GET", "/api/v1/disputes").json()["rows"]] == ["stated"]
    assert ask(at.made.lin, "POST", f"/api/v1/disputes/{dispute_id}/ruling", {"ruling": "amount_stands"}).json() == {"status": "ruled"}


def test_DECL_12_a_declaration_with_one_side_is_refused_before_it_is_signed(tell: Ask, at: Door) -> None:
    at.session.commit()
    body = {
        "caseId": str(at.case_id), "form": "not_my_card", "templateId": str(next(iter(at.bank.templates.values()))), "templateVersion": 1,
        "transcription": "x", "writtenByDeclarant": True, "signedByDeclarant": True, "idCardGeneration": 2, "idFrontSha256": "a" * 64, "pageCount": 1,
    }
    refused = tell(at.made.bilal, "declaration.check", "intent", body)
    assert (refused.status_code, refused.json()["type"]) == (422, "/problems/id-sides-missing")
    accepted = tell(at.made.bilal, "declaration.check", "intent", body | {"idBackSha256": "b" * 64})
    assert [one["rule"] for one in accepted.json()["answer"]["flagged"]] == ["DECL-11"]
