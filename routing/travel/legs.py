"""Legs that a host was asked for, kept on disk: by data set, profile and rounded coordinates.

One SQLite file; any number of processes and threads may read and write it at once. What is lost or damaged is asked again.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from routing.matrix import IntArray
from routing.model import Location
from routing.travel.model import MISSING, TravelRecord

BUSY_S = 30.0
BYTES_MAX = 2_000_000_000
DECIMALS = 5
_LON_SPAN = 36_000_001
_MAKE = (
    "CREATE TABLE IF NOT EXISTS spaces (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE)",
    "CREATE TABLE IF NOT EXISTS legs (space INTEGER NOT NULL, origin INTEGER NOT NULL, destination INTEGER NOT NULL, seconds INTEGER NOT NULL, "
    "metres INTEGER NOT NULL, PRIMARY KEY (space, origin, destination)) WITHOUT ROWID",
)

Keys = NDArray[np.int64]


def rounded(place: Location) -> tuple[float, float]:
    """Return latitude and longitude as they are asked for and kept: five decimals, about a metre."""
    return round(place.lat, DECIMALS) + 0.0, round(place.lon, DECIMALS) + 0.0


def keys_of(places: tuple[Location, ...]) -> Keys:
    """Return one number per rounded position."""
    scale = 10**DECIMALS
    return np.array([
        (round(lat * scale) + 90 * scale) * _LON_SPAN + round(lon * scale) + 180 * scale for lat, lon in map(rounded, places)
    ], dtype=np.int64)


class Legs:
    """The kept legs of one provider's data set and profile."""

    def __init__(self, folder: Path, record: TravelRecord) -> None:
        self._path = folder / "legs.sqlite"
        self._name = hashlib.sha256("\0".join((record.provider, record.data_set_digest, record.profile)).encode()).hexdigest()

    def look_up(self, keys: Keys) -> tuple[IntArray, IntArray]:
        """Return seconds and metres between positions, `MISSING` where nothing is kept."""
        n = len(keys)
        seconds, metres = (np.full((n, n), MISSING, dtype=np.int32) for _ in range(2))
        columns: dict[int, list[int]] = {}
        for column, key in enumerate(keys.tolist()):
            columns.setdefault(key, []).append(column)
        try:
            with self._open() as (connection, space):
                for row, key in enumerate(keys.tolist()):
                    found = connection.execute("SELECT destination, seconds, metres FROM legs WHERE space = ? AND origin = ?", (space, key))
                    for destination, leg_s, leg_m in found:
                        for column in columns.get(destination, ()):
                            seconds[row, column], metres[row, column] = leg_s, leg_m
        except sqlite3.DatabaseError:
            self._start_anew()
            seconds.fill(MISSING)
            metres.fill(MISSING)
        return seconds, metres

    def keep(self, keys: Keys, rows: NDArray[np.intp], columns: NDArray[np.intp], seconds: IntArray, metres: IntArray) -> None:
        """Keep an answered block; a pair without a way is not kept, so that it is asked again."""
        legs = [
            (int(keys[row]), int(keys[column]), int(seconds[i, j]), int(metres[i, j]))
            for i, row in enumerate(rows) for j, column in enumerate(columns) if seconds[i, j] != MISSING
        ]
        try:
            with self._open() as (connection, space):
                if self._path.stat().st_size > BYTES_MAX:
                    connection.execute("DELETE FROM legs")
                connection.executemany("INSERT OR REPLACE INTO legs VALUES (?, ?, ?, ?, ?)", ((space, *leg) for leg in legs))
        except sqlite3.DatabaseError:
            self._start_anew()

    @contextmanager
    def _open(self) -> Iterator[tuple[sqlite3.Connection, int]]:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with closing(sqlite3.connect(self._path, timeout=BUSY_S, isolation_level=None)) as connection:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = NORMAL")
            connection.execute("BEGIN IMMEDIATE")
            try:
                for statement in _MAKE:
                    connection.execute(statement)
                connection.execute("INSERT OR IGNORE INTO spaces (name) VALUES (?)", (self._name,))
                (space,) = connection.execute("SELECT id FROM spaces WHERE name = ?", (self._name,)).fetchone()
                yield connection, int(space)
            except BaseException:
                connection.execute("ROLLBACK")
                raise
            connection.execute("COMMIT")

    def _start_anew(self) -> None:
        """Give up a damaged file; another process may have done so at the same moment."""
        for suffix in ("", "-wal", "-shm"):
            self._path.with_name(self._path.name + suffix).unlink(missing_ok=True)
