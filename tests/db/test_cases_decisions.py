"""Decisions on cases on both engines: who may, what stops, what resumes, and that SQL and Python agree on it."""

from datetime import date, datetime, timedelta
from itertools import product

import pytest
from sqlalchemy import func, select
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.orm import Session

from backend.audit.tables import AuditEntryRow
from backend.auth.actors import Actor
from backend.cases import actions, upkeep
from backend.cases.model import AddressKind, CaseEvent, CaseStatus, Field, Release, Signal, Source, Stop, SuspensionReason
from backend.cases.queries import is_open_for_collection, open_for_collection, show_case, stops_of, unconfirmed_of
from backend.cases.tables import AllocationRow, CaseAddressRow, CaseDecisionRow, CaseRow, RepaymentRow, SignalTaskRow
from backend.core.fen import Fen
from backend.core.geo import Datum, LonLat, distance_m, from_wgs84
from backend.core.ids import AddressId, CaseId, new_id
from backend.core.problems import Conflict, Forbidden, IllegalTransition, InvalidInput, NotFound
from backend.keys.keyring import Keyring
from tests.support.cases import case_by_reference, place, ready_case, row
from tests.support.world import World, world


@pytest.fixture
def made(session: Session, keyring: Keyring, now: datetime) -> World:
    return world(session, keyring, now)


@pytest.fixture
def case(session: Session, keyring: Keyring, made: World) -> CaseRow:
    return ready_case(session, keyring, made)


def is_open_in_sql(session: Session, case: CaseRow, on: date) -> bool:
    session.flush()
    return session.scalar(select(CaseRow.id).where(CaseRow.id == case.id, open_for_collection(on))) is not None


def test_SEC_01_strangers_cannot_decide_anything_about_a_case(session: Session, keyring: Keyring, made: World, case: CaseRow) -> None:
    release = Release(case_id=CaseId(case.id), from_at=made.now, to_at=made.now + timedelta(hours=1), manner="calm", precautions="two")
    for act in (
        lambda: actions.suspend(session, made.chen.actor, case.id, SuspensionReason.DISPUTES_AMOUNT, made.now),
        lambda: actions.resume(session, made.chen.actor, keyring, case.id, "x", made.now),
        lambda: actions.recall(session, made.chen.actor, case.id, made.now),
        lambda: actions.hold(session, made.yara.actor, case.id, made.now),
        lambda: actions.release_vulnerable(session, made.yara.actor, keyring, release, made.now),
        lambda: actions.record_repayment(session, made.chen.actor, case.id, reference="1", amount=Fen(1), paid_on=made.today, now=made.now),
        lambda: upkeep.allocate(session, made.yara.actor, (CaseId(case.id),), made.hana.id, made.now),
    ):
        with pytest.raises(NotFound):
            act()
    assert case.status is CaseStatus.ALLOCATED


@pytest.mark.parametrize("reason", list(SuspensionReason))
def test_DECL_01_each_of_three_statements_suspends_at_once(session: Session, made: World, case: CaseRow, reason: SuspensionReason) -> None:
    decision = actions.suspend(session, made.bilal.on_phone, case.id, reason, made.now)
    session.flush()
    assert decision is not None
    assert (case.status, case.suspended_at, case.suspension_reason, case.resumes_to) == (CaseStatus.SUSPENDED, made.now, reason, CaseStatus.ALLOCATED)
    assert not is_open_in_sql(session, case, made.today)
    assert actions.suspend(session, made.dong.on_phone, case.id, reason, made.now) is None


def test_DECL_03_only_the_cases_bank_resumes_it(session: Session, keyring: Keyring, made: World, case: CaseRow) -> None:
    actions.suspend(session, made.hana.actor, case.id, SuspensionReason.DENIES_APPLICATION, made.now)
    actions.investigate(session, made.amina.actor, case.id, made.now)
    for agency in (made.amina, made.petra, made.hana):
        with pytest.raises(Forbidden):
            actions.resume(session, agency.actor, keyring, case.id, "we think so", made.now)
    with pytest.raises(NotFound):
        actions.resume(session, made.chen.actor, keyring, case.id, "not mine", made.now)
    assert case.status is CaseStatus.INVESTIGATION
    actions.resume(session, made.lin.actor, keyring, case.id, "signature matches", made.now)
    session.flush()
    assert (case.status, case.suspended_at, case.resumes_to) == (CaseStatus.ALLOCATED, None, None)
    assert is_open_in_sql(session, case, made.today)


