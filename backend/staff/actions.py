"""Writes about people: who they are, what they hold, when they work, what they carry."""

from collections.abc import Sequence
from datetime import date, datetime
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from backend.audit.events import EventTag
from backend.audit.record import record
from backend.auth.actors import BANK_ROLES, Actor, Role
from backend.auth.authorise import authorise
from backend.auth.permissions import Permission
from backend.core.ids import BranchId, StaffId, new_id
from backend.core.problems import Conflict, InvalidInput, NotFound
from backend.core.rulebook import demand
from backend.keys.keyring import Keyring
from backend.staff.logins import NewLogin, close_sessions_of, set_login
from backend.staff.model import (
    EquipmentEvent,
    EquipmentKind,
    EquipmentState,
    Inspection,
    LoginMade,
    NewBranch,
    NewCredential,
    NewQualification,
    NewStaff,
    PartingReason,
    ReunionReason,
    SecondPersonNeeded,
    SkillKind,
    Workday,
    advance_equipment,
)
from backend.staff.queries import branch, seen_branch, visible_to
from backend.staff.rules import EquipmentFacts, judge_equipment
from backend.staff.tables import (
    BranchRow,
    CredentialRow,
    EquipmentAssignmentRow,
    EquipmentInspectionRow,
    EquipmentRow,
    PairConflictRow,
    QualificationRow,
    StaffRoleRow,
    StaffRow,
    StaffSkillRow,
    WorkdayRow,
)

_FIRST_EMPLOYEE_NO = "E-0001"


def create_first_operator(session: Session, keyring: Keyring, name: str, login: NewLogin, now: datetime) -> LoginMade:
    """Make the first person, an operator, with a login; only in a database that has nobody.

    Raises:
        Conflict: somebody is there already.
    """
    if session.scalar(select(func.count()).select_from(StaffRow)):
        raise Conflict(reason="somebody-is-there-already")
    staff_id = StaffId(new_id())
    session.add(StaffRow(
        id=staff_id, employee_no=_FIRST_EMPLOYEE_NO, name=name, gender=None, branch_id=None, bank_id=None, is_active=True, joined_on=now.date(),
        left_on=None, language=None,
    ))
    session.flush()
    session.add(StaffRoleRow(id=new_id(), staff_id=staff_id, role=Role.OPERATOR, branch_id=None))
    made = set_login(session, keyring, staff_id, login, now)
    record(session, None, EventTag.STAFF_CHANGED, f"staff:{staff_id}", now, what="first-operator")
    return made


def create_branch(session: Session, actor: Actor, new: NewBranch, now: datetime) -> BranchId:
    """Open a branch. Raises `Conflict` when the code is taken."""
    authorise(actor, Permission.STAFF_MANAGE)
    if session.scalar(select(BranchRow.id).where(BranchRow.code == new.code)):
        raise Conflict(reason="code-taken")
    branch_id = BranchId(new_id())
    session.add(BranchRow(
        id=branch_id, code=new.code, name_zh=new.name_zh, name_en=new.name_en, timezone=new.timezone, office=new.office, territory=new.territory,
    ))
    session.flush()
    record(session, actor, EventTag.STAFF_CHANGED, f"branch:{branch_id}", now, what="opened")
    return branch_id


