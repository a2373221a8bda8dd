"""How a bank's placement file is written: encodings, columns, styles of days and amounts. Pure.

Amounts go from text to fen without a float.
"""

import re
from collections.abc import Mapping
from datetime import date, datetime
from enum import StrEnum
from typing import Final
from uuid import UUID

import msgspec

from backend.banks.model import AmountStyle, DateStyle
from backend.cases.identity import masked_name, masked_number, masked_text
from backend.core.fen import Fen
from backend.core.i18n import N_
from backend.core.ids import BankId, BatchId, BranchId, StaffId
from backend.core.problems import Problem

ROWS_MAX: Final = 50_000
COLUMNS_MAX: Final = 200
CELL_CHARACTERS_MAX: Final = 2_000


class PlacementUnreadable(Problem):
    """The file is no table in the bank's profile: nothing of it was taken in."""

    status, code, title = 422, "placement-unreadable", N_("The file cannot be read as a placement of this bank.")
    explanation = N_("The details name the line and what was expected. Ask the bank for a new file, or choose the right profile.")


class EncodingMismatch(Problem):
    """The bytes are in another encoding than declared."""

    status, code, title = 422, "placement-encoding", N_("The file is in another encoding than declared.")
    explanation = N_("Compare the declared encoding with the one found. Reading it anyway would turn names into other names.")


class ControlTotalsMismatch(Problem):
    """Row count or sum differ from what the bank declared: the whole file is refused."""

    status, code, title = 422, "control-totals", N_("The file does not add up to the declared control totals.")
    explanation = N_("Rows may be missing or doubled. Nothing was taken in; ask the bank which is right.")


class Acceptance(StrEnum):
    """What becomes of a placement file in which some rows are bad."""

    ALL_OR_NOTHING = "all_or_nothing"
    ACCEPT_GOOD = "accept_good"


class ImportPlacement(msgspec.Struct, frozen=True, kw_only=True):
    """A bank's placement file with what the bank declared about it."""

    bank_id: BankId
    profile_id: UUID
    branch_id: BranchId
    number: str
    content: bytes
    as_of_on: date
    row_count: int
    amount_total_fen: Fen
    acceptance: Acceptance
    rows: tuple[tuple[str, ...], ...] | None = None      # Of a workbook, read before the transaction begins; `content` is its digest's.


class BatchOutcome(StrEnum):
    """Whether the file's good rows became cases."""

    IMPORTED = "imported"
    REFUSED = "refused"


