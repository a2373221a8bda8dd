"""Running days (`fieldday/2`) for the tests: the shared generator's rules drawn on small days, and a day begun from its own plan."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import msgspec
from hypothesis import strategies as st

from routing import Limits, Plan, load_instance, solve
from routing.model import StopType
from tests.unit.routing.support_days import HOUR, days

FEW = Limits(search_s=120, iterations_max=3)


def begun(made: dict[str, Any], plan: Plan, now: int) -> dict[str, Any]:
    """Return the day as it stands at `now` when everything went as planned: stops left for are locked, pairs stand behind them."""
    running = {**deepcopy(made), "schema": "fieldday/2", "now": now, "progress": []}
    places = {one["id"]: one["location"] for one in (*made["visits"], *made["banks"])}
    for route in plan.routes:
        stops, clock = [], route.departure or 0
        for stop in route.stops:
            if clock > now:
                break
            name = {StopType.VISIT: "id", StopType.DEPOSIT: "bank", StopType.PAUSE: "place"}[stop.type]
            where = stop.id or stop.bank or stop.place
            stops.append({"type": stop.type.value, name: where, "arrival": stop.arrival, "start": stop.start, "end": stop.end})
            clock = stop.end or 0
        if stops:
            last = stops[-1]
            running["progress"].append({
                "collectors": list(route.collectors), "departure": route.departure, "stops": stops, "free_at": last["end"],
                "place": last.get("place") or places[last.get("id") or last["bank"]],
            })
    return running


@st.composite
def running_days(draw: st.DrawFn, visits_max: int = 7) -> dict[str, Any]:
    """Draw a small day with the rules of `fieldday/2`, most often already begun."""
    made = draw(days(visits_max))
    names = [one["id"] for one in made["collectors"]]
    for one in made["collectors"]:
        one["credentials"] = draw(st.sampled_from([["icbc", "ccb"], ["icbc"], ["icbc", "ccb"]]))
        one["breaks"] = draw(breaks())
    made["travel"] = {**made["travel"], "speeds": draw(speeds())}
    for one in made["visits"]:
        _draw_keys(draw, one, names)
    _draw_owners(draw, made)
    made["schema"] = "fieldday/2"
    if len(names) > 3 and draw(st.integers(0, 3)) == 0:
        made["pairing"]["fixed"] = [draw(st.lists(st.sampled_from(names), min_size=2, max_size=2, unique=True))]
    if draw(st.integers(0, 3)) == 0:
        made["now"] = draw(st.integers(8, 15)) * HOUR
        return made
    plan = solve(load_instance(made), FEW)
    running = begun(made, plan, draw(st.integers(8, 16)) * HOUR + draw(st.integers(0, 59)) * 60)
    for one in running["progress"]:
        one["free_at"] += draw(st.sampled_from([0, 0, 600, 3600]))
        has_cash = any(stop.get("id") for stop in one["stops"]) and draw(st.booleans())
        if has_cash:
            for stop in one["stops"]:
                if stop["type"] == "visit" and draw(st.booleans()):
                    stop["cash_fen"] = 0
        one["together"] = draw(st.integers(0, 4)) > 0 or _carries(running, one)
    return running


@st.composite
def breaks(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Draw none to three breaks of one person, in order."""
    found, clock = [], 8 * HOUR
    for _ in range(draw(st.sampled_from([0, 1, 1, 2, 3]))):
        opens = clock + draw(st.integers(1, 3 * HOUR))
        closes = opens + draw(st.sampled_from([0, 900, HOUR, 2 * HOUR]))
        found.append({"window": [opens, closes], "duration_s": draw(st.sampled_from([60, 900, 1800, HOUR]))})
        clock = closes
    return found


@st.composite
def speeds(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Draw none to three slower or faster stretches of the day."""
    edges = sorted(draw(st.lists(st.integers(7 * HOUR, 20 * HOUR), max_size=6, unique=True)))
    return [{"span": [lo, hi], "percent": draw(st.sampled_from([20, 50, 77, 130]))} for lo, hi in zip(edges[::2], edges[1::2], strict=False)]


def _carries(made: dict[str, Any], one: dict[str, Any]) -> bool:
    amounts = {visit["id"]: visit["cash_fen"] for visit in made["visits"]}
    carried = 0
    for stop in one["stops"]:
        if stop["type"] != "pause":
            carried = carried + stop.get("cash_fen", amounts.get(stop.get("id"), 0)) if stop["type"] == "visit" else 0
    return carried > 0


def _draw_keys(draw: st.DrawFn, one: dict[str, Any], names: list[str]) -> None:
    lo, hi = one["windows"][0]
    kind = draw(st.integers(0, 9))
    if kind == 0 and names:
        one["pinned_collectors"] = draw(st.lists(st.sampled_from(names), min_size=1, max_size=2, unique=True))
    if kind == 1:
        one["pinned_start"] = draw(st.integers(lo, hi))
    if kind in (2, 3, 4):
        opens = draw(st.integers(lo, hi))
        one["announced"] = {"window": [opens, opens + 1800], "price": draw(st.sampled_from([0, 600, 5000, 10**6]))}
    if kind in (5, 6):
        one["debtor"] = draw(st.sampled_from(["li", "wang"]))
    if kind == 7:
        one["credential"] = draw(st.sampled_from(["icbc", "ccb"]))
    one["cash_is_cap"] = draw(st.booleans())


def _draw_owners(draw: st.DrawFn, made: dict[str, Any]) -> None:
    """On half of the days, offices and money belong to banks, and some bank sets a carrying limit of its own."""
    if draw(st.booleans()):
        return
    for one in made["banks"]:
        one["bank"] = draw(st.sampled_from(["icbc", "ccb", None]))
    for one in made["visits"]:
        one["bank"] = draw(st.sampled_from(["icbc", "ccb"])) if one["cash_fen"] else draw(st.sampled_from(["icbc", None]))
    if any(one["bank"] == "icbc" for one in made["visits"]) and draw(st.booleans()):
        made["cash"] = {**made["cash"], "limits": [{"bank": "icbc", "carry_limit_fen": draw(st.sampled_from([0, 40_000, 10**7]))}]}


def builtins(plan: Plan) -> dict[str, Any]:
    """Return a plan as plain objects."""
    made: dict[str, Any] = msgspec.to_builtins(plan)
    return made
