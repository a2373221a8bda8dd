"""A time mark: what a phone shows as a QR code, so that a recorder which films it proves its clock (F06).

A compact ES256 token of the phone's key over the server's beacon it holds and the age of that by the phone's monotonic clock. Whoever
verifies it bounds the moment it was shown, as for any statement of that phone, without trusting a wall clock.
"""

from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from evidence.errors import MalformedError
from evidence.es256 import compact_peek, compact_sign, compact_verify
from evidence.facts import OpaqueId, Safe, Sha256
from evidence.keys import KeyResolver, SigningKey
from evidence.times import UtcText, parse_utc

TYP: Final = "time-mark+jws"
MARK_CHARS_MAX: Final = 1_200


class TimeMark(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The phone's three clocks at the moment when the code was drawn."""

    schema: Literal["time-mark/1"] = "time-mark/1"
    visit: OpaqueId
    at: UtcText
    monotonic_ms: Safe
    beacon: Sha256
    beacon_age_ms: Annotated[int, Meta(ge=0, le=2**53 - 1)]

    def __post_init__(self) -> None:
        parse_utc(self.at)


def sign_mark(mark: TimeMark, key: SigningKey, kid: str) -> str:
    """Return the text of the code."""
    stated = {"schema": mark.schema, **msgspec.to_builtins(mark)}
    return compact_sign(stated, key, typ=TYP, kid=kid)


def peek_kid(text: str) -> str | None:
    """Return whose mark a text claims to be; None for any other text."""
    try:
        return compact_peek(text, TYP)[0]["kid"] if len(text) <= MARK_CHARS_MAX else None
    except MalformedError:
        return None


def verify_mark(text: str, resolve_key: KeyResolver) -> TimeMark:
    """Verify a code's text.

    Raises:
        MalformedError: not a time mark, or members missing, unknown or out of range.
        WrongAlgorithm, UnknownDevice, SignatureInvalid: as `compact_verify`.
    """
    if len(text) > MARK_CHARS_MAX:
        raise MalformedError(f"a time mark has at most {MARK_CHARS_MAX} characters")
    _, payload = compact_verify(text, resolve_key, typ=TYP)
    try:
        return msgspec.convert(payload, TimeMark, strict=True)
    except msgspec.ValidationError as error:
        raise MalformedError(str(error)) from None
