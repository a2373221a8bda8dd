"""Reading banks' files: every way to be wrong first, then the styles that are right."""

from datetime import date
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.banks.model import AmountStyle, DateStyle
from backend.cases.layout import (
    Column,
    ControlTotalsMismatch,
    Encoding,
    EncodingMismatch,
    Layout,
    PlacementUnreadable,
    decode,
    detect_encoding,
    parse_amount,
    parse_date,
)
from backend.cases.placement import Placement, demand_totals, read_placement, rejections_csv
from backend.core.fen import Fen
from backend.core.geo import Datum, LonLat, distance_m, from_wgs84
from tests.support.cases import HEADINGS, csv_text, id_number, row, total_fen


def layout(**changes: Any) -> Layout:
    values: dict[str, Any] = {
        "columns": {Column(name): heading for name, heading in HEADINGS.items()}, "encoding": Encoding.UTF_8, "date_style": DateStyle.ISO,
        "amount_style": AmountStyle.YUAN, "separator": ",",
    }
    return Layout(**{**values, **changes})


def read(*rows: dict[str, str], **changes: Any) -> Placement:
    return read_placement(csv_text(rows).encode(), layout(**changes))


def refusal(content: bytes, **changes: Any) -> str:
    with pytest.raises(PlacementUnreadable) as refused:
        read_placement(content, layout(**changes))
    return str(refused.value.details["reason"])


GOOD = csv_text([row(1), row(2)]).encode()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty"), (b" \r\n\r\n", "empty"), (b"\xef\xbb\xbf", "no-rows"), (GOOD.replace("测试".encode(), b"\0", 1), "nul-character"),
        (csv_text([]).encode(), "no-rows"), (b"a,b\r\n1,2\r\n", "heading"), (GOOD + b'"never closed', "broken-csv"),
        (GOOD + b'"closed"badly,1\r\n', "broken-csv"), (GOOD + b'"' + b"x" * 200_000 + b'"', "broken-csv"), (GOOD + b"x" * 3_000, "too-large"),
        (GOOD + b"," * 300, "no-rows-skipped"), (GOOD + b"1," * 300, "too-large"),
        (GOOD.replace("姓名".encode(), "手机".encode(), 1), "heading"),
    ],
)
def test_a_file_that_is_no_table_of_the_bank_is_refused_whole(content: bytes, reason: str) -> None:
    if reason == "no-rows-skipped":
        assert read_placement(content, layout()).row_count == 2  # Cells without content are a blank line.
    else:
        assert refusal(content) == reason


def test_a_file_in_another_encoding_than_declared_is_refused() -> None:
    text = csv_text([row(1)])
    for content, declared, got in (
        (text.encode("gb18030"), Encoding.UTF_8, "gb18030"), (text.encode(), Encoding.GB18030, "utf-8"),
        (text.encode("utf-16"), Encoding.UTF_8, None),
    ):
        with pytest.raises((EncodingMismatch, PlacementUnreadable)) as refused:
            read_placement(content, layout(encoding=declared))
        if got is not None:
            assert refused.value.details == {"expected": declared.value, "got": got}
    with pytest.raises(EncodingMismatch) as unknown:
        decode(b"\xff\xff\xff,\xff", Encoding.GB18030)
    assert unknown.value.details["got"] == "unknown"


@pytest.mark.parametrize("encoding", list(Encoding))
def test_plain_ascii_passes_under_either_declaration(encoding: Encoding) -> None:
    assert decode(b"a,b\n1,2\n", encoding) == "a,b\n1,2\n"


@pytest.mark.parametrize(
    ("content", "declared"),
    [(csv_text([row(1)]).encode(), Encoding.UTF_8), (csv_text([row(1)]).encode("utf-8-sig"), Encoding.UTF_8),
     (csv_text([row(1, name="䶮一")]).encode("gb18030"), Encoding.GB18030)],
)
def test_three_encodings_of_one_file_read_alike(content: bytes, declared: Encoding) -> None:
    assert detect_encoding(content) is declared
    placement = read_placement(content, layout(encoding=declared))
    assert (len(placement.rows), placement.rejections, placement.encoding) == (1, (), declared)


