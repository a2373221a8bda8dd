"""The page of one version of a branch's day: how its search goes, the routes, and what is left out with its true reason."""

from datetime import datetime
from typing import Any
from uuid import UUID

from litestar import Request, Response, get
from litestar.di import NamedDependency
from litestar.params import FromPath

from backend.auth.actors import Actor
from backend.console.pages import PAGE, page, shared
from backend.core.ids import PlanId
from backend.plans import queries
from backend.plans.model import PlanStatus
from backend.staff import queries as staff
from backend.web.app import Resources
from backend.web.transaction import transaction

SEARCHED = frozenset({PlanStatus.QUEUED, PlanStatus.SOLVING})


@get("/console/plans/{plan_id:uuid}", operation_id="showPlan", **PAGE)
def show_plan(
    plan_id: FromPath[UUID], request: Request[Any, Any, Any], actor: NamedDependency[Actor], resources: NamedDependency[Resources],
    now: NamedDependency[datetime],
) -> Response[str]:
    """Show one version of a day; while it is searched it says how far it is."""
    with transaction(resources.sessions, actor, now) as session:
        plan = queries.plan(session, actor, PlanId(plan_id))
        branch = staff.branch(session, plan.summary.branch_id)
        names = staff.names_of(session, {one for route in plan.routes for one in (route.collector_a, route.collector_b)})
        values = shared(session, request, actor, resources, now)
    return page(
        "plan.html", request, **values, plan=plan, branch=branch, names=names, is_searched=plan.summary.status in SEARCHED, timezone=branch.timezone,
    )


ROUTES = [show_plan]
