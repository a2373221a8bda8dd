"""Uploads under test: a server with real commits around a store, a phone that declares files, and raw tus requests."""

import base64
import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
from litestar import Litestar, Router
from litestar.di import Provide
from litestar.testing import TestClient
from sqlalchemy import select
from sqlalchemy.orm import Session, sessionmaker

from backend.core.settings import Settings
from backend.exhibits.model import ItemState, VisitFacts
from backend.exhibits.tables import ItemRow
from backend.exhibits.transfers import read_item
from backend.keys.keyring import Keyring
from backend.keys.sealing import sealer
from backend.web.app import Resources, log_origin, make_app
from backend.web.auth import phone_actor
from backend.web.transaction import attach_log
from evidence.facts import Kind
from evidence.manifest import Role
from evidence.store import BlobStore
from evidence.stores.file import FileStore
from mobile_api import manifests, uploads
from tests.support.exhibits import CAPTURE, Handset, item, open_case, signed_once, visit_facts
from tests.support.phones import phone_headers
from tests.support.world import Person, World, shared_keyring, world

KEYRING = shared_keyring()
TUS = {"Tus-Resumable": "1.0.0"}
PIECE = {**TUS, "Content-Type": "application/offset+octet-stream"}
PHOTO = b"\xff\xd8\xff" + bytes(range(256)) * 700       # 179 kB: three sealed records.


@dataclass
class Place:
    """A server with real commits, its store and its people."""

    app: Litestar
    client: TestClient[Litestar]
    sessions: sessionmaker[Session]
    resources: Resources
    made: World
    visit: VisitFacts
    bilal: Handset
    keyring: Keyring = field(default_factory=lambda: KEYRING)

    def post(self, raw: bytes, person: Person | None = None) -> Any:
        """Send a statement."""
        headers = phone_headers(self.keyring, person or self.made.bilal, "POST", "/mobile/v1/evidence-manifests", self.made.now)
        return self.client.post("/mobile/v1/evidence-manifests", content=raw, headers={**headers, "Content-Type": "application/jose+json"})

    def declare(self, content: bytes = PHOTO, media_type: str = "image/jpeg", role: Role = Role.PHOTO, **item_changes: Any) -> dict[str, Any]:
        """State one file and return the answer with what it says of the file."""
        captured = item(content, role, media_type, at=self.made.now - timedelta(minutes=5))
        items = (msgspec.structs.replace(captured, **item_changes),)
        raw = signed_once(self.bilal, self.bilal.payload(self.made, self.visit, Kind.CAPTURE, CAPTURE, items=items))
        answer = self.post(raw)
        assert answer.status_code == 201, answer.text
        body: dict[str, Any] = answer.json()
        return {**body, "raw": raw, **body["items"][0]}

    def receipt(self, manifest_id: str, person: Person | None = None) -> Any:
        """Ask for a receipt."""
        path = f"/mobile/v1/receipts/{manifest_id}"
        return self.client.get(path, headers=phone_headers(self.keyring, person or self.made.bilal, "GET", path, self.made.now))

    def patch(self, asked: dict[str, Any], offset: int, content: bytes, **headers: str) -> Any:
        """Send a piece."""
        sent = {**PIECE, **leave_of(asked), "Upload-Offset": str(offset), **headers}
        return self.client.patch(path_of(asked), content=content, headers=sent)

    def head(self, asked: dict[str, Any]) -> Any:
        """Ask for the offset."""
        return self.client.head(path_of(asked), headers={**TUS, **leave_of(asked)})

    def stored(self, asked: dict[str, Any]) -> bytes:
        """Return an item as the store and the keys give it back."""
        with self.sessions() as session:
            row = session.scalars(select(ItemRow).where(ItemRow.item_id == asked["itemId"])).one()
            assert row.state is ItemState.STORED
            assert row.blob_key is not None
            assert row.wrapped_key is not None
            key = sealer(session, self.keyring, row.seal_subject).unwrap_item_key(row.wrapped_key, row.sha256)
            return read_item(self.resources.store, self.resources.settings.tenant, row.blob_key, (key, row.sha256))


def make_place(
    sessions: sessionmaker[Session], folder: Path, now: datetime, store: BlobStore | None = None, keyring: Keyring | None = None, **changes: Any
) -> tuple[Litestar, Resources]:
    """Return an application of statements and uploads, and its resources."""
    keyring = keyring or KEYRING
    settings = Settings(**{"data_folder": folder, "key_folder": folder, "free_bytes_min": 0, "free_share_min": 0.0, **changes})
    attach_log(sessions, keyring, log_origin(settings))
    resources = Resources(
        settings=settings, sessions=sessions, reads=sessions, clock=lambda: now, keyring=keyring, queue=None,
        store=store or FileStore(settings.store_folder))
    signed_in = Router(path="/", dependencies={"actor": Provide(phone_actor, sync_to_thread=True)}, route_handlers=manifests.ROUTES)
    return make_app(resources, [signed_in, *uploads.ROUTES]), resources


@contextmanager
def place_of(
    sessions: sessionmaker[Session], folder: Path, now: datetime, store: BlobStore | None = None, keyring: Keyring | None = None, **changes: Any
) -> Iterator[Place]:
    """Run a server whose statements name a visit that was never planned: they are kept in doubt, and their files travel like any others."""
    keyring = keyring or KEYRING
    app, resources = make_place(sessions, folder, now, store, keyring, **changes)
    with sessions.begin() as session:
        made = world(session, keyring, now)
        visit = visit_facts(made, open_case(session, keyring, made))
    with TestClient(app) as client:
        yield Place(app, client, sessions, resources, made, visit, Handset(made.bilal), keyring)


def path_of(asked: dict[str, Any]) -> str:
    """Return the path of an item's upload."""
    return "/" + str(asked["uploadUrl"]).split("/", 3)[-1]


def leave_of(asked: dict[str, Any]) -> dict[str, str]:
    """Return the header that carries an item's upload token."""
    return {"Authorization": f"Bearer {asked['uploadToken']}"}


def b64(raw: bytes) -> str:
    """Return base64."""
    return base64.b64encode(raw).decode()


def checksum_of(content: bytes) -> str:
    """Return a piece's Upload-Checksum."""
    return f"sha256 {b64(hashlib.sha256(content).digest())}"
