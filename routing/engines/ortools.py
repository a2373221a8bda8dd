"""OR-Tools' routing model of a set of pairs and visits: the stand-alone engine, and the source of a plan's final times.

Native matrices only (a Python callback costs points), a lean operator set, one disjunction per visit, cash as pickup and delivery
with the deposit's service on the arc into the bank, the carry limit as capacity, pair rules as the domain of each visit's vehicle.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import numpy as np
from ortools.constraint_solver import pywrapcp, routing_enums_pb2

from routing.objective import Tour, visits_of
from routing.problem import Problem
from routing.schedule import plan_deposits
from routing.timing import Timing, offices_for

BANKS_OFFERED = 2
CANCEL_ASKED_EVERY = 500
FINALIZER_S_MAX = 1
LEAN_OFF = (
    "use_lin_kernighan", "use_global_cheapest_insertion_path_lns", "use_local_cheapest_insertion_path_lns",
    "use_relocate_path_global_cheapest_insertion_insert_unperformed", "use_relocate_expensive_chain",
)


class Effort(msgspec.Struct, frozen=True, kw_only=True):
    """How long one solve may take: guided local search for `search_s`, or one descent to a local optimum, or guided local search until the
    solver has asked `asks_max` times whether to stop, or until it has found `solutions_max` solutions; the latter three are repeatable, and the
    last repeats a search by the clock that found as many.
    """

    search_s: float
    is_descent: bool = False
    asks_max: int | None = None
    solutions_max: int | None = None
    cancelled: Callable[[], bool] | None = None


class _Layout(msgspec.Struct, frozen=True, eq=False):
    """Row numbers of the sub-problem: visits first, then one row per (cash visit, bank) delivery, then starts, then ends."""

    visits: tuple[int, ...]
    deliveries: tuple[tuple[int, int], ...]
    tours: tuple[Tour, ...]

    @property
    def starts(self) -> int:
        return len(self.visits) + len(self.deliveries)

    @property
    def rows(self) -> int:
        return self.starts + 2 * len(self.tours)


class _Model(msgspec.Struct, frozen=True, eq=False):
    layout: _Layout
    manager: pywrapcp.RoutingIndexManager
    routing: pywrapcp.RoutingModel
    time: pywrapcp.RoutingDimension


def route_pairs(problem: Problem, tours: Sequence[Tour], visits: Sequence[int], effort: Effort) -> tuple[list[Tour], int]:
    """Route `visits` with the tours' pairs, warm-started from the tours; return the better of what came out and what went in, and how many
    solutions the solver found on its way.

    Deposits of the result are chosen anew by `plan_deposits`. The pairs stay as they are.
    """
    kept = list(tours)
    if not visits or not tours or effort.solutions_max == 0:
        return kept, 0
    model = _build(problem, _layout(problem, tours, visits))
    solution = _search(model, kept, effort)
    found = model.routing.solver().Solutions()
    if solution is None:
        return kept, found
    routed = _read_tours(problem, model, solution)
    return (routed if _worth(problem, routed, visits) < _worth(problem, kept, visits) else kept), found


def final_times(problem: Problem, tour: Tour) -> Timing | None:
    """Let the routing model time one finished tour: the same stops in the same order, each as early as its windows allow.

    None when the model refuses the sequence; it then disagrees with the schedule and the tour must not be published.
    """
    nodes = tour.timing.nodes
    if not nodes:
        return tour.timing
    size = len(nodes)
    manager = pywrapcp.RoutingIndexManager(size + 2, 1, [size], [size + 1])
    routing = pywrapcp.RoutingModel(manager)
    transit = np.zeros((size + 2, size + 2), dtype=np.int64)
    transit[:size, :size] = problem.travel_s[np.ix_(nodes, nodes)] + problem.service_s[list(nodes)][:, None]
    transit[size, :size] = tour.pair.out_s[list(nodes)]
    transit[:size, size + 1] = tour.pair.back_s[list(nodes)] + problem.service_s[list(nodes)]
    if not problem.is_plain:
        _pace(problem, tour, transit)
    evaluator = routing.RegisterTransitMatrix(transit.tolist())
    routing.SetArcCostEvaluatorOfAllVehicles(evaluator)
    shift_lo, shift_hi = tour.pair.shift
    routing.AddDimension(evaluator, max(0, shift_hi - shift_lo), shift_hi, False, "time")  # noqa: FBT003
    time = routing.GetDimensionOrDie("time")
    time.CumulVar(routing.Start(0)).SetRange(shift_lo if problem.is_plain else tour.timing.departure, shift_hi)
    for index, node in enumerate(nodes):
        if not _bound(time.CumulVar(manager.NodeToIndex(index)), _windows(problem, node, 0), shift_hi):
            return None
        routing.AddVariableMinimizedByFinalizer(time.CumulVar(manager.NodeToIndex(index)))
    routing.AddVariableMinimizedByFinalizer(time.CumulVar(routing.End(0)))
    routing.AddVariableMaximizedByFinalizer(time.CumulVar(routing.Start(0)))
    routing.CloseModelWithParameters(lean_parameters(1.0, is_descent=True))
    assignment = routing.ReadAssignmentFromRoutes([[manager.NodeToIndex(index) for index in range(size)]], True)  # noqa: FBT003
    if assignment is None:
        return None
    starts = tuple(assignment.Min(time.CumulVar(manager.NodeToIndex(index))) for index in range(size))
    back = assignment.Min(time.CumulVar(routing.End(0)))
    if not problem.is_plain:
        return tour.timing if (starts, back) == (tour.timing.starts, tour.timing.return_at) else None
    return Timing(nodes, starts, starts[0] - int(tour.pair.out_s[nodes[0]]), back, tour.timing.travel_s, tour.timing.service_s)


def _pace(problem: Problem, tour: Tour, transit: np.ndarray) -> None:
    """Write the ways as they are at the hours of this tour, with its pauses on them: from the end of a service to when the next may begin."""
    timing, size = tour.timing, len(tour.timing.nodes)
    clock, origin = timing.departure, size
    for index, node in enumerate(timing.nodes):
        own = [one for one in timing.pauses if one.at == index]
        leg = int(tour.pair.out_s[node] if not index else problem.travel_s[timing.nodes[index - 1], node])
        left = clock - int(problem.service_s[timing.nodes[index - 1]]) if index else clock
        ready = max([problem.speeds.reach(_rested(timing, index - 1, clock), leg), *(one.end for one in own if not one.is_after)])
        transit[origin, index] = ready - left
        clock, origin = timing.starts[index] + int(problem.service_s[node]), index
    transit[size - 1, size + 1] = timing.return_at - timing.starts[-1]


def _rested(timing: Timing, at: int, clock: int) -> int:
    """Return when the pair leaves a stop: after its service, or after the pause behind it."""
    return max([clock, *(one.end for one in timing.pauses if one.at == at and one.is_after)])


def _layout(problem: Problem, tours: Sequence[Tour], visits: Sequence[int]) -> _Layout:
    deliveries: list[tuple[int, int]] = []
    chosen = _banks_used(problem, tours)
    for node in visits:
        if not problem.cash_fen[node] or not problem.banks:
            continue
        own = offices_for(problem, int(problem.purse[node]))
        near = own[np.argsort(problem.travel_s[node, own], kind="stable")[:BANKS_OFFERED]].tolist()
        if node in chosen and chosen[node] not in near:
            near = [chosen[node], *near[: BANKS_OFFERED - 1]]
        deliveries += [(node, bank) for bank in near]
    return _Layout(tuple(visits), tuple(deliveries), tuple(tours))


def _banks_used(problem: Problem, tours: Sequence[Tour]) -> dict[int, int]:
    used: dict[int, int] = {}
    for tour in tours:
        bank = -1
        for node in reversed(tour.timing.nodes):
            bank = node if node >= problem.n else bank
            if node < problem.n and problem.cash_fen[node] and bank >= 0:
                used[node] = bank
    return used


def _build(problem: Problem, layout: _Layout) -> _Model:
    vehicles = len(layout.tours)
    starts = list(range(layout.starts, layout.starts + vehicles))
    ends = list(range(layout.starts + vehicles, layout.rows))
    manager = pywrapcp.RoutingIndexManager(layout.rows, vehicles, starts, ends)
    routing = pywrapcp.RoutingModel(manager)
    travel, durations = _matrices(problem, layout)
    routing.SetArcCostEvaluatorOfAllVehicles(routing.RegisterTransitMatrix((travel * problem.travel_weight).tolist()))
    latest = max(tour.pair.shift[1] for tour in layout.tours)
    routing.AddDimension(routing.RegisterTransitMatrix(durations.tolist()), latest, latest, False, "time")  # noqa: FBT003
    time = routing.GetDimensionOrDie("time")
    for vehicle, tour in enumerate(layout.tours):
        time.CumulVar(routing.Start(vehicle)).SetRange(tour.pair.shift[0], tour.pair.shift[0])
        time.CumulVar(routing.End(vehicle)).SetRange(tour.pair.shift[0], max(tour.pair.shift))
        _add_pauses(problem, routing, vehicle, (tour, time))
    model = _Model(layout, manager, routing, time)
    _add_visits(problem, model, latest)
    if layout.deliveries:
        _add_cash(problem, model, latest)
    return model


def _add_pauses(problem: Problem, routing: pywrapcp.RoutingModel, vehicle: int, of: tuple[Tour, pywrapcp.RoutingDimension]) -> None:
    """Give a pair its pauses, anywhere on its way; a pair may rest before it leaves and after it is back."""
    tour, time = of
    rests = problem.pauses_of(*tour.collectors)
    if rests:
        solver = routing.solver()
        spans = [solver.FixedDurationIntervalVar(lo, hi, lasts, False, f"pause {vehicle}.{n}") for n, (lo, hi, lasts) in enumerate(rests)]  # noqa: FBT003
        time.SetBreakIntervalsOfVehicle(spans, vehicle, [0] * routing.Size())


def _by_the_hour(problem: Problem, layout: _Layout, travel: np.ndarray) -> np.ndarray:
    """Write each way as it is at the hour when the given tours leave its origin; for what no tour makes yet, in the middle of its windows."""
    leaves = np.zeros(layout.rows, dtype=np.int64)
    at = {node: start for tour in layout.tours for node, start in zip(tour.timing.nodes, tour.timing.starts, strict=True)}
    for row, node in enumerate([*layout.visits, *(bank for _, bank in layout.deliveries)]):
        spans = _windows(problem, node, 0)
        leaves[row] = at.get(node, (spans[0][0] + spans[-1][1]) // 2 if spans else 0) + int(problem.service_s[node])
    for vehicle, tour in enumerate(layout.tours):
        leaves[layout.starts + vehicle] = tour.timing.departure if tour.timing.nodes else tour.pair.shift[0]
    return np.asarray(problem.speeds.reach_all(leaves[:, None], travel) - leaves[:, None])


def _matrices(problem: Problem, layout: _Layout) -> tuple[np.ndarray, np.ndarray]:
    """Return travel and duration between rows. The bank's service lies on the arc into it, once for deliveries made in one stop."""
    nodes = np.array([*layout.visits, *(bank for _, bank in layout.deliveries)], dtype=np.intp)
    size, vehicles = len(nodes), len(layout.tours)
    travel = np.zeros((layout.rows, layout.rows), dtype=np.int64)
    travel[:size, :size] = problem.travel_s[np.ix_(nodes, nodes)]
    for vehicle, tour in enumerate(layout.tours):
        travel[size + vehicle, :size] = tour.pair.out_s[nodes]
        travel[:size, size + vehicles + vehicle] = tour.pair.back_s[nodes]
    if not problem.speeds.is_constant:
        travel = _by_the_hour(problem, layout, travel)
    durations = travel.copy()
    count = len(layout.visits)
    durations[:count] += problem.service_s[nodes[:count]][:, None]
    setup = np.zeros((layout.rows, layout.rows), dtype=np.int64)
    setup[:, count:size] = problem.service_s[nodes[count:]][None, :]
    same = nodes[count:, None] == nodes[None, count:]
    setup[count:size, count:size][same] = 0
    return travel, durations + setup


