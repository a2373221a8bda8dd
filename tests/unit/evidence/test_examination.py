"""Files against the sandboxed worker: hostile ones first, then what published decoders saw."""

import io
import json
import math
import os
import random
import shutil
import struct
import subprocess
import sys
import threading
import wave
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from PIL import Image, ImageDraw

from evidence import photo
from evidence.errors import DigestMismatch, TooLarge, UnsupportedMediaType
from evidence.examination import Examination, State, Tail
from evidence.examine_worker import Streamed, examine
from evidence.magic import Container, demuxer, media_types, sniff
from evidence.policy import DEFAULT, ContentPolicy
from evidence.sandbox import run_locked
from evidence.stamp_worker import make_copy
from tests.unit.evidence.samples import FOLDER, sample, sample_json

pytestmark = pytest.mark.long

TYPES = {".jpg": "image/jpeg", ".mpo": "image/jpeg", ".png": "image/png", ".webp": "image/webp", ".heic": "image/heic", ".heif": "image/heif",
         ".hif": "image/heif", ".amr": "audio/amr", ".3gp": "audio/3gpp", ".aac": "audio/aac", ".m4a": "audio/mp4", ".mp4": "audio/mp4",
         ".opus": "audio/opus", ".ogg": "audio/ogg", ".wav": "audio/wav"}


def drawn(seed: int = 1, size: tuple[int, int] = (320, 240)) -> Image.Image:
    """Draw a door plate nobody has."""
    chooser, image = random.Random(seed), Image.new("RGB", size, "gray")
    painter = ImageDraw.Draw(image)
    for _ in range(30):
        x, y = chooser.randrange(size[0]), chooser.randrange(size[1])
        painter.rectangle((x, y, x + chooser.randrange(10, 90), y + chooser.randrange(10, 90)), fill=tuple(chooser.randrange(256) for _ in range(3)))
    return image


def jpeg(image: Image.Image | None = None, **options: Any) -> bytes:
    out = io.BytesIO()
    (image or drawn()).save(out, "JPEG", **options)
    return out.getvalue()


def tone(seconds: float, frequency: float = 440, amplitude: int = 8_000, *, is_loop: bool = False) -> bytes:
    out, chooser = io.BytesIO(), random.Random(3)
    with wave.open(out, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16_000)
        noise = [0 if is_loop else chooser.randrange(-200, 200) for _ in range(int(16_000 * seconds))]
        file.writeframes(b"".join(struct.pack("<h", int(amplitude * math.sin(2 * math.pi * frequency * at / 16_000)) + (bend if amplitude else 0))
                                  for at, bend in enumerate(noise)))
    return out.getvalue()


@pytest.mark.parametrize("raw", [b"", b"GIF89a", b"<svg xmlns='x'/>", b"<!DOCTYPE html>", b"II*\x00", b"BM", b"%PDF-1.7", b"PK\x03\x04",
b"\x7fELF", b"v=0\r\no=- 0",
                                 b"RIFF\x00\x00\x00\x00AVI ", b"\x00\x00\x00\x10ftypxxxx\x00\x00\x00\x00", b"\xff\xfb\x90\x00" + b"\x00" * 8,
                                 b"#!AMX\n"])
def test_what_is_not_on_the_list_is_nothing(raw: bytes) -> None:
    assert sniff(raw) is None
    assert examine(raw, "image/jpeg", DEFAULT).state is State.UNSUPPORTED


def test_a_declared_type_that_is_not_the_sniffed_one_is_unsupported() -> None:
    assert examine(jpeg(), "image/png", DEFAULT).state is State.UNSUPPORTED
    assert examine(jpeg(), "audio/mp4", DEFAULT).state is State.UNSUPPORTED


def test_every_container_has_types_and_sound_has_a_demuxer() -> None:
    for container in Container:
        assert media_types(container)
        if not any(one.startswith("image/") for one in media_types(container)):
            assert demuxer(container)


def test_a_picture_of_too_many_pixels_or_bytes_is_stopped_before_decoding() -> None:
    for side in (8_000, 30_000):                               # Below and above Pillow's own limit.
        header = b"IHDR" + struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
        bomb = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header)) + b"\x00\x00\x00\x00IDAT\x35\xaf\x06\x1e"
        with pytest.raises(TooLarge):
            photo.examine_photo(bomb, DEFAULT)
    with pytest.raises(TooLarge):
        photo.examine_photo(jpeg(), ContentPolicy(photo_bytes_max=100))
    assert examine(jpeg(), "image/jpeg", ContentPolicy(photo_bytes_max=100)).state is State.UNSUPPORTED


