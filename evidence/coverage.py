"""Whether the visit was recorded throughout (EVD-01): the union of both phones' and all registered recorders' sound."""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

import msgspec

from evidence.model import Finding, Grade
from evidence.policy import ContentPolicy


class Recording(msgspec.Struct, frozen=True, kw_only=True):
    """One stretch of decoded sound: bounded start, and an end computed from decoded samples, never from a header."""

    source: str                              # Device key or recorder serial.
    item_id: str
    started_at: datetime
    decoded_ms: int

    @property
    def ended_at(self) -> datetime:
        """Return when the sound ends."""
        return self.started_at + timedelta(milliseconds=self.decoded_ms)


class Gap(msgspec.Struct, frozen=True, kw_only=True):
    """A stretch without sound."""

    started_at: datetime
    ended_at: datetime

    @property
    def length_ms(self) -> int:
        """Return the stretch's length."""
        return round((self.ended_at - self.started_at) / timedelta(milliseconds=1))


def gaps(recordings: Iterable[Recording], window: tuple[datetime, datetime], gap_ms_max: int) -> tuple[Gap, ...]:
    """Return the stretches of the window, longer than `gap_ms_max`, that no recording covers, in order."""
    found: list[Gap] = []
    covered_to, end = window
    for one in sorted(recordings, key=lambda recording: recording.started_at):
        if one.started_at >= end:
            break
        if one.started_at > covered_to:
            found.append(Gap(started_at=covered_to, ended_at=one.started_at))
        covered_to = max(covered_to, one.ended_at)
    if covered_to < end:
        found.append(Gap(started_at=covered_to, ended_at=end))
    return tuple(gap for gap in found if gap.length_ms > gap_ms_max)


def judge_coverage(recordings: Sequence[Recording], arrived_at: datetime, departed_at: datetime, policy: ContentPolicy) -> tuple[Finding, ...]:
    """Judge [arrival - margin, departure + margin]. A short break of one of several recordings is only told (F24).

    Raises:
        ValueError: departure before arrival.
    """
    if departed_at < arrived_at:
        raise ValueError("a visit departs after it arrives")
    margin = timedelta(seconds=policy.coverage_margin_s)
    window = (arrived_at - margin, departed_at + margin)
    if not recordings:
        return (_found("recording-missing", Grade.DOUBT, "a recording of the whole visit", "none"),)
    findings = [
        _found("recording-gap", Grade.DOUBT, f"gaps of at most {policy.gap_ms_max} ms", f"{gap.length_ms} ms from {gap.started_at:%H:%M:%S}Z")
        for gap in gaps(recordings, window, policy.gap_ms_max)]
    if findings:
        return tuple(findings)
    for source in sorted({one.source for one in recordings}):
        broken = gaps([one for one in recordings if one.source == source], window, policy.gap_ms_max)
        longest_ms = max((gap.length_ms for gap in broken), default=0)
        if longest_ms:
            findings.append(_found("recording-interrupted", Grade.INFO, "one recording throughout", f"{longest_ms} ms covered by another", source))
    return tuple(findings)


def _found(name: str, grade: Grade, expected: str, got: str, pointer: str = "") -> Finding:
    return Finding(name=name, grade=grade, rules=("EVD-01",), expected=expected, got=got, pointer=pointer)
