"""Recordings off registered recorders and body cameras, brought in at the desk: over JSON, and on a page that works without script.

Bytes stream from the request through a thread into the sealed store; nothing of them rests in the clear.
"""

from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Annotated, Any, TypeVar
from uuid import UUID
from zoneinfo import ZoneInfo

import anyio.from_thread
import anyio.to_thread
from litestar import MediaType, Request, Response, get, post
from litestar.di import NamedDependency
from litestar.exceptions import InternalServerException
from litestar.params import FromPath, QueryParameter
from multipart import MultipartError, MultipartSegment, PushMultipartParser, parse_options_header
from sqlalchemy.orm import Session

from backend.audit.record import record_read
from backend.auth.actors import Actor
from backend.auth.authorise import authorise
from backend.auth.permissions import GRANTS, Permission
from backend.console.pages import FORM, PAGE, back, demand_own, page, shared
from backend.console.values import within_reach
from backend.core.problems import InvalidInput, MalformedRequest, NotFound, TooLarge
from backend.exhibits import recordings
from backend.exhibits.exports import place_of
from backend.exhibits.model import VisitFacts
from backend.exhibits.recording_model import NewRecording, RecordingView
from backend.exhibits.recordings import Incoming
from backend.exhibits.tasks import LOOK_INTO
from backend.exhibits.transfers import demand_room
from backend.staff import queries as staff
from backend.staff.model import EquipmentState
from backend.visits import queries as visits
from backend.visits.for_evidence import facts_for_evidence
from backend.web.app import Resources
from backend.web.body import CONTENT_TYPES, View
from backend.web.transaction import transaction
from evidence.policy import DEFAULT

BODY_BYTES_MAX = DEFAULT.video_bytes_max + 100_000
FIELD_BYTES_MAX = 200
EQUIPMENT_MAX = 200
_MULTIPART = "multipart/form-data"
_TYPE_BY_ENDING = {
    "mp4": "video/mp4", "mov": "video/quicktime", "3gp": "video/3gpp", "m4a": "audio/mp4", "wav": "audio/wav", "aac": "audio/aac",
    "amr": "audio/amr", "ogg": "audio/ogg", "opus": "audio/opus", "jpg": "image/jpeg", "jpeg": "image/jpeg", "png": "image/png", "heic": "image/heic",
}
Chunks = Iterator[bytes]
Done = TypeVar("Done")


class VisitRecordings(View, frozen=True, kw_only=True):
    """What was brought in for a visit."""

    visit_id: UUID
    recordings: tuple[RecordingView, ...]


@get("/api/v1/visits/{visit_id:uuid}/recordings", operation_id="listRecordings", sync_to_thread=True, tags=["evidence"])
def list_recordings(
    visit_id: FromPath[UUID], actor: NamedDependency[Actor], resources: NamedDependency[Resources], now: NamedDependency[datetime]
) -> VisitRecordings:
    """Return the recordings of a visit's recorders with what proves their clocks and who of the pair accepted them; the read is recorded."""
    authorise(actor, Permission.EVIDENCE_READ)
    with transaction(resources.sessions, actor, now) as session:
        visit = visits.visit_of(session, actor, visit_id)
        record_read(session, actor, [visit.case_id], now, "recordings")
        return VisitRecordings(visit_id=visit_id, recordings=recordings.recordings_of(session, visit_id))


