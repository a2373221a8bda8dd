"""Lock a decoder process down before it sees a byte: no network, no new programs or processes, bounded time and memory. Linux only.

Two independent locks against sockets: an own network namespace where the kernel grants one, and a seccomp filter, which needs no
privilege. A decoder that gets neither must not start.
"""

import ctypes
import errno
import os
import platform
import resource
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType
from typing import Final

NO_DECODER: Final = 3                     # Exit codes of a worker.
NO_SANDBOX: Final = 4
_ENVIRONMENT: Final = MappingProxyType({
    "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1", "LC_ALL": "C.UTF-8",
    "HOME": "/nonexistent",               # Without HOME, libc asks a name service through a socket.
})
_CLONE_NEWUSER: Final = 0x10000000
_CLONE_NEWNET: Final = 0x40000000
_PR_SET_NO_NEW_PRIVS: Final = 38
_PR_SET_SECCOMP: Final = 22
_PR_SET_DUMPABLE: Final = 4
_SECCOMP_MODE_FILTER: Final = 2
_RET_ALLOW: Final = 0x7FFF0000
_RET_ERRNO: Final = 0x00050000
_LOAD, _JUMP_EQUAL, _JUMP_AT_LEAST, _JUMP_SET, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_CLONE_THREAD: Final = 0x10000
_CLONE: Final = MappingProxyType({"x86_64": 56, "aarch64": 220})
_CLONE3: Final = 435                      # Its flags lie in memory, where no filter sees them; told that it is missing, libc uses clone.
_AUDIT_ARCH: Final = MappingProxyType({"x86_64": 0xC000003E, "aarch64": 0xC00000B7})
_FORBIDDEN: Final = MappingProxyType({
    # socket, connect, accept, bind, listen, socketpair, execve, ptrace, fork, vfork, accept4, process_vm_*, execveat, io_uring_*
    "x86_64": (41, 42, 43, 49, 50, 53, 59, 101, 57, 58, 288, 310, 311, 322, 425, 426, 427),
    "aarch64": (198, 203, 202, 200, 201, 199, 221, 117, 242, 270, 271, 281, 425, 426, 427),
})


def run_locked(program: Path, arguments: Sequence[str], source: bytes | Path | Iterable[bytes], wall_s: int) -> tuple[int | None, bytes]:
    """Run one of our worker programs on bytes, a stream or a file's descriptor; return exit code and output, or (None, b"") when it was killed.

    A stream is handed on piece by piece, so that only the worker ever holds all of it. The worker reads it to its end before it decodes; its time,
    `wall_s`, runs from there: how slow the store was is not the file's fault.

    Raises:
        OSError: the file cannot be read, or no process can be started.
        Whatever a stream raises while it is read, once the worker has ended.
    """
    given = os.open(source, os.O_RDONLY | os.O_CLOEXEC) if isinstance(source, Path) else subprocess.PIPE
    failures: list[Exception] = []
    try:
        with subprocess.Popen([sys.executable, "-I", str(program.resolve()), *arguments], stdin=given, stdout=subprocess.PIPE,
                              stderr=subprocess.DEVNULL, env=_ENVIRONMENT, cwd="/") as worker:
            if isinstance(source, bytes | Path):
                code, said = _ended(worker, source if isinstance(source, bytes) else None, wall_s, None)
            else:
                feeder, ends_at = _feeder(worker, source, wall_s, failures)
                code, said = _ended(worker, None, wall_s, ends_at)
                feeder.join()
    finally:
        if isinstance(source, Path):
            os.close(given)
    if failures:
        raise failures[0]
    return code, said


def _ended(worker: "subprocess.Popen[bytes]", given: bytes | None, wall_s: float, ends_at: "list[float] | None") -> tuple[int | None, bytes]:
    """Wait for a worker's end, or kill it `wall_s` from now; with `ends_at`, at the instant that stands there once its stream has ended."""
    left_s = wall_s
    while True:
        try:
            said, _ = worker.communicate(given, timeout=left_s)
            return worker.returncode, said
        except subprocess.TimeoutExpired:
            left_s = 0 if ends_at is None else ends_at[0] - time.monotonic() if ends_at else wall_s
        if left_s <= 0:
            worker.kill()
            worker.communicate()
            return None, b""


