"""When the recordings of visits ran, whatever made them, and when the visits were."""

from collections.abc import Collection, Iterable
from datetime import datetime, timedelta
from uuid import UUID

import msgspec
from sqlalchemy import Date, Uuid, column, or_, select, table
from sqlalchemy.orm import Session

from backend.db.base import Instant
from backend.exhibits.joint_rules import Door, Stretch
from backend.exhibits.model import RECORDING_ROLES
from backend.exhibits.recording_model import nearest_offset
from backend.exhibits.tables import ItemRow, ManifestRow, RecordingRow
from evidence.examination import Examination, State

VISITS = table(
    "visits", column("id", Uuid()), column("bank_id", Uuid()), column("on", Date()), column("collector_a", Uuid()), column("collector_b", Uuid()),
    column("started_at", Instant()), column("ended_at", Instant()), column("outcome_at", Instant()))
"""The slice above, by name, as foreign keys across slices are: no way out of this slice may depend on somebody remembering to tell it."""
_DAY = timedelta(days=1)


class Span(msgspec.Struct, frozen=True, kw_only=True):
    """When one recording ran, by the bounded clock of its phone or the proven one of its recorder. `source` is what recorded it.

    `ended_at` is the later of what was claimed and what a decoder heard; `heard_until_at` is what a decoder heard, if one did.
    """

    item_key: UUID
    manifest_id: UUID
    item_id: str
    sha256: str
    visit_id: UUID
    source: str
    people: frozenset[UUID]
    started_at: datetime
    ended_at: datetime
    heard_until_at: datetime
    is_measured: bool

    @property
    def stretch(self) -> Stretch:
        """From when to when it may have run."""
        return Stretch(started_at=self.started_at, ended_at=max(self.started_at, self.ended_at))

    @property
    def heard(self) -> Stretch:
        """From when to when something is on it."""
        return Stretch(started_at=self.started_at, ended_at=max(self.started_at, self.heard_until_at))


def spans_of(session: Session, visit_ids: Collection[UUID]) -> tuple[Span, ...]:
    """Return when the recordings of these visits ran: whatever has sound or film in it, under whatever role it was declared."""
    is_recording = or_(ItemRow.role.in_(sorted(RECORDING_ROLES)), ItemRow.media_type.startswith("audio/"), ItemRow.media_type.startswith("video/"))
    found = session.execute(
        select(ItemRow, ManifestRow).join(ManifestRow, ManifestRow.id == ItemRow.manifest_id)
        .where(ManifestRow.visit_id.in_(visit_ids), is_recording).order_by(ItemRow.id)).all()
    brought_in = {(row.visit_id, row.sha256): row for row in session.scalars(select(RecordingRow).where(RecordingRow.visit_id.in_(visit_ids)))}
    spans = []
    for item, row in found:
        assert row.visit_id is not None
        brought = brought_in.get((row.visit_id, item.sha256))
        started_at, source = item.started_at + (row.judged_at - row.captured_at), row.device
        if brought is not None and (known := offset_known(session, brought)) is not None:
            started_at, source = brought.told_started_at + timedelta(milliseconds=known), f"equipment:{brought.equipment_id}"
        claimed = item.ended_at - item.started_at
        seen = item.examination if item.examination is not None or brought is None else brought.examination
        heard = _heard(seen)
        spans.append(Span(
            item_key=item.id, manifest_id=row.id, item_id=item.item_id, sha256=item.sha256, visit_id=row.visit_id, source=source,
            people=frozenset(one for one in (row.staff_id, row.cosigner_id) if one is not None), started_at=started_at,
            ended_at=started_at + max(claimed, heard or claimed), heard_until_at=started_at + (claimed if heard is None else heard),
            is_measured=seen is not None))
    return tuple(spans)


def offset_known(session: Session, row: RecordingRow) -> int | None:
    """Return what must be added to a recording's clock: its own proof, else the nearest of the same recorder within half a day."""
    if row.clock_offset_ms is not None:
        return row.clock_offset_ms
    proven = session.execute(select(RecordingRow.told_started_at, RecordingRow.clock_offset_ms).where(
        RecordingRow.equipment_id == row.equipment_id, RecordingRow.clock_offset_ms.is_not(None)))
    return nearest_offset(row.told_started_at, [(at, offset) for at, offset in proven if offset is not None])


def doors_around(session: Session, visit_ids: Collection[UUID], people: Iterable[UUID] = ()) -> tuple[Door, ...]:
    """Return these visits and all others of the same people, or of these, within a day of them."""
    own = session.execute(select(VISITS).where(VISITS.c.id.in_(visit_ids))).all()
    if not own:
        return ()
    anybody = sorted({*people, *(one.collector_a for one in own), *(one.collector_b for one in own)})
    days = [one.on for one in own]
    query = select(VISITS).where(
        or_(VISITS.c.collector_a.in_(anybody), VISITS.c.collector_b.in_(anybody)), VISITS.c.on.between(min(days) - _DAY, max(days) + _DAY))
    return tuple(
        Door(visit_id=one.id, bank_id=one.bank_id, people=frozenset({one.collector_a, one.collector_b}), started_at=one.started_at,
             ended_at=one.ended_at or one.outcome_at)
        for one in session.execute(query.order_by(VISITS.c.id)))


def _heard(seen: object) -> timedelta | None:
    """Return how long a decoder heard or saw something, None where none looked; nothing in what does not decode."""
    if seen is None:
        return None
    told = msgspec.convert(seen, Examination)
    if told.state is State.UNDECODABLE:
        return timedelta(0)
    audio = told.audio or (told.video.audio if told.video is not None else None)
    if audio is None and told.video is None:
        return None
    return timedelta(milliseconds=max(audio.decoded_ms if audio is not None else 0, told.video.duration_ms if told.video is not None else 0))
