"""Plan the rest of a running day after something happened, and say what changed and why."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from types import MappingProxyType
from typing import Any

import msgspec

from routing.events import ClosedBank, Event, Fact, LatePair, SickCollector, UrgentVisit, WithdrawnVisit, running_day
from routing.limits import Limits
from routing.matrix import TravelMatrix, travel_matrix
from routing.model import Instance, Plan, Route, StopType
from routing.reader import instance_object, load_instance
from routing.solve import solve


class MoveKind(StrEnum):
    """What is different in the new plan."""

    VISIT_DROPPED = "visit_dropped"
    VISIT_ADDED = "visit_added"
    VISIT_MOVED = "visit_moved"              # Another pair makes it.
    TIME_CHANGED = "time_changed"            # Outside what was announced.
    DEPOSIT_CHANGED = "deposit_changed"      # The pair deposits elsewhere, more or less often.
    PAIR_FORMED = "pair_formed"
    PAIR_PARTED = "pair_parted"


class Cause(StrEnum):
    """Why. `makes_room`: nothing happened to it itself, the whole plan is better so after what happened elsewhere."""

    COLLECTOR_SICK = "collector_sick"
    WITHDRAWN = "withdrawn"
    URGENT = "urgent"
    PAIR_LATE = "pair_late"
    BANK_CLOSED = "bank_closed"
    MAKES_ROOM = "makes_room"


class Move(msgspec.Struct, frozen=True, kw_only=True):
    """One change: the visit, or the pair `a+b`; who and when before and after (None: not at all); the cause and its subjects.

    Of a dropped visit, `unserved` is the plan's reason code.
    """

    kind: MoveKind
    subject: str
    cause: Cause
    causes: tuple[str, ...]
    pair_before: str | None = None
    pair_after: str | None = None
    start_before: int | None = None
    start_after: int | None = None
    unserved: str = ""

    def text(self) -> str:
        """Return the English sentence."""
        return _ENGLISH[self.kind].format(**self._shown()) + _BECAUSE[self.cause][0].format(causes=", ".join(self.causes))

    def text_zh(self) -> str:
        """Return the sentence in Simplified Chinese."""
        return _CHINESE[self.kind].format(**self._shown()) + _BECAUSE[self.cause][1].format(causes="、".join(self.causes))

    def _shown(self) -> dict[str, str]:
        return {
            "subject": self.subject, "pair_before": self.pair_before or "–", "pair_after": self.pair_after or "–",
            "start_before": _clock(self.start_before), "start_after": _clock(self.start_after),
        }


_ENGLISH: Mapping[MoveKind, str] = MappingProxyType({
    MoveKind.VISIT_DROPPED: "Visit {subject} is not made today",
    MoveKind.VISIT_ADDED: "Visit {subject} is made at {start_after} by {pair_after}",
    MoveKind.VISIT_MOVED: "Visit {subject} goes from {pair_before} at {start_before} to {pair_after} at {start_after}",
    MoveKind.TIME_CHANGED: "Visit {subject} starts at {start_after} instead of {start_before}",
    MoveKind.DEPOSIT_CHANGED: "The deposits of {subject} are made elsewhere, more or less often",
    MoveKind.PAIR_FORMED: "{subject} work together from now on",
    MoveKind.PAIR_PARTED: "{subject} do not work together any more",
})
_CHINESE: Mapping[MoveKind, str] = MappingProxyType({
    MoveKind.VISIT_DROPPED: "外访{subject}今天不再执行",
    MoveKind.VISIT_ADDED: "外访{subject}由{pair_after}于{start_after}执行",
    MoveKind.VISIT_MOVED: "外访{subject}由{pair_before}（{start_before}）改为{pair_after}（{start_after}）",
    MoveKind.TIME_CHANGED: "外访{subject}的时间由{start_before}改为{start_after}",
    MoveKind.DEPOSIT_CHANGED: "{subject}的缴存地点或次数有变",
    MoveKind.PAIR_FORMED: "{subject}从现在起一起执行",
    MoveKind.PAIR_PARTED: "{subject}不再一起执行",
})
_BECAUSE: Mapping[Cause, tuple[str, str]] = MappingProxyType({
    Cause.COLLECTOR_SICK: (": {causes} is sick.", "：{causes}因病退出。"),
    Cause.WITHDRAWN: (": it was withdrawn.", "：已撤销。"),
    Cause.URGENT: (": it is urgent.", "：紧急外访。"),
    Cause.PAIR_LATE: (": {causes} is late.", "：{causes}延误。"),
    Cause.BANK_CLOSED: (": branch {causes} is closed.", "：网点{causes}已停止办理。"),
    Cause.MAKES_ROOM: (", so that the rest of the day fits best.", "，使当天余下的安排最为合理。"),
})


class Replanned(msgspec.Struct, frozen=True, kw_only=True):
    """The day as it stands, the plan of its rest (what is done stands first in each route), and every change against the plan before."""

    instance: Instance
    plan: Plan
    moves: tuple[Move, ...]


def replan(
    instance: Instance, plan: Plan, events: Sequence[Event], now: int, *, limits: Limits | None = None, seed: int = 0,
    facts: Sequence[Fact] = (), matrix: Callable[[Instance], TravelMatrix] = travel_matrix, cancelled: Callable[[], bool] | None = None,
) -> Replanned:
    """Plan the rest of a day that runs by `plan`; the search begins with that plan and stays near it.

    `matrix` gives the travel of a day, also of one with an urgent visit's place. See `running_day` for what is kept.

    Raises:
        ReplanRefused: an event names nobody, or a pair that carries cash would have to part.
        InstanceError: an urgent visit refers to what nobody declares.
    """
    after = load_instance(instance_object(running_day(instance, plan, events, now, matrix=matrix(instance), facts=facts)))
    found = solve(after, limits or Limits(search_s=1.5), seed=seed, matrix=matrix(after), start=plan, cancelled=cancelled)
    return Replanned(instance=after, plan=found, moves=moves_between(after, plan, found, events))


def moves_between(after: Instance, plan: Plan, found: Plan, events: Sequence[Event]) -> tuple[Move, ...]:
    """Return what is different in `found`, visits in the order of the day, then deposits and pairs."""
    return tuple(_Comparison(after, plan, found, events).moves())


class _Comparison:
    def __init__(self, after: Instance, plan: Plan, found: Plan, events: Sequence[Event]) -> None:
        self.after, self.events = after, events
        self.old, self.new = _stops(plan), _stops(found)
        self.old_pairs, self.new_pairs = _pairs(plan), _pairs(found, after)
        self.deposits = (_deposits(plan), _deposits(found))
        self.codes = {str(one.id): one.code for one in found.unserved or ()}
        self.sick = {str(one.collector) for one in events if isinstance(one, SickCollector)}
        self.withdrawn = {one.visit for one in events if isinstance(one, WithdrawnVisit)}
        self.urgent = {one.visit.id for one in events if isinstance(one, UrgentVisit)}
        self.late = {"+".join(sorted(map(str, one.collectors))) for one in events if isinstance(one, LatePair)}
        self.closed = {one.bank for one in events if isinstance(one, ClosedBank)}

    def moves(self) -> list[Move]:
        found = [move for visit in self.after.visits if (move := self.of_visit(visit.id)) is not None]
        for pair in sorted(self.old_pairs & self.new_pairs):
            before, now = self.deposits[0].get(pair, ()), self.deposits[1].get(pair, ())
            if before != now:
                found.append(self.move(MoveKind.DEPOSIT_CHANGED, pair, (pair, pair), (None, None), banks=(*before, *now)))
        found += [self.move(MoveKind.PAIR_PARTED, pair, (pair, None), (None, None)) for pair in sorted(self.old_pairs - self.new_pairs)]
        return found + [self.move(MoveKind.PAIR_FORMED, pair, (None, pair), (None, None)) for pair in sorted(self.new_pairs - self.old_pairs)]

    def of_visit(self, visit: str) -> Move | None:
        before, now = self.old.get(visit), self.new.get(visit)
        if before is None and now is None:
            return self.move(MoveKind.VISIT_DROPPED, visit, (None, None), (None, None)) if visit in self.urgent else None
        if before is None or now is None:
            kind = MoveKind.VISIT_DROPPED if now is None else MoveKind.VISIT_ADDED
            return self.move(kind, visit, (before and before[0], now and now[0]), (before and before[1], now and now[1]))
        if before[0] != now[0]:
            return self.move(MoveKind.VISIT_MOVED, visit, (before[0], now[0]), (before[1], now[1]))
        promised = next((one.announced.window for one in self.after.visits if one.id == visit and one.announced is not None), None)
        if promised is not None and not promised[0] <= (now[1] or 0) <= promised[1]:
            return self.move(MoveKind.TIME_CHANGED, visit, (before[0], now[0]), (before[1], now[1]))
        return None

    def move(
        self, kind: MoveKind, subject: str, pairs: tuple[str | None, str | None], starts: tuple[int | None, int | None],
        banks: tuple[str, ...] = (),
    ) -> Move:
        cause, causes = self.cause(subject, pairs, banks)
        return Move(
            kind=kind, subject=subject, cause=cause, causes=causes, pair_before=pairs[0], pair_after=pairs[1], start_before=starts[0],
            start_after=starts[1], unserved=self.codes.get(subject, "") if kind is MoveKind.VISIT_DROPPED else "",
        )

    def cause(self, subject: str, pairs: tuple[str | None, str | None], banks: tuple[str, ...]) -> tuple[Cause, tuple[str, ...]]:
        """Name what happened to the thing itself, else to one of its pairs, else everything that happened."""
        people = {name for pair in pairs if pair is not None for name in pair.split("+")}
        used = {bank for pair in pairs if pair is not None for bank in self.deposits[0].get(pair, ())}
        carried = {*banks, *(used if _has_cash(self.after, subject) else ())}
        options = (
            (Cause.WITHDRAWN, {subject} & self.withdrawn), (Cause.URGENT, {subject} & self.urgent), (Cause.COLLECTOR_SICK, people & self.sick),
            (Cause.PAIR_LATE, set(pairs) & self.late), (Cause.BANK_CLOSED, carried & self.closed),
        )
        for cause, subjects in options:
            if subjects:
                return cause, tuple(sorted(str(one) for one in subjects))
        return Cause.MAKES_ROOM, tuple(sorted({*self.sick, *self.withdrawn, *self.urgent, *self.late, *self.closed}))


def event_of(decoded: dict[str, Any]) -> Event:
    """Decode one event; its `event` key says which. Raises `msgspec.ValidationError`."""
    return msgspec.convert(decoded, Event)  # type: ignore[arg-type,no-any-return]


def _clock(day_s: int | None) -> str:
    return "–" if day_s is None else f"{day_s // 3600:02d}:{day_s % 3600 // 60:02d}"


def _name(route: Route) -> str:
    return "+".join(sorted(map(str, route.collectors)))


def _stops(plan: Plan) -> dict[str, tuple[str, int | None]]:
    return {str(stop.id): (_name(route), stop.start) for route in plan.routes for stop in route.stops if stop.type is StopType.VISIT}


def _pairs(plan: Plan, after: Instance | None = None) -> set[str]:
    parted = [] if after is None else ["+".join(sorted(one.collectors)) for one in after.progress if not one.together]
    found: set[str] = set()
    for route in plan.routes:
        if _name(route) in parted:
            parted.remove(_name(route))
        elif route.stops:
            found.add(_name(route))
    return found


def _deposits(plan: Plan) -> dict[str, tuple[str, ...]]:
    return {_name(route): tuple(str(stop.bank) for stop in route.stops if stop.type is StopType.DEPOSIT) for route in plan.routes}


def _has_cash(after: Instance, visit: str) -> bool:
    return any(one.id == visit and one.cash_fen for one in after.visits)