def test_DECL_05_case_ruled_fraud_stays_suspended_for_good(session: Session, keyring: Keyring, made: World, case: CaseRow) -> None:
    actions.investigate(session, made.amina.actor, case.id, made.now)
    actions.rule_fraud(session, made.lin.actor, keyring, case.id, "not the cardholder", made.now)
    with pytest.raises(IllegalTransition):
        actions.resume(session, made.lin.actor, keyring, case.id, "after all", made.now)
    assert stops_of(case, made.today) == {Stop.SUSPENDED}
    assert not is_open_in_sql(session, case, made.today)


def test_resumption_of_a_case_that_is_not_suspended_is_refused(session: Session, keyring: Keyring, made: World, case: CaseRow) -> None:
    with pytest.raises(IllegalTransition):
        actions.resume(session, made.lin.actor, keyring, case.id, "x", made.now)


def test_database_refuses_a_suspended_status_without_its_date(session: Session, case: CaseRow) -> None:
    case.status = CaseStatus.SUSPENDED
    with pytest.raises(IntegrityError, match="suspension_is_dated"), session.begin_nested():
        session.flush()


def test_VIS_11_release_needs_a_supervisor_a_hold_and_time_manner_precautions(
    session: Session, keyring: Keyring, made: World, case: CaseRow
) -> None:
    release = Release(case_id=CaseId(case.id), from_at=made.now, to_at=made.now + timedelta(hours=1), manner="calm", precautions="two people")
    with pytest.raises(Conflict):
        actions.release_vulnerable(session, made.amina.actor, keyring, release, made.now)
    actions.hold_vulnerable(session, made.bilal.on_phone, case.id, made.now)
    assert not is_open_in_sql(session, case, made.today)
    with pytest.raises(Forbidden):
        actions.release_vulnerable(session, made.hana.actor, keyring, release, made.now)
    for changes in ({"manner": " "}, {"precautions": ""}, {"to_at": made.now}):
        with pytest.raises(ValueError):
            Release(**{**{field: getattr(release, field) for field in release.__struct_fields__}, **changes})
    actions.release_vulnerable(session, made.amina.actor, keyring, release, made.now)
    assert is_open_in_sql(session, case, made.today)


def test_complaint_and_hold_stop_until_lifted_by_decision(session: Session, made: World, case: CaseRow) -> None:
    actions.record_complaint(session, made.hana.actor, case.id, made.now)
    actions.hold(session, made.amina.actor, case.id, made.now)
    with pytest.raises(Forbidden):
        actions.lift(session, made.hana.actor, case.id, Stop.HOLD, made.now)
    with pytest.raises(Conflict):
        actions.lift(session, made.amina.actor, case.id, Stop.VULNERABLE, made.now)
    actions.lift(session, made.amina.actor, case.id, Stop.COMPLAINT, made.now)
    assert stops_of(case, made.today) == {Stop.HOLD}
    actions.lift(session, made.amina.actor, case.id, Stop.HOLD, made.now)
    assert is_open_in_sql(session, case, made.today)
    with pytest.raises(Conflict):
        actions.lift(session, made.amina.actor, case.id, Stop.HOLD, made.now)


