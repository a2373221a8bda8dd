"""General JSON JWS with one or two ES256 signatures over the same manifest payload, in a strict profile.

Order: `check_shape` before any library, `verify_signatures`, then `judge_pair`: two keys, two devices, two people.
"""

from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from evidence.canonical import BYTES_MAX, JsonObject, b64u_decode, b64u_encode, canonicalise, parse_strict
from evidence.errors import MalformedError, ManifestConflict, UnknownDevice
from evidence.es256 import ALG, demand_signature, demand_signature_shape, read_header, sign_bytes
from evidence.facts import Kid, Kind, SeqNumber, Sha256, _Closed
from evidence.keys import KeyResolver, SigningKey
from evidence.manifest import PREV_NONE, Datum, Manifest, manifest_digest
from evidence.model import Finding, Grade
from evidence.times import UtcText, parse_utc

TYP: Final = "visit-evidence+jws"
ENVELOPE_BYTES_MAX: Final = BYTES_MAX * 4 // 3 + 6_000
COSIGNED_KINDS: Final = frozenset({Kind.ARRIVAL, Kind.DECLARATION, Kind.CASH_RECEIPT, Kind.VOID, Kind.VISIT_CLOSE})
"""Kinds that need both signatures. Captures and departures are chained and covered by the co-signed close (F07)."""
_HEADER_NAMES: Final = frozenset({"alg", "kid", "typ", "ev"})


class SignerRole(StrEnum):
    """Whose act the signature is: the phone that captured, or the partner who saw it."""

    CAPTURER = "capturer"
    WITNESS = "witness"


class HeaderPosition(_Closed, frozen=True, kw_only=True):
    """Where the signer stood, short enough for a QR code."""

    lat_e7: Annotated[int, Meta(ge=-900_000_000, le=900_000_000)]
    lon_e7: Annotated[int, Meta(ge=-1_800_000_000, le=1_800_000_000)]
    datum: Datum
    accuracy_cm: Annotated[int, Meta(ge=0, le=1_000_000_000)]
    mock: bool


class SignatureHeader(_Closed, frozen=True, kw_only=True):
    """What a signer adds under its own signature: role, time, chain link, place."""

    kid: Kid
    role: SignerRole
    at: UtcText
    seq: SeqNumber
    prev: Sha256
    pos: HeaderPosition | None

    def __post_init__(self) -> None:
        parse_utc(self.at)
        if (self.seq == 1) != (self.prev == PREV_NONE):
            raise ValueError("prev is zeros exactly at seq 1")


class SignatureMember(msgspec.Struct, frozen=True, kw_only=True):
    """One element of `signatures`: both texts are unpadded base64url."""

    protected: str
    signature: str


class Envelope(msgspec.Struct, frozen=True, kw_only=True):
    """An envelope of strict shape; nothing in it is verified yet."""

    payload: bytes
    signatures: tuple[SignatureMember, ...]
    headers: tuple[SignatureHeader, ...]          # Same order as `signatures`.


class Signer(msgspec.Struct, frozen=True, kw_only=True):
    """One verified signature."""

    header: SignatureHeader
    payload_sha256: str

    @property
    def kid(self) -> str:
        """Return the key id."""
        return self.header.kid


class PairFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What the server knows about the signers at the bounded time of capture."""

    person_by_kid: Mapping[str, str]              # Device key → employee it is enrolled for.
    assigned: frozenset[str]                      # Employees assigned to the visit.
    cosign_gap_s_max: int = 1_800                 # Between the two *signed* times, since a partner may be offline for hours.


def header_for(manifest: Manifest) -> SignatureHeader:
    """Return the capturer's header that belongs to a manifest: same time, place and chain link."""
    position = manifest.position
    pos = None if position is None else HeaderPosition(
        lat_e7=position.lat_e7, lon_e7=position.lon_e7, datum=position.datum, accuracy_cm=position.accuracy_cm, mock=position.mock)
    return SignatureHeader(kid=manifest.device, role=SignerRole.CAPTURER, at=manifest.captured, seq=manifest.seq, prev=manifest.prev, pos=pos)


