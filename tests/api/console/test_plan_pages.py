"""A dispatcher's pages: strangers and bad forms first, then a running day planned anew, and a version changed by hand."""

import re
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit
from uuid import UUID, uuid4

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session, sessionmaker

from backend.cases import actions as cases
from backend.cases.model import SuspensionReason
from backend.console import draft_pages, plan_pages, replan_pages
from backend.core.fen import Fen
from backend.core.ids import PlanId
from backend.keys.keyring import Keyring
from backend.plans import actions as plans
from backend.plans.model import PlanStatus
from backend.plans.tables import PlanRow, ReplanRow, RouteRow, StopRow
from backend.staff import logins
from backend.staff.tables import StaffRow
from backend.visits.actions import dispatch_plan
from backend.web.app import Resources
from backend.web.auth import console_actor, session_cookie
from routing import Limits, encode_plan, load_instance, load_plan, solve
from tests.api.console.test_pages import HOSTILE, Browser
from tests.api.console.test_plans_and_visits import Kept
from tests.support.cases import approved_request
from tests.support.http import SteppedClock, make_client, make_resources, signed_in
from tests.support.phones import PUBLIC_URL
from tests.support.visits import Planned, ordered_plan, solved_plan, started
from tests.support.world import Person, World, world

Open = Callable[[Person], Browser]
STEPS = ("publish", "discard", "cancel", "finish")


@pytest.fixture
def made(joined: sessionmaker[Session], keyring: Keyring, now: datetime) -> World:
    with joined.begin() as session:
        return world(session, keyring, now)


@pytest.fixture
def resources(joined: sessionmaker[Session], keyring: Keyring, tmp_path: Path, now: datetime) -> Resources:
    return make_resources(joined, keyring, tmp_path, SteppedClock(now)).with_queue(Kept())


@pytest.fixture
def browser(joined: sessionmaker[Session], resources: Resources, made: World) -> Iterator[Open]:
    routes = [*plan_pages.ROUTES, *replan_pages.ROUTES, *draft_pages.ROUTES]
    with make_client(resources, [signed_in(console_actor, routes)]) as client:

        def sign_in(person: Person) -> Browser:
            with joined.begin() as session:
                opened = logins.open_session(session, person.id, resources.clock())
            return Browser(client, {session_cookie(PUBLIC_URL): opened.token}, opened.csrf)

        yield sign_in


class Day:
    """A published day of three visits in the afternoon, the third with cash, and one approved visit more."""

    def __init__(self, session: Session, keyring: Keyring, made: World) -> None:
        at = {"window_from_s": 13 * 3600, "window_to_s": 15 * 3600}
        self.visits = [
            approved_request(session, keyring, made, 1, lon="121.41", request=at),
            approved_request(session, keyring, made, 2, lon="121.42", request=at),
            approved_request(session, keyring, made, 3, lon="121.43", request={**at, "cash_expected_fen": Fen(200_000)}),
        ]
        self.plan_id = solved_plan(session, made)
        dispatch_plan(session, made.farid.actor, self.plan_id, made.now)
        self.extra = approved_request(session, keyring, made, 4, lon="121.44", request=at)

    @property
    def path(self) -> str:
        return f"/console/plans/{self.plan_id}"


@pytest.fixture
def day(joined: sessionmaker[Session], keyring: Keyring, made: World) -> Day:
    with joined.begin() as session:
        return Day(session, keyring, made)


@pytest.fixture
def ready(joined: sessionmaker[Session], keyring: Keyring, made: World) -> PlanId:
    """A version of three visits that nobody has published, with one visit too far away to be served."""
    with joined.begin() as session:
        for serial in (1, 2, 3):
            approved_request(session, keyring, made, serial, lon=f"121.4{serial}")
        return solved_plan(session, made)


def solved(joined: sessionmaker[Session], made: World, plan_id: PlanId) -> None:
    with joined.begin() as session:
        claimed = plans.claim(session, plan_id)
        assert claimed is not None
        start = None if claimed.start is None else load_plan(claimed.start)
        found = solve(load_instance(claimed.instance), Limits(search_s=9, iterations_max=0), seed=claimed.seed, start=start)
        plans.store(session, plan_id, encode_plan(found), made.now)


