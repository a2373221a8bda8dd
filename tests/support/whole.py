"""The whole application, both transports, around one world: its route table, and requests that leave nothing behind."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import msgspec
from litestar import Litestar
from litestar.handlers import HTTPRouteHandler
from litestar.routes import HTTPRoute
from litestar.testing import TestClient
from sqlalchemy import Connection
from sqlalchemy.orm import Session, sessionmaker

from backend.cli.app import create_app
from backend.keys.keyring import Keyring
from backend.staff import logins
from backend.web.app import Resources
from tests.support.belongings import belongings, everyone
from tests.support.engines import AnyEngine, joined_sessions, rolled_back
from tests.support.http import SteppedClock, make_resources
from tests.support.phones import PUBLIC_URL, phone_headers
from tests.support.world import FRIDAY, Person, World, shared_keyring, world


class IdleQueue:
    """A queue whose jobs nobody does."""

    def put(self, task: str, subject_id: UUID) -> None:
        """Forget the job."""

    def put_within(self, session: Session, task: str, subject_id: UUID) -> None:
        """Forget the job."""

    def start(self) -> None:
        """Begin nothing."""

    def stop(self) -> None:
        """End nothing."""


@dataclass(frozen=True)
class Route:
    """One operation of the application."""

    operation_id: str
    method: str
    path: str
    handler: HTTPRouteHandler

    @property
    def parameters(self) -> tuple[tuple[str, str], ...]:
        """The path's parameters: name and type."""
        return tuple(re.findall(r"\{(\w+):(\w+)\}", self.path))

    @property
    def is_phone(self) -> bool:
        """Whether phones call it."""
        return self.path.startswith("/mobile/")

    def address(self, values: dict[str, str]) -> str:
        """Return the path with every parameter filled in."""
        return re.sub(r"\{(\w+):\w+\}", lambda found: values[found[1]], self.path)


@dataclass
class Whole:
    """A running application with its people and one thing of every kind."""

    client: TestClient[Litestar]
    connection: Connection
    sessions: sessionmaker[Session]
    keyring: Keyring
    clock: SteppedClock
    made: World
    people: tuple[Person, ...]
    things: dict[str, str]
    routes: tuple[Route, ...]
    tokens: dict[str, logins.SessionOpened] = field(default_factory=dict)
    sent: int = 0

    def headers(self, person: Person | None, route: Route) -> dict[str, str]:
        """Return what authenticates a person on a route: their session at the console, their phone on the road."""
        if person is None:
            return {}
        if route.is_phone:
            return phone_headers(self.keyring, person, route.method, route.address(self.things), self.clock.now)
        return {"Authorization": f"Bearer {self.session_of(person).token}"}

    def session_of(self, person: Person) -> logins.SessionOpened:
        """Return the person's console session."""
        if person.name not in self.tokens:
            with self.sessions.begin() as session:
                self.tokens[person.name] = logins.open_session(session, person.id, self.clock.now)
        return self.tokens[person.name]

    def send(self, method: str, url: str, **request: Any) -> httpx.Response:
        """Send one request and take back whatever it wrote."""
        self.sent += 1
        undone = self.connection.begin_nested()
        try:
            return self.client.request(method, url, follow_redirects=False, **request)
        finally:
            undone.rollback()


def routes_of(app: Litestar) -> tuple[Route, ...]:
    """Return every operation that has a name: the framework's own OPTIONS and the assets have none."""
    found = [
        Route(handler.operation_id, method, route.path, handler)
        for route in app.routes if isinstance(route, HTTPRoute) for handler in route.route_handlers if isinstance(handler.operation_id, str)
        for method in sorted(handler.http_methods)
    ]
    return tuple(sorted(found, key=lambda route: (route.path, route.method)))


@contextmanager
def whole_application(database: AnyEngine, folder: Path) -> Iterator[Whole]:
    """Run the whole application on a database of its own, inside one transaction that is rolled back at the end."""
    keyring, clock = shared_keyring(), SteppedClock(FRIDAY)
    with database.clone() as clone:
        engine = clone.engine()
        with rolled_back(engine) as connection:
            sessions = joined_sessions(connection)
            with sessions.begin() as session:
                made = world(session, keyring, FRIDAY)
            resources = _roomy(make_resources(sessions, keyring, folder, clock)).with_queue(IdleQueue())
            with sessions.begin() as session:
                people = everyone(session, resources, made)
            things = belongings(sessions, resources, made)
            app = create_app(resources)
            with TestClient(app, base_url=PUBLIC_URL, raise_server_exceptions=False) as client:
                yield Whole(client, connection, sessions, keyring, clock, made, people, things, routes_of(app))
        engine.dispose()


def _roomy(resources: Resources) -> Resources:
    return msgspec.structs.replace(resources, settings=msgspec.structs.replace(resources.settings, free_bytes_min=0, free_share_min=0.0))