@post(
    "/api/v1/visits/{visit_id:uuid}/recordings", operation_id="importRecording", status_code=201, tags=["evidence"],
    opt={CONTENT_TYPES: recordings.MEDIA_TYPES}, request_max_body_size=BODY_BYTES_MAX,
)
async def import_recording(
    visit_id: FromPath[UUID], request: Request[Any, Any, Any], actor: NamedDependency[Actor], resources: NamedDependency[Resources],
    now: NamedDependency[datetime], equipment_id: Annotated[UUID, QueryParameter(name="equipmentId")],
    started_at: Annotated[datetime, QueryParameter(name="startedAt")],
) -> RecordingView:
    """Bring one file of a registered recorder in: the body is the file, its content type the declared kind.

    `startedAt` is when the recorder's own clock says that it began, as an instant. The same file again returns what stands.
    """
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()[:64]

    def take(chunks: Chunks) -> RecordingView:
        authorise(actor, Permission.RECORDING_IMPORT)
        if started_at.tzinfo is None:
            raise InvalidInput(pointer="/startedAt", expected="an instant with its offset", got=started_at.isoformat())
        wanted = NewRecording(
            equipment_id=equipment_id, visit_id=visit_id, media_type=media_type, told_started_at=within_reach(started_at, now, "/startedAt"))
        return _bring_in(actor, resources, wanted, chunks, now)

    return await _from_stream(request, take)


@get("/console/visits/{visit_id:uuid}/recordings", operation_id="showRecordings", **PAGE)
def show_recordings(
    visit_id: FromPath[UUID], request: Request[Any, Any, Any], actor: NamedDependency[Actor], resources: NamedDependency[Resources],
    now: NamedDependency[datetime],
) -> Response[str]:
    """Show a visit's recordings and the form that brings one in."""
    authorise(actor, Permission.EVIDENCE_READ)
    with transaction(resources.sessions, actor, now) as session:
        visit = visits.visit_of(session, actor, visit_id)
        told = {"visit_id": visit_id, "on": visit.on, "zone": visit.timezone}
        record_read(session, actor, [visit.case_id], now, "recordings")
        found = recordings.recordings_of(session, visit_id)
        is_importer = any(Permission.RECORDING_IMPORT in GRANTS[role] for role in actor.roles)
        carried = staff.equipment_page(session, actor, after=None, limit=EQUIPMENT_MAX) if is_importer else ()
        people = staff.names_of(session, {one.imported_by for one in found} | {who for one in found for who in one.accepted_by})
        values = shared(session, request, actor, resources, now)
    return page("recordings.html", request, **values, **told, recordings=found, equipment=carried, people=people, in_use=EquipmentState.IN_USE)


@post(
    "/console/visits/{visit_id:uuid}/recordings", operation_id="submitRecording", tags=["pages"], media_type=MediaType.HTML,
    opt={**FORM, CONTENT_TYPES: frozenset({_MULTIPART})}, request_max_body_size=BODY_BYTES_MAX, exception_handlers=PAGE["exception_handlers"],
)
async def submit_recording(
    visit_id: FromPath[UUID], request: Request[Any, Any, Any], actor: NamedDependency[Actor], resources: NamedDependency[Resources],
    now: NamedDependency[datetime],
) -> Response[Any]:
    """Bring one file in from the page's form: the fields first, then the file."""

    def take(chunks: Chunks) -> Response[Any]:
        authorise(actor, Permission.RECORDING_IMPORT)
        fields, name, content = _read_form(request.headers.get("content-type", ""), chunks)
        demand_own(request, resources, now, fields.get("csrf", ""))
        with resources.reads() as session:
            zone = visits.visit_of(session, actor, visit_id).timezone
        wanted = NewRecording(
            equipment_id=_uuid(fields.get("equipment", "")), visit_id=visit_id, media_type=_type_of(name),
            told_started_at=_local(fields.get("started", ""), zone, now))
        _bring_in(actor, resources, wanted, content, now)
        return back(f"/console/visits/{visit_id}/recordings")

    return await _from_stream(request, take)


ROUTES = [list_recordings, import_recording, show_recordings, submit_recording]


