"""VROOM on fixed pairs, and on VRPTW: the best of its quick settings and of the day cut into areas, each with the whole budget.

A pair is a vehicle; who may make a visit is a skill; what leaving it out costs is its priority; cash is a shipment to the nearest bank, whose
service is set up once for deliveries made in one stop.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import numpy as np
import vroom
from scipy.optimize import linear_sum_assignment

from routing.engines.insertion import repair
from routing.objective import total_cost
from routing.vrptw import Vrptw
from tests.benchmarks.planning.references.day import Clock, Day, Routed, servable, tours_of, windows_of

AREA_VISITS = 125
AREAS_FROM = 200
PRIORITY_MAX = 100
PRIORITY_OF_VALUE = 3


def route_day(day: Day, seconds: float, seed: int) -> Routed:
    """Route the day's pairs by `-x 0`, `-x 1`, `-x 5` and by area; return the cheapest. VROOM knows no seed."""
    everything, all_pairs = servable(day), list(range(len(day.pairs)))
    tried: dict[str, tuple[int, list[list[int]], float]] = {}
    ways = [("-x 0", 0), ("-x 1", 1), ("-x 5", 5)]
    for name, level in ways:
        clock = Clock()
        orders = _solve(day, everything, all_pairs, level, seconds)
        tried[name] = (_cost(day, orders), orders, clock())
    if len(everything) > AREAS_FROM:
        clock = Clock()
        orders = _by_area(day, everything, seconds)
        tried["by area"] = (_cost(day, orders), orders, clock())
    best = min(tried, key=lambda name: tried[name][0])
    note = ", ".join(f"{name}: {cost} in {spent_s:.1f} s" for name, (cost, _, spent_s) in tried.items())
    curve = sorted((round(spent_s, 2), cost) for cost, _, spent_s in tried.values())
    falling = [one for index, one in enumerate(curve) if all(one[1] < other[1] for other in curve[:index])]
    return Routed(tried[best][1], falling, note=f"{best} of {note}")


def route_vrptw(problem: Vrptw, seconds: float) -> list[list[int]]:
    """Solve a published instance by `-x 5` within the time."""
    asked = vroom.Input()
    asked.set_durations_matrix("car", problem.distance + 0)
    opens, closes = (int(one) for one in problem.windows[0])
    asked.add_vehicle([
        vroom.Vehicle(one, start=0, end=0, capacity=[problem.capacity], time_window=(opens, closes)) for one in range(problem.vehicles)
    ])
    asked.add_job([
        vroom.Job(
            node, location=node, default_service=int(problem.service[node]), delivery=[int(problem.demand[node])],
            time_windows=[vroom.TimeWindow(int(problem.windows[node, 0]), int(problem.windows[node, 1]))],
        )
        for node in range(1, len(problem.demand))
    ])
    routes = asked.solve(exploration_level=5, nb_threads=1, timeout=timedelta(seconds=seconds)).to_dict()["routes"]
    return [[step["id"] for step in route["steps"] if step["type"] == "job"] for route in routes]


def _cost(day: Day, orders: Sequence[Sequence[int]]) -> int:
    return total_cost(day.problem, tours_of(day, orders)[0])


def _solve(day: Day, visits: Sequence[int], pairs: Sequence[int], level: int, seconds: float) -> list[list[int]]:
    """Solve some of the visits with some of the pairs; return the nodes of every pair of the day."""
    problem, bank_of = day.problem, day.bank_of
    banks = sorted({int(bank_of[node]) for node in visits if problem.cash_fen[node] and bank_of[node] >= 0})
    nodes = np.array([*visits, *banks], dtype=np.intp)
    row_of = {int(node): row for row, node in enumerate(nodes)}
    size, count = len(nodes), len(pairs)
    travel = np.zeros((size + 2 * count, size + 2 * count), dtype=np.uint32)
    travel[:size, :size] = problem.travel_s[np.ix_(nodes, nodes)]
    for index, row in enumerate(pairs):
        travel[size + index, :size] = day.pairs[row].out_s[nodes]
        travel[:size, size + count + index] = day.pairs[row].back_s[nodes]
    asked = vroom.Input()
    asked.set_durations_matrix("car", travel)
    masks, skill_of = day.serves[list(pairs)], dict[bytes, int]()
    skills: list[set[int]] = [set() for _ in pairs]
    for node in visits:
        mask = masks[:, node].tobytes()
        if mask not in skill_of:
            skill_of[mask] = len(skill_of) + 1
            for index in np.flatnonzero(masks[:, node]).tolist():
                skills[index].add(skill_of[mask])
    for index, row in enumerate(pairs):
        shift = day.pairs[row].shift
        asked.add_vehicle(vroom.Vehicle(
            index + 1, start=size + index, end=size + count + index, capacity=[problem.carry_limit_fen], skills=skills[index],
            time_window=vroom.TimeWindow(shift[0], max(shift)),
        ))
    for node in visits:
        _add_stop(day, asked, node, row_of, skill_of[masks[:, node].tobytes()])
    answer = asked.solve(exploration_level=level, nb_threads=1, timeout=timedelta(seconds=seconds)).to_dict()
    orders: list[list[int]] = [[] for _ in day.pairs]
    for route in answer["routes"]:
        order = orders[pairs[route["vehicle"] - 1]]
        for step in route["steps"]:
            if step["type"] in ("job", "pickup", "delivery"):
                here = int(bank_of[step["id"]]) if step["type"] == "delivery" else int(step["id"])
                if not order or order[-1] != here:
                    order.append(here)
    return orders


