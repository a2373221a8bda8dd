"""Rows of the audit chain, the breaches stored with facts, and the transparency log."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, ForeignKeyConstraint, Index, Integer, LargeBinary, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from backend.db.base import Base, CanonicalJson, Instant, Key, Uuid


class AuditHeadRow(Base):
    """The tip of one subject's chain; its row lock orders the appends."""

    __tablename__ = "audit_heads"

    subject: Mapped[str] = mapped_column(Key(120), primary_key=True)
    seq: Mapped[int] = mapped_column(BigInteger)
    digest: Mapped[bytes] = mapped_column(LargeBinary)


class AuditEntryRow(Base):
    """One recorded act: append-only, each hashed over the one before it in its subject's chain."""

    __tablename__ = "audit_entries"
    __table_args__ = (UniqueConstraint("subject", "seq"), CheckConstraint("seq > 0", name="seq_positive"), Index("ix_audit_entries_at", "at"))

    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    subject: Mapped[str] = mapped_column(Key(120))
    seq: Mapped[int] = mapped_column(BigInteger)
    tag: Mapped[str] = mapped_column(Key(64))
    actor_id: Mapped[UUID | None] = mapped_column(Uuid)
    at: Mapped[datetime] = mapped_column(Instant)
    policy_version: Mapped[str | None] = mapped_column(Key(64))
    details: Mapped[Any] = mapped_column(CanonicalJson)
    previous: Mapped[bytes] = mapped_column(LargeBinary)
    digest: Mapped[bytes] = mapped_column(LargeBinary)


class AuditReadRow(Base):
    """Which person's data an audited read showed, so that *who read this case* is one query (SEC-01, F20)."""

    __tablename__ = "audit_reads"

    entry_id: Mapped[UUID] = mapped_column(Uuid, ForeignKey("audit_entries.id"), primary_key=True)
    subject_id: Mapped[UUID] = mapped_column(Uuid, primary_key=True, index=True)


class BreachRow(Base):
    """A rule that a fact broke: stored beside the fact, never in its way (F23)."""

    __tablename__ = "breaches"
    __table_args__ = (Index("ix_breaches_subject", "subject"),)

    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    subject: Mapped[str] = mapped_column(Key(120))
    rule: Mapped[str] = mapped_column(Key(16))
    code: Mapped[str] = mapped_column(Key(80))
    expected: Mapped[str] = mapped_column(String(400))
    got: Mapped[str] = mapped_column(String(400))
    judged_at: Mapped[datetime] = mapped_column(Instant)
    policy_version: Mapped[str | None] = mapped_column(Key(64))


class LogHeadRow(Base):
    """The one row whose lock makes a sequencer: the log's size."""

    __tablename__ = "log_head"
    __table_args__ = (CheckConstraint("id = 1", name="single"),)

    id: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    size: Mapped[int] = mapped_column(BigInteger)


class LogEntryRow(Base):
    """One entry of the transparency log. `index` is given by the sequencer, once; everything else never changes."""

    __tablename__ = "log_entries"
    __table_args__ = (CheckConstraint("(tree_index IS NULL) = (leaf_hash IS NULL)", name="indexed_is_hashed"),)

    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    entry_type: Mapped[str] = mapped_column(Key(40))
    payload_sha256: Mapped[str] = mapped_column(Key(64))
    salt: Mapped[bytes] = mapped_column(LargeBinary)
    salted_sha256: Mapped[str] = mapped_column(Key(64))
    at: Mapped[datetime] = mapped_column(Instant)
    tree_index: Mapped[int | None] = mapped_column(BigInteger, unique=True)
    leaf_hash: Mapped[bytes | None] = mapped_column(LargeBinary)


class LogNodeRow(Base):
    """The hash of one complete subtree of 2^level leaves; level 0 is the leaves."""

    __tablename__ = "log_nodes"

    level: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    position: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    hash: Mapped[bytes] = mapped_column(LargeBinary)