@pytest.mark.parametrize(("count", "offset"), [(1, 0), (3, 0), (2, 1), (2, -1)])
def test_control_totals_that_differ_by_a_row_or_a_fen_refuse_the_file(count: int, offset: int) -> None:
    rows = [row(1), row(2)]
    with pytest.raises(ControlTotalsMismatch):
        demand_totals(read(*rows), row_count=count, amount_total=Fen(total_fen(rows) + offset))
    demand_totals(read(*rows), row_count=2, amount_total=total_fen(rows))


@pytest.mark.parametrize(
    ("changes", "column", "code"),
    [
        ({"bank_reference": ""}, "bank_reference", "missing"), ({"bank_reference": "甲"}, "bank_reference", "malformed"),
        ({"name": ""}, "name", "missing"), ({"name": "字" * 61}, "name", "malformed"), ({"name": "测\u202e试"}, "name", "malformed"),
        ({"id_number": id_number(1)[:-1] + ("1" if id_number(1)[-1] != "1" else "2")}, "id_number", "id-checksum"),
        ({"id_number": "123"}, "id_number", "malformed"), ({"card_number": "9999990000000001"}, "card_number", "card-checksum"),
        ({"phone": "call me"}, "phone", "malformed"), ({"amount": "12.345"}, "amount", "malformed-amount"),
        ({"amount": "-1.00"}, "amount", "malformed-amount"), ({"amount": "1e3"}, "amount", "malformed-amount"),
        ({"amount": "１２"}, "amount", "malformed-amount"), ({"amount": "0.00"}, "amount", "out-of-range"),
        ({"amount": "NaN"}, "amount", "malformed-amount"),
        ({"amount": "1,23.00"}, "amount", "malformed-amount"), ({"days_past_due": "-1"}, "days_past_due", "out-of-range"),
        ({"days_past_due": "99999"}, "days_past_due", "out-of-range"), ({"term_ends_on": "2027-02-30"}, "term_ends_on", "malformed-date"),
        ({"term_ends_on": "31/03/2027"}, "term_ends_on", "malformed-date"), ({"gender_rule": "women"}, "gender_rule", "unknown-value"),
        ({"signals": "vip"}, "signals", "unknown-value"), ({"lon": "181"}, "lat", "malformed"), ({"lat": ""}, "lat", "malformed"),
        ({"datum": ""}, "datum", "missing"), ({"datum": "mars"}, "datum", "unknown-value"), ({"division_code": "31"}, "division_code", "malformed"),
        ({"street": ""}, "street", "missing"), ({"language": "中文"}, "language", "malformed"),
    ],
)
def test_a_bad_cell_rejects_its_row_by_column_and_code(changes: dict[str, str], column: str, code: str) -> None:
    placement = read(row(1, **changes), row(2))
    assert [one.bank_reference for one in placement.rows] == ["R-0002"]
    assert (column, code) in {(one.column, one.code) for one in placement.rejections}
    assert {one.row_number for one in placement.rejections} == {1}


def test_SEC_03_rejections_show_personal_values_masked_only() -> None:
    broken = row(1, id_number="990000198506150012", phone="not-a-number-13900", card_number="9999990000000001", street="x" * 201)
    placement = read(broken)
    file = rejections_csv(placement.rejections)
    assert {"id_number", "card_number", "street"} <= {one.column for one in placement.rejections}
    for secret in ("99000019850615", "999999000000", "x" * 9):
        assert secret not in file


def test_rejection_file_runs_no_formula_in_a_spreadsheet() -> None:
    (line,) = [line for line in rejections_csv(read(row(1, gender_rule="=HYPERLINK(1)")).rejections).splitlines() if "gender" in line]
    assert "'=HYPERLINK(1)" in line


