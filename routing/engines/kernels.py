"""Compiled kernels of the own search: ruin and recreate on flat arrays. Importable on its own, so that numba's cache is found at every start.

Plain arrays only (a namedtuple passed into small functions made them six times slower). Layout, all whole numbers:

    travel[u, v]            seconds between nodes; visits 0 … n-1, then banks
    inward[v, u]            the same, transposed: an insertion test reads two rows, not a row and a column
    node[u, :]              SERVICE, CASH, LOAD, LOSS
    win[u, 2k], win[u, 2k+1] k-th window of the start of service, sorted; closed slots end at -1
    way_out, way_back[c, u] from a collector's start, to a collector's end
    crew[c, :]              SHIFT_LO, SHIFT_HI, then the skill words
    rest[c, k, :]           k-th break of a collector: may begin from, until, lasts; closed slots may begin until -1; no slots: nobody has one
    speeds[k, :]            from, percent, work done by then (see `routing.speeds`); no rows: always the ordinary speed
                            Both None on a day without either: numba then compiles the kernels without all that, as fast as if it were not there
    rt[r, p, :]             NODE, LEAVE, DUE, ROOM, LEG of stop p of route r; position len is the way home
    rs[r, :]                LEN, A, B, LO, HI, TRAVEL, WORK, LOADED
    par                     see the P_ constants; where money goes to its bank's own offices, behind them each node's purse and carrying limit

LEAVE is when a pair drives on, DUE by when it must arrive: both with the pauses where `refresh` found them best.

Functions here take more parameters than our rule allows: a struct of arrays costs the speed this file exists for.
"""

# mypy: disable-error-code="no-untyped-def,no-untyped-call,untyped-decorator"
# Types are numba's to infer; the wrappers in `search.py` are typed.

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from numba import njit

SERVICE, CASH, LOAD, LOSS = 0, 1, 2, 3
NODE, LEAVE, DUE, ROOM, LEG = 0, 1, 2, 3, 4
LEN, A, B, LO, HI, TRAVEL, WORK, LOADED = 0, 1, 2, 3, 4, 5, 6, 7
P_VISITS, P_CARRY, P_CAPACITY, P_WEIGHT, P_DIV, P_EMPTY_TRIED, P_PAIR_PERMILLE, P_RUIN, P_STRING = 0, 1, 2, 3, 4, 5, 6, 7, 8
P_PURSES = 10
S_COST, S_BEST, S_ITER, S_UNSERVED, S_PAIR_TRIED, S_PAIR_KEPT = 0, 1, 2, 3, 4, 5
LABELS = 10
FAR = 1 << 40
OLD_TRIED = 8
WANTED_PERMILLE = 100
WANTED_TEMPERATURES = 20.0
WANTED_TRIED = 20
BLINK_MASK = 127

# Without `nrt` numba does not count references to arrays, with locked instructions in the innermost loops: that was a quarter of the time.
# A lean function can make no array (numba refuses to compile it) and keeps none; the few that make one, or call for one, own it.
lean: Any = partial(njit, cache=True, _nrt=False)
owning: Any = partial(njit, cache=True, _nrt=True)


@lean
def draw(rng):
    """Return the next 63 random bits (xorshift64*); `rng` is a one-element uint64 array."""
    x = rng[0]
    x ^= x >> np.uint64(12)
    x ^= x << np.uint64(25)
    x ^= x >> np.uint64(27)
    rng[0] = x
    return np.int64((x * np.uint64(2685821657736338717)) >> np.uint64(1))


@lean
def uniform(rng):
    return draw(rng) / 9.223372036854775807e18


@lean
def leg_out(way_out, rs, r, v):
    return max(way_out[rs[r, A], v], way_out[rs[r, B], v])


@lean
def leg_back(way_back, rs, r, v):
    return max(way_back[rs[r, A], v], way_back[rs[r, B], v])


@lean
def start_at(win, v, arrival):
    """Return the first allowed start of service, or -1."""
    for k in range(0, win.shape[1], 2):
        if win[v, k + 1] >= 0:
            start = max(arrival, win[v, k])
            if start <= win[v, k + 1]:
                return start
    return -1