def sign(payload: bytes, key: SigningKey, header: SignatureHeader) -> SignatureMember:
    """Sign a canonical payload under one protected header."""
    ev = msgspec.to_builtins(header)
    kid = ev.pop("kid")
    protected = b64u_encode(canonicalise({"alg": ALG, "kid": kid, "typ": TYP, "ev": ev}))
    signing_input = f"{protected}.{b64u_encode(payload)}".encode("ascii")
    return SignatureMember(protected=protected, signature=b64u_encode(sign_bytes(signing_input, key)))


def assemble(payload: bytes, signatures: Iterable[SignatureMember]) -> bytes:
    """Return the envelope's canonical bytes, capturer first. Raises MalformedError for a shape `check_shape` would refuse."""
    members = [{"protected": member.protected, "signature": member.signature} for member in signatures]
    members.sort(key=lambda member: _read_ev(member["protected"], "").role != SignerRole.CAPTURER)
    raw = canonicalise({"payload": b64u_encode(payload), "signatures": [dict(member) for member in members]})
    check_shape(raw)
    return raw


def merge(first: bytes, second: bytes) -> bytes:
    """Join two envelopes over the same payload into one; the same key's second signature adds nothing.

    Raises:
        ManifestConflict: the payloads differ.
        MalformedError: a bad shape, or more than two keys.
    """
    envelopes = [check_shape(first), check_shape(second)]
    if envelopes[0].payload != envelopes[1].payload:
        raise ManifestConflict("the envelopes hold different payloads", "/payload")
    by_kid: dict[str, SignatureMember] = {}
    for envelope in envelopes:
        for header, member in zip(envelope.headers, envelope.signatures, strict=True):
            by_kid.setdefault(header.kid, member)
    return assemble(envelopes[0].payload, by_kid.values())


def check_shape(raw: bytes) -> Envelope:
    """Demand the strict profile (protocol §2.3) and return the parts. Verifies no signature.

    Raises:
        MalformedError: any deviation, with a JSON pointer.
        WrongAlgorithm: a header's `alg` is not ES256.
    """
    members = parse_strict(raw, bytes_max=ENVELOPE_BYTES_MAX)
    if set(members) != {"payload", "signatures"}:
        raise MalformedError("an envelope has exactly payload and signatures")
    payload_text, listed = members["payload"], members["signatures"]
    if not isinstance(payload_text, str):
        raise MalformedError("payload must be a text", "/payload")
    if not isinstance(listed, list) or not 1 <= len(listed) <= 2:
        raise MalformedError("one or two signatures are expected", "/signatures")
    payload = b64u_decode(payload_text, "/payload")
    if not payload or len(payload) > BYTES_MAX:
        raise MalformedError(f"a payload has 1 to {BYTES_MAX} bytes", "/payload")
    signatures = tuple(_read_member(member, f"/signatures/{index}") for index, member in enumerate(listed))
    headers = tuple(_read_ev(member.protected, f"/signatures/{index}/protected") for index, member in enumerate(signatures))
    return Envelope(payload=payload, signatures=signatures, headers=headers)


def verify_signatures(envelope: Envelope, resolve_key: KeyResolver) -> tuple[Signer, ...]:
    """Verify every signature; the first good one is not enough.

    Raises:
        UnknownDevice: a `kid` is unknown.
        SignatureInvalid: one of them does not verify.
    """
    body, digest = b64u_encode(envelope.payload), manifest_digest(envelope.payload)
    signers: list[Signer] = []
    for index, (header, member) in enumerate(zip(envelope.headers, envelope.signatures, strict=True)):
        key = resolve_key(header.kid)
        if key is None:
            raise UnknownDevice("no such device key", f"/signatures/{index}/protected/kid")
        demand_signature(f"{member.protected}.{body}.{member.signature}", key, f"/signatures/{index}/signature")
        signers.append(Signer(header=header, payload_sha256=digest))
    return tuple(signers)


