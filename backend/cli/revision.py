"""The version guard: a database older or newer than the code is not served."""

from backend.core.settings import Settings
from backend.db import upgrade


class WrongRevision(RuntimeError):
    """The database is older or newer than this code."""


def demand_revision(settings: Settings) -> None:
    """Refuse a database that is not at this code's revision.

    Raises:
        WrongRevision: with both revisions and what to do.
    """
    is_absent = settings.is_embedded and not (settings.data_folder / "fieldvisit.sqlite").exists()
    found, expected = None if is_absent else upgrade.current(settings.owner_url), upgrade.head()
    if found != expected:
        raise WrongRevision(f"the database is at revision {found or 'none'}, this code needs {expected}; run `fieldvisit db upgrade`")
