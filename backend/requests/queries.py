"""Reads of visit requests, and what of them a plan may serve on a day. Withdrawal is derived here, never announced."""

from collections.abc import Sequence
from datetime import date, datetime, time, timedelta
from uuid import UUID
from zoneinfo import ZoneInfo

import msgspec
from sqlalchemy import ColumnElement, and_, false, func, select
from sqlalchemy.orm import Session

from backend.audit.record import record_read
from backend.auth.actors import Actor
from backend.auth.authorise import authorise
from backend.auth.permissions import Permission
from backend.banks.model import MandateAction
from backend.banks.queries import mandate_facts
from backend.banks.rules import MandateQuestion, judge_mandate
from backend.cases import queries as cases
from backend.cases.model import AGENCY_ZONE, GenderRule, Stop, today_of, visit_value
from backend.cases.queries import stops_of, unconfirmed_of
from backend.cases.tables import CaseAddressRow, CaseRow, VulnerabilityReleaseRow
from backend.contacts.model import FAILED, Channel
from backend.contacts.queries import counts_to_cap
from backend.contacts.tables import ContactRecordRow, HourAgreementRow
from backend.core.fen import Fen
from backend.core.geo import LonLat
from backend.core.ids import AddressId, BankId, BranchId, CaseId, RequestId, StaffId
from backend.core.problems import NotFound
from backend.db.geo import covers
from backend.keys.keyring import Keyring
from backend.keys.sealing import sealer
from backend.policies.model import Policy
from backend.policies.queries import policy_in_force
from backend.requests.model import OPEN_STATUSES, RequestStatus, Verdict, Withheld
from backend.requests.tables import VisitRequestRow
from backend.staff.tables import BranchRow


class PlannableRequest(msgspec.Struct, frozen=True, kw_only=True):
    """An approved request that a plan may serve on the day asked for; seconds count from local midnight there."""

    request_id: RequestId
    case_id: CaseId
    bank_id: BankId
    branch_id: BranchId
    address_id: AddressId
    point: LonLat
    timezone: str
    service_s: int
    window_from_s: int
    window_to_s: int
    effective_from_s: int
    priority: int
    value: int
    is_mandatory: bool
    gender_rule: GenderRule
    required_certificate: str | None
    required_language: str | None
    excluded_staff: frozenset[StaffId]
    cash_expected_fen: Fen
    policy_version: str


class WithheldRequest(msgspec.Struct, frozen=True, kw_only=True):
    """An open request that no plan may serve that day, with every true reason, the weightiest first."""

    request_id: RequestId
    case_id: CaseId
    bank_id: BankId
    reasons: tuple[Withheld, ...]
    params: dict[str, str]


class Plannable(msgspec.Struct, frozen=True, kw_only=True):
    """What a branch can plan on a day, and what it cannot."""

    ready: tuple[PlannableRequest, ...]
    withheld: tuple[WithheldRequest, ...]