def status_of(joined: sessionmaker[Session], plan_id: PlanId) -> PlanStatus:
    with joined() as session:
        return session.get_one(PlanRow, plan_id).status


def versions(joined: sessionmaker[Session]) -> int:
    with joined() as session:
        return len(session.scalars(select(PlanRow.id)).all())


def order(browser: Open, day: Day, person: Person, **told: Any) -> Any:
    opened = browser(person)
    return opened.post(f"{day.path}/replan", {"csrf": opened.csrf, "newest": "1"} | told)


def requests_of(joined: sessionmaker[Session], plan_id: PlanId) -> list[str]:
    with joined() as session:
        query = select(StopRow.request_id).join(RouteRow, RouteRow.id == StopRow.route_id).where(RouteRow.plan_id == plan_id)
        return [str(one) for one in session.scalars(query.order_by(RouteRow.number, StopRow.position)) if one is not None]


def made_by(answer: Any) -> PlanId:
    assert answer.status_code == 303, answer.text
    return PlanId(UUID(answer.headers["location"].rsplit("/", 1)[1]))


# -- Refused -------------------------------------------------------------------------------------------------------------------


def test_SEC_01_strangers_get_404_and_other_roles_403(browser: Open, joined: sessionmaker[Session], made: World, day: Day) -> None:
    change = {"change": f"remove.{day.visits[0].request_id}"}
    for person, expected in ((made.yara, 404), (made.hana, 403), (made.lin, 403), (made.chen, 403)):
        opened = browser(person)
        assert opened.get(f"{day.path}/replan").status_code == expected
        assert opened.get(f"{day.path}/draft").status_code == expected
        assert order(browser, day, person).status_code == expected
        assert opened.post(f"{day.path}/draft", {"csrf": opened.csrf, "newest": "1", **change}).status_code == expected
        for step in STEPS:
            assert opened.post(f"{day.path}/{step}", {"csrf": opened.csrf}).status_code == expected, step
    assert str(day.plan_id) in browser(made.farid).get("/console/plans").text
    assert str(day.plan_id) not in browser(made.yara).get("/console/plans").text
    assert browser(made.lin).get("/console/plans").status_code == 403
    assert (versions(joined), status_of(joined, day.plan_id)) == (1, PlanStatus.PUBLISHED)


def test_who_only_reads_plans_is_offered_no_form(browser: Open, made: World, day: Day) -> None:
    page = browser(made.wei).get(f"{day.path}?lang=en").text
    assert day.path in page
    assert not re.findall(r'<form[^>]*action="/console/plans', page)
    assert "/draft" not in page


def test_a_form_of_another_site_does_nothing(browser: Open, joined: sessionmaker[Session], made: World, day: Day) -> None:
    opened = browser(made.farid)
    for path, form in (
        ("replan", {"newest": "1"}), ("draft", {"newest": "1", "change": f"remove.{day.visits[0].request_id}"}), *((step, {}) for step in STEPS),
    ):
        assert opened.post(f"{day.path}/{path}", {"csrf": "wrong", **form}).status_code == 403
        assert opened.post(f"{day.path}/{path}", {"csrf": opened.csrf, **form}, Origin="https://evil.example").status_code == 403
    assert (versions(joined), status_of(joined, day.plan_id)) == (1, PlanStatus.PUBLISHED)


@pytest.mark.parametrize("told", [
    {"late": "1"}, {"late": "9", "free_at": "11:00"}, {"late": "-1"}, {"late": "1", "free_at": "25:00"}, {"office": "x"}, {"sick": "x"},
    {"office": "{office}"}, {"office": "{nobody}", "closed_from": "11:00"}, {"sick": "{nobody}"}, {"urgent": "{nobody}"}, {"sick": "{yara}"},
])
def test_an_event_that_does_not_fit_the_day_is_refused_before_and_at_the_order(
    browser: Open, joined: sessionmaker[Session], made: World, day: Day, told: dict[str, str]
) -> None:
    words = {"office": str(made.bank_a.office_id), "nobody": str(uuid4()), "yara": str(made.yara.id)}
    form = {name: value.format(**words) for name, value in told.items()}
    query = "&".join(f"{name}={value}" for name, value in form.items())
    assert browser(made.farid).get(f"{day.path}/replan?{query}").status_code in (400, 422)
    assert order(browser, day, made.farid, **form).status_code in (400, 409, 422)
    assert versions(joined) == 1


