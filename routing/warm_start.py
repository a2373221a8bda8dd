"""What of an earlier plan still holds today: its pairs and routes, less what cannot be made any more."""

from __future__ import annotations

from routing.model import Instance, Plan, StopType
from routing.objective import Tour
from routing.problem import Problem
from routing.schedule import plan_deposits
from routing.timing import make_pair


def start_tours(problem: Problem, instance: Instance, plan: Plan) -> list[Tour]:
    """Read an earlier plan for a (changed) day: every legal pair with, in order, the visits that it may still make in time.

    Pairs at work are always there, if only with their anchor. Visits that no longer fit are left to the search.
    """
    position = {str(one.id): index for index, one in enumerate(instance.collectors)}
    nodes_of, used, made = problem.nodes_of(), set[int](), set[int]()
    tours: list[Tour] = []
    routes = sorted(plan.routes, key=lambda route: _is_parted(instance, tuple(map(str, route.collectors))))
    orders = {
        tuple(sorted(map(str, route.collectors))): [str(stop.id) for stop in route.stops if stop.type is StopType.VISIT]
        for route in reversed(routes)
    }
    at_work = [tuple(sorted(str(one) for one in known.collectors)) for known in instance.progress if known.together]
    for names in dict.fromkeys([*at_work, *orders]):
        if len(names) != 2 or any(name not in position for name in names):
            continue
        a, b = sorted(position[name] for name in names)
        if not problem.pair_legal[a, b] or {a, b} & used or (names not in at_work and len(tours) >= problem.pairs_max):
            continue
        tour = _follow(problem, (a, b), [nodes_of.get(name, []) for name in orders.get(names, [])], made)
        if tour.timing.nodes:
            tours.append(tour)
            used |= {a, b}
            made |= set(tour.timing.nodes)
    return tours


def _is_parted(instance: Instance, collectors: tuple[str, ...]) -> bool:
    return any(not one.together and set(one.collectors) == set(collectors) for one in instance.progress)


def _follow(problem: Problem, members: tuple[int, int], order: list[list[int]], made: set[int]) -> Tour:
    """Add one visit after the other where the pair still makes it in time, at the announced time rather than at another."""
    pair = make_pair(problem, *members)
    anchor = int(problem.anchor_of[members[0]])
    kept: tuple[int, ...] = (anchor,) if anchor >= 0 else ()
    timing = plan_deposits(problem, pair, kept)
    assert timing is not None, "a pair at work can always go home"
    serves = problem.pair_serves(*members)
    for options in order:
        for node in options:
            if not serves[node] or not made.isdisjoint([node, *problem.rivals_of(node)]) or not set(kept).isdisjoint(problem.rivals_of(node)):
                continue
            grown = plan_deposits(problem, pair, (*kept, node))
            if grown is not None:
                kept, timing = (*kept, node), grown
                break
    return Tour(pair, timing)
