"""Compiled kernels of the own search: ruin and recreate on flat arrays. Importable on its own, so that numba's cache is found at every start.

Plain arrays only (a namedtuple passed into small functions made them six times slower). Layout, all whole numbers:

    travel[u, v]            seconds between nodes; visits 0 … n-1, then banks
    inward[v, u]            the same, transposed: an insertion test reads two rows, not a row and a column
    node[u, :]              SERVICE, CASH, LOAD, LOSS
    win[u, 2k], win[u, 2k+1] k-th window of the start of service, sorted; closed slots end at -1
    way_out, way_back[c, u] from a collector's start, to a collector's end
    crew[c, :]              SHIFT_LO, SHIFT_HI, then the skill words
    rt[r, p, :]             NODE, LEAVE, DUE, ROOM, LEG of stop p of route r; position len is the way home
    rs[r, :]                LEN, A, B, LO, HI, TRAVEL, WORK, LOADED
    par                     see the P_ constants

Functions here take more parameters than our rule allows: a struct of arrays costs the speed this file exists for.
"""

# mypy: disable-error-code="no-untyped-def,no-untyped-call,untyped-decorator"
# Types are numba's to infer; the wrappers in `search.py` are typed.

from __future__ import annotations

import numpy as np
from numba import njit

SERVICE, CASH, LOAD, LOSS = 0, 1, 2, 3
NODE, LEAVE, DUE, ROOM, LEG = 0, 1, 2, 3, 4
LEN, A, B, LO, HI, TRAVEL, WORK, LOADED = 0, 1, 2, 3, 4, 5, 6, 7
P_VISITS, P_CARRY, P_CAPACITY, P_WEIGHT, P_DIV, P_EMPTY_TRIED, P_PAIR_PERMILLE, P_RUIN, P_STRING = 0, 1, 2, 3, 4, 5, 6, 7, 8
S_COST, S_BEST, S_ITER, S_UNSERVED, S_PAIR_TRIED, S_PAIR_KEPT = 0, 1, 2, 3, 4, 5
LABELS = 10
FAR = 1 << 40
OLD_TRIED = 8
WANTED_PERMILLE = 100
WANTED_TEMPERATURES = 20.0
WANTED_TRIED = 20
BLINK_MASK = 127


@njit(cache=True)
def draw(rng):
    """Return the next 63 random bits (xorshift64*); `rng` is a one-element uint64 array."""
    x = rng[0]
    x ^= x >> np.uint64(12)
    x ^= x << np.uint64(25)
    x ^= x >> np.uint64(27)
    rng[0] = x
    return np.int64((x * np.uint64(2685821657736338717)) >> np.uint64(1))


@njit(cache=True)
def uniform(rng):
    return draw(rng) / 9.223372036854775807e18


@njit(cache=True)
def leg_out(way_out, rs, r, v):
    return max(way_out[rs[r, A], v], way_out[rs[r, B], v])


@njit(cache=True)
def leg_back(way_back, rs, r, v):
    return max(way_back[rs[r, A], v], way_back[rs[r, B], v])


@njit(cache=True)
def start_at(win, v, arrival):
    """Return the first allowed start of service, or -1."""
    for k in range(0, win.shape[1], 2):
        if win[v, k + 1] >= 0:
            start = max(arrival, win[v, k])
            if start <= win[v, k + 1]:
                return start
    return -1


@njit(cache=True)
def may_serve(crew, needs, excluded, rs, r, v):
    a, b = rs[r, A], rs[r, B]
    if excluded[v, a] or excluded[v, b]:
        return False
    for w in range(needs.shape[1]):
        need = needs[v, w]
        if need & (crew[a, 2 + w] | crew[b, 2 + w]) != need:
            return False
    return True


@njit(cache=True)
def refresh(r, travel, node, win, way_out, way_back, rt, rs, par):
    """Recompute all fields of a route from its NODE column; return whether it is feasible."""
    n, size = par[P_VISITS], rs[r, LEN]
    clock, carried, loaded, way, service = rs[r, LO], 0, 0, 0, 0
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
        if v < n:
            carried += node[v, CASH]
            loaded += node[v, LOAD]
            if carried > par[P_CARRY]:
                return False
        else:
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
            room = par[P_CARRY] - before
        rt[r, p, ROOM] = room
    return True


