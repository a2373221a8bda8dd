"""Direct SQL against what people decided: refused by the database itself, on both engines, even to the owner of the tables."""

from collections.abc import Iterator
from datetime import timedelta

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import IntegrityError

from backend.archive import holds
from backend.archive.model import DestructionGround, HoldGround, SetHold
from backend.archive.tables import DestructionRow, ProductionRow
from backend.audit import log
from backend.cases.actions import suspend
from backend.cases.model import SuspensionReason
from backend.cases.tables import CaseRow
from backend.core.fen import Fen
from backend.core.ids import new_id
from backend.db.base import SealedValue
from backend.db.engine import session_factory
from backend.disputes import actions as disputes
from backend.disputes import suspicions
from backend.disputes.model import Handwriting, Ruling
from backend.disputes.model import Rule as Decision
from backend.disputes.suspicion_model import SuspicionGround
from backend.offers import actions as offers
from backend.offers import promises
from backend.offers.model import Concession, NewPromise, NewProposal, PromiseSource, Terms
from backend.staff.tables import DeviceRenewalRow
from backend.submissions.tables import SubmissionRow
from tests.db.test_disputes import declared
from tests.support.cash import Door, door
from tests.support.engines import AnyEngine, Database
from tests.support.world import shared_keyring, world

_WAIVER = Terms(kind=Concession.WAIVER, waived_fen=Fen(5_000))


@pytest.fixture(scope="module")
def target(database: AnyEngine) -> Iterator[Database]:
    """A database with something of every kind in every state that a step could start from. No test changes it."""
    with database.clone() as clone:
        engine = clone.engine()
        with session_factory(engine).begin() as session:
            made = world(session, shared_keyring())
            for serial in (1, 2):
                at = door(session, shared_keyring(), made, serial)
                _decide(at, serial)
        engine.dispose()
        yield clone


def _decide(at: Door, serial: int) -> None:
    """Leave the first case's things begun, and bring the second's to their ends."""
    session, made, is_over = at.session, at.made, serial == 2
    case = session.get_one(CaseRow, at.case_id)
    promise = NewPromise(
        case_id=at.case_id, amount_fen=Fen(100), due_on=made.today, made_on=made.today, source=PromiseSource.CONTACT, source_id=new_id())
    promises.promise(session, made.hana.actor, case, promise, at.now)
    if is_over:
        promises.promise(session, made.hana.actor, case, NewPromise(
            case_id=at.case_id, amount_fen=Fen(200), due_on=made.today, made_on=made.today, source=PromiseSource.CONTACT, source_id=new_id()), at.now)
    offered = [offers.propose(session, made.hana.actor, NewProposal(case_id=at.case_id, terms=_WAIVER), at.now) for _ in range(3)]
    offers.offer(session, made.mo.actor, offered[1], made.today + timedelta(days=9), at.now)
    offers.decline(session, made.mo.actor, offered[2], at.now)
    for number, ground in enumerate(SuspicionGround):
        one = suspicions.hear(session, made.hana.actor, at.case_id, ground, at.now)
        if number:
            suspicions.decide(session, made.amina.actor, one.id, at.now, is_verified=number == 1)
        if number == 1 and is_over:
            suspicions.acknowledge(session, made.lin.actor, one.id, at.now)
    suspend(session, made.bilal.actor, at.case_id, SuspensionReason.DISPUTES_AMOUNT, at.now)
    disputes.hear_denial(session, made.bilal.actor, at.case_id, SuspensionReason.DISPUTES_AMOUNT, at.now, at=at.now)
    taken = disputes.take_declaration(session, made.bilal.on_phone, declared(at), at.policy, at.now)
    assert taken is not None
    disputes.name_investigator(session, made.amina.actor, taken.declaration_id, made.amina.id, at.now)
    if is_over:
        disputes.compare_handwriting(session, made.amina.actor, taken.declaration_id, Handwriting.SAME_HAND, at.now)
        disputes.rule(session, made.lin.actor, taken.declaration_id, Decision(ruling=Ruling.OWN_CARD), at.now, keyring=at.keyring)
    for person in (made.amina, made.lin):
        hold_id = holds.set_hold(
            session, person.actor, at.keyring, SetHold(case_id=at.case_id, ground=HoldGround.LITIGATION, reason="a suit"), at.now)
    if is_over:
        holds.lift_hold(session, made.lin.actor, at.keyring, (hold_id, "the suit is over"), at.now)
    _destroy_and_produce(at, is_over=is_over)
    assert made.bilal.phone is not None
    renewal = DeviceRenewalRow(
        id=new_id(), old_kid=made.bilal.phone.kid, staff_id=made.bilal.id, asked_at=at.now, expires_at=at.now + timedelta(hours=1), approved_by=None,
        approved_at=None, challenge=None, challenge_expires_at=None, new_kid=None, last_seq=None, last_digest=None, consent=None, used_at=None)
    session.add(renewal)
    session.flush()
    if is_over:
        renewal.approved_by, renewal.approved_at = made.amina.id, at.now
    session.add(SubmissionRow(
        id=new_id(), kind="visit.start", digest="0" * 64, actor_id=made.bilal.id, device=None, answer={"granted": True}, received_at=at.now,
        case_id=at.case_id, trimmed_at=None))
    session.flush()


