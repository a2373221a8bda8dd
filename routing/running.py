"""How far a running day has come, in the words of the engines: pairs at work, people free again, visits made.

`check.py` never looks in here.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from routing.matrix import TravelMatrix
from routing.model import Bank, DoneStop, Instance, PairProgress, StopType, Visit
from routing.speeds import read_speeds

Spans = list[tuple[int, int]]


class Anchor(msgspec.Struct, frozen=True):
    """A pair at work (collector positions): where it stands, when it may go on, what it has worked and carries, when it is back at the latest.

    `late_until` is later than the shift's end only where the pair cannot be home in time whatever it does. Cash that no bank takes any
    more today, and cash of several banks together, counts as nothing here: it goes into the sealed bag (F12), and no plan can change that.
    """

    progress: int
    a: int
    b: int
    place: str
    leaves_s: int
    worked_s: int
    travel_s: int
    carried_fen: int
    bank: str | None
    late_until_s: int


class Freed(msgspec.Struct, frozen=True):
    """A member of a parted pair: stands at `place`, free from `from_s`."""

    place: str
    from_s: int


class Running(msgspec.Struct, frozen=True):
    """What has happened: anchors of pairs at work, members of parted pairs by position, ids of visits made, seconds travelled."""

    anchors: tuple[Anchor, ...]
    freed: dict[int, Freed]
    made: frozenset[str]
    travel_s: int


def read_running(instance: Instance, matrix: TravelMatrix) -> Running:
    """Sum up an instance's progress; empty for a day that has not begun."""
    position = {str(one.id): index for index, one in enumerate(instance.collectors)}
    anchors: list[Anchor] = []
    freed: dict[int, Freed] = {}
    travel_s = 0
    for number, one in enumerate(instance.progress):
        travel_s += travelled_s(one)
        members = [position[str(name)] for name in one.collectors]
        if one.together:
            anchors.append(_anchor(instance, matrix, number, (min(members), max(members))))
            continue
        for member in members:
            if member not in freed or freed[member].from_s <= one.free_at:
                freed[member] = Freed(str(one.place), one.free_at)
    return Running(tuple(anchors), freed, made_visits(instance), travel_s)


def made_visits(instance: Instance) -> frozenset[str]:
    """Return the ids of all visits among the locked stops."""
    return frozenset(str(stop.id) for one in instance.progress for stop in one.stops if stop.type is StopType.VISIT)


def travelled_s(one: PairProgress) -> int:
    """Return the seconds on the way, from the departure to the last arrival."""
    clock, travel_s = one.departure, 0
    for stop in one.stops:
        travel_s, clock = travel_s + stop.arrival - clock, stop.end
    return travel_s


def carried_fen(stops: Iterable[DoneStop], visits: dict[str, Visit]) -> int:
    """Return the cash in hand after these stops."""
    carried = 0
    for stop in stops:
        if stop.type is StopType.DEPOSIT:
            carried = 0
        elif stop.type is StopType.VISIT:
            carried += visits[str(stop.id)].cash_fen if stop.cash_fen is None else stop.cash_fen
    return carried


def carried_banks(stops: Iterable[DoneStop], visits: dict[str, Visit]) -> set[str | None]:
    """Return whose the cash in hand is after these stops."""
    found: set[str | None] = set()
    for stop in stops:
        if stop.type is StopType.DEPOSIT:
            found = set()
        elif stop.type is StopType.VISIT and (visits[str(stop.id)].cash_fen if stop.cash_fen is None else stop.cash_fen):
            found.add(visits[str(stop.id)].bank)
    return found


def start_spans(visit: Visit) -> Spans:
    """Return when service may start: the windows, or the one pinned moment."""
    if visit.pinned_start is None:
        return list(visit.windows)
    return [(visit.pinned_start, visit.pinned_start)] if any(lo <= visit.pinned_start <= hi for lo, hi in visit.windows) else []


def within(spans: Spans, limit: tuple[int, int]) -> Spans:
    """Return the parts of the spans inside the limit."""
    cut = [(max(lo, limit[0]), min(hi, limit[1])) for lo, hi in spans]
    return [span for span in cut if span[0] <= span[1]]


def outside(spans: Spans, limit: tuple[int, int]) -> Spans:
    """Return the parts of the spans outside the limit."""
    return sorted(within(spans, (0, limit[0] - 1)) + within(spans, (limit[1] + 1, 1 << 30)))


def _anchor(instance: Instance, matrix: TravelMatrix, number: int, members: tuple[int, int]) -> Anchor:
    one = instance.progress[number]
    row = {place: index for index, place in enumerate(matrix.ids)}
    travel_s = travelled_s(one)
    visits = {visit.id: visit for visit in instance.visits}
    carried, owners = carried_fen(one.stops, visits), carried_banks(one.stops, visits)
    owner = next(iter(owners)) if len(owners) == 1 else None
    leaves_s = max(one.free_at, instance.now or 0)
    ends = [row[instance.collectors[member].end] for member in members]
    here = row[one.place]

    speeds = read_speeds(instance.travel.speeds)

    def home_at(place: int, from_s: int) -> int:
        return speeds.reach(from_s, max(int(matrix.seconds[place, end]) for end in ends))

    back = home_at(here, leaves_s)
    if carried:
        backs = [
            home_at(row[bank.location], done) for bank in (instance.banks if len(owners) == 1 else ())
            if bank.bank in (None, owner)
            and (done := _deposited(bank, speeds.reach(leaves_s, int(matrix.seconds[here, row[bank.location]])))) is not None
        ]
        carried, back = (min(carried, instance.cash.limit_of(owner)), min(backs)) if backs else (0, back)
    return Anchor(
        progress=number, a=members[0], b=members[1], place=str(one.place), leaves_s=leaves_s,
        worked_s=travel_s + sum(stop.end - stop.start for stop in one.stops if stop.type is not StopType.PAUSE),
        travel_s=travel_s, carried_fen=carried, bank=owner if carried else None, late_until_s=back,
    )


def _deposited(bank: Bank, arrival: int) -> int | None:
    done = max(arrival, bank.open) + bank.service_s
    return done if done <= bank.close else None
