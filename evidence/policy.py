"""Thresholds for judging content: data with a version, stored with every judgement. Rules are code, numbers are here."""

from typing import Final

import msgspec


class ContentPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """Starting values of protocol §2.10. Lengths in the unit of the name's suffix, shares in percent."""

    version: str = "content/1"
    photo_bytes_max: int = 40_000_000
    photo_pixels_max: int = 60_000_000
    audio_bytes_max: int = 20_000_000
    video_bytes_max: int = 500_000_000
    exif_time_s_max: int = 300
    exif_distance_m_max: int = 500
    similar_bits_max: int = 8                    # Of 64; a hint for reviewers, never a refusal (re-compression 0–4, another photo from 18).
    id_sides_bits_min: int = 4                   # Front and back nearer than this are one picture (DECL-12).
    bad_packets_pct_max: int = 5
    silence_dbfs_max: int = -60
    silent_pct_max: int = 90
    clipped_pct_max: int = 5
    looped_pct_max: int = 50                     # Share of loud whole seconds that repeat another one bit for bit.
    duration_ms_tolerance: int = 2_000           # Between claimed and decoded length.
    coverage_margin_s: int = 60                  # Before arrival and after departure.
    gap_ms_max: int = 2_000
    decode_wall_s_max: int = 30
    decode_cpu_s_max: int = 20
    decode_bytes_max: int = 1_500_000_000        # Address space of the worker.
    marks_s_max: int = 0                         # Films are searched for QR codes up to here, pictures when it is not 0.


DEFAULT: Final = ContentPolicy()
