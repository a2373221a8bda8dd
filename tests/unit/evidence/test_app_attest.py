"""App Attest: `enclave` only for what a pinned app said under this challenge; everything else has a name, nothing an exception."""

import base64
import contextlib
import hashlib
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID
from hypothesis import given, settings
from hypothesis import strategies as st

from evidence import cbor
from evidence.app_attest import ATTESTATION_BYTES_MAX, NONCE_EXTENSION, judge_apple
from evidence.attestation import Attested, Roots
from evidence.errors import MalformedError
from evidence.keys import PrivateKey, generate_key
from tests.unit.evidence.samples import sample_json

AT, APP, SAID = datetime(2026, 11, 27, tzinfo=UTC), "TEAM123456.example.phone", b"challenge.kid"
ROOT, MIDDLE, LEAF, OTHER = generate_key(), generate_key(), generate_key(), generate_key()
# Public: "Apple App Attestation Root CA", valid to 2045, from https://www.apple.com/certificateauthority/private/.
APPLE_ROOT = base64.b64decode(
    "MIICITCCAaegAwIBAgIQC/O+DvHN0uD7jG5yH2IXmDAKBggqhkjOPQQDAzBSMSYwJAYDVQQDDB1BcHBsZSBBcHAgQXR0ZXN0YXRpb24gUm9vdCBDQTETMBEGA1UECgwKQXBwbGUg"
    "SW5jLjETMBEGA1UECAwKQ2FsaWZvcm5pYTAeFw0yMDAzMTgxODMyNTNaFw00NTAzMTUwMDAwMDBaMFIxJjAkBgNVBAMMHUFwcGxlIEFwcCBBdHRlc3RhdGlvbiBSb290IENBMRMw"
    "EQYDVQQKDApBcHBsZSBJbmMuMRMwEQYDVQQIDApDYWxpZm9ybmlhMHYwEAYHKoZIzj0CAQYFK4EEACIDYgAERTHhmLW07ATaFQIEVwTtT4dyctdhNbJhFs/Ii2FdCgAHGbpphY3+"
    "d8qjuDngIN3WVhQUBHAoMeQ/cLiP1sOUtgjqK9auYen1mMEvRq9Sk3Jm5X8U62H+xTD3FE9TgS41o0IwQDAPBgNVHRMBAf8EBTADAQH/MB0GA1UdDgQWBBSskRBTM72+aEH/pwyp"
    "5frq5eWKoTAOBgNVHQ8BAf8EBAMCAQYwCgYIKoZIzj0EAwMDaAAwZQIwQgFGnByvsiVbpTKwSga0kP0e8EeDS4+sQmTvb7vn53O5+FRXgeLhpJ06ysC5PrOyAjEAp5U4xDgEgllF"
    "7En3VcE3iexZZtKeYnpqtijVoyFraWVIyd/dganmrduC1bmTBGwD")


def written(value: Any) -> bytes:
    """Write CBOR, of what a test needs."""
    if isinstance(value, bytes | str):
        raw = value if isinstance(value, bytes) else value.encode()
        return head(2 if isinstance(value, bytes) else 3, len(raw)) + raw
    if isinstance(value, list):
        return head(4, len(value)) + b"".join(written(one) for one in value)
    if isinstance(value, dict):
        return head(5, len(value)) + b"".join(written(key) + written(one) for key, one in value.items())
    return head(0, value) if value >= 0 else head(1, -1 - value)


def head(major: int, number: int) -> bytes:
    if number < 24:
        return bytes([major << 5 | number])
    width = next(width for width in (1, 2, 4, 8) if number < 1 << 8 * width)
    return bytes([major << 5 | {1: 24, 2: 25, 4: 26, 8: 27}[width]]) + number.to_bytes(width, "big")


