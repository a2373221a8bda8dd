"""Events of money: leave asked before it is taken, the bank asked for leave, hand-overs, deposits, void numbers.

That money *was* taken is told by the receipt that both signed, a `cash_receipt` statement, not by an event.
"""

from typing import Annotated, Any
from uuid import UUID

import msgspec
from msgspec import Meta

from backend.audit import breaches as kept
from backend.cash import actions, authorisations, book_custody, custody, queries
from backend.cash.model import CashIntent, CashRequest, Channel, Circumstance, Instrument, PayerRelation, VarianceKind
from backend.cash.movements import Deposit, Handover, Shortfall
from backend.core.fen import FEN_MAX, Fen
from backend.core.ids import BankId, CaseId, DepositId, StaffId, VisitId
from backend.core.rulebook import Breach
from backend.policies.queries import policy_in_force
from backend.web.body import Body
from mobile_api.envelope import EventContext, EventKind, Mode, UtcText, parse_utc

Amount = Annotated[int, Meta(ge=1, le=FEN_MAX)]
AmountOrNothing = Annotated[int, Meta(ge=0, le=FEN_MAX)]
Number = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:-]*\Z", min_length=1, max_length=40)]
Jti = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:-]*\Z", min_length=1, max_length=64)]
Kid = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{43}\Z", max_length=43)]
Sha256 = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z", max_length=64)]
Reference = Annotated[str, Meta(pattern=r"^[\x21-\x7e]{1,64}\Z", max_length=64)]
Explanation = Annotated[str, Meta(max_length=2000)]
Token = Annotated[str, Meta(min_length=1, max_length=4000, pattern=r"^[A-Za-z0-9_.-]+\Z")]


class CollectBody(Body, kw_only=True):
    """May we take `amountFen` on this visit under `jti`? `unsyncedFen` is what the pair's phones hold in receipts not sent yet."""

    case_id: UUID
    visit_id: UUID
    jti: Jti | None
    receipt_number: Number
    amount_fen: Amount
    instrument: Instrument
    payer: PayerRelation = PayerRelation.DEBTOR
    cosigner_device: Kid
    payer_sha256: Sha256 | None = None
    unsynced_fen: AmountOrNothing = 0


class RequestBody(Body, kw_only=True):
    """Ask the bank: the circumstance, and why the debtor cannot pay it directly (CASH-03)."""

    case_id: UUID
    visit_id: UUID | None = None
    circumstance: Circumstance
    explanation: Explanation
    cap_fen: Amount


class HandoverBody(Body, kw_only=True):
    """Money went from giver to taker. Both tokens sign the same words; the taker's may follow, or be given at a desk."""

    handover_id: UUID
    bank_id: UUID
    giver_id: UUID
    taker_id: UUID
    amount_fen: Amount
    handed_at: UtcText
    giver_token: Token
    taker_token: Token | None = None

    def __post_init__(self) -> None:
        self.to_handover()

    def to_handover(self) -> Handover:
        """Say it in the slice's words."""
        return Handover(
            handover_id=self.handover_id, bank_id=BankId(self.bank_id), giver_id=StaffId(self.giver_id), taker_id=StaffId(self.taker_id),
            amount_fen=Fen(self.amount_fen), handed_at=parse_utc(self.handed_at), giver_token=self.giver_token, taker_token=self.taker_token,
        )


class ShortfallBody(Body, kw_only=True):
    """Notes not credited: `counterfeit` with the bank's certificate, or `short_count` with the slip."""

    kind: VarianceKind
    amount_fen: Amount
    certificate: Reference

    def __post_init__(self) -> None:
        self.to_shortfall()

    def to_shortfall(self) -> Shortfall:
        """Say it in the slice's words."""
        return Shortfall(kind=self.kind, amount_fen=Fen(self.amount_fen), certificate=self.certificate)


class DepositBody(Body, kw_only=True):
    """One slip: whole receipts, gross, to the designated account."""

    deposit_id: UUID
    bank_id: UUID
    account_digest: Sha256
    channel: Channel
    slip_reference: Annotated[str, Meta(max_length=64, pattern=r"^[\x20-\x7e]*\Z")]
    slip_sha256: Sha256 | None = None
    amount_fen: AmountOrNothing
    deposited_at: UtcText
    receipt_numbers: Annotated[list[Number], Meta(min_length=1, max_length=100)]
    shortfalls: Annotated[tuple[ShortfallBody, ...], Meta(max_length=20)] = ()
    bank_hours_id: UUID | None = None

    def __post_init__(self) -> None:
        self.to_deposit()

    def to_deposit(self) -> Deposit:
        """Say it in the slice's words."""
        return Deposit(
            deposit_id=DepositId(self.deposit_id), bank_id=BankId(self.bank_id), account_digest=self.account_digest, channel=self.channel,
            slip_reference=self.slip_reference, slip_sha256=self.slip_sha256, amount_fen=Fen(self.amount_fen),
            deposited_at=parse_utc(self.deposited_at), receipt_numbers=tuple(self.receipt_numbers),
            shortfalls=tuple(one.to_shortfall() for one in self.shortfalls), bank_hours_id=self.bank_hours_id,
        )


