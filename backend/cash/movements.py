"""What is said about money on its way: hand-overs, deposits, statements of the bank, and the one transfer behind each of them. Pure."""

from datetime import date, datetime
from uuid import UUID

import msgspec

from backend.cash.model import EXPLAINED, Channel, DepositStatus, TransferKind, VarianceKind, demand_positive
from backend.core.fen import FEN_MAX, Fen
from backend.core.ids import AccountId, BankId, CaseId, CollectionId, DepositId, StaffId, TransferId
from backend.exhibits.model import Standing


class Handover(msgspec.Struct, frozen=True, kw_only=True):
    """Money from one employee to another. Tokens are compact JWS of both over the same words; a taker at a desk confirms there."""

    handover_id: UUID
    bank_id: BankId
    giver_id: StaffId
    taker_id: StaffId
    amount_fen: Fen
    handed_at: datetime
    giver_token: str
    taker_token: str | None
    told_at: datetime | None = None               # When its phone told of it, bounded by a beacon; None: only now.

    def __post_init__(self) -> None:
        demand_positive(self.amount_fen)
        if self.giver_id == self.taker_id:
            raise ValueError("a hand-over has two different people")


class Shortfall(msgspec.Struct, frozen=True, kw_only=True):
    """Notes that the bank did not credit, with its certificate or slip number."""

    kind: VarianceKind
    amount_fen: Fen
    certificate: str

    def __post_init__(self) -> None:
        demand_positive(self.amount_fen)
        if self.kind not in EXPLAINED:
            raise ValueError("a shortfall at the counter is counterfeit or short_count")


class Deposit(msgspec.Struct, frozen=True, kw_only=True):
    """Whole collections paid in with one slip. `deposit_id` is made by the client and lasts for ever."""

    deposit_id: DepositId
    bank_id: BankId
    account_digest: str
    channel: Channel
    slip_reference: str
    slip_sha256: str | None                       # Digest of the slip's photo, an evidence item.
    amount_fen: Fen
    deposited_at: datetime
    receipt_numbers: tuple[str, ...]
    shortfalls: tuple[Shortfall, ...] = ()
    bank_hours_id: UUID | None = None
    told_at: datetime | None = None               # As of a hand-over; no part of the deposit's digest.

    def __post_init__(self) -> None:
        if not 0 <= self.amount_fen <= FEN_MAX:
            raise ValueError("an amount lies between nothing and the largest that is booked")
        if not self.receipt_numbers or len(set(self.receipt_numbers)) != len(self.receipt_numbers):
            raise ValueError("a deposit names each of its receipts once")


class Deposited(msgspec.Struct, frozen=True, kw_only=True):
    """A deposit as booked."""

    deposit_id: DepositId
    status: DepositStatus
    standing: Standing
    amount_fen: Fen


class Transfer(msgspec.Struct, frozen=True, kw_only=True):
    """One positive movement. The debited account holds more afterwards, the credited one less."""

    id: TransferId
    debit_id: AccountId
    credit_id: AccountId
    amount_fen: Fen
    kind: TransferKind
    bank_id: BankId
    case_id: CaseId | None = None
    collection_id: CollectionId | None = None
    reverses_id: TransferId | None = None
    reason: str | None = None
    approved_by: StaffId | None = None            # The second person of a reversal.

    def __post_init__(self) -> None:
        demand_positive(self.amount_fen)
        if self.debit_id == self.credit_id:
            raise ValueError("a transfer joins two accounts")
        if (self.kind is TransferKind.REVERSAL) != (self.reverses_id is not None and bool(self.reason) and self.approved_by is not None):
            raise ValueError("exactly a reversal names what it reverses, why, and who approved it")


class StatementLine(msgspec.Struct, frozen=True, kw_only=True):
    """One credit on the bank's statement of a designated account."""

    account_digest: str
    booked_on: date
    reference: str
    amount_fen: Fen
