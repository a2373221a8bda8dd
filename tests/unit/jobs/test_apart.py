"""Work in a process of its own: it answers, fails by name, and is killed."""

import os
import signal
import subprocess
import sys

import pytest

from backend.jobs.apart import WorkerFailed, WorkerKilled, run_apart
from tests.unit.jobs import work


def test_work_that_hangs_is_killed() -> None:
    with pytest.raises(WorkerKilled):
        run_apart(work.hang, b"", timeout_s=0.2)


def test_a_worker_that_dies_is_reported() -> None:
    with pytest.raises(WorkerKilled, match="died"):
        run_apart(work.die, b"", timeout_s=30)


def test_work_that_raises_says_why() -> None:
    with pytest.raises(WorkerFailed, match="ValueError: a bad day"):
        run_apart(work.fail, b"a bad day", timeout_s=30)


def test_work_is_done_in_another_process() -> None:
    assert run_apart(work.reverse, b"abc", timeout_s=30) == b"cba"
    assert int(run_apart(work.process_id, b"", timeout_s=30)) != os.getpid()


def test_a_worker_dies_with_its_parent() -> None:
    program = (
        "import sys, threading; sys.path.insert(0, sys.argv[1])\n"
        "from multiprocessing import active_children\n"
        "from backend.jobs.apart import run_apart; from tests.unit.jobs import work\n"
        "if __name__ == '__main__':\n"
        "    threading.Thread(target=run_apart, args=(work.hang, b''), kwargs={'timeout_s': 600}, daemon=True).start()\n"
        "    while not active_children(): pass\n"
        "    print(active_children()[0].pid, flush=True); sys.stdin.read()\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", program, os.getcwd()], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    worker = int(parent.stdout.readline())
    descriptor = os.pidfd_open(worker)
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    assert _is_over(descriptor), "the worker outlived its parent"
    os.close(descriptor)
    for stream in (parent.stdin, parent.stdout):
        assert stream is not None
        stream.close()


def _is_over(descriptor: int) -> bool:
    import select

    readable, _, _ = select.select([descriptor], [], [], 30)
    return bool(readable)
