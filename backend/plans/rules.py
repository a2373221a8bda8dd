"""What the rulebook asks of a plan on the day it is published. Pure: facts in, breaches out; empty means clean.

The instance was true when it was built; publication judges again what may have changed since: people, papers, approvals.
"""

from datetime import datetime

import msgspec

from backend.core.ids import BankId, RequestId, StaffId
from backend.core.rulebook import Breach, Rule
from backend.policies.model import Policy


class MemberFacts(msgspec.Struct, frozen=True, kw_only=True):
    """One of a pair, as of now for the planned day."""

    id: StaffId
    is_active: bool
    is_qualified: bool
    credentials: frozenset[BankId]


class StopFacts(msgspec.Struct, frozen=True, kw_only=True):
    """One visit stop. Times are naive, at the visited address; `place` counts from 1 within the route."""

    place: int
    request_id: RequestId
    bank_id: BankId
    is_approved: bool
    is_begun: bool
    local_starts_at: datetime
    local_ends_at: datetime
    is_hour_agreed: bool = False


class PublishedRoute(msgspec.Struct, frozen=True, kw_only=True):
    """One pair's route about to be published."""

    number: int
    members: tuple[MemberFacts, ...]
    stops: tuple[StopFacts, ...]


class PublicationFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What a publication is judged by. `violations` are what `routing.check` says of the stored plan, now."""

    routes: tuple[PublishedRoute, ...]
    violations: tuple[str, ...]
    is_day_over: bool


def judge_publication(facts: PublicationFacts, policy: Policy) -> tuple[Breach, ...]:
    """Judge leave to publish: VIS-01, TEAM-01, VIS-06, VIS-10, REQ-03, REQ-04, all breaches of all routes at once."""
    breaches = [Breach(Rule.REQ_04, "plan-not-clean", expected="no violation by routing.check", got=violation) for violation in facts.violations]
    if facts.is_day_over:
        breaches.append(Breach(Rule.REQ_04, "day-over", expected="today or a later day", got="an earlier day"))
    seen: dict[StaffId, int] = {}
    for route in facts.routes:
        breaches.extend(_judge_route(route, policy))
        breaches.extend(
            Breach(Rule.VIS_01, "in-two-pairs", expected="one route a day", got=str(member.id))
            for member in route.members if seen.setdefault(member.id, route.number) != route.number
        )
    return tuple(breaches)


def _judge_route(route: PublishedRoute, policy: Policy) -> list[Breach]:
    breaches = []
    able = {member.id for member in route.members if member.is_active}
    if len(able) < policy.pair_min:
        expected, got = f"{policy.pair_min} active employees", f"route {route.number}: {len(able)}"
        breaches.append(Breach(Rule.VIS_01, "too-few-visitors", expected=expected, got=got))
    breaches.extend(
        Breach(Rule.TEAM_01, "not-qualified", expected="field-visit qualification in force", got=f"route {route.number}: {member.id}")
        for member in route.members if not member.is_qualified
    )
    wanted = {stop.bank_id for stop in route.stops}
    breaches.extend(
        Breach(Rule.VIS_06, "credential-not-recognised", expected="a credential of every bank on the route", got=f"route {route.number}: {member.id}")
        for member in route.members if wanted - member.credentials
    )
    for stop in route.stops:
        breaches.extend(_judge_stop(f"route {route.number} stop {stop.place}", stop, policy))
    return breaches


def _judge_stop(where: str, stop: StopFacts, policy: Policy) -> list[Breach]:
    breaches = []
    if not stop.is_approved:
        breaches.append(Breach(Rule.REQ_03, "request-not-approved", expected="approved", got=where))
    if stop.is_begun:
        breaches.append(Breach(Rule.REQ_04, "already-visited", expected="a request not yet visited", got=where))
    is_one_day = stop.local_starts_at.date() == stop.local_ends_at.date()
    inside = is_one_day and policy.hours_from_s <= _of_day_s(stop.local_starts_at) and _of_day_s(stop.local_ends_at) <= policy.hours_to_s
    if not inside and not stop.is_hour_agreed:
        breaches.append(Breach(Rule.VIS_10, "outside-hours", expected="service within the hours", got=where))
    return breaches


def _of_day_s(local_at: datetime) -> float:
    return local_at.hour * 3600 + local_at.minute * 60 + local_at.second + local_at.microsecond / 1e6
