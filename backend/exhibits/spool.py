"""Where copies wait between being made and being packed: one file without a name, sealed under a key that only this process holds.

Memory stays flat however large a pack is, nothing rests in the clear, and a crash leaves nothing that anybody could read.
"""

import hashlib
import secrets
import tempfile
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

from evidence.pack import Measured
from evidence.sealing import SealContext, Sealer, new_key, open_sealed

_READ_BYTES = 262_144


class Spool:
    """A growing sealed file; what was kept can be read again, in any order, until the spool is closed."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - closed by `__exit__`.
        self._key = new_key()
        self._end = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None) -> None:
        self._file.close()

    def keep(self, chunks: Iterable[bytes]) -> Measured:
        """Take one file in and measure it."""
        context = SealContext(tenant="spool", item_sha256=secrets.token_hex(32))
        sealing, start = Sealer(self._key, context), self._end
        digest, size, crc = hashlib.sha256(), 0, 0
        for chunk in chunks:
            digest.update(chunk)
            size, crc = size + len(chunk), zlib.crc32(chunk, crc)
            self._write(sealing.update(chunk))
        self._write(sealing.finish())
        end = self._end
        return Measured(
            sha256=digest.hexdigest(), size=size, crc=crc, chunks=lambda: open_sealed(self._read(start, end), self._key, context))

    def _write(self, sealed: bytes) -> None:
        self._file.seek(self._end)
        self._file.write(sealed)
        self._end += len(sealed)

    def _read(self, start: int, end: int) -> Iterator[bytes]:
        while start < end:
            self._file.seek(start)
            chunk = self._file.read(min(_READ_BYTES, end - start))
            start += len(chunk)
            yield chunk
