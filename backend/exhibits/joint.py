"""Files of two banks' visits (F22): which bytes stand under two banks, what was entered beside such files, what is handed to neither.

A recording that ran on into another bank's visit stays where it is, as everything authentic does, but no bank gets it until a
reviewer of the agency has heard it and says that nothing of another bank is in it. The same bytes under two banks go to neither.
"""

from collections.abc import Collection, Iterable
from datetime import datetime
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session, aliased

from backend.exhibits.custody_model import ItemVerdict
from backend.exhibits.custody_tables import ItemReviewRow
from backend.exhibits.findings import add_findings
from backend.exhibits.tables import FindingRow, ItemRow, ManifestRow
from backend.staff.tables import StaffRow
from evidence.model import Finding, Grade

JOINT, SHARED = "joint-recording", "item-of-two-banks"
"""Findings: a recording ran on into another bank's visit; the same bytes stand under a visit of another bank."""


def shared_with_another_bank(session: Session, visit_id: UUID) -> tuple[tuple[UUID, UUID, str], ...]:
    """Return key, statement and item id of this visit's files whose bytes also stand under a visit of another bank, whatever they show."""
    other, other_row = aliased(ItemRow), aliased(ManifestRow)
    found = session.execute(
        select(ItemRow.id, ManifestRow.id, ItemRow.item_id).join(ManifestRow, ManifestRow.id == ItemRow.manifest_id)
        .join(other, other.sha256 == ItemRow.sha256).join(other_row, other_row.id == other.manifest_id)
        .where(ManifestRow.visit_id == visit_id, other_row.bank_id != ManifestRow.bank_id).distinct().order_by(ItemRow.id))
    return tuple((key, manifest_id, item_id) for key, manifest_id, item_id in found)


def mark(session: Session, code: str, marked: Iterable[tuple[UUID, UUID, str]], expected: str, now: datetime) -> None:
    """Enter it beside each file (key, statement, item id): a doubt for the reviewers, and a bar to handing it to any bank (SEC-01)."""
    for key, manifest_id, item_id in marked:
        row = session.scalars(select(ManifestRow).where(ManifestRow.id == manifest_id).with_for_update()).one()
        held = select(FindingRow.id).where(FindingRow.item_key == key, FindingRow.code == code)
        if session.scalar(held.limit(1)) is None:
            found = Finding(name=code, grade=Grade.DOUBT, rules=("SEC-01",), pointer=item_id, expected=expected, got="of another bank's visit too")
            add_findings(session, row, (found,), now, item_key=key)


def withheld_of(session: Session, item_keys: Collection[UUID]) -> frozenset[UUID]:
    """Return which of these files no bank gets: shared bytes never, a joint recording unless the agency's reviewer accepted it since."""
    marked = session.execute(
        select(FindingRow.item_key, FindingRow.code).where(FindingRow.item_key.in_(item_keys), FindingRow.code.in_((JOINT, SHARED)))).all()
    keys = {key for key, _ in marked if key is not None}
    heard = {key for key, verdict in heard_of(session, keys).items() if verdict is ItemVerdict.ACCEPTED}
    return frozenset(key for key, code in marked if key is not None and (code == SHARED or key not in heard))


def heard_of(session: Session, item_keys: Collection[UUID]) -> dict[UUID, ItemVerdict]:
    """Return what the agency's own reviewers say of files, the newest word each; a bank's person cannot clear another bank's matter."""
    rows = session.scalars(
        select(ItemReviewRow).join(StaffRow, StaffRow.id == ItemReviewRow.reviewer_id)
        .where(ItemReviewRow.item_key.in_(item_keys), ItemReviewRow.verdict != ItemVerdict.COMMENT, StaffRow.bank_id.is_(None))
        .order_by(ItemReviewRow.at, ItemReviewRow.id))
    return {row.item_key: row.verdict for row in rows}
