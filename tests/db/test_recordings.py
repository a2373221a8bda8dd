"""Files off registered recorders: who may bring them in, what proves their clock, how the pair accepts them, what they fill (F06, F22)."""

import io
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import av
import msgspec
import pytest
import segno
from PIL import Image
from sqlalchemy import inspect, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session, sessionmaker

from backend.auth.actors import Actor
from backend.core.problems import Forbidden, InvalidInput, NotFound
from backend.core.settings import Settings
from backend.exhibits import beacons, commands, recordings, tasks
from backend.exhibits.actions import accept
from backend.exhibits.exports import Place
from backend.exhibits.findings import findings_of
from backend.exhibits.model import Accepted, Intake, VisitFacts, standing_of
from backend.exhibits.recording_model import OCCASION, ClockProof, NewRecording, RecordingView, SeenMark, nearest_offset, offset_of
from backend.exhibits.recordings import Incoming
from backend.exhibits.refusals import RecordingOfAnotherVisit
from backend.exhibits.statements import open_statement
from backend.exhibits.tables import ItemRow, ManifestRow, RecordingRow
from backend.policies.model import DEFAULT_POLICY
from backend.staff.model import EquipmentKind
from backend.staff.tables import EquipmentRow
from evidence.canonical import sha256_hex
from evidence.facts import CaptureFacts, Kind
from evidence.manifest import Item, Role
from evidence.stores.file import FileStore
from evidence.time_mark import TimeMark, sign_mark
from evidence.times import format_utc
from tests.support.exhibits import Handset, close_facts, open_case, signed_once, signed_twice, sound, visit_facts
from tests.support.world import Person, World, shared_keyring, world

KEYRING = shared_keyring()
ORIGIN = "fieldvisit/fieldvisit"
SLOW_S = 480          # How slow the recorders of these tests run.


@dataclass
class Bench:
    """The means of a task, a visit, two phones."""

    sessions: sessionmaker[Session]
    store: FileStore
    settings: Settings
    made: World
    visit: VisitFacts
    now: datetime
    keyring: Any = KEYRING
    origin: str = ORIGIN

    def clock(self) -> datetime:
        return self.now

    def begin(self) -> Any:
        return self.sessions.begin()

    def equipment(self, kind: EquipmentKind = EquipmentKind.CAMERA) -> UUID:
        with self.sessions() as session:
            return session.scalars(select(EquipmentRow.id).where(EquipmentRow.branch_id == self.made.sh1, EquipmentRow.kind == kind).limit(1)).one()

    def bring(self, content: bytes, media_type: str, told: datetime, *, actor: Actor | None = None, visit: VisitFacts | None = None,
              kind: EquipmentKind = EquipmentKind.CAMERA) -> RecordingView:
        of = visit or self.visit
        place = Place(store=self.store, tenant=self.settings.tenant, spool_folder=self.settings.data_folder / "spool", origin=ORIGIN)
        wanted = NewRecording(equipment_id=self.equipment(kind), visit_id=of.visit_id, media_type=media_type, told_started_at=told)
        made = recordings.bring_in(
            self.begin, actor or self.made.amina.actor, KEYRING, Incoming(wanted=wanted, visit=of, place=place), iter([content[:9], content[9:]]),
            self.now)
        next(one for one in tasks.tasks(self) if one.name == tasks.LOOK_INTO).run(made.id)
        with self.sessions() as session:
            return recordings.view(session, session.get_one(RecordingRow, made.id))

    def accept(self, raw: bytes, person: Person) -> Accepted:
        with self.sessions.begin() as session:
            statement = open_statement(session, raw, self.now)
            return accept(
                session, person.on_phone, statement, Intake(visit=self.visit, policy=DEFAULT_POLICY, keyring=KEYRING, tenant="fieldvisit"), self.now)

    def examine(self, manifest_id: UUID) -> None:
        next(one for one in tasks.tasks(self) if one.name == tasks.EXAMINE).run(manifest_id)

    def found(self, manifest_id: UUID) -> set[str]:
        with self.sessions() as session:
            return {one.name for one in findings_of(session, manifest_id)}

    def code(self, shown_at: datetime, person: Person | None = None, visit: UUID | None = None) -> str:
        """What the person's phone shows: its beacon is an hour old."""
        of = person or self.made.bilal
        assert of.phone is not None
        with self.sessions.begin() as session:
            token = beacons.issue(session, KEYRING, of.phone.kid, "0" * 32, shown_at - timedelta(hours=1))
        mark = TimeMark(visit=str(visit or self.visit.visit_id), at=format_utc(shown_at), monotonic_ms=9_000_000, beacon=sha256_hex(token.encode()),
                        beacon_age_ms=3_600_000)
        return sign_mark(mark, of.phone.key, of.phone.kid)


