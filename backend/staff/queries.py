"""Reads of people: who acts, who may be paired, whose phone signed."""

from collections.abc import Collection, Iterable
from datetime import date, datetime
from uuid import UUID

import msgspec
from sqlalchemy import ColumnElement, and_, false, func, or_, select, true
from sqlalchemy.orm import Session

from backend.auth.actors import Actor, Role
from backend.auth.authorise import authorise
from backend.auth.permissions import Permission
from backend.core.geo import LonLat, MultiPolygon
from backend.core.ids import BankId, BranchId, StaffId
from backend.core.problems import NotFound
from backend.staff.model import DeviceLevel, DeviceState, EquipmentKind, EquipmentState, Gender, QualificationKind, SkillKind
from backend.staff.rules import CredentialFacts, EquipmentFacts, MemberFacts, PairFacts, is_fit
from backend.staff.tables import (
    BranchRow,
    CredentialRow,
    DeviceRenewalRow,
    DeviceRow,
    EquipmentAssignmentRow,
    EquipmentRow,
    PairConflictRow,
    QualificationRow,
    StaffRoleRow,
    StaffRow,
    StaffSkillRow,
    WorkdayRow,
)


class BranchView(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A branch; `timezone` is an IANA name."""

    id: BranchId
    code: str
    name_zh: str
    name_en: str
    timezone: str
    office: LonLat
    territory: MultiPolygon | None


class StaffView(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A person as colleagues see them."""

    id: StaffId
    employee_no: str
    name: str
    gender: Gender | None
    branch_id: BranchId | None
    bank_id: BankId | None
    is_active: bool
    roles: tuple[Role, ...]


class DeviceView(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A phone and its public key. `compromised_since` may lie before `revoked_at`."""

    kid: str
    staff_id: StaffId
    public_jwk: dict[str, str]
    model: str
    level: DeviceLevel
    state: DeviceState
    enrolled_at: datetime
    valid_until: datetime
    revoked_at: datetime | None
    compromised_since: datetime | None


class CollectorView(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A collector who works on a day, with all that forming pairs asks. Shift in seconds since local midnight; places None: the office."""

    member: MemberFacts
    employee_no: str
    name: str
    gender: Gender | None
    shift_from_s: int
    shift_to_s: int
    start: LonLat | None
    end: LonLat | None
    certificates: frozenset[str]
    languages: frozenset[str]
    equipment: tuple[EquipmentFacts, ...]


def visible_to(actor: Actor) -> ColumnElement[bool]:
    """Select the people an actor may see: themselves, their branches, their own bank's people."""
    if actor.bank is not None:
        return StaffRow.bank_id == actor.bank
    if actor.sees_every_branch:
        return true()
    in_branches = StaffRow.branch_id.in_(sorted(actor.branches)) if actor.branches else false()
    return or_(StaffRow.id == actor.id, in_branches)


def actor_of(session: Session, staff_id: StaffId, *, device: str | None = None, session_id: UUID | None = None) -> Actor | None:
    """Return the actor that an active person is, None when there is none or they have no role."""
    person = session.execute(
        select(StaffRow.id, StaffRow.branch_id, StaffRow.bank_id).where(StaffRow.id == staff_id, StaffRow.is_active)
    ).one_or_none()
    if person is None:
        return None
    granted = session.execute(select(StaffRoleRow.role, StaffRoleRow.branch_id).where(StaffRoleRow.staff_id == staff_id)).all()
    if not granted:
        return None
    branches = {BranchId(branch) for branch in (person.branch_id, *(grant.branch_id for grant in granted)) if branch is not None}
    return Actor(
        id=StaffId(person.id), roles=frozenset(grant.role for grant in granted), branches=frozenset(branches),
        bank=BankId(person.bank_id) if person.bank_id else None, device=device, session=session_id,
    )


def branch(session: Session, branch_id: BranchId) -> BranchView:
    """Return a branch. Raises `NotFound`."""
    row = session.get(BranchRow, branch_id)
    if row is None:
        raise NotFound
    return _branch_view(row)


def branch_of(session: Session, staff_id: StaffId) -> BranchView | None:
    """Return the branch of a person now; None for who belongs to none."""
    row = session.scalars(select(BranchRow).join(StaffRow, StaffRow.branch_id == BranchRow.id).where(StaffRow.id == staff_id)).one_or_none()
    return None if row is None else _branch_view(row)


def seen_branch(session: Session, actor: Actor, branch_id: BranchId) -> BranchView:
    """Return a branch that the actor sees. Raises `NotFound`."""
    if actor.bank is not None or not (actor.sees_every_branch or branch_id in actor.branches):
        raise NotFound
    return branch(session, branch_id)


def branches_named(session: Session, branch_ids: Iterable[BranchId]) -> tuple[BranchView, ...]:
    """Return branches by id, for whoever may see what names them."""
    query = select(BranchRow).where(BranchRow.id.in_(sorted(set(branch_ids)))).order_by(BranchRow.code)
    return tuple(_branch_view(row) for row in session.scalars(query))


def branches(session: Session, actor: Actor) -> tuple[BranchView, ...]:
    """Return the branches an actor sees, by code."""
    if actor.bank is not None:
        return ()
    seen = true() if actor.sees_every_branch else BranchRow.id.in_(sorted(actor.branches))
    return tuple(_branch_view(row) for row in session.scalars(select(BranchRow).where(seen).order_by(BranchRow.code)))


def staff(session: Session, actor: Actor, staff_id: StaffId) -> StaffView:
    """Return one person. Raises `NotFound` for one the actor may not see."""
    row = session.execute(select(StaffRow).where(StaffRow.id == staff_id, visible_to(actor))).scalar_one_or_none()
    if row is None:
        raise NotFound
    return _staff_views(session, [row])[0]


def staff_page(session: Session, actor: Actor, *, after: UUID | None, limit: int) -> tuple[StaffView, ...]:
    """Return up to `limit` + 1 people after an id, by id."""
    query = select(StaffRow).where(visible_to(actor)).order_by(StaffRow.id).limit(limit + 1)
    if after is not None:
        query = query.where(StaffRow.id > after)
    return _staff_views(session, list(session.scalars(query)))


def names_of(session: Session, staff_ids: Iterable[StaffId]) -> dict[StaffId, str]:
    """Return the names of people by id."""
    rows = session.execute(select(StaffRow.id, StaffRow.name).where(StaffRow.id.in_(sorted(set(staff_ids)))))
    return {StaffId(row.id): row.name for row in rows}


def device(session: Session, kid: str) -> DeviceView | None:
    """Return a phone by its key id, whatever its state; None when it was never enrolled."""
    row = session.get(DeviceRow, kid)
    return None if row is None else _device_view(row)


def renewed_among(session: Session, kids: Collection[str]) -> dict[str, tuple[int, str]]:
    """Return, of some keys, those that gave way to their successor, each with number and digest of its chain's last link."""
    rows = session.scalars(
        select(DeviceRenewalRow).where(DeviceRenewalRow.old_kid.in_(sorted(kids)), DeviceRenewalRow.used_at.is_not(None)))
    return {row.old_kid: (row.last_seq or 0, row.last_digest or "") for row in rows}


def devices_of(session: Session, staff_ids: Collection[StaffId]) -> tuple[DeviceView, ...]:
    """Return every phone of some people, newest last."""
    rows = session.scalars(select(DeviceRow).where(DeviceRow.staff_id.in_(sorted(staff_ids))).order_by(DeviceRow.enrolled_at, DeviceRow.kid))
    return tuple(_device_view(row) for row in rows)


def active_device(session: Session, staff_id: StaffId) -> DeviceView | None:
    """Return the one active phone of a person."""
    row = session.execute(select(DeviceRow).where(DeviceRow.staff_id == staff_id, DeviceRow.state == DeviceState.ACTIVE)).scalar_one_or_none()
    return None if row is None else _device_view(row)


def pair_facts(session: Session, a: StaffId, b: StaffId, bank_id: BankId, on: date) -> PairFacts:
    """Gather what `judge_pair` reads about two people, a bank and a local date, as things stand now."""
    return facts_as_of(session, (a, b), bank_id, on, at=None)


def facts_as_of(session: Session, pair: tuple[StaffId, StaffId], bank_id: BankId, on: date, *, at: datetime | None) -> PairFacts:
    """Gather what `judge_pair` reads, as of the instant `at` for facts reported late: a credential revoked after it still counts as held."""
    a, b = pair
    facts = member_facts(session, pair, on, at=at)
    carried = equipment_facts(session, pair, on)
    is_conflicting = session.get(PairConflictRow, (min(a, b), max(a, b))) is not None
    return PairFacts(
        on=on, bank_id=bank_id, members=tuple(facts[one] for one in pair if one in facts),
        equipment=tuple(dict.fromkeys(fact for one in pair for fact in carried.get(one, ()))), is_conflicting=is_conflicting,
    )


def member_facts(session: Session, staff_ids: Collection[StaffId], on: date, *, at: datetime | None = None) -> dict[StaffId, MemberFacts]:
    """Gather what the rules read about each of some people on a local date; unknown ids are absent."""
    ids = sorted(set(staff_ids))
    papers: dict[UUID, list[CredentialFacts]] = {}
    for row in session.scalars(select(CredentialRow).where(CredentialRow.staff_id.in_(ids)).order_by(CredentialRow.id)):
        is_revoked = row.revoked_at is not None and (at is None or row.revoked_at <= at)
        papers.setdefault(row.staff_id, []).append(CredentialFacts(
            bank_id=BankId(row.bank_id), valid_from_on=row.valid_from_on, valid_to_on=row.valid_to_on, is_revoked=is_revoked,
        ))
    passed: dict[tuple[UUID, QualificationKind], date] = {}
    leads: set[UUID] = set()
    for test in session.scalars(select(QualificationRow).where(QualificationRow.staff_id.in_(ids))):
        key = (test.staff_id, test.kind)
        passed[key] = max(test.valid_to_on, passed.get(key, test.valid_to_on))
        if test.kind is QualificationKind.FIELD_VISIT and test.is_lead and test.valid_to_on >= on:
            leads.add(test.staff_id)
    return {
        StaffId(person.id): MemberFacts(
            staff_id=StaffId(person.id), is_active=_is_employed(person, on), is_of_the_agency=person.bank_id is None,
            credentials=tuple(papers.get(person.id, ())), field_qualified_to_on=passed.get((person.id, QualificationKind.FIELD_VISIT)),
            is_lead=person.id in leads, legal_training_to_on=passed.get((person.id, QualificationKind.LEGAL_TRAINING)),
        )
        for person in session.scalars(select(StaffRow).where(StaffRow.id.in_(ids)))
    }


def equipment_facts(session: Session, staff_ids: Collection[StaffId], on: date) -> dict[StaffId, tuple[EquipmentFacts, ...]]:
    """Return the equipment each person carries on a date."""
    carried: dict[StaffId, list[EquipmentFacts]] = {}
    rows = session.execute(
        select(EquipmentAssignmentRow.staff_id, EquipmentRow.kind, EquipmentRow.is_passed, EquipmentRow.next_due_on)
        .join(EquipmentRow, EquipmentRow.id == EquipmentAssignmentRow.equipment_id)
        .where(EquipmentAssignmentRow.on == on, EquipmentAssignmentRow.staff_id.in_(sorted(set(staff_ids))),
               EquipmentRow.state == EquipmentState.IN_USE)
        .order_by(EquipmentRow.serial)
    )
    for row in rows:
        fact = EquipmentFacts(kind=row.kind, is_passed=bool(row.is_passed), next_due_on=row.next_due_on)
        carried.setdefault(StaffId(row.staff_id), []).append(fact)
    return {staff_id: tuple(facts) for staff_id, facts in carried.items()}


def collectors_on(session: Session, branch_id: BranchId, on: date) -> tuple[CollectorView, ...]:
    """Return the active field collectors of a branch who work on a date, by employee number."""
    rows = session.execute(
        select(StaffRow, WorkdayRow)
        .join(WorkdayRow, and_(WorkdayRow.staff_id == StaffRow.id, WorkdayRow.on == on))
        .join(StaffRoleRow, and_(StaffRoleRow.staff_id == StaffRow.id, StaffRoleRow.role == Role.FIELD_COLLECTOR))
        .where(StaffRow.branch_id == branch_id, StaffRow.is_active, WorkdayRow.is_available)
        .order_by(StaffRow.employee_no)
    ).all()
    ids = [StaffId(person.id) for person, _ in rows]
    facts, carried, skills = member_facts(session, ids, on), equipment_facts(session, ids, on), _skills(session, ids)
    return tuple(
        CollectorView(
            member=facts[StaffId(person.id)], employee_no=person.employee_no, name=person.name, gender=person.gender, shift_from_s=day.shift_from_s,
            shift_to_s=day.shift_to_s, start=day.start, end=day.end, certificates=skills.get((person.id, SkillKind.CERTIFICATE), frozenset()),
            languages=skills.get((person.id, SkillKind.LANGUAGE), frozenset()), equipment=carried.get(StaffId(person.id), ()),
        )
        for person, day in {person.id: (person, day) for person, day in rows}.values()
    )


def offered_s(session: Session, staff_ids: Collection[StaffId], since: date, before: date) -> dict[StaffId, int]:
    """Return the seconds of shifts that each person was there for, from `since` to the day before `before`."""
    rows = session.execute(
        select(WorkdayRow.staff_id, func.sum(WorkdayRow.shift_to_s - WorkdayRow.shift_from_s)).where(
            WorkdayRow.staff_id.in_(sorted(set(staff_ids))), WorkdayRow.on >= since, WorkdayRow.on < before, WorkdayRow.is_available,
        ).group_by(WorkdayRow.staff_id)
    )
    return {StaffId(staff_id): int(total) for staff_id, total in rows}


class EquipmentView(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One recorder or camera of the register."""

    id: UUID
    branch_id: BranchId
    kind: EquipmentKind
    serial: str
    owner_id: StaffId | None
    state: EquipmentState
    is_passed: bool | None
    inspected_at: datetime | None
    next_due_on: date | None


def equipment_page(session: Session, actor: Actor, *, after: UUID | None, limit: int) -> tuple[EquipmentView, ...]:
    """Return recorders and cameras of the actor's branches in the order of their registration."""
    authorise(actor, Permission.STAFF_READ)
    query = select(EquipmentRow).order_by(EquipmentRow.id).limit(limit)
    if actor.bank is not None:
        return ()
    if not actor.sees_every_branch:
        query = query.where(EquipmentRow.branch_id.in_(actor.branches))
    rows = session.scalars(query if after is None else query.where(EquipmentRow.id > after))
    return tuple(EquipmentView(
        id=row.id, branch_id=BranchId(row.branch_id), kind=row.kind, serial=row.serial,
        owner_id=None if row.owner_id is None else StaffId(row.owner_id), state=row.state, is_passed=row.is_passed, inspected_at=row.inspected_at,
        next_due_on=row.next_due_on) for row in rows)


def fit_kinds(equipment: Iterable[EquipmentFacts], on: date) -> frozenset[EquipmentKind]:
    """Return the kinds of equipment among these that may be used on a date (EVD-04)."""
    return frozenset(one.kind for one in equipment if is_fit(one, on))


def conflicts(session: Session, staff_ids: Collection[StaffId]) -> frozenset[tuple[StaffId, StaffId]]:
    """Return the pairs among some people that are never sent together, the smaller id first."""
    ids = sorted(set(staff_ids))
    rows = session.execute(select(PairConflictRow.a, PairConflictRow.b).where(PairConflictRow.a.in_(ids), PairConflictRow.b.in_(ids)))
    return frozenset((StaffId(row.a), StaffId(row.b)) for row in rows)


def _is_employed(person: StaffRow, on: date) -> bool:
    # Whoever was let go has no access from that very day on, but what they did before it was an employee's work.
    if on < person.joined_on:
        return False
    if person.is_active:
        return person.left_on is None or on <= person.left_on
    return person.left_on is not None and on < person.left_on


def _skills(session: Session, ids: Collection[StaffId]) -> dict[tuple[UUID, SkillKind], frozenset[str]]:
    found: dict[tuple[UUID, SkillKind], frozenset[str]] = {}
    for row in session.execute(select(StaffSkillRow.staff_id, StaffSkillRow.kind, StaffSkillRow.value).where(StaffSkillRow.staff_id.in_(ids))):
        key = (row.staff_id, row.kind)
        found[key] = found.get(key, frozenset()) | {row.value}
    return found


def _branch_view(row: BranchRow) -> BranchView:
    return BranchView(
        id=BranchId(row.id), code=row.code, name_zh=row.name_zh, name_en=row.name_en, timezone=row.timezone, office=row.office,
        territory=row.territory,
    )


def _device_view(row: DeviceRow) -> DeviceView:
    return DeviceView(
        kid=row.kid, staff_id=StaffId(row.staff_id), public_jwk=row.public_jwk, model=row.model, level=row.level, state=row.state,
        enrolled_at=row.enrolled_at, valid_until=row.valid_until, revoked_at=row.revoked_at, compromised_since=row.compromised_since,
    )


def _staff_views(session: Session, rows: list[StaffRow]) -> tuple[StaffView, ...]:
    roles: dict[UUID, set[Role]] = {}
    for grant in session.execute(select(StaffRoleRow.staff_id, StaffRoleRow.role).where(StaffRoleRow.staff_id.in_([row.id for row in rows]))):
        roles.setdefault(grant.staff_id, set()).add(grant.role)
    return tuple(
        StaffView(
            id=StaffId(row.id), employee_no=row.employee_no, name=row.name, gender=row.gender,
            branch_id=BranchId(row.branch_id) if row.branch_id else None,
            bank_id=BankId(row.bank_id) if row.bank_id else None, is_active=row.is_active, roles=tuple(sorted(roles.get(row.id, ()))),
        )
        for row in rows
    )
