"""Two phones at once, with real commits: one start, one contact, one plan of the day."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from threading import Barrier

from sqlalchemy import func, select
from sqlalchemy.orm import Session, sessionmaker

from backend.contacts.tables import ContactRecordRow
from backend.core.ids import PlanId
from backend.core.problems import IllegalTransition
from backend.plans.model import PlanStatus
from backend.plans.tables import PlanRow
from backend.visits import actions
from backend.visits.model import FactStored, StartVisit, VisitStatus
from backend.visits.tables import VisitRow
from tests.support.cases import approved_request
from tests.support.visits import checked_in, planned_visit, solved_plan
from tests.support.world import Person, shared_keyring, world

KEYRING = shared_keyring()


def at_once(*acts: Callable[[], object]) -> list[object]:
    """Run acts at the same moment; returns answers and refusals in order."""
    gate = Barrier(len(acts))

    def run(act: Callable[[], object]) -> object:
        gate.wait()
        try:
            return act()
        except IllegalTransition as refusal:
            return refusal

    with ThreadPoolExecutor(len(acts)) as pool:
        return list(pool.map(run, acts))


def test_CONT_05_both_phones_start_at_once_and_it_is_one_contact(sessions: sessionmaker[Session], now: datetime) -> None:
    with sessions.begin() as session:
        made = world(session, KEYRING, now)
        planned = planned_visit(session, KEYRING, made)
        checked_in(session, KEYRING, made, planned)

    def start(person: Person) -> FactStored:
        with sessions.begin() as session:
            return actions.start(session, person.on_phone, StartVisit(visit_id=planned.visit_id, at=now, is_intent=True), now)

    answers = at_once(lambda: start(made.bilal), lambda: start(made.dong))
    assert [answer.status for answer in answers if isinstance(answer, FactStored)] == [VisitStatus.STARTED, VisitStatus.STARTED]
    with sessions() as session:
        assert session.scalar(select(func.count()).select_from(ContactRecordRow).where(ContactRecordRow.channel == "visit")) == 1


def test_REQ_04_one_plan_is_published_once_however_often_it_is_asked(sessions: sessionmaker[Session], now: datetime) -> None:
    with sessions.begin() as session:
        made = world(session, KEYRING, now)
        approved_request(session, KEYRING, made)
        plan_id = solved_plan(session, made)

    def publish() -> None:
        with sessions.begin() as session:
            actions.dispatch_plan(session, made.farid.actor, plan_id, now)

    answers = at_once(publish, publish)
    assert sorted(type(answer).__name__ for answer in answers) == ["IllegalTransition", "NoneType"]
    with sessions() as session:
        assert session.get_one(PlanRow, plan_id).status is PlanStatus.PUBLISHED
        assert session.scalar(select(func.count()).select_from(VisitRow)) == 1


def test_REQ_09_of_two_versions_published_at_once_one_supersedes_the_other(sessions: sessionmaker[Session], now: datetime) -> None:
    with sessions.begin() as session:
        made = world(session, KEYRING, now)
        approved_request(session, KEYRING, made)
        plan_ids = [solved_plan(session, made), solved_plan(session, made)]

    def publish(plan_id: PlanId) -> None:
        with sessions.begin() as session:
            actions.dispatch_plan(session, made.farid.actor, plan_id, now)

    assert at_once(lambda: publish(plan_ids[0]), lambda: publish(plan_ids[1])) == [None, None]
    with sessions() as session:
        assert sorted(session.scalars(select(PlanRow.status))) == [PlanStatus.PUBLISHED, PlanStatus.SUPERSEDED]
        assert sorted(session.scalars(select(VisitRow.status))) == [VisitStatus.CANCELLED, VisitStatus.DISPATCHED]
