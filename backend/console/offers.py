"""Promises, proposals and offers, ways of paying, notices of payments, and the repayment file that judges them."""

from datetime import date, datetime
from typing import Annotated, Any
from uuid import UUID

from litestar import get, post, put
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery, JSONBody, QueryParameter, RawBody
from msgspec import Meta

from backend.auth.actors import Actor
from backend.auth.authorise import authorise
from backend.auth.permissions import Permission
from backend.banks import queries as banks
from backend.cases.layout import Acceptance
from backend.cases.model import today_of
from backend.cash import repayments
from backend.cash.bank_files import FILE_BYTES_MAX, BankFile
from backend.console.reconciliation import FILE, AmountTotal, BankQuery, RowCount, StatusView
from backend.console.values import day_within_reach, sheet_of, sound_values
from backend.core.fen import FEN_MAX, Fen
from backend.core.ids import BankId, CaseId
from backend.offers import actions, promises, queries
from backend.offers.model import INSTALMENTS_MAX, Concession, Instalment, NewProposal, Terms
from backend.web.app import Resources
from backend.web.body import Body, View
from backend.web.paging import Page, page_of, read_page
from backend.web.transaction import transaction

Amount = Annotated[int, Meta(ge=1, le=FEN_MAX)]
MethodCode = Annotated[str, Meta(pattern=r"^[a-z][a-z0-9_-]*\Z", min_length=1, max_length=32)]
Words = Annotated[str, Meta(pattern=r"^[^\x00-\x1f\x7f-\x9f]+\Z", min_length=1, max_length=400)]
CaseQuery = Annotated[UUID | None, QueryParameter(name="caseId")]


class InstalmentBody(Body, kw_only=True):
    """One row of a plan."""

    due_on: date
    amount_fen: Amount


class ProposalTermsBody(Body, kw_only=True):
    """What is to be conceded; exactly what its kind needs."""

    kind: Concession
    instalments: Annotated[tuple[InstalmentBody, ...], Meta(max_length=INSTALMENTS_MAX)] = ()
    waived_fen: Amount | None = None
    until_on: date | None = None
    method: MethodCode | None = None
    ability_fen: Annotated[int, Meta(ge=0, le=FEN_MAX)] | None = None

    def to_terms(self) -> Terms:
        """Say it in the slice's words."""
        return Terms(
            kind=self.kind, instalments=tuple(Instalment(due_on=one.due_on, amount_fen=Fen(one.amount_fen)) for one in self.instalments),
            waived_fen=None if self.waived_fen is None else Fen(self.waived_fen), until_on=self.until_on, method=self.method,
            ability_fen=None if self.ability_fen is None else Fen(self.ability_fen),
        )


class ProposeBody(Body, kw_only=True):
    """A concession proposed to the bank of a case."""

    case_id: UUID
    terms: ProposalTermsBody
    is_hardship: bool = False


class OfferBody(Body, kw_only=True):
    """Until when the bank's offer stands."""

    valid_to_on: date


class MethodBody(Body, kw_only=True):
    """A way of paying in the bank's words."""

    text_zh: Words
    text_en: Words


class MethodDecisionBody(Body, kw_only=True):
    """Whether the bank offers it."""

    is_offered: bool


class Proposed(View, frozen=True):
    """The id of a proposal."""

    id: UUID


class MethodsView(View, frozen=True):
    """A bank's ways of paying."""

    rows: tuple[queries.MethodView, ...]


@post(
    "/api/v1/repayment-files", operation_id="importRepayments", sync_to_thread=True, opt=FILE, request_max_body_size=FILE_BYTES_MAX, tags=["cash"])
def import_repayments(
    body: RawBody, bank_id: BankQuery, row_count: RowCount, amount_total_fen: AmountTotal,
    as_of_on: Annotated[date, QueryParameter(name="asOfOn")], actor: NamedDependency[Actor], resources: NamedDependency[Resources],
    now: NamedDependency[datetime], acceptance: FromQuery[Acceptance] = Acceptance.ALL_OR_NOTHING,
) -> repayments.Repaid:
    """Import a bank's repayments (CSV or XLSX) booked up to the end of a day; the same file twice changes nothing."""
    file = BankFile(
        bank_id=BankId(bank_id), content=bytes(body), row_count=row_count, amount_total_fen=Fen(amount_total_fen), acceptance=acceptance,
        as_of_on=as_of_on, rows=sheet_of(actor, Permission.BATCH_IMPORT, bytes(body)),
    )
    with transaction(resources.sessions, actor, now) as session:
        done = repayments.import_repayments(session, actor, file, now)
    return repayments.demand_taken(done)


