"""The signed payload `visit-evidence/1`: what was captured, by whom, where, when, and what it shows.

A payload is accepted only if it equals our own canonical encoding of what it decodes to, so one meaning has one digest.
"""

import re
from enum import StrEnum
from typing import Annotated, Any, Final, Literal, TypeAlias

import msgspec
from msgspec import Meta

from evidence.canonical import BYTES_MAX, JsonObject, canonicalise, parse_strict, sha256_hex
from evidence.errors import PayloadNotCanonical, SchemaViolation
from evidence.facts import FACTS_BY_KIND, Facts, Kid, Kind, OpaqueId, Safe, SeqNumber, Sha256, ShortText, _Closed
from evidence.times import UtcText, parse_utc

SCHEMA: Final = "visit-evidence/1"
PREV_NONE: Final = "0" * 64
ITEMS_MAX: Final = 200

Uuid7: TypeAlias = Annotated[str, Meta(pattern=r"^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$", max_length=36)]
MediaType: TypeAlias = Annotated[str, Meta(pattern=r"^(image|audio|video)/[a-z0-9][a-z0-9.+-]*$", max_length=64)]
Pixels: TypeAlias = Annotated[int, Meta(ge=1, le=100_000)]
SegmentNumber: TypeAlias = Annotated[int, Meta(ge=1, le=500)]
OffsetMs: TypeAlias = Annotated[int, Meta(ge=-(2**53) + 1, le=2**53 - 1)]


class Datum(StrEnum):
    """The datum a fix is given in; never silently mixed."""

    WGS84 = "wgs84"
    GCJ02 = "gcj02"
    UNKNOWN = "unknown"


class Provider(StrEnum):
    """What produced a fix."""

    GPS = "gps"
    NETWORK = "network"
    FUSED = "fused"
    OTHER = "other"


class NoFixReason(StrEnum):
    """Why there is no position."""

    NO_SIGNAL = "no_signal"
    TIMEOUT = "timeout"
    DISABLED = "disabled"
    DENIED = "denied"
    UNSUPPORTED = "unsupported"


class Role(StrEnum):
    """What an item shows."""

    PHOTO = "photo"
    AUDIO = "audio"
    VIDEO = "video"
    DECLARATION_PAGE = "declaration_page"
    ID_FRONT = "id_front"
    ID_BACK = "id_back"
    PAYER_SIGNATURE = "payer_signature"
    DEPOSIT_SLIP = "deposit_slip"
    DEBTOR_DOCUMENT = "debtor_document"
    DOOR_PLATE = "door_plate"
    AUTHORISATION_SHOWN = "authorisation_shown"
    LETTER_DELIVERY = "letter_delivery"
    POLICE_SLIP = "police_slip"
    CASH_COUNT = "cash_count"
    COUNTERFOIL = "counterfoil"
    REFUSAL = "refusal"


class Integrity(StrEnum):
    """What the phone's platform says about app and system."""

    STRONG = "strong"
    DEVICE = "device"
    BASIC = "basic"
    NONE = "none"
    UNKNOWN = "unknown"


class Position(_Closed, frozen=True, kw_only=True):
    """One fix. Degrees × 10⁷, centimetres; the datum is always named."""

    lat_e7: Annotated[int, Meta(ge=-900_000_000, le=900_000_000)]
    lon_e7: Annotated[int, Meta(ge=-1_800_000_000, le=1_800_000_000)]
    datum: Datum
    accuracy_cm: Annotated[int, Meta(ge=0, le=1_000_000_000)]
    fix_time: UtcText
    provider: Provider
    mock: bool
    alt_cm: Annotated[int, Meta(ge=-1_200_000, le=2_000_000)] | None = None
    satellites: Annotated[int, Meta(ge=0, le=200)] | None = None


class Network(_Closed, frozen=True, kw_only=True):
    """Salted digests of what the phone hears, as corroboration of place."""

    cells: Annotated[tuple[Sha256, ...], Meta(max_length=16)] = ()
    wifi: Annotated[tuple[Sha256, ...], Meta(max_length=16)] = ()


class Item(_Closed, frozen=True, kw_only=True):
    """One captured file, known by digest before its bytes flow. Long audio is cut into segments of at most 5 minutes."""

    item_id: OpaqueId
    role: Role
    sha256: Sha256
    size: Annotated[int, Meta(ge=1, le=500_000_000)]
    media_type: MediaType
    started: UtcText
    ended: UtcText
    width: Pixels | None = None
    height: Pixels | None = None
    duration_ms: Annotated[int, Meta(ge=0, le=86_400_000)] | None = None
    segment: SegmentNumber | None = None
    of: SegmentNumber | None = None
    position: Position | None = None

    def __post_init__(self) -> None:
        parse_utc(self.started), parse_utc(self.ended)             # Order is judged, not demanded: clocks step back mid-recording.
        if (self.segment is None) != (self.of is None) or (self.segment or 0) > (self.of or 0):
            raise ValueError("segment and of come together, segment at most of")


class App(_Closed, frozen=True, kw_only=True):
    """The software and phone that captured."""

    id: OpaqueId
    version: ShortText
    build: Sha256
    os: ShortText
    model: ShortText
    integrity: Integrity


