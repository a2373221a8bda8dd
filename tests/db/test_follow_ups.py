"""DECL-05, DECL-09: what a bank does after it ruled fraud, act by act under its ruling, on both engines. Refusals first."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session, sessionmaker

from backend.cases.model import SuspensionReason
from backend.core.ids import DisputeId, new_id
from backend.core.problems import Conflict, Forbidden, NotFound
from backend.core.rulebook import Rule, RulesBreached
from backend.db import upgrade
from backend.disputes import actions, follow_ups, queries
from backend.disputes.follow_up_model import FollowUpAct, FollowUpView, NewFollowUp
from backend.disputes.follow_up_tables import FollowUpRow
from backend.disputes.model import Handwriting, RecordDeletion, Ruling, StateDispute
from backend.disputes.model import Rule as Decision
from backend.exhibits.tables import ItemRow
from backend.keys.keyring import Keyring
from evidence.manifest import Role
from tests.db.test_disputes import declared
from tests.db.test_suspicions import compared
from tests.support.cash import Door, door
from tests.support.engines import Database
from tests.support.world import Person, world

POLICE, DEPARTMENT = FollowUpAct.POLICE_REPORTED, FollowUpAct.DEPARTMENT_REPORTED
REQUESTED, CONFIRMED, REFUSED = FollowUpAct.DELETION_REQUESTED, FollowUpAct.DELETION_CONFIRMED, FollowUpAct.DELETION_REFUSED
LATER = timedelta(minutes=30)


@pytest.fixture
def at(session: Session, keyring: Keyring) -> Door:
    """Return a door of the world."""
    return door(session, keyring, world(session, keyring))


def ruled(at: Door, ruling: Ruling = Ruling.FRAUD) -> DisputeId:
    """Have the cardholder declare, and the bank rule."""
    done = compared(at, Handwriting.OTHER_HAND)
    actions.rule(at.session, at.made.lin.actor, done.declaration_id, Decision(ruling=ruling), at.now, keyring=at.keyring)
    return done.dispute_id


def told(at: Door, dispute_id: DisputeId, act: FollowUpAct, person: Person | None = None, **changes: Any) -> FollowUpView:
    """Tell an act as the bank's liaison, at once."""
    members = {"occurred_at": at.now + LATER, "reference": f"REF-{act}", "reason": "no match" if act is REFUSED else None}
    command = NewFollowUp(dispute_id=dispute_id, act=act, **(members | changes))
    return follow_ups.follow(at.session, (person or at.made.lin).actor, at.keyring, command, at.now + LATER)


def breaches(at: Door, dispute_id: DisputeId, act: FollowUpAct, **changes: Any) -> list[tuple[Rule, str]]:
    """Return what an act is refused for."""
    with pytest.raises(RulesBreached) as caught, at.session.begin_nested():
        told(at, dispute_id, act, **changes)
    return [(breach.rule, breach.code) for breach in caught.value.breaches]


def deletion(at: Door) -> RecordDeletion:
    (one,) = queries.list_disputes(at.session, at.made.lin.actor, limit=9, after=None)
    assert one.declaration is not None
    return one.declaration.record_deletion


def waiting(at: Door, person: Person) -> list[RecordDeletion]:
    return [one.record_deletion for one in follow_ups.open_rulings(at.session, person.actor, after=None, limit=9)]


def test_DECL_05_nothing_is_followed_up_but_a_ruling_of_fraud(at: Door) -> None:
    done = compared(at, Handwriting.SAME_HAND)
    assert deletion(at) is RecordDeletion.NOT_DUE
    for ruling in (None, Ruling.OWN_CARD):
        if ruling is not None:
            actions.rule(at.session, at.made.lin.actor, done.declaration_id, Decision(ruling=ruling), at.now, keyring=at.keyring)
        for act in FollowUpAct:
            assert breaches(at, done.dispute_id, act) == [(Rule.DECL_05, "follow-up-without-fraud")], (ruling, act)
    assert (deletion(at), waiting(at, at.made.lin)) == (RecordDeletion.NOT_DUE, [])


def test_DECL_09_only_the_banks_own_people_tell_and_only_theirs_and_the_cases_read(at: Door) -> None:
    dispute_id, made = ruled(at), at.made
    for person, refusal in ((made.amina, Forbidden), (made.hana, Forbidden), (made.wei, Forbidden), (made.chen, NotFound)):
        with pytest.raises(refusal):
            told(at, dispute_id, POLICE, person)
    first, second = told(at, dispute_id, POLICE), told(at, dispute_id, DEPARTMENT, made.mo)         # Liaison, authoriser.
    assert (first.recorded_by, second.recorded_by) == (made.lin.id, made.mo.id)

    def read_by(person: Person) -> list[FollowUpAct]:
        return [one.act for one in follow_ups.page(at.session, person.actor, at.keyring, after=None, limit=9, case_id=at.case_id)]

    assert [read_by(one) for one in (made.lin, made.mo, made.amina, made.wei, made.chen)] == [[POLICE, DEPARTMENT]] * 4 + [[]]
    assert read_by(made.yara) == []
    with pytest.raises(Forbidden):
        read_by(made.hana)


