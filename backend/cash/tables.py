"""Rows of money. What may never change, and what must agree with what, is held by triggers and deferred keys of the migration.

`bank_id` and `branch_id` stand beside every row that a person may ask for, so that one filter serves them all.
"""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, ForeignKeyConstraint, Index, Integer, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from backend.banks.model import KeyHardware
from backend.cash.closing_tables import (
    BranchCloseLineRow as BranchCloseLineRow,
)
from backend.cash.closing_tables import (
    BranchCloseRow as BranchCloseRow,
)
from backend.cash.field_tables import (
    BookCountRow as BookCountRow,
)
from backend.cash.field_tables import (
    BookTakingRow as BookTakingRow,
)
from backend.cash.field_tables import (
    CashHintRow as CashHintRow,
)
from backend.cash.field_tables import (
    DirectPaymentRow as DirectPaymentRow,
)
from backend.cash.file_tables import (
    BankFileRejectionRow as BankFileRejectionRow,
)
from backend.cash.file_tables import (
    BankFileRow as BankFileRow,
)
from backend.cash.file_tables import (
    VarianceStepRow as VarianceStepRow,
)
from backend.cash.ledger_tables import (
    AccountRow as AccountRow,
)
from backend.cash.ledger_tables import (
    CorrectionRow as CorrectionRow,
)
from backend.cash.ledger_tables import (
    DepositLineRow as DepositLineRow,
)
from backend.cash.ledger_tables import (
    DepositRow as DepositRow,
)
from backend.cash.ledger_tables import (
    HandoverRow as HandoverRow,
)
from backend.cash.ledger_tables import (
    PostingRow as PostingRow,
)
from backend.cash.ledger_tables import (
    ReconciliationRow as ReconciliationRow,
)
from backend.cash.ledger_tables import (
    StatementLineRow as StatementLineRow,
)
from backend.cash.ledger_tables import (
    StatementRow as StatementRow,
)
from backend.cash.ledger_tables import (
    TransferRow as TransferRow,
)
from backend.cash.ledger_tables import (
    VarianceRow as VarianceRow,
)
from backend.cash.model import (
    Circumstance,
    Instrument,
    NumberStatus,
    PayerRelation,
    RequestStatus,
)
from backend.db.base import Base, CanonicalJson, Choice, Instant, Key, Money, SealedBytes, SealedValue, Uuid, enum_check
from backend.exhibits.model import Standing


class AuthorisationRequestRow(Base):
    """The agency's question to a bank, and who answered it."""

    __tablename__ = "authorisation_requests"
    __table_args__ = (
        enum_check("circumstance", Circumstance),
        enum_check("status", RequestStatus),
        CheckConstraint("cap_requested_fen > 0", name="cap_positive"),
        CheckConstraint("expires_at > requested_at", name="expires_later"),
        CheckConstraint("seconded_by <> decided_by", name="two_authorisers"),
        Index(None, "bank_id", "status", "id"),
        Index(None, "case_id"),
    )

    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    case_id: Mapped[UUID] = mapped_column(ForeignKey("cases.id"))
    visit_id: Mapped[UUID | None] = mapped_column(ForeignKey("visits.id"))
    bank_id: Mapped[UUID] = mapped_column(ForeignKey("banks.id"))
    branch_id: Mapped[UUID] = mapped_column(ForeignKey("branches.id"))
    circumstance: Mapped[Circumstance] = mapped_column(Choice(Circumstance))
    explanation: Mapped[SealedValue] = mapped_column(SealedBytes)
    cap_requested_fen: Mapped[int] = mapped_column(Money)
    requested_by: Mapped[UUID] = mapped_column(ForeignKey("staff.id"))
    requested_at: Mapped[datetime] = mapped_column(Instant)
    expires_at: Mapped[datetime] = mapped_column(Instant)
    status: Mapped[RequestStatus] = mapped_column(Choice(RequestStatus))
    seconded_by: Mapped[UUID | None] = mapped_column(ForeignKey("staff.id"))
    seconded_at: Mapped[datetime | None] = mapped_column(Instant)
    decided_by: Mapped[UUID | None] = mapped_column(ForeignKey("staff.id"))
    decided_at: Mapped[datetime | None] = mapped_column(Instant)
    refusal_reason: Mapped[str | None] = mapped_column(Key(64))


