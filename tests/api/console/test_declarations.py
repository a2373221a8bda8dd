"""Denials, declarations and suspicions over HTTP on both engines: what a denial stops, who rules, what follows each ruling. Refusals first."""

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from litestar.testing import TestClient
from sqlalchemy import select
from sqlalchemy.orm import Session, sessionmaker

from backend.archive import answers
from backend.audit.tables import LogEntryRow
from backend.audit.verify import verify
from backend.banks.model import TemplateKind
from backend.cases.actions import recall
from backend.cases.model import CaseStatus, SuspensionReason
from backend.cases.tables import CaseRow
from backend.console import cash, contacts, disputes, follow_ups, offers, plans, requests, visits
from backend.core.ids import CaseId, VisitId, new_id
from backend.disputes.rules import SET_TEXT
from backend.disputes.suspicion_tables import SuspicionRow
from backend.exhibits.model import VisitFacts
from backend.keys.keyring import Keyring
from backend.keys.model import KeyPurpose
from backend.visits.for_evidence import facts_for_evidence
from backend.web.app import Resources
from backend.web.auth import console_actor, phone_actor
from evidence.es256 import compact_verify
from evidence.facts import DeclarationFacts, DeclarationForm, Denial, Kind
from evidence.manifest import Role
from evidence.times import format_utc
from mobile_api import bundle, events, manifests
from mobile_api.statement_acts import overdue_task
from tests.support.cases import WORK_NUMBER
from tests.support.cash import Door
from tests.support.exhibits import DOOR, Handset, item, signed_once, signed_twice
from tests.support.http import SteppedClock, console_headers, make_client, make_resources, signed_in
from tests.support.phones import phone_headers
from tests.support.visits import Planned, planned_visit
from tests.support.world import Person, World, world

CONSOLE = [
    *contacts.ROUTES, *disputes.ROUTES, *follow_ups.ROUTES, *offers.ROUTES, *plans.ROUTES, *requests.ROUTES, *visits.ROUTES, *cash.ROUTES,
]
PHONES = [*bundle.ROUTES, *events.ROUTES, *manifests.ROUTES]
STATEMENTS = "/mobile/v1/evidence-manifests"
COPIED = SET_TEXT.format(bank="示范银行A")
OWN_CARD, FRAUD, STANDS = {"ruling": "own_card"}, {"ruling": "fraud"}, {"ruling": "amount_stands"}


