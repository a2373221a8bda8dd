"""What no kill can show, since the page cache survives one: the kernel is asked in which order a server writes, syncs, commits and answers."""

import os
import re
import signal
import subprocess
from pathlib import Path
from typing import Any

import httpx
import pytest

from backend.cli.demo import HOST
from backend.db.cluster import PostgresMissing
from tests.support.station import Station, station
from tests.support.uploading import PHOTO, PIECE, leave_of, path_of

TRACER = "/usr/bin/strace"
CALLS = "fsync,fdatasync,rename,renameat,renameat2,ftruncate,unlink,write,pwrite64,writev,sendto,sendmsg"
pytestmark = pytest.mark.slow


def steps(trace: str, parts: str, blobs: str) -> list[str]:
    """Name what concerns an upload: writes and syncs of its part, the rename, folders, commits and answers; the rest is left out."""
    found = []
    for line in trace.splitlines():
        if "resumed>" in line or (match := re.match(r"^(?:\[?pid\s+)?\d*\]?\s*(?:\d+\s+)?(\w+)\((.*)", line)) is None:
            continue
        call, told = match[1], match[2]
        target = re.match(r"\d+<([^>]*)>", told)
        path = target[1] if target else ""
        if call in ("write", "writev", "sendto", "sendmsg") and "HTTP/1.1 204" in told:
            found.append("answer")
        elif call == "renameat2" or call.startswith("rename"):
            found.append("rename") if parts in told and blobs in told else None
        elif (call == "sendto" and "COMMIT" in told) or (path.endswith("-wal") and call in ("fsync", "fdatasync")):
            found.append("commit")
        elif path.startswith(parts):
            is_folder = Path(path).name in ("parts", "uploads")
            found.append(f"{'fsync' if 'sync' in call else 'write'} {'parts folder' if is_folder else 'part'}")
        elif path.startswith(blobs) and "sync" in call:
            found.append("fsync blobs folder")
    return found


def order_of(running: Station, asked: dict[str, Any], offset: int, content: bytes, folder: Path) -> list[str]:
    """Send a piece to the server while it is watched."""
    worker = max(int(one) for one in subprocess.run(
        ["ps", "-o", "pid=", "--ppid", str(running.processes[0].pid)], capture_output=True, text=True, check=True).stdout.split())
    trace = folder / f"trace-{offset}"
    with subprocess.Popen([TRACER, "-f", "-y", "-s", "64", "-e", f"trace={CALLS}", "-o", str(trace), "-p", str(worker)],
                          stderr=subprocess.PIPE, text=True) as tracer:
        assert tracer.stderr is not None
        told = tracer.stderr.readline()
        if "attached" not in told:
            tracer.kill()
            pytest.skip(f"this machine does not let a process be traced: the order of system calls is not observed here ({told.strip()})")
        try:
            answer = httpx.patch(f"http://{HOST}:{running.ports[0]}{path_of(asked)}", content=content, timeout=120,
                                 headers={**PIECE, **leave_of(asked), "Upload-Offset": str(offset)})
        finally:
            _end(tracer)
    assert answer.status_code == 204, answer.text
    store = running.place.resources.settings.store_folder
    return steps(trace.read_text(encoding="utf-8", errors="replace"), str(store / "parts"), str(store / "blobs"))


def _end(tracer: subprocess.Popen[str]) -> None:
    """Let go of the server. A tracer that is told so just when the server starts its examination may wait for that child for ever."""
    tracer.send_signal(signal.SIGINT)
    try:
        tracer.wait(timeout=10)
    except subprocess.TimeoutExpired:
        tracer.kill()


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_EVD_09_the_order_is_fsync_rename_fsync_of_folders_commit_answer(tmp_path: Path, kind: str) -> None:
    if not os.access(TRACER, os.X_OK):
        if os.environ.get("CI") == "true":
            pytest.fail("with CI=true strace is required")
        pytest.skip("strace is absent: the order of system calls is not observed here")
    try:
        with station(tmp_path, kind) as running:
            asked = running.place.declare(PHOTO)
            first = order_of(running, asked, 0, PHOTO[:100_000], tmp_path)
            last = order_of(running, asked, 100_000, PHOTO[100_000:], tmp_path)
            assert running.place.stored(asked) == PHOTO
    except PostgresMissing as missing:
        if os.environ.get("CI") == "true":
            pytest.fail(f"with CI=true both engines are required: {missing}")
        pytest.skip(f"PostgreSQL: {missing}")
    # A piece: its bytes and its name are synced, then the offset is acknowledged.
    assert first[-1] == "answer"
    assert first[first.index("write part"):] == [*["write part"] * first.count("write part"), "fsync part", "fsync parts folder", "answer"], first
    # The last piece: bytes, then their final name, then both folders, then the row, then the answer.
    wanted = ["write part", "fsync part", "rename", "fsync blobs folder", "fsync parts folder", "commit", "answer"]
    at = -1
    for step in wanted:
        assert step in last[at + 1:], f"{step} is missing after {last[:at + 1]}: {last}"
        at = last.index(step, at + 1)
    assert last.index("rename") > max(place for place, step in enumerate(last) if step in ("write part", "fsync part")), last
    assert "commit" not in last[last.index("write part"):last.index("fsync blobs folder")], last
    assert last.count("answer") == 1, last
    assert last[-1] == "answer", last
