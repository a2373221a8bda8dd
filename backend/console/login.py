"""Signing in at the console: the JSON API, and the pages for people. Password and TOTP, server-side sessions, CSRF tokens."""

from datetime import datetime
from typing import Annotated, Any

import msgspec
import segno
from litestar import MediaType, Request, Response, get, post
from litestar.datastructures import Cookie
from litestar.di import NamedDependency
from litestar.params import FromQuery, JSONBody, URLEncodedBody
from msgspec import Meta

from backend.auth.actors import Actor
from backend.auth.permissions import GRANTS
from backend.core.i18n import N_
from backend.core.problems import InvalidInput, Problem, TooManyRequests, Unauthenticated
from backend.staff import logins, queries
from backend.staff.model import LoginMade, SessionOpened
from backend.web.app import Resources
from backend.web.auth import CSRF_IN_FORM, CsrfMissing, demand_csrf, identify_page, is_same_origin, session_cookie
from backend.web.body import CONTENT_TYPES, Body, View
from backend.web.pages import LANGUAGE_COOKIE, reader_language, render_page
from backend.web.transaction import transaction

HOME = "/console/"
_FORM = {CONTENT_TYPES: frozenset({"application/x-www-form-urlencoded"})}

Name = Annotated[str, Meta(min_length=1, max_length=64)]
AnyPassword = Annotated[str, Meta(min_length=1, max_length=200)]
Totp = Annotated[str, Meta(pattern=r"^[0-9]{6}$")]
LinkToken = Annotated[str, Meta(min_length=43, max_length=43)]


class LoginBody(Body):
    """Name, password and the authenticator's present code."""

    username: Name
    password: AnyPassword
    totp: Totp


class SessionView(View, frozen=True):
    """A session: `token` goes into `Authorization: Bearer`. Shown once."""

    token: str
    csrf: str
    staff_id: str
    expires_at: datetime


class MeView(View, frozen=True):
    """Who speaks and what they may do. `csrf` belongs into `X-CSRF-Token` of writes by cookie."""

    id: str
    name: str
    roles: tuple[str, ...]
    branches: tuple[str, ...]
    bank: str | None
    permissions: tuple[str, ...]
    csrf: str


class InvitationBody(Body):
    """The one-time token of an invitation, and the login that its person chooses."""

    token: LinkToken
    username: logins.Username
    password: logins.Password


class LoginMadeView(View, frozen=True):
    """The new login's TOTP secret, shown once."""

    username: str
    totp_secret: str
    provisioning_uri: str


class LoginForm(msgspec.Struct, forbid_unknown_fields=True):
    """The login page's form. Nothing is required here: what is missing is simply not right."""

    username: Annotated[str, Meta(max_length=64)] = ""
    password: Annotated[str, Meta(max_length=200)] = ""
    totp: Annotated[str, Meta(max_length=10)] = ""
    next: Annotated[str, Meta(max_length=200)] = HOME


class LogoutForm(msgspec.Struct, forbid_unknown_fields=True):
    """The logout button."""

    csrf: Annotated[str, Meta(max_length=64)] = ""


class InvitationForm(msgspec.Struct, forbid_unknown_fields=True):
    """The invitation page's form."""

    token: Annotated[str, Meta(max_length=64)] = ""
    username: Annotated[str, Meta(max_length=64)] = ""
    password: Annotated[str, Meta(max_length=200)] = ""


@post("/api/v1/login", operation_id="logIn", status_code=200, sync_to_thread=True, tags=["session"])
def log_in(data: JSONBody[LoginBody], resources: NamedDependency[Resources], now: NamedDependency[datetime]) -> SessionView:
    """Open a session."""
    opened = _sign_in(resources, LoginForm(username=data.username, password=data.password, totp=data.totp), now)
    return SessionView(token=opened.token, csrf=opened.csrf, staff_id=str(opened.staff_id), expires_at=opened.expires_at)


@post("/api/v1/logout", operation_id="logOut", status_code=204, sync_to_thread=True, tags=["session"])
def log_out(actor: NamedDependency[Actor], resources: NamedDependency[Resources], now: NamedDependency[datetime]) -> None:
    """End the session."""
    with transaction(resources.sessions, actor, now) as session:
        logins.close_session(session, actor, now)


@get("/api/v1/me", operation_id="readMe", sync_to_thread=True, tags=["session"])
def read_me(
    request: Request[Any, Any, Any], actor: NamedDependency[Actor], resources: NamedDependency[Resources], now: NamedDependency[datetime]
) -> MeView:
    """Tell who speaks."""
    identity = identify_page(request, resources, now)
    if identity is None:
        raise Unauthenticated
    with resources.reads() as session:
        person = queries.staff(session, actor, actor.id)
    granted = sorted({permission.value for role in actor.roles for permission in GRANTS[role]})
    return MeView(
        id=str(actor.id), name=person.name, roles=tuple(sorted(actor.roles)), branches=tuple(sorted(map(str, actor.branches))),
        bank=str(actor.bank) if actor.bank else None, permissions=tuple(granted), csrf=identity.csrf,
    )


@post("/api/v1/invitations/accept", operation_id="acceptInvitation", sync_to_thread=True, tags=["session"])
def accept_invitation(data: JSONBody[InvitationBody], resources: NamedDependency[Resources], now: NamedDependency[datetime]) -> LoginMadeView:
    """Choose name and password by a one-time link; the answer holds the TOTP secret, once."""
    made = _accept(resources, data.token, data.username, data.password, now)
    return LoginMadeView(username=made.username, totp_secret=made.totp_secret, provisioning_uri=made.provisioning_uri)


