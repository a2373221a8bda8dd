"""The judge's own clock: how long a way takes at which hour, and which breaks of a pair are due (`fieldday/2`).

Shares no code with any engine.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from routing.model import Break, Collector, Instance, PairProgress, SpeedSpan, StopType


class DuePause(msgspec.Struct, frozen=True, kw_only=True):
    """A break that a pair takes together: it begins within `window`, lasts `duration_s`, and precedes every visit that ends after the window."""

    window: tuple[int, int]
    duration_s: int


def arrives(speeds: Sequence[SpeedSpan], leaves_s: int, seconds: int) -> int:
    """Return when a way of `seconds` at ordinary speed ends that begins at `leaves_s`, the second begun counted whole."""
    clock, left = leaves_s, 100 * seconds
    for one in speeds:
        opens, closes = one.span
        if closes <= clock:
            continue
        if clock < opens:
            if left <= 100 * (opens - clock):
                break
            left -= 100 * (opens - clock)
            clock = opens
        if left <= one.percent * (closes - clock):
            return clock - (-left // one.percent)
        left -= one.percent * (closes - clock)
        clock = closes
    return clock - (-left // 100)


def due_pauses(instance: Instance, a: Collector, b: Collector, lock: PairProgress | None) -> list[DuePause]:
    """Return the breaks that two people still have ahead of them today, in order of time.

    Breaks whose windows meet are one pause: it begins where both windows are open and lasts as long as the longer. Each other break is
    a pause of both.
    """
    left = [_ahead(instance, one, lock) for one in (a, b)]
    due: list[DuePause] = []
    while left[0] and left[1]:
        mine, yours = left[0][0], left[1][0]
        opens, closes = max(mine.window[0], yours.window[0]), min(mine.window[1], yours.window[1])
        if opens <= closes:
            due.append(DuePause(window=(opens, closes), duration_s=max(mine.duration_s, yours.duration_s)))
            left[0].pop(0)
            left[1].pop(0)
        else:
            first = left[0] if mine.window[1] < yours.window[0] else left[1]
            alone = first.pop(0)
            due.append(DuePause(window=alone.window, duration_s=alone.duration_s))
    return due + [DuePause(window=one.window, duration_s=one.duration_s) for one in (*left[0], *left[1])]


def _ahead(instance: Instance, one: Collector, lock: PairProgress | None) -> list[Break]:
    """Leave out what has been taken, and what cannot begin any more; nobody who is at work can begin before being free."""
    begins = max(one.shift[0], instance.horizon[0], instance.now or 0)
    free_from = 0
    parted = [known.free_at for known in instance.progress if not known.together and one.id in known.collectors]
    if lock is not None:
        free_from = max(lock.free_at, instance.now or 0)
    elif parted:
        free_from = max(parted)
    taken = [
        stop.end for known in instance.progress if one.id in known.collectors for stop in known.stops if stop.type is StopType.PAUSE
    ]
    left: list[Break] = []
    for rest in one.breaks:
        opens, closes = rest.window
        if closes >= (free_from if lock is not None else max(begins, free_from)) and not any(end > opens for end in taken):
            left.append(Break(window=(max(opens, free_from), closes), duration_s=rest.duration_s))
    return left
