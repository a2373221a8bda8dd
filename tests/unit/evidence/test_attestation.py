"""Key attestation: a level only for what a chain to a pinned root proves; everything else has a name, nothing an exception."""

import base64
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID
from hypothesis import given, settings
from hypothesis import strategies as st

from evidence.attestation import KEY_DESCRIPTION, Attested, Roots, judge_android
from evidence.canonical import sha256_hex
from evidence.keys import PrivateKey, generate_key
from tests.unit.evidence.samples import sample_json

AT = datetime(2026, 11, 27, tzinfo=UTC)
CHALLENGE = b"c" * 32
ROOT, MIDDLE, LEAF = generate_key(), generate_key(), generate_key()


def pinned(key: Any) -> Roots:
    return Roots(root_keys_sha256=frozenset({sha256_hex(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))}))


GENERATED, IMPORTED = (bytes.fromhex(f"bf853e030201{origin:02x}") for origin in (0, 2))          # [702] EXPLICIT INTEGER.


def boot(*, is_locked: bool, state: int) -> bytes:
    """Return [704] EXPLICIT RootOfTrust with a short key and digest."""
    told = b"\x04\x01k" + b"\x01\x01" + (b"\xff" if is_locked else b"\x00") + bytes([10, 1, state]) + b"\x04\x01d"
    told = bytes([0x30, len(told)]) + told
    return bytes.fromhex("bf8540") + bytes([len(told)]) + told


def description(level: int, challenge: bytes, *, keymint: int | None = None, software: bytes = b"", hardware: bytes = GENERATED) -> bytes:
    """Return a KeyDescription: versions, two levels, challenge, an empty unique id and two lists of authorisations."""
    parts = (b"\x02\x02\x01\x2c", bytes([10, 1, level]), b"\x02\x02\x01\x2c", bytes([10, 1, level if keymint is None else keymint]),
             bytes([4, len(challenge)]) + challenge, b"\x04\x00",
             bytes([0x30, len(software)]) + software, bytes([0x30, len(hardware)]) + hardware)
    body = b"".join(parts)
    assert len(body) < 128
    return bytes([0x30, len(body)]) + body


def certificate(name: str, key: PrivateKey, issuer: str, by: PrivateKey, *, is_ca: bool, extension: bytes | None = None, days: int = 400) -> bytes:
    def named(text: str) -> x509.Name:
        return x509.Name([x509.NameAttribute(NameOID.SERIAL_NUMBER, text)])

    builder = (
        x509.CertificateBuilder().subject_name(named(name)).issuer_name(named(issuer)).public_key(key.public_key()).serial_number(len(name) + 4242)
        .not_valid_before(AT - timedelta(days=30)).not_valid_after(AT + timedelta(days=days))
        .add_extension(x509.BasicConstraints(ca=is_ca, path_length=None), critical=True))
    if extension is not None:
        builder = builder.add_extension(x509.UnrecognizedExtension(x509.ObjectIdentifier(KEY_DESCRIPTION), extension), critical=False)
    return builder.sign(by, hashes.SHA256()).public_bytes(Encoding.DER)


def chain(level: int = 2, challenge: bytes = CHALLENGE, **changes: Any) -> list[bytes]:
    made = {
        "leaf": certificate("leaf", LEAF, "middle", changes.get("leaf_by", MIDDLE), is_ca=False, days=changes.get("days", 400),
                            extension=changes.get("extension", description(level, challenge, keymint=changes.get("keymint")))),
        "middle": certificate("middle", MIDDLE, "root", ROOT, is_ca=changes.get("is_ca", True), extension=changes.get("middle_extension")),
        "root": certificate("root", ROOT, "root", ROOT, is_ca=True),
    }
    return list(made.values())


def judge(given_chain: list[bytes], **changes: Any) -> Attested:
    members: dict[str, Any] = {"key": LEAF.public_key(), "challenge": CHALLENGE, "roots": pinned(ROOT.public_key()), "at": AT}
    return judge_android(given_chain, **(members | changes))


@pytest.mark.parametrize(("level", "keymint", "expected"), [
    (0, None, "software"), (1, None, "tee"), (2, None, "strongbox"), (2, 1, "tee"), (1, 0, "software"),
])
def test_a_proven_chain_gives_the_lower_of_its_two_levels(level: int, keymint: int | None, expected: str) -> None:
    assert judge(chain(level, keymint=keymint)) == Attested(level=expected)