class VoidBody(Body, kw_only=True):
    """A number was made void; the statement that both signed is what makes it so."""

    receipt_number: Number


class BookBody(Body, kw_only=True):
    """I have received this sealed book."""

    serial: Annotated[str, Meta(pattern=r"^[A-Z0-9][A-Z0-9-]*\Z", min_length=2, max_length=24)]
    is_seal_whole: bool


def collect(context: EventContext, body: CollectBody) -> dict[str, Any]:
    """Answer an intent; refused with everything that speaks against it."""
    leave = actions.intend(context.session, context.actor, CashIntent(
        case_id=CaseId(body.case_id), visit_id=VisitId(body.visit_id), authorisation_jti=body.jti, receipt_number=body.receipt_number,
        amount_fen=Fen(body.amount_fen), instrument=body.instrument, payer=body.payer, cosigner_device=body.cosigner_device,
        payer_digest=body.payer_sha256,
        unsynced_fen=Fen(body.unsynced_fen),
    ), queries.policy_of_case(context.session, body.case_id, context.now), context.now)  # Leave is for now, whatever the phone's clock says.
    return {
        "allowed": leave.allowed, "remainingFen": leave.remaining_fen, "remainingCollections": leave.remaining_collections,
        "carryLeftFen": leave.carry_left_fen, "expiresAt": leave.expires_at.isoformat(),
    }


def request(context: EventContext, body: RequestBody) -> dict[str, Any]:
    """Ask the bank. The event's id is the request's."""
    sealed = authorisations.seal_explanation(context.session, context.actor, context.keyring, body.case_id, body.explanation.strip())
    policy = queries.policy_of_case(context.session, body.case_id, context.now)
    request_id = authorisations.request_authorisation(context.session, context.actor, CashRequest(
        request_id=context.event.id, case_id=CaseId(body.case_id), visit_id=VisitId(body.visit_id) if body.visit_id else None,
        circumstance=body.circumstance, sealed_explanation=sealed, is_explained=bool(body.explanation.strip()), cap_requested_fen=Fen(body.cap_fen),
    ), policy, context.now)
    return {
        "requestId": str(request_id), "answerDueS": policy.cash_request_answer_s,
        "isAttended": authorisations.is_attended(context.session, request_id, context.now),
    }


def handover(context: EventContext, body: HandoverBody) -> dict[str, Any]:
    """Record a hand-over."""
    command = msgspec.structs.replace(body.to_handover(), told_at=context.event.captured_at)
    status = custody.hand_over(context.session, context.actor, command, context.now)
    breaches = kept.breaches_of(context.session, f"handover:{body.handover_id}")
    standing = "doubtful" if breaches else "accepted"
    return {"standing": standing, "breaches": _told(breaches), "handoverId": str(body.handover_id), "status": status.value}


def deposit(context: EventContext, body: DepositBody) -> dict[str, Any]:
    """Ask whether a deposit may be made like this, or record that it was."""
    if context.event.mode is Mode.INTENT:
        custody.ask_deposit(context.session, context.actor, msgspec.structs.replace(body.to_deposit(), told_at=context.event.captured_at))
        return {"allowed": True}
    command = msgspec.structs.replace(body.to_deposit(), told_at=context.event.captured_at)
    policy = policy_in_force(context.session, command.bank_id, context.event.captured_at)
    done = custody.report_deposit(context.session, context.actor, command, policy, context.now)
    breaches = kept.breaches_of(context.session, f"deposit:{done.deposit_id}")
    return {
        "standing": done.standing.value, "breaches": _told(breaches), "depositId": str(done.deposit_id), "status": done.status.value,
        "amountFen": done.amount_fen,
    }


def take_book(context: EventContext, body: BookBody) -> dict[str, Any]:
    """Record that a sealed book was received."""
    book_id = book_custody.take(context.session, context.actor, body.serial, context.event.captured_at, is_seal_whole=body.is_seal_whole)
    return {"standing": "accepted", "breaches": [], "bookId": str(book_id)}


def void(context: EventContext, body: VoidBody) -> dict[str, Any]:
    """Record the notice of a void number."""
    status, breaches = actions.report_void(context.session, context.actor, body.receipt_number, context.policy, context.now)
    return {"standing": "doubtful" if breaches else "accepted", "breaches": _told(breaches), "status": status.value if status else "unknown"}


def _told(breaches: tuple[Breach, ...]) -> list[dict[str, str]]:
    return [{"rule": one.rule.value, "code": one.code, "expected": one.expected, "got": one.got} for one in breaches]


KINDS: dict[str, EventKind[Any]] = {
    "cash.collect": EventKind(CollectBody, frozenset({Mode.INTENT}), collect),
    "cash.request": EventKind(RequestBody, frozenset({Mode.INTENT}), request),
    "cash.handover": EventKind(HandoverBody, frozenset({Mode.FACT}), handover),
    "cash.deposit": EventKind(DepositBody, frozenset({Mode.INTENT, Mode.FACT}), deposit),
    "cash.book_taken": EventKind(BookBody, frozenset({Mode.FACT}), take_book),
    "cash.void": EventKind(VoidBody, frozenset({Mode.FACT}), void),
}