@get("/console/login", operation_id="showLogin", sync_to_thread=False, media_type=MediaType.HTML, tags=["pages"])
def show_login(request: Request[Any, Any, Any], next: FromQuery[str] = HOME) -> Response[str]:
    """Show the login page."""
    return _with_language(request, render_page("login.html", request, error="", next=_safe_next(next), username=""))


@post("/console/login", operation_id="submitLogin", status_code=200, sync_to_thread=True, media_type=MediaType.HTML, opt=_FORM, tags=["pages"])
def submit_login(
    data: URLEncodedBody[LoginForm], request: Request[Any, Any, Any], resources: NamedDependency[Resources], now: NamedDependency[datetime]
) -> Response[str]:
    """Open a session by cookie and go on, or show the page again."""
    public_url = resources.settings.public_url
    if not is_same_origin(request, public_url):
        raise CsrfMissing
    try:
        opened = _sign_in(resources, data, now)
    except (logins.LoginRefused, TooManyRequests) as refused:
        values = {"error": refused.title, "next": _safe_next(data.next), "username": data.username}
        return render_page("login.html", request, status_code=refused.status, **values)
    cookie = Cookie(
        key=session_cookie(public_url), value=opened.token, path="/", httponly=True, secure=public_url.startswith("https://"), samesite="lax",
        max_age=logins.SESSION_LIFE_S,
    )
    return Response("", status_code=303, headers={"Location": _safe_next(data.next)}, cookies=[cookie], media_type=MediaType.HTML)


@post("/console/logout", operation_id="submitLogout", status_code=200, sync_to_thread=True, media_type=MediaType.HTML,
      opt={**_FORM, CSRF_IN_FORM: True}, tags=["pages"])
def submit_logout(
    data: URLEncodedBody[LogoutForm], request: Request[Any, Any, Any], actor: NamedDependency[Actor], resources: NamedDependency[Resources],
    now: NamedDependency[datetime],
) -> Response[str]:
    """End the session of the cookie."""
    identity = identify_page(request, resources, now)
    if identity is None:
        raise Unauthenticated
    with transaction(resources.sessions, actor, now) as session:
        demand_csrf(identity, data.csrf)
        logins.close_session(session, actor, now)
    gone = Cookie(key=session_cookie(resources.settings.public_url), value="", path="/", httponly=True, max_age=0)
    return Response("", status_code=303, headers={"Location": "/console/login"}, cookies=[gone], media_type=MediaType.HTML)


@get("/console/invitation", operation_id="showInvitation", sync_to_thread=False, media_type=MediaType.HTML, tags=["pages"])
def show_invitation(request: Request[Any, Any, Any], token: FromQuery[str] = "") -> Response[str]:
    """Show the page on which an invited person chooses name and password."""
    return _with_language(request, render_page("invitation.html", request, error="", token=token[:64], username="", made=None, code=""))


@post("/console/invitation", operation_id="submitInvitation", status_code=200, sync_to_thread=True, media_type=MediaType.HTML, opt=_FORM,
      tags=["pages"])
def submit_invitation(
    data: URLEncodedBody[InvitationForm], request: Request[Any, Any, Any], resources: NamedDependency[Resources], now: NamedDependency[datetime]
) -> Response[str]:
    """Make the login and show its TOTP secret, once."""
    if not is_same_origin(request, resources.settings.public_url):
        raise CsrfMissing
    try:
        made = _accept(resources, data.token, data.username, data.password, now)
    except Problem as refused:
        error = N_("A name of 2 to 64 small letters, digits, dots or hyphens; a password of at least 12 characters that does not hold the name.") \
            if isinstance(refused, InvalidInput) else refused.title
        values = {"error": error, "token": data.token, "username": data.username, "made": None, "code": ""}
        return render_page("invitation.html", request, status_code=refused.status, **values)
    code = segno.make(made.provisioning_uri, error="m").svg_data_uri(scale=5)
    return render_page("invitation.html", request, error="", token="", username=made.username, made=made, code=code)


OPEN_ROUTES = [log_in, accept_invitation, show_login, submit_login, show_invitation, submit_invitation]
ROUTES = [log_out, read_me, submit_logout]


def _sign_in(resources: Resources, form: LoginForm, now: datetime) -> SessionOpened:
    username = form.username.strip().lower()
    with resources.reads() as session:
        known = logins.find_login(session, username, now)
    if isinstance(known, TooManyRequests):
        raise known
    fits = logins.password_fits(known, form.password)    # Outside any transaction: argon2id takes its time on purpose.
    claim = logins.LoginClaim(username=username, known=known, is_password_right=fits, totp=form.totp.strip())
    with resources.sessions.begin() as session:
        outcome = logins.conclude_login(session, resources.keyring, claim, now)
    if isinstance(outcome, Problem):
        raise outcome
    return outcome


def _accept(resources: Resources, token: str, username: str, password: str, now: datetime) -> LoginMade:
    try:
        login = msgspec.convert({"username": username, "password": password}, logins.NewLogin)
    except msgspec.ValidationError as error:
        raise InvalidInput(pointer="/", expected="a name and a password within their bounds", got=str(error).split(" - ")[0]) from error
    with transaction(resources.sessions, None, now) as session:
        return logins.accept_invitation(session, resources.keyring, token, login, now)


def _safe_next(path: str) -> str:
    # Only paths of our own pages: never another host, whatever a link says.
    is_ours = path.startswith("/console/") and "//" not in path and "\\" not in path and path.isprintable() and len(path) <= 200
    return path if is_ours else HOME


def _with_language(request: Request[Any, Any, Any], page: Response[str]) -> Response[str]:
    if "lang" in request.query_params:
        page.set_cookie(Cookie(key=LANGUAGE_COOKIE, value=reader_language(request), path="/", samesite="lax", max_age=365 * 86_400))
    return page
