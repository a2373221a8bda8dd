"""Places on the earth: WGS-84 inside, any other datum converted at the border.

Units: degrees for longitudes and latitudes, always in the order longitude, latitude; metres for distances.
"""

import math
from collections.abc import Callable
from enum import StrEnum

import msgspec

EARTH_RADIUS_M = 6_371_008.8
"""The mean radius of the earth (IUGG)."""

_SEMI_MAJOR_M = 6_378_245.0  # Krasovsky 1940, the ellipsoid that GCJ-02 is defined over.
_ECCENTRICITY_SQUARED = 0.006_693_421_622_965_943
_BD09_TURN = math.pi * 3000.0 / 180.0
_INVERSE_STEPS_MAX = 30
_INVERSE_TOLERANCE_DEG = 1e-11


class LonLat(msgspec.Struct, frozen=True):
    """A WGS-84 position. Raises `ValueError` outside [-180, 180] × [-90, 90] or for a value that is not finite."""

    lon: float
    lat: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.lon) and -180.0 <= self.lon <= 180.0):
            raise ValueError(f"longitude must lie in [-180, 180], got {self.lon}")
        if not (math.isfinite(self.lat) and -90.0 <= self.lat <= 90.0):
            raise ValueError(f"latitude must lie in [-90, 90], got {self.lat}")


class MultiPolygon(msgspec.Struct, frozen=True):
    """One or more polygons; a polygon is its outer ring followed by its holes, a ring ends where it began.

    Raises:
        ValueError: There is no polygon, a polygon has no ring, or a ring is open or has fewer than four positions.
    """

    polygons: tuple[tuple[tuple[LonLat, ...], ...], ...]

    def __post_init__(self) -> None:
        if not self.polygons:
            raise ValueError("an area needs at least one polygon, got none")
        for polygon in self.polygons:
            if not polygon:
                raise ValueError("a polygon needs an outer ring, got none")
            for ring in polygon:
                if len(ring) < 4 or ring[0] != ring[-1]:
                    raise ValueError(f"a ring is closed and has at least four positions, got {len(ring)}")


class Datum(StrEnum):
    """The datums in which positions reach us; each incoming position names its own."""

    WGS84 = "wgs84"
    GCJ02 = "gcj02"  # Maps and phones sold in mainland China.
    BD09 = "bd09"  # Baidu's maps: GCJ-02, shifted once more.


def to_wgs84(place: LonLat, datum: Datum) -> LonLat:
    """Convert a position given in `datum` to WGS-84, to better than a centimetre."""
    match datum:
        case Datum.WGS84:
            return place
        case Datum.GCJ02:
            return _inverted(_gcj02_from_wgs84, place)
        case Datum.BD09:
            return _inverted(_gcj02_from_wgs84, _inverted(_bd09_from_gcj02, place))


def from_wgs84(place: LonLat, datum: Datum) -> LonLat:
    """Convert a WGS-84 position to `datum`, for maps and navigation apps that expect it."""
    match datum:
        case Datum.WGS84:
            return place
        case Datum.GCJ02:
            return _gcj02_from_wgs84(place)
        case Datum.BD09:
            return _bd09_from_gcj02(_gcj02_from_wgs84(place))


def distance_m(a: LonLat, b: LonLat) -> float:
    """Return the great-circle distance in metres (haversine, spherical earth; up to 0.6 % from the ellipsoid's)."""
    lat_a, lat_b = math.radians(a.lat), math.radians(b.lat)
    half_lat = math.sin((lat_b - lat_a) / 2)
    half_lon = math.sin(math.radians(b.lon - a.lon) / 2)
    chord = half_lat * half_lat + math.cos(lat_a) * math.cos(lat_b) * half_lon * half_lon
    return 2 * EARTH_RADIUS_M * math.asin(math.sqrt(min(1.0, chord)))


def _is_shifted(place: LonLat) -> bool:
    # GCJ-02 is only defined inside this box around mainland China; outside it equals WGS-84.
    return 72.004 <= place.lon <= 137.8347 and 0.8293 <= place.lat <= 55.8271


def _gcj02_from_wgs84(place: LonLat) -> LonLat:
    if not _is_shifted(place):
        return place
    x, y = place.lon - 105.0, place.lat - 35.0
    ripple = 20.0 * (math.sin(6.0 * x * math.pi) + math.sin(2.0 * x * math.pi))
    north = -100.0 + 2.0 * x + 3.0 * y + 0.2 * y * y + 0.1 * x * y + 0.2 * math.sqrt(abs(x))
    north += (ripple + 20.0 * math.sin(y * math.pi) + 40.0 * math.sin(y / 3.0 * math.pi)) * 2.0 / 3.0
    north += (160.0 * math.sin(y / 12.0 * math.pi) + 320.0 * math.sin(y * math.pi / 30.0)) * 2.0 / 3.0
    east = 300.0 + x + 2.0 * y + 0.1 * x * x + 0.1 * x * y + 0.1 * math.sqrt(abs(x))
    east += (ripple + 20.0 * math.sin(x * math.pi) + 40.0 * math.sin(x / 3.0 * math.pi)) * 2.0 / 3.0
    east += (150.0 * math.sin(x / 12.0 * math.pi) + 300.0 * math.sin(x / 30.0 * math.pi)) * 2.0 / 3.0
    lat = math.radians(place.lat)
    bend = 1.0 - _ECCENTRICITY_SQUARED * math.sin(lat) ** 2
    meridian_m = _SEMI_MAJOR_M * (1.0 - _ECCENTRICITY_SQUARED) / (bend * math.sqrt(bend))
    parallel_m = _SEMI_MAJOR_M / math.sqrt(bend) * math.cos(lat)
    return LonLat(place.lon + math.degrees(east / parallel_m), place.lat + math.degrees(north / meridian_m))


def _bd09_from_gcj02(place: LonLat) -> LonLat:
    radius = math.hypot(place.lon, place.lat) + 0.00002 * math.sin(place.lat * _BD09_TURN)
    angle = math.atan2(place.lat, place.lon) + 0.000003 * math.cos(place.lon * _BD09_TURN)
    return LonLat(radius * math.cos(angle) + 0.0065, radius * math.sin(angle) + 0.006)


def _inverted(shift: Callable[[LonLat], LonLat], shifted: LonLat) -> LonLat:
    # The shifts are smooth and far smaller than the earth: walking back by the remaining error converges at once.
    guess = shifted
    for _ in range(_INVERSE_STEPS_MAX):
        reached = shift(guess)
        east, north = shifted.lon - reached.lon, shifted.lat - reached.lat
        if abs(east) < _INVERSE_TOLERANCE_DEG and abs(north) < _INVERSE_TOLERANCE_DEG:
            break
        guess = LonLat(guess.lon + east, guess.lat + north)
    return guess
