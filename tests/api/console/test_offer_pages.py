"""The pages of a case, of proposals and of daily closes: strangers first, then the agency that proposes and the bank that decides."""

import re
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from litestar.testing import TestClient
from sqlalchemy import select
from sqlalchemy.orm import Session, sessionmaker

from backend.banks import actions as bank_actions
from backend.cash import claims
from backend.console import cases, close_pages, offer_pages
from backend.core.fen import Fen
from backend.core.ids import VisitId
from backend.keys.keyring import Keyring
from backend.offers.model import Concession, ProposalStatus, monthly
from backend.offers.tables import ProposalRow
from backend.staff import logins
from backend.web.auth import console_actor, session_cookie
from tests.api.console.test_pages import Browser
from tests.support.cash import Door, door
from tests.support.http import SteppedClock, make_client, make_resources, signed_in
from tests.support.world import Person, world

Open = Callable[[Person], Browser]
CHANNELS = (("counter", "<b>银行柜台</b>", "At a counter"), ("mobile_bank", "手机银行", "In the bank's app"))


@pytest.fixture
def at(joined: sessionmaker[Session], keyring: Keyring, now: datetime) -> Door:
    with joined.begin() as session:
        made = door(session, keyring, world(session, keyring, now))
        for kind, chinese, english in CHANNELS:
            bank_actions.set_channel(
                session, made.made.oscar.actor, made.bank.id, kind=kind, text_zh=chinese, text_en=english, now=now)
        return made


@pytest.fixture
def client(joined: sessionmaker[Session], keyring: Keyring, tmp_path: Path, at: Door) -> Iterator[TestClient[Any]]:
    resources = make_resources(joined, keyring, tmp_path, SteppedClock(at.now + timedelta(minutes=1)))
    with make_client(resources, [signed_in(console_actor, [*offer_pages.ROUTES, *close_pages.ROUTES, *cases.ROUTES])]) as client:
        yield client


@pytest.fixture
def browser(client: TestClient[Any], joined: sessionmaker[Session], at: Door) -> Open:
    def open_as(person: Person) -> Browser:
        with joined.begin() as session:
            opened = logins.open_session(session, person.id, at.now)
        return Browser(client, {session_cookie("http"): opened.token}, opened.csrf)

    return open_as


def case_page(at: Door) -> str:
    return f"/console/cases/{at.case_id}"


def propose(browser: Open, at: Door, person: Person | None = None, **form: Any) -> Any:
    opened = browser(person or at.made.hana)
    return opened.post(f"{case_page(at)}/proposals", {"kind": "waiver", "yuan": "12.5", "csrf": opened.csrf} | form)


def press(browser: Open, at: Door, person: Person, verb: str, joined: sessionmaker[Session], **form: Any) -> int:
    with joined() as session:
        proposal_id = session.scalars(select(ProposalRow.id)).one()
    opened = browser(person)
    status: int = opened.post(f"/console/offers/{proposal_id}/{verb}", {"csrf": opened.csrf} | form).status_code
    return status


def status_of(joined: sessionmaker[Session]) -> ProposalStatus:
    with joined() as session:
        return session.scalars(select(ProposalRow.status)).one()


def test_strangers_get_404_and_other_roles_403(browser: Open, at: Door, joined: sessionmaker[Session]) -> None:
    assert propose(browser, at).status_code == 303
    for person in (at.made.chen, at.made.yara):
        assert browser(person).get(case_page(at)).status_code == 404
    assert propose(browser, at, at.made.yara).status_code == 404
    assert press(browser, at, at.made.nuo, "offer", joined, valid_to_on="2026-12-01") == 404
    for person, verb in ((at.made.amina, "offer"), (at.made.lin, "decline"), (at.made.mo, "withdraw"), (at.made.kai, "accept")):
        assert press(browser, at, person, verb, joined, **({"valid_to_on": "2026-12-01"} if verb == "offer" else {})) == 403
    assert browser(at.made.hana).get("/console/closes").status_code == 403
    for stranger in (at.made.chen, at.made.yara):
        assert "2026-11-27" not in browser(stranger).get("/console/offers?lang=en").text
    assert status_of(joined) is ProposalStatus.PROPOSED


def test_a_form_of_another_site_does_nothing(browser: Open, at: Door) -> None:
    opened = browser(at.made.hana)
    form = {"kind": "reactivation", "csrf": "wrong"}
    assert opened.post(f"{case_page(at)}/proposals", form).status_code == 403
    assert opened.post(f"{case_page(at)}/proposals", {"kind": "reactivation", "csrf": opened.csrf}, Origin="https://evil.example").status_code == 403


@pytest.mark.parametrize("form", [
    {"yuan": ""}, {"yuan": "0"}, {"yuan": "1e3"}, {"yuan": "-1"}, {"yuan": "9" * 13}, {"kind": "deferral"}, {"kind": "deferral", "on": "2026-02-30"},
    {"kind": "deferral", "on": "9999-12-31"}, {"kind": "instalment", "yuan": "10"}, {"parts": "0"},
    {"parts": "61"}, {"kind": "nonsense"}, {"kind": "instalment", "yuan": "0.02", "on": "2026-12-01", "parts": "3"}, {"extra": "1"},
])
def test_a_proposal_that_does_not_fit_is_refused(browser: Open, at: Door, form: dict[str, str]) -> None:
    assert propose(browser, at, **form).status_code in (400, 422)