@lean
def work_at(speeds, clock):
    k = speeds.shape[0] - 1
    while k > 0 and speeds[k, 0] > clock:
        k -= 1
    return speeds[k, 2] + (clock - speeds[k, 0]) * speeds[k, 1]


@lean
def reach(speeds, clock, leg):
    """Return the arrival of a way of `leg` seconds at ordinary speed."""
    if speeds.shape[0] == 0:
        return clock + leg
    work, k = work_at(speeds, clock) + 100 * leg, speeds.shape[0] - 1
    while k > 0 and speeds[k, 2] >= work:
        k -= 1
    return speeds[k, 0] - (speeds[k, 2] - work) // speeds[k, 1]


@lean
def leave_by(speeds, due, leg):
    """Return the latest departure that arrives by `due`."""
    if speeds.shape[0] == 0:
        return due - leg
    work, k = work_at(speeds, due) - 100 * leg, speeds.shape[0] - 1
    while k > 0 and speeds[k, 2] > work:
        k -= 1
    return speeds[k, 0] + (work - speeds[k, 2]) // speeds[k, 1]


@owning
def pauses_of(rest, a, b):
    """Return the pauses of a pair, as `routing.pauses.joined`, and how many they are."""
    out = np.empty((2 * rest.shape[1], 3), np.int64)
    i, j, count = 0, 0, 0
    while True:
        mine = i < rest.shape[1] and rest[a, i, 1] >= 0
        yours = j < rest.shape[1] and rest[b, j, 1] >= 0
        if not mine and not yours:
            return out, count
        if mine and yours and max(rest[a, i, 0], rest[b, j, 0]) <= min(rest[a, i, 1], rest[b, j, 1]):
            out[count, 0], out[count, 1] = max(rest[a, i, 0], rest[b, j, 0]), min(rest[a, i, 1], rest[b, j, 1])
            out[count, 2] = max(rest[a, i, 2], rest[b, j, 2])
            i, j = i + 1, j + 1
        elif mine and (not yours or rest[a, i, 1] < rest[b, j, 0]):
            out[count] = rest[a, i]
            i += 1
        else:
            out[count] = rest[b, j]
            j += 1
        count += 1


@lean
def rest_until(pauses, taken, upto, clock):
    """Return when pauses number `taken` … `upto` - 1 are over, begun at `clock` one after the other, or -1."""
    for k in range(taken, upto):
        clock = max(clock, pauses[k, 0])
        if clock > pauses[k, 1]:
            return -1
        clock += pauses[k, 2]
    return clock


@lean
def rest_from(pauses, taken, upto, due):
    """Return by when these pauses must be able to begin so that they are over at `due`, or -1."""
    for k in range(upto - 1, taken - 1, -1):
        due = min(pauses[k, 1], due - pauses[k, 2]) if pauses[k, 0] + pauses[k, 2] <= due else -1
    return due


