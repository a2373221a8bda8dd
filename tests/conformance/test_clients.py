"""Clients nobody here wrote finish their uploads through a slow proxy that cuts a fifth of the pieces, and no digest is bad.

One test is one client on one engine; files are of sizes that fall on every side of a sealed record. `TEST_SEED` repeats a run.
"""

import json
import logging
import os
import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests
from sqlalchemy import select
from tusclient.client import TusClient
from tusclient.exceptions import TusCommunicationError

from backend.cli.demo import HOST
from backend.db.cluster import PostgresMissing
from backend.exhibits.commands import verify_store
from backend.exhibits.model import ItemState
from backend.exhibits.tables import ItemRow
from tests.support.bad_proxy import BadProxy
from tests.support.npm import npm_folder, run_node
from tests.support.station import Station, station
from tests.support.uploading import path_of

SHARE = 0.2
PIECE_BYTES = 100_000
SIZES = (1, 65_535, 65_536, 65_537, 131_072, 300_000, 700_001)
TRIES_MAX = 200
AT_ONCE = 4

JS = """
import * as tus from 'tus-js-client';
import { readFileSync } from 'node:fs';
const asked = JSON.parse(readFileSync(process.argv[2]));
const pieceBytes = Number(process.argv[3]);
const one = (job) => new Promise((resolve, reject) => {
  const upload = new tus.Upload(readFileSync(job.file), {
    endpoint: job.url ? undefined : job.endpoint, uploadUrl: job.url, chunkSize: pieceBytes, retryDelays: Array(200).fill(10),
    headers: { Authorization: `Bearer ${job.token}` }, metadata: job.metadata, storeFingerprintForResuming: false, removeFingerprintOnSuccess: true,
    onError: reject, onSuccess: () => resolve(),
  });
  upload.start();
});
const queue = [...asked];
await Promise.all(Array.from({ length: 4 }, async () => { while (queue.length) await one(queue.shift()); }));
console.log(`${asked.length} finished`);
"""


@contextmanager
def busy(folder: Path, kind: str, seed: int) -> Iterator[tuple[Station, BadProxy]]:
    """Run a server behind the proxy."""
    with BadProxy(0, seed=seed, share=SHARE, piece_bytes=PIECE_BYTES, pause_s=0.001) as proxy:
        try:
            with station(folder, kind, public_port=proxy.port) as running:
                proxy.aim(running.ports[0])
                yield running, proxy
        except PostgresMissing as missing:
            if os.environ.get("CI") == "true":
                pytest.fail(f"with CI=true both engines are required: {missing}")
            pytest.skip(f"PostgreSQL: {missing}")


def declare_all(running: Station, count: int, chance: random.Random) -> list[tuple[dict[str, Any], bytes]]:
    """Declare files, some of whose digests begin alike."""
    files = []
    for number in range(count):
        content = b"\xff\xd8\xff" + number.to_bytes(4, "big") + chance.randbytes(chance.choice(SIZES))
        files.append((running.place.declare(content), content))
    return files


def address(asked: dict[str, Any], proxy: BadProxy) -> str:
    """Return the URL of an item's upload behind the proxy."""
    return f"http://{HOST}:{proxy.port}{path_of(asked)}"


def send_with_tuspy(asked: dict[str, Any], content: bytes, proxy: BadProxy, folder: Path, number: int) -> int:
    """Let tuspy send one file; every other time it creates the upload itself. Returns how often it had to begin again."""
    path = folder / f"{number}.bin"
    path.write_bytes(content)
    client = TusClient(f"http://{HOST}:{proxy.port}/mobile/v1/uploads", headers={"Authorization": f"Bearer {asked['uploadToken']}"})
    url = address(asked, proxy) if number % 2 else None
    for attempt in range(TRIES_MAX):
        try:
            uploader = client.uploader(str(path), url=url, chunk_size=PIECE_BYTES, retries=0, upload_checksum=False)
            if url is None:
                uploader.set_url(uploader.create_url())
                url = uploader.url
            uploader.upload()
            return attempt
        except (TusCommunicationError, requests.exceptions.RequestException):
            continue                                      # As an app does: it begins again where the server says.
    raise AssertionError(f"file {number} did not arrive in {TRIES_MAX} attempts")


