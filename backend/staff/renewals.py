"""Renewing a phone's key: asked for by the phone that holds the old one, granted by a second person, signed by both keys.

The old key must be in force at each step: a phone that is lost, suspended, revoked or past its year cannot renew, it is enrolled anew.
With the last step the old key ends and the new one begins, in one transaction. The new key's chain begins at 1; the old one's last link
is part of what both keys signed, so that nothing can be appended to a chain that has ended.
"""

import secrets
from datetime import datetime, timedelta
from uuid import UUID

import msgspec
from sqlalchemy import select
from sqlalchemy.orm import Session

from backend.audit.events import EventTag
from backend.audit.record import record
from backend.auth.actors import Actor
from backend.auth.authorise import authorise
from backend.auth.permissions import Permission
from backend.core.ids import StaffId, new_id
from backend.core.problems import Conflict, InvalidInput, NotFound, Unauthenticated
from backend.staff.devices import CHALLENGE_LIFE_S, DEVICE_VALID_DAYS, Attestation, DeviceChange, Enrolled, advance, attested_level, locked_device
from backend.staff.dpop import EnrolmentStatement, ProofRefused, check_enrolment, check_renewal
from backend.staff.model import DeviceEvent, DeviceLevel, DeviceState, SecondPersonNeeded
from backend.staff.queries import visible_to
from backend.staff.tables import DeviceRenewalRow, DeviceRow, StaffRow
from evidence.attestation import Roots
from evidence.canonical import b64u_encode
from evidence.errors import EvidenceError
from evidence.keys import key_from_jwk, thumbprint

RENEWAL_LIFE_S = 7 * 24 * 3600


