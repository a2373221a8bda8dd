"""What runs inside the process that dies; imported by its fork server beforehand."""

import itertools
from functools import cache
from typing import Any

from litestar.testing import TestClient
from sqlalchemy import event
from sqlalchemy.engine import make_url
from sqlalchemy.orm import Session, sessionmaker

from backend.core.settings import Settings
from backend.db.engine import make_engine, session_factory
from backend.db.migrations.ddl import APP_ROLE
from backend.keys.folder import open_folder
from backend.keys.keyring import Keyring
from backend.web.app import Resources, log_origin, make_app
from backend.web.transaction import attach_log
from evidence.stores.file import FileStore
from mobile_api import uploads
from tests.support.killed import COMMIT_POINTS, LastPiece, die_at


def serve(piece: LastPiece) -> None:
    """Take one piece and die on the way."""
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
    with TestClient(make_app(resources, uploads.ROUTES)) as client:
        client.patch(piece.path, content=piece.content, headers=piece.headers)


@cache
def keyring_of(folder: str) -> Keyring:
    """Open a key folder; the fork server does it once, since deriving the wrapping key is slow by design."""
    from pathlib import Path

    return Keyring(open_folder(Path(folder), None))


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
