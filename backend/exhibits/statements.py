"""Reading a signed statement: shape, keys, signatures, canonical form, schema, distinct people, bounded time. Writes nothing.

Only what is provably no statement of our people is refused here; what an authentic one says is judged afterwards.
"""

from collections.abc import Mapping
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from backend.core.ids import StaffId
from backend.exhibits.beacons import issued_at
from backend.exhibits.chains import lower_before
from backend.exhibits.model import SignedBy, Statement
from backend.exhibits.refusals import DeviceNotActive, DeviceRevoked, refusing
from backend.exhibits.rules import bound_capture
from backend.staff.model import DeviceState
from backend.staff.queries import renewed_among
from backend.staff.tables import DeviceRow
from evidence.envelope import Envelope, check_shape, verify_signatures
from evidence.errors import CosignatureMissing, CosignerNotDistinct, SignatureInvalid, UnknownDevice
from evidence.facts import Kind
from evidence.keys import key_from_jwk
from evidence.manifest import Manifest, decode_manifest, manifest_digest


def open_statement(session: Session, raw: bytes, now: datetime) -> Statement:
    """Verify an envelope in the order of protocol §2.5, cheap and certain first, and return what it states.

    Locks the devices it names, so that one chain is extended by one transaction at a time.

    Raises:
        Problem: of the names in protocol §2.6: bad shape, bad signature, unknown or revoked device, one person twice.
    """
    with refusing():
        envelope = check_shape(raw)                                                       # 1. Shape.
        enrolled = _enrolled(session, {header.kid for header in envelope.headers})        # 2. Devices.
        _demand_known(envelope, enrolled)
        signers = verify_signatures(envelope, lambda kid: key_from_jwk(enrolled[kid].public_jwk))    # 3. Every signature.
        manifest = decode_manifest(envelope.payload)                                      # 4. Canonical form and schema.
        named = {manifest.device} | ({manifest.cosigner_device} if manifest.cosigner_device is not None else set())
        enrolled |= _locked(session, named | enrolled.keys())                             # In one order: two phones never wait for each other.
        _demand_people(manifest, envelope, enrolled)                                      # 5. Two people, two devices (VIS-01).
    issued = issued_at(session, manifest.beacon, manifest.device)
    bounds = bound_capture(manifest, issued, now, lower_before(session, manifest.device, manifest.seq))         # 6. Bounded time.
    renewed = renewed_among(session, enrolled.keys())
    devices = tuple(_signed_by(enrolled[signer.kid], is_renewed=signer.kid in renewed) for signer in signers)
    for signer, device in zip(signers, devices, strict=True):
        # A renewed key signed where its chain ends: what stands before is its own, however far ahead the phone's clock was.
        is_own = device.is_renewed and signer.header.seq <= renewed[device.kid][0]
        if device.revoked_at is not None and bounds.judged_at >= device.revoked_at and not is_own:
            raise DeviceRevoked(kid=device.kid)
    return Statement(
        envelope=envelope, signers=signers, manifest=manifest, digest=manifest_digest(envelope.payload), devices=devices, bounds=bounds,
        staff_id=_owner(enrolled, manifest.device),
        cosigner_id=None if manifest.cosigner_device is None else _owner(enrolled, manifest.cosigner_device),
    )


def _enrolled(session: Session, kids: set[str]) -> dict[str, DeviceRow]:
    return {row.kid: row for row in session.scalars(select(DeviceRow).where(DeviceRow.kid.in_(kids)))}


def _locked(session: Session, kids: set[str]) -> dict[str, DeviceRow]:
    query = select(DeviceRow).where(DeviceRow.kid.in_(kids)).order_by(DeviceRow.kid).with_for_update().execution_options(populate_existing=True)
    return {row.kid: row for row in session.scalars(query)}


def _demand_known(envelope: Envelope, enrolled: Mapping[str, DeviceRow]) -> None:
    for index, header in enumerate(envelope.headers):
        if header.kid not in enrolled:
            raise UnknownDevice("no such device key", f"/signatures/{index}/protected/kid")
        if enrolled[header.kid].state is DeviceState.PENDING:
            raise DeviceNotActive(kid=header.kid)


def _demand_people(manifest: Manifest, envelope: Envelope, enrolled: Mapping[str, DeviceRow]) -> None:
    """Refuse signatures of devices that the payload does not name, one person or device twice, and a close that names one."""
    kids = [header.kid for header in envelope.headers]
    if len(set(kids)) < len(kids):
        raise CosignerNotDistinct("one key signed twice", "/signatures")
    for pointer, kid in (("/device", manifest.device), ("/cosigner_device", manifest.cosigner_device)):
        if kid is not None and kid not in enrolled:
            raise UnknownDevice("no such device key", pointer)
    if not set(kids) <= {manifest.device, manifest.cosigner_device}:
        raise SignatureInvalid("signed by a device that the payload does not name", "/signatures")
    if manifest.cosigner_device is None:
        # A close is a request to close; every other kind tells what happened and is kept with its breach.
        if manifest.kind is Kind.VISIT_CLOSE:
            raise CosignatureMissing("a close names two signers", "/cosigner_device")
        return
    is_one_person = _owner(enrolled, manifest.device) == _owner(enrolled, manifest.cosigner_device)
    if manifest.device == manifest.cosigner_device or manifest.actor == manifest.cosigner or is_one_person:
        raise CosignerNotDistinct("one person or device is named twice", "/cosigner")
    if len({header.role for header in envelope.headers}) < len(kids):
        raise CosignerNotDistinct("both signatures claim one role", "/signatures")


def _owner(enrolled: Mapping[str, DeviceRow], kid: str) -> StaffId:
    return StaffId(enrolled[kid].staff_id)


def _signed_by(row: DeviceRow, *, is_renewed: bool) -> SignedBy:
    return SignedBy(
        kid=row.kid, staff_id=StaffId(row.staff_id), state=row.state.value, revoked_at=row.revoked_at, compromised_since=row.compromised_since,
        is_renewed=is_renewed)
