"""Phones: enrolment by code, second person, challenge and proof; states; proofs that pass once.

A phone speaks for one person under one key. Enrolling takes the person (or an operator) who asks, another who grants, and
the key itself, which signs a challenge. Grant and key may come in either order; the phone is active when both are there.
"""

import hashlib
import secrets
from base64 import b32encode
from collections.abc import Mapping
from datetime import datetime, timedelta
from uuid import UUID

import msgspec
from sqlalchemy import delete, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from backend.audit.events import EventTag
from backend.audit.record import record
from backend.auth.actors import Actor
from backend.auth.authorise import authorise
from backend.auth.permissions import Permission
from backend.core.ids import StaffId, new_id
from backend.core.problems import Conflict, InvalidInput, NotFound, Unauthenticated
from backend.staff.dpop import EnrolmentStatement, ProofRefused, Proven, check_enrolment
from backend.staff.model import DeviceEvent, DeviceLevel, DeviceState, EnrolmentCode, SecondPersonNeeded, advance_device
from backend.staff.queries import visible_to
from backend.staff.tables import DeviceChangeRow, DeviceEnrolmentRow, DeviceRow, ProofRow, StaffRow
from evidence.app_attest import judge_apple
from evidence.attestation import Attested, Roots, judge_android
from evidence.canonical import b64u_decode, b64u_encode
from evidence.errors import EvidenceError
from evidence.keys import PublicKey, key_from_jwk, thumbprint

CODE_LIFE_S = 24 * 3600
CHALLENGE_LIFE_S = 600
DEVICE_VALID_DAYS = 365


class Attestation(msgspec.Struct, frozen=True, kw_only=True):
    """What the platform gave for a new key: an Android chain (DER, leaf first), or an App Attest object; mostly nothing."""

    android: tuple[bytes, ...] = ()
    apple: bytes = b""


