"""Receipts, copies, packs and the check of everything together, with real commits and a real store."""

import subprocess
import sys
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session, sessionmaker

from backend.audit import log
from backend.audit.tables import AuditReadRow, LogEntryRow
from backend.auth.actors import Actor
from backend.core.problems import Forbidden, NotFound, UnsupportedMediaType
from backend.core.settings import Settings
from backend.exhibits import commands, copies, exports, queries, receipts, tasks
from backend.exhibits.actions import accept
from backend.exhibits.copies import CopyPurpose, UnmaskPurpose
from backend.exhibits.custody_model import Scope
from backend.exhibits.findings import findings_of
from backend.exhibits.model import Accepted, Intake, ReceiptKind, Standing, VisitFacts
from backend.exhibits.packs import visit_scope
from backend.exhibits.refusals import NotExportable
from backend.exhibits.stamping import Stamp, StampJob, stamp_pictures, stamped_recording
from backend.exhibits.statements import open_statement
from backend.exhibits.tables import CopyRow, ItemRow, ManifestRow
from backend.exhibits.transfers import Desk
from backend.jobs.queue import Task
from backend.keys.keyring import Keyring
from backend.keys.model import KeyPurpose
from backend.policies.model import DEFAULT_POLICY
from evidence.es256 import compact_verify
from evidence.facts import Kind
from evidence.manifest import Role
from evidence.stores.file import FileStore
from evidence.translog import parse_checkpoint
from tests.support.cases import counted_statements
from tests.support.exhibits import (
    ARRIVAL,
    CAPTURE,
    Handset,
    bring_to_rest,
    close_facts,
    item,
    open_case,
    photograph,
    signed_once,
    signed_twice,
    sound,
    visit_facts,
)
from tests.support.world import World, shared_keyring, world

KEYRING = shared_keyring()
ORIGIN = "fieldvisit/fieldvisit"
PHOTO, SOUND = photograph(), sound()


@dataclass
class Evidence:
    """One whole visit: arrival, a photo and a recording, close; all files at rest, all receipted."""

    sessions: sessionmaker[Session]
    made: World
    visit: VisitFacts
    desk: Desk
    statements: list[Accepted]

    def export(self, actor: Actor) -> bytes:
        return self.export_scope(actor, visit_scope(self.visit.visit_id))

    def export_scope(self, actor: Actor, scope: Scope, **changes: Any) -> bytes:
        request = exports.PackRequest(scope=scope, purpose=CopyPurpose.BANK, **changes)
        made = exports.export(self.sessions.begin, actor, KEYRING, self.place, (request, self.made.now))
        with self.sessions() as session:
            opened = exports.open_pack(session, actor, KEYRING, self.place, made.id)
            return b"".join(opened.chunks(0, made.size))

    @property
    def place(self) -> exports.Place:
        return exports.place_of(self.desk.store, self.desk.settings, ORIGIN)

    def copy(self, actor: Actor, content: bytes, purpose: CopyPurpose = CopyPurpose.REVIEW, unmask: UnmaskPurpose | None = None) -> copies.Copy:
        wanted = copies.Wanted(purpose=purpose, now=self.made.now, unmask=unmask)
        return commands.copy_item(self.sessions.begin, actor, KEYRING, self.place, (self.item_of(content).id, wanted))

    def sequence(self) -> None:
        log.sequence(self.sessions, KEYRING, ORIGIN, self.made.now)

    def item_of(self, content: bytes) -> ItemRow:
        with self.sessions() as session:
            return session.scalars(select(ItemRow).where(ItemRow.size == len(content))).one()


@pytest.fixture
def evidence(sessions: sessionmaker[Session], tmp_path: Path) -> Evidence:
    return evidence_of(sessions, tmp_path)