def create_staff(session: Session, actor: Actor, new: NewStaff, now: datetime) -> StaffId:
    """Add a person of the agency or of a bank.

    Raises:
        InvalidInput: bank roles without a bank, other roles with one, no role, or a branch and a bank at once (SEC-02).
        Conflict: the employee number is taken.
    """
    authorise(actor, Permission.STAFF_MANAGE)
    if not new.roles:
        raise InvalidInput(pointer="/roles", expected="at least one role", got="none")
    is_banks = new.bank_id is not None
    if (is_banks and (new.roles - BANK_ROLES or new.branch_id)) or (not is_banks and new.roles & BANK_ROLES):
        raise InvalidInput(pointer="/roles", expected="bank roles exactly for a bank's person", got=sorted(new.roles))
    if new.branch_id is not None:
        branch(session, new.branch_id)
    if session.scalar(select(StaffRow.id).where(StaffRow.employee_no == new.employee_no)):
        raise Conflict(reason="employee-no-taken")
    staff_id = StaffId(new_id())
    session.add(StaffRow(
        id=staff_id, employee_no=new.employee_no, name=new.name, gender=new.gender, branch_id=new.branch_id, bank_id=new.bank_id, is_active=True,
        joined_on=new.joined_on, left_on=None, language=None,
    ))
    session.flush()
    session.add_all(StaffRoleRow(id=new_id(), staff_id=staff_id, role=role, branch_id=None) for role in sorted(new.roles))
    session.flush()
    record(session, actor, EventTag.STAFF_CHANGED, f"staff:{staff_id}", now, what="created", roles=sorted(new.roles), bank=new.bank_id)
    return staff_id


def dismiss(session: Session, actor: Actor, staff_id: StaffId, on: date, now: datetime) -> None:
    """End a person's access at once; from `on` their work is nobody's. Their sessions end, their phones fall silent."""
    authorise(actor, Permission.STAFF_MANAGE)
    row = _visible(session, actor, staff_id)
    if not row.is_active:
        raise Conflict(reason="not-active")
    if actor.id == staff_id:
        raise Conflict(reason="own-access")
    row.is_active, row.left_on = False, on
    close_sessions_of(session, staff_id, now)
    record(session, actor, EventTag.STAFF_CHANGED, f"staff:{staff_id}", now, what="dismissed")


def add_credential(session: Session, actor: Actor, new: NewCredential, now: datetime) -> UUID:
    """Register a work credential that a bank recognises (VIS-06).

    Raises:
        InvalidInput: for a bank's person. Conflict: the bank's number is taken.
    """
    authorise(actor, Permission.STAFF_MANAGE)
    _agency_person(session, actor, new.staff_id)
    if session.scalar(select(CredentialRow.id).where(CredentialRow.bank_id == new.bank_id, CredentialRow.number == new.number)):
        raise Conflict(reason="number-taken")
    row = CredentialRow(
        id=new_id(), staff_id=new.staff_id, bank_id=new.bank_id, number=new.number, valid_from_on=new.valid_from_on, valid_to_on=new.valid_to_on,
        revoked_at=None,
    )
    session.add(row)
    session.flush()
    record(session, actor, EventTag.CREDENTIAL_CHANGED, f"staff:{new.staff_id}", now, what="added", credential=row.id, bank=new.bank_id)
    return row.id


def revoke_credential(session: Session, actor: Actor, credential_id: UUID, now: datetime) -> None:
    """Revoke a credential from now on. Raises `NotFound`, or `Conflict` when it is revoked already."""
    authorise(actor, Permission.STAFF_MANAGE)
    row = session.execute(
        select(CredentialRow).join(StaffRow, StaffRow.id == CredentialRow.staff_id).where(CredentialRow.id == credential_id, visible_to(actor))
        .with_for_update(of=CredentialRow)
    ).scalar_one_or_none()
    if row is None:
        raise NotFound
    if row.revoked_at is not None:
        raise Conflict(reason="revoked-already")
    row.revoked_at = now
    record(session, actor, EventTag.CREDENTIAL_CHANGED, f"staff:{row.staff_id}", now, what="revoked", credential=row.id)


def record_qualification(session: Session, actor: Actor, new: NewQualification, now: datetime) -> UUID:
    """Record a passed assessment with its result and assessor (TEAM-01, TEAM-04). Raises `InvalidInput` for a bank's person."""
    authorise(actor, Permission.STAFF_MANAGE)
    _agency_person(session, actor, new.staff_id)
    _agency_person(session, actor, new.assessor_id)
    row = QualificationRow(
        id=new_id(), staff_id=new.staff_id, kind=new.kind, is_lead=new.is_lead, valid_to_on=new.valid_to_on, assessor_id=new.assessor_id,
        test_result=new.test_result, recorded_at=now,
    )
    session.add(row)
    session.flush()
    record(session, actor, EventTag.STAFF_CHANGED, f"staff:{new.staff_id}", now, what="qualified", kind=new.kind.value, qualification=row.id)
    return row.id


