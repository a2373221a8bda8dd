"""A table of travel times from a file: `travel-table/1`.

    {"schema": "travel-table/1", "data_set": "shanghai 2026-11", "profile": "car, weekday 10:00",
     "places": [[31.2304, 121.4737], [31.235, 121.48]],
     "seconds": [[0, 300], [340, 0]], "metres": [[0, 1900], [2050, 0]]}

Row is origin, column destination; whole seconds and metres from 0 to 10,000,000; `null` where there is no way (in both tables). `places` are
WGS-84 `[lat, lon]`, found again within 1e-5 degree (about a metre); instead of them `ids` may list location ids, as in `routing.table_matrix`.
`data_set` and `profile` are free texts that the plan records. The file may hold more places than a day needs.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Annotated, NoReturn

import msgspec
import numpy as np
from msgspec import Meta

from routing.matrix import LEG_MAX, IntArray
from routing.model import Instance, Label
from routing.travel.model import MISSING, ProviderName, TravelMissing, TravelRecord, TravelRefused, TravelTable

SCHEMA = "travel-table/1"
PLACES_MAX = 10_000
FILE_BYTES_MAX = 2_000_000_000

_Leg = Annotated[int, Meta(ge=0, le=LEG_MAX)]


class _File(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    schema: str = SCHEMA
    seconds: list[list[_Leg | None]]
    metres: list[list[_Leg | None]]
    ids: list[str] | None = None
    places: list[tuple[float, float]] | None = None
    data_set: Label = ""
    profile: Label = ""


class TableFile:
    """A table read once; its digest is that of the file's bytes."""

    def __init__(self, path: Path) -> None:
        content = _read(path)
        self._name = path.name
        try:
            found = msgspec.json.decode(content, type=_File)
        except msgspec.DecodeError as error:
            self._refuse(str(error))
        if any(not (-90 <= lat <= 90 and -180 <= lon <= 180) for lat, lon in found.places or ()):
            self._refuse("a place lies outside [-90, 90] × [-180, 180]")
        if found.schema != SCHEMA:
            self._refuse(f"schema: expected {SCHEMA}, got {found.schema[:40]!r}")
        if (found.ids is None) == (found.places is None):
            self._refuse("expected either ids or places")
        keys = tuple(found.ids) if found.ids is not None else tuple(place_key(lat, lon) for lat, lon in found.places or ())
        self._by_id = found.ids is not None
        self._row = {key: index for index, key in enumerate(keys)}
        if len(self._row) != len(keys):
            self._refuse("a place appears twice")
        if len(keys) > PLACES_MAX:
            self._refuse(f"at most {PLACES_MAX} places, got {len(keys)}")
        self._seconds, self._metres = (self._whole(name, rows, len(keys)) for name, rows in (("seconds", found.seconds), ("metres", found.metres)))
        unlike = np.argwhere((self._seconds == MISSING) != (self._metres == MISSING))
        if len(unlike):
            self._refuse(f"[{unlike[0][0]}][{unlike[0][1]}] is null in one of the two tables only")
        self._record = TravelRecord(
            provider=ProviderName.TABLE.value, profile=found.profile or "as filed", data_set=found.data_set or path.name,
            data_set_digest=hashlib.sha256(content).hexdigest(),
        )

    @property
    def record(self) -> TravelRecord:
        """What the file says of itself."""
        return self._record

    def table(self, instance: Instance) -> TravelTable:
        """Cut the day's places out of the file. Raises `TravelMissing` for a location that it does not hold."""
        rows = []
        for place in instance.locations:
            row = self._row.get(place.id if self._by_id else place_key(place.lat, place.lon))
            if row is None:
                raise TravelMissing(f"{self._name}: location {place.id[:60]!r} is not in the table")
            rows.append(row)
        cut = np.ix_(np.array(rows, dtype=np.intp), np.array(rows, dtype=np.intp))
        return TravelTable(np.ascontiguousarray(self._seconds[cut]), np.ascontiguousarray(self._metres[cut]))

    def _whole(self, name: str, rows: list[list[int | None]], n: int) -> IntArray:
        if len(rows) != n:
            self._refuse(f"{name}: expected {n} rows, got {len(rows)}")
        for index, row in enumerate(rows):
            if len(row) != n:
                self._refuse(f"{name}[{index}]: expected {n} entries, got {len(row)}")
        return np.array([[MISSING if entry is None else entry for entry in row] for row in rows], dtype=np.int32).reshape(n, n)

    def _refuse(self, reason: str) -> NoReturn:
        raise TravelRefused(f"{self._name}: {reason[:300]}")


def place_key(lat: float, lon: float) -> str:
    """Return what tells places apart: whole 1e-5 degrees."""
    return f"{round(lat * 1e5)},{round(lon * 1e5)}"


def _read(path: Path) -> bytes:
    try:
        if path.stat().st_size > FILE_BYTES_MAX:
            raise TravelRefused(f"{path.name}: larger than {FILE_BYTES_MAX} bytes")
        return path.read_bytes()
    except OSError as error:
        raise TravelRefused(f"{path.name}: cannot be read: {error.strerror or error}") from None