class AuthorisationRow(Base):
    """The bank's signed word and how much of it is used up. Only use and revocation ever change."""

    __tablename__ = "authorisations"
    __table_args__ = (
        UniqueConstraint("request_id"),
        UniqueConstraint("jti", "case_id", "bank_id"),
        enum_check("hardware", KeyHardware),
        CheckConstraint("cap_fen > 0 AND max_collections > 0", name="cap_positive"),
        CheckConstraint("collected_fen >= 0 AND collected_fen <= cap_fen", name="within_cap"),
        CheckConstraint("collected_count >= 0 AND collected_count <= max_collections", name="within_count"),
        CheckConstraint("expires_at > not_before_at", name="expires_later"),
        CheckConstraint("(revoked_at IS NULL) = (revoked_by IS NULL)", name="revocation_whole"),
        Index(None, "case_id"),
        Index(None, "bank_id", "expires_at"),
    )

    jti: Mapped[str] = mapped_column(Key(64), primary_key=True)
    request_id: Mapped[UUID] = mapped_column(ForeignKey("authorisation_requests.id"))
    case_id: Mapped[UUID] = mapped_column(ForeignKey("cases.id"))
    bank_id: Mapped[UUID] = mapped_column(ForeignKey("banks.id"))
    branch_id: Mapped[UUID] = mapped_column(ForeignKey("branches.id"))
    token: Mapped[str] = mapped_column(Text)
    kid: Mapped[str] = mapped_column(ForeignKey("bank_keys.kid"))
    hardware: Mapped[KeyHardware] = mapped_column(Choice(KeyHardware))
    cap_fen: Mapped[int] = mapped_column(Money)
    max_collections: Mapped[int] = mapped_column(Integer)
    collected_fen: Mapped[int] = mapped_column(Money)
    collected_count: Mapped[int] = mapped_column(Integer)
    devices: Mapped[list[str]] = mapped_column(CanonicalJson)
    instruments: Mapped[list[str]] = mapped_column(CanonicalJson)
    account_digest: Mapped[str] = mapped_column(Key(64))
    payer: Mapped[Any | None] = mapped_column(CanonicalJson)
    not_before_at: Mapped[datetime] = mapped_column(Instant)
    expires_at: Mapped[datetime] = mapped_column(Instant)
    granted_by: Mapped[UUID] = mapped_column(ForeignKey("staff.id"))
    granted_at: Mapped[datetime] = mapped_column(Instant)
    revoked_at: Mapped[datetime | None] = mapped_column(Instant)
    revoked_by: Mapped[UUID | None] = mapped_column(ForeignKey("staff.id"))
    log_entry_id: Mapped[UUID] = mapped_column(ForeignKey("log_entries.id"))


class ReceiptBookRow(Base):
    """A sealed book of printed receipts; its serial and ordinals make the numbers (F11)."""

    __tablename__ = "receipt_books"
    __table_args__ = (
        UniqueConstraint("serial"),
        CheckConstraint("first_number >= 1 AND last_number >= first_number AND last_number - first_number < 500", name="range_bounded"),
        Index(None, "bank_id", "id"),
    )

    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    serial: Mapped[str] = mapped_column(Key(24))
    bank_id: Mapped[UUID] = mapped_column(ForeignKey("banks.id"))
    branch_id: Mapped[UUID] = mapped_column(ForeignKey("branches.id"))
    first_number: Mapped[int] = mapped_column(Integer)
    last_number: Mapped[int] = mapped_column(Integer)
    held_by: Mapped[UUID] = mapped_column(ForeignKey("staff.id"))
    signed_out_by: Mapped[UUID] = mapped_column(ForeignKey("staff.id"))
    signed_out_at: Mapped[datetime] = mapped_column(Instant)
    signed_in_by: Mapped[UUID | None] = mapped_column(ForeignKey("staff.id"))
    signed_in_at: Mapped[datetime | None] = mapped_column(Instant)