def _add_stop(day: Day, asked: vroom.Input, node: int, row_of: dict[int, int], skill: int) -> None:
    problem = day.problem
    windows = [vroom.TimeWindow(lo, hi) for lo, hi in windows_of(problem, node)]
    loss, unit = int(problem.loss[node]), 3600
    priority = min(PRIORITY_MAX, max(1, PRIORITY_OF_VALUE * loss // unit))
    service, cash = int(problem.service_s[node]), int(problem.cash_fen[node])
    if not cash:
        asked.add_job(vroom.Job(
            node, location=row_of[node], default_service=service, delivery=[0], pickup=[0], skills={skill}, priority=priority, time_windows=windows,
        ))
        return
    bank = int(day.bank_of[node])
    if bank < 0 or cash > problem.carry_limit_fen:
        return
    asked.add_shipment(
        vroom.ShipmentStep(node, location=row_of[node], default_service=service, time_windows=windows),
        vroom.ShipmentStep(
            node, location=row_of[bank], default_setup=int(problem.service_s[bank]),
            time_windows=[vroom.TimeWindow(lo, hi) for lo, hi in windows_of(problem, bank)],
        ),
        amount=vroom.Amount([cash]), skills={skill}, priority=priority,
    )


def _by_area(day: Day, visits: Sequence[int], seconds: float) -> list[list[int]]:
    """Cut the day into areas, give each its share of pairs, solve each by `-x 1`, and put what stayed out where it is cheapest."""
    places = {place.id: (place.lat, place.lon) for place in day.instance.locations}
    areas = _halves(list(visits), np.array([places[day.problem.visits[node].location] for node in range(day.problem.n)]))
    orders: list[list[int]] = [[] for _ in day.pairs]
    clock = Clock()
    for index, (area, pairs) in enumerate(zip(areas, _shares(day, areas), strict=True)):
        if pairs:
            part = _solve(day, area, pairs, 1, max(0.3, (seconds - clock()) / (len(areas) - index)))
            for row in pairs:
                orders[row] = part[row]
    tours = repair(day.problem, tours_of(day, orders)[0], lambda: clock() > seconds)
    return [list(tour.timing.nodes) for tour in tours]


def _halves(visits: list[int], where: np.ndarray) -> list[list[int]]:
    if len(visits) <= AREA_VISITS:
        return [visits]
    spread = np.ptp(where[visits], axis=0)
    ordered = sorted(visits, key=lambda node: float(where[node][int(spread.argmax())]))
    half = len(ordered) // 2
    return _halves(ordered[:half], where) + _halves(ordered[half:], where)


def _shares(day: Day, areas: Sequence[Sequence[int]]) -> list[list[int]]:
    """Deal the pairs out: as many per area as its visits ask for, those that are near and may make most of its value first."""
    problem = day.problem
    ends = np.cumsum([len(area) for area in areas]) * len(day.pairs) // sum(len(area) for area in areas)
    slots = np.repeat(np.arange(len(areas)), np.diff(ends, prepend=0))
    price = np.zeros((len(day.pairs), len(areas)))
    for column, area in enumerate(areas):
        lost = np.minimum(problem.loss[list(area)], 60_000).astype(float)
        for row, pair in enumerate(day.pairs):
            far_s = float((pair.out_s[list(area)] + pair.back_s[list(area)]).mean())
            price[row, column] = far_s + 20_000 * float(lost[~day.serves[row, list(area)]].sum()) / max(1.0, float(lost.sum()))
    rows, chosen = linear_sum_assignment(price[:, slots])
    found: list[list[int]] = [[] for _ in areas]
    for row, slot in zip(rows.tolist(), chosen.tolist(), strict=True):
        found[int(slots[slot])].append(row)
    return found
