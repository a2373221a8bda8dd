"""`fieldvisit demo` and `fieldvisit serve --demo`: a fresh deployment in a folder, its server process, and the day played through it."""

import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import msgspec
from rich.console import Console

from backend.cli import database, people
from backend.core.problems import Conflict
from backend.core.settings import Settings, read_settings
from backend.db import upgrade
from backend.documents.fonts import FONT

CONSOLE = Console()
HOST = "127.0.0.1"
START_TIMEOUT_S = 60
SERVED = Path("var/demo")


class Deployment(msgspec.Struct, frozen=True, kw_only=True):
    """A deployment of its own in one folder."""

    folder: Path
    settings: Settings
    environ: dict[str, str]


def run(engine: str, out: Path, *, is_quick: bool) -> int:
    """Play the day on `engine` (sqlite or postgresql) into the folder `out`, which is replaced; returns the exit status."""
    from mobile_api.demo import day

    if engine not in ("sqlite", "postgresql"):
        raise SystemExit(f"--database is sqlite or postgresql, got {engine}")
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    with _database_url(engine) as url:
        port = free_port()
        deployment = deploy(out.absolute(), f"http://{HOST}:{port}", url)
        password = secrets.token_urlsafe(18)
        operator = people.create_first_operator(deployment.settings, name="运维 Oscar", username="oscar", password=password)
        with served(deployment, port):
            stage = day.Stage(
                base_url=deployment.settings.public_url, out=out.absolute(), engine=_engine_name(deployment.settings),
                clock_file=_clock_file(deployment), tenant=deployment.settings.tenant, samples=_samples(), font=FONT,
                operator=day.Login(role="operator", username="oscar", password=password, totp_secret=operator.totp_secret),
                audit_command=(sys.executable, "-m", "backend.cli.main", "audit", "verify"), environ=deployment.environ, is_quick=is_quick,
            )
            status = day.play(stage)
    return status


def prepare_serving(public_url: str) -> None:
    """Point this process at the last demo's deployment and print one login per role."""
    if not (SERVED / "demo.json").is_file():
        raise Conflict(reason="no demo yet; run `make demo` first")
    kept: dict[str, Any] = json.loads((SERVED / "demo.json").read_text(encoding="utf-8"))
    if kept["engine"] != "SQLite":
        raise Conflict(reason="the last demo ran on a private PostgreSQL that is gone; run `make demo` first")
    os.environ.update(_environ(SERVED.absolute(), public_url, None))
    settings = read_settings()
    for login in kept["logins"]:
        code = people.totp(settings, login["username"])
        who = f"{login['role']:16} {login['username']:12} {login['password']}"
        CONSOLE.print(f"{who}  TOTP {login['totp_secret']} (now {code})", highlight=False, soft_wrap=True)


def deploy(folder: Path, public_url: str, database_url: str | None) -> Deployment:
    """Make keys and a migrated database below `folder`."""
    environ = _environ(folder, public_url, database_url)
    settings = read_settings(environ)
    settings.data_folder.mkdir(parents=True, exist_ok=True)
    database.init_keys(settings)
    upgrade.upgrade(settings.owner_url)
    return Deployment(folder=folder, settings=settings, environ=environ)


@contextmanager
def served(deployment: Deployment, port: int) -> Iterator[subprocess.Popen[bytes]]:
    """Run the deployment's server in a process group of its own; the group is stopped at the end, and the port is proven dead."""
    process = start_server(deployment, port)
    try:
        yield process
    finally:
        stop_server(process, port)


def start_server(deployment: Deployment, port: int) -> subprocess.Popen[bytes]:
    """Start the server and wait until it is ready.

    Raises:
        RuntimeError: it died or was not ready in time; its last words are in the message.
    """
    log = deployment.folder / "server.log"
    with log.open("ab") as stream:
        process = subprocess.Popen(
            [sys.executable, "-m", "backend.cli.main", "serve", "--host", HOST, "--port", str(port)],
            env={**os.environ, **deployment.environ}, stdin=subprocess.DEVNULL, stdout=stream, stderr=stream, start_new_session=True,
        )
    deadline = time.monotonic() + START_TIMEOUT_S
    while not _is_ready(port):
        if process.poll() is not None or time.monotonic() > deadline:
            stop_server(process, port)
            raise RuntimeError(f"the server did not start: {log.read_text(encoding='utf-8', errors='replace')[-2_000:]}")
        time.sleep(0.05)                                       # A process's start has no event to wait for.
    return process


def stop_server(process: subprocess.Popen[bytes], port: int, how: signal.Signals = signal.SIGTERM) -> None:
    """Signal the whole process group, wait for it, and prove that nobody answers on its port any more."""
    try:
        os.killpg(process.pid, how)
        process.wait(timeout=20)
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    deadline = time.monotonic() + 10
    while _is_open(port):
        if time.monotonic() > deadline:
            raise RuntimeError(f"port {port} still answers after its server was stopped")
        time.sleep(0.05)                                       # The kernel closes a killed process's sockets a moment later.


def free_port() -> int:
    """Return a port of this machine that nobody listens on."""
    with socket.socket() as listener:
        listener.bind((HOST, 0))
        return int(listener.getsockname()[1])


def _environ(folder: Path, public_url: str, database_url: str | None) -> dict[str, str]:
    environ = {
        "FIELDVISIT_DATA_FOLDER": str(folder / "data"), "FIELDVISIT_KEY_FOLDER": str(folder / "keys"), "FIELDVISIT_PUBLIC_URL": public_url,
        "FIELDVISIT_TENANT": "demo-agency", "FIELDVISIT_IS_DEMO": "true", "FIELDVISIT_DEMO_CLOCK_FILE": str(folder / "clock"),
        "FIELDVISIT_FREE_BYTES_MIN": "200000000", "FIELDVISIT_FREE_SHARE_MIN": "0",
    }
    return environ if database_url is None else {**environ, "FIELDVISIT_DATABASE_URL": database_url}


@contextmanager
def _database_url(engine: str) -> Iterator[str | None]:
    if engine == "sqlite":
        yield None
        return
    from backend.db.cluster import Cluster

    cluster = Cluster(is_durable=True)
    try:
        yield cluster.url(cluster.create()).render_as_string(hide_password=False)
    finally:
        cluster.stop()


def _clock_file(deployment: Deployment) -> Path:
    assert deployment.settings.demo_clock_file is not None
    return deployment.settings.demo_clock_file


def _engine_name(settings: Settings) -> str:
    return "SQLite" if settings.is_embedded else "PostgreSQL/PostGIS"


def _samples() -> Path | None:
    folder = Path(__file__).resolve().parents[3] / "shared" / "evidence-samples"
    return folder if folder.is_dir() else None


def _is_ready(port: int) -> bool:
    try:
        return httpx.get(f"http://{HOST}:{port}/health/ready", timeout=2).status_code == 200
    except httpx.TransportError:
        return False


def _is_open(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((HOST, port)) == 0