def evidence_of(
    sessions: sessionmaker[Session], tmp_path: Path, *, age: timedelta = timedelta(minutes=30), contents: tuple[bytes, ...] = ()
) -> Evidence:
    """Make a whole visit that began `age` ago; of its photo and its recording it may hold only one."""
    folder, held = tmp_path / "data", contents or (PHOTO, SOUND)
    folder.mkdir()
    desk = Desk(FileStore(folder / "evidence"), Settings(data_folder=folder, key_folder=folder, free_bytes_min=0, free_share_min=0))
    with sessions.begin() as session:
        made = world(session, KEYRING)
        visit = visit_facts(made, open_case(session, KEYRING, made))
    found = Evidence(sessions, made, visit, desk, [])
    bilal, dong = Handset(made.bilal), Handset(made.dong)
    at = made.now - age
    both = {PHOTO: item(PHOTO, at=at), SOUND: item(SOUND, Role.AUDIO, "audio/wav", at=at)}
    files = tuple(both[content] for content in held)
    arrival = signed_twice(bilal, dong, bilal.payload(made, visit, Kind.ARRIVAL, ARRIVAL, partner=dong, at=at), at)
    capture = signed_once(bilal, bilal.payload(made, visit, Kind.CAPTURE, CAPTURE, items=files, at=at + timedelta(minutes=1)))
    for raw in (arrival, capture):
        found.statements.append(_take(found, raw))
    digests = tuple(one.digest for one in found.statements)
    close_at = at + timedelta(minutes=9)
    closing = bilal.payload(made, visit, Kind.VISIT_CLOSE, close_facts(made, digests), partner=dong, at=close_at)
    found.statements.append(_take(found, signed_twice(bilal, dong, closing, close_at)))
    for content in held:
        bring_to_rest(sessions, desk, KEYRING, found.statements[1], content)
    found.sequence()
    with sessions.begin() as session:
        for one in found.statements:
            assert receipts.issue(session, KEYRING, one.manifest_id, made.now, origin=ORIGIN) is not None
    return found


def _take(found: Evidence, raw: bytes) -> Accepted:
    with found.sessions.begin() as session:
        statement = open_statement(session, raw, found.made.now)
        intake = Intake(visit=found.visit, policy=DEFAULT_POLICY, keyring=KEYRING, tenant="fieldvisit")
        return accept(session, found.made.bilal.on_phone, statement, intake, found.made.now)


def _verified(pack: Path, trust: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "evidence.verify_pack", str(pack), "--trust", str(trust)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


# -- Refused -------------------------------------------------------------------------------------------------------------------


def test_SEC_01_other_banks_liaison_and_other_branch_get_404_for_pack_and_copy(evidence: Evidence) -> None:
    for stranger in (evidence.made.chen.actor, evidence.made.yara.actor):
        with pytest.raises(NotFound):
            evidence.export(stranger)
        with pytest.raises(NotFound):
            evidence.copy(stranger, PHOTO)


def test_SEC_01_role_that_may_never_export_is_forbidden(evidence: Evidence) -> None:
    for person in (evidence.made.hana, evidence.made.gu, evidence.made.mo):
        with pytest.raises(Forbidden):
            evidence.export(person.actor)


def test_EVD_08_visit_without_a_receipted_statement_has_no_pack(evidence: Evidence) -> None:
    other = visit_facts(evidence.made, evidence.visit.case_id)
    bilal = Handset(evidence.made.bilal, seq=50, prev="a" * 64)
    raw = signed_once(bilal, bilal.payload(evidence.made, other, Kind.CAPTURE, CAPTURE))
    _take(Evidence(evidence.sessions, evidence.made, other, evidence.desk, []), raw)
    with pytest.raises(NotExportable):
        evidence.export_scope(evidence.made.lin.actor, visit_scope(other.visit_id))


def test_ARCH_14_file_that_cannot_be_stamped_has_no_copy() -> None:
    stamp = Stamp(lines=("x",))
    assert stamped_recording(b"#!AMR\n\x04", "audio/amr", 7, stamp) is None
    assert stamp_pictures([StampJob(b"no picture", stamp)]) == [None]
    with pytest.raises(UnsupportedMediaType):
        copies.whole(None, "audio/amr")


# -- Copies and packs ----------------------------------------------------------------------------------------------------------


def test_ARCH_13_copy_is_stamped_registered_signed_and_read_is_recorded(evidence: Evidence) -> None:
    photo = evidence.item_of(PHOTO)
    made = evidence.copy(evidence.made.lin.actor, PHOTO)
    assert made.read().startswith(b"\xff\xd8\xff")
    assert made.read() != PHOTO
    _, told = compact_verify(made.statement, lambda kid: KEYRING.resolve(KeyPurpose.DERIVATION, kid), typ="derivation+jws")
    assert (told["original_sha256"], told["register_number"], told["stamp"]) == (photo.sha256, made.number, "再次复印无效")
    with evidence.sessions() as session:
        row = session.scalars(select(CopyRow)).one()
        assert (row.number, row.copier_id, row.purpose) == (made.number, evidence.made.lin.id, "review")
        assert session.scalars(select(AuditReadRow.subject_id)).all() == [evidence.visit.case_id]


def test_ARCH_13_numbers_never_repeat(evidence: Evidence) -> None:
    numbers = [evidence.copy(evidence.made.amina.actor, PHOTO).number for _ in range(2)]
    assert numbers == ["C2026-000001", "C2026-000002"]


def test_ARCH_14_recording_carries_the_stamp_and_still_is_a_recording(evidence: Evidence) -> None:
    made = evidence.copy(evidence.made.lin.actor, SOUND, CopyPurpose.LITIGATION)
    content = made.read()
    assert made.extension == "wav"
    assert "再次复印无效".encode() in content
    assert int.from_bytes(content[4:8], "little") == len(content) - 8
    assert SOUND[44:] in content


def test_EVD_08_pack_verifies_offline_and_every_changed_byte_is_found(evidence: Evidence, tmp_path: Path) -> None:
    pack, trust = tmp_path / "visit.zip", tmp_path / "trust.json"
    pack.write_bytes(evidence.export(evidence.made.lin.actor))
    with evidence.sessions() as session:
        trust.write_bytes(commands.trust(session, KEYRING, ORIGIN))
    clean = _verified(pack, trust)
    assert clean.returncode == 0, clean.stdout + clean.stderr
    whole = pack.read_bytes()
    for at in range(0, len(whole), len(whole) // 7):
        pack.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1:])
        assert _verified(pack, trust).returncode in (1, 2), at


