"""Uploads beside @tus/server (Node) in one run, signatures verified, and what an examination costs; kept as JSON.

    python -m tests.benchmarks.evidence.run --out docs/bench/evidence.json [--rounds 15] [--part uploads]

Both servers take the same bytes from the same client in turn, so a loaded machine slows both: read the ratios. Ours seals (AES-256-GCM), hashes
and syncs before each answer and writes a row and a receipt at the end; the peer writes plain files, with fsync added where the row says so.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import httpx
from sqlalchemy import func, select

from backend.cli.demo import HOST, free_port
from backend.exhibits.tables import ItemRow
from evidence.canonical import b64u_decode
from evidence.envelope import check_shape, verify_signatures
from evidence.examine_worker import examine
from evidence.facts import Kind
from evidence.keys import key_from_jwk, public_jwk
from evidence.manifest import Role, decode_manifest
from evidence.policy import DEFAULT
from tests.support.exhibits import CAPTURE, Handset, item, photograph, signed_twice, sound
from tests.support.npm import PEER, npm_folder
from tests.support.station import Station, station
from tests.support.uploading import PIECE, TUS, Place, leave_of, path_of

ROOT = Path(__file__).resolve().parents[3]
SAMPLES = ROOT.parent / "shared" / "evidence-samples"
BIG_BYTES = 50_000_000
PIECE_BYTES = 8_000_000
SMALL_BYTES = 300_000
SMALL_COUNT = 10
MANIFESTS = 300
EXAMINED_WITHIN_S = 120

PEER_JS = """
import { Server } from '@tus/server';
import { FileStore } from '@tus/file-store';
import { open } from 'node:fs/promises';
import path from 'node:path';
class SyncedStore extends FileStore {
  async write(readable, id, offset) {
    const size = await super.write(readable, id, offset);
    const file = await open(path.join(this.directory, id), 'r');
    try { await file.sync(); } finally { await file.close(); }
    return size;
  }
}
const [port, directory, isSynced] = [Number(process.argv[2]), process.argv[3], process.argv[4] === 'synced'];
const datastore = isSynced ? new SyncedStore({ directory }) : new FileStore({ directory });
new Server({ path: '/files', datastore, relativeLocation: true }).listen({ host: '127.0.0.1', port }, () => console.log('ready'));
"""


def main() -> int:
    """Run, print and keep the figures; exit 1 when the ratio of large uploads is below its bar."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--part", choices=["all", "uploads"], default="all", help="uploads: nothing else is measured or kept")
    asked = parser.parse_args()
    found: dict[str, Any] = {
        "commit": subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, cwd=ROOT, check=False).stdout.strip(),
        "machine": {"processor": platform.processor() or platform.machine(), "cores": os.cpu_count(), "python": platform.python_version(),
                    "load": round(os.getloadavg()[0], 1)},
        "at": time.strftime("%Y-%m-%d"),
    }
    with tempfile.TemporaryDirectory() as temporary, station(Path(temporary), "sqlite") as ours:
        found["uploads"] = uploads(ours, Path(temporary), asked.rounds)
        if asked.part == "all":
            found["manifests"] = manifests(ours.place)
            found["examinations"] = examinations()
    asked.out.parent.mkdir(parents=True, exist_ok=True)
    asked.out.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    print(json.dumps(found, indent=1, ensure_ascii=False))
    return 0 if found["uploads"]["large"]["ratio"] >= 0.8 else 1


def uploads(ours: Station, folder: Path, rounds: int) -> dict[str, Any]:
    """Measure both servers in turn: one large file in pieces, then many small ones."""
    packages = _peer_folder()
    with httpx.Client(timeout=120) as client, peer(packages, folder / "plain", "plain") as plain, \
            peer(packages, folder / "synced", "synced") as synced:
        content = os.urandom(BIG_BYTES)
        large: dict[str, list[float]] = {"ours": [], "peer": [], "peer_synced": []}
        small: dict[str, list[float]] = {"ours": [], "peer": [], "peer_synced": []}
        for number in range(rounds):
            unique = number.to_bytes(8, "big") + content[8:]
            asked = ours.place.declare(unique, "video/mp4", Role.VIDEO)
            _in_turn(ours, number, large, BIG_BYTES / 1e6, {
                "ours": partial(_send_ours, client, ours, asked, unique, is_new=False),
                "peer": partial(_send_peer, client, plain, unique), "peer_synced": partial(_send_peer, client, synced, unique)})
            files = [os.urandom(SMALL_BYTES) for _ in range(SMALL_COUNT)]
            declared = [ours.place.declare(one) for one in files]
            _in_turn(ours, number, small, SMALL_COUNT, {
                "ours": lambda d=declared, f=files: [_send_ours(client, ours, *one, is_new=True) for one in zip(d, f, strict=True)],  # type: ignore[misc]
                "peer": lambda f=files: [_send_peer(client, plain, one) for one in f],  # type: ignore[misc]
                "peer_synced": lambda f=files: [_send_peer(client, synced, one) for one in f]})  # type: ignore[misc]
    return {"large": _beside(large, "mb_per_s"), "small": _beside(small, "files_per_s"), "rounds": rounds,
            "large_bytes": BIG_BYTES, "piece_bytes": PIECE_BYTES, "small_bytes": SMALL_BYTES}


def _in_turn(ours: Station, number: int, found: dict[str, list[float]], amount: float, acts: dict[str, Callable[[], Any]]) -> None:
    """Time each act, another one first in each round, and note the amount per second."""
    names = list(acts)
    for name in (*names[number % len(names):], *names[:number % len(names)]):
        _settle(ours)
        found[name].append(amount / _timed(acts[name]))