def certificate(key: PrivateKey, by: PrivateKey, issuer: str, name: str, *, is_ca: bool, nonce: bytes | None = None, days: int = 3,
                at: datetime = AT) -> bytes:
    def named(text: str) -> x509.Name:
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])

    built = x509.CertificateBuilder(
        issuer_name=named(issuer), subject_name=named(name), public_key=key.public_key(), serial_number=77, not_valid_before=at - timedelta(days=1),
        not_valid_after=at + timedelta(days=days)).add_extension(x509.BasicConstraints(ca=is_ca, path_length=None), critical=True)
    if nonce is not None:
        built = built.add_extension(x509.UnrecognizedExtension(NONCE_EXTENSION, bytes.fromhex("3024a1220420") + nonce), critical=False)
    return built.sign(by, hashes.SHA256()).public_bytes(Encoding.DER)


def point(key: PrivateKey) -> bytes:
    return hashlib.sha256(key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)).digest()


def told(*, app: str = APP, counter: int = 0, environment: bytes = b"appattest" + bytes(7), key: PrivateKey = LEAF) -> bytes:
    return hashlib.sha256(app.encode()).digest() + b"\x40" + counter.to_bytes(4, "big") + environment + b"\x00\x20" + point(key) + b"\xa0"


def attestation(said: bytes | None = None, *, client_data: bytes = SAID, middle_by: PrivateKey = ROOT, leaf_by: PrivateKey = MIDDLE,
                is_ca: bool = True, at: datetime = AT, **changes: Any) -> bytes:
    said = told() if said is None else said
    nonce = hashlib.sha256(said + hashlib.sha256(client_data).digest()).digest()
    chain = [certificate(LEAF, leaf_by, "middle", "leaf", is_ca=False, nonce=nonce, at=at),
             certificate(MIDDLE, middle_by, "root", "middle", is_ca=is_ca, days=4000, at=at)]
    return written({"fmt": "apple-appattest", "attStmt": {"x5c": chain, "receipt": b"r"}, "authData": said, **changes})


PINNED = Roots(apple_roots=(certificate(ROOT, ROOT, "root", "root", is_ca=True, days=9000),), apple_apps=frozenset({APP}))


def judged(raw: bytes, *, client_data: bytes = SAID, roots: Roots = PINNED, at: datetime = AT) -> Attested:
    return judge_apple(raw, client_data, roots, at)


def pinned_with(**changes: Any) -> Roots:
    return Roots(**{"apple_roots": PINNED.apple_roots, "apple_apps": PINNED.apple_apps, **changes})


@pytest.mark.parametrize("raw, changes, reason", [
    (attestation(), {"client_data": b"another"}, "another-challenge"),
    (attestation(), {"roots": Roots()}, "root-not-pinned"),
    (attestation(), {"roots": pinned_with(apple_apps=frozenset())}, "app-not-pinned"),
    (attestation(), {"roots": pinned_with(revoked_serials=frozenset({"4d"}))}, "revoked"),
    (attestation(), {"at": AT + timedelta(days=5)}, "not-valid-then"),
    (attestation(), {"at": AT - timedelta(days=5)}, "not-valid-then"),
    (attestation(middle_by=OTHER), {}, "root-not-pinned"),
    (attestation(leaf_by=OTHER), {}, "chain-broken"),
    (attestation(is_ca=False), {}, "chain-broken"),
    (attestation(told(app="TEAM123456.another")), {}, "app-not-pinned"),
    (attestation(told(counter=1)), {}, "used-before"),
    (attestation(told(environment=b"appattestdevelop")), {}, "environment-not-allowed"),
    (attestation(told(environment=b"0" * 16)), {}, "environment-not-allowed"),
    (attestation(told(key=OTHER)), {}, "another-key"),
    (attestation(told()[:87]), {}, "another-key"),
])
def test_what_does_not_prove_is_unattested_with_its_reason(raw: bytes, changes: dict[str, Any], reason: str) -> None:
    assert judged(raw, **changes) == Attested(level="unattested", reason=reason)


@pytest.mark.parametrize("raw", [
    b"", b"\xa0", written([]), attestation(fmt="packed"), attestation(attStmt={}), attestation(attStmt={"x5c": [b"x", b"y"], "receipt": b""}),
    attestation(more=1),
    attestation(attStmt={"x5c": [certificate(LEAF, MIDDLE, "middle", "leaf", is_ca=False)], "receipt": b""}), attestation() + b"\x00",
    bytes(ATTESTATION_BYTES_MAX + 1),
])
def test_what_cannot_be_read_is_unparsed(raw: bytes) -> None:
    assert judged(raw).level == "unparsed"


