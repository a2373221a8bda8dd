"""Logins of the console: password and TOTP, sessions, invitations, and the reset that takes two people.

A password is verified outside any transaction (argon2id takes its time on purpose, and SQLite has one writer), so a login is
three steps: `find_login` reads, `password_fits` computes, `conclude_login` decides and writes. The last one alone decides.
"""

import hmac
import secrets
from datetime import datetime, timedelta
from functools import cache
from typing import Annotated

import msgspec
import pyotp
from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from msgspec import Meta
from sqlalchemy import delete, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from backend.audit.events import EventTag
from backend.audit.record import record
from backend.auth.actors import Actor
from backend.auth.authorise import authorise
from backend.auth.permissions import Permission
from backend.core.i18n import N_
from backend.core.ids import StaffId, new_id
from backend.core.problems import Conflict, NotFound, Problem, TooManyRequests, Unauthenticated
from backend.keys.keyring import Keyring
from backend.keys.sealing import Sealer, create_case_key, sealer
from backend.keys.tables import CaseKeyRow
from backend.staff.invitations import make_invitation, token_digest, visible_staff, waits_for_second_person
from backend.staff.model import Invited, LoginMade, SecondPersonNeeded, SessionOpened
from backend.staff.queries import actor_of
from backend.staff.tables import ConsoleSessionRow, InvitationRow, LoginFailureRow, LoginRow, TotpResetRow

FAILURES_MAX = 5
LOCK_S = 15 * 60
FAILURES_KEPT_S = 24 * 3600
SESSION_IDLE_S = 30 * 60
SESSION_LIFE_S = 12 * 3600
SESSION_TOUCH_S = 60
INVITATION_LIFE_S = 3 * 24 * 3600
RESET_LIFE_S = 24 * 3600
TOTP_STEP_S = 30
TOTP_WINDOW_STEPS = 1
ISSUER = "fieldvisit"
_TOTP_COLUMN = "logins.totp_secret"

Username = Annotated[str, Meta(min_length=2, max_length=64, pattern=r"^[a-z0-9][a-z0-9._-]*$")]
PASSWORD_LENGTH_MIN = 12
Password = Annotated[str, Meta(min_length=PASSWORD_LENGTH_MIN, max_length=200)]


class LoginRefused(Problem):
    """Name, password or code are wrong; which one is not told."""

    status, code, title = 401, "login-refused", N_("Name, password or code are not right.")
    explanation = N_("Each code works once. Wait for the next one before trying again; five failures lock the name for a quarter of an hour.")


class KnownLogin(msgspec.Struct, frozen=True, kw_only=True):
    """What a stored login says about its password."""

    staff_id: StaffId
    password_hash: str


class LoginClaim(msgspec.Struct, frozen=True, kw_only=True):
    """One attempt to log in, its password already compared."""

    username: str
    known: KnownLogin | None
    is_password_right: bool
    totp: str


class ConsoleIdentity(msgspec.Struct, frozen=True, kw_only=True):
    """Who an open session speaks for."""

    actor: Actor
    csrf: str
    seen_at: datetime


class NewLogin(msgspec.Struct, frozen=True, kw_only=True):
    """A name and a password to log in with. Where the password holds the name, the rest of it alone must be long enough."""

    username: Username
    password: Password

    def __post_init__(self) -> None:
        if not self.username.isprintable():    # `$` would let one line end pass.
            raise ValueError("the user name must be printable")
        if len(self.password.lower().replace(self.username, "")) < PASSWORD_LENGTH_MIN:
            raise ValueError(f"the password must have {PASSWORD_LENGTH_MIN} characters besides the user name")


def find_login(session: Session, username: str, now: datetime) -> KnownLogin | TooManyRequests | None:
    """Read the login of a name, or the refusal while the name is locked. A locked name is not even compared."""
    failures = session.get(LoginFailureRow, token_digest(username))
    if failures is not None and failures.locked_until is not None and now < failures.locked_until:
        return _locked(failures.locked_until, now)
    row = session.execute(select(LoginRow.staff_id, LoginRow.password_hash).where(LoginRow.username == username)).one_or_none()
    return None if row is None else KnownLogin(staff_id=StaffId(row.staff_id), password_hash=row.password_hash)


