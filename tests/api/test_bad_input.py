"""Bad input never gives a 5xx: every route, generically from the route table, then files, uploads and clocks; and a bug of ours shows nothing."""

import base64
import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote
from uuid import UUID

import httpx
import msgspec
import pytest
from litestar import get
from litestar.di import NamedDependency
from litestar.testing import TestClient
from sqlalchemy import select, text
from sqlalchemy.orm import Session, sessionmaker
from structlog.testing import capture_logs

from backend.banks.tables import BankRow
from backend.core.i18n import LANGUAGES
from backend.core.ids import ManifestId, new_id
from backend.core.problems import PROBLEM_TYPES
from backend.exhibits import uploads
from backend.exhibits.model import ItemState
from backend.exhibits.tables import ItemRow, ManifestRow
from backend.web.app import make_app
from backend.web.examples import example_of
from evidence.facts import Kind
from evidence.times import format_utc
from mobile_api.event_kinds import KINDS
from tests.api.test_access import is_permitted, sees
from tests.support.access import CONSOLE, OPEN, PHONES, UPLOADS, Row, filled
from tests.support.exhibits import CAPTURE, Handset, item, signed_once, visit_facts
from tests.support.http import SteppedClock, make_resources
from tests.support.phones import PUBLIC_URL, phone_headers
from tests.support.whole import Route, Whole
from tests.support.world import Person

ROWS: dict[str, Row] = {**CONSOLE, **PHONES, **{name: Row() for name in OPEN | UPLOADS}}
JSON = "application/json"
BODIES: tuple[tuple[bytes, str], ...] = (
    (b"", JSON), (b"{", JSON), (b'{"a": 1, "a": 2}', JSON), (b'{"a": "\\u0000"}', JSON), (b'{"n": 99999999999999999999}', JSON),
    (b'{"n": 9007199254740992}', JSON), (b'{"n": NaN}', JSON), (b'{"a": "\\ud800"}', JSON), (b"[]", JSON), (b"null", JSON),
    (b'"text"', JSON), (b"\xff\xfe{}", JSON), (b"[" * 5_000, JSON), (b'{"unknownField": 1}', JSON), (b"{}", "text/plain"),
    (b"{}", ""), (b"a=1&a=2&%ff=%00", "application/x-www-form-urlencoded"),
    (b"--x\r\nContent-Disposition: form-data; name=a\r\n\r\n1", "multipart/form-data; boundary=x"), (b"\x00\xff" * 50, "application/octet-stream"),
    (b"{}", "application/jose+json"), (b"\x80", "application/jose+json"),
)
VALUES: tuple[Any, ...] = (
    None, -1, 2**53 - 1, 1.7e308, "", "x" * 5_000, "‮﷽𠮷", [], {}, "0001-01-01", "9999-12-31", "0001-01-01T00:00:00+23:59",
    "9999-12-31T23:59:59.999999-23:59", "00000000-0000-0000-0000-000000000000",
)
INSTANTS = ("0001-01-01T00:00:00.000Z", "9999-12-31T23:59:59.999Z", "2026-02-30T00:00:00.000Z")
TEXTS = (
    "", "\0", "x" * 401, "‮﷽𠮷", "-1", "999999999999999999999999999", "0001-01-01", "9999-12-31", "2026-02-30",
    "00000000-0000-0000-0000-000000000000", base64.urlsafe_b64encode(b"\xff\0").decode(),
    base64.urlsafe_b64encode(b"another text").decode(),
)


def somebody(whole: Whole, route: Route, row: Row) -> Person | None:
    """Return somebody who may use the route, so that what is bad is the input alone."""
    if route.operation_id in OPEN | UPLOADS:
        return None
    if route.is_phone:
        return whole.made.bilal
    return next(person for person in whole.people if is_permitted(row, person) and sees(whole, row, person))


def check(answer: httpx.Response, what: object) -> None:
    """Demand an answer that is ours: no fault, and each refusal a documented problem."""
    assert answer.status_code < 500, (answer.status_code, what, answer.text[:300])
    if answer.status_code >= 400 and answer.request.method != "HEAD" and not answer.headers["content-type"].startswith("text/html"):
        assert answer.headers["content-type"] == "application/problem+json", (answer.status_code, what, answer.text[:300])
        problem = answer.json()
        kind = PROBLEM_TYPES[problem["type"].removeprefix("/problems/")]
        assert problem["status"] == answer.status_code, what
        assert problem["title"], kind
        assert problem["instance"].startswith("urn:request:"), what


def route_of(whole: Whole, operation_id: str) -> tuple[Route, Row, Person | None]:
    """Return a route with its row and somebody who may use it."""
    route, row = next(one for one in whole.routes if one.operation_id == operation_id), ROWS[operation_id]
    return route, row, somebody(whole, route, row)


