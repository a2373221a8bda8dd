"""Files of two banks' visits (F22): which are, and what no bank gets therefore. `withheld_of` alone decides, at every way out.

A recording that ran on into another bank's visit stays where it is, as everything authentic does, but no bank gets it, from the moment
that both are known, until a reviewer of the agency who was told of it has heard it and says that nothing of another bank is in it. Nor
does one that nobody has measured yet, where the pair had another bank's visit near. The same bytes under two banks go to neither
until the agency's reviewer has rejected them for one of the two.

Nothing here waits to be told: what is withheld is worked out anew from statements, examinations and visits each time that it is asked.
"""

from collections import defaultdict
from collections.abc import Collection
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import select
from sqlalchemy.orm import Session

from backend.exhibits.custody_model import ItemVerdict
from backend.exhibits.custody_tables import ItemReviewRow
from backend.exhibits.findings import add_findings
from backend.exhibits.joint_rules import Door, Stretch, how_to_split, runs_into, stretches
from backend.exhibits.spans import Span, doors_around, spans_of
from backend.exhibits.tables import FindingRow, ItemRow, ManifestRow, RecordingRow
from backend.staff.tables import StaffRow
from evidence.model import Finding, Grade

JOINT, SHARED = "joint-recording", "item-of-two-banks"
"""Findings: a recording ran on into another bank's visit; the same bytes stand under a visit of another bank."""
_EXPECTED_SHARED = "a file of its own for each bank"


class Ran(msgspec.Struct, frozen=True, kw_only=True):
    """The recordings of some visits: all of them, those that ran into another bank's visit, those that nobody measured and may have."""

    spans: tuple[Span, ...]
    joint: tuple[Span, ...]
    unmeasured: tuple[Span, ...]
    visits: dict[UUID, Stretch]


class Word(msgspec.Struct, frozen=True, kw_only=True):
    """The newest word of the agency's reviewers on a file. Ids are in the order of time."""

    id: UUID
    verdict: ItemVerdict
    at: datetime


def ran(session: Session, visit_ids: Collection[UUID]) -> Ran:
    """Return how the recordings of these visits lie to the visits of other banks by the same people."""
    spans = spans_of(session, visit_ids)
    doors = doors_around(session, visit_ids, {person for one in spans for person in one.people})
    known, when = {door.visit_id: door for door in doors}, stretches(doors)
    by_person: dict[UUID, list[Door]] = defaultdict(list)
    for door in doors:
        for person in door.people:
            by_person[person].append(door)
    joint, unmeasured = [], []
    for one in spans:
        own = known.get(one.visit_id)
        if own is None:
            continue                                 # No visit of ours: no bank's either.
        others = {door.visit_id for person in one.people | own.people for door in by_person[person] if door.bank_id != own.bank_id}
        if any(other in when and runs_into(one.stretch, when[other]) for other in others):
            joint.append(one)
        elif others and not one.is_measured:
            unmeasured.append(one)
    return Ran(spans=spans, joint=tuple(joint), unmeasured=tuple(unmeasured), visits=when)


def shared_of(session: Session, item_keys: Collection[UUID]) -> dict[UUID, frozenset[UUID]]:
    """Return which of these files stand under a visit of another bank too, and under which keys there; a recorder's file has its own id."""
    mine = {key: (sha256, bank_id) for key, sha256, bank_id in session.execute(
        select(ItemRow.id, ItemRow.sha256, ManifestRow.bank_id).join(ManifestRow, ManifestRow.id == ItemRow.manifest_id)
        .where(ItemRow.id.in_(item_keys), ManifestRow.bank_id.is_not(None)))}
    digests = {sha256 for sha256, _ in mine.values()}
    held: dict[str, set[tuple[UUID, UUID]]] = defaultdict(set)
    declared = select(ItemRow.sha256, ItemRow.id, ManifestRow.bank_id).join(ManifestRow, ManifestRow.id == ItemRow.manifest_id).where(
        ItemRow.sha256.in_(digests), ManifestRow.bank_id.is_not(None))
    brought = select(RecordingRow.sha256, RecordingRow.id, RecordingRow.bank_id).where(RecordingRow.sha256.in_(digests))
    for query in (declared, brought):
        for sha256, key, bank_id in session.execute(query):
            if bank_id is not None:
                held[sha256].add((key, bank_id))
    found = {key: frozenset(other for other, other_bank in held[sha256] if other_bank != bank_id) for key, (sha256, bank_id) in mine.items()}
    return {key: others for key, others in found.items() if others}


