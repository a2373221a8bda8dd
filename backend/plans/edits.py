"""What a dispatcher may do to a version by hand, as data, and what then stands on each route. Pure; `routing.check` judges the result."""

from collections.abc import Sequence
from typing import Annotated
from uuid import UUID

import msgspec
from msgspec import Meta

from backend.core.problems import InvalidInput
from routing.hand import Draft
from routing.model import RUNNING_SCHEMA, CollectorId, Instance, Plan, StopType, VisitId

EDITS_MAX = 50
RouteNumber = Annotated[int, Meta(ge=1, le=1000)]
Place = Annotated[int, Meta(ge=1, le=1000)]


class _Edit(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True, tag_field="do"):
    """Routes are named by their number in the version changed, visits by their request, places count visits from 1."""


class MoveVisit(_Edit, frozen=True, kw_only=True, tag="move"):
    """Take a planned visit to a place on a route, its own or another; behind the last one when no place is named."""

    request_id: UUID
    route: RouteNumber
    place: Place | None = None


class SwapVisits(_Edit, frozen=True, kw_only=True, tag="swap"):
    """Let two planned visits change places."""

    request_id: UUID
    other_id: UUID


class RemoveVisit(_Edit, frozen=True, kw_only=True, tag="remove"):
    """Leave a planned visit out."""

    request_id: UUID


class InsertVisit(_Edit, frozen=True, kw_only=True, tag="insert"):
    """Plan a visit of the day that the version leaves out."""

    request_id: UUID
    route: RouteNumber
    place: Place | None = None


class ChangePair(_Edit, frozen=True, kw_only=True, tag="pair"):
    """Send two others on a route; two such changes swap partners."""

    route: RouteNumber
    collector_a: UUID
    collector_b: UUID


class PinVisit(_Edit, frozen=True, kw_only=True, tag="pin"):
    """Let a visit of the day start at exactly `start_s` seconds after local midnight, also when the day is re-planned; at any time without it."""

    request_id: UUID
    start_s: Annotated[int, Meta(ge=0, le=86_400)] | None = None


Edit = MoveVisit | SwapVisits | RemoveVisit | InsertVisit | ChangePair | PinVisit


def drafts_of(plan: Plan) -> tuple[Draft, ...]:
    """Return who goes where in a plan; route number n is the n-th."""
    return tuple(
        Draft(route.collectors, tuple(stop.id for stop in route.stops if stop.type is StopType.VISIT and stop.id is not None))
        for route in plan.routes if route.stops
    )


def pinned(instance: Instance, edits: Sequence[Edit]) -> Instance:
    """Return the day in which visits start when the changes say.

    Raises:
        InvalidInput: a change names a visit that is not of the day.
    """
    starts: dict[str, int | None] = {}
    for number, edit in enumerate(edits):
        if isinstance(edit, PinVisit):
            if not any(visit.id == str(edit.request_id) for visit in instance.visits):
                raise InvalidInput(pointer=f"/changes/{number}", expected="a visit of the day", got=str(edit.request_id))
            starts[str(edit.request_id)] = edit.start_s
    if not starts:
        return instance
    return msgspec.structs.replace(instance, schema=RUNNING_SCHEMA, visits=tuple(
        msgspec.structs.replace(visit, pinned_start=starts[visit.id]) if visit.id in starts else visit for visit in instance.visits
    ))


def apply_edits(drafts: Sequence[Draft], day: frozenset[str], edits: Sequence[Edit]) -> tuple[Draft, ...]:
    """Make all changes in their order.

    Args:
        day: The visits that the version's instance knows.

    Raises:
        InvalidInput: a change names a route, place or visit that is not there; the pointer names the change.
    """
    board = _Board(drafts, day)
    for number, edit in enumerate(edits):
        board.pointer = f"/changes/{number}"
        match edit:
            case MoveVisit():
                board.take(edit.request_id)
                board.put(edit.request_id, edit.route, edit.place)
            case SwapVisits():
                board.swap(edit.request_id, edit.other_id)
            case RemoveVisit():
                board.take(edit.request_id)
            case InsertVisit():
                board.put(edit.request_id, edit.route, edit.place)
            case ChangePair():
                board.send(edit.route, (edit.collector_a, edit.collector_b))
            case PinVisit():
                board.find(edit.request_id)
    return tuple(Draft(pair, tuple(visits)) for pair, visits in zip(board.pairs, board.visits, strict=True))


class _Board:
    """The routes while they are changed."""

    def __init__(self, drafts: Sequence[Draft], day: frozenset[str]) -> None:
        self.pairs, self.visits = [draft.collectors for draft in drafts], [list(draft.visits) for draft in drafts]
        self.day, self.pointer = day, ""

    def find(self, request_id: UUID) -> tuple[int, int]:
        visit = VisitId(str(request_id))
        for row, visits in enumerate(self.visits):
            if visit in visits:
                return row, visits.index(visit)
        raise InvalidInput(pointer=self.pointer, expected="a visit that this version plans", got=str(request_id))

    def take(self, request_id: UUID) -> None:
        row, place = self.find(request_id)
        del self.visits[row][place]

    def put(self, request_id: UUID, route: int, place: int | None) -> None:
        visit, visits = VisitId(str(request_id)), self.visits[self.row(route)]
        if visit not in self.day or any(visit in one for one in self.visits):
            raise InvalidInput(pointer=self.pointer, expected="a visit of the day that no route has", got=str(request_id))
        if place is not None and place > len(visits) + 1:
            raise InvalidInput(pointer=self.pointer, expected=f"a place from 1 to {len(visits) + 1}", got=str(place))
        visits.insert(len(visits) if place is None else place - 1, visit)

    def swap(self, one: UUID, other: UUID) -> None:
        (row_a, at_a), (row_b, at_b) = self.find(one), self.find(other)
        self.visits[row_a][at_a], self.visits[row_b][at_b] = self.visits[row_b][at_b], self.visits[row_a][at_a]

    def send(self, route: int, pair: tuple[UUID, UUID]) -> None:
        a, b = sorted(str(one) for one in pair)
        self.pairs[self.row(route)] = (CollectorId(a), CollectorId(b))

    def row(self, route: int) -> int:
        if route > len(self.pairs):
            raise InvalidInput(pointer=self.pointer, expected=f"a route from 1 to {len(self.pairs)}", got=str(route))
        return route - 1
