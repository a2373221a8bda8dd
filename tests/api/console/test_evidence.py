"""One planned visit from the door to the bank's desk, all of it through HTTP."""

import hashlib
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from litestar.testing import TestClient
from sqlalchemy import select
from sqlalchemy.orm import Session, sessionmaker

from backend.audit.tables import AuditEntryRow, AuditReadRow, LogWitnessRow
from backend.cases.model import SuspensionReason
from backend.cases.tables import CaseRow
from backend.console import custody, follow_ups, packs
from backend.console import evidence as console
from backend.core.ids import DisputeId, new_id
from backend.disputes import actions as disputes
from backend.disputes.model import Ruling, StateDispute
from backend.exhibits.model import VisitFacts
from backend.exhibits.tables import CopyRow, ExportRow, ItemMaskRow, ItemRow, ManifestRow
from backend.policies.queries import policy_in_force
from backend.visits.for_evidence import facts_for_evidence
from backend.web.auth import console_actor, phone_actor
from evidence import verify_pack
from evidence.canonical import canonicalise
from evidence.facts import Kind
from evidence.manifest import Role
from mobile_api import manifests, uploads
from tests.support.exhibits import ARRIVAL, CAPTURE, Handset, close_facts, item, photograph, position, signed_once, signed_twice, sound
from tests.support.http import SteppedClock, console_headers, make_client, make_resources, signed_in
from tests.support.phones import phone_headers
from tests.support.visits import planned_visit
from tests.support.world import Person, World, shared_keyring, world

KEYRING = shared_keyring()
PHOTO, SOUND = photograph(), sound()


@dataclass
class Desk:
    """A server, its people, and bilal and dong's visit with its evidence delivered."""

    client: TestClient[Any]
    sessions: sessionmaker[Session]
    made: World
    visit: VisitFacts
    bilal: Handset
    dong: Handset

    def send(self, raw: bytes, person: Person | None = None) -> Any:
        path = "/mobile/v1/evidence-manifests"
        headers = phone_headers(KEYRING, person or self.made.bilal, "POST", path, self.made.now)
        return self.client.post(path, content=raw, headers={**headers, "Content-Type": "application/jose+json"})

    def at_desk(self, person: Person) -> dict[str, str]:
        with self.sessions.begin() as session:
            return console_headers(session, person, self.made.now)

    def get(self, path: str, person: Person) -> Any:
        return self.client.get(path, headers=self.at_desk(person))

    def post(self, path: str, person: Person, body: dict[str, Any]) -> Any:
        return self.client.post(path, json=body, headers=self.at_desk(person))

    @property
    def evidence_path(self) -> str:
        return f"/api/v1/visits/{self.visit.visit_id}/evidence"

    @property
    def pack_path(self) -> str:
        return f"/api/v1/visits/{self.visit.visit_id}/pack"

    def item_key(self, role: Role) -> str:
        with self.sessions() as session:
            return str(session.scalars(select(ItemRow.id).where(ItemRow.role == role)).one())


@pytest.fixture
def desk(sessions: sessionmaker[Session], tmp_path: Path, now: datetime) -> Iterator[Desk]:
    with sessions.begin() as session:
        made = world(session, KEYRING, now)
        visit = facts_for_evidence(session, str(planned_visit(session, KEYRING, made).visit_id))
        assert visit is not None
    resources = make_resources(sessions, KEYRING, tmp_path, SteppedClock(now))
    resources = msgspec.structs.replace(resources, settings=msgspec.structs.replace(resources.settings, free_bytes_min=0, free_share_min=0.0))
    desks = signed_in(console_actor, [*console.ROUTES, *packs.ROUTES, *custody.ROUTES, *follow_ups.ROUTES])
    routers = [signed_in(phone_actor, manifests.ROUTES), *uploads.ROUTES, desks, *console.OPEN_ROUTES]
    with make_client(resources, routers) as client:
        found = Desk(client, sessions, made, visit, Handset(made.bilal), Handset(made.dong))
        _deliver(found)
        yield found