def withheld_of(session: Session, item_keys: Collection[UUID]) -> frozenset[UUID]:
    """Return which of these files no bank gets, as far as is known now."""
    kin = _kin(session, item_keys)
    found = ran(session, {visit for _, visits in kin.values() for visit in visits})
    unmeasured = {one.item_key for one in found.unmeasured}
    return frozenset(_barred(session, kin, found) | {key for key, (names, _) in kin.items() if names & unmeasured})


def barred_since(session: Session, item_keys: Collection[UUID], at: datetime) -> frozenset[UUID]:
    """Return which of these files no bank gets now and one may have been given at an instant: it was not known then, or was taken back since."""
    kin = _kin(session, item_keys)
    barred = _barred(session, kin, ran(session, {visit for _, visits in kin.values() for visit in visits}))
    names = {name for key in barred for name in kin[key][0]}
    known = {key for key, told_at in session.execute(select(FindingRow.item_key, FindingRow.at).where(
        FindingRow.item_key.in_(names), FindingRow.code.in_((JOINT, SHARED)))) if told_at <= at}
    taken_back = {key for key, word in words_of(session, names).items() if word.at > at}
    return frozenset(key for key in barred if not kin[key][0] & known or kin[key][0] & taken_back)


def mark(session: Session, visit_ids: Collection[UUID], now: datetime) -> None:
    """Enter beside each file of these visits that is another bank's too what is known of it, a doubt for the reviewers; once each."""
    found = ran(session, visit_ids)
    marked = [(JOINT, one.manifest_id, one.item_key, one.item_id, how_to_split(found.visits.get(one.visit_id))) for one in found.joint]
    items = session.execute(
        select(ItemRow.id, ItemRow.manifest_id, ItemRow.item_id).join(ManifestRow, ManifestRow.id == ItemRow.manifest_id)
        .where(ManifestRow.visit_id.in_(visit_ids))).all()
    shared = shared_of(session, [key for key, _, _ in items])
    marked += [(SHARED, manifest_id, key, item_id, _EXPECTED_SHARED) for key, manifest_id, item_id in items if key in shared]
    held = {(key, code) for key, code in session.execute(
        select(FindingRow.item_key, FindingRow.code).where(FindingRow.item_key.in_([one[2] for one in marked])))}
    for code, manifest_id, key, item_id, expected in sorted(marked, key=lambda one: one[1:3]):
        if (key, code) not in held:
            row = session.scalars(select(ManifestRow).where(ManifestRow.id == manifest_id).with_for_update()).one()
            told = Finding(name=code, grade=Grade.DOUBT, rules=("SEC-01",), pointer=item_id, expected=expected, got="of another bank's visit too")
            add_findings(session, row, (told,), now, item_key=key)


def mark_around(session: Session, visit_id: UUID, now: datetime) -> None:
    """Enter it beside the files of a visit and of all visits that the same people made within a day of it."""
    mark(session, sorted({visit_id, *(door.visit_id for door in doors_around(session, [visit_id]))}), now)


def mark_files(session: Session, item_keys: Collection[UUID], now: datetime) -> None:
    """Enter it beside the files of the visits that these files are of."""
    _mark_of(session, select(ItemRow.manifest_id).where(ItemRow.id.in_(item_keys)), now)


def mark_statement(session: Session, manifest_id: UUID, now: datetime) -> None:
    """Enter it beside the files of the visit that a statement is of."""
    _mark_of(session, [manifest_id], now)


