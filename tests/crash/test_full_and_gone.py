"""A disk that is full and a database that is gone: 503 and no receipt; when they are back, the upload goes on where it was acknowledged."""

import errno
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select
from sqlalchemy.orm import Session, sessionmaker

from backend.db.cluster import Cluster, PostgresMissing
from backend.db.engine import make_engine, session_factory
from backend.db.upgrade import upgrade
from backend.exhibits.tables import EvidenceReceiptRow
from evidence.errors import StorageUnavailable
from evidence.stores.file import FileStore
from tests.support.uploading import PHOTO, Place, place_of


@pytest.fixture
def place(sessions: sessionmaker[Session], tmp_path: Path, now: datetime) -> Iterator[Place]:
    with place_of(sessions, tmp_path, now) as made:
        yield made


@pytest.mark.parametrize("call", ["write", "fsync", "open"])
def test_SEC_06_a_disk_that_fills_in_the_middle_gives_503_and_no_receipt(place: Place, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    asked = place.declare()
    assert place.patch(asked, 0, PHOTO[:70_000]).status_code == 204
    real: Any = getattr(os, call)
    store = str(place.resources.settings.store_folder)

    def full(target: Any, *arguments: Any, **options: Any) -> Any:
        path = os.readlink(f"/proc/self/fd/{target}") if isinstance(target, int) else str(target)
        if path.startswith(store):
            raise OSError(errno.ENOSPC, "no space left on device")
        return real(target, *arguments, **options)

    with monkeypatch.context() as patched:
        patched.setattr(os, call, full)
        answer = place.patch(asked, 70_000, PHOTO[70_000:])
    assert (answer.status_code, answer.json()["type"]) == (503, "/problems/storage-unavailable")
    assert int(answer.headers["retry-after"]) > 0
    assert place.receipt(asked["manifestId"]).json()["receipt"] is None
    offset = int(place.head(asked).headers["upload-offset"])
    assert 70_000 <= offset <= len(PHOTO)
    if offset < len(PHOTO):
        assert place.patch(asked, offset, PHOTO[offset:]).status_code == 204
    assert place.stored(asked) == PHOTO
    assert place.receipt(asked["manifestId"]).json()["receipt"] is not None


FILL = """
import ctypes, os, sys
from pathlib import Path
folder = sys.argv[1]
libc = ctypes.CDLL(None, use_errno=True)
if libc.unshare(0x00020000) != 0 and libc.unshare(0x10000000 | 0x00020000) != 0:
    sys.exit(77)
libc.mount(b"none", b"/", None, 0x4000 | 0x40000, None)
if libc.mount(b"tmpfs", folder.encode(), b"tmpfs", 0, b"size=4m") != 0:
    sys.exit(77)
from evidence.errors import StorageUnavailable
from evidence.stores.file import FileStore
store = FileStore(Path(folder))
first = store.open_part("up/1", 0)
first.write(b"a" * 1_000_000)
assert first.sync() == 1_000_000
first.close()
second = store.open_part("up/1", 1_000_000)
try:
    for _ in range(100):
        second.write(b"b" * 100_000)
        second.sync()
except StorageUnavailable as error:
    assert error.status == 503
else:
    sys.exit("a 4 MB disk took 11 MB")
second.close()
# What was acknowledged before is whole, and after a cut back the part goes on.
third = store.open_part("up/1", 1_000_000)
assert b"".join(store.read_part("up/1")) == b"a" * 1_000_000
third.write(b"c")
assert third.sync() == 1_000_001
store.finalise("up/1", "x/1")
assert b"".join(store.read("x/1")) == b"a" * 1_000_000 + b"c"
print("held")
"""


def test_SEC_06_a_real_disk_of_four_megabytes_is_unavailable_when_full_and_keeps_what_it_acknowledged(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", FILL, str(tmp_path)], capture_output=True, text=True, check=False, timeout=120)
    if done.returncode == 77:
        pytest.skip("this machine lets nobody mount a small disk: a full one is only played")
    assert (done.returncode, done.stdout) == (0, "held\n"), done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("moment", ["before the piece", "between the file and its row"])
def test_SEC_06_a_database_that_is_gone_gives_503_and_no_receipt(tmp_path: Path, now: datetime, monkeypatch: pytest.MonkeyPatch, moment: str) -> None:
    try:
        cluster = Cluster(is_durable=True)
    except PostgresMissing as missing:
        if os.environ.get("CI") == "true":
            pytest.fail(f"with CI=true both engines are required: {missing}")
        pytest.skip(f"PostgreSQL: {missing}")
    url = cluster.url(cluster.create())
    upgrade(url)
    engine = make_engine(url, pool_size=4)
    try:
        with place_of(session_factory(engine), tmp_path, now) as place:
            asked = place.declare()
            assert place.patch(asked, 0, PHOTO[:70_000]).status_code == 204
            paused = _Pause(cluster)
            if moment == "before the piece":
                paused.stop()
            else:
                real = FileStore.finalise

                def finalise(store: FileStore, part: str, blob: str) -> None:
                    real(store, part, blob)
                    paused.stop()

                monkeypatch.setattr(FileStore, "finalise", finalise)
            answer = place.patch(asked, 70_000, PHOTO[70_000:])
            monkeypatch.undo()
            assert (answer.status_code, answer.json()["type"]) == (503, "/problems/storage-unavailable")
            assert "retry-after" in answer.headers
            assert place.head(asked).status_code == 503
            paused.start()
            engine.dispose()
            with place.sessions() as session:
                assert session.scalar(select(func.count()).select_from(EvidenceReceiptRow)) == 0
            told = place.head(asked)
            assert told.status_code == 200, told.text
            offset = int(told.headers["upload-offset"])
            assert offset == (70_000 if moment == "before the piece" else len(PHOTO))
            if offset < len(PHOTO):
                assert place.patch(asked, offset, PHOTO[offset:]).status_code == 204
            assert place.stored(asked) == PHOTO
            assert place.receipt(asked["manifestId"]).json()["receipt"] is not None
    finally:
        engine.dispose()
        cluster.stop()


class _Pause:
    """Takes a cluster's server away and brings it back, with its data."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    def stop(self) -> None:
        os.kill(self._cluster.server_pid, signal.SIGQUIT)
        self._cluster._server.wait(timeout=60)

    def start(self) -> None:
        self._cluster._server = self._cluster._start()
        self._cluster._wait_until_ready()


def test_a_store_whose_folder_went_away_is_unavailable(tmp_path: Path) -> None:
    store = FileStore(tmp_path / "store")
    (tmp_path / "store" / "parts").rmdir()
    (tmp_path / "store" / "parts").write_bytes(b"not a folder")
    with pytest.raises(StorageUnavailable):
        store.open_part("p", 0)