def test_a_truncated_picture_is_undecodable() -> None:
    seen = examine(jpeg()[:-2_000], "image/jpeg", DEFAULT)
    assert (seen.state, seen.photo) == (State.UNDECODABLE, None)
    assert "namespace" in seen.isolation or "seccomp" in seen.isolation


@pytest.mark.parametrize("tail, expected", [
    (b"", Tail.NONE), (b"\x00" * 50, Tail.NONE), (b"PK\x03\x04" + b"x" * 40, Tail.ARCHIVE), (b"x" * 30 + b"PK\x05\x06" + b"\x00" * 18, Tail.ARCHIVE),
    (b"\x00\x00\x00\x18ftypmp42" + b"\x00" * 40, Tail.MOTION_VIDEO), (b"<script>", Tail.OTHER),
])
def test_bytes_after_the_picture_are_named(tail: bytes, expected: Tail) -> None:
    assert photo.tail_of(jpeg() + tail)[0] is expected
    assert photo.tail_of(jpeg(progressive=True) + tail)[0] is expected
    out = io.BytesIO()
    drawn().save(out, "PNG")
    assert photo.tail_of(out.getvalue() + tail)[0] is expected


def test_a_worker_that_lingers_is_killed() -> None:
    seen = examine(jpeg(drawn(size=(4_000, 3_000))), "image/jpeg", ContentPolicy(decode_wall_s_max=0))
    assert (seen.state, seen.reason) == (State.UNDECODABLE, "stopped after 0 s")


def test_a_worker_beyond_its_memory_ends_alone() -> None:
    seen = examine(jpeg(drawn(size=(7_000, 7_000))), "image/jpeg", ContentPolicy(decode_bytes_max=450_000_000))
    assert seen.state is State.UNDECODABLE


PROBE = """
import json, os, socket, sys, threading
sys.path.insert(0, sys.argv[1])
from evidence.sandbox import is_offline, lock_down
held = lock_down(cpu_s=5, bytes_max=1_500_000_000)

def attempt(act):
    try:
        return act() and "done"
    except OSError as error:
        return type(error).__name__

def forked():
    child = os.fork()
    if child == 0:
        os._exit(0)
    return os.waitpid(child, 0)

thread = threading.Thread(target=int)
thread.start()
thread.join()
print(json.dumps({
    "held": held, "is_offline": is_offline(), "write": attempt(lambda: open(sys.argv[2], "w", buffering=1).write("x\\n")),
    "connect": attempt(lambda: socket.create_connection(("192.0.2.1", 9), timeout=0.2)), "fork": attempt(forked),
    "spawn": attempt(lambda: os.posix_spawn("/bin/true", ["true"], {})), "run": attempt(lambda: os.execv("/bin/true", ["true"]))}))
"""


def test_the_worker_reaches_no_network_writes_no_file_and_starts_no_program_or_process(tmp_path: Path) -> None:
    (tmp_path / "probe.py").write_text(PROBE)
    done = subprocess.run([sys.executable, "-I", str(tmp_path / "probe.py"), str(Path(photo.__file__).parents[1]), str(tmp_path / "out")],
                          capture_output=True, text=True, check=False)
    if not done.stdout:
        pytest.fail(f"the probe ended with {done.returncode}: a program was started or the lock-down broke")
    answer = json.loads(done.stdout)
    if "seccomp" not in answer["held"]:
        pytest.skip(f"no seccomp filter here, only {answer['held'] or 'nothing'}")
    assert answer["is_offline"]
    assert (answer["connect"], answer["run"], answer["write"]) == ("PermissionError", "PermissionError", "OSError")
    assert (answer["fork"], answer["spawn"]) == ("PermissionError", "PermissionError")      # A child would have limits of its own.


