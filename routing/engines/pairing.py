"""Maximum-weight pairing by CP-SAT, started from the swap matching as its hint.

The model is handed over as a protobuf text to the solver's own binding: `ortools.sat.python.cp_model` would import pandas, which costs more
start-up time than everything else together and is used for nothing here.
"""

from __future__ import annotations

import numpy as np
from ortools.sat.python import cp_model_helper

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
    model = cp_model_helper.CpModelProto()
    model.parse_text_format(_model_text(weights, edges, pairs_max, hint))
    parameters = cp_model_helper.SatParameters()
    parameters.num_workers = 1
    parameters.random_seed = seed % 2**31
    parameters.max_deterministic_time = DETERMINISTIC_TIME_MAX
    if search_s is not None:
        parameters.max_time_in_seconds = max(0.05, search_s)
    solver = cp_model_helper.SolveWrapper()
    solver.set_parameters(parameters)
    answer = solver.solve(model)  # type: ignore[no-untyped-call]
    if answer.status not in (cp_model_helper.CpSolverStatus.OPTIMAL, cp_model_helper.CpSolverStatus.FEASIBLE):
        return hint
    found = tuple(edge for edge, taken in zip(edges, answer.solution, strict=True) if taken)
    return found if _sum(weights, found) >= _sum(weights, hint) else hint


def _model_text(weights: PairWeights, edges: list[tuple[int, int]], pairs_max: int, hint: Matching) -> str:
    """One Boolean per pair, at most one per collector, at most `pairs_max` in all, the least of minus the weights."""
    at: dict[int, list[int]] = {}
    for index, edge in enumerate(edges):
        for one in edge:
            at.setdefault(one, []).append(index)
    every, hinted = ",".join(map(str, range(len(edges)))), set(hint)
    parts = ["variables { domain: [0,1] }" for _ in edges]
    parts += [f"constraints {{ at_most_one {{ literals: [{','.join(map(str, rows))}] }} }}" for rows in at.values()]
    parts.append(f"constraints {{ linear {{ vars: [{every}] coeffs: [{','.join('1' for _ in edges)}] domain: [0,{pairs_max}] }} }}")
    parts.append(f"objective {{ vars: [{every}] coeffs: [{','.join(str(-int(weights.weight[edge])) for edge in edges)}] }}")
    parts.append(f"solution_hint {{ vars: [{every}] values: [{','.join('1' if edge in hinted else '0' for edge in edges)}] }}")
    return "\n".join(parts)


def _sum(weights: PairWeights, matching: Matching) -> int:
    return sum(int(weights.weight[edge]) for edge in matching)


def _edges(weights: PairWeights, hint: Matching) -> list[tuple[int, int]]:
    weight = weights.weight
    best = np.argsort(-weight, axis=1, kind="stable")[:, :PARTNERS_MAX]
    edges = set(hint)
    for a, partners in enumerate(best.tolist()):
        edges |= {(min(a, b), max(a, b)) for b in partners if weight[a, b] > 0}
    return sorted(edges)
