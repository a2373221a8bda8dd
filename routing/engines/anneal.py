"""The compiled search itself: ruin strings of neighbouring routes, sometimes re-form two pairs, recreate greedily with blinks, anneal."""

# mypy: disable-error-code="no-untyped-def,no-untyped-call,untyped-decorator"
# ruff: noqa: FBT003
# Types are numba's to infer; the wrappers in `search.py` are typed.

from __future__ import annotations

import numpy as np

from routing.engines.kernels import (
    CASH,
    FAR,
    HI,
    LEN,
    LO,
    LOAD,
    LOSS,
    NODE,
    OLD_TRIED,
    P_CAPACITY,
    P_DIV,
    P_EMPTY_TRIED,
    P_PAIR_PERMILLE,
    P_RUIN,
    P_STRING,
    P_VISITS,
    P_WEIGHT,
    S_BEST,
    S_COST,
    S_ITER,
    S_PAIR_KEPT,
    S_PAIR_TRIED,
    S_UNSERVED,
    SERVICE,
    TRAVEL,
    WANTED_PERMILLE,
    WANTED_TEMPERATURES,
    WANTED_TRIED,
    A,
    B,
    deposit,
    draw,
    imbalance,
    lean,
    leg_back,
    leg_out,
    may_serve,
    owning,
    pauses_of,
    put,
    reach,
    refresh,
    rest_until,
    save,
    scan,
    settle,
    start_at,
    uniform,
)


@lean
def ruin_route(r, centre, length, n, rt, rs, where, gone, gone_count, rng):
    """Take a string of about `length` visits around `centre` out of route r, or a split one that keeps some in between."""
    visits = 0
    at = 0
    for p in range(rs[r, LEN]):
        if rt[r, p, NODE] < n:
            if rt[r, p, NODE] == centre:
                at = visits
            visits += 1
    length = min(length, visits)
    kept = 0
    if length > 1 and length < visits and draw(rng) & 1:
        kept = 1
        while length + kept < visits and uniform(rng) > 0.01:
            kept += 1
            if draw(rng) & 1:
                break
    span = length + kept
    low, high = max(0, at - span + 1), min(at, visits - span)
    first = low + draw(rng) % (high - low + 1)
    hole = first + 1 + draw(rng) % max(1, length) if kept > 0 else FAR
    i, q = 0, 0
    for p in range(rs[r, LEN]):
        v = rt[r, p, NODE]
        if v < n:
            inside = first <= i < first + span and not (hole <= i < hole + kept)
            i += 1
            if inside:
                where[v] = -1
                gone[gone_count] = v
                gone_count += 1
                continue
        rt[r, q, NODE] = v
        q += 1
    rs[r, LEN] = q
    return gone_count


