"""The catalogue of visit outcomes: what each needs, what it does, what comes next (F09). Versioned, pure.

An outcome is stored with the version it was judged under. Never change a published version: add another.
"""

from collections.abc import Mapping
from datetime import date, datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Any

import msgspec

from backend.core.fen import FEN_MAX
from backend.core.i18n import N_
from backend.visits.model import IncidentKind

_YEARS = range(1900, 2200)
"""Of any day or moment that a pair can tell of; nearer the ends of a calendar, zones and terms cannot be reckoned."""


class Outcome(StrEnum):
    """How a visit can end."""

    PROMISE = "promise"
    PROMISE_VAGUE = "promise_vague"
    REFUSED_TO_PAY = "refused_to_pay"
    HARDSHIP = "hardship"
    PAID_DIRECTLY = "paid_directly"
    CASH_TAKEN = "cash_taken"
    DENIES_APPLICATION = "denies_application"
    DENIES_SPENDING = "denies_spending"
    DISPUTES_AMOUNT = "disputes_amount"
    DECLARATION_TAKEN = "declaration_taken"
    THIRD_PARTY_MET = "third_party_met"
    TENANT_MET = "tenant_met"
    ONLY_MINOR = "only_minor"
    ONLY_FRAIL_PERSON = "only_frail_person"
    NOBODY_MET = "nobody_met"
    NO_ANSWER_INTERCOM = "no_answer_intercom"
    GATE_REFUSED = "gate_refused"
    ADDRESS_ABSENT = "address_absent"
    MOVED_AWAY = "moved_away"
    LETTER_HANDED_OVER = "letter_handed_over"
    LETTER_IN_MAILBOX = "letter_in_mailbox"
    DECEASED = "deceased"
    VULNERABLE_FOUND = "vulnerable_found"
    SELF_HARM_THREAT = "self_harm_threat"
    CONFLICT_LEFT = "conflict_left"
    POLICE_ATTENDED = "police_attended"
    FILMED_BY_DEBTOR = "filmed_by_debtor"
    HAZARD = "hazard"
    RECORDING_OBJECTED = "recording_objected"
    OUT_OF_TIME = "out_of_time"


class Met(StrEnum):
    """Who was spoken with."""

    DEBTOR = "debtor"
    THIRD_PARTY = "third_party"
    NOBODY = "nobody"


class Effect(StrEnum):
    """What an outcome does to the case in the same transaction."""

    NONE = "none"
    SUSPEND = "suspend"    # DECL-01
    HOLD = "hold"          # VIS-11: until a supervisor has recorded time, manner and precautions.
    DECEASED = "deceased"  # No further contact; a supervisor decides.


class FieldKind(StrEnum):
    """How a field of an outcome is read."""

    AMOUNT = "amount"    # Whole fen, 1 to FEN_MAX.
    DATE = "date"        # YYYY-MM-DD.
    INSTANT = "instant"  # RFC 3339 with a time zone.
    YES = "yes"          # true or false.
    TEXT = "text"        # 1 to 500 characters, kept sealed.
    CODE = "code"        # 1 to 64 characters without personal data.


class Field(msgspec.Struct, frozen=True):
    """One field of an outcome; `is_required` ones must be present for the outcome to be complete."""

    name: str
    kind: FieldKind
    is_required: bool = True


class OutcomeSpec(msgspec.Struct, frozen=True, kw_only=True):
    """What the catalogue says of one outcome. `script` and `next_step` are msgids shown to the pair."""

    met: Met
    script: str
    next_step: str
    needs_right_party: bool = False
    fields: tuple[Field, ...] = ()
    effect: Effect = Effect.NONE
    incident: IncidentKind | None = None
    stops_visit: bool = False

    @property
    def sealed_names(self) -> frozenset[str]:
        """The names of fields whose text may hold personal data."""
        return frozenset(field.name for field in self.fields if field.kind is FieldKind.TEXT)


_AMOUNT, _DATE, _TEXT, _CODE, _YES, _INSTANT = FieldKind.AMOUNT, FieldKind.DATE, FieldKind.TEXT, FieldKind.CODE, FieldKind.YES, FieldKind.INSTANT
_PROMISE = (Field("amount_fen", _AMOUNT), Field("promised_on", _DATE), Field("is_confirmed", _YES))
_LEAVE = N_("Thank the person and leave.")
_AGAIN = N_("Another time of day, by a new request.")
_SUPERVISOR = N_("The supervisor decides what follows.")
_SUSPENDED = N_("Collection is suspended; say nothing more about the debt.")

