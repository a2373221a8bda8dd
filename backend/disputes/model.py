"""Denials and declarations: what was denied, what the cardholder declared, who compared the hand, what the bank ruled. Pure."""

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType
from uuid import UUID

import msgspec

from backend.cases.model import SuspensionReason
from backend.core.ids import BankId, BranchId, CaseId, DeclarationId, DisputeId, ManifestId, StaffId, VisitId
from backend.core.states import follow
from backend.exhibits.model import Standing


class DisputeStatus(StrEnum):
    """Where a dispute stands, and beside it who acts next."""

    STATED = "stated"            # The cardholder may declare in writing; the bank rules either way.
    DECLARED = "declared"        # The investigator, then the bank.
    RULED = "ruled"              # Nobody.


class DisputeEvent(StrEnum):
    """What can happen to a dispute."""

    DECLARE = "declare"
    RULE = "rule"


DISPUTE_TRANSITIONS: Mapping[tuple[DisputeStatus, DisputeEvent], DisputeStatus] = MappingProxyType({
    (DisputeStatus.STATED, DisputeEvent.DECLARE): DisputeStatus.DECLARED,
    (DisputeStatus.STATED, DisputeEvent.RULE): DisputeStatus.RULED,
    (DisputeStatus.DECLARED, DisputeEvent.RULE): DisputeStatus.RULED,
})


def advance_dispute(status: DisputeStatus, event: DisputeEvent) -> DisputeStatus:
    """Return the status after `event`. Raises `IllegalTransition` when it cannot follow."""
    return follow(DISPUTE_TRANSITIONS, status, event)


class DeclarationStatus(StrEnum):
    """Where a declaration stands, and beside it who acts next."""

    TAKEN = "taken"                      # A supervisor names the investigator (DECL-03).
    INVESTIGATION = "investigation"      # The investigator compares the handwriting (DECL-08).
    COMPARED = "compared"                # The bank rules (DECL-05).
    RULED = "ruled"                      # Nobody; the bank reports what became of the credit record (DECL-05, DECL-09).


class DeclarationEvent(StrEnum):
    """What can happen to a declaration."""

    NAME_INVESTIGATOR = "name_investigator"
    COMPARE = "compare"
    RULE = "rule"


DECLARATION_TRANSITIONS: Mapping[tuple[DeclarationStatus, DeclarationEvent], DeclarationStatus] = MappingProxyType({
    (DeclarationStatus.TAKEN, DeclarationEvent.NAME_INVESTIGATOR): DeclarationStatus.INVESTIGATION,
    (DeclarationStatus.INVESTIGATION, DeclarationEvent.NAME_INVESTIGATOR): DeclarationStatus.INVESTIGATION,
    (DeclarationStatus.INVESTIGATION, DeclarationEvent.COMPARE): DeclarationStatus.COMPARED,
    (DeclarationStatus.COMPARED, DeclarationEvent.RULE): DeclarationStatus.RULED,
})


def advance_declaration(status: DeclarationStatus, event: DeclarationEvent) -> DeclarationStatus:
    """Return the status after `event`. Raises `IllegalTransition` when it cannot follow."""
    return follow(DECLARATION_TRANSITIONS, status, event)


class Handwriting(StrEnum):
    """What comparing the declarant's hand with the signature on the application form showed (DECL-08)."""

    SAME_HAND = "same_hand"
    OTHER_HAND = "other_hand"
    INCONCLUSIVE = "inconclusive"


class Ruling(StrEnum):
    """The bank's decision, made by a person of the bank (DECL-05)."""

    FRAUD = "fraud"              # The case is not collected again.
    OWN_CARD = "own_card"        # Collection resumes.
    AMOUNT_STANDS = "amount_stands"
    AMOUNT_CORRECTED = "amount_corrected"


class RecordDeletion(StrEnum):
    """How the adverse credit-bureau record of a case stands; read from the bank's acts after its ruling (DECL-05, DECL-09)."""

    NOT_DUE = "not_due"          # Nothing was ruled to be fraud.
    DUE = "due"                  # The bank requests it.
    REQUESTED = "requested"      # The bureau answers.
    DONE = "done"
    REFUSED = "refused"          # The bank may request it again.


class StateDispute(msgspec.Struct, frozen=True, kw_only=True):
    """A denial as it was spoken. It needs no form, no proof and nobody's leave to take effect (DECL-01)."""

    dispute_id: DisputeId
    case_id: CaseId
    visit_id: VisitId | None
    kind: SuspensionReason
    stated_at: datetime


class DisputeStated(msgspec.Struct, frozen=True, kw_only=True):
    """A recorded denial."""

    dispute_id: DisputeId
    status: DisputeStatus
    suspended_at: datetime


class DeclarationFacts(msgspec.Struct, frozen=True, kw_only=True):
    """Exactly what is read to judge a declaration."""

    is_template_known: bool              # Of the case's own bank, of the kind of the form, in the version named.
    is_template_approved: bool           # Before the declaration was written.
    has_circumstances: bool
    has_transcription: bool
    is_text_equal: bool                  # Compared without white space and punctuation.
    is_written_by_declarant: bool
    is_signed_by_declarant: bool
    id_card_generation: int
    id_front: frozenset[str]             # Digests of the images.
    id_back: frozenset[str]
    page_count: int


class DeclarationTaken(msgspec.Struct, frozen=True, kw_only=True):
    """A declaration as it stands on the books; a deviating text is flagged for the bank, never refused."""

    declaration_id: DeclarationId
    dispute_id: DisputeId
    status: DeclarationStatus
    standing: Standing
    is_text_deviating: bool


class Rule(msgspec.Struct, frozen=True, kw_only=True):
    """The bank's decision on a declaration, or on a dispute that was never declared in writing."""

    ruling: Ruling


class DisputeView(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One dispute with its declaration, if there is one."""

    id: DisputeId
    case_id: CaseId
    visit_id: VisitId | None
    bank_id: BankId
    branch_id: BranchId
    kind: SuspensionReason
    status: DisputeStatus
    stated_at: datetime
    ruling: Ruling | None
    ruled_at: datetime | None
    declaration: "DeclarationView | None"


class DeclarationView(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One declaration; its words and images stay with the signed statement `manifest_id`."""

    id: DeclarationId
    dispute_id: DisputeId
    case_id: CaseId
    manifest_id: ManifestId
    template_id: UUID | None
    status: DeclarationStatus
    standing: Standing
    has_circumstances: bool
    is_text_deviating: bool
    investigator_id: StaffId | None
    handwriting: Handwriting | None
    ruling: Ruling | None
    ruled_by: StaffId | None
    ruled_at: datetime | None
    record_deletion: RecordDeletion
