"""What runs inside the process that dies; imported by its fork server beforehand."""

from typing import Any

from litestar.testing import TestClient
from sqlalchemy.engine import make_url

from backend.core.settings import Settings
from backend.db.engine import make_engine, session_factory
from backend.db.migrations.ddl import APP_ROLE
from backend.keys.folder import open_folder
from backend.keys.keyring import Keyring
from backend.web.app import Resources, log_origin, make_app
from backend.web.transaction import attach_log
from evidence.stores.file import FileStore
from mobile_api import uploads
from tests.support.killed import LastPiece, die_at


def serve(piece: LastPiece) -> None:
    """Take one piece and die on the way."""
    engine = make_engine(make_url(piece.url), pool_size=4, role=APP_ROLE if piece.kind == "postgresql" else None)
    sessions = session_factory(engine)
    keyring = Keyring(open_folder(piece.key_folder, None))
    settings = Settings(data_folder=piece.data_folder, key_folder=piece.key_folder, free_bytes_min=0, free_share_min=0.0)
    attach_log(sessions, keyring, log_origin(settings))
    hook: Any = die_at(piece.point)
    resources = Resources(
        settings=settings, sessions=sessions, reads=sessions, clock=lambda: piece.now, keyring=keyring, queue=None,
        store=FileStore(settings.store_folder, hook))
    with TestClient(make_app(resources, uploads.ROUTES)) as client:
        client.patch(piece.path, content=piece.content, headers=piece.headers)