class BatchResult(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a placement file; the same for every import of the same file."""

    id: BatchId
    outcome: BatchOutcome
    number: str
    file_sha256: str
    encoding: str
    row_count: int
    accepted_count: int
    rejected_count: int
    amount_total_fen: Fen
    accepted_fen: Fen
    as_of_on: date
    received_at: datetime
    received_by: StaffId
    is_first: bool


class Encoding(StrEnum):
    """The encodings of banks' files; UTF-8 with or without its mark."""

    UTF_8 = "utf-8"
    GB18030 = "gb18030"


class Column(StrEnum):
    """What a profile may map a bank's column to."""

    BANK_REFERENCE = "bank_reference"
    NAME = "name"
    ID_NUMBER = "id_number"
    CARD_NUMBER = "card_number"
    PHONE = "phone"
    OCCUPATION = "occupation"
    BIRTH_ON = "birth_on"
    AMOUNT = "amount"
    PRINCIPAL = "principal"
    DAYS_PAST_DUE = "days_past_due"
    TERM_ENDS_ON = "term_ends_on"
    GRADE = "grade"
    DEBTOR_TYPE = "debtor_type"
    GENDER_RULE = "gender_rule"
    LANGUAGE = "language"
    SIGNALS = "signals"
    BRANCH_CODE = "branch_code"
    ADDRESS_KIND = "address_kind"
    STREET = "street"
    DIVISION_CODE = "division_code"
    LON = "lon"
    LAT = "lat"
    DATUM = "datum"
    SAFETY_NOTE = "safety_note"


C = Column
REQUIRED: Final = (C.BANK_REFERENCE, C.NAME, C.ID_NUMBER, C.CARD_NUMBER, C.AMOUNT, C.DAYS_PAST_DUE, C.TERM_ENDS_ON, C.STREET)
CONSTANT: Final = "="
_HIDDEN: Final = frozenset({C.OCCUPATION, C.BIRTH_ON, C.STREET, C.LON, C.LAT, C.SAFETY_NOTE})
_NUMBERS: Final = frozenset({C.ID_NUMBER, C.CARD_NUMBER, C.PHONE})

_DATE_SHAPES: Final[Mapping[DateStyle, re.Pattern[str]]] = {
    DateStyle.ISO: re.compile(r"([0-9]{4})-([0-9]{2})-([0-9]{2})"),
    DateStyle.SLASH: re.compile(r"([0-9]{4})/([0-9]{1,2})/([0-9]{1,2})"),
    DateStyle.COMPACT: re.compile(r"([0-9]{4})([0-9]{2})([0-9]{2})"),
    DateStyle.CHINESE: re.compile(r"([0-9]{4})年([0-9]{1,2})月([0-9]{1,2})日"),
}
_YUAN = re.compile(r"([0-9]{1,11}|[0-9]{1,3}(?:,[0-9]{3}){1,3})(?:\.([0-9]{1,2}))?")
_FEN = re.compile(r"[0-9]{1,13}")


class Layout(msgspec.Struct, frozen=True, kw_only=True):
    """How one bank writes its files: which of its headings is what, and in which style.

    A heading that begins with `=` names no column: the rest of it is the value of every row, as in `"datum": "=gcj02"`.
    """

    columns: Mapping[Column, str]
    encoding: Encoding
    date_style: DateStyle
    amount_style: AmountStyle
    separator: str
    accepts_iso_dates: bool = False          # In a workbook: its own days are written so, whatever the style of its texts.

    def __post_init__(self) -> None:
        missing = [column.value for column in REQUIRED if column not in self.columns]
        if missing:
            raise ValueError(f"a profile maps {', '.join(missing)}")
        if len(self.separator) != 1 or self.separator in '"\r\n\0':
            raise ValueError("a separator is one character, neither quote nor line end")


def detect_encoding(content: bytes) -> Encoding | None:
    """Return the encoding of `content`: UTF-8 if it is that, else GB18030 if it is that; None when it is neither.

    ASCII alone is both, and counts as UTF-8; `decode` then accepts either declaration.
    """
    for encoding in (Encoding.UTF_8, Encoding.GB18030):
        try:
            content.decode(encoding.value)
        except UnicodeDecodeError:
            continue
        return encoding
    return None


def decode(content: bytes, declared: Encoding) -> str:
    """Return the text of a file.

    Raises:
        EncodingMismatch: The bytes are in another encoding than declared, or in none that we know.
        PlacementUnreadable: The file is empty or holds NUL characters.
    """
    if not content.strip():
        raise PlacementUnreadable(reason="empty", line=0)
    if b"\0" in content:
        raise PlacementUnreadable(reason="nul-character", line=content[: content.index(b"\0")].count(b"\n") + 1)
    found = detect_encoding(content)
    if found is not declared and not (content.isascii() and found is not None):
        raise EncodingMismatch(expected=declared.value, got=found.value if found else "unknown")
    return content.decode("utf-8-sig" if declared is Encoding.UTF_8 else declared.value)


def parse_amount(text: str, style: AmountStyle) -> Fen | None:
    """Return whole fen, or None when `text` is no amount in this style: a third decimal, a sign or an exponent is none."""
    if style is AmountStyle.FEN:
        return Fen(int(text)) if _FEN.fullmatch(text) else None
    match = _YUAN.fullmatch(text)
    if match is None:
        return None
    return Fen(int(match[1].replace(",", "")) * 100 + int((match[2] or "").ljust(2, "0")))


def parse_date(text: str, style: DateStyle) -> date | None:
    """Return a day of the calendar, or None when `text` is none in this style."""
    match = _DATE_SHAPES[style].fullmatch(text)
    if match is None:
        return None
    try:
        return date(int(match[1]), int(match[2]), int(match[3]))
    except ValueError:
        return None


def masked_cell(column: Column, text: str) -> str:
    """Show a cell in a rejection: personal values masked, the rest cut at forty characters."""
    if column in _NUMBERS:
        return masked_number(text[:32])
    if column is C.NAME:
        return masked_name(text[:32])
    return masked_text(text) if column in _HIDDEN else text[:40]
