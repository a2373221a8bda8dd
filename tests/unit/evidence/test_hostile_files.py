"""A thousand hostile files through the real examination worker: no crash of ours, limits kept, no socket opened, every fate is an answer.

The files are the open samples and mutations of good pictures and recordings, each made from a fixed seed; a failing one is named by its number.
"""

import ctypes
import io
import os
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import pytest
from PIL import Image

from evidence import examine_worker
from evidence.examination import Examination, State
from evidence.examine_worker import examine
from evidence.magic import media_types, sniff
from evidence.policy import DEFAULT
from tests.support.exhibits import photograph, sound
from tests.unit.evidence.samples import FOLDER

COUNT = 1_000
SEED = 4_711
SPLICE_BYTES_MAX = 400
MEMORY_KB_MAX = DEFAULT.decode_bytes_max // 1_000
SAMPLE_FOLDERS = ("images-hostile", "heif", "exif", "audio", "phone-photos", "c2pa")
TRACER = "/usr/bin/strace"
SOCKET_CALLS = "%network,clone,fork,vfork,execve"


def good_ones() -> list[bytes]:
    """Return small files of every kind we can make here."""
    picture = Image.open(io.BytesIO(photograph()))
    made = [photograph(), sound(1)]
    for kind in ("PNG", "WEBP"):
        out = io.BytesIO()
        picture.save(out, kind)
        made.append(out.getvalue())
    return made


def samples() -> list[bytes]:
    return [path.read_bytes() for name in SAMPLE_FOLDERS for path in sorted((FOLDER / name).glob("*")) if path.is_file()]


def mutated(raw: bytes, chance: random.Random) -> bytes:
    """Break a file in one of the ways in which files break, or are broken."""
    body = bytearray(raw)
    match chance.randrange(7):
        case 0:                                                    # Flipped bits, most near the head where the structure is.
            for _ in range(chance.randint(1, 30)):
                body[min(len(body) - 1, int(chance.expovariate(1 / 600)))] ^= 1 << chance.randrange(8)
        case 1:
            del body[chance.randrange(1, len(body)):]
        case 2:                                                    # A length or count that lies.
            at = chance.randrange(4, max(5, min(len(body) - 4, 2_000)))
            body[at:at + 4] = chance.choice((b"\xff\xff\xff\xff", b"\x00\x00\x00\x00", b"\x7f\xff\xff\xff", b"\x80\x00\x00\x00"))
        case 3:                                                    # A piece of itself in the wrong place.
            at, source = chance.randrange(len(body)), chance.randrange(len(body))
            body[at:at] = body[source:source + chance.randrange(1, SPLICE_BYTES_MAX)]
        case 4:
            body += b"PK\x03\x04" + chance.randbytes(200)
        case 5:
            at = chance.randrange(len(body))
            body[at:at + SPLICE_BYTES_MAX] = chance.randbytes(chance.randrange(1, SPLICE_BYTES_MAX))
        case _:                                                    # The head of one kind on noise.
            body[64:] = chance.randbytes(chance.randrange(1, 4_000))
    return bytes(body)


def hostile(count: int) -> Iterator[tuple[bytes, str]]:
    """Yield files with a media type that their head allows, or that it does not."""
    chance = random.Random(SEED)
    whole = [*good_ones(), *samples()]
    small = [raw for raw in whole if 100 < len(raw) < 300_000] or whole
    for number in range(count):
        raw = whole[number] if number < len(whole) else mutated(chance.choice(small), chance)
        container = sniff(raw[:64])
        allowed = sorted(media_types(container)) if container is not None else ["image/jpeg"]
        yield raw, chance.choice(allowed) if chance.random() < 0.9 else "image/png"


def check_answer(number: int, seen: Examination, took_s: float) -> State:
    assert seen.state in State, number
    assert len(seen.reason) < 500, number
    assert "the decoder ended with" not in seen.reason, f"file {number}: the worker itself failed: {seen.reason}"
    assert seen.memory_kb <= MEMORY_KB_MAX, f"file {number}: {seen.memory_kb} kB"
    assert seen.cpu_ms <= (DEFAULT.decode_cpu_s_max + 2) * 1_000, f"file {number}: {seen.cpu_ms} ms"
    assert took_s < DEFAULT.decode_wall_s_max + 60, f"file {number}: {took_s} s"
    if seen.state is State.EXAMINED:
        assert "seccomp" in seen.isolation or "namespace" in seen.isolation, number
    assert msgspec.json.decode(msgspec.json.encode(seen), type=Examination) == seen, number
    return seen.state