def password_fits(known: KnownLogin | None, password: str) -> bool:
    """Tell whether `password` is the stored one; an unknown name takes as long as a known one."""
    try:
        _hasher().verify(known.password_hash if known else _decoy_hash(), password)
    except (VerificationError, InvalidHashError):
        return False
    return known is not None


def conclude_login(session: Session, keyring: Keyring, claim: LoginClaim, now: datetime) -> SessionOpened | Problem:
    """Decide a login and write what it leaves: a session, or one more failure. Returns the refusal, so that its trace is committed.

    The failures' row is locked first, so parallel guesses are counted one by one.
    """
    failures = _locked_failures(session, claim.username, now)
    if failures.locked_until is not None and now < failures.locked_until:
        return _locked(failures.locked_until, now)
    login = session.execute(
        select(LoginRow).where(LoginRow.username == claim.username).with_for_update().execution_options(populate_existing=True)
    ).scalar_one_or_none()
    actor = actor_of(session, StaffId(login.staff_id)) if login is not None else None
    if login is None or actor is None:
        return _refused(session, failures, None, "unknown", now)
    if not claim.is_password_right or claim.known is None or login.password_hash != claim.known.password_hash:
        return _refused(session, failures, actor, "password", now)
    step = _totp_step(sealer(session, keyring, login.staff_id).open(_TOTP_COLUMN, login.totp_secret), claim.totp, now)
    if step is None or step <= login.totp_step_last:
        return _refused(session, failures, actor, "totp" if step is None else "totp-replayed", now)
    login.totp_step_last = step
    session.delete(failures)
    opened = open_session(session, actor.id, now)
    record(session, actor, EventTag.SIGNED_IN, f"staff:{actor.id}", now)
    return opened


def open_session(session: Session, staff_id: StaffId, now: datetime) -> SessionOpened:
    """Open a console session; its token is known only to the caller, the database keeps its SHA-256."""
    token, csrf = secrets.token_urlsafe(32), secrets.token_urlsafe(32)
    expires_at = now + timedelta(seconds=SESSION_LIFE_S)
    session.add(ConsoleSessionRow(
        id=new_id(), token_hash=token_digest(token), staff_id=staff_id, csrf=csrf, opened_at=now, seen_at=now, expires_at=expires_at, closed_at=None,
    ))
    session.flush()
    return SessionOpened(token=token, csrf=csrf, staff_id=staff_id, expires_at=expires_at)


def identify(session: Session, token: str, now: datetime) -> ConsoleIdentity | None:
    """Return whose session `token` opens: None when it is unknown, closed, idle for half an hour, twelve hours old, or its person left."""
    row = session.execute(select(ConsoleSessionRow).where(ConsoleSessionRow.token_hash == token_digest(token))).scalar_one_or_none()
    if row is None or row.closed_at is not None or now >= row.expires_at or now >= row.seen_at + timedelta(seconds=SESSION_IDLE_S):
        return None
    actor = actor_of(session, StaffId(row.staff_id), session_id=row.id)
    return None if actor is None else ConsoleIdentity(actor=actor, csrf=row.csrf, seen_at=row.seen_at)


def touch_session(session: Session, actor: Actor, now: datetime) -> None:
    """Note that a session was used now, which keeps it from idling out."""
    session.execute(update(ConsoleSessionRow).where(ConsoleSessionRow.id == actor.session, ConsoleSessionRow.seen_at < now).values(seen_at=now))


def close_session(session: Session, actor: Actor, now: datetime) -> None:
    """End the actor's session."""
    open_one = update(ConsoleSessionRow).where(ConsoleSessionRow.id == actor.session, ConsoleSessionRow.closed_at.is_(None))
    session.execute(open_one.values(closed_at=now))
    record(session, actor, EventTag.SIGNED_OUT, f"staff:{actor.id}", now)