def _add_visits(problem: Problem, model: _Model, latest: int) -> None:
    layout, routing = model.layout, model.routing
    serves = np.vstack([problem.pair_serves(*tour.collectors) for tour in layout.tours])
    for row, node in enumerate(layout.visits):
        index = model.manager.NodeToIndex(row)
        routing.AddDisjunction([index], int(problem.loss[node]))
        vehicles = np.flatnonzero(serves[:, node]).tolist()
        if problem.cash_fen[node] and (not problem.banks or problem.cash_fen[node] > problem.carry_fen[node]):
            vehicles = []
        if not _bound(model.time.CumulVar(index), _windows(problem, node, 0), latest):
            vehicles = []
        routing.VehicleVar(index).SetValues([-1, *vehicles])
    row_of = {node: row for row, node in enumerate(layout.visits)}
    for node in layout.visits:
        ring = [one for one in (node, *problem.rivals_of(node)) if one in row_of]
        if len(ring) > 1 and node == min(ring):
            routing.solver().Add(sum(routing.ActiveVar(model.manager.NodeToIndex(row_of[one])) for one in ring) <= 1)


def _add_cash(problem: Problem, model: _Model, latest: int) -> None:
    layout, routing = model.layout, model.routing
    load = [int(problem.cash_fen[node]) for node in layout.visits] + [-int(problem.cash_fen[node]) for node, _ in layout.deliveries]
    load += [0] * (2 * len(layout.tours))
    routing.AddDimension(routing.RegisterUnaryTransitVector(load), 0, problem.carry_limit_fen, True, "cash")  # noqa: FBT003
    count = len(layout.visits)
    if problem.is_tied:
        _keep_purses_apart(problem, model)
    row_of = {node: row for row, node in enumerate(layout.visits)}
    options: dict[int, list[int]] = {}
    for offset, (node, bank) in enumerate(layout.deliveries):
        index = model.manager.NodeToIndex(count + offset)
        spans = _windows(problem, bank, int(problem.service_s[bank]))
        if _bound(model.time.CumulVar(index), spans, latest):
            options.setdefault(node, []).append(index)
        else:
            routing.VehicleVar(index).SetValues([-1])
            routing.AddDisjunction([index], 0)
    for node in dict.fromkeys(node for node, _ in layout.deliveries):
        pickup = model.manager.NodeToIndex(row_of[node])
        if node not in options:
            routing.VehicleVar(pickup).SetValues([-1])
            continue
        delivery = routing.AddDisjunction(options[node], 0)
        routing.AddPickupAndDeliverySets(routing.GetDisjunctionIndices(pickup)[0], delivery)
        performed = sum((routing.ActiveVar(index) for index in options[node][1:]), routing.ActiveVar(options[node][0]))
        routing.solver().Add(performed == routing.ActiveVar(pickup))
        for index in options[node]:
            routing.solver().Add(routing.ActiveVar(index) * (routing.VehicleVar(pickup) - routing.VehicleVar(index)) == 0)
            routing.solver().Add(routing.ActiveVar(index) * (model.time.CumulVar(pickup) - model.time.CumulVar(index)) <= 0)


