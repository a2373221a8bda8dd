"""From a request to an `Actor`: console sessions by cookie or bearer token, phones by access token and proof of possession.

Deny by default. What a known person is refused here is recorded on their chain; what nobody knows is only counted.
"""

import hmac
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import prometheus_client
from litestar import Request
from litestar.connection import ASGIConnection
from litestar.di import NamedDependency
from sqlalchemy.orm import Session, sessionmaker

from backend.auth.actors import Actor
from backend.core.i18n import N_
from backend.core.ids import StaffId
from backend.core.problems import Problem, Unauthenticated
from backend.exhibits.refusals import DeviceNotActive
from backend.keys.model import KeyPurpose
from backend.staff import devices, logins, queries
from backend.staff.dpop import AccessClaims, Call, ProofRefused, Proven, check_access, check_proof
from backend.staff.model import DeviceState
from backend.web.app import Resources
from backend.web.transaction import record_refusal

CSRF_HEADER = "x-csrf-token"
CSRF_IN_FORM = "csrf_in_form"
"""Key of a route's `opt`: its form carries the CSRF token, and its handler hands it to `demand_csrf`."""
_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
REFUSED = prometheus_client.Counter("fieldvisit_unauthenticated", "Requests refused before anybody was known", ["reason"])


class CsrfMissing(Problem):
    """A write by cookie came without the token that only our own pages know."""

    status, code, title = 403, "csrf-missing", N_("The request did not come from a page of this console.")
    explanation = N_("Reload the page and try again. Programs use the bearer token of their session instead of the cookie.")


class ProofNotAccepted(Unauthenticated):
    """A phone's proof of possession is missing, stale, for another call, by another key, or was used before."""

    status, code, title = 401, "proof-not-accepted", N_("The phone's proof was not accepted.")
    explanation = N_("Make a new proof for every call, for its method, address and token, at the server's time.")


def session_cookie(public_url: str) -> str:
    """Return the name of the session cookie. Browsers admit the `__Host-` prefix over TLS alone; without TLS we are a demo on one machine."""
    return "__Host-session" if public_url.startswith("https://") else "session"


def console_actor(request: Request[Any, Any, Any], resources: NamedDependency[Resources], now: NamedDependency[datetime]) -> Actor:
    """Return who speaks at the console.

    Raises:
        Unauthenticated: no session, or one that is unknown, closed, idle or too old.
        CsrfMissing: a write by cookie without the session's CSRF token.
    """
    token, is_cookie = _session_token(request, resources.settings.public_url)
    if token is None:
        raise _counted(Unauthenticated(), "no-session")
    with resources.reads() as session:
        identity = logins.identify(session, token, now)
    if identity is None:
        raise _counted(Unauthenticated(), "session-over")
    if is_cookie and request.method not in _SAFE_METHODS:
        _check_csrf(request, resources, identity, now)
    if now - identity.seen_at >= timedelta(seconds=logins.SESSION_TOUCH_S):
        with resources.sessions.begin() as session:
            logins.touch_session(session, identity.actor, now)
    return identity.actor


def demand_csrf(identity: logins.ConsoleIdentity, sent: str) -> None:
    """Compare the token that a form carried. Raises `CsrfMissing`."""
    if not hmac.compare_digest(identity.csrf.encode(), sent.encode()):
        raise CsrfMissing


def identify_page(request: Request[Any, Any, Any], resources: Resources, now: datetime) -> logins.ConsoleIdentity | None:
    """Return who looks at a page, None when nobody is signed in: for pages that then show something else instead of a refusal."""
    token, _ = _session_token(request, resources.settings.public_url)
    if token is None:
        return None
    with resources.reads() as session:
        return logins.identify(session, token, now)


def is_same_origin(request: ASGIConnection[Any, Any, Any, Any], public_url: str) -> bool:
    """Tell whether a form was sent by a page of ours: by what the browser says of its site, else by the origin it names with every post."""
    site = request.headers.get("sec-fetch-site")
    return site == "same-origin" if site is not None else request.headers.get("origin") == public_url