def test_strace_sees_no_socket_of_a_decoder(tmp_path: Path) -> None:
    if not os.access("/usr/bin/strace", os.X_OK):
        pytest.skip("strace is absent: the decoder's system calls are not observed here")
    (tmp_path / "a.wav").write_bytes(tone(1))
    script = ("import sys; from pathlib import Path; from evidence.examine_worker import examine; from evidence.policy import DEFAULT; "
              "print(examine(Path(sys.argv[1]), 'audio/wav', DEFAULT).state)")
    done = subprocess.run(["/usr/bin/strace", "-f", "-e", "trace=socket,connect", "-o", str(tmp_path / "calls"), sys.executable, "-c", script,
                           str(tmp_path / "a.wav")], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "examined"
    made = [line for line in (tmp_path / "calls").read_text().splitlines() if "socket(" in line and "= -1" not in line]
    assert all("SOCK_DGRAM" in line for line in made)          # The worker's own probe that it is offline; nothing else.
    assert len(made) <= 1


def test_published_hostile_pictures_are_answered_as_observed() -> None:
    observed = sample_json("OBSERVED.json")["files"]
    for name, seen in observed.items():
        folder = name.split("/")[0]
        if folder not in ("images-hostile", "heif", "exif", "phone-photos") or not (FOLDER / name).exists():
            continue
        try:
            measured = photo.examine_photo((FOLDER / name).read_bytes(), DEFAULT)
        except UnsupportedMediaType:
            assert not seen["decodes"], name
            continue
        assert seen["decodes"], name
        assert sorted((measured.width, measured.height)) == sorted(seen["size"]), name
        if seen["exif_time"]:
            assert (measured.exif.taken or "").replace("-", ":").replace("T", " ") == seen["exif_time"], name


def test_published_recordings_last_as_long_as_observed() -> None:
    pytest.importorskip("av", reason="the media extra (PyAV) is not installed")
    for name, seen in sample_json("OBSERVED.json")["files"].items():
        if not name.startswith("audio/"):
            continue
        outcome = examine(FOLDER / name, TYPES[Path(name).suffix], DEFAULT)
        if outcome.audio is None or not outcome.audio.decoded_ms:
            assert not seen["decodes"], name
            continue
        assert outcome.audio.codec == seen["codec"], name
        assert abs(outcome.audio.decoded_ms / 1000 - seen["decoded_s"]) < 0.02, name
        assert abs((outcome.audio.rms_dbfs or 0) - seen["rms_db"]) <= 4 or outcome.audio.silent_pct == 100, name


def test_a_motion_photo_is_not_a_fault() -> None:
    seen = examine(sample("phone-photos/jpeg_ss-motion-photo-shortened.jpg"), "image/jpeg", DEFAULT)
    assert seen.photo is not None
    assert seen.photo.tail is Tail.MOTION_VIDEO


def mutations(good: bytes, count: int, seed: int) -> list[bytes]:
    chooser, out = random.Random(seed), []
    for _ in range(count):
        raw = bytearray(good)
        for _ in range(chooser.randrange(1, 12)):
            raw[chooser.randrange(12, len(raw))] = chooser.randrange(256)
        cut = chooser.randrange(len(raw) // 2, len(raw)) if chooser.random() < 0.3 else len(raw)
        out.append(bytes(raw[:cut]))
    return out


@pytest.mark.slow
def test_mutated_files_end_in_an_outcome() -> None:
    good = [(jpeg(drawn(size=(160, 120))), "image/jpeg"), (tone(2), "audio/wav")]
    good += [(path.read_bytes(), TYPES[path.suffix.lower()]) for name in ("heif/RGB_8__29x100.heif", "audio/amr_sample_nb.amr", "audio/aac_sine.aac",
             "audio/ogg_bear.opus", "audio/mp4_sample_audio_only.mp4", "images-hostile/hopper.webp") if (path := FOLDER / name).exists()]
    states = [examine(raw, media_type, DEFAULT).state for source, media_type in good for raw in mutations(source, 25, 7)]
    assert set(states) <= set(State) - {State.NOT_EXAMINED}


def test_sound_that_no_decoder_knows_is_undecodable_by_name() -> None:
    pytest.importorskip("av", reason="the media extra (PyAV) is not installed")
    raw = bytearray(tone(1))
    raw[20:22] = b"\x77\x77"                                       # The format tag, right after the chunk's length.
    seen = examine(bytes(raw), "audio/wav", DEFAULT)
    assert (seen.state, seen.reason) == (State.UNDECODABLE, "no decoder knows this track")


def test_sound_is_measured_by_decoding() -> None:
    pytest.importorskip("av", reason="the media extra (PyAV) is not installed")
    heard = examine(tone(5.5), "audio/wav", DEFAULT).audio
    assert heard is not None
    assert (heard.decoded_ms, heard.silent_pct, heard.looped_pct, heard.bad_packets) == (5_500, 0, 0, 0)
    silent = examine(tone(4, amplitude=0), "audio/wav", DEFAULT).audio
    assert silent is not None
    assert (silent.silent_pct, silent.rms_dbfs) == (100, -120)
    looped = examine(tone(6, is_loop=True), "audio/wav", DEFAULT).audio
    assert looped is not None
    assert looped.looped_pct > DEFAULT.looped_pct_max


def test_hashes_stay_near_under_recompression_and_far_for_other_pictures() -> None:
    first, again, other = drawn(1), Image.open(io.BytesIO(jpeg(drawn(1), quality=40))), drawn(2)
    assert photo.hamming(photo.phash(first), photo.phash(again)) <= DEFAULT.similar_bits_max
    assert photo.hamming(photo.phash(first), photo.phash(other)) > DEFAULT.similar_bits_max
    measured = photo.examine_photo(jpeg(first.transpose(Image.Transpose.FLIP_LEFT_RIGHT)), DEFAULT)
    assert photo.hamming(measured.mirror_phash, photo.phash(first)) <= DEFAULT.similar_bits_max


def test_a_picture_turned_by_exif_is_measured_upright() -> None:
    exif = Image.Exif()
    exif[274] = 6
    turned = photo.examine_photo(jpeg(drawn().rotate(90, expand=True), exif=exif), DEFAULT)
    assert photo.hamming(turned.phash, photo.phash(drawn())) <= DEFAULT.similar_bits_max


FONTS = [Path("/usr/share/fonts/opentype/noto/NotoSansCJK-Regular.ttc"), Path("/usr/share/fonts/opentype/noto/NotoSerifCJK-Bold.ttc")]


def cjk_font() -> Path:
    for path in FONTS:
        if path.exists():
            return path
    pytest.skip("no CJK font here: stamping is not shown")


def test_ARCH_14_a_copy_is_stamped_masked_and_free_of_metadata() -> None:
    exif = Image.Exif()
    exif[271] = "Maker"
    stamp = photo.Stamp(lines=("2026-11-27 10:00 某小区", "抄送 C-1"), masks=(photo.Box(left=0, top=0, right=500, bottom=500),))
    copy = photo.stamped_copy(jpeg(exif=exif), stamp, cjk_font(), DEFAULT)
    with Image.open(io.BytesIO(copy)) as opened:
        assert not opened.getexif()
        assert opened.height > 240
        assert opened.getpixel((5, 5)) != drawn().getpixel((5, 5))
    assert b"Maker" not in copy
    plain = photo.stamped_copy(jpeg(), photo.Stamp(lines=(), text=" "), cjk_font(), DEFAULT)
    assert plain != copy


def test_ARCH_14_a_copy_is_made_in_a_locked_process(tmp_path: Path) -> None:
    stamp = photo.Stamp(lines=("2026-11-27 10:00", "C-1"))
    (tmp_path / "a.jpg").write_bytes(jpeg())
    assert make_copy(tmp_path / "a.jpg", stamp, cjk_font(), DEFAULT) == photo.stamped_copy(jpeg(), stamp, cjk_font(), DEFAULT)
    for hostile in (b"", b"GIF89a", jpeg()[:-2_000]):
        with pytest.raises(UnsupportedMediaType):
            make_copy(hostile, stamp, cjk_font(), DEFAULT)
    with pytest.raises(UnsupportedMediaType):
        make_copy(jpeg(), stamp, cjk_font(), ContentPolicy(decode_wall_s_max=0))


def test_a_font_that_lacks_a_character_is_refused() -> None:
    latin = Path("/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf")
    if not latin.exists():
        pytest.skip("no Latin font here: a missing glyph is not shown")
    with pytest.raises(ValueError, match="lacks"):
        photo.stamped_copy(jpeg(), photo.Stamp(lines=()), latin, DEFAULT)


def test_without_the_decoder_a_recording_is_not_examined(tmp_path: Path) -> None:
    """A copy of the library beside an empty `av` stands for a machine without the extra."""
    shutil.copytree(Path(photo.__file__).parent, tmp_path / "evidence")
    audio = tmp_path / "evidence" / "audio.py"
    audio.write_text("raise ImportError('no decoder')\n")
    (tmp_path / "a.wav").write_bytes(tone(1))
    script = ("import sys; sys.path.insert(0, sys.argv[1]); from pathlib import Path; from evidence.examine_worker import examine\n"
              "from evidence.policy import DEFAULT; print(examine(Path(sys.argv[2]), 'audio/wav', DEFAULT).state)")
    done = subprocess.run([sys.executable, "-I", "-c", script, str(tmp_path), str(tmp_path / "a.wav")], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == State.NOT_EXAMINED.value


def test_a_path_and_its_bytes_give_the_same_outcome(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(jpeg())
    outcomes: list[Examination] = [examine(source, "image/jpeg", DEFAULT) for source in (tmp_path / "a.jpg", jpeg())]
    assert outcomes[0].photo == outcomes[1].photo
    assert outcomes[0].photo is not None


def streamed(raw: bytes, *, fail_at: int | None = None, piece: int = 5_000) -> Streamed:
    def chunks() -> Iterator[bytes]:
        for at in range(0, len(raw), piece):
            if fail_at is not None and at >= fail_at:
                raise DigestMismatch("not as signed")
            yield raw[at:at + piece]

    return Streamed(size=len(raw), chunks=chunks())


def test_a_stream_is_examined_like_the_bytes_and_what_breaks_it_is_raised() -> None:
    pixels = np.random.default_rng(7).integers(0, 255, (400, 400, 3), dtype=np.uint8)
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "JPEG")
    raw = out.getvalue()
    whole, apart = examine(raw, "image/jpeg", DEFAULT), examine(streamed(raw), "image/jpeg", DEFAULT)
    assert (apart.state, apart.photo, apart.size) == (State.EXAMINED, whole.photo, len(raw))
    for fail_at in (0, len(raw) // 2, len(raw) - 5_000):
        with pytest.raises(DigestMismatch):
            examine(streamed(raw, fail_at=fail_at), "image/jpeg", DEFAULT)
    assert examine(streamed(b"x" * 900_000), "image/jpeg", DEFAULT).state is State.UNSUPPORTED


def test_a_slow_store_costs_the_decoder_none_of_its_time() -> None:
    """The clock of the sandbox starts when the file's last byte is there: three seconds of waiting for the store pass a limit of two."""
    raw, never = jpeg() + bytes(200_000), threading.Event()

    def chunks() -> Iterator[bytes]:
        yield raw[:100_000]
        never.wait(3)
        yield raw[100_000:]

    seen = examine(Streamed(size=len(raw), chunks=chunks()), "image/jpeg", msgspec.structs.replace(DEFAULT, decode_wall_s_max=2))
    assert (seen.state, seen.reason) == (State.EXAMINED, examine(raw, "image/jpeg", DEFAULT).reason)


def test_a_decoder_that_lingers_over_a_stream_is_killed_when_its_own_time_is_over(tmp_path: Path) -> None:
    lingers = tmp_path / "lingers.py"
    lingers.write_text("import sys, threading\nsys.stdin.buffer.read()\nthreading.Event().wait()\n", encoding="utf-8")
    assert run_locked(lingers, (), iter((b"x" * 200_000, b"y")), 1) == (None, b"")


@pytest.mark.slow
def test_two_hundred_megabytes_pass_through_without_being_held() -> None:
    """Only the worker holds a film: this process grows by pieces of it (its peak is read in a process of its own)."""
    program = """
import struct
from pathlib import Path
from msgspec.structs import replace
from evidence.examine_worker import Streamed, examine
from evidence.policy import DEFAULT
def peak_kb(): return next(int(line.split()[1]) for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
SIZE, PIECE = 200_000_000, 65_536
head = b"RIFF" + struct.pack("<I", SIZE - 8) + b"WAVEfmt " + struct.pack("<IHHIIHH", 16, 1, 2, 48000, 192000, 4, 16)
head += b"data" + struct.pack("<I", SIZE - 44)
def chunks():
    yield head
    for at in range(44, SIZE, PIECE): yield bytes(min(PIECE, SIZE - at))
before = peak_kb()
seen = examine(Streamed(size=SIZE, chunks=chunks()), "audio/wav", replace(DEFAULT, audio_bytes_max=500_000_000, decode_wall_s_max=120))
print(seen.container, seen.size, peak_kb() - before, seen.memory_kb)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    container, size, grown_kb, worker_kb = done.stdout.split()
    assert (container, int(size)) == ("wav", 200_000_000)
    assert int(grown_kb) < 20_000, done.stdout
    assert int(worker_kb) > 200_000 or int(worker_kb) == 0, done.stdout
