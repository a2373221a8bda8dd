"""Whole acts for the console and the operators' CLI: copy a file, check stored evidence."""

from uuid import UUID

import msgspec
from sqlalchemy import select
from sqlalchemy.orm import Session

from backend.audit.fault import Fault
from backend.audit.tables import LogEntryRow
from backend.auth.actors import Actor
from backend.auth.authorise import authorise
from backend.auth.permissions import Permission
from backend.core.problems import Problem
from backend.exhibits import copies, queries
from backend.exhibits.copies import Copy, CopyPurpose, UnmaskPurpose, Wanted
from backend.exhibits.custody_model import ExclusionReason
from backend.exhibits.exports import Place, Transaction
from backend.exhibits.item_reviews import is_rejected
from backend.exhibits.joint import withheld_of
from backend.exhibits.model import ItemState
from backend.exhibits.packs import trust
from backend.exhibits.refusals import CopyGone, NotExportable
from backend.exhibits.spool import Spool
from backend.exhibits.tables import EvidenceReceiptRow, ItemRow, ManifestRow, RecordingRow, SignatureRow
from backend.exhibits.transfers import prove_item
from backend.keys.keyring import Keyring
from backend.keys.model import KeyPurpose
from backend.keys.sealing import CaseKeyDestroyed, SealBrokenError, sealer
from backend.staff.tables import DeviceRow
from evidence.canonical import canonicalise, sha256_hex
from evidence.envelope import SignatureMember, assemble, check_shape, verify_signatures
from evidence.errors import EvidenceError
from evidence.es256 import compact_verify
from evidence.keys import key_from_jwk
from evidence.pack import TYP_RECORDING
from evidence.statements import TYP_RECEIPT
from evidence.store import BlobStore

__all__ = ["CopyPurpose", "Place", "StoreReport", "UnmaskPurpose", "Wanted", "copy_item", "trust", "verify_store"]


class StoreReport(msgspec.Struct, frozen=True, kw_only=True):
    """What was checked in database, store and log together, and what was found."""

    items: int
    statements: int
    faults: tuple[Fault, ...]


def copy_item(begin: Transaction, actor: Actor, keyring: Keyring, place: Place, asked: tuple[UUID, Wanted]) -> Copy:
    """Return a stamped, registered copy of one file, held in memory.

    Raises:
        Forbidden, NotFound: not the actor's.
        UnsupportedMediaType: there is no stamped form of it.
        NotExportable: another bank's matter may be in it (SEC-01), or reviewers rejected it, and the copy is meant for somebody outside the agency.
        CopyGone: reviewers rejected it, and the actor is of a bank.
    """
    item_key, wanted = asked
    authorise(actor, Permission.EVIDENCE_READ)
    with begin() as session:
        item = queries.stored_item(session, actor, item_key)
        _demand_handable(session, actor, item, wanted)
        prepared = copies.prepare(session, actor, keyring, [item], wanted)
    with Spool(place.spool_folder) as spool:
        made = copies.whole(copies.make(place.store, place.tenant, spool, prepared)[0], prepared[0].item.media_type)
        kept = copies.in_memory(made)
    with begin() as session:
        _demand_handable(session, actor, item, wanted)           # What was said while it was stamped counts.
        return copies.register(session, actor, keyring, [kept], wanted)[0]


def _demand_handable(session: Session, actor: Actor, item: queries.StoredItem, wanted: Wanted) -> None:
    """Refuse a copy that would take out of the agency what packs leave out: another bank's matter, or what reviewers rejected."""
    is_outside = wanted.purpose not in copies.INSIDE
    if is_outside and withheld_of(session, [item.id]):
        raise NotExportable(reason=ExclusionReason.JOINT.value)
    if (is_outside or actor.bank is not None) and is_rejected(session, item):
        raise CopyGone if actor.bank is not None else NotExportable(reason=ExclusionReason.REJECTED.value)


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
    for brought in session.scalars(select(RecordingRow).order_by(RecordingRow.id).execution_options(yield_per=200)):
        items += 1
        faults.extend(Fault(f"recording:{brought.id}", code) for code in _recording_faults(session, keyring, (store, tenant), brought))
    return StoreReport(items=items, statements=statements, faults=tuple(faults))


def _recording_faults(session: Session, keyring: Keyring, place: tuple[BlobStore, str], row: RecordingRow) -> list[str]:
    found = []
    try:
        _, told = compact_verify(row.statement, lambda kid: keyring.resolve(KeyPurpose.DERIVATION, kid), typ=TYP_RECORDING)
        entry = session.get(LogEntryRow, row.log_entry_id)
        if entry is None or entry.payload_sha256 != sha256_hex(canonicalise(told)):
            found.append("not-as-logged")
        named = (told.get("sha256"), told.get("visit"), told.get("equipment"), told.get("imported_by"))
        if named != (row.sha256, str(row.visit_id), str(row.equipment_id), str(row.imported_by)):
            found.append("import-differs")
    except EvidenceError:
        found.append("import-invalid")
    if row.wrapped_key is None:
        return found                                # Destroyed after its term.
    try:
        key = sealer(session, keyring, row.case_id).unwrap_item_key(row.wrapped_key, row.sha256)
        prove_item(place[0], place[1], row.blob_key, (key, row.sha256))
    except CaseKeyDestroyed:
        return found
    except SealBrokenError:
        found.append("key-altered")
    except (EvidenceError, Problem) as error:
        found.append(error.answered_code if isinstance(error, Problem) else error.problem)
    return found


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
        prove_item(store, tenant, item.blob_key, (key, item.sha256))
    except CaseKeyDestroyed:
        return ""
    except SealBrokenError:
        return "key-altered"
    except (EvidenceError, Problem) as error:
        return error.answered_code if isinstance(error, Problem) else error.problem
    return ""
