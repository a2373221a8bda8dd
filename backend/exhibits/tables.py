"""Rows of what was captured. Payloads, signatures, findings, receipts, copies and exports are append-only by trigger (EVD-09).

`visit_id` bears no foreign key: visits are a slice above this one and made by a later revision.
"""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Index, Integer, LargeBinary, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from backend.db.base import Base, CanonicalJson, Choice, Instant, Key, SealedBytes, SealedValue, Uuid, enum_check
from backend.exhibits.custody_tables import ItemMaskRow as ItemMaskRow
from backend.exhibits.custody_tables import ItemReviewRow as ItemReviewRow
from backend.exhibits.custody_tables import PackRow as PackRow
from backend.exhibits.model import ItemState, LinkRole, ManifestState, ReceiptKind, Standing, UploadState, Verdict
from backend.exhibits.recording_tables import RecordingRow as RecordingRow
from evidence.facts import Kind, RefusalReason
from evidence.manifest import Role
from evidence.model import Grade


class ManifestRow(Base):
    """One authentic statement. Only `state`, `standing` and `completed_at` ever change, and `cosign_due_at` while it is waited for."""

    __tablename__ = "manifests"
    __table_args__ = (
        UniqueConstraint("digest"),
        UniqueConstraint("device", "seq", "digest"),
        enum_check("kind", Kind),
        enum_check("state", ManifestState),
        enum_check("standing", Standing),
        CheckConstraint("(state = 'complete') = (completed_at IS NOT NULL)", name="complete_has_time"),
        CheckConstraint("cosigner_id <> staff_id", name="two_people"),
        CheckConstraint("cosigner_device <> device", name="two_devices"),
        CheckConstraint("seq >= 1", name="seq_positive"),
        Index(None, "visit_id", "id"),
        Index(None, "case_id"),
        Index(None, "bank_id", "id"),
        Index(None, "staff_id", "captured_at"),
        Index(None, "cosigner_id"),
        Index(None, "branch_id", "standing"),
        Index(None, "state", "cosign_due_at"),
    )

    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    digest: Mapped[str] = mapped_column(Key(64))
    payload: Mapped[bytes] = mapped_column(LargeBinary)
    kind: Mapped[Kind] = mapped_column(Choice(Kind))
    visit_id: Mapped[UUID | None] = mapped_column(Uuid)
    case_id: Mapped[UUID | None] = mapped_column(Uuid, ForeignKey("cases.id"))
    bank_id: Mapped[UUID | None] = mapped_column(Uuid, ForeignKey("banks.id"))
    branch_id: Mapped[UUID | None] = mapped_column(Uuid, ForeignKey("branches.id"))
    seal_subject: Mapped[UUID] = mapped_column(Uuid, ForeignKey("case_keys.subject_id"))
    device: Mapped[str] = mapped_column(Key(43), ForeignKey("devices.kid"))
    staff_id: Mapped[UUID] = mapped_column(Uuid, ForeignKey("staff.id"))
    cosigner_device: Mapped[str | None] = mapped_column(Key(43), ForeignKey("devices.kid"))
    cosigner_id: Mapped[UUID | None] = mapped_column(Uuid, ForeignKey("staff.id"))
    seq: Mapped[int] = mapped_column(BigInteger)
    prev: Mapped[str] = mapped_column(Key(64))
    captured_at: Mapped[datetime] = mapped_column(Instant)
    captured_lower_at: Mapped[datetime | None] = mapped_column(Instant)
    captured_upper_at: Mapped[datetime] = mapped_column(Instant)
    judged_at: Mapped[datetime] = mapped_column(Instant)
    received_at: Mapped[datetime] = mapped_column(Instant)
    policy_version: Mapped[str] = mapped_column(Key(64))
    log_entry_id: Mapped[UUID] = mapped_column(Uuid, ForeignKey("log_entries.id"))
    state: Mapped[ManifestState] = mapped_column(Choice(ManifestState))
    standing: Mapped[Standing] = mapped_column(Choice(Standing))
    completed_at: Mapped[datetime | None] = mapped_column(Instant)
    cosign_due_at: Mapped[datetime | None] = mapped_column(Instant)


