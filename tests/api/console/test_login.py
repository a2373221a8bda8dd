"""Signing in at the console: refusals first, each with its problem and its trace."""

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pyotp
import pytest
from litestar.testing import TestClient
from sqlalchemy import select
from sqlalchemy.orm import Session, sessionmaker

from backend.audit.events import EventTag
from backend.audit.tables import AuditEntryRow
from backend.console import login
from backend.keys.keyring import Keyring
from backend.staff import logins
from backend.staff.tables import ConsoleSessionRow, LoginRow, StaffRow
from backend.web.auth import console_actor
from tests.support.http import SteppedClock, make_client, make_resources, signed_in
from tests.support.phones import PUBLIC_URL
from tests.support.world import PASSWORD, TOTP_SECRET, World, world

OWN_PAGE = {"Origin": PUBLIC_URL}


@pytest.fixture
def clock(now: datetime) -> SteppedClock:
    return SteppedClock(now)


@pytest.fixture
def made(joined: sessionmaker[Session], keyring: Keyring, now: datetime) -> World:
    with joined.begin() as session:
        return world(session, keyring, now)


@pytest.fixture
def client(joined: sessionmaker[Session], keyring: Keyring, tmp_path: Path, clock: SteppedClock, made: World) -> Iterator[TestClient[Any]]:
    with make_client(make_resources(joined, keyring, tmp_path, clock), [signed_in(console_actor, login.ROUTES), *login.OPEN_ROUTES]) as client:
        yield client


