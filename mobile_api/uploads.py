"""tus 1.0 for phones and stock clients: OPTIONS, POST, HEAD, PATCH, DELETE under an upload token.

PATCH is the house's one async handler: it reads the stream, hands batches to a thread (`mobile_api.intake`), and opens short
transactions in threads before and after. A client that goes away is a cut: what came is kept and acknowledged by the next HEAD.
"""

from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from typing import Any
from uuid import UUID

import anyio
import anyio.to_thread
import msgspec
from litestar import HttpMethod, Request, Response, Router, delete, head, patch, post, route
from litestar.di import NamedDependency
from litestar.params import FromPath

from backend.core.problems import Problem, Unauthenticated
from backend.exhibits import receipts, uploads
from backend.exhibits.locks import HeldLock
from backend.exhibits.model import UploadState
from backend.exhibits.refusals import refusing
from backend.exhibits.stores import locks_for
from backend.exhibits.tasks import EXAMINE
from backend.exhibits.transfers import Desk, OpenPiece, settle_whole
from backend.exhibits.uploads import LIMITS, Completed, Leave, Transfer
from backend.web.app import Resources
from backend.web.body import CONTENT_TYPES
from backend.web.transaction import transaction
from evidence.uploads import (
    TUS_VERSION,
    Piece,
    UploadLimits,
    demand_present,
    demand_version,
    option_headers,
    read_creation,
    read_piece,
    state_headers,
)
from evidence.uploads import UploadState as Progress
from mobile_api.intake import BATCH_BYTES, receive

PATH = "/mobile/v1/uploads"
ROOM = "room"          # Key of the application's state under which its desk is kept.


def desk_of(request: Request[Any, Any, Any], resources: Resources) -> Desk:
    """Return this process's one desk."""
    state = request.app.state
    if ROOM not in state:
        state[ROOM] = Desk(resources.store, resources.settings, locks_for(resources.settings, resources.sessions))
    desk: Desk = state[ROOM]
    return desk


def limits_of(resources: Resources) -> UploadLimits:
    """Return the bounds of this deployment."""
    return msgspec.structs.replace(LIMITS, day_bytes_max=resources.settings.upload_day_bytes_max)


@route(PATH, http_method=[HttpMethod.OPTIONS], operation_id="describeUploads", status_code=204, sync_to_thread=False, tags=["uploads"])
def describe() -> Response[None]:
    """Tell what of tus 1.0 is spoken."""
    return Response(None, status_code=204, headers=option_headers(LIMITS))


@post(PATH, operation_id="createUpload", sync_to_thread=True, opt={CONTENT_TYPES: {"*"}}, tags=["uploads"])
def create(request: Request[Any, Any, Any], resources: NamedDependency[Resources], now: NamedDependency[datetime]) -> Response[None]:
    """Open an upload for the item of the token. `Upload-Length` is the signed size; 201 with its address."""
    with refusing():
        demand_version(request.headers)
        creation = read_creation(request.headers)
    leave = _leave(resources, request.headers, now)
    with transaction(resources.sessions, leave.actor, now) as session:
        desk = desk_of(request, resources)
        transfer = uploads.create(session, leave, creation, resources.keyring, now, desk.is_untouched, limits_of(resources))
        if transfer.state is UploadState.OPEN:
            desk.demand_room(transfer.length)
    offset = transfer.length if transfer.state is UploadState.FINISHED else 0
    headers = state_headers(Progress(length=transfer.length, offset=offset, expires_at=transfer.expires_at))
    return Response(None, status_code=201, headers={**headers, "Location": f"{resources.settings.public_url}{PATH}/{transfer.id}"})


@head(PATH + "/{upload_id:uuid}", operation_id="readUploadOffset", sync_to_thread=True, tags=["uploads"])
def offset(
    request: Request[Any, Any, Any], upload_id: FromPath[UUID], resources: NamedDependency[Resources], now: NamedDependency[datetime]
) -> Response[None]:
    """Tell how many bytes are durable. Whoever still writes is asked to let go first, so the answer stays true."""
    with refusing():
        demand_version(request.headers)
    leave, transfer = _transfer(resources, request.headers, upload_id, now)
    desk = desk_of(request, resources)
    lock, is_over = desk.acquire(upload_id), False
    try:
        progress = desk.progress(transfer)
        with refusing():
            demand_present(progress, now)
        if transfer.state is UploadState.OPEN and progress.offset == progress.length:
            _complete(resources, desk, (leave, transfer), now)       # A crash came between the last byte and its row.
        is_over = progress.offset == progress.length
    finally:
        lock.release(forever=is_over)
    return Response(None, status_code=200, headers=state_headers(progress))


@delete(
    PATH + "/{upload_id:uuid}", operation_id="terminateUpload", sync_to_thread=True, status_code=204, opt={CONTENT_TYPES: {"*"}}, tags=["uploads"],
)
def terminate(
    request: Request[Any, Any, Any], upload_id: FromPath[UUID], resources: NamedDependency[Resources], now: NamedDependency[datetime]
) -> Response[None]:
    """Give up an unfinished upload. The item stays needed."""
    with refusing():
        demand_version(request.headers)
    leave, transfer = _transfer(resources, request.headers, upload_id, now)
    desk = desk_of(request, resources)
    lock = desk.acquire(upload_id)
    try:
        with transaction(resources.sessions, leave.actor, now) as session:
            uploads.terminate(session, transfer)
        desk.forget(upload_id)
        desk.store.delete_part(transfer.part)
    finally:
        lock.release(forever=True)
    return Response(None, status_code=204, headers={"Tus-Resumable": TUS_VERSION})