@pytest.mark.parametrize("query", [
    "do=fly", "do=move&visit=x&route=1", "do=move&visit={visit}&route=9", "do=move&visit={visit}&route=1&place=99", "do=pin&visit={visit}&at=9",
    "do=pin&visit={visit}&at=99:99", "do=remove&visit={extra}", "change=remove", "change=fly.{visit}", "change=pair.1.{visit}",
    "do=insert&visit={visit}&route=1", "change=" + "&change=".join(["remove.{visit}"] * 51), "do=pair&route=1&a=&b=",
])
def test_a_change_that_names_nothing_of_the_day_is_refused(
    browser: Open, joined: sessionmaker[Session], made: World, ready: PlanId, query: str
) -> None:
    asked = query.format(visit=requests_of(joined, ready)[0], extra=uuid4())
    answer = browser(made.farid).get(f"/console/plans/{ready}/draft?{asked}")
    assert answer.status_code in (400, 422), answer.text
    assert versions(joined) == 1


def test_REQ_09_a_day_with_visits_begun_is_not_changed_by_hand(
    browser: Open, joined: sessionmaker[Session], keyring: Keyring, made: World, day: Day
) -> None:
    with joined.begin() as session:
        visit_id = session.scalars(select(StopRow.visit_id).where(StopRow.request_id == day.visits[0].request_id)).one()
        assert visit_id is not None
        started(session, keyring, made, Planned(visit_id, day.plan_id, day.visits[0]), is_intent=False)
    farid = browser(made.farid)
    page = farid.get(f"{day.path}?lang=en").text
    assert "/draft" not in page
    assert "Begun" in page
    assert farid.get(f"{day.path}/draft?lang=en").status_code == 409
    form = {"csrf": farid.csrf, "newest": "1", "change": f"remove.{day.visits[1].request_id}"}
    told = farid.post(f"{day.path}/draft", form)
    assert told.status_code == 409
    assert versions(joined) == 1


def test_REQ_09_only_the_published_plan_of_today_is_planned_anew(
    browser: Open, joined: sessionmaker[Session], made: World, day: Day
) -> None:
    with joined.begin() as session:
        ready = solved_plan(session, made)
    farid = browser(made.farid)
    assert "happened" not in farid.get(f"/console/plans/{ready}?lang=en").text
    refused = farid.get(f"/console/plans/{ready}/replan?lang=en")
    assert refused.status_code == 409
    assert "Another version of this day is published, or none." in refused.text
    opened = farid.post(f"/console/plans/{ready}/replan", {"csrf": farid.csrf, "newest": "2"})
    assert opened.status_code == 409
    assert versions(joined) == 2


# -- A running day -------------------------------------------------------------------------------------------------------------


def test_REQ_09_whom_a_sick_collector_touches_is_shown_before_anything_is_ordered(
    browser: Open, joined: sessionmaker[Session], made: World, day: Day
) -> None:
    farid = browser(made.farid)
    page = farid.get(f"{day.path}?lang=en").text
    assert f'name="sick" value="{made.bilal.id}"' in page
    assert "R-0004" in page.split('id="happened"')[1], "an approved visit that could join"
    told = farid.get(f"{day.path}/replan?sick={made.bilal.id}&lang=en").text
    rows = re.findall(r"<tr><td.*?</tr>", told, re.DOTALL)
    assert len([row for row in rows if "Visit R-000" in row]) == 3
    assert all("a collector is out" in row and "Bilal · Dong" in row for row in rows)
    assert "Bilal</strong> · Out for the rest of the day" in told
    assert "有外访员" in farid.get(f"{day.path}/replan?sick={made.bilal.id}&lang=zh-Hans").text
    assert versions(joined) == 1