def _bring_in(actor: Actor, resources: Resources, wanted: NewRecording, chunks: Chunks, now: datetime) -> RecordingView:
    """Store one file, with no transaction open while its bytes flow, and have it examined."""
    with resources.reads() as session:
        incoming = Incoming(
            wanted=wanted, visit=_visit(session, actor, wanted.visit_id), place=place_of(resources.store, resources.settings, resources.origin))
    demand_room(resources.settings, recordings.bytes_max(wanted.media_type))
    made = recordings.bring_in(
        lambda: transaction(resources.sessions, actor, now), actor, resources.keyring, incoming, _bounded(chunks, wanted.media_type), now)
    if resources.queue is not None:
        resources.queue.put(LOOK_INTO, made.id)
    return made


def _visit(session: Session, actor: Actor, visit_id: UUID) -> VisitFacts:
    visits.visit_of(session, actor, visit_id)
    facts = facts_for_evidence(session, str(visit_id))
    if facts is None:
        raise NotFound
    return facts


def _bounded(chunks: Chunks, media_type: str) -> Chunks:
    taken, limit = 0, recordings.bytes_max(media_type)
    for chunk in chunks:
        taken += len(chunk)
        if taken > limit:
            raise TooLarge(limit=limit)
        yield chunk


async def _from_stream(request: Request[Any, Any, Any], take: Callable[[Chunks], Done]) -> Done:
    """Run `take` in a thread over the request's body; the event loop only hands pieces over."""
    stream = request.stream()

    async def following() -> bytes | None:
        try:
            return await anext(stream, None)
        except InternalServerException:              # The client went away.
            raise MalformedRequest(reason="the body was cut off") from None

    def chunks() -> Chunks:
        while (chunk := anyio.from_thread.run(following)) is not None:
            yield chunk

    return await anyio.to_thread.run_sync(take, chunks())


def _read_form(content_type: str, chunks: Chunks) -> tuple[dict[str, str], str, Chunks]:
    """Return the fields before the file, the file's name, and its bytes as they come.

    Raises:
        MalformedRequest: no form of this shape.
    """
    _, options = parse_options_header(content_type)
    fields: dict[str, str] = {}
    events = _events(options.get("boundary", ""), chunks)
    segment: Any = None
    for event in events:
        if isinstance(event, MultipartSegment):
            segment = event
            if segment.filename is not None:
                return fields, str(segment.filename), (bytes(one) for one in events if isinstance(one, bytes | bytearray))
            fields[segment.name] = ""
        elif event is not None and segment is not None:
            fields[segment.name] += bytes(event).decode("utf-8", "replace")
            if len(fields[segment.name]) > FIELD_BYTES_MAX or len(fields) > 8:
                raise MalformedRequest(reason="a field is longer than any of this form")
    raise MalformedRequest(reason="the form holds no file")


def _events(boundary: str, chunks: Chunks) -> Iterator[Any]:
    if not 1 <= len(boundary) <= 200:
        raise MalformedRequest(reason="a form names its boundary")
    try:
        with PushMultipartParser(boundary, max_segment_count=10) as parser:
            for chunk in chunks:
                yield from parser.parse(chunk)
    except MultipartError as error:
        raise MalformedRequest(reason=f"not a form ({type(error).__name__})") from None


def _type_of(name: str) -> str:
    """Return the kind of file that a name's ending stands for; whether the bytes agree is the examination's to say."""
    ending = name.rpartition(".")[2].lower()
    if ending not in _TYPE_BY_ENDING:
        raise InvalidInput(pointer="/file", expected=" | ".join(sorted(_TYPE_BY_ENDING)), got=ending[:20])
    return _TYPE_BY_ENDING[ending]


def _uuid(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise InvalidInput(pointer="/equipment", expected="a recorder of the register", got=text[:40]) from None


def _local(text: str, zone: str, now: datetime) -> datetime:
    """Read what a recorder shows, as the visit's own place reads it."""
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise InvalidInput(pointer="/started", expected="YYYY-MM-DDThh:mm:ss", got=text[:40]) from None
    return within_reach(at.replace(tzinfo=ZoneInfo(zone)) if at.tzinfo is None else at, now, "/started")