def test_second_row_of_one_reference_is_rejected_and_the_first_kept() -> None:
    placement = read(row(1), row(2, bank_reference="R-0001"))
    assert [one.row_number for one in placement.rows] == [1]
    assert [(one.row_number, one.code, one.got) for one in placement.rejections] == [(2, "duplicate-in-file", "first in row 1")]


def test_row_with_a_missing_cell_is_rejected_and_the_rest_read() -> None:
    lines = csv_text([row(1), row(2)]).splitlines()
    lines[1] = lines[1].rpartition(",")[0]
    placement = read_placement("\n".join(lines).encode(), layout())
    assert [(one.row_number, one.code) for one in placement.rejections] == [(1, "column-count")]
    assert (placement.row_count, len(placement.rows)) == (2, 1)


@given(st.binary(max_size=400))
def test_any_bytes_are_read_or_refused_and_never_crash(content: bytes) -> None:
    for encoding in Encoding:
        try:
            read_placement(GOOD + content, layout(encoding=encoding))
        except (PlacementUnreadable, EncodingMismatch):
            continue


@given(st.integers(min_value=0, max_value=10**13 - 1))
def test_amounts_go_to_fen_and_back_without_loss(amount: int) -> None:
    plain, grouped = f"{amount // 100}.{amount % 100:02d}", f"{amount // 100:,}.{amount % 100:02d}"
    assert parse_amount(plain, AmountStyle.YUAN) == parse_amount(grouped, AmountStyle.YUAN) == parse_amount(str(amount), AmountStyle.FEN) == amount


def test_one_decimal_is_tenths() -> None:
    assert parse_amount("12.3", AmountStyle.YUAN) == 1_230


@pytest.mark.parametrize(
    ("style", "text"),
    [(DateStyle.ISO, "2026-11-07"), (DateStyle.SLASH, "2026/11/7"), (DateStyle.COMPACT, "20261107"), (DateStyle.CHINESE, "2026年11月7日")],
)
def test_each_bank_writes_a_day_in_its_own_style_and_no_other_is_read(style: DateStyle, text: str) -> None:
    assert parse_date(text, style) == date(2026, 11, 7)
    assert all(parse_date(text, other) is None for other in DateStyle if other is not style)


@pytest.mark.parametrize("datum", list(Datum))
def test_positions_are_converted_from_their_datum_and_the_datum_is_kept(datum: Datum) -> None:
    true_place = LonLat(121.4737, 31.2304)
    given_place = from_wgs84(true_place, datum)
    (placed,) = read(row(1, lon=f"{given_place.lon:.9f}", lat=f"{given_place.lat:.9f}", datum=datum.value)).rows
    assert placed.address.point is not None
    assert distance_m(placed.address.point, true_place) < 0.05
    assert placed.address.datum_given is datum


def test_row_without_a_position_is_good_and_waits_for_a_pin() -> None:
    (placed,) = read(row(1, lon="", lat="")).rows
    assert (placed.address.point, placed.address.datum_given) == (None, None)


def test_constant_of_a_profile_fills_every_row() -> None:
    columns = {Column(name): heading for name, heading in HEADINGS.items()} | {Column.DATUM: "=gcj02", Column.DEBTOR_TYPE: "=hardship"}
    (placed,) = read(row(1, datum="ignored"), columns=columns).rows
    assert placed.address.datum_given is Datum.GCJ02
    assert placed.debtor_type == "hardship"


def test_other_separators_are_read() -> None:
    for separator in (";", "\t", "|"):
        content = csv_text([row(1)], separator).encode()
        assert len(read_placement(content, layout(separator=separator)).rows) == 1


@pytest.mark.parametrize("separator", ['"', "\n", "", ",,"])
def test_profile_with_an_impossible_separator_is_refused(separator: str) -> None:
    with pytest.raises(ValueError, match="separator"):
        layout(separator=separator)


def test_profile_without_a_required_column_is_refused() -> None:
    with pytest.raises(ValueError, match="id_number"):
        layout(columns={Column.NAME: "姓名"})
