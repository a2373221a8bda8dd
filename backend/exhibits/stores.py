"""Which store the settings name: the local folder, or an S3 bucket."""

from typing import Any
from urllib.parse import urlsplit

from sqlalchemy import Engine
from sqlalchemy.orm import Session, sessionmaker

from backend.core.settings import PREFIX, Settings, SettingsError
from backend.exhibits.locks import AdvisoryLocks, FolderLocks, Locks
from evidence.store import BlobStore
from evidence.stores.file import FileStore


def open_store(settings: Settings) -> BlobStore:
    """Open the evidence store. Nothing is asked of a bucket yet.

    Raises:
        SettingsError: the credentials file cannot be read, or the extra `s3` is not installed.
    """
    if settings.store_url is None:
        return FileStore(settings.store_folder)
    try:
        from obstore.store import S3Store as Bucket

        from evidence.stores.s3 import S3Store
    except ImportError:
        raise SettingsError(f"{PREFIX}STORE_URL: install the extra s3 to keep evidence in a bucket") from None
    parts = urlsplit(settings.store_url)
    endpoint: dict[str, Any] = {} if settings.store_endpoint is None else {"endpoint": settings.store_endpoint}
    return S3Store(Bucket(
        parts.netloc, prefix=parts.path.strip("/") or None, region=settings.store_region, checksum_algorithm="SHA256", **endpoint,
        **_credentials(settings), client_options={"allow_http": (settings.store_endpoint or "").startswith("http://"), "timeout": "60s"},
        retry_config={"max_retries": 3},
    ))


def locks_for(settings: Settings, sessions: sessionmaker[Session]) -> Locks:
    """Return the upload locks that all processes of this store share.

    Machines that share a bucket share a PostgreSQL; a local store, and the one process of the embedded database, use files.
    """
    if settings.store_url is None or settings.is_embedded:
        return FolderLocks(settings.data_folder / "locks")
    engine = sessions.kw["bind"]
    assert isinstance(engine, Engine)
    return AdvisoryLocks(engine)


def _credentials(settings: Settings) -> dict[str, Any]:
    """Return the key of the file, or nothing: then the machine's own role is asked."""
    if settings.store_credentials_file is None:
        return {}
    try:
        lines = settings.store_credentials_file.read_text(encoding="ascii").split()
    except (OSError, UnicodeDecodeError):
        raise SettingsError(f"{PREFIX}STORE_CREDENTIALS_FILE: cannot be read") from None
    if len(lines) != 2:
        raise SettingsError(f"{PREFIX}STORE_CREDENTIALS_FILE: expected two lines, access key id and secret")
    if settings.store_credentials_file.stat().st_mode & 0o077:
        raise SettingsError(f"{PREFIX}STORE_CREDENTIALS_FILE: readable by others; run chmod 600 on it")
    return {"access_key_id": lines[0], "secret_access_key": lines[1]}
