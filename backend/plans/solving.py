"""What a plan's search is ordered with."""

from typing import Any

import msgspec


class SolveOrder(msgspec.Struct, frozen=True, kw_only=True):
    """A day, how long to search, from which seed, and the plan to begin with where the day goes on from one."""

    instance: dict[str, Any]
    search_s: float
    seed: int
    start: dict[str, Any] | None = None
