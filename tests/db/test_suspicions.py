"""DECL sentences about what follows a denial: reported suspicions, one investigator, the set that leaves (both engines)."""

from datetime import timedelta

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from backend.audit.tables import LogEntryRow
from backend.cases.model import SuspensionReason
from backend.core.ids import DisputeId, StaffId, new_id
from backend.core.problems import Forbidden, IllegalTransition, NotFound
from backend.core.rulebook import Rule, RulesBreached
from backend.disputes import actions, queries, suspicions
from backend.disputes.model import DeclarationTaken, Handwriting, StateDispute
from backend.disputes.suspicion_model import TRANSITIONS, SuspicionEvent, SuspicionGround, SuspicionStatus, SuspicionView, advance
from backend.disputes.suspicion_tables import SuspicionRow
from backend.exhibits.custody_model import Scope, ScopeKind
from backend.exhibits.tables import ItemRow
from backend.keys.keyring import Keyring
from evidence.manifest import Role
from tests.db.test_disputes import declared
from tests.support.cash import Door, door
from tests.support.world import Person, world


@pytest.fixture
def at(session: Session, keyring: Keyring) -> Door:
    """Return a door of the world."""
    return door(session, keyring, world(session, keyring))


def heard(at: Door, ground: SuspicionGround = SuspicionGround.MALICIOUS_OVERDRAFT) -> SuspicionView:
    return suspicions.hear(at.session, at.made.hana.actor, at.case_id, ground, at.now)


def seen_by(at: Door, person: Person) -> list[SuspicionStatus]:
    return [one.status for one in suspicions.page(at.session, person.actor, at.now, after=None, limit=9)]


def compared(at: Door, result: Handwriting) -> DeclarationTaken:
    done = actions.take_declaration(at.session, at.made.bilal.on_phone, declared(at), at.policy, at.now)
    assert done is not None
    actions.name_investigator(at.session, at.made.amina.actor, done.declaration_id, at.made.amina.id, at.now)
    actions.compare_handwriting(at.session, at.made.amina.actor, done.declaration_id, result, at.now)
    return done


# -- DECL-02: verified, reported with a term, delivery proven ------------------------------------------------------------------


def test_DECL_02_a_suspicion_is_heard_and_verified_by_those_who_may(at: Door) -> None:
    for person, refusal in ((at.made.lin, Forbidden), (at.made.zhen, NotFound)):
        with pytest.raises(refusal):
            suspicions.hear(at.session, person.actor, at.case_id, SuspicionGround.FRAUD, at.now)
    one = heard(at)
    assert (one.status, one.due_at, heard(at).id) == (SuspicionStatus.HEARD, None, one.id)       # Once per case and ground.
    for person, wanted in ((at.made.hana, Forbidden), (at.made.lin, Forbidden), (at.made.yara, NotFound)):
        with pytest.raises(wanted):
            suspicions.decide(at.session, person.actor, one.id, at.now, is_verified=True)
    assert (seen_by(at, at.made.lin), seen_by(at, at.made.yara), seen_by(at, at.made.amina)) == ([], [], [SuspicionStatus.HEARD])


def test_DECL_02_a_verified_suspicion_is_reported_with_a_term_and_its_delivery_proven(at: Door) -> None:
    one = heard(at)
    told = suspicions.decide(at.session, at.made.amina.actor, one.id, at.now, is_verified=True)
    assert (told.status, told.due_at, told.is_late) == (SuspicionStatus.REPORTED, at.now + timedelta(seconds=at.policy.suspicion_report_s), False)
    with pytest.raises(Forbidden):
        suspicions.acknowledge(at.session, at.made.amina.actor, one.id, at.now)
    with pytest.raises(NotFound):
        suspicions.acknowledge(at.session, at.made.chen.actor, one.id, at.now)
    assert (seen_by(at, at.made.lin), seen_by(at, at.made.chen)) == ([SuspicionStatus.REPORTED], [])
    later = at.now + timedelta(days=2)
    (late,) = suspicions.page(at.session, at.made.amina.actor, later, after=None, limit=9)
    assert late.is_late
    done = suspicions.acknowledge(at.session, at.made.lin.actor, one.id, at.now + timedelta(hours=3))
    assert (done.status, done.acknowledged_by, done.is_late) == (SuspicionStatus.ACKNOWLEDGED, at.made.lin.id, False)
    assert suspicions.acknowledge(at.session, at.made.lin.actor, one.id, later) == done
    row = at.session.get_one(SuspicionRow, one.id)
    assert at.session.get_one(LogEntryRow, row.log_entry_id).id != at.session.get_one(LogEntryRow, row.proof_entry_id).id


def test_DECL_02_a_dismissed_suspicion_never_reaches_the_bank(at: Door) -> None:
    one = heard(at)
    suspicions.decide(at.session, at.made.amina.actor, one.id, at.now, is_verified=False)
    assert seen_by(at, at.made.lin) == []
    with pytest.raises(NotFound):
        suspicions.acknowledge(at.session, at.made.lin.actor, one.id, at.now)
    with pytest.raises(IllegalTransition):
        suspicions.decide(at.session, at.made.amina.actor, one.id, at.now, is_verified=True)