def close_sessions_of(session: Session, staff_id: StaffId, now: datetime) -> None:
    """End every session of a person; part of a larger act, which records it."""
    session.execute(
        update(ConsoleSessionRow).where(ConsoleSessionRow.staff_id == staff_id, ConsoleSessionRow.closed_at.is_(None)).values(closed_at=now)
    )


def accept_invitation(session: Session, keyring: Keyring, token: str, login: NewLogin, now: datetime) -> LoginMade:
    """Make the invited person's login and return its TOTP secret, once. Replaces the login that a reset released.

    Raises:
        SecondPersonNeeded: nobody has confirmed yet that the person is whom they speak for.
        Unauthenticated: the link is unknown, used or expired, or its person is no longer active.
        Conflict: the user name is taken.
    """
    invitation = session.execute(
        select(InvitationRow).where(InvitationRow.token_hash == token_digest(token)).with_for_update().execution_options(populate_existing=True)
    ).scalar_one_or_none()
    if invitation is None or invitation.used_at is not None or now >= invitation.expires_at:
        raise Unauthenticated
    actor = actor_of(session, StaffId(invitation.staff_id))
    if actor is None:
        raise Unauthenticated
    if waits_for_second_person(session, invitation.id):
        raise SecondPersonNeeded(reason="invitation-unconfirmed")
    invitation.used_at = now
    made = set_login(session, keyring, actor.id, login, now)
    close_sessions_of(session, actor.id, now)
    record(session, actor, EventTag.STAFF_CHANGED, f"staff:{actor.id}", now, what="login", invitation=invitation.id)
    return made


def set_login(session: Session, keyring: Keyring, staff_id: StaffId, login: NewLogin, now: datetime) -> LoginMade:
    """Write a login with a new TOTP secret; part of a larger act, which records it.

    Raises:
        Conflict: the user name is taken.
    """
    taken = session.scalar(select(LoginRow.staff_id).where(LoginRow.username == login.username, LoginRow.staff_id != staff_id))
    if taken is not None:
        raise Conflict(reason="username-taken")
    secret = pyotp.random_base32()
    sealed = _own_sealer(session, keyring, staff_id, now).seal(_TOTP_COLUMN, secret)
    row = session.get(LoginRow, staff_id)
    if row is None:
        row = LoginRow(staff_id=staff_id)
        session.add(row)
    row.username, row.password_hash, row.totp_secret = login.username, _hasher().hash(login.password), sealed
    row.totp_step_last, row.changed_at = 0, now
    session.flush()
    uri = pyotp.TOTP(secret).provisioning_uri(name=login.username, issuer_name=ISSUER)
    return LoginMade(staff_id=staff_id, username=login.username, totp_secret=secret, provisioning_uri=uri)


def ask_reset(session: Session, actor: Actor, staff_id: StaffId, now: datetime) -> TotpResetRow:
    """Ask that somebody's lost login be released; another person must grant it within a day.

    Raises:
        SecondPersonNeeded: the actor asks for themselves.
    """
    authorise(actor, Permission.DEVICE_APPROVE)
    visible_staff(session, actor, staff_id)
    if actor.id == staff_id:
        raise SecondPersonNeeded(reason="own-login")
    row = TotpResetRow(
        id=new_id(), staff_id=staff_id, requested_by=actor.id, requested_at=now, expires_at=now + timedelta(seconds=RESET_LIFE_S),
        approved_by=None, approved_at=None,
    )
    session.add(row)
    record(session, actor, EventTag.STAFF_CHANGED, f"staff:{staff_id}", now, what="reset-asked", reset=row.id)
    return row


