"""What happens to a denial: it suspends at once, a declaration is taken, somebody investigates, the bank rules, and only then it may resume."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from backend.audit import breaches as kept
from backend.audit import log
from backend.audit.events import EventTag
from backend.audit.record import record
from backend.auth.actors import Actor
from backend.auth.authorise import authorise
from backend.auth.permissions import Permission
from backend.banks.tables import BankRow, TemplateRow
from backend.cases import actions as cases
from backend.cases.model import OPEN_STATUSES, SUSPENDED_STATUSES, SuspensionReason
from backend.cases.queries import case_of
from backend.cases.tables import CaseRow
from backend.core.ids import CaseId, DeclarationId, DisputeId, StaffId, VisitId, new_id
from backend.core.problems import Forbidden, NotFound
from backend.core.rulebook import Breach, demand
from backend.disputes import model, suspicions
from backend.disputes.model import (
    DeclarationEvent,
    DeclarationFacts,
    DeclarationStatus,
    DeclarationTaken,
    DisputeEvent,
    DisputeStated,
    DisputeStatus,
    Handwriting,
    Ruling,
    StateDispute,
    advance_declaration,
    advance_dispute,
)
from backend.disputes.queries import usable_template, visible_to
from backend.disputes.rules import TEXT_CODES, is_set_text, judge_declaration, judge_form, judge_investigator, judge_ruling
from backend.disputes.tables import DeclarationRow, DisputeRow
from backend.exhibits.model import ENDED, Accepted, Standing
from backend.exhibits.tables import ManifestRow
from backend.keys.keyring import Keyring
from backend.policies.model import Policy
from backend.staff.tables import StaffRow
from evidence.canonical import canonicalise
from evidence.facts import DeclarationFacts as Stated
from evidence.manifest import Role

_KIND_OF_DENIAL = {
    "application": SuspensionReason.DENIES_APPLICATION, "spending": SuspensionReason.DENIES_SPENDING, "amount": SuspensionReason.DISPUTES_AMOUNT,
}


def state_dispute(session: Session, actor: Actor, command: StateDispute, policy: Policy, now: datetime) -> DisputeStated:
    """Record a denial and suspend the case in the same breath (DECL-01). The same id again changes nothing.

    Raises:
        Forbidden: the actor may not record denials.
        NotFound: the case is not the actor's to see.
    """
    authorise(actor, Permission.DISPUTE_RECORD)
    stored = session.get(DisputeRow, command.dispute_id)
    if stored is not None:
        case_of(session, actor, stored.case_id)
        return DisputeStated(dispute_id=command.dispute_id, status=stored.status, suspended_at=stored.recorded_at)
    cases.suspend(session, actor, command.case_id, command.kind, now)
    case = case_of(session, actor, command.case_id)
    heard = _open_dispute(session, command.case_id, command.kind)
    if heard is not None and heard.visit_id is not None and heard.visit_id == command.visit_id:
        # The outcome of the same visit told it first: one denial, one dispute.
        return DisputeStated(dispute_id=DisputeId(heard.id), status=heard.status, suspended_at=case.suspended_at or now)
    row = _open(session, actor, command, case, now)
    record(session, actor, EventTag.DISPUTE_STATED, f"case:{case.id}", now, policy_version=policy.version, dispute=row.id, kind=row.kind.value)
    return DisputeStated(dispute_id=DisputeId(row.id), status=row.status, suspended_at=case.suspended_at or now)


def hear_declaration(session: Session, actor: Actor, accepted: Accepted, _policy: Policy, now: datetime) -> None:
    """Suspend by a declaration whose second signature is still due: what it denies is denied from now on (DECL-01). Called once for each."""
    if accepted.case_id is None:
        return
    kind = _kind_of(accepted)
    cases.suspend(session, actor, accepted.case_id, kind, now)
    hear_denial(session, actor, accepted.case_id, kind, now, at=accepted.captured_at, visit_id=accepted.visit_id)


def take_declaration(session: Session, actor: Actor, accepted: Accepted, policy: Policy, now: datetime) -> DeclarationTaken | None:
    """Keep the cardholder's written declaration; the case stands suspended and under investigation from now on (DECL-03).

    Never refused: what it lacks is stored as breaches beside it, a deviating text is flagged for the bank to decide about.
    The same statement again returns what was taken. None while the second signature is due, or for a case that is not ours; when that
    signature does not come, what the cardholder wrote is kept all the same, and stands as a breach of the pair's.
    """
    case_id = accepted.case_id
    if accepted.state not in ENDED or case_id is None:
        return None
    session.execute(select(ManifestRow.id).where(ManifestRow.id == accepted.manifest_id).with_for_update())
    stored = session.scalar(select(DeclarationRow).where(DeclarationRow.manifest_id == accepted.manifest_id))
    if stored is not None:
        return _taken(stored)
    stated, kind = _stated(accepted), _kind_of(accepted)
    cases.suspend(session, actor, case_id, kind, now)
    case = session.get_one(CaseRow, case_id)
    template = _template(session, case, stated)
    breaches = judge_declaration(_facts(session, accepted, stated, case, template))
    dispute = _dispute_for(session, actor, accepted, case, kind, now)
    row = DeclarationRow(
        id=new_id(), dispute_id=dispute.id, case_id=case.id, visit_id=accepted.visit_id, bank_id=case.bank_id, branch_id=case.branch_id,
        manifest_id=accepted.manifest_id, template_id=template.id if template else None, has_circumstances=bool(stated.special_circumstances),
        is_text_deviating=any(breach.code in TEXT_CODES for breach in breaches), standing=_standing(breaches, accepted.standing),
        status=DeclarationStatus.TAKEN, taken_at=accepted.captured_at, recorded_at=now, policy_version=policy.version,
    )
    session.add(row)
    session.flush()
    cases.investigate(session, actor, case.id, now)
    kept.store(session, f"declaration:{row.id}", breaches, now, policy.version)
    record(session, actor, EventTag.DECLARATION_TAKEN, f"case:{case.id}", now, policy_version=policy.version, declaration=row.id,
           standing=row.standing.value, deviating=row.is_text_deviating)
    return _taken(row)


def check_declaration(facts: DeclarationFacts) -> tuple[Breach, ...]:
    """Refuse a form that may not be handed in: wrong template, one side of the card, not by the declarant (DECL-04, -12, -13).

    The declarant's own words are never a reason to refuse: returns what is to be flagged about them (DECL-10, DECL-11).

    Raises:
        RulesBreached: the form is not complete.
    """
    demand(judge_form(facts))
    return judge_declaration(facts)


def name_investigator(session: Session, actor: Actor, declaration_id: UUID, investigator_id: StaffId, now: datetime) -> DeclarationStatus:
    """Name who investigates (DECL-03); naming another one later is part of it.

    Raises:
        Forbidden: may not name anyone.
        NotFound: no such declaration, or nobody of that id in the agency.
        IllegalTransition: the comparison or the ruling is made.
    """
    authorise(actor, Permission.DISPUTE_INVESTIGATE)
    row = _locked(session, actor, declaration_id)
    found = session.scalar(select(StaffRow.id).where(StaffRow.id == investigator_id, StaffRow.is_active, StaffRow.bank_id.is_(None)))
    if found is None:
        raise NotFound
    row.status = advance_declaration(row.status, DeclarationEvent.NAME_INVESTIGATOR)
    row.investigator_id, row.investigator_named_at = found, now
    session.flush()
    record(session, actor, EventTag.INVESTIGATOR_NAMED, f"case:{row.case_id}", now, declaration=row.id, investigator=found)
    return row.status


def compare_handwriting(session: Session, actor: Actor, declaration_id: UUID, result: Handwriting, now: datetime) -> DeclarationStatus:
    """Record what comparing the hands showed (DECL-08), as the investigator who was named. Another hand is reported to the bank (DECL-02).

    Raises:
        Forbidden: may not investigate.
        NotFound: no such declaration.
        IllegalTransition: nobody is named yet, or it is compared.
        RulesBreached: DECL-03: somebody else is named.
    """
    authorise(actor, Permission.DISPUTE_INVESTIGATE)
    row = _locked(session, actor, declaration_id)
    if row.investigator_id is not None:
        demand(judge_investigator(row.investigator_id, actor.id))
    row.status = advance_declaration(row.status, DeclarationEvent.COMPARE)
    row.handwriting, row.handwriting_at = result, now
    session.flush()
    if result is Handwriting.OTHER_HAND:
        suspicions.report_forgery(session, actor, row.case_id, row.id, now)
    record(session, actor, EventTag.HANDWRITING_COMPARED, f"case:{row.case_id}", now, declaration=row.id, result=result.value)
    return row.status


def rule(session: Session, actor: Actor, declaration_id: UUID, ruling: model.Rule, now: datetime, *, keyring: Keyring) -> DeclarationStatus:
    """Rule on a declaration as a person of the case's own bank (DECL-05). Fraud ends collection, anything else resumes it.

    Raises:
        Forbidden: not a person of a bank.
        NotFound: another bank's declaration.
        RulesBreached: DECL-03, DECL-08: the investigation is not concluded.
        IllegalTransition: it is ruled already.
    """
    authorise(actor, Permission.DISPUTE_RULE)
    if actor.bank is None:
        raise Forbidden(reason="only the bank rules")
    found = session.execute(select(DeclarationRow.case_id, DeclarationRow.dispute_id).where(
        DeclarationRow.id == declaration_id, visible_to(actor, DeclarationRow))).one_or_none()
    if found is None:
        raise NotFound
    case = cases.locked_case(session, actor, found.case_id)
    dispute = session.get_one(DisputeRow, found.dispute_id, with_for_update=True, populate_existing=True)
    row = _locked(session, actor, declaration_id)
    _rule_declaration(session, actor, row, ruling, now)
    _rule_dispute(session, actor, dispute, case, ruling.ruling, keyring, now)
    return row.status


def hear_denial(
    session: Session, actor: Actor, case_id: CaseId, kind: SuspensionReason, now: datetime, *, at: datetime, visit_id: VisitId | None = None,
) -> None:
    """Open the dispute of a denial that a contact or a visit told of, so that the bank has something to rule on (DECL-01, DECL-03).

    Nothing is opened while another one of the same kind is open. That the case stands suspended is the caller's act.
    """
    case = cases.locked_case(session, actor, case_id)
    if case.suspended_at is None or _open_dispute(session, case_id, kind) is not None:
        return
    row = _open(session, actor, StateDispute(dispute_id=DisputeId(new_id()), case_id=case_id, visit_id=visit_id, kind=kind, stated_at=at), case, now)
    record(session, actor, EventTag.DISPUTE_STATED, f"case:{case.id}", now, dispute=row.id, kind=kind.value)


def rule_dispute(session: Session, actor: Actor, dispute_id: UUID, ruling: Ruling, now: datetime, *, keyring: Keyring) -> DisputeStatus:
    """Rule on a dispute that was never declared in writing, such as one about the amount. Raises as `rule`."""
    authorise(actor, Permission.DISPUTE_RULE)
    if actor.bank is None:
        raise Forbidden(reason="only the bank rules")
    case_id = session.scalar(select(DisputeRow.case_id).where(DisputeRow.id == dispute_id, visible_to(actor, DisputeRow)))
    if case_id is None:
        raise NotFound
    case = cases.locked_case(session, actor, case_id)
    row = session.get_one(DisputeRow, dispute_id, with_for_update=True, populate_existing=True)
    declared = select(DeclarationRow).where(DeclarationRow.dispute_id == row.id, DeclarationRow.status != DeclarationStatus.RULED)
    for declaration in session.scalars(declared.with_for_update().execution_options(populate_existing=True)).all():
        _rule_declaration(session, actor, declaration, model.Rule(ruling=ruling), now)
    _rule_dispute(session, actor, row, case, ruling, keyring, now)
    return row.status


def _rule_declaration(session: Session, actor: Actor, row: DeclarationRow, ruling: model.Rule, now: datetime) -> None:
    if row.status is not DeclarationStatus.RULED:
        demand(judge_ruling(has_investigator=row.investigator_id is not None, handwriting=row.handwriting))
    row.status = advance_declaration(row.status, DeclarationEvent.RULE)
    row.ruling, row.ruled_by, row.ruled_at = ruling.ruling, actor.id, now
    session.flush()


def _rule_dispute(session: Session, actor: Actor, row: DisputeRow, case: CaseRow, ruling: Ruling, keyring: Keyring, now: datetime) -> None:
    status = advance_dispute(row.status, DisputeEvent.RULE)
    stated = {"dispute": str(row.id), "case": str(row.case_id), "ruling": ruling.value, "ruled_by": str(actor.id), "at": log.utc_text(now)}
    entry_id = log.append(session, "ruling", canonicalise(dict(stated)), now)
    row.status, row.ruling, row.ruled_by, row.ruled_at, row.log_entry_id = status, ruling, actor.id, now, entry_id
    session.flush()
    # A case that is paid, recalled, closed or ruled to be fraud already stays so: the ruling stands on the dispute.
    if ruling is Ruling.FRAUD and case.status in SUSPENDED_STATUSES | OPEN_STATUSES:
        cases.investigate(session, actor, case.id, now)
        cases.rule_fraud(session, actor, keyring, case.id, ruling.value, now)
    elif case.status in SUSPENDED_STATUSES and not _is_still_disputed(session, row):
        cases.resume(session, actor, keyring, case.id, ruling.value, now)
    record(session, actor, EventTag.DISPUTE_RULED, f"case:{row.case_id}", now, dispute=row.id, ruling=ruling.value)


def _stated(accepted: Accepted) -> Stated:
    stated = accepted.manifest.facts
    assert isinstance(stated, Stated), accepted.manifest.kind
    return stated


def _kind_of(accepted: Accepted) -> SuspensionReason:
    return _KIND_OF_DENIAL[_stated(accepted).denial.value]


def _is_still_disputed(session: Session, row: DisputeRow) -> bool:
    """Tell whether another denial of the same case waits for its ruling: that one keeps it suspended."""
    other = select(DisputeRow.id).where(DisputeRow.case_id == row.case_id, DisputeRow.id != row.id, DisputeRow.status != DisputeStatus.RULED)
    return session.scalar(other.limit(1)) is not None


def _open_dispute(session: Session, case_id: UUID, kind: SuspensionReason) -> DisputeRow | None:
    query = select(DisputeRow).where(DisputeRow.case_id == case_id, DisputeRow.kind == kind, DisputeRow.status != DisputeStatus.RULED)
    return session.scalars(query.order_by(DisputeRow.id).limit(1)).first()


def _open(session: Session, actor: Actor, command: StateDispute, case: CaseRow, now: datetime) -> DisputeRow:
    row = DisputeRow(
        id=command.dispute_id, case_id=case.id, visit_id=command.visit_id, bank_id=case.bank_id, branch_id=case.branch_id, kind=command.kind,
        status=DisputeStatus.STATED, stated_at=command.stated_at, recorded_by=actor.id, recorded_at=now,
    )
    session.add(row)
    session.flush()
    return row


def _dispute_for(session: Session, actor: Actor, accepted: Accepted, case: CaseRow, kind: SuspensionReason, now: datetime) -> DisputeRow:
    """Return the open dispute that a declaration puts into writing, or the one that it states itself."""
    row = session.scalars(
        select(DisputeRow)
        .where(DisputeRow.case_id == case.id, DisputeRow.status == DisputeStatus.STATED, DisputeRow.kind == kind)
        .order_by(DisputeRow.stated_at.desc(), DisputeRow.id).limit(1).with_for_update()
    ).first()
    if row is None:
        stated = StateDispute(
            dispute_id=DisputeId(new_id()), case_id=CaseId(case.id), visit_id=accepted.visit_id, kind=kind,
            stated_at=accepted.captured_at,
        )
        row = _open(session, actor, stated, case, now)
        record(session, actor, EventTag.DISPUTE_STATED, f"case:{case.id}", now, dispute=row.id, kind=kind.value)
    row.status = advance_dispute(row.status, DisputeEvent.DECLARE)
    session.flush()
    return row


def _template(session: Session, case: CaseRow, stated: Stated) -> TemplateRow | None:
    try:
        template_id = UUID(stated.template_id)
    except ValueError:
        return None
    return usable_template(session, case, template_id, stated.form, stated.template_version)


def _facts(session: Session, accepted: Accepted, stated: Stated, case: CaseRow, template: TemplateRow | None) -> DeclarationFacts:
    written = stated.transcription or ""
    bank = session.get_one(BankRow, case.bank_id)
    items = accepted.manifest.items
    return DeclarationFacts(
        is_template_known=template is not None,
        is_template_approved=template is not None and template.approved_at is not None and template.approved_at <= accepted.captured_at,
        has_circumstances=bool((stated.special_circumstances or "").strip()), has_transcription=bool(written.strip()),
        is_text_equal=is_set_text(written, bank_name=bank.name_zh, template_text=template.text_zh if template else ""),
        is_written_by_declarant=stated.written_by_declarant, is_signed_by_declarant=stated.signed_by_declarant,
        id_card_generation=stated.id_card_generation, id_front=frozenset(item.sha256 for item in items if item.role is Role.ID_FRONT),
        id_back=frozenset(item.sha256 for item in items if item.role is Role.ID_BACK),
        page_count=sum(item.role is Role.DECLARATION_PAGE for item in items),
    )


def _standing(breaches: tuple[Breach, ...], evidence: Standing) -> Standing:
    """Return how a declaration stands: a deviating text is flagged, but breaks nothing the pair could have helped (DECL-11)."""
    if evidence is Standing.QUARANTINED:
        return evidence
    return Standing.BREACH if any(breach.code not in TEXT_CODES for breach in breaches) else evidence


def _locked(session: Session, actor: Actor, declaration_id: UUID) -> DeclarationRow:
    row = session.scalar(select(DeclarationRow).where(DeclarationRow.id == declaration_id, visible_to(actor, DeclarationRow)).with_for_update())
    if row is None:
        raise NotFound
    return row


def _taken(row: DeclarationRow) -> DeclarationTaken:
    return DeclarationTaken(
        declaration_id=DeclarationId(row.id), dispute_id=DisputeId(row.dispute_id), status=row.status, standing=row.standing,
        is_text_deviating=row.is_text_deviating,
    )