class ReceiptNumberRow(Base):
    """One printed number, for ever. `code` is printed beside it, so that only who holds the paper can ask about it."""

    __tablename__ = "receipt_numbers"
    __table_args__ = (
        UniqueConstraint("book_id", "ordinal"),
        enum_check("status", NumberStatus),
        CheckConstraint("(status = 'leased' OR status = 'suspended') = (settled_at IS NULL)", name="settled_has_time"),
        CheckConstraint("status <> 'void' OR void_reason IS NOT NULL", name="void_has_reason"),
        Index(None, "device", "status", "ordinal"),
    )

    number: Mapped[str] = mapped_column(Key(40), primary_key=True)
    book_id: Mapped[UUID] = mapped_column(ForeignKey("receipt_books.id"))
    ordinal: Mapped[int] = mapped_column(Integer)
    bank_id: Mapped[UUID] = mapped_column(ForeignKey("banks.id"))
    device: Mapped[str] = mapped_column(ForeignKey("devices.kid"))
    code: Mapped[str] = mapped_column(Key(32))
    leased_at: Mapped[datetime] = mapped_column(Instant)
    status: Mapped[NumberStatus] = mapped_column(Choice(NumberStatus))
    settled_at: Mapped[datetime | None] = mapped_column(Instant)
    void_reason: Mapped[str | None] = mapped_column(Key(48))
    void_manifest_id: Mapped[UUID | None] = mapped_column(ForeignKey("manifests.id"))


class CollectionRow(Base):
    """Money or property taken, append-only. Receipt and transfer of the same amount exist in the same commit (CASH-05, CASH-07)."""

    __tablename__ = "collections"
    __table_args__ = (
        UniqueConstraint("id", "amount_fen"),
        UniqueConstraint("receipt_number"),
        UniqueConstraint("exception_number"),
        UniqueConstraint("manifest_id"),
        UniqueConstraint("transfer_id"),
        enum_check("instrument", Instrument),
        enum_check("payer", PayerRelation),
        enum_check("standing", Standing),
        CheckConstraint("amount_fen > 0", name="amount_positive"),
        CheckConstraint("authorisation_jti IS NOT NULL OR exception_number IS NOT NULL", name="authorised_or_exception"),
        CheckConstraint("collector_id <> cosigner_id", name="two_people"),
        ForeignKeyConstraint(["authorisation_jti", "case_id", "bank_id"], ["authorisations.jti", "authorisations.case_id", "authorisations.bank_id"]),
        ForeignKeyConstraint(
            ["receipt_number", "id", "amount_fen"], ["receipts.number", "receipts.collection_id", "receipts.amount_fen"],
            deferrable=True, initially="DEFERRED", use_alter=True,
        ),
        ForeignKeyConstraint(
            ["transfer_id", "amount_fen"], ["transfers.id", "transfers.amount_fen"], deferrable=True, initially="DEFERRED", use_alter=True
        ),
        Index(None, "bank_id", "id"),
        Index(None, "case_id"),
        Index(None, "visit_id"),
        Index(None, "collector_id", "collected_at"),
        Index(None, "cosigner_id"),
        Index(None, "device", "previous_digest"),
    )

    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    case_id: Mapped[UUID] = mapped_column(ForeignKey("cases.id"))
    visit_id: Mapped[UUID | None] = mapped_column(ForeignKey("visits.id"))
    bank_id: Mapped[UUID] = mapped_column(ForeignKey("banks.id"))
    branch_id: Mapped[UUID] = mapped_column(ForeignKey("branches.id"))
    authorisation_jti: Mapped[str | None] = mapped_column(Key(64))
    exception_number: Mapped[str | None] = mapped_column(Key(40))
    receipt_number: Mapped[str] = mapped_column(Key(40))
    transfer_id: Mapped[UUID] = mapped_column(Uuid)
    amount_fen: Mapped[int] = mapped_column(Money)
    instrument: Mapped[Instrument] = mapped_column(Choice(Instrument))
    payer: Mapped[PayerRelation] = mapped_column(Choice(PayerRelation))
    manifest_id: Mapped[UUID] = mapped_column(ForeignKey("manifests.id"))
    device: Mapped[str] = mapped_column(ForeignKey("devices.kid"))
    previous_digest: Mapped[str] = mapped_column(Key(64))
    collector_id: Mapped[UUID] = mapped_column(ForeignKey("staff.id"))
    cosigner_id: Mapped[UUID] = mapped_column(ForeignKey("staff.id"))
    collected_at: Mapped[datetime] = mapped_column(Instant)
    recorded_at: Mapped[datetime] = mapped_column(Instant)
    deposit_due_at: Mapped[datetime] = mapped_column(Instant)
    standing: Mapped[Standing] = mapped_column(Choice(Standing))
    policy_version: Mapped[str] = mapped_column(Key(64))


