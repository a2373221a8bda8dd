"""Whole exports: copies made, a pack assembled, streamed sealed into the store, registered and logged; and read again from any byte.

Between the transactions nothing is held open. A crash leaves copy numbers that were given and never used, and at most a sealed
blob that no row names.
"""

import hashlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from uuid import UUID

import msgspec
from sqlalchemy import ColumnElement, Select, select
from sqlalchemy.orm import Session

from backend.audit import log
from backend.audit.events import EventTag
from backend.audit.record import record, record_read
from backend.auth.actors import Actor
from backend.auth.authorise import authorise
from backend.auth.permissions import Permission
from backend.core.ids import BankId, StaffId, new_id
from backend.core.problems import NotFound, Problem
from backend.core.settings import Settings
from backend.exhibits import copies, joint, packs
from backend.exhibits.copies import CopyPurpose, UnmaskPurpose, Wanted
from backend.exhibits.custody_model import ExclusionReason, ItemVerdict, Scope, ScopeKind
from backend.exhibits.custody_tables import ItemMaskRow, ItemReviewRow, PackRow
from backend.exhibits.item_reviews import verdicts_of
from backend.exhibits.joint import barred_since, withheld_of
from backend.exhibits.packs import Contents, Cover, Handed
from backend.exhibits.refusals import PackGone
from backend.exhibits.spool import Spool
from backend.exhibits.tables import ExportRow, ItemRow, ManifestRow
from backend.keys.keyring import Keyring
from backend.keys.sealing import are_living
from evidence.canonical import canonicalise
from evidence.pack import Packed, PackFollowUp, Withheld
from evidence.sealing import SealContext, Sealer, new_key, open_sealed
from evidence.store import BlobStore

KEPT_DAYS = 7
"""How long a pack waits in the store for its download to end; afterwards it is made anew."""
Transaction = Callable[[], AbstractContextManager[Session]]
"""Opens one transaction of the caller's making; commits at its end."""
FollowUps = Callable[[Session, Keyring, Contents], tuple[PackFollowUp, ...]]


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """Where bytes rest and are spooled, and whose they are."""

    store: BlobStore
    tenant: str
    spool_folder: Path
    origin: str


def place_of(store: BlobStore, settings: Settings, origin: str) -> Place:
    """Return where this process's packs rest."""
    return Place(store=store, tenant=settings.tenant, spool_folder=settings.data_folder / "spool", origin=origin)


class PackRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What a pack shall hold and what for.

    `authorisations` finds the bank's cash tokens that its receipts name, `follow_ups` what the bank did after it ruled one of its cases fraud.
    """

    scope: Scope
    purpose: CopyPurpose
    known_size: int | None = None
    unmask: UnmaskPurpose | None = None
    authorisations: Callable[[Session, Contents], tuple[str, ...]] = lambda _session, _held: ()
    follow_ups: FollowUps = lambda _session, _keyring, _held: ()


class PackView(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One pack of the register. `isAvailable`: its bytes can still be fetched."""

    id: UUID
    kind: ScopeKind
    scope: dict[str, str]
    bank_id: BankId
    requested_by: StaffId
    at: datetime
    purpose: str
    size: int
    sha256: str
    log_size: int
    expires_at: datetime
    is_available: bool


def export(begin: Transaction, actor: Actor, keyring: Keyring, place: Place, asked: tuple[PackRequest, datetime]) -> PackView:
    """Make a pack, bring it to rest in the store and enter it in the register.

    Raises:
        Forbidden, NotFound: not the actor's.
        NotExportable: nothing is complete yet, several banks, or too much for one pack.
        PackGone: evidence in it was destroyed while it was made.
    """
    request, now = asked
    authorise(actor, Permission.EVIDENCE_EXPORT)
    wanted = Wanted(purpose=request.purpose, now=now, unmask=request.unmask)
    with begin() as session:
        held = packs.contents(session, actor, request.scope)
        joint.mark(session, held.visits, now)             # What stays out of this pack for another bank's sake is entered from now on.
        tokens = request.authorisations(session, held)
        prepared = copies.prepare(session, actor, keyring, held.items, wanted)
    with Spool(place.spool_folder) as spool:
        made = copies.make(place.store, place.tenant, spool, prepared)
        withheld = [Withheld(sha256=one.item.sha256, reason=ExclusionReason.UNSTAMPABLE.value)
                    for one, copy in zip(prepared, made, strict=True) if copy is None]
        cover = _cover(actor, place.origin, request.known_size, now)
        with begin() as session:
            stamped = copies.register(session, actor, keyring, [copy for copy in made if copy is not None], wanted)
            told = request.follow_ups(session, keyring, held)
            handed = Handed(copies=stamped, withheld=withheld, authorisations=tokens, follow_ups=told)
            packed, log_size = packs.assemble_pack(session, keyring, held, handed, cover)
        resting = bring_to_rest(keyring, place, cover.id, packed)
    with entering(begin, place, held, resting) as session:
        return enter(session, actor, held, resting, (request.purpose, log_size, now))


