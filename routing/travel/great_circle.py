"""Great-circle distance times a detour factor, at one speed: asks nobody, needs nothing, and is symmetric."""

from __future__ import annotations

import hashlib

import numpy as np

from routing.matrix import travel_matrix
from routing.model import Instance, InstanceError, Location, TravelModel
from routing.travel.model import ProviderName, TravelRecord, TravelTable, refuse

PROFILE = "haversine/1"


class GreatCircle:
    """The instance's own travel model."""

    def __init__(self, model: TravelModel) -> None:
        self.model = model

    @property
    def record(self) -> TravelRecord:
        """Name the parameters as the data set: there is no other."""
        stated = f"radius {self.model.earth_radius_m:g} m, detour {self.model.detour_factor:g}, {self.model.speed_kmh:g} km/h"
        digest = hashlib.sha256(f"{PROFILE}: {stated}".encode()).hexdigest()
        return TravelRecord(provider=ProviderName.GREAT_CIRCLE.value, profile=PROFILE, data_set=stated, data_set_digest=digest)

    def table(self, instance: Instance) -> TravelTable:
        """Return the same whole numbers as `routing.travel_matrix`."""
        try:
            matrix = travel_matrix(instance)
        except InstanceError as error:
            raise refuse(error) from None
        return TravelTable(matrix.seconds, matrix.metres)


def crow_m(places: tuple[Location, ...]) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    """Return the straight distances in metres between places, unrounded, for judging other providers."""
    lat, lon = (np.radians(np.array([getattr(one, axis) for one in places], dtype=np.float64)) for axis in ("lat", "lon"))
    h = np.sin((lat[:, None] - lat[None, :]) / 2) ** 2 + np.cos(lat)[:, None] * np.cos(lat)[None, :] * np.sin((lon[:, None] - lon[None, :]) / 2) ** 2
    return np.asarray(2 * 6_371_008.8 * np.arcsin(np.minimum(1.0, np.sqrt(h))))
