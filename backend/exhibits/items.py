"""Declared files: rows, reuse, leave to upload."""

import hashlib
from datetime import datetime
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from backend.core.ids import new_id
from backend.exhibits.findings import add_findings
from backend.exhibits.model import DeclaredItem, ItemEvent, ItemState, advance_item
from backend.exhibits.rules import judge_reuse, retained_until
from backend.exhibits.tables import ItemRow, ManifestRow, RecordingRow
from backend.policies.model import Policy
from evidence.manifest import Manifest
from evidence.model import Finding, Grade
from evidence.times import parse_utc


def declare(session: Session, row: ManifestRow, manifest: Manifest, policy: Policy, now: datetime) -> None:
    """Store what a statement declares; bytes that the same case already holds for the same visit need no second upload."""
    for item in manifest.items:
        twins = _twins(session, row, item.sha256)
        stored = next((twin for twin, visit_id in twins if _is_shared(row, twin, visit_id)), None)
        item_row = ItemRow(
            id=new_id(), manifest_id=row.id, item_id=item.item_id, sha256=item.sha256, size=item.size, role=item.role, media_type=item.media_type,
            started_at=parse_utc(item.started), ended_at=parse_utc(item.ended), seal_subject=row.seal_subject, state=ItemState.NEEDED,
            blob_key=None, wrapped_key=None, stored_at=None, retained_until_at=retained_until(item, policy), examination=None, examined_at=None,
        )
        if stored is not None and stored.size == item.size:
            item_row.state = advance_item(item_row.state, ItemEvent.STORE)
            item_row.blob_key, item_row.wrapped_key, item_row.stored_at = stored.blob_key, stored.wrapped_key, now
        elif (brought := recording_of(session, row.visit_id, item.sha256)) is not None and brought.size == item.size and brought.wrapped_key:
            item_row.state = advance_item(item_row.state, ItemEvent.STORE)         # A recorder's file, accepted by one of the pair.
            item_row.blob_key, item_row.wrapped_key, item_row.stored_at = brought.blob_key, brought.wrapped_key, now
        session.add(item_row)
        session.flush()
        _judge_twins(session, row, item_row, twins, now)


def _twins(session: Session, row: ManifestRow, sha256: str) -> list[tuple[ItemRow, UUID | None]]:
    query = select(ItemRow, ManifestRow.visit_id).join(ManifestRow, ManifestRow.id == ItemRow.manifest_id).where(
        ItemRow.sha256 == sha256, ItemRow.manifest_id != row.id)
    return [(twin, visit_id) for twin, visit_id in session.execute(query.order_by(ItemRow.id))]


def recording_of(session: Session, visit_id: UUID | None, sha256: str) -> RecordingRow | None:
    """Return what was brought in from a recorder for a visit under that digest, None where nothing was."""
    return session.scalars(select(RecordingRow).where(RecordingRow.sha256 == sha256, RecordingRow.visit_id == visit_id)).one_or_none()


def _is_elsewhere(session: Session, row: ManifestRow, sha256: str) -> bool:
    brought = select(RecordingRow.id).where(RecordingRow.sha256 == sha256)
    return session.scalar((brought.where(RecordingRow.visit_id != row.visit_id) if row.visit_id is not None else brought).limit(1)) is not None


def _is_shared(row: ManifestRow, twin: ItemRow, visit_id: UUID | None) -> bool:
    return visit_id is not None and visit_id == row.visit_id and twin.seal_subject == row.seal_subject and twin.state is ItemState.STORED


def _judge_twins(session: Session, row: ManifestRow, item: ItemRow, twins: list[tuple[ItemRow, UUID | None]], now: datetime) -> None:
    elsewhere = [twin for twin, visit_id in twins if visit_id is None or visit_id != row.visit_id]
    is_elsewhere = bool(elsewhere) or _is_elsewhere(session, row, item.sha256)
    add_findings(session, row, judge_reuse(item.item_id, elsewhere=is_elsewhere, same_visit=len(elsewhere) < len(twins)), now, item_key=item.id)
    for twin in elsewhere:
        # The other side is told without naming this visit: it may be another bank's.
        found = Finding(name="reused-exact", grade=Grade.FRAUD_SIGN, rules=("EVD-09",), pointer=twin.item_id, expected="bytes of this visit",
                        got="declared by another visit later")
        add_findings(session, session.get_one(ManifestRow, twin.manifest_id), (found,), now, item_key=twin.id)


def declared(session: Session, manifest_id: UUID) -> tuple[DeclaredItem, ...]:
    """Return a statement's items in the order of their declaration."""
    rows = session.scalars(select(ItemRow).where(ItemRow.manifest_id == manifest_id).order_by(ItemRow.id))
    return tuple(DeclaredItem(id=row.id, item_id=row.item_id, sha256=row.sha256, size=row.size, state=row.state) for row in rows)


def token_hash(token: str) -> str:
    """Return the only form in which an upload token is kept."""
    return hashlib.sha256(token.encode()).hexdigest()
