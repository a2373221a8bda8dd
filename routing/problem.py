"""The day as arrays, once, for every engine. `check.py` never looks in here.

Nodes are the approved visits 0 … n-1 in instance order, then the banks n … n+m-1. Collectors keep their instance order.
On a running day (`fieldday/2`) visits already made are no nodes. Behind the visits, still below n, come second nodes of visits whose
announced time may be changed at a price (rivals of the first: at most one is made), then one anchor for each pair at work: a stop at its
present place whose service is the work done so far, which only this pair can make and only first.
A required certificate, language or gender is one bit; a pair may serve a visit when the union of both members' bits covers it
and neither member is excluded.
"""

from __future__ import annotations

import msgspec
import numpy as np
from numpy.typing import NDArray

from routing.matrix import TravelMatrix
from routing.model import Approval, Collector, Gender, GenderRule, Instance, InstanceError, LocationId, Visit
from routing.pauses import Rests, joined, read_rests
from routing.running import Anchor, Running, outside, read_running, start_spans, within
from routing.speeds import Speeds, read_speeds

I32 = NDArray[np.int32]
I64 = NDArray[np.int64]
Bools = NDArray[np.bool_]

NEVER = -1
BIT_FEMALE, BIT_MALE = 0, 1
AWAY_S = 400_000
ANCHOR_LOSS = 10**10
FOREIGN_S = 1 << 40


