"""What reviewers say of single files: accepted, returned to the pair, rejected from exports, or only remarked upon."""

from collections.abc import Collection
from datetime import datetime
from typing import Annotated
from uuid import UUID

import msgspec
from msgspec import Meta
from sqlalchemy import select
from sqlalchemy.orm import Session

from backend.audit import log
from backend.audit.events import EventTag
from backend.audit.record import record
from backend.auth.actors import Actor
from backend.auth.authorise import authorise
from backend.auth.permissions import Permission
from backend.core.ids import ManifestId, StaffId, VisitId, new_id
from backend.core.problems import Forbidden, NotFound
from backend.exhibits import joint
from backend.exhibits.custody_model import ItemVerdict
from backend.exhibits.custody_tables import ItemReviewRow
from backend.exhibits.queries import StoredItem, visible_to
from backend.exhibits.refusals import NotReviewable
from backend.exhibits.tables import ItemRow, ManifestRow
from backend.keys.keyring import Keyring
from backend.keys.sealing import sealer
from evidence.canonical import canonicalise


class ReviewItem(msgspec.Struct, frozen=True, kw_only=True):
    """One reviewer's word on one file."""

    item_key: UUID
    verdict: ItemVerdict
    comment: Annotated[str, Meta(min_length=1, max_length=2000)]


class ItemReviewView(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One reviewer's word on one file, as stored."""

    id: UUID
    item_key: UUID
    reviewer_id: StaffId
    verdict: ItemVerdict
    comment: str
    at: datetime


class Reviewed(msgspec.Struct, frozen=True, kw_only=True):
    """A stored review, and the visit whose completion it asks for."""

    id: UUID
    visit_id: VisitId | None
    is_returned: bool


def review_item(session: Session, actor: Actor, keyring: Keyring, command: ReviewItem, now: datetime) -> Reviewed:
    """Store a reviewer's word on one file. The slice above opens the visit again when it is returned.

    Raises:
        Forbidden: not a reviewer; or a bank's person would reject what the agency answers for.
        NotFound: not the actor's.
        NotReviewable: the reviewer signed the statement.
    """
    authorise(actor, Permission.VISIT_REVIEW)
    if actor.bank is not None and command.verdict is ItemVerdict.REJECTED:
        raise Forbidden(reason="a bank's person returns evidence or comments on it")
    found = session.execute(
        select(ItemRow, ManifestRow).join(ManifestRow, ManifestRow.id == ItemRow.manifest_id)
        .where(ItemRow.id == command.item_key, visible_to(actor))
    ).one_or_none()
    if found is None:
        raise NotFound
    item, row = found
    if actor.id in (row.staff_id, row.cosigner_id):
        raise NotReviewable(standing=row.standing.value)
    review_id = new_id()
    stated = {"item_sha256": item.sha256, "manifest_sha256": row.digest, "reviewer": str(actor.id), "verdict": command.verdict.value}
    entry_id = log.append(session, "review", canonicalise(dict(stated)), now)
    session.add(ItemReviewRow(
        id=review_id, item_key=item.id, reviewer_id=actor.id, verdict=command.verdict, at=now, log_entry_id=entry_id,
        comment=sealer(session, keyring, item.seal_subject).seal("item_reviews.comment", command.comment)))
    session.flush()
    joint.mark_files(session, [item.id], now)        # After the word: who was not told of another bank's matter has not heard for it.
    record(session, actor, EventTag.EVIDENCE_REVIEWED, f"manifest:{row.id}", now, item=item.id, review=review_id, verdict=command.verdict.value)
    visit_id = VisitId(row.visit_id) if row.visit_id is not None else None
    return Reviewed(id=review_id, visit_id=visit_id, is_returned=command.verdict is ItemVerdict.RETURNED)


def verdicts_of(session: Session, item_keys: Collection[UUID]) -> dict[UUID, ItemVerdict]:
    """Return the verdict in force of each file that has one."""
    rows = session.scalars(
        select(ItemReviewRow).where(ItemReviewRow.item_key.in_(item_keys), ItemReviewRow.verdict != ItemVerdict.COMMENT)
        .order_by(ItemReviewRow.at, ItemReviewRow.id))
    return {row.item_key: row.verdict for row in rows}


def is_rejected(session: Session, item: StoredItem) -> bool:
    """Whether reviewers rejected a file, or the same bytes under another statement of its case: as packs leave both out."""
    kin = session.scalars(select(ItemRow.id).join(ManifestRow, ManifestRow.id == ItemRow.manifest_id).where(
        ItemRow.sha256 == item.sha256, ManifestRow.case_id == item.case_id)).all()
    return ItemVerdict.REJECTED in verdicts_of(session, {item.id, *kin}).values()


def reviews_of(session: Session, keyring: Keyring, manifest_ids: Collection[ManifestId]) -> tuple[ItemReviewView, ...]:
    """Return what was said of the files of these statements, oldest first. The caller has shown that it may see them."""
    found = session.execute(
        select(ItemReviewRow, ItemRow.seal_subject).join(ItemRow, ItemRow.id == ItemReviewRow.item_key)
        .where(ItemRow.manifest_id.in_(manifest_ids)).order_by(ItemReviewRow.at, ItemReviewRow.id))
    return tuple(
        ItemReviewView(
            id=row.id, item_key=row.item_key, reviewer_id=StaffId(row.reviewer_id), verdict=row.verdict, at=row.at,
            comment=sealer(session, keyring, subject).open("item_reviews.comment", row.comment))
        for row, subject in found)
