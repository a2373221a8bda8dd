"""What a file is by its first bytes: our own small table, because every sniffer we tried errs on phone recordings."""

from enum import StrEnum
from types import MappingProxyType
from typing import Final

HEAD_BYTES: Final = 64


class Container(StrEnum):
    """The containers we take. Anything else is refused by not being here."""

    JPEG = "jpeg"
    PNG = "png"
    WEBP = "webp"
    HEIF = "heif"
    AMR_NB = "amr_nb"
    AMR_WB = "amr_wb"
    ADTS = "adts"
    OGG = "ogg"
    WAV = "wav"
    MP4 = "mp4"                      # MP4, M4A and 3GP: one demuxer, the tracks inside decide between audio and video.


IMAGES: Final = frozenset({Container.JPEG, Container.PNG, Container.WEBP, Container.HEIF})

_HEIF_BRANDS: Final = frozenset({b"heic", b"heix", b"hevc", b"heim", b"heis", b"mif1", b"msf1", b"mif2", b"miaf"})
_MP4_BRANDS: Final = frozenset({
    b"isom", b"iso2", b"iso3", b"iso4", b"iso5", b"iso6", b"mp41", b"mp42", b"mp71", b"avc1", b"M4A ", b"M4B ", b"M4V ", b"dash", b"qt  ",
    b"3gp4", b"3gp5", b"3gp6", b"3gp7", b"3gp8", b"3gp9", b"3gr6", b"3gs7", b"3ge6", b"3gg6", b"3g2a", b"3g2b", b"3g2c", b"mmp4",
})
_MEDIA_TYPES: Final = MappingProxyType({
    Container.JPEG: frozenset({"image/jpeg"}),
    Container.PNG: frozenset({"image/png"}),
    Container.WEBP: frozenset({"image/webp"}),
    Container.HEIF: frozenset({"image/heic", "image/heif"}),
    Container.AMR_NB: frozenset({"audio/amr"}),
    Container.AMR_WB: frozenset({"audio/amr-wb", "audio/amr"}),
    Container.ADTS: frozenset({"audio/aac"}),
    Container.OGG: frozenset({"audio/ogg", "audio/opus"}),
    Container.WAV: frozenset({"audio/wav", "audio/x-wav"}),
    Container.MP4: frozenset({"audio/mp4", "audio/3gpp", "video/mp4", "video/3gpp", "video/quicktime"}),
})
_DEMUXERS: Final = MappingProxyType({
    Container.AMR_NB: "amr", Container.AMR_WB: "amr", Container.ADTS: "aac", Container.OGG: "ogg", Container.WAV: "wav", Container.MP4: "mp4",
})


def sniff(head: bytes) -> Container | None:
    """Name the container by at least `HEAD_BYTES` of its head (fewer if the file is shorter); None for all we do not take."""
    if head.startswith(b"\xff\xd8\xff"):
        return Container.JPEG
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return Container.PNG
    if head.startswith(b"RIFF"):
        return {b"WEBP": Container.WEBP, b"WAVE": Container.WAV}.get(head[8:12])
    if head.startswith(b"#!AMR-WB\n"):
        return Container.AMR_WB
    if head.startswith(b"#!AMR\n"):
        return Container.AMR_NB
    if head.startswith(b"OggS\x00"):
        return Container.OGG
    if head[4:8] == b"ftyp":
        return _brand(head)
    if len(head) >= 7 and head[0] == 0xFF and head[1] & 0xF6 == 0xF0:        # ADTS sync word, layer 0.
        return Container.ADTS
    return None


def media_types(container: Container) -> frozenset[str]:
    """Return the declared types that fit a container."""
    return _MEDIA_TYPES[container]


def demuxer(container: Container) -> str:
    """Return FFmpeg's demuxer for a container. It is always passed: with none, an SDP text opened a network receiver.

    Raises:
        KeyError: an image.
    """
    return _DEMUXERS[container]


def _brand(head: bytes) -> Container | None:
    """Judge by the major brand, then by the compatible ones, within the `ftyp` box."""
    end = min(int.from_bytes(head[:4], "big"), len(head))
    for at in (8, *range(16, end - 3, 4)):
        if head[at:at + 4] in _HEIF_BRANDS:
            return Container.HEIF
        if head[at:at + 4] in _MP4_BRANDS:
            return Container.MP4
    return None