_VERSION_1: Mapping[Outcome, OutcomeSpec] = MappingProxyType({
    Outcome.PROMISE: OutcomeSpec(
        met=Met.DEBTOR, needs_right_party=True, fields=_PROMISE,
        script=N_("Repeat amount and date; the person confirms both."), next_step=N_("Await the repayment file on the promised date."),
    ),
    Outcome.PROMISE_VAGUE: OutcomeSpec(
        met=Met.DEBTOR, needs_right_party=True, fields=(Field("wording", _TEXT, is_required=False),),
        script=N_("Ask for an amount and a date once; do not press."), next_step=N_("Call within the week."),
    ),
    Outcome.REFUSED_TO_PAY: OutcomeSpec(
        met=Met.DEBTOR, needs_right_party=True, fields=(Field("reason", _TEXT),), script=_LEAVE, next_step=_SUPERVISOR,
    ),
    Outcome.HARDSHIP: OutcomeSpec(
        met=Met.DEBTOR, needs_right_party=True, fields=(Field("reason", _TEXT), Field("proposal", _TEXT, is_required=False)),
        script=N_("Note the proposal; only the bank can accept it."), next_step=N_("Pass the proposal to the bank."),
    ),
    Outcome.PAID_DIRECTLY: OutcomeSpec(
        met=Met.DEBTOR, needs_right_party=True,
        fields=(
            Field("amount_fen", _AMOUNT), Field("channel", _CODE), Field("paid_at", _INSTANT),
            Field("is_screen_photo_consented", _YES, is_required=False),
        ),
        script=N_("Never touch the person's phone; issue no receipt."), next_step=N_("Unconfirmed until the bank's repayment file."),
    ),
    Outcome.CASH_TAKEN: OutcomeSpec(
        met=Met.DEBTOR, needs_right_party=True, fields=(Field("receipt_number", _CODE), Field("amount_fen", _AMOUNT)),
        script=N_("Count together; hand over the receipt at once."), next_step=N_("Deposit the whole amount before the counter closes."),
    ),
    Outcome.DENIES_APPLICATION: OutcomeSpec(
        met=Met.DEBTOR, needs_right_party=True, effect=Effect.SUSPEND, stops_visit=True, script=_SUSPENDED,
        next_step=N_("Offer the declaration form; an investigator is named."),
    ),
    Outcome.DENIES_SPENDING: OutcomeSpec(
        met=Met.DEBTOR, needs_right_party=True, effect=Effect.SUSPEND, stops_visit=True, script=_SUSPENDED,
        next_step=N_("Offer the declaration form; an investigator is named."),
    ),
    Outcome.DISPUTES_AMOUNT: OutcomeSpec(
        met=Met.DEBTOR, needs_right_party=True, effect=Effect.SUSPEND, stops_visit=True, script=_SUSPENDED,
        next_step=N_("The bank examines the amount."),
    ),
    Outcome.DECLARATION_TAKEN: OutcomeSpec(
        met=Met.DEBTOR, needs_right_party=True, effect=Effect.SUSPEND, stops_visit=True, fields=(Field("declaration_id", _CODE, is_required=False),),
        script=_SUSPENDED, next_step=N_("An investigator is named; the bank rules."),
    ),
    Outcome.THIRD_PARTY_MET: OutcomeSpec(
        met=Met.THIRD_PARTY, fields=(Field("is_consent_given", _YES), Field("relation", _CODE), Field("information", _TEXT, is_required=False)),
        script=N_("Ask once, say nothing about a debt, stop at the first refusal."), next_step=_AGAIN,
    ),
    Outcome.TENANT_MET: OutcomeSpec(
        met=Met.THIRD_PARTY, fields=(Field("is_consent_given", _YES),), script=_LEAVE, next_step=N_("Check the address."),
    ),
    Outcome.ONLY_MINOR: OutcomeSpec(
        met=Met.THIRD_PARTY, script=N_("End the conversation at once; ask nothing about the parents."), next_step=N_("Not again on the same day."),
    ),
    Outcome.ONLY_FRAIL_PERSON: OutcomeSpec(
        met=Met.THIRD_PARTY, effect=Effect.HOLD, stops_visit=True, script=N_("End the conversation kindly; take no signature."),
        next_step=_SUPERVISOR,
    ),
    Outcome.NOBODY_MET: OutcomeSpec(met=Met.NOBODY, script=N_("Leave nothing that shows a debt."), next_step=_AGAIN),
    Outcome.NO_ANSWER_INTERCOM: OutcomeSpec(met=Met.NOBODY, script=N_("Ring once more, then leave."), next_step=_AGAIN),
    Outcome.GATE_REFUSED: OutcomeSpec(
        met=Met.NOBODY, script=N_("Give name and agency only; no argument, no other entrance."), next_step=N_("By appointment."),
    ),
    Outcome.ADDRESS_ABSENT: OutcomeSpec(met=Met.NOBODY, fields=(Field("finding", _CODE),), script=_LEAVE, next_step=N_("Check the address.")),
    Outcome.MOVED_AWAY: OutcomeSpec(met=Met.NOBODY, fields=(Field("source", _CODE),), script=_LEAVE, next_step=N_("Check the address.")),
    Outcome.LETTER_HANDED_OVER: OutcomeSpec(
        met=Met.DEBTOR, needs_right_party=True, fields=(Field("letter_number", _CODE),), script=_LEAVE, next_step=N_("Record the delivery."),
    ),
    Outcome.LETTER_IN_MAILBOX: OutcomeSpec(
        met=Met.NOBODY, fields=(Field("letter_number", _CODE),), script=N_("Sealed envelope only."), next_step=N_("Record the delivery."),
    ),
    Outcome.DECEASED: OutcomeSpec(
        met=Met.THIRD_PARTY, effect=Effect.DECEASED, stops_visit=True, fields=(Field("source", _CODE),),
        script=N_("Say your condolences; no word to heirs."), next_step=_SUPERVISOR,
    ),
    Outcome.VULNERABLE_FOUND: OutcomeSpec(
        met=Met.DEBTOR, effect=Effect.HOLD, stops_visit=True, fields=(Field("condition", _CODE), Field("observation", _TEXT, is_required=False)),
        script=N_("Stop, see that nobody is hurt, leave."), next_step=_SUPERVISOR,
    ),
    Outcome.SELF_HARM_THREAT: OutcomeSpec(
        met=Met.DEBTOR, effect=Effect.HOLD, stops_visit=True, incident=IncidentKind.SELF_HARM, fields=(Field("is_help_called", _YES),),
        script=N_("Stop, stay calm, call 110 or 120 and the supervisor."), next_step=_SUPERVISOR,
    ),
    Outcome.CONFLICT_LEFT: OutcomeSpec(
        met=Met.DEBTOR, stops_visit=True, incident=IncidentKind.CONFLICT, fields=(Field("description", _TEXT),),
        script=N_("Leave at once; the pair may always leave."), next_step=_SUPERVISOR,
    ),
    Outcome.POLICE_ATTENDED: OutcomeSpec(
        met=Met.DEBTOR, stops_visit=True, incident=IncidentKind.POLICE, fields=(Field("station", _CODE), Field("officer_number", _CODE)),
        script=N_("Show the letter and the badges; keep recording."), next_step=N_("The bank is told within the hour."),
    ),
    Outcome.FILMED_BY_DEBTOR: OutcomeSpec(
        met=Met.DEBTOR, incident=IncidentKind.FILMED, script=N_("It is allowed; ask for no deletion."), next_step=N_("The bank is told early."),
    ),
    Outcome.HAZARD: OutcomeSpec(
        met=Met.NOBODY, stops_visit=True, incident=IncidentKind.HAZARD, fields=(Field("hazard", _CODE),), script=N_("Leave."),
        next_step=N_("Put a safety note on the address."),
    ),
    Outcome.RECORDING_OBJECTED: OutcomeSpec(
        met=Met.DEBTOR, incident=IncidentKind.RECORDING_OBJECTED, fields=(Field("is_visit_continued", _YES),),
        script=N_("Never switch off in secret; note it and leave or go on as the bank says."), next_step=_SUPERVISOR,
    ),
    Outcome.OUT_OF_TIME: OutcomeSpec(met=Met.NOBODY, script=N_("Be gone before 21:00."), next_step=_AGAIN),
})

CATALOGUE_VERSION = 1
CATALOGUES: Mapping[int, Mapping[Outcome, OutcomeSpec]] = MappingProxyType({1: _VERSION_1})


def read_field(field: Field, given: Any) -> Any | None:
    """Return the value in its stored form (dates and instants as text), or None when it is not of its kind."""
    match field.kind:
        case FieldKind.AMOUNT:
            return given if type(given) is int and 1 <= given <= FEN_MAX else None
        case FieldKind.YES:
            return given if type(given) is bool else None
        case FieldKind.TEXT | FieldKind.CODE:
            longest = 500 if field.kind is FieldKind.TEXT else 64
            return given.strip() if isinstance(given, str) and 1 <= len(given.strip()) <= longest and "\0" not in given else None
        case FieldKind.DATE:
            return given if _is_readable(given, date) else None
        case FieldKind.INSTANT:
            return given if _is_readable(given, datetime) else None


def _is_readable(given: Any, kind: type[date] | type[datetime]) -> bool:
    if not isinstance(given, str):
        return False
    try:
        read = msgspec.convert(given, kind)
    except msgspec.ValidationError:
        return False
    if isinstance(read, datetime) and read.tzinfo is None:
        return False
    return _YEARS.start <= read.year < _YEARS.stop