def phone_actor(request: Request[Any, Any, Any], resources: NamedDependency[Resources], now: NamedDependency[datetime]) -> Actor:
    """Return whose phone speaks: an access token of ours and a fresh proof by the key that it is bound to.

    Raises:
        Unauthenticated: no token, not ours, expired.
        ProofNotAccepted: the proof is missing, stale, for another call, by another key, or was used before.
        DeviceNotActive: the phone is suspended, revoked or past its year.
    """
    settings, keyring = resources.settings, resources.keyring
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "dpop" or not token:
        raise _counted(Unauthenticated(), "no-token")
    try:
        claims = check_access(token, settings.public_url, lambda kid: keyring.resolve(KeyPurpose.ACCESS, kid), now)
    except ProofRefused as refused:
        raise _counted(Unauthenticated(), f"token-{refused.reason}") from refused
    try:
        proven = read_proof(request, settings.public_url, now, token)
        if not proven.kid == claims.cnf.jkt == claims.client_id:
            raise _counted(ProofNotAccepted(), "proof-by-another-key")
    except ProofNotAccepted as problem:
        _record_for(resources, claims, problem, now)
        raise
    return _phone_actor(resources, claims, proven, now)


def read_proof(request: Request[Any, Any, Any], public_url: str, now: datetime, access_token: str | None = None) -> Proven:
    """Verify the one DPoP proof of a request, replay aside.

    Raises:
        ProofNotAccepted: none, several, or one that does not hold. A clock fault tells the server's time.
    """
    proofs = request.headers.getall("dpop", [])
    if len(proofs) != 1:
        raise _counted(ProofNotAccepted(), "proof-missing")
    try:
        return check_proof(proofs[0], Call(method=request.method, url=f"{public_url}{_raw_path(request)}"), now, access_token)
    except ProofRefused as refused:
        details = {"server_time": now.isoformat(timespec="seconds")} if refused.is_clock_fault else {}
        raise _counted(ProofNotAccepted(**details), f"proof-{refused.reason}") from refused


def use_once(sessions: sessionmaker[Session], proven: Proven) -> None:
    """Use a proof up, in a transaction of its own. Raises `ProofNotAccepted` when it was used before."""
    with sessions.begin() as session:
        is_fresh = devices.use_proof(session, proven)
    if not is_fresh:
        raise _counted(ProofNotAccepted(), "proof-replayed")


def active_device_actor(session: Session, kid: str, now: datetime) -> Actor:
    """Return the actor of an active phone. Raises `Unauthenticated` for an unknown one, `DeviceNotActive` with its state."""
    device = queries.device(session, kid)
    actor = queries.actor_of(session, device.staff_id, device=kid) if device is not None else None
    if device is None or actor is None:
        raise _counted(Unauthenticated(), "device-unknown")
    if device.state is not DeviceState.ACTIVE or now >= device.valid_until:
        raise DeviceNotActive(state=device.state.value, valid_until=device.valid_until.isoformat())
    return actor


def _phone_actor(resources: Resources, claims: AccessClaims, proven: Proven, now: datetime) -> Actor:
    try:
        use_once(resources.sessions, proven)
        with resources.reads() as session:
            actor = active_device_actor(session, proven.kid, now)
    except (ProofNotAccepted, DeviceNotActive) as problem:
        _record_for(resources, claims, problem, now)
        raise
    if str(actor.id) != claims.sub:
        raise _counted(Unauthenticated(), "token-of-another-person")
    return actor


def _record_for(resources: Resources, claims: AccessClaims, problem: Problem, now: datetime) -> None:
    """Record a refusal on the chain of the person whose token was shown."""
    with resources.reads() as session:
        actor = queries.actor_of(session, StaffId(UUID(claims.sub)), device=claims.client_id)
    if actor is not None:
        record_refusal(resources.sessions, actor, problem, now)


def _session_token(request: Request[Any, Any, Any], public_url: str) -> tuple[str | None, bool]:
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and token:
        return token, False
    return request.cookies.get(session_cookie(public_url)), True


def _check_csrf(request: Request[Any, Any, Any], resources: Resources, identity: logins.ConsoleIdentity, now: datetime) -> None:
    try:
        if request.route_handler.opt.get(CSRF_IN_FORM):
            if not is_same_origin(request, resources.settings.public_url):
                raise CsrfMissing
            return
        demand_csrf(identity, request.headers.get(CSRF_HEADER, ""))
    except CsrfMissing as problem:
        record_refusal(resources.sessions, identity.actor, problem, now)
        raise


def _raw_path(request: Request[Any, Any, Any]) -> str:
    raw = request.scope.get("raw_path") or request.scope["path"].encode()
    return raw.decode("ascii", "replace").partition("?")[0]


def _counted(problem: Problem, reason: str) -> Problem:
    REFUSED.labels(reason).inc()
    return problem
