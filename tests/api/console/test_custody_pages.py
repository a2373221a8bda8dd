"""The pages of productions, destructions, renewals and witnesses: strangers first, then what each of the people may do, in both languages."""

import base64
import hashlib
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from litestar.testing import TestClient
from sqlalchemy import select
from sqlalchemy.orm import Session, sessionmaker

from backend.archive.tables import DestructionRow, ProductionRow
from backend.audit.tables import AuditEntryRow, AuditReadRow, LogWitnessRow
from backend.auth.actors import Role as StaffRole
from backend.console import custody, custody_pages, packs
from backend.exhibits.tables import ItemRow
from backend.keys.keyring import Keyring
from backend.staff import logins
from backend.staff.tables import DeviceRenewalRow
from backend.web.app import Resources
from backend.web.auth import console_actor, session_cookie
from evidence.witness import enrolment_text
from tests.api.console.test_pages import Browser
from tests.support.belongings import belongings
from tests.support.http import SteppedClock, console_headers, make_client, make_resources, signed_in
from tests.support.world import Person, World, add_person, world

Open = Callable[[Person], Browser]
LISTS = ("productions", "destructions", "renewals", "witnesses")


class Desk:
    """Everything of one case of bank A that these pages show, and the people who act on it."""

    def __init__(self, sessions: sessionmaker[Session], resources: Resources, made: World) -> None:
        self.sessions, self.resources, self.made = sessions, resources, made
        self.things = belongings(sessions, resources, made)
        with sessions.begin() as session:
            self.chief = add_person(session, resources.keyring, "chief", StaffRole.GENERAL_MANAGER, now=made.now)
            self.keeper = add_person(session, resources.keyring, "keeper", StaffRole.ARCHIVE_ADMIN, branch_id=made.sh1, now=made.now)

    def things_uuid(self, name: str) -> UUID:
        """Return one of the things' ids."""
        return UUID(self.things[name])


@pytest.fixture
def desk(joined: sessionmaker[Session], keyring: Keyring, tmp_path: Path, now: Any) -> Desk:
    with joined.begin() as session:
        made = world(session, keyring, now)
    return Desk(joined, make_resources(joined, keyring, tmp_path, SteppedClock(made.now + timedelta(minutes=1))), made)


@pytest.fixture
def client(desk: Desk) -> Iterator[TestClient[Any]]:
    routes = [*custody_pages.ROUTES, *custody.ROUTES, *packs.ROUTES]
    with make_client(desk.resources, [signed_in(console_actor, routes)]) as client:
        yield client


@pytest.fixture
def browser(client: TestClient[Any], desk: Desk) -> Open:
    def open_as(person: Person) -> Browser:
        with desk.sessions.begin() as session:
            opened = logins.open_session(session, person.id, desk.made.now)
        return Browser(client, {session_cookie("http"): opened.token}, opened.csrf)

    return open_as


def press(browser: Open, person: Person, path: str, **form: Any) -> Any:
    opened = browser(person)
    return opened.post(path, {"csrf": opened.csrf} | form)


def asked(desk: Desk) -> dict[str, Any]:
    return {"case_id": desk.things["case_id"], "item": desk.things["item_key"], "recipient": "court", "x": desk.things["key_x"],
            "y": desk.things["key_y"], "purpose": "litigation", "reason": "a suit"}


def test_SEC_01_another_banks_person_and_another_branch_see_none_of_it(browser: Open, desk: Desk) -> None:
    made, things = desk.made, desk.things
    for person in (made.chen, made.yara):
        for name in ("productions", "destructions"):
            text = browser(person).get(f"/console/{name}").text
            assert things["production_id"][:12] not in text, (person.name, name)
            assert things["case_id"] not in text, (person.name, name)
    assert browser(made.chen).get(f"/console/productions?case={things['case_id']}").status_code == 404
    assert browser(made.chen).get(f"/console/destructions?case={things['case_id']}").status_code == 404
    assert things["witness"] not in browser(made.chen).get("/console/witnesses").text
    assert press(browser, made.chen, "/console/productions", **asked(desk)).status_code == 404


