"""Closing a visit by a statement that both have signed, and the review that follows (EVD-01)."""

from datetime import datetime, timedelta
from typing import Any

import msgspec
import pytest
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from backend.auth.actors import Role as StaffRole
from backend.core.problems import NotFound
from backend.core.rulebook import Rule, RulesBreached
from backend.exhibits import examinations, reviews
from backend.exhibits.actions import accept
from backend.exhibits.custody_model import ItemVerdict
from backend.exhibits.findings import add_findings
from backend.exhibits.item_reviews import ReviewItem, review_item
from backend.exhibits.joint import withheld_of
from backend.exhibits.model import Accepted, Intake, ItemState
from backend.exhibits.model import Verdict as HeldVerdict
from backend.exhibits.queries import stored_item
from backend.exhibits.statements import open_statement
from backend.exhibits.tables import ItemRow, ManifestRow
from backend.policies.model import DEFAULT_POLICY
from backend.visits import evidence_review, queries, reports
from backend.visits.closing import open_exceptions, paper_facts
from backend.visits.for_evidence import facts_for_evidence
from backend.visits.model import FactStored, ReviewVerdict, Standing, Verdict, VisitStatus
from backend.visits.rules import REVIEW_CHECKLIST
from backend.visits.tables import VisitRow
from evidence.examination import Audio, Examination, State
from evidence.facts import EntryFacts, Kind
from evidence.manifest import Item, Role
from evidence.model import Finding, Grade
from evidence.times import format_utc
from tests.support.cases import approved_request
from tests.support.exhibits import Handset, close_facts, item, open_case, signed_once, signed_twice, visit_facts
from tests.support.visits import Planned, outcome, planned_day, planned_visit, report, right_party, started
from tests.support.world import Person, World, add_credential, add_person, shared_keyring, world

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
    intake = Intake(visit=visit, policy=DEFAULT_POLICY, keyring=KEYRING, tenant="fieldvisit")
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


def test_SEC_01_bytes_that_stand_under_another_banks_visit_close_nothing_and_go_to_no_bank(session: Session, made: World, planned: Planned) -> None:
    first = closed(session, made, taken(session, made, planned, items=(recording(made),)))
    assert first.breaches == ()
    session.execute(update(VisitRow).where(VisitRow.id == planned.visit_id).values(closed_at=None, closing_manifest_id=None))
    case_id = open_case(session, KEYRING, made, bank_id=made.bank_b.id)
    other = visit_facts(made, case_id, bank_id=made.bank_b.id)
    one, two = Handset(made.bilal, 1, "1" * 64), Handset(made.dong, 1, "1" * 64)
    payload = one.payload(made, other, Kind.VISIT_CLOSE, close_facts(made, ()), partner=two, items=(recording(made),), at=made.now)
    statement = open_statement(session, signed_twice(one, two, payload, made.now), made.now)
    accept(session, made.bilal.on_phone, statement, Intake(visit=other, policy=DEFAULT_POLICY, keyring=KEYRING, tenant="fieldvisit"), made.now)
    again = closed(session, made, taken_again(session, made, planned))
    assert [breach.code for breach in again.breaches] == ["item-of-two-banks"]
    assert planned.row(session).closed_at is None
    (mine,) = items_of(session, planned)
    assert withheld_of(session, [mine.id]) == {mine.id}
    with pytest.raises(RulesBreached):
        review(session, made, planned, "item-of-two-banks", "recording-not-stored")


def test_VIS_01_two_strangers_close_no_visit_and_answer_for_nothing_in_it(session: Session, made: World, planned: Planned) -> None:
    """Two colleagues of another pair sign a closing of this visit, with a recording, and say that somebody went in."""
    others = [add_person(session, KEYRING, name, StaffRole.FIELD_COLLECTOR, branch_id=made.sh1, now=made.now) for name in ("eve", "mallory")]
    entered = planned.row(session).is_entered
    session.execute(update(VisitRow).where(VisitRow.id == planned.visit_id).values(is_entered=None))
    session.expire_all()
    one, two = (Handset(other) for other in others)
    visit = facts_for_evidence(session, str(planned.visit_id))
    assert visit is not None
    facts = msgspec.structs.replace(close_facts(made, ()), entered=True)
    payload = one.payload(made, visit, Kind.VISIT_CLOSE, facts, partner=two, items=(recording(made),), at=made.now)
    statement = open_statement(session, signed_twice(one, two, payload, made.now), made.now)
    accepted = accept(
        session, others[0].on_phone, statement, Intake(visit=visit, policy=DEFAULT_POLICY, keyring=KEYRING, tenant="fieldvisit"), made.now)
    told = reports.close(session, others[0].on_phone, accepted, DEFAULT_POLICY, made.now)
    assert told is not None
    assert {breach.code for breach in told.breaches} >= {"closing-not-cosigned", "no-recording"}
    row = planned.row(session)
    assert (entered, row.closed_at, row.is_entered) == (False, None, None)
    stored(session, made)
    assert "no-recording" in open_exceptions(session, row)
    assert closed(session, made, taken(session, made, planned, items=(sound_of(made, 5, 1),))).breaches == ()
    assert planned.row(session).closed_at is not None


