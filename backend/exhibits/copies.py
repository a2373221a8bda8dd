"""Copies: every download is a stamped derivative with a register entry and a signed, logged derivation (ARCH-13, ARCH-14)."""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta, timezone
from enum import StrEnum
from uuid import UUID

import msgspec
from sqlalchemy import select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from backend.audit import log
from backend.audit.events import EventTag
from backend.audit.record import record, record_read
from backend.auth.actors import Actor
from backend.auth.authorise import authorise
from backend.auth.permissions import Permission
from backend.banks.tables import BankRow
from backend.core.ids import new_id
from backend.core.problems import UnsupportedMediaType
from backend.exhibits.masks import masks_of
from backend.exhibits.queries import StoredItem
from backend.exhibits.spool import Spool
from backend.exhibits.stamping import Stamp, StampJob, stamp_pictures, stamped_recording, transform_of
from backend.exhibits.tables import CopyNumberRow, CopyRow, ManifestRow
from backend.exhibits.transfers import item_chunks, read_item
from backend.keys.keyring import Keyring
from backend.keys.model import KeyPurpose
from backend.keys.sealing import sealer
from backend.staff.tables import StaffRow
from evidence.manifest import Manifest, Role, decode_manifest
from evidence.pack import Measured, measured
from evidence.statements import TYP_DERIVATION, Derivation
from evidence.store import BlobStore
from evidence.times import format_utc, parse_utc

CHINA = timezone(timedelta(hours=8))
"""Watermarks are read in China, which has one time zone."""
ID_ROLES = frozenset({Role.ID_FRONT, Role.ID_BACK})
PURPOSE_ROLES = ID_ROLES | {Role.DECLARATION_PAGE}
BATCH_BYTES_MAX, BATCH_MAX = 48_000_000, 8


class CopyPurpose(StrEnum):
    """What a copy is for."""

    REVIEW = "review"
    BANK = "bank"
    LITIGATION = "litigation"
    COMPLAINT = "complaint"
    AUDIT = "audit"
    POLICE = "police"


INSIDE = frozenset({CopyPurpose.REVIEW, CopyPurpose.AUDIT})
"""Copies that stay within the agency: the only ones of what may be another bank's too."""
PURPOSES_ZH = {
    CopyPurpose.REVIEW: "复核", CopyPurpose.BANK: "银行核实", CopyPurpose.LITIGATION: "诉讼", CopyPurpose.COMPLAINT: "投诉处理",
    CopyPurpose.AUDIT: "审计", CopyPurpose.POLICE: "报案",
}


class UnmaskPurpose(StrEnum):
    """Why somebody must see an identity document in the clear (SEC-03)."""

    IDENTITY_CHECK = "identity_check"
    DECLARATION_RULING = "declaration_ruling"
    LITIGATION = "litigation"
    POLICE = "police"


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """What copies are for, when, and whether identity documents must be legible on them."""

    purpose: CopyPurpose
    now: datetime
    unmask: UnmaskPurpose | None = None


class ToCopy(msgspec.Struct, frozen=True, kw_only=True):
    """One item about to be copied: its number, its opened key, and what will be written on the copy."""

    item: StoredItem
    number: str
    key: bytes
    stamp: Stamp


class Made(msgspec.Struct, frozen=True, kw_only=True):
    """A stamped copy that is not registered yet."""

    source: ToCopy
    transform: str
    extension: str
    content: Measured


class Copy(msgspec.Struct, frozen=True, kw_only=True):
    """A stamped copy as it leaves. `statement` is the signed derivation; `extension` has no dot."""

    item: StoredItem
    number: str
    content: Measured
    extension: str
    statement: str

    def read(self) -> bytes:
        """Return the copy whole."""
        return b"".join(self.content.chunks())


