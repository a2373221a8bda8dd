"""The console's clients of the demo: people of the agency and of the banks, each signed in with password and TOTP."""

import secrets
from collections.abc import Callable
from datetime import datetime
from typing import Any

import httpx
import pyotp

from evidence.es256 import compact_sign
from evidence.keys import PrivateKey, generate_key, public_jwk, thumbprint
from mobile_api.phone_link import Offline, Refused

Json = dict[str, Any]


class Desk:
    """One signed-in person at the console's JSON API."""

    def __init__(self, http: httpx.Client, base_url: str, clock: Callable[[], datetime]) -> None:
        self._http = http
        self._base_url = base_url
        self._clock = clock
        self._headers: dict[str, str] = {}
        self.username = ""
        self.password = ""
        self.totp_secret = ""
        self._step_last = 0

    def sign_in(self, username: str, password: str, totp_secret: str) -> None:
        """Open a session. A TOTP code serves once, so a second sign-in within its half minute takes the next one."""
        self.username, self.password, self.totp_secret = username, password, totp_secret
        step = max(int(self._clock().timestamp()) // 30, self._step_last + 1)
        self._step_last = step
        code = pyotp.TOTP(totp_secret).generate_otp(step)
        opened = self.post("/api/v1/login", {"username": username, "password": password, "totp": code})
        self._headers = {"Authorization": f"Bearer {opened['token']}"}

    def again(self) -> None:
        """Open a new session when the day has let the old one grow too old."""
        self._headers = {}
        self.sign_in(self.username, self.password, self.totp_secret)

    def get(self, path: str, **query: Any) -> Any:
        """Read JSON. Raises Refused, Offline."""
        return self.send("GET", path, params={name: value for name, value in query.items() if value is not None}).json()

    def post(self, path: str, document: Any = None) -> Any:
        """Write JSON and return the answer, None when there is none. Raises Refused, Offline."""
        answer = self.send("POST", path, json=document)
        return answer.json() if answer.content else None

    def put(self, path: str, document: Any) -> Any:
        """Replace JSON and return the answer. Raises Refused, Offline."""
        answer = self.send("PUT", path, json=document)
        return answer.json() if answer.content else None

    def download(self, path: str, **query: Any) -> bytes:
        """Read bytes. Raises Refused, Offline."""
        return self.send("GET", path, params=query).content

    def send(self, method: str, path: str, **request: Any) -> httpx.Response:
        """Send one request and return its 2xx answer; sign in anew when the hours let the session grow old. Raises Refused, Offline."""
        own = request.pop("headers", {})
        answer = self._send_once(method, path, own, request)
        if answer.status_code == 401 and self._headers:
            self.again()
            answer = self._send_once(method, path, own, request)
        if not answer.is_success:
            try:
                problem = answer.json()
            except ValueError:
                problem = {"type": "about:blank", "title": answer.reason_phrase}
            raise Refused(answer.status_code, problem)
        return answer

    def _send_once(self, method: str, path: str, own: Json, request: Json) -> httpx.Response:
        try:
            return self._http.request(method, self._base_url + path, headers={**self._headers, **own}, **request)
        except httpx.TransportError as error:
            raise Offline(str(error)) from error


class BankSystem:
    """A bank's own signing key, as its authoriser's browser or system would hold it. The server never sees the private part."""

    def __init__(self) -> None:
        self._key: PrivateKey = generate_key()
        self.kid = thumbprint(self._key)

    @property
    def jwk(self) -> dict[str, str]:
        """The public key to be enrolled."""
        return public_jwk(self._key)

    def prove(self, statement: Json) -> str:
        """Sign the statement with which the bank's authoriser enrols the key."""
        return compact_sign(statement, self._key, typ="bank-key-enrolment+jws", kid=self.kid)

    def sign(self, claims: Json) -> str:
        """Sign a cash authorisation."""
        return compact_sign(claims, self._key, typ="cash-authorisation+jwt", kid=self.kid)


def new_password() -> str:
    """Return a password nobody has to remember."""
    return secrets.token_urlsafe(18)
