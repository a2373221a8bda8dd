"""Packs at the console: asked for by visit, case, batch or period, listed, and fetched from any byte on (EVD-06, EVD-08)."""

import re
from collections.abc import AsyncIterator, Iterator
from datetime import date, datetime
from functools import partial
from typing import Annotated, Any
from uuid import UUID

import anyio.to_thread
from litestar import MediaType, Request, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery, JSONBody
from litestar.response import Stream
from litestar.types import ControllerRouterHandler
from msgspec import Meta

from backend.archive.scopes import AskScope, scope_of, tokens_for, told_after
from backend.auth.actors import Actor
from backend.auth.authorise import authorise
from backend.auth.permissions import Permission
from backend.core.ids import BankId
from backend.exhibits import exports
from backend.exhibits.copies import CopyPurpose, UnmaskPurpose
from backend.exhibits.custody_model import ScopeKind
from backend.exhibits.exports import OpenPack, PackRequest, PackView, place_of
from backend.exhibits.packs import visit_scope
from backend.exhibits.refusals import RangeNotSatisfiable
from backend.web.app import Resources
from backend.web.body import Body
from backend.web.paging import Page, page_of, read_page
from backend.web.transaction import transaction

DOWNLOAD = {"Cache-Control": "no-store", "Content-Security-Policy": "sandbox; default-src 'none'", "X-Content-Type-Options": "nosniff"}
_RANGE = re.compile(r"bytes=([0-9]{0,15})-([0-9]{0,15})")
LogSize = Annotated[int, Meta(ge=1, le=2**53 - 1)]


class VisitPackBody(Body):
    """What the pack is for; it enters the register. `unmask` makes identity documents legible, for a stated reason (SEC-03)."""

    purpose: CopyPurpose
    unmask: UnmaskPurpose | None = None


class PackBody(Body):
    """A visit, case or batch by `id`, or a bank's days. `knownSize`: the log's size that the reader knows and will check against."""

    kind: ScopeKind
    purpose: CopyPurpose
    unmask: UnmaskPurpose | None = None
    id: UUID | None = None
    bank_id: UUID | None = None
    from_on: date | None = None
    to_on: date | None = None
    known_size: LogSize | None = None


@post("/api/v1/packs", operation_id="makePack", sync_to_thread=True, status_code=201, tags=["packs"])
def make_pack(
    data: JSONBody[PackBody], actor: NamedDependency[Actor], resources: NamedDependency[Resources], now: NamedDependency[datetime]
) -> PackView:
    """Make a pack and keep it for its download; `python -m evidence.verify_pack` checks it with keys from `/verify/keys`."""
    authorise(actor, Permission.EVIDENCE_EXPORT)
    asked = AskScope(
        kind=data.kind, id=data.id, bank_id=BankId(data.bank_id) if data.bank_id else None, from_on=data.from_on, to_on=data.to_on)
    with resources.reads() as session:
        scope = scope_of(session, actor, asked)
    request = PackRequest(
        scope=scope, purpose=data.purpose, known_size=data.known_size, unmask=data.unmask, authorisations=tokens_for, follow_ups=told_after)
    return _make(actor, resources, request, now)


@post("/api/v1/visits/{visit_id:uuid}/pack", operation_id="exportVisitPack", sync_to_thread=True, status_code=200, tags=["packs"])
def export_pack(
    visit_id: FromPath[UUID], data: JSONBody[VisitPackBody], actor: NamedDependency[Actor], resources: NamedDependency[Resources],
    now: NamedDependency[datetime],
) -> Stream:
    """Make a visit's pack and return it at once (EVD-08)."""
    made = _make(actor, resources, PackRequest(
        scope=visit_scope(visit_id), purpose=data.purpose, unmask=data.unmask, authorisations=tokens_for, follow_ups=told_after), now)
    return send_whole(actor, resources, made.id, f"visit-{visit_id}.zip", now)


@get("/api/v1/packs", operation_id="listPacks", sync_to_thread=True, tags=["packs"])
def read_packs(
    actor: NamedDependency[Actor], resources: NamedDependency[Resources], limit: FromQuery[int | None] = None, cursor: FromQuery[str | None] = None,
) -> Page[PackView]:
    """List the packs that the actor asked for, or those of the actor's bank, newest first."""
    authorise(actor, Permission.EVIDENCE_EXPORT)
    asked = read_page(limit, cursor)
    with resources.reads() as session:
        rows = exports.pack_page(session, actor, after=asked.after_id, limit=asked.limit + 1)
    return page_of(rows, asked, lambda row: str(row.id))


