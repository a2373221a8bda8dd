"""Reads of visits: who sees which, the day of a branch, one visit with all that was told of it."""

import json
from collections.abc import Collection, Mapping
from datetime import date, datetime
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import ColumnElement, false, or_, select, true
from sqlalchemy.orm import Session

from backend.audit.breaches import breaches_of
from backend.audit.record import record_read
from backend.auth.actors import Actor, Role
from backend.auth.authorise import authorise
from backend.auth.permissions import Permission
from backend.cases.identity import masked_name
from backend.cases.queries import load_keys
from backend.cases.tables import CaseAddressRow, CaseRow
from backend.core.fen import Fen
from backend.core.geo import LonLat
from backend.core.ids import BankId, BranchId, CaseId, RequestId, StaffId, VisitId
from backend.core.problems import NotFound
from backend.core.rulebook import Breach
from backend.keys.keyring import Keyring
from backend.keys.sealing import Sealer, sealer
from backend.plans.queries import withdrawals
from backend.plans.tables import StopRow
from backend.staff.queries import names_of
from backend.visits.catalogue import Outcome
from backend.visits.model import Identity, Recoverability, Reviewer, Verdict, VisitStatus
from backend.visits.tables import CheckInRow, EntryRow, ExceptionRow, OutcomeRow, ReportRow, ReviewRow, RightPartyRow, VisitRow

OFFICE_ROLES = frozenset(Role) - {Role.FIELD_COLLECTOR}


