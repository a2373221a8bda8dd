"""After the door: the report, the signed closing, the review, and the end in the archive."""

from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from backend.audit import breaches as stored_breaches
from backend.audit.events import EventTag
from backend.audit.record import record
from backend.auth.actors import Actor
from backend.auth.authorise import authorise
from backend.auth.permissions import Permission
from backend.cases import actions as cases
from backend.cases.model import CaseEvent
from backend.core.ids import BankId, StaffId, VisitId, new_id
from backend.core.problems import IllegalTransition
from backend.core.rulebook import Breach, Rule, demand
from backend.exhibits import joint
from backend.exhibits.model import Accepted, ManifestState
from backend.exhibits.tables import ManifestRow
from backend.keys.keyring import Keyring
from backend.keys.sealing import sealer
from backend.policies.model import Policy
from backend.policies.queries import policy_in_force
from backend.visits.actions import locked_visit, settle_visit
from backend.visits.closing import UNDECIDED, closing_facts, joint_of, open_exceptions
from backend.visits.closing_rules import JOINT, SHARED, judge_closing
from backend.visits.gather import has_entry
from backend.visits.incidents import add_incident
from backend.visits.model import (
    FactStored,
    Incident,
    IncidentKind,
    Report,
    Reviewer,
    ReviewVerdict,
    Verdict,
    VisitEvent,
    VisitStatus,
    advance,
    standing_of,
)
from backend.visits.rules import REVIEW_CHECKLIST_VERSION, ReportFacts, ReviewFacts, judge_report, judge_review
from backend.visits.tables import ExceptionRow, ReportRow, ReviewRow, VisitRow
from evidence.facts import CosignRefusalFacts, Kind, VisitCloseFacts

CLOSING_LAPSED, LAPSED = "closing-not-cosigned", "cosignature-lapsed"
"""Exceptions: the closing itself, or another statement of the visit, will never bear its second signature."""
JOINT_CODES = frozenset({JOINT, SHARED})
_REVIEWABLE = frozenset({VisitStatus.REPORTED, VisitStatus.REVIEWED, VisitStatus.NOT_SAMPLED})


def report(session: Session, actor: Actor, keyring: Keyring, command: Report, now: datetime) -> FactStored:
    """Store what the pair found (VIS-12, VIS-13). After a review returned it, it is told anew."""
    authorise(actor, Permission.VISIT_PERFORM)
    visit = locked_visit(session, actor, command.visit_id)
    policy = policy_in_force(session, BankId(visit.bank_id), command.at)
    breaches = judge_report(ReportFacts(
        is_entered=command.is_entered, has_entry=has_entry(session, visit.id), has_outcome=visit.outcome is not None, reasons=command.reasons,
        attitude=command.attitude, delinquency_reason=command.delinquency_reason, financial_situation=command.financial_situation,
    ))
    box = sealer(session, keyring, visit.case_id)
    row = ReportRow(
        id=new_id(), visit_id=visit.id, reported_by=actor.id, reported_at=command.at, received_at=now, is_entered=command.is_entered,
        recoverability=command.recoverability, reasons=box.seal("visit_reports.reasons", command.reasons),
        attitude=box.seal("visit_reports.attitude", command.attitude),
        delinquency_reason=box.seal("visit_reports.delinquency_reason", command.delinquency_reason),
        financial_situation=box.seal("visit_reports.financial_situation", command.financial_situation),
        new_contact=None if command.new_contact is None else box.seal("visit_reports.new_contact", command.new_contact),
    )
    session.add(row)
    if visit.is_entered is None:
        visit.is_entered = command.is_entered
    if visit.status is VisitStatus.RETURNED:
        visit.status = advance(visit.status, VisitEvent.REPORT)
    visit.reported_at = command.at
    session.flush()
    settle_visit(session, visit)
    stored_breaches.store(session, f"visit:{visit.id}", breaches, now, policy.version)
    cases.step_if_allowed(session, actor, cases.locked_case(session, actor, visit.case_id), (CaseEvent.RETURN_TO_PHONE,), now)
    record(
        session, actor, EventTag.VISIT_REPORTED, f"visit:{visit.id}", now, policy_version=policy.version, fact=row.id, status=visit.status.value,
        rules=sorted({breach.rule.value for breach in breaches}),
    )
    return FactStored(id=row.id, visit_id=VisitId(visit.id), status=visit.status, standing=standing_of(breaches), breaches=breaches)


def report_incident(session: Session, actor: Actor, keyring: Keyring, command: Incident, now: datetime) -> FactStored:
    """Store an incident that somebody of the pair tells of (VIS-09, VIS-18)."""
    authorise(actor, Permission.VISIT_PERFORM)
    visit = locked_visit(session, actor, command.visit_id)
    incident_id = add_incident(session, actor, keyring, visit, command.kind, command.note, at=command.at, now=now)
    return FactStored(id=incident_id, visit_id=VisitId(visit.id), status=visit.status, standing=standing_of(()))


