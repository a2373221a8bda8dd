"""How long two may work together: days in a row, days within weeks, rest after being parted (REQ-06). Pure: dates in, breaches out.

Days are those on which the branch has a published plan; a day on which one of the two was ill parts them like any other.
"""

from collections.abc import Iterable
from datetime import date, timedelta

import msgspec

from backend.core.ids import StaffId
from backend.core.rulebook import Breach, Rule
from backend.policies.model import Policy

WINDOW_DAYS_MAX = 90
"""The longest window that a policy may name; history is gathered that far, back and ahead."""

Pair = tuple[StaffId, StaffId]


class PairDay(msgspec.Struct, frozen=True, kw_only=True):
    """The pairs of one published day of a branch, the smaller id first."""

    on: date
    pairs: frozenset[Pair]


def judge_rotation(on: date, branch_days: Iterable[date], together: frozenset[date], policy: Policy) -> tuple[Breach, ...]:
    """Judge whether two who worked together on `together` may do so on `on` as well; later days count as much as earlier ones.

    Args:
        branch_days: Every other day on which the branch has a published plan.
    """
    days, both = sorted({*branch_days, *together, on}), {*together, on}
    at = days.index(on)
    first, last = at, at
    while first > 0 and days[first - 1] in both:
        first -= 1
    while last + 1 < len(days) and days[last + 1] in both:
        last += 1
    breaches = []
    if last - first + 1 > policy.pair_consecutive_days_max:
        breaches.append(_breach("together-too-long", f"at most {policy.pair_consecutive_days_max} days in a row", last - first + 1))
    window = timedelta(days=policy.pair_window_days - 1)
    most = max(sum(1 for day in both if start <= day <= start + window) for start in both if start <= on <= start + window)
    if most > policy.pair_days_max:
        breaches.append(_breach("together-too-often", f"at most {policy.pair_days_max} days in {policy.pair_window_days}", most))
    rests = [_apart(days[:first], both), _apart(days[last + 1:][::-1], both)]
    shortest = min((one for one in rests if one is not None), default=None)
    if shortest is not None and shortest < policy.pair_rest_days_min:
        breaches.append(_breach("together-again-too-soon", f"at least {policy.pair_rest_days_min} working days apart", shortest))
    return tuple(breaches)


def barred_pairs(on: date, past: tuple[PairDay, ...], policy: Policy) -> frozenset[Pair]:
    """Return the pairs that may not work together on `on`, of those who ever did within the window."""
    branch_days = [day.on for day in past]
    together: dict[Pair, set[date]] = {}
    for day in past:
        for pair in day.pairs:
            together.setdefault(pair, set()).add(day.on)
    return frozenset(pair for pair, days in together.items() if judge_rotation(on, branch_days, frozenset(days), policy))


def _apart(days: list[date], both: set[date]) -> int | None:
    """Return how many of the days next to a stretch together the two were apart; None when they never met beyond it."""
    for number, day in enumerate(reversed(days)):
        if day in both:
            return number
    return None


def _breach(code: str, expected: str, got: int) -> Breach:
    return Breach(Rule.REQ_06, code, expected=expected, got=str(got))
