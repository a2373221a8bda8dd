"""How long a re-plan of a running day takes: each shared day is planned, run until 11:00, and then each kind of event happens to it.

    python -m tests.benchmarks.planning.replan [--only fd200-shanghai] [--out docs/bench/replan.json]

Printed, not asserted: seconds from the event to the judged plan, in a warm process. Goals: 2 s at 200 visits, 10 s at 1,000.
"""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import time
from pathlib import Path
from typing import Any

import msgspec

from routing import Limits, check, cost, load_instance, solve
from routing.events import ClosedBank, Event, LatePair, SickCollector, UrgentVisit, WithdrawnVisit
from routing.model import Approval, Instance, Plan, StopType
from routing.replan import replan
from tests.benchmarks.planning.run import BENCH, ROOT

NOW = 11 * 3600
SEARCH_S = {"fd200-shanghai": 1.3, "fd200-sprawl-cash": 1.3, "fd1000-shanghai": 7.0}


def main() -> int:
    """Run the table; exit 1 when a plan is not clean."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", default=list(SEARCH_S))
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    rows = [row for name in asked.only for row in _rows(name)]
    commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False).stdout.strip()
    if asked.out:
        asked.out.parent.mkdir(parents=True, exist_ok=True)
        whole = {"machine": platform.machine(), "python": platform.python_version(), "commit": commit, "rows": rows}
        asked.out.write_text(json.dumps(whole, indent=1) + "\n")
    return 0 if all(row["violations"] == 0 for row in rows) else 1


def _rows(name: str) -> list[dict[str, Any]]:
    instance = load_instance((BENCH / "instances" / f"{name}.json").read_bytes())
    plan = solve(instance, Limits(search_s=10))
    rows = []
    for event in _events(instance, plan):
        began = time.monotonic()
        found = replan(instance, plan, [event], NOW, limits=Limits(search_s=SEARCH_S.get(name, 1.3)))
        seconds = time.monotonic() - began
        causes = {move.cause.value: sum(1 for one in found.moves if one.cause is move.cause) for move in found.moves}
        row = {
            "instance": name, "event": type(event).__name__, "seconds": round(seconds, 2),
            "locked": sum(len(one.stops) for one in found.instance.progress),
            "violations": len(check(found.instance, found.plan)), "cost_before": cost(instance, plan).total,
            "cost_after": cost(found.instance, found.plan).total, "moves": len(found.moves), "causes": causes,
        }
        print(json.dumps(row), flush=True)
        rows.append(row)
    return rows


def _events(instance: Instance, plan: Plan) -> list[Event]:
    longest = max(plan.routes, key=lambda route: len(route.stops))
    last = next(stop for stop in reversed(longest.stops) if stop.type is StopType.VISIT)
    spare = next(visit for visit in instance.visits if visit.id == last.id)
    carrying = {visit.id for visit in instance.visits if visit.cash_fen}
    well = next(route for route in plan.routes if not any(stop.id in carrying for stop in route.stops))
    bank = next((stop.bank for route in plan.routes for stop in route.stops if stop.type is StopType.DEPOSIT and (stop.start or 0) > NOW), None)
    found: list[Event] = [
        SickCollector(collector=well.collectors[0]), WithdrawnVisit(visit=str(last.id)),
        LatePair(collectors=(longest.collectors[0], longest.collectors[1]), free_at=NOW + 5400),
        UrgentVisit(visit=msgspec.structs.replace(
            spare, id="URGENT", mandatory=True, windows=((NOW, 20 * 3600),), approval=Approval(status="approved", effective_from=NOW), cash_fen=0,
        )),
    ]
    return found if bank is None else [*found, ClosedBank(bank=bank, from_s=NOW)]


if __name__ == "__main__":
    raise SystemExit(main())
