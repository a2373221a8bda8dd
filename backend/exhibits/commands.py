"""Whole acts for the console and the operators' CLI: copy a file, export a visit's pack, check stored evidence."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import datetime
from uuid import UUID

import msgspec
from sqlalchemy import select
from sqlalchemy.orm import Session, sessionmaker

from backend.audit.fault import Fault
from backend.audit.tables import LogEntryRow
from backend.auth.actors import Actor
from backend.auth.authorise import authorise
from backend.auth.permissions import Permission
from backend.core.ids import VisitId
from backend.core.problems import Problem
from backend.exhibits import copies, packs, queries
from backend.exhibits.copies import Copy, CopyPurpose
from backend.exhibits.model import ItemState
from backend.exhibits.packs import trust
from backend.exhibits.tables import EvidenceReceiptRow, ItemRow, ManifestRow, SignatureRow
from backend.exhibits.transfers import read_item
from backend.keys.keyring import Keyring
from backend.keys.model import KeyPurpose
from backend.keys.sealing import CaseKeyDestroyed, SealBrokenError, sealer
from backend.staff.tables import DeviceRow
from evidence.canonical import sha256_hex
from evidence.envelope import SignatureMember, assemble, check_shape, verify_signatures
from evidence.errors import EvidenceError
from evidence.es256 import compact_verify
from evidence.keys import key_from_jwk
from evidence.pack import Withheld
from evidence.statements import TYP_RECEIPT
from evidence.store import BlobStore

__all__ = ["CopyPurpose", "PackRequest", "StoreReport", "copy_item", "export_visit", "trust", "verify_store"]
Transaction = Callable[[], AbstractContextManager[Session]]
"""Opens one transaction of the caller's making; commits at its end."""


class PackRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Which visit's pack, what for, under which log. `authorisations` are the bank's cash tokens that its receipts name."""

    visit_id: VisitId
    purpose: str
    origin: str
    tenant: str
    authorisations: tuple[str, ...] = ()


class StoreReport(msgspec.Struct, frozen=True, kw_only=True):
    """What was checked in database, store and log together, and what was found."""

    items: int
    statements: int
    faults: tuple[Fault, ...]


def copy_item(begin: Transaction, actor: Actor, keyring: Keyring, place: tuple[BlobStore, str], asked: tuple[UUID, CopyPurpose, datetime]) -> Copy:
    """Return a stamped, registered copy of one file.

    Raises:
        Forbidden, NotFound: not the actor's.
        UnsupportedMediaType: there is no stamped form of it.
    """
    (store, tenant), (item_key, purpose, now) = place, asked
    authorise(actor, Permission.EVIDENCE_READ)
    with begin() as session:
        prepared = copies.prepare(session, actor, keyring, [queries.stored_item(session, actor, item_key)], now)
    stamped = copies.stamp(store, tenant, prepared)
    with begin() as session:
        return copies.register(session, actor, keyring, list(zip(prepared, stamped, strict=True)), (purpose, now))[0]


def export_visit(
    sessions: sessionmaker[Session] | Transaction, actor: Actor, keyring: Keyring, store: BlobStore, request: PackRequest, now: datetime
) -> bytes:
    """Return the export pack of one visit. `sessions` may be a factory or something that opens transactions.

    Raises:
        Forbidden, NotFound: not the actor's.
        NotExportable: nothing is complete yet.
    """
    begin: Transaction = sessions.begin if isinstance(sessions, sessionmaker) else sessions
    authorise(actor, Permission.EVIDENCE_EXPORT)
    purpose = CopyPurpose(request.purpose)
    with begin() as session:
        held = packs.contents(session, actor, request.visit_id)
        prepared = copies.prepare(session, actor, keyring, held.items, now)
    pairs = list(zip(prepared, copies.stamp(store, request.tenant, prepared), strict=True))
    withheld = [Withheld(sha256=one.item.sha256, reason="no stamped form of this kind of file") for one, made in pairs if not made.transform]
    with begin() as session:
        made = copies.register(session, actor, keyring, [pair for pair in pairs if pair[1].transform], (purpose, now))
        return packs.build(session, actor, keyring, (held, made, withheld, request.authorisations), (request.origin, purpose, now))


def verify_store(session: Session, keyring: Keyring, store: BlobStore, tenant: str) -> StoreReport:
    """Check every statement, signature, log entry, receipt and stored file against each other. Names every fault, mends none."""
    faults: list[Fault] = []
    statements = 0
    for row in session.scalars(select(ManifestRow).order_by(ManifestRow.id).execution_options(yield_per=200)):
        statements += 1
        faults.extend(Fault(f"manifest:{row.id}", code) for code in _statement_faults(session, keyring, row))
    items = 0
    for item in session.scalars(select(ItemRow).where(ItemRow.state == ItemState.STORED).order_by(ItemRow.id).execution_options(yield_per=200)):
        items += 1
        fault = _item_fault(session, keyring, (store, tenant), item)
        if fault:
            faults.append(Fault(f"item:{item.id}", fault))
    return StoreReport(items=items, statements=statements, faults=tuple(faults))


def _statement_faults(session: Session, keyring: Keyring, row: ManifestRow) -> list[str]:
    found = []
    if sha256_hex(row.payload) != row.digest:
        found.append("payload-altered")
    entry = session.get(LogEntryRow, row.log_entry_id)
    if entry is None or entry.payload_sha256 != row.digest:
        found.append("not-as-logged")
    try:
        signatures = session.scalars(select(SignatureRow).where(SignatureRow.manifest_id == row.id).order_by(SignatureRow.role))
        members = [SignatureMember(protected=one.protected, signature=one.signature) for one in signatures]
        keys = {device.kid: key_from_jwk(device.public_jwk) for device in session.scalars(
            select(DeviceRow).where(DeviceRow.kid.in_([kid for kid in (row.device, row.cosigner_device) if kid])))}
        verify_signatures(check_shape(assemble(row.payload, members)), keys.get)
    except EvidenceError:
        found.append("signature-invalid")
    for receipt in session.scalars(select(EvidenceReceiptRow).where(EvidenceReceiptRow.manifest_id == row.id)):
        try:
            _, told = compact_verify(receipt.jws, lambda kid: keyring.resolve(KeyPurpose.RECEIPT, kid), typ=TYP_RECEIPT)
        except EvidenceError:
            found.append("receipt-invalid")
            continue
        if told.get("manifest_sha256") != row.digest:
            found.append("receipt-differs")
    return found


def _item_fault(session: Session, keyring: Keyring, place: tuple[BlobStore, str], item: ItemRow) -> str:
    if item.wrapped_key is None:
        return ""                                   # Destroyed after its term; digest and proofs remain.
    assert item.blob_key is not None
    store, tenant = place
    try:
        key = sealer(session, keyring, item.seal_subject).unwrap_item_key(item.wrapped_key, item.sha256)
        read_item(store, tenant, item.blob_key, (key, item.sha256))
    except CaseKeyDestroyed:
        return ""
    except SealBrokenError:
        return "key-altered"
    except (EvidenceError, Problem) as error:
        return error.answered_code if isinstance(error, Problem) else error.problem
    return ""
