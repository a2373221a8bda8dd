"""The second signature over HTTP: it comes, it is refused in writing, or it never comes. Every way has an end that a supervisor sees (VIS-01)."""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from litestar.testing import TestClient
from sqlalchemy import select
from sqlalchemy.orm import Session, sessionmaker

from backend.audit.verify import verify
from backend.cash.tables import CashExceptionRow, CollectionRow
from backend.core.rulebook import RulesBreached
from backend.exhibits.model import ManifestState, Standing
from backend.exhibits.tables import CosignRefusalRow, ManifestRow
from backend.jobs.threads import ThreadQueue
from backend.keys.keyring import Keyring
from backend.visits import reports
from backend.visits.model import IncidentKind, ReviewVerdict, Verdict
from backend.visits.rules import REVIEW_CHECKLIST
from backend.visits.tables import ExceptionRow, IncidentRow, VisitRow
from backend.web.app import Resources
from backend.web.auth import phone_actor
from evidence.capitals import to_capitals
from evidence.facts import CashReceiptFacts, CosignRefusalFacts, Denomination, Instrument, Kind, PayerRelation, RefusalReason
from evidence.manifest import decode_manifest, manifest_digest
from mobile_api import manifests
from mobile_api.statement_acts import lapse, overdue_task
from tests.support.cash import Door, door
from tests.support.exhibits import ARRIVAL, Handset, close_facts, signed_once, signed_twice
from tests.support.http import SteppedClock, make_client, make_resources, signed_in
from tests.support.phones import phone_headers
from tests.support.world import Person, world

PATH = "/mobile/v1/evidence-manifests"


class Street:
    """A dispatched visit, its phones and the server that they send to."""

    def __init__(self, resources: Resources, client: TestClient[Any], clock: SteppedClock, at: Door) -> None:
        self.resources, self.client, self.clock, self.at = resources, client, clock, at

    @property
    def first(self) -> Handset:
        return self.at.first

    @property
    def second(self) -> Handset:
        return self.at.second

    def send(self, person: Person, raw: bytes) -> Any:
        headers = {**phone_headers(self.resources.keyring, person, "POST", PATH, self.clock.now), "Content-Type": "application/jose+json"}
        return self.client.post(PATH, content=raw, headers=headers)

    def payload(self, kind: Kind = Kind.ARRIVAL, facts: Any = ARRIVAL, *, by: Handset | None = None, partner: Handset | None = None) -> bytes:
        return (by or self.first).payload(self.at.made, self.at.facts, kind, facts, partner=partner)

    def receipt(self, number: str, partner: Handset | None) -> bytes:
        facts = CashReceiptFacts(
            receipt_number=number, amount_fen=300, amount_capitals=to_capitals(300), instrument=Instrument.CASH, payer=PayerRelation.DEBTOR,
            payer_name_sha256=hashlib.sha256(b"n").hexdigest(), authorisation_jti=None, previous_receipt="0" * 64,
            denominations=(Denomination(face_fen=100, count=3),))
        return self.payload(Kind.CASH_RECEIPT, facts, partner=partner)

    def refuse(self, payload: bytes, by: Handset, reason: RefusalReason = RefusalReason.NOT_AS_STATED) -> bytes:
        facts = CosignRefusalFacts(manifest=manifest_digest(payload), reason=reason, note="the sum was another")
        return signed_once(by, self.payload(Kind.COSIGN_REFUSAL, facts, by=by))

    def reading(self) -> Session:
        return self.resources.sessions()

    def state_of(self, payload: bytes) -> tuple[ManifestState, Standing]:
        with self.reading() as session:
            row = session.scalars(select(ManifestRow).where(ManifestRow.digest == manifest_digest(payload))).one()
            return row.state, row.standing


@pytest.fixture
def street(joined: sessionmaker[Session], keyring: Keyring, tmp_path: Path, now: Any) -> Iterator[Street]:
    clock = SteppedClock(now)
    resources = make_resources(joined, keyring, tmp_path, clock)
    with joined.begin() as session:
        at = door(session, keyring, world(session, keyring, now))
    with make_client(resources, [signed_in(phone_actor, manifests.ROUTES)]) as client:
        yield Street(resources, client, clock, at)