@owning
def refit(r, n, travel, node, win, way_out, way_back, rest, speeds, banks, crew, needs, excluded, rt, rs, par, lab, order, where, gone, gone_count):
    """Give route r to its new pair: keep, in order, the visits they may make and reach in time; the others leave."""
    clock, here, q, cash = rs[r, LO], -1, 0, 0
    loaded, taken, due_count = 0, 0, 0
    if speeds is not None:
        pauses, due_count = pauses_of(rest, rs[r, A], rs[r, B])
    for p in range(rs[r, LEN]):
        v = rt[r, p, NODE]
        if v >= n:
            continue
        start, upto, back = -1, taken, 0
        if may_serve(crew, needs, excluded, rs, r, v) and loaded + node[v, LOAD] <= par[P_CAPACITY]:
            leg = leg_out(way_out, rs, r, v) if here < 0 else travel[here, v]
            start = start_at(win, v, clock + leg if speeds is None else reach(speeds, clock, leg))
            upto = taken
            if speeds is not None:
                arrival = reach(speeds, clock, leg)
                while start >= 0 and upto < due_count and start + node[v, SERVICE] > pauses[upto, 1]:
                    # The latest pause that still precedes the visit: on arrival, or at home before the first stop.
                    over = pauses[upto, 0] + pauses[upto, 2]
                    arrival = reach(speeds, max(clock, over), leg) if here < 0 else rest_until(pauses, upto, upto + 1, arrival)
                    clock = max(clock, over) if here < 0 else clock
                    start = start_at(win, v, arrival) if arrival >= 0 else -1
                    upto += 1
        if start >= 0:
            done, way = start + node[v, SERVICE], leg_back(way_back, rs, r, v)
            back = done + way if speeds is None else reach(speeds, done, way)
        if start < 0 or back > rs[r, HI]:
            where[v] = -1
            gone[gone_count] = v
            gone_count += 1
            continue
        rt[r, q, NODE] = v
        q += 1
        clock, here, taken = start + node[v, SERVICE], v, upto
        loaded += node[v, LOAD]
        cash += node[v, CASH]
    rs[r, LEN] = q
    if cash == 0:
        if refresh(r, travel, node, win, way_out, way_back, rest, speeds, rt, rs, par):
            return gone_count
    elif deposit(r, travel, node, win, way_out, way_back, rest, speeds, banks, rt, rs, par, lab, order):
        return gone_count
    q = 0
    for p in range(rs[r, LEN]):
        v = rt[r, p, NODE]
        if node[v, CASH] > 0:
            where[v] = -1
            gone[gone_count] = v
            gone_count += 1
        else:
            rt[r, q, NODE] = v
            q += 1
    rs[r, LEN] = q
    if refresh(r, travel, node, win, way_out, way_back, rest, speeds, rt, rs, par):
        return gone_count
    return clear(r, n, rt, rs, where, gone, gone_count, travel, node, win, way_out, way_back, rest, speeds, par)


@lean
def clear(r, n, rt, rs, where, gone, gone_count, travel, node, win, way_out, way_back, rest, speeds, par):
    """Empty a route; all its visits leave."""
    for p in range(rs[r, LEN]):
        v = rt[r, p, NODE]
        if v < n:
            where[v] = -1
            gone[gone_count] = v
            gone_count += 1
    rs[r, LEN] = 0
    refresh(r, travel, node, win, way_out, way_back, rest, speeds, rt, rs, par)
    return gone_count


@lean
def set_pair(r, a, b, crew, rs):
    rs[r, A], rs[r, B] = a, b
    rs[r, LO], rs[r, HI] = max(crew[a, 0], crew[b, 0]), min(crew[a, 1], crew[b, 1])


@lean
def choose_pairs(r, seed, near, where, weight, rs, idle, scale, rng, choice):
    """Pick a change of partners for route r: with a neighbouring route or with somebody idle. choice = (r2, a1, b1, a2, b2); False if none.

    Screened: a loss of matching weight beyond `scale` times a random share is not even tried.
    """
    a, b = rs[r, A], rs[r, B]
    share = scale * uniform(rng)
    if draw(rng) & 1:
        a, b = b, a
    if idle.shape[0] > 0 and draw(rng) % 4 == 0:
        k = draw(rng) % idle.shape[0]
        c = idle[k]
        if weight[a, c] <= 0 or weight[a, c] - weight[a, b] < -share:
            return False
        choice[0], choice[1], choice[2], choice[3], choice[4] = -1, a, c, k, b
        return True
    r2 = -1
    for _ in range(8):
        u = near[seed, draw(rng) % near.shape[1]]
        if where[u] >= 0 and where[u] != r:
            r2 = where[u]
            break
    if r2 < 0 or draw(rng) % 8 == 0:
        r2 = draw(rng) % rs.shape[0]
    if r2 == r:
        return False
    c, d = rs[r2, A], rs[r2, B]
    if draw(rng) & 1:
        c, d = d, c
    if weight[a, c] <= 0 or weight[b, d] <= 0:
        return False
    if weight[a, c] + weight[b, d] - weight[a, b] - weight[c, d] < -share:
        return False
    choice[0], choice[1], choice[2], choice[3], choice[4] = r2, a, c, b, d
    return True


