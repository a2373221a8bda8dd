"""Denials and declarations: suspended at once, kept whatever they lack, ruled by the bank alone, on both engines."""

from datetime import timedelta
from typing import Any

import msgspec
import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from backend.audit.breaches import breaches_of
from backend.banks.model import TemplateKind
from backend.banks.tables import TemplateRow
from backend.cases.model import CaseStatus, SuspensionReason
from backend.cases.tables import CaseRow
from backend.core.ids import DisputeId, StaffId, new_id
from backend.core.problems import Forbidden, IllegalTransition, NotFound
from backend.core.rulebook import Rule, RulesBreached
from backend.disputes import actions, queries
from backend.disputes.model import (
    DeclarationFacts,
    DeclarationStatus,
    DeclarationTaken,
    DisputeStatus,
    Handwriting,
    RecordDeletion,
    Ruling,
    StateDispute,
)
from backend.disputes.model import Rule as Decision
from backend.disputes.rules import SET_TEXT
from backend.disputes.tables import DeclarationRow
from backend.exhibits.actions import accept
from backend.exhibits.model import Accepted, Intake, Standing
from backend.exhibits.statements import open_statement
from backend.keys.keyring import Keyring
from evidence.facts import DeclarationFacts as Stated
from evidence.facts import DeclarationForm, Denial, Kind
from evidence.manifest import Role
from tests.support.cash import Door, door
from tests.support.exhibits import item, signed_twice
from tests.support.world import world

COMPLETE = DeclarationFacts(
    is_template_known=True, is_template_approved=True, has_circumstances=False, has_transcription=True, is_text_equal=True,
    is_written_by_declarant=True, is_signed_by_declarant=True, id_card_generation=2, id_front=frozenset({"a"}), id_back=frozenset({"b"}),
    page_count=1,
)


@pytest.fixture
def at(session: Session, keyring: Keyring) -> Door:
    """Return a door of the world."""
    return door(session, keyring, world(session, keyring))


def state(at: Door, kind: SuspensionReason = SuspensionReason.DENIES_APPLICATION) -> DisputeId:
    """Deny at the door."""
    dispute_id = DisputeId(new_id())
    command = StateDispute(dispute_id=dispute_id, case_id=at.case_id, visit_id=at.visit_id, kind=kind, stated_at=at.now)
    actions.state_dispute(at.session, at.made.bilal.actor, command, at.policy, at.now)
    return dispute_id


def declared(at: Door, *, roles: tuple[Role, ...] = (Role.DECLARATION_PAGE, Role.ID_FRONT, Role.ID_BACK), **changes: Any) -> Accepted:
    """Sign a declaration on both phones and take it in as evidence."""
    members: dict[str, Any] = {
        "denial": Denial.APPLICATION, "form": DeclarationForm.NOT_MY_CARD, "template_id": str(at.bank.templates[TemplateKind.NOT_MY_CARD]),
        "template_version": 1, "text": SET_TEXT.format(bank="示范银行A"), "special_circumstances": None,
        "transcription": SET_TEXT.format(bank="示范银行A"), "written_by_declarant": True, "signed_by_declarant": True, "id_card_generation": 2,
    }
    items = tuple(item(f"{role} {new_id()}".encode(), role, at=at.taken_at) for role in roles)
    payload = at.first.payload(at.made, at.facts, Kind.DECLARATION, Stated(**(members | changes)), partner=at.second, at=at.taken_at, items=items)
    statement = open_statement(at.session, signed_twice(at.first, at.second, payload, at.taken_at), at.now)
    return accept(
        at.session, at.made.bilal.on_phone, statement, Intake(visit=at.facts, policy=at.policy, keyring=at.keyring, tenant="fieldvisit"), at.now)


def take(at: Door, **changes: Any) -> DeclarationTaken:
    """Take a declaration."""
    done = actions.take_declaration(at.session, at.made.bilal.on_phone, declared(at, **changes), at.policy, at.now)
    assert done is not None
    return done


def case_of(at: Door) -> CaseRow:
    """Return the case as it stands."""
    return at.session.get_one(CaseRow, at.case_id, populate_existing=True)


def rules_of(at: Door, done: DeclarationTaken) -> set[Rule]:
    """Return what the declaration lacks."""
    return {breach.rule for breach in breaches_of(at.session, f"declaration:{done.declaration_id}")}


@pytest.mark.parametrize("kind", SuspensionReason)
def test_DECL_01_each_denial_suspends_at_once(at: Door, kind: SuspensionReason) -> None:
    state(at, kind)
    assert case_of(at).suspended_at == at.now
    assert case_of(at).status is CaseStatus.SUSPENDED


