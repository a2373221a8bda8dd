"""Probes and metrics: alive, ready (database at our revision, keys, disk), Prometheus figures without personal data."""

import shutil
from typing import Any

import prometheus_client
import structlog
from litestar import MediaType, Response, get
from litestar.di import NamedDependency
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from backend.audit import log
from backend.db import upgrade
from backend.web.app import Resources
from backend.web.body import View

LOGGER = structlog.get_logger("fieldvisit")


class Alive(View, frozen=True):
    """The process answers."""

    status: str


class Ready(View, frozen=True):
    """Whether requests can be served, and which part says no."""

    status: str
    database: str
    revision: str
    disk: str


@get("/health/live", operation_id="healthLive", sync_to_thread=False, tags=["operators"])
def live() -> Alive:
    """Say that the process answers."""
    return Alive(status="live")


@get("/health/ready", operation_id="healthReady", sync_to_thread=True, tags=["operators"])
def ready(resources: NamedDependency[Resources]) -> Response[Ready]:
    """Say whether requests can be served: 200, or 503 with the part that says no."""
    database, revision = _database_state(resources)
    disk = "ok" if has_room(resources) else "full"
    is_ready = (database, revision, disk) == ("ok", "ok", "ok")
    answer = Ready(status="ready" if is_ready else "unready", database=database, revision=revision, disk=disk)
    return Response(answer, status_code=200 if is_ready else 503)


@get("/metrics", operation_id="metrics", sync_to_thread=True, media_type=MediaType.TEXT, tags=["operators"])
def metrics(resources: NamedDependency[Resources]) -> Response[bytes]:
    """Return Prometheus figures."""
    with resources.reads() as session:
        LOG_SIZE.set(log.size_of(session))
    return Response(prometheus_client.generate_latest(), media_type=prometheus_client.CONTENT_TYPE_LATEST)


LOG_SIZE = prometheus_client.Gauge("fieldvisit_log_entries", "Indexed entries of the transparency log")
ROUTES: list[Any] = [live, ready, metrics]


def has_room(resources: Resources) -> bool:
    """Tell whether uploads may still be taken: above both the share and the bytes that must stay free."""
    usage = shutil.disk_usage(resources.settings.data_folder)
    return usage.free >= resources.settings.free_bytes_min and usage.free >= usage.total * resources.settings.free_share_min


def _database_state(resources: Resources) -> tuple[str, str]:
    try:
        with resources.reads() as session:
            found = _revision(session)
    except SQLAlchemyError as error:
        LOGGER.warning("database away", error=type(error).__name__)
        return "away", "unknown"
    return "ok", "ok" if found == upgrade.head() else f"{found}, expected {upgrade.head()}"


def _revision(session: Session) -> str:
    return str(session.execute(text("SELECT version_num FROM alembic_version")).scalar_one_or_none())
