"""The application under test: both transports, or some routers of them, around a test's own sessions and clock."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from litestar import Router
from litestar.di import Provide
from litestar.testing import TestClient
from litestar.types import ControllerRouterHandler
from sqlalchemy.orm import Session, sessionmaker

from backend.core.settings import Settings
from backend.keys.keyring import Keyring
from backend.staff import logins
from backend.web.app import Resources, log_origin, make_app
from backend.web.transaction import attach_log
from evidence.stores.file import FileStore
from tests.support.phones import PUBLIC_URL
from tests.support.world import Person


class SteppedClock:
    """A clock that moves only when a test moves it."""

    def __init__(self, now: datetime) -> None:
        self.now = now

    def __call__(self) -> datetime:
        """Return the present instant."""
        return self.now

    def step(self, seconds: float) -> datetime:
        """Move on, and return the new present."""
        self.now += timedelta(seconds=seconds)
        return self.now


def make_resources(sessions: sessionmaker[Session], keyring: Keyring, folder: Path, clock: SteppedClock) -> Resources:
    """Return the process's resources around `sessions`; files go below `folder`, no task is run."""
    settings = Settings(data_folder=folder, key_folder=folder / "keys", public_url=PUBLIC_URL, threads=4, is_demo=True)
    attach_log(sessions, keyring, log_origin(settings))
    return Resources(
        settings=settings, sessions=sessions, reads=sessions, clock=clock, keyring=keyring, store=FileStore(folder / "evidence"), queue=None,
    )


def signed_in(dependency: Any, handlers: Sequence[ControllerRouterHandler]) -> Router:
    """Return a router whose handlers get their actor from `console_actor` or `phone_actor`."""
    return Router(path="/", dependencies={"actor": Provide(dependency, sync_to_thread=True)}, route_handlers=list(handlers))


def make_client(resources: Resources, routers: Sequence[ControllerRouterHandler]) -> TestClient[Any]:
    """Return a client of an application of just these routers; a fault of ours is raised into the test."""
    return TestClient(make_app(resources, routers), base_url=PUBLIC_URL, raise_server_exceptions=False)


def console_headers(session: Session, person: Person, now: datetime) -> dict[str, str]:
    """Open a console session for `person` and return its bearer header."""
    return {"Authorization": f"Bearer {logins.open_session(session, person.id, now).token}"}
