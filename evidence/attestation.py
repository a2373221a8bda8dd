"""Android key attestation: where a phone's key lives, as far as a chain to a pinned root shows it. Graded, never a gate by itself.

Order: parse, the key itself, the challenge, the key's origin (an imported one has a copy elsewhere), the chain's signatures and validity, the
pinned root, revocation, the level. What cannot be parsed is `unparsed` (real StrongBox leaves encode what strict parsers refuse), what does not
prove is `unattested` with its reason: absence is neutral. Only a proof gives `strongbox`, `tee` or `software`.
Source: Android's KeyDescription schema (1.3.6.1.4.1.11129.2.1.17).
"""

from collections.abc import Sequence
from datetime import datetime
from itertools import pairwise
from typing import Any, Final, Literal

import msgspec
from asn1crypto import core, parser
from asn1crypto import x509 as asn1
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from evidence.canonical import sha256_hex
from evidence.keys import PublicKey

KEY_DESCRIPTION: Final = "1.3.6.1.4.1.11129.2.1.17"
CHAIN_MAX: Final = 10
CERTIFICATE_BYTES_MAX: Final = 8_192
_ORIGIN, _ROOT_OF_TRUST = 702, 704
_GENERATED: Final = b"\x02\x01\x00"
_VERIFIED_BOOT: Final = frozenset({b"\x00", b"\x01"})          # By the maker's key, or by the owner's own.
_LEVELS: Final = {0: "software", 1: "tee", 2: "strongbox"}


class Roots(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What an operator pins: SHA-256 of each trusted root's public key (DER SubjectPublicKeyInfo), and revoked serials, lower-case hex.

    For App Attest (`evidence.app_attest`): Apple's root certificates (DER, in JSON as base64), the apps as `TEAM.bundle`, and the environments.
    """

    root_keys_sha256: frozenset[str] = frozenset()
    revoked_serials: frozenset[str] = frozenset()
    apple_roots: tuple[bytes, ...] = ()
    apple_apps: frozenset[str] = frozenset()
    apple_environments: frozenset[Literal["production", "development"]] = frozenset({"production"})


class Attested(msgspec.Struct, frozen=True, kw_only=True):
    """The level that a chain proves, and why not a better one."""

    level: str                   # `strongbox`, `tee`, `enclave`, `software`, `unattested`, `unparsed`.
    reason: str = ""


class _Description(msgspec.Struct, frozen=True, kw_only=True):
    level: int
    challenge: bytes
    is_generated: bool           # Made where it lives; an imported key has a copy elsewhere.
    is_boot_verified: bool       # False only where the hardware says: unlocked, unverified or failed.


class _Unparsed(Exception):
    pass


def judge_android(chain: Sequence[bytes], key: PublicKey, challenge: bytes, roots: Roots, at: datetime) -> Attested:
    """Judge a chain of DER certificates, leaf first, for a key and the challenge that it was made under. Never raises."""
    if not 2 <= len(chain) <= CHAIN_MAX or any(len(one) > CERTIFICATE_BYTES_MAX for one in chain):
        return Attested(level="unattested", reason="chain-size")
    try:
        described = [_description(one) for one in chain]
        parsed = [_parsed(one) for one in chain]
    except _Unparsed as error:
        return Attested(level="unparsed", reason=str(error))
    leaf = described[0]
    if leaf is None or any(one is not None for one in described[1:]):
        # An extension nearer to the root would speak for another key: an attested key may sign what it likes below itself.
        return Attested(level="unattested", reason="not-an-attested-leaf")
    reason = _refusal(parsed, leaf, (key, challenge), roots, at)
    if reason:
        return Attested(level="unattested", reason=reason)
    # Where the key lives is proven all the same; that somebody may have changed the system is told.
    return Attested(level=_LEVELS[leaf.level], reason="" if leaf.is_boot_verified else "boot-not-verified")


def _refusal(chain: list[x509.Certificate], leaf: _Description, expected: tuple[PublicKey, bytes], roots: Roots, at: datetime) -> str:
    key, challenge = expected
    if _spki(chain[0].public_key()) != _spki(key):
        return "another-key"
    if leaf.challenge != challenge:
        return "another-challenge"
    if not leaf.is_generated:
        return "key-not-generated"
    for below, above in pairwise(chain):
        try:
            below.verify_directly_issued_by(above)
        except (InvalidSignature, ValueError, TypeError):
            return "chain-broken"
        if not _may_issue(above):
            return "not-an-issuer"
    # The root is trusted by its pinned key, whatever its own certificate's last day.
    if any(not one.not_valid_before_utc <= at <= one.not_valid_after_utc for one in chain[:-1]):
        return "not-valid-then"
    if sha256_hex(_spki(chain[-1].public_key())) not in roots.root_keys_sha256:
        return "root-not-pinned"
    if any(f"{one.serial_number:x}" in roots.revoked_serials for one in chain):
        return "revoked"
    return ""


def _may_issue(certificate: x509.Certificate) -> bool:
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except (x509.ExtensionNotFound, ValueError):
        return False


def _parsed(der: bytes) -> x509.Certificate:
    try:
        certificate = x509.load_der_x509_certificate(der)
        certificate.public_key()
        return certificate
    except Exception as error:
        raise _Unparsed(f"certificate: {type(error).__name__}") from None


def _description(der: bytes) -> _Description | None:
    """Read the attestation extension with a tolerant parser; None where a certificate has none."""
    try:
        found: list[Any] = [one for one in asn1.Certificate.load(der, strict=True)["tbs_certificate"]["extensions"]
                            if one["extn_id"].dotted == KEY_DESCRIPTION]
        if not found:
            return None
        fields = core.Sequence.load(found[0]["extn_value"].native, strict=True)
        levels = [int.from_bytes(fields[index].contents, "big") for index in (1, 3)]
        if len(found) > 1 or not set(levels) <= set(_LEVELS) or not isinstance(fields[4], core.OctetString):
            raise _Unparsed("extension: not a KeyDescription")
        software, hardware = _authorisations(fields[6].contents), _authorisations(fields[7].contents)
        level = min(levels)
        origins = [one[_ORIGIN] for one in ((hardware,) if level else (hardware, software)) if _ORIGIN in one]
        return _Description(
            level=level, challenge=fields[4].native, is_generated=origins == [_GENERATED] if level else set(origins) <= {_GENERATED},
            is_boot_verified=_ROOT_OF_TRUST not in hardware or _is_verified(hardware[_ROOT_OF_TRUST]))
    except _Unparsed:
        raise
    except Exception as error:
        raise _Unparsed(f"extension: {type(error).__name__}") from None


def _authorisations(raw: bytes) -> dict[int, bytes]:
    """Return the DER content of each entry of an AuthorizationList by its tag."""
    found: dict[int, bytes] = {}
    while raw:
        _, _, tag, header, content, trailer = parser.parse(raw)
        raw = raw[len(header) + len(content) + len(trailer):]
        if tag in found:
            raise _Unparsed("extension: an authorisation twice")
        found[tag] = content
    return found


def _is_verified(root_of_trust: bytes) -> bool:
    told = core.Sequence.load(root_of_trust, strict=True)
    return told[1].native is True and told[2].contents in _VERIFIED_BOOT


def _spki(key: Any) -> bytes:
    raw: bytes = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return raw
