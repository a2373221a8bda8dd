"""Recordings of registered recorders and body cameras: how their clock is known, what is judged about them. Pure (F06)."""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from uuid import UUID

import msgspec

from backend.core.ids import StaffId
from evidence.facts import CaptureFacts
from evidence.manifest import Manifest
from evidence.model import Finding, Grade

OCCASION = "equipment_import"
"""The occasion of a capture by which one of the pair accepts a recording as theirs. It is signed at a desk, not at a door."""
MARK_SPREAD_MS_MAX = 5_000
"""Marks of one film must agree within this."""
SAME_CLOCK = timedelta(hours=12)
"""For so long a recorder's clock, proven once, is taken to run on."""
CLOCK_OFF_S = 120
START_S_MAX = 5


class ClockProof(StrEnum):
    """How a recorder's clock is known."""

    FILMED = "filmed"                # This film shows a time mark.
    PHOTOGRAPHED = "photographed"    # This picture does, and says when the camera took it.
    INHERITED = "inherited"          # Another recording of the same recorder within half a day does.
    NONE = "none"


class NewRecording(msgspec.Struct, frozen=True, kw_only=True):
    """A file off a recorder's card, and when its recorder says that it began."""

    equipment_id: UUID
    visit_id: UUID
    media_type: str
    told_started_at: datetime


class SeenMark(msgspec.Struct, frozen=True, kw_only=True):
    """A verified time mark for this visit by a phone of its pair: when it was shown, bounded by a beacon, and how far into the film."""

    shown_at: datetime
    at_ms: int
    kid: str


PICTURE_S_MAX = 5
"""The time entered for a picture must be the one that its camera wrote into it, within this."""


def camera_time(taken: str | None, offset: str | None) -> datetime | None:
    """Return the time that a camera wrote into a picture, in the agency's zone where it names none; None for none or a broken one."""
    try:
        return datetime.fromisoformat(f"{taken}{offset or '+08:00'}") if taken is not None else None
    except ValueError:
        return None


def offset_of(told_started_at: datetime, marks: Iterable[SeenMark]) -> int | None:
    """Return what must be added to a recorder's clock in milliseconds; None without a mark, or where marks contradict each other."""
    offsets = sorted(_ms(one.shown_at - timedelta(milliseconds=one.at_ms) - told_started_at) for one in marks)
    if not offsets or offsets[-1] - offsets[0] > MARK_SPREAD_MS_MAX:
        return None
    return offsets[len(offsets) // 2]


def nearest_offset(told_started_at: datetime, proven: Sequence[tuple[datetime, int]]) -> int | None:
    """Return the offset that the same recorder proved nearest in time, None where none is near enough."""
    near = [(abs(at - told_started_at), offset) for at, offset in proven if abs(at - told_started_at) <= SAME_CLOCK]
    return min(near)[1] if near else None


class AcceptedFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What is read to judge a recording that one of the pair accepted."""

    item_id: str
    serial: str
    proof: ClockProof
    offset_ms: int | None
    told_started_at: datetime
    stated_started_at: datetime              # As the accepting statement says.
    carried_by_pair: bool                    # Assigned to one of the pair on that day, inspected and in use (EVD-04).


def judge_recording(facts: AcceptedFacts) -> tuple[Finding, ...]:
    """Judge an accepted recording. A clock that nothing proves is a doubt, one that is proven wrong is only told (F06, F24)."""
    found: list[Finding] = []

    def find(name: str, grade: Grade, expected: str, got: str, *rules: str) -> None:
        found.append(Finding(name=name, grade=grade, rules=rules, pointer=facts.item_id, expected=expected, got=got))

    if not facts.carried_by_pair:
        find("recorder-not-carried", Grade.DOUBT, "a recorder handed to one of the pair that day", facts.serial, "EVD-04", "VIS-04")
    if facts.offset_ms is None:
        find("recorder-clock-unproven", Grade.DOUBT, "a time mark filmed or photographed by this recorder", facts.proof.value, "EVD-01")
        return tuple(found)
    if abs(facts.offset_ms) > CLOCK_OFF_S * 1000:
        find("recorder-clock-off", Grade.INFO, f"at most {CLOCK_OFF_S} s", f"{facts.offset_ms // 1000} s")
    true_start = facts.told_started_at + timedelta(milliseconds=facts.offset_ms)
    away_s = abs((facts.stated_started_at - true_start).total_seconds())
    if away_s > START_S_MAX:
        find("recorder-start-differs", Grade.DOUBT, f"{true_start:%Y-%m-%dT%H:%M:%SZ}", f"{facts.stated_started_at:%Y-%m-%dT%H:%M:%SZ}", "EVD-09")
    return tuple(found)


def judge_brought_in(manifest: Manifest, brought_in: frozenset[str]) -> tuple[Finding, ...]:
    """Judge whether an acceptance names only what the desk brought in for this visit: nothing else may be signed far from the door."""
    if not (isinstance(manifest.facts, CaptureFacts) and manifest.facts.occasion == OCCASION):
        return ()
    return tuple(
        Finding(name="import-unknown", grade=Grade.DOUBT, rules=("EVD-09",), pointer=item.item_id, expected="a recording brought in for this visit",
                got="another file")
        for item in manifest.items if item.sha256 not in brought_in)


class RecordingView(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One recording of a visit. `startedAt` is its recorder's clock set right; `acceptedBy` names who of the pair took it as theirs."""

    id: UUID
    visit_id: UUID
    equipment_id: UUID
    serial: str
    sha256: str
    size: int
    media_type: str
    imported_by: StaffId
    imported_at: datetime
    told_started_at: datetime
    started_at: datetime
    ended_at: datetime | None
    state: str
    is_cut_off: bool
    clock_proof: ClockProof | None
    clock_offset_ms: int | None
    accepted_by: tuple[StaffId, ...]


def _ms(length: timedelta) -> int:
    return round(length / timedelta(milliseconds=1))
