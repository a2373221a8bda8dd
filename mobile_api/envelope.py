"""The one envelope of every phone write, and what a kind of event is.

An *intent* asks for leave and is refused with all its breaches. A *fact* says what has happened and is never refused for
what it says: it is stored, judged at its capture time and answered with its standing (design decision 4).
"""

import hashlib
from collections.abc import Callable
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any, Generic, TypeVar
from uuid import UUID

import msgspec
import rfc8785
from msgspec import Meta
from sqlalchemy.orm import Session

from backend.auth.actors import Actor
from backend.core.problems import InvalidInput
from backend.core.rulebook import Breach
from backend.core.settings import Settings
from backend.keys.keyring import Keyring
from backend.policies.model import Policy
from backend.web.body import Body
from evidence.store import BlobStore

UtcText = Annotated[str, Meta(pattern=r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d{3}Z$", max_length=24, examples=["2026-11-27T02:00:00.000Z"])]
Ordinal = Annotated[int, Meta(ge=1, le=2**53 - 1)]
Milliseconds = Annotated[int, Meta(ge=0, le=2**53 - 1)]


class Mode(StrEnum):
    """Whether leave is asked or a fact is told."""

    INTENT = "intent"
    FACT = "fact"


class Standing(StrEnum):
    """How a stored fact stands, worst last."""

    ACCEPTED = "accepted"
    DOUBTFUL = "doubtful"
    QUARANTINED = "quarantined"
    BREACH = "breach"


class Clocks(Body, kw_only=True):
    """The phone's clocks at the act: wall, monotonic since boot, and the last signed server time with its age."""

    wall: UtcText
    monotonic_ms: Milliseconds
    boot_id: Annotated[str, Meta(min_length=1, max_length=64, pattern=r"^[\x21-\x7e]+$")]
    beacon: Annotated[str, Meta(max_length=64, pattern=r"^[0-9a-f]{64}$")] | None = None
    beacon_age_ms: Milliseconds | None = None

    def __post_init__(self) -> None:
        parse_utc(self.wall)


class EnvelopeBody(Body, kw_only=True):
    """One event: made and saved by the phone before it is sent; `id` is a UUIDv7, `seq` counts this device's events."""

    id: UUID
    kind: Annotated[str, Meta(min_length=1, max_length=64, pattern=r"^[a-z_.]+$", examples=["visit.check_in"])]
    mode: Mode
    seq: Ordinal
    clocks: Clocks
    body: dict[str, Any]


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """An envelope as the slices see it. `captured_at` is the phone's claim within its beacon's bounds, never later than `received_at`."""

    id: UUID
    kind: str
    mode: Mode
    seq: int
    clocks: Clocks
    captured_at: datetime
    received_at: datetime


class EventContext(msgspec.Struct, frozen=True, kw_only=True):
    """What an event is judged and written with: one transaction, one actor, one policy."""

    session: Session
    actor: Actor
    event: Event
    policy: Policy
    keyring: Keyring
    store: BlobStore
    settings: Settings

    @property
    def now(self) -> datetime:
        """When the server received the event."""
        return self.event.received_at


BodyType = TypeVar("BodyType", bound=msgspec.Struct)


class EventKind(msgspec.Struct, Generic[BodyType], frozen=True):
    """One kind of event: its body, the modes it may come in, and the act that answers it."""

    body: type[BodyType]
    modes: frozenset[Mode]
    act: Callable[[EventContext, BodyType], dict[str, Any]]


def parse_utc(text: str) -> datetime:
    """Read `2026-11-27T02:00:00.000Z`. Raises ValueError for an impossible time."""
    return datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=UTC)


def digest_of(envelope: EnvelopeBody) -> str:
    """Return the hex SHA-256 of the envelope's canonical JSON: the same content has the same digest."""
    return hashlib.sha256(rfc8785.dumps(msgspec.to_builtins(envelope))).hexdigest()


def decode_body(kind: EventKind[Any], envelope: EnvelopeBody) -> Any:
    """Decode the body of a known kind.

    Raises:
        InvalidInput: it does not fit, or the kind does not come in that mode.
    """
    if envelope.mode not in kind.modes:
        raise InvalidInput(pointer="/mode", expected=sorted(kind.modes), got=envelope.mode.value)
    try:
        return msgspec.convert(envelope.body, kind.body)
    except msgspec.ValidationError as error:
        raise InvalidInput(pointer="/body", expected=f"the body of {envelope.kind}", got=str(error)[:300]) from None


def fact_answer(breaches: tuple[Breach, ...], **answer: Any) -> dict[str, Any]:
    """Return the answer to a stored fact: accepted, or a breach with the rules it broke."""
    return {
        "standing": (Standing.BREACH if breaches else Standing.ACCEPTED).value,
        "breaches": [{"rule": breach.rule.value, "code": breach.code, "expected": breach.expected, "got": breach.got} for breach in breaches],
        **answer,
    }
