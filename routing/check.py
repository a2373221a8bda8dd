"""Judge any plan, solved or hand-made: all violations of the hard rules at once, and its cost.

Shares no code with any engine: own travel times, own schedule, own objective. An empty tuple means the plan may be published.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from enum import StrEnum

import msgspec

from routing.matrix import TravelMatrix
from routing.model import PLAN_SCHEMA, Bank, Collector, Gender, GenderRule, Instance, Plan, Route, Stop, StopType, Visit


class Code(StrEnum):
    """Stable names of what can be wrong with a plan."""

    PLAN_SCHEMA = "plan_schema"
    PLAN_INSTANCE = "plan_instance"
    TOO_MANY_PAIRS = "too_many_pairs"
    PAIR_SIZE = "pair_size"
    COLLECTOR_UNKNOWN = "collector_unknown"
    COLLECTOR_TWICE = "collector_twice"
    COLLECTOR_UNAVAILABLE = "collector_unavailable"
    PAIR_CONFLICT = "pair_conflict"
    NO_LEAD = "no_lead"
    PAIR_ROTATION = "pair_rotation"
    SHIFTS_APART = "shifts_apart"
    DEPARTS_EARLY = "departs_early"
    RETURNS_LATE = "returns_late"
    STOP_UNKNOWN = "stop_unknown"
    VISIT_TWICE = "visit_twice"
    NOT_APPROVED = "not_approved"
    BEFORE_APPROVAL = "before_approval"
    COLLECTOR_EXCLUDED = "collector_excluded"
    CERT_MISSING = "cert_missing"
    LANGUAGE_MISSING = "language_missing"
    FEMALE_MISSING = "female_missing"
    NOT_MIXED = "not_mixed"
    OUTSIDE_HOURS = "outside_hours"
    OUTSIDE_WINDOW = "outside_window"
    BANK_CLOSED = "bank_closed"
    STARTS_BEFORE_ARRIVAL = "starts_before_arrival"
    TIME_WRONG = "time_wrong"
    CARRY_LIMIT = "carry_limit"
    CASH_KEPT = "cash_kept"
    UNSERVED_LIST = "unserved_list"


RULES: dict[Code, str] = {
    Code.PLAN_SCHEMA: "REQ-04", Code.PLAN_INSTANCE: "REQ-04", Code.TOO_MANY_PAIRS: "REQ-06", Code.PAIR_SIZE: "VIS-01",
    Code.COLLECTOR_UNKNOWN: "VIS-01", Code.COLLECTOR_TWICE: "VIS-01", Code.COLLECTOR_UNAVAILABLE: "REQ-09", Code.PAIR_CONFLICT: "REQ-06",
    Code.NO_LEAD: "TEAM-01", Code.PAIR_ROTATION: "REQ-06", Code.SHIFTS_APART: "REQ-09", Code.DEPARTS_EARLY: "REQ-09",
    Code.RETURNS_LATE: "REQ-09", Code.STOP_UNKNOWN: "REQ-04", Code.VISIT_TWICE: "CONT-05", Code.NOT_APPROVED: "REQ-03",
    Code.BEFORE_APPROVAL: "REQ-03", Code.COLLECTOR_EXCLUDED: "VIS-06", Code.CERT_MISSING: "VIS-06", Code.LANGUAGE_MISSING: "TEAM-01",
    Code.FEMALE_MISSING: "VIS-18", Code.NOT_MIXED: "VIS-18", Code.OUTSIDE_HOURS: "VIS-10", Code.OUTSIDE_WINDOW: "REQ-04",
    Code.BANK_CLOSED: "CASH-06", Code.STARTS_BEFORE_ARRIVAL: "REQ-04", Code.TIME_WRONG: "REQ-04", Code.CARRY_LIMIT: "CASH-08",
    Code.CASH_KEPT: "CASH-06", Code.UNSERVED_LIST: "REQ-04",
}


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
        self.travel_s = self.distance_m = self.waiting_s = self.deposits = 0

    def walk(self) -> None:
        """Judge the plan's frame, then each route, then the list of unserved visits."""
        plan, rule = self.plan, self.instance.pairing
        if plan.schema != PLAN_SCHEMA:
            self.fault(Code.PLAN_SCHEMA, "plan", f"schema must be {PLAN_SCHEMA}, got {plan.schema!r}")
        if plan.instance != self.instance.name:
            self.fault(Code.PLAN_INSTANCE, "plan", f"the plan is for {plan.instance!r}, not for {self.instance.name!r}")
        used = sum(1 for route in plan.routes if route.stops)
        if used > rule.max_pairs:
            self.fault(Code.TOO_MANY_PAIRS, "plan", f"{used} pairs used, at most {rule.max_pairs} allowed")
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
        for one in (a, b):
            if route.stops and one.id in self.busy:
                self.fault(Code.COLLECTOR_TWICE, one.id, f"{one.id} already works on route {self.busy[one.id]}", (number, None))
            self.busy[one.id] = number
        if not route.stops:
            return
        for code, subject, message in pair_faults(self.instance, a, b):
            self.fault(code, subject, message, (number, None))
        _RouteWalk(self, number, a, b).run(route)

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
        total += weights.travel_s * self.travel_s + imbalance_s // weights.imbalance_div
        wanted = max(1, sum(visit.value for visit in eligible))
        return Cost(
            total=total, mandatory_unserved=mandatory, lost_value=lost_value, travel_s=self.travel_s, imbalance_s=imbalance_s,
            served=len(self.served), eligible=len(eligible), served_value_pct=round(100 * (1 - sum(visit.value for visit in lost) / wanted), 3),
            routes=sum(1 for route in self.plan.routes if route.stops), distance_m=self.distance_m, waiting_s=self.waiting_s, deposits=self.deposits,
        )


