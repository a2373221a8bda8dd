"""Looking into stored files: facts by a sandboxed worker, judgements by the library, one logged report per statement.

Idempotent by statement: what was examined is not examined again, what was found is found once, a report is logged once.
"""

import unicodedata
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import msgspec
from sqlalchemy import exists, select
from sqlalchemy.orm import Session

from backend.audit import log
from backend.audit.events import EventTag
from backend.audit.record import record
from backend.audit.tables import LogEntryRow
from backend.core.ids import BranchId, StaffId
from backend.exhibits import looks, recordings
from backend.exhibits.findings import add_findings, findings_of
from backend.exhibits.items import recording_of
from backend.exhibits.model import ENDED, RECORDING_ROLES, SILENCE_FILLED, SILENCES, ItemState, ReceiptKind
from backend.exhibits.receipts import report_of
from backend.exhibits.recording_model import AcceptedFacts, ClockProof, judge_recording
from backend.exhibits.spans import offset_known
from backend.exhibits.tables import EvidenceReceiptRow, ItemRow, ManifestRow, RecordingRow
from backend.keys.keyring import Keyring
from backend.keys.sealing import sealer
from backend.staff import queries as staff
from evidence.canonical import sha256_hex
from evidence.coverage import Recording, judge_coverage
from evidence.declaration import judge_sides
from evidence.examination import Examination, State
from evidence.facts import Kind, VisitCloseFacts
from evidence.manifest import Manifest, decode_manifest
from evidence.model import Finding, Grade
from evidence.policy import DEFAULT
from evidence.times import parse_utc
from evidence.verify import FORM_ROLES, ContentFacts, judge_similarity, verify

UNFINISHED_MAX = 1_000


class ToExamine(msgspec.Struct, frozen=True, kw_only=True):
    """One stored file that nobody looked into yet."""

    id: UUID
    media_type: str
    sha256: str
    blob_key: str
    key: bytes
    size: int


def unfinished(session: Session) -> tuple[UUID, ...]:
    """Return receipted statements without a report: the work that no queue needs to remember."""
    def has(kind: ReceiptKind) -> Any:
        return exists().where(EvidenceReceiptRow.manifest_id == ManifestRow.id, EvidenceReceiptRow.kind == kind)

    query = select(ManifestRow.id).where(has(ReceiptKind.RECEIVED), ~has(ReceiptKind.EXAMINED)).order_by(ManifestRow.id).limit(UNFINISHED_MAX)
    return tuple(session.scalars(query))


def waiting(session: Session, keyring: Keyring, manifest_id: UUID) -> list[ToExamine]:
    """Return the statement's stored files that were not examined, with their opened keys. A recorder's file is examined where it came in."""
    found = session.execute(select(ItemRow, ManifestRow.visit_id).join(ManifestRow, ManifestRow.id == ItemRow.manifest_id).where(
        ItemRow.manifest_id == manifest_id, ItemRow.state == ItemState.STORED, ItemRow.examined_at.is_(None), ItemRow.wrapped_key.is_not(None)))
    rows = [row for row, visit_id in found.all() if recording_of(session, visit_id, row.sha256) is None]
    return [
        ToExamine(id=row.id, media_type=row.media_type, sha256=row.sha256, blob_key=row.blob_key or "", size=row.size,
                  key=sealer(session, keyring, row.seal_subject).unwrap_item_key(row.wrapped_key or b"", row.sha256))
        for row in rows
    ]


def store(session: Session, item_key: UUID, seen: Examination, now: datetime) -> None:
    """Keep what was seen in one file; a second look changes nothing."""
    row = session.execute(select(ItemRow).where(ItemRow.id == item_key).with_for_update()).scalar_one()
    if row.examined_at is None:
        row.examination, row.examined_at = _composed(msgspec.to_builtins(seen)), now
        session.flush()
        if seen.photo is not None:
            looks.keep(session, row, seen.photo)