def grant_reset(session: Session, actor: Actor, staff_id: StaffId, now: datetime) -> Invited:
    """Grant the open reset of a person: the old login dies at once, all sessions end, a one-time link makes the new one.

    Raises:
        NotFound: nothing open.
        SecondPersonNeeded: the actor asked for it, or is its owner.
    """
    authorise(actor, Permission.DEVICE_APPROVE)
    visible_staff(session, actor, staff_id)
    row = session.scalars(
        select(TotpResetRow).where(TotpResetRow.staff_id == staff_id, TotpResetRow.approved_at.is_(None), TotpResetRow.expires_at > now)
        .order_by(TotpResetRow.id.desc()).limit(1).with_for_update()
    ).one_or_none()
    if row is None:
        raise NotFound
    if actor.id in (row.requested_by, staff_id):
        raise SecondPersonNeeded(reason="asked-by-the-same-person")
    row.approved_by, row.approved_at = actor.id, now
    session.execute(delete(LoginRow).where(LoginRow.staff_id == staff_id))
    close_sessions_of(session, staff_id, now)
    return make_invitation(session, actor, staff_id, now)


def totp_code(session: Session, keyring: Keyring, username: str, now: datetime) -> str:
    """Return a code that `username` can log in with now: the oldest of the accepted window that was not used. For demo databases only.

    Raises:
        NotFound: no such login, or all codes of the window are used.
    """
    login = session.execute(select(LoginRow).where(LoginRow.username == username)).scalar_one_or_none()
    if login is None:
        raise NotFound
    unused = [step for step in _window(now) if step > login.totp_step_last]
    if not unused:
        raise NotFound
    return pyotp.TOTP(sealer(session, keyring, login.staff_id).open(_TOTP_COLUMN, login.totp_secret)).generate_otp(unused[0])


def _refused(session: Session, failures: LoginFailureRow, actor: Actor | None, reason: str, now: datetime) -> LoginRefused:
    failures.failed_count, failures.failed_at = failures.failed_count + 1, now
    is_locked = failures.failed_count >= FAILURES_MAX
    if is_locked:
        failures.failed_count, failures.locked_until = 0, now + timedelta(seconds=LOCK_S)
    if actor is not None:
        record(session, None, EventTag.SIGN_IN_FAILED, f"staff:{actor.id}", now, reason=reason, is_locked=is_locked)
    session.flush()
    return LoginRefused()


def _locked_failures(session: Session, username: str, now: datetime) -> LoginFailureRow:
    # Names are counted whether they exist or not; the counts of yesterday go, so that guessing fills no disk.
    session.execute(delete(LoginFailureRow).where(LoginFailureRow.failed_at < now - timedelta(seconds=FAILURES_KEPT_S)))
    insert = postgresql.insert if session.get_bind().dialect.name == "postgresql" else sqlite.insert
    empty = insert(LoginFailureRow).values(username_digest=token_digest(username), failed_count=0, failed_at=now, locked_until=None)
    session.execute(empty.on_conflict_do_nothing(index_elements=["username_digest"]))
    query = select(LoginFailureRow).where(LoginFailureRow.username_digest == token_digest(username)).with_for_update()
    return session.execute(query.execution_options(populate_existing=True)).scalar_one()


def _locked(until: datetime, now: datetime) -> TooManyRequests:
    return TooManyRequests(retry_after_s=max(1, int((until - now).total_seconds())))


def _own_sealer(session: Session, keyring: Keyring, staff_id: StaffId, now: datetime) -> Sealer:
    known = session.get(CaseKeyRow, staff_id)
    return create_case_key(session, keyring, staff_id, now) if known is None else sealer(session, keyring, staff_id)


def _window(now: datetime) -> range:
    step = int(now.timestamp()) // TOTP_STEP_S
    return range(step - TOTP_WINDOW_STEPS, step + TOTP_WINDOW_STEPS + 1)


def _totp_step(secret: str, code: str, now: datetime) -> int | None:
    generator = pyotp.TOTP(secret)
    return next((step for step in _window(now) if hmac.compare_digest(generator.generate_otp(step).encode(), code.encode())), None)


@cache
def _hasher() -> PasswordHasher:
    # 19 MiB, two passes, one lane: strong enough against guessing offline, small enough that a flood of logins does not eat the memory.
    return PasswordHasher(time_cost=2, memory_cost=19_456, parallelism=1)


@cache
def _decoy_hash() -> str:
    return _hasher().hash(secrets.token_urlsafe(16))