@owning
def take_pauses(r, n, pauses, count, travel, node, win, way_out, speeds, way_back, rt, rs, before, after):
    """Choose where a route takes its pauses: for each number behind the pair the earliest time, stop by stop, then the earliest return.

    before[p] and after[p] become how many are behind the pair when service at stop p begins, and when it drives on; before[-1] those at home.
    """
    size = rs[r, LEN]
    leaves, ends = np.full((size + 1, count + 1), -1, np.int64), np.full(count + 1, -1, np.int64)
    origin, inside = np.zeros((size, count + 1), np.int64), np.zeros((size, count + 1), np.int64)
    leaves[0, 0] = rs[r, LO]
    for k in range(count):
        leaves[0, k + 1] = max(leaves[0, k], pauses[k, 0] + pauses[k, 2])
    for p in range(size):
        v = rt[r, p, NODE]
        leg = leg_out(way_out, rs, r, v) if p == 0 else travel[rt[r, p - 1, NODE], v]
        ends[:] = -1
        for k in range(count + 1):
            if leaves[p, k] < 0:
                continue
            arrival = reach(speeds, leaves[p, k], leg)
            for j in range(k, count + 1):
                clock = rest_until(pauses, k, j, arrival)
                start = start_at(win, v, clock) if clock >= 0 else -1
                if start < 0:
                    break
                done = start + node[v, SERVICE]
                if v < n and j < count and done > pauses[j, 1]:
                    continue
                if ends[j] < 0 or done < ends[j]:
                    ends[j] = done
                    origin[p, j] = k
        for j in range(count + 1):
            if ends[j] < 0:
                continue
            for m in range(j, count + 1 if p + 1 < size else j + 1):
                clock = rest_until(pauses, j, m, ends[j])
                if clock < 0:
                    break
                if leaves[p + 1, m] < 0 or clock < leaves[p + 1, m]:
                    leaves[p + 1, m] = clock
                    inside[p, m] = j
    best, chosen = FAR, -1
    for k in range(count + 1):
        if leaves[size, k] >= 0:
            back = reach(speeds, leaves[size, k], leg_back(way_back, rs, r, rt[r, size - 1, NODE])) if size > 0 else leaves[size, k]
            if back < best:
                best, chosen = back, k
    if chosen < 0:
        return False
    for p in range(size - 1, -1, -1):
        after[p] = chosen
        before[p] = inside[p, chosen]
        chosen = origin[p, before[p]]
    before[size] = chosen
    return True


@lean
def may_serve(crew, needs, excluded, rs, r, v):
    a, b = rs[r, A], rs[r, B]
    if excluded[v, a] or excluded[v, b]:
        return False
    for w in range(needs.shape[1]):
        need = needs[v, w]
        if need & (crew[a, 2 + w] | crew[b, 2 + w]) != need:
            return False
    return True


@lean
def purse_after(par, v, cash, carried, purse):
    """Return whose money a pair carries behind node v, or -1: two banks' money at once, or an office that does not take it (CASH-06)."""
    if par.shape[0] == P_PURSES:
        return 0
    own = par[P_PURSES + 2 * v]
    if v >= par[P_VISITS]:
        return 0 if carried == 0 or own == 0 or own == purse else -1
    if cash == 0:
        return purse
    return own if carried == 0 or own == purse else -1


@lean
def limit_of(par, v):
    """Return how much may be carried behind node v."""
    return par[P_CARRY] if par.shape[0] == P_PURSES else par[P_PURSES + 2 * v + 1]


@lean
def joins(r, p, upto, v, node, rt, par):
    """Report whether v's cash may go with what route r carries at gap p, and with what it takes up to the next deposit before stop `upto`."""
    if par.shape[0] == P_PURSES:
        return True
    own, n = par[P_PURSES + 2 * v], par[P_VISITS]
    for q in range(p - 1, -1, -1):
        u = rt[r, q, NODE]
        if u >= n:
            break
        if node[u, CASH] > 0:
            if par[P_PURSES + 2 * u] != own:
                return False
            break
    for q in range(p, upto):
        u = rt[r, q, NODE]
        if u >= n:
            return par[P_PURSES + 2 * u] == 0 or par[P_PURSES + 2 * u] == own
        if node[u, CASH] > 0 and par[P_PURSES + 2 * u] != own:
            return False
    return True