def _mark_of(session: Session, manifest_ids: Any, now: datetime) -> None:
    found = session.scalars(select(ManifestRow.visit_id).where(ManifestRow.id.in_(manifest_ids), ManifestRow.visit_id.is_not(None)).distinct())
    mark(session, sorted({one for one in found if one is not None}), now)


def words_of(session: Session, item_keys: Collection[UUID]) -> dict[UUID, Word]:
    """Return what the agency's own reviewers say of files, the newest word each; a bank's person cannot clear another bank's matter."""
    rows = session.scalars(
        select(ItemReviewRow).join(StaffRow, StaffRow.id == ItemReviewRow.reviewer_id)
        .where(ItemReviewRow.item_key.in_(item_keys), ItemReviewRow.verdict != ItemVerdict.COMMENT, StaffRow.bank_id.is_(None))
        .order_by(ItemReviewRow.at, ItemReviewRow.id))
    return {row.item_key: Word(id=row.id, verdict=row.verdict, at=row.at) for row in rows}


def rejected_of(session: Session, item_keys: Collection[UUID]) -> frozenset[UUID]:
    """Return which of these files the agency's reviewers rejected: what shows nothing, and belongs to no bank."""
    return frozenset(key for key, word in words_of(session, item_keys).items() if word.verdict is ItemVerdict.REJECTED)


def cleared_of(session: Session, item_keys: Collection[UUID]) -> frozenset[UUID]:
    """Return which of these files a reviewer accepted after it was entered beside them that another bank's matter may be in them."""
    told = {key: finding_id for key, finding_id in session.execute(
        select(FindingRow.item_key, FindingRow.id).where(FindingRow.item_key.in_(item_keys), FindingRow.code == JOINT)) if key is not None}
    words = words_of(session, list(told))
    return frozenset(key for key, word in words.items() if word.verdict is ItemVerdict.ACCEPTED and word.id > told[key])


def shared_open(session: Session, item_keys: Collection[UUID]) -> frozenset[UUID]:
    """Return which of these files stand under another bank's visit where nobody rejected them."""
    shared = shared_of(session, item_keys)
    rejected = rejected_of(session, {other for others in shared.values() for other in others})
    return frozenset(key for key, others in shared.items() if others - rejected)


def _barred(session: Session, kin: dict[UUID, tuple[frozenset[UUID], frozenset[UUID]]], found: Ran) -> set[UUID]:
    """Return the files that are another bank's too, by themselves or because the same bytes are under another name."""
    names = {name for names, _ in kin.values() for name in names}
    joint = {one.item_key for one in found.joint}
    joint |= {key for key in session.scalars(
        select(FindingRow.item_key).where(FindingRow.item_key.in_(names), FindingRow.code == JOINT)) if key is not None}
    cleared = cleared_of(session, names)
    return {key for key, (names, _) in kin.items() if names & joint and not names & cleared} | shared_open(session, kin.keys())


def _kin(session: Session, item_keys: Collection[UUID]) -> dict[UUID, tuple[frozenset[UUID], frozenset[UUID]]]:
    """Return for each file all names under which the same bank has the same bytes, itself among them, and the visits of these."""
    mine = session.execute(_placed(ItemRow.id.in_(item_keys))).all()
    names: dict[tuple[str, UUID | None], set[UUID]] = defaultdict(set)
    visits: dict[tuple[str, UUID | None], set[UUID]] = defaultdict(set)
    for key, sha256, bank_id, visit_id in session.execute(_placed(ItemRow.sha256.in_({one[1] for one in mine}))):
        names[sha256, bank_id].add(key)
        visits[sha256, bank_id] |= {visit_id} if visit_id is not None else set()
    return {key: (frozenset(names[sha256, bank_id]), frozenset(visits[sha256, bank_id])) for key, sha256, bank_id, _ in mine}


def _placed(condition: Any) -> Any:
    placed = select(ItemRow.id, ItemRow.sha256, ManifestRow.bank_id, ManifestRow.visit_id)
    return placed.join(ManifestRow, ManifestRow.id == ItemRow.manifest_id).where(condition)
