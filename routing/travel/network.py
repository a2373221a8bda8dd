"""A road network as arrays: junctions, the roads between them, and where these run. Built once, kept on disk, read back in one step.

Weights are whole numbers that hold a time and a length at once, hundredths of a second × 2^28 + decimetres: sums stay exact in a double up to
93 hours, the fastest way is the least weight and its length comes with it, and the same input gives the same table on every machine.
"""

from __future__ import annotations

import hashlib
import os
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from routing.matrix import FloatArray
from routing.travel.model import TravelRefused
from routing.travel.profile import PROFILE, Drive

EARTH_RADIUS_M = 6_371_008.8
LENGTH_BITS = 28
TIME_CS_MAX = 2**25
CLOSED = -1.0
FORMAT = "roads/1"

Longs = NDArray[np.int64]


class Network(msgspec.Struct, frozen=True, eq=False):
    """Roads 0 … m-1 between junctions 0 … `junctions`-1; every junction can be reached from every other.

    `weight_on[r]` drives road r from `head[r]` to `tail[r]`, `weight_back[r]` against it, `CLOSED` where that is not allowed. Its vertices are
    `lat/lon[start[r] : start[r + 1]]`, `along_m` metres from its head.
    """

    junctions: int
    head: Longs
    tail: Longs
    weight_on: FloatArray
    weight_back: FloatArray
    start: Longs
    lat: FloatArray
    lon: FloatArray
    along_m: FloatArray

    @property
    def roads(self) -> int:
        """How many roads there are."""
        return len(self.head)


def weight_of(seconds: float, metres: float) -> float:
    """Return the weight of a stretch; at least 1, since a weight of 0 would be no connection at all."""
    return float(max(1, (round(seconds * 100) << LENGTH_BITS) + round(metres * 10)))


def share_of(weight: float, share: float) -> float:
    """Return the weight of a share of a road: time and length each in proportion."""
    whole = int(weight)
    return float(max(1, (round((whole >> LENGTH_BITS) * share) << LENGTH_BITS) + round((whole & (2**LENGTH_BITS - 1)) * share)))


