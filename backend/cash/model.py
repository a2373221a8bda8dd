"""Nouns of money taken in the field: authority, receipt, custody, deposit. All amounts are whole fen, all instants UTC."""

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Final
from uuid import UUID

import msgspec

from backend.core.fen import FEN_MAX, Fen
from backend.core.ids import BankId, BranchId, CaseId, CollectionId, ManifestId, StaffId, VisitId
from backend.core.states import follow
from backend.exhibits.model import Standing

RECEIPT_NONE: Final = "0" * 64
"""The digest that the first receipt of a device links to."""

BOOK_NUMBERS_MAX: Final = 500


class Circumstance(StrEnum):
    """Why the debtor cannot pay the bank directly (CASH-03). Always beside an explanation."""

    REMOTE_AREA = "remote_area"
    LIMITED_MOBILITY = "limited_mobility"
    NO_BANK_CHANNEL = "no_bank_channel"
    OTHER_OBSTACLE = "other_obstacle"


class Instrument(StrEnum):
    """What changes hands (CASH-02). A transfer to a collector's own account exists as a breach only."""

    CASH = "cash"
    CASH_CHEQUE = "cash_cheque"
    OTHER_PROPERTY = "other_property"
    PERSONAL_TRANSFER = "personal_transfer"


AUTHORISABLE: Final = frozenset({Instrument.CASH, Instrument.CASH_CHEQUE, Instrument.OTHER_PROPERTY})


class PayerRelation(StrEnum):
    """Who pays: the debtor, a person the authorisation names (CONT-08), or, as a breach, anybody else."""

    DEBTOR = "debtor"
    NAMED_PERSON = "named_person"
    OTHER = "other"


class RequestStatus(StrEnum):
    """Where a request to the bank stands, and beside it who acts next."""

    REQUESTED = "requested"      # The bank's authoriser grants or refuses; silence refuses (F19).
    SECONDED = "seconded"        # Another authoriser of the same bank confirms: the amount is above the bank's threshold.
    GRANTED = "granted"
    REFUSED = "refused"
    EXPIRED = "expired"          # As refused: nobody answered in time.


class RequestEvent(StrEnum):
    """What can happen to a request."""

    SECOND = "second"
    GRANT = "grant"
    REFUSE = "refuse"
    EXPIRE = "expire"


REQUEST_TRANSITIONS: Mapping[tuple[RequestStatus, RequestEvent], RequestStatus] = MappingProxyType({
    (RequestStatus.REQUESTED, RequestEvent.SECOND): RequestStatus.SECONDED,
    (RequestStatus.REQUESTED, RequestEvent.GRANT): RequestStatus.GRANTED,
    (RequestStatus.REQUESTED, RequestEvent.REFUSE): RequestStatus.REFUSED,
    (RequestStatus.REQUESTED, RequestEvent.EXPIRE): RequestStatus.EXPIRED,
    (RequestStatus.SECONDED, RequestEvent.GRANT): RequestStatus.GRANTED,
    (RequestStatus.SECONDED, RequestEvent.REFUSE): RequestStatus.REFUSED,
    (RequestStatus.SECONDED, RequestEvent.EXPIRE): RequestStatus.EXPIRED,
})


def advance_request(status: RequestStatus, event: RequestEvent) -> RequestStatus:
    """Return the status after `event`. Raises `IllegalTransition` when it cannot follow."""
    return follow(REQUEST_TRANSITIONS, status, event)


class NumberStatus(StrEnum):
    """Where one printed receipt number stands. Each number has exactly one row, from its lease on and for ever."""

    LEASED = "leased"            # The pair issues, voids or returns it.
    SUSPENDED = "suspended"      # The phone is lost; a receipt signed before may still arrive.
    ISSUED = "issued"
    VOID = "void"
    RETURNED = "returned"


class NumberEvent(StrEnum):
    """What can happen to a receipt number."""

    ISSUE = "issue"
    VOID = "void"
    RETURN = "return"
    SUSPEND = "suspend"