def test_DECL_01_a_denial_needs_no_more_than_the_right_to_see_the_case(at: Door) -> None:
    command = StateDispute(
        dispute_id=DisputeId(new_id()), case_id=at.case_id, visit_id=None, kind=SuspensionReason.DENIES_SPENDING, stated_at=at.now)
    with pytest.raises(NotFound):
        actions.state_dispute(at.session, at.made.zhen.actor, command, at.policy, at.now)
    with pytest.raises(Forbidden):
        actions.state_dispute(at.session, at.made.lin.actor, command, at.policy, at.now)
    first = actions.state_dispute(at.session, at.made.hana.actor, command, at.policy, at.now)
    assert actions.state_dispute(at.session, at.made.hana.actor, command, at.policy, at.now + timedelta(hours=1)) == first


def test_DECL_03_a_declaration_suspends_and_waits_for_an_investigator(at: Door) -> None:
    done = take(at)
    assert (done.status, done.standing, done.is_text_deviating) == (DeclarationStatus.TAKEN, Standing.ACCEPTED, False)
    assert case_of(at).status is CaseStatus.INVESTIGATION
    with pytest.raises(RulesBreached) as caught:
        actions.rule(at.session, at.made.lin.actor, done.declaration_id, Decision(ruling=Ruling.FRAUD), at.now, keyring=at.keyring)
    assert {breach.rule for breach in caught.value.breaches} == {Rule.DECL_03, Rule.DECL_08}
    with pytest.raises(NotFound):
        actions.name_investigator(at.session, at.made.amina.actor, done.declaration_id, StaffId(at.made.lin.id), at.now)
    with pytest.raises(Forbidden):
        actions.name_investigator(at.session, at.made.bilal.actor, done.declaration_id, at.made.amina.id, at.now)


def test_DECL_03_the_same_statement_again_is_the_same_declaration(at: Door) -> None:
    accepted = declared(at)
    first = actions.take_declaration(at.session, at.made.bilal.on_phone, accepted, at.policy, at.now)
    assert actions.take_declaration(at.session, at.made.bilal.on_phone, accepted, at.policy, at.now) == first


def test_DECL_08_no_conclusion_without_comparing_the_handwriting(at: Door) -> None:
    done = take(at)
    with pytest.raises(IllegalTransition):
        actions.compare_handwriting(at.session, at.made.amina.actor, done.declaration_id, Handwriting.OTHER_HAND, at.now)
    actions.name_investigator(at.session, at.made.amina.actor, done.declaration_id, at.made.amina.id, at.now)
    with pytest.raises(RulesBreached) as caught:
        actions.rule(at.session, at.made.lin.actor, done.declaration_id, Decision(ruling=Ruling.FRAUD), at.now, keyring=at.keyring)
    assert {breach.rule for breach in caught.value.breaches} == {Rule.DECL_08}


def concluded(at: Door) -> DeclarationTaken:
    """Take a declaration and investigate it."""
    done = take(at)
    actions.name_investigator(at.session, at.made.amina.actor, done.declaration_id, at.made.amina.id, at.now)
    actions.compare_handwriting(at.session, at.made.amina.actor, done.declaration_id, Handwriting.OTHER_HAND, at.now)
    return done


def test_DECL_05_only_the_cases_own_bank_rules(at: Door) -> None:
    done, ruling = concluded(at), Decision(ruling=Ruling.FRAUD)
    for person in (at.made.amina, at.made.mo):
        with pytest.raises(Forbidden):
            actions.rule(at.session, person.actor, done.declaration_id, ruling, at.now, keyring=at.keyring)
    with pytest.raises(NotFound):
        actions.rule(at.session, at.made.chen.actor, done.declaration_id, ruling, at.now, keyring=at.keyring)
    assert actions.rule(at.session, at.made.lin.actor, done.declaration_id, ruling, at.now, keyring=at.keyring) is DeclarationStatus.RULED
    assert case_of(at).status is CaseStatus.RULED_FRAUD
    with pytest.raises(IllegalTransition):
        actions.rule(at.session, at.made.lin.actor, done.declaration_id, ruling, at.now, keyring=at.keyring)
    assert queries.show_declaration(at.session, at.made.lin.actor, done.declaration_id).record_deletion is RecordDeletion.DUE


def test_DECL_03_collection_resumes_after_the_ruling_and_not_before(at: Door) -> None:
    done = concluded(at)
    assert case_of(at).suspended_at is not None
    actions.rule(at.session, at.made.lin.actor, done.declaration_id, Decision(ruling=Ruling.OWN_CARD), at.now, keyring=at.keyring)
    assert case_of(at).suspended_at is None


def test_DECL_01_a_second_open_denial_keeps_the_case_suspended(at: Door) -> None:
    amount = state(at, SuspensionReason.DISPUTES_AMOUNT)
    done = concluded(at)
    actions.rule(at.session, at.made.lin.actor, done.declaration_id, Decision(ruling=Ruling.OWN_CARD), at.now, keyring=at.keyring)
    assert case_of(at).suspended_at is not None
    with pytest.raises(NotFound):
        actions.rule_dispute(at.session, at.made.chen.actor, amount, Ruling.AMOUNT_STANDS, at.now, keyring=at.keyring)
    assert actions.rule_dispute(at.session, at.made.lin.actor, amount, Ruling.AMOUNT_STANDS, at.now, keyring=at.keyring) is DisputeStatus.RULED
    assert case_of(at).suspended_at is None