def code(clock: SteppedClock, steps: int = 0) -> str:
    return pyotp.TOTP(TOTP_SECRET).generate_otp(int(clock.now.timestamp()) // 30 + steps)


def body(clock: SteppedClock, **changes: str) -> dict[str, str]:
    return {"username": "amina", "password": PASSWORD, "totp": code(clock), **changes}


def tags(sessions: sessionmaker[Session], subject: str) -> list[tuple[str, Any]]:
    with sessions() as session:
        rows = session.scalars(select(AuditEntryRow).where(AuditEntryRow.subject == subject).order_by(AuditEntryRow.seq))
        return [(row.tag, row.details.get("reason") or row.details.get("problem")) for row in rows]


def bearer(client: TestClient[Any], clock: SteppedClock) -> dict[str, str]:
    return {"Authorization": f"Bearer {client.post('/api/v1/login', json=body(clock)).json()['token']}"}


@pytest.mark.parametrize(("changes", "reason"), [({"password": "not the password"}, "password"), ({"totp": "000000"}, "totp")])
def test_a_wrong_factor_is_refused_and_leaves_a_trace(
    client: TestClient[Any], joined: sessionmaker[Session], clock: SteppedClock, made: World, changes: dict[str, str], reason: str
) -> None:
    answer = client.post("/api/v1/login", json=body(clock, **changes))
    assert (answer.status_code, answer.json()["type"]) == (401, "/problems/login-refused")
    assert tags(joined, f"staff:{made.amina.id}") == [(EventTag.SIGN_IN_FAILED, reason)]


def test_an_unknown_name_is_refused_in_the_same_words(client: TestClient[Any], clock: SteppedClock) -> None:
    unknown, known = (client.post("/api/v1/login", json=body(clock, username=name, password="wrong")) for name in ("nobody", "amina"))
    assert unknown.status_code == known.status_code == 401
    assert {**unknown.json(), "instance": ""} == {**known.json(), "instance": ""}


def test_a_code_works_once(client: TestClient[Any], joined: sessionmaker[Session], clock: SteppedClock, made: World) -> None:
    assert client.post("/api/v1/login", json=body(clock)).status_code == 200
    assert client.post("/api/v1/login", json=body(clock)).status_code == 401
    assert client.post("/api/v1/login", json=body(clock, totp=code(clock, -1))).status_code == 401      # An older one neither.
    assert tags(joined, f"staff:{made.amina.id}")[1:] == [(EventTag.SIGN_IN_FAILED, "totp-replayed")] * 2
    clock.step(30)
    assert client.post("/api/v1/login", json=body(clock)).status_code == 200


def test_a_code_of_another_time_is_refused(client: TestClient[Any], clock: SteppedClock) -> None:
    for steps in (-2, 2):
        assert client.post("/api/v1/login", json=body(clock, totp=code(clock, steps))).status_code == 401


def test_five_failures_lock_the_name_and_a_quarter_of_an_hour_opens_it(client: TestClient[Any], clock: SteppedClock) -> None:
    for name in ("amina", "nobody"):
        for _ in range(logins.FAILURES_MAX):
            assert client.post("/api/v1/login", json=body(clock, username=name, password="wrong")).status_code == 401
        locked = client.post("/api/v1/login", json=body(clock, username=name))
        assert (locked.status_code, locked.json()["type"], locked.headers["retry-after"]) == (429, "/problems/too-many-requests", "900")
    clock.step(logins.LOCK_S)
    assert client.post("/api/v1/login", json=body(clock)).status_code == 200


def test_a_person_who_left_cannot_sign_in_and_loses_the_session(
    client: TestClient[Any], joined: sessionmaker[Session], clock: SteppedClock, made: World
) -> None:
    headers = bearer(client, clock)
    with joined.begin() as session:
        session.get_one(StaffRow, made.amina.id).is_active = False
    assert client.get("/api/v1/me", headers=headers).status_code == 401
    clock.step(30)
    assert client.post("/api/v1/login", json=body(clock)).status_code == 401


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer x"}, {"Authorization": "Basic eDp5"}, {"Cookie": "session=x"}])
def test_without_a_session_nothing_is_answered(client: TestClient[Any], headers: dict[str, str]) -> None:
    answer = client.get("/api/v1/me", headers=headers)
    assert (answer.status_code, answer.json()["type"]) == (401, "/problems/unauthenticated")


def test_a_session_idles_out(client: TestClient[Any], clock: SteppedClock) -> None:
    headers = bearer(client, clock)
    for _ in range(3):
        clock.step(logins.SESSION_IDLE_S - 1)
        assert client.get("/api/v1/me", headers=headers).status_code == 200
    clock.step(logins.SESSION_IDLE_S)
    assert client.get("/api/v1/me", headers=headers).status_code == 401


def test_a_session_ends_after_twelve_hours_however_busy(client: TestClient[Any], clock: SteppedClock) -> None:
    headers = bearer(client, clock)
    for _ in range(logins.SESSION_LIFE_S // 1200 - 1):
        clock.step(1200)
        assert client.get("/api/v1/me", headers=headers).status_code == 200
    clock.step(1200)
    assert client.get("/api/v1/me", headers=headers).status_code == 401


def test_logging_out_ends_the_session(client: TestClient[Any], joined: sessionmaker[Session], clock: SteppedClock, made: World) -> None:
    headers = bearer(client, clock)
    assert client.post("/api/v1/logout", headers=headers).status_code == 204
    assert client.get("/api/v1/me", headers=headers).status_code == 401
    assert [tag for tag, _ in tags(joined, f"staff:{made.amina.id}")] == [EventTag.SIGNED_IN, EventTag.SIGNED_OUT]


def test_a_write_by_cookie_without_its_csrf_token_is_refused(
    client: TestClient[Any], joined: sessionmaker[Session], clock: SteppedClock, made: World
) -> None:
    opened = client.post("/api/v1/login", json=body(clock)).json()
    for sent in ({}, {"X-CSRF-Token": "guess"}):
        answer = client.post("/api/v1/logout", headers={"Cookie": f"session={opened['token']}", **sent})
        assert (answer.status_code, answer.json()["type"]) == (403, "/problems/csrf-missing")
    assert tags(joined, f"staff:{made.amina.id}")[1:] == [(EventTag.REFUSED, "csrf-missing")] * 2
    assert client.post("/api/v1/logout", headers={"Cookie": f"session={opened['token']}", "X-CSRF-Token": opened["csrf"]}).status_code == 204


@pytest.mark.parametrize("headers", [{}, {"Origin": "https://elsewhere.example"}, {"Origin": PUBLIC_URL, "Sec-Fetch-Site": "cross-site"}])
def test_a_login_form_of_another_site_is_refused(client: TestClient[Any], clock: SteppedClock, headers: dict[str, str]) -> None:
    answer = client.post("/console/login", data=body(clock), headers=headers, follow_redirects=False)
    assert (answer.status_code, answer.json()["type"]) == (403, "/problems/csrf-missing")


def test_the_page_says_what_is_wrong_in_the_readers_language(client: TestClient[Any], clock: SteppedClock) -> None:
    for language, word in (("zh-Hans", "登录"), ("en", "Sign in")):
        page = client.post(f"/console/login?lang={language}", data=body(clock, password="<wrong>", username='"><b>'), headers=OWN_PAGE)
        assert page.status_code == 401
        assert word in page.text
        assert "<b>" not in page.text
        assert 'role="alert"' in page.text


def test_the_page_sets_a_strict_cookie_and_goes_only_to_our_own_pages(client: TestClient[Any], clock: SteppedClock) -> None:
    for target, expected in (("/console/visits", "/console/visits"), ("//evil.example", "/console/"), ("/console//evil.example", "/console/"),
                             ("https://evil.example", "/console/")):
        answer = client.post("/console/login", data={**body(clock), "next": target}, headers=OWN_PAGE, follow_redirects=False)
        assert (answer.status_code, answer.headers["location"]) == (303, expected)
        assert "HttpOnly" in answer.headers["set-cookie"]
        assert "SameSite=lax" in answer.headers["set-cookie"]
        clock.step(30)


def test_the_login_page_runs_no_script_under_a_strict_policy(client: TestClient[Any]) -> None:
    page = client.get("/console/login")
    assert page.status_code == 200
    assert page.headers["content-security-policy"].startswith("default-src 'none'")
    assert "<script" not in page.text


def test_the_logout_form_needs_the_sessions_token(client: TestClient[Any], clock: SteppedClock) -> None:
    opened = client.post("/api/v1/login", json=body(clock)).json()
    cookie = {"Cookie": f"session={opened['token']}", **OWN_PAGE}
    assert client.post("/console/logout", data={"csrf": "x"}, headers=cookie).status_code == 403
    assert client.post("/console/logout", data={"csrf": opened["csrf"]}, headers={"Cookie": cookie["Cookie"]}).status_code == 403
    gone = client.post("/console/logout", data={"csrf": opened["csrf"]}, headers=cookie, follow_redirects=False)
    assert (gone.status_code, gone.headers["location"]) == (303, "/console/login")
    assert client.get("/api/v1/me", headers={"Cookie": cookie["Cookie"]}).status_code == 401


@pytest.mark.parametrize("document", [{}, {"username": "amina"}, {"username": "amina", "password": "x", "totp": "12345"},
                                      {"username": "a" * 65, "password": "x", "totp": "123456"},
                                      {"username": "amina", "password": "x", "totp": "123456", "admin": True}])
def test_a_body_outside_its_bounds_is_refused(client: TestClient[Any], document: dict[str, Any]) -> None:
    answer = client.post("/api/v1/login", json=document)
    assert answer.status_code in (400, 422)
    assert answer.json()["type"].startswith("/problems/")


def test_me_tells_who_speaks(client: TestClient[Any], clock: SteppedClock, made: World) -> None:
    me = client.get("/api/v1/me", headers=bearer(client, clock)).json()
    assert (me["id"], me["roles"], me["branches"], me["bank"]) == (str(made.amina.id), ["supervisor"], [str(made.sh1)], None)
    assert "device.approve" in me["permissions"]


def test_no_token_password_or_code_rests_in_the_database(
    client: TestClient[Any], joined: sessionmaker[Session], clock: SteppedClock, made: World
) -> None:
    opened = client.post("/api/v1/login", json=body(clock)).json()
    with joined() as session:
        row = session.scalars(select(ConsoleSessionRow)).one()
        stored = session.get_one(LoginRow, made.amina.id)
    assert opened["token"] not in (row.token_hash, row.csrf)
    assert stored.password_hash.startswith("$argon2id$")
    assert TOTP_SECRET.encode() not in bytes(stored.totp_secret)
