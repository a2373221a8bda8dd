"""A self-hosted Valhalla: `POST /sources_to_targets`, seconds and kilometres, null without a way; `GET /status` for the age of its tiles."""

from __future__ import annotations

from typing import Any

import numpy as np

from routing.matrix import FloatArray
from routing.travel.asked import BlockTooLarge, BlockUnroutable, Place
from routing.travel.hosts import Host
from routing.travel.model import SNAP_M_MAX, ProviderName, TravelRefused
from routing.travel.osrm import decimals

PROFILE = "auto"
UNROUTABLE = frozenset({154, 170, 171, 442})
"""Its error codes for places too far from each other, too far from any road, or without a way between them."""
TOO_LARGE = frozenset({150})


class Valhalla:
    """The time-distance matrix. The host's `max_matrix_location_pairs` bounds a request; what exceeds it is halved."""

    name = ProviderName.VALHALLA

    def __init__(self, profile: str) -> None:
        self.profile = profile or PROFILE

    def describe(self, host: Host, near: Place) -> str:
        """Return the version and when the tiles were last changed. A status service that is switched off is no obstacle."""
        del near
        status, said = host.ask("/status")
        if status != 200:
            return ""
        return " ".join(f"{key} {said[key]}" for key in ("version", "tileset_last_modified") if key in said)[:100]

    def block(self, host: Host, origins: list[Place], destinations: list[Place]) -> tuple[FloatArray, FloatArray]:
        """Ask for one table; understands the compact form and the older verbose one."""
        asked = {
            "sources": _places(origins), "targets": _places(destinations), "costing": self.profile, "units": "kilometers", "verbose": False,
        }
        status, said = host.ask("/sources_to_targets", asked)
        if status != 200:
            code = said.get("error_code")
            if code in TOO_LARGE:
                raise BlockTooLarge(f"error {code}: raise max_matrix_location_pairs")
            if code in UNROUTABLE:
                raise BlockUnroutable(f"error {code}")
            raise host.refuse(status, f"{said.get('error', '')}")
        if said.get("units", "kilometers") not in ("kilometers", "km"):
            raise TravelRefused("sources_to_targets: expected kilometers")
        table = said.get("sources_to_targets")
        seconds, kilometres = _compact(table) if isinstance(table, dict) else _verbose(table)
        return seconds, kilometres * 1000.0


def _places(places: list[Place]) -> list[dict[str, float]]:
    return [{"lat": lat, "lon": lon, "search_cutoff": SNAP_M_MAX} for lat, lon in places]


def _compact(table: dict[str, Any]) -> tuple[FloatArray, FloatArray]:
    seconds, kilometres = (decimals(table.get(key), key) for key in ("durations", "distances"))
    return _both(seconds, kilometres)


def _verbose(table: Any) -> tuple[FloatArray, FloatArray]:
    if not isinstance(table, list) or not all(isinstance(row, list) and all(isinstance(cell, dict) for cell in row) for row in table):
        raise TravelRefused("sources_to_targets: expected rows of objects")
    seconds, kilometres = (decimals([[cell.get(key) for cell in row] for row in table], key) for key in ("time", "distance"))
    return _both(seconds, kilometres)


def _both(seconds: FloatArray, kilometres: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Where one of the two is null there is no way."""
    if seconds.shape != kilometres.shape:
        raise TravelRefused("sources_to_targets: times and distances differ in number")
    known = np.isfinite(seconds) & np.isfinite(kilometres)
    return np.where(known, seconds, np.inf), np.where(known, kilometres, np.inf)