def things_of(whole: Whole, row: Row) -> dict[str, str]:
    """Return what path parameters stand for on this route."""
    named = {name: one[1:] if one.startswith("=") else whole.things[one] for name, one in row.path.items()}
    return {"upload_id": str(new_id()), "code": "not-found", "on": str(whole.made.today), "csrf": "", **whole.things, **named}


@pytest.mark.parametrize("operation_id", sorted(ROWS))
def test_no_body_makes_a_route_stumble(whole: Whole, operation_id: str) -> None:
    route, row, person = route_of(whole, operation_id)
    if route.method not in ("POST", "PUT", "PATCH", "DELETE"):
        return
    things = things_of(whole, row)
    for content, content_type in BODIES:
        headers = {**whole.headers(person, route), "Content-Type": content_type, "Origin": PUBLIC_URL}
        answer = whole.send(route.method, route.address(things), content=content, headers=headers, params=filled(dict(row.query), things))
        check(answer, (content[:40], content_type))


@pytest.mark.parametrize("operation_id", sorted(name for name, row in ROWS.items() if isinstance(row.body, dict) and row.body))
def test_no_value_of_a_member_makes_a_route_stumble(whole: Whole, operation_id: str) -> None:
    route, row, person = route_of(whole, operation_id)
    things = things_of(whole, row)
    body = filled(row.body, things)
    for member in body:
        for value in VALUES:
            headers = {**whole.headers(person, route), "Origin": PUBLIC_URL}
            form = {"data": {**body, member: str(value)}} if row.content != JSON else {"json": {**body, member: value}}
            answer = whole.send(route.method, route.address(things), headers=headers, params=filled(dict(row.query), things), **form)
            check(answer, (member, value))


@pytest.mark.slow
@pytest.mark.parametrize("operation_id", sorted(ROWS))
def test_no_text_in_the_address_makes_a_route_stumble(whole: Whole, operation_id: str) -> None:
    route, row, person = route_of(whole, operation_id)
    things = things_of(whole, row)
    query = filled(dict(row.query), things)
    names = sorted({"unknown", *query, *queries_of(whole, operation_id)})
    asked: list[tuple[dict[str, str], dict[str, str]]] = [(things, {**query, name: text}) for name in names for text in TEXTS]
    asked += [({**things, name: quote(text, safe='')}, query) for name, _ in route.parameters for text in TEXTS]
    body = None if row.content != JSON else filled(row.body, things)
    for named, params in asked:
        address = route.address(named)
        headers = {"Origin": PUBLIC_URL, **whole.headers(person, route)}
        if route.is_phone and person is not None:
            headers |= phone_headers(whole.keyring, person, route.method, address, whole.clock.now)
        check(whole.send(route.method, address, headers=headers, params=params, json=body), (address[-60:], params))


def queries_of(whole: Whole, operation_id: str) -> set[str]:
    """Return the query parameters that the documents name for an operation."""
    documents = [whole.client.get(path).json() for path in ("/schema/openapi.json", "/mobile/schema/openapi.json")]
    operations = [one for document in documents for path in document["paths"].values() for one in path.values()]
    named = [one.get("parameters", []) for one in operations if one["operationId"] == operation_id]
    return {parameter["name"] for parameters in named for parameter in parameters if parameter["in"] == "query"}


# -- Events --------------------------------------------------------------------------------------------------------------------------

IDS = {"case_id", "visit_id", "bank_id", "receipt_number", "jti", "account_digest"}


@pytest.mark.slow
@pytest.mark.parametrize("kind", sorted(KINDS))
def test_no_member_of_an_event_makes_it_stumble(whole: Whole, kind: str) -> None:
    (schema,), components = msgspec.json.schema_components([KINDS[kind].body], ref_template="#/components/schemas/{name}")
    body = example_of(schema, components)
    body |= {"takerId": whole.things["staff_id"]} if "takerId" in body else {}
    body |= {camel: whole.things[name] for name in IDS if (camel := name.split("_")[0] + "".join(map(str.title, name.split("_")[1:]))) in body}
    members = components[schema["$ref"].rsplit("/", 1)[-1]]["properties"]
    for mode in sorted(KINDS[kind].modes):
        told = [body, *({**body, member: value} for member in members for value in (*VALUES, *INSTANTS))]
        for one in told:
            check(send_event(whole, kind, mode.value, one), (kind, mode, one))


