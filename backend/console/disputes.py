"""Disputes and declarations: who investigates, what the handwriting showed, what the bank ruled."""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from litestar import Response, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery, JSONBody, QueryParameter

from backend.auth.actors import Actor
from backend.cases.model import SuspensionReason
from backend.core.ids import CaseId, DisputeId, StaffId, new_id
from backend.disputes import actions, queries, suspicions
from backend.disputes.form_paper import form_pdf
from backend.disputes.model import DeclarationView, DisputeView, Handwriting, Rule, Ruling, StateDispute
from backend.disputes.suspicion_model import SuspicionGround, SuspicionView
from backend.policies.queries import policy_in_force
from backend.web.app import Resources
from backend.web.body import Body, View
from backend.web.paging import Page, page_of, read_page
from backend.web.transaction import transaction


class DenialBody(Body, kw_only=True):
    """A denial heard on the phone or at the desk (DECL-01)."""

    case_id: UUID
    kind: SuspensionReason


class InvestigatorBody(Body, kw_only=True):
    """Who investigates (DECL-03)."""

    investigator_id: UUID


class HandwritingBody(Body, kw_only=True):
    """What comparing the hands showed (DECL-08)."""

    result: Handwriting


class RulingBody(Body, kw_only=True):
    """The bank's decision (DECL-05)."""

    ruling: Ruling


class SuspicionBody(Body, kw_only=True):
    """What is suspected."""

    ground: SuspicionGround


class VerificationBody(Body, kw_only=True):
    """What looking into a suspicion showed."""

    is_verified: bool


class Stated(View, frozen=True):
    """A recorded denial."""

    id: UUID
    status: str


class StatusView(View, frozen=True):
    """Where it stands now."""

    status: str


@get("/api/v1/disputes", operation_id="listDisputes", sync_to_thread=True, tags=["disputes"])
def list_disputes(
    actor: NamedDependency[Actor], resources: NamedDependency[Resources], limit: FromQuery[int | None] = None, cursor: FromQuery[str | None] = None,
    case_id: Annotated[UUID | None, QueryParameter(name="caseId")] = None,
) -> Page[DisputeView]:
    """List disputes with their declarations."""
    asked = read_page(limit, cursor)
    with resources.reads() as session:
        rows = queries.list_disputes(session, actor, limit=asked.limit, after=asked.after_id, case_id=case_id)
    return page_of(rows, asked, lambda row: str(row.id))


@post("/api/v1/disputes", operation_id="stateDispute", sync_to_thread=True, tags=["disputes"])
def state_dispute(
    data: JSONBody[DenialBody], actor: NamedDependency[Actor], resources: NamedDependency[Resources], now: NamedDependency[datetime]
) -> Stated:
    """Record a denial; the case is suspended at once."""
    command = StateDispute(dispute_id=DisputeId(new_id()), case_id=CaseId(data.case_id), visit_id=None, kind=data.kind, stated_at=now)
    with transaction(resources.sessions, actor, now) as session:
        done = actions.state_dispute(session, actor, command, policy_in_force(session, None, now), now)
    return Stated(id=done.dispute_id, status=done.status.value)


@post("/api/v1/disputes/{dispute_id:uuid}/ruling", operation_id="ruleDispute", status_code=200, sync_to_thread=True, tags=["disputes"])
def rule_dispute(
    dispute_id: FromPath[UUID], data: JSONBody[RulingBody], actor: NamedDependency[Actor], resources: NamedDependency[Resources],
    now: NamedDependency[datetime],
) -> StatusView:
    """Rule on a dispute that was never declared in writing."""
    with transaction(resources.sessions, actor, now) as session:
        status = actions.rule_dispute(session, actor, dispute_id, data.ruling, now, keyring=resources.keyring)
    return StatusView(status=status.value)


@get("/api/v1/declarations/{declaration_id:uuid}", operation_id="showDeclaration", sync_to_thread=True, tags=["disputes"])
def show_declaration(declaration_id: FromPath[UUID], actor: NamedDependency[Actor], resources: NamedDependency[Resources]) -> DeclarationView:
    """Show a declaration."""
    with resources.reads() as session:
        return queries.show_declaration(session, actor, declaration_id)


@post(
    "/api/v1/declarations/{declaration_id:uuid}/investigator", operation_id="nameInvestigator",
    status_code=200, sync_to_thread=True, tags=["disputes"]
)
def name_investigator(
    declaration_id: FromPath[UUID], data: JSONBody[InvestigatorBody], actor: NamedDependency[Actor], resources: NamedDependency[Resources],
    now: NamedDependency[datetime],
) -> StatusView:
    """Name who investigates."""
    with transaction(resources.sessions, actor, now) as session:
        status = actions.name_investigator(session, actor, declaration_id, StaffId(data.investigator_id), now)
    return StatusView(status=status.value)


