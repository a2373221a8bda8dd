"""Flips without number, each judged by the real verifier: every byte of a small pack, and a full one stratified by kind of file.

A flip is written into the file in place and taken back, so that the verifier reads a real file each time and nothing is copied.
"""

import json
import os
import random
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from evidence import verify_pack
from evidence.canonical import sha256_hex
from evidence.envelope import check_shape
from evidence.facts import CaptureFacts, Kind
from evidence.keys import thumbprint
from evidence.manifest import Role, decode_manifest
from evidence.pack import PackCopy, measured
from evidence.statements import Derivation, sign_derivation
from tests.unit.evidence import builders, packs
from tests.unit.evidence.packs import House, door, pack_of, packed

SEED = 20261127
PARTS = 5
"""Each long form is cut into so many tests, which run side by side."""


@pytest.fixture(autouse=True)
def remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the verifier do each piece of arithmetic once: a flip changes one signature or key, all others are those of the flip before.

    Only what a pure function returned for the very same arguments is given again; whatever it refused it refuses anew.
    """
    keys: dict[bytes, Any] = {}
    good: set[tuple[str, ...]] = set()
    real_key, real_es256 = verify_pack.jwk_key, verify_pack.es256

    def jwk_key(jwk: dict[str, str]) -> Any:
        spelled = verify_pack.canonical(jwk)
        if spelled not in keys:
            keys[spelled] = real_key(jwk)
        return keys[spelled]

    def es256(key: Any, protected: str, body: str, signature: str) -> None:
        numbers = key.public_numbers()
        asked = (str(numbers.x), str(numbers.y), protected, body, signature)
        if asked not in good:
            real_es256(key, protected, body, signature)
            good.add(asked)

    monkeypatch.setattr(verify_pack, "jwk_key", jwk_key)
    monkeypatch.setattr(verify_pack, "es256", es256)


class Tampered:
    """A pack on disk whose bytes are flipped one at a time."""

    def __init__(self, house: House, raw: bytes, path: Path) -> None:
        self.raw, self.path, self.trust = raw, path, json.loads(house.trust())
        path.write_bytes(raw)
        self._file = os.open(path, os.O_RDWR)

    def judged(self, position: int, mask: int) -> list[dict[str, str]]:
        """Return what the verifier finds with one byte flipped."""
        os.pwrite(self._file, bytes([self.raw[position] ^ mask]), position)
        try:
            findings: list[dict[str, str]] = verify_pack.verify(self.path, self.trust, None)["findings"]
        except (verify_pack.Bad, *verify_pack.SPOILED) as fault:
            findings = [{"name": "unreadable", "file": "", "detail": str(fault)}]
        os.pwrite(self._file, self.raw[position:position + 1], position)
        return findings

    def close(self) -> None:
        """Demand that nothing of all that is left, and close."""
        assert verify_pack.verify(self.path, self.trust, None)["verdict"] == "verified"
        os.close(self._file)


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Tampered]:
    """One statement by one signer: about 16 kB."""
    house = House()
    at = packs.Door(house)
    at.add(Kind.CAPTURE, CaptureFacts(occasion="door_plate"), builders.AT, witness=False, cosigner=None, cosigner_device=None)
    raw = packed(house, pack_of(house, at, copies=(), sealed=(), authorisations=(), known_sizes=()))
    assert 10_000 < len(raw) < 20_000
    tampered = Tampered(house, raw, tmp_path / "small.zip")
    yield tampered
    tampered.close()


@pytest.fixture
def full(tmp_path: Path) -> Iterator[Tampered]:
    """A whole visit with everything that a pack can hold: statements of all kinds, reports, copies, a sealed original, a bank's grant."""
    house, chooser = House(), random.Random(SEED)
    at = door(house)
    photos = [chooser.randbytes(9_000 + 3_000 * number) for number in range(6)]
    items = tuple(builders.item(f"p{number}", sha256=sha256_hex(photo), size=len(photo), role=Role.PHOTO) for number, photo in enumerate(photos))
    at.add(Kind.CAPTURE, CaptureFacts(occasion="conversation"), "2026-11-27T02:30:00.000Z", items=items, cosigner=None, cosigner_device=None,
           witness=False)
    made = pack_of(house, at)
    copies = [*made.copies, *(_copy(house, photo, chooser) for photo in photos)]
    raw = packed(house, packs.msgspec_replace(made, copies=copies))
    tampered = Tampered(house, raw, tmp_path / "full.zip")
    yield tampered
    tampered.close()


