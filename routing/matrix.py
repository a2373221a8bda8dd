"""Travel times and distances between all locations of a day.

Row is origin, column destination, whole seconds and metres. The default is great-circle distance times a detour factor;
a road network's table takes its place unchanged.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from routing.model import Instance, InstanceError

LEG_MAX = 10_000_000
_BLOCK_ROWS = 256
_NEAR_HALF = 1e-5

IntArray = NDArray[np.int32]
FloatArray = NDArray[np.float64]


class TravelMatrix(msgspec.Struct, frozen=True, eq=False):
    """`seconds[i, j]` and `metres[i, j]` between `ids[i]` and `ids[j]`; may be directed."""

    ids: tuple[str, ...]
    seconds: IntArray
    metres: IntArray

    def digest(self) -> str:
        """Return the SHA-256 over ids and both tables: the same digest means the same travel."""
        state = hashlib.sha256("\0".join(self.ids).encode())
        for table in (self.seconds, self.metres):
            state.update(np.ascontiguousarray(table, dtype="<i4").tobytes())
        return state.hexdigest()


def travel_matrix(instance: Instance) -> TravelMatrix:
    """Build the n × n great-circle matrix of an instance's locations, diagonal 0, halves rounded up.

    NumPy and the C library may differ in the last bit of a sine, so every distance that falls next to a rounding
    boundary is computed again with `math`: the result equals the scalar formula exactly.
    """
    model = instance.travel
    degrees = np.array([(place.lat, place.lon) for place in instance.locations], dtype=np.float64).reshape(-1, 2)
    lat, lon = np.radians(degrees[:, 0]), np.radians(degrees[:, 1])
    n = len(lat)
    metres = np.zeros((n, n), dtype=np.int32)
    cos_lat = np.cos(lat)
    for first in range(0, n, _BLOCK_ROWS):
        rows = slice(first, min(n, first + _BLOCK_ROWS))
        h = np.sin((lat[None, :] - lat[rows, None]) / 2) ** 2
        h += cos_lat[rows, None] * cos_lat[None, :] * np.sin((lon[None, :] - lon[rows, None]) / 2) ** 2
        exact = 2 * model.earth_radius_m * np.arcsin(np.minimum(1.0, np.sqrt(h))) * model.detour_factor + 0.5
        block = np.floor(exact)
        if block.size and block.max() > LEG_MAX:
            raise InstanceError(f"locations: two of them are more than {LEG_MAX} m apart")
        fraction = exact - block
        for i, j in np.argwhere((fraction < _NEAR_HALF) | (fraction > 1 - _NEAR_HALF)):
            if first + i != j:
                block[i, j] = _great_circle_m(instance, first + int(i), int(j))
        metres[rows] = block.astype(np.int32)
    np.fill_diagonal(metres, 0)
    seconds_exact = metres * 3.6 / model.speed_kmh + 0.5
    if n and seconds_exact.max() > LEG_MAX:
        raise InstanceError("travel.speed_kmh: a leg would last more than 100 days")
    ids = tuple(place.id for place in instance.locations)
    return TravelMatrix(ids, seconds_exact.astype(np.int32), metres)


def table_matrix(table: Mapping[str, Any], instance: Instance) -> TravelMatrix:
    """Take a table `{"ids": [...], "seconds": [[...]], "metres": [[...]]}` for the instance's locations, in the instance's order.

    Raises:
        InstanceError: a location is missing, a row is short, or an entry is no whole number from 0 to 10,000,000.
    """
    ids = table.get("ids")
    if not isinstance(ids, list) or not all(isinstance(one, str) for one in ids):
        raise InstanceError("matrix.ids: expected a list of location ids")
    position = {one: index for index, one in enumerate(ids)}
    if len(position) != len(ids):
        raise InstanceError("matrix.ids: an id appears twice")
    wanted = tuple(place.id for place in instance.locations)
    missing = [one for one in wanted if one not in position]
    if missing:
        raise InstanceError(f"matrix.ids: location {missing[0][:60]!r} is missing")
    order = np.array([position[one] for one in wanted], dtype=np.intp)
    tables = []
    for key in ("seconds", "metres"):
        full = _whole_table(key, table.get(key), len(ids))
        tables.append(np.ascontiguousarray(full[np.ix_(order, order)]))
    return TravelMatrix(wanted, tables[0], tables[1])


def _whole_table(key: str, rows: Any, n: int) -> IntArray:
    if not isinstance(rows, list) or len(rows) != n:
        raise InstanceError(f"matrix.{key}: expected {n} rows")
    for index, row in enumerate(rows):
        if not isinstance(row, list) or len(row) != n:
            raise InstanceError(f"matrix.{key}[{index}]: expected {n} entries")
        for column, entry in enumerate(row):
            if type(entry) is not int or not 0 <= entry <= LEG_MAX:
                raise InstanceError(f"matrix.{key}[{index}][{column}]: expected a whole number from 0 to {LEG_MAX}, got {str(entry)[:40]}")
    return np.array(rows, dtype=np.int32).reshape(n, n)


def _great_circle_m(instance: Instance, origin: int, destination: int) -> int:
    here, there = instance.locations[origin], instance.locations[destination]
    la1, lo1, la2, lo2 = (math.radians(angle) for angle in (here.lat, here.lon, there.lat, there.lon))
    h = math.sin((la2 - la1) / 2) ** 2 + math.cos(la1) * math.cos(la2) * math.sin((lo2 - lo1) / 2) ** 2
    return int(2 * instance.travel.earth_radius_m * math.asin(min(1.0, math.sqrt(h))) * instance.travel.detour_factor + 0.5)
