"""How long, and by whom, a day is searched."""

from __future__ import annotations

from enum import StrEnum
from math import isfinite

import msgspec


class Engine(StrEnum):
    """Who searches: the compiled search where it is installed and warm, else OR-Tools; or one of them by name."""

    AUTO = "auto"
    ORTOOLS = "ortools"
    SEARCH = "search"


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """How long to search. With `iterations_max` the clock only guards; the result then depends on seed and strands alone.

    `strands` are threads of the compiled search; None: one by iterations, by the clock as many as there are processors, at most four."""

    search_s: float = 10.0
    iterations_max: int | None = None
    engine: Engine = Engine.AUTO
    strands: int | None = None

    def __post_init__(self) -> None:
        if not (isfinite(self.search_s) and self.search_s > 0):
            raise ValueError(f"search_s must be a positive number of seconds, got {self.search_s}")
        if self.iterations_max is not None and self.iterations_max < 0:
            raise ValueError(f"iterations_max must not be negative, got {self.iterations_max}")
        if self.strands is not None and not 1 <= self.strands <= 64:
            raise ValueError(f"strands must be 1 to 64, got {self.strands}")
