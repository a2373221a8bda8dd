"""VRPTW by OR-Tools alone: what `vrptw` runs where the compiled search is not installed or not compiled."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ortools.constraint_solver import pywrapcp, routing_enums_pb2

from routing.engines.ortools import lean_parameters
from routing.model import InstanceError

if TYPE_CHECKING:
    from routing.vrptw import Vrptw


def route_vrptw(problem: Vrptw, search_s: float, iterations_max: int | None) -> list[list[int]]:
    """Return routes of customers 1 … n; with `iterations_max` one repeatable descent.

    Raises:
        InstanceError: no plan for all customers was found.
    """
    size = len(problem.demand)
    manager = pywrapcp.RoutingIndexManager(size, problem.vehicles, 0)
    routing = pywrapcp.RoutingModel(manager)
    routing.SetArcCostEvaluatorOfAllVehicles(routing.RegisterTransitMatrix(problem.distance.tolist()))
    durations = problem.distance + problem.service[:, None]
    latest = int(problem.windows[:, 1].max())
    routing.AddDimension(routing.RegisterTransitMatrix(durations.tolist()), latest, latest, False, "time")  # noqa: FBT003
    routing.AddDimension(routing.RegisterUnaryTransitVector(problem.demand.tolist()), 0, problem.capacity, True, "load")  # noqa: FBT003
    time = routing.GetDimensionOrDie("time")
    for customer in range(1, size):
        opens, closes = (int(one) for one in problem.windows[customer])
        time.CumulVar(manager.NodeToIndex(customer)).SetRange(opens, closes)
    for vehicle in range(problem.vehicles):
        time.CumulVar(routing.Start(vehicle)).SetRange(int(problem.windows[0, 0]), int(problem.windows[0, 1]))
        time.CumulVar(routing.End(vehicle)).SetRange(int(problem.windows[0, 0]), int(problem.windows[0, 1]))
    parameters = lean_parameters(search_s, is_descent=iterations_max is not None)
    parameters.first_solution_strategy = routing_enums_pb2.FirstSolutionStrategy.PARALLEL_CHEAPEST_INSERTION
    solution = routing.SolveWithParameters(parameters)
    if solution is None:
        raise InstanceError(f"VEHICLES: no plan for all {size - 1} customers was found within the time")
    routes: list[list[int]] = []
    for vehicle in range(problem.vehicles):
        index, route = solution.Value(routing.NextVar(routing.Start(vehicle))), []
        while not routing.IsEnd(index):
            route.append(manager.IndexToNode(index))
            index = solution.Value(routing.NextVar(index))
        routes += [route] if route else []
    return routes
