"""The pages of productions, destructions, renewed phones and witnesses of the log: what waits, how it stands, what may be done. Without script."""

from collections.abc import Mapping
from datetime import date, datetime, time
from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec
from litestar import Request, Response, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery, URLEncodedBody
from msgspec import Meta

from backend.archive import destructions, productions
from backend.archive.model import AskProduction, DestructionGround
from backend.audit import log, witnesses
from backend.audit.witnesses import WitnessName
from backend.auth.actors import Actor
from backend.auth.authorise import authorise, may
from backend.auth.permissions import Permission
from backend.banks import queries as banks
from backend.cases import queries as cases
from backend.cases.model import AGENCY_ZONE as AGENCY_TIME
from backend.console.pages import AGENCY_ZONE, FORM, PAGE, back, demand_own, page, shared
from backend.console.witnesses import Key, Signature, key_text
from backend.core.i18n import N_
from backend.core.ids import CaseId
from backend.core.problems import NotFound
from backend.exhibits.copies import CopyPurpose
from backend.exhibits.exports import place_of
from backend.staff import queries as staff
from backend.staff import renewals
from backend.web.app import Resources
from backend.web.paging import page_of, read_page
from backend.web.transaction import transaction
from evidence.translog import parse_checkpoint

SHOWN = 20
GROUNDS: Mapping[DestructionGround, str] = {
    DestructionGround.TERM_OVER: N_("its term is over"), DestructionGround.BANK_INSTRUCTION: N_("the bank instructs it"),
    DestructionGround.CONTRACT_END: N_("the contract has ended"),
}
_Csrf = Annotated[str, Meta(max_length=64)]
_Coordinate = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{43}\Z", max_length=43)]


