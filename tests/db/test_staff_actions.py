"""People, their papers and their phones on both engines: refusals first."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta

import msgspec
import pyotp
import pytest
from sqlalchemy import delete, select, update
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.orm import Session, sessionmaker

from backend.audit.tables import AuditEntryRow
from backend.auth.actors import Role
from backend.core.ids import new_id
from backend.core.problems import Conflict, Forbidden, IllegalTransition, InvalidInput, NotFound, Problem, Unauthenticated
from backend.core.rulebook import Rule, RulesBreached
from backend.keys.keyring import Keyring
from backend.policies.model import Policy
from backend.staff import actions, devices, invitations, logins, queries
from backend.staff.devices import DeviceChange
from backend.staff.dpop import Proven
from backend.staff.logins import LoginClaim, NewLogin
from backend.staff.model import (
    DEVICE_TRANSITIONS,
    DeviceEvent,
    DeviceState,
    EquipmentKind,
    Inspection,
    NewCredential,
    NewQualification,
    NewStaff,
    PartingReason,
    QualificationKind,
    ReunionReason,
    SecondPersonNeeded,
    SessionOpened,
    Workday,
    advance_device,
)
from backend.staff.rules import judge_pair
from backend.staff.tables import ConsoleSessionRow, CredentialRow, DeviceChangeRow, EquipmentAssignmentRow, EquipmentRow, StaffRow
from tests.support.world import PASSWORD, TOTP_SECRET, Person, World, add_credential, world

POLICY = Policy()


@pytest.fixture
def made(session: Session, keyring: Keyring, now: datetime) -> World:
    return world(session, keyring, now)


def pair_codes(session: Session, made: World, a: Person | None = None, b: Person | None = None) -> list[tuple[Rule, str]]:
    facts = queries.pair_facts(session, (a or made.bilal).id, (b or made.dong).id, made.bank_a.id, made.today)
    return [(breach.rule, breach.code) for breach in judge_pair(facts, POLICY)]


def test_the_worlds_pair_may_be_sent(session: Session, made: World) -> None:
    assert pair_codes(session, made) == []


def test_VIS_01_one_person_twice_is_refused_from_the_database_too(session: Session, made: World) -> None:
    assert (Rule.VIS_01, "too-few-visitors") in pair_codes(session, made, made.bilal, made.bilal)


def test_VIS_06_another_banks_credential_is_refused(session: Session, made: World) -> None:
    facts = queries.pair_facts(session, made.bilal.id, made.dong.id, made.bank_b.id, made.today)
    assert [(breach.rule, breach.code) for breach in judge_pair(facts, POLICY)] == [(Rule.VIS_06, "credential-missing")] * 2


def test_VIS_06_a_revoked_credential_is_refused_from_then_on_but_held_before(session: Session, made: World, now: datetime) -> None:
    session.execute(delete(CredentialRow).where(CredentialRow.staff_id == made.dong.id))
    credential_id = add_credential(session, made, made.dong, made.bank_a.id)
    actions.revoke_credential(session, made.oscar.actor, credential_id, now)
    assert pair_codes(session, made) == [(Rule.VIS_06, "credential-revoked")]
    before = queries.facts_as_of(session, (made.bilal.id, made.dong.id), made.bank_a.id, made.today, at=now - timedelta(hours=1))
    assert judge_pair(before, POLICY) == ()


def test_VIS_06_an_expired_credential_is_refused(session: Session, made: World) -> None:
    session.execute(update(CredentialRow).where(CredentialRow.staff_id == made.dong.id).values(valid_to_on=made.today - timedelta(days=1)))
    assert pair_codes(session, made) == [(Rule.VIS_06, "credential-expired")]


def test_TEAM_01_a_colleague_without_the_qualification_is_refused(session: Session, made: World) -> None:
    add_credential(session, made, made.hana, made.bank_a.id)
    assert pair_codes(session, made, made.bilal, made.hana) == [(Rule.TEAM_01, "not-qualified")]


def test_SEC_02_a_banks_person_is_refused(session: Session, made: World) -> None:
    assert (Rule.SEC_02, "visitor-not-of-the-agency") in pair_codes(session, made, made.bilal, made.lin)


def test_SEC_02_a_dismissed_colleague_is_refused_from_that_day_on(session: Session, made: World, now: datetime) -> None:
    actions.dismiss(session, made.oscar.actor, made.dong.id, made.today, now)
    assert pair_codes(session, made) == [(Rule.VIS_01, "too-few-visitors"), (Rule.SEC_02, "visitor-not-active")]
    yesterday = queries.member_facts(session, (made.dong.id,), made.today - timedelta(days=1))
    assert yesterday[made.dong.id].is_active


@pytest.mark.parametrize("kind", list(EquipmentKind))
def test_VIS_04_a_pair_that_carries_too_little_is_refused(session: Session, made: World, kind: EquipmentKind) -> None:
    of_kind = session.query(EquipmentRow.id).where(EquipmentRow.kind == kind)
    session.execute(delete(EquipmentAssignmentRow).where(EquipmentAssignmentRow.equipment_id.in_(of_kind)))
    assert pair_codes(session, made) == [(Rule.VIS_04, f"no-{kind.value}")]


def test_EVD_04_overdue_or_failed_equipment_is_neither_assigned_nor_counted(session: Session, made: World, now: datetime) -> None:
    serial = "recorder-2"
    recorder = actions.register_equipment(session, made.amina.actor, made.sh1, EquipmentKind.AUDIO, serial, now)
    with pytest.raises(RulesBreached) as refused:
        actions.assign_equipment(session, made.farid.actor, recorder, made.dong.id, made.today, now)
    assert [breach.code for breach in refused.value.breaches] == ["audio-not-passed"]
    actions.inspect_equipment(session, made.amina.actor, Inspection(equipment_id=recorder, is_passed=True, next_due_on=made.today), now)
    actions.assign_equipment(session, made.farid.actor, recorder, made.dong.id, made.today, now)
    with pytest.raises(RulesBreached):
        actions.assign_equipment(session, made.farid.actor, recorder, made.dong.id, made.today + timedelta(days=1), now)
    session.execute(update(EquipmentRow).values(is_passed=False))
    assert pair_codes(session, made) == [(Rule.EVD_04, "audio-not-passed"), (Rule.EVD_04, "camera-not-passed")]


def test_VIS_01_an_excluded_pair_is_refused_in_either_order(session: Session, made: World, now: datetime) -> None:
    actions.exclude_pair(session, made.amina.actor, (made.dong.id, made.bilal.id), now)
    for a, b in ((made.bilal, made.dong), (made.dong, made.bilal)):
        assert pair_codes(session, made, a, b) == [(Rule.VIS_01, "pair-excluded")]
    assert queries.conflicts(session, [made.bilal.id, made.dong.id]) == {tuple(sorted((made.bilal.id, made.dong.id)))}


def test_REQ_06_an_exclusion_is_lifted_by_a_supervisor_who_is_neither_of_the_two_and_both_are_recorded(
    session: Session, made: World, now: datetime
) -> None:
    pair = (made.dong.id, made.bilal.id)
    actions.exclude_pair(session, made.farid.actor, pair, now, PartingReason.RELATIVES)
    with pytest.raises(Forbidden):
        actions.reunite_pair(session, made.farid.actor, pair, ReunionReason.MISTAKEN, now)
    with pytest.raises(NotFound):
        actions.reunite_pair(session, made.amina.actor, (made.dong.id, made.zhen.id), ReunionReason.MISTAKEN, now)
    actions.exclude_pair(session, made.farid.actor, (made.amina.id, made.bilal.id), now, PartingReason.COMPLAINT)
    with pytest.raises(SecondPersonNeeded):
        actions.reunite_pair(session, made.amina.actor, (made.amina.id, made.bilal.id), ReunionReason.SETTLED, now)
    actions.reunite_pair(session, made.amina.actor, pair, ReunionReason.MISTAKEN, now)
    assert pair_codes(session, made) == []
    with pytest.raises(Conflict):
        actions.reunite_pair(session, made.amina.actor, pair, ReunionReason.MISTAKEN, now)
    told = [row.details for row in session.scalars(select(AuditEntryRow).where(AuditEntryRow.subject == f"staff:{min(pair)}"))]
    assert [(one["what"], one["reason"]) for one in told if str(one.get("other")) == str(max(pair))] == [
        ("pair-excluded", "relatives"), ("pair-reunited", "mistaken"),
    ]


def test_collectors_of_a_day_come_with_what_pairing_asks(session: Session, made: World) -> None:
    names = [view.name for view in queries.collectors_on(session, made.sh1, made.today)]
    assert names == ["Bilal", "Dong"]
    assert queries.collectors_on(session, made.sh1, made.today + timedelta(days=30)) == ()


# -- Who may ---------------------------------------------------------------------------------------------------------


def new_staff(made: World, **changes: object) -> NewStaff:
    base = NewStaff(employee_no="E-new", name="New", roles=frozenset({Role.CASHIER}), joined_on=made.today, branch_id=made.sh1)
    return msgspec.structs.replace(base, **changes)


@pytest.mark.parametrize("who", ["amina", "bilal", "lin", "wei"])
def test_only_the_operator_makes_staff(session: Session, made: World, now: datetime, who: str) -> None:
    with pytest.raises(Forbidden):
        actions.create_staff(session, getattr(made, who).actor, new_staff(made), now)


def test_SEC_02_no_external_person_can_be_made(session: Session, made: World, now: datetime) -> None:
    refused: tuple[dict[str, object], ...] = (
        {"roles": frozenset({Role.FIELD_COLLECTOR}), "branch_id": None, "bank_id": made.bank_a.id},
        {"roles": frozenset({Role.BANK_LIAISON})},
        {"roles": frozenset({Role.BANK_LIAISON}), "bank_id": made.bank_a.id},     # A branch and a bank at once.
        {"roles": frozenset()},
    )
    for changes in refused:
        with pytest.raises(InvalidInput):
            actions.create_staff(session, made.oscar.actor, new_staff(made, **changes), now)
    staff_id = actions.create_staff(session, made.oscar.actor, new_staff(made), now)
    assert queries.staff(session, made.oscar.actor, staff_id).roles == (Role.CASHIER,)


def test_SEC_02_the_database_refuses_a_person_of_two_houses(session: Session, made: World) -> None:
    with pytest.raises(IntegrityError), session.begin_nested():
        session.execute(update(StaffRow).where(StaffRow.id == made.bilal.id).values(bank_id=made.bank_a.id))


def test_another_branchs_people_are_not_seen(session: Session, made: World, now: datetime) -> None:
    with pytest.raises(NotFound):
        queries.staff(session, made.yara.actor, made.bilal.id)
    with pytest.raises(NotFound):
        actions.set_workdays(
            session, made.yara.actor, [Workday(staff_id=made.bilal.id, on=made.today, is_available=False, shift_from_s=0, shift_to_s=1)], now
        )
    with pytest.raises(NotFound):
        actions.exclude_pair(session, made.yara.actor, (made.bilal.id, made.zhen.id), now)
    assert {view.name for view in queries.staff_page(session, made.lin.actor, after=None, limit=50)} == {"Lin", "Mo"}


def test_VIS_06_a_credential_is_registered_once_per_bank_and_for_employees_only(session: Session, made: World, now: datetime) -> None:
    new = NewCredential(staff_id=made.hana.id, bank_id=made.bank_b.id, number="B-1", valid_from_on=made.today, valid_to_on=made.today)
    actions.add_credential(session, made.oscar.actor, new, now)
    with pytest.raises(Conflict):
        actions.add_credential(session, made.oscar.actor, new, now)
    with pytest.raises(InvalidInput):
        actions.add_credential(session, made.oscar.actor, msgspec.structs.replace(new, staff_id=made.chen.id), now)
    with pytest.raises(ValueError):
        msgspec.structs.replace(new, valid_to_on=made.today - timedelta(days=1))


def test_TEAM_04_nobody_assesses_themselves(made: World) -> None:
    with pytest.raises(ValueError):
        NewQualification(
            staff_id=made.hana.id, kind=QualificationKind.FIELD_VISIT, is_lead=False, valid_to_on=made.today, assessor_id=made.hana.id,
            test_result="passed",
        )


# -- Logins ----------------------------------------------------------------------------------------------------------


def signed_in(session: Session, keyring: Keyring, username: str, secret: str, now: datetime, password: str = PASSWORD) -> SessionOpened | Problem:
    known = logins.find_login(session, username, now)
    assert not isinstance(known, Problem)
    code = pyotp.TOTP(secret).generate_otp(int(now.timestamp()) // 30)
    claim = LoginClaim(username=username, known=known, is_password_right=logins.password_fits(known, password), totp=code)
    return logins.conclude_login(session, keyring, claim, now)


NEW_LOGIN = NewLogin(username="newcomer", password="four words make a fence")


def test_the_first_operator_comes_into_an_empty_database_only(session: Session, keyring: Keyring, now: datetime) -> None:
    made = actions.create_first_operator(session, keyring, "Oscar", NEW_LOGIN, now)
    actor = queries.actor_of(session, made.staff_id)
    assert actor is not None
    assert actor.roles == {Role.OPERATOR}
    assert isinstance(signed_in(session, keyring, "newcomer", made.totp_secret, now, NEW_LOGIN.password), SessionOpened)
    with pytest.raises(Conflict):
        actions.create_first_operator(session, keyring, "Second", NEW_LOGIN, now)


@pytest.mark.parametrize("fields", [{"username": "x"}, {"username": "UPPER"}, {"username": "a b"}, {"username": "ab\n"}, {"password": "short"},
                                    {"password": "my-name-is-newcomer"}])
def test_a_weak_login_is_refused(fields: dict[str, str]) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"username": "newcomer", "password": NEW_LOGIN.password, **fields}, NewLogin)


def test_an_invitation_works_once_and_for_three_days(session: Session, keyring: Keyring, made: World, now: datetime) -> None:
    staff_id = actions.create_staff(session, made.oscar.actor, new_staff(made), now)
    with pytest.raises(Forbidden):
        invitations.invite(session, made.amina.actor, staff_id, now)
    superseded = invitations.invite(session, made.oscar.actor, staff_id, now)
    invited = invitations.invite(session, made.oscar.actor, staff_id, now)
    for token, at in (("x" * 43, now), (superseded.token, now), (invited.token, invited.expires_at)):
        with pytest.raises(Unauthenticated):
            logins.accept_invitation(session, keyring, token, NEW_LOGIN, at)
    accepted = logins.accept_invitation(session, keyring, invited.token, NEW_LOGIN, now)
    with pytest.raises(Unauthenticated):
        logins.accept_invitation(session, keyring, invited.token, NEW_LOGIN, now)
    assert isinstance(signed_in(session, keyring, "newcomer", accepted.totp_secret, now, NEW_LOGIN.password), SessionOpened)
    with pytest.raises(Conflict):
        invitations.invite(session, made.oscar.actor, staff_id, now)


def test_a_user_name_belongs_to_one_person(session: Session, keyring: Keyring, made: World, now: datetime) -> None:
    invited = invitations.invite(session, made.oscar.actor, actions.create_staff(session, made.oscar.actor, new_staff(made), now), now)
    with pytest.raises(Conflict):
        logins.accept_invitation(session, keyring, invited.token, NewLogin(username="amina", password="four words make a fence"), now)


def test_a_lost_login_takes_two_other_people(session: Session, keyring: Keyring, made: World, now: datetime) -> None:
    opened = logins.open_session(session, made.farid.id, now)
    for own in (logins.ask_reset, logins.grant_reset):
        with pytest.raises(Forbidden):
            own(session, made.farid.actor, made.farid.id, now)
    with pytest.raises(SecondPersonNeeded):
        logins.ask_reset(session, made.amina.actor, made.amina.id, now)
    with pytest.raises(NotFound):
        logins.grant_reset(session, made.oscar.actor, made.farid.id, now)
    logins.ask_reset(session, made.amina.actor, made.farid.id, now)
    with pytest.raises(SecondPersonNeeded):
        logins.grant_reset(session, made.amina.actor, made.farid.id, now)
    with pytest.raises(NotFound):
        logins.grant_reset(session, made.yara.actor, made.farid.id, now)
    invited = logins.grant_reset(session, made.oscar.actor, made.farid.id, now)
    assert logins.identify(session, opened.token, now) is None
    assert isinstance(signed_in(session, keyring, "farid", TOTP_SECRET, now), logins.LoginRefused)
    again = logins.accept_invitation(session, keyring, invited.token, NewLogin(username="farid", password="four words make a fence"), now)
    assert again.totp_secret != TOTP_SECRET


def test_a_password_changed_in_between_is_refused(session: Session, keyring: Keyring, made: World, now: datetime) -> None:
    known = logins.find_login(session, "amina", now)
    assert isinstance(known, logins.KnownLogin)
    stale = msgspec.structs.replace(known, password_hash="another")
    code = pyotp.TOTP(TOTP_SECRET).generate_otp(int(now.timestamp()) // 30)
    claim = LoginClaim(username="amina", known=stale, is_password_right=True, totp=code)
    assert isinstance(logins.conclude_login(session, keyring, claim, now), logins.LoginRefused)


def test_the_demos_code_is_one_that_was_not_used(session: Session, keyring: Keyring, made: World, now: datetime) -> None:
    codes = []
    for _ in range(3):
        codes.append(logins.totp_code(session, keyring, "amina", now))
        known = logins.find_login(session, "amina", now)
        assert isinstance(known, logins.KnownLogin)
        claim = LoginClaim(username="amina", known=known, is_password_right=True, totp=codes[-1])
        assert isinstance(logins.conclude_login(session, keyring, claim, now), SessionOpened)
    assert len(set(codes)) == 3
    with pytest.raises(NotFound):
        logins.totp_code(session, keyring, "amina", now)


def test_dismissal_ends_sessions_and_silences_the_phone(session: Session, made: World, now: datetime) -> None:
    opened = logins.open_session(session, made.bilal.id, now)
    actions.dismiss(session, made.oscar.actor, made.bilal.id, made.today, now)
    assert logins.identify(session, opened.token, now) is None
    assert queries.actor_of(session, made.bilal.id) is None
    with pytest.raises(Conflict):
        actions.dismiss(session, made.oscar.actor, made.bilal.id, made.today, now)
    with pytest.raises(Conflict):
        actions.dismiss(session, made.oscar.actor, made.oscar.id, made.today, now)


# -- Phones ----------------------------------------------------------------------------------------------------------


def refused_as(problem: type[Problem], act: Callable[[], object]) -> None:
    with pytest.raises(problem):
        act()


def test_a_phone_takes_a_second_person_who_sees_its_owner(session: Session, made: World, now: datetime) -> None:
    refused_as(Forbidden, lambda: devices.ask_enrolment(session, made.farid.actor, made.bilal.id, now))
    refused_as(NotFound, lambda: devices.ask_enrolment(session, made.lin.actor, made.lin.id, now))
    asked = devices.ask_enrolment(session, made.oscar.actor, made.bilal.id, now)
    refused_as(Forbidden, lambda: devices.grant_enrolment(session, made.bilal.actor, asked.id, now))
    refused_as(SecondPersonNeeded, lambda: devices.grant_enrolment(session, made.oscar.actor, asked.id, now))
    refused_as(NotFound, lambda: devices.grant_enrolment(session, made.yara.actor, asked.id, now))
    assert [view.id for view in devices.open_enrolments(session, made.amina.actor, now)] == [asked.id]
    devices.grant_enrolment(session, made.amina.actor, asked.id, now)
    refused_as(Conflict, lambda: devices.grant_enrolment(session, made.amina.actor, asked.id, now))
    assert devices.open_enrolments(session, made.amina.actor, now) == ()


def test_a_supervisors_own_phone_is_granted_by_somebody_else(session: Session, made: World, now: datetime) -> None:
    asked = devices.ask_enrolment(session, made.amina.actor, made.amina.id, now)
    refused_as(SecondPersonNeeded, lambda: devices.grant_enrolment(session, made.amina.actor, asked.id, now))
    devices.grant_enrolment(session, made.oscar.actor, asked.id, now)


def test_a_phone_is_suspended_by_its_owner_and_resumed_by_a_supervisor(session: Session, made: World, now: datetime) -> None:
    assert made.bilal.phone is not None
    kid = made.bilal.phone.kid
    change = DeviceChange(kid=kid, event=DeviceEvent.SUSPEND, reason="lost in a taxi")
    refused_as(Forbidden, lambda: devices.change_device(session, made.dong.actor, change, now))
    refused_as(NotFound, lambda: devices.change_device(session, made.yara.actor, change, now))
    assert devices.change_device(session, made.bilal.actor, change, now) is DeviceState.SUSPENDED
    resume = msgspec.structs.replace(change, event=DeviceEvent.RESUME, reason="found again")
    refused_as(Forbidden, lambda: devices.change_device(session, made.bilal.actor, resume, now))
    assert devices.change_device(session, made.amina.actor, resume, now) is DeviceState.ACTIVE
    revoke = DeviceChange(kid=kid, event=DeviceEvent.REVOKE, reason="stolen", compromised_since=now - timedelta(hours=3))
    assert devices.change_device(session, made.amina.actor, revoke, now) is DeviceState.REVOKED
    seen = queries.device(session, kid)
    assert seen is not None
    assert (seen.revoked_at, seen.compromised_since) == (now, now - timedelta(hours=3))
    refused_as(IllegalTransition, lambda: devices.change_device(session, made.amina.actor, resume, now))
    assert session.query(DeviceChangeRow).where(DeviceChangeRow.kid == kid).count() == 3


@pytest.mark.parametrize("event", list(DeviceEvent))
@pytest.mark.parametrize("state", list(DeviceState))
def test_every_step_of_a_phone_is_known_or_refused(state: DeviceState, event: DeviceEvent) -> None:
    if (state, event) in DEVICE_TRANSITIONS:
        assert advance_device(state, event) is DEVICE_TRANSITIONS[state, event]
    else:
        refused_as(IllegalTransition, lambda: advance_device(state, event))


def test_a_devices_history_and_the_inspection_register_are_never_rewritten(session: Session, made: World, now: datetime) -> None:
    assert made.bilal.phone is not None
    devices.change_device(session, made.amina.actor, DeviceChange(kid=made.bilal.phone.kid, event=DeviceEvent.SUSPEND, reason="test"), now)
    with pytest.raises(DBAPIError, match=r"append-only|permission denied"), session.begin_nested():
        session.execute(update(DeviceChangeRow).values(reason="another"))


def in_parallel(act: Callable[[], object], number: int = 6) -> list[object]:
    start = threading.Barrier(number)

    def run() -> object:
        start.wait()
        return act()

    with ThreadPoolExecutor(number) as threads:
        return [answer.result() for answer in [threads.submit(run) for _ in range(number)]]


def test_one_code_opens_one_session_however_many_try_at_once(sessions: sessionmaker[Session], keyring: Keyring, now: datetime) -> None:
    with sessions.begin() as session:
        world(session, keyring, now)
    with sessions() as session:
        known = logins.find_login(session, "amina", now)
    assert isinstance(known, logins.KnownLogin)
    code = pyotp.TOTP(TOTP_SECRET).generate_otp(int(now.timestamp()) // 30)

    def attempt() -> object:
        with sessions.begin() as session:
            return type(logins.conclude_login(session, keyring, LoginClaim(username="amina", known=known, is_password_right=True, totp=code), now))

    outcomes = in_parallel(attempt)
    assert outcomes.count(SessionOpened) == 1
    with sessions() as session:
        assert session.query(ConsoleSessionRow).count() == 1


def test_guesses_at_once_are_counted_one_by_one(sessions: sessionmaker[Session], keyring: Keyring, now: datetime) -> None:
    with sessions.begin() as session:
        world(session, keyring, now)

    claim = LoginClaim(username="amina", known=None, is_password_right=False, totp="000000")

    def guess() -> object:
        with sessions.begin() as session:
            return type(logins.conclude_login(session, keyring, claim, now))

    assert in_parallel(guess, logins.FAILURES_MAX + 2).count(logins.LoginRefused) == logins.FAILURES_MAX


def test_a_proof_passes_once_however_many_try_at_once(sessions: sessionmaker[Session], now: datetime) -> None:
    proven = Proven(kid="k" * 43, replay_digest="d" * 64, expires_at=now + timedelta(seconds=1))

    def use() -> object:
        with sessions.begin() as session:
            return devices.use_proof(session, proven)

    assert in_parallel(use).count(True) == 1
    with sessions.begin() as session:
        devices.forget_proofs(session, now)
        assert not devices.use_proof(session, proven)
        devices.forget_proofs(session, now + timedelta(seconds=2))
        assert devices.use_proof(session, proven)


def test_nothing_is_found_for_ids_that_nobody_has(session: Session, made: World, now: datetime) -> None:
    for act in (
        lambda: actions.revoke_credential(session, made.oscar.actor, new_id(), now),
        lambda: devices.grant_enrolment(session, made.amina.actor, new_id(), now),
        lambda: actions.inspect_equipment(session, made.amina.actor, Inspection(equipment_id=new_id(), is_passed=True, next_due_on=made.today), now),
    ):
        refused_as(NotFound, act)