def test_DECL_09_an_act_is_neither_before_the_ruling_nor_in_the_future(at: Door) -> None:
    dispute_id = ruled(at)
    assert breaches(at, dispute_id, POLICE, occurred_at=at.now - timedelta(seconds=1)) == [(Rule.DECL_09, "before-the-ruling")]
    assert breaches(at, dispute_id, REQUESTED, occurred_at=at.now + LATER + timedelta(seconds=1)) == [(Rule.DECL_09, "not-yet-happened")]
    assert told(at, dispute_id, POLICE, occurred_at=at.now).occurred_at == at.now


def test_DECL_09_a_deletion_is_requested_then_answered_and_after_a_refusal_requested_again(at: Door) -> None:
    dispute_id, order = ruled(at), [(Rule.DECL_09, "deletion-out-of-order")]
    assert (deletion(at), waiting(at, at.made.mo), waiting(at, at.made.amina)) == (RecordDeletion.DUE, [RecordDeletion.DUE], [RecordDeletion.DUE])
    for act in (CONFIRMED, REFUSED):
        assert breaches(at, dispute_id, act) == order
    told(at, dispute_id, REQUESTED, occurred_at=at.now + LATER / 2)
    assert (deletion(at), waiting(at, at.made.lin)) == (RecordDeletion.REQUESTED, [RecordDeletion.REQUESTED])
    assert breaches(at, dispute_id, REQUESTED, reference="R-2") == order
    assert breaches(at, dispute_id, CONFIRMED, occurred_at=at.now) == [(Rule.DECL_09, "before-the-last-step")]
    assert told(at, dispute_id, REFUSED, reason="no such record").reason == "no such record"
    assert (deletion(at), waiting(at, at.made.lin)) == (RecordDeletion.REFUSED, [])
    assert breaches(at, dispute_id, CONFIRMED) == order
    told(at, dispute_id, REQUESTED, reference="R-2")
    assert (deletion(at), waiting(at, at.made.lin)) == (RecordDeletion.REQUESTED, [RecordDeletion.REQUESTED])
    told(at, dispute_id, CONFIRMED)
    assert (deletion(at), waiting(at, at.made.lin), waiting(at, at.made.chen)) == (RecordDeletion.DONE, [], [])
    assert breaches(at, dispute_id, REQUESTED, reference="R-3") == order


def test_DECL_09_the_same_again_changes_nothing_and_a_reference_stands_for_one_act(at: Door) -> None:
    dispute_id = ruled(at)
    for act in (POLICE, DEPARTMENT, REQUESTED, CONFIRMED):
        assert told(at, dispute_id, act) == told(at, dispute_id, act)
    with pytest.raises(Conflict):
        told(at, dispute_id, POLICE, occurred_at=at.now)
    told(at, dispute_id, POLICE, reference="P-2")
    assert at.session.query(FollowUpRow).count() == 5


@pytest.mark.parametrize("changes", [
    {"reference": ""}, {"reference": " P"}, {"reference": "a\nb"}, {"reference": "x" * 65}, {"reference": "e\u0301"}, {"reason": "why"},
    {"act": REFUSED}, {"act": REFUSED, "reason": " "}, {"act": REQUESTED, "item_id": new_id()},
])
def test_DECL_09_an_act_is_told_whole(at: Door, changes: dict[str, Any]) -> None:
    members: dict[str, Any] = {"dispute_id": DisputeId(new_id()), "act": POLICE, "occurred_at": at.now, "reference": "P"}
    with pytest.raises(ValueError):
        NewFollowUp(**(members | changes))


def test_DECL_09_POL_09_a_report_names_a_police_slip_of_this_very_case_alone(at: Door) -> None:
    dispute_id = ruled(at)
    slip = declared(at, roles=(Role.POLICE_SLIP, Role.DECLARATION_PAGE, Role.ID_FRONT, Role.ID_BACK))
    items = {row.role: row.id for row in at.session.query(ItemRow).filter(ItemRow.manifest_id == slip.manifest_id)}
    for item_id in (new_id(), items[Role.ID_FRONT]):
        assert breaches(at, dispute_id, POLICE, item_id=item_id) == [(Rule.DECL_09, "slip-not-of-case")]
    assert follow_ups.slips_of(at.session, at.made.lin.actor, at.case_id) == (items[Role.POLICE_SLIP],)
    assert follow_ups.slips_of(at.session, at.made.chen.actor, at.case_id) == ()
    assert told(at, dispute_id, POLICE, item_id=items[Role.POLICE_SLIP]).item_id == items[Role.POLICE_SLIP]
    with pytest.raises(IntegrityError), at.session.begin_nested():
        raw(at, POLICE, item_key=items[Role.ID_FRONT], reference="P-9")