class Street:
    """A published visit of today with everything about its case under way: a promise, an offer, the bank's leave to take cash, a leased book."""

    def __init__(self, resources: Resources, client: TestClient[Any], clock: SteppedClock, made: World, planned: Planned) -> None:
        self.resources, self.client, self.clock, self.made, self.planned, self.seq = resources, client, clock, made, planned, 0
        self.first, self.second = Handset(made.bilal), Handset(made.dong)
        self.case_id = planned.approved.case.id

    def ask(self, person: Person, method: str, path: str, body: Any = None) -> Any:
        """Call the console as a person."""
        with self.resources.sessions.begin() as session:
            headers = console_headers(session, person, self.clock.now)
        return self.client.request(method, path, headers=headers, json=body)

    def tell(self, person: Person, kind: str, body: dict[str, Any], mode: str = "fact") -> Any:
        """Send one event from a person's phone."""
        self.seq += 1
        clocks = {"wall": format_utc(self.clock.now), "monotonicMs": self.seq, "bootId": "b1", "beacon": None, "beaconAgeMs": None}
        return self.send(person, {"id": str(new_id()), "kind": kind, "mode": mode, "seq": self.seq, "clocks": clocks, "body": body})

    def send(self, person: Person, envelope: dict[str, Any]) -> Any:
        """Send an event as it is."""
        headers = phone_headers(self.resources.keyring, person, "POST", "/mobile/v1/events", self.clock.now)
        return self.client.post("/mobile/v1/events", headers=headers, json=envelope)

    def call(self, result: str, **outcome: Any) -> Any:
        """Report what came of hana's call of now."""
        told = {"result": result, "recordingReference": "REC-2", **outcome}
        return self.ask(self.made.hana, "POST", f"/api/v1/cases/{self.case_id}/contacts", {
            "mode": "fact", "channel": "phone", "at": self.clock.now.isoformat(), "workNumber": WORK_NUMBER, "outcome": told})

    def day(self) -> dict[str, Any]:
        """Fetch bilal's bundle of today and open it."""
        headers = phone_headers(self.resources.keyring, self.made.bilal, "GET", "/mobile/v1/bundle", self.clock.now)
        answer = self.client.get(f"/mobile/v1/bundle?on={self.made.today}", headers=headers)
        assert answer.status_code == 200, answer.text
        _, document = compact_verify(
            answer.json()["bundle"], lambda kid: self.resources.keyring.resolve(KeyPurpose.BUNDLE, kid), typ="day-bundle+jws")
        return dict(document)

    def case(self) -> CaseRow:
        """Return the case as it stands."""
        with self.resources.sessions() as session:
            return session.get_one(CaseRow, self.case_id)

    def facts(self) -> VisitFacts:
        """Return the visit as evidence sees it."""
        with self.resources.sessions() as session:
            found = facts_for_evidence(session, str(self.planned.visit_id))
        assert found is not None
        return found

    def declaration(self, *, partner: bool = True, **changes: Any) -> Any:
        """Send a declaration that both signed, or the capturing phone alone while the partner's signature is due."""
        members: dict[str, Any] = {
            "denial": Denial.APPLICATION, "form": DeclarationForm.NOT_MY_CARD, "template_version": 1, "text": COPIED, "special_circumstances": None,
            "template_id": str(self.made.bank_a.templates[TemplateKind.NOT_MY_CARD]), "transcription": COPIED, "written_by_declarant": True,
            "signed_by_declarant": True, "id_card_generation": 2,
        }
        at = self.clock.now - timedelta(seconds=30)
        roles = (Role.DECLARATION_PAGE, Role.ID_FRONT, Role.ID_BACK)
        payload = self.first.payload(
            self.made, self.facts(), Kind.DECLARATION, DeclarationFacts(**(members | changes)), partner=self.second, at=at,
            items=tuple(item(f"{role} {new_id()}".encode(), role, at=at) for role in roles))
        raw = signed_twice(self.first, self.second, payload, at) if partner else signed_once(self.first, payload)
        headers = phone_headers(self.resources.keyring, self.made.bilal, "POST", STATEMENTS, self.clock.now)
        return self.client.post(STATEMENTS, content=raw, headers={**headers, "Content-Type": "application/jose+json"})

    def disputes(self, person: Person | None = None) -> list[dict[str, Any]]:
        """List the disputes that a person sees."""
        rows: list[dict[str, Any]] = self.ask(person or self.made.lin, "GET", f"/api/v1/disputes?caseId={self.case_id}").json()["rows"]
        return rows

    def at_the_door(self) -> None:
        """Check both in, start and meet the right party."""
        visit = str(self.planned.visit_id)
        for person in (self.made.bilal, self.made.dong):
            assert self.tell(person, "visit.check_in", {"visitId": visit, "isCredentialWorn": True, "identityPresented": "agency", "position": {
                "lon": DOOR.lon, "lat": DOOR.lat, "datum": "wgs84", "accuracyM": 9}}).status_code == 201
        assert self.tell(self.made.bilal, "visit.start", {"visitId": visit}).json()["answer"]["standing"] == "accepted"
        assert self.tell(self.made.bilal, "visit.right_party", {"visitId": visit, "attempt": 1, "isMatch": True}).status_code == 201


@pytest.fixture
def street(joined: sessionmaker[Session], keyring: Keyring, tmp_path: Path, now: datetime) -> Iterator[Street]:
    clock = SteppedClock(now)
    resources = make_resources(joined, keyring, tmp_path, clock)
    with joined.begin() as session:
        made = world(session, keyring, now)
        planned = planned_visit(session, keyring, made, lon=f"{DOOR.lon}", lat=f"{DOOR.lat}")
    with make_client(resources, [signed_in(console_actor, CONSOLE), signed_in(phone_actor, PHONES)]) as client:
        yield Street(resources, client, clock, made, planned)


