"""A store in a local folder that syncs what it acknowledges: file, then rename, then folder.

Named crash points are passed to `maybe_crash`, so that a test can kill the process between any two steps.
"""

import ctypes
import errno
import os
import secrets
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from evidence.errors import BlobExists, BlobMissing, StorageUnavailable
from evidence.store import READ_BYTES, PartWriter, demand_name

CRASH_POINTS: Final = (
    "part-created", "part-written", "part-synced", "part-cut", "part-deleted",
    "blob-synced", "blob-renamed", "blob-folder-synced", "blob-deleted",
)
_RENAME_NOREPLACE: Final = 1
_AT_FDCWD: Final = -100
_WRITEBACK_BYTES: Final = 1_048_576
_PAGE_BYTES: Final = 4_096
_SYNC_FILE_RANGE_WRITE: Final = 2
_LIBC: Final = ctypes.CDLL(None, use_errno=True)


def no_crash(point: str) -> None:
    """Do nothing at a crash point."""
    assert point in CRASH_POINTS


class FileStore:
    """Keep parts under `parts/` and blobs under `blobs/` of one folder, on one file system."""

    def __init__(self, folder: Path, maybe_crash: Callable[[str], None] = no_crash) -> None:
        self._parts, self._blobs = folder / "parts", folder / "blobs"
        self._maybe_crash = maybe_crash
        with _as_unavailable():
            for made in (self._parts, self._blobs):
                _make_folder(made)

    def open_part(self, part: str, size: int) -> PartWriter:
        """See `BlobStore`."""
        path = self._parts / demand_name(part)
        with _as_unavailable():
            is_new = not path.exists()
            if is_new and size:
                raise BlobMissing(f"no such part, {size} bytes of it are expected")
            _make_folder(path.parent)
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                if is_new:
                    self._maybe_crash("part-created")
                self._settle(descriptor, size)
            except BaseException:
                os.close(descriptor)
                raise
        # Until something of it was acknowledged, its name may not be durable either, whoever made the file.
        return _FilePart(descriptor, size, self._maybe_crash, folder=path.parent if size == 0 else None)

    def _settle(self, descriptor: int, size: int) -> None:
        held = os.fstat(descriptor).st_size
        if held < size:
            raise BlobMissing(f"the part has {held} bytes, {size} are expected")
        if held > size:
            os.ftruncate(descriptor, size)
            os.fsync(descriptor)
            self._maybe_crash("part-cut")
        os.lseek(descriptor, size, os.SEEK_SET)

    def part_size(self, part: str) -> int:
        """See `BlobStore`."""
        return _size(self._parts / demand_name(part)) or 0

    def read_part(self, part: str, start: int = 0) -> Iterator[bytes]:
        """See `BlobStore`."""
        return _read(self._parts / demand_name(part), start)

    def delete_part(self, part: str) -> None:
        """See `BlobStore`."""
        self._delete(self._parts / demand_name(part), "part-deleted")

    def parts(self, folder: str) -> Iterator[str]:
        """See `BlobStore`."""
        with _as_unavailable(), suppress(FileNotFoundError):
            for path in sorted((self._parts / demand_name(folder)).iterdir()):
                yield f"{folder}/{path.name}"

    def finalise(self, part: str, blob: str) -> None:
        """See `BlobStore`. The steps: 1 fsync the file, 2 rename without replacing, 3 fsync both folders."""
        source, target = self._parts / demand_name(part), self._blobs / demand_name(blob)
        with _as_unavailable():
            if not source.exists():
                if not target.exists():
                    raise BlobMissing("neither part nor blob")
                _sync_folder(target.parent)                       # A crash may have come between steps 2 and 3.
                return
            _make_folder(target.parent)
            descriptor = os.open(source, os.O_RDONLY | os.O_CLOEXEC)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            self._maybe_crash("blob-synced")
            _rename_new(source, target)
            self._maybe_crash("blob-renamed")
            _sync_folder(target.parent)
            _sync_folder(source.parent)
            self._maybe_crash("blob-folder-synced")

    def put(self, blob: str, sealed: Iterable[bytes]) -> None:
        """See `BlobStore`."""
        part = f"put-{secrets.token_hex(16)}"
        writer = self.open_part(part, 0)
        try:
            for chunk in sealed:
                writer.write(chunk)
            writer.sync()
            self.finalise(part, blob)
        except Exception:
            self.delete_part(part)
            raise
        finally:
            writer.close()

    def size(self, blob: str) -> int | None:
        """See `BlobStore`."""
        return _size(self._blobs / demand_name(blob))

    def read(self, blob: str) -> Iterator[bytes]:
        """See `BlobStore`."""
        return _read(self._blobs / demand_name(blob))

    def delete(self, blob: str) -> None:
        """See `BlobStore`."""
        self._delete(self._blobs / demand_name(blob), "blob-deleted")

    def _delete(self, path: Path, point: str) -> None:
        with _as_unavailable(), suppress(FileNotFoundError):
            path.unlink()
            self._maybe_crash(point)
            _sync_folder(path.parent)