class _RouteWalk:
    """The day of one pair: a clock, a place and the cash in hand, moved from stop to stop."""

    def __init__(self, judge: _Judge, number: int, a: Collector, b: Collector) -> None:
        self.judge, self.number, self.pair = judge, number, (a, b)
        horizon = judge.instance.horizon
        self.shift = (max(a.shift[0], b.shift[0], horizon[0]), min(a.shift[1], b.shift[1], horizon[1]))
        self.clock = self.shift[0]
        self.here: str | None = None
        self.carried_fen = self.travel_s = self.service_s = 0
        self.cash_visits: list[str] = []

    def run(self, route: Route) -> None:
        if route.departure is not None:
            self.clock = route.departure
            if self.clock < self.shift[0]:
                self.fault(Code.DEPARTS_EARLY, f"departs at {self.clock}, the pair's shift starts at {self.shift[0]}", None)
        for index, stop in enumerate(route.stops):
            self.make_stop(index, stop)
        if self.here is None:
            return
        if self.cash_visits:
            self.fault(Code.CASH_KEPT, f"cash of {', '.join(self.cash_visits)} is never deposited", None)
        legs = [self.judge.leg(self.here, one.end) for one in self.pair]
        back = self.clock + max(seconds for seconds, _ in legs)
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
        arrival = self.clock + self.travel_to(place.location)
        if stop.arrival is not None and stop.arrival != arrival:
            self.fault(Code.TIME_WRONG, f"arrival given as {stop.arrival}, is {arrival}", index, place.id)
        start = stop.start if stop.start is not None else self.earliest_start(place, arrival)
        if start < arrival:
            self.fault(Code.STARTS_BEFORE_ARRIVAL, f"starts at {start} before arrival at {arrival}", index, place.id)
        self.judge_start(index, place, start)
        self.judge.waiting_s += max(0, start - arrival)
        self.clock, self.here = start + place.service_s, place.location
        if stop.end is not None and stop.end != self.clock:
            self.fault(Code.TIME_WRONG, f"end given as {stop.end}, is {self.clock}", index, place.id)
        self.service_s += place.service_s
        if isinstance(place, Visit):
            self.serve(index, place)
        else:
            self.judge.deposits += 1
            self.carried_fen, self.cash_visits = 0, []

    def travel_to(self, location: str) -> int:
        """Move on: the first leg lasts as long as the slower member's own way."""
        origins = [self.here] if self.here is not None else [one.start for one in self.pair]
        legs = [self.judge.leg(origin, location) for origin in origins]
        seconds = max(seconds for seconds, _ in legs)
        self.travel_s += seconds
        self.judge.distance_m += max(metres for _, metres in legs)
        return seconds

    def allowed_starts(self, place: Visit | Bank) -> Iterator[tuple[int, int]]:
        if isinstance(place, Bank):
            yield place.open, place.close - place.service_s
            return
        first, last = self.judge.instance.horizon
        released = place.approval.effective_from or 0
        for opens, closes in place.windows:
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
        if not any(opens <= start <= closes for opens, closes in place.windows):
            self.fault(Code.OUTSIDE_WINDOW, f"start {start} lies outside the windows {[list(one) for one in place.windows]}", index, place.id)

    def serve(self, index: int, visit: Visit) -> None:
        if visit.id in self.judge.served:
            self.fault(Code.VISIT_TWICE, f"{visit.id} is already served on route {self.judge.served[visit.id]}", index, visit.id)
        self.judge.served[visit.id] = self.number
        for code, message in visit_faults(visit, *self.pair):
            self.fault(code, message, index, visit.id)
        if visit.cash_fen:
            self.carried_fen += visit.cash_fen
            self.cash_visits.append(visit.id)
        limit = self.judge.instance.cash.carry_limit_fen
        if self.carried_fen > limit:
            self.fault(Code.CARRY_LIMIT, f"carries {self.carried_fen} fen, the limit is {limit}", index, visit.id)


