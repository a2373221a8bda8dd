"""The console's pages: the day's visits, one visit with its evidence, stamped copies. They work without script, in both languages."""

import base64
from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import Annotated, Any
from urllib.parse import quote
from uuid import UUID
from zoneinfo import ZoneInfo

import msgspec
from litestar import MediaType, Request, Response, get, post
from litestar.datastructures import Cookie
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery, URLEncodedBody
from msgspec import Meta
from sqlalchemy.orm import Session

from backend.archive import holds
from backend.archive.model import HoldGround
from backend.audit.record import record_read
from backend.auth.actors import Actor
from backend.auth.authorise import authorise, may
from backend.auth.permissions import Permission
from backend.banks import queries as banks
from backend.console.after_ruling import shown_of
from backend.console.finding_words import finding_word
from backend.console.plan_words import REASONS as WHY_NOT
from backend.console.timeline import timeline_of
from backend.console.words import REASONS, withheld_word, word
from backend.core.fen import format_yuan
from backend.core.ids import StaffId, VisitId
from backend.core.problems import InvalidInput, Problem, Unauthenticated
from backend.core.rulebook import RulesBreached
from backend.exhibits import commands, queries
from backend.exhibits.copies import Copy, CopyPurpose, UnmaskPurpose
from backend.exhibits.custody_model import ItemVerdict, MaskReason
from backend.exhibits.exports import place_of
from backend.exhibits.item_reviews import reviews_of, verdicts_of
from backend.exhibits.model import ItemState, Verdict
from backend.staff import queries as staff
from backend.staff.logins import ConsoleIdentity
from backend.visits import queries as visits
from backend.visits import sampling
from backend.visits.model import BEGUN, VisitStatus
from backend.web.app import Resources
from backend.web.auth import CSRF_IN_FORM, demand_csrf, identify_page
from backend.web.body import CONTENT_TYPES
from backend.web.pages import LANGUAGE_COOKIE, reader_language, render_page
from backend.web.transaction import transaction
from evidence.model import Grade

LOGIN = "/console/login"
AGENCY_ZONE = "Asia/Shanghai"
COPIES_MAX = 12
YEARS = range(2000, 2101)
FORM = {CONTENT_TYPES: frozenset({"application/x-www-form-urlencoded"}), CSRF_IN_FORM: True}
_MEDIA_TYPES = {"jpg": "image/jpeg", "wav": "audio/wav", "m4a": "audio/mp4", "mp4": "video/mp4"}
_SEALED_OFF = {"Cache-Control": "no-store", "Content-Security-Policy": "sandbox; default-src 'none'", "X-Content-Type-Options": "nosniff"}


UnmaskText = Annotated[str, Meta(max_length=32)]


class CopiesForm(msgspec.Struct, forbid_unknown_fields=True):
    """Which files to copy and what for; it enters the register (ARCH-13)."""

    purpose: CopyPurpose
    item: UUID | Annotated[list[UUID], Meta(min_length=1, max_length=COPIES_MAX)]      # A form with one field of a name sends no list.
    unmask: UnmaskText = ""
    csrf: Annotated[str, Meta(max_length=64)] = ""


def refuse(request: Request[Any, Any, Any], problem: Problem) -> Response[Any]:
    """Answer a refusal as a page; who is not signed in is sent to the login page and comes back."""
    if isinstance(problem, Unauthenticated):
        return Response("", status_code=303, headers={"Location": f"{LOGIN}?next={quote(request.url.path)}"}, media_type=MediaType.HTML)
    breaches = problem.breaches if isinstance(problem, RulesBreached) else ()
    return render_page("refused.html", request, status_code=problem.answered_status, problem=problem, breaches=breaches, reasons=WHY_NOT)


PAGE: dict[str, Any] = {"sync_to_thread": True, "media_type": MediaType.HTML, "tags": ["pages"], "exception_handlers": {Problem: refuse}}