def close(session: Session, actor: Actor, accepted: Accepted, policy: Policy, now: datetime) -> FactStored | None:
    """Close a visit by a statement that both of its pair have signed; what it lacks is listed as exceptions (EVD-01). None for an unknown visit.

    A second closing of the same visit adds what it lacks and changes nothing else. What others signed is kept, listed, and closes
    nothing: a supervisor takes it on by name. While a recording holds another bank's visit too,
    the statement is kept and closes nothing; its answer says where to cut (F22). The pair declares the parts and closes anew.
    """
    facts = accepted.manifest.facts
    if accepted.visit_id is None or not isinstance(facts, VisitCloseFacts):
        return None
    visit = session.scalar(
        select(VisitRow).where(VisitRow.id == accepted.visit_id).with_for_update().execution_options(populate_existing=True)
    )
    if visit is None:
        return None
    signers = [one for one in (accepted.staff_id, accepted.cosigner_id) if one is not None]
    breaches = judge_closing(closing_facts(
        session, visit, signers=signers, is_entered=facts.entered, evidence=facts.entry.evidence if facts.entry else None,
    ))
    joint.mark_around(session, visit.id, now)
    of_pair = {visit.collector_a, visit.collector_b} & set(signers)
    if visit.closed_at is None and len(of_pair) == 2 and not any(breach.code in JOINT_CODES for breach in breaches):
        visit.closed_at, visit.closing_manifest_id = accepted.captured_at, accepted.manifest_id
    if visit.is_entered is None and of_pair:
        visit.is_entered = facts.entered
    _list_exceptions(session, visit, breaches, now)
    stored_breaches.store(session, f"visit:{visit.id}", breaches, now, policy.version)
    record(
        session, actor, EventTag.VISIT_CLOSED, f"visit:{visit.id}", now, policy_version=policy.version, manifest=accepted.manifest_id,
        exceptions=sorted({breach.code for breach in breaches}),
    )
    return FactStored(
        id=accepted.manifest_id, visit_id=VisitId(visit.id), status=visit.status, standing=standing_of(breaches), breaches=breaches,
    )


def close_kept(session: Session, actor: Actor, visit: VisitRow, now: datetime) -> None:
    """Let a closing that joint files kept from closing take effect once the last of them is heard or rejected; nothing else changes."""
    if visit.closed_at is not None or not _is_closing_kept(session, visit):
        return
    found = joint_of(session, visit)
    pair = (visit.collector_a, visit.collector_b)
    kept = session.scalars(select(ManifestRow).where(
        ManifestRow.visit_id == visit.id, ManifestRow.kind == Kind.VISIT_CLOSE, ManifestRow.state == ManifestState.COMPLETE,
        ManifestRow.staff_id.in_(pair), ManifestRow.cosigner_id.in_(pair)).order_by(ManifestRow.judged_at, ManifestRow.id)).first()
    if kept is None or found.open or found.shared:
        return
    visit.closed_at, visit.closing_manifest_id = kept.judged_at, kept.id
    session.flush()
    record(session, actor, EventTag.VISIT_CLOSED, f"visit:{visit.id}", now, manifest=kept.id, exceptions=[])


def list_lapse(session: Session, actor: Actor, accepted: Accepted, now: datetime) -> None:
    """List that a statement of a visit will never bear its second signature: an exception that a supervisor takes on by name (VIS-01)."""
    if accepted.visit_id is None:
        return
    visit = session.scalar(select(VisitRow).where(VisitRow.id == accepted.visit_id).with_for_update())
    if visit is None:
        return
    code = CLOSING_LAPSED if accepted.manifest.kind is Kind.VISIT_CLOSE else LAPSED
    _list_exceptions(session, visit, (Breach(Rule.VIS_01, code, expected="two signatures", got="one"),), now)
    record(session, actor, EventTag.VISIT_LACKS_COSIGNATURE, f"visit:{visit.id}", now, manifest=accepted.manifest_id, code=code)


def note_refusal(session: Session, actor: Actor, keyring: Keyring, accepted: Accepted, now: datetime) -> None:
    """Open an incident for a partner's refusal to sign; the supervisor hears of it whatever else is known (VIS-01)."""
    facts = accepted.manifest.facts
    assert isinstance(facts, CosignRefusalFacts), accepted.manifest.kind
    visit = session.get(VisitRow, accepted.visit_id) if accepted.visit_id is not None else None
    if visit is not None:
        note = f"{facts.reason.value}: {facts.note}" if facts.note else facts.reason.value
        add_incident(session, actor, keyring, visit, IncidentKind.COSIGNATURE_REFUSED, note, at=accepted.captured_at, now=now)