class ReceiptRow(Base):
    """What the payer holds. Under its printed number, or under an exception number when that number could not be used."""

    __tablename__ = "receipts"
    __table_args__ = (
        UniqueConstraint("collection_id"),
        UniqueConstraint("leased_number"),
        UniqueConstraint("number", "collection_id", "amount_fen"),
        CheckConstraint("leased_number IS NULL OR leased_number = number", name="number_is_leased"),
        CheckConstraint("amount_fen > 0", name="amount_positive"),
        ForeignKeyConstraint(
            ["collection_id", "amount_fen"], ["collections.id", "collections.amount_fen"], deferrable=True, initially="DEFERRED", use_alter=True
        ),
        Index(None, "stated_number"),
    )

    number: Mapped[str] = mapped_column(Key(40), primary_key=True)
    leased_number: Mapped[str | None] = mapped_column(ForeignKey("receipt_numbers.number"))
    stated_number: Mapped[str] = mapped_column(Key(64))
    collection_id: Mapped[UUID] = mapped_column(Uuid)
    amount_fen: Mapped[int] = mapped_column(Money)
    capitals: Mapped[str] = mapped_column(String(120))
    digest: Mapped[str] = mapped_column(Key(64))
    log_entry_id: Mapped[UUID] = mapped_column(ForeignKey("log_entries.id"))


class CashExceptionRow(Base):
    """Money taken without authority: both collectors take no more until the agency and the bank have each resolved it."""

    __tablename__ = "cash_exceptions"
    __table_args__ = (
        CheckConstraint("(agency_resolved_at IS NULL) = (agency_resolved_by IS NULL)", name="agency_whole"),
        CheckConstraint("(bank_resolved_at IS NULL) = (bank_resolved_by IS NULL)", name="bank_whole"),
        UniqueConstraint("collection_id"),
        Index(None, "collector_id"),
        Index(None, "cosigner_id"),
        Index(None, "bank_id", "number"),
    )

    number: Mapped[str] = mapped_column(Key(40), primary_key=True)
    collection_id: Mapped[UUID] = mapped_column(ForeignKey("collections.id"))
    bank_id: Mapped[UUID] = mapped_column(ForeignKey("banks.id"))
    branch_id: Mapped[UUID] = mapped_column(ForeignKey("branches.id"))
    collector_id: Mapped[UUID] = mapped_column(ForeignKey("staff.id"))
    cosigner_id: Mapped[UUID] = mapped_column(ForeignKey("staff.id"))
    opened_at: Mapped[datetime] = mapped_column(Instant)
    agency_resolved_at: Mapped[datetime | None] = mapped_column(Instant)
    agency_resolved_by: Mapped[UUID | None] = mapped_column(ForeignKey("staff.id"))
    bank_resolved_at: Mapped[datetime | None] = mapped_column(Instant)
    bank_resolved_by: Mapped[UUID | None] = mapped_column(ForeignKey("staff.id"))
