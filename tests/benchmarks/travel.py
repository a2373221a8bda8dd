"""Travel tables of the shared extracts: time to build, time per table, and what the tables are like. One row per extract and size, kept as JSON.

    python -m tests.benchmarks.travel [--out docs/bench/travel.json]

Places are drawn evenly in the extract's middle from a fixed seed. `crow` is the straight distance; shares are of the pairs of two places.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from routing import load_instance
from routing.model import Instance, Location, LocationKind
from routing.travel.great_circle import crow_m
from routing.travel.model import MISSING
from routing.travel.roads import RoadNetwork

ROOT = Path(__file__).resolve().parents[2]
EXTRACTS = ROOT.parent / "shared" / "bench" / "osm"
BOXES = {"baltimore": (39.264, 39.302, -76.604, -76.532), "campo-grande": (-20.505, -20.435, -54.590, -54.545)}
SIZES = (50, 200, 400)
SEED = 20261122
BARE: dict[str, Any] = {
    "schema": "fieldday/1", "name": "travel", "horizon": [28800, 75600],
    "travel": {"earth_radius_m": 6371008.8, "detour_factor": 1.35, "speed_kmh": 25},
    "objective": {"mandatory_unserved": 1, "lost_value": 1, "travel_s": 1, "imbalance_div": 1},
    "pairing": {"max_pairs": 0, "require_lead": False, "max_consecutive_days": 1, "conflicts": [], "history": []},
    "cash": {"carry_limit_fen": 0}, "locations": [], "collectors": [], "banks": [], "visits": [],
}


def main() -> int:
    """Measure, print, keep; exit 1 when a table is not finite."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "bench" / "travel.json")
    asked = parser.parse_args()
    present = [name for name in BOXES if (EXTRACTS / f"{name}.osm.pbf").is_file()]
    if not present:
        print("SKIPPED: the shared extracts are absent")
        return 0
    rows = [row for name in present for row in _measure(name)]
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, cwd=ROOT, check=False).stdout.strip()
    kept = {
        "commit": commit, "on": time.strftime("%Y-%m-%d"), "python": platform.python_version(), "machine": _machine(), "load": os.getloadavg()[0],
        "seed": SEED, "rows": rows,
    }
    asked.out.parent.mkdir(parents=True, exist_ok=True)
    asked.out.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
    keys = list(rows[0])
    print("  ".join(f"{key:>14}" for key in keys))
    for row in rows:
        print("  ".join(f"{row[key]!s:>14}" for key in keys))
    print(f"{commit} on {kept['machine']} → {asked.out}")
    return 0 if all(row["finite_pct"] == 100 for row in rows) else 1


def _measure(name: str) -> list[dict[str, Any]]:
    extract, rows = EXTRACTS / f"{name}.osm.pbf", []
    with tempfile.TemporaryDirectory() as folder:
        build_s, network = _timed(lambda: RoadNetwork(extract, Path(folder), 600))
        load_s, network = _timed(lambda: RoadNetwork(extract, Path(folder), 600))
    for size in SIZES:
        day = _places(name, size)
        table_s, table = _timed(lambda day=day: network.table(day))
        away = ~np.eye(size, dtype=bool)
        finite = away & (table.seconds != MISSING)
        crow = crow_m(day.locations)[finite]
        rows.append({
            "extract": name, "places": size, "junctions": network.network.junctions, "roads": network.network.roads, "build_s": round(build_s, 2),
            "load_s": round(load_s, 3), "table_s": round(table_s, 3), "finite_pct": round(100 * float(finite.sum() / away.sum()), 2),
            "asymmetric_pct": round(100 * float((table.seconds != table.seconds.T)[finite].mean()), 1),
            "road_to_crow": round(float(np.median(table.metres[finite] / crow)), 3),
            "kmh": round(float(np.median(3.6 * table.metres[finite] / np.maximum(1, table.seconds[finite]))), 1),
            "memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        })
    return rows


def _places(name: str, size: int) -> Instance:
    choice, box = random.Random(SEED), BOXES[name]
    spots = tuple(
        Location(id=f"p{number}", kind=LocationKind.VISIT, lat=choice.uniform(*box[:2]), lon=choice.uniform(*box[2:])) for number in range(size)
    )
    return msgspec.structs.replace(load_instance(BARE), locations=spots)


def _timed(work: Any) -> tuple[float, Any]:
    began = time.perf_counter()
    found = work()
    return time.perf_counter() - began, found


def _machine() -> str:
    cpu = Path("/proc/cpuinfo")
    lines = cpu.read_text(encoding="utf-8").splitlines() if cpu.is_file() else []
    model = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "")
    return f"{model or platform.processor() or platform.machine()}, {os.cpu_count()} CPUs"


if __name__ == "__main__":
    sys.exit(main())
