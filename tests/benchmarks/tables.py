"""What the benchmarks measured, as one page: `python -m tests.benchmarks.tables` writes docs/bench/README.md from the JSON files beside it.

A test holds the page to the files, so that it says nothing that was not measured.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from tests.benchmarks.planning.run import BEST_SEEN, DAYS, MEASURED, REFERENCES, VRPTW_BARS, bar_of

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "bench"
Row = dict[str, Any]


def main() -> None:
    """Write the page."""
    (FOLDER / "README.md").write_text(page(FOLDER), encoding="utf-8")


def page(folder: Path) -> str:
    """Return the page for the JSON files of a folder; an area without a file has no section."""
    parts = ["# Measured\n\nWritten by `python -m tests.benchmarks.tables` from the files beside it; each section names its command.\n"]
    for name, section in SECTIONS.items():
        source = folder / f"{name}.json"
        if source.exists():
            parts.append(section(json.loads(source.read_text(encoding="utf-8"))))
    return "\n".join(parts)


def _table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    lines = ["| " + " | ".join(head) + " |", "|" + " --- |" * len(head)]
    return "\n".join([*lines, *("| " + " | ".join(str(one) for one in row) + " |" for row in rows)]) + "\n"


def _planning(whole: dict[str, Any]) -> str:
    rows: list[Row] = whole["rows"]
    told = ", ".join(f"{name} {version}" for name, version in whole["versions"].items())
    return "\n".join([
        f"## Planning: `make bench-planning`\n\n{whole['machine']}; Python {whole['python']}; {told}. Medians of n seeds, cost over the best ever "
        "seen; zero violations by the shared validator. References: multiples of our cost at the same budget, given the same fixed pairs "
        "and matrices.\n",
        _days(rows), _as_of(_of(_days_of(rows), engine="auto")),
        "Without the compiled search, cost over the best reference of `routing.md` §4:\n", _alone(rows), _as_of(_of(rows, engine="ortools")),
        "Published VRPTW, mean gap to the best known at 10 s:\n", _vrptw(rows), _as_of(_of([row for row in rows if "gap_pct" in row], engine="auto")),
        "![cost over time](planning.png)\n",
    ])


def _median(rows: Iterable[Row], key: str) -> float | None:
    values = [row[key] for row in rows]
    return statistics.median(values) if values else None


def _of(rows: list[Row], **wanted: object) -> list[Row]:
    return [row for row in rows if all(row.get(key) == value for key, value in wanted.items())]


def _days_of(rows: list[Row]) -> list[Row]:
    return [row for row in rows if row["instance"] in DAYS]


def _as_of(rows: list[Row]) -> str:
    """Name the code that was measured: a table may be older than the one beside it."""
    return f"Ours as of commit {', '.join(sorted({row['commit'] for row in rows}))}.\n" if rows else ""


def _days(rows: list[Row]) -> str:
    found = []
    for name in DAYS:
        for seconds in (10.0, 30.0):
            ours = _of(rows, instance=name, seconds=seconds, engine="auto")
            cost = _median(ours, "cost")
            if cost is None:
                continue
            beside = (_median(_of(rows, instance=name, seconds=seconds, engine=one), "cost") for one in REFERENCES)
            served = _median(ours, "served_value_pct")
            found.append((
                name, f"{seconds:.0f}", len(ours), f"{cost / BEST_SEEN[name]:.3f}", f"{bar_of(name, seconds, 'auto'):.2f}", f"{served:.2f}",
                *("" if one is None else f"{one / cost:.3f}" for one in beside),
            ))
    return _table(("day", "s", "n", "/ best seen", "at most", "value %", *REFERENCES), found)


def _alone(rows: list[Row]) -> str:
    found = []
    for name in DAYS:
        for seconds in (10.0, 30.0):
            ours = _of(rows, instance=name, seconds=seconds, engine="ortools")
            cost = _median(ours, "cost")
            if cost is not None:
                bar, ratio = bar_of(name, seconds, "ortools"), cost / min(MEASURED[name, int(seconds)][:2])
                found.append((name, f"{seconds:.0f}", len(ours), f"{ratio:.3f}", f"{bar:.2f}", f"{_median(ours, 'served_value_pct'):.2f}"))
    return _table(("day", "s", "n", "/ reference", "at most", "value %"), found)


def _vrptw(rows: list[Row]) -> str:
    routes = [row for row in rows if "gap_pct" in row]
    found = []
    for size in sorted({row["customers"] for row in routes}):
        means = []
        for engine in ("auto", *REFERENCES):
            asked = _of(routes, customers=size, engine=engine)
            gaps = [_median(_of(asked, instance=name), "gap_pct") or 0.0 for name in sorted({row["instance"] for row in asked})]
            means.append(f"{statistics.mean(gaps):.2f}" if gaps else "")
        found.append((size, f"{VRPTW_BARS[size]:.0f}", *means))
    return _table(("customers", "at most", "ours", *REFERENCES), found)


def _plain(title: str, key: str, columns: Sequence[str]) -> Any:
    """Return a section that shows these columns of each row of a file."""
    def section(whole: dict[str, Any]) -> str:
        named = " · ".join(f"{name} {_flat(value)}" for name, value in whole.items() if name in ("machine", "commit", "load", "at"))
        return f"## {title}\n\n{named}\n\n" + _table(columns, ([row.get(column, "") for column in columns] for row in whole[key]))
    return section


def _flat(value: object) -> str:
    return ", ".join(f"{key} {one}" for key, one in value.items()) if isinstance(value, dict) else str(value)


def _branches(whole: dict[str, Any]) -> str:
    return "## Hundreds of branches: `make bench-branches`\n\n" + _table(("what", "figure"), ((name, _flat(value)) for name, value in whole.items()))


def _evidence(whole: dict[str, Any]) -> str:
    large, small = whole["uploads"]["large"], whole["uploads"]["small"]
    ratios = ("ratio", "ratio_to_synced")
    return "\n".join([
        f"## Evidence: `make bench-evidence`\n\n{_flat(whole['machine'])}. Uploads beside @tus/server (plain) and the same with fsync, in one run, "
        f"medians of {whole['uploads']['rounds']} rounds; ours seals, hashes and syncs.\n",
        _table(("files", "ours", "peer", "peer synced", "ours / peer", "ours / synced"), [
            ("50 MB in 8 MB pieces, MB/s", *(large[one] for one in ("ours_mb_per_s", "peer_mb_per_s", "peer_synced_mb_per_s", *ratios))),
            ("300 kB, files/s", *(small[one] for one in ("ours_files_per_s", "peer_files_per_s", "peer_synced_files_per_s", *ratios))),
        ]),
        f"Manifests of two signatures verified: {whole['manifests']['verified_per_s']} per second.\n",
        _table(("examined", "bytes", "wall s", "CPU s", "MB"), (
            [one[key] for key in ("kind", "bytes", "wall_s", "cpu_s", "memory_mb")] for one in whole["examinations"]
        )),
    ])


SECTIONS: dict[str, Any] = {
    "planning": _planning,
    "growth": _plain(
        "Growth: `make bench-growth`", "rows", ("visits", "seconds", "engine", "wall_s", "peak_mb", "cost", "served_value_pct", "violations")),
    "replan": _plain(
        "Re-planning a running day: `make bench-replan`", "rows",
        ("instance", "event", "seconds", "locked", "moves", "cost_before", "cost_after", "violations")),
    "branches": _branches,
    "travel": _plain(
        "Travel over roads: `make bench-travel`", "rows",
        ("extract", "places", "junctions", "roads", "build_s", "table_s", "road_to_crow", "memory_mb")),
    "evidence": _evidence,
    "cash": _plain(
        "Cash: `make bench-cash`", "days",
        ("engine", "receipts", "branches", "reconciled_s", "receipts_s", "deposits_s", "statement_s", "rss_mb")),
}


if __name__ == "__main__":
    main()
