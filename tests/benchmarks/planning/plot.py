"""Draw what was measured: cost over time on the days, and the gaps on VRPTW."""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")

import matplotlib.pyplot as plt

ENGINES = {
    "auto": ("fieldvisit", "#1b6ca8", "-"), "ortools": ("fieldvisit without `fast`", "#6aa84f", "-"),
    "pyvrp": ("PyVRP, pairs fixed", "#c0392b", "--"),
    "vroom": ("VROOM, pairs fixed", "#e08e0b", "--"), "ortools-plain": ("plain OR-Tools, pairs fixed", "#7f7f7f", "--"),
}


def draw(rows: list[dict[str, Any]], folder: Path) -> None:
    """Write planning.png and vrptw.png as far as there are rows for them."""
    days = [row for row in rows if row.get("curve")]
    if days:
        _draw_days(days, folder / "planning.png")
    routes = [row for row in rows if "gap_pct" in row]
    if routes:
        _draw_vrptw(routes, folder / "vrptw.png")


def _draw_days(rows: list[dict[str, Any]], path: Path) -> None:
    from tests.benchmarks.planning.run import BEST_SEEN

    figure, axes = plt.subplots(2, 3, figsize=(13, 7.5), constrained_layout=True)
    for panel, (name, best) in zip(axes.flat, BEST_SEEN.items(), strict=True):
        for engine, (label, colour, style) in ENGINES.items():
            own = [row for row in rows if row["instance"] == name and row["engine"] == engine]
            if not own:
                continue
            longest = max(row["seconds"] for row in own)
            # The run whose end is the median of its seeds; costs fall, so each point holds until the next.
            last = sorted((row for row in own if row["seconds"] == longest), key=lambda row: row["cost"])
            curve = last[(len(last) - 1) // 2]["curve"]
            lowest, points = float("inf"), []
            for seconds, cost in curve:
                lowest = min(lowest, cost)
                points.append((max(0.1, seconds), lowest / best))
            times, ratios = [one[0] for one in points], [one[1] for one in points]
            panel.step(times, ratios, where="post", color=colour, linestyle=style, label=label, linewidth=1.6)
            panel.plot(points[-1][0], points[-1][1], "o", color=colour, markersize=4)
        panel.axhline(1.0, color="black", linewidth=0.8, linestyle=":")
        panel.set_xscale("log")
        panel.set_yscale("log")
        reached = min([1.0, *(row["cost"] / best for row in rows if row["instance"] == name)])
        panel.set_ylim(min(0.88, 0.95 * reached), 4)
        ticks = [one for one in (0.5, 0.6, 0.7, 0.8, 0.9, 1, 1.1, 1.2, 1.5, 2, 3, 4) if one >= panel.get_ylim()[0]]
        panel.set_yticks(ticks, [str(one) for one in ticks])
        panel.set_yticks([], minor=True)
        panel.set_title(f"{name} (best seen {best:,})", fontsize=10)
        panel.grid(alpha=0.25)
    for panel in axes[1]:
        panel.set_xlabel("seconds")
    for panel in axes[:, 0]:
        panel.set_ylabel("cost / best seen")
    handles = {label: handle for panel in axes.flat for handle, label in zip(*panel.get_legend_handles_labels(), strict=True)}
    figure.legend(list(handles.values()), list(handles), loc="outside lower center", ncols=len(handles), frameon=False)
    figure.savefig(path, dpi=110, metadata={"Software": ""})
    plt.close(figure)


def _draw_vrptw(rows: list[dict[str, Any]], path: Path) -> None:
    sizes = sorted({row["customers"] for row in rows})
    figure, panel = plt.subplots(figsize=(8, 4.2), constrained_layout=True)
    engines = [one for one in ENGINES if any(row["engine"] == one for row in rows)]
    for place, engine in enumerate(engines):
        gaps = []
        for size in sizes:
            own = [row for row in rows if row["engine"] == engine and row["customers"] == size]
            names = sorted({row["instance"] for row in own})
            medians = [statistics.median(row["gap_pct"] for row in own if row["instance"] == name) for name in names]
            gaps.append(statistics.mean(medians) if own else 0.0)
        width = 0.8 / len(engines)
        label, colour, _ = ENGINES[engine]
        bars = panel.bar([at + place * width for at in range(len(sizes))], gaps, width, color=colour, label=label.split(",")[0])
        panel.bar_label(bars, fmt="%.1f", fontsize=7)
    panel.set_xticks([at + 0.4 - 0.4 / len(engines) for at in range(len(sizes))], [f"{size} customers" for size in sizes])
    panel.set_ylabel("gap to best known, %")
    seeds = len({row["seed"] for row in rows if row["engine"] == "auto"})
    panel.set_title(f"Published VRPTW instances, 10 s each: mean of {f'medians of {seeds} seeds' if seeds > 1 else 'one seed'}", fontsize=10)
    panel.legend(frameon=False, fontsize=8)
    figure.savefig(path, dpi=110, metadata={"Software": ""})
    plt.close(figure)
