"""A server process that dies by SIGKILL at a named point, in the middle of one upload's piece."""

import multiprocessing
import os
import signal
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import msgspec

COMMIT_POINTS = ("row-before-commit", "row-committed", "receipt-before-commit", "receipt-committed")
"""Points of the transport: around the commit that tells of a finished item, and of its receipt."""
KEY_FOLDER = "TEST_KILLED_KEYS"
"""The environment's word to the fork server: which key folder to open beforehand."""


class LastPiece(msgspec.Struct, frozen=True, kw_only=True):
    """The piece during which the process dies, and where: the `visits`-th time it comes to a point of the store or of `COMMIT_POINTS`."""

    kind: str
    url: str
    data_folder: Path
    key_folder: Path
    path: str
    headers: dict[str, str]
    content: bytes
    point: str
    now: datetime
    visits: int = 1


def send_and_die(piece: LastPiece) -> int:
    """Send a piece to a server in a process of its own that kills itself at the point; returns its exit code, 0 when it never came there."""
    # A fork server stays clean of this process's threads and connections; forking here would copy their locks.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.support.killed_server"])
    from tests.support.killed_server import serve

    os.environ[KEY_FOLDER] = str(piece.key_folder)         # After the import: only the fork server is to warm itself.
    process = context.Process(target=serve, args=(piece,))
    process.start()
    process.join(timeout=60)
    assert process.exitcode is not None, "the process neither died nor ended"
    return process.exitcode


def die_at(point: str, visits: int = 1) -> Callable[[str], None]:
    """Return a crash hook that kills its process the n-th time it comes to one point."""
    left = visits

    def hook(reached: str) -> None:
        nonlocal left
        if reached == point:
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    return hook
