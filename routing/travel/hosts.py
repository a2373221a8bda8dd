"""One configured host, asked over HTTP within bounds of time, tries and bytes. Alone imports httpx.

Nothing but the configured address is ever contacted: no redirect is followed, no proxy is taken from the environment (SEC-01).
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any

import httpx

from routing.travel.model import TravelConfig, TravelRefused, TravelUnavailable

ANSWER_BYTES_MAX = 64_000_000
CONNECT_S_MAX = 5.0
PAUSE_S = 0.2
TRY_AGAIN = frozenset({429, 500, 502, 503, 504})


class Host:
    """Asks one address; every answer is a JSON object with its status."""

    def __init__(self, config: TravelConfig, pause: Callable[[float], None] = time.sleep) -> None:
        assert config.url is not None
        self._base, self._config, self._pause = config.url.rstrip("/"), config, pause
        self._until = time.monotonic() + config.budget_s
        timeout = httpx.Timeout(config.timeout_s, connect=min(CONNECT_S_MAX, config.timeout_s))
        self._client = httpx.Client(timeout=timeout, follow_redirects=False, trust_env=False, headers={"Accept": "application/json"})

    def __enter__(self) -> Host:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._client.close()

    def ask(self, path: str, body: dict[str, Any] | None = None) -> tuple[int, dict[str, Any]]:
        """GET `path`, or POST `body` to it; returns status and object of an answer below 500.

        Raises:
            TravelUnavailable: no whole answer within the tries and the time.
            TravelRefused: an answer that is no JSON object, or too long, or leads elsewhere.
        """
        failure = ""
        for number in range(self._config.attempts_max):
            if number:
                self._pause(PAUSE_S * 2 ** (number - 1))
            left_s = self._until - time.monotonic()
            if left_s <= 0:
                raise TravelUnavailable(f"{self._base}: the whole table took longer than {self._config.budget_s:g} s")
            try:
                status, content = self._send(path, body, min(left_s, self._config.timeout_s))
            except httpx.TimeoutException:
                failure = f"no answer within {self._config.timeout_s:g} s"
                continue
            except httpx.TransportError as error:
                failure = f"{type(error).__name__}: {str(error)[:120]}"
                continue
            if status not in TRY_AGAIN:
                return status, self._object(status, content)
            failure = f"status {status}"
        raise TravelUnavailable(f"{self._base}: {failure}, after {self._config.attempts_max} tries")

    def _send(self, path: str, body: dict[str, Any] | None, whole_s: float) -> tuple[int, bytes]:
        """Read an answer piece by piece, since a host may drip it for ever within the timeout of one piece."""
        began, content = time.monotonic(), bytearray()
        request = self._client.build_request("GET" if body is None else "POST", f"{self._base}{path}", json=body)
        assert str(request.url).startswith(f"{self._base}/"), "only the configured host"
        response = self._client.send(request, stream=True)
        try:
            for piece in response.iter_bytes():
                content += piece
                if len(content) > ANSWER_BYTES_MAX:
                    raise TravelRefused(f"{self._base}: an answer of more than {ANSWER_BYTES_MAX} bytes")
                if time.monotonic() - began > whole_s:
                    raise httpx.ReadTimeout("the answer drips", request=request)
        finally:
            response.close()
        return response.status_code, bytes(content)

    def _object(self, status: int, content: bytes) -> dict[str, Any]:
        if 300 <= status < 400:
            raise TravelRefused(f"{self._base}: status {status} leads elsewhere, which is not followed")
        try:
            found = json.loads(content)
        except ValueError:
            found = None
        if not isinstance(found, dict):
            raise TravelRefused(f"{self._base}: status {status} without a JSON object; is this the service's address?")
        return found

    def refuse(self, status: int, said: object) -> TravelRefused:
        """Return a refusal with what the host said; it may quote coordinates, so only its letters are kept."""
        letters = "".join(one for one in str(said)[:160] if one.isalpha() or one in " -_")
        return TravelRefused(f"{self._base}: status {status}: {' '.join(letters.split())}")
