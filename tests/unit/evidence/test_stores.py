"""One contract for every store, and the order in which the local one syncs."""

import errno
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import obstore
import pytest

from evidence.errors import BlobExists, BlobMissing, StorageUnavailable
from evidence.store import BlobStore
from evidence.stores.file import CRASH_POINTS, FileStore
from evidence.stores.memory import MemoryStore
from evidence.stores.s3 import S3Store
from tests.support.cloud import Cloud

pytestmark = pytest.mark.long

STORES = ("file", "memory", "s3")


@pytest.fixture(params=STORES)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> BlobStore:
    if request.param == "s3":
        return S3Store(request.getfixturevalue("bucket"), piece_bytes_max=5)
    return FileStore(tmp_path) if request.param == "file" else MemoryStore()


@pytest.fixture(scope="session")
def cloud() -> Iterator[Cloud]:
    with Cloud() as running:
        yield running


@pytest.fixture
def bucket(cloud: Cloud) -> Any:
    return cloud.bucket()


def write(store: BlobStore, part: str, at: int, *chunks: bytes) -> int:
    writer = store.open_part(part, at)
    for chunk in chunks:
        writer.write(chunk)
    size = writer.sync()
    writer.close()
    return size


@pytest.mark.parametrize("name", ["", "..", "../x", "a/../b", "/a", "a/", "a//b", ".a", "a/.b", "A", "a\x00", "a b", "ü", "a" * 201, "a\n"])
def test_names_that_could_escape_are_refused(store: BlobStore, name: str) -> None:
    for attempt in (lambda: store.open_part(name, 0), lambda: store.size(name), lambda: list(store.read(name)), lambda: store.put(name, [b"x"]),
                    lambda: store.delete(name), lambda: store.part_size(name), lambda: store.delete_part(name)):
        with pytest.raises(BlobMissing):
            attempt()


def test_a_blob_is_never_replaced(store: BlobStore) -> None:
    store.put("ab/cd", [b"one"])
    with pytest.raises(BlobExists):
        store.put("ab/cd", [b"two"])
    write(store, "p1", 0, b"three")
    with pytest.raises(BlobExists):
        store.finalise("p1", "ab/cd")
    assert b"".join(store.read("ab/cd")) == b"one"
    assert store.part_size("p1") == 5


def test_what_is_not_there_is_missing(store: BlobStore) -> None:
    assert store.size("none") is None
    assert store.part_size("none") == 0
    for attempt in (lambda: list(store.read("none")), lambda: list(store.read_part("none")), lambda: store.finalise("none", "none"),
                    lambda: store.open_part("none", 3)):
        with pytest.raises(BlobMissing):
            attempt()
    store.delete("none")
    store.delete_part("none")


def test_a_part_grows_is_cut_back_and_becomes_a_blob(store: BlobStore) -> None:
    assert write(store, "up/1", 0, b"abc", b"def") == 6
    assert write(store, "up/1", 6, b"torn") == 10
    assert write(store, "up/1", 6, b"ghi") == 9
    assert b"".join(store.read_part("up/1")) == b"abcdefghi"
    store.finalise("up/1", "x/1")
    store.finalise("up/1", "x/1")                    # A phone's retry after a crash.
    assert b"".join(store.read("x/1")) == b"abcdefghi"
    assert (store.size("x/1"), store.part_size("up/1")) == (9, 0)


def test_a_part_is_read_from_any_byte_and_listed_until_it_rests(store: BlobStore) -> None:
    write(store, "up/1", 0, b"abcdef", b"ghi")
    write(store, "up/2", 0, b"x")
    write(store, "down/1", 0, b"y")
    for start in range(10):
        assert b"".join(store.read_part("up/1", start)) == b"abcdefghi"[start:]
    assert sorted(store.parts("up")) == ["up/1", "up/2"]
    store.finalise("up/1", "x/1")
    store.delete_part("up/2")
    assert list(store.parts("up")) == []
    assert list(store.parts("never")) == []


def test_of_sixteen_writers_of_one_blob_exactly_one_wins(store: BlobStore) -> None:
    def attempt(number: int) -> bool:
        try:
            store.put("one", [bytes([number]) * 20])
        except BlobExists:
            return False
        return True

    with ThreadPoolExecutor(16) as threads:
        won = list(threads.map(attempt, range(16)))
    assert won.count(True) == 1
    assert b"".join(store.read("one")) == bytes([won.index(True)]) * 20


def test_a_part_begins_anew_under_the_name_of_one_that_rests(store: BlobStore) -> None:
    write(store, "up/1", 0, b"abc")
    store.finalise("up/1", "x/1")
    write(store, "up/1", 0, b"other")
    with pytest.raises(BlobExists):
        store.finalise("up/1", "x/1")
    store.delete_part("up/1")
    assert b"".join(store.read("x/1")) == b"abc"