def test_EVD_08_pack_holds_no_original(evidence: Evidence) -> None:
    pack = evidence.export(evidence.made.amina.actor)
    assert PHOTO not in pack
    assert SOUND not in pack
    assert b"data/copies/" in pack


def test_EVD_08_export_itself_is_logged(evidence: Evidence) -> None:
    with evidence.sessions() as session:
        before = parse_checkpoint(log.newest_checkpoint(session) or "").size
    evidence.export(evidence.made.amina.actor)
    assert log.sequence(evidence.sessions, KEYRING, ORIGIN, evidence.made.now) > before


# -- Reads -----------------------------------------------------------------------------------------------------------------------


def test_EVD_01_visit_without_a_stored_recording_is_an_exception(evidence: Evidence) -> None:
    other = visit_facts(evidence.made, evidence.visit.case_id).visit_id
    with evidence.sessions() as session:
        assert queries.without_recording(session, [evidence.visit.visit_id, other]) == (other,)
        told = queries.exceptions_of(session, evidence.visit.visit_id)
        with counted_statements(session) as of_one:
            assert queries.exceptions_in(session, [evidence.visit.visit_id]) == {evidence.visit.visit_id: told}
        with counted_statements(session) as of_two:
            both = queries.exceptions_in(session, [evidence.visit.visit_id, other])
    assert (told.is_recorded, told.items_missing, told.awaiting_cosignature) == (True, 0, 0)
    assert (both[evidence.visit.visit_id], both[other].is_recorded, len(of_two)) == (told, False, len(of_one))


def test_SEC_01_statements_are_seen_by_their_own_bank_branch_and_pair_only(evidence: Evidence) -> None:
    made = evidence.made
    with evidence.sessions() as session:
        seen = {one.name: len(queries.statements_of(session, one.actor if one.phone is None else one.on_phone, evidence.visit.visit_id))
                for one in (made.amina, made.lin, made.chen, made.yara, made.bilal, made.dong, made.zhen, made.wei)}
    assert seen == {"amina": 3, "lin": 3, "chen": 0, "yara": 0, "bilal": 3, "dong": 2, "zhen": 0, "wei": 3}


# -- Examination ----------------------------------------------------------------------------------------------------------------


@dataclass
class Means:
    """What the tasks are given."""

    sessions: sessionmaker[Session]
    store: FileStore
    settings: Settings
    now: datetime
    keyring: Keyring = KEYRING
    origin: str = ORIGIN

    def clock(self) -> datetime:
        return self.now


