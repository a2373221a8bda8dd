"""`fieldvisit db …` and `fieldvisit keys …`: what a deployment is made of before anyone signs in."""

from backend.audit.events import EventTag
from backend.audit.record import record
from backend.cli.app import clock_of
from backend.cli.people import opened
from backend.core.clock import system_clock
from backend.core.problems import Conflict
from backend.core.settings import Settings
from backend.db import upgrade
from backend.keys.folder import make_folder, open_folder
from backend.keys.keyring import Keyring
from backend.keys.model import KeyPurpose, KeyRecord
from backend.keys.sealing import rewrap
from backend.web.transaction import transaction


def upgrade_database(settings: Settings) -> tuple[str | None, str]:
    """Bring the database to this code's revision; returns the revisions before and after."""
    if settings.is_embedded:
        settings.data_folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        before = upgrade.current(settings.owner_url) if (settings.data_folder / "fieldvisit.sqlite").exists() else None
    else:
        before = upgrade.current(settings.owner_url)
    upgrade.upgrade(settings.owner_url)
    return before, upgrade.head()


def init_keys(settings: Settings) -> tuple[KeyRecord, ...]:
    """Make the key folder and whatever keys it lacks; returns all of them."""
    return make_folder(settings.key_folder, settings.key_passphrase_file, system_clock()).records()


def rotate_key(settings: Settings, purpose: KeyPurpose) -> KeyRecord:
    """Retire the active key of `purpose` and make a new one.

    Raises:
        Conflict: it is the search key, under which everything sealed is found again; there is no re-indexing.
    """
    if purpose is KeyPurpose.SEARCH:
        raise Conflict(reason="the search key stays: with another one, cases, debtors and repeats would not be found again")
    return Keyring(open_folder(settings.key_folder, settings.key_passphrase_file)).rotate(purpose, system_clock())


def rewrap_case_keys(settings: Settings) -> int:
    """Bring every case key under the active master key; returns how many moved. Can be stopped and run again."""
    moved, after = 0, None
    clock = clock_of(settings)
    with opened(settings) as (sessions, keyring):
        while True:
            with transaction(sessions, None, clock()) as session:
                count, after = rewrap(session, keyring, after)
                if count:
                    master = keyring.active(KeyPurpose.MASTER).kid
                    record(session, None, EventTag.KEYS_REWRAPPED, "keys:master", clock(), keys=count, kid=master)
            moved += count
            if after is None:
                return moved


def list_keys(settings: Settings) -> tuple[KeyRecord, ...]:
    """Return every key's record, oldest first."""
    return open_folder(settings.key_folder, settings.key_passphrase_file).records()