def prepare(session: Session, actor: Actor, keyring: Keyring, items: Sequence[StoredItem], wanted: Wanted) -> list[ToCopy]:
    """Give each copy its register number and what will be written on it. A number once given is never given again.

    Raises:
        Forbidden: identity documents are to be legible and the actor may not see them so.
    """
    if wanted.unmask is not None:
        authorise(actor, Permission.EVIDENCE_UNMASK)
    employee_no = session.scalar(select(StaffRow.employee_no).where(StaffRow.id == actor.id)) or str(actor.id)
    copier = f"复印人 {employee_no}    {wanted.now.astimezone(CHINA):%Y-%m-%d %H:%M} 北京时间    用途 {PURPOSES_ZH[wanted.purpose]}"
    masks = masks_of(session, [item.id for item in items])
    prepared = []
    for item in items:
        row = session.get_one(ManifestRow, item.manifest_id)
        number = f"C{wanted.now.year}-{_next_number(session, wanted.now.year):06d}"
        stamp = Stamp(
            lines=(*_captured(session, row, item), f"登记号 {number}    {copier}"), masks=masks.get(item.id, ()),
            purpose=_purpose_stamp(session, row, item), is_coarse=item.role in ID_ROLES and wanted.unmask is None)
        key = sealer(session, keyring, item.seal_subject).unwrap_item_key(item.wrapped_key, item.sha256)
        prepared.append(ToCopy(item=item, number=number, key=key, stamp=stamp))
    return prepared


def make(store: BlobStore, tenant: str, spool: Spool, prepared: Sequence[ToCopy]) -> list[Made | None]:
    """Open, verify and stamp the originals; no transaction is open meanwhile. None for what has no stamped form."""
    made: dict[UUID, Made | None] = {}
    for batch in _batches([one for one in prepared if one.item.media_type.startswith("image/")]):
        jobs = [StampJob(read_item(store, tenant, one.item.blob_key, (one.key, one.item.sha256)), one.stamp) for one in batch]
        for one, content in zip(batch, stamp_pictures(jobs), strict=True):
            made[one.item.id] = None if content is None else Made(
                source=one, transform=transform_of(one.stamp), extension="jpg", content=spool.keep([content]))
    for one in prepared:
        if one.item.id not in made:
            made[one.item.id] = _recorded(store, tenant, spool, one)
    return [made[one.item.id] for one in prepared]


def register(session: Session, actor: Actor, keyring: Keyring, made: Sequence[Made], wanted: Wanted) -> list[Copy]:
    """Sign and log the derivation of each copy and enter it in the register; only what is entered may leave."""
    now, copies = wanted.now, []
    for one in made:
        item = one.source.item
        derivation = Derivation(
            original_sha256=item.sha256, copy_sha256=one.content.sha256, transform=one.transform, stamp=one.source.stamp.text,
            made=format_utc(now), person=str(actor.id), register_number=one.source.number)
        statement = keyring.sign(KeyPurpose.DERIVATION, {"schema": "derivation/1", **msgspec.to_builtins(derivation)}, TYP_DERIVATION)
        entry_id = log.append(session, "access", statement.encode("ascii"), now)
        session.add(CopyRow(
            id=new_id(), number=one.source.number, item_key=item.id, copier_id=actor.id, purpose=wanted.purpose.value, at=now,
            copy_sha256=derivation.copy_sha256, statement=statement, log_entry_id=entry_id))
        copies.append(Copy(item=item, number=one.source.number, content=one.content, extension=one.extension, statement=statement))
    session.flush()
    for manifest_id in dict.fromkeys(copy.item.manifest_id for copy in copies):
        numbers = [copy.number for copy in copies if copy.item.manifest_id == manifest_id]
        record(session, actor, EventTag.EVIDENCE_COPIED, f"manifest:{manifest_id}", now, purpose=wanted.purpose.value, numbers=numbers)
    _record_reads(session, actor, copies, wanted)
    return copies


def whole(made: Made | None, media_type: str) -> Made:
    """Return the copy. Raises `UnsupportedMediaType` where there is none."""
    if made is None:
        raise UnsupportedMediaType(reason="this kind of file has no stamped form", got=media_type)
    return made


def in_memory(made: Made) -> Made:
    """Return a copy that outlives its spool."""
    return msgspec.structs.replace(made, content=measured(b"".join(made.content.chunks())))