NUMBER_TRANSITIONS: Mapping[tuple[NumberStatus, NumberEvent], NumberStatus] = MappingProxyType({
    (NumberStatus.LEASED, NumberEvent.ISSUE): NumberStatus.ISSUED,
    (NumberStatus.LEASED, NumberEvent.VOID): NumberStatus.VOID,
    (NumberStatus.LEASED, NumberEvent.RETURN): NumberStatus.RETURNED,
    (NumberStatus.LEASED, NumberEvent.SUSPEND): NumberStatus.SUSPENDED,
    (NumberStatus.SUSPENDED, NumberEvent.ISSUE): NumberStatus.ISSUED,      # Signed before the loss, arrived from the partner's phone.
    (NumberStatus.SUSPENDED, NumberEvent.VOID): NumberStatus.VOID,
    (NumberStatus.SUSPENDED, NumberEvent.RETURN): NumberStatus.RETURNED,   # The paper was found again.
    (NumberStatus.ISSUED, NumberEvent.VOID): NumberStatus.VOID,            # Only together with a reversal by two people.
})


def advance_number(status: NumberStatus, event: NumberEvent) -> NumberStatus:
    """Return the status after `event`. Raises `IllegalTransition` when it cannot follow."""
    return follow(NUMBER_TRANSITIONS, status, event)


class AccountKind(StrEnum):
    """Every kind of account there is. A fee or a set-off has none, so neither can be booked (CASH-07, CASH-09)."""

    DEBTOR = "debtor"            # Owner: the case. Never above zero: what the debtor has handed over.
    CUSTODY = "custody"          # Owner: the employee who holds the money for the bank. Never below zero.
    IN_TRANSIT = "in_transit"    # Owner: the designated account's digest. Paid in by slip, not yet on the bank's statement.
    DESIGNATED = "designated"    # Owner: the designated account's digest. Credited by the bank's own statement.
    SUSPENSE = "suspense"        # Owner: the employee who answers for a variance (counterfeit, short count).


class TransferKind(StrEnum):
    """Why money moved. Which accounts each may join is fixed in `TRANSFER_SIDES` and in the database."""

    COLLECTION = "collection"
    HANDOVER = "handover"
    DEPOSIT = "deposit"
    CONFIRMATION = "confirmation"
    SHORTFALL = "shortfall"
    RECOVERY = "recovery"
    REVERSAL = "reversal"


TRANSFER_SIDES: Mapping[TransferKind, frozenset[tuple[AccountKind, AccountKind]]] = MappingProxyType({
    # (debited: holds more afterwards, credited: holds less)
    TransferKind.COLLECTION: frozenset({(AccountKind.CUSTODY, AccountKind.DEBTOR)}),
    TransferKind.HANDOVER: frozenset({(AccountKind.CUSTODY, AccountKind.CUSTODY)}),
    TransferKind.DEPOSIT: frozenset({(AccountKind.IN_TRANSIT, AccountKind.CUSTODY)}),
    TransferKind.CONFIRMATION: frozenset({(AccountKind.DESIGNATED, AccountKind.IN_TRANSIT)}),
    TransferKind.SHORTFALL: frozenset({(AccountKind.SUSPENSE, AccountKind.CUSTODY), (AccountKind.SUSPENSE, AccountKind.IN_TRANSIT)}),
    TransferKind.RECOVERY: frozenset({(AccountKind.IN_TRANSIT, AccountKind.SUSPENSE)}),
})


class Channel(StrEnum):
    """How money is paid in (F12)."""

    COUNTER = "counter"
    MACHINE = "machine"
    SEALED_BAG = "sealed_bag"


class DepositStatus(StrEnum):
    """Where a deposit stands, and beside it who acts next."""

    HELD = "held"                # Nobody: it waits for the collection or hand-over that it spends.
    POSTED = "posted"            # The bank's statement confirms it.
    CONFIRMED = "confirmed"
    UNBOOKED = "unbooked"        # Stored with its breach; no money moved and the depositor still answers for it.
    REVERSED = "reversed"


class DepositEvent(StrEnum):
    """What can happen to a deposit."""

    POST = "post"
    SET_ASIDE = "set_aside"
    CONFIRM = "confirm"
    REVERSE = "reverse"