def test_REQ_09_a_late_pair_a_closed_office_and_a_withdrawn_case_touch_their_own_stops_only(
    browser: Open, joined: sessionmaker[Session], made: World, day: Day
) -> None:
    with joined.begin() as session:
        cases.suspend(session, made.amina.actor, day.visits[1].case.id, SuspensionReason.DENIES_SPENDING, made.now)
    farid = browser(made.farid)

    def touched(query: str) -> list[tuple[bool, bool, bool, bool]]:
        page = farid.get(f"{day.path}/replan?{query}&lang=en").text
        rows = re.findall(r"<tr><td.*?</tr>", page, re.DOTALL)
        return [("R-0002" in row, "withdrawn" in row, "late" in row, "no more cash" in row) for row in rows]

    assert touched("late=0") == [(True, True, False, False)]
    assert touched(f"office={made.bank_a.office_id}&closed_from=08:00").count((False, False, False, True)) == 1
    assert (True, True, True, False) in touched("late=1&free_at=20:59")
    assert touched("late=1&free_at=10:01") == [(True, True, False, False)]


def test_REQ_09_the_rest_of_the_day_is_planned_anew_once_shown_beside_the_old_and_published(
    browser: Open, joined: sessionmaker[Session], made: World, resources: Resources, day: Day
) -> None:
    with joined.begin() as session:
        cases.suspend(session, made.amina.actor, day.visits[1].case.id, SuspensionReason.DENIES_SPENDING, made.now)
    farid = browser(made.farid)
    shown = farid.get(f"{day.path}/replan?urgent={day.extra.request_id}&lang=en").text
    fields = dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)">', shown.split("</table>")[1]))
    assert fields == {"csrf": farid.csrf, "newest": "1", "urgent": str(day.extra.request_id)}
    plan_id = made_by(farid.post(f"{day.path}/replan", fields))
    assert isinstance(resources.queue, Kept)
    assert resources.queue.jobs == [("plans.solve", plan_id)]
    again = farid.post(f"{day.path}/replan", fields)
    assert again.status_code == 409, "the same form sent twice is carried out once"
    assert "another-version" not in again.text
    waiting = farid.get(f"/console/plans/{plan_id}?lang=en")
    assert waiting.headers["refresh"] == "3"
    assert "No plan yet." in waiting.text
    assert "Stop the search" in waiting.text
    solved(joined, made, plan_id)
    page = farid.get(f"/console/plans/{plan_id}?lang=en")
    assert "refresh" not in page.headers
    changed = page.text.split('id="changed"')[1].split("<section")[0]
    rows = {name: row for row in re.findall(r"<tr><th.*?</tr>", changed, re.DOTALL) for name in re.findall(r"R-000\d", row)}
    assert "the visit was withdrawn" in rows["R-0002"]
    assert "an urgent visit" in rows["R-0004"]
    assert re.search(r"Kept as they were · \d", changed)
    assert "Travel (h:min)" in changed
    assert "案件已撤回" not in changed
    assert farid.post(f"/console/plans/{plan_id}/publish", {"csrf": farid.csrf}).status_code == 303
    assert (status_of(joined, plan_id), status_of(joined, day.plan_id)) == (PlanStatus.PUBLISHED, PlanStatus.SUPERSEDED)
    assert farid.post(f"/console/plans/{plan_id}/publish", {"csrf": farid.csrf}).status_code == 409
    assert str(day.extra.request_id) in requests_of(joined, plan_id)


def test_a_version_that_is_discarded_is_never_published(browser: Open, joined: sessionmaker[Session], made: World, day: Day) -> None:
    plan_id = made_by(order(browser, day, made.farid, late="1", free_at="14:30"))
    farid = browser(made.farid)
    assert farid.post(f"/console/plans/{plan_id}/discard", {"csrf": farid.csrf}).status_code == 409, "nothing is ready yet"
    solved(joined, made, plan_id)
    with joined() as session:
        assert [one["event"] for one in session.get_one(ReplanRow, plan_id).events] == ["late_pair"]
    assert farid.post(f"/console/plans/{plan_id}/discard", {"csrf": farid.csrf}).status_code == 303
    assert status_of(joined, plan_id) is PlanStatus.CANCELLED
    assert farid.post(f"/console/plans/{plan_id}/publish", {"csrf": farid.csrf}).status_code == 409
    assert farid.post(f"{day.path}/discard", {"csrf": farid.csrf}).status_code == 409, "what is published is not laid aside"
    assert status_of(joined, day.plan_id) is PlanStatus.PUBLISHED


