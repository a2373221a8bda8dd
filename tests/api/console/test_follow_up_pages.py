"""The pages of what follows a ruling of fraud: strangers first, then what the bank tells and the agency reads, in both languages (DECL-09)."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from litestar.testing import TestClient
from sqlalchemy.orm import Session, sessionmaker

from backend.cases.model import SuspensionReason
from backend.console import follow_ups, offer_pages, pages
from backend.core.ids import CaseId, DisputeId, VisitId, new_id
from backend.disputes import actions
from backend.disputes.model import Ruling, StateDispute
from backend.keys.keyring import Keyring
from backend.staff import logins
from backend.web.auth import console_actor, session_cookie
from tests.api.console.test_pages import Browser
from tests.support.cash import door
from tests.support.http import SteppedClock, make_client, make_resources, signed_in
from tests.support.world import Person, World, world


class Office:
    """A case of bank A, ruled to be fraud, and everybody's browser."""

    def __init__(self, sessions: sessionmaker[Session], client: TestClient[Any], made: World, case_id: CaseId, visit_id: VisitId) -> None:
        self.sessions, self.client, self.made, self.case_id, self.visit_id = sessions, client, made, case_id, visit_id

    def open(self, person: Person) -> Browser:
        with self.sessions.begin() as session:
            opened = logins.open_session(session, person.id, self.made.now)
        return Browser(self.client, {session_cookie("http"): opened.token}, opened.csrf)


@pytest.fixture
def dispute_id() -> DisputeId:
    return DisputeId(new_id())


@pytest.fixture
def office(joined: sessionmaker[Session], keyring: Keyring, tmp_path: Path, now: datetime, dispute_id: DisputeId) -> Iterator[Office]:
    with joined.begin() as session:
        made = world(session, keyring, now)
        at = door(session, keyring, made)
        denial = StateDispute(
            dispute_id=dispute_id, case_id=at.case_id, visit_id=at.visit_id, kind=SuspensionReason.DENIES_SPENDING, stated_at=at.now)
        actions.state_dispute(session, made.bilal.actor, denial, at.policy, at.now)
        actions.rule_dispute(session, made.lin.actor, dispute_id, Ruling.FRAUD, at.now, keyring=keyring)
        case_id, visit_id = at.case_id, at.visit_id
    resources = make_resources(joined, keyring, tmp_path, SteppedClock(made.now + timedelta(minutes=1)))
    with make_client(resources, [signed_in(console_actor, [*follow_ups.ROUTES, *offer_pages.ROUTES, *pages.ROUTES])]) as client:
        yield Office(joined, client, made, case_id, visit_id)


def act(office: Office, person: Person, dispute_id: DisputeId, name: str, **changes: str) -> Any:
    """Send the case page's form."""
    opened = office.open(person)
    occurred = (office.made.now + timedelta(hours=8)).replace(tzinfo=None, microsecond=0) + timedelta(seconds=30)
    form = {"csrf": opened.csrf, "act": name, "occurred": occurred.isoformat(), "reference": "FILE-7", "reason": "", **changes}
    return opened.post(f"/console/disputes/{dispute_id}/follow-ups", form)


def test_SEC_01_DECL_09_strangers_and_the_agency_tell_nothing(office: Office, dispute_id: DisputeId) -> None:
    made = office.made
    for person, status in ((made.amina, 403), (made.hana, 403), (made.chen, 404)):
        assert act(office, person, dispute_id, "deletion_requested").status_code == status, person.name
    assert act(office, made.lin, dispute_id, "deletion_requested", csrf="x").status_code == 403
    for unsound in ({"occurred": "2026-11-27T09:00:00Z"}, {"occurred": "yesterday, noon."}, {"item": "none"}, {"reference": " "}):
        assert act(office, made.lin, dispute_id, "police_reported", **unsound).status_code in (400, 422), unsound
    assert str(office.case_id) not in office.open(made.chen).get("/console/follow-ups").text
    assert office.open(made.hana).get("/console/follow-ups").status_code == 403
    assert str(office.case_id) in office.open(made.lin).get("/console/follow-ups").text


@pytest.mark.parametrize(("language", "words"), [
    ("en", ("After the ruling of fraud", "deletion to be requested", "deletion requested", "After rulings of fraud")),
    ("zh-Hans", ("欺诈认定之后的处理", "待申请删除", "已申请删除", "欺诈认定之后")),
])
def test_DECL_09_the_bank_tells_on_the_case_and_the_agency_reads_it_there_and_on_the_visit(
    office: Office, dispute_id: DisputeId, language: str, words: tuple[str, ...],
) -> None:
    made, spoken = office.made, {"Accept-Language": language}
    case, visit = f"/console/cases/{office.case_id}", f"/console/visits/{office.visit_id}"
    section, due, requested, title = words
    before = office.open(made.lin).get(case, **spoken).text
    assert section in before
    assert due in before
    assert f'action="/console/disputes/{dispute_id}/follow-ups"' in before
    assert act(office, made.mo, dispute_id, "police_reported").status_code == 303
    done = act(office, made.lin, dispute_id, "deletion_requested", reference="CR-8")
    assert (done.status_code, done.headers["location"]) == (303, f"{case}#follow-ups")
    for path in (case, visit):
        shown = office.open(made.amina).get(path, **spoken)
        assert shown.status_code == 200, shown.text[:300]
        assert all(text in shown.text for text in (section, requested, "FILE-7", "CR-8")), path
        assert "follow-ups\"><input" not in shown.text
    assert section not in office.open(made.hana).get(case, **spoken).text
    listed = office.open(made.lin).get("/console/follow-ups", **spoken).text
    assert f"<h1>{title}</h1>" in listed
    assert requested in listed
    assert act(office, made.lin, dispute_id, "deletion_refused", reason="no record").status_code == 303
    assert str(office.case_id) not in office.open(made.lin).get("/console/follow-ups").text
