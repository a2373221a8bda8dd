"""Gather the facts that planning and publishing are judged by, in a number of statements that does not grow with the day."""

from collections.abc import Iterable, Sequence
from datetime import date, datetime, time, timedelta
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import msgspec
from sqlalchemy import select
from sqlalchemy.orm import Session

from backend.banks.hours import offices_on
from backend.cases.tables import CaseAddressRow, CaseRow
from backend.contacts.tables import HourAgreementRow
from backend.core.ids import AddressId, BankId, BranchId, CaseId, RequestId, StaffId, StopId, VisitId
from backend.core.rulebook import Breach
from backend.plans.facts import CollectorFacts, DayFacts, OfficeFacts
from backend.plans.model import PlannedStop, PlanStatus, StopKind
from backend.plans.rotation import WINDOW_DAYS_MAX, PairDay, judge_rotation
from backend.plans.rules import PublicationFacts, PublishedRoute, StopFacts
from backend.plans.tables import PlanRow, RouteRow, StopRow
from backend.policies.model import Policy
from backend.policies.queries import policy_in_force
from backend.requests.model import RequestStatus
from backend.requests.queries import plannable
from backend.requests.tables import VisitRequestRow
from backend.staff import queries as staff
from backend.staff.model import EquipmentKind
from backend.staff.rules import EquipmentFacts, MemberFacts, PairFacts, judge_credential

CONSECUTIVE_DAYS_GATHERED = 30
LOAD_DAYS = 28
"""How far back work counts for sharing it evenly."""


def local_day(on: date, timezone: str, day_s: int = 0) -> datetime:
    """Return the instant `day_s` seconds of wall time after local midnight."""
    wall = datetime.combine(on, time(), ZoneInfo(timezone)) + timedelta(seconds=day_s)
    return wall.astimezone(ZoneInfo("UTC"))


def day_facts(session: Session, branch_id: BranchId, on: date, now: datetime) -> DayFacts:
    """Gather everything that a branch's day is planned from, as things stand now. Raises `NotFound` for an unknown branch."""
    branch = staff.branch(session, branch_id)
    offered = plannable(session, branch_id, on)
    collectors = tuple(_collector(one, on) for one in staff.collectors_on(session, branch_id, on))
    cash_banks = sorted({one.bank_id for one in offered.ready if one.cash_expected_fen})
    return DayFacts(
        branch_id=branch.id, branch_code=branch.code, on=on, timezone=branch.timezone, office=branch.office, collectors=collectors,
        ready=offered.ready, withheld=offered.withheld,
        offices=open_offices(session, cash_banks, on),
        carry_limits={bank: policy_in_force(session, bank, now).carry_limit_fen for bank in cash_banks},
        conflicts=staff.conflicts(session, [one.id for one in collectors]), history=_history(session, branch_id, on),
        past=past_days(session, branch_id, on), load_s=_recent_load_s(session, branch_id, on, [one.id for one in collectors]),
    )


def open_offices(session: Session, bank_ids: Iterable[BankId], on: date) -> tuple[OfficeFacts, ...]:
    """Return where these banks take cash on a date, by their calendars as of now."""
    return tuple(
        OfficeFacts(id=str(one.id), bank_id=one.bank_id, place=one.location, opens_s=one.opens_s, closes_s=one.closes_s, service_s=one.service_s)
        for one in offices_on(session, bank_ids, on) if one.opens_s is not None and one.closes_s is not None
    )


def _collector(view: staff.CollectorView, on: date) -> CollectorFacts:
    member, fit = view.member, staff.fit_kinds(view.equipment, on)
    banks = {paper.bank_id for paper in member.credentials}
    return CollectorFacts(
        id=member.staff_id, is_active=member.is_active and member.is_of_the_agency,
        is_qualified=member.field_qualified_to_on is not None and on <= member.field_qualified_to_on, is_lead=member.is_lead, gender=view.gender,
        credentials=frozenset(bank for bank in banks if not judge_credential(member.credentials, bank, on)), certificates=view.certificates,
        languages=view.languages, shift_from_s=view.shift_from_s, shift_to_s=view.shift_to_s, start=view.start, end=view.end,
        has_audio=EquipmentKind.AUDIO in fit, has_camera=EquipmentKind.CAMERA in fit,
    )


