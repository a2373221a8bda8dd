"""What a request is refused with and a signed statement is only judged by (protocol §2.6): the same condition, asked and told over HTTP."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest
from litestar.testing import TestClient
from sqlalchemy import func, select
from sqlalchemy.orm import Session, sessionmaker

from backend.cases import actions as cases
from backend.cases.model import SuspensionReason
from backend.core.ids import new_id
from backend.exhibits.model import VisitFacts
from backend.keys.keyring import Keyring
from backend.requests.actions import withdraw
from backend.submissions import inbox
from backend.visits.for_evidence import facts_for_evidence
from backend.visits.tables import RightPartyRow
from backend.web.auth import phone_actor
from evidence.facts import Kind
from mobile_api import events, manifests
from tests.support.cases import approved_request
from tests.support.exhibits import ARRIVAL, CAPTURE, Handset, signed_once, signed_twice
from tests.support.http import SteppedClock, make_client, make_resources, signed_in
from tests.support.phones import phone_headers
from tests.support.visits import Planned, checked_in, planned_day, planned_visit
from tests.support.world import Person, World, shared_keyring, world

EVENTS, MANIFESTS = "/mobile/v1/events", "/mobile/v1/evidence-manifests"


class Phones:
    """Phones of the world at one server."""

    def __init__(self, client: TestClient[Any], keyring: Keyring, clock: SteppedClock, made: World) -> None:
        self.client, self.keyring, self.clock, self.made = client, keyring, clock, made

    def event(self, kind: str, mode: str, body: dict[str, Any], *, event_id: Any = None) -> Any:
        envelope = {
            "id": str(event_id or new_id()), "kind": kind, "mode": mode, "seq": 1, "body": body, "clocks": {
                "wall": self.clock.now.strftime("%Y-%m-%dT%H:%M:%S.000Z"), "monotonicMs": 36_000_000, "bootId": "boot-1"},
        }
        headers = phone_headers(self.keyring, self.made.bilal, "POST", EVENTS, self.clock.now)
        return self.client.post(EVENTS, json=envelope, headers=headers)

    def start(self, planned: Planned, mode: str = "intent") -> Any:
        return self.event("visit.start", mode, {"visitId": str(planned.visit_id)})

    def state(self, person: Person, raw: bytes) -> dict[str, str]:
        """Send a signed statement; returns its findings by name. It is kept, whatever they are."""
        headers = phone_headers(self.keyring, person, "POST", MANIFESTS, self.clock.now) | {"Content-Type": "application/jose+json"}
        answer = self.client.post(MANIFESTS, content=raw, headers=headers)
        assert answer.status_code == 201, answer.text
        assert answer.json()["receipt"], "the phone may let go of it"
        return {one["name"]: one["grade"] for one in answer.json()["findings"]}


@pytest.fixture
def made(joined: sessionmaker[Session], keyring: Keyring, now: datetime) -> World:
    with joined.begin() as session:
        return world(session, keyring, now)


@pytest.fixture
def phones(joined: sessionmaker[Session], keyring: Keyring, tmp_path: Path, now: datetime, made: World) -> Iterator[Phones]:
    clock = SteppedClock(now)
    with make_client(make_resources(joined, keyring, tmp_path, clock), [signed_in(phone_actor, [*events.ROUTES, *manifests.ROUTES])]) as client:
        yield Phones(client, keyring, clock, made)


@pytest.fixture
def planned(joined: sessionmaker[Session], keyring: Keyring, made: World) -> Planned:
    with joined.begin() as session:
        planned = planned_visit(session, keyring, made)
        checked_in(session, keyring, made, planned)
        return planned


def visit_of(joined: sessionmaker[Session], planned: Planned) -> VisitFacts:
    with joined() as session:
        known = facts_for_evidence(session, str(planned.visit_id))
    assert known is not None
    return known


def refused(answer: Any) -> tuple[int, str, list[str]]:
    told = answer.json()
    assert told["type"].startswith("/problems/"), answer.text
    return answer.status_code, told["type"].removeprefix("/problems/"), [one["rule"] for one in told["breaches"]]


def told(answer: Any) -> tuple[int, str, list[str]]:
    return answer.status_code, answer.json()["answer"]["standing"], [one["rule"] for one in answer.json()["answer"]["breaches"]]


def test_DECL_01_leave_at_a_stopped_case_is_refused_as_on_hold_and_the_start_or_arrival_told_is_kept(
    phones: Phones, joined: sessionmaker[Session], made: World, planned: Planned
) -> None:
    with joined.begin() as session:
        cases.suspend(session, made.amina.actor, planned.approved.case.id, SuspensionReason.DENIES_APPLICATION, made.now)
    phones.clock.step(600)
    assert refused(phones.start(planned)) == (409, "case-on-hold", ["DECL-01"])
    assert told(phones.start(planned, "fact")) == (201, "breach", ["DECL-01"])
    first, second = Handset(made.bilal), Handset(made.dong)
    payload = first.payload(made, visit_of(joined, planned), Kind.ARRIVAL, ARRIVAL, partner=second, at=phones.clock.now)
    assert phones.state(made.bilal, signed_twice(first, second, payload, phones.clock.now))["after-hold"] == "doubt"


@pytest.mark.parametrize("how", ["another day", "withdrawn"])
def test_REQ_04_leave_for_a_visit_that_is_not_open_is_refused_and_the_start_told_is_kept(
    phones: Phones, joined: sessionmaker[Session], keyring: Keyring, made: World, planned: Planned, how: str
) -> None:
    if how == "another day":
        phones.clock.step(86_400)
    else:
        with joined.begin() as session:
            withdraw(session, made.amina.actor, planned.approved.request_id, made.now)
            approved_request(session, keyring, made, 2, lon="121.48")
            assert planned.visit_id not in [stop.visit_id for stop in planned_day(session, made).stops]
    assert refused(phones.start(planned))[:2] == (409, "visit-not-open")
    assert told(phones.start(planned, "fact"))[:2] == (201, "breach")


def test_REQ_04_a_statement_about_a_visit_that_is_not_open_is_kept_with_the_finding(
    phones: Phones, joined: sessionmaker[Session], keyring: Keyring, made: World, planned: Planned
) -> None:
    with joined.begin() as session:
        planned_day(session, made)                                      # Version 2: the visit of version 1 is cancelled.
    capture = Handset(made.bilal).payload(made, visit_of(joined, planned), Kind.CAPTURE, CAPTURE)
    assert phones.state(made.bilal, signed_once(Handset(made.bilal), capture))["visit-not-open"] == "doubt"


def test_REQ_04_leave_under_a_superseded_plan_is_refused_as_stale_and_a_statement_of_another_version_is_told(
    phones: Phones, joined: sessionmaker[Session], made: World, planned: Planned
) -> None:
    with joined.begin() as session:
        (anew,) = planned_day(session, made).stops
    assert anew.visit_id != planned.visit_id
    assert refused(phones.start(planned)) == (409, "visit-version-stale", ["REQ-04"])
    assert told(phones.start(planned, "fact")) == (201, "breach", ["REQ-04"])
    capture = Handset(made.bilal).payload(made, visit_of(joined, planned), Kind.CAPTURE, CAPTURE, visit_version=2)
    assert phones.state(made.bilal, signed_once(Handset(made.bilal), capture))["visit-version-stale"] == "info"


def test_VIS_01_who_is_not_of_the_pair_gets_no_visit_and_their_statement_is_kept_as_a_breach(
    phones: Phones, joined: sessionmaker[Session], made: World, planned: Planned
) -> None:
    stranger = Handset(made.zhen)
    capture = stranger.payload(made, visit_of(joined, planned), Kind.CAPTURE, CAPTURE)
    assert phones.state(made.zhen, signed_once(stranger, capture))["signer-not-assigned"] == "doubt"


def test_EVD_09_a_second_payload_under_one_number_is_kept_and_found(
    phones: Phones, joined: sessionmaker[Session], made: World, planned: Planned
) -> None:
    visit = visit_of(joined, planned)
    for is_second in (False, True):
        phone = Handset(made.bilal)                                     # Its chain begins anew: number 1 both times.
        found = phones.state(made.bilal, signed_once(phone, phone.payload(made, visit, Kind.CAPTURE, CAPTURE)))
        assert found.get("chain-fork") == ("fraud_sign" if is_second else None)


# -- The same id twice at once -------------------------------------------------------------------------------------------------------


@pytest.fixture
def at_work(sessions: sessionmaker[Session], tmp_path: Path, now: datetime) -> Iterator[tuple[Phones, Planned]]:
    """A server with real commits."""
    keyring, clock = shared_keyring(), SteppedClock(now)
    with sessions.begin() as session:
        made = world(session, keyring, now)
        planned = planned_visit(session, keyring, made)
    with make_client(make_resources(sessions, keyring, tmp_path, clock), [signed_in(phone_actor, events.ROUTES)]) as client:
        yield Phones(client, keyring, clock, made), planned


def test_an_id_whose_first_request_is_still_handled_is_in_progress_and_then_answered(
    at_work: tuple[Phones, Planned], sessions: sessionmaker[Session]
) -> None:
    phones, planned = at_work
    event_id, body = new_id(), {"visitId": str(planned.visit_id), "attempt": 1, "isMatch": True}

    def send() -> Any:
        return phones.event("visit.right_party", "fact", body, event_id=event_id)

    with sessions() as first:
        if first.get_bind().dialect.name == "postgresql":               # On SQLite whoever writes is alone: the second waits and is answered.
            inbox.take_in_hand(first, event_id)
            answer = send()
            assert (answer.status_code, answer.json()["type"], int(answer.headers["retry-after"]) > 0) == (409, "/problems/in-progress", True)
    assert [send().status_code, send().status_code] == [201, 200]


def test_an_id_sent_by_four_at_once_is_told_once(at_work: tuple[Phones, Planned], sessions: sessionmaker[Session]) -> None:
    phones, planned = at_work
    event_id, body, gate = new_id(), {"visitId": str(planned.visit_id), "attempt": 1, "isMatch": True}, Barrier(4)

    def send() -> Any:
        gate.wait()
        return phones.event("visit.right_party", "fact", body, event_id=event_id)

    acts: list[Callable[[], Any]] = [send] * 4
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda act: act(), acts))
    assert sorted(answer.status_code for answer in answers)[-1] in (201, 409)
    assert [answer.status_code for answer in answers].count(201) == 1
    assert {answer.json()["type"] for answer in answers if answer.status_code == 409} <= {"/problems/in-progress"}
    with sessions() as session:
        assert session.scalar(select(func.count()).select_from(RightPartyRow)) == 1