Asked = dict[str, Callable[[], Any]]


def under_way(street: Street) -> Asked:
    """Bring everything about the case under way; return each act that a denial must stop, by name."""
    made, visit, case = street.made, str(street.planned.visit_id), str(street.case_id)
    promised = street.call("promise_to_pay", promisedFen=100_000, promisedOn=str(made.today + timedelta(days=3)))
    assert promised.status_code == 201, promised.text
    (promise,) = street.ask(made.hana, "GET", f"/api/v1/promises?caseId={case}").json()["rows"]
    proposal = street.ask(made.hana, "POST", "/api/v1/proposals", {"caseId": case, "terms": {"kind": "waiver", "waivedFen": 5_000}}).json()["id"]
    until = {"validToOn": str(made.today + timedelta(days=9))}
    assert street.ask(made.mo, "POST", f"/api/v1/proposals/{proposal}/offer", until).status_code == 200
    with street.resources.sessions.begin() as session:
        at = Door(
            session=session, keyring=street.resources.keyring, made=made, case_id=CaseId(street.case_id), visit_id=VisitId(street.planned.visit_id),
            bank=made.bank_a, first=street.first, second=street.second)
        number, jti, waiting = at.lease()[0], at.authorise(), at.request()
        word = at.token(at.claims(waiting))
    wanted = {"caseId": case, "visitId": visit, "circumstance": "remote_area", "explanation": "no bank", "capFen": 5_000}
    taken = {
        "caseId": case, "visitId": visit, "jti": jti, "receiptNumber": number, "amountFen": 100, "instrument": "cash",
        "cosignerDevice": street.second.kid}

    def leave(channel: str) -> Callable[[], Any]:
        body = {"mode": "intent", "workNumber": WORK_NUMBER, "channel": channel}
        return lambda: street.ask(made.hana, "POST", f"/api/v1/cases/{case}/contacts", body)

    return {
        "phone": leave("phone"), "sms": leave("sms"), "letter": leave("letter"),
        "visit request": lambda: street.ask(made.hana, "POST", "/api/v1/visit-requests", {
            "caseId": case, "reason": "again", "contactId": promised.json()["id"]}),
        "start": lambda: street.tell(made.bilal, "visit.start", {"visitId": visit}, "intent"),
        "cash request": lambda: street.ask(made.amina, "POST", "/api/v1/authorisation-requests", wanted),
        "cash request by phone": lambda: street.tell(made.bilal, "cash.request", wanted, "intent"),
        "bank's leave": lambda: street.ask(made.mo, "POST", f"/api/v1/authorisation-requests/{waiting}/grant", {"token": word}),
        "cash": lambda: street.tell(made.bilal, "cash.collect", taken, "intent"),
        "promise": lambda: street.ask(made.hana, "POST", f"/api/v1/promises/{promise['id']}/follow-up"),
        "offer": lambda: street.ask(made.hana, "POST", f"/api/v1/proposals/{proposal}/accept"),
    }


def stopped(street: Street, asked: Asked) -> set[str]:
    """Do every act; return those that DECL-01 refuses."""
    return {name for name, act in asked.items() if (answer := act()).status_code == 409 and "DECL-01" in answer.text}


def planned_again(street: Street) -> tuple[int, dict[str, Any]]:
    """Order a plan of today anew; return how many it would visit, and today's published visit as the dispatcher sees it."""
    made = street.made
    ordered = street.ask(made.farid, "POST", "/api/v1/plans", {"branchId": str(made.sh1), "on": str(made.today), "seconds": 5})
    assert ordered.status_code == 201, ordered.text
    (shown,) = street.ask(made.farid, "GET", f"/api/v1/visit-days/{made.today}").json()["visits"]
    return ordered.json()["visitCount"], shown


