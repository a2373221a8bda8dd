"""Rows of the ledger and of custody: accounts, transfers, hand-overs, deposits, statements, variances. The triggers of the migration guard them."""

from datetime import date, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, ForeignKeyConstraint, Index, Integer, String, Text, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from backend.cash.model import (
    AccountKind,
    Channel,
    DepositStatus,
    HandoverStatus,
    TransferKind,
    VarianceKind,
    VarianceStatus,
)
from backend.db.base import Base, CanonicalJson, Choice, Instant, Key, Money, Uuid, enum_check
from backend.exhibits.model import Standing


class AccountRow(Base):
    """One named account. Its balance moves only with a posting of a transfer; debtors' is never above, all others never below zero."""

    __tablename__ = "accounts"
    __table_args__ = (
        UniqueConstraint("kind", "owner", "bank_id"),
        enum_check("kind", AccountKind),
        CheckConstraint("(kind = 'debtor' AND balance_fen <= 0) OR (kind <> 'debtor' AND balance_fen >= 0)", name="right_side"),
        CheckConstraint("currency = 'CNY'", name="one_currency"),
        CheckConstraint("posting_count >= 0", name="count_positive"),
        Index(None, "bank_id", "kind"),
    )

    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    kind: Mapped[AccountKind] = mapped_column(Choice(AccountKind))
    owner: Mapped[str] = mapped_column(Key(64))
    bank_id: Mapped[UUID] = mapped_column(ForeignKey("banks.id"))
    currency: Mapped[str] = mapped_column(Key(3))
    balance_fen: Mapped[int] = mapped_column(Money)
    posting_count: Mapped[int] = mapped_column(Integer)


class TransferRow(Base):
    """One positive movement between two accounts, append-only. A correction is another one, by two people, with its reason."""

    __tablename__ = "transfers"
    __table_args__ = (
        UniqueConstraint("reverses_id"),
        UniqueConstraint("id", "amount_fen"),
        enum_check("kind", TransferKind),
        CheckConstraint("amount_fen > 0", name="amount_positive"),
        CheckConstraint("debit_id <> credit_id", name="two_accounts"),
        CheckConstraint(
            "(kind = 'reversal') = (reverses_id IS NOT NULL AND reason IS NOT NULL AND approved_by IS NOT NULL)", name="reversal_whole"
        ),
        CheckConstraint("approved_by <> made_by", name="two_people"),
        CheckConstraint("kind <> 'collection' OR (collection_id IS NOT NULL AND case_id IS NOT NULL)", name="collection_named"),
        ForeignKeyConstraint(
            ["collection_id", "amount_fen"], ["collections.id", "collections.amount_fen"], deferrable=True, initially="DEFERRED", use_alter=True
        ),
        Index(None, "bank_id", "at"),
        Index(None, "collection_id"),
        Index(
            "uq_transfers_taken_collection_id", "collection_id", unique=True,
            postgresql_where=text("kind = 'collection'"), sqlite_where=text("kind = 'collection'"),
        ),
    )

    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    debit_id: Mapped[UUID] = mapped_column(ForeignKey("accounts.id"))
    credit_id: Mapped[UUID] = mapped_column(ForeignKey("accounts.id"))
    amount_fen: Mapped[int] = mapped_column(Money)
    kind: Mapped[TransferKind] = mapped_column(Choice(TransferKind))
    bank_id: Mapped[UUID] = mapped_column(ForeignKey("banks.id"))
    case_id: Mapped[UUID | None] = mapped_column(ForeignKey("cases.id"))
    collection_id: Mapped[UUID | None] = mapped_column(Uuid)
    at: Mapped[datetime] = mapped_column(Instant)
    made_by: Mapped[UUID] = mapped_column(ForeignKey("staff.id"))
    approved_by: Mapped[UUID | None] = mapped_column(ForeignKey("staff.id"))
    reverses_id: Mapped[UUID | None] = mapped_column(ForeignKey("transfers.id"))
    reason: Mapped[str | None] = mapped_column(String(400))
    log_entry_id: Mapped[UUID] = mapped_column(ForeignKey("log_entries.id"))


class PostingRow(Base):
    """One side of a transfer on one account, numbered without gaps, with the balance after it. Written by the transfer's trigger alone."""

    __tablename__ = "postings"
    __table_args__ = (UniqueConstraint("transfer_id", "account_id"), CheckConstraint("amount_fen <> 0", name="amount_moves"))

    account_id: Mapped[UUID] = mapped_column(ForeignKey("accounts.id"), primary_key=True)
    ordinal: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    transfer_id: Mapped[UUID] = mapped_column(ForeignKey("transfers.id"))
    amount_fen: Mapped[int] = mapped_column(Money)
    balance_fen: Mapped[int] = mapped_column(Money)