def _destroy_and_produce(at: Door, *, is_over: bool) -> None:
    session, made = at.session, at.made
    destruction = DestructionRow(
        id=new_id(), case_id=at.case_id, ground=DestructionGround.TERM_OVER, proposed_by=made.petra.id, proposed_at=at.now, decided_by=None,
        decided_at=None, is_approved=None, done_at=None, certificate=None, log_entry_id=None)
    asked = [ProductionRow(
        id=new_id(), case_id=at.case_id, bank_id=at.bank.id, items=[], recipient=SealedValue(b"r"), recipient_jwk={}, purpose="litigation",
        reason=SealedValue(b"w"), requested_by=made.lin.id, requested_at=at.now, first_by=None, first_at=None, second_by=None, second_at=None,
        refused_by=None, refused_at=None, pack_id=None, produced_at=None, register_number=f"P-{new_id()}",
        log_entry_id=log.append(session, "access", b"asked", at.now)) for _ in range(2)]
    session.add_all([destruction, *asked])
    session.flush()
    asked[0].first_by, asked[0].first_at = made.petra.id, at.now
    if is_over:
        destruction.decided_by, destruction.decided_at, destruction.is_approved = made.amina.id, at.now, True
        asked[0].second_by, asked[0].second_at = made.amina.id, at.now
        asked[1].refused_by, asked[1].refused_at = made.petra.id, at.now
    session.flush()


@pytest.fixture
def owner(target: Database) -> Iterator[Engine]:
    """The database, spoken to as the owner of its tables."""
    engine = target.owner_engine()
    yield engine
    engine.dispose()


KEPT = (
    "suspicions", "disputes", "declarations", "promises", "proposals", "legal_holds", "destructions", "productions", "device_renewals", "submissions")


@pytest.mark.parametrize("table", KEPT)
def test_no_table_of_decisions_is_emptied(owner: Engine, table: str) -> None:
    statements = [f"DELETE FROM {table}", *([f"TRUNCATE {table} CASCADE"] if owner.dialect.name == "postgresql" else ())]
    for statement in statements:
        with pytest.raises(IntegrityError), owner.begin() as connection:
            connection.execute(text(statement))


AGENCY = "(SELECT set_by FROM legal_holds WHERE set_by IN (SELECT id FROM staff WHERE bank_id IS NULL) LIMIT 1)"
BANKER = "(SELECT requested_by FROM productions LIMIT 1)"
ENTRY = "(SELECT log_entry_id FROM productions LIMIT 1)"
REPORT = "(SELECT log_entry_id FROM suspicions WHERE status = 'reported')"
RULING = "(SELECT log_entry_id FROM disputes WHERE status = 'ruled')"
FOREIGN = "(SELECT id FROM banks WHERE id NOT IN (SELECT bank_id FROM disputes))"
COPY = {
    "suspicions": "id, case_id, bank_id, branch_id, ground, heard_by, heard_at, status, policy_version",
    "disputes": "id, case_id, bank_id, branch_id, kind, status, stated_at, recorded_by, recorded_at",
    "legal_holds": "id, case_id, ground, reason, set_by, set_at, log_entry_id",
    "promises": "id, case_id, bank_id, branch_id, amount_fen, due_on, made_on, source, source_id, recorded_by, recorded_at, status",
    "destructions": "id, case_id, ground, proposed_by, proposed_at",
    "device_renewals": "id, old_kid, staff_id, asked_at, expires_at",
    "submissions": "id, kind, digest, actor_id, answer, received_at, case_id",
}