@pytest.mark.parametrize(("made", "changes", "reason"), [
    (chain(), {"challenge": b"d" * 32}, "another-challenge"),
    (chain(), {"key": MIDDLE.public_key()}, "another-key"),
    (chain(), {"roots": Roots()}, "root-not-pinned"),
    (chain(), {"roots": pinned(MIDDLE.public_key())}, "root-not-pinned"),
    (chain(leaf_by=ROOT), {}, "chain-broken"),
    (chain()[::-1], {}, "not-an-attested-leaf"),
    (chain()[:2], {}, "root-not-pinned"),
    (chain()[:1], {}, "chain-size"), ([], {}, "chain-size"), (chain() * 4, {}, "chain-size"),
    (chain(is_ca=False), {}, "not-an-issuer"),
    (chain(days=-1), {}, "not-valid-then"),
    (chain(middle_extension=description(2, CHALLENGE)), {}, "not-an-attested-leaf"),
    (chain(extension=None), {}, "not-an-attested-leaf"),
    (chain(), {"roots": Roots(root_keys_sha256=pinned(ROOT.public_key()).root_keys_sha256, revoked_serials=frozenset({f"{4242 + 6:x}"}))}, "revoked"),
])
def test_what_does_not_prove_is_unattested_with_its_reason(made: list[bytes], changes: dict[str, Any], reason: str) -> None:
    assert judge(made, **changes) == Attested(level="unattested", reason=reason)


@pytest.mark.parametrize(("level", "lists"), [
    (1, {"hardware": IMPORTED}), (2, {"hardware": IMPORTED}), (1, {"hardware": b""}), (1, {"hardware": b"", "software": GENERATED}),
    (0, {"hardware": b"", "software": IMPORTED}), (0, {"hardware": IMPORTED, "software": GENERATED}),
])
def test_a_key_that_was_not_made_where_it_lives_is_unattested(level: int, lists: dict[str, bytes]) -> None:
    made = chain(extension=description(level, CHALLENGE, **lists))
    assert judge(made) == Attested(level="unattested", reason="key-not-generated")


@pytest.mark.parametrize(("is_locked", "state", "reason"), [
    (True, 0, ""), (True, 1, ""), (True, 2, "boot-not-verified"), (True, 3, "boot-not-verified"), (False, 0, "boot-not-verified"),
])
def test_an_open_system_is_told_beside_the_level(is_locked: bool, state: int, reason: str) -> None:
    made = chain(extension=description(1, CHALLENGE, hardware=GENERATED + boot(is_locked=is_locked, state=state)))
    assert judge(made) == Attested(level="tee", reason=reason)


@pytest.mark.parametrize("extension", [
    description(1, CHALLENGE, hardware=GENERATED * 2), description(1, CHALLENGE, hardware=b"\xbf\x85"),
    b"", b"\x30\x00", b"\x04\x02ab", b"\x30\x80", description(7, CHALLENGE)])
def test_an_extension_that_is_none_is_unparsed(extension: bytes) -> None:
    assert judge(chain(extension=extension)).level == "unparsed"


@settings(max_examples=300, deadline=None)
@given(at=st.integers(0, 2_000), value=st.integers(1, 255), which=st.integers(0, 1))
def test_a_changed_byte_never_raises_and_one_of_the_signed_part_never_gives_a_level(at: int, value: int, which: int) -> None:
    made = chain()
    broken = bytearray(made[which])
    at %= len(broken)
    broken[at] ^= value
    signed_part = x509.load_der_x509_certificate(made[which]).tbs_certificate_bytes
    signed_from = made[which].index(signed_part)
    level = judge([*made[:which], bytes(broken), *made[which + 1:]]).level
    assert level in ("unattested", "unparsed") or not signed_from <= at < signed_from + len(signed_part)


@given(st.lists(st.binary(max_size=300), max_size=5))
def test_no_bytes_raise(junk: list[bytes]) -> None:
    assert judge(junk).level in ("unattested", "unparsed")


def test_the_published_chain_is_a_tee_key_under_its_own_root_and_challenge() -> None:
    (vector,) = sample_json("attestation/android.json")
    published = [base64.b64decode(one) for one in vector["chain_der_b64"]]
    leaf, root = (x509.load_der_x509_certificate(one).public_key() for one in (published[0], published[-1]))
    then = datetime(2020, 1, 1, tzinfo=UTC)
    members: dict[str, Any] = {"key": leaf, "roots": pinned(root), "at": then}
    assert judge(published, challenge=b"abc", **members) == Attested(level="tee", reason="boot-not-verified")       # That phone was unlocked.
    assert judge(published, challenge=b"abd", **members).reason == "another-challenge"
    assert judge(published, challenge=b"abc", **(members | {"roots": pinned(ROOT.public_key())})).reason == "root-not-pinned"
