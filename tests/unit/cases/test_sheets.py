"""Workbooks of strangers: read exactly, or refused by name. Hostile ones end in the process made for them."""

import io
import struct
import zipfile
from collections.abc import Callable
from datetime import UTC, date, datetime
from typing import Any

import openpyxl
import pytest

from backend.cases.sheets import SheetUnreadable, demand_modest, is_workbook, rows_of, text_of

pytestmark = pytest.mark.long


def book(*rows: tuple[Any, ...], change: Callable[[Any], None] | None = None) -> bytes:
    """Make a workbook."""
    workbook = openpyxl.Workbook()
    for row in rows:
        workbook.active.append(row)
    if change is not None:
        change(workbook)
    stream = io.BytesIO()
    workbook.save(stream)
    return stream.getvalue()


def replaced(content: bytes, name: str, new: bytes) -> bytes:
    """Put other bytes into one member of an archive."""
    stream = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as fresh:
        for member in old.infolist():
            fresh.writestr(member.filename, new if member.filename == name else old.read(member.filename))
    return stream.getvalue()


def reason_of(content: bytes) -> str:
    """Return the reason with which a workbook is refused."""
    with pytest.raises(SheetUnreadable) as caught:
        rows_of(content)
    return str(caught.value.details["reason"])


def test_cells_of_every_kind_become_texts() -> None:
    content = book(("账号", "金额", "日期"), ("1100220033004400551", 1234.5, date(2026, 11, 27)), (None, None, None), ("x", 190000, "2026/11/27"))
    assert is_workbook(content)
    assert rows_of(content) == (
        ("账号", "金额", "日期"), ("1100220033004400551", "1234.50", "2026-11-27"), ("x", "190000", "2026/11/27"))


@pytest.mark.parametrize(("cell", "text"), [
    (True, "TRUE"), (0.1, "0.10"), (1.005, "1.005"), (-3.0, "-3"), (1e300, "1.000000e+300"), (2.0**53, "9.007199e+15"), (float("nan"), "nan"),
    (float("inf"), "inf"), (1100220033004400551.0, "1.100220e+18"), (date(2026, 11, 27), "2026-11-27"),
    (datetime(2026, 11, 27, 8, 30, tzinfo=UTC).replace(tzinfo=None), "2026-11-27 08:30:00"), ("a\0b ", "a\N{REPLACEMENT CHARACTER}b"), ("", ""),
])
def test_a_cell_is_written_exactly_or_visibly_wrong(cell: Any, text: str) -> None:
    assert text_of(cell) == text


def test_the_first_visible_sheet_is_read() -> None:
    def hide(workbook: Any) -> None:
        workbook.create_sheet("second").append(("seen",))
        workbook.worksheets[0].sheet_state = "hidden"
        workbook.active = 1

    assert rows_of(book(("unseen",), change=hide)) == (("seen",),)


def test_what_is_no_workbook_is_refused() -> None:
    assert reason_of(b"\xd0\xcf\x11\xe0" + bytes(100)) == "old-format"
    assert reason_of(b"PK\x03\x04" + bytes(100)) == "broken"
    assert reason_of(book(("a",))[:-30]) == "broken"
    assert reason_of(replaced(book(("a",)), "xl/worksheets/sheet1.xml", b"<worksheet><sheetData><row><c")) in ("broken", "too-large")


def test_an_archive_that_inflates_without_end_is_refused() -> None:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        archive.writestr("xl/worksheets/sheet1.xml", bytes(260_000_000))
    assert len(stream.getvalue()) < 300_000
    assert reason_of(stream.getvalue()) == "too-large"


def test_an_archive_that_lies_about_its_sizes_is_refused() -> None:
    content = bytearray(replaced(book(("a",)), "xl/worksheets/sheet1.xml", b"<a/>" + bytes(100_000)))
    size = struct.pack("<I", 100_004)
    assert content.count(size) == 2
    with pytest.raises(ValueError, match="broken"):
        demand_modest(bytes(content.replace(size, struct.pack("<I", 4))))


def test_one_cell_in_the_last_corner_is_refused_and_not_allocated() -> None:
    sheet = (b'<?xml version="1.0"?><worksheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"><sheetData>'
             b'<row r="1"><c r="A1"><v>1</v></c></row><row r="1048576"><c r="XFD1048576"><v>1</v></c></row></sheetData></worksheet>')
    assert reason_of(replaced(book(("a",)), "xl/worksheets/sheet1.xml", sheet)) == "too-large"


def test_one_long_text_shown_a_thousand_times_is_refused() -> None:
    assert reason_of(book(*((["x" * 3_000]),) * 1_000)) == "too-large"


def test_too_wide_and_too_many_members_are_refused() -> None:
    assert reason_of(book(tuple(range(201)))) == "too-large"
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for number in range(1_001):
            archive.writestr(str(number), b"")
    with pytest.raises(ValueError, match="too-large"):
        demand_modest(stream.getvalue())


def test_an_encrypted_member_is_refused() -> None:
    content = bytearray(book(("a",)))
    entry = content.rindex(b"PK\x01\x02")
    content[entry + 8] |= 1
    with pytest.raises(ValueError, match="password"):
        demand_modest(bytes(content))
