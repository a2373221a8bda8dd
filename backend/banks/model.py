"""Banks: mandates, templates, accounts and keys; nouns and what may follow what."""

from collections.abc import Mapping
from datetime import date
from enum import StrEnum
from types import MappingProxyType

import msgspec

from backend.core.fen import Fen
from backend.core.geo import LonLat
from backend.core.ids import BankId
from backend.core.states import follow


class MandateAction(StrEnum):
    """What a mandate can permit in the bank's matter (BANK-02). What it does not name is outside the authority given."""

    FIELD_VISIT = "field_visit"
    PHONE_CONTACT = "phone_contact"
    SMS = "sms"
    LETTER = "letter"
    CASH_COLLECTION = "cash_collection"
    DECLARATION = "declaration"
    POLICE_REPORT = "police_report"


class TemplateKind(StrEnum):
    """Texts that only the bank's own wording may carry."""

    NOT_MY_CARD = "not_my_card"
    FORGERY = "forgery"
    REPAYMENT_COMMITMENT = "repayment_commitment"
    LETTER = "letter"


class KeyPurpose(StrEnum):
    """What a key of a bank signs; one key serves one purpose."""

    CASH_AUTHORISATION = "cash_authorisation"
    API = "api"


class KeyHardware(StrEnum):
    """Whose hardware holds the private key; a pack names it (F19). `demo` exists in demo databases only."""

    DEMO = "demo"
    WEBCRYPTO = "webcrypto"
    BANK_SYSTEM = "bank_system"


class BankKeyState(StrEnum):
    """Where a bank's key stands."""

    ACTIVE = "active"
    REVOKED = "revoked"


class BankKeyEvent(StrEnum):
    """What can happen to a bank's key."""

    REVOKE = "revoke"


BANK_KEY_TRANSITIONS: Mapping[tuple[BankKeyState, BankKeyEvent], BankKeyState] = MappingProxyType({
    (BankKeyState.ACTIVE, BankKeyEvent.REVOKE): BankKeyState.REVOKED,
})


def advance_bank_key(state: BankKeyState, event: BankKeyEvent) -> BankKeyState:
    """Return the state after `event`. Raises `IllegalTransition` when it cannot follow."""
    return follow(BANK_KEY_TRANSITIONS, state, event)


class DateStyle(StrEnum):
    """How a bank's file writes dates."""

    ISO = "iso"          # 2026-11-20
    SLASH = "slash"      # 2026/11/20
    COMPACT = "compact"  # 20261120
    CHINESE = "chinese"  # 2026年11月20日


class AmountStyle(StrEnum):
    """How a bank's file writes amounts."""

    YUAN = "yuan"        # 1,234.56 or 1234.56
    FEN = "fen"          # 123456


class NewMandate(msgspec.Struct, frozen=True, kw_only=True):
    """A bank's mandate to the agency, valid on both named days and between (BANK-02, BANK-07)."""

    bank_id: BankId
    reference: str
    valid_from_on: date
    valid_to_on: date
    permitted: frozenset[MandateAction]
    nda_reference: str | None = None
    qualification_checked_on: date | None = None

    def __post_init__(self) -> None:
        if self.valid_to_on < self.valid_from_on:
            raise ValueError("a mandate ends on or after the day it begins")


class OfficeKind(StrEnum):
    """What takes the cash."""

    COUNTER = "counter"
    MACHINE = "machine"


class NewOffice(msgspec.Struct, frozen=True, kw_only=True):
    """A counter or machine of a bank that takes deposits; seconds since local midnight."""

    bank_id: BankId
    name: str
    location: LonLat
    opens_s: int
    closes_s: int
    service_s: int
    kind: OfficeKind = OfficeKind.COUNTER
    is_open_on_off_days: bool = False
    deposit_fen_max: Fen | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.opens_s < self.closes_s <= 86_400:
            raise ValueError("opening hours lie within one day and are not empty")


class NewImportProfile(msgspec.Struct, frozen=True, kw_only=True):
    """How one bank writes its placement files: our column name → the header in its file."""

    bank_id: BankId
    version: str
    columns: Mapping[str, str]
    encoding: str
    date_style: DateStyle
    amount_style: AmountStyle
    separator: str
