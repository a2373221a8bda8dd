"""Bringing recordings off registered recorders and body cameras in at the desk, proving their clocks, binding them to visit and pair.

The person at the desk imports, the server signs who brought in what, and each of the pair accepts it by a signed statement of their
own phone that names its digest. From then on it is an item like any other. Nothing of it ever rests in the clear.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta
from uuid import UUID

import msgspec
from sqlalchemy import select
from sqlalchemy.orm import Session

from backend.audit import log
from backend.audit.events import EventTag
from backend.audit.record import record
from backend.auth.actors import Actor
from backend.auth.authorise import authorise
from backend.auth.permissions import Permission
from backend.core.ids import StaffId, new_id
from backend.core.problems import Forbidden, InvalidInput, NotFound
from backend.exhibits.beacons import issued_at
from backend.exhibits.exports import Place, Transaction
from backend.exhibits.model import VisitFacts
from backend.exhibits.recording_model import (
    PICTURE_S_MAX,
    ClockProof,
    NewRecording,
    RecordingView,
    SeenMark,
    camera_time,
    offset_of,
)
from backend.exhibits.recording_tables import RecordingRow
from backend.exhibits.refusals import RecordingOfAnotherVisit
from backend.exhibits.rules import Told, bound_claim
from backend.exhibits.spans import offset_known
from backend.exhibits.spool import Spool
from backend.exhibits.tables import ItemRow, ManifestRow
from backend.exhibits.uploads import LIMITS
from backend.keys.keyring import Keyring
from backend.keys.model import KeyPurpose
from backend.keys.sealing import sealer
from backend.staff.model import EquipmentKind
from backend.staff.tables import DeviceRow, EquipmentAssignmentRow, EquipmentRow
from evidence.canonical import JsonObject, canonicalise
from evidence.errors import EvidenceError
from evidence.examination import Examination
from evidence.keys import key_from_jwk
from evidence.manifest import Role
from evidence.pack import TYP_RECORDING, Measured
from evidence.policy import DEFAULT, ContentPolicy
from evidence.sealing import SealContext, Sealer, new_key
from evidence.time_mark import peek_kid, verify_mark
from evidence.times import format_utc, parse_utc

CLOCK_PICTURES = frozenset({"image/jpeg", "image/heic", "image/png"})
MEDIA_TYPES = frozenset(one for one in LIMITS.media_types if not one.startswith("image/")) | CLOCK_PICTURES
POLICY: ContentPolicy = msgspec.structs.replace(DEFAULT, marks_s_max=180, audio_bytes_max=DEFAULT.video_bytes_max)
"""Films are searched for time marks in their first three minutes; a recorder writes a whole visit as one piece of sound."""
UNFINISHED_MAX = 500
_ROLES = {"audio": Role.AUDIO, "video": Role.VIDEO, "image": Role.PHOTO}


class Incoming(msgspec.Struct, frozen=True, kw_only=True):
    """A recording on its way in: what was asked for, of which visit, and where it goes."""

    wanted: NewRecording
    visit: VisitFacts
    place: Place


def bring_in(begin: Transaction, actor: Actor, keyring: Keyring, incoming: Incoming, chunks: Iterable[bytes], now: datetime) -> RecordingView:
    """Take one file in: measured and sealed while it streams, stored under the visit's case, logged with who brought it.

    Raises:
        Forbidden: the actor may not, or is one of the visit's pair.
        NotFound: no such recorder of the actor's branches.
        InvalidInput: a kind of file that is not taken, or not what this recorder makes.
        RecordingOfAnotherVisit: the same file stands under another visit; joint recordings are cut first (F22).
    """
    with begin() as session:
        demand_leave(session, actor, incoming)
    with Spool(incoming.place.spool_folder) as spool:
        measured = spool.keep(chunks)
        if not measured.size:
            raise InvalidInput(pointer="/body", expected="the bytes of a recording", got="none")
        with begin() as session:
            known = _known(session, measured, incoming.visit)
            if known is not None:
                return view(session, known)
        recording_id, key = new_id(), new_key()
        blob = f"items/{measured.sha256[:2]}/{measured.sha256}/{recording_id.hex}"
        incoming.place.store.put(blob, _sealed(measured, key, SealContext(tenant=incoming.place.tenant, item_sha256=measured.sha256)))
        try:
            with begin() as session:
                known = _known(session, measured, incoming.visit)
                if known is None:
                    return view(session, _enter(session, actor, keyring, (incoming, measured), (recording_id, blob, key), now))
        except BaseException:
            incoming.place.store.delete(blob)
            raise
        incoming.place.store.delete(blob)                  # Somebody else was faster with the same file.
        with begin() as session:
            return view(session, session.get_one(RecordingRow, known.id))


def demand_leave(session: Session, actor: Actor, incoming: Incoming) -> None:
    """Demand that the actor may bring this in, before a byte is read. Raises as `bring_in`."""
    authorise(actor, Permission.RECORDING_IMPORT)
    if actor.id in incoming.visit.pair:
        raise Forbidden(reason="another person brings the pair's recordings in")
    equipment = session.get(EquipmentRow, incoming.wanted.equipment_id)
    if equipment is None or not (actor.sees_every_branch or equipment.branch_id in actor.branches):
        raise NotFound
    family = incoming.wanted.media_type.partition("/")[0]
    fits = {EquipmentKind.AUDIO: {"audio"}, EquipmentKind.CAMERA: {"audio", "video", "image"}}[equipment.kind]
    if family not in fits or incoming.wanted.media_type not in MEDIA_TYPES:
        raise InvalidInput(pointer="/mediaType", expected=" | ".join(sorted(fits)), got=incoming.wanted.media_type)


def bytes_max(media_type: str) -> int:
    """Return how large a recording of a type may be; sound has a film's bound."""
    return POLICY.photo_bytes_max if media_type.startswith("image/") else POLICY.video_bytes_max


