"""Originals for an outsider: asked for by the bank's liaison, approved by two others, handed over sealed to one key (EVD-08, ARCH-11).

Nothing leaves in the clear: each file travels under a key of its own, and that key encrypted to the recipient alone.
"""

from collections.abc import Iterator
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import ColumnElement, select
from sqlalchemy.orm import Session

from backend.archive.model import AskProduction
from backend.archive.rules import judge_approval
from backend.archive.scopes import tokens_for, told_after
from backend.archive.tables import ProductionRow
from backend.audit import log
from backend.audit.events import EventTag
from backend.audit.record import record
from backend.auth.actors import Actor
from backend.auth.authorise import authorise
from backend.auth.permissions import Permission
from backend.cases.queries import case_of, visible_to
from backend.cases.tables import CaseRow
from backend.core.ids import BankId, CaseId, StaffId, new_id
from backend.core.problems import Conflict, InvalidInput, NotFound
from backend.core.rulebook import demand
from backend.exhibits import exports, joint, packs
from backend.exhibits.copies import CopyPurpose
from backend.exhibits.custody_model import ExclusionReason, Scope, ScopeKind
from backend.exhibits.exports import PackView, Place, Transaction
from backend.exhibits.packs import Contents, Cover, Handed
from backend.exhibits.queries import StoredItem
from backend.exhibits.refusals import refusing
from backend.exhibits.spool import Spool
from backend.exhibits.transfers import item_chunks
from backend.keys.keyring import Keyring
from backend.keys.sealing import sealer
from backend.staff.queries import actor_of
from evidence.canonical import canonicalise
from evidence.handover import recipient_key, seal_item_key
from evidence.keys import thumbprint
from evidence.pack import PackSealed, Withheld
from evidence.sealing import SealContext, Sealer, new_key


