"""What the server signs about evidence: receipts, device histories, derivations, the index of a pack. All are compact ES256 tokens.

The names of members are fixed here and read again, separately, by `evidence.verify_pack`.
"""

from collections.abc import Sequence
from enum import StrEnum
from typing import Final

import msgspec

from evidence.canonical import JsonObject, JsonValue
from evidence.es256 import compact_sign
from evidence.keys import PublicKey, SigningKey, public_jwk, thumbprint
from evidence.manifest import Manifest

TYP_RECEIPT: Final = "evidence-receipt+jws"
TYP_DEVICES: Final = "device-history+jws"
TYP_DERIVATION: Final = "derivation+jws"
TYP_PACK: Final = "evidence-pack+jws"


class ReceiptStatus(StrEnum):
    """`received`: bytes, digests, signatures and log entry stand. `examined`: the content was looked at as well."""

    RECEIVED = "received"
    EXAMINED = "examined"


class Logged(msgspec.Struct, frozen=True, kw_only=True):
    """Where a log entry stands."""

    origin: str
    index: int


class DeviceState(msgspec.Struct, frozen=True, kw_only=True):
    """One step in a device key's life. `compromised_since` may lie before `at`."""

    state: str                                   # `pending`, `active`, `suspended`, `revoked`, `renewed`: gave way to a new key.
    at: str
    compromised_since: str | None = None


class DeviceHistory(msgspec.Struct, frozen=True, kw_only=True):
    """A device key, the one person it is enrolled for, and its states in order."""

    key: PublicKey
    person: str
    level: str                                   # `strongbox`, `tee`, `enclave`, `software`, `unattested`, `unparsed`.
    states: tuple[DeviceState, ...]
    last_seq: int | None = None                  # The key was renewed; it signed that its chain ends here.


class Derivation(msgspec.Struct, frozen=True, kw_only=True):
    """A stamped copy was made from a logged original (ARCH-13, ARCH-14)."""

    original_sha256: str
    copy_sha256: str
    transform: str                               # `stamp-jpeg/1`, …
    stamp: str                                   # The text on the copy.
    made: str
    person: str
    register_number: str


def receipt_payload(manifest: Manifest, digest: str, *, status: ReceiptStatus, received_at: str, logged: Logged) -> JsonObject:
    """Return what a receipt says; sign it once with `compact_sign(…, typ=TYP_RECEIPT)` and keep the bytes for every re-send."""
    items: list[JsonValue] = [{"item_id": item.item_id, "sha256": item.sha256} for item in manifest.items]
    return {
        "schema": "evidence-receipt/1", "manifest_id": manifest.manifest_id, "manifest_sha256": digest, "items": items, "status": status.value,
        "received_at": received_at, "log_origin": logged.origin, "log_index": logged.index,
    }


def sign_receipt(payload: JsonObject, key: SigningKey, kid: str) -> str:
    """Sign a receipt payload."""
    return compact_sign(payload, key, typ=TYP_RECEIPT, kid=kid)


def sign_devices(devices: Sequence[DeviceHistory], key: SigningKey, kid: str) -> str:
    """Sign the history of the device keys that appear in a pack."""
    listed: list[JsonValue] = [_device(device) for device in devices]
    return compact_sign({"schema": "device-history/1", "devices": listed}, key, typ=TYP_DEVICES, kid=kid)


def sign_derivation(derivation: Derivation, key: SigningKey, kid: str) -> str:
    """Sign that a copy comes from an original."""
    return compact_sign({"schema": "derivation/1", **msgspec.to_builtins(derivation)}, key, typ=TYP_DERIVATION, kid=kid)


def _device(device: DeviceHistory) -> JsonObject:
    states: list[JsonValue] = [
        {"state": one.state, "at": one.at, **({} if one.compromised_since is None else {"compromised_since": one.compromised_since})}
        for one in device.states]
    return {
        "kid": thumbprint(device.key), "jwk": dict(public_jwk(device.key)), "person": device.person, "level": device.level, "states": states,
        **({} if device.last_seq is None else {"last_seq": device.last_seq})}
