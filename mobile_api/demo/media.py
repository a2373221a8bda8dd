"""Photos and sound for the demo's doors: real samples where they are at hand, else drawn and synthesised here.

What is drawn says that it is drawn. Sound is decodable speech-like noise of the right length, cut into segments of at most
five minutes as the protocol asks.
"""

import array
import importlib
import importlib.util
import io
import math
import random
import wave
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import msgspec
from PIL import Image, ImageDraw, ImageFont

SEGMENT_S_MAX = 300
RATE_HZ = 8_000
_SIZE = (960, 720)
_SIDE_MIN = 480


class Sound(msgspec.Struct, frozen=True, kw_only=True):
    """One segment of a recording."""

    content: bytes
    media_type: str
    duration_ms: int


class Library:
    """Photos taken from a folder of samples when there is one, made here otherwise; never the same bytes twice."""

    def __init__(self, samples: Path | None, font: Path, seed: int) -> None:
        self._chance = random.Random(f"{seed}:media")
        self._font = font
        self._samples = _sample_photos(samples) if samples is not None else []
        self._drawn = 0

    @property
    def real_photos(self) -> int:
        """How many real sample photographs are at hand."""
        return len(self._samples)

    def photo(self, caption: str) -> bytes:
        """Return a photograph: the next real sample re-encoded with its caption burnt in, or a drawn scene."""
        self._drawn += 1
        if self._samples:
            with Image.open(self._samples[self._drawn % len(self._samples)]) as opened:
                opened.draft("RGB", _SIZE)
                picture = opened.convert("RGB")
            picture.thumbnail(_SIZE)
        else:
            picture = self._scene()
        self._caption(picture, f"{caption} · {self._drawn:04d}")
        return _jpeg(picture)

    def document(self, title: str, lines: Sequence[str]) -> bytes:
        """Return a drawn paper: a form, a slip, a counterfoil, one side of a card."""
        self._drawn += 1
        picture = Image.new("RGB", _SIZE, (252, 250, 244))
        pen = ImageDraw.Draw(picture)
        pen.rectangle((24, 24, _SIZE[0] - 24, _SIZE[1] - 24), outline=(120, 110, 90), width=3)
        pen.text((60, 50), title, font=_font(self._font, 40), fill=(30, 30, 30))
        for place, line in enumerate(lines):
            jitter = self._chance.randint(-4, 4)
            pen.text((60 + jitter, 130 + 52 * place + jitter), line, font=_font(self._font, 30), fill=(20, 30, 110))
        pen.text((60, _SIZE[1] - 80), f"演示样张 / demonstration {self._drawn:04d}", font=_font(self._font, 22), fill=(150, 60, 60))
        return _jpeg(picture)

    def recording(self, duration_s: int) -> tuple[Sound, ...]:
        """Return a whole recording of `duration_s` seconds in segments of at most five minutes."""
        whole, rest = divmod(duration_s, SEGMENT_S_MAX)
        lengths = [SEGMENT_S_MAX] * whole + ([rest] if rest else [])
        return tuple(_compressed(_speech(self._chance, length), length) for length in lengths)

    def _scene(self) -> Image.Image:
        sky, wall = (self._chance.randint(150, 220) for _ in range(2))
        picture = Image.new("RGB", _SIZE, (sky, sky, 235))
        pen = ImageDraw.Draw(picture)
        pen.rectangle((120, 90, _SIZE[0] - 120, _SIZE[1]), fill=(wall, wall - 10, wall - 30))
        for column in range(4):
            for row in range(4):
                left, top = 180 + column * 150, 130 + row * 130
                light = self._chance.choice(((250, 240, 180), (90, 100, 120)))
                pen.rectangle((left, top, left + 80, top + 80), fill=light, outline=(60, 60, 60), width=3)
        for _ in range(600):
            spot = self._chance.randint(0, _SIZE[0] - 1), self._chance.randint(0, _SIZE[1] - 1)
            picture.putpixel(spot, (self._chance.randint(0, 255),) * 3)
        return picture

    def _caption(self, picture: Image.Image, text: str) -> None:
        pen = ImageDraw.Draw(picture)
        pen.rectangle((0, picture.height - 44, picture.width, picture.height), fill=(0, 0, 0))
        pen.text((12, picture.height - 40), text, font=_font(self._font, 26), fill=(255, 255, 255))


@cache
def _font(path: Path, size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(str(path), size)


def _sample_photos(folder: Path) -> list[Path]:
    usable = []
    for path in sorted([*(folder / "exif").glob("*.jpg"), *(folder / "phone-photos").glob("*.jpg")]):
        try:
            with Image.open(path, formats=["JPEG"]) as opened:
                is_large = min(opened.size) >= _SIDE_MIN
                opened.draft("RGB", _SIZE)
                opened.convert("RGB")
            usable += [path] if is_large else []
        except (OSError, SyntaxError, ValueError):
            continue                                   # Some samples are there to break parsers.
    return usable


def _jpeg(picture: Image.Image) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, format="JPEG", quality=82)
    return stream.getvalue()


def _compressed(sound: bytes, length_s: int) -> Sound:
    """Encode as phones do, AAC in MP4, where the decoder extra is installed; plain WAV elsewhere."""
    if importlib.util.find_spec("av") is None:
        return Sound(content=sound, media_type="audio/wav", duration_ms=length_s * 1000)
    av = importlib.import_module("av")
    stream = io.BytesIO()
    with av.open(io.BytesIO(sound), format="wav") as source, av.open(stream, "w", format="mp4") as target:
        track = target.add_stream("aac", rate=RATE_HZ, options={"aac_coder": "fast"})
        track.bit_rate = 16_000
        for frame in source.decode(audio=0):
            frame.pts = None
            target.mux(track.encode(frame))
        target.mux(track.encode(None))
    return Sound(content=stream.getvalue(), media_type="audio/mp4", duration_ms=length_s * 1000)


def _speech(chance: random.Random, length_s: int) -> bytes:
    """Make mono sound whose loudness rises and falls as speech does, with pauses."""
    second = []
    for _ in range(8):                                 # Eight different seconds, strung together at random, sound alike but never loop.
        pitch = chance.uniform(110, 240)
        loud = chance.choice((0.05, 0.35, 0.5, 0.6))
        second.append(array.array("h", (
            int(32_000 * loud * abs(math.sin(math.pi * 3 * at / RATE_HZ)) * (0.7 * math.sin(2 * math.pi * pitch * at / RATE_HZ) + 0.3 * chance.uniform(-1, 1)))
            for at in range(RATE_HZ)
        )).tobytes())
    stream = io.BytesIO()
    with wave.open(stream, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(RATE_HZ)
        sound.writeframes(b"".join(chance.choice(second) for _ in range(length_s)))
    return stream.getvalue()
