"""Co-signing between two reference phones by QR codes alone: no network, no radio (F07).

One act: the capturer's phone shows its signed statement, in one code or an animation of several; the partner's reads it, checks that
the partner of the day signed it, shows it to its person, who signs with one touch; the capturer's phone reads the answer, which is
one code. Codes are of a size that slow cameras read: version 22 at most, error correction M, the characters of alphanumeric mode.

A frame is `FV1/TRANSFER/PLACE/COUNT/` and base45 text (RFC 9285). TRANSFER is the beginning of the content's SHA-256, so frames of two
statements never mix; frames are shown round and round and read in any order. Nothing that was read is believed before signatures verify.
"""

import hashlib
import re
import zlib
from typing import Final

import msgspec

from evidence.canonical import JsonObject, JsonValue, b64u_decode, b64u_encode, canonicalise, parse_strict
from evidence.envelope import SignatureMember, SignerRole, assemble, check_shape, verify_signatures
from evidence.errors import EvidenceError, MalformedError
from evidence.keys import PublicKey, key_from_jwk, public_jwk, thumbprint
from evidence.manifest import decode_manifest
from evidence.manifest import manifest_digest as digest_of
from mobile_api.phone import Phone

VERSION_MAX: Final = 22                       # 105 modules a side.
ERROR_CORRECTION: Final = "m"
FRAME_CHARS_MAX: Final = 1_134                # Alphanumeric capacity of version 22, level M (ISO/IEC 18004).
FRAMES_MAX: Final = 200
CONTENT_BYTES_MAX: Final = 120_000
_HEAD: Final = re.compile(r"FV1/([0-9A-F]{16})/([1-9][0-9]{0,2})/([1-9][0-9]{0,2})/", re.ASCII)
_HEAD_CHARS: Final = len("FV1/0123456789ABCDEF/200/200/")
_BASE45: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ $%*+-./:"


class NotForMe(Exception):
    """What was read is no statement of this phone's partner, or no answer to what it showed. Nothing was signed or kept."""


class Slow(msgspec.Struct, frozen=True, kw_only=True):
    """How long things take on a slow phone, in milliseconds: a model, so that a design can be judged without a stopwatch."""

    aim: int = 900                            # Raise the phone until its camera has focused on a code.
    frame: int = 250                          # Show, catch and decode one code of the largest size: four a second.
    sign: int = 1_500                         # Look at the summary, touch, sign in the secure hardware.


def act_ms(frames_shown: int, frames_answered: int, slow: Slow) -> int:
    """Return how long one act takes when of each animation every second frame is missed once, so that it runs twice."""
    shown, answered = (frames if frames == 1 else 2 * frames for frames in (frames_shown, frames_answered))
    return 2 * slow.aim + (shown + answered) * slow.frame + slow.sign


def frames_of(content: bytes) -> tuple[str, ...]:
    """Return the texts of the codes that carry a content.

    Raises:
        ValueError: it is larger than a pair would wait for.
    """
    if len(content) > CONTENT_BYTES_MAX:
        raise ValueError(f"at most {CONTENT_BYTES_MAX} bytes go over QR codes")
    packed = base45(zlib.compress(content, 9))
    room = FRAME_CHARS_MAX - _HEAD_CHARS
    pieces = [packed[at:at + room] for at in range(0, len(packed), room)]
    if len(pieces) > FRAMES_MAX:
        raise ValueError(f"at most {FRAMES_MAX} codes")
    name = _name(content)
    return tuple(f"FV1/{name}/{place}/{len(pieces)}/{piece}" for place, piece in enumerate(pieces, start=1))


class Camera:
    """What a phone has read so far of one animation; codes of anything else do not disturb it."""

    def __init__(self) -> None:
        self._transfer: tuple[str, int] | None = None
        self._pieces: dict[int, str] = {}

    def see(self, text: str) -> bytes | None:
        """Take in one code; returns the content once all its codes were seen.

        Raises:
            MalformedError: all were seen and do not make what their name promises.
        """
        found = _HEAD.match(text)
        if found is None or len(text) > FRAME_CHARS_MAX:
            return None
        name, place, count = found[1], int(found[2]), int(found[3])
        if not place <= count <= FRAMES_MAX:
            return None
        if self._transfer != (name, count):
            self._transfer, self._pieces = (name, count), {}             # Another animation: begin with it.
        self._pieces[place] = text[found.end():]
        if len(self._pieces) < count:
            return None
        packed = "".join(self._pieces[one] for one in range(1, count + 1))
        self._transfer, self._pieces = None, {}
        return _unpacked(packed, name)


