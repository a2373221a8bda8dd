"""The log's tiles and checkpoint rebuild, without our code's tree, to the signed root; an unfinished or oddly spelled tile is not there."""

import base64
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from litestar.testing import TestClient
from sqlalchemy.orm import Session, sessionmaker

from backend.audit import log, stamps, tiles
from backend.console import log_tiles
from backend.keys.keyring import Keyring
from evidence import merkle, time_stamps, translog
from tests.support.http import SteppedClock, make_client, make_resources
from tests.support.time_authority import TimeAuthority
from tests.support.world import shared_keyring

SIZE = 300


@pytest.fixture
def client(joined: sessionmaker[Session], keyring: Keyring, tmp_path: Path, now: datetime) -> Iterator[TestClient[Any]]:
    resources = make_resources(joined, keyring, tmp_path, SteppedClock(now))
    with make_client(resources, log_tiles.OPEN_ROUTES) as client:
        assert client.get("/verify/log/checkpoint").status_code == 404
        with joined.begin() as session:
            for number in range(SIZE):
                log.append(session, "manifest", str(number).encode(), now)
        log.sequence(joined, keyring, resources.origin, now)
        yield client


def test_tiles_rebuild_to_the_signed_root(client: TestClient[Any], keyring: Keyring) -> None:
    checkpoint = translog.verify_checkpoint(client.get("/verify/log/checkpoint").text, "fieldvisit/fieldvisit", keyring.log_public_key())
    full, rest = client.get("/verify/log/tile/0/000"), client.get(f"/verify/log/tile/0/001.p/{SIZE - 256}")
    assert (len(full.content), len(rest.content)) == (256 * 32, (SIZE - 256) * 32)
    assert "immutable" in full.headers["cache-control"]
    raw = full.content + rest.content
    leaves = [raw[at:at + 32] for at in range(0, len(raw), 32)]
    assert (checkpoint.size, merkle.root_of(leaves)) == (SIZE, checkpoint.root)
    assert client.get("/verify/log/tile/1/000.p/1").content == merkle.root_of(leaves[:256])


@pytest.mark.parametrize("path", [
    "0/001", "0/001.p/45", "0/002.p/1", "1/000", "1/000.p/2", "0/1", "0/0001", "00/000", "0/000.p/0", "0/000.p/256", "0/000.p/257", "8/000",
    "9/000.p/1", "0/x000/000", "0/x001/000", "data/000", "0/000.p/01", "-1/000", "entries/000",
])
def test_a_tile_beyond_the_log_or_in_another_spelling_is_not_there(client: TestClient[Any], path: str) -> None:
    assert client.get(f"/verify/log/tile/{path}").status_code == 404


@pytest.mark.parametrize("number", [0, 7, 999, 1000, 1234067, 123456789])
def test_a_path_is_read_back_as_it_is_written(number: int) -> None:
    for width in (1, 255, 256):
        tile = tiles.Tile(level=3, number=number, width=width)
        assert tiles.parse_path(tile.path()) == tile


def test_EVD_09_a_stamp_is_shown_to_anybody_once_there_is_one(joined: sessionmaker[Session], tmp_path: Path) -> None:
    authority, now = TimeAuthority(tmp_path), datetime.now(UTC)
    with make_client(make_resources(joined, shared_keyring(), tmp_path / "var", SteppedClock(now)), log_tiles.OPEN_ROUTES) as client:
        assert client.get("/verify/log/stamp").status_code == 404
        with joined.begin() as session:
            log.append_all(session, "manifest", [b"entry"] * 3, now)
        log.sequence(joined, shared_keyring(), "fieldvisit/fieldvisit", now)
        assert stamps.stamp(joined, stamps.Asking(authority=authority.answer, pinned=authority.pinned), now) == 3
        shown = client.get("/verify/log/stamp?size=3").json()
        assert shown == client.get("/verify/log/stamp").json()
        assert client.get("/verify/log/stamp?size=2").status_code == 404
        assert client.get("/verify/log/stamp?size=0").status_code == 422
        assert time_stamps.judge(base64.b64decode(shown["response"]), shown["checkpoint"].encode(), authority.pinned).serial > 0
