"""The only translator between the house and `routing/`: facts of a day → `fieldday/1`, `fieldday-plan/1` → stops. Pure.

Everything that VIS-01, VIS-04, VIS-06, VIS-10, TEAM-01 and REQ-03 ask of a plan is put into the instance, so that
`routing.check` judges solved and hand-made plans alike.
"""

from collections.abc import Iterable, Mapping
from itertools import combinations

import msgspec

from backend.core.geo import EARTH_RADIUS_M, LonLat
from backend.core.ids import BankId, StaffId
from backend.plans.facts import CollectorFacts, DayFacts, OfficeFacts
from backend.plans.reasons import permitted_window
from backend.plans.rotation import barred_pairs
from backend.policies.model import Policy
from backend.requests.queries import PlannableRequest
from backend.staff.model import Gender
from routing.model import (
    INSTANCE_SCHEMA,
    RUNNING_SCHEMA,
    Approval,
    Bank,
    BankLimit,
    Break,
    CashRules,
    Collector,
    CollectorId,
    Instance,
    Location,
    LocationId,
    LocationKind,
    Objective,
    PairingRules,
    PastDay,
    SpeedSpan,
    TravelModel,
    Visit,
)
from routing.model import Gender as RoutingGender
from routing.model import GenderRule as RoutingGenderRule

DETOUR_FACTOR = 1.35
SPEED_KMH = 25.0
OBJECTIVE = Objective(mandatory_unserved=1_000_000, lost_value=3_600, travel_s=1, imbalance_div=10)
OFFICE = LocationId("office")
GREAT_CIRCLE = TravelModel(earth_radius_m=EARTH_RADIUS_M, detour_factor=DETOUR_FACTOR, speed_kmh=SPEED_KMH)


def to_instance(facts: DayFacts, entering: tuple[PlannableRequest, ...], policy: Policy, name: str) -> Instance:
    """Translate a screened day: as `fieldday/2` where there is cash, or the policy gives breaks or hours of another speed, else as `fieldday/1`.

    Ids in the instance are ours: employees, requests and deposit offices by their UUIDs.

    A bank's credential must be held by *both* visitors (VIS-06), while a certificate of `fieldday/1` is met by one of two; so
    it is written as the exclusion of everybody who does not hold it. Two who carry no recorder and camera between them are
    written as a conflict (VIS-04), and so are two who were together as long or as often as the policy allows (REQ-06).

    Cash goes to offices of the case's own bank (CASH-06), and of no bank's money is more carried than that bank's policy allows, nor than
    the agency's (CASH-08).
    """
    people = tuple(one for one in facts.collectors if one.may_visit)
    cash_banks = {request.bank_id for request in entering if request.cash_expected_fen}
    offices = tuple(office for office in facts.offices if office.bank_id in cash_banks)
    locations = [Location(id=OFFICE, kind=LocationKind.OFFICE, lat=facts.office.lat, lon=facts.office.lon)]
    locations += [_location(f"start:{one.id}", LocationKind.HOME, one.start) for one in people if one.start is not None]
    locations += [_location(f"end:{one.id}", LocationKind.HOME, one.end) for one in people if one.end is not None]
    locations += [office_location(office) for office in offices]
    locations += [_location(f"visit:{request.request_id}", LocationKind.VISIT, request.point) for request in entering]
    visits = tuple(_visit(request, people, policy) for request in entering)
    is_running = bool(policy.break_s or policy.travel_speeds or cash_banks)
    return Instance(
        schema=RUNNING_SCHEMA if is_running else INSTANCE_SCHEMA, name=name, date=facts.on.isoformat(),
        timezone=facts.timezone, horizon=_horizon(visits, policy),
        travel=msgspec.structs.replace(GREAT_CIRCLE, speeds=_speeds(policy)), objective=OBJECTIVE,
        pairing=_pairing(facts, people, policy), cash=cash_rules(facts.carry_limits, cash_banks, policy), locations=tuple(locations),
        collectors=tuple(_collector(one, facts.load_s.get(one.id, 0), policy) for one in people),
        banks=tuple(office_of(office) for office in offices),
        visits=visits,
    )


def office_of(office: OfficeFacts) -> Bank:
    """Return a deposit office as the planner knows it."""
    return Bank(
        id=office.id, location=LocationId(f"bank:{office.id}"), open=office.opens_s, close=office.closes_s, service_s=office.service_s,
        bank=str(office.bank_id),
    )


def office_location(office: OfficeFacts) -> Location:
    """Return where a deposit office is."""
    return _location(f"bank:{office.id}", LocationKind.BANK, office.place)


