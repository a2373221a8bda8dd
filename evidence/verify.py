"""What the content of a statement is worth: its examinations held against its claims, in numbered steps, as graded findings.

Clocks, place, travel, devices and visit need what the server knows, and are judged where that is known; here only files speak.
Nothing authentic is refused or dropped by a finding.
"""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta, tzinfo
from math import asin, cos, radians, sin, sqrt
from typing import Final

import msgspec

from evidence.examination import Audio, Examination, Exif, Photo, State, Tail, Video
from evidence.manifest import Datum, Item, Manifest, Position, Role
from evidence.model import Finding, Grade, worst
from evidence.policy import ContentPolicy
from evidence.times import parse_utc

PICTURE_ROLES: Final = frozenset(Role) - {Role.AUDIO, Role.VIDEO, Role.REFUSAL, Role.DEBTOR_DOCUMENT}
FORM_ROLES: Final = frozenset({Role.DECLARATION_PAGE, Role.ID_FRONT, Role.ID_BACK})
"""Forms and cards look alike by design: different filled forms came as near as 14 of 64 bits. They are never compared by look."""
EDITORS: Final = ("photoshop", "gimp", "lightroom", "snapseed", "picsart", "meitu", "facetune", "affinity", "pixelmator", "美图", "醒图")
_THUMBNAIL_BITS_MAX: Final = 28
_EARTH_M: Final = 6_371_000


class ContentFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What else is needed to hold content against its claim."""

    local_zone: tzinfo = UTC                 # Of the visited address; cameras write local time.
    phone_model: str | None = None           # As enrolled.


class KnownPhoto(msgspec.Struct, frozen=True, kw_only=True):
    """A picture of another visit, for comparing looks."""

    reference: str
    phash: str
    role: Role


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """The judgement of one statement's content."""

    findings: tuple[Finding, ...]
    policy_version: str
    items_examined: int
    items_total: int

    @property
    def grade(self) -> Grade | None:
        """Return the heaviest grade, None when clean."""
        return worst(self.findings)


def verify(content: Mapping[str, Examination], claim: Manifest, facts: ContentFacts, policy: ContentPolicy) -> Report:
    """Judge every item of a statement by its examination; an item without one stands as `not-examined`."""
    findings: list[Finding] = []
    examined = 0
    for item in claim.items:
        seen = content.get(item.item_id)
        # 1. Was it examined at all, and could it be decoded?
        findings += _judge_state(item, seen)
        if seen is None or seen.state is not State.EXAMINED:
            continue
        examined += 1
        # 2. Is it the kind of thing its role says?
        findings += _judge_role(item, seen)
        # 3. The picture, the camera's own words, the sound, the film.
        if seen.photo is not None:
            findings += _judge_photo(item, seen.photo)
            findings += _judge_exif(item, seen.photo.exif, claim, facts, policy)
        if seen.audio is not None:
            findings += judge_audio(item, seen.audio, policy)
        if seen.video is not None:
            findings += _judge_video(item, seen.video, policy)
    # 4. Cut recordings are whole.
    findings += judge_segments(claim.items)
    return Report(findings=tuple(findings), policy_version=policy.version, items_examined=examined, items_total=len(claim.items))


def judge_audio(item: Item, audio: Audio, policy: ContentPolicy) -> list[Finding]:
    """Judge a decoded recording (EVD-01). Shorter than claimed is only told: the union of recordings decides about gaps."""
    findings = []
    if not audio.decoded_ms:
        findings.append(_found("recording-empty", Grade.DOUBT, item, "sound", "nothing decodes", "EVD-01"))
        return findings
    if audio.bad_packets * 100 > policy.bad_packets_pct_max * audio.packets:
        got = f"{audio.bad_packets} of {audio.packets}"
        findings.append(_found("packets-bad", Grade.DOUBT, item, f"at most {policy.bad_packets_pct_max} %", got))
    if audio.silent_pct > policy.silent_pct_max:
        findings.append(_found("silent", Grade.DOUBT, item, f"at most {policy.silent_pct_max} % silence", f"{audio.silent_pct} %", "EVD-01"))
    if audio.looped_pct > policy.looped_pct_max:
        got = f"{audio.looped_pct} % of its seconds"
        findings.append(_found("recording-loops", Grade.FRAUD_SIGN, item, "sound that does not repeat", got, "EVD-09"))
    if audio.clipped_pct > policy.clipped_pct_max:
        findings.append(_found("clipped", Grade.INFO, item, f"at most {policy.clipped_pct_max} % clipped", f"{audio.clipped_pct} %"))
    claimed_ms = _claimed_ms(item)
    if audio.decoded_ms + policy.duration_ms_tolerance < claimed_ms:
        findings.append(_found("recording-shorter", Grade.INFO, item, f"{claimed_ms} ms", f"{audio.decoded_ms} ms", "EVD-01"))
    if audio.decoded_ms > claimed_ms + policy.duration_ms_tolerance:
        findings.append(_found("recording-longer", Grade.DOUBT, item, f"{claimed_ms} ms", f"{audio.decoded_ms} ms", "EVD-09"))
    return findings


