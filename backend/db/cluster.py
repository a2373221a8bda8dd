"""A private PostgreSQL cluster for one demo or test run: own folder, own socket, no port, gone when the run ends, however it ends."""

import atexit
import functools
import itertools
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
from sqlalchemy.engine import URL

SUPERUSER = "fieldvisit_owner"
_FOLDER_PREFIX = "fieldvisit-pg-"
_START_TIMEOUT_S = 60.0
_SETTINGS = {
    "listen_addresses": "",
    "max_connections": "100",
    "max_locks_per_transaction": "512",  # A migration undone whole locks every table beside whoever else is at work.
    "shared_buffers": "64MB",
    "autovacuum": "off",
    "jit": "off",
    "log_min_messages": "fatal",
}
# For tests in which only speed counts; what proves durability asks for a durable cluster.
_FORGETFUL_SETTINGS = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}


class PostgresMissing(RuntimeError):
    """The machine has no usable PostgreSQL with PostGIS; the message says what is missing."""


@functools.cache
def binaries() -> Path:
    """Find the folder with `initdb` and `postgres`, or raise `PostgresMissing`."""
    candidates = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda folder: int(folder.parent.name), reverse=True)
    on_path = shutil.which("initdb")
    if on_path is not None:
        candidates.append(Path(on_path).resolve().parent)
    for folder in candidates:
        if (folder / "initdb").exists() and (folder / "postgres").exists() and _has_postgis(folder):
            return folder
    raise PostgresMissing(f"initdb with PostGIS beside it was not found; looked in {', '.join(map(str, candidates)) or 'no folder'}")


def _has_postgis(folder: Path) -> bool:
    asked = subprocess.run([str(folder / "pg_config"), "--sharedir"], capture_output=True, text=True, check=False)
    return asked.returncode == 0 and (Path(asked.stdout.strip()) / "extension" / "postgis.control").exists()


def _as_server_user() -> list[str]:
    """Return the command prefix that drops root (PostgreSQL refuses it) and ties the child's life to ours."""
    prefix = ["setpriv", "--pdeathsig", "INT"]
    if os.geteuid() == 0:
        prefix += ["--reuid", "postgres", "--regid", "postgres", "--init-groups"]
    return [*prefix, "--"]


class Cluster:
    """A running cluster. `stop` is called at exit; a killed run takes its server along and the next run sweeps its folder."""

    def __init__(self, *, is_durable: bool = False) -> None:
        _sweep_left_folders()
        self._settings = _SETTINGS if is_durable else _SETTINGS | _FORGETFUL_SETTINGS
        self._binaries = binaries()
        # Not below pytest's tmp_path: a socket's path has at most 107 bytes.
        self.folder = Path(tempfile.mkdtemp(prefix=f"{_FOLDER_PREFIX}{os.getpid()}-"))
        self._numbers = itertools.count(1)
        if os.geteuid() == 0:
            server = pwd.getpwnam("postgres")
            os.chown(self.folder, server.pw_uid, server.pw_gid)
        try:
            self._initialise()
            self._server = self._start()
        except BaseException:
            shutil.rmtree(self.folder, ignore_errors=True)
            raise
        atexit.register(self.stop)
        self._wait_until_ready()

    def url(self, database: str) -> URL:
        """Return the owner's URL of a database."""
        return URL.create("postgresql+psycopg", username=SUPERUSER, database=database, query={"host": str(self.folder)})

    def create(self, *, template: str = "template0") -> str:
        """Create a database as a copy of `template`, which nobody may be connected to, and return its name."""
        name = f"fieldvisit_{next(self._numbers)}"
        with self._connection() as connection:
            connection.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}"'.encode())
        return name

    def drop(self, name: str) -> None:
        """Drop a database and whoever is connected to it."""
        with self._connection() as connection:
            connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)'.encode())

    @contextmanager
    def clone(self, template: str) -> Iterator[URL]:
        """Lend a copy of a migrated database for one test with real commits."""
        name = self.create(template=template)
        try:
            yield self.url(name)
        finally:
            self.drop(name)

    def stop(self) -> None:
        """Stop the server at once and remove its folder; safe to call twice."""
        if self._server.poll() is None:
            self._server.send_signal(signal.SIGQUIT)
            try:
                self._server.wait(timeout=10)
            except subprocess.TimeoutExpired:
                self._server.kill()
                self._server.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def server_pid(self) -> int:
        """The server's process."""
        return self._server.pid

    @property
    def _cluster_folder(self) -> Path:
        return self.folder / "cluster"

    def _initialise(self) -> None:
        command = [str(self._binaries / "initdb"), "-D", str(self._cluster_folder), "-U", SUPERUSER, "-A", "trust", "-E", "UTF8"]
        # A linguistic default collation, as production has: what must sort by code point has to say so.
        command += ["--locale-provider=icu", "--icu-locale=zh-Hans", "--locale=C.UTF-8", "--no-sync", "--no-instructions"]
        done = subprocess.run([*_as_server_user(), *command], cwd="/", capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise PostgresMissing(f"initdb failed: {done.stderr.strip()}")

    def _start(self) -> subprocess.Popen[bytes]:
        command = [str(self._binaries / "postgres"), "-D", str(self._cluster_folder), "-k", str(self.folder)]
        for name, setting in self._settings.items():
            command += ["-c", f"{name}={setting}"]
        with (self.folder / "server.log").open("wb") as log:
            return subprocess.Popen([*_as_server_user(), *command], cwd="/", stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)

    def _connection(self, database: str = "postgres") -> psycopg.Connection[tuple[Any, ...]]:
        return psycopg.connect(host=str(self.folder), user=SUPERUSER, dbname=database, autocommit=True)

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + _START_TIMEOUT_S
        while True:
            try:
                with self._connection() as connection:
                    row = connection.execute("SHOW data_directory").fetchone()
            except psycopg.OperationalError as error:
                if self._server.poll() is not None or time.monotonic() > deadline:
                    log = (self.folder / "server.log").read_text(errors="replace")
                    self.stop()
                    raise PostgresMissing(f"the private PostgreSQL did not start: {log.strip()}") from error
                time.sleep(0.05)  # A server's start has no event to wait for.
                continue
            # Never touch a server that is not ours: the answer must be the folder that we have just made.
            assert row is not None
            assert Path(row[0]) == self._cluster_folder, f"expected {self._cluster_folder}, got {row[0]}"
            return


def _sweep_left_folders() -> None:
    """Remove the folders of runs that were killed before they could; their servers died with them."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_FOLDER_PREFIX}*"):
        maker = folder.name.removeprefix(_FOLDER_PREFIX).partition("-")[0]
        if maker.isdigit() and not Path(f"/proc/{maker}").exists() and not (folder / "cluster" / "postmaster.pid").exists():
            shutil.rmtree(folder, ignore_errors=True)
