"""A pair's day sheet: a page to print and the same as PDF. Neither shows bank or amount (F08)."""

from datetime import datetime
from typing import Any
from uuid import UUID

from litestar import Request, Response, get
from litestar.di import NamedDependency
from litestar.params import FromPath

from backend.auth.actors import Actor
from backend.console.pages import PAGE, page, shared
from backend.core.i18n import language_name
from backend.core.ids import PlanId
from backend.visits.day_sheet import clock, day_sheet, sheet_pdf
from backend.web.app import Resources
from backend.web.transaction import transaction


@get("/console/plans/{plan_id:uuid}/sheets/{number:int}", operation_id="showDaySheet", **PAGE)
def show_day_sheet(
    plan_id: FromPath[UUID], number: FromPath[int], request: Request[Any, Any, Any], actor: NamedDependency[Actor],
    resources: NamedDependency[Resources], now: NamedDependency[datetime],
) -> Response[str]:
    """Show one pair's day sheet of the published plan, ready to be printed; the read is recorded (SEC-01)."""
    with transaction(resources.sessions, actor, now) as session:
        sheet = day_sheet(session, actor, resources.keyring, (PlanId(plan_id), number), now)
        values = shared(session, request, actor, resources, now)
    return page("day_sheet.html", request, **values, sheet=sheet, clock=clock, language_name=language_name)


@get(
    "/api/v1/plans/{plan_id:uuid}/sheets/{number:int}", operation_id="readDaySheet", sync_to_thread=True, tags=["plans"],
    media_type="application/pdf",
)
def read_day_sheet(
    plan_id: FromPath[UUID], number: FromPath[int], actor: NamedDependency[Actor], resources: NamedDependency[Resources],
    now: NamedDependency[datetime],
) -> Response[bytes]:
    """Read one pair's day sheet as PDF, in both languages; the read is recorded (SEC-01)."""
    with transaction(resources.sessions, actor, now) as session:
        sheet = day_sheet(session, actor, resources.keyring, (PlanId(plan_id), number), now)
    name = f"day-sheet-{sheet.plan.summary.on.isoformat()}-v{sheet.plan.summary.version}-{number}.pdf"
    return Response(sheet_pdf(sheet), media_type="application/pdf", headers={
        "Content-Disposition": f'attachment; filename="{name}"', "Cache-Control": "no-store"})


ROUTES = [show_day_sheet, read_day_sheet]
