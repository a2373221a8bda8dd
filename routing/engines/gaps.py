"""Routes as gaps between stops: whether and where a visit fits, for many visits at once in NumPy. For days without breaks, at one speed, with
money that any office takes.
"""

from __future__ import annotations

import msgspec
import numpy as np

from routing.problem import I64, Bools, Problem
from routing.timing import Pair

IMPOSSIBLE = 1 << 40
BANKS_TRIED = 3
PREV, NEXT, LEAVES, DUE, BASE, ROOM = range(6)


class GapRoute(msgspec.Struct, frozen=True, eq=False):
    """A pair's stops, banks included, and one column per gap: node before, node behind, can leave, must arrive, way now, spare cash room."""

    pair: Pair
    serves: Bools
    nodes: tuple[int, ...]
    gaps: I64
    travel_s: int
    work_s: int

    @property
    def collectors(self) -> tuple[int, int]:
        return self.pair.a, self.pair.b


class Gaps:
    """What a day's routes are timed and priced with."""

    def __init__(self, problem: Problem) -> None:
        self.problem, self.n, self.limit = problem, problem.n, problem.carry_limit_fen
        self.travel, self.into = np.ascontiguousarray(problem.travel_s).data, problem.travel_s.T
        self.service = problem.service_s.tolist()
        self.cash = [*problem.cash_fen.tolist(), *([0] * problem.banks)]
        spans = zip(problem.window_lo.tolist(), problem.window_hi.tolist(), strict=True)
        self.windows = [[one for one in zip(lo, hi, strict=True) if one[1] >= 0] for lo, hi in spans]
        self.banks = np.argsort(problem.travel_s[: self.n, self.n :], axis=1, kind="stable")[:, :BANKS_TRIED] + self.n
        self.hops = np.take_along_axis(problem.travel_s[: self.n], self.banks, axis=1)[:, :, None]
        self.has_cash = problem.cash_fen > 0
        self.dearest_s = problem.loss // max(1, problem.travel_weight)
        self.is_split = (problem.window_hi >= 0).sum(axis=1) > 1

    def route(self, pair: Pair, serves: Bools, nodes: tuple[int, ...]) -> GapRoute | None:
        """Time the stops from both ends; None when the pair comes too late somewhere or carries too much."""
        travel, service, cash, windows, n = self.travel, self.service, self.cash, self.windows, self.n
        size = len(nodes)
        clock, here, travel_s, work_s, carried = pair.shift[0], -1, 0, 0, 0
        base, leaves, held = [], [clock], [0]
        for node in nodes:
            leg = int(pair.out_s[node]) if here < 0 else travel[here, node]
            arrival = clock + leg
            for lo, hi in windows[node]:
                if arrival <= hi:
                    clock = (arrival if arrival > lo else lo) + service[node]
                    break
            else:
                return None
            carried = carried + cash[node] if node < n else 0
            if carried > self.limit:
                return None
            base.append(leg)
            leaves.append(clock)
            held.append(carried)
            travel_s += leg
            work_s += service[node]
            here = node
        leg = int(pair.back_s[here]) if size else 0
        base.append(leg)
        if carried or clock + leg > pair.shift[1]:
            return None
        due, room, ahead = [pair.shift[1]] * (size + 1), [-1] * (size + 1), -1
        for index in range(size - 1, -1, -1):
            node = nodes[index]
            if node >= n:
                ahead = self.limit - held[index]
            room[index] = ahead
            spare = due[index + 1] - base[index + 1] - service[node]
            latest = -1
            for lo, hi in windows[node]:
                if lo <= spare:
                    latest = hi if hi < spare else spare
            due[index] = latest
        gaps = np.array([[0, *nodes], [*nodes, 0], leaves, due, base, room], dtype=np.int64)
        return GapRoute(pair, serves, nodes, gaps, travel_s + leg, work_s + travel_s + leg)

    def without(self, route: GapRoute, gone: set[int]) -> GapRoute | None:
        """Take visits out, and deposits that then have nothing to take."""
        kept: list[int] = []
        carried = 0
        for node in route.nodes:
            if node in gone or (node >= self.n and not carried):
                continue
            kept.append(node)
            carried = carried + self.cash[node] if node < self.n else 0
        return self.route(route.pair, route.serves, tuple(kept))

    def offers(self, route: GapRoute, asked: I64) -> tuple[I64, I64, I64]:
        """Return, per visit, the least extra travel (IMPOSSIBLE: none, or more than the visit is worth), its gap, and the bank to add or -1."""
        problem, gaps = self.problem, route.gaps
        rows = asked[:, None]
        to_s, from_s = self.into[rows, gaps[PREV]], problem.travel_s[rows, gaps[NEXT]]
        to_s[:, 0], from_s[:, -1] = route.pair.out_s[asked], route.pair.back_s[asked]
        done = self.ends(rows, gaps[LEAVES] + to_s)
        serves = route.serves[asked]
        price = to_s + from_s - gaps[BASE]
        late = done + from_s > gaps[DUE]
        late[~serves] = True
        carrying = np.flatnonzero(self.has_cash[asked] & serves)
        if len(carrying):
            late[carrying] |= problem.cash_fen[asked[carrying]][:, None] > gaps[ROOM]
        price[late] = IMPOSSIBLE
        gap = price.argmin(axis=1)
        best, bank = price[np.arange(len(asked)), gap], np.full(len(asked), -1, dtype=np.int64)
        if len(carrying) and problem.banks:
            self.offer_banks(route, (asked, carrying), (to_s, done), (best, gap, bank))
        best[best > self.dearest_s[asked]] = IMPOSSIBLE
        return best, gap, bank

    def offer_banks(self, route: GapRoute, of: tuple[I64, I64], there: tuple[I64, I64], found: tuple[I64, I64, I64]) -> None:
        """Improve what was found, in place, by a visit with a deposit right behind it."""
        asked, carrying = of
        to_s, done = there
        best, gap, bank = found
        problem, gaps = self.problem, route.gaps
        own = asked[carrying]
        near, hop = self.banks[own], self.hops[own]
        onward = problem.travel_s[near[:, :, None], gaps[NEXT]]
        onward[:, :, -1] = route.pair.back_s[near]
        late = self.ends(near[:, :, None], done[carrying][:, None, :] + hop) + onward > gaps[DUE]
        late |= (problem.cash_fen[own][:, None] > np.where(gaps[ROOM] < 0, self.limit, gaps[ROOM]))[:, None, :]
        price = to_s[carrying][:, None, :] + hop + onward - gaps[BASE]
        price[late] = IMPOSSIBLE
        flat = price.reshape(len(own), -1)
        at = flat.argmin(axis=1)
        least = flat[np.arange(len(own)), at]
        better = np.flatnonzero(least < best[carrying])
        which = carrying[better]
        rank, where = np.divmod(at[better], gaps.shape[1])
        best[which], gap[which], bank[which] = least[better], where, near[better, rank]

    def ends(self, nodes: I64, arrival: I64) -> I64:
        """Return when service ends after each arrival, IMPOSSIBLE past the last window."""
        problem = self.problem
        start = np.maximum(arrival, problem.window_lo[nodes, 0])
        start[start > problem.window_hi[nodes, 0]] = IMPOSSIBLE
        for k in range(1, problem.window_lo.shape[1]):
            if self.is_split[nodes].any():
                begin = np.maximum(arrival, problem.window_lo[nodes, k])
                start = np.minimum(start, np.where(begin <= problem.window_hi[nodes, k], begin, IMPOSSIBLE))
        return np.asarray(start + problem.service_s[nodes])
