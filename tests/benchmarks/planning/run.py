"""Quality of plans on the shared benchmark days and VRPTW instances, ours beside three references; kept as JSON and drawn as PNG.

    make bench-planning                      every part below that is not yet in docs/bench/planning.json, one after the other
    make bench-planning PART=telling         only this part (several: PART="telling vrptw")
    make bench-planning PART=days SEEDS=0 MINUTES=12    only these seeds; no run begins later than so many minutes from now
    python -m tests.benchmarks.planning.run --part telling --out docs/bench/planning.json

One solver runs at a time, in a process of its own. Resumable: a row already in the file (instance, seconds, seed, engine, code) is not run again.
Every first seed comes before any second one, so a part that was cut short tells of all days. A run that fails is told and tried again next time.
Every plan is judged by the shared validators, loaded from the benchmark folder. References get their pairs and matrices for nothing; the
seconds are those of their search. A reference counts only within 3 % of what `routing.md` measured at its budget.
Growth with the number of visits: `python -m tests.benchmarks.planning.growth`.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from types import ModuleType
from typing import Any

BENCH = Path(__file__).resolve().parents[4] / "shared" / "bench"
ROOT = Path(__file__).resolve().parents[3]
BEST_SEEN = {
    "fd50-compact": 43584, "fd50-tight": 168174, "fd200-shanghai": 152285, "fd200-sprawl-cash": 226419, "fd500-shanghai": 234420,
    "fd1000-shanghai": 320873,
}
REFERENCES = ("pyvrp", "vroom", "ortools-plain")
SEEDLESS = ("vroom", "ortools-plain")
COUNTS_WITHIN = 1.03
RUN_S_MAX = 600
# Costs of routing.md, section 4: PyVRP, VROOM, the better OR-Tools; None: no plan within the time.
MEASURED: dict[tuple[str, int], tuple[int, int, int | None]] = {
    ("fd50-compact", 10): (43584, 45035, 45467), ("fd50-compact", 30): (43584, 45035, 45464),
    ("fd50-tight", 10): (168452, 177660, 171978), ("fd50-tight", 30): (168452, 177660, 171666),
    ("fd200-shanghai", 10): (182966, 186528, 205407), ("fd200-shanghai", 30): (170957, 174096, 199302),
    ("fd200-sprawl-cash", 10): (289226, 308677, 364673), ("fd200-sprawl-cash", 30): (274877, 308677, 360759),
    ("fd500-shanghai", 10): (400094, 393941, None), ("fd500-shanghai", 30): (349197, 340682, 783061),
    ("fd1000-shanghai", 10): (1036740, 937344, None), ("fd1000-shanghai", 30): (803257, 750490, 28960646),
}
VRPTW_BARS = {100: 1.0, 200: 2.0, 400: 4.0, 1000: 9.0}
DAYS, THREE = tuple(BEST_SEEN), (0, 1, 2)
# Part: (engines, seconds, seeds, days, VRPTW too). None takes more than half an hour.
PARTS: dict[str, list[tuple[tuple[str, ...], float, tuple[int, ...], tuple[str, ...], bool]]] = {
    "telling": [
        (("auto",), 10, (0,), DAYS, True), (("auto",), 30, (0,), DAYS[2:], False), (("pyvrp",), 10, (0,), DAYS[1:], False),
        (("ortools",), 10, (0,), DAYS[1:], False),
    ],
    "days": [(("auto",), 10, THREE, DAYS, False), (("auto",), 30, THREE, DAYS, False)],
    "alone": [(("ortools",), 10, THREE, DAYS, False), (("ortools",), 30, THREE, DAYS, False)],
    "references-10": [(REFERENCES, 10, THREE, DAYS, False)],
    "references-30": [(REFERENCES, 30, THREE, DAYS, False)],
    "vrptw": [(("auto", *REFERENCES), 10, THREE, (), True)],
}


def main() -> int:
    """Run what is asked and print the tables; exit 1 when a plan of ours is not feasible or loses a mandatory visit."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", nargs="*", choices=list(PARTS))
    parser.add_argument("--only", nargs="*", help="only these instances")
    parser.add_argument("--seconds", type=float, nargs="*", help="instead of parts: these budgets, with --engine and --seeds")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="of parts: those of theirs that are named here")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="begin no run later than this from now")
    parser.add_argument("--engine", nargs="+", choices=["auto", "ortools", "search", *REFERENCES], default=["auto"])
    parser.add_argument("--out", type=Path, required=True)
    asked = parser.parse_args()
    if not BENCH.is_dir():
        print("SKIPPED: the shared benchmark folder is absent")
        return 0
    parts = {"asked": [(tuple(asked.engine), one, tuple(asked.seeds), DAYS, True) for one in asked.seconds]} if asked.seconds else {
        name: PARTS[name] for name in asked.part or PARTS
    }
    book, over_at = _Book(asked.out), time.monotonic() + 60 * asked.minutes
    for name, runs in parts.items():
        began, fresh = time.monotonic(), 0
        for key in _keys(runs, asked.only, asked.seeds):
            if time.monotonic() > over_at:
                print(f"part {name}: CUT SHORT after {asked.minutes:g} minutes; the same command goes on from here", flush=True)
                break
            fresh += book.run(key)
        print(f"part {name}: {fresh} runs in {(time.monotonic() - began) / 60:.1f} min", flush=True)
    rows = book.current()
    _print_days(rows)
    _print_vrptw(rows)
    from tests.benchmarks.planning.plot import draw

    draw(book.rows, asked.out.parent)
    return 1 if book.failed or any(not row["feasible"] for row in rows if row["engine"] not in REFERENCES) else 0