def judge_segments(items: Iterable[Item]) -> list[Finding]:
    """Demand every segment of a recording that was cut, each number once per set of the same role and count."""
    numbers: dict[tuple[Role, int], list[int]] = {}
    for item in items:
        if item.segment is not None and item.of is not None:
            numbers.setdefault((item.role, item.of), []).append(item.segment)
    return [
        Finding(name="segments-missing", grade=Grade.DOUBT, rules=("EVD-01",), pointer="/items", expected=f"1 … {total}",
                got=", ".join(map(str, sorted(held)[:20])))
        for (_, total), held in numbers.items() if sorted(held) != list(range(1, total + 1))]


def judge_similarity(item: Item, photo: Photo, known: Iterable[KnownPhoto], policy: ContentPolicy) -> tuple[Finding, ...]:
    """Hint at pictures of other visits that look alike, mirrored too. A reviewer looks at both; never more than a hint."""
    if item.role in FORM_ROLES:
        return ()
    return tuple(
        _found("similar-photo", Grade.INFO, item, "a picture of its own", f"{bits} of 64 bits from {other.reference}", "EVD-09")
        for other in known if other.role not in FORM_ROLES
        and (bits := min(_apart(photo.phash, other.phash), _apart(photo.mirror_phash, other.phash))) <= policy.similar_bits_max)


def _judge_state(item: Item, seen: Examination | None) -> list[Finding]:
    if seen is None or seen.state is State.NOT_EXAMINED:
        return [_found("not-examined", Grade.INFO, item, "an examination", "none" if seen is None else seen.reason)]
    if seen.state is State.UNSUPPORTED:
        return [_found("type-differs", Grade.DOUBT, item, item.media_type, seen.container or "unknown bytes")]
    if seen.state is State.UNDECODABLE:
        return [_found("undecodable", Grade.DOUBT, item, "content that decodes", seen.reason)]
    return []


def _judge_role(item: Item, seen: Examination) -> list[Finding]:
    is_picture_fine = item.role not in PICTURE_ROLES or seen.photo is not None
    fits = {Role.AUDIO: seen.audio is not None, Role.VIDEO: seen.video is not None}.get(item.role, is_picture_fine)
    return [] if fits else [_found("role-differs", Grade.DOUBT, item, item.role, item.media_type)]


def _judge_photo(item: Item, photo: Photo) -> list[Finding]:
    findings = []
    claimed = (item.width or photo.width, item.height or photo.height)
    if sorted(claimed) != sorted((photo.width, photo.height)):
        findings.append(_found("dimensions-differ", Grade.DOUBT, item, f"{claimed[0]} × {claimed[1]}", f"{photo.width} × {photo.height}"))
    if photo.tail is Tail.ARCHIVE:
        findings.append(_found("trailing-archive", Grade.DOUBT, item, "a picture and nothing more", f"{photo.tail_bytes} bytes of an archive"))
    elif photo.tail is Tail.OTHER:
        findings.append(_found("trailing-data", Grade.INFO, item, "a picture and nothing more", f"{photo.tail_bytes} bytes"))
    return findings


