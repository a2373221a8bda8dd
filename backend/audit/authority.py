"""The time-stamping authority over HTTP (RFC 3161 §3.4): one configured address, one POST, within bounds of time and bytes."""

import time
from typing import Final

import httpx

from backend.audit.stamps import Asking, AuthorityUnavailable, read_pinned
from backend.core.settings import Settings, SettingsError
from evidence.time_stamps import RESPONSE_BYTES_MAX

TIMEOUT_S: Final = 20.0
REPLY: Final = "application/timestamp-reply"


class HttpAuthority:
    """Asks `url` and nobody else: no redirect is followed, no proxy is taken from the environment (SEC-01)."""

    def __init__(self, url: str, timeout_s: float = TIMEOUT_S) -> None:
        self._url, self._timeout_s = url, timeout_s

    def __call__(self, request: bytes) -> bytes:
        """Return the response to a DER request. Raises `AuthorityUnavailable`."""
        began, content = time.monotonic(), bytearray()
        headers = {"Content-Type": "application/timestamp-query", "Accept": REPLY}
        try:
            with (httpx.Client(timeout=self._timeout_s, follow_redirects=False, trust_env=False) as client,
                  client.stream("POST", self._url, content=request, headers=headers) as response):
                for piece in response.iter_bytes():
                    content += piece
                    if len(content) > RESPONSE_BYTES_MAX or time.monotonic() - began > self._timeout_s:
                        raise AuthorityUnavailable(f"{self._url}: the answer is too long, or drips")
        except httpx.HTTPError as error:
            raise AuthorityUnavailable(f"{self._url}: {type(error).__name__}") from error
        kind = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        if response.status_code != 200 or kind != REPLY:
            raise AuthorityUnavailable(f"{self._url}: status {response.status_code}, {kind or 'no'} content")
        return bytes(content)


def configured(settings: Settings) -> Asking:
    """Return whom to ask and whom to believe. Raises `SettingsError` where none is configured: by default nobody is asked."""
    if settings.tsa_url is None:
        raise SettingsError("FIELDVISIT_TSA_URL: not set, so nobody is asked for a time-stamp")
    return Asking(
        authority=HttpAuthority(settings.tsa_url), pinned=read_pinned(settings.tsa_certificates_file), policy=settings.tsa_policy,
        crl_file=settings.tsa_crl_file)