def all_stopped(street: Street, asked: Asked) -> None:
    """Everything about the case stands still."""
    assert stopped(street, asked) == set(asked)
    day = street.day()
    assert (day["stops"], day["cash"]["authorisations"]) == ([], [])
    assert [(one["visit_id"], one["reason"]) for one in day["withdrawn"]] == [(str(street.planned.visit_id), "suspended")]
    count, visit = planned_again(street)
    assert (count, visit["withdrawn"]) == (0, "suspended")
    due = f"/api/v1/promises?caseId={street.case_id}&dueBy={street.made.today + timedelta(days=9)}"
    assert street.ask(street.made.hana, "GET", due).json()["rows"] == []


def going_on(street: Street, asked: Asked) -> None:
    """Nothing about the case is stopped any more."""
    day = street.day()
    assert stopped(street, asked) == set()
    assert ([one["visit_id"] for one in day["stops"]], day["withdrawn"]) == ([str(street.planned.visit_id)], []), day["withdrawn"]


def ruled(street: Street, dispute: dict[str, Any], body: dict[str, Any]) -> None:
    """Rule as the case's bank, after everybody else was refused."""
    path, made = f"/api/v1/disputes/{dispute['id']}/ruling", street.made
    for person, status in ((made.amina, 403), (made.hana, 403), (made.mo, 403), (made.chen, 404), (made.wei, 403)):
        assert street.ask(person, "POST", path, body).status_code == status, person.name
    assert street.case().suspended_at is not None
    answer = street.ask(made.lin, "POST", path, body)
    assert (answer.status_code, answer.json()) == (200, {"status": "ruled"}), answer.text
    again = street.ask(made.lin, "POST", path, body)
    assert (again.status_code, again.json()["type"]) == (409, "/problems/illegal-transition")


# -- a denial that begins on the phone -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("ruling", [OWN_CARD, FRAUD], ids=["own-card", "fraud"])
def test_DECL_01_DECL_03_DECL_05_DECL_09_a_denial_of_a_call_stops_everything_until_the_bank_has_ruled(street: Street, ruling: dict[str, str]) -> None:
    asked, made = under_way(street), street.made
    before = street.case().status
    assert stopped(street, {name: asked[name] for name in ("cash", "cash request", "promise")}) == set()
    for person, status in ((made.lin, 403), (made.yara, 404), (made.chen, 403)):
        assert street.ask(person, "POST", "/api/v1/disputes", {"caseId": str(street.case_id), "kind": "denies_spending"}).status_code == status
    assert street.case().suspended_at is None
    heard = street.call("denies_application")
    assert (heard.status_code, heard.json()["isCaseSuspended"]) == (201, True)
    (dispute,) = street.disputes()
    assert (dispute["kind"], dispute["status"], dispute["visitId"], dispute["declaration"]) == ("denies_application", "stated", None, None)
    assert (street.disputes(made.chen), street.disputes(made.yara)) == ([], [])
    all_stopped(street, asked)
    ruled(street, dispute, ruling)
    if ruling is FRAUD:
        assert street.case().status is CaseStatus.RULED_FRAUD
        all_stopped(street, asked)
        for act, reason in (("police_reported", None), ("deletion_requested", None), ("deletion_refused", "no such record")):
            told = street.ask(made.lin, "POST", f"/api/v1/disputes/{dispute['id']}/follow-ups", {
                "act": act, "occurredAt": street.clock.now.isoformat(), "reference": "R-1", "reason": reason})
            assert told.status_code == 201, told.text
        all_stopped(street, asked)            # DECL-09: whatever the bureau answers, the case is not collected.
    else:
        assert (street.case().status, street.case().suspended_at) == (before, None)
        going_on(street, asked)
    with street.resources.sessions() as session:
        assert verify(session, street.resources.keyring, street.resources.origin).faults == ()


