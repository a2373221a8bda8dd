"""A server process that dies by SIGKILL at a named point of its store, in the middle of one upload's piece."""

import multiprocessing
import os
import signal
from datetime import datetime
from pathlib import Path

import msgspec


class LastPiece(msgspec.Struct, frozen=True, kw_only=True):
    """The piece during which the process dies, and where: a point of `evidence.stores.file.CRASH_POINTS`."""

    kind: str
    url: str
    data_folder: Path
    key_folder: Path
    path: str
    headers: dict[str, str]
    content: bytes
    point: str
    now: datetime


def send_and_die(piece: LastPiece) -> int:
    """Send a piece to a server in a process of its own that kills itself at the point; returns its exit code."""
    # A fork server stays clean of this process's threads and connections; forking here would copy their locks.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.support.killed_server"])
    from tests.support.killed_server import serve

    process = context.Process(target=serve, args=(piece,))
    process.start()
    process.join(timeout=60)
    assert process.exitcode is not None, "the process neither died nor ended"
    return process.exitcode


def die_at(point: str) -> object:
    """Return a crash hook that kills its process at one point."""

    def hook(reached: str) -> None:
        if reached == point:
            os.kill(os.getpid(), signal.SIGKILL)

    return hook