class _Body(_Closed, frozen=True, kw_only=True):
    schema: Literal["visit-evidence/1"]
    manifest_id: Uuid7
    tenant: OpaqueId
    bank: OpaqueId
    case: OpaqueId
    visit: OpaqueId
    visit_version: Annotated[int, Meta(ge=1, le=2**31 - 1)]
    kind: Kind
    device: Kid
    actor: OpaqueId
    cosigner_device: Kid | None                # None with `cosigner` None: a chained fact, one signature.
    cosigner: OpaqueId | None
    seq: SeqNumber
    prev: Sha256                               # SHA-256 of this device's previous payload, `PREV_NONE` at seq 1.
    captured: UtcText
    monotonic_ms: Safe
    boot_id: OpaqueId
    beacon: Sha256 | None                      # Digest of the last server time statement, None when never online.
    beacon_age_ms: Safe | None                 # Monotonic milliseconds since it was received.
    clock_offset_ms: OffsetMs | None           # Server minus wall clock, as the phone knew it.
    position: Position | None
    items: Annotated[tuple[Item, ...], Meta(max_length=ITEMS_MAX)]
    app: App
    no_fix_reason: NoFixReason | None = None
    network: Network | None = None


class Manifest(_Body, frozen=True, kw_only=True):
    """One signed statement of a visit. Construct it whole; illegal values fail here."""

    facts: Facts

    def __post_init__(self) -> None:
        if type(self.facts) is not FACTS_BY_KIND[self.kind]:
            raise ValueError(f"facts of kind {self.kind} are {FACTS_BY_KIND[self.kind].__name__}")
        if (self.cosigner_device is None) != (self.cosigner is None):
            raise ValueError("cosigner_device and cosigner come together")
        if (self.beacon is None) != (self.beacon_age_ms is None):
            raise ValueError("beacon and beacon_age_ms come together")
        if (self.position is None) != (self.no_fix_reason is not None):
            raise ValueError("either a position or a no_fix_reason")
        if (self.seq == 1) != (self.prev == PREV_NONE):
            raise ValueError("prev is zeros exactly at seq 1")
        if len({item.item_id for item in self.items}) != len(self.items):
            raise ValueError("two items share an item_id")


class _Wire(_Body, frozen=True, kw_only=True):
    facts: dict[str, Any]


def build_manifest(**members: Any) -> Manifest:
    """Build a manifest from members, `schema` filled in, and prove that it decodes back.

    Raises:
        SchemaViolation: a member is missing, unknown or out of range.
    """
    try:
        manifest = Manifest(**{"schema": SCHEMA, **members})
    except (TypeError, ValueError) as error:
        raise SchemaViolation(str(error)) from None
    return decode_manifest(encode_manifest(manifest))


def encode_manifest(manifest: Manifest) -> bytes:
    """Return the canonical payload bytes that are signed.

    Raises:
        MalformedError: a text is not NFC or holds what the subset refuses.
        SchemaViolation: more than 100 kB.
    """
    payload = canonicalise(msgspec.to_builtins(manifest))
    if len(payload) > BYTES_MAX:
        raise SchemaViolation(f"the payload has {len(payload)} bytes, at most {BYTES_MAX} are allowed")
    return payload


def decode_manifest(payload: bytes) -> Manifest:
    """Read a payload, demanding its one canonical spelling.

    Raises:
        MalformedError: not strict JSON.
        PayloadNotCanonical: readable, yet not the canonical bytes of its content.
        SchemaViolation: a member is missing, unknown or out of range; carries its JSON pointer.
    """
    members = parse_strict(payload)
    if canonicalise(members) != payload:
        raise PayloadNotCanonical("the payload is not the RFC 8785 form of its content")
    manifest = _convert(members)
    if encode_manifest(manifest) != payload:
        # An optional member spelled out with its default: a second spelling of the same meaning.
        raise PayloadNotCanonical("an optional member holds its default and must be absent")
    return manifest


def manifest_digest(payload: bytes) -> str:
    """Return the payload's SHA-256 in hex: its only identity, since ECDSA signatures are malleable."""
    return sha256_hex(payload)


def _convert(members: JsonObject) -> Manifest:
    try:
        wire = msgspec.convert(members, _Wire, strict=True)
    except msgspec.ValidationError as error:
        raise _violation(error, "") from None
    try:
        facts: Facts = msgspec.convert(wire.facts, FACTS_BY_KIND[wire.kind], strict=True)
    except msgspec.ValidationError as error:
        raise _violation(error, "/facts") from None
    bodies = {name: getattr(wire, name) for name in _Body.__struct_fields__}
    _demand_real_times(wire, facts)
    try:
        return Manifest(**bodies, facts=facts)
    except ValueError as error:
        raise SchemaViolation(str(error)) from None


def _demand_real_times(wire: _Wire, facts: Facts) -> None:
    """Refuse days that do not exist; the pattern alone admits 31 February."""
    named = {"/captured": wire.captured}
    if wire.position is not None:
        named["/position/fix_time"] = wire.position.fix_time
    for index, item in enumerate(wire.items):
        if item.position is not None:
            named[f"/items/{index}/position/fix_time"] = item.position.fix_time
    for name in ("arrived", "departed"):
        if (text := getattr(facts, name, None)) is not None:
            named[f"/facts/{name}"] = text
    entry = getattr(facts, "entry", None)
    if entry is not None:
        named |= {"/facts/entry/consented": entry.consented, "/facts/entry/entered": entry.entered}
    for pointer, text in named.items():
        try:
            parse_utc(text)
        except ValueError:
            raise SchemaViolation("no such instant", pointer) from None


_PATH_STEP: Final = re.compile(r"\.([A-Za-z_][A-Za-z0-9_]*)|\[(\d+)\]|\[\.\.\.\]")


def _violation(error: msgspec.ValidationError, base: str) -> SchemaViolation:
    """Turn msgspec's `… - at `$.items[0].size`` into a reason and a JSON pointer."""
    reason, _, path = str(error).partition(" - at `$")
    steps = [step[0] or step[1] or "-" for step in _PATH_STEP.findall(path.rstrip("`"))]
    return SchemaViolation(reason, "".join([base, *(f"/{step}" for step in steps)]))