def test_DECL_01_leave_that_was_given_before_ends_with_its_result(street: Street) -> None:
    """A call for which leave was asked is concluded with a denial: the same dispute, the same suspension."""
    path = f"/api/v1/cases/{street.case_id}/contacts"
    leave = street.ask(street.made.hana, "POST", path, {"mode": "intent", "channel": "phone", "workNumber": WORK_NUMBER})
    assert leave.status_code == 201, leave.text
    told = street.ask(street.made.hana, "POST", f"/api/v1/contacts/{leave.json()['id']}/result", {"result": "disputes_amount"})
    assert (told.status_code, told.json()["isCaseSuspended"]) == (200, True)
    assert [one["kind"] for one in street.disputes()] == ["disputes_amount"]
    assert street.case().suspension_reason is SuspensionReason.DISPUTES_AMOUNT


def test_CONT_08_what_a_third_party_says_is_no_denial_of_the_cardholder(street: Street) -> None:
    def asked() -> Any:
        told = {
            "mode": "fact", "channel": "phone", "at": street.clock.now.isoformat(), "workNumber": WORK_NUMBER, "person": "third_party",
            "purpose": "information_request", "isConsented": True, "thirdParty": {"relation": "neighbour", "phone": "10000009999"},
            "outcome": {"result": "denies_application", "recordingReference": "REC-3"}}
        return street.ask(street.made.hana, "POST", f"/api/v1/cases/{street.case_id}/contacts", told)

    assert asked().status_code == 201
    assert (street.disputes(), street.case().suspended_at) == ([], None)
    street.call("disputes_amount")
    assert asked().status_code == 201
    assert [one["kind"] for one in street.disputes()] == ["disputes_amount"]


# -- a denial that begins at the door ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("code", "ruling"), [("denies_spending", OWN_CARD), ("disputes_amount", STANDS)])
def test_DECL_01_DECL_03_a_denial_at_the_door_stops_everything_until_the_bank_has_ruled(street: Street, code: str, ruling: dict[str, str]) -> None:
    asked = under_way(street)
    street.at_the_door()
    before = street.case().status
    told = street.tell(street.made.bilal, "visit.outcome", {"visitId": str(street.planned.visit_id), "code": code})
    assert (told.status_code, told.json()["answer"]["standing"]) == (201, "accepted")
    (dispute,) = street.disputes()
    assert (dispute["kind"], dispute["visitId"]) == (code, str(street.planned.visit_id))
    again = street.tell(street.made.bilal, "dispute.stated", {
        "caseId": str(street.case_id), "visitId": str(street.planned.visit_id), "kind": code, "statedAt": format_utc(street.clock.now)})
    assert again.json()["answer"]["disputeId"] == dispute["id"], "one denial, one dispute"
    del asked["start"]                                                           # The visit has begun; it is over with the denial.
    assert stopped(street, asked) == set(asked)
    assert street.day()["cash"]["authorisations"] == []
    ruled(street, dispute, ruling)
    assert (street.case().status, street.case().suspended_at) == (before, None)
    assert stopped(street, asked) == set()


def test_DECL_03_the_second_denial_keeps_the_case_suspended_until_it_is_ruled_too(street: Street) -> None:
    street.call("denies_application")
    street.call("disputes_amount")
    first, second = street.disputes()
    ruled(street, first, OWN_CARD)
    assert street.case().suspended_at is not None
    ruled(street, second, STANDS)
    assert street.case().suspended_at is None


def test_DECL_05_fraud_is_ruled_on_each_dispute_though_the_case_has_gone_back_to_the_bank(street: Street) -> None:
    street.call("denies_application")
    street.call("denies_spending")
    street.call("disputes_amount")
    first, second, third = street.disputes()
    ruled(street, first, FRAUD)
    ruled(street, third, FRAUD)
    assert street.case().status is CaseStatus.RULED_FRAUD
    with street.resources.sessions.begin() as session:
        recall(session, street.made.gu.actor, street.case_id, street.clock.now)
    answer = street.ask(street.made.lin, "POST", f"/api/v1/disputes/{second['id']}/ruling", FRAUD)
    assert (answer.status_code, street.case().status) == (200, CaseStatus.RECALLED)