def _history(session: Session, branch_id: BranchId, on: date) -> dict[int, tuple[tuple[StaffId, StaffId], ...]]:
    plans = session.execute(
        select(PlanRow.id, PlanRow.on).where(PlanRow.branch_id == branch_id, PlanRow.on < on, PlanRow.status == PlanStatus.PUBLISHED)
        .order_by(PlanRow.on.desc()).limit(CONSECUTIVE_DAYS_GATHERED)
    ).all()
    days_ago = {plan.id: number for number, plan in enumerate(plans, start=1)}
    pairs: dict[int, tuple[tuple[StaffId, StaffId], ...]] = dict.fromkeys(days_ago.values(), ())
    query = select(RouteRow.plan_id, RouteRow.collector_a, RouteRow.collector_b).where(RouteRow.plan_id.in_(list(days_ago))).order_by(RouteRow.id)
    for plan_id, a, b in session.execute(query):
        pairs[days_ago[plan_id]] += ((StaffId(a), StaffId(b)),)
    return pairs


def past_days(session: Session, branch_id: UUID, on: date) -> tuple[PairDay, ...]:
    """Return the pairs of the branch's other published days, as far back and ahead as any policy looks."""
    reach = timedelta(days=WINDOW_DAYS_MAX)
    plans = session.execute(
        select(PlanRow.id, PlanRow.on).where(
            PlanRow.branch_id == branch_id, PlanRow.on >= on - reach, PlanRow.on <= on + reach, PlanRow.on != on,
            PlanRow.status == PlanStatus.PUBLISHED,
        ).order_by(PlanRow.on)
    ).all()
    pairs: dict[UUID, set[tuple[StaffId, StaffId]]] = {plan.id: set() for plan in plans}
    query = select(RouteRow.plan_id, RouteRow.collector_a, RouteRow.collector_b).where(RouteRow.plan_id.in_(list(pairs)))
    for plan_id, a, b in session.execute(query):
        pairs[plan_id].add((StaffId(min(a, b)), StaffId(max(a, b))))
    return tuple(PairDay(on=plan.on, pairs=frozenset(pairs[plan.id])) for plan in plans)