@get("/console/", operation_id="showDay", **PAGE)
def show_day(
    request: Request[Any, Any, Any], actor: NamedDependency[Actor], resources: NamedDependency[Resources], now: NamedDependency[datetime],
    on: FromQuery[date | None] = None,
) -> Response[str]:
    """Show a day's visits of the actor's branches or bank; without `on`, of today where the branch is."""
    with transaction(resources.sessions, actor, now) as session:
        branches = staff.branches(session, actor)
        shown_on = on or now.astimezone(ZoneInfo(branches[0].timezone if branches else AGENCY_ZONE)).date()
        if shown_on.year not in YEARS:
            raise InvalidInput(pointer="/on", expected=f"a day of {YEARS.start} to {YEARS.stop - 1}", got=shown_on.isoformat())
        may_read = may(actor, Permission.VISIT_READ)
        rows = visits.day(session, actor, resources.keyring, None, shown_on, now) if may_read else ()
        values = shared(session, request, actor, resources, now)
    counts = [
        ("planned", len(rows)), ("withdrawn", sum(row.withdrawn is not None for row in rows)), ("begun", sum(row.status in BEGUN for row in rows)),
        ("closed", sum(row.closed_at is not None for row in rows)), ("due", sum(row.status is VisitStatus.REPORTED for row in rows)),
    ]
    return page(
        "visits.html", request, **values, rows=rows, may_read=may_read, on=shown_on, counts=dict(counts),
        before=shown_on - timedelta(days=1), after=shown_on + timedelta(days=1),
    )


@get("/console/visits/{visit_id:uuid}", operation_id="showVisit", **PAGE)
def show_visit(
    visit_id: FromPath[UUID], request: Request[Any, Any, Any], actor: NamedDependency[Actor], resources: NamedDependency[Resources],
    now: NamedDependency[datetime],
) -> Response[str]:
    """Show one visit: what was told, what was signed, how it stands, what is missing (EVD-08, BANK-08)."""
    may_prove = may(actor, Permission.EVIDENCE_READ)
    with transaction(resources.sessions, actor, now) as session:
        visit = visits.detail(session, actor, resources.keyring, VisitId(visit_id), now)
        statements: Sequence[queries.StatementView] = ()
        exceptions = None
        if may_prove:
            record_read(session, actor, [visit.summary.case_id], now, "evidence")
            statements = queries.statements_of(session, actor, VisitId(visit_id))
            exceptions = queries.exceptions_of(session, VisitId(visit_id))
        signers = _signers(session, statements)
        rejected = _rejected(session, statements)
        words = reviews_of(session, resources.keyring, [one.id for one in statements])
        held = holds.holds_of(session, actor, resources.keyring, visit.summary.case_id, now) if may(actor, Permission.CASE_READ) else ()
        drawn = sampling.samplings_of(session, [visit.summary.id]).get(visit.summary.id)
        people = {one.id: one.name for one in visit.summary.pair}
        spoke = {review.by for review in visit.reviews} | {report.reported_by for report in visit.reports} | {one.reviewer_id for one in words}
        people |= staff.names_of(session, spoke | {one.set_by for one in held} | {one.lifted_by for one in held if one.lifted_by is not None})
        values = shared(session, request, actor, resources, now) | shown_of(session, actor, resources.keyring, visit.summary.case_id)
    copyable = [one.id for statement in statements for one in statement.items
                if _is_picture(one) and not (actor.bank is not None and (one.is_withheld or one.id in rejected))][:COPIES_MAX]
    withheld = sum(one.is_withheld for statement in statements for one in statement.items)
    verdicts = [one for one in ItemVerdict if actor.bank is None or one is not ItemVerdict.REJECTED]      # What the agency answers for.
    return page(
        "visit.html", request, **values, withheld=withheld, rejected=rejected, visit=visit, statements=statements, exceptions=exceptions,
        signers=signers, people=people, timeline=timeline_of(visit, statements, people), copyable=copyable, purposes=tuple(CopyPurpose),
        is_held=_is_held, words=words, holds=held, drawn=drawn, reasons=REASONS, verdicts=verdicts,
        mask_reasons=tuple(MaskReason), grounds=tuple(HoldGround),
        unmasks=tuple(UnmaskPurpose), decisions=tuple(Verdict), is_picture=_is_picture,
    )


@post("/console/copies", operation_id="submitCopies", status_code=200, opt=FORM, **PAGE)
def submit_copies(
    data: URLEncodedBody[CopiesForm], request: Request[Any, Any, Any], actor: NamedDependency[Actor], resources: NamedDependency[Resources],
    now: NamedDependency[datetime],
) -> Response[Any]:
    """Make stamped, registered copies (ARCH-13, ARCH-14): pictures are shown on a page, one recording is handed over as a file."""
    unmask = unmask_of(data.unmask)
    keys = tuple(dict.fromkeys(data.item if isinstance(data.item, list) else [data.item]))
    with transaction(resources.sessions, actor, now) as session:
        demand_csrf(_identity(request, resources, now), data.csrf)
        authorise(actor, Permission.EVIDENCE_READ)
        kinds = [queries.stored_item(session, actor, key).media_type for key in keys]
        if len(keys) > 1 and not all(kind.startswith("image/") for kind in kinds):
            raise InvalidInput(pointer="/item", expected="pictures, or one other file", got=", ".join(sorted(set(kinds))))
        values = shared(session, request, actor, resources, now)
    place, wanted = place_of(resources.store, resources.settings, resources.origin), commands.Wanted(purpose=data.purpose, now=now, unmask=unmask)
    made = [
        commands.copy_item(lambda: transaction(resources.sessions, actor, now), actor, resources.keyring, place, (key, wanted))
        for key in keys
    ]
    if len(made) == 1 and made[0].extension != "jpg":
        return _download(made[0])
    return page("copies.html", request, **values, copies=made, purpose=data.purpose, picture=_picture)