def test_an_answer_that_is_trimmed_is_receipted_when_it_is_sent_again(street: Street, now: datetime) -> None:
    clocks = {"wall": format_utc(now), "monotonicMs": 1, "bootId": "b1", "beacon": None, "beaconAgeMs": None}
    body = {"visitId": str(street.planned.visit_id), "isCredentialWorn": True, "identityPresented": "agency"}
    told = {"id": str(new_id()), "kind": "visit.check_in", "mode": "fact", "seq": 1, "clocks": clocks, "body": body}
    first = street.send(street.made.bilal, told)
    assert (first.status_code, street.send(street.made.bilal, told).json()["answer"]) == (201, first.json()["answer"])
    with street.resources.sessions.begin() as session:
        recall(session, street.made.gu.actor, street.case_id, now)
        assert answers.trim_due(session, now + timedelta(days=90)) == 1
    again = street.send(street.made.bilal, told)
    assert (again.status_code, again.json()["answer"]) == (200, {
        "receivedAt": now.isoformat(), "trimmedAt": (now + timedelta(days=90)).isoformat()})
    other = street.send(street.made.bilal, told | {"body": body | {"isCredentialWorn": False}})
    assert (other.status_code, other.json()["type"]) == (409, "/problems/idempotency-conflict")


# -- the declaration in writing ------------------------------------------------------------------------------------------------


def declared(street: Street) -> dict[str, Any]:
    """Have the cardholder deny at the door and declare it in writing; return the declaration."""
    street.at_the_door()
    taken = street.declaration()
    assert (taken.status_code, taken.json()["outcome"]["status"]) == (201, "taken"), taken.text
    (dispute,) = street.disputes()
    declaration: dict[str, Any] = dispute["declaration"]
    return declaration


def investigated(street: Street, result: str) -> dict[str, Any]:
    """Take a declaration and compare the hands as the named investigator, everybody else refused first."""
    declaration, made = declared(street), street.made
    path = f"/api/v1/declarations/{declaration['id']}"
    named = {"investigatorId": str(made.amina.id)}
    assert street.ask(made.amina, "POST", f"{path}/handwriting", {"result": result}).json()["type"] == "/problems/illegal-transition"
    for person, status in ((made.bilal, 403), (made.lin, 403), (made.yara, 404)):
        assert street.ask(person, "POST", f"{path}/investigator", named).status_code == status, person.name
    assert street.ask(made.amina, "POST", f"{path}/investigator", named).json() == {"status": "investigation"}
    early = street.ask(made.lin, "POST", f"{path}/ruling", FRAUD)
    assert (early.status_code, [one["rule"] for one in early.json()["breaches"]]) == (409, ["DECL-08"])
    assert street.ask(made.amina, "POST", f"{path}/handwriting", {"result": result}).json() == {"status": "compared"}
    return declaration


def test_DECL_03_DECL_08_nothing_is_ruled_without_investigator_and_comparison(street: Street) -> None:
    declaration, made = declared(street), street.made
    assert (declaration["status"], declaration["standing"], street.case().status) == ("taken", "accepted", CaseStatus.INVESTIGATION)
    (dispute,) = street.disputes()
    for path in (f"/api/v1/declarations/{declaration['id']}/ruling", f"/api/v1/disputes/{dispute['id']}/ruling"):
        refused = street.ask(made.lin, "POST", path, OWN_CARD)
        assert (refused.status_code, [one["rule"] for one in refused.json()["breaches"]]) == (409, ["DECL-03", "DECL-08"])
    assert street.ask(made.chen, "GET", f"/api/v1/declarations/{declaration['id']}").status_code == 404
    assert street.case().suspended_at is not None


