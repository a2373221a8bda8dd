"""Recordings and films, measured by decoding every packet. Needs the `media` extra (PyAV); without it nothing is claimed.

Call it in the sandboxed worker only. Headers lie (one declares 1,563 s and decodes to none), and honest files break decoders
(AMR silence frames), so durations count decoded samples and errors are counted per packet.
"""

import hashlib
import io
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from typing import Any, Final

import av
import numpy as np
from av.error import FFmpegError

from evidence.errors import UnsupportedMediaType
from evidence.examination import Audio, Mark, Video
from evidence.magic import Container, demuxer
from evidence.marks import read_marks
from evidence.policy import ContentPolicy

RATE: Final = 16_000
_WINDOW: Final = RATE // 10                        # 100 ms.
_CLIP: Final = 32_700
_DECODER_ERRORS: Final = (FFmpegError, ValueError, OSError, EOFError, OverflowError)
_PACKETS_MAX: Final = 2_000_000
_MARKS_MAX: Final = 64


class _Meter:
    """Accumulate level, silence, clipping, repetition and a coarse spectrum over 16 kHz mono samples."""

    def __init__(self, policy: ContentPolicy) -> None:
        self._floor = 10 ** (policy.silence_dbfs_max / 20) * 32_768
        self._rest = np.zeros(0, dtype=np.int16)
        self._seconds: Counter[bytes] = Counter()
        self._windows = self._silent = self._samples = self._clipped = 0
        self._power = 0.0
        self._bands: list[int] = []

    def take(self, samples: "np.ndarray[tuple[int, ...], np.dtype[np.int16]]") -> None:
        """Take samples in order; whole seconds are judged as they fill."""
        joined = np.concatenate([self._rest, samples])
        whole = len(joined) // RATE * RATE
        for second in joined[:whole].reshape(-1, RATE):
            self._second(second)
        self._rest = joined[whole:]

    def _second(self, second: "np.ndarray[tuple[int, ...], np.dtype[np.int16]]") -> None:
        self._measure(second)
        if float(np.sqrt(np.mean(second.astype(np.float64) ** 2))) > self._floor:
            self._seconds[hashlib.sha256(second.tobytes()).digest()[:8]] += 1
        spectrum = np.abs(np.fft.rfft(second[:8_192].astype(np.float64)))
        edges = (16, 128, 256, 512, 1_024)          # Of 4,097 bins: bands 31–250, –500, –1,000, –2,000 Hz.
        power = [float(np.sum(spectrum[low:high])) for low, high in pairwise(edges)]
        mean = sum(power) / len(power)
        self._bands.append(sum(1 << place for place, band in enumerate(power) if band > mean))

    def _measure(self, samples: "np.ndarray[tuple[int, ...], np.dtype[np.int16]]") -> None:
        wide = samples.astype(np.float64)
        self._power += float(np.sum(wide**2))
        self._samples += len(samples)
        self._clipped += int(np.count_nonzero(np.abs(wide) >= _CLIP))
        for start in range(0, len(wide), _WINDOW):
            window = wide[start:start + _WINDOW]
            self._windows += 1
            self._silent += int(float(np.sqrt(np.mean(window**2))) < self._floor)

    def finish(self) -> tuple[int | None, int, int, int, str]:
        """Return RMS in dBFS, percent silent, clipped and looped, and the fingerprint."""
        if len(self._rest):
            self._measure(self._rest)
            self._rest = self._rest[:0]
        if not self._samples:
            return None, 0, 0, 0, ""
        rms = (self._power / self._samples) ** 0.5 / 32_768
        loud = sum(self._seconds.values())
        repeated = loud - len(self._seconds)
        return (max(-120, round(20 * float(np.log10(rms)))) if rms > 1e-6 else -120, 100 * self._silent // max(1, self._windows),
                100 * self._clipped // self._samples, 100 * repeated // loud if loud >= 4 else 0, "".join(f"{band:x}" for band in self._bands[:600]))


def examine_audio(raw: bytes, container: Container, policy: ContentPolicy) -> Audio:
    """Decode a recording to its end and measure it.

    Raises:
        UnsupportedMediaType: the container does not open, holds no sound, or sound that no decoder knows.
    """
    with _opened(raw, container) as source:
        if not source.streams.audio:
            raise UnsupportedMediaType("no sound in this file")
        return _measured(source, policy)


def examine_video(raw: bytes, container: Container, policy: ContentPolicy) -> Video | None:
    """Measure a film: duration by its packets, the first frame, the sound. None when there is no picture track.

    Raises:
        UnsupportedMediaType: the container does not open.
    """
    with _opened(raw, container) as source:
        if not source.streams.video:
            return None
        stream = source.streams.video[0]
        codec = _codec(stream)
        packets, end_ms, is_decoded, is_cut_off = 0, 0, False, False
        for packet in _packets(source, stream):
            if packet is None:
                is_cut_off = True
                break
            if packet.size == 0:
                continue
            packets += 1
            if packet.pts is not None and packet.time_base is not None:
                end_ms = max(end_ms, int((packet.pts + (packet.duration or 0)) * packet.time_base * 1000))
            is_decoded = is_decoded or _yields_frame(packet)
        declared_ms = _ms(stream.duration, stream.time_base)
        has_sound = bool(source.streams.audio)
        width, height = stream.width, stream.height
    sound = examine_audio(raw, container, policy) if has_sound else None
    is_short = declared_ms is not None and end_ms + policy.duration_ms_tolerance < declared_ms
    return Video(codec=codec, width=width, height=height, duration_ms=end_ms, packets=packets, is_first_frame_decoded=is_decoded,
                 is_cut_off=is_cut_off or is_short or lacks_bytes(raw), audio=sound, marks=_marks(raw, container, policy.marks_s_max))


def lacks_bytes(raw: bytes) -> bool:
    """Whether the last box of an MP4, MOV or 3GP file reaches beyond its end: what a pulled battery or a cut copy leaves."""
    at = 0
    while at + 8 <= len(raw):
        size = int.from_bytes(raw[at:at + 4], "big")
        if size == 0:                                # To the end of the file.
            return False
        if size == 1:
            size = int.from_bytes(raw[at + 8:at + 16], "big")
        if size < 8:
            return True
        at += size
    return at != len(raw)


def _marks(raw: bytes, container: Container, seconds: int) -> tuple[Mark, ...]:
    """Read the QR codes of the key frames of a film's first seconds, each text once, where it is first seen."""
    seen: dict[str, Mark] = {}
    if not seconds:
        return ()
    with _opened(raw, container) as source:
        stream = source.streams.video[0]
        stream.codec_context.skip_frame = "NONKEY"
        start = stream.start_time or 0
        for packet in _packets(source, stream):
            if packet is None or len(seen) >= _MARKS_MAX:
                break
            for frame in _frames(packet):
                if frame.pts is None or frame.time_base is None:
                    continue
                at_ms = int((frame.pts - start) * frame.time_base * 1000)
                if at_ms > seconds * 1000:
                    return tuple(seen.values())
                for text in read_marks(frame.to_ndarray(format="gray")):
                    seen.setdefault(text, Mark(at_ms=at_ms, text=text))
    return tuple(seen.values())


def _opened(raw: bytes, container: Container) -> Any:
    try:
        return av.open(io.BytesIO(raw), mode="r", format=demuxer(container), metadata_errors="ignore")
    except _DECODER_ERRORS as error:
        raise UnsupportedMediaType(f"the container does not open ({type(error).__name__})") from None


def _codec(stream: Any) -> str:
    """Name a track's codec. A header may claim one that no decoder knows; the library then has no context for it."""
    context = stream.codec_context
    if context is None:
        raise UnsupportedMediaType("no decoder knows this track")
    return str(context.name)


def _measured(source: Any, policy: ContentPolicy) -> Audio:
    stream = source.streams.audio[0]
    codec = _codec(stream)
    meter, resampler = _Meter(policy), av.AudioResampler(format="s16", layout="mono", rate=RATE)
    packets = bad = 0
    decoded_s, rate = 0.0, 0
    for packet in _packets(source, stream):
        if packet is None:
            bad, packets = bad + 1, packets + 1
            break
        packets += packet.size > 0
        try:
            for frame in packet.decode():
                rate = frame.sample_rate or rate
                decoded_s += frame.samples / rate if rate else 0
                _feed(meter, resampler, frame)
        except _DECODER_ERRORS:
            bad += 1
    _feed(meter, resampler, None)
    rms, silent, clipped, looped, fingerprint = meter.finish()
    declared_ms = _ms(stream.duration, stream.time_base)
    if declared_ms is None:
        declared_ms = None if source.duration is None else source.duration // 1000
    return Audio(codec=codec, decoded_ms=round(decoded_s * 1000), declared_ms=declared_ms, packets=packets, bad_packets=bad,
                 sample_rate=rate, rms_dbfs=rms, silent_pct=silent, clipped_pct=clipped, looped_pct=looped, fingerprint=fingerprint)


def _feed(meter: _Meter, resampler: Any, frame: Any) -> None:
    """Pass a frame, or with None what the resampler still holds."""
    try:
        for piece in resampler.resample(frame):
            meter.take(np.asarray(piece.to_ndarray(), dtype=np.int16).reshape(-1))
    except _DECODER_ERRORS:
        if frame is not None:
            raise


def _packets(source: Any, stream: Any) -> Iterator[Any]:
    """Yield packets; None once, last, where the demuxer breaks."""
    packets = source.demux(stream)
    for _ in range(_PACKETS_MAX):
        try:
            packet = next(packets, None)
        except _DECODER_ERRORS:
            yield None
            return
        if packet is None:
            return
        yield packet


def _yields_frame(packet: Any) -> bool:
    return bool(_frames(packet))


def _frames(packet: Any) -> list[Any]:
    try:
        return list(packet.decode())
    except _DECODER_ERRORS:
        return []


def _ms(duration: int | None, time_base: Any) -> int | None:
    return None if duration is None or time_base is None or duration < 0 else int(duration * time_base * 1000)
