"""Plans and visits over HTTP: strangers get 404, bad input a problem, the rest its answer."""

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from litestar.testing import TestClient
from sqlalchemy import select
from sqlalchemy.orm import Session, sessionmaker

from backend.audit.tables import AuditEntryRow, AuditReadRow
from backend.console import plans, visits
from backend.jobs.queue import Queue
from backend.keys.keyring import Keyring
from backend.plans.tasks import SOLVE
from backend.requests.actions import withdraw
from backend.visits.rules import REVIEW_CHECKLIST
from backend.web.app import Resources
from backend.web.auth import console_actor
from tests.support.cases import approved_request
from tests.support.http import SteppedClock, console_headers, make_client, make_resources, signed_in
from tests.support.visits import Planned, outcome, planned_visit, report, solved_plan, started
from tests.support.world import Person, World, world

Headers = Callable[[Person], dict[str, str]]
WHOLE = {"checklist": dict.fromkeys(REVIEW_CHECKLIST, True), "comment": "heard"}


class Kept(Queue):
    """A queue that keeps what it was handed."""

    def __init__(self) -> None:
        self.jobs: list[tuple[str, UUID]] = []

    def put(self, task: str, subject_id: UUID) -> None:
        self.jobs.append((task, subject_id))

    def put_within(self, session: Session, task: str, subject_id: UUID) -> None:
        self.jobs.append((task, subject_id))


@pytest.fixture
def made(joined: sessionmaker[Session], keyring: Keyring, now: datetime) -> World:
    with joined.begin() as session:
        return world(session, keyring, now)


@pytest.fixture
def queue() -> Kept:
    return Kept()


@pytest.fixture
def resources(joined: sessionmaker[Session], keyring: Keyring, tmp_path: Path, now: datetime, made: World, queue: Kept) -> Resources:
    return make_resources(joined, keyring, tmp_path, SteppedClock(now)).with_queue(queue)


@pytest.fixture
def client(resources: Resources) -> Iterator[TestClient[Any]]:
    with make_client(resources, [signed_in(console_actor, [*plans.ROUTES, *visits.ROUTES])]) as client:
        yield client


@pytest.fixture
def headers(joined: sessionmaker[Session], now: datetime) -> Headers:
    known: dict[str, dict[str, str]] = {}

    def of(person: Person) -> dict[str, str]:
        if person.name not in known:
            with joined.begin() as session:
                known[person.name] = console_headers(session, person, now)
        return known[person.name]

    return of


@pytest.fixture
def planned(joined: sessionmaker[Session], keyring: Keyring, made: World) -> Planned:
    with joined.begin() as session:
        return planned_visit(session, keyring, made)


def reported(joined: sessionmaker[Session], keyring: Keyring, made: World, planned: Planned) -> None:
    with joined.begin() as session:
        started(session, keyring, made, planned)
        outcome(session, keyring, made, planned, "conflict_left", {"description": "shouting"}, minutes=0)
        report(session, keyring, made, planned, minutes=0)


ROUTES = [
    ("GET", "/api/v1/visits/{visit}", None), ("POST", "/api/v1/visits/{visit}/review", {"verdict": "accepted", **WHOLE}),
    ("POST", "/api/v1/visits/{visit}/cancel", None), ("POST", "/api/v1/visits/{visit}/archive", None),
    ("GET", "/api/v1/plans/{plan}", None), ("POST", "/api/v1/plans/{plan}/publish", None),
]


@pytest.mark.parametrize(("method", "path", "body"), ROUTES)
def test_SEC_01_another_branchs_supervisor_gets_404(
    client: TestClient[Any], headers: Headers, made: World, planned: Planned, method: str, path: str, body: Any
) -> None:
    asked = path.format(visit=planned.visit_id, plan=planned.plan_id)
    answer = client.request(method, asked, json=body, headers=headers(made.yara))
    assert (answer.status_code, answer.json()["type"]) == (404, "/problems/not-found")


@pytest.mark.parametrize(("method", "path", "body"), ROUTES[:2])
def test_SEC_01_chen_of_another_bank_gets_404(
    client: TestClient[Any], headers: Headers, made: World, planned: Planned, method: str, path: str, body: Any
) -> None:
    answer = client.request(method, path.format(visit=planned.visit_id), json=body, headers=headers(made.chen))
    assert (answer.status_code, answer.json()["type"]) == (404, "/problems/not-found")
    assert client.get("/api/v1/visits", headers=headers(made.chen)).json() == {"rows": [], "next": None}
    assert client.get(f"/api/v1/visit-days/{made.today}", headers=headers(made.chen)).json()["visits"] == []


