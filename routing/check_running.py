"""The judge's own reading of a running day (`fieldday/2`): which routes hold locked stops, and where their pairs stand.

Shares no code with any engine.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from routing.check_clock import arrives
from routing.model import Instance, PairProgress, Plan, Route, StopType

Leg = Callable[[str, str], tuple[int, int]]


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """A pair after its locked stops. `home_by_s` is when it is home if it makes no further visit.

    Cash counts only while an office can take it, and while it is one bank's, which `owner` names.
    """

    place: str
    leaves_s: int
    carried_fen: int
    owner: str | None
    home_by_s: int
    travel_s: int
    service_s: int


def match_locked(instance: Instance, plan: Plan) -> tuple[dict[int, PairProgress], list[PairProgress]]:
    """Return the routes that begin with the locked stops of a pair, by number, and the progress that no route holds."""
    matched: dict[int, PairProgress] = {}
    missing: list[PairProgress] = []
    for one in instance.progress:
        number = next((n for n, route in enumerate(plan.routes) if n not in matched and _holds(route, one)), None)
        if number is None:
            missing.append(one)
        else:
            matched[number] = one
    return matched, missing


def standing(instance: Instance, one: PairProgress, leg: Leg) -> Standing:
    """Say where a pair stands after its locked stops, with what in hand."""
    amounts = {visit.id: visit.cash_fen for visit in instance.visits}
    bank_of: dict[str, str | None] = {visit.id: visit.bank for visit in instance.visits}
    owners: set[str | None] = set()
    in_hand, clock, travel_s = 0, one.departure, 0
    for stop in one.stops:
        travel_s += stop.arrival - clock
        clock = stop.end
        if stop.type is StopType.DEPOSIT:
            in_hand, owners = 0, set()
        elif stop.type is StopType.VISIT:
            taken = stop.cash_fen if stop.cash_fen is not None else amounts[str(stop.id)]
            in_hand, owners = in_hand + taken, owners | ({bank_of[str(stop.id)]} if taken else set())
    leaves_s = one.free_at if instance.now is None else max(one.free_at, instance.now)
    ends = [collector.end for collector in instance.collectors if collector.id in one.collectors]
    speeds = instance.travel.speeds
    home_by_s = arrives(speeds, leaves_s, max(leg(one.place, end)[0] for end in ends))
    owner = owners.pop() if len(owners) == 1 else None
    if in_hand and owners:
        in_hand = 0  # More than one bank's: no office takes it as it is, it goes into the sealed bag.
    if in_hand:
        homes: list[int] = []
        rules = instance.cash
        own = [one.carry_limit_fen for one in rules.limits if one.bank == owner]
        for bank in (one for one in instance.banks if one.bank is None or one.bank == owner):
            begins = max(bank.open, arrives(speeds, leaves_s, leg(one.place, bank.location)[0]))
            if begins + bank.service_s <= bank.close:
                homes.append(arrives(speeds, begins + bank.service_s, max(leg(bank.location, end)[0] for end in ends)))
        in_hand, home_by_s = (min([in_hand, rules.carry_limit_fen, *own]), min(homes)) if homes else (0, home_by_s)
    return Standing(
        place=one.place, leaves_s=leaves_s, carried_fen=in_hand, owner=owner, home_by_s=home_by_s, travel_s=travel_s,
        service_s=sum(stop.end - stop.start for stop in one.stops if stop.type is not StopType.PAUSE),
    )


def freed_at(instance: Instance, collector: str) -> tuple[str, int] | None:
    """Return where and from when a member of a parted pair may begin again; None for everybody else."""
    parted = [one for one in instance.progress if not one.together and collector in one.collectors]
    if not parted:
        return None
    last = max(parted, key=lambda one: one.free_at)
    return last.place, last.free_at


def _holds(route: Route, one: PairProgress) -> bool:
    if set(route.collectors) != set(one.collectors) or len(route.stops) < len(one.stops) or (not one.together and len(route.stops) > len(one.stops)):
        return False
    if route.departure != one.departure:
        return False
    return all(
        (stop.type, stop.id, stop.bank, stop.place, stop.arrival, stop.start, stop.end)
        == (lock.type, lock.id, lock.bank, lock.place, lock.arrival, lock.start, lock.end)
        for stop, lock in zip(route.stops, one.stops, strict=False)
    )