@pytest.fixture
def bench(sessions: sessionmaker[Session], tmp_path: Path, now: datetime) -> Bench:
    with sessions.begin() as session:
        made = world(session, KEYRING, now)
        visit = visit_facts(made, open_case(session, KEYRING, made), ended_at=now - timedelta(minutes=3))
    return Bench(sessions, FileStore(tmp_path / "store"), Settings(data_folder=tmp_path), made, visit, now)


def code_picture(text: str, size: tuple[int, int] = (640, 480)) -> Image.Image:
    out = io.BytesIO()
    segno.make(text, error="l", micro=False).save(out, kind="png", scale=4, border=4)
    picture = Image.new("RGB", size, (90, 120, 90))
    picture.paste(Image.open(out).convert("RGB").resize((400, 400)), (60, 40))
    return picture


def film(text: str | None, *, seconds: int = 8, shown_s: int = 2, kind: str = "mp4", index_first_in: Path | None = None) -> bytes:
    """Return a small real film that shows a code from `shown_s` on for three seconds. FFmpeg moves an index to the front only on a disk."""
    out: Any = io.BytesIO() if index_first_in is None else str(index_first_in / "film.mp4")
    options = {} if index_first_in is None else {"movflags": "faststart"}
    plain, code = Image.new("RGB", (640, 480), (90, 120, 90)), code_picture(text) if text else None
    with av.open(out, "w", format=kind, options=options) as target:
        stream = target.add_stream("mpeg4", rate=5)
        stream.width, stream.height, stream.pix_fmt, stream.gop_size = 640, 480, "yuv420p", 5
        for number in range(seconds * 5):
            is_shown = code is not None and shown_s * 5 <= number < (shown_s + 3) * 5
            target.mux(stream.encode(av.VideoFrame.from_image(code if is_shown and code is not None else plain)))
        target.mux(stream.encode())
    return out.getvalue() if index_first_in is None else Path(out).read_bytes()


def acceptance(bench: Bench, hand: Handset, listed: RecordingView, **changes: Any) -> bytes:
    item = Item(
        item_id=f"recorder-{listed.sha256[:8]}", role=Role(listed.media_type.partition("/")[0]), sha256=listed.sha256, size=listed.size,
        media_type=listed.media_type, started=format_utc(listed.started_at), ended=format_utc(listed.ended_at or listed.started_at))
    payload = hand.payload(bench.made, bench.visit, Kind.CAPTURE, CaptureFacts(occasion=OCCASION), items=(item,), at=bench.now, **changes)
    return signed_once(hand, payload)


# -- Refusals ------------------------------------------------------------------------------------------------------------------


def test_F06_only_who_may_brings_a_recording_in_and_nobody_their_own(bench: Bench) -> None:
    for actor, refusal in ((bench.made.bilal.actor, Forbidden), (bench.made.farid.actor, Forbidden), (bench.made.hana.actor, Forbidden)):
        with pytest.raises(refusal):
            bench.bring(sound(), "audio/wav", bench.now, actor=actor)
    own = visit_facts(bench.made, bench.visit.case_id, pair=frozenset({bench.made.amina.id, bench.made.dong.id}))
    with pytest.raises(Forbidden):
        bench.bring(sound(), "audio/wav", bench.now, visit=own)


@pytest.mark.parametrize("media_type", ["text/html", "image/svg+xml", "video/x-msvideo", ""])
def test_F06_other_kinds_of_file_are_refused_before_a_byte_is_kept(bench: Bench, media_type: str) -> None:
    with pytest.raises(InvalidInput):
        bench.bring(sound(), media_type, bench.now)
    with pytest.raises(InvalidInput):
        bench.bring(film(None), "video/mp4", bench.now, kind=EquipmentKind.AUDIO)     # A pen makes no films.
    with pytest.raises(InvalidInput):
        bench.bring(b"", "audio/wav", bench.now)


def test_F06_an_unknown_recorder_is_not_found(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Bench, "equipment", lambda _self, _kind: UUID(int=1))
    with pytest.raises(NotFound):
        bench.bring(sound(), "audio/wav", bench.now)