def test_repayments_count_once_and_the_last_one_pays_the_case(session: Session, made: World, case: CaseRow) -> None:
    half = Fen(case.amount_fen // 2)
    for _ in range(2):
        assert not actions.record_repayment(session, made.gu.actor, case.id, reference="T1", amount=half, paid_on=made.today, now=made.now)
    with pytest.raises(Conflict):
        actions.record_repayment(session, made.gu.actor, case.id, reference="T1", amount=Fen(half + 1), paid_on=made.today, now=made.now)
    with pytest.raises(Forbidden):
        actions.record_repayment(session, made.bilal.actor, case.id, reference="T2", amount=half, paid_on=made.today, now=made.now)
    rest = Fen(case.amount_fen - half)
    assert actions.record_repayment(session, made.gu.actor, case.id, reference="T2", amount=rest, paid_on=made.today, now=made.now)
    assert session.scalar(select(func.sum(RepaymentRow.amount_fen))) == case.amount_fen
    assert (case.status, stops_of(case, made.today)) == (CaseStatus.PAID, {Stop.PAID})


def test_suspended_case_that_is_repaid_is_paid_and_no_longer_suspended(session: Session, made: World, case: CaseRow) -> None:
    actions.suspend(session, made.hana.actor, case.id, SuspensionReason.DISPUTES_AMOUNT, made.now)
    assert actions.record_repayment(session, made.gu.actor, case.id, reference="T", amount=Fen(case.amount_fen), paid_on=made.today, now=made.now)
    session.flush()
    assert stops_of(case, made.today) == {Stop.PAID}


def test_BANK_03_recall_and_death_and_term_end_stop_collection(session: Session, keyring: Keyring, made: World) -> None:
    recalled, dead, over = (ready_case(session, keyring, made, serial) for serial in (1, 2, 3))
    actions.recall(session, made.lin.actor, recalled.id, made.now)
    actions.record_death(session, made.bilal.on_phone, dead.id, made.now)
    actions.record_death(session, made.bilal.on_phone, dead.id, made.now)
    assert stops_of(recalled, made.today) == {Stop.RECALLED}
    assert stops_of(dead, made.today) == {Stop.DECEASED}
    assert stops_of(over, over.term_ends_on) == set()
    assert stops_of(over, over.term_ends_on + timedelta(days=1)) == {Stop.TERM_OVER}
    for stopped in (recalled, dead):
        assert not is_open_in_sql(session, stopped, made.today)
    assert not is_open_in_sql(session, over, over.term_ends_on + timedelta(days=1))


def test_stops_are_the_same_in_sql_and_in_python_for_every_combination(session: Session, keyring: Keyring, made: World) -> None:
    case = ready_case(session, keyring, made)
    columns = ("vulnerable_at", "complaint_at", "hold_at", "recalled_at", "paid_at", "deceased_at")
    for chosen in product((None, made.now), repeat=len(columns)):
        for column, value in zip(columns, chosen, strict=True):
            setattr(case, column, value)
        assert is_open_in_sql(session, case, made.today) == is_open_for_collection(case, made.today) == (not any(chosen))
    for column in columns:
        setattr(case, column, None)
    for status in CaseStatus:
        if status not in (CaseStatus.SUSPENDED, CaseStatus.INVESTIGATION):
            case.status = status
            assert is_open_in_sql(session, case, made.today) == is_open_for_collection(case, made.today)


def test_REQ_08_each_decision_names_author_time_and_reason_and_stays(session: Session, keyring: Keyring, made: World, case: CaseRow) -> None:
    locked = actions.locked_case(session, made.amina.actor, case.id)
    actions.step(session, made.amina.actor, locked, CaseEvent.CALL, made.now, keyring=keyring, reason="begin")
    decisions = session.scalars(select(CaseDecisionRow).where(CaseDecisionRow.case_id == case.id).order_by(CaseDecisionRow.id)).all()
    assert [(one.event, one.by) for one in decisions] == [("file", made.gu.id), ("allocate", made.amina.id), ("call", made.amina.id)]
    assert decisions[-1].reason is not None
    assert session.scalar(select(func.count()).select_from(AuditEntryRow).where(AuditEntryRow.subject == f"case:{case.id}")) == 2
    decisions[0].event = "other"
    with pytest.raises(DBAPIError, match=r"append-only|permission denied"), session.begin_nested():
        session.flush()


def test_CASE_03_allocation_names_allocator_assignee_and_time(session: Session, keyring: Keyring, made: World) -> None:
    place(session, keyring, made, [row(1)])
    case = case_by_reference(session, made.bank_a, "R-0001")
    with pytest.raises(Forbidden):
        upkeep.allocate(session, made.hana.actor, (CaseId(case.id),), made.hana.id, made.now)
    for not_a_phone_collector in (made.bilal.id, made.chen.id, made.yara.id):
        with pytest.raises(NotFound):
            upkeep.allocate(session, made.amina.actor, (CaseId(case.id),), not_a_phone_collector, made.now)
    assert upkeep.allocate(session, made.amina.actor, (CaseId(case.id),), made.hana.id, made.now) == 1
    assert upkeep.allocate(session, made.amina.actor, (CaseId(case.id),), made.hana.id, made.now) == 0
    stored = session.scalars(select(AllocationRow)).one()
    assert (stored.assignee_id, stored.allocated_by, stored.allocated_at) == (made.hana.id, made.amina.id, made.now)


@pytest.mark.parametrize("signal", list(Signal))
def test_CASE_28_signal_raises_the_priority_and_opens_one_task(session: Session, made: World, case: CaseRow, signal: Signal) -> None:
    before = case.priority
    assert upkeep.set_signal(session, made.hana.actor, case.id, signal, made.now) > before
    upkeep.set_signal(session, made.hana.actor, case.id, signal, made.now)
    task = session.scalars(select(SignalTaskRow).where(SignalTaskRow.case_id == case.id)).one()
    assert (task.signal, task.handled_at) == (signal, None)


def test_CASE_39_urgency_is_a_supervisors_decision(session: Session, keyring: Keyring, made: World, case: CaseRow) -> None:
    with pytest.raises(Forbidden):
        upkeep.mark_urgent(session, made.hana.actor, keyring, case.id, "flight risk", made.now)
    upkeep.mark_urgent(session, made.amina.actor, keyring, case.id, "flight risk", made.now)
    assert case.is_urgent


def test_CONT_02_field_confirmed_by_phone_counts_and_grows_old(session: Session, keyring: Keyring, made: World) -> None:
    case = ready_case(session, keyring, made, occupation="")
    assert unconfirmed_of(case, made.today) == {Field.OCCUPATION}
    with pytest.raises(InvalidInput):
        upkeep.confirm(session, made.hana.actor, keyring, case.id, Field.OCCUPATION, Source.PHONE, now=made.now)
    upkeep.confirm(session, made.hana.actor, keyring, case.id, Field.OCCUPATION, Source.PHONE, now=made.now, occupation="teacher")
    assert unconfirmed_of(case, made.today) == frozenset()
    assert unconfirmed_of(case, made.today + timedelta(days=181)) == frozenset(Field)
    upkeep.confirm(session, made.hana.actor, keyring, case.id, Field.AGE, Source.CLERK, now=made.now)
    assert unconfirmed_of(case, made.today) == {Field.AGE}  # A source that the policy does not accept.


def test_CASE_34_replaced_address_is_no_longer_in_use_and_pins_keep_their_datum(
    session: Session, keyring: Keyring, made: World, case: CaseRow
) -> None:
    former = session.scalars(select(CaseAddressRow).where(CaseAddressRow.case_id == case.id)).one()
    new = upkeep.NewAddress(kind=AddressKind.WORK, street="示范路2号", source=Source.PHONE, timezone="Asia/Shanghai", replaces=AddressId(former.id))
    with pytest.raises(NotFound):
        upkeep.add_address(session, made.hana.actor, keyring, case.id, upkeep.NewAddress(
            kind=AddressKind.WORK, street="x", source=Source.PHONE, timezone="Asia/Shanghai", replaces=AddressId(new_id())
        ), made.now)
    address_id = upkeep.add_address(session, made.hana.actor, keyring, case.id, new, made.now)
    shown = {one.id: one for one in show_case(session, made.hana.actor, keyring, case.id, made.now).addresses}
    assert (shown[AddressId(former.id)].is_current, shown[address_id].is_current, shown[address_id].is_located) == (False, True, False)
    true_place = LonLat(121.48, 31.22)
    strangers: tuple[Actor, ...] = (made.chen.actor, made.hana.actor)
    for stranger in strangers:
        with pytest.raises((NotFound, Forbidden)):
            upkeep.pin_address(session, stranger, address_id, true_place, Datum.WGS84, made.now)
    upkeep.pin_address(session, made.farid.actor, address_id, from_wgs84(true_place, Datum.GCJ02), Datum.GCJ02, made.now)
    pinned = session.get_one(CaseAddressRow, address_id)
    session.refresh(pinned)
    assert pinned.point is not None
    assert distance_m(pinned.point, true_place) < 0.05
    assert pinned.datum_given is Datum.GCJ02