class CosignRefusalRow(Base):
    """A partner's signed refusal to sign a statement, found by the digest of what was refused, whichever of the two arrives first."""

    __tablename__ = "cosign_refusals"
    __table_args__ = (Index(None, "refused_sha256"), enum_check("reason", RefusalReason))

    manifest_id: Mapped[UUID] = mapped_column(Uuid, ForeignKey("manifests.id"), primary_key=True)
    refused_sha256: Mapped[str] = mapped_column(Key(64))
    refused_by: Mapped[UUID] = mapped_column(Uuid, ForeignKey("staff.id"))
    reason: Mapped[RefusalReason] = mapped_column(Choice(RefusalReason))
    at: Mapped[datetime] = mapped_column(Instant)


class SignatureRow(Base):
    """One verified signature over a payload, in the two texts that were signed and sent."""

    __tablename__ = "manifest_signatures"
    __table_args__ = (enum_check("role", LinkRole), UniqueConstraint("manifest_id", "role"))

    manifest_id: Mapped[UUID] = mapped_column(Uuid, ForeignKey("manifests.id"), primary_key=True)
    kid: Mapped[str] = mapped_column(Key(43), ForeignKey("devices.kid"), primary_key=True)
    role: Mapped[LinkRole] = mapped_column(Choice(LinkRole))
    protected: Mapped[str] = mapped_column(Text)
    signature: Mapped[str] = mapped_column(Key(86))
    signed_at: Mapped[datetime] = mapped_column(Instant)
    received_at: Mapped[datetime] = mapped_column(Instant)
    log_entry_id: Mapped[UUID] = mapped_column(Uuid, ForeignKey("log_entries.id"))


class ChainLinkRow(Base):
    """One link of a device's own chain: a payload that it captured or witnessed. Two digests under one number are a fork."""

    __tablename__ = "chain_links"
    __table_args__ = (enum_check("role", LinkRole), UniqueConstraint("device", "seq", "digest"), Index(None, "manifest_id"))

    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    device: Mapped[str] = mapped_column(Key(43), ForeignKey("devices.kid"))
    seq: Mapped[int] = mapped_column(BigInteger)
    digest: Mapped[str] = mapped_column(Key(64))
    prev: Mapped[str] = mapped_column(Key(64))
    role: Mapped[LinkRole] = mapped_column(Choice(LinkRole))
    manifest_id: Mapped[UUID] = mapped_column(Uuid, ForeignKey("manifests.id"))
    received_at: Mapped[datetime] = mapped_column(Instant)


class ItemRow(Base):
    """One declared file. Its bytes lie in the store under `blob_key`, sealed by a key that the case key wraps.

    `retained_until_at` is NULL for what has no end (CF-10); it may be moved later, never earlier (EVD-02, EVD-03).
    """

    __tablename__ = "items"
    __table_args__ = (
        UniqueConstraint("manifest_id", "item_id"),
        UniqueConstraint("manifest_id", "sha256"),
        enum_check("role", Role),
        enum_check("state", ItemState),
        CheckConstraint("size > 0", name="size_positive"),
        CheckConstraint("(state = 'stored') = (stored_at IS NOT NULL)", name="stored_has_time"),
        CheckConstraint("state <> 'stored' OR blob_key IS NOT NULL", name="stored_has_blob"),
        Index(None, "sha256"),
        Index(None, "seal_subject"),
    )

    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    manifest_id: Mapped[UUID] = mapped_column(Uuid, ForeignKey("manifests.id"))
    item_id: Mapped[str] = mapped_column(Key(64))
    sha256: Mapped[str] = mapped_column(Key(64))
    size: Mapped[int] = mapped_column(BigInteger)
    role: Mapped[Role] = mapped_column(Choice(Role))
    media_type: Mapped[str] = mapped_column(Key(64))
    started_at: Mapped[datetime] = mapped_column(Instant)
    ended_at: Mapped[datetime] = mapped_column(Instant)
    seal_subject: Mapped[UUID] = mapped_column(Uuid, ForeignKey("case_keys.subject_id"))
    state: Mapped[ItemState] = mapped_column(Choice(ItemState))
    blob_key: Mapped[str | None] = mapped_column(Key(200))
    wrapped_key: Mapped[bytes | None] = mapped_column(LargeBinary)
    stored_at: Mapped[datetime | None] = mapped_column(Instant)
    retained_until_at: Mapped[datetime | None] = mapped_column(Instant)
    examination: Mapped[Any | None] = mapped_column(CanonicalJson)
    examined_at: Mapped[datetime | None] = mapped_column(Instant)


