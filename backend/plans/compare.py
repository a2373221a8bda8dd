"""What differs between two versions of a day. Pure."""

from collections.abc import Mapping
from uuid import UUID

import msgspec

from backend.core.ids import PlanId, RequestId, StaffId
from routing import Cost, Plan, StopType

Pair = tuple[StaffId, StaffId]


class Place(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Where a version puts a visit: with whom, when service starts (seconds since local midnight), as which visit of its route."""

    pair: Pair
    start_s: int
    position: int


class MovedVisit(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A visit that both versions make, with another pair or at another time."""

    request_id: RequestId
    before: Place
    after: Place
    is_other_pair: bool


class PairPauses(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A pair's pauses in both versions, `[from, to]` in seconds since local midnight."""

    pair: Pair
    before: tuple[tuple[int, int], ...]
    after: tuple[tuple[int, int], ...]


class CostView(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A version's cost and its parts, by the checker: seconds, metres, and the value of visits left out."""

    total: int
    served: int
    mandatory_unserved: int
    lost_value: int
    travel_s: int
    imbalance_s: int
    distance_m: int
    waiting_s: int
    deposits: int
    routes: int


class PlanComparison(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """From one version to another: visits added, dropped and moved, pairs that are gone and new, other pauses, costs side by side."""

    before_id: PlanId
    before_version: int
    after_id: PlanId
    after_version: int
    added: tuple[RequestId, ...]
    dropped: tuple[RequestId, ...]
    moved: tuple[MovedVisit, ...]
    unchanged_count: int
    pairs_gone: tuple[Pair, ...]
    pairs_new: tuple[Pair, ...]
    pauses: tuple[PairPauses, ...]
    cost_before: CostView
    cost_after: CostView


def places_of(plan: Plan) -> Mapping[RequestId, Place]:
    """Return where a plan puts each visit that it serves; its times are known."""
    found: dict[RequestId, Place] = {}
    for route in plan.routes:
        a, b = sorted(StaffId(UUID(one)) for one in route.collectors)
        visits = [stop for stop in route.stops if stop.type is StopType.VISIT]
        for position, stop in enumerate(visits, start=1):
            assert stop.id is not None
            assert stop.start is not None
            found[RequestId(UUID(stop.id))] = Place(pair=(a, b), start_s=stop.start, position=position)
    return found


def differences(before: Plan, after: Plan) -> tuple[tuple[RequestId, ...], tuple[RequestId, ...], tuple[MovedVisit, ...]]:
    """Return the visits added, dropped and moved from one plan to another, each in order of their ids."""
    old, new = places_of(before), places_of(after)
    moved = tuple(
        MovedVisit(request_id=one, before=old[one], after=new[one], is_other_pair=old[one].pair != new[one].pair)
        for one in sorted(old.keys() & new.keys()) if (old[one].pair, old[one].start_s) != (new[one].pair, new[one].start_s)
    )
    return tuple(sorted(new.keys() - old.keys())), tuple(sorted(old.keys() - new.keys())), moved


def other_pauses(before: Plan, after: Plan) -> tuple[PairPauses, ...]:
    """Return the pauses of pairs that go out in both versions and rest at another time, by pair."""
    old, new = _pauses_of(before), _pauses_of(after)
    return tuple(PairPauses(pair=one, before=old[one], after=new[one]) for one in sorted(old.keys() & new.keys()) if old[one] != new[one])


def _pauses_of(plan: Plan) -> dict[Pair, tuple[tuple[int, int], ...]]:
    found: dict[Pair, tuple[tuple[int, int], ...]] = {}
    for route in plan.routes:
        a, b = sorted(StaffId(UUID(one)) for one in route.collectors)
        rests = [(stop.start, stop.end) for stop in route.stops if stop.type is StopType.PAUSE]
        found[a, b] = (*found.get((a, b), ()), *((start, end) for start, end in rests if start is not None and end is not None))
    return found


def pairs_of(plan: Plan) -> frozenset[Pair]:
    """Return the pairs that a plan sends out."""
    return frozenset(place.pair for place in places_of(plan).values())


def cost_view(cost: Cost) -> CostView:
    """Return the parts that a dispatcher compares."""
    return CostView(**{name: getattr(cost, name) for name in CostView.__struct_fields__})
