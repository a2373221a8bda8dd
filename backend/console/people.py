"""Staff, their logins and papers, and workdays over JSON."""

from datetime import date, datetime
from typing import Annotated
from uuid import UUID

from litestar import get, post, put
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery, JSONBody
from msgspec import Meta

from backend.auth.actors import Actor, Role
from backend.auth.authorise import authorise
from backend.auth.permissions import Permission
from backend.banks import queries as banks
from backend.core.geo import Datum, LonLat, to_wgs84
from backend.core.ids import BankId, BranchId, StaffId
from backend.core.problems import InvalidInput
from backend.staff import actions, invitations, logins, queries
from backend.staff.model import (
    Gender,
    Invited,
    NewCredential,
    NewQualification,
    NewStaff,
    PartingReason,
    QualificationKind,
    ReunionReason,
    SkillKind,
    Workday,
)
from backend.web.app import Resources
from backend.web.body import Body, View
from backend.web.paging import Page, page_of, read_page
from backend.web.transaction import transaction

Text = Annotated[str, Meta(min_length=1, max_length=80)]
Number = Annotated[str, Meta(min_length=1, max_length=32, pattern=r"^[A-Za-z0-9._/-]+$")]
DaySeconds = Annotated[int, Meta(ge=0, le=86_400)]


class Made(View, frozen=True):
    """The id of what was made."""

    id: UUID


class StaffBody(Body):
    """A new person of the agency, or (with a bank) of a bank."""

    employee_no: Number
    name: Text
    roles: Annotated[list[Role], Meta(min_length=1, max_length=15)]
    joined_on: date
    gender: Gender | None = None
    branch_id: UUID | None = None
    bank_id: UUID | None = None


class DismissalBody(Body):
    """The first day on which the person's work is nobody's."""

    left_on: date


class CredentialBody(Body):
    """A work credential that the bank recognises; both days are valid (VIS-06)."""

    bank_id: UUID
    number: Number
    valid_from_on: date
    valid_to_on: date

    def __post_init__(self) -> None:
        if self.valid_to_on < self.valid_from_on:
            raise ValueError("a credential ends on or after the day it begins")


class QualificationBody(Body):
    """A passed assessment (TEAM-01, TEAM-04)."""

    kind: QualificationKind
    is_lead: bool
    valid_to_on: date
    assessor_id: UUID
    test_result: Text


class PlaceBody(Body):
    """A position with its datum."""

    lon: Annotated[float, Meta(ge=-180, le=180)]
    lat: Annotated[float, Meta(ge=-90, le=90)]
    datum: Datum


