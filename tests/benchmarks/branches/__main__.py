"""Hundreds of branches' days through the worker engine: `make bench-branches [BRANCHES=300]`. Prints and keeps the throughput."""

import json
import os
import platform
import subprocess
import tempfile
import threading
import time
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

from backend.db import upgrade
from backend.db.cluster import Cluster
from backend.db.engine import make_engine, session_factory
from backend.plans.model import PlanStatus
from tests.support.branches import Order, order_days, statuses, workers
from tests.support.world import FRIDAY

WORKERS = 2
OUT = Path("docs/bench/branches.json")


def main() -> None:
    order = Order(branches=int(os.environ.get("BRANCHES", "300")), visits=150, search_s=2)
    cluster = Cluster(is_durable=True)
    url = cluster.url(cluster.create())
    upgrade.upgrade(url)
    engine = make_engine(url)
    sessions = session_factory(engine)
    began = time.monotonic()
    plans = order_days(sessions, order, FRIDAY)
    print(f"{order.branches} branches × {order.visits} visits, {order.search_s} s each, ordered in {time.monotonic() - began:.0f} s")
    pause, first = threading.Event(), None
    with tempfile.TemporaryDirectory() as folder, workers(url, Path(folder), WORKERS, stalled_s=30):
        started = time.monotonic()
        while True:
            left = sum(status in (PlanStatus.QUEUED, PlanStatus.SOLVING) for status in statuses(sessions, plans).values())
            first = time.monotonic() if first is None and left < len(plans) else first
            if not left:
                break
            pause.wait(0.25)
        ended = time.monotonic()
    counts = Counter(status.value for status in statuses(sessions, plans).values())
    # From the first plan stored on, so that the workers' own start is told apart.
    took_s, rest_s = ended - started, ended - (first or started)
    told = {
        "at": datetime.now(UTC).date().isoformat(), "commit": _commit(), "machine": f"{platform.machine()}, {os.cpu_count()} processors",
        "load": round(os.getloadavg()[0], 1), "branches": order.branches, "visits": order.visits, "search_s": order.search_s, "workers": WORKERS,
        "took_s": round(took_s, 1), "plans_per_minute": round(60 * order.branches / took_s, 1),
        "plans_per_minute_warm": round(60 * (order.branches - 1) / rest_s, 1) if rest_s else None,
        "share_of_ideal": round(order.branches * order.search_s / WORKERS / took_s, 3), "statuses": dict(counts),
    }
    print(json.dumps(told, indent=1))
    OUT.parent.mkdir(parents=True, exist_ok=True)
    OUT.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    engine.dispose()
    cluster.stop()
    raise SystemExit(0 if counts == {PlanStatus.READY.value: order.branches} else 1)


def _commit() -> str:
    return subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False).stdout.strip()


if __name__ == "__main__":
    main()