@lean
def choose_pairs_for(v, weight, rs, idle, crew, needs, excluded, rng, choice):
    """Pick a legal change of partners after which some pair may make visit v. choice as in `choose_pairs`; returns the route that changes, or -1.

    Not screened: what keeps a dear visit out is often a pair that no gain in matching weight would ever form.
    """
    routes = rs.shape[0]
    for _ in range(WANTED_TRIED):
        r = draw(rng) % routes
        a, b = rs[r, A], rs[r, B]
        if draw(rng) & 1:
            a, b = b, a
        k = draw(rng) % (routes + idle.shape[0])
        if k == r:
            continue
        if k < routes:
            c, d = rs[k, A], rs[k, B]
            if draw(rng) & 1:
                c, d = d, c
            if weight[b, d] <= 0:
                continue
        else:
            c, d = idle[k - routes], -1
        if weight[a, c] <= 0 or excluded[v, a] or excluded[v, c]:
            continue
        able = True
        for w in range(needs.shape[1]):
            if needs[v, w] & (crew[a, 2 + w] | crew[c, 2 + w]) != needs[v, w]:
                able = False
        if able:
            if k < routes:
                choice[0], choice[1], choice[2], choice[3], choice[4] = k, a, c, b, d
            else:
                choice[0], choice[1], choice[2], choice[3], choice[4] = -1, a, c, k - routes, b
            return r
    return -1


@lean
def sort_keys(list_, count, node, win, way_out, rng, keys, capacity_bound):
    """Give each visit to insert a key: random, dearest, farthest, nearest, narrowest, earliest or latest first."""
    kind = draw(rng) % 14
    for i in range(count):
        v = list_[i]
        if kind < 4:
            keys[i] = draw(rng) & 0xFFFFFFFF
        elif kind < 8:
            keys[i] = -node[v, LOAD] if capacity_bound else -node[v, LOSS]
        elif kind < 10:
            keys[i] = -way_out[0, v]
        elif kind < 11:
            keys[i] = way_out[0, v]
        else:
            width, first, last = 0, FAR, -1
            for k in range(0, win.shape[1], 2):
                if win[v, k + 1] >= 0:
                    width += win[v, k + 1] - win[v, k]
                    first, last = min(first, win[v, k]), max(last, win[v, k + 1])
            keys[i] = width if kind == 11 else (first if kind == 12 else -last)
    for i in range(1, count):
        key, v, j = keys[i], list_[i], i - 1
        while j >= 0 and keys[j] > key:
            keys[j + 1], list_[j + 1] = keys[j], list_[j]
            j -= 1
        keys[j + 1], list_[j + 1] = key, v


@lean
def place(v, is_old, limit, travel, inward, node, win, way_out, way_back, speeds, banks, crew, needs, excluded, near, rt, rs, par, rng, where,
          seen, mark, touched, ruined_count, found):
    """Return the route with the cheapest insertion of v (or -1); found = (gap, bank, extra).

    Routes of near visits first, some empty ones, then all; visits that were left out before try only the routes just ruined.
    """
    best, chosen = limit, -1
    if is_old:
        for i in range(ruined_count):
            r = touched[i]
            if may_serve(crew, needs, excluded, rs, r, v):
                got = scan(r, v, best, found[2:], travel, inward, node, win, way_out, way_back, speeds, banks, rt, rs, par, rng)
                if got < best:
                    best, chosen = got, r
                    found[0], found[1] = found[2], found[3]
        return chosen
    for i in range(min(40, near.shape[1])):
        r = where[near[v, i]]
        if r >= 0 and seen[r] != mark:
            seen[r] = mark
            if may_serve(crew, needs, excluded, rs, r, v):
                got = scan(r, v, best, found[2:], travel, inward, node, win, way_out, way_back, speeds, banks, rt, rs, par, rng)
                if got < best:
                    best, chosen = got, r
                    found[0], found[1] = found[2], found[3]
    tried = 0
    for r in range(rs.shape[0]):
        if tried >= par[P_EMPTY_TRIED]:
            break
        if rs[r, LEN] == 0 and seen[r] != mark:
            seen[r] = mark
            tried += 1
            if may_serve(crew, needs, excluded, rs, r, v):
                got = scan(r, v, best, found[2:], travel, inward, node, win, way_out, way_back, speeds, banks, rt, rs, par, rng)
                if got < best:
                    best, chosen = got, r
                    found[0], found[1] = found[2], found[3]
    if chosen < 0:
        for r in range(rs.shape[0]):
            if seen[r] != mark and rs[r, LEN] > 0 and may_serve(crew, needs, excluded, rs, r, v):
                got = scan(r, v, best, found[2:], travel, inward, node, win, way_out, way_back, speeds, banks, rt, rs, par, rng)
                if got < best:
                    best, chosen = got, r
                    found[0], found[1] = found[2], found[3]
    return chosen


