"""The cash desk: custody, hand-overs, deposits, corrections, the proof of books."""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from litestar import get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery, JSONBody, QueryParameter
from msgspec import Meta

from backend.auth.actors import Actor
from backend.auth.authorise import authorise
from backend.auth.permissions import Permission
from backend.cash import corrections, custody, proof, queries, reconciliation
from backend.cash.model import Channel, VarianceKind
from backend.cash.movements import Deposit, Deposited, Shortfall
from backend.cash.waiting import OfferedView, offered_handovers
from backend.console.values import within_reach
from backend.core.fen import FEN_MAX, Fen
from backend.core.ids import BankId, DepositId, TransferId
from backend.core.problems import NotFound
from backend.policies.queries import policy_in_force
from backend.web.app import Resources
from backend.web.body import Body, View
from backend.web.paging import Page, page_of, read_page
from backend.web.transaction import transaction

Amount = Annotated[int, Meta(ge=1, le=FEN_MAX)]
AmountOrNothing = Annotated[int, Meta(ge=0, le=FEN_MAX)]
Reason = Annotated[str, Meta(min_length=3, max_length=400)]
Sha256 = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z", max_length=64)]
Number = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:-]*\Z", min_length=1, max_length=40)]
Reference = Annotated[str, Meta(pattern=r"^[\x21-\x7e]{1,64}\Z", max_length=64)]
BankQuery = Annotated[UUID, QueryParameter(name="bankId")]


class DeskShortfallBody(Body, kw_only=True):
    """Notes not credited, with certificate or slip."""

    kind: VarianceKind
    amount_fen: Amount
    certificate: Reference

    def __post_init__(self) -> None:
        self.to_shortfall()

    def to_shortfall(self) -> Shortfall:
        """Say it in the slice's words."""
        return Shortfall(kind=self.kind, amount_fen=Fen(self.amount_fen), certificate=self.certificate)


class DeskDepositBody(Body, kw_only=True):
    """A deposit made by the cashier; refused when it may not be made."""

    deposit_id: UUID
    bank_id: UUID
    account_digest: Sha256
    channel: Channel
    slip_reference: Annotated[str, Meta(max_length=64, pattern=r"^[\x20-\x7e]*\Z")]
    slip_sha256: Sha256 | None = None
    amount_fen: AmountOrNothing
    deposited_at: datetime
    receipt_numbers: Annotated[list[Number], Meta(min_length=1, max_length=100)]
    shortfalls: Annotated[tuple[DeskShortfallBody, ...], Meta(max_length=20)] = ()

    def __post_init__(self) -> None:
        if self.deposited_at.tzinfo is None:
            raise ValueError("an instant needs a time zone")
        self.to_deposit()

    def to_deposit(self) -> Deposit:
        """Say it in the slice's words."""
        return Deposit(
            deposit_id=DepositId(self.deposit_id), bank_id=BankId(self.bank_id), account_digest=self.account_digest, channel=self.channel,
            slip_reference=self.slip_reference, slip_sha256=self.slip_sha256, amount_fen=Fen(self.amount_fen), deposited_at=self.deposited_at,
            receipt_numbers=tuple(self.receipt_numbers), shortfalls=tuple(one.to_shortfall() for one in self.shortfalls),
        )


class TakeBody(Body, kw_only=True):
    """Take what was handed over, or decline it."""

    is_declined: bool = False


class ProposalBody(Body, kw_only=True):
    """Which transfer was wrong, and why."""

    transfer_id: UUID
    reason: Reason


class DecisionBody(Body, kw_only=True):
    """The second person's word."""

    is_approved: bool


class CloseBody(Body, kw_only=True):
    """Close the books of one bank."""

    bank_id: UUID


class Made(View, frozen=True):
    """The id of what was made."""

    id: UUID


class StatusView(View, frozen=True):
    """Where it stands now."""

    status: str


class DepositedView(View, frozen=True):
    """A deposit as booked."""

    id: UUID
    status: str
    standing: str
    amount_fen: int


class ReversedView(View, frozen=True):
    """The reversing transfer, if it was approved."""

    transfer_id: UUID | None


@get("/api/v1/cash/custody", operation_id="listCustody", sync_to_thread=True, tags=["cash"])
def list_custody(
    actor: NamedDependency[Actor], resources: NamedDependency[Resources], now: NamedDependency[datetime]
) -> dict[str, list[queries.CustodyView]]:
    """List what each employee holds and answers for, per bank (CASH-08)."""
    with resources.reads() as session:
        return {"rows": queries.list_custody(session, actor, now)}


@get("/api/v1/cash/collections", operation_id="listCollections", sync_to_thread=True, tags=["cash"])
def list_collections(
    actor: NamedDependency[Actor], resources: NamedDependency[Resources], limit: FromQuery[int | None] = None, cursor: FromQuery[str | None] = None,
    case_id: Annotated[UUID | None, QueryParameter(name="caseId")] = None,
) -> Page[queries.CollectionView]:
    """List collections with their receipts."""
    asked = read_page(limit, cursor)
    with resources.reads() as session:
        rows = queries.list_collections(session, actor, limit=asked.limit, after=asked.after_id, case_id=case_id)
    return page_of(rows, asked, lambda row: str(row.id))


