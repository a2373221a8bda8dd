"""The bank's key in a real browser: made there, kept there, not to be copied out; what it signs is believed by server and phone."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session, sessionmaker

from backend.banks.model import KeyHardware
from backend.banks.tables import BankKeyRow
from backend.cash.model import RequestStatus
from backend.cash.tables import AuthorisationRequestRow, AuthorisationRow
from backend.cash.tokens import read_token
from backend.keys.keyring import Keyring
from backend.staff import logins
from evidence.keys import key_from_jwk
from tests.support.browser import HOST, NEEDS_CHROMIUM, Browsing, browsing
from tests.support.cash import Door, door
from tests.support.http import SteppedClock, make_resources
from tests.support.whole import IdleQueue
from tests.support.world import Person, world

pytestmark = NEEDS_CHROMIUM


class Desk:
    """An authoriser's browser on the whole application."""

    def __init__(self, browser: Browsing, at: Door, sessions: sessionmaker[Session]) -> None:
        self.browser, self.at, self.sessions = browser, at, sessions

    @property
    def faults(self) -> list[str]:
        return self.browser.faults

    def open(self, person: Person) -> Any:
        with self.sessions.begin() as session:
            opened = logins.open_session(session, person.id, self.at.now)
        page = self.browser.window(opened.token, at=self.at.now, locale="en-GB")
        page.goto(f"{HOST}/console/authority")
        return page


@pytest.fixture
def desk(chromium: Any, joined: sessionmaker[Session], keyring: Keyring, tmp_path: Path, now: Any) -> Iterator[Desk]:
    with joined.begin() as session:
        at = door(session, keyring, world(session, keyring, now))
    with browsing(chromium, make_resources(joined, keyring, tmp_path, SteppedClock(now)).with_queue(IdleQueue())) as browser:
        yield Desk(browser, at, joined)


def ask(desk: Desk, cap_fen: int = 300_000) -> Any:
    with desk.sessions.begin() as session:
        desk.at.session = session
        return desk.at.request(cap_fen=cap_fen, at=desk.at.now - timedelta(minutes=2))


KEY_THERE, ANSWERED = "#key-state[data-kid]:not([data-kid=''])", ".result[data-state]"
STEAL = """async () => {
  const database = await new Promise((done) => {
    const asked = indexedDB.open("fieldvisit-authority", 1); asked.onsuccess = () => done(asked.result); });
  const pairs = await new Promise((done) => {
    const asked = database.transaction("keys").objectStore("keys").getAll(); asked.onsuccess = () => done(asked.result); });
  const refusals = [];
  for (const format of ["jwk", "pkcs8"]) {
    try { await crypto.subtle.exportKey(format, pairs[0].privateKey); refusals.push("given"); } catch (error) { refusals.push(error.name); }
  }
  return [pairs.length, pairs[0].privateKey.extractable, ...refusals];
}"""


def test_CASH_04_a_key_made_in_the_browser_signs_the_authorisation_and_cannot_be_taken_out(desk: Desk) -> None:
    request_id = ask(desk)
    page = desk.open(desk.at.made.mo)
    card = page.locator("article.request")
    assert "no bank within 60 km" in card.inner_text()
    assert card.locator("button.grant").is_disabled(), "no key, no signature"
    page.click("#make-key")
    page.wait_for_selector(KEY_THERE)
    kid = page.get_attribute("#key-state", "data-kid")
    with desk.sessions() as session:
        key = session.get_one(BankKeyRow, kid)
        assert (key.hardware, key.enrolled_by, key.bank_id) == (KeyHardware.WEBCRYPTO, desk.at.made.mo.id, desk.at.bank.id)
        public = key_from_jwk(key.public_jwk)
    assert page.evaluate(STEAL) == [1, False, "InvalidAccessError", "InvalidAccessError"]
    page.reload()
    page.wait_for_selector(KEY_THERE)
    assert page.get_attribute("#key-state", "data-kid") == kid, "the key outlives the page"
    page.click("article.request button.grant")
    page.wait_for_selector(ANSWERED)
    assert page.get_attribute(".result", "data-state") == "done", page.inner_text(".result")
    with desk.sessions() as session:
        granted = session.scalars(select(AuthorisationRow).where(AuthorisationRow.request_id == request_id)).one()
        assert (granted.kid, granted.hardware, granted.cap_fen) == (kid, KeyHardware.WEBCRYPTO, 300_000)
        claims = read_token(granted.token, lambda named: public if named == kid else None)
        assert (claims.case, sorted(claims.devices)) == (str(desk.at.case_id), sorted([desk.at.first.kid, desk.at.second.kid]))
    assert desk.faults == []


def test_CASH_04_a_large_sum_takes_a_second_person_before_the_browser_offers_to_sign(desk: Desk) -> None:
    request_id = ask(desk, cap_fen=desk.at.policy.second_authoriser_from_fen)
    page = desk.open(desk.at.made.mo)
    assert page.locator("button.grant").count() == 0
    page.click("button.second")
    page.wait_for_selector(ANSWERED)
    with desk.sessions() as session:
        row = session.get_one(AuthorisationRequestRow, request_id)
        assert (row.status, row.seconded_by) == (RequestStatus.SECONDED, desk.at.made.mo.id)
    page.reload()
    page.click("#make-key")
    page.wait_for_selector(KEY_THERE)
    page.click("button.grant")
    page.wait_for_selector(ANSWERED)
    assert page.get_attribute(".result", "data-state") == "failed", "the same person is not two"
    with desk.sessions() as session:
        assert session.scalars(select(AuthorisationRow.jti)).all() == []


def test_CASH_04_nobody_else_has_the_page_and_silence_runs_out_before_their_eyes(desk: Desk) -> None:
    ask(desk)
    for person in (desk.at.made.lin, desk.at.made.amina, desk.at.made.oscar):
        page = desk.open(person)
        assert page.locator("article.request").count() == 0
        assert page.locator("#make-key").count() == 0
    page = desk.open(desk.at.made.nuo)
    assert page.locator("article.request").count() == 0, "another bank's requests"
    page = desk.open(desk.at.made.mo)
    assert page.inner_text(".countdown") in ("28:00", "27:59")