@lean
def lay(r, pauses, before, after, travel, node, win, way_out, way_back, speeds, rt, rs, par):
    """Write a route's times, forward and backward, with its pauses where they were chosen to be."""
    n, size = par[P_VISITS], rs[r, LEN]
    is_paused, taken = pauses.shape[0] > 0, 0
    clock, carried, purse, loaded, way, service = rs[r, LO], 0, 0, 0, 0, 0
    if is_paused:
        for k in range(before[size]):
            clock = max(clock, pauses[k, 0] + pauses[k, 2])
        taken = before[size]
    for p in range(size):
        v = rt[r, p, NODE]
        leg = leg_out(way_out, rs, r, v) if p == 0 else travel[rt[r, p - 1, NODE], v]
        arrival = reach(speeds, clock, leg)
        ready = rest_until(pauses, taken, before[p], arrival) if is_paused else arrival
        start = start_at(win, v, ready)
        if start < 0:
            return False
        rt[r, p, LEG] = leg
        if speeds.shape[0] == 0:
            way += leg
        elif p > 0:
            way += arrival - clock
        else:
            event = max(arrival, pauses[taken, 0]) if is_paused and before[p] > taken else start
            departure = leave_by(speeds, event, leg)
            way += reach(speeds, departure, leg) - departure
        service += node[v, SERVICE]
        clock = start + node[v, SERVICE]
        if is_paused:
            clock = rest_until(pauses, before[p], after[p], clock)
            taken = after[p]
        rt[r, p, LEAVE] = clock
        purse = purse_after(par, v, node[v, CASH], carried, purse)
        if v < n:
            carried += node[v, CASH]
            loaded += node[v, LOAD]
            if purse < 0 or carried > limit_of(par, v):
                return False
        else:
            if purse < 0:
                return False
            carried = 0
        rt[r, p, ROOM] = carried
    back = leg_back(way_back, rs, r, rt[r, size - 1, NODE]) if size > 0 else 0
    home = reach(speeds, clock, back)
    if home > rs[r, HI] or carried > 0 or loaded > par[P_CAPACITY]:
        return False
    way += home - clock
    rt[r, size, NODE], rt[r, size, LEG], rt[r, size, DUE], rt[r, size, ROOM] = -1, back, rs[r, HI], -1
    rs[r, TRAVEL], rs[r, WORK], rs[r, LOADED] = way, way + service, loaded
    room = -1
    for p in range(size - 1, -1, -1):
        v = rt[r, p, NODE]
        spare = leave_by(speeds, rt[r, p + 1, DUE], rt[r, p + 1, LEG])
        if is_paused:
            spare = rest_from(pauses, before[p], after[p], spare)
        spare -= node[v, SERVICE]
        due = -1
        for k in range(0, win.shape[1], 2):
            hi = min(win[v, k + 1], spare)
            if win[v, k + 1] >= 0 and win[v, k] <= hi:
                due = max(due, hi)
        if is_paused:
            due = rest_from(pauses, after[p - 1] if p > 0 else before[size], before[p], due)
        rt[r, p, DUE] = due
        if v >= n:
            begun = rt[r, p - 1, ROOM] if p > 0 else 0
            room = limit_of(par, v) - begun
        rt[r, p, ROOM] = room
    return True


@owning
def refresh_paced(r, travel, node, win, way_out, way_back, rest, speeds, rt, rs, par):
    """As `refresh`, on a day with breaks or with hours of different speed."""
    if rest.shape[1] > 0 and rs[r, LEN] > 0:
        pauses, count = pauses_of(rest, rs[r, A], rs[r, B])
        if count > 0:
            before, after = np.empty(rs[r, LEN] + 1, np.int64), np.empty(rs[r, LEN] + 1, np.int64)
            if not take_pauses(r, par[P_VISITS], pauses, count, travel, node, win, way_out, speeds, way_back, rt, rs, before, after):
                return False
            return lay(r, pauses, before, after, travel, node, win, way_out, way_back, speeds, rt, rs, par)
    return lay(r, speeds[:0], par[:0], par[:0], travel, node, win, way_out, way_back, speeds, rt, rs, par)


