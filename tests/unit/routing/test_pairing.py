"""Pairing: CP-SAT never loses against its hint, keeps to legal pairs, and finds the optimum where it can be enumerated."""

from __future__ import annotations

import subprocess
import sys
from itertools import combinations
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from routing import load_instance, travel_matrix
from routing.engines.pairing import match_pairs
from routing.pairing import Matching, PairWeights, matching_weight, pair_weights, swap_matching
from routing.problem import build_problem
from tests.unit.routing.support_days import days


def _best(weights: PairWeights, pairs_max: int) -> int:
    n = len(weights.weight)
    edges = [(a, b) for a, b in combinations(range(n), 2) if weights.weight[a, b] > 0]

    def grow(start: int, used: frozenset[int], left: int) -> int:
        if not left:
            return 0
        best = 0
        for index in range(start, len(edges)):
            a, b = edges[index]
            if a not in used and b not in used:
                best = max(best, int(weights.weight[a, b]) + grow(index + 1, used | {a, b}, left - 1))
        return best

    return grow(0, frozenset(), pairs_max)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 7), st.integers(0, 4), st.randoms(use_true_random=False))
def test_cp_sat_finds_the_heaviest_matching(n: int, pairs_max: int, random: Any) -> None:
    weight = np.zeros((n, n), dtype=np.int64)
    for a, b in combinations(range(n), 2):
        weight[a, b] = weight[b, a] = random.choice([0, random.randrange(1, 1000)])
    weights = PairWeights(weight)
    hint: Matching = swap_matching(weights, pairs_max)
    found = match_pairs(weights, pairs_max, hint, search_s=None, seed=0)
    assert matching_weight(weights, found) == _best(weights, pairs_max) >= matching_weight(weights, hint)
    assert len({one for pair in found for one in pair}) == 2 * len(found) <= 2 * pairs_max


@settings(max_examples=60, deadline=None)
@given(days())
def test_only_legal_pairs_have_a_weight(made: dict[str, Any]) -> None:
    instance = load_instance(made)
    problem = build_problem(instance, travel_matrix(instance))
    weight = pair_weights(problem).weight
    assert ((weight > 0) <= problem.pair_legal).all()
    assert (weight == weight.T).all()


def test_solving_does_not_load_pandas() -> None:
    script = "import sys, routing; routing.solve; print('pandas' in sys.modules, 'numba' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.strip() == "False False"
