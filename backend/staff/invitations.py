"""One-time links to a first login. Whoever speaks for a bank, and whoever may confirm such people, needs a second person's word.

Otherwise an operator alone could make a bank's authoriser and be it (CASH-04). The second person is one of the bank's own people,
or a manager of the agency; the very first who may confirm has nobody to ask.
"""

import hashlib
import secrets
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from backend.audit.events import EventTag
from backend.audit.record import record
from backend.auth.actors import BANK_ROLES, Actor
from backend.auth.authorise import authorise
from backend.auth.permissions import GRANTS, Permission
from backend.core.ids import StaffId, new_id
from backend.core.problems import Conflict, NotFound
from backend.staff.model import Invited, SecondPersonNeeded
from backend.staff.queries import visible_to
from backend.staff.tables import InvitationConfirmationRow, InvitationRow, LoginRow, StaffRoleRow, StaffRow

INVITATION_LIFE_S = 3 * 24 * 3600
_CONFIRMING = frozenset(role for role, granted in GRANTS.items() if Permission.STAFF_CONFIRM in granted)


def invite(session: Session, actor: Actor, staff_id: StaffId, now: datetime) -> Invited:
    """Make a one-time link for somebody who has no login yet; earlier unused ones stop working.

    Raises:
        Conflict: the person has a login; a lost one takes a reset and a second person.
    """
    authorise(actor, Permission.STAFF_MANAGE)
    visible_staff(session, actor, staff_id)
    if session.get(LoginRow, staff_id) is not None:
        raise Conflict(reason="has-login")
    return make_invitation(session, actor, staff_id, now)


def confirm(session: Session, actor: Actor, staff_id: StaffId, now: datetime) -> None:
    """Confirm as the second person that whoever is invited is whom they speak for. Confirming twice changes nothing.

    Raises:
        NotFound: nobody the actor sees, or no invitation that waits for a second person.
        SecondPersonNeeded: the actor made the invitation, or it is their own.
    """
    authorise(actor, Permission.STAFF_CONFIRM)
    person = visible_staff(session, actor, staff_id)
    row = session.scalars(
        select(InvitationConfirmationRow).join(InvitationRow, InvitationRow.id == InvitationConfirmationRow.invitation_id)
        .where(InvitationRow.staff_id == person.id, InvitationRow.used_at.is_(None), InvitationRow.expires_at > now)
        .order_by(InvitationRow.id.desc()).limit(1).with_for_update(of=InvitationConfirmationRow)
    ).one_or_none()
    if row is None:
        raise NotFound
    if actor.id in (row.invited_by, staff_id):
        raise SecondPersonNeeded(reason="invited-by-the-same-person")
    if row.confirmed_at is None:
        row.confirmed_by, row.confirmed_at = actor.id, now
        session.flush()
        record(session, actor, EventTag.INVITED, f"staff:{staff_id}", now, step="confirmed", invitation=row.invitation_id)


def make_invitation(session: Session, actor: Actor, staff_id: StaffId, now: datetime) -> Invited:
    """Write an invitation in place of earlier unused ones; part of a larger act."""
    session.execute(update(InvitationRow).where(InvitationRow.staff_id == staff_id, InvitationRow.used_at.is_(None)).values(used_at=now))
    token, expires_at = secrets.token_urlsafe(32), now + timedelta(seconds=INVITATION_LIFE_S)
    is_due = _is_confirmation_due(session, staff_id)
    invitation_id = new_id()
    session.add(InvitationRow(
        id=invitation_id, token_hash=token_digest(token), staff_id=staff_id, invited_by=actor.id, expires_at=expires_at, used_at=None))
    session.flush()
    if is_due:
        session.add(InvitationConfirmationRow(
            invitation_id=invitation_id, staff_id=staff_id, invited_by=actor.id, confirmed_by=None, confirmed_at=None))
    record(session, actor, EventTag.INVITED, f"staff:{staff_id}", now, is_confirmation_due=is_due)
    return Invited(token=token, staff_id=staff_id, expires_at=expires_at, is_confirmation_due=is_due)


def waits_for_second_person(session: Session, invitation_id: UUID) -> bool:
    """Tell whether nobody has confirmed an invitation that needs it."""
    row = session.get(InvitationConfirmationRow, invitation_id)
    return row is not None and row.confirmed_at is None


def visible_staff(session: Session, actor: Actor, staff_id: StaffId) -> StaffRow:
    """Return a person whom the actor sees. Raises `NotFound`."""
    row = session.execute(select(StaffRow).where(StaffRow.id == staff_id, visible_to(actor))).scalar_one_or_none()
    if row is None:
        raise NotFound
    return row


def token_digest(text: str) -> str:
    """Return under what a secret of a link or a session is kept."""
    return hashlib.sha256(text.encode()).hexdigest()


def _is_confirmation_due(session: Session, staff_id: StaffId) -> bool:
    roles = set(session.scalars(select(StaffRoleRow.role).where(StaffRoleRow.staff_id == staff_id)))
    if roles & BANK_ROLES:
        return True
    return bool(roles & _CONFIRMING) and session.scalar(
        select(LoginRow.staff_id).join(StaffRoleRow, StaffRoleRow.staff_id == LoginRow.staff_id)
        .where(StaffRoleRow.role.in_(_CONFIRMING - BANK_ROLES)).limit(1)
    ) is not None
