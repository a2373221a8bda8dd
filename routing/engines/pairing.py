"""Maximum-weight pairing by CP-SAT, started from the swap matching as its hint."""

from __future__ import annotations

import numpy as np
from ortools.sat.python import cp_model

from routing.pairing import Matching, PairWeights

PARTNERS_MAX = 40
DETERMINISTIC_TIME_MAX = 2.0


def match_pairs(weights: PairWeights, pairs_max: int, hint: Matching, *, search_s: float | None, seed: int) -> Matching:
    """Return at most `pairs_max` disjoint legal pairs of greatest total weight, never worse than `hint`.

    Only each collector's forty best partners (and the hint's) are offered. `search_s` None means: stop by CP-SAT's deterministic
    time, so that the answer depends on the seed alone. One worker always.
    """
    edges = _edges(weights, hint)
    if not edges or pairs_max <= 0:
        return ()
    model = cp_model.CpModel()
    takes = {edge: model.new_bool_var(f"p{edge[0]}_{edge[1]}") for edge in edges}
    by_collector: dict[int, list[cp_model.IntVar]] = {}
    for (a, b), take in takes.items():
        by_collector.setdefault(a, []).append(take)
        by_collector.setdefault(b, []).append(take)
    for choices in by_collector.values():
        model.add_at_most_one(choices)
    model.add(sum(takes.values()) <= pairs_max)
    model.maximize(sum(int(weights.weight[a, b]) * take for (a, b), take in takes.items()))
    hinted = set(hint)
    for edge, take in takes.items():
        model.add_hint(take, edge in hinted)
    solver = cp_model.CpSolver()
    solver.parameters.num_workers = 1
    solver.parameters.random_seed = seed % 2**31
    solver.parameters.max_deterministic_time = DETERMINISTIC_TIME_MAX
    if search_s is not None:
        solver.parameters.max_time_in_seconds = max(0.05, search_s)
    status = solver.solve(model)
    if status not in (cp_model.OPTIMAL, cp_model.FEASIBLE):
        return hint
    found = tuple(sorted(edge for edge, take in takes.items() if solver.boolean_value(take)))
    weight_of = {edge: int(weights.weight[edge]) for edge in takes}
    return found if sum(weight_of[edge] for edge in found) >= sum(weight_of[edge] for edge in hint) else hint


def _edges(weights: PairWeights, hint: Matching) -> list[tuple[int, int]]:
    weight = weights.weight
    best = np.argsort(-weight, axis=1, kind="stable")[:, :PARTNERS_MAX]
    edges = set(hint)
    for a, partners in enumerate(best.tolist()):
        edges |= {(min(a, b), max(a, b)) for b in partners if weight[a, b] > 0}
    return sorted(edges)
