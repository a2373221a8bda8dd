"""Regions of pictures that no copy shows (F27): set by reviewers, burnt into every derivative, never into the original."""

from collections.abc import Collection
from datetime import datetime
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
from backend.core.ids import new_id
from backend.core.problems import InvalidInput
from backend.exhibits.custody_model import SetMask
from backend.exhibits.custody_tables import ItemMaskRow
from backend.exhibits.queries import stored_item
from evidence.canonical import canonicalise
from evidence.photo_marks import Box


def masks_of(session: Session, item_keys: Collection[UUID]) -> dict[UUID, tuple[Box, ...]]:
    """Return the regions in force of each picture that has any."""
    rows = session.scalars(select(ItemMaskRow).where(ItemMaskRow.item_key.in_(item_keys)).order_by(ItemMaskRow.at, ItemMaskRow.id))
    newest = {row.item_key: row.boxes for row in rows}
    return {key: msgspec.convert(boxes, tuple[Box, ...]) for key, boxes in newest.items() if boxes}


def set_mask(session: Session, actor: Actor, command: SetMask, now: datetime) -> UUID:
    """Replace the regions that copies of one picture shall not show.

    Raises:
        Forbidden, NotFound: not the actor's to review.
        InvalidInput: it is no picture.
    """
    authorise(actor, Permission.VISIT_REVIEW)
    item = stored_item(session, actor, command.item_key)
    if not item.media_type.startswith("image/"):
        raise InvalidInput(pointer="/itemKey", expected="a picture", got=item.media_type)
    mask_id = new_id()
    boxes = msgspec.to_builtins(command.boxes)
    stated = {"item_sha256": item.sha256, "boxes": boxes, "reason": command.reason.value, "reviewer": str(actor.id)}
    entry_id = log.append(session, "redaction", canonicalise(stated), now)
    session.add(ItemMaskRow(
        id=mask_id, item_key=item.id, boxes=boxes, reason=command.reason.value, set_by=actor.id, at=now, log_entry_id=entry_id))
    session.flush()
    record(session, actor, EventTag.EVIDENCE_MASKED, f"manifest:{item.manifest_id}", now, mask=mask_id, regions=len(command.boxes))
    return mask_id
