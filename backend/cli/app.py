"""Composition: settings → resources → one application with both transports."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import structlog
from litestar import Litestar
from litestar.static_files import create_static_files_router
from structlog.processors import ExceptionRenderer
from structlog.tracebacks import ExceptionDictTransformer
from structlog.typing import EventDict

import mobile_api.app as phones
from backend.cli.revision import demand_revision
from backend.cli.tasks import all_chores, all_tasks
from backend.console import app as console
from backend.core.clock import Clock, shifted_clock, system_clock
from backend.core.settings import Settings, read_settings
from backend.db.engine import make_engine, session_factory
from backend.exhibits.stores import open_store
from backend.jobs.given_up import GivenUp
from backend.jobs.threads import ThreadQueue
from backend.keys.folder import open_folder
from backend.keys.keyring import Keyring
from backend.web import health, openapi, pages
from backend.web.app import Resources, log_origin, make_app
from backend.web.transaction import attach_log

APP_ROLE = "fieldvisit_app"


def make_resources(settings: Settings, clock: Clock = system_clock) -> Resources:
    """Open database, keys and store, and hand the queue its tasks. Nothing runs yet.

    Raises:
        WrongRevision: the database is not at the revision of this code.
        KeyFolderError: the key folder cannot be opened.
    """
    demand_revision(settings)
    engine = make_engine(settings.url, pool_size=settings.threads + 4)
    sessions, reads = session_factory(engine), session_factory(engine, read_only=True)
    keyring = Keyring(open_folder(settings.key_folder, settings.key_passphrase_file))
    attach_log(sessions, keyring, log_origin(settings))
    resources = Resources(
        settings=settings, sessions=sessions, reads=reads, clock=clock, keyring=keyring, store=open_store(settings), queue=None,
    )
    if settings.jobs == "workers":
        from backend.jobs.workers import WorkerQueue

        return resources.with_queue(WorkerQueue(all_tasks(resources), sessions))
    return resources.with_queue(ThreadQueue(all_tasks(resources), chores=all_chores(resources), given_up=GivenUp(sessions, clock)))


def create_app(resources: Resources) -> Litestar:
    """Compose both transports around `resources`."""
    return make_app(
        resources,
        [
            *console.routers(), *phones.routers(), *health.ROUTES, *pages.ROUTES,
            openapi.route("/schema/openapi.json", "consoleSchema", console.TITLE, lambda: [*console.routers(), *health.ROUTES, *pages.ROUTES]),
            openapi.route("/mobile/schema/openapi.json", "phonesSchema", phones.TITLE, phones.routers),
            create_static_files_router(path="/assets", directories=[pages.ASSETS], include_in_schema=False),
        ],
        lifespan=[_queue(resources)],
    )


def application() -> Litestar:
    """Make the application of this process's environment: what the server's worker process calls."""
    configure_logs()
    settings = read_settings()
    return create_app(make_resources(settings, clock_of(settings)))


def clock_of(settings: Settings) -> Clock:
    """Return the system's clock, or the demo's."""
    return shifted_clock(settings.demo_clock_file) if settings.demo_clock_file is not None else system_clock


def configure_logs() -> None:
    """Write logs as one JSON object a line; they hold events, keys and request ids, never personal data."""
    structlog.configure(
        processors=[
            structlog.processors.add_log_level, structlog.processors.TimeStamper(fmt="iso", utc=True), _place_of_fault,
            structlog.processors.JSONRenderer(),
        ],
        logger_factory=structlog.WriteLoggerFactory(),
    )


_TRACEBACKS = ExceptionRenderer(ExceptionDictTransformer(show_locals=False))


def _place_of_fault(logger: Any, name: str, event: EventDict) -> EventDict:
    # Kinds and places only: local variables, messages and notes may hold what a debtor or a bank entrusted to us, psycopg's even whole rows.
    event = _TRACEBACKS(logger, name, event)
    for stack in event.get("exception", ()):
        stack["exc_value"], stack["exc_notes"], stack["exceptions"] = "", [], []
    return event


def _queue(resources: Resources) -> Callable[[Litestar], AbstractAsyncContextManager[None]]:
    @asynccontextmanager
    async def run(_app: Litestar) -> AsyncIterator[None]:
        queue: Any = resources.queue
        queue.start()
        try:
            yield
        finally:
            queue.stop()

    return run
