"""A bank's witness: it asks, judges, signs and submits; what it signed is published, packed and checked; what is forged, stale or forked is not."""

import base64
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from litestar.testing import TestClient
from sqlalchemy import insert, select, update
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.orm import Session, sessionmaker

from backend.audit import log
from backend.audit.tables import AuditEntryRow, LogCosignatureRow, LogWitnessRow
from backend.audit.verify import verify
from backend.audit.witnesses import witnessed_for
from backend.console import log_tiles, witnesses
from backend.web.app import Resources
from backend.web.auth import console_actor
from evidence import merkle, translog
from evidence.errors import LogProofInvalid
from evidence.witness import Seen, Witness, cosign, enrolment_text
from tests.support.http import SteppedClock, console_headers, make_client, make_resources, signed_in
from tests.support.world import Person, World, shared_keyring, world

KEYRING = shared_keyring()
NAME = "witness.bank-a.example/log"


@dataclass
class Bank:
    """A log, and bank A with a witness's key of its own."""

    client: TestClient[Any]
    resources: Resources
    sessions: sessionmaker[Session]
    made: World
    key: Ed25519PrivateKey = field(default_factory=Ed25519PrivateKey.generate)
    seen: Seen = field(default_factory=Seen)

    @property
    def origin(self) -> str:
        return self.resources.origin

    @property
    def witness(self) -> Witness:
        return Witness(name=NAME, key=self.key, origin=self.origin, log_key=KEYRING.log_public_key())

    @property
    def time_s(self) -> int:
        return int(self.made.now.timestamp())

    def grow(self, number: int = 1) -> int:
        with self.sessions.begin() as session:
            log.append_all(session, "manifest", [b"entry"] * number, self.made.now)
        return log.sequence(self.sessions, KEYRING, self.origin, self.made.now)

    def enrol(self, person: Person | None = None, **changes: Any) -> Any:
        person = person or self.made.mo
        with self.sessions.begin() as session:
            headers = console_headers(session, person, self.made.now)
        said = {"origin": self.origin, "bank": str(person.actor.bank), "staff": str(person.id), "name": NAME, **changes}
        body = {"name": NAME, "key": _b64(self.key.public_key().public_bytes_raw()), "proof": _b64(self.key.sign(enrolment_text(**said)))}
        return self.client.post("/api/v1/witnesses", json=body, headers=headers)

    def request(self, old: int | None = None) -> Any:
        return self.client.get(f"/verify/log/add-checkpoint?old={self.seen.size if old is None else old}")

    def submit(self, signed: str) -> Any:
        return self.client.post("/verify/log/cosignatures", content=signed.encode(), headers={"Content-Type": "text/plain"})

    def sign(self) -> Any:
        """Ask, judge, sign and submit once."""
        self.seen, signed = cosign(self.witness, self.seen, self.request().text, self.time_s)
        return self.submit(signed)

    def faults(self) -> set[str]:
        with self.sessions() as session:
            return {fault.code for fault in verify(session, KEYRING, self.origin).faults}


