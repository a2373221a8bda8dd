"""Published VRPTW instances on the same compiled search: VRPLIB text in, routes out.

DIMACS convention: coordinates, windows and service times are multiplied by ten and truncated; the objective is total distance, the number
of vehicles is only a limit. A vehicle is a pair of one pseudo collector; the loss of a customer is prohibitive.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import numpy as np

from routing.engines.layout import FAR, Arrays, Heat, nearest
from routing.engines.search import is_ready
from routing.engines.strands import Pace, anneal_routes, strands_here
from routing.matrix import IntArray
from routing.model import InstanceError
from routing.problem import I64

LOSS = 10**9
SIZE_MAX = 20_000
SECTIONS = ("NODE_COORD_SECTION", "DEMAND_SECTION", "TIME_WINDOW_SECTION", "SERVICE_TIME_SECTION", "DEPOT_SECTION")


class Vrptw(msgspec.Struct, frozen=True, eq=False):
    """A VRPTW in tenths: node 0 is the depot."""

    distance: IntArray
    windows: I64
    service: I64
    demand: I64
    capacity: int
    vehicles: int


def read_vrptw(text: str) -> Vrptw:
    """Read a VRPLIB file.

    Raises:
        InstanceError: a section or key is missing or is no number; one line that names it.
    """
    head: dict[str, str] = {}
    rows: dict[str, list[list[float]]] = {name: [] for name in SECTIONS}
    section = ""
    for number, raw in enumerate(text.splitlines(), 1):
        line = raw.strip()
        if not line or line == "EOF":
            continue
        if ":" in line:
            key, _, found = line.partition(":")
            head[key.strip()] = found.strip()
        elif line.endswith("SECTION"):
            section = line
            if section not in rows:
                raise InstanceError(f"line {number}: unknown section {section[:40]}")
        elif not section:
            raise InstanceError(f"line {number}: expected `KEY : value` or a section")
        else:
            rows[section].append(_numbers(line, number))
    return _assemble(head, rows)


def _numbers(line: str, number: int) -> list[float]:
    try:
        found = [float(part) for part in line.split()]
    except ValueError:
        raise InstanceError(f"line {number}: expected numbers, got {line[:40]!r}") from None
    if not all(abs(one) < 1e9 for one in found):
        raise InstanceError(f"line {number}: a number is too large or none at all")
    return found


def _head_number(head: dict[str, str], key: str) -> float:
    try:
        return float(head[key])
    except KeyError:
        raise InstanceError(f"{key}: is missing") from None
    except ValueError:
        raise InstanceError(f"{key}: expected a number, got {head[key][:40]!r}") from None


def _assemble(head: dict[str, str], rows: dict[str, list[list[float]]]) -> Vrptw:
    size = len(rows["NODE_COORD_SECTION"])
    if not 1 <= size <= SIZE_MAX:
        raise InstanceError(f"NODE_COORD_SECTION: expected 1 to {SIZE_MAX} nodes, got {size}")
    if not rows["SERVICE_TIME_SECTION"]:
        service_time = _head_number(head, "SERVICE_TIME")
        rows["SERVICE_TIME_SECTION"] = [[n + 1, service_time if n else 0.0] for n in range(size)]
    for name, width in (("NODE_COORD_SECTION", 3), ("DEMAND_SECTION", 2), ("TIME_WINDOW_SECTION", 3), ("SERVICE_TIME_SECTION", 2)):
        if len(rows[name]) != size or any(len(row) < width for row in rows[name]):
            raise InstanceError(f"{name}: expected {size} rows of {width} numbers")
    xy = np.array([row[1:3] for row in rows["NODE_COORD_SECTION"]])
    distance = (10 * np.sqrt(((xy[:, None, :] - xy[None, :, :]) ** 2).sum(axis=2))).astype(np.int32)
    windows = np.array([[int(row[1] * 10), int(row[2] * 10)] for row in rows["TIME_WINDOW_SECTION"]], dtype=np.int64)
    service = np.array([int(row[1] * 10) for row in rows["SERVICE_TIME_SECTION"]], dtype=np.int64)
    demand = np.array([int(row[1]) for row in rows["DEMAND_SECTION"]], dtype=np.int64)
    return Vrptw(distance, windows, service, demand, int(_head_number(head, "CAPACITY")), int(_head_number(head, "VEHICLES")))


def solve_vrptw(
    problem: Vrptw, *, search_s: float, seed: int = 0, iterations_max: int | None = None, stop: Callable[[], bool] = lambda: False
) -> list[list[int]]:
    """Return routes of customers 1 … n, without empty ones.

    Raises:
        InstanceError: no routes for all customers were found within the fleet and the time.
    """
    n = len(problem.demand) - 1
    if n == 0:
        return []
    if not is_ready():
        from routing.engines.ortools_vrptw import route_vrptw

        return route_vrptw(problem, search_s, iterations_max)
    heat = Heat(start=100.0, end=1.0) if n > 300 else Heat(start=200.0, end=1.0)
    pace = Pace(search_s=search_s, stop=stop, iterations_max=iterations_max)
    strands = strands_here() if iterations_max is None else 1
    found = anneal_routes(_arrays(problem, heat), [(0, 0)] * problem.vehicles, heat, pace, seed, strands=strands)
    routes = [[node + 1 for node in nodes] for _, _, nodes in found.routes]
    missing = n - sum(len(route) for route in routes)
    if missing:
        raise InstanceError(f"VEHICLES: {missing} customers found no place in {problem.vehicles} vehicles within the time")
    return routes


def _arrays(problem: Vrptw, heat: Heat) -> Arrays:
    n = len(problem.demand) - 1
    travel = np.ascontiguousarray(problem.distance[1:, 1:])
    node = np.zeros((n, 4), dtype=np.int64)
    node[:, 0], node[:, 2], node[:, 3] = problem.service[1:], problem.demand[1:], LOSS
    win = np.ascontiguousarray(problem.windows[1:])
    opens, closes = int(problem.windows[0, 0]), int(problem.windows[0, 1])
    stops = min(n, int((closes - opens) // max(1, int(problem.service[1:].min()))) + 2)
    return Arrays(
        travel=travel, inward=travel.T.copy(), node=node, win=win, way_out=problem.distance[:1, 1:].astype(np.int64),
        way_back=problem.distance[1:, 0][None, :].astype(np.int64), rest=None, speeds=None,
        banks=np.zeros((n, 0), dtype=np.int64),
        crew=np.array([[opens, closes, 0]], dtype=np.int64), needs=np.zeros((n, 1), dtype=np.int64), excluded=np.zeros((n, 1), dtype=np.bool_),
        near=nearest(travel.astype(np.int64)), rivals=np.full(n, -1, dtype=np.int64), weight=np.zeros((1, 1), dtype=np.int64),
        par=np.array([n, FAR, problem.capacity, 1, FAR, 1, 0, heat.ruin, heat.string, 0], dtype=np.int64), stops_max=stops + 6,
    )


def encode_routes(problem: Vrptw, routes: list[list[int]]) -> str:
    """Return the CVRPLIB solution text."""
    lines = [f"Route #{number}: {' '.join(map(str, route))}" for number, route in enumerate(routes, 1)]
    cost = sum(int(problem.distance[a, b]) for route in routes for a, b in zip([0, *route], [*route, 0], strict=True))
    return "\n".join([*lines, f"Cost {cost}"]) + "\n"
