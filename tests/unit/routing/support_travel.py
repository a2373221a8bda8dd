"""For travel times: days that are nothing but places, extracts made of a few streets, and hosts that speak OSRM's and Valhalla's formats.

The formats were taken from the engines themselves: osrm-routed 26.10 and valhalla_service 3.9.1 on an extract of Baltimore.
"""

import json
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import msgspec

from routing import Instance, load_instance
from routing.model import Location, LocationKind
from tests.unit.routing.support_days import day

Answer = tuple[int, bytes | dict[str, Any]]


def places_day(places: Sequence[tuple[float, float]]) -> Instance:
    """Make a day of these `(lat, lon)`, called p0, p1 …, and nobody to visit them."""
    spots = tuple(Location(id=f"p{index}", kind=LocationKind.VISIT, lat=lat, lon=lon) for index, (lat, lon) in enumerate(places))
    return msgspec.structs.replace(load_instance(day()), locations=spots, collectors=(), visits=(), banks=())


def write_extract(path: Path, nodes: Mapping[int, tuple[float, float]], ways: Sequence[tuple[Sequence[int], Mapping[str, str]]],
                  barriers: Mapping[int, Mapping[str, str]] | None = None) -> Path:
    """Write an `.osm.pbf` of nodes `(lat, lon)` and ways."""
    import osmium

    path.unlink(missing_ok=True)
    with osmium.SimpleWriter(str(path)) as writer:
        for number, (lat, lon) in sorted(nodes.items()):
            writer.add_node(osmium.osm.mutable.Node(id=number, location=(lon, lat), tags=dict((barriers or {}).get(number, {}))))
        for number, (along, tags) in enumerate(ways, start=1):
            writer.add_way(osmium.osm.mutable.Way(id=number, nodes=list(along), tags=dict(tags)))
    return path


class Fleet:
    """A loopback host: `answer` decides, `heard` lists (method, path with query, body)."""

    def __init__(self, answer: Callable[[str, str, dict[str, Any] | None], Answer]) -> None:
        self.answer = answer
        self.heard: list[tuple[str, str, dict[str, Any] | None]] = []
        self.ended = threading.Event()
        self.url = ""

    def tables(self) -> int:
        """Return how many tables were asked for."""
        return sum(1 for _, path, _ in self.heard if "table" in path or "sources_to_targets" in path)


class Cut(Exception):
    """The host promises a long answer, sends a little and hangs up."""


class Silent(Exception):
    """The host never answers."""


class Drip(Exception):
    """The host sends a byte now and then for ever."""