def _keep_purses_apart(problem: Problem, model: _Model) -> None:
    """Carry one bank's money at a time, up to its own limit: where one bank's cash is taken, nothing of another's is in hand."""
    layout, routing = model.layout, model.routing
    pickups = [node if problem.cash_fen[node] else -1 for node in layout.visits]
    takings = [*pickups, *(node for node, _ in layout.deliveries)]
    for purse in sorted({int(problem.purse[node]) for node in pickups if node >= 0}):
        load = [int(problem.cash_fen[node]) if node >= 0 and problem.purse[node] == purse else 0 for node in takings]
        load = [fen if row < len(pickups) else -fen for row, fen in enumerate(load)] + [0] * (2 * len(layout.tours))
        limit = max(int(problem.carry_fen[node]) for node in pickups if node >= 0 and problem.purse[node] == purse)
        name = f"cash {purse}"
        routing.AddDimension(routing.RegisterUnaryTransitVector(load), 0, limit, True, name)  # noqa: FBT003
        held = routing.GetDimensionOrDie(name)
        for row, node in enumerate(pickups):
            if node >= 0 and problem.purse[node] != purse:
                held.CumulVar(model.manager.NodeToIndex(row)).SetMax(0)


def _windows(problem: Problem, node: int, shift_s: int) -> list[tuple[int, int]]:
    spans = zip(problem.window_lo[node].tolist(), problem.window_hi[node].tolist(), strict=True)
    return [(lo + shift_s, hi + shift_s) for lo, hi in spans if hi >= 0]


