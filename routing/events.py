"""What can happen on a running day, and the day after it: a new `fieldday/2` in which what is done and what was promised is kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from routing.matrix import TravelMatrix
from routing.model import (
    RUNNING_SCHEMA,
    Announced,
    Approval,
    CollectorId,
    DoneStop,
    Fen,
    Instance,
    Location,
    LocationId,
    PairProgress,
    Plan,
    Route,
    Stop,
    StopType,
    Visit,
)
from routing.running import carried_fen, start_spans
from routing.speeds import read_speeds

PROMISE_TOLERANCE_S = 1800
PROMISE_PRICE = 1800


class SickCollector(msgspec.Struct, frozen=True, kw_only=True, tag_field="event", tag="sick_collector"):
    """A collector works no more today. The pair ends; a visit under way is finished first."""

    collector: CollectorId


class WithdrawnVisit(msgspec.Struct, frozen=True, kw_only=True, tag_field="event", tag="withdrawn_visit"):
    """A visit must not be made any more."""

    visit: str


class UrgentVisit(msgspec.Struct, frozen=True, kw_only=True, tag_field="event", tag="urgent_visit"):
    """A visit more; `location` where its place is not yet among the day's."""

    visit: Visit
    location: Location | None = None


class LatePair(msgspec.Struct, frozen=True, kw_only=True, tag_field="event", tag="late_pair"):
    """A pair can go on only from `free_at`, whatever the plan said."""

    collectors: tuple[CollectorId, CollectorId]
    free_at: int


class ClosedBank(msgspec.Struct, frozen=True, kw_only=True, tag_field="event", tag="closed_bank"):
    """A branch takes no more deposits from `from_s` on."""

    bank: str
    from_s: int


Event = SickCollector | WithdrawnVisit | UrgentVisit | LatePair | ClosedBank


