"""A visit from check-in to review on both engines: leave refused, facts stored with their breaches, both in any order."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import event, select, update
from sqlalchemy.exc import DatabaseError
from sqlalchemy.orm import Session

from backend.audit.breaches import breaches_of
from backend.audit.tables import AuditEntryRow, AuditReadRow
from backend.cases import actions as cases
from backend.cases.model import Source, SuspensionReason
from backend.cases.tables import CaseRow
from backend.contacts.actions import agree_hours
from backend.contacts.model import AgreeHours, Result
from backend.contacts.tables import ContactRecordRow
from backend.core.ids import CaseId, VisitId, new_id
from backend.core.problems import Forbidden, IllegalTransition, NotFound
from backend.core.rulebook import Rule, RulesBreached
from backend.requests.model import RequestStatus
from backend.requests.tables import VisitRequestRow
from backend.staff.tables import CredentialRow, EquipmentAssignmentRow, EquipmentRow, QualificationRow
from backend.visits import actions, incidents, queries, reports
from backend.visits.model import Entry, Identity, Incident, IncidentKind, Reviewer, ReviewVerdict, Standing, StartVisit, Verdict, VisitStatus
from backend.visits.rules import REVIEW_CHECKLIST
from backend.visits.tables import CheckInRow, OutcomeRow, VisitRow
from tests.support.cases import call
from tests.support.visits import PROMISE, Planned, check_in, checked_in, outcome, planned_day, planned_visit, report, right_party, started
from tests.support.world import World, shared_keyring, world

KEYRING = shared_keyring()
START_STATEMENTS_MAX = 36


@pytest.fixture
def made(session: Session, now: datetime) -> World:
    return world(session, KEYRING, now)


@pytest.fixture
def planned(session: Session, made: World) -> Planned:
    return planned_visit(session, KEYRING, made)


def start(session: Session, made: World, planned: Planned, *, at: datetime | None = None) -> None:
    actions.start(session, made.bilal.on_phone, StartVisit(visit_id=planned.visit_id, at=at or made.now, is_intent=True), at or made.now)


def refused_start(session: Session, made: World, planned: Planned, *, at: datetime | None = None) -> set[Rule]:
    session.flush()
    session.expire_all()
    with pytest.raises(RulesBreached) as refusal:
        start(session, made, planned, at=at)
    assert planned.row(session).status is VisitStatus.DISPATCHED
    return {breach.rule for breach in refusal.value.breaches}


@pytest.mark.parametrize("person", ["chen", "lin", "yara", "zhen", "amina", "farid"])
def test_nobody_but_the_pair_starts_a_visit(session: Session, made: World, planned: Planned, person: str) -> None:
    checked_in(session, KEYRING, made, planned)
    with pytest.raises((NotFound, Forbidden)):
        actions.start(session, getattr(made, person).actor, StartVisit(visit_id=planned.visit_id, at=made.now, is_intent=True), made.now)


def test_another_collectors_visit_is_not_there(session: Session, made: World, planned: Planned) -> None:
    with pytest.raises(NotFound):
        actions.start(session, made.zhen.on_phone, StartVisit(visit_id=planned.visit_id, at=made.now, is_intent=True), made.now)
    with pytest.raises(NotFound):
        actions.start(session, made.bilal.on_phone, StartVisit(visit_id=VisitId(new_id()), at=made.now, is_intent=True), made.now)


def test_VIS_01_leave_to_start_alone_is_refused(session: Session, made: World, planned: Planned) -> None:
    check_in(session, KEYRING, made.bilal.on_phone, planned, made.now)
    check_in(session, KEYRING, made.bilal.on_phone, planned, made.now)
    assert refused_start(session, made, planned) == {Rule.VIS_01}


def test_VIS_04_leave_to_start_without_a_camera_is_refused(session: Session, made: World, planned: Planned) -> None:
    checked_in(session, KEYRING, made, planned)
    cameras = select(EquipmentRow.id).where(EquipmentRow.kind == "camera")
    session.execute(EquipmentAssignmentRow.__table__.delete().where(EquipmentAssignmentRow.equipment_id.in_(cameras)))
    assert refused_start(session, made, planned) == {Rule.VIS_04}


def test_VIS_05_leave_to_start_without_worn_credentials_is_refused(session: Session, made: World, planned: Planned) -> None:
    check_in(session, KEYRING, made.bilal.on_phone, planned, made.now)
    told = check_in(session, KEYRING, made.dong.on_phone, planned, made.now, is_credential_worn=False)
    assert told.standing is Standing.BREACH
    assert refused_start(session, made, planned) == {Rule.VIS_05}


def test_VIS_06_leave_to_start_with_a_revoked_credential_is_refused(session: Session, made: World, planned: Planned) -> None:
    checked_in(session, KEYRING, made, planned)
    session.execute(update(CredentialRow).where(CredentialRow.staff_id == made.dong.id).values(revoked_at=made.now - timedelta(hours=1)))
    assert refused_start(session, made, planned) == {Rule.VIS_06}


def test_VIS_07_posing_as_the_bank_is_refused_and_an_incident(session: Session, made: World, planned: Planned) -> None:
    check_in(session, KEYRING, made.bilal.on_phone, planned, made.now)
    check_in(session, KEYRING, made.dong.on_phone, planned, made.now, identity_presented=Identity.BANK)
    assert refused_start(session, made, planned) == {Rule.VIS_07}
    (seen,) = incidents.incident_page(session, made.amina.actor, KEYRING, made.now, after=None, limit=10, is_open=True)
    assert (seen.kind, seen.reported_by) == (IncidentKind.WRONG_IDENTITY, made.dong.id)


def test_TEAM_01_leave_to_start_without_qualification_is_refused(session: Session, made: World, planned: Planned) -> None:
    checked_in(session, KEYRING, made, planned)
    session.execute(update(QualificationRow).where(QualificationRow.staff_id == made.dong.id).values(valid_to_on=made.today - timedelta(days=1)))
    assert refused_start(session, made, planned) == {Rule.TEAM_01}


def test_VIS_10_leave_to_start_at_night_is_refused_without_an_agreement(session: Session, made: World, planned: Planned) -> None:
    night = made.now + timedelta(hours=11, seconds=1)                # 21:00:01 in Shanghai.
    checked_in(session, KEYRING, made, planned)
    assert refused_start(session, made, planned, at=night) == {Rule.VIS_10}
    contact = call(session, KEYRING, made, planned.approved.case.id, Result.CONNECTED, at=made.now)
    agree_hours(session, made.hana.actor, AgreeHours(
        case_id=CaseId(planned.approved.case.id), from_at=night - timedelta(minutes=5), to_at=night + timedelta(minutes=30), agreed_with="cardholder",
        contact_id=contact.id,
    ), made.now)
    start(session, made, planned, at=night)
    assert planned.row(session).status is VisitStatus.STARTED


def test_CONT_05_leave_to_start_after_three_contacts_is_refused(session: Session, made: World, planned: Planned) -> None:
    checked_in(session, KEYRING, made, planned)
    for _ in range(3):
        call(session, KEYRING, made, planned.approved.case.id, at=made.now)
    assert refused_start(session, made, planned) == {Rule.CONT_05}


def test_CONT_02_leave_to_start_on_unconfirmed_data_is_refused(session: Session, made: World, planned: Planned) -> None:
    checked_in(session, KEYRING, made, planned)
    session.execute(update(CaseRow).values(confirmed_age_source=None, confirmed_age_on=None))
    assert refused_start(session, made, planned) == {Rule.CONT_02}
    session.execute(update(CaseRow).values(confirmed_age_source=Source.PHONE, confirmed_age_on=made.today))
    session.expire_all()
    start(session, made, planned)


def test_DECL_01_leave_to_start_on_a_suspended_case_is_refused(session: Session, made: World, planned: Planned) -> None:
    checked_in(session, KEYRING, made, planned)
    cases.suspend(session, made.amina.actor, planned.approved.case.id, SuspensionReason.DENIES_APPLICATION, made.now)
    assert refused_start(session, made, planned) == {Rule.DECL_01}


def test_VIS_11_leave_to_start_on_a_vulnerable_case_is_refused(session: Session, made: World, planned: Planned) -> None:
    checked_in(session, KEYRING, made, planned)
    cases.hold_vulnerable(session, made.amina.actor, planned.approved.case.id, made.now)
    assert refused_start(session, made, planned) == {Rule.VIS_11}


def test_BANK_03_leave_to_start_on_a_recalled_case_is_refused(session: Session, made: World, planned: Planned) -> None:
    checked_in(session, KEYRING, made, planned)
    cases.recall(session, made.gu.actor, planned.approved.case.id, made.now)
    assert Rule.BANK_03 in refused_start(session, made, planned)


def test_REQ_03_leave_to_start_on_a_withdrawn_request_is_refused(session: Session, made: World, planned: Planned) -> None:
    checked_in(session, KEYRING, made, planned)
    session.execute(update(VisitRequestRow).values(status=RequestStatus.WITHDRAWN))
    assert refused_start(session, made, planned) == {Rule.REQ_03}


def test_REQ_04_leave_to_start_on_another_day_or_off_the_plan_is_refused(session: Session, made: World, planned: Planned) -> None:
    checked_in(session, KEYRING, made, planned)
    assert refused_start(session, made, planned, at=made.now + timedelta(days=1)) == {Rule.REQ_04}
    planned_day(session, made)                                       # Supersedes the version that this stop belongs to.
    with pytest.raises(RulesBreached) as refusal:
        start(session, made, planned)
    assert {breach.rule for breach in refusal.value.breaches} == {Rule.REQ_04}


@pytest.mark.parametrize(("server_late", "rules"), [
    (timedelta(hours=12), {Rule.VIS_10}), (timedelta(days=1), {Rule.REQ_04}), (timedelta(days=-1), {Rule.REQ_04}),
])
def test_VIS_10_REQ_04_leave_is_judged_by_the_servers_clock_whatever_the_phone_says(
    session: Session, made: World, planned: Planned, server_late: timedelta, rules: set[Rule]
) -> None:
    checked_in(session, KEYRING, made, planned)
    with pytest.raises(RulesBreached) as refusal:
        actions.start(
            session, made.bilal.on_phone, StartVisit(visit_id=planned.visit_id, at=made.now, is_intent=True), made.now + server_late)
    assert {breach.rule for breach in refusal.value.breaches} >= rules
    assert planned.row(session).started_at is None


def test_DECL_01_leave_that_claims_a_moment_before_the_suspension_is_refused(session: Session, made: World, planned: Planned) -> None:
    checked_in(session, KEYRING, made, planned)
    cases.suspend(session, made.amina.actor, planned.approved.case.id, SuspensionReason.DENIES_SPENDING, made.now)
    command = StartVisit(visit_id=planned.visit_id, at=made.now - timedelta(minutes=5), is_intent=True)
    with pytest.raises(RulesBreached) as refusal:
        actions.start(session, made.bilal.on_phone, command, made.now + timedelta(minutes=1))
    assert Rule.DECL_01 in {breach.rule for breach in refusal.value.breaches}


@pytest.mark.parametrize("phone_late", [timedelta(hours=12), timedelta(days=2), timedelta(days=-2)])
def test_VIS_10_leave_is_given_in_the_hours_to_a_phone_whose_clock_is_wrong(
    session: Session, made: World, planned: Planned, phone_late: timedelta
) -> None:
    checked_in(session, KEYRING, made, planned)
    command = StartVisit(visit_id=planned.visit_id, at=made.now + phone_late, is_intent=True)
    actions.start(session, made.bilal.on_phone, command, made.now)
    assert planned.row(session).started_at == made.now, "what was granted began when it was granted"


def test_VIS_01_REQ_04_a_cancelled_visit_that_was_made_alone_is_stored_with_its_breaches(session: Session, made: World, planned: Planned) -> None:
    planned_day(session, made)
    check_in(session, KEYRING, made.bilal.on_phone, planned, made.now)
    told = actions.start(session, made.bilal.on_phone, StartVisit(visit_id=planned.visit_id, at=made.now, is_intent=False), made.now)
    assert (told.status, told.standing) == (VisitStatus.STARTED, Standing.BREACH)
    assert {breach.rule for breach in told.breaches} == {Rule.VIS_01, Rule.REQ_04}
    assert {breach.rule for breach in breaches_of(session, f"visit:{planned.visit_id}")} == {Rule.VIS_01, Rule.REQ_04}


def test_DECL_01_a_start_before_the_suspension_is_not_judged_by_it(session: Session, made: World, planned: Planned) -> None:
    checked_in(session, KEYRING, made, planned)
    later = made.now + timedelta(hours=2)
    cases.suspend(session, made.amina.actor, planned.approved.case.id, SuspensionReason.DISPUTES_AMOUNT, later)
    command = StartVisit(visit_id=planned.visit_id, at=made.now, is_intent=False)
    assert actions.start(session, made.bilal.on_phone, command, later + timedelta(hours=1)).standing is Standing.ACCEPTED


def test_a_clean_start_counts_as_a_contact_and_is_given_to_both(session: Session, made: World, planned: Planned) -> None:
    told = started(session, KEYRING, made, planned)
    assert (told.status, told.standing, told.breaches) == (VisitStatus.STARTED, Standing.ACCEPTED, ())
    again = actions.start(session, made.dong.on_phone, StartVisit(visit_id=planned.visit_id, at=made.now, is_intent=True), made.now)
    assert again.status is VisitStatus.STARTED
    visits = session.scalars(select(ContactRecordRow).where(ContactRecordRow.channel == "visit")).all()
    assert [row.case_id for row in visits] == [planned.approved.case.id]
    assert session.get_one(VisitRequestRow, planned.approved.request_id).status is RequestStatus.FULFILLED
    tags = session.scalars(select(AuditEntryRow.tag).where(AuditEntryRow.subject == f"visit:{planned.visit_id}").order_by(AuditEntryRow.seq)).all()
    assert tags == ["visit.checked-in", "visit.checked-in", "visit.started"]


def test_a_start_asks_the_database_a_bounded_number_of_questions(session: Session, made: World, planned: Planned) -> None:
    checked_in(session, KEYRING, made, planned)
    session.flush()
    session.expire_all()
    asked: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        asked.append(statement)

    connection = session.connection()
    event.listen(connection, "before_cursor_execute", note)
    start(session, made, planned)
    event.remove(connection, "before_cursor_execute", note)
    assert 10 < len(asked) <= START_STATEMENTS_MAX, "\n".join(asked)


@pytest.mark.parametrize("code,fields", [("promise", PROMISE), ("refused_to_pay", {"reason": "none"}), ("hardship", {"reason": "ill"})])
def test_CONT_08_a_word_about_the_debt_before_the_right_party_is_a_breach(
    session: Session, made: World, planned: Planned, code: str, fields: dict[str, Any]
) -> None:
    started(session, KEYRING, made, planned)
    right_party(session, made, planned, is_match=False)
    told = outcome(session, KEYRING, made, planned, code, fields)
    assert ([breach.rule for breach in told.breaches], told.standing) == ([Rule.CONT_08], Standing.BREACH)


def test_CONT_08_the_fourth_try_confirms_nobody(session: Session, made: World, planned: Planned) -> None:
    started(session, KEYRING, made, planned)
    for attempt in (1, 2, 3):
        assert right_party(session, made, planned, attempt=attempt, is_match=False).breaches == ()
    fourth = right_party(session, made, planned, attempt=1, is_match=True)      # The phone counts anew; we do not.
    assert [breach.rule for breach in fourth.breaches] == [Rule.CONT_08]
    assert [breach.rule for breach in outcome(session, KEYRING, made, planned, "promise", PROMISE).breaches] == [Rule.CONT_08]


def test_EVD_12_a_confirmed_promise_after_the_right_party_is_clean(session: Session, made: World, planned: Planned) -> None:
    started(session, KEYRING, made, planned)
    right_party(session, made, planned)
    told = outcome(session, KEYRING, made, planned, "promise", PROMISE)
    assert (told.standing, told.status) == (Standing.ACCEPTED, VisitStatus.CONCLUDED)
    assert session.get_one(CaseRow, planned.approved.case.id).status == "promised"


def test_CASE_32_will_try_is_stored_as_vague(session: Session, made: World, planned: Planned) -> None:
    started(session, KEYRING, made, planned)
    right_party(session, made, planned)
    outcome(session, KEYRING, made, planned, "promise", {"amount_fen": 200_000})
    row = session.scalars(select(OutcomeRow)).one()
    assert (row.told_code, row.code, planned.row(session).outcome) == ("promise", "promise_vague", "promise_vague")


@pytest.mark.parametrize("code", ["denies_application", "denies_spending", "disputes_amount"])
def test_DECL_01_a_denial_at_the_door_suspends_the_case_and_ends_the_talk(session: Session, made: World, planned: Planned, code: str) -> None:
    started(session, KEYRING, made, planned)
    right_party(session, made, planned)
    assert outcome(session, KEYRING, made, planned, code).standing is Standing.ACCEPTED
    case = session.get_one(CaseRow, planned.approved.case.id)
    assert (case.suspension_reason, case.status) == (code, "suspended")
    after = outcome(session, KEYRING, made, planned, "promise", PROMISE, minutes=12)
    assert {breach.rule for breach in after.breaches} >= {Rule.DECL_01}


def test_VIS_11_a_vulnerable_person_found_holds_the_case_and_stops_the_visit(session: Session, made: World, planned: Planned) -> None:
    started(session, KEYRING, made, planned)
    right_party(session, made, planned)
    assert outcome(session, KEYRING, made, planned, "vulnerable_found", {"condition": "pregnant"}).standing is Standing.ACCEPTED
    assert session.get_one(CaseRow, planned.approved.case.id).vulnerable_at is not None
    after = outcome(session, KEYRING, made, planned, "promise", PROMISE, minutes=12)
    assert Rule.VIS_11 in {breach.rule for breach in after.breaches}


def test_VIS_09_leaving_a_conflict_is_an_incident_that_the_supervisor_sees(session: Session, made: World, planned: Planned) -> None:
    started(session, KEYRING, made, planned)
    told = outcome(session, KEYRING, made, planned, "conflict_left", {"description": "shouting in the stairwell"})
    assert told.standing is Standing.ACCEPTED
    (seen,) = incidents.incident_page(session, made.amina.actor, KEYRING, made.now, after=None, limit=10, is_open=True)
    assert (seen.kind, seen.note) == (IncidentKind.CONFLICT, "shouting in the stairwell")
    with pytest.raises(NotFound):
        incidents.settle_incident(session, made.yara.actor, seen.id, made.now)
    assert incidents.incident_page(session, made.lin.actor, KEYRING, made.now, after=None, limit=10, is_open=True) == ()
    incidents.settle_incident(session, made.amina.actor, seen.id, made.now)
    assert incidents.incident_page(session, made.amina.actor, KEYRING, made.now, after=None, limit=10, is_open=True) == ()


def test_VIS_03_an_entry_without_consent_is_stored_as_a_breach(session: Session, made: World, planned: Planned) -> None:
    started(session, KEYRING, made, planned)
    told = actions.enter(session, made.bilal.on_phone, KEYRING, Entry(visit_id=planned.visit_id, at=made.now), made.now)
    assert ({breach.rule for breach in told.breaches}, told.status) == ({Rule.VIS_02, Rule.VIS_03}, VisitStatus.ENTERED)
    assert planned.row(session).is_entered is True


def test_VIS_02_a_report_that_denies_an_entry_is_a_breach(session: Session, made: World, planned: Planned) -> None:
    started(session, KEYRING, made, planned)
    entry = Entry(visit_id=planned.visit_id, at=made.now, reason="invited", consented_by="debtor", consented_at=made.now, evidence_item_id="photo-1")
    assert actions.enter(session, made.bilal.on_phone, KEYRING, entry, made.now).breaches == ()
    outcome(session, KEYRING, made, planned, "nobody_met")
    assert [breach.rule for breach in report(session, KEYRING, made, planned, is_entered=False).breaches] == [Rule.VIS_02]


def test_facts_that_arrive_in_the_wrong_order_end_where_the_right_order_ends(session: Session, made: World, planned: Planned) -> None:
    early = report(session, KEYRING, made, planned)
    assert (early.status, early.standing) == (VisitStatus.DISPATCHED, Standing.BREACH)
    assert outcome(session, KEYRING, made, planned, "nobody_met").status is VisitStatus.DISPATCHED
    assert started(session, KEYRING, made, planned, is_intent=False).status is VisitStatus.REPORTED


def reported(session: Session, made: World, planned: Planned) -> None:
    started(session, KEYRING, made, planned)
    outcome(session, KEYRING, made, planned, "nobody_met")
    report(session, KEYRING, made, planned)


def verdict(planned: Planned, **changes: Any) -> ReviewVerdict:
    values: dict[str, Any] = {"verdict": Verdict.ACCEPTED, "checklist": dict.fromkeys(REVIEW_CHECKLIST, True), "comment": "seen and heard"}
    return ReviewVerdict(visit_id=planned.visit_id, **{**values, **changes})


def test_EVD_01_a_visit_that_was_never_closed_is_not_accepted(session: Session, made: World, planned: Planned) -> None:
    reported(session, made, planned)
    with pytest.raises(RulesBreached) as refusal:
        reports.review(session, made.amina.actor, KEYRING, verdict(planned), made.now)
    assert {breach.code for breach in refusal.value.breaches} == {"not-closed", "exceptions-open"}


def test_REQ_06_TEAM_09_a_review_is_refused_to_the_wrong_people_and_without_its_checklist(session: Session, made: World, planned: Planned) -> None:
    with pytest.raises(IllegalTransition):
        reports.review(session, made.amina.actor, KEYRING, verdict(planned), made.now)
    reported(session, made, planned)
    for person, refusal in (("chen", NotFound), ("yara", NotFound), ("bilal", Forbidden), ("wei", Forbidden)):
        with pytest.raises(refusal):
            reports.review(session, getattr(made, person).actor, KEYRING, verdict(planned), made.now)
    with pytest.raises(RulesBreached) as breached:
        reports.review(session, made.amina.actor, KEYRING, verdict(planned, verdict=Verdict.RETURNED, checklist={}, comment=""), made.now)
    assert {breach.rule for breach in breached.value.breaches} == {Rule.TEAM_09}


def test_a_returned_report_is_told_anew(session: Session, made: World, planned: Planned) -> None:
    reported(session, made, planned)
    back = verdict(planned, verdict=Verdict.RETURNED, comment="say who opened")
    assert reports.review(session, made.amina.actor, KEYRING, back, made.now) is VisitStatus.RETURNED
    assert outcome(session, KEYRING, made, planned, "no_answer_intercom").status is VisitStatus.RETURNED
    assert report(session, KEYRING, made, planned, minutes=60).status is VisitStatus.REPORTED
    assert len(queries.detail(session, made.amina.actor, KEYRING, planned.visit_id, made.now).reports) == 2


def test_BANK_08_the_liaison_is_heard_and_may_return_a_visit(session: Session, made: World, planned: Planned) -> None:
    reported(session, made, planned)
    back = verdict(planned, verdict=Verdict.RETURNED, comment="the recording ends early")
    assert reports.review(session, made.lin.actor, KEYRING, back, made.now) is VisitStatus.RETURNED
    (stored,) = queries.detail(session, made.lin.actor, KEYRING, planned.visit_id, made.now).reviews
    assert (stored.reviewer, stored.by, stored.comment) == (Reviewer.LIAISON, made.lin.id, "the recording ends early")


def test_who_sees_which_visit(session: Session, made: World, planned: Planned) -> None:
    def seen(person: str) -> int:
        return len(queries.day(session, getattr(made, person).actor, KEYRING, None, made.today, made.now))

    assert {person: seen(person) for person in ("amina", "farid", "lin", "wei", "petra", "chen", "yara")} == {
        "amina": 1, "farid": 1, "lin": 1, "wei": 1, "petra": 1, "chen": 0, "yara": 0,
    }
    for person in ("chen", "yara"):
        with pytest.raises(NotFound):
            queries.detail(session, getattr(made, person).actor, KEYRING, planned.visit_id, made.now)
    with pytest.raises(Forbidden):
        queries.day(session, made.bilal.actor, KEYRING, None, made.today, made.now)
    shown = session.scalars(select(AuditReadRow.subject_id)).all()
    assert planned.approved.case.id in shown


def test_VIS_18_EVD_10_a_detail_shows_event_and_entry_times(session: Session, made: World, planned: Planned) -> None:
    started(session, KEYRING, made, planned)
    incident = Incident(visit_id=planned.visit_id, at=made.now, kind=IncidentKind.SAFETY, note="loose step")
    reports.report_incident(session, made.dong.on_phone, KEYRING, incident, made.now)
    told = actions.OutcomeTold(visit_id=planned.visit_id, at=made.now, code="gate_refused", fields={}, note="asked to come back")
    actions.record_outcome(session, made.bilal.on_phone, KEYRING, told, made.now + timedelta(hours=5))
    detail = queries.detail(session, made.amina.actor, KEYRING, planned.visit_id, made.now)
    assert [(one.late_s, one.code, one.texts) for one in detail.outcomes] == [(5 * 3600, "gate_refused", {"note": "asked to come back"})]
    assert [one.staff_id for one in detail.check_ins] == [made.bilal.id, made.dong.id]
    assert "*" in detail.summary.debtor or "＊" in detail.summary.debtor or "×" in detail.summary.debtor


def test_a_dispatched_visit_is_cancelled_by_the_dispatcher_and_not_later(session: Session, made: World, planned: Planned) -> None:
    other = planned_visit(session, KEYRING, made, 2)
    with pytest.raises(Forbidden):
        reports.cancel(session, made.bilal.on_phone, other.visit_id, made.now)
    assert reports.cancel(session, made.farid.actor, other.visit_id, made.now) is VisitStatus.CANCELLED
    with pytest.raises(IllegalTransition):
        reports.cancel(session, made.farid.actor, other.visit_id, made.now)


def test_facts_and_the_pair_of_a_visit_cannot_be_changed(session: Session, made: World, planned: Planned) -> None:
    checked_in(session, KEYRING, made, planned)
    session.flush()
    for table, statement in (
        (CheckInRow, "UPDATE check_ins SET accuracy_m = 1"), (CheckInRow, "DELETE FROM check_ins"),
        (VisitRow, "UPDATE visits SET collector_a = collector_b"), (VisitRow, "DELETE FROM visits"),
    ):
        with pytest.raises(DatabaseError), session.begin_nested():
            session.connection().exec_driver_sql(statement)
        assert session.scalars(select(table)).all()
