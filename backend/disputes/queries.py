"""Reads of disputes: who sees which, and how they stand."""

from collections.abc import Collection, Mapping
from datetime import datetime
from uuid import UUID

from sqlalchemy import ColumnElement, case, select, true
from sqlalchemy.orm import Session

from backend.auth.actors import Actor
from backend.auth.authorise import authorise
from backend.auth.permissions import Permission
from backend.banks.model import TemplateKind
from backend.banks.tables import BankRow, TemplateRow
from backend.cases.queries import case_of
from backend.cases.tables import CaseRow
from backend.core.ids import BankId, BranchId, CaseId, DeclarationId, DisputeId, ManifestId, StaffId, VisitId
from backend.core.problems import NotFound
from backend.disputes.follow_up_model import STANDING, FollowUpAct
from backend.disputes.follow_up_tables import FollowUpRow
from backend.disputes.model import DeclarationFacts, DeclarationView, DisputeView, RecordDeletion, Ruling
from backend.disputes.rules import is_set_text
from backend.disputes.suspicion_tables import SuspicionRow
from backend.disputes.tables import DeclarationRow, DisputeRow
from evidence.facts import DeclarationForm


def visible_to(actor: Actor, row: type[DisputeRow] | type[DeclarationRow] | type[SuspicionRow] | type[FollowUpRow]) -> ColumnElement[bool]:
    """Return the condition that holds for what `actor` may see: their bank's, or their branches'."""
    if actor.bank is not None:
        return row.bank_id == actor.bank
    return true() if actor.sees_every_branch else row.branch_id.in_(actor.branches)


def list_disputes(session: Session, actor: Actor, *, limit: int, after: UUID | None, case_id: UUID | None = None) -> list[DisputeView]:
    """Return at most `limit` + 1 disputes after a cursor, oldest first."""
    authorise(actor, Permission.DISPUTE_READ)
    query = select(DisputeRow).where(visible_to(actor, DisputeRow))
    if case_id is not None:
        query = query.where(DisputeRow.case_id == case_id)
    if after is not None:
        query = query.where(DisputeRow.id > after)
    rows = session.scalars(query.order_by(DisputeRow.id).limit(limit + 1)).all()
    declared = {row.dispute_id: row for row in session.scalars(select(DeclarationRow).where(DeclarationRow.dispute_id.in_([row.id for row in rows])))}
    standing = deletions_of(session, {row.case_id for row in rows})
    return [_dispute_view(row, declared.get(row.id), standing) for row in rows]


def show_declaration(session: Session, actor: Actor, declaration_id: UUID) -> DeclarationView:
    """Return one declaration.

    Raises:
        NotFound: there is none, or it is another's.
    """
    authorise(actor, Permission.DISPUTE_READ)
    row = session.scalar(select(DeclarationRow).where(DeclarationRow.id == declaration_id, visible_to(actor, DeclarationRow)))
    if row is None:
        raise NotFound
    return _declaration_view(row, deletions_of(session, {row.case_id}))


def deletions_of(session: Session, case_ids: Collection[UUID]) -> dict[UUID, RecordDeletion]:
    """Return how the credit record stands of each of these cases that the bank has acted on."""
    query = select(FollowUpRow.case_id, FollowUpRow.act).where(FollowUpRow.case_id.in_(sorted(case_ids)), FollowUpRow.act.in_(STANDING))
    # The last row of a case says it: within an attempt the answer comes after its request.
    rows = session.execute(query.order_by(FollowUpRow.attempt, case((FollowUpRow.act == FollowUpAct.DELETION_REQUESTED, 0), else_=1)))
    return {row.case_id: STANDING[row.act] for row in rows}


def usable_template(session: Session, case: CaseRow, template_id: UUID, form: DeclarationForm, version: int) -> TemplateRow | None:
    """Return a form if it is one of the case's own bank, of that kind and in that version (DECL-13)."""
    row = session.get(TemplateRow, template_id)
    fits = row is not None and row.bank_id == case.bank_id and row.kind is TemplateKind(form.value) and row.version == version
    return row if fits else None


def form_facts(
    session: Session, actor: Actor, case_id: UUID, template: tuple[UUID, DeclarationForm, int], *, now: datetime, words: tuple[str, str],
    is_by_declarant: tuple[bool, bool], id_card_generation: int, sides: tuple[str | None, str | None], page_count: int,
) -> DeclarationFacts:
    """Reduce a declaration that is about to be signed to what its rules read. `words` are circumstances and transcription.

    Raises:
        Forbidden: the actor takes no declarations.
        NotFound: the case is not the actor's to see.
    """
    authorise(actor, Permission.DISPUTE_RECORD)
    case = case_of(session, actor, case_id)
    found = usable_template(session, case, *template)
    bank = session.get_one(BankRow, case.bank_id)
    circumstances, written = words
    front, back = sides
    return DeclarationFacts(
        is_template_known=found is not None, is_template_approved=found is not None and found.approved_at is not None and found.approved_at <= now,
        has_circumstances=bool(circumstances.strip()), has_transcription=bool(written.strip()),
        is_text_equal=is_set_text(written, bank_name=bank.name_zh, template_text=found.text_zh if found else ""),
        is_written_by_declarant=is_by_declarant[0], is_signed_by_declarant=is_by_declarant[1], id_card_generation=id_card_generation,
        id_front=frozenset({front} if front else ()), id_back=frozenset({back} if back else ()), page_count=page_count,
    )


def _dispute_view(row: DisputeRow, declared: DeclarationRow | None, standing: Mapping[UUID, RecordDeletion]) -> DisputeView:
    return DisputeView(
        id=DisputeId(row.id), case_id=CaseId(row.case_id), visit_id=VisitId(row.visit_id) if row.visit_id else None, bank_id=BankId(row.bank_id),
        branch_id=BranchId(row.branch_id), kind=row.kind, status=row.status, stated_at=row.stated_at, ruling=row.ruling, ruled_at=row.ruled_at,
        declaration=_declaration_view(declared, standing) if declared else None,
    )


def _declaration_view(row: DeclarationRow, standing: Mapping[UUID, RecordDeletion]) -> DeclarationView:
    return DeclarationView(
        id=DeclarationId(row.id), dispute_id=DisputeId(row.dispute_id), case_id=CaseId(row.case_id), manifest_id=ManifestId(row.manifest_id),
        template_id=row.template_id, status=row.status, standing=row.standing, has_circumstances=row.has_circumstances,
        is_text_deviating=row.is_text_deviating, investigator_id=StaffId(row.investigator_id) if row.investigator_id else None,
        handwriting=row.handwriting, ruling=row.ruling, ruled_by=StaffId(row.ruled_by) if row.ruled_by else None, ruled_at=row.ruled_at,
        record_deletion=standing.get(row.case_id, RecordDeletion.DUE) if row.ruling is Ruling.FRAUD else RecordDeletion.NOT_DUE,
    )
