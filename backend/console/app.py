"""The console's routes: people of the agency and of the banks."""

from litestar import Router
from litestar.di import Provide
from litestar.types import ControllerRouterHandler

from backend.console import (
    authority,
    banks,
    books,
    branches,
    cases,
    cash,
    close_pages,
    contacts,
    custody,
    custody_pages,
    day_sheets,
    disputes,
    draft_pages,
    evidence,
    follow_ups,
    ledger,
    log_tiles,
    login,
    offer_pages,
    offers,
    packs,
    pages,
    people,
    phones,
    plan_pages,
    plans,
    recordings,
    replan_pages,
    replans,
    requests,
    review_pages,
    visits,
    witnesses,
)
from backend.web.auth import console_actor

TITLE = "fieldvisit for the console and banks"


def routers() -> list[ControllerRouterHandler]:
    """Return the console's routers: those that need a signed-in person, and those that are open to all."""
    signed_in = Router(
        path="/", dependencies={"actor": Provide(console_actor, sync_to_thread=True)},
        route_handlers=[
            *login.ROUTES, *pages.ROUTES, *review_pages.ROUTES, *plan_pages.ROUTES, *replan_pages.ROUTES, *draft_pages.ROUTES,
            *day_sheets.ROUTES, *authority.ROUTES,
            *offer_pages.ROUTES, *close_pages.ROUTES,
            *custody_pages.ROUTES,
            *people.ROUTES, *phones.ROUTES, *branches.ROUTES, *banks.ROUTES, *cases.ROUTES, *contacts.ROUTES,
            *requests.ROUTES, *plans.ROUTES, *replans.ROUTES, *visits.ROUTES, *evidence.ROUTES, *packs.ROUTES, *recordings.ROUTES,
            *custody.ROUTES, *cash.ROUTES,
            *ledger.ROUTES,
            *books.ROUTES, *offers.ROUTES,
            *disputes.ROUTES, *follow_ups.ROUTES, *witnesses.ROUTES,
        ],
    )
    return [signed_in, *login.OPEN_ROUTES, *evidence.OPEN_ROUTES, *log_tiles.OPEN_ROUTES, *cash.OPEN_ROUTES]
