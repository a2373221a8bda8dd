"""Pages in a real browser that reaches no network: what it asks for is answered by the application of the test."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import pytest
from litestar.testing import TestClient

from backend.cli.app import create_app
from backend.web.app import Resources

HOST = "http://127.0.0.1:8000"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
NEEDS_CHROMIUM = [pytest.mark.browser, pytest.mark.skipif(CHROMIUM is None and os.environ.get("CI") != "true", reason="no Chromium on this machine")]
_HOP_BY_HOP = ("content-length", "content-encoding", "transfer-encoding")


@contextmanager
def chromium_running() -> Iterator[Any]:
    """Start Chromium; without playwright the test is skipped."""
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


class Browsing:
    """Windows of one browser on one application. `faults` collects what pages and consoles complained of."""

    def __init__(self, chromium: Any, client: TestClient[Any]) -> None:
        self.chromium, self.client = chromium, client
        self.faults: list[str] = []

    def window(self, token: str, *, language: str | None = None, at: datetime | None = None, **options: Any) -> Any:
        """Return an empty page of somebody signed in by a session token; `options` are those of a browser context, `at` sets the page's clock."""
        context = self.chromium.new_context(**options)
        cookies = {"session": token} | ({"language": language} if language else {})
        context.add_cookies([{"name": name, "value": value, "url": HOST} for name, value in cookies.items()])
        page = context.new_page()
        if at is not None:
            page.clock.set_fixed_time(at)
        page.on("pageerror", lambda error: self.faults.append(str(error)))
        page.on("console", lambda said: self.faults.append(said.text) if said.type == "error" else None)
        page.route("**/*", self._answer)
        return page

    def _answer(self, route: Any, request: Any) -> None:
        headers = {name: value for name, value in request.all_headers().items() if name not in ("host", "content-length")}
        told = self.client.request(request.method, request.url, headers=headers, content=request.post_data_buffer, follow_redirects=False)
        route.fulfill(
            status=told.status_code, headers={name: value for name, value in told.headers.items() if name not in _HOP_BY_HOP}, body=told.content)


@contextmanager
def browsing(chromium: Any, resources: Resources) -> Iterator[Browsing]:
    """Serve the whole application to a browser."""
    with TestClient(create_app(resources), base_url=HOST, raise_server_exceptions=True) as client:
        yield Browsing(chromium, client)
