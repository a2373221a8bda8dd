"""Ruin and recreate in NumPy: take neighbouring visits out of a plan, or dissolve two pairs, and put everything back more cheaply, annealed.

For days without breaks, one speed and money for any office. Deposits are stops of the routes; what is accepted has them chosen anew.
Thousands of small steps here bring a start nearer to a good plan than the few sub-solves of OR-Tools that fit into the same time.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence

import msgspec
import numpy as np

from routing.engines.exchange import draw_pairs, idle_people
from routing.engines.gaps import IMPOSSIBLE, GapRoute, Gaps
from routing.engines.layout import smallest
from routing.objective import Tour, total_cost
from routing.pairing import pair_weights
from routing.problem import I64, Problem
from routing.schedule import plan_deposits, time_route
from routing.timing import make_pair

STRING_MAX = 8
REMOVED_MEAN = 8
ROUTES_LOOKED_AT = 8
NEAREST = 60
UNSERVED_TRIED = 6
PAIR_SHARE, PAIR_SHARE_SMALL = 0.1, 0.2
HEAT_START, HEAT_LEAST, HEAT_NEAR, HEAT_END = 3_000.0, 600.0, 100.0, 30.0
HALVED_AT_VISITS = 40
BLINK_S = 240.0
HUNDREDTHS = 100


class Course(msgspec.Struct, frozen=True, kw_only=True):
    """When to stop: a predicate and how much of the course is over (0 … 1) by the clock; or a number of steps, which makes it repeatable; or how
    many steps an earlier run made in each hundredth of its course, which repeats that run.
    """

    stop: Callable[[], bool]
    gone: Callable[[], float]
    steps_max: int | None = None
    counts: Sequence[int] | None = None


class _Meter:
    """How much of a course is over before each step, and how many steps each hundredth of it got."""

    def __init__(self, course: Course) -> None:
        self.course, self.counts, self.steps = course, [0] * (HUNDREDTHS + 1), 0

    def next(self) -> float | None:
        """Count one more step and return how much is over before it, by the clock in whole hundredths; None at the end."""
        course = self.course
        if course.counts is not None:
            level = next((level for level, count in enumerate(course.counts) if self.counts[level] < count), None)
            gone = None if level is None else level / HUNDREDTHS
        elif course.stop() or self.steps == course.steps_max:
            gone = None
        elif course.steps_max is not None:
            gone = self.steps / course.steps_max
        else:
            gone = min(HUNDREDTHS, int(HUNDREDTHS * course.gone())) / HUNDREDTHS
        if gone is not None:
            self.steps += 1
            self.counts[round(HUNDREDTHS * gone)] += 1
        return gone


def is_able(problem: Problem) -> bool:
    """Report whether this search knows all rules of the day."""
    return problem.is_plain and not problem.is_tied


def recreate(
    problem: Problem, tours: Sequence[Tour], course: Course, seed: int, on_better: Callable[[list[Tour]], None], *, is_near: bool = False
) -> tuple[list[Tour], tuple[int, ...]]:
    """Return the best tours found and the steps made in each hundredth of the course. Near: begin cool, for the tours given are good already."""
    walk = _Walk(problem, random.Random(seed))
    routes = walk.read(tours)
    best, meter, hottest = list(tours), _Meter(course), HEAT_NEAR if is_near else max(HEAT_LEAST, HEAT_START / walk.size)
    if not routes:
        return best, ()
    now = least = walk.cost(routes)
    best_cost = total_cost(problem, best)
    while (gone := meter.next()) is not None:
        heat = hottest * (HEAT_END / hottest) ** gone
        changed = walk.step(routes)
        if changed is None:
            continue
        cost = walk.cost(changed)
        if cost >= now - heat * math.log(walk.rng.random() or 1e-9):
            continue
        changed = walk.settle(routes, changed)
        routes, now = changed, walk.cost(changed)
        walk.take(routes)
        if now < least:
            least = now
            found = walk.tours(routes)
            found_cost = total_cost(problem, found) if found is not None else best_cost
            if found is not None and found_cost < best_cost:
                best, best_cost = found, found_cost
                on_better(best)
    return best, tuple(meter.counts)


class _Walk(Gaps):
    """What does not change while searching, and where every visit is."""

    def __init__(self, problem: Problem, rng: random.Random) -> None:
        super().__init__(problem)
        self.rng, self.loss = rng, problem.loss.tolist()
        between, kept = problem.travel_s[: self.n, : self.n], min(NEAREST, self.n)
        self.near = smallest(between, kept).tolist()
        self.weight = pair_weights(problem).weight
        self.is_anchor = set(problem.anchors)
        self.at = [-1] * self.n
        # Fewer steps fall to each visit of a large day: it begins cooler, and its pairs stay together more often.
        self.size = 1 + self.n / HALVED_AT_VISITS
        self.pair_share = PAIR_SHARE + PAIR_SHARE_SMALL / self.size

    def read(self, tours: Sequence[Tour]) -> list[GapRoute]:
        routes = [self.route(tour.pair, self.problem.pair_serves(*tour.collectors), tour.timing.nodes) for tour in tours]
        known = [one for one in routes if one is not None]
        self.take(known)
        return known if len(known) == len(routes) else []

    def take(self, routes: Sequence[GapRoute]) -> None:
        """Note which route makes which visit."""
        self.at = [-1] * self.n
        for row, route in enumerate(routes):
            for node in route.nodes:
                if node < self.n:
                    self.at[node] = row

    def tours(self, routes: Sequence[GapRoute]) -> list[Tour] | None:
        """Let the schedule judge the routes; None where it does not agree."""
        found = []
        for route in routes:
            timing = time_route(self.problem, route.pair, route.nodes)
            if timing is None:
                return None
            found.append(Tour(route.pair, timing))
        return found

    def cost(self, routes: Sequence[GapRoute]) -> int:
        problem = self.problem
        made = {node for route in routes for node in route.nodes}
        lost = sum(loss for node, loss in enumerate(self.loss) if node not in made)
        work = [route.work_s for route in routes if route.nodes]
        balance = (max(work) - min(work)) // problem.imbalance_div if work else 0
        travel_s = sum(route.travel_s for route in routes)
        return int(lost + problem.travel_weight * travel_s + balance)

    def settle(self, old: Sequence[GapRoute], changed: list[GapRoute]) -> list[GapRoute]:
        """Choose the deposits of the changed routes anew."""
        known = {id(one) for one in old}
        settled = []
        for route in changed:
            if id(route) not in known and any(node >= self.n for node in route.nodes):
                timing = plan_deposits(self.problem, route.pair, tuple(node for node in route.nodes if node < self.n))
                if timing is not None and timing.travel_s < route.travel_s:
                    route = self.route(route.pair, route.serves, timing.nodes) or route
            settled.append(route)
        return settled

    def step(self, routes: list[GapRoute]) -> list[GapRoute] | None:
        """Make one ruin and one recreation; None when it came to nothing."""
        seed = self.rng.randrange(self.n)
        if self.rng.random() < self.pair_share:
            return self.re_pair(routes, seed)
        rows, gone = self.strings(routes, seed)
        changed = list(routes)
        for row in rows:
            shorter = self.without(routes[row], gone)
            if shorter is None:
                return None
            changed[row] = shorter
        return self.fill(changed, seed, rows, gone)

    def strings(self, routes: Sequence[GapRoute], seed: int) -> tuple[list[int], set[int]]:
        """Choose strings of stops around one visit, each from another route."""
        wanted = self.rng.randint(1, 2 * REMOVED_MEAN - 1)
        rows: list[int] = []
        gone: set[int] = set()
        for node in self.near[seed]:
            row = self.at[node]
            if len(gone) >= wanted:
                break
            if row < 0 or row in rows or node in self.is_anchor:
                continue
            order = [one for one in routes[row].nodes if one < self.n and one not in self.is_anchor]
            place = order.index(node)
            length = self.rng.randint(1, min(STRING_MAX, len(order), max(1, wanted - len(gone))))
            first = self.rng.randint(max(0, place - length + 1), min(place, len(order) - length))
            rows.append(row)
            gone |= set(order[first : first + length])
        return rows, gone

    def re_pair(self, routes: list[GapRoute], seed: int) -> list[GapRoute] | None:
        """Dissolve one or two pairs near a visit and form others of their people."""
        rows: list[int] = []
        for node in self.near[seed]:
            row = self.at[node]
            if row >= 0 and row not in rows and self.problem.anchor_of[routes[row].pair.a] < 0:
                rows.append(row)
            if len(rows) == 2:
                break
        empty = [row for row, route in enumerate(routes) if not route.nodes]
        if empty and self.rng.random() < 0.5:
            rows = [*rows[:1], self.rng.choice(empty)]
        if not rows:
            return None
        old = tuple(routes[row].collectors for row in rows)
        room = self.problem.pairs_max - len(routes) + len(rows)
        idle = idle_people(self.problem, {one for route in routes for one in route.collectors}, self.weight, self.rng)
        new = draw_pairs(old, idle, self.weight, room, self.rng)
        if new is None:
            return None
        gone = {node for row in rows for node in routes[row].nodes if node < self.n}
        changed = [route for row, route in enumerate(routes) if row not in rows]
        for a, b in new:
            fresh = self.route(make_pair(self.problem, a, b), self.problem.pair_serves(a, b), ())
            assert fresh is not None, "a pair at home is always in time"
            changed.append(fresh)
        known = {id(route): row for row, route in enumerate(changed)}
        beside = [known[id(routes[row])] for node in self.near[seed] if (row := self.at[node]) >= 0 and row not in rows]
        return self.fill(changed, seed, [*range(len(changed) - len(new), len(changed)), *beside], gone, is_moved=True)

    def fill(self, routes: list[GapRoute], seed: int, rows: Sequence[int], gone: set[int], *, is_moved: bool = False) -> list[GapRoute]:
        """Insert what was taken out, and some of what was open, into the routes around."""
        rng, problem = self.rng, self.problem
        looked = list(dict.fromkeys(rows))
        if not is_moved:
            looked = list(dict.fromkeys([*looked, *(self.at[node] for node in self.near[seed] if self.at[node] >= 0)]))
            looked += [row for row, route in enumerate(routes) if not route.nodes and row not in looked][:1]
        looked = looked[: max(ROUTES_LOOKED_AT, len(set(rows)) if not is_moved else 0)]
        open_now = [node for node, row in enumerate(self.at) if row < 0 and node not in gone]
        if len(open_now) > UNSERVED_TRIED:
            open_now.sort(key=lambda node: problem.travel_s[seed, node] * rng.random())
        visits = [*gone, *open_now[:UNSERVED_TRIED]]
        asked = np.array(visits, dtype=np.intp)
        extra = np.empty((len(looked), len(visits)), dtype=np.int64)
        gap, bank = np.empty_like(extra), np.empty_like(extra)
        for index, row in enumerate(looked):
            extra[index], gap[index], bank[index] = self.offers(routes[row], asked)
        waiting, way = set(range(len(visits))), rng.random()
        order: list[int] = []
        if way < 0.6:
            key = self.key(visits, seed, way)
            order = sorted(waiting, key=key, reverse=True)
        while waiting:
            column = order.pop() if order else self.by_regret(extra, waiting, self.dearest_s[asked])
            waiting.discard(column)
            prices = extra[:, column]
            index = int(prices.argmin())
            if len(looked) > 1 and rng.random() < 0.1:
                index = int((prices + np.array([rng.expovariate(1 / BLINK_S) for _ in looked])).argmin())
            if prices[index] >= IMPOSSIBLE:
                continue
            node, route = visits[column], routes[looked[index]]
            if problem.rivals[node] >= 0 and any(one in route.nodes for one in problem.rivals_of(node) for route in routes):
                continue
            at, office = int(gap[index, column]), int(bank[index, column])
            grown = self.route(route.pair, route.serves, (*route.nodes[:at], node, *((office,) if office >= 0 else ()), *route.nodes[at:]))
            if grown is None:
                continue
            routes[looked[index]] = grown
            if waiting:
                others = np.fromiter(waiting, dtype=np.intp, count=len(waiting))
                extra[index, others], gap[index, others], bank[index, others] = self.offers(grown, asked[others])
        return routes

    def key(self, visits: Sequence[int], seed: int, way: float) -> Callable[[int], float]:
        """Return the order in which to insert, last first: by chance, by what is lost, far or near."""
        rng, problem = self.rng, self.problem
        if way < 0.2:
            return lambda _: rng.random()
        if way < 0.35:
            return lambda column: float(self.loss[visits[column]])
        sign = 1 if way < 0.5 else -1
        return lambda column: sign * float(problem.travel_s[seed, visits[column]])

    @staticmethod
    def by_regret(extra: I64, waiting: set[int], dearest: I64) -> int:
        columns = list(waiting)
        if len(extra) < 2 or len(columns) == 1:
            return columns[0]
        two = np.partition(extra[:, columns], 1, axis=0)
        limit = np.minimum(dearest[columns], 20_000)
        return columns[int((np.minimum(two[1], limit) - np.minimum(two[0], limit)).argmax())]