def test_F22_one_recording_never_stands_under_two_visits(bench: Bench) -> None:
    bench.bring(sound(3), "audio/wav", bench.now)
    with bench.sessions.begin() as session:
        other = visit_facts(bench.made, open_case(session, KEYRING, bench.made, bank_id=bench.made.bank_b.id), bank_id=bench.made.bank_b.id)
    with pytest.raises(RecordingOfAnotherVisit):
        bench.bring(sound(3), "audio/wav", bench.now, visit=other)
    assert len(list(bench.store.parts("uploads"))) == 0


def test_F22_a_phone_that_names_another_visits_recording_is_a_fraud_sign(bench: Bench) -> None:
    listed = bench.bring(sound(3), "audio/wav", bench.now)
    with bench.sessions.begin() as session:
        bench.visit = visit_facts(bench.made, open_case(session, KEYRING, bench.made))
    accepted = bench.accept(acceptance(bench, Handset(bench.made.bilal), listed), bench.made.bilal)
    assert {"reused-exact", "import-unknown"} <= {one.name for one in accepted.findings}


def test_F06_the_same_file_again_changes_nothing(bench: Bench) -> None:
    first = bench.bring(sound(2), "audio/wav", bench.now)
    assert bench.bring(sound(2), "audio/wav", bench.now).id == first.id


# -- Clocks --------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind,media_type", [("mp4", "video/mp4"), ("mov", "video/quicktime"), ("3gp", "video/3gpp")])
def test_F06_a_filmed_time_code_proves_the_recorders_clock(bench: Bench, kind: str, media_type: str) -> None:
    true_start = bench.now - timedelta(minutes=50)
    shown_at = true_start + timedelta(seconds=2)
    listed = bench.bring(film(bench.code(shown_at), kind=kind), media_type, true_start - timedelta(seconds=SLOW_S))
    assert listed.clock_proof is ClockProof.FILMED
    assert listed.clock_offset_ms is not None
    assert abs(listed.clock_offset_ms - SLOW_S * 1000) <= 2_000          # Key frames stand a second apart.
    assert abs((listed.started_at - true_start).total_seconds()) <= 2
    assert listed.ended_at is not None
    assert not listed.is_cut_off


@pytest.mark.parametrize("case", ["none", "another visit", "another pair's phone", "stranger's key", "no such beacon", "no mark"])
def test_F06_a_code_that_proves_nothing_leaves_the_clock_unproven(bench: Bench, case: str) -> None:
    start = bench.now - timedelta(minutes=50)
    text: str | None = bench.code(start)
    if case == "another visit":
        text = bench.code(start, visit=UUID(int=7))
    elif case == "another pair's phone":
        bench.visit = msgspec.structs.replace(bench.visit, pair=frozenset({bench.made.dong.id, bench.made.hana.id}))
    elif case == "stranger's key":
        assert text is not None
        text = text[:-6] + ("AAAAAA" if not text.endswith("AAAAAA") else "BBBBBB")
    elif case == "no such beacon":
        assert bench.made.bilal.phone is not None
        mark = TimeMark(visit=str(bench.visit.visit_id), at=format_utc(start), monotonic_ms=9, beacon="0" * 64, beacon_age_ms=1)
        text = sign_mark(mark, bench.made.bilal.phone.key, bench.made.bilal.phone.kid)
    elif case == "no mark":
        text = "https://example.org/"
    listed = bench.bring(film(None if case == "none" else text), "video/mp4", start)
    assert (listed.clock_proof, listed.clock_offset_ms) == (ClockProof.NONE, None)


def test_F06_a_photographed_code_proves_the_same_cameras_later_film(bench: Bench) -> None:
    shown_at = bench.now - timedelta(hours=2)
    out = io.BytesIO()
    told = shown_at - timedelta(seconds=SLOW_S)
    code_picture(bench.code(shown_at), (800, 600)).save(out, "JPEG", quality=85, exif=written(told))
    photo = bench.bring(out.getvalue(), "image/jpeg", told)
    assert (photo.clock_proof, photo.clock_offset_ms) == (ClockProof.PHOTOGRAPHED, SLOW_S * 1000)
    with bench.sessions() as session:
        row = session.get_one(RecordingRow, photo.id)
        assert bench.made.bilal.phone is not None
        assert (row.clock_device, row.clock_shown_at) == (bench.made.bilal.phone.kid, shown_at)
    listed = bench.bring(film(None), "video/mp4", bench.now - timedelta(minutes=50, seconds=SLOW_S))
    assert (listed.clock_proof, listed.clock_offset_ms) == (ClockProof.INHERITED, photo.clock_offset_ms)


