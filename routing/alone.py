"""One visit against every legal pair, made alone: who may, who has the time, who can also deposit its cash."""

from __future__ import annotations

import msgspec
import numpy as np

from routing.problem import I64, Bools, Problem
from routing.timing import offices_for

NEVER = 1 << 40


class Alone(msgspec.Struct, frozen=True, eq=False):
    """Per legal pair (a < b): may it make the visit, has it the time, can it also deposit; earliest arrival, latest start, travel of the trip."""

    a: I64
    b: I64
    allowed: Bools
    in_time: Bools
    with_cash: Bools
    arrival_s: I64
    latest_s: I64
    travel_s: I64

    def cheapest(self) -> int:
        """Return the position of the able pair with the shortest trip."""
        return int(np.where(self.with_cash, self.travel_s, NEVER).argmin())


def legal_pairs(problem: Problem, idle: I64 | None = None) -> tuple[I64, I64]:
    """Return all legal pairs (a < b), or those of these collectors (ascending)."""
    crew = np.arange(len(problem.shift_lo)) if idle is None else idle
    a, b = np.nonzero(np.triu(problem.pair_legal[np.ix_(crew, crew)], 1))
    return crew[a], crew[b]


def alone(problem: Problem, node: int, among: tuple[I64, I64] | None = None) -> Alone:
    """Try every legal pair, or those given (legal, a < b), on one visit with nothing else to do. Exact: the earliest start is the best start."""
    a, b = legal_pairs(problem) if among is None else among
    union = problem.skills[a] | problem.skills[b]
    need = problem.needs[node]
    allowed = np.all((need[None, :] & union) == need[None, :], axis=1) & ~problem.excluded[node, a] & ~problem.excluded[node, b]
    out_s = np.maximum(problem.out_s[a, node], problem.out_s[b, node]).astype(np.int64)
    back_s = np.maximum(problem.back_s[node, a], problem.back_s[node, b]).astype(np.int64)
    begins = np.maximum(problem.shift_lo[a], problem.shift_lo[b]).astype(np.int64)
    for index in np.flatnonzero(problem.anchor_of[a] >= 0).tolist():
        anchor = int(problem.anchor_of[a[index]])  # A pair at work goes on from where it stands.
        out_s[index] = problem.travel_s[anchor, node]
        begins[index] += int(problem.service_s[anchor])
    if not problem.is_plain:
        return _alone_paced(problem, node, (a, b), np.asarray(allowed), (begins, out_s, back_s))
    ends = np.minimum(problem.shift_hi[a], problem.shift_hi[b]).astype(np.int64)
    arrival = begins + out_s
    done = _done(problem, node, arrival)
    in_time = allowed & (done + back_s <= ends)
    with_cash, travel = in_time, out_s + back_s
    cash = int(problem.cash_fen[node])
    if cash:
        with_cash, travel = _deposit(problem, (node, cash), (a, b), done, ends)
        with_cash, travel = with_cash & in_time, travel + out_s
    latest = ends - back_s - int(problem.service_s[node])
    return Alone(a, b, np.asarray(allowed), np.asarray(in_time), np.asarray(with_cash), arrival, latest, travel)