def _bound(cumul: object, spans: list[tuple[int, int]], latest: int) -> bool:
    """Restrict a time variable to the spans; report whether any of them lies within the day."""
    open_spans = [(lo, min(hi, latest)) for lo, hi in sorted(spans) if lo <= latest]
    if not open_spans:
        return False
    cumul.SetRange(open_spans[0][0], max(hi for _, hi in open_spans))  # type: ignore[attr-defined]
    covered = open_spans[0][1]
    for lo, hi in open_spans[1:]:
        if lo > covered + 1:
            cumul.RemoveInterval(covered + 1, lo - 1)  # type: ignore[attr-defined]
        covered = max(covered, hi)
    return True


def lean_parameters(search_s: float, *, is_descent: bool = False) -> Any:
    """Return search parameters: the lean operator set, guided local search for `search_s` or one descent."""
    parameters = pywrapcp.DefaultRoutingSearchParameters()
    parameters.first_solution_strategy = routing_enums_pb2.FirstSolutionStrategy.LOCAL_CHEAPEST_COST_INSERTION
    parameters.local_search_metaheuristic = routing_enums_pb2.LocalSearchMetaheuristic.GUIDED_LOCAL_SEARCH
    if is_descent:
        parameters.local_search_metaheuristic = routing_enums_pb2.LocalSearchMetaheuristic.GREEDY_DESCENT
    for operator in LEAN_OFF:
        if hasattr(parameters.local_search_operators, operator):
            setattr(parameters.local_search_operators, operator, 2)
    parameters.time_limit.FromMilliseconds(max(10, int(search_s * 1000)))
    # The library's tenth of a second cuts the timing of a route with breaks short, now here and now there: no such search repeats.
    parameters.lns_time_limit.FromSeconds(FINALIZER_S_MAX)
    return parameters