class Resting(msgspec.Struct, frozen=True, kw_only=True):
    """A pack that lies sealed in the store, with no row yet."""

    id: UUID
    size: int
    sha256: str
    master_kid: str
    wrapped_key: bytes


def bring_to_rest(keyring: Keyring, place: Place, pack_id: UUID, packed: Packed) -> Resting:
    """Stream a pack sealed into the store; memory stays flat."""
    key, digest = new_key(), hashlib.sha256()
    sealing = Sealer(key, _context(place.tenant, pack_id))

    def sealed() -> Iterator[bytes]:
        for chunk in packed.chunks():
            digest.update(chunk)
            yield sealing.update(chunk)
        yield sealing.finish()

    place.store.put(blob_of(pack_id), sealed())
    master_kid, wrapped = keyring.wrap(key, pack_id.bytes)
    return Resting(id=pack_id, size=packed.size, sha256=digest.hexdigest(), master_kid=master_kid, wrapped_key=wrapped)


@contextmanager
def entering(begin: Transaction, place: Place, held: Contents, resting: Resting) -> Iterator[Session]:
    """Open the transaction that enters a pack in the register; a pack that is refused there leaves no bytes behind.

    Raises:
        PackGone: evidence in it was destroyed while it was made, or proved to be another bank's too. No destruction can come between
            this look and the commit.
    """
    try:
        with begin() as session:
            if not are_living(session, {item.seal_subject for item in held.items}) or withheld_of(session, [item.id for item in held.items]):
                raise PackGone
            yield session
    except Problem:
        place.store.delete(blob_of(resting.id))
        raise


def enter(session: Session, actor: Actor, held: Contents, resting: Resting, about: tuple[CopyPurpose, int, datetime]) -> PackView:
    """Enter a pack in the register, log its digest and record who was given what."""
    purpose, log_size, now = about
    kind, recipient = held.scope.kind.value, str(actor.id)
    stated = {"pack_id": str(resting.id), "sha256": resting.sha256, "kind": kind, "recipient": recipient, "purpose": purpose.value}
    entry_id = log.append(session, "export", canonicalise(dict(stated)), now)
    row = PackRow(
        id=resting.id, kind=held.scope.kind, scope=held.scope.told, cases=[str(one) for one in held.cases], bank_id=held.bank, requested_by=actor.id,
        at=now, purpose=purpose.value, size=resting.size, sha256=resting.sha256, log_size=log_size, log_entry_id=entry_id,
        expires_at=now + timedelta(days=KEPT_DAYS), master_kid=resting.master_kid, wrapped_key=resting.wrapped_key)
    session.add(row)
    session.add_all(
        ExportRow(id=new_id(), visit_id=visit_id, requested_by=actor.id, at=now, sha256=resting.sha256, purpose=purpose.value, log_entry_id=entry_id)
        for visit_id in held.visits)
    session.flush()
    record(
        session, actor, EventTag.EVIDENCE_EXPORTED, f"pack:{resting.id}", now, sha256=resting.sha256, purpose=purpose.value,
        visits=list(held.visits))
    record_read(session, actor, held.cases, now, f"export:{purpose.value}")
    return _view(row)


def pack_view(session: Session, actor: Actor, pack_id: UUID) -> PackView:
    """Return a pack of the register. Raises `NotFound` for a pack of another person's or bank's."""
    return _view(_visible(session, actor, pack_id))


def pack_page(session: Session, actor: Actor, *, after: UUID | None, limit: int) -> tuple[PackView, ...]:
    """Return the packs that the actor asked for, or of the actor's bank, newest first."""
    query = select(PackRow).where(_mine(actor)).order_by(PackRow.id.desc()).limit(limit)
    return tuple(_view(row) for row in session.scalars(query if after is None else query.where(PackRow.id < after)))


class OpenPack(msgspec.Struct, frozen=True, kw_only=True):
    """A pack whose bytes can be read from any place on."""

    view: PackView
    key: bytes
    place: Place

    def chunks(self, start: int, end: int) -> Iterator[bytes]:
        """Yield the bytes from `start` to before `end`; records before are opened and left out."""
        at = 0
        for chunk in open_sealed(self.place.store.read(blob_of(self.view.id)), self.key, _context(self.place.tenant, self.view.id)):
            piece = chunk[max(0, start - at):max(0, end - at)]
            at += len(chunk)
            if piece:
                yield piece
            if at >= end:
                return