def test_a_waiting_search_is_stopped_by_a_button(browser: Open, joined: sessionmaker[Session], made: World, day: Day) -> None:
    plan_id = made_by(order(browser, day, made.farid, sick=[str(made.bilal.id), str(made.dong.id)]))
    farid = browser(made.farid)
    assert farid.post(f"/console/plans/{plan_id}/finish", {"csrf": farid.csrf}).status_code == 409
    assert farid.post(f"/console/plans/{plan_id}/cancel", {"csrf": farid.csrf}).status_code == 303
    assert status_of(joined, plan_id) is PlanStatus.CANCELLED


# -- By hand -------------------------------------------------------------------------------------------------------------------


def test_REQ_04_a_change_by_hand_is_judged_at_once_with_the_cost_before_and_after_and_saved_once(
    browser: Open, joined: sessionmaker[Session], made: World, ready: PlanId
) -> None:
    farid, path = browser(made.farid), f"/console/plans/{ready}"
    first = requests_of(joined, ready)[0]
    assert f'href="{path}/draft"' in farid.get(f"{path}?lang=en").text
    assert "Save as a new version" not in farid.get(f"{path}/draft?lang=en").text
    page = farid.get(f"{path}/draft?do=remove&visit={first}&lang=en").text
    assert "No rule is broken." in page
    assert re.search(r"Visits</th><td[^>]*>3</td><td[^>]*>2</td>", page)
    form = page.split(f'method="post" action="{path}')[1].split("</form>")[0]
    fields = dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)">', form))
    assert fields == {"csrf": farid.csrf, "newest": "1", "change": f"remove.{first}"}
    assert versions(joined) == 1, "nothing is stored before it is saved"
    saved = made_by(farid.post(f"{path}/draft", fields))
    assert farid.post(f"{path}/draft", fields).status_code == 409
    assert first not in requests_of(joined, saved)
    told = farid.get(f"/console/plans/{saved}?lang=en").text
    assert "Changed by hand." in told
    assert "Kept as they were · " in told
    back = farid.get(f"/console/plans/{saved}/draft?do=insert&visit={first}&route=1&place=1&lang=en").text
    assert "No rule is broken." in back
    assert '<span class="state good">new</span>' in back


def test_REQ_04_what_breaks_a_rule_is_told_by_rule_and_in_words_and_cannot_be_saved(
    browser: Open, joined: sessionmaker[Session], made: World, ready: PlanId
) -> None:
    farid, path = browser(made.farid), f"/console/plans/{ready}"
    change = f"pair.1.{made.bilal.id}.{made.bilal.id}"
    english = farid.get(f"{path}/draft?change={change}&lang=en").text
    assert '<span class="rule">VIS-01</span> a visit needs two different collectors' in english
    assert "Save as a new version" not in english
    assert "两名" in farid.get(f"{path}/draft?change={change}&lang=zh-Hans").text
    refused = farid.post(f"{path}/draft", {"csrf": farid.csrf, "newest": "1", "change": change})
    assert refused.status_code == 409
    assert "VIS-01" in refused.text
    assert versions(joined) == 1