def pair_faults(instance: Instance, a: Collector, b: Collector) -> Iterator[tuple[Code, str, str]]:
    """Yield (code, subject, message) for everything that forbids these two from working together today."""
    rule, names = instance.pairing, f"{a.id}+{b.id}"
    if a.id == b.id:
        yield Code.PAIR_SIZE, a.id, "a pair needs two different collectors"
    for one in (a, b):
        if not one.available:
            yield Code.COLLECTOR_UNAVAILABLE, one.id, f"{one.id} is not available"
    both = {a.id, b.id}
    if any(set(conflict) == both for conflict in rule.conflicts):
        yield Code.PAIR_CONFLICT, names, "these two must not work together"
    if rule.require_lead and not (a.lead or b.lead):
        yield Code.NO_LEAD, names, "no member is licensed to lead"
    days = rule.max_consecutive_days
    recent = [day for day in rule.history if day.days_ago <= days]
    if len(recent) >= days and all(any(set(pair) == both for pair in day.pairs) for day in recent):
        yield Code.PAIR_ROTATION, names, f"worked together on each of the last {days} days"
    if max(a.shift[0], b.shift[0]) >= min(a.shift[1], b.shift[1]):
        yield Code.SHIFTS_APART, names, "the shifts do not overlap"


def visit_faults(visit: Visit, a: Collector, b: Collector) -> Iterator[tuple[Code, str]]:
    """Yield (code, message) for everything that forbids this pair to make this visit, whatever the time."""
    genders = {a.gender, b.gender}
    if not visit.approval.is_granted:
        yield Code.NOT_APPROVED, f"{visit.id}: the approval is {visit.approval.status}"
    for one in (a, b):
        if one.id in visit.excluded_collectors:
            yield Code.COLLECTOR_EXCLUDED, f"{visit.id}: {one.id} is excluded"
    if visit.required_cert is not None and visit.required_cert not in (*a.certs, *b.certs):
        yield Code.CERT_MISSING, f"{visit.id}: nobody of the pair holds {visit.required_cert}"
    if visit.required_language is not None and visit.required_language not in (*a.languages, *b.languages):
        yield Code.LANGUAGE_MISSING, f"{visit.id}: nobody of the pair speaks {visit.required_language}"
    if visit.gender_rule is GenderRule.FEMALE_PRESENT and Gender.F not in genders:
        yield Code.FEMALE_MISSING, f"{visit.id}: a woman must be present"
    if visit.gender_rule is GenderRule.MIXED and len(genders) < 2:
        yield Code.NOT_MIXED, f"{visit.id}: a woman and a man are needed"
