"""A dispatcher's pages in a real browser without script, in both languages, on a phone's width and a desk's: nothing scrolls sideways."""

import os
import shutil
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from litestar.testing import TestClient
from sqlalchemy.orm import Session, sessionmaker

from backend.cli.app import create_app
from backend.keys.keyring import Keyring
from backend.staff import logins
from tests.api.console.test_plan_pages import Day
from tests.support.http import SteppedClock, make_resources
from tests.support.visits import solved_plan
from tests.support.whole import IdleQueue
from tests.support.world import world

playwright = pytest.importorskip("playwright.sync_api")
HOST = "http://127.0.0.1:8000"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = [pytest.mark.browser, pytest.mark.skipif(CHROMIUM is None and os.environ.get("CI") != "true", reason="no Chromium on this machine")]


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


def test_a_dispatchers_pages_fit_a_phone_and_a_desk_in_both_languages(
    chromium: Any, joined: sessionmaker[Session], keyring: Keyring, tmp_path: Path, now: datetime
) -> None:
    with joined.begin() as session:
        made = world(session, keyring, now)
        day = Day(session, keyring, made)
        ready = solved_plan(session, made)
        token = logins.open_session(session, made.farid.id, now).token
    visit, bilal = day.visits[0].request_id, made.bilal.id
    events = f"sick={bilal}&urgent={day.extra.request_id}&office={made.bank_a.office_id}&closed_from=14:00&late=1&free_at=14:30"
    paths = (
        "/console/plans", day.path, f"{day.path}/replan?{events}", f"/console/plans/{ready}",
        f"/console/plans/{ready}/draft?change=move.{visit}.1.3&do=pair&route=1&a={bilal}&b={bilal}",
        f"/console/plans/{ready}/draft?do=remove&visit={visit}",
    )
    faults: list[str] = []
    with TestClient(create_app(make_resources(joined, keyring, tmp_path, SteppedClock(now)).with_queue(IdleQueue())), base_url=HOST) as client:

        def answer(route: Any, request: Any) -> None:
            headers = {name: value for name, value in request.all_headers().items() if name not in ("host", "content-length")}
            told = client.request(request.method, request.url, headers=headers, follow_redirects=False)
            dropped = ("content-length", "content-encoding", "transfer-encoding")
            route.fulfill(
                status=told.status_code, headers={name: value for name, value in told.headers.items() if name not in dropped}, body=told.content)

        for language in ("zh-Hans", "en"):
            for width in (390, 1280):
                context = chromium.new_context(viewport={"width": width, "height": 900}, java_script_enabled=False)
                cookies = {"session": token, "language": language}
                context.add_cookies([{"name": name, "value": value, "url": HOST} for name, value in cookies.items()])
                page = context.new_page()
                page.on("console", lambda said: faults.append(said.text) if said.type == "error" else None)
                page.route("**/*", answer)
                for path in paths:
                    page.goto(HOST + path)
                    assert page.get_attribute("html", "lang") == language, path
                    wide = page.locator("main").evaluate("() => document.documentElement.scrollWidth")
                    assert wide <= width, f"{path} in {language} is {wide} wide on {width}"
                page.click("summary >> nth=0")
                assert page.locator("details[open] button").is_visible()
                context.close()
    assert faults == []