def review(session: Session, actor: Actor, keyring: Keyring, command: ReviewVerdict, now: datetime) -> VisitStatus:
    """Review a reported visit over the whole checklist (TEAM-09).

    The supervisor accepts it or returns it to the pair; the bank's liaison is heard, and may return it as well (BANK-08).

    Raises:
        Forbidden: the actor may not review.
        NotFound: not a visit of the actor's branches or bank.
        IllegalTransition: the visit is not reported.
        RulesBreached: own visit, checklist not answered, not closed, exceptions that nobody takes on themselves (EVD-01).
    """
    authorise(actor, Permission.VISIT_REVIEW)
    visit = locked_visit(session, actor, command.visit_id)
    reviewer = Reviewer.SUPERVISOR if actor.bank is None else Reviewer.LIAISON
    event = VisitEvent.ACCEPT if command.verdict is Verdict.ACCEPTED else VisitEvent.RETURN
    if visit.status not in _REVIEWABLE:
        raise IllegalTransition(current=visit.status.value, event=event.value)
    # Exceptions are the agency's to answer for; the bank is not asked to take one on itself.
    standing = open_exceptions(session, visit) if reviewer is Reviewer.SUPERVISOR else frozenset()
    # Nobody takes it on themselves that one bank gets another's matter: such files are split, heard or rejected, each by itself. Nor a
    # sign of fraud that nobody decided: the statement is released or upheld by itself.
    taken_on = command.accepted_exceptions - JOINT_CODES - {UNDECIDED}
    demand(judge_review(ReviewFacts(
        verdict=command.verdict, is_own_visit=actor.id in (visit.collector_a, visit.collector_b),
        is_closed=visit.closed_at is not None or CLOSING_LAPSED in standing or _is_closing_kept(session, visit), open_exceptions=standing,
        accepted_exceptions=taken_on, checklist=command.checklist, comment=command.comment,
    )))
    if reviewer is Reviewer.SUPERVISOR or command.verdict is Verdict.RETURNED:
        visit.status = advance(visit.status, event)
    if reviewer is Reviewer.SUPERVISOR and command.verdict is Verdict.ACCEPTED:
        _take_on(session, actor, visit, standing & taken_on, now)
    row = ReviewRow(
        id=new_id(), visit_id=visit.id, by=actor.id, at=now, reviewer=reviewer, verdict=command.verdict, checklist_version=REVIEW_CHECKLIST_VERSION,
        checklist=dict(command.checklist), comment=sealer(session, keyring, visit.case_id).seal("visit_reviews.comment", command.comment),
    )
    session.add(row)
    session.flush()
    record(
        session, actor, EventTag.VISIT_REVIEWED, f"visit:{visit.id}", now, review=row.id, verdict=command.verdict.value, reviewer=reviewer.value,
        status=visit.status.value, accepted_exceptions=sorted(taken_on & standing),
    )
    return visit.status


def cancel(session: Session, actor: Actor, visit_id: VisitId, now: datetime) -> VisitStatus:
    """Cancel a dispatched visit by decision of the dispatcher. Raises `IllegalTransition` once it has begun."""
    authorise(actor, Permission.PLAN_PUBLISH)
    visit = locked_visit(session, actor, visit_id)
    visit.status = advance(visit.status, VisitEvent.CANCEL)
    cases.step_if_allowed(session, actor, cases.locked_case(session, actor, visit.case_id), (CaseEvent.WITHDRAW_VISIT,), now)
    record(session, actor, EventTag.VISIT_CANCELLED, f"visit:{visit.id}", now)
    return visit.status


def archive(session: Session, actor: Actor, visit_id: VisitId, now: datetime) -> VisitStatus:
    """File a reviewed visit (ARCH-05). Raises `IllegalTransition` for one that is not reviewed, `NotFound` for a bank's person."""
    authorise(actor, Permission.VISIT_ARCHIVE)
    visit = locked_visit(session, actor, visit_id)
    visit.status = advance(visit.status, VisitEvent.ARCHIVE)
    record(session, actor, EventTag.VISIT_ARCHIVED, f"visit:{visit.id}", now)
    return visit.status


def _is_closing_kept(session: Session, visit: VisitRow) -> bool:
    """Whether a closing signed by both is here that a joint file kept from closing; what keeps it open stands among the exceptions."""
    listed = select(ExceptionRow.code).where(ExceptionRow.visit_id == visit.id, ExceptionRow.code.in_(sorted(JOINT_CODES)))
    return session.scalar(listed.limit(1)) is not None


def _list_exceptions(session: Session, visit: VisitRow, breaches: tuple[Breach, ...], now: datetime) -> None:
    known = set(session.scalars(select(ExceptionRow.code).where(ExceptionRow.visit_id == visit.id)))
    for breach in breaches:
        if breach.code not in known:
            known.add(breach.code)
            session.add(ExceptionRow(visit_id=visit.id, code=breach.code, rule=breach.rule.value, listed_at=now))
    session.flush()


def _take_on(session: Session, actor: Actor, visit: VisitRow, codes: frozenset[str], now: datetime) -> None:
    rows = {row.code: row for row in session.scalars(select(ExceptionRow).where(ExceptionRow.visit_id == visit.id))}
    for code in sorted(codes):
        row = rows.get(code)
        if row is None:
            row = ExceptionRow(visit_id=visit.id, code=code, rule="EVD-01", listed_at=now)
            session.add(row)
        row.accepted_at, row.accepted_by = now, StaffId(actor.id)
    session.flush()
