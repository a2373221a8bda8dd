"""Closing a visit by a statement that both have signed, and the review that follows (EVD-01)."""

from datetime import datetime
from typing import Any

import msgspec
import pytest
from sqlalchemy import update
from sqlalchemy.orm import Session

from backend.core.rulebook import Rule, RulesBreached
from backend.exhibits.actions import accept
from backend.exhibits.model import Accepted, Intake, ItemState
from backend.exhibits.statements import open_statement
from backend.exhibits.tables import ItemRow
from backend.policies.model import DEFAULT_POLICY
from backend.visits import queries, reports
from backend.visits.for_evidence import facts_for_evidence
from backend.visits.model import FactStored, ReviewVerdict, Standing, Verdict, VisitStatus
from backend.visits.rules import REVIEW_CHECKLIST
from evidence.facts import EntryFacts, Kind
from evidence.manifest import Item, Role
from evidence.times import format_utc
from tests.support.exhibits import Handset, close_facts, item, open_case, signed_once, signed_twice, visit_facts
from tests.support.visits import Planned, outcome, planned_visit, report, started
from tests.support.world import World, shared_keyring, world

KEYRING = shared_keyring()


@pytest.fixture
def made(session: Session, now: datetime) -> World:
    return world(session, KEYRING, now)


@pytest.fixture
def planned(session: Session, made: World) -> Planned:
    """A visit with its outcome and its report."""
    planned = planned_visit(session, KEYRING, made)
    started(session, KEYRING, made, planned)
    outcome(session, KEYRING, made, planned, "nobody_met", minutes=0)
    report(session, KEYRING, made, planned, minutes=0)
    return planned


def taken(session: Session, made: World, planned: Planned, *, items: tuple[Item, ...] = (), is_cosigned: bool = True, **changes: Any) -> Accepted:
    """Take in a close of the visit."""
    first, second = Handset(made.bilal), Handset(made.dong)
    visit = facts_for_evidence(session, str(planned.visit_id))
    assert visit is not None
    facts = msgspec.structs.replace(close_facts(made, ()), **changes)
    payload = first.payload(made, visit, Kind.VISIT_CLOSE, facts, partner=second, items=items, at=made.now)
    raw = signed_twice(first, second, payload, made.now) if is_cosigned else signed_once(first, payload)
    intake = Intake(visit=visit, policy=DEFAULT_POLICY, keyring=KEYRING)
    return accept(session, made.bilal.on_phone, open_statement(session, raw, made.now), intake, made.now)


def closed(session: Session, made: World, accepted: Accepted) -> FactStored:
    told = reports.close(session, made.bilal.on_phone, accepted, DEFAULT_POLICY, made.now)
    assert told is not None
    return told


def recording(made: World) -> Item:
    return item(b"a whole conversation", Role.AUDIO, "audio/mp4", at=made.now)


def review(session: Session, made: World, planned: Planned, *accepted: str) -> VisitStatus:
    return reports.review(session, made.amina.actor, KEYRING, ReviewVerdict(
        visit_id=planned.visit_id, verdict=Verdict.ACCEPTED, checklist=dict.fromkeys(REVIEW_CHECKLIST, True), comment="heard",
        accepted_exceptions=frozenset(accepted),
    ), made.now)


def test_VIS_01_one_signature_closes_nothing(session: Session, made: World, planned: Planned) -> None:
    accepted = taken(session, made, planned, items=(recording(made),), is_cosigned=False)
    assert not accepted.is_completed_now                    # So the transport never calls `close`.
    assert planned.row(session).closed_at is None


def test_EVD_01_a_closing_without_a_recording_is_a_listed_exception(session: Session, made: World, planned: Planned) -> None:
    told = closed(session, made, taken(session, made, planned))
    assert ([(breach.rule, breach.code) for breach in told.breaches], told.standing) == ([(Rule.EVD_01, "no-recording")], Standing.BREACH)
    with pytest.raises(RulesBreached) as refusal:
        review(session, made, planned)
    assert {breach.rule for breach in refusal.value.breaches} == {Rule.EVD_01}
    assert review(session, made, planned, "no-recording") is VisitStatus.REVIEWED
    (listed,) = queries.detail(session, made.amina.actor, KEYRING, planned.visit_id, made.now).exceptions
    assert (listed.code, listed.accepted_by) == ("no-recording", made.amina.id)


