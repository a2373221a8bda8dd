"""A bank's placement file as bytes → checked rows and named rejections. Pure; nothing here is stored or logged.

A rejection shows a personal value masked only.
"""

import csv
import io
import re
from collections.abc import Mapping
from datetime import date
from enum import StrEnum
from typing import Final, TypeVar

import msgspec

from backend.banks.model import DateStyle
from backend.cases.identity import birth_of, has_id_checksum, is_card_number, is_id_shaped, is_phone_number
from backend.cases.layout import (
    CELL_CHARACTERS_MAX,
    COLUMNS_MAX,
    CONSTANT,
    REQUIRED,
    ROWS_MAX,
    Column,
    ControlTotalsMismatch,
    Layout,
    PlacementUnreadable,
    decode,
    masked_cell,
    parse_amount,
    parse_date,
)
from backend.cases.model import AddressKind, DebtorType, GenderRule, Signal
from backend.core.fen import FEN_MAX, Fen
from backend.core.geo import Datum, LonLat, to_wgs84

DAYS_PAST_DUE_MAX: Final = 20_000

C = Column
_Choice = TypeVar("_Choice", bound=StrEnum)
_WHOLE = re.compile(r"[0-9]{1,5}")
_REFERENCE = re.compile(r"[0-9A-Za-z._/-]{1,64}")
_LANGUAGE = re.compile(r"[a-z]{2,3}(?:-[A-Za-z0-9]{2,8})?")
_DIVISION = re.compile(r"[0-9]{6}(?:[0-9]{3}){0,2}")
_DEGREES = re.compile(r"-?[0-9]{1,3}(?:\.[0-9]{1,15})?")


class Address(msgspec.Struct, frozen=True, kw_only=True):
    """An address as the file gives it; without a point it needs a pin before anyone can be sent there."""

    kind: AddressKind
    street: str
    division_code: str | None
    point: LonLat | None
    datum_given: Datum | None
    safety_note: str | None


class Placed(msgspec.Struct, frozen=True, kw_only=True):
    """One good row, in the clear, on its way to being sealed."""

    row_number: int
    bank_reference: str
    name: str
    id_number: str
    card_number: str
    phone: str | None
    occupation: str | None
    birth_on: date
    amount: Fen
    principal: Fen | None
    days_past_due: int
    term_ends_on: date
    grade: str | None
    debtor_type: DebtorType | None
    gender_rule: GenderRule
    language: str
    signals: frozenset[Signal]
    branch_code: str | None
    address: Address


class Rejection(msgspec.Struct, frozen=True, kw_only=True):
    """Why one row was not taken; `row_number` counts the rows below the heading from 1, `got` is masked."""

    row_number: int
    column: str
    code: str
    expected: str
    got: str


class Placement(msgspec.Struct, frozen=True, kw_only=True):
    """A file as read: good rows, rejections, and the totals over all of its rows."""

    encoding: str
    rows: tuple[Placed, ...]
    rejections: tuple[Rejection, ...]
    row_count: int
    amount_total: Fen


def read_placement(content: bytes, layout: Layout, rows_given: tuple[tuple[str, ...], ...] | None = None) -> Placement:
    """Read a whole file. Rows are judged one by one; the table itself must be sound.

    Args:
        rows_given: The rows of a workbook, whose text has no encoding to detect.

    Raises:
        EncodingMismatch, PlacementUnreadable: Nothing of the file can be trusted.
    """
    if rows_given is None:
        records = _records(decode(content, layout.encoding), layout.separator)
    else:
        records, layout = _sheet_records(rows_given), msgspec.structs.replace(layout, accepts_iso_dates=True)
    places = _heading(records[0], layout)
    constants = {column: name.removeprefix(CONSTANT) for column, name in layout.columns.items() if name.startswith(CONSTANT)}
    rows: list[Placed] = []
    rejections: list[Rejection] = []
    amount_total = 0
    first_seen: dict[str, int] = {}
    for number, record in enumerate(records[1:], start=1):
        if len(record) != len(records[0]):
            rejections.append(_rejection(number, "", "column-count", str(len(records[0])), str(len(record))))
            continue
        cells = constants | {column: record[place].strip() for column, place in places.items()}
        amount_total += parse_amount(cells[C.AMOUNT], layout.amount_style) or 0
        placed, reasons = _RowReader(number, cells, layout).read()
        earlier = first_seen.setdefault(cells[C.BANK_REFERENCE], number)
        if cells[C.BANK_REFERENCE] and earlier != number:
            reasons = (*reasons, _rejection(number, C.BANK_REFERENCE, "duplicate-in-file", "once", f"first in row {earlier}"))
        if placed is None or reasons:
            rejections.extend(reasons)
        else:
            rows.append(placed)
    return Placement(
        encoding="xlsx" if rows_given is not None else layout.encoding.value, rows=tuple(rows), rejections=tuple(rejections),
        row_count=len(records) - 1, amount_total=Fen(amount_total),
    )