class RenewalView(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A renewal that is asked for: whose phone, and whether a second person has granted it."""

    id: UUID
    kid: str
    staff_id: StaffId
    asked_at: datetime
    expires_at: datetime
    is_approved: bool


class RenewalOffer(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What a phone learns when it asks: the open renewal and, once granted, a challenge for both keys, once and for ten minutes."""

    renewal: RenewalView
    challenge: str | None
    challenge_expires_at: datetime | None


class NewKey(msgspec.Struct, frozen=True, kw_only=True):
    """What a phone brings: its new key, the enrolment proof by it, the consent by the old key."""

    jwk: dict[str, str]
    proof: str
    consent: str
    model: str
    attestation: Attestation = Attestation()


def ask(session: Session, actor: Actor, now: datetime) -> RenewalOffer:
    """Ask to renew the key of the phone that speaks, or look how far that is; each granted answer makes earlier challenges useless."""
    device = _own_device(session, actor, now)
    row = _open(session, device.kid, now)
    if row is None:
        row = DeviceRenewalRow(
            id=new_id(), old_kid=device.kid, staff_id=device.staff_id, asked_at=now, expires_at=now + timedelta(seconds=RENEWAL_LIFE_S),
            approved_by=None, approved_at=None, challenge=None, challenge_expires_at=None, new_kid=None, last_seq=None, last_digest=None,
            consent=None, used_at=None)
        session.add(row)
        session.flush()
        record(session, actor, EventTag.DEVICE_RENEWED, f"staff:{device.staff_id}", now, step="asked", renewal=row.id, device=device.kid)
    if row.approved_at is not None:
        row.challenge, row.challenge_expires_at = b64u_encode(secrets.token_bytes(32)), now + timedelta(seconds=CHALLENGE_LIFE_S)
        session.flush()
    return RenewalOffer(renewal=_view(row), challenge=row.challenge, challenge_expires_at=row.challenge_expires_at)


def waiting(session: Session, actor: Actor, now: datetime) -> tuple[RenewalView, ...]:
    """Return the renewals that wait for a second person, of people the actor sees, oldest first; at most 200."""
    rows = session.scalars(
        select(DeviceRenewalRow).join(StaffRow, StaffRow.id == DeviceRenewalRow.staff_id)
        .where(DeviceRenewalRow.approved_at.is_(None), DeviceRenewalRow.expires_at > now, visible_to(actor)).order_by(DeviceRenewalRow.id).limit(200))
    return tuple(_view(row) for row in rows)


def grant(session: Session, actor: Actor, renewal_id: UUID, now: datetime) -> RenewalView:
    """Grant a renewal. Who does it has seen the phone in its owner's hands.

    Raises:
        NotFound: no open renewal of somebody the actor sees. SecondPersonNeeded: their own phone.
        Conflict: granted before, or the phone is not active any more.
    """
    authorise(actor, Permission.DEVICE_APPROVE)
    row = session.execute(
        select(DeviceRenewalRow).join(StaffRow, StaffRow.id == DeviceRenewalRow.staff_id)
        .where(DeviceRenewalRow.id == renewal_id, DeviceRenewalRow.expires_at > now, visible_to(actor)).with_for_update(of=DeviceRenewalRow)
    ).scalar_one_or_none()
    if row is None:
        raise NotFound
    if actor.id == row.staff_id:
        raise SecondPersonNeeded(reason="own-phone")
    if row.approved_by is not None:
        raise Conflict(reason="already-granted")
    if locked_device(session, row.old_kid).state is not DeviceState.ACTIVE:
        raise Conflict(reason="phone-not-active")
    row.approved_by, row.approved_at = actor.id, now
    session.flush()
    record(session, actor, EventTag.DEVICE_RENEWED, f"staff:{row.staff_id}", now, step="granted", renewal=row.id, device=row.old_kid)
    return _view(row)


def complete(session: Session, actor: Actor, new: NewKey, now: datetime, roots: Roots | None = None) -> Enrolled:
    """End the old key and begin the new one. The challenge is used up; the same again finds no open renewal.

    Raises:
        Conflict: no granted renewal is open, or the new key was enrolled before.
        Unauthenticated: the challenge is over, or one of the two signatures is not over this challenge, person and pair of keys.
        InvalidInput: the key is not a public P-256 JWK of four members.
    """
    old = _own_device(session, actor, now)
    row = _open(session, old.kid, now)
    if row is None or row.approved_at is None:
        raise Conflict(reason="renewal-not-granted")
    if row.challenge is None or row.challenge_expires_at is None or now >= row.challenge_expires_at:
        raise Unauthenticated
    try:
        key = key_from_jwk(new.jwk)
    except EvidenceError as error:
        raise InvalidInput(pointer="/jwk", expected="a public P-256 JWK of kty, crv, x and y", got=error.problem) from error
    kid, expected = thumbprint(key), EnrolmentStatement(challenge=row.challenge, staff=str(row.staff_id))
    try:
        check_enrolment(new.proof, key, expected)
        consent = check_renewal(new.consent, key_from_jwk(old.public_jwk))
    except ProofRefused as refused:
        raise Unauthenticated from refused
    if (consent.challenge, consent.staff, consent.old, consent.new) != (expected.challenge, expected.staff, old.kid, kid):
        raise Unauthenticated
    if session.get(DeviceRow, kid) is not None:
        raise Conflict(reason="key-enrolled-already")
    attested = attested_level(new.attestation, key, row.challenge, roots or Roots(), now)
    device = DeviceRow(
        kid=kid, staff_id=old.staff_id, public_jwk=dict(new.jwk), model=new.model, level=DeviceLevel(attested.level), state=DeviceState.PENDING,
        enrolled_at=now, valid_until=now + timedelta(days=DEVICE_VALID_DAYS), revoked_at=None, compromised_since=None)
    session.add(device)
    session.flush()
    # The old key ends first: one person has one active phone, which the database holds too.
    advance(session, actor, old, DeviceChange(kid=old.kid, event=DeviceEvent.REVOKE, reason="renewed"), now)
    advance(session, actor, device, DeviceChange(kid=kid, event=DeviceEvent.ACTIVATE, reason="renewal granted before"), now)
    assert (old.state, device.state) == (DeviceState.REVOKED, DeviceState.ACTIVE)
    row.new_kid, row.used_at, row.challenge, row.challenge_expires_at = kid, now, None, None
    row.consent, row.last_seq, row.last_digest = new.consent, consent.last_seq, consent.last_digest
    session.flush()
    record(session, actor, EventTag.DEVICE_RENEWED, f"staff:{old.staff_id}", now, step="proven", renewal=row.id, device=kid, before=old.kid,
           level=attested.level, attestation=attested.reason, last_seq=consent.last_seq)
    return Enrolled(kid=kid, staff_id=StaffId(old.staff_id), state=device.state, level=device.level, valid_until=device.valid_until)


def _own_device(session: Session, actor: Actor, now: datetime) -> DeviceRow:
    """Return the speaking phone, locked; whatever happened since it signed in counts."""
    assert actor.device is not None, "phones speak through a device"
    device = locked_device(session, actor.device)
    if device.state is not DeviceState.ACTIVE or now >= device.valid_until or device.staff_id != actor.id:
        raise Conflict(reason="phone-not-active")
    return device


def _open(session: Session, kid: str, now: datetime) -> DeviceRenewalRow | None:
    return session.scalars(
        select(DeviceRenewalRow).where(DeviceRenewalRow.old_kid == kid, DeviceRenewalRow.used_at.is_(None), DeviceRenewalRow.expires_at > now)
        .order_by(DeviceRenewalRow.id.desc()).limit(1).with_for_update()).one_or_none()


def _view(row: DeviceRenewalRow) -> RenewalView:
    return RenewalView(
        id=row.id, kid=row.old_kid, staff_id=StaffId(row.staff_id), asked_at=row.asked_at, expires_at=row.expires_at,
        is_approved=row.approved_at is not None)