def test_REQ_04_a_visit_starts_at_the_time_a_dispatcher_fixed_and_keeps_it_when_the_day_is_planned_anew(
    browser: Open, joined: sessionmaker[Session], made: World, ready: PlanId
) -> None:
    farid, path = browser(made.farid), f"/console/plans/{ready}"
    last = requests_of(joined, ready)[-1]
    early = farid.get(f"{path}/draft?do=pin&visit={last}&at=03:00&lang=en").text
    assert '<span class="rule">' in early
    assert "Save as a new version" not in early
    page = farid.get(f"{path}/draft?do=pin&visit={last}&at=16:05&lang=en").text
    assert "Start at 16:05" in page
    assert "No rule is broken." in page
    saved = made_by(farid.post(f"{path}/draft", {"csrf": farid.csrf, "newest": "1", "change": f"pin.{last}.16:05"}))
    with joined() as session:
        row = session.get_one(PlanRow, saved)
        assert {one.id: one.pinned_start for one in load_instance(row.instance).visits}[last] == 16 * 3600 + 300
        stop = session.scalars(select(StopRow).join(RouteRow).where(RouteRow.plan_id == saved, StopRow.request_id == UUID(last))).one()
        assert stop.starts_at == made.now.replace(hour=8, minute=5)
        assert row.instance_digest != session.get_one(PlanRow, ready).instance_digest
    assert farid.post(f"/console/plans/{saved}/publish", {"csrf": farid.csrf}).status_code == 303
    again = made_by(farid.post(f"/console/plans/{saved}/replan", {"csrf": farid.csrf, "newest": "2"}))
    solved(joined, made, again)
    with joined() as session:
        stop = session.scalars(select(StopRow).join(RouteRow).where(RouteRow.plan_id == again, StopRow.request_id == UUID(last))).one()
        assert stop.starts_at == made.now.replace(hour=8, minute=5)


def test_changes_are_carried_in_the_address_and_undone_one_by_one(
    browser: Open, joined: sessionmaker[Session], made: World, ready: PlanId
) -> None:
    farid, path = browser(made.farid), f"/console/plans/{ready}/draft"
    a, b, c = requests_of(joined, ready)
    page = farid.get(f"{path}?change=move.{a}.1.3&change=swap.{b}.{c}&do=remove&visit={a}&lang=en").text
    undone = [parse_qsl(urlsplit(one.replace("&amp;", "&")).query) for one in re.findall(r'href="([^"]+)">Undo', page)]
    assert undone[0] == [("change", f"swap.{b}.{c}"), ("change", f"remove.{a}")]
    assert undone[2] == [("change", f"move.{a}.1.3"), ("change", f"swap.{b}.{c}")]
    language = re.findall(r'class="language" href="([^"]+)"', page)[0].replace("&amp;", "&")
    assert ("do", "remove") in parse_qsl(urlsplit(language).query), "the draft survives another language"


def test_the_list_of_a_day_leads_to_its_versions_page_by_page(
    browser: Open, joined: sessionmaker[Session], made: World, ready: PlanId
) -> None:
    with joined.begin() as session:
        other = [ordered_plan(session, made, seed=seed).id for seed in range(50)]
    farid = browser(made.farid)
    page = farid.get("/console/plans?lang=en").text
    assert f"/console/plans/{ready}" in page
    assert str(other[-1]) not in page
    (following,) = re.findall(r'href="([^"]+)" rel="next"', page)
    assert str(other[-1]) in farid.get(following.replace("&amp;", "&")).text
    assert str(ready) not in farid.get("/console/plans?on=2026-11-28").text
    assert farid.get("/console/plans?on=9999-01-01").status_code == 422
    assert farid.get("/console/plans?cursor=nonsense").status_code in (400, 422)


def test_the_pages_run_no_script_and_words_of_others_are_not_markup(
    browser: Open, joined: sessionmaker[Session], made: World, day: Day
) -> None:
    with joined.begin() as session:
        session.get_one(StaffRow, made.bilal.id).name = HOSTILE
    farid = browser(made.farid)
    shown = ("", f"/replan?sick={made.bilal.id}", f"/draft?do=remove&visit={day.visits[0].request_id}")
    for path in (*(f"{day.path}{one}" for one in shown), "/console/plans"):
        page = farid.get(path)
        assert page.status_code == 200, page.text
        assert "unsafe" not in page.headers["content-security-policy"]
        assert not re.search(r"<script|<style|\sstyle=|\son[a-z]+=|javascript:", page.text), path


def test_only_visits_that_are_not_part_of_the_day_are_offered_to_join_it(made: World, day: Day, browser: Open) -> None:
    forms = browser(made.farid).get(day.path).text.split('id="happened"')[1]
    assert re.findall(r'name="urgent" value="([^"]+)"', forms) == [str(day.extra.request_id)]
