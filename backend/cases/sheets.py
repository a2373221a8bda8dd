"""Workbooks (XLSX) that banks send, as rows of texts. A workbook is a stranger's program: it is opened in a process of its own.

That process has little memory and little time, so an archive that inflates without end, or one cell in the last row and column,
ends there and is refused here. Numbers become texts without a rounding: what a cell cannot hold exactly, such as an account number
typed as a number, stays visibly wrong and is rejected with its row.
"""

import io
import resource
import zipfile
import zlib
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Final

import msgspec
import python_calamine as calamine

from backend.cases.layout import CELL_CHARACTERS_MAX, COLUMNS_MAX, ROWS_MAX
from backend.core.i18n import N_
from backend.core.problems import Problem
from backend.jobs.apart import WorkerFailed, WorkerKilled, run_apart

BYTES_MAX: Final = 20_000_000
INFLATED_BYTES_MAX: Final = 256_000_000
MEMBERS_MAX: Final = 1_000
_MEMORY_BYTES: Final = 1_500_000_000
_TIMEOUT_S: Final = 60
_EXACT_MAX: Final = 2**53
_ZIP, _OLE = b"PK\x03\x04", b"\xd0\xcf\x11\xe0"
_PIECE = 1 << 20
_LOCAL_HEADER = 30

Rows = tuple[tuple[str, ...], ...]


class SheetUnreadable(Problem):
    """The workbook cannot be read, or is larger than any that a bank needs."""

    status, code, title = 422, "sheet-unreadable", N_("The workbook cannot be read.")
    explanation = N_("Send the first sheet as XLSX or CSV: one heading row, no password, at most 50,000 rows. Nothing of it was taken in.")


def is_workbook(content: bytes) -> bool:
    """Tell whether the bytes are a workbook rather than a text."""
    return content.startswith((_ZIP, _OLE))


def rows_of(content: bytes) -> Rows:
    """Return the rows of a workbook's first visible sheet as texts, blank rows left out.

    Whole numbers are written plainly, others with two decimals or as many as they have, days as `YYYY-MM-DD`.

    Raises:
        SheetUnreadable: names the reason.
    """
    if content.startswith(_OLE):
        raise SheetUnreadable(reason="old-format", expected="XLSX or CSV")
    if len(content) > BYTES_MAX:
        raise SheetUnreadable(reason="too-large", expected=f"at most {BYTES_MAX} bytes")
    try:
        return msgspec.json.decode(run_apart(read_apart, content, timeout_s=_TIMEOUT_S), type=Rows)
    except WorkerKilled as error:
        raise SheetUnreadable(reason="too-large", expected=f"at most {ROWS_MAX} rows and {COLUMNS_MAX} columns") from error
    except WorkerFailed as error:
        reason = str(error).removeprefix("ValueError: ")
        raise SheetUnreadable(reason=reason if reason.replace("-", "").isalpha() else "broken") from error


def read_apart(content: bytes) -> bytes:
    """Read a workbook in the process made for it. Raises ValueError with a code as its text."""
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_BYTES, _MEMORY_BYTES))
    demand_modest(content)
    try:
        book = calamine.CalamineWorkbook.from_filelike(io.BytesIO(content))
        visible = [
            place for place, sheet in enumerate(book.sheets_metadata)
            if sheet.visible is calamine.SheetVisibleEnum.Visible and sheet.typ is calamine.SheetTypeEnum.WorkSheet
        ]
        if not visible:
            raise ValueError("no-sheet")
        sheet = book.get_sheet_by_index(visible[0])
    except calamine.PasswordError:
        raise ValueError("password") from None
    except (calamine.CalamineError, OSError):
        raise ValueError("broken") from None
    if sheet.total_height > 2 * ROWS_MAX:
        raise ValueError("too-large")
    rows: list[list[str]] = []
    for cells in sheet.iter_rows():
        texts = [text_of(cell) for cell in cells]
        if len(texts) > COLUMNS_MAX or len(rows) > ROWS_MAX or any(len(text) > CELL_CHARACTERS_MAX for text in texts):
            raise ValueError("too-large")
        if any(text.strip() for text in texts):
            rows.append(texts)
    return msgspec.json.encode(rows)


def demand_modest(content: bytes) -> None:
    """Refuse an archive that is no plain small one, by inflating it to nowhere: the sizes it declares are its own word.

    Raises:
        ValueError: with a code.
    """
    inflated = 0
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = archive.infolist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        raise ValueError("broken") from None
    if len(members) > MEMBERS_MAX:
        raise ValueError("too-large")
    for member in members:
        if member.flag_bits & 1:
            raise ValueError("password")
        if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise ValueError("broken")
        inflated += _inflated(content, member, INFLATED_BYTES_MAX - inflated)


def text_of(cell: Any) -> str:
    """Write a cell as text; a number that it does not hold exactly is written with an exponent, which nothing accepts."""
    match cell:
        case bool():
            return "TRUE" if cell else "FALSE"
        case int() | float():
            return _number(cell)
        case datetime():
            return cell.date().isoformat() if not (cell.hour or cell.minute or cell.second) else cell.isoformat(" ")
        case date():
            return cell.isoformat()
    return str(cell).replace("\0", "\N{REPLACEMENT CHARACTER}").strip()


def _number(value: float) -> str:
    if not abs(value) < _EXACT_MAX:
        return f"{value:e}"
    if value == int(value):
        return str(int(value))
    plain = format(Decimal(repr(value)), "f")
    return plain + "0" * max(0, 2 - len(plain.partition(".")[2]))


def _inflated(content: bytes, member: zipfile.ZipInfo, left: int) -> int:
    """Return how many bytes a member really has. Raises ValueError when it has more than are left, or lies about them."""
    header = content[member.header_offset : member.header_offset + _LOCAL_HEADER]
    if len(header) < _LOCAL_HEADER or not header.startswith(_ZIP):
        raise ValueError("broken")
    start = member.header_offset + _LOCAL_HEADER + int.from_bytes(header[26:28], "little") + int.from_bytes(header[28:30], "little")
    packed = content[start : start + member.compress_size]
    if member.compress_type == zipfile.ZIP_STORED:
        size = len(packed)
    else:
        size, inflater = 0, zlib.decompressobj(-zlib.MAX_WBITS)
        try:
            while packed and size <= left:
                size += len(inflater.decompress(packed, _PIECE))
                packed = inflater.unconsumed_tail
        except zlib.error:
            raise ValueError("broken") from None
    if size > left:
        raise ValueError("too-large")
    if size != member.file_size:
        raise ValueError("broken")
    return size