class Challenge(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What a new phone signs, once and within ten minutes."""

    challenge: str
    staff_id: StaffId
    expires_at: datetime


class Enrolment(msgspec.Struct, frozen=True, kw_only=True):
    """What a new phone brings: its code, its public key, the signed challenge, its model."""

    code: str
    jwk: Mapping[str, str]
    proof: str
    model: str
    attestation: Attestation = Attestation()


class Enrolled(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The phone's key id and state; `pending` until a second person grants it."""

    kid: str
    staff_id: StaffId
    state: DeviceState
    level: DeviceLevel
    valid_until: datetime


class EnrolmentView(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """An open enrolment as its granter sees it: compare `kid` with what the phone shows."""

    id: UUID
    staff_id: StaffId
    requested_by: StaffId
    requested_at: datetime
    expires_at: datetime
    is_approved: bool
    kid: str | None


class DeviceChange(msgspec.Struct, frozen=True, kw_only=True):
    """A change of a phone's state. `compromised_since`, only on revoking, may lie in the past."""

    kid: str
    event: DeviceEvent
    reason: str
    compromised_since: datetime | None = None


def ask_enrolment(session: Session, actor: Actor, staff_id: StaffId, now: datetime) -> EnrolmentCode:
    """Make a one-time code for a phone of `staff_id`: their own, or anybody's by who manages staff.

    Raises:
        NotFound: not somebody the actor sees, not active, or of a bank.
    """
    if actor.id != staff_id:
        authorise(actor, Permission.STAFF_MANAGE)
    person = session.execute(
        select(StaffRow).where(StaffRow.id == staff_id, StaffRow.is_active, StaffRow.bank_id.is_(None), visible_to(actor))
    ).scalar_one_or_none()
    if person is None:
        raise NotFound
    code, expires_at = b32encode(secrets.token_bytes(15)).decode(), now + timedelta(seconds=CODE_LIFE_S)
    row = DeviceEnrolmentRow(
        id=new_id(), code_hash=_digest(code), staff_id=staff_id, requested_by=actor.id, requested_at=now, expires_at=expires_at, approved_by=None,
        approved_at=None, challenge=None, challenge_expires_at=None, kid=None, used_at=None,
    )
    session.add(row)
    record(session, actor, EventTag.DEVICE_ENROLLED, f"staff:{staff_id}", now, step="asked", enrolment=row.id)
    return EnrolmentCode(id=row.id, code=code, staff_id=staff_id, expires_at=expires_at)


def grant_enrolment(session: Session, actor: Actor, enrolment_id: UUID, now: datetime) -> EnrolmentView:
    """Grant an enrolment; activates the phone that has already brought its key.

    Raises:
        NotFound: no such open enrolment of somebody the actor sees.
        SecondPersonNeeded: the actor asked for it, or gets the phone.
        Conflict: it is granted already, or the person still has another active phone.
    """
    authorise(actor, Permission.DEVICE_APPROVE)
    row = session.execute(
        select(DeviceEnrolmentRow).join(StaffRow, StaffRow.id == DeviceEnrolmentRow.staff_id)
        .where(DeviceEnrolmentRow.id == enrolment_id, DeviceEnrolmentRow.expires_at > now, visible_to(actor)).with_for_update(of=DeviceEnrolmentRow)
    ).scalar_one_or_none()
    if row is None:
        raise NotFound
    if actor.id in (row.staff_id, row.requested_by):
        raise SecondPersonNeeded(reason="asked-by-the-same-person")
    if row.approved_by is not None:
        raise Conflict(reason="already-granted")
    row.approved_by, row.approved_at = actor.id, now
    if row.kid is not None:
        change = DeviceChange(kid=row.kid, event=DeviceEvent.ACTIVATE, reason="enrolment granted")
        advance(session, actor, locked_device(session, row.kid), change, now)
    record(session, actor, EventTag.DEVICE_ENROLLED, f"staff:{row.staff_id}", now, step="granted", enrolment=row.id, device=row.kid)
    return _enrolment_view(row)


def give_challenge(session: Session, code: str, now: datetime) -> Challenge:
    """Give the phone that holds `code` a fresh challenge; an earlier one stops working. Raises `Unauthenticated`."""
    row = _open_enrolment(session, code, now)
    challenge, expires_at = b64u_encode(secrets.token_bytes(32)), now + timedelta(seconds=CHALLENGE_LIFE_S)
    row.challenge, row.challenge_expires_at = challenge, expires_at
    session.flush()
    return Challenge(challenge=challenge, staff_id=StaffId(row.staff_id), expires_at=expires_at)


def enrol(session: Session, enrolment: Enrolment, now: datetime, roots: Roots | None = None) -> Enrolled:
    """Store a phone that proves its key: active when the enrolment was granted, else pending. The code is used up.

    An attestation is graded against the pinned `roots`, never demanded: absence is neutral, a broken one has a reason in the audit.

    Raises:
        Unauthenticated: the code or challenge is unknown, used or expired, or the proof is not by this key over this challenge.
        InvalidInput: the key is not a public P-256 JWK of four members.
        Conflict: the key is enrolled already, or the person still has another active phone.
    """
    row = _open_enrolment(session, enrolment.code, now)
    if row.challenge is None or row.challenge_expires_at is None or now >= row.challenge_expires_at:
        raise Unauthenticated
    try:
        key = key_from_jwk(enrolment.jwk)
    except EvidenceError as error:
        raise InvalidInput(pointer="/jwk", expected="a public P-256 JWK of kty, crv, x and y", got=error.problem) from error
    try:
        check_enrolment(enrolment.proof, key, EnrolmentStatement(challenge=row.challenge, staff=str(row.staff_id)))
    except ProofRefused as refused:
        raise Unauthenticated from refused
    kid = thumbprint(key)
    if session.get(DeviceRow, kid) is not None:
        raise Conflict(reason="key-enrolled-already")
    attested = attested_level(enrolment.attestation, key, row.challenge, roots or Roots(), now)
    device = DeviceRow(
        kid=kid, staff_id=row.staff_id, public_jwk=dict(enrolment.jwk), model=enrolment.model, level=DeviceLevel(attested.level),
        state=DeviceState.PENDING, enrolled_at=now, valid_until=now + timedelta(days=DEVICE_VALID_DAYS), revoked_at=None, compromised_since=None,
    )
    session.add(device)
    session.flush()
    row.kid, row.used_at, row.challenge, row.challenge_expires_at = kid, now, None, None
    if row.approved_by is not None:
        advance(session, None, device, DeviceChange(kid=kid, event=DeviceEvent.ACTIVATE, reason="enrolment granted before"), now)
    subject = f"staff:{row.staff_id}"
    record(session, None, EventTag.DEVICE_ENROLLED, subject, now, step="proven", enrolment=row.id, device=kid, state=device.state.value,
           level=attested.level, attestation=attested.reason)
    return Enrolled(kid=kid, staff_id=StaffId(row.staff_id), state=device.state, level=device.level, valid_until=device.valid_until)


def attested_level(attestation: Attestation, key: PublicKey, challenge: str, roots: Roots, now: datetime) -> Attested:
    """Grade what the platform gave for a key under a challenge; nothing is neutral.

    An Android chain is for the key itself; App Attest's client data are challenge and thumbprint, with a dot between.
    """
    if attestation.android and attestation.apple:
        return Attested(level="unattested", reason="two-platforms")
    if attestation.apple:
        return judge_apple(attestation.apple, f"{challenge}.{thumbprint(key)}".encode(), roots, now)
    if attestation.android:
        return judge_android(attestation.android, key, b64u_decode(challenge), roots, now)
    return Attested(level="unattested", reason="none-given")


def change_device(session: Session, actor: Actor, change: DeviceChange, now: datetime) -> DeviceState:
    """Suspend, resume or revoke a phone. Its own person may suspend it (lost phone); all else takes who approves phones.

    Raises:
        NotFound: no phone of somebody the actor sees.
        IllegalTransition: the state does not allow it. A phone is activated by `grant_enrolment` alone.
        Conflict: another phone of the person is active.
    """
    device = session.execute(
        select(DeviceRow).join(StaffRow, StaffRow.id == DeviceRow.staff_id).where(DeviceRow.kid == change.kid, visible_to(actor))
        .with_for_update(of=DeviceRow)
    ).scalar_one_or_none()
    is_own_suspension = device is not None and change.event is DeviceEvent.SUSPEND and device.staff_id == actor.id
    if not is_own_suspension:
        authorise(actor, Permission.DEVICE_APPROVE)
    if device is None:
        raise NotFound
    if device.staff_id == actor.id and not is_own_suspension:
        raise SecondPersonNeeded(reason="own-phone")
    if change.event is DeviceEvent.ACTIVATE:
        raise InvalidInput(pointer="/event", expected="suspend, resume or revoke", got=change.event.value)
    before = device.state
    after = advance(session, actor, device, change, now)
    record(session, actor, EventTag.DEVICE_STATE_CHANGED, f"staff:{device.staff_id}", now, device=device.kid, before=before.value, after=after.value)
    return after


def open_enrolments(session: Session, actor: Actor, now: datetime) -> tuple[EnrolmentView, ...]:
    """Return the enrolments that wait for a grant, of people the actor sees, oldest first; at most 200."""
    rows = session.scalars(
        select(DeviceEnrolmentRow).join(StaffRow, StaffRow.id == DeviceEnrolmentRow.staff_id)
        .where(DeviceEnrolmentRow.approved_at.is_(None), DeviceEnrolmentRow.expires_at > now, visible_to(actor))
        .order_by(DeviceEnrolmentRow.id).limit(200)
    )
    return tuple(_enrolment_view(row) for row in rows)


def use_proof(session: Session, proven: Proven) -> bool:
    """Remember a proof and tell whether it was new; in a short transaction of its own, before anything else is looked at."""
    insert = postgresql.insert if session.get_bind().dialect.name == "postgresql" else sqlite.insert
    remembered = insert(ProofRow).values(digest=proven.replay_digest, expires_at=proven.expires_at).on_conflict_do_nothing(index_elements=["digest"])
    return session.execute(remembered.returning(ProofRow.digest)).scalar_one_or_none() is not None


def forget_proofs(session: Session, now: datetime) -> None:
    """Forget the proofs that could not pass any more."""
    session.execute(delete(ProofRow).where(ProofRow.expires_at < now))


def advance(session: Session, actor: Actor | None, device: DeviceRow, change: DeviceChange, now: datetime) -> DeviceState:
    """Let an event happen to a phone, locked by the caller, and note it. Raises IllegalTransition, Conflict."""
    before, after = device.state, advance_device(device.state, change.event)
    if after is DeviceState.ACTIVE:
        other = select(DeviceRow.kid).where(DeviceRow.staff_id == device.staff_id, DeviceRow.state == DeviceState.ACTIVE, DeviceRow.kid != device.kid)
        if session.execute(other).first() is not None:
            raise Conflict(reason="another-phone-is-active")
    device.state = after
    if after is DeviceState.REVOKED:
        device.revoked_at, device.compromised_since = now, change.compromised_since
    session.add(DeviceChangeRow(
        id=new_id(), kid=device.kid, at=now, by=actor.id if actor else None, from_state=before, to_state=after, reason=change.reason,
    ))
    session.flush()
    return after


def locked_device(session: Session, kid: str) -> DeviceRow:
    """Return an enrolled phone, locked and as it stands now."""
    return session.execute(
        select(DeviceRow).where(DeviceRow.kid == kid).with_for_update().execution_options(populate_existing=True)).scalar_one()


def _open_enrolment(session: Session, code: str, now: datetime) -> DeviceEnrolmentRow:
    row = session.execute(
        select(DeviceEnrolmentRow).join(StaffRow, StaffRow.id == DeviceEnrolmentRow.staff_id)
        .where(DeviceEnrolmentRow.code_hash == _digest(code), DeviceEnrolmentRow.used_at.is_(None))
        .where(DeviceEnrolmentRow.expires_at > now, StaffRow.is_active)
        .with_for_update(of=DeviceEnrolmentRow)
    ).scalar_one_or_none()
    if row is None:
        raise Unauthenticated
    return row


def _enrolment_view(row: DeviceEnrolmentRow) -> EnrolmentView:
    return EnrolmentView(
        id=row.id, staff_id=StaffId(row.staff_id), requested_by=StaffId(row.requested_by), requested_at=row.requested_at, expires_at=row.expires_at,
        is_approved=row.approved_by is not None, kid=row.kid,
    )


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
