"""The phones' routes: small and stable."""

from litestar import Router
from litestar.di import Provide
from litestar.types import ControllerRouterHandler

from backend.web.auth import phone_actor
from mobile_api import bundle, events, login, manifests, recordings, renewals, uploads

TITLE = "fieldvisit for phones"


def routers() -> list[ControllerRouterHandler]:
    """Return the phones' routers: those that need a signed-in phone, and those that make one."""
    signed_in = Router(
        path="/", dependencies={"actor": Provide(phone_actor, sync_to_thread=True)},
        route_handlers=[*events.ROUTES, *bundle.ROUTES, *manifests.ROUTES, *recordings.ROUTES, *login.ROUTES, *renewals.ROUTES],
    )
    return [signed_in, *login.OPEN_ROUTES, *uploads.ROUTES]