def recordings_of(session: Session, visit_id: UUID) -> tuple[RecordingView, ...]:
    """Return what was brought in for a visit, oldest first. Who may see the visit is the caller's question."""
    rows = session.scalars(select(RecordingRow).where(RecordingRow.visit_id == visit_id).order_by(RecordingRow.told_started_at, RecordingRow.id))
    return tuple(view(session, row) for row in rows)


def waiting_for(session: Session, actor: Actor, visit_ids: Iterable[UUID]) -> tuple[RecordingView, ...]:
    """Return examined sound and film of these visits that the actor has not accepted yet: what a phone shows its owner to sign."""
    rows = session.scalars(select(RecordingRow).where(
        RecordingRow.visit_id.in_(list(visit_ids)), RecordingRow.examined_at.is_not(None), RecordingRow.role != Role.PHOTO).order_by(RecordingRow.id))
    return tuple(one for one in (view(session, row) for row in rows) if one.ended_at is not None and actor.id not in one.accepted_by)


def unexamined(session: Session) -> tuple[UUID, ...]:
    """Return recordings that nobody looked into yet."""
    query = select(RecordingRow.id).where(RecordingRow.examined_at.is_(None), RecordingRow.wrapped_key.is_not(None)).order_by(RecordingRow.id)
    return tuple(session.scalars(query.limit(UNFINISHED_MAX)))


def examined(session: Session, recording_id: UUID, seen: Examination, now: datetime) -> tuple[UUID, ...]:
    """Keep what was seen in a recording and what it proves of its recorder's clock; returns the statements that waited for it."""
    row = session.scalars(select(RecordingRow).where(RecordingRow.id == recording_id).with_for_update()).one()
    if row.examined_at is None:
        proof, offset, mark = _clock(session, row, seen)
        row.examination, row.examined_at, row.clock_proof, row.clock_offset_ms = msgspec.to_builtins(seen), now, proof, offset
        row.clock_device, row.clock_shown_at = (mark.kid, mark.shown_at) if mark is not None else (None, None)
        session.flush()
        record(session, None, EventTag.RECORDING_EXAMINED, f"recording:{row.id}", now, state=seen.state.value, proof=proof.value, offset_ms=offset)
    accepting = select(ItemRow.manifest_id).join(ManifestRow, ManifestRow.id == ItemRow.manifest_id)
    return tuple(session.scalars(accepting.where(ItemRow.sha256 == row.sha256, ManifestRow.visit_id == row.visit_id).order_by(ItemRow.manifest_id)))