@lean
def refresh(r, travel, node, win, way_out, way_back, rest, speeds, rt, rs, par):
    """Recompute all fields of a route from its NODE column; return whether it is feasible."""
    if speeds is not None:
        return refresh_paced(r, travel, node, win, way_out, way_back, rest, speeds, rt, rs, par)
    n, size = par[P_VISITS], rs[r, LEN]
    clock, carried, purse, loaded, way, service = rs[r, LO], 0, 0, 0, 0, 0
    for p in range(size):
        v = rt[r, p, NODE]
        leg = leg_out(way_out, rs, r, v) if p == 0 else travel[rt[r, p - 1, NODE], v]
        start = start_at(win, v, clock + leg)
        if start < 0:
            return False
        rt[r, p, LEG] = leg
        way += leg
        service += node[v, SERVICE]
        clock = start + node[v, SERVICE]
        rt[r, p, LEAVE] = clock
        purse = purse_after(par, v, node[v, CASH], carried, purse)
        if v < n:
            carried += node[v, CASH]
            loaded += node[v, LOAD]
            if purse < 0 or carried > limit_of(par, v):
                return False
        else:
            if purse < 0:
                return False
            carried = 0
        rt[r, p, ROOM] = carried
    back = leg_back(way_back, rs, r, rt[r, size - 1, NODE]) if size > 0 else 0
    if clock + back > rs[r, HI] or carried > 0 or loaded > par[P_CAPACITY]:
        return False
    rt[r, size, NODE], rt[r, size, LEG], rt[r, size, DUE], rt[r, size, ROOM] = -1, back, rs[r, HI], -1
    rs[r, TRAVEL], rs[r, WORK], rs[r, LOADED] = way + back, way + back + service, loaded
    room = -1
    for p in range(size - 1, -1, -1):
        v = rt[r, p, NODE]
        spare = rt[r, p + 1, DUE] - rt[r, p + 1, LEG] - node[v, SERVICE]
        due = -1
        for k in range(0, win.shape[1], 2):
            hi = min(win[v, k + 1], spare)
            if win[v, k + 1] >= 0 and win[v, k] <= hi:
                due = max(due, hi)
        rt[r, p, DUE] = due
        if v >= n:
            before = rt[r, p - 1, ROOM] if p > 0 else 0
            room = limit_of(par, v) - before
        rt[r, p, ROOM] = room
    return True


@owning
def deposit(r, travel, node, win, way_out, way_back, rest, speeds, banks, rt, rs, par, lab, order):
    """Keep the order of visits of a route, place its deposits anew by dynamic programming, and refresh it; False if no way exists.

    lab[i, j] holds TIME, TRAVEL, CARRIED, PLACE, PARENT, TAKEN of label j after visit i (PLACE may be a bank; TAKEN pauses are behind it).
    """
    n, m, purse = par[P_VISITS], 0, 0
    count_rest = 0
    if speeds is not None:
        pauses, count_rest = pauses_of(rest, rs[r, A], rs[r, B])
    for p in range(rs[r, LEN]):
        if rt[r, p, NODE] < n:
            order[m] = rt[r, p, NODE]
            m += 1
    count = 1
    for i in range(m):
        v, made = order[i], 0
        for j in range(count if i > 0 else count_rest + 1):
            if i == 0:
                clock, way, carried, taken = rs[r, LO], 0, 0, j
                if speeds is not None:
                    for k in range(j):
                        clock = max(clock, pauses[k, 0] + pauses[k, 2])
                leg = leg_out(way_out, rs, r, v)
            else:
                clock, way, carried, taken = lab[i - 1, j, 0], lab[i - 1, j, 1], lab[i - 1, j, 2], lab[i - 1, j, 5]
                leg = travel[lab[i - 1, j, 3], v]
            own = purse_after(par, v, node[v, CASH], carried, purse)
            carried += node[v, CASH]
            if own < 0 or carried > limit_of(par, v):
                continue
            if speeds is not None:
                arrival = reach(speeds, clock, leg)
                way += arrival - clock
                made = grow_paused(i, v, j, made, arrival, taken, way, carried, own, pauses, count_rest, travel, node, win, banks, speeds, par, lab)
                continue
            start = start_at(win, v, clock + leg)
            if start < 0:
                continue
            clock = start + node[v, SERVICE]
            way += leg
            made = keep_label(lab, i, made, clock, way, carried, v, j, 0)
            if carried > 0:
                for k in range(banks.shape[1]):
                    bank = banks[v, k]
                    if purse_after(par, bank, 0, carried, own) < 0:
                        continue
                    hop = travel[v, bank]
                    begin = start_at(win, bank, clock + hop)
                    if begin >= 0:
                        made = keep_label(lab, i, made, begin + node[bank, SERVICE], way + hop, 0, bank, j, 0)
        if made == 0:
            return False
        count = made
        if node[v, CASH] > 0 and par.shape[0] > P_PURSES:
            purse = par[P_PURSES + 2 * v]  # Whatever is carried from here on is this bank's: money is never mixed.
    best, chosen = FAR, -1
    for j in range(count):
        if m > 0 and lab[m - 1, j, 2] == 0:
            back = leg_back(way_back, rs, r, lab[m - 1, j, 3])
            home = lab[m - 1, j, 0] + back if speeds is None else reach(speeds, lab[m - 1, j, 0], back)
            if home <= rs[r, HI] and lab[m - 1, j, 1] + home - lab[m - 1, j, 0] < best:
                best, chosen = lab[m - 1, j, 1] + home - lab[m - 1, j, 0], j
    if m > 0 and chosen < 0:
        return False
    size = m
    j = chosen
    for i in range(m - 1, -1, -1):
        size += 1 if lab[i, j, 3] >= n else 0
        order[m + i] = lab[i, j, 3]
        j = lab[i, j, 4]
    if size + 2 >= rt.shape[1]:
        return False
    p = 0
    for i in range(m):
        rt[r, p, NODE] = order[i]
        p += 1
        if order[m + i] >= n:
            rt[r, p, NODE] = order[m + i]
            p += 1
    rs[r, LEN] = p
    return refresh(r, travel, node, win, way_out, way_back, rest, speeds, rt, rs, par)


