"""Reads of evidence: what may be seen by whom, with its state of proof."""

import re
from collections import Counter
from collections.abc import Collection, Iterable
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import ColumnElement, case, false, func, or_, select, true
from sqlalchemy.orm import Session

from backend.auth.actors import Actor, Role
from backend.core.ids import BankId, CaseId, ManifestId, VisitId
from backend.core.problems import NotFound
from backend.exhibits.findings import findings_of
from backend.exhibits.joint import rejected_of, withheld_of
from backend.exhibits.model import RECORDING_ROLES, ItemState, ManifestState, ReceiptKind, Standing
from backend.exhibits.tables import EvidenceReceiptRow, ItemRow, ManifestRow, SignatureRow
from evidence.facts import Kind
from evidence.manifest import Role as ItemRole
from evidence.model import Finding

CONSOLE_ROLES = frozenset(Role) - {Role.FIELD_COLLECTOR}
OF_ANOTHER_BANK, OF_ANOTHER_BRANCH = "another bank's case", "another branch's case"
"""What stands for a file that the reader may not know of, in findings that name one."""
_NAMED = re.compile(r"\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b")


class FindingView(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One graded observation."""

    name: str
    grade: str
    rules: tuple[str, ...]
    pointer: str
    expected: str
    got: str


class ItemView(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One declared file. `isExamined` False with state `stored`: nobody looked into it yet; it never counts as verified.

    `isWithheld`: another bank's matter may be in it, so that no bank gets it until the agency's reviewer has cleared it (SEC-01).
    """

    id: UUID
    item_id: str
    role: ItemRole
    media_type: str
    size: int
    sha256: str
    state: ItemState
    stored_at: datetime | None
    retained_until_at: datetime | None
    is_examined: bool
    is_destroyed: bool
    is_withheld: bool


class StatementView(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One signed statement with its state of proof."""

    id: ManifestId
    digest: str
    kind: Kind
    state: ManifestState
    standing: Standing
    captured_at: datetime
    captured_lower_at: datetime | None
    captured_upper_at: datetime
    received_at: datetime
    signers: tuple[str, ...]
    is_receipted: bool
    is_examined: bool
    findings: tuple[FindingView, ...]
    items: tuple[ItemView, ...]


class StatementKey(msgspec.Struct, frozen=True, kw_only=True):
    """What a reader needs to know of a statement before going on."""

    id: ManifestId
    visit_id: VisitId | None
    case_id: CaseId | None
    bank_id: BankId | None
    state: ManifestState


class StoredItem(msgspec.Struct, frozen=True, kw_only=True):
    """One stored file as it is opened: the name in the store, its wrapped key and whose key wraps it."""

    id: UUID
    item_id: str
    manifest_id: ManifestId
    visit_id: VisitId | None
    case_id: CaseId | None
    role: ItemRole
    media_type: str
    sha256: str
    size: int
    blob_key: str
    wrapped_key: bytes
    seal_subject: UUID


def visible_to(actor: Actor) -> ColumnElement[bool]:
    """Select the statements an actor may see: a bank's people their bank's, phones their own, the console its branches'."""
    if actor.bank is not None:
        return ManifestRow.bank_id == actor.bank
    if actor.device is not None or not actor.roles & CONSOLE_ROLES:
        return or_(ManifestRow.staff_id == actor.id, ManifestRow.cosigner_id == actor.id)
    if actor.sees_every_branch:
        return true()
    return ManifestRow.branch_id.in_(sorted(actor.branches)) if actor.branches else false()


def statement(session: Session, actor: Actor, manifest_id: ManifestId) -> StatementKey:
    """Return a statement of the actor's. Raises `NotFound`."""
    row = session.scalars(select(ManifestRow).where(ManifestRow.id == manifest_id, visible_to(actor))).one_or_none()
    if row is None:
        raise NotFound
    return StatementKey(
        id=ManifestId(row.id), visit_id=VisitId(row.visit_id) if row.visit_id else None, case_id=CaseId(row.case_id) if row.case_id else None,
        bank_id=BankId(row.bank_id) if row.bank_id else None, state=row.state)


def statements_of(session: Session, actor: Actor, visit_id: VisitId) -> tuple[StatementView, ...]:
    """Return a visit's statements in the order of capture; empty for a visit that is not the actor's or has none."""
    rows = session.scalars(
        select(ManifestRow).where(ManifestRow.visit_id == visit_id, visible_to(actor)).order_by(ManifestRow.judged_at, ManifestRow.id)
    ).all()
    ids = [row.id for row in rows]
    signed = _grouped(session, SignatureRow.manifest_id, SignatureRow.kid, ids)
    receipts = _grouped(session, EvidenceReceiptRow.manifest_id, EvidenceReceiptRow.kind, ids)
    items: dict[UUID, list[ItemView]] = {}
    declared = session.scalars(select(ItemRow).where(ItemRow.manifest_id.in_(ids)).order_by(ItemRow.id)).all()
    withheld = withheld_of(session, [item.id for item in declared])
    for item in declared:
        items.setdefault(item.manifest_id, []).append(_item_view(item, is_withheld=item.id in withheld))
    return tuple(
        StatementView(
            id=ManifestId(row.id), digest=row.digest, kind=row.kind, state=row.state, standing=row.standing, captured_at=row.judged_at,
            captured_lower_at=row.captured_lower_at, captured_upper_at=row.captured_upper_at, received_at=row.received_at,
            signers=tuple(sorted(signed.get(row.id, ()))), is_receipted=ReceiptKind.RECEIVED in receipts.get(row.id, ()),
            is_examined=ReceiptKind.EXAMINED in receipts.get(row.id, ()), items=tuple(items.get(row.id, ())),
            findings=tuple(
                FindingView(name=one.name, grade=one.grade.value, rules=one.rules, pointer=one.pointer, expected=one.expected, got=one.got)
                for one in told_of(session, actor, row.id)
            ),
        )
        for row in rows
    )


def told_of(session: Session, actor: Actor, manifest_id: UUID) -> tuple[Finding, ...]:
    """Return what was found about a statement as an actor may read it; the one way on which findings are shown.

    A file of another statement that the actor may not see is not named: a bank reads that its picture is in another bank's case, never
    which (SEC-01). How often it is there, the bank does not read either.
    """
    found = findings_of(session, manifest_id)
    named = {UUID(one) for finding in found for one in _NAMED.findall(finding.got)}
    known = _known(session, actor, named) if named else frozenset()
    stranger = OF_ANOTHER_BANK if actor.bank is not None else OF_ANOTHER_BRANCH

    def as_told(finding: Finding) -> Finding:
        return msgspec.structs.replace(finding, got=_NAMED.sub(lambda one: one[0] if one[0] in known else stranger, finding.got))

    return tuple(dict.fromkeys(map(as_told, found)))


def _known(session: Session, actor: Actor, item_keys: Iterable[UUID]) -> frozenset[str]:
    query = select(ItemRow.id).join(ManifestRow, ManifestRow.id == ItemRow.manifest_id).where(ItemRow.id.in_(item_keys), visible_to(actor))
    return frozenset(map(str, session.scalars(query)))


def stored_item(session: Session, actor: Actor, item_key: UUID) -> StoredItem:
    """Return a stored file of the actor's.

    Raises:
        NotFound: not the actor's; its bytes are not here or were destroyed; or, for a bank, another bank's matter may be in it (SEC-01).
    """
    found = session.execute(
        select(ItemRow, ManifestRow).join(ManifestRow, ManifestRow.id == ItemRow.manifest_id).where(ItemRow.id == item_key, visible_to(actor))
    ).one_or_none()
    if found is None:
        raise NotFound
    item, row = found
    if actor.bank is not None and withheld_of(session, [item.id]):
        raise NotFound
    return opened_row(item, row)


def opened_row(item: ItemRow, row: ManifestRow) -> StoredItem:
    """Return a stored file of a statement. Raises `NotFound` for one whose bytes are not here or were destroyed."""
    if item.blob_key is None or item.wrapped_key is None:
        raise NotFound
    return StoredItem(
        id=item.id, item_id=item.item_id, manifest_id=ManifestId(row.id), visit_id=VisitId(row.visit_id) if row.visit_id else None,
        case_id=CaseId(row.case_id) if row.case_id else None, role=item.role, media_type=item.media_type, sha256=item.sha256, size=item.size,
        blob_key=item.blob_key, wrapped_key=item.wrapped_key, seal_subject=item.seal_subject)


def without_recording(session: Session, visit_ids: Collection[VisitId]) -> tuple[VisitId, ...]:
    """Return which of these visits have no stored recording but rejected ones: exceptions that cannot be closed silently (EVD-01)."""
    stored = session.execute(
        select(ItemRow.id, ManifestRow.visit_id).join(ManifestRow, ManifestRow.id == ItemRow.manifest_id)
        .where(ManifestRow.visit_id.in_(visit_ids), ItemRow.role.in_(sorted(RECORDING_ROLES)), ItemRow.state == ItemState.STORED)).all()
    rejected = rejected_of(session, [key for key, _ in stored])
    return tuple(sorted(set(visit_ids) - {visit_id for key, visit_id in stored if key not in rejected}))


class Exceptions(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What keeps a visit's evidence from being whole."""

    is_recorded: bool
    awaiting_cosignature: int
    items_missing: int
    doubtful: int
    quarantined: int


def exceptions_of(session: Session, visit_id: VisitId) -> Exceptions:
    """Count what is missing or in doubt about one visit's evidence."""
    return exceptions_in(session, [visit_id])[visit_id]


def exceptions_in(session: Session, visit_ids: Collection[VisitId]) -> dict[VisitId, Exceptions]:
    """Count what is missing or in doubt about the evidence of each of these visits, in as many statements for many as for one."""
    def number(where: ColumnElement[bool]) -> Any:
        return func.coalesce(func.sum(case((where, 1), else_=0)), 0)

    stated = {row[0]: row[1:] for row in session.execute(select(
        ManifestRow.visit_id, number(ManifestRow.state == ManifestState.AWAITING_COSIGNATURE),
        number(ManifestRow.standing.in_([Standing.DOUBTFUL, Standing.BREACH])), number(ManifestRow.standing == Standing.QUARANTINED),
    ).where(ManifestRow.visit_id.in_(visit_ids)).group_by(ManifestRow.visit_id))}
    missing = {row[0]: row[1] for row in session.execute(
        select(ManifestRow.visit_id, func.count()).join(ItemRow, ItemRow.manifest_id == ManifestRow.id)
        .where(ManifestRow.visit_id.in_(visit_ids), ItemRow.state == ItemState.NEEDED).group_by(ManifestRow.visit_id))}
    silent, told = set(without_recording(session, visit_ids)), {}
    for visit_id in visit_ids:
        awaiting, doubtful, quarantined = stated.get(visit_id, (0, 0, 0))
        told[visit_id] = Exceptions(
            is_recorded=visit_id not in silent, awaiting_cosignature=awaiting, items_missing=missing.get(visit_id, 0), doubtful=doubtful,
            quarantined=quarantined)
    return told


def withheld_in(session: Session, visit_ids: Collection[VisitId]) -> dict[VisitId, int]:
    """Count, for each of these visits that has any, the files that no bank gets because another bank's matter may be in them."""
    query = select(ItemRow.id, ManifestRow.visit_id).join(ManifestRow, ManifestRow.id == ItemRow.manifest_id)
    held = {row.id: row.visit_id for row in session.execute(query.where(ManifestRow.visit_id.in_(visit_ids)))}
    return dict(Counter(VisitId(found) for key in withheld_of(session, list(held)) if (found := held[key]) is not None))


def _grouped(session: Session, key: Any, value: Any, ids: list[UUID]) -> dict[UUID, set[Any]]:
    grouped: dict[UUID, set[Any]] = {}
    for manifest_id, one in session.execute(select(key, value).where(key.in_(ids))):
        grouped.setdefault(manifest_id, set()).add(one)
    return grouped


def _item_view(row: ItemRow, *, is_withheld: bool) -> ItemView:
    return ItemView(
        id=row.id, item_id=row.item_id, role=row.role, media_type=row.media_type, size=row.size, sha256=row.sha256, state=row.state,
        stored_at=row.stored_at, retained_until_at=row.retained_until_at, is_examined=row.examined_at is not None,
        is_destroyed=row.state is ItemState.STORED and row.wrapped_key is None, is_withheld=is_withheld)