def _deliver(desk: Desk) -> None:
    made, visit, bilal, dong = desk.made, desk.visit, desk.bilal, desk.dong
    at = made.now - timedelta(minutes=30)
    assert visit.address is not None
    here = {"position": position(visit.address, at)}
    files = (item(PHOTO, at=at), item(SOUND, Role.AUDIO, "audio/wav", at=at))
    arrival = desk.send(signed_twice(bilal, dong, bilal.payload(made, visit, Kind.ARRIVAL, ARRIVAL, partner=dong, at=at, **here), at))
    capture = desk.send(signed_once(bilal, bilal.payload(made, visit, Kind.CAPTURE, CAPTURE, items=files, at=at, **here)))
    closing = bilal.payload(
        made, visit, Kind.VISIT_CLOSE, close_facts(made, (arrival.json()["digest"], capture.json()["digest"])), partner=dong, at=at, **here)
    close = desk.send(signed_twice(bilal, dong, closing, at))
    assert [answer.status_code for answer in (arrival, capture, close)] == [201, 201, 201], [arrival.text, capture.text, close.text]
    for asked, content in zip(capture.json()["items"], (PHOTO, SOUND), strict=True):
        headers = {
            "Tus-Resumable": "1.0.0", "Content-Type": "application/offset+octet-stream", "Upload-Offset": "0",
            "Authorization": f"Bearer {asked['uploadToken']}"}
        assert desk.client.patch("/" + asked["uploadUrl"].split("/", 3)[-1], content=content, headers=headers).status_code == 204


# -- Refused -------------------------------------------------------------------------------------------------------------------


def test_SEC_01_other_bank_and_other_branch_get_404_everywhere(desk: Desk) -> None:
    key = desk.item_key(Role.PHOTO)
    with desk.sessions() as session:
        manifest_id = session.scalars(select(ManifestRow.id).limit(1)).one()
    for stranger in (desk.made.chen, desk.made.yara):
        assert desk.get(desk.evidence_path, stranger).status_code == 404
        assert desk.post(desk.pack_path, stranger, {"purpose": "bank"}).status_code == 404
        assert desk.post(f"/api/v1/evidence/{key}/copy", stranger, {"purpose": "review"}).status_code == 404
        assert desk.get(f"/api/v1/log/proof/{manifest_id}", stranger).status_code == 404


def test_SEC_01_roles_without_evidence_are_403(desk: Desk) -> None:
    for person in (desk.made.hana, desk.made.gu, desk.made.mo):
        assert desk.get(desk.evidence_path, person).status_code == 403
        assert desk.post(desk.pack_path, person, {"purpose": "bank"}).status_code == 403


def test_SEC_01_nobody_signed_in_sees_nothing(desk: Desk) -> None:
    assert desk.client.get(desk.evidence_path).status_code == 401
    assert desk.client.get("/api/v1/log/checkpoint").status_code == 401


@pytest.mark.parametrize("body", [{}, {"purpose": "curiosity"}, {"purpose": "review", "stamp": False}])
def test_ARCH_13_copy_without_a_known_purpose_is_refused(desk: Desk, body: dict[str, Any]) -> None:
    answer = desk.post(f"/api/v1/evidence/{desk.item_key(Role.PHOTO)}/copy", desk.made.lin, body)
    assert answer.status_code in (400, 422)
    with desk.sessions() as session:
        assert session.scalars(select(CopyRow)).all() == []


@pytest.mark.parametrize("box", [
    {"left": 900, "top": 0, "right": 100, "bottom": 1000}, {"left": 0, "top": 500, "right": 1000, "bottom": 500},
    {"left": 0, "top": 0, "right": 1001, "bottom": 1}, {"left": -1, "top": 0, "right": 1, "bottom": 1},
])
def test_SEC_03_mask_without_an_area_of_the_picture_is_refused(desk: Desk, box: dict[str, int]) -> None:
    answer = desk.post(f"/api/v1/evidence/{desk.item_key(Role.PHOTO)}/masks", desk.made.amina, {"boxes": [box], "reason": "plate"})
    assert answer.status_code in (400, 422), answer.text
    with desk.sessions() as session:
        assert session.scalars(select(ItemMaskRow)).all() == []


