"""What a bank does after it has ruled fraud: it reports the fraud, and has the customer's adverse credit record deleted. Pure (DECL-05, DECL-09)."""

import unicodedata
from datetime import datetime
from enum import StrEnum
from typing import Final
from uuid import UUID

import msgspec

from backend.core.ids import BankId, CaseId, DisputeId, StaffId
from backend.disputes.model import RecordDeletion, Ruling

REFERENCE_CHARACTERS_MAX: Final = 64
REASON_CHARACTERS_MAX: Final = 2_000


class FollowUpAct(StrEnum):
    """One act of the bank. Both reports are the bank's own, of who used the customer's name: nobody reports the customer (POL-07)."""

    POLICE_REPORTED = "police_reported"
    DEPARTMENT_REPORTED = "department_reported"      # To the bank's own fraud department.
    DELETION_REQUESTED = "deletion_requested"        # Of the adverse record at the credit bureau; again after a refusal.
    DELETION_CONFIRMED = "deletion_confirmed"
    DELETION_REFUSED = "deletion_refused"


REPORTS: Final = frozenset({FollowUpAct.POLICE_REPORTED, FollowUpAct.DEPARTMENT_REPORTED})
ANSWERS: Final = frozenset({FollowUpAct.DELETION_CONFIRMED, FollowUpAct.DELETION_REFUSED})
STANDING: Final = {
    FollowUpAct.DELETION_REQUESTED: RecordDeletion.REQUESTED, FollowUpAct.DELETION_CONFIRMED: RecordDeletion.DONE,
    FollowUpAct.DELETION_REFUSED: RecordDeletion.REFUSED,
}
"""How the credit record stands after an act on it."""


class NewFollowUp(msgspec.Struct, frozen=True, kw_only=True):
    """One act as the bank tells it.

    Attributes:
        reference: The file number of the police, the department or the credit bureau: 1 to 64 characters.
        reason: Why the bureau refused: of a refusal alone, 1 to 2,000 characters.
        item_id: The picture of the police slip among the case's own evidence: of a report to the police alone.
    """

    dispute_id: DisputeId
    act: FollowUpAct
    occurred_at: datetime
    reference: str
    reason: str | None = None
    item_id: UUID | None = None

    def __post_init__(self) -> None:
        if not _is_plain(self.reference, REFERENCE_CHARACTERS_MAX):
            raise ValueError(f"a reference is 1 to {REFERENCE_CHARACTERS_MAX} printable characters")
        if (self.reason is not None) is not (self.act is FollowUpAct.DELETION_REFUSED):
            raise ValueError("a refusal has its reason, and nothing else has one")
        if self.reason is not None and not _is_plain(self.reason, REASON_CHARACTERS_MAX):
            raise ValueError(f"a reason is 1 to {REASON_CHARACTERS_MAX} printable characters")
        if self.item_id is not None and self.act is not FollowUpAct.POLICE_REPORTED:
            raise ValueError("a slip belongs to a report to the police")


class FollowUpFacts(msgspec.Struct, frozen=True, kw_only=True):
    """Exactly what is read to judge an act."""

    act: FollowUpAct
    ruling: Ruling | None
    ruled_at: datetime | None
    occurred_at: datetime
    now: datetime
    deletion: RecordDeletion             # As it stands before the act.
    last_step_at: datetime | None        # When the last act on the credit record was, if there was one.
    is_slip_of_case: bool                # True without a slip.


class FollowUpView(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One act of the bank after its ruling. `reason` is None once the case's words were destroyed."""

    id: UUID
    dispute_id: DisputeId
    case_id: CaseId
    bank_id: BankId
    act: FollowUpAct
    occurred_at: datetime
    reference: str
    reason: str | None
    item_id: UUID | None
    recorded_by: StaffId
    recorded_at: datetime


class OpenRuling(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A case that was ruled to be fraud and whose credit record is neither deleted nor refused to be: the bank acts next."""

    dispute_id: DisputeId
    case_id: CaseId
    bank_id: BankId
    ruled_at: datetime
    record_deletion: RecordDeletion
    reports: int


def one_spelling(text: str) -> str:
    """Return a text in the one form in which it is logged, without blanks around it."""
    return unicodedata.normalize("NFC", text.strip())


def _is_plain(text: str, characters_max: int) -> bool:
    return 0 < len(text) <= characters_max and text == one_spelling(text) and text.isprintable()