@contextmanager
def listening(answer: Callable[[str, str, dict[str, Any] | None], Answer]) -> Iterator[Fleet]:
    """Serve on a free port of the loopback interface until the block ends."""
    fleet = Fleet(answer)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_GET(self) -> None:
            self._serve(None)

        def do_POST(self) -> None:
            self._serve(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

        def log_message(self, *_: Any) -> None:
            pass

        def _serve(self, body: dict[str, Any] | None) -> None:
            fleet.heard.append((self.command, self.path, body))
            try:
                status, said = fleet.answer(self.command, self.path, body)
            except Silent:
                fleet.ended.wait(60)
                self.close_connection = True
                return
            except Cut:
                self._begin(200, 10_000)
                self.wfile.write(b'{"code":"Ok","dur')
                self.close_connection = True
                return
            except Drip:
                self._begin(200, 10_000)
                while not fleet.ended.wait(0.02):
                    try:
                        self.wfile.write(b" ")
                    except OSError:
                        return
                return
            content = said if isinstance(said, bytes) else json.dumps(said).encode()
            self._begin(status, len(content))
            self.wfile.write(content)

        def _begin(self, status: int, length: int) -> None:
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            if 300 <= status < 400:
                self.send_header("Location", "http://192.0.2.1/elsewhere")
            self.send_header("Content-Length", str(length))
            self.end_headers()

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    fleet.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield fleet
    finally:
        fleet.ended.set()
        server.shutdown()
        thread.join()
        server.server_close()


def leg(origin: tuple[float, float], destination: tuple[float, float]) -> tuple[float, float]:
    """Return a made-up directed way: seconds and metres; going north takes longer."""
    north, east = destination[0] - origin[0], destination[1] - origin[1]
    metres = round((abs(north) + abs(east)) * 100_000, 1)
    return round(metres / 8 + max(0.0, north) * 5_000, 1), metres


class OsrmTables:
    """Answers like osrm-routed: `max-table-size`, a data version, and places that are far from any road (north of `sea`)."""

    def __init__(self, *, table_max: int = 100, data_version: str = "2026-11", sea: float = 90.0, is_refusing_sea: bool = False) -> None:
        self.table_max, self.data_version, self.sea, self.is_refusing_sea = table_max, data_version, sea, is_refusing_sea

    def __call__(self, method: str, path: str, body: dict[str, Any] | None) -> Answer:
        assert (method, body) == ("GET", None)
        parts = urlsplit(path)
        kind, _, _, text = parts.path.strip("/").split("/")
        version = {"data_version": self.data_version} if self.data_version else {}
        places = [(float(lat), float(lon)) for lon, lat in (one.split(",") for one in text.split(";"))]
        if kind == "nearest":
            return 200, {"code": "Ok", **version, "waypoints": [self._waypoint(places[0])]}
        if len(places) > self.table_max:
            return 400, {"message": "Too many table coordinates", "code": "TooBig"}
        if self.is_refusing_sea and any(lat > self.sea for lat, _ in places):
            return 400, {"message": "Could not find a matching segment for coordinate 0", "code": "NoSegment"}
        asked = parse_qs(parts.query)
        assert asked["annotations"] == ["duration,distance"]
        sources, destinations = ([places[int(one)] for one in asked[key][0].split(";")] for key in ("sources", "destinations"))
        legs = [[leg(a, b) if b[1] < 200 else (None, None) for b in destinations] for a in sources]
        return 200, {
            "code": "Ok", **version, "durations": [[one[0] for one in row] for row in legs], "distances": [[one[1] for one in row] for row in legs],
            "sources": [self._waypoint(one) for one in sources], "destinations": [self._waypoint(one) for one in destinations],
        }

    def _waypoint(self, place: tuple[float, float]) -> dict[str, Any]:
        far = 9_128_061.998 if place[0] > self.sea else 25.48
        return {"hint": "AAAA", "location": [place[1], place[0]], "name": "Boston Street", "distance": far}


class ValhallaTables:
    """Answers like valhalla_service: compact or (before 3.4) verbose, `max_matrix_location_pairs`, error 171 for a place far from any road."""

    def __init__(self, *, pairs_max: int = 2_500, sea: float = 90.0, island: float = 200.0, is_verbose: bool = False) -> None:
        self.pairs_max, self.sea, self.island, self.is_verbose = pairs_max, sea, island, is_verbose

    def __call__(self, method: str, path: str, body: dict[str, Any] | None) -> Answer:
        if path == "/status":
            return 200, {"version": "3.9.1", "tileset_last_modified": 1795314176, "available_actions": ["route", "sources_to_targets"]}
        assert (method, path) == ("POST", "/sources_to_targets")
        assert body is not None
        sources, targets = ([(one["lat"], one["lon"]) for one in body[key]] for key in ("sources", "targets"))
        if body["costing"] != "auto":
            return 400, {"error_code": 125, "error": f"No costing method found: '{body['costing']}'", "status_code": 400, "status": "Bad Request"}
        if len(sources) * len(targets) > self.pairs_max:
            return 400, {"error_code": 150, "error": "Exceeded max locations: 2500", "status_code": 400, "status": "Bad Request"}
        if any(lat > self.sea for lat, _ in (*sources, *targets)):
            return 400, {"error_code": 171, "error": "No suitable edges near location", "status_code": 400, "status": "Bad Request"}
        legs = [[leg(a, b) if b[1] < self.island else (None, None) for b in targets] for a in sources]
        if self.is_verbose:
            return 200, {"units": "kilometers", "sources_to_targets": [
                [{"from_index": i, "to_index": j, "time": one[0], "distance": None if one[1] is None else one[1] / 1000} for j, one in enumerate(row)]
                for i, row in enumerate(legs)
            ]}
        return 200, {"units": "kilometers", "algorithm": "costmatrix", "sources_to_targets": {
            "durations": [[one[0] for one in row] for row in legs],
            "distances": [[None if one[1] is None else one[1] / 1000 for one in row] for row in legs],
        }}