@pytest.mark.parametrize(("method", "path", "body"), [*ROUTES[2:], ("POST", "/api/v1/plans", {"branchId": "{branch}", "on": "2026-11-27"})])
def test_a_bank_neither_plans_nor_cancels(
    client: TestClient[Any], headers: Headers, made: World, planned: Planned, method: str, path: str, body: Any
) -> None:
    sent = {key: value.format(branch=made.sh1) for key, value in body.items()} if body else None
    answer = client.request(method, path.format(visit=planned.visit_id, plan=planned.plan_id), json=sent, headers=headers(made.lin))
    assert answer.status_code == 403


@pytest.mark.parametrize("body", [
    {"on": "2026-11-27"}, {"branchId": "{branch}", "on": "yesterday"}, {"branchId": "{branch}", "on": "2026-11-27", "seconds": 0},
    {"branchId": "{branch}", "on": "2026-11-27", "seconds": 301}, {"branchId": "{branch}", "on": "2026-11-27", "seed": -1},
    {"branchId": "{branch}", "on": "2026-11-27", "more": 1}, {"branchId": "{branch}", "on": "2020-01-01"},
])
def test_a_bad_order_is_a_problem(client: TestClient[Any], headers: Headers, made: World, body: dict[str, Any]) -> None:
    sent = {key: value.format(branch=made.sh1) if isinstance(value, str) else value for key, value in body.items()}
    answer = client.post("/api/v1/plans", json=sent, headers=headers(made.farid))
    assert answer.status_code in (400, 422), answer.text
    assert answer.json()["type"].startswith("/problems/")


def test_an_ordered_plan_is_handed_to_the_queue_with_its_commit(
    client: TestClient[Any], headers: Headers, joined: sessionmaker[Session], keyring: Keyring, made: World, queue: Kept
) -> None:
    with joined.begin() as session:
        approved_request(session, keyring, made, 1)
        left_out = approved_request(session, keyring, made, 2, bank=made.bank_b)
    answer = client.post("/api/v1/plans", json={"branchId": str(made.sh1), "on": str(made.today), "seconds": 5}, headers=headers(made.farid))
    assert answer.status_code == 201, answer.text
    assert {name: answer.json()[name] for name in ("status", "version", "visitCount", "unservedCount")} == {
        "status": "queued", "version": 1, "visitCount": 1, "unservedCount": 1,
    }
    assert queue.jobs == [(SOLVE, UUID(answer.json()["id"]))]
    shown = client.get(f"/api/v1/plans/{answer.json()['id']}", headers=headers(made.farid)).json()
    assert [(one["requestId"], one["code"]) for one in shown["unserved"]] == [(str(left_out.request_id), "no-credential")]
    listed = client.get(f"/api/v1/plans?on={made.today}", headers=headers(made.farid)).json()
    assert [row["id"] for row in listed["rows"]] == [answer.json()["id"]]


def test_REQ_03_publishing_is_refused_under_its_rules_and_audited(
    client: TestClient[Any], headers: Headers, joined: sessionmaker[Session], keyring: Keyring, made: World
) -> None:
    with joined.begin() as session:
        approved = approved_request(session, keyring, made, 1)
        plan_id = solved_plan(session, made)
        withdraw(session, made.amina.actor, approved.request_id, made.now)
    answer = client.post(f"/api/v1/plans/{plan_id}/publish", headers=headers(made.farid))
    assert (answer.status_code, answer.json()["type"]) == (409, "/problems/rules-breached")
    assert "REQ-03" in answer.text
    with joined() as session:
        of_farid = select(AuditEntryRow).where(AuditEntryRow.subject == f"staff:{made.farid.id}")
        refused = session.scalars(of_farid.where(AuditEntryRow.tag == "actor.refused"))
        assert [row.details["rules"] for row in refused] == [["REQ-03"]]


def test_a_clean_plan_is_published_and_shows_in_the_day(
    client: TestClient[Any], headers: Headers, joined: sessionmaker[Session], keyring: Keyring, made: World
) -> None:
    with joined.begin() as session:
        approved_request(session, keyring, made, 1)
        plan_id = solved_plan(session, made)
    answer = client.post(f"/api/v1/plans/{plan_id}/publish", headers=headers(made.farid))
    assert (answer.status_code, answer.json()) == (200, {"id": str(plan_id), "version": 1, "supersededId": None, "visitCount": 1})
    (visit,) = client.get(f"/api/v1/visit-days/{made.today}", headers=headers(made.amina)).json()["visits"]
    assert (visit["status"], visit["withdrawn"], {one["name"] for one in visit["pair"]}) == ("dispatched", None, {"Bilal", "Dong"})
    assert client.get(f"/api/v1/plans/{plan_id}", headers=headers(made.farid)).json()["summary"]["status"] == "published"