@get("/api/v1/packs/{pack_id:uuid}", operation_id="readPack", sync_to_thread=True, tags=["packs"])
def read_pack(pack_id: FromPath[UUID], actor: NamedDependency[Actor], resources: NamedDependency[Resources]) -> PackView:
    """Return one pack of the register: size, digest, how long it is kept."""
    authorise(actor, Permission.EVIDENCE_EXPORT)
    with resources.reads() as session:
        return exports.pack_view(session, actor, pack_id)


@get("/api/v1/packs/{pack_id:uuid}/content", operation_id="fetchPack", tags=["packs"], media_type=MediaType.TEXT)
async def fetch_pack(
    pack_id: FromPath[UUID], request: Request[Any, Any, Any], actor: NamedDependency[Actor], resources: NamedDependency[Resources],
    now: NamedDependency[datetime],
) -> Stream:
    """Stream a pack, or from a byte on with `Range: bytes=N-`, so that a cut download goes on where it stopped. Each fetch is recorded.

    Sealed originals are fetched in the same way. `ETag` is the pack's SHA-256; with another `If-Range` the whole is sent; a range that
    begins beyond the end is answered 416.
    """
    asked, condition = request.headers.get("range"), request.headers.get("if-range")
    opened, (start, end) = await anyio.to_thread.run_sync(_fetched, actor, resources, (pack_id, asked, condition), now)
    return _stream(opened, start, end, f"pack-{pack_id}.zip")


ROUTES: list[ControllerRouterHandler] = [make_pack, export_pack, read_packs, read_pack, fetch_pack]


def read_range(asked: str | None, condition: str | None, view: PackView) -> tuple[int, int]:
    """Return the first byte asked for and the one after the last; the whole for what is no single range (RFC 9110 §14.2).

    Raises:
        RangeNotSatisfiable: no byte of it exists.
    """
    found = _RANGE.fullmatch(asked or "")
    if found is None or not (found[1] or found[2]) or (condition is not None and condition != f'"{view.sha256}"'):
        return 0, view.size
    if not found[1]:
        start, end = max(0, view.size - int(found[2])), view.size             # The last so many bytes.
    else:
        start, end = int(found[1]), min(view.size, int(found[2]) + 1 if found[2] else view.size)
        if found[2] and int(found[2]) < start:
            return 0, view.size                                              # No range at all, says §14.1.1.
    if start >= view.size:
        raise RangeNotSatisfiable(size=view.size, headers={"Content-Range": f"bytes */{view.size}"})
    return start, end


def send_whole(actor: Actor, resources: Resources, pack_id: UUID, name: str, now: datetime) -> Stream:
    """Send a pack that was just made, and record that it went."""
    opened, (start, end) = _fetched(actor, resources, (pack_id, None, None), now)
    return _stream(opened, start, end, name, **{"X-Pack": str(pack_id)})


def _stream(opened: OpenPack, start: int, end: int, name: str, **more: str) -> Stream:
    """Send bytes of a pack as they are opened, a record at a time."""
    size = opened.view.size
    headers = {
        **DOWNLOAD, "Accept-Ranges": "bytes", "ETag": f'"{opened.view.sha256}"', "Content-Length": str(end - start),
        "Content-Disposition": f'attachment; filename="{name}"', **more}
    is_part = (start, end) != (0, size)
    if is_part:
        headers["Content-Range"] = f"bytes {start}-{end - 1}/{size}"
    return Stream(_flow(opened.chunks(start, end)), media_type="application/zip", status_code=206 if is_part else 200, headers=headers)


async def _flow(chunks: Iterator[bytes]) -> AsyncIterator[bytes]:
    while chunk := await anyio.to_thread.run_sync(partial(next, chunks, b"")):
        yield chunk


def _make(actor: Actor, resources: Resources, request: PackRequest, now: datetime) -> PackView:
    place = place_of(resources.store, resources.settings, resources.origin)
    return exports.export(lambda: transaction(resources.sessions, actor, now), actor, resources.keyring, place, (request, now))


def _fetched(
    actor: Actor, resources: Resources, asked: tuple[UUID, str | None, str | None], now: datetime
) -> tuple[OpenPack, tuple[int, int]]:
    """Open a pack and record which bytes of it are about to leave, before the first one does."""
    pack_id, wanted, condition = asked
    place = place_of(resources.store, resources.settings, resources.origin)
    with transaction(resources.sessions, actor, now) as session:
        opened = exports.open_pack(session, actor, resources.keyring, place, pack_id)
        start, end = read_range(wanted, condition, opened.view)
        exports.record_fetch(session, actor, opened.view, (start, end), now)
    return opened, (start, end)
