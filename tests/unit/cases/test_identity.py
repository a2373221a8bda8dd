"""Check digits, dates of birth and masks."""

from datetime import date

import pytest

from backend.cases.identity import (
    age_on,
    birth_of,
    character_pairs,
    has_id_checksum,
    is_card_number,
    masked_name,
    masked_number,
)
from tests.support.cases import card_number, id_number


@pytest.mark.parametrize("serial", range(0, 400, 7))
def test_changing_any_digit_of_an_identity_number_breaks_its_checksum(serial: int) -> None:
    number = id_number(serial)
    assert has_id_checksum(number)
    for place in range(17):
        changed = number[:place] + str((int(number[place]) + 1) % 10) + number[place + 1 :]
        assert not has_id_checksum(changed)


@pytest.mark.parametrize("number", ["", "99000019850615001", "9900001985061500112", "99000019850615001x", "9900001985061500１1"])
def test_identity_number_of_another_shape_has_no_checksum(number: str) -> None:
    assert not has_id_checksum(number)


def test_identity_numbers_may_end_in_x() -> None:
    assert any(id_number(serial).endswith("X") for serial in range(40))


def test_birth_is_a_day_of_the_calendar_or_none() -> None:
    assert birth_of(id_number(5, date(2000, 2, 29))) == date(2000, 2, 29)
    assert birth_of("990000199902300011") is None


def test_card_numbers_carry_a_luhn_digit() -> None:
    assert is_card_number(card_number(7))
    assert not is_card_number(card_number(7)[:-1] + str((int(card_number(7)[-1]) + 1) % 10))
    assert not is_card_number("0" * 12)
    assert not is_card_number("٤" * 16)


def test_age_counts_completed_years() -> None:
    assert age_on(date(1985, 11, 28), date(2026, 11, 27)) == 40
    assert age_on(date(1985, 11, 27), date(2026, 11, 27)) == 41


def test_masks_show_no_more_than_the_end_or_the_first_character() -> None:
    assert masked_number("990000198506150011") == "**************0011"
    assert masked_number("12345678") == "********"
    assert masked_name("欧阳明") == "欧**"
    assert masked_name("欧") == "*"


def test_character_pairs_are_neighbours_without_white_space() -> None:
    assert character_pairs("欧 阳明") == ("欧阳", "阳明")
    assert character_pairs("明") == ()
