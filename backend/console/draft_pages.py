"""The page on which a dispatcher changes a version by hand: each change is judged at once, and only a clean draft can be saved.

The draft is its address: nothing is stored before it is saved, the browser's back button undoes, and it works without script.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any
from urllib.parse import urlencode
from uuid import UUID

import msgspec
from litestar import Request, Response, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery, URLEncodedBody
from msgspec import Meta

from backend.auth.actors import Actor
from backend.auth.authorise import authorise
from backend.auth.permissions import Permission
from backend.console.pages import FORM, PAGE, back, demand_own, page, shared
from backend.console.plan_board import board_of
from backend.console.plan_pages import clock
from backend.console.plan_words import VIOLATIONS
from backend.core.ids import PlanId
from backend.core.problems import Conflict, InvalidInput
from backend.plans import desk, queries, versions
from backend.plans.edits import EDITS_MAX, ChangePair, Edit, InsertVisit, MoveVisit, PinVisit, RemoveVisit, SwapVisits
from backend.plans.versions import ChangePlan
from backend.staff import queries as staff
from backend.visits.replanning import change_by_hand, told
from backend.web.app import Resources
from backend.web.transaction import transaction

Change = Annotated[str, Meta(max_length=160)]
Changes = Annotated[list[Change], Meta(max_length=EDITS_MAX)]
Part = Annotated[str, Meta(max_length=40)]
PARTS = ("visit", "other", "route", "place", "at", "a", "b")


class DraftForm(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """The changes to save. `newest` is the version that was the newest when the form was made, so that it is carried out once."""

    change: Change | Annotated[list[Change], Meta(min_length=1, max_length=EDITS_MAX)]
    newest: Annotated[int, Meta(ge=1, le=1_000_000)]
    csrf: Annotated[str, Meta(max_length=64)] = ""


@get("/console/plans/{plan_id:uuid}/draft", operation_id="showDraft", **PAGE)
def show_draft(
    plan_id: FromPath[UUID], request: Request[Any, Any, Any], actor: NamedDependency[Actor], resources: NamedDependency[Resources],
    now: NamedDependency[datetime], change: FromQuery[Changes | None] = None, do: FromQuery[Part] = "", visit: FromQuery[Part] = "",
    other: FromQuery[Part] = "", route: FromQuery[Part] = "", place: FromQuery[Part] = "", at: FromQuery[Part] = "", a: FromQuery[Part] = "",
    b: FromQuery[Part] = "",
) -> Response[str]:
    """Show what changes by hand would make of a version: every rule broken, the cost before and after, the routes. Nothing is stored."""
    parts = dict(zip(PARTS, (visit, other, route, place, at, a, b), strict=True))
    changes = [*(change or []), *([_written(do, parts)] if do else [])]
    command = ChangePlan(plan_id=PlanId(plan_id), edits=_edits(changes))
    with transaction(resources.sessions, actor, now) as session:
        authorise(actor, Permission.PLAN_MAKE)
        plan = queries.plan(session, actor, command.plan_id)
        if told(session, actor, command.plan_id, now):
            raise Conflict(reason="day-is-running")
        drawn = versions.drawing(session, actor, command)
        branch = staff.branch(session, plan.summary.branch_id)
        board = board_of(session, actor, plan, drawn.left_out, drawn.collectors)
        newest = desk.latest_version(session, actor, command.plan_id)
        values = shared(session, request, actor, resources, now)
    here = f"/console/plans/{plan_id}/draft"
    undone = [f"{here}?{urlencode([('change', one) for one in changes[:number] + changes[number + 1:]])}" for number in range(len(changes))]
    shown = list(zip(changes, command.edits, undone, strict=True))
    return page(
        "draft.html", request, **values, plan=plan, branch=branch, board=board, drawn=drawn, changes=shown,
        words=VIOLATIONS, clock=clock, newest=newest, before=_places(drawn.before), here=here, kind=lambda edit: edit.__struct_config__.tag,
    )


@post("/console/plans/{plan_id:uuid}/draft", operation_id="submitDraft", opt=FORM, **PAGE)
def submit_draft(
    plan_id: FromPath[UUID], data: URLEncodedBody[DraftForm], request: Request[Any, Any, Any], actor: NamedDependency[Actor],
    resources: NamedDependency[Resources], now: NamedDependency[datetime],
) -> Response[Any]:
    """Save changes by hand as a new version, if it breaks no rule."""
    command = ChangePlan(plan_id=PlanId(plan_id), edits=_edits([data.change] if isinstance(data.change, str) else data.change))
    with transaction(resources.sessions, actor, now) as session:
        demand_own(request, resources, now, data.csrf)
        authorise(actor, Permission.PLAN_MAKE)
        if desk.latest_version(session, actor, command.plan_id) != data.newest:
            raise Conflict(reason="another-version")
        made = change_by_hand(session, actor, command, now)
    return back(f"/console/plans/{made.id}")


ROUTES: list[Any] = [show_draft, submit_draft]

_WRITTEN: Mapping[str, tuple[str, ...]] = {
    "move": ("visit", "route", "place"), "insert": ("visit", "route", "place"), "remove": ("visit",), "swap": ("visit", "other"),
    "pin": ("visit", "at"), "pair": ("route", "a", "b"),
}


def _written(do: str, parts: Mapping[str, str]) -> str:
    """Write one form's change as the address carries it: `move.<visit>.2.1`. Raises `InvalidInput` for no change of ours."""
    if do not in _WRITTEN:
        raise InvalidInput(pointer="/do", expected=" | ".join(_WRITTEN), got=do)
    return ".".join([do, *(parts[name] for name in _WRITTEN[do])])