def _recent_load_s(session: Session, branch_id: UUID, on: date, ids: list[StaffId]) -> dict[StaffId, int]:
    """Return each person's seconds of planned work in the last weeks, scaled to a full presence: who is there half the time owes half the work."""
    since = on - timedelta(days=LOAD_DAYS)
    worked = dict.fromkeys(ids, 0)
    routes = session.execute(
        select(RouteRow.collector_a, RouteRow.collector_b, RouteRow.departure_at, RouteRow.return_at).join(PlanRow, PlanRow.id == RouteRow.plan_id)
        .where(PlanRow.branch_id == branch_id, PlanRow.on >= since, PlanRow.on < on, PlanRow.status == PlanStatus.PUBLISHED)
    )
    for a, b, departure_at, return_at in routes:
        for one in (a, b):
            if one in worked:
                worked[StaffId(one)] += int((return_at - departure_at).total_seconds())
    offered = staff.offered_s(session, ids, since, on)
    most = max(offered.values(), default=0)
    return {one: worked[one] * most // offered[one] if offered.get(one) else 0 for one in ids}


def publication_facts(
    session: Session, plan: PlanRow, policy: Policy, now: datetime, violations: tuple[str, ...]
) -> tuple[PublicationFacts, tuple[PlannedStop, ...]]:
    """Gather what a publication is judged by, and the visit stops that it dispatches."""
    branch = staff.branch(session, BranchId(plan.branch_id))
    routes = session.scalars(select(RouteRow).where(RouteRow.plan_id == plan.id).order_by(RouteRow.number)).all()
    stops: dict[UUID, list[Any]] = {route.id: [] for route in routes}
    found = session.execute(
        select(StopRow, VisitRequestRow, CaseRow.bank_id, CaseAddressRow.timezone)
        .join(VisitRequestRow, VisitRequestRow.id == StopRow.request_id).join(CaseRow, CaseRow.id == StopRow.case_id)
        .join(CaseAddressRow, CaseAddressRow.id == VisitRequestRow.address_id).join(RouteRow, RouteRow.id == StopRow.route_id)
        .where(RouteRow.plan_id == plan.id, StopRow.kind == StopKind.VISIT).order_by(StopRow.route_id, StopRow.position)
    ).all()
    for one in found:
        stops[one[0].route_id].append(one)
    people = _People(session, {StaffId(who) for route in routes for who in (route.collector_a, route.collector_b)}, plan, branch.id)
    agreed = _agreed(session, [one[0] for one in found])
    today = now.astimezone(ZoneInfo(branch.timezone)).date()
    facts = PublicationFacts(
        routes=tuple(_published_route(route, stops[route.id], people, agreed) for route in routes), violations=violations,
        is_day_over=plan.on < today, rotation=_judge_pairs(session, plan, routes, policy),
    )
    return facts, tuple(_planned(route, one) for route in routes for one in stops[route.id])


def _judge_pairs(session: Session, plan: PlanRow, routes: Sequence[RouteRow], policy: Policy) -> tuple[Breach, ...]:
    """Judge each pair's rotation as of now: other days may have been published since the plan was ordered."""
    past = past_days(session, plan.branch_id, plan.on)
    branch_days: list[date] = [day.on for day in past]
    found: list[Breach] = []
    for route in routes:
        pair = (StaffId(min(route.collector_a, route.collector_b)), StaffId(max(route.collector_a, route.collector_b)))
        together = frozenset(day.on for day in past if pair in day.pairs)
        breaches = judge_rotation(plan.on, branch_days, together, policy) if together else ()
        found += [msgspec.structs.replace(breach, got=f"route {route.number}: {breach.got}") for breach in breaches]
    return tuple(found)


class _People:
    """Papers, equipment and conflicts of everybody in a plan, each asked for once."""

    def __init__(self, session: Session, ids: set[StaffId], plan: PlanRow, branch_id: BranchId) -> None:
        self.on = plan.on
        self.members: dict[StaffId, MemberFacts] = staff.member_facts(session, ids, plan.on)
        self.equipment: dict[StaffId, tuple[EquipmentFacts, ...]] = staff.equipment_facts(session, ids, plan.on)
        self.conflicts = staff.conflicts(session, ids)
        self.at_work = {one.member.staff_id for one in staff.collectors_on(session, branch_id, plan.on)}

    def pair(self, a: StaffId, b: StaffId, bank_id: BankId) -> PairFacts:
        carried = dict.fromkeys(fact for one in (a, b) for fact in self.equipment.get(one, ()))
        return PairFacts(
            on=self.on, bank_id=bank_id, members=tuple(self.members[one] for one in (a, b) if one in self.members), equipment=tuple(carried),
            is_conflicting=(min(a, b), max(a, b)) in self.conflicts,
        )


def _published_route(route: RouteRow, stops: list[Any], people: _People, agreed: set[UUID]) -> PublishedRoute:
    a, b = StaffId(route.collector_a), StaffId(route.collector_b)
    banks = sorted({BankId(bank_id) for _, _, bank_id, _ in stops})
    return PublishedRoute(
        number=route.number, members=(a, b), absent=frozenset({a, b} - people.at_work), pairs=tuple(people.pair(a, b, bank) for bank in banks),
        stops=tuple(
            StopFacts(
                position=stop.position, request_id=RequestId(request.id), is_approved=request.status is RequestStatus.APPROVED,
                local_starts_at=stop.starts_at.astimezone(ZoneInfo(zone)), local_ends_at=stop.ends_at.astimezone(ZoneInfo(zone)),
                is_hour_agreed=stop.id in agreed,
            ) for stop, request, _, zone in stops
        ),
    )


def _agreed(session: Session, stops: Iterable[StopRow]) -> set[UUID]:
    """Return the stops whose whole service an agreement with the cardholder covers."""
    rows = list(stops)
    agreements: dict[UUID, list[HourAgreementRow]] = {}
    for row in session.scalars(select(HourAgreementRow).where(HourAgreementRow.case_id.in_([stop.case_id for stop in rows]))):
        agreements.setdefault(row.case_id, []).append(row)
    return {
        stop.id for stop in rows if stop.case_id is not None
        and any(one.from_at <= stop.starts_at and stop.ends_at <= one.to_at for one in agreements.get(stop.case_id, ()))
    }


def _planned(route: RouteRow, found: Any) -> PlannedStop:
    stop, request, bank_id, zone = found
    return PlannedStop(
        visit_id=VisitId(stop.visit_id), stop_id=StopId(stop.id), request_id=RequestId(request.id), case_id=CaseId(request.case_id),
        address_id=AddressId(request.address_id), bank_id=BankId(bank_id), timezone=zone, collector_a=StaffId(route.collector_a),
        collector_b=StaffId(route.collector_b),
    )
