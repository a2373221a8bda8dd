"""Make a stamped copy in a locked process: hostile pictures are never decoded in the server's own.

`make_copy` is the caller's side. Run as a program, this file is the worker: original on standard input, copy on standard output.
"""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import msgspec

from evidence.errors import EvidenceError, UnsupportedMediaType
from evidence.policy import ContentPolicy
from evidence.sandbox import lock_down_or_exit, run_locked

if TYPE_CHECKING:
    from evidence.photo import Stamp

_REFUSED: Final = 5
_JPEG: Final = b"\xff\xd8\xff"


def make_copy(source: bytes | Path, stamp: "Stamp", font: Path, policy: ContentPolicy) -> bytes:
    """Return a stamped JPEG without metadata, as `evidence.photo.stamped_copy` makes it (ARCH-13, ARCH-14).

    Raises:
        UnsupportedMediaType: the picture does not decode, the font lacks a character, or the worker was stopped.
        OSError: the path cannot be read, or no process can be started.
    """
    arguments = (msgspec.json.encode(stamp).decode(), str(font.resolve()), msgspec.json.encode(policy).decode())
    code, copy = run_locked(Path(__file__), arguments, source, policy.decode_wall_s_max)
    if code != 0 or not copy.startswith(_JPEG):
        raise UnsupportedMediaType(f"no copy could be made (the worker ended with {code})")
    return copy


def main(arguments: "list[str]") -> None:
    """Be the worker: STAMP FONT POLICY, original on standard input, JPEG on standard output."""
    from evidence.photo import Stamp, stamped_copy

    stamp, policy = msgspec.json.decode(arguments[0], type=Stamp), msgspec.json.decode(arguments[2], type=ContentPolicy)
    lock_down_or_exit(cpu_s=policy.decode_cpu_s_max, bytes_max=policy.decode_bytes_max)
    try:
        copy = stamped_copy(sys.stdin.buffer.read(policy.photo_bytes_max + 1), stamp, Path(arguments[1]), policy)
    except (EvidenceError, ValueError, OSError):
        sys.exit(_REFUSED)
    sys.stdout.buffer.write(copy)
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    main(sys.argv[1:])