def _search(model: _Model, tours: Sequence[Tour], effort: Effort) -> object | None:
    """Close the model first: parameters given after a start is read would be ignored."""
    parameters = lean_parameters(effort.search_s, is_descent=effort.is_descent)
    if effort.solutions_max is not None:
        parameters.solution_limit = effort.solutions_max
    if effort.asks_max is not None:
        model.routing.AddSearchMonitor(model.routing.solver().CustomLimit(_times(effort.asks_max)))
    if effort.cancelled is not None:
        model.routing.AddSearchMonitor(model.routing.solver().CustomLimit(_every(CANCEL_ASKED_EVERY, effort.cancelled)))
    model.routing.CloseModelWithParameters(parameters)
    start = model.routing.ReadAssignmentFromRoutes(_warm_routes(model, tours), True)  # noqa: FBT003
    if start is None or not any(tour.timing.nodes for tour in tours):
        return model.routing.SolveWithParameters(parameters)  # type: ignore[no-any-return]
    return model.routing.SolveFromAssignmentWithParameters(start, parameters)  # type: ignore[no-any-return]


def _every(calls: int, asked: Callable[[], bool]) -> Callable[[], bool]:
    """Ask only once in so many calls: the solver asks its limits about half a million times a second."""
    count = 0

    def limit() -> bool:
        nonlocal count
        count += 1
        return count % calls == 0 and asked()

    return limit


def _times(asks_max: int) -> Callable[[], bool]:
    """Stop after so many askings, whatever the clock says."""
    count = 0

    def limit() -> bool:
        nonlocal count
        count += 1
        return count > asks_max

    return limit


def _warm_routes(model: _Model, tours: Sequence[Tour]) -> list[list[int]]:
    layout = model.layout
    row_of = {node: row for row, node in enumerate(layout.visits)}
    delivery_row = {delivery: len(layout.visits) + offset for offset, delivery in enumerate(layout.deliveries)}
    routes: list[list[int]] = []
    for tour in tours:
        rows: list[int] = []
        carried: list[int] = []
        for node in tour.timing.nodes:
            if node in row_of:
                rows.append(row_of[node])
                carried += [node] if any(one == node for one, _ in layout.deliveries) else []
            else:
                rows += [delivery_row[one, node] for one in carried if (one, node) in delivery_row]
                carried = []
        routes.append([model.manager.NodeToIndex(row) for row in rows])
    return routes


def _read_tours(problem: Problem, model: _Model, solution: object) -> list[Tour]:
    """Read the order of visits and choose deposits anew; a tour that then has no schedule is emptied (its visits count as lost).

    By the hour, and with pauses, the model is only near the truth: then visits that come too late are left out, one by one.
    """
    tours: list[Tour] = []
    for vehicle, tour in enumerate(model.layout.tours):
        index, order = model.routing.Start(vehicle), []
        while not model.routing.IsEnd(index):
            row = model.manager.IndexToNode(index)
            if row < len(model.layout.visits):
                order.append(model.layout.visits[row])
            index = solution.Value(model.routing.NextVar(index))  # type: ignore[attr-defined]
        timing = plan_deposits(problem, tour.pair, tuple(order)) or (None if problem.is_plain else _follow(problem, tour, order))
        tours.append(Tour(tour.pair, timing or Timing((), (), tour.pair.shift[0], tour.pair.shift[0], 0, 0)))
    return tours


def _follow(problem: Problem, tour: Tour, order: list[int]) -> Timing | None:
    timing: Timing | None = None
    for node in order:
        kept = [one for one in timing.nodes if one < problem.n] if timing is not None else []
        timing = plan_deposits(problem, tour.pair, (*kept, node)) or timing
    return timing


def _worth(problem: Problem, tours: Sequence[Tour], visits: Sequence[int]) -> int:
    served = {node for tour in tours for node in visits_of(problem, tour)}
    lost = sum(int(problem.loss[node]) for node in visits if node not in served)
    return lost + problem.travel_weight * sum(tour.timing.travel_s for tour in tours)