class FixRow(Base):
    """Where one signing phone said that it was (`backend.exhibits.fixes`). Made from the statement; WGS-84, times in microseconds since 1970."""

    __tablename__ = "person_fixes"
    __table_args__ = (
        enum_check("role", LinkRole),
        CheckConstraint("lat_e7 BETWEEN -900000000 AND 900000000 AND lon_e7 BETWEEN -1800000000 AND 1800000000", name="on_earth"),
        CheckConstraint("accuracy_cm BETWEEN 0 AND 1000000000", name="accuracy_bounded"),
        Index(None, "staff_id", "judged_us"),
    )

    manifest_id: Mapped[UUID] = mapped_column(Uuid, ForeignKey("manifests.id"), primary_key=True)
    device: Mapped[str] = mapped_column(Key(43), primary_key=True)
    staff_id: Mapped[UUID] = mapped_column(Uuid, ForeignKey("staff.id"))
    role: Mapped[LinkRole] = mapped_column(Choice(LinkRole))
    judged_us: Mapped[int] = mapped_column(BigInteger)
    lower_us: Mapped[int | None] = mapped_column(BigInteger)
    upper_us: Mapped[int] = mapped_column(BigInteger)
    lat_e7: Mapped[int] = mapped_column(BigInteger)
    lon_e7: Mapped[int] = mapped_column(BigInteger)
    accuracy_cm: Mapped[int] = mapped_column(BigInteger)


class LookRow(Base):
    """The perceptual hash of one examined picture, and its four bands of 16 bits (`backend.exhibits.looks`). Made from the examination."""

    __tablename__ = "picture_looks"
    __table_args__ = (
        CheckConstraint("length(phash) = 16", name="phash_whole"),
        CheckConstraint(" AND ".join(f"band_{one} BETWEEN 0 AND 65535" for one in range(1, 5)), name="bands_of_16_bits"),
        *(Index(None, f"band_{one}") for one in range(1, 5)),
    )

    item_key: Mapped[UUID] = mapped_column(Uuid, ForeignKey("items.id"), primary_key=True)
    visit_id: Mapped[UUID] = mapped_column(Uuid)
    phash: Mapped[str] = mapped_column(Key(16))
    band_1: Mapped[int] = mapped_column(Integer)
    band_2: Mapped[int] = mapped_column(Integer)
    band_3: Mapped[int] = mapped_column(Integer)
    band_4: Mapped[int] = mapped_column(Integer)


class UploadRow(Base):
    """One transfer of one item. How far it has come is what the store holds, whatever process asks."""

    __tablename__ = "uploads"
    __table_args__ = (
        enum_check("state", UploadState),
        CheckConstraint("length > 0", name="length_positive"),
        Index(None, "item_key"),
        Index(None, "device", "state"),
        Index(None, "device", "created_at"),
        Index(None, "state", "expires_at"),
    )

    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    item_key: Mapped[UUID] = mapped_column(Uuid, ForeignKey("items.id"))
    device: Mapped[str] = mapped_column(Key(43), ForeignKey("devices.kid"))
    length: Mapped[int] = mapped_column(BigInteger)
    wrapped_key: Mapped[bytes] = mapped_column(LargeBinary)
    created_at: Mapped[datetime] = mapped_column(Instant)
    expires_at: Mapped[datetime] = mapped_column(Instant)
    state: Mapped[UploadState] = mapped_column(Choice(UploadState))


class UploadTokenRow(Base):
    """Leave for one device to send one item; only the token's digest is kept."""

    __tablename__ = "upload_tokens"
    __table_args__ = (Index(None, "item_key"),)

    token_hash: Mapped[str] = mapped_column(Key(64), primary_key=True)
    item_key: Mapped[UUID] = mapped_column(Uuid, ForeignKey("items.id"))
    device: Mapped[str] = mapped_column(Key(43), ForeignKey("devices.kid"))
    issued_at: Mapped[datetime] = mapped_column(Instant)
    expires_at: Mapped[datetime] = mapped_column(Instant)


