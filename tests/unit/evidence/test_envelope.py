"""Envelopes: strict shape, every signature, two people."""

import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from evidence.canonical import b64u_decode, b64u_encode, canonicalise, parse_strict
from evidence.envelope import PairFacts, assemble, check_shape, header_for, judge_pair, merge, sign, verify_signatures
from evidence.errors import EvidenceError, MalformedError, ManifestConflict, SignatureInvalid, UnknownDevice, WrongAlgorithm
from evidence.facts import CaptureFacts, Kind
from evidence.keys import generate_key, key_from_jwk, public_jwk, thumbprint
from evidence.manifest import encode_manifest
from tests.unit.evidence import builders
from tests.unit.evidence.builders import BILAL, BILAL_KID, DONG, DONG_KID, KEYS, envelope

PAIR = PairFacts(person_by_kid={BILAL_KID: "bilal", DONG_KID: "dong"}, assigned=frozenset({"bilal", "dong"}))
GOOD = envelope()


def protected(index: int = 0, **changes: Any) -> dict[str, Any]:
    """Return the good envelope as an object, one protected header changed."""
    raw = json.loads(GOOD)
    header = {**json.loads(b64u_decode(raw["signatures"][index]["protected"])), **changes}
    raw["signatures"][index]["protected"] = b64u_encode(canonicalise({k: v for k, v in header.items() if v != "DROP"}))
    return raw


def shaped(**changes: Any) -> dict[str, Any]:
    return {**json.loads(GOOD), **changes}


def member(**changes: Any) -> dict[str, Any]:
    raw = json.loads(GOOD)
    raw["signatures"][0] = {k: v for k, v in {**raw["signatures"][0], **changes}.items() if v != "DROP"}
    return raw


MALFORMED = [
    {}, {"payload": "QQ"}, shaped(signatures=[]), shaped(signatures=json.loads(GOOD)["signatures"] * 2), shaped(signatures={}), shaped(payload=""),
    shaped(payload=1),
    shaped(payload="QR"), shaped(payload="QQ=="), shaped(header={}), shaped(protected="e30"), member(header={"alg": "ES256"}),
    member(signature="DROP"),
    member(protected=1), member(signature="QQ"), member(signature=b64u_encode(b"x" * 65)), protected(crit=["b64"]), protected(b64=False),
    protected(jwk=public_jwk(BILAL)), protected(jku="https://a.example"), protected(x5c=[]), protected(typ="JWT"), protected(kid="DROP"),
    protected(kid=7),
    protected(ev={}), protected(ev="capturer"),
    protected(ev={**json.loads(b64u_decode(json.loads(GOOD)["signatures"][0]["protected"]))["ev"], "kid": DONG_KID}),
    protected(cty="x"), protected(typ="DROP"),
]


@pytest.mark.parametrize("raw", MALFORMED)
def test_a_malformed_envelope_is_refused(raw: dict[str, Any]) -> None:
    with pytest.raises(MalformedError):
        check_shape(json.dumps(raw).encode())


@pytest.mark.parametrize("alg", ["none", "HS256", "ES384", "es256", "RS256", "EdDSA", "DROP", None, 1])
def test_another_algorithm_is_refused(alg: object) -> None:
    with pytest.raises(WrongAlgorithm) as refusal:
        check_shape(json.dumps(protected(alg=alg)).encode())
    assert (refusal.value.problem, refusal.value.status) == ("wrong-algorithm", 422)


def test_duplicate_keys_are_refused_in_envelope_and_header() -> None:
    with pytest.raises(MalformedError, match="duplicate"):
        check_shape(GOOD[:-1] + b',"payload":"QQ"}')
    raw = json.loads(GOOD)
    doubled = b64u_decode(raw["signatures"][0]["protected"])[:-1] + b',"alg":"ES256"}'
    raw["signatures"][0]["protected"] = b64u_encode(doubled)
    with pytest.raises(MalformedError, match="duplicate"):
        check_shape(json.dumps(raw).encode())


def test_every_changed_character_is_refused() -> None:
    """Single-byte mutations of a good envelope: shape, signature or unknown key, and nothing else escapes."""
    for position in range(len(GOOD)):
        changed = bytes([*GOOD[:position], GOOD[position] ^ 1, *GOOD[position + 1:]])
        with pytest.raises(EvidenceError):
            verify_signatures(check_shape(changed), KEYS.get)


def test_a_bad_second_signature_is_not_hidden_by_a_good_first() -> None:
    raw = json.loads(GOOD)
    raw["signatures"][1]["signature"] = b64u_encode(b"\x01" * 64)
    with pytest.raises(SignatureInvalid) as refusal:
        verify_signatures(check_shape(json.dumps(raw).encode()), KEYS.get)
    assert refusal.value.pointer == "/signatures/1/signature"


