"""Quality of plans on the shared benchmark days and VRPTW instances: one row per run, kept as JSON.

    python -m tests.benchmarks.planning.run --seconds 10 --seeds 0 1 2 [--engine ortools] [--only fd50-tight R109] --out var/bench/planning.json

Resumable: a row already in the file (instance, seconds, seed, engine, commit) is not run again. One solver runs at a time. Every plan is judged
by the shared validators, loaded from the benchmark folder.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import ModuleType
from typing import Any

BENCH = Path(__file__).resolve().parents[4] / "shared" / "bench"
ROOT = Path(__file__).resolve().parents[3]
BEST_SEEN = {
    "fd50-compact": 43584, "fd50-tight": 168174, "fd200-shanghai": 152285, "fd200-sprawl-cash": 226419, "fd500-shanghai": 234420,
    "fd1000-shanghai": 320873,
}


def main() -> int:
    """Run what is asked and print the table; exit 1 when a plan is not feasible or a mandatory visit is lost."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, nargs="+", default=[10.0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--engine", choices=["auto", "ortools", "search"], default="auto")
    parser.add_argument("--only", nargs="*")
    parser.add_argument("--out", type=Path, required=True)
    asked = parser.parse_args()
    if not BENCH.is_dir():
        print("SKIPPED: the shared benchmark folder is absent")
        return 0
    rows = json.loads(asked.out.read_text(encoding="utf-8")) if asked.out.exists() else []
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, cwd=ROOT, check=False).stdout.strip()
    best_vrptw = json.loads((BENCH / "vrptw" / "bks.json").read_text(encoding="utf-8"))["instances"]
    days = [name for name in BEST_SEEN if not asked.only or name in asked.only]
    routes = [name for name in best_vrptw if asked.engine == "auto" and (not asked.only or name in asked.only)]
    for seconds in asked.seconds:
        for seed in asked.seeds:
            for name in (*days, *routes):
                key = {"instance": name, "seconds": seconds, "seed": seed, "engine": asked.engine, "commit": commit}
                if any(all(row[part] == value for part, value in key.items()) for row in rows):
                    continue
                found = _run_day(key) if name in BEST_SEEN else _run_vrptw(key, best_vrptw[name]["best_known"])
                rows.append({**key, **found, "machine": platform.processor() or platform.machine(), "at": time.strftime("%Y-%m-%d")})
                asked.out.parent.mkdir(parents=True, exist_ok=True)
                asked.out.write_text(json.dumps(rows, indent=1), encoding="utf-8")
                print(rows[-1], flush=True)
    _print_medians(rows, commit)
    return 1 if any(row["commit"] == commit and not row["feasible"] for row in rows) else 0


def _load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _timed(*arguments: str) -> float:
    began = time.monotonic()
    subprocess.run([sys.executable, "-m", "routing", *arguments], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    return round(time.monotonic() - began, 2)


def _run_day(key: dict[str, Any]) -> dict[str, Any]:
    source = BENCH / "instances" / f"{key['instance']}.json"
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "plan.json"
        wall_s = _timed(
            "solve", str(source), "--seconds", str(key["seconds"]), "--seed", str(key["seed"]), "--engine", key["engine"], "--out", str(out))
        bad, result = _load(BENCH / "check_plan.py").check(json.loads(source.read_text()), json.loads(out.read_text()))
    return {
        "cost": result["cost"], "ratio_to_best_seen": round(result["cost"] / BEST_SEEN[key["instance"]], 4), "wall_s": wall_s,
        "served_value_pct": result["served_value_pct"], "travel_s": result["travel_s"], "imbalance_s": result["imbalance_s"],
        "feasible": not bad and not result["mandatory_unserved"],
    }


def _run_vrptw(key: dict[str, Any], best: int) -> dict[str, Any]:
    source = BENCH / "vrptw" / f"{key['instance']}.vrp"
    judge = _load(BENCH / "vrptw" / "check_vrptw.py")
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "routes.sol"
        wall_s = _timed("vrptw", str(source), "--seconds", str(key["seconds"]), "--seed", str(key["seed"]), "--out", str(out))
        lines = [line.split(":", 1)[1] for line in out.read_text().splitlines() if line.startswith("Route")]
        cost, bad = judge.check(judge.read(str(source)), [[int(one) for one in line.split()] for line in lines])
    return {"cost": cost, "gap_pct": round(100 * cost / best - 100, 3), "wall_s": wall_s, "feasible": not bad}


def _print_medians(rows: list[dict[str, Any]], commit: str) -> None:
    groups: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for row in rows:
        if row["commit"] == commit:
            groups.setdefault((row["instance"], row["seconds"], row["engine"]), []).append(row)
    print(f"{'instance':20} {'s':>5} {'engine':8} {'n':>2} {'cost':>9} {'to best':>8} {'wall s':>7}")
    for (name, seconds, engine), group in groups.items():
        cost = int(statistics.median(row["cost"] for row in group))
        quality = [row["ratio_to_best_seen"] if "ratio_to_best_seen" in row else 1 + row["gap_pct"] / 100 for row in group]
        wall_s = max(row["wall_s"] for row in group)
        print(f"{name:20} {seconds:5.0f} {engine:8} {len(group):2} {cost:9} {statistics.median(quality):8.4f} {wall_s:7.2f}")


if __name__ == "__main__":
    sys.exit(main())
