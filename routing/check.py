"""Judge any plan, solved or hand-made: all violations of the hard rules at once, and its cost.

Shares no code with any engine: own travel times, own schedule, own objective. An empty tuple means the plan may be published.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import msgspec

from routing.check_clock import DuePause, arrives, due_pauses
from routing.check_rules import RULES, Code, pair_faults, visit_faults
from routing.check_running import Standing, freed_at, match_locked, standing
from routing.matrix import TravelMatrix
from routing.model import PLAN_SCHEMA, Bank, Collector, Instance, Plan, Route, Stop, StopType, Visit


class Violation(msgspec.Struct, frozen=True, kw_only=True):
    """One broken hard rule: what (`code`, `rule`), who or what (`subject`), where (`route`, `stop`; counted from 0), and the sentence."""

    code: Code
    rule: str
    subject: str
    message: str
    route: int | None = None
    stop: int | None = None


class Cost(msgspec.Struct, frozen=True, kw_only=True):
    """The objective and its parts; `total` is what solvers minimise."""

    total: int
    mandatory_unserved: int
    lost_value: int
    travel_s: int
    imbalance_s: int
    served: int
    eligible: int
    served_value_pct: float
    routes: int
    distance_m: int
    waiting_s: int
    deposits: int
    moved_price: int = 0


def check(instance: Instance, plan: Plan, matrix: TravelMatrix | None = None) -> tuple[Violation, ...]:
    """Return every violation of the hard rules, in plan order; empty means clean."""
    judge = _Judge(instance, plan, matrix)
    judge.walk()
    return tuple(judge.violations)


def cost(instance: Instance, plan: Plan, matrix: TravelMatrix | None = None) -> Cost:
    """Return the objective with its parts, also of a plan that breaks rules."""
    judge = _Judge(instance, plan, matrix)
    judge.walk()
    return judge.cost()


class _Judge:
    """One pass over a plan. Holds what the pass accumulates; `walk` runs once."""

    def __init__(self, instance: Instance, plan: Plan, matrix: TravelMatrix | None) -> None:
        self.instance, self.plan, self.matrix = instance, plan, matrix
        self.places = {place.id: place for place in instance.locations}
        self.rows = {one: index for index, one in enumerate(matrix.ids)} if matrix else {}
        self.collectors = {one.id: one for one in instance.collectors}
        self.visits = {one.id: one for one in instance.visits}
        self.banks = {one.id: one for one in instance.banks}
        self.violations: list[Violation] = []
        self.busy: dict[str, int] = {}
        self.served: dict[str, int] = {}
        self.work_s: list[int] = []
        self.travel_s = self.distance_m = self.waiting_s = self.deposits = self.moved_price = 0
        self.debtors: dict[str, str] = {}
        self.locked, self.unlocked = match_locked(instance, plan)

    def walk(self) -> None:
        """Judge the plan's frame, then each route, then the list of unserved visits."""
        plan, rule = self.plan, self.instance.pairing
        if plan.schema != PLAN_SCHEMA:
            self.fault(Code.PLAN_SCHEMA, "plan", f"schema must be {PLAN_SCHEMA}, got {plan.schema!r}")
        if plan.instance != self.instance.name:
            self.fault(Code.PLAN_INSTANCE, "plan", f"the plan is for {plan.instance!r}, not for {self.instance.name!r}")
        parted = {number for number, one in self.locked.items() if not one.together}
        used = sum(1 for number, route in enumerate(plan.routes) if route.stops and number not in parted)
        pairs_max = max(rule.max_pairs, sum(1 for one in self.instance.progress if one.together))
        if used > pairs_max:
            self.fault(Code.TOO_MANY_PAIRS, "plan", f"{used} pairs used, at most {pairs_max} allowed")
        for one in self.unlocked:
            self.fault(Code.LOCKED_CHANGED, "+".join(one.collectors), f"the locked stops of {' and '.join(one.collectors)} are not in the plan")
        for number, route in enumerate(plan.routes):
            self.judge_route(number, route)
        self.judge_unserved()

    def fault(self, code: Code, subject: str, message: str, at: tuple[int, int | None] | None = None) -> None:
        route, stop = at or (None, None)
        self.violations.append(Violation(code=code, rule=RULES[code], subject=subject, message=message, route=route, stop=stop))

    def leg(self, origin: str, destination: str) -> tuple[int, int]:
        """Return (seconds, metres) from one location to another."""
        if self.matrix is not None:
            row, column = self.rows[origin], self.rows[destination]
            return int(self.matrix.seconds[row, column]), int(self.matrix.metres[row, column])
        model, a, b = self.instance.travel, self.places[origin], self.places[destination]
        phi_a, lambda_a, phi_b, lambda_b = (math.radians(x) for x in (a.lat, a.lon, b.lat, b.lon))
        chord = math.sin((phi_b - phi_a) / 2) ** 2 + math.cos(phi_a) * math.cos(phi_b) * math.sin((lambda_b - lambda_a) / 2) ** 2
        metres = int(2 * model.earth_radius_m * math.asin(min(1.0, math.sqrt(chord))) * model.detour_factor + 0.5)
        return int(metres * 3.6 / model.speed_kmh + 0.5), metres

    def judge_route(self, number: int, route: Route) -> None:
        unknown = [name for name in route.collectors if name not in self.collectors]
        if len(route.collectors) != 2:
            self.fault(Code.PAIR_SIZE, f"route {number}", f"needs exactly two collectors, has {len(route.collectors)}", (number, None))
        for name in unknown:
            self.fault(Code.COLLECTOR_UNKNOWN, name, f"collector {name} is unknown", (number, None))
        if unknown or len(route.collectors) != 2:
            return
        a, b = (self.collectors[name] for name in route.collectors)
        lock = self.locked.get(number)
        if lock is not None and not lock.together:
            self.travel_s += standing(self.instance, lock, self.leg).travel_s
            self.mark_locked(number, route, len(lock.stops))
            return
        for one in (a, b):
            if route.stops and one.id in self.busy:
                self.fault(Code.COLLECTOR_TWICE, one.id, f"{one.id} already works on route {self.busy[one.id]}", (number, None))
            self.busy[one.id] = number
        if not route.stops:
            return
        for code, subject, message in pair_faults(self.instance, a, b) if lock is None or len(route.stops) > len(lock.stops) else ():
            self.fault(code, subject, message, (number, None))
        walk = _RouteWalk(self, number, (a, b), due_pauses(self.instance, a, b, lock))
        if lock is not None:
            self.mark_locked(number, route, len(lock.stops))
            walk.stand(standing(self.instance, lock, self.leg))
        walk.run(route, 0 if lock is None else len(lock.stops))

    def mark_locked(self, number: int, route: Route, count: int) -> None:
        """Take locked stops as they are: what has happened is not judged again."""
        for index, stop in enumerate(route.stops[:count]):
            if stop.type is StopType.DEPOSIT:
                self.deposits += 1
            elif stop.type is StopType.VISIT:
                self.mark_served(number, index, self.visits[str(stop.id)])

    def mark_served(self, number: int, index: int, visit: Visit) -> None:
        if visit.id in self.served:
            message = f"{visit.id} is already served on route {self.served[visit.id]}"
            self.fault(Code.VISIT_TWICE, visit.id, message, (number, index))
        elif visit.debtor and visit.debtor in self.debtors:
            message = f"{visit.id}: the same debtor is visited today by {self.debtors[visit.debtor]} already"
            self.fault(Code.DEBTOR_TWICE, visit.id, message, (number, index))
        self.served[visit.id] = number
        if visit.debtor:
            self.debtors.setdefault(visit.debtor, visit.id)

    def judge_unserved(self) -> None:
        if self.plan.unserved is None:
            return
        listed = [str(one.id) for one in self.plan.unserved]
        absent = {one for one in self.visits if one not in self.served}
        for one in sorted(set(listed) - absent):
            self.fault(Code.UNSERVED_LIST, one, f"{one} is listed as unserved but is {'served' if one in self.served else 'unknown'}")
        for one in sorted(absent - set(listed)):
            self.fault(Code.UNSERVED_LIST, one, f"{one} has no stop and is not listed as unserved")
        for one in sorted({one for one in listed if listed.count(one) > 1} if len(set(listed)) < len(listed) else ()):
            self.fault(Code.UNSERVED_LIST, one, f"{one} is listed as unserved twice")

    def cost(self) -> Cost:
        eligible = [visit for visit in self.instance.visits if visit.approval.is_granted]
        lost = [visit for visit in eligible if visit.id not in self.served]
        weights = self.instance.objective
        mandatory = sum(1 for visit in lost if visit.mandatory)
        lost_value = sum(visit.value for visit in lost if not visit.mandatory)
        imbalance_s = max(self.work_s) - min(self.work_s) if self.work_s else 0
        total = weights.mandatory_unserved * mandatory + weights.lost_value * lost_value
        total += self.moved_price + weights.travel_s * self.travel_s + imbalance_s // weights.imbalance_div
        wanted = max(1, sum(visit.value for visit in eligible))
        return Cost(
            total=total, mandatory_unserved=mandatory, lost_value=lost_value, travel_s=self.travel_s, imbalance_s=imbalance_s,
            served=len(self.served), eligible=len(eligible), served_value_pct=round(100 * (1 - sum(visit.value for visit in lost) / wanted), 3),
            routes=sum(1 for route in self.plan.routes if route.stops), distance_m=self.distance_m, waiting_s=self.waiting_s, deposits=self.deposits,
            moved_price=self.moved_price,
        )