def begun(table: str, more: str = "", values: str = "", **changes: str) -> str:
    """Return an INSERT of a new row like one that is there, changed as told."""
    columns = COPY[table].split(", ")
    chosen = ["{new}" if column == "id" else changes.get(column, column) for column in columns]
    return f"INSERT INTO {table} ({COPY[table]}{more}) SELECT {', '.join(chosen)}{values} FROM {table} LIMIT 1"


# By what it tries: the statement and what the database says to it. Every one hits at least one row.
STEPS = {
    "a suspicion that begins reported": (begun(
        "suspicions", ", decided_by, decided_at, due_at, log_entry_id", f", {AGENCY}, heard_at, heard_at, {REPORT}", status="'reported'"),
        "begins as"),
    "a suspicion of another bank's case": (begun("suspicions", status="'heard'", bank_id=FOREIGN), "bank and branch of its case"),
    "a dismissed suspicion that is reported": (
        f"UPDATE suspicions SET status = 'reported', due_at = heard_at, log_entry_id = {ENTRY} WHERE status = 'dismissed'", "refused"),
    "a suspicion acknowledged before its report": (
        f"UPDATE suspicions SET status = 'acknowledged', decided_by = {AGENCY}, decided_at = heard_at, due_at = heard_at, log_entry_id = {ENTRY}, "
        f"acknowledged_by = {BANKER}, acknowledged_at = heard_at, proof_entry_id = {ENTRY} WHERE status = 'heard'", "refused"),
    "a report taken back": (
        "UPDATE suspicions SET status = 'heard', decided_by = NULL, decided_at = NULL, due_at = NULL, log_entry_id = NULL WHERE status = 'reported'",
        "refused"),
    "another term for a report": ("UPDATE suspicions SET due_at = NULL, log_entry_id = NULL WHERE status = 'reported'", "refused"),
    "another entry for a report": (f"UPDATE suspicions SET log_entry_id = {ENTRY} WHERE status = 'reported'", "refused"),
    "a report that the bank verified": (
        f"UPDATE suspicions SET status = 'dismissed', decided_by = {BANKER}, decided_at = heard_at WHERE status = 'heard'", "the agency reports"),
    "a report that is logged as something else": (
        f"UPDATE suspicions SET status = 'reported', decided_by = {AGENCY}, decided_at = heard_at, due_at = heard_at, log_entry_id = {ENTRY} "
        "WHERE status = 'heard'", "both are logged"),
    "a report that the agency acknowledges": (
        f"UPDATE suspicions SET status = 'acknowledged', acknowledged_by = {AGENCY}, acknowledged_at = heard_at, proof_entry_id = {ENTRY} "
        "WHERE status = 'reported'", "the agency reports"),
    "an acknowledgement changed": ("UPDATE suspicions SET acknowledged_at = heard_at, policy_version = policy_version WHERE status = 'acknowledged'",
                                   "come to its end"),
    "a dispute that begins ruled": (begun(
        "disputes", ", ruling, ruled_by, ruled_at, log_entry_id", f", 'fraud', {BANKER}, stated_at, {RULING}", status="'ruled'"), "begins as"),
    "a dispute of another bank's case": (begun("disputes", status="'stated'", bank_id=FOREIGN), "bank and branch of its case"),
    "a dispute that the agency rules": (
        f"UPDATE disputes SET status = 'ruled', ruling = 'own_card', ruled_by = {AGENCY}, ruled_at = stated_at, log_entry_id = {RULING} "
        "WHERE status = 'declared'", "only its own bank rules"),
    "a ruling that nothing is logged of": (
        f"UPDATE disputes SET status = 'ruled', ruling = 'own_card', ruled_by = {BANKER}, ruled_at = stated_at WHERE status = 'declared'",
        "only its own bank rules"),
    "a ruled dispute opened again": (
        "UPDATE disputes SET status = 'stated', ruling = NULL, ruled_by = NULL, ruled_at = NULL WHERE status = 'ruled'", "refused"),
    "another ruling": ("UPDATE disputes SET ruling = 'fraud' WHERE status = 'ruled'", "come to its end"),
    "a declared dispute stated again": ("UPDATE disputes SET status = 'stated' WHERE status = 'declared'", "does not follow"),
    "a dispute's case": (f"UPDATE disputes SET bank_id = {FOREIGN} WHERE status = 'declared'", "never change"),
    "a declaration compared by nobody": (
        "UPDATE declarations SET status = 'taken', investigator_id = NULL WHERE status = 'investigation'", "refused"),
    "a declaration ruled without comparison": (
        f"UPDATE declarations SET status = 'ruled', handwriting = 'same_hand', handwriting_at = taken_at, ruling = 'own_card', ruled_by = {BANKER}, "
        "ruled_at = taken_at WHERE status = 'investigation'", "does not follow"),
    "another result of the comparison": ("UPDATE declarations SET handwriting = 'other_hand' WHERE status = 'ruled'", "set once"),
    "another investigator afterwards": (
        "UPDATE declarations SET investigator_id = (SELECT proposed_by FROM destructions LIMIT 1) WHERE status = 'ruled'", "stays the investigator"),
    "an investigator of the bank": (f"UPDATE declarations SET investigator_id = {BANKER} WHERE status = 'investigation'", "agency investigates"),
    "another ruling on a declaration": ("UPDATE declarations SET ruling = 'fraud' WHERE status = 'ruled'", "set once"),
    "a ruling on a declaration taken back": (
        "UPDATE declarations SET status = 'compared', ruling = NULL, ruled_by = NULL, ruled_at = NULL WHERE status = 'ruled'", "refused"),
    "a replaced promise that is kept": ("UPDATE promises SET status = 'kept' WHERE status = 'replaced'", "refused"),
    "a replaced promise judged at another time": ("UPDATE promises SET judged_at = recorded_at WHERE status = 'replaced'", "come to its end"),
    "a promise of another bank's case": (begun("promises", status="'open'", source_id="{new}", bank_id=FOREIGN), "bank and branch of its case"),
    "a promise that the bank follows up": (
        f"UPDATE promises SET followed_up_by = {BANKER}, followed_up_at = recorded_at WHERE status = 'open'", "the agency follows up"),
    "an offer that lasts longer": ("UPDATE proposals SET valid_to_on = '2030-01-01' WHERE status = 'offered'", "set once"),
    "an offer by somebody else": ("UPDATE proposals SET decided_at = proposed_at, decided_by = (SELECT set_by FROM legal_holds WHERE set_by IN "
                                  "(SELECT id FROM staff WHERE bank_id IS NOT NULL) LIMIT 1) WHERE status = 'offered'", "decided with its status"),
    "a declined proposal that is offered": (
        "UPDATE proposals SET status = 'offered', valid_to_on = '2030-01-01' WHERE status = 'declined'", "refused"),
    "a declined proposal changed": ("UPDATE proposals SET valid_to_on = '2030-01-01' WHERE status = 'declined'", "come to its end"),
    "a hold that begins lifted": (
        begun("legal_holds", ", lifted_by, lifted_at, lift_reason, lift_entry_id", ", set_by, set_at, reason, log_entry_id"), "begins in force"),
    "a bank's hold that the agency lifts": (
        f"UPDATE legal_holds SET lifted_by = {AGENCY}, lifted_at = set_at, lift_reason = reason, lift_entry_id = log_entry_id "
        f"WHERE lifted_at IS NULL AND set_by = {BANKER}", "the side that set it"),
    "an agency's hold that the bank lifts": (
        f"UPDATE legal_holds SET lifted_by = {BANKER}, lifted_at = set_at, lift_reason = reason, lift_entry_id = log_entry_id "
        f"WHERE lifted_at IS NULL AND set_by = {AGENCY}", "the side that set it"),
    "a lifted hold set again": (
        "UPDATE legal_holds SET lifted_by = NULL, lifted_at = NULL, lift_reason = NULL, lift_entry_id = NULL WHERE lifted_at IS NOT NULL",
        "stays as it is"),
    "a destruction that begins decided": (begun(
        "destructions", ", decided_by, decided_at, is_approved", f", {AGENCY}, proposed_at, {{true}}"), "begins as a proposal"),
    "a decision on a destruction taken back": (
        "UPDATE destructions SET decided_by = NULL, decided_at = NULL, is_approved = NULL WHERE is_approved", "set once"),
    "a decision on a destruction at another time": ("UPDATE destructions SET decided_at = NULL, decided_by = NULL, is_approved = NULL "
                                                    "WHERE decided_at IS NOT NULL", "set once"),
    "a destruction that the bank decides": (
        f"UPDATE destructions SET decided_by = {BANKER}, decided_at = proposed_at, is_approved = {{true}} WHERE decided_at IS NULL",
        "two of the agency"),
    "a destruction done while keys and holds are there": (
        f"UPDATE destructions SET done_at = proposed_at, certificate = '{{{{}}}}', log_entry_id = {ENTRY} WHERE is_approved",
        "nothing is that is held"),
    "a certificate of what is not done": ("UPDATE destructions SET certificate = '{{}}' WHERE is_approved", "nothing is that is held"),
    "a first approval at another time": ("UPDATE productions SET first_at = NULL, first_by = NULL WHERE second_by IS NULL AND first_by IS NOT NULL",
                                         "refused"),
    "a second approval taken back": ("UPDATE productions SET second_by = NULL, second_at = NULL WHERE second_by IS NOT NULL", "refused"),
    "an approval by the bank": (
        "UPDATE productions SET second_by = (SELECT decided_by FROM proposals WHERE status = 'offered' LIMIT 1), second_at = requested_at "
        "WHERE second_by IS NULL AND first_by IS NOT NULL", "the agency approves"),
    "a refusal after two approvals": (
        "UPDATE productions SET refused_by = first_by, refused_at = first_at WHERE second_by IS NOT NULL", "two approved"),
    "a refused production approved": ("UPDATE productions SET refused_by = NULL, refused_at = NULL WHERE refused_by IS NOT NULL",
                                      "an approval or refusal stays"),
    "a renewal that begins granted": (begun("device_renewals", ", approved_by, approved_at", f", {AGENCY}, asked_at"), "begins as a question"),
    "a renewal of somebody else's phone": (begun("device_renewals", staff_id=AGENCY), "of one person"),
    "a grant taken back": ("UPDATE device_renewals SET approved_by = NULL, approved_at = NULL WHERE approved_at IS NOT NULL", "set once"),
    "a grant by the bank": (
        f"UPDATE device_renewals SET approved_by = {BANKER}, approved_at = asked_at WHERE approved_at IS NULL", "of one person"),
    "a grant after the end": (
        f"UPDATE device_renewals SET approved_by = {AGENCY}, approved_at = expires_at WHERE approved_at IS NULL", "first and in time"),
    "a challenge before the grant": (
        "UPDATE device_renewals SET challenge = 'c', challenge_expires_at = expires_at WHERE approved_at IS NULL", "first and in time"),
    "an answer that begins trimmed": (begun("submissions", ", trimmed_at", ", received_at", answer="NULL"), "stored whole"),
    "an answer of an open case trimmed": ("UPDATE submissions SET answer = NULL, trimmed_at = received_at", "after its case"),
    "another answer": ("UPDATE submissions SET answer = '{{}}'", "after its case"),
    "another digest": ("UPDATE submissions SET digest = 'x', answer = NULL, trimmed_at = received_at", "refused"),
}


@pytest.mark.parametrize("attempt", STEPS)
def test_ARCH_09_no_decision_takes_a_step_that_its_rules_do_not_know(owner: Engine, attempt: str) -> None:
    statement, said = STEPS[attempt]
    is_postgresql, value = owner.dialect.name == "postgresql", new_id()
    filled = statement.replace("{{", "{").replace("}}", "}").replace("{new}", f"'{value}'" if is_postgresql else f"'{value.hex}'")
    filled = filled.replace("{true}", "true" if is_postgresql else "1")
    with pytest.raises(IntegrityError) as caught, owner.begin() as connection:
        connection.exec_driver_sql(filled)
    message = str(caught.value.orig)
    assert said in message, message
