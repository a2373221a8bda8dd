"""The pages of one case and of proposals: what collectors offer first, what may be promised, what waits for the bank. They work without script."""

from collections.abc import Callable
from datetime import date, datetime
from typing import Annotated, Any
from uuid import UUID

import msgspec
from litestar import Request, Response, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, URLEncodedBody
from msgspec import Meta
from sqlalchemy.orm import Session

from backend.auth.actors import Actor
from backend.auth.authorise import authorise, may
from backend.auth.permissions import Permission
from backend.banks import queries as banks
from backend.cases import queries as cases
from backend.cases.model import today_of
from backend.cash import claims
from backend.console.after_ruling import shown_of
from backend.console.pages import AGENCY_ZONE, FORM, PAGE, back, demand_own, page, shared
from backend.console.values import day_within_reach, sound_values
from backend.contacts import queries as contacts
from backend.core.fen import Fen
from backend.core.ids import CaseId
from backend.core.problems import InvalidInput
from backend.offers import actions, queries
from backend.offers.model import INSTALMENTS_MAX, Concession, NewProposal, ProposalStatus, Terms, monthly
from backend.web.app import Resources
from backend.web.pages import reader_language
from backend.web.transaction import transaction

SHOWN_MAX = 50
_Csrf = Annotated[str, Meta(max_length=64)]


