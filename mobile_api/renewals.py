"""How a phone renews its key: asks, waits for a second person, then brings a new key that both keys have signed for."""

from datetime import datetime
from typing import Annotated

from litestar import post
from litestar.di import NamedDependency
from litestar.params import JSONBody
from litestar.types import ControllerRouterHandler
from msgspec import Meta

from backend.auth.actors import Actor
from backend.cash.books import suspend_numbers
from backend.staff import renewals
from backend.web.app import Resources
from backend.web.body import Body
from backend.web.transaction import transaction
from mobile_api.login import AppleAttestation, Certificate, EnrolledView, JwkBody, Token, attestation_roots, read_attestation


class RenewalBody(Body):
    """The new key, its proof (as at enrolment), and the old key's consent.

    `consent`: compact JWS by the old key, typ `device-renewal+jws`, over `challenge, staff, app, old, new` and the old chain's last link
    (`last_seq`, `last_digest`; 0 and zeros for an empty chain).
    """

    jwk: JwkBody
    proof: Token
    consent: Token
    model: Annotated[str, Meta(min_length=1, max_length=80)] = "unknown"
    attestation: Annotated[tuple[Certificate, ...], Meta(max_length=10)] = ()
    apple_attestation: AppleAttestation | None = None


@post("/mobile/v1/device-renewals", operation_id="askRenewal", status_code=200, sync_to_thread=True, tags=["phones"])
def ask_renewal(
    actor: NamedDependency[Actor], resources: NamedDependency[Resources], now: NamedDependency[datetime]
) -> renewals.RenewalOffer:
    """Ask to renew this phone's key, or look whether it is granted; once it is, a fresh challenge comes with the answer."""
    with transaction(resources.sessions, actor, now) as session:
        return renewals.ask(session, actor, now)


@post("/mobile/v1/device-renewals/complete", operation_id="completeRenewal", sync_to_thread=True, tags=["phones"])
def complete_renewal(
    data: JSONBody[RenewalBody], actor: NamedDependency[Actor], resources: NamedDependency[Resources], now: NamedDependency[datetime]
) -> EnrolledView:
    """End the old key, begin the new one. Unused receipt numbers of the old key are suspended with it."""
    assert actor.device is not None
    attestation = read_attestation(data.attestation, data.apple_attestation)
    jwk = {"kty": data.jwk.kty, "crv": data.jwk.crv, "x": data.jwk.x, "y": data.jwk.y}
    new = renewals.NewKey(jwk=jwk, proof=data.proof, consent=data.consent, model=data.model, attestation=attestation)
    with transaction(resources.sessions, actor, now) as session:
        done = renewals.complete(session, actor, new, now, attestation_roots(resources))
        suspend_numbers(session, actor, actor.device, now)
    return EnrolledView(kid=done.kid, staff_id=str(done.staff_id), state=done.state, level=done.level, valid_until=done.valid_until)


ROUTES: list[ControllerRouterHandler] = [ask_renewal, complete_renewal]