def _edits(changes: Sequence[str]) -> tuple[Edit, ...]:
    """Read changes as addresses carry them. Raises `InvalidInput`; the pointer names the change."""
    if len(changes) > EDITS_MAX:
        raise InvalidInput(pointer="/change", expected=f"at most {EDITS_MAX} changes", got=str(len(changes)))
    return tuple(_edit(one, f"/change/{number}") for number, one in enumerate(changes))


def _edit(text: str, pointer: str) -> Edit:
    do, *told = text.split(".")
    names = _WRITTEN.get(do, ())
    if not names or len(told) != len(names):
        raise InvalidInput(pointer=pointer, expected="a change by hand", got=text[:100])
    parts = dict(zip(names, told, strict=True))
    try:
        return msgspec.convert({"do": do, **_FIELDS[do](parts)}, Edit, strict=False)  # type: ignore[arg-type,no-any-return]
    except (msgspec.ValidationError, ValueError) as error:
        raise InvalidInput(pointer=pointer, expected=str(error)[:200], got=text[:100]) from None


def _seconds(at: str) -> int | None:
    if not at:
        return None
    hours, minutes = at.split(":")
    return int(hours) * 3600 + int(minutes) * 60


def _onto(parts: Mapping[str, str]) -> dict[str, Any]:
    return {"requestId": parts["visit"], "route": parts["route"], "place": parts["place"] or None}


_FIELDS: Mapping[str, Callable[[Mapping[str, str]], dict[str, Any]]] = {
    "move": _onto, "insert": _onto, "remove": lambda parts: {"requestId": parts["visit"]},
    "swap": lambda parts: {"requestId": parts["visit"], "otherId": parts["other"]},
    "pin": lambda parts: {"requestId": parts["visit"], "startS": _seconds(parts["at"])},
    "pair": lambda parts: {"route": parts["route"], "collectorA": parts["a"], "collectorB": parts["b"]},
}
assert {one.__struct_config__.tag for one in (MoveVisit, InsertVisit, RemoveVisit, SwapVisits, PinVisit, ChangePair)} == set(_FIELDS) == set(_WRITTEN)


def _places(routes: Sequence[versions.DrawnRoute]) -> dict[UUID, tuple[int, int, int | None]]:
    """Return each visit's route, place and start before the changes."""
    return {visit: (number, place, start) for number, one in enumerate(routes, start=1) for place, (visit, start) in enumerate(one.visits, start=1)}
