"""Read the strict subset of CBOR (RFC 8949 §4.2) that attestations are written in; anything else is refused.

Integers, byte and text strings, arrays and maps, each of definite length, in its shortest form, no key twice, nothing behind the end.
"""

from typing import Final, TypeAlias

from evidence.errors import MalformedError

Cbor: TypeAlias = "int | bytes | str | list[Cbor] | dict[int | str, Cbor]"
BYTES_MAX: Final = 65_536
_DEPTH_MAX: Final = 8
_WIDTHS: Final = {24: 1, 25: 2, 26: 4, 27: 8}


def read(raw: bytes) -> Cbor:
    """Return what `raw` says. Raises `MalformedError`."""
    if len(raw) > BYTES_MAX:
        raise MalformedError(f"CBOR of at most {BYTES_MAX} bytes")
    value, end = _value(raw, 0, 0)
    if end != len(raw):
        raise MalformedError("something follows the CBOR value")
    return value


def _value(raw: bytes, at: int, depth: int) -> tuple[Cbor, int]:
    if depth > _DEPTH_MAX:
        raise MalformedError("CBOR nested too deep")
    major, number, at = _head(raw, at)
    if major == 0:
        return number, at
    if major == 1:
        return -1 - number, at
    if number > len(raw) - at:                   # An array or map needs at least a byte for each member as well.
        raise MalformedError("CBOR cut off")
    if major == 2:
        return raw[at:at + number], at + number
    if major == 3:
        return _text(raw[at:at + number]), at + number
    if major == 4:
        members: list[Cbor] = []
        for _ in range(number):
            member, at = _value(raw, at, depth + 1)
            members.append(member)
        return members, at
    if major == 5:
        pairs: dict[int | str, Cbor] = {}
        for _ in range(number):
            key, at = _value(raw, at, depth + 1)
            if not isinstance(key, int | str) or key in pairs:
                raise MalformedError("a CBOR key is a number or text, and stands once")
            pairs[key], at = _value(raw, at, depth + 1)
        return pairs, at
    raise MalformedError(f"CBOR of major type {major}")


def _head(raw: bytes, at: int) -> tuple[int, int, int]:
    """Return major type, number and where the rest begins."""
    if at >= len(raw):
        raise MalformedError("CBOR cut off")
    major, number, at = raw[at] >> 5, raw[at] & 31, at + 1
    if number < 24:
        return major, number, at
    width = _WIDTHS.get(number, 0)
    if not width or at + width > len(raw):
        raise MalformedError("CBOR cut off, or of indefinite length")
    found = int.from_bytes(raw[at:at + width], "big")
    if found < 24 or (width > 1 and found < 1 << (width * 4)):
        raise MalformedError("a CBOR number in more bytes than it needs")
    return major, found, at + width


def _text(raw: bytes) -> str:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        raise MalformedError("CBOR text that is not UTF-8") from None
