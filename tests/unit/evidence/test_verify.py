"""Content against claim: every planted fault is found, an honest item is clean, and doubt never becomes refusal."""

from datetime import timedelta, timezone
from typing import Any

import msgspec
import pytest

from evidence.examination import Audio, Examination, Exif, Photo, State, Tail, Video
from evidence.manifest import Datum, Role
from evidence.model import Finding, Grade, worst
from evidence.policy import DEFAULT
from evidence.verify import ContentFacts, KnownPhoto, judge_similarity, verify
from tests.unit.evidence import builders

SHANGHAI = ContentFacts(local_zone=timezone(timedelta(hours=8)), phone_model="A1")
PHOTO = Photo(width=640, height=480, frames=1, tail=Tail.NONE, tail_bytes=0, phash="0" * 16, dhash="0" * 16, mirror_phash="f" * 16,
mirror_dhash="f" * 16,
              exif=Exif(taken="2026-11-27T10:00:30", lat_e7=312304160, lon_e7=1214737010, model="Maker A1", software="A1.200", thumbnail_bits=4))
AUDIO = Audio(codec="aac", decoded_ms=300_000, declared_ms=300_000, packets=1_000, bad_packets=2, sample_rate=16_000, rms_dbfs=-30, silent_pct=40,
              clipped_pct=0, looped_pct=0, fingerprint="1")
FILM = Video(codec="h264", width=9, height=9, duration_ms=300_000, packets=9, is_first_frame_decoded=True, is_cut_off=False, audio=None)
FIVE_MINUTES = {"started": "2026-11-27T02:00:00.000Z", "ended": "2026-11-27T02:05:00.000Z"}


def grades(examination: Examination | None, **item: Any) -> dict[str, Grade]:
    claim = builders.manifest(items=(builders.item("i1", **item),))
    content = {} if examination is None else {"i1": examination}
    return {finding.name: finding.grade for finding in verify(content, claim, SHANGHAI, DEFAULT).findings}


def photo(exif: dict[str, Any] | None = None, **changes: Any) -> Examination:
    changed = msgspec.structs.replace(PHOTO, **changes)
    return Examination(state=State.EXAMINED, photo=msgspec.structs.replace(changed, exif=msgspec.structs.replace(changed.exif, **(exif or {}))))


def sound(**changes: Any) -> Examination:
    return Examination(state=State.EXAMINED, audio=msgspec.structs.replace(AUDIO, **changes))


@pytest.mark.parametrize("examination, name, grade", [
    (None, "not-examined", Grade.INFO), (Examination(state=State.NOT_EXAMINED, reason="no decoder"), "not-examined", Grade.INFO),
    (Examination(state=State.UNDECODABLE), "undecodable", Grade.DOUBT), (Examination(state=State.UNSUPPORTED), "type-differs", Grade.DOUBT),
    (sound(), "role-differs", Grade.DOUBT), (photo(tail=Tail.ARCHIVE), "trailing-archive", Grade.DOUBT),
    (photo(tail=Tail.OTHER), "trailing-data", Grade.INFO),
    (photo(exif={"taken": "2026-11-27T09:00:00"}), "exif-time-differs", Grade.INFO),
    (photo(exif={"lat_e7": 312404160}), "exif-position-differs", Grade.INFO),
    (photo(exif={"is_position_broken": True}), "exif-position-broken", Grade.INFO),
    (photo(exif={"is_unreadable": True}), "exif-unreadable", Grade.INFO), (photo(exif={"model": "Other"}), "exif-model-differs", Grade.INFO),
    (photo(exif={"software": "Adobe Photoshop 2026"}), "exif-editor", Grade.INFO),
    (photo(exif={"thumbnail_bits": 40}), "exif-thumbnail-differs", Grade.INFO),
])
def test_EVD_09_a_picture_s_faults_are_found(examination: Examination | None, name: str, grade: Grade) -> None:
    assert grades(examination).get(name) is grade


def test_a_picture_of_other_dimensions_is_in_doubt_and_a_turned_one_is_not() -> None:
    assert grades(photo(), width=800, height=600) == {"dimensions-differ": Grade.DOUBT}
    assert grades(photo(), width=480, height=640) == {}