def set_skills(session: Session, actor: Actor, staff_id: StaffId, skills: frozenset[tuple[SkillKind, str]], now: datetime) -> None:
    """Replace a person's certificates and languages."""
    authorise(actor, Permission.STAFF_MANAGE)
    _agency_person(session, actor, staff_id)
    for row in session.scalars(select(StaffSkillRow).where(StaffSkillRow.staff_id == staff_id)):
        session.delete(row)
    session.flush()
    session.add_all(StaffSkillRow(staff_id=staff_id, kind=kind, value=value) for kind, value in sorted(skills))
    record(session, actor, EventTag.STAFF_CHANGED, f"staff:{staff_id}", now, what="skills")


def exclude_pair(
    session: Session, actor: Actor, pair: tuple[StaffId, StaffId], now: datetime, reason: PartingReason = PartingReason.OTHER
) -> None:
    """Never send these two together again. Repeating it changes nothing; each time is recorded with its reason."""
    authorise(actor, Permission.WORKDAY_MANAGE)
    first, second = min(pair), max(pair)
    if first == second:
        raise InvalidInput(pointer="/pair", expected="two different people", got="the same person twice")
    for one in (first, second):
        _agency_person(session, actor, one)
    if session.get(PairConflictRow, (first, second)) is None:
        session.add(PairConflictRow(a=first, b=second))
        session.flush()
    record(session, actor, EventTag.STAFF_CHANGED, f"staff:{first}", now, what="pair-excluded", other=second, reason=reason.value)


def reunite_pair(session: Session, actor: Actor, pair: tuple[StaffId, StaffId], reason: ReunionReason, now: datetime) -> None:
    """Let two people work together again; neither of them may do so.

    Raises:
        Forbidden, NotFound: the actor may not, or sees one of them not.
        SecondPersonNeeded: the actor is one of the two.
        Conflict: they are not excluded.
    """
    authorise(actor, Permission.PAIR_REUNITE)
    first, second = min(pair), max(pair)
    for one in (first, second):
        _agency_person(session, actor, one)
    if actor.id in pair:
        raise SecondPersonNeeded
    row = session.get(PairConflictRow, (first, second))
    if row is None:
        raise Conflict(reason="not-excluded")
    session.delete(row)
    session.flush()
    record(session, actor, EventTag.STAFF_CHANGED, f"staff:{first}", now, what="pair-reunited", other=second, reason=reason.value)


def set_workdays(session: Session, actor: Actor, days: Sequence[Workday], now: datetime) -> None:
    """Write or replace days of people of the actor's branches, all or none."""
    authorise(actor, Permission.WORKDAY_MANAGE)
    for staff_id in sorted({day.staff_id for day in days}):
        _agency_person(session, actor, staff_id)
    for day in days:
        session.merge(WorkdayRow(
            staff_id=day.staff_id, on=day.on, is_available=day.is_available, shift_from_s=day.shift_from_s, shift_to_s=day.shift_to_s,
            start=day.start, end=day.end,
        ))
    session.flush()
    people = sorted({day.staff_id for day in days})
    record(session, actor, EventTag.STAFF_CHANGED, f"staff:{actor.id}", now, what="workdays", days=len(days), people=people)


def register_equipment(
    session: Session, actor: Actor, branch_id: BranchId, kind: EquipmentKind, serial: str, now: datetime, *, owner_id: StaffId | None = None,
) -> UUID:
    """Register a recorder or camera of a branch; it may be used once it passed an inspection (EVD-04). Raises `Conflict` on a known serial."""
    authorise(actor, Permission.EQUIPMENT_INSPECT)
    seen_branch(session, actor, branch_id)
    if owner_id is not None:
        _agency_person(session, actor, owner_id)
    if session.scalar(select(EquipmentRow.id).where(EquipmentRow.serial == serial)):
        raise Conflict(reason="serial-taken")
    row = EquipmentRow(
        id=new_id(), branch_id=branch_id, kind=kind, serial=serial, owner_id=owner_id,
        state=EquipmentState.IN_USE, inspected_at=None, is_passed=None, next_due_on=None)
    session.add(row)
    session.flush()
    record(session, actor, EventTag.EQUIPMENT_CHANGED, f"equipment:{row.id}", now, what="registered")
    return row.id


