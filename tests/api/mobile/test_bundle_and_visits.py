"""The day bundle and the events of a visit over HTTP: only one's own day, only while it lasts, nothing of a withdrawn stop."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from litestar.testing import TestClient
from sqlalchemy import select
from sqlalchemy.orm import Session, sessionmaker

from backend.audit.tables import AuditEntryRow, AuditReadRow
from backend.cases import actions as cases
from backend.cases.model import SuspensionReason
from backend.cases.tables import CaseRow
from backend.core.ids import new_id
from backend.disputes.tables import DisputeRow
from backend.exhibits import beacons
from backend.keys.keyring import Keyring
from backend.keys.model import KeyPurpose
from backend.policies.tables import PolicyRow
from backend.visits.bundle import right_party_digest
from backend.visits.tables import VisitRow
from backend.web.auth import phone_actor
from evidence.canonical import sha256_hex
from evidence.es256 import compact_verify
from evidence.keys import thumbprint
from evidence.times import format_utc
from mobile_api import bundle, events
from tests.support.cases import approved_request, id_number, row
from tests.support.http import SteppedClock, make_client, make_resources, signed_in
from tests.support.phones import phone_headers
from tests.support.visits import Planned, checked_in, planned_day, planned_visit
from tests.support.world import Person, World, world


@pytest.fixture
def made(joined: sessionmaker[Session], keyring: Keyring, now: datetime) -> World:
    with joined.begin() as session:
        return world(session, keyring, now)


@pytest.fixture
def clock(now: datetime) -> SteppedClock:
    return SteppedClock(now)


@pytest.fixture
def client(joined: sessionmaker[Session], keyring: Keyring, tmp_path: Path, clock: SteppedClock, made: World) -> Iterator[TestClient[Any]]:
    resources = make_resources(joined, keyring, tmp_path, clock)
    with make_client(resources, [signed_in(phone_actor, [*bundle.ROUTES, *events.ROUTES])]) as client:
        yield client


@pytest.fixture
def planned(joined: sessionmaker[Session], keyring: Keyring, made: World) -> Planned:
    with joined.begin() as session:
        return planned_visit(session, keyring, made, safety_note="dog in the yard")


class Caller:
    """Phones of the world, calling."""

    def __init__(self, client: TestClient[Any], keyring: Keyring, clock: SteppedClock) -> None:
        self.client, self.keyring, self.clock, self.seq = client, keyring, clock, 0

    def fetch(self, person: Person, on: Any) -> Any:
        headers = phone_headers(self.keyring, person, "GET", "/mobile/v1/bundle", self.clock.now)
        return self.client.get(f"/mobile/v1/bundle?on={on}", headers=headers)

    def opened(self, person: Person, on: Any) -> dict[str, Any]:
        answer = self.fetch(person, on)
        assert answer.status_code == 200, answer.text
        token = answer.json()["bundle"]
        _, document = compact_verify(token, lambda kid: self.keyring.resolve(KeyPurpose.BUNDLE, kid), typ="day-bundle+jws")
        return dict(document)

    def send(self, person: Person, kind: str, body: dict[str, Any], *, mode: str = "fact", event_id: Any = None, **clocks: Any) -> Any:
        self.seq += 1
        wall = self.clock.now.strftime("%Y-%m-%dT%H:%M:%S.000Z")
        envelope = {
            "id": str(event_id or new_id()), "kind": kind, "mode": mode, "seq": self.seq,
            "clocks": {"wall": wall, "monotonicMs": 36_000_000, "bootId": "boot-1", **clocks}, "body": body,
        }
        headers = phone_headers(self.keyring, person, "POST", "/mobile/v1/events", self.clock.now)
        return self.client.post("/mobile/v1/events", json=envelope, headers=headers)


@pytest.fixture
def caller(client: TestClient[Any], keyring: Keyring, clock: SteppedClock) -> Caller:
    return Caller(client, keyring, clock)


def test_a_day_that_is_not_ones_own_is_not_there(caller: Caller, made: World, planned: Planned) -> None:
    assert caller.fetch(made.zhen, made.today).status_code == 404
    assert caller.fetch(made.bilal, made.today + timedelta(days=1)).status_code == 404
    assert caller.fetch(made.bilal, "tomorrow").status_code in (400, 422)


def test_case_data_are_given_until_the_end_of_the_day_and_its_grace(caller: Caller, clock: SteppedClock, made: World, planned: Planned) -> None:
    clock.step(17 * 3600)                                            # 03:00 of the next day: midnight and three hours of grace.
    assert caller.fetch(made.bilal, made.today).status_code == 200
    clock.step(1)
    answer = caller.fetch(made.bilal, made.today)
    assert (answer.status_code, answer.json()["type"]) == (410, "/problems/bundle-expired")


def test_DECL_01_a_suspended_stop_is_withdrawn_with_its_reason_and_nothing_personal(
    caller: Caller, joined: sessionmaker[Session], made: World, planned: Planned
) -> None:
    assert len(caller.opened(made.bilal, made.today)["stops"]) == 1
    with joined.begin() as session:
        cases.suspend(session, made.amina.actor, planned.approved.case.id, SuspensionReason.DENIES_APPLICATION, made.now)
    document = caller.opened(made.bilal, made.today)
    assert document["stops"] == document["banks"] == []
    assert document["withdrawn"] == [{"visit_id": str(planned.visit_id), "position": 1, "reason": "suspended"}]
    assert "测试" not in str(document)


def test_REQ_09_the_pairs_break_is_a_stop_of_its_day(caller: Caller, joined: sessionmaker[Session], keyring: Keyring, made: World) -> None:
    with joined.begin() as session:
        session.add(PolicyRow(
            id=new_id(), version="breaks", bank_id=None, valid_from=made.now,
            thresholds={"break_s": 1800, "break_from_s": 11 * 3600, "break_until_s": 12 * 3600}, made_by=made.oscar.id, made_at=made.now))
        for serial, opens in ((1, 9), (2, 14)):
            approved_request(
                session, keyring, made, serial, lon=f"121.4{serial}", request={"window_from_s": opens * 3600, "window_to_s": opens * 3600 + 3600},
            )
        planned_day(session, made)
    document = caller.opened(made.bilal, made.today)
    (pause,) = [stop for stop in document["stops"] if stop["kind"] == "pause"]
    assert set(pause) == {"position", "kind", "arrives", "starts", "ends", "gate"}
    assert pause["gate"] is not None
    assert pause["ends"] > pause["starts"]


def test_CONT_08_bank_and_amount_are_folded_behind_the_right_party(caller: Caller, made: World, planned: Planned) -> None:
    document = caller.opened(made.bilal, made.today)
    (stop,) = document["stops"]
    assert stop["folded"]["bank"]["name_en"] == "Sample Bank A"
    assert stop["folded"]["amount_fen"] == planned.approved.case.amount_fen
    unfolded = {name: value for name, value in stop.items() if name != "folded"}
    assert "Sample Bank" not in str(unfolded)
    assert str(planned.approved.case.amount_fen) not in str(unfolded)
    name, last4 = row(1)["name"], id_number(1)[-4:]
    assert right_party_digest(stop["right_party"]["salt"], name, last4) == stop["right_party"]["digest"]
    assert right_party_digest(stop["right_party"]["salt"], name, "0000") != stop["right_party"]["digest"]
    assert id_number(1) not in str(document)


def test_the_bundle_names_partner_door_policy_keys_and_is_recorded(
    caller: Caller, joined: sessionmaker[Session], made: World, planned: Planned
) -> None:
    with joined.begin() as session:
        session.add(PolicyRow(
            id=new_id(), version="bank-a-strict", bank_id=made.bank_a.id, valid_from=made.now, thresholds={"carry_limit_fen": 4_000},
            made_by=made.oscar.id, made_at=made.now))
    document = caller.opened(made.bilal, made.today)
    partner = document["pair"]["partner"]
    assert made.dong.phone is not None
    assert (partner["staff_id"], partner["kid"]) == (str(made.dong.id), made.dong.phone.kid)
    assert partner["jwk"]["crv"] == "P-256"
    assert thumbprint(made.dong.phone.key) == partner["kid"]
    (stop,) = document["stops"]
    assert (stop["visit_id"], stop["visit_version"], stop["address"], stop["safety_note"]) == (
        str(planned.visit_id), 1, row(1)["street"], "dog in the yard",
    )
    assert stop["gate"]["wgs84"] == {"lat_e7": 312_300_000, "lon_e7": 1_214_700_000}
    assert stop["gate"]["gcj02"] != stop["gate"]["wgs84"]
    assert document["policy"]["version"] == "default-1"
    assert {"bundle", "receipt", "beacon"} <= set(document["server_keys"])
    assert document["cash"]["receipt_numbers"] == document["cash"]["authorisations"] == []
    assert [one["payment_channels"][0]["kind"] for one in document["banks"]] == ["app"]
    assert document["banks"][0]["limits"]["carry_limit_fen"] == 4_000
    with joined() as session:
        assert planned.approved.case.id in session.scalars(select(AuditReadRow.subject_id)).all()
        tags = session.scalars(select(AuditEntryRow.tag).where(AuditEntryRow.subject == f"plan:{planned.plan_id}")).all()
        assert "plan.bundle-read" in tags


def test_VIS_01_leave_asked_alone_is_refused_and_a_start_told_alone_is_stored(caller: Caller, made: World, planned: Planned) -> None:
    visit = str(planned.visit_id)
    told = caller.send(made.bilal, "visit.check_in", {"visitId": visit, "isCredentialWorn": True, "identityPresented": "agency"})
    assert (told.status_code, told.json()["answer"]["standing"]) == (201, "accepted")
    refused = caller.send(made.bilal, "visit.start", {"visitId": visit}, mode="intent")
    assert (refused.status_code, refused.json()["type"], "VIS-01" in refused.text) == (409, "/problems/rules-breached", True)
    stored = caller.send(made.bilal, "visit.start", {"visitId": visit})
    answer = stored.json()["answer"]
    assert (stored.status_code, answer["standing"], [one["rule"] for one in answer["breaches"]]) == (201, "breach", ["VIS-01"])


def test_a_visit_is_told_from_check_in_to_report(
    caller: Caller, clock: SteppedClock, joined: sessionmaker[Session], keyring: Keyring, made: World, planned: Planned
) -> None:
    visit = str(planned.visit_id)
    place = {"lon": 121.47, "lat": 31.23, "datum": "wgs84", "accuracyM": 9}
    for person in (made.bilal, made.dong):
        body = {"visitId": visit, "isCredentialWorn": True, "identityPresented": "agency", "position": place}
        assert caller.send(person, "visit.check_in", body).json()["answer"]["standing"] == "accepted"
    clock.step(60)
    granted = caller.send(made.bilal, "visit.start", {"visitId": visit}, mode="intent")
    assert (granted.status_code, granted.json()["answer"]) == (201, {"granted": True, "visitId": visit, "status": "started"})
    report: dict[str, Any] = {
        "isEntered": False, "recoverability": "partly", "reasons": "works again", "attitude": "calm", "delinquencyReason": "illness",
        "financialSituation": "wages",
    }
    for kind, body, status in (
        ("visit.right_party", {"attempt": 1, "isMatch": True}, "started"),
        ("visit.outcome", {"code": "promise", "fields": {"amount_fen": 200_000, "promised_on": "2026-12-04", "is_confirmed": True}}, "concluded"),
        ("visit.end", {}, "concluded"), ("visit.report", report, "reported"),
        ("safety.incident", {"kind": "safety", "note": "loose step"}, "reported"),
    ):
        clock.step(60)
        told = caller.send(made.bilal, kind, {"visitId": visit, **body})
        assert (told.status_code, told.json()["answer"]["standing"], told.json()["answer"]["status"]) == (201, "accepted", status), told.text
    with joined() as session:
        row_ = session.get_one(VisitRow, planned.visit_id)
        assert row_.ended_at == made.now + timedelta(minutes=4)


def test_an_event_sent_again_is_answered_again_and_told_once(
    caller: Caller, joined: sessionmaker[Session], keyring: Keyring, made: World, planned: Planned
) -> None:
    with joined.begin() as session:
        checked_in(session, keyring, made, planned)
    body, event_id = {"visitId": str(planned.visit_id), "attempt": 1, "isMatch": True}, new_id()
    first = caller.send(made.bilal, "visit.right_party", body, event_id=event_id)
    caller.seq -= 1
    again = caller.send(made.bilal, "visit.right_party", body, event_id=event_id)
    assert (first.status_code, again.status_code, again.json()["answer"]) == (201, 200, first.json()["answer"])


@pytest.mark.parametrize(("kind", "body"), [
    ("visit.start", {}), ("visit.check_in", {"isCredentialWorn": True, "identityPresented": "agency"}),
    ("visit.right_party", {"attempt": 1, "isMatch": True}), ("visit.entered", {}), ("visit.outcome", {"code": "nobody_met"}), ("visit.end", {}),
    ("vulnerability.noticed", {"condition": "ill"}), ("safety.incident", {"kind": "safety", "note": "n"}),
    ("visit.report", {
        "isEntered": False, "recoverability": "partly", "reasons": "", "attitude": "", "delinquencyReason": "", "financialSituation": "",
    }),
])
def test_SEC_01_another_pairs_visit_is_not_there(caller: Caller, made: World, planned: Planned, kind: str, body: dict[str, Any]) -> None:
    answer = caller.send(made.zhen, kind, {"visitId": str(planned.visit_id), **body})
    assert (answer.status_code, answer.json()["type"]) == (404, "/problems/not-found")


@pytest.mark.parametrize(("kind", "body"), [
    ("visit.start", {"visitId": "no"}), ("visit.right_party", {"attempt": 0, "isMatch": True}), ("visit.outcome", {"code": ""}),
    ("visit.report", {"recoverability": "partly"}), ("visit.check_in", {"isCredentialWorn": True, "identityPresented": "king"}),
    ("visit.end", {"more": 1}),
])
def test_a_body_that_does_not_fit_is_a_problem(caller: Caller, made: World, planned: Planned, kind: str, body: dict[str, Any]) -> None:
    answer = caller.send(made.bilal, kind, {"visitId": str(planned.visit_id), **body})
    assert (answer.status_code, answer.json()["type"]) == (422, "/problems/invalid-input")


def test_VIS_02_a_report_always_answers_whether_they_entered(caller: Caller, made: World, planned: Planned) -> None:
    body = {"visitId": str(planned.visit_id), "recoverability": "partly", "reasons": "r", "attitude": "a", "delinquencyReason": "d",
            "financialSituation": "f"}
    assert caller.send(made.bilal, "visit.report", body).status_code == 422


@pytest.mark.parametrize("days", [-2, 2])
def test_F24_a_wall_clock_days_off_is_judged_within_the_beacons_bounds(
    caller: Caller, joined: sessionmaker[Session], made: World, planned: Planned, days: int
) -> None:
    with joined.begin() as session:
        assert made.bilal.phone is not None
        beacon = sha256_hex(beacons.issue(session, caller.keyring, made.bilal.phone.kid, "nonce", caller.clock.now).encode())
    caller.clock.step(600)
    clocks: dict[str, Any] = {"wall": format_utc(caller.clock.now + timedelta(days=days)), "beacon": beacon, "beaconAgeMs": 600_000}
    assert caller.send(made.bilal, "visit.end", {"visitId": str(planned.visit_id)}, **clocks).status_code == 201
    with joined() as session:
        ended_at = planned.row(session).ended_at
    assert ended_at is not None
    assert abs(ended_at - caller.clock.now) <= timedelta(minutes=2)


def test_a_beacon_of_another_phone_bounds_nothing(caller: Caller, joined: sessionmaker[Session], made: World, planned: Planned) -> None:
    with joined.begin() as session:
        assert made.dong.phone is not None
        beacon = sha256_hex(beacons.issue(session, caller.keyring, made.dong.phone.kid, "nonce", caller.clock.now).encode())
    claimed = caller.clock.now - timedelta(hours=1)
    clocks: dict[str, Any] = {"wall": format_utc(claimed), "beacon": beacon, "beaconAgeMs": 0}
    assert caller.send(made.bilal, "visit.end", {"visitId": str(planned.visit_id)}, **clocks).status_code == 201
    with joined() as session:
        assert planned.row(session).ended_at == claimed


@pytest.mark.parametrize("kind", ["cash.handover", "cash.deposit", "cash.deposit at a counter"])
def test_money_of_a_bank_that_is_not_there_is_not_found(caller: Caller, made: World, kind: str) -> None:
    now, bank_id, counter = format_utc(caller.clock.now), str(new_id()), kind.endswith("counter")
    body: dict[str, Any] = {
        "depositId": str(new_id()), "bankId": str(made.bank_a.id) if counter else bank_id, "accountDigest": "0" * 64, "channel": "counter",
        "slipReference": "S-1", "amountFen": 100, "depositedAt": now, "receiptNumbers": ["R-1"], "bankHoursId": str(new_id()) if counter else None,
    } if kind != "cash.handover" else {
        "handoverId": str(new_id()), "bankId": bank_id, "giverId": str(made.bilal.id), "takerId": str(made.dong.id), "amountFen": 100,
        "handedAt": now, "giverToken": "a.b.c",
    }
    answer = caller.send(made.bilal, kind.partition(" ")[0], body)
    assert (answer.status_code, answer.json()["type"]) == (404, "/problems/not-found")


def test_DECL_01_a_denial_that_names_no_visit_of_the_case_still_suspends(
    caller: Caller, joined: sessionmaker[Session], made: World, planned: Planned
) -> None:
    with joined() as session:
        case_id = planned.row(session).case_id
    body = {"caseId": str(case_id), "visitId": str(new_id()), "kind": "denies_application", "statedAt": format_utc(caller.clock.now)}
    answer = caller.send(made.bilal, "dispute.stated", body)
    assert answer.status_code == 201, answer.text
    with joined() as session:
        assert session.get_one(CaseRow, case_id).suspended_at is not None
        assert session.get_one(DisputeRow, UUID(answer.json()["id"])).visit_id is None