def split_weights(weights: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return seconds and metres of summed weights; not finite where there is no way.

    Raises:
        TravelRefused: a way lasts longer than sums are exact.
    """
    known = np.isfinite(weights)
    whole = np.where(known, weights, 0.0).astype(np.int64)
    time_cs, length_dm = whole >> LENGTH_BITS, whole & (2**LENGTH_BITS - 1)
    if whole.size and int(time_cs.max()) >= TIME_CS_MAX:
        raise TravelRefused("a way takes longer than 93 hours; cut the extract to the area served")
    return np.where(known, time_cs / 100, np.inf), np.where(known, length_dm / 10, np.inf)


def make_network(pieces: Sequence[tuple[Drive, tuple[int, ...]]], place: Mapping[int, tuple[float, float]]) -> Network:
    """Join pieces of roads, each from junction to junction, and keep the largest part within which every place is reached from every other.

    Args:
        pieces: How each is driven, and its nodes, at least two.
        place: Latitude and longitude of every node.
    """
    number: dict[int, int] = {}
    ends = [(number.setdefault(nodes[0], len(number)), number.setdefault(nodes[-1], len(number))) for _, nodes in pieces]
    starts = np.concatenate(([0], np.cumsum([len(nodes) for _, nodes in pieces]))).astype(np.int64)
    where = np.array([place[node] for _, nodes in pieces for node in nodes], dtype=np.float64).reshape(-1, 2)
    along_m = _along(where, starts)
    length_m = along_m[starts[1:] - 1]
    on, back = (
        np.array([weight_of(metres * 3.6 / speed, metres) if speed > 0 else CLOSED for metres, speed in zip(length_m.tolist(), kmh, strict=True)])
        for kmh in ([how.forward_kmh for how, _ in pieces], [how.backward_kmh for how, _ in pieces])
    )
    head, tail = (np.array([end[side] for end in ends], dtype=np.int64) for side in (0, 1))
    whole = Network(len(number), head, tail, on, back, starts, where[:, 0].copy(), where[:, 1].copy(), along_m)
    return _largest_part(whole)


def _along(where: FloatArray, starts: Longs) -> FloatArray:
    """Return metres along each road from its head, vertex by vertex."""
    steps = np.concatenate(([0.0], great_circle_m(where[:-1, 0], where[:-1, 1], where[1:, 0], where[1:, 1])))
    total = np.cumsum(steps)
    return np.asarray(total - np.repeat(total[starts[:-1]], np.diff(starts)))


def great_circle_m(lat_a: FloatArray, lon_a: FloatArray, lat_b: FloatArray, lon_b: FloatArray) -> FloatArray:
    """Return metres between points given in degrees."""
    phi_a, phi_b = np.radians(lat_a), np.radians(lat_b)
    h = np.sin((phi_b - phi_a) / 2) ** 2 + np.cos(phi_a) * np.cos(phi_b) * np.sin(np.radians(lon_b - lon_a) / 2) ** 2
    return np.asarray(2 * EARTH_RADIUS_M * np.arcsin(np.minimum(1.0, np.sqrt(h))))


def _largest_part(whole: Network) -> Network:
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    origins, destinations, _ = arcs(whole)
    graph = coo_array((np.ones(len(origins)), (origins, destinations)), shape=(whole.junctions, whole.junctions)).tocsr()
    _, part = connected_components(graph, directed=True, connection="strong")
    largest = int(np.argmax(np.bincount(part)))
    kept = (part[whole.head] == largest) & (part[whole.tail] == largest) & ((whole.weight_on != CLOSED) | (whole.weight_back != CLOSED))
    if not kept.any():
        raise TravelRefused("the extract holds no connected roads")
    old = np.unique(np.concatenate((whole.head[kept], whole.tail[kept])))
    rows = np.repeat(kept, np.diff(whole.start))
    return Network(
        len(old), np.searchsorted(old, whole.head[kept]), np.searchsorted(old, whole.tail[kept]), whole.weight_on[kept], whole.weight_back[kept],
        np.concatenate(([0], np.cumsum(np.diff(whole.start)[kept]))).astype(np.int64), whole.lat[rows], whole.lon[rows], whole.along_m[rows],
    )


def arcs(network: Network) -> tuple[Longs, Longs, FloatArray]:
    """Return origins, destinations and weights of all permitted directions; where roads run in parallel, the lightest alone."""
    on, back = network.weight_on != CLOSED, network.weight_back != CLOSED
    origins = np.concatenate((network.head[on], network.tail[back]))
    destinations = np.concatenate((network.tail[on], network.head[back]))
    weights = np.concatenate((network.weight_on[on], network.weight_back[back]))
    order = np.lexsort((weights, destinations, origins))
    origins, destinations, weights = origins[order], destinations[order], weights[order]
    first = np.ones(len(origins), dtype=np.bool_)
    first[1:] = (origins[1:] != origins[:-1]) | (destinations[1:] != destinations[:-1])
    return origins[first], destinations[first], weights[first]


def digest_of(path: Path) -> str:
    """Return the SHA-256 of a file. Raises `TravelRefused` when it cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise TravelRefused(f"{path.name}: cannot be read: {error.strerror or error}") from None


def kept_at(folder: Path, digest: str) -> Path:
    """Return where the network of an extract is kept; another profile or format is another file."""
    return folder / f"{FORMAT.replace('/', '-')}-{PROFILE.replace('/', '-')}-{digest[:32]}.npz"


def save(network: Network, path: Path, digest: str) -> None:
    """Keep a network; whoever reads at the same moment sees the old file or the new one, whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.{os.getpid()}.{os.urandom(4).hex()}.part")
    arrays = {name: getattr(network, name) for name in Network.__struct_fields__ if name != "junctions"}
    try:
        with part.open("wb") as file:
            np.savez_compressed(file, allow_pickle=False, stamp=np.array([FORMAT, PROFILE, digest]), junctions=np.array(network.junctions), **arrays)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def load(path: Path, digest: str) -> Network | None:
    """Return a kept network; None when there is none, or it is of something else, or it is damaged."""
    try:
        with np.load(path, allow_pickle=False) as kept:
            if kept["stamp"].tolist() != [FORMAT, PROFILE, digest]:
                return None
            arrays = {name: kept[name] for name in Network.__struct_fields__ if name != "junctions"}
            network = Network(junctions=int(kept["junctions"]), **arrays)
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None
    return network if _is_whole(network) else None


def _is_whole(network: Network) -> bool:
    m, vertices = network.roads, len(network.lat)
    lengths = {len(one) for one in (network.tail, network.weight_on, network.weight_back)}
    return lengths == {m} and len(network.start) == m + 1 and int(network.start[-1]) == vertices == len(network.lon) == len(network.along_m)
