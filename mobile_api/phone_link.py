"""How the reference phone speaks HTTP: enrolment, private-key login, a fresh proof of possession with every call.

RFC 9449 (DPoP) and RFC 7523 (private-key JWT) with the phone's own P-256 key, which never leaves it.
"""

import hashlib
import secrets
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

import httpx

from evidence.canonical import JsonObject, b64u_encode, canonicalise
from evidence.es256 import compact_sign, sign_bytes
from evidence.keys import PrivateKey, public_jwk, thumbprint

ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
_RENEW_BEFORE_S = 60
_RETRIES = 1


class Offline(Exception):
    """No answer came: nothing may be believed sent. Keep it and try again."""


class Refused(Exception):
    """The server understood and declined; `problem` is its RFC 9457 document."""

    def __init__(self, status: int, problem: Mapping[str, Any]) -> None:
        super().__init__(f"{status} {problem.get('type')}: {problem.get('title')} {problem.get('breaches') or problem.get('details') or ''}")
        self.status = status
        self.problem = dict(problem)

    @property
    def name(self) -> str:
        """The last part of the problem's type."""
        return str(self.problem.get("type", "")).rsplit("/", 1)[-1]

    @property
    def rules(self) -> set[str]:
        """The ids of the rules broken."""
        return {str(breach["rule"]) for breach in self.problem.get("breaches", [])}

    @property
    def is_final(self) -> bool:
        """Whether sending the same again cannot succeed later by itself."""
        return is_final(self.status, self.problem)


def is_final(status: int, problem: Mapping[str, Any]) -> bool:
    """Tell whether a refusal stays one: what is still in progress, locked, rate-limited or a fault of the server's is sent again later."""
    is_in_progress = str(problem.get("type", "")).endswith("/in-progress")
    return status < 500 and status not in (408, 423, 425, 429) and not is_in_progress


class Link:
    """The signed-in connection of one phone. One thread at a time."""

    def __init__(self, http: httpx.Client, public_url: str, key: PrivateKey, clock: Callable[[], datetime]) -> None:
        self.http = http
        self.public_url = public_url
        self.key = key
        self.kid = thumbprint(key)
        self._clock = clock
        self._skew = timedelta(0)
        self._token: str | None = None
        self._token_until: datetime | None = None

    def take_key(self, key: PrivateKey) -> None:
        """Speak with another key from now on; what was signed in with the former one is over."""
        self.key, self.kid, self._token, self._token_until = key, thumbprint(key), None, None

    def now(self) -> datetime:
        """Return the phone's clock corrected by what the server's answers told."""
        return self._clock() + self._skew

    def call(
        self, method: str, path: str, *, json: Any = None, content: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> httpx.Response:
        """Send one signed-in request and return its 2xx answer.

        Raises:
            Offline: no answer came.
            Refused: any other answer.
        """
        for attempt in range(_RETRIES + 1):
            token = self._access_token()
            sent = {"Authorization": f"DPoP {token}", "DPoP": self._proof(method, path, token), **(headers or {})}
            answer = self.send(method, path, json=json, content=content, headers=sent)
            if answer.status_code == 401 and attempt < _RETRIES:
                self._learn_time(answer)
                self._token = None
                continue
            break
        return _accepted(answer)

    def send(self, method: str, path: str, **request: Any) -> httpx.Response:
        """Send a request as it is.

        Raises:
            Offline: no answer came.
        """
        try:
            return self.http.request(method, self.public_url + path if self.http.base_url == httpx.URL("") else path, **request)
        except httpx.TransportError as error:
            raise Offline(str(error)) from error

    def post_open(self, path: str, document: Any) -> dict[str, Any]:
        """Post JSON to a route that needs no token. Raises Offline, Refused."""
        body: dict[str, Any] = _accepted(self.send("POST", path, json=document)).json()
        return body

    def _access_token(self) -> str:
        if self._token is not None and self._token_until is not None and self.now() < self._token_until:
            return self._token
        path = "/mobile/v1/token"
        for attempt in range(_RETRIES + 1):
            form = {
                "grantType": "client_credentials", "clientAssertionType": ASSERTION_TYPE, "clientAssertion": self._assertion(path),
            }
            answer = self.send("POST", path, json=form, headers={"DPoP": self._proof("POST", path)})
            if answer.status_code == 401 and attempt < _RETRIES:
                self._learn_time(answer)
                continue
            break
        granted = _accepted(answer).json()
        self._token = str(granted["accessToken"])
        self._token_until = self.now() + timedelta(seconds=int(granted["expiresInS"]) - _RENEW_BEFORE_S)
        return self._token

    def _assertion(self, path: str) -> str:
        issued_s = int(self.now().timestamp())
        claims: JsonObject = {
            "iss": self.kid, "sub": self.kid, "aud": self.public_url + path, "iat": issued_s, "exp": issued_s + 120, "jti": secrets.token_urlsafe(18),
        }
        return compact_sign(claims, self.key, typ="client-authentication+jwt", kid=self.kid)

    def _proof(self, method: str, path: str, token: str | None = None) -> str:
        header = {"alg": "ES256", "jwk": public_jwk(self.key), "typ": "dpop+jwt"}
        claims: dict[str, Any] = {
            "htm": method, "htu": self.public_url + path.partition("?")[0], "iat": int(self.now().timestamp()), "jti": secrets.token_urlsafe(18),
        }
        if token is not None:
            claims["ath"] = b64u_encode(hashlib.sha256(token.encode()).digest())
        signing_input = f"{b64u_encode(canonicalise(header))}.{b64u_encode(canonicalise(claims))}"  # type: ignore[arg-type]
        return f"{signing_input}.{b64u_encode(sign_bytes(signing_input.encode(), self.key))}"

    def _learn_time(self, answer: httpx.Response) -> None:
        """Take over the server's `Date`, so that a phone whose clock is off can sign in; evidence keeps all its clocks."""
        sent = answer.headers.get("date")
        if sent:
            self._skew = parsedate_to_datetime(sent) - self._clock()


def _accepted(answer: httpx.Response) -> httpx.Response:
    if answer.is_success:
        return answer
    try:
        problem = answer.json()
    except ValueError:
        problem = {"type": "about:blank", "title": answer.reason_phrase}
    raise Refused(answer.status_code, problem)
