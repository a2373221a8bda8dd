"""What was captured: statements, their items, what was found about them. Pure.

A statement is authentic or it is refused; whatever an authentic one says is kept, graded and answered (protocol §2.7).
"""

from collections.abc import Iterable, Mapping
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType
from uuid import UUID

import msgspec

from backend.core.geo import LonLat
from backend.core.ids import BankId, BranchId, CaseId, ManifestId, StaffId, VisitId
from backend.core.states import follow
from backend.keys.keyring import Keyring
from backend.policies.model import Policy
from evidence.envelope import Envelope, Signer
from evidence.manifest import Manifest, Role
from evidence.model import Finding, Grade

RECORDING_ROLES = frozenset({Role.AUDIO, Role.VIDEO})
RECORDING_DAYS_MIN = 731
"""Two years with a leap day in them (EVD-02); the trigger of the migration holds the same number."""
STAMP = "再次复印无效"


class ManifestState(StrEnum):
    """Whether the signatures due are there, and beside it who acts next."""

    AWAITING_COSIGNATURE = "awaiting_cosignature"      # The partner signs.
    COMPLETE = "complete"
    LAPSED = "lapsed"                                  # Refused, never due to anybody, or past its term: a supervisor decides.


ENDED = frozenset({ManifestState.COMPLETE, ManifestState.LAPSED})
"""States in which nothing more is waited for: receipted, examined, acted on. A signature that comes after all still completes it."""


class Standing(StrEnum):
    """How an authentic statement stands; the worst of what was found, until reviewers decide."""

    ACCEPTED = "accepted"
    DOUBTFUL = "doubtful"            # A supervisor decides.
    BREACH = "breach"                # It tells of a broken rule; the fact stays.
    QUARANTINED = "quarantined"      # Two people decide.


class ItemState(StrEnum):
    """Whether the declared bytes are here."""

    NEEDED = "needed"
    STORED = "stored"


class ItemEvent(StrEnum):
    """What can happen to an item."""

    STORE = "store"


class UploadState(StrEnum):
    """Where one transfer stands. What has arrived is asked of the store, never of this row."""

    OPEN = "open"
    FINISHED = "finished"
    GONE = "gone"                    # Terminated or expired; a new one may be made while the item is needed.


class UploadEvent(StrEnum):
    """What can happen to an upload."""

    FINISH = "finish"
    LEAVE = "leave"


class ReceiptKind(StrEnum):
    """The two receipts of a statement, each made once."""

    RECEIVED = "received"
    EXAMINED = "examined"


class Verdict(StrEnum):
    """What a reviewer decides about a statement that is in doubt or in quarantine."""

    RELEASE = "release"
    UPHOLD = "uphold"


class LinkRole(StrEnum):
    """How a device's chain came by a payload: its own statement, or its partner's that it witnessed."""

    CAPTURER = "capturer"
    WITNESS = "witness"


ITEM_TRANSITIONS: Mapping[tuple[ItemState, ItemEvent], ItemState] = MappingProxyType({
    (ItemState.NEEDED, ItemEvent.STORE): ItemState.STORED,
})
UPLOAD_TRANSITIONS: Mapping[tuple[UploadState, UploadEvent], UploadState] = MappingProxyType({
    (UploadState.OPEN, UploadEvent.FINISH): UploadState.FINISHED,
    (UploadState.OPEN, UploadEvent.LEAVE): UploadState.GONE,
})


def advance_item(state: ItemState, event: ItemEvent) -> ItemState:
    """Return the state after `event`. Raises `IllegalTransition` when it cannot follow."""
    return follow(ITEM_TRANSITIONS, state, event)


def advance_upload(state: UploadState, event: UploadEvent) -> UploadState:
    """Return the state after `event`. Raises `IllegalTransition` when it cannot follow."""
    return follow(UPLOAD_TRANSITIONS, state, event)


class VisitFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What the visit slice knows of a visit that a statement names; read by the transport, judged here."""

    visit_id: VisitId
    version: int                                 # Of the published stop; a statement names the one the phone held.
    case_id: CaseId
    bank_id: BankId
    branch_id: BranchId
    pair: frozenset[StaffId]                     # The employees assigned to it.
    is_open: bool                                # Dispatched, started or entered: statements are expected.
    held_at: datetime | None = None              # Since when the case is suspended, on hold or recalled.
    address: LonLat | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None


class SignedBy(msgspec.Struct, frozen=True, kw_only=True):
    """One device as enrolled here, at the moment a statement arrives."""

    kid: str
    staff_id: StaffId
    state: str
    revoked_at: datetime | None = None
    compromised_since: datetime | None = None
    is_renewed: bool = False                     # Revoked because its person's next device took over, nothing else.


class Bounds(msgspec.Struct, frozen=True, kw_only=True):
    """When something was captured: the phone's claim, and the bounds that beacons and arrival put on it.

    `judged_at` is the claim pulled into the bounds; rules and policies are chosen by it. `proven_at` is what the phone's word adds
    nothing to: the statement names a beacon that was signed then, so it is no older.
    """

    claimed_at: datetime
    lower_at: datetime | None
    upper_at: datetime
    judged_at: datetime
    proven_at: datetime | None = None


class Statement(msgspec.Struct, frozen=True, kw_only=True):
    """An envelope whose shape, signatures, canonical form and schema were verified; its meaning is not judged yet."""

    envelope: Envelope
    signers: tuple[Signer, ...]
    manifest: Manifest
    digest: str                                  # SHA-256 of the payload, its only identity.
    devices: tuple[SignedBy, ...]                # Same order as `signers`.
    staff_id: StaffId                            # Whose device captured, by enrolment, whatever the payload says.
    cosigner_id: StaffId | None
    bounds: Bounds


class Intake(msgspec.Struct, frozen=True, kw_only=True):
    """What the transport hands over with a statement: the visit it names, the policy of its time, the keys, this deployment's own id."""

    visit: VisitFacts | None
    policy: Policy
    keyring: Keyring
    tenant: str


class DeclaredItem(msgspec.Struct, frozen=True, kw_only=True):
    """One declared item as a phone is answered about it."""

    id: UUID
    item_id: str
    sha256: str
    size: int
    state: ItemState


class Accepted(msgspec.Struct, frozen=True, kw_only=True):
    """A statement as it now stands in the database; what later slices act on in the same transaction.

    `is_new` tells that this call stored it, `is_completed_now` that this call brought the last signature due, `is_lapsed_now`
    that it ended the wait for one. All are false for an identical re-send, which changes nothing.
    """

    manifest_id: ManifestId
    digest: str
    manifest: Manifest
    device: str
    staff_id: StaffId
    cosigner_id: StaffId | None
    visit_id: VisitId | None                     # None: no such visit; kept under `visit-unknown`.
    case_id: CaseId | None
    bank_id: BankId | None
    branch_id: BranchId | None
    captured_at: datetime                        # Within the bounds below.
    captured_lower_at: datetime | None
    captured_upper_at: datetime
    received_at: datetime
    state: ManifestState
    standing: Standing
    findings: tuple[Finding, ...]
    items: tuple[DeclaredItem, ...]
    policy_version: str
    is_new: bool
    is_completed_now: bool
    is_lapsed_now: bool = False                  # This call ended the wait for a signature that will not come.

    @property
    def is_replay(self) -> bool:
        """Whether nothing changed by this call."""
        return not (self.is_new or self.is_completed_now or self.is_lapsed_now)


class UploadTicket(msgspec.Struct, frozen=True, kw_only=True):
    """Leave to send the bytes of one item by the upload made for it. Only here is the token known in clear."""

    item_id: str
    upload_id: UUID
    token: str
    expires_at: datetime


BREACH_NAMES = frozenset({"cosignature-missing", "cosignature-lapsed", "cosignature-refused", "signer-not-assigned", "after-hold"})
"""Findings that tell of a broken rule, not of an uncertain capture."""
GAP, GAP_FILLED = "chain-gap", "chain-gap-filled"
SILENCES = frozenset({"recording-gap", "recording-missing"})
SILENCE_FILLED = "recording-gap-filled"


def standing_of(findings: Iterable[Finding]) -> Standing:
    """Return how a statement stands by what was found: fraud signs outweigh breaches, breaches outweigh doubts.

    A gap in a chain no longer counts once the missing link arrived, one in the sound no longer once a recorder's file covers it.
    """
    found = tuple(findings)
    filled = {finding.pointer for finding in found if finding.name == GAP_FILLED}
    heard = {finding.expected for finding in found if finding.name == SILENCE_FILLED}
    counted = [finding for finding in found if not (
        (finding.name == GAP and finding.pointer in filled) or (finding.name in SILENCES and finding.got in heard))]
    grades = {finding.grade for finding in counted}
    if Grade.FRAUD_SIGN in grades:
        return Standing.QUARANTINED
    if Grade.DOUBT in grades:
        return Standing.BREACH if any(f.name in BREACH_NAMES and f.grade is Grade.DOUBT for f in counted) else Standing.DOUBTFUL
    return Standing.ACCEPTED