def test_VIS_01_a_refusal_to_sign_is_a_signed_statement_with_receipt_and_opens_an_incident(street: Street, keyring: Keyring) -> None:
    payload = street.payload(partner=street.second)
    assert street.send(street.at.made.bilal, signed_once(street.first, payload)).status_code == 202
    refused = street.send(street.at.made.dong, street.refuse(payload, street.second))
    assert (refused.status_code, refused.json()["state"], bool(refused.json()["receipt"])) == (201, "complete", True)
    assert street.state_of(payload) == (ManifestState.LAPSED, Standing.BREACH)
    with street.reading() as session:
        (incident,) = session.scalars(select(IncidentRow).where(IncidentRow.visit_id == street.at.visit_id))
        assert incident.kind is IncidentKind.COSIGNATURE_REFUSED
        assert [row.code for row in session.scalars(select(ExceptionRow))] == [reports.LAPSED]
    answer = street.send(street.at.made.bilal, signed_once(street.first, payload))
    assert (answer.status_code, {"cosignature-refused"} <= {one["name"] for one in answer.json()["findings"]}) == (200, True)
    assert answer.json()["receipt"], "the phone may delete what was told, though nobody stands beside it"
    with street.reading() as session:
        assert verify(session, keyring, street.resources.origin).faults == ()


def test_VIS_01_a_refusal_that_arrives_first_meets_the_statement(street: Street) -> None:
    payload = street.payload(partner=street.second)
    raw = street.refuse(payload, street.second)
    assert street.send(street.at.made.dong, raw).status_code == 201
    assert "refused-statement-not-here" in {one["name"] for one in street.send(street.at.made.dong, raw).json()["findings"]}
    assert street.send(street.at.made.bilal, signed_once(street.first, payload)).status_code == 201
    assert street.state_of(payload) == (ManifestState.LAPSED, Standing.BREACH)


def test_VIS_01_who_signed_and_refuses_is_asked_and_a_strangers_refusal_changes_nothing(street: Street) -> None:
    payload = street.payload(partner=street.second)
    street.send(street.at.made.bilal, signed_twice(street.first, street.second, payload, street.at.taken_at))
    street.send(street.at.made.dong, street.refuse(payload, street.second, RefusalReason.PRESSURE))
    assert street.state_of(payload) == (ManifestState.COMPLETE, Standing.DOUBTFUL)
    other = street.payload(partner=street.second)
    street.send(street.at.made.bilal, signed_once(street.first, other))
    raw = street.refuse(other, street.first)
    street.send(street.at.made.bilal, raw)
    own = street.send(street.at.made.bilal, raw)
    assert "refusal-not-cosigners" in {one["name"] for one in own.json()["findings"]}
    assert street.state_of(other)[0] is ManifestState.AWAITING_COSIGNATURE


def test_VIS_01_a_refusal_twice_is_one(street: Street) -> None:
    payload = street.payload(partner=street.second)
    street.send(street.at.made.bilal, signed_once(street.first, payload))
    raw = street.refuse(payload, street.second)
    assert [street.send(street.at.made.dong, raw).status_code for _ in range(2)] == [201, 200]
    with street.reading() as session:
        assert len(session.scalars(select(CosignRefusalRow)).all()) == len(session.scalars(select(IncidentRow)).all()) == 1


def test_VIS_01_a_signature_that_never_comes_ends_at_its_term_and_not_before(street: Street) -> None:
    payload = street.payload(partner=street.second)
    street.send(street.at.made.bilal, signed_once(street.first, payload))
    task = overdue_task(street.resources)
    street.clock.step(12 * 3600 - 1)
    assert task.unfinished() == ()
    street.clock.step(1)
    (due,) = task.unfinished()
    task.run(due)
    assert street.state_of(payload) == (ManifestState.LAPSED, Standing.BREACH)
    assert task.unfinished() == ()
    assert not lapse(street.resources, due, street.clock.now), "twice is once"
    # It comes after all: the same statement is complete, and what was found stays found.
    late = street.send(street.at.made.dong, signed_twice(street.first, street.second, payload, street.at.taken_at))
    assert (late.status_code, late.json()["state"]) == (201, "complete")
    assert "cosignature-lapsed" in {one["name"] for one in late.json()["findings"]}


