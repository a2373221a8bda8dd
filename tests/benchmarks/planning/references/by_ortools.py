"""Plain OR-Tools on fixed pairs, and on VRPTW: the same routing model as ours, all operators, guided local search, no start, no parts.

Both ways to a first solution that suit the model are tried, each with the whole budget; the cheaper plan counts.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ortools.constraint_solver import pywrapcp, routing_enums_pb2

from routing.engines import ortools, ortools_vrptw
from routing.objective import empty_tour, total_cost
from routing.vrptw import read_vrptw
from tests.benchmarks.planning.references.day import Clock, Day, Routed, never_served, servable, tours_of

FIRST = {
    "local cheapest cost insertion": routing_enums_pb2.FirstSolutionStrategy.LOCAL_CHEAPEST_COST_INSERTION,
    "parallel cheapest insertion": routing_enums_pb2.FirstSolutionStrategy.PARALLEL_CHEAPEST_INSERTION,
}
PARALLEL_FROM = 420


def route_day(day: Day, seconds: float, seed: int) -> Routed:
    """Route the day's pairs from nothing, up to 420 visits by one first solution as the other never was better there. No seed."""
    visits = servable(day)
    names = list(FIRST) if len(visits) > PARALLEL_FROM else list(FIRST)[:1]
    tried: dict[str, tuple[int, list[list[int]], list[tuple[float, int]]]] = {}
    for name in names:
        tours = [empty_tour(day.problem, pair.a, pair.b) for pair in day.pairs]
        clock, curve = Clock(), list[tuple[float, int]]()
        model = ortools._build(day.problem, ortools._layout(day.problem, tours, visits))
        model.routing.AddAtSolutionCallback(_watch(model.routing, clock, curve, never_served(day)))
        solution = model.routing.SolveWithParameters(_parameters(FIRST[name], max(0.5, seconds - clock())))
        routed = tours if solution is None else ortools._read_tours(day.problem, model, solution)
        orders = [list(tour.timing.nodes) for tour in routed]
        tried[name] = (total_cost(day.problem, tours_of(day, orders)[0]), orders, curve)
    best = min(tried, key=lambda name: tried[name][0])
    return Routed(tried[best][1], tried[best][2], note=f"{best}" if tried[best][2] else "no first solution within the time")


def route_vrptw(path: Path, seconds: float) -> list[list[int]]:
    """Solve a published instance by parallel insertion and guided local search with all operators."""
    kept = ortools_vrptw.lean_parameters
    ortools_vrptw.lean_parameters = lambda search_s, is_descent=False: _parameters(FIRST["parallel cheapest insertion"], search_s)
    try:
        return ortools_vrptw.route_vrptw(read_vrptw(path.read_text(encoding="utf-8")), seconds, None)
    finally:
        ortools_vrptw.lean_parameters = kept


def _parameters(first: Any, seconds: float) -> Any:
    parameters = pywrapcp.DefaultRoutingSearchParameters()
    parameters.first_solution_strategy = first
    parameters.local_search_metaheuristic = routing_enums_pb2.LocalSearchMetaheuristic.GUIDED_LOCAL_SEARCH
    parameters.time_limit.FromMilliseconds(int(seconds * 1000))
    return parameters


def _watch(routing: Any, clock: Clock, curve: list[tuple[float, int]], besides: int) -> Any:
    def seen() -> None:
        cost = int(routing.CostVar().Value()) + besides
        if not curve or cost < curve[-1][1]:
            curve.append((round(clock(), 3), cost))

    return seen