DEPOSIT_TRANSITIONS: Mapping[tuple[DepositStatus, DepositEvent], DepositStatus] = MappingProxyType({
    (DepositStatus.HELD, DepositEvent.POST): DepositStatus.POSTED,
    (DepositStatus.HELD, DepositEvent.SET_ASIDE): DepositStatus.UNBOOKED,
    (DepositStatus.POSTED, DepositEvent.CONFIRM): DepositStatus.CONFIRMED,
    (DepositStatus.POSTED, DepositEvent.REVERSE): DepositStatus.REVERSED,
})


def advance_deposit(status: DepositStatus, event: DepositEvent) -> DepositStatus:
    """Return the status after `event`. Raises `IllegalTransition` when it cannot follow."""
    return follow(DEPOSIT_TRANSITIONS, status, event)


class HandoverStatus(StrEnum):
    """Where a hand-over stands, and beside it who acts next."""

    OFFERED = "offered"          # The taker signs.
    HELD = "held"                # Both signed; it waits for the money it moves.
    POSTED = "posted"
    DECLINED = "declined"


class HandoverEvent(StrEnum):
    """What can happen to a hand-over."""

    TAKE = "take"
    DECLINE = "decline"
    POST = "post"


HANDOVER_TRANSITIONS: Mapping[tuple[HandoverStatus, HandoverEvent], HandoverStatus] = MappingProxyType({
    (HandoverStatus.OFFERED, HandoverEvent.TAKE): HandoverStatus.HELD,
    (HandoverStatus.OFFERED, HandoverEvent.DECLINE): HandoverStatus.DECLINED,
    (HandoverStatus.HELD, HandoverEvent.POST): HandoverStatus.POSTED,
})


def advance_handover(status: HandoverStatus, event: HandoverEvent) -> HandoverStatus:
    """Return the status after `event`. Raises `IllegalTransition` when it cannot follow."""
    return follow(HANDOVER_TRANSITIONS, status, event)


class VarianceKind(StrEnum):
    """Why an amount is not what it should be. Always with an owner; never an edit (F12)."""

    COUNTERFEIT = "counterfeit"          # Confiscated by the bank, with a certificate.
    SHORT_COUNT = "short_count"          # Counted short by bank or machine.
    NET_DEPOSIT = "net_deposit"          # Less paid in than taken, unexplained: a breach of CASH-09.
    SHORT_CREDIT = "short_credit"        # The statement shows less than the slip.
    SURPLUS_CREDIT = "surplus_credit"    # The statement shows more than the slip.
    UNKNOWN_CREDIT = "unknown_credit"    # The statement shows money that no slip explains.
    MISSING_CREDIT = "missing_credit"    # A slip that the statement does not show in time.


class VarianceStatus(StrEnum):
    """Where a variance stands, and beside it who acts next."""

    OPEN = "open"                # Its owner explains it, or makes it good.
    EXPLAINED = "explained"      # Somebody else closes it, or sends it back.
    RESOLVED = "resolved"


class VarianceEvent(StrEnum):
    """What can happen to a variance."""

    EXPLAIN = "explain"
    RETURN = "return"
    RESOLVE = "resolve"


VARIANCE_TRANSITIONS: Mapping[tuple[VarianceStatus, VarianceEvent], VarianceStatus] = MappingProxyType({
    (VarianceStatus.OPEN, VarianceEvent.EXPLAIN): VarianceStatus.EXPLAINED,
    (VarianceStatus.OPEN, VarianceEvent.RESOLVE): VarianceStatus.RESOLVED,
    (VarianceStatus.EXPLAINED, VarianceEvent.EXPLAIN): VarianceStatus.EXPLAINED,
    (VarianceStatus.EXPLAINED, VarianceEvent.RETURN): VarianceStatus.OPEN,
    (VarianceStatus.EXPLAINED, VarianceEvent.RESOLVE): VarianceStatus.RESOLVED,
})


def advance_variance(status: VarianceStatus, event: VarianceEvent) -> VarianceStatus:
    """Return the status after `event`. Raises `IllegalTransition` when it cannot follow."""
    return follow(VARIANCE_TRANSITIONS, status, event)


