"""Apple's App Attest: that a genuine copy of a named app, on genuine hardware, vouches for something said under a challenge. Never a gate.

The attested key belongs to Apple's service and signs nothing of ours; what it vouches for (`client_data`) names the phone's own key, and the
app makes that one in the Secure Enclave. Hence the level `enclave` is as good as the app that the operator pins. Steps as in Apple's
"Validating apps that connect to your server"; leaves live three days, so an attestation is judged when it arrives.
"""

import hashlib
from datetime import datetime
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from evidence import cbor
from evidence.attestation import CERTIFICATE_BYTES_MAX, Attested, Roots
from evidence.revocation import is_issued_by

ATTESTATION_BYTES_MAX: Final = 16_384
NONCE_EXTENSION: Final = x509.ObjectIdentifier("1.2.840.113635.100.8.2")
_NONCE_HEAD: Final = bytes.fromhex("3024a1220420")          # SEQUENCE { [1] { OCTET STRING of 32 bytes } }.
_ENVIRONMENTS: Final = {b"appattest" + bytes(7): "production", b"appattestdevelop": "development"}


class _Refused(Exception):
    pass


def judge_apple(attestation: bytes, client_data: bytes, roots: Roots, at: datetime) -> Attested:
    """Judge an attestation object over `client_data`: `enclave`, or `unattested` or `unparsed` with the reason. Never raises."""
    try:
        certificates, said = _read(attestation)
    except Exception as error:                    # A decoder of foreign bytes: whatever it stumbles over, it is not an attestation.
        return Attested(level="unparsed", reason=f"attestation: {error if isinstance(error, _Refused) else type(error).__name__}")
    try:
        _demand_chain(certificates, roots, at)
        _demand_nonce(certificates[0], said, client_data)
        _demand_key(certificates[0], said, roots)
    except _Refused as refused:
        return Attested(level="unattested", reason=str(refused))
    return Attested(level="enclave")


def _read(attestation: bytes) -> tuple[list[x509.Certificate], bytes]:
    """Return leaf and intermediate certificates, and the authenticator data."""
    _demand(len(attestation) <= ATTESTATION_BYTES_MAX, "too-large")
    found: Any = cbor.read(attestation)
    _demand(isinstance(found, dict) and set(found) == {"fmt", "attStmt", "authData"} and found["fmt"] == "apple-appattest", "another-format")
    statement, said = found["attStmt"], found["authData"]
    _demand(isinstance(statement, dict) and set(statement) == {"x5c", "receipt"} and isinstance(said, bytes), "another-format")
    _demand(isinstance(statement["receipt"], bytes), "another-format")
    chain = statement["x5c"]
    _demand(isinstance(chain, list) and len(chain) == 2, "chain-size")
    _demand(all(isinstance(one, bytes) and len(one) <= CERTIFICATE_BYTES_MAX for one in chain), "chain-size")
    certificates = [x509.load_der_x509_certificate(one) for one in chain]
    for one, raw in zip(certificates, chain, strict=True):
        _demand(raw.endswith(b"\x00" + one.signature), "signature-bits")     # Whole octets: one certificate has one spelling.
        one.public_key()
        list(one.extensions)
    return certificates, said


def _demand_chain(certificates: list[x509.Certificate], roots: Roots, at: datetime) -> None:
    leaf, middle = certificates
    _demand(is_issued_by(leaf, middle), "chain-broken")
    _demand(any(is_issued_by(middle, x509.load_der_x509_certificate(root)) for root in roots.apple_roots), "root-not-pinned")
    _demand(all(one.not_valid_before_utc <= at <= one.not_valid_after_utc for one in certificates), "not-valid-then")
    _demand(all(f"{one.serial_number:x}" not in roots.revoked_serials for one in certificates), "revoked")


def _demand_nonce(leaf: x509.Certificate, said: bytes, client_data: bytes) -> None:
    nonce = hashlib.sha256(said + hashlib.sha256(client_data).digest()).digest()
    found = [one.value.public_bytes() for one in leaf.extensions if one.oid == NONCE_EXTENSION]
    _demand(found == [_NONCE_HEAD + nonce], "another-challenge")


def _demand_key(leaf: x509.Certificate, said: bytes, roots: Roots) -> None:
    """Demand authenticator data of a first use, by a pinned app, in a pinned environment, naming the leaf's key."""
    key = leaf.public_key()
    _demand(isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP256R1), "another-key")
    assert isinstance(key, ec.EllipticCurvePublicKey)
    key_id = hashlib.sha256(key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)).digest()
    _demand(len(said) > 87 and said[53:87] == b"\x00\x20" + key_id, "another-key")
    _demand(said[:32] in {hashlib.sha256(app.encode()).digest() for app in roots.apple_apps}, "app-not-pinned")
    _demand(said[33:37] == bytes(4), "used-before")
    _demand(_ENVIRONMENTS.get(said[37:53], "") in roots.apple_environments, "environment-not-allowed")


def _demand(truth: object, reason: str) -> None:
    if not truth:
        raise _Refused(reason)