def test_nothing_stays_of_a_blob_whose_source_breaks_off(store: BlobStore, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    def breaking() -> Iterator[bytes]:
        yield b"begun and never ended"
        raise ValueError("the source changed")

    with pytest.raises(ValueError, match="the source changed"):
        store.put("x", breaking())
    assert store.size("x") is None
    left: list[Any] = [path for path in tmp_path.rglob("*") if path.is_file()]
    if isinstance(store, S3Store):
        left = [one for batch in obstore.list(request.getfixturevalue("bucket")) for one in batch]
    assert left == []


def test_a_blob_can_be_destroyed(store: BlobStore) -> None:
    store.put("x", [b"1", b"2"])
    store.delete("x")
    assert store.size("x") is None


class Killed(BaseException):
    """Stands for the process's death at a crash point."""


def acknowledged_after(folder: Path, crash_at: int) -> tuple[int, bool, bool]:
    """Write and finalise, dying at the n-th crash point; return acknowledged bytes, whether finalise returned, and whether it died."""
    left = crash_at

    def maybe_crash(point: str) -> None:
        nonlocal left
        left -= 1
        if left < 0:
            raise Killed(point)

    acknowledged, is_final = 0, False
    try:
        store = FileStore(folder, maybe_crash)
        acknowledged = write(store, "p", 0, b"abc")
        acknowledged = write(store, "p", 3, b"def")
        store.finalise("p", "b")
        is_final = True
    except Killed:
        return acknowledged, is_final, True
    return acknowledged, is_final, False


def test_at_every_crash_point_a_retry_finishes_and_nothing_acknowledged_is_missing(tmp_path: Path) -> None:
    for crash_at in range(100):
        folder = tmp_path / str(crash_at)
        acknowledged, is_final, is_dead = acknowledged_after(folder, crash_at)
        store = FileStore(folder)
        if store.size("b") is None:
            held = store.part_size("p")
            assert held >= acknowledged
            assert not is_final
            write(store, "p", min(held, 6), b"abcdef"[min(held, 6):])
        store.finalise("p", "b")
        assert b"".join(store.read("b")) == b"abcdef"
        if not is_dead:
            assert crash_at >= 8
            return
    pytest.fail("the run never ended")


def test_every_crash_point_is_named_and_reached(tmp_path: Path) -> None:
    seen: set[str] = set()
    store = FileStore(tmp_path, seen.add)
    write(store, "p", 0, b"abc")
    write(store, "p", 1, b"x")
    store.finalise("p", "b")
    store.delete("b")
    write(store, "q", 0, b"q")
    store.delete_part("q")
    assert seen == set(CRASH_POINTS)


def test_a_real_kill_at_a_crash_point_loses_nothing_acknowledged(tmp_path: Path) -> None:
    script = (
        "import os, signal, sys; from pathlib import Path; from evidence.stores.file import FileStore\n"
        "def crash(point):\n    if point == sys.argv[2]: os.kill(os.getpid(), signal.SIGKILL)\n"
        "store = FileStore(Path(sys.argv[1]), crash); w = store.open_part('p', 0); w.write(b'abcdef'); print(w.sync(), flush=True)\n"
        "store.finalise('p', 'b'); print('final', flush=True)\n")
    for point in ("part-created", "part-written", "part-synced", "blob-synced", "blob-renamed", "blob-folder-synced"):
        folder = tmp_path / point
        done = subprocess.run([sys.executable, "-c", script, str(folder), point], capture_output=True, text=True, check=False)
        assert done.returncode == -signal.SIGKILL
        store = FileStore(folder)
        if "6" in done.stdout:
            assert max(store.part_size("p"), store.size("b") or 0) == 6
        assert "final" not in done.stdout


def test_a_full_or_broken_disk_is_unavailable_never_a_lie(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = FileStore(tmp_path)
    writer = store.open_part("p", 0)
    writer.write(b"abc")

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "no space")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageUnavailable) as refusal:
        writer.sync()
    assert refusal.value.status == 503
    with pytest.raises(StorageUnavailable):
        store.finalise("p", "b")
    monkeypatch.undo()
    assert store.size("b") is None


def test_the_order_is_fsync_rename_fsync_of_the_folder(tmp_path: Path) -> None:
    """Killing a process cannot show this, since the page cache survives: the kernel is asked."""
    tracer = "/usr/bin/strace"
    if not os.access(tracer, os.X_OK):
        pytest.skip("strace is absent: the order of system calls is not observed here")
    script = (f"from pathlib import Path; from evidence.stores.file import FileStore; s = FileStore(Path({str(tmp_path / 's')!r}))\n"
              "w = s.open_part('p', 0); w.write(b'abc'); w.sync(); w.close(); s.finalise('p', 'b')")
    done = subprocess.run([tracer, "-f", "-y", "-e", "trace=fsync,rename,renameat,renameat2,link,linkat,write", sys.executable, "-c", script],
                          capture_output=True, text=True, check=True)
    calls = [re.sub(r"^(\[pid +\d+\] )?", "", line) for line in done.stderr.splitlines() if str(tmp_path) in line]
    kinds = [(call.partition("(")[0], "/parts/p>" in call) for call in calls]
    kinds = kinds[kinds.index(("write", True)):]
    assert kinds == [("write", True), ("fsync", True), ("fsync", False), ("fsync", True), ("renameat2", False), ("fsync", False), ("fsync", False)]
