"""A self-hosted OSRM: `GET /table/v1/{profile}/{lon,lat;…}?annotations=duration,distance`, seconds and metres as decimals, null without a way."""

from __future__ import annotations

from typing import Any

import numpy as np

from routing.matrix import FloatArray
from routing.travel.asked import BlockTooLarge, BlockUnroutable, Place
from routing.travel.hosts import Host
from routing.travel.model import SNAP_M_MAX, ProviderName, TravelRefused

PROFILE = "driving"
OK, TOO_BIG = "Ok", "TooBig"
UNROUTABLE = frozenset({"NoSegment", "NoTable", "NoRoute"})


class Osrm:
    """The table service. The host's `--max-table-size` bounds places per request; what exceeds it is halved."""

    name = ProviderName.OSRM

    def __init__(self, profile: str) -> None:
        self.profile = profile or PROFILE

    def describe(self, host: Host, near: Place) -> str:
        """Return the `data_version` that the data were built with, empty when they were built without one."""
        status, said = host.ask(f"/nearest/v1/{self.profile}/{_text([near])}?number=1")
        if said.get("code") not in (OK, *UNROUTABLE):
            raise host.refuse(status, f"{said.get('code')} {said.get('message', '')}")
        return str(said.get("data_version", ""))[:100]

    def block(self, host: Host, origins: list[Place], destinations: list[Place]) -> tuple[FloatArray, FloatArray]:
        """Ask for one table; places in both lists are sent once."""
        places = list(dict.fromkeys([*origins, *destinations]))
        at = {place: index for index, place in enumerate(places)}
        sources, targets = (";".join(str(at[place]) for place in some) for some in (origins, destinations))
        status, said = host.ask(
            f"/table/v1/{self.profile}/{_text(places)}?annotations=duration,distance&sources={sources}&destinations={targets}"
        )
        code = said.get("code")
        if code == TOO_BIG:
            raise BlockTooLarge("TooBig: raise --max-table-size")
        if code in UNROUTABLE:
            raise BlockUnroutable(str(code))
        if status != 200 or code != OK:
            raise host.refuse(status, f"{code} {said.get('message', '')}")
        seconds, metres = decimals(said.get("durations"), "durations"), decimals(said.get("distances"), "distances")
        seconds[_far(said.get("sources")), :] = np.inf
        seconds[:, _far(said.get("destinations"))] = np.inf
        return seconds, metres


def _far(waypoints: Any) -> list[int]:
    """Return which places were moved farther than may be: by itself the host takes the nearest road, be it on another continent."""
    if not isinstance(waypoints, list) or not all(isinstance(one, dict) for one in waypoints):
        return []
    return [
        index for index, one in enumerate(waypoints) if isinstance(one.get("distance"), int | float) and one["distance"] > SNAP_M_MAX
    ]


def decimals(rows: Any, key: str) -> FloatArray:
    """Return rows of numbers as an array, infinite for null.

    Raises:
        TravelRefused: they are no table of numbers from 0.
    """
    if not isinstance(rows, list) or not all(isinstance(row, list) for row in rows) or len({len(row) for row in rows}) > 1:
        raise TravelRefused(f"{key}: expected rows of numbers of one length")
    for row in rows:
        for entry in row:
            if entry is not None and (isinstance(entry, bool) or not isinstance(entry, int | float) or not 0 <= entry < np.inf):
                raise TravelRefused(f"{key}: expected numbers from 0 and null, got {type(entry).__name__}")
    return np.array([[np.inf if entry is None else float(entry) for entry in row] for row in rows], dtype=np.float64).reshape(
        len(rows), len(rows[0]) if rows else 0)


def _text(places: list[Place]) -> str:
    return ";".join(f"{lon:.5f},{lat:.5f}" for lat, lon in places)
