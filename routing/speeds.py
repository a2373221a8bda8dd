"""Travel by the time of day, as the engines reckon it: speeds that are constant between given hours.

After Ichoua, Gendreau and Potvin (2003): a way is a fixed amount of work, done at the speed of the hour. With the work that one speed does by
each moment laid out once, an arrival is found by adding, a latest departure by subtracting; who leaves later never arrives earlier, and every
test of an insertion stays a comparison of two numbers. `check.py` never looks in here.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from routing.model import SpeedSpan

I64 = NDArray[np.int64]

LONG_AGO = -10_000_000
ORDINARY = 100
NEVER_S = 1 << 40


class Speeds(msgspec.Struct, frozen=True, eq=False):
    """Rows (from, percent, work done by then), `percent` for a second; no rows: always the ordinary speed."""

    rows: I64

    @property
    def is_constant(self) -> bool:
        return len(self.rows) == 0

    def reach(self, leaves_s: int, seconds: int) -> int:
        """Return the arrival of a way of `seconds` at ordinary speed, rounded up to the second."""
        return leaves_s + seconds if self.is_constant else int(self.reach_all(np.int64(leaves_s), seconds))

    def leave_by(self, due_s: int, seconds: int) -> int:
        """Return the latest departure that still arrives by `due_s`."""
        return due_s - seconds if self.is_constant else int(self.leave_by_all(np.int64(due_s), seconds))

    def reach_all(self, leaves_s: I64 | np.int64, seconds: I64 | int) -> I64:
        """As `reach`, for arrays."""
        if self.is_constant:
            return np.asarray(leaves_s + seconds)
        work = self._work(leaves_s) + ORDINARY * np.asarray(seconds, dtype=np.int64)
        at = np.maximum(np.searchsorted(self.rows[:, 2], work, side="left") - 1, 0)
        return np.asarray(self.rows[at, 0] - (self.rows[at, 2] - work) // self.rows[at, 1])

    def leave_by_all(self, due_s: I64 | np.int64, seconds: I64 | int) -> I64:
        """As `leave_by`, for arrays."""
        if self.is_constant:
            return np.asarray(due_s - seconds)
        work = self._work(due_s) - ORDINARY * np.asarray(seconds, dtype=np.int64)
        at = np.maximum(np.searchsorted(self.rows[:, 2], work, side="right") - 1, 0)
        return np.asarray(self.rows[at, 0] + (work - self.rows[at, 2]) // self.rows[at, 1])

    def _work(self, clock: I64 | np.int64) -> I64:
        at = np.maximum(np.searchsorted(self.rows[:, 0], clock, side="right") - 1, 0)
        return np.asarray(self.rows[at, 2] + (clock - self.rows[at, 0]) * self.rows[at, 1])


def read_speeds(spans: Sequence[SpeedSpan]) -> Speeds:
    """Lay out the work that is done by the beginning of each span and of each gap between two."""
    if not spans:
        return Speeds(np.zeros((0, 3), dtype=np.int64))
    steps = [(LONG_AGO, ORDINARY)]
    for one in spans:
        if steps[-1][0] == one.span[0]:
            steps.pop()
        steps += [(one.span[0], one.percent), (one.span[1], ORDINARY)]
    rows, work = [], 0
    for index, (begins, percent) in enumerate(steps):
        if index:
            work += (begins - steps[index - 1][0]) * steps[index - 1][1]
        rows.append((begins, percent, work))
    return Speeds(np.array(rows, dtype=np.int64))
