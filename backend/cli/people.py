"""`fieldvisit user …`: the first operator, invitations, and who acts on the command line."""

from collections.abc import Iterator
from contextlib import contextmanager

import msgspec
from sqlalchemy import select
from sqlalchemy.orm import Session, sessionmaker

from backend.auth.actors import Actor
from backend.cli.app import clock_of
from backend.core.ids import StaffId
from backend.core.problems import Forbidden, InvalidInput, NotFound
from backend.core.settings import Settings
from backend.db.engine import make_engine, session_factory
from backend.keys.folder import open_folder
from backend.keys.keyring import Keyring
from backend.staff import actions, invitations, logins, queries
from backend.staff.model import Invited, LoginMade
from backend.staff.tables import LoginRow, StaffRow
from backend.web.app import log_origin
from backend.web.transaction import attach_log, transaction


@contextmanager
def opened(settings: Settings) -> Iterator[tuple[sessionmaker[Session], Keyring]]:
    """Open database and keys for one command."""
    engine = make_engine(settings.url, pool_size=2)
    try:
        sessions, keyring = session_factory(engine), Keyring(open_folder(settings.key_folder, settings.key_passphrase_file))
        attach_log(sessions, keyring, log_origin(settings))
        yield sessions, keyring
    finally:
        engine.dispose()


def actor_named(session: Session, username: str) -> Actor:
    """Return the person who acts by a command, by their user name.

    Raises:
        Forbidden: nobody active has that login.
    """
    staff_id = session.scalar(select(LoginRow.staff_id).where(LoginRow.username == username))
    actor = queries.actor_of(session, StaffId(staff_id)) if staff_id is not None else None
    if actor is None:
        raise Forbidden(username=username)
    return actor


def create_first_operator(settings: Settings, *, name: str, username: str, password: str) -> LoginMade:
    """Make the first operator in an empty database."""
    login = _login(username, password)
    now = clock_of(settings)()
    with opened(settings) as (sessions, keyring), transaction(sessions, None, now) as session:
        return actions.create_first_operator(session, keyring, name, login, now)


def invite(settings: Settings, employee_no: str, acting: str) -> Invited:
    """Invite the person of an employee number."""
    now = clock_of(settings)()
    with opened(settings) as (sessions, _), transaction(sessions, None, now) as session:
        actor = actor_named(session, acting)
        return invitations.invite(session, actor, _person(session, employee_no), now)


def confirm(settings: Settings, employee_no: str, acting: str) -> None:
    """Confirm the invitation of an employee number's person as the second person."""
    now = clock_of(settings)()
    with opened(settings) as (sessions, _), transaction(sessions, None, now) as session:
        actor = actor_named(session, acting)
        invitations.confirm(session, actor, _person(session, employee_no), now)


def accept(settings: Settings, token: str, *, username: str, password: str) -> LoginMade:
    """Accept an invitation."""
    login = _login(username, password)
    now = clock_of(settings)()
    with opened(settings) as (sessions, keyring), transaction(sessions, None, now) as session:
        return logins.accept_invitation(session, keyring, token, login, now)


def totp(settings: Settings, username: str) -> str:
    """Return a usable TOTP code, in a demo only."""
    if not settings.is_demo:
        raise Forbidden(reason="only in a demo database")
    with opened(settings) as (sessions, keyring), sessions() as session:
        return logins.totp_code(session, keyring, username, clock_of(settings)())


def _person(session: Session, employee_no: str) -> StaffId:
    staff_id = session.scalar(select(StaffRow.id).where(StaffRow.employee_no == employee_no))
    if staff_id is None:
        raise NotFound(employee_no=employee_no)
    return StaffId(staff_id)


def _login(username: str, password: str) -> logins.NewLogin:
    try:
        return msgspec.convert({"username": username, "password": password}, logins.NewLogin)
    except msgspec.ValidationError as error:
        raise InvalidInput(reason=str(error)) from None
