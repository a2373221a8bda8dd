"""The transparency log for anybody: checkpoints and tiles (C2SP tlog-checkpoint, tlog-tiles), and the door for its witnesses."""

from datetime import datetime
from typing import Annotated, Final

from litestar import MediaType, Response, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, QueryParameter, RawBody
from litestar.types import ControllerRouterHandler

from backend.audit import log, stamps, tiles, witnesses
from backend.core.problems import MalformedRequest, NotFound
from backend.web.app import Resources
from backend.web.body import CONTENT_TYPES
from backend.web.transaction import transaction

COSIGNED_BYTES_MAX: Final = 100_000
_FOR_EVER = {"Cache-Control": "public, max-age=31536000, immutable"}
_NOW = {"Cache-Control": "no-cache"}


@get("/verify/log/checkpoint", operation_id="readLogCheckpoint", sync_to_thread=True, tags=["verify"])
def read_log_checkpoint(resources: NamedDependency[Resources]) -> Response[str]:
    """Return the newest signed checkpoint, with the cosignatures that it has."""
    with resources.reads() as session:
        checkpoint = log.newest_checkpoint(session)
        found = witnesses.published(session, checkpoint) if checkpoint is not None else None
    if found is None:
        raise NotFound
    return Response(found, media_type=MediaType.TEXT, headers=_NOW)


@get("/verify/log/witnessed", operation_id="readWitnessedCheckpoint", sync_to_thread=True, tags=["verify"])
def read_witnessed_checkpoint(resources: NamedDependency[Resources]) -> Response[str]:
    """Return the newest checkpoint that a witness has signed, with its cosignatures."""
    with resources.reads() as session:
        found = witnesses.newest_witnessed(session)
    if found is None:
        raise NotFound
    return Response(found, media_type=MediaType.TEXT, headers=_NOW)


@get("/verify/log/stamp", operation_id="readLogStamp", sync_to_thread=True, tags=["verify"])
def read_log_stamp(
    resources: NamedDependency[Resources], size: Annotated[int | None, QueryParameter(ge=1, le=2**53 - 1)] = None
) -> Response[stamps.StampView]:
    """Return a third party's time-stamp (RFC 3161) over the checkpoint of `size`, or the newest one, with that checkpoint.

    Decode `response` into a file, write `checkpoint` into another, and `openssl ts -verify -in … -data … -CAfile …` judges them.
    """
    with resources.reads() as session:
        found = stamps.find(session, size)
    if found is None:
        raise NotFound
    return Response(found, headers=_NOW)


@get("/verify/log/add-checkpoint", operation_id="askForWitness", sync_to_thread=True, tags=["verify"])
def ask_for_witness(
    resources: NamedDependency[Resources], old: Annotated[int, QueryParameter(ge=0, le=2**53 - 1)] = 0
) -> Response[str]:
    """Return what a witness judges: the newest checkpoint and the proof that it extends the size it last saw.

    The text is the body of a C2SP tlog-witness `add-checkpoint` request: `old SIZE`, hashes, a blank line, the checkpoint.
    """
    with resources.reads() as session:
        return Response(witnesses.request_from(session, old), media_type=MediaType.TEXT, headers=_NOW)


@post("/verify/log/cosignatures", operation_id="submitCosignature", status_code=200, sync_to_thread=True, tags=["verify"],
      opt={CONTENT_TYPES: frozenset({"text/plain"})}, request_max_body_size=COSIGNED_BYTES_MAX)
def submit_cosignature(
    body: RawBody, resources: NamedDependency[Resources], now: NamedDependency[datetime]
) -> witnesses.Cosigned:
    """Take a checkpoint with the cosignature line of one enrolled witness; the same again is answered alike."""
    try:
        signed = body.decode("utf-8")
    except UnicodeDecodeError:
        raise MalformedRequest(reason="the body is not UTF-8") from None
    with transaction(resources.sessions, None, now) as session:
        taken = witnesses.take(session, signed, resources.keyring.log_public_keys(), resources.origin, now)
    if isinstance(taken, witnesses.ForkShown):
        raise witnesses.LogForked(size=taken.size)          # After the commit: what was shown is kept.
    return taken


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


OPEN_ROUTES: list[ControllerRouterHandler] = [
    read_log_checkpoint, read_witnessed_checkpoint, read_log_stamp, ask_for_witness, submit_cosignature, read_log_tile]
