"""Travel times over the roads of an OpenStreetMap extract, searched in this process. Alone imports scipy's searches.

Each place is joined to the nearest point of the nearest road; the straight stretch between is walked. A place that lies farther than
`SNAP_M_MAX` from every road has no way to anywhere.
"""

from __future__ import annotations

import time
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from routing.matrix import FloatArray
from routing.model import Instance, Location
from routing.travel.extract import build_network
from routing.travel.model import SNAP_M_MAX, WALK_M_S, ProviderName, TravelRecord, TravelTable, TravelUnavailable, whole
from routing.travel.network import CLOSED, EARTH_RADIUS_M, Longs, Network, arcs, digest_of, kept_at, load, save, share_of, split_weights
from routing.travel.profile import PROFILE

SAMPLE_M = 40.0
END_SHARE = 1e-6
SEARCH_BYTES_MAX = 128_000_000
"""Of the distances held at once while searching; the rows are searched in parts of this size."""

Bools = NDArray[np.bool_]


class Snapped(msgspec.Struct, frozen=True, eq=False):
    """Per place: its road, the share of the road that lies before it, and the metres walked to it; road -1 where there is none."""

    road: Longs
    share: FloatArray
    walk_m: FloatArray


class RoadNetwork:
    """An extract, read or read back, whose digest and profile name the network."""

    def __init__(self, extract: Path, cache_folder: Path | None, budget_s: float) -> None:
        self._budget_s = budget_s
        digest = digest_of(extract)
        kept = None if cache_folder is None else kept_at(cache_folder, digest)
        network = None if kept is None else load(kept, digest)
        if network is None:
            network = build_network(extract)
            if kept is not None:
                save(network, kept, digest)
        self.network = network
        self._record = TravelRecord(provider=ProviderName.ROADS.value, profile=PROFILE, data_set=extract.name, data_set_digest=digest)

    @property
    def record(self) -> TravelRecord:
        """The extract's name and digest, and the profile with its version."""
        return self._record

    def table(self, instance: Instance) -> TravelTable:
        """Return fastest times and their lengths.

        Raises:
            TravelUnavailable: the searches take longer than the budget.
        """
        snapped = snap(self.network, instance.locations)
        seconds, metres = split_weights(_search(self.network, snapped, time.monotonic() + self._budget_s))
        walked = snapped.walk_m[:, None] + snapped.walk_m[None, :]
        seconds, metres = seconds + walked / WALK_M_S, metres + walked
        # Two visits behind one door: nobody walks to the road and back between them.
        lat, lon = (np.array([getattr(one, axis) for one in instance.locations]) for axis in ("lat", "lon"))
        same = (lat[:, None] == lat[None, :]) & (lon[:, None] == lon[None, :])
        seconds[same], metres[same] = 0.0, 0.0
        return TravelTable(whole(seconds), whole(metres))


def snap(network: Network, places: tuple[Location, ...]) -> Snapped:
    """Find, for each place, the nearest point of any road."""
    n = len(places)
    road, share, walk_m = np.full(n, -1, dtype=np.int64), np.zeros(n), np.full(n, np.inf)
    if not n:
        return Snapped(road, share, walk_m)
    from scipy.spatial import cKDTree

    lat, lon = np.array([one.lat for one in places]), np.array([one.lon for one in places])
    segments = _segments_near(network, lat, lon)
    if not len(segments):
        return Snapped(road, share, walk_m)
    flat = _Flat(float(lat.mean()))
    ax, ay = flat.to_m(network.lat[segments], network.lon[segments])
    bx, by = flat.to_m(network.lat[segments + 1], network.lon[segments + 1])
    owner, sx, sy = _samples(ax, ay, bx, by)
    tree = cKDTree(np.column_stack((sx, sy)))
    px, py = flat.to_m(lat, lon)
    nearest_m, _ = tree.query(np.column_stack((px, py)))
    road_of = np.repeat(np.arange(network.roads), np.diff(network.start))
    for index in range(n):
        if nearest_m[index] > SNAP_M_MAX:
            continue
        # The nearest road has a sample at most half a step farther than the nearest sample: none is overlooked.
        near = np.unique(owner[tree.query_ball_point((px[index], py[index]), nearest_m[index] + SAMPLE_M / 2 + 0.1)])
        dx, dy = bx[near] - ax[near], by[near] - ay[near]
        square = np.maximum(dx * dx + dy * dy, 1e-9)
        t = np.clip(((px[index] - ax[near]) * dx + (py[index] - ay[near]) * dy) / square, 0.0, 1.0)
        apart = np.hypot(ax[near] + t * dx - px[index], ay[near] + t * dy - py[index])
        best = int(np.argmin(apart))
        vertex, on = int(segments[near[best]]), float(t[best])
        road[index] = road_of[vertex]
        length_m = float(network.along_m[network.start[road[index] + 1] - 1])
        at_m = float(network.along_m[vertex] + on * (network.along_m[vertex + 1] - network.along_m[vertex]))
        share[index] = min(1.0, at_m / length_m) if length_m > 0 else 0.0
        walk_m[index] = apart[best]
    return Snapped(road, share, walk_m)