LETTER = {"letter_number": "L-1"}


def test_LTR_07_a_letter_without_its_proof_is_listed_and_mended_by_the_proof(session: Session, made: World, planned: Planned) -> None:
    outcome(session, KEYRING, made, planned, "letter_in_mailbox", LETTER, minutes=1)
    told = closed(session, made, taken(session, made, planned, items=(recording(made),)))
    assert [(breach.rule, breach.code) for breach in told.breaches] == [(Rule.LTR_07, "delivery-unproven")]
    assert planned.row(session).closed_at is not None                  # A fact is stored with what it lacks (F23).
    proof = item(b"the letter in the box", Role.LETTER_DELIVERY, at=made.now)
    assert closed(session, made, taken_again(session, made, planned, items=(proof,))).breaches == ()
    assert open_exceptions(session, planned.row(session)) == {"delivery-unproven", "recording-not-stored"}     # Declared; not here yet.
    stored(session, made)
    assert review(session, made, planned) is VisitStatus.REVIEWED


def test_LTR_07_an_outcome_that_arrives_after_the_closing_is_judged_at_the_review(session: Session, made: World, planned: Planned) -> None:
    assert closed(session, made, taken(session, made, planned, items=(recording(made),))).breaches == ()
    stored(session, made)
    outcome(session, KEYRING, made, planned, "letter_in_mailbox", LETTER, minutes=1)
    with pytest.raises(RulesBreached):
        review(session, made, planned)
    assert review(session, made, planned, "delivery-unproven") is VisitStatus.REVIEWED


def test_CASH_05_money_told_at_the_door_needs_receipt_counterfoil_and_count(session: Session, made: World, planned: Planned) -> None:
    right_party(session, made, planned)
    outcome(session, KEYRING, made, planned, "cash_taken", {"receipt_number": "R-1", "amount_fen": 100}, minutes=1)
    told = closed(session, made, taken(session, made, planned, items=(recording(made),)))
    assert {(breach.rule, breach.code) for breach in told.breaches} == {
        (Rule.CASH_05, "receipt-missing"), (Rule.CASH_05, "counterfoil-missing"), (Rule.CASH_07, "cash-count-missing")}


def test_POL_10_station_and_officer_stand_in_for_a_slip(session: Session, made: World, planned: Planned) -> None:
    outcome(session, KEYRING, made, planned, "police_attended", {"station": "pudong", "officer_number": "031"}, minutes=1)
    assert closed(session, made, taken(session, made, planned, items=(recording(made),))).breaches == ()
    outcome(session, KEYRING, made, planned, "police_attended", {"station": "pudong"}, minutes=2)
    assert [breach.code for breach in closed(session, made, taken_again(session, made, planned)).breaches] == ["police-slip-missing"]


def test_DECL_03_a_declaration_that_is_told_is_shown(session: Session, made: World, planned: Planned) -> None:
    right_party(session, made, planned)
    outcome(session, KEYRING, made, planned, "declaration_taken", minutes=1)
    told = closed(session, made, taken(session, made, planned, items=(recording(made),)))
    assert [(breach.rule, breach.code) for breach in told.breaches] == [(Rule.DECL_03, "declaration-missing")]