class PlainForm(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """A button."""

    csrf: _Csrf = ""


class OfferForm(PlainForm, kw_only=True):
    """Until when an offer stands."""

    valid_to_on: date


class ProposalForm(PlainForm, kw_only=True):
    """A concession: an amount in yuan for a waiver or a plan, a day for a deferral or a plan, how many monthly parts for a plan."""

    kind: Concession
    yuan: Annotated[str, Meta(max_length=20, pattern=r"^([0-9]{1,12}([.][0-9]{1,2})?)?\Z")] = ""
    on: Annotated[str, Meta(max_length=10, pattern=r"^([0-9]{4}-[0-9]{2}-[0-9]{2})?\Z")] = ""
    parts: Annotated[int, Meta(ge=1, le=INSTALMENTS_MAX)] = 1
    hardship: Annotated[str, Meta(max_length=3)] = ""

    def to_terms(self, now: datetime) -> Terms:
        """Say it in the slice's words. Raises `InvalidInput`."""
        whole, _, cents = self.yuan.partition(".")
        amount = Fen(int(whole or 0) * 100 + int((cents + "00")[:2]))
        with sound_values("/on"):
            day = day_within_reach(date.fromisoformat(self.on), now, "/on") if self.on else None
        with sound_values("/kind"):
            match self.kind:
                case Concession.WAIVER:
                    return Terms(kind=self.kind, waived_fen=amount)
                case Concession.DEFERRAL | Concession.FLEXIBLE_DUE_DATE:
                    return Terms(kind=self.kind, until_on=day)
                case Concession.INSTALMENT:
                    if day is None or amount < self.parts:
                        raise InvalidInput(pointer="/yuan", expected="an amount and the day of the first instalment", got="less")
                    return Terms(kind=self.kind, instalments=monthly(amount, day, self.parts))
            return Terms(kind=self.kind)


@get("/console/cases/{case_id:uuid}", operation_id="showCase", **PAGE)
def show_case(
    case_id: FromPath[UUID], request: Request[Any, Any, Any], actor: NamedDependency[Actor], resources: NamedDependency[Resources],
    now: NamedDependency[datetime],
) -> Response[str]:
    """Show one case: the bank's own ways to pay first (CASH-10), then what may be promised (CONT-18), promises, proposals, contacts."""
    with transaction(resources.sessions, actor, now) as session:
        case = cases.show_case(session, actor, resources.keyring, case_id, now)
        today, values = today_of(now), shared(session, request, actor, resources, now)
        told = contacts.list_contacts(session, actor, resources.keyring, case_id, now, limit=SHOWN_MAX, after=None)
        may_read_cash = may(actor, Permission.CASH_READ)
        values |= {
            "case": case, "channels": banks.channels(session, case.bank_id), "offers": queries.offers_of(session, (case_id,), today),
            "promises": queries.list_promises(session, actor, limit=SHOWN_MAX, after=None, case_id=case_id)[:SHOWN_MAX],
            "proposals": queries.list_proposals(session, actor, today, limit=SHOWN_MAX, after=None, case_id=case_id)[:SHOWN_MAX],
            "payments": claims.list_claims(session, actor, limit=SHOWN_MAX, after=None, case_id=case_id)[:SHOWN_MAX] if may_read_cash else [],
            **shown_of(session, actor, resources.keyring, case_id),
        }
    return page(
        "case.html", request, **values, contacts=told[:SHOWN_MAX], is_more=len(told) > SHOWN_MAX, zone=AGENCY_ZONE, concessions=tuple(Concession),
        is_chinese=reader_language(request) == "zh-Hans")


@get("/console/offers", operation_id="showOffers", **PAGE)
def show_offers(
    request: Request[Any, Any, Any], actor: NamedDependency[Actor], resources: NamedDependency[Resources], now: NamedDependency[datetime]
) -> Response[str]:
    """Show what waits for the bank, and its offers (BANK-01). The agency proposes and notes acceptance, the bank's authoriser decides."""
    authorise(actor, Permission.CASE_READ)
    with transaction(resources.sessions, actor, now) as session:
        waiting, standing = (
            queries.list_proposals(session, actor, today_of(now), limit=SHOWN_MAX, after=None, status=status)
            for status in (ProposalStatus.PROPOSED, ProposalStatus.OFFERED)
        )
        references = cases.references_of(session, actor, {row.case_id for row in (*waiting, *standing)})
        values = shared(session, request, actor, resources, now)
    return page(
        "offers.html", request, **values, waiting=waiting[:SHOWN_MAX], standing=standing[:SHOWN_MAX], references=references, zone=AGENCY_ZONE,
        is_more=len(waiting) > SHOWN_MAX or len(standing) > SHOWN_MAX)


@post("/console/cases/{case_id:uuid}/proposals", operation_id="submitProposal", opt=FORM, **PAGE)
def submit_proposal(
    case_id: FromPath[UUID], data: URLEncodedBody[ProposalForm], request: Request[Any, Any, Any], actor: NamedDependency[Actor],
    resources: NamedDependency[Resources], now: NamedDependency[datetime],
) -> Response[Any]:
    """Propose a concession to the bank of a case."""
    with transaction(resources.sessions, actor, now) as session:
        demand_own(request, resources, now, data.csrf)
        authorise(actor, Permission.PROPOSAL_MAKE)
        command = NewProposal(case_id=CaseId(case_id), terms=data.to_terms(now), is_hardship=bool(data.hardship))
        actions.propose(session, actor, command, now)
    return back(f"/console/cases/{case_id}#proposals")


@post("/console/offers/{proposal_id:uuid}/offer", operation_id="submitOffer", opt=FORM, **PAGE)
def submit_offer(
    proposal_id: FromPath[UUID], data: URLEncodedBody[OfferForm], request: Request[Any, Any, Any], actor: NamedDependency[Actor],
    resources: NamedDependency[Resources], now: NamedDependency[datetime],
) -> Response[Any]:
    """Turn a proposal into an offer, as the case's own bank."""
    with transaction(resources.sessions, actor, now) as session:
        demand_own(request, resources, now, data.csrf)
        authorise(actor, Permission.PROPOSAL_DECIDE)
        actions.offer(session, actor, proposal_id, day_within_reach(data.valid_to_on, now, "/validToOn"), now)
    return back("/console/offers")


Step = Callable[[Session, Actor, UUID, datetime], ProposalStatus]


def _button(verb: str, operation_id: str, act: Step, said: str) -> Any:
    """Make the route of a button that takes one proposal one step further."""

    @post(f"/console/offers/{{proposal_id:uuid}}/{verb}", operation_id=operation_id, opt=FORM, description=said, **PAGE)
    def press(
        proposal_id: FromPath[UUID], data: URLEncodedBody[PlainForm], request: Request[Any, Any, Any], actor: NamedDependency[Actor],
        resources: NamedDependency[Resources], now: NamedDependency[datetime],
    ) -> Response[Any]:
        with transaction(resources.sessions, actor, now) as session:
            demand_own(request, resources, now, data.csrf)
            act(session, actor, proposal_id, now)
        return back("/console/offers")

    return press


ROUTES: list[Any] = [
    show_case, show_offers, submit_proposal, submit_offer,
    _button("decline", "submitDecline", actions.decline, "Decline a proposal as its bank."),
    _button("revoke", "submitRevoke", actions.revoke, "Take an offer back as its bank."),
    _button("withdraw", "submitWithdraw", actions.withdraw, "Take a proposal back before the bank answers."),
    _button("accept", "submitAccept", actions.accept, "Note that the customer accepted the bank's offer."),
]