def _settle(ours: Station) -> None:
    """Wait until what was sent is examined and rests on the disk: the work that one transfer leaves must not slow the next one, whoever's it is."""
    waiting = select(func.count()).select_from(ItemRow).where(ItemRow.stored_at.is_not(None), ItemRow.examined_at.is_(None))
    until, pause = time.monotonic() + EXAMINED_WITHIN_S, threading.Event()
    while time.monotonic() < until:
        with ours.place.sessions() as session:
            if not session.scalar(waiting):
                os.sync()
                return
        pause.wait(0.2)
    raise RuntimeError(f"examinations were not over within {EXAMINED_WITHIN_S} s")


def _beside(measured: dict[str, list[float]], unit: str) -> dict[str, Any]:
    """Return medians, and the medians of each round's ratio to the peer."""
    rows = {f"{name}_{unit}": round(statistics.median(values), 1) for name, values in measured.items()}
    ratio = statistics.median(ours / peer for ours, peer in zip(measured["ours"], measured["peer"], strict=True))
    synced = statistics.median(ours / peer for ours, peer in zip(measured["ours"], measured["peer_synced"], strict=True))
    return {**rows, "ratio": round(ratio, 2), "ratio_to_synced": round(synced, 2)}


def _timed(act: Callable[[], Any]) -> float:
    started = time.perf_counter()
    act()
    return time.perf_counter() - started


def _send_ours(client: httpx.Client, ours: Station, asked: dict[str, Any], content: bytes, *, is_new: bool) -> None:
    base = f"http://{HOST}:{ours.ports[0]}"
    url = base + path_of(asked)
    if is_new:                                    # As a stock client does: it creates its upload itself.
        made = client.post(f"{base}/mobile/v1/uploads", headers={**TUS, **leave_of(asked), "Upload-Length": str(len(content))})
        assert made.status_code == 201, made.text
        url = base + "/" + made.headers["location"].split("/", 3)[-1]
    _send(client, url, content, leave_of(asked))


def _send_peer(client: httpx.Client, port: int, content: bytes) -> None:
    made = client.post(f"http://{HOST}:{port}/files", headers={**TUS, "Upload-Length": str(len(content))})
    assert made.status_code == 201, made.text
    _send(client, str(httpx.URL(f"http://{HOST}:{port}").join(made.headers["location"])), content, {})


def _send(client: httpx.Client, url: str, content: bytes, headers: dict[str, str]) -> None:
    offset = 0
    while offset < len(content):
        answer = client.patch(url, content=content[offset:offset + PIECE_BYTES], headers={**PIECE, **headers, "Upload-Offset": str(offset)})
        assert answer.status_code == 204, (answer.status_code, answer.text)
        offset = int(answer.headers["upload-offset"])


@contextmanager
def peer(folder: Path, store: Path, kind: str) -> Iterator[int]:
    """Run the Node server."""
    store.mkdir(parents=True)
    program, port = folder / "fieldvisit-peer.mjs", free_port()
    program.write_text(PEER_JS, encoding="utf-8")
    with subprocess.Popen(["node", program.name, str(port), str(store), kind], cwd=folder, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline().strip() == "ready"
            yield port
        finally:
            process.kill()


def _peer_folder() -> Path:
    import pytest

    try:
        return npm_folder(PEER)
    except pytest.skip.Exception as skipped:
        raise SystemExit(f"SKIPPED: {skipped}") from None


def manifests(place: Place) -> dict[str, Any]:
    """Verify envelopes of two signatures: shape, both signatures, canonical payload and schema."""
    made, first, second = place.made, place.bilal, Handset(place.made.dong)
    at = made.now - timedelta(minutes=5)
    payloads = [first.payload(made, place.visit, Kind.CAPTURE, CAPTURE, items=(item(bytes([n % 256, n // 256]), at=at),)) for n in range(MANIFESTS)]
    envelopes = [signed_twice(first, second, payload, at) for payload in payloads]
    keys = {one.phone.kid: key_from_jwk(public_jwk(one.phone.key)) for one in (made.bilal, made.dong) if one.phone is not None}

    def verify_all() -> None:
        for raw in envelopes:
            shaped = check_shape(raw)
            verify_signatures(shaped, keys.get)
            decode_manifest(shaped.payload)

    assert b64u_decode(json.loads(envelopes[0])["payload"]) == payloads[0]
    return {"verified_per_s": round(MANIFESTS / min(_timed(verify_all) for _ in range(3))), "signatures_each": 2}


def examinations() -> list[dict[str, Any]]:
    """Examine one file of each kind in its own process."""
    files: list[tuple[str, bytes, str]] = [("JPEG 320×240", photograph(), "image/jpeg"), ("WAV 60 s", sound(60), "audio/wav")]
    if SAMPLES.is_dir():
        for name, pattern, media_type in (("HEIC", "heif/*.heic", "image/heic"), ("photo with EXIF", "exif/*.jpg", "image/jpeg"),
                                          ("AMR", "audio/*.amr", "audio/amr"), ("Opus", "audio/*.opus", "audio/opus"),
                                          ("M4A", "audio/*.m4a", "audio/mp4")):
            largest = max(SAMPLES.glob(pattern), key=lambda path: path.stat().st_size, default=None)
            if largest is not None:
                files.append((name, largest.read_bytes(), media_type))
    rows = []
    for name, raw, media_type in files:
        started = time.perf_counter()
        seen = examine(raw, media_type, DEFAULT)
        rows.append({"kind": name, "bytes": len(raw), "state": seen.state.value, "wall_s": round(time.perf_counter() - started, 2),
                     "cpu_s": round(seen.cpu_ms / 1_000, 2), "memory_mb": round(seen.memory_kb / 1_000)})
    return rows


if __name__ == "__main__":
    sys.exit(main())
