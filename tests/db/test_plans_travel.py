"""Travel times of the service's plans: which ones were used stands with the plan, and a provider that fails is no plan or says so."""

import json
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
from sqlalchemy import func, select
from sqlalchemy.exc import DatabaseError
from sqlalchemy.orm import Session, sessionmaker

from backend.cli.doctor import examine
from backend.core.settings import Settings, SettingsError, read_settings
from backend.jobs.threads import ThreadQueue
from backend.plans import actions as plans
from backend.plans import queries
from backend.plans.actions import HandMade
from backend.plans.model import OrderPlan, PlanOrdered, PlanStatus
from backend.plans.tables import PlanRow, TravelMatrixRow
from backend.plans.tasks import SOLVE, tasks
from backend.plans.travel import Travel, TravelOrder, config_of, matrix_of, travel_order
from backend.visits import actions as visits
from routing import Limits, check, encode_plan, load_instance, load_plan, solve
from routing.travel import ProviderName
from tests.support.cases import approved_request
from tests.support.visits import ordered_plan, solved_plan
from tests.support.world import World, shared_keyring, world
from tests.unit.routing.support_travel import OsrmTables, listening

KEYRING = shared_keyring()


@pytest.fixture
def made(sessions: sessionmaker[Session], now: datetime) -> World:
    with sessions.begin() as session:
        found = world(session, KEYRING, now)
        for serial in (1, 2):
            approved_request(session, KEYRING, found, serial, lon=f"121.4{serial}")
    return found


def planned(sessions: sessionmaker[Session], made: World, settings: Settings) -> PlanRow:
    """Order a plan and let the queue solve it by these settings."""
    with sessions.begin() as session:
        ordered: PlanOrdered = plans.order(session, made.farid.actor, OrderPlan(branch_id=made.sh1, on=made.today, search_s=1, seed=3), made.now)
    queue = ThreadQueue(tasks(sessions, lambda: made.now, travel=config_of(settings)))
    queue.start()
    queue.put(SOLVE, ordered.id)
    queue.wait_idle(120)
    queue.stop()
    with sessions() as session:
        return session.get_one(PlanRow, ordered.id)


def solved_here(session: Session, made: World, settings: Settings) -> PlanRow:
    """Order a plan and take the queue's steps in this process, without searching."""
    ordered = ordered_plan(session, made)
    claimed = plans.claim(session, ordered.id)
    assert claimed is not None
    order = msgspec.msgpack.encode(TravelOrder(instance=claimed.instance, config=config_of(settings)))
    travel = msgspec.msgpack.decode(travel_order(order), type=Travel)
    found = solve(load_instance(claimed.instance), Limits(iterations_max=0), seed=1, matrix=travel.matrix)
    plans.store(session, ordered.id, encode_plan(found), made.now, travel)
    return session.get_one(PlanRow, ordered.id)


@pytest.fixture
def here(session: Session, now: datetime) -> World:
    found = world(session, KEYRING, now)
    for serial in (1, 2):
        approved_request(session, KEYRING, found, serial, lon=f"121.4{serial}")
    return found


def osrm(tmp_path: Path, url: str, **more: str) -> Settings:
    return read_settings({
        "FIELDVISIT_DATA_FOLDER": str(tmp_path), "FIELDVISIT_TRAVEL_PROVIDER": "osrm", "FIELDVISIT_TRAVEL_URL": url,
        "FIELDVISIT_TRAVEL_DATA_SET": "sh", **more,
    })


@pytest.mark.parametrize("given", [
    {"TRAVEL_PROVIDER": "google"}, {"TRAVEL_PROVIDER": "osrm"}, {"TRAVEL_PROVIDER": "roads"}, {"TRAVEL_FALLBACK": "anything"},
    {"TRAVEL_PROVIDER": "valhalla", "TRAVEL_URL": "localhost:8002", "TRAVEL_DATA_SET": "sh"}, {"TRAVEL_TIMEOUT_S": "0"},
])
def test_a_provider_that_cannot_work_stops_the_process_by_name(given: dict[str, str]) -> None:
    with pytest.raises(SettingsError, match="FIELDVISIT_TRAVEL_"):
        read_settings({f"FIELDVISIT_{name}": text for name, text in given.items()})


def test_a_plan_whose_provider_is_down_fails_and_says_why(sessions: sessionmaker[Session], made: World, tmp_path: Path) -> None:
    with listening(lambda *_: (404, b"nobody")) as fleet:
        row = planned(sessions, made, osrm(tmp_path, fleet.url))
    assert (row.status, row.plan, row.travel) == (PlanStatus.FAILED, None, None)
    assert row.failure is not None
    assert row.failure.startswith("travel times failed: TravelRefused: http://127.0.0.1")


def test_a_provider_that_is_down_is_replaced_only_where_that_is_configured_and_the_plan_says_so(
    session: Session, here: World, tmp_path: Path
) -> None:
    with listening(lambda *_: (404, b"nobody")) as fleet:
        row = solved_here(session, here, osrm(tmp_path, fleet.url, FIELDVISIT_TRAVEL_FALLBACK="great-circle"))
    assert row.status is PlanStatus.READY
    assert row.travel is not None
    assert row.travel["provider"] == "great-circle"
    assert "status 404" in row.travel["failure"]
    assert row.plan is not None
    assert row.plan["solver"]["parameters"]["travel"] == row.travel


