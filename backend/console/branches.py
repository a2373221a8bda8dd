"""Branches: opening one, with its office and the territory that it serves."""

from datetime import datetime
from typing import Annotated
from zoneinfo import available_timezones

from litestar import post
from litestar.di import NamedDependency
from litestar.params import JSONBody
from msgspec import Meta

from backend.auth.actors import Actor
from backend.console.people import Made, PlaceBody
from backend.core.geo import Datum, LonLat, MultiPolygon, to_wgs84
from backend.core.problems import InvalidInput
from backend.staff import actions
from backend.staff.model import NewBranch
from backend.web.app import Resources
from backend.web.body import Body
from backend.web.transaction import transaction

Corner = Annotated[list[Annotated[float, Meta(ge=-180, le=180)]], Meta(min_length=2, max_length=2)]
Ring = Annotated[list[Corner], Meta(min_length=4, max_length=500)]


class BranchBody(Body):
    """A branch; `territory` is the outer rings of the areas that it serves, closed, as `[lon, lat]` in the datum of the office."""

    code: Annotated[str, Meta(min_length=1, max_length=16, pattern=r"^[A-Z0-9-]+$")]
    name_zh: Annotated[str, Meta(min_length=1, max_length=80)]
    name_en: Annotated[str, Meta(min_length=1, max_length=80)]
    timezone: Annotated[str, Meta(min_length=1, max_length=64)]
    office: PlaceBody
    territory: Annotated[tuple[Ring, ...], Meta(max_length=50)] = ()


@post("/api/v1/branches", operation_id="openBranch", sync_to_thread=True, tags=["people"])
def open_branch(
    data: JSONBody[BranchBody], actor: NamedDependency[Actor], resources: NamedDependency[Resources], now: NamedDependency[datetime]
) -> Made:
    """Open a branch."""
    if data.timezone not in available_timezones():
        raise InvalidInput(pointer="/timezone", expected="an IANA time zone", got=data.timezone)
    new = NewBranch(
        code=data.code, name_zh=data.name_zh, name_en=data.name_en, timezone=data.timezone,
        office=to_wgs84(LonLat(data.office.lon, data.office.lat), data.office.datum), territory=_territory(data.territory, data.office.datum),
    )
    with transaction(resources.sessions, actor, now) as session:
        return Made(id=actions.create_branch(session, actor, new, now))


ROUTES = [open_branch]


def _territory(rings: tuple[Ring, ...], datum: Datum) -> MultiPolygon | None:
    if not rings:
        return None
    try:
        corners = [tuple(to_wgs84(LonLat(corner[0], corner[1]), datum) for corner in ring) for ring in rings]
        return MultiPolygon(tuple((ring,) for ring in corners))
    except ValueError as error:
        raise InvalidInput(pointer="/territory", expected="closed rings of [lon, lat]", got=str(error)[:120]) from None
