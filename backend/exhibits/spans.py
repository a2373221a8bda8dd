"""When the recordings of visits ran, whatever made them."""

from collections.abc import Collection
from datetime import datetime, timedelta
from uuid import UUID

import msgspec
from sqlalchemy import select
from sqlalchemy.orm import Session

from backend.exhibits.model import RECORDING_ROLES
from backend.exhibits.recordings import of_visit, offset_known
from backend.exhibits.tables import ItemRow, ManifestRow
from evidence.examination import Examination


class Span(msgspec.Struct, frozen=True, kw_only=True):
    """When one recording ran, by the bounded clock of its phone or the proven one of its recorder. `source` is what recorded it."""

    item_key: UUID
    manifest_id: UUID
    item_id: str
    visit_id: UUID
    source: str
    started_at: datetime
    ended_at: datetime


def spans_of(session: Session, visit_ids: Collection[UUID]) -> tuple[Span, ...]:
    """Return when the recordings of these visits ran. What a decoder heard counts for their length if it is more than they claim."""
    found = session.execute(
        select(ItemRow, ManifestRow).join(ManifestRow, ManifestRow.id == ItemRow.manifest_id)
        .where(ManifestRow.visit_id.in_(visit_ids), ItemRow.role.in_(sorted(RECORDING_ROLES))).order_by(ItemRow.id))
    spans = []
    for item, row in found:
        started_at, source = item.started_at + (row.judged_at - row.captured_at), row.device
        brought = of_visit(session, row.visit_id, item.sha256)
        if brought is not None and (known := offset_known(session, brought)) is not None:
            started_at, source = brought.told_started_at + timedelta(milliseconds=known), f"equipment:{brought.equipment_id}"
        lasted = max(item.ended_at - item.started_at, timedelta(milliseconds=_heard_ms(item)))
        assert row.visit_id is not None
        spans.append(Span(
            item_key=item.id, manifest_id=row.id, item_id=item.item_id, visit_id=row.visit_id, source=source, started_at=started_at,
            ended_at=started_at + lasted))
    return tuple(spans)


def _heard_ms(item: ItemRow) -> int:
    if item.examination is None:
        return 0
    seen = msgspec.convert(item.examination, Examination)
    audio = seen.audio or (seen.video.audio if seen.video is not None else None)
    return max(audio.decoded_ms if audio is not None else 0, seen.video.duration_ms if seen.video is not None else 0)
