"""Numbers that carry a check digit, dates of birth, and how a personal value is shown to someone who needs no more. Pure."""

import re
from collections.abc import Sequence
from datetime import date

_ID_WEIGHTS = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
_ID_CHECKS = "10X98765432"
_ID_SHAPE = re.compile(r"[0-9]{17}[0-9X]")
_CARD_SHAPE = re.compile(r"[0-9]{13,19}")
_PHONE_SHAPE = re.compile(r"\+?[0-9]{7,15}")


def is_id_shaped(number: str) -> bool:
    """Whether `number` has the 18 places of a resident identity number, the last a digit or X."""
    return _ID_SHAPE.fullmatch(number) is not None


def has_id_checksum(number: str) -> bool:
    """Whether the last place of an identity number follows from the first seventeen (GB 11643, ISO 7064 MOD 11-2)."""
    if not is_id_shaped(number):
        return False
    total = sum(int(digit) * weight for digit, weight in zip(number, _ID_WEIGHTS, strict=False))
    return _ID_CHECKS[total % 11] == number[17]


def birth_of(id_number: str) -> date | None:
    """Return the date of birth that an identity number states, or None when it names no day of the calendar."""
    if not is_id_shaped(id_number):
        return None
    try:
        return date(int(id_number[6:10]), int(id_number[10:12]), int(id_number[12:14]))
    except ValueError:
        return None


def is_card_number(number: str) -> bool:
    """Whether `number` has 13 to 19 digits and a right Luhn check digit (ISO/IEC 7812)."""
    if _CARD_SHAPE.fullmatch(number) is None:
        return False
    total = 0
    for place, digit in enumerate(reversed(number)):
        doubled = int(digit) * (2 if place % 2 else 1)
        total += doubled - 9 if doubled > 9 else doubled
    return total % 10 == 0


def is_phone_number(number: str) -> bool:
    """Whether `number` has 7 to 15 digits, after the marks that people write between them are gone."""
    return _PHONE_SHAPE.fullmatch(number) is not None


def age_on(birth: date, on: date) -> int:
    """Return the completed years on a day."""
    return on.year - birth.year - ((on.month, on.day) < (birth.month, birth.day))


def masked_number(number: str, shown: int = 4) -> str:
    """Show the last places of a number only; a number not longer than twice that is hidden whole."""
    return "*" * (len(number) - shown) + number[-shown:] if len(number) > 2 * shown else "*" * len(number)


def masked_name(name: str) -> str:
    """Show a name's first character only: 欧阳明 → 欧**."""
    return name[:1] + "*" * (len(name) - 1) if len(name) > 1 else "*"


def masked_text(text: str) -> str:
    """Hide a text whole, keeping no more than its length up to eight."""
    return "*" * min(len(text), 8)


def character_pairs(name: str) -> Sequence[str]:
    """Return each pair of neighbouring characters of a name once, in order: 欧阳明 → 欧阳, 阳明."""
    plain = "".join(name.split())
    return tuple(dict.fromkeys(plain[place : place + 2] for place in range(len(plain) - 1)))