def test_an_unknown_key_is_refused() -> None:
    with pytest.raises(UnknownDevice):
        verify_signatures(check_shape(GOOD), {BILAL_KID: BILAL.public_key()}.get)


def test_a_key_of_another_curve_is_refused() -> None:
    other = ec.generate_private_key(ec.SECP384R1())
    with pytest.raises(WrongAlgorithm):
        verify_signatures(check_shape(GOOD), lambda _: other.public_key())
    with pytest.raises(WrongAlgorithm):
        sign(b"{}", other, header_for(builders.manifest()))


def findings(raw: bytes, pair: PairFacts = PAIR, **manifest: Any) -> set[str]:
    made = builders.manifest(**manifest)
    keys = {**KEYS, **{thumbprint(k): k.public_key() for k in (BILAL, DONG)}}
    return {finding.name for finding in judge_pair(made, verify_signatures(check_shape(raw), keys.get), pair)}


def test_VIS_01_one_signature_where_two_are_due_is_found() -> None:
    assert findings(envelope(witness=None)) == {"cosignature-missing"}


def test_VIS_01_the_same_signature_twice_is_one() -> None:
    raw = json.loads(envelope(witness=None))
    raw["signatures"] *= 2
    assert {"cosignature-missing", "cosigner-not-distinct"} <= findings(json.dumps(raw).encode())


def test_VIS_01_one_person_on_two_devices_is_one_person() -> None:
    pair = PairFacts(person_by_kid={BILAL_KID: "bilal", DONG_KID: "bilal"}, assigned=frozenset({"bilal", "dong"}))
    assert {"cosigner-not-distinct", "signer-not-assigned"} <= findings(GOOD, pair)


def test_VIS_01_a_payload_that_names_one_person_twice_is_found() -> None:
    made = builders.manifest(cosigner="bilal")
    assert "cosigner-not-distinct" in findings(envelope(made), cosigner="bilal")


def test_VIS_01_a_stranger_is_found() -> None:
    pair = PairFacts(person_by_kid=PAIR.person_by_kid, assigned=frozenset({"bilal", "chen"}))
    assert findings(GOOD, pair) == {"signer-not-assigned"}


def test_VIS_01_two_capturers_are_no_pair() -> None:
    assert {"cosigner-not-distinct", "signer-not-assigned"} <= findings(envelope(role="capturer"))


def test_VIS_01_signatures_31_minutes_apart_are_found() -> None:
    assert findings(envelope(at="2026-11-27T02:31:00.000Z")) == {"cosignature-late"}
    assert findings(envelope(at="2026-11-27T02:30:00.000Z")) == set()


def test_F07_a_capture_needs_one_signature() -> None:
    changes = {"kind": Kind.CAPTURE, "facts": CaptureFacts(occasion="door_plate"), "cosigner": None, "cosigner_device": None}
    assert findings(envelope(builders.manifest(**changes), witness=None), **changes) == set()


def test_two_good_signatures_give_no_finding() -> None:
    assert findings(GOOD) == set()


def test_signatures_made_apart_merge_in_any_order() -> None:
    payload = encode_manifest(builders.manifest())
    first = assemble(payload, [sign(payload, BILAL, header_for(builders.manifest()))])
    second = assemble(payload, [sign(payload, DONG, builders.witness_header(builders.manifest()))])
    merged = merge(second, first)
    assert merged == merge(first, second) == merge(merged, second)
    assert len(verify_signatures(check_shape(merged), KEYS.get)) == 2


def test_other_payloads_do_not_merge() -> None:
    with pytest.raises(ManifestConflict):
        merge(GOOD, envelope(builders.manifest(visit="visit-2")))


def test_the_thumbprint_is_that_of_the_rfc_members() -> None:
    key = generate_key()
    assert key_from_jwk(public_jwk(key)).public_numbers() == key.public_key().public_numbers()
    assert len(thumbprint(key)) == 43
    for broken in ({**public_jwk(key), "d": "x"}, {**public_jwk(key), "x": b64u_encode(b"\x01" * 32)}, {"kty": "EC"}, {**public_jwk(key), "x": 1}):
        with pytest.raises(MalformedError):
            key_from_jwk(broken)
    with pytest.raises(WrongAlgorithm):
        key_from_jwk({**public_jwk(key), "crv": "P-384"})


def test_payload_of_the_envelope_is_what_was_signed() -> None:
    assert parse_strict(check_shape(GOOD).payload)["visit"] == "visit-1"