@pytest.mark.parametrize(("first", "last"), [("0001-01-01", "0001-01-02"), ("9999-12-30", "9999-12-31"), ("2026-01-02", "2026-01-01")])
def test_EVD_08_pack_of_days_beyond_the_calendar_is_refused(desk: Desk, first: str, last: str) -> None:
    answer = desk.post("/api/v1/packs", desk.made.lin, {"kind": "period", "purpose": "bank", "fromOn": first, "toOn": last})
    assert answer.status_code in (400, 422), answer.text


# -- Reads, copies, packs --------------------------------------------------------------------------------------------------------


def test_EVD_08_liaison_sees_statements_with_their_proof_and_the_read_is_recorded(desk: Desk) -> None:
    answer = desk.get(desk.evidence_path, desk.made.lin)
    assert answer.status_code == 200
    told = answer.json()
    assert [one["kind"] for one in told["statements"]] == ["arrival", "capture", "visit_close"]
    assert all(one["isReceipted"] and one["state"] == "complete" for one in told["statements"])
    assert told["exceptions"]["isRecorded"] is True
    assert [one["state"] for one in told["statements"][1]["items"]] == ["stored", "stored"]
    with desk.sessions() as session:
        assert desk.visit.case_id in session.scalars(select(AuditReadRow.subject_id)).all()


def test_ARCH_14_copy_is_an_attachment_with_number_and_derivation(desk: Desk) -> None:
    answer = desk.post(f"/api/v1/evidence/{desk.item_key(Role.PHOTO)}/copy", desk.made.lin, {"purpose": "litigation"})
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "image/jpeg"
    assert answer.headers["content-disposition"] == 'attachment; filename="C2026-000001.jpg"'
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.content != PHOTO
    with desk.sessions() as session:
        row = session.scalars(select(CopyRow)).one()
        assert (row.number, row.copy_sha256) == ("C2026-000001", hashlib.sha256(answer.content).hexdigest())
        assert "evidence.copied" in session.scalars(select(AuditEntryRow.tag)).all()