@pytest.mark.parametrize("changes, name, grade", [
    ({"decoded_ms": 0}, "recording-empty", Grade.DOUBT), ({"bad_packets": 51}, "packets-bad", Grade.DOUBT),
    ({"silent_pct": 91}, "silent", Grade.DOUBT),
    ({"looped_pct": 51}, "recording-loops", Grade.FRAUD_SIGN), ({"clipped_pct": 6}, "clipped", Grade.INFO),
    ({"decoded_ms": 280_000}, "recording-shorter", Grade.INFO), ({"decoded_ms": 303_000}, "recording-longer", Grade.DOUBT),
])
def test_EVD_01_a_recording_s_faults_are_found(changes: dict[str, Any], name: str, grade: Grade) -> None:
    assert grades(sound(**changes), role=Role.AUDIO, media_type="audio/mp4", **FIVE_MINUTES) == {name: grade}


def test_a_film_s_faults_are_found() -> None:
    item = {"role": Role.VIDEO, "media_type": "video/mp4", **FIVE_MINUTES}
    assert grades(Examination(state=State.EXAMINED, video=FILM), **item) == {}
    cut = msgspec.structs.replace(FILM, is_cut_off=True, is_first_frame_decoded=False)
    assert set(grades(Examination(state=State.EXAMINED, video=cut), **item)) == {"video-cut-off", "undecodable"}


def test_honest_items_are_clean() -> None:
    assert grades(photo()) == {}
    assert grades(photo(exif={"taken": None, "lat_e7": None, "lon_e7": None, "model": None, "software": None, "thumbnail_bits": None})) == {}
    assert grades(photo(tail=Tail.MOTION_VIDEO, tail_bytes=900)) == {}
    assert grades(sound(), role=Role.AUDIO, media_type="audio/mp4", **FIVE_MINUTES) == {}
    assert grades(photo(), role=Role.DEBTOR_DOCUMENT) == {}


def test_a_camera_position_is_not_held_against_a_fix_of_another_datum() -> None:
    position = msgspec.structs.replace(builders.HERE, datum=Datum.GCJ02)
    claim = builders.manifest(items=(builders.item("i1"),), position=position)
    assert verify({"i1": photo(exif={"lat_e7": 312404160})}, claim, SHANGHAI, DEFAULT).findings == ()


def test_EVD_01_a_missing_segment_is_found() -> None:
    def segments(*numbers: int) -> tuple[Finding, ...]:
        items = tuple(builders.item(f"s{n}", role=Role.AUDIO, media_type="audio/amr", segment=n, of=3, **FIVE_MINUTES) for n in numbers)
        claim = builders.manifest(items=items)
        return verify({one.item_id: sound() for one in items}, claim, SHANGHAI, DEFAULT).findings

    assert [finding.name for finding in segments(1, 3)] == ["segments-missing"]
    assert segments(1, 2, 3) == ()


def test_a_similar_picture_is_a_hint_and_a_form_is_never_compared() -> None:
    known = [KnownPhoto(reference="visit-0", phash="00000000000000ff", role=Role.PHOTO), KnownPhoto(reference="visit-9", phash="0" * 15 + "1",
    role=Role.ID_FRONT)]
    hints = judge_similarity(builders.item(), PHOTO, known, DEFAULT)
    assert [(hint.name, hint.grade) for hint in hints] == [("similar-photo", Grade.INFO)]
    mirrored = [KnownPhoto(reference="visit-0", phash="f" * 16, role=Role.PHOTO)]
    assert judge_similarity(builders.item(), PHOTO, mirrored, DEFAULT)
    assert judge_similarity(builders.item(role=Role.DECLARATION_PAGE), PHOTO, known, DEFAULT) == ()
    assert judge_similarity(builders.item(), PHOTO, [KnownPhoto(reference="v", phash="00000000000001ff", role=Role.PHOTO)], DEFAULT) == ()


def test_a_report_names_its_policy_its_counts_and_its_heaviest_grade() -> None:
    claim = builders.manifest(items=(builders.item("i1"), builders.item("i2", sha256="c" * 64)))
    report = verify({"i1": photo(tail=Tail.ARCHIVE)}, claim, SHANGHAI, DEFAULT)
    assert (report.policy_version, report.items_examined, report.items_total, report.grade) == ("content/1", 1, 2, Grade.DOUBT)
    assert worst(()) is None