def raw(at: Door, act: FollowUpAct, **changes: Any) -> None:
    """Write a row past the action, like the last one but for the changes."""
    row = at.session.query(FollowUpRow).order_by(FollowUpRow.id.desc()).limit(1).one()
    members = {column.name: getattr(row, column.name) for column in FollowUpRow.__table__.columns}
    at.session.add(FollowUpRow(**(members | {"id": new_id(), "act": act, "item_key": None, "reason": None} | changes)))
    at.session.flush()


def test_DECL_05_DECL_09_the_database_keeps_acts_to_their_ruling_their_bank_and_their_order(at: Door) -> None:
    dispute_id, made = ruled(at), at.made
    told(at, dispute_id, POLICE)
    actions.hear_denial(at.session, made.hana.actor, at.case_id, SuspensionReason.DISPUTES_AMOUNT, at.now, at=at.now)
    (other,) = (one.id for one in queries.list_disputes(at.session, made.lin.actor, limit=9, after=None) if one.id != dispute_id)
    for act, changes in (
        (DEPARTMENT, {"dispute_id": other}), (DEPARTMENT, {"occurred_at": at.now - LATER}), (DEPARTMENT, {"occurred_at": at.now + 2 * LATER}),
        (DEPARTMENT, {"recorded_by": made.amina.id}), (DEPARTMENT, {"recorded_by": made.chen.id}), (DEPARTMENT, {"bank_id": made.bank_b.id}),
        (DEPARTMENT, {"attempt": 1}), (REQUESTED, {"attempt": 0}), (REQUESTED, {"attempt": 2}), (CONFIRMED, {"attempt": 1}),
        (REFUSED, {"attempt": 1}), (POLICE, {}),
    ):
        with pytest.raises(IntegrityError), at.session.begin_nested():
            raw(at, act, **changes)
    told(at, dispute_id, REQUESTED)
    for act, changes in ((REQUESTED, {"reference": "again"}), (REQUESTED, {"attempt": 2}), (CONFIRMED, {"occurred_at": at.now})):
        with pytest.raises(IntegrityError), at.session.begin_nested():
            raw(at, act, **changes)
    told(at, dispute_id, CONFIRMED)
    with pytest.raises(IntegrityError), at.session.begin_nested():
        raw(at, REQUESTED, attempt=2)
    for statement in ("UPDATE fraud_follow_ups SET reference = 'x'", "DELETE FROM fraud_follow_ups"):
        with pytest.raises(Exception, match=r"append-only|permission denied"), at.session.begin_nested():
            at.session.execute(text(statement))


def test_DECL_05_a_denial_that_was_never_written_down_is_followed_up_too(at: Door) -> None:
    dispute_id = DisputeId(new_id())
    actions.state_dispute(at.session, at.made.bilal.actor, StateDispute(
        dispute_id=dispute_id, case_id=at.case_id, visit_id=at.visit_id, kind=SuspensionReason.DENIES_SPENDING, stated_at=at.now), at.policy, at.now)
    actions.rule_dispute(at.session, at.made.lin.actor, dispute_id, Ruling.FRAUD, at.now, keyring=at.keyring)
    told(at, dispute_id, REQUESTED)
    assert waiting(at, at.made.lin) == [RecordDeletion.REQUESTED]


def test_DECL_05_the_upgrade_carries_over_what_was_said_of_records(sessions: sessionmaker[Session], cloned: Database, keyring: Keyring) -> None:
    """Down, the acts become the one word of before; up again, that word becomes acts under the ruling."""
    with sessions.begin() as session:
        at = door(session, keyring, world(session, keyring))
        dispute_id = ruled(at)
        for act in (POLICE, REQUESTED, CONFIRMED):
            told(at, dispute_id, act)
        ruled_at: datetime = at.now
    upgrade.downgrade(cloned.url, "decision_states")
    engine = cloned.owner_engine()
    with engine.connect() as connection:
        assert connection.execute(text("SELECT record_deletion FROM declarations")).scalars().all() == ["done"]
    engine.dispose()
    upgrade.upgrade(cloned.url)
    with sessions() as session:
        rows = session.query(FollowUpRow).order_by(FollowUpRow.act.desc()).all()
        assert [(row.act, row.attempt, row.reference, row.occurred_at, row.recorded_by, row.dispute_id) for row in rows] == [
            (act, 1, "not recorded", ruled_at, at.made.lin.id, dispute_id) for act in (REQUESTED, CONFIRMED)]
