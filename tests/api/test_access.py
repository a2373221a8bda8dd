"""Every route × every role × own, other branch, other bank: the expected answer for each, read from one table.

`tests.support.access` holds the table; a route without a row fails here. Nothing that a request writes stays.
"""

from http import HTTPStatus
from typing import Any

import httpx
import pytest

from backend.auth.actors import EVERY_BRANCH_ROLES, Role
from backend.auth.permissions import GRANTS
from backend.core.problems import PROBLEM_TYPES
from tests.support.access import CONSOLE, OPEN, PHONES, UPLOADS, Row, Whose, filled
from tests.support.belongings import PERSONAL
from tests.support.phones import PUBLIC_URL, phone_headers
from tests.support.whole import Route, Whole
from tests.support.world import Person

REFUSED = frozenset({401, 403, 404})


def send(whole: Whole, route: Route, row: Row, person: Person | None) -> httpx.Response:
    """Send the row's request as somebody."""
    things = whole.things | {name: one[1:] if one.startswith("=") else whole.things[one] for name, one in row.path.items()}
    things["csrf"] = whole.session_of(person).csrf if person is not None else ""
    headers = {**whole.headers(person, route), "Accept-Language": "en", "Origin": PUBLIC_URL}
    request: dict[str, Any] = {"params": filled(dict(row.query), things)}
    body = filled(row.body, things)
    if row.content == "application/json" and body is not None:
        request["json"] = body
    elif row.content.endswith("urlencoded"):
        request["data"] = body
    elif row.content.startswith("multipart"):
        request["data"] = {name: value for name, value in body.items() if name != "file"}
        request["files"] = {"file": ("recording.wav", body["file"].encode())}
    elif body is not None:
        request["content"], headers["Content-Type"] = body, row.content
    return whole.send(route.method, route.address(things), headers=headers, **request)


def sees(whole: Whole, row: Row, person: Person) -> bool:
    """Tell whether the thing that the row names is this person's to see."""
    actor, made = person.actor, whole.made
    is_here = actor.bank is None and (made.sh1 in actor.branches or bool(actor.roles & EVERY_BRANCH_ROLES))
    match row.whose:
        case Whose.NOBODY:
            return True
        case Whose.CASE:
            return is_here or actor.bank == made.bank_a.id
        case Whose.BRANCH:
            return is_here
        case Whose.BANK:
            return actor.bank in (None, made.bank_a.id)
        case Whose.OWN_BANK:
            return actor.bank == made.bank_a.id
    return person.name == row.one


def is_permitted(row: Row, person: Person) -> bool:
    """Tell whether a role of the person is granted what the row demands."""
    granted = {permission for role in person.actor.roles for permission in GRANTS[role]}
    is_granted = row.permission is None or bool({row.permission, row.or_permission} & granted)
    return is_granted and not person.actor.roles & row.not_roles and person.name != row.not_one


def fault(answer: httpx.Response, row: Row, whole: Whole, person: Person) -> str | None:
    """Return what is wrong with an answer, None when it is the expected one."""
    is_seen, permitted = sees(whole, row, person), is_permitted(row, person)
    expected: frozenset[int]
    match (permitted, is_seen):
        case (True, True):
            is_right = answer.status_code not in REFUSED and answer.status_code < HTTPStatus.INTERNAL_SERVER_ERROR
            expected = frozenset()
        case (True, False):
            expected, is_right = frozenset({404}), answer.status_code == HTTPStatus.NOT_FOUND
        case (False, True):
            expected, is_right = frozenset({403}), answer.status_code == HTTPStatus.FORBIDDEN
        case _:
            expected, is_right = frozenset({403, 404}), answer.status_code in (403, 404)
    if is_right and answer.status_code < HTTPStatus.MULTIPLE_CHOICES and not knows_the_case(whole, person):
        leaked = [name for name in sorted(PERSONAL) if whole.things[name] in answer.text and f"${name}" not in str(row)]
        return f"{person.name}: told {leaked}" if leaked else None
    if is_right:
        return None
    return f"{person.name} {sorted(person.actor.roles)[0]}: {answer.status_code}, expected {sorted(expected) or 'an answer'}: {answer.text[:160]}"


def knows_the_case(whole: Whole, person: Person) -> bool:
    """Tell whether anything of the case may be shown to this person."""
    return sees(whole, Row(whose=Whose.CASE), person)


