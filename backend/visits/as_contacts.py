"""What an outcome of a visit is called among the contacts of its case. Pure."""

from collections.abc import Mapping
from datetime import date, datetime
from types import MappingProxyType
from typing import Any

from backend.contacts.model import Person, Result, SeenAtDoor
from backend.core.fen import Fen
from backend.visits.catalogue import CATALOGUE_VERSION, CATALOGUES, Met, Outcome

_PERSONS: Mapping[Met, Person] = MappingProxyType({
    Met.DEBTOR: Person.DEBTOR, Met.THIRD_PARTY: Person.THIRD_PARTY, Met.NOBODY: Person.NOBODY,
})
RESULTS: Mapping[Outcome, Result] = MappingProxyType({
    Outcome.PROMISE: Result.PROMISE_TO_PAY, Outcome.PROMISE_VAGUE: Result.VAGUE_PROMISE, Outcome.REFUSED_TO_PAY: Result.REFUSES,
    Outcome.HARDSHIP: Result.HARDSHIP, Outcome.PAID_DIRECTLY: Result.CLAIMS_PAID, Outcome.CASH_TAKEN: Result.CONNECTED,
    Outcome.DENIES_APPLICATION: Result.DENIES_APPLICATION, Outcome.DENIES_SPENDING: Result.DENIES_SPENDING,
    Outcome.DISPUTES_AMOUNT: Result.DISPUTES_AMOUNT, Outcome.DECLARATION_TAKEN: Result.DENIES_APPLICATION,
    Outcome.THIRD_PARTY_MET: Result.INFORMED, Outcome.TENANT_MET: Result.CONNECTED, Outcome.ONLY_MINOR: Result.CONNECTED,
    Outcome.ONLY_FRAIL_PERSON: Result.CONNECTED, Outcome.NOBODY_MET: Result.NO_ANSWER, Outcome.NO_ANSWER_INTERCOM: Result.NO_ANSWER,
    Outcome.GATE_REFUSED: Result.NO_ANSWER, Outcome.ADDRESS_ABSENT: Result.NO_ANSWER, Outcome.MOVED_AWAY: Result.NO_ANSWER,
    Outcome.LETTER_HANDED_OVER: Result.DELIVERED, Outcome.LETTER_IN_MAILBOX: Result.DELIVERED, Outcome.DECEASED: Result.DECEASED,
    Outcome.VULNERABLE_FOUND: Result.VULNERABLE, Outcome.SELF_HARM_THREAT: Result.VULNERABLE, Outcome.CONFLICT_LEFT: Result.CONNECTED,
    Outcome.POLICE_ATTENDED: Result.CONNECTED, Outcome.FILMED_BY_DEBTOR: Result.CONNECTED, Outcome.HAZARD: Result.NO_ANSWER,
    Outcome.RECORDING_OBJECTED: Result.CONNECTED, Outcome.OUT_OF_TIME: Result.NO_ANSWER,
})


def seen_at_door(outcome: Outcome, fields: Mapping[str, Any], at: datetime) -> SeenAtDoor:
    """Return a complete outcome as a contact. A third party who did not agree to be asked was unwilling (CONT-10)."""
    result = RESULTS[outcome]
    if fields.get("is_consent_given") is False:
        result = Result.UNWILLING
    is_promise = result is Result.PROMISE_TO_PAY
    return SeenAtDoor(
        at=at, person=_PERSONS[CATALOGUES[CATALOGUE_VERSION][outcome].met], result=result,
        promised_fen=Fen(int(fields["amount_fen"])) if is_promise else None,
        promised_on=date.fromisoformat(str(fields["promised_on"])) if is_promise else None,
    )
