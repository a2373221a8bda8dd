"""Turn tours back into a plan in the words of `fieldday-plan/1`."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from routing.model import (
    PLAN_SCHEMA,
    BankId,
    CollectorId,
    Instance,
    LocationId,
    PairProgress,
    Plan,
    Route,
    SolverRecord,
    Stop,
    StopType,
    Unserved,
    VisitId,
)
from routing.objective import Tour
from routing.problem import Problem
from routing.timing import Pause


def assemble_plan(
    instance: Instance, problem: Problem, tours: Sequence[Tour], unserved: Sequence[Unserved] | None, record: SolverRecord | None
) -> Plan:
    """Return the plan of all tours with stops, every stop with its times; routes in the order of their first collector."""
    routes = [_route(instance, problem, tour) for tour in sorted(tours, key=lambda one: one.collectors) if tour.timing.nodes]
    routes = [_locked_route(one) for one in instance.progress if not one.together] + routes
    return Plan(
        schema=PLAN_SCHEMA, instance=instance.name, routes=tuple(routes), unserved=None if unserved is None else tuple(unserved), solver=record
    )


def encode_plan(plan: Plan) -> bytes:
    """Return the plan as JSON with one route per line group: the same plan gives the same bytes."""
    return msgspec.json.format(msgspec.json.encode(plan, order="deterministic"), indent=1) + b"\n"


def _route(instance: Instance, problem: Problem, tour: Tour) -> Route:
    timing = tour.timing
    clock, here, departure = timing.departure, -1, timing.departure
    stops: list[Stop] = []
    if timing.nodes[0] in problem.anchors:
        anchor = problem.running.anchors[timing.nodes[0] - problem.anchors[0]]
        at_work = _locked_route(instance.progress[anchor.progress])
        stops, departure = list(at_work.stops), at_work.departure or 0
    for index, (node, start) in enumerate(zip(timing.nodes, timing.starts, strict=True)):
        arrival = problem.speeds.reach(clock, int(tour.pair.out_s[node] if here < 0 else problem.travel_s[here, node]))
        end = start + int(problem.service_s[node])
        own = [one for one in timing.pauses if one.at == index]
        for pause in own:
            if not pause.is_after:
                stops.append(_pause(instance, problem, node, arrival, pause))
                arrival = pause.end
        if node in problem.anchors:
            pass
        elif node < problem.n:
            stops.append(Stop(type=StopType.VISIT, id=VisitId(problem.visits[node].id), arrival=arrival, start=start, end=end))
        else:
            bank = BankId(instance.banks[node - problem.n].id)
            stops.append(Stop(type=StopType.DEPOSIT, bank=bank, arrival=arrival, start=start, end=end))
        clock, here = end, node
        for pause in own:
            if pause.is_after:
                stops.append(_pause(instance, problem, node, clock, pause))
                clock = pause.end
    collectors = tuple(CollectorId(instance.collectors[one].id) for one in tour.collectors)
    return Route(collectors=collectors, stops=tuple(stops), departure=departure, return_at=timing.return_at)


def _pause(instance: Instance, problem: Problem, node: int, arrival: int, pause: Pause) -> Stop:
    place = LocationId(problem.visits[node].location) if node < problem.n else instance.banks[node - problem.n].location
    return Stop(type=StopType.PAUSE, place=place, arrival=arrival, start=pause.start, end=pause.end)


def _locked_route(one: PairProgress) -> Route:
    """Return the stops of a pair that stay as they are."""
    stops = (
        Stop(type=stop.type, id=stop.id, bank=stop.bank, place=stop.place, arrival=stop.arrival, start=stop.start, end=stop.end) for stop in one.stops
    )
    return Route(collectors=tuple(sorted(one.collectors)), stops=tuple(stops), departure=one.departure)