@get("/api/v1/promises", operation_id="listPromises", sync_to_thread=True, tags=["offers"])
def list_promises(
    actor: NamedDependency[Actor], resources: NamedDependency[Resources], limit: FromQuery[int | None] = None, cursor: FromQuery[str | None] = None,
    case_id: CaseQuery = None, due_by: Annotated[date | None, QueryParameter(name="dueBy")] = None,
) -> Page[queries.PromiseView]:
    """List promises; with `dueBy` those to follow up: due by that day, or broken and not asked about."""
    asked = read_page(limit, cursor)
    with resources.reads() as session:
        rows = queries.list_promises(session, actor, limit=asked.limit, after=asked.after_id, case_id=case_id, due_by=due_by)
    return page_of(rows, asked, lambda row: str(row.id))


@post("/api/v1/promises/{promise_id:uuid}/follow-up", operation_id="followUpPromise", status_code=204, sync_to_thread=True, tags=["offers"])
def follow_up(
    promise_id: FromPath[UUID], actor: NamedDependency[Actor], resources: NamedDependency[Resources], now: NamedDependency[datetime]
) -> None:
    """Note that the debtor was reminded of a promise, or asked about a broken one."""
    with transaction(resources.sessions, actor, now) as session:
        promises.follow_up(session, actor, promise_id, now)


@get("/api/v1/proposals", operation_id="listProposals", sync_to_thread=True, tags=["offers"])
def list_proposals(
    actor: NamedDependency[Actor], resources: NamedDependency[Resources], now: NamedDependency[datetime], limit: FromQuery[int | None] = None,
    cursor: FromQuery[str | None] = None, case_id: CaseQuery = None,
) -> Page[queries.ProposalView]:
    """List proposals with what the bank made of them. Only what `isOffer` says may be shown to the customer (BANK-01)."""
    asked = read_page(limit, cursor)
    with resources.reads() as session:
        rows = queries.list_proposals(session, actor, today_of(now), limit=asked.limit, after=asked.after_id, case_id=case_id)
    return page_of(rows, asked, lambda row: str(row.id))


@post("/api/v1/proposals", operation_id="proposeConcession", sync_to_thread=True, tags=["offers"])
def propose(
    data: JSONBody[ProposeBody], actor: NamedDependency[Actor], resources: NamedDependency[Resources], now: NamedDependency[datetime]
) -> Proposed:
    """Propose a concession to the bank of a case."""
    with sound_values("/terms"):
        command = NewProposal(case_id=CaseId(data.case_id), terms=data.terms.to_terms(), is_hardship=data.is_hardship)
    with transaction(resources.sessions, actor, now) as session:
        return Proposed(id=actions.propose(session, actor, command, now))


@post("/api/v1/proposals/{proposal_id:uuid}/withdraw", operation_id="withdrawProposal", status_code=200, sync_to_thread=True, tags=["offers"])
def withdraw(
    proposal_id: FromPath[UUID], actor: NamedDependency[Actor], resources: NamedDependency[Resources], now: NamedDependency[datetime]
) -> StatusView:
    """Take a proposal back before the bank answers."""
    with transaction(resources.sessions, actor, now) as session:
        return StatusView(status=actions.withdraw(session, actor, proposal_id, now).value)


@post("/api/v1/proposals/{proposal_id:uuid}/offer", operation_id="offerConcession", status_code=200, sync_to_thread=True, tags=["offers"])
def offer(
    proposal_id: FromPath[UUID], data: JSONBody[OfferBody], actor: NamedDependency[Actor], resources: NamedDependency[Resources],
    now: NamedDependency[datetime],
) -> StatusView:
    """Turn a proposal into an offer, as the case's own bank (BANK-01)."""
    valid_to_on = day_within_reach(data.valid_to_on, now, "/validToOn")
    with transaction(resources.sessions, actor, now) as session:
        return StatusView(status=actions.offer(session, actor, proposal_id, valid_to_on, now).value)


@post("/api/v1/proposals/{proposal_id:uuid}/decline", operation_id="declineProposal", status_code=200, sync_to_thread=True, tags=["offers"])
def decline(
    proposal_id: FromPath[UUID], actor: NamedDependency[Actor], resources: NamedDependency[Resources], now: NamedDependency[datetime]
) -> StatusView:
    """Decline a proposal as its bank."""
    with transaction(resources.sessions, actor, now) as session:
        return StatusView(status=actions.decline(session, actor, proposal_id, now).value)