@lean
def is_barred(v, rivals, where):
    """Report whether a rival of v is in some route: at most one node of a ring is made."""
    u = rivals[v]
    while u >= 0 and u != v:
        if where[u] >= 0:
            return True
        u = rivals[u]
    return False


@lean(nogil=True)
def anneal(iterations, temperature, screen, travel, inward, node, win, way_out, way_back, rest, speeds, banks, crew, needs, excluded, near, rivals,
           weight,
           rt, rs, best_rt, best_rs, where, unserved, idle, par, stat, rng, scratch):
    """Run so many iterations at one temperature; `stat` carries cost, best, iterations and the number of unserved between calls.

    All arrays are the caller's, `scratch` too (see `State.scratch`).
    """
    saved_rt, saved_rs, lab, order, is_old, touched, stamp, seen, gone, keys, left, found, choice = scratch
    n, routes, weight_s, div = par[P_VISITS], rs.shape[0], par[P_WEIGHT], par[P_DIV]
    stamp[:], seen[:], is_old[:] = 0, 0, False
    mark, seen_mark = 0, 0
    capacity_bound = par[P_CAPACITY] < FAR
    for _ in range(iterations):
        mark += 1
        count, gone_count = 0, 0
        seed = draw(rng) % n
        cost_before = stat[S_COST]
        paired = 0
        choice_idle, idle_before = -1, -1
        # 1 Re-form two pairs, sometimes; now and then for the sake of a visit that is left out.
        r = where[seed]
        if par[P_PAIR_PERMILLE] > 0 and draw(rng) % 1000 < par[P_PAIR_PERMILLE]:
            stat[S_PAIR_TRIED] += 1
            chosen = False
            if stat[S_UNSERVED] > 0 and draw(rng) % 1000 < WANTED_PERMILLE:
                # Only for what is dear at this temperature: else a hot search drifts away from good pairs, step by accepted step.
                v = unserved[draw(rng) % stat[S_UNSERVED]]
                r = -1
                if node[v, LOSS] > WANTED_TEMPERATURES * temperature:
                    r = choose_pairs_for(v, weight, rs, idle, crew, needs, excluded, rng, choice)
                chosen = r >= 0
                if chosen:
                    seed = v
            elif r >= 0:
                chosen = choose_pairs(r, seed, near, where, weight, rs, idle, screen * temperature, rng, choice)
            if chosen:
                paired = 1
                count = save(r, rt, rs, saved_rt, saved_rs, touched, stamp, mark, count)
                set_pair(r, choice[1], choice[2], crew, rs)
                gone_count = refit(r, n, travel, node, win, way_out, way_back, rest, speeds, banks, crew, needs, excluded, rt, rs, par, lab, order,
                                   where, gone, gone_count)
                if choice[0] >= 0:
                    r2 = choice[0]
                    count = save(r2, rt, rs, saved_rt, saved_rs, touched, stamp, mark, count)
                    set_pair(r2, choice[3], choice[4], crew, rs)
                    gone_count = refit(r2, n, travel, node, win, way_out, way_back, rest, speeds, banks, crew, needs, excluded, rt, rs, par, lab,
                                       order,
                                       where, gone, gone_count)
                else:
                    choice_idle = choice[3]
                    idle_before = idle[choice_idle]
                    idle[choice_idle] = choice[4]
        # 2 Ruin strings of routes around the seed.
        average = 0
        used = 0
        for q in range(routes):
            if rs[q, LEN] > 0:
                used += 1
        average = max(1, (n - stat[S_UNSERVED]) // max(1, used))
        longest = min(par[P_STRING], average)
        strings = 1 + int(uniform(rng) * (4.0 * par[P_RUIN] / (1.0 + longest) - 1.0))
        ruined = 0
        for i in range(-1, near.shape[1]):
            if ruined >= strings:
                break
            c = seed if i < 0 else near[seed, i]
            r = where[c]
            if r < 0 or (stamp[r] == mark and not (paired == 1 and ruined == 0)):
                continue
            count = save(r, rt, rs, saved_rt, saved_rs, touched, stamp, mark, count)
            before = gone_count
            gone_count = ruin_route(r, c, 1 + draw(rng) % longest, n, rt, rs, where, gone, gone_count, rng)
            cash = False
            for k in range(before, gone_count):
                cash = cash or node[gone[k], CASH] > 0
            if not settle(r, cash, travel, node, win, way_out, way_back, rest, speeds, banks, rt, rs, par, lab, order):
                gone_count = clear(r, n, rt, rs, where, gone, gone_count, travel, node, win, way_out, way_back, rest, speeds, par)
            ruined += 1
        ruined_count = count
        # 3 Recreate: the visits just removed, and some that were left out before.
        old = stat[S_UNSERVED]
        skip_from, skip_count = 0, 0
        if old > 0:
            take = min(old, OLD_TRIED)
            skip_from = draw(rng) % old
            for k in range(take):
                v = unserved[(skip_from + k) % old]
                gone[gone_count] = v
                is_old[v] = True
                gone_count += 1
            skip_count = take
        sort_keys(gone, gone_count, node, win, way_out, rng, keys, capacity_bound)
        left_count = 0
        for k in range(skip_count, old):
            left[left_count] = unserved[(skip_from + k) % old]
            left_count += 1
        lost_change = 0
        for i in range(gone_count):
            v = gone[i]
            seen_mark += 1
            limit = FAR if weight_s == 0 else (node[v, LOSS] - 1) // weight_s + 1
            r = -1
            if rivals[v] < 0 or not is_barred(v, rivals, where):
                r = place(v, is_old[v], limit, travel, inward, node, win, way_out, way_back, speeds, banks, crew, needs, excluded, near, rt,
                          rs, par, rng,
                          where, seen, seen_mark, touched, ruined_count, found)
            if r >= 0:
                count = save(r, rt, rs, saved_rt, saved_rs, touched, stamp, mark, count)
                size = rs[r, LEN]
                put(r, v, found[0], found[1], rt, rs)
                if refresh(r, travel, node, win, way_out, way_back, rest, speeds, rt, rs, par):
                    if node[v, CASH] > 0:
                        deposit(r, travel, node, win, way_out, way_back, rest, speeds, banks, rt, rs, par, lab, order)
                    where[v] = r
                else:
                    take_out(r, v, found[1], size, rt, rs, travel, node, win, way_out, way_back, rest, speeds, banks, par, lab, order)
                    r = -1
            if r < 0:
                left[left_count] = v
                left_count += 1
                lost_change += 0 if is_old[v] else node[v, LOSS]
            elif is_old[v]:
                lost_change -= node[v, LOSS]
            is_old[v] = False
        # 4 Accept or undo.
        travel_change = 0
        for i in range(count):
            travel_change += rs[touched[i], TRAVEL] - saved_rs[touched[i], TRAVEL]
        loss = stat[6] + lost_change
        way = stat[7] + travel_change
        cost = loss + weight_s * way + imbalance(rs) // div
        if cost < cost_before - temperature * np.log(max(1e-12, uniform(rng))):
            stat[S_COST], stat[6], stat[7] = cost, loss, way
            stat[S_UNSERVED] = left_count
            for k in range(left_count):
                unserved[k] = left[k]
            stat[S_PAIR_KEPT] += paired
            if cost < stat[S_BEST]:
                stat[S_BEST] = cost
                for q in range(routes):
                    for f in range(rs.shape[1]):
                        best_rs[q, f] = rs[q, f]
                    for p in range(rs[q, LEN]):
                        best_rt[q, p] = rt[q, p, NODE]
        else:
            for i in range(count):
                r = touched[i]
                for p in range(rs[r, LEN]):
                    if rt[r, p, NODE] < n:
                        where[rt[r, p, NODE]] = -1
            for i in range(count):
                r = touched[i]
                for f in range(rs.shape[1]):
                    rs[r, f] = saved_rs[r, f]
                for p in range(rs[r, LEN] + 1):
                    for f in range(5):
                        rt[r, p, f] = saved_rt[r, p, f]
                    if p < rs[r, LEN] and rt[r, p, NODE] < n:
                        where[rt[r, p, NODE]] = r
            if choice_idle >= 0:
                idle[choice_idle] = idle_before
        stat[S_ITER] += 1


@owning
def construct(wanted, travel, inward, node, win, way_out, way_back, rest, speeds, banks, crew, needs, excluded, near, rivals, rt, rs, where, par,
              rng):
    """Insert the wanted visits one by one where each is cheapest; return how many found no place (they are moved to the front of `wanted`)."""
    left, mark = 0, 0
    lab, order = np.empty((rt.shape[1] + 1, 10, 6), np.int64), np.empty(2 * rt.shape[1] + 2, np.int64)
    seen, found = np.zeros(rs.shape[0], np.int64), np.zeros(4, np.int64)
    for i in range(wanted.shape[0]):
        v = wanted[i]
        mark += 1
        limit = FAR if par[P_WEIGHT] == 0 else (node[v, LOSS] - 1) // par[P_WEIGHT] + 1
        r = -1
        if rivals[v] < 0 or not is_barred(v, rivals, where):
            r = place(v, False, limit, travel, inward, node, win, way_out, way_back, speeds, banks, crew, needs, excluded, near, rt, rs, par,
                      rng, where,
                      seen, mark, seen, 0, found)
        if r >= 0:
            size = rs[r, LEN]
            put(r, v, found[0], found[1], rt, rs)
            if refresh(r, travel, node, win, way_out, way_back, rest, speeds, rt, rs, par):
                if node[v, CASH] > 0:
                    deposit(r, travel, node, win, way_out, way_back, rest, speeds, banks, rt, rs, par, lab, order)
                where[v] = r
                continue
            take_out(r, v, found[1], size, rt, rs, travel, node, win, way_out, way_back, rest, speeds, banks, par, lab, order)
        wanted[left] = v
        left += 1
    return left


@lean
def load(n, travel, node, win, way_out, way_back, rest, speeds, rt, rs, where, par):
    """Take up routes given by their NODE column and LEN; a route that cannot be made in time is emptied."""
    for r in range(rs.shape[0]):
        if not refresh(r, travel, node, win, way_out, way_back, rest, speeds, rt, rs, par):
            rs[r, LEN] = 0
            refresh(r, travel, node, win, way_out, way_back, rest, speeds, rt, rs, par)
        for p in range(rs[r, LEN]):
            if rt[r, p, NODE] < n:
                where[rt[r, p, NODE]] = r


@lean
def take_out(r, v, bank, size, rt, rs, travel, node, win, way_out, way_back, rest, speeds, banks, par, lab, order):
    """Undo an insertion that did not hold: remove v (and the bank put in with it) again."""
    q = 0
    p = 0
    total = rs[r, LEN]
    while p < total:
        if rt[r, p, NODE] == v:
            p += 2 if bank >= 0 and p + 1 < total and rt[r, p + 1, NODE] == bank and total > size + 1 else 1
            continue
        rt[r, q, NODE] = rt[r, p, NODE]
        q += 1
        p += 1
    rs[r, LEN] = q
    if not settle(r, False, travel, node, win, way_out, way_back, rest, speeds, banks, rt, rs, par, lab, order):
        settle(r, True, travel, node, win, way_out, way_back, rest, speeds, banks, rt, rs, par, lab, order)