class ButtonForm(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """A button."""

    csrf: _Csrf = ""


class AnswerForm(ButtonForm, kw_only=True):
    """One of two people's answers."""

    answer: Literal["approve", "refuse"]


class AskForm(ButtonForm, kw_only=True):
    """Which originals, for whom, sealed to which public key, and why."""

    case_id: UUID
    item: UUID | Annotated[list[UUID], Meta(max_length=200)]
    recipient: Annotated[str, Meta(min_length=1, max_length=120)]
    x: _Coordinate
    y: _Coordinate
    purpose: CopyPurpose
    reason: Annotated[str, Meta(min_length=1, max_length=2000)]


class ProposeForm(ButtonForm, kw_only=True):
    """Why a case's evidence is to go."""

    case_id: UUID
    ground: DestructionGround


class TermForm(ButtonForm, kw_only=True):
    """Until the end of which day files without an end are kept."""

    case_id: UUID
    until_on: date


class WitnessForm(ButtonForm, kw_only=True):
    """A witness of one's own bank."""

    name: WitnessName
    key: Key
    proof: Signature


class WitnessEndForm(ButtonForm, kw_only=True):
    """Which witness ends."""

    name: WitnessName


@get("/console/productions", operation_id="showProductions", **PAGE)
def show_productions(
    request: Request[Any, Any, Any], actor: NamedDependency[Actor], resources: NamedDependency[Resources], now: NamedDependency[datetime],
    case: FromQuery[UUID | None] = None, cursor: FromQuery[str | None] = None,
) -> Response[str]:
    """Show the register of productions, newest first; with a case that the actor may ask for, its originals to choose from (EVD-08)."""
    authorise(actor, Permission.EVIDENCE_READ)
    asked = read_page(SHOWN, cursor)
    with transaction(resources.sessions, actor, now) as session:
        rows = page_of(productions.page(session, actor, after=asked.after_id, limit=asked.limit + 1), asked, lambda row: str(row.id))
        items = productions.choosable(session, actor, case) if case is not None and may(actor, Permission.ORIGINAL_REQUEST) else ()
        seen = {row.case_id for row in rows.rows} | ({CaseId(case)} if items and case is not None else set())
        people = {one for row in rows.rows for one in (row.requested_by, row.first_by, row.second_by, row.refused_by) if one is not None}
        values = shared(session, request, actor, resources, now) | {
            "references": cases.references_of(session, actor, seen), "people": staff.names_of(session, people)}
    return page(
        "productions.html", request, **values, rows=rows.rows, older=rows.next, items=items, case=case, purposes=tuple(CopyPurpose), zone=AGENCY_ZONE)


@post("/console/productions", operation_id="submitProduction", opt=FORM, **PAGE)
def submit_production(
    data: URLEncodedBody[AskForm], request: Request[Any, Any, Any], actor: NamedDependency[Actor], resources: NamedDependency[Resources],
    now: NamedDependency[datetime],
) -> Response[Any]:
    """Ask for originals."""
    with transaction(resources.sessions, actor, now) as session:
        demand_own(request, resources, now, data.csrf)
        command = AskProduction(
            case_id=CaseId(data.case_id), items=tuple(data.item) if isinstance(data.item, list) else (data.item,), recipient=data.recipient,
            recipient_jwk={"kty": "EC", "crv": "P-256", "x": data.x, "y": data.y}, purpose=data.purpose.value, reason=data.reason)
        productions.ask(session, actor, resources.keyring, command, now)
    return back("/console/productions")


@post("/console/productions/{production_id:uuid}/decision", operation_id="submitProductionDecision", opt=FORM, **PAGE)
def submit_production_decision(
    production_id: FromPath[UUID], data: URLEncodedBody[AnswerForm], request: Request[Any, Any, Any], actor: NamedDependency[Actor],
    resources: NamedDependency[Resources], now: NamedDependency[datetime],
) -> Response[Any]:
    """Approve a production, first or second, or refuse it."""
    with transaction(resources.sessions, actor, now) as session:
        demand_own(request, resources, now, data.csrf)
        productions.decide(session, actor, production_id, now, is_approved=data.answer == "approve")
    return back("/console/productions")


@post("/console/productions/{production_id:uuid}/pack", operation_id="submitProductionPack", opt=FORM, **PAGE)
def submit_production_pack(
    production_id: FromPath[UUID], data: URLEncodedBody[ButtonForm], request: Request[Any, Any, Any], actor: NamedDependency[Actor],
    resources: NamedDependency[Resources], now: NamedDependency[datetime],
) -> Response[Any]:
    """Make the sealed pack of a twice approved production, once; the register then links to it."""
    demand_own(request, resources, now, data.csrf)
    place = place_of(resources.store, resources.settings, resources.origin)
    productions.produce(lambda: transaction(resources.sessions, actor, now), actor, resources.keyring, place, (production_id, now))
    return back("/console/productions")


@get("/console/destructions", operation_id="showDestructions", **PAGE)
def show_destructions(
    request: Request[Any, Any, Any], actor: NamedDependency[Actor], resources: NamedDependency[Resources], now: NamedDependency[datetime],
    case: FromQuery[UUID | None] = None, cursor: FromQuery[str | None] = None,
) -> Response[str]:
    """Show destructions with their certificates, newest first; with a case, the forms to set its term or to propose its end (EVD-02)."""
    authorise(actor, Permission.EVIDENCE_READ)
    asked = read_page(SHOWN, cursor)
    with transaction(resources.sessions, actor, now) as session:
        rows = page_of(destructions.page(session, actor, after=asked.after_id, limit=asked.limit + 1), asked, lambda row: str(row.id))
        seen = {row.case_id for row in rows.rows} | ({CaseId(case)} if case is not None else set())
        references = cases.references_of(session, actor, seen)
        if case is not None and case not in references:
            raise NotFound
        people = {one for row in rows.rows for one in (row.proposed_by, row.decided_by) if one is not None}
        values = shared(session, request, actor, resources, now) | {"references": references, "people": staff.names_of(session, people)}
    return page("destructions.html", request, **values, rows=rows.rows, older=rows.next, case=case, grounds=GROUNDS, zone=AGENCY_ZONE)


@post("/console/destructions", operation_id="submitDestruction", opt=FORM, **PAGE)
def submit_destruction(
    data: URLEncodedBody[ProposeForm], request: Request[Any, Any, Any], actor: NamedDependency[Actor], resources: NamedDependency[Resources],
    now: NamedDependency[datetime],
) -> Response[Any]:
    """Propose to destroy a case's evidence."""
    with transaction(resources.sessions, actor, now) as session:
        demand_own(request, resources, now, data.csrf)
        destructions.propose(session, actor, data.case_id, data.ground, now)
    return back("/console/destructions")


@post("/console/destructions/terms", operation_id="submitTerm", opt=FORM, **PAGE)
def submit_term(
    data: URLEncodedBody[TermForm], request: Request[Any, Any, Any], actor: NamedDependency[Actor], resources: NamedDependency[Resources],
    now: NamedDependency[datetime],
) -> Response[Any]:
    """Give a case's files a term; none is ever shortened (EVD-03)."""
    with transaction(resources.sessions, actor, now) as session:
        demand_own(request, resources, now, data.csrf)
        authorise(actor, Permission.EVIDENCE_DESTROY)
        until = datetime.combine(data.until_on, time(23, 59, 59), AGENCY_TIME)
        destructions.set_term(session, actor, data.case_id, until, now)
    return back(f"/console/destructions?case={data.case_id}")


@post("/console/destructions/{destruction_id:uuid}/decision", operation_id="submitDestructionDecision", opt=FORM, **PAGE)
def submit_destruction_decision(
    destruction_id: FromPath[UUID], data: URLEncodedBody[AnswerForm], request: Request[Any, Any, Any], actor: NamedDependency[Actor],
    resources: NamedDependency[Resources], now: NamedDependency[datetime],
) -> Response[Any]:
    """Approve or refuse what somebody else proposed; an approved destruction is carried out and certified."""
    with transaction(resources.sessions, actor, now) as session:
        demand_own(request, resources, now, data.csrf)
        decided = destructions.decide(session, actor, destruction_id, now, is_approved=data.answer == "approve")
    if decided.is_approved and resources.queue is not None:
        resources.queue.put("evidence.destroy", decided.id)
    return back("/console/destructions")


@get("/console/renewals", operation_id="showRenewals", **PAGE)
def show_renewals(
    request: Request[Any, Any, Any], actor: NamedDependency[Actor], resources: NamedDependency[Resources], now: NamedDependency[datetime]
) -> Response[str]:
    """Show the phones that ask for a new key; whoever grants one has seen it in its owner's hands."""
    authorise(actor, Permission.DEVICE_APPROVE)
    with transaction(resources.sessions, actor, now) as session:
        rows = renewals.waiting(session, actor, now)
        values = shared(session, request, actor, resources, now) | {"people": staff.names_of(session, {row.staff_id for row in rows})}
    return page("renewals.html", request, **values, rows=rows, zone=AGENCY_ZONE)


@post("/console/renewals/{renewal_id:uuid}/approve", operation_id="submitRenewal", opt=FORM, **PAGE)
def submit_renewal(
    renewal_id: FromPath[UUID], data: URLEncodedBody[ButtonForm], request: Request[Any, Any, Any], actor: NamedDependency[Actor],
    resources: NamedDependency[Resources], now: NamedDependency[datetime],
) -> Response[Any]:
    """Grant a renewal to somebody else."""
    with transaction(resources.sessions, actor, now) as session:
        demand_own(request, resources, now, data.csrf)
        renewals.grant(session, actor, renewal_id, now)
    return back("/console/renewals")


@get("/console/witnesses", operation_id="showWitnesses", **PAGE)
def show_witnesses(
    request: Request[Any, Any, Any], actor: NamedDependency[Actor], resources: NamedDependency[Resources], now: NamedDependency[datetime]
) -> Response[str]:
    """Show the witnesses of the log that the actor's banks enrolled, and how far behind the log each is."""
    authorise(actor, Permission.BANK_READ)
    with transaction(resources.sessions, actor, now) as session:
        rows = [(bank, witnesses.of_bank(session, bank.id)) for bank in banks.banks(session, actor)]
        checkpoint = log.newest_checkpoint(session)
        values = shared(session, request, actor, resources, now)
    size = parse_checkpoint(checkpoint).size if checkpoint is not None else 0
    return page(
        "witnesses.html", request, **values, rows=rows, size=size, origin=resources.origin, zone=AGENCY_ZONE,
        may_enrol=actor.bank is not None and may(actor, Permission.BANK_KEY_ENROL))


@post("/console/witnesses", operation_id="submitWitness", opt=FORM, **PAGE)
def submit_witness(
    data: URLEncodedBody[WitnessForm], request: Request[Any, Any, Any], actor: NamedDependency[Actor], resources: NamedDependency[Resources],
    now: NamedDependency[datetime],
) -> Response[Any]:
    """Enrol a witness of one's own bank."""
    new = witnesses.NewWitness(name=data.name, key=key_text(data.key, "/key"), proof=key_text(data.proof, "/proof"))
    with transaction(resources.sessions, actor, now) as session:
        demand_own(request, resources, now, data.csrf)
        witnesses.enrol(session, actor, new, resources.origin, now)
    return back("/console/witnesses")


@post("/console/witnesses/end", operation_id="submitWitnessEnd", opt=FORM, **PAGE)
def submit_witness_end(
    data: URLEncodedBody[WitnessEndForm], request: Request[Any, Any, Any], actor: NamedDependency[Actor], resources: NamedDependency[Resources],
    now: NamedDependency[datetime],
) -> Response[Any]:
    """End a witness of one's own bank; what it signed stays signed."""
    with transaction(resources.sessions, actor, now) as session:
        demand_own(request, resources, now, data.csrf)
        witnesses.revoke(session, actor, data.name, now)
    return back("/console/witnesses")


ROUTES: list[Any] = [
    show_productions, submit_production, submit_production_decision, submit_production_pack, show_destructions, submit_destruction, submit_term,
    submit_destruction_decision, show_renewals, submit_renewal, show_witnesses, submit_witness, submit_witness_end,
]