class _RouteWalk:
    """The day of one pair: a clock, a place and the cash in hand, moved from stop to stop."""

    def __init__(self, judge: _Judge, number: int, pair: tuple[Collector, Collector], due: list[DuePause]) -> None:
        self.judge, self.number, self.pair, self.due = judge, number, pair, due
        a, b = pair
        self.speeds = judge.instance.travel.speeds
        self.is_departure_given = self.is_there = False
        horizon = judge.instance.horizon
        self.shift = (max(a.shift[0], b.shift[0], horizon[0]), min(a.shift[1], b.shift[1], horizon[1]))
        freed = [one for one in (freed_at(judge.instance, a.id), freed_at(judge.instance, b.id)) if one is not None]
        earliest = max([self.shift[0], judge.instance.now or 0, *(from_s for _, from_s in freed)])
        self.shift = (earliest, self.shift[1])
        self.origins = [found[0] if (found := freed_at(judge.instance, one.id)) is not None else one.start for one in self.pair]
        self.clock = self.shift[0]
        self.here: str | None = None
        self.carried_fen = self.travel_s = self.service_s = 0
        self.cash_visits: list[str] = []
        self.owners: list[str | None] = []
        self.is_contingent = True
        self.released: tuple[int, str] | None = None
        """When and from where the pair goes on if no cash was taken and the deposit just planned is released (F12)."""

    def stand(self, at: Standing) -> None:
        """Begin where the pair stands after its locked stops; it may be as late as it cannot help."""
        self.clock, self.here = at.leaves_s, at.place
        self.travel_s, self.service_s, self.carried_fen = at.travel_s, at.service_s, at.carried_fen
        self.shift = (self.shift[0], max(self.shift[1], at.home_by_s))
        if at.carried_fen:
            self.is_contingent = False
            self.cash_visits.append("the stops made")
            self.owners.append(at.owner)

    def run(self, route: Route, locked: int) -> None:
        if route.departure is not None and not locked:
            self.clock, self.is_departure_given = route.departure, True
            if self.clock < self.shift[0]:
                self.fault(Code.DEPARTS_EARLY, f"departs at {self.clock}, the pair's shift starts at {self.shift[0]}", None)
        for index, stop in enumerate(route.stops[locked:], start=locked):
            if stop.type is StopType.PAUSE:
                self.make_pause(index, stop, route.stops[index + 1 :])
            else:
                self.make_stop(index, stop)
        if self.here is None:
            return
        if self.cash_visits:
            self.fault(Code.CASH_KEPT, f"cash of {', '.join(self.cash_visits)} is never deposited", None)
        legs = [self.judge.leg(self.here, one.end) for one in self.pair]
        back = arrives(self.speeds, self.clock, max(seconds for seconds, _ in legs))
        self.travel_s += back - self.clock
        self.judge.distance_m += max(metres for _, metres in legs)
        if route.return_at is not None and route.return_at != back:
            self.fault(Code.TIME_WRONG, f"return given as {route.return_at}, is {back}", None)
        if back > self.shift[1]:
            self.fault(Code.RETURNS_LATE, f"returns at {back}, the pair's shift ends at {self.shift[1]}", None)
        self.judge.travel_s += self.travel_s
        self.judge.work_s.append(self.travel_s + self.service_s)

    def fault(self, code: Code, message: str, stop: int | None, subject: str = "") -> None:
        self.judge.fault(code, subject or f"route {self.number}", message, (self.number, stop))

    def make_stop(self, index: int, stop: Stop) -> None:
        place: Visit | Bank | None
        if stop.type is StopType.VISIT:
            place = self.judge.visits.get(stop.id or "")
        else:
            place = self.judge.banks.get(stop.bank or "")
        if place is None:
            self.fault(Code.STOP_UNKNOWN, f"{stop.type.value} {stop.id or stop.bank!r} is unknown", index, stop.id or stop.bank or "")
            return
        left = (self.clock, self.here)
        arrival = self.clock if self.is_there else self.travel_to(place.location)
        self.is_there = False
        if stop.arrival is not None and stop.arrival != arrival:
            self.fault(Code.TIME_WRONG, f"arrival given as {stop.arrival}, is {arrival}", index, place.id)
        start = stop.start if stop.start is not None else self.earliest_start(place, arrival)
        if start < arrival:
            self.fault(Code.STARTS_BEFORE_ARRIVAL, f"starts at {start} before arrival at {arrival}", index, place.id)
        self.judge_start(index, place, start)
        self.judge_release(index, place.location, start)
        if left[1] is None:
            self.rest_at_home(left[0], place.location, start)
        self.judge.waiting_s += max(0, start - arrival)
        self.clock, self.here = start + place.service_s, place.location
        if stop.end is not None and stop.end != self.clock:
            self.fault(Code.TIME_WRONG, f"end given as {stop.end}, is {self.clock}", index, place.id)
        self.service_s += place.service_s
        if isinstance(place, Visit):
            self.serve(index, place)
            self.judge_breaks(index, place.id)
        else:
            self.judge.deposits += 1
            foreign = sorted({one for one in self.owners if one != place.bank and one is not None}) if place.bank is not None else []
            if foreign:
                self.fault(Code.DEPOSIT_FOREIGN, f"an office of {place.bank} takes no money of {', '.join(foreign)}", index, place.id)
            if self.is_contingent and self.cash_visits and left[1] is not None:
                self.released = (left[0], left[1])
            self.carried_fen, self.cash_visits, self.owners, self.is_contingent = 0, [], [], True

    def make_pause(self, index: int, stop: Stop, ahead: tuple[Stop, ...]) -> None:
        """Rest at the place of the stop before or of the next one; a pause within the window of a due break is that break."""
        goal = next((one for one in ahead if one.type is not StopType.PAUSE), None)
        onward = None if goal is None else self.judge.visits.get(goal.id or "") or self.judge.banks.get(goal.bank or "")
        place = stop.place or self.here
        if onward is None or place is None or place not in (self.here, onward.location):
            self.fault(Code.PAUSE_MISPLACED, "a pause is taken where the pair stands or at its next stop", index)
            return
        left = (self.clock, self.here)
        arrival = self.travel_to(place) if place == onward.location and not self.is_there else self.clock
        if stop.arrival is not None and stop.arrival != arrival:
            self.fault(Code.TIME_WRONG, f"arrival given as {stop.arrival}, is {arrival}", index)
        ahead_due = [one for one in self.due if stop.start is None or one.window[0] <= stop.start <= one.window[1]]
        start = stop.start if stop.start is not None else max([arrival, *(one.window[0] for one in ahead_due[:1])])
        end = stop.end if stop.end is not None else start + max([0, *(one.duration_s for one in ahead_due[:1])])
        if start < arrival or end < start:
            self.fault(Code.STARTS_BEFORE_ARRIVAL, f"pauses from {start} to {end} after arriving at {arrival}", index)
        if left[1] is None:
            self.rest_at_home(left[0], place, start)
        self.due = [one for one in self.due if not (one.window[0] <= start <= one.window[1] and end - start >= one.duration_s)]
        if place == onward.location:
            self.judge_release(index, place, start)
        elif self.released is not None:
            self.released = (end, self.released[1])
        self.judge.waiting_s += max(0, start - arrival)
        self.clock, self.here, self.is_there = end, place, place == onward.location

    def rest_at_home(self, departure: int, place: str, start: int) -> None:
        """Count as taken what was over before the pair left, or would be if it left as late as its first stop allows."""
        seconds = max(self.judge.leg(origin, place)[0] for origin in self.origins)
        kept: list[DuePause] = []
        for one in self.due:
            over = one.window[0] + one.duration_s
            is_rested = departure >= over or (not self.is_departure_given and arrives(self.speeds, over, seconds) <= start)
            kept += [] if is_rested and not kept else [one]
        self.due = kept

    def judge_breaks(self, index: int, visit: str) -> None:
        """A break is due before any visit that ends after its window; each is named once."""
        missed = [one for one in self.due if self.clock > one.window[1]]
        for one in missed:
            self.fault(Code.BREAK_MISSED, f"no break of {one.duration_s} s has begun between {one.window[0]} and {one.window[1]}", index, visit)
        self.due = [one for one in self.due if one not in missed]

    def judge_release(self, index: int, place: str, start: int) -> None:
        """Where the deposit before may be released, the pair must be in time from the stop before it (F12)."""
        if self.released is not None and arrives(self.speeds, self.released[0], self.judge.leg(self.released[1], place)[0]) > start:
            self.fault(Code.RELEASE_LATE, "without the deposit before it the pair would be later", index)
        self.released = None

    def travel_to(self, location: str) -> int:
        """Move on and return the arrival: the first leg lasts as long as the slower member's own way."""
        origins = [self.here] if self.here is not None else self.origins
        legs = [self.judge.leg(origin, location) for origin in origins]
        arrival = arrives(self.speeds, self.clock, max(seconds for seconds, _ in legs))
        self.travel_s += arrival - self.clock
        self.judge.distance_m += max(metres for _, metres in legs)
        return arrival

    def allowed_starts(self, place: Visit | Bank) -> Iterator[tuple[int, int]]:
        if isinstance(place, Bank):
            yield place.open, place.close - place.service_s
            return
        first, last = self.judge.instance.horizon
        released = place.approval.effective_from or 0
        for opens, closes in place.windows if place.pinned_start is None else ((place.pinned_start, place.pinned_start),):
            yield max(opens, released, first), min(closes, last - place.service_s)

    def earliest_start(self, place: Visit | Bank, arrival: int) -> int:
        for opens, closes in self.allowed_starts(place):
            if max(arrival, opens) <= closes:
                return max(arrival, opens)
        return arrival

    def judge_start(self, index: int, place: Visit | Bank, start: int) -> None:
        if isinstance(place, Bank):
            if not place.open <= start <= place.close - place.service_s:
                self.fault(Code.BANK_CLOSED, f"deposit at {start} lies outside {place.open} to {place.close - place.service_s}", index, place.id)
            return
        first, last = self.judge.instance.horizon
        if start < first or start + place.service_s > last:
            self.fault(Code.OUTSIDE_HOURS, f"service {start} to {start + place.service_s} lies outside {first} to {last}", index, place.id)
        if start < (place.approval.effective_from or 0):
            self.fault(Code.BEFORE_APPROVAL, f"starts at {start}, the approval is effective from {place.approval.effective_from}", index, place.id)
        if place.pinned_start is not None and start != place.pinned_start:
            self.fault(Code.PIN_BROKEN, f"starts at {start}, pinned to {place.pinned_start}", index, place.id)
        if place.announced is not None and not place.announced.window[0] <= start <= place.announced.window[1]:
            self.judge.moved_price += place.announced.price
        if not any(opens <= start <= closes for opens, closes in place.windows):
            self.fault(Code.OUTSIDE_WINDOW, f"start {start} lies outside the windows {[list(one) for one in place.windows]}", index, place.id)

    def serve(self, index: int, visit: Visit) -> None:
        self.judge.mark_served(self.number, index, visit)
        for code, message in visit_faults(visit, *self.pair):
            self.fault(code, message, index, visit.id)
        if visit.cash_fen:
            self.carried_fen += visit.cash_fen
            self.cash_visits.append(visit.id)
            if any(one != visit.bank for one in self.owners):
                self.fault(Code.CASH_MIXED, f"carries money of {self.owners[0]} and of {visit.bank} at once", index, visit.id)
            self.owners.append(visit.bank)
            self.is_contingent = self.is_contingent and visit.cash_is_cap
        rules = self.judge.instance.cash
        limit = min([rules.carry_limit_fen, *(one.carry_limit_fen for one in rules.limits if one.bank in self.owners)])
        if self.carried_fen > limit:
            self.fault(Code.CARRY_LIMIT, f"carries {self.carried_fen} fen, the limit is {limit}", index, visit.id)