def open_pack(session: Session, actor: Actor, keyring: Keyring, place: Place, pack_id: UUID) -> OpenPack:
    """Open a pack for reading.

    Raises:
        NotFound: not the actor's.
        PackGone: its time is over, or evidence in it was destroyed, rejected, masked, or proved to be another bank's too since it was made.
    """
    authorise(actor, Permission.EVIDENCE_EXPORT)
    row = _visible(session, actor, pack_id)
    if row.wrapped_key is None or _is_barred(session, row):
        raise PackGone
    return OpenPack(view=_view(row), key=keyring.unwrap(row.master_kid, row.wrapped_key, row.id.bytes), place=place)


def record_fetch(session: Session, actor: Actor, pack: PackView, part: tuple[int, int], now: datetime) -> None:
    """Record that somebody was sent bytes of a pack, from the first to before the last, and whose data it holds (SEC-01)."""
    row = _visible(session, actor, pack.id)
    record(session, actor, EventTag.PACK_FETCHED, f"pack:{row.id}", now, sha256=row.sha256, start=part[0], end=part[1])
    record_read(session, actor, [UUID(one) for one in row.cases], now, f"fetch:{row.purpose}")


def _is_barred(session: Session, row: PackRow) -> bool:
    """Whether a pack may hold what nobody would be given now: found to be another bank's too, rejected, or masked since it was made."""
    visits = select(ExportRow.visit_id).where(ExportRow.log_entry_id == row.log_entry_id)
    within = select(ItemRow.id).join(ManifestRow, ManifestRow.id == ItemRow.manifest_id).where(
        ManifestRow.visit_id.in_(visits), ItemRow.stored_at <= row.at)
    return bool(barred_since(session, session.scalars(within).all(), row.at)) or _is_overtaken(session, row, within)


def _is_overtaken(session: Session, row: PackRow, within: Select[UUID]) -> bool:
    """Whether reviewers rejected or masked a file of the pack after it was made. Originals bear no masks."""
    said = select(ItemReviewRow.item_key).where(
        ItemReviewRow.item_key.in_(within), ItemReviewRow.verdict == ItemVerdict.REJECTED, ItemReviewRow.at > row.at)
    rejected = session.scalars(said).all()
    if ItemVerdict.REJECTED in verdicts_of(session, rejected).values():
        return True
    masked = select(ItemMaskRow.id).where(ItemMaskRow.item_key.in_(within), ItemMaskRow.at > row.at)
    return row.kind is not ScopeKind.PRODUCTION and session.scalars(masked.limit(1)).first() is not None


def over(session: Session, now: datetime) -> tuple[UUID, ...]:
    """Return packs whose time is over and whose bytes still rest here, oldest first."""
    query = select(PackRow.id).where(PackRow.expires_at <= now, PackRow.wrapped_key.is_not(None)).order_by(PackRow.id).limit(200)
    return tuple(session.scalars(query))


def forget(session: Session, pack_id: UUID) -> None:
    """Shred a pack's key; its entry of the register stays."""
    row = session.scalars(select(PackRow).where(PackRow.id == pack_id).with_for_update()).one()
    row.wrapped_key = None
    session.flush()


def close_packs_of(session: Session, case_id: UUID) -> tuple[UUID, ...]:
    """Shred the key of every pack that holds copies of a case's evidence; returns which, so that their bytes can follow."""
    closed = [row for row in session.scalars(select(PackRow).where(PackRow.wrapped_key.is_not(None)).with_for_update()) if str(case_id) in row.cases]
    for row in closed:
        row.wrapped_key = None
    session.flush()
    return tuple(row.id for row in closed)


def blob_of(pack_id: UUID) -> str:
    """Return the name under which a pack rests."""
    return f"packs/{pack_id.hex}"


def _cover(actor: Actor, origin: str, known_size: int | None, now: datetime) -> Cover:
    pack_id = new_id()
    return Cover(id=pack_id, register_number=f"E-{pack_id}", recipient=str(actor.id), origin=origin, now=now, known_size=known_size)


def _context(tenant: str, pack_id: UUID) -> SealContext:
    return SealContext(tenant=tenant, item_sha256=hashlib.sha256(b"pack\0" + pack_id.bytes).hexdigest())


def _mine(actor: Actor) -> ColumnElement[bool]:
    return PackRow.bank_id == actor.bank if actor.bank is not None else PackRow.requested_by == actor.id


def _visible(session: Session, actor: Actor, pack_id: UUID) -> PackRow:
    row = session.scalars(select(PackRow).where(PackRow.id == pack_id, _mine(actor))).one_or_none()
    if row is None:
        raise NotFound
    return row


def _view(row: PackRow) -> PackView:
    return PackView(
        id=row.id, kind=row.kind, scope=row.scope, bank_id=BankId(row.bank_id), requested_by=StaffId(row.requested_by), at=row.at,
        purpose=row.purpose, size=row.size, sha256=row.sha256, log_size=row.log_size, expires_at=row.expires_at,
        is_available=row.wrapped_key is not None)