@pytest.mark.parametrize("wall", ["0001-01-01T00:00:00.000Z", "9999-12-31T23:59:59.999Z", "2026-02-30T00:00:00.000Z", "2026-11-27T02:00:60.000Z"])
def test_no_clock_of_an_event_makes_it_stumble(whole: Whole, wall: str) -> None:
    for kind in KINDS:
        (schema,), components = msgspec.json.schema_components([KINDS[kind].body], ref_template="#/components/schemas/{name}")
        body = {**example_of(schema, components), "visitId": whole.things["visit_id"]}
        check(send_event(whole, kind, sorted(KINDS[kind].modes)[0].value, body, wall=wall), (kind, wall))


def send_event(whole: Whole, kind: str, mode: str, body: dict[str, Any], wall: str | None = None) -> httpx.Response:
    """Send one event of bilal's phone."""
    envelope = {
        "id": str(new_id()), "kind": kind, "mode": mode, "seq": 1, "body": body,
        "clocks": {"wall": wall or format_utc(whole.made.now), "monotonicMs": 1, "bootId": "boot-1"},
    }
    headers = phone_headers(whole.keyring, whole.made.bilal, "POST", "/mobile/v1/events", whole.clock.now)
    return whole.send("POST", "/mobile/v1/events", json=envelope, headers=headers)


# -- Files ---------------------------------------------------------------------------------------------------------------------------

FILES = {
    "empty": b"", "one NUL": b"\0", "no UTF-8": "姓名,金额\n测试,1".encode("utf-16"), "another encoding": "案件编号,姓名\nR-1,测试".encode("gb18030"),
    "an open quote": b'"a,b\nc,"d', "a NUL in a cell": b"a,b\n\0,1\n", "too wide": b"," * 5_000,
    "no rows": "案件编号,姓名\n".encode(), "a picture": b"\xff\xd8\xff\xe0" * 99,
    "a spreadsheet": b"PK\x03\x04" + bytes(99), "huge amount": b"account,booked_on,reference,amount\n1,2026-11-27,S," + b"9" * 4_000 + b".00\n",
    "far day": b"account,booked_on,reference,amount\n1100220033004400551,9999-12-31,S,1.00\n", "one long cell": b"a" * 200_000,
}


@pytest.mark.parametrize("operation_id", ["importBatch", "importStatement"])
@pytest.mark.parametrize("name", FILES)
def test_CASE_01_a_broken_file_is_refused_whole(whole: Whole, operation_id: str, name: str) -> None:
    route, row, person = route_of(whole, operation_id)
    headers = {**whole.headers(person, route), "Content-Type": "text/csv"}
    answer = whole.send("POST", route.path, content=FILES[name], headers=headers, params=filled(dict(row.query), whole.things))
    check(answer, name)
    assert answer.status_code in (400, 413, 415, 422) or name == "far day", answer.text


# -- Uploads -------------------------------------------------------------------------------------------------------------------------


def test_a_gigabyte_is_not_taken_for_a_photograph(whole: Whole) -> None:
    with whole.sessions.begin() as session:
        wanted = select(ManifestRow).join(ItemRow, ItemRow.manifest_id == ManifestRow.id).where(ItemRow.state == ItemState.NEEDED)
        manifest = session.scalars(wanted.order_by(ManifestRow.id)).first()
        assert manifest is not None
        (ticket, *_) = uploads.issue_tickets(session, whole.keyring, ManifestId(manifest.id), manifest.device, whole.clock.now)
    leave = {"Authorization": f"Bearer {ticket.token}", "Tus-Resumable": "1.0.0"}
    for length in ("1073741824", "9" * 30, "-1", "0x10", "", "1e9", "5 000"):
        answer = whole.send("POST", "/mobile/v1/uploads", headers={**leave, "Upload-Length": length})
        check(answer, length)
        assert answer.status_code in (400, 409, 413), answer.text
    for offset in ("-1", "9" * 30, "x", ""):
        piece = {**leave, "Upload-Offset": offset, "Content-Type": "application/offset+octet-stream"}
        check(whole.send("PATCH", f"/mobile/v1/uploads/{ticket.upload_id}", content=b"x", headers=piece), offset)
    for checksum in ("sha256 AAAA", "md5 x", "sha256", "\x80", ""):
        piece = {**leave, "Upload-Offset": "0", "Content-Type": "application/offset+octet-stream", "Upload-Checksum": checksum}
        encoded = {name: value.encode("latin-1") for name, value in piece.items()}
        check(whole.send("PATCH", f"/mobile/v1/uploads/{ticket.upload_id}", content=b"x", headers=encoded), checksum)


def test_an_unknown_kind_of_file_is_not_asked_for(whole: Whole) -> None:
    answer = send_statement(whole, minutes=5, media_type="image/x-unheard-of")
    check(answer, "media")
    if answer.status_code == 201:
        assert [one.get("uploadUrl") for one in answer.json()["items"]] == [None]