class Fact(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a visit that was begun: real start, real end (None: still there), and the cash really taken (None: not known)."""

    visit: str
    start: int
    end: int | None = None
    cash_fen: Fen | None = None


class ReplanRefused(ValueError):
    """The events cannot be planned for; one line that says what must be done first."""


class _Standing(msgspec.Struct, frozen=True, kw_only=True):
    """A pair of the plan at `now`: its locked stops, where it goes on from, and when; `is_out` once it has left its starts."""

    route: Route
    stops: tuple[DoneStop, ...]
    place: str
    free_at: int
    is_out: bool


def running_day(
    instance: Instance, plan: Plan, events: Sequence[Event], now: int, *, matrix: TravelMatrix, facts: Sequence[Fact] = (), is_told: bool = False
) -> Instance:
    """Return the day as it stands at `now`, after the events: stops begun or under way are locked, pairs stay together, times are promised.

    Without a `Fact`, a stop counts as begun when the plan says so; with `is_told` every begun visit has its fact.
    A pair on its way to a stop makes it, unless an event takes it away or it would come too late.
    Each visit still ahead is promised for the half hour around its planned start, unless something was announced before.

    Raises:
        ReplanRefused: an event names nobody, or a pair that carries cash would have to part.
    """
    edit = _Day(instance, plan, events, now, matrix)
    edit.facts, edit.is_told = {one.visit: one for one in facts}, is_told
    return edit.day()


class _Day:
    """One day under change. `day` runs once."""

    def __init__(self, instance: Instance, plan: Plan, events: Sequence[Event], now: int, matrix: TravelMatrix) -> None:
        self.instance, self.plan, self.now = instance, plan, now
        self.facts: dict[str, Fact] = {}
        self.is_told = False
        self.matrix, self.row = matrix, {one: index for index, one in enumerate(matrix.ids)}
        self.speeds = read_speeds(instance.travel.speeds)
        self.visits = {one.id: one for one in instance.visits}
        self.banks = {one.id: one for one in instance.banks}
        self.collectors = {one.id: one for one in instance.collectors}
        self.sick = {self.known(str(one.collector), self.collectors) for one in events if isinstance(one, SickCollector)}
        self.withdrawn = {self.known(one.visit, self.visits) for one in events if isinstance(one, WithdrawnVisit)}
        self.urgent = [one for one in events if isinstance(one, UrgentVisit)]
        self.late = {frozenset(map(str, one.collectors)): one.free_at for one in events if isinstance(one, LatePair)}
        self.closed = {self.known(one.bank, self.banks): one.from_s for one in events if isinstance(one, ClosedBank)}
        self.fixed: list[tuple[CollectorId, CollectorId]] = []
        self.progress = [one for one in instance.progress if not one.together]
        self.before = {frozenset(one.collectors): one for one in instance.progress if one.together}

    def known(self, name: str, among: Mapping[str, object]) -> str:
        if name not in among:
            raise ReplanRefused(f"event: unknown id {name[:60]!r}")
        return name

    def day(self) -> Instance:
        edit = msgspec.structs.replace
        ahead = self.stand_all()
        visits = tuple(self.changed(one, ahead) for one in self.instance.visits)
        for one in self.urgent:
            if one.visit.id in self.visits:
                raise ReplanRefused(f"event: the id {one.visit.id[:60]!r} is that of another visit already")
        banks = tuple(
            edit(one, close=min(one.close, self.closed[one.id]), open=min(one.open, self.closed[one.id])) if one.id in self.closed else one
            for one in self.instance.banks
        )
        return edit(
            self.instance, schema=RUNNING_SCHEMA, now=self.now, progress=tuple(self.progress), banks=banks,
            visits=visits + tuple(one.visit for one in self.urgent),
            locations=self.instance.locations + tuple(one.location for one in self.urgent if one.location is not None),
            collectors=tuple(
                edit(self.collectors[one.id], available=False) if one.id in self.sick else self.collectors[one.id] for one in self.instance.collectors
            ),
            pairing=edit(self.instance.pairing, fixed=tuple(self.fixed)),
        )

    def stand_all(self) -> dict[str, int]:
        """Put down where each pair stands; return the planned starts of the visits still ahead."""
        ahead: dict[str, int] = {}
        parted = [set(one.collectors) for one in self.progress]
        for route in self.plan.routes:
            if set(route.collectors) in parted:
                parted.remove(set(route.collectors))
                continue
            standing = self.stand(route)
            self.put_down(standing)
            for stop in route.stops[len(standing.stops):]:
                if stop.type is StopType.VISIT and stop.id is not None and stop.start is not None:
                    ahead[stop.id] = stop.start
        return ahead

    def stand(self, route: Route) -> _Standing:
        """Follow a pair's route up to now."""
        before = self.before.get(frozenset(route.collectors))
        kept = list(before.stops) if before is not None else []
        late = self.late.get(frozenset(route.collectors), 0)
        place, free_at = (before.place, before.free_at) if before is not None else ("", route.departure or 0)
        for stop in route.stops[len(kept):]:
            fact = self.facts.get(stop.id or "")
            if fact is None and free_at > self.now:
                break
            locked = self.lock(stop, place, free_at, fact)
            is_visit = stop.type is StopType.VISIT
            is_begun = fact is not None or (locked.start <= self.now and not (self.is_told and is_visit))
            if not is_begun and self.is_taken_away(stop, locked, route):
                return _Standing(route=route, stops=tuple(kept), place=self.place_of(stop), free_at=max(locked.arrival, self.now, late), is_out=True)
            kept.append(locked)
            place, free_at = self.place_of(stop), locked.end
        return _Standing(route=route, stops=tuple(kept), place=place, free_at=max(free_at, late), is_out=bool(kept))

    def lock(self, stop: Stop, place: str, free_at: int, fact: Fact | None) -> DoneStop:
        there = self.place_of(stop)
        leg = int(self.matrix.seconds[self.row[place], self.row[there]]) if place and place != there else 0
        arrival = max(stop.arrival or 0, self.speeds.reach(free_at, leg))
        start = max(stop.start or 0, arrival)
        if stop.type is StopType.PAUSE:
            lasts = (stop.end or 0) - (stop.start or 0)
            return DoneStop(type=stop.type, place=LocationId(there), arrival=arrival, start=start, end=start + lasts)
        service_s = self.visits[stop.id].service_s if stop.id in self.visits else self.banks[str(stop.bank)].service_s
        if fact is None:
            return DoneStop(type=stop.type, id=stop.id, bank=stop.bank, arrival=arrival, start=start, end=start + service_s)
        start = max(fact.start, free_at)
        end = max(fact.end, start) if fact.end is not None else max(self.now, start + service_s)
        return DoneStop(
            type=stop.type, id=stop.id, bank=None, arrival=min(max(arrival, free_at), start), start=start, end=end, cash_fen=fact.cash_fen,
        )

    def is_taken_away(self, stop: Stop, locked: DoneStop, route: Route) -> bool:
        """Report whether a stop that the pair is on its way to cannot or must not be made."""
        if not self.sick.isdisjoint(route.collectors) or frozenset(route.collectors) in self.late:
            return True
        if stop.type is StopType.PAUSE:
            return False
        if stop.type is StopType.DEPOSIT:
            bank = self.banks[str(stop.bank)]
            return locked.end > min(bank.close, self.closed.get(bank.id, bank.close))
        visit = self.visits[str(stop.id)]
        return visit.id in self.withdrawn or not any(lo <= locked.start <= hi for lo, hi in start_spans(visit))

    def place_of(self, stop: Stop) -> str:
        if stop.type is StopType.PAUSE:
            return str(stop.place)
        return self.visits[stop.id].location if stop.id in self.visits else self.banks[str(stop.bank)].location

    def put_down(self, one: _Standing) -> None:
        """Write a pair's progress; a pair without locked stops begins anew where it is."""
        a, b = one.route.collectors
        is_together = self.sick.isdisjoint((a, b))
        if one.stops:
            if not is_together and carried_fen(one.stops, self.visits):
                raise ReplanRefused(f"{a}+{b}: the pair carries cash; it must be deposited or handed over before the pair can part")
            free_at = max(one.free_at, one.stops[-1].end)
            self.progress.append(PairProgress(
                collectors=(a, b), departure=one.route.departure or 0, stops=one.stops, place=LocationId(one.place), free_at=free_at,
                together=is_together,
            ))
            return
        for name in (a, b):
            collector = self.collectors[name]
            if one.is_out:
                collector = msgspec.structs.replace(collector, start=LocationId(one.place))
            if one.is_out or frozenset((a, b)) in self.late:
                from_s = min(max(collector.shift[0], one.free_at), collector.shift[1])
                collector = msgspec.structs.replace(collector, shift=(from_s, collector.shift[1]))
            self.collectors[name] = collector
        if is_together and one.route.stops:
            self.fixed.append((a, b))

    def changed(self, visit: Visit, ahead: dict[str, int]) -> Visit:
        edit = msgspec.structs.replace
        if visit.id in self.withdrawn and not any(visit.id == stop.id for one in self.progress for stop in one.stops):
            return edit(visit, approval=Approval(status="withdrawn", effective_from=None))
        if visit.id in ahead and visit.announced is None:
            start = ahead[visit.id]
            window = (max(0, start - PROMISE_TOLERANCE_S), start + PROMISE_TOLERANCE_S)
            return edit(visit, announced=Announced(window=window, price=PROMISE_PRICE))
        return visit
