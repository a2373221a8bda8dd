"""One reference on one instance, in a process of its own: `python -m tests.benchmarks.planning.references ENGINE FILE SECONDS SEED OUT`.

Writes OUT as JSON: for a day {"plan", "curve", "note", "refused"}, for a VRPTW {"routes"}. Pairs and matrices do not count against the seconds.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import msgspec

from routing import load_instance
from routing.vrptw import read_vrptw
from tests.benchmarks.planning.references import by_ortools, by_pyvrp, by_vroom
from tests.benchmarks.planning.references.day import form_day, plan_of, tours_of

DAYS = {"pyvrp": by_pyvrp.route_day, "vroom": by_vroom.route_day, "ortools-plain": by_ortools.route_day}


def main(engine: str, source: Path, seconds: float, seed: int, out: Path) -> None:
    """Run and write."""
    found: dict[str, Any]
    if source.suffix == ".vrp":
        found = {"routes": _vrptw(engine, source, seconds, seed)}
    else:
        day = form_day(load_instance(source.read_bytes()), seed)
        routed = DAYS[engine](day, seconds, seed)
        tours, refused = tours_of(day, routed.orders)
        plan, cost = plan_of(day, tours)
        found = {"plan": msgspec.to_builtins(plan), "cost": cost, "curve": list(routed.curve), "note": routed.note, "refused": refused}
    out.write_text(json.dumps(found), encoding="utf-8")


def _vrptw(engine: str, source: Path, seconds: float, seed: int) -> list[list[int]]:
    if engine == "pyvrp":
        return by_pyvrp.route_vrptw(source, seconds, seed)
    if engine == "vroom":
        return by_vroom.route_vrptw(read_vrptw(source.read_text(encoding="utf-8")), seconds)
    return by_ortools.route_vrptw(source, seconds)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4]), Path(sys.argv[5]))
