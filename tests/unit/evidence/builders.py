"""Good evidence to start from: keys, manifests and envelopes of an ordinary door."""

from typing import Any

from evidence.envelope import SignatureHeader, SignerRole, assemble, header_for, sign
from evidence.facts import ArrivalFacts, Kind
from evidence.keys import PrivateKey, generate_key, thumbprint
from evidence.manifest import PREV_NONE, App, Datum, Integrity, Item, Manifest, Position, Provider, Role, build_manifest, encode_manifest

BILAL, DONG = generate_key(), generate_key()
BILAL_KID, DONG_KID = thumbprint(BILAL), thumbprint(DONG)
KEYS = {BILAL_KID: BILAL.public_key(), DONG_KID: DONG.public_key()}
AT = "2026-11-27T02:00:00.000Z"
APP = App(id="phone", version="1.0", build="b" * 64, os="Android 14", model="A1", integrity=Integrity.DEVICE)
HERE = Position(lat_e7=312304160, lon_e7=1214737010, datum=Datum.WGS84, accuracy_cm=1200, fix_time=AT, provider=Provider.GPS, mock=False)
ARRIVED = ArrivalFacts(
    lead="bilal", credential_worn=True, cosigner_credential_worn=True, audio_device=True, camera_device=True, recording_running=True)


def item(item_id: str = "i1", **changes: Any) -> Item:
    members: dict[str, Any] = {
        "item_id": item_id, "role": Role.PHOTO, "sha256": "a" * 64, "size": 5, "media_type": "image/jpeg", "started": AT, "ended": AT}
    return Item(**{**members, **changes})


def members(**changes: Any) -> dict[str, Any]:
    return {
        "manifest_id": "01932b6e-7c2a-7abc-8def-0123456789ab", "tenant": "agency", "bank": "bank-1", "case": "case-1", "visit": "visit-1",
        "visit_version": 1, "kind": Kind.ARRIVAL, "device": BILAL_KID, "actor": "bilal", "cosigner_device": DONG_KID, "cosigner": "dong",
        "seq": 1, "prev": PREV_NONE, "captured": AT, "monotonic_ms": 5, "boot_id": "boot-1", "beacon": None, "beacon_age_ms": None,
        "clock_offset_ms": None, "position": HERE, "items": (item(),), "app": APP, "facts": ARRIVED, **changes}


def manifest(**changes: Any) -> Manifest:
    return build_manifest(**members(**changes))


def witness_header(of: Manifest, **changes: Any) -> SignatureHeader:
    first = header_for(of)
    fields: dict[str, Any] = {"kid": DONG_KID, "role": SignerRole.WITNESS, "at": first.at, "seq": 1, "prev": PREV_NONE, "pos": first.pos}
    return SignatureHeader(**{**fields, **changes})


def envelope(of: Manifest | None = None, capturer: PrivateKey = BILAL, witness: PrivateKey | None = DONG, **header: Any) -> bytes:
    made = of or manifest()
    payload = encode_manifest(made)
    signatures = [sign(payload, capturer, header_for(made))]
    if witness is not None:
        signatures.append(sign(payload, witness, witness_header(made, **header)))
    return assemble(payload, signatures)