def test_VIS_01_a_hand_made_plan_is_judged_and_nothing_is_kept(
    client: TestClient[Any], headers: Headers, joined: sessionmaker[Session], keyring: Keyring, made: World
) -> None:
    with joined.begin() as session:
        request_id = str(approved_request(session, keyring, made, 1).request_id)
    alone = {"schema": "fieldday-plan/1", "routes": [{"collectors": [str(made.bilal.id)], "stops": [{"type": "visit", "id": request_id}]}]}
    sent = {"branchId": str(made.sh1), "on": str(made.today), "plan": alone}
    judged = client.post("/api/v1/plans/check", json=sent, headers=headers(made.farid))
    assert judged.status_code == 200, judged.text
    assert [(one["code"], one["rule"]) for one in judged.json()["violations"]] == [("pair_size", "VIS-01")]
    alone["routes"] = [{"collectors": [str(made.bilal.id), str(made.dong.id)], "stops": [{"type": "visit", "id": request_id}]}]
    judged = client.post("/api/v1/plans/check", json=sent, headers=headers(made.farid))
    assert (judged.json()["violations"], judged.json()["served"]) == ([], 1)
    assert client.get("/api/v1/plans", headers=headers(made.farid)).json()["rows"] == []
    assert client.post("/api/v1/plans/check", json={**sent, "plan": {"routes": 7}}, headers=headers(made.farid)).status_code == 422
    assert client.post("/api/v1/plans/check", json=sent, headers=headers(made.yara)).status_code == 404


def test_a_visit_is_shown_whole_and_the_read_is_recorded(
    client: TestClient[Any], headers: Headers, joined: sessionmaker[Session], keyring: Keyring, made: World, planned: Planned
) -> None:
    reported(joined, keyring, made, planned)
    shown = client.get(f"/api/v1/visits/{planned.visit_id}", headers=headers(made.amina)).json()
    assert [one["code"] for one in shown["visit"]["outcomes"]] == ["conflict_left"]
    assert [(one["kind"], one["note"]) for one in shown["incidents"]] == [("conflict", "shouting")]
    assert shown["visit"]["reports"][0]["isEntered"] is False
    bank = client.get(f"/api/v1/visits/{planned.visit_id}", headers=headers(made.lin)).json()
    assert (bank["incidents"], len(bank["visit"]["checkIns"])) == ([], 2)
    with joined() as session:
        assert planned.approved.case.id in session.scalars(select(AuditReadRow.subject_id)).all()


def test_EVD_01_a_review_of_an_unclosed_visit_is_refused_and_a_returned_one_is_returned(
    client: TestClient[Any], headers: Headers, joined: sessionmaker[Session], keyring: Keyring, made: World, planned: Planned
) -> None:
    reported(joined, keyring, made, planned)
    path = f"/api/v1/visits/{planned.visit_id}/review"
    refused = client.post(path, json={"verdict": "accepted", **WHOLE}, headers=headers(made.amina))
    assert (refused.status_code, "EVD-01" in refused.text) == (409, True)
    assert client.post(path, json={"verdict": "accepted", **WHOLE}, headers=headers(made.wei)).status_code == 403
    assert client.post(path, json={"verdict": "fine", **WHOLE}, headers=headers(made.amina)).status_code in (400, 422)
    returned = client.post(path, json={"verdict": "returned", **WHOLE}, headers=headers(made.lin))
    assert (returned.status_code, returned.json()["status"]) == (200, "returned")


def test_VIS_09_incidents_are_listed_for_the_supervisor_and_settled_once(
    client: TestClient[Any], headers: Headers, joined: sessionmaker[Session], keyring: Keyring, made: World, planned: Planned
) -> None:
    reported(joined, keyring, made, planned)
    assert client.get("/api/v1/incidents", headers=headers(made.yara)).json()["rows"] == []
    (row,) = client.get("/api/v1/incidents", headers=headers(made.amina)).json()["rows"]
    path = f"/api/v1/incidents/{row['id']}/settle"
    assert client.post(path, headers=headers(made.yara)).status_code == 404
    assert client.post(path, headers=headers(made.amina)).status_code == 200
    assert client.post(path, headers=headers(made.amina)).status_code == 409
    assert client.get("/api/v1/incidents", headers=headers(made.amina)).json()["rows"] == []
    assert len(client.get("/api/v1/incidents?settled=true", headers=headers(made.amina)).json()["rows"]) == 1
    assert client.post(f"/api/v1/incidents/{uuid4()}/settle", headers=headers(made.amina)).status_code == 404


def test_lists_are_paged_by_cursor(client: TestClient[Any], headers: Headers, joined: sessionmaker[Session], keyring: Keyring, made: World) -> None:
    with joined.begin() as session:
        for day in range(3):
            solved_plan(session, made, on=made.today + timedelta(days=day))
    first = client.get("/api/v1/plans?limit=2", headers=headers(made.farid)).json()
    second = client.get(f"/api/v1/plans?limit=2&cursor={first['next']}", headers=headers(made.farid)).json()
    assert (len(first["rows"]), len(second["rows"]), second["next"]) == (2, 1, None)
    assert client.get("/api/v1/plans?limit=0", headers=headers(made.farid)).status_code == 422
    assert client.get("/api/v1/visits?cursor=!!", headers=headers(made.farid)).status_code == 422