def test_DECL_02_DECL_05_DECL_09_a_declaration_ruled_fraud_is_followed_to_the_deleted_record(street: Street) -> None:
    """The bank tells act by act, the agency reads."""
    declaration, made = investigated(street, "other_hand"), street.made
    path, follow = f"/api/v1/declarations/{declaration['id']}", f"/api/v1/disputes/{declaration['disputeId']}/follow-ups"

    def act(name: str, person: Person | None = None, **more: str) -> Any:
        body = {"act": name, "occurredAt": street.clock.now.isoformat(), "reference": f"REF {name}", **more}
        return street.ask(person or made.lin, "POST", follow, body)

    for person, status in ((made.amina, 403), (made.chen, 404)):
        assert street.ask(person, "POST", f"{path}/ruling", FRAUD).status_code == status, person.name
    early = act("deletion_requested")
    assert (early.status_code, [one["rule"] for one in early.json()["breaches"]]) == (409, ["DECL-05"])
    assert street.ask(made.lin, "POST", f"{path}/ruling", FRAUD).json() == {"status": "ruled"}
    for person, status in ((made.amina, 403), (made.hana, 403), (made.chen, 404)):
        assert act("police_reported", person).status_code == status, person.name
    assert act("police_reported", made.mo).status_code == 201
    assert [one["recordDeletion"] for one in street.ask(made.mo, "GET", "/api/v1/follow-ups/open").json()["rows"]] == ["due"]
    assert act("deletion_confirmed").status_code == 409
    assert act("deletion_requested").status_code == 201
    for unsound in ({}, {"reason": "  "}, {"reason": "a", "itemId": str(declaration["manifestId"])}):
        assert act("deletion_refused", **unsound).status_code in (400, 422), unsound
    refused = act("deletion_refused", reason="no such record")
    assert (refused.status_code, refused.json()["reason"]) == (201, "no such record")
    assert street.ask(made.lin, "GET", "/api/v1/follow-ups/open").json()["rows"] == []
    assert act("deletion_requested", reference="again").status_code == 201
    assert act("deletion_confirmed").status_code == 201
    back = act("deletion_requested", reference="once more")
    assert (back.status_code, [one["rule"] for one in back.json()["breaches"]]) == (409, ["DECL-09"])
    shown = street.ask(made.amina, "GET", path).json()
    assert (shown["ruling"], shown["ruledBy"], shown["recordDeletion"]) == ("fraud", str(made.lin.id), "done")
    for person in (made.lin, made.mo, made.amina):
        rows = street.ask(person, "GET", f"/api/v1/follow-ups?caseId={street.case_id}").json()["rows"]
        assert [one["act"] for one in rows] == [
            "police_reported", "deletion_requested", "deletion_refused", "deletion_requested", "deletion_confirmed"], person.name
    assert street.ask(made.chen, "GET", f"/api/v1/follow-ups?caseId={street.case_id}").json()["rows"] == []
    assert street.case().status is CaseStatus.RULED_FRAUD
    (suspicion,) = street.ask(made.lin, "GET", "/api/v1/suspicions").json()["rows"]
    assert (suspicion["ground"], suspicion["status"], suspicion["declarationId"]) == ("forgery", "reported", declaration["id"])
    with street.resources.sessions() as session:
        assert verify(session, street.resources.keyring, street.resources.origin).faults == ()


def test_DECL_03_DECL_05_a_declared_dispute_is_ruled_with_its_declaration(street: Street) -> None:
    """Whichever of the two the bank rules on, both end, and the case goes on."""
    declaration = investigated(street, "same_hand")
    (dispute,) = street.disputes()
    ruled(street, dispute, OWN_CARD)
    shown = street.ask(street.made.lin, "GET", f"/api/v1/declarations/{declaration['id']}").json()
    assert (shown["status"], shown["ruling"], shown["recordDeletion"]) == ("ruled", "own_card", "not_due")
    refused = street.ask(street.made.lin, "POST", f"/api/v1/disputes/{declaration['disputeId']}/follow-ups", {
        "act": "deletion_requested", "occurredAt": street.clock.now.isoformat(), "reference": "R"})
    assert (refused.status_code, [one["rule"] for one in refused.json()["breaches"]]) == (409, ["DECL-05"])
    assert street.case().suspended_at is None