def _feeder(
    worker: "subprocess.Popen[bytes]", chunks: Iterable[bytes], wall_s: float, failures: list[Exception]
) -> tuple[threading.Thread, list[float]]:
    """Start handing a stream to a worker's standard input; what it raises is kept, and the worker then sees the end.

    The list gets one instant of the monotonic clock, `wall_s` after the stream's end.
    """
    ends_at: list[float] = []
    pipe, worker.stdin = worker.stdin, None
    assert pipe is not None

    def feed() -> None:
        try:
            with suppress(BrokenPipeError), pipe:          # A worker may end without having read everything.
                for chunk in chunks:
                    pipe.write(chunk)
        except Exception as failure:                       # Raised again by the caller.
            failures.append(failure)
        finally:
            ends_at.append(time.monotonic() + wall_s)

    thread = threading.Thread(target=feed, name="feeder", daemon=True)
    thread.start()
    return thread, ends_at


def lock_down_or_exit(*, cpu_s: int, bytes_max: int) -> str:
    """Lock this worker down; end it where it would still reach a network."""
    isolation = lock_down(cpu_s=cpu_s, bytes_max=bytes_max)
    if not is_offline():
        sys.exit(NO_SANDBOX)
    return isolation


def lock_down(*, cpu_s: int, bytes_max: int) -> str:
    """Apply limits and isolation to this process for good; return what holds: `namespace+seccomp`, one of them, or nothing."""
    for limit, value in ((resource.RLIMIT_CPU, cpu_s), (resource.RLIMIT_AS, bytes_max), (resource.RLIMIT_FSIZE, 0), (resource.RLIMIT_CORE, 0),
                         (resource.RLIMIT_NOFILE, 64)):
        resource.setrlimit(limit, (value, value))
    libc = ctypes.CDLL(None, use_errno=True)
    held = []
    if libc.unshare(_CLONE_NEWNET) == 0 or libc.unshare(_CLONE_NEWUSER | _CLONE_NEWNET) == 0:
        held.append("namespace")
    libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
    if _filter_calls(libc):
        held.append("seccomp")
    return "+".join(held)


def is_offline() -> bool:
    """Tell whether this process can neither make a socket nor reach an address outside itself."""
    try:
        probe = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    except OSError:
        return True
    with probe, suppress(OSError):
        # UDP connect sends nothing; it only asks for a route (RFC 5737 address).
        probe.connect(("192.0.2.1", 9))
        return False
    return True


def _filter_calls(libc: ctypes.CDLL) -> bool:
    """Let the kernel answer EPERM to every forbidden call of this process and its threads."""
    machine = platform.machine()
    if machine not in _AUDIT_ARCH:
        return False
    forbidden = _FORBIDDEN[machine]
    count = len(forbidden)
    steps = [
        (_LOAD, 0, 0, 4), (_JUMP_EQUAL, 1, 0, _AUDIT_ARCH[machine]), (_RETURN, 0, 0, _RET_ERRNO | errno.EPERM), (_LOAD, 0, 0, 0),
        (_JUMP_AT_LEAST, count + 4, 0, 0x40000000),                                       # The x32 call table would walk around the list.
        *((_JUMP_EQUAL, count + 3 - place, 0, number) for place, number in enumerate(forbidden)),
        (_JUMP_EQUAL, 5, 0, _CLONE3), (_JUMP_EQUAL, 0, 3, _CLONE[machine]),
        (_LOAD, 0, 0, 16), (_JUMP_SET, 1, 0, _CLONE_THREAD),                              # A thread, yes; a process of its own limits, no.
        (_RETURN, 0, 0, _RET_ERRNO | errno.EPERM), (_RETURN, 0, 0, _RET_ALLOW), (_RETURN, 0, 0, _RET_ERRNO | errno.ENOSYS),
    ]
    code = b"".join(struct.pack("<HBBI", *step) for step in steps)
    buffer = ctypes.create_string_buffer(code, len(code))
    program = struct.pack("<HxxxxxxQ", len(steps), ctypes.addressof(buffer))
    return bool(libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 and libc.prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, program, 0, 0) == 0)
