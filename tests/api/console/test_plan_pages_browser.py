"""A dispatcher's pages in a real browser without script, in both languages, on a phone's width and a desk's: nothing scrolls sideways."""

from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy.orm import Session, sessionmaker

from backend.keys.keyring import Keyring
from backend.staff import logins
from tests.api.console.test_plan_pages import Day
from tests.support.browser import HOST, NEEDS_CHROMIUM, browsing
from tests.support.http import SteppedClock, make_resources
from tests.support.visits import solved_plan
from tests.support.whole import IdleQueue
from tests.support.world import world

pytestmark = NEEDS_CHROMIUM


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
    with browsing(chromium, make_resources(joined, keyring, tmp_path, SteppedClock(now)).with_queue(IdleQueue())) as browser:
        for language in ("zh-Hans", "en"):
            for width in (390, 1280):
                page = browser.window(token, language=language, viewport={"width": width, "height": 900}, java_script_enabled=False)
                for path in paths:
                    page.goto(HOST + path)
                    assert page.get_attribute("html", "lang") == language, path
                    wide = page.locator("main").evaluate("() => document.documentElement.scrollWidth")
                    assert wide <= width, f"{path} in {language} is {wide} wide on {width}"
                page.click("summary >> nth=0")
                assert page.locator("details[open] button").is_visible()
                page.context.close()
    assert browser.faults == []