def conclude(session: Session, manifest_id: UUID, now: datetime) -> bool:
    """Judge a statement whose files are all examined and log its report; False while something is missing.

    A close also waits for the statements it covers, since it is judged with all recordings of the visit (EVD-01).
    """
    row = session.execute(select(ManifestRow).where(ManifestRow.id == manifest_id).with_for_update()).scalar_one()
    _adopt(session, row, now)
    report = report_of(session, row)
    if report is None or row.state not in ENDED:
        return False
    manifest = decode_manifest(row.payload)
    if isinstance(manifest.facts, VisitCloseFacts) and not _is_covered(session, row, manifest.facts):
        return False
    digest = sha256_hex(report)
    if session.scalars(select(LogEntryRow.id).where(LogEntryRow.entry_type == "examined", LogEntryRow.payload_sha256 == digest)).first() is not None:
        return True
    content = {item.item_id: _seen(item) for item in session.scalars(select(ItemRow).where(ItemRow.manifest_id == row.id))}
    judged = verify(content, manifest, camera_facts(session, row), DEFAULT)
    add_findings(session, row, (*judged.findings, *judge_sides(manifest, content, DEFAULT)), now)
    add_findings(session, row, _similar(session, row, manifest, content), now)
    add_findings(session, row, _judge_recorders(session, row), now)
    if isinstance(manifest.facts, VisitCloseFacts) and row.visit_id is not None:
        add_findings(session, row, judge_coverage(_recordings(session, row.visit_id), *_window(row, manifest.facts), DEFAULT), now)
    log.append(session, "examined", report, now)
    record(session, None, EventTag.EVIDENCE_EXAMINED, f"manifest:{row.id}", now, policy_version=judged.policy_version, report=digest,
           examined=judged.items_examined, total=judged.items_total, standing=row.standing.value)
    return True


def camera_facts(session: Session, row: ManifestRow) -> ContentFacts:
    """Return what a camera's own words are held against: the visited branch's wall clock, else the capturing person's, and the enrolled model."""
    branch = staff.branch(session, BranchId(row.branch_id)) if row.branch_id is not None else staff.branch_of(session, StaffId(row.staff_id))
    phone = staff.device(session, row.device)
    return ContentFacts(
        local_zone=ZoneInfo(branch.timezone) if branch is not None else UTC, phone_model=phone.model or None if phone is not None else None)


def closes_of(session: Session, manifest_id: UUID) -> list[UUID]:
    """Return the closes of the same visit, which may have waited for this statement."""
    visit_id = session.scalar(select(ManifestRow.visit_id).where(ManifestRow.id == manifest_id))
    if visit_id is None:
        return []
    query = select(ManifestRow.id).where(ManifestRow.visit_id == visit_id, ManifestRow.kind == Kind.VISIT_CLOSE, ManifestRow.id != manifest_id)
    return list(session.scalars(query))


def composed(seen: Examination) -> Examination:
    """Bring texts that a file told of itself to the form in which everything is logged."""
    return msgspec.convert(_composed(msgspec.to_builtins(seen)), Examination)


def give_up(session: Session, manifest_id: UUID, reason: str, now: datetime) -> None:
    """Mark what could not be examined, so that its state says so: visible, never counted as verified."""
    left = select(ItemRow).where(ItemRow.manifest_id == manifest_id, ItemRow.examined_at.is_(None), ItemRow.state == ItemState.STORED)
    for row in session.scalars(left).all():
        store(session, row.id, Examination(state=State.NOT_EXAMINED, reason=reason), now)


def hear_again(session: Session, manifest_id: UUID, now: datetime) -> None:
    """Judge the coverage of a statement's visit again: silences that a recorder's file fills, brought in later, no longer count (EVD-01)."""
    visit_id = session.scalar(select(ManifestRow.visit_id).where(ManifestRow.id == manifest_id))
    if visit_id is None or session.scalar(select(RecordingRow.id).where(RecordingRow.visit_id == visit_id).limit(1)) is None:
        return
    closes = session.scalars(select(ManifestRow).where(ManifestRow.visit_id == visit_id, ManifestRow.kind == Kind.VISIT_CLOSE).with_for_update())
    for row in closes.all():
        facts = decode_manifest(row.payload).facts
        held = [one for one in findings_of(session, row.id) if one.name in SILENCES]
        if not held or not isinstance(facts, VisitCloseFacts):
            continue
        judged = judge_coverage(_recordings(session, visit_id), *_window(row, facts), DEFAULT)
        add_findings(session, row, (*judged, *(
            Finding(name=SILENCE_FILLED, grade=Grade.INFO, rules=("EVD-01",), expected=one.got, got="covered by a recording that came in later")
            for one in held if one not in judged)), now)


def _adopt(session: Session, row: ManifestRow, now: datetime) -> None:
    """Give accepted recorders' files the examination that was made of them where they came in."""
    for item in session.scalars(select(ItemRow).where(ItemRow.manifest_id == row.id, ItemRow.examined_at.is_(None))).all():
        brought = recording_of(session, row.visit_id, item.sha256)
        if brought is not None and brought.examined_at is not None:
            item.examination, item.examined_at = brought.examination, now
    session.flush()