def is_carried(session: Session, row: RecordingRow) -> bool:
    """Whether the recorder was handed to one of the visit's pair for the day on which it recorded."""
    signers = select(ManifestRow.staff_id).where(ManifestRow.visit_id == row.visit_id)
    days = [row.imported_at.date(), (row.imported_at - timedelta(days=1)).date(), row.told_started_at.date()]
    query = select(EquipmentAssignmentRow.equipment_id).where(
        EquipmentAssignmentRow.equipment_id == row.equipment_id, EquipmentAssignmentRow.on.in_(days), EquipmentAssignmentRow.staff_id.in_(signers))
    return session.scalar(query.limit(1)) is not None


def view(session: Session, row: RecordingRow) -> RecordingView:
    """Return a recording as people see it."""
    seen = None if row.examination is None else msgspec.convert(row.examination, Examination)
    audio, film = (seen.audio, seen.video) if seen is not None else (None, None)
    length_ms = film.duration_ms if film is not None else audio.decoded_ms if audio is not None else None
    offset = offset_known(session, row)
    started_at = row.told_started_at + timedelta(milliseconds=offset or 0)
    accepted = session.scalars(
        select(ManifestRow.staff_id).join(ItemRow, ItemRow.manifest_id == ManifestRow.id)
        .where(ItemRow.sha256 == row.sha256, ManifestRow.visit_id == row.visit_id).order_by(ManifestRow.received_at)).all()
    serial = session.scalars(select(EquipmentRow.serial).where(EquipmentRow.id == row.equipment_id)).one()
    proof = ClockProof.INHERITED if row.clock_proof is ClockProof.NONE and offset is not None else row.clock_proof
    return RecordingView(
        id=row.id, visit_id=row.visit_id, equipment_id=row.equipment_id, serial=serial, sha256=row.sha256, size=row.size, media_type=row.media_type,
        imported_by=StaffId(row.imported_by), imported_at=row.imported_at, told_started_at=row.told_started_at, started_at=started_at,
        ended_at=None if length_ms is None else started_at + timedelta(milliseconds=length_ms), state="waiting" if seen is None else seen.state.value,
        is_cut_off=film is not None and film.is_cut_off, clock_proof=proof, clock_offset_ms=offset,
        accepted_by=tuple(dict.fromkeys(StaffId(one) for one in accepted)))


def _known(session: Session, measured: Measured, visit: VisitFacts) -> RecordingRow | None:
    """Return the recording of the same bytes if it is this visit's; refuse bytes that stand under another visit."""
    row = session.scalars(select(RecordingRow).where(RecordingRow.sha256 == measured.sha256)).one_or_none()
    elsewhere = select(ItemRow.id).join(ManifestRow, ManifestRow.id == ItemRow.manifest_id).where(
        ItemRow.sha256 == measured.sha256, ManifestRow.visit_id != visit.visit_id)
    if (row is not None and row.visit_id != visit.visit_id) or session.scalar(elsewhere.limit(1)) is not None:
        raise RecordingOfAnotherVisit(
            from_at=visit.started_at.isoformat() if visit.started_at else "", to_at=visit.ended_at.isoformat() if visit.ended_at else "")
    return row