def offer(phone: Phone, digest: str) -> tuple[str, ...]:
    """Return the codes by which the capturer's phone shows a statement to its partner."""
    statement = phone.notebook.statement(digest)
    assert statement is not None, digest
    shape = check_shape(statement.envelope)
    return frames_of(_written(phone, shape.signatures[0], {"manifest": parse_strict(shape.payload)}))


def answer(phone: Phone, content: bytes) -> tuple[str, ...]:
    """Check what the partner shows, sign it as its witness, and return the codes of the answer.

    Raises:
        NotForMe: not signed by the partner of the day, changed after signing, or it names somebody else as witness.
    """
    try:
        members, key, member = _read(content, "manifest")
        payload = canonicalise(members)
        manifest = decode_manifest(payload)
        envelope = check_shape(assemble(payload, [member]))
        verify_signatures(envelope, lambda kid: key if kid == thumbprint(key) else None)
    except EvidenceError as fault:
        raise NotForMe(str(fault)) from fault
    bundle = phone.bundle()
    partner = bundle["pair"]["partner"]["kid"] if bundle is not None else manifest.device
    if envelope.headers[0].kid != manifest.device or manifest.device != partner or envelope.headers[0].role is not SignerRole.CAPTURER:
        raise NotForMe("not signed by the partner of the day")
    try:
        signed = phone.witness(payload, shown=(member,))
    except ValueError as fault:
        raise NotForMe(str(fault)) from fault
    return frames_of(_written(phone, signed, {"digest": digest_of(payload)}))


def accept(phone: Phone, digest: str, content: bytes) -> None:
    """Check the partner's answer and put it on the statement.

    Raises:
        NotForMe: for another statement, by another key than the statement's witness, or its signature does not verify.
    """
    statement = phone.notebook.statement(digest)
    assert statement is not None, digest
    shape = check_shape(statement.envelope)
    try:
        told, key, member = _read(content, "digest")
        both = check_shape(assemble(shape.payload, [shape.signatures[0], member]))
        own = phone.link.key.public_key()
        verify_signatures(both, {thumbprint(key): key, phone.kid: own}.get)
    except EvidenceError as fault:
        raise NotForMe(str(fault)) from fault
    header = both.headers[-1]
    expected = (digest, decode_manifest(shape.payload).cosigner_device, SignerRole.WITNESS)
    if (told, header.kid, header.role) != expected or len({one.kid for one in both.headers}) != 2:
        raise NotForMe("the answer is for another statement or by another phone")
    phone.add_witness(digest, member)


def base45(raw: bytes) -> str:
    """Write bytes in the characters of a code's alphanumeric mode (RFC 9285)."""
    text = []
    for at in range(0, len(raw), 2):
        pair = raw[at:at + 2]
        number = int.from_bytes(pair, "big")
        for _ in range(len(pair) + 1):
            number, digit = divmod(number, 45)
            text.append(_BASE45[digit])
    return "".join(text)


def unbase45(text: str) -> bytes:
    """Read base45. Raises MalformedError for what no bytes are written as."""
    raw = bytearray()
    for at in range(0, len(text), 3):
        part = text[at:at + 3]
        if len(part) == 1 or any(one not in _BASE45 for one in part):
            raise MalformedError("not base45")
        number, size = sum(_BASE45.index(one) * 45**power for power, one in enumerate(part)), len(part) - 1
        if number >= 256**size:
            raise MalformedError("not base45")
        raw += number.to_bytes(size, "big")
    return bytes(raw)


def _name(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16].upper()


def _unpacked(packed: str, name: str) -> bytes:
    unpacking = zlib.decompressobj()
    try:
        content = unpacking.decompress(unbase45(packed), CONTENT_BYTES_MAX)
    except zlib.error:
        raise MalformedError("the codes do not unpack") from None
    if not unpacking.eof or unpacking.unused_data or _name(content) != name:
        raise MalformedError("the codes are not of one content")
    return content


def _written(phone: Phone, member: SignatureMember, about: JsonObject) -> bytes:
    """Write one signature with its key and what it is about; the header as the object that its bytes spell, which packs better."""
    key = public_jwk(phone.link.key)
    return canonicalise({**about, "header": parse_strict(b64u_decode(member.protected)), "signature": member.signature, "x": key["x"], "y": key["y"]})


def _read(content: bytes, about: str) -> tuple[JsonValue, PublicKey, SignatureMember]:
    members = parse_strict(content, bytes_max=CONTENT_BYTES_MAX)
    if set(members) != {about, "header", "signature", "x", "y"} or not isinstance(members["signature"], str):
        raise MalformedError(f"a code's content is exactly {about}, header, signature, x and y")
    key = key_from_jwk({"kty": "EC", "crv": "P-256", "x": members["x"], "y": members["y"]})
    member = SignatureMember(protected=b64u_encode(canonicalise(members["header"])), signature=members["signature"])
    return members[about], key, member
