"""Thousands of envelopes that are no statement of ours, over HTTP: none accepted, none a 5xx; and a bug of ours is a 500 with one line."""

from collections.abc import Iterator
from typing import Any

import pytest
from litestar.testing import TestClient
from sqlalchemy import func, select
from sqlalchemy.orm import Session, sessionmaker
from structlog.testing import capture_logs

from backend.core.problems import PROBLEM_TYPES, Problem
from backend.db.engine import session_factory
from backend.exhibits.statements import open_statement
from backend.exhibits.tables import ManifestRow
from backend.web.auth import phone_actor
from evidence.facts import Kind
from mobile_api import manifests
from tests.support.engines import SqliteUnderTest
from tests.support.exhibits import ARRIVAL, CAPTURE, Handset, item, open_case, signed_once, signed_twice, visit_facts
from tests.support.hostile import hostile_bodies, hostile_envelopes, malleated
from tests.support.http import SteppedClock, make_client, make_resources, signed_in
from tests.support.phones import phone_headers
from tests.support.world import FRIDAY, World, shared_keyring, world
from tests.unit.evidence.samples import FOLDER, sample

PATH = "/mobile/v1/evidence-manifests"
KEYRING = shared_keyring()
DECODED, SENT = 11, 61
"""Every eleventh is decoded and every sixty-first sent in the ordinary run; the long suites send each."""


class Gate:
    """The route that takes statements, and one good envelope of bilal's and one that both signed, neither sent yet."""

    def __init__(self, client: TestClient[Any], sessions: sessionmaker[Session], made: World, goods: tuple[bytes, bytes]) -> None:
        self.client, self.sessions, self.made, self.goods = client, sessions, made, goods
        assert made.bilal.phone is not None
        self.key = made.bilal.phone.key

    def send(self, raw: bytes) -> Any:
        headers = {**phone_headers(KEYRING, self.made.bilal, "POST", PATH, FRIDAY), "Content-Type": "application/jose+json"}
        return self.client.post(PATH, content=raw, headers=headers)

    def refuse(self, name: str, raw: bytes) -> None:
        answer = self.send(raw)
        assert 400 <= answer.status_code < 500, (name, answer.status_code, answer.text[:300])
        assert answer.headers["content-type"] == "application/problem+json", name
        assert answer.json()["type"].removeprefix("/problems/") in PROBLEM_TYPES, name

    def decode(self, name: str, raw: bytes) -> None:
        with self.sessions() as session, pytest.raises(Problem) as refused:
            open_statement(session, raw, FRIDAY)
        assert refused.value.answered_status < 500, name

    def stored(self) -> int:
        with self.sessions() as session:
            return session.scalar(select(func.count()).select_from(ManifestRow)) or 0

    def hostile(self) -> Iterator[tuple[str, bytes]]:
        for raw in self.goods:
            yield from hostile_envelopes(raw, self.key)


@pytest.fixture(scope="module")
def gate(sqlite: SqliteUnderTest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gate]:
    with sqlite.clone() as clone:
        engine = clone.engine()
        sessions = session_factory(engine)
        with sessions.begin() as session:
            made = world(session, KEYRING, FRIDAY)
            visit = visit_facts(made, open_case(session, KEYRING, made))
        bilal, dong = Handset(made.bilal), Handset(made.dong)
        at = FRIDAY
        single = signed_once(bilal, bilal.payload(made, visit, Kind.CAPTURE, CAPTURE, items=(item(b"bytes", at=at),)))
        double = signed_twice(bilal, dong, bilal.payload(made, visit, Kind.ARRIVAL, ARRIVAL, partner=dong), at)
        resources = make_resources(sessions, KEYRING, tmp_path_factory.mktemp("gate"), SteppedClock(FRIDAY))
        with make_client(resources, [signed_in(phone_actor, manifests.ROUTES)]) as client:
            yield Gate(client, sessions, made, (single, double))
        engine.dispose()


def test_EVD_09_hostile_envelopes_are_refused_by_the_decoder_and_over_http(gate: Gate) -> None:
    made = list(gate.hostile())
    assert len(made) >= 3_000, len(made)
    for number, (name, raw) in enumerate(made):
        if number % DECODED == 0:
            gate.decode(name, raw)
        if number % SENT == 0:
            gate.refuse(name, raw)
    assert gate.stored() == 0


@pytest.mark.slow
def test_EVD_09_every_hostile_envelope_is_refused_over_http(gate: Gate) -> None:
    number = 0
    for name, raw in gate.hostile():
        gate.refuse(name, raw)
        number += 1
    assert (number >= 3_000, gate.stored()) == (True, 0)


def test_EVD_09_published_hostile_json_is_refused_wherever_an_envelope_has_json(gate: Gate) -> None:
    sample("json-hostile")
    files = sorted((FOLDER / "json-hostile").iterdir())
    assert len(files) >= 30
    for file in files:
        for name, raw in hostile_bodies(gate.goods[0], file.name, file.read_bytes(), gate.key):
            gate.refuse(name, raw)
    assert gate.stored() == 0


def test_EVD_09_a_bug_of_ours_is_a_bare_500_and_one_line_in_the_log(gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    def stumble(*_: Any, **__: Any) -> None:
        raise RuntimeError("the debtor is called so and so")

    monkeypatch.setattr(manifests, "accept", stumble)
    with capture_logs() as lines:
        answer = gate.send(gate.goods[0])
    assert (answer.status_code, answer.json()["type"]) == (500, "/problems/internal-error")
    assert "debtor" not in answer.text
    assert [(line["event"], line["path"]) for line in lines] == [("internal error", PATH)]
    assert gate.stored() == 0


def test_EVD_09_an_envelope_of_another_content_type_or_beyond_all_bounds_is_refused_before_it_is_read(gate: Gate) -> None:
    headers = phone_headers(KEYRING, gate.made.bilal, "POST", PATH, FRIDAY)
    assert gate.client.post(PATH, content=gate.goods[0], headers={**headers, "Content-Type": "text/plain"}).status_code == 415
    assert gate.send(b'{"payload":"' + b"A" * 2_000_000 + b'"}').status_code == 413


def test_EVD_09_a_malleated_signature_makes_no_second_statement(gate: Gate) -> None:
    """Last in this module: it stores the good envelopes. (r, n - s) verifies; identity is the payload's digest, never the signature."""
    for raw in gate.goods:
        assert gate.send(raw).status_code == 201
        again = gate.send(malleated(raw))
        assert again.status_code == 200, again.text
    assert gate.stored() == len(gate.goods)