class Problem(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """Everything an engine reads.

    `window_lo/hi[node, k]` bound the start of service (windows already cut by approval, horizon and service; unused slots have hi = -1,
    sorted by opening). `loss[node]` is the cost of leaving the visit out. `travel_s[node, node]`, `out_s[collector, node]` from the
    collector's start, `back_s[node, collector]` to the collector's end. `rivals[node]` is the next node of which at most one may be made
    (a ring; -1: none). `anchors` are nodes; `anchor_of[collector]` is the node of the pair at work, or -1. `fixed_cost` is what no plan
    can change. `travel_s`, `out_s` and `back_s` hold at the ordinary speed; `speeds` says what becomes of them by the hour. `rests` are each
    collector's breaks ahead. `rows[node]` is its place in the matrix. `purse[node]` is whose money it is, whose office: 0 nobody's in particular;
    what a pair carries is of one purse, and an office with a purse takes no other. `carry_fen[node]` bounds what is carried behind it.
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
    is_cap: Bools
    loss: I64
    carry_limit_fen: int
    purse: I64
    carry_fen: I64
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
    rivals: I64
    anchors: tuple[int, ...]
    anchor_of: I64
    fixed_cost: int
    running: Running
    load_s: I64
    rows: I64
    speeds: Speeds
    rests: tuple[Rests, ...]

    @property
    def is_plain(self) -> bool:
        """Report whether nobody has a break ahead and every hour is as fast as the other: then a way always takes its seconds."""
        return self.speeds.is_constant and not any(self.rests)

    @property
    def is_tied(self) -> bool:
        """Report whether any money must go to its own bank's offices, or be carried only up to that bank's limit."""
        return bool(self.purse.any())

    def takes(self, nodes: I64) -> Bools:
        """Return, visit by office, whether the office takes that visit's money."""
        own, offices = self.purse[nodes][:, None], self.purse[None, self.n :]
        return np.asarray((offices == 0) | (own == 0) | (offices == own))

    def office_hops(self, nodes: I64) -> I64:
        """Return, visit by office, the seconds of the way, out of reach where the office does not take that visit's money."""
        return np.where(self.takes(nodes), self.travel_s[nodes, self.n :].astype(np.int64), FOREIGN_S)

    def pauses_of(self, a: int, b: int) -> Rests:
        """Return the pauses that the pair (a, b) has ahead of it."""
        return joined(self.rests[a], self.rests[b])

    def nodes_of(self) -> dict[str, list[int]]:
        """Return the nodes of each visit that may still be made, the one at the announced time first."""
        found: dict[str, list[int]] = {}
        for node, visit in enumerate(self.visits[: self.n - len(self.anchors)]):
            found.setdefault(visit.id, []).append(node)
        return found

    def rivals_of(self, node: int) -> list[int]:
        """Return the other nodes of the ring."""
        found: list[int] = []
        after = int(self.rivals[node])
        while after not in (-1, node):
            found.append(after)
            after = int(self.rivals[after])
        return found

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


class _Nodes(msgspec.Struct, frozen=True):
    """The visit nodes in order: whose, when service may start, what leaving it out costs; rings of rivals; what no plan can change."""

    visits: list[Visit]
    spans: list[list[tuple[int, int]]]
    losses: list[int]
    rings: list[list[int]]
    fixed_cost: int


def build_problem(instance: Instance, matrix: TravelMatrix) -> Problem:
    """Translate an instance and its travel matrix into arrays; visits that are not approved stay out."""
    row = {one: index for index, one in enumerate(matrix.ids)}
    if len(row) != len(matrix.ids) or any(place.id not in row for place in instance.locations):
        raise InstanceError("matrix.ids: they are not the instance's locations")
    running, weights = read_running(instance, matrix), instance.objective
    made = _visit_nodes(instance, running)
    visits = tuple(made.visits)
    anchored = tuple(_anchor_visit(anchor) for anchor in running.anchors)
    first, n = len(visits), len(visits) + len(anchored)
    nodes = np.array([row[one.location] for one in (*visits, *anchored)] + [row[bank.location] for bank in instance.banks], dtype=np.intp)
    starts = np.array([row[_start_of(instance, running, index)] for index in range(len(instance.collectors))], dtype=np.intp)
    ends = np.array([row[one.end] for one in instance.collectors], dtype=np.intp)
    anchor_spans = [[(one.leaves_s - one.worked_s, one.leaves_s - one.worked_s)] for one in running.anchors]
    lo, hi = _windows([*made.spans, *anchor_spans, *_bank_spans(instance)])
    needs, skills, bits = _skill_bits(instance, visits, len(anchored))
    excluded = np.vstack([barred(instance, visits), np.ones((len(anchored), len(instance.collectors)), dtype=np.bool_)])
    out_s = np.ascontiguousarray(matrix.seconds[np.ix_(starts, nodes)])
    banks_of = [*(one.bank for one in (*visits, *anchored)), *(one.bank for one in instance.banks)]
    purses = {name: index for index, name in enumerate(sorted({one for one in banks_of if one is not None}), 1)}
    shift_lo, shift_hi = _shifts(instance, running)
    anchor_of = np.full(len(instance.collectors), -1, dtype=np.int64)
    for offset, anchor in enumerate(running.anchors):
        for member in (anchor.a, anchor.b):
            excluded[first + offset, member] = False
            anchor_of[member] = first + offset
            out_s[member] = AWAY_S
            out_s[member, first + offset] = 0
    return Problem(
        visits=visits + anchored, n=n, banks=len(instance.banks),
        travel_s=np.ascontiguousarray(matrix.seconds[np.ix_(nodes, nodes)]), out_s=out_s,
        back_s=np.ascontiguousarray(matrix.seconds[np.ix_(nodes, ends)]),
        service_s=np.array(
            [one.service_s for one in visits] + [one.worked_s for one in running.anchors] + [one.service_s for one in instance.banks], dtype=np.int32,
        ),
        window_lo=lo, window_hi=hi,
        cash_fen=np.array([visit.cash_fen for visit in visits] + [one.carried_fen for one in running.anchors], dtype=np.int64),
        is_cap=np.array([visit.cash_is_cap for visit in visits] + [False] * len(anchored), dtype=np.bool_),
        loss=np.array(made.losses + [ANCHOR_LOSS] * len(anchored), dtype=np.int64), carry_limit_fen=instance.cash.carry_limit_fen,
        purse=np.array([0 if one is None else purses[one] for one in banks_of], dtype=np.int64),
        carry_fen=np.array([instance.cash.limit_of(one) for one in banks_of], dtype=np.int64),
        shift_lo=shift_lo, shift_hi=shift_hi,
        needs=needs, skills=skills, excluded=excluded,
        pair_legal=_with_time_left(instance, running, _legal_pairs(instance), (shift_lo, shift_hi)),
        pairs_max=max(instance.pairing.max_pairs, len(anchored)),
        travel_weight=weights.travel_s, imbalance_div=weights.imbalance_div, bits=bits, rivals=_rings(made.rings, n),
        anchors=tuple(range(first, n)), anchor_of=anchor_of, fixed_cost=made.fixed_cost + weights.travel_s * running.travel_s, running=running,
        load_s=np.array([one.recent_load_s for one in instance.collectors], dtype=np.int64),
        rows=nodes.astype(np.int64), speeds=read_speeds(instance.travel.speeds), rests=read_rests(instance, running, shift_lo.tolist()),
    )


def loss_of(instance: Instance, visit: Visit) -> int:
    """Return what leaving a visit out costs."""
    return instance.objective.mandatory_unserved if visit.mandatory else instance.objective.lost_value * visit.value


def barred(instance: Instance, visits: tuple[Visit, ...]) -> Bools:
    """Return, visit by collector, who must not make it: excluded by name, or without the credential that both must hold (VIS-06)."""
    position = {one.id: index for index, one in enumerate(instance.collectors)}
    asked = {one.credential for one in visits if one.credential}
    holds = {name: np.array([name in one.credentials for one in instance.collectors], dtype=np.bool_) for name in asked}
    found = np.zeros((len(visits), len(position)), dtype=np.bool_)
    for index, visit in enumerate(visits):
        for one in visit.excluded_collectors:
            if one in position:
                found[index, position[one]] = True
        if visit.credential:
            found[index] |= ~holds[visit.credential]
    return found


def _visit_nodes(instance: Instance, running: Running) -> _Nodes:
    """List what may still be made. A visit at another than its announced time is a node of its own, worth less by the price."""
    horizon = instance.horizon
    seen = {visit.debtor for visit in instance.visits if visit.debtor and visit.id in running.made}
    visits: list[Visit] = []
    spans: list[list[tuple[int, int]]] = []
    losses: list[int] = []
    fixed_cost = 0
    later: list[tuple[int, Visit, list[tuple[int, int]], int]] = []
    for visit in instance.visits:
        if not visit.approval.is_granted or visit.id in running.made:
            continue
        loss = loss_of(instance, visit)
        if visit.debtor in seen and visit.debtor:
            fixed_cost += loss
            continue
        released = (max(visit.approval.effective_from or 0, horizon[0]), horizon[1] - visit.service_s)
        able = within(start_spans(visit), released)
        if visit.announced is not None:
            other = outside(able, visit.announced.window)
            able = within(able, visit.announced.window)
            if other and visit.announced.price < loss:
                later.append((len(visits), visit, other, loss - visit.announced.price))
        visits.append(visit)
        spans.append(sorted(able))
        losses.append(loss)
    rings: dict[str, list[int]] = {}
    for node, visit in [*enumerate(visits), *((len(visits) + index, one[1]) for index, one in enumerate(later))]:
        rings.setdefault(f"debtor {visit.debtor}" if visit.debtor else f"visit {visit.id}", []).append(node)
    return _Nodes(
        visits + [one[1] for one in later], spans + [sorted(one[2]) for one in later], losses + [one[3] for one in later], list(rings.values()),
        fixed_cost - sum(one[3] for one in later),
    )


def _anchor_visit(anchor: Anchor) -> Visit:
    return Visit(
        id=f"progress {anchor.progress}", location=LocationId(anchor.place), service_s=0, windows=((0, 0),), mandatory=True, value=0,
        required_cert=None, required_language=None, gender_rule=GenderRule.ANY, excluded_collectors=(),
        approval=Approval(status="approved", effective_from=None), cash_fen=anchor.carried_fen, bank=anchor.bank,
    )


def _rings(rings: list[list[int]], n: int) -> I64:
    after = np.full(n, -1, dtype=np.int64)
    for ring in rings:
        if len(ring) > 1:
            after[ring] = [*ring[1:], ring[0]]
    return after


def _start_of(instance: Instance, running: Running, index: int) -> str:
    return running.freed[index].place if index in running.freed else instance.collectors[index].start


def _shifts(instance: Instance, running: Running) -> tuple[I32, I32]:
    """Return each collector's hours from now on; of a pair at work from what counts as its start, and as late as it cannot help."""
    lo = [max(one.shift[0], instance.horizon[0], instance.now or 0) for one in instance.collectors]
    hi = [min(one.shift[1], instance.horizon[1]) for one in instance.collectors]
    for index, freed in running.freed.items():
        lo[index] = max(lo[index], freed.from_s)
    for anchor in running.anchors:
        for member in (anchor.a, anchor.b):
            lo[member] = anchor.leaves_s - anchor.worked_s
            hi[member] = max(hi[member], anchor.late_until_s)
    return np.array(lo, dtype=np.int32), np.array(hi, dtype=np.int32)


def _bank_spans(instance: Instance) -> list[list[tuple[int, int]]]:
    return [[(bank.open, bank.close - bank.service_s)] if bank.open <= bank.close - bank.service_s else [] for bank in instance.banks]


def _windows(spans: list[list[tuple[int, int]]]) -> tuple[I32, I32]:
    width = max([1, *(len(one) for one in spans)])
    lo, hi = np.zeros((len(spans), width), dtype=np.int32), np.full((len(spans), width), NEVER, dtype=np.int32)
    for index, one in enumerate(spans):
        for k, span in enumerate(one):
            lo[index, k], hi[index, k] = span
    return lo, hi


def _skill_bits(instance: Instance, visits: tuple[Visit, ...], anchors: int) -> tuple[I64, I64, dict[tuple[str, str], int]]:
    """Number only the skills that some visit asks for; 62 to a word. Being a certain person, for a pin, is such a skill."""
    bit: dict[tuple[str, str], int] = {("gender", "F"): BIT_FEMALE, ("gender", "M"): BIT_MALE}
    for visit in visits:
        for one in visit.pinned_collectors:
            bit.setdefault(("person", one), len(bit))
        for kind, name in (("cert", visit.required_cert), ("language", visit.required_language)):
            if name is not None:
                bit.setdefault((kind, name), len(bit))
    words = len(bit) // 62 + 1
    needs = [_asked(visit, bit) for visit in visits] + [[] for _ in range(anchors)]
    held = [_held_bits(one, bit) for one in instance.collectors]
    return _pack(needs, words), _pack(held, words), bit


def _asked(visit: Visit, bit: dict[tuple[str, str], int]) -> list[int]:
    asked = [("cert", visit.required_cert), ("language", visit.required_language)]
    bits = [bit[kind, name] for kind, name in asked if name is not None] + [bit["person", one] for one in visit.pinned_collectors]
    if visit.gender_rule is not GenderRule.ANY:
        bits.append(BIT_FEMALE)
    if visit.gender_rule is GenderRule.MIXED:
        bits.append(BIT_MALE)
    return bits


def _held_bits(one: Collector, bit: dict[tuple[str, str], int]) -> list[int]:
    names = [("cert", name) for name in one.certs] + [("language", name) for name in one.languages] + [("person", one.id)]
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
    at_work = [_ordered(position, one.collectors) for one in instance.progress if one.together]
    for a, b in {*at_work, *(_ordered(position, pair) for pair in rule.fixed)}:
        kept = bool(legal[a, b])
        legal[[a, b], :] = legal[:, [a, b]] = False
        legal[a, b] = legal[b, a] = kept
    np.fill_diagonal(legal, val=False)
    return np.asarray(legal)


def _with_time_left(instance: Instance, running: Running, legal: Bools, hours: tuple[I32, I32]) -> Bools:
    """Leave out pairs whose hours together are over by now; a pair at work goes home at least."""
    if instance.now is None and not running.freed:
        return legal
    lo, hi = hours
    left = np.maximum(lo[:, None], lo[None, :]) < np.minimum(hi[:, None], hi[None, :])
    for anchor in running.anchors:
        left[anchor.a, anchor.b] = left[anchor.b, anchor.a] = True
    return np.asarray(legal & left)


def _ordered(position: dict[str, int], pair: tuple[str, str]) -> tuple[int, int]:
    a, b = position[pair[0]], position[pair[1]]
    return min(a, b), max(a, b)
