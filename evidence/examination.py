"""What an examination saw in one file: facts measured by decoding, without any judgement. Made by a sandboxed worker."""

from enum import StrEnum

import msgspec


class State(StrEnum):
    """How far an examination came."""

    EXAMINED = "examined"
    UNDECODABLE = "undecodable"          # The decoder failed, or was stopped by a limit.
    UNSUPPORTED = "unsupported"          # Not a container or size we take.
    NOT_EXAMINED = "not_examined"        # No decoder or no sandbox here; visible, never counted as verified.


class Tail(StrEnum):
    """What follows the end of an image."""

    NONE = "none"
    MOTION_VIDEO = "motion_video"        # Phones append an MP4 legitimately.
    MORE_PICTURES = "more_pictures"      # MPO: a preview or second lens.
    ARCHIVE = "archive"                  # A ZIP tail makes a polyglot.
    OTHER = "other"


class Exif(msgspec.Struct, frozen=True, kw_only=True):
    """What a camera says of itself; corroborates, never decides."""

    taken: str | None = None             # Local time as written, `YYYY-MM-DDThh:mm:ss`.
    offset: str | None = None            # `+08:00`, where the camera gives one.
    lat_e7: int | None = None
    lon_e7: int | None = None
    is_position_broken: bool = False     # NaN, infinite or out of range.
    model: str | None = None
    software: str | None = None
    orientation: int = 1
    is_unreadable: bool = False
    thumbnail_bits: int | None = None    # Distance of the thumbnail from the picture, of 64 bits.


class Mark(msgspec.Struct, frozen=True, kw_only=True):
    """One QR code that a film shows, and how far into the film."""

    at_ms: int
    text: str


class Photo(msgspec.Struct, frozen=True, kw_only=True):
    """A decoded picture. Hashes are of the upright picture and of its mirror image, 16 hex digits each."""

    width: int
    height: int
    frames: int
    tail: Tail
    tail_bytes: int
    phash: str
    dhash: str
    mirror_phash: str
    mirror_dhash: str
    exif: Exif
    marks: tuple[str, ...] = ()          # QR codes in it, read only where they are asked for.


class Audio(msgspec.Struct, frozen=True, kw_only=True):
    """A decoded recording. Durations count decoded samples; headers lie."""

    codec: str
    decoded_ms: int
    declared_ms: int | None
    packets: int
    bad_packets: int
    sample_rate: int
    rms_dbfs: int | None                 # None when nothing was decoded; digital silence is -120.
    silent_pct: int
    clipped_pct: int
    looped_pct: int
    fingerprint: str                     # Coarse spectrum, one hex digit per second, for comparing recordings.


class Video(msgspec.Struct, frozen=True, kw_only=True):
    """Container, duration and first frame of a film; the sound is measured like any recording."""

    codec: str
    width: int
    height: int
    duration_ms: int
    packets: int
    is_first_frame_decoded: bool
    is_cut_off: bool
    audio: Audio | None
    marks: tuple[Mark, ...] = ()         # QR codes in its key frames, read only where they are asked for.


class Examination(msgspec.Struct, frozen=True, kw_only=True):
    """The outcome for one file."""

    state: State
    container: str | None = None
    size: int = 0
    reason: str = ""
    isolation: str = ""                  # What kept the decoder from a network: `namespace`, `seccomp`, both, or nothing.
    photo: Photo | None = None
    audio: Audio | None = None
    video: Video | None = None
    cpu_ms: int = 0
    memory_kb: int = 0
