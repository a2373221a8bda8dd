"""How a phone becomes known and signs in: enrolment, access tokens bound to its key, signed time."""

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import uuid4

import msgspec
from litestar import Request, get, post
from litestar.di import NamedDependency
from litestar.params import JSONBody, QueryParameter
from msgspec import Meta

from backend.auth.actors import Actor
from backend.core.problems import Problem, Unauthenticated
from backend.exhibits import beacons
from backend.exhibits.refusals import DeviceNotActive, refusing
from backend.keys.model import KeyPurpose
from backend.staff import devices, dpop, queries
from backend.staff.model import DeviceLevel, DeviceState
from backend.web.app import Resources
from backend.web.auth import ProofNotAccepted, active_device_actor, read_proof, use_once
from backend.web.body import Body, View
from backend.web.transaction import record_refusal, transaction
from evidence.app_attest import ATTESTATION_BYTES_MAX
from evidence.attestation import CERTIFICATE_BYTES_MAX, Roots
from evidence.canonical import b64u_decode
from evidence.keys import key_from_jwk

TOKEN_PATH = "/mobile/v1/token"
AssertionType = Literal["urn:ietf:params:oauth:client-assertion-type:jwt-bearer"]

Code = Annotated[str, Meta(min_length=16, max_length=32, pattern=r"^[A-Z2-7]+$", examples=["K5XW6YTBOJUWG2DFORSXG5BA"])]
Coordinate = Annotated[str, Meta(min_length=43, max_length=43, pattern=r"^[A-Za-z0-9_-]+$")]
Certificate = Annotated[str, Meta(min_length=1, max_length=CERTIFICATE_BYTES_MAX * 4 // 3 + 4, pattern=r"^[A-Za-z0-9_-]+$")]
AppleAttestation = Annotated[str, Meta(min_length=1, max_length=ATTESTATION_BYTES_MAX * 4 // 3 + 4, pattern=r"^[A-Za-z0-9_-]+$")]
Token = Annotated[str, Meta(min_length=1, max_length=dpop.TOKEN_CHARS_MAX)]
# Bounds of a query parameter stand here: the framework reads no `Meta` inside `FromQuery`.
Nonce = Annotated[str, QueryParameter(min_length=16, max_length=64, pattern=r"^[A-Za-z0-9_-]+$")]


class CodeBody(Body):
    """The one-time code that the console showed."""

    code: Code


class ChallengeView(View, frozen=True):
    """What the phone signs within ten minutes, and for whom it is being enrolled."""

    challenge: str
    staff_id: str
    expires_at: datetime


class JwkBody(Body):
    """A public P-256 key."""

    kty: Literal["EC"]
    crv: Literal["P-256"]
    x: Coordinate
    y: Coordinate


class EnrolBody(Body):
    """The code again, the new key, and the challenge signed with it (typ `device-enrolment+jws` over `challenge, staff, app`).

    `attestation`: Android's certificates for the key, leaf first, DER in base64url; made under the challenge's 32 bytes.
    `apple_attestation`: App Attest's object in base64url, its client data `CHALLENGE.KID` (the key's RFC 7638 thumbprint).
    """

    code: Code
    jwk: JwkBody
    proof: Token
    model: Annotated[str, Meta(min_length=1, max_length=80)] = "unknown"
    attestation: Annotated[tuple[Certificate, ...], Meta(max_length=10)] = ()
    apple_attestation: AppleAttestation | None = None


class EnrolledView(View, frozen=True):
    """The key id and state of the phone; `pending` until a second person grants it."""

    kid: str
    staff_id: str
    state: DeviceState
    level: DeviceLevel
    valid_until: datetime


class TokenBody(Body):
    """A private-key login (RFC 7523); comes with a DPoP proof by the same key."""

    client_assertion: Token
    grant_type: Literal["client_credentials"] = "client_credentials"
    client_assertion_type: AssertionType = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"


class TokenView(View, frozen=True):
    """An access token for fifteen minutes, of use only with proofs by the same key."""

    access_token: str
    expires_in_s: int
    token_type: str = "DPoP"


class BeaconView(View, frozen=True):
    """A signed time statement (compact JWS, typ `beacon+jws`)."""

    beacon: str


@post("/mobile/v1/device-enrolments", operation_id="beginEnrolment", status_code=200, sync_to_thread=True, tags=["phones"])
def begin_enrolment(data: JSONBody[CodeBody], resources: NamedDependency[Resources], now: NamedDependency[datetime]) -> ChallengeView:
    """Exchange a one-time code for a challenge; asking again makes the earlier challenge useless."""
    with transaction(resources.sessions, None, now) as session:
        given = devices.give_challenge(session, data.code, now)
    return ChallengeView(challenge=given.challenge, staff_id=str(given.staff_id), expires_at=given.expires_at)


@post("/mobile/v1/device-enrolments/complete", operation_id="completeEnrolment", sync_to_thread=True, tags=["phones"])
def complete_enrolment(data: JSONBody[EnrolBody], resources: NamedDependency[Resources], now: NamedDependency[datetime]) -> EnrolledView:
    """Prove the new key; uses the code up."""
    jwk = {"kty": data.jwk.kty, "crv": data.jwk.crv, "x": data.jwk.x, "y": data.jwk.y}
    attestation = read_attestation(data.attestation, data.apple_attestation)
    enrolment = devices.Enrolment(code=data.code, jwk=jwk, proof=data.proof, model=data.model, attestation=attestation)
    with transaction(resources.sessions, None, now) as session:
        enrolled = devices.enrol(session, enrolment, now, attestation_roots(resources))
    return EnrolledView(
        kid=enrolled.kid, staff_id=str(enrolled.staff_id), state=enrolled.state, level=enrolled.level, valid_until=enrolled.valid_until,
    )


@post(TOKEN_PATH, operation_id="issueToken", status_code=200, sync_to_thread=True, tags=["phones"])
def issue_token(
    data: JSONBody[TokenBody], request: Request[Any, Any, Any], resources: NamedDependency[Resources], now: NamedDependency[datetime]
) -> TokenView:
    """Buy a fifteen-minute access token with an assertion and a proof, both by the device key and both for once."""
    settings = resources.settings
    proven = read_proof(request, settings.public_url, now)
    asserted = _check_assertion(resources, data.client_assertion, now)
    actor = _known_actor(resources, asserted, now)
    try:
        if proven.kid != asserted.kid:
            raise ProofNotAccepted
        use_once(resources.sessions, proven)
        use_once(resources.sessions, asserted)
    except ProofNotAccepted as problem:
        record_refusal(resources.sessions, actor, problem, now)
        raise
    with resources.sessions.begin() as session:
        devices.forget_proofs(session, now)
    claims = dpop.access_claims(public_url=settings.public_url, staff_id=str(actor.id), kid=asserted.kid, jti=uuid4().hex, now=now)
    return TokenView(access_token=resources.keyring.sign(KeyPurpose.ACCESS, claims, dpop.ACCESS_TYP), expires_in_s=dpop.ACCESS_LIFE_S)


@get("/mobile/v1/beacon", operation_id="readBeacon", sync_to_thread=True, tags=["phones"])
def read_beacon(
    nonce: Nonce, actor: NamedDependency[Actor], resources: NamedDependency[Resources], now: NamedDependency[datetime]
) -> BeaconView:
    """Return the server's time, signed for this phone and this nonce."""
    assert actor.device is not None
    with transaction(resources.sessions, actor, now) as session:
        token = beacons.issue(session, resources.keyring, actor.device, nonce, now)
    return BeaconView(beacon=token)


OPEN_ROUTES = [begin_enrolment, complete_enrolment, issue_token]
ROUTES = [read_beacon]


def read_attestation(android: tuple[str, ...], apple: str | None) -> devices.Attestation:
    """Decode what a platform gave. Raises a problem for what is not base64url in its one spelling."""
    with refusing():
        return devices.Attestation(
            android=tuple(b64u_decode(one, f"/attestation/{index}") for index, one in enumerate(android)),
            apple=b64u_decode(apple, "/appleAttestation") if apple is not None else b"")


def attestation_roots(resources: Resources) -> Roots:
    """Return the roots that the operator pinned; none without a file."""
    path = resources.settings.attestation_roots_file
    return Roots() if path is None else msgspec.json.decode(path.read_bytes(), type=Roots)


def _check_assertion(resources: Resources, assertion: str, now: datetime) -> dpop.Proven:
    def resolve(kid: str) -> Any:
        with resources.reads() as session:
            device = queries.device(session, kid)
        return None if device is None else key_from_jwk(device.public_jwk)

    try:
        return dpop.check_assertion(assertion, f"{resources.settings.public_url}{TOKEN_PATH}", resolve, now)
    except dpop.ProofRefused as refused:
        raise Unauthenticated from refused


def _known_actor(resources: Resources, asserted: dpop.Proven, now: datetime) -> Actor:
    with resources.reads() as session:
        try:
            return active_device_actor(session, asserted.kid, now)
        except DeviceNotActive as problem:
            refused: Problem = problem
            device = queries.device(session, asserted.kid)
            actor = queries.actor_of(session, device.staff_id, device=asserted.kid) if device is not None else None
    if actor is not None:
        record_refusal(resources.sessions, actor, refused, now)
    raise refused