def test_EVD_08_pack_from_the_console_verifies_with_keys_from_elsewhere(desk: Desk, tmp_path: Path) -> None:
    answer = desk.post(desk.pack_path, desk.made.lin, {"purpose": "litigation"})
    assert answer.status_code == 200, answer.text
    keys = desk.client.get(f"/verify/keys?bank={desk.made.bank_a.id}")
    assert keys.status_code == 200
    pack, trust = tmp_path / "pack.zip", tmp_path / "trust.json"
    pack.write_bytes(answer.content)
    trust.write_bytes(canonicalise(keys.json()["trust"]))
    command = [sys.executable, "-m", "evidence.verify_pack", str(pack), "--trust", str(trust)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    with desk.sessions() as session:
        assert session.scalars(select(ExportRow.sha256)).one() == hashlib.sha256(answer.content).hexdigest()


@pytest.mark.parametrize("kind", ["case", "batch", "period"])
def test_EVD_08_a_pack_of_any_scope_is_fetched_in_pieces_and_verifies(desk: Desk, tmp_path: Path, kind: str) -> None:
    lin, day = desk.made.lin, desk.made.now.date()
    with desk.sessions() as session:
        case = session.get_one(CaseRow, desk.visit.case_id)
    named = {"case": {"id": str(case.id)}, "batch": {"id": str(case.batch_id)},
             "period": {"fromOn": f"{day - timedelta(days=2)}", "toOn": f"{day + timedelta(days=2)}"}}[kind]
    made = desk.post("/api/v1/packs", lin, {"kind": kind, "purpose": "bank", **named})
    assert made.status_code == 201, made.text
    view, path = made.json(), f"/api/v1/packs/{made.json()['id']}/content"

    def fetch(**headers: str) -> Any:
        return desk.client.get(path, headers={**desk.at_desk(lin), **{name.replace("_", "-"): text for name, text in headers.items()}})

    got, size = b"", view["size"]
    for step in (1, 7, 65_537, size):                             # Each connection is cut after so many bytes.
        answer = fetch(Range=f"bytes={len(got)}-", If_Range=f'"{view["sha256"]}"')
        assert (answer.status_code, answer.headers["content-length"]) == (206 if got else 200, str(size - len(got)))
        assert not got or answer.headers["content-range"] == f"bytes {len(got)}-{size - 1}/{size}"
        got += answer.content[:step]
        if len(got) == size:
            break
    assert hashlib.sha256(got).hexdigest() == view["sha256"]
    assert fetch(Range="bytes=0-", If_Range='"another"').status_code == 200
    beyond = fetch(Range=f"bytes={size}-")
    assert (beyond.status_code, beyond.headers["content-range"], beyond.json()["type"]) == (416, f"bytes */{size}", "/problems/range-not-satisfiable")
    assert fetch(Range="bytes=-0").status_code == 416
    last = fetch(Range="bytes=-100")
    assert (last.status_code, last.content, last.headers["content-range"]) == (206, got[-100:], f"bytes {size - 100}-{size - 1}/{size}")
    for none in ("bytes=-", "bytes=5-4", "bytes=0-1,3-4", "lines=0-"):
        assert fetch(Range=none).status_code == 200
    assert fetch(Range="bytes=0-0").content == got[:1]
    assert desk.get(path, desk.made.chen).status_code == 404
    (tmp_path / "pack.zip").write_bytes(got)
    trust = desk.client.get(f"/verify/keys?bank={desk.made.bank_a.id}").json()["trust"]
    outcome = verify_pack.verify(tmp_path / "pack.zip", trust, None)
    assert outcome["verdict"] == "verified", outcome["findings"]
    assert outcome["counts"]["copies"] == 2


def test_DECL_07_DECL_09_the_cases_pack_holds_what_the_bank_did_after_it_ruled_fraud(desk: Desk, tmp_path: Path) -> None:
    lin, case_id, dispute_id = desk.made.lin, desk.visit.case_id, DisputeId(new_id())
    with desk.sessions.begin() as session:
        disputes.state_dispute(session, desk.made.hana.actor, StateDispute(
            dispute_id=dispute_id, case_id=case_id, visit_id=None, kind=SuspensionReason.DENIES_APPLICATION, stated_at=desk.made.now),
            policy_in_force(session, None, desk.made.now), desk.made.now)
        disputes.rule_dispute(session, lin.actor, dispute_id, Ruling.FRAUD, desk.made.now, keyring=KEYRING)
    for act, reason in (("police_reported", None), ("deletion_requested", None), ("deletion_refused", "查无记录")):
        told = desk.post(f"/api/v1/disputes/{dispute_id}/follow-ups", lin, {
            "act": act, "occurredAt": desk.made.now.isoformat(), "reference": "R-1", "reason": reason})
        assert told.status_code == 201, told.text
    made = desk.post("/api/v1/packs", lin, {"kind": "case", "purpose": "bank", "id": str(case_id)})
    assert made.status_code == 201, made.text
    (tmp_path / "pack.zip").write_bytes(desk.get(f"/api/v1/packs/{made.json()['id']}/content", lin).content)
    trust = desk.client.get(f"/verify/keys?bank={desk.made.bank_a.id}").json()["trust"]
    assert verify_pack.verify(tmp_path / "pack.zip", trust, None)["findings"] == []
    with zipfile.ZipFile(tmp_path / "pack.zip") as pack:
        said = [msgspec.json.decode(pack.read(name)) for name in sorted(pack.namelist()) if name.startswith("data/follow-ups/")]
    assert [(one["act"], one.get("reason")) for one in said] == [
        ("police_reported", None), ("deletion_requested", None), ("deletion_refused", "查无记录")]


def test_EVD_08_log_is_read_with_checkpoint_consistency_and_proof(desk: Desk) -> None:
    checkpoint = desk.get("/api/v1/log/checkpoint", desk.made.lin)
    assert checkpoint.status_code == 200
    size = int(checkpoint.text.split("\n")[1])
    assert desk.get(f"/api/v1/log/consistency?since={size - 1}", desk.made.lin).status_code == 200
    assert desk.get(f"/api/v1/log/consistency?since={size + 1000}", desk.made.lin).status_code == 422
    with desk.sessions() as session:
        manifest_id = session.scalars(select(ManifestRow.id).where(ManifestRow.kind == Kind.CAPTURE)).one()
    proof = desk.get(f"/api/v1/log/proof/{manifest_id}", desk.made.lin).json()
    assert proof["proof"].startswith("c2sp.org/tlog-proof@v1\n")
    assert proof["receipt"].count(".") == 2


def test_SEC_01_a_stranger_learns_the_keys_of_the_bank_asked_for_and_of_no_other(desk: Desk) -> None:
    bank_a, bank_b = desk.made.bank_a.id, desk.made.bank_b.id
    with desk.sessions.begin() as session:
        for bank, who in ((bank_a, desk.made.mo), (bank_b, desk.made.nuo)):
            key = Ed25519PrivateKey.generate().public_key().public_bytes_raw()
            session.add(LogWitnessRow(name=f"{bank}.example", bank_id=bank, key=key, enrolled_by=who.id, enrolled_at=desk.made.now, revoked_at=None))
    for query, named, silent in ((f"?bank={bank_a}", [bank_a], [bank_b]), (f"?bank={bank_b}", [bank_b], [bank_a]), ("", [], [bank_a, bank_b]),
                                 (f"?bank={desk.made.lin.id}", [], [bank_a, bank_b])):
        answer = desk.client.get(f"/verify/keys{query}")
        assert answer.status_code == 200
        assert all(str(one) in answer.text for one in named)
        assert not any(str(one) in answer.text for one in silent)
    assert desk.client.get("/verify/keys?bank=x").status_code in (400, 422)


def test_EVD_09_public_keys_hold_no_secret(desk: Desk) -> None:
    text = desk.client.get("/verify/keys").text
    assert '"d":' not in text
    assert {"receipt", "derivation", "log", "beacon"} <= {one["purpose"] for one in desk.client.get("/verify/keys").json()["keys"]}
    assert "master" not in text


# -- Decisions ---------------------------------------------------------------------------------------------------------------------


def test_EVD_09_quarantine_is_left_by_two_people_and_a_bank_decides_nothing(desk: Desk) -> None:
    at = desk.made.now - timedelta(minutes=3)
    assert desk.visit.address is not None
    mocked = desk.bilal.payload(desk.made, desk.visit, Kind.CAPTURE, CAPTURE, at=at, position=position(desk.visit.address, at, mock=True))
    sent = desk.send(signed_once(desk.bilal, mocked)).json()
    assert sent["standing"] == "quarantined"
    path = f"/api/v1/statements/{sent['manifestId']}/decision"
    verdict = {"verdict": "release", "reason": "the phone's developer mode was left on, the door plate is in the photo"}
    assert desk.post(path, desk.made.lin, verdict).status_code == 403
    assert desk.post(path, desk.made.yara, verdict).status_code == 404
    assert desk.post(path, desk.made.amina, verdict).json() == {"standing": "quarantined"}
    again = desk.post(path, desk.made.amina, verdict)
    assert (again.status_code, again.json()["type"]) == (409, "/problems/not-reviewable")
    with desk.sessions.begin() as session:
        from tests.support.world import add_person

        second = add_person(session, KEYRING, "basma", next(iter(desk.made.amina.actor.roles)), branch_id=desk.made.sh1, now=desk.made.now)
    assert desk.post(path, second, verdict).json() == {"standing": "accepted"}