class LogCheckpointRow(Base):
    """A signed head of the log."""

    __tablename__ = "log_checkpoints"
    __table_args__ = (Index("ux_log_checkpoints_size_root", "size", "root", unique=True),)

    size: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    root: Mapped[bytes] = mapped_column(LargeBinary)
    text: Mapped[str] = mapped_column(Text)
    at: Mapped[datetime] = mapped_column(Instant)


class LogWitnessRow(Base):
    """A bank's witness under the name of its note key. A key stands under one name for ever."""

    __tablename__ = "log_witnesses"
    __table_args__ = (UniqueConstraint("key"), CheckConstraint("length(key) = 32", name="key_ed25519"))

    name: Mapped[str] = mapped_column(Key(80), primary_key=True)
    bank_id: Mapped[UUID] = mapped_column(Uuid, ForeignKey("banks.id"))
    key: Mapped[bytes] = mapped_column(LargeBinary)
    enrolled_by: Mapped[UUID] = mapped_column(Uuid, ForeignKey("staff.id"))
    enrolled_at: Mapped[datetime] = mapped_column(Instant)
    revoked_at: Mapped[datetime | None] = mapped_column(Instant)


class LogCosignatureRow(Base):
    """A witness's timestamped signature over one checkpoint of ours; a trigger lets none step back. Append-only."""

    __tablename__ = "log_cosignatures"
    __table_args__ = (
        ForeignKeyConstraint(["size", "root"], ["log_checkpoints.size", "log_checkpoints.root"]),
        CheckConstraint("length(cosignature) = 72", name="cosignature_whole"),
    )

    witness: Mapped[str] = mapped_column(Key(80), ForeignKey("log_witnesses.name"), primary_key=True)
    size: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    root: Mapped[bytes] = mapped_column(LargeBinary)
    cosignature: Mapped[bytes] = mapped_column(LargeBinary)
    received_at: Mapped[datetime] = mapped_column(Instant)


class LogStampRow(Base):
    """An RFC 3161 time-stamp over one checkpoint's text, with the nonce that it was asked with. Append-only."""

    __tablename__ = "log_stamps"
    __table_args__ = (
        ForeignKeyConstraint(["size", "root"], ["log_checkpoints.size", "log_checkpoints.root"]),
        CheckConstraint("length(nonce) = 16 AND length(response) BETWEEN 1 AND 64000", name="stamp_whole"),
    )

    size: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    root: Mapped[bytes] = mapped_column(LargeBinary)
    nonce: Mapped[str] = mapped_column(Key(16))                 # Lower-case hex of 8 bytes.
    response: Mapped[bytes] = mapped_column(LargeBinary)        # The DER of the whole `TimeStampResp`.
    stamped_at: Mapped[datetime] = mapped_column(Instant)       # What the authority says.
    received_at: Mapped[datetime] = mapped_column(Instant)


class RowCommitmentRow(Base):
    """What one version of a business row said, by digest; the log entry speaks for all rows of that commit together."""

    __tablename__ = "row_commitments"
    __table_args__ = (
        UniqueConstraint("table_name", "row_key", "version"), CheckConstraint("version > 0", name="version_positive"), Index(None, "log_entry_id"),
    )

    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    table_name: Mapped[str] = mapped_column(Key(64))
    row_key: Mapped[str] = mapped_column(Key(200))
    version: Mapped[int] = mapped_column(BigInteger)
    digest: Mapped[str] = mapped_column(Key(64))
    log_entry_id: Mapped[UUID] = mapped_column(Uuid, ForeignKey("log_entries.id"))


class AuditAnchorRow(Base):
    """Heads of the audit chains as they were logged: what cuts a chain's end cannot also cut the log's copy."""

    __tablename__ = "audit_anchors"

    log_entry_id: Mapped[UUID] = mapped_column(Uuid, ForeignKey("log_entries.id"), primary_key=True)
    heads: Mapped[Any] = mapped_column(CanonicalJson)
    at: Mapped[datetime] = mapped_column(Instant)
