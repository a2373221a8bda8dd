"""The payload `visit-evidence/1`."""

import json

import msgspec
import pytest

from evidence.canonical import canonicalise, parse_strict
from evidence.errors import EvidenceError, PayloadNotCanonical, SchemaViolation
from evidence.facts import FACTS_BY_KIND, CaptureFacts, Kind
from evidence.manifest import PREV_NONE, Manifest, decode_manifest, encode_manifest, manifest_digest
from tests.unit.evidence import builders


def payload_with(**changes: object) -> bytes:
    return canonicalise({**parse_strict(encode_manifest(builders.manifest())), **changes})  # type: ignore[dict-item]


@pytest.mark.parametrize("changes, pointer", [
    ({"schema": "visit-evidence/2"}, "/schema"), ({"manifest_id": "01932b6e-7c2a-4abc-8def-0123456789ab"}, "/manifest_id"), ({"bank": "二"}, "/bank"),
    ({"kind": "payment"}, "/kind"), ({"device": "short"}, "/device"), ({"seq": 0}, "/seq"), ({"prev": "AB" * 32}, "/prev"),
    ({"captured": "2026-11-27T02:00:00Z"}, "/captured"), ({"captured": "2026-02-31T02:00:00.000Z"}, "/captured"),
    ({"monotonic_ms": "5"}, "/monotonic_ms"),
    ({"extra": 1}, ""), ({"position": {"lat": 1}}, "/position"), ({"facts": {"lead": "x"}}, "/facts"), ({"facts": {}}, "/facts"),
    ({"items": {}}, "/items"),
    ({"cosigner": None}, ""), ({"beacon": "a" * 64}, ""), ({"position": None}, ""), ({"no_fix_reason": "timeout"}, ""), ({"seq": 2}, ""),
    ({"prev": "a" * 64}, ""), ({"items": [{"item_id": "i1"}]}, "/items/0"),
])
def test_a_payload_outside_the_schema_is_refused_with_a_pointer(changes: dict[str, object], pointer: str) -> None:
    with pytest.raises(SchemaViolation) as refusal:
        decode_manifest(payload_with(**changes))
    assert refusal.value.pointer == pointer
    assert refusal.value.problem == "schema-violation"


@pytest.mark.parametrize("raw", [
    lambda p: b" " + p, lambda p: p + b"\n", lambda p: json.dumps(json.loads(p), sort_keys=True).encode(),
    lambda p: p.replace(b'"agency"', b'"\\u0061gency"'),
])
def test_another_spelling_is_refused(raw) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(PayloadNotCanonical):
        decode_manifest(raw(encode_manifest(builders.manifest())))


def test_an_optional_member_spelled_out_is_a_second_spelling() -> None:
    with pytest.raises(PayloadNotCanonical):
        decode_manifest(payload_with(network=None))


def test_facts_of_another_kind_are_refused() -> None:
    with pytest.raises(SchemaViolation):
        builders.manifest(facts=CaptureFacts(occasion="door"))


def test_201_items_are_refused() -> None:
    with pytest.raises(SchemaViolation):
        builders.manifest(items=tuple(builders.item(f"i{n}") for n in range(201)))


def test_CASH_07_a_fee_has_no_place_in_any_manifest() -> None:
    names = {field.name for facts in FACTS_BY_KIND.values() for field in msgspec.structs.fields(facts)} | set(Manifest.__struct_fields__)
    assert not {name for name in names if "fee" in name or "deduct" in name}


def test_every_single_change_gives_another_digest_or_a_refusal() -> None:
    payload = encode_manifest(builders.manifest())
    for position in range(len(payload)):
        changed = bytes([*payload[:position], payload[position] ^ 1, *payload[position + 1:]])
        try:
            decode_manifest(changed)
        except EvidenceError:
            continue
        assert manifest_digest(changed) != manifest_digest(payload)


def test_a_manifest_comes_back_as_it_was_built() -> None:
    built = builders.manifest(kind=Kind.CAPTURE, facts=CaptureFacts(occasion="door_plate"), cosigner=None, cosigner_device=None)
    assert decode_manifest(encode_manifest(built)) == built
    assert built.prev == PREV_NONE
