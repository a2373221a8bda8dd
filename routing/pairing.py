"""Which two collectors work together: legal pairs, a demand-aware weight for each, and a fast matching by greedy choice and swaps."""

from __future__ import annotations

import msgspec
import numpy as np

from routing.problem import I64, Problem

MEETING_PLACES_MAX = 256
LOSS_CAP = 150_000
RELIEF_SHARE = 0.25
RELIEF_S_MAX = 7_200
AT_WORK = 10**7

Matching = tuple[tuple[int, int], ...]


class PairWeights(msgspec.Struct, frozen=True, eq=False):
    """`weight[a, b]` of every legal pair, in seconds of useful work; 0 where the pair is illegal. Symmetric."""

    weight: I64


def pair_weights(problem: Problem) -> PairWeights:
    """Weigh each legal pair: joint shift times the share of demanded value it may serve, less its way to a common place and home.

    Whoever worked less than the mean in recent weeks adds a quarter of the difference, at most two hours, and whoever worked more takes it away:
    so the burden of staying idle, or in a short pair, goes round.

    Demand is grouped by what visits need, so the cost grows with pairs times kinds of need, not times visits.
    """
    n = len(problem.shift_lo)
    weight = np.zeros((n, n), dtype=np.int64)
    if n < 2 or not problem.n:
        return PairWeights(weight)
    overlap = np.minimum(problem.shift_hi[:, None], problem.shift_hi[None, :]) - np.maximum(problem.shift_lo[:, None], problem.shift_lo[None, :])
    kinds, kind_of = np.unique(problem.needs, axis=0, return_inverse=True)
    wanted = np.minimum(problem.loss, LOSS_CAP).astype(np.float64)
    wanted[list(problem.anchors)] = 0
    value = np.bincount(kind_of.ravel(), weights=wanted, minlength=len(kinds))
    share = value / max(1.0, float(value.sum()))
    relief = np.clip(RELIEF_SHARE * (problem.load_s.mean() - problem.load_s), -RELIEF_S_MAX, RELIEF_S_MAX)
    places = np.unique(np.linspace(0, problem.n - 1, min(problem.n, MEETING_PLACES_MAX)).astype(np.intp))
    out_s, back_s = problem.out_s[:, places], problem.back_s[places].T
    for a in range(n):
        union = problem.skills[a][None, :] | problem.skills
        covered = np.all((kinds[None, :, :] & union[:, None, :]) == kinds[None, :, :], axis=2) @ share
        meet = np.maximum(out_s[a][None, :], out_s).min(axis=1) + np.maximum(back_s[a][None, :], back_s).min(axis=1)
        weight[a] = np.maximum(1, np.maximum(overlap[a], 0) * covered - meet + relief[a] + relief).astype(np.int64)
    for anchor in problem.running.anchors:
        weight[anchor.a, anchor.b] = weight[anchor.b, anchor.a] = AT_WORK
    weight[~problem.pair_legal] = 0
    return PairWeights(weight)


def swap_matching(weights: PairWeights, pairs_max: int) -> Matching:
    """Match greedily by weight, then exchange partners between two pairs (or with somebody idle) while the sum grows."""
    weight = weights.weight
    mate = _greedy(weight, pairs_max)
    improved = True
    while improved:
        improved = _bring_in_idle(weight, mate)
        improved = _exchange(weight, mate) or improved
    return tuple(sorted((a, b) for a, b in enumerate(mate) if b > a))


def matching_weight(weights: PairWeights, matching: Matching) -> int:
    """Return the sum of the pairs' weights."""
    return int(sum(weights.weight[a, b] for a, b in matching))


def _greedy(weight: I64, pairs_max: int) -> list[int]:
    n = len(weight)
    mate = [-1] * n
    upper = np.triu(weight, 1)
    order = np.argsort(-upper, axis=None, kind="stable")
    left = pairs_max
    for flat in order[: int((upper > 0).sum())].tolist():
        a, b = divmod(flat, n)
        if left and mate[a] < 0 and mate[b] < 0:
            mate[a], mate[b], left = b, a, left - 1
    return mate


def _bring_in_idle(weight: I64, mate: list[int]) -> bool:
    improved = False
    for a in range(len(mate)):
        b = mate[a]
        if b < 0:
            continue
        idle = [one for one, other in enumerate(mate) if other < 0]
        if not idle:
            return improved
        best = max(idle, key=lambda one, a=a: int(weight[a, one]))  # type: ignore[misc]
        if weight[a, best] > weight[a, b]:
            mate[a], mate[best], mate[b] = best, a, -1
            improved = True
    return improved


def _exchange(weight: I64, mate: list[int]) -> bool:
    """Try the two other ways to pair up each four people of two pairs; take each gain at once."""
    improved = False
    for a in range(len(mate)):
        b = mate[a]
        if b < 0:
            continue
        others = np.array([one for one, other in enumerate(mate) if other >= 0 and one not in (a, b)], dtype=np.intp)
        if not len(others):
            return improved
        partners = np.array(mate, dtype=np.intp)[others]
        gain = weight[a, others] + weight[b, partners] - weight[a, b] - weight[others, partners]
        gain[(weight[a, others] == 0) | (weight[b, partners] == 0)] = -1
        best = int(gain.argmax())
        if gain[best] > 0:
            c, d = int(others[best]), int(partners[best])
            mate[a], mate[c], mate[b], mate[d] = c, a, d, b
            improved = True
    return improved