def judge_pair(manifest: Manifest, signers: tuple[Signer, ...], pair: PairFacts) -> tuple[Finding, ...]:
    """Judge the two-person rule (VIS-01) over verified signatures. Empty means the signatures due are there and distinct."""
    findings: list[Finding] = []

    def found(name: str, expected: str, got: str, grade: Grade = Grade.DOUBT) -> None:
        findings.append(Finding(name=name, grade=grade, rules=("VIS-01",), expected=expected, got=got))

    kids = [signer.kid for signer in signers]
    roles = [signer.header.role for signer in signers]
    people = [pair.person_by_kid.get(kid, "") for kid in kids]
    named = {manifest.device: manifest.actor}
    if manifest.cosigner_device is not None and manifest.cosigner is not None:
        if manifest.cosigner_device == manifest.device or manifest.cosigner == manifest.actor:
            found("cosigner-not-distinct", "two devices and two people are named", "one device or person named twice", Grade.FRAUD_SIGN)
        named[manifest.cosigner_device] = manifest.cosigner
    # 1. Both signatures where both are due.
    if len(set(kids)) < 2 and manifest.kind in COSIGNED_KINDS:
        found("cosignature-missing", "two signatures", str(len(set(kids))))
    # 2. Two keys, two roles, two people.
    if len(kids) == 2 and (len(set(kids)) < 2 or set(roles) != set(SignerRole) or len(set(people)) < 2):
        found("cosigner-not-distinct", "two keys, roles and people", "one of them twice", Grade.FRAUD_SIGN)
    # 3. Exactly those the payload names, each enrolled for the person named, both assigned.
    for signer, person in zip(signers, people, strict=True):
        is_capturer = signer.kid == manifest.device
        if named.get(signer.kid) != person or is_capturer != (signer.header.role is SignerRole.CAPTURER):
            found("signer-not-assigned", "the device, role and person the payload names", signer.kid)
        elif person not in pair.assigned:
            found("signer-not-assigned", "a person assigned to this visit", person)
    # 4. The capturer's header repeats the payload's own chain link and time.
    for signer in signers:
        header = signer.header
        if header.role is SignerRole.CAPTURER and (header.seq, header.prev, header.at) != (manifest.seq, manifest.prev, manifest.captured):
            found("header-differs", "seq, prev and time of the payload", f"seq {header.seq} at {header.at}")
    # 5. Near in signed time; arrival times do not count.
    if len(signers) == 2:
        gap_s = abs((parse_utc(signers[0].header.at) - parse_utc(signers[1].header.at)).total_seconds())
        if gap_s > pair.cosign_gap_s_max:
            found("cosignature-late", f"at most {pair.cosign_gap_s_max} s apart", f"{gap_s:.0f} s")
    return tuple(findings)


def _read_member(member: object, pointer: str) -> SignatureMember:
    if not isinstance(member, dict) or set(member) != {"protected", "signature"}:
        raise MalformedError("a signature has exactly protected and signature", pointer)
    protected, signature = member["protected"], member["signature"]
    if not isinstance(protected, str) or not isinstance(signature, str):
        raise MalformedError("protected and signature are texts", pointer)
    demand_signature_shape(signature, f"{pointer}/signature")
    return SignatureMember(protected=protected, signature=signature)


def _read_ev(protected: str, pointer: str) -> SignatureHeader:
    header: JsonObject = read_header(protected, _HEADER_NAMES, pointer)
    if header["typ"] != TYP:
        raise MalformedError(f"typ must be {TYP}", f"{pointer}/typ")
    ev = header["ev"]
    if not isinstance(ev, dict) or "kid" in ev:
        raise MalformedError("ev is an object of role, at, seq, prev, pos", f"{pointer}/ev")
    try:
        return msgspec.convert({"kid": header["kid"], **ev}, SignatureHeader, strict=True)
    except msgspec.ValidationError as error:
        raise MalformedError(str(error), f"{pointer}/ev") from None
