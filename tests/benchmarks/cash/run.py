"""`python -m tests.benchmarks.cash.run`: a day of money, then one of twice as many receipts; time, memory and their ratio.

The result is kept in `docs/bench/cash.json` with commit and machine. Each size runs in a process and a database of its own.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from backend.db.cluster import Cluster, PostgresMissing
from backend.db.engine import session_factory
from tests.benchmarks.cash.day import Day
from tests.support.engines import AnyEngine, PostgresqlUnderTest, SqliteUnderTest

ROOT = Path(__file__).resolve().parents[3]
RESULT = ROOT / "docs" / "bench" / "cash.json"
PARTS = ("receipts_s", "deposits_s", "statement_s", "closes_s", "books_s", "log_s", "reconciled_s", "rss_mb")


def one_day(kind: str, receipts: int, branches: int) -> dict[str, Any]:
    """Live one day on an engine."""
    if kind == "postgresql":
        cluster = Cluster()
        try:
            return _lived(PostgresqlUnderTest(cluster), receipts, branches)
        finally:
            cluster.stop()
    with tempfile.TemporaryDirectory() as folder:
        return _lived(SqliteUnderTest(Path(folder)), receipts, branches)


def _lived(database: AnyEngine, receipts: int, branches: int) -> dict[str, Any]:
    with database.clone() as clone:
        engine = clone.engine()
        told = Day(session_factory(engine), receipts, branches).run()
        engine.dispose()
    return {"engine": database.kind, **told}


def main() -> None:
    """Print the table and keep it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--receipts", type=int, default=10_000)
    parser.add_argument("--branches", type=int, default=50)
    parser.add_argument("--engine", choices=("postgresql", "sqlite"), default="postgresql")
    parser.add_argument("--once", action="store_true", help="one size, as JSON on the last line")
    asked = parser.parse_args()
    if asked.once:
        print(json.dumps(one_day(asked.engine, asked.receipts, asked.branches)))
        return
    try:
        Cluster().stop()
    except PostgresMissing as missing:
        sys.exit(f"PostgreSQL is needed: {missing}")
    days = []
    for size in (asked.receipts, 2 * asked.receipts):
        command = [sys.executable, "-m", "tests.benchmarks.cash.run", "--once", "--receipts", str(size), "--branches", str(asked.branches),
                   "--engine", asked.engine]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
        days.append(json.loads(done.stdout.splitlines()[-1]))
    ratios = {part: round(days[1][part] / days[0][part], 2) if days[0][part] else None for part in PARTS}
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False).stdout.strip()
    told = {
        "commit": commit, "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": {"system": platform.platform(), "cores": os.cpu_count(), "load": [round(one, 1) for one in os.getloadavg()]},
        "days": days, "ratio": ratios,
    }
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    print(f"{'':14}" + "".join(f"{day['receipts']:>12,}" for day in days) + f"{'ratio':>9}")
    for part in PARTS:
        print(f"{part:14}" + "".join(f"{day[part]:>12}" for day in days) + f"{ratios[part] or 0:>9}")


if __name__ == "__main__":
    main()
