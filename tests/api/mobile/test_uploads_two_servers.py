"""Two server processes on one database and store: either goes on where the other stopped, and a stuck writer is taken over."""

import http.client
import os
from pathlib import Path
from typing import Any

import httpx
import pytest

from backend.cli.demo import HOST
from backend.db.cluster import PostgresMissing
from tests.support.station import Station, station
from tests.support.uploading import PHOTO, PIECE, TUS, leave_of, path_of

pytestmark = pytest.mark.slow


def test_EVD_09_any_process_continues_any_upload_and_takes_over_a_stuck_one(tmp_path: Path) -> None:
    try:
        with station(tmp_path, "postgresql", servers=2) as running:
            _alternate(running)
            _take_over(running)
    except PostgresMissing as missing:
        if os.environ.get("CI") == "true":
            pytest.fail(f"with CI=true both engines are required: {missing}")
        pytest.skip(f"PostgreSQL: {missing}")


def _alternate(running: Station) -> None:
    asked, offset = running.place.declare(), 0
    for number, size in enumerate((1, 65_536, 20_000, 65_535, 3, 1_000_000)):
        piece = PHOTO[offset:offset + size]
        answer = _patch(running, number % 2, asked, offset, piece)
        assert answer.status_code == 204, answer.text
        offset = int(answer.headers["upload-offset"])
        assert _head(running, (number + 1) % 2, asked) == offset
    assert running.place.stored(asked) == PHOTO


def _take_over(running: Station) -> None:
    """A phone's first connection stalls in the middle of a piece; its second one comes to the other process."""
    asked = running.place.declare(PHOTO + b"stalled")
    content = PHOTO + b"stalled"
    stalled = http.client.HTTPConnection(HOST, running.ports[0], timeout=60)
    try:
        stalled.putrequest("PATCH", path_of(asked))
        for name, value in {**PIECE, **leave_of(asked), "Upload-Offset": "0", "Content-Length": str(len(content))}.items():
            stalled.putheader(name, value)
        stalled.endheaders()
        stalled.send(content[:100_000])
        # The lock of a writer is there before its first byte is taken: who asks now makes it let go, and learns how far it came.
        held = running.deployment.settings.data_folder / "locks" / f"{path_of(asked).rpartition('/')[2].replace('-', '')}.lock"
        part = running.place.resources.settings.store_folder / "parts" / "uploads" / held.stem
        while not held.exists():
            assert running.processes[0].poll() is None
        offset = _head(running, 1, asked)
        assert part.exists() or offset == 0
        assert 0 <= offset <= 100_000
        answer = _patch(running, 1, asked, offset, content[offset:])
        assert answer.status_code == 204, answer.text
        assert running.place.stored(asked) == content
        # The stalled connection was told how far it came, and can do nothing any more.
        told = stalled.getresponse()
        assert told.status in (204, 409, 423), told.read()
    finally:
        stalled.close()
    assert running.place.receipt(asked["manifestId"]).json()["receipt"] is not None


def _patch(running: Station, number: int, asked: dict[str, Any], offset: int, piece: bytes) -> httpx.Response:
    return httpx.patch(f"http://{HOST}:{running.ports[number]}{path_of(asked)}", content=piece, timeout=60,
                       headers={**PIECE, **leave_of(asked), "Upload-Offset": str(offset)})


def _head(running: Station, number: int, asked: dict[str, Any]) -> int:
    told = httpx.head(f"http://{HOST}:{running.ports[number]}{path_of(asked)}", timeout=60, headers={**TUS, **leave_of(asked)})
    assert told.status_code == 200, told.status_code
    return int(told.headers["upload-offset"])
