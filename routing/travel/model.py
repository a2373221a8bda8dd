"""Nouns of travel times: how a provider is configured, what it answers, what a plan records of it, and what can go wrong."""

from __future__ import annotations

from enum import StrEnum
from math import isfinite
from typing import Protocol
from urllib.parse import urlsplit

import msgspec
import numpy as np

from routing.matrix import LEG_MAX, FloatArray, IntArray, TravelMatrix
from routing.model import Instance, InstanceError

MISSING = -1
"""What a table holds where there is no way between two places; such a table never leaves this package."""


SNAP_M_MAX = 2_000.0
"""How far a place may lie from the nearest road; beyond it there is no way to it, rather than a way to somewhere else."""
WALK_M_S = 1.25
"""Metres a second on foot between a place and its road, where the search is made in this process."""


class TravelError(RuntimeError):
    """No travel times; the message is one line for an operator, without coordinates."""


class TravelUnavailable(TravelError):
    """The provider does not answer, or not in time; asking again later may help."""


class TravelRefused(TravelError):
    """The provider cannot be asked like this, or answers what cannot be understood; asking again does not help."""


class TravelMissing(TravelError):
    """Some pairs of places have no way between them; the message names one pair by location ids."""


class ProviderName(StrEnum):
    GREAT_CIRCLE = "great-circle"
    TABLE = "table"
    ROADS = "roads"
    OSRM_FILE = "osrm-file"
    OSRM = "osrm"
    VALHALLA = "valhalla"


class Fallback(StrEnum):
    """What takes the place of travel times that cannot be had: nothing, so that planning fails, or great-circle travel."""

    NONE = "none"
    GREAT_CIRCLE = "great-circle"


FILED = frozenset({ProviderName.TABLE, ProviderName.ROADS, ProviderName.OSRM_FILE})
ASKED = frozenset({ProviderName.OSRM, ProviderName.VALHALLA})


class TravelConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Which provider, and what it needs.

    `file` is the table or the `.osm.pbf` extract, `url` the one host that may be asked, `data_set` the operator's name for that host's map
    data, `profile` the host's profile or costing, or one of those that OSRM's library brings (`roads` has `car` alone). `cache_folder` keeps
    built networks and asked legs; None keeps nothing. Seconds: `timeout_s` for one answer, `budget_s` for a whole matrix. `block_max` is the
    longest side of one asked table.
    """

    provider: ProviderName = ProviderName.GREAT_CIRCLE
    file: str | None = None
    url: str | None = None
    data_set: str | None = None
    profile: str = ""
    fallback: Fallback = Fallback.NONE
    cache_folder: str | None = None
    timeout_s: float = 20.0
    budget_s: float = 300.0
    attempts_max: int = 3
    block_max: int = 50

    def __post_init__(self) -> None:
        if self.provider in FILED and not self.file:
            raise ValueError(f"provider {self.provider.value} needs a file")
        if self.provider in ASKED:
            if not self.url or not self.data_set:
                raise ValueError(f"provider {self.provider.value} needs a url and a data set name")
            check_url(self.url)
        if not all(isfinite(one) and one > 0 for one in (self.timeout_s, self.budget_s)):
            raise ValueError("timeout_s and budget_s are positive")
        if not (1 <= self.attempts_max <= 10 and 1 <= self.block_max <= 1000):
            raise ValueError("attempts_max is 1 to 10, block_max 1 to 1000")


def check_url(url: str) -> None:
    """Raise `ValueError` unless `url` is a plain http(s) address: no user, query or fragment, so that nothing secret is stored or logged."""
    try:
        parts = urlsplit(url)
        is_plain = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_plain = False
    if not is_plain or parts.username is not None or parts.query or parts.fragment or url != url.strip():
        raise ValueError("url is http(s)://host[:port][/path], without user, query or fragment")


class TravelRecord(msgspec.Struct, frozen=True, kw_only=True):
    """What a plan says of its travel times.

    `data_set_digest` is the SHA-256 of the file, or of the host's own description of its data; `matrix_digest` that of the finished matrix.
    `filled_pairs` had no way between them and were filled by great-circle travel; `failure` says why all were.
    """

    provider: str
    profile: str
    data_set: str
    data_set_digest: str
    matrix_digest: str = ""
    filled_pairs: int = 0
    failure: str = ""


class TravelTable(msgspec.Struct, frozen=True, eq=False):
    """Seconds and metres from row to column, in the instance's order of locations; `MISSING` in both where there is no way."""

    seconds: IntArray
    metres: IntArray

    def __post_init__(self) -> None:
        assert self.seconds.shape == self.metres.shape
        assert bool(np.array_equal(self.seconds == MISSING, self.metres == MISSING))
        assert not self.seconds.size or int(min(self.seconds.min(), self.metres.min())) >= MISSING


class TravelProvider(Protocol):
    """One source of travel times, opened on its data."""

    @property
    def record(self) -> TravelRecord:
        """What is used, without a matrix yet."""

    def table(self, instance: Instance) -> TravelTable:
        """Return the directed table between all of the instance's locations. Raises `TravelError`."""


def whole(exact: FloatArray) -> IntArray:
    """Round halves up to whole seconds or metres; what is negative or not finite becomes `MISSING`.

    Raises:
        TravelRefused: an entry is above `LEG_MAX`.
    """
    known = np.isfinite(exact) & (exact >= 0)
    rounded = np.floor(np.where(known, exact, 0.0) + 0.5)
    if rounded.size and rounded.max() > LEG_MAX:
        raise TravelRefused(f"a leg is above {LEG_MAX} seconds or metres")
    return np.where(known, rounded, MISSING).astype(np.int32)


def finish(instance: Instance, table: TravelTable) -> TravelMatrix:
    """Return the table as a matrix, diagonal 0. Raises `TravelMissing` when a pair has no way between them."""
    ids = tuple(place.id for place in instance.locations)
    seconds, metres = table.seconds.copy(), table.metres.copy()
    if seconds.shape != (len(ids), len(ids)):
        raise TravelRefused(f"expected a table of {len(ids)} × {len(ids)}, got {seconds.shape}")
    for one in (seconds, metres):
        np.fill_diagonal(one, 0)
    absent = np.argwhere(seconds == MISSING)
    if len(absent):
        origin, destination = (ids[int(one)][:60] for one in absent[0])
        raise TravelMissing(f"no way from location {origin!r} to {destination!r}, and between {len(absent) - 1} other pairs")
    return TravelMatrix(ids, seconds, metres)


def refuse(error: InstanceError) -> TravelRefused:
    """Return what bad input to a provider is to its caller."""
    return TravelRefused(str(error))