def demand_totals(placement: Placement, *, row_count: int, amount_total: Fen) -> None:
    """Refuse a file that differs from the bank's declaration. An amount that cannot be read counts nothing.

    Raises:
        ControlTotalsMismatch: Count or sum differ.
    """
    if (placement.row_count, placement.amount_total) != (row_count, amount_total):
        raise ControlTotalsMismatch(
            row_count_declared=row_count, row_count_found=placement.row_count,
            amount_declared_fen=amount_total, amount_found_fen=placement.amount_total,
        )


def rejections_csv(rejections: tuple[Rejection, ...]) -> str:
    """Write the rejection file that goes back to the bank: RFC 4180, one line per reason, nothing a spreadsheet would run."""
    stream = io.StringIO(newline="")
    writer = csv.writer(stream)
    writer.writerow(("row", "column", "code", "expected", "got"))
    for one in rejections:
        writer.writerow((one.row_number, _inert(one.column), one.code, _inert(one.expected), _inert(one.got)))
    return stream.getvalue()


def _inert(text: str) -> str:
    return "'" + text if text.startswith(("=", "+", "-", "@", "\t")) else text


def _rejection(number: int, column: str, code: str, expected: str, got: str) -> Rejection:
    return Rejection(row_number=number, column=str(column), code=code, expected=expected, got=got)


def _records(text: str, separator: str) -> list[list[str]]:
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    records: list[list[str]] = []
    try:
        for record in reader:
            if not any(cell.strip() for cell in record):
                continue  # Blank lines at the end are every export's habit.
            if len(record) > COLUMNS_MAX or len(records) > ROWS_MAX or any(len(cell) > CELL_CHARACTERS_MAX for cell in record):
                raise PlacementUnreadable(reason="too-large", line=reader.line_num, rows_max=ROWS_MAX, columns_max=COLUMNS_MAX)
            records.append(record)
    except csv.Error as error:
        raise PlacementUnreadable(reason="broken-csv", line=reader.line_num) from error
    if len(records) < 2:
        raise PlacementUnreadable(reason="no-rows", line=reader.line_num)
    return records


def _sheet_records(rows: tuple[tuple[str, ...], ...]) -> list[list[str]]:
    if len(rows) < 2:
        raise PlacementUnreadable(reason="no-rows", line=len(rows))
    return [list(row) for row in rows]


def _heading(heading: list[str], layout: Layout) -> dict[Column, int]:
    names = [name.strip() for name in heading]
    wanted = {column: name for column, name in layout.columns.items() if not name.startswith(CONSTANT)}
    doubled = sorted({name for name in wanted.values() if names.count(name) > 1})
    missing = sorted(name for name in wanted.values() if name not in names)
    if doubled or missing:
        raise PlacementUnreadable(reason="heading", line=1, missing=missing, doubled=doubled)
    return {column: names.index(name) for column, name in wanted.items()}