# -- Clocks --------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("days", [-2, 2])
def test_a_clock_two_days_off_is_answered(whole: Whole, days: int) -> None:
    off = timedelta(days=days)
    told = {"visitId": whole.things["visit_id"], "kind": "hazard", "note": "loose step"}
    answer = send_event(whole, "safety.incident", "fact", told, wall=format_utc(whole.made.now + off))
    check(answer, days)
    assert answer.status_code in (201, 422), answer.text
    stated = send_statement(whole, minutes=-days * 24 * 60)
    check(stated, days)


@pytest.mark.parametrize("days", [-2, 2])
def test_a_proof_two_days_off_is_refused_and_told_the_time(whole: Whole, days: int) -> None:
    headers = phone_headers(whole.keyring, whole.made.bilal, "GET", "/mobile/v1/beacon", whole.clock.now + timedelta(days=days))
    answer = whole.send("GET", "/mobile/v1/beacon?nonce=0123456789abcdef", headers=headers)
    assert answer.status_code == 401
    assert answer.headers["date"] == "Fri, 27 Nov 2026 02:00:00 GMT"


def send_statement(whole: Whole, *, minutes: int, media_type: str = "image/jpeg") -> httpx.Response:
    """Send a photograph's statement of bilal, captured some minutes ago."""
    made, at = whole.made, whole.made.now - timedelta(minutes=minutes)
    visit = visit_facts(made, UUID(whole.things["case_id"]), visit_id=UUID(whole.things["visit_id"]))  # type: ignore[arg-type]
    bilal = Handset(made.bilal)
    payload = bilal.payload(made, visit, Kind.CAPTURE, CAPTURE, at=at, items=(item(b"bytes", media_type=media_type, at=at),))
    path = "/mobile/v1/evidence-manifests"
    headers = {**phone_headers(whole.keyring, made.bilal, "POST", path, whole.clock.now), "Content-Type": "application/jose+json"}
    return whole.send("POST", path, content=signed_once(bilal, payload), headers=headers)


# -- What a problem tells ------------------------------------------------------------------------------------------------------------


def test_every_problem_type_is_documented_at_its_address_in_both_languages(whole: Whole) -> None:
    for code in PROBLEM_TYPES:
        for language in LANGUAGES:
            page = whole.send("GET", f"/problems/{code}?lang={language}")
            assert page.status_code == 200, code
            assert code in page.text


@get("/twice", sync_to_thread=True)
def twice(sessions: NamedDependency[sessionmaker[Session]]) -> None:
    """Make the same thing twice."""
    with sessions.begin() as session:
        session.add(BankRow(id=new_id(), code="A", name_zh="示范银行A", name_en="Sample Bank A"))


@get("/unsound", sync_to_thread=True)
def unsound(sessions: NamedDependency[sessionmaker[Session]]) -> None:
    """Write what a CHECK refuses."""
    with sessions.begin() as session:
        session.execute(text("UPDATE receipts SET amount_fen = -1"))


@get("/boom", sync_to_thread=False)
def boom() -> None:
    """Stumble."""
    raise RuntimeError("the card number is 6200000000000000")


@pytest.fixture
def broken(tmp_path: Path, whole: Whole) -> Iterator[TestClient[Any]]:
    resources = make_resources(whole.sessions, whole.keyring, tmp_path, SteppedClock(whole.clock.now))
    with TestClient(make_app(resources, [boom, twice, unsound]), base_url=PUBLIC_URL, raise_server_exceptions=False) as client:
        yield client


def test_a_bug_of_ours_is_a_bare_500_and_one_line_in_the_log(broken: TestClient[Any]) -> None:
    with capture_logs() as lines:
        answer = broken.get("/boom")
    assert (answer.status_code, answer.json()["type"]) == (500, "/problems/internal-error")
    assert "card number" not in answer.text
    assert "RuntimeError" not in answer.text
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    (line,) = lines
    assert (line["event"], line["path"], f"urn:request:{line['request_id']}") == ("internal error", "/boom", answer.json()["instance"])
    assert json.dumps({name: str(value) for name, value in line.items()})


def test_what_two_make_at_once_is_a_conflict_and_a_broken_check_is_a_bug(whole: Whole, broken: TestClient[Any]) -> None:
    for path, expected in (("/twice", (409, "/problems/conflict")), ("/unsound", (500, "/problems/internal-error"))):
        undone = whole.connection.begin_nested()
        answer = broken.get(path)
        undone.rollback()
        assert (answer.status_code, answer.json()["type"]) == expected