def test_a_genuine_app_under_this_challenge_is_enclave() -> None:
    assert judged(attestation()) == Attested(level="enclave")
    roots = pinned_with(apple_environments=frozenset({"development"}))
    assert judged(attestation(told(environment=b"appattestdevelop")), roots=roots).level == "enclave"


def test_no_cut_and_no_flip_is_enclave() -> None:
    raw = attestation()
    assert {judged(raw[:length]).level for length in range(0, len(raw), 17)} == {"unparsed"}
    receipt = raw.index(b"receipt") + 7
    for position in (one for one in range(len(raw)) if one != receipt + 1):             # Apple's receipt is for Apple.
        changed = raw[:position] + bytes([raw[position] ^ 1 << position % 8]) + raw[position + 1:]
        assert judged(changed).level in ("unparsed", "unattested"), position


def test_a_signature_of_whole_octets_has_one_spelling() -> None:
    """The count of unused bits before an ECDSA signature may be raised where the last bits are naught: other bytes, the same signature."""
    spelled = 0
    for _ in range(8):
        raw = attestation()
        for place in (at for at in range(1, len(raw) - 2) if raw[at] == 0 and raw[at - 2] == 3 and raw[at + 1] == 0x30):
            changed = raw[:place] + b"\x01" + raw[place + 1:]
            assert judged(changed).level == "unparsed"
            spelled += 1
    assert spelled >= 16


def test_published_records_are_answered() -> None:
    record, assertion = sample_json("attestation/apple.json")
    app = f"{record['teamIdentifier']}.{record['bundleIdentifier']}"
    at = datetime.fromisoformat(record["timestamp"])
    raw, said = base64.b64decode(record["attestationBase64"]), base64.b64decode(record["clientDataBase64"])
    roots = Roots(apple_roots=(APPLE_ROOT,), apple_apps=frozenset({app}), apple_environments=frozenset({"development"}))
    assert judge_apple(raw, said, roots, at) == Attested(level="enclave")
    assert judge_apple(raw, said + b".", roots, at).reason == "another-challenge"
    assert judge_apple(raw, said, roots, at + timedelta(days=3)).reason == "not-valid-then"
    assert judge_apple(raw, said, Roots(apple_roots=(APPLE_ROOT,), apple_apps=frozenset({app})), at).reason == "environment-not-allowed"
    assert judge_apple(base64.b64decode(assertion["assertionBase64"]), said, roots, at).level == "unparsed"     # An assertion enrols nothing.


# -- CBOR ----------------------------------------------------------------------------------------------------------------------

VALUES = st.recursive(
    st.integers(-2**64, 2**64 - 1) | st.binary(max_size=300) | st.text(max_size=50),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.integers(-9, 9) | st.text(max_size=4), inner, max_size=4), max_leaves=12)


@given(VALUES)
def test_cbor_is_read_back_as_written(value: Any) -> None:
    raw = written(value)
    assert cbor.read(raw) == value
    for bad in (raw + b"\x00", raw[:-1]):
        with pytest.raises(MalformedError):
            cbor.read(bad)


@settings(max_examples=300)
@given(st.binary(max_size=60))
def test_cbor_reads_anything_or_refuses_it(raw: bytes) -> None:
    with contextlib.suppress(MalformedError):
        assert written(cbor.read(raw)) == raw               # One spelling only.


@pytest.mark.parametrize("raw", [
    "1800", "1817", "190010", "1a0000ffff", "1b00000000ffffffff", "5f4100ff", "9fff", "bfff", "c001", "f4", "f6", "f90000", "1c", "a2010001ff",
    "a201000100", "a1410000", "6180", "9bffffffffffffffff", "81" * 20 + "00", "ff", "5affffffff",
])
def test_cbor_outside_the_subset_is_refused(raw: str) -> None:
    with pytest.raises(MalformedError):
        cbor.read(bytes.fromhex(raw))