def test_forms_without_their_token_change_nothing(browser: Open, desk: Desk) -> None:
    opened = browser(desk.made.lin)
    assert opened.post("/console/productions", asked(desk) | {"csrf": "x"}).status_code == 403
    opened = browser(desk.keeper)
    assert opened.post(f"/console/destructions/{desk.things['destruction_id']}/decision", {"csrf": "", "answer": "approve"}).status_code == 403
    with desk.sessions() as session:
        assert session.get_one(DestructionRow, desk.things_uuid("destruction_id")).is_approved is None


@pytest.mark.parametrize(("language", "said"), [
    ("en", ("Productions of originals", "Destruction of evidence", "Renewed phones", "Witnesses of the log")),
    ("zh-Hans", ("原件调取", "证据销毁", "手机密钥换发", "日志见证方")),
])
def test_the_pages_speak_both_languages(browser: Open, desk: Desk, language: str, said: tuple[str, ...]) -> None:
    for name, title in zip(LISTS, said, strict=True):
        person = desk.made.amina if name == "renewals" else desk.made.lin
        shown = browser(person).get(f"/console/{name}", **{"Accept-Language": language})
        assert shown.status_code == 200, (name, shown.text[:300])
        assert f"<h1>{title}</h1>" in shown.text
        assert "<script" not in shown.text or "htmx" in shown.text


def test_EVD_08_ARCH_11_a_production_is_asked_approved_twice_and_made(browser: Open, desk: Desk) -> None:
    made = desk.made
    form = browser(made.lin).get(f"/console/productions?case={desk.things['case_id']}").text
    assert desk.things["item_key"] in form
    assert press(browser, made.lin, "/console/productions", **asked(desk)).status_code == 303
    with desk.sessions() as session:
        newest = session.scalars(select(ProductionRow).order_by(ProductionRow.id.desc())).first()
        assert newest is not None
        path = f"/console/productions/{newest.id}"
    assert press(browser, made.lin, f"{path}/pack").status_code == 409                       # Not approved yet: the page says so.
    assert press(browser, made.lin, f"{path}/decision", answer="approve").status_code == 403
    assert press(browser, desk.keeper, f"{path}/decision", answer="approve").status_code == 303
    refused = press(browser, desk.keeper, f"{path}/decision", answer="approve")
    assert refused.status_code == 409
    assert "text/html" in refused.headers["content-type"]
    assert "ARCH-11" in refused.text
    assert press(browser, desk.chief, f"{path}/decision", answer="approve").status_code == 303
    assert press(browser, made.lin, f"{path}/pack").status_code == 303
    with desk.sessions() as session:
        pack_id = session.get_one(ProductionRow, newest.id).pack_id
    assert f"/api/v1/packs/{pack_id}/content" in browser(made.lin).get("/console/productions").text


def test_EVD_08_sealed_originals_are_fetched_in_pieces_and_each_fetch_is_recorded(browser: Open, client: TestClient[Any], desk: Desk) -> None:
    made = desk.made
    press(browser, made.lin, "/console/productions", **asked(desk))
    with desk.sessions() as session:
        production_id = session.scalars(select(ProductionRow.id).order_by(ProductionRow.id.desc())).first()
    for person in (desk.keeper, desk.chief):
        press(browser, person, f"/console/productions/{production_id}/decision", answer="approve")

    def at(person: Person, **headers: str) -> dict[str, str]:
        with desk.sessions.begin() as session:
            return console_headers(session, person, made.now) | {name.replace("_", "-"): text for name, text in headers.items()}

    view = client.post(f"/api/v1/productions/{production_id}/pack", headers=at(made.lin)).json()
    path, size = f"/api/v1/packs/{view['id']}/content", view["size"]
    got = b""
    for cut in (1, 1_000, size):
        answer = client.get(path, headers=at(made.lin, Range=f"bytes={len(got)}-", If_Range=f'"{view["sha256"]}"'))
        assert answer.status_code == (206 if got else 200)
        assert answer.headers["accept-ranges"] == "bytes"
        got += answer.content[:cut]
    assert hashlib.sha256(got).hexdigest() == view["sha256"]
    assert client.get(path, headers=at(made.lin, Range=f"bytes={size}-")).status_code == 416
    assert client.get(path, headers=at(made.chen)).status_code == 404
    assert client.get(path, headers=at(desk.chief)).status_code in (403, 404)              # Approved it; it is not theirs to receive.
    with desk.sessions() as session:
        fetched = session.scalars(select(AuditEntryRow).where(
            AuditEntryRow.subject == f"pack:{view['id']}", AuditEntryRow.tag == "evidence.pack-fetched").order_by(AuditEntryRow.seq)).all()
        assert [(row.actor_id, row.details["start"], row.details["end"]) for row in fetched] == [
            (made.lin.id, 0, size), (made.lin.id, 1, size), (made.lin.id, 1_001, size)]
        reads = select(AuditReadRow.subject_id).join(AuditEntryRow, AuditEntryRow.id == AuditReadRow.entry_id).where(
            AuditEntryRow.actor_id == made.lin.id, AuditReadRow.subject_id == desk.things_uuid("case_id"))
        assert len(session.scalars(reads).all()) >= 3


