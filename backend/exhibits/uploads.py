"""Uploads of declared files: leave, creation, pieces, completion. What was acknowledged is what the store made durable.

Rows tell which upload is for which item; how far it has come is asked of the stored bytes alone, so any process goes on
where any other was killed. No transaction is open while bytes flow.
"""

import secrets
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from uuid import UUID

import msgspec
from sqlalchemy import Select, bindparam, func, select, tuple_
from sqlalchemy.orm import Session

from backend.audit.events import EventTag
from backend.audit.record import record
from backend.auth.actors import Actor, Role
from backend.core.ids import StaffId, new_id
from backend.core.problems import NotFound, Unauthenticated
from backend.db.base import Instant, Uuid
from backend.exhibits.findings import items_waiting
from backend.exhibits.items import token_hash
from backend.exhibits.model import ENDED, ItemEvent, ItemState, UploadEvent, UploadState, UploadTicket, advance_item, advance_upload
from backend.exhibits.refusals import ItemNotDeclared, UploadGone, refusing
from backend.exhibits.tables import ItemRow, ManifestRow, UploadRow, UploadTokenRow
from backend.keys.keyring import Keyring
from backend.keys.sealing import sealer
from backend.keys.tables import CaseKeyRow
from backend.staff.model import DeviceState
from backend.staff.tables import DeviceRow
from evidence.manifest import decode_manifest
from evidence.sealing import new_key
from evidence.uploads import Creation, UploadLimits, Usage, demand_quota, expiry, judge_creation
from evidence.uploads import demand_day as judge_day

LIMITS = UploadLimits()
TOKEN_HOURS = 24
PARTS = "uploads"
"""The store's folder of unfinished uploads."""
_DAY = timedelta(days=1)
# Made once: building these for each piece costs more than asking them.
_OF_PIECE = (
    select(UploadTokenRow, DeviceRow, UploadRow, ItemRow, CaseKeyRow)
    .join(DeviceRow, DeviceRow.kid == UploadTokenRow.device).join(UploadRow, UploadRow.id == bindparam("upload_id", type_=Uuid))
    .join(ItemRow, ItemRow.id == UploadRow.item_key).outerjoin(CaseKeyRow, CaseKeyRow.subject_id == ItemRow.seal_subject)
    .where(UploadTokenRow.token_hash == bindparam("token_hash"))
)
_SENT_BEFORE = select(func.coalesce(func.sum(UploadRow.length), 0)).where(
    UploadRow.device == bindparam("device"), UploadRow.created_at > bindparam("since", type_=Instant), UploadRow.state != UploadState.GONE,
    tuple_(UploadRow.created_at, UploadRow.id) < tuple_(bindparam("created_at", type_=Instant), bindparam("upload_id", type_=Uuid)))


class Leave(msgspec.Struct, frozen=True, kw_only=True):
    """What an upload token permits: one device, one item."""

    actor: Actor
    device: str
    item_key: UUID


class Transfer(msgspec.Struct, frozen=True, kw_only=True):
    """One upload as its bytes are moved: names in the store, the key of this item, what it must become."""

    id: UUID
    item_key: UUID
    manifest_id: UUID
    length: int
    sha256: str
    expires_at: datetime
    state: UploadState
    key: bytes

    @property
    def part(self) -> str:
        """The name under which the bytes grow."""
        return part_of(self.id)

    @property
    def blob(self) -> str:
        """The address at which they rest: of their content, and of the upload, since each upload has its own key."""
        return f"items/{self.sha256[:2]}/{self.sha256}/{self.id.hex}"


class Completed(msgspec.Struct, frozen=True, kw_only=True):
    """What a finished upload led to."""

    manifest_id: UUID
    is_statement_whole: bool         # Signed by all and no file is missing: the receipt is due.
    is_blob_surplus: bool            # Another upload of the same item was faster; this blob is to be deleted.


def part_of(upload_id: UUID) -> str:
    """Return the name under which an upload's bytes grow."""
    return f"{PARTS}/{upload_id.hex}"


def read_leave(session: Session, token: str, now: datetime) -> Leave:
    """Return what a token permits.

    Raises:
        Unauthenticated: no such token, expired, or its device was revoked.
    """
    row = session.get(UploadTokenRow, token_hash(token)) if token else None
    if row is None or now >= row.expires_at:
        raise Unauthenticated(reason="the upload token is unknown or expired")
    device = session.get_one(DeviceRow, row.device)
    if device.state not in (DeviceState.ACTIVE, DeviceState.SUSPENDED):
        raise Unauthenticated(reason="the device of this token is not in use")
    # A suspended phone still hands in what it holds: evidence is not lost to a suspicion.
    actor = Actor(id=StaffId(device.staff_id), roles=frozenset({Role.FIELD_COLLECTOR}), device=row.device)
    return Leave(actor=actor, device=row.device, item_key=row.item_key)


