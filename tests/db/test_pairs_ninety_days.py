"""Ninety working days of a small branch through the real actions: bounds of rotation kept, relatives never together, work shared evenly."""

import random
import statistics
from collections import Counter
from datetime import date, datetime, timedelta
from itertools import combinations
from uuid import UUID

import msgspec
import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session, sessionmaker

from backend.core.ids import StaffId, new_id
from backend.plans import actions as plans
from backend.plans.model import OrderPlan, PlanStatus
from backend.plans.tables import PlanRow, RouteRow
from backend.policies.model import Thresholds
from backend.policies.tables import PolicyRow
from backend.staff.actions import exclude_pair
from backend.staff.tables import CredentialRow, EquipmentAssignmentRow, EquipmentRow, QualificationRow, StaffRoleRow, StaffRow, WorkdayRow
from backend.visits.actions import dispatch_plan
from routing import Limits, encode_plan, load_instance, solve
from tests.support.cases import approved_request
from tests.support.engines import SqliteUnderTest
from tests.support.world import World, shared_keyring, world

KEYRING = shared_keyring()
DAYS, CREW = 90, 7
AT_TEN = {"window_from_s": 36_000, "window_to_s": 38_400, "service_s": 1_800}      # All at once, so that every pair is wanted.
BOUNDS = {"pair_consecutive_days_max": 3, "pair_days_max": 6, "pair_window_days": 28, "pair_rest_days_min": 2, "request_valid_days": 365,
          "confirmed_days_max": 3650, "amount_age_days_max": 365}


@pytest.mark.slow
def test_REQ_06_ninety_days_keep_every_bound_and_share_the_work(sqlite: SqliteUnderTest, now: datetime) -> None:
    with sqlite.clone() as database:
        engine = database.engine()
        sessions = sessionmaker(engine)
        with sessions.begin() as session:
            made = world(session, KEYRING, now)
            crew = hire(session, made)
            exclude_pair(session, made.amina.actor, (crew[0], crew[1]), now)
            for serial in range(1, 7):
                approved_request(session, KEYRING, made, serial, lon=f"121.4{serial}", term_ends_on="2027-12-31", request=AT_TEN)
            session.add(PolicyRow(
                id=new_id(), version="rotation", bank_id=None, valid_from=now, thresholds=msgspec.to_builtins(msgspec.convert(BOUNDS, Thresholds)),
                made_by=made.oscar.id, made_at=now,
            ))
        days, absent, chance = workdays(made.today), Counter[StaffId](), random.Random(4)
        for on in days:
            away = set(chance.sample(crew, chance.choice((0, 0, 1, 2))))
            absent.update(away)
            with sessions.begin() as session:
                come_to_work(session, crew, away, on)
                publish_day(session, made, on)
        with sessions() as session:
            worked = published(session)
        engine.dispose()
    assert sorted(worked) == days
    judge_by_hand(worked, days, (crew[0], crew[1]))
    share = Counter(one for pairs in worked.values() for pair in pairs for one in pair)
    together = Counter(pair for pairs in worked.values() for pair in pairs)
    offered = {one: DAYS - absent[one] for one in crew}
    shares = [share[one] / offered[one] for one in crew]
    print(f"\n{DAYS} days, {CREW} collectors, {sum(len(pairs) for pairs in worked.values())} pair-days, {len(together)} of "
          f"{CREW * (CREW - 1) // 2} pairs, most days of one pair {max(together.values())}, share of days present worked: mean "
          f"{statistics.mean(shares):.3f}, spread {min(shares):.3f} to {max(shares):.3f}")
    assert len(together) >= 15
    assert max(shares) - min(shares) < 0.2


