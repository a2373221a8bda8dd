"""Amounts in capitals: a table, a round trip, and the verifier's own spelling."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evidence import verify_pack
from evidence.capitals import FEN_MAX, from_capitals, to_capitals

TABLE = [
    (1, "壹分"), (5, "伍分"), (10, "壹角整"), (50, "伍角整"), (99, "玖角玖分"), (100, "壹元整"), (101, "壹元零壹分"), (110, "壹元壹角整"),
    (150, "壹元伍角整"),
    (1_000, "壹拾元整"), (1_050, "壹拾元伍角整"), (12_300, "壹佰贰拾叁元整"), (10_100, "壹佰零壹元整"), (11_000, "壹佰壹拾元整"),
    (100_100, "壹仟零壹元整"),
    (200_000, "贰仟元整"), (198_000, "壹仟玖佰捌拾元整"), (300_000, "叁仟元整"), (1_000_000, "壹万元整"), (1_000_100, "壹万零壹元整"),
    (1_010_000, "壹万零壹佰元整"),
    (1_100_000, "壹万壹仟元整"), (10_000_000, "壹拾万元整"), (10_050_000, "壹拾万零伍佰元整"), (100_005_000, "壹佰万零伍拾元整"),
    (168_032, "壹仟陆佰捌拾元叁角贰分"), (10_700_053, "壹拾万零柒仟元伍角叁分"), (10_000_000_000, "壹亿元整"), (10_000_000_100, "壹亿零壹元整"),
    (10_001_000_000, "壹亿零壹万元整"), (10_010_000_000, "壹亿零壹拾万元整"), (123_456_789_012, "壹拾贰亿叁仟肆佰伍拾陆万柒仟捌佰玖拾元壹角贰分"),
]


@pytest.mark.parametrize("amount_fen, text", TABLE)
def test_CASH_05_an_amount_is_spelled_as_the_table_says(amount_fen: int, text: str) -> None:
    assert to_capitals(amount_fen) == text
    assert from_capitals(text) == amount_fen
    assert verify_pack.capitals(amount_fen) == text


@pytest.mark.parametrize("text", ["", "元整", "零元整", "壹", "壹元", "壹元零整", "壹元壹角", "壹元壹角壹分整", "两元整", "一元整", "壹万万元整",
"壹元贰元整", "拾元整", "零壹分"])
def test_another_spelling_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"amount|numeral"):
        from_capitals(text)


@pytest.mark.parametrize("amount_fen", [0, -1, FEN_MAX + 1])
def test_what_is_no_amount_is_refused(amount_fen: int) -> None:
    with pytest.raises(ValueError, match="cannot be spelled"):
        to_capitals(amount_fen)


@given(st.integers(1, 10**13 - 1) | st.integers(1, 10**6))
def test_every_amount_comes_back_and_the_verifier_agrees(amount_fen: int) -> None:
    assert from_capitals(to_capitals(amount_fen)) == amount_fen
    assert verify_pack.capitals(amount_fen) == to_capitals(amount_fen)
