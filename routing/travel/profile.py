"""What a car may drive on and how fast: OpenStreetMap tags → passable, directions, speed.

Speeds per highway class are those of the default car profile of Project OSRM (osrm-backend v5.26, `profiles/car.lua`, BSD-2-Clause); so are the
access tags and their order, the barriers, and that a signed limit is driven at 0.8 of it. They are free-flow speeds; what they leave out is
stated in the README: turn restrictions, turn and signal delays, surfaces, ferries.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import msgspec

PROFILE = "car/1"
"""Raise the number whenever anything here changes what a network is built to: built networks are kept under it."""

SPEED_KMH: Mapping[str, float] = {
    "motorway": 90, "motorway_link": 45, "trunk": 85, "trunk_link": 40, "primary": 65, "primary_link": 30, "secondary": 55, "secondary_link": 25,
    "tertiary": 40, "tertiary_link": 20, "unclassified": 25, "residential": 25, "living_street": 10, "service": 15,
}
LIMIT_SHARE = 0.8
LIMIT_KMH_MAX = 130.0
ACCESS_KEYS = ("motorcar", "motor_vehicle", "vehicle", "access")
ACCESS_NO = frozenset({"no", "private", "agricultural", "forestry", "emergency", "psv", "bus", "delivery_only", "customers_only"})
ONEWAY_YES = frozenset({"yes", "true", "1"})
ONEWAY_BACK = frozenset({"-1", "reverse"})
ONEWAY_UNUSABLE = frozenset({"reversible", "alternating"})
BARRIERS_OPEN = frozenset({
    "cattle_grid", "border_control", "toll_booth", "sally_port", "gate", "lift_gate", "no", "entrance", "height_restrictor", "arch", "kerb",
})
_LIMIT = re.compile(r"^\s*(\d{1,3}(?:\.\d+)?)\s*(mph|km/h|kmh|kph)?\s*$")
KMH_PER_MPH = 1.609344


class Drive(msgspec.Struct, frozen=True):
    """How a way is driven: km/h along its nodes and against them, 0 where that direction is closed."""

    forward_kmh: float
    backward_kmh: float


def drive(tags: Mapping[str, str]) -> Drive | None:
    """Return how a car drives a way with these tags; None when it may not."""
    highway = tags.get("highway", "")
    speed = SPEED_KMH.get(highway)
    if speed is None or tags.get("area") == "yes" or tags.get("impassable") == "yes" or not is_open(tags):
        return None
    oneway = tags.get("oneway:motorcar", tags.get("oneway:motor_vehicle", tags.get("oneway:vehicle", tags.get("oneway", ""))))
    if oneway in ONEWAY_UNUSABLE:
        return None
    forward, backward = (_signed(tags, speed, direction) for direction in ("forward", "backward"))
    if oneway in ONEWAY_BACK:
        return Drive(0.0, backward)
    is_implied = oneway != "no" and (highway == "motorway" or tags.get("junction") in ("roundabout", "circular"))
    if oneway in ONEWAY_YES or is_implied:
        return Drive(forward, 0.0)
    return Drive(forward, backward)


def is_open(tags: Mapping[str, str]) -> bool:
    """Report whether the most special access tag, if there is any, lets a car in."""
    for key in ACCESS_KEYS:
        if key in tags:
            return tags[key] not in ACCESS_NO
    return True


def blocks(tags: Mapping[str, str]) -> bool:
    """Report whether a car cannot pass a node with these tags: by its access tag, or else by its barrier."""
    if any(key in tags for key in ACCESS_KEYS):
        return not is_open(tags)
    return "barrier" in tags and tags["barrier"] not in BARRIERS_OPEN


def _signed(tags: Mapping[str, str], speed: float, direction: str) -> float:
    limit = limit_kmh(tags.get(f"maxspeed:{direction}", tags.get("maxspeed", "")))
    return speed if limit is None else limit * LIMIT_SHARE


def limit_kmh(text: str) -> float | None:
    """Read `50`, `50 km/h` or `30 mph`; None for words (`none`, `signals`, `CN:urban`) and for what no road has."""
    found = _LIMIT.match(text)
    if found is None:
        return None
    limit = float(found[1]) * (KMH_PER_MPH if found[2] == "mph" else 1.0)
    return min(limit, LIMIT_KMH_MAX) if limit >= 5 else None