def _judge_recorders(session: Session, row: ManifestRow) -> Iterable[Finding]:
    offset = row.judged_at - row.captured_at
    for item in session.scalars(select(ItemRow).where(ItemRow.manifest_id == row.id).order_by(ItemRow.id)).all():
        brought = recording_of(session, row.visit_id, item.sha256)
        if brought is not None:
            known = recordings.view(session, brought)
            yield from judge_recording(AcceptedFacts(
                item_id=item.item_id, serial=known.serial, proof=known.clock_proof or ClockProof.NONE, offset_ms=known.clock_offset_ms,
                told_started_at=brought.told_started_at, stated_started_at=item.started_at + offset,
                carried_by_pair=recordings.is_carried(session, brought)))


def _is_covered(session: Session, row: ManifestRow, facts: VisitCloseFacts) -> bool:
    """Whether every statement that a close covers is here with its recordings examined."""
    here = set(session.scalars(select(ManifestRow.digest).where(ManifestRow.visit_id == row.visit_id)))
    pending = session.scalars(
        select(ItemRow.id).join(ManifestRow, ManifestRow.id == ItemRow.manifest_id)
        .where(ManifestRow.visit_id == row.visit_id, ItemRow.role.in_(sorted(RECORDING_ROLES)), ItemRow.examined_at.is_(None)).limit(1)
    ).first()
    return set(facts.manifests) <= here and pending is None


def _recordings(session: Session, visit_id: UUID) -> list[Recording]:
    found = session.execute(
        select(ItemRow, ManifestRow).join(ManifestRow, ManifestRow.id == ItemRow.manifest_id)
        .where(ManifestRow.visit_id == visit_id, ItemRow.role.in_(sorted(RECORDING_ROLES)), ItemRow.state == ItemState.STORED).order_by(ItemRow.id)
    )
    heard = []
    for item, row in found:
        seen = _seen(item)
        audio = seen.audio or (seen.video.audio if seen.video is not None else None)
        # Where no decoder is installed the claim stands in; `not-examined` says that nobody heard it.
        decoded_ms = audio.decoded_ms if audio is not None else round((item.ended_at - item.started_at).total_seconds() * 1000)
        if seen.state not in (State.EXAMINED, State.NOT_EXAMINED):
            continue
        offset, source = row.judged_at - row.captured_at, row.device
        brought = recording_of(session, visit_id, item.sha256)
        if brought is not None:
            known = offset_known(session, brought)
            if known is None:
                continue                         # Nobody knows when a recorder whose clock nothing proves was running.
            started_at, source = brought.told_started_at + timedelta(milliseconds=known), f"equipment:{brought.equipment_id}"
        else:
            started_at = item.started_at + offset
        heard.append(Recording(source=source, item_id=item.item_id, started_at=started_at, decoded_ms=decoded_ms))
    return heard


def _window(row: ManifestRow, facts: VisitCloseFacts) -> tuple[datetime, datetime]:
    offset = row.judged_at - row.captured_at
    arrived_at, departed_at = parse_utc(facts.arrived) + offset, parse_utc(facts.departed) + offset
    return arrived_at, max(arrived_at, departed_at)


def _similar(session: Session, row: ManifestRow, manifest: Manifest, content: dict[str, Examination]) -> Iterable[Any]:
    photos = [(item, content[item.item_id].photo) for item in manifest.items if item.item_id in content]
    for item, photo in photos:
        if photo is not None and item.role not in FORM_ROLES:
            yield from judge_similarity(item, photo, looks.alike(session, row.visit_id, photo, DEFAULT.similar_bits_max), DEFAULT)


def _seen(item: ItemRow) -> Examination:
    if item.examination is None:
        return Examination(state=State.NOT_EXAMINED, reason="not looked into yet")
    return msgspec.convert(item.examination, Examination)


def _composed(value: Any) -> Any:
    """Bring texts that files told of themselves to Unicode form NFC, as everything that is logged has it."""
    if isinstance(value, str):
        return unicodedata.normalize("NFC", value).replace("\x00", "")
    if isinstance(value, dict):
        return {key: _composed(member) for key, member in value.items()}
    return [_composed(member) for member in value] if isinstance(value, list | tuple) else value
