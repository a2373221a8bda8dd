"""The transparency log against published probes and against its own definition."""

import base64
import hashlib

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from evidence import merkle, translog
from evidence.errors import LogProofInvalid
from tests.unit.evidence.samples import sample_json

ORIGIN = "log.example/fieldvisit"
LEAVES = [merkle.leaf_hash(bytes([number])) for number in range(70)]


def b64(text: str | None) -> bytes:
    return base64.b64decode(text or "")


def naive_root(hashes: list[bytes]) -> bytes:
    """RFC 9162 §2.1.1, as it stands there."""
    if not hashes:
        return hashlib.sha256(b"").digest()
    if len(hashes) == 1:
        return hashes[0]
    split = 1
    while split * 2 < len(hashes):
        split *= 2
    return hashlib.sha256(b"\x01" + naive_root(hashes[:split]) + naive_root(hashes[split:])).digest()


def test_published_inclusion_probes_are_answered() -> None:
    probes = sample_json("merkle/inclusion.json")
    for probe in probes:
        path = [b64(one) for one in probe["proof"] or []]
        try:
            merkle.demand_inclusion(b64(probe["root"]), probe["treeSize"], probe["leafIdx"], b64(probe["leafHash"]), path)
        except LogProofInvalid:
            assert probe["wantErr"], probe["name"]
        else:
            assert not probe["wantErr"], probe["name"]
    assert any(probe["wantErr"] for probe in probes)
    assert any(not probe["wantErr"] for probe in probes)


def test_published_consistency_probes_are_answered() -> None:
    wrong = []
    for probe in sample_json("merkle/consistency.json"):
        roots = b64(probe["root1"]), b64(probe["root2"])
        try:
            merkle.demand_consistency((probe["size1"], roots[0]), (probe["size2"], roots[1]), [b64(one) for one in probe["proof"] or []])
            refused = False
        except LogProofInvalid:
            refused = True
        if refused != probe["wantErr"] and all(len(root) == 32 for root in roots):
            wrong.append(probe["name"])
    assert wrong == []


@pytest.mark.parametrize("size", [0, 1, 2, 3, 7, 8, 33, 64, 70])
def test_the_incremental_root_is_the_recursive_one(size: int) -> None:
    assert merkle.root_of(LEAVES[:size]) == naive_root(LEAVES[:size])


@given(st.integers(1, 70), st.data())
def test_every_leaf_and_every_prefix_is_proven_and_nothing_else(size: int, data: st.DataObject) -> None:
    leaves, root = LEAVES[:size], merkle.root_of(LEAVES[:size])
    index, old = data.draw(st.integers(0, size - 1)), data.draw(st.integers(1, size))
    path = merkle.inclusion_proof(leaves, index)
    merkle.demand_inclusion(root, size, index, leaves[index], path)
    merkle.demand_consistency((old, merkle.root_of(leaves[:old])), (size, root), merkle.consistency_proof(leaves, old))
    with pytest.raises(LogProofInvalid):
        merkle.demand_inclusion(root, size, index, merkle.leaf_hash(b"foreign"), path)
    with pytest.raises(LogProofInvalid):
        merkle.demand_inclusion(root, size, index, leaves[index], (*path, b"\x00" * 32))
    with pytest.raises(LogProofInvalid):
        merkle.demand_consistency((old, b"\x01" * 32), (size, root), merkle.consistency_proof(leaves, old))