ROUTES = [show_day, show_visit, submit_copies]


def page(template: str, request: Request[Any, Any, Any], **values: Any) -> Response[str]:
    """Render a page of the console; `?lang=` is remembered."""
    shown = render_page(
        template, request, word=word, withheld_word=withheld_word, finding_word=finding_word, yuan=format_yuan, grade=Grade, **values)
    if "lang" in request.query_params:
        shown.set_cookie(Cookie(key=LANGUAGE_COOKIE, value=reader_language(request), path="/", samesite="lax", max_age=365 * 86_400))
    return shown


def back(where: str) -> Response[Any]:
    """Answer a form that was carried out: look at `where` (303, RFC 9110 §15.4.4), so that reloading sends nothing twice."""
    return Response("", status_code=303, headers={"Location": where})


def shared(session: Session, request: Request[Any, Any, Any], actor: Actor, resources: Resources, now: datetime) -> dict[str, Any]:
    """Return what every page needs: who is signed in, the banks' names in the reader's language, local times."""
    is_chinese = reader_language(request) == "zh-Hans"
    return {
        "identity": _identity(request, resources, now), "actor": actor, "actor_name": staff.staff(session, actor, actor.id).name, "now": now,
        "banks": {one.id: one.name_zh if is_chinese else one.name_en for one in banks.banks(session, actor)}, "local": _local,
        "may": {one.name.lower(): may(actor, one) for one in Permission},
    }


def unmask_of(text: str) -> UnmaskPurpose | None:
    """Read why identity documents shall be legible; empty for not. Raises `InvalidInput`."""
    try:
        return UnmaskPurpose(text) if text else None
    except ValueError:
        raise InvalidInput(pointer="/unmask", expected=" | ".join(UnmaskPurpose), got=text) from None


def demand_own(request: Request[Any, Any, Any], resources: Resources, now: datetime, csrf: str) -> None:
    """Demand that a form was sent from a page of ours. Raises `CsrfMissing`."""
    demand_csrf(_identity(request, resources, now), csrf)


def _identity(request: Request[Any, Any, Any], resources: Resources, now: datetime) -> ConsoleIdentity:
    identity = identify_page(request, resources, now)
    if identity is None:
        raise Unauthenticated
    return identity


def _signers(session: Session, statements: Sequence[queries.StatementView]) -> Mapping[str, str]:
    devices = {kid: staff.device(session, kid) for kid in sorted({kid for one in statements for kid in one.signers})}
    names = staff.names_of(session, {device.staff_id for device in devices.values() if device is not None})
    return {kid: names.get(StaffId(device.staff_id), "") if device is not None else "" for kid, device in devices.items()}


def _rejected(session: Session, statements: Sequence[queries.StatementView]) -> frozenset[UUID]:
    """Return the files that reviewers rejected: no bank gets a copy of them."""
    verdicts = verdicts_of(session, [item.id for one in statements for item in one.items])
    return frozenset(key for key, verdict in verdicts.items() if verdict is ItemVerdict.REJECTED)


def _is_held(item: queries.ItemView) -> bool:
    return item.state is ItemState.STORED and not item.is_destroyed


def _is_picture(item: queries.ItemView) -> bool:
    return _is_held(item) and item.media_type.startswith("image/")


def _local(at: datetime, timezone: str, style: str = "%H:%M") -> str:
    return at.astimezone(ZoneInfo(timezone)).strftime(style)


def _picture(copy: Copy) -> str:
    assert copy.extension == "jpg", copy.extension
    return f"data:image/jpeg;base64,{base64.b64encode(copy.read()).decode()}"


def _download(copy: Copy) -> Response[bytes]:
    return Response(copy.read(), media_type=_MEDIA_TYPES[copy.extension], headers={
        **_SEALED_OFF, "Content-Disposition": f'attachment; filename="{copy.number}.{copy.extension}"', "X-Register-Number": copy.number,
    })