def inspect_equipment(session: Session, actor: Actor, inspection: Inspection, now: datetime) -> UUID:
    """Enter an inspection in the register; the equipment stands as this one found it (EVD-04)."""
    authorise(actor, Permission.EQUIPMENT_INSPECT)
    row = _own_equipment(session, actor, inspection.equipment_id)
    entry = EquipmentInspectionRow(
        id=new_id(), equipment_id=row.id, inspected_by=actor.id, inspected_at=now, is_passed=inspection.is_passed, next_due_on=inspection.next_due_on,
        remark=inspection.remark,
    )
    session.add(entry)
    row.inspected_at, row.is_passed, row.next_due_on = now, inspection.is_passed, inspection.next_due_on
    session.flush()
    record(session, actor, EventTag.EQUIPMENT_CHANGED, f"equipment:{row.id}", now, what="inspected", is_passed=inspection.is_passed)
    return entry.id


def change_equipment(session: Session, actor: Actor, equipment_id: UUID, event: EquipmentEvent, now: datetime) -> EquipmentState:
    """Withdraw a recorder or camera, or give it back into use. What it recorded before stays evidence.

    Raises:
        IllegalTransition: it stands so already.
    """
    authorise(actor, Permission.EQUIPMENT_INSPECT)
    row = _own_equipment(session, actor, equipment_id)
    row.state = advance_equipment(row.state, event)
    session.flush()
    record(session, actor, EventTag.EQUIPMENT_CHANGED, f"equipment:{row.id}", now, what=event.value)
    return row.state


def assign_equipment(session: Session, actor: Actor, equipment_id: UUID, staff_id: StaffId, on: date, now: datetime) -> None:
    """Hand a piece of equipment to an employee for a day; replaces who had it.

    Raises:
        Conflict: it is withdrawn.
        RulesBreached: its inspection failed or is overdue on that day (EVD-04).
    """
    authorise(actor, Permission.WORKDAY_MANAGE)
    _agency_person(session, actor, staff_id)
    row = _own_equipment(session, actor, equipment_id)
    if row.state is not EquipmentState.IN_USE:
        raise Conflict(reason="withdrawn")
    demand(judge_equipment(EquipmentFacts(kind=row.kind, is_passed=bool(row.is_passed), next_due_on=row.next_due_on), on))
    session.merge(EquipmentAssignmentRow(equipment_id=equipment_id, on=on, staff_id=staff_id))
    session.flush()
    record(session, actor, EventTag.EQUIPMENT_CHANGED, f"equipment:{equipment_id}", now, what="assigned", to=staff_id, on=on.isoformat())


def _visible(session: Session, actor: Actor, staff_id: StaffId) -> StaffRow:
    row = session.execute(select(StaffRow).where(StaffRow.id == staff_id, visible_to(actor)).with_for_update()).scalar_one_or_none()
    if row is None:
        raise NotFound
    return row


def _agency_person(session: Session, actor: Actor, staff_id: StaffId) -> StaffRow:
    row = _visible(session, actor, staff_id)
    if row.bank_id is not None:
        raise InvalidInput(pointer="/staffId", expected="an employee of the agency", got="a bank's person")
    return row


def _own_branch(actor: Actor, branch_id: UUID) -> None:
    if not actor.sees_every_branch and branch_id not in actor.branches:
        raise NotFound


def _own_equipment(session: Session, actor: Actor, equipment_id: UUID) -> EquipmentRow:
    row = session.execute(select(EquipmentRow).where(EquipmentRow.id == equipment_id).with_for_update()).scalar_one_or_none()
    if row is None:
        raise NotFound
    _own_branch(actor, row.branch_id)
    return row