def issue_tickets(session: Session, keyring: Keyring, manifest_id: UUID, device: str, now: datetime) -> tuple[UploadTicket, ...]:
    """Give one device leave to send what is still needed: an upload for each item, begun ones first, and a token good for a day.

    Quotas do not bind here, since a statement is never refused for what it declares; of kinds of file that are not taken
    there is no upload.
    """
    tickets = []
    expires_at = now + timedelta(hours=TOKEN_HOURS)
    needed = select(ItemRow).where(ItemRow.manifest_id == manifest_id, ItemRow.state == ItemState.NEEDED).order_by(ItemRow.id)
    for item in session.scalars(needed).all():
        if item.media_type not in LIMITS.media_types or item.size > LIMITS.bytes_max(item.media_type):
            continue
        row = session.scalars(_open_uploads(item.id, now).limit(1)).one_or_none() or _open(session, keyring, item, device, now)
        token = secrets.token_urlsafe(32)
        session.add(UploadTokenRow(token_hash=token_hash(token), item_key=item.id, device=device, issued_at=now, expires_at=expires_at))
        tickets.append(UploadTicket(item_id=item.item_id, upload_id=row.id, token=token, expires_at=expires_at))
    session.flush()
    return tuple(tickets)


def create(
    session: Session, leave: Leave, creation: Creation, keyring: Keyring, now: datetime, is_untouched: Callable[[Transfer], bool],
    limits: UploadLimits = LIMITS,
) -> Transfer:
    """Open an upload for the item of the token; for a stored item return the upload that brought it, all of it acknowledged.

    An upload of the item that the device was offered, or created and never heard of, and that nothing was sent to, is the new one: a lost
    answer leaves no second behind, and the many that a day without a line was offered do not stand in their own way.

    Raises:
        ItemNotDeclared, SizeMismatch, UnsupportedMediaType, TooLarge: see `evidence.uploads.judge_creation`.
        QuotaExceeded: see `evidence.uploads.demand_quota`.
        UploadGone: the item is stored already and needs no upload.
    """
    item = _locked_item(session, leave.item_key)
    manifest_row = session.get_one(ManifestRow, item.manifest_id)
    named = {"manifest_id": str(manifest_row.id), "item_id": item.item_id}
    if any(creation.metadata.get(name, text) != text for name, text in named.items()):
        raise ItemNotDeclared(reason="the token is for another item", expected=named)
    declared = next((one for one in decode_manifest(manifest_row.payload).items if one.item_id == item.item_id), None)
    with refusing():
        judge_creation(creation, declared, limits)
    if item.state is ItemState.STORED:
        finished = select(UploadRow).where(UploadRow.item_key == item.id, UploadRow.state == UploadState.FINISHED)
        known = session.scalars(finished.order_by(UploadRow.id).limit(1)).one_or_none()
        if known is None:
            raise UploadGone(reason="the item is stored already")
        return _transfer(session, known, item, keyring)
    for begun in session.scalars(_open_uploads(item.id, now).where(UploadRow.device == leave.device)):
        offered = _transfer(session, begun, item, keyring)
        if is_untouched(offered):
            demand_day(session, offered, limits, now)
            return offered
    with refusing():
        demand_quota(_usage(session, leave.device, now), creation.length, limits)
    row = _open(session, keyring, item, leave.device, now)
    record(session, leave.actor, EventTag.UPLOAD_CREATED, f"manifest:{item.manifest_id}", now, item=item.id, upload=row.id, device=leave.device)
    return _transfer(session, row, item, keyring)


def transfer_of(session: Session, leave: Leave, upload_id: UUID, keyring: Keyring) -> Transfer:
    """Return an upload of the token's item.

    Raises:
        NotFound: there is none, or it is of another item.
        UploadGone: it was terminated or expired.
    """
    row = session.get(UploadRow, upload_id)
    if row is None or row.item_key != leave.item_key:
        raise NotFound
    if row.state is UploadState.GONE:
        raise UploadGone(reason="terminated or expired")
    return _transfer(session, row, session.get_one(ItemRow, row.item_key), keyring)


def granted(session: Session, token: str, upload_id: UUID, keyring: Keyring, now: datetime) -> tuple[Leave, Transfer]:
    """Return what a token permits and an upload of its item, asked for in one statement. Raises as `read_leave` and `transfer_of`."""
    known = session.execute(_OF_PIECE, {"token_hash": token_hash(token), "upload_id": upload_id}).all()   # Held: the two find these rows at hand.
    leave = read_leave(session, token, now)
    transfer = transfer_of(session, leave, upload_id, keyring)
    del known
    return leave, transfer


def demand_day(session: Session, transfer: Transfer, limits: UploadLimits, now: datetime) -> None:
    """Refuse the bytes of an upload that others of its device, opened before it and within a day, leave no room for (F24: only for now).

    Uploads offered for a signed statement count like those that a client created; the statement itself is never refused.

    Raises:
        QuotaExceeded: the device's day is full.
    """
    row = session.get_one(UploadRow, transfer.id)
    if row.created_at <= now - _DAY:
        return
    sent = session.scalar(_SENT_BEFORE, {
        "device": row.device, "since": now - _DAY, "created_at": row.created_at, "upload_id": row.id})
    with refusing():
        judge_day(Usage(open_uploads=0, open_bytes=0, day_bytes=int(sent or 0)), row.length, limits)


