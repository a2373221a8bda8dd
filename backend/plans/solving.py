"""What a plan's search is ordered with."""

from typing import Any

import msgspec


class SolveOrder(msgspec.Struct, frozen=True, kw_only=True):
    """A day, how long to search, and from which seed."""

    instance: dict[str, Any]
    search_s: float
    seed: int