def written(at: datetime) -> Image.Exif:
    """What a camera writes about when it took a picture."""
    exif = Image.Exif()
    exif.get_ifd(0x8769).update({0x9003: f"{at + timedelta(hours=8):%Y:%m:%d %H:%M:%S}", 0x9011: "+08:00"})
    return exif


@pytest.mark.parametrize("off_s", [None, -3600, -6, 6, 900])
def test_F06_a_time_that_somebody_entered_for_a_photograph_proves_nothing(bench: Bench, off_s: int | None) -> None:
    shown_at = bench.now - timedelta(hours=2)
    told, out = shown_at - timedelta(seconds=SLOW_S), io.BytesIO()
    exif = Image.Exif() if off_s is None else written(told - timedelta(seconds=off_s))
    code_picture(bench.code(shown_at), (800, 600)).save(out, "JPEG", quality=85, exif=exif)
    photo = bench.bring(out.getvalue(), "image/jpeg", told)
    assert (photo.clock_proof, photo.clock_offset_ms) == (ClockProof.NONE, None)


def test_F06_the_database_takes_no_clock_from_a_phone_outside_the_pair(bench: Bench) -> None:
    made = bench.made
    listed = bench.bring(film(None), "video/mp4", bench.now - timedelta(minutes=50))
    assert made.dong.phone is not None
    with bench.sessions.begin() as session:
        copied = {column.key: getattr(session.get_one(RecordingRow, listed.id), column.key) for column in inspect(RecordingRow).columns}
        copied |= {"id": UUID(int=5), "sha256": "5" * 64, "examination": None, "examined_at": None, "clock_proof": None,
                   "pair_a": made.bilal.id, "pair_b": made.hana.id}
        session.add(RecordingRow(**copied))
    proof = {"examination": {}, "examined_at": bench.now, "clock_proof": "filmed", "clock_offset_ms": 1, "clock_shown_at": bench.now}
    for values in (proof | {"clock_device": made.dong.phone.kid}, proof | {"clock_device": None, "clock_shown_at": None},
                   {"pair_b": made.dong.id}):
        with bench.sessions() as session, pytest.raises(IntegrityError):
            session.execute(update(RecordingRow).where(RecordingRow.id == UUID(int=5)).values(values))
    assert made.bilal.phone is not None
    with bench.sessions.begin() as session:
        session.execute(update(RecordingRow).where(RecordingRow.id == UUID(int=5)).values(proof | {"clock_device": made.bilal.phone.kid}))
    with bench.sessions() as session, pytest.raises(IntegrityError):
        session.execute(update(RecordingRow).where(RecordingRow.id == UUID(int=5)).values(clock_shown_at=bench.now - timedelta(hours=1)))


def test_F06_offsets_that_contradict_each_other_prove_nothing() -> None:
    told = datetime.fromisoformat("2026-11-27T01:00:00+00:00")
    near = [SeenMark(shown_at=told + timedelta(seconds=60 + s), at_ms=s * 1000, kid="k") for s in (2, 5, 9)]
    assert offset_of(told, near) == 60_000
    assert offset_of(told, [*near, SeenMark(shown_at=told, at_ms=0, kid="k")]) is None
    assert offset_of(told, []) is None
    assert nearest_offset(told, [(told - timedelta(hours=13), 5)]) is None
    assert nearest_offset(told, [(told - timedelta(hours=11), 5), (told + timedelta(hours=1), 7)]) == 7


@pytest.mark.parametrize("cut", [0.3, 0.6, 0.9])
def test_F06_a_truncated_film_is_named(bench: Bench, cut: float, tmp_path: Path) -> None:
    whole = film(None, index_first_in=tmp_path)
    listed = bench.bring(whole[:int(len(whole) * cut)], "video/mp4", bench.now)
    assert listed.is_cut_off or listed.state == "undecodable", listed


# -- Acceptance ----------------------------------------------------------------------------------------------------------------


