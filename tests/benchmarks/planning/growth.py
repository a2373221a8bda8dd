"""How a plan's time, memory and quality grow with the day: 500, 1,000, 2,000 and 5,000 generated visits.

    python -m tests.benchmarks.planning.growth [--visits 500 5000] [--seconds 60 600] [--out docs/bench/growth.json]

Printed, not asserted. Goals at 5,000 visits: under 5 minutes and 4 GB on 2 cores, and 60 s within 5 % of 600 s. Resumable: rows of the same
code are not run again.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.benchmarks.planning.run import BENCH, ROOT, _code, _git, _load, _machine

SEEDS = {500: 31, 1000: 41, 2000: 45, 5000: 51}


def main() -> int:
    """Run the table; exit 1 when a plan is not clean."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--visits", type=int, nargs="*", default=list(SEEDS))
    parser.add_argument("--seconds", type=float, nargs="*", default=[60.0])
    parser.add_argument("--engine", choices=["auto", "ortools", "search"], default="auto")
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    rows: list[dict[str, Any]] = json.loads(asked.out.read_text())["rows"] if asked.out and asked.out.exists() else []
    for seconds in asked.seconds:
        for visits in asked.visits:
            key = {"visits": visits, "seconds": seconds, "engine": asked.engine, "code": _code("auto")}
            if any(all(row.get(part) == value for part, value in key.items()) for row in rows):
                continue
            made = {**key, **_row(visits, seconds, asked.engine), "commit": _git("rev-parse", "--short", "HEAD")}
            # What other code took is no figure of this one.
            rows = [row for row in rows if any(row[part] != key[part] for part in ("visits", "seconds", "engine"))] + [made]
            print(json.dumps(rows[-1]), flush=True)
            if asked.out:
                asked.out.parent.mkdir(parents=True, exist_ok=True)
                asked.out.write_text(json.dumps({"machine": _machine(), "rows": rows}, indent=1) + "\n", encoding="utf-8")
    now = [row for row in rows if row["code"] == _code("auto")]
    print(f"{'visits':>7} {'asked s':>8} {'engine':8} {'wall s':>7} {'peak MB':>8} {'cost':>10} {'value %':>8}")
    for row in now:
        told = f"{row['wall_s']:7.1f} {row['peak_mb']:8} {row['cost']:10} {row['served_value_pct']:8.2f}"
        print(f"{row['visits']:7} {row['seconds']:8.0f} {row['engine']:8} {told}")
    return 0 if all(row["violations"] == 0 for row in now) else 1


def _row(visits: int, seconds: float, engine: str) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        day, out = Path(folder) / "day.json", Path(folder) / "plan.json"
        subprocess.run(
            [sys.executable, str(BENCH / "generate.py"), "--visits", str(visits), "--seed", str(SEEDS.get(visits, visits)), "--out", str(day)],
            check=True, stdout=subprocess.DEVNULL,
        )
        load, began = round(os.getloadavg()[0], 1), time.monotonic()
        child = subprocess.Popen(
            [sys.executable, "-m", "routing", "solve", str(day), "--seconds", str(seconds), "--engine", engine, "--out", str(out)], cwd=ROOT,
            stdout=subprocess.DEVNULL,
        )
        _, status, used = os.wait4(child.pid, 0)
        wall_s = time.monotonic() - began
        if os.waitstatus_to_exitcode(status):
            raise SystemExit(f"{visits} visits: the solver ended with {os.waitstatus_to_exitcode(status)}")
        bad, result = _load(BENCH / "check_plan.py").check(json.loads(day.read_text()), json.loads(out.read_text()))
    return {
        "wall_s": round(wall_s, 1), "own_s": round(used.ru_utime + used.ru_stime, 1), "peak_mb": used.ru_maxrss // 1024,
        "cost": result["cost"], "served_value_pct": result["served_value_pct"], "mandatory_unserved": result["mandatory_unserved"],
        "violations": len(bad), "load_before": load,
    }


if __name__ == "__main__":
    sys.exit(main())
