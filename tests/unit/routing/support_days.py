"""Small days for the routing tests: one written by hand, and random ones for Hypothesis."""

from __future__ import annotations

import json
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from hypothesis import strategies as st

BENCH = Path(__file__).resolve().parents[4] / "shared" / "bench"
HOUR = 3600

DAY: dict[str, Any] = {
    "schema": "fieldday/1", "name": "day", "date": "2026-03-16", "timezone": "Asia/Shanghai", "horizon": [8 * HOUR, 21 * HOUR],
    "travel": {"model": "haversine", "earth_radius_m": 6371008.8, "detour_factor": 1.35, "speed_kmh": 25.0},
    "objective": {"mandatory_unserved": 1_000_000, "lost_value": 3600, "travel_s": 1, "imbalance_div": 10},
    "pairing": {"max_consecutive_days": 3, "require_lead": True, "max_pairs": 2, "conflicts": [], "history": []},
    "cash": {"carry_limit_fen": 1_000_000},
    "locations": [
        {"id": "office", "kind": "office", "lat": 31.23, "lon": 121.47},
        {"id": "bank", "kind": "bank", "lat": 31.235, "lon": 121.48},
        {"id": "p0", "kind": "visit", "lat": 31.24, "lon": 121.47},
        {"id": "p1", "kind": "visit", "lat": 31.22, "lon": 121.49},
        {"id": "p2", "kind": "visit", "lat": 31.25, "lon": 121.45},
        {"id": "p3", "kind": "visit", "lat": 31.21, "lon": 121.46},
    ],
    "collectors": [
        {"id": one, "gender": gender, "lead": lead, "certs": certs, "languages": ["zh"], "available": True,
         "shift": [8 * HOUR, 18 * HOUR], "start": "office", "end": "office"}
        for one, gender, lead, certs in (
            ("bilal", "M", True, ["secured"]), ("dong", "F", False, []), ("emin", "M", True, []), ("fang", "F", True, []),
        )
    ],
    "banks": [{"id": "branch", "location": "bank", "open": 9 * HOUR, "close": 17 * HOUR, "service_s": 900}],
    "visits": [],
}


def visit(name: str, place: str, **changes: Any) -> dict[str, Any]:
    """Return a visit that any pair may make all day; `changes` override its keys."""
    return {
        "id": name, "location": place, "service_s": 1800, "windows": [[8 * HOUR, 21 * HOUR]], "mandatory": False, "priority": 3, "value": 4,
        "required_cert": None, "required_language": None, "gender_rule": "any", "excluded_collectors": [],
        "approval": {"status": "approved", "effective_from": 0}, "cash_fen": 0, **changes,
    }


def day(*visits: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """Return a `fieldday/1` object with these visits; `changes` override its top keys."""
    made = deepcopy(DAY)
    made["visits"] = [deepcopy(one) for one in visits]
    made.update(deepcopy(changes))
    return made


def bench_day(name: str) -> dict[str, Any]:
    """Return a shared benchmark day, or skip loudly where the benchmark folder is absent."""
    path = BENCH / "instances" / f"{name}.json"
    if not path.exists():
        pytest.skip(f"shared benchmark {path.name} is absent")
    loaded: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return loaded


@st.composite
def days(draw: st.DrawFn, visits_max: int = 9) -> dict[str, Any]:
    """Draw a small day with every kind of rule in play."""
    places = draw(st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40)), min_size=3, max_size=9))
    locations = [{"id": f"L{n}", "kind": "visit", "lat": 31.1 + x * 0.005, "lon": 121.4 + y * 0.005} for n, (x, y) in enumerate(places)]
    place = st.sampled_from([one["id"] for one in locations])
    crew = [
        {
            "id": f"C{n}", "gender": draw(st.sampled_from("FM")), "lead": draw(st.booleans()),
            "certs": draw(st.lists(st.sampled_from(["a", "b"]), max_size=1)),
            "languages": draw(st.lists(st.sampled_from(["zh", "wuu"]), max_size=2, unique=True)), "available": draw(st.integers(0, 5)) > 0,
            "shift": [draw(st.integers(7, 11)) * HOUR, draw(st.integers(14, 22)) * HOUR], "start": draw(place), "end": draw(place),
        }
        for n in range(draw(st.integers(0, 6)))
    ]
    names = [one["id"] for one in crew]
    couple = st.lists(st.sampled_from(names), min_size=2, max_size=2, unique=True) if len(names) > 1 else st.nothing()
    couples = st.lists(couple, max_size=2) if len(names) > 1 else st.just([])
    banks = [
        {"id": f"B{n}", "location": draw(place), "open": draw(st.integers(8, 10)) * HOUR, "close": draw(st.integers(11, 18)) * HOUR, "service_s": 900}
        for n in range(draw(st.integers(0, 2)))
    ]
    return day(
        *[_draw_visit(draw, n, place, names) for n in range(draw(st.integers(0, visits_max)))],
        locations=locations, collectors=crew, banks=banks, cash={"carry_limit_fen": draw(st.sampled_from([50_000, 100_000, 10**6]))},
        pairing={
            "max_consecutive_days": draw(st.integers(1, 3)), "require_lead": draw(st.booleans()), "max_pairs": draw(st.integers(0, 3)),
            "conflicts": draw(couples), "history": [{"days_ago": 1, "pairs": draw(couples)}],
        },
    )


def _draw_visit(draw: st.DrawFn, number: int, place: st.SearchStrategy[str], names: list[str]) -> dict[str, Any]:
    starts = sorted(draw(st.lists(st.integers(7, 19), min_size=1, max_size=2, unique=True)))
    return visit(
        f"V{number}", draw(place), service_s=draw(st.integers(10, 90)) * 60, mandatory=draw(st.integers(0, 7)) == 0, value=draw(st.integers(0, 16)),
        windows=[[hour * HOUR, (hour + draw(st.integers(1, 3))) * HOUR] for hour in starts],
        required_cert=draw(st.sampled_from([None, None, "a", "b"])), required_language=draw(st.sampled_from([None, None, "wuu"])),
        gender_rule=draw(st.sampled_from(["any", "any", "female_present", "mixed"])),
        excluded_collectors=draw(st.lists(st.sampled_from(names), max_size=1)) if names else [],
        approval=draw(st.sampled_from([{"status": "approved", "effective_from": 0}] * 3 + [
            {"status": "approved", "effective_from": 11 * HOUR}, {"status": "pending", "effective_from": None}])),
        cash_fen=draw(st.sampled_from([0, 0, 0, 30_000, 60_000])),
    )