def send_all_with_tuspy(files: list[tuple[dict[str, Any], bytes]], proxy: BadProxy, folder: Path) -> None:
    with ThreadPoolExecutor(AT_ONCE) as threads:
        list(threads.map(lambda job: send_with_tuspy(*job[1], proxy, folder, job[0]), enumerate(files)))


def send_all_with_tus_js_client(files: list[tuple[dict[str, Any], bytes]], proxy: BadProxy, folder: Path) -> None:
    jobs = []
    for number, (asked, content) in enumerate(files):
        path = folder / f"{number}.bin"
        path.write_bytes(content)
        metadata = {"manifest_id": asked["manifestId"], "item_id": asked["itemId"], "filename": path.name}
        jobs.append({"file": str(path), "endpoint": f"http://{HOST}:{proxy.port}/mobile/v1/uploads", "token": asked["uploadToken"],
                     "url": address(asked, proxy) if number % 2 else None, "metadata": metadata})
    (folder / "jobs.json").write_text(json.dumps(jobs), encoding="utf-8")
    done = run_node(npm_folder(), JS, str(folder / "jobs.json"), str(PIECE_BYTES), timeout_s=60 + 6 * len(files))
    assert (done.returncode, done.stdout.strip()) == (0, f"{len(files)} finished"), done.stderr[-2_000:]


CLIENTS = {"tuspy": send_all_with_tuspy, "tus-js-client": send_all_with_tus_js_client}


def finish(folder: Path, kind: str, client: str, count: int, capsys: pytest.CaptureFixture[str]) -> None:
    """Send `count` files by one client and compare what rests with what was captured."""
    if client == "tus-js-client":
        npm_folder()
    seed = int(os.environ.get("TEST_SEED") or random.SystemRandom().randrange(10**6))
    logging.getLogger("urllib3").setLevel(logging.ERROR)
    with busy(folder, kind, seed) as (running, proxy):
        files = declare_all(running, count, random.Random(seed))
        sent = folder / "sent"
        sent.mkdir()
        CLIENTS[client](files, proxy, sent)
        place = running.place
        for asked, content in files:
            assert place.stored(asked) == content
            assert place.receipt(asked["manifestId"]).json()["receipt"] is not None
        with place.sessions() as session:
            assert set(session.scalars(select(ItemRow.state))) == {ItemState.STORED}
            checked = verify_store(session, place.keyring, place.resources.store, place.resources.settings.tenant)
        assert (checked.items, checked.faults) == (count, ())
        log = (running.deployment.folder / "server.log").read_text(encoding="utf-8", errors="replace")
        assert "internal error" not in log
        assert list(place.resources.store.parts("uploads")) == [], "an upload was left behind"
    with capsys.disabled():
        print(f"\n{client} on {kind}: {count} files through {proxy.connections} connections, {proxy.cuts} of them cut, seed {seed}")
    pieces = sum(len(content) for _, content in files) / PIECE_BYTES
    assert proxy.cuts >= pieces * SHARE / 4, "too little was cut to prove anything"


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
@pytest.mark.parametrize("client", CLIENTS)
def test_EVD_09_fifty_uploads_arrive_whole_through_a_line_that_is_cut(
    tmp_path: Path, client: str, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    finish(tmp_path, kind, client, 25, capsys)


@pytest.mark.soak
@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
@pytest.mark.parametrize("client", CLIENTS)
def test_EVD_09_five_hundred_uploads_arrive_whole_through_a_line_that_is_cut(
    tmp_path: Path, client: str, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    finish(tmp_path, kind, client, 500, capsys)