class RequestView(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One request for its readers; free texts only where `show_request` opened them."""

    id: RequestId
    case_id: CaseId
    bank_id: BankId
    branch_id: BranchId
    status: RequestStatus
    verdict: Verdict | None
    requested_by: StaffId
    requested_at: datetime
    analysed_by: StaffId | None
    decided_by: StaffId | None
    decided_at: datetime | None
    effective_from: datetime | None
    window_from_s: int
    window_to_s: int
    is_mandatory: bool
    cash_expected_fen: Fen
    is_case_open: bool
    reason: str | None = None
    analysis: str | None = None
    decision_reason: str | None = None


class _Open(msgspec.Struct, frozen=True):
    """One open request with its case, its address and whether the branch serves that place."""

    request: VisitRequestRow
    case: CaseRow
    address: CaseAddressRow
    is_served: bool


class _Day(msgspec.Struct, frozen=True, kw_only=True):
    """What was read about all open requests of a branch for one day."""

    on: date
    policies: dict[UUID, Policy]
    mandated: frozenset[UUID]                    # The banks whose mandate permits field visits that day.
    contacts: dict[bytes, int]
    failed: dict[UUID, int]
    agreements: dict[UUID, list[tuple[datetime, datetime]]]
    releases: dict[UUID, tuple[datetime, datetime]]


def visible_to(actor: Actor) -> ColumnElement[bool]:
    """Return the condition, on the joined `CaseRow`, that holds for the requests `actor` may see: those of the cases they see."""
    return cases.visible_to(actor)


def plannable(session: Session, branch_id: BranchId, on: date) -> Plannable:
    """Return what the branch's open requests allow on a day. Nothing that stops a case, and no missing approval, gets past (REQ-03, DECL-01)."""
    rows = _read(session, and_(CaseRow.branch_id == branch_id, VisitRequestRow.status.in_(sorted(OPEN_STATUSES))))
    day = _read_day(session, rows, on)
    ready: list[PlannableRequest] = []
    withheld: list[WithheldRequest] = []
    for one in rows:
        reasons = _reasons(one, day)
        if reasons:
            withheld.append(_withheld(one, reasons, day.on))
        else:
            ready.append(_ready(one, day))
    return Plannable(ready=tuple(ready), withheld=tuple(withheld))


def withheld_reasons(session: Session, request_ids: Sequence[UUID], on: date) -> dict[RequestId, tuple[Withheld, ...]]:
    """Return why each of these requests must not be served on a day; empty for one that may. For stops of a published plan."""
    rows = _read(session, VisitRequestRow.id.in_(request_ids))
    day = _read_day(session, rows, on)
    return {RequestId(one.request.id): _reasons(one, day) for one in rows}


def list_requests(
    session: Session, actor: Actor, *, now: datetime, limit: int, after: UUID | None, status: RequestStatus | None = None,
    verdict: Verdict | None = None,
) -> list[RequestView]:
    """Return at most `limit` + 1 requests after a cursor, oldest first, without free texts."""
    authorise(actor, Permission.REQUEST_READ)
    query = select(VisitRequestRow, CaseRow).join(CaseRow, CaseRow.id == VisitRequestRow.case_id).where(visible_to(actor))
    if status is not None:
        query = query.where(VisitRequestRow.status == status)
    if verdict is not None:
        query = query.where(VisitRequestRow.verdict == verdict)
    if after is not None:
        query = query.where(VisitRequestRow.id > after)
    rows = session.execute(query.order_by(VisitRequestRow.id).limit(limit + 1)).all()
    return [_view(request, case, now) for request, case in rows]


def show_request(session: Session, actor: Actor, keyring: Keyring, request_id: UUID, now: datetime) -> RequestView:
    """Return one request with its texts; the read is recorded (SEC-01). Raises `NotFound`."""
    authorise(actor, Permission.REQUEST_READ)
    found = session.execute(
        select(VisitRequestRow, CaseRow).join(CaseRow, CaseRow.id == VisitRequestRow.case_id)
        .where(VisitRequestRow.id == request_id, visible_to(actor))
    ).first()
    if found is None:
        raise NotFound
    request, case = found
    record_read(session, actor, [case.id], now, "request")
    box = sealer(session, keyring, case.id)
    texts = {
        column: None if getattr(request, column) is None else box.open(f"visit_requests.{column}", getattr(request, column))
        for column in ("reason", "analysis", "decision_reason")
    }
    return msgspec.structs.replace(_view(request, case, now), **texts)


def _read(session: Session, condition: ColumnElement[bool]) -> list[_Open]:
    is_served = func.coalesce(BranchRow.territory.is_(None) | covers(BranchRow.territory, CaseAddressRow.point), false())
    found = session.execute(
        select(VisitRequestRow, CaseRow, CaseAddressRow, is_served)
        .join(CaseRow, CaseRow.id == VisitRequestRow.case_id)
        .join(CaseAddressRow, CaseAddressRow.id == VisitRequestRow.address_id)
        .join(BranchRow, BranchRow.id == CaseRow.branch_id)
        .where(condition).order_by(VisitRequestRow.id)
    )
    return [_Open(request, case, address, bool(served)) for request, case, address, served in found]


def _read_day(session: Session, rows: Sequence[_Open], on: date) -> _Day:
    case_ids = [one.case.id for one in rows]
    debtors = [one.case.debtor_hmac for one in rows]
    at = datetime.combine(on, time(12), ZoneInfo("UTC"))
    contacts: dict[bytes, int] = {}
    failed: dict[UUID, int] = {}
    agreements: dict[UUID, list[tuple[datetime, datetime]]] = {}
    releases: dict[UUID, tuple[datetime, datetime]] = {}
    for start in range(0, len(rows), 400):
        ids, hmacs = case_ids[start : start + 400], debtors[start : start + 400]
        for hmac, count in session.execute(
            select(CaseRow.debtor_hmac, func.count()).join(ContactRecordRow, ContactRecordRow.case_id == CaseRow.id)
            .where(CaseRow.debtor_hmac.in_(hmacs), ContactRecordRow.local_on == on, counts_to_cap())
            .group_by(CaseRow.debtor_hmac)
        ):
            contacts[bytes(hmac)] = count
        failed |= {row.case_id: row.number for row in session.execute(
            select(ContactRecordRow.case_id, func.count().label("number"))
            .where(ContactRecordRow.case_id.in_(ids), ContactRecordRow.channel == Channel.PHONE, ContactRecordRow.result.in_(sorted(FAILED)))
            .group_by(ContactRecordRow.case_id)
        )}
        for agreed in session.scalars(select(HourAgreementRow).where(HourAgreementRow.case_id.in_(ids))):
            agreements.setdefault(agreed.case_id, []).append((agreed.from_at, agreed.to_at))
        for release in session.scalars(
            select(VulnerabilityReleaseRow).where(VulnerabilityReleaseRow.case_id.in_(ids)).order_by(VulnerabilityReleaseRow.id)
        ):
            releases[release.case_id] = (release.from_at, release.to_at)
    policies = {bank_id: policy_in_force(session, BankId(bank_id), at) for bank_id in {one.case.bank_id for one in rows}}
    day_end = datetime.combine(on + timedelta(days=1), time(), AGENCY_ZONE)
    question = MandateQuestion(action=MandateAction.FIELD_VISIT, on=on, at=day_end)
    mandated = frozenset(bank_id for bank_id in policies if not judge_mandate(mandate_facts(session, BankId(bank_id)), question))
    return _Day(on=on, policies=policies, mandated=mandated, contacts=contacts, failed=failed, agreements=agreements, releases=releases)


def _reasons(one: _Open, day: _Day) -> tuple[Withheld, ...]:
    request, case, policy = one.request, one.case, day.policies[one.case.bank_id]
    end_at = _instant(one, day.on, 86_400)
    effective = request.effective_from
    stops = stops_of(case, day.on)
    age_days = (day.on - case.amount_as_of_on).days
    found = {
        Withheld(stop.value.replace("_", "-")): stop in stops for stop in Stop
    } | {
        Withheld.RECALLED: Stop.RECALLED in stops or case.bank_id not in day.mandated,  # An ended mandate recalls its cases (BANK-03).
        Withheld.NOT_APPROVED: request.status is not RequestStatus.APPROVED,
        Withheld.NOT_YET_EFFECTIVE: effective is not None and effective >= end_at,
        Withheld.APPROVAL_EXPIRED: effective is not None and effective + timedelta(days=policy.request_valid_days) < _instant(one, day.on, 0),
        Withheld.UNCONFIRMED: bool(unconfirmed_of(case, day.on, policy)),
        Withheld.AMOUNT_TOO_OLD: age_days > policy.amount_age_days_max,
        Withheld.ADDRESS_REPLACED: not one.address.is_current,
        Withheld.NEEDS_PIN: one.address.point is None,
        Withheld.OUTSIDE_TERRITORY: one.address.point is not None and not one.is_served,
        Withheld.DAILY_CAP: day.contacts.get(bytes(case.debtor_hmac), 0) >= policy.contacts_per_day_max,
        Withheld.NO_HOURS: _window(one, day) is None,
    }
    return tuple(reason for reason, holds in found.items() if holds)


def _withheld(one: _Open, reasons: tuple[Withheld, ...], on: date) -> WithheldRequest:
    params = {"on": on.isoformat(), "status": one.request.status.value}
    if Withheld.AMOUNT_TOO_OLD in reasons:
        params["amount_as_of_on"] = one.case.amount_as_of_on.isoformat()
    if Withheld.TERM_OVER in reasons:
        params["term_ends_on"] = one.case.term_ends_on.isoformat()
    return WithheldRequest(
        request_id=RequestId(one.request.id), case_id=CaseId(one.case.id), bank_id=BankId(one.case.bank_id), reasons=reasons, params=params
    )


def _ready(one: _Open, day: _Day) -> PlannableRequest:
    request, case, address = one.request, one.case, one.address
    window = _window(one, day)
    assert window is not None
    assert address.point is not None
    priority, value = visit_value(case.score, day.failed.get(case.id, 0))
    if case.is_urgent:
        priority, value = 5, 16
    midnight = _instant(one, day.on, 0)
    assert request.effective_from is not None
    return PlannableRequest(
        request_id=RequestId(request.id), case_id=CaseId(case.id), bank_id=BankId(case.bank_id), branch_id=BranchId(case.branch_id),
        address_id=AddressId(address.id), point=address.point, timezone=address.timezone, service_s=request.service_s,
        window_from_s=window[0], window_to_s=window[1], effective_from_s=max(0, _ceil_s(request.effective_from - midnight)),
        priority=priority, value=value, is_mandatory=request.is_mandatory, gender_rule=case.gender_rule,
        required_certificate=request.required_certificate,
        required_language=request.required_language or (None if case.language == "zh" else case.language),
        excluded_staff=frozenset(StaffId(UUID(one_id)) for one_id in request.excluded_staff), cash_expected_fen=Fen(request.cash_expected_fen),
        policy_version=day.policies[case.bank_id].version,
    )


def _window(one: _Open, day: _Day) -> tuple[int, int] | None:
    """Return the seconds of the day in which service may start, or None when nothing is left of the request's window.

    Hours outside the legal ones stay only where one agreement with the cardholder covers them whole; a vulnerability release narrows
    the window to its time (VIS-10, VIS-11).
    """
    policy = day.policies[one.case.bank_id]
    from_s, to_s = one.request.window_from_s, one.request.window_to_s
    if from_s < policy.hours_from_s and not _is_agreed(one, day, policy, from_s, policy.hours_from_s):
        from_s = policy.hours_from_s
    if to_s > policy.hours_to_s and not _is_agreed(one, day, policy, policy.hours_to_s, to_s):
        to_s = policy.hours_to_s
    midnight = _instant(one, day.on, 0)
    if one.request.effective_from is not None:
        from_s = max(from_s, _ceil_s(one.request.effective_from - midnight))
    release = day.releases.get(one.case.id)
    if release is not None:
        from_s = max(from_s, _ceil_s(release[0] - midnight))
        to_s = min(to_s, (release[1] - midnight) // timedelta(seconds=1))
    return (from_s, to_s) if from_s < to_s else None


def _is_agreed(one: _Open, day: _Day, policy: Policy, from_s: int, to_s: int) -> bool:
    start, end = _instant(one, day.on, from_s), _instant(one, day.on, to_s)
    return policy.is_hour_exception_allowed and any(a <= start and end <= b for a, b in day.agreements.get(one.case.id, ()))


def _instant(one: _Open, on: date, day_s: int) -> datetime:
    # Wall-clock arithmetic in the address's zone, then an instant: a day with a clock change keeps its hours.
    wall = datetime.combine(on, time(), ZoneInfo(one.address.timezone)) + timedelta(seconds=day_s)
    return wall.astimezone(ZoneInfo("UTC"))


def _ceil_s(span: timedelta) -> int:
    return -(-span // timedelta(seconds=1))


def _view(request: VisitRequestRow, case: CaseRow, now: datetime) -> RequestView:
    return RequestView(
        id=RequestId(request.id), case_id=CaseId(case.id), bank_id=BankId(case.bank_id), branch_id=BranchId(case.branch_id), status=request.status,
        verdict=request.verdict, requested_by=StaffId(request.requested_by), requested_at=request.requested_at,
        analysed_by=None if request.analysed_by is None else StaffId(request.analysed_by),
        decided_by=None if request.decided_by is None else StaffId(request.decided_by), decided_at=request.decided_at,
        effective_from=request.effective_from, window_from_s=request.window_from_s, window_to_s=request.window_to_s,
        is_mandatory=request.is_mandatory, cash_expected_fen=Fen(request.cash_expected_fen),
        is_case_open=not stops_of(case, today_of(now)),
    )
