"""Which breaks a pair has ahead of it, in the words of the engines. `check.py` never looks in here."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from routing.model import Instance, StopType
from routing.running import Running

Rest = tuple[int, int, int]
"""A break: may begin from, may begin until, lasts; seconds."""
Rests = tuple[Rest, ...]


def read_rests(instance: Instance, running: Running, begins: Sequence[int]) -> tuple[Rests, ...]:
    """Return each collector's breaks that are still to be taken, given when each may begin; at work, no break begins before one is free."""
    free_from = {index: freed.from_s for index, freed in running.freed.items()}
    earliest = dict(enumerate(begins))
    for anchor in running.anchors:
        for member in (anchor.a, anchor.b):
            free_from[member] = earliest[member] = anchor.leaves_s
    found: list[Rests] = []
    for index, one in enumerate(instance.collectors):
        taken = [
            stop.end for known in instance.progress if one.id in known.collectors for stop in known.stops if stop.type is StopType.PAUSE
        ] if one.breaks else []
        found.append(tuple(
            (max(rest.window[0], free_from.get(index, 0)), rest.window[1], rest.duration_s) for rest in one.breaks
            if rest.window[1] >= earliest[index] and all(end <= rest.window[0] for end in taken)
        ))
    return tuple(found)


@lru_cache(maxsize=4096)
def joined(mine: Rests, yours: Rests) -> Rests:
    """Return the pauses of a pair: breaks whose windows meet are one, where both windows are open and as long as the longer."""
    found: list[Rest] = []
    i = j = 0
    while i < len(mine) and j < len(yours):
        lo, hi = max(mine[i][0], yours[j][0]), min(mine[i][1], yours[j][1])
        if lo <= hi:
            found.append((lo, hi, max(mine[i][2], yours[j][2])))
            i, j = i + 1, j + 1
        elif mine[i][1] < yours[j][0]:
            found.append(mine[i])
            i += 1
        else:
            found.append(yours[j])
            j += 1
    return (*found, *mine[i:], *yours[j:])