def test_stored_nodes_give_the_same_proofs_as_all_leaves() -> None:
    tree, stored = merkle.Tree(), {}
    for hash_of_leaf in LEAVES:
        tree, nodes = merkle.appended_nodes(tree, hash_of_leaf)
        stored |= {(node.level, node.index): node.hash for node in nodes}
    assert tree.root() == merkle.root_of(LEAVES)

    def read(level: int, index: int) -> bytes:
        return stored[level, index]

    for size in (1, 5, 64, 70):
        assert merkle.inclusion_path(read, size, size // 2) == merkle.inclusion_proof(LEAVES[:size], size // 2)
        assert merkle.consistency_path(read, max(1, size // 3), size) == merkle.consistency_proof(LEAVES[:size], max(1, size // 3))


def signed_proof() -> tuple[str, Ed25519PrivateKey, translog.Entry]:
    key = Ed25519PrivateKey.from_private_bytes(b"\x07" * 32)
    entry = translog.Entry(type="manifest", time="2026-11-27T02:00:00.000Z", salt=b"s" * 16, payload=b"payload")
    leaves = [*LEAVES[:5], merkle.leaf_hash(translog.leaf_bytes(entry, 5)), *LEAVES[6:9]]
    checkpoint = translog.sign_checkpoint(translog.Checkpoint(origin=ORIGIN, size=9, root=merkle.root_of(leaves)), key)
    proof = translog.LogProof(index=5, path=merkle.inclusion_proof(leaves, 5), checkpoint=checkpoint, extra=translog.entry_extra(entry))
    return translog.encode_proof(proof), key, entry


def test_a_proof_text_is_verified_offline() -> None:
    text, key, entry = signed_proof()
    assert translog.encode_proof(translog.parse_proof(text)) == text
    assert translog.verify_proof(text, entry.payload, ORIGIN, key.public_key()).size == 9


def test_every_changed_character_of_a_proof_is_refused() -> None:
    text, key, entry = signed_proof()
    raw = text.encode()
    for position in range(len(raw)):
        changed = bytes([*raw[:position], raw[position] ^ 1, *raw[position + 1:]])
        with pytest.raises(LogProofInvalid):
            translog.verify_proof(changed.decode("utf-8", "replace"), entry.payload, ORIGIN, key.public_key())


@pytest.mark.parametrize("change", [
    lambda text: text.replace("index 5", "index 05"), lambda text: text.replace("\n\n—", "\n\n\n—"), lambda text: text.rstrip("\n"),
    lambda text: text.replace("tlog-proof@v1", "tlog-proof@v2"), lambda text: text.replace(ORIGIN, "log.example/other"), lambda text: "",
])
def test_other_spellings_of_a_proof_are_refused(change) -> None:  # type: ignore[no-untyped-def]
    text, key, entry = signed_proof()
    with pytest.raises(LogProofInvalid):
        translog.verify_proof(change(text), entry.payload, ORIGIN, key.public_key())


def test_a_key_that_is_not_the_logs_is_refused() -> None:
    text, _, entry = signed_proof()
    with pytest.raises(LogProofInvalid, match="no signature of the log's key"):
        translog.verify_proof(text, entry.payload, ORIGIN, Ed25519PrivateKey.generate().public_key())


def test_a_witness_is_counted_only_with_its_own_key() -> None:
    log, witness = (Ed25519PrivateKey.from_private_bytes(bytes([n]) * 32) for n in (1, 2))
    signed = translog.sign_checkpoint(translog.Checkpoint(origin=ORIGIN, size=1, root=LEAVES[0]), log)
    cosigned = translog.cosign_checkpoint(signed, "witness.example/bank", witness, 1_795_744_800)
    assert translog.verify_checkpoint(cosigned, ORIGIN, log.public_key()).size == 1
    assert translog.verify_cosignatures(cosigned, {"witness.example/bank": witness.public_key()}) == {"witness.example/bank": 1_795_744_800}
    assert translog.verify_cosignatures(cosigned, {"witness.example/bank": log.public_key()}) == {}
    assert translog.verify_cosignatures(signed, {"witness.example/bank": witness.public_key()}) == {}


def test_the_published_note_example_has_the_published_key_id() -> None:
    """The key hash in a C2SP note line binds name, type byte and key."""
    key = Ed25519PrivateKey.from_private_bytes(b"\x01" * 32).public_key()
    expected = hashlib.sha256(b"a.example\n\x01" + key.public_bytes_raw()).digest()[:4]
    assert translog.key_id("a.example", key) == expected
    assert translog.key_id("a.example", key, translog.KEY_TYPE_COSIGNATURE) != expected
