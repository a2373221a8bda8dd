"""What each kind of manifest states, closed per kind. Amounts are integer fen, times UTC texts, digests lower-case hex."""

from enum import StrEnum
from typing import Annotated, TypeAlias

import msgspec
from msgspec import Meta

from evidence.times import UtcText

Sha256: TypeAlias = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}$", max_length=64)]
Kid: TypeAlias = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{43}$", max_length=43)]
OpaqueId: TypeAlias = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:-]*$", min_length=1, max_length=64)]
Code: TypeAlias = Annotated[str, Meta(pattern=r"^[a-z][a-z0-9_]*$", min_length=1, max_length=48)]
Note: TypeAlias = Annotated[str, Meta(max_length=2000)]
ShortText: TypeAlias = Annotated[str, Meta(min_length=1, max_length=120)]
Count: TypeAlias = Annotated[int, Meta(ge=0, le=2**31 - 1)]
AmountFen: TypeAlias = Annotated[int, Meta(ge=1, le=100_000_000_000)]
SeqNumber: TypeAlias = Annotated[int, Meta(ge=1, le=2**53 - 1)]
Safe: TypeAlias = Annotated[int, Meta(ge=0, le=2**53 - 1)]


class Kind(StrEnum):
    """What a manifest is about."""

    ARRIVAL = "arrival"
    CAPTURE = "capture"
    DECLARATION = "declaration"
    CASH_RECEIPT = "cash_receipt"
    VOID = "void"
    DEPARTURE = "departure"
    VISIT_CLOSE = "visit_close"
    COSIGN_REFUSAL = "cosign_refusal"


class IdentityPresented(StrEnum):
    """Who the visitors said they were (VIS-07). All but the agency is a violation, told as a fact."""

    AGENCY = "agency"
    BANK = "bank"
    AUTHORITY = "authority"
    OTHER = "other"
    NOT_ASKED = "not_asked"


class Denial(StrEnum):
    """The three denials that suspend a case at once (DECL-01)."""

    APPLICATION = "application"
    SPENDING = "spending"
    AMOUNT = "amount"


class DeclarationForm(StrEnum):
    """The two forms a bank permits (DECL-13)."""

    NOT_MY_CARD = "not_my_card"
    FORGERY = "forgery"


class Instrument(StrEnum):
    """What was handed over (CASH-02). A personal transfer exists as a breach only."""

    CASH = "cash"
    CASH_CHEQUE = "cash_cheque"
    OTHER_PROPERTY = "other_property"
    PERSONAL_TRANSFER = "personal_transfer"


class PayerRelation(StrEnum):
    """Who paid: the debtor, a person the bank's authorisation names (CONT-08), or, as a breach, anybody else."""

    DEBTOR = "debtor"
    NAMED_PERSON = "named_person"
    OTHER = "other"


class RightParty(StrEnum):
    """Whether the person met was confirmed to be the debtor before a word about the debt (F08)."""

    CONFIRMED = "confirmed"
    NOT_CONFIRMED = "not_confirmed"
    NOBODY_MET = "nobody_met"


