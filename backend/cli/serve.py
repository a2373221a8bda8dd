"""The server's process: one at a time on an embedded database, dead with its parent, its port named."""

import ctypes
import fcntl
import os
import signal
import sys
from pathlib import Path
from typing import IO

from granian.constants import Interfaces
from granian.server import Server

from backend.core.settings import Settings
from backend.keys.folder import open_folder

_PR_SET_PDEATHSIG = 1
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_KEPT_BYTES = 33_554_432
_REUSED_BYTES_MAX = 4_194_304
LOCK_NAME = "server.lock"


class AlreadyServed(RuntimeError):
    """Another server holds this data folder."""


def run(host: str, port: int, threads: int) -> None:
    """Serve until SIGTERM or SIGINT. The application is made in the worker process by `backend.cli.serve:worker`."""
    Server(
        "backend.cli.serve:worker", address=host, port=port, interface=Interfaces.ASGI, factory=True, workers=1, backpressure=threads * 4,
        websockets=False, log_access=False, workers_kill_timeout=10, respawn_failed_workers=False,
    ).serve()


def check(settings: Settings) -> None:
    """Refuse before any process starts what would only fail in the worker.

    Raises:
        WrongRevision: the database is older or newer than this code.
        KeyFolderError: the key folder cannot be opened.
    """
    from backend.cli.revision import demand_revision

    demand_revision(settings)
    open_folder(settings.key_folder, settings.key_passphrase_file)


def worker() -> object:
    """Make the application in a worker process that dies with its parent and holds the data folder alone."""
    from backend.cli.app import application
    from backend.core.settings import read_settings

    _die_with_parent()
    _keep_memory()
    settings = read_settings()
    if settings.is_embedded:
        hold(settings.data_folder)
    return application()


_held: list[IO[bytes]] = []


def hold(data_folder: Path) -> None:
    """Take the data folder's exclusive lock and keep it while this process lives; the kernel frees it, however it dies.

    Raises:
        AlreadyServed: another process holds it.
    """
    data_folder.mkdir(parents=True, exist_ok=True)
    lock = (data_folder / LOCK_NAME).open("ab")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        raise AlreadyServed(f"another server works on {data_folder}; stop it first") from None
    _held.append(lock)


def _keep_memory() -> None:
    """Ask glibc to keep freed memory, up to a bound, instead of giving it back to the kernel with each chunk of an upload and fetching it anew.

    Its own measure follows what was freed last: the same server then runs fast or with thousands of page faults a second. Elsewhere nothing is asked.
    """
    tune = getattr(ctypes.CDLL(None), "mallopt", None)
    if tune is not None:
        tune(_M_MMAP_THRESHOLD, _REUSED_BYTES_MAX)
        tune(_M_TRIM_THRESHOLD, _KEPT_BYTES)


def _die_with_parent() -> None:
    """Ask the kernel to kill this process with its parent: after `kill -9` of the parent, nobody else would."""
    if sys.platform == "linux":
        parent = os.getppid()
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)
