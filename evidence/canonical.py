"""Strict I-JSON in, RFC 8785 (JCS) bytes out: the one spelling of everything that is signed.

The subset: an object on top, no floats, integers |n| <= 2^53 - 1, NFC strings without U+0000, surrogates or
noncharacters, no duplicate keys, at most 16 levels and 100 kB.
"""

import base64
import hashlib
import json
import re
import unicodedata
from collections.abc import Iterator
from typing import Final, TypeAlias

import rfc8785

from evidence.errors import MalformedError

JsonValue: TypeAlias = "bool | int | str | list[JsonValue] | dict[str, JsonValue] | None"
JsonObject: TypeAlias = dict[str, JsonValue]

BYTES_MAX: Final = 100_000
DEPTH_MAX: Final = 16
INT_MAX: Final = 2**53 - 1
_INT_DIGITS_MAX: Final = 17
_B64U: Final = re.compile(r"[A-Za-z0-9_-]*", re.ASCII)


class _Pairs(list["tuple[str, object]"]):
    """An object as the parser saw it, duplicates included."""


class _Refused:
    """A number spelling that the subset does not admit; judged later, where its pointer is known."""

    def __init__(self, reason: str) -> None:
        self.reason = reason


def parse_strict(raw: bytes, *, bytes_max: int = BYTES_MAX) -> JsonObject:
    """Parse one JSON object of the subset.

    Raises:
        MalformedError: with reason and JSON pointer, on anything else, never another exception.
    """
    parsed = parse_value(raw, bytes_max=bytes_max)
    if not isinstance(parsed, dict):
        raise MalformedError("an object is expected on top")
    return parsed


def parse_value(raw: bytes, *, bytes_max: int = BYTES_MAX) -> JsonValue:
    """Parse any JSON value of the subset; see `parse_strict`."""
    if len(raw) > bytes_max:
        raise MalformedError(f"{len(raw)} bytes, at most {bytes_max} are allowed")
    try:
        parsed: object = json.loads(
            raw.decode("utf-8"), object_pairs_hook=_Pairs, parse_int=_parse_int,
            parse_float=lambda _: _Refused("floats are not allowed"), parse_constant=lambda _: _Refused("NaN and Infinity are not JSON"),
        )
    except UnicodeDecodeError as error:
        raise MalformedError(f"not UTF-8 at byte {error.start}") from None
    except json.JSONDecodeError as error:
        raise MalformedError(f"not JSON: {error.msg} at character {error.pos}") from None
    except RecursionError:
        raise MalformedError(f"nested deeper than {DEPTH_MAX} levels") from None
    return _checked(parsed, "", 0)


def canonicalise(value: JsonValue) -> bytes:
    """Return the RFC 8785 bytes of a value of the subset.

    Raises:
        MalformedError: the value holds a float, a huge integer, a non-NFC string or a foreign type.
    """
    return rfc8785.dumps(_checked(value, "", 0))


def is_canonical(raw: bytes) -> bool:
    """Tell whether the bytes are exactly the canonical spelling of what they say. Raises MalformedError on bad JSON."""
    return rfc8785.dumps(parse_value(raw)) == raw


def sha256_hex(raw: bytes) -> str:
    """Return the SHA-256 digest as 64 lower-case hexadecimal digits."""
    return hashlib.sha256(raw).hexdigest()


def b64u_encode(raw: bytes) -> str:
    """Encode as base64url without padding."""
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode("ascii")


def b64u_decode(text: str, pointer: str = "") -> bytes:
    """Decode unpadded base64url in its one canonical spelling (spare bits zero).

    Raises:
        MalformedError: padding, foreign characters, an impossible length or non-zero spare bits.
    """
    if not _B64U.fullmatch(text) or len(text) % 4 == 1:
        raise MalformedError("not unpadded base64url", pointer)
    raw = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    if b64u_encode(raw) != text:
        raise MalformedError("not the canonical base64url spelling", pointer)
    return raw


def pointer_join(pointer: str, token: str | int) -> str:
    """Extend an RFC 6901 pointer by one token."""
    return f"{pointer}/{str(token).replace('~', '~0').replace('/', '~1')}"


def _parse_int(digits: str) -> "int | _Refused":
    # Length first: int() of thousands of digits is slow, and beyond 4,300 raises ValueError.
    if len(digits) <= _INT_DIGITS_MAX and abs(number := int(digits)) <= INT_MAX:
        return number
    return _Refused("integer beyond 2^53 - 1")


def _checked(value: object, pointer: str, depth: int) -> JsonValue:
    """Rebuild the value from plain types, refusing what the subset leaves out."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        if abs(value) > INT_MAX:
            raise MalformedError("integer beyond 2^53 - 1", pointer)
        return value
    if isinstance(value, str):
        return _checked_text(value, pointer)
    if isinstance(value, _Refused):
        raise MalformedError(value.reason, pointer)
    if depth >= DEPTH_MAX:
        raise MalformedError(f"nested deeper than {DEPTH_MAX} levels", pointer)
    if isinstance(value, (_Pairs, dict)):
        return dict(_checked_members(value if isinstance(value, _Pairs) else list(value.items()), pointer, depth))
    if isinstance(value, (list, tuple)):
        return [_checked(element, pointer_join(pointer, index), depth + 1) for index, element in enumerate(value)]
    raise MalformedError(f"{type(value).__name__} is not a JSON type of the subset", pointer)


def _checked_members(pairs: list[tuple[str, object]], pointer: str, depth: int) -> Iterator[tuple[str, JsonValue]]:
    seen: set[str] = set()
    for key, member in pairs:
        if not isinstance(key, str):
            raise MalformedError("object keys are strings", pointer)
        _checked_text(key, pointer)                                    # Before the key becomes part of any pointer.
        if key in seen:
            raise MalformedError("duplicate key", pointer_join(pointer, key))
        seen.add(key)
        yield key, _checked(member, pointer_join(pointer, key), depth + 1)


def _checked_text(text: str, pointer: str) -> str:
    if text.isascii():
        if "\x00" in text:
            raise MalformedError("U+0000 in a string", pointer)
        return text
    for character in text:
        code = ord(character)
        if 0xD800 <= code <= 0xDFFF:
            raise MalformedError("lone surrogate in a string", "")
        if code == 0 or 0xFDD0 <= code <= 0xFDEF or code & 0xFFFE == 0xFFFE:
            raise MalformedError("U+0000 or a noncharacter in a string", pointer)
    if not unicodedata.is_normalized("NFC", text):
        raise MalformedError("string is not in Unicode form NFC", pointer)
    return text
