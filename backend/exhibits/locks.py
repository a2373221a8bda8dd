"""One writer per upload, across threads, processes and machines, with takeover: who comes asks, who writes lets go at the next chance.

Two kinds. A store on a disk is guarded by files of that disk: the kernel frees a lock with the process that held it, however that ended.
A store that several machines share is guarded by PostgreSQL's advisory locks on one connection of each process: they end with it. Losing
that connection in the middle is harmless, because a shared store never lets a late writer change what another made durable.
"""

import fcntl
import hashlib
import os
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Protocol
from uuid import UUID

from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import DBAPIError

from backend.exhibits.refusals import UploadLocked

PATIENCE_S = 10.0
_POLL_S = 0.02
_ADVISORY_POLL_S = 0.1
_WATCH_S = 0.3
_KEY_BITS = 62                                # Advisory keys are signed 64-bit numbers.


class HeldLock(Protocol):
    """A lock that is held until `release`."""

    @property
    def is_wanted(self) -> bool:
        """Whether somebody else waits for this upload: finish what is in hand and release. Never blocks."""

    def release(self, *, forever: bool = False) -> None:
        """Let go; `forever` says that the upload is over. Twice is fine."""


class Locks(Protocol):
    """Where upload locks are taken."""

    def acquire(self, upload_id: UUID) -> HeldLock:
        """Take the lock of an upload, asking whoever holds it to let go; blocks its thread at most `PATIENCE_S` seconds.

        Raises:
            UploadLocked: the holder did not let go in time.
        """


class FolderLocks:
    """Locks by files of one folder, on the disk of the processes that share the store."""

    def __init__(self, folder: Path, patience_s: float = PATIENCE_S) -> None:
        self._folder, self._patience_s = folder, patience_s

    def acquire(self, upload_id: UUID) -> HeldLock:
        """See `Locks`."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = self._folder / f"{upload_id.hex}.lock"
        deadline = time.monotonic() + self._patience_s
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
        return _HeldFile(descriptor, path)


class _HeldFile:
    def __init__(self, descriptor: int, path: Path) -> None:
        self._descriptor, self._path = descriptor, path

    @property
    def is_wanted(self) -> bool:
        return _wanted(self._path).exists()

    def release(self, *, forever: bool = False) -> None:
        if self._descriptor < 0:
            return
        if forever:
            for path in (self._path, _wanted(self._path)):
                path.unlink(missing_ok=True)
        os.close(self._descriptor)
        self._descriptor = -1


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


class AdvisoryLocks:
    """Locks by one PostgreSQL session of this process; who waits holds a second lock, which the holder's process sees within 0.3 s."""

    def __init__(self, engine: Engine, patience_s: float = PATIENCE_S) -> None:
        assert engine.dialect.name == "postgresql", engine.dialect.name
        self._engine, self._patience_s = engine, patience_s
        self._guard = threading.Lock()
        self._connection: Connection | None = None
        self._held: dict[int, _HeldKey] = {}
        self._waiting: Counter[int] = Counter()
        self._watcher: threading.Thread | None = None

    def acquire(self, upload_id: UUID) -> HeldLock:
        """See `Locks`."""
        key, wanted = _key("upload", upload_id), _key("wanted", upload_id)
        deadline = time.monotonic() + self._patience_s
        is_waiting = False
        try:
            while True:
                with self._guard, self._session() as session:
                    if key in self._held:
                        self._held[key].is_wanted = True
                    elif session.execute(_TRY, {"key": key}).scalar_one():
                        held = self._held[key] = _HeldKey(self, key)
                        self._watch()
                        return held
                    elif not is_waiting:
                        is_waiting = True
                        self._waiting[wanted] += 1
                        if self._waiting[wanted] == 1:
                            session.execute(_TRY, {"key": wanted})
                if time.monotonic() >= deadline:
                    raise UploadLocked(headers={"Retry-After": "1"})
                time.sleep(_ADVISORY_POLL_S)
        finally:
            if is_waiting:
                self._stop_waiting(wanted)

    def release(self, key: int, held: "_HeldKey") -> None:
        """Let go of one lock, unless it was lost and is another's by now. For the locks of this object."""
        with self._guard:
            if self._held.get(key) is held:
                del self._held[key]
                with suppress(DBAPIError), self._session() as session:
                    session.execute(_UNLOCK, {"key": key})

    def close(self) -> None:
        """Let go of everything."""
        with self._guard:
            self._lose()

    def _stop_waiting(self, wanted: int) -> None:
        with self._guard:
            self._waiting[wanted] -= 1
            if not self._waiting[wanted]:
                del self._waiting[wanted]
                with suppress(DBAPIError), self._session() as session:
                    session.execute(_UNLOCK, {"key": wanted})

    @contextmanager
    def _session(self) -> Iterator[Connection]:
        """Lend the one connection; when it fails, everything held on it is gone and its holders are told to finish."""
        try:
            if self._connection is None:
                self._connection = self._engine.connect().execution_options(isolation_level="AUTOCOMMIT")
            yield self._connection
        except DBAPIError:
            self._lose()
            raise

    def _lose(self) -> None:
        for held in self._held.values():
            held.is_wanted = True
        self._held.clear()
        connection, self._connection = self._connection, None
        if connection is not None:
            # Never back into the pool: a session that lived on would keep the locks.
            connection.invalidate()
            connection.close()

    def _watch(self) -> None:
        if self._watcher is None or not self._watcher.is_alive():
            self._watcher = threading.Thread(target=self._look, name="upload-locks", daemon=True)
            self._watcher.start()

    def _look(self) -> None:
        """Tell holders that they are waited for, until nothing is held."""
        while True:
            time.sleep(_WATCH_S)
            with self._guard:
                if not self._held:
                    self._watcher = None
                    return
                with suppress(DBAPIError), self._session() as session:
                    asked = set(session.execute(_ASKED).scalars())
                    for held in self._held.values():
                        held.is_wanted = held.is_wanted or held.wanted_key in asked


class _HeldKey:
    def __init__(self, locks: AdvisoryLocks, key: int) -> None:
        self._locks, self._key = locks, key
        self.wanted_key = key ^ 1
        self.is_wanted = False

    def release(self, *, forever: bool = False) -> None:  # noqa: ARG002 - nothing of it stays behind
        self._locks.release(self._key, self)


_TRY = text("SELECT pg_try_advisory_lock(:key)")
_UNLOCK = text("SELECT pg_advisory_unlock(:key)")
_ASKED = text(
    "SELECT (classid::bigint << 32) | objid::bigint FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 1 AND granted "
    "AND database = (SELECT oid FROM pg_database WHERE datname = current_database())")


def _key(kind: str, upload_id: UUID) -> int:
    """Return an upload's own key, or the one beside it under which others wait."""
    number: int = int.from_bytes(hashlib.sha256(b"upload\0" + upload_id.bytes).digest()[:8], "big") % 2**_KEY_BITS
    return number | 1 if kind == "wanted" else number & ~1