class HandoverRow(Base):
    """Custody passed from one employee to another, with both signatures where both have phones."""

    __tablename__ = "handovers"
    __table_args__ = (
        enum_check("status", HandoverStatus),
        CheckConstraint("amount_fen > 0", name="amount_positive"),
        CheckConstraint("giver_id <> taker_id", name="two_people"),
        CheckConstraint("(status = 'posted') = (transfer_id IS NOT NULL)", name="posted_has_transfer"),
        UniqueConstraint("transfer_id"),
        Index(None, "giver_id", "status"),
        Index(None, "taker_id", "status"),
    )

    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    bank_id: Mapped[UUID] = mapped_column(ForeignKey("banks.id"))
    giver_id: Mapped[UUID] = mapped_column(ForeignKey("staff.id"))
    taker_id: Mapped[UUID] = mapped_column(ForeignKey("staff.id"))
    amount_fen: Mapped[int] = mapped_column(Money)
    handed_at: Mapped[datetime] = mapped_column(Instant)
    giver_token: Mapped[str] = mapped_column(Text)
    taker_token: Mapped[str | None] = mapped_column(Text)
    taken_at: Mapped[datetime | None] = mapped_column(Instant)
    status: Mapped[HandoverStatus] = mapped_column(Choice(HandoverStatus))
    recorded_at: Mapped[datetime] = mapped_column(Instant)
    transfer_id: Mapped[UUID | None] = mapped_column(ForeignKey("transfers.id"))


class DepositRow(Base):
    """One slip. `client_id` is the id that the client made; the same id with the same body is the same deposit for ever."""

    __tablename__ = "deposits"
    __table_args__ = (
        enum_check("channel", Channel),
        enum_check("status", DepositStatus),
        enum_check("standing", Standing),
        CheckConstraint("amount_fen >= 0", name="amount_not_negative"),
        Index(None, "bank_id", "status", "id"),
        Index(None, "depositor_id", "status"),
        Index(None, "bank_id", "account_digest", "slip_reference"),
        Index("uq_deposits_transfer_id", "transfer_id", unique=True),
    )

    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    digest: Mapped[str] = mapped_column(Key(64))
    bank_id: Mapped[UUID] = mapped_column(ForeignKey("banks.id"))
    branch_id: Mapped[UUID | None] = mapped_column(ForeignKey("branches.id"))
    account_digest: Mapped[str] = mapped_column(Key(64))
    bank_hours_id: Mapped[UUID | None] = mapped_column(ForeignKey("bank_hours.id"))
    channel: Mapped[Channel] = mapped_column(Choice(Channel))
    slip_reference: Mapped[str] = mapped_column(Key(64))
    slip_sha256: Mapped[str | None] = mapped_column(Key(64))
    amount_fen: Mapped[int] = mapped_column(Money)
    content: Mapped[Any] = mapped_column(CanonicalJson)
    depositor_id: Mapped[UUID] = mapped_column(ForeignKey("staff.id"))
    deposited_at: Mapped[datetime] = mapped_column(Instant)
    recorded_at: Mapped[datetime] = mapped_column(Instant)
    status: Mapped[DepositStatus] = mapped_column(Choice(DepositStatus))
    standing: Mapped[Standing] = mapped_column(Choice(Standing))
    transfer_id: Mapped[UUID | None] = mapped_column(ForeignKey("transfers.id"))
    policy_version: Mapped[str] = mapped_column(Key(64))


class DepositLineRow(Base):
    """One whole collection inside one deposit: no collection is paid in twice, none in part (CASH-09)."""

    __tablename__ = "deposit_lines"
    __table_args__ = (
        ForeignKeyConstraint(["collection_id", "amount_fen"], ["collections.id", "collections.amount_fen"]),
        Index(
            "uq_deposit_lines_live_collection_id", "collection_id", unique=True,
            postgresql_where=text("reversed_at IS NULL"), sqlite_where=text("reversed_at IS NULL"),
        ),
    )

    deposit_id: Mapped[UUID] = mapped_column(ForeignKey("deposits.id"), primary_key=True)
    collection_id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    amount_fen: Mapped[int] = mapped_column(Money)
    reversed_at: Mapped[datetime | None] = mapped_column(Instant)


class VarianceRow(Base):
    """An amount that is not what it should be, with an owner, open until resolved by another person."""

    __tablename__ = "variances"
    __table_args__ = (
        enum_check("kind", VarianceKind),
        enum_check("status", VarianceStatus),
        CheckConstraint("amount_fen > 0", name="amount_positive"),
        CheckConstraint("(status = 'resolved') = (resolved_at IS NOT NULL)", name="resolved_has_time"),
        CheckConstraint("(resolved_at IS NULL) = (resolved_by IS NULL) AND (resolved_at IS NULL) = (resolution IS NULL)", name="resolution_whole"),
        CheckConstraint("resolved_by <> owner_id", name="two_people"),
        Index(None, "bank_id", "id"),
        Index(None, "owner_id"),
        Index(None, "deposit_id"),
        Index(None, "statement_line_id"),
    )

    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    bank_id: Mapped[UUID] = mapped_column(ForeignKey("banks.id"))
    kind: Mapped[VarianceKind] = mapped_column(Choice(VarianceKind))
    amount_fen: Mapped[int] = mapped_column(Money)
    owner_id: Mapped[UUID] = mapped_column(ForeignKey("staff.id"))
    deposit_id: Mapped[UUID | None] = mapped_column(ForeignKey("deposits.id"))
    statement_line_id: Mapped[UUID | None] = mapped_column(ForeignKey("statement_lines.id"))
    transfer_id: Mapped[UUID | None] = mapped_column(ForeignKey("transfers.id"))
    certificate: Mapped[str | None] = mapped_column(Key(64))
    opened_at: Mapped[datetime] = mapped_column(Instant)
    status: Mapped[VarianceStatus] = mapped_column(Choice(VarianceStatus), default=VarianceStatus.OPEN)
    resolved_at: Mapped[datetime | None] = mapped_column(Instant)
    resolved_by: Mapped[UUID | None] = mapped_column(ForeignKey("staff.id"))
    resolution: Mapped[str | None] = mapped_column(Key(48))


