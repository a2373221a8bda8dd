"""How long two may work together, by every single day of a window counted anew."""

from datetime import date, timedelta
from uuid import UUID

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.core.ids import StaffId
from backend.core.rulebook import Rule
from backend.plans.reasons import screen
from backend.plans.rotation import PairDay, barred_pairs, judge_rotation
from backend.plans.to_routing import to_instance
from backend.policies.model import DEFAULT_POLICY, Policy
from tests.unit.plans.days import collector, day

MONDAY = date(2026, 11, 2)
A, B = StaffId(UUID(int=1)), StaffId(UUID(int=2))


def on(*numbers: int) -> frozenset[date]:
    return frozenset(MONDAY + timedelta(days=number) for number in numbers)


def policy(consecutive: int = 30, days: int = 90, window: int = 28, rest: int = 0) -> Policy:
    return msgspec.structs.replace(
        DEFAULT_POLICY, pair_consecutive_days_max=consecutive, pair_days_max=days, pair_window_days=window, pair_rest_days_min=rest,
    )


def codes(today: int, branch: frozenset[date], together: frozenset[date], bounds: Policy) -> list[str]:
    breaches = judge_rotation(MONDAY + timedelta(days=today), branch, together, bounds)
    assert {breach.rule for breach in breaches} <= {Rule.REQ_06}
    return [breach.code for breach in breaches]


@pytest.mark.parametrize(("today", "together", "bounds", "expected"), [
    (5, on(0, 1, 2, 3, 4), policy(consecutive=5), ["together-too-long"]),
    (5, on(1, 2, 3, 4), policy(consecutive=5), []),
    (2, on(0, 1, 3, 4, 5), policy(consecutive=5), ["together-too-long"]),           # It would join two stretches.
    (9, on(0, 3, 6), policy(days=3, window=10), ["together-too-often"]),
    (10, on(0, 3, 6), policy(days=3, window=10), []),
    (0, on(3, 6, 9), policy(days=3, window=10), ["together-too-often"]),            # A later day was published first.
    (4, on(0, 1), policy(rest=3), ["together-again-too-soon"]),
    (5, on(0, 1), policy(rest=3), []),
    (2, on(0, 1), policy(rest=3), []),                                              # They were never parted.
    (0, on(3), policy(rest=3), ["together-again-too-soon"]),
    (5, on(0, 1, 2, 3, 4), policy(consecutive=5, days=5), ["together-too-long", "together-too-often"]),
])
def test_REQ_06_a_bound_is_kept_in_every_direction(today: int, together: frozenset[date], bounds: Policy, expected: list[str]) -> None:
    assert codes(today, on(*range(11)), together, bounds) == expected


def test_REQ_06_days_without_a_plan_neither_part_nor_join() -> None:
    assert codes(7, on(0, 1, 2, 3, 4), on(0, 1, 2, 3, 4), policy(consecutive=5)) == ["together-too-long"]
    assert codes(7, on(0, 1, 2, 3, 4, 5), on(0, 1, 2, 3, 4), policy(consecutive=5)) == []


@given(st.frozensets(st.integers(0, 40), max_size=25), st.frozensets(st.integers(0, 40)), st.integers(0, 40), st.integers(1, 6), st.integers(1, 8),
       st.integers(1, 20))
def test_REQ_06_days_within_a_window_and_in_a_row_are_counted_like_by_hand(
    together: frozenset[int], others: frozenset[int], today: int, consecutive: int, most: int, window: int
) -> None:
    together -= {today}
    bounds = policy(consecutive=consecutive, days=most, window=window)
    found = codes(today, on(*(others - {today})), on(*together), bounds)
    both, days = together | {today}, sorted(others | together | {today})
    counts = [sum(1 for one in both if first <= one < first + window) for first in range(today - window + 1, today + 1)]
    assert ("together-too-often" in found) == (max(counts) > most)
    row, longest = 0, 0
    for one in days:
        row = row + 1 if one in both else 0
        if one == today:
            longest = row + next((n for n, later in enumerate(days[days.index(one) + 1:]) if later not in both), len(days) - days.index(one) - 1)
    assert ("together-too-long" in found) == (longest > consecutive)


def test_REQ_06_barred_pairs_reach_the_instance_as_conflicts_and_loads_as_they_are() -> None:
    people = tuple(collector(number) for number in range(4))
    pair = (min(people[0].id, people[1].id), max(people[0].id, people[1].id))
    past = tuple(PairDay(on=date(2026, 11, number), pairs=frozenset({pair})) for number in (23, 24, 25))
    bounds = policy(days=3)
    assert barred_pairs(date(2026, 11, 27), past, bounds) == {pair}
    assert barred_pairs(date(2026, 11, 27), past, policy(days=4)) == frozenset()
    facts = day(collectors=people, past=past, load_s={people[2].id: 9_000})
    entering, _ = screen(facts, bounds)
    instance = to_instance(facts, entering, bounds, "day")
    assert instance.pairing.conflicts == ((str(pair[0]), str(pair[1])),)
    assert [one.recent_load_s for one in instance.collectors] == [0, 0, 9_000, 0]
