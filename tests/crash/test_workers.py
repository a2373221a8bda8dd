"""Two worker processes, one killed in the middle of a solve: the other finishes its job."""

import signal
import threading
from datetime import datetime
from pathlib import Path

import pytest
from sqlalchemy import select, text

from backend.db.engine import make_engine, session_factory
from backend.plans.model import PlanStatus
from backend.plans.tables import PlanRow, PlanRunRow
from tests.support.branches import Order, order_days, statuses, workers
from tests.support.engines import PostgresqlUnderTest

PATIENCE = 2400


@pytest.mark.slow
def test_a_killed_workers_job_is_finished_by_the_other(postgresql: PostgresqlUnderTest, tmp_path: Path, now: datetime) -> None:
    with postgresql.clone() as database:
        engine = make_engine(database.url)
        sessions = session_factory(engine)
        (plan_id,) = order_days(sessions, Order(branches=1, visits=40, search_s=8), now)
        pause = threading.Event()
        with workers(database.url, tmp_path, 2, stalled_s=3) as both:
            for _ in range(PATIENCE):
                with sessions() as session:
                    run = session.execute(select(PlanRunRow.claimed_by, PlanRunRow.cost).where(PlanRunRow.plan_id == plan_id)).first()
                if run is not None and run.cost is not None:
                    break
                pause.wait(0.05)
            assert run is not None
            killed = int(run.claimed_by.rpartition(":")[2])
            (victim,) = [one for one in both if one.pid == killed]
            assert statuses(sessions, [plan_id]) == {plan_id: PlanStatus.SOLVING}, "the search was over before its worker was killed"
            victim.send_signal(signal.SIGKILL)
            victim.wait()
            (other,) = [one for one in both if one.pid != killed]
            for _ in range(PATIENCE):
                if statuses(sessions, [plan_id])[plan_id] is not PlanStatus.SOLVING:
                    break
                pause.wait(0.05)
            assert other.poll() is None
        with sessions() as session:
            row, run = session.get_one(PlanRow, plan_id), session.get_one(PlanRunRow, plan_id)
            assert (row.status, row.failure) == (PlanStatus.READY, None)
            assert run.claimed_by.endswith(f":{other.pid}")
            handed_on = text("SELECT count(*) FROM procrastinate_events WHERE type = 'deferred_for_retry'")
            assert session.execute(handed_on).scalar_one() == 1
        engine.dispose()
