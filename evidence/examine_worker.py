"""Examine one file in a process of its own: limits and isolation first, then the decoder, JSON out, killed when it lingers.

`examine` is the caller's side. Run as a program, this file is the worker: it reads the bytes from standard input, never from a path.
"""

import itertools
import resource
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Final

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import msgspec

from evidence.errors import EvidenceError
from evidence.examination import Examination, State
from evidence.magic import HEAD_BYTES, IMAGES, Container, media_types, sniff
from evidence.policy import ContentPolicy
from evidence.sandbox import NO_DECODER, NO_SANDBOX, lock_down_or_exit, run_locked

_OUTPUT_BYTES_MAX: Final = 1_000_000


class Streamed(msgspec.Struct, frozen=True, kw_only=True):
    """A file that is read piece by piece, once, and how long it is."""

    size: int
    chunks: Iterable[bytes]


def examine(source: bytes | Path | Streamed, media_type: str, policy: ContentPolicy) -> Examination:
    """Examine a file of a declared media type. Never raises for what the file does; its fate is in the outcome's state.

    Raises:
        OSError: the path cannot be read, or no process can be started.
        Whatever a stream raises while it is read; it is read to its end only where its type and size are admitted.
    """
    if isinstance(source, Streamed):
        chunks, head, size = iter(source.chunks), b"", source.size
        while len(head) < HEAD_BYTES and (chunk := next(chunks, b"")):
            head += chunk
        return _examined(itertools.chain((head,), chunks), (head[:HEAD_BYTES], media_type, size), policy)
    size = len(source) if isinstance(source, bytes) else source.stat().st_size
    head = source[:HEAD_BYTES] if isinstance(source, bytes) else _head(source)
    return _examined(source, (head, media_type, size), policy)


def _examined(source: bytes | Path | Iterable[bytes], told: tuple[bytes, str, int], policy: ContentPolicy) -> Examination:
    head, media_type, size = told
    container = sniff(head)
    if container is None or media_type not in media_types(container):
        return Examination(state=State.UNSUPPORTED, container=container, size=size, reason="the bytes are not of the declared media type")
    if size > _bytes_max(container, media_type, policy):
        return Examination(state=State.UNSUPPORTED, container=container, size=size, reason="larger than the policy admits")
    return _run(source, (container, media_type, size), policy)


def _run(source: bytes | Path | Iterable[bytes], kind: tuple[Container, str, int], policy: ContentPolicy) -> Examination:
    container, media_type, size = kind
    outcome = Examination(state=State.UNDECODABLE, container=container, size=size)
    code, said = run_locked(Path(__file__), (container, media_type, msgspec.json.encode(policy).decode()), source, policy.decode_wall_s_max)
    if code is None:
        return msgspec.structs.replace(outcome, reason=f"stopped after {policy.decode_wall_s_max} s")
    if code in (NO_DECODER, NO_SANDBOX):
        reason = "no decoder is installed" if code == NO_DECODER else "no isolation from the network"
        return msgspec.structs.replace(outcome, state=State.NOT_EXAMINED, reason=reason)
    if code != 0 or len(said) > _OUTPUT_BYTES_MAX:
        return msgspec.structs.replace(outcome, reason=f"the decoder ended with {code}")
    try:
        return msgspec.json.decode(said, type=Examination)
    except msgspec.MsgspecError:
        return msgspec.structs.replace(outcome, reason="the decoder's answer is unreadable")


def _head(path: Path) -> bytes:
    with path.open("rb") as source:
        return source.read(HEAD_BYTES)


def _bytes_max(container: Container, media_type: str, policy: ContentPolicy) -> int:
    if container in IMAGES:
        return policy.photo_bytes_max
    return policy.video_bytes_max if media_type.startswith("video/") else policy.audio_bytes_max


def _work(container: Container, media_type: str, policy: ContentPolicy, raw: bytes) -> Examination:
    """Decode in the locked process."""
    outcome = Examination(state=State.EXAMINED, container=container, size=len(raw))
    try:
        if container in IMAGES:
            from evidence.photo import examine_photo

            return msgspec.structs.replace(outcome, photo=examine_photo(raw, policy))
        from evidence.audio import examine_audio, examine_video

        if media_type.startswith("video/"):
            film = examine_video(raw, container, policy)
            if film is None:
                return msgspec.structs.replace(outcome, state=State.UNDECODABLE, reason="no picture track")
            return msgspec.structs.replace(outcome, video=film)
        return msgspec.structs.replace(outcome, audio=examine_audio(raw, container, policy))
    except EvidenceError as error:
        return msgspec.structs.replace(outcome, state=State.UNDECODABLE, reason=error.reason)
    except MemoryError:
        return msgspec.structs.replace(outcome, state=State.UNDECODABLE, reason="the decoder ran out of memory")


def _load_decoder(container: Container) -> None:
    """Import before the lock-down, since libraries read files; exit where the decoder is not installed."""
    try:
        if container in IMAGES:
            import evidence.photo
        else:
            import evidence.audio  # noqa: F401
    except ImportError:
        sys.exit(NO_DECODER)


def _peak_kb() -> int:
    """Return the most memory this program held. `ru_maxrss` will not do: it starts with what the parent held when it made us."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1])
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def main(arguments: "list[str]") -> None:
    """Be the worker: CONTAINER MEDIA_TYPE POLICY, bytes on standard input, an `Examination` on standard output."""
    container, policy = Container(arguments[0]), msgspec.json.decode(arguments[2], type=ContentPolicy)
    _load_decoder(container)
    isolation = lock_down_or_exit(cpu_s=policy.decode_cpu_s_max, bytes_max=policy.decode_bytes_max)
    raw = sys.stdin.buffer.read(max(policy.video_bytes_max, policy.photo_bytes_max) + 1)
    outcome = _work(container, arguments[1], policy, raw)
    used = resource.getrusage(resource.RUSAGE_SELF)
    outcome = msgspec.structs.replace(
        outcome, isolation=isolation, cpu_ms=round((used.ru_utime + used.ru_stime) * 1000), memory_kb=_peak_kb())
    sys.stdout.buffer.write(msgspec.json.encode(outcome))
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    main(sys.argv[1:])
