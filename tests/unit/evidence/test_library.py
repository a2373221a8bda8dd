"""The library as a whole: its README, what importing loads, and hostile statements in bulk."""

import json
import random
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import evidence
from evidence.canonical import canonicalise, parse_strict
from evidence.envelope import assemble, check_shape, header_for, sign, verify_signatures
from evidence.errors import EvidenceError
from evidence.manifest import decode_manifest, encode_manifest
from tests.unit.evidence import builders
from tests.unit.evidence.builders import BILAL, KEYS

README = Path(evidence.__file__).parent / "README.md"
HOSTILE: list[Any] = [None, True, False, 0, -1, 2**53 - 1, "", "x", "é", "🂡", "\n", "../x", "a" * 5_000, [], [[]], {},
{"a": {}}, "2026-11-27", ["a", 1]]


def test_the_readme_s_example_runs() -> None:
    blocks = re.findall(r"```python\n(.*?)```", README.read_text("utf-8"), re.DOTALL)
    assert blocks
    for block in blocks:
        subprocess.run([sys.executable, "-c", block], check=True, cwd=README.parents[1])


def test_importing_the_library_loads_no_part_of_it() -> None:
    script = ("import sys, evidence; evidence.__all__; "
              "print([m for m in sys.modules if m.split('.')[0] in ('evidence', 'PIL', 'av', 'joserfc', 'msgspec', 'numpy')])")
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "['evidence']"


def test_a_phone_s_imports_load_no_decoder() -> None:
    script = ("import sys; from evidence import sign, build_manifest, write_pack, examine, Sealer; "
              "print([m for m in ('PIL', 'av', 'numpy', 'litestar', 'sqlalchemy', 'backend') if m in sys.modules])")
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_public_name_is_there_and_no_other() -> None:
    for name in evidence.__all__:
        assert getattr(evidence, name) is not None
    with pytest.raises(AttributeError):
        _ = evidence.no_such_name  # type: ignore[attr-defined]


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """List every place in a JSON value."""
    deeper = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, member in deeper for place in places(member, (*path, key)))]


def changed(value: Any, path: tuple[Any, ...], to: Any) -> Any:
    """Return a copy with one place replaced, or dropped when `to` is `...`."""
    copy = json.loads(json.dumps(value))
    if not path:
        return copy if to is ... else to
    inner = copy
    for key in path[:-1]:
        inner = inner[key]
    if to is ...:
        del inner[path[-1]]
    else:
        inner[path[-1]] = to
    return copy


def test_every_field_of_a_manifest_withstands_hostile_values() -> None:
    """A signed payload with one place replaced is refused by name, or is canonical and comes back as it is. Nothing else escapes."""
    good = parse_strict(encode_manifest(builders.manifest()))
    tried = accepted = 0
    for path in places(good):
        for value in [*HOSTILE, ...]:
            tried += 1
            payload = canonicalise(changed(good, path, value)) if isinstance(changed(good, path, value), dict) else b"[]"
            try:
                manifest = decode_manifest(payload)
            except EvidenceError as refusal:
                assert refusal.reason  # noqa: PT017
                assert refusal.status in (400, 422)  # noqa: PT017
                continue
            accepted += 1
            assert encode_manifest(manifest) == payload
    assert tried > 1_000
    assert accepted < tried / 10


def test_every_member_of_an_envelope_withstands_hostile_values() -> None:
    good = json.loads(builders.envelope())
    for path in places(good):
        for value in [*HOSTILE, ...]:
            raw = json.dumps(changed(good, path, value)).encode()
            is_one_signature_less = value is ... and path[:1] == ("signatures",) and len(path) == 2      # Good in itself; VIS-01 judges it.
            if raw == json.dumps(good).encode() or is_one_signature_less:
                continue
            with pytest.raises(EvidenceError):
                verify_signatures(check_shape(raw), KEYS.get)


def test_random_bytes_over_a_good_envelope_never_verify() -> None:
    chooser, good = random.Random(11), builders.envelope()
    for _ in range(2_000):
        raw = bytearray(good)
        for _ in range(chooser.randrange(1, 6)):
            raw[chooser.randrange(len(raw))] = chooser.randrange(256)
        if bytes(raw) == good:
            continue
        with pytest.raises(EvidenceError):
            verify_signatures(check_shape(bytes(raw)), KEYS.get)


def test_a_payload_of_the_largest_size_still_verifies() -> None:
    note = "记" * 2_000
    items = tuple(builders.item(f"i{n}", sha256=f"{n:064x}") for n in range(200))
    manifest = builders.manifest(items=items, facts=builders.ArrivalFacts(
        lead="bilal", credential_worn=True, cosigner_credential_worn=True, audio_device=True, camera_device=True, recording_running=True, note=note))
    payload = encode_manifest(manifest)
    assert len(payload) > 40_000
    raw = assemble(payload, [sign(payload, BILAL, header_for(manifest))])
    assert len(verify_signatures(check_shape(raw), KEYS.get)) == 1
