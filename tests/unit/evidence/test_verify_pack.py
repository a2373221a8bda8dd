"""The offline verifier against every change we can think of. The pack is made by the service's code, the verdict by a file that shares none."""

import base64
import io
import itertools
import json
import shutil
import struct
import subprocess
import sys
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from evidence import verify_pack
from evidence.canonical import canonicalise, sha256_hex
from evidence.envelope import assemble, check_shape, header_for, sign
from evidence.es256 import compact_peek, compact_sign
from evidence.facts import CaptureFacts, Kind
from evidence.keys import thumbprint
from evidence.manifest import decode_manifest, encode_manifest
from evidence.merkle import leaf_hash, nodes_over
from evidence.pack import Pack, PackCopy, PackFollowUp, PackRecording, PackStamp, Withheld, measured, trust_document, write_pack
from evidence.statements import DeviceHistory, DeviceState, sign_devices, sign_receipt
from evidence.time_stamps import ask
from evidence.translog import cosign_checkpoint
from tests.support.time_authority import TimeAuthority
from tests.unit.evidence import builders, packs
from tests.unit.evidence.packs import House, cash_facts, devices, door, grant, pack_of, packed

SEED = 20261127


@pytest.fixture(scope="module")
def house() -> House:
    return House()


@pytest.fixture(scope="module")
def good(house: House) -> bytes:
    return packed(house, pack_of(house, door(house)))


@pytest.fixture
def judge(house: House, tmp_path: Path) -> Callable[..., dict[str, Any]]:
    def verdict(raw: bytes, trust: bytes | None = house.trust(), since: str | None = None) -> dict[str, Any]:
        path = tmp_path / "pack.zip"
        path.write_bytes(raw)
        try:
            return verify_pack.verify(path, None if trust is None else json.loads(trust), since)
        except (verify_pack.Bad, *verify_pack.SPOILED) as fault:
            return {"verdict": "unreadable", "findings": [{"name": "unreadable", "file": "", "detail": str(fault)}]}

    return verdict


def names(outcome: dict[str, Any]) -> set[str]:
    return {finding["name"] for finding in outcome["findings"]}


def files_of(raw: bytes, tmp_path: Path) -> dict[str, bytes]:
    (tmp_path / "read.zip").write_bytes(raw)
    with zipfile.ZipFile(tmp_path / "read.zip") as opened:
        assert opened.testzip() is None
        return {name: opened.read(name) for name in opened.namelist()}


def rezip(files: dict[str, bytes], *, is_sorted: bool = True) -> bytes:
    """Write the canonical container again, as a careful forger would."""
    out, central = b"", b""
    for name in sorted(files) if is_sorted else files:
        raw = files[name]
        fields = struct.pack("<HHHHHIIIHH", 20, 0, 0, 0, 33, zlib.crc32(raw), len(raw), len(raw), len(name), 0)
        central += b"PK\x01\x02" + struct.pack("<H", 20) + fields + struct.pack("<HHHII", 0, 0, 0, 0, len(out)) + name.encode()
        out += b"PK\x03\x04" + fields + name.encode() + raw
    return out + central + struct.pack("<4sHHHHIIH", b"PK\x05\x06", 0, 0, len(files), len(files), len(central), len(out), 0)


def rebag(files: dict[str, bytes]) -> dict[str, bytes]:
    """Make both BagIt lists fit again."""
    data = {name: raw for name, raw in files.items() if name.startswith("data/")}
    listed = "".join(f"{sha256_hex(raw)}  {name}\n" for name, raw in sorted(data.items())).encode()
    tags = {**{name: raw for name, raw in files.items() if not name.startswith(("data/", "tagmanifest"))}, "manifest-sha256.txt": listed}
    tagged = "".join(f"{sha256_hex(raw)}  {name}\n" for name, raw in sorted(tags.items())).encode()
    return {**data, **tags, "tagmanifest-sha256.txt": tagged}


def flipped(raw: bytes, position: int, mask: int = 1) -> bytes:
    return raw[:position] + bytes([raw[position] ^ mask]) + raw[position + 1:]