def cash_rules(carry_limits: Mapping[BankId, int], banks: Iterable[BankId], policy: Policy) -> CashRules:
    """Return how much a pair may carry, in all and of each of these banks that is stricter (CASH-08)."""
    own = [(bank, carry_limits.get(bank, policy.carry_limit_fen)) for bank in sorted(banks)]
    stricter = tuple(BankLimit(bank=str(bank), carry_limit_fen=limit) for bank, limit in own if limit < policy.carry_limit_fen)
    return CashRules(carry_limit_fen=policy.carry_limit_fen, limits=stricter)


def _horizon(visits: tuple[Visit, ...], policy: Policy) -> tuple[int, int]:
    """Return the hours, widened only by visits whose own window reaches beyond them by agreement (VIS-10)."""
    opens = [opens for visit in visits for opens, _ in visit.windows]
    ends = [closes + visit.service_s for visit in visits for _, closes in visit.windows]
    return min([policy.hours_from_s, *opens]), max([policy.hours_to_s, *ends])


def _location(name: str, kind: LocationKind, place: LonLat) -> Location:
    return Location(id=name, kind=kind, lat=place.lat, lon=place.lon)


def _speeds(policy: Policy) -> tuple[SpeedSpan, ...]:
    return tuple(SpeedSpan(span=(one.from_s, one.to_s), percent=one.percent) for one in policy.travel_speeds)


def _collector(one: CollectorFacts, load_s: int, policy: Policy) -> Collector:
    rest = (Break(window=(policy.break_from_s, policy.break_until_s), duration_s=policy.break_s),) if policy.break_s else ()
    return Collector(
        id=str(one.id), gender=RoutingGender.F if one.gender is Gender.F else RoutingGender.M, lead=one.is_lead,
        certs=tuple(sorted(one.certificates)), languages=tuple(sorted(one.languages)), available=True,
        shift=(one.shift_from_s, one.shift_to_s), start=OFFICE if one.start is None else LocationId(f"start:{one.id}"),
        end=OFFICE if one.end is None else LocationId(f"end:{one.id}"), recent_load_s=load_s, breaks=rest,
    )


def _pairing(facts: DayFacts, people: tuple[CollectorFacts, ...], policy: Policy) -> PairingRules:
    known = {one.id for one in people}
    conflicts = {_ordered(a, b) for a, b in facts.conflicts if a in known and b in known}
    conflicts |= {
        _ordered(a.id, b.id) for a, b in combinations(people, 2) if not ((a.has_audio or b.has_audio) and (a.has_camera or b.has_camera))
    }
    conflicts |= {_ordered(a, b) for a, b in barred_pairs(facts.on, facts.past, policy) if a in known and b in known}
    history = tuple(
        PastDay(days_ago=days_ago, pairs=tuple(_ordered(a, b) for a, b in pairs if a in known and b in known))
        for days_ago, pairs in sorted(facts.history.items())
    )
    return PairingRules(
        max_pairs=len(people) // 2, require_lead=policy.is_lead_required, max_consecutive_days=policy.pair_consecutive_days_max,
        conflicts=tuple(sorted(conflicts)), history=history,
    )


def _ordered(a: StaffId, b: StaffId) -> tuple[CollectorId, CollectorId]:
    first, second = sorted((str(a), str(b)))
    return CollectorId(first), CollectorId(second)


def _visit(request: PlannableRequest, people: tuple[CollectorFacts, ...], policy: Policy) -> Visit:
    rule, window = RoutingGenderRule(request.gender_rule.value), permitted_window(request, policy)
    assert window is not None, "screened out"
    barred = [one.id for one in people if one.id in request.excluded_staff or not _may_serve(one, request.bank_id, rule)]
    return Visit(
        id=str(request.request_id), location=LocationId(f"visit:{request.request_id}"), service_s=request.service_s, windows=(window,),
        mandatory=request.is_mandatory, priority=request.priority, value=request.value, required_cert=request.required_certificate,
        required_language=request.required_language, gender_rule=rule, excluded_collectors=tuple(CollectorId(str(one)) for one in sorted(barred)),
        approval=Approval(status="approved", effective_from=request.effective_from_s), cash_fen=request.cash_expected_fen,
        bank=str(request.bank_id) if request.cash_expected_fen else None,
    )


def _may_serve(one: CollectorFacts, bank_id: BankId, rule: RoutingGenderRule) -> bool:
    # Somebody who has not stated a gender is written as M, which satisfies no rule for women; a mixed pair needs both stated.
    is_gender_known = one.gender is not None or rule is not RoutingGenderRule.MIXED
    return bank_id in one.credentials and is_gender_known