class PersonView(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A visitor by id and name."""

    id: StaffId
    name: str


class VisitSummary(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One line of a day. `withdrawn` is derived: why a dispatched visit must not be made any more."""

    id: VisitId
    version: int
    case_id: CaseId
    request_id: RequestId
    bank_id: BankId
    branch_id: BranchId
    on: date
    timezone: str
    pair: tuple[PersonView, PersonView]
    status: VisitStatus
    withdrawn: str | None
    arrives_at: datetime
    starts_at: datetime
    ends_at: datetime
    place: LonLat | None
    debtor: str
    amount_fen: Fen
    outcome: Outcome | None
    is_entered: bool | None
    started_at: datetime | None
    ended_at: datetime | None
    closed_at: datetime | None


class CheckInView(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A check-in with the time it happened and the time it reached us."""

    staff_id: StaffId
    at: datetime
    received_at: datetime
    position: LonLat | None
    accuracy_m: int | None
    is_credential_worn: bool
    identity_presented: Identity


class RightPartyView(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One try at the right party."""

    staff_id: StaffId
    at: datetime
    received_at: datetime
    attempt: int
    is_match: bool


class EntryView(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """An entry with its consent."""

    at: datetime
    received_at: datetime
    reason: str | None
    consented_by: str | None
    consented_at: datetime | None
    evidence_item_id: str | None


class OutcomeView(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """An outcome as told and as stored. `late_s` is how long it took to reach us (EVD-10)."""

    at: datetime
    received_at: datetime
    late_s: int
    told_code: str
    code: Outcome | None
    catalogue_version: int
    fields: Mapping[str, Any]
    texts: Mapping[str, str]


class ReportView(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A report; the last one counts."""

    reported_by: StaffId
    reported_at: datetime
    received_at: datetime
    is_entered: bool
    recoverability: Recoverability
    reasons: str
    attitude: str
    delinquency_reason: str
    financial_situation: str
    new_contact: str | None


class ExceptionView(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What the closing lacked, and who took it on themselves."""

    code: str
    rule: str
    listed_at: datetime
    accepted_at: datetime | None
    accepted_by: StaffId | None


class ReviewView(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One review."""

    by: StaffId
    at: datetime
    reviewer: Reviewer
    verdict: Verdict
    checklist_version: int
    checklist: Mapping[str, bool]
    comment: str


class BreachView(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A rule that something told of this visit broke."""

    rule: str
    code: str
    expected: str
    got: str


class VisitDetail(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One visit with all that was told of it. Evidence, cash and incidents are other slices' and are asked for there."""

    summary: VisitSummary
    check_ins: tuple[CheckInView, ...]
    right_party: tuple[RightPartyView, ...]
    entries: tuple[EntryView, ...]
    outcomes: tuple[OutcomeView, ...]
    reports: tuple[ReportView, ...]
    exceptions: tuple[ExceptionView, ...]
    reviews: tuple[ReviewView, ...]
    breaches: tuple[BreachView, ...]


def visible_to(actor: Actor) -> ColumnElement[bool]:
    """Select the visits an actor may see: a bank's people their bank's, collectors their own, the office its branches' (SEC-01)."""
    if actor.bank is not None:
        return VisitRow.bank_id == actor.bank
    if actor.device is None and actor.sees_every_branch:
        return true()
    own = or_(VisitRow.collector_a == actor.id, VisitRow.collector_b == actor.id)
    if actor.device is not None or not actor.roles & OFFICE_ROLES:
        return own
    return or_(own, VisitRow.branch_id.in_(sorted(actor.branches)) if actor.branches else false())


def day(session: Session, actor: Actor, keyring: Keyring, branch_id: BranchId | None, on: date, now: datetime) -> tuple[VisitSummary, ...]:
    """Return every visit of a day that the actor sees, in the order of arrival; the read is recorded with the cases shown."""
    authorise(actor, Permission.VISIT_READ)
    query = select(VisitRow).where(VisitRow.on == on, visible_to(actor))
    rows = session.scalars(query if branch_id is None else query.where(VisitRow.branch_id == branch_id)).all()
    return tuple(sorted(_summaries(session, actor, keyring, rows, now), key=lambda one: (one.arrives_at, one.id)))


def visit_page(
    session: Session, actor: Actor, keyring: Keyring, now: datetime, *, after: UUID | None, limit: int, on: date | None = None,
    status: VisitStatus | None = None,
) -> tuple[VisitSummary, ...]:
    """Return up to `limit` + 1 visits after an id, by id; the read is recorded."""
    authorise(actor, Permission.VISIT_READ)
    query = select(VisitRow).where(visible_to(actor)).order_by(VisitRow.id).limit(limit + 1)
    if on is not None:
        query = query.where(VisitRow.on == on)
    if status is not None:
        query = query.where(VisitRow.status == status)
    if after is not None:
        query = query.where(VisitRow.id > after)
    return _summaries(session, actor, keyring, session.scalars(query).all(), now)


def detail(session: Session, actor: Actor, keyring: Keyring, visit_id: VisitId, now: datetime) -> VisitDetail:
    """Return one visit with all that was told of it; the read is recorded. Raises `NotFound` for one that is not the actor's."""
    authorise(actor, Permission.VISIT_READ)
    row = visit_of(session, actor, visit_id)
    (summary,) = _summaries(session, actor, keyring, [row], now)
    box = sealer(session, keyring, row.case_id)

    def of(table: Any, *order: Any) -> Any:
        return session.scalars(select(table).where(table.visit_id == row.id).order_by(*order))

    return VisitDetail(
        summary=summary,
        check_ins=tuple(_check_in(one) for one in of(CheckInRow, CheckInRow.at, CheckInRow.id)),
        right_party=tuple(
            RightPartyView(staff_id=StaffId(one.staff_id), at=one.at, received_at=one.received_at, attempt=one.attempt, is_match=one.is_match)
            for one in of(RightPartyRow, RightPartyRow.attempt, RightPartyRow.id)
        ),
        entries=tuple(_entry(one, box) for one in of(EntryRow, EntryRow.at, EntryRow.id)),
        outcomes=tuple(_outcome(one, box) for one in of(OutcomeRow, OutcomeRow.at, OutcomeRow.id)),
        reports=tuple(_report(one, box) for one in of(ReportRow, ReportRow.received_at, ReportRow.id)),
        exceptions=tuple(
            ExceptionView(
                code=one.code, rule=one.rule, listed_at=one.listed_at, accepted_at=one.accepted_at,
                accepted_by=StaffId(one.accepted_by) if one.accepted_by else None,
            ) for one in of(ExceptionRow, ExceptionRow.code)
        ),
        reviews=tuple(_review(one, box) for one in of(ReviewRow, ReviewRow.at, ReviewRow.id)),
        breaches=tuple(_breach(one) for one in breaches_of(session, f"visit:{row.id}")),
    )


def visit_of(session: Session, actor: Actor, visit_id: VisitId | UUID) -> VisitRow:
    """Return one visit that `actor` may see. Raises `NotFound`."""
    row = session.scalar(select(VisitRow).where(VisitRow.id == visit_id, visible_to(actor)))
    if row is None:
        raise NotFound
    return row


def _summaries(session: Session, actor: Actor, keyring: Keyring, rows: Collection[VisitRow], now: datetime) -> tuple[VisitSummary, ...]:
    cases = {row.id: row for row in session.scalars(select(CaseRow).where(CaseRow.id.in_(sorted({row.case_id for row in rows}))))}
    stops = {row.id: row for row in session.scalars(select(StopRow).where(StopRow.id.in_(sorted(row.stop_id for row in rows))))}
    places = session.execute(
        select(CaseAddressRow.id, CaseAddressRow.point).where(CaseAddressRow.id.in_(sorted({row.address_id for row in rows})))
    )
    doors: dict[UUID, LonLat | None] = {row.id: row.point for row in places}
    names = names_of(session, {StaffId(who) for row in rows for who in (row.collector_a, row.collector_b)})
    gone: dict[UUID, str | None] = {}
    for on in sorted({row.on for row in rows}):
        gone |= withdrawals(session, [row.request_id for row in rows if row.on == on and row.status is VisitStatus.DISPATCHED], on)
    held = load_keys(session, list(cases))
    record_read(session, actor, cases, now, "visits")
    assert len(held) == len(cases)
    return tuple(
        VisitSummary(
            id=VisitId(row.id), version=row.version, case_id=CaseId(row.case_id), request_id=RequestId(row.request_id), bank_id=BankId(row.bank_id),
            branch_id=BranchId(row.branch_id), on=row.on, timezone=row.timezone,
            pair=(_person(StaffId(row.collector_a), names), _person(StaffId(row.collector_b), names)), status=row.status,
            withdrawn=gone.get(row.request_id) if row.status is VisitStatus.DISPATCHED else None, arrives_at=stops[row.stop_id].arrives_at,
            starts_at=stops[row.stop_id].starts_at, ends_at=stops[row.stop_id].ends_at, place=doors.get(row.address_id),
            debtor=masked_name(sealer(session, keyring, row.case_id).open("cases.name", cases[row.case_id].name)),
            amount_fen=Fen(cases[row.case_id].amount_fen), outcome=row.outcome, is_entered=row.is_entered, started_at=row.started_at,
            ended_at=row.ended_at, closed_at=row.closed_at,
        ) for row in rows
    )


def _person(staff_id: StaffId, names: Mapping[StaffId, str]) -> PersonView:
    return PersonView(id=staff_id, name=names.get(staff_id, ""))


def _check_in(row: CheckInRow) -> CheckInView:
    return CheckInView(
        staff_id=StaffId(row.staff_id), at=row.at, received_at=row.received_at, position=row.position, accuracy_m=row.accuracy_m,
        is_credential_worn=row.is_credential_worn, identity_presented=row.identity_presented,
    )


def _entry(row: EntryRow, box: Sealer) -> EntryView:
    return EntryView(
        at=row.at, received_at=row.received_at, reason=None if row.reason is None else box.open("visit_entries.reason", row.reason),
        consented_by=None if row.consented_by is None else box.open("visit_entries.consented_by", row.consented_by),
        consented_at=row.consented_at, evidence_item_id=row.evidence_item_id,
    )


def _outcome(row: OutcomeRow, box: Sealer) -> OutcomeView:
    return OutcomeView(
        at=row.at, received_at=row.received_at, late_s=max(0, int((row.received_at - row.at).total_seconds())), told_code=row.told_code,
        code=row.code, catalogue_version=row.catalogue_version, fields=row.fields,
        texts={} if row.texts is None else json.loads(box.open("visit_outcomes.texts", row.texts)),
    )


def _report(row: ReportRow, box: Sealer) -> ReportView:
    return ReportView(
        reported_by=StaffId(row.reported_by), reported_at=row.reported_at, received_at=row.received_at, is_entered=row.is_entered,
        recoverability=row.recoverability, reasons=box.open("visit_reports.reasons", row.reasons),
        attitude=box.open("visit_reports.attitude", row.attitude),
        delinquency_reason=box.open("visit_reports.delinquency_reason", row.delinquency_reason),
        financial_situation=box.open("visit_reports.financial_situation", row.financial_situation),
        new_contact=None if row.new_contact is None else box.open("visit_reports.new_contact", row.new_contact),
    )


def _review(row: ReviewRow, box: Sealer) -> ReviewView:
    return ReviewView(
        by=StaffId(row.by), at=row.at, reviewer=row.reviewer, verdict=row.verdict, checklist_version=row.checklist_version,
        checklist=row.checklist, comment=box.open("visit_reviews.comment", row.comment),
    )


def _breach(breach: Breach) -> BreachView:
    return BreachView(rule=breach.rule.value, code=breach.code, expected=breach.expected, got=breach.got)
