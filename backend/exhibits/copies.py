"""Copies: every download is a stamped derivative with a register entry and a signed, logged derivation (ARCH-13, ARCH-14)."""

from collections.abc import Sequence
from datetime import datetime
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
from backend.core.ids import new_id
from backend.core.problems import UnsupportedMediaType
from backend.exhibits.queries import StoredItem
from backend.exhibits.stamping import Stamped, StampJob, stamp_all
from backend.exhibits.tables import CopyNumberRow, CopyRow, ManifestRow
from backend.exhibits.transfers import read_item
from backend.jobs.apart import run_apart
from backend.keys.keyring import Keyring
from backend.keys.model import KeyPurpose
from backend.keys.sealing import sealer
from backend.staff.tables import StaffRow
from evidence.canonical import sha256_hex
from evidence.statements import TYP_DERIVATION, Derivation
from evidence.store import BlobStore
from evidence.times import format_utc

TIMEOUT_S = 120.0


class CopyPurpose(StrEnum):
    """What a copy is for."""

    REVIEW = "review"
    BANK = "bank"
    LITIGATION = "litigation"
    COMPLAINT = "complaint"
    AUDIT = "audit"
    POLICE = "police"


class ToCopy(msgspec.Struct, frozen=True, kw_only=True):
    """One item about to be copied: its number, its opened key, and what will be written on the copy."""

    item: StoredItem
    number: str
    key: bytes
    lines: tuple[str, ...]


class Copy(msgspec.Struct, frozen=True, kw_only=True):
    """A stamped copy as it leaves. `statement` is the signed derivation; `extension` has no dot."""

    item: StoredItem
    number: str
    content: bytes
    extension: str
    statement: str


def prepare(session: Session, actor: Actor, keyring: Keyring, items: Sequence[StoredItem], now: datetime) -> list[ToCopy]:
    """Give each copy its register number and what will be written on it. A number once given is never given again."""
    employee_no = session.scalar(select(StaffRow.employee_no).where(StaffRow.id == actor.id)) or str(actor.id)
    prepared = []
    for item in items:
        row = session.get_one(ManifestRow, item.manifest_id)
        number = f"C{now.year}-{_next_number(session, now.year):06d}"
        lines = (
            f"登记号 {number}    复印人 {employee_no}    {now:%Y-%m-%d %H:%M} UTC",
            f"拍摄 {row.judged_at:%Y-%m-%d %H:%M} UTC    外访 {row.visit_id or '-'}    {item.item_id}",
        )
        key = sealer(session, keyring, item.seal_subject).unwrap_item_key(item.wrapped_key, item.sha256)
        prepared.append(ToCopy(item=item, number=number, key=key, lines=lines))
    return prepared


def stamp(store: BlobStore, tenant: str, prepared: Sequence[ToCopy]) -> list[Stamped]:
    """Open, verify and stamp the originals in a process of its own; no transaction is open meanwhile."""
    jobs = [
        StampJob(one.item.media_type, read_item(store, tenant, one.item.blob_key, (one.key, one.item.sha256)), one.lines) for one in prepared
    ]
    if not jobs:
        return []
    return msgspec.msgpack.decode(run_apart(stamp_all, msgspec.msgpack.encode(jobs), timeout_s=TIMEOUT_S), type=list[Stamped])


def register(
    session: Session, actor: Actor, keyring: Keyring, made: Sequence[tuple[ToCopy, Stamped]], about: tuple[CopyPurpose, datetime]
) -> list[Copy]:
    """Sign and log the derivation of each copy and enter it in the register; only what is entered may leave."""
    purpose, now = about
    copies = []
    for one, stamped in made:
        if not stamped.transform:
            raise UnsupportedMediaType(reason="this kind of file has no stamped form", got=one.item.media_type)
        derivation = Derivation(
            original_sha256=one.item.sha256, copy_sha256=sha256_hex(stamped.content), transform=stamped.transform, stamp="再次复印无效",
            made=format_utc(now), person=str(actor.id), register_number=one.number)
        statement = keyring.sign(KeyPurpose.DERIVATION, {"schema": "derivation/1", **msgspec.to_builtins(derivation)}, TYP_DERIVATION)
        entry_id = log.append(session, "access", statement.encode("ascii"), now)
        session.add(CopyRow(
            id=new_id(), number=one.number, item_key=one.item.id, copier_id=actor.id, purpose=purpose.value, at=now,
            copy_sha256=derivation.copy_sha256, statement=statement, log_entry_id=entry_id))
        copies.append(Copy(item=one.item, number=one.number, content=stamped.content, extension=stamped.extension, statement=statement))
    session.flush()
    for item in {copy.item.manifest_id: copy.item for copy in copies}.values():
        numbers = [copy.number for copy in copies if copy.item.manifest_id == item.manifest_id]
        record(session, actor, EventTag.EVIDENCE_COPIED, f"manifest:{item.manifest_id}", now, purpose=purpose.value, numbers=numbers)
    cases: list[UUID] = sorted({copy.item.case_id for copy in copies if copy.item.case_id is not None})
    record_read(session, actor, cases, now, f"copy:{purpose.value}")
    return copies


def _next_number(session: Session, year: int) -> int:
    insert = postgresql.insert if session.get_bind().dialect.name == "postgresql" else sqlite.insert
    statement = insert(CopyNumberRow).values(year=year, last=1)
    statement = statement.on_conflict_do_update(index_elements=["year"], set_={"last": CopyNumberRow.last + 1})
    return int(session.execute(statement.returning(CopyNumberRow.last)).scalar_one())