def _judge_exif(item: Item, exif: Exif, claim: Manifest, facts: ContentFacts, policy: ContentPolicy) -> list[Finding]:
    """EXIF corroborates, never decides: everything here is told and no more."""
    findings = []

    def tell(name: str, expected: str, got: str) -> None:
        findings.append(_found(name, Grade.INFO, item, expected, got))

    taken_at = _taken_at(exif, facts.local_zone)
    if taken_at is not None:
        off_s = abs((taken_at - parse_utc(item.started)).total_seconds())
        if off_s > policy.exif_time_s_max:
            tell("exif-time-differs", f"within {policy.exif_time_s_max} s", f"{off_s:.0f} s")
    away_m = _away_m(exif, item.position or claim.position)
    if away_m is not None and away_m > policy.exif_distance_m_max:
        tell("exif-position-differs", f"within {policy.exif_distance_m_max} m", f"{away_m:.0f} m")
    if exif.is_position_broken:
        tell("exif-position-broken", "a position", "no number or out of range")
    if exif.is_unreadable:
        tell("exif-unreadable", "readable EXIF or none", "broken")
    if exif.model is not None and facts.phone_model is not None and facts.phone_model.casefold() not in exif.model.casefold():
        tell("exif-model-differs", facts.phone_model, exif.model)
    if exif.software is not None and any(editor in exif.software.casefold() for editor in EDITORS):
        tell("exif-editor", "a camera's software", exif.software)
    if exif.thumbnail_bits is not None and exif.thumbnail_bits > _THUMBNAIL_BITS_MAX:
        tell("exif-thumbnail-differs", "a thumbnail of this picture", f"{exif.thumbnail_bits} of 64 bits")
    return findings


def _judge_video(item: Item, film: Video, policy: ContentPolicy) -> list[Finding]:
    findings = []
    if not film.is_first_frame_decoded:
        findings.append(_found("undecodable", Grade.DOUBT, item, "a first frame", "none"))
    if film.is_cut_off:
        findings.append(_found("video-cut-off", Grade.DOUBT, item, "a whole film", f"ends after {film.duration_ms} ms"))
    if film.duration_ms > _claimed_ms(item) + policy.duration_ms_tolerance:
        findings.append(_found("recording-longer", Grade.DOUBT, item, f"{_claimed_ms(item)} ms", f"{film.duration_ms} ms", "EVD-09"))
    if film.audio is not None and film.audio.silent_pct > policy.silent_pct_max:
        findings.append(_found("silent", Grade.INFO, item, f"at most {policy.silent_pct_max} % silence", f"{film.audio.silent_pct} %"))
    return findings


def _claimed_ms(item: Item) -> int:
    if item.duration_ms is not None:
        return item.duration_ms
    return max(0, round((parse_utc(item.ended) - parse_utc(item.started)) / timedelta(milliseconds=1)))


def _taken_at(exif: Exif, zone: tzinfo) -> datetime | None:
    """Return the camera's time as an instant; a camera clock without date or with nonsense gives None."""
    if exif.taken is None:
        return None
    try:
        taken_at = datetime.fromisoformat(exif.taken + (exif.offset or ""))
        return taken_at if taken_at.tzinfo is not None else taken_at.replace(tzinfo=zone)
    except ValueError:
        return None


def _away_m(exif: Exif, position: Position | None) -> float | None:
    """Return metres between camera and fix; None unless both speak WGS-84, as EXIF does."""
    if position is None or position.datum is not Datum.WGS84 or exif.lat_e7 is None or exif.lon_e7 is None:
        return None
    lat, lon, other_lat, other_lon = (radians(e7 / 1e7) for e7 in (exif.lat_e7, exif.lon_e7, position.lat_e7, position.lon_e7))
    chord = sin((other_lat - lat) / 2) ** 2 + cos(lat) * cos(other_lat) * sin((other_lon - lon) / 2) ** 2
    return max(0.0, 2 * _EARTH_M * asin(min(1.0, sqrt(chord))) - position.accuracy_cm / 100)


def _apart(left: str, right: str) -> int:
    return (int(left, 16) ^ int(right, 16)).bit_count()


def _found(name: str, grade: Grade, item: Item, expected: str, got: str, *rules: str) -> Finding:
    return Finding(name=name, grade=grade, rules=rules, pointer=item.item_id, expected=expected, got=got[:200])