def _alone_paced(problem: Problem, node: int, pair: tuple[I64, I64], allowed: Bools, times: tuple[I64, I64, I64]) -> Alone:
    """As `alone`, with breaks and hours of different speed: the earliest end of service over the pauses taken before it, at home or on arrival."""
    begins, out_s, back_s = times
    reach, pauses = problem.speeds.reach_all, _pause_table(problem, pair)
    is_at_work = problem.anchor_of[pair[0]] >= 0
    clock, rested = begins, np.full(begins.shape, NEVER, dtype=np.int64)
    done = np.full(begins.shape, NEVER, dtype=np.int64)
    for count in range(pauses.shape[1] + 1):
        due_s = pauses[:, count, 1] if count < pauses.shape[1] else np.full(begins.shape, NEVER, dtype=np.int64)
        arrival = np.minimum(np.where(clock >= NEVER, NEVER, reach(np.minimum(clock, NEVER), out_s)), rested)
        ended = _done(problem, node, arrival)
        done = np.where(ended <= due_s, np.minimum(done, ended), done)
        if count < pauses.shape[1]:
            lo, hi, lasts = pauses[:, count, 0], pauses[:, count, 1], pauses[:, count, 2]
            own = np.maximum(clock, lo)
            clock = np.where(is_at_work, np.where(own <= hi, own + lasts, NEVER), np.maximum(clock, lo + lasts))
            on_arrival = np.maximum(arrival, lo)
            rested = np.where(on_arrival <= hi, on_arrival + lasts, NEVER)
    ends = np.minimum(problem.shift_hi[pair[0]], problem.shift_hi[pair[1]]).astype(np.int64)
    arrival = reach(begins, out_s)
    departs = problem.speeds.leave_by_all(np.maximum(arrival, np.minimum(done, NEVER) - int(problem.service_s[node])), out_s)
    in_time = np.asarray(allowed & (done < NEVER) & (reach(np.minimum(done, NEVER), back_s) <= ends))
    travel = np.asarray(reach(departs, out_s) - departs + back_s)
    with_cash, cash = in_time, int(problem.cash_fen[node])
    if cash:
        with_cash, travel = _deposit(problem, (node, cash), pair, done, ends)
        with_cash, travel = with_cash & in_time, travel + out_s
    latest = problem.speeds.leave_by_all(ends, back_s) - int(problem.service_s[node])
    return Alone(pair[0], pair[1], allowed, in_time, np.asarray(with_cash), arrival, latest, travel)


def _pause_table(problem: Problem, pair: tuple[I64, I64]) -> I64:
    """Return (from, until, lasts) of each pair's pauses; rows are filled up with pauses that are never due."""
    rests = [problem.pauses_of(a, b) for a, b in zip(pair[0].tolist(), pair[1].tolist(), strict=True)]
    width = max([0, *(len(one) for one in rests)])
    return np.array([[*one, *[(0, NEVER, 0)] * (width - len(one))] for one in rests], dtype=np.int64).reshape(len(rests), width, 3)


def _done(problem: Problem, node: int, arrival: I64) -> I64:
    start = np.full(arrival.shape, NEVER, dtype=np.int64)
    for k in range(problem.window_lo.shape[1] - 1, -1, -1):
        begin = np.maximum(arrival, int(problem.window_lo[node, k]))
        start = np.where(begin <= int(problem.window_hi[node, k]), begin, start)
    return np.asarray(start + int(problem.service_s[node]))


def _deposit(problem: Problem, visit: tuple[int, int], pair: tuple[I64, I64], done: I64, ends: I64) -> tuple[Bools, I64]:
    """Return, per pair, whether some bank that takes the cash takes it in time, and the travel from the visit by the best such bank home."""
    node, cash = visit
    best = np.full(done.shape, NEVER, dtype=np.int64)
    if cash > problem.carry_fen[node]:
        return np.zeros(done.shape, dtype=np.bool_), best
    offices = offices_for(problem, int(problem.purse[node]))
    hops = problem.travel_s[node, offices]
    for near in np.argsort(hops, kind="stable").tolist():
        # The near banks settle nearly all pairs; of a farther one only those are timed that it would bring home sooner.
        hop, office = int(hops[near]), int(offices[near])
        back = problem.back_s[office]
        home_s = np.maximum(back[pair[0]], back[pair[1]])
        at = np.flatnonzero(home_s < best - hop)
        back_s = home_s[at].astype(np.int64)
        over = problem.speeds.reach_all(_done(problem, office, problem.speeds.reach_all(done[at], hop)), back_s)
        in_time = over <= ends[at]
        best[at[in_time]] = hop + back_s[in_time]
    return np.asarray(best < NEVER), best