class _Book:
    """The rows measured, kept as a file after every run."""

    def __init__(self, path: Path) -> None:
        self.path = path
        whole = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        self.rows: list[dict[str, Any]] = whole.get("rows", [])
        self.failed = 0
        self.commit = _git("rev-parse", "--short", "HEAD")
        self.best_vrptw = json.loads((BENCH / "vrptw" / "bks.json").read_text(encoding="utf-8"))["instances"]

    def run(self, key: dict[str, Any]) -> int:
        """Run what is not there yet; return how many runs that took."""
        if any(all(row.get(part) == value for part, value in key.items()) for row in self.rows):
            return 0
        load = round(os.getloadavg()[0], 1)
        try:
            found = _run_day(key) if key["instance"] in BEST_SEEN else _run_vrptw(key, self.best_vrptw[key["instance"]])
        except (subprocess.SubprocessError, OSError, ValueError) as error:
            print(f"FAILED {key}: {error}", flush=True)
            self.failed += 1
            return 1
        # Figures of different code are never of one table: the first of the new code takes the place of all of the old.
        cell = ("instance", "seconds", "engine")
        self.rows = [row for row in self.rows if row["code"] == key["code"] or any(row[name] != key[name] for name in cell)]
        self.rows.append({**key, **found, "load_before": load, "commit": self.commit, "at": time.strftime("%Y-%m-%d")})
        self.path.parent.mkdir(parents=True, exist_ok=True)
        names = ("ortools", "pyvrp", "pyvroom", "numba", "numpy")
        whole = {
            "machine": _machine(), "python": platform.python_version(), "versions": {name: version(name) for name in names}, "rows": self.rows,
        }
        part = self.path.with_suffix(".part")
        part.write_text(json.dumps(whole, indent=None).replace('{"instance"', '\n{"instance"') + "\n", encoding="utf-8")
        part.replace(self.path)
        told = {name: value for name, value in self.rows[-1].items() if name not in ("curve", "commit", "at", "code")}
        print(told, flush=True)
        return 1

    def current(self) -> list[dict[str, Any]]:
        """Return the rows of this very code."""
        return [row for row in self.rows if row["code"] == _code(row["engine"])]


def _keys(
    runs: list[tuple[tuple[str, ...], float, tuple[int, ...], tuple[str, ...], bool]], only: list[str] | None, wanted: list[int]
) -> Iterator[dict[str, Any]]:
    vrptw = sorted(json.loads((BENCH / "vrptw" / "bks.json").read_text(encoding="utf-8"))["instances"])
    for rank in range(max((len(one[2]) for one in runs), default=0)):
        for engines, seconds, seeds, days, has_vrptw in runs:
            if rank >= len(seeds) or seeds[rank] not in wanted:
                continue
            for engine in engines:
                if rank and engine in SEEDLESS:
                    continue
                routes = vrptw if has_vrptw and engine not in ("ortools", "search") else []
                for name in (*days, *routes):
                    if not only or name in only:
                        yield {"instance": name, "seconds": float(seconds), "seed": seeds[rank], "engine": engine, "code": _code(engine)}


