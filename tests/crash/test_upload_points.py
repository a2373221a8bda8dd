"""SIGKILL at every named point of an upload's way, at random files and pieces: nothing acknowledged is missing, nothing is doubled.

The named points are those of the local store and those around the commits. Each file's server is killed up to five times.
`TEST_SEED` repeats a run.
"""

import os
import random
import signal
from collections import Counter
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from litestar.testing import TestClient
from sqlalchemy import func, select
from sqlalchemy.orm import Session, sessionmaker

from backend.exhibits.commands import verify_store
from backend.exhibits.model import ItemState
from backend.exhibits.tables import EvidenceReceiptRow, ItemRow
from backend.keys.folder import FolderVault
from evidence.stores.file import CRASH_POINTS
from tests.support.engines import Database
from tests.support.killed import COMMIT_POINTS, LastPiece, send_and_die
from tests.support.uploading import KEYRING, PIECE, TUS, Place, checksum_of, leave_of, make_place, path_of, place_of

GROWING = ("part-created", "part-written", "part-synced", "part-cut")
LAST = (*(point for point in CRASH_POINTS if point.startswith("blob-") and point != "blob-deleted"), *COMMIT_POINTS)
"""Points while a file grows, and those that only the last piece comes to. Left out: `part-deleted` and `blob-deleted`, which no good upload meets."""
SIZES = (70, 65_536, 100_000, 200_000, 400_000)


def kill_often(place: Place, cloned: Database, folder: Path, now: datetime, kills: int) -> Counter[str]:
    """Upload files whose server dies again and again, until `kills` died; check each when it is whole. Returns where they died."""
    seed = int(os.environ.get("TEST_SEED") or random.SystemRandom().randrange(10**6))
    print(f"seed {seed}")
    chance, died = random.Random(seed), Counter[str]()
    files = 0
    while died.total() < kills or min(died[point] for point in (*GROWING, *LAST)) == 0:
        files += 1
        assert files < kills, f"the points are not reached: {died}"
        content = b"\xff\xd8\xff" + files.to_bytes(4, "big") + chance.randbytes(chance.choice(SIZES))
        asked, acknowledged = place.declare(content), 0
        for point in (*GROWING, chance.choice(LAST)):
            is_last = point in LAST
            end = len(content) if is_last else chance.randint(acknowledged + 1, max(acknowledged + 1, len(content) - 1))
            if end > len(content) - (not is_last):
                continue
            is_damaged = point == "part-cut"                  # Only what is taken back is cut.
            code = _send(place, cloned, folder, asked, (content, acknowledged, end), point, is_damaged=is_damaged,
                         has_checksum=chance.random() < 0.3)
            died[point] += code == -signal.SIGKILL
            assert code in (-signal.SIGKILL, 0)
            # Asked of a process that knows of nothing, or of one that remembers how it was.
            told = place.head(asked) if chance.random() < 0.5 else _head_after_restart(place, folder, asked, now)
            assert told.status_code == 200, told.text
            offset = int(told.headers["upload-offset"])
            assert offset >= acknowledged, f"{acknowledged} bytes were acknowledged, {offset} are left; died at {point}"
            assert code != 0 or is_damaged or offset == end
            # What a damaged piece left may not be told apart from a piece cut off in time; its own checksum is tried again below.
            acknowledged = offset
        if acknowledged < len(content):
            answer = place.patch(asked, acknowledged, content[acknowledged:])
            assert answer.status_code == 204, answer.text
        assert place.stored(asked) == content
        receipt = place.receipt(asked["manifestId"]).json()["receipt"]
        assert receipt is not None
    with place.sessions() as session:
        items, receipts = (session.scalar(select(func.count()).select_from(row)) for row in (ItemRow, EvidenceReceiptRow))
        assert (items, receipts) == (files, files), "something is doubled or missing"
        assert set(session.scalars(select(ItemRow.state))) == {ItemState.STORED}
        assert verify_store(session, KEYRING, place.resources.store, place.resources.settings.tenant).faults == ()
    blobs = [path for path in (folder / "evidence" / "blobs").rglob("*") if path.is_file()]
    assert len(blobs) == files
    assert list(place.resources.store.parts("uploads")) == []
    return died


def _send(
    place: Place, cloned: Database, folder: Path, asked: dict[str, Any], what: tuple[bytes, int, int], point: str, *, is_damaged: bool,
    has_checksum: bool,
) -> int:
    """Send bytes from one offset to another to a server that dies at a point; returns its exit code, 0 when it lived."""
    content, start, end = what
    vault = KEYRING.vault
    assert isinstance(vault, FolderVault)
    headers = {**PIECE, **leave_of(asked), "Upload-Offset": str(start)}
    if has_checksum or is_damaged:
        headers["Upload-Checksum"] = checksum_of(b"other" if is_damaged else content[start:end])
    return send_and_die(LastPiece(
        kind=cloned.kind, url=cloned.url.render_as_string(hide_password=False), data_folder=folder, key_folder=vault.credential_path.parent,
        path=path_of(asked), headers=headers, content=content[start:end], point=point, now=place.made.now))


def _head_after_restart(place: Place, folder: Path, asked: dict[str, Any], now: datetime) -> Any:
    restarted, _ = make_place(place.sessions, folder, now)
    with TestClient(restarted) as client:
        return client.head(path_of(asked), headers={**TUS, **leave_of(asked)})


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_EVD_09_killed_a_hundred_times_at_every_point_nothing_acknowledged_is_missing(
    sessions: sessionmaker[Session], cloned: Database, tmp_path: Path, now: datetime, capsys: pytest.CaptureFixture[str]
) -> None:
    with place_of(sessions, tmp_path, now) as place:
        died = kill_often(place, cloned, tmp_path, now, 100)
    with capsys.disabled():
        print(f"\n{cloned.kind}: {died.total()} kills, {dict(sorted(died.items()))}")


@pytest.mark.soak
@pytest.mark.timeout(6 * 3600)
@pytest.mark.parametrize("number", range(20))
def test_EVD_09_killed_five_thousand_times_at_every_point_nothing_acknowledged_is_missing(
    sessions: sessionmaker[Session], cloned: Database, tmp_path: Path, now: datetime, number: int
) -> None:
    """In rounds of 250 on a fresh database, so that a failure is found near its seed: 20 rounds on each engine make 10,000."""
    with place_of(sessions, tmp_path, now) as place:
        assert kill_often(place, cloned, tmp_path, now, 250).total() >= 250, number
