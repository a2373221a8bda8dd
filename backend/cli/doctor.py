"""`fieldvisit doctor`: looks at settings, database, keys, store, calendar and decoders, and says what is wrong and what to do."""

import importlib.util
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
from sqlalchemy.exc import SQLAlchemyError

from backend.core.clock import system_clock
from backend.core.settings import Settings
from backend.db import upgrade
from backend.db.engine import make_engine, session_factory
from backend.keys.folder import CREDENTIAL_NAME, open_folder
from backend.keys.model import KeyFolderError, KeyPurpose, KeyState


class Finding(msgspec.Struct, frozen=True):
    """One thing looked at. What is fatal keeps the server from serving; the rest is a note."""

    part: str
    text: str
    is_good: bool = True
    is_fatal: bool = True


def examine(settings: Settings) -> list[Finding]:
    """Look at everything; never raises for what it finds."""
    looks: tuple[Callable[[Settings], Iterator[Finding]], ...] = (_python, _settings, _keys, _database, _store, _calendar, _extras, _travel)
    return [finding for look in looks for finding in look(settings)]


def _python(_settings: Settings) -> Iterator[Finding]:
    yield Finding("python", f"{sys.version.split()[0]}", is_good=sys.version_info >= (3, 11))
    yield Finding("python", "assertions are on" if __debug__ else "run without -O: assertions guard the rules", is_good=__debug__)


def _settings(settings: Settings) -> Iterator[Finding]:
    is_secure = settings.public_url.startswith("https://") or "://127.0.0.1" in settings.public_url or "://localhost" in settings.public_url
    yield Finding("address", settings.public_url if is_secure else f"{settings.public_url}: phones need https outside this machine",
                  is_good=is_secure, is_fatal=False)
    if settings.is_demo:
        yield Finding("demo", "this is a demo: codes can be printed and the clock may be moved", is_good=False, is_fatal=False)


def _keys(settings: Settings) -> Iterator[Finding]:
    try:
        records = open_folder(settings.key_folder, settings.key_passphrase_file).records()
    except KeyFolderError as error:
        yield Finding("keys", str(error), is_good=False)
        return
    missing = sorted(set(KeyPurpose) - {record.purpose for record in records if record.state is KeyState.ACTIVE})
    yield Finding("keys", f"{len(records)} keys" if not missing else f"no active key for {', '.join(missing)}; run `fieldvisit keys init`",
                  is_good=not missing)
    if settings.key_passphrase_file is None:
        yield Finding("keys", f"the passphrase lies beside the keys in `{CREDENTIAL_NAME}`; name another medium by FIELDVISIT_KEY_PASSPHRASE_FILE",
                      is_good=False, is_fatal=False)
    if settings.data_folder.resolve() in settings.key_folder.resolve().parents:
        yield Finding("keys", "the key folder lies inside the data folder; keep them on different backups", is_good=False)


def _database(settings: Settings) -> Iterator[Finding]:
    if settings.is_embedded and not (settings.data_folder / "fieldvisit.sqlite").is_file():
        yield Finding("database", "none yet; run `fieldvisit db upgrade`", is_good=False)
        return
    try:
        found, expected = upgrade.current(settings.url), upgrade.head()
    except SQLAlchemyError as error:
        yield Finding("database", f"does not answer ({type(error).__name__})", is_good=False)
        return
    advice = "" if found == expected else f", this code needs {expected}; run `fieldvisit db upgrade`"
    yield Finding("database", f"revision {found}{advice}", is_good=found == expected)
    if found == expected:
        yield from _clock(settings)
        yield from _jobs(settings)


def _clock(settings: Settings) -> Iterator[Finding]:
    if settings.is_embedded:
        return
    from sqlalchemy import func, select

    engine = make_engine(settings.url, read_only=True, pool_size=1)
    try:
        with session_factory(engine, read_only=True)() as session:
            apart_s = abs((session.execute(select(func.clock_timestamp())).scalar_one() - system_clock()).total_seconds())
    finally:
        engine.dispose()
    yield Finding("clocks", f"database and server are {apart_s:.1f} s apart", is_good=apart_s < 1, is_fatal=apart_s > 5)


