"""An OpenStreetMap extract → the car's road network as arrays. Alone imports osmium."""

from __future__ import annotations

import importlib.util
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from routing.travel.model import TravelRefused
from routing.travel.network import Network, make_network
from routing.travel.profile import ACCESS_KEYS, Drive, blocks, drive

VERTICES_MAX = 30_000_000
"""Of all roads of the extract together; a whole province has fewer. Bounds the memory of building to a few GB."""

Way = tuple[Drive, tuple[int, ...]]


def is_installed() -> bool:
    """Report whether the extra `roads` is there."""
    return all(importlib.util.find_spec(module) is not None for module in ("osmium", "scipy"))


def build_network(path: Path) -> Network:
    """Read the roads that a car may drive on and join them to a network.

    Raises:
        TravelRefused: the extra `roads` is not installed, the file is no readable extract, holds no road, or is too large.
    """
    if not is_installed():
        raise TravelRefused("the extra `roads` (osmium, scipy) is not installed")
    ways, place, blocked = _read(path)
    if not ways:
        raise TravelRefused(f"{path.name}: no road that a car may drive on")
    return make_network(list(_pieces(ways, blocked, place)), place)


def _read(path: Path) -> tuple[list[Way], dict[int, tuple[float, float]], set[int]]:
    import osmium

    ways: list[Way] = []
    place: dict[int, tuple[float, float]] = {}
    blocked: set[int] = set()
    vertices = 0
    try:
        wanted = osmium.filter.KeyFilter("highway", "barrier", *ACCESS_KEYS)
        found: Iterator[Any] = iter(osmium.FileProcessor(str(path)).with_locations().with_filter(wanted))
        for one in found:
            if one.is_node():
                if blocks(dict(one.tags)):
                    blocked.add(int(one.id))
            elif one.is_way():
                how = drive(dict(one.tags))
                if how is not None:
                    kept = _place(one.nodes, place)
                    vertices += len(kept)
                    if vertices > VERTICES_MAX:
                        raise TravelRefused(f"{path.name}: more than {VERTICES_MAX} points of roads; cut the extract to the area served")
                    ways.append((how, kept))
    except (RuntimeError, OSError, ValueError) as error:
        if isinstance(error, TravelRefused):
            raise
        raise TravelRefused(f"{path.name}: not a readable extract: {str(error)[:200]}") from None
    return ways, place, blocked


def _place(nodes: Any, place: dict[int, tuple[float, float]]) -> tuple[int, ...]:
    """Note where a way's nodes lie; those that the extract has cut off are left out."""
    kept: list[int] = []
    for node in nodes:
        if node.location.valid() and (not kept or kept[-1] != node.ref):
            place[node.ref] = (node.location.lat, node.location.lon)
            kept.append(node.ref)
    return tuple(kept)


def _pieces(ways: list[Way], blocked: set[int], place: dict[int, tuple[float, float]]) -> Iterator[Way]:
    """Cut ways where roads meet, and at barriers, which become dead ends on both sides: under negative ids they join nothing."""
    uses: Counter[int] = Counter()
    for _, nodes in ways:
        uses.update(nodes)
    dead = 0
    for how, nodes in ways:
        piece: list[int] = []
        for position, node in enumerate(nodes):
            is_last = position == len(nodes) - 1
            if node in blocked and piece and not is_last:
                dead -= 2
                place[dead], place[dead + 1] = place[node], place[node]
                yield how, (*piece, dead)
                piece = [dead + 1]
                continue
            piece.append(node)
            if len(piece) > 1 and (is_last or uses[node] > 1):
                yield how, tuple(piece)
                piece = [node]