def _b64(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


@pytest.fixture
def bank(joined: sessionmaker[Session], tmp_path: Path, now: datetime) -> Iterator[Bank]:
    with joined.begin() as session:
        made = world(session, KEYRING, now)
    resources = make_resources(joined, KEYRING, tmp_path, SteppedClock(now))
    with make_client(resources, [signed_in(console_actor, witnesses.ROUTES), *log_tiles.OPEN_ROUTES]) as client:
        found = Bank(client, resources, joined, made)
        found.grow(3)
        yield found


# -- Refused -------------------------------------------------------------------------------------------------------------------


def test_EVD_09_nobody_of_the_agency_enrols_a_witness(bank: Bank) -> None:
    for person in (bank.made.oscar, bank.made.amina, bank.made.lin):
        assert bank.enrol(person).status_code == 403


@pytest.mark.parametrize("changes", [{"bank": "another"}, {"staff": "another"}, {"origin": "another"}, {"name": "another"}])
def test_EVD_09_a_proof_for_something_else_enrols_nothing(bank: Bank, changes: dict[str, str]) -> None:
    assert bank.enrol(**changes).status_code == 422
    with bank.sessions() as session:
        assert session.scalars(select(LogWitnessRow)).all() == []


def test_EVD_09_a_witness_key_is_enrolled_once_whoever_brings_it(bank: Bank) -> None:
    assert bank.enrol().status_code == 201
    assert bank.enrol().status_code == 409
    assert bank.enrol(bank.made.nuo).status_code == 409


def test_EVD_09_forged_unknown_and_ended_witnesses_sign_nothing(bank: Bank) -> None:
    signed = log_tiles_checkpoint(bank)
    good = translog.cosign_checkpoint(signed, NAME, bank.key, bank.time_s)
    assert _name(bank.submit(good)) == (422, "cosignature-refused")                    # Not enrolled yet.
    bank.enrol()
    forger = Ed25519PrivateKey.generate()
    raw = base64.b64decode(good.rstrip("\n").rpartition(" ")[2])
    flipped = signed + f"— {NAME} {_b64(raw[:-1] + bytes([raw[-1] ^ 1]))}\n"
    later = signed + f"— {NAME} {_b64(raw[:11] + bytes([raw[11] ^ 1]) + raw[12:])}\n"  # The time is signed too.
    under_our_name = signed + f"— {NAME} {_b64(raw[:4] + bytes(8) + forger.sign(b'anything'))}\n"
    for text in (
        translog.cosign_checkpoint(signed, NAME, forger, bank.time_s), flipped, later, under_our_name, signed, "", "x", "\n\n",
        translog.cosign_checkpoint(signed, NAME, bank.key, bank.time_s + 3600),
        translog.cosign_checkpoint(signed.replace("\n3\n", "\n2\n", 1), NAME, bank.key, bank.time_s),
    ):
        answer = bank.submit(text)
        assert _name(answer) == (422, "cosignature-refused"), (text, answer.text)
    assert bank.client.get("/verify/log/witnessed").status_code == 404
    with bank.sessions.begin() as session:
        headers = console_headers(session, bank.made.mo, bank.made.now)
    assert bank.client.post("/api/v1/witnesses/end", json={"name": NAME}, headers=headers).status_code == 204
    assert _name(bank.submit(good)) == (422, "cosignature-refused")


def test_EVD_09_a_step_back_is_refused_by_bank_by_server_and_by_the_database(bank: Bank) -> None:
    bank.enrol()
    old = log_tiles_checkpoint(bank)
    bank.grow(4)
    assert bank.sign().status_code == 200
    assert _name(bank.submit(translog.cosign_checkpoint(old, NAME, bank.key, bank.time_s))) == (422, "cosignature-refused")
    size = translog.parse_checkpoint(old).size
    with pytest.raises(LogProofInvalid, match="shrunk"):
        cosign(bank.witness, bank.seen, f"old {bank.seen.size}\n\n{old}", bank.time_s)
    root = translog.parse_checkpoint(old).root
    line = {"witness": NAME, "size": size, "root": root, "cosignature": bytes(72), "received_at": bank.made.now}
    for changes in ({}, {"size": bank.seen.size + 1}, {"root": bytes(32), "size": bank.seen.size + 1}):
        with pytest.raises(IntegrityError), bank.sessions() as session:
            session.execute(insert(LogCosignatureRow), [{**line, **changes}])
    for statement in (update(LogCosignatureRow).values(size=1), update(LogWitnessRow).values(key=bytes(32))):
        with pytest.raises(DBAPIError), bank.sessions() as session:
            session.execute(statement)


def test_EVD_09_a_log_put_back_and_grown_anew_gets_no_signature_and_is_called_forked(bank: Bank) -> None:
    """The agency shows the bank one history and keeps another: what the witness holds is proof, and stays on record."""
    bank.enrol()
    assert bank.sign().status_code == 200
    kept = [merkle.leaf_hash(b"shown to the bank alone %d" % number) for number in range(9)]
    with bank.sessions() as session:
        root = merkle.root_of(kept)
        other = f"{translog.Checkpoint(origin=bank.origin, size=9, root=root).note()}"
        line = KEYRING.sign_checkpoint(other.encode())
        identifier = translog.key_id(bank.origin, KEYRING.log_public_key())
    signed = f"{other}\n— {bank.origin} {_b64(identifier + line)}\n"
    path = "".join(f"{_b64(one)}\n" for one in merkle.consistency_path(merkle.nodes_over(kept), bank.seen.size, 9))
    with pytest.raises(LogProofInvalid):
        cosign(bank.witness, bank.seen, f"old {bank.seen.size}\n{path}\n{signed}", bank.time_s)
    answer = bank.submit(translog.cosign_checkpoint(signed, NAME, bank.key, bank.time_s))
    assert _name(answer) == (409, "log-forked")
    assert bank.faults() == {"log-forked"}
    with bank.sessions() as session:
        assert session.scalars(select(AuditEntryRow).where(AuditEntryRow.tag == "log.fork-shown")).one().details["size"] == 9


def test_EVD_09_a_log_smaller_than_what_was_seen_is_no_answer(bank: Bank) -> None:
    assert bank.request(old=10_000).status_code == 422


# -- Taken ---------------------------------------------------------------------------------------------------------------------


def test_EVD_09_a_witness_follows_the_log_and_what_it_signs_is_published(bank: Bank) -> None:
    bank.enrol()
    for grown in (0, 1, 5, 260):
        if grown:
            bank.grow(grown)
        answer = bank.sign()
        assert (answer.status_code, answer.json()) == (200, {"witness": NAME, "size": bank.seen.size})
        keys = {NAME: bank.key.public_key()}
        for path in ("/verify/log/witnessed", "/verify/log/checkpoint"):
            text = bank.client.get(path).text
            assert translog.verify_checkpoint(text, bank.origin, KEYRING.log_public_key()).size >= bank.seen.size
        assert translog.verify_cosignatures(bank.client.get("/verify/log/witnessed").text, keys) == {NAME: bank.time_s}
    again = translog.cosign_checkpoint(log_tiles_checkpoint(bank).partition(f"— {NAME}")[0], NAME, bank.key, bank.time_s)
    assert bank.submit(again).json() == {"witness": NAME, "size": bank.seen.size}
    with bank.sessions() as session:
        assert [one.size for one in session.scalars(select(LogCosignatureRow))].count(bank.seen.size) == 1
        assert len(witnessed_for(session, bank.made.bank_a.id, bank.seen.size)) == 1
        assert witnessed_for(session, bank.made.bank_b.id, bank.seen.size) == ()
    assert bank.faults() == set()
    with bank.sessions.begin() as session:
        headers = console_headers(session, bank.made.lin, bank.made.now)
    listed = bank.client.get(f"/api/v1/banks/{bank.made.bank_a.id}/witnesses", headers=headers).json()
    assert [(one["name"], one["size"]) for one in listed] == [(NAME, bank.seen.size)]


def test_EVD_09_audit_verify_names_a_cosignature_that_does_not_hold(bank: Bank) -> None:
    bank.enrol()
    checkpoint = translog.parse_checkpoint(log_tiles_checkpoint(bank))
    with bank.sessions.begin() as session:
        session.add(LogCosignatureRow(
            witness=NAME, size=checkpoint.size, root=checkpoint.root, cosignature=bytes(72), received_at=bank.made.now))
    assert bank.faults() == {"cosignature-invalid"}


def log_tiles_checkpoint(bank: Bank) -> str:
    return str(bank.client.get("/verify/log/checkpoint").text)


def _name(answer: Any) -> tuple[int, str]:
    return answer.status_code, str(answer.json()["type"]).rsplit("/", 1)[-1]
