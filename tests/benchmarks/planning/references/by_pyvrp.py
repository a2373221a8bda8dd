"""PyVRP on fixed pairs, and on VRPTW.

One vehicle type per pair with depots of its own; one matrix per set of visits that some pairs may make; leaving a visit out costs its prize;
a visit with two windows is a group of two clients; cash is a shipment to the nearest bank whose service lies on the arc into it.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyvrp
from pyvrp.stop import MaxRuntime

from tests.benchmarks.planning.references.day import FORBIDDEN_S, Clock, Day, Routed, never_served, servable, windows_of


def route_day(day: Day, seconds: float, seed: int) -> Routed:
    """Route the day's pairs for so many seconds of search."""
    clock = Clock()
    data, nodes_of_clients, nodes_of_shipments = _data(day)
    set_up_s = clock()
    result = pyvrp.solve(data, MaxRuntime(max(0.5, seconds - set_up_s)), seed=seed % 2**31, collect_stats=True, display=False)
    orders: list[list[int]] = [[] for _ in day.pairs]
    bank_of = day.bank_of
    for route in result.best.routes():
        order = orders[route.vehicle_type()]
        for step in route:
            if step.is_client():
                order.append(nodes_of_clients[step.idx])
            elif step.is_shipment():
                node = nodes_of_shipments[step.idx]
                here = node if str(step.type).endswith("PICKUP") else int(bank_of[node])
                if not order or here != order[-1]:
                    order.append(here)
    curve = _curve(result, set_up_s, never_served(day) - _counted_twice(data))
    return Routed(orders, curve, note=f"{result.num_iterations} iterations, set-up {set_up_s:.1f} s")


def route_vrptw(path: Path, seconds: float, seed: int) -> list[list[int]]:
    """Solve a published instance; customers 1 … n."""
    data = pyvrp.read(path, round_func="dimacs")
    result = pyvrp.solve(data, MaxRuntime(seconds), seed=seed % 2**31, collect_stats=False, display=False)
    return [[step.idx + 1 for step in route if step.is_client()] for route in result.best.routes()]


def _data(day: Day) -> tuple[pyvrp.ProblemData, list[int], list[int]]:
    problem, size = day.problem, day.problem.n + day.problem.banks
    count = len(day.pairs)
    rows = size + 2 * count
    travel = np.zeros((rows, rows), dtype=np.int64)
    travel[:size, :size] = problem.travel_s
    for index, pair in enumerate(day.pairs):
        travel[size + index, :size] = pair.out_s
        travel[:size, size + count + index] = pair.back_s
    duration = travel.copy()
    for bank in range(problem.n, size):
        duration[:, bank] += problem.service_s[bank]
        duration[bank, bank] = 0
    profiles: dict[bytes, int] = {}
    distances, durations = [], []
    for mask in day.serves:
        if mask.tobytes() in profiles:
            continue
        profiles[mask.tobytes()] = len(profiles)
        barred = np.flatnonzero(~mask)
        one, two = travel.copy(), duration.copy()
        one[barred, :] = one[:, barred] = two[barred, :] = two[:, barred] = FORBIDDEN_S
        np.fill_diagonal(one, 0)
        np.fill_diagonal(two, 0)
        distances.append(one)
        durations.append(two)
    clients, groups, shipments, of_clients, of_shipments = _stops(day)
    vehicles = [
        pyvrp.VehicleType(
            1, [problem.carry_limit_fen], start_depot=index, end_depot=count + index, tw_early=pair.shift[0], tw_late=max(pair.shift),
            profile=profiles[mask.tobytes()],
        )
        for index, (pair, mask) in enumerate(zip(day.pairs, day.serves, strict=True))
    ]
    data = pyvrp.ProblemData(
        [pyvrp.Location(0, 0) for _ in range(rows)], clients, [pyvrp.Depot(size + index) for index in range(2 * count)], vehicles,
        distances, durations, groups, shipments,
    )
    return data, of_clients, of_shipments


def _stops(day: Day) -> tuple[list[pyvrp.Client], list[pyvrp.ClientGroup], list[pyvrp.Shipment], list[int], list[int]]:
    problem, bank_of = day.problem, day.bank_of
    clients: list[pyvrp.Client] = []
    groups: list[pyvrp.ClientGroup] = []
    shipments: list[pyvrp.Shipment] = []
    of_clients: list[int] = []
    of_shipments: list[int] = []
    for node in servable(day):
        windows, service, prize = windows_of(problem, node), int(problem.service_s[node]), int(problem.loss[node])
        cash = int(problem.cash_fen[node])
        if cash:
            bank = int(bank_of[node])
            if bank < 0 or cash > problem.carry_limit_fen:
                continue
            open_bank, late_s = windows_of(problem, bank)[0], int(problem.service_s[bank])
            # A shipment has one window: the widest after which the bank is still open.
            lo, hi = max((one for one in windows if one[0] + service <= open_bank[1]), key=lambda one: one[1] - one[0])
            shipments.append(pyvrp.Shipment(
                node, bank, lo, hi, service, open_bank[0] + late_s, open_bank[1] + late_s, 0, amount=[cash], prize=prize, required=False,
            ))
            of_shipments.append(node)
            continue
        group = None
        if len(windows) > 1:
            group = len(groups)
            groups.append(pyvrp.ClientGroup(list(range(len(clients), len(clients) + len(windows))), required=False))
        for lo, hi in windows:
            clients.append(pyvrp.Client(
                node, delivery=[0], pickup=[0], service_duration=service, tw_early=lo, tw_late=hi, prize=prize, required=False, group=group,
            ))
            of_clients.append(node)
    return clients, groups, shipments, of_clients, of_shipments


def _counted_twice(data: pyvrp.ProblemData) -> int:
    """Return what PyVRP's cost has too much: of a visit with two windows one client at least is never made, and its prize always missed."""
    clients = data.clients()
    return sum((len(group) - 1) * clients[group.clients[0]].prize for group in data.groups())


def _curve(result: pyvrp.Result, set_up_s: float, besides: int) -> list[tuple[float, int]]:
    found: list[tuple[float, int]] = []
    clock = set_up_s
    for datum, spent_s in zip(result.stats.data, result.stats.runtimes, strict=True):
        clock += spent_s
        if datum.best_feas and (not found or datum.best_cost + besides < found[-1][1]):
            found.append((round(clock, 3), int(datum.best_cost) + besides))
    return found