@pytest.fixture
def two_doors(session: Session, made: World) -> tuple[Planned, Planned]:
    """Two visits of the pair on one day, one after the other: bank A's, then bank B's."""
    for person in (made.bilal, made.dong):
        add_credential(session, made, person, made.bank_b.id)
    asked = [approved_request(session, KEYRING, made), approved_request(session, KEYRING, made, 2, bank=made.bank_b)]
    published = planned_day(session, made)
    stops = {stop.request_id: stop.visit_id for stop in published.stops}
    first, later = (Planned(stops[one.request_id], published.id, one) for one in asked)
    for number, planned in enumerate((first, later)):
        started(session, KEYRING, made, planned, is_intent=False)
        outcome(session, KEYRING, made, planned, "nobody_met", minutes=0)
        report(session, KEYRING, made, planned, minutes=0)
        from_at = made.now - timedelta(minutes=60 - 20 * number)
        session.execute(update(VisitRow).where(VisitRow.id == planned.visit_id).values(started_at=from_at, ended_at=from_at + timedelta(minutes=10)))
    session.expire_all()
    return first, later


def sound_of(made: World, from_min: int, to_min: int, text: bytes = b"sound") -> Item:
    """A recording between two minutes before the world's now."""
    return msgspec.structs.replace(
        item(text + f" {from_min} {to_min}".encode(), Role.AUDIO, "audio/mp4", at=made.now),
        started=format_utc(made.now - timedelta(minutes=from_min)), ended=format_utc(made.now - timedelta(minutes=to_min)))


def test_SEC_01_a_phones_recording_of_a_route_closes_nothing_until_it_is_split(
    session: Session, made: World, two_doors: tuple[Planned, Planned],
) -> None:
    first, _ = two_doors
    told = closed(session, made, taken(session, made, first, items=(sound_of(made, 61, 25),)))
    (breach,) = told.breaches
    assert (breach.rule, breach.code, told.standing) == (Rule.SEC_01, "joint-recording", Standing.BREACH)
    own = first.row(session)
    assert own.started_at is not None
    assert own.ended_at is not None
    assert breach.expected == f"one recording per bank: cut {own.started_at:%Y-%m-%dT%H:%M:%SZ} to {own.ended_at:%Y-%m-%dT%H:%M:%SZ}"
    assert own.closed_at is None
    with pytest.raises(RulesBreached):                  # Nobody takes it on themselves.
        review(session, made, first, "joint-recording", "recording-not-stored")
    parts = taken_again(session, made, first, items=(sound_of(made, 60, 55, b"one"), sound_of(made, 55, 50, b"two")))
    assert closed(session, made, parts).breaches == ()
    assert first.row(session).closed_at is not None
    stored(session, made)
    assert review(session, made, first) is VisitStatus.REVIEWED
    joint, *clean = items_of(session, first)
    assert withheld_of(session, [joint.id, *(one.id for one in clean)]) == {joint.id}      # What was split off is handed over, the whole is not.
    with pytest.raises(NotFound):
        stored_item(session, made.lin.actor, joint.id)
    assert stored_item(session, made.lin.actor, clean[0].id).id == clean[0].id


def test_SEC_01_a_part_that_is_too_short_or_of_another_phone_splits_nothing(
    session: Session, made: World, two_doors: tuple[Planned, Planned],
) -> None:
    first, _ = two_doors
    closed(session, made, taken(session, made, first, items=(sound_of(made, 61, 25),)))
    told = closed(session, made, taken_again(session, made, first, items=(sound_of(made, 60, 53),)))
    assert [breach.code for breach in told.breaches] == ["joint-recording"]
    told = closed(session, made, taken_again(session, made, first, items=(sound_of(made, 60, 50),), by=(made.dong, made.bilal)))
    assert [breach.code for breach in told.breaches] == ["joint-recording"]


def test_SEC_01_the_whole_again_under_a_shorter_claim_and_a_part_with_nothing_on_it_split_nothing(
    session: Session, made: World, two_doors: tuple[Planned, Planned],
) -> None:
    first, _ = two_doors
    whole = sound_of(made, 61, 25)
    closed(session, made, taken(session, made, first, items=(whole,)))
    again = msgspec.structs.replace(whole, item_id="item-again", started=format_utc(made.now - timedelta(minutes=60)),
                                    ended=format_utc(made.now - timedelta(minutes=50)))
    told = closed(session, made, taken_again(session, made, first, items=(again,)))
    assert [breach.code for breach in told.breaches] == ["joint-recording"]
    phone = taken_again(session, made, first, items=(sound_of(made, 60, 50),), seq=4)
    stored(session, made)
    (part,) = [one for one in items_of(session, first) if one.manifest_id == phone.manifest_id]
    session.execute(update(ItemRow).where(ItemRow.id == part.id).values(examined_at=None, examination=None))
    measured(session, made, part, 0.1)
    assert [breach.code for breach in closed(session, made, phone).breaches] == ["joint-recording"]
    assert first.row(session).closed_at is None