def test_a_flip_in_each_file_names_that_file(good: bytes, judge: Callable[..., dict[str, Any]], tmp_path: Path) -> None:
    for name, raw in files_of(good, tmp_path).items():
        start = good.index(name.encode() + raw) + len(name)
        for position in (start, start + len(raw) // 2, start + len(raw) - 1):
            outcome = judge(flipped(good, position))
            assert name in {finding["file"] for finding in outcome["findings"]}, name


def test_container_bytes_are_all_watched(good: bytes, judge: Callable[..., dict[str, Any]]) -> None:
    first = good.index(b"bag-info.txt")
    directory = good.index(b"PK\x01\x02")
    for position in [*range(first + 12), *range(directory, directory + 60), *range(len(good) - 22, len(good))]:
        assert judge(flipped(good, position))["findings"], position
    assert judge(good + b"\x00")["findings"]
    assert judge(b"x" + good)["findings"]


@pytest.mark.parametrize("is_rebagged", [pytest.param(False, marks=pytest.mark.slow), True])
def test_every_dropped_changed_renamed_or_added_file_is_found(
        good: bytes, judge: Callable[..., dict[str, Any]], tmp_path: Path, is_rebagged: bool) -> None:
    files = files_of(good, tmp_path)
    mend = rebag if is_rebagged else dict
    for name in files:
        if is_rebagged and not name.startswith("data/") and name != "bag-info.txt":
            continue
        for changed in ({n: raw for n, raw in files.items() if n != name}, {**files, name: files[name] + b"\n"},
                        {(f"{n}x" if n == name else n): raw for n, raw in files.items()}, {**files, f"{name}.bak": files[name]}):
            assert judge(rezip(mend(changed)))["findings"], name
    data = [name for name in files if name.startswith("data/")]
    for left, right in itertools.pairwise(data):
        swapped = {**files, left: files[right], right: files[left]}
        assert judge(rezip(mend(swapped)))["findings"], (left, right)


def test_another_order_of_the_same_files_is_found(good: bytes, judge: Callable[..., dict[str, Any]], tmp_path: Path) -> None:
    files = files_of(good, tmp_path)
    assert rezip(files) == good
    assert judge(rezip(dict(reversed(files.items())), is_sorted=False))["findings"]


def test_a_pack_forged_anew_with_own_keys_is_found(judge: Callable[..., dict[str, Any]]) -> None:
    forger = House()
    raw = packed(forger, pack_of(forger, door(forger)))
    assert judge(raw, None)["verdict"] == "self-consistent"
    assert {"key-not-trusted", "checkpoint-not-signed"} <= names(judge(raw))


def test_what_a_former_log_key_signed_stays_valid_and_no_other_key_counts(judge: Callable[..., dict[str, Any]]) -> None:
    house = House()
    at, former = door(house), house.log.public_key().public_bytes_raw()
    house.log = Ed25519PrivateKey.generate()
    rotated = msgspec.structs.replace(house.keys(), former_log_keys=[former])
    raw = packed(house, pack_of(house, at, keys=rotated))
    assert judge(raw, trust=trust_document(rotated, 1))["verdict"] == "verified"
    assert "checkpoint-not-signed" in names(judge(raw, trust=trust_document(house.keys(), 1)))


def test_without_trust_the_best_is_self_consistent(good: bytes, judge: Callable[..., dict[str, Any]]) -> None:
    assert judge(good, None)["verdict"] == "self-consistent"


def test_a_stale_a_forked_and_an_unwitnessed_log_are_found(house: House, judge: Callable[..., dict[str, Any]]) -> None:
    raw = packed(house, pack_of(house, door(house)))
    now = len(house.leaves)
    house.leaves.append(leaf_hash(b"later"))
    assert "checkpoint-stale" in names(judge(raw, since=house.checkpoint()))
    kept = list(house.leaves)
    house.leaves[1] = leaf_hash(b"rewritten history")
    forked = {size: house.checkpoint(size) for size in (2, now)}
    house.leaves[:] = kept
    assert "log-inconsistent" in names(judge(raw, since=forked[2]))
    assert "log-forked" in names(judge(raw, since=forked[now]))
    assert names(judge(raw, since=house.checkpoint(2))) == set()
    assert "consistency-proof-missing" in names(judge(raw, since=house.checkpoint(3)))
    lonely = trust_document(packs.House().keys(), 1)
    trust = {**json.loads(house.trust(2))}
    assert "checkpoint-not-witnessed" in names(judge(raw, json.dumps(trust).encode()))
    assert judge(raw, lonely)["findings"]


def uncosigned(signed: str) -> str:
    return "".join(line for line in signed.splitlines(keepends=True) if "witness.example" not in line)


def unwitnessed(house: House) -> Pack:
    """A pack whose checkpoints bear the log's signature alone."""
    made = pack_of(house, door(house))
    entries = [msgspec.structs.replace(one, proof=uncosigned(one.proof), report_proof=uncosigned(one.report_proof or "")) for one in made.entries]
    return msgspec.structs.replace(made, entries=entries, checkpoint=uncosigned(made.checkpoint))


def written(house: House, pack: Pack) -> bytes:
    out = io.BytesIO()
    write_pack(pack, nodes_over(house.leaves), house.receipt, thumbprint(house.receipt), out)
    return out.getvalue()


def test_what_a_witness_has_not_seen_is_found_and_what_it_has_seen_holds(house: House, judge: Callable[..., dict[str, Any]]) -> None:
    lone = unwitnessed(house)
    size = len(house.leaves)
    first = size - 2 * len(lone.entries)                         # Leaves: manifest, report, manifest, report …
    assert names(judge(written(house, lone))) == {"checkpoint-not-witnessed"}
    assert judge(written(house, lone), house.trust(0))["verdict"] == "verified"
    for seen, missing in ((first, 3), (first + 1, 2), (first + 2, 2), (first + 3, 1), (size - 1, 0), (size, 0)):
        outcome = judge(written(house, msgspec.structs.replace(lone, witnessed=[house.checkpoint(seen)])))
        assert [one["name"] for one in outcome["findings"]] == ["checkpoint-not-witnessed"] * missing, seen


def test_a_forged_a_foreign_and_a_forked_cosignature_are_found(house: House, judge: Callable[..., dict[str, Any]]) -> None:
    lone = unwitnessed(house)
    size = len(house.leaves)
    signed = house.checkpoint(size - 1)
    head, _, encoded = signed.rstrip("\n").rpartition(" ")
    raw = bytearray(base64.b64decode(encoded))
    raw[-1] ^= 1
    forged = f"{head} {base64.b64encode(raw).decode()}\n"
    foreign = cosign_checkpoint(uncosigned(signed), "witness.example/bank", Ed25519PrivateKey.generate(), packs.DAY_S)
    kept = list(house.leaves)
    house.leaves[0] = leaf_hash(b"rewritten history")
    forked = house.checkpoint(size - 1)
    house.leaves[:] = kept
    with_ = lambda text: names(judge(written(house, msgspec.structs.replace(lone, witnessed=[text]))))  # noqa: E731
    assert "signature-invalid" in with_(forged)
    assert with_(foreign) == {"checkpoint-not-witnessed"}
    assert "log-inconsistent" in with_(forked)


def cash_pack(house: House, facts: dict[str, Any], claims: dict[str, Any]) -> bytes:
    return packed(house, pack_of(house, door(house, cash_facts(**facts)), authorisations=[grant(house, **claims)]))


@pytest.mark.parametrize("facts, claims, name", [
    ({"authorisation_jti": None}, {}, "cash-not-authorised"), ({"authorisation_jti": "grant-2"}, {}, "cash-not-authorised"),
    ({}, {"case": "case-2"}, "cash-not-authorised"), ({}, {"iss": "bank-2"}, "cash-not-authorised"),
    ({}, {"instruments": ["cash_cheque"]}, "cash-not-authorised"),
    ({}, {"devices": ["x", "y"]}, "cash-not-authorised"), ({}, {"exp": packs.DAY_S + 7_800}, "authorisation-expired"),
    ({}, {"iat": packs.DAY_S + 7_800}, "authorisation-expired"), ({}, {"cap_fen": 199_999}, "cap-exceeded"),
    ({}, {"max_collections": 0}, "authorisation-exhausted"), ({"amount_capitals": "贰仟壹元整"}, {}, "amount-differs"),
    ({"amount_fen": 200_001, "amount_capitals": "贰仟元零壹分"}, {}, "amount-differs"),
])
def test_CASH_01_to_05_what_the_bank_did_not_allow_is_found(
        house: House, judge: Callable[..., dict[str, Any]], facts: dict[str, Any], claims: dict[str, Any], name: str) -> None:
    assert names(judge(cash_pack(house, facts, claims))) == {name}


def test_CASH_04_a_token_of_another_key_is_found(house: House, judge: Callable[..., dict[str, Any]]) -> None:
    raw = packed(house, pack_of(house, door(house), authorisations=[grant(House())]))
    assert names(judge(raw)) == {"key-not-trusted", "cash-not-authorised"}


def test_VIS_01_one_signature_where_two_are_due_is_found(house: House, judge: Callable[..., dict[str, Any]]) -> None:
    at = packs.Door(house)
    at.add(Kind.ARRIVAL, builders.ARRIVED, builders.AT, witness=False)
    raw = packed(house, pack_of(house, at, copies=(), sealed=(), authorisations=()))
    assert names(judge(raw)) == {"cosignature-missing"}


def test_VIS_01_a_device_enrolled_for_another_person_is_found(house: House, judge: Callable[..., dict[str, Any]]) -> None:
    at = packs.Door(house)
    at.add(Kind.ARRIVAL, builders.ARRIVED, builders.AT, cosigner="chen")
    raw = packed(house, pack_of(house, at, copies=(), sealed=(), authorisations=()))
    assert names(judge(raw)) == {"signer-not-named"}


def test_a_revoked_device_and_a_device_not_pinned_are_found(house: House, good: bytes, judge: Callable[..., dict[str, Any]]) -> None:
    lost = (DeviceState(state="revoked", at="2026-11-28T00:00:00.000Z", compromised_since="2026-11-27T03:00:00.000Z"),)
    raw = packed(house, pack_of(house, door(house), devices=devices(house, dong=lost)))
    assert names(judge(raw)) == {"device-revoked"}
    later = (DeviceState(state="revoked", at="2026-11-28T00:00:00.000Z"),)
    assert names(judge(packed(house, pack_of(house, door(house), devices=devices(house, dong=later))))) == set()
    trust = {**json.loads(house.trust()), "devices": {builders.BILAL_KID: "bilal"}}
    assert "device-not-trusted" in names(judge(good, json.dumps(trust).encode()))


def test_missing_manifests_items_and_receipts_are_found_and_withheld_items_are_not(house: House, judge: Callable[..., dict[str, Any]]) -> None:
    at = door(house)
    dropped = packed(house, pack_of(house, at, entries=[at.entries[0], at.entries[2]], sealed=()))
    assert names(judge(dropped)) == {"manifest-missing"}
    assert names(judge(packed(house, pack_of(house, at, sealed=())))) == {"item-missing"}
    withheld = [Withheld(sha256=sha256_hex(packs.ORIGINAL), reason="masked")]
    assert names(judge(packed(house, pack_of(house, at, sealed=(), withheld=withheld)))) == set()


def test_a_chain_that_does_not_join_is_found(house: House, judge: Callable[..., dict[str, Any]]) -> None:
    at = packs.Door(house)
    at.add(Kind.ARRIVAL, builders.ARRIVED, builders.AT, items=())
    at.prev[builders.BILAL_KID] = "a" * 64
    at.add(Kind.ARRIVAL, builders.ARRIVED, builders.AT)
    assert names(judge(packed(house, pack_of(house, at, copies=(), sealed=(), authorisations=())))) == {"chain-broken"}


def one_capture(house: House, payload: bytes | None = None, **changes: Any) -> packs.Door:
    """Make a door with one statement by one signer; with `payload`, the signed bytes are replaced before signing."""
    at = packs.Door(house)
    at.add(Kind.CAPTURE, CaptureFacts(occasion="door_plate"), builders.AT, witness=False, **{"cosigner": None, "cosigner_device": None, **changes})
    if payload is not None:
        manifest = decode_manifest(check_shape(at.entries[0].envelope).payload)
        at.entries.clear()
        at.receive(manifest, payload, assemble(payload, [sign(payload, builders.BILAL, header_for(manifest))]))
    return at


def bare(house: House, at: packs.Door, **changes: Any) -> bytes:
    return packed(house, pack_of(house, at, **{"copies": (), "sealed": (), "authorisations": (), **changes}))


def test_what_even_our_own_keys_may_not_sign_is_found(house: House, judge: Callable[..., dict[str, Any]]) -> None:
    """The insider's pack: index, receipts and log are signed by the trusted keys, and one statement inside is wrong."""
    at = one_capture(house)
    good = check_shape(at.entries[0].envelope).payload
    assert names(judge(bare(house, at))) == set()
    assert names(judge(bare(house, at, visits=["visit-2"]))) == {"manifest-foreign", "manifests-missing", "file-unexpected"}
    assert names(judge(bare(house, at, visits=["visit-2", "visit-1"]))) == set()
    assert "manifest-foreign" in names(judge(bare(house, at, cases=["case-2"])))
    assert "manifest-foreign" in names(judge(bare(house, at, bank="bank-2")))
    spaced = one_capture(house, good.replace(b'","', b'", "', 1))
    assert "payload-not-canonical" in names(judge(bare(house, spaced)))
    unknown = one_capture(house, good.replace(b'"capture"', b'"rapture"'))
    assert "schema-unknown" in names(judge(bare(house, unknown)))
    later = one_capture(house, good.replace(b'"seq":1', b'"seq":2'))
    assert "header-differs" in names(judge(bare(house, later)))


def test_a_receipt_or_proof_that_says_something_else_is_found(house: House, judge: Callable[..., dict[str, Any]]) -> None:
    at, other = one_capture(house), one_capture(house, visit_version=2)
    entry = at.entries[0]
    _, said = compact_peek(entry.receipt, "evidence-receipt+jws")
    for changes in ({"log_index": 0}, {"log_origin": "log.example/other"}, {"items": [{"item_id": "i9", "sha256": "a" * 64}]}):
        receipt = sign_receipt({**said, **changes}, house.receipt, thumbprint(house.receipt))
        wrong = msgspec.structs.replace(entry, receipt=receipt)
        assert "receipt-differs" in names(judge(bare(house, at, entries=[wrong])))
    swapped = msgspec.structs.replace(entry, receipt=other.entries[0].receipt)
    assert "receipt-differs" in names(judge(bare(house, at, entries=[swapped])))
    unproven = msgspec.structs.replace(entry, proof=other.entries[0].proof)
    assert "log-proof-invalid" in names(judge(bare(house, at, entries=[unproven])))
    disguised = msgspec.structs.replace(entry, proof=str(entry.report_proof))
    assert "log-proof-invalid" in names(judge(bare(house, at, entries=[disguised])))
    unreported = msgspec.structs.replace(entry, report=b"{}")
    assert "log-proof-invalid" in names(judge(bare(house, at, entries=[unreported])))


def test_two_statements_under_one_number_are_a_fork(house: House, judge: Callable[..., dict[str, Any]]) -> None:
    at, other = one_capture(house), one_capture(house, visit_version=2)
    assert "chain-fork" in names(judge(bare(house, at, entries=[*at.entries, *other.entries])))


def test_VIS_01_one_device_that_signs_twice_is_found(house: House, judge: Callable[..., dict[str, Any]]) -> None:
    at = packs.Door(house)
    payload = encode_manifest(builders.manifest())
    twice = assemble(payload, [sign(payload, builders.BILAL, header_for(builders.manifest()))] * 2)
    at.receive(builders.manifest(), payload, twice)
    assert "cosigner-not-distinct" in names(judge(bare(house, at)))


def test_a_copy_or_original_that_is_another_file_is_found(house: House, judge: Callable[..., dict[str, Any]]) -> None:
    at = door(house)
    copy = pack_of(house, at).copies[0]
    other = PackCopy(original_sha256=copy.original_sha256, extension="jpg", content=measured(b"another"), derivation=copy.derivation)
    assert names(judge(packed(house, pack_of(house, at, copies=[other])))) == {"digest-mismatch"}
    foreign = PackCopy(original_sha256="9" * 64, extension="jpg", content=measured(packs.COPY), derivation=copy.derivation)
    assert names(judge(packed(house, pack_of(house, at, copies=[copy, foreign])))) == {"file-unexpected"}
    misled = PackCopy(original_sha256=sha256_hex(packs.ORIGINAL), extension="jpg", content=measured(packs.COPY), derivation=copy.derivation)
    assert names(judge(packed(house, pack_of(house, at, copies=[copy, misled])))) == {"derivation-differs"}


@pytest.fixture
def key_file(house: House, tmp_path: Path) -> Path:
    path = tmp_path / "recipient.pem"
    path.write_bytes(house.recipient.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
    return path


def test_EVD_08_sealed_original_opens_with_the_recipients_key_alone(house: House, good: bytes, key_file: Path, tmp_path: Path) -> None:
    (tmp_path / "pack.zip").write_bytes(good)
    (tmp_path / "trust.json").write_bytes(house.trust())
    command = [sys.executable, "-I", verify_pack.__file__, str(tmp_path / "pack.zip"), "--trust", str(tmp_path / "trust.json"), "--open"]
    assert subprocess.run([*command, str(key_file)], check=False).returncode == 0
    opened = tmp_path / "pack.zip.opened" / sha256_hex(packs.ORIGINAL)
    assert opened.read_bytes() == packs.ORIGINAL
    opened.unlink()
    stranger = verify_pack.verify(tmp_path / "pack.zip", json.loads(house.trust()), None, packs.generate_key())
    assert names(stranger) == {"seal-broken"}
    assert not opened.exists()


def test_EVD_08_sealed_original_that_is_another_file_or_lacks_its_key_is_found(
        house: House, judge: Callable[..., dict[str, Any]], tmp_path: Path) -> None:
    at = door(house)
    good = packs.sealed(house, packs.ORIGINAL)
    other = packs.sealed(house, b"another file", sha256=good.sha256)
    (tmp_path / "o.zip").write_bytes(packed(house, pack_of(house, at, sealed=[other])))
    trust = json.loads(house.trust())
    assert names(verify_pack.verify(tmp_path / "o.zip", trust, None, house.recipient)) == {"seal-broken"}
    files = files_of(packed(house, pack_of(house, at)), tmp_path)
    del files[f"data/sealed/{good.sha256}.jwe"]
    assert {"index-differs", "item-missing", "file-unexpected"} <= names(judge(rezip(rebag(files))))


@pytest.mark.parametrize("damage", [
    lambda raw: raw[:-17], lambda raw: raw[:8] + raw[8:] * 2, lambda raw: raw[:20] + bytes([raw[20] ^ 1]) + raw[21:], lambda raw: raw[:8],
    lambda raw: b""])
def test_a_damaged_seal_never_yields_a_byte(house: House, damage: Callable[[bytes], bytes], tmp_path: Path) -> None:
    whole = packs.sealed(house, packs.ORIGINAL)
    broken = msgspec.structs.replace(whole, content=measured(damage(next(iter(whole.content.chunks())))))
    (tmp_path / "o.zip").write_bytes(packed(house, pack_of(house, door(house), sealed=[broken])))
    outcome = verify_pack.verify(tmp_path / "o.zip", json.loads(house.trust()), None, house.recipient)
    assert outcome["findings"]
    assert not (tmp_path / "o.zip.opened").exists()


def test_what_the_signed_index_withholds_is_told(house: House, judge: Callable[..., dict[str, Any]]) -> None:
    withheld = [Withheld(sha256=sha256_hex(packs.ORIGINAL), reason="destroyed after its term")]
    outcome = judge(packed(house, pack_of(house, door(house), sealed=(), withheld=withheld)))
    assert (outcome["verdict"], outcome["withheld"]) == ("verified", [{"sha256": withheld[0].sha256, "reason": "destroyed after its term"}])


def test_a_device_key_under_another_name_is_found(house: House, judge: Callable[..., dict[str, Any]]) -> None:
    _, history = compact_peek(devices(house), "device-history+jws")
    listed: Any = history["devices"]
    listed[0]["kid"], listed[1]["kid"] = listed[1]["kid"], listed[0]["kid"]
    signed = compact_sign({**history, "devices": listed}, house.receipt, typ="device-history+jws", kid=thumbprint(house.receipt))
    assert "device-key-differs" in names(judge(packed(house, pack_of(house, door(house), devices=signed))))


def test_the_good_pack_is_verified_by_the_file_alone_in_a_clean_process(house: House, good: bytes, tmp_path: Path) -> None:
    shutil.copy(verify_pack.__file__, tmp_path / "verify_pack.py")
    (tmp_path / "pack.zip").write_bytes(good)
    (tmp_path / "trust.json").write_bytes(house.trust())
    (tmp_path / "since").write_text(house.checkpoint(2))

    def run(*arguments: str) -> tuple[int, str]:
        done = subprocess.run([sys.executable, "-I", "verify_pack.py", "pack.zip", *arguments], cwd=tmp_path, capture_output=True, text=True,
        check=False)
        return done.returncode, done.stdout

    assert run("--trust", "trust.json", "--since", "since")[0] == 0
    code, said = run("--trust", "trust.json", "--json")
    assert (code, json.loads(said)["verdict"]) == (0, "verified")
    assert run()[0] == 1
    assert run("--trust", "pack.zip")[0] == 2
    (tmp_path / "pack.zip").write_bytes(good[:-1])
    assert run("--trust", "trust.json")[0] == 1
    (tmp_path / "pack.zip").write_bytes(b"")
    assert run("--trust", "trust.json")[0] == 2
    (tmp_path / "pack.zip").unlink()
    assert run("--trust", "trust.json")[0] == 2


def test_the_verifier_loads_nothing_of_ours_and_no_decoder() -> None:
    script = ("import sys, evidence.verify_pack; own = sorted(m for m in sys.modules if m.startswith('evidence.')); "
              "foreign = sorted(m for m in ('PIL', 'joserfc', 'msgspec', 'rfc8785', 'av', 'pi_heif') if m in sys.modules); print(own, foreign)")
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "['evidence.verify_pack'] []"


def test_the_verifier_is_one_file_of_at_most_500_lines() -> None:
    assert len(Path(verify_pack.__file__).read_text().splitlines()) <= 500


def test_F19_the_signed_index_says_whose_hardware_holds_each_key(house: House, judge: Callable[..., dict[str, Any]], tmp_path: Path) -> None:
    raw = packed(house, pack_of(house, door(house), hardware={"k" * 43: "webcrypto", "a" * 43: "demo"}))
    (tmp_path / "hardware.zip").write_bytes(raw)
    with zipfile.ZipFile(tmp_path / "hardware.zip") as pack:
        _, index = compact_peek(pack.read("data/pack.jws").decode(), "evidence-pack+jws")
    assert index["authorisation_hardware"] == {"a" * 43: "demo", "k" * 43: "webcrypto"}
    assert names(judge(raw)) == set()


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> TimeAuthority:
    return TimeAuthority(tmp_path_factory.mktemp("tsa"))


def stamped(house: House, response: Callable[[str], bytes], log: House | None = None) -> bytes:
    """Return a pack with a time-stamp over the log as it stood after the door."""
    at = door(house)
    checkpoint = (log or house).checkpoint()
    return packed(house, pack_of(house, at, stamps=[PackStamp(checkpoint=checkpoint, response=response(checkpoint))]))


def asked(authority: TimeAuthority, text: str) -> bytes:
    return authority.answer(ask(text.encode(), 7))


def told(raw: bytes, house: House, tmp_path: Path, tsa: Path | None) -> dict[str, Any]:
    (tmp_path / "pack.zip").write_bytes(raw)
    return verify_pack.verify(tmp_path / "pack.zip", json.loads(house.trust()), None, None, tsa)


def test_EVD_09_a_stamp_is_judged_by_the_authority_that_is_named_and_by_no_other(authority: TimeAuthority, tmp_path: Path) -> None:
    house = House()
    raw = stamped(house, lambda text: asked(authority, text))
    name = next(name for name in files_of(raw, tmp_path) if name.endswith(".tsr"))
    assert told(raw, house, tmp_path, None)["stamps"] == {name: ""}
    good = told(raw, house, tmp_path, authority.root)
    assert (good["verdict"], list(good["stamps"])) == ("verified", [name])
    assert good["stamps"][name].startswith("20")
    (tmp_path / "trust.json").write_bytes(house.trust())
    assert verify_pack.main([str(tmp_path / "pack.zip"), "--trust", str(tmp_path / "trust.json"), "--tsa", str(authority.root)]) == 0
    other = told(raw, house, tmp_path, TimeAuthority(tmp_path, "other").root)
    assert (names(other), other["stamps"]) == ({"stamp-invalid"}, {name: ""})


@pytest.mark.parametrize("kind", ["another message", "cut off", "not a stamp", "ended", "not yet"])
def test_EVD_09_a_stamp_that_does_not_hold_is_found(authority: TimeAuthority, tmp_path: Path, kind: str) -> None:
    by = authority
    if kind in ("ended", "not yet"):
        by = TimeAuthority(tmp_path, **({"starts_days": -20, "ends_days": -10} if kind == "ended" else {"starts_days": 10, "ends_days": 20}))
    answers: dict[str, Callable[[str], bytes]] = {
        "another message": lambda text: asked(by, text + "x"), "cut off": lambda text: asked(by, text)[:-1], "not a stamp": lambda _: b"0"}
    house = House()
    raw = stamped(house, answers.get(kind, lambda text: asked(by, text)))
    assert names(told(raw, house, tmp_path, by.root)) == {"stamp-invalid"}


def test_EVD_09_a_stamped_checkpoint_of_a_forked_log_is_found(authority: TimeAuthority, tmp_path: Path) -> None:
    house, fork = House(), House()
    fork.log = house.log                                      # The log's own key signed two histories.
    fork.leaves = [leaf_hash(b"other")] * 2
    raw = stamped(house, lambda text: asked(authority, text), fork)
    assert "log-inconsistent" in names(told(raw, house, tmp_path, authority.root))


def test_EVD_09_what_a_renewed_key_signed_before_stands_and_after_its_last_link_does_not(house: House, judge: Callable[..., dict[str, Any]]) -> None:
    def with_last(seq: int) -> dict[str, Any]:
        listed = [DeviceHistory(
            key=key.public_key(), person=person, level="tee", last_seq=seq if person == "bilal" else None,
            states=(DeviceState(state="active", at="2026-01-01T00:00:00.000Z"), DeviceState(state="renewed", at="2026-11-28T00:00:00.000Z")))
            for key, person in ((builders.BILAL, "bilal"), (builders.DONG, "dong"))]
        history = sign_devices(listed, house.receipt, thumbprint(house.receipt))
        return judge(packed(house, pack_of(house, door(house), devices=history)))

    assert with_last(3)["verdict"] == "verified"
    cut = with_last(2)
    assert [(one["name"], one["detail"].rpartition(" ")[2]) for one in cut["findings"]] == [("device-renewed", "3")]


def brought(house: House, at: packs.Door, **changes: Any) -> PackRecording:
    """Return the statement by which a recorder's file, the door's first item, was brought in."""
    item = decode_manifest(check_shape(at.entries[0].envelope).payload).items[0]
    said = {"schema": "recording-import/1", "recording": "r1", "visit": "visit-1", "case": "case-1", "bank": "bank-1", "equipment": "e1",
            "sha256": item.sha256, "size": item.size, "media_type": "audio/mp4", "told_started": "2026-11-27T02:00:00.000Z", "imported_by": "clerk",
            "at": "2026-11-27T04:00:00.000Z", **changes}
    statement = compact_sign(said, house.derivation, typ="recording-import+jws", kid=thumbprint(house.derivation))
    return PackRecording(statement=statement, proof=house.logged("recording", canonicalise(dict(said)))[1])


@pytest.mark.parametrize(("changes", "expected"), [
    ({}, set()), ({"visit": "visit-2"}, {"recording-not-accepted"}), ({"case": "case-2"}, {"recording-not-accepted"}),
    ({"sha256": "e" * 64}, {"recording-not-accepted"}), ({"imported_by": "bilal"}, {"recording-imported-by-pair"}),
    ({"imported_by": "dong"}, {"recording-imported-by-pair"})])
def test_EVD_01_who_brought_a_recorders_file_in_is_checked(
        house: House, judge: Callable[..., dict[str, Any]], changes: dict[str, Any], expected: set[str]) -> None:
    at = door(house)
    recordings = [brought(house, at, **changes)]
    outcome = judge(packed(house, pack_of(house, at, recordings=recordings)))
    assert names(outcome) == expected


def test_EVD_01_an_import_by_another_key_or_without_its_log_entry_is_found(house: House, judge: Callable[..., dict[str, Any]]) -> None:
    at = door(house)
    good, other = brought(house, at), brought(house, at, equipment="e2")
    swapped = PackRecording(statement=good.statement, proof=other.proof)
    assert names(judge(packed(house, pack_of(house, at, recordings=[swapped])))) == {"log-proof-invalid"}
    forger = House()
    forger.leaves, forger.log = house.leaves, house.log
    assert "key-not-trusted" in names(judge(packed(house, pack_of(house, at, recordings=[brought(forger, at)]))))


def followed(house: House, **changes: Any) -> PackFollowUp:
    """Return what the bank told after it ruled the door's case to be fraud, logged."""
    said = canonicalise({"follow_up": "f-1", "bank": "bank-1", "case": "case-1", "act": "police_reported", "reference": "P-1", **changes})
    return PackFollowUp(statement=said, proof=house.logged("follow-up", said)[1])


def test_DECL_09_what_the_bank_did_after_its_ruling_is_shown_to_be_logged(house: House, judge: Callable[..., dict[str, Any]]) -> None:
    at = door(house)

    def judged(*told: PackFollowUp) -> set[str]:
        return names(judge(packed(house, pack_of(house, at, follow_ups=told))))

    good = followed(house)
    assert judged(good, followed(house, follow_up="f-2", act="deletion_requested")) == set()
    assert "follow-up-foreign" in judged(followed(house, case="case-2"))
    altered = PackFollowUp(statement=good.statement.replace(b"P-1", b"P-2"), proof=good.proof)
    assert judged(altered) == {"log-proof-invalid"}
    assert judged(PackFollowUp(statement=good.statement, proof=followed(house, reference="P-3").proof)) == {"log-proof-invalid"}