def test_CASH_10_the_case_shows_the_banks_own_channels_before_anything_else(browser: Open, at: Door) -> None:
    page = browser(at.made.hana).get(f"{case_page(at)}?lang=en").text
    headings = re.findall(r"<h2[^>]*>(.*?)</h2>", page)
    assert headings[0] == "Offer these first: ways to pay the bank directly"
    assert "At a counter" in page and page.index("At a counter") < page.index("What may be promised") < page.index("Amount")  # noqa: PT018
    chinese = browser(at.made.hana).get(f"{case_page(at)}?lang=zh-Hans").text
    assert "&lt;b&gt;银行柜台&lt;/b&gt;" in chinese, "what others wrote is shown and never read as markup"
    told = browser(at.made.hana).get(f"/api/v1/cases/{at.case_id}").json()
    assert [one["kind"] for one in told["paymentChannels"]] == ["app", "counter", "mobile_bank"]
    assert told["offers"] == []


def test_CONT_18_nothing_but_the_banks_offer_may_be_promised(browser: Open, at: Door, joined: sessionmaker[Session]) -> None:
    warning = "Promise no spared late fee and no restored credit line"
    assert warning in browser(at.made.hana).get(f"{case_page(at)}?lang=en").text
    propose(browser, at)
    assert warning in browser(at.made.hana).get(f"{case_page(at)}?lang=en").text, "a proposal promises nothing"
    assert press(browser, at, at.made.mo, "offer", joined, valid_to_on="2026-12-31") == 303
    page = browser(at.made.hana).get(f"{case_page(at)}?lang=en").text
    assert warning not in page
    assert "¥12.50" in page.split("What may be promised")[1].split("Amount")[0]
    [offer] = browser(at.made.hana).get(f"/api/v1/cases/{at.case_id}").json()["offers"]
    assert (offer["terms"]["kind"], offer["isOffer"]) == ("waiver", True)


def test_BANK_01_the_agency_proposes_and_the_bank_decides_on_the_page(browser: Open, at: Door, joined: sessionmaker[Session]) -> None:
    propose(browser, at, kind="instalment", yuan="1000.01", on="2026-12-31", parts="3")
    mine, theirs = browser(at.made.hana).get("/console/offers?lang=en").text, browser(at.made.mo).get("/console/offers?lang=en").text
    assert "/withdraw" in mine and "/offer" not in mine.replace("/console/offers", "")  # noqa: PT018
    assert "/decline" in theirs and "valid_to_on" in theirs and "/withdraw" not in theirs  # noqa: PT018
    assert press(browser, at, at.made.mo, "offer", joined, valid_to_on="2020-01-01") == 422
    assert press(browser, at, at.made.mo, "offer", joined, valid_to_on="2026-12-31") == 303
    assert press(browser, at, at.made.mo, "decline", joined) == 409
    assert "/accept" in browser(at.made.hana).get("/console/offers").text
    assert press(browser, at, at.made.hana, "accept", joined) == 303
    assert status_of(joined) is ProposalStatus.ACCEPTED
    assert press(browser, at, at.made.mo, "revoke", joined) == 409


def test_a_stopped_case_says_so_and_offers_no_form(browser: Open, at: Door, joined: sessionmaker[Session]) -> None:
    told = claims.WitnessedPayment(
        visit_id=VisitId(at.visit_id), amount_fen=Fen(300), channel="mobile_bank", paid_at=at.taken_at, witnessed_at=at.taken_at)
    with joined.begin() as session:
        claims.claim(session, at.made.bilal.on_phone, told, at.now)
    page = browser(at.made.amina).get(f"{case_page(at)}?lang=en").text
    assert "Not to be collected · payment claimed, not confirmed yet" in page
    assert "¥3.00" in page
    assert f"{case_page(at)}/proposals" not in page


def test_a_cashier_closes_a_day_and_the_bank_reads_its_part(browser: Open, at: Door, joined: sessionmaker[Session]) -> None:
    with joined.begin() as session:
        at.session = session
        at.take(at.lease()[0], 600, at.authorise())
    kai = browser(at.made.kai)
    form = {"csrf": kai.csrf, "branch_id": str(at.made.sh1), "on": at.made.today.isoformat()}
    assert browser(at.made.lin).get("/console/closes?lang=en").text.count("<section") == 0
    assert kai.post("/console/closes", form).status_code == 303
    assert kai.post("/console/closes", form).status_code == 409
    assert kai.post("/console/closes", form | {"branch_id": str(at.made.bj1)}).status_code == 404
    for person in (at.made.kai, at.made.lin):
        page = browser(person).get("/console/closes?lang=en").text
        assert page.count("<section") == 1
        assert "¥6.00" in page and "money still held" in page  # noqa: PT018
    assert browser(at.made.chen).get("/console/closes?lang=en").text.count("<section") == 0
    assert kai.get("/console/closes?cursor=nonsense").status_code in (400, 422)
    assert "日结" in kai.get("/console/closes?lang=zh-Hans").text


def test_the_pages_run_no_script(browser: Open, at: Door) -> None:
    propose(browser, at, kind="reactivation")
    for path in (case_page(at), "/console/offers", "/console/closes"):
        page = browser(at.made.amina).get(path).text
        assert "<script" not in page and "style=" not in page and "onclick" not in page, path  # noqa: PT018


def test_monthly_parts_add_up_and_end_with_the_month(now: datetime) -> None:
    parts = monthly(Fen(100_001), now.date().replace(month=1, day=31), 3)
    assert [(one.due_on.isoformat()[5:], one.amount_fen) for one in parts] == [("01-31", 33_335), ("02-28", 33_333), ("03-31", 33_333)]
    assert sum(one.amount_fen for one in parts) == 100_001
    assert all(kind.value for kind in Concession)