@patch(
    PATH + "/{upload_id:uuid}", operation_id="sendUploadPiece", status_code=204, opt={CONTENT_TYPES: {"*"}}, tags=["uploads"],
    request_max_body_size=LIMITS.video_bytes_max,
)
async def send_piece(
    request: Request[Any, Any, Any], upload_id: FromPath[UUID], resources: NamedDependency[Resources], now: NamedDependency[datetime]
) -> Response[None]:
    """Append bytes at `Upload-Offset`. Answered only after they are durable; the last byte also brings the item to rest."""
    with refusing():
        demand_version(request.headers)
        piece = read_piece(request.headers)
    opened = await anyio.to_thread.run_sync(_open, request, resources, (upload_id, piece), now)
    try:
        is_whole = await receive(request, opened.piece.take, opened.lock, upload_id)
        with anyio.CancelScope(shield=True):
            progress = await anyio.to_thread.run_sync(_close, resources, opened, is_whole, now)
    except anyio.get_cancelled_exc_class():
        with anyio.CancelScope(shield=True), suppress(Problem):
            await anyio.to_thread.run_sync(_close, resources, opened, False, now)  # noqa: FBT003
        raise
    except BaseException:
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(opened.abandon)
        raise
    finally:
        opened.lock.release(forever=opened.is_over)
    return Response(None, status_code=204, headers=state_headers(progress))


ROUTES = [Router(path="/", route_handlers=[describe, create, offset, terminate, send_piece])]


class _Opened:
    """One PATCH in hand."""

    def __init__(self, desk: Desk, lock: HeldLock, granted: tuple[Leave, Transfer], piece: OpenPiece) -> None:
        self.desk, self.lock, self.piece = desk, lock, piece
        self.leave, self.transfer = granted
        self.is_closed = False
        self.is_over = False             # Everything is here and recorded: nobody writes to it again.

    def abandon(self) -> None:
        """Cut off what was taken, unless it was settled."""
        if not self.is_closed:
            self.is_closed = True
            self.piece.abandon()


def _open(request: Request[Any, Any, Any], resources: Resources, wanted: tuple[UUID, Piece], now: datetime) -> _Opened:
    upload_id, piece = wanted
    desk = desk_of(request, resources)
    with resources.reads() as session:
        leave, transfer = uploads.granted(session, _token(request.headers), upload_id, resources.keyring, now)
        uploads.demand_day(session, transfer, limits_of(resources), now)
    desk.demand_room(piece.length or BATCH_BYTES)
    lock = desk.acquire(upload_id)
    try:
        return _Opened(desk, lock, (leave, transfer), OpenPiece(desk, transfer, piece, now))
    except BaseException:
        lock.release()
        raise


def _close(resources: Resources, opened: _Opened, is_whole: bool, now: datetime) -> Progress:  # noqa: FBT001 - run_sync passes by position
    opened.is_closed = True
    transfer = opened.transfer
    offset = opened.piece.close(is_whole=is_whole)
    if offset == transfer.length and transfer.state is UploadState.OPEN:
        _complete(resources, opened.desk, (opened.leave, transfer), now)
        opened.is_over = True
    return Progress(length=transfer.length, offset=offset, expires_at=transfer.expires_at)


def _complete(resources: Resources, desk: Desk, granted: tuple[Leave, Transfer], now: datetime) -> None:
    """Bring a whole upload to rest: the file first, then the row, then what follows from it."""
    leave, transfer = granted
    if not settle_whole(desk, transfer):
        return
    with transaction(resources.sessions, leave.actor, now) as session:
        done: Completed = uploads.complete(session, leave.actor, transfer, now)
        if done.is_statement_whole:
            # In the same commit: the statement was logged when it came, and one commit, one leaf and one checkpoint less halve a small file's time.
            receipts.issue(session, resources.keyring, done.manifest_id, now, origin=resources.origin)
    if done.is_blob_surplus:
        desk.store.delete(transfer.blob)
    if done.is_statement_whole and resources.queue is not None:
        resources.queue.put(EXAMINE, done.manifest_id)


def _leave(resources: Resources, headers: Mapping[str, str], now: datetime) -> Leave:
    with resources.reads() as session:
        return uploads.read_leave(session, _token(headers), now)


def _transfer(resources: Resources, headers: Mapping[str, str], upload_id: UUID, now: datetime) -> tuple[Leave, Transfer]:
    with resources.reads() as session:
        return uploads.granted(session, _token(headers), upload_id, resources.keyring, now)


def _token(headers: Mapping[str, str]) -> str:
    scheme, _, token = headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not 1 <= len(token) <= 100:
        raise Unauthenticated(reason="an upload token is expected")
    return token