def test_F06_both_of_the_pair_accept_and_the_silence_is_filled(bench: Bench) -> None:
    made, first, second = bench.made, Handset(bench.made.bilal), Handset(bench.made.dong)
    close = first.payload(made, bench.visit, Kind.VISIT_CLOSE, close_facts(made, ()), partner=second, at=made.now - timedelta(minutes=4))
    closed = bench.accept(signed_twice(first, second, close, made.now - timedelta(minutes=4)), made.bilal)
    bench.examine(closed.manifest_id)
    assert "recording-missing" in bench.found(closed.manifest_id)
    true_start = made.now - timedelta(minutes=42)
    photo = io.BytesIO()
    code_picture(bench.code(true_start), (800, 600)).save(photo, "JPEG", quality=85, exif=written(true_start - timedelta(seconds=SLOW_S)))
    bench.bring(photo.getvalue(), "image/jpeg", true_start - timedelta(seconds=SLOW_S))
    listed = bench.bring(sound(42 * 60), "audio/wav", true_start - timedelta(seconds=SLOW_S))
    with bench.sessions() as session:
        assert [one.id for one in recordings.waiting_for(session, made.bilal.on_phone, [bench.visit.visit_id])] == [listed.id]
    for hand, person in ((first, made.bilal), (second, made.dong)):
        told = bench.accept(acceptance(bench, hand, listed), person)
        assert [one.state.value for one in told.items] == ["stored"]       # Its bytes are here: nothing is sent twice.
        bench.examine(told.manifest_id)
        assert not {"visit-not-open", "far-from-address", "import-unknown", "reused-exact", "recorder-clock-unproven"} & bench.found(told.manifest_id)
    with bench.sessions() as session:
        assert set(recordings.view(session, session.get_one(RecordingRow, listed.id)).accepted_by) == {made.bilal.id, made.dong.id}
        assert recordings.waiting_for(session, made.bilal.on_phone, [bench.visit.visit_id]) == ()
        found = findings_of(session, closed.manifest_id)
        assert "recording-gap-filled" in {one.name for one in found}
        missing = [one for one in found if one.name == "recording-missing"]
        assert missing, "what was found stays written down"
        assert standing_of((*missing, *(one for one in found if one.name == "recording-gap-filled"))).value == "accepted"
        report = commands.verify_store(session, KEYRING, bench.store, bench.settings.tenant)
        assert [one for one in report.faults if one.subject.startswith(("recording", "item"))] == []


def test_F06_an_unproven_clock_is_a_doubt_and_covers_nothing(bench: Bench) -> None:
    made, hand = bench.made, Handset(bench.made.bilal)
    listed = bench.bring(sound(5), "audio/wav", made.now - timedelta(minutes=42), kind=EquipmentKind.AUDIO)
    told = bench.accept(acceptance(bench, hand, listed), made.bilal)
    bench.examine(told.manifest_id)
    assert "recorder-clock-unproven" in bench.found(told.manifest_id)


def test_F06_an_acceptance_far_from_the_door_covers_only_what_the_desk_brought_in(bench: Bench) -> None:
    hand = Handset(bench.made.bilal)
    item = Item(item_id="own", role=Role.AUDIO, sha256="a" * 64, size=9, media_type="audio/wav", started=format_utc(bench.now),
                ended=format_utc(bench.now))
    payload = hand.payload(bench.made, bench.visit, Kind.CAPTURE, CaptureFacts(occasion=OCCASION), items=(item,), at=bench.now)
    assert "import-unknown" in {one.name for one in bench.accept(signed_once(hand, payload), bench.made.bilal).findings}


# -- Guards --------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("values", [{"sha256": "0" * 64}, {"told_started_at": datetime.fromisoformat("2026-11-01T00:00:00+00:00")},
                                    {"clock_offset_ms": 1}, {"wrapped_key": None}])
def test_EVD_09_the_database_keeps_a_recording_as_it_came(bench: Bench, values: dict[str, Any]) -> None:
    bench.bring(film(bench.code(bench.now - timedelta(minutes=9))), "video/mp4", bench.now - timedelta(minutes=9))
    with pytest.raises(IntegrityError), bench.sessions.begin() as session:
        session.execute(update(RecordingRow).values(**values))


def test_EVD_09_an_altered_import_is_named_by_the_check_of_everything(bench: Bench) -> None:
    listed = bench.bring(sound(2), "audio/wav", bench.now)
    with bench.sessions() as session:
        blob = session.get_one(RecordingRow, listed.id).blob_key
    bench.store.delete(blob)
    bench.store.put(blob, [b"FVSEAL1\n", b"x" * 100])
    with bench.sessions() as session:
        report = commands.verify_store(session, KEYRING, bench.store, bench.settings.tenant)
    assert [one.subject for one in report.faults] == [f"recording:{listed.id}"]
    assert session.scalars(select(ItemRow.id)).all() == []
    assert session.scalars(select(ManifestRow.id)).all() == []