def _examined(evidence: Evidence) -> Task:
    means = Means(evidence.sessions, FileStore(evidence.desk.settings.data_folder / "evidence"), evidence.desk.settings, evidence.made.now)
    return next(task for task in tasks.tasks(means) if task.name == tasks.EXAMINE)


def test_EVD_09_examination_finds_its_own_work_and_ends_with_a_second_receipt(evidence: Evidence, tmp_path: Path) -> None:
    examine = _examined(evidence)
    assert set(examine.unfinished()) == {one.manifest_id for one in evidence.statements}
    for one in evidence.statements:
        examine.run(one.manifest_id)
        examine.run(one.manifest_id)
    assert examine.unfinished() == ()
    with evidence.sessions() as session:
        photo, recording = (session.scalars(select(ItemRow).where(ItemRow.size == len(one))).one() for one in (PHOTO, SOUND))
        assert photo.examination["state"] == "examined"
        assert photo.examination["photo"]["width"] == 320
        assert recording.examination["state"] in ("examined", "not_examined")
        reports = session.scalars(select(LogEntryRow).where(LogEntryRow.entry_type == "examined")).all()
        assert len(reports) == len(evidence.statements)
        assert all(receipts.receipt_of(session, one.manifest_id, ReceiptKind.EXAMINED) is not None for one in evidence.statements)
    pack, trust = tmp_path / "examined.zip", tmp_path / "trust.json"
    pack.write_bytes(evidence.export(evidence.made.lin.actor))
    with evidence.sessions() as session:
        trust.write_bytes(commands.trust(session, KEYRING, ORIGIN))
    clean = _verified(pack, trust)
    assert clean.returncode == 0, clean.stdout + clean.stderr


def test_EVD_01_recording_that_does_not_cover_the_visit_puts_its_close_in_doubt(evidence: Evidence) -> None:
    examine = _examined(evidence)
    for one in evidence.statements:
        examine.run(one.manifest_id)
    with evidence.sessions() as session:
        close = session.get_one(ManifestRow, evidence.statements[-1].manifest_id)
        assert "recording-gap" in {one.name for one in findings_of(session, close.id)}
        assert close.standing is Standing.DOUBTFUL


def test_EVD_09_examination_given_up_is_visible_and_never_verified(evidence: Evidence) -> None:
    _examined(evidence).abandon(evidence.statements[1].manifest_id)
    with evidence.sessions() as session:
        states = [row.examination["state"] for row in session.scalars(select(ItemRow))]
        assert states == ["not_examined", "not_examined"]
        assert "not-examined" in {one.name for one in findings_of(session, evidence.statements[1].manifest_id)}


# -- Everything together -------------------------------------------------------------------------------------------------------


def test_EVD_09_check_of_database_store_and_log_is_clean_and_names_an_altered_file(evidence: Evidence) -> None:
    with evidence.sessions() as session:
        report = commands.verify_store(session, KEYRING, evidence.desk.store, "fieldvisit")
    assert (report.items, report.statements, report.faults) == (2, 3, ())
    blob = next(path for path in (evidence.desk.settings.data_folder / "evidence" / "blobs").rglob("*") if path.is_file())
    raw = bytearray(blob.read_bytes())
    raw[len(raw) // 2] ^= 1
    blob.chmod(0o600)
    blob.write_bytes(bytes(raw))
    with evidence.sessions() as session:
        report = commands.verify_store(session, KEYRING, evidence.desk.store, "fieldvisit")
    assert [fault.code for fault in report.faults] == ["seal-broken"]


def test_EVD_09_check_names_a_file_that_is_gone(evidence: Evidence) -> None:
    blob = next(path for path in (evidence.desk.settings.data_folder / "evidence" / "blobs").rglob("*") if path.is_file())
    blob.unlink()
    with evidence.sessions() as session:
        report = commands.verify_store(session, KEYRING, evidence.desk.store, "fieldvisit")
    assert [fault.code for fault in report.faults] == ["blob-missing"]


def test_EVD_02_stored_evidence_cannot_lose_its_key(evidence: Evidence) -> None:
    with evidence.sessions.begin() as session, pytest.raises(IntegrityError, match=r"custody|retention"):
        session.execute(update(ItemRow).values(wrapped_key=None))