def test_a_plan_is_solved_judged_and_published_by_the_hosts_times_and_names_them(
    sessions: sessionmaker[Session], made: World, tmp_path: Path
) -> None:
    with listening(OsrmTables()) as fleet:
        settings = osrm(tmp_path, fleet.url)
        row = planned(sessions, made, settings)
        (finding,) = [one for one in examine(settings) if one.part == "travel"]
        asked = fleet.tables()
        with sessions.begin() as session:
            assert solved_here(session, made, settings).status is PlanStatus.READY
        assert fleet.tables() == asked                                        # The second version's legs are kept.
    assert finding.is_good
    assert "osrm, driving: sh (2026-11)" in finding.text
    assert (row.status, row.failure) == (PlanStatus.READY, None)
    assert row.plan is not None
    assert row.travel is not None
    solver = row.plan["solver"]
    assert row.travel == solver["parameters"]["travel"]
    assert row.travel["matrix_digest"] == solver["matrix_digest"]
    assert (row.travel["provider"], row.travel["profile"], row.travel["data_set"]) == ("osrm", "driving", "sh (2026-11)")
    with sessions.begin() as session:
        assert session.scalar(select(func.count()).select_from(TravelMatrixRow)) == 1
        matrix = matrix_of(session, row)
        assert matrix is not None
        instance, plan = load_instance(row.instance), load_plan(row.plan)
        assert check(instance, plan, matrix) == ()
        assert check(instance, plan) != ()                                    # By great-circle times its own times are wrong.
        view = queries.plan(session, made.farid.actor, queries.PlanId(row.id))
        assert view.travel == row.travel
        hand_made = msgspec.to_builtins({key: row.plan[key] for key in ("schema", "routes", "unserved")})
        judged = plans.judge_hand_made(session, made.farid.actor, HandMade(branch_id=made.sh1, on=made.today, plan=hand_made), made.now)
        assert (judged.violations, judged.travel) == ((), row.travel)
        assert len(visits.dispatch_plan(session, made.farid.actor, queries.PlanId(row.id), made.now).stops) == 2


def test_REQ_04_a_matrix_is_not_changed_and_a_plan_that_names_another_is_not_published(session: Session, here: World, tmp_path: Path) -> None:
    with listening(OsrmTables()) as fleet:
        row = solved_here(session, here, osrm(tmp_path, fleet.url))
    for statement in ("UPDATE travel_matrices SET digest = 'x'", "DELETE FROM travel_matrices"):
        with pytest.raises(DatabaseError), session.begin_nested():
            session.connection().exec_driver_sql(statement)
    assert row.travel is not None
    row.travel = {**row.travel, "matrix_digest": "0" * 64}
    session.flush()
    with pytest.raises(AssertionError, match="never deleted"):
        visits.dispatch_plan(session, here.farid.actor, queries.PlanId(row.id), here.now)


def test_a_table_of_the_days_places_serves_too(session: Session, here: World, tmp_path: Path) -> None:
    places = [[one["lat"], one["lon"]] for one in session.get_one(PlanRow, solved_plan(session, here)).instance["locations"]]
    distinct = [list(one) for one in dict.fromkeys(map(tuple, places))]
    rows: list[list[Any]] = [[0 if i == j else 600 + i for j in range(len(distinct))] for i in range(len(distinct))]
    file = tmp_path / "table.json"
    file.write_text(json.dumps({"schema": "travel-table/1", "data_set": "by hand", "places": distinct, "seconds": rows, "metres": rows}))
    row = solved_here(session, here, Settings(data_folder=tmp_path, travel_provider=ProviderName.TABLE, travel_file=file))
    assert row.status is PlanStatus.READY
    assert row.travel is not None
    assert (row.travel["provider"], row.travel["data_set"]) == ("table", "by hand")


def test_by_default_a_plan_says_great_circle_and_keeps_no_matrix(session: Session, here: World) -> None:
    row = session.get_one(PlanRow, solved_plan(session, here))
    assert row.plan is not None
    assert row.travel is not None
    assert (row.travel["provider"], row.travel["data_set"]) == ("great-circle", "radius 6.37101e+06 m, detour 1.35, 25 km/h")
    assert row.travel["matrix_digest"] == row.plan["solver"]["matrix_digest"]
    assert session.scalar(select(func.count()).select_from(TravelMatrixRow)) == 0
    assert matrix_of(session, row) is None


@pytest.mark.parametrize(("url", "expected"), [("http://127.0.0.1:9", "no plan can be made")])
def test_doctor_says_what_a_silent_host_means(tmp_path: Path, url: str, expected: str) -> None:
    (finding,) = [one for one in examine(osrm(tmp_path, url)) if one.part == "travel"]
    assert not finding.is_good
    assert not finding.is_fatal
    assert expected in finding.text
