"""The map of a day as numbers for a drawing: an own projection, no tiles, nothing fetched from anywhere."""

import math
from collections.abc import Iterable, Sequence

import msgspec

from mobile_api.demo.record import DayRecord, Place, Route, Said, Stop, UnservedVisit

WIDTH = 1000.0
HEIGHT_MIN, HEIGHT_MAX = 620.0, 1150.0
METRES_PER_DEGREE = 111_195.0                  # Of latitude, on a sphere of 6,371 km.
_MARGIN_SHARE = 0.06
_SPAN_DEGREES_MIN = 0.01
# All dark enough for white figures on them (contrast above 4.5); neighbours in the list differ in hue.
PALETTE = (
    "#0b5cad", "#b3401a", "#1b7a4b", "#7a3ea8", "#8a5a00", "#a3195b", "#0f766e", "#3f51b5", "#9b2226", "#4d6b10", "#00708f", "#6b4e3d",
)


class Mark(msgspec.Struct, frozen=True, kw_only=True):
    """A place on the drawing, in its units from the upper left corner."""

    x: float
    y: float


class StopMark(msgspec.Struct, frozen=True, kw_only=True):
    """A stop where it is drawn. `key` links the drawing with the row of the table."""

    key: str
    at: Mark
    stop: Stop


class RouteMark(msgspec.Struct, frozen=True, kw_only=True):
    """A route as it is drawn: `line` joins its stops in order."""

    key: str
    colour: str
    line: str
    route: Route
    stops: tuple[StopMark, ...]


class PlaceMark(msgspec.Struct, frozen=True, kw_only=True):
    """A name on the map."""

    at: Mark
    place: Place


class UnservedMark(msgspec.Struct, frozen=True, kw_only=True):
    """A request that got no stop, where it lies."""

    at: Mark
    visit: UnservedVisit


class GridLine(msgspec.Struct, frozen=True, kw_only=True):
    """A line of equal longitude or latitude with its label."""

    x1: float
    y1: float
    x2: float
    y2: float
    label: str


class DayMap(msgspec.Struct, frozen=True, kw_only=True):
    """The whole drawing. Routes that were driven come last, so that they lie on top."""

    width: float
    height: float
    units_per_km: float
    routes: tuple[RouteMark, ...]
    places: tuple[PlaceMark, ...]
    unserved: tuple[UnservedMark, ...]
    grid: tuple[GridLine, ...]

    @property
    def legend(self) -> tuple[RouteMark, ...]:
        """The routes as they are listed: driven first, then by number."""
        return tuple(sorted(self.routes, key=lambda mark: (not mark.route.is_driven, mark.route.number)))


class _Frame(msgspec.Struct, frozen=True, kw_only=True):
    """An equirectangular projection around the middle of what is shown: true enough over a city and a village beside it."""

    west: float
    north: float
    scale_x: float
    scale_y: float
    height: float

    def place(self, lon: float, lat: float) -> Mark:
        return Mark(x=round((lon - self.west) * self.scale_x, 1), y=round((self.north - lat) * self.scale_y, 1))


def draw(record: DayRecord) -> DayMap:
    """Lay the day's routes, places and unserved visits out on one drawing that shows them all."""
    frame = _frame([(stop.lon, stop.lat) for route in record.routes for stop in route.stops] or [(place.lon, place.lat) for place in record.places])
    routes = sorted((_route(frame, route) for route in record.routes), key=lambda mark: (mark.route.is_driven, mark.route.number))
    shown = [
        UnservedMark(at=frame.place(visit.lon, visit.lat), visit=visit)
        for visit in record.unserved if visit.lon is not None and visit.lat is not None
    ]
    places = [PlaceMark(at=frame.place(place.lon, place.lat), place=place) for place in record.places]
    return DayMap(
        width=WIDTH, height=frame.height, units_per_km=round(frame.scale_y * 1000 / METRES_PER_DEGREE, 3), routes=tuple(routes), grid=_grid(frame),
        places=tuple(mark for mark in places if _is_inside(mark.at, frame)), unserved=tuple(mark for mark in shown if _is_inside(mark.at, frame)),
    )


def reason_groups(unserved: Iterable[UnservedVisit]) -> tuple[tuple[str, Said, tuple[UnservedVisit, ...]], ...]:
    """Group unserved visits by code, the most frequent first; the group speaks with its first visit's reason."""
    groups: dict[str, list[UnservedVisit]] = {}
    for visit in unserved:
        groups.setdefault(visit.code, []).append(visit)
    ordered = sorted(groups.items(), key=lambda group: (-len(group[1]), group[0]))
    return tuple((code, visits[0].reason, tuple(visits)) for code, visits in ordered)


def _frame(points: Sequence[tuple[float, float]]) -> _Frame:
    lons, lats = ([point[axis] for point in points] or [0.0] for axis in (0, 1))
    mid_lon, mid_lat = (min(lons) + max(lons)) / 2, (min(lats) + max(lats)) / 2
    squeeze = math.cos(math.radians(mid_lat))
    span_lat = max(max(lats) - min(lats), _SPAN_DEGREES_MIN) * (1 + 2 * _MARGIN_SHARE)
    span_lon = max(max(lons) - min(lons), _SPAN_DEGREES_MIN) * (1 + 2 * _MARGIN_SHARE)
    span_lon = max(span_lon, span_lat * WIDTH / HEIGHT_MAX / squeeze)          # A tall day is widened …
    span_lat = max(span_lat, span_lon * squeeze * HEIGHT_MIN / WIDTH)          # … and a flat one heightened, never distorted.
    scale_x = WIDTH / span_lon
    scale_y = scale_x / squeeze
    return _Frame(
        west=mid_lon - span_lon / 2, north=mid_lat + span_lat / 2, scale_x=scale_x, scale_y=scale_y, height=round(span_lat * scale_y, 1),
    )


def _route(frame: _Frame, route: Route) -> RouteMark:
    stops = tuple(
        StopMark(key=f"s-{route.number}-{stop.position}", at=frame.place(stop.lon, stop.lat), stop=stop)
        for stop in sorted(route.stops, key=lambda stop: stop.position)
    )
    return RouteMark(
        key=f"r-{route.number}", colour=PALETTE[route.colour % len(PALETTE)], route=route, stops=stops,
        line=" ".join(f"{mark.at.x},{mark.at.y}" for mark in stops),
    )


def _grid(frame: _Frame) -> tuple[GridLine, ...]:
    """Draw lines of longitude and latitude at the coarsest round step that gives at least four columns."""
    span = WIDTH / frame.scale_x
    step = next((step for step in (1.0, 0.5, 0.2, 0.1, 0.05, 0.02, 0.01, 0.005) if span / step >= 4), 0.002)
    east, south = frame.west + span, frame.north - frame.height / frame.scale_y
    columns = [step * number for number in range(math.ceil(frame.west / step), math.floor(east / step) + 1)]
    rows = [step * number for number in range(math.ceil(south / step), math.floor(frame.north / step) + 1)]
    digits = max(0, -math.floor(math.log10(step)))
    return (
        *(GridLine(x1=x, y1=0, x2=x, y2=frame.height, label=f"{lon:.{digits}f}°E") for lon in columns for x in [frame.place(lon, 0).x]),
        *(GridLine(x1=0, y1=y, x2=WIDTH, y2=y, label=f"{lat:.{digits}f}°N") for lat in rows for y in [frame.place(0, lat).y]),
    )


def _is_inside(mark: Mark, frame: _Frame) -> bool:
    return 0 <= mark.x <= WIDTH and 0 <= mark.y <= frame.height