class _FilePart:
    def __init__(self, descriptor: int, size: int, maybe_crash: Callable[[str], None], folder: Path | None) -> None:
        self._descriptor, self._size, self._maybe_crash = descriptor, size, maybe_crash
        self._folder = folder                # To be synced with the first bytes.
        self._under_way = size               # How far the disk was told to begin.

    def write(self, sealed: bytes | memoryview) -> None:
        with _as_unavailable():
            rest = memoryview(sealed)
            while rest:
                rest = rest[os.write(self._descriptor, rest):]
        self._size += len(sealed)
        self._maybe_crash("part-written")
        if self._size - self._under_way >= _WRITEBACK_BYTES:
            end = self._size - self._size % _PAGE_BYTES
            _begin_writeback(self._descriptor, self._under_way, end)
            self._under_way = end

    def sync(self) -> int:
        with _as_unavailable():
            os.fsync(self._descriptor)
            if self._folder is not None:
                _sync_folder(self._folder)   # One commit of the file system's journal brings both; synced when made, the name would cost its own.
                self._folder = None
        self._maybe_crash("part-synced")
        return self._size

    def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


@contextmanager
def _as_unavailable() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StorageUnavailable(f"the file store answers {errno.errorcode.get(error.errno or 0, 'an error')}") from error


def _make_folder(folder: Path) -> None:
    """Make a folder and its parents, each durable in its parent."""
    if folder.is_dir():
        return
    _make_folder(folder.parent)
    with suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    _sync_folder(folder.parent)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _begin_writeback(descriptor: int, start: int, end: int) -> None:
    """Let the disk begin on some bytes while more are coming, so that `fsync` finds little left. A hint: it promises nothing and may fail."""
    begin = getattr(_LIBC, "sync_file_range", None)
    if begin is not None:
        begin(descriptor, ctypes.c_int64(start), ctypes.c_int64(end - start), _SYNC_FILE_RANGE_WRITE)


def _rename_new(source: Path, target: Path) -> None:
    """Rename atomically, refusing to replace; where the kernel cannot, link and unlink do the same in two steps."""
    rename = getattr(_LIBC, "renameat2", None)
    if rename is not None:
        if rename(_AT_FDCWD, os.fsencode(source), _AT_FDCWD, os.fsencode(target), _RENAME_NOREPLACE) == 0:
            return
        code = ctypes.get_errno()
        if code == errno.EEXIST:
            raise BlobExists("a blob is never replaced")
        if code not in (errno.ENOSYS, errno.EINVAL):
            raise OSError(code, os.strerror(code))
    try:
        os.link(source, target)
    except FileExistsError:
        if not source.samefile(target):                               # Same file: a crash came between link and unlink.
            raise BlobExists("a blob is never replaced") from None
    source.unlink()


def _size(path: Path) -> int | None:
    with _as_unavailable():
        try:
            return path.stat().st_size
        except FileNotFoundError:
            return None


def _read(path: Path, start: int = 0) -> Iterator[bytes]:
    try:
        with _as_unavailable(), path.open("rb", buffering=0) as source:
            source.seek(start)
            while chunk := source.read(READ_BYTES):
                yield chunk
    except StorageUnavailable as error:
        if isinstance(error.__cause__, FileNotFoundError):
            raise BlobMissing("no such blob or part") from None
        raise
