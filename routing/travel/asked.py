"""Tables asked of a host: only what is not kept already, block by block; a block that the host finds too large or cannot serve is halved."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from routing.matrix import FloatArray, IntArray
from routing.model import Instance
from routing.travel.hosts import Host
from routing.travel.legs import Legs, keys_of, rounded
from routing.travel.model import MISSING, ProviderName, TravelConfig, TravelRecord, TravelRefused, TravelTable, TravelUnavailable, whole

REQUESTS_MAX = 200_000

Place = tuple[float, float]
Rows = NDArray[np.intp]


class BlockTooLarge(Exception):
    """The host takes smaller tables only; no error yet."""


class BlockUnroutable(Exception):
    """The host cannot place one of the points, or connect it; no error until the place at fault is alone."""


class Service(Protocol):
    """What differs between hosts."""

    name: ProviderName
    profile: str

    def describe(self, host: Host, near: Place) -> str:
        """Return what the host says of its map data, which changes when the data do."""

    def block(self, host: Host, origins: list[Place], destinations: list[Place]) -> tuple[FloatArray, FloatArray]:
        """Return seconds and metres, infinite where there is no way. Raises `BlockTooLarge`, `BlockUnroutable` or `TravelError`."""


class AskedTravel:
    """A host's tables through the kept legs."""

    def __init__(self, config: TravelConfig, service: Service, near: Place, pause: Callable[[float], None] | None = None) -> None:
        self._config, self._service = config, service
        self._more: dict[str, Any] = {} if pause is None else {"pause": pause}
        with Host(config, **self._more) as host:
            said = service.describe(host, near)
        described = f"{service.name.value}\0{config.url}\0{config.data_set}\0{said}"
        self._record = TravelRecord(
            provider=service.name.value, profile=service.profile, data_set=f"{config.data_set} ({said})" if said else str(config.data_set),
            data_set_digest=hashlib.sha256(described.encode()).hexdigest(),
        )

    @property
    def record(self) -> TravelRecord:
        """The operator's name of the data set with the host's own word on it."""
        return self._record

    def table(self, instance: Instance) -> TravelTable:
        """Return what is kept and ask for the rest."""
        keys, first, again = np.unique(keys_of(instance.locations), return_index=True, return_inverse=True)
        places = [rounded(instance.locations[index]) for index in first]
        legs = None if self._config.cache_folder is None else Legs(Path(self._config.cache_folder), self._record)
        n = len(keys)
        seconds, metres = (np.full((n, n), MISSING, dtype=np.int32) for _ in range(2)) if legs is None else legs.look_up(keys)
        np.fill_diagonal(seconds, 0)
        np.fill_diagonal(metres, 0)
        with Host(self._config, **self._more) as host:
            filler = _Filler(self._service, host, places)
            for rows, columns in blocks_of(seconds == MISSING, self._config.block_max):
                block_s, block_m = filler.fill(rows, columns)
                if legs is not None:
                    legs.keep(keys, rows, columns, block_s, block_m)
                at = np.ix_(rows, columns)
                is_open = seconds[at] == MISSING
                seconds[at], metres[at] = np.where(is_open, block_s, seconds[at]), np.where(is_open, block_m, metres[at])
        back = np.ix_(again, again)
        return TravelTable(np.ascontiguousarray(seconds[back]), np.ascontiguousarray(metres[back]))


def blocks_of(wanted: NDArray[np.bool_], side: int) -> list[tuple[Rows, Rows]]:
    """Cover the wanted cells by tables of at most `side` × `side`; rows that want the same columns share tables."""
    groups: dict[bytes, list[int]] = {}
    for row in range(len(wanted)):
        want = wanted[row].copy()
        want[row] = False
        if want.any():
            # The own column is never wanted; it must not keep rows apart that want everything else alike.
            want[row] = bool(want.sum() == len(want) - 1)
            groups.setdefault(want.tobytes(), []).append(row)
    found = []
    for mask, rows in groups.items():
        columns = np.flatnonzero(np.frombuffer(mask, dtype=np.bool_))
        found += [
            (np.array(rows[i:i + side], dtype=np.intp), columns[j:j + side].astype(np.intp))
            for i in range(0, len(rows), side) for j in range(0, len(columns), side)
        ]
    return found


class _Filler(msgspec.Struct):
    """Asks for blocks, halving those that cannot be had whole; a place found to be at fault is not asked about again."""

    service: Service
    host: Host
    places: list[Place]
    asked: int = 0
    placed: dict[int, bool] = {}

    def fill(self, rows: Rows, columns: Rows) -> tuple[IntArray, IntArray]:
        """Return seconds and metres of one block, `MISSING` where there is no way."""
        seconds, metres = (np.full((len(rows), len(columns)), MISSING, dtype=np.int32) for _ in range(2))
        good_rows, good_columns = (
            np.array([index for index, place in enumerate(some) if self.placed.get(int(place), True)], dtype=np.intp) for some in (rows, columns)
        )
        if len(good_rows) and len(good_columns):
            at = np.ix_(good_rows, good_columns)
            seconds[at], metres[at] = self._ask(rows[good_rows], columns[good_columns])
        return seconds, metres

    def _ask(self, rows: Rows, columns: Rows) -> tuple[IntArray, IntArray]:
        try:
            found = self._block(rows, columns)
        except BlockTooLarge as trouble:
            if len(rows) == len(columns) == 1:
                raise TravelRefused(f"{self.service.name.value}: the host refuses even a table of two places: {trouble}") from None
            return self._halved(rows, columns)
        except BlockUnroutable:
            return self._without(rows, columns)
        seconds, metres = (whole(one) for one in found)
        seconds[metres == MISSING] = MISSING
        metres[seconds == MISSING] = MISSING
        return seconds, metres

    def _block(self, rows: Rows, columns: Rows) -> tuple[FloatArray, FloatArray]:
        self.asked += 1
        if self.asked > REQUESTS_MAX:
            raise TravelUnavailable(f"more than {REQUESTS_MAX} requests for one table")
        found = self.service.block(self.host, [self.places[row] for row in rows], [self.places[column] for column in columns])
        if any(one.shape != (len(rows), len(columns)) for one in found):
            raise TravelRefused(f"{self.service.name.value}: expected a table of {len(rows)} × {len(columns)}, got {found[0].shape}")
        return found

    def _without(self, rows: Rows, columns: Rows) -> tuple[IntArray, IntArray]:
        """Find who is at fault: a single place is tried with itself, several are halved."""
        short = min(rows, columns, key=len)
        if len(short) > 1:
            return self._halved(rows, columns)
        alone = int(short[0])
        if alone not in self.placed:
            try:
                self._block(short, short)
                self.placed[alone] = True
            except BlockUnroutable:
                self.placed[alone] = False
            return self.fill(rows, columns)
        if len(rows) == len(columns) == 1:
            return np.full((1, 1), MISSING, dtype=np.int32), np.full((1, 1), MISSING, dtype=np.int32)
        return self._halved(rows, columns)

    def _halved(self, rows: Rows, columns: Rows) -> tuple[IntArray, IntArray]:
        is_tall = len(rows) >= len(columns)
        middle = (len(rows) if is_tall else len(columns)) // 2
        halves = ((rows[:middle], columns), (rows[middle:], columns)) if is_tall else ((rows, columns[:middle]), (rows, columns[middle:]))
        parts = [self.fill(*half) for half in halves]
        axis = 0 if is_tall else 1
        return np.concatenate([one[0] for one in parts], axis=axis), np.concatenate([one[1] for one in parts], axis=axis)