@njit(cache=True)
def deposit(r, travel, node, win, way_out, way_back, banks, rt, rs, par, lab, order):
    """Keep the order of visits of a route, place its deposits anew by dynamic programming, and refresh it; False if no way exists.

    lab[i, j] holds TIME, TRAVEL, CARRIED, PLACE, PARENT of label j after visit i (PLACE may be a bank).
    """
    n, m = par[P_VISITS], 0
    for p in range(rs[r, LEN]):
        if rt[r, p, NODE] < n:
            order[m] = rt[r, p, NODE]
            m += 1
    count = 1
    for i in range(m):
        v, made = order[i], 0
        for j in range(count):
            if i == 0:
                clock, way, carried = rs[r, LO], 0, 0
                leg = leg_out(way_out, rs, r, v)
            else:
                clock, way, carried = lab[i - 1, j, 0], lab[i - 1, j, 1], lab[i - 1, j, 2]
                leg = travel[lab[i - 1, j, 3], v]
            start = start_at(win, v, clock + leg)
            carried += node[v, CASH]
            if start < 0 or carried > par[P_CARRY]:
                continue
            clock = start + node[v, SERVICE]
            way += leg
            made = keep_label(lab, i, made, clock, way, carried, v, j)
            if carried > 0:
                for k in range(banks.shape[1]):
                    bank = banks[v, k]
                    hop = travel[v, bank]
                    begin = start_at(win, bank, clock + hop)
                    if begin >= 0:
                        made = keep_label(lab, i, made, begin + node[bank, SERVICE], way + hop, 0, bank, j)
        if made == 0:
            return False
        count = made
    best, chosen = FAR, -1
    for j in range(count):
        if m > 0 and lab[m - 1, j, 2] == 0:
            back = leg_back(way_back, rs, r, lab[m - 1, j, 3])
            if lab[m - 1, j, 0] + back <= rs[r, HI] and lab[m - 1, j, 1] + back < best:
                best, chosen = lab[m - 1, j, 1] + back, j
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
    return refresh(r, travel, node, win, way_out, way_back, rt, rs, par)


@njit(cache=True)
def keep_label(lab, i, made, clock, way, carried, place, parent):
    """Add a label unless another beats it; drop those it beats; a full table gives up its dearest."""
    k, worst, dearest = 0, -1, -1
    while k < made:
        if lab[i, k, 3] == place:
            if lab[i, k, 0] <= clock and lab[i, k, 1] <= way and lab[i, k, 2] <= carried:
                return made
            if clock <= lab[i, k, 0] and way <= lab[i, k, 1] and carried <= lab[i, k, 2]:
                made -= 1
                for f in range(5):
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
    return made


@njit(cache=True)
def scan(r, v, best, found, travel, inward, node, win, way_out, way_back, banks, rt, rs, par, rng):
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
        start = start_at(win, v, leave + to)
        if start < 0:
            continue
        done = start + service
        due = rt[r, p, DUE]
        if done > due:
            continue
        if cash == 0 or rt[r, p, ROOM] >= cash:
            if to + on - old < best and done + on <= due:
                best = to + on - old
                found[0], found[1] = p, -1
        elif rt[r, p, ROOM] < 0 and cash <= par[P_CARRY]:
            for k in range(banks.shape[1]):
                bank = banks[v, k]
                hop = travel[v, bank]
                onward = leg_back(way_back, rs, r, bank) if p == size else travel[bank, after]
                price = to + hop + onward - old
                if price < best:
                    begin = start_at(win, bank, done + hop)
                    if begin >= 0 and begin + node[bank, SERVICE] + onward <= due:
                        best = price
                        found[0], found[1] = p, bank
    return best


@njit(cache=True)
def put(r, v, gap, bank, rt, rs):
    """Open a gap and write the visit (and its bank) into it; the caller refreshes."""
    wide = 1 if bank < 0 else 2
    for p in range(rs[r, LEN] - 1, gap - 1, -1):
        rt[r, p + wide, NODE] = rt[r, p, NODE]
    rt[r, gap, NODE] = v
    if bank >= 0:
        rt[r, gap + 1, NODE] = bank
    rs[r, LEN] += wide


@njit(cache=True)
def imbalance(rs):
    low, high = FAR, 0
    for r in range(rs.shape[0]):
        if rs[r, LEN] > 0:
            low, high = min(low, rs[r, WORK]), max(high, rs[r, WORK])
    return high - low if high > 0 else 0


@njit(cache=True)
def save(r, rt, rs, saved_rt, saved_rs, touched, stamp, mark, count):
    """Remember a route as it was before this iteration, once."""
    if stamp[r] == mark:
        return count
    stamp[r] = mark
    touched[count] = r
    saved_rs[r] = rs[r]
    for p in range(rs[r, LEN] + 1):
        for f in range(5):
            saved_rt[r, p, f] = rt[r, p, f]
    return count + 1


@njit(cache=True)
def settle(r, has_cash_gone, travel, node, win, way_out, way_back, banks, rt, rs, par, lab, order):
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
    if has_cash_gone and deposit(r, travel, node, win, way_out, way_back, banks, rt, rs, par, lab, order):
        return True
    if refresh(r, travel, node, win, way_out, way_back, rt, rs, par):
        return True
    return deposit(r, travel, node, win, way_out, way_back, banks, rt, rs, par, lab, order)