def test_DECL_01_a_declaration_suspends_before_the_second_signature_and_stands_without_it(street: Street, now: datetime) -> None:
    street.at_the_door()
    assert street.declaration(partner=False).status_code == 202
    (dispute,) = street.disputes()
    assert (dispute["kind"], dispute["status"], dispute["declaration"]) == ("denies_application", "stated", None)
    assert street.case().suspended_at == now
    street.clock.step(15 * 86_400)                                              # The partner's phone never comes back.
    task = overdue_task(street.resources)
    for manifest_id in task.unfinished():
        task.run(manifest_id)
    (dispute,) = street.disputes()
    assert (dispute["status"], dispute["declaration"]["standing"], street.case().status) == ("declared", "breach", CaseStatus.INVESTIGATION)


def test_DECL_10_DECL_11_the_declarants_words_are_flagged_and_never_refused(street: Street) -> None:
    street.at_the_door()
    for changes, deviates in (
        ({"transcription": COPIED.replace("绝非", "并非")}, True), ({"transcription": None}, True),
        ({"transcription": None, "special_circumstances": "钱包于五月被盗"}, False),
    ):
        taken = street.declaration(**changes)
        assert (taken.status_code, taken.json()["outcome"]["is_text_deviating"], taken.json()["outcome"]["standing"]) == (201, deviates, "accepted")


# -- suspected fraud -----------------------------------------------------------------------------------------------------------


def test_DECL_14_DECL_02_suspected_fraud_is_a_result_that_is_verified_reported_and_acknowledged(street: Street) -> None:
    made = street.made
    assert street.call("suspected_frau").status_code == 422
    for person, status in ((made.lin, 403), (made.zhen, 404), (made.chen, 403)):
        answer = street.ask(person, "POST", f"/api/v1/cases/{street.case_id}/suspicions", {"ground": "fraud"})
        assert answer.status_code == status, person.name
    counted = street.call("suspected_fraud")
    assert (counted.status_code, counted.json()["result"], counted.json()["isCaseSuspended"]) == (201, "suspected_fraud", False)
    assert [row["result"] for row in street.ask(made.hana, "GET", f"/api/v1/cases/{street.case_id}/contacts").json()["rows"]][-1] == "suspected_fraud"
    (one,) = street.ask(made.amina, "GET", "/api/v1/suspicions").json()["rows"]
    assert (one["ground"], one["status"], one["dueAt"]) == ("fraud", "heard", None)
    for person in (made.lin, made.chen, made.yara):
        assert street.ask(person, "GET", "/api/v1/suspicions").json()["rows"] == [], person.name
    path = f"/api/v1/suspicions/{one['id']}"
    assert street.ask(made.lin, "POST", f"{path}/acknowledgement").status_code == 404
    for person, status in ((made.hana, 403), (made.lin, 403), (made.yara, 404)):
        assert street.ask(person, "POST", f"{path}/verification", {"isVerified": True}).status_code == status, person.name
    told = street.ask(made.amina, "POST", f"{path}/verification", {"isVerified": True})
    assert (told.status_code, told.json()["status"], told.json()["dueAt"] is not None) == (200, "reported", True)
    for person, status in ((made.amina, 403), (made.chen, 404)):
        assert street.ask(person, "POST", f"{path}/acknowledgement").status_code == status, person.name
    done = street.ask(made.lin, "POST", f"{path}/acknowledgement").json()
    assert (done["status"], done["acknowledgedBy"], done["isLate"]) == ("acknowledged", str(made.lin.id), False)
    with street.resources.sessions() as session:
        row = session.get_one(SuspicionRow, UUID(one["id"]))
        kinds: dict[UUID | None, str] = {entry.id: entry.entry_type for entry in session.scalars(select(LogEntryRow))}
        assert (kinds[row.log_entry_id], kinds[row.proof_entry_id]) == ("suspicion-reported", "suspicion-acknowledged")
        assert "ruling" not in kinds.values()
        assert verify(session, street.resources.keyring, street.resources.origin).faults == ()