class SkillBody(Body):
    """A certificate or language that an employee has."""

    kind: SkillKind
    value: Annotated[str, Meta(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9_-]+$")]


class SkillsBody(Body):
    """All certificates and languages of an employee; what is not named is gone."""

    skills: Annotated[list[SkillBody], Meta(max_length=40)]


class PartingBody(Body):
    """Two employees who are never sent together, and why."""

    staff_id: UUID
    other_id: UUID
    reason: PartingReason


class ReunionBody(Body):
    """Two employees who may be sent together again, and why."""

    staff_id: UUID
    other_id: UUID
    reason: ReunionReason


class WorkdayBody(Body):
    """One person's day; seconds since local midnight. Without places it starts and ends at the branch office."""

    staff_id: UUID
    on: date
    is_available: bool
    shift_from_s: DaySeconds
    shift_to_s: DaySeconds
    start: PlaceBody | None = None
    end: PlaceBody | None = None

    def __post_init__(self) -> None:
        if self.shift_to_s <= self.shift_from_s:
            raise ValueError("a shift is not empty")


class WorkdaysBody(Body):
    """Up to 200 days, all or none."""

    days: Annotated[list[WorkdayBody], Meta(min_length=1, max_length=200)]


class InvitationView(View, frozen=True):
    """A one-time link's token, shown once; the page is `/console/invitation?token=`."""

    token: str
    staff_id: StaffId
    expires_at: datetime
    is_confirmation_due: bool


@get("/api/v1/staff", operation_id="listStaff", sync_to_thread=True, tags=["people"])
def list_staff(
    actor: NamedDependency[Actor], resources: NamedDependency[Resources], limit: FromQuery[int | None] = None, cursor: FromQuery[str | None] = None
) -> Page[queries.StaffView]:
    """List the people whom the actor sees."""
    authorise(actor, Permission.STAFF_READ)
    asked = read_page(limit, cursor)
    with resources.reads() as session:
        rows = queries.staff_page(session, actor, after=asked.after_id, limit=asked.limit)
    return page_of(rows, asked, lambda row: str(row.id))


@get("/api/v1/branches", operation_id="listBranches", sync_to_thread=True, tags=["people"])
def list_branches(actor: NamedDependency[Actor], resources: NamedDependency[Resources]) -> tuple[queries.BranchView, ...]:
    """List the branches that the actor sees."""
    with resources.reads() as session:
        return queries.branches(session, actor)


@post("/api/v1/staff", operation_id="createStaff", sync_to_thread=True, tags=["people"])
def create_staff(
    data: JSONBody[StaffBody], actor: NamedDependency[Actor], resources: NamedDependency[Resources], now: NamedDependency[datetime]
) -> Made:
    """Add a person."""
    new = NewStaff(
        employee_no=data.employee_no, name=data.name, roles=frozenset(data.roles), joined_on=data.joined_on, gender=data.gender,
        branch_id=BranchId(data.branch_id) if data.branch_id else None, bank_id=BankId(data.bank_id) if data.bank_id else None,
    )
    with transaction(resources.sessions, actor, now) as session:
        if new.bank_id is not None:
            banks.bank(session, actor, new.bank_id)
        return Made(id=actions.create_staff(session, actor, new, now))


@post("/api/v1/staff/{staff_id:uuid}/dismissal", operation_id="dismissStaff", status_code=204, sync_to_thread=True, tags=["people"])
def dismiss(
    staff_id: FromPath[UUID], data: JSONBody[DismissalBody], actor: NamedDependency[Actor], resources: NamedDependency[Resources],
    now: NamedDependency[datetime],
) -> None:
    """End a person's access at once."""
    with transaction(resources.sessions, actor, now) as session:
        actions.dismiss(session, actor, StaffId(staff_id), data.left_on, now)


@post("/api/v1/staff/{staff_id:uuid}/invitation", operation_id="inviteStaff", sync_to_thread=True, tags=["people"])
def invite(
    staff_id: FromPath[UUID], actor: NamedDependency[Actor], resources: NamedDependency[Resources], now: NamedDependency[datetime]
) -> InvitationView:
    """Make a one-time link for somebody without a login."""
    with transaction(resources.sessions, actor, now) as session:
        made = invitations.invite(session, actor, StaffId(staff_id), now)
    return _shown(made)


@post("/api/v1/staff/{staff_id:uuid}/invitation/confirmation", operation_id="confirmInvitation", status_code=204, sync_to_thread=True,
      tags=["people"])
def confirm(
    staff_id: FromPath[UUID], actor: NamedDependency[Actor], resources: NamedDependency[Resources], now: NamedDependency[datetime]
) -> None:
    """Confirm as the second person that whoever is invited is whom they speak for; a bank's people need it (CASH-04)."""
    with transaction(resources.sessions, actor, now) as session:
        invitations.confirm(session, actor, StaffId(staff_id), now)


@post("/api/v1/staff/{staff_id:uuid}/login-reset", operation_id="askLoginReset", sync_to_thread=True, tags=["people"])
def ask_reset(
    staff_id: FromPath[UUID], actor: NamedDependency[Actor], resources: NamedDependency[Resources], now: NamedDependency[datetime]
) -> Made:
    """Ask that a lost login be released; another person grants it."""
    with transaction(resources.sessions, actor, now) as session:
        return Made(id=logins.ask_reset(session, actor, StaffId(staff_id), now).id)


@post("/api/v1/staff/{staff_id:uuid}/login-reset/grant", operation_id="grantLoginReset", sync_to_thread=True, tags=["people"])
def grant_reset(
    staff_id: FromPath[UUID], actor: NamedDependency[Actor], resources: NamedDependency[Resources], now: NamedDependency[datetime]
) -> InvitationView:
    """Grant a reset: the old login dies, a one-time link makes the new one."""
    with transaction(resources.sessions, actor, now) as session:
        made = logins.grant_reset(session, actor, StaffId(staff_id), now)
    return _shown(made)


@post("/api/v1/staff/{staff_id:uuid}/credentials", operation_id="addCredential", sync_to_thread=True, tags=["people"])
def add_credential(
    staff_id: FromPath[UUID], data: JSONBody[CredentialBody], actor: NamedDependency[Actor], resources: NamedDependency[Resources],
    now: NamedDependency[datetime],
) -> Made:
    """Register a work credential."""
    new = NewCredential(
        staff_id=StaffId(staff_id), bank_id=BankId(data.bank_id), number=data.number, valid_from_on=data.valid_from_on, valid_to_on=data.valid_to_on
    )
    with transaction(resources.sessions, actor, now) as session:
        banks.bank(session, actor, new.bank_id)
        return Made(id=actions.add_credential(session, actor, new, now))


@post("/api/v1/credentials/{credential_id:uuid}/revocation", operation_id="revokeCredential", status_code=204, sync_to_thread=True, tags=["people"])
def revoke_credential(
    credential_id: FromPath[UUID], actor: NamedDependency[Actor], resources: NamedDependency[Resources], now: NamedDependency[datetime]
) -> None:
    """Revoke a work credential from now on."""
    with transaction(resources.sessions, actor, now) as session:
        actions.revoke_credential(session, actor, credential_id, now)


@post("/api/v1/staff/{staff_id:uuid}/qualifications", operation_id="recordQualification", sync_to_thread=True, tags=["people"])
def record_qualification(
    staff_id: FromPath[UUID], data: JSONBody[QualificationBody], actor: NamedDependency[Actor], resources: NamedDependency[Resources],
    now: NamedDependency[datetime],
) -> Made:
    """Record a passed assessment by another employee."""
    if data.assessor_id == staff_id:
        raise InvalidInput(pointer="/assessorId", expected="another employee", got="the same person")
    new = NewQualification(
        staff_id=StaffId(staff_id), kind=data.kind, is_lead=data.is_lead, valid_to_on=data.valid_to_on, assessor_id=StaffId(data.assessor_id),
        test_result=data.test_result,
    )
    with transaction(resources.sessions, actor, now) as session:
        return Made(id=actions.record_qualification(session, actor, new, now))


@put("/api/v1/staff/{staff_id:uuid}/skills", operation_id="setSkills", status_code=204, sync_to_thread=True, tags=["people"])
def set_skills(
    staff_id: FromPath[UUID], data: JSONBody[SkillsBody], actor: NamedDependency[Actor], resources: NamedDependency[Resources],
    now: NamedDependency[datetime],
) -> None:
    """Replace an employee's certificates and languages, which visits may require."""
    with transaction(resources.sessions, actor, now) as session:
        actions.set_skills(session, actor, StaffId(staff_id), frozenset((one.kind, one.value) for one in data.skills), now)


@post("/api/v1/pair-exclusions", operation_id="excludePair", status_code=204, sync_to_thread=True, tags=["people"])
def exclude_pair(
    data: JSONBody[PartingBody], actor: NamedDependency[Actor], resources: NamedDependency[Resources], now: NamedDependency[datetime]
) -> None:
    """Never send two employees together again; plans ordered or published from now on keep them apart."""
    with transaction(resources.sessions, actor, now) as session:
        actions.exclude_pair(session, actor, (StaffId(data.staff_id), StaffId(data.other_id)), now, data.reason)


@post("/api/v1/pair-exclusions/lift", operation_id="liftPairExclusion", status_code=204, sync_to_thread=True, tags=["people"])
def lift_pair_exclusion(
    data: JSONBody[ReunionBody], actor: NamedDependency[Actor], resources: NamedDependency[Resources], now: NamedDependency[datetime]
) -> None:
    """Let two employees work together again, by somebody else."""
    with transaction(resources.sessions, actor, now) as session:
        actions.reunite_pair(session, actor, (StaffId(data.staff_id), StaffId(data.other_id)), data.reason, now)


@put("/api/v1/workdays", operation_id="setWorkdays", status_code=204, sync_to_thread=True, tags=["people"])
def set_workdays(
    data: JSONBody[WorkdaysBody], actor: NamedDependency[Actor], resources: NamedDependency[Resources], now: NamedDependency[datetime]
) -> None:
    """Write or replace workdays."""
    days = [
        Workday(
            staff_id=StaffId(day.staff_id), on=day.on, is_available=day.is_available, shift_from_s=day.shift_from_s, shift_to_s=day.shift_to_s,
            start=_place(day.start), end=_place(day.end),
        )
        for day in data.days
    ]
    with transaction(resources.sessions, actor, now) as session:
        actions.set_workdays(session, actor, days, now)


@get("/api/v1/workdays", operation_id="listWorkdays", sync_to_thread=True, tags=["people"])
def list_workdays(
    branch: FromQuery[UUID], on: FromQuery[date], actor: NamedDependency[Actor], resources: NamedDependency[Resources]
) -> tuple[queries.CollectorView, ...]:
    """List the collectors of a branch who work on a day, with what they hold."""
    authorise(actor, Permission.STAFF_READ)
    with resources.reads() as session:
        return queries.collectors_on(session, queries.seen_branch(session, actor, BranchId(branch)).id, on)


ROUTES = [
    list_staff, list_branches, create_staff, dismiss, invite, confirm, ask_reset, grant_reset, add_credential, revoke_credential,
    record_qualification, set_skills, exclude_pair, lift_pair_exclusion, set_workdays, list_workdays,
]


def _place(body: PlaceBody | None) -> LonLat | None:
    return None if body is None else to_wgs84(LonLat(body.lon, body.lat), body.datum)


def _shown(made: Invited) -> InvitationView:
    return InvitationView(token=made.token, staff_id=made.staff_id, expires_at=made.expires_at, is_confirmation_due=made.is_confirmation_due)