@get("/api/v1/handovers", operation_id="listOfferedHandovers", sync_to_thread=True, tags=["cash"])
def list_handovers(
    actor: NamedDependency[Actor], resources: NamedDependency[Resources], limit: FromQuery[int | None] = None, cursor: FromQuery[str | None] = None
) -> Page[OfferedView]:
    """List the hand-overs that wait for the caller's yes."""
    asked = read_page(limit, cursor)
    with resources.reads() as session:
        rows = offered_handovers(session, actor, limit=asked.limit, after=asked.after_id)
    return page_of(rows, asked, lambda row: str(row.id))


@post("/api/v1/handovers/{handover_id:uuid}/take", operation_id="takeHandover", status_code=200, sync_to_thread=True, tags=["cash"])
def take_handover(
    handover_id: FromPath[UUID], data: JSONBody[TakeBody], actor: NamedDependency[Actor], resources: NamedDependency[Resources],
    now: NamedDependency[datetime],
) -> StatusView:
    """Take or decline what was handed over."""
    with transaction(resources.sessions, actor, now) as session:
        return StatusView(status=custody.accept_handover(session, actor, handover_id, now, is_declined=data.is_declined).value)


@get("/api/v1/deposits", operation_id="listDeposits", sync_to_thread=True, tags=["cash"])
def list_deposits(
    actor: NamedDependency[Actor], resources: NamedDependency[Resources], limit: FromQuery[int | None] = None, cursor: FromQuery[str | None] = None
) -> Page[queries.DepositView]:
    """List deposits."""
    asked = read_page(limit, cursor)
    with resources.reads() as session:
        rows = queries.list_deposits(session, actor, limit=asked.limit, after=asked.after_id)
    return page_of(rows, asked, lambda row: str(row.id))


@post("/api/v1/deposits", operation_id="makeDeposit", sync_to_thread=True, tags=["cash"])
def make_deposit(
    data: JSONBody[DeskDepositBody], actor: NamedDependency[Actor], resources: NamedDependency[Resources], now: NamedDependency[datetime]
) -> DepositedView:
    """Pay in what the caller holds, gross, to the designated account."""
    within_reach(data.deposited_at, now, "/depositedAt")
    with transaction(resources.sessions, actor, now) as session:
        policy = policy_in_force(session, BankId(data.bank_id), now)
        done: Deposited = custody.deposit(session, actor, data.to_deposit(), policy, now)
    return DepositedView(id=done.deposit_id, status=done.status.value, standing=done.standing.value, amount_fen=done.amount_fen)


@post("/api/v1/corrections", operation_id="proposeCorrection", sync_to_thread=True, tags=["cash"])
def propose(
    data: JSONBody[ProposalBody], actor: NamedDependency[Actor], resources: NamedDependency[Resources], now: NamedDependency[datetime]
) -> Made:
    """Propose to reverse a transfer."""
    with transaction(resources.sessions, actor, now) as session:
        return Made(id=corrections.propose(session, actor, corrections.Proposal(transfer_id=TransferId(data.transfer_id), reason=data.reason), now))


@post("/api/v1/corrections/{correction_id:uuid}/decide", operation_id="decideCorrection", status_code=200, sync_to_thread=True, tags=["cash"])
def decide(
    correction_id: FromPath[UUID], data: JSONBody[DecisionBody], actor: NamedDependency[Actor], resources: NamedDependency[Resources],
    now: NamedDependency[datetime],
) -> ReversedView:
    """Approve or reject a proposed reversal as the second person."""
    with transaction(resources.sessions, actor, now) as session:
        return ReversedView(transfer_id=corrections.decide(session, actor, correction_id, now, is_approved=data.is_approved))


@post("/api/v1/reconciliations", operation_id="closeBooks", sync_to_thread=True, tags=["cash"])
def close_books(
    data: JSONBody[CloseBody], actor: NamedDependency[Actor], resources: NamedDependency[Resources], now: NamedDependency[datetime]
) -> proof.BooksProof:
    """Prove the books of a bank and keep the proof."""
    with transaction(resources.sessions, actor, now) as session:
        return proof.shown_to(session, actor, reconciliation.close_books(session, actor, BankId(data.bank_id), now))


@get("/api/v1/ledger/proof", operation_id="proveBooks", sync_to_thread=True, tags=["cash"])
def prove_books(bank_id: BankQuery, actor: NamedDependency[Actor], resources: NamedDependency[Resources]) -> proof.BooksProof:
    """Prove the books of a bank to whoever may read them."""
    authorise(actor, Permission.CASH_READ)
    if actor.bank is not None and actor.bank != bank_id:
        raise NotFound
    with resources.reads() as session:
        return proof.shown_to(session, actor, proof.prove_books(session, BankId(bank_id)))


ROUTES: list[Any] = [
    list_custody, list_collections, list_handovers, take_handover, list_deposits, make_deposit, propose, decide, close_books, prove_books,
]