class StatementRow(Base):
    """One imported statement file of a bank. The same file twice is one import."""

    __tablename__ = "statements"
    __table_args__ = (UniqueConstraint("bank_id", "file_sha256"),)

    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    bank_id: Mapped[UUID] = mapped_column(ForeignKey("banks.id"))
    file_sha256: Mapped[str] = mapped_column(Key(64))
    imported_by: Mapped[UUID] = mapped_column(ForeignKey("staff.id"))
    imported_at: Mapped[datetime] = mapped_column(Instant)
    line_count: Mapped[int] = mapped_column(Integer)
    total_fen: Mapped[int] = mapped_column(Money)


class StatementLineRow(Base):
    """One credit. `line_key` tells it from an equal one, so that overlapping statements add nothing."""

    __tablename__ = "statement_lines"
    __table_args__ = (
        UniqueConstraint("bank_id", "line_key"),
        UniqueConstraint("deposit_id"),
        CheckConstraint("amount_fen > 0", name="amount_positive"),
        Index(None, "bank_id", "account_digest", "reference"),
        Index(None, "statement_id"),
        Index("uq_statement_lines_transfer_id", "transfer_id", unique=True),
        Index(
            "ix_statement_lines_unmatched_bank_id", "bank_id", "id",
            postgresql_where=text("deposit_id IS NULL"), sqlite_where=text("deposit_id IS NULL"),
        ),
    )

    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    statement_id: Mapped[UUID] = mapped_column(ForeignKey("statements.id"))
    bank_id: Mapped[UUID] = mapped_column(ForeignKey("banks.id"))
    line_key: Mapped[str] = mapped_column(Key(64))
    account_digest: Mapped[str] = mapped_column(Key(64))
    booked_on: Mapped[date]
    reference: Mapped[str] = mapped_column(Key(64))
    amount_fen: Mapped[int] = mapped_column(Money)
    deposit_id: Mapped[UUID | None] = mapped_column(ForeignKey("deposits.id"))
    transfer_id: Mapped[UUID | None] = mapped_column(ForeignKey("transfers.id"))


class ReconciliationRow(Base):
    """One close of the books of a bank, append-only: what was receipted, and where every fen of it is."""

    __tablename__ = "reconciliations"
    __table_args__ = (
        CheckConstraint("receipted_fen = custody_fen + in_transit_fen + designated_fen + suspense_fen", name="books_equal"),
        Index(None, "bank_id", "id"),
    )

    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    bank_id: Mapped[UUID] = mapped_column(ForeignKey("banks.id"))
    closed_at: Mapped[datetime] = mapped_column(Instant)
    closed_by: Mapped[UUID] = mapped_column(ForeignKey("staff.id"))
    receipt_count: Mapped[int] = mapped_column(Integer)
    receipted_fen: Mapped[int] = mapped_column(Money)
    custody_fen: Mapped[int] = mapped_column(Money)
    in_transit_fen: Mapped[int] = mapped_column(Money)
    designated_fen: Mapped[int] = mapped_column(Money)
    suspense_fen: Mapped[int] = mapped_column(Money)
    open_variance_count: Mapped[int] = mapped_column(Integer)


class CorrectionRow(Base):
    """A proposed reversal: somebody else decides (design decision 3)."""

    __tablename__ = "corrections"
    __table_args__ = (
        UniqueConstraint("reversal_id"),
        CheckConstraint("decided_by <> proposed_by", name="two_people"),
        CheckConstraint("(decided_at IS NULL) = (decided_by IS NULL)", name="decision_whole"),
        Index(None, "bank_id", "id"),
        Index(None, "transfer_id"),
    )

    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    transfer_id: Mapped[UUID] = mapped_column(ForeignKey("transfers.id"))
    bank_id: Mapped[UUID] = mapped_column(ForeignKey("banks.id"))
    reason: Mapped[str] = mapped_column(String(400))
    proposed_by: Mapped[UUID] = mapped_column(ForeignKey("staff.id"))
    proposed_at: Mapped[datetime] = mapped_column(Instant)
    is_approved: Mapped[bool | None]
    decided_by: Mapped[UUID | None] = mapped_column(ForeignKey("staff.id"))
    decided_at: Mapped[datetime | None] = mapped_column(Instant)
    reversal_id: Mapped[UUID | None] = mapped_column(ForeignKey("transfers.id"))