@pytest.mark.slow
@pytest.mark.timeout(1_800)
def test_EVD_09_a_thousand_hostile_files_break_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    def look(job: tuple[int, tuple[bytes, str]]) -> State:
        number, (raw, media_type) = job
        started = time.monotonic()
        return check_answer(number, examine(raw, media_type, DEFAULT), time.monotonic() - started)

    with ThreadPoolExecutor(2) as threads:
        told = Counter(threads.map(look, enumerate(hostile(COUNT))))
    with capsys.disabled():
        print(f"\n{told.total()} hostile files ({len(samples())} samples, the rest mutations): {dict(told)}")
    assert told.total() >= COUNT
    assert told[State.EXAMINED] > 0, "nothing was decoded: nothing was proven"
    assert told[State.UNDECODABLE] + told[State.UNSUPPORTED] > COUNT // 10
    assert told[State.NOT_EXAMINED] == 0 or not _has_media(), told


@pytest.mark.slow
def test_EVD_09_no_decoder_opens_a_socket_or_starts_a_program(tmp_path: Path) -> None:
    """The kernel is asked, worker by worker, about files of every kind."""
    if not os.access(TRACER, os.X_OK):
        if os.environ.get("CI") == "true":
            pytest.fail("with CI=true strace is required")
        pytest.skip("strace is absent: decoders are not watched here")
    asked = list(hostile(len(good_ones()) + len(samples())))
    chosen = {f"{sniff(raw[:64])} {number % 3}": (raw, media_type) for number, (raw, media_type) in enumerate(asked)}
    watched = 0
    for raw, media_type in chosen.values():
        container = sniff(raw[:64])
        if container is None or media_type not in media_types(container):
            continue
        trace = tmp_path / "trace"
        done = subprocess.run(
            [TRACER, "-f", "-e", f"trace={SOCKET_CALLS}", "-o", str(trace), sys.executable, "-I", examine_worker.__file__, container, media_type,
             msgspec.json.encode(DEFAULT).decode()], input=raw, capture_output=True, check=False, timeout=300, cwd="/",
            env={"HOME": "/nonexistent", "LC_ALL": "C.UTF-8"})
        if b"ptrace" in done.stderr:
            pytest.skip("this machine does not let a process be traced: decoders are not watched here")
        calls = [line.split(maxsplit=1)[1] for line in trace.read_text(errors="replace").splitlines() if "(" in line]
        opened = [call for call in calls if call.startswith(("socket(", "connect(", "bind(")) and " = -1 E" not in call]
        assert opened == [], opened
        assert sum(call.startswith("execve(") for call in calls) == 1, calls
        watched += 1
    assert watched >= len(good_ones())


def test_EVD_09_a_decoder_has_a_network_namespace_of_its_own_where_the_kernel_grants_one() -> None:
    libc = ctypes.CDLL(None)
    probe = "import ctypes, sys; c = ctypes.CDLL(None); sys.exit(not (c.unshare(0x40000000) == 0 or c.unshare(0x50000000) == 0))"
    is_granted = subprocess.run([sys.executable, "-c", probe], check=False).returncode == 0
    assert libc is not None
    seen = examine(photograph(), "image/jpeg", DEFAULT)
    assert seen.state is State.EXAMINED
    assert ("namespace" in seen.isolation) == is_granted
    assert "seccomp" in seen.isolation or is_granted


def test_EVD_09_the_memory_told_is_the_workers_own_not_that_of_the_process_that_started_it() -> None:
    ballast = bytes(range(256)) * 2_000_000
    seen = examine(photograph(), "image/jpeg", DEFAULT)
    assert len(ballast) // 1_000 > seen.memory_kb > 10_000


def _has_media() -> bool:
    import importlib.util

    return importlib.util.find_spec("av") is not None