def _record_reads(session: Session, actor: Actor, copies: Sequence[Copy], wanted: Wanted) -> None:
    cases: list[UUID] = sorted({copy.item.case_id for copy in copies if copy.item.case_id is not None})
    record_read(session, actor, cases, wanted.now, f"copy:{wanted.purpose.value}")
    if wanted.unmask is not None:
        for copy in copies:
            if copy.item.role in ID_ROLES:
                record(session, actor, EventTag.UNMASKED, f"case:{copy.item.case_id}", wanted.now, item=copy.item.id, purpose=wanted.unmask.value)


def _recorded(store: BlobStore, tenant: str, spool: Spool, one: ToCopy) -> Made | None:
    def chunks() -> Iterator[bytes]:
        return item_chunks(store, tenant, one.item.blob_key, (one.key, one.item.sha256))

    found = stamped_recording(next(chunks(), b""), one.item.media_type, one.item.size, one.stamp)
    if found is None:
        return None
    transform, extension, marks = found
    return Made(source=one, transform=transform, extension=extension, content=spool.keep(marks.over(chunks())))


def _batches(prepared: Sequence[ToCopy]) -> Iterator[list[ToCopy]]:
    """Cut into batches that one process stamps: bounded in number and bytes, so that memory stays flat."""
    batch: list[ToCopy] = []
    for one in prepared:
        if batch and (len(batch) == BATCH_MAX or sum(other.item.size for other in batch) + one.item.size > BATCH_BYTES_MAX):
            yield batch
            batch = []
        batch.append(one)
    if batch:
        yield batch


def _captured(session: Session, row: ManifestRow, item: StoredItem) -> tuple[str, str]:
    """Return time, place and pair in readable lines, from the signed statement (F27)."""
    manifest = decode_manifest(row.payload)
    people = session.execute(select(StaffRow.id, StaffRow.employee_no).where(StaffRow.id.in_([row.staff_id, row.cosigner_id or row.staff_id])))
    numbers = {found.id: found.employee_no for found in people}
    pair = "、".join(numbers.get(one, str(one)) for one in (row.staff_id, row.cosigner_id) if one is not None)
    claimed = parse_utc(manifest.captured)
    at = f"拍摄 {claimed.astimezone(CHINA):%Y-%m-%d %H:%M:%S} 北京时间"
    if abs((row.judged_at - claimed).total_seconds()) >= 60:
        at += f"(校正为 {row.judged_at.astimezone(CHINA):%H:%M:%S})"
    return f"{at}    {_place(manifest, item.item_id)}", f"外访员 {pair}    外访 {row.visit_id or '-'}    {item.item_id}"


def _place(manifest: Manifest, item_id: str) -> str:
    own = next((one.position for one in manifest.items if one.item_id == item_id), None)
    fix = own or manifest.position
    if fix is None:
        return f"无定位 {manifest.no_fix_reason.value if manifest.no_fix_reason else '-'}"
    mocked = " 模拟定位" if fix.mock else ""
    return (f"位置 {abs(fix.lat_e7) / 1e7:.5f}°{'N' if fix.lat_e7 >= 0 else 'S'} {abs(fix.lon_e7) / 1e7:.5f}°{'E' if fix.lon_e7 >= 0 else 'W'} "
            f"±{fix.accuracy_cm / 100:.0f} m {fix.datum.value}{mocked}")


def _purpose_stamp(session: Session, row: ManifestRow, item: StoredItem) -> str:
    if item.role not in PURPOSE_ROLES or row.bank_id is None:
        return ""
    return f"仅供{session.scalars(select(BankRow.name_zh).where(BankRow.id == row.bank_id)).one()}核实使用"


def _next_number(session: Session, year: int) -> int:
    insert = postgresql.insert if session.get_bind().dialect.name == "postgresql" else sqlite.insert
    statement = insert(CopyNumberRow).values(year=year, last=1)
    statement = statement.on_conflict_do_update(index_elements=["year"], set_={"last": CopyNumberRow.last + 1})
    return int(session.execute(statement.returning(CopyNumberRow.last)).scalar_one())
