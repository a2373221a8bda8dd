"""The pages of evidence in a real browser without script, with everything that they can show: nothing scrolls sideways, every control has a name."""

from datetime import datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast
from uuid import UUID

from sqlalchemy.orm import Session, sessionmaker

from backend.auth.actors import Role as StaffRole
from backend.core.ids import VisitId
from backend.exhibits.actions import accept
from backend.exhibits.custody_model import ItemVerdict, MaskReason, SetMask
from backend.exhibits.findings import add_findings
from backend.exhibits.item_reviews import ReviewItem, review_item
from backend.exhibits.masks import set_mask
from backend.exhibits.model import Intake
from backend.exhibits.statements import open_statement
from backend.exhibits.tables import ManifestRow
from backend.keys.keyring import Keyring
from backend.policies.model import DEFAULT_POLICY
from backend.staff import logins
from backend.web.app import Resources
from evidence.facts import Kind
from evidence.model import Finding, Grade
from evidence.photo_marks import Box
from tests.support.belongings import belongings, photograph
from tests.support.browser import HOST, NEEDS_CHROMIUM, browsing
from tests.support.exhibits import CAPTURE, Handset, item, open_case, signed_once, visit_facts
from tests.support.http import SteppedClock, make_resources
from tests.support.visits import Planned, outcome, report
from tests.support.whole import IdleQueue
from tests.support.world import Person, World, add_person, world

pytestmark = NEEDS_CHROMIUM
LONG = "The bystander behind the door can be recognised; "
NAMELESS = """() => [...document.querySelectorAll('main :is(a, button, input:not([type=hidden]), select, summary, [role=region])')]
    .filter(one => !(one.getAttribute('aria-label') || one.innerText || (one.labels || []).length)).map(one => one.outerHTML)"""
UNBROKEN = """() => [...document.querySelectorAll('main *')].filter(one => !one.closest('.scroll, .unseen') && one.getBoundingClientRect().right >
    document.documentElement.clientWidth + 1).map(one => one.outerHTML.slice(0, 200))"""


def fill(session: Session, resources: Resources, made: World, things: dict[str, str]) -> None:
    """Say of the visit's picture everything that a page can tell: findings of each grade, words, a mask, and another bank's visit in it."""
    row, item_key = session.get_one(ManifestRow, UUID(things["manifest_id"])), UUID(things["item_key"])
    add_findings(session, row, (
        Finding(name="far-from-address", grade=Grade.DOUBT, rules=("EVD-10",), expected="at most 200 m from the address", got="731 m, accuracy 18 m"),
        Finding(name="exif-time-differs", grade=Grade.INFO, rules=(), expected="within 300 s of the statement", got="2026-11-27T01:12:44Z"),
        Finding(name="mock-location", grade=Grade.FRAUD_SIGN, rules=("EVD-09", "EVD-10"), expected="a position of the phone's receiver", got="mock"),
    ), made.now)
    for verdict, comment in ((ItemVerdict.COMMENT, LONG * 6), (ItemVerdict.RETURNED, "门牌不清楚，请重新拍摄。" * 12)):
        review_item(session, made.amina.actor, resources.keyring, ReviewItem(item_key=item_key, verdict=verdict, comment=comment), made.now)
    set_mask(session, made.amina.actor, SetMask(
        item_key=item_key, boxes=(Box(left=0, top=0, right=300, bottom=300),), reason=next(iter(MaskReason))), made.now)
    at = cast("Planned", SimpleNamespace(visit_id=VisitId(UUID(things["visit_id"]))))
    outcome(session, resources.keyring, made, at, "nobody_met")
    report(session, resources.keyring, made, at)
    case = open_case(session, resources.keyring, made, bank_id=made.bank_b.id)
    facts, phone = visit_facts(made, case, bank_id=made.bank_b.id), Handset(made.hana if made.hana.phone else made.dong)
    payload = phone.payload(made, facts, Kind.CAPTURE, CAPTURE, items=(item(photograph(), at=made.now - timedelta(minutes=5)),))
    intake = Intake(visit=facts, policy=DEFAULT_POLICY, keyring=resources.keyring, tenant=resources.settings.tenant)
    accept(session, phone.person.on_phone, open_statement(session, signed_once(phone, payload), made.now), intake, made.now)


def test_the_pages_of_evidence_fit_a_phone_and_a_desk_in_both_languages_with_everything_on_them(
    chromium: Any, joined: sessionmaker[Session], keyring: Keyring, tmp_path: Path, now: datetime
) -> None:
    with joined.begin() as session:
        made = world(session, keyring, now)
    resources = make_resources(joined, keyring, tmp_path, SteppedClock(now)).with_queue(IdleQueue())
    things = belongings(joined, resources, made)
    with joined.begin() as session:
        fill(session, resources, made, things)
        keeper = add_person(session, keyring, "keeper", StaffRole.ARCHIVE_ADMIN, branch_id=made.sh1, now=now)
        people: tuple[Person, ...] = (made.amina, made.lin, keeper)
        tokens = {person.name: logins.open_session(session, person.id, now).token for person in people}
    visit = f"/console/visits/{things['visit_id']}"
    pages = {
        made.amina.name: (visit, f"{visit}/recordings", "/console/reviews"),
        made.lin.name: (visit, f"/console/productions?case={things['case_id']}"), keeper.name: ("/console/destructions",),
    }
    with browsing(chromium, resources) as browser:
        for language in ("zh-Hans", "en"):
            for name, paths in pages.items():
                page = browser.window(tokens[name], language=language, viewport={"width": 390, "height": 900}, java_script_enabled=False)
                for path in paths:
                    assert page.goto(HOST + path).status == 200, path
                    page.evaluate("() => document.querySelectorAll('main details').forEach(one => one.setAttribute('open', ''))")
                    for width in (390, 1280):
                        page.set_viewport_size({"width": width, "height": 900})
                        main, about = page.locator("main"), f"{path} of {name} in {language} at {width}"
                        assert main.evaluate("() => document.documentElement.scrollWidth") <= width, about
                        assert main.evaluate(UNBROKEN) == [], about
                    assert main.evaluate(NAMELESS) == [], about
                page.context.close()
        page = browser.window(tokens[made.lin.name], language="en", viewport={"width": 390, "height": 900}, java_script_enabled=False)
        page.goto(HOST + visit)
        assert page.locator("select[name=verdict] option[value=returned]").count() > 0
        assert page.locator("select[name=verdict] option[value=rejected]").count() == 0, "a bank's person rejects nothing"
        assert "withheld from banks" in page.inner_text("main")
    assert browser.faults == []