@lean
def grow_paused(i, v, j, made, arrival, taken, way, carried, purse, pauses, count, travel, node, win, banks, speeds, par, lab):
    """Grow one label of `deposit` on a day with breaks: pauses on arrival, after the visit, or at the bank."""
    for b in range(taken, count + 1):
        clock = rest_until(pauses, taken, b, arrival)
        start = start_at(win, v, clock) if clock >= 0 else -1
        if start < 0:
            break
        done = start + node[v, SERVICE]
        if b < count and done > pauses[b, 1]:
            continue
        for a in range(b, count + 1):
            leaves = rest_until(pauses, b, a, done)
            if leaves < 0:
                break
            made = keep_label(lab, i, made, leaves, way, carried, v, j, a)
            if carried > 0:
                for k in range(banks.shape[1]):
                    bank = banks[v, k]
                    if purse_after(par, bank, 0, carried, purse) < 0:
                        continue
                    reached = reach(speeds, leaves, travel[v, bank])
                    begin = start_at(win, bank, reached)
                    if begin >= 0:
                        made = keep_label(lab, i, made, begin + node[bank, SERVICE], way + reached - leaves, 0, bank, j, a)
    return made


@lean
def keep_label(lab, i, made, clock, way, carried, place, parent, taken):
    """Add a label unless another beats it; drop those it beats; a full table gives up its dearest."""
    k, worst, dearest = 0, -1, -1
    while k < made:
        if lab[i, k, 3] == place and lab[i, k, 5] == taken:
            if lab[i, k, 0] <= clock and lab[i, k, 1] <= way and lab[i, k, 2] <= carried:
                return made
            if clock <= lab[i, k, 0] and way <= lab[i, k, 1] and carried <= lab[i, k, 2]:
                made -= 1
                for f in range(6):
                    lab[i, k, f] = lab[i, made, f]
                continue
        if lab[i, k, 1] > dearest:
            dearest, worst = lab[i, k, 1], k
        k += 1
    if made == LABELS:
        if way >= dearest:
            return made
        at = worst
    else:
        at = made
        made += 1
    lab[i, at, 0], lab[i, at, 1], lab[i, at, 2], lab[i, at, 3], lab[i, at, 4] = clock, way, carried, place, parent
    lab[i, at, 5] = taken
    return made


