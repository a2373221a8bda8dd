"""Contacts with debtors and third parties: nouns, results, and the facts that the one guard reads. Pure."""

from datetime import date, datetime
from enum import StrEnum
from typing import Final
from uuid import UUID

import msgspec

from backend.cases.model import Field, Stop, SuspensionReason
from backend.core.fen import Fen
from backend.core.ids import CaseId, ContactId
from backend.core.rulebook import Breach


class Channel(StrEnum):
    """How someone is contacted; all channels share one cap a day."""

    PHONE = "phone"
    SMS = "sms"
    LETTER = "letter"
    VISIT = "visit"


class Person(StrEnum):
    """Who was spoken to."""

    DEBTOR = "debtor"
    THIRD_PARTY = "third_party"
    NOBODY = "nobody"


class Purpose(StrEnum):
    """Why someone is contacted. A third party is only ever asked for information (CONT-09)."""

    COLLECTION = "collection"
    INFORMATION_REQUEST = "information_request"


class Carried(StrEnum):
    """What only the debtor may be given or asked for (CONT-08)."""

    DEMAND = "demand"
    PROMISE = "promise"
    LETTER = "letter"
    PAYMENT = "payment"


class Result(StrEnum):
    """What came of a contact: a closed list (CASE-05)."""

    CONNECTED = "connected"
    NO_ANSWER = "no_answer"
    BUSY = "busy"
    SWITCHED_OFF = "switched_off"
    WRONG_NUMBER = "wrong_number"
    PROMISE_TO_PAY = "promise_to_pay"
    VAGUE_PROMISE = "vague_promise"
    REFUSES = "refuses"
    HARDSHIP = "hardship"
    CLAIMS_PAID = "claims_paid"
    DENIES_APPLICATION = "denies_application"
    DENIES_SPENDING = "denies_spending"
    DISPUTES_AMOUNT = "disputes_amount"
    SUSPECTED_FRAUD = "suspected_fraud"
    VULNERABLE = "vulnerable"
    COMPLAINT = "complaint"
    DECEASED = "deceased"
    DELIVERED = "delivered"
    INFORMED = "informed"              # A third party told something.
    DOES_NOT_KNOW = "does_not_know"    # A third party; the three below end the talk for good (CONT-10).
    UNWILLING = "unwilling"
    DISPLEASED = "displeased"


SUSPENDING: Final = {
    Result.DENIES_APPLICATION: SuspensionReason.DENIES_APPLICATION,
    Result.DENIES_SPENDING: SuspensionReason.DENIES_SPENDING,
    Result.DISPUTES_AMOUNT: SuspensionReason.DISPUTES_AMOUNT,
}
FAILED: Final = frozenset({Result.NO_ANSWER, Result.BUSY, Result.SWITCHED_OFF, Result.WRONG_NUMBER, Result.REFUSES, Result.VAGUE_PROMISE})
CEASING: Final = frozenset({Result.DOES_NOT_KNOW, Result.UNWILLING, Result.DISPLEASED})
THIRD_PARTY_RESULTS: Final = CEASING | {
    Result.INFORMED, Result.CONNECTED, Result.NO_ANSWER, Result.BUSY, Result.SWITCHED_OFF, Result.WRONG_NUMBER, Result.DECEASED,
}


class Attitude(StrEnum):
    """How the person met the contact (CONT-27)."""

    COOPERATIVE = "cooperative"
    NEUTRAL = "neutral"
    EVASIVE = "evasive"
    HOSTILE = "hostile"


class Mode(StrEnum):
    """Whether leave is asked or a thing that happened is reported."""

    INTENT = "intent"
    FACT = "fact"


class Standing(StrEnum):
    """Whether a contact kept the rules."""

    ACCEPTED = "accepted"
    BREACH = "breach"


AGENCY_IDENTITY: Final = "agency"


class ContactFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What the guard reads. Times are local to the visited (or called) address and keep their seconds."""

    channel: Channel
    local_at: datetime                                 # Aware, in the zone of the debtor's address.
    is_hour_agreed: bool                               # A recorded agreement with the cardholder covers this instant.
    contacts_today: int                                # Earlier contacts to the same debtor on this local day, all channels and banks.
    unconfirmed: frozenset[Field]                      # Of the five, what is empty or not confirmed.
    stops: frozenset[Stop]
    person: Person = Person.DEBTOR
    purpose: Purpose = Purpose.COLLECTION
    carried: frozenset[Carried] = frozenset()
    is_consented: bool = False                         # The third party agreed to be asked.
    is_ceased: bool = False                            # This third party once did not know, was unwilling or displeased.
    is_work_number: bool = True
    identity_presented: str = AGENCY_IDENTITY


class ThirdParty(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody else who was asked, by relation and number."""

    relation: str
    phone: str


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a contact. A promise without amount and day is stored as a vague one (CASE-32)."""

    result: Result
    attitude: Attitude | None = None
    feedback: str | None = None
    next_step: str | None = None
    promised_fen: Fen | None = None
    promised_on: date | None = None
    recording_reference: str | None = None

    @property
    def stored_result(self) -> Result:
        """The result as it counts."""
        is_vague = self.result is Result.PROMISE_TO_PAY and (self.promised_fen is None or self.promised_on is None)
        return Result.VAGUE_PROMISE if is_vague else self.result


class SeenAtDoor(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a visit, as a contact: whom the pair met, and a promise with its amount and day."""

    at: datetime
    person: Person
    result: Result
    promised_fen: Fen | None = None
    promised_on: date | None = None

    def __post_init__(self) -> None:
        if (self.result is Result.PROMISE_TO_PAY) != (self.promised_fen is not None and self.promised_on is not None):
            raise ValueError("exactly a promise has its amount and day")


class RecordContact(msgspec.Struct, frozen=True, kw_only=True):
    """A contact asked for (`told` None) or reported."""

    case_id: CaseId
    mode: Mode
    channel: Channel
    at: datetime
    person: Person = Person.DEBTOR
    purpose: Purpose = Purpose.COLLECTION
    told: Told | None = None
    carried: frozenset[Carried] = frozenset()
    third_party: ThirdParty | None = None
    is_consented: bool = False
    work_number: str | None = None
    identity_presented: str = AGENCY_IDENTITY

    def __post_init__(self) -> None:
        if (self.person is Person.THIRD_PARTY) != (self.third_party is not None):
            raise ValueError("a third party is named exactly when one is contacted")
        if (self.mode is Mode.FACT) != (self.told is not None):
            raise ValueError("a contact that happened has a result, one asked for has none yet")


class ContactReceipt(msgspec.Struct, frozen=True, kw_only=True):
    """A stored contact and what was found about it."""

    id: ContactId
    case_id: CaseId
    person: Person
    standing: Standing
    result: Result | None
    breaches: tuple[Breach, ...]
    is_case_suspended: bool


class AgreeHours(msgspec.Struct, frozen=True, kw_only=True):
    """What the cardholder agreed to: contact between two instants outside the hours (VIS-10, CONT-04)."""

    case_id: CaseId
    from_at: datetime
    to_at: datetime
    agreed_with: str
    contact_id: UUID

    def __post_init__(self) -> None:
        if self.from_at >= self.to_at:
            raise ValueError("an agreed time is not empty")