class ProductionView(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One entry of the register of productions. `recipientKey` is the thumbprint of the key that alone opens it."""

    id: UUID
    register_number: str
    case_id: CaseId
    bank_id: BankId
    items: tuple[UUID, ...]
    recipient_key: str
    purpose: str
    requested_by: StaffId
    requested_at: datetime
    first_by: StaffId | None
    second_by: StaffId | None
    refused_by: StaffId | None
    pack_id: UUID | None
    produced_at: datetime | None


def ask(session: Session, actor: Actor, keyring: Keyring, command: AskProduction, now: datetime) -> ProductionView:
    """Ask for originals of one case; an entry of the register from this moment on.

    Raises:
        Forbidden, NotFound: not the actor's, or a file that is not of that case or not stored.
        MalformedEnvelope: the recipient's key is no public P-256 JWK.
    """
    authorise(actor, Permission.ORIGINAL_REQUEST)
    case = case_of(session, actor, command.case_id)
    with refusing():
        kid = thumbprint(recipient_key(command.recipient_jwk))
    if command.purpose not in set(CopyPurpose):
        raise InvalidInput(pointer="/purpose", expected=" | ".join(CopyPurpose), got=command.purpose)
    held = _held(session, actor, case.id)
    wanted = tuple(dict.fromkeys(command.items))
    if not set(wanted) <= {item.id for item in held.items}:
        raise NotFound
    production_id, box = new_id(), sealer(session, keyring, case.id)
    number = f"P-{production_id}"
    stated = {"production": number, "case": str(case.id), "recipient_kid": kid, "requested_by": str(actor.id)}
    row = ProductionRow(
        id=production_id, case_id=case.id, bank_id=case.bank_id, items=[str(one) for one in wanted],
        recipient=box.seal("productions.recipient", command.recipient), recipient_jwk=dict(command.recipient_jwk), purpose=command.purpose,
        reason=box.seal("productions.reason", command.reason), requested_by=actor.id, requested_at=now, first_by=None, first_at=None,
        second_by=None, second_at=None, refused_by=None, refused_at=None, pack_id=None, produced_at=None, register_number=number,
        log_entry_id=log.append(session, "access", canonicalise(dict(stated)), now))
    session.add(row)
    session.flush()
    record(session, actor, EventTag.PRODUCTION_ASKED, f"case:{case.id}", now, production=row.id, items=len(wanted), recipient_kid=kid)
    return _view(row)


def choosable(session: Session, actor: Actor, case_id: UUID) -> tuple[StoredItem, ...]:
    """Return the originals of a case that the actor may ask for. Raises `Forbidden`, `NotFound`, `NotExportable`."""
    authorise(actor, Permission.ORIGINAL_REQUEST)
    return _held(session, actor, case_of(session, actor, CaseId(case_id)).id).items


def decide(session: Session, actor: Actor, production_id: UUID, now: datetime, *, is_approved: bool) -> ProductionView:
    """Approve a production, first or second, or refuse it for good.

    Raises:
        Forbidden, NotFound: not the actor's.
        Conflict: it is refused, or twice approved already.
        RulesBreached: the same person again; or both approved without the general manager (ARCH-11).
    """
    authorise(actor, Permission.ORIGINAL_APPROVE)
    row = _locked(session, actor, production_id)
    if row.refused_by is not None or row.second_by is not None:
        raise Conflict(reason="already-decided")
    if not is_approved:
        row.refused_by, row.refused_at = actor.id, now
    else:
        first = None if row.first_by is None else _with_roles(session, row.first_by)
        demand(judge_approval(StaffId(row.requested_by), first, (StaffId(actor.id), actor.roles)))
        if row.first_by is None:
            row.first_by, row.first_at = actor.id, now
        else:
            row.second_by, row.second_at = actor.id, now
    session.flush()
    approvals = sum(one is not None for one in (row.first_by, row.second_by))
    record(session, actor, EventTag.PRODUCTION_DECIDED, f"case:{row.case_id}", now, production=row.id, approved=is_approved, approvals=approvals)
    return _view(row)


def produce(begin: Transaction, actor: Actor, keyring: Keyring, place: Place, asked: tuple[UUID, datetime]) -> PackView:
    """Seal the originals of a twice approved production into a pack, for the liaison who asked; once.

    Raises:
        Forbidden, NotFound: not the actor's.
        Conflict: not approved twice, refused, or produced already.
        PackGone: evidence in it was destroyed while it was made.
    """
    production_id, now = asked
    authorise(actor, Permission.ORIGINAL_REQUEST)
    with begin() as session:
        row = _locked(session, actor, production_id)
        if row.second_by is None or row.refused_by is not None or row.pack_id is not None:
            raise Conflict(reason="not-approved-twice" if row.pack_id is None else "already-produced")
        held = _of(row, _held(session, actor, row.case_id))
        joint.mark(session, held.visits, now)
        recipient, purpose = recipient_key(row.recipient_jwk), CopyPurpose(row.purpose)
        keys = {item.id: sealer(session, keyring, item.seal_subject).unwrap_item_key(item.wrapped_key, item.sha256) for item in held.items}
        tokens, number = tokens_for(session, held), row.register_number
    with Spool(place.spool_folder) as spool:
        sealed = []
        for item in held.items:
            key = new_key()
            content = spool.keep(_sealed(place, item, (keys[item.id], key)))
            sealed.append(PackSealed(sha256=item.sha256, content=content, jwe=seal_item_key(key, recipient)))
        cover = Cover(id=new_id(), register_number=number, recipient=thumbprint(recipient), origin=place.origin, now=now)
        with begin() as session:
            handed = Handed(sealed=sealed, authorisations=tokens, follow_ups=told_after(session, keyring, held))
            packed, log_size = packs.assemble_pack(session, keyring, held, handed, cover)
        resting = exports.bring_to_rest(keyring, place, cover.id, packed)
    with exports.entering(begin, place, held, resting) as session:
        row = _locked(session, actor, production_id)
        if row.pack_id is not None:
            raise Conflict(reason="already-produced")
        made = exports.enter(session, actor, held, resting, (purpose, log_size, now))
        row.pack_id, row.produced_at = made.id, now
        session.flush()
        return made


def page(session: Session, actor: Actor, *, after: UUID | None, limit: int) -> tuple[ProductionView, ...]:
    """Return productions of the actor's bank, or of the agency, newest first."""
    authorise(actor, Permission.EVIDENCE_READ)
    query = select(ProductionRow).where(_mine(actor)).order_by(ProductionRow.id.desc()).limit(limit)
    return tuple(_view(row) for row in session.scalars(query if after is None else query.where(ProductionRow.id < after)))


def _sealed(place: Place, item: StoredItem, keys: tuple[bytes, bytes]) -> Iterator[bytes]:
    """Yield an original sealed under another key; its digest is judged before the last record is sealed."""
    own, other = keys
    sealing = Sealer(other, SealContext(tenant=place.tenant, item_sha256=item.sha256))
    for chunk in item_chunks(place.store, place.tenant, item.blob_key, (own, item.sha256)):
        yield sealing.update(chunk)
    yield sealing.finish()


def _held(session: Session, actor: Actor, case_id: UUID) -> Contents:
    return packs.contents(session, actor, Scope(
        kind=ScopeKind.PRODUCTION, told={"case": str(case_id)}, case_ids=(CaseId(case_id),)))


def _of(row: ProductionRow, held: Contents) -> Contents:
    """Return the case's statements with only the originals that were asked for; what else there is, is named as withheld."""
    wanted = {UUID(one) for one in row.items}
    left = [Withheld(sha256=item.sha256, reason=ExclusionReason.NOT_ASKED.value) for item in held.items if item.id not in wanted]
    return msgspec.structs.replace(
        held, items=tuple(item for item in held.items if item.id in wanted), withheld=(*held.withheld, *left))


def _locked(session: Session, actor: Actor, production_id: UUID) -> ProductionRow:
    query = select(ProductionRow).where(ProductionRow.id == production_id, _mine(actor))
    row = session.scalars(query.with_for_update().execution_options(populate_existing=True)).one_or_none()
    if row is None:
        raise NotFound
    return row


def _mine(actor: Actor) -> ColumnElement[bool]:
    """Return the condition that holds for productions from the cases that the actor may see."""
    return ProductionRow.case_id.in_(select(CaseRow.id).where(visible_to(actor)))


def _with_roles(session: Session, staff_id: UUID) -> tuple[StaffId, frozenset[Any]]:
    found = actor_of(session, StaffId(staff_id))
    return StaffId(staff_id), frozenset() if found is None else found.roles


def _view(row: ProductionRow) -> ProductionView:
    def person(staff_id: UUID | None) -> StaffId | None:
        return None if staff_id is None else StaffId(staff_id)

    return ProductionView(
        id=row.id, register_number=row.register_number, case_id=CaseId(row.case_id), bank_id=BankId(row.bank_id),
        items=tuple(UUID(one) for one in row.items), recipient_key=thumbprint(recipient_key(row.recipient_jwk)), purpose=row.purpose,
        requested_by=StaffId(row.requested_by), requested_at=row.requested_at, first_by=person(row.first_by), second_by=person(row.second_by),
        refused_by=person(row.refused_by), pack_id=row.pack_id, produced_at=row.produced_at)
