"""The console's pages: strangers first, then what a supervisor and the bank's liaison see, with nothing but forms."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from litestar.testing import TestClient
from sqlalchemy import select
from sqlalchemy.orm import Session, sessionmaker

from backend.audit.tables import AuditEntryRow, AuditReadRow
from backend.console import login, pages, plan_pages, review_pages
from backend.core.ids import VisitId
from backend.exhibits import queries
from backend.exhibits.actions import accept
from backend.exhibits.model import Accepted, Intake
from backend.exhibits.statements import open_statement
from backend.exhibits.tables import CopyRow, ItemRow
from backend.exhibits.transfers import Desk
from backend.keys.keyring import Keyring
from backend.policies.model import DEFAULT_POLICY
from backend.staff import logins
from backend.staff.tables import StaffRow
from backend.visits.for_evidence import facts_for_evidence
from backend.web.app import Resources
from backend.web.auth import console_actor, session_cookie
from evidence.facts import Kind
from evidence.manifest import Role
from tests.support.cases import approved_request
from tests.support.exhibits import ARRIVAL, CAPTURE, Handset, bring_to_rest, item, photograph, signed_once, signed_twice, sound
from tests.support.http import SteppedClock, make_client, make_resources, signed_in
from tests.support.phones import PUBLIC_URL
from tests.support.visits import PROMISE, outcome, planned_visit, report, right_party, solved_plan, started
from tests.support.world import Person, World, world

PHOTO, SOUND = photograph(), sound()
HOSTILE = "<script>alert('x')</script>"


@dataclass
class Browser:
    """Somebody's browser, signed in; `csrf` is what their pages' forms carry."""

    client: TestClient[Any]
    cookies: dict[str, str]
    csrf: str

    def get(self, path: str, **headers: str) -> Any:
        return self.client.get(path, headers={**self._cookie, **headers}, follow_redirects=False)

    def post(self, path: str, form: dict[str, Any], **headers: str) -> Any:
        return self.client.post(path, data=form, headers={**self._cookie, "Origin": PUBLIC_URL, **headers}, follow_redirects=False)

    @property
    def _cookie(self) -> dict[str, str]:
        return {"Cookie": "; ".join(f"{name}={value}" for name, value in self.cookies.items())}


Open = Callable[[Person], Browser]


@pytest.fixture
def made(joined: sessionmaker[Session], keyring: Keyring, now: datetime) -> World:
    with joined.begin() as session:
        return world(session, keyring, now)


@pytest.fixture
def resources(joined: sessionmaker[Session], keyring: Keyring, tmp_path: Path, now: datetime) -> Resources:
    return make_resources(joined, keyring, tmp_path, SteppedClock(now + timedelta(hours=1)))


@pytest.fixture
def client(resources: Resources, made: World) -> Iterator[TestClient[Any]]:
    own = [*pages.ROUTES, *plan_pages.ROUTES, *review_pages.ROUTES, *login.ROUTES]
    with make_client(resources, [signed_in(console_actor, own), *login.OPEN_ROUTES]) as client:
        yield client


@pytest.fixture
def browser(client: TestClient[Any], joined: sessionmaker[Session], resources: Resources) -> Open:
    def sign_in(person: Person) -> Browser:
        with joined.begin() as session:
            opened = logins.open_session(session, person.id, resources.clock())
        return Browser(client, {session_cookie(PUBLIC_URL): opened.token}, opened.csrf)

    return sign_in


@pytest.fixture
def visit_id(joined: sessionmaker[Session], keyring: Keyring, made: World) -> VisitId:
    """A visit of bilal and dong to a case of bank A, made and reported."""
    with joined.begin() as session:
        planned = planned_visit(session, keyring, made)
        started(session, keyring, made, planned)
        right_party(session, made, planned)
        outcome(session, keyring, made, planned, "promise", PROMISE)
        report(session, keyring, made, planned, reasons=HOSTILE)
        return planned.visit_id


@pytest.fixture
def files(joined: sessionmaker[Session], keyring: Keyring, made: World, resources: Resources, visit_id: VisitId) -> dict[bytes, str]:
    """The keys of a photo and a recording of that visit, signed, uploaded and stored."""
    with joined() as session:
        facts = facts_for_evidence(session, str(visit_id))
    assert facts is not None
    bilal, dong, at = Handset(made.bilal), Handset(made.dong), made.now

    def take(raw: bytes) -> Accepted:
        with joined.begin() as session:
            statement = open_statement(session, raw, made.now)
            return accept(
                session, made.bilal.on_phone, statement, Intake(visit=facts, policy=DEFAULT_POLICY, keyring=keyring, tenant="fieldvisit"), made.now)

    take(signed_twice(bilal, dong, bilal.payload(made, facts, Kind.ARRIVAL, ARRIVAL, partner=dong, at=at), at))
    items = (item(PHOTO, at=at), item(SOUND, Role.AUDIO, "audio/wav", at=at))
    captured = take(signed_once(bilal, bilal.payload(made, facts, Kind.CAPTURE, CAPTURE, items=items, at=at)))
    for content in (PHOTO, SOUND):
        bring_to_rest(joined, Desk(resources.store, resources.settings), keyring, captured, content)
    with joined() as session:
        return {content: str(session.scalars(select(ItemRow.id).where(ItemRow.size == len(content))).one()) for content in (PHOTO, SOUND)}


# -- Refused -------------------------------------------------------------------------------------------------------------------


def test_anonymous_is_sent_to_the_login_page_and_back(client: TestClient[Any], visit_id: VisitId) -> None:
    for path in ("/console/", f"/console/visits/{visit_id}"):
        answer = client.get(path, follow_redirects=False)
        assert answer.status_code == 303
        assert answer.headers["location"].startswith("/console/login?next=/console")
        assert answer.text == ""
    assert client.post("/console/copies", data={"purpose": "review", "item": str(visit_id)}, follow_redirects=False).status_code == 303


def test_SEC_01_another_banks_liaison_and_another_branch_get_404(browser: Open, made: World, visit_id: VisitId, files: dict[bytes, str]) -> None:
    for stranger in (made.chen, made.yara):
        looking = browser(stranger)
        assert looking.get(f"/console/visits/{visit_id}").status_code == 404
        assert looking.post("/console/copies", {"purpose": "bank", "item": files[PHOTO], "csrf": looking.csrf}).status_code == 404
        day = looking.get("/console/")
        assert day.status_code == 200
        assert str(visit_id) not in day.text


def test_a_role_that_never_reads_visits_is_told_so(browser: Open, made: World, visit_id: VisitId) -> None:
    looking = browser(made.gu)
    assert looking.get(f"/console/visits/{visit_id}").status_code == 403
    assert "您的角色" in looking.get("/console/").text


def test_SEC_01_a_dispatcher_sees_the_visit_without_its_evidence(browser: Open, made: World, visit_id: VisitId, files: dict[bytes, str]) -> None:
    looking = browser(made.farid)
    seen = looking.get(f"/console/visits/{visit_id}")
    assert seen.status_code == 200
    assert files[PHOTO] not in seen.text
    assert looking.post("/console/copies", {"purpose": "review", "item": files[PHOTO], "csrf": looking.csrf}).status_code == 403


def test_SEC_01_a_file_that_no_bank_gets_is_marked_for_both_and_the_banks_liaison_is_offered_no_copy(
    browser: Open, made: World, visit_id: VisitId, files: dict[bytes, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    told, offer = "不向银行提供", f'name="item" value="{files[PHOTO]}"'
    assert told not in browser(made.amina).get(f"/console/visits/{visit_id}").text
    assert offer in browser(made.lin).get(f"/console/visits/{visit_id}").text
    monkeypatch.setattr(queries, "withheld_of", lambda session, keys: frozenset(one for one in keys if str(one) == files[PHOTO]))
    for who, is_offered in ((made.amina, True), (made.lin, False)):
        page = browser(who).get(f"/console/visits/{visit_id}").text
        assert page.count(told) == 2                  # Beside the file, and counted among what keeps the evidence from being whole.
        assert (offer in page) is is_offered
    assert told in browser(made.amina).get("/console/reviews").text


@pytest.mark.parametrize(("form", "headers"), [({"csrf": ""}, {}), ({"csrf": "wrong"}, {}), ({}, {"Origin": "https://elsewhere.example"})])
def test_a_copy_is_only_made_for_a_form_of_our_own_page(
    browser: Open, joined: sessionmaker[Session], made: World, files: dict[bytes, str], form: dict[str, str], headers: dict[str, str]
) -> None:
    looking = browser(made.amina)
    answer = looking.post("/console/copies", {"purpose": "review", "item": files[PHOTO], "csrf": looking.csrf, **form}, **headers)
    assert answer.status_code == 403
    with joined() as session:
        assert session.scalars(select(CopyRow)).all() == []


@pytest.mark.parametrize("form", [{"purpose": "curiosity"}, {"item": "x"}, {"item": []}, {"extra": "1"}])
def test_a_form_that_does_not_fit_is_refused(browser: Open, made: World, files: dict[bytes, str], form: dict[str, Any]) -> None:
    looking = browser(made.amina)
    answer = looking.post("/console/copies", {"purpose": "review", "item": files[PHOTO], "csrf": looking.csrf, **form})
    assert answer.status_code in (400, 422)


def test_pictures_and_recordings_are_not_copied_together(browser: Open, joined: sessionmaker[Session], made: World, files: dict[bytes, str]) -> None:
    looking = browser(made.amina)
    answer = looking.post("/console/copies", {"purpose": "review", "item": [files[PHOTO], files[SOUND]], "csrf": looking.csrf})
    assert answer.status_code == 422
    with joined() as session:
        assert session.scalars(select(CopyRow)).all() == []


# -- Shown ---------------------------------------------------------------------------------------------------------------------


def test_SEC_01_the_day_shows_masked_names_and_the_read_is_recorded(
    browser: Open, joined: sessionmaker[Session], made: World, visit_id: VisitId
) -> None:
    for person in (made.amina, made.lin, made.wei):
        page = browser(person).get("/console/")
        assert page.status_code == 200
        assert f"/console/visits/{visit_id}" in page.text
        assert "已报告，待复核" in page.text
        assert person.name.capitalize() in page.text
    with joined() as session:
        readers = set(session.scalars(select(AuditEntryRow.actor_id).join(AuditReadRow, AuditReadRow.entry_id == AuditEntryRow.id)))
    assert {made.amina.id, made.lin.id, made.wei.id} <= readers


def test_another_day_is_another_page(browser: Open, made: World, visit_id: VisitId) -> None:
    looking = browser(made.amina)
    assert str(visit_id) in looking.get(f"/console/?on={made.today.isoformat()}").text
    tomorrow = looking.get(f"/console/?on={(made.today + timedelta(days=1)).isoformat()}")
    assert tomorrow.status_code == 200
    assert str(visit_id) not in tomorrow.text
    assert looking.get("/console/?on=yesterday").status_code == 422


def test_EVD_08_the_visit_shows_what_was_told_signed_and_stored(browser: Open, made: World, visit_id: VisitId, files: dict[bytes, str]) -> None:
    page = browser(made.lin).get(f"/console/visits/{visit_id}")
    assert page.status_code == 200
    for text in ("承诺还款", "本人核对一致", "外访开始", "Bilal", "Dong", files[PHOTO], files[SOUND], "已保存", "全程录音已保存"):
        assert text in page.text, text
    moments = re.findall(r'<li><time datetime="([^"]+)"', page.text)
    assert len(moments) >= 7
    assert moments == sorted(moments)


def test_both_languages(browser: Open, made: World, visit_id: VisitId) -> None:
    looking = browser(made.amina)
    assert '<html lang="zh-Hans">' in looking.get("/console/").text
    english = looking.get("/console/?lang=en")
    assert '<html lang="en">' in english.text
    assert "reported, review due" in english.text
    assert english.cookies["language"] == "en"
    assert "promise to pay" in looking.get(f"/console/visits/{visit_id}", **{"Accept-Language": "en"}).text


def test_words_of_others_are_shown_and_never_run(browser: Open, joined: sessionmaker[Session], made: World, visit_id: VisitId) -> None:
    with joined.begin() as session:
        session.get_one(StaffRow, made.bilal.id).name = HOSTILE
    looking = browser(made.amina)
    for path in ("/console/", f"/console/visits/{visit_id}"):
        page = looking.get(path)
        assert "<script" not in page.text
        assert "&lt;script&gt;alert" in page.text


def test_the_pages_run_no_script_and_no_inline_style(browser: Open, made: World, visit_id: VisitId, files: dict[bytes, str]) -> None:
    looking = browser(made.amina)
    shown = looking.post("/console/copies", {"purpose": "review", "item": files[PHOTO], "csrf": looking.csrf})
    for page in (looking.get("/console/"), looking.get(f"/console/visits/{visit_id}"), shown, looking.get(f"/console/visits/{made.amina.id}")):
        policy = page.headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'")
        assert "unsafe" not in policy
        assert page.headers["cache-control"] == "no-store"
        assert not re.search(r"<script|<style|\sstyle=|\son[a-z]+=|javascript:", page.text)


def test_ARCH_13_a_stamped_picture_is_shown_and_registered(
    browser: Open, joined: sessionmaker[Session], made: World, files: dict[bytes, str]
) -> None:
    looking = browser(made.lin)
    page = looking.post("/console/copies", {"purpose": "bank", "item": [files[PHOTO], files[PHOTO]], "csrf": looking.csrf})
    assert page.status_code == 200
    with joined() as session:
        (copy,) = session.scalars(select(CopyRow)).all()
        tags = set(session.scalars(select(AuditEntryRow.tag).where(AuditEntryRow.actor_id == made.lin.id)))
    assert (copy.copier_id, copy.purpose) == (made.lin.id, "bank")
    assert copy.number in page.text
    assert page.text.count('src="data:image/jpeg;base64,') == 1
    assert "evidence.copied" in tags


def test_ARCH_13_a_recording_is_handed_over_as_a_file(browser: Open, made: World, files: dict[bytes, str]) -> None:
    looking = browser(made.amina)
    answer = looking.post("/console/copies", {"purpose": "review", "item": files[SOUND], "csrf": looking.csrf})
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("audio/")
    assert answer.headers["content-disposition"] == f'attachment; filename="{answer.headers["x-register-number"]}.wav"'
    assert answer.headers["content-security-policy"].startswith("sandbox")


def test_signing_out_is_a_form_of_the_page(browser: Open, made: World) -> None:
    looking = browser(made.amina)
    (csrf,) = re.findall(r'action="/console/logout"><input type="hidden" name="csrf" value="([^"]+)"', looking.get("/console/").text)
    assert looking.post("/console/logout", {"csrf": csrf}).status_code == 303
    assert looking.get("/console/").status_code == 303


def test_the_page_of_a_plan_shows_routes_and_reasons_in_the_readers_language(
    browser: Open, joined: sessionmaker[Session], keyring: Keyring, made: World
) -> None:
    with joined.begin() as session:
        approved_request(session, keyring, made, 1)
        approved_request(session, keyring, made, 2, bank=made.bank_b)
        plan_id = solved_plan(session, made)
    assert browser(made.yara).get(f"/console/plans/{plan_id}").status_code == 404
    farid = browser(made.farid)
    told = farid.get(f"/console/plans/{plan_id}?lang=zh-Hans").text
    assert "待发布" in told
    assert "Bilal" in told
    assert "持有该银行有效证件" in told
    assert "ready to be published" in farid.get(f"/console/plans/{plan_id}?lang=en").text