def test_EVD_01_a_rejected_recording_is_no_recording_and_a_rejected_paper_no_paper(session: Session, made: World, planned: Planned) -> None:
    outcome(session, KEYRING, made, planned, "letter_in_mailbox", LETTER, minutes=1)
    proof = item(b"the letter in the box", Role.LETTER_DELIVERY, at=made.now)
    assert closed(session, made, taken(session, made, planned, items=(recording(made), proof))).breaches == ()
    stored(session, made)
    for one in items_of(session, planned):
        review_item(session, made.amina.actor, KEYRING, ReviewItem(item_key=one.id, verdict=ItemVerdict.REJECTED, comment="of another day"), made.now)
    assert open_exceptions(session, planned.row(session)) == {"recording-not-stored", "delivery-unproven"}
    told = closed(session, made, taken_again(session, made, planned))
    assert {breach.code for breach in told.breaches} == {"no-recording", "delivery-unproven"}


def test_CASH_05_one_counterfoil_under_two_statements_is_one(session: Session, made: World, planned: Planned) -> None:
    proof = item(b"a counterfoil", Role.COUNTERFOIL, at=made.now)
    closed(session, made, taken(session, made, planned, items=(recording(made), proof)))
    closed(session, made, taken_again(session, made, planned, items=(proof,)))
    assert paper_facts(session, planned.row(session)).shown[Role.COUNTERFOIL] == 1


def test_VIS_03_EVD_09_what_a_closing_names_and_nobody_brings_stands_at_the_review(session: Session, made: World, planned: Planned) -> None:
    at = format_utc(made.now)
    entry = EntryFacts(reason="invited", consented_by="debtor", consented=at, entered=at, evidence="item-consent")
    proof = item(b"a photo of the consent", at=made.now, item_id="item-consent")
    files = (recording(made), proof)
    assert closed(session, made, taken(session, made, planned, items=files, entered=True, entry=entry, manifests=("a" * 64,))).breaches == ()
    assert open_exceptions(session, planned.row(session)) == {"recording-not-stored", "entry-unproven", "statement-missing"}
    stored(session, made)
    assert open_exceptions(session, planned.row(session)) == {"statement-missing"}
    with pytest.raises(RulesBreached):
        review(session, made, planned)
    assert review(session, made, planned, "statement-missing") is VisitStatus.REVIEWED


def test_EVD_09_a_sign_of_fraud_that_nobody_decided_is_taken_on_by_nobody(session: Session, made: World, planned: Planned) -> None:
    accepted = taken(session, made, planned, items=(recording(made),))
    closed(session, made, accepted)
    stored(session, made)
    add_findings(session, session.get_one(ManifestRow, accepted.manifest_id), (
        Finding(name="mock-location", grade=Grade.FRAUD_SIGN, rules=("VIS-14",), pointer="", expected="a real fix", got="mock"),), made.now)
    with pytest.raises(RulesBreached):
        review(session, made, planned, "evidence-quarantined")
    release = reviews.Decide(manifest_id=accepted.manifest_id, verdict=HeldVerdict.RELEASE, reason="it may be so")
    other = add_person(session, KEYRING, "su", StaffRole.SUPERVISOR, branch_id=made.sh1, now=made.now)
    reviews.decide(session, other.actor, KEYRING, release, made.now)
    with pytest.raises(RulesBreached):
        review(session, made, planned, "evidence-quarantined")          # One release of two decides nothing.
    command = reviews.Decide(manifest_id=accepted.manifest_id, verdict=HeldVerdict.UPHOLD, reason="a mocked fix")
    reviews.decide(session, made.amina.actor, KEYRING, command, made.now)
    assert review(session, made, planned) is VisitStatus.REVIEWED