class _RowReader:
    """Reads the cells of one row, gathering every reason against it."""

    def __init__(self, number: int, cells: Mapping[Column, str], layout: Layout) -> None:
        self._number, self._cells, self._layout = number, cells, layout
        self._reasons: list[Rejection] = []

    def read(self) -> tuple[Placed | None, tuple[Rejection, ...]]:
        for column in REQUIRED:
            if not self._cells[column]:
                self._refuse(column, "missing", "a value")
        amount, id_number = self._amount(C.AMOUNT), self._id_number()
        term_ends_on = self._date(C.TERM_ENDS_ON)
        birth_on = self._birth(id_number)
        placed = Placed(
            row_number=self._number,
            bank_reference=self._shaped(C.BANK_REFERENCE, _REFERENCE, "1 to 64 letters, digits or ._/-") or "",
            name=self._name(), id_number=id_number, card_number=self._card(), phone=self._phone(),
            occupation=self._text(C.OCCUPATION, 100), birth_on=birth_on or date.min, amount=amount or Fen(0), principal=self._amount(C.PRINCIPAL),
            days_past_due=self._days(), term_ends_on=term_ends_on or date.min, grade=self._text(C.GRADE, 8),
            debtor_type=self._choice(C.DEBTOR_TYPE, DebtorType), gender_rule=self._choice(C.GENDER_RULE, GenderRule) or GenderRule.ANY,
            language=self._shaped(C.LANGUAGE, _LANGUAGE, "a language tag such as zh") or "zh",
            signals=self._signals(), branch_code=self._text(C.BRANCH_CODE, 32), address=self._address(),
        )
        return (None if self._reasons else placed), tuple(self._reasons)

    def _cell(self, column: Column) -> str:
        return self._cells.get(column, "")

    def _refuse(self, column: Column, code: str, expected: str) -> None:
        self._reasons.append(_rejection(self._number, column, code, expected, masked_cell(column, self._cell(column))))

    def _shaped(self, column: Column, shape: re.Pattern[str], expected: str) -> str | None:
        text = self._cell(column)
        if text and not shape.fullmatch(text):
            self._refuse(column, "malformed", expected)
        return text or None

    def _text(self, column: Column, length_max: int) -> str | None:
        text = self._cell(column)
        if len(text) > length_max or not all(character.isprintable() for character in text):
            self._refuse(column, "malformed", f"at most {length_max} printable characters")
        return text or None

    def _name(self) -> str:
        return self._text(C.NAME, 60) or ""

    def _amount(self, column: Column) -> Fen | None:
        text = self._cell(column)
        if not text:
            return None
        amount = parse_amount(text, self._layout.amount_style)
        if amount is None:
            self._refuse(column, "malformed-amount", self._layout.amount_style.value)
        elif not 0 < amount <= FEN_MAX:
            self._refuse(column, "out-of-range", f"1 to {FEN_MAX} fen")
        return amount

    def _date(self, column: Column) -> date | None:
        text = self._cell(column)
        parsed = parse_date(text, self._layout.date_style) if text else None
        if text and parsed is None and self._layout.accepts_iso_dates:
            parsed = parse_date(text, DateStyle.ISO)
        if text and parsed is None:
            self._refuse(column, "malformed-date", self._layout.date_style.value)
        return parsed

    def _days(self) -> int:
        text = self._cell(C.DAYS_PAST_DUE)
        if not text:
            return 0
        if not _WHOLE.fullmatch(text) or int(text) > DAYS_PAST_DUE_MAX:
            self._refuse(C.DAYS_PAST_DUE, "out-of-range", f"0 to {DAYS_PAST_DUE_MAX} days")
            return 0
        return int(text)

    def _id_number(self) -> str:
        number = self._cell(C.ID_NUMBER).upper()
        if number and not is_id_shaped(number):
            self._refuse(C.ID_NUMBER, "malformed", "17 digits and a digit or X")
        elif number and not has_id_checksum(number):
            self._refuse(C.ID_NUMBER, "id-checksum", "the check digit of GB 11643")
        return number

    def _birth(self, id_number: str) -> date | None:
        stated, given = birth_of(id_number), self._date(C.BIRTH_ON)
        if has_id_checksum(id_number) and stated is None:
            self._refuse(C.ID_NUMBER, "id-birth", "a day of the calendar in places 7 to 14")
        if stated is not None and given is not None and stated != given:
            self._refuse(C.BIRTH_ON, "birth-differs", "the day that the identity number states")
        return given or stated

    def _card(self) -> str:
        number = re.sub(r"[ -]", "", self._cell(C.CARD_NUMBER))
        if number and not is_card_number(number):
            self._refuse(C.CARD_NUMBER, "card-checksum", "13 to 19 digits with a Luhn check digit")
        return number

    def _phone(self) -> str | None:
        number = re.sub(r"[ ()-]", "", self._cell(C.PHONE))
        if number and not is_phone_number(number):
            self._refuse(C.PHONE, "malformed", "7 to 15 digits")
        return number or None

    def _choice(self, column: Column, choices: type[_Choice]) -> _Choice | None:
        text = self._cell(column)
        known = {choice.value: choice for choice in choices}
        if text and text not in known:
            self._refuse(column, "unknown-value", " | ".join(known))
        return known.get(text)

    def _signals(self) -> frozenset[Signal]:
        known = {signal.value: signal for signal in Signal}
        names = [name for name in re.split(r"[;| ]+", self._cell(C.SIGNALS)) if name]
        if any(name not in known for name in names):
            self._refuse(C.SIGNALS, "unknown-value", " | ".join(known))
        return frozenset(known[name] for name in names if name in known)

    def _address(self) -> Address:
        point, datum = self._point()
        return Address(
            kind=self._choice(C.ADDRESS_KIND, AddressKind) or AddressKind.RESIDENCE, street=self._text(C.STREET, 200) or "",
            division_code=self._shaped(C.DIVISION_CODE, _DIVISION, "6, 9 or 12 digits of GB/T 2260"),
            point=point, datum_given=datum, safety_note=self._text(C.SAFETY_NOTE, 200),
        )

    def _point(self) -> tuple[LonLat | None, Datum | None]:
        lon, lat = self._cell(C.LON), self._cell(C.LAT)
        datum = self._choice(C.DATUM, Datum)
        if not lon and not lat:
            return None, None
        if datum is None:
            self._refuse(C.DATUM, "missing", "the datum of the position")
            return None, None
        if not (_DEGREES.fullmatch(lon) and _DEGREES.fullmatch(lat)) or not (abs(float(lon)) <= 180 and abs(float(lat)) <= 90):
            self._refuse(C.LON if not _DEGREES.fullmatch(lon) else C.LAT, "malformed", "degrees, longitude within 180, latitude within 90")
            return None, None
        return to_wgs84(LonLat(float(lon), float(lat)), datum), datum