def _git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], capture_output=True, text=True, cwd=ROOT, check=False).stdout.strip()


def _code(engine: str) -> str:
    """Name the state of what is measured: our library, or the reference and the way it is asked."""
    tree = "tests/benchmarks/planning/references" if engine in REFERENCES else "routing"
    return _git("rev-parse", "--short", f"HEAD:{tree}")


def _machine() -> str:
    try:
        names = [line.split(":", 1)[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    except OSError:
        names = []
    return f"{names[0] if names else platform.machine()}, {os.cpu_count()} CPUs"


def _load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _timed(*arguments: str) -> float:
    began = time.monotonic()
    subprocess.run([sys.executable, "-m", *arguments], cwd=ROOT, check=True, stdout=subprocess.DEVNULL, timeout=RUN_S_MAX)
    return round(time.monotonic() - began, 2)


def _run_day(key: dict[str, Any]) -> dict[str, Any]:
    source = BENCH / "instances" / f"{key['instance']}.json"
    with tempfile.TemporaryDirectory() as folder:
        out, curve_at = Path(folder) / "plan.json", Path(folder) / "curve.jsonl"
        if key["engine"] in REFERENCES:
            wall_s = _timed("tests.benchmarks.planning.references", key["engine"], str(source), str(key["seconds"]), str(key["seed"]), str(out))
            whole = json.loads(out.read_text())
            plan, curve, note = whole["plan"], whole["curve"], whole["note"]
        else:
            wall_s = _timed(
                "routing", "solve", str(source), "--seconds", str(key["seconds"]), "--seed", str(key["seed"]), "--engine", key["engine"],
                "--out", str(out), "--progress", str(curve_at),
            )
            plan, note = json.loads(out.read_text()), ""
            curve = [(one["elapsed_s"], one["cost"]) for one in map(json.loads, curve_at.read_text().splitlines())]
        bad, result = _load(BENCH / "check_plan.py").check(json.loads(source.read_text()), plan)
    return {
        "cost": result["cost"], "ratio_to_best_seen": round(result["cost"] / BEST_SEEN[key["instance"]], 4), "wall_s": wall_s,
        "served_value_pct": result["served_value_pct"], "travel_s": result["travel_s"], "imbalance_s": result["imbalance_s"],
        "feasible": not bad and not result["mandatory_unserved"], "violations": len(bad), "note": note,
        "curve": [*curve, (min(wall_s, key["seconds"]) if key["engine"] in REFERENCES else wall_s, result["cost"])],
    }


def _run_vrptw(key: dict[str, Any], known: dict[str, Any]) -> dict[str, Any]:
    source = BENCH / "vrptw" / f"{key['instance']}.vrp"
    judge = _load(BENCH / "vrptw" / "check_vrptw.py")
    with tempfile.TemporaryDirectory() as folder:
        if key["engine"] in REFERENCES:
            out = Path(folder) / "routes.json"
            wall_s = _timed("tests.benchmarks.planning.references", key["engine"], str(source), str(key["seconds"]), str(key["seed"]), str(out))
            routes = json.loads(out.read_text())["routes"]
        else:
            out = Path(folder) / "routes.sol"
            wall_s = _timed("routing", "vrptw", str(source), "--seconds", str(key["seconds"]), "--seed", str(key["seed"]), "--out", str(out))
            lines = [line.split(":", 1)[1] for line in out.read_text().splitlines() if line.startswith("Route")]
            routes = [[int(one) for one in line.split()] for line in lines]
        cost, bad = judge.check(judge.read(str(source)), routes)
    gap = round(100 * cost / known["best_known"] - 100, 3)
    return {"cost": cost, "gap_pct": gap, "customers": known["customers"], "wall_s": wall_s, "feasible": not bad}


def _groups(rows: list[dict[str, Any]], kind: str) -> dict[tuple[str, float, str], list[dict[str, Any]]]:
    groups: dict[tuple[str, float, str], list[dict[str, Any]]] = {}
    for row in rows:
        if kind in row:
            groups.setdefault((row["instance"], row["seconds"], row["engine"]), []).append(row)
    return groups


def _print_days(rows: list[dict[str, Any]]) -> None:
    groups = _groups(rows, "ratio_to_best_seen")
    if not groups:
        return
    head = f"{'cost':>9} {'/ best':>7} {'/ best of §4':>12} {'/ own §4':>9} {'value %':>8} {'wall s':>7}"
    print(f"\n{'day':20} {'s':>3} {'engine':14} {'n':>2} {head}  verdict")
    for name, seconds, engine in sorted(groups, key=lambda one: (DAYS.index(one[0]), one[1], one[2])):
        group = groups[name, seconds, engine]
        cost = int(statistics.median(row["cost"] for row in group))
        known = MEASURED.get((name, int(seconds)))
        against = min(known[:2]) if known else None
        own = known[REFERENCES.index(engine)] if known and engine in REFERENCES else None
        print(
            f"{name:20} {seconds:3.0f} {engine:14} {len(group):2} {cost:9} {cost / BEST_SEEN[name]:7.3f} "
            f"{f'{cost / against:.3f}' if against else '-':>12} {f'{cost / own:.3f}' if own else '-':>9} "
            f"{statistics.median(row['served_value_pct'] for row in group):8.2f} {max(row['wall_s'] for row in group):7.2f}  "
            f"{_verdict(name, seconds, engine, group, cost)}"
        )
    for (name, seconds, engine), group in groups.items():
        if engine == "auto":
            ours = statistics.median(row["cost"] for row in group)
            there = [one for one in REFERENCES if (name, seconds, one) in groups]
            beside = {one: statistics.median(row["cost"] for row in groups[name, seconds, one]) for one in there}
            if beside:
                told = ", ".join(f"{one} {cost / ours:.3f}" for one, cost in beside.items())
                print(f"{name} {seconds:.0f} s: references cost {told} times ours", "" if min(beside.values()) > ours else "NOT CHEAPER")


def _verdict(name: str, seconds: float, engine: str, group: list[dict[str, Any]], cost: int) -> str:
    """Say whether a reference counts, or whether ours keeps its bar."""
    known = MEASURED.get((name, int(seconds)))
    if engine in REFERENCES:
        own = known[REFERENCES.index(engine)] if known else None
        return "" if known is None else "counts" if own is None or cost <= COUNTS_WITHIN * own else "DOES NOT COUNT: dearer than 1.03 of §4"
    if not all(row["feasible"] for row in group):
        return "NOT FEASIBLE"
    bar = bar_of(name, seconds, engine)
    if engine == "ortools":
        reached = cost / min(known[:2]) if known else 0.0
    else:
        reached = cost / BEST_SEEN[name]
    return f"within {bar}" if reached <= bar else f"ABOVE {bar}"


def bar_of(name: str, seconds: float, engine: str) -> float:
    """Return the highest ratio that keeps a day's bar: over the best reference of §4 for OR-Tools alone, over the best ever seen for the rest."""
    size = int("".join(one for one in name.split("-")[0] if one.isdigit()))
    if engine == "ortools":
        return {50: 1.05, 200: 1.15, 500: 1.30, 1000: 0.95}[size]
    return (1.10 if size <= 220 else 1.20) if seconds < 30 else (1.04 if size <= 220 else 1.08)


def _print_vrptw(rows: list[dict[str, Any]]) -> None:
    groups = _groups(rows, "gap_pct")
    by_size: dict[tuple[int, float, str], list[float]] = {}
    if groups:
        print(f"\n{'VRPTW':10} {'s':>3} {'engine':14} {'n':>2} {'gap %':>8} {'wall s':>7}")
    for (name, seconds, engine), group in sorted(groups.items(), key=lambda one: (one[1][0]["customers"], one[0])):
        gap = statistics.median(row["gap_pct"] for row in group)
        by_size.setdefault((group[0]["customers"], seconds, engine), []).append(gap)
        told = "" if all(row["feasible"] for row in group) else "NOT FEASIBLE"
        print(f"{name:10} {seconds:3.0f} {engine:14} {len(group):2} {gap:8.3f} {max(row['wall_s'] for row in group):7.2f}  {told}")
    for (size, seconds, engine), gaps in sorted(by_size.items()):
        mean = statistics.mean(gaps)
        bar = VRPTW_BARS.get(size)
        told = "" if engine != "auto" or bar is None else f"within {bar} %" if mean <= bar else f"ABOVE {bar} %"
        print(f"mean {size:5} {seconds:3.0f} {engine:14} {len(gaps):2} {mean:8.3f} {'':7}  {told}")


if __name__ == "__main__":
    sys.exit(main())
