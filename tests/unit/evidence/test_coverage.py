"""Whether the visit was recorded throughout."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evidence.coverage import Recording, gaps, judge_coverage
from evidence.policy import DEFAULT

START = datetime(2026, 11, 27, 2, tzinfo=UTC)
WINDOW_S = 1_320                                         # Twenty minutes and a minute on either side.


def recording(from_s: float, to_s: float, source: str = "phone-a") -> Recording:
    return Recording(source=source, item_id=f"{source}-{from_s}", started_at=START + timedelta(seconds=from_s),
    decoded_ms=round((to_s - from_s) * 1000))


def found(*recordings: Recording) -> list[str]:
    return [finding.name for finding in judge_coverage(recordings, START + timedelta(seconds=60), START + timedelta(seconds=1_260), DEFAULT)]


def test_EVD_01_no_recording_is_found() -> None:
    assert found() == ["recording-missing"]


@pytest.mark.parametrize("recordings, count", [
    ([(3, WINDOW_S)], 1), ([(0, WINDOW_S - 3)], 1), ([(0, 600), (620, WINDOW_S)], 1), ([(0, 100), (110, 200), (210, WINDOW_S)], 2),
    ([(-500, -100)], 1),
    ([(2_000, 3_000)], 1),
])
def test_EVD_01_a_gap_in_all_recordings_is_found(recordings: list[tuple[int, int]], count: int) -> None:
    assert found(*(recording(*one) for one in recordings)) == ["recording-gap"] * count


def test_F24_a_call_that_stops_one_of_two_recorders_is_only_told() -> None:
    assert found(recording(0, 600), recording(620, WINDOW_S), recording(0, WINDOW_S, "phone-b")) == ["recording-interrupted"]


def test_segments_that_join_within_two_seconds_are_whole() -> None:
    assert found(recording(0, 300), recording(302, 600), recording(600, WINDOW_S)) == []
    assert found(recording(-100, WINDOW_S + 100)) == []


@given(st.lists(st.tuples(st.integers(-100, 1_400), st.integers(1, 500)), max_size=8))
def test_gaps_are_what_no_second_covers(pieces: list[tuple[int, int]]) -> None:
    recordings = [recording(start, start + length) for start, length in pieces]
    end = START + timedelta(seconds=WINDOW_S)
    bare = {second for second in range(WINDOW_S) if not any(start <= second < start + length for start, length in pieces)}
    told = gaps(recordings, (START, end), 0)
    assert sum(gap.length_ms for gap in told) == 1000 * len(bare)
    assert all(left.ended_at < right.started_at for left, right in pairwise(told))


def test_a_departure_before_the_arrival_is_a_mistake_of_the_caller() -> None:
    with pytest.raises(ValueError, match="departs"):
        judge_coverage([], START, START - timedelta(seconds=1), DEFAULT)