@pytest.mark.parametrize("status", SuspicionStatus)
@pytest.mark.parametrize("event", SuspicionEvent)
def test_DECL_02_a_suspicion_goes_one_way(status: SuspicionStatus, event: SuspicionEvent) -> None:
    if (status, event) in TRANSITIONS:
        assert advance(status, event) is TRANSITIONS[status, event]
    else:
        with pytest.raises(IllegalTransition):
            advance(status, event)


def test_DECL_02_the_database_keeps_report_and_proof(at: Door) -> None:
    one = heard(at)
    for statement in (
        "UPDATE suspicions SET status = 'reported'", "UPDATE suspicions SET ground = 'fraud'", "DELETE FROM suspicions",
        "UPDATE suspicions SET status = 'acknowledged', acknowledged_at = heard_at, acknowledged_by = heard_by",
    ):
        with pytest.raises(IntegrityError), at.session.begin_nested():
            at.session.execute(text(statement))
    suspicions.decide(at.session, at.made.amina.actor, one.id, at.now, is_verified=True)
    suspicions.acknowledge(at.session, at.made.lin.actor, one.id, at.now)
    for statement in ("UPDATE suspicions SET decided_by = heard_by", "UPDATE suspicions SET acknowledged_by = heard_by"):
        with pytest.raises(IntegrityError), at.session.begin_nested():
            at.session.execute(text(statement))


@pytest.mark.parametrize(("result", "grounds"), [
    (Handwriting.OTHER_HAND, [SuspicionGround.FORGERY]), (Handwriting.SAME_HAND, []), (Handwriting.INCONCLUSIVE, []),
])
def test_DECL_02_DECL_08_another_hand_is_verified_forgery_and_reported_at_once(
    at: Door, result: Handwriting, grounds: list[SuspicionGround],
) -> None:
    done = compared(at, result)
    found = suspicions.page(at.session, at.made.lin.actor, at.now, after=None, limit=9)
    assert [one.ground for one in found] == grounds
    assert [one.declaration_id for one in found] == [done.declaration_id] * len(grounds)


# -- DECL-03: one designated investigator --------------------------------------------------------------------------------------


def test_DECL_03_nobody_but_the_named_investigator_records_the_comparison(at: Door) -> None:
    done = actions.take_declaration(at.session, at.made.bilal.on_phone, declared(at), at.policy, at.now)
    assert done is not None
    actions.name_investigator(at.session, at.made.amina.actor, done.declaration_id, StaffId(at.made.hana.id), at.now)
    with pytest.raises(RulesBreached) as caught:
        actions.compare_handwriting(at.session, at.made.amina.actor, done.declaration_id, Handwriting.OTHER_HAND, at.now)
    assert [(breach.rule, breach.code) for breach in caught.value.breaches] == [(Rule.DECL_03, "not-the-investigator")]


@pytest.mark.parametrize("kind", SuspensionReason)
def test_DECL_01_DECL_03_a_denial_told_as_an_outcome_has_its_one_dispute(at: Door, kind: SuspensionReason) -> None:
    from backend.cases import actions as cases
    cases.suspend(at.session, at.made.bilal.actor, at.case_id, kind, at.now)
    for _ in range(2):
        actions.hear_denial(at.session, at.made.bilal.actor, at.case_id, kind, at.now, at=at.now, visit_id=at.visit_id)
    (one,) = queries.list_disputes(at.session, at.made.lin.actor, limit=9, after=None)
    stated = actions.state_dispute(at.session, at.made.bilal.actor, StateDispute(
        dispute_id=DisputeId(new_id()), case_id=at.case_id, visit_id=at.visit_id, kind=kind, stated_at=at.now), at.policy, at.now)
    assert (one.kind, stated.dispute_id) == (kind, one.id)
    assert len(queries.list_disputes(at.session, at.made.lin.actor, limit=9, after=None)) == 1


# -- DECL-07: the complete set leaves with its custody -------------------------------------------------------------------------


def test_DECL_07_the_whole_declaration_is_within_the_packs_of_its_case(at: Door) -> None:
    from sqlalchemy import select, update

    from backend.exhibits import packs
    from backend.exhibits.model import ItemState
    from backend.exhibits.receipts import receipt_of
    accepted = declared(at)
    actions.take_declaration(at.session, at.made.bilal.on_phone, accepted, at.policy, at.now)
    at.session.execute(update(ItemRow).values(state=ItemState.STORED, stored_at=at.now, blob_key="blob", wrapped_key=b"key"))
    monkey = pytest.MonkeyPatch()
    monkey.setattr(packs, "receipt_of", lambda session, manifest_id: receipt_of(session, manifest_id) or b"")
    try:
        held = packs.contents(at.session, at.made.lin.actor, Scope(
            kind=ScopeKind.CASE, told={"case": str(at.case_id)}, case_ids=(at.case_id,), bank_id=at.bank.id))
    finally:
        monkey.undo()
    mine = {item.sha256 for item in at.session.scalars(select(ItemRow).where(ItemRow.manifest_id == accepted.manifest_id))}
    assert {one.role for one in held.items if one.sha256 in mine} == {Role.DECLARATION_PAGE, Role.ID_FRONT, Role.ID_BACK}
    assert accepted.manifest_id in held.manifest_ids