class FileKind(StrEnum):
    """What a bank's file tells."""

    STATEMENT = "statement"      # Credits on a designated account.
    REPAYMENTS = "repayments"    # Money that reached the bank for a case, whichever way.


EXPLAINED: Final = frozenset({VarianceKind.COUNTERFEIT, VarianceKind.SHORT_COUNT})


class CashRequest(msgspec.Struct, frozen=True, kw_only=True):
    """The agency's question to the bank. `sealed_explanation` is sealed under the case key; see `authorisations.seal_explanation`."""

    request_id: UUID
    case_id: CaseId
    visit_id: VisitId | None
    circumstance: Circumstance
    sealed_explanation: bytes
    is_explained: bool
    cap_requested_fen: Fen

    def __post_init__(self) -> None:
        demand_positive(self.cap_requested_fen)


class Grant(msgspec.Struct, frozen=True, kw_only=True):
    """The bank's answer: a compact JWS under the bank's own key. `agency` is the name that the bank knows us by: the deployment's tenant."""

    request_id: UUID
    agency: str
    token: str


class CashIntent(msgspec.Struct, frozen=True, kw_only=True):
    """May I take this now? Asked before any money moves."""

    case_id: CaseId
    visit_id: VisitId
    authorisation_jti: str | None
    receipt_number: str
    amount_fen: Fen
    instrument: Instrument
    payer: PayerRelation
    cosigner_device: str
    payer_digest: str | None = None      # Of a named person, as the token and the receipt hold it.
    unsynced_fen: Fen = Fen(0)           # What the pair's phones hold in receipts that have not arrived yet.

    def __post_init__(self) -> None:
        demand_positive(self.amount_fen)


class Leave(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to an intent: go ahead, and what is left afterwards."""

    allowed: bool
    remaining_fen: Fen
    remaining_collections: int
    carry_left_fen: Fen
    expires_at: datetime


class ReceiptStatement(msgspec.Struct, frozen=True, kw_only=True):
    """A signed statement that money was taken and receipted in one act. `captured_*` bound the true time of it."""

    manifest_id: ManifestId
    digest: str
    case_id: CaseId
    visit_id: VisitId | None
    bank_id: BankId
    branch_id: BranchId
    device: str
    cosigner_device: str | None                    # None: one collector alone, who named no partner.
    collector_id: StaffId
    cosigner_id: StaffId                           # Named, or else the partner assigned to the visit, who answers for it as well.
    captured_lower_at: datetime | None
    captured_upper_at: datetime
    receipt_number: str
    amount_fen: Fen
    amount_capitals: str
    instrument: Instrument
    payer: PayerRelation
    payer_digest: str
    authorisation_jti: str | None
    previous_digest: str
    denominations: tuple[tuple[int, int], ...]     # (face in fen, count)
    has_paper: bool
    roles: frozenset[str]                          # Roles of the manifest's items.


class AuthorisationTerms(msgspec.Struct, frozen=True, kw_only=True):
    """What the bank signed, as it stands now."""

    jti: str
    case_id: CaseId
    bank_id: BankId
    cap_fen: Fen
    collected_fen: Fen
    collections_max: int
    collected_count: int
    devices: frozenset[str]
    instruments: frozenset[Instrument]
    account_digest: str
    is_account_designated: bool
    payer_digest: str | None                       # Of the person besides the debtor whom the bank named (CONT-08).
    granted_at: datetime
    expires_at: datetime
    revoked_at: datetime | None


class Collected(msgspec.Struct, frozen=True, kw_only=True):
    """A collection as booked. With an `exception_number` the bank gave no leave for it (design decision 7)."""

    collection_id: CollectionId
    receipt_number: str
    amount_fen: Fen
    standing: Standing
    exception_number: str | None
    deposit_due_at: datetime


def demand_positive(amount_fen: int) -> None:
    """Raise ValueError for an amount that nobody can move."""
    if not 0 < amount_fen <= FEN_MAX:
        raise ValueError("an amount is above zero and at most the largest that is booked")
