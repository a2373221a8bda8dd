"""Lay out a plan that people drew: who goes where in which order. Times and deposits are computed; `check` then judges it like any other."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np

from routing.assemble import assemble_plan
from routing.matrix import TravelMatrix, travel_matrix
from routing.model import BankId, CollectorId, Instance, Plan, Route, Stop, StopType, VisitId
from routing.objective import Tour
from routing.problem import Problem, build_problem
from routing.schedule import plan_deposits
from routing.timing import make_pair


class Draft(msgspec.Struct, frozen=True):
    """One pair's day: its collectors and its visits in order."""

    collectors: tuple[CollectorId, ...]
    visits: tuple[VisitId, ...]


def lay_out(instance: Instance, drafts: Sequence[Draft], matrix: TravelMatrix | None = None) -> Plan:
    """Return the plan of these drafts, with deposits where they cost least and every stop's times; a draft without visits is left out.

    A route that cannot be made in time keeps its order, without times and with one deposit behind its last visit with cash, so that `check`
    names what is wrong with it. The plan says nothing about visits left out.
    """
    problem = build_problem(instance, matrix or travel_matrix(instance))
    crew = {str(one.id): index for index, one in enumerate(instance.collectors)}
    tours: list[Tour] = []
    impossible: list[Route] = []
    for draft in drafts:
        if not draft.visits:
            continue
        tour = _tour(problem, crew, draft)
        if tour is None:
            impossible.append(_untimed(instance, problem, draft))
        else:
            tours.append(tour)
    plan = assemble_plan(instance, problem, tours, None, None)
    return msgspec.structs.replace(plan, routes=(*plan.routes, *impossible))


def _tour(problem: Problem, crew: dict[str, int], draft: Draft) -> Tour | None:
    node_of = {visit.id: node for node, visit in enumerate(problem.visits)}
    if len(set(draft.collectors)) != 2 or not set(draft.collectors) <= set(crew) or not set(draft.visits) <= set(node_of):
        return None
    pair = make_pair(problem, *(crew[one] for one in draft.collectors))
    timing = plan_deposits(problem, pair, tuple(node_of[one] for one in draft.visits))
    return None if timing is None else Tour(pair, timing)


def _untimed(instance: Instance, problem: Problem, draft: Draft) -> Route:
    stops = [Stop(type=StopType.VISIT, id=one) for one in draft.visits]
    with_cash = {visit.id for visit in instance.visits if visit.cash_fen}
    last = max((place for place, one in enumerate(draft.visits) if one in with_cash), default=None)
    node_of = {visit.id: node for node, visit in enumerate(problem.visits)}
    if last is not None and instance.banks and draft.visits[last] in node_of:
        nearest = int(problem.office_hops(np.array([node_of[draft.visits[last]]])).argmin())
        stops.insert(last + 1, Stop(type=StopType.DEPOSIT, bank=BankId(instance.banks[nearest].id)))
    return Route(collectors=draft.collectors, stops=tuple(stops))