def test_SEC_01_only_the_agencys_reviewer_clears_a_recording_and_by_the_file(
    session: Session, made: World, two_doors: tuple[Planned, Planned],
) -> None:
    first, _ = two_doors
    closed(session, made, taken(session, made, first, items=(sound_of(made, 61, 25),)))
    stored(session, made)
    (joint,) = items_of(session, first)
    review_item(session, made.lin.actor, KEYRING, ReviewItem(item_key=joint.id, verdict=ItemVerdict.ACCEPTED, comment="fine by us"), made.now)
    assert withheld_of(session, [joint.id]) == {joint.id}
    assert first.row(session).closed_at is None
    command = ReviewItem(item_key=joint.id, verdict=ItemVerdict.ACCEPTED, comment="heard, only A")
    evidence_review.review(session, made.amina.actor, KEYRING, command, made.now)
    assert withheld_of(session, [joint.id]) == frozenset()
    assert first.row(session).closed_at is not None                 # The closing that it kept takes effect: the visit is drawn like any other.
    assert review(session, made, first) is VisitStatus.REVIEWED


def test_SEC_01_the_later_visits_closing_bars_the_recording_of_the_earlier(
    session: Session, made: World, two_doors: tuple[Planned, Planned],
) -> None:
    first, later = two_doors
    times = {"started_at": None, "ended_at": None}
    session.execute(update(VisitRow).where(VisitRow.id == later.visit_id).values(times))
    assert closed(session, made, taken(session, made, first, items=(sound_of(made, 61, 25),))).breaches == ()   # The next door is not told yet.
    (joint,) = items_of(session, first)
    assert withheld_of(session, [joint.id]) == {joint.id}          # Nobody knows yet how long it is.
    measured(session, made, joint, 36)
    assert withheld_of(session, [joint.id]) == frozenset()
    from_at = made.now - timedelta(minutes=40)
    session.execute(update(VisitRow).where(VisitRow.id == later.visit_id).values(started_at=from_at, ended_at=from_at + timedelta(minutes=10)))
    session.expire_all()
    closed(session, made, taken_again(session, made, later, items=(sound_of(made, 41, 29),)))
    assert withheld_of(session, [joint.id]) == {joint.id}
    with pytest.raises(RulesBreached):
        review(session, made, first, "recording-not-stored")


def stored(session: Session, made: World) -> None:
    session.execute(update(ItemRow).values(state=ItemState.STORED, stored_at=made.now, blob_key="blob", wrapped_key=b"key"))
    for row in session.scalars(select(ItemRow).where(ItemRow.role == Role.AUDIO)).all():
        measured(session, made, row, (row.ended_at - row.started_at) / timedelta(minutes=1))


def measured(session: Session, made: World, row: ItemRow, minutes: float) -> None:
    """A decoder hears so many minutes in a recording."""
    heard = Audio(codec="aac", decoded_ms=int(minutes * 60_000), declared_ms=None, packets=1, bad_packets=0, sample_rate=8000, rms_dbfs=-20,
                  silent_pct=0, clipped_pct=0, looped_pct=0, fingerprint="0")
    examinations.store(session, row.id, Examination(state=State.EXAMINED, audio=heard), made.now)
    session.refresh(row)


def items_of(session: Session, planned: Planned) -> list[ItemRow]:
    query = select(ItemRow).join(ManifestRow, ManifestRow.id == ItemRow.manifest_id).where(ManifestRow.visit_id == planned.visit_id)
    return list(session.scalars(query.order_by(ItemRow.started_at)))


def taken_again(
    session: Session, made: World, planned: Planned, *, items: tuple[Item, ...] = (), by: tuple[Person, Person] | None = None, seq: int = 0,
) -> Accepted:
    one, other = by or (made.bilal, made.dong)
    seq = seq or (2 if by is None else 3)
    first, second = Handset(one, seq, "1" * 64), Handset(other, seq, "1" * 64)
    visit = facts_for_evidence(session, str(planned.visit_id))
    assert visit is not None
    payload = first.payload(made, visit, Kind.VISIT_CLOSE, close_facts(made, ()), partner=second, items=items, at=made.now)
    statement = open_statement(session, signed_twice(first, second, payload, made.now), made.now)
    return accept(session, one.on_phone, statement, Intake(visit=visit, policy=DEFAULT_POLICY, keyring=KEYRING, tenant="fieldvisit"), made.now)


def test_a_close_of_no_known_visit_is_kept_as_evidence_alone(session: Session, made: World, planned: Planned) -> None:
    accepted = msgspec.structs.replace(taken(session, made, planned), visit_id=None)
    assert reports.close(session, made.bilal.on_phone, accepted, DEFAULT_POLICY, made.now) is None
    assert facts_for_evidence(session, "no-uuid") is None
    assert facts_for_evidence(session, None) is None