def hire(session: Session, made: World) -> list[StaffId]:
    """Give bilal and dong five more colleagues with the same papers."""
    crew = [made.bilal.id, made.dong.id]
    credential = session.scalars(select(CredentialRow).where(CredentialRow.staff_id == made.bilal.id)).first()
    assert credential is not None
    for number in range(CREW - 2):
        staff_id = StaffId(new_id())
        session.add(StaffRow(
            id=staff_id, employee_no=f"F-{number}", name=f"Field {number}", gender=None, branch_id=made.sh1, bank_id=None, is_active=True,
            joined_on=made.today - timedelta(days=400), left_on=None, language=None))
        session.flush()
        session.add(StaffRoleRow(id=new_id(), staff_id=staff_id, role="field_collector", branch_id=None))
        session.add(CredentialRow(
            id=new_id(), staff_id=staff_id, bank_id=credential.bank_id, number=f"SIM-{number}", valid_from_on=credential.valid_from_on,
            valid_to_on=date(2028, 1, 1), revoked_at=None))
        crew.append(staff_id)
    for staff_id in crew:
        session.add(QualificationRow(
            id=new_id(), staff_id=staff_id, kind="field_visit", is_lead=True, valid_to_on=date(2028, 1, 1), assessor_id=made.amina.id,
            test_result="passed", recorded_at=made.now))
        for kind in ("audio", "camera"):
            session.add(EquipmentRow(
                id=new_id(), branch_id=made.sh1, kind=kind, serial=f"{kind}-{staff_id.hex[-8:]}", inspected_at=made.now, is_passed=True,
                next_due_on=date(2028, 1, 1)))
    for row in session.scalars(select(CredentialRow)):
        row.valid_to_on = date(2028, 1, 1)
    session.flush()
    return crew


def workdays(first: date) -> list[date]:
    days = [first + timedelta(days=number) for number in range(1, 2 * DAYS)]
    return [day for day in days if day.weekday() < 5][:DAYS]


def come_to_work(session: Session, crew: list[StaffId], away: set[StaffId], on: date) -> None:
    for one in crew:
        session.merge(WorkdayRow(
            staff_id=one, on=on, is_available=one not in away, shift_from_s=8 * 3600, shift_to_s=18 * 3600, start=None, end=None))
        for kind in ("audio", "camera"):
            equipment_id = session.scalars(select(EquipmentRow.id).where(EquipmentRow.serial == f"{kind}-{one.hex[-8:]}")).one()
            session.merge(EquipmentAssignmentRow(equipment_id=equipment_id, on=on, staff_id=one))
    session.flush()


def publish_day(session: Session, made: World, on: date) -> None:
    """Order, solve and publish one day, as the dispatcher does the evening before."""
    now = made.now + (on - timedelta(days=1) - made.today)
    ordered = plans.order(session, made.farid.actor, OrderPlan(branch_id=made.sh1, on=on, search_s=1, seed=on.toordinal()), now)
    claimed = plans.claim(session, ordered.id)
    assert claimed is not None
    solved = solve(load_instance(claimed.instance), Limits(iterations_max=0), seed=claimed.seed)
    plans.store(session, ordered.id, encode_plan(solved), now)
    row = session.get_one(PlanRow, ordered.id)
    assert (row.status, row.failure) == (PlanStatus.READY, None)
    dispatch_plan(session, made.farid.actor, ordered.id, now)


def published(session: Session) -> dict[date, set[tuple[UUID, UUID]]]:
    query = select(PlanRow.on, RouteRow.collector_a, RouteRow.collector_b).join(RouteRow, RouteRow.plan_id == PlanRow.id).where(
        PlanRow.status == PlanStatus.PUBLISHED)
    found: dict[date, set[tuple[UUID, UUID]]] = {}
    for on, a, b in session.execute(query):
        found.setdefault(on, set()).add((min(a, b), max(a, b)))
    return found


def judge_by_hand(worked: dict[date, set[tuple[UUID, UUID]]], days: list[date], relatives: tuple[StaffId, StaffId]) -> None:
    """Count anew, day by day, without the rules' own code."""
    people = sorted({one for pairs in worked.values() for pair in pairs for one in pair})
    for pair in combinations(people, 2):
        row, apart, ever = 0, 0, False
        for day in days:
            if pair in worked[day]:
                assert not (ever and row == 0 and apart < BOUNDS["pair_rest_days_min"]), (pair, day)
                row, apart, ever = row + 1, 0, True
            else:
                row, apart = 0, apart + 1
            assert row <= BOUNDS["pair_consecutive_days_max"], (pair, day)
            window = [one for one in days if day - timedelta(days=BOUNDS["pair_window_days"]) < one <= day]
            assert sum(pair in worked[one] for one in window) <= BOUNDS["pair_days_max"], (pair, day)
    assert all((min(relatives), max(relatives)) not in pairs for pairs in worked.values())