@lean
def scan(r, v, best, found, travel, inward, node, win, way_out, way_back, speeds, banks, rt, rs, par, rng):
    """Look for a cheaper feasible insertion of v into route r than `best` extra travel; found = (gap, bank)."""
    size = rs[r, LEN]
    if size + 3 >= rt.shape[1] or rs[r, LOADED] + node[v, LOAD] > par[P_CAPACITY]:
        return best
    cash, service = node[v, CASH], node[v, SERVICE]
    last = -1
    for k in range(0, win.shape[1], 2):
        last = max(last, win[v, k + 1])
    out_v, back_v = leg_out(way_out, rs, r, v), leg_back(way_back, rs, r, v)
    leave = rs[r, LO]
    for p in range(size + 1):
        if p > 0:
            leave = rt[r, p - 1, LEAVE]
        if leave > last:
            break
        to = out_v if p == 0 else inward[v, rt[r, p - 1, NODE]]
        after = rt[r, p, NODE]
        on = back_v if p == size else travel[v, after]
        old = rt[r, p, LEG]
        if to + on - old >= best and (cash == 0 or to - old >= best):
            continue
        if draw(rng) & BLINK_MASK == 0:
            continue
        start = start_at(win, v, leave + to if speeds is None else reach(speeds, leave, to))
        if start < 0:
            continue
        done = start + service
        due = rt[r, p, DUE]
        if done > due:
            continue
        if cash == 0 or (rt[r, p, ROOM] >= cash and joins(r, p, size, v, node, rt, par)):
            if to + on - old < best and (done + on if speeds is None else reach(speeds, done, on)) <= due:
                best = to + on - old
                found[0], found[1] = p, -1
        elif cash <= limit_of(par, v) and (rt[r, p, ROOM] < 0 or (par.shape[0] > P_PURSES and joins(r, p, p, v, node, rt, par))):
            for k in range(banks.shape[1]):
                bank = banks[v, k]
                if par.shape[0] > P_PURSES and par[P_PURSES + 2 * bank] not in (0, par[P_PURSES + 2 * v]):
                    continue
                hop = travel[v, bank]
                onward = leg_back(way_back, rs, r, bank) if p == size else travel[bank, after]
                price = to + hop + onward - old
                if price < best:
                    begin = start_at(win, bank, done + hop if speeds is None else reach(speeds, done, hop))
                    if begin >= 0:
                        over = begin + node[bank, SERVICE]
                        if (over + onward if speeds is None else reach(speeds, over, onward)) <= due:
                            best = price
                            found[0], found[1] = p, bank
    return best


@lean
def put(r, v, gap, bank, rt, rs):
    """Open a gap and write the visit (and its bank) into it; the caller refreshes."""
    wide = 1 if bank < 0 else 2
    for p in range(rs[r, LEN] - 1, gap - 1, -1):
        rt[r, p + wide, NODE] = rt[r, p, NODE]
    rt[r, gap, NODE] = v
    if bank >= 0:
        rt[r, gap + 1, NODE] = bank
    rs[r, LEN] += wide


@lean
def imbalance(rs):
    low, high = FAR, 0
    for r in range(rs.shape[0]):
        if rs[r, LEN] > 0:
            low, high = min(low, rs[r, WORK]), max(high, rs[r, WORK])
    return high - low if high > 0 else 0


@lean
def save(r, rt, rs, saved_rt, saved_rs, touched, stamp, mark, count):
    """Remember a route as it was before this iteration, once."""
    if stamp[r] == mark:
        return count
    stamp[r] = mark
    touched[count] = r
    for f in range(rs.shape[1]):
        saved_rs[r, f] = rs[r, f]
    for p in range(rs[r, LEN] + 1):
        for f in range(5):
            saved_rt[r, p, f] = rt[r, p, f]
    return count + 1


@lean
def settle(r, has_cash_gone, travel, node, win, way_out, way_back, rest, speeds, banks, rt, rs, par, lab, order):
    """After removals: drop deposits that have nothing to deposit, then time the route; re-place deposits where that is needed or fails."""
    n, q, carried = par[P_VISITS], 0, 0
    for p in range(rs[r, LEN]):
        v = rt[r, p, NODE]
        if v >= n and carried == 0:
            continue
        carried = carried + node[v, CASH] if v < n else 0
        rt[r, q, NODE] = v
        q += 1
    rs[r, LEN] = q
    if has_cash_gone and deposit(r, travel, node, win, way_out, way_back, rest, speeds, banks, rt, rs, par, lab, order):
        return True
    if refresh(r, travel, node, win, way_out, way_back, rest, speeds, rt, rs, par):
        return True
    return deposit(r, travel, node, win, way_out, way_back, rest, speeds, banks, rt, rs, par, lab, order)