def complete(session: Session, actor: Actor, transfer: Transfer, now: datetime) -> Completed:
    """Record that the bytes of an item rest in the store, whole and with the signed digest. Twice is fine."""
    item = _locked_item(session, transfer.item_key)
    row = session.get_one(UploadRow, transfer.id)
    is_surplus = item.state is ItemState.STORED and item.blob_key != transfer.blob
    if row.state is UploadState.OPEN:
        row.state = advance_upload(row.state, UploadEvent.LEAVE if is_surplus else UploadEvent.FINISH)
    if item.state is ItemState.NEEDED:
        item.state = advance_item(item.state, ItemEvent.STORE)
        item.blob_key, item.wrapped_key, item.stored_at = transfer.blob, row.wrapped_key, now
        session.flush()
        record(session, actor, EventTag.UPLOAD_FINISHED, f"manifest:{item.manifest_id}", now, item=item.id, upload=row.id, sha256=item.sha256)
    session.flush()
    manifest = session.get_one(ManifestRow, item.manifest_id)
    is_whole = manifest.state in ENDED and not items_waiting(session, manifest.id)
    return Completed(manifest_id=manifest.id, is_statement_whole=is_whole, is_blob_surplus=is_surplus)


def terminate(session: Session, transfer: Transfer) -> None:
    """Give an unfinished upload up. Raises `UploadGone` when it is finished: evidence is not taken back."""
    row = session.execute(select(UploadRow).where(UploadRow.id == transfer.id).with_for_update()).scalar_one()
    if row.state is not UploadState.OPEN:
        raise UploadGone(reason="finished or terminated")
    row.state = advance_upload(row.state, UploadEvent.LEAVE)
    session.flush()


def expired(session: Session, now: datetime, limit: int = 200) -> list[UUID]:
    """Return open uploads whose time is over, for the sweep."""
    query = select(UploadRow.id).where(UploadRow.state == UploadState.OPEN, UploadRow.expires_at <= now).order_by(UploadRow.expires_at).limit(limit)
    return list(session.scalars(query))


def ended(session: Session, upload_ids: Sequence[UUID]) -> list[UUID]:
    """Return those of some uploads that are over or never were: a crash came before their bytes went."""
    kept = set(session.scalars(select(UploadRow.id).where(UploadRow.id.in_(upload_ids), UploadRow.state == UploadState.OPEN)))
    return [one for one in upload_ids if one not in kept]


def leave_expired(session: Session, upload_id: UUID, now: datetime) -> bool:
    """Mark an expired upload as gone; False while its time is not over, and its bytes are to be kept."""
    row = session.execute(select(UploadRow).where(UploadRow.id == upload_id).with_for_update()).scalar_one_or_none()
    if row is None or row.state is not UploadState.OPEN:
        return True
    if now < row.expires_at:
        return False
    row.state = advance_upload(row.state, UploadEvent.LEAVE)
    session.flush()
    return True


def _open_uploads(item_key: UUID, now: datetime) -> Select[UploadRow]:
    """Select the uploads of an item that may still be sent to, the first one first."""
    begun = select(UploadRow).where(UploadRow.item_key == item_key, UploadRow.state == UploadState.OPEN, UploadRow.expires_at > now)
    return begun.order_by(UploadRow.id)


def _open(session: Session, keyring: Keyring, item: ItemRow, device: str, now: datetime) -> UploadRow:
    row = UploadRow(
        id=new_id(), item_key=item.id, device=device, length=item.size, state=UploadState.OPEN,
        wrapped_key=sealer(session, keyring, item.seal_subject).wrap_item_key(new_key(), item.sha256),
        created_at=now, expires_at=expiry(now, LIMITS),
    )
    session.add(row)
    session.flush()
    return row


def _transfer(session: Session, row: UploadRow, item: ItemRow, keyring: Keyring) -> Transfer:
    key = sealer(session, keyring, item.seal_subject).unwrap_item_key(row.wrapped_key, item.sha256)
    return Transfer(
        id=row.id, item_key=item.id, manifest_id=item.manifest_id, length=row.length, sha256=item.sha256, expires_at=row.expires_at, state=row.state,
        key=key,
    )


def _locked_item(session: Session, item_key: UUID) -> ItemRow:
    query = select(ItemRow).where(ItemRow.id == item_key).with_for_update().execution_options(populate_existing=True)
    return session.execute(query).scalar_one()


def _usage(session: Session, device: str, now: datetime) -> Usage:
    day = session.scalar(
        select(func.coalesce(func.sum(UploadRow.length), 0))
        .where(UploadRow.device == device, UploadRow.created_at > now - _DAY, UploadRow.state != UploadState.GONE))
    count, length = session.execute(
        select(func.count(), func.coalesce(func.sum(UploadRow.length), 0))
        .where(UploadRow.device == device, UploadRow.state == UploadState.OPEN, UploadRow.expires_at > now)
    ).one()
    return Usage(open_uploads=count, open_bytes=int(length), day_bytes=int(day or 0))
