"""Who goes with whom to which route, all at once: a min-cost flow by OR-Tools between two rounds of a search in areas.

Routes and one member of each pair are held, and the other members are assigned anew at the least sum of ways out and home; then the sides
change. The moves of the search exchange partners between two routes, so that on a day of hundreds of pairs a ring of exchanges is out of reach.
"""

from __future__ import annotations

from types import ModuleType

import numpy as np
from ortools.graph.python import min_cost_flow

from routing.engines.layout import smallest
from routing.engines.state import DUE, HI, LEAVE, LEN, LO, NODE, A, B, State
from routing.problem import I64

NEAREST, OTHERS = 30, 10
NO_WAY = 1 << 40


def exchange_partners(whole: State, code: ModuleType, loss_max: float, rng: np.random.Generator) -> bool:
    """Assign the second members anew, then the first; keep what lowers the cost, and say whether anything did.

    No pair loses more than `loss_max` seconds of its matching weight. The stock of `whole` is the caller's to take.
    """
    is_better = False
    for held, moved in ((A, B), (B, A)):
        price = _prices(whole, held, moved, loss_max)
        chosen = _assigned(price, whole.rs[:, moved], rng)
        is_better = (chosen is not None and _take(whole, code, moved, chosen)) or is_better
    return is_better


def _prices(whole: State, held: int, moved: int, loss_max: float) -> I64:
    """Return, per route and person, the ways out and home together, or NO_WAY.

    Nobody is let in who would come too late by the times as they stand; a present member always may stay.
    """
    one, rs, rt, crew = whole.arrays, whole.rs, whole.rt, whole.arrays.crew
    rows, mate, now, size = np.arange(len(rs)), rs[:, held], rs[:, moved], rs[:, LEN]
    is_out, end = size > 0, np.maximum(0, size - 1)
    first, last = np.where(is_out, rt[:, 0, NODE], 0), np.where(is_out, rt[rows, end, NODE], 0)
    out = np.maximum(one.way_out[mate, first][:, None], one.way_out[:, first].T)
    back = np.maximum(one.way_back[mate, last][:, None], one.way_back[:, last].T)
    arrival = np.maximum(crew[mate, 0][:, None], crew[:, 0]) + out
    late = np.maximum(0, arrival - arrival[rows, now][:, None])
    home = rt[rows, end, LEAVE][:, None] + late + back
    fits = (arrival <= rt[:, 0, DUE][:, None]) & (home <= np.minimum(crew[mate, 1][:, None], crew[:, 1]))
    able = (one.weight[mate] > 0) & (one.weight[mate] >= (one.weight[mate, now] - loss_max)[:, None])
    able &= ~is_out[:, None] | (fits & _qualified(whole, mate))
    able[:, mate] = False
    able[rows, now] = True
    return np.where(able, np.where(is_out[:, None], out + back, 0), NO_WAY).astype(np.int64)


def _qualified(whole: State, mate: I64) -> I64:
    """Report, per route and person, whether that person and the member held may make every visit of the route."""
    one, rs, rt = whole.arrays, whole.rs, whole.rt
    wanted = np.zeros((len(rs), one.needs.shape[1]), dtype=np.int64)
    is_barred = np.zeros((len(rs), len(one.crew)), dtype=np.bool_)
    for row in np.flatnonzero(rs[:, LEN]).tolist():
        nodes = rt[row, : rs[row, LEN], NODE]
        visits = nodes[nodes < whole.n]
        wanted[row] = np.bitwise_or.reduce(one.needs[visits], axis=0)
        is_barred[row] = one.excluded[visits].any(axis=0)
    skills = one.crew[:, 2:]
    have = skills[mate][:, None, :] | skills
    return np.asarray(~is_barred & ((wanted[:, None, :] & have) == wanted[:, None, :]).all(axis=2))


def _assigned(price: I64, now: I64, rng: np.random.Generator) -> I64 | None:
    """Return one person for each route at the least sum, each person at most once; None when the flow finds none."""
    routes, crew = price.shape
    rows, people = _arcs(price, now, rng)
    sink, everybody = routes + crew, np.arange(crew)
    flow = min_cost_flow.SimpleMinCostFlow()
    tails = np.concatenate([rows, routes + everybody]).astype(np.int32)
    heads = np.concatenate([routes + people, np.full(crew, sink)]).astype(np.int32)
    costs = np.concatenate([price[rows, people], np.zeros(crew, dtype=np.int64)])
    arcs = flow.add_arcs_with_capacity_and_unit_cost(tails, heads, np.ones(len(tails), dtype=np.int64), costs)
    flow.set_nodes_supplies(np.arange(routes, dtype=np.int32), np.ones(routes, dtype=np.int64))
    flow.set_node_supply(sink, -routes)
    if flow.solve() != flow.OPTIMAL:
        return None
    taken = np.flatnonzero(flow.flows(arcs[: len(rows)]))
    chosen = np.empty(routes, dtype=np.int64)
    chosen[rows[taken]] = people[taken]
    return chosen


def _arcs(price: I64, now: I64, rng: np.random.Generator) -> tuple[I64, I64]:
    """Return which person may go to which route: the nearest of each route, some others, and whoever is there."""
    routes, crew = price.shape
    near = smallest(price, min(NEAREST, crew))
    others = rng.integers(crew, size=(routes, OTHERS))
    flat = np.unique(np.concatenate([near, others, now[:, None]], axis=1) + np.arange(routes)[:, None] * crew)
    flat = flat[price.ravel()[flat] < NO_WAY]
    return flat // crew, flat % crew


def _take(whole: State, code: ModuleType, moved: int, chosen: I64) -> bool:
    """Put the people in; everything is as it was when a route does not hold or the whole does not get cheaper."""
    one, rs, crew = whole.arrays, whole.rs, whole.arrays.crew
    rt_before, rs_before, where_before = whole.rt.copy(), rs.copy(), whole.where.copy()
    rs[:, moved] = chosen
    rs[:, LO], rs[:, HI] = np.maximum(crew[rs[:, A], 0], crew[rs[:, B], 0]), np.minimum(crew[rs[:, A], 1], crew[rs[:, B], 1])
    code.load(whole.n, one.travel, one.node, one.win, one.way_out, one.way_back, one.rest, one.speeds, whole.rt, rs, whole.where, one.par)
    if (rs[:, LEN] != rs_before[:, LEN]).any() or whole.cost_of(rs) >= whole.cost_of(rs_before):
        whole.rt[:], rs[:], whole.where[:] = rt_before, rs_before, where_before
        return False
    gone, come = np.setdiff1d(rs_before[:, moved], chosen), np.setdiff1d(chosen, rs_before[:, moved])
    idle = np.concatenate([whole.idle[~np.isin(whole.idle, come)], gone])
    # People who may go with nobody are no one's choice, as at the start.
    whole.idle = idle[one.weight[idle].any(axis=1)].astype(np.int64)
    return True