@post(
    "/api/v1/declarations/{declaration_id:uuid}/handwriting", operation_id="compareHandwriting",
    status_code=200, sync_to_thread=True, tags=["disputes"]
)
def compare_handwriting(
    declaration_id: FromPath[UUID], data: JSONBody[HandwritingBody], actor: NamedDependency[Actor], resources: NamedDependency[Resources],
    now: NamedDependency[datetime],
) -> StatusView:
    """Record what comparing the handwriting showed."""
    with transaction(resources.sessions, actor, now) as session:
        status = actions.compare_handwriting(session, actor, declaration_id, data.result, now)
    return StatusView(status=status.value)


@post("/api/v1/declarations/{declaration_id:uuid}/ruling", operation_id="ruleDeclaration", status_code=200, sync_to_thread=True, tags=["disputes"])
def rule_declaration(
    declaration_id: FromPath[UUID], data: JSONBody[RulingBody], actor: NamedDependency[Actor], resources: NamedDependency[Resources],
    now: NamedDependency[datetime],
) -> StatusView:
    """Rule as the bank: fraud ends collection, anything else resumes it."""
    with transaction(resources.sessions, actor, now) as session:
        status = actions.rule(session, actor, declaration_id, Rule(ruling=data.ruling), now, keyring=resources.keyring)
    return StatusView(status=status.value)


@get(
    "/api/v1/templates/{template_id:uuid}/form", operation_id="readDeclarationForm", sync_to_thread=True, tags=["disputes"],
    media_type="application/pdf")
def read_form(template_id: FromPath[UUID], actor: NamedDependency[Actor], resources: NamedDependency[Resources]) -> Response[bytes]:
    """Read a bank's approved declaration form as PDF, to be printed and written by the cardholder's own hand (DECL-11, DECL-13)."""
    with resources.reads() as session:
        paper = form_pdf(session, actor, template_id)
    return Response(paper, media_type="application/pdf", headers={"Content-Disposition": f'attachment; filename="declaration-{template_id}.pdf"'})


@get("/api/v1/suspicions", operation_id="listSuspicions", sync_to_thread=True, tags=["disputes"])
def list_suspicions(
    actor: NamedDependency[Actor], resources: NamedDependency[Resources], now: NamedDependency[datetime], limit: FromQuery[int | None] = None,
    cursor: FromQuery[str | None] = None,
) -> Page[SuspicionView]:
    """List suspicions of fraud, oldest first; a bank reads those that were reported to it."""
    asked = read_page(limit, cursor)
    with resources.reads() as session:
        rows = suspicions.page(session, actor, now, after=asked.after_id, limit=asked.limit + 1)
    return page_of(rows, asked, lambda row: str(row.id))


@post("/api/v1/cases/{case_id:uuid}/suspicions", operation_id="hearSuspicion", status_code=201, sync_to_thread=True, tags=["disputes"])
def hear_suspicion(
    case_id: FromPath[UUID], data: JSONBody[SuspicionBody], actor: NamedDependency[Actor], resources: NamedDependency[Resources],
    now: NamedDependency[datetime],
) -> SuspicionView:
    """Note a suspicion of fraud, forgery or malicious overdraft for a supervisor to verify."""
    with transaction(resources.sessions, actor, now) as session:
        return suspicions.hear(session, actor, CaseId(case_id), data.ground, now)


@post("/api/v1/suspicions/{suspicion_id:uuid}/verification", operation_id="verifySuspicion", status_code=200, sync_to_thread=True, tags=["disputes"])
def verify_suspicion(
    suspicion_id: FromPath[UUID], data: JSONBody[VerificationBody], actor: NamedDependency[Actor], resources: NamedDependency[Resources],
    now: NamedDependency[datetime],
) -> SuspicionView:
    """Verify a suspicion, which reports it to the bank with a term, or dismiss it (DECL-02)."""
    with transaction(resources.sessions, actor, now) as session:
        return suspicions.decide(session, actor, suspicion_id, now, is_verified=data.is_verified)


@post(
    "/api/v1/suspicions/{suspicion_id:uuid}/acknowledgement", operation_id="acknowledgeSuspicion", status_code=200, sync_to_thread=True,
    tags=["disputes"])
def acknowledge_suspicion(
    suspicion_id: FromPath[UUID], actor: NamedDependency[Actor], resources: NamedDependency[Resources], now: NamedDependency[datetime],
) -> SuspicionView:
    """Acknowledge a reported suspicion as the bank: the proof that it was delivered."""
    with transaction(resources.sessions, actor, now) as session:
        return suspicions.acknowledge(session, actor, suspicion_id, now)


ROUTES: list[Any] = [
    list_suspicions, hear_suspicion, verify_suspicion, acknowledge_suspicion,
    read_form,
    list_disputes, state_dispute, rule_dispute, show_declaration, name_investigator, compare_handwriting, rule_declaration,
]