@pytest.mark.parametrize(("written", "deviates"), [
    (SET_TEXT.format(bank="示范银行A"), False),
    (SET_TEXT.format(bank="示范银行A").replace("、", ",").replace("。", " \n"), False),
    (SET_TEXT.format(bank="示范银行B"), True),
    (SET_TEXT.format(bank="示范银行A").replace("绝非", "并非"), True),
])
def test_DECL_11_a_deviating_text_is_flagged_and_never_refused(at: Door, written: str, deviates: bool) -> None:
    done = take(at, transcription=written)
    assert (done.is_text_deviating, done.standing) == (deviates, Standing.ACCEPTED)
    assert (rules_of(at, done) == {Rule.DECL_11}) is deviates
    assert actions.check_declaration(msgspec.structs.replace(COMPLETE, is_text_equal=False))[0].rule is Rule.DECL_11


def test_DECL_10_special_circumstances_or_the_set_text(at: Door) -> None:
    done = take(at, transcription=None)
    assert (done.is_text_deviating, rules_of(at, done)) == (True, {Rule.DECL_10})
    assert rules_of(at, take(at, transcription=None, special_circumstances="wallet stolen in May")) == set()


@pytest.mark.parametrize("roles", [
    (Role.DECLARATION_PAGE, Role.ID_FRONT), (Role.DECLARATION_PAGE, Role.ID_BACK), (Role.DECLARATION_PAGE,),
])
def test_DECL_12_one_side_is_refused_when_asked_and_stored_when_it_happened(at: Door, roles: tuple[Role, ...]) -> None:
    done = take(at, roles=roles)
    assert (done.standing, rules_of(at, done)) == (Standing.BREACH, {Rule.DECL_12})
    sides = {"id_front": COMPLETE.id_front if Role.ID_FRONT in roles else frozenset(), "id_back": frozenset({"b"} if Role.ID_BACK in roles else ())}
    with pytest.raises(RulesBreached) as caught:
        actions.check_declaration(msgspec.structs.replace(COMPLETE, **sides))
    assert (caught.value.answered_status, caught.value.answered_code) == (422, "id-sides-missing")


def test_DECL_12_the_same_picture_twice_is_one_side() -> None:
    with pytest.raises(RulesBreached):
        actions.check_declaration(msgspec.structs.replace(COMPLETE, id_back=COMPLETE.id_front))
    assert actions.check_declaration(msgspec.structs.replace(COMPLETE, id_card_generation=1, id_back=frozenset())) == ()


def test_DECL_13_only_a_form_that_the_cases_bank_approved(at: Door) -> None:
    unknown = take(at, template_id=str(new_id()))
    foreign = take(at, template_id=str(at.made.bank_b.templates[TemplateKind.NOT_MY_CARD]))
    other_kind = take(at, template_id=str(at.bank.templates[TemplateKind.LETTER]))
    other_version = take(at, template_version=2)
    row = at.session.get_one(TemplateRow, at.bank.templates[TemplateKind.FORGERY])
    row.approved_at = row.approved_by = None
    at.session.flush()
    unapproved = take(at, form=DeclarationForm.FORGERY, template_id=str(row.id))
    for done in (unknown, foreign, other_kind, other_version, unapproved):
        assert (done.standing, rules_of(at, done)) == (Standing.BREACH, {Rule.DECL_13})
    with pytest.raises(RulesBreached) as caught:
        actions.check_declaration(msgspec.structs.replace(COMPLETE, is_template_approved=False))
    assert (caught.value.answered_status, caught.value.answered_code) == (422, "template-not-approved")


def test_DECL_04_the_collector_writes_and_signs_for_nobody(at: Door) -> None:
    assert rules_of(at, take(at, signed_by_declarant=False)) == {Rule.DECL_04}
    with pytest.raises(RulesBreached):
        actions.check_declaration(msgspec.structs.replace(COMPLETE, is_written_by_declarant=False))


def test_DECL_06_a_declaration_is_locked_once_taken(at: Door) -> None:
    done = take(at)
    for statement in ("UPDATE declarations SET is_text_deviating = NOT is_text_deviating", "DELETE FROM declarations",
                      "UPDATE declarations SET status = 'ruled'", "UPDATE disputes SET kind = 'disputes_amount'"):
        with pytest.raises(IntegrityError), at.session.begin_nested():
            at.session.execute(text(statement))
    assert at.session.get_one(DeclarationRow, done.declaration_id).status is DeclarationStatus.TAKEN


def test_disputes_are_listed_to_their_own_bank_and_branch(at: Door) -> None:
    take(at)
    for person, expected in ((at.made.amina, 1), (at.made.lin, 1), (at.made.chen, 0), (at.made.yara, 0), (at.made.wei, 1)):
        assert len(queries.list_disputes(at.session, person.actor, limit=10, after=None)) == expected, person.name
    with pytest.raises(Forbidden):
        queries.list_disputes(at.session, at.made.bilal.actor, limit=10, after=None)
