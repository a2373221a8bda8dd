"""The transparency log as static files for anybody: its newest checkpoint and its tiles (C2SP tlog-checkpoint, tlog-tiles)."""

from litestar import MediaType, Response, get
from litestar.di import NamedDependency
from litestar.params import FromPath

from backend.audit import log, tiles
from backend.core.problems import NotFound
from backend.web.app import Resources

_FOR_EVER = {"Cache-Control": "public, max-age=31536000, immutable"}
_NOW = {"Cache-Control": "no-cache"}


@get("/verify/log/checkpoint", operation_id="readLogCheckpoint", sync_to_thread=True, tags=["verify"])
def read_log_checkpoint(resources: NamedDependency[Resources]) -> Response[str]:
    """Return the newest signed checkpoint."""
    with resources.reads() as session:
        checkpoint = log.newest_checkpoint(session)
    if checkpoint is None:
        raise NotFound
    return Response(checkpoint, media_type=MediaType.TEXT, headers=_NOW)


@get("/verify/log/tile/{tile:path}", operation_id="readLogTile", sync_to_thread=True, tags=["verify"])
def read_log_tile(tile: FromPath[str], resources: NamedDependency[Resources]) -> Response[bytes]:
    """Return one tile, `LEVEL/NUMBER` or `LEVEL/NUMBER.p/WIDTH`: 32 bytes per hash. Tiles never change."""
    asked = tiles.parse_path(tile)
    if asked is None:
        raise NotFound
    with resources.reads() as session:
        found = tiles.read(session, asked)
    if found is None:
        raise NotFound
    return Response(found, media_type="application/octet-stream", headers=_FOR_EVER)


OPEN_ROUTES = [read_log_checkpoint, read_log_tile]
