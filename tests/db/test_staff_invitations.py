"""An operator alone makes nobody who speaks for a bank (CASH-04): invitations that wait for a second person."""

from datetime import timedelta

import pytest
from sqlalchemy.orm import Session

from backend.auth.actors import Role
from backend.core.ids import StaffId, new_id
from backend.core.problems import Forbidden, NotFound
from backend.keys.keyring import Keyring
from backend.staff import actions, invitations, logins
from backend.staff.logins import NewLogin
from backend.staff.model import NewStaff, SecondPersonNeeded
from backend.staff.tables import LoginRow
from tests.support.world import World, world

LOGIN = NewLogin(username="newcomer", password="nobody owns this lighthouse")


@pytest.fixture
def made(session: Session, keyring: Keyring) -> World:
    return world(session, keyring)


def newcomer(session: Session, made: World, role: Role = Role.BANK_AUTHORISER) -> StaffId:
    bank_id = made.bank_a.id if role in (Role.BANK_AUTHORISER, Role.BANK_LIAISON) else None
    return actions.create_staff(session, made.oscar.actor, NewStaff(
        employee_no=f"N-{new_id().hex[-6:]}", name="Newcomer", roles=frozenset({role}), branch_id=None, bank_id=bank_id, gender=None,
        joined_on=made.today), made.now)


@pytest.mark.parametrize("role", [Role.BANK_AUTHORISER, Role.BANK_LIAISON, Role.MANAGER, Role.GENERAL_MANAGER])
def test_CASH_04_an_operator_alone_makes_nobody_who_speaks_for_a_bank(session: Session, keyring: Keyring, made: World, role: Role) -> None:
    staff_id = newcomer(session, made, role)
    invited = invitations.invite(session, made.oscar.actor, staff_id, made.now)
    assert invited.is_confirmation_due
    with pytest.raises(SecondPersonNeeded):
        logins.accept_invitation(session, keyring, invited.token, LOGIN, made.now)
    for person in (made.oscar, made.amina, made.kai, made.wei):
        with pytest.raises(Forbidden):
            invitations.confirm(session, person.actor, staff_id, made.now)
    assert session.get(LoginRow, staff_id) is None


@pytest.mark.parametrize("who", ["petra", "lin", "mo"])
def test_CASH_04_a_manager_or_somebody_of_the_bank_confirms(session: Session, keyring: Keyring, made: World, who: str) -> None:
    staff_id = newcomer(session, made)
    invited = invitations.invite(session, made.oscar.actor, staff_id, made.now)
    for _ in range(2):
        invitations.confirm(session, getattr(made, who).actor, staff_id, made.now)
    assert logins.accept_invitation(session, keyring, invited.token, LOGIN, made.now).staff_id == staff_id


def test_CASH_04_another_bank_confirms_nobody(session: Session, made: World) -> None:
    staff_id = newcomer(session, made)
    invitations.invite(session, made.oscar.actor, staff_id, made.now)
    for stranger in (made.chen, made.nuo):
        with pytest.raises(NotFound):
            invitations.confirm(session, stranger.actor, staff_id, made.now)


def test_CASH_04_a_confirmation_serves_one_invitation(session: Session, keyring: Keyring, made: World) -> None:
    staff_id = newcomer(session, made)
    with pytest.raises(NotFound):
        invitations.confirm(session, made.petra.actor, staff_id, made.now)
    invitations.invite(session, made.oscar.actor, staff_id, made.now)
    invitations.confirm(session, made.petra.actor, staff_id, made.now)
    second = invitations.invite(session, made.oscar.actor, staff_id, made.now)
    with pytest.raises(SecondPersonNeeded):
        logins.accept_invitation(session, keyring, second.token, LOGIN, made.now)
    with pytest.raises(NotFound):
        invitations.confirm(session, made.petra.actor, staff_id, second.expires_at + timedelta(seconds=1))


def test_CASH_04_a_reset_of_a_banks_login_needs_the_confirmation_too(session: Session, keyring: Keyring, made: World) -> None:
    logins.ask_reset(session, made.oscar.actor, made.mo.id, made.now)
    with pytest.raises(SecondPersonNeeded):
        logins.grant_reset(session, made.oscar.actor, made.mo.id, made.now)


def test_the_agencys_own_people_are_invited_as_before(session: Session, keyring: Keyring, made: World) -> None:
    staff_id = newcomer(session, made, Role.DISPATCHER)
    invited = invitations.invite(session, made.oscar.actor, staff_id, made.now)
    assert not invited.is_confirmation_due
    logins.accept_invitation(session, keyring, invited.token, LOGIN, made.now)
    with pytest.raises(NotFound):
        invitations.confirm(session, made.petra.actor, staff_id, made.now)
