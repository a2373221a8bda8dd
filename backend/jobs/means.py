"""What work outside requests is given."""

from typing import Protocol

from sqlalchemy.orm import Session, sessionmaker

from backend.core.clock import Clock
from backend.core.settings import Settings
from backend.keys.keyring import Keyring
from evidence.store import BlobStore


class Means(Protocol):
    """Database, clock, keys and store of this process; `backend.web.app.Resources` has them."""

    @property
    def sessions(self) -> sessionmaker[Session]: ...
    @property
    def clock(self) -> Clock: ...
    @property
    def keyring(self) -> Keyring: ...
    @property
    def store(self) -> BlobStore: ...
    @property
    def origin(self) -> str: ...
    @property
    def settings(self) -> Settings: ...
