"""Shared HTTP plumbing: the application around whatever routers the composition root hands in."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import datetime
from email.utils import format_datetime

import msgspec
from litestar import Litestar
from litestar.datastructures import MutableScopeHeaders
from litestar.di import Provide
from litestar.types import ControllerRouterHandler, Message, Scope
from sqlalchemy.orm import Session, sessionmaker

from backend.core.clock import Clock
from backend.core.settings import Settings
from backend.jobs.queue import Queue
from backend.keys.keyring import Keyring
from backend.web.body import check_request
from backend.web.problems import EXCEPTION_HANDLERS
from evidence.store import BlobStore

# Pages run their own scripts and styles from files of ours and nothing else; images may be data URLs (QR codes, thumbnails).
CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; connect-src 'self'; "
    "form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)
SECURITY_HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
}


class Resources(msgspec.Struct, frozen=True, kw_only=True):
    """What the process holds once and passes down to every handler."""

    settings: Settings
    sessions: sessionmaker[Session]
    reads: sessionmaker[Session]
    clock: Clock
    keyring: Keyring
    store: BlobStore
    queue: Queue | None

    def with_queue(self, queue: Queue) -> "Resources":
        """Return the same resources with the queue that was made from them."""
        return msgspec.structs.replace(self, queue=queue)

    @property
    def origin(self) -> str:
        """The name of this deployment's transparency log."""
        return log_origin(self.settings)


def log_origin(settings: Settings) -> str:
    """Return the log's name: of the tenant alone, since a log outlives every address that it is served from."""
    return f"fieldvisit/{settings.tenant}"


def make_app(
    resources: Resources, routers: Sequence[ControllerRouterHandler], *,
    lifespan: Sequence[Callable[[Litestar], AbstractAsyncContextManager[None]]] = (),
) -> Litestar:
    """Make the ASGI application around `routers`. Documents of its operations are made by `backend.web.openapi`."""
    return Litestar(
        route_handlers=list(routers),
        dependencies=dependencies(resources),
        exception_handlers=EXCEPTION_HANDLERS,
        before_request=check_request,
        before_send=[_finish(resources.clock)],
        request_max_body_size=resources.settings.request_bytes_max,
        openapi_config=None,
        logging_config=None,
        lifespan=[_threads(resources.settings.threads), *lifespan],
    )


def dependencies(resources: Resources) -> dict[str, Provide]:
    """Return what every handler may ask for by name."""

    def now() -> datetime:
        return resources.clock()

    return {
        "resources": Provide(lambda: resources, sync_to_thread=False),
        "settings": Provide(lambda: resources.settings, sync_to_thread=False),
        "sessions": Provide(lambda: resources.sessions, sync_to_thread=False),
        "reads": Provide(lambda: resources.reads, sync_to_thread=False),
        "keyring": Provide(lambda: resources.keyring, sync_to_thread=False),
        "store": Provide(lambda: resources.store, sync_to_thread=False),
        "queue": Provide(lambda: resources.queue, sync_to_thread=False),
        "now": Provide(now, sync_to_thread=False),
    }


def _finish(clock: Clock) -> Callable[[Message, Scope], Awaitable[None]]:
    """Give every answer, refusals included, its security headers and the `Date` of the clock that proofs are judged by."""

    async def finish(message: Message, _scope: Scope) -> None:
        if message["type"] != "http.response.start":
            return
        headers = MutableScopeHeaders.from_message(message)
        for name, value in SECURITY_HEADERS.items():
            headers.setdefault(name, value)
        headers.setdefault("Cache-Control", "no-store")
        headers["Date"] = format_datetime(clock(), usegmt=True)

    return finish


def _threads(number: int) -> Callable[[Litestar], AbstractAsyncContextManager[None]]:
    @asynccontextmanager
    async def run(_app: Litestar) -> AsyncIterator[None]:
        # As many threads as the pool has connections: a handler never waits for a connection while it holds a thread.
        executor = ThreadPoolExecutor(max_workers=number, thread_name_prefix="handler")
        asyncio.get_running_loop().set_default_executor(executor)
        try:
            yield
        finally:
            executor.shutdown(wait=True)

    return run


