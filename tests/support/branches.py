"""Many branches' days to solve by real worker processes on PostgreSQL: rows that plans refer to, generated instances, processes to kill."""

import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import insert, select
from sqlalchemy.engine import URL
from sqlalchemy.orm import Session, sessionmaker

from backend.core.ids import new_id
from backend.db.base import Base
from backend.db.metadata import load_metadata
from backend.jobs.workers import WorkerQueue
from backend.keys.folder import make_folder
from backend.plans.actions import digest
from backend.plans.model import PlanStatus
from backend.plans.tables import PlanRow
from backend.plans.tasks import SOLVE, tasks
from backend.requests.tables import VisitRequestRow
from backend.staff.tables import BranchRow, StaffRow
from routing import load_instance
from tests.support.cases import approved_request
from tests.support.world import World, shared_keyring, world

ROOT = Path(__file__).resolve().parents[2]
VISITS_PER_PAIR = 11


@dataclass(frozen=True)
class Order:
    """What is planned: so many branches, so many visits each, so long."""

    branches: int
    visits: int
    search_s: int
    seed: int = 1


def order_days(sessions: sessionmaker[Session], order: Order, now: datetime) -> list[UUID]:
    """Make branches with staff and requests, and order one plan for each, jobs included; returns the plans' ids."""
    load_metadata()
    chance = random.Random(order.seed)
    with sessions.begin() as session:
        made = world(session, shared_keyring(), now)
        request = session.get_one(VisitRequestRow, approved_request(session, shared_keyring(), made, 1).request_id)
        branch, person = session.get_one(BranchRow, made.sh1), session.get_one(StaffRow, made.bilal.id)
        plans = []
        for number in range(order.branches):
            (branch_id,) = _clone(session, branch, 1, code=[f"b{number:04d}"])
            crew = _clone(session, person, 2 * -(-order.visits // VISITS_PER_PAIR), branch_id=[branch_id],
                          employee_no=[f"B{number:04d}-{one:03d}" for one in range(400)])
            visits = _clone(session, request, order.visits, status=["fulfilled"])
            plans.append(_plan(session, made, branch_id, generated_day(chance, crew, visits, made), order))
        queue = WorkerQueue(tasks(sessions, lambda: now), sessions)
        for plan_id in plans:
            queue.put_within(session, SOLVE, plan_id)
    return plans


def _clone(session: Session, row: Base, count: int, **changes: list[Any]) -> list[UUID]:
    """Insert `count` copies of a row; a changed column takes its values in turn."""
    table = row.__table__
    values = {column.key: getattr(row, column.key) for column in table.columns}
    ids = [UUID(str(new_id())) for _ in range(count)]
    turned = [{key: given[place % len(given)] for key, given in changes.items()} for place in range(count)]
    session.execute(insert(type(row)), [values | turn | {"id": one} for one, turn in zip(ids, turned, strict=True)])
    return ids


def generated_day(chance: random.Random, crew: list[UUID], visits: list[UUID], made: World) -> dict[str, Any]:
    """Return a `fieldday/1` of a city: visits in a few quarters, half-day and day windows, some with cash, some mandatory."""
    quarters = [(31.23 + chance.gauss(0, 0.06), 121.47 + chance.gauss(0, 0.07)) for _ in range(6)]
    places = [{"id": "office", "kind": "office", "lat": 31.23, "lon": 121.47}, {"id": "bank", "kind": "bank", "lat": 31.235, "lon": 121.48}]
    told = []
    for one in visits:
        lat, lon = chance.choice(quarters)
        places.append({"id": f"p{one}", "kind": "visit", "lat": lat + chance.gauss(0, 0.02), "lon": lon + chance.gauss(0, 0.02)})
        window = chance.choice([[32_400, 64_800], [32_400, 43_200], [46_800, 64_800], [64_800, 73_800]])
        told.append({
            "id": str(one), "location": f"p{one}", "service_s": chance.choice([1200, 1800, 2400]), "windows": [window],
            "mandatory": chance.random() < 0.1, "value": chance.randint(1, 10), "required_cert": None, "required_language": None,
            "gender_rule": chance.choice(["any", "any", "female_present"]), "excluded_collectors": [],
            "approval": {"status": "approved", "effective_from": None}, "cash_fen": chance.choice([0, 0, 0, 200_000]),
        })
    return {
        "schema": "fieldday/1", "name": f"generated {visits[0]}", "date": made.today.isoformat(), "timezone": "Asia/Shanghai",
        "horizon": [28_800, 75_600], "travel": {"earth_radius_m": 6_371_008.8, "detour_factor": 1.35, "speed_kmh": 25.0},
        "objective": {"mandatory_unserved": 1_000_000, "lost_value": 3_600, "travel_s": 1, "imbalance_div": 10},
        "pairing": {"max_pairs": len(crew) // 2, "require_lead": True, "max_consecutive_days": 5, "conflicts": [], "history": []},
        "cash": {"carry_limit_fen": 5_000_000}, "locations": places, "visits": told,
        "collectors": [
            {"id": str(one), "gender": "F" if place % 2 else "M", "lead": place % 3 == 0, "certs": [], "languages": ["zh"], "available": True,
             "shift": [28_800, 75_600], "start": "office", "end": "office"} for place, one in enumerate(crew)
        ],
        "banks": [{"id": str(made.bank_a.office_id), "location": "bank", "open": 32_400, "close": 61_200, "service_s": 900}],
    }


def _plan(session: Session, made: World, branch_id: UUID, day: dict[str, Any], order: Order) -> UUID:
    instance = msgspec.to_builtins(load_instance(day))
    plan_id = UUID(str(new_id()))
    session.add(PlanRow(
        id=plan_id, branch_id=branch_id, on=made.today, version=1, status=PlanStatus.QUEUED, seed=order.seed, search_s=order.search_s,
        policy_version="default-1", instance=instance, instance_digest=digest(instance), requested_by=made.farid.id, requested_at=made.now,
    ))
    session.flush()
    return plan_id


def statuses(sessions: sessionmaker[Session], plans: list[UUID]) -> dict[UUID, PlanStatus]:
    """Return where each plan stands."""
    with sessions() as session:
        return {row.id: row.status for row in session.execute(select(PlanRow.id, PlanRow.status).where(PlanRow.id.in_(plans)))}


@contextmanager
def workers(url: URL, folder: Path, number: int, *, stalled_s: int) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Run so many `fieldvisit worker` processes; whoever lives at the end is killed."""
    make_folder(folder / "keys", None, datetime.fromisoformat("2026-01-01T00:00:00+00:00"))
    environ = {key: value for key, value in os.environ.items() if not key.startswith("FIELDVISIT_")} | {
        "FIELDVISIT_DATABASE_URL": url.render_as_string(hide_password=False), "FIELDVISIT_JOBS": "workers",
        "FIELDVISIT_WORKER_STALLED_S": str(stalled_s), "FIELDVISIT_DATA_FOLDER": str(folder / "data"), "FIELDVISIT_KEY_FOLDER": str(folder / "keys"),
    }
    started = []
    try:
        for place in range(number):
            with (folder / f"worker-{place}.log").open("wb") as log:
                command = [sys.executable, "-m", "backend.cli.main", "worker"]
                started.append(subprocess.Popen(command, cwd=ROOT, env=environ, stdin=subprocess.DEVNULL, stdout=log, stderr=log))
        yield started
    finally:
        for process in started:
            process.send_signal(signal.SIGKILL)
            process.wait()
