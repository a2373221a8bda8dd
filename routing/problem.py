"""The day as arrays, once, for every engine. `check.py` never looks in here.

Nodes are the approved visits 0 … n-1 in instance order, then the banks n … n+m-1. Collectors keep their instance order.
A required certificate, language or gender is one bit; a pair may serve a visit when the union of both members' bits covers it
and neither member is excluded.
"""

from __future__ import annotations

import msgspec
import numpy as np
from numpy.typing import NDArray

from routing.matrix import TravelMatrix
from routing.model import Collector, Gender, GenderRule, Instance, InstanceError, Visit

I32 = NDArray[np.int32]
I64 = NDArray[np.int64]
Bools = NDArray[np.bool_]

NEVER = -1
BIT_FEMALE, BIT_MALE = 0, 1


class Problem(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """Everything an engine reads.

    `window_lo/hi[node, k]` bound the start of service (windows already cut by approval, horizon and service; unused slots have hi = -1,
    sorted by opening). `loss[node]` is the cost of leaving the visit out. `travel_s[node, node]`, `out_s[collector, node]` from the
    collector's start, `back_s[node, collector]` to the collector's end.
    """

    visits: tuple[Visit, ...]
    n: int
    banks: int
    travel_s: I32
    out_s: I32
    back_s: I32
    service_s: I32
    window_lo: I32
    window_hi: I32
    cash_fen: I64
    loss: I64
    carry_limit_fen: int
    shift_lo: I32
    shift_hi: I32
    needs: I64
    skills: I64
    excluded: Bools
    pair_legal: Bools
    pairs_max: int
    travel_weight: int
    imbalance_div: int
    bits: dict[tuple[str, str], int]

    def need_bits(self, visit: Visit) -> I64:
        """Return the row of need bits of a visit whose needs are among those already numbered."""
        return np.asarray(_pack([_asked(visit, self.bits)], self.needs.shape[1])[0])

    def pair_serves(self, a: int, b: int) -> Bools:
        """Return, per visit, whether the pair (a, b) may make it, whatever the time."""
        union = self.skills[a] | self.skills[b]
        covered = np.all((self.needs & union) == self.needs, axis=1)
        return np.asarray(covered & ~self.excluded[:, a] & ~self.excluded[:, b])

    def pair_out_s(self, a: int, b: int) -> I32:
        """Return, per node, the first leg of the pair: the slower member's."""
        return np.asarray(np.maximum(self.out_s[a], self.out_s[b]))

    def pair_back_s(self, a: int, b: int) -> I32:
        """Return, per node, the last leg of the pair: the slower member's."""
        return np.asarray(np.maximum(self.back_s[:, a], self.back_s[:, b]))

    def pair_shift(self, a: int, b: int) -> tuple[int, int]:
        """Return the intersection of both shifts and the legal hours."""
        return int(max(self.shift_lo[a], self.shift_lo[b])), int(min(self.shift_hi[a], self.shift_hi[b]))


def build_problem(instance: Instance, matrix: TravelMatrix) -> Problem:
    """Translate an instance and its travel matrix into arrays; visits that are not approved stay out."""
    row = {one: index for index, one in enumerate(matrix.ids)}
    if len(row) != len(matrix.ids) or any(place.id not in row for place in instance.locations):
        raise InstanceError("matrix.ids: they are not the instance's locations")
    visits = tuple(visit for visit in instance.visits if visit.approval.is_granted)
    nodes = np.array([row[visit.location] for visit in visits] + [row[bank.location] for bank in instance.banks], dtype=np.intp)
    starts = np.array([row[one.start] for one in instance.collectors], dtype=np.intp)
    ends = np.array([row[one.end] for one in instance.collectors], dtype=np.intp)
    lo, hi = _windows(instance, visits)
    needs, skills, bits = _skill_bits(instance, visits)
    position = {one.id: index for index, one in enumerate(instance.collectors)}
    excluded = np.zeros((len(visits), len(position)), dtype=np.bool_)
    for index, visit in enumerate(visits):
        for one in visit.excluded_collectors:
            if one in position:
                excluded[index, position[one]] = True
    weights = instance.objective
    loss = [weights.mandatory_unserved if visit.mandatory else weights.lost_value * visit.value for visit in visits]
    return Problem(
        visits=visits, n=len(visits), banks=len(instance.banks),
        travel_s=np.ascontiguousarray(matrix.seconds[np.ix_(nodes, nodes)]), out_s=np.ascontiguousarray(matrix.seconds[np.ix_(starts, nodes)]),
        back_s=np.ascontiguousarray(matrix.seconds[np.ix_(nodes, ends)]),
        service_s=np.array([one.service_s for one in visits] + [one.service_s for one in instance.banks], dtype=np.int32),
        window_lo=lo, window_hi=hi, cash_fen=np.array([visit.cash_fen for visit in visits], dtype=np.int64),
        loss=np.array(loss, dtype=np.int64), carry_limit_fen=instance.cash.carry_limit_fen,
        shift_lo=np.array([max(one.shift[0], instance.horizon[0]) for one in instance.collectors], dtype=np.int32),
        shift_hi=np.array([min(one.shift[1], instance.horizon[1]) for one in instance.collectors], dtype=np.int32),
        needs=needs, skills=skills, excluded=excluded, pair_legal=_legal_pairs(instance), pairs_max=instance.pairing.max_pairs,
        travel_weight=weights.travel_s, imbalance_div=weights.imbalance_div, bits=bits,
    )


def _windows(instance: Instance, visits: tuple[Visit, ...]) -> tuple[I32, I32]:
    first, last = instance.horizon
    spans: list[list[tuple[int, int]]] = []
    for visit in visits:
        released = visit.approval.effective_from or 0
        cut = [(max(opens, released, first), min(closes, last - visit.service_s)) for opens, closes in visit.windows]
        spans.append(sorted(span for span in cut if span[0] <= span[1]))
    spans += [[(bank.open, bank.close - bank.service_s)] if bank.open <= bank.close - bank.service_s else [] for bank in instance.banks]
    width = max([1, *(len(one) for one in spans)])
    lo, hi = np.zeros((len(spans), width), dtype=np.int32), np.full((len(spans), width), NEVER, dtype=np.int32)
    for index, one in enumerate(spans):
        for k, span in enumerate(one):
            lo[index, k], hi[index, k] = span
    return lo, hi


def _skill_bits(instance: Instance, visits: tuple[Visit, ...]) -> tuple[I64, I64, dict[tuple[str, str], int]]:
    """Number only the skills that some visit asks for; 62 to a word."""
    bit: dict[tuple[str, str], int] = {("gender", "F"): BIT_FEMALE, ("gender", "M"): BIT_MALE}
    for visit in visits:
        for kind, name in (("cert", visit.required_cert), ("language", visit.required_language)):
            if name is not None:
                bit.setdefault((kind, name), len(bit))
    words = len(bit) // 62 + 1
    needs = [_asked(visit, bit) for visit in visits]
    held = [_held_bits(one, bit) for one in instance.collectors]
    return _pack(needs, words), _pack(held, words), bit


def _asked(visit: Visit, bit: dict[tuple[str, str], int]) -> list[int]:
    asked = [("cert", visit.required_cert), ("language", visit.required_language)]
    bits = [bit[kind, name] for kind, name in asked if name is not None]
    if visit.gender_rule is not GenderRule.ANY:
        bits.append(BIT_FEMALE)
    if visit.gender_rule is GenderRule.MIXED:
        bits.append(BIT_MALE)
    return bits


def _held_bits(one: Collector, bit: dict[tuple[str, str], int]) -> list[int]:
    names = [("cert", name) for name in one.certs] + [("language", name) for name in one.languages]
    gender = BIT_FEMALE if one.gender is Gender.F else BIT_MALE
    return [gender, *(bit[name] for name in names if name in bit)]


def _pack(rows: list[list[int]], words: int) -> I64:
    packed = np.zeros((len(rows), words), dtype=np.int64)
    for index, bits in enumerate(rows):
        for number in bits:
            packed[index, number // 62] |= np.int64(1) << np.int64(number % 62)
    return packed


def _legal_pairs(instance: Instance) -> Bools:
    """Return the symmetric table of pairs that may work together today."""
    rule, crew = instance.pairing, instance.collectors
    n = len(crew)
    legal = np.zeros((n, n), dtype=np.bool_)
    if n < 2:
        return legal
    lead = np.array([one.lead for one in crew]) | (not rule.require_lead)
    there = np.array([one.available for one in crew])
    lo, hi = np.array([one.shift[0] for one in crew]), np.array([one.shift[1] for one in crew])
    legal = (lead[:, None] | lead[None, :]) & there[:, None] & there[None, :]
    legal &= np.maximum(lo[:, None], lo[None, :]) < np.minimum(hi[:, None], hi[None, :])
    position = {one.id: index for index, one in enumerate(crew)}
    banned = {_ordered(position, pair) for pair in rule.conflicts}
    recent = [day for day in rule.history if day.days_ago <= rule.max_consecutive_days]
    if len(recent) >= rule.max_consecutive_days:
        if not recent:
            legal[:] = False
        else:
            banned |= set.intersection(*({_ordered(position, pair) for pair in day.pairs} for day in recent))
    for a, b in banned:
        legal[a, b] = legal[b, a] = False
    np.fill_diagonal(legal, val=False)
    return np.asarray(legal)


def _ordered(position: dict[str, int], pair: tuple[str, str]) -> tuple[int, int]:
    a, b = position[pair[0]], position[pair[1]]
    return min(a, b), max(a, b)