class FindingRow(Base):
    """One graded observation, with the policy that it was judged under."""

    __tablename__ = "findings"
    __table_args__ = (enum_check("grade", Grade), Index(None, "manifest_id"), Index(None, "grade", "id"))

    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    manifest_id: Mapped[UUID] = mapped_column(Uuid, ForeignKey("manifests.id"))
    item_key: Mapped[UUID | None] = mapped_column(Uuid, ForeignKey("items.id"))
    grade: Mapped[Grade] = mapped_column(Choice(Grade))
    code: Mapped[str] = mapped_column(Key(64))
    params: Mapped[Any] = mapped_column(CanonicalJson)
    at: Mapped[datetime] = mapped_column(Instant)
    policy_version: Mapped[str] = mapped_column(Key(64))


class EvidenceReceiptRow(Base):
    """A signed receipt, made once: the same bytes answer every re-send."""

    __tablename__ = "evidence_receipts"
    __table_args__ = (UniqueConstraint("manifest_id", "kind"), enum_check("kind", ReceiptKind))

    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    manifest_id: Mapped[UUID] = mapped_column(Uuid, ForeignKey("manifests.id"))
    kind: Mapped[ReceiptKind] = mapped_column(Choice(ReceiptKind))
    jws: Mapped[str] = mapped_column(Text)
    proof: Mapped[str] = mapped_column(Text)
    log_entry_id: Mapped[UUID] = mapped_column(Uuid, ForeignKey("log_entries.id"))
    created_at: Mapped[datetime] = mapped_column(Instant)


class ReviewRow(Base):
    """One person's decision on a statement in doubt or quarantine."""

    __tablename__ = "evidence_reviews"
    __table_args__ = (UniqueConstraint("manifest_id", "reviewer_id"), enum_check("verdict", Verdict))

    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    manifest_id: Mapped[UUID] = mapped_column(Uuid, ForeignKey("manifests.id"))
    reviewer_id: Mapped[UUID] = mapped_column(Uuid, ForeignKey("staff.id"))
    verdict: Mapped[Verdict] = mapped_column(Choice(Verdict))
    reason: Mapped[SealedValue] = mapped_column(SealedBytes)
    at: Mapped[datetime] = mapped_column(Instant)
    log_entry_id: Mapped[UUID] = mapped_column(Uuid, ForeignKey("log_entries.id"))


class BeaconRow(Base):
    """A signed statement of the time that one device fetched; statements name it by digest."""

    __tablename__ = "beacons"

    digest: Mapped[str] = mapped_column(Key(64), primary_key=True)
    device: Mapped[str] = mapped_column(Key(43), ForeignKey("devices.kid"))
    issued_at: Mapped[datetime] = mapped_column(Instant)


class CopyRow(Base):
    """The copy register (ARCH-13): who got which stamped copy of what, when, why, under which number."""

    __tablename__ = "copies"
    __table_args__ = (UniqueConstraint("number"), Index(None, "item_key"), Index(None, "copier_id", "at"))

    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    number: Mapped[str] = mapped_column(Key(32))
    item_key: Mapped[UUID] = mapped_column(Uuid, ForeignKey("items.id"))
    copier_id: Mapped[UUID] = mapped_column(Uuid, ForeignKey("staff.id"))
    purpose: Mapped[str] = mapped_column(Key(32))
    at: Mapped[datetime] = mapped_column(Instant)
    copy_sha256: Mapped[str] = mapped_column(Key(64))
    statement: Mapped[str] = mapped_column(Text)
    log_entry_id: Mapped[UUID] = mapped_column(Uuid, ForeignKey("log_entries.id"))


class CopyNumberRow(Base):
    """The last number given out in one year's copy register."""

    __tablename__ = "copy_numbers"

    year: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    last: Mapped[int] = mapped_column(Integer)


class ExportRow(Base):
    """One export pack: for which visit, for whom, why, with which digest."""

    __tablename__ = "exports"
    __table_args__ = (Index(None, "visit_id"),)

    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    visit_id: Mapped[UUID] = mapped_column(Uuid)
    requested_by: Mapped[UUID] = mapped_column(Uuid, ForeignKey("staff.id"))
    at: Mapped[datetime] = mapped_column(Instant)
    sha256: Mapped[str] = mapped_column(Key(64))
    purpose: Mapped[str] = mapped_column(Key(32))
    log_entry_id: Mapped[UUID] = mapped_column(Uuid, ForeignKey("log_entries.id"))
