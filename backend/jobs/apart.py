"""CPU-heavy work in a process of its own: spawned, never forked, killed when its time is over or its parent is gone."""

import ctypes
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import NoReturn

_PR_SET_PDEATHSIG = 1
_CONTEXT = multiprocessing.get_context("spawn")


class WorkerKilled(RuntimeError):
    """The worker used up its time and was killed, or died by itself."""


class WorkerFailed(RuntimeError):
    """The function raised; the message is its traceback's last line."""


def run_apart(function: Callable[[bytes], bytes], payload: bytes, *, timeout_s: float) -> bytes:
    """Return `function(payload)`, computed in a new process.

    Args:
        function: A module-level function; it is found again by its name in the new process.
        timeout_s: After so many seconds the process is killed with SIGKILL, whatever it does.

    Raises:
        WorkerKilled: no answer in time, or the process died.
        WorkerFailed: the function raised.
    """
    here, there = _CONTEXT.Pipe(duplex=True)
    process = _CONTEXT.Process(target=_serve, args=(there, os.getpid()), daemon=True)
    process.start()
    there.close()
    try:
        here.send((function, payload))
        if not here.poll(timeout_s):
            raise WorkerKilled(f"no answer within {timeout_s:g} s")
        is_good, answer = here.recv()
    except (EOFError, ConnectionError):
        raise WorkerKilled("the worker died") from None
    finally:
        here.close()
        process.kill()
        process.join()
    if not is_good:
        raise WorkerFailed(answer)
    assert isinstance(answer, bytes)
    return answer


def _serve(connection: Connection, parent: int) -> None:
    _die_with(parent)
    function, payload = connection.recv()
    connection.send((True, _guarded(function, payload, connection)))
    connection.close()


def _guarded(function: Callable[[bytes], bytes], payload: bytes, connection: Connection) -> bytes:
    try:
        return function(payload)
    except (ArithmeticError, AssertionError, AttributeError, LookupError, OSError, RuntimeError, TypeError, ValueError, MemoryError) as error:
        _refuse(connection, f"{type(error).__name__}: {error}")


def _refuse(connection: Connection, reason: str) -> NoReturn:
    connection.send((False, reason[:2000]))
    connection.close()
    os._exit(1)


def _die_with(parent: int) -> None:
    """Ask the kernel to kill this process when its parent dies, which no parent can do for itself after a `kill -9`."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)                                  # It died before the request took effect.