def test_every_route_has_one_row(whole: Whole) -> None:
    known = {route.operation_id for route in whole.routes}
    tables = (set(CONSOLE), set(PHONES), OPEN, UPLOADS)
    assert known == set().union(*tables), "a route without a row, or a row without a route"
    assert sum(map(len, tables)) == len(known), "a route with two rows"
    assert len(whole.routes) == len(known), "two routes under one name"


def test_everybody_is_somebody_of_every_role(whole: Whole) -> None:
    assert {role for person in whole.people for role in person.actor.roles} == set(Role)


@pytest.mark.parametrize("operation_id", sorted(CONSOLE))
def test_SEC_01_each_role_gets_what_is_its_own_and_nothing_else(whole: Whole, operation_id: str) -> None:
    route, row = next(one for one in whole.routes if one.operation_id == operation_id), CONSOLE[operation_id]
    faults = [found for person in whole.people if (found := fault(send(whole, route, row, person), row, whole, person)) is not None]
    assert faults == [], "\n" + "\n".join(faults)


@pytest.mark.parametrize("operation_id", sorted({**CONSOLE, **PHONES}))
def test_SEC_01_nobody_gets_in_without_signing_in(whole: Whole, operation_id: str) -> None:
    route, row = next(one for one in whole.routes if one.operation_id == operation_id), {**CONSOLE, **PHONES}[operation_id]
    answer = send(whole, route, row, None)
    if route.path.startswith("/console"):
        assert (answer.status_code, answer.headers["location"].partition("?")[0]) == (303, "/console/login")
    else:
        assert (answer.status_code, answer.json()["type"]) == (401, "/problems/unauthenticated")
        assert "WWW-Authenticate" in answer.headers
    assert "unauthenticated" in PROBLEM_TYPES


@pytest.mark.parametrize("operation_id", sorted({**CONSOLE, **PHONES}))
def test_SEC_01_a_token_of_the_other_kind_opens_nothing(whole: Whole, operation_id: str) -> None:
    route = next(one for one in whole.routes if one.operation_id == operation_id)
    row, made = {**CONSOLE, **PHONES}[operation_id], whole.made
    things = whole.things | {name: one[1:] if one.startswith("=") else whole.things[one] for name, one in row.path.items()}
    address = route.address(things)
    if route.is_phone:
        headers = {"Authorization": f"Bearer {whole.session_of(made.bilal).token}"}
    else:
        headers = phone_headers(whole.keyring, made.bilal, route.method, address, whole.clock.now)
    answer = whole.send(route.method, address, headers={**headers, "Content-Type": row.content}, params=filled(dict(row.query), things))
    assert answer.status_code == (303 if route.path.startswith("/console") else 401), answer.text


def test_SEC_01_a_phone_reaches_its_own_statements_alone(whole: Whole) -> None:
    path, made = f"/mobile/v1/receipts/{whole.things['manifest_id']}", whole.made
    for person, expected in ((made.bilal, 200), (made.dong, 404), (made.zhen, 404)):
        answer = whole.send("GET", path, headers=phone_headers(whole.keyring, person, "GET", path, whole.clock.now))
        assert answer.status_code == expected, (person.name, answer.text)


@pytest.mark.parametrize("operation_id", sorted(UPLOADS))
def test_SEC_01_no_upload_without_its_own_token(whole: Whole, operation_id: str) -> None:
    route, headers = next(one for one in whole.routes if one.operation_id == operation_id), {"Tus-Resumable": "1.0.0"}
    address = route.address({"upload_id": whole.things["item_key"]})
    needed = {"Upload-Length": "1", "Upload-Offset": "0", "Content-Type": "application/offset+octet-stream"}
    session = {"Authorization": f"Bearer {whole.session_of(whole.made.amina).token}"}
    phone = phone_headers(whole.keyring, whole.made.bilal, route.method, address, whole.clock.now)
    for shown in ({}, session, phone, {"Authorization": "Bearer " + "A" * 43}):
        assert whole.send(route.method, address, headers={**headers, **needed, **shown}).status_code == 401


def test_the_number_of_requests_is_printed(whole: Whole, capsys: pytest.CaptureFixture[str]) -> None:
    with capsys.disabled():
        print(f"\n{len(whole.routes)} routes, {len(whole.people)} people of {len(Role)} roles, {whole.sent} requests so far")
    assert len(whole.people) > len(Role)