def _jobs(settings: Settings) -> Iterator[Finding]:
    """Show who works, and every job that is not tried any more."""
    from sqlalchemy import text

    from backend.jobs.given_up import given_up

    engine = make_engine(settings.url, read_only=True, pool_size=1)
    try:
        with session_factory(engine, read_only=True)() as session:
            left = given_up(session)
            alive = text("SELECT count(*) FROM procrastinate_workers WHERE last_heartbeat > now() - make_interval(secs => :stalled_s)")
            workers = None if settings.jobs == "threads" else session.execute(alive, {"stalled_s": settings.worker_stalled_s}).scalar_one()
    finally:
        engine.dispose()
    if workers is not None:
        yield Finding("workers", f"{workers} at work" if workers else "none at work; start `fieldvisit worker`", is_good=workers > 0, is_fatal=False)
    for job in left:
        told = f"{job.task} {job.subject_id} was given up after {job.attempts} attempts ({job.failure}) at {job.given_up_at:%Y-%m-%d %H:%M} UTC"
        yield Finding("jobs", f"{told}; mend the cause, then `fieldvisit retry-job {job.task} {job.subject_id}`", is_good=False, is_fatal=False)
    if not left:
        yield Finding("jobs", "none was given up")


def _store(settings: Settings) -> Iterator[Finding]:
    folder = _existing(settings.data_folder)
    usage = shutil.disk_usage(folder)
    has_room = usage.free >= settings.free_bytes_min and usage.free >= usage.total * settings.free_share_min
    yield Finding("disk", f"{usage.free / 1e9:.1f} GB free" if has_room else f"{usage.free / 1e9:.1f} GB free: uploads are refused", is_good=has_room)


def _existing(folder: Path) -> Path:
    folder = folder.absolute()
    while not folder.exists():
        folder = folder.parent
    return folder


def _calendar(_settings: Settings) -> Iterator[Finding]:
    import chinese_calendar

    last = max(day.year for day in chinese_calendar.holidays)
    year = system_clock().year
    yield Finding("calendar", f"public holidays known to the end of {last}" + ("" if last >= year else "; later days count Monday to Friday"),
                  is_good=last >= year, is_fatal=False)


def _travel(settings: Settings) -> Iterator[Finding]:
    """Look at the configured provider; its host is asked once, nobody else ever. An extract is not built here: that may take minutes."""
    from backend.plans.to_routing import GREAT_CIRCLE
    from backend.plans.travel import config_of
    from routing.travel import ProviderName, TravelError, open_provider
    from routing.travel.obtain import is_built

    config = config_of(settings)
    try:
        if config.provider in (ProviderName.ROADS, ProviderName.OSRM_FILE) and not is_built(config):
            yield Finding("travel", f"{config.provider.value}: {Path(config.file or '').name}: read by the first plan, then kept")
            return
        record = open_provider(config, GREAT_CIRCLE).record
    except TravelError as error:
        then = "great-circle times are used and every plan says so" if settings.travel_fallback.value == "great-circle" else "no plan can be made"
        yield Finding("travel", f"{error}; {then}", is_good=False, is_fatal=False)
        return
    yield Finding("travel", f"{record.provider}, {record.profile}: {record.data_set}")


def _extras(_settings: Settings) -> Iterator[Finding]:
    asked = [("av", "media", "recordings stand as not-examined"), ("numba", "fast", "plans are searched by OR-Tools alone"),
             ("osmium", "roads", "no travel times over an extract's roads")]
    if sys.version_info >= (3, 12):
        asked.append(("osrm", "osrm", "no travel times by OSRM's own library"))
    for module, extra, without in asked:
        is_there = importlib.util.find_spec(module) is not None
        yield Finding(f"extra {extra}", "installed" if is_there else f"not installed: {without}", is_good=is_there, is_fatal=False)
