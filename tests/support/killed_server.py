"""What runs inside the process that dies; imported by its fork server beforehand."""

import itertools
import os
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

from litestar import Litestar
from litestar.testing import TestClient
from sqlalchemy import event
from sqlalchemy.engine import make_url
from sqlalchemy.orm import Session, configure_mappers, sessionmaker

from backend.core.settings import Settings
from backend.db.engine import make_engine, session_factory
from backend.db.migrations.ddl import APP_ROLE
from backend.keys.folder import open_folder
from backend.keys.keyring import Keyring
from backend.web.app import Resources, log_origin, make_app
from backend.web.transaction import attach_log
from evidence.stores.file import FileStore
from mobile_api import uploads
from tests.support.killed import COMMIT_POINTS, KEY_FOLDER, LastPiece, die_at


def serve(piece: LastPiece) -> None:
    """Take one piece and die on the way."""
    with TestClient(server_of(piece)) as client:
        client.patch(piece.path, content=piece.content, headers=piece.headers)


def server_of(piece: LastPiece) -> Litestar:
    """Return an application that dies at the piece's point; nothing is opened or connected yet."""
    engine = make_engine(make_url(piece.url), pool_size=4, role=APP_ROLE if piece.kind == "postgresql" else None)
    sessions = session_factory(engine)
    keyring = keyring_of(str(piece.key_folder))
    settings = Settings(data_folder=piece.data_folder, key_folder=piece.key_folder, free_bytes_min=0, free_share_min=0.0)
    attach_log(sessions, keyring, log_origin(settings))
    hook: Any = die_at(piece.point, piece.visits)
    _watch_commits(sessions, hook)
    resources = Resources(
        settings=settings, sessions=sessions, reads=sessions, clock=lambda: piece.now, keyring=keyring, queue=None,
        store=FileStore(settings.store_folder, lambda point: hook(point)))
    return make_app(resources, uploads.ROUTES)


@cache
def keyring_of(folder: str) -> Keyring:
    """Open a key folder; slow by design."""
    return Keyring(open_folder(Path(folder), None))


def warm() -> None:
    """Do once in the fork server what each of its thousands of children would do again: open the keys, map the tables, read the handlers' types."""
    configure_mappers()
    folder = Path(os.environ[KEY_FOLDER])
    server_of(LastPiece(
        kind="sqlite", url=f"sqlite:///{folder}/never-opened.db", data_folder=folder, key_folder=folder, path="", headers={}, content=b"", point="",
        now=datetime.now(UTC)))


def _watch_commits(sessions: sessionmaker[Session], hook: Any) -> None:
    """Call the hook before and after each commit that wrote something: `row-…` for the upload's own, `receipt-…` for the receipt's, `log-…`."""
    written: dict[int, str] = {}
    numbers = itertools.count()

    @event.listens_for(sessions, "after_flush")
    def note(session: Session, _context: Any) -> None:
        names = {type(one).__name__ for one in (*session.new, *session.dirty)}
        written[id(session)] = "receipt" if "EvidenceReceiptRow" in names else written.get(id(session), "row")

    @event.listens_for(sessions, "before_commit")
    def before(session: Session) -> None:
        session.flush()
        if id(session) in written:
            next(numbers)
            hook(f"{written[id(session)]}-before-commit")

    @event.listens_for(sessions, "after_commit")
    def after(session: Session) -> None:
        if id(session) in written:
            hook(f"{written.pop(id(session))}-committed")

    assert COMMIT_POINTS


if KEY_FOLDER in os.environ:
    warm()