def test_VIS_01_any_sync_hands_over_what_is_overdue(street: Street) -> None:
    payload = street.payload(partner=street.second)
    street.send(street.at.made.bilal, signed_once(street.first, payload))
    street.clock.step(13 * 3600)
    asked: list[Any] = []

    class Noted(ThreadQueue):
        def put(self, task: str, subject_id: Any) -> None:
            asked.append((task, subject_id))

    queue = Noted([overdue_task(street.resources)])
    with make_client(street.resources.with_queue(queue), [signed_in(phone_actor, manifests.ROUTES)]) as client:
        street.client = client
        street.send(street.at.made.dong, signed_once(street.second, street.payload(by=street.second)))
    queue.stop()
    wanted = decode_manifest(payload).manifest_id
    assert wanted in {str(subject) for task, subject in asked if task == "evidence.lapse-cosignature"}


def test_CASH_05_money_told_of_by_one_collector_alone_is_booked_under_an_exception_number_at_once(street: Street, keyring: Keyring) -> None:
    with street.resources.sessions.begin() as session:
        street.at.session = session
        number = street.at.lease()[0]
    answer = street.send(street.at.made.bilal, signed_once(street.first, street.receipt(number, None)))
    assert answer.status_code == 201, answer.text
    assert answer.json()["state"] == "lapsed"
    with street.reading() as session:
        (row,) = session.scalars(select(CollectionRow))
        (exception,) = session.scalars(select(CashExceptionRow))
        assert (row.amount_fen, row.exception_number, row.cosigner_id) == (300, exception.number, street.at.made.dong.id)
        assert answer.json()["outcome"]["exception_number"] == exception.number


def test_CASH_05_a_receipt_whose_partner_never_signs_is_booked_once_at_the_term(street: Street) -> None:
    with street.resources.sessions.begin() as session:
        street.at.session = session
        number = street.at.lease()[0]
    payload = street.receipt(number, street.second)
    assert street.send(street.at.made.bilal, signed_once(street.first, payload)).status_code == 202
    with street.reading() as session:
        assert session.scalars(select(CollectionRow)).all() == []
    street.clock.step(12 * 3600)
    for due in overdue_task(street.resources).unfinished():
        overdue_task(street.resources).run(due)
    late = street.send(street.at.made.dong, signed_twice(street.first, street.second, payload, street.at.taken_at))
    assert late.json()["state"] == "complete"
    with street.reading() as session:
        (row,) = session.scalars(select(CollectionRow))
        assert row.exception_number is not None


def test_VIS_01_a_closing_that_lapsed_is_accepted_only_by_a_supervisor_who_takes_it_on(street: Street, keyring: Keyring) -> None:
    payload = street.payload(Kind.VISIT_CLOSE, close_facts(street.at.made, ()), partner=street.second)
    street.send(street.at.made.bilal, signed_once(street.first, payload))
    street.clock.step(12 * 3600)
    for due in overdue_task(street.resources).unfinished():
        overdue_task(street.resources).run(due)
    with street.resources.sessions.begin() as session:
        visit = session.get_one(VisitRow, street.at.visit_id)
        visit.status = reports.VisitStatus.REPORTED
        session.flush()

        def reviewed(*accepted: str) -> Any:
            command = ReviewVerdict(
                visit_id=street.at.visit_id, verdict=Verdict.ACCEPTED, checklist=dict.fromkeys(REVIEW_CHECKLIST, True), comment="asked both",
                accepted_exceptions=frozenset(accepted))
            return reports.review(session, street.at.made.amina.actor, keyring, command, street.clock.now)

        with pytest.raises(RulesBreached) as refused:
            reviewed()
        assert {breach.code for breach in refused.value.breaches} == {"exceptions-open"}
        assert reviewed(reports.CLOSING_LAPSED, "recording-not-stored") is reports.VisitStatus.REVIEWED