class _Flat:
    """Degrees → metres on a plane that touches the Earth at the day's mean latitude."""

    def __init__(self, lat: float) -> None:
        self.per_lat = EARTH_RADIUS_M * np.pi / 180
        self.per_lon = self.per_lat * np.cos(np.radians(lat))

    def to_m(self, lat: FloatArray, lon: FloatArray) -> tuple[FloatArray, FloatArray]:
        return lon * self.per_lon, lat * self.per_lat


def _segments_near(network: Network, lat: FloatArray, lon: FloatArray) -> Longs:
    """Return the first vertices of segments that pass the day's area, widened by what may be walked."""
    margin = 1.5 * SNAP_M_MAX / (EARTH_RADIUS_M * np.pi / 180)
    margin_lon = margin / max(0.05, float(np.cos(np.radians(np.abs(lat).max()))))
    low_lat, high_lat, low_lon, high_lon = lat.min() - margin, lat.max() + margin, lon.min() - margin_lon, lon.max() + margin_lon
    first = np.ones(len(network.lat), dtype=np.bool_)
    first[network.start[1:] - 1] = False
    at = np.flatnonzero(first)
    a_lat, b_lat, a_lon, b_lon = network.lat[at], network.lat[at + 1], network.lon[at], network.lon[at + 1]
    inside: Bools = (np.maximum(a_lat, b_lat) >= low_lat) & (np.minimum(a_lat, b_lat) <= high_lat)
    inside &= (np.maximum(a_lon, b_lon) >= low_lon) & (np.minimum(a_lon, b_lon) <= high_lon)
    return np.asarray(at[inside])


def _samples(ax: FloatArray, ay: FloatArray, bx: FloatArray, by: FloatArray) -> tuple[Longs, FloatArray, FloatArray]:
    """Return points along each segment, at most `SAMPLE_M` apart, with the segment that owns each."""
    pieces = np.maximum(1, np.ceil(np.hypot(bx - ax, by - ay) / SAMPLE_M)).astype(np.int64)
    owner = np.repeat(np.arange(len(ax)), pieces + 1)
    step = np.arange(len(owner)) - np.repeat(np.concatenate(([0], np.cumsum(pieces + 1)[:-1])), pieces + 1)
    t = step / pieces[owner]
    return owner, ax[owner] + t * (bx - ax)[owner], ay[owner] + t * (by - ay)[owner]


def _search(network: Network, snapped: Snapped, until: float) -> FloatArray:
    """Return the least weight from each place to each; infinite where a place is on no road."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import dijkstra

    n, base = len(snapped.road), network.junctions
    found = np.full((n, n), np.inf)
    on_road = np.flatnonzero(snapped.road >= 0)
    if not len(on_road):
        return found
    origins, destinations, weights = (np.concatenate(both) for both in zip(arcs(network), _joins(network, snapped, on_road), strict=True))
    size = base + 2 * n
    graph = coo_array((weights, (origins, destinations)), shape=(size, size)).tocsr()
    rows = max(1, SEARCH_BYTES_MAX // (8 * size))
    for first in range(0, len(on_road), rows):
        if time.monotonic() > until:
            raise TravelUnavailable("searching the roads took longer than its budget")
        part = on_road[first:first + rows]
        found[part] = dijkstra(graph, directed=True, indices=base + part)[:, base + n:]
    return found


def _joins(network: Network, snapped: Snapped, on_road: Longs) -> tuple[Longs, Longs, FloatArray]:
    """Join places to their roads: place i leaves as node `junctions + i` and is reached as node `junctions + n + i`.

    Leaving and reaching are nodes of their own, so that nobody drives through a door. Two on the same road meet without any junction.
    """
    n, base = len(snapped.road), network.junctions
    out: list[tuple[int, int, float]] = []
    by_road: dict[int, list[int]] = {}
    for index in on_road.tolist():
        by_road.setdefault(int(snapped.road[index]), []).append(index)
    for road, members in by_road.items():
        head, tail = int(network.head[road]), int(network.tail[road])
        on, back = float(network.weight_on[road]), float(network.weight_back[road])
        for weight, enters, leaves, is_on in ((on, head, tail, True), (back, tail, head, False)):
            if weight == CLOSED:
                continue
            passed = {index: float(snapped.share[index]) if is_on else 1.0 - float(snapped.share[index]) for index in members}
            for index in members:
                out.append((base + index, leaves, share_of(weight, 1.0 - passed[index])))
                out.append((enters, base + n + index, share_of(weight, passed[index])))
                # At a junction all its roads are at hand, in whatever direction this one is driven.
                if not END_SHARE < passed[index] < 1.0 - END_SHARE:
                    junction = enters if passed[index] <= END_SHARE else leaves
                    out += [(base + index, junction, 1.0), (junction, base + n + index, 1.0)]
            # Of two directions of the same length the lighter one is kept by `_lightest`.
            out += [
                (base + a, base + n + b, share_of(weight, passed[b] - passed[a])) for a in members for b in members if passed[a] <= passed[b]
            ]
    return _lightest(out)


def _lightest(found: list[tuple[int, int, float]]) -> tuple[Longs, Longs, FloatArray]:
    """Keep one connection of each origin and destination, since a sparse matrix would add them up."""
    least: dict[tuple[int, int], float] = {}
    for origin, destination, weight in found:
        least[origin, destination] = min(weight, least.get((origin, destination), np.inf))
    pairs = np.array(list(least), dtype=np.int64).reshape(-1, 2)
    return pairs[:, 0], pairs[:, 1], np.array(list(least.values()))