class _Closed(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Base of every signed structure: closed, and an absent optional member has one spelling, absence."""


class ArrivalFacts(_Closed, frozen=True, kw_only=True):
    """Both visitors stand at the door."""

    lead: OpaqueId                                           # Employee id of the visitor who leads.
    credential_worn: bool                                    # Actor wears the credential (VIS-05).
    cosigner_credential_worn: bool                           # Partner wears it too (VIS-05).
    audio_device: bool                                       # An audio recorder is present (VIS-04).
    camera_device: bool                                      # A camera is present (VIS-04).
    recording_running: bool                                  # EVD-01.
    note: Note = ""


class CaptureFacts(_Closed, frozen=True, kw_only=True):
    """Items captured between arrival and departure, chained but not co-signed one by one (F07)."""

    occasion: Code                                           # `door_plate`, `conversation`, `letter_delivery`, …
    identity_presented: IdentityPresented | None = None
    right_party: RightParty | None = None
    note: Note = ""


class DeclarationFacts(_Closed, frozen=True, kw_only=True):
    """A written declaration of the cardholder (DECL-03 to DECL-13)."""

    denial: Denial
    form: DeclarationForm
    template_id: OpaqueId
    template_version: Annotated[int, Meta(ge=1, le=1_000_000)]
    text: Note                                               # Set text of the template, bank name filled in, as shown.
    special_circumstances: Note | None                       # None is the explicit "none" (DECL-10).
    transcription: Note | None                               # What the declarant wrote out by hand (DECL-11).
    written_by_declarant: bool                               # DECL-04.
    signed_by_declarant: bool                                # DECL-04.
    id_card_generation: Annotated[int, Meta(ge=1, le=2)]     # The second needs both sides (DECL-12).


class Denomination(_Closed, frozen=True, kw_only=True):
    """Notes or coins of one face value."""

    face_fen: AmountFen
    count: Annotated[int, Meta(ge=1, le=100_000)]


class CashReceiptFacts(_Closed, frozen=True, kw_only=True):
    """Money or property taken and receipted in one act (CASH-05). A fee has no place here (CASH-07)."""

    receipt_number: OpaqueId
    amount_fen: AmountFen
    amount_capitals: ShortText                               # Financial capitals, see `evidence.capitals`.
    instrument: Instrument
    payer: PayerRelation
    payer_name_sha256: Sha256                                # Of salt, colon, NFC name; salt: receipt number, `jti` for a named person.
    authorisation_jti: OpaqueId | None                       # None: taken without authority, still a fact (design decision 7).
    previous_receipt: Sha256                                 # Payload digest of this device's previous receipt, zeros at the first.
    denominations: Annotated[tuple[Denomination, ...], Meta(max_length=30)] = ()
    paper_receipt: bool = True                               # The payer holds the printed part (F11).


class VoidFacts(_Closed, frozen=True, kw_only=True):
    """A receipt number made void; needs both signatures and a photo."""

    receipt_number: OpaqueId
    reason: Code
    previous_receipt: Sha256
    all_parts_kept: bool                                     # F11.
    note: Note = ""


class DepartureFacts(_Closed, frozen=True, kw_only=True):
    """The pair leaves the door."""

    reason: Code                                             # `finished`, `left_to_avoid_conflict` (VIS-09), `hour_reached`, …
    recording_stopped: bool
    note: Note = ""


class EntryFacts(_Closed, frozen=True, kw_only=True):
    """An entry into home or office, allowed only after consent (VIS-03)."""

    reason: Code
    consented_by: Code                                       # Relation, never a name: `debtor`, `spouse`, …
    consented: UtcText
    entered: UtcText
    evidence: OpaqueId                                       # Item id that shows the consent.


class VisitCloseFacts(_Closed, frozen=True, kw_only=True):
    """The whole visit in one co-signed statement; both chains meet here."""

    outcome: Code
    entered: bool                                            # VIS-02: an explicit yes or no.
    right_party: RightParty
    identity_presented: IdentityPresented                    # VIS-07.
    arrived: UtcText
    departed: UtcText
    manifests: Annotated[tuple[Sha256, ...], Meta(max_length=200)]   # Every payload of this visit before this one, both devices.
    entry: EntryFacts | None = None
    conflict: bool = False                                   # VIS-09.
    incidents: Annotated[tuple[Code, ...], Meta(max_length=20)] = ()
    note: Note = ""


class RefusalReason(StrEnum):
    """Why a partner does not sign."""

    NOT_AS_STATED = "not_as_stated"
    NOT_PRESENT = "not_present"
    NOT_SHOWN = "not_shown"                                  # The content was not shown before the signature was asked for.
    PRESSURE = "pressure"
    OTHER = "other"


class CosignRefusalFacts(_Closed, frozen=True, kw_only=True):
    """A partner who was asked to sign a statement and will not (VIS-01): a statement of its own, in the partner's own chain."""

    manifest: Sha256                                         # Payload digest of the statement that is not signed.
    reason: RefusalReason
    note: Note = ""


Facts: TypeAlias = (
    ArrivalFacts | CaptureFacts | DeclarationFacts | CashReceiptFacts | VoidFacts | DepartureFacts | VisitCloseFacts | CosignRefusalFacts)

FACTS_BY_KIND: dict[Kind, type[Facts]] = {
    Kind.ARRIVAL: ArrivalFacts,
    Kind.CAPTURE: CaptureFacts,
    Kind.DECLARATION: DeclarationFacts,
    Kind.CASH_RECEIPT: CashReceiptFacts,
    Kind.VOID: VoidFacts,
    Kind.DEPARTURE: DepartureFacts,
    Kind.VISIT_CLOSE: VisitCloseFacts,
    Kind.COSIGN_REFUSAL: CosignRefusalFacts,
}