def test_EVD_02_a_destruction_takes_two_people_and_says_what_stands_against_it(browser: Open, desk: Desk) -> None:
    made, things = desk.made, desk.things
    path = f"/console/destructions/{things['destruction_id']}/decision"
    with desk.sessions() as session:
        proposer = session.get_one(DestructionRow, desk.things_uuid("destruction_id")).proposed_by
    second = next(one for one in (desk.keeper, desk.chief) if one.id != proposer)
    assert press(browser, made.lin, path, answer="refuse").status_code == 403
    assert press(browser, second, path, answer="refuse").status_code == 303
    with desk.sessions() as session:
        assert session.get_one(DestructionRow, desk.things_uuid("destruction_id")).is_approved is False
    again = press(browser, second, "/console/destructions", case_id=things["case_id"], ground="term_over")
    assert again.status_code == 409                                                          # An open case, and terms that are not over.
    assert "EVD-0" in again.text
    term = press(browser, second, "/console/destructions/terms", case_id=things["case_id"], until_on="2040-01-01")
    assert (term.status_code, term.headers["location"]) == (303, f"/console/destructions?case={things['case_id']}")
    with desk.sessions() as session:
        terms = set(session.scalars(select(ItemRow.retained_until_at).where(ItemRow.seal_subject == desk.things_uuid("case_id"))))
    assert None not in terms
    for day in ("0001-01-01", "9999-12-31"):
        assert press(browser, second, "/console/destructions/terms", case_id=things["case_id"], until_on=day).status_code in (400, 422)


def test_a_renewal_is_granted_by_somebody_else(browser: Open, desk: Desk) -> None:
    made, path = desk.made, f"/console/renewals/{desk.things['renewal_id']}/approve"
    assert desk.things["kid"][:12] in browser(made.amina).get("/console/renewals").text
    assert press(browser, made.hana, path).status_code == 403
    assert press(browser, made.yara, path).status_code == 404
    assert press(browser, made.amina, path).status_code == 303
    assert press(browser, made.amina, path).status_code in (404, 409)
    with desk.sessions() as session:
        assert session.get_one(DeviceRenewalRow, desk.things_uuid("renewal_id")).approved_by == made.amina.id


def test_a_witness_is_enrolled_and_ended_by_the_banks_own_authoriser(browser: Open, desk: Desk) -> None:
    made, key = desk.made, Ed25519PrivateKey.generate()
    raw = key.public_key().public_bytes_raw()
    proof = key.sign(enrolment_text(
        origin=desk.resources.origin, bank=str(made.bank_a.id), staff=str(made.mo.id), name="w.example/new"))
    form = {"name": "w.example/new", "key": base64.b64encode(raw).decode(), "proof": base64.b64encode(proof).decode()}
    assert press(browser, made.lin, "/console/witnesses", **form).status_code == 403
    broken = press(browser, made.mo, "/console/witnesses", **(form | {"proof": "A" * 86 + "=="}))
    assert broken.status_code == 422
    assert press(browser, made.mo, "/console/witnesses", **form).status_code == 303
    shown = browser(made.mo).get("/console/witnesses").text
    assert "w.example/new" in shown
    assert press(browser, made.nuo, "/console/witnesses/end", name="w.example/new").status_code == 404
    assert press(browser, made.mo, "/console/witnesses/end", name="w.example/new").status_code == 303
    with desk.sessions() as session:
        assert session.scalars(select(LogWitnessRow.revoked_at).where(LogWitnessRow.name == "w.example/new")).one() is not None
