"""When a recording of one bank's visit holds another bank's too, and where it is cut. Pure (F22, SEC-01)."""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from uuid import UUID

import msgspec

OVERRUN = timedelta(seconds=90)
"""A recording lasts from a minute before the door to a minute after it; so much of the next door's visit may be on it."""
GAP_MAX = timedelta(seconds=2)
OPEN_MAX = timedelta(hours=12)
"""So long at most a visit lasts whose end nobody told; it ends at the latest when the same people stand at their next door."""


class Stretch(msgspec.Struct, frozen=True, kw_only=True):
    """From when to when. `ended_at` is not before `started_at`."""

    started_at: datetime
    ended_at: datetime


class Door(msgspec.Struct, frozen=True, kw_only=True):
    """A visit as its times are told: whose, by whom, from when to when. `started_at` is None while nobody told that they arrived."""

    visit_id: UUID
    bank_id: UUID
    people: frozenset[UUID]
    started_at: datetime | None
    ended_at: datetime | None


def stretches(doors: Sequence[Door]) -> dict[UUID, Stretch]:
    """Return when each begun visit was. One whose end nobody told lasts until one of its people begins at another door."""
    begun = sorted((door.started_at, door.visit_id, door) for door in doors if door.started_at is not None)
    found = {}
    for started_at, visit_id, door in begun:
        ended_at = door.ended_at
        if ended_at is None:
            ended_at = min([started_at + OPEN_MAX, *(at for at, _, other in begun if at > started_at and other.people & door.people)])
        found[visit_id] = Stretch(started_at=started_at, ended_at=max(started_at, ended_at))
    return found


def runs_into(recording: Stretch, other: Stretch) -> bool:
    """Tell whether a recording holds another visit: all of it, or more than the overrun that a recording needs at its ends."""
    shared = min(recording.ended_at, other.ended_at) - max(recording.started_at, other.started_at)
    is_whole = recording.started_at <= other.started_at and other.ended_at <= recording.ended_at
    return is_whole or shared > OVERRUN


def is_covered(stretch: Stretch, by: Iterable[Stretch]) -> bool:
    """Tell whether recordings lie end to end over a stretch, with gaps of at most two seconds."""
    reached = stretch.started_at
    for one in sorted(by, key=lambda each: each.started_at):
        if one.started_at - reached > GAP_MAX:
            break
        reached = max(reached, one.ended_at)
    return stretch.ended_at - reached <= GAP_MAX


def how_to_split(stretch: Stretch | None) -> str:
    """Return where a joint recording is cut: this visit's own part and nothing else, as a new file of this visit."""
    if stretch is None:
        return "one recording per bank: cut where one visit ends and the next begins"
    return f"one recording per bank: cut {stretch.started_at:%Y-%m-%dT%H:%M:%SZ} to {stretch.ended_at:%Y-%m-%dT%H:%M:%SZ}"