def _enter(
    session: Session, actor: Actor, keyring: Keyring, taken: tuple[Incoming, Measured], resting: tuple[UUID, str, bytes], now: datetime,
) -> RecordingRow:
    incoming, measured = taken
    recording_id, blob, key = resting
    wanted, visit = incoming.wanted, incoming.visit
    pair_a, pair_b = sorted(visit.pair)
    stated: JsonObject = {
        "schema": "recording-import/1", "recording": str(recording_id), "visit": str(visit.visit_id), "case": str(visit.case_id),
        "bank": str(visit.bank_id), "equipment": str(wanted.equipment_id), "sha256": measured.sha256, "size": measured.size,
        "media_type": wanted.media_type, "told_started": format_utc(wanted.told_started_at), "imported_by": str(actor.id), "at": format_utc(now)}
    row = RecordingRow(
        id=recording_id, equipment_id=wanted.equipment_id, visit_id=visit.visit_id, case_id=visit.case_id, bank_id=visit.bank_id,
        branch_id=visit.branch_id, imported_by=actor.id, imported_at=now, sha256=measured.sha256, size=measured.size, media_type=wanted.media_type,
        role=_ROLES[wanted.media_type.partition("/")[0]], told_started_at=wanted.told_started_at, blob_key=blob,
        wrapped_key=sealer(session, keyring, visit.case_id).wrap_item_key(key, measured.sha256),
        statement=keyring.sign(KeyPurpose.DERIVATION, stated, TYP_RECORDING),
        log_entry_id=log.append(session, "recording", canonicalise(stated), now),
        examination=None, examined_at=None, clock_proof=None, clock_offset_ms=None,
        pair_a=pair_a, pair_b=pair_b, clock_device=None, clock_shown_at=None)
    session.add(row)
    session.flush()
    record(session, actor, EventTag.RECORDING_IMPORTED, f"visit:{visit.visit_id}", now, recording=row.id, equipment=row.equipment_id,
           sha256=row.sha256)
    return row


def _clock(session: Session, row: RecordingRow, seen: Examination) -> tuple[ClockProof, int | None, SeenMark | None]:
    """Return what the marks in a film, or in a picture that says when it was taken, prove of the recorder's clock, and by which mark.

    A picture is a film of no length whose clock is the time that its camera wrote into it: what somebody entered for it proves
    nothing, and is only taken where it says the same.
    """
    if seen.video is not None:
        marks = [mark for one in seen.video.marks if (mark := _shown(session, row, one.text, one.at_ms)) is not None]
        proof, offset = ClockProof.FILMED, offset_of(row.told_started_at, marks)
    else:
        photo = seen.photo
        marks = [mark for text in (photo.marks if photo is not None else ()) if (mark := _shown(session, row, text, 0)) is not None]
        written_at = camera_time(photo.exif.taken, photo.exif.offset) if photo is not None else None
        is_told = written_at is not None and abs((written_at - row.told_started_at).total_seconds()) <= PICTURE_S_MAX
        proof, offset = ClockProof.PHOTOGRAPHED, offset_of(written_at, marks) if written_at is not None and is_told else None
    return (ClockProof.NONE, None, None) if offset is None else (proof, offset, marks[0])


def _shown(session: Session, row: RecordingRow, text: str, at_ms: int) -> SeenMark | None:
    """Verify a mark: of a phone of this visit's own pair, of this visit, bounded by a beacon this phone fetched."""
    kid = peek_kid(text)
    device = session.get(DeviceRow, kid) if kid is not None else None
    if device is None or device.staff_id not in (row.pair_a, row.pair_b):
        return None
    try:
        mark = verify_mark(text, lambda _kid: key_from_jwk(device.public_jwk))
    except EvidenceError:
        return None
    if mark.visit != str(row.visit_id):
        return None
    told = Told(claimed_at=parse_utc(mark.at), monotonic_ms=mark.monotonic_ms, beacon_age_ms=mark.beacon_age_ms)
    bounds = bound_claim(told, issued_at(session, mark.beacon, device.kid), row.imported_at)
    return None if bounds.proven_at is None else SeenMark(shown_at=bounds.judged_at, at_ms=at_ms, kid=device.kid)


def _sealed(measured: Measured, key: bytes, context: SealContext) -> Iterable[bytes]:
    sealing = Sealer(key, context)
    for chunk in measured.chunks():
        yield sealing.update(chunk)
    yield sealing.finish()


