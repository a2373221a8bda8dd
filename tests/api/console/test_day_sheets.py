"""A pair's day sheet, as a page and as PDF: refusals first, and nothing of bank or amount on it (F08)."""

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session, sessionmaker

from backend.audit.tables import AuditReadRow
from backend.cases import actions as cases
from backend.cases.model import SuspensionReason
from backend.console import day_sheets
from backend.core.fen import Fen, format_yuan
from backend.core.ids import new_id
from backend.documents.typeset import typeset
from backend.keys.keyring import Keyring
from backend.policies.tables import PolicyRow
from backend.staff import logins
from backend.visits import day_sheet as sheets
from backend.web.auth import console_actor, session_cookie
from tests.api.console.test_pages import Browser
from tests.support.cases import approved_request, row
from tests.support.http import SteppedClock, make_client, make_resources, signed_in
from tests.support.phones import PUBLIC_URL
from tests.support.visits import planned_day, solved_plan
from tests.support.world import Person, World, world

Open = Callable[[Person], Browser]


@pytest.fixture
def made(joined: sessionmaker[Session], keyring: Keyring, now: datetime) -> World:
    with joined.begin() as session:
        return world(session, keyring, now)


@pytest.fixture
def browser(joined: sessionmaker[Session], keyring: Keyring, made: World, tmp_path: Path, now: datetime) -> Iterator[Open]:
    resources = make_resources(joined, keyring, tmp_path, SteppedClock(now + timedelta(hours=1)))
    with make_client(resources, [signed_in(console_actor, day_sheets.ROUTES)]) as client:

        def sign_in(person: Person) -> Browser:
            with joined.begin() as session:
                opened = logins.open_session(session, person.id, resources.clock())
            return Browser(client, {session_cookie(PUBLIC_URL): opened.token}, opened.csrf)

        yield sign_in


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Keep what is set on paper."""
    kept: list[dict[str, Any]] = []

    def keep(template: str, values: dict[str, Any], at: Any) -> bytes:
        kept.append(values)
        return typeset(template, values, at)

    monkeypatch.setattr(sheets, "typeset", keep)
    return kept


def test_a_sheet_is_made_of_a_published_plans_own_routes_by_those_who_publish(
    browser: Open, joined: sessionmaker[Session], keyring: Keyring, made: World
) -> None:
    with joined.begin() as session:
        approved_request(session, keyring, made, 1)
        ready = solved_plan(session, made)
        published = planned_day(session, made)
    farid = browser(made.farid)
    for path in ("/console/plans/{}/sheets/{}", "/api/v1/plans/{}/sheets/{}"):
        assert farid.get(path.format(ready, 1)).status_code == 409
        absent = ((published.id, 2), (published.id, 0), (published.id, -1), (uuid4(), 1))
        assert [farid.get(path.format(*which)).status_code for which in absent] == [404] * 4
        assert farid.get(path.format(published.id, "x")).status_code in (400, 404)
        assert browser(made.yara).get(path.format(published.id, 1)).status_code == 404
        assert browser(made.chen).get(path.format(published.id, 1)).status_code in (403, 404)


def test_F08_the_sheet_names_door_window_deposit_and_break_but_neither_bank_nor_amount(
    browser: Open, joined: sessionmaker[Session], keyring: Keyring, made: World, shown: list[dict[str, Any]]
) -> None:
    with joined.begin() as session:
        session.add(PolicyRow(
            id=new_id(), version="breaks", bank_id=None, valid_from=made.now,
            thresholds={"break_s": 1800, "break_from_s": 11 * 3600, "break_until_s": 12 * 3600}, made_by=made.oscar.id, made_at=made.now))
        first = approved_request(
            session, keyring, made, 1, request={"window_from_s": 9 * 3600, "window_to_s": 36_000, "cash_expected_fen": Fen(300_000)})
        gone = approved_request(session, keyring, made, 2, lon="121.42", request={"window_from_s": 14 * 3600, "window_to_s": 15 * 3600})
        published = planned_day(session, made)
        cases.suspend(session, made.amina.actor, gone.case.id, SuspensionReason.DENIES_SPENDING, made.now)
    farid = browser(made.farid)
    page = farid.get(f"/console/plans/{published.id}/sheets/1?lang=zh-Hans").text
    paper = farid.get(f"/api/v1/plans/{published.id}/sheets/1")
    assert (paper.headers["content-type"], paper.content[:5]) == ("application/pdf", b"%PDF-")
    (values,) = shown
    for told in (page, str(values)):
        assert told.count(row(1)["street"]) == 1    # Of two doors of one street the other is withdrawn.
        assert "09:00–10:00" in told
        assert row(1)["name"] not in told
        assert not {str(one.case.amount_fen) for one in (first, gone)} & {told}
        assert format_yuan(first.case.amount_fen) not in told
        assert "300000" not in told
        assert "Sample Bank" not in told
        assert values["code"] in told
    assert {stop["kind"] for stop in values["stops"]} == {"visit", "deposit", "pause", "withdrawn"}
    assert "不得前往" in page
    assert len(values["code"]) == sheets.CODE_LENGTH
    with joined() as session:
        assert first.case.id in session.scalars(select(AuditReadRow.subject_id)).all()
        again = planned_day(session, made, on=made.today + timedelta(days=0))
    assert again.id != published.id


def test_a_character_without_a_picture_stays_legible() -> None:
    assert sheets._shown("路\U000e0041") == "路U+E0041"