def _copy(house: House, photo: bytes, chooser: random.Random) -> PackCopy:
    stamped = chooser.randbytes(len(photo))
    told = Derivation(
        original_sha256=sha256_hex(photo), copy_sha256=sha256_hex(stamped), transform="stamp-jpeg/2", stamp="再次复印无效",
        made="2026-11-27T06:00:00.000Z", person="liaison-1", register_number="C-2")
    return PackCopy(original_sha256=sha256_hex(photo), extension="jpg", content=measured(stamped),
                    derivation=sign_derivation(told, house.derivation, thumbprint(house.derivation)))


def strata(raw: bytes) -> dict[str, list[tuple[str, int, int]]]:
    """Return each kind of file with the places of its files' contents, and the container's own bytes as kinds of their own."""
    files, faults = verify_pack.zip_files(raw)
    assert not faults
    found: dict[str, list[tuple[str, int, int]]] = defaultdict(list)
    at = 0
    for name, content in files.items():
        start = at + 30 + len(name)
        kind = "/".join(name.split("/")[:2]) + Path(name).suffix if name.startswith("data/") else name
        found[kind].append((name, start, start + len(content)))
        found["container headers"].append(("", at, start))
        at = start + len(content)
    found["container directory"].append(("", at, len(raw)))
    return dict(found)


def flips(raw: bytes, count: int, part: int) -> Iterator[tuple[str, int, int]]:
    """Yield file, place and mask of random flips, as many of each kind of file whatever its size."""
    chooser = random.Random(SEED + part)
    kinds = strata(raw)
    assert len(kinds) >= 17, sorted(kinds)
    for number in range(count):
        name, start, end = chooser.choice(kinds[sorted(kinds)[number % len(kinds)]])
        yield name, chooser.randrange(start, end), 1 << chooser.randrange(8)


def _named(findings: list[dict[str, str]], name: str) -> bool:
    return any(one["file"] == name for one in findings) if name else bool(findings)


def _demand_found(tampered: Tampered, places: Iterator[tuple[str, int, int]]) -> int:
    count = 0
    for name, position, mask in places:
        findings = tampered.judged(position, mask)
        assert _named(findings, name), (name, position, mask, findings)
        count += 1
    return count


def test_each_kind_of_file_is_flipped_and_named(full: Tampered) -> None:
    assert _demand_found(full, flips(full.raw, 60, part=99)) == 60


def test_every_fiftieth_byte_of_a_small_pack_is_watched(small: Tampered) -> None:
    for position in range(SEED % 50, len(small.raw), 50):
        assert small.judged(position, 1 << position % 8), position


@pytest.mark.slow
@pytest.mark.parametrize("part", range(PARTS))
def test_every_single_flip_of_a_small_pack_is_found(small: Tampered, part: int) -> None:
    for position in range(part, len(small.raw), PARTS):
        assert small.judged(position, 1 << position % 8), position


@pytest.mark.slow
@pytest.mark.parametrize("part", range(PARTS))
def test_10_000_random_flips_of_a_full_pack_are_found_and_named(full: Tampered, part: int) -> None:
    assert _demand_found(full, flips(full.raw, 10_000 // PARTS, part)) == 10_000 // PARTS


def test_the_full_pack_is_full(full: Tampered) -> None:
    """Otherwise the strata above would be of little worth."""
    files, _ = verify_pack.zip_files(full.raw)
    kinds: set[Any] = {decode_manifest(check_shape(bytes(raw)).payload).kind for name, raw in files.items() if name.startswith("data/manifests/")}
    assert kinds >= {Kind.ARRIVAL, Kind.CAPTURE, Kind.CASH_RECEIPT, Kind.VISIT_CLOSE}
    assert {name.split("/")[1] for name in files if name.startswith("data/")} >= {
        "manifests", "receipts", "proofs", "reports", "copies", "derivations", "sealed", "authorisations", "keys", "log"}