def test_EVD_01_a_declared_recording_that_never_arrived_is_not_accepted_silently(session: Session, made: World, planned: Planned) -> None:
    assert closed(session, made, taken(session, made, planned, items=(recording(made),))).breaches == ()
    with pytest.raises(RulesBreached) as refusal:
        review(session, made, planned)
    assert {breach.code for breach in refusal.value.breaches} == {"exceptions-open"}
    assert review(session, made, planned, "recording-not-stored") is VisitStatus.REVIEWED


def test_EVD_01_a_whole_closing_is_reviewed_and_filed(session: Session, made: World, planned: Planned) -> None:
    assert closed(session, made, taken(session, made, planned, items=(recording(made),))).standing is Standing.ACCEPTED
    session.execute(update(ItemRow).values(state=ItemState.STORED, stored_at=made.now, blob_key="blob", wrapped_key=b"key"))
    assert review(session, made, planned) is VisitStatus.REVIEWED
    assert reports.archive(session, made.amina.actor, planned.visit_id, made.now) is VisitStatus.ARCHIVED


def test_VIS_02_VIS_03_the_entered_answer_must_agree_and_be_proven(session: Session, made: World, planned: Planned) -> None:
    at = format_utc(made.now)
    entry = EntryFacts(reason="invited", consented_by="debtor", consented=at, entered=at, evidence="item-consent")
    told = closed(session, made, taken(session, made, planned, items=(recording(made),), entered=True, entry=entry))
    assert [(breach.rule, breach.code) for breach in told.breaches] == [(Rule.VIS_03, "entry-unproven")]


def test_VIS_03_an_entry_with_its_evidence_closes_cleanly(session: Session, made: World, planned: Planned) -> None:
    at = format_utc(made.now)
    entry = EntryFacts(reason="invited", consented_by="debtor", consented=at, entered=at, evidence="item-consent")
    proof = item(b"a photo of the consent", at=made.now, item_id="item-consent")
    told = closed(session, made, taken(session, made, planned, items=(recording(made), proof), entered=True, entry=entry))
    assert told.breaches == ()


def test_SEC_01_a_recording_shared_with_another_banks_visit_is_listed(session: Session, made: World, planned: Planned) -> None:
    first = closed(session, made, taken(session, made, planned, items=(recording(made),)))
    assert first.breaches == ()
    case_id = open_case(session, KEYRING, made, bank_id=made.bank_b.id)
    other = visit_facts(made, case_id, bank_id=made.bank_b.id)
    one, two = Handset(made.bilal, 1, "1" * 64), Handset(made.dong, 1, "1" * 64)
    payload = one.payload(made, other, Kind.VISIT_CLOSE, close_facts(made, ()), partner=two, items=(recording(made),), at=made.now)
    statement = open_statement(session, signed_twice(one, two, payload, made.now), made.now)
    accept(session, made.bilal.on_phone, statement, Intake(visit=other, policy=DEFAULT_POLICY, keyring=KEYRING), made.now)
    again = closed(session, made, taken_again(session, made, planned))
    assert [breach.code for breach in again.breaches] == ["joint-recording"]


def taken_again(session: Session, made: World, planned: Planned) -> Accepted:
    first, second = Handset(made.bilal, 2, "1" * 64), Handset(made.dong, 2, "1" * 64)
    visit = facts_for_evidence(session, str(planned.visit_id))
    assert visit is not None
    payload = first.payload(made, visit, Kind.VISIT_CLOSE, close_facts(made, ()), partner=second, at=made.now)
    statement = open_statement(session, signed_twice(first, second, payload, made.now), made.now)
    return accept(session, made.bilal.on_phone, statement, Intake(visit=visit, policy=DEFAULT_POLICY, keyring=KEYRING), made.now)


def test_a_close_of_no_known_visit_is_kept_as_evidence_alone(session: Session, made: World, planned: Planned) -> None:
    accepted = msgspec.structs.replace(taken(session, made, planned), visit_id=None)
    assert reports.close(session, made.bilal.on_phone, accepted, DEFAULT_POLICY, made.now) is None
    assert facts_for_evidence(session, "no-uuid") is None
    assert facts_for_evidence(session, None) is None
