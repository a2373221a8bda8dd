"""What the rulebook asks of a plan on the day it is published. Pure: facts in, breaches out; empty means clean.

The instance was true when it was built; publication judges again what may have changed since: people, papers, approvals.
"""

from datetime import datetime

import msgspec

from backend.contacts.model import Channel
from backend.contacts.rules import judge_hours
from backend.core.ids import RequestId, StaffId
from backend.core.rulebook import Breach, Rule
from backend.policies.model import Policy
from backend.staff.rules import PairFacts, judge_pair


class StopFacts(msgspec.Struct, frozen=True, kw_only=True):
    """One visit stop. Times are at the visited address; `position` counts from 1 within the route."""

    position: int
    request_id: RequestId
    is_approved: bool
    local_starts_at: datetime
    local_ends_at: datetime
    is_hour_agreed: bool = False


class PublishedRoute(msgspec.Struct, frozen=True, kw_only=True):
    """One pair's route about to be published; `pairs` are the same two people once per bank on the route, as of now.

    `absent` are those of them who do not work that day.
    """

    number: int
    members: tuple[StaffId, ...]
    absent: frozenset[StaffId]
    pairs: tuple[PairFacts, ...]
    stops: tuple[StopFacts, ...]


class PublicationFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What a publication is judged by. `violations` are what `routing.check` says of the stored plan, `rotation` what the bounds say, now."""

    routes: tuple[PublishedRoute, ...]
    violations: tuple[str, ...]
    is_day_over: bool
    rotation: tuple[Breach, ...] = ()


def judge_publication(facts: PublicationFacts, policy: Policy) -> tuple[Breach, ...]:
    """Judge leave to publish: VIS-01, VIS-04, VIS-06, TEAM-01, VIS-10, REQ-03, REQ-04, all breaches of all routes at once."""
    breaches = [Breach(Rule.REQ_04, "plan-not-clean", expected="no violation by routing.check", got=violation) for violation in facts.violations]
    if facts.is_day_over:
        breaches.append(Breach(Rule.REQ_04, "day-over", expected="today or a later day", got="an earlier day"))
    breaches.extend(facts.rotation)
    seen: dict[StaffId, int] = {}
    for route in facts.routes:
        breaches.extend(_judge_route(route, policy))
        breaches.extend(
            Breach(Rule.VIS_01, "in-two-pairs", expected="one route a day", got=str(member))
            for member in route.members if seen.setdefault(member, route.number) != route.number
        )
    return tuple(breaches)


def _judge_route(route: PublishedRoute, policy: Policy) -> list[Breach]:
    where = f"route {route.number}"
    # What is wrong with the pair itself is found once for each bank on the route; it is named once.
    people = dict.fromkeys(breach for pair in route.pairs for breach in judge_pair(pair, policy))
    breaches = [_placed(breach, where) for breach in people]
    breaches.extend(
        Breach(Rule.REQ_09, "not-at-work", expected="both at work that day", got=f"{where}: {member}") for member in sorted(route.absent)
    )
    for stop in route.stops:
        breaches.extend(_judge_stop(f"{where} stop {stop.position}", stop, policy))
    return breaches


def _judge_stop(where: str, stop: StopFacts, policy: Policy) -> list[Breach]:
    breaches = []
    if not stop.is_approved:
        breaches.append(Breach(Rule.REQ_03, "request-not-approved", expected="approved", got=where))
    for local_at in (stop.local_starts_at, stop.local_ends_at):
        found = judge_hours(Channel.VISIT, local_at.time(), policy, is_agreed=stop.is_hour_agreed)
        breaches.extend(_placed(breach, where) for breach in found)
    return breaches


def _placed(breach: Breach, where: str) -> Breach:
    return msgspec.structs.replace(breach, got=f"{where}: {breach.got}")