@post("/api/v1/proposals/{proposal_id:uuid}/revoke", operation_id="revokeOffer", status_code=200, sync_to_thread=True, tags=["offers"])
def revoke(
    proposal_id: FromPath[UUID], actor: NamedDependency[Actor], resources: NamedDependency[Resources], now: NamedDependency[datetime]
) -> StatusView:
    """Take an offer back as its bank before it is accepted."""
    with transaction(resources.sessions, actor, now) as session:
        return StatusView(status=actions.revoke(session, actor, proposal_id, now).value)


@post("/api/v1/proposals/{proposal_id:uuid}/accept", operation_id="acceptOffer", status_code=200, sync_to_thread=True, tags=["offers"])
def accept(
    proposal_id: FromPath[UUID], actor: NamedDependency[Actor], resources: NamedDependency[Resources], now: NamedDependency[datetime]
) -> StatusView:
    """Note that the customer accepted the bank's offer; refused while there is none."""
    with transaction(resources.sessions, actor, now) as session:
        return StatusView(status=actions.accept(session, actor, proposal_id, now).value)


@get("/api/v1/banks/{bank_id:uuid}/repayment-methods", operation_id="listRepaymentMethods", sync_to_thread=True, tags=["banks"])
def list_methods(bank_id: FromPath[UUID], actor: NamedDependency[Actor], resources: NamedDependency[Resources]) -> MethodsView:
    """List a bank's ways of paying; those that it offers may be proposed."""
    authorise(actor, Permission.BANK_READ)
    with resources.reads() as session:
        banks.bank(session, actor, BankId(bank_id))
        return MethodsView(rows=tuple(queries.methods_of(session, BankId(bank_id))))


@put(
    "/api/v1/banks/{bank_id:uuid}/repayment-methods/{method:str}", operation_id="suggestRepaymentMethod", status_code=204, sync_to_thread=True,
    tags=["banks"])
def suggest_method(
    bank_id: FromPath[UUID], method: FromPath[MethodCode], data: JSONBody[MethodBody], actor: NamedDependency[Actor],
    resources: NamedDependency[Resources], now: NamedDependency[datetime],
) -> None:
    """Put a way of paying on a bank's list; changed words wait for the bank again."""
    with transaction(resources.sessions, actor, now) as session:
        actions.suggest_method(session, actor, BankId(bank_id), method, (data.text_zh, data.text_en), now)


@post(
    "/api/v1/banks/{bank_id:uuid}/repayment-methods/{method:str}/decide", operation_id="decideRepaymentMethod", status_code=204,
    sync_to_thread=True, tags=["banks"])
def decide_method(
    bank_id: FromPath[UUID], method: FromPath[MethodCode], data: JSONBody[MethodDecisionBody], actor: NamedDependency[Actor],
    resources: NamedDependency[Resources], now: NamedDependency[datetime],
) -> None:
    """Offer a way of paying as its bank, or stop offering it."""
    with transaction(resources.sessions, actor, now) as session:
        actions.decide_method(session, actor, BankId(bank_id), method, now, is_offered=data.is_offered)


@get("/api/v1/payment-notices", operation_id="listPaymentNotices", sync_to_thread=True, tags=["offers"])
def list_notices(
    actor: NamedDependency[Actor], resources: NamedDependency[Resources], limit: FromQuery[int | None] = None, cursor: FromQuery[str | None] = None
) -> Page[queries.NoticeView]:
    """List the payments of which customers are to be told, oldest first (CASH-12)."""
    asked = read_page(limit, cursor)
    with resources.reads() as session:
        rows = queries.list_notices(session, actor, limit=asked.limit, after=asked.after_id)
    return page_of(rows, asked, lambda row: str(row.id))


@post("/api/v1/payment-notices/{notice_id:uuid}/tell", operation_id="tellPayment", status_code=204, sync_to_thread=True, tags=["offers"])
def tell_payment(
    notice_id: FromPath[UUID], actor: NamedDependency[Actor], resources: NamedDependency[Resources], now: NamedDependency[datetime]
) -> None:
    """Note that the customer was told that the payment arrived."""
    with transaction(resources.sessions, actor, now) as session:
        promises.tell(session, actor, notice_id, now)


ROUTES: list[Any] = [
    import_repayments, list_promises, follow_up, list_proposals, propose, withdraw, offer, decline, revoke, accept, list_methods, suggest_method,
    decide_method, list_notices, tell_payment,
]
