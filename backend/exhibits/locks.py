"""One writer per upload, across threads and processes, with takeover: who comes asks, who writes lets go at the next chance.

The kernel frees a lock with the process that held it, however that ended. The lock file names its last owner, so that a
process knows whether what it remembers of an upload is still true.
"""

import fcntl
import os
import time
from contextlib import suppress
from pathlib import Path
from uuid import UUID

from backend.exhibits.refusals import UploadLocked

PATIENCE_S = 10.0
_POLL_S = 0.02


class HeldLock:
    """A lock that is held until `release`."""

    def __init__(self, descriptor: int, path: Path, previous_owner: str) -> None:
        self._descriptor, self._path = descriptor, path
        self.previous_owner = previous_owner

    @property
    def is_wanted(self) -> bool:
        """Whether somebody else waits for this upload: finish what is in hand and release."""
        return _wanted(self._path).exists()

    def release(self, *, forever: bool = False) -> None:
        """Let go; `forever` also removes the file of an upload that is over. Twice is fine."""
        if self._descriptor < 0:
            return
        with suppress(FileNotFoundError):
            if forever:
                self._path.unlink()
                _wanted(self._path).unlink()
        os.close(self._descriptor)
        self._descriptor = -1


def acquire(folder: Path, upload_id: UUID, owner: str, *, patience_s: float = PATIENCE_S) -> HeldLock:
    """Take the lock of an upload, asking whoever holds it to let go; blocks its thread at most `patience_s` seconds.

    Raises:
        UploadLocked: the holder did not let go in time.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = folder / f"{upload_id.hex}.lock"
    deadline = time.monotonic() + patience_s
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        if _try(descriptor, path):
            break
        os.close(descriptor)
        if time.monotonic() >= deadline:
            raise UploadLocked(headers={"Retry-After": "1"})
        _wanted(path).touch(mode=0o600)
        time.sleep(_POLL_S)      # Another process holds it: there is nothing to wait on but the kernel's answer.
    with suppress(FileNotFoundError):
        _wanted(path).unlink()
    previous = os.pread(descriptor, 64, 0).decode("ascii", "replace")
    os.pwrite(descriptor, owner.encode("ascii")[:64].ljust(64), 0)
    return HeldLock(descriptor, path, previous.rstrip())


def _try(descriptor: int, path: Path) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    # The former holder may have removed the file between our open and our lock.
    with suppress(FileNotFoundError):
        return os.fstat(descriptor).st_ino == path.stat().st_ino
    return False


def _wanted(path: Path) -> Path:
    return path.with_suffix(".wanted")
